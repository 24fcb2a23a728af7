"""Nearest points of change sets, for searches that walk through them.

Everything is in scaled features, ``u = delta / scale``, and with grids widened to their range: those come last, by
:func:`nearest_on_grids`. Letters of :mod:`oar_opt.changes`.

**Box and one ball.** The nearest point to ``v`` minimises ``1/2 ||u - v||^2 + mu/2 ||u||^2`` (l2), or ``+ tau ||u||_1``
(l1), over the box, for the multiplier that makes the norm equal to the radius. Both separate into coordinates: ``u =
clip(t v)`` with ``t = 1 / (1 + mu)``, and ``u = clip(sign(v) max(0, |v| - tau))``. The norm grows with ``t`` and falls
with ``tau``, so bisection finds it, for many sets at once. The box holds the linf ball.

**Rows and groups.** The nearest point of a polyhedron ``G u >= h`` to ``v`` is a least distance problem: with ``y``,
not negative, minimising ``||(G, h - G v)' y - e||``, ``e`` the last unit vector, and ``r`` what is left, ``u = v -
r_(1..d) / r_(d+1)``. With an l2 ball it is the polyhedron's point nearest to ``t v``, for the ``t`` that meets the
radius. An l1 ball is a polyhedron too, of which only the faces ``sign(u)'u <= radius`` that turn out to be needed are
added.

**A budget for all together** is met by shrinking: ``t v`` for the sum of squared l2 norms, soft thresholds for sums of
l1 norms, of l2 norms (member by member) and of linf norms (what is left of ``v`` after its projection on an l1 ball).
Where boxes or balls cut this is a point that keeps the budget, not always the nearest one.

Reference: C. L. Lawson, R. J. Hanson, "Solving Least Squares Problems", 1974 (least distance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import brentq, nnls

from oar_opt.changes import ChangeSet
from oar_opt.problem import CostKind, Flags, Matrix, Norm, Vector
from oar_opt.rules import ROUNDING

HALVINGS = 50
FACES = 100
INSIDE = 1e-8
"""Largest violation, over scaled features, of a point that counts as one of the set."""
SHARES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
"""Of a change, tried one after the other where rounding it breaks a rule."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Nearest points of several sets, row by row."""

    sets: tuple[ChangeSet, ...]

    @cached_property
    def lower(self) -> Matrix:
        return np.array([one.lower / one.scales for one in self.sets])

    @cached_property
    def upper(self) -> Matrix:
        return np.array([one.upper / one.scales for one in self.sets])

    @cached_property
    def radii(self) -> dict[Norm, Vector]:
        return {norm: np.array([one.ball(norm) for one in self.sets]) for norm in (Norm.L1, Norm.L2)}

    @cached_property
    def entangled(self) -> dict[int, Entangled]:
        """The sets that are more than a box and one ball, by their position."""
        return {i: Entangled(one) for i, one in enumerate(self.sets) if _is_entangled(one)}

    @cached_property
    def is_plain(self) -> Flags:
        plain: Flags = np.array([i not in self.entangled for i in range(len(self.sets))], dtype=bool)
        return plain

    def __call__(self, V: Matrix) -> Matrix:
        """For ``V (k, d)`` the nearest points, row by row."""
        U: Matrix = np.clip(V, self.lower, self.upper)
        for norm, radius in self.radii.items():
            rows = np.flatnonzero((norm.of_rows(U) > radius) & self.is_plain)
            if len(rows):
                U[rows] = _into_ball(norm, V[rows], self.lower[rows], self.upper[rows], radius[rows])
        for i, one in self.entangled.items():
            U[i] = one(V[i])
        return U


def _is_entangled(one: ChangeSet) -> bool:
    both = math.isfinite(one.ball(Norm.L1)) and math.isfinite(one.ball(Norm.L2))
    return bool(one.groups) or len(one.b) > 0 or both


def _into_ball(norm: Norm, V: Matrix, lower: Matrix, upper: Matrix, radius: Vector) -> Matrix:
    """The nearest points of box and ball to points ``V`` whose clipped ones are outside the ball."""
    straight = V * (radius / norm.of_rows(V))[:, None] if norm is Norm.L2 else _into_l1(V, radius)
    if ((straight >= lower) & (straight <= upper)).all():
        return straight
    tops = np.abs(V).max(axis=1)

    def at(t: Vector) -> Matrix:
        shrunk = t[:, None] * V if norm is Norm.L2 else _soft(V, ((1 - t) * tops)[:, None])
        return np.clip(shrunk, lower, upper)

    low, high = np.zeros(len(V)), np.ones(len(V))
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        outside = norm.of_rows(at(middle)) > radius
        low, high = np.where(outside, low, middle), np.where(outside, middle, high)
    return at(low)


def _into_l1(V: Matrix, radius: Vector) -> Matrix:
    """The nearest points of l1 balls to points outside: the threshold by sorting."""
    sizes = -np.sort(-np.abs(V), axis=1)
    thresholds = (np.cumsum(sizes, axis=1) - radius[:, None]) / np.arange(1, V.shape[1] + 1)
    last = np.maximum(1, (sizes > thresholds).sum(axis=1)) - 1
    return _soft(V, thresholds[np.arange(len(V)), last][:, None])


def _soft(V: Matrix, threshold: Matrix | float) -> Matrix:
    shrunk: Matrix = np.sign(V) * np.maximum(0.0, np.abs(V) - threshold)
    return shrunk


# -- rows and groups ---


@dataclass(frozen=True, eq=False)
class Entangled:
    """One set with rows, groups or two balls."""

    one: ChangeSet

    @cached_property
    def moves(self) -> Flags:
        return self.one.movable

    @cached_property
    def resting(self) -> Vector:
        """The change that the features without room make, ``(d,)``."""
        return np.where(self.moves, 0.0, self.one.lower / self.one.scales)

    @cached_property
    def polyhedron(self) -> tuple[Matrix, Vector]:
        """``G u >= h`` in the features that have room; rows of unit length, equalities as two."""
        one, scales, moves = self.one, self.one.scales, self.moves
        equal = np.zeros((len(one.groups), one.d))
        for k, group in enumerate(one.groups):
            equal[k, group.columns] = scales[group.columns]
        totals = np.array([group.total for group in one.groups])
        rows = np.vstack([-one.A * scales, equal, -equal])
        ends = np.concatenate([-one.b, totals, -totals]) - rows @ self.resting
        box = np.eye(one.d)[moves][:, moves]
        lower, upper = (one.lower / scales)[moves], (one.upper / scales)[moves]
        G, h = np.vstack([rows[:, moves], box, -box]), np.concatenate([ends, lower, -upper])
        lengths = np.linalg.norm(G, axis=1)
        real = lengths > 0
        return G[real] / lengths[real, None], h[real] / lengths[real]

    def __call__(self, v: Vector) -> Vector:
        """The nearest point to ``v (d,)``; one that is not in the set where the set is empty."""
        radius, (G, h) = self.one.ball(Norm.L1), self.polyhedron
        u = self._with_l2(v, G, h)
        for _ in range(FACES):
            if np.abs(u).sum() <= radius * (1 + ROUNDING):
                break
            face = -np.sign(u)
            length = max(1.0, float(np.linalg.norm(face[self.moves])))
            G = np.vstack([G, face[self.moves] / length])
            h = np.append(h, (-radius - float(face @ self.resting)) / length)
            u = self._with_l2(v, G, h)
        return u

    def _with_l2(self, v: Vector, G: Matrix, h: Vector) -> Vector:
        radius, u = self.one.ball(Norm.L2), self._linear(v, G, h)
        if np.linalg.norm(u) <= radius:
            return u
        least = self._linear(0 * v, G, h)
        if np.linalg.norm(least) >= radius:
            return least

        def beyond(t: float) -> float:
            return float(np.linalg.norm(self._linear(t * v, G, h))) - radius

        return self._linear(float(brentq(beyond, 0.0, 1.0, xtol=1e-13, rtol=1e-12)) * v, G, h)

    def _linear(self, v: Vector, G: Matrix, h: Vector) -> Vector:
        """The nearest point with ``G u >= h``."""
        start = v[self.moves]
        u = self.resting.copy()
        lack = h - G @ start
        size = float(lack.max(initial=0.0))
        if size > 0:
            E = np.vstack([G.T, lack / size])
            goal = np.append(np.zeros(len(start)), 1.0)
            left = E @ nnls(E, goal, maxiter=100 * E.shape[1])[0] - goal
            if left[-1] < -1e-12:
                start = start - size * left[:-1] / left[-1]
        u[self.moves] = start
        return u


def _widened(one: ChangeSet) -> ChangeSet:
    """Without its grids."""
    return replace(one, grids=(None,) * one.d) if one.is_discrete else one


# -- a budget for all together ---


@dataclass(frozen=True, eq=False)
class BudgetProjection:
    """Points of all sets whose costs, but for the charges, are at most ``total`` together; see the module's page."""

    projection: Projection
    kind: CostKind
    total: float

    def __call__(self, V: Matrix) -> Matrix:
        U = self.projection(V)
        if self.kind is CostKind.COUNT or self.spent(U) <= self.total:
            return U
        least = self.projection(0 * V)
        if self.spent(least) >= self.total:
            return least

        def over(t: float) -> float:
            return self.spent(self.projection(_shrunk(self.kind, V, t))) - self.total

        t = float(brentq(over, 0.0, 1.0, xtol=1e-12, rtol=1e-12))
        drawn = self.projection(_shrunk(self.kind, V, t))
        # What is left of the root's own error goes, since sets and costs are convex.
        spent = self.spent(drawn)
        if spent > self.total:
            first = self.spent(least)
            drawn = least + (self.total - first) / (spent - first) * (drawn - least)
        return drawn

    def spent(self, U: Matrix) -> float:
        """What changes cost, but for the charges."""
        if self.kind is CostKind.SQL2:
            return float((U**2).sum())
        return float(Norm(self.kind.value).of_rows(U).sum())


def _shrunk(kind: CostKind, V: Matrix, t: float) -> Matrix:
    """``V`` for ``t = 1``, nothing for ``t = 0``."""
    match kind:
        case CostKind.L1:
            return _soft(V, (1 - t) * float(np.abs(V).max()))
        case CostKind.L2:
            lengths = Norm.L2.of_rows(V)[:, None]
            thin: Matrix = V * np.maximum(0.0, 1 - (1 - t) * lengths.max() / np.maximum(lengths, 1e-300))
            return thin
        case CostKind.LINF:
            return _less_peaks(V, (1 - t) * float(np.abs(V).sum(axis=1).max()))
        case _:
            return t * V


def _less_peaks(V: Matrix, threshold: float) -> Matrix:
    """``V`` without its projections, row by row, on the l1 ball of that radius."""
    rows = np.abs(V).sum(axis=1) > threshold
    rest = np.zeros_like(V)
    rest[rows] = V[rows] - _into_l1(V[rows], np.full(int(rows.sum()), threshold))
    return rest


# -- grids ---


def nearest(one: ChangeSet, delta: Vector) -> Vector | None:
    """The change of the set with its grids widened that is nearest to ``delta``; None where there is none."""
    found: Vector = Projection((one,))(delta[None] / one.scales)[0] * one.scales
    return found if _widened(one).violation(found) <= INSIDE else None


def held(one: ChangeSet, delta: Vector) -> ChangeSet:
    """The set with its features that move in steps held at ``delta``."""
    steps = np.array([grid is not None for grid in one.grids])
    lower, upper = (np.where(steps, delta, end) for end in (one.lower, one.upper))
    return replace(one, lower=lower, upper=upper, grids=(None,) * one.d)


def nearest_on_grids(one: ChangeSet, delta: Vector) -> Vector | None:
    """A change of the set near ``delta``; None where rounding finds none.

    Features that move in steps are rounded (of a one-hot group the largest entry becomes 1), the others are moved to
    where the rules hold; where there is no such place, smaller changes are rounded.
    """
    if not one.is_discrete:
        return nearest(one, delta)
    for share in SHARES:
        rounded = _rounded(one, share * delta)
        found = nearest(held(one, rounded), rounded)
        if found is not None and one.violation(found) <= INSIDE:
            return found
    return None


def _rounded(one: ChangeSet, delta: Vector) -> Vector:
    near = np.clip(delta, one.lower, one.upper)
    for j, grid in enumerate(one.grids):
        if grid is not None:
            near[j] = grid[int(np.abs(grid - delta[j]).argmin())]
    for group in one.groups:
        columns = [int(j) for j in group.columns if one.grids[j] is not None]
        near[columns] = one.lower[columns]
        if columns and group.total - near[group.columns].sum() > 0.5:
            top = max(columns, key=lambda j: (one.upper[j] > one.lower[j], one.x[j] + delta[j]))
            near[top] = one.upper[top]
    return near
