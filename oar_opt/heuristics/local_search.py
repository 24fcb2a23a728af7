"""Local search over menus: change one member's option at a time, re-training for each, while it helps.

Starts from everyone staying. A pass tries, member by member in a seeded random order, every other option that the
budgets allow and keeps the best; the search ends when a whole pass changes nothing, or at the time limit. Where the goal
asks for required margins, choices that miss them are compared by how much the worst subject misses, so that the search
walks towards admissible choices first.
"""

from __future__ import annotations

import time

import numpy as np

from oar_opt.contracts import Heuristic
from oar_opt.discovery import missing_learner
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.problem import Move, Option, RecourseProblem, UpdateKind, moves_from_choice
from oar_opt.rules import budget_violations


class LocalSearch(Heuristic):
    """See the module's docstring."""

    name = "local_search"

    def accepts(self, problem: RecourseProblem) -> str | None:
        missing = missing_learner(problem)
        if missing:
            return missing
        if problem.update.kind not in (UpdateKind.RETRAIN, UpdateKind.PROXIMAL):
            return f"the update '{problem.update.kind}' is not replayed here yet"
        return None if problem.is_menu_problem else "members may move features, and this rule knows finite options only"

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> tuple[Move, ...]:
        deadline = time.monotonic() + time_limit
        menus = [problem.admissible_options(member) for member in problem.collective.members]
        choice = [options[0] for options in menus]
        value = _worth(problem, choice)
        order = np.random.default_rng(seed)
        improved = True
        while improved:
            improved = False
            for i in order.permutation(len(menus)):
                current = choice[i]
                for option in menus[i]:
                    if time.monotonic() > deadline:
                        return moves_from_choice(problem, choice)
                    if option is current:
                        continue
                    trial = [*choice[:i], option, *choice[i + 1 :]]
                    worth = _worth(problem, trial)
                    if worth > value:
                        choice, value, improved = trial, worth, True
        return moves_from_choice(problem, choice)


def _worth(problem: RecourseProblem, choice: list[Option]) -> tuple[float, float]:
    """Compared lexicographically: admissible at all (else how far from it), then the goal."""
    moves = moves_from_choice(problem, choice)
    nothing = (-np.inf, -np.inf)
    if budget_violations(problem, moves):
        return nothing
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner:
        return nothing
    sign = 1.0 if problem.goal.maximises else -1.0
    return (0.0, sign * outcome.objective) if not outcome.broken else (-1.0 - _shortfall(outcome), 0.0)


def _shortfall(outcome: Evaluation) -> float:
    problem = outcome.problem
    needed = [*zip(problem.guards, outcome.guard_margins, strict=True)]
    if problem.goal.needs_required:
        needed += zip(problem.queries, outcome.margins, strict=True)
    misses = [(subject.required or 0.0) - margin for subject, margin in needed]
    if problem.max_loss_increase is not None and outcome.loss_increase is not None:
        misses.append(outcome.loss_increase - problem.max_loss_increase)
    return max([0.0, *misses])

