"""The Lagrangian dual of one gradient step: budgets and margins priced, every member on its own.

With levels ``tau`` for the subjects, :mod:`oar_opt.one_step` makes every requirement linear in the members' choices:
``excess_q = base_q + sum_i row_iq >= 0`` (in units of margin: divided by the batch's present weight). For prices
``lambda >= 0`` of the excesses, ``kappa`` of cost and ``mu`` of acting,

    D = lambda'base + kappa total + mu cap + sum_i V_i,
    V_i = max over the choices of member i of  lambda'row - (kappa + w_c) cost - (mu + w_a) [acts]

is an upper bound on

    max_margin              the least excess of the queries, if their prices sum to 1,
    min_cost, min_members   minus the cost (``w_c = 1``) or the number of those who act (``w_a = 1``),
    max_helped              the number of queries helped, with ``max(1, lambda_q W_q)`` added for each query, where
                            ``W_q`` is how far its excess can lie below 0 (its need is waived where it is not counted).

It holds for all prices, so only ``V_i`` must be bounded from above: finite options by comparison, feature changes by
:mod:`oar_opt.step_response`. ``D`` is convex; its least value is found by cutting planes, each of which is what the
members choose at some prices, summed up: the cutting-plane model is the restricted master program of column
generation, so its value is what mixtures of the choices seen so far reach. Members enter ``D`` one by one, so what
mixing gains over choosing is at most what as many members as there are prices gain by it: it vanishes as they grow in
number.

Reference: J. E. Kelley, "The Cutting-Plane Method for Solving Convex Programs", 1960; J. P. Aubin, I. Ekeland,
"Estimates of the Duality Gap in Nonconvex Optimization", 1976.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from oar_opt.one_step import OneStep
from oar_opt.problem import CostKind, Flags, Indices, Matrix, Vector
from oar_opt.step_response import NEVER, StepSearch

PRICE_GROWTH = 8.0
HIDDEN = 1e-9
"""Of the size of what is summed up, what rounding may hide, generously."""


@dataclass(frozen=True)
class Prices:
    """``excess (S,)``, ``cost`` and ``acting``, those of the goal included."""

    excess: Vector
    cost: float
    acting: float


@dataclass(frozen=True, eq=False)
class Choice:
    """What every member chooses: the place of an item ``(A,)``, or of a set (-1: none); ``e`` has the scaled changes of
    those who choose one, in order."""

    item: Indices
    set: Indices
    e: Matrix

    @property
    def changing(self) -> Indices:
        """The members who change features, in order."""
        return np.flatnonzero(self.set >= 0)


@dataclass(frozen=True, eq=False)
class Parts:
    """What each of several choices adds: ``rows (m, S)``, ``cost, acts (m,)``."""

    rows: Matrix
    cost: Vector
    acts: Vector


@dataclass(frozen=True, eq=False)
class Answered:
    """The members' answer to prices: ``bounds (A,)`` on their ``V_i``, how far the second best choice lies below the
    best ``(A,)``, the choice, and its sums ``rows (S,)``, ``cost``, ``acts``."""

    bounds: Vector
    margins: Vector
    choice: Choice
    rows: Vector
    cost: float
    acts: float


class StepDual:
    """The members of one step at given levels.

    Parameters
    ----------
    step : the scores. levels : ``tau``, ``(S,)``.
    members : which of those who arrive take part, ``(A,)``; None: all. The others' share is in nobody's sum.
    stop : asked within an answer to prices; true ends it, with wider bounds.
    """

    def __init__(
        self,
        step: OneStep,
        levels: Vector,
        members: Indices | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.step, self.levels, self.stop = step, levels, stop
        self.shift = step.start - levels
        self.base = (step.fixed + self.shift * step.fixed_weight) / step.divisor
        chosen = np.arange(step.count) if members is None else members
        self.members = chosen
        place = np.full(step.count, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        items, sets = step.items, step.sets
        self.item_places = np.flatnonzero(place[items.member] >= 0)
        self.item_member = place[items.member[self.item_places]]
        weights = step.weights[self.item_places]
        self.rows = (items.scores[self.item_places] + weights[:, None] * self.shift) / step.divisor
        self.cost, self.acts = items.cost[self.item_places], items.acts[self.item_places]
        self.first = np.flatnonzero(np.diff(self.item_member, prepend=-1))
        self.set_places = np.zeros(0, dtype=np.int64)
        if sets is not None:
            self.set_places = np.flatnonzero(place[sets.members] >= 0)
        if len(self.set_places) and sets is not None and step.side is not None:
            self.sets, self.side = sets.subset(self.set_places), step.side.subset(self.set_places)
            self.set_member = place[self.sets.members]
            records = step.problem.records
            self.X = step.settings.extend(records.X[self.sets.records])
            share = records.s[self.sets.records] if step.settings.is_mean else np.zeros(self.sets.m)
            self.set_shift = share[:, None] * self.shift / step.divisor

    @property
    def count(self) -> int:
        return len(self.members)

    @property
    def has_sets(self) -> bool:
        return len(self.set_places) > 0

    def answer(self, prices: Prices, tolerance: float, *, every_set: bool = False) -> Answered:
        """What the members choose, each to a tolerance on its bound; ``every_set``: changes even where staying pays
        more."""
        value = self.rows @ prices.excess - prices.cost * self.cost - prices.acting * self.acts
        best = np.maximum.reduceat(value, self.first) if self.count else np.zeros(0)
        item = self._first_with(value, best)
        second = value.copy()
        second[item] = -np.inf
        runner = np.maximum.reduceat(second, self.first) if self.count else np.zeros(0)
        none = np.full(self.count, -1, dtype=np.int64)
        choice = Choice(item, none, np.zeros((0, self.step.problem.d)))
        bounds, margins = best.copy(), best - runner
        if self.has_sets:
            choice, bounds, margins = self._with_sets(prices, tolerance, every_set, best, item, runner)
        rows, cost, acts = self.sums(choice)
        return Answered(bounds, margins, choice, rows, cost, acts)

    def _first_with(self, value: Vector, best: Vector) -> Indices:
        """Each member's first item with its best value."""
        hits = np.flatnonzero(value == best[self.item_member])
        _, at = np.unique(self.item_member[hits], return_index=True)
        return hits[at]

    def _with_sets(
        self, prices: Prices, tolerance: float, every_set: bool, best: Vector, item: Indices, runner: Vector
    ) -> tuple[Choice, Vector, Vector]:
        search = self._search(prices)
        toll = prices.acting + prices.cost * self.sets.charges - self.set_shift @ prices.excess
        if self.sets.cost is CostKind.COUNT:
            toll = toll + prices.cost
        floor = np.full(self.sets.m, -1e300) if every_set else best[self.set_member]
        found = search.best(floor, toll, tolerance)
        bounds = best.copy()
        np.maximum.at(bounds, self.set_member, found.bound)
        top = np.full(self.count, NEVER)
        np.maximum.at(top, self.set_member, found.value)
        takes = np.isfinite(top) & ((top > best) | every_set)
        picked = np.full(self.count, -1, dtype=np.int64)
        here = np.flatnonzero((found.value == top[self.set_member]) & takes[self.set_member])
        picked[self.set_member[here[::-1]]] = here[::-1]
        rows = picked[takes]
        e = search.changes(rows, found.u[rows], found.a[rows])
        other = np.full(self.count, NEVER)
        np.maximum.at(other, self.set_member, found.bound)
        margins = np.where(takes, top - best, np.minimum(best - runner, best - other))
        return Choice(item, picked, e), bounds, margins

    def _search(self, prices: Prices) -> StepSearch:
        direction = prices.excess @ self.step.V / self.step.divisor
        w, _ = self.step.settings.split(direction)
        return StepSearch(self.sets, self.side, self.X @ direction, w * self.sets.scales, prices.cost, self.stop)

    # -- what choices add up to ---

    def of_items(self, items: Indices) -> Parts:
        """The parts of items, by place."""
        return Parts(self.rows[items], self.cost[items], self.acts[items])

    def of_changes(self, sets: Indices, e: Matrix) -> Parts:
        """The parts of scaled changes ``e (m, d)`` in sets, by place."""
        settings = self.step.settings
        moved = self.X[sets].copy()
        moved[:, : e.shape[1]] += e * self.sets.scales
        pushes = self.side.push(sets, moved @ settings.theta0)
        rows = pushes[:, None] * (moved @ self.step.V.T) / self.step.divisor + self.set_shift[sets]
        cost = self.sets.charges[sets] + self.sets.subset(sets).costs(e)
        if self.sets.cost is CostKind.COUNT:
            cost = cost + 1.0
        return Parts(rows, cost, np.ones(len(sets)))

    def sums(self, choice: Choice) -> tuple[Vector, float, float]:
        """``rows (S,)``, cost and number of acting members of a whole choice."""
        staying = np.flatnonzero(choice.set < 0)
        parts = [self.of_items(choice.item[staying])]
        if len(choice.e):
            parts.append(self.of_changes(choice.set[choice.changing], choice.e))
        rows = sum(part.rows.sum(axis=0) for part in parts)
        return np.asarray(rows), float(sum(p.cost.sum() for p in parts)), float(sum(p.acts.sum() for p in parts))


# -- the goal ---


@dataclass(frozen=True, eq=False)
class DualGoal:
    """Which prices the dual has, and what it adds to them.

    ``simplex (S,)``: the excesses whose prices sum to 1 (none for goals that are counted). ``required (S,)``: the
    others that have a price, of any size; the rest does not matter. ``cost, acting``: the goal's own prices.
    ``waived (S,)``: ``W_q`` of queries that are counted, else NaN. ``total, cap`` are the budgets.
    """

    simplex: Flags
    required: Flags
    cost: float
    acting: float
    waived: Vector
    total: float | None
    cap: int | None

    def prices(self, x: Vector) -> Prices:
        """Of a point of the dual: the excesses' prices, then those of the budgets."""
        S, x = len(self.simplex), np.maximum(x, 0.0)
        kappa = x[S] if self.total is not None else 0.0
        mu = x[-1] if self.cap is not None else 0.0
        return Prices(x[:S], self.cost + float(kappa), self.acting + float(mu))

    @property
    def priced(self) -> Flags:
        """Which prices may be other than 0, ``(size,)``."""
        budgets = np.ones(self.size - len(self.simplex), dtype=bool)
        return np.concatenate([self.simplex | self.required, budgets])

    @property
    def size(self) -> int:
        return len(self.simplex) + (self.total is not None) + (self.cap is not None)

    def counted(self, x: Vector) -> float:
        """What ``D`` has for the queries that are counted."""
        counted = np.isfinite(self.waived)
        return float(np.maximum(1.0, x[: len(counted)][counted] * self.waived[counted]).sum())

    def linear(self, dual: StepDual) -> Vector:
        """The coefficients of the prices outside the members' sum."""
        budgets = [float(limit) for limit in (self.total, self.cap) if limit is not None]
        return np.concatenate([dual.base, budgets])


@dataclass(eq=False)
class DualSearch:
    """Cutting planes for the least ``D``.

    ``scale`` is how many members each one here stands for, ``shift`` what a sample's slope is off the whole's;
    ``bound`` is the least value proved so far, ``model`` what the cutting planes leave, ``best`` the bound's point.
    """

    dual: StepDual
    goal: DualGoal
    tolerance: float
    scale: float = 1.0
    bound: float = np.inf
    model: float = -np.inf
    best: Vector = field(default_factory=lambda: np.zeros(0))
    answered: Answered | None = None
    cuts: list[tuple[Vector, float]] = field(default_factory=list)
    points: list[Vector] = field(default_factory=list)
    weights: Vector = field(default_factory=lambda: np.zeros(0))
    most: float = 1.0
    shift: Vector | None = None

    @property
    def is_below_zero(self) -> bool:
        """Whether the bound is below 0 by more than rounding can hide in its sums."""
        if self.answered is None:
            return False
        terms = float(np.abs(self.linear * self.best).sum()) + self.scale * float(np.abs(self.answered.bounds).sum())
        return self.bound < -HIDDEN * max(1.0, terms)

    @property
    def linear(self) -> Vector:
        """The coefficients of the prices outside the members' sum."""
        return self.goal.linear(self.dual) + (0.0 if self.shift is None else self.shift)

    def shifted(self, whole: DualSearch, x: Vector) -> DualSearch:
        """This sample's dual with the slope that the whole has at its last point ``x``: what differs there is added."""
        self.evaluate(x)
        shift = whole.cuts[-1][0] - self.cuts[-1][0]
        return DualSearch(self.dual, self.goal, self.tolerance, self.scale, cuts=self.cuts, most=self.most, shift=shift)

    def evaluate(self, x: Vector) -> float:
        """``D`` at a point; its cut is kept."""
        prices = self.goal.prices(x)
        # At high prices a gain cannot be told to more digits than it has.
        size = max(1.0, float(prices.excess.max()), prices.cost, prices.acting)
        slack = self.tolerance / max(1.0, self.dual.count * self.scale) * size
        found = self.dual.answer(prices, slack)
        value = float(self.linear @ x) + self.goal.counted(x) + self.scale * float(found.bounds.sum())
        self.cuts.append(self._cut(found))
        self.points.append(x)
        if value < self.bound:
            self.bound, self.best, self.answered = value, x, found
        return value

    def _cut(self, found: Answered) -> tuple[Vector, float]:
        """Slope and constant of what this choice is worth, as a function of the prices."""
        slope = list(self.scale * found.rows)
        if self.goal.total is not None:
            slope.append(-self.scale * found.cost)
        if self.goal.cap is not None:
            slope.append(-self.scale * found.acts)
        own = -self.scale * (self.goal.cost * found.cost + self.goal.acting * found.acts)
        return np.array(slope), own

    def run(self, first: Vector, most_cuts: int, stop: Callable[[DualSearch], bool]) -> None:
        """Evaluate, from a first point, until model and bound meet, ``stop`` says so, or after that many cuts."""
        self.evaluate(first)
        for _ in range(most_cuts):
            if stop(self):
                return
            x = self._next()
            if x is None or self.bound - self.model <= self.tolerance:
                return
            self.evaluate(x)

    def _next(self) -> Vector | None:
        """The least point of the model."""
        from scipy.optimize import linprog

        size, counted = self.goal.size, np.flatnonzero(np.isfinite(self.goal.waived))
        n = size + 1 + len(counted)
        objective = np.concatenate([self.linear, np.ones(1 + len(counted))])
        A = np.zeros((len(self.cuts) + len(counted), n))
        b = np.zeros(len(A))
        for k, (slope, own) in enumerate(self.cuts):
            A[k, :size], A[k, size], b[k] = slope, -1.0, -own
        for j, q in enumerate(counted):
            row = len(self.cuts) + j
            A[row, q], A[row, size + 1 + j] = self.goal.waived[q], -1.0
        equal = np.concatenate([self.goal.simplex, np.zeros(n - len(self.goal.simplex))])[None, :].astype(float)
        has_simplex = bool(self.goal.simplex.any())
        ends: list[tuple[float, float | None]] = [(0.0, most) for most in np.where(self.goal.priced, self.most, 0.0)]
        ends += [(-1e30, None)] + [(1.0, None)] * len(counted)
        found = linprog(
            objective,
            A,
            b,
            equal if has_simplex else None,
            np.ones(1) if has_simplex else None,
            bounds=ends,
            method="highs",
        )
        if found.x is None:
            return None
        x = np.maximum(found.x[:size], 0.0)
        if self._is_at_end(x):
            self.most *= PRICE_GROWTH
            return self._next() if self.most < 1e12 else x
        self.model, self.weights = float(found.fun), -np.asarray(found.ineqlin.marginals)[: len(self.cuts)]
        if has_simplex:
            x[: len(self.goal.simplex)][self.goal.simplex] /= x[: len(self.goal.simplex)][self.goal.simplex].sum()
        return np.asarray(x)

    def _is_at_end(self, x: Vector) -> bool:
        """Whether a price that may grow has reached its present end."""
        free = self.goal.priced.copy()
        free[: len(self.goal.simplex)] &= ~self.goal.simplex
        return bool((x[free] >= self.most * (1 - 1e-9)).any())
