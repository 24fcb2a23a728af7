"""Data far from standardised: features of very different size or far from 0, tiny and huge weights and constants."""

from dataclasses import replace

import numpy as np
import pytest

from oar_opt.discovery import formulations, learner_of
from oar_opt.evaluate import enumerate_choices
from oar_opt.problem import (
    Collective,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Position,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.result import Request
from oar_opt.solvers.scaling import equilibrate

SHAPES = {
    "thousands": lambda Z: 1000 * Z,
    "mixed": lambda Z: Z * 10.0 ** np.linspace(-3, 3, Z.shape[1]),
    "offset": lambda Z: Z + 1000,
    "tiny": lambda Z: 1e-3 * Z,
    "collinear": lambda Z: np.outer(Z[:, 0], np.arange(1, Z.shape[1] + 1)),
}


def make(seed, kind, intercept, shape):
    draw = np.random.default_rng(seed)
    n, d = 12, 3
    Z, y = draw.normal(size=(n + 7, d)), np.where(draw.normal(size=n) > 0, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    X = SHAPES[shape](Z)
    members = tuple(
        Member(
            2 + m,
            (),
            tuple(
                Option(OptionKind.MENU, tuple(X[n + 2 * m + k]), float(draw.choice([-1.0, 1.0])), 1.0, 1.0)
                for k in range(2)
            ),
        )
        for m in range(3)
    )
    constant = float(10.0 ** draw.uniform(-6, 2))
    return RecourseProblem(
        name="scaling",
        records=Records(X[:n], y, draw.choice([0.5, 1.0, 2.0], size=n)),
        learner=LearnerSpec(
            kind,
            intercept,
            C=constant if kind != "ridge" else None,
            alpha=constant if kind == "ridge" else None,
        ),
        collective=Collective(members),
        queries=(Query("q", tuple(X[-1]), 1.0),),
        goal=GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        position=Position.OPTIMISTIC,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("intercept", list(Intercept))
@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_no_bound_is_wrong_on_badly_scaled_data(kind, intercept, shape):
    formulation = formulations()["kkt_big_m"]
    for seed in range(2):
        problem = make(seed, kind, intercept, shape)
        reason = formulation.accepts(problem)
        if reason:
            assert "narrow enough" in reason
            continue
        found = enumerate_choices(problem)
        slack = 1e-5 * max(1.0, abs(found.best.objective))
        for request in (Request(time_limit=1.0), Request(time_limit=1.0, cutoff=found.best.objective)):
            claim = formulation.build(problem, request).run(request)
            assert not claim.infeasible
            assert claim.bound is None or claim.bound >= found.best.objective - slack


def test_an_interval_too_wide_for_a_solver_is_refused():
    """Hardly regularised at all: every interval is as wide as the loss allows."""
    problem = make(0, "svm", Intercept.NONE, "thousands")
    problem = replace(problem, learner=replace(problem.learner, C=1e9))
    assert "narrow enough" in (formulations()["kkt_big_m"].accepts(problem) or "")


def test_whitening_keeps_the_learner():
    problem = make(1, "svm", Intercept.FREE, "offset")
    risk = learner_of(problem).risk(problem.learner, problem.d)
    white = risk.whitened(problem.records.X, 2.0, 3.0)
    theta, s = np.array([0.3, -0.2, 0.5, 0.7]), problem.records.s
    w, b = white.split(white.join(theta[:-1], theta[-1]))
    assert np.append(w, b) == pytest.approx(theta, abs=1e-9)
    there = white.objective(white.join(w, b), white.extend(problem.records.X), problem.records.y, s)
    here = risk.objective(theta, risk.extend(problem.records.X), problem.records.y, s)
    assert there == pytest.approx(here / (3.0 * risk.factor), rel=1e-9)
    assert white.extend(problem.records.X)[:, -1] == pytest.approx(2.0)


def test_equilibration_scales_by_powers_of_two_and_keeps_integer_columns():
    matrix = np.array([[1e6, 3.0, 0.0], [2e-4, 0.0, 5.0], [0.0, 0.0, 0.0]])
    rows, columns = equilibrate(matrix, np.array([True, True, False]))
    assert columns[2] == 1.0
    for scales in (rows, columns):
        assert (np.log2(scales) == np.round(np.log2(scales))).all()
    assert 0.2 < np.abs(rows[:, None] * matrix * columns)[0].max() < 5
