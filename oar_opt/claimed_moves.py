"""From moves that somebody else's run claims to a verified answer: rules checked, re-trained, verified."""

from __future__ import annotations

from oar_opt.answer_document import answer_document
from oar_opt.contracts import PyomoProgram
from oar_opt.errors import InputError, VerificationError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.limits import Clock
from oar_opt.pipeline import Result, verified
from oar_opt.problem import Move, RecourseProblem
from oar_opt.result import Claim
from oar_opt.rules import budget_violations
from oar_opt.solution_file import Seconds
from oar_opt.verification import move_violations

WHOLE = 1e-5
"""How far from a whole number the value of an integer column may be."""


def verified_claim(
    problem: RecourseProblem, claim: Claim, formulation: str, where: str, clock: Clock, notes: tuple[str, ...] = ()
) -> Result:
    """The result that a claim with moves makes; its bound stays a claim, and ``where`` names the moves in messages.

    Raises
    ------
    VerificationError : the moves break a rule, give less than is required, or beat the bound.
    InputError : the answer depends on an unstated tie.
    """
    assert claim.moves is not None
    outcome = _evaluated(problem, claim.moves, where)
    clock.lap("build")
    seconds = Seconds(build=clock.laps["build"], solve=0.0, verify=0.0)
    draft = answer_document(problem, formulation, claim, outcome, claim.bound, seconds)
    clock.lap("solve")
    return verified(problem, draft, clock, False, notes)


def check_choices(program: PyomoProgram, where: str) -> None:
    """Every member picks one thing: values that are missing, or no whole numbers, must not pass for choices."""
    from pyomo.environ import value

    rows = program.model.find_component("one_option")
    broken = [str(member) for member, row in rows.items() if round(value(row.body)) != 1] if rows is not None else []
    if broken:
        some = ", ".join(broken[:5]) + (" and others" if len(broken) > 5 else "")
        raise InputError(where, f"picks no option, or several, for member {some}", "give a value for every column")


def _evaluated(problem: RecourseProblem, moves: tuple[Move, ...], where: str) -> Evaluation:
    broken = [*budget_violations(problem, moves), *move_violations(problem, moves)]
    if broken:
        raise VerificationError(f"{where}: the moves break rules of the instance: {'; '.join(broken)}")
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner as undefined:
        raise VerificationError(f"{where}: the moves leave no learner: {undefined}") from undefined
    if outcome.broken:
        raise VerificationError(f"{where}: the moves are no answer: {'; '.join(outcome.broken)}")
    if outcome.tie:
        raise InputError("position", outcome.tie)
    return outcome
