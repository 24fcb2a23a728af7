"""Logistic regression: lines around its curve, re-training against exact arithmetic, menus under enumeration."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flint import arb, arb_mat, ctx

from formulations.learners.logistic import LogisticLoss
from oar_opt.discovery import learner_of
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.pipeline import solve
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
from oar_opt.result import Status
from oar_opt.training import training_of

LOSS = LogisticLoss()
INTERVALS = [
    (-3.0, 3.0),
    (-1e4, 1e4),
    (0.0, 5.0),
    (-5.0, 0.0),
    (-4.0, 0.5),
    (-0.5, 4.0),
    (-0.1, 30.0),
    (2.0, 2.0),
    (-2.0, -2.0),
    (0.0, 0.0),
    (1.0, 1.0 + 1e-9),
    (-1e-9, 1e-9),
    (-900.0, -800.0),
    (35.0, 60.0),
    (-1e-3, 2e-3),
]


def graph(y, low, high):
    f = np.unique(np.concatenate([np.linspace(low, high, 2001), np.clip(np.linspace(-12, 12, 2001), low, high)]))
    return f, LOSS.pull(np.full(f.shape, y), f)


# -- the curve ---


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_lines_of_the_hull_bound_the_graph(y, interval):
    f, g = graph(y, *interval)
    above, below = LOSS.hull(y, *interval, upper=True), LOSS.hull(y, *interval, upper=False)
    assert above and below
    for slope, offset in above:
        assert (slope * f + offset >= g).all()
    for slope, offset in below:
        assert (slope * f + offset <= g).all()


@pytest.mark.parametrize("seed", range(200))
def test_lines_of_the_hull_bound_the_graph_over_random_intervals(seed):
    draw = np.random.default_rng(seed)
    low, high = np.sort(draw.normal(size=2) * 10 ** draw.uniform(-4, 3))
    f, g = graph(1.0, low, high)
    assert all((slope * f + offset >= g).all() for slope, offset in LOSS.hull(1.0, low, high, upper=True))
    assert all((slope * f + offset <= g).all() for slope, offset in LOSS.hull(1.0, low, high, upper=False))


def concave_envelope(f, g):
    """Of points sorted by ``f``, at each of them."""
    chain: list[int] = []
    for k in range(len(f)):
        while len(chain) >= 2:
            a, b = chain[-2:]
            if (f[b] - f[a]) * (g[k] - g[a]) < (g[b] - g[a]) * (f[k] - f[a]):
                break
            chain.pop()
        chain.append(k)
    return np.interp(f, f[chain], g[chain])


@pytest.mark.parametrize("interval", [(-3.0, 3.0), (-10.0, 10.0), (0.0, 5.0), (-5.0, 0.0), (-4.0, 0.5), (-0.1, 30.0)])
@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_the_hull_is_tight(y, interval):
    """No point of the lines' polygon is more than 0.02 from the convex hull (pulls range over 1)."""
    f = np.linspace(*interval, 2001)
    g = LOSS.pull(np.full(f.shape, y), f)
    low, high = LOSS.pulls_over(y, *interval)
    above = np.minimum(high, np.min([m * f + c for m, c in LOSS.hull(y, *interval, upper=True)], axis=0))
    below = np.maximum(low, np.max([m * f + c for m, c in LOSS.hull(y, *interval, upper=False)], axis=0))
    assert (above - concave_envelope(f, g)).max() <= 0.02
    assert (-below - concave_envelope(f, -g)).max() <= 0.02


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_tangents_touch_and_support_loss_and_conjugate(y, interval):
    f, g = graph(y, *interval)
    ys = np.full(f.shape, y)
    points = LOSS.tangent_points(y, *interval)
    assert points == sorted(points) and len(points) <= 12
    losses, conjugates = [], []
    for f0, g0 in points:
        assert g0 == LOSS.pull(np.array([y]), np.array([f0]))[0]
        at = float(LOSS.value(np.array([y]), np.array([f0]))[0])
        losses.append(at + g0 * (f - f0))
        conjugates.append(f0 * g - at)
    slack = 1e-13 * (1 + np.abs(f))
    gap, dual_gap = LOSS.value(ys, f) - np.max(losses, axis=0), LOSS.conjugate(ys, g) - np.max(conjugates, axis=0)
    assert (gap >= -slack).all() and (dual_gap >= -1e-12).all()
    assert gap.max() <= 0.02 and dual_gap.max() <= 0.02


@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_value_and_pull_are_exact_far_out(y):
    far = np.array([800.0, -800.0]) * y
    assert LOSS.value(np.full(2, y), far) == pytest.approx([0.0, 800.0])
    assert LOSS.pull(np.full(2, y), far) == pytest.approx([0.0, -y])
    assert LOSS.pull(np.array([y]), np.array([40.0 * y]))[0] == pytest.approx(-y * math.exp(-40), rel=1e-12)


# -- re-training ---


def problem_of(X, y, s, intercept, C=1.0, prior=None):
    X = np.asarray(X, dtype=float)
    spec = LearnerSpec("logistic", Intercept(intercept), C=C, prior=prior)
    query = Query("q", (0.0,) * X.shape[1], 1.0)
    return RecourseProblem(
        "logistic", Records(X, y, s), spec, Collective(()), (query,), GoalKind.MAX_MARGIN, classes=("no", "yes")
    )


def digits(problem, start):
    """The optimum to 60 digits, by Newton's method in ball arithmetic from a point close to it."""
    risk = learner_of(problem).risk(problem.learner, problem.d)
    task = training_of(risk, problem.records)
    p, xhat = risk.p, [[arb(float(v)) for v in row] for row in task.xhat]
    theta, origin = [arb(float(v)) for v in start], [arb(v) for v in risk.theta0]
    lam = [arb(risk.lam * float(rho)) for rho in risk.penalty]
    before, ctx.prec = ctx.prec, 300
    try:
        for _ in range(40):
            gradient = [lam[j] * (theta[j] - origin[j]) for j in range(p)]
            hessian = [[lam[j] if j == k else arb(0) for k in range(p)] for j in range(p)]
            for x, y, a in zip(xhat, task.y, task.a, strict=True):
                f = sum((x[j] * theta[j] for j in range(p)), arb(0))
                u = 1 / (1 + (arb(float(y)) * f).exp())
                for j in range(p):
                    gradient[j] -= arb(float(y)) * arb(float(a)) * u * x[j]
                    for k in range(p):
                        hessian[j][k] += arb(float(a)) * u * (1 - u) * x[j] * x[k]
            step = arb_mat(hessian).solve(arb_mat([[v] for v in gradient]))
            theta = [(theta[j] - step[j, 0]).mid() for j in range(p)]
            if max(abs(float(step[j, 0])) for j in range(p)) < 1e-60:
                break
        else:
            raise AssertionError("the oracle does not converge")
        return theta, lambda point: float(
            sum(((theta[j] - arb(float(point[j]))) ** 2 for j in range(p)), arb(0)).sqrt()
        )
    finally:
        ctx.prec = before


def parameters_of(problem):
    found = learner_of(problem).fit(problem, problem.records)
    theta = np.array([*found.parameters.w, found.parameters.b])
    return found, theta[:-1] if problem.learner.intercept is Intercept.NONE else theta


def random_case(seed):
    draw = np.random.default_rng(seed)
    n, d = int(draw.integers(2, 25)), int(draw.integers(1, 5))
    X = draw.normal(size=(n, d)) * 10 ** draw.uniform(-2, 2, size=d) + draw.normal(size=d) * 10 ** draw.uniform(-2, 1.5)
    if seed % 7 == 0:
        X = np.hstack([X, 3 * X[:, :1]])
    if seed % 5 == 0:
        X = np.vstack([X, X[:3]])
    y = np.where(draw.random(len(X)) < 0.5, 1.0, -1.0)
    if seed % 3 == 0:
        y = np.where(X[:, 0] > np.median(X[:, 0]), 1.0, -1.0)
    s = draw.choice([0.0, 0.5, 1.0, 3.0], size=len(X))
    y[:2], s[:2] = (1.0, -1.0), 1.0
    intercept = tuple(Intercept)[seed % 3]
    b0 = 0.4 if intercept is Intercept.PENALIZED else 0.0
    prior = Prior(tuple((draw.normal(size=X.shape[1]) * 10 ** draw.uniform(-1, 1.5)).tolist()), b0)
    return problem_of(X, y, s, intercept, 10 ** draw.uniform(-3, 3), prior if draw.random() < 0.4 else None)


@pytest.mark.parametrize("seed", range(60))
def test_the_error_bounds_the_distance_from_the_optimum_in_exact_arithmetic(seed):
    problem = random_case(seed)
    found, theta = parameters_of(problem)
    assert found.error <= 1e-6 * (1 + np.abs(theta).max())
    _, distance = digits(problem, theta)
    assert distance(theta) <= found.error


@pytest.mark.parametrize("shift", [1e-12, 1e-8, 1e-4, 1e-2, 0.1])
@pytest.mark.parametrize("intercept", tuple(Intercept))
def test_the_error_holds_at_any_point_and_not_only_at_what_training_returns(intercept, shift):
    """Moved off the optimum, the proved bound stays above the distance, and close to it while that is small."""
    draw = np.random.default_rng(3)
    X = draw.normal(size=(20, 2))
    y = np.where(X[:, 0] + draw.normal(size=20) > 0, 1.0, -1.0)
    problem = problem_of(X, y, np.ones(20), intercept, 2.0)
    _, theta = parameters_of(problem)
    _, distance = digits(problem, theta)
    task = training_of(learner_of(problem).risk(problem.learner, 2), problem.records)
    for _ in range(20):
        direction = draw.normal(size=len(theta))
        moved = theta + shift * direction / np.linalg.norm(direction)
        error = task.error(moved)
        assert distance(moved) <= error
        if shift <= 1e-2:
            assert error <= 20 * shift + 1e-14


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("free", [True, False])
def test_re_training_agrees_with_scikit_learn(free, C):
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(7)
    X, s = draw.normal(size=(40, 3)), draw.choice([0.5, 1.0, 2.0], size=40)
    y = np.where(X[:, 0] - 0.3 + draw.normal(size=40) > 0, 1.0, -1.0)
    found, _ = parameters_of(problem_of(X, y, s, "free" if free else "none", C))
    model = LogisticRegression(C=C, fit_intercept=free, tol=1e-10, solver="newton-cholesky").fit(X, y, sample_weight=s)
    assert found.parameters.w == pytest.approx(model.coef_[0], abs=1e-6)
    assert found.parameters.b == pytest.approx(float(np.ravel(model.intercept_)[0]), abs=1e-6)
    assert "scikit-learn" in found.backend


def test_one_record_by_hand():
    """``w = C sigma(-w)``: for C = 4 ln 3 the optimum is ln 3, where sigma(-w) = 1/4."""
    found, theta = parameters_of(problem_of([[1.0]], [1.0], np.ones(1), "none", 4 * math.log(3)))
    assert theta == pytest.approx([math.log(3)], abs=1e-13) and found.error <= 1e-12


def test_a_free_intercept_alone_is_the_log_odds():
    """All features 0, weights 3 and 1: sigma(b) = 3/4, so b = ln 3; w = w0 = 2 stays at its prior."""
    problem = problem_of([[0.0], [0.0]], [1.0, -1.0], np.array([3.0, 1.0]), "free", 0.7, Prior((2.0,)))
    _, theta = parameters_of(problem)
    assert theta == pytest.approx([2.0, math.log(3)], abs=1e-13)


def test_two_symmetric_records_by_hand():
    """Records at +-1: b = 0 and w = 2 C sigma(-w); C = 2 ln 3 gives w = ln 3."""
    _, theta = parameters_of(problem_of([[1.0], [-1.0]], [1.0, -1.0], np.ones(2), "free", 2 * math.log(3)))
    assert theta == pytest.approx([math.log(3), 0.0], abs=1e-12)


@pytest.mark.parametrize("intercept", tuple(Intercept))
def test_a_prior_that_puts_every_record_far_on_its_side_or_far_off_it(intercept):
    X = np.array([[20.0, -20.0], [72.0, -20.2], [-60.0, -19.9], [-68.0, -20.2]])
    for sign in (1.0, -1.0):
        problem = problem_of(X, [1.0, 1, -1, -1], np.ones(4), intercept, 19.0, Prior((4.0 * sign, -1.4)))
        found, theta = parameters_of(problem)
        _, distance = digits(problem, theta)
        assert distance(theta) <= found.error <= 1e-6


def test_a_free_intercept_is_undefined_without_weight_on_both_classes():
    problem = problem_of([[1.0], [2.0]], [1.0, -1.0], np.array([1.0, 0.0]), "free")
    assert "class 'no'" in learner_of(problem).undefined(problem, problem.records)
    for intercept in ("none", "penalized"):
        other = problem_of([[1.0], [2.0]], [1.0, -1.0], np.array([1.0, 0.0]), intercept)
        assert learner_of(other).undefined(other, other.records) is None
        assert parameters_of(other)[0].error <= 1e-10


# -- menus ---


@pytest.mark.parametrize("position", tuple(Position))
@pytest.mark.parametrize("goal", tuple(GoalKind))
@pytest.mark.parametrize("intercept", tuple(Intercept))
def test_small_menus_are_solved_by_enumeration(make, intercept, goal, position):
    """A unique optimum: every position gives the same, and the answer survives its verification."""
    problem = make(3, "svm", str(intercept), str(goal), withhold=True, queries=2, guards=1, required=0.05)
    problem = replace(problem, learner=replace(problem.learner, kind="logistic"), position=position)
    result, found = solve(problem, formulation="enumeration"), enumerate_choices(problem)
    if found.best is None:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL and result.objective == pytest.approx(found.best.objective, abs=1e-9)
    assert found.best.tie is None and evaluate(problem, found.best.moves).inaccuracy <= 1e-8
