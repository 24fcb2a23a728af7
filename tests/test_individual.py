"""Individual recourse against closed forms, dense grids, enumeration and the rules themselves."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from oar_opt import individual
from oar_opt.certificate import Grade
from oar_opt.errors import UnsupportedError
from oar_opt.evaluate import evaluate_present
from oar_opt.individual import individual_recourse
from oar_opt.individual_duality import pieces_of
from oar_opt.parameters import CentroidParameters, LinearParameters
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
    Norm,
    Query,
    Records,
    RecourseProblem,
    Sense,
    Tolerances,
)
from oar_opt.result import Status
from oar_opt.rules import change_violation, domain_violation

NORMS, KINDS = tuple(Norm), tuple(CostKind)
DUAL = {Norm.L1: Norm.LINF, Norm.L2: Norm.L2, Norm.LINF: Norm.L1}
STRICT = Tolerances(feasibility=1e-9)


def with_model(monkeypatch, parameters, present=evaluate_present):
    """The present model is the one that is given, whatever the records say."""
    monkeypatch.setattr(
        individual, "evaluate_present", lambda problem: replace(present(problem), parameters=parameters)
    )


def subject(x, *, target=1.0, required=1.0, features=(), norm=Norm.L2, radius=1.0, cost=CostKind.L2, **more):
    """A ridge classifier with one member that may move by ``radius``, and one query."""
    d = len(x)
    made = RecourseProblem(
        "alone",
        Records(np.vstack([np.eye(d)[0], -np.eye(d)[0]]), np.array([1.0, -1.0]), np.ones(2)),
        LearnerSpec("ridge", alpha=1.0),
        Collective((Member(0, (FeatureAction(norm, radius),)),), cost),
        (Query("q", tuple(map(float, x)), target, required=required),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        features=tuple(features),
        tolerances=STRICT,
    )
    return replace(made, **more)


def centroids(points, x, *, target=0, required=0.5, **more):
    """A record of each class, which is its centroid, and a query that wants ``target``."""
    made = subject(x, required=required)
    return replace(
        made,
        records=Records(np.array(points, dtype=float), np.arange(len(points), dtype=float), np.ones(len(points))),
        learner=LearnerSpec("nearest_centroid"),
        classes=tuple("abcdef"[: len(points)]),
        queries=(Query("q", tuple(map(float, x)), float(target), required=required),),
        **more,
    )


def the_one(problem, **more):
    (found,) = individual_recourse(problem, **more)
    check(problem, found)
    return found


def check(problem, found):
    """Every value is that of its record, which obeys every rule; bounds are on their side."""
    query = next(q for q in problem.queries if q.name == found.query)
    parameters = individual.evaluate_present(problem).parameters
    before = np.array(query.x)

    def margin(x):
        return parameters.margin(replace(query, x=x))

    for x in (found.x, found.best_x):
        if x is not None and x != query.x:
            assert change_violation(problem, before, np.array(x)) is None
            assert domain_violation(problem, np.array(x)) is None
    assert found.margin_before == margin(query.x)
    if found.x is not None:
        scaled = (np.array(found.x) - before) / problem.scales
        assert margin(found.x) >= found.needed
        assert found.cost.value == (0.0 if found.x == query.x else problem.collective.cost.of(scaled))
        assert found.cost.bound <= found.cost.value
    if found.best_x is not None:
        scaled = (np.array(found.best_x) - before) / problem.scales
        assert found.best_margin.value == margin(found.best_x)
        assert found.best_margin.bound >= found.best_margin.value
        assert any(norm.of(scaled) <= radius + 1e-9 * max(1, radius) for norm, radius in found.radii)


# -- by hand and in closed form ---


@pytest.mark.parametrize("kind", KINDS)
def test_the_distance_to_a_hyperplane_is_measured_by_the_dual_norm(monkeypatch, kind):
    """f = 3 a - 4 b - 1 at 0 is -1, and 1 is wanted: 2 over the dual norm of (3, -4) with scales 1 and 2, (3, -8)."""
    with_model(monkeypatch, LinearParameters((3.0, -4.0), -1.0))
    features = (Feature("a"), Feature("b", scale=2.0))
    found = the_one(subject((0.0, 0.0), features=features, cost=kind))
    root = 2 / np.hypot(3, 8)
    expected = {"l1": 2 / 8, "l2": root, "sql2": root**2, "linf": 2 / 11, "count": 1.0}[kind]
    assert found.cost.value == pytest.approx(expected, rel=1e-7) and found.cost.status is Status.OPTIMAL
    assert found.cost.bound == pytest.approx(expected, rel=1e-7) and found.cost.grade is Grade.PROVED


@pytest.mark.parametrize("norm", NORMS)
def test_the_best_margin_within_a_ball_is_the_dual_norm(monkeypatch, norm):
    with_model(monkeypatch, LinearParameters((3.0, -4.0), -1.0))
    features = (Feature("a"), Feature("b", scale=2.0))
    found = the_one(subject((0.0, 0.0), features=features, norm=norm, radius=0.5)).best_margin
    expected = -1 + 0.5 * DUAL[norm].of(np.array([3.0, -8.0]))
    assert found.value == pytest.approx(expected, rel=1e-8) and found.bound == pytest.approx(expected, rel=1e-8)
    assert found.grade is Grade.PROVED and found.status is Status.OPTIMAL


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("norm", NORMS)
def test_distances_in_many_features_with_random_scales(monkeypatch, seed, norm):
    draw = np.random.default_rng(seed)
    w, scales, x = draw.normal(size=12), draw.uniform(0.01, 50, 12), 30 * draw.normal(size=12)
    with_model(monkeypatch, LinearParameters.of(w, 0.3))
    features = [Feature(f"f{j}", scale=float(scale)) for j, scale in enumerate(scales)]
    target = -float(np.sign(w @ x + 0.3))
    problem = subject(x, target=target, required=0.2, features=features, norm=norm, radius=0.1, cost=CostKind(norm))
    found = the_one(problem)
    steep = DUAL[norm].of(w * scales)
    assert found.cost.value == pytest.approx((found.needed - found.margin_before) / steep, rel=1e-7)
    assert found.best_margin.value == pytest.approx(found.margin_before + 0.1 * steep, rel=1e-7)
    assert found.cost.grade is found.best_margin.grade is Grade.PROVED


@pytest.mark.parametrize("norm", NORMS)
def test_a_model_that_hardly_depends_on_the_record(monkeypatch, norm):
    """Slopes of 1e-21 beside a value of 1: rounding of a learner that is constant."""
    with_model(monkeypatch, LinearParameters((1e-21, 0.0), 1.0))
    found = the_one(subject((0.5, 0.0), required=2.0, norm=norm)).best_margin
    assert (found.status, found.grade, found.value) == (Status.OPTIMAL, Grade.PROVED, 1.0)
    assert found.bound == pytest.approx(1.0, abs=1e-12)


def test_a_fixed_feature_leaves_the_work_to_the_other_one(monkeypatch):
    """f = 3 a - b - 1: with a fixed, b falls by 2, and within the radius 1 by 1."""
    with_model(monkeypatch, LinearParameters((3.0, -1.0), -1.0))
    features = (Feature("a", direction=Direction.FIXED), Feature("b", lower=-5.0))
    found = the_one(subject((0.0, 0.0), features=features))
    assert found.x == pytest.approx((0.0, -2.0), abs=1e-8) and found.best_x == pytest.approx((0.0, -1.0), abs=1e-8)
    assert found.helps_itself is False


def test_a_query_that_is_served_needs_no_change(monkeypatch):
    with_model(monkeypatch, LinearParameters((1.0,), 0.0))
    found = the_one(subject((2.0,)))
    assert (found.cost.value, found.cost.bound, found.x) == (0.0, 0.0, (2.0,))
    assert found.cost.grade is Grade.PROVED and found.helps_itself is True


@pytest.mark.parametrize("sense", [1.0, -1.0])
def test_regression_with_a_threshold_both_ways(monkeypatch, sense):
    """f = 2 a; at a = 1 it is 2, and 5 or more (-1 or less) with a margin of 1 takes 6 (-2), so a = 3 (-1)."""
    with_model(monkeypatch, LinearParameters((2.0,), 0.0))
    threshold = 5.0 if sense > 0 else -1.0
    problem = subject((1.0,), classes=None, queries=(Query("q", (1.0,), sense, threshold, required=1.0),))
    found = the_one(problem)
    assert found.margin_before == -3.0 and found.x == pytest.approx((1 + 2 * sense,), abs=1e-7)
    assert found.best_margin.value == pytest.approx(-1.0, abs=1e-8)


def test_centroids_of_three_classes_by_hand():
    """At (0, 2) between (0, 0), wanted, and (-1, 4), (1, 4): both distances are 1 + 4, the own one is 4, the margin 1.

    Moving along the second axis, m = 1 + (4 - b)^2 - b^2 = 17 - 8 b, so a margin of 5 takes b = 3 / 2.
    """
    found = the_one(centroids([(0, 0), (-1, 4), (1, 4)], (0, 2), required=5.0))
    assert found.margin_before == 1.0 and found.x == pytest.approx((0.0, 1.5), abs=1e-7)
    assert found.cost.value == pytest.approx(0.5, abs=1e-7) and found.cost.grade is Grade.PROVED
    assert found.best_x == pytest.approx((0.0, 1.0), abs=1e-7) and found.best_margin.value == pytest.approx(9.0)


def test_the_pieces_are_the_margin_exactly():
    draw = np.random.default_rng(0)
    mu = CentroidParameters.of(draw.normal(size=(4, 3)))
    query = Query("q", tuple(draw.normal(size=3)), 2.0)
    pieces = pieces_of(mu, query)
    for _ in range(20):
        delta = draw.normal(size=3)
        moved = replace(query, x=tuple(np.array(query.x) + delta))
        assert (pieces.base_vector + pieces.G @ delta).min() == pytest.approx(mu.margin(moved), abs=1e-12)
    line = pieces_of(LinearParameters((0.5, -2.0), 0.25), Query("q", (1.0, 3.0), -1.0, 1.0))
    assert line.base == (Fraction(25, 4),) and line.slopes == ((Fraction(-1, 2), Fraction(2)),)


# -- dense grids in two dimensions ---


def lattice(x, reach, count=241):
    side = np.linspace(-reach, reach, count)
    return np.array(x) + np.array(list(product(side, side)))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("rowed", [False, True])
def test_no_point_of_a_dense_grid_does_better(norm, rowed):
    """Three centroids, bounds, a direction and a row; the grid has a pitch of 1/60, the answers are within that."""
    features = (Feature("a", upper=0.6, scale=2.0), Feature("b", direction=Direction.DECREASE))
    rows = (FeatureConstraint((("a", 1.0), ("b", 2.0)), Sense.GE, -2.0),) if rowed else ()
    problem = centroids(
        [(1, -1), (-2, 1), (1, 3)],
        (0.1, 0.9),
        required=1.5,
        features=features,
        constraints=rows,
        collective=Collective((Member(0, (FeatureAction(norm, 0.7),)),), CostKind(norm)),
    )
    found = the_one(problem)
    points = lattice((0.1, 0.9), 2.0)
    inside = (points[:, 0] <= 0.6) & (points[:, 1] <= 0.9)
    points = points[inside & (points @ [1.0, 2.0] >= -2.0)] if rowed else points[inside]
    lengths = norm.of_rows((points - [0.1, 0.9]) / [2.0, 1.0])
    mu = individual.evaluate_present(problem).parameters
    far = np.stack([((points - np.array(center)) ** 2).sum(axis=1) for center in mu.mu])
    margins = far[1:].min(axis=0) - far[0]
    cheapest, highest = lengths[margins >= found.needed].min(), margins[lengths <= 0.7].max()
    assert found.cost.status is found.best_margin.status is Status.OPTIMAL
    assert found.cost.bound - 1e-9 <= cheapest <= found.cost.value + 0.03
    assert found.best_margin.bound + 1e-9 >= highest >= found.best_margin.value - 0.2
    assert found.cost.grade is found.best_margin.grade is Grade.PROVED


# -- steps, groups, enumeration ---


def steps_problem(seed, norm, *, many):
    """Features in steps, 0 and 1, a one-hot group, and a continuous one if there are to be ``many`` changes."""
    draw = np.random.default_rng(seed)
    features = [
        Feature("count", FeatureType.INTEGER, lower=0, upper=4, scale=2.0),
        Feature("half", step=0.5, lower=-1.0, upper=1.0),
        Feature("flag", FeatureType.BINARY),
        *(Feature(f"is{c}", FeatureType.CATEGORICAL, group="is") for c in range(3)),
    ]
    x = [2.0, 0.25, 1.0, 0.0, 1.0, 0.0]
    if many:
        features.append(Feature("amount", lower=-0.3, upper=0.3))
        x.append(0.0)
    w = draw.normal(size=len(x))
    problem = subject(
        x, target=-1.0 if w @ x > 0 else 1.0, features=features, norm=norm, radius=1.2, cost=CostKind(norm)
    )
    return problem, LinearParameters.of(w, 0.0)


def all_changed(problem):
    """Every record in steps that the rules allow; the continuous feature, where there is one, stays at 0."""
    x, width = np.array(problem.queries[0].x), problem.d - 6
    hot = [tuple(row) for row in np.eye(3)]
    for count, half, flag, one in product(range(5), np.arange(-0.75, 1, 0.5), (0.0, 1.0), hot):
        after = np.array([count, half, flag, *one, *[0.0] * width])
        assert change_violation(problem, x, after) is None and domain_violation(problem, after) is None
        yield after


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("seed", [1])
def test_steps_and_groups_against_enumeration(monkeypatch, norm, many, seed):
    """With a continuous feature ``f`` in [-0.3, 0.3] each record in steps needs so much of it, or can use so much."""
    problem, parameters = steps_problem(seed, norm, many=many)
    query = problem.queries[0]
    best = max(parameters.margin(replace(query, x=tuple(after))) for after in all_changed(problem))
    problem = replace(problem, queries=(replace(query, required=0.6 * best),))
    with_model(monkeypatch, parameters)
    found = the_one(problem)
    steep = abs(parameters.w[6]) if many else 0.0
    lengths, margins = [], []
    for after in all_changed(problem):
        scaled = (after - np.array(query.x)) / problem.scales
        margin = parameters.margin(replace(query, x=tuple(after)))
        lack = found.needed - margin
        if lack <= 0.3 * steep:
            lengths.append(_length(norm, scaled, max(0.0, lack) / steep if lack > 0 else 0.0))
        room = _room(norm, norm.of(scaled), 1.2)
        if room is not None:
            margins.append(margin + steep * min(0.3, room))
    assert found.cost.value == pytest.approx(min(lengths), rel=1e-6)
    assert found.best_margin.value == pytest.approx(max(margins), rel=1e-6)
    assert found.cost.status is found.best_margin.status is Status.OPTIMAL
    if not many:
        assert found.cost.grade is Grade.ENUMERATED


def _length(norm, scaled, last):
    return norm.of(np.append(scaled[:6], last))


def _room(norm, length, radius):
    """What a ball leaves for one more feature; None outside."""
    if length > radius + 1e-9:
        return None
    return {Norm.L1: radius - length, Norm.L2: np.sqrt(max(0, radius**2 - length**2)), Norm.LINF: radius}[norm]


@pytest.mark.parametrize("kind", [CostKind.L1, CostKind.L2, CostKind.LINF])
def test_steps_without_an_end(monkeypatch, kind):
    """f = a + b, a whole and b in steps of 3: 10 from (0, 0) takes (4, 6) in l1... all pairs up to 20 are tried."""
    with_model(monkeypatch, LinearParameters((1.0, 1.1), 0.0))
    features = (Feature("a", FeatureType.INTEGER), Feature("b", step=3.0, direction=Direction.INCREASE))
    found = the_one(subject((0.0, 0.0), required=10.0, features=features, cost=kind))
    pairs = np.array([(a, 3 * b) for a in range(-20, 21) for b in range(8)], dtype=float)
    reaching = pairs[pairs @ [1.0, 1.1] >= found.needed]
    assert found.cost.value == pytest.approx(kind.of_rows(reaching).min()) and found.cost.status is Status.OPTIMAL


@pytest.mark.parametrize("required", [2.9, 3.1])
def test_rows_may_end_what_bounds_do_not(monkeypatch, required):
    """a whole, b = 2 a and a + b <= 10: f = a reaches 3 at (3, 6) and no more."""
    with_model(monkeypatch, LinearParameters((1.0, 0.0), 0.0))
    features = (Feature("a", FeatureType.INTEGER), Feature("b", FeatureType.INTEGER))
    rows = (
        FeatureConstraint((("a", 2.0), ("b", -1.0)), Sense.EQ, 0.0),
        FeatureConstraint((("a", 1.0), ("b", 1.0)), Sense.LE, 10.0),
        FeatureConstraint((("a", 1.0),), Sense.GE, -2.0),
    )
    found = the_one(subject((0.0, 0.0), required=required, features=features, constraints=rows, cost=CostKind.L1))
    if required < 3:
        assert found.x == (3.0, 6.0) and found.cost.value == 9.0 and found.cost.status is Status.OPTIMAL
    else:
        assert found.cost.status is Status.INFEASIBLE and found.cost.grade is Grade.CLAIMED


def test_only_one_way_helps_and_a_row_ends_it(monkeypatch):
    """a whole and at most 1.5: f = a reaches 1 and not 1.4, though nothing ends it below."""
    with_model(monkeypatch, LinearParameters((1.0,), 0.0))
    rows = (FeatureConstraint((("a", -2.0),), Sense.GE, -3.0),)
    features = (Feature("a", FeatureType.INTEGER),)
    for required, status in ((1.0, Status.OPTIMAL), (1.4, Status.INFEASIBLE)):
        found = the_one(subject((-3.0,), required=required, features=features, constraints=rows))
        assert found.cost.status is status and found.cost.value == (4.0 if status is Status.OPTIMAL else None)


def test_a_need_on_the_grid_is_met_there_and_one_beyond_it_by_the_next_point(monkeypatch):
    """The steps to the far end are too many to list."""
    with_model(monkeypatch, LinearParameters((1.0, 0.0), 0.0))
    features = (Feature("a", step=0.1, lower=0.0, upper=2000.0), Feature("b"))
    for required, expected in ((0.3 + 1e-9, 0.3), (0.301, 0.4)):
        found = the_one(subject((0.0, 0.0), required=required, features=features))
        assert found.cost.value == pytest.approx(expected, rel=1e-9)
        assert found.cost.status is Status.OPTIMAL


# -- nothing helps ---


def test_all_features_fixed(monkeypatch):
    with_model(monkeypatch, LinearParameters((1.0, 1.0), 0.0))
    features = [Feature(name, direction=Direction.FIXED) for name in "ab"]
    found = the_one(subject((0.0, 0.0), features=features))
    assert found.cost.status is Status.INFEASIBLE and found.cost.grade is Grade.PROVED
    assert "no feature may change" in found.cost.reason
    assert found.best_margin.value == found.best_margin.bound == 0.0 and found.best_x == (0.0, 0.0)
    assert "staying" in found.best_margin.reason and found.best_margin.grade is Grade.PROVED


def test_bounds_may_leave_too_little(monkeypatch):
    with_model(monkeypatch, LinearParameters((1.0, 0.0), 0.0))
    features = (Feature("a", upper=0.9), Feature("b"))
    found = the_one(subject((0.0, 0.0), features=features))
    assert found.cost.status is Status.INFEASIBLE and found.cost.grade is Grade.PROVED and found.x is None
    assert "above 0.9" in found.cost.reason


def test_steps_may_leave_too_little_where_their_range_does_not(monkeypatch):
    """a + b with a in {0, 0.6} and b up to 0.3, or in steps of 0.6 up to 1: 1 is in the range and not in the steps."""
    with_model(monkeypatch, LinearParameters((1.0, 1.0), 0.0))
    features = (Feature("a", step=0.6, lower=0.0, upper=1.0), Feature("b", lower=0.0, upper=0.3))
    # The range ends at the last step, so one more feature tells the range from the steps.
    rows = (FeatureConstraint((("a", 1.0), ("b", 2.0)), Sense.LE, 0.9),)
    lone = the_one(subject((0.0, 0.0), required=0.8, features=features, constraints=rows))
    assert lone.cost.status is Status.INFEASIBLE
    three = (*features[:1], Feature("b", step=0.7, lower=0.0, upper=0.7), Feature("c"))
    rows = (FeatureConstraint((("a", 1.0), ("b", 1.0)), Sense.LE, 1.2),)
    found = the_one(replace(subject((0.0, 0.0), required=1.0), features=three[:2], constraints=rows))
    assert found.cost.status is Status.INFEASIBLE and found.cost.grade is Grade.ENUMERATED


def test_a_mixed_integer_program_without_an_answer(monkeypatch):
    """a + b = 1.1 within the range a + b <= 1.2 of steps {0, 0.6} and {0, 0.7}; c moves freely and helps nothing."""
    with_model(monkeypatch, LinearParameters((1.0, 1.0, 0.0), 0.0))
    features = (
        Feature("a", step=0.6, lower=0.0, upper=0.6),
        Feature("b", step=0.7, lower=0.0, upper=0.7),
        Feature("c"),
    )
    rows = (FeatureConstraint((("a", 1.0), ("b", 1.0)), Sense.LE, 1.2),)
    for kind in (CostKind.L1, CostKind.L2):
        problem = subject((0.0, 0.0, 0.0), required=1.1, features=features, constraints=rows, cost=kind)
        found = the_one(problem)
        assert found.cost.status is Status.INFEASIBLE and found.cost.grade is Grade.CLAIMED, kind


def test_no_features_action_leaves_no_radius(monkeypatch):
    with_model(monkeypatch, LinearParameters((1.0,), 0.0))
    found = the_one(replace(subject((0.0,)), collective=Collective((Member(0),))))
    assert found.best_margin is None and found.best_x is None and found.helps_itself is None
    assert any("no member has a features action" in note for note in found.notes)
    assert found.cost.value == pytest.approx(1.0)


def test_a_record_that_breaks_a_rule_is_named_and_must_be_mended(monkeypatch):
    """a = 2 is above its bound 1: a change must bring it there, though f = a + b falls by that."""
    with_model(monkeypatch, LinearParameters((1.0, 1.0), 0.0))
    features = (Feature("a", upper=1.0), Feature("b"))
    found = the_one(subject((2.0, -3.0), features=features, cost=CostKind.L1, norm=Norm.L1, radius=1.5))
    assert any("breaks a rule: 'a' is 2, above its upper bound 1" in note for note in found.notes)
    assert found.x == pytest.approx((1.0, 0.0), abs=1e-7) and found.cost.value == pytest.approx(4.0)
    # Within 1.5 the best change is to -1.5 all in all, and staying has -1.
    assert found.best_x == (2.0, -3.0) and found.best_margin.value == -1.0


def test_a_record_that_breaks_a_rule_that_nothing_mends_can_only_stay(monkeypatch):
    with_model(monkeypatch, LinearParameters((1.0, 1.0), 0.0))
    features = (Feature("a", upper=1.0, direction=Direction.FIXED), Feature("b", direction=Direction.FIXED))
    found = the_one(subject((2.0, -3.0), features=features))
    assert found.cost.status is Status.INFEASIBLE and "'a' is 2, above its upper bound 1" in found.cost.reason
    assert found.best_x == (2.0, -3.0)


# -- what else is said ---


def test_the_most_generous_radius_of_every_norm_is_tried(monkeypatch):
    """f = a + b: 1 in linf reaches 2, 1.5 in l1 reaches 1.5; the smaller linf action does not count."""
    with_model(monkeypatch, LinearParameters((1.0, 1.0), 0.0))
    wide, long, small = FeatureAction(Norm.LINF, 1.0), FeatureAction(Norm.L1, 1.5), FeatureAction(Norm.LINF, 0.2)
    members = (Member(0, (small, long)), Member(1, (wide,)))
    budget = Budget(each=0.1)
    found = the_one(replace(subject((0.0, 0.0)), collective=Collective(members, budget=budget)))
    assert dict(found.radii) == {Norm.LINF: 1.0, Norm.L1: 1.5}
    assert found.best_margin.value == pytest.approx(2.0) and found.best_margin.grade is Grade.PROVED
    assert any("largest radius" in note for note in found.notes) and any("budgets" in note for note in found.notes)


def test_without_a_required_margin_the_tolerance_above_0_is_needed(monkeypatch):
    with_model(monkeypatch, LinearParameters((1.0,), 0.0))
    found = the_one(subject((-1.0,), required=None, tolerances=Tolerances(feasibility=1e-6)))
    assert found.needed == 1e-6 and found.cost.value == pytest.approx(1 + 1e-6, abs=1e-9)
    assert any("no margin is required" in note for note in found.notes)


def test_the_model_is_the_one_before_anyone_acts_and_every_query_has_its_own():
    """Ridge on (1, +), (-1, -): w = 2 / (2 + 1); a margin of 1 takes a = 3 / 2, or -3 / 2 for the other decision."""
    problem = subject((0.0,))
    problem = replace(
        problem, queries=(Query("up", (0.0,), 1.0, required=1.0), Query("down", (0.0,), -1.0, required=1.0))
    )
    up, down = individual_recourse(problem)
    assert up.x == pytest.approx((1.5,), abs=1e-7) and down.x == pytest.approx((-1.5,), abs=1e-7)
    assert (up.query, down.query) == ("up", "down")


def test_an_undefined_model_is_unsupported(monkeypatch):
    monkeypatch.setattr(individual, "evaluate_present", lambda problem: None)
    with pytest.raises(UnsupportedError, match="no individual recourse"):
        individual_recourse(subject((0.0,)))


@pytest.mark.parametrize("kind", [CostKind.L1, CostKind.L2, CostKind.LINF])
def test_a_small_change_within_wide_bounds(monkeypatch, kind):
    """f = a + 2 b lacks 1e-3: the lengths 1e-3 over 2, the root of 5, and 3, with bounds far away."""
    with_model(monkeypatch, LinearParameters((1.0, 2.0), 0.0))
    features = (Feature("a", lower=-1e6, upper=1e6), Feature("b", upper=1e5))
    found = the_one(subject((0.0, 0.0), required=1e-3, features=features, cost=kind))
    steep = {"l1": 2.0, "l2": np.sqrt(5), "linf": 3.0}[kind]
    assert found.cost.value == pytest.approx(found.needed / steep, rel=1e-6)
    assert found.cost.bound == pytest.approx(found.needed / steep, rel=1e-6)


@pytest.mark.parametrize("kind", [CostKind.L1, CostKind.L2])
def test_no_time_leaves_bounds_that_hold(monkeypatch, kind):
    """What comes back in no time is true, be it little."""
    problem, parameters = steps_problem(0, Norm(kind.value), many=True)
    with_model(monkeypatch, parameters)
    query = replace(problem.queries[0], required=1.0)
    problem = replace(problem, queries=(query,))
    hasty, patient = the_one(problem, time_limit=1e-4), the_one(problem)
    assert patient.cost.status is Status.OPTIMAL
    assert hasty.cost.status is not Status.INFEASIBLE
    assert hasty.cost.bound is None or hasty.cost.bound <= patient.cost.value + 1e-9
    bound = hasty.best_margin.bound
    assert bound is None or bound >= patient.best_margin.value - 1e-9


def test_too_many_steps_leave_one_number_unknown(monkeypatch):
    with_model(monkeypatch, LinearParameters((1.0, 1.0), 0.0))
    features = (Feature("a", step=1e-5, lower=-1.0, upper=1.0), Feature("b"))
    found = the_one(subject((0.0, 0.0), features=features, radius=0.01))
    assert found.cost.status is Status.UNKNOWN and "'a' has more than" in found.cost.reason
    assert found.best_margin.value == pytest.approx(0.01 * np.sqrt(2), rel=1e-4)


def random_records(draw, problem, x, count=150):
    """Records near ``x`` that the rules allow, of random ones of which many are on grids and within groups."""
    group = [j for j, feature in enumerate(problem.features) if feature.group is not None]
    for _ in range(count):
        after = x + draw.normal(size=problem.d) * problem.scales * (draw.random(problem.d) < 0.6)
        for j, feature in enumerate(problem.features):
            if feature.is_fixed:
                after[j] = x[j]
            elif feature.step is not None:
                after[j] = x[j] + feature.step * round((after[j] - x[j]) / feature.step)
            elif feature.type is not FeatureType.CONTINUOUS:
                after[j] = round(after[j])
        if group:
            after[group] = np.eye(len(group))[int(draw.integers(len(group)))]
        if change_violation(problem, x, after) is None and domain_violation(problem, after) is None:
            yield after


def test_random_rules_keep_every_promise(random_rules):
    """No random change that the rules allow is better than a bound, or reaches what is said to be out of reach."""
    settled = tried = 0
    for seed in range(4):
        problem = random_rules(seed, kind="nearest_centroid" if seed % 3 == 0 else "ridge", more=3)
        # A record of a member has whole numbers where it must, unlike the random query.
        x = problem.records.X[2]
        (query,), draw = problem.queries, np.random.default_rng(seed)
        before = evaluate_present(problem).parameters.margin(replace(query, x=tuple(x)))
        problem = replace(problem, queries=(replace(query, x=tuple(x.tolist()), required=max(0.1, before + 0.2)),))
        found = the_one(problem)
        settled += found.cost.status in (Status.OPTIMAL, Status.INFEASIBLE)
        assert found.best_margin.status is Status.OPTIMAL, seed
        parameters = evaluate_present(problem).parameters
        for after in random_records(draw, problem, x):
            scaled, margin = (after - x) / problem.scales, parameters.margin(replace(query, x=tuple(after)))
            if margin >= found.needed:
                assert found.cost.status is not Status.INFEASIBLE, seed
                assert problem.collective.cost.of(scaled) >= found.cost.bound - 1e-9, seed
                tried += 1
            if any(norm.of(scaled) <= radius for norm, radius in found.radii):
                assert margin <= found.best_margin.bound + 1e-9, seed
                tried += 1
    assert settled == 4 and tried > 50
