"""Some of the choices, and what an answer better than the claimed bound would have to reach in them.

A part says which options every member has left (staying is option 0, then come the moves in the order of
:func:`oar_opt.proof.exact_choices.member_moves`, and one option for each features action), and in rationals

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
from dataclasses import dataclass, field, replace

from flint import fmpq

from oar_opt.problem import GoalKind, Move, RecourseProblem
from oar_opt.proof.exact_choices import SLACK, Choice, changes_features, member_moves, with_slack
from oar_opt.proof.exact_outcome import forgiven_margin
from oar_opt.proof.feature_reach import Reach
from oar_opt.proof.rationals import Number, ceiling, exact

Place = tuple[int, int]
"""A member's record and one of its options."""
Ends = tuple[Number | None, Number | None]
"""The least and the largest value of something, None where nothing is said."""
Direction = tuple[Number, ...]
"""A number for every feature."""


@dataclass(frozen=True, eq=False)
class Part:
    """See the module's docstring; ``options`` by the member's record.

    ``menus`` are the moves of options 1, 2, ... by the member's record, ``needs`` the margins of queries (None:
    nothing is needed of it here). ``strict``: these needs have to be exceeded. ``aside`` are the queries that are
    not to be counted. ``rooms`` say where a set of changes leads in this part, where it is taken: ``direction'
    delta`` is between these ends.
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
    rooms: Mapping[Place, Mapping[Direction, Ends]] = field(default_factory=dict)

    def with_options(self, record: int, options: tuple[int, ...]) -> Part:
        """The choices in which a member takes one of these options."""
        return replace(self, options={**self.options, record: options})

    def with_room(self, place: Place, direction: Direction, at: Number, *, above: bool) -> Part:
        """The choices in which a set of changes, where it is taken, leads to one side of ``at``."""
        rooms = self.rooms.get(place, {})
        low, high = rooms.get(direction, (None, None))
        if above:
            low = at if low is None else max(low, at)
        else:
            high = at if high is None else min(high, at)
        return replace(self, rooms={**self.rooms, place: {**rooms, direction: (low, high)}})

    def cuts_of(self, place: Place, reach: Reach) -> list[tuple[Direction, Number, Number]]:
        """The directions in which a set of changes was split, each with the ends of ``direction' delta``."""
        found = []
        for direction, (low, high) in self.rooms.get(place, {}).items():
            low = -reach.most([-n for n in direction], fmpq(0)) if low is None else low
            high = reach.most(direction, fmpq(0)) if high is None else high
            found.append((direction, low, high))
        return found

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
        """Whether every member has one option left, and none that is a set of changes."""
        return all(len(left) == 1 and not self.is_set(record, left[0]) for record, left in self.options.items())

    def is_set(self, record: int, option: int) -> bool:
        """Whether an option is one of the member's sets of feature changes, which come after its moves."""
        return option > len(self.menus[record])

    def may_help(self) -> int:
        """How many queries are not left aside."""
        return len(self.needs) - len(self.aside)


def whole(problem: RecourseProblem, bound: Number | None) -> Part:
    """All choices, and what is better than ``bound``; with None, what is an answer at all."""
    budget, goal = problem.collective.budget, problem.goal
    limit, cap = _most_cost(problem), budget.members
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
        {
            member.record: tuple(range(1 + len(menus[member.record]) + len(member.feature_actions)))
            for member in problem.collective.members
        },
        needs,
        tuple(forgiven_margin(guard, problem) for guard in problem.guards),
        limit,
        cap,
        strict=goal is GoalKind.MAX_MARGIN and bound is not None,
    )


def _most_cost(problem: RecourseProblem) -> Number | None:
    """What costs may sum up to; where features change, with the tolerance that the verification of an answer has."""
    total = problem.collective.budget.total
    if total is None or not changes_features(problem):
        return with_slack(total)
    tau = exact(problem.tolerances.feasibility) + SLACK
    return exact(total) + tau * max(fmpq(1), exact(total))


def only_choice(part: Part) -> Choice | None:
    """The choice of a part that has only one; None where the part's limit or cap forbids it."""
    moves = [part.menus[record][left[0] - 1] for record, left in part.options.items() if left[0] != 0]
    return _within(tuple(moves), part.limit, part.cap)


def admitted(problem: RecourseProblem, moves: tuple[Move, ...]) -> Choice | None:
    """A choice of these moves, one of an acting member each; None where a budget of all together forbids it."""
    budget = problem.collective.budget
    return _within(moves, with_slack(budget.total), budget.members)


def _within(moves: tuple[Move, ...], limit: Number | None, cap: int | None) -> Choice | None:
    cost = sum((exact(move.cost) for move in moves), exact(0.0))
    too_dear, too_many = limit is not None and cost > limit, cap is not None and len(moves) > cap
    return None if too_dear or too_many else Choice(moves, cost)
