"""Bounds on the learner's parameters over all admissible moves, each with the reason that proves it.

Notation of :mod:`oar_opt.risk`. ``z`` is a choice of one option per member, or of a change from one of its change sets
(:mod:`oar_opt.changes`), ``J_z`` the learner's objective under it, ``theta+`` any minimiser of ``J_z``. The fixed
records (those of no member) and the penalty make ``J_F``. Wanted: for a direction ``u``, numbers ``lo <= u'theta+ <=
hi`` that hold for every admissible ``z``.

**Strong monotonicity** (for the l2 norm). Let ``M = lam R + sum_F a_i kappa_i xhat_i xhat_i'``, ``kappa_i >= 0`` such
that ``l(y_i, f) - kappa_i/2 f^2`` is convex over an interval that holds both ``f_i`` at ``theta_bar`` and, as proved so
far, ``f_i`` at every ``theta+``. On the segment between the two, ``J_z - 1/2 theta'M theta`` is convex for every ``z``.
Take any ``theta_bar`` and ``v_z`` in the subdifferential of ``J_z`` there. As 0 is in the subdifferential at
``theta+``, with ``D = theta+ - theta_bar``

    D'M D <= -v_z'D,    so    || D + M^-1 v_z / 2 ||_M <= || v_z ||_(M^-1) / 2.

``v_z = v_F + sum_i v_(i,z_i)`` is separable over members, hence ``u'D`` is at most

    1/2 max_z (-u'M^-1 v_z) + || u ||_(M^-1) * 1/2 max_z || v_z ||_(M^-1);

the first maximum is a sum of maxima over each member's options (of the largest such sums where the number of acting
members is capped), the second is bounded by the triangle inequality around the choice "all stay". Where ``theta_bar``
lies within ``e_i`` of a kink of record ``i``, a pull of the kink may be used at the price of ``e_i`` times the width
``r_i`` of all its pulls, added to the right of the first inequality: the ball's radius becomes
``sqrt(||v_z||^2/4 + sum_i e_i r_i)``; such a record has ``kappa_i = 0``.

**Self-concordance** (for a smooth loss with ``|l'''| <= l''``). Let ``H = lam R + sum_F a_i l''(f_i) xhat_i xhat_i'``
at ``theta_bar``. As in :mod:`oar_opt.newton_training`, but with the fixed records' curvature alone, which the other
losses only add to, ``||D||_H <= -log(1 - kappa nu) / kappa`` with ``nu = max_z || v_z ||_(H^-1)`` and ``kappa`` the
largest ``|| xhat_i ||_(H^-1)`` of a fixed record, where their product is below 1.

**Objective.** ``1/2 ||D||_M^2 <= J_z(theta_bar) - J_z(theta+)``, at most ``V = J_F(theta_bar) + sum_i max_k a_ik
l(y_ik, f_ik(theta_bar)) - min J_F``, since losses are at least 0; ``min J_F`` is bounded below by Fenchel duality. For
the l1 norm let ``t = theta+ - theta0`` and ``g`` any pulls of the fixed records (summing to 0 under a free intercept)
with ``v = sum_F g_i xhat_i``. The fixed losses are at least ``v'theta+ - sum_F (a_i l)*(g_i)``, hence

    sum_j (lam rho_j |t_j| + v_j t_j) <= J_F(theta_bar) + sum_i max_k a_ik l(...) + sum_F (a_i l)*(g_i) - v'theta0 =: V.

Where ``|v_j| < lam rho_j``, a unit of ``V`` buys ``t_j > 0`` at ``lam rho_j + v_j`` and ``t_j < 0`` at ``lam rho_j -
v_j``, and a linear function of ``t`` is largest where all is spent on one of them: ``u't`` is at most ``V`` times the
largest of all ``u_j / (lam rho_j + v_j)`` and ``-u_j / (lam rho_j - v_j)``. ``g = 0`` gives ``max_j |u_j| / rho_j *
J / lam``; the pulls at ``theta_bar``, times several :data:`SHARES` of what keeps ``|v_j| <= lam rho_j``, are tried too.

**Stationarity** (for the l2 norm). ``lam R (theta+ - theta0) = -sum g_i xhat_i``; so, for ``u`` without a part along a
free intercept, ``u'(theta+ - theta0)`` is at most ``1/lam`` times the sum over records of the largest ``-g u'xhat``,
where ``g`` runs over the pulls that the record can have over the interval already proved for its ``f``. Repeated while
it helps.

**Balance of a free intercept.** The pulls sum to zero: :mod:`oar_opt.balance`, with ``w'u`` in the range that the
objective allows.

**Change sets.** Every maximum above over a member's options runs over its changes too, and all changes of a set are
bounded together by :mod:`oar_opt.change_reach`. At ``theta_bar`` the decision value of ``xhat~ = xhat + E'delta`` lies
in an interval, so its pull ``g`` does, and ``-g u'M^-1 xhat~`` is largest at the corners of two intervals (for a graph
that is one line: its linear part in ``delta``, and what is left); ``||v_(i,z_i) - v_(i,stay)||_(M^-1)``, which is ``||g
xhat~ - g_stay xhat||_(M^-1)``, is convex in ``g`` and in ``delta``; the losses in ``V`` are convex in ``f``, hence
largest at an end. In stationarity ``g`` has the range that the loss has over the interval proved for ``f~``; and that
is, given that the set is used, the interval of ``theta'xhat`` plus that of ``sum_j w_j delta_j``, with every weight ``w
= E theta`` in its proved interval. In the balance, ``w'(x - x~)`` is ``w'(x - x_i)`` and at most the largest
``|w'delta|``.

All numbers are computed in floating point and widened by :data:`WIDENING`, relatively and absolutely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from scipy.optimize import lsq_linear

from oar_opt.balance import Balance
from oar_opt.change_reach import Reach, ReferencePull
from oar_opt.changes import change_sets
from oar_opt.problem import Flags, Indices, Matrix, Option, RecourseProblem, Vector
from oar_opt.risk import Jump, PenaltyNorm, Piece, RegularizedRisk

WIDENING = 1e-7
"""Well above the solvers' tolerances: an interval that ends within those of a kink has misled presolve."""
NEAR_KINK = 1e-5
ROUNDS = 4
SHARES = (0.0, 0.5, 0.8, 0.95)


class Reason(StrEnum):
    """Why a bound holds; the module's docstring has each proof."""

    MONOTONICITY = "strong monotonicity around the reference point"
    SELF_CONCORDANCE = "self-concordance around the reference point"
    OBJECTIVE = "objective at the reference point"
    STATIONARITY = "stationarity with the pulls' ranges"
    BALANCE = "balance of the free intercept's pulls"
    EXTREME = "extreme over all choices of options within the cap on members"
    ROOM = "decision value of the unmoved record and weights times the room of the change"
    TIGHTENING = "optimality-based tightening, for moves at least as good as the best verified one"
    STEPS = "gradient steps followed back to the given parameters, with the pulls' ranges"
    NONE = "no proof found"


@dataclass(frozen=True)
class ProvedBound:
    """An interval with the reason of each end; an end without proof is infinite."""

    lower: float
    upper: float
    lower_reason: Reason
    upper_reason: Reason

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.lower) and math.isfinite(self.upper)

    @property
    def is_conditional(self) -> bool:
        """Whether it holds only for moves at least as good as the best verified one."""
        return Reason.TIGHTENING in (self.lower_reason, self.upper_reason)

    @property
    def words(self) -> str:
        if self.lower_reason == self.upper_reason:
            return f"[{self.lower:.6g}, {self.upper:.6g}] by {self.lower_reason}"
        return f"[{self.lower:.6g} by {self.lower_reason}, {self.upper:.6g} by {self.upper_reason}]"


@dataclass
class Interval:
    """Ends for many directions at once, ``(m,)`` each, with the reason of every end; improved in place."""

    lower: Vector
    upper: Vector
    lower_reason: list[Reason]
    upper_reason: list[Reason]

    @classmethod
    def unknown(cls, m: int) -> Interval:
        return cls(np.full(m, -math.inf), np.full(m, math.inf), [Reason.NONE] * m, [Reason.NONE] * m)

    def copy(self) -> Interval:
        return Interval(self.lower.copy(), self.upper.copy(), list(self.lower_reason), list(self.upper_reason))

    def improve(self, lower: Vector, upper: Vector, reason: Reason) -> None:
        """Take over every end that is better, widened against rounding."""
        lower = lower - WIDENING * (1 + np.abs(lower))
        upper = upper + WIDENING * (1 + np.abs(upper))
        for j in np.flatnonzero(lower > self.lower):
            self.lower[j], self.lower_reason[j] = lower[j], reason
        for j in np.flatnonzero(upper < self.upper):
            self.upper[j], self.upper_reason[j] = upper[j], reason

    def bound(self, j: int) -> ProvedBound:
        return ProvedBound(float(self.lower[j]), float(self.upper[j]), self.lower_reason[j], self.upper_reason[j])


@dataclass(frozen=True)
class Occurrences:
    """Records as the learner may see them: ``xhat (m, p)``, ``y (m,)``, effective weights ``a (m,)``."""

    xhat: Matrix
    y: Vector
    a: Vector

    def __len__(self) -> int:
        return len(self.y)


def fixed_occurrences(problem: RecourseProblem, risk: RegularizedRisk) -> tuple[Occurrences, Indices]:
    """The records of no member that have positive weight, and their positions."""
    free = np.ones(problem.n, dtype=bool)
    free[[member.record for member in problem.collective.members]] = False
    index: Indices = np.flatnonzero(free & (problem.records.s > 0))
    records = problem.records
    return Occurrences(risk.extend(records.X[index]), records.y[index], risk.factor * records.s[index]), index


def option_occurrences(problem: RecourseProblem, risk: RegularizedRisk, options: Sequence[Option]) -> Occurrences:
    """One member's options; staying is the first."""
    xhat = risk.extend(np.array([option.x for option in options]))
    return Occurrences(
        xhat,
        np.array([option.y for option in options]),
        risk.factor * np.array([option.s for option in options]),
    )


@dataclass(frozen=True)
class _Given:
    """For every row, the member whose option or change is known to be chosen, and its place; options come first."""

    owner: Indices
    place: Indices


class ParameterBounds:
    """Everything that :mod:`oar_opt.bounds` proves about one problem.

    ``members`` are the finite options of each, ``changes`` its change sets.

    Parameters
    ----------
    problem : its members' finite options and change sets are what the bounds range over.
    risk : the learner as a regularised risk.
    theta_bar : the reference point, ``(p,)``; any point is valid, the learner's present optimum is a good one.
    """

    def __init__(self, problem: RecourseProblem, risk: RegularizedRisk, theta_bar: Vector) -> None:
        self.risk, self.theta_bar = risk, np.asarray(theta_bar, dtype=float)
        self.fixed, self.fixed_index = fixed_occurrences(problem, risk)
        self.members = [
            option_occurrences(problem, risk, problem.admissible_options(member))
            for member in problem.collective.members
        ]
        self.changes = [
            [Reach.of(one, risk) for one in change_sets(problem, member)] for member in problem.collective.members
        ]
        cap = problem.collective.budget.members
        self.cap = len(self.members) if cap is None else min(cap, len(self.members))
        self.owner = np.concatenate([np.full(len(o), i) for i, o in enumerate(self.members)] or [np.zeros(0, int)])
        self.place = np.concatenate([np.arange(len(o)) for o in self.members] or [np.zeros(0, int)])
        self.stacked = _stacked(self.members, risk.p)
        self._given_options = _Given(self.owner, self.place)
        self._given_changes = self._places_of_changes()
        self._boxes: tuple[Interval, Interval, Interval] | None = None
        self._theta_box: Interval | None = None
        self._metric = self._metric_of(np.full(len(self.fixed), risk.loss.curvature()))

    # -- public ---

    def along(self, U: Matrix) -> Interval:
        """Bounds on ``u'theta+`` for every row of ``U (m, p)``, over all admissible choices and changes."""
        self._propagate()
        return self._prove(np.atleast_2d(np.asarray(U, dtype=float)), None)

    @property
    def of_fixed(self) -> Interval:
        """Bounds on ``f`` of every fixed record (rows of ``self.fixed``)."""
        return self._propagate()[0]

    @property
    def of_options(self) -> Interval:
        """Bounds on ``f`` of every option, members in order, **given that the option is chosen**."""
        return self._propagate()[1]

    @property
    def of_changes(self) -> Interval:
        """Bounds on ``f`` of every change set, members in order, **given that it is used**: over all its changes."""
        return self._propagate()[2]

    @property
    def pulls_of_changes(self) -> tuple[Vector, Vector]:
        """The least and the largest pull of every change set given that it is used, in the order of :attr:`of_changes`.

        Infinite where the loss bounds no pull and ``f`` has no finite interval.
        """
        return self._change_pulls(self.of_changes)

    def adopt(self, theta: Interval, fixed: Interval, options: Interval) -> None:
        """Take over intervals of ``theta`` and of the decision values that :mod:`oar_opt.tightening` proved."""
        boxes = self._propagate()
        _take_over(boxes[0], fixed)
        _take_over(boxes[1], options)
        self._theta_box = theta

    # -- the sources ---

    def _propagate(self) -> tuple[Interval, Interval, Interval]:
        """Prove the records' own intervals, then repeat with the pulls that those leave."""
        if self._boxes is None:
            stacked = np.vstack([o.xhat for o in self.members] or [np.zeros((0, self.risk.p))])
            sizes = (len(self.fixed), len(stacked), len(self._given_changes.owner))
            self._boxes = (Interval.unknown(sizes[0]), Interval.unknown(sizes[1]), Interval.unknown(sizes[2]))
            for _ in range(ROUNDS):
                before = [box.upper - box.lower for box in self._boxes]
                news = (
                    self._prove(self.fixed.xhat, None),
                    self._prove(stacked, self._given_options),
                    self._prove_changes(),
                )
                for box, new in zip(self._boxes, news, strict=True):
                    _take_over(box, new)
                self._metric = self._metric_of(self._curvatures(self._boxes[0]))
                if all(_stalled(old, box.upper - box.lower) for old, box in zip(before, self._boxes, strict=True)):
                    break
        return self._boxes

    def _places_of_changes(self) -> _Given:
        """Change sets are numbered on after the member's options."""
        places = [(i, len(self.members[i]) + a) for i, reaches in enumerate(self.changes) for a in range(len(reaches))]
        both: Indices = np.array(places, dtype=np.int64).reshape(-1, 2)
        return _Given(both[:, 0], both[:, 1])

    def _prove_changes(self) -> Interval:
        """``theta'xhat`` of the unmoved record, and its weights times the room of the change."""
        reaches = [reach for own in self.changes for reach in own]
        found = Interval.unknown(len(reaches))
        if not reaches:
            return found
        rows = np.vstack([part for reach in reaches for part in (reach.xhat[None, :], reach.rows)])
        counts = [1 + len(reach.rows) for reach in reaches]
        given = _Given(np.repeat(self._given_changes.owner, counts), np.repeat(self._given_changes.place, counts))
        box, start = self._prove(rows, given), 0
        lower, upper = np.full((2, len(reaches)), math.nan)
        for r, (reach, count) in enumerate(zip(reaches, counts, strict=True)):
            weights = slice(start + 1, start + count)
            down, up = reach.weighted(box.lower[weights], box.upper[weights])
            lower[r], upper[r] = box.lower[start] + down, box.upper[start] + up
            start += count
        found.improve(lower, upper, Reason.ROOM if self._theta_box is None else Reason.TIGHTENING)
        return found

    def _prove(self, U: Matrix, given: _Given | None) -> Interval:
        """``given``: what is known to be chosen, for every row."""
        found = Interval.unknown(len(U))
        if len(U) == 0:
            return found
        self._by_monotonicity(U, given, found)
        self._by_self_concordance(U, found)
        self._by_objective(U, found)
        self._by_stationarity(U, given, found)
        self._by_balance(U, found)
        if self._theta_box is not None:
            low, high = U * self._theta_box.lower, U * self._theta_box.upper
            ends = np.minimum(low, high).sum(axis=1), np.maximum(low, high).sum(axis=1)
            found.improve(*ends, Reason.TIGHTENING)
        return found

    def _by_monotonicity(self, U: Matrix, given: _Given | None, found: Interval) -> None:
        metric = self._metric
        if metric is None:
            return
        omega: Matrix = np.asarray(np.linalg.solve(metric.whitener, U.T).T, dtype=np.float64)
        radius = math.sqrt(self._longest(metric) ** 2 / 4 + self._reference_pulls[2])
        reach = np.linalg.norm(omega, axis=1) * radius
        centre = U @ self.theta_bar
        downs, ups = self._monotone_gains(metric, omega)
        upper = 0.5 * (self._best_total(ups, given) - omega @ metric.fixed)
        lower = -0.5 * (self._best_total(downs, given) + omega @ metric.fixed)
        found.improve(centre + lower - reach, centre + upper + reach, Reason.MONOTONICITY)

    def _monotone_gains(self, metric: _Metric, omega: Matrix) -> tuple[list[Matrix], list[Matrix]]:
        """The largest ``u'M^-1 v_(i,z)`` and ``-u'M^-1 v_(i,z)`` of every option and change set, member by member."""
        downs, ups = [], []
        towards: Matrix = np.asarray(np.linalg.solve(metric.whitener.T, omega.T).T, dtype=np.float64)
        for options, reaches, pulls in zip(metric.options, self.changes, self._reference_changes, strict=True):
            along = omega @ options.T
            ends = [reach.reference_products(towards, pull) for reach, pull in zip(reaches, pulls, strict=True)]
            downs.append(np.column_stack([along, *(high for _, high in ends)]))
            ups.append(np.column_stack([-along, *(-low for low, _ in ends)]))
        return downs, ups

    def _by_self_concordance(self, U: Matrix, found: Interval) -> None:
        if self.risk.loss.pieces(1.0) is not None or self._local_metric is None:
            return
        metric = self._local_metric
        nu = self._longest(metric)
        kappa = float(np.linalg.norm(np.linalg.solve(metric.whitener, self.fixed.xhat.T), axis=0).max(initial=0.0))
        if kappa * nu >= 1:
            return
        radius = -math.log1p(-kappa * nu) / kappa if kappa > 0 else nu
        reach = radius * np.linalg.norm(np.linalg.solve(metric.whitener, U.T), axis=0)
        centre = U @ self.theta_bar
        found.improve(centre - reach, centre + reach, Reason.SELF_CONCORDANCE)

    def _longest(self, metric: _Metric) -> float:
        """A bound on ``max_z || v_z ||_(M^-1)``, by the triangle inequality around "all stay"."""
        stay = metric.fixed + sum((o[0] for o in metric.options), np.zeros(self.risk.p))
        lengths = np.array(metric.spreads).reshape(-1, 1)
        spread = self._capped(np.zeros(lengths.shape), lengths)
        return float(np.linalg.norm(stay)) + (float(spread[0]) if len(lengths) else 0.0)

    def _by_objective(self, U: Matrix, found: Interval) -> None:
        found.improve(*self._objective_range(U), Reason.OBJECTIVE)

    def _objective_range(self, U: Matrix) -> tuple[Vector, Vector]:
        """Lower and upper bound on ``u'theta+`` for every row, infinite where the objective proves none."""
        rho = self.risk.penalty
        unpenalised = np.abs(U[:, rho == 0]).sum(axis=1) > 0
        if self.risk.norm is PenaltyNorm.L1:
            down, up = self._l1_reach(U[:, rho > 0])
            centre = U @ np.array(self.risk.theta0)
        else:
            centre = U @ self.theta_bar
            if self._metric is not None:
                unpenalised[:] = False
                up = np.linalg.norm(np.linalg.solve(self._metric.whitener, U.T), axis=0) * self._objective_radius
            else:
                up = np.linalg.norm(U[:, rho > 0] / np.sqrt(self.risk.lam * rho[rho > 0]), axis=1)
                up = up * self._objective_radius
            down = up
        return centre - np.where(unpenalised, math.inf, down), centre + np.where(unpenalised, math.inf, up)

    def _l1_reach(self, U: Matrix) -> tuple[Vector, Vector]:
        """How far ``u't`` can go down and up, over the penalised coordinates ``U (m, .)``."""
        down, up = np.full((2, len(U)), math.inf)
        for V, plus, minus in self._l1_prices:
            if len(plus) == 0:
                return np.zeros(len(U)), np.zeros(len(U))
            up = np.minimum(up, V * np.maximum(U / plus, -U / minus).max(axis=1))
            down = np.minimum(down, V * np.maximum(-U / plus, U / minus).max(axis=1))
        return down, up

    def _by_stationarity(self, U: Matrix, given: _Given | None, found: Interval) -> None:
        if self.risk.norm is PenaltyNorm.L1:
            return
        low_fixed, high_fixed = self._pull_ranges(self.fixed, self._boxes[0] if self._boxes else None, 0)
        offset, low, high = 0, [], []
        for occurrences in self.members:
            ends = self._pull_ranges(occurrences, self._boxes[1] if self._boxes else None, offset)
            low.append(ends[0])
            high.append(ends[1])
            offset += len(occurrences)
        moved = self._change_pulls(self._boxes[2] if self._boxes else None)
        everything = np.concatenate([low_fixed, high_fixed, *low, *high, *moved])
        if not np.isfinite(everything).all():
            return
        unpenalised = self.risk.penalty == 0
        towards = np.divide(U, self.risk.penalty, out=np.zeros(U.shape), where=~unpenalised)
        along = towards @ self.fixed.xhat.T
        total_up = np.maximum(-along * low_fixed, -along * high_fixed).sum(axis=1)
        total_down = np.maximum(along * low_fixed, along * high_fixed).sum(axis=1)
        ups, downs, place = [], [], 0
        for occurrences, reaches, g_low, g_high in zip(self.members, self.changes, low, high, strict=True):
            part = towards @ occurrences.xhat.T
            moves = [
                reach.products(towards, moved[0][place + a], moved[1][place + a]) for a, reach in enumerate(reaches)
            ]
            place += len(reaches)
            ups.append(np.column_stack([np.maximum(-part * g_low, -part * g_high), *(-end[0] for end in moves)]))
            downs.append(np.column_stack([np.maximum(part * g_low, part * g_high), *(end[1] for end in moves)]))
        centre = U @ np.array(self.risk.theta0)
        upper = (total_up + self._best_total(ups, given)) / self.risk.lam
        lower = -(total_down + self._best_total(downs, given)) / self.risk.lam
        open_rows = np.abs(U[:, unpenalised]).sum(axis=1) > 0
        upper[open_rows], lower[open_rows] = math.inf, -math.inf
        # The pulls' ranges may come from intervals that hold for good enough moves only.
        adopted = self._theta_box is not None
        found.improve(centre + lower, centre + upper, Reason.TIGHTENING if adopted else Reason.STATIONARITY)

    def _by_balance(self, U: Matrix, found: Interval) -> None:
        rows = np.flatnonzero(U[:, -1] != 0)
        if (self.risk.penalty > 0).all() or not math.isfinite(self._highest_objective) or not rows.size:
            return
        # A free intercept's column holds the same number in every record: 1, or the basis's unit.
        share = U[rows, -1] / (1.0 if self.risk.basis is None else float(self.risk.basis[-1, -1]))
        balance = Balance(self.risk.loss, self.fixed, *self._moving_members(), self._weight_range)
        both = share * np.stack(balance.ends(U[rows, :-1] / share[:, None]))
        lower, upper = np.full(len(U), -math.inf), np.full(len(U), math.inf)
        lower[rows], upper[rows] = both.min(axis=0), both.max(axis=0)
        found.improve(lower, upper, Reason.BALANCE)

    def _moving_members(self) -> tuple[list[Occurrences], list[Vector]]:
        """Options and unmoved records of change sets of every member, and how far ``|w'delta|`` can go for each."""
        found, rooms = [], []
        for options, reaches in zip(self.members, self.changes, strict=True):
            unmoved = [Occurrences(r.xhat[None, :], np.array([r.y]), np.array([r.a])) for r in reaches]
            ends = [reach.weighted(*self._weight_range(reach.rows[:, :-1])) for reach in reaches]
            found.append(_stacked([options, *unmoved], self.risk.p))
            rooms.append(np.array([0.0] * len(options) + [max(-down, up) for down, up in ends]))
        return found, rooms

    def _weight_range(self, U: Matrix) -> tuple[Vector, Vector]:
        """As :meth:`_objective_range`, for directions without a free intercept's coordinate."""
        return self._objective_range(np.hstack([U, np.zeros((len(U), 1))]))

    # -- what the sources share ---

    def _metric_of(self, curvatures: Vector) -> _Metric | None:
        """For ``kappa (m,)`` of the fixed records; None where ``M`` is not safely positive definite."""
        if self.risk.norm is PenaltyNorm.L1:
            return None
        at_kink = self._is_near_kink(self.fixed.y, self.fixed.xhat @ self.theta_bar)
        M = self.risk.lam * np.diag(self.risk.penalty)
        M += (self.fixed.xhat.T * np.where(at_kink, 0.0, curvatures * self.fixed.a)) @ self.fixed.xhat
        eigenvalues = np.linalg.eigvalsh(M)
        if eigenvalues[0] <= 1e-10 * max(1.0, eigenvalues[-1]):
            return None
        whitener = np.asarray(np.linalg.cholesky(M), dtype=np.float64)
        g_fixed, g_options, _ = self._reference_pulls
        shift = self.theta_bar - np.array(self.risk.theta0)
        v = self.risk.lam * self.risk.penalty * shift + self.fixed.xhat.T @ g_fixed
        options: list[Matrix] = [
            np.asarray(np.linalg.solve(whitener, (o.xhat * g[:, None]).T).T, dtype=np.float64)
            for o, g in zip(self.members, g_options, strict=True)
        ]
        return _Metric(whitener, np.linalg.solve(whitener, v), options, self._spreads(whitener, options))

    def _spreads(self, whitener: Matrix, options: Sequence[Matrix]) -> list[float]:
        """How far a member's part of ``v_z`` can be from that of staying."""
        inverse: Matrix = np.asarray(np.linalg.solve(whitener, np.eye(self.risk.p)), dtype=np.float64)
        found = []
        for i, own in enumerate(options):
            stay = self._reference_pulls[1][i][0] * self.members[i].xhat[0]
            moved = [
                reach.reference_distance(pull, stay, inverse)
                for reach, pull in zip(self.changes[i], self._reference_changes[i], strict=True)
            ]
            found.append(max(float(np.linalg.norm(own - own[0], axis=1).max()), *moved, 0.0))
        return found

    @cached_property
    def _reference_changes(self) -> list[list[ReferencePull]]:
        """What every change set pulls at ``theta_bar``."""
        return [[reach.at(self.risk, self.theta_bar) for reach in own] for own in self.changes]

    @cached_property
    def _local_metric(self) -> _Metric | None:
        """With the curvature of a smooth loss at ``theta_bar``."""
        return self._metric_of(self.risk.loss.second_derivative(self.fixed.y, self.fixed.xhat @ self.theta_bar))

    def _is_near_kink(self, y: Vector, f: Vector) -> Flags:
        """Where a pull of the kink is used: there nothing is said of the curvature."""
        near: Flags = np.abs(f - self.risk.loss.kinks(y, f)) <= NEAR_KINK
        return near

    def _curvatures(self, box: Interval) -> Vector:
        """``kappa (m,)`` over the intervals proved for the fixed records' ``f``, ``theta_bar``'s included."""
        loss, at = self.risk.loss, self.fixed.xhat @ self.theta_bar
        low, high = np.minimum(box.lower, at), np.maximum(box.upper, at)
        return np.array(
            [loss.curvature_over(float(y), *ends) for y, *ends in zip(self.fixed.y, low, high, strict=True)]
        )

    @cached_property
    def _reference_pulls(self) -> tuple[Vector, list[Vector], float]:
        """Pulls at ``theta_bar`` of the fixed records and of every option, and the slack bought at kinks."""
        loss, risk = self.risk.loss, self.risk
        rows = [self.fixed.xhat, *(o.xhat[:1] for o in self.members)]
        xhat = np.vstack(rows)
        y = np.concatenate([self.fixed.y, *(o.y[:1] for o in self.members)])
        a = np.concatenate([self.fixed.a, *(o.a[:1] for o in self.members)])
        f = xhat @ self.theta_bar
        g = a * loss.pull(y, f)
        distance = np.abs(f - loss.kinks(y, f))
        near = np.flatnonzero(self._is_near_kink(y, f) & (a > 0))
        slack = 0.0
        if near.size:
            ends = np.array([_jump(loss.pieces(y[r]) or (), float(f[r])) for r in near]) * a[near, None]
            shift = self.theta_bar - np.array(risk.theta0)
            shift = np.sign(shift) if risk.norm is PenaltyNorm.L1 else shift
            rest = risk.lam * risk.penalty * shift + xhat.T @ g - xhat[near].T @ g[near]
            g[near] = lsq_linear(xhat[near].T, -rest, bounds=(ends[:, 0], ends[:, 1])).x
            g[near] = np.clip(g[near], ends[:, 0], ends[:, 1])
            widths = np.array([high - low for low, high in (loss.pull_range(float(value)) for value in y[near])])
            slack = float((a[near] * widths * distance[near]).sum())
        stay = g[len(self.fixed) :]
        options = [o.a * loss.pull(o.y, o.xhat @ self.theta_bar) for o in self.members]
        for pulls, own in zip(options, stay, strict=True):
            pulls[0] = own
        return g[: len(self.fixed)], options, slack

    @cached_property
    def _highest_objective(self) -> float:
        """The largest ``J_z(theta_bar)`` over all choices and changes."""
        loss, fixed = self.risk.loss, self.fixed
        top = self.risk.objective(self.theta_bar, fixed.xhat, fixed.y, fixed.a / self.risk.factor)
        for i, o in enumerate(self.members):
            moved = zip(self.changes[i], self._reference_changes[i], strict=True)
            values = [reach.highest_loss(self.risk, pull) for reach, pull in moved]
            top += max(float((o.a * loss.value(o.y, o.xhat @ self.theta_bar)).max()), *values, 0.0)
        return top

    @cached_property
    def _objective_radius(self) -> float:
        """``sqrt(2 V)``: the largest ``||theta+ - theta_bar||_M`` that the objective allows."""
        return math.sqrt(max(0.0, 2 * (self._highest_objective - self._least_fixed_objective)))

    @property
    def _least_fixed_objective(self) -> float:
        """A lower bound on ``min J_F`` under the l2 norm: the Fenchel dual at the reference pulls, or 0."""
        risk, kept = self.risk, self.risk.penalty > 0
        g = self._balanced_pulls
        total = self.fixed.xhat.T @ g
        square = total[kept] @ (total[kept] / risk.penalty[kept]) / (2 * risk.lam)
        dual = float(np.array(risk.theta0) @ total - square) - self._conjugates(g)
        return max(0.0, dual) if math.isfinite(dual) else 0.0

    @cached_property
    def _l1_prices(self) -> list[tuple[float, Vector, Vector]]:
        """``V`` and the prices of a unit up and down in every penalised coordinate, for several pulls."""
        found, full = [], self.risk.lam * self.risk.penalty
        kept = full > 0
        sums = np.abs(self.fixed.xhat.T @ self._balanced_pulls)[kept]
        most = float(np.divide(full[kept], sums, out=np.ones(len(sums)), where=sums > full[kept]).min(initial=1.0))
        for share in SHARES:
            g = share * most * self._balanced_pulls
            v = (self.fixed.xhat.T @ g)[kept]
            V = self._highest_objective + self._conjugates(g) - float(v @ np.array(self.risk.theta0)[kept])
            if math.isfinite(V) and (np.abs(v) < (1 - 1e-6) * full[kept]).all():
                found.append((max(0.0, V), full[kept] + v, full[kept] - v))
        return found

    @cached_property
    def _balanced_pulls(self) -> Vector:
        """The reference pulls of the fixed records, made to sum to 0 under a free intercept; 0 where they cannot be."""
        g, risk, fixed = self._reference_pulls[0].copy(), self.risk, self.fixed
        free = risk.penalty == 0
        if free.any():
            down, up = -g[g < 0].sum(), g[g > 0].sum()
            if down > up:
                g[g < 0] *= up / down
            elif up > down:
                g[g > 0] *= down / up
        rest = np.abs(fixed.xhat.T @ g)[free]
        return np.zeros(len(fixed)) if (rest > 1e-9 * (1 + np.abs(g).sum())).any() else g

    def _conjugates(self, g: Vector) -> float:
        fixed = self.fixed
        return float((fixed.a * self.risk.loss.conjugate(fixed.y, g / fixed.a)).sum()) if len(fixed) else 0.0

    def _pull_ranges(self, o: Occurrences, box: Interval | None, offset: int) -> tuple[Vector, Vector]:
        """The least and largest pull of every occurrence, over the interval of its ``f`` where one is proved."""
        low, high = np.empty(len(o)), np.empty(len(o))
        for r, (y, a) in enumerate(zip(o.y, o.a, strict=True)):
            ends = self.risk.loss.pull_range(y)
            low[r], high[r] = (a * ends[0], a * ends[1]) if a > 0 else (0.0, 0.0)
            if box is None or a <= 0:
                continue
            f_low, f_high = float(box.lower[offset + r]), float(box.upper[offset + r])
            if math.isfinite(f_low) and math.isfinite(f_high) and f_low <= f_high:
                ends = self.risk.loss.pulls_over(y, f_low, f_high)
                low[r], high[r] = max(low[r], a * ends[0]), min(high[r], a * ends[1])
        return low, high

    def _change_pulls(self, box: Interval | None) -> tuple[Vector, Vector]:
        """As :meth:`_pull_ranges`, of every change set."""
        reaches = [reach for own in self.changes for reach in own]
        low, high = np.empty(len(reaches)), np.empty(len(reaches))
        for r, reach in enumerate(reaches):
            ends = (-math.inf, math.inf) if box is None else (float(box.lower[r]), float(box.upper[r]))
            low[r], high[r] = reach.pulls_over(self.risk, *ends)
        return low, high

    def _best_total(self, gains: list[Matrix], given: _Given | None) -> Vector | float:
        """``max_z sum_i gains_i[:, z_i]`` row by row, ``gains_i (m, K_i)``, under the cap on acting members."""
        if not gains:
            return 0.0
        rows = len(gains[0])
        stay = np.stack([gain[:, 0] for gain in gains])
        best = np.stack([gain.max(axis=1) for gain in gains])
        cap: Indices | int = self.cap
        if given is not None:
            every = np.arange(rows)
            own = np.stack([gains[i][r, k] for r, (i, k) in enumerate(zip(given.owner, given.place, strict=True))])
            stay[given.owner, every], best[given.owner, every] = own, own
            cap = self.cap - (given.place > 0)
        return self._capped(stay, best, cap)

    def _capped(self, stay: Matrix, best: Matrix, cap: Indices | int | None = None) -> Vector:
        """Sum of ``stay (k, m)`` plus the ``cap`` largest improvements ``best - stay`` of each column."""
        limit = np.broadcast_to(self.cap if cap is None else cap, (stay.shape[1],))
        gains = -np.sort(-(best - stay), axis=0)
        counted = np.arange(len(gains))[:, None] < limit[None, :]
        total: Vector = stay.sum(axis=0) + (gains * counted).sum(axis=0)
        return total


@dataclass(frozen=True)
class _Metric:
    """``L`` with ``M = L L'``, and ``L^-1`` times the fixed part of ``v_z`` and each option's part.

    ``spreads`` bounds how far the part of a member can be from that of staying, over all that it may do.
    """

    whitener: Matrix
    fixed: Vector
    options: list[Matrix]
    spreads: list[float]


def _stacked(parts: Sequence[Occurrences], p: int) -> Occurrences:
    """All of them, one after the other."""
    xhat = np.vstack([o.xhat for o in parts] or [np.zeros((0, p))])
    y, a = (np.concatenate([getattr(o, name) for o in parts] or [np.zeros(0)]) for name in ("y", "a"))
    return Occurrences(xhat, y, a)


def _take_over(box: Interval, new: Interval) -> None:
    for j in np.flatnonzero(new.lower > box.lower):
        box.lower[j], box.lower_reason[j] = new.lower[j], new.lower_reason[j]
    for j in np.flatnonzero(new.upper < box.upper):
        box.upper[j], box.upper_reason[j] = new.upper[j], new.upper_reason[j]


def _stalled(before: Vector, after: Vector) -> bool:
    finite = np.isfinite(after)
    if not finite.any():
        return True
    return bool(np.isfinite(before[finite]).all() and after[finite].sum() > 0.98 * before[finite].sum())


def _jump(pieces: Sequence[Piece], f: float) -> tuple[float, float]:
    """The pulls at the kink nearest to ``f``."""
    nearest = min((piece for piece in pieces if isinstance(piece, Jump)), key=lambda piece: abs(piece.f - f))
    return nearest.g_low, nearest.g_high
