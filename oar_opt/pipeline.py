"""From a problem to a verified, certified answer; read it top to bottom.

choose a formulation -> first answers by heuristics -> build its program -> run -> re-train the claim -> (confirm) ->
verify -> result.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from oar_opt.certificate import Grade
from oar_opt.contracts import Exactness, Formulation, PyomoProgram
from oar_opt.discovery import formulations, heuristics
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate, evaluate_present
from oar_opt.problem import Move, RecourseProblem
from oar_opt.result import Claim, Progress, Request, Status, relative_gap
from oar_opt.rules import budget_violations
from oar_opt.solution_file import (
    CertificateRecord,
    Method,
    MoveRecord,
    QueryOutcome,
    Seconds,
    Solution,
)
from oar_opt.solver_features import unfit
from oar_opt.verification import Verification, check_answer, listed_changes, move_violation, stated_parameters

HEURISTIC_SECONDS = 2.0
TIGHTENING_SHARE = 0.25
"""Of a time limit, the part that building may spend on tightening."""


@dataclass(frozen=True)
class Result:
    """A verified answer: ``solution`` is what a solution file holds, ``notes`` says what was chosen and why."""

    problem: RecourseProblem
    solution: Solution
    verification: Verification
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        return self.solution.status

    @property
    def objective(self) -> float | None:
        return self.solution.objective

    @property
    def bound(self) -> float | None:
        return self.solution.bound

    @property
    def moves(self) -> tuple[MoveRecord, ...]:
        return self.solution.moves

    @property
    def grade(self) -> Grade:
        return self.solution.certificate.grade


def solve(
    problem: RecourseProblem,
    *,
    formulation: str = "auto",
    solver: str | None = None,
    time_limit: float | None = None,
    node_limit: int | None = None,
    gap: float | None = None,
    threads: int = 1,
    confirm: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Find the best collective change, and verify it.

    Parameters
    ----------
    problem : the instance.
    formulation : a name from :func:`oar_opt.discovery.formulations`, or ``auto`` for the first that applies.
    solver : ``highs``, ``scip``, or any name that Pyomo knows and finds installed; None is the formulation's own.
    time_limit : seconds for the whole run; None is no limit.
    node_limit : branch-and-bound nodes; None is no limit.
    gap : relative gap to stop at, at most the instance's tolerance if ``optimal`` is to be reached.
    threads : threads of the solver.
    confirm : solve once more by a second formulation or solver; agreement raises the grade to ``confirmed``.
    progress : called with every progress line.

    Returns
    -------
    Result : with status optimal, feasible, infeasible or unknown. A limit or Ctrl-C gives the best verified move.

    Raises
    ------
    UnsupportedError : no formulation (or not the one named) solves this instance; the message has the reasons.
    InputError : an unknown name, or an instance whose answer depends on an unstated tie.
    VerificationError : the answer failed its check.
    SolverError : the solver broke down.
    """
    request = Request(
        solver=solver,
        time_limit=_positive("--time-limit", time_limit),
        node_limit=node_limit,
        relative_gap=_positive("--gap", gap) or problem.tolerances.relative_gap,
        threads=threads,
        progress=progress,
    )
    clock = _Clock(time_limit)
    with _interruptible() as interrupted:
        chosen, notes = choose(problem, formulation, solver)
        request = replace(request, interrupted=interrupted)
        incumbent = _first_answer(problem, clock)
        if incumbent:
            request = replace(
                request,
                start=incumbent.moves,
                start_parameters=incumbent.parameters,
                cutoff=incumbent.objective,
            )
        program = chosen.build(problem, replace(request, tightening=clock.share(TIGHTENING_SHARE)))
        clock.lap("build")
        claim = program.run(replace(request, time_limit=clock.left()))
        clock.lap("solve")
    outcome, more = _best_answer(problem, claim, incumbent)
    draft = _document(problem, chosen, claim, outcome, clock)
    if confirm:
        with _interruptible() as interrupted:
            afresh = replace(request, start=None, start_parameters=None, cutoff=None, interrupted=interrupted)
            grade, by = _confirm(problem, chosen, afresh, draft)
        more = (*more, by)
        draft = draft.model_copy(update={"certificate": CertificateRecord(grade=grade, checks=())})
    enumerated = claim.exhausted or draft.certificate.grade is Grade.ENUMERATED
    return _verified(problem, draft, clock, enumerated, (*notes, *more))


def choose(
    problem: RecourseProblem, name: str = "auto", solver: str | None = None
) -> tuple[Formulation, tuple[str, ...]]:
    """The formulation for a problem, with the reasons; an error that lists every reason where none applies.

    One that ``solver`` cannot run does not apply.
    """
    known = formulations()
    if name != "auto":
        if name not in known:
            raise InputError("--formulation", f"'{name}' is unknown", f"there are: auto, {', '.join(known)}")
        reason = known[name].accepts(problem)
        if reason:
            raise UnsupportedError(f"formulation '{name}' does not apply: {reason}")
        reason = known[name].unfit(solver)
        if reason:
            raise InputError("--solver", f"formulation '{name}' cannot run with it: {reason}", "name no solver")
        return known[name], (f"formulation {name}: as asked",)
    reasons: list[str] = []
    for candidate in known.values():
        reason = candidate.accepts(problem) or candidate.unfit(solver)
        if reason is None:
            passed = "".join(f"; {text}" for text in reasons)
            return candidate, (f"formulation {candidate.name}: the first of {', '.join(known)} that applies{passed}",)
        reasons.append(f"{candidate.name}: {reason}")
    kind = problem.learner.kind
    raise UnsupportedError(
        f"learner '{kind}' with these actions, update and goal is not solved yet by any formulation:\n  "
        + "\n  ".join(reasons)
    )


def _positive(where: str, number: float | None) -> float | None:
    if number is not None and not number > 0:
        raise InputError(where, f"is {number:g}", "give a number above 0")
    return number


# -- answers ---


def _first_answer(problem: RecourseProblem, clock: _Clock) -> Evaluation | None:
    """The best admissible proposal of the heuristics, or None."""
    best: Evaluation | None = None
    left = clock.left()
    for heuristic in heuristics().values():
        if heuristic.accepts(problem) is None:
            limit = HEURISTIC_SECONDS if left is None else min(HEURISTIC_SECONDS, left / 10)
            best = _better(problem, heuristic.propose(problem, time_limit=limit), best)
    return best


def _better(problem: RecourseProblem, moves: tuple[Move, ...], best: Evaluation | None) -> Evaluation | None:
    if budget_violations(problem, moves) or any(move_violation(problem, move) for move in moves):
        return best
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner:
        return best
    return outcome if outcome.beats(best) else best


def _best_answer(
    problem: RecourseProblem, claim: Claim, incumbent: Evaluation | None
) -> tuple[Evaluation | None, tuple[str, ...]]:
    """The better of the claim, re-trained, and the heuristics' answer."""
    if claim.infeasible and incumbent is not None:
        raise VerificationError(
            f"{claim.solver} says that no move is admissible, and a verified one reaches {incumbent.objective:.8g}"
        )
    if claim.moves is None:
        return incumbent, ()
    best = _better(problem, claim.moves, incumbent)
    if best is None or best.moves != claim.moves:
        outcome = evaluate(problem, claim.moves)
        better = best is None or outcome.exceeds(best, problem.tolerances.feasibility)
        if outcome.tie and not outcome.broken and better:
            raise InputError("position", outcome.tie)
        if outcome.broken:
            return best, (f"the solver's moves do not survive re-training: {'; '.join(outcome.broken)}",)
    return best, ()


def _confirm(problem: RecourseProblem, chosen: Formulation, request: Request, draft: Solution) -> tuple[Grade, str]:
    """Solve by another exact formulation, or by another solver: the grade that this gives. Disagreement is an error."""
    if draft.status not in (Status.OPTIMAL, Status.INFEASIBLE):
        return Grade.CLAIMED, "not confirmed: the first run is not finished"
    others = [f for f in formulations().values() if f is not chosen and f.exactness is Exactness.EXACT]
    for other in sorted(others, key=lambda other: not other.exhausts):
        if other.accepts(problem) is None:
            own = replace(request, solver=None)
            return _agree(problem, draft, other.build(problem, own).run(own), other.name)
    program = chosen.build(problem, request)
    second = "highs" if draft.method.solver.startswith("scip") else "scip"
    if isinstance(program, PyomoProgram) and not unfit(second, program.needs):
        claim = program.run(replace(request, solver=second))
        return _agree(problem, draft, claim, f"{chosen.name} by {claim.solver}")
    return Grade.CLAIMED, "not confirmed: no second formulation or solver applies"


def _agree(problem: RecourseProblem, draft: Solution, claim: Claim, by: str) -> tuple[Grade, str]:
    agreed = Grade.ENUMERATED if claim.exhausted else Grade.CONFIRMED
    if claim.infeasible or draft.status is Status.INFEASIBLE:
        if claim.infeasible and draft.status is Status.INFEASIBLE:
            return agreed, f"confirmed by {by}: infeasible"
        if claim.moves is None and not claim.infeasible:
            return Grade.CLAIMED, f"not confirmed: {by} did not finish ({claim.stopped_by.words})"
        raise VerificationError(f"{by} disagrees on whether any move is admissible")
    if claim.bound is None or draft.objective is None:
        return Grade.CLAIMED, f"not confirmed: {by} gives no bound"
    beyond = draft.objective - claim.bound if problem.goal.maximises else claim.bound - draft.objective
    limit = problem.tolerances.relative_gap * max(1.0, abs(draft.objective))
    if beyond > limit:
        raise VerificationError(f"{by} proves {claim.bound:.8g}, and the verified answer is {draft.objective:.8g}")
    if abs(beyond) > limit:
        return Grade.CLAIMED, f"not confirmed: {by} proves only {claim.bound:.8g}"
    return agreed, f"confirmed by {by}: bound {claim.bound:.8g}"


# -- documents ---


def _document(
    problem: RecourseProblem, chosen: Formulation, claim: Claim, outcome: Evaluation | None, clock: _Clock
) -> Solution:
    objective = outcome.objective if outcome else None
    bound = claim.bound
    gap = None if objective is None or bound is None else relative_gap(objective, bound)
    status = Status.UNKNOWN
    if claim.infeasible:
        status = Status.INFEASIBLE
    elif outcome is not None:
        proved = gap is not None and gap <= problem.tolerances.relative_gap
        status = Status.OPTIMAL if proved else Status.FEASIBLE
    return Solution(
        instance=problem.name,
        instance_sha256=problem.sha256,
        status=status,
        stopped_by=claim.stopped_by,
        objective=objective,
        bound=bound,
        relative_gap=gap,
        moves=tuple(_move_record(problem, move) for move in outcome.moves) if outcome else (),
        parameters=stated_parameters(problem, outcome.parameters) if outcome else None,
        queries=_query_outcomes(problem, outcome) if outcome else (),
        certificate=CertificateRecord(grade=Grade.CLAIMED, checks=()),
        method=Method(formulation=chosen.name, solver=claim.solver, options=dict(claim.options)),
        seconds=Seconds(build=clock.laps["build"], solve=clock.laps["solve"], verify=0.0),
    )


def _move_record(problem: RecourseProblem, move: Move) -> MoveRecord:
    return MoveRecord(
        record=move.record,
        x=move.x,
        y=problem.label_of(move.y),
        weight=move.s,
        cost=move.cost,
        changes=listed_changes(problem, move.record, move.x),
    )


def _query_outcomes(problem: RecourseProblem, outcome: Evaluation) -> tuple[QueryOutcome, ...]:
    present = evaluate_present(problem)
    return tuple(
        QueryOutcome(
            name=query.name,
            margin_before=present.margins[q] if present else None,
            margin=outcome.margins[q],
            decision=outcome.parameters.decision(problem, query),
            helped=outcome.helped[q],
        )
        for q, query in enumerate(problem.queries)
    )


def _verified(
    problem: RecourseProblem, draft: Solution, clock: _Clock, enumerated: bool, notes: tuple[str, ...]
) -> Result:
    found = check_answer(problem, draft, enumerated=enumerated)
    clock.lap("verify")
    solution = draft.model_copy(
        update={
            "certificate": CertificateRecord(grade=found.grade, checks=found.checks),
            "seconds": Seconds(**clock.laps),
        }
    )
    if not found.passed:
        raise VerificationError("the answer failed its verification: " + "; ".join(found.failures()))
    return Result(problem, solution, found, notes)


# -- time and interruption ---


@dataclass
class _Clock:
    """Seconds of each stage, and what is left of the limit."""

    limit: float | None
    started: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = now - self.last
        self.last = now

    def share(self, part: float) -> float | None:
        left = self.left()
        return None if left is None else part * left

    def left(self) -> float | None:
        return None if self.limit is None else max(0.01, self.limit - (time.monotonic() - self.started))


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks the search to stop and keeps what it found; a second Ctrl-C breaks off."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def handle(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
