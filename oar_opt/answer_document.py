"""What a run found, as the document of a solution file."""

from __future__ import annotations

from collections.abc import Sequence

from oar_opt.certificate import Grade
from oar_opt.evaluate import Evaluation, evaluate_present
from oar_opt.pool import Ranked
from oar_opt.problem import Move, RecourseProblem
from oar_opt.result import Claim, Status, StoppedBy, relative_gap
from oar_opt.solution_file import (
    Alternative,
    CertificateRecord,
    Method,
    MoveRecord,
    Pool,
    QueryOutcome,
    Seconds,
    Solution,
)
from oar_opt.verification import listed_changes, stated_parameters


def answer_document(
    problem: RecourseProblem,
    formulation: str,
    claim: Claim,
    answer: Evaluation | None,
    bound: float | None,
    seconds: Seconds,
) -> Solution:
    """The solution before its verification: of grade ``claimed``, without checks."""
    gap = _gap(answer, bound)
    status = Status.UNKNOWN
    if answer is not None:
        proved = gap is not None and gap <= problem.tolerances.relative_gap
        status = Status.OPTIMAL if proved else Status.FEASIBLE
    elif claim.infeasible:
        status = Status.INFEASIBLE
    return Solution(
        instance=problem.name,
        instance_sha256=problem.sha256,
        status=status,
        stopped_by=claim.stopped_by,
        objective=answer.objective if answer else None,
        bound=bound,
        relative_gap=gap,
        moves=_moves(problem, answer) if answer else (),
        parameters=stated_parameters(problem, answer.parameters) if answer else None,
        queries=_query_outcomes(problem, answer) if answer else (),
        certificate=CertificateRecord(grade=Grade.CLAIMED, checks=()),
        method=Method(formulation=formulation, solver=claim.solver, options=dict(claim.options)),
        seconds=seconds,
    )


def pool_document(
    problem: RecourseProblem, asked: int, others: Sequence[Ranked], complete: bool, stopped_by: StoppedBy
) -> Pool:
    """The answers beside the best one."""
    alternatives = tuple(
        Alternative(
            objective=other.answer.objective,
            bound=other.bound,
            relative_gap=_gap(other.answer, other.bound),
            moves=_moves(problem, other.answer),
            parameters=stated_parameters(problem, other.answer.parameters),
            queries=_query_outcomes(problem, other.answer),
        )
        for other in others
    )
    return Pool(asked=asked, alternatives=alternatives, complete=complete, stopped_by=stopped_by, grade=Grade.CLAIMED)


def _gap(answer: Evaluation | None, bound: float | None) -> float | None:
    return None if answer is None or bound is None else relative_gap(answer.objective, bound)


def _moves(problem: RecourseProblem, answer: Evaluation) -> tuple[MoveRecord, ...]:
    return tuple(_move_record(problem, move) for move in answer.moves)


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
