"""Many change sets at once, and what a linear function can gain on each of them, paid for.

A change set whose features all move continuously, without linear rows or one-hot groups, is in scaled coordinates
``e = delta / scale``

    E = { lower <= e <= upper,  ||e||_1 <= R1,  ||e||_2 <= R2 },     lower <= 0 <= upper

(a linf radius is part of the box). :class:`ChangeArrays` holds ``m`` of them as arrays. Its *gain*

    gain(g) = max over e in E of  g'e - kappa c(e)

with the instance's cost ``c`` (l1, l2, sql2, linf; a count costs nothing here, whoever acts pays it) is found up to the
accuracy of a bisection and bounded by weak duality, whatever the bisection gave:

- an l1 cost or radius takes ``alpha`` off every slope: ``nu1 (||e||_1 - R1) <= 0`` is added for any ``nu1 >= 0``;
- the rest is quadratic, and its maximiser for a step ``tau`` is ``e = clip(tau g, lower, upper)``; it is optimal where
  ``1 / tau = beta / ||e||_2 + 2 gamma + eta``, with ``beta`` and ``gamma`` the weights of the l2 and sql2 cost and
  ``eta >= 0`` the multiplier of ``||e||_2^2 <= R2^2``;
- the bound is ``max over the box of (g - beta v)'e - alpha ||e||_1 - (gamma + eta / 2) ||e||^2`` coordinate by
  coordinate, plus ``eta R2^2 / 2 + nu1 R1``, for any ``v`` with ``||v||_2 <= 1``, since ``||e||_2 >= v'e``;
- a linf cost, on boxes alone: the best level is where the slopes of the features that could go further sum to
  ``kappa``; the bound is ``max over the box of (g - w)'e`` with ``||w||_1 <= kappa``, as ``kappa ||e||_inf >= w'e``.

Where the set is a ball in l2 and nothing else, all of it is known in closed form.

Reference: D. P. Bertsekas, "Nonlinear Programming", 1999 (duality of separable problems, projections).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oar_opt.changes import ChangeSet, balls_of
from oar_opt.problem import (
    CostKind,
    Direction,
    FeatureAction,
    Flags,
    Indices,
    Matrix,
    Norm,
    RecourseProblem,
    Vector,
)
from oar_opt.rules import ROUNDING

HALVINGS, CLOSE = 60, 1e-12
"""Of an interval in a bisection on multipliers."""


@dataclass(frozen=True, eq=False)
class ChangeArrays:
    """``m`` change sets. ``lower, upper (m, d)`` are None where no box cuts any of the balls ``R2 (m,)``.

    ``free (d,)`` are the features that are not fixed, ``charges (m,)`` what acting costs beside the change, and
    ``members (m,)`` the place of each set's member in the collective.
    """

    members: Indices
    records: Indices
    scales: Vector
    free: Flags
    cost: CostKind
    lower: Matrix | None
    upper: Matrix | None
    R1: Vector
    R2: Vector
    charges: Vector

    @classmethod
    def of(cls, sets: Sequence[tuple[int, ChangeSet]], scales: Vector, free: Flags, cost: CostKind) -> ChangeArrays:
        """Of single sets, each with the place of its member."""
        d = len(scales)
        found = cls(
            members=np.array([place for place, _ in sets], dtype=np.int64),
            records=np.array([one.record for _, one in sets], dtype=np.int64),
            scales=scales,
            free=free,
            cost=cost,
            lower=np.array([one.lower / scales for _, one in sets]).reshape(-1, d),
            upper=np.array([one.upper / scales for _, one in sets]).reshape(-1, d),
            R1=np.array([one.ball(Norm.L1) for _, one in sets]),
            R2=np.array([one.ball(Norm.L2) for _, one in sets]),
            charges=np.array([one.fixed_cost for _, one in sets]),
        )
        return found.without_needless_boxes()

    @classmethod
    def joined(cls, parts: Sequence[ChangeArrays]) -> ChangeArrays:
        """Several groups in one, members in order."""
        if len(parts) == 1:
            return parts[0]
        boxes = None if all(part.lower is None for part in parts) else [part.box() for part in parts]
        whole = replace(
            parts[0],
            members=np.concatenate([part.members for part in parts]),
            records=np.concatenate([part.records for part in parts]),
            R1=np.concatenate([part.R1 for part in parts]),
            R2=np.concatenate([part.R2 for part in parts]),
            charges=np.concatenate([part.charges for part in parts]),
            lower=None if boxes is None else np.concatenate([lower for lower, _ in boxes]),
            upper=None if boxes is None else np.concatenate([upper for _, upper in boxes]),
        )
        return whole.subset(np.argsort(whole.members, kind="stable"))

    @property
    def m(self) -> int:
        return len(self.records)

    @property
    def are_balls(self) -> bool:
        """Whether all sets are balls in l2, and their cost a function of that length."""
        plain = (CostKind.L2, CostKind.SQL2, CostKind.COUNT)
        return self.lower is None and not np.isfinite(self.R1).any() and self.cost in plain

    def without_needless_boxes(self) -> ChangeArrays:
        """The same without boxes where none cuts its ball."""
        if self.lower is None or self.upper is None or not np.isfinite(self.R2).all() or np.isfinite(self.R1).any():
            return self
        reach = np.where(self.free, self.R2[:, None], 0.0)
        inside = (self.lower <= -reach * (1 - 1e-12)) & (self.upper >= reach * (1 - 1e-12))
        return replace(self, lower=None, upper=None) if inside.all() else self

    def subset(self, rows: Indices | Flags) -> ChangeArrays:
        """Some of the sets."""
        return replace(
            self,
            members=self.members[rows],
            records=self.records[rows],
            lower=None if self.lower is None else self.lower[rows],
            upper=None if self.upper is None else self.upper[rows],
            R1=self.R1[rows],
            R2=self.R2[rows],
            charges=self.charges[rows],
        )

    def capped(self, most: float) -> ChangeArrays:
        """The same with no change that costs more than ``most``, charges and counts aside."""
        match self.cost:
            case CostKind.COUNT:
                return self
            case CostKind.L1:
                return replace(self, R1=np.minimum(self.R1, most))
            case CostKind.LINF:
                lower, upper = self.box()
                return replace(self, lower=np.maximum(lower, -most), upper=np.minimum(upper, most))
            case _:
                return replace(self, R2=np.minimum(self.R2, most**0.5 if self.cost is CostKind.SQL2 else most))

    def box(self) -> tuple[Matrix, Matrix]:
        """Ends of every coordinate, ``(m, d)`` each, in scaled coordinates."""
        if self.lower is not None and self.upper is not None:
            return self.lower, self.upper
        reach = np.where(self.free, self.R2[:, None], 0.0)
        return -reach, reach

    def costs(self, e: Matrix) -> Vector:
        """What scaled changes cost, without the charge and without a count, ``(m,)``."""
        match self.cost:
            case CostKind.COUNT:
                return np.zeros(len(e))
            case CostKind.SQL2:
                return np.asarray((e**2).sum(axis=1))
            case _:
                return Norm(self.cost.value).of_rows(e)

    def gain(self, g: Matrix, kappa: float) -> Gain:
        """The gains of slopes ``g (m, d)`` over scaled changes; see the module's docstring."""
        g = np.where(self.free, g, 0.0)
        if self.are_balls:
            return self._gain_on_balls(g, kappa)
        return _BoxedGain(self, g, kappa).best()

    def _gain_on_balls(self, g: Matrix, kappa: float) -> Gain:
        length = np.linalg.norm(g, axis=1)
        step, value = ball_gain(self.cost, self.R2, length, kappa)
        e = g * (step / np.maximum(length, 1e-300))[:, None]
        return Gain(e, value, value)


def continuous_sets(
    problem: RecourseProblem, places: Indices, records: Indices, action: FeatureAction
) -> tuple[ChangeArrays, ...]:
    """The sets of many members with one features action, at once; none of records without weight or room.

    For instances whose free features move continuously, without linear rows and groups.
    """
    balls = balls_of(problem, action)
    has_weight = problem.records.s[records] > 0
    free = np.array([not feature.is_fixed for feature in problem.features])
    if not balls or min(ball.radius for ball in balls) == 0 or not free.any() or not has_weight.any():
        return ()
    places, records = places[has_weight], records[has_weight]
    radius = {ball.norm: ball.radius for ball in balls}
    made = ChangeArrays(
        members=places,
        records=records,
        scales=problem.scales,
        free=free,
        cost=problem.collective.cost,
        lower=None,
        upper=None,
        R1=np.full(len(records), radius.get(Norm.L1, np.inf)),
        R2=np.full(len(records), radius.get(Norm.L2, np.inf)),
        charges=np.full(len(records), action.charge),
    )
    plain = all(f.direction is Direction.ANY or f.is_fixed for f in problem.features)
    plain &= all(f.is_fixed or (f.lower is None and f.upper is None) for f in problem.features)
    if plain and set(radius) == {Norm.L2}:
        return (made,)
    lower, upper = _boxes(problem, problem.records.X[records], min(radius.values()) * problem.scales)
    made = replace(made, lower=lower / problem.scales, upper=upper / problem.scales)
    has_room = np.asarray((upper > lower).any(axis=1))
    return (made.subset(has_room).without_needless_boxes(),) if has_room.any() else ()


def _boxes(problem: RecourseProblem, X: Matrix, reach: Vector) -> tuple[Matrix, Matrix]:
    """The features' bounds and directions on changes of the records ``X (m, d)``, as in :mod:`oar_opt.changes`."""
    lower, upper = np.tile(-reach, (len(X), 1)), np.tile(reach, (len(X), 1))
    for j, feature in enumerate(problem.features):
        if feature.is_fixed or feature.direction is Direction.INCREASE:
            lower[:, j] = 0.0
        if feature.is_fixed or feature.direction is Direction.DECREASE:
            upper[:, j] = 0.0
        slack = ROUNDING * np.maximum(np.maximum(1.0, np.abs(X[:, j])), feature.scale)
        for end, side in ((feature.lower, lower), (feature.upper, upper)):
            if end is None:
                continue
            room = end - X[:, j]
            near = np.where(np.abs(room) <= slack, 0.0, room)
            side[:, j] = np.maximum(side[:, j], near) if side is lower else np.minimum(side[:, j], near)
    return lower, upper


@dataclass(frozen=True, eq=False)
class Gain:
    """The changes ``e (m, d)``, scaled, what they gain, and what no change exceeds, ``(m,)`` each."""

    e: Matrix
    value: Vector
    bound: Vector


def ball_gain(cost: CostKind, radius: Vector, slope: Vector, kappa: float) -> tuple[Vector, Vector]:
    """The best length in ``[0, radius]`` along a slope at least 0, and its gain, ``(m,)`` each."""
    if cost is CostKind.SQL2 and kappa > 0:
        step = np.minimum(radius, slope / (2 * kappa))
        return step, slope * step - kappa * step**2
    weight = kappa if cost is CostKind.L2 else 0.0
    step = np.where(slope > weight, radius, 0.0)
    return step, (slope - weight) * step


# -- boxes ---


class _BoxedGain:
    """Gains on boxes with balls and any cost, all sets at once."""

    def __init__(self, sets: ChangeArrays, g: Matrix, kappa: float) -> None:
        self.sets, self.g, self.kappa = sets, g, kappa
        self.lower, self.upper = sets.box()
        self.alpha = kappa if sets.cost is CostKind.L1 else 0.0
        self.beta = kappa if sets.cost is CostKind.L2 else 0.0
        self.gamma = kappa if sets.cost is CostKind.SQL2 else 0.0

    def best(self) -> Gain:
        if self.sets.cost is CostKind.LINF and self.kappa > 0:
            return self._with_levels()
        e, tau, nu1 = self._within(self.lower, self.upper, self.alpha)
        return Gain(e, self._value(e), self._bound(e, tau, nu1, self.lower, self.upper, self.g))

    def _value(self, e: Matrix) -> Vector:
        return np.asarray((self.g * e).sum(axis=1) - self.kappa * self.sets.costs(e))

    # -- l1 radius, then the quadratic rest ---

    def _within(self, lower: Matrix, upper: Matrix, alpha: float) -> tuple[Matrix, Vector, Vector]:
        """The best change under the l1 weight ``alpha``, its step, and the multiplier of the l1 radius, ``(m,)``."""
        m = self.sets.m
        e, tau = self._quadratic(np.full(m, alpha), lower, upper)
        nu1 = np.zeros(m)
        over = self._l1(e) > self.sets.R1
        if not over.any():
            return e, tau, nu1
        if not np.isfinite(self.sets.R2).any() and self.beta == self.gamma == 0:
            greedy, price = self._greedy(alpha, lower, upper)
            return np.where(over[:, None], greedy, e), tau, np.where(over, price, 0.0)
        # The others have their answer, and perhaps no l1 radius at all.
        R1 = np.where(over, self.sets.R1, 0.0)
        low, high = np.zeros(m), np.abs(self.g).max(axis=1, initial=0.0) + 1e-300
        scale = high.copy()
        f_low, f_high = self._l1(e) - R1, -R1
        for k in range(HALVINGS):
            share = np.clip(f_low / np.maximum(f_low - f_high, 1e-300), 0.01, 0.99) if k % 2 else 0.5
            middle = low + share * (high - low)
            f = self._l1(self._quadratic(alpha + middle, lower, upper)[0]) - R1
            inside = f <= 0
            high, low = np.where(inside, middle, high), np.where(inside, low, middle)
            f_high, f_low = np.where(inside, f, f_high / 2), np.where(inside, f_low / 2, f)
            if (~over | (high - low <= CLOSE * scale) | ((f <= 0) & (f >= -CLOSE * R1))).all():
                break
        shorter, step = self._quadratic(alpha + high, lower, upper)
        longer = self._quadratic(alpha + low, lower, upper)[0]
        # Slopes that are equal leave room between the two: the point in between that has the radius is best as well.
        short, long = self._l1(shorter), self._l1(longer)
        share = np.clip((R1 - short) / np.maximum(long - short, 1e-300), 0.0, 1.0)
        mixed = shorter + share[:, None] * (longer - shorter)
        return np.where(over[:, None], mixed, e), np.where(over, step, tau), np.where(over, high, 0.0)

    def _greedy(self, alpha: float, lower: Matrix, upper: Matrix) -> tuple[Matrix, Vector]:
        """Where nothing but the l1 radius joins the features: the steepest go to their ends first."""
        g = _thinned(self.g, np.full(self.sets.m, alpha))
        order = np.argsort(-np.abs(g), axis=1, kind="stable")
        far = np.take_along_axis(np.where(g > 0, upper, np.where(g < 0, -lower, 0.0)), order, 1)
        before = np.cumsum(far, axis=1) - far
        taken = np.clip(self.sets.R1[:, None] - before, 0.0, far)
        e = np.empty_like(g)
        np.put_along_axis(e, order, taken, 1)
        steep = np.take_along_axis(np.abs(g), order, 1)
        last = np.maximum(0, (before < self.sets.R1[:, None]).sum(axis=1) - 1)
        return e * np.sign(g), np.take_along_axis(steep, last[:, None], 1)[:, 0]

    @staticmethod
    def _l1(e: Matrix) -> Vector:
        return np.asarray(np.abs(e).sum(axis=1))

    def _quadratic(self, alpha: Vector, lower: Matrix, upper: Matrix) -> tuple[Matrix, Vector]:
        """The best change under the l1 weight ``alpha``, and its step ``tau``; infinite where corners are best.

        Along ``clip(tau g)`` the features reach their ends one by one; between two such steps the squared length is
        ``tau^2 G + L``, with ``L`` of those at their ends and ``G`` of the others, so each condition is solved in turn.
        """
        g = _thinned(self.g, alpha)
        size, far = np.abs(g), np.where(g > 0, upper, -lower)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            steps = np.where(size > 0, far / size, np.inf)
            order = np.argsort(steps, axis=1)
            steps = np.take_along_axis(steps, order, 1)
            ends = np.take_along_axis(np.where(size > 0, far, 0.0), order, 1) ** 2
            slopes = np.take_along_axis(size, order, 1) ** 2
            L = np.hstack([np.zeros((len(g), 1)), np.cumsum(ends, axis=1)])
            G = np.hstack([np.cumsum(slopes[:, ::-1], axis=1)[:, ::-1], np.zeros((len(g), 1))])
            at = np.where(np.isfinite(steps), steps**2 * G[:, :-1] + L[:, :-1], np.inf)
            tau = _solved(steps, L, G, at <= self.sets.R2[:, None] ** 2, self.sets.R2, -1.0)
            if self.beta > 0:
                pays = np.isfinite(steps) & (at >= (self.beta * steps) ** 2)
                tau = np.minimum(tau, _solved(steps, L, G, pays, np.full(len(g), self.beta), 1.0))
            if self.gamma > 0:
                tau = np.minimum(tau, 1.0 / (2 * self.gamma))
            corner = np.where(g > 0, upper, np.where(g < 0, lower, 0.0))
            e = np.where(np.isfinite(tau)[:, None], np.clip(tau[:, None] * g, lower, upper), corner)
        return e, tau

    def _bound(self, e: Matrix, tau: Vector, nu1: Vector, lower: Matrix, upper: Matrix, g: Matrix) -> Vector:
        """Weak duality; see the module's docstring."""
        length = np.linalg.norm(e, axis=1)
        v = e / np.maximum(length, 1e-300)[:, None]
        # Any multiplier will do, so what rounding alone leaves of a step or a length need not be told from 1e-200.
        inverse = 1.0 / np.maximum(tau, 1e-200)
        eta = np.maximum(0.0, inverse - self.beta / np.maximum(length, 1e-200) - 2 * self.gamma)
        eta = np.where(np.isfinite(self.sets.R2) & (tau > 0), eta, 0.0)
        curvature = self.gamma + eta / 2
        alpha = self.alpha + nu1
        best = _separable(g - self.beta * v, alpha, curvature, lower, upper)
        radius2, radius1 = (np.where(np.isfinite(R), R, 0.0) for R in (self.sets.R2, self.sets.R1))
        first = best + eta * radius2**2 / 2 + nu1 * radius1
        if self.beta == 0:
            return np.asarray(first)
        # Where nothing pays, no direction v is known: any slope that l2's weight swallows will do.
        # None of it is spent on features that cannot go where their slope points.
        thin = np.where(np.where(g > 0, upper, -lower) > 0, _thinned(g, alpha), 0.0)
        shrunk = thin * np.minimum(1.0, self.beta / np.maximum(np.linalg.norm(thin, axis=1), 1e-300))[:, None]
        second = _separable(g - shrunk, alpha, np.full(len(g), self.gamma), lower, upper) + nu1 * radius1
        return np.asarray(np.minimum(first, second))

    # -- linf cost ---

    def _with_levels(self) -> Gain:
        """The best level, at which the slopes of the features that could go further are worth less than the cost."""
        sign, size = np.sign(self.g), np.abs(self.g)
        far = np.where(self.g > 0, self.upper, -self.lower)
        low, high = np.zeros(len(far)), far.max(axis=1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            pays = np.where(far > middle[:, None], size, 0.0).sum(axis=1) > self.kappa
            low, high = np.where(pays, middle, low), np.where(pays, high, middle)
        e = np.clip(sign * high[:, None], self.lower, self.upper)
        # Features that could go further need all of their share of the cost; those at their own end take the rest.
        further = far > high[:, None]
        first = np.where(further, size, 0.0)
        at_end = np.where(~further & (far >= high[:, None] * (1 - 1e-9)), size, 0.0)
        room = np.maximum(0.0, self.kappa - first.sum(axis=1)) / np.maximum(at_end.sum(axis=1), 1e-300)
        share = first * np.minimum(1.0, self.kappa / np.maximum(first.sum(axis=1), 1e-300))[:, None]
        w = (share + at_end * np.minimum(1.0, room)[:, None]) * sign
        none = np.zeros(len(e))
        return Gain(e, self._value(e), _separable(self.g - w, none, none, self.lower, self.upper))


def _solved(steps: Matrix, L: Matrix, G: Matrix, passed: Flags, end: Vector, side: float) -> Vector:
    """The step of the module's conditions, after the features that have ``passed`` their ends, ``(m,)``.

    ``side`` -1: where ``tau^2 G + L = end^2``; 1: where it is ``end^2 tau^2``. Infinite where no step is too long.
    """
    place = np.cumprod(passed, axis=1).sum(axis=1).astype(np.int64)[:, None]
    here, left = np.take_along_axis(L, place, 1)[:, 0], np.take_along_axis(G, place, 1)[:, 0]
    if side < 0:
        tau = np.where((left > 0) & np.isfinite(end), np.sqrt(np.maximum(0.0, end**2 - here) / left), np.inf)
    else:
        tau = np.where(end**2 > left, np.sqrt(here / (end**2 - left)), np.inf)
    # Rounding must not lead back before a step that was passed.
    last = np.take_along_axis(steps, np.maximum(place - 1, 0), 1)[:, 0]
    return np.asarray(np.where(place[:, 0] > 0, np.maximum(tau, last), tau))


def _thinned(g: Matrix, alpha: Vector) -> Matrix:
    """Slopes less the l1 weight, towards 0."""
    return np.asarray(np.sign(g) * np.maximum(0.0, np.abs(g) - alpha[:, None]))


def _separable(g: Matrix, alpha: Vector, curvature: Vector, lower: Matrix, upper: Matrix) -> Vector:
    """``max over the box of g'e - alpha ||e||_1 - curvature ||e||^2``, exactly, ``(m,)``."""
    thin = _thinned(g, alpha)
    weight, bend = alpha[:, None], curvature[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inner = np.where(bend > 0, thin / (2 * bend), np.where(thin > 0, upper, np.where(thin < 0, lower, 0.0)))
    e = np.clip(inner, lower, upper)
    return np.asarray((g * e - weight * np.abs(e) - bend * e**2).sum(axis=1))
