"""Fixed-column MPS text of a mixed-integer linear program, with numbers of at most 12 characters.

Fields begin in columns 2, 5, 15 and 25, a name has at most 8 characters and no blank, a number at most 12, and every
line holds one entry: so readers that go by columns and readers that go by blanks read the same. A number is the
shortest decimal that reads back as the same double. Where that takes more than 12 characters (COIN-OR's reader goes on
to the next blank, and one that goes by columns loses digits, or an exponent), it is the nearest decimal of 12; ends of
columns are rounded outwards. :func:`rounding` bounds what that does: at a point within the columns' ends, row ``r``
moves by at most

    sum_j |a_rj - a'_rj| max(|lower_j|, |upper_j|) + |b_r - b'_r|,

where primes are the numbers of the file. The objective is minimised. A column without any entry is declared by a 0 in
the objective's row. Equal programs give equal bytes.

Reference: J. L. Nazareth, "Computer Solution of Linear Programs", 1987 (the format).
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

OBJECTIVE = "goal"
"""Name of the objective's row."""
LONGEST = 8
"""Characters of a name."""
WIDEST = 12
"""Characters of a number."""
ARITHMETIC = 1e-15
"""Relative: what a difference of doubles may be off by."""
MODES = {-1: decimal.ROUND_FLOOR, 0: decimal.ROUND_HALF_EVEN, 1: decimal.ROUND_CEILING}


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
    terms: Mapping[str, float]
    rhs: float


@dataclass(frozen=True)
class MixedIntegerProgram:
    """``minimise objective`` over columns and rows, in the order in which they are written."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    objective: Mapping[str, float]


@dataclass(frozen=True)
class Rounding:
    """How many numbers of rows change by more than arithmetic's own rounding, and a bound on how far any row moves."""

    numbers: int
    shift: float

    @property
    def words(self) -> str:
        count = "1 number is" if self.numbers == 1 else f"{self.numbers} numbers are"
        return f"{count} rounded to {WIDEST} characters, which moves no row by more than {self.shift:.1e}"


def mps_text(program: MixedIntegerProgram, remark: str = "") -> str:
    """The whole file; the remark becomes a comment at its head."""
    lines = [f"* {remark}"] if remark else []
    lines += [f"NAME          {program.name}", "ROWS", f" N  {OBJECTIVE}"]
    lines += [f" {row.sense}  {row.name}" for row in program.rows]
    lines += ["COLUMNS", *_columns(program)]
    lines += ["RHS", *(_entry("RHS", row.name, number(row.rhs)) for row in program.rows if row.rhs)]
    lines += ["BOUNDS", *(line for column in program.columns for line in _bounds(column))]
    return "\n".join([*lines, "ENDATA"]) + "\n"


def number(value: float, side: int = 0) -> str:
    """The shortest decimal that reads back as the same double, or the best one of 12 characters.

    ``side``: 0 is the nearest, 1 the nearest that is not less, -1 the nearest that is not more.
    """
    exact = shortest(value)
    if len(exact) <= WIDEST:
        return exact
    wanted = Decimal(value)
    texts = [text for digits in range(WIDEST, 0, -1) for text in _decimals(wanted, digits, MODES[side])]
    return min((text for text in texts if len(text) <= WIDEST), key=lambda text: abs(Decimal(text) - wanted))


def shortest(value: float) -> str:
    """The shortest decimal that reads back as the same double, of any length."""
    return _tidy(repr(float(value) + 0.0))


def _decimals(value: Decimal, digits: int, mode: str) -> tuple[str, str]:
    """Without and with an exponent."""
    rounded = decimal.Context(prec=digits, rounding=mode).create_decimal(value).normalize()
    return format(rounded, "f"), _tidy(format(rounded, "e"))


def _tidy(text: str) -> str:
    mantissa, e, exponent = text.partition("e")
    mantissa = mantissa.removesuffix(".0")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def rounding(program: MixedIntegerProgram) -> Rounding:
    """What writing the program in 12 characters a number does; see the module's docstring."""
    reach = {column.name: max(abs(column.lower), abs(column.upper)) for column in program.columns}
    numbers, shift = 0, 0.0
    for row in (Row(OBJECTIVE, "N", program.objective, 0.0), *program.rows):
        moved = {name: _moved(value) for name, value in row.terms.items()}
        own = sum(off * reach[name] for name, off in moved.items() if off) + _moved(row.rhs)
        values = (*row.terms.values(), row.rhs)
        numbers += sum(_moved(value) > ARITHMETIC * abs(value) for value in values)
        shift = max(shift, own)
    return Rounding(numbers, shift)


def _moved(value: float) -> float:
    return abs(float(number(value)) - value)


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
            yield _entry(column.name, row_name, number(value))
    if whole:
        yield _marker(False)


def _marker(begins: bool) -> str:
    return f"    MARKER    'MARKER'                 '{'INTORG' if begins else 'INTEND'}'"


def _entry(first: str, second: str, text: str, kind: str = "") -> str:
    return f" {kind:<2} {first:<8}  {second:<8}  {text}"


def _bounds(column: Column) -> Iterator[str]:
    lower, upper = column.lower, column.upper
    if math.isinf(lower):
        yield f" {'MI' if math.isfinite(upper) else 'FR'} {'BND':<8}  {column.name}"
    elif lower:
        yield _entry("BND", column.name, number(lower, -1), "LO")
    if math.isfinite(upper):
        yield _entry("BND", column.name, number(upper, 1), "UP")
