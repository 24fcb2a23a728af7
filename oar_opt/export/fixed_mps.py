"""Fixed-column MPS text of a mixed-integer linear program.

Fields begin in columns 2, 5, 15 and 25, names have at most 8 characters and no blanks, and every line holds one entry,
so that the text is free MPS too. A number is the shortest decimal that reads back as the same double; where that takes
more than 12 characters it runs on past column 36, behind which nothing else stands (readers take it up to the next
blank). The objective is minimised. A column without any entry is declared by a 0 in the objective's row. Equal programs
give equal bytes.

Reference: J. L. Nazareth, "Computer Solution of Linear Programs", 1987 (the format).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

OBJECTIVE = "goal"
"""Name of the objective's row."""
LONGEST = 8
"""Characters of a name."""


@dataclass(frozen=True)
class Column:
    """A variable; ends may be infinite."""

    name: str
    lower: float
    upper: float
    is_integer: bool


@dataclass(frozen=True)
class Row:
    """``sum of terms  sense  rhs``; ``sense`` is one of ``L``, ``G``, ``E``, ``terms`` are by the column's name."""

    name: str
    sense: str
    terms: dict[str, float]
    rhs: float


@dataclass(frozen=True)
class MixedIntegerProgram:
    """``minimise objective`` over columns and rows, in the order in which they are written."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    objective: dict[str, float]


def mps_text(program: MixedIntegerProgram) -> str:
    """The whole file."""
    lines = [f"NAME          {program.name}", "ROWS", f" N  {OBJECTIVE}"]
    lines += [f" {row.sense}  {row.name}" for row in program.rows]
    lines += ["COLUMNS", *_columns(program)]
    lines += ["RHS", *(_entry("RHS", row.name, row.rhs) for row in program.rows if row.rhs)]
    lines += ["BOUNDS", *(line for column in program.columns for line in _bounds(column))]
    return "\n".join([*lines, "ENDATA"]) + "\n"


def number(value: float) -> str:
    """The shortest decimal that reads back as the same double."""
    return repr(float(value) + 0.0).removesuffix(".0")


def _columns(program: MixedIntegerProgram) -> Iterator[str]:
    entries: dict[str, list[tuple[str, float]]] = {column.name: [] for column in program.columns}
    for name, value in program.objective.items():
        entries[name].append((OBJECTIVE, value))
    for row in program.rows:
        for name, value in row.terms.items():
            entries[name].append((row.name, value))
    whole = False
    for column in program.columns:
        if column.is_integer is not whole:
            whole = column.is_integer
            yield _marker(whole)
        for row_name, value in entries[column.name] or [(OBJECTIVE, 0.0)]:
            yield _entry(column.name, row_name, value)
    if whole:
        yield _marker(False)


def _marker(begins: bool) -> str:
    return f"    MARKER    'MARKER'                 '{'INTORG' if begins else 'INTEND'}'"


def _entry(first: str, second: str, value: float, kind: str = "") -> str:
    return f" {kind:<2} {first:<8}  {second:<8}  {number(value)}"


def _bounds(column: Column) -> Iterator[str]:
    lower, upper = column.lower, column.upper
    if math.isinf(lower):
        yield f" {'MI' if math.isfinite(upper) else 'FR'} {'BND':<8}  {column.name}"
    elif lower:
        yield _entry("BND", column.name, lower, "LO")
    if math.isfinite(upper):
        yield _entry("BND", column.name, upper, "UP")
