"""What a choice surely achieves, may achieve and surely fails to, by the enclosures of its margins.

A margin ``m`` in ``[low, high]`` surely reaches what it needs, ``m >= needed``, where ``low >= needed``, surely does
not where ``high < forgiven``, and is undecided otherwise. ``needed`` is the instance's required margin less its
tolerance, in rationals. The package, in floating point, forgives a little more, lest rounding decide; ``forgiven`` is
that number or ``needed``, whichever is less. So an answer here is one by the instance's own numbers, and what fails
here fails for the package too.

Where several intercepts are optimal the interval holds the margins of all of them, so what is sure is so whichever of
them the learner takes; but an instance whose position is ``unique`` admits no such choice as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq

from oar_opt.problem import GoalKind, Move, Position, Query, RecourseProblem
from oar_opt.proof.enclosures import enclose, undefined
from oar_opt.proof.exact_choices import Choice
from oar_opt.proof.rationals import Interval, Number, exact

MINIMISED = (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS)


@dataclass(frozen=True)
class Outcome:
    """The margins of queries and guards under the learner that a choice leaves."""

    problem: RecourseProblem
    choice: Choice
    queries: tuple[Interval, ...]
    guards: tuple[Interval, ...]
    tied: bool

    @property
    def surely_answers(self) -> bool:
        """Whether this is proved to meet all that the instance requires of an answer."""
        settled = not (self.tied and self.problem.position is Position.UNIQUE)
        return settled and all(_reaches(subject, m, self.problem) for subject, m in self._required())

    @property
    def surely_fails(self) -> bool:
        """Whether this is proved to miss something that the instance requires of an answer."""
        return any(_misses(subject, m, self.problem) for subject, m in self._required())

    @property
    def value(self) -> Interval:
        """The goal's value."""
        match self.problem.goal:
            case GoalKind.MAX_MARGIN:
                return Interval(min(m.low for m in self.queries), min(m.high for m in self.queries))
            case GoalKind.MAX_HELPED:
                pairs = list(zip(self.problem.queries, self.queries, strict=True))
                reached = sum(_reaches(query, m, self.problem) for query, m in pairs)
                missed = sum(_misses(query, m, self.problem) for query, m in pairs)
                return Interval(fmpq(reached), fmpq(len(pairs) - missed))
            case _:
                return Interval.at(effort(self.problem, self.choice))

    def _required(self) -> list[tuple[Query, Interval]]:
        asked = list(zip(self.problem.guards, self.guards, strict=True))
        if self.problem.goal in MINIMISED:
            asked += list(zip(self.problem.queries, self.queries, strict=True))
        return asked


def effort(problem: RecourseProblem, choice: Choice) -> Number:
    """The value of a goal that is minimised: the total cost, or the number of those who act."""
    return choice.cost if problem.goal is GoalKind.MIN_COST else fmpq(len(choice.moves))


def exact_outcome(problem: RecourseProblem, choice: Choice) -> Outcome | str:
    """The outcome of a choice; in words, why it leaves no learner (it is then forbidden).

    Raises
    ------
    ArithmeticError : no enclosure was found.
    """
    records = problem.apply(choice.moves)
    reason = undefined(problem, records)
    if reason:
        return reason
    found = enclose(problem, records)
    if found is None:
        raise ArithmeticError("no enclosure of the re-trained learner was found")
    queries = tuple(found.margin(query) for query in problem.queries)
    guards = tuple(found.margin(guard) for guard in problem.guards)
    return Outcome(problem, choice, queries, guards, found.tied)


def actors(moves: Sequence[Move]) -> str:
    """Those who act, in words."""
    names = ", ".join(str(move.record) for move in moves)
    return f"the change of members {names}" if moves else "nobody acting"


def _reaches(subject: Query, margin: Interval, problem: RecourseProblem) -> bool:
    return bool(margin.low >= _needed(subject, problem))


def _misses(subject: Query, margin: Interval, problem: RecourseProblem) -> bool:
    return bool(margin.high < forgiven_margin(subject, problem))


def forgiven_margin(subject: Query, problem: RecourseProblem) -> Number:
    """The margin that an answer of the package reaches in any case, see the module's docstring."""
    return min(_needed(subject, problem), exact(problem.needed_margin(subject)))


def _needed(subject: Query, problem: RecourseProblem) -> Number:
    return exact(subject.required or 0.0) - exact(problem.tolerances.feasibility)
