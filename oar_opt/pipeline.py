"""From a problem to a verified, certified answer; read it top to bottom.

choose a formulation -> search: first answers by heuristics, build its program, run, re-train the claim
(:mod:`oar_opt.search`; again for every further answer of a pool) -> (confirm) -> verify -> result -> (prove).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from oar_opt.active_bounds import ActiveBound
from oar_opt.answer_document import answer_document, pool_document
from oar_opt.certificate import Grade
from oar_opt.contracts import Exactness, Formulation, PyomoProgram
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.limits import Clock, interruptible
from oar_opt.pool import Pooled, search_best
from oar_opt.problem import RecourseProblem
from oar_opt.result import Claim, Options, Progress, Request, Status
from oar_opt.solution_file import Alternative, CertificateRecord, MoveRecord, Seconds, Solution
from oar_opt.solver_features import unfit
from oar_opt.verification import Verification, check_answer

if TYPE_CHECKING:
    from oar_opt.proving import Proof


@dataclass(frozen=True)
class Result:
    """A verified answer: ``solution`` is what a solution file holds, ``notes`` says what was chosen and why.

    ``active_bounds`` are the ends of proved intervals that the answer lies at (:mod:`oar_opt.active_bounds`); None
    where the formulation has no such intervals. ``proof`` is the certificate that was taken in, if any.
    """

    problem: RecourseProblem
    solution: Solution
    verification: Verification
    notes: tuple[str, ...] = ()
    active_bounds: tuple[ActiveBound, ...] | None = None
    proof: Proof | None = None

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
    def alternatives(self) -> tuple[Alternative, ...]:
        """The answers beside the best one, best first, where a pool was asked for."""
        return self.solution.pool.alternatives if self.solution.pool else ()

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
    prove: bool = False,
    pool: int = 1,
    progress: Callable[[Progress], None] | None = None,
    solver_options: Options = MappingProxyType({}),
    solver_log: Path | None = None,
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
    prove : then search for a proof that is checked in exact arithmetic, with the time limit once more, and take in
        what it proves (:mod:`oar_opt.proved_answer`); where it closes the gap the grade is ``proved``. A proof that
        fails leaves the answer as it is, and a note.
    pool : how many of the best different moves to find, each with a bound on all others but those before it; see
        :mod:`oar_opt.pool`. A time limit holds for all of them together.
    progress : called with every progress line.
    solver_options : the solver's own options by its names; they go before ours.
    solver_log : a file for the solver's own log.

    With options or a log, formulations apply whose program is given to one solver as it stands.

    Returns
    -------
    Result : with status optimal, feasible, infeasible or unknown. A limit or Ctrl-C gives the best verified move.

    Raises
    ------
    UnsupportedError : no formulation (or not the one named) solves this instance, or with ``prove`` there is no
        certificate of it; the message has the reasons.
    InputError : an unknown name, or an instance whose answer depends on an unstated tie.
    VerificationError : the answer failed its check, or contradicts what is proved.
    SolverError : the solver broke down.
    """
    if pool < 1:
        raise InputError("--pool", f"is {pool}", "give a number of at least 1")
    if solver is not None:
        # Also where the formulation needs none: a name that nothing answers to is a mistake.
        from oar_opt.solvers.by_pyomo import require

        require(solver)
    if prove:
        from oar_opt.proving import require_provable

        require_provable(problem)
    request = Request(
        solver=solver,
        time_limit=_positive("--time-limit", time_limit),
        node_limit=node_limit,
        relative_gap=_positive("--gap", gap) or problem.tolerances.relative_gap,
        threads=threads,
        progress=progress,
        pool=pool,
        options=solver_options,
        log=solver_log,
    )
    clock = Clock(time_limit)
    with interruptible() as interrupted:
        handed = bool(solver_options) or solver_log is not None
        chosen, notes = choose(problem, formulation, solver, several=pool > 1, handed=handed)
        if solver_log is not None:
            from oar_opt.solvers.options import begin_log

            begin_log(solver_log)
        request = replace(request, interrupted=interrupted)
        found = search_best(problem, chosen, request, clock, pool)
    draft = _draft(problem, chosen, found, pool, clock)
    more = found.notes
    if confirm:
        with interruptible() as interrupted:
            second = replace(request, pool=1, interrupted=interrupted, options={}, log=None)
            grade, by = _confirm(problem, chosen, second, draft)
        more = (*more, by)
        draft = draft.model_copy(update={"certificate": CertificateRecord(grade=grade, checks=())})
    # Another formulation's enumeration settled the best answer alone; the verification repeats it for a pool.
    enumerated = found.claim.exhausted or (pool == 1 and draft.certificate.grade is Grade.ENUMERATED)
    result = verified(problem, draft, clock, enumerated, (*notes, *more))
    result = replace(result, active_bounds=found.active)
    return _proved(result, time_limit) if prove else result


def _proved(result: Result, seconds: float | None) -> Result:
    """The result with a proof of its own, or with a note on why there is none."""
    from oar_opt.proved_answer import with_proof
    from oar_opt.proving import prove_result

    try:
        proof = prove_result(result, seconds)
    except UnsupportedError as reason:
        return replace(result, notes=(*result.notes, f"not proved: {reason}"))
    except KeyboardInterrupt:
        return replace(result, notes=(*result.notes, "not proved: it was interrupted"))
    return with_proof(result, proof)


def choose(
    problem: RecourseProblem,
    name: str = "auto",
    solver: str | None = None,
    *,
    several: bool = False,
    handed: bool = False,
) -> tuple[Formulation, tuple[str, ...]]:
    """The formulation for a problem, with the reasons; an error that lists every reason where none applies.

    One that ``solver`` cannot run does not apply, nor does one that finds the best move only where ``several`` are
    wanted, nor one that hands no program to a solver where options or a log are ``handed`` to that.
    """
    known = formulations()
    if name != "auto":
        if name not in known:
            raise InputError("--formulation", f"'{name}' is unknown", f"there are: auto, {', '.join(known)}")
        reason = known[name].accepts(problem) or (known[name].single(problem) if several else None)
        reason = reason or (_unhanded(known[name]) if handed else None)
        if reason:
            raise UnsupportedError(f"formulation '{name}' does not apply: {reason}")
        reason = known[name].unfit(solver)
        if reason:
            raise InputError("--solver", f"formulation '{name}' cannot run with it: {reason}", "name no solver")
        return known[name], (f"formulation {name}: as asked",)
    reasons: list[str] = []
    for candidate in sorted(known.values(), key=lambda item: item.preference(problem)[0]):
        reason = candidate.accepts(problem) or candidate.unfit(solver)
        reason = reason or (candidate.single(problem) if several else None)
        reason = reason or (_unhanded(candidate) if handed else None)
        if reason is None:
            passed = "".join(f"; {text}" for text in reasons)
            return candidate, (f"formulation {candidate.name}: {candidate.preference(problem)[1]}{passed}",)
        reasons.append(f"{candidate.name}: {reason}")
    kind = problem.learner.kind
    raise UnsupportedError(
        f"learner '{kind}' with these actions, update and goal is not solved yet by any formulation:\n  "
        + "\n  ".join(reasons)
    )


def _unhanded(candidate: Formulation) -> str | None:
    if candidate.exportable:
        return None
    return "it hands no program to a solver that could take options or keep a log"


def choose_program(
    problem: RecourseProblem, name: str, *, no_program: str, none: str, conic: bool = False
) -> Formulation:
    """The formulation named, or the first that applies and builds a program (with ``conic`` also one of cones);
    ``no_program`` says why others do not do.

    Raises
    ------
    UnsupportedError : there is none; the message begins with ``none`` and has every reason.
    """
    if name != "auto":
        return choose(problem, name)[0]
    reasons = []
    for candidate in formulations().values():
        reason = candidate.accepts(problem) if candidate.exportable or (conic and candidate.conic) else no_program
        if reason is None:
            return candidate
        reasons.append(f"{candidate.name}: {reason}")
    raise UnsupportedError(f"{none}:\n  " + "\n  ".join(reasons))


def _positive(where: str, number: float | None) -> float | None:
    if number is not None and not number > 0:
        raise InputError(where, f"is {number:g}", "give a number above 0")
    return number


# -- a second opinion ---


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


def _draft(problem: RecourseProblem, chosen: Formulation, found: Pooled, pool: int, clock: Clock) -> Solution:
    best = found.ranked[0] if found.ranked else None
    answer, bound = (best.answer, best.bound) if best else (None, found.claim.bound)
    seconds = Seconds(build=clock.laps["build"], solve=clock.laps["solve"], verify=0.0)
    draft = answer_document(problem, chosen.name, found.claim, answer, bound, seconds)
    names = None if found.active is None else tuple(bound.name for bound in found.active)
    others = pool_document(problem, pool, found.ranked[1:], found.complete, found.stopped_by) if pool > 1 else None
    method = draft.method.model_copy(update={"active_bounds": names})
    return draft.model_copy(update={"method": method, "pool": others})


def verified(
    problem: RecourseProblem, draft: Solution, clock: Clock, enumerated: bool, notes: tuple[str, ...]
) -> Result:
    """The result that a draft makes once its verification is passed; an error where it is not."""
    found = check_answer(problem, draft, enumerated=enumerated, confirmed=draft.certificate.grade is Grade.CONFIRMED)
    clock.lap("verify")
    solution = draft.model_copy(
        update={
            "certificate": CertificateRecord(grade=found.grade, checks=found.checks),
            "seconds": Seconds(**clock.laps),
            "pool": draft.pool and draft.pool.model_copy(update={"grade": found.pool_grade}),
        }
    )
    if not found.passed:
        raise VerificationError("the answer failed its verification: " + "; ".join(found.failures()))
    return Result(problem, solution, found, notes)
