"""Nobody acts: the point of comparison for everything else.

Proposes no move at all. It applies to every instance.
"""

from __future__ import annotations

from oar_opt.contracts import Heuristic, Proposal
from oar_opt.problem import RecourseProblem


class Stay(Heuristic):
    """See the module's docstring."""

    name = "stay"
    starts = True

    def accepts(self, problem: RecourseProblem) -> str | None:
        return None

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        return Proposal()
