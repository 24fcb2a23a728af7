"""The losses beside hinge and squared: re-training against their convex programs, programs against re-training."""

import cvxpy as cp
import numpy as np
import pytest

from oar_opt.discovery import learner_of
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Prior,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.result import Status

KINDS = ("squared_hinge", "huber", "epsilon_insensitive")
INTERCEPTS = tuple(Intercept)
GOALS = (GoalKind.MAX_MARGIN, GoalKind.MIN_COST, GoalKind.MIN_MEMBERS)


def specification(kind, intercept, C=1.0, prior=None):
    constants = {"huber": {"delta": 0.7}, "epsilon_insensitive": {"epsilon": 0.3}}.get(kind, {})
    return LearnerSpec(kind, intercept, C=C, prior=prior, **constants)


def make(seed, kind, intercept, goal=GoalKind.MAX_MARGIN, C=1.0, prior=None):
    """Three members with three options and withholding; a regression problem for the two regression losses."""
    draw = np.random.default_rng(seed)
    n, d = 14, 3
    X, slope = draw.normal(size=(n, d)), draw.normal(size=d)
    score = X @ slope + 0.5 * draw.normal(size=n)
    classes = ("no", "yes") if kind == "squared_hinge" else None
    y = np.where(score > 0, 1.0, -1.0) if classes else score
    if classes:
        y[:2] = 1.0, -1.0

    def option(i):
        new = float(draw.choice([-1.0, 1.0])) if classes else float(y[i] + draw.normal())
        x = tuple(X[i] + 0.5 * draw.normal(size=d))
        return Option(OptionKind.MENU, x, new, float(draw.choice([0.5, 1.0, 2.0])), float(draw.uniform(0.5, 2)))

    members = tuple(
        Member(int(i), (WithholdAction(1.0),), tuple(option(i) for _ in range(2)))
        for i in draw.choice(np.arange(2, n), 3, replace=False)
    )
    x_q = tuple(draw.normal(size=d))
    threshold = 0.0 if classes else float(np.dot(x_q, slope))
    return RecourseProblem(
        name="losses",
        records=Records(X, y, draw.choice([0.5, 1.0, 2.0], size=n)),
        learner=specification(kind, intercept, C, prior),
        collective=Collective(members, budget=Budget(members=2)),
        queries=(Query("q", x_q, 1.0, threshold, required=0.05),),
        goal=goal,
        classes=classes,
    )


def objective(problem, w, b):
    """The learner's objective, written down afresh; ``w`` and ``b`` numbers or cvxpy variables."""
    spec, records = problem.learner, problem.records
    r = records.y - records.X @ w - b
    loss = {
        "squared_hinge": lambda: cp.square(cp.pos(1 - cp.multiply(records.y, records.X @ w + b))),
        "huber": lambda: 0.5 * cp.huber(r, spec.delta),
        "epsilon_insensitive": lambda: cp.pos(cp.abs(r) - spec.epsilon),
    }[spec.kind]()
    w0, b0 = (np.array(spec.prior.w0), spec.prior.b0) if spec.prior else (np.zeros(problem.d), 0.0)
    penalty = cp.sum_squares(w - w0)
    if spec.intercept is Intercept.PENALIZED:
        penalty = penalty + cp.square(b - b0)
    return 0.5 * penalty + spec.C * (records.s @ loss)


@pytest.mark.parametrize("C", [0.05, 1.0, 50.0])
@pytest.mark.parametrize("prior", [None, Prior((0.5, -0.3, 0.1))])
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_training_is_the_optimum_of_its_convex_program(kind, intercept, prior, C):
    problem = make(3, kind, intercept, C=C, prior=prior)
    found = learner_of(problem).fit(problem, problem.records)
    w, b = cp.Variable(problem.d), cp.Variable()
    constraints = [b == 0] if intercept is Intercept.NONE else []
    program = cp.Problem(cp.Minimize(objective(problem, w, b)), constraints)
    program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    distance = float(np.linalg.norm(np.array(found.parameters.w) - w.value))
    assert found.error <= 1e-8
    assert distance <= found.error + 1e-5
    reached = float(objective(problem, np.array(found.parameters.w), found.parameters.b).value)
    assert reached <= program.value + 1e-8 * max(1.0, abs(program.value))


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_program_finds_what_re_training_every_choice_finds(kind, intercept, goal):
    """A Latin square of seeds: each pair of learner, intercept and goal meets all three."""
    problem = make((KINDS.index(kind) + INTERCEPTS.index(intercept) + GOALS.index(goal)) % 3, kind, intercept, goal)
    result, found = solve(problem, formulation="kkt_big_m", gap=1e-7), enumerate_choices(problem)
    if found.best is None:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(found.best.objective, abs=1e-6)
    assert result.bound == pytest.approx(found.best.objective, abs=1e-6)


def test_flat_regression_leaves_an_interval_of_intercepts():
    """All deviations fit within epsilon = 1: targets 0 and 1 allow any constant from 0 to 1."""
    problem = RecourseProblem(
        name="flat",
        records=Records(np.array([[0.0], [0.0]]), np.array([0.0, 1.0]), np.ones(2)),
        learner=LearnerSpec("epsilon_insensitive", Intercept.FREE, C=1.0, epsilon=1.0),
        collective=Collective(()),
        queries=(Query("q", (0.0,), 1.0, 0.5),),
        goal=GoalKind.MAX_MARGIN,
    )
    outcome = evaluate(problem, ())
    assert outcome.fit.intercepts == pytest.approx((0.0, 1.0))
    assert outcome.tie and not outcome.is_answer
