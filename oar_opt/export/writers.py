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
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.export.bilevel import write_bilevel
from oar_opt.export.bilevel_model import BilevelProgram
from oar_opt.export.mof import mof_text
from oar_opt.export.names import Names, constant_rows, label, names_of, own_names, written_rows
from oar_opt.solver_features import SolverFeature

IN_PYOMO = {"lp": "cpxlp", "mps": "mps", "mps-min": "mps", "nl": "nl", "gams": "gams", "bar": "bar"}
"""Name here and name in Pyomo."""
CONSTANT = 1e-9
"""As far as rounding may break a row without variables, relative to at least 1."""
MINIMISED = re.compile(r"^OBJSENSE\n\s*MIN\n", re.MULTILINE)


def write(program: PyomoProgram, path: Path, form: str) -> Names:
    """Write the file; returns what its names are. The same program gives the same bytes.

    Raises :class:`UnsupportedError` where a row without variables does not hold.
    """
    with writable(path), _without_constant_rows(program):
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
def _without_constant_rows(program: PyomoProgram) -> Iterator[None]:
    """Rows of fixed variables and zeros alone are left out: writers lose them, or make columns for them."""
    from pyomo.environ import value
    from pyomo.repn import generate_standard_repn

    rows = constant_rows(program)
    for row in rows:
        # A variable whose coefficient is 0 may have no value.
        body = float(generate_standard_repn(row.body, quadratic=True, compute_values=True).constant)
        ends = row.lower, row.upper
        low, high = (None if end is None else float(value(end)) for end in ends)
        slack = CONSTANT * max(1.0, abs(body))
        if (low is not None and body < low - slack) or (high is not None and body > high + slack):
            raise UnsupportedError(
                f"row '{row.name}' has no variable and does not hold, so that the program is infeasible before any "
                "solver sees it; 'oar solve' says what that means"
            )
    for row in rows:
        row.deactivate()
    try:
        yield
    finally:
        for row in rows:
            row.activate()


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
    if form in ("lp", "mps", "mps-min"):
        own = {} if form == "lp" or "ONE_VAR_CONSTANT" not in text else {name: name for name in OWN_OF_MPS}
        return names_of(program, _without_rows(program, found), _sided_rows(program) | own)
    if form == "gams":
        return names_of(program, _without_rows(program, found), _gams_rows(program, found))
    return names_of(program, found, {name: name for name in OWN_OF_BARON} if form == "bar" else {})


OWN_OF_MPS = ("ONE_VAR_CONSTANT", "c_e_ONE_VAR_CONSTANT")
"""A column that is always 1, for the objective's constant, and the row that says so."""
OWN_OF_BARON = ("ONE_VAR_CONST__", "c_e_FIX_ONE_VAR_CONST__")
"""A column that is always 1, and the row that says so: its writer has them in every file."""


def _without_rows(program: PyomoProgram, found: dict[str, str]) -> dict[str, str]:
    rows = {row.name for row in written_rows(program)}
    return {symbol: component for symbol, component in found.items() if component not in rows}


def _gams_rows(program: PyomoProgram, found: dict[str, str]) -> dict[str, str]:
    """Row in a GAMS file -> constraint: the writer puts ``_lo`` and ``_hi`` behind the names of inequalities."""
    called = {component: symbol for symbol, component in found.items()}
    rows: dict[str, str] = {}
    for row in written_rows(program):
        ends = [""] if row.equality else ["_lo"] * row.has_lb() + ["_hi"] * row.has_ub()
        rows |= {called[row.name] + end: row.name for end in ends}
    return rows


def _sided_rows(program: PyomoProgram) -> dict[str, str]:
    """Row in an LP or MPS file -> constraint: the writers put ``c_e_``, ``c_l_``, ``c_u_``, ``r_l_`` or ``r_u_`` before
    its name."""
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
