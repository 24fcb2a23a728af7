"""Several best answers: how they rank, and what each search proves about them.

Search ``j`` looks for the best move outside ``E_j``, the answers found before it, and proves a bound ``B_j`` on every
move outside ``E_j`` (none is left where it finds that none is admissible). For any set ``S`` of answers, a move outside
``S`` is either in ``E_j`` without ``S`` or outside ``E_j``, hence no better than

    the best of   B_j   and the verified objectives of   E_j without S.

The bound of the k-th best takes the first ``k - 1`` for ``S`` and the tightest of these over all searches: no move
other than the ``k - 1`` before it does better. Two moves are the same where they leave the same records behind
(:func:`oar_opt.problem.resulting_records`).

Reference: the searches are cut off by no-good rows, see :mod:`oar_opt.menu_program`; K best solutions by exclusion:
E. L. Lawler, "A Procedure for Computing the K Best Solutions to Discrete Optimization Problems", 1972.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.problem import Move, RecourseProblem, resulting_records
from oar_opt.rules import budget_violations


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
    for search in searches:
        values = [answer.objective for answer in search.before if id(answer) not in taken]
        if search.bound is not None and not search.nothing_left:
            values.append(search.bound)
        elif not search.nothing_left:
            continue
        if values:
            proved.append(best(values))
    return tightest(proved) if proved else None


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


def _neighbours(problem: RecourseProblem, moves: Sequence[Move]) -> Iterator[tuple[Move, ...]]:
    for member in problem.collective.members:
        others = tuple(move for move in moves if move.record != member.record)
        if len(others) < len(moves):
            yield others
        for option in problem.admissible_options(member)[1:]:
            yield (*others, Move(member.record, option.x, option.y, option.s, option.cost))
