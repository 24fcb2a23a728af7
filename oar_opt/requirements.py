"""What an instance demands of a move, one requirement at a time, and the instance with only some of them kept.

Each budget, each query's required margin (where the goal asks for it), each guard's and the limit on the training
loss is one requirement. What can never be dropped is no requirement here: members use their options, and the learner
stays defined.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from oar_opt.problem import GoalKind, Query, RecourseProblem


class RequirementKind(StrEnum):
    """In the order in which a conflict is told: what is wanted, who must not lose, and with what means."""

    QUERY = "query"
    GUARD = "guard"
    LOSS = "loss"
    MEMBERS = "members"
    TOTAL = "total"
    EACH = "each"

    @property
    def is_budget(self) -> bool:
        return self in (RequirementKind.MEMBERS, RequirementKind.TOTAL, RequirementKind.EACH)


@dataclass(frozen=True)
class Requirement:
    """One demand: its kind, whose margin it is (empty for a budget and the loss), and the number that it states."""

    kind: RequirementKind
    limit: float
    subject: str = ""

    @property
    def words(self) -> str:
        """As a noun: 'the margin 0.3 of query 'bottle''."""
        limit = f"{self.limit:.6g}"
        return {
            RequirementKind.QUERY: f"the margin {limit} of query '{self.subject}'",
            RequirementKind.GUARD: f"the margin {limit} of guard '{self.subject}'",
            RequirementKind.LOSS: f"the limit of {limit} on the rise of the training loss",
            RequirementKind.MEMBERS: f"the limit of {limit} acting members",
            RequirementKind.TOTAL: f"the total budget of {limit}",
            RequirementKind.EACH: f"the budget of {limit} for each member",
        }[self.kind]


def requirements_of(problem: RecourseProblem) -> tuple[Requirement, ...]:
    """All of them, in the order of :class:`RequirementKind`."""
    budget, found = problem.collective.budget, []
    if asks_for_margins(problem):
        found += [Requirement(RequirementKind.QUERY, query.required or 0.0, query.name) for query in problem.queries]
    found += [Requirement(RequirementKind.GUARD, guard.required or 0.0, guard.name) for guard in problem.guards]
    limits = {
        RequirementKind.LOSS: problem.max_loss_increase,
        RequirementKind.MEMBERS: budget.members,
        RequirementKind.TOTAL: budget.total,
        RequirementKind.EACH: budget.each,
    }
    return (*found, *(Requirement(kind, float(limit)) for kind, limit in limits.items() if limit is not None))


def asks_for_margins(problem: RecourseProblem) -> bool:
    """Whether a move that misses a query's required margin is no answer."""
    return problem.goal in (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS)


def keeping(problem: RecourseProblem, kept: Collection[Requirement]) -> RecourseProblem:
    """The instance without the requirements that are not among ``kept``.

    A query whose margin is dropped goes; where none is left, all come back and the goal is the largest margin, which
    demands nothing.
    """
    budget, kinds = problem.collective.budget, {requirement.kind for requirement in kept}
    left = replace(
        budget,
        members=budget.members if RequirementKind.MEMBERS in kinds else None,
        total=budget.total if RequirementKind.TOTAL in kinds else None,
        each=budget.each if RequirementKind.EACH in kinds else None,
    )
    changed = replace(
        problem,
        collective=replace(problem.collective, budget=left),
        guards=_subjects(problem.guards, kept, RequirementKind.GUARD),
        max_loss_increase=problem.max_loss_increase if RequirementKind.LOSS in kinds else None,
    )
    if not asks_for_margins(problem):
        return changed
    queries = _subjects(problem.queries, kept, RequirementKind.QUERY)
    return replace(changed, queries=queries) if queries else replace(changed, goal=GoalKind.MAX_MARGIN)


def attaining(problem: RecourseProblem, sought: Requirement, others: Collection[Requirement]) -> RecourseProblem | None:
    """The instance whose optimum is the best number that ``sought`` can state while ``others`` hold; None if none is.

    A margin: the largest. The acting members and the total cost: the least.
    """
    rest = keeping(problem, [requirement for requirement in others if requirement != sought])
    match sought.kind:
        case RequirementKind.QUERY | RequirementKind.GUARD:
            subject = next(s for s in (*problem.queries, *problem.guards) if s.name == sought.subject)
            wanted = rest.queries if asks_for_margins(rest) else ()
            return replace(rest, goal=GoalKind.MAX_MARGIN, queries=(subject,), guards=(*rest.guards, *wanted))
        case RequirementKind.MEMBERS if asks_for_margins(rest):
            return replace(rest, goal=GoalKind.MIN_MEMBERS)
        case RequirementKind.TOTAL if asks_for_margins(rest):
            return replace(rest, goal=GoalKind.MIN_COST)
        case _:
            return None


def _subjects(subjects: tuple[Query, ...], kept: Collection[Requirement], kind: RequirementKind) -> tuple[Query, ...]:
    names = {requirement.subject for requirement in kept if requirement.kind is kind}
    return tuple(subject for subject in subjects if subject.name in names)
