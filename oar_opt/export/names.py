"""Columns and rows of a written file, and the components of the model that they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import SolverError


@dataclass(frozen=True)
class Names:
    """Name in the file -> name of the component in the model, of columns and of all else; ``whole`` are the names in
    the file of columns that are whole numbers. In the order of the model."""

    columns: Mapping[str, str]
    others: Mapping[str, str]
    whole: frozenset[str]


def label(component: str) -> str:
    """The name in formats that take names as they are: blanks would end it in solvers' answers."""
    return "_".join(component.split())


def own_names(program: PyomoProgram) -> Names:
    """Of those formats; two components that would be called the same are an error."""
    rows = [part.name for part in (*written_rows(program), *written_chains(program))]
    variables = [variable.name for variable in written_variables(program)]
    found = (
        {label(component): component for component in variables},
        {label(component): component for component in rows},
    )
    if (len(found[0]), len(found[1])) != (len(variables), len(rows)):
        raise SolverError("two components of the program differ in blanks of their names alone: please report it")
    return names_of(program, *found)


def names_of(program: PyomoProgram, symbols: Mapping[str, str], others: Mapping[str, str]) -> Names:
    """``symbols`` has what the file calls a component; those that are variables become columns."""
    called = {component: symbol for symbol, component in symbols.items()}
    variables = [variable for variable in written_variables(program) if variable.name in called]
    columns = {called[variable.name]: variable.name for variable in variables}
    whole = frozenset(called[variable.name] for variable in variables if not variable.is_continuous())
    rest = {symbol: component for symbol, component in symbols.items() if symbol not in columns}
    return Names(columns, rest | dict(others), whole)


def written_variables(program: PyomoProgram) -> list[Any]:
    """The variables that are not fixed, in the order of the model."""
    from pyomo.environ import Var

    return [variable for variable in program.model.component_data_objects(Var) if not variable.fixed]


def written_rows(program: PyomoProgram) -> list[Any]:
    """The constraints on variables that are not fixed, in the order of the model."""
    return [row for row in _rows(program) if not is_constant(row)]


def constant_rows(program: PyomoProgram) -> list[Any]:
    """The others, which hold or do not, whatever the variables are."""
    return [row for row in _rows(program) if is_constant(row)]


def is_constant(row: Any) -> bool:
    """Whether the row has no variable that is not fixed, but for coefficients of 0."""
    from pyomo.repn import generate_standard_repn

    found = generate_standard_repn(row.body, quadratic=True, compute_values=True)
    return found.nonlinear_expr is None and not any((*found.linear_coefs, *found.quadratic_coefs))


def _rows(program: PyomoProgram) -> Iterator[Any]:
    from pyomo.environ import Constraint

    found: Iterator[Any] = program.model.component_data_objects(Constraint, active=True)
    return found


def written_chains(program: PyomoProgram) -> list[Any]:
    """The special ordered sets, in the order of the model."""
    from pyomo.environ import SOSConstraint

    return list(program.model.component_data_objects(SOSConstraint, active=True))
