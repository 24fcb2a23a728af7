"""Several best answers: how they rank, and what each search proves about them.

Search ``j`` looks for the best move outside ``E_j``, the answers found before it, and proves a bound ``B_j`` on every
move outside ``E_j`` (none is left where it finds that none is admissible). For any set ``S`` of answers, a move outside
``S`` is either in ``E_j`` without ``S`` or outside ``E_j``, hence no better than

    the best of   B_j   and the verified objectives of   E_j without S.

The bound of the k-th best takes the first ``k - 1`` for ``S`` and the tightest of these over all searches: no move
other than the ``k - 1`` before it does better.

Two moves are the same where they leave the same records behind (:func:`oar_opt.problem.resulting_records`), and leaving
out a move leaves out its twins with other costs; so an answer is always the cheapest of its twins, and no twin does
better than its objective.

Reference: the searches are cut off by no-good rows, see :mod:`oar_opt.menu_program`; K best solutions by exclusion:
E. L. Lawler, "A Procedure for Computing the K Best Solutions to Discrete Optimization Problems", 1972.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from oar_opt.active_bounds import ActiveBound
from oar_opt.contracts import Formulation
from oar_opt.errors import VerificationError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.limits import Clock
from oar_opt.problem import Move, RecourseProblem, resulting_records
from oar_opt.result import Claim, Request, StoppedBy
from oar_opt.rules import budget_violations
from oar_opt.search import HEURISTIC_SECONDS, Found, first_answer, search

REFUSALS = 20
"""How many claimed moves may fail their re-training before a search for further answers is given up."""


@dataclass(frozen=True)
class Search:
    """One search outside the answers ``before``: its bound (None: none is known), or that no move is left there."""

    before: tuple[Evaluation, ...]
    bound: float | None
    nothing_left: bool = False


@dataclass(frozen=True)
class Ranked:
    """An answer, and the bound on all moves other than those ranked before it."""

    answer: Evaluation
    bound: float | None


def ranked(answers: Sequence[Evaluation], searches: Sequence[Search], maximises: bool) -> tuple[Ranked, ...]:
    """The answers, best first, each with its bound; equal ones in the order in which they were found."""
    order = sorted(answers, key=lambda answer: -answer.objective if maximises else answer.objective)
    return tuple(Ranked(answer, bound_outside(order[:k], searches, maximises)) for k, answer in enumerate(order))


def bound_outside(answers: Sequence[Evaluation], searches: Sequence[Search], maximises: bool) -> float | None:
    """The tightest bound that the searches prove on all moves other than ``answers``; None where they prove none."""
    best, tightest = (max, min) if maximises else (min, max)
    taken = {id(answer) for answer in answers}
    proved: list[float] = []
    for one in searches:
        values = [answer.objective for answer in one.before if id(answer) not in taken]
        if one.bound is not None and not one.nothing_left:
            values.append(one.bound)
        elif not one.nothing_left:
            continue
        if values:
            proved.append(best(values))
    return tightest(proved) if proved else None


# -- the searches ---


@dataclass(frozen=True)
class Pooled:
    """What all searches gave: the answers in order, and what ended the search for further ones.

    ``claim`` is the first search's, or the last one's where there is no answer. ``complete`` says that no further move
    is admissible; ``active`` are the ends of proved intervals that the best answer lies at.
    """

    claim: Claim
    ranked: tuple[Ranked, ...]
    complete: bool
    stopped_by: StoppedBy
    active: tuple[ActiveBound, ...] | None
    notes: tuple[str, ...]


def search_best(problem: RecourseProblem, chosen: Formulation, request: Request, clock: Clock, count: int) -> Pooled:
    """The ``count`` best answers; of a time limit every search but the last may use half of what is left."""
    state = _State(problem, chosen, request, clock, count)
    state.go()
    return state.pooled()


@dataclass
class _State:
    problem: RecourseProblem
    chosen: Formulation
    request: Request
    clock: Clock
    count: int
    answers: list[Evaluation] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    refused: list[tuple[Move, ...]] = field(default_factory=list)
    active: dict[int, tuple[ActiveBound, ...] | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complete: bool = False
    stopped_by: StoppedBy = StoppedBy.GAP

    def go(self) -> None:
        start = first_answer(self.problem, self.clock) if self.chosen.starts else None
        found = self._search(start)
        self.claim = found.claim
        if found.claim.ranking:
            self._take_ranking(found)
        elif self._take(found):
            self._go_on()

    def pooled(self) -> Pooled:
        order = ranked(self.answers, self.searches, self.problem.goal.maximises)
        active = self.active.get(id(order[0].answer)) if order else None
        return Pooled(self.claim, order, self.complete, self.stopped_by, active, tuple(self.notes))

    def _search(self, start: Evaluation | None) -> Found:
        excluded = (*(answer.moves for answer in self.answers), *self.refused)
        part = 1.0 if len(self.answers) == self.count - 1 else 0.5
        return search(self.problem, self.chosen, replace(self.request, excluded=excluded), self.clock, start, part)

    def _take(self, found: Found) -> bool:
        """Enter what a search proved and found; whether to go on."""
        claim = found.claim
        self.claim = self.claim if self.answers else claim
        self.searches.append(Search(tuple(self.answers), claim.bound, claim.infeasible))
        if found.refused and claim.moves is not None:
            # Re-training has settled that these moves are no answer: no search need find them again.
            self.refused.append(claim.moves)
            self.notes.append(f"the solver's moves do not survive re-training: {found.refused}")
        if found.answer is None:
            self.complete, self.stopped_by = claim.infeasible, claim.stopped_by
            return bool(found.refused and self.chosen.excludes and len(self.refused) < REFUSALS)
        if not self._is_new(found.answer):
            raise VerificationError(f"{self.chosen.name} returned moves that it was told to leave out")
        answer = cheapest_twin(self.problem, found.answer)
        self.answers.append(answer)
        self.active[id(answer)] = found.active
        return True

    def _go_on(self) -> None:
        while len(self.answers) < self.count:
            if self.request.interrupted():
                self.stopped_by = StoppedBy.INTERRUPT
                return
            if self.clock.is_over:
                self.stopped_by = StoppedBy.TIME_LIMIT
                return
            left = self.clock.left()
            seconds = HEURISTIC_SECONDS if left is None else min(HEURISTIC_SECONDS, left / 10)
            start = best_neighbour(self.problem, self.answers, seconds, self.request.interrupted)
            if not self._take(self._search(start)):
                return
        self.stopped_by = StoppedBy.GAP

    def _take_ranking(self, found: Found) -> None:
        """Enumeration has them all at once; where it finished, every answer is the best outside those before it."""
        finished = found.claim.exhausted
        for moves in found.claim.ranking:
            answer = evaluate(self.problem, moves)
            if finished:
                self.searches.append(Search(tuple(self.answers), answer.objective))
            self.answers.append(answer)
        if found.answer is not None and not finished and self._is_new(found.answer):
            self.answers.append(found.answer)
        self.answers = [one.answer for one in ranked(self.answers, (), self.problem.goal.maximises)][: self.count]
        self.complete = finished and len(self.answers) < self.count
        self.stopped_by = found.claim.stopped_by if len(self.answers) < self.count else StoppedBy.GAP

    def _is_new(self, answer: Evaluation) -> bool:
        known = [resulting_records(self.problem, other.moves) for other in self.answers]
        return resulting_records(self.problem, answer.moves) not in known


# -- starts for later searches ---


def best_neighbour(
    problem: RecourseProblem, answers: Sequence[Evaluation], seconds: float, interrupted: Callable[[], bool]
) -> Evaluation | None:
    """The best answer that differs from a known one in a single member's option and is not known itself."""
    deadline = time.monotonic() + seconds
    known = {resulting_records(problem, answer.moves) for answer in answers}
    best: Evaluation | None = None
    for answer in answers:
        for moves in _neighbours(problem, answer.moves):
            if time.monotonic() > deadline or interrupted():
                return best
            result = resulting_records(problem, moves)
            if result in known or budget_violations(problem, moves):
                continue
            known.add(result)
            try:
                outcome = evaluate(problem, moves)
            except UndefinedLearner:
                continue
            if outcome.beats(best):
                best = outcome
    return best


def cheapest_twin(problem: RecourseProblem, answer: Evaluation) -> Evaluation:
    """The same result by each member's cheapest option; it obeys every rule and budget that the answer obeys."""
    moves = []
    for move in answer.moves:
        member = problem.member_at[move.record]
        if not member.menu and len(member.actions) == len(member.feature_actions) == 1:
            # Of one action alone every change has its one cost.
            moves.append(move)
            continue
        i, wanted = move.record, resulting_records(problem, [move])
        options = problem.admissible_options(member)[1:]
        ways = [Move(i, option.x, option.y, option.s, option.cost) for option in options]
        twins = [move, *(way for way in ways if resulting_records(problem, [way]) == wanted)]
        if wanted:
            moves.append(min(twins, key=lambda twin: twin.cost))
    return answer if tuple(moves) == answer.moves else evaluate(problem, moves)


def _neighbours(problem: RecourseProblem, moves: Sequence[Move]) -> Iterator[tuple[Move, ...]]:
    for member in problem.collective.members:
        others = tuple(move for move in moves if move.record != member.record)
        if len(others) < len(moves):
            yield others
        for option in problem.admissible_options(member)[1:]:
            yield (*others, Move(member.record, option.x, option.y, option.s, option.cost))
