"""One export: choose a formulation that the format holds, build, write, map, start, check."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from oar_opt.cone_form import ConeForm
from oar_opt.contracts import Formulation, PyomoProgram
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.export.bilevel import aux_path_of
from oar_opt.export.bilevel_check import ASKED, FEW, bilevel_opinion
from oar_opt.export.bilevel_model import Bilevel, BilevelProgram
from oar_opt.export.cbf import cbf_text
from oar_opt.export.formats import (
    BILEVEL_FORMATS,
    MPS_AUX,
    NO_PROGRAM,
    check_ending,
    conic_refusal,
    format_named,
    formulation_refusal,
    refusal,
)
from oar_opt.export.name_map import Origin, write_conic_map, write_map
from oar_opt.export.names import written_rows, written_variables
from oar_opt.export.round_trip import Opinion, check, check_cone, is_checked
from oar_opt.export.start import Start, write_start
from oar_opt.export.writers import writable, write
from oar_opt.pipeline import choose
from oar_opt.problem import RecourseProblem
from oar_opt.result import Request


@dataclass(frozen=True)
class Exported:
    """The written files, the formulation, the program's size, its start and what readers say of the file.

    ``opinions`` is empty where nobody was asked. ``is_negated``: the file minimises minus a goal that is maximised.
    ``aux_path``, ``rows_below`` and ``columns_below`` are of the follower, where the file is a bilevel program's.
    """

    path: Path
    map_path: Path
    formulation: str
    rows: int
    columns: int
    start: Start
    opinions: tuple[Opinion, ...] = ()
    is_negated: bool = False
    aux_path: Path | None = None
    rows_below: int = 0
    columns_below: int = 0


def export(
    problem: RecourseProblem,
    path: Path,
    *,
    formulation: str = "auto",
    form: str = "mps-min",
    start: bool = True,
    checked: bool | None = None,
    tightening: float | None = None,
) -> Exported:
    """Write the program of ``formulation`` for ``problem`` to ``path``.

    Parameters
    ----------
    problem : the instance.
    path : of the file; others are named after it.
    formulation : a name, or ``auto`` for the first that applies and that the format holds.
    form : a name of :data:`oar_opt.export.formats.FORMATS`, or ``mps-aux`` for the bilevel program itself.
    start : whether to write a start and known bounds.
    checked : whether to read the file back; None is up to :data:`oar_opt.export.round_trip.CHECKED_COLUMNS` columns.
    tightening : seconds for better bounds, None for the formulation's own. A limit that is reached makes what is
        written depend on the machine's speed; 0 never does.

    Raises
    ------
    InputError : an unknown name, another ending than the format's, or a folder that does not exist.
    UnsupportedError : the formulation does not apply, or has no program that the format holds.
    SolverError : a reader finds another program in the file.
    """
    check_ending(path, form)
    if tightening is not None and not tightening >= 0:
        raise InputError("--tighten", f"is {tightening:g}", "give a number of seconds, or 0 for none")
    chosen = _chosen(problem, formulation, form)
    program = chosen.build(problem, Request(tightening=tightening)).written()
    reason = program_refusal(program, form)
    if reason:
        raise UnsupportedError(f"formulation '{chosen.name}': {reason}")
    origin = Origin(chosen.name, form, chosen.file_exactness, tightening)
    if isinstance(program, ConeForm):
        return _export_cone(problem, program, origin, path, checked)
    assert program is not None
    names = write(program, path, form)
    map_path = write_map(problem, program, origin, names, path)
    rows, columns = len(written_rows(program)), len(written_variables(program))
    is_negated = program.maximises and format_named(form).minimised
    sign = -1.0 if is_negated else 1.0
    begun = write_start(problem, program, names, path, sign) if start else Start(missing="no start: not asked for")
    opinions = check(program, names, path, form, begun.values) if _is_asked(checked, columns) else ()
    if opinions and form in BILEVEL_FORMATS:
        opinions = (*opinions, bilevel_opinion(problem, path, ASKED if checked else FEW))
    exported = Exported(path, map_path, chosen.name, rows, columns, begun, opinions, is_negated)
    if isinstance(program, BilevelProgram):
        rows, columns = len(program.lower_rows), len(program.lower_cost)
        return replace(exported, aux_path=aux_path_of(path), rows_below=rows, columns_below=columns)
    return exported


def _export_cone(
    problem: RecourseProblem, program: ConeForm, origin: Origin, path: Path, checked: bool | None
) -> Exported:
    with writable(path):
        path.write_text(cbf_text(program, problem.name), encoding="utf-8")
    map_path = write_conic_map(problem, origin, program.columns, path)
    rows, columns = program.A.shape
    opinions = (check_cone(program, path),) if _is_asked(checked, columns) else ()
    start = Start(missing="no start: a convex program needs none")
    return Exported(path, map_path, origin.formulation, rows, columns, start, opinions)


def _is_asked(checked: bool | None, columns: int) -> bool:
    return is_checked(columns) if checked is None else checked


def _chosen(problem: RecourseProblem, name: str, form: str) -> Formulation:
    if form in BILEVEL_FORMATS or name == Bilevel.name:
        return _bilevel(problem, name, form)
    if name != "auto":
        return choose(problem, name)[0]
    reasons = []
    for candidate in formulations().values():
        reason = formulation_refusal(form, candidate) or candidate.accepts(problem)
        if reason is None:
            return candidate
        reasons.append(f"{candidate.name}: {reason}")
    if Bilevel().accepts(problem) is None:
        reasons.append(f"but the bilevel program itself can be written: --format {MPS_AUX}")
    raise UnsupportedError("no formulation of this instance can be written to such a file:\n  " + "\n  ".join(reasons))


def _bilevel(problem: RecourseProblem, name: str, form: str) -> Formulation:
    if form not in BILEVEL_FORMATS:
        raise UnsupportedError(
            f"the bilevel program itself is no program that {form} files hold: write it with --format {MPS_AUX}"
        )
    if name not in ("auto", Bilevel.name):
        raise UnsupportedError(f"formulation '{name}': {formulation_refusal(form, choose(problem, name)[0])}")
    reason = Bilevel().accepts(problem)
    if reason:
        raise UnsupportedError(f"{problem.name} cannot be written as a bilevel program: {reason}")
    return Bilevel()


def program_refusal(program: PyomoProgram | ConeForm | None, form: str) -> str | None:
    """Why what a file can hold of a program cannot be written in this format, or None."""
    if program is None:
        return f"it {NO_PROGRAM}"
    if isinstance(program, BilevelProgram):
        return None if form in BILEVEL_FORMATS else "it is no single program"
    reason = conic_refusal(form) if isinstance(program, ConeForm) else refusal(form, program.needs)
    return reason and f"its program {reason}"
