"""Ready choices of a step's free members: their options, and feature changes that pay at one price or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from oar_opt.one_step import OneStep
from oar_opt.problem import CostKind, Flags, Indices, Matrix, Move, RecourseProblem, Vector
from oar_opt.step_choice import Columns
from oar_opt.step_dual import Answered, Choice, DualGoal, DualSearch, Parts, Prices, StepDual

PRICED = (0.0, 0.25, 0.6, 0.9, 1.0, 1.1, 1.6, 4.0)
"""At these multiples of the price of cost, changes are offered."""
CAPS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
"""And, where few members are free, the best that cost at most these shares of the dearest."""
FEW_FREE, MOST_POINTS = 40, 4
"""Members that are few; further points of the dual whose changes are offered."""
INSIDE = 1e-12


class Offers:
    """Columns of the free members ``who``, places among those of ``dual``."""

    def __init__(self, step: OneStep, dual: StepDual, levels: Vector, who: Indices) -> None:
        self.step, self.who = step, who
        self.part = StepDual(step, levels, dual.members[who], dual.stop)
        items = np.arange(len(self.part.item_places))
        self.owners: list[Indices] = [self.part.item_member]
        self.parts: list[Parts] = [self.part.of_items(items)]
        self.changes: list[tuple[Indices, Matrix]] = []

    def add_changes(self, search: DualSearch, tolerance: float) -> None:
        """Changes at the best prices and around them, and at other points of the dual that its least value mixes."""
        if not self.part.has_sets:
            return
        prices = search.goal.prices(search.best)
        tried = [replace(prices, cost=share * prices.cost) for share in PRICED] if prices.cost > 0 else [prices]
        mixed: Indices = np.argsort(-search.weights)[:MOST_POINTS]
        tried += [search.goal.prices(search.points[k]) for k in mixed if search.weights[k] > 1e-9]
        for one in tried:
            self._offer(self.part, one, tolerance)
        if len(self.who) <= FEW_FREE and prices.cost > 0 and self.part.sets.cost is not CostKind.COUNT:
            free = replace(prices, cost=0.0)
            dearest = max(float(cost) for parts in self.parts[1:] for cost in parts.cost)
            for share in CAPS:
                capped = StepDual(self.step, self.part.levels, self.part.members, self.part.stop)
                capped.sets = capped.sets.capped(share * dearest)
                self._offer(capped, free, tolerance)

    def _offer(self, part: StepDual, prices: Prices, tolerance: float) -> None:
        choice = part.answer(prices, tolerance, every_set=True).choice
        who = choice.changing
        if len(who):
            self.owners.append(who)
            self.parts.append(part.of_changes(choice.set[who], choice.e))
            self.changes.append((choice.set[who], choice.e))

    def add_own(self, choice: Choice) -> None:
        """The changes that the free members make in a choice of all."""
        own = np.flatnonzero(choice.set[self.who] >= 0)
        if len(own):
            place = np.full(len(choice.set), -1, dtype=np.int64)
            place[choice.changing] = np.arange(len(choice.e))
            e = choice.e[place[self.who[own]]]
            sets = np.searchsorted(self.part.set_places, choice.set[self.who[own]])
            self.owners.append(own)
            self.parts.append(self.part.of_changes(sets, e))
            self.changes.append((sets, e))

    def columns(self) -> Columns:
        """All of them, options first."""
        rows = np.concatenate([part.rows for part in self.parts])
        cost, acts = (np.concatenate([getattr(part, name) for part in self.parts]) for name in ("cost", "acts"))
        return Columns(np.concatenate(self.owners), Parts(rows, cost, acts))

    def moves(self, taken: Indices) -> list[Move]:
        """The moves of columns, by place."""
        options = taken[taken < len(self.part.item_places)]
        moves = item_moves(self.step, self.part, options)
        start = len(self.part.item_places)
        for sets, e in self.changes:
            here = taken[(taken >= start) & (taken < start + len(sets))] - start
            moves += change_moves(self.step.problem, self.part, sets[here], e[here])
            start += len(sets)
        return moves


def held(choice: Choice, keep: Flags) -> Choice:
    """The choice of some members only, ``keep (A,)``; the others are left out of the sums."""
    changing = choice.changing
    return Choice(choice.item[keep], choice.set[keep], choice.e[keep[changing]])


def within_budgets(dual: StepDual, goal: DualGoal, answered: Answered) -> Choice:
    """An answer to prices that obeys the budgets: near the best prices it oversteps them by little, if at all.

    Those for whom staying is nearly as good stay, until the cap is kept. What is overspent is first taken off changes
    that are shorter than the dearest, whose last step is worth its price and no more, in proportion; then further
    members stay.
    """
    choice = answered.choice
    cost, acts = np.zeros(dual.count), np.zeros(dual.count)
    staying, changing = np.flatnonzero(choice.set < 0), choice.changing
    parts = dual.of_items(choice.item[staying])
    cost[staying], acts[staying] = parts.cost, parts.acts
    e = choice.e.copy()
    if len(changing):
        cost[changing], acts[changing] = dual.of_changes(choice.set[changing], e).cost, 1.0
    order = np.argsort(answered.margins, kind="stable")
    order = order[acts[order] > 0]
    keep = np.ones(dual.count, dtype=bool)
    if goal.cap is not None and len(order) > goal.cap:
        keep[order[: len(order) - goal.cap]] = False
        order = order[len(order) - goal.cap :]
    if goal.total is not None and cost[keep].sum() > goal.total:
        if len(changing):
            e = _shortened(dual, choice, e, cost, keep, goal.total)
            cost[changing] = dual.of_changes(choice.set[changing], e).cost
        over = cost[keep].sum() - goal.total * (1 - INSIDE)
        if over > 0:
            gone = np.searchsorted(np.cumsum(cost[order]), over) + 1
            keep[order[:gone]] = False
    kept = keep[changing]
    return Choice(np.where(keep, choice.item, dual.first), np.where(keep, choice.set, -1), e[kept])


def _shortened(dual: StepDual, choice: Choice, e: Matrix, cost: Vector, keep: Flags, total: float) -> Matrix:
    """Changes that cost less than the dearest, by one factor, so that all members together spend ``total``."""
    changing = choice.changing
    own = np.where(keep[changing], cost[changing] - dual.sets.charges[choice.set[changing]], 0.0)
    inner = (own > 0) & (own < own.max(initial=0.0) * (1 - 1e-9))
    over = cost[keep].sum() - total * (1 - INSIDE)
    if dual.sets.cost is CostKind.COUNT or not inner.any() or own[inner].sum() < 2 * over:
        return e
    share = 1 - over / float(own[inner].sum())
    factor = share**0.5 if dual.sets.cost is CostKind.SQL2 else share
    return np.where(inner[:, None], factor * e, e)


def item_moves(step: OneStep, dual: StepDual, items: Indices) -> list[Move]:
    """The moves behind items of the dual, by place."""
    places = dual.item_places[items]
    acting = places[step.items.acts[places] > 0]
    return [move for k in acting if (move := step.move(int(k))) is not None]


def change_moves(problem: RecourseProblem, dual: StepDual, sets: Indices, e: Matrix) -> list[Move]:
    """The moves behind scaled changes ``e (m, d)``; a change of nothing is none."""
    records = problem.records
    rows = dual.sets.records[sets]
    X = records.X[rows]
    lower, upper = dual.sets.subset(sets).box()
    after = X + np.clip(e * (1 - INSIDE), lower, upper) * problem.scales
    charges = dual.sets.charges[sets]
    scaled = (after - X) / problem.scales
    costs = charges + (1.0 if dual.sets.cost is CostKind.COUNT else dual.sets.subset(sets).costs(scaled))
    moving = (after != X).any(axis=1)
    return _made(rows[moving], after[moving], records.y[rows[moving]], records.s[rows[moving]], costs[moving])


def _made(rows: Indices, X: Matrix, y: Vector, s: Vector, costs: Vector) -> list[Move]:
    columns: Sequence[list[float]] = (y.tolist(), s.tolist(), costs.tolist())
    return [Move(row, tuple(x), *rest) for row, x, *rest in zip(rows.tolist(), X.tolist(), *columns, strict=True)]
