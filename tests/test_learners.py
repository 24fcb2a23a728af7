"""Learners against independent oracles: normal equations, a conic solver, means by hand; losses against calculus."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cvxpy as cp
import numpy as np
import pytest

from oar_opt.discovery import learner_of, learners
from oar_opt.evaluate import UndefinedLearner, evaluate
from oar_opt.problem import (
    Collective,
    GoalKind,
    Intercept,
    LearnerSpec,
    Position,
    Prior,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.risk import SHORTEST, Jump, Line, segments

INTERCEPTS = ("none", "penalized", "free")
PRIOR = Prior((0.7, -0.3), 0.0)


def problem_of(X, y, s=None, *, kind="svm", intercept="free", strength=1.0, prior=None, classes=("no", "yes")):
    """A problem without members: only the learner and the records matter."""
    X = np.atleast_2d(np.asarray(X, dtype=float))
    if kind == "nearest_centroid":
        spec = LearnerSpec(kind)
    else:
        name = "alpha" if kind == "ridge" else "C"
        spec = LearnerSpec(kind, Intercept(intercept), prior=prior, **{name: strength})
    s = np.ones(len(X)) if s is None else s
    target = 1.0
    query = Query("q", (0.0,) * X.shape[1], target)
    return RecourseProblem(
        "learner",
        Records(X, y, s),
        spec,
        Collective(()),
        (query,),
        GoalKind.MAX_MARGIN,
        classes=classes,
        position=Position.OPTIMISTIC,
    )


def fit(problem):
    return learner_of(problem).fit(problem, problem.records)


def noisy_data(seed, n=20, d=2, weights=True):
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n, d))
    y = np.where(X[:, 0] + 0.7 * draw.normal(size=n) > 0, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    s = draw.choice([0.0, 0.5, 1.0, 3.0], size=n) if weights else np.ones(n)
    s[:2] = 1.0
    return X, y, s


# -- ridge ------------------------------------------------------------------------------------------------------------


def normal_equations(problem):
    """Ridge by one linear system in ``(w, b)``."""
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    spec, d = problem.learner, problem.d
    A = np.hstack([X, np.ones((len(X), 1))])
    penalty = spec.alpha * np.diag([1.0] * d + [1.0 if spec.intercept is Intercept.PENALIZED else 0.0])
    prior = np.zeros(d + 1)
    if spec.prior:
        prior[:d], prior[d] = spec.prior.w0, spec.prior.b0
    M, r = A.T @ np.diag(s) @ A + penalty, A.T @ (s * y) + penalty @ prior
    if spec.intercept is Intercept.NONE:
        return np.append(np.linalg.solve(M[:d, :d], r[:d]), 0.0)
    return np.linalg.solve(M, r)


@pytest.mark.parametrize("alpha", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("prior", [None, PRIOR, Prior((0.7, -0.3), 0.5)])
@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_ridge_solves_the_normal_equations(intercept, prior, alpha):
    if prior and prior.b0 and intercept != "penalized":
        prior = PRIOR
    X, y, s = noisy_data(1)
    problem = problem_of(X, y, s, kind="ridge", intercept=intercept, strength=alpha, prior=prior)
    found, expected = fit(problem), normal_equations(problem)
    assert found.parameters.vector() == pytest.approx(expected, abs=1e-9)
    assert np.linalg.norm(found.parameters.vector() - expected) <= found.error + 1e-12
    assert found.error < 1e-8 and found.intercepts is None


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_ridge_regression_and_duplicated_records_equal_doubled_weights(intercept):
    X, _, s = noisy_data(2)
    y = X[:, 0] ** 2 - 1.3
    traits = {"kind": "ridge", "intercept": intercept, "classes": None}
    twice = problem_of(np.vstack([X, X]), np.append(y, y), np.append(s, s), **traits)
    doubled = problem_of(X, y, 2 * s, **traits)
    assert fit(twice).parameters.vector() == pytest.approx(normal_equations(doubled), abs=1e-10)


def test_ridge_without_any_weight_is_its_prior():
    X, y, _ = noisy_data(3)
    problem = problem_of(X, y, np.zeros(len(y)), kind="ridge", intercept="penalized", prior=Prior((0.7, -0.3), 0.5))
    assert fit(problem).parameters.vector() == pytest.approx([0.7, -0.3, 0.5], abs=1e-12)


def test_ridge_with_one_record_and_collinear_features():
    problem = problem_of([[1.0, 1.0]], [1.0], kind="ridge", intercept="none")
    assert fit(problem).parameters.vector() == pytest.approx([1 / 3, 1 / 3, 0.0], abs=1e-12)


# -- support vector machine -------------------------------------------------------------------------------------------


def by_clarabel(problem):
    """``(w, b)`` of the primal quadratic program; a free ``b`` is whatever the solver takes."""
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    spec = problem.learner
    w, b, xi = cp.Variable(problem.d), cp.Variable(), cp.Variable(len(y))
    w0 = np.array(spec.prior.w0) if spec.prior else np.zeros(problem.d)
    b0 = spec.prior.b0 if spec.prior else 0.0
    penalty = cp.sum_squares(w - w0)
    rows = [xi >= 0, xi >= 1 - cp.multiply(y, X @ w + b)]
    if spec.intercept is Intercept.PENALIZED:
        penalty += cp.square(b - b0)
    elif spec.intercept is Intercept.NONE:
        rows.append(b == 0)
    goal = cp.Minimize(penalty / 2 + spec.C * (s @ xi))
    cp.Problem(goal, rows).solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    return np.append(w.value, b.value)


def primal_objective(problem, w, b):
    spec, records = problem.learner, problem.records
    w0 = np.array(spec.prior.w0) if spec.prior else np.zeros(problem.d)
    b0 = spec.prior.b0 if spec.prior else 0.0
    penalty = np.sum((w - w0) ** 2) + ((b - b0) ** 2 if spec.intercept is Intercept.PENALIZED else 0.0)
    return penalty / 2 + spec.C * records.s @ np.maximum(0, 1 - records.y * (records.X @ w + b))


def assert_is_the_svm(problem, scale=1.0):
    found, expected = fit(problem), by_clarabel(problem)
    w, b = np.array(found.parameters.w), found.parameters.b
    tolerance = 1e-6 * max(1.0, float(np.abs(expected).max())) * scale
    free = problem.learner.intercept is Intercept.FREE
    assert w == pytest.approx(expected[:-1], abs=tolerance)
    low, high = found.intercepts or (b, b)
    assert low <= b <= high
    if free:
        assert low - tolerance <= expected[-1] <= high + tolerance
    else:
        assert b == pytest.approx(expected[-1], abs=tolerance)
    assert np.linalg.norm(w - expected[:-1]) <= found.error + tolerance
    if problem.learner.C <= 1:
        assert found.error <= tolerance
    reached = primal_objective(problem, w, b)
    assert reached <= primal_objective(problem, expected[:-1], expected[-1]) + 1e-7 * max(1.0, reached)


@pytest.mark.parametrize("prior", [None, PRIOR])
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("seed", range(3))
def test_svm_with_weights_and_prior_is_the_optimum_of_its_quadratic_program(seed, intercept, prior):
    X, y, s = noisy_data(seed)
    assert_is_the_svm(problem_of(X, y, s, intercept=intercept, prior=prior))


@pytest.mark.parametrize("seed", range(2))
def test_svm_with_a_prior_on_a_penalized_intercept(seed):
    X, y, s = noisy_data(seed)
    assert_is_the_svm(problem_of(X, y, s, intercept="penalized", prior=Prior((0.7, -0.3), 1.5)))


@pytest.mark.parametrize("C", [1e-4, 1e-2, 1e2, 1e4])
@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_svm_with_tiny_and_huge_C(intercept, C):
    X, y, s = noisy_data(4, n=14)
    assert_is_the_svm(problem_of(X, y, s, intercept=intercept, strength=C))


@pytest.mark.parametrize("C", [1.0, 1e4])
@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_svm_on_separable_data(intercept, C):
    X = np.array([[2.0, 0.1], [3.0, -0.4], [2.5, 1.0], [-2.0, 0.3], [-2.2, -1.0], [-4.0, 0.0]])
    assert_is_the_svm(problem_of(X, [1.0, 1, 1, -1, -1, -1], intercept=intercept, strength=C))


@pytest.mark.parametrize("intercept", ["none", "penalized"])
@pytest.mark.parametrize("label", [-1.0, 1.0])
def test_svm_on_one_class_only(intercept, label):
    X = np.array([[1.0, 0.2], [0.4, -1.0], [2.0, 0.3]])
    assert_is_the_svm(problem_of(X, [label] * 3, intercept=intercept))


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_svm_on_duplicated_and_contradicting_records(intercept):
    X, y, s = noisy_data(6, n=8)
    X, y, s = np.vstack([X, X, X[:3]]), np.concatenate([y, y, -y[:3]]), np.concatenate([s, s, s[:3]])
    assert_is_the_svm(problem_of(X, y, s, intercept=intercept))


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_svm_on_collinear_features_of_unequal_scale(intercept):
    X, y, s = noisy_data(7, n=12, d=1)
    assert_is_the_svm(problem_of(np.hstack([X, 100 * X, 0 * X]), y, s, intercept=intercept), scale=10)


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_svm_with_more_features_than_records(intercept):
    X, y, s = noisy_data(8, n=6, d=10, weights=False)
    assert_is_the_svm(problem_of(X, y, s, intercept=intercept))


@pytest.mark.parametrize("intercept", ["none", "penalized"])
def test_svm_without_any_weight_is_its_prior(intercept):
    X, y, _ = noisy_data(9)
    problem = problem_of(X, y, np.zeros(len(y)), intercept=intercept, prior=PRIOR)
    assert fit(problem).parameters.vector() == pytest.approx([0.7, -0.3, 0.0], abs=1e-12)


@pytest.mark.parametrize("seed", [*range(20), 100, 371, 764, 808, 862, 1099, 1691, 2022, 2137, 2404])
def test_svm_on_few_records_that_all_lie_close_to_their_margins(seed):
    """Small C, one or two records of the second class: many records are at margin 1 within a small distance."""
    draw = np.random.default_rng(seed)
    n, d = int(draw.integers(3, 9)), int(draw.integers(1, 3))
    X, y = np.round(draw.uniform(0, 1, size=(n, d)), 2), np.ones(n)
    y[-1] = -1.0
    y[-2] = -1.0 if draw.random() < 0.4 else 1.0
    s = draw.choice([1.0, 2.0, 0.5], size=n)
    C = float(np.round(10 ** draw.uniform(-1.5, 0.5), 2))
    intercept = ("free", "penalized", "none")[seed % 3 if seed % 5 == 0 else 0]
    assert_is_the_svm(problem_of(X, y, s, intercept=intercept, strength=C))


def test_svm_whose_active_set_meets_more_kinks_than_parameters():
    """Five records on a line: ``w = -0.25 (0.73 - 0.69)``, the last two pull and the others do not."""
    X = [[0.29], [0.1], [0.67], [0.69], [0.73]]
    found = fit(problem_of(X, [1.0, 1, 1, 1, -1], np.array([1.0, 1, 2, 1, 1]), strength=0.25))
    assert found.parameters.w[0] == pytest.approx(-0.01, abs=1e-9)


def test_the_error_of_the_svm_bounds_its_distance_from_a_hand_made_optimum():
    """One record per class at +-1: for C >= 1/2 the optimum is w = 1 with both records at margin 1."""
    found = fit(problem_of([[1.0], [-1.0]], [1.0, -1.0], strength=3.0))
    assert abs(found.parameters.w[0] - 1.0) <= found.error + 1e-15 and found.error <= 1e-7
    assert found.parameters.b == pytest.approx(0.0, abs=1e-9) and found.intercepts is None


@pytest.mark.parametrize(("C", "w", "end"), [(0.05, 0.3, 0.4), (0.02, 0.12, 0.76), (0.1, 0.5, 0.0)])
def test_the_interval_of_tied_intercepts_is_the_known_one(C, w, end):
    """Records at +-1 and +-2: ``w = 6 C`` while every margin is below 1: for ``|b| <= 1 - 2 w``; C = 0.1 pins b."""
    found = fit(problem_of([[1.0], [2.0], [-1.0], [-2.0]], [1.0, 1, -1, -1], strength=C))
    assert found.parameters.w[0] == pytest.approx(w, abs=1e-9)
    if end:
        assert found.intercepts == pytest.approx((-end, end), abs=1e-8)
    else:
        assert found.intercepts is None and found.parameters.b == pytest.approx(0.0, abs=1e-8)


def test_a_tie_with_unequal_weights_of_the_classes_has_a_shifted_interval():
    """Two records of weight 1 against one of weight 2: pulls balance for every b between the nearest breaks."""
    X, y, s = [[1.0], [2.0], [-1.0]], [1.0, 1, -1], np.array([1.0, 1.0, 2.0])
    found = fit(problem_of(X, y, s, strength=0.05))
    w = 0.05 * (1 + 2 + 2)
    assert found.parameters.w[0] == pytest.approx(w, abs=1e-9)
    # all margins below 1: 2 w + b <= 1 and -(-w + b) <= 1
    assert found.intercepts == pytest.approx((w - 1, 1 - 2 * w), abs=1e-8)


def test_the_position_picks_the_end_of_the_interval():
    problem = problem_of([[1.0], [2.0], [-1.0], [-2.0]], [1.0, 1, -1, -1], strength=0.05)
    assert evaluate(problem, ()).objective == pytest.approx(0.4, abs=1e-8)
    assert evaluate(replace(problem, position=Position.PESSIMISTIC), ()).objective == pytest.approx(-0.4, abs=1e-8)
    unique = evaluate(replace(problem, position=Position.UNIQUE), ())
    assert not unique.broken and not unique.is_answer and "not unique" in (unique.tie or "")


# -- undefined learners -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [-1.0, 1.0])
def test_a_free_svm_is_undefined_without_weight_on_both_classes(empty):
    y = np.array([1.0, 1.0, -1.0])
    problem = problem_of([[1.0], [2.0], [-1.0]], y, (y != empty).astype(float))
    name = "no" if empty < 0 else "yes"
    assert f"class '{name}'" in learner_of(problem).undefined(problem, problem.records)
    with pytest.raises(UndefinedLearner):
        evaluate(problem, ())
    for intercept in ("none", "penalized"):
        other = problem_of([[1.0], [2.0], [-1.0]], y, (y != empty).astype(float), intercept=intercept)
        assert learner_of(other).undefined(other, other.records) is None


def test_a_free_ridge_is_undefined_only_without_any_weight():
    none, some = np.zeros(2), np.array([0.0, 1.0])
    for intercept in INTERCEPTS:
        problem = problem_of([[1.0], [2.0]], [1.0, -1.0], none, kind="ridge", intercept=intercept)
        assert (learner_of(problem).undefined(problem, problem.records) is not None) == (intercept == "free")
        problem = problem_of([[1.0], [2.0]], [1.0, -1.0], some, kind="ridge", intercept=intercept)
        assert learner_of(problem).undefined(problem, problem.records) is None


def test_a_nearest_centroid_is_undefined_where_a_class_has_no_weight():
    problem = problem_of([[1.0], [2.0]], [0.0, 1.0], kind="nearest_centroid")
    emptied = Records(problem.records.X, problem.records.y, np.array([1.0, 0.0]))
    assert "'yes'" in learner_of(problem).undefined(problem, emptied)
    assert learner_of(problem).undefined(problem, problem.records) is None


# -- nearest centroid -------------------------------------------------------------------------------------------------


CENTROID = dict(kind="nearest_centroid", classes=("a", "b", "c"))
POINTS = [[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [4.0, 4.0], [8.0, 1.0]]
LABELS = [0.0, 0.0, 1.0, 1.0, 2.0]


def test_centroids_by_hand():
    problem = problem_of(POINTS, LABELS, **CENTROID)
    assert fit(problem).parameters.mu == ((1.0, 0.0), (2.0, 4.0), (8.0, 1.0))


def test_weighted_centroids_by_hand():
    problem = problem_of(POINTS, LABELS, np.array([3.0, 1.0, 0.0, 0.5, 2.0]), **CENTROID)
    assert np.array(fit(problem).parameters.mu) == pytest.approx(np.array([[0.5, 0.0], [4.0, 4.0], [8.0, 1.0]]))


def test_the_margin_of_a_centroid_query_is_against_the_nearest_other_class():
    problem = problem_of(POINTS, LABELS, **CENTROID)
    parameters = fit(problem).parameters
    query = Query("q", (2.0, 1.0), 0.0)
    # squared distances 1 + 1, 0 + 9, 36 + 0
    assert parameters.margin(query) == pytest.approx(9 - 2)
    assert parameters.margin(replace(query, target=2.0)) == pytest.approx(2 - 36)
    assert parameters.decision(problem, query) == "a"


@pytest.mark.parametrize("weights", [None, [1.0, 2.0]])
def test_centroids_of_one_record_per_class(weights):
    s = None if weights is None else np.array(weights)
    problem = problem_of([[1.0, 5.0], [3.0, 5.0]], [0.0, 1.0], s, kind="nearest_centroid")
    assert fit(problem).parameters.mu == ((1.0, 5.0), (3.0, 5.0))


def test_centroids_of_identical_records():
    problem = problem_of([[1.0, 5.0]] * 4, [0.0, 1.0, 0.0, 1.0], kind="nearest_centroid")
    assert fit(problem).parameters.mu == ((1.0, 5.0), (1.0, 5.0))


# -- losses -----------------------------------------------------------------------------------------------------------


def losses():
    found = []
    for kind, learner in learners().items():
        spec = LearnerSpec(kind, C=1.0, alpha=1.0, delta=1.0, epsilon=0.1)
        risk = learner.risk(spec, 2)
        if risk is not None:
            found.append(pytest.param(risk.loss, id=kind))
    return found


def polylines():
    return [param for param in losses() if param.values[0].pieces(1.0) is not None]


GRID = np.linspace(-3.0, 3.0, 121)
Y = [-1.0, 1.0]


@pytest.mark.parametrize("y", Y)
@pytest.mark.parametrize("loss", losses())
def test_a_pull_is_a_subgradient(loss, y):
    ys = np.full(GRID.shape, y)
    value, pull = loss.value(ys, GRID), loss.pull(ys, GRID)
    lines = value[:, None] + pull[:, None] * (GRID[None, :] - GRID[:, None])
    assert (lines <= value[None, :] + 1e-12).all()
    low, high = loss.pull_range(y)
    assert (pull >= low - 1e-12).all() and (pull <= high + 1e-12).all()


@pytest.mark.parametrize("y", Y)
@pytest.mark.parametrize("loss", losses())
def test_the_conjugate_is_the_largest_product_minus_loss(loss, y):
    low, high = loss.pull_range(y)
    for g in np.linspace(max(low, -3.0), min(high, 3.0), 13):
        wide = np.linspace(-20, 20, 40_001)
        largest = float((g * wide - loss.value(np.full(wide.shape, y), wide)).max())
        assert float(loss.conjugate(np.array([y]), np.array([g]))[0]) == pytest.approx(largest, abs=1e-6)


@pytest.mark.parametrize("y", Y)
@pytest.mark.parametrize("loss", losses())
def test_the_conjugate_is_infinite_beyond_the_pulls(loss, y):
    low, high = loss.pull_range(y)
    for g in (low - 0.1, high + 0.1):
        if np.isfinite(g):
            assert np.isinf(loss.conjugate(np.array([y]), np.array([g]))[0])


@pytest.mark.parametrize("y", Y)
@pytest.mark.parametrize("loss", losses())
def test_fenchel_young_holds_with_equality_exactly_at_the_pull(loss, y):
    ys = np.full(GRID.shape, y)
    value, pull = loss.value(ys, GRID), loss.pull(ys, GRID)
    assert value + loss.conjugate(ys, pull) == pytest.approx(GRID * pull, abs=1e-9)
    for g in np.linspace(max(loss.pull_range(y)[0], -3), min(loss.pull_range(y)[1], 3), 7):
        assert (value + loss.conjugate(ys, np.full(GRID.shape, g)) >= GRID * g - 1e-9).all()


@pytest.mark.parametrize("y", Y)
@pytest.mark.parametrize("loss", losses())
def test_pieces_are_the_derivative_of_the_value(loss, y):
    h = 1e-6
    for piece in loss.pieces(y) or ():
        if isinstance(piece, Jump):
            ends = [
                float((loss.value(np.array([y]), np.array([f])) - loss.value(np.array([y]), np.array([f - h])))[0] / h)
                for f in (piece.f, piece.f + h)
            ]
            assert ends == pytest.approx([piece.g_low, piece.g_high], abs=1e-5)
            continue
        low, high = max(piece.f_low, -5.0), min(piece.f_high, 5.0)
        inner = np.linspace(low + 1e-3, high - 1e-3, 9)
        ys = np.full(inner.shape, y)
        slope = (loss.value(ys, inner + h) - loss.value(ys, inner - h)) / (2 * h)
        assert slope == pytest.approx(piece.slope * inner + piece.offset, abs=1e-6)


@pytest.mark.parametrize("y", Y)
@pytest.mark.parametrize("loss", polylines())
def test_pieces_join_into_one_monotone_curve_over_the_whole_line(loss, y):
    pieces = loss.pieces(y)
    ends = []
    for piece in pieces:
        if isinstance(piece, Line):
            left, right = max(piece.f_low, -1e3), min(piece.f_high, 1e3)
            ends.append(((left, piece.slope * left + piece.offset), (right, piece.slope * right + piece.offset)))
        else:
            ends.append(((piece.f, piece.g_low), (piece.f, piece.g_high)))
    assert pieces[0].f_low == -np.inf and pieces[-1].f_high == np.inf
    for (_, end), (start, _) in pairwise(ends):
        assert end == pytest.approx(start)
    for start, end in ends:
        assert end[0] >= start[0] and end[1] >= start[1]


@pytest.mark.parametrize("y", Y)
@pytest.mark.parametrize("loss", losses())
def test_the_loss_minus_its_curvature_is_convex_and_kinks_are_the_jumps(loss, y):
    ys = np.full(GRID.shape, y)
    rest = loss.value(ys, GRID) - loss.curvature() / 2 * GRID**2
    assert (np.diff(rest, 2) >= -1e-9).all()
    jumps = [piece.f for piece in loss.pieces(y) or () if isinstance(piece, Jump)]
    if not jumps:
        assert np.isnan(loss.kinks(np.array([y]), np.array([y]))).all()
    for jump in jumps:
        assert loss.kinks(np.array([y]), np.array([jump + 1e-3]))[0] == jump


@pytest.mark.parametrize("interval", [(-2, 2), (1, 2), (-2, 1), (1, 1), (1.5, 2.5), (-2, 0.5), (-1, -1)])
@pytest.mark.parametrize("y", Y)
@pytest.mark.parametrize("loss", polylines())
def test_segments_cover_exactly_the_graph_over_the_interval(loss, y, interval):
    low, high = interval
    found = segments(loss.pieces(y), low, high, 2.0)
    left, right = min(s.f_low for s in found), max(s.f_high for s in found)
    if high - low > SHORTEST:
        assert (left, right) == (low, high)
    else:
        assert left <= low and high <= right
    inner = np.linspace(low, high, 15)
    pulls = 2.0 * loss.pull(np.full(inner.shape, y), inner)
    for f, g in zip(inner, pulls, strict=True):

        def holds(s, f=f, g=g):
            if not s.f_low - 1e-12 <= f <= s.f_high + 1e-12:
                return False
            if s.f_high == s.f_low:
                return min(s.g_low, s.g_high) - 1e-9 <= g <= max(s.g_low, s.g_high) + 1e-9
            share = (f - s.f_low) / (s.f_high - s.f_low)
            return abs(g - s.g_low - share * (s.g_high - s.g_low)) <= 1e-9

        assert any(holds(s) for s in found)


@pytest.mark.parametrize("kind", ["ridge", "svm"])
@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_the_risk_is_smallest_at_the_re_trained_parameters(kind, intercept):
    X, y, s = noisy_data(11)
    problem = problem_of(X, y, s, kind=kind, intercept=intercept, prior=PRIOR)
    risk = learner_of(problem).risk(problem.learner, problem.d)
    p = fit(problem).parameters
    theta = risk.join(np.array(p.w), p.b)
    least = risk.objective(theta, risk.extend(X), y, s)
    for shift in 0.01 * np.random.default_rng(0).normal(size=(50, risk.p)):
        assert risk.objective(theta + shift, risk.extend(X), y, s) >= least - 1e-9


def test_training_losses_by_hand():
    X, y, s = np.array([[1.0], [-1.0]]), np.array([1.0, -1.0]), np.array([1.0, 2.0])
    svm = problem_of(X, y, s, strength=0.5)
    flat = fit(svm).parameters.__class__((0.5,), 0.25)
    # f = 0.75 and -0.25: hinges 0.25 and 0.75
    assert learner_of(svm).training_loss(svm, svm.records, flat) == pytest.approx(0.5 * (0.25 + 2 * 0.75))
    ridge = problem_of(X, y, s, kind="ridge")
    assert learner_of(ridge).training_loss(ridge, ridge.records, flat) == pytest.approx(0.25**2 + 2 * 0.75**2)
    centroid = problem_of([[0.0], [2.0], [5.0]], [0.0, 0.0, 1.0], kind="nearest_centroid")
    mu = fit(centroid).parameters
    assert learner_of(centroid).training_loss(centroid, centroid.records, mu) == pytest.approx(2.0)
