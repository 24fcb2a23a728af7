"""Compares what a file says with the program that it was written from: names, intervals, and all values at points.

For every row ``l <= g(x) <= u`` the room ``g(x) - l`` and ``u - g(x)`` must be the program's at each point, whichever
side of the row a constant or a term stands on, and whether two sides are one row or two; so must the objective. Points
are the start, where there is one, and some drawn from the box of the columns. Two linear rows that agree at more points
in general position than they have columns are equal; a few drawn points already tell any two rows apart but for a set
of points of measure 0. Columns of a writer's own (always 1) are taken as 1, and its own rows must hold there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from oar_opt.cone_form import ConeForm
from oar_opt.contracts import PyomoProgram
from oar_opt.export.cbf_reader import ConeFile
from oar_opt.export.file_program import Column, FileProgram, Row
from oar_opt.export.names import Names, written_chains, written_rows, written_variables

DRAWN = 3
"""Points besides the start."""
REACH = 10.0
"""How far from a finite end, or from 0, a column without an end is drawn."""
SAME = 1e-9
"""Relative to at least 1: what rounding may leave between two orders of summation."""

Point = Mapping[str, float]


def difference(program: PyomoProgram, names: Names, found: FileProgram, start: Point | None) -> str | None:
    """What the file says otherwise, in words that follow "was read back with", or None."""
    return (
        _other_columns(program, names, found)
        or _other_sets(program, names, found)
        or next(filter(None, (_other_values(program, names, found, point) for point in points(program, start))), None)
    )


def points(program: PyomoProgram, start: Point | None) -> Iterator[Point]:
    """Values of the program's variables by name."""
    if start is not None:
        yield start
    draw, variables = np.random.default_rng(0), written_variables(program)
    for _ in range(DRAWN):
        yield {variable.name: float(draw.uniform(*_interval(variable))) for variable in variables}


def _interval(variable: Any) -> tuple[float, float]:
    low, high = variable.lb, variable.ub
    low = (-REACH if high is None else min(high, 0.0) - REACH) if low is None else low
    return low, max(low, 0.0) + REACH if high is None else high


def _other_columns(program: PyomoProgram, names: Names, found: FileProgram) -> str | None:
    variables = {variable.name: variable for variable in written_variables(program)}
    expected = {symbol: _column(variables[component]) for symbol, component in names.columns.items()}
    if missing := expected.keys() - found.columns.keys():
        return f"no column '{min(missing)}'"
    if unknown := found.columns.keys() - expected.keys() - names.others.keys():
        return f"a column '{min(unknown)}', which the map does not know"
    for symbol, column in expected.items():
        if found.columns[symbol] != column:
            return f"the column '{symbol}' as {found.columns[symbol]}, and the program has {column}"
    return None


def _column(variable: Any) -> Column:
    low, high = variable.lb, variable.ub
    return Column(
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
        not variable.is_continuous(),
    )


def _other_sets(program: PyomoProgram, names: Names, found: FileProgram) -> str | None:
    called = {component: symbol for symbol, component in names.columns.items()}
    expected = {
        chain.name: {called[v.name]: float(weight) for v, weight in chain.get_items() if not v.fixed}
        for chain in written_chains(program)
    }
    stated = {names.others.get(symbol, symbol): dict(members) for symbol, members in found.sets.items()}
    broken = [name for name in (expected | stated) if expected.get(name) != stated.get(name)]
    return f"another special ordered set '{broken[0]}'" if broken else None


def _other_values(program: PyomoProgram, names: Names, found: FileProgram, point: Point) -> str | None:
    values = {symbol: point.get(names.columns.get(symbol, ""), 1.0) for symbol in found.columns}
    with _placed(program, point):
        expected, conditions = _rooms(program), _conditions(program, names)
        goal = _number(program.objective_value)
    if found.maximises != program.maximises:
        return f"an objective that is {'maximised' if found.maximises else 'minimised'}"
    if not _same([_number(lambda: found.objective(values))], [goal]):
        return "another objective"
    stated: dict[str, list[float]] = {}
    for symbol, row in found.rows.items():
        name, rooms = names.others.get(symbol, symbol), _rooms_of_row(row, values)
        if name in expected:
            stated.setdefault(name, []).extend(rooms)
        elif min(rooms) < -SAME:
            return f"a row '{symbol}', which the program does not have"
    for name, rooms in expected.items():
        if not _same(sorted(stated.get(name, [])), sorted(rooms)):
            return f"another row '{name}', or without it"
    told = {name: (c.binary, c.active, _rooms_of_row(c.row, values)) for name, c in found.conditionals.items()}
    return _other_conditions(told, conditions)


Condition = tuple[str, bool, list[float]]


def _other_conditions(told: Mapping[str, Condition], expected: Mapping[str, Condition]) -> str | None:
    for name in sorted(told.keys() | expected.keys()):
        here, there = told.get(name), expected.get(name)
        if here is None or there is None or here[:2] != there[:2] or not _same(here[2], there[2]):
            return f"another indicator row '{name}', or without it"
    return None


def _rooms(program: PyomoProgram) -> dict[str, list[float]]:
    """Of every row at the present values; an indicator row whose binary is fixed is a plain row, or none."""
    from pyomo.environ import value

    found = {row.name: _rooms_within(_number(partial(value, row.body)), *_ends(row)) for row in written_rows(program)}
    for place, one in enumerate(program.indicators):
        if one.binary.fixed and bool(round(one.binary.value)) == one.active:
            found[f"indicator[{place}]"] = [one.upper - float(value(one.body))]
    return found


def _conditions(program: PyomoProgram, names: Names) -> dict[str, Condition]:
    from pyomo.environ import value

    called = {component: symbol for symbol, component in names.columns.items()}
    return {
        f"indicator[{place}]": (called[one.binary.name], one.active, [one.upper - float(value(one.body))])
        for place, one in enumerate(program.indicators)
        if not one.binary.fixed
    }


def _rooms_of_row(row: Row, values: Point) -> list[float]:
    return _rooms_within(_number(lambda: row.body(values)), row.lower, row.upper)


def _rooms_within(body: float, lower: float, upper: float) -> list[float]:
    return [sign * (body - end) for sign, end in ((1, lower), (-1, upper)) if math.isfinite(end)]


def _ends(row: Any) -> tuple[float, float]:
    from pyomo.environ import value

    low, high = value(row.lower), value(row.upper)
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _number(of: Callable[[], float]) -> float:
    """NaN where the point is outside of what a function takes: then it must be so on both sides."""
    try:
        return float(of())
    except (ValueError, OverflowError, ZeroDivisionError):
        return math.nan


def _same(found: list[float], expected: list[float]) -> bool:
    if len(found) != len(expected):
        return False
    return bool(np.allclose(found, expected, rtol=SAME, atol=SAME, equal_nan=True))


@contextmanager
def _placed(program: PyomoProgram, point: Point) -> Iterator[None]:
    """The variables at the point, and afterwards where they were."""
    before = [(variable, variable.value) for variable in written_variables(program)]
    try:
        for variable, _ in before:
            variable.set_value(point[variable.name], skip_validation=True)
        yield
    finally:
        for variable, old in before:
            variable.set_value(old, skip_validation=True)


def conic_difference(form: ConeForm, found: ConeFile) -> str | None:
    """As :func:`difference`, of a conic program, at drawn points."""
    rows, columns = form.A.shape
    cones = [("L=", form.zero)] * (form.zero > 0) + [("L+", form.nonnegative)] * (form.nonnegative > 0)
    cones += [("Q", size) for size in form.second_order]
    if (found.rows, found.columns) != (rows, columns):
        return f"{found.rows} rows and {found.columns} columns, and the program has {rows} and {columns}"
    if found.cones != cones:
        return "other cones"
    if found.maximises != form.maximises:
        return f"an objective that is {'maximised' if found.maximises else 'minimised'}"
    for x in np.random.default_rng(0).uniform(-REACH, REACH, size=(DRAWN, columns)):
        if not _same([found.objective(x)], [float(form.c @ x)]):
            return "another objective"
        off = np.flatnonzero(~np.isclose(found.values(x), form.b - form.A @ x, rtol=SAME, atol=SAME))
        if off.size:
            return f"another row {off[0]}"
    return None
