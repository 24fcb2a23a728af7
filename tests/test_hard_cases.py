"""Small cases that once went wrong, each with its known answer."""

import numpy as np
import pytest

from oar_opt.bounds import ParameterBounds
from oar_opt.discovery import learner_of
from oar_opt.evaluate import evaluate
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Collective,
    FeatureAction,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Norm,
    Position,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.result import Status


def line(X, y, spec, **changes):
    settings = {
        "name": "line",
        "records": Records(np.array(X)[:, None], np.array(y, dtype=float), np.ones(len(X))),
        "learner": spec,
        "collective": Collective(()),
        "queries": (Query("q", (1.0,), 1.0),),
        "goal": GoalKind.MAX_MARGIN,
        "classes": ("a", "b"),
        "position": Position.OPTIMISTIC,
    }
    return RecourseProblem(**{**settings, **changes})


@pytest.mark.parametrize(
    ("X", "y", "C", "w"),
    [
        ([-0.0002, 0.0018, 0.0, 0.0001], [-1, 1, 1, 1], 1e4, 2.0),
        ([-0.0014, -0.0001, -0.0008, -0.0014, 0.0003, -0.0006], [-1, 1, -1, -1, 1, -1], 1e6, 1600.0),
    ],
)
def test_training_on_tiny_features_with_a_free_intercept(X, y, C, w):
    fit = learner_of(problem := line(X, y, LearnerSpec("svm", Intercept.FREE, C=C))).fit(problem, problem.records)
    assert abs(fit.parameters.w[0] - w) <= fit.error + 1e-9 * w
    assert fit.error <= 1e-4 * w


def test_training_ends_on_records_far_from_zero():
    """libsvm alone does not end here."""
    X = [1000.3, 999.1, 1001.2, 998.7]
    problem = line(X, [1, -1, -1, 1], LearnerSpec("svm", Intercept.FREE, C=9185.0))
    assert np.isfinite(learner_of(problem).fit(problem, problem.records).parameters.vector()).all()


def test_the_best_intercept_of_a_tie_meets_a_guard_exactly():
    """Any intercept of an interval is optimal; the query wants it large, the guard ends it at w * 0.05 - 0.08."""
    problem = line(
        [1.17, -1.06],
        [1, -1],
        LearnerSpec("svm", Intercept.FREE, C=0.1),
        queries=(Query("q", (-0.55,), 1.0),),
        guards=(Query("g", (-0.05,), -1.0, required=0.08),),
    )
    w = 0.1 * (1.17 + 1.06)
    outcome = evaluate(problem, ())
    assert outcome.is_answer
    assert outcome.objective == pytest.approx(-0.55 * w + 0.05 * w - 0.08, abs=2e-6)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_collective_that_cannot_move_stays(norm):
    problem = line(
        [0.0, 1.0, 4.0, 5.0],
        [0, 0, 1, 1],
        LearnerSpec("nearest_centroid"),
        collective=Collective((Member(0, (FeatureAction(norm, 0.0),)), Member(2, (FeatureAction(norm, 0.0),)))),
    )
    result = solve(problem)
    assert result.status is Status.OPTIMAL and not result.moves


def test_nearly_collinear_features_leave_the_bounds_standing():
    X = np.array([[1e5, 2e5], [2e5, 4e5], [3e4, 6e4]])
    problem = RecourseProblem(
        name="collinear",
        records=Records(X, np.array([1.0, -1.0, 1.0]), np.ones(3)),
        learner=LearnerSpec("ridge", alpha=1e-4),
        collective=Collective((Member(0),)),
        queries=(Query("q", (1.0, 1.0), 1.0),),
        goal=GoalKind.MAX_MARGIN,
        classes=("a", "b"),
    )
    risk = learner_of(problem).risk(problem.learner, problem.d)
    box = ParameterBounds(problem, risk, np.zeros(2)).along(np.eye(2))
    w = np.array(evaluate(problem, ()).parameters.w)
    assert (box.lower <= w).all() and (w <= box.upper).all()
