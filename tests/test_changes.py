"""Change sets against the rules themselves, which know nothing of them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from oar_opt.changes import FEW_POINTS, change_sets, listed_options
from oar_opt.errors import UnsupportedError
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    FeatureConstraint,
    FeatureType,
    GoalKind,
    LearnerSpec,
    Member,
    Move,
    Norm,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
    Sense,
    Tolerances,
)
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violation

SEEDS = range(100)
STRICT, WIDE = 1e-9, 1e-5


def problem_of(x, features, actions, *, cost=CostKind.L2, budget=None, constraints=(), s=1.0):
    """One member with the record ``x`` beside two of each class."""
    d = len(x)
    X = np.vstack([x, np.eye(d)[0], -np.eye(d)[0]])
    return RecourseProblem(
        "one-member",
        Records(X, np.array([1.0, 1.0, -1.0]), np.array([s, 1.0, 1.0])),
        LearnerSpec("ridge", alpha=1.0),
        Collective((Member(0, tuple(actions)),), cost, budget or Budget()),
        (Query("q", (1.0,) * d, 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        features=tuple(features),
        constraints=tuple(constraints),
    )


def line(x=0.0, *, radius=1.0, charge=0.0, norm=Norm.L2, cost=CostKind.L2, budget=None, s=1.0, **rules):
    """The same with one feature."""
    return problem_of(
        [x], [Feature("a", **rules)], [FeatureAction(norm, radius, charge)], cost=cost, budget=budget, s=s
    )


def the_set(problem):
    (one,) = change_sets(problem, problem.collective.members[0])
    return one


def choices(problem):
    return [option.x for option in listed_options(problem, problem.collective.members[0])]


def with_tolerance(problem, tolerance):
    return replace(problem, tolerances=Tolerances(feasibility=tolerance))


def is_allowed(problem, record, x):
    """By the rules alone: the change as a move, at the cost that the rules give it, within the budgets."""
    (action,) = next(m for m in problem.collective.members if m.record == record).feature_actions
    scaled = (np.array(x) - problem.records.X[record]) / problem.scales
    cost = action.charge + problem.collective.cost.of(scaled)
    move = Move(record, tuple(x), float(problem.records.y[record]), float(problem.records.s[record]), cost)
    over = budget_violations(problem, [move], problem.tolerances.feasibility)
    return not over and move_violation(problem, move) is None


def random_changes(draw, problem, record, radius, count):
    """Near and beyond what is allowed: many on grids, within groups, along single features."""
    scales, x = problem.scales, problem.records.X[record]
    for _ in range(count):
        delta = draw.uniform(-1.2, 1.2, problem.d) * radius * scales * draw.choice([0.1, 0.5, 1.0])
        delta *= draw.random(problem.d) < draw.choice([0.3, 0.7, 1.0])
        if draw.random() < 0.8:
            for j, feature in enumerate(problem.features):
                if feature.is_fixed:
                    delta[j] = 0.0
                if feature.step is not None:
                    delta[j] = feature.step * round(delta[j] / feature.step)
                elif feature.type is not FeatureType.CONTINUOUS:
                    delta[j] = round(x[j] + delta[j]) - x[j]
                if feature.direction is Direction.INCREASE:
                    delta[j] = abs(delta[j])
                if feature.direction is Direction.DECREASE:
                    delta[j] = -abs(delta[j])
            group = [j for j, feature in enumerate(problem.features) if feature.group is not None]
            if group:
                delta[group] = np.eye(len(group))[int(draw.integers(len(group)))] - x[group]
        yield delta


def test_a_change_is_in_a_set_if_and_only_if_the_rules_allow_it(random_rules):
    """For sets with room, for menus, and where there is neither."""
    inside = outside = 0
    for seed in SEEDS:
        problem, draw = random_rules(seed, more=3), np.random.default_rng(seed)
        strict, wide = with_tolerance(problem, STRICT), with_tolerance(problem, WIDE)
        for member in problem.collective.members:
            sets, listed = change_sets(problem, member), [option.x for option in listed_options(problem, member)]
            radius = member.feature_actions[0].radius
            for delta in random_changes(draw, problem, member.record, radius, 14):
                x = problem.records.X[member.record] + delta
                said = is_allowed(strict, member.record, x)
                if said != is_allowed(wide, member.record, x) or not delta.any():
                    continue
                in_sets = any(one.violation(delta) <= 1e-8 for one in sets)
                in_menu = any(np.allclose(x, other, rtol=0, atol=1e-8) for other in listed)
                assert (in_sets or in_menu) == said, (seed, member.record, delta)
                inside, outside = inside + said, outside + (not said)
    assert inside > 100 and outside > 500


def test_points_of_sets_become_moves_that_the_rules_allow(random_rules):
    """Also after the move has been set on bounds and grids nearby; its cost is the set's."""
    tried = 0
    for seed in SEEDS:
        problem, draw = random_rules(seed, more=3), np.random.default_rng(seed)
        for member in problem.collective.members:
            radius = member.feature_actions[0].radius
            for one in change_sets(problem, member):
                for delta in random_changes(draw, problem, member.record, radius, 14):
                    if one.violation(delta) > 1e-10:
                        continue
                    shaken = delta + 1e-11 * draw.normal(size=one.d)
                    move = one.move(shaken)
                    if move is None:
                        assert np.abs(delta).max() <= 1e-10
                        continue
                    tried += 1
                    assert move_violation(problem, move) is None, (seed, delta)
                    assert not budget_violations(problem, [move])
                    assert move.cost == pytest.approx(one.cost(delta), abs=1e-8)
    assert tried > 80


def test_menus_hold_every_change_that_the_rules_allow(random_rules):
    """Against all combinations of values in reach, in steps finer than any rule's."""
    found = 0
    for seed in range(160):
        problem = random_rules(seed, more=2, discrete=True)
        strict = with_tolerance(problem, STRICT)
        for member in problem.collective.members[:1]:
            if change_sets(problem, member):
                continue
            i, radius = member.record, member.feature_actions[0].radius
            x = problem.records.X[i]
            values = [
                reachable(feature, float(value), radius) for feature, value in zip(problem.features, x, strict=True)
            ]
            every = [point for point in product(*values) if point != tuple(x)]
            if len(every) > 400:
                continue
            allowed = {point for point in every if is_allowed(strict, i, point)}
            listed = [option.x for option in listed_options(problem, member)]
            assert len(listed) == len(allowed), seed
            for point in allowed:
                assert any(np.allclose(point, other, rtol=0, atol=1e-9) for other in listed), (seed, point)
            found += len(allowed)
    assert found > 60


def reachable(feature, x, radius):
    """Values within the radius that could be of a feature that moves in steps, the present one among them."""
    reach, values = radius * feature.scale + 1e-9, {x}
    step = feature.step or 1.0
    values |= {x + step * k for k in range(-20, 21)} | {float(k) for k in range(-12, 13)}
    return sorted(value for value in values if abs(value - x) <= reach)


# -- one rule at a time ---


@pytest.mark.parametrize("kind", list(CostKind))
def test_budgets_are_balls(kind):
    """What 0.49 for one member leaves after a charge of 0.2 is a ball in the cost's own norm."""
    one_and_a_half = Feature("a", scale=1.5)
    action = FeatureAction(Norm.LINF, 1.0, 0.2)
    budget = Budget(each=0.45 if kind is not CostKind.COUNT else 1.2)
    problem = problem_of([0.0, 0.0], [one_and_a_half, Feature("b")], [action], cost=kind, budget=budget)
    one = the_set(problem)
    corner = {CostKind.L1: 0.125, CostKind.L2: 0.25 / math.sqrt(2), CostKind.SQL2: 0.5 / math.sqrt(2)}
    edge = np.array([1.5, 1.0]) * corner.get(kind, 0.25 if kind is CostKind.LINF else 1.0)
    assert one.violation(edge) <= 1e-15
    assert one.violation(1.01 * edge) > 1e-4
    assert one.cost(edge) == pytest.approx(budget.each)


@pytest.mark.parametrize(
    "problem",
    [
        line(radius=0.0),
        line(lower=1.5, upper=2.0),
        line(x=1.0, direction=Direction.FIXED, radius=5.0),
        line(x=3.0, direction=Direction.FIXED, upper=2.0, radius=5.0),
        line(x=3.0, direction=Direction.INCREASE, upper=2.0, radius=5.0),
        line(x=0.5, type=FeatureType.INTEGER, direction=Direction.FIXED),
        line(x=0.5, type=FeatureType.INTEGER, radius=0.4),
        line(type=FeatureType.BINARY, radius=0.9),
        line(step=2.0, radius=1.9),
        line(budget=Budget(each=0.0)),
        line(budget=Budget(total=0.0)),
        line(budget=Budget(members=0)),
        line(charge=0.5, budget=Budget(each=0.4)),
        line(cost=CostKind.COUNT, budget=Budget(each=0.5)),
        line(s=0.0),
    ],
)
def test_where_no_change_is_left_there_is_neither_set_nor_menu(problem):
    member = problem.collective.members[0]
    assert not change_sets(problem, member)
    assert not listed_options(problem, member)
    assert problem.is_menu_problem
    assert [option.kind for option in problem.options(member)] == [OptionKind.STAY]


def test_a_record_outside_its_own_bounds_must_come_inside_or_stay():
    one = the_set(line(x=3.0, radius=2.0, upper=2.0))
    assert (one.lower, one.upper) == (-2.0, -1.0)
    assert one.violation(np.zeros(1)) == 1.0


def test_a_range_of_one_point_is_a_menu_of_one_change():
    """From 3 within 1 to at most 2: exactly 2."""
    assert choices(line(x=3.0, radius=1.0, upper=2.0)) == [(2.0,)]
    assert choices(line(x=0.5, type=FeatureType.INTEGER, radius=0.5)) == [(0.0,), (1.0,)]


def test_what_only_rounding_puts_outside_may_stay():
    one = the_set(line(x=0.1 + 0.2, upper=0.3))
    assert one.upper[0] == 0.0
    assert one.violation(np.array([-0.5])) == 0.0


def test_steps_count_from_the_record_and_whole_numbers_from_0():
    moved = np.ravel(choices(line(x=0.3, step=0.5, radius=1.0)))
    assert moved == pytest.approx([-0.7, -0.2, 0.8, 1.3])
    assert choices(line(x=0.25, type=FeatureType.INTEGER, radius=1.0)) == [(0.0,), (1.0,)]
    # Multiples of 0.5 from 0.5 that are whole numbers.
    assert choices(line(x=0.5, type=FeatureType.INTEGER, step=0.5, radius=1.0)) == [(0.0,), (1.0,)]


def test_groups_with_a_fixed_entry_leave_the_others_their_rest():
    """A fixed 1 leaves no other entry; a fixed 0 leaves two to choose from."""
    free = [Feature(f"is{c}", FeatureType.CATEGORICAL, group="is") for c in range(3)]
    fixed = [replace(free[0], direction=Direction.FIXED), *free[1:]]
    action = [FeatureAction(Norm.LINF, 1.0)]
    assert choices(problem_of([1.0, 0.0, 0.0], fixed, action)) == []
    assert choices(problem_of([0.0, 1.0, 0.0], fixed, action)) == [(0.0, 0.0, 1.0)]
    assert sorted(choices(problem_of([0.0, 1.0, 0.0], free, action))) == [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0)]


@pytest.mark.parametrize("size", [1.0, 1e4, 1e7])
def test_constraints_hold_on_the_changed_record_whatever_its_size(size):
    """``late_30 >= late_60`` on whole numbers, the equality of both, and the rounding of large records."""
    late = [Feature(f"late_{days}", FeatureType.INTEGER) for days in (30, 60)]
    record, action = [size * 3.0 + 1, size * 3.0], [FeatureAction(Norm.LINF, 1.0)]
    row = (("late_30", 1.0), ("late_60", -1.0))
    ordered = choices(problem_of(record, late, action, constraints=[FeatureConstraint(row, Sense.GE, 0.0)]))
    assert len(ordered) == 7 and all(a >= b for a, b in ordered)
    equal = choices(problem_of(record, late, action, constraints=[FeatureConstraint(row, Sense.EQ, 0.0)]))
    assert sorted(a - record[0] for a, _ in equal) == [-1.0, 0.0]


@pytest.mark.parametrize("size", [1.0, 1e6, 1e8])
def test_a_ratio_held_fixed_is_held_whatever_the_records_size(size):
    """``a - 0.1 b = 0`` with a step of 0.1 against one of 1, where the left side is off by rounding alone."""
    features = [Feature("a", step=0.1), Feature("b", step=1.0)]
    row = FeatureConstraint((("a", 1.0), ("b", -0.1)), Sense.EQ, 0.0)
    found = choices(problem_of([0.7 * size, 7.0 * size], features, [FeatureAction(Norm.LINF, 1.0)], constraints=[row]))
    assert len(found) == 2


def test_rows_that_leave_nothing_make_no_set():
    """The sum of both features would have to grow by 5, and they reach 1 each."""
    features, action = [Feature("a"), Feature("b")], [FeatureAction(Norm.LINF, 1.0)]
    row = FeatureConstraint((("a", 1.0), ("b", 1.0)), Sense.GE, 5.0)
    problem = problem_of([0.0, 0.0], features, action, constraints=[row])
    assert not change_sets(problem, problem.collective.members[0])
    assert problem.is_menu_problem


def test_a_charge_is_part_of_every_changes_cost():
    problem = line(charge=0.3, cost=CostKind.L1)
    move = the_set(problem).move(np.array([0.5]))
    assert move is not None and move.cost == pytest.approx(0.8)
    assert move_violation(problem, move) is None
    assert move_violation(problem, replace(move, cost=0.5)) is not None


def test_a_change_of_nothing_is_no_move():
    one = the_set(line(x=2.0))
    assert one.move(np.zeros(1)) is None
    assert one.move(np.array([1e-13])) is None


def test_many_steps_are_a_set_and_few_a_menu():
    """Two features with 2 k + 1 values each."""
    for k, is_set in ((15, False), (16, True)):
        features = [Feature(name, FeatureType.INTEGER) for name in "ab"]
        problem = problem_of([0.0, 0.0], features, [FeatureAction(Norm.LINF, float(k))])
        assert bool(change_sets(problem, problem.collective.members[0])) is is_set
        assert len(choices(problem)) == (0 if is_set else (2 * k + 1) ** 2 - 1)
        assert ((2 * k + 1) ** 2 > FEW_POINTS) is is_set


def test_too_many_values_are_refused_with_a_way_out():
    with pytest.raises(UnsupportedError, match="closer bounds or a smaller radius"):
        change_sets(line(type=FeatureType.INTEGER, radius=1e5), Member(0, (FeatureAction(Norm.L2, 1e5),)))
