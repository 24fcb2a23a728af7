"""What a certificate's verdict says of an answer: whether it proves its bound, and whether the two can both be right.

A certificate proves a decimal ``B``: no admissible change has a value better than ``B``, or that no change is an answer
at all; and of the change that it stores, if any, a least value ``V``. Of a solution that states an objective ``v`` and
a bound ``b`` it proves the bound where ``b`` is not better than ``B``, which is compared as the rational numbers that
both are. The two contradict each other where ``v`` is better than ``B``, or ``V`` better than ``b``, by more than the
instance's tolerance, which is what re-training in floating point may be off; and where one knows an answer and the
other says that there is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from oar_opt.problem import RecourseProblem
from oar_opt.result import Status
from oar_opt.solution_file import Solution

if TYPE_CHECKING:
    from oar_opt.proof.checker import Verdict
    from oar_opt.proof.rationals import Number


def outward(problem: RecourseProblem, bound: str) -> float:
    """The floating-point number nearest to a proved decimal among those that are not better for the goal."""
    nearest = float(bound)
    if _is_no_better(problem, nearest, bound):
        return nearest
    return math.nextafter(nearest, math.inf if problem.goal.maximises else -math.inf)


def is_proved(problem: RecourseProblem, solution: Solution, verdict: Verdict) -> bool:
    """Whether the certificate proves what a solution states of all other changes, and that settles the instance."""
    if not verdict.proved or contradictions(problem, solution, verdict):
        return False
    return _settles(problem, solution, verdict.bound)


def states_its_proof(problem: RecourseProblem, solution: Solution) -> bool:
    """Whether what a solution says to be proved would, if it is, settle the instance as the solution states it."""
    proof = solution.certificate.proof
    return proof is not None and _settles(problem, solution, proof.bound)


def _settles(problem: RecourseProblem, solution: Solution, bound: str | None) -> bool:
    match solution.status:
        case Status.INFEASIBLE:
            return bound is None
        case Status.OPTIMAL:
            known = bound is not None and solution.bound is not None
            return known and _is_no_better(problem, solution.bound or 0.0, bound or "0")
        case _:
            return False


def contradictions(problem: RecourseProblem, solution: Solution, verdict: Verdict) -> list[str]:
    """What of a solution cannot be right if the certificate is, in words."""
    if not verdict.proved:
        return []
    found = []
    if verdict.is_infeasible and solution.objective is not None:
        found.append(f"an answer of {solution.objective:.8g} is stated, and it is proved that there is none")
    if solution.status is Status.INFEASIBLE and verdict.value is not None:
        found.append("it is stated that there is no answer, and the certificate's change is proved to be one")
    if verdict.bound is not None and solution.objective is not None:
        beyond = _ahead(problem, solution.objective, float(verdict.bound))
        if beyond > _room(problem, solution.objective):
            found.append(f"the answer {solution.objective:.8g} is better than the proved bound {verdict.bound}")
    reached, bound = surely_reached(problem, verdict), solution.bound
    if reached is not None and bound is not None and _ahead(problem, reached, bound) > _room(problem, reached):
        found.append(f"the certificate's change reaches {reached:.8g}, better than the bound {bound:.8g}")
    return found


def surely_reached(problem: RecourseProblem, verdict: Verdict) -> float | None:
    """What the certificate's change is proved to reach, None where it has none."""
    from oar_opt.proof.rationals import approximate

    if verdict.value is None:
        return None
    return approximate(verdict.value.low if problem.goal.maximises else verdict.value.high)


def overstated(problem: RecourseProblem, solution: Solution, verdict: Verdict) -> list[str]:
    """What a solution says to be proved and this certificate does not prove, in words."""
    stated = solution.certificate.proof
    if stated is None or not verdict.proved or verdict.is_infeasible:
        return []
    if stated.bound is None:
        return ["it is said to be proved that there is no answer, and this certificate proves a bound"]
    if _gain(problem, _rational(stated.bound), _rational(verdict.bound or "")) > 0:
        return [f"the bound {stated.bound} is said to be proved, and this certificate proves {verdict.bound}"]
    return []


def _rational(bound: str) -> Number:
    from oar_opt.proof.rationals import read_decimal

    return read_decimal(bound)


def _is_no_better(problem: RecourseProblem, value: float, bound: str) -> bool:
    from oar_opt.proof.rationals import exact

    return bool(_gain(problem, exact(value), _rational(bound)) <= 0)


def _gain(problem: RecourseProblem, bound: Number, other: Number) -> Number:
    """By how much a bound says more than another one."""
    return other - bound if problem.goal.maximises else bound - other


def _ahead(problem: RecourseProblem, value: float, other: float) -> float:
    """By how much a value is better than another one."""
    return value - other if problem.goal.maximises else other - value


def _room(problem: RecourseProblem, value: float) -> float:
    return problem.tolerances.feasibility * max(1.0, abs(value))
