"""What moves achieve: re-train the learner on the changed records and measure what the instance asks for.

This is the ground truth that every claim is held against. It knows the learner's ``fit`` and the instance, and nothing
of formulations, bounds or solvers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oar_opt.contracts import Fit
from oar_opt.discovery import learner_of, not_replayed, update_rule
from oar_opt.optima import Optima
from oar_opt.parameters import Parameters
from oar_opt.position import take_position
from oar_opt.problem import (
    GoalKind,
    Move,
    Option,
    OptionKind,
    Position,
    Query,
    Records,
    RecourseProblem,
    Vector,
    moves_from_choice,
    resulting_records,
)
from oar_opt.rules import with_rounding

FEW_CHOICES = 1000
"""Up to this many admissible choices the verification re-trains for all of them in any case."""
MOST_COUNTED = 10**40
"""Beyond that choices are not counted."""
MANY_CHOICES = 50_000
"""Up to this many they are enumerated where that is asked for, or claimed by a certificate."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome of moves under the re-trained learner.

    ``objective`` is the goal's value (margin, cost, members or helped queries). ``broken`` lists, in words, what the
    instance demands of the learner and these moves do not give. ``tie`` says that the learner's optimum is not unique
    although the instance relies on that; everything else is then what the best of its optima would give. The moves
    are an answer only where nothing is broken and there is no such tie.
    """

    problem: RecourseProblem
    moves: tuple[Move, ...]
    records: Records
    fit: Fit
    parameters: Parameters
    margins: tuple[float, ...]
    guard_margins: tuple[float, ...]
    loss_increase: float | None
    broken: tuple[str, ...]
    tie: str | None = None

    @property
    def is_answer(self) -> bool:
        return not self.broken and self.tie is None

    @property
    def inaccuracy(self) -> float:
        """How far a margin can be off by the accuracy of re-training, relative to its size."""
        subjects = (*self.problem.queries, *self.problem.guards)
        off = max(self.fit.decision_error(subject.x) for subject in subjects)
        return off / max(1.0, *(abs(margin) for margin in self.margins))

    @cached_property
    def objective(self) -> float:
        return goal_value(self.problem, self.moves, self.margins)

    @property
    def helped(self) -> tuple[bool, ...]:
        return helped(self.problem, self.margins)

    def beats(self, other: Evaluation | None) -> bool:
        """Whether this is an answer and better than ``other`` (None: no answer yet)."""
        return self.is_answer and (other is None or not other.is_answer or self.exceeds(other))

    def improves_on(self, other: Evaluation | None) -> bool:
        """As :meth:`beats`, and re-trained accurately enough to be an answer."""
        return self.is_accurate and self.beats(other)

    @property
    def is_accurate(self) -> bool:
        """Whether margins are known well enough for this to be an answer, and for others to be held against it."""
        return self.inaccuracy <= self.problem.tolerances.feasibility

    @property
    def at_best(self) -> float | None:
        """The goal's value at best, within the accuracy of re-training; None where this can be no answer."""
        problem, off = self.problem, self.fit.decision_error
        margins = [margin + off(query.x) for query, margin in zip(problem.queries, self.margins, strict=True)]
        guards = [margin + off(guard.x) for guard, margin in zip(problem.guards, self.guard_margins, strict=True)]
        return None if _unmet(problem, margins, guards) else goal_value(problem, self.moves, margins)

    def could_beat(self, other: Evaluation | None) -> bool:
        """Whether, within the accuracy of re-training, this may be an answer that is better than ``other``."""
        sign, value = 1 if self.problem.goal.maximises else -1, self.at_best
        return value is not None and (other is None or sign * (value - other.objective) > 0)

    def exceeds(self, other: Evaluation, tolerance: float = 0.0) -> bool:
        """Whether the goal's value is better by more than a relative tolerance."""
        sign = 1 if self.problem.goal.maximises else -1
        return sign * (self.objective - other.objective) > tolerance * max(1.0, abs(other.objective))


def helped(problem: RecourseProblem, margins: Sequence[float]) -> tuple[bool, ...]:
    """Whether each query reaches its required margin (without one: is decided as wanted)."""
    return tuple(
        bool(margin > 0) if query.required is None else bool(margin >= problem.needed_margin(query))
        for query, margin in zip(problem.queries, margins, strict=True)
    )


def goal_value(problem: RecourseProblem, moves: Sequence[Move], margins: Sequence[float]) -> float:
    """The objective of moves that give the queries these margins."""
    match problem.goal:
        case GoalKind.MAX_MARGIN:
            return min(margins)
        case GoalKind.MIN_COST:
            return float(sum(move.cost for move in moves))
        case GoalKind.MIN_MEMBERS:
            return float(len(moves))
        case GoalKind.MAX_HELPED:
            return float(sum(helped(problem, margins)))


class UndefinedLearner(Exception):
    """These moves leave the learner without a well-defined optimum; they are forbidden."""


def evaluate(problem: RecourseProblem, moves: Iterable[Move]) -> Evaluation:
    """Re-train on the moved records and measure.

    Raises
    ------
    UndefinedLearner : there is nothing to train.
    UnsupportedError : the learner or the update rule cannot be replayed here.
    """
    moves = tuple(sorted(moves, key=lambda move: move.record))
    learner = learner_of(problem)
    records = problem.apply(moves)
    fit = _updated(problem, records) if moves else _present(problem)
    parameters = take_position(problem, fit.optima) if fit.optima else fit.parameters
    increase = None
    if problem.max_loss_increase is not None:
        present = _present(problem)
        before = learner.training_loss(problem, problem.records, present.parameters)
        increase = learner.training_loss(problem, problem.records, parameters) - before
    margins = tuple(parameters.margin(query) for query in problem.queries)
    guards = tuple(parameters.margin(guard) for guard in problem.guards)
    broken = _unmet(problem, margins, guards)
    if problem.max_loss_increase is not None and increase is not None:
        over = increase - problem.max_loss_increase
        if over > problem.tolerances.feasibility:
            broken.append(f"the training loss rises by {increase:.6g}, more than {problem.max_loss_increase:.6g}")
    return Evaluation(
        problem, moves, records, fit, parameters, margins, guards, increase, tuple(broken), _forbidden_tie(problem, fit)
    )


def evaluate_present(problem: RecourseProblem) -> Evaluation | None:
    """The outcome before anyone acts, or None where the learner is undefined even then or cannot be replayed here."""
    if not_replayed(problem):
        return None
    try:
        return evaluate(problem, ())
    except UndefinedLearner:
        return None


def _present(problem: RecourseProblem) -> Fit:
    """The fit on the records as they are, trained once for a problem: every search starts there."""
    if not problem.present_fit:
        problem.present_fit.append(_updated(problem, problem.records))
    return problem.present_fit[0]


def _updated(problem: RecourseProblem, records: Records) -> Fit:
    rule = update_rule(problem)
    undefined = rule.undefined(problem, records)
    if undefined:
        raise UndefinedLearner(undefined)
    return rule.replay(problem, records)


def _unmet(problem: RecourseProblem, margins: Sequence[float], guards: Sequence[float]) -> list[str]:
    unmet = []
    if problem.goal in (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS):
        for query, margin in zip(problem.queries, margins, strict=True):
            if margin < problem.needed_margin(query):
                unmet.append(f"query '{query.name}' has the margin {margin:.6g}, less than {query.required:.6g}")
    for guard, margin in zip(problem.guards, guards, strict=True):
        if margin < problem.needed_margin(guard):
            unmet.append(f"guard '{guard.name}' has the margin {margin:.6g}, less than {guard.required or 0.0:.6g}")
    return unmet


# -- ties ---


def _forbidden_tie(problem: RecourseProblem, fit: Fit) -> str | None:
    """A tie that the instance's position does not settle, in words."""
    if problem.position is Position.UNIQUE and fit.optima:
        what = _tie_in_words(problem, fit.optima)
        return f"{what} for these moves: state the position 'optimistic' or 'pessimistic'"
    if problem.max_loss_increase is None:
        return None
    tied, when = fit.optima, "for these moves"
    if tied is None:
        tied, when = _present(problem).optima, "before anyone acts"
        if tied is not None and not tied.directions[:-1].any():
            # All these optima have the same weights, so the same penalty, so the same loss.
            tied = None
    if tied is None:
        return None
    what = _tie_in_words(problem, tied)
    return f"{what} {when}, and a tie together with max_loss_increase is not handled: drop one of the two"


def _tie_in_words(problem: RecourseProblem, optima: Optima) -> str:
    names = [f"weight of '{feature.name}'" for feature in problem.features] + ["intercept"]
    ranges = [optima.parameter_range(j) for j in range(len(names))]
    varying = [
        f"any {name} from {low:.6g} to {high:.6g}"
        for name, (low, high) in zip(names, ranges, strict=True)
        if high - low > 1e-9 * max(1.0, abs(low), abs(high))
    ]
    return f"the learner's optimum is not unique ({', '.join(varying)})"


# -- menus ---


def count_choices(problem: RecourseProblem) -> int:
    """How many choices of one option per member obey the caps on members; a total budget may leave fewer.

    Counting ends at :data:`MOST_COUNTED`: no more members are looked at than it takes to get there.
    """
    cap = problem.collective.budget.members
    by_size = [1]
    for member in problem.collective.members:
        count = len(problem.admissible_options(member)) - 1
        if count == 0:
            continue
        longer = [one + count * other for one, other in zip([*by_size, 0], [0, *by_size], strict=True)]
        by_size = longer if cap is None else longer[: cap + 1]
        if sum(by_size) >= MOST_COUNTED:
            break
    return sum(by_size)


def choices(problem: RecourseProblem) -> Iterator[tuple[Option, ...]]:
    """Every choice of one option per member that obeys the budgets, in a fixed order, all staying first."""
    menus = [problem.admissible_options(member) for member in problem.collective.members]
    budget = problem.collective.budget
    total = with_rounding(budget.total)
    cap = len(menus) if budget.members is None else budget.members

    chosen: list[Option] = []
    spent, acting = [0.0], [0]
    ahead = [iter(menus[0])] if menus else []
    if not menus:
        yield ()
    # By hand rather than by recursion: members may be many though their choices are few.
    while ahead:
        option = next(ahead[-1], None)
        if option is None:
            ahead.pop()
            spent.pop()
            acting.pop()
            if chosen:
                chosen.pop()
            continue
        cost, acts = spent[-1] + option.cost, acting[-1] + (option.kind is not OptionKind.STAY)
        if cost > total or acts > cap:
            continue
        if len(chosen) == len(menus) - 1:
            yield (*chosen, option)
            continue
        chosen.append(option)
        spent.append(cost)
        acting.append(acts)
        ahead.append(iter(menus[len(chosen)]))


@dataclass(frozen=True)
class Enumeration:
    """All admissible choices, re-trained one by one.

    ``ranking`` has the best answers with different results, best first. ``tied`` is a choice with a forbidden tie that
    could be among them: then nothing is settled. It is not ``complete`` either where some choice could not be
    re-trained accurately enough to tell whether it belongs there.
    """

    ranking: tuple[Evaluation, ...]
    tied: Evaluation | None
    tried: int
    undefined: int
    complete: bool

    @property
    def best(self) -> Evaluation | None:
        """The best answer; None where no choice is one (or none leaves the learner defined)."""
        return self.ranking[0] if self.ranking else None


def enumerate_choices(
    problem: RecourseProblem, stop: object = None, excluded: Iterable[Sequence[Move]] = (), keep: int = 1
) -> Enumeration:
    """Re-train for every admissible choice but those with the same result as ``excluded`` moves.

    ``stop``: a callable asked before each one; true ends it early. ``keep``: how many answers the ranking holds.
    """
    ranking = _Ranking(problem, keep)
    tied: Evaluation | None = None
    vague: list[Evaluation] = []
    tried = undefined = 0
    unwanted = {resulting_records(problem, moves) for moves in excluded}

    def found(complete: bool) -> Enumeration:
        open_tie = tied if tied and ranking.would_hold(tied, problem.tolerances.feasibility) else None
        doubtful = any(ranking.may_hold(outcome) for outcome in vague)
        return Enumeration(tuple(ranking.best), open_tie, tried, undefined, complete and not doubtful)

    for choice in choices(problem):
        if callable(stop) and stop():
            return found(False)
        moves = moves_from_choice(problem, choice)
        if unwanted and resulting_records(problem, moves) in unwanted:
            continue
        tried += 1
        try:
            outcome = evaluate(problem, moves)
        except UndefinedLearner:
            undefined += 1
            continue
        if not outcome.is_accurate:
            vague.append(outcome)
        elif outcome.is_answer:
            ranking.add(outcome)
        elif outcome.tie and not outcome.broken and (tied is None or outcome.exceeds(tied)):
            tied = outcome
    return found(True)


class _Ranking:
    """The best answers so far, best first, one for each result."""

    def __init__(self, problem: RecourseProblem, keep: int) -> None:
        self.problem, self.keep = problem, keep
        self.best: list[Evaluation] = []

    def would_hold(self, outcome: Evaluation, tolerance: float = 0.0) -> bool:
        """Whether an outcome is better than the last one, or there still is room."""
        return len(self.best) < self.keep or outcome.exceeds(self.best[-1], tolerance)

    def may_hold(self, outcome: Evaluation) -> bool:
        """Whether an outcome could belong here, given the accuracy of re-training."""
        return outcome.could_beat(self.best[-1] if len(self.best) == self.keep else None)

    def add(self, answer: Evaluation) -> None:
        if not self.would_hold(answer):
            return
        result = resulting_records(self.problem, answer.moves)
        twin = next((a for a in self.best if resulting_records(self.problem, a.moves) == result), None)
        if twin is not None:
            if not answer.exceeds(twin):
                return
            self.best.remove(twin)
        place = next((k for k, other in enumerate(self.best) if answer.exceeds(other)), len(self.best))
        self.best.insert(place, answer)
        del self.best[self.keep :]


def query_vector(query: Query) -> Vector:
    """A query's features as an array, ``(d,)``."""
    return np.array(query.x)
