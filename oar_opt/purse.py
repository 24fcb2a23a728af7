"""Budgets drawn on move by move: who may still act after others have.

The total cost may reach what rounding allows beyond its budget (:func:`oar_opt.rules.with_rounding`), and no more
members act than the cap says. The budget for one member limits that member's options, not who joins.
"""

from __future__ import annotations

from dataclasses import dataclass

from oar_opt.problem import Move, RecourseProblem
from oar_opt.rules import with_rounding


def within_budgets(problem: RecourseProblem, cost: float, count: int) -> bool:
    """Whether the total budget and the cap on members leave so much."""
    budget = problem.collective.budget
    return cost <= with_rounding(budget.total) and (budget.members is None or count <= budget.members)


@dataclass
class Purse:
    """What members have spent so far, and how many they are."""

    problem: RecourseProblem
    spent: float = 0.0
    count: int = 0

    def pays(self, move: Move) -> bool:
        """Whether the budgets leave room for one more member's move, which then is paid."""
        if not within_budgets(self.problem, self.spent + move.cost, self.count + 1):
            return False
        self.spent, self.count = self.spent + move.cost, self.count + 1
        return True
