"""Isolated: the best single member acts, all others stay.

Every member's own problem is solved as :mod:`oar_opt.alone` says, and the move of the one with the best outcome is
proposed: for a goal that no single member reaches, the one that gives the queries the largest margin. Nobody acts where
no member can do better alone than by staying, as where members help only together. Where all members' problems are
solved to optimality, and for the largest margin, ``stay <= isolated <= joint optimum``.

It does not apply where members may move features and margins have no slopes for a local search.
"""

from __future__ import annotations

from oar_opt.alone import each_alone, not_solved_alone
from oar_opt.contracts import Heuristic, Proposal
from oar_opt.problem import RecourseProblem


class Isolated(Heuristic):
    """See the module's docstring."""

    name = "isolated"

    def accepts(self, problem: RecourseProblem) -> str | None:
        return not_solved_alone(problem)

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        known = each_alone(problem, seed=seed, time_limit=time_limit)
        best = known.by_gain()[:1]
        if not best:
            return Proposal((), f"nobody gains by acting alone; {known.words}", known.is_settled)
        return Proposal(best[0].moves, f"member {best[0].member.record} alone; {known.words}", known.is_settled)
