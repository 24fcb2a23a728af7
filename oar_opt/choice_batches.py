"""Choices of one option per member that obey the budgets, as arrays and many at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from oar_opt.problem import Indices, Vector

COST_STEPS = 500
"""Costs are counted in this many steps of the budget, rounded down."""


@dataclass(frozen=True)
class Limit:
    """What a choice may cost in all, and how many members may act."""

    total: float
    members: float


@dataclass(frozen=True)
class ChoiceBatches:
    """``menus``: for each member the rows of its options, ``(o,)``.

    ``costs`` and ``acts`` are those of all rows, ``(K,)`` each; ``acts`` is 1 where the option makes its member act.
    """

    menus: tuple[Indices, ...]
    costs: Vector
    acts: Vector
    limit: Limit

    @property
    def count(self) -> float:
        """How many choices there are; a total budget may leave fewer."""
        if min(self.limit.total, self.limit.members) < 0:
            return 0.0
        unlimited = math.isinf(self.limit.total) or self.limit.total <= 0
        step = 1.0 if unlimited else self.limit.total / COST_STEPS
        steps = 1 if unlimited else COST_STEPS + 1
        most = int(min(self.limit.members, len(self.menus)))
        ways = np.zeros((most + 1, steps))
        ways[0, 0] = 1.0
        for menu in self.menus:
            longer = np.zeros_like(ways)
            for row in menu:
                by, acting = (0 if unlimited else int(self.costs[row] / step)), int(self.acts[row])
                if by < steps and acting <= most:
                    longer[acting:, by:] += ways[: most + 1 - acting, : steps - by]
            ways = longer
        return float(ways.sum())

    def batches(self, size: int) -> Iterator[Indices]:
        """All choices, as rows ``(m, k)``, at most ``size`` at a time."""
        tail = len(self.menus)
        while tail > 0 and math.prod(len(menu) for menu in self.menus[tail - 1 :]) <= size:
            tail -= 1
        ends = self._tail(tail)
        spent, acting = self.costs[ends].sum(axis=1), self.acts[ends].sum(axis=1)
        kept: list[Indices] = []
        count = 0
        for head, cost, acts in self._heads(tail):
            fits = np.flatnonzero((spent <= self.limit.total - cost) & (acting <= self.limit.members - acts))
            for part in np.split(fits, range(size, len(fits), size)):
                if not len(part):
                    continue
                if count + len(part) > size:
                    yield np.concatenate(kept)
                    kept, count = [], 0
                kept.append(np.hstack([np.tile(np.array(head, dtype=np.int64), (len(part), 1)), ends[part]]))
                count += len(part)
        if kept:
            yield np.concatenate(kept)

    def near(self, rows: Indices, distance: int, size: int) -> Iterator[Indices]:
        """The choices that differ from ``rows (k,)`` for at most ``distance`` members, some of them repeatedly."""
        for part in itertools.combinations(range(len(self.menus)), min(distance, len(self.menus))):
            others = ChoiceBatches(tuple(self.menus[i] for i in part), self.costs, self.acts, Limit(math.inf, math.inf))
            for some in others.batches(size):
                found = np.tile(rows, (len(some), 1))
                found[:, part] = some
                cheap = self.costs[found].sum(axis=1) <= self.limit.total
                found = found[cheap & (self.acts[found].sum(axis=1) <= self.limit.members)]
                if len(found):
                    yield found

    def count_near(self, distance: int) -> float:
        """At most how many choices :meth:`near` gives."""
        sizes = [len(menu) for menu in self.menus]
        parts = itertools.combinations(sizes, min(distance, len(sizes)))
        return float(sum(math.prod(part) for part in parts))

    def _tail(self, start: int) -> Indices:
        """Every combination of options of the members from ``start`` on."""
        found: Indices = np.zeros((1, 0), dtype=np.int64)
        for menu in self.menus[start:]:
            found = np.hstack([np.repeat(found, len(menu), axis=0), np.tile(menu, len(found))[:, None]])
        return found

    def _heads(self, end: int) -> Iterator[tuple[tuple[int, ...], float, float]]:
        """Combinations of the members before ``end`` within the limits, with costs and acting members."""

        def extend(head: tuple[int, ...], cost: float, acts: float) -> Iterator[tuple[tuple[int, ...], float, float]]:
            if len(head) == end:
                yield head, cost, acts
                return
            for row in self.menus[len(head)]:
                more, acting = cost + float(self.costs[row]), acts + float(self.acts[row])
                if more <= self.limit.total and acting <= self.limit.members:
                    yield from extend((*head, int(row)), more, acting)

        return extend((), 0.0, 0.0)
