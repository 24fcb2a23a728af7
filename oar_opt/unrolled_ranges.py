"""How far gradient steps can take decision values: rigorous intervals, found by following directions back to the start.

Letters of :mod:`formulations.single_level.unrolled`. Member ``i`` has alternatives ``k``: its options, and its change
sets (:mod:`oar_opt.changes`). Step ``t`` has the nominal weight ``Sbar_t``: that of the batch if every member has its
weight ``sbar_i`` of now (or 1 where the step follows the sum). With ``v_t = theta_(t+1) - K theta_t``, ``K`` what a
step keeps, the update ``S_t v_t = -rate sum g xhat`` is

    theta_(t+1) = K theta_t - rate/Sbar_t sum_i g_ti xhat_i + sum_i (sbar_i - s_i) / Sbar_t v_t.

For a direction ``a``, every part of ``a'theta_(t+1)`` that is affine in ``theta_t`` for whatever move is written as a
direction of ``theta_t`` and a constant: the first term, and for the squared loss the pulls of all records, the members'
as if they stayed. What is left is a sum over members of what their alternative ``k`` contributes,

    squared:  -rate/Sbar (a'xhat_k g_k - a'xhat_0 g_0) + (sbar_i - s_k)/Sbar a'v_t        (k = 0: to stay)
    others:   -rate/Sbar  a'xhat_k g_k                 + (sbar_i - s_k)/Sbar a'v_t

and, for the other losses, of the fixed records' ``-rate/Sbar a'xhat_i g_i``. The same is done with the direction of
``theta_t``, and so on, until ``theta_0`` is reached, which is a given point. As a member takes the same alternative in
all steps, its contributions are summed over the steps first; then the largest sum takes for every member its best
alternative, and where ``c`` members may act, for the ``c`` members that gain most, the others staying. Given that an
alternative is chosen, its member's is that one.

Each contribution is bounded with the intervals of the step that it belongs to, which are known by then:

- *Pulls.* Hinge: ``-s y`` where ``y f < 1`` all over the interval of ``f``, 0 where ``y f >= 1``, else all between;
  logistic: monotone in ``f``. An alternative's pull counts only where it is chosen, so the interval of ``f`` given that
  serves. At ``theta_0`` all is known; whether a kink is reached there is decided in rational arithmetic.
- *Squared loss.* Around a centre ``c`` of the box of ``theta_t``, ``a'xhat_k g_k - a'xhat_0 g_0`` is its value at ``c``
  plus ``q'(theta_t - c)`` with ``q = 2 (s_k a'xhat_k xhat_k - s_0 a'xhat_0 xhat_0)``. The latter is at most ``sum_j
  |q_j|`` times the box's half-widths, at most the sum of the two terms' own, and at most what ``q`` gives when it is
  itself followed back to the start, given ``k`` (with the former two on that way, and not in very long runs).
- *Change sets, squared loss.* With ``u = a'E'`` and ``w = E theta``, ``E`` the features' rows, ``g a'xhat~ - g_0
  a'xhat`` is ``2 s ((f_0 - y) u'delta + a'xhat w'delta + w'delta u'delta)``. At the centre the first two terms are one
  linear function of ``delta``; what ``theta_t - c`` adds to them, and the last term, are products of two intervals.
- *Change sets, other losses.* ``g`` and ``a'xhat~`` in intervals: the largest of four corners.
- *Means.* ``a'v_t = -rate/S_t sum g a'xhat``, the sum in an interval, ``S_t`` between its extremes; and ``a'v_t`` is
  what the update says of ``theta_(t+1)`` without ``K theta_t``, followed back to the start with the former interval on
  its right side.

All numbers are widened by :data:`oar_opt.bounds.WIDENING`, and by their rounding errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oar_opt.bounds import WIDENING, Interval, Reason
from oar_opt.change_reach import Reach
from oar_opt.changes import ChangeSet
from oar_opt.problem import Flags, Indices, Matrix, Option, OptionKind, Records, RecourseProblem, Vector
from oar_opt.step_loss import slopes, slopes_at_start, slopes_over
from oar_opt.update_settings import GradientSettings, StepLoss

ROUNDING = 1e-13
"""Relative to the sizes of all terms of a sum, what floating point may hide."""
MOST_STEPS, MOST_TERMS = 4, 10**8
"""Steps, and numbers, up to which contributions are followed back a second time: the work is cubic in the steps."""


def unroll(settings: GradientSettings, records: Records) -> Matrix | None:
    """All iterates on these records, ``(T + 1, p)``, in plain floating point; None where a mean is undefined."""
    thetas = [settings.theta0]
    for t, batch in enumerate(settings.batches):
        X, y, s = settings.extend(records.X[batch]), records.y[batch], records.s[batch]
        total = float(s.sum()) if settings.is_mean else 1.0
        if total == 0:
            return None
        pulls = slopes_at_start(settings.loss, X, y, thetas[0]) if t == 0 else slopes(settings.loss, y, X @ thetas[-1])
        thetas.append(settings.kept * thetas[-1] - settings.rate / total * ((s * pulls) @ X))
    return np.array(thetas)


# -- who does what ---


def reach_of(changes: ChangeSet, settings: GradientSettings) -> Reach:
    """A change set in the coordinates of the parameters."""
    xhat: Vector = settings.extend(changes.x[None, :])[0]
    return Reach(changes, xhat, changes.y, changes.s, np.eye(changes.d, len(xhat)))


@dataclass(frozen=True, eq=False)
class Alternatives:
    """What the members can do, options first: ``X (A, p)``, ``y``, ``s`` and the member ``owner``, ``(A,)`` each.

    ``stay (k,)`` is every member's place of staying; ``reaches`` belong to the last places.
    """

    X: Matrix
    y: Vector
    s: Vector
    owner: Indices
    stay: Indices
    reaches: tuple[Reach, ...]

    @classmethod
    def of(
        cls,
        settings: GradientSettings,
        menus: Sequence[tuple[int, Sequence[Option]]],
        sets: dict[tuple[int, int], ChangeSet],
    ) -> Alternatives:
        options = [(i, option) for i, (_, own) in enumerate(menus) for option in own]
        places = {record: i for i, (record, _) in enumerate(menus)}
        d, reaches = (
            len(settings.theta0) - settings.has_intercept,
            tuple(reach_of(one, settings) for one in sets.values()),
        )
        X = settings.extend(np.array([option.x for _, option in options]).reshape(-1, d))
        return cls(
            X=np.vstack([X, *(reach.xhat for reach in reaches)]),
            y=np.array([*(option.y for _, option in options), *(reach.y for reach in reaches)]),
            s=np.array([*(option.s for _, option in options), *(reach.a for reach in reaches)]),
            owner=np.array([*(i for i, _ in options), *(places[record] for record, _ in sets)], dtype=np.int64),
            stay=np.array([k for k, (_, o) in enumerate(options) if o.kind is OptionKind.STAY], dtype=np.int64),
            reaches=reaches,
        )

    @property
    def count(self) -> int:
        return len(self.y)

    @property
    def first_set(self) -> int:
        """The place of the first change set."""
        return self.count - len(self.reaches)


@dataclass(frozen=True, eq=False)
class Batch:
    """Who arrives in one step: ``X``, ``y``, ``s`` of the records of nobody that have weight, and the ``members``.

    ``total`` is ``Sbar``, ``base (k,)`` what every member's weight counts in it; ``weights`` are the least positive and
    the largest weight of the batch, which ``varies`` or not, and ``can_be_empty``. For a sum all of it is 1.
    """

    index: Indices
    X: Matrix
    y: Vector
    s: Vector
    members: Flags
    total: float
    base: Vector
    weights: tuple[float, float]
    varies: bool
    can_be_empty: bool

    @classmethod
    def of(
        cls, problem: RecourseProblem, settings: GradientSettings, batch: Indices, alternatives: Alternatives
    ) -> Batch:
        own = np.array([member.record for member in problem.collective.members], dtype=np.int64)
        index = np.setdiff1d(batch, own)
        index = index[problem.records.s[index] > 0]
        X, y, s = settings.extend(problem.records.X[index]), problem.records.y[index], problem.records.s[index]
        members = np.isin(own, batch)
        if not settings.is_mean:
            base = np.zeros(len(own))
            return cls(index, X, y, s, members, 1.0, base, (1.0, 1.0), varies=False, can_be_empty=False)
        low, now, high = _extreme_weights(alternatives, members, len(own))
        fixed, cap = float(s.sum()), problem.collective.budget.members
        least, most = fixed + _capped(now, low, cap), fixed + _capped(now, high, cap)
        varies = bool((low[members] < high[members]).any())
        base = now if fixed + float(now.sum()) > 0 else high
        total, empty = fixed + float(base.sum()), least == 0
        if empty:
            arriving = alternatives.s[members[alternatives.owner]]
            least = float(arriving[arriving > 0].min(initial=np.inf))
        return cls(index, X, y, s, members, total, base, (least, most), varies, can_be_empty=empty)

    @property
    def widest(self) -> float:
        """The factor by which its weight may be away from the nominal one."""
        if not self.total > 0 or not np.isfinite(self.weights[0]):
            return np.inf
        return max(self.total / self.weights[0], self.weights[1] / self.total)


def _extreme_weights(alternatives: Alternatives, members: Flags, k: int) -> tuple[Vector, Vector, Vector]:
    """Every member's least, present and largest weight, 0 for those that do not arrive."""
    low, high = np.full(k, np.inf), np.full(k, -np.inf)
    np.minimum.at(low, alternatives.owner, alternatives.s)
    np.maximum.at(high, alternatives.owner, alternatives.s)
    now = alternatives.s[alternatives.stay]
    return np.where(members, low, 0.0), np.where(members, now, 0.0), np.where(members, high, 0.0)


def _capped(now: Vector, then: Vector, cap: int | None) -> float:
    """The sum of ``now`` where the ``cap`` members that change it most have ``then``, all in one direction."""
    gains = then - now
    if cap is not None and cap < len(gains):
        gains = gains[np.argsort(-np.abs(gains))[:cap]]
    return float(now.sum() + gains.sum())


# -- intervals ---


@dataclass(frozen=True, eq=False)
class Known:
    """What is proved of ``theta_t``: its box, and decision values and pulls of what arrives in step ``t``.

    ``centre`` and ``radius (p,)`` hold the box. ``anyhow`` are the intervals of ``xhat'theta_t`` of all alternatives,
    without their change; ``given`` those of ``f`` if chosen, ``pulls`` likewise, weight included. ``fixed`` and
    ``fixed_pulls`` are those of the batch's records of nobody.
    """

    box: Interval
    centre: Vector
    radius: Vector
    anyhow: Interval
    given: Interval
    pulls: tuple[Vector, Vector]
    fixed: Interval
    fixed_pulls: tuple[Vector, Vector]


@dataclass(eq=False)
class _Sums:
    """Ends of ``a'theta_t``: a constant ``(m,)`` each, and what every alternative adds to it, ``(m, A)`` each; ``size``
    is that of all terms."""

    lower: Vector
    upper: Vector
    low: Matrix
    high: Matrix
    size: Vector

    @classmethod
    def nothing(cls, m: int, alternatives: int) -> _Sums:
        return cls(np.zeros(m), np.zeros(m), np.zeros((m, alternatives)), np.zeros((m, alternatives)), np.zeros(m))

    def add(self, constant: Vector, fixed: tuple[Vector, Vector], own: tuple[Matrix, Matrix]) -> None:
        self.lower, self.upper = self.lower + constant + fixed[0], self.upper + constant + fixed[1]
        self.low, self.high = self.low + own[0], self.high + own[1]
        self.size = self.size + np.abs(constant) + np.abs(fixed[0]) + np.abs(fixed[1])

    def start(self, V: Matrix, theta: Vector) -> None:
        self.lower, self.upper = self.lower + V @ theta, self.upper + V @ theta
        self.size = self.size + np.abs(V) @ np.abs(theta) + np.maximum(np.abs(self.low), np.abs(self.high)).sum(axis=1)


class UnrolledRanges:
    """Intervals for all iterates; see the module's docstring. ``known[t]`` for ``t < T``."""

    def __init__(
        self,
        problem: RecourseProblem,
        settings: GradientSettings,
        menus: Sequence[tuple[int, Sequence[Option]]],
        sets: dict[tuple[int, int], ChangeSet],
    ) -> None:
        self.settings, self.cap = settings, problem.collective.budget.members
        self.alternatives = Alternatives.of(settings, menus, sets)
        self.members = len(menus)
        self.batches = [Batch.of(problem, settings, batch, self.alternatives) for batch in settings.batches]
        self.known: list[Known] = []
        self._maps: list[tuple[Matrix, Vector]] = []
        with np.errstate(over="ignore", invalid="ignore"):
            for t in range(settings.T):
                self.known.append(self._know(t))
                self._maps.append(self._map(self.batches[t]))

    @property
    def p(self) -> int:
        return len(self.settings.theta0)

    @property
    def loss(self) -> StepLoss:
        return self.settings.loss

    # -- directions ---

    def along(self, A: Matrix, t: int, *, deep: bool = True) -> Interval:
        """The interval of ``a'theta_t`` for every row of ``A (m, p)``, over all moves; closer where ``deep``."""
        with np.errstate(over="ignore", invalid="ignore"):
            sums = self._sums(A, t, deep=deep and self.settings.T <= MOST_STEPS)
            return _interval(*self._extent(sums), sums.size)

    def given(self, A: Matrix, t: int, chosen: Indices) -> Interval:
        """The same over moves in which the alternative ``chosen[r]`` is taken."""
        with np.errstate(over="ignore", invalid="ignore"):
            sums = self._sums(A, t, deep=self.settings.T <= MOST_STEPS)
            return _interval(*self._extent_given(sums, chosen), sums.size)

    def _extent(self, sums: _Sums) -> tuple[Vector, Vector]:
        """Least and largest value over all moves, row by row."""
        m = len(sums.size)
        cap, nobody = np.full(m, self.members if self.cap is None else self.cap), np.full(m, -1)
        lower = sums.lower - self._largest(-sums.low, cap, nobody)
        return lower, sums.upper + self._largest(sums.high, cap, nobody)

    def _extent_given(self, sums: _Sums, chosen: Indices) -> tuple[Vector, Vector]:
        """The same over moves in which the row's alternative is taken."""
        own, rows = self.alternatives.owner[chosen], np.arange(len(chosen))
        cap = (self.members if self.cap is None else self.cap) - ~np.isin(chosen, self.alternatives.stay)
        lower = sums.lower - self._largest(-sums.low, cap, own) + sums.low[rows, chosen]
        return lower, sums.upper + self._largest(sums.high, cap, own) + sums.high[rows, chosen]

    def _largest(self, values: Matrix, cap: Indices, without: Indices) -> Vector:
        """The largest sum of one value per member, row by row, where ``cap`` of them may leave off staying."""
        found, gains = np.zeros(len(values)), np.zeros((len(values), self.members))
        for i, stay in enumerate(self.alternatives.stay):
            counts = without != i
            best = values[:, self.alternatives.owner == i].max(axis=1)
            found += np.where(counts, values[:, stay], 0.0)
            gains[:, i] = np.where(counts, best - values[:, stay], 0.0)
        ranked = -np.sort(-gains, axis=1)
        within = np.arange(self.members)[None, :] < cap[:, None]
        total: Vector = found + np.where(within, ranked, 0.0).sum(axis=1)
        return total

    def _sums(self, A: Matrix, t: int, *, deep: bool) -> _Sums:
        """``deep``: what contributions depend on is followed back to the start too, once."""
        found = _Sums.nothing(len(A), self.alternatives.count)
        V = np.array(A, dtype=np.float64)
        for tau in reversed(range(t)):
            found.add(V @ self._maps[tau][1], self._fixed_contributions(V, tau), self._contributions(V, tau, deep=deep))
            V = V @ self._maps[tau][0]
        found.start(V, self.settings.theta0)
        return found

    # -- one step ---

    def _map(self, batch: Batch) -> tuple[Matrix, Vector]:
        """What is affine in ``theta_t`` for whatever move: a matrix and a constant."""
        M, c = np.diag(self.settings.kept), np.zeros(self.p)
        if self.loss is not StepLoss.SQUARED:
            return M, c
        stay = self.alternatives.stay[batch.members]
        X = np.vstack([batch.X, self.alternatives.X[stay]])
        y, s = np.append(batch.y, self.alternatives.y[stay]), np.append(batch.s, self.alternatives.s[stay])
        share = 2.0 * self.settings.rate / batch.total
        return M - share * (X.T * s) @ X, share * (s * y) @ X

    def _fixed_contributions(self, V: Matrix, tau: int) -> tuple[Vector, Vector]:
        if self.loss is StepLoss.SQUARED:
            return np.zeros(len(V)), np.zeros(len(V))
        batch, (low, high) = self.batches[tau], self.known[tau].fixed_pulls
        weights = -self.settings.rate / batch.total * (V @ batch.X.T)
        ends = np.stack([weights * low, weights * high])
        return ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1)

    def _contributions(self, V: Matrix, tau: int, *, deep: bool) -> tuple[Matrix, Matrix]:
        """What every alternative adds to the directions ``V (m, p)`` in step ``tau``, ``(m, A)`` each end."""
        batch, alternatives = self.batches[tau], self.alternatives
        low, high = self._squared(V, tau, deep=deep) if self.loss is StepLoss.SQUARED else self._plain(V, tau)
        share = -self.settings.rate / batch.total
        low, high = share * high, share * low
        if batch.varies:
            moved = self._refined_shift(V, tau) if deep else self._shift(V, tau)
            change = (batch.base[alternatives.owner] - alternatives.s) / batch.total
            ends = np.stack([change * end[:, None] for end in moved])
            low, high = low + ends.min(axis=0), high + ends.max(axis=0)
        arrives = batch.members[alternatives.owner]
        return np.where(arrives, low, 0.0), np.where(arrives, high, 0.0)

    def _plain(self, V: Matrix, tau: int) -> tuple[Matrix, Matrix]:
        """Bounds on ``g v'xhat`` of every alternative."""
        alternatives, (pull_low, pull_high) = self.alternatives, self.known[tau].pulls
        weights = V @ alternatives.X.T
        ends = np.stack([weights * pull_low, weights * pull_high])
        low, high = ends.min(axis=0), ends.max(axis=0)
        for place, reach in enumerate(alternatives.reaches, start=alternatives.first_set):
            low[:, place], high[:, place] = reach.products(V, float(pull_low[place]), float(pull_high[place]))
        return low, high

    def _squared(self, V: Matrix, tau: int, *, deep: bool) -> tuple[Matrix, Matrix]:
        """Bounds on ``g v'xhat - g_0 v'xhat_0`` of every alternative."""
        alternatives, known = self.alternatives, self.known[tau]
        X, y, s, stay = alternatives.X, alternatives.y, alternatives.s, alternatives.stay[alternatives.owner]
        weights = 2.0 * s * (V @ X.T)
        f = X @ known.centre
        middle = weights * (f - y)
        own = np.abs(weights) * _farthest(known.given, f) + np.abs(weights[:, stay]) * _farthest(known.anyhow, f)[stay]
        q = weights[:, :, None] * X - weights[:, stay, None] * X[stay]
        off = np.minimum(own, np.abs(q) @ known.radius)
        low, high = -off, off
        if deep and tau > 0 and q.size * alternatives.count <= MOST_TERMS:
            ends = self._followed(q, tau)
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
        middle = middle - middle[:, stay]
        low, high = middle + low, middle + high
        low[:, alternatives.stay] = high[:, alternatives.stay] = 0.0
        for place, reach in enumerate(alternatives.reaches, start=alternatives.first_set):
            low[:, place], high[:, place] = self._squared_changes(V, reach, known, place)
        return low, high

    def _followed(self, q: NDArray[np.float64], tau: int) -> tuple[Matrix, Matrix]:
        """Bounds on ``q'(theta_tau - c)`` for ``q (m, A, p)``, each given that its alternative is taken."""
        m, count = q.shape[:2]
        directions = q.reshape(m * count, self.p)
        sums = self._sums(directions, tau, deep=False)
        lower, upper = self._extent_given(sums, np.tile(np.arange(count), m))
        still, slack = directions @ self.known[tau].centre, ROUNDING * sums.size
        return (lower - still - slack).reshape(m, count), (upper - still + slack).reshape(m, count)

    def _squared_changes(self, V: Matrix, reach: Reach, known: Known, place: int) -> tuple[Vector, Vector]:
        d = reach.changes.d
        still, C, w = V @ reach.xhat, V @ reach.rows.T, known.centre[:d]
        f = float(reach.xhat @ known.centre)
        linear = (f - reach.y) * C + still[:, None] * w
        steps = np.stack([-reach.support(-C), reach.support(C)])
        box = known.box
        turned = reach.weighted(box.lower[:d] - w, box.upper[:d] - w)
        weighted = reach.weighted(box.lower[:d], box.upper[:d])
        residual = (known.anyhow.lower[place] - f, known.anyhow.upper[place] - f)
        low, high = -reach.support(-linear), reach.support(linear)
        for first, second in ((residual, steps), (turned, np.stack([still, still])), (weighted, steps)):
            corners = np.stack([a * b for a in first for b in second])
            low, high = low + corners.min(axis=0), high + corners.max(axis=0)
        return 2.0 * reach.a * low, 2.0 * reach.a * high

    def _shift(self, V: Matrix, tau: int) -> tuple[Vector, Vector]:
        """Bounds on ``v'(theta_(tau+1) - K theta_tau)``, a mean over the batch."""
        batch, known, owner = self.batches[tau], self.known[tau], self.alternatives.owner
        weights = V @ batch.X.T
        ends = np.stack([weights * end for end in known.fixed_pulls])
        low, high = ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1)
        own_low, own_high = self._plain(V, tau)
        for i in np.flatnonzero(batch.members):
            low, high = low + own_low[:, owner == i].min(axis=1), high + own_high[:, owner == i].max(axis=1)
        corners = np.stack([-self.settings.rate * end / weight for end in (low, high) for weight in batch.weights])
        return corners.min(axis=0), corners.max(axis=0)

    def _refined_shift(self, V: Matrix, tau: int) -> tuple[Vector, Vector]:
        """The same, also followed back to the start; what weights change is bounded by the former."""
        low, high = self._shift(V, tau)
        M, c = self._map(self.batches[tau])
        sums = self._sums(V @ (M - np.diag(self.settings.kept)), tau, deep=False)
        sums.add(V @ c, self._fixed_contributions(V, tau), self._contributions(V, tau, deep=False))
        lower, upper = self._extent(sums)
        off = ROUNDING * sums.size
        return np.maximum(low, lower - off), np.minimum(high, upper + off)

    def shift(self, t: int) -> Interval:
        """The interval of ``theta_(t+1) - K theta_t``, ``(p,)``."""
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = self._refined_shift(np.eye(self.p), t)
            return _interval(low, high, np.abs(low) + np.abs(high))

    # -- what is known of an iterate ---

    def _know(self, t: int) -> Known:
        alternatives, batch = self.alternatives, self.batches[t]
        if t == 0:
            return self._know_start(batch)
        box = self.along(np.eye(self.p), t)
        centre = (box.lower + box.upper) / 2
        anyhow = self.along(alternatives.X, t)
        given = self._meet(self.given(alternatives.X, t, np.arange(alternatives.count)), anyhow)
        given = self._with_changes(given, box)
        # The squared loss needs them for shifts of a mean only.
        fixed = self.along(batch.X, t, deep=self.loss is not StepLoss.SQUARED)
        return Known(
            box,
            centre,
            np.maximum(box.upper - centre, centre - box.lower),
            anyhow,
            given,
            self._pulls(alternatives.y, alternatives.s, given),
            fixed,
            self._pulls(batch.y, batch.s, fixed),
        )

    def _know_start(self, batch: Batch) -> Known:
        """At ``theta_0``, a given point."""
        theta, alternatives = self.settings.theta0, self.alternatives
        anyhow, fixed = _point(alternatives.X @ theta), _point(batch.X @ theta)
        given = self._with_changes(anyhow, _point(theta))
        own = alternatives.s * slopes_at_start(self.loss, alternatives.X, alternatives.y, theta)
        low, high = (end.copy() for end in (own, own))
        sets = slice(alternatives.first_set, None)
        ends = self._pulls(alternatives.y, alternatives.s, given)
        low[sets], high[sets] = ends[0][sets], ends[1][sets]
        pulls = batch.s * slopes_at_start(self.loss, batch.X, batch.y, theta)
        return Known(_point(theta), theta, np.zeros(self.p), anyhow, given, (low, high), fixed, (pulls, pulls))

    def _pulls(self, y: Vector, s: Vector, f: Interval) -> tuple[Vector, Vector]:
        low, high = slopes_over(self.loss, y, f.lower, f.upper)
        return s * low, s * high

    def _meet(self, one: Interval, other: Interval) -> Interval:
        found = one.copy()
        found.lower, found.upper = np.maximum(one.lower, other.lower), np.minimum(one.upper, other.upper)
        return found

    def _with_changes(self, still: Interval, box: Interval) -> Interval:
        """The intervals of ``f`` with the changes that a set may make."""
        found, d = still.copy(), self.p - self.settings.has_intercept
        low, high = still.lower.copy(), still.upper.copy()
        for place, reach in enumerate(self.alternatives.reaches, start=self.alternatives.first_set):
            down, up = reach.weighted(box.lower[:d], box.upper[:d])
            low[place] += down - WIDENING * (1 + abs(low[place] + down))
            high[place] += up + WIDENING * (1 + abs(high[place] + up))
        found.lower, found.upper = low, high
        return found


def _point(values: Vector) -> Interval:
    reasons = [Reason.STEPS] * len(values)
    return Interval(values, values, reasons, list(reasons))


def _interval(lower: Vector, upper: Vector, size: Vector) -> Interval:
    """Widened by what floating point may hide; without proof where it has overflown."""
    finite = np.isfinite(lower) & np.isfinite(upper) & np.isfinite(size)
    low = np.where(finite, lower - WIDENING * (1 + np.abs(lower)) - ROUNDING * size, -np.inf)
    high = np.where(finite, upper + WIDENING * (1 + np.abs(upper)) + ROUNDING * size, np.inf)
    reasons = [Reason.STEPS if proved else Reason.NONE for proved in finite]
    return Interval(low, high, reasons, list(reasons))


def _farthest(interval: Interval, centre: Vector) -> Vector:
    """The largest distance from ``centre`` within every interval."""
    found: Vector = np.maximum(interval.upper - centre, centre - interval.lower)
    return found
