"""A program as a file states it, read without looking at the program that it was written from.

Bodies are functions of the columns' values by name, so that linear, quadratic and curved rows are one thing: what
counts is their value at points (:mod:`oar_opt.export.points`), not how they are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Body = Callable[[Mapping[str, float]], float]


class UnreadableError(Exception):
    """The file is not what the format, or the part of it that is read here, says; the words follow "refuses it:"."""


@dataclass(frozen=True)
class Column:
    """The interval of a column, infinite ends where it has none, and whether it is a whole number."""

    lower: float = -math.inf
    upper: float = math.inf
    whole: bool = False


@dataclass(frozen=True)
class Row:
    """``lower <= body <= upper``."""

    body: Body
    lower: float = -math.inf
    upper: float = math.inf


@dataclass(frozen=True)
class Conditional:
    """``row`` holds wherever the column ``binary`` is ``active``."""

    binary: str
    active: bool
    row: Row


@dataclass(frozen=True)
class FileProgram:
    """Columns, rows, special ordered sets (columns with weights) and indicator rows by their names in the file."""

    columns: Mapping[str, Column]
    rows: Mapping[str, Row]
    objective: Body
    maximises: bool
    sets: Mapping[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    conditionals: Mapping[str, Conditional] = field(default_factory=dict)


def weighted_sum(terms: list[tuple[float, str]], constant: float = 0.0) -> Body:
    """``sum weight * column + constant``."""
    return lambda values: math.fsum((*(weight * values[name] for weight, name in terms), constant))
