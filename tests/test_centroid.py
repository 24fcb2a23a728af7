"""The nearest centroid's closed form against optimisation over every member's own move, and the counts on Iris."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import product

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_iris

from oar_opt.discovery import formulations
from oar_opt.evaluate import evaluate
from oar_opt.pipeline import solve
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
    LabelAction,
    LearnerSpec,
    Member,
    Norm,
    Query,
    Records,
    RecourseProblem,
    Sense,
    WithholdAction,
)
from oar_opt.result import Request, Status
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violation

ANY, UP, DOWN, FIXED = Direction.ANY, Direction.INCREASE, Direction.DECREASE, Direction.FIXED


def closed_form():
    return formulations()["centroid_closed_form"]


def random_problem(seed, norm, *, d=2, classes=2, directions=None, scales=None, bounded=False, weights=False):
    """Four records per class, of which two may move by up to 0.3 to 0.9."""
    draw = np.random.default_rng(seed)
    per_class, helpers = 4, 2
    y = np.repeat(np.arange(classes), per_class).astype(float)
    X = draw.normal(size=(len(y), d)) + 1.5 * draw.normal(size=(classes, d))[y.astype(int)]
    s = draw.choice([0.5, 1.0, 2.0], size=len(y)) if weights else np.ones(len(y))
    members = []
    for c in range(classes):
        for i in np.flatnonzero(y == c)[:helpers]:
            members.append(Member(int(i), (FeatureAction(Norm(norm), round(float(draw.uniform(0.3, 0.9)), 2)),)))
    if weights:
        s[members[0].record] = 0.0
    directions, scales = directions or (ANY,) * d, scales or (1.0,) * d
    low = X.min(axis=0) - 0.2 if bounded else [None] * d
    high = X.max(axis=0) + 0.2 if bounded else [None] * d
    features = tuple(
        Feature(f"x{j}", lower=low[j], upper=high[j], direction=directions[j], scale=scales[j]) for j in range(d)
    )
    return RecourseProblem(
        "centroid",
        Records(X, y, s),
        LearnerSpec("nearest_centroid"),
        Collective(tuple(members), cost=CostKind(norm)),
        (Query("q", tuple(X[-1] + draw.normal(size=d)), float(draw.integers(classes))),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b", "c")[:classes],
        features=features,
    )


# -- the oracle: member by member -------------------------------------------------------------------------------------


def allowed(problem, member):
    """The ends of a member's change of every feature that direction and bounds leave, ``(d,)`` each."""
    x, ends = problem.records.X[member.record], []
    for feature, value in zip(problem.features, x, strict=True):
        low = -math.inf if feature.lower is None else feature.lower - value
        high = math.inf if feature.upper is None else feature.upper - value
        match feature.direction:
            case Direction.FIXED:
                low = high = 0.0
            case Direction.INCREASE:
                low = 0.0
            case Direction.DECREASE:
                high = 0.0
        ends.append((low, high))
    return np.array(ends).T


def team(problem, c):
    return [m for m in problem.collective.members if problem.records.y[m.record] == c]


def offset(problem, c):
    """``q - mu_c`` before anyone acts, and every member's share of the class's weight."""
    y, s, X = problem.records.y, problem.records.s, problem.records.X
    total = s[y == c].sum()
    mu = (s[y == c] @ X[y == c]) / total
    return np.array(problem.queries[0].x) - mu, [s[m.record] / total for m in team(problem, c)]


def nearest(problem, c):
    """The least squared distance of the query to class ``c``'s centroid: a convex program over all members' moves."""
    a, shares = offset(problem, c)
    moves, rows = [], []
    for member in team(problem, c):
        action, delta = member.feature_actions[0], cp.Variable(problem.d)
        low, high = allowed(problem, member)
        order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: "inf"}[action.norm]
        rows.append(cp.norm(cp.multiply(1 / problem.scales, delta), order) <= action.radius)
        rows += [delta[j] >= low[j] for j in range(problem.d) if np.isfinite(low[j])]
        rows += [delta[j] <= high[j] for j in range(problem.d) if np.isfinite(high[j])]
        moves.append(delta)
    shift = sum((share * delta for share, delta in zip(shares, moves, strict=True)), np.zeros(problem.d))
    program = cp.Problem(cp.Minimize(cp.sum_squares(a - shift)), rows)
    return float(program.solve(solver=cp.CLARABEL))


def vertices(problem, member):
    """The extreme moves of a member in ``l1`` (no bound in reach) or ``linf``."""
    action, d = member.feature_actions[0], problem.d
    low, high = allowed(problem, member)
    reach = action.radius * problem.scales
    low, high = np.maximum(low, -reach), np.minimum(high, reach)
    if action.norm is Norm.LINF:
        return [np.array(corner) for corner in product(*zip(low, high, strict=True))]
    return [np.zeros(d), *(end[j] * np.eye(d)[j] for j in range(d) for end in (low, high))]


def farthest_vertex(problem, c):
    """The largest squared distance to class ``c``: convex in the moves, so the best corner of all members' sets."""
    a, shares = offset(problem, c)
    corners = product(*(vertices(problem, member) for member in team(problem, c)))
    return max(float(np.sum((a - np.array(shares) @ np.array(corner)) ** 2)) for corner in corners)


def farthest_search(problem, c, starts=8):
    """The same for ``l2`` by sequential quadratic programming from many starts, shortened into the balls."""
    a, shares = offset(problem, c)
    members, d = team(problem, c), problem.d
    radii = np.array([member.feature_actions[0].radius for member in members])
    draw = np.random.default_rng(0)

    def distance(z):
        return -float(np.sum((a - np.array(shares) @ z.reshape(-1, d)) ** 2))

    def room(z):
        return radii**2 - np.sum((z.reshape(-1, d) / problem.scales) ** 2, axis=1)

    def shortened(z):
        lengths = np.linalg.norm(z.reshape(-1, d) / problem.scales, axis=1)
        return (z.reshape(-1, d) * np.minimum(1.0, radii / np.maximum(lengths, 1e-12))[:, None]).ravel()

    box = np.hstack([allowed(problem, member) for member in members]).T
    best = -float(a @ a)
    for _ in range(starts):
        z = np.clip(draw.normal(size=len(box)), *box.T)
        ball = {"type": "ineq", "fun": room}
        found = minimize(distance, shortened(z), method="SLSQP", bounds=box, constraints=ball, options={"ftol": 1e-12})
        best = min(best, distance(shortened(np.clip(found.x, *box.T))))
    return -best


def oracle(problem):
    target = int(problem.queries[0].target)
    norm = problem.collective.members[0].feature_actions[0].norm
    away = farthest_search if norm is Norm.L2 else farthest_vertex
    others = [c for c in range(len(problem.classes)) if c != target]
    return min(away(problem, c) for c in others) - nearest(problem, target)


def assert_is_the_optimum(problem, abs_error=1e-6):
    assert closed_form().accepts(problem) is None
    claim = closed_form().build(problem).run(Request())
    assert claim.objective == claim.bound == pytest.approx(oracle(problem), abs=abs_error)
    assert not budget_violations(problem, claim.moves)
    for move in claim.moves:
        assert move_violation(problem, move) is None
    outcome = evaluate(problem, claim.moves)
    assert outcome.objective == pytest.approx(claim.objective, abs=1e-9)
    assert np.array(claim.parameters.mu) == pytest.approx(np.array(outcome.parameters.mu), abs=1e-9)


# -- the closed form is the optimum -----------------------------------------------------------------------------------

RULES = [(ANY, ANY), (UP, ANY), (UP, DOWN), (FIXED, ANY), (UP, UP), (FIXED, DOWN), (FIXED, FIXED)]


@pytest.mark.parametrize("directions", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_l2_with_directions(seed, directions):
    assert_is_the_optimum(random_problem(seed, "l2", directions=directions), 1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_l2_with_one_common_scale_weights_and_three_classes(seed):
    scales = (2.0, 2.0, 2.0)
    problem = random_problem(seed, "l2", d=3, classes=3, scales=scales, weights=True, directions=(ANY, UP, ANY))
    assert_is_the_optimum(problem, 1e-5)


def test_l2_with_another_scale_of_a_fixed_feature_only():
    assert_is_the_optimum(random_problem(3, "l2", d=3, scales=(7.0, 1.0, 1.0), directions=(FIXED, ANY, ANY)), 1e-5)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("directions", RULES)
@pytest.mark.parametrize("seed", range(2))
def test_linf_with_directions_scales_and_bounds(seed, directions, bounded):
    problem = random_problem(seed, "linf", directions=directions, scales=(1.0, 2.5), bounded=bounded)
    assert_is_the_optimum(problem)


@pytest.mark.parametrize("seed", range(3))
def test_linf_with_weights_and_three_classes(seed):
    assert_is_the_optimum(random_problem(seed, "linf", classes=3, bounded=True, weights=True, scales=(0.5, 1.0)))


@pytest.mark.parametrize("directions", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_l1_with_directions_and_scales(seed, directions):
    assert_is_the_optimum(random_problem(seed, "l1", directions=directions, scales=(1.0, 2.5)))


@pytest.mark.parametrize("seed", range(3))
def test_l1_with_weights_and_three_classes(seed):
    assert_is_the_optimum(random_problem(seed, "l1", d=3, classes=3, weights=True, scales=(0.5, 1.0, 2.0)))


@pytest.mark.parametrize("norm", list(Norm))
def test_a_query_on_its_own_centroid_stays_there_and_the_other_class_leaves(norm):
    """a_t = 0: nobody of the wanted class moves; a_c = 0: the other class moves anywhere by its full reach."""
    problem = random_problem(1, norm)
    mu = evaluate(problem, ()).parameters.mu
    for c in (0, 1):
        at = replace(problem, queries=(Query("q", mu[c], 0.0),))
        assert_is_the_optimum(at, 1e-5)


@pytest.mark.parametrize("norm", list(Norm))
def test_enough_reach_brings_the_wanted_centroid_onto_the_query_and_no_farther(norm):
    problem = random_problem(2, norm)
    huge = tuple(replace(m, actions=(FeatureAction(Norm(norm), 50.0),)) for m in problem.collective.members)
    target = int(problem.queries[0].target)
    problem = replace(problem, collective=replace(problem.collective, members=huge))
    claim = closed_form().build(problem).run(Request())
    assert claim.parameters.mu[target] == pytest.approx(problem.queries[0].x, abs=1e-9)


@pytest.mark.parametrize(
    ("norm", "cost", "each", "radius"),
    [("l2", "l2", 0.2, 0.2), ("l2", "sql2", 0.04, 0.2), ("l1", "l1", 0.2, 0.2), ("linf", "linf", 0.2, 0.2),
     ("l2", "count", 1.0, None), ("l2", "count", 0.5, 0.0)],
)  # fmt: skip
def test_a_budget_for_one_member_acts_as_a_radius(norm, cost, each, radius):
    problem = random_problem(4, norm)
    cap = math.inf if radius is None else radius
    members = tuple(
        replace(m, actions=(FeatureAction(Norm(norm), min(cap, m.feature_actions[0].radius)),))
        for m in problem.collective.members
    )
    same = replace(problem, collective=Collective(members, CostKind(cost)))
    budgeted = replace(problem, collective=replace(problem.collective, cost=CostKind(cost), budget=Budget(each=each)))
    assert closed_form().accepts(budgeted) is None
    claims = [closed_form().build(p).run(Request()) for p in (budgeted, same)]
    assert claims[0].objective == pytest.approx(claims[1].objective, abs=1e-12)
    assert not budget_violations(budgeted, claims[0].moves)
    assert all(move_violation(budgeted, move) is None for move in claims[0].moves)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_class_without_members_stays(norm):
    problem = random_problem(5, norm)
    only = tuple(m for m in problem.collective.members if problem.records.y[m.record] == 0)
    problem = replace(problem, collective=replace(problem.collective, members=only))
    claim = closed_form().build(problem).run(Request())
    assert claim.parameters.mu[1] == pytest.approx(evaluate(problem, ()).parameters.mu[1])
    assert {problem.records.y[move.record] for move in claim.moves} == {0.0}


@pytest.mark.parametrize("norm", list(Norm))
def test_solve_returns_the_closed_form_as_a_verified_optimum(norm):
    problem = random_problem(6, norm, scales=(2.0, 2.0), directions=(ANY, UP))
    result = solve(problem)
    assert result.solution.method.formulation == "centroid_closed_form"
    assert result.status is Status.OPTIMAL and result.verification.passed
    assert result.objective == pytest.approx(oracle(problem), abs=1e-5)


def test_a_fixed_feature_whose_value_lies_outside_its_bounds_does_not_spoil_the_answer():
    """No member can change it; either the formulation refuses, or the pipeline's answer is the proved optimum."""
    problem = random_problem(7, "l2", directions=(FIXED, ANY))
    problem = replace(problem, features=(replace(problem.features[0], upper=-100.0), problem.features[1]))
    if closed_form().accepts(problem) is None:
        assert solve(problem).status is Status.OPTIMAL


# -- where it applies -------------------------------------------------------------------------------------------------


def test_every_reason_to_refuse_is_given(make):
    base = random_problem(8, "l2")
    first, *rest = base.collective.members

    def with_member(member, **traits):
        return replace(base, collective=Collective((member, *rest), **traits))

    def with_collective(**traits):
        return replace(base, collective=replace(base.collective, **traits))

    def with_feature(**traits):
        return replace(base, features=(replace(base.features[0], **traits), base.features[1]))

    query = base.queries[0]
    required = (replace(query, required=0.1),)
    refused = {
        "no nearest centroid": make(0),
        "the goal is min_cost": replace(base, goal=GoalKind.MIN_COST, queries=required),
        "several queries": replace(base, queries=(query, replace(query, name="other"))),
        "guards": replace(base, guards=(replace(query, name="guard"),)),
        "max_loss_increase": replace(base, max_loss_increase=1.0),
        "budget in total": with_collective(budget=Budget(total=1.0)),
        "number of members": with_collective(budget=Budget(members=1)),
        "linear constraints": replace(base, constraints=(FeatureConstraint((("x0", 1.0),), Sense.LE, 1e3),)),
        "moves in steps": with_feature(step=0.1),
        "not continuously": with_feature(type=FeatureType.INTEGER),
        "finite options": with_member(replace(first, actions=(*first.actions, WithholdAction()))),
        "menu, labels": with_member(replace(first, actions=(*first.actions, LabelAction((0.0, 1.0))))),
        "2 feature actions": with_member(replace(first, actions=first.actions * 2)),
        "0 feature actions": with_member(Member(first.record)),
        "different norms": with_member(Member(first.record, (FeatureAction(Norm.L1, 0.5),))),
        "its radius in 'l2'": with_collective(cost=CostKind.L1, budget=Budget(each=1.0)),
        "ellipsoid": with_feature(scale=2.0),
        "outside the bounds": with_feature(upper=float(base.records.X[first.record, 0]) - 0.1),
        "can reach a bound": with_feature(upper=float(base.records.X[:, 0].max()) + 0.01),
    }
    for words, problem in refused.items():
        assert words in (closed_form().accepts(problem) or "accepted"), words
    assert closed_form().accepts(base) is None


# -- Iris -------------------------------------------------------------------------------------------------------------


X_IRIS, Y_IRIS = load_iris(return_X_y=True)
PAIRS = [(q, t) for q in range(150) for t in range(3) if t != Y_IRIS[q]]


@cache
def left_out(q):
    """Records, class sizes and distances of flower ``q`` to the three centroids of the others."""
    kept = np.arange(150) != q
    X, y = X_IRIS[kept], Y_IRIS[kept]
    distances = [float(np.linalg.norm(X_IRIS[q] - X[y == c].mean(axis=0))) for c in range(3)]
    return Records(X, y.astype(float), np.ones(149)), [int((y == c).sum()) for c in range(3)], distances


def iris_margin(q, t, radius, helpers=None):
    """The best margin of flower ``q`` for class ``t`` by the package; ``helpers`` per class, None for all."""
    records = left_out(q)[0]
    chosen = range(149) if helpers is None else np.concatenate(
        [np.flatnonzero(records.y == c)[: helpers[c]] for c in range(3)]
    )  # fmt: skip
    action = (FeatureAction(Norm.L2, radius),)
    problem = RecourseProblem(
        "iris",
        records,
        LearnerSpec("nearest_centroid"),
        Collective(tuple(Member(int(i), action) for i in chosen)),
        (Query("q", tuple(X_IRIS[q]), float(t)),),
        GoalKind.MAX_MARGIN,
        classes=("setosa", "versicolor", "virginica"),
    )
    assert closed_form().accepts(problem) is None
    return closed_form().build(problem).run(Request()).objective


def fewest_helpers(q, t, radius):
    """``min over m_t of m_t + sum_c m_c`` with the least ``m_c`` that puts ``c`` farther away than ``t``."""
    _, n, d = left_out(q)
    best = None
    for m_t in range(n[t] + 1):
        helpers, beyond = {t: m_t}, max(0.0, d[t] - radius * m_t / n[t])
        for c in (c for c in range(3) if c != t):
            helpers[c] = 0 if d[c] > beyond else math.floor((beyond - d[c]) * n[c] / radius) + 1
        if all(helpers[c] <= n[c] for c in range(3)) and (best is None or sum(helpers.values()) < sum(best.values())):
            best = helpers
    return best


def test_iris_leave_one_out_138_of_150_are_right():
    assert sum(int(np.argmin(left_out(q)[2])) == Y_IRIS[q] for q in range(150)) == 138


@pytest.mark.parametrize(("radius", "flipped", "by_few"), [(0.5, 44, 29), (1.0, 109, 46)])
def test_iris_pairs_that_a_collective_can_flip(radius, flipped, by_few):
    """Which of the 300 pairs of a flower and a class other than its own end up decided as that class.

    Raw centimetres; the flower is left out of the records; all 149 others are members and move within ``radius`` in
    l2; flipped means a margin above 0 after the optimal move. Pairs whose flower is decided as that class before anyone
    acts (12: the flowers that are classified wrongly) count, with 0 helpers. ``by_few``: at most 50 helpers.
    """
    helpers = {pair: fewest_helpers(*pair, radius) for pair in PAIRS}
    found = [pair for pair in PAIRS if helpers[pair] is not None]
    counts = [sum(helpers[pair].values()) for pair in found]
    assert len(found) == flipped
    assert counts.count(0) == 12 and sum(count <= 50 for count in counts) == by_few
    # The package agrees, on every seventh pair and on those that need the most helpers.
    last = sorted(found, key=lambda pair: -sum(helpers[pair].values()))[:5]
    for pair in {*PAIRS[::7], *last}:
        assert (iris_margin(*pair, radius) > 0) == (helpers[pair] is not None), pair


@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_iris_one_helper_fewer_than_the_fewest_is_not_enough(radius):
    """For pairs near 50 helpers, by the package: the fewest helpers flip, and no split of one fewer does."""
    near = {pair: helpers for pair in PAIRS if (helpers := fewest_helpers(*pair, radius)) is not None}
    sample = sorted(near, key=lambda pair: abs(sum(near[pair].values()) - 50))[:2]
    for q, t in sample:
        helpers = near[q, t]
        assert iris_margin(q, t, radius, helpers) > 0
        fewer, c = sum(helpers.values()) - 1, int(Y_IRIS[q])
        for m_t in range(max(0, fewer - left_out(q)[1][c]), min(fewer, left_out(q)[1][t]) + 1, 3):
            assert iris_margin(q, t, radius, {0: 0, 1: 0, 2: 0, t: m_t, c: fewer - m_t}) <= 0
