"""Whether a stated change of features obeys its member's rules, in rationals.

The rules and tolerances are those of the module ``verification``: the length of ``delta / scale`` is at most ``radius +
tau max(1, radius)``, values, types, directions, steps are kept up to ``tau max(1, |value|, scale)``, constraints and
groups up to what :mod:`oar_opt.proof.linear_rules` says, label and weight are as they were, and the stated cost is
within ``10^-9 max(1, cost)`` of what the change costs. Euclidean lengths are compared by their squares, so nothing is
rounded. A cost is compared with the stated one on its larger side, a little more strictly.
"""

from __future__ import annotations

from collections.abc import Sequence

from flint import fmpq

from oar_opt.problem import (
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    Member,
    Move,
    Norm,
    RecourseProblem,
)
from oar_opt.proof.exact_choices import with_slack
from oar_opt.proof.feature_reach import TWO_VALUES, WHOLE
from oar_opt.proof.linear_rules import linear_rules
from oar_opt.proof.rationals import Number, ceiling, dot, exact, exact_row

COST_SLACK = fmpq(999, 10**12)


def is_allowed_change(problem: RecourseProblem, member: Member, move: Move) -> bool:
    """Whether one of the member's features actions allows a move, within the budget for one member."""
    i, records = member.record, problem.records
    each = with_slack(problem.collective.budget.each)
    if len(move.x) != problem.d or move.y != records.y[i] or move.s != records.s[i]:
        return False
    if each is not None and exact(move.cost) > each:
        return False
    before, after = exact_row(records.X[i].tolist()), exact_row(move.x)
    tau = exact(problem.tolerances.feasibility)
    if not all(_obeys(f, x, z, tau) for f, x, z in zip(problem.features, before, after, strict=True)):
        return False
    sizes = [abs(value) for value in after]
    if not all(dot(rule.a, after) <= rule.end + rule.slack(sizes, tau) for rule in linear_rules(problem)):
        return False
    scales = exact_row(feature.scale for feature in problem.features)
    scaled = [(z - x) / scale for x, z, scale in zip(before, after, scales, strict=True)]
    kind = problem.collective.cost
    return any(
        _is_near(action, scaled, tau) and _costs(action, kind, scaled, move) for action in member.feature_actions
    )


def _obeys(feature: Feature, before: Number, after: Number, tau: Number) -> bool:
    scale, delta = exact(feature.scale), after - before
    still = tau * max(fmpq(1), abs(before), scale)
    if (feature.is_fixed or feature.direction is Direction.INCREASE) and delta < -still:
        return False
    if (feature.is_fixed or feature.direction is Direction.DECREASE) and delta > still:
        return False
    if feature.step is not None and _off(delta, exact(feature.step)) > still:
        return False
    slack = tau * max(fmpq(1), abs(after), scale)
    if feature.type in TWO_VALUES and min(abs(after), abs(after - 1)) > slack:
        return False
    if feature.type in WHOLE and _off(after, fmpq(1)) > slack:
        return False
    above = feature.lower is None or after >= exact(feature.lower) - slack
    return above and (feature.upper is None or after <= exact(feature.upper) + slack)


def _off(value: Number, step: Number) -> Number:
    """How far a number is from the nearest multiple of a step."""
    return abs(value - step * -ceiling(-(value / step + fmpq(1, 2))))


def _is_near(action: FeatureAction, scaled: Sequence[Number], tau: Number) -> bool:
    stated = exact(action.radius)
    radius = stated + tau * max(fmpq(1), stated)
    match action.norm:
        case Norm.L1:
            return bool(sum((abs(value) for value in scaled), fmpq(0)) <= radius)
        case Norm.LINF:
            return all(abs(value) <= radius for value in scaled)
        case Norm.L2:
            return bool(dot(scaled, scaled) <= radius * radius)


def _costs(action: FeatureAction, kind: CostKind, scaled: Sequence[Number], move: Move) -> bool:
    """Whether the change costs what is stated."""
    stated = exact(move.cost)
    slack = COST_SLACK * max(fmpq(1), stated)
    own = stated - exact(action.charge)
    low, high = own - slack, own + slack
    sizes, square = [abs(value) for value in scaled], dot(scaled, scaled)
    match kind:
        case CostKind.L2:
            return bool(high >= 0 and square <= high * high and (low <= 0 or square >= low * low))
        case CostKind.SQL2:
            return bool(low <= square <= high)
        case CostKind.L1:
            return bool(low <= sum(sizes, fmpq(0)) <= high)
        case CostKind.LINF:
            return bool(low <= max(sizes) <= high)
        case CostKind.COUNT:
            return bool(low <= 1 <= high)
