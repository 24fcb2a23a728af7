"""Reads a bilevel program from its MPS and AUX files alone and solves it by brute force, to check what was written.

Nothing here is shared with the writer. The MPS file is read by columns: names in 5 to 12 and 15 to 22, a number in 25
to 36 and nothing behind it. With the leader's columns ``x``, some of which, ``z``, are whole, and the follower's ``y``:

    for every z that obeys the leader's rows in z alone, as far as such rows tell:
        v(z) = min lower'y  subject to  the follower's rows and bounds at z              (no y: z has no answer)
        F(z) = min c'(x, y) subject to  all rows and bounds at z and lower'y <= v(z)     (the optimistic answer)
    the optimum is the least F(z)

With few ``z`` this is exact up to the tolerance of linear programs (:data:`FACE` for the follower's optimal face). It
does not apply where other columns of the leader stand in the follower's rows; then it says so.

Reference: J. F. Bard, "Practical Bilevel Optimization", 1998.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog

from oar_opt.errors import InputError, SolverError
from oar_opt.problem import Indices, Vector

FACE = 1e-9
"""Relative to the follower's optimum (at least 1)."""
SLACK = 1e-9
"""Of the leader's rows in whole numbers alone."""
FEASIBILITY = 1e-9
FIX = "export it again"


@dataclass
class BilevelFiles:
    """Both files as they stand, in the order of the text; ``senses`` are of all rows but the objective's."""

    senses: dict[str, str] = field(default_factory=dict)
    objective: str = ""
    columns: list[str] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)
    entries: dict[tuple[str, str], float] = field(default_factory=dict)
    rhs: dict[str, float] = field(default_factory=dict)
    lower: dict[str, float] = field(default_factory=dict)
    upper: dict[str, float] = field(default_factory=dict)
    lower_cost: dict[str, float] = field(default_factory=dict)
    lower_rows: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BilevelOptimum:
    """The leader's optimum, None where no choice of the whole numbers has an answer; how many choices were tried."""

    value: float | None
    choices: int


def read_bilevel(mps: Path, aux: Path) -> BilevelFiles:
    """Raises :class:`InputError` where one of the files is not what the module's docstring says."""
    found = BilevelFiles()
    _read_mps(found, mps)
    _read_aux(found, aux)
    return found


# -- the texts ---


def _read_mps(found: BilevelFiles, path: Path) -> None:
    section, inside = "", False
    for place, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        if line.startswith("*"):
            continue
        if not line.startswith(" "):
            section = line.split()[0]
            continue
        kind, first, second, value = line[1:3].strip(), line[4:12].strip(), line[14:22].strip(), line[24:36].strip()
        if second == "'MARKER'":
            inside = line[36:].strip() == "'INTORG'"
            continue
        if line[36:].strip() or any(line[k : k + 1].strip() for k in (0, 3, 12, 13, 22, 23)):
            raise InputError(f"{path}, line {place}", "has something outside the fields of fixed columns", FIX)
        _take(found, section, kind, first, second, float(value) if value else 0.0, inside)
    if section != "ENDATA":
        raise InputError(str(path), "ends without ENDATA", FIX)


def _take(found: BilevelFiles, section: str, kind: str, first: str, second: str, value: float, inside: bool) -> None:
    match section:
        case "ROWS" if kind == "N":
            found.objective = first
        case "ROWS":
            found.senses[first] = kind
        case "COLUMNS":
            if first not in found.lower:
                found.columns.append(first)
                found.lower[first], found.upper[first] = 0.0, math.inf
            found.entries[second, first] = value
            found.whole |= {first} if inside else set()
        case "RHS":
            found.rhs[second] = value
        case "BOUNDS":
            if kind in ("MI", "FR"):
                found.lower[second] = -math.inf
            else:
                (found.lower if kind == "LO" else found.upper)[second] = value


def _read_aux(found: BilevelFiles, path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()

    def between(begin: str, end: str) -> list[str]:
        if begin not in lines or end not in lines:
            raise InputError(str(path), f"has no section from {begin} to {end}", FIX)
        return lines[lines.index(begin) + 1 : lines.index(end)]

    for line in between("@VARSBEGIN", "@VARSEND"):
        name, price = line.split()
        found.lower_cost[name] = float(price)
    found.lower_rows = between("@CONSTRSBEGIN", "@CONSTRSEND")
    counts = [lines[lines.index(tag) + 1] for tag in ("@NUMVARS", "@NUMCONSTRS")]
    if counts != [str(len(found.lower_cost)), str(len(found.lower_rows))]:
        raise InputError(str(path), f"announces {' and '.join(counts)} variables and rows, and has others", FIX)
    unknown = [*(set(found.lower_cost) - set(found.columns)), *(set(found.lower_rows) - set(found.senses))]
    if unknown:
        raise InputError(str(path), f"names what the MPS file has not: {', '.join(sorted(unknown))}", FIX)


# -- the optimum ---


def bilevel_optimum(files: BilevelFiles, most: int) -> BilevelOptimum | None:
    """By brute force over the leader's whole numbers; None where there are more than ``most`` choices of them."""
    program, best, tried = _Arrays(files), math.inf, 0
    for z in program.choices():
        tried += 1
        if tried > most:
            return None
        best = min(best, program.value(z))
    return BilevelOptimum(best if math.isfinite(best) else None, tried)


class _Arrays:
    """The program as dense arrays ``low_r <= A x <= high_r``."""

    def __init__(self, files: BilevelFiles) -> None:
        rows, place = list(files.senses), {name: j for j, name in enumerate(files.columns)}
        self.A = np.zeros((len(rows), len(place)))
        self.cost, self.lower_cost = np.zeros(len(place)), np.zeros(len(place))
        line = {row: r for r, row in enumerate(rows)}
        for (row, column), value in files.entries.items():
            if row == files.objective:
                self.cost[place[column]] = value
            else:
                self.A[line[row], place[column]] = value
        rhs = np.array([files.rhs.get(row, 0.0) for row in rows])
        senses = np.array([files.senses[row] for row in rows])
        self.low, self.high = np.where(senses == "L", -math.inf, rhs), np.where(senses == "G", math.inf, rhs)
        self.ends = np.array([[files.lower[name], files.upper[name]] for name in files.columns])
        for name, price in files.lower_cost.items():
            self.lower_cost[place[name]] = price
        self.whole = self._places(name in files.whole for name in files.columns)
        self.free = self._places(name not in files.whole for name in files.columns)
        self.follower = self._places(name in files.lower_cost for name in files.columns)
        self.lower_rows = self._places(row in set(files.lower_rows) for row in rows)
        self.linking = self.A[np.ix_(self.lower_rows, self.whole)].any(axis=0)
        self.answers: dict[tuple[float, ...], float | None] = {}
        others = np.setdiff1d(self.free, self.follower)
        if self.A[np.ix_(self.lower_rows, others)].any() or np.intersect1d(self.whole, self.follower).size:
            raise SolverError(
                "the follower's rows hold a continuous column of the leader, or its columns whole numbers"
            )

    @staticmethod
    def _places(flags: Any) -> Indices:
        found: Indices = np.flatnonzero(np.array(list(flags), dtype=bool))
        return found

    def choices(self) -> Iterator[Vector]:
        """Whole numbers that obey all rows in them alone, in lexicographic order."""
        own = self._places(not row.any() for row in self.A[:, self.free])
        A, low, high = self.A[np.ix_(own, self.whole)], self.low[own] - SLACK, self.high[own] + SLACK
        ranges = [range(math.ceil(a), math.floor(b) + 1) for a, b in self.ends[self.whole].tolist()]
        least = np.array([[min(a * r[0], a * r[-1]) for a, r in zip(row, ranges, strict=True)] for row in A.tolist()])
        most = np.array([[max(a * r[0], a * r[-1]) for a, r in zip(row, ranges, strict=True)] for row in A.tolist()])
        count = len(ranges)
        rest_low = [least[:, k:].sum(axis=1) if len(own) else np.zeros(0) for k in range(count + 1)]
        rest_high = [most[:, k:].sum(axis=1) if len(own) else np.zeros(0) for k in range(count + 1)]

        def extend(begun: tuple[int, ...], sums: Vector) -> Iterator[Vector]:
            k = len(begun)
            if ((sums + rest_low[k] > high) | (sums + rest_high[k] < low)).any():
                return
            if k == count:
                yield np.array(begun, dtype=float)
                return
            for value in ranges[k]:
                yield from extend((*begun, value), sums + A[:, k] * value)

        yield from extend((), np.zeros(len(own)))

    def value(self, z: Vector) -> float:
        """``F(z)``; infinite where there is no answer."""
        answer = self._answer(z)
        if answer is None:
            return math.inf
        face = answer + FACE * max(1.0, abs(answer))
        least = self._solve(self.cost, self.free, np.arange(len(self.A)), z, (self.lower_cost, face))
        return math.inf if least is None else least + float(self.cost[self.whole] @ z)

    def _answer(self, z: Vector) -> float | None:
        """``v(z)``, which depends on what of ``z`` the follower sees."""
        seen = tuple(z[self.linking].tolist())
        if seen not in self.answers:
            self.answers[seen] = self._solve(self.lower_cost, self.follower, self.lower_rows, z)
        return self.answers[seen]

    def _solve(
        self,
        cost: Vector,
        columns: Indices,
        rows: Indices,
        z: Vector,
        below: tuple[Vector, float] | None = None,
    ) -> float | None:
        """The least ``cost'x`` over some columns, with ``z`` fixed and under ``below``; None without any point."""
        A, moved = self.A[np.ix_(rows, columns)], self.A[np.ix_(rows, self.whole)] @ z
        low, high = self.low[rows] - moved, self.high[rows] - moved
        sides = [A[np.isfinite(high)], -A[np.isfinite(low)]]
        limits = [high[np.isfinite(high)], -low[np.isfinite(low)]]
        if below is not None:
            sides.append(below[0][columns][None, :])
            limits.append(np.array([below[1]]))
        found = linprog(
            cost[columns],
            A_ub=np.vstack(sides),
            b_ub=np.concatenate(limits),
            bounds=self.ends[columns],
            options={"primal_feasibility_tolerance": FEASIBILITY, "dual_feasibility_tolerance": FEASIBILITY},
        )
        if found.status == 2:
            return None
        if found.status != 0:
            raise SolverError(f"a linear program of the bilevel files ended with: {found.message}")
        return float(found.fun)
