"""How far a set of feature changes takes linear functions of a record, and its pull: rigorous intervals.

Letters of :mod:`oar_opt.risk`. A change ``delta (d,)`` turns ``xhat`` into ``xhat + E'delta``, with ``E (d, p)`` the
features' rows of the basis (the first ``d`` rows of the identity without one). All that is used of a set
(:class:`oar_opt.changes.ChangeSet`) is its box and its balls; steps, groups and rows only leave fewer changes.

- ``c'delta`` is at most the sum of ``max(c_j lower_j, c_j upper_j)``, and at most ``radius`` times the dual norm of
  ``scale_j c_j``, where a feature that can move one way only counts for the sign of ``c_j`` that this way serves.
- ``||c + B'delta||`` is convex, so it is largest at a vertex of the box (of few features) or of the l1 ball; otherwise
  the triangle inequality serves, with the largest singular value for the l2 ball.
- ``g v'xhat~`` with ``g`` and ``v'xhat~`` in intervals is largest at one of the four corners. Where ``g = g_0 +
  slope (f - f_0)`` and ``v'xhat~ = t_0 + dt`` with ``f = f_0 + df``, it is ``g_0 t_0 + (g_0 dt + slope t_0 df) +
  slope df dt``: the bracket is one linear function of ``delta``, and only the last product is bounded by corners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from oar_opt.changes import ChangeSet
from oar_opt.problem import Indices, Matrix, Norm, Vector
from oar_opt.risk import RegularizedRisk, line_over

MOST_CORNERS = 256
"""Vertices of a box that are looked at one by one."""
ROUNDING = 1e-9
"""Relative: decision values are taken to be off by that much where a pull may jump."""
DUAL = {Norm.L1: Norm.LINF, Norm.L2: Norm.L2, Norm.LINF: Norm.L1}


@dataclass(frozen=True, eq=False)
class ReferencePull:
    """What the moved record pulls at one fixed ``theta``: the interval of ``f`` and of ``g``, weight included.

    ``slope`` is that of the graph where it is one line over the interval, else None.
    """

    direction: Vector
    f: tuple[float, float]
    g: tuple[float, float]
    unmoved: float
    slope: float | None


@dataclass(frozen=True, eq=False)
class Reach:
    """A change set in the coordinates of a risk: ``xhat (p,)`` of the unmoved record, ``E`` as ``rows (d, p)``."""

    changes: ChangeSet
    xhat: Vector
    y: float
    a: float
    rows: Matrix

    @classmethod
    def of(cls, changes: ChangeSet, risk: RegularizedRisk) -> Reach:
        xhat: Vector = risk.extend(changes.x[None, :])[0]
        rows = np.eye(changes.d, risk.p) if risk.basis is None else risk.basis[: changes.d]
        return cls(changes, xhat, changes.y, risk.factor * changes.s, rows)

    # -- linear functions ---

    def support(self, C: Matrix) -> Vector:
        """An upper bound on ``c'delta`` for every row ``c`` of ``C (m, d)``."""
        lower, upper = self.changes.lower, self.changes.upper
        found: Vector = np.maximum(C * lower, C * upper).sum(axis=1)
        serving = np.where(C > 0, C * (upper > 0), -C * (lower < 0)) * self.changes.scales
        for ball in self.changes.balls:
            found = np.minimum(found, ball.radius * DUAL[ball.norm].of_rows(serving))
        return found

    def ends(self, V: Matrix) -> tuple[Vector, Vector]:
        """Lower and upper bound on ``v'xhat~`` for every row ``v`` of ``V (m, p)``."""
        still, C = V @ self.xhat, V @ self.rows.T
        return still - self.support(-C), still + self.support(C)

    def weighted(self, low: Vector, high: Vector) -> tuple[float, float]:
        """Bounds on ``w'delta`` for all ``low <= w <= high (d,)``, with infinite ends where nothing is known."""
        lower, upper = self.changes.lower, self.changes.upper
        corners = np.stack([_times(w, end) for w in (low, high) for end in (lower, upper)])
        down, up = float(corners.min(axis=0).sum()), float(corners.max(axis=0).sum())
        size = np.maximum(np.abs(low), np.abs(high))
        room = _times(size, np.where((lower == 0) & (upper == 0), 0.0, self.changes.scales))
        for ball in self.changes.balls:
            most = ball.radius * DUAL[ball.norm].of(room) if ball.radius > 0 else 0.0
            down, up = max(down, -most), min(up, most)
        return down, up

    # -- lengths ---

    def longest(self, centre: Vector, B: Matrix) -> float:
        """An upper bound on ``||centre + B'delta||`` with ``centre (k,)`` and ``B (d, k)``."""
        lower, upper = self.changes.lower, self.changes.upper
        free = np.flatnonzero(upper > lower)
        centre = centre + np.where(upper > lower, 0.0, lower) @ B
        found = [self._at_corners(centre, B, free)]
        scaled = self.changes.scales[free, None] * B[free]
        for ball in self.changes.balls:
            if ball.norm is Norm.L1 and len(free):
                steps = ball.radius * np.vstack([scaled, -scaled])
                found.append(float(np.linalg.norm(centre + steps, axis=1).max()))
            elif ball.norm is Norm.L2 and len(free):
                found.append(float(np.linalg.norm(centre)) + ball.radius * float(np.linalg.norm(scaled, 2)))
        return min(found)

    def _at_corners(self, centre: Vector, B: Matrix, free: Indices) -> float:
        lower, upper = self.changes.lower, self.changes.upper
        if 2 ** len(free) <= MOST_CORNERS:
            corners = np.array(list(product(*zip(lower[free], upper[free], strict=True)))).reshape(-1, len(free))
            return float(np.linalg.norm(centre + corners @ B[free], axis=1).max())
        most = np.maximum(np.abs(lower), np.abs(upper))[free]
        return float(np.linalg.norm(centre) + most @ np.linalg.norm(B[free], axis=1))

    # -- pulls ---

    def at(self, risk: RegularizedRisk, theta: Vector) -> ReferencePull:
        """The pulls at ``theta``, one for every change; the selection is the loss's own, hence monotone in ``f``."""
        low, high = (float(end[0]) for end in self.ends(theta[None, :]))
        off = ROUNDING * (1 + max(abs(low), abs(high)))
        f = np.array([low - off, high + off, self.xhat @ theta])
        g = self.a * risk.loss.pull(np.full(3, self.y), f)
        line = line_over(risk.loss.pieces(self.y), *f[:2])
        slope = None if line is None else self.a * line.slope
        unmoved = float(g[2]) if line is None else self.a * float(line.slope * f[2] + line.offset)
        return ReferencePull(self.rows @ theta, (f[0], f[1]), (float(g[0]), float(g[1])), unmoved, slope)

    def products(self, V: Matrix, g_low: float, g_high: float) -> tuple[Vector, Vector]:
        """Bounds on ``g v'xhat~`` for all ``g_low <= g <= g_high``, row by row."""
        corners = np.stack([g * end for end in self.ends(V) for g in (g_low, g_high)])
        return corners.min(axis=0), corners.max(axis=0)

    def reference_products(self, V: Matrix, pull: ReferencePull) -> tuple[Vector, Vector]:
        """Bounds on ``g v'xhat~`` where ``g`` is the change's pull at the reference."""
        low, high = self.products(V, *pull.g)
        if pull.slope is None:
            return low, high
        still, C = V @ self.xhat, V @ self.rows.T
        linear = pull.unmoved * C + pull.slope * still[:, None] * pull.direction
        direction = pull.direction[None, :]
        steps = (-float(self.support(-direction)[0]), float(self.support(direction)[0]))
        square = np.stack([pull.slope * df * dt for df in steps for dt in (-self.support(-C), self.support(C))])
        centre = pull.unmoved * still
        up = centre + self.support(linear) + square.max(axis=0)
        down = centre - self.support(-linear) + square.min(axis=0)
        return np.maximum(low, down), np.minimum(high, up)

    def reference_distance(self, pull: ReferencePull, other: Vector, whiten: Matrix) -> float:
        """A bound on ``|| whiten (g xhat~ - other) ||``, ``whiten (k, p)``; convex in ``g``, so at one of its ends."""
        return max(
            self.longest(whiten @ (g * self.xhat - other), g * self.rows @ whiten.T) for g in (pull.g[0], pull.g[1])
        )

    def highest_loss(self, risk: RegularizedRisk, pull: ReferencePull) -> float:
        """The largest loss at the reference, which is convex in ``f``."""
        return self.a * float(risk.loss.value(np.full(2, self.y), np.array(pull.f)).max())

    def pulls_over(self, risk: RegularizedRisk, f_low: float, f_high: float) -> tuple[float, float]:
        """The least and the largest pull over an interval of ``f``, which may have infinite ends."""
        ends = risk.loss.pull_range(self.y)
        low, high = self.a * ends[0], self.a * ends[1]
        if math.isfinite(f_low) and math.isfinite(f_high) and f_low <= f_high:
            ends = risk.loss.pulls_over(self.y, f_low, f_high)
            low, high = max(low, self.a * ends[0]), min(high, self.a * ends[1])
        return low, high


def _times(left: Vector, right: Vector) -> Vector:
    """The product, where nothing times anything, infinite too, is nothing."""
    zero = (left == 0) | (right == 0)
    return np.where(zero, 0.0, np.where(zero, 1.0, left) * np.where(zero, 1.0, right))
