"""What a linear function gains on change sets: against a conic solver, and many sets at once as one by one."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from oar_opt.change_arrays import ChangeArrays, ball_gain, continuous_sets
from oar_opt.changes import change_sets
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    GoalKind,
    LearnerSpec,
    Member,
    Norm,
    Query,
    Records,
    RecourseProblem,
)

INF = np.inf
M, D = 3, 4


def arrays(cost, lower=None, upper=None, R1=INF, R2=INF, m=M, d=D):
    return ChangeArrays(
        members=np.arange(m),
        records=np.arange(m),
        scales=np.ones(d),
        free=np.ones(d, dtype=bool),
        cost=cost,
        lower=lower,
        upper=upper,
        R1=np.full(m, float(R1)),
        R2=np.full(m, float(R2)),
        charges=np.zeros(m),
    )


def random_box(draw, m=M, d=D):
    """Ends around 0; the second feature may only increase, so that one end is 0."""
    lower, upper = -draw.uniform(0.2, 1.0, (m, d)), draw.uniform(0.2, 1.0, (m, d))
    lower[:, 1] = 0.0
    return lower, upper


def conic_gain(sets, i, g, kappa):
    """``max g'e - kappa c(e)`` over the set ``i`` by Clarabel."""
    e = cp.Variable(len(g))
    cost = {
        CostKind.L1: cp.norm1(e),
        CostKind.L2: cp.norm2(e),
        CostKind.SQL2: cp.sum_squares(e),
        CostKind.LINF: cp.norm_inf(e),
        CostKind.COUNT: 0,
    }[sets.cost]
    lower, upper = sets.box()
    rules = [e >= lower[i], e <= upper[i]]
    rules += [cp.norm1(e) <= sets.R1[i]] if np.isfinite(sets.R1[i]) else []
    rules += [cp.norm2(e) <= sets.R2[i]] if np.isfinite(sets.R2[i]) else []
    return cp.Problem(cp.Maximize(g @ e - kappa * cost), rules).solve(solver="CLARABEL")


def allowed(sets, e):
    """By how much changes break the worst rule of their sets."""
    lower, upper = sets.box()
    worst = np.maximum(lower - e, e - upper).max()
    return max(worst, (np.abs(e).sum(axis=1) - sets.R1).max(), (np.linalg.norm(e, axis=1) - sets.R2).max())


# The costs with every kind of radius that goes with them; prices that swallow some slopes and none.
CASES = [
    (CostKind.COUNT, 0.7, INF, INF),
    (CostKind.COUNT, 0.0, 0.9, INF),
    (CostKind.COUNT, 0.0, 0.9, 0.6),
    (CostKind.L1, 0.6, INF, INF),
    (CostKind.L1, 0.3, 0.8, INF),
    (CostKind.L1, 0.3, 0.8, 0.6),
    (CostKind.L2, 1.2, INF, INF),
    (CostKind.L2, 0.5, INF, 0.7),
    (CostKind.L2, 0.4, 0.9, INF),
    (CostKind.L2, 9.0, 0.9, 0.7),
    (CostKind.SQL2, 1.0, INF, INF),
    (CostKind.SQL2, 0.4, INF, 0.5),
    (CostKind.SQL2, 0.6, 0.8, 0.7),
    (CostKind.LINF, 1.5, INF, INF),
    (CostKind.LINF, 0.2, INF, INF),
]


@pytest.mark.parametrize(("cost", "kappa", "R1", "R2"), CASES)
def test_the_gain_on_boxes_is_that_of_a_conic_solver(cost, kappa, R1, R2):
    draw = np.random.default_rng(1)
    sets = arrays(cost, *random_box(draw), R1, R2)
    g = draw.normal(size=(M, D))
    g[0, 2] = 0.0
    found = sets.gain(g, kappa)
    for i in range(M):
        best = conic_gain(sets, i, g[i], kappa)
        assert found.bound[i] >= best - 1e-7
        assert found.bound[i] == pytest.approx(best, abs=1e-6)
        assert found.value[i] == pytest.approx(best, abs=1e-6)
    assert allowed(sets, found.e) <= 1e-9
    assert found.value == pytest.approx((g * found.e).sum(axis=1) - kappa * sets.costs(found.e), abs=1e-12)


@pytest.mark.parametrize(
    ("cost", "kappa"), [(CostKind.COUNT, 1.0), (CostKind.L2, 0.7), (CostKind.SQL2, 0.9), (CostKind.SQL2, 0.0)]
)
def test_balls_have_the_gain_of_a_conic_solver_and_of_boxes_that_do_not_cut(cost, kappa):
    draw = np.random.default_rng(2)
    g = draw.normal(size=(M, D)) * np.array([[0.1], [1.0], [3.0]])
    balls = arrays(cost, R2=0.8)
    assert balls.are_balls
    found = balls.gain(g, kappa)
    wide = replace(balls, lower=np.full((M, D), -5.0), upper=np.full((M, D), 5.0))
    assert not wide.are_balls and wide.without_needless_boxes().are_balls
    boxed = wide.gain(g, kappa)
    for i in range(M):
        best = conic_gain(balls, i, g[i], kappa)
        for one in (found, boxed):
            assert one.bound[i] >= best - 1e-7 and one.bound[i] == pytest.approx(best, abs=1e-6)
            assert one.value[i] == pytest.approx(best, abs=1e-6)
    assert found.e == pytest.approx(boxed.e, abs=1e-6)


def test_equal_slopes_share_an_l1_radius():
    sets = arrays(CostKind.L2, -np.ones((1, 2)), np.ones((1, 2)), R1=0.5, m=1, d=2)
    found = sets.gain(np.array([[2.0, 2.0]]), 0.0)
    assert found.value == pytest.approx([1.0]) and found.bound == pytest.approx([1.0])
    assert np.abs(found.e).sum() == pytest.approx(0.5)


def test_without_slopes_nothing_is_gained():
    for cost in CostKind:
        gain = arrays(cost, *random_box(np.random.default_rng(0))).gain(np.zeros((M, D)), 0.5)
        assert gain.bound == pytest.approx(np.zeros(M), abs=1e-12)
        assert gain.value == pytest.approx(np.zeros(M), abs=1e-12)


def test_the_best_length_along_a_slope():
    radius = np.array([1.0, 1.0, 1.0])
    step, value = ball_gain(CostKind.SQL2, radius, np.array([0.0, 1.0, 9.0]), 2.0)
    assert step == pytest.approx([0.0, 0.25, 1.0]) and value == pytest.approx([0.0, 0.125, 7.0])
    step, value = ball_gain(CostKind.L2, radius, np.array([0.0, 1.0, 9.0]), 2.0)
    assert step == pytest.approx([0.0, 0.0, 1.0]) and value == pytest.approx([0.0, 0.0, 7.0])


@pytest.mark.parametrize("cost", list(CostKind))
def test_a_cap_on_the_cost_is_kept_and_used(cost):
    draw = np.random.default_rng(3)
    sets = arrays(cost, -np.ones((M, D)), np.ones((M, D)), R2=1.5)
    g = 1.0 + draw.random((M, D))
    costs = sets.capped(0.25).costs(sets.capped(0.25).gain(g, 0.0).e)
    assert costs == pytest.approx(np.full(M, 0.0 if cost is CostKind.COUNT else 0.25), abs=1e-9)


def test_a_box_without_l2_radius_may_not_be_dropped():
    boxed = arrays(CostKind.L2, -np.ones((M, D)), np.ones((M, D)))
    assert boxed.without_needless_boxes() is boxed
    cut = arrays(CostKind.L2, -np.ones((M, D)), np.ones((M, D)), R2=1.01)
    assert cut.without_needless_boxes() is cut
    summed = arrays(CostKind.L2, -np.ones((M, D)), np.ones((M, D)), R1=0.5, R2=0.5)
    assert summed.without_needless_boxes() is summed


def test_joined_groups_stand_in_the_order_of_their_members():
    balls = replace(arrays(CostKind.L2, R2=0.5), members=np.array([4, 1, 2]), charges=np.array([0.4, 0.1, 0.2]))
    boxes = replace(arrays(CostKind.L2, -np.ones((M, D)), np.full((M, D), 0.3), R1=0.7), members=np.array([0, 3, 1]))
    whole = ChangeArrays.joined([balls, boxes])
    assert whole.members.tolist() == [0, 1, 1, 2, 3, 4]
    assert whole.charges == pytest.approx([0.0, 0.1, 0.0, 0.2, 0.0, 0.4])
    g = np.random.default_rng(4).normal(size=(6, D))
    parts = [balls.gain(g[[5, 1, 3]], 0.1).value, boxes.gain(g[[0, 4, 2]], 0.1).value]
    assert whole.gain(g, 0.1).value == pytest.approx(
        [parts[1][0], parts[0][1], parts[1][2], parts[0][2], parts[1][1], parts[0][0]]
    )


# -- of problems ---


def problem_with(action, features, cost=CostKind.L2, budget=None, n=8, seed=0):
    draw = np.random.default_rng(seed)
    X, s = draw.uniform(-1.5, 1.5, (n, len(features))), np.ones(n)
    s[2] = 0.0
    X[3, 0], X[4, 0] = 2.0, 2.0 - 1e-12
    return RecourseProblem(
        "changes",
        Records(X, np.where(np.arange(n) % 2, 1.0, -1.0), s),
        LearnerSpec("ridge", alpha=1.0),
        Collective(tuple(Member(i, (action,)) for i in range(n)), cost, budget or Budget()),
        (Query("q", (1.0,) * len(features), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        features=tuple(features),
    )


PLAIN = (Feature("a"), Feature("b", scale=2.0), Feature("c"))
RULES = (
    Feature("a", lower=-2.0, upper=2.0),
    Feature("b", scale=0.5, direction=Direction.INCREASE, upper=1.6),
    Feature("c", direction=Direction.DECREASE),
    Feature("d", direction=Direction.FIXED, lower=-2.0),
)


@pytest.mark.parametrize(
    ("action", "features", "cost", "budget"),
    [
        (FeatureAction(Norm.L2, 0.7), PLAIN, CostKind.L2, Budget()),
        (FeatureAction(Norm.L2, 0.7, 0.2), PLAIN, CostKind.SQL2, Budget(each=0.5)),
        (FeatureAction(Norm.L2, 0.7), RULES, CostKind.L1, Budget(each=0.5, total=9.0)),
        (FeatureAction(Norm.L1, 0.9, 0.1), RULES, CostKind.L2, Budget(total=0.6)),
        (FeatureAction(Norm.LINF, 0.4), RULES, CostKind.COUNT, Budget(each=1.0)),
        (FeatureAction(Norm.LINF, 0.4), RULES, CostKind.LINF, Budget(each=0.3)),
    ],
)
def test_many_members_at_once_have_the_sets_of_each_of_them(action, features, cost, budget):
    problem = problem_with(action, features, cost, budget)
    everyone = np.arange(problem.n)
    (many,) = continuous_sets(problem, everyone, everyone, action)
    singles = [(i, one) for i, m in enumerate(problem.collective.members) for one in change_sets(problem, m)]
    free = np.array([not feature.is_fixed for feature in features])
    one_by_one = ChangeArrays.of(singles, problem.scales, free, cost)
    assert 2 not in many.records and many.members.tolist() == one_by_one.members.tolist()
    assert many.records.tolist() == one_by_one.records.tolist()
    for name in ("R1", "R2", "charges"):
        assert getattr(many, name) == pytest.approx(getattr(one_by_one, name))
    for ours, theirs in zip(many.box(), one_by_one.box(), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)
    assert (many.lower is None) == (one_by_one.lower is None)


@pytest.mark.parametrize(
    ("action", "budget"),
    [
        (FeatureAction(Norm.L2, 0.0), Budget()),
        (FeatureAction(Norm.L2, 1.0, 2.0), Budget(total=1.0)),
        (FeatureAction(Norm.L2, 1.0), Budget(members=0)),
    ],
)
def test_who_may_not_move_has_no_set(action, budget):
    problem = problem_with(action, PLAIN, budget=budget)
    assert continuous_sets(problem, np.arange(8), np.arange(8), action) == ()


def test_members_without_room_have_no_set():
    features = (Feature("a", direction=Direction.INCREASE, upper=2.0), Feature("b", direction=Direction.FIXED))
    action = FeatureAction(Norm.LINF, 0.5)
    (many,) = continuous_sets(problem_with(action, features), np.arange(8), np.arange(8), action)
    assert many.records.tolist() == [0, 1, 5, 6, 7]


def test_a_slope_against_a_closed_end_does_not_loosen_the_bound():
    """The first feature cannot go where it pays; the cost swallows what the second one pays."""
    sets = arrays(CostKind.L2, np.array([[-1.0, -1.0]]), np.array([[0.0, 1.0]]), R2=0.6, m=1, d=2)
    found = sets.gain(np.array([[5.0, 0.3]]), 0.4)
    assert found.value == pytest.approx([0.0]) and found.bound == pytest.approx([0.0], abs=1e-12)
