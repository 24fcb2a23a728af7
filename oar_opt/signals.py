"""Rules that put members into an order, one move each: the query aimed at, its imitation, and the best prefix.

*Aim.* The only query, or of several the one that is worst off at present: the one with the smallest margin, or, where
the goal has required margins, that lacks the most of its own.

*Imitation.* How far a record is from the one that a query wishes others had is measured by

    gap^2 = ||(x - x_q) / scale||_2^2 + (lack / spread)^2.

For regression ``lack`` is by how much a target ``y`` misses what the query wants (``sign (y - threshold)`` of at least
the required margin, or 0), and ``spread`` is the standard deviation of all targets (1 where that is 0). For classes
``lack`` is infinite where the label is not the wanted one, since a copy of the query with another label teaches the
opposite. Records without weight imitate nobody.

*Best prefix.* Moves join in their order, and a move that a budget does not leave room for is left out. Of all prefixes
of what remains, nobody acting among them, the best by re-training is kept. Of more than :data:`MANY` moves the sizes 1,
2, 4, ... are tried, and then, again and again, :data:`BETWEEN` sizes on either side of the best one, between those
tried before, until there are none: the best of all where outcomes rise and then fall with the size, as a rule good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from oar_opt.contracts import Proposal
from oar_opt.discovery import not_replayed, update_rule
from oar_opt.evaluate import evaluate_present
from oar_opt.member_room import Room
from oar_opt.problem import GoalKind, Member, Move, Point, Query, RecourseProblem
from oar_opt.purse import Purse
from oar_opt.standing import Best, Standing

MANY, BETWEEN = 32, 4
SHARE = 0.5
"""Of the time, what finding the order may take at most."""


def not_aimed(problem: RecourseProblem) -> str | None:
    """Why nothing is known at present to order members by, or None."""
    reason = not_replayed(problem)
    if reason:
        return reason
    undefined = update_rule(problem).undefined(problem, problem.records)
    return f"there is no model before anyone acts: {undefined}" if undefined else None


def worst_off(problem: RecourseProblem) -> Query:
    """The query aimed at; the first one where the learner is undefined at present."""
    present = evaluate_present(problem)
    if present is None:
        return problem.queries[0]
    needed = [problem.needed_margin(query) if problem.goal.needs_required else 0.0 for query in problem.queries]
    slack = [margin - need for margin, need in zip(present.margins, needed, strict=True)]
    return problem.queries[int(np.argmin(slack))]


def worth_of(problem: RecourseProblem, gain: float, cost: float) -> tuple[float, float]:
    """By which greedy rules compare gains above 0: per cost where the goal is the cost, else as they are."""
    if problem.goal is not GoalKind.MIN_COST:
        return (gain, -cost)
    return (gain / cost if cost > 0 else math.inf, gain)


def in_time(members: Iterable[Member], deadline: float) -> Iterator[Member]:
    """The first member in any case, then the others until the deadline (of :func:`time.monotonic`)."""
    for k, member in enumerate(members):
        if k and time.monotonic() > deadline:
            return
        yield member


# -- imitation ---


@dataclass(frozen=True)
class Wish:
    """The record that a query wishes others had, and how far they are from it."""

    problem: RecourseProblem
    query: Query

    def imitation(self, member: Member) -> Move | None:
        """The move of a member to the record nearest to the query; None where that is its own, or it can have none."""
        room = Room.of(self.problem, member)
        return self.nearest(member, [*room.finite, *self.approaches(room)])

    def approaches(self, room: Room) -> list[Move]:
        """The changes, one for each set, that bring a member's features nearest to the query's."""
        found = [room.change(one, np.array(self.query.x) - one.x) for one in room.sets]
        return [move for move in found if move is not None]

    def nearest(self, member: Member, moves: Sequence[Move]) -> Move | None:
        """The move to the record nearest to the query, of equally near ones the cheapest; None: staying is as near."""
        records, i = self.problem.records, member.record
        stays = self.gap(tuple(records.X[i].tolist()), float(records.y[i]), float(records.s[i]))
        gaps = [self.gap(move.x, move.y, move.s) for move in moves]
        if min(gaps, default=math.inf) >= stays:
            return None
        return moves[min(range(len(moves)), key=lambda k: (gaps[k], moves[k].cost))]

    def gap(self, x: Point, y: float, s: float) -> float:
        """The square of how far a record is from the wish; infinite for one without weight, or with another label."""
        if s <= 0:
            return math.inf
        apart = float((((np.array(x) - self.query.x) / self.problem.scales) ** 2).sum())
        if self.problem.classes is not None:
            return apart if self.carries(y) else math.inf
        return apart + (self._lack(y) / self.spread) ** 2

    def carries(self, y: float) -> bool:
        """Whether a label is the wanted one, or a target is as far on the wanted side as is wanted."""
        return y == self.query.target if self.problem.classes is not None else self._lack(y) == 0

    def _lack(self, y: float) -> float:
        query = self.query
        return max(0.0, (query.required or 0.0) - query.target * (y - query.threshold))

    @cached_property
    def spread(self) -> float:
        return float(np.std(self.problem.records.y)) or 1.0

    def by_gap(self, moves: Iterable[Move]) -> list[Move]:
        """Those that end nearest to the query first; of equally near ones the cheaper, then the first record."""
        return sorted(moves, key=lambda move: (self.gap(move.x, move.y, move.s), move.cost, move.record))


# -- prefixes ---


@dataclass
class Prefixes:
    """Prefixes of one order, tried until the deadline, the first in any case; ``best`` may come from other orders."""

    best: Best
    moves: tuple[Move, ...]
    deadline: float
    standings: dict[int, Standing] = field(default_factory=dict)
    is_late: bool = False

    @classmethod
    def of(cls, best: Best, order: Iterable[Move], deadline: float) -> Prefixes:
        """Of the moves in an order that the budgets leave room for."""
        purse = Purse(best.problem)
        return cls(best, tuple(move for move in order if purse.pays(move)), deadline)

    def run(self) -> None:
        count = len(self.moves)
        if count <= MANY:
            self._look(range(1, count + 1))
            return
        self._look([1 << k for k in range(count.bit_length())] + [count])
        while not self.is_late and (between := self._between()):
            self._look(between)

    def _look(self, sizes: Iterable[int]) -> None:
        for size in sizes:
            if size in self.standings:
                continue
            self.is_late = self.is_late or (bool(self.standings) and time.monotonic() > self.deadline)
            if self.is_late:
                return
            self.standings[size] = self.best.look(self.moves[:size])

    def _between(self) -> list[int]:
        """Sizes not tried yet on both sides of the best one; none where its neighbours are known."""
        known = sorted({0, *self.standings})
        top = max(self.standings, key=lambda size: (self.standings[size], -size))
        place = known.index(top)
        ends = [known[place - 1], top, *known[place + 1 : place + 2]]
        sizes = [
            low + (high - low) * k // (BETWEEN + 1) for low, high in pairwise(ends) for k in range(1, BETWEEN + 1)
        ] + [top - 1, min(top + 1, len(self.moves))]
        return [size for size in sizes if size > 0 and size not in self.standings]


def best_prefix(problem: RecourseProblem, order: Sequence[Move], deadline: float, what: str) -> Proposal:
    """The best prefix of one order; ``what`` says in the remark whose order it is."""
    if not order:
        return Proposal((), f"nobody can act: {what}")
    best = Best(problem)
    prefixes = Prefixes.of(best, order, deadline)
    prefixes.run()
    tried = f"{len(prefixes.standings)} of {len(prefixes.moves)} prefixes re-trained"
    late = "; the time ended before more" if prefixes.is_late else ""
    return Proposal(best.moves, f"{len(best.moves)} members act: {what}; {tried}{late}")
