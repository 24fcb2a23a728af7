"""How the outcomes of moves compare in searches: answers first, by the goal; of others, how far they are from one.

The standing of an outcome is ``(0, g)`` where it is an answer, with ``g`` the goal's value, negated where the goal
minimises; ``(-1/2, g)`` where it would be one if re-training were accurate enough to tell; else ``(-1 - miss, 0)``,
with ``miss`` the largest of what guards lack of their needed margins (queries too, where the goal has required margins)
and of what the training loss rises beyond its limit, at least 0. Where the moves leave the learner undefined it is
``(-inf, -inf)``. Standings compare lexicographically, so that a search walks towards
answers first. This is a rule of searches only: whether an outcome is an answer, :mod:`oar_opt.evaluate` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.problem import Move, RecourseProblem

Standing = tuple[float, float]

UNDEFINED: Standing = (-math.inf, -math.inf)
VAGUE = -0.5


def tried(problem: RecourseProblem, moves: Sequence[Move]) -> Evaluation | None:
    """The outcome of moves by re-training; None where they leave the learner undefined."""
    try:
        return evaluate(problem, moves)
    except UndefinedLearner:
        return None


def standing(outcome: Evaluation | None) -> Standing:
    """See the module's docstring; None is an undefined learner."""
    if outcome is None:
        return UNDEFINED
    sign = 1.0 if outcome.problem.goal.maximises else -1.0
    if not outcome.is_answer:
        return (-1.0 - _miss(outcome), 0.0)
    return (0.0 if outcome.is_accurate else VAGUE, sign * outcome.objective)


class Best:
    """The moves with the best standing of those looked at, the first of equals; nobody acting is the first of all."""

    def __init__(self, problem: RecourseProblem) -> None:
        self.problem = problem
        self.moves: tuple[Move, ...] = ()
        self.standing = standing(tried(problem, ()))

    def look(self, moves: tuple[Move, ...]) -> Standing:
        """Re-train for moves, which obey every rule and budget, and keep them where they are better."""
        now = standing(tried(self.problem, moves))
        if now > self.standing:
            self.moves, self.standing = moves, now
        return now


def _miss(outcome: Evaluation) -> float:
    problem = outcome.problem
    needed = [*zip(problem.guards, outcome.guard_margins, strict=True)]
    if problem.goal.needs_required:
        needed += zip(problem.queries, outcome.margins, strict=True)
    misses = [problem.needed_margin(subject) - margin for subject, margin in needed]
    if problem.max_loss_increase is not None and outcome.loss_increase is not None:
        misses.append(outcome.loss_increase - problem.max_loss_increase)
    return max([0.0, *misses])
