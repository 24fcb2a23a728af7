"""All choices of one option per member that the rules and budgets admit, with costs in rationals.

Labels, weights, costs and menu options are those of the file. A budget counts as kept up to ``1.001 max(1, limit) /
10^9`` above it. That is the slack that numbers written in decimals have in everything that searches for an answer, and
a thousandth of it more for the rounding of sums and limits in floating point (some 10^-16 of them for each member who
acts); so no choice is left out that a search admits, and a bound over all of these is a bound over fewer. Only the
verification of a file that somebody else wrote forgives more, the instance's tolerance: a choice that overdraws a
budget by that, or whose features are off those of an option by that, is none here, and may be better than what is
proved. Where members may change features a total that is overdrawn by that is covered, see :mod:`oar_opt.proof.parts`.

Feature changes have no finite list (those in steps have one that floating-point numbers make), so members who may
change features are not covered."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from flint import fmpq

from oar_opt.errors import UnsupportedError
from oar_opt.problem import Member, Move, OptionKind, RecourseProblem
from oar_opt.proof.rationals import Number, exact

MOST = 100_000
"""Choices that are gone through."""
SLACK = fmpq(1001, 10**12)


@dataclass(frozen=True)
class Choice:
    """The moves of those who act, and what they cost together."""

    moves: tuple[Move, ...]
    cost: Number


def not_enumerable(problem: RecourseProblem) -> str | None:
    """Why there is no finite list of choices, or None."""
    for member in problem.collective.members:
        if member.feature_actions:
            return f"member {member.record} may change features, which is no menu of the file"
    return None


def changes_features(problem: RecourseProblem) -> bool:
    """Whether any member may change features."""
    return any(member.feature_actions for member in problem.collective.members)


def exact_choices(problem: RecourseProblem) -> list[Choice]:
    """Every admissible choice, nobody acting first.

    Raises
    ------
    UnsupportedError : there are more than :data:`MOST`, or see :func:`not_enumerable`.
    """
    reason = not_enumerable(problem)
    if reason:
        raise UnsupportedError(reason)
    budget = problem.collective.budget
    total, cap = with_slack(budget.total), budget.members
    found = [Choice((), fmpq(0))]
    for member in problem.collective.members:
        moves = [(move, exact(move.cost)) for move in member_moves(problem, member)]
        longer = (
            Choice((*one.moves, move), one.cost + cost)
            for one in found
            for move, cost in moves
            if (total is None or one.cost + cost <= total) and (cap is None or len(one.moves) < cap)
        )
        # Never more of them than are gone through: a list of all might not fit into memory.
        found = [*found, *islice(longer, MOST + 1 - len(found))]
        if len(found) > MOST:
            raise UnsupportedError(f"there are more than {MOST} choices: too many to go through one by one")
    return found


def member_moves(problem: RecourseProblem, member: Member) -> list[Move]:
    """What a member may do beside staying, under the budget for one member."""
    each = with_slack(problem.collective.budget.each)
    return [
        Move(member.record, option.x, option.y, option.s, option.cost)
        for option in problem.options(member)
        if option.kind is not OptionKind.STAY and (each is None or exact(option.cost) <= each)
    ]


def with_slack(limit: float | None) -> Number | None:
    """What a sum of costs may be under a limit."""
    return None if limit is None else exact(limit) + SLACK * max(fmpq(1), exact(limit))
