"""Some of the choices, and what an answer better than the claimed bound would have to reach in them.

A part says which options every member has left (staying is option 0, the others are in the order of
:func:`oar_opt.proof.exact_choices.member_moves`), and in rationals

    every query in question has a margin of at least its need, every guard too,
    the cost is at most the limit, and at most so many act as the cap says.

For the largest margin the need of every query is the bound, and an answer has to be above it; otherwise needs are the
required margins less what is forgiven (:mod:`oar_opt.proof.exact_outcome`). For the least cost the limit is also the
bound, and for the fewest members the cap is below it. For the number of queries that are helped a query is "helped"
(and needs its margin), left aside, or not yet split upon (and needs nothing): where no more are left than the bound
says, the part holds no better answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from oar_opt.problem import GoalKind, Move, RecourseProblem
from oar_opt.proof.exact_choices import Choice, member_moves, with_slack
from oar_opt.proof.exact_outcome import forgiven_margin
from oar_opt.proof.rationals import Number, ceiling, exact


@dataclass(frozen=True, eq=False)
class Part:
    """See the module's docstring; ``options`` by the member's record.

    ``menus`` are the moves of options 1, 2, ... by the member's record, ``needs`` the margins of queries (None:
    nothing is needed of it here). ``strict``: these needs have to be exceeded. ``aside`` are the queries that are
    not to be counted.
    """

    problem: RecourseProblem
    menus: Mapping[int, Sequence[Move]]
    options: Mapping[int, tuple[int, ...]]
    needs: tuple[Number | None, ...]
    guards: tuple[Number, ...]
    limit: Number | None
    cap: int | None
    strict: bool = False
    aside: frozenset[int] = frozenset()

    def with_options(self, record: int, options: tuple[int, ...]) -> Part:
        """The choices in which a member takes one of these options."""
        return replace(self, options={**self.options, record: options})

    def with_helped(self, query: int) -> Part:
        """The better answers that help a query."""
        need = forgiven_margin(self.problem.queries[query], self.problem)
        return replace(self, needs=tuple(need if k == query else old for k, old in enumerate(self.needs)))

    def without(self, query: int) -> Part:
        """The better answers, whether or not they help this query: the others alone are counted."""
        return replace(self, aside=self.aside | {query})

    def for_bound_of(self, other: Part) -> Part:
        """The same choices, against the bound of another part; a query that counts as helped needs what it did."""
        needs = self.needs if self.problem.goal is GoalKind.MAX_HELPED else other.needs
        return replace(self, needs=needs, limit=other.limit, cap=other.cap, strict=other.strict)

    @property
    def is_one_choice(self) -> bool:
        return all(len(left) == 1 for left in self.options.values())

    def may_help(self) -> int:
        """How many queries are not left aside."""
        return len(self.needs) - len(self.aside)


def whole(problem: RecourseProblem, bound: Number | None) -> Part:
    """All choices, and what is better than ``bound``; with None, what is an answer at all."""
    budget, goal = problem.collective.budget, problem.goal
    limit, cap = with_slack(budget.total), budget.members
    required = tuple(forgiven_margin(query, problem) for query in problem.queries)
    needs: tuple[Number | None, ...] = required
    if goal in (GoalKind.MAX_MARGIN, GoalKind.MAX_HELPED):
        needs = (bound if goal is GoalKind.MAX_MARGIN else None,) * len(required)
    elif bound is not None and goal is GoalKind.MIN_COST:
        limit = bound if limit is None else min(limit, bound)
    elif bound is not None:
        fewer = ceiling(bound) - 1
        cap = fewer if cap is None else min(cap, fewer)
    menus = {member.record: member_moves(problem, member) for member in problem.collective.members}
    return Part(
        problem,
        menus,
        {record: tuple(range(1 + len(menu))) for record, menu in menus.items()},
        needs,
        tuple(forgiven_margin(guard, problem) for guard in problem.guards),
        limit,
        cap,
        strict=goal is GoalKind.MAX_MARGIN and bound is not None,
    )


def only_choice(part: Part) -> Choice | None:
    """The choice of a part that has only one; None where the budgets forbid it."""
    moves = [part.menus[record][left[0] - 1] for record, left in part.options.items() if left[0] != 0]
    return admitted(part.problem, tuple(moves))


def admitted(problem: RecourseProblem, moves: tuple[Move, ...]) -> Choice | None:
    """A choice of these moves, one of an acting member each; None where a budget of all together forbids it."""
    budget = problem.collective.budget
    total, cost = with_slack(budget.total), sum((exact(move.cost) for move in moves), exact(0.0))
    too_dear = total is not None and cost > total
    too_many = budget.members is not None and len(moves) > budget.members
    return None if too_dear or too_many else Choice(moves, cost)
