"""Moment relaxations: linear programs over the moments of degree two of groups of variables, with safe bounds.

Let ``v = (1, v_1, ..., v_m)`` be numbers with ``|v_j| <= 1``, known to satisfy polynomial equations and inequalities of
degree two. Replace every product ``v_i v_j`` by a variable, its *moment*. A polynomial is then linear; the matrix of
all products of a group of variables (a *clique*) is positive semidefinite, since it is ``v v'``; and so is the matrix
of any polynomials that is known to be positive semidefinite at every such ``v``. The largest value of a linear function
of the moments is an upper bound on its largest value at the points themselves. Only products that some clique, or some
row, has in it become variables (correlative sparsity).

The semidefinite program is solved by Clarabel,  ``min q'x,  A x + s = b,  s in K``.  Its answer only proposes
multipliers ``z``. They are projected onto the dual cone ``K*`` (signs; eigenvalues), and then, for every point,

    q'x  =  (q + A'z)'x - b'z + z's  >=  -b'z - sum_j |q + A'z|_j,

because ``z's >= 0`` and every moment lies in ``[-1, 1]``. That sum, lowered by a bound on its own rounding and for
coefficients that are off by :data:`COEFFICIENTS` of what they were added up from, is what is returned as the bound: it
holds however far Clarabel is from an optimum. Rows that are nothing but such rounding are left out, since to bring them
to size 1 would make a demand of it.

Reference: H. Waki, S. Kim, M. Kojima, M. Muramatsu, "Sums of Squares and Semidefinite Program Relaxations for
Polynomial Optimization Problems with Structured Sparsity", 2006; safe bounds: C. Jansson, D. Chaykin, C. Keil,
"Rigorous Error Bounds for the Optimal Value in Semidefinite Programming", 2007.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import clarabel
import numpy as np
from scipy import sparse

from oar_opt.problem import Vector

UNIT = 2.0**-53
ROOT = math.sqrt(2.0)
COEFFICIENTS = 1e-12
"""Error of a row's coefficients, relative to the sizes of all that was added up to them."""
EQUILIBRATION = 50
"""Rounds; with Clarabel's own 10 it ended less accurately on the boxes."""

INACCURATE = ("AlmostSolved", "NumericalError", "InsufficientProgress")
CAREFUL: Mapping[str, float] = MappingProxyType(
    {"static_regularization_constant": 1e-7, "max_step_fraction": 0.9, "max_iter": 60}
)
"""Settings for once more, where Clarabel ended inaccurately under its own (1e-8, 0.99): on six records with incomes
beside 0/1 features its bounds were worse than those of the regions around, so that a search never ended. They take more
iterations, of which the later ones change nothing that counts."""

Monomial = tuple[int, int]
"""Two variables by number, the smaller first; 0 stands for the number 1."""


class Polynomial:
    """A polynomial of degree two at most: its coefficients by monomial.

    ``size`` sums the sizes of all that was added up to it, also of what cancelled: rounding is relative to that.
    """

    __slots__ = ("size", "terms")

    def __init__(self, terms: Mapping[Monomial, float] | None = None, size: float | None = None) -> None:
        self.terms: dict[Monomial, float] = dict(terms or {})
        self.size = sum(map(abs, self.terms.values())) if size is None else size

    def __add__(self, other: Polynomial | float) -> Polynomial:
        found = Polynomial(self.terms, self.size)
        found.add(other)
        return found

    __radd__ = __add__

    def add(self, other: Polynomial | float, factor: float = 1.0) -> None:
        """``self += factor * other`` in place."""
        terms = self.terms
        if not isinstance(other, Polynomial):
            terms[0, 0] = terms.get((0, 0), 0.0) + factor * float(other)
            self.size += abs(factor * float(other))
            return
        self.size += abs(factor) * other.size
        for monomial, value in other.terms.items():
            terms[monomial] = terms.get(monomial, 0.0) + factor * value

    def __neg__(self) -> Polynomial:
        return self * -1.0

    def __sub__(self, other: Polynomial | float) -> Polynomial:
        found = Polynomial(self.terms, self.size)
        found.add(other, -1.0)
        return found

    def __rsub__(self, other: float) -> Polynomial:
        return -self + other

    def __mul__(self, other: Polynomial | float) -> Polynomial:
        if not isinstance(other, Polynomial):
            factor = float(other)
            terms = {monomial: factor * value for monomial, value in self.terms.items()} if factor else {}
            return Polynomial(terms, abs(factor) * self.size)
        found: dict[Monomial, float] = {}
        for (_, i), a in _linear(self):
            for (_, j), c in _linear(other):
                monomial = (i, j) if i <= j else (j, i)
                found[monomial] = found.get(monomial, 0.0) + a * c
        return Polynomial(found, self.size * other.size)

    __rmul__ = __mul__


def _linear(polynomial: Polynomial) -> list[tuple[Monomial, float]]:
    terms = list(polynomial.terms.items())
    assert all(i == 0 for (i, _), _ in terms), "only linear polynomials are multiplied"
    return terms


def combine(values: Vector, polynomials: Sequence[Polynomial]) -> Polynomial:
    """``values'polynomials``."""
    found = Polynomial()
    for value, polynomial in zip(values, polynomials, strict=True):
        if value:
            found.add(polynomial, float(value))
    return found


@dataclass(frozen=True)
class MomentSolution:
    """``bound``: a proved upper bound on the maximum (minus infinity: no point exists; infinity: nothing proved).

    ``moments`` are those that Clarabel ended with, by monomial; empty where it has none. ``status`` is its word.
    """

    bound: float
    moments: Mapping[Monomial, float]
    status: str

    def value(self, polynomial: Polynomial) -> float:
        """The polynomial under these moments."""
        return sum(value * self.moments[monomial] for monomial, value in polynomial.terms.items())

    def values(self, polynomials: Sequence[Polynomial]) -> Vector:
        return np.array([self.value(polynomial) for polynomial in polynomials])


class MomentProgram:
    """Variables in ``[-1, 1]``, rows and positive semidefinite matrices of polynomials, and an objective.

    Two monomials that are known to be equal may be named so (:meth:`identify`) before they are used.
    """

    def __init__(self) -> None:
        self.count = 1
        self._same: dict[Monomial, Monomial] = {}
        self._column: dict[Monomial, int] = {(0, 0): -1}
        self._equal: list[Polynomial] = []
        self._least: list[Polynomial] = []
        self._matrices: list[list[list[Polynomial]]] = []

    # -- stating ---

    def variable(self, size: float = 1.0) -> Polynomial:
        """A new quantity in ``[-size, size]``, as a polynomial of the variable behind it."""
        self.count += 1
        return Polynomial({(0, self.count - 1): size})

    @staticmethod
    def number(quantity: Polynomial) -> int:
        """The variable behind a quantity."""
        ((_, number),) = quantity.terms
        return number

    def identify(self, one: Monomial, other: Monomial) -> None:
        """Both are the same moment from now on; their sizes must agree."""
        one, other = (min(one), max(one)), (min(other), max(other))
        self._same[one] = self._same.get(other, other)

    def equal(self, polynomial: Polynomial) -> None:
        """``polynomial = 0``."""
        self._equal.append(polynomial)

    def at_least_zero(self, polynomial: Polynomial) -> None:
        """``polynomial >= 0``."""
        self._least.append(polynomial)

    def semidefinite(self, matrix: list[list[Polynomial]]) -> None:
        """A symmetric matrix of polynomials, its upper triangle given (``matrix[i][j]`` for ``i <= j``)."""
        self._matrices.append(matrix)

    def clique(self, quantities: Sequence[Polynomial]) -> None:
        """All products of 1 and these quantities form a positive semidefinite matrix."""
        numbers = [0, *(self.number(quantity) for quantity in quantities)]
        rows = [
            [Polynomial({(min(i, j), max(i, j)): 1.0}) if c >= r else Polynomial() for c, j in enumerate(numbers)]
            for r, i in enumerate(numbers)
        ]
        self._matrices.append(rows)

    # -- solving ---

    def maximise(
        self, objective: Polynomial, seconds: float | None = None, enough: float = -math.inf
    ) -> MomentSolution:
        """The bound, and the moments that go with it; at most ``seconds`` in Clarabel, which tries again where it ended
        inaccurately and the bound is more than ``enough``.

        Several objectives may be asked for in turn; no row may be added after the first.
        """
        A, b, _, cones = self._assembled
        q, constant = np.zeros(A.shape[1]), 0.0
        for monomial, value in objective.terms.items():
            column = self._column.get(self._same.get(monomial, monomial))
            if column is None:
                constant += abs(value)  # No row knows this moment, but it lies in [-1, 1].
            elif column < 0:
                constant += value
            else:
                q[column] -= value
        started = time.monotonic()
        found = self._proved(_run(A, b, q, cones, seconds), q, constant, objective.size)
        left = None if seconds is None else seconds - (time.monotonic() - started)
        if found.status not in INACCURATE or found.bound <= enough or (left is not None and left <= 0):
            return found
        again = self._proved(_run(A, b, q, cones, left, CAREFUL), q, constant, objective.size)
        return min(again, found, key=lambda solution: solution.bound)

    def _proved(self, answer: Any, q: Vector, constant: float, size: float) -> MomentSolution:
        """What Clarabel's multipliers prove, whatever it says of them; ``size`` is the objective's."""
        A, b, errors, cones = self._assembled
        status, x, z = str(answer.status), np.array(answer.x), np.array(answer.z)
        if not np.isfinite(z).all():
            return MomentSolution(math.inf, {}, status)
        z = _in_dual_cone(z, cones)
        if "PrimalInfeasible" in status:
            empty = _safe_bound(A, b, np.zeros(len(q)), z, float(errors @ np.abs(z))) < 0
            return MomentSolution(-math.inf if empty else math.inf, {}, status)
        # What Clarabel stops with may be far out; moments are not.
        moments = self._read(np.clip(x, -1.0, 1.0)) if np.isfinite(x).all() else {}
        error = COEFFICIENTS * size + float(errors @ np.abs(z))
        return MomentSolution(constant + _safe_bound(A, b, q, z, error), moments, status)

    @cached_property
    def _assembled(self) -> tuple[Any, Vector, Vector, list[tuple[str, int]]]:
        """``A, b``, what every row may be off by, and the cones."""
        rows, cones = self._rows()
        A, b = self._assemble(rows)
        return A, b, COEFFICIENTS * np.array([factor * polynomial.size for polynomial, factor in rows]), cones

    def _place(self, monomial: Monomial) -> int:
        """The column of a moment; -1 of the number 1. New ones arise only while rows are assembled."""
        monomial = self._same.get(monomial, monomial)
        if monomial not in self._column:
            self._column[monomial] = len(self._column) - 1
        return self._column[monomial]

    def _rows(self) -> tuple[list[tuple[Polynomial, float]], list[tuple[str, int]]]:
        """All rows with their factors, in the order of the cones."""
        equal, least = ([row for row in rows if not _is_rounding(row)] for rows in (self._equal, self._least))
        rows = [(polynomial, _factor(polynomial)) for polynomial in (*equal, *least)]
        cones = [("zero", len(equal)), ("nonnegative", len(least))]
        for matrix in self._matrices:
            size = len(matrix)
            scale = [math.sqrt(_factor(matrix[i][i])) for i in range(size)]
            for j in range(size):
                for i in range(j + 1):
                    rows.append((matrix[i][j], scale[i] * scale[j] * (1.0 if i == j else ROOT)))
            cones.append(("semidefinite", size))
        return rows, [(kind, size) for kind, size in cones if size]

    def _assemble(self, rows: list[tuple[Polynomial, float]]) -> tuple[Any, Vector]:
        """``A`` and ``b`` with ``s = b - A x`` the rows' values."""
        place, column, value, b = [], [], [], np.zeros(len(rows))
        for r, (polynomial, factor) in enumerate(rows):
            for monomial, coefficient in polynomial.terms.items():
                if coefficient == 0.0:
                    continue
                c = self._place(monomial)
                if c < 0:
                    b[r] += factor * coefficient
                else:
                    place.append(r)
                    column.append(c)
                    value.append(-factor * coefficient)
        shape = (len(rows), len(self._column) - 1)
        return sparse.csc_matrix((value, (place, column)), shape=shape), b

    def _read(self, x: Vector) -> dict[Monomial, float]:
        found = {monomial: (1.0 if c < 0 else float(x[c])) for monomial, c in self._column.items()}
        return found | {one: found[other] for one, other in self._same.items() if other in found}


def _run(
    A: Any,
    b: Vector,
    q: Vector,
    cones: Sequence[tuple[str, int]],
    seconds: float | None,
    further: Mapping[str, float] = MappingProxyType({}),
) -> Any:
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.equilibrate_max_iter = EQUILIBRATION
    if seconds is not None and math.isfinite(seconds):
        settings.time_limit = max(0.01, seconds)
    for name, value in further.items():
        setattr(settings, name, value)
    quadratic = sparse.csc_matrix((len(q), len(q)))
    return clarabel.DefaultSolver(quadratic, q, A, b, [_cone(*cone) for cone in cones], settings).solve()


def _cone(kind: str, size: int) -> Any:
    match kind:
        case "zero":
            return clarabel.ZeroConeT(size)
        case "nonnegative":
            return clarabel.NonnegativeConeT(size)
        case _:
            return clarabel.PSDTriangleConeT(size)


def _largest(polynomial: Polynomial) -> float:
    return max((abs(value) for value in polynomial.terms.values()), default=0.0)


def _is_rounding(polynomial: Polynomial) -> bool:
    return _largest(polynomial) <= COEFFICIENTS * polynomial.size


def _factor(polynomial: Polynomial) -> float:
    return 1.0 / (max(_largest(polynomial), COEFFICIENTS * polynomial.size) or 1.0)


def _in_dual_cone(z: Vector, cones: Sequence[tuple[str, int]]) -> Vector:
    """The multipliers, moved into the dual cone by more than rounding can undo."""
    found, start = z.copy(), 0
    for kind, size in cones:
        length = size * (size + 1) // 2 if kind == "semidefinite" else size
        part = found[start : start + length]
        if kind == "nonnegative":
            np.maximum(part, 0.0, out=part)
        elif kind == "semidefinite":
            part[:] = _semidefinite_part(part, size)
        start += length
    return found


def _semidefinite_part(part: Vector, size: int) -> Vector:
    columns, rows = np.tril_indices(size)  # the upper triangle, column by column
    weights = np.where(rows == columns, 1.0, ROOT)
    matrix = np.zeros((size, size))
    matrix[rows, columns] = part / weights
    matrix[columns, rows] = part / weights
    values, vectors = np.linalg.eigh(matrix)
    lifted = (vectors * np.maximum(values, 0.0)) @ vectors.T
    slack = 16 * size * size * UNIT * max(1e-300, float(np.abs(values).max(initial=0.0)))
    lifted[np.arange(size), np.arange(size)] += slack
    found: Vector = lifted[rows, columns] * weights
    return found


def _safe_bound(A: Any, b: Vector, q: Vector, z: Vector, error: float) -> float:
    """``b'z + sum_j |q + A'z|_j``, raised by ``error`` and by what rounding here may have taken from it."""
    rest = q + A.T @ z
    sizes = float(np.abs(b) @ np.abs(z) + (abs(A).T @ np.abs(z) + np.abs(q)).sum())
    bound = float(b @ z + np.abs(rest).sum() + (A.shape[0] + A.shape[1]) * UNIT * sizes) + error
    return bound if math.isfinite(bound) else math.inf
