"""Brings a solver's answer to an exported file back: its moves, re-trained and verified, as a solution.

The program of the file's map is built again, its variables take the answer's values, and it reads its moves as after a
run of our own. Nothing else of the answer counts: parameters, margins and objective are re-trained, and every rule is
checked. What a solver says of the bound is a claim of grade ``claimed``.
"""

from __future__ import annotations

import math
from pathlib import Path

from oar_opt.claimed_moves import WHOLE, check_choices, verified_claim
from oar_opt.cone_form import ConeForm
from oar_opt.contracts import PyomoProgram
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.export.answers import Answer, read_answer
from oar_opt.export.bilevel_model import Bilevel
from oar_opt.export.name_map import ReadMap, map_path_of, read_map
from oar_opt.export.names import written_variables
from oar_opt.limits import Clock
from oar_opt.pipeline import Result
from oar_opt.problem import RecourseProblem
from oar_opt.result import Claim, Request, StoppedBy

MOST_NAMED = 5
"""In messages."""


def import_answer(
    problem: RecourseProblem,
    answer_path: Path,
    map_path: Path | None = None,
    *,
    bound: float | None = None,
    solver: str | None = None,
) -> Result:
    """The solution that an answer means.

    Parameters
    ----------
    problem : the instance that the file was written from.
    answer_path : the solver's solution file.
    map_path : the map of the exported file; None is beside the answer, where the answer is named after the file.
    bound : the solver's bound on the goal, in the goal's own sense, as its claim; None is none.
    solver : its name for the record; None is the one whose style the answer has.

    Raises
    ------
    InputError : another instance's map, unknown or missing columns, choices that are no whole numbers.
    UnsupportedError : the file's format has no names to go by.
    VerificationError : the moves break a rule, or beat the bound.
    """
    if bound is not None and not math.isfinite(bound):
        raise InputError("--bound", f"is {bound:g}", "give a finite number, or leave it out where none is known")
    clock = Clock(None)
    known = read_map(_map_of(answer_path) if map_path is None else map_path)
    answer = read_answer(answer_path)
    program = _program(problem, known)
    _set_values(program, known, answer, answer_path)
    moves, parameters = program.read()
    name = solver or answer.writer or "unnamed solver"
    claim = Claim(StoppedBy.GAP, moves, bound=bound, parameters=parameters, solver=f"{name}, imported")
    notes = (f"moves of {answer_path.name}, re-trained",)
    return verified_claim(problem, claim, known.formulation, str(answer_path), clock, notes)


def _map_of(answer_path: Path) -> Path:
    """``FILE.map.json`` of ``FILE.sol``."""
    return map_path_of(answer_path.with_suffix(""))


def _program(problem: RecourseProblem, known: ReadMap) -> PyomoProgram:
    if (known.instance, known.sha256) != (problem.name, problem.sha256):
        raise InputError(
            "--map",
            f"is of the instance '{known.instance}' (sha256 {known.sha256[:12] or 'none'}), not of '{problem.name}' "
            f"({problem.sha256[:12] or 'none'})",
            "give the instance that was exported, unchanged",
        )
    statements = {**formulations(), Bilevel.name: Bilevel()}
    if known.formulation not in statements:
        raise InputError("--map", f"is of the formulation '{known.formulation}', which is not installed here")
    chosen = statements[known.formulation]
    reason = chosen.accepts(problem)
    if reason is not None:
        raise InputError("--map", f"is of the formulation '{chosen.name}', which does not apply: {reason}")
    program = chosen.build(problem, Request(tightening=known.tightening)).written()
    if isinstance(program, ConeForm):
        raise UnsupportedError(f"{known.form} files have no names of columns, so that no answer can be brought back")
    if program is None:
        raise InputError("--map", f"is of the formulation '{chosen.name}', which has no program that a file can hold")
    return program


def _set_values(program: PyomoProgram, known: ReadMap, answer: Answer, path: Path) -> None:
    unknown = [name for name in answer.values if name not in known.columns and name not in known.others]
    if unknown:
        raise InputError(str(path), f"has columns that the map does not know: {_list(unknown)}", "give the file's map")
    # A bilevel solver may print the leader's choice alone; the follower's answer is re-trained in any case.
    needed = known.whole if known.formulation == Bilevel.name else known.columns
    missing = [name for name in known.columns if name in needed and name not in answer.values]
    if missing and not answer.leaves_out_zeros:
        raise InputError(
            str(path),
            f"lacks {len(missing)} of {len(needed)} columns: {_list(missing)}",
            "every one needs a value",
        )
    values = {name: answer.values.get(name, 0.0) for name in known.columns}
    _check_whole(known, values, path)
    variables = {variable.name: variable for variable in written_variables(program)}
    for name, component in known.columns.items():
        if component not in variables:
            raise InputError("--map", f"has the column '{component}', which the program does not have", "export again")
        value = float(round(values[name])) if name in known.whole else values[name]
        variables.pop(component).set_value(value, skip_validation=True)
    for variable in variables.values():
        # In no row, so that the file does not have it and any value will do.
        variable.set_value(0.0, skip_validation=True)
    check_choices(program, str(path))


def _check_whole(known: ReadMap, values: dict[str, float], path: Path) -> None:
    broken = [name for name in known.columns if name in known.whole and abs(values[name] - round(values[name])) > WHOLE]
    if broken:
        told = [f"{name} = {values[name]:.6g} ({known.meanings[name] or 'no choice'})" for name in broken]
        raise InputError(
            str(path), f"has fractions where whole numbers must be: {_list(told)}", "solve it as it stands"
        )


def _list(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
