"""Writes programs of rows: LP, MPS, NL, GAMS and BARON by Pyomo's writers, CIP by SCIP's, MathOptFormat and the
bilevel program's files by our own.

Names are kept where a format allows them, and mapped by its writer where not. NL files keep theirs in ``.row`` and
``.col`` files beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import InputError
from oar_opt.export.bilevel import write_bilevel
from oar_opt.export.bilevel_model import BilevelProgram
from oar_opt.export.mof import mof_text
from oar_opt.export.names import Names, label, names_of, own_names, written_rows
from oar_opt.solver_features import SolverFeature

IN_PYOMO = {"lp": "cpxlp", "mps": "mps", "mps-min": "mps", "nl": "nl", "gams": "gams", "bar": "bar"}
"""Name here and name in Pyomo."""
MINIMISED = re.compile(r"^OBJSENSE\n\s*MIN\n", re.MULTILINE)


def write(program: PyomoProgram, path: Path, form: str) -> Names:
    """Write the file; returns what its names are. The same program gives the same bytes."""
    with writable(path):
        match form:
            case "mof":
                path.write_text(mof_text(program), encoding="utf-8")
            case "cip":
                _write_cip(program, path)
                own = own_names(program)
                return replace(own, others={**own.others, **slack_names(program)})
            case "mps-min":
                with _minimised(program):
                    return _write_by_pyomo(program, path, form)
            case "mps-aux":
                assert isinstance(program, BilevelProgram)
                return write_bilevel(program, path)
            case _:
                return _write_by_pyomo(program, path, form)
    return own_names(program)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """A missing folder, and whatever else keeps a file from being written, becomes an :class:`InputError`."""
    if not path.parent.is_dir():
        raise InputError(str(path), "lies in a folder that does not exist", "create the folder first")
    try:
        yield
    except OSError as failure:
        raise InputError(str(path), f"cannot be written: {failure.strerror or failure}") from failure


@contextmanager
def _minimised(program: PyomoProgram) -> Iterator[None]:
    """The objective with its sign changed where it is maximised, for the time of writing."""
    from pyomo.environ import maximize, minimize

    objective, expression = program.objective, program.objective.expr
    if not program.maximises:
        yield
        return
    objective.set_value(-expression)
    objective.sense = minimize
    try:
        yield
    finally:
        objective.set_value(expression)
        objective.sense = maximize


def _write_by_pyomo(program: PyomoProgram, path: Path, form: str) -> Names:
    _, identity = program.model.write(str(path), format=IN_PYOMO[form], io_options={"symbolic_solver_labels": True})
    text = path.read_text(encoding="utf-8")
    if form == "lp" and SolverFeature.QUADRATIC in program.needs:
        # Pyomo writes squares with blanks, which the format allows and SCIP's reader does not know.
        path.write_text(text.replace(" ^ 2\n", "^2\n"), encoding="utf-8")
    if form in ("mps", "mps-min"):
        # To minimise is the format's default, and GLPK's reader stops at the section.
        path.write_text(MINIMISED.sub("", text), encoding="utf-8")
    if form == "nl":
        _label_beside(path)
        return own_names(program)
    symbols = program.model.solutions.symbol_map[identity].bySymbol
    found = {str(symbol): str(component.name) for symbol, component in symbols.items()}
    return names_of(program, found, _mps_rows(program) if form in ("mps", "mps-min") else {})


def _mps_rows(program: PyomoProgram) -> dict[str, str]:
    """Row in an MPS file -> constraint: the writer puts ``c_e_``, ``c_l_``, ``c_u_`` or ``r_l_`` before its name."""
    from pyomo.core.base.label import cpxlp_label_from_name

    found: dict[str, str] = {}
    for row in written_rows(program):
        label = cpxlp_label_from_name(row.name)
        if row.equality:
            prefixes = ["c_e"]
        elif row.has_lb() and row.has_ub():
            prefixes = ["r_l", "r_u"]
        else:
            prefixes = ["c_l" if row.has_lb() else "c_u"]
        found |= {f"{prefix}_{label}_": row.name for prefix in prefixes}
    return found


def _label_beside(path: Path) -> None:
    """The names in the files beside an NL file, one a line, become labels."""
    for ending in (".row", ".col"):
        beside = path.with_suffix(ending)
        names = beside.read_text(encoding="utf-8").splitlines()
        beside.write_text("".join(f"{label(name)}\n" for name in names), encoding="utf-8")


def slack_names(program: PyomoProgram) -> dict[str, str]:
    """SCIP has a column of its own for every indicator row, in its files and in its answers: how far it is broken."""
    rows = [f"indicator[{place}]" for place, _ in enumerate(program.indicators)]
    return {f"indslack_{row}": row for row in rows}


def _write_cip(program: PyomoProgram, path: Path) -> None:
    from oar_opt.solvers.scip import Translation

    Translation(program, label).scip.writeProblem(str(path), verbose=False)
