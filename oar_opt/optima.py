"""The set of all optima of a linear learner, where there is more than one.

A convex learner's optima are a convex set; for a support vector machine with a free intercept it is an interval of
``b``, for a learner that is a linear program a face of its polyhedron. Both are polytopes in ``(w, b)`` and are stated
here in as few coordinates ``t`` as they have dimensions,

    (w, b) = point + directions t     for all t with     rows t <= limits.

The columns of ``directions`` are scaled so that a unit of ``t`` changes decision values by about the size of the
targets; the rows have length 1. Questions about the set (the range of a decision value, the best point for the
collective) are linear programs in ``t``, solved by HiGHS through SciPy, and in one dimension by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, nnls

from oar_opt.errors import SolverError
from oar_opt.problem import Matrix, Vector

FEASIBILITY = 1e-10
"""The least that HiGHS accepts."""


@dataclass(frozen=True)
class Optima:
    """``point (d + 1,)``, ``directions (d + 1, k)``, ``rows (m, k)``, ``limits (m,)``; see the module's docstring."""

    point: Vector
    directions: Matrix
    rows: Matrix
    limits: Vector

    @classmethod
    def interval(cls, w: Sequence[float], low: float, high: float) -> Optima:
        """All intercepts from ``low`` to ``high``."""
        upwards = np.zeros((len(w) + 1, 1))
        upwards[-1] = 1.0
        middle = 0.5 * (low + high)
        return cls(np.append(w, middle), upwards, np.array([[1.0], [-1.0]]), np.array([high - middle, middle - low]))

    @property
    def dimension(self) -> int:
        return int(self.directions.shape[1])

    def at(self, t: Vector) -> Vector:
        """``(w, b)``."""
        parameters: Vector = self.point + self.directions @ t
        return parameters

    def parameter_range(self, j: int) -> tuple[float, float]:
        """The least and the largest value of one weight, or of the intercept (``j = -1``)."""
        low, high = self.range(self.directions[j])
        return float(self.point[j]) + low, float(self.point[j]) + high

    def range(self, slope: Vector) -> tuple[float, float]:
        """The least and the largest ``slope't``."""
        return -self.highest(-slope)[0], self.highest(slope)[0]

    def highest(self, slope: Vector) -> tuple[float, Vector]:
        """The largest ``slope't`` and a ``t`` that reaches it."""
        if self.dimension == 1:
            return self._highest_on_a_line(float(slope[0]))
        size = float(np.linalg.norm(slope))
        if size == 0:
            return 0.0, np.zeros(self.dimension)
        t = largest(slope / size, self.rows, self.limits)
        if t is None:
            raise SolverError("the set of the learner's optima seems empty: the data are too badly scaled")
        return float(slope @ t), t

    def _highest_on_a_line(self, slope: float) -> tuple[float, Vector]:
        column = self.rows[:, 0]
        side = column > 0 if slope >= 0 else column < 0
        ends = self.limits[side] / column[side]
        t = float(ends.min() if slope >= 0 else ends.max())
        return slope * t, np.array([t])

    def closest(self, to: Vector, rows: Matrix, limits: Vector) -> Vector | None:
        """The one optimum with ``rows t <= limits`` that is closest to ``to``, in ``t``; None where there is none."""
        return closest_point(to, np.vstack([self.rows, rows]), np.append(self.limits, limits))


def largest(slope: Vector, rows: Matrix, limits: Vector) -> Vector | None:
    """A maximiser of ``slope't`` subject to ``rows t <= limits``; None where no ``t`` satisfies them."""
    options = {"primal_feasibility_tolerance": FEASIBILITY, "dual_feasibility_tolerance": FEASIBILITY}
    found = linprog(-slope, A_ub=rows, b_ub=limits, bounds=(None, None), method="highs", options=options)
    if found.status == 2:
        return None
    if found.status != 0:
        raise SolverError(f"HiGHS does not settle which optimum the learner takes: {found.message}")
    return np.asarray(found.x, dtype=np.float64)


def closest_point(to: Vector, rows: Matrix, limits: Vector) -> Vector | None:
    """The point with ``rows t <= limits`` closest to ``to``; None where there is none.

    With ``t = to + x``, ``G = -rows``, ``h = rows to - limits`` this is the least distance ``min ||x||, G x >= h``. It
    follows from the nonnegative least squares ``min || [G'; h'] u - (0, ..., 0, 1) ||``, whose residual ``r`` gives
    ``x = -r / r_last`` and is 0 if and only if nothing satisfies ``G x >= h``. Reference: C. L. Lawson, R. J. Hanson,
    "Solving Least Squares Problems", 1974, chapter 23.
    """
    violated = rows @ to - limits
    if (violated <= 0).all():
        return to
    system = np.vstack([-rows.T, violated])
    target = np.append(np.zeros(len(to)), 1.0)
    u, length = nnls(system, target)
    residual = system @ u - target
    if length <= math.sqrt(FEASIBILITY) or residual[-1] >= 0:
        return None
    step: Vector = to - residual[:-1] / residual[-1]
    return step
