"""Nearest members: those nearest to the query act first, each by imitating it; the best number of them.

Members come in the order of ``||(x_i - x_q) / scale||_2`` over present records. The query aimed at, what it is to
imitate it, and the best prefix are those of :mod:`oar_opt.signals`. Who is nearest by staying does not act. The rule is
blind to what else a record does to the learner. (``feature_label_planting`` orders by where members are afterwards.)

Reference: the strategy of planting copies of what shall be recognised: M. Hardt, E. Mazumdar, C. Mendler-Duenner,
T. Zrnic, "Algorithmic Collective Action in Machine Learning", 2023.
"""

from __future__ import annotations

import time

import numpy as np

from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import not_replayed
from oar_opt.problem import Member, Query, RecourseProblem
from oar_opt.signals import SHARE, Wish, best_prefix, in_time, worst_off


class NearestMembers(Heuristic):
    """See the module's docstring."""

    name = "nearest_members"

    def accepts(self, problem: RecourseProblem) -> str | None:
        return not_replayed(problem)

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        started = time.monotonic()
        wish = Wish(problem, worst_off(problem))
        members = in_time(_nearest_first(problem, wish.query), started + SHARE * time_limit)
        moves = [move for member in members if (move := wish.imitation(member)) is not None]
        what = f"the nearest to query '{wish.query.name}', by imitating it"
        return best_prefix(problem, moves, started + time_limit, what)


def _nearest_first(problem: RecourseProblem, query: Query) -> list[Member]:
    """All members, those nearest to the query at present first; of equally near ones the first record."""
    members = problem.collective.members
    rows = np.array([member.record for member in members], dtype=np.int64)
    distances = np.linalg.norm((problem.records.X[rows] - np.array(query.x)) / problem.scales, axis=1)
    return [members[i] for i in np.lexsort((rows, distances))]
