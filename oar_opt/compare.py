"""Exact against heuristic, joint against isolated: every method on one instance, each re-trained and re-checked.

Reference points come first: nobody acts, and *individual recourse* (the query subject changes its own features under
the model as it is, :mod:`oar_opt.individual`). Then every heuristic that applies (:mod:`oar_opt.heuristics`), then the
joint optimum by :func:`oar_opt.pipeline.solve` with its proved bound. A method's *gap* is how far its goal falls short
of that bound, so it is at least its distance from the optimum.

The *coordination gain* is what acting together adds to every member acting as if alone: for ``max_margin`` and
``max_helped`` joint minus independent, for costs and members independent minus joint. With ``z`` the joint answer,
``b`` its proved bound and ``v`` the independent value, it lies between ``z - v`` and ``b - v`` (signs as said): both
ends are given, with the grade of the joint certificate. Where some member's own problem is not solved to optimality,
``v`` is not what acting as if alone gives but what was found of it, and the gain is called provisional.

A method that breaks a rule, or whose answer beats the proved bound, is an error, not a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oar_opt.certificate import Grade
from oar_opt.discovery import heuristics, not_replayed
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate, evaluate_present
from oar_opt.individual import IndividualRecourse, individual_recourse
from oar_opt.problem import RecourseProblem
from oar_opt.result import Status
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violations

if TYPE_CHECKING:
    from oar_opt.contracts import Heuristic, Proposal
    from oar_opt.solution_file import Solution

EXACT = "exact"
"""The name of the joint optimum among the methods."""
INDEPENDENT = "independent"
SAME = 1e-12
"""Relative; what re-training twice in floating point may differ by."""
REFERENCES = ("stay", "random_moves", "nearest_members", "isolated", INDEPENDENT)
"""Come first, in this order."""
HEURISTIC_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """What one method reaches.

    ``reason`` says why there is nothing to tell (the method does not apply, or found no answer); ``remark`` what a
    reader should know; ``settled`` is that of its :class:`~oar_opt.contracts.Proposal`. ``succeeds``: it is an answer
    that helps every query. ``objective`` is the goal's value of an answer, ``margin`` the smallest margin of the
    queries, also where the moves are no answer. ``gap`` is relative to the proved bound; None where either is missing.
    """

    method: str
    succeeds: bool = False
    objective: float | None = None
    margin: float | None = None
    helped: int | None = None
    members: int | None = None
    cost: float | None = None
    gap: float | None = None
    seconds: float | None = None
    status: Status | None = None
    reason: str | None = None
    remark: str = ""
    settled: bool = False


@dataclass(frozen=True)
class CoordinationGain:
    """What acting together adds: at least and at most, and how strong the evidence for the latter is.

    ``is_provisional``: the independent value rests on members' own problems that are not solved to optimality.
    """

    least: float
    most: float | None
    grade: Grade
    is_provisional: bool


@dataclass(frozen=True)
class Comparison:
    """All methods on one instance; ``present`` is the outcome before anyone acts, ``exact`` the joint search's answer
    (each None where there is none).

    ``without_individual`` says why no query has individual recourse, where that is so.
    """

    problem: RecourseProblem
    rows: tuple[Row, ...]
    individual: tuple[IndividualRecourse, ...]
    present: Evaluation | None
    exact: Solution | None
    gain: CoordinationGain | None = None
    without_individual: str = ""

    def row(self, method: str) -> Row | None:
        """The row of a method, or None."""
        return next((row for row in self.rows if row.method == method), None)


def methods() -> tuple[str, ...]:
    """Every method's name, in the order of a comparison: nobody acts, heuristics, the joint optimum."""
    names = sorted(
        heuristics(), key=lambda name: (REFERENCES.index(name) if name in REFERENCES else len(REFERENCES), name)
    )
    return (*names, EXACT)


def compare(
    problem: RecourseProblem,
    names: Sequence[str] | None = None,
    *,
    seed: int = 0,
    heuristic_seconds: float = HEURISTIC_SECONDS,
    time_limit: float | None = None,
    formulation: str = "auto",
    exact: Solution | None = None,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Run methods on an instance, side by side.

    Parameters
    ----------
    names : some of :func:`methods`; None is all.
    seed : for every heuristic.
    heuristic_seconds : seconds for each heuristic, and for each query's individual recourse.
    time_limit : seconds for the joint optimum; None is no limit.
    formulation : for the joint optimum.
    exact : a verified answer of the joint search, which is then not solved for again.
    progress : called with the name of each method when it begins.

    Raises
    ------
    InputError : an unknown method.
    VerificationError : a method's moves break a rule, or beat the proved bound.
    """
    chosen = wanted(names)
    begin = progress or (lambda _: None)
    rows: list[Row] = []
    refused = None
    if EXACT in chosen and exact is None:
        # First, so that the libraries it loads are not in the clocks of heuristics that use them.
        begin(EXACT)
        refused, exact = _exactly(problem, formulation, time_limit)
    for name in chosen:
        if name != EXACT:
            begin(name)
            rows.append(_by_heuristic(problem, name, heuristics()[name], seed, heuristic_seconds))
    rows += [row for row in (refused, _row_of(problem, exact) if exact else None) if row]
    rows = [_with_gap(problem, row, exact) for row in rows]
    individual, without = _individually(problem, heuristic_seconds * len(problem.queries))
    found = Comparison(problem, tuple(rows), individual, evaluate_present(problem), exact, without_individual=without)
    return replace(found, gain=_gain(found))


def wanted(names: Sequence[str] | None = None) -> tuple[str, ...]:
    """The methods of these names (None: all), in the order of a comparison.

    Raises
    ------
    InputError : one is unknown, or there is none.
    """
    known = methods()
    if names is not None and not names:
        raise InputError("--methods", "names none", f"there are: {', '.join(known)}")
    for name in names or ():
        if name not in known:
            raise InputError("--methods", f"'{name}' is unknown", f"there are: {', '.join(known)}")
    return known if names is None else tuple(name for name in known if name in names)


def _individually(problem: RecourseProblem, seconds: float) -> tuple[tuple[IndividualRecourse, ...], str]:
    """Every query's individual recourse, or why there is none."""
    try:
        return individual_recourse(problem, time_limit=seconds), ""
    except UnsupportedError as unsupported:
        return (), str(unsupported)


# -- heuristics ---


def _by_heuristic(problem: RecourseProblem, name: str, heuristic: Heuristic, seed: int, seconds: float) -> Row:
    try:
        reason = not_replayed(problem) or heuristic.accepts(problem)
        if reason:
            return Row(name, reason=reason)
        started = time.monotonic()
        proposal = heuristic.propose(problem, seed=seed, time_limit=seconds)
        took = time.monotonic() - started
    except UnsupportedError as unsupported:
        # Of a member's set, say, that is met on the way only: the other methods have their rows all the same.
        return Row(name, reason=str(unsupported))
    broken = [*budget_violations(problem, proposal.moves), *move_violations(problem, proposal.moves)]
    if broken:
        raise VerificationError(f"method '{name}' breaks a rule: {broken[0]}")
    try:
        outcome = evaluate(problem, proposal.moves)
    except UndefinedLearner as undefined:
        return Row(name, seconds=took, reason=str(undefined), remark=proposal.remark)
    return _row(name, outcome, took, proposal)


def _row(name: str, outcome: Evaluation, seconds: float, proposal: Proposal) -> Row:
    is_answer = outcome.is_answer and outcome.is_accurate
    vague = "" if outcome.is_accurate else f"margins are known to {outcome.inaccuracy:.1g} only, by re-training"
    return Row(
        name,
        succeeds=is_answer and all(outcome.helped),
        objective=outcome.objective if is_answer else None,
        margin=min(outcome.margins),
        helped=sum(outcome.helped),
        members=len(outcome.moves),
        cost=float(sum(move.cost for move in outcome.moves)),
        seconds=seconds,
        reason=outcome.tie or "; ".join(outcome.broken) or vague or None,
        remark=proposal.remark,
        settled=proposal.settled,
    )


# -- the joint optimum ---


def _exactly(
    problem: RecourseProblem, formulation: str, time_limit: float | None
) -> tuple[Row | None, Solution | None]:
    """The joint search's answer, or the row that says why there is none."""
    from oar_opt.pipeline import solve

    try:
        return None, solve(problem, formulation=formulation, time_limit=time_limit).solution
    except UnsupportedError as unsupported:
        return Row(EXACT, reason=str(unsupported)), None
    except InputError as error:
        if error.where != "position":
            raise
        # The optimum rests on a tie that the instance does not settle; rows by re-training may not.
        return Row(EXACT, reason=str(error)), None


def _row_of(problem: RecourseProblem, solution: Solution) -> Row:
    """The row of the joint search's answer."""
    seconds = solution.seconds.total
    by = f"{solution.method.formulation} by {solution.method.solver}"
    if solution.objective is None:
        return Row(EXACT, seconds=seconds, status=solution.status, reason=str(solution.status), remark=by)
    helped = sum(outcome.helped for outcome in solution.queries)
    return Row(
        EXACT,
        succeeds=helped == len(problem.queries),
        objective=solution.objective,
        margin=min(outcome.margin for outcome in solution.queries),
        helped=helped,
        members=len(solution.moves),
        cost=float(sum(move.cost for move in solution.moves)),
        seconds=seconds,
        status=solution.status,
        remark=by,
    )


def _with_gap(problem: RecourseProblem, row: Row, exact: Solution | None) -> Row:
    """The row with its distance from the proved bound, which it must not beat."""
    if row.objective is None or exact is None:
        return row
    if exact.status is Status.INFEASIBLE:
        raise VerificationError(f"method '{row.method}' found an answer where the exact search says that there is none")
    if exact.bound is None:
        return row
    short = exact.bound - row.objective if problem.goal.maximises else row.objective - exact.bound
    size = max(1.0, abs(row.objective))
    if short < -problem.tolerances.feasibility * size:
        raise VerificationError(
            f"method '{row.method}' reaches {row.objective:.8g}, beyond the bound {exact.bound:.8g}"
        )
    return replace(row, gap=max(0.0, short) / size)


def _gain(found: Comparison) -> CoordinationGain | None:
    """What acting together adds; None where the joint or the independent answer has no value."""
    alone, joint = found.row(INDEPENDENT), found.exact
    if alone is None or alone.objective is None or joint is None or joint.objective is None:
        return None
    sign = 1 if found.problem.goal.maximises else -1
    least = sign * (joint.objective - alone.objective)
    if abs(least) <= SAME * max(1.0, abs(joint.objective)):
        least = 0.0
    # A bound may be met but for rounding.
    most = None if joint.bound is None else max(least, sign * (joint.bound - alone.objective))
    return CoordinationGain(least, most, Grade(joint.certificate.grade), not alone.settled)
