"""Every learner with every formulation and every goal: the answer of re-training all choices, or why it is skipped."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest

from oar_opt.discovery import formulations, learners
from oar_opt.evaluate import enumerate_choices
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Collective,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.result import Status

pytestmark = pytest.mark.usefixtures("trained_once")

MATRIX = list(product(learners(), formulations(), [str(goal) for goal in GoalKind]))


def centroid_problem(goal):
    """Three classes around the corners of a triangle; two members with two options each."""
    draw = np.random.default_rng(3)
    y = np.arange(9.0) % 3
    X = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])[y.astype(int)] + 0.4 * draw.normal(size=(9, 2))

    def option():
        x, new = tuple(draw.normal(1.0, 1.0, size=2).tolist()), float(draw.integers(0, 3))
        return Option(OptionKind.MENU, x, new, float(draw.choice([1.0, 2.0])), round(float(draw.uniform(0.5, 2)), 2))

    members = tuple(Member(i, (), (option(), option())) for i in (4, 7))
    queries = (Query("q", (0.9, 0.7), 0.0, required=0.05), Query("r", (1.1, 0.9), 1.0, required=0.05))
    return RecourseProblem(
        "centroids",
        Records(X, y, np.ones(9)),
        LearnerSpec("nearest_centroid"),
        Collective(members),
        queries,
        GoalKind(goal),
        classes=("a", "b", "c"),
    )


@pytest.fixture(scope="module")
def cases(make_small):
    """The problem and its best answer, for a learner and a goal: intercepts go by turns, most have an answer."""

    @cache
    def of(kind, goal):
        if kind == "nearest_centroid":
            problem = centroid_problem(goal)
            return problem, enumerate_choices(problem).best
        place = list(learners()).index(kind) + list(GoalKind).index(GoalKind(goal))
        intercept = str(list(Intercept)[place % 3])
        for seed in range(300 + 40 * place, 340 + 40 * place):
            problem = make_small(seed, kind, intercept, goal, most_members=2)
            best = enumerate_choices(problem).best
            # Every fifth problem or so may have no answer; of the others, staying should not be the whole story.
            if (best is None and place % 5 == 4) or (best is not None and (best.moves or goal == "max_helped")):
                return problem, best
        raise AssertionError("no seed gives a problem that tells anything")

    return of


@pytest.mark.parametrize(("kind", "name", "goal"), MATRIX)
def test_the_answer_is_that_of_re_training_every_choice(cases, kind, name, goal):
    problem, best = cases(kind, goal)
    reason = formulations()[name].accepts(problem)
    if reason:
        pytest.skip(f"{kind}, {name}: {reason}")
    result = solve(problem, formulation=name, gap=1e-6)
    if best is None:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    size = max(1.0, abs(best.objective))
    assert result.objective == pytest.approx(best.objective, abs=1e-6 * size)
    assert result.bound == pytest.approx(best.objective, abs=problem.tolerances.relative_gap * size)


def test_most_pairs_of_learner_and_formulation_are_played(cases):
    """Each learner has at least two formulations on menus; no formulation is left out."""
    accepted = {
        (kind, name) for kind, name, goal in MATRIX if formulations()[name].accepts(cases(kind, goal)[0]) is None
    }
    for kind in learners():
        assert len([pair for pair in accepted if pair[0] == kind]) >= 2
    moving = {"centroid_closed_form", "centroid_convex", "centroid_bilinear", "kkt_bilinear", "moments", "piecewise"}
    # Those for other updates have their own tests against replaying every choice.
    examples = {name: [one.problem for one in item.examples()] for name, item in formulations().items()}
    stepping = {name for name, own in examples.items() if own and not any(one.update.retrains for one in own)}
    assert {name for _, name in accepted} | moving | stepping == set(formulations())
