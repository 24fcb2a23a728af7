"""Feature-label planting: members copy the query with the wanted label, those who come nearest to it first.

The signal is the record that the query wishes others had, ``(x_q, wanted label)``. Each member takes the option, or the
change of features, nearest to it by the gap of :mod:`oar_opt.signals`, if that is nearer than its own record; those
whose new records are the nearest come first, and the best prefix is proposed. The rule is blind to what else a record
does to the learner. (``nearest_members`` orders by where members are at present.)

Reference: M. Hardt, E. Mazumdar, C. Mendler-Duenner, T. Zrnic, "Algorithmic Collective Action in Machine Learning",
2023.
"""

from __future__ import annotations

import time

from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import not_replayed
from oar_opt.problem import Move, RecourseProblem
from oar_opt.signals import SHARE, Wish, best_prefix, in_time, worst_off


class FeatureLabelPlanting(Heuristic):
    """See the module's docstring."""

    name = "feature_label_planting"

    def accepts(self, problem: RecourseProblem) -> str | None:
        return not_replayed(problem)

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        started, found = time.monotonic(), list[Move]()
        wish = Wish(problem, worst_off(problem))
        for member in in_time(problem.collective.members, time.monotonic() + SHARE * time_limit):
            move = wish.imitation(member)
            found += [move] if move is not None else []
        what = f"copies of query '{wish.query.name}' with the wanted label"
        return best_prefix(problem, wish.by_gap(found), started + time_limit, what)
