"""Bounds on the learner's parameters over all admissible moves, each with the reason that proves it.

Notation of :mod:`oar_opt.risk`. ``z`` is a choice of one option per member, ``J_z`` the learner's objective under it,
``theta+`` any minimiser of ``J_z``. The fixed records (those of no member) and the penalty make ``J_F``. Wanted: for a
direction ``u``, numbers ``lo <= u'theta+ <= hi`` that hold for every admissible ``z``.

**Strong monotonicity.** Let ``M = lam R + kappa sum_F a_i xhat_i xhat_i'`` with ``kappa`` the curvature of the loss;
``J_z - 1/2 theta'M theta`` is convex for every ``z``. Take any ``theta_bar`` and ``v_z`` in the subdifferential of
``J_z`` there. As 0 is in the subdifferential at ``theta+``, with ``D = theta+ - theta_bar``

    D'M D <= -v_z'D,    so    || D + M^-1 v_z / 2 ||_M <= || v_z ||_(M^-1) / 2.

``v_z = v_F + sum_i v_(i,z_i)`` is separable over members, hence ``u'D`` is at most

    1/2 max_z (-u'M^-1 v_z) + || u ||_(M^-1) * 1/2 max_z || v_z ||_(M^-1);

the first maximum is a sum of maxima over each member's options (of the largest such sums where the number of acting
members is capped), the second is bounded by the triangle inequality around the choice "all stay". Where ``theta_bar``
lies within ``e_i`` of a kink of record ``i``, a pull of the kink may be used at the price of ``e_i`` times the width
``r_i`` of all its pulls, added to the right of the first inequality: the ball's radius becomes
``sqrt(||v_z||^2/4 + sum_i e_i r_i)``.

**Objective.** ``1/2 ||D||_M^2 <= J_z(theta_bar) - J_z(theta+)``, at most ``J_F(theta_bar) + sum_i max_k a_ik
l(y_ik, f_ik(theta_bar)) - min J_F``, since losses are at least 0; ``min J_F`` is bounded below by Fenchel duality.

**Stationarity.** ``lam R (theta+ - theta0) = -sum g_i xhat_i``; so, for ``u`` without a part along a free intercept,
``u'(theta+ - theta0)`` is at most ``1/lam`` times the sum over records of the largest ``-g u'xhat``, where ``g`` runs
over the pulls that the record can have over the interval already proved for its ``f``. Repeated while it helps.

**Balance of a free intercept.** The pulls sum to zero. So either some record pulls strictly down (``g < 0``), which
holds its ``f`` below the end of that part of its graph, or no record pulls at all, which holds every ``f`` inside the
flat part of its graph. From such a record ``i``, ``f(x) = f_i + w'(x - x_i)`` is bounded by the ball around ``w``.
The same upward.

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

from oar_opt.problem import Indices, Matrix, Option, RecourseProblem, Vector
from oar_opt.risk import Jump, Piece, RegularizedRisk, segments

WIDENING = 1e-7
"""Well above the solvers' tolerances: an interval that ends within those of a kink has misled presolve."""
NEAR_KINK = 1e-5
ROUNDS = 4


class Reason(StrEnum):
    """Why a bound holds; the module's docstring has each proof."""

    MONOTONICITY = "strong monotonicity around the reference point"
    OBJECTIVE = "objective at the reference point"
    STATIONARITY = "stationarity with the pulls' ranges"
    BALANCE = "balance of the free intercept's pulls"
    TIGHTENING = "optimality-based tightening, for moves at least as good as the best verified one"
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


class ParameterBounds:
    """Everything that :mod:`oar_opt.bounds` proves about one problem.

    Parameters
    ----------
    problem : its members' finite options are what the bounds range over.
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
        cap = problem.collective.budget.members
        self.cap = len(self.members) if cap is None else min(cap, len(self.members))
        self.owner = np.concatenate([np.full(len(o), i) for i, o in enumerate(self.members)] or [np.zeros(0, int)])
        self.place = np.concatenate([np.arange(len(o)) for o in self.members] or [np.zeros(0, int)])
        self._boxes: tuple[Interval, Interval] | None = None
        self._theta_box: Interval | None = None

    # -- public ---

    def along(self, U: Matrix) -> Interval:
        """Bounds on ``u'theta+`` for every row of ``U (m, p)``, over all admissible choices."""
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

    def adopt(self, theta: Interval, fixed: Interval, options: Interval) -> None:
        """Take over intervals of ``theta`` and of the decision values that :mod:`oar_opt.tightening` proved."""
        boxes = self._propagate()
        _take_over(boxes[0], fixed)
        _take_over(boxes[1], options)
        self._theta_box = theta

    # -- the sources ---

    def _propagate(self) -> tuple[Interval, Interval]:
        """Prove the records' own intervals, then repeat with the pulls that those leave."""
        if self._boxes is None:
            stacked = np.vstack([o.xhat for o in self.members] or [np.zeros((0, self.risk.p))])
            self._boxes = (Interval.unknown(len(self.fixed)), Interval.unknown(len(stacked)))
            for _ in range(ROUNDS):
                before = [box.upper - box.lower for box in self._boxes]
                news = (self._prove(self.fixed.xhat, None), self._prove(stacked, self.owner))
                for box, new in zip(self._boxes, news, strict=True):
                    _take_over(box, new)
                if all(_stalled(old, box.upper - box.lower) for old, box in zip(before, self._boxes, strict=True)):
                    break
        return self._boxes

    def _prove(self, U: Matrix, given: Vector | None) -> Interval:
        """``given``: the member whose option, the row's own, is known to be chosen (rows then follow the options)."""
        found = Interval.unknown(len(U))
        if len(U) == 0:
            return found
        self._by_monotonicity(U, given, found)
        self._by_objective(U, found)
        self._by_stationarity(U, given, found)
        self._by_balance(U, found)
        if self._theta_box is not None:
            low, high = U * self._theta_box.lower, U * self._theta_box.upper
            ends = np.minimum(low, high).sum(axis=1), np.maximum(low, high).sum(axis=1)
            found.improve(*ends, Reason.TIGHTENING)
        return found

    def _by_monotonicity(self, U: Matrix, given: Vector | None, found: Interval) -> None:
        if self._whitener is None:
            return
        omega = np.linalg.solve(self._whitener, U.T).T
        fixed, options, slack = self._whitened_pulls
        stay = fixed + sum((o[0] for o in options), np.zeros(self.risk.p))
        lengths = [np.linalg.norm(o - o[0], axis=1) for o in options]
        spread = self._capped(np.zeros((len(options), 1)), np.array([[row.max()] for row in lengths]).reshape(-1, 1))
        radius = math.sqrt((float(np.linalg.norm(stay)) + float(spread[0] if len(options) else 0.0)) ** 2 / 4 + slack)
        reach = np.linalg.norm(omega, axis=1) * radius
        centre = U @ self.theta_bar
        upper = 0.5 * (self._best_total([-omega @ o.T for o in options], given) - omega @ fixed)
        lower = -0.5 * (self._best_total([omega @ o.T for o in options], given) + omega @ fixed)
        found.improve(centre + lower - reach, centre + upper + reach, Reason.MONOTONICITY)

    def _by_objective(self, U: Matrix, found: Interval) -> None:
        radius = self._objective_radius
        if not math.isfinite(radius):
            return
        if self._whitener is not None:
            reach = np.linalg.norm(np.linalg.solve(self._whitener, U.T).T, axis=1) * radius
        else:
            penalised = self.risk.penalty > 0
            length = np.linalg.norm(U[:, penalised] / np.sqrt(self.risk.penalty[penalised]), axis=1)
            reach = length / math.sqrt(self.risk.lam) * radius
            reach[np.abs(U[:, ~penalised]).sum(axis=1) > 0] = math.inf
        centre = U @ self.theta_bar
        found.improve(centre - reach, centre + reach, Reason.OBJECTIVE)

    def _by_stationarity(self, U: Matrix, given: Vector | None, found: Interval) -> None:
        low_fixed, high_fixed = self._pull_ranges(self.fixed, self._boxes[0] if self._boxes else None, 0)
        offset, low, high = 0, [], []
        for occurrences in self.members:
            ends = self._pull_ranges(occurrences, self._boxes[1] if self._boxes else None, offset)
            low.append(ends[0])
            high.append(ends[1])
            offset += len(occurrences)
        everything = np.concatenate([low_fixed, high_fixed, *low, *high])
        if not np.isfinite(everything).all():
            return
        unpenalised = self.risk.penalty == 0
        towards = np.divide(U, self.risk.penalty, out=np.zeros(U.shape), where=~unpenalised)
        along = towards @ self.fixed.xhat.T
        total_up = np.maximum(-along * low_fixed, -along * high_fixed).sum(axis=1)
        total_down = np.maximum(along * low_fixed, along * high_fixed).sum(axis=1)
        ups, downs = [], []
        for occurrences, g_low, g_high in zip(self.members, low, high, strict=True):
            part = towards @ occurrences.xhat.T
            ups.append(np.maximum(-part * g_low, -part * g_high))
            downs.append(np.maximum(part * g_low, part * g_high))
        centre = U @ np.array(self.risk.theta0)
        upper = (total_up + self._best_total(ups, given)) / self.risk.lam
        lower = -(total_down + self._best_total(downs, given)) / self.risk.lam
        open_rows = np.abs(U[:, unpenalised]).sum(axis=1) > 0
        upper[open_rows], lower[open_rows] = math.inf, -math.inf
        found.improve(centre + lower, centre + upper, Reason.STATIONARITY)

    def _by_balance(self, U: Matrix, found: Interval) -> None:
        radius = self._objective_radius / math.sqrt(self.risk.lam)
        curved = self.risk.loss.pieces(1.0) is None
        if (self.risk.penalty > 0).all() or not math.isfinite(radius) or curved:
            return
        rows = np.flatnonzero(U[:, -1] != 0)
        if not rows.size:
            return
        share = U[rows, -1] / self._unit
        points = U[rows, :-1] / share[:, None]
        upper, lower = (self._balance_end(points, side, radius) for side in (1, -1))
        both = np.stack([share * upper, share * lower])
        full_lower, full_upper = np.full(len(U), -math.inf), np.full(len(U), math.inf)
        full_lower[rows], full_upper[rows] = both.min(axis=0), both.max(axis=0)
        found.improve(full_lower, full_upper, Reason.BALANCE)

    def _balance_end(self, points: Matrix, side: int, radius: float) -> Vector:
        """Upper (``side`` 1) or lower (-1) end of ``w'x + b`` for every row of ``points (m, d)``."""
        w_bar = self.theta_bar[:-1]

        def carried(level: Vector, xhat: Matrix) -> Matrix:
            step = points[:, None, :] - xhat[None, :, :-1]
            length = np.linalg.norm(step / np.sqrt(self.risk.penalty[:-1]), axis=2)
            reached: Matrix = side * level[None, :] + side * (step @ w_bar) + radius * length
            return reached

        pulling = np.full(len(points), -math.inf)
        resting_any = np.full(len(points), -math.inf)
        resting = np.full(len(points), math.inf)
        for occurrences in (self.fixed, *self.members):
            used = occurrences.a > 0
            if not used.any():
                continue
            levels = np.array([_levels(self.risk.loss.pieces(y) or (), side) for y in occurrences.y[used]])
            if (levels[:, 0] == side * math.inf).any():
                return np.full(len(points), side * math.inf)
            xhat = occurrences.xhat[used]
            strict = np.isfinite(levels[:, 0])
            if strict.any():
                pulling = np.maximum(pulling, carried(levels[strict, 0], xhat[strict]).max(axis=1))
            flat = np.isfinite(levels[:, 1])
            if flat.any():
                reached = carried(levels[flat, 1], xhat[flat])
                resting_any = np.maximum(resting_any, reached.max(axis=1))
                if occurrences is self.fixed:
                    resting = np.minimum(resting, reached.min(axis=1))
        resting = np.where(np.isfinite(resting), resting, np.where(np.isfinite(resting_any), resting_any, math.inf))
        end: Vector = side * np.maximum(pulling, resting)
        return end

    # -- what the sources share ---

    @property
    def _unit(self) -> float:
        """What a free intercept's column holds in every record: 1, or the basis's unit."""
        return 1.0 if self.risk.basis is None else float(self.risk.basis[-1, -1])

    @cached_property
    def _whitener(self) -> Matrix | None:
        """``L`` with ``M = L L'``, or None where ``M`` is not safely positive definite."""
        M = self.risk.lam * np.diag(self.risk.penalty)
        M += self.risk.loss.curvature() * (self.fixed.xhat.T * self.fixed.a) @ self.fixed.xhat
        eigenvalues = np.linalg.eigvalsh(M)
        if eigenvalues[0] <= 1e-10 * max(1.0, eigenvalues[-1]):
            return None
        return np.asarray(np.linalg.cholesky(M), dtype=np.float64)

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
        near = np.flatnonzero((distance <= NEAR_KINK) & (a > 0))
        slack = 0.0
        if near.size:
            ends = np.array([_jump(loss.pieces(y[r]) or (), float(f[r])) for r in near]) * a[near, None]
            rest = risk.lam * risk.penalty * (self.theta_bar - np.array(risk.theta0))
            rest = rest + xhat.T @ g - xhat[near].T @ g[near]
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
    def _whitened_pulls(self) -> tuple[Vector, list[Matrix], float]:
        assert self._whitener is not None
        g_fixed, g_options, slack = self._reference_pulls
        risk = self.risk
        v = risk.lam * risk.penalty * (self.theta_bar - np.array(risk.theta0)) + self.fixed.xhat.T @ g_fixed
        options: list[Matrix] = [
            np.asarray(np.linalg.solve(self._whitener, (o.xhat * g[:, None]).T).T, dtype=np.float64)
            for o, g in zip(self.members, g_options, strict=True)
        ]
        return np.linalg.solve(self._whitener, v), options, slack

    @cached_property
    def _objective_radius(self) -> float:
        """``sqrt(2 V)``: the largest ``||theta+ - theta_bar||_M`` that the objective allows."""
        loss, fixed = self.risk.loss, self.fixed
        top = self.risk.objective(self.theta_bar, fixed.xhat, fixed.y, fixed.a / self.risk.factor)
        for o in self.members:
            top += float((o.a * loss.value(o.y, o.xhat @ self.theta_bar)).max())
        return math.sqrt(max(0.0, 2 * (top - self._least_fixed_objective)))

    @property
    def _least_fixed_objective(self) -> float:
        """A lower bound on ``min J_F``: the Fenchel dual at the reference pulls, or 0."""
        g, risk, fixed = self._reference_pulls[0].copy(), self.risk, self.fixed
        if (risk.penalty == 0).any():
            down, up = -g[g < 0].sum(), g[g > 0].sum()
            if down > up:
                g[g < 0] *= up / down
            elif up > down:
                g[g > 0] *= down / up
        total = fixed.xhat.T @ g
        if (np.abs(total[risk.penalty == 0]) > 1e-9 * (1 + np.abs(g).sum())).any():
            return 0.0
        kept = risk.penalty > 0
        conjugates = fixed.a * risk.loss.conjugate(fixed.y, g / fixed.a) if len(fixed) else np.zeros(0)
        dual = float(
            np.array(risk.theta0) @ total
            - total[kept] @ (total[kept] / risk.penalty[kept]) / (2 * risk.lam)
            - conjugates.sum()
        )
        return max(0.0, dual) if math.isfinite(dual) else 0.0

    def _pull_ranges(self, o: Occurrences, box: Interval | None, offset: int) -> tuple[Vector, Vector]:
        """The least and largest pull of every occurrence, over the interval of its ``f`` where one is proved."""
        low, high = np.empty(len(o)), np.empty(len(o))
        for r, (y, a) in enumerate(zip(o.y, o.a, strict=True)):
            ends = self.risk.loss.pull_range(y)
            low[r], high[r] = (a * ends[0], a * ends[1]) if a > 0 else (0.0, 0.0)
            pieces = self.risk.loss.pieces(y)
            if (
                box is not None
                and pieces
                and a > 0
                and math.isfinite(box.lower[offset + r])
                and math.isfinite(box.upper[offset + r])
                and box.lower[offset + r] <= box.upper[offset + r]
            ):
                graph = segments(pieces, box.lower[offset + r], box.upper[offset + r], a)
                low[r], high[r] = max(low[r], graph[0].g_low), min(high[r], graph[-1].g_high)
        return low, high

    def _best_total(self, gains: list[Matrix], given: Vector | None) -> Vector | float:
        """``max_z sum_i gains_i[:, z_i]`` row by row, ``gains_i (m, K_i)``, under the cap on acting members."""
        if not gains:
            return 0.0
        rows = len(gains[0])
        stay = np.stack([gain[:, 0] for gain in gains])
        best = np.stack([gain.max(axis=1) for gain in gains])
        cap: Indices | int = self.cap
        if given is not None:
            every = np.arange(rows)
            own = np.stack([gains[i][r, k] for r, (i, k) in enumerate(zip(self.owner, self.place, strict=True))])
            stay[given, every], best[given, every] = own, own
            cap = self.cap - (self.place > 0)
        return self._capped(stay, best, cap)

    def _capped(self, stay: Matrix, best: Matrix, cap: Indices | int | None = None) -> Vector:
        """Sum of ``stay (k, m)`` plus the ``cap`` largest improvements ``best - stay`` of each column."""
        limit = np.broadcast_to(self.cap if cap is None else cap, (stay.shape[1],))
        gains = -np.sort(-(best - stay), axis=0)
        counted = np.arange(len(gains))[:, None] < limit[None, :]
        total: Vector = stay.sum(axis=0) + (gains * counted).sum(axis=0)
        return total


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


def _levels(pieces: Sequence[Piece], side: int) -> tuple[float, float]:
    """``side`` 1: the largest ``f`` with ``g < 0`` and the largest with ``g = 0``; -1: the least with ``> 0``, ``= 0``.

    Infinite where the set is empty (such a record never pulls that way) or has no end.
    """
    strict, flat = -side * math.inf, -side * math.inf
    pick = max if side == 1 else min
    for piece in pieces:
        if isinstance(piece, Jump):
            ends = (piece.g_low, piece.g_high)
            if side * ends[0 if side == 1 else 1] < 0:
                strict = pick(strict, piece.f)
            if ends[0] <= 0 <= ends[1]:
                flat = pick(flat, piece.f)
            continue
        inner = piece.f_high if side == 1 else piece.f_low
        if piece.slope == 0:
            if side * piece.offset < 0:
                strict = pick(strict, inner)
            elif piece.offset == 0:
                flat = pick(flat, inner)
            continue
        root = -piece.offset / piece.slope
        if piece.f_low <= root <= piece.f_high:
            strict, flat = pick(strict, root), pick(flat, root)
        elif side * (root - inner) > 0:
            strict = pick(strict, inner)
    return strict, flat
