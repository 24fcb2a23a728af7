"""Nearest members: those nearest to the query act first, each by imitating it; the best number of them.

The query is the only one, or of several the one that is worst off at present: the one with the smallest margin, or,
where the goal has required margins, that lacks the most of its own. Members come in the order of ``||(x_i - x_q) /
scale||_2`` over present records. A member imitates by the record within its reach that is the nearest to ``(x_q, a
wanted label)``, that is, by the move (or staying) with the least

    ||(x - x_q) / scale||_2^2 + (lack / spread)^2.

For regression ``lack`` is by how much a target ``y`` misses what the query wants (``sign (y - threshold)`` of at least
the required margin, or 0), and ``spread`` is the standard deviation of all targets (1 where that is 0). For classes
``lack`` is infinite where the label is not the wanted one, since a copy of the query with another label teaches the
opposite. Records without weight imitate nobody. Of a set of changes the one nearest to ``x_q`` counts, on its grids,
and of equally near records the cheapest. Who is nearest by staying does not act.

The members' moves are put together in that order until a budget would be overdrawn, and of all prefixes, nobody acting
among them, the best by re-training is proposed; where the time ends before all are tried, of the longest one, its half,
its quarters and so on. The rule is blind to what else a record does to the learner.

Reference: the strategy of planting copies of what shall be recognised: M. Hardt, E. Mazumdar, C. Mendler-Duenner,
T. Zrnic, "Algorithmic Collective Action in Machine Learning", 2023.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import not_replayed
from oar_opt.problem import Move, Query, RecourseProblem
from oar_opt.purse import Purse
from oar_opt.signals import Wish, worst_off
from oar_opt.standing import Best

SHARE = 0.5
"""Of the time, what finding imitations may take at most."""


class NearestMembers(Heuristic):
    """See the module's docstring."""

    name = "nearest_members"

    def accepts(self, problem: RecourseProblem) -> str | None:
        return not_replayed(problem)

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        started = time.monotonic()
        query = worst_off(problem)
        moves, is_late = _imitations(problem, query, started + SHARE * time_limit)
        if not moves:
            return Proposal((), f"no member can imitate query '{query.name}' within the budgets")
        best, count = Best(problem), 0
        for size in _halves_first(len(moves)):
            if count and time.monotonic() > started + time_limit:
                break
            best.look(moves[:size])
            count += 1
        of = f"all {count}" if count == len(moves) else f"{count} of {len(moves)}"
        who = f"{len(best.moves)} of them, the nearest, act" if best.moves else "nobody acts"
        members = "1 member" if len(moves) == 1 else f"{len(moves)} members"
        remark = f"{members} can imitate query '{query.name}': {who}, the best of {of} prefixes"
        return Proposal(best.moves, remark + ("; no time for members further away" if is_late else ""))


def _halves_first(count: int) -> Iterator[int]:
    """Every number from 1 to ``count``: the last, then multiples of ever smaller powers of 2."""
    if count:
        yield count
    step = 1 << max(0, count.bit_length() - 1)
    while step:
        yield from (size for size in range(step, count, 2 * step))
        step //= 2


def _imitations(problem: RecourseProblem, query: Query, deadline: float) -> tuple[tuple[Move, ...], bool]:
    """What the nearest members do, as far as the budgets allow, and whether the time ended before; one in any case."""
    members, purse, found = problem.collective.members, Purse(problem), list[Move]()
    wish = Wish(problem, query)
    rows = np.array([member.record for member in members], dtype=np.int64)
    distances = np.linalg.norm((problem.records.X[rows] - np.array(query.x)) / problem.scales, axis=1)
    for i in np.lexsort((rows, distances)):
        if found and time.monotonic() > deadline:
            return tuple(found), True
        move = wish.imitation(members[i])
        if move is None:
            continue
        if not purse.pays(move):
            break
        found.append(move)
    return tuple(found), False
