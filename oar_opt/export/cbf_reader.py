"""Reads the Conic Benchmark Format, versions 1 to 3, of programs over one block of free columns and cones of rows.

The text is a line of a keyword and its lines; ``#`` begins a comment, blank lines mean nothing. Rows ``a'x + b`` lie
in the cones that ``CON`` lists in order. Integer columns, power cones and semidefinite parts are not read here.

Reference: H. A. Friberg, "CBLIB 2014: a benchmark library for conic mixed-integer and continuous optimization", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from oar_opt.export.file_program import UnreadableError
from oar_opt.problem import Vector


@dataclass
class ConeFile:
    """What the file says: entries ``(row, column, value)`` and ``(index, value)``, cones with their sizes."""

    maximises: bool = False
    columns: int = 0
    rows: int = 0
    cones: list[tuple[str, int]] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    shift: list[tuple[int, float]] = field(default_factory=list)
    costs: list[tuple[int, float]] = field(default_factory=list)
    constant: float = 0.0

    def values(self, x: Vector) -> Vector:
        """``(rows,)``, what lies in the cones, at ``x (columns,)``."""
        found = np.zeros(self.rows)
        for row, column, weight in self.entries:
            found[row] += weight * x[column]
        for row, number in self.shift:
            found[row] += number
        return found

    def objective(self, x: Vector) -> float:
        return float(sum(weight * x[column] for column, weight in self.costs)) + self.constant


def read_cbf(text: str) -> ConeFile:
    """Raises :class:`UnreadableError`, also for parts of the format that are not read here."""
    lines = iter([line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())])
    found = ConeFile()
    try:
        for key in lines:
            _take(found, key, lines)
        _check(found)
    except (ValueError, StopIteration, KeyError) as failure:
        raise UnreadableError(f"no CBF that is read here ({type(failure).__name__}: {failure})") from failure
    return found


def _take(found: ConeFile, key: str, lines: Iterator[str]) -> None:
    match key:
        case "VER":
            if not 1 <= int(next(lines)) <= 3:
                raise ValueError("another version than 1 to 3")
        case "OBJSENSE":
            found.maximises = {"MAX": True, "MIN": False}[next(lines)]
        case "VAR":
            found.columns, kinds = _cones(lines)
            if any(kind != "F" for kind, _ in kinds):
                raise ValueError("columns in cones")
        case "CON":
            found.rows, found.cones = _cones(lines)
        case "OBJACOORD":
            found.costs = [(int(j), float(value)) for j, value in _entries(lines)]
        case "OBJBCOORD":
            found.constant = float(next(lines))
        case "ACOORD":
            found.entries = [(int(i), int(j), float(value)) for i, j, value in _entries(lines)]
        case "BCOORD":
            found.shift = [(int(i), float(value)) for i, value in _entries(lines)]
        case _:
            raise ValueError(f"the keyword {key}")


def _cones(lines: Iterator[str]) -> tuple[int, list[tuple[str, int]]]:
    size, count = map(int, next(lines).split())
    cones = [(kind, int(length)) for kind, length in (next(lines).split() for _ in range(count))]
    if sum(length for _, length in cones) != size:
        raise ValueError("cones of another size than stated")
    return size, cones


def _entries(lines: Iterator[str]) -> list[list[str]]:
    return [next(lines).split() for _ in range(int(next(lines)))]


def _check(found: ConeFile) -> None:
    places = [(i, j) for i, j, _ in found.entries]
    if len(set(places)) < len(places):
        raise ValueError("two entries at one place")
    rows = [*(i for i, _ in places), *(i for i, _ in found.shift)]
    columns = [*(j for _, j in places), *(j for j, _ in found.costs)]
    if not all(0 <= i < found.rows for i in rows) or not all(0 <= j < found.columns for j in columns):
        raise ValueError("an entry outside of the program")
