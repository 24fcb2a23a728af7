"""One search: first answers by heuristics -> build the program -> run -> re-train the claim."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oar_opt.active_bounds import ActiveBound, active_bounds
from oar_opt.contracts import Formulation, PyomoProgram
from oar_opt.discovery import heuristics
from oar_opt.errors import InputError, VerificationError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.limits import Clock
from oar_opt.problem import Move, RecourseProblem
from oar_opt.result import Claim, Request
from oar_opt.rules import budget_violations
from oar_opt.tightening import TIGHTENING_SECONDS
from oar_opt.verification import move_violations

HEURISTIC_SECONDS = 2.0
TIGHTENING_SHARE = 0.25
"""Of a time limit, the part that building may spend on tightening, as long as it is no more than without a limit."""


@dataclass(frozen=True)
class Found:
    """What a search gave: the solver's claim, and the better of it and the start, re-trained (None: no answer).

    ``refused`` says in words why the claim's moves are no answer, where they are none. ``active`` are the ends of
    proved intervals that the answer lies at; None where the program has none.
    """

    claim: Claim
    answer: Evaluation | None
    refused: str | None = None
    active: tuple[ActiveBound, ...] | None = None


def search(
    problem: RecourseProblem,
    chosen: Formulation,
    request: Request,
    clock: Clock,
    start: Evaluation | None,
    part: float = 1.0,
) -> Found:
    """Build and run one program, with ``part`` of the time that is left; ``start`` is a known answer to begin with."""
    if start is not None:
        request = replace(request, start=start.moves, start_parameters=start.parameters, cutoff=start.objective)
    own = Clock(clock.share(part))
    share = own.share(TIGHTENING_SHARE)
    seconds = None if share is None else min(share, TIGHTENING_SECONDS)
    program = chosen.build(problem, replace(request, tightening=seconds))
    clock.lap("build")
    claim = program.run(replace(request, time_limit=own.left()))
    clock.lap("solve")
    answer, refused = _best_answer(problem, claim, start)
    active = None
    if answer is not None and isinstance(program, PyomoProgram) and program.quantities:
        active = active_bounds(program.bounds, program.quantities, answer.moves, answer.parameters)
    return Found(claim, answer, refused, active)


def first_answer(problem: RecourseProblem, clock: Clock) -> Evaluation | None:
    """The best admissible proposal of the heuristics, or None."""
    best: Evaluation | None = None
    left = clock.left()
    for heuristic in heuristics().values():
        if heuristic.starts and heuristic.accepts(problem) is None:
            limit = HEURISTIC_SECONDS if left is None else min(HEURISTIC_SECONDS, left / 10)
            best = _better(problem, heuristic.propose(problem, time_limit=limit).moves, best)
    return best


def _better(problem: RecourseProblem, moves: tuple[Move, ...], best: Evaluation | None) -> Evaluation | None:
    if budget_violations(problem, moves) or move_violations(problem, moves):
        return best
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner:
        return best
    return outcome if outcome.improves_on(best) else best


def _best_answer(
    problem: RecourseProblem, claim: Claim, start: Evaluation | None
) -> tuple[Evaluation | None, str | None]:
    """The better of the claim, re-trained, and the start; and why the claim's moves are no answer, or None."""
    if claim.infeasible and start is not None:
        raise VerificationError(
            f"{claim.solver} says that no move is admissible, and a verified one reaches {start.objective:.8g}"
        )
    if claim.moves is None:
        return start, None
    best = _better(problem, claim.moves, start)
    if best is None or best.moves != claim.moves:
        outcome = evaluate(problem, claim.moves)
        better = best is None or outcome.exceeds(best, problem.tolerances.feasibility)
        if outcome.tie and not outcome.broken and better:
            raise InputError("position", outcome.tie)
        if outcome.broken:
            return best, "; ".join(outcome.broken)
    return best, None
