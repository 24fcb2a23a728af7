"""The nearest centroid under menus against re-training of every choice, and its proved intervals against all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from formulations.single_level import centroid_menu
from oar_opt.bounds import Reason
from oar_opt.bounds_listing import list_bounds
from oar_opt.discovery import formulations
from oar_opt.evaluate import UndefinedLearner, choices, enumerate_choices, evaluate
from oar_opt.export import export
from oar_opt.library import load
from oar_opt.pipeline import choose, solve
from oar_opt.problem import (
    Budget,
    Collective,
    FeatureAction,
    GoalKind,
    LabelAction,
    LearnerSpec,
    Member,
    Norm,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
    Update,
    UpdateKind,
    WithholdAction,
    moves_from_choice,
    resulting_records,
)
from oar_opt.result import Request, Status, StoppedBy

BUDGETS = [Budget(), Budget(each=1.3), Budget(total=2.2), Budget(members=1), Budget(1.6, 2.8, 2), Budget(members=0)]
GOALS = list(GoalKind)
REQUEST = Request(relative_gap=1e-6)


def program():
    return centroid_menu.CentroidMenu()


def random_problem(seed, *, members=None, extra=None, n=None):
    """All traits are drawn by the seed, goals go by turns; often a class has members' records only, or may be emptied.

    Every fourth problem limits the training loss.
    """
    draw = np.random.default_rng([seed, 41])
    classes, d = int(draw.integers(2, 4)), int(draw.integers(1, 4))
    n = n or int(draw.integers(2 * classes, 10))
    y = np.arange(n) % classes
    X = draw.normal(size=(n, d)) + 1.2 * draw.normal(size=(classes, d))[y]
    s = draw.choice([1.0, 1.0, 2.0, 0.5, 0.1, 0.0], size=n) if draw.random() < 0.6 else np.ones(n)
    s[:classes] = np.maximum(s[:classes], 0.3)
    team = draw.choice(n, members or int(draw.integers(1, 5)), replace=False)
    y[team[0]] = y[0]

    def option(i):
        x = tuple((X[i] + draw.normal(size=d)).tolist())
        weight, cost = float(draw.choice([1.0, 2.0, 0.3, 0.0])), round(float(draw.uniform(0.3, 2)), 3)
        return Option(OptionKind.MENU, x, float(draw.integers(classes)), weight, cost)

    def member(i):
        actions = []
        if draw.random() < 0.5:
            actions.append(LabelAction(tuple(float(c) for c in range(classes)), 0.7))
        if draw.random() < 0.5:
            actions.append(WithholdAction(0.9))
        menu = tuple(option(i) for _ in range(int(draw.integers(0, 3)) if extra is None else extra))
        return Member(int(i), tuple(actions), menu)

    def subject(name, required):
        x = X[draw.integers(n)] + draw.normal(size=d)
        return Query(name, tuple(x.tolist()), float(draw.integers(classes)), required=required)

    required = [float(draw.choice([0.05, 0.5, 2.0])) for _ in range(int(draw.choice([1, 2, 3])))]
    present = all(s[y == c].sum() > 0 for c in range(classes))
    return RecourseProblem(
        f"centroids-{seed}",
        Records(X, y.astype(float), s if present else np.ones(n)),
        LearnerSpec("nearest_centroid"),
        Collective(tuple(member(i) for i in team), budget=BUDGETS[int(draw.choice(6, p=[0.5, 0.1, 0.1, 0.1, 0.15, 0.05]))]),
        tuple(subject(f"q{q}", margin) for q, margin in enumerate(required)),
        GOALS[seed % 4],
        classes=("a", "b", "c")[:classes],
        guards=tuple(subject(f"guard{g}", -2.0) for g in range(int(draw.random() < 0.3))),
        max_loss_increase=float(draw.choice([0.1, 1.0, 4.0])) if draw.random() < 0.25 else None,
    )


def run(problem, request=REQUEST):
    return program().build(problem, request).run(request)


def assert_right(problem, claim, best):
    """The claim is what re-training every choice gives: objective, bound, infeasibility, parameters."""
    if best is None:
        assert claim.infeasible and claim.moves is None
        return
    assert not claim.infeasible and claim.moves is not None
    outcome, size = evaluate(problem, claim.moves), max(1.0, abs(best.objective))
    assert outcome.is_answer
    for value in (outcome.objective, claim.objective, claim.bound):
        assert value == pytest.approx(best.objective, abs=2e-6 * size)
    assert claim.parameters.vector() == pytest.approx(outcome.parameters.vector(), abs=1e-6)


# -- the optimum ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_the_optimum_equals_that_of_re_training_every_choice(seed):
    problem = random_problem(seed)
    assert program().accepts(problem) is None
    assert_right(problem, run(problem), enumerate_choices(problem).best)
