"""Answers that take in what a certificate proves.

Moves that the certificate stores replace the answer's own where they are better by more than the instance's tolerance,
as after a time limit (not where a pool of several was asked for, whose order they would upset). Its bound replaces the
answer's where it is tighter, or where it closes the gap: then the grade is ``proved``. A weaker one is kept beside the
bound, which keeps its own grade. A certificate and an answer that cannot both be right are an error."""

from __future__ import annotations

from dataclasses import replace

from oar_opt.answer_document import answer_document
from oar_opt.certificate import Grade
from oar_opt.errors import VerificationError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.pipeline import Result
from oar_opt.problem import Move, RecourseProblem
from oar_opt.proof.certificate_file import ProofCertificate
from oar_opt.proof.checker import Verdict
from oar_opt.proved_bounds import contradictions, outward
from oar_opt.proving import Proof
from oar_opt.result import Claim, Status, StoppedBy, relative_gap
from oar_opt.solution_file import CertificateRecord, MoveRecord, ProofRecord, Solution
from oar_opt.verification import check_answer, coded_moves


def with_proof(result: Result, proof: Proof) -> Result:
    """The result with what is proved taken in and verified; see the module's docstring. One that is proved stays so.

    Raises
    ------
    VerificationError : the certificate does not check, or contradicts the answer.
    """
    problem, solution = result.problem, result.solution
    wrong = contradictions(problem, solution, proof.verdict)
    if not proof.verdict.proved or wrong:
        raise VerificationError(
            f"{problem.name}: the certificate and the answer contradict each other: {'; '.join(wrong)}"
            if wrong
            else proof.sentence
        )
    if result.grade is Grade.PROVED:
        return result
    better = None if solution.pool else _better_answer(result, proof)
    draft = _with_bound(problem, solution, better or result.verification.evaluation, proof)
    if better is not None:
        solver = f"{draft.method.solver}; the answer is the certificate's".removeprefix("; ")
        # Which intervals the answer lies at an end of is known of the solver's only.
        method = draft.method.model_copy(update={"solver": solver, "active_bounds": None})
        draft, result = draft.model_copy(update={"method": method}), replace(result, active_bounds=None)
    return _checked(replace(result, solution=draft, proof=proof))


def _checked(result: Result) -> Result:
    """The result once its document is verified; the grade so far is what has been seen of other evidence."""
    solution = result.solution
    found = check_answer(
        result.problem,
        solution,
        enumerated=solution.certificate.grade is Grade.ENUMERATED,
        confirmed=solution.certificate.grade is Grade.CONFIRMED,
        verdict=result.proof.verdict if result.proof else None,
    )
    if not found.passed:
        raise VerificationError("the answer failed its verification: " + "; ".join(found.failures()))
    certificate = solution.certificate.model_copy(update={"grade": found.grade, "checks": found.checks})
    return replace(result, solution=solution.model_copy(update={"certificate": certificate}), verification=found)


def _better_answer(result: Result, proof: Proof) -> Evaluation | None:
    """The certificate's change re-trained, where it is an answer and better than the result's."""
    stated = proof.certificate.moves
    if stated is None:
        return None
    try:
        found = evaluate(result.problem, certified_moves(result.problem, proof.certificate))
    except UndefinedLearner:
        return None
    known = result.verification.evaluation
    if not found.is_answer or not found.is_accurate:
        return None
    return found if known is None or found.exceeds(known, result.problem.tolerances.feasibility) else None


def certified_moves(problem: RecourseProblem, certificate: ProofCertificate) -> tuple[Move, ...]:
    """The change that a certificate which checks stores; nobody acts where it stores none."""
    records = [MoveRecord(**move.model_dump()) for move in certificate.moves or ()]
    return coded_moves(problem, records)


def _with_bound(problem: RecourseProblem, known: Solution, answer: Evaluation | None, proof: Proof) -> Solution:
    """The solution before its verification, with the better answer and the bound that is then the best to state."""
    bound = _stated_bound(problem, known, answer, proof.verdict)
    stopped_by = known.stopped_by
    if proof.verdict.is_infeasible or (bound != known.bound and known.status is not Status.OPTIMAL):
        stopped_by = StoppedBy.PROOF if _is_settled(problem, answer, bound, proof) else stopped_by
    claim = Claim(
        stopped_by,
        infeasible=proof.verdict.is_infeasible or known.status is Status.INFEASIBLE,
        solver=known.method.solver,
    )
    seconds = known.seconds.model_copy(update={"prove": proof.seconds})
    draft = answer_document(problem, known.method.formulation, claim, answer, bound, seconds)
    certificate = CertificateRecord(
        grade=known.certificate.grade, checks=(), proof=ProofRecord(bound=proof.verdict.bound)
    )
    kept = {"method": known.method, "pool": known.pool, "conflicts": known.conflicts, "certificate": certificate}
    return draft.model_copy(update=kept)


def _is_settled(problem: RecourseProblem, answer: Evaluation | None, bound: float | None, proof: Proof) -> bool:
    if answer is None or bound is None:
        return proof.verdict.is_infeasible
    return relative_gap(answer.objective, bound) <= problem.tolerances.relative_gap


def _stated_bound(
    problem: RecourseProblem, known: Solution, answer: Evaluation | None, verdict: Verdict
) -> float | None:
    """The proved bound where it closes the gap or is tighter than what is known, else that."""
    if verdict.bound is None:
        return known.bound if known.status is Status.INFEASIBLE else None
    proved = outward(problem, verdict.bound)
    closes = answer is not None and relative_gap(answer.objective, proved) <= problem.tolerances.relative_gap
    sign = 1.0 if problem.goal.maximises else -1.0
    tighter = known.bound is None or sign * (known.bound - proved) > 0
    infeasible = known.status is Status.INFEASIBLE
    return proved if closes or (tighter and not infeasible) else known.bound
