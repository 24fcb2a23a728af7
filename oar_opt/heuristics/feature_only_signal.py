"""Feature-only signal: members who carry the wanted label move their features towards the query, all others stay.

A member takes part if its record has weight and carries the wanted label (for regression, a target as far on the wanted
side as the query requires). It takes the change of features, or the option with the record's own label and weight, that
is nearest to ``x_q`` over scaled features, if that is nearer than its record. Those who come nearest are first, and the
best prefix is proposed; see :mod:`oar_opt.signals`. Labels stay as they are.

Reference: M. Hardt, E. Mazumdar, C. Mendler-Duenner, T. Zrnic, "Algorithmic Collective Action in Machine Learning",
2023.
"""

from __future__ import annotations

import time

from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import not_replayed
from oar_opt.member_room import Room
from oar_opt.problem import Member, Move, RecourseProblem
from oar_opt.signals import SHARE, Wish, best_prefix, in_time, worst_off


class FeatureOnlySignal(Heuristic):
    """See the module's docstring."""

    name = "feature_only_signal"

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = not_replayed(problem)
        if reason:
            return reason
        wishes = [Wish(problem, query) for query in problem.queries]
        able = (_features_only(wish, member) for wish in wishes for member in problem.collective.members)
        return None if any(able) else "no member who carries a wanted label may bring its features nearer to the query"

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        started, found = time.monotonic(), list[Move]()
        wish = Wish(problem, worst_off(problem))
        for member in in_time(problem.collective.members, time.monotonic() + SHARE * time_limit):
            move = _features_only(wish, member)
            found += [move] if move is not None else []
        what = f"the features of those with the wanted label, towards query '{wish.query.name}'"
        return best_prefix(problem, wish.by_gap(found), started + time_limit, what)


def _features_only(wish: Wish, member: Member) -> Move | None:
    """The nearest record to the query that a member can have by its features alone; None where it stays."""
    records, i = wish.problem.records, member.record
    if records.s[i] == 0 or not wish.carries(float(records.y[i])):
        return None
    room = Room.of(wish.problem, member)
    same = [move for move in room.finite if move.y == records.y[i] and move.s == records.s[i]]
    return wish.nearest(member, [*same, *wish.approaches(room)])
