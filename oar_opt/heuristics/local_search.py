"""Local search over menus: change one member's option at a time, re-training for each, while it helps.

Starts from everyone staying. A step gives one member another option; where the cap on acting members or the total
budget forbids that, it also sends one acting member back to stay. Members are visited in a seeded random order, every
step that helps is taken, and the search ends when a whole pass finds none, or at the time limit. Where the goal asks
for required margins, choices that miss them are compared by how much the worst subject misses, so that the search
walks towards admissible choices first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from oar_opt.contracts import Heuristic
from oar_opt.discovery import not_replayed
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.problem import Move, Option, RecourseProblem, moves_from_choice
from oar_opt.rules import budget_violations


class LocalSearch(Heuristic):
    """See the module's docstring."""

    name = "local_search"

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = not_replayed(problem)
        if reason:
            return reason
        return None if problem.is_menu_problem else "members may move features, and this rule knows finite options only"

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> tuple[Move, ...]:
        deadline = time.monotonic() + time_limit
        menus = [problem.admissible_options(member) for member in problem.collective.members]
        best = [options[0] for options in menus]
        value = _worth(problem, best)
        order = np.random.default_rng(seed)
        improved = True
        while improved:
            improved = False
            for i in order.permutation(len(menus)):
                for trial in _steps(problem, menus, best, int(i)):
                    if time.monotonic() > deadline:
                        return moves_from_choice(problem, best)
                    worth = _worth(problem, trial)
                    if worth > value:
                        best, value, improved = trial, worth, True
        return moves_from_choice(problem, best)


def _steps(
    problem: RecourseProblem, menus: list[tuple[Option, ...]], choice: list[Option], i: int
) -> Iterator[list[Option]]:
    """All choices one step away at member ``i`` that the budgets allow."""
    for option in menus[i]:
        if option is choice[i]:
            continue
        trial = [*choice[:i], option, *choice[i + 1 :]]
        if not budget_violations(problem, moves_from_choice(problem, trial)):
            yield trial
            continue
        for j in range(len(menus)):
            if j != i and choice[j] is not menus[j][0]:
                exchange = [*trial[:j], menus[j][0], *trial[j + 1 :]]
                if not budget_violations(problem, moves_from_choice(problem, exchange)):
                    yield exchange


def _worth(problem: RecourseProblem, choice: list[Option]) -> tuple[float, float]:
    """Compared lexicographically: admissible at all (else how far from it), then the goal."""
    moves = moves_from_choice(problem, choice)
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner:
        return (-np.inf, -np.inf)
    sign = 1.0 if problem.goal.maximises else -1.0
    return (0.0, sign * outcome.objective) if outcome.is_answer else (-1.0 - _shortfall(outcome), 0.0)


def _shortfall(outcome: Evaluation) -> float:
    problem = outcome.problem
    needed = [*zip(problem.guards, outcome.guard_margins, strict=True)]
    if problem.goal.needs_required:
        needed += zip(problem.queries, outcome.margins, strict=True)
    misses = [problem.needed_margin(subject) - margin for subject, margin in needed]
    if problem.max_loss_increase is not None and outcome.loss_increase is not None:
        misses.append(outcome.loss_increase - problem.max_loss_increase)
    return max([0.0, *misses])
