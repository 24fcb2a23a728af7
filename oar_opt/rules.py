"""The rules of change: what a moved record must obey, each broken rule in words.

Used where an instance is read (menu options) and where an answer is verified (every move), so that both mean the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from oar_opt.problem import (
    Direction,
    Feature,
    FeatureType,
    Flags,
    Matrix,
    Move,
    Option,
    Point,
    RecourseProblem,
    Sense,
    Vector,
)

ROUNDING = 1e-9
"""Relative slack for numbers that the instance itself writes in decimals."""


def domain_violation(problem: RecourseProblem, x: Vector, tolerance: float = ROUNDING) -> str | None:
    """The first rule on values (bounds, types, one-hot groups, linear constraints) that ``x (d,)`` breaks, or None."""
    for feature, value in zip(problem.features, x, strict=True):
        broken = _value_violation(feature, float(value), tolerance)
        if broken:
            return broken
    return _group_violation(problem, x, tolerance) or _constraint_violation(problem, x, tolerance)


def change_violation(
    problem: RecourseProblem, before: Vector, after: Vector, tolerance: float = ROUNDING
) -> str | None:
    """The first rule on changes (fixed, direction, step) that ``before -> after`` breaks, or None."""
    for feature, old, new in zip(problem.features, before, after, strict=True):
        slack = tolerance * max(1.0, abs(old), feature.scale)
        delta = float(new - old)
        if feature.is_fixed and abs(delta) > slack:
            return f"'{feature.name}' is fixed and changes from {old:.6g} to {new:.6g}"
        if feature.direction is Direction.INCREASE and delta < -slack:
            return f"'{feature.name}' may only increase and falls from {old:.6g} to {new:.6g}"
        if feature.direction is Direction.DECREASE and delta > slack:
            return f"'{feature.name}' may only decrease and rises from {old:.6g} to {new:.6g}"
        if feature.step is not None and abs(delta / feature.step - round(delta / feature.step)) * feature.step > slack:
            return f"'{feature.name}' changes by {delta:.6g}, no multiple of its step {feature.step:g}"
    return None


def surely_within(problem: RecourseProblem, before: Matrix, after: Matrix, tolerance: float = ROUNDING) -> Flags:
    """The rows that break no rule on values and changes, ``(m,)``, all at once; of the others nothing is said.

    Those rows are left to :func:`change_violation` and :func:`domain_violation`, as all rows are where features have
    other rules than bounds and directions.
    """
    features = problem.features
    simple = all(f.type is FeatureType.CONTINUOUS and f.step is None and f.group is None for f in features)
    if not simple or problem.constraints:
        return np.zeros(len(after), dtype=bool)
    slack = tolerance * np.maximum(1.0, problem.scales)
    lower = np.array([-np.inf if f.lower is None else f.lower for f in features])
    upper = np.array([np.inf if f.upper is None else f.upper for f in features])
    may_fall = np.array([f.direction in (Direction.ANY, Direction.DECREASE) for f in features])
    may_rise = np.array([f.direction in (Direction.ANY, Direction.INCREASE) for f in features])
    delta = after - before
    inside = (after >= lower - slack) & (after <= upper + slack)
    allowed = (may_rise | (delta <= slack)) & (may_fall | (delta >= -slack))
    return np.asarray((inside & allowed).all(axis=1))


def option_violation(problem: RecourseProblem, record: int, option: Option) -> str | None:
    """The rule that a menu option breaks, or None. A record that joins (weight 0 so far) has no 'before' to compare."""
    before, after = problem.records.X[record], np.array(option.x)
    if np.array_equal(before, after):
        return None
    broken = domain_violation(problem, after)
    if broken is None and problem.records.s[record] > 0:
        broken = change_violation(problem, before, after)
    return broken


def matches_option(option: Option, move: Move, tolerance: float) -> bool:
    """Whether a move is this option: its label and weight as they stand, its features within the tolerance.

    A weight that is nearly 0 still is one, and costs add up: those within rounding.
    """
    x_moved, x_option = np.array(move.x), np.array(option.x)
    return bool(
        move.y == option.y
        and move.s == option.s
        and (np.abs(x_moved - x_option) <= tolerance * np.maximum(1.0, np.abs(x_option))).all()
        and abs(move.cost - option.cost) <= ROUNDING * max(1.0, option.cost)
    )


def scaled_change(problem: RecourseProblem, record: int, x: Point) -> Vector:
    """``delta / scale`` of a moved record, ``(d,)``."""
    change: Vector = (np.array(x) - problem.records.X[record]) / problem.scales
    return change


def _value_violation(feature: Feature, value: float, tolerance: float) -> str | None:
    slack = tolerance * max(1.0, abs(value), feature.scale)
    if feature.lower is not None and value < feature.lower - slack:
        return f"'{feature.name}' is {value:.6g}, below its lower bound {feature.lower:g}"
    if feature.upper is not None and value > feature.upper + slack:
        return f"'{feature.name}' is {value:.6g}, above its upper bound {feature.upper:g}"
    if feature.type in (FeatureType.INTEGER, FeatureType.ORDINAL) and abs(value - round(value)) > slack:
        return f"'{feature.name}' is {value:.6g}, no whole number"
    if feature.type in (FeatureType.BINARY, FeatureType.CATEGORICAL) and min(abs(value), abs(value - 1)) > slack:
        return f"'{feature.name}' is {value:.6g}, neither 0 nor 1"
    return None


def _group_violation(problem: RecourseProblem, x: Vector, tolerance: float) -> str | None:
    groups: dict[str, float] = {}
    for feature, value in zip(problem.features, x, strict=True):
        if feature.group is not None:
            groups[feature.group] = groups.get(feature.group, 0.0) + float(value)
    for group, total in groups.items():
        if abs(total - 1) > tolerance * 10:
            return f"the one-hot group '{group}' sums to {total:.6g}, not to 1"
    return None


def _constraint_violation(problem: RecourseProblem, x: Vector, tolerance: float) -> str | None:
    position = {feature.name: j for j, feature in enumerate(problem.features)}
    for constraint in problem.constraints:
        terms = [value * float(x[position[name]]) for name, value in constraint.coefficients]
        total, slack = sum(terms), tolerance * max(1.0, abs(constraint.rhs), *(abs(term) for term in terms))
        low, high = total < constraint.rhs - slack, total > constraint.rhs + slack
        if (constraint.sense is not Sense.LE and low) or (constraint.sense is not Sense.GE and high):
            left = " + ".join(f"{value:g} {name}" for name, value in constraint.coefficients)
            return f"'{left} {constraint.sense} {constraint.rhs:g}' is broken: the left side is {total:.6g}"
    return None


def with_rounding(limit: float | None, tolerance: float = ROUNDING) -> float:
    """What costs may reach under a budget that a sum may overdraw by its rounding; infinite without a budget."""
    return np.inf if limit is None else limit + tolerance * max(1.0, limit)


def budget_violations(problem: RecourseProblem, moves: Iterable[Move], tolerance: float = ROUNDING) -> list[str]:
    """The budgets that moves overdraw, in words."""
    moves, budget, found = list(moves), problem.collective.budget, []
    total = sum(move.cost for move in moves)
    for move in moves:
        if move.cost > with_rounding(budget.each, tolerance):
            found.append(f"member {move.record} spends {move.cost:.6g}, more than {budget.each:g} for one member")
    if total > with_rounding(budget.total, tolerance):
        found.append(f"the members spend {total:.6g} together, more than {budget.total:g}")
    if budget.members is not None and len(moves) > budget.members:
        found.append(f"{len(moves)} members act, more than {budget.members}")
    return found
