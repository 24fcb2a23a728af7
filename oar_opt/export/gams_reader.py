"""Reads the part of a GAMS file that states a program: declared symbols, ``name.. left =l= right;``, ``x.lo = 1;``.

Without bounds a binary column is 0 or 1, an integer or positive one at least 0, others are free; 1E100 and beyond is
no bound. The column that the ``SOLVE`` statement names is the objective, which one equation defines. Sets, tables and
loops are not read.

Reference: GAMS Development Corporation, "GAMS Documentation", chapters "Variables", "Equations" and "Model and Solve".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from oar_opt.export.algebra import read_expression
from oar_opt.export.file_program import Body, Column, FileProgram, Row, UnreadableError

INFINITE = 1e100
DECLARED = re.compile(r"(BINARY |INTEGER |POSITIVE )?VARIABLES\s+(.*)", re.DOTALL | re.IGNORECASE)
KINDS = {
    "": Column(),
    "BINARY": Column(0.0, 1.0, True),
    "INTEGER": Column(0.0, math.inf, True),
    "POSITIVE": Column(0.0, math.inf),
}
BOUND = re.compile(r"(\w+)\.(lo|up|fx) = (\S+)")
EQUATION = re.compile(r"(\w+)\.\.\s(.*?)=([leg])=(.*)", re.DOTALL)
SOLVE = re.compile(r"SOLVE \w+ USING \w+ (minimizing|maximizing) (\w+)")


def read_gams(text: str) -> FileProgram:
    """Raises :class:`UnreadableError`."""
    lines = [line for line in text.splitlines() if not line.startswith(("$", "*"))]
    statements = [statement.strip() for statement in "\n".join(lines).split(";")]
    found = [SOLVE.fullmatch(statement) for statement in statements]
    if sum(match is not None for match in found) != 1:
        raise UnreadableError("there is not one SOLVE statement")
    place, goal = next((place, match.groups()) for place, match in enumerate(found) if match)
    statements = statements[:place]
    columns = _columns(statements)
    rows = _rows(statements, columns)
    defining = [name for name, (body, row) in rows.items() if goal[1] in body and row.lower == row.upper]
    if len(defining) != 1 or sum(goal[1] in body for body, _ in rows.values()) != 1 or goal[1] not in columns:
        raise UnreadableError("no single equation defines the objective")
    objective = _solved_for(rows.pop(defining[0])[1].body, goal[1])
    del columns[goal[1]]
    return FileProgram(columns, {name: row for name, (_, row) in rows.items()}, objective, goal[0] == "maximizing")


def _columns(statements: list[str]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for statement in statements:
        if declared := DECLARED.fullmatch(statement):
            kind = KINDS[(declared.group(1) or "").strip().upper()]
            columns |= dict.fromkeys(declared.group(2).split(), kind)
        elif bound := BOUND.fullmatch(statement):
            name, which, number = bound.groups()
            columns[name] = _bounded(columns, name, which, float(number))
    return columns


def _bounded(columns: dict[str, Column], name: str, which: str, number: float) -> Column:
    if name not in columns:
        raise UnreadableError(f"the bound of '{name}', which is not declared")
    number = number if abs(number) < INFINITE else math.copysign(math.inf, number)
    column = columns[name]
    if which != "up":
        column = replace(column, lower=number)
    return column if which == "lo" else replace(column, upper=number)


def _rows(statements: list[str], columns: dict[str, Column]) -> dict[str, tuple[set[str], Row]]:
    """By name the words of an equation and ``left - right`` with its sign."""
    rows: dict[str, tuple[set[str], Row]] = {}
    declared = [s.split()[1:] for s in statements if s.upper().startswith("EQUATIONS")]
    for statement in statements:
        if equation := EQUATION.fullmatch(statement):
            name, left, sign, right = equation.groups()
            body = read_expression(f"({left}) - ({right})", columns)
            lower, upper = {"l": (-math.inf, 0.0), "e": (0.0, 0.0), "g": (0.0, math.inf)}[sign]
            rows[name] = set(re.findall(r"\w+", f"{left} {right}")), Row(body, lower, upper)
    if sorted(rows) != sorted(name for names in declared for name in names):
        raise UnreadableError("declared equations are not those that are stated")
    return rows


def _solved_for(body: Body, name: str) -> Body:
    """The value of a column that makes the body 0, where it stands in it as ``+- name``."""

    def value(values: Mapping[str, float]) -> float:
        at_0, at_1 = (body({**values, name: end}) for end in (0.0, 1.0))
        return -at_0 if at_1 >= at_0 else at_0

    return value
