"""Slopes through gradient steps against finite differences of real replays, and the search with them against grids."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from oar_opt.evaluate import evaluate
from oar_opt.heuristics.projected_gradient import ProjectedGradient, improve
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    FeatureAction,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Norm,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.sensitivity import margins_of, no_sensitivity
from oar_opt.update_settings import GradientSettings, gradient_update

HEURISTIC = ProjectedGradient()
LEARNERS = {
    "squared": LearnerSpec("ridge", alpha=1.0),
    "hinge": LearnerSpec("svm", C=1.0),
    "logistic": LearnerSpec("logistic", C=1.0),
}


def problem_of(
    seed, loss="logistic", goal="max_margin", *, n=8, d=2, members=1, radius=0.8, intercept="penalized", charge=0.0,
    cost=CostKind.L2, budget=None, queries=1, required=None, T=1, rate=0.4, l2=0.1, reduction="mean", batches=None,
    **more,
):  # fmt: skip
    """Gaussian records, of uneven weights, in two classes; the first ones are the members'."""
    draw = np.random.default_rng(seed)
    X, y = draw.normal(size=(n, d)), draw.choice([-1.0, 1.0], n)
    start = 0.7 * draw.normal(size=d)
    has_intercept = intercept != "none"
    return RecourseProblem(
        "gaussian",
        Records(X, y, draw.choice([1.0, 0.5, 2.0], n)),
        replace(LEARNERS[loss], intercept=Intercept(intercept)),
        Collective(
            tuple(Member(i, (FeatureAction(Norm.L2, radius, charge),)) for i in range(members)),
            cost,
            budget or Budget(),
        ),
        tuple(
            Query(f"q{q}", tuple(draw.normal(size=d)), draw.choice([-1.0, 1.0]), required=required)
            for q in range(queries)
        ),
        GoalKind(goal),
        classes=("a", "b"),
        update=gradient_update(start, 0.2 * has_intercept, rate=rate, T=T, l2=l2, reduction=reduction, batches=batches),
        **more,
    )


def replayed(problem, deltas, s=None):
    """Of every query, ``(g, q)``, for the first records' changes ``(g, k, d)``: the rule once more, all at once."""
    settings, records = GradientSettings.of(problem), problem.records
    s = records.s if s is None else s
    X = np.repeat(records.X[None], len(deltas), axis=0)
    X[:, : deltas.shape[1]] += deltas
    xhat = np.concatenate([X, np.ones((*X.shape[:2], 1))], axis=2) if settings.has_intercept else X
    theta = np.repeat(settings.theta0[None], len(deltas), axis=0)
    for batch in settings.batches:
        here, y = xhat[:, batch], records.y[batch]
        f = np.einsum("gip,gp->gi", here, theta)
        match settings.loss.value:
            case "squared":
                pull = 2 * (f - y)
            case "hinge":
                pull = np.where(y * f < 1, -y, 0.0)
            case _:
                pull = -y / (1 + np.exp(y * f))
        step = np.einsum("gi,gip->gp", s[batch] * pull, here) / (s[batch].sum() if settings.is_mean else 1.0)
        theta = theta - settings.rate * (settings.l2 * settings.decays * theta + step)
    points = np.array([query.x for query in problem.queries])
    if settings.has_intercept:
        points = np.hstack([points, np.ones((len(points), 1))])
    return theta @ points.T * np.array([query.target for query in problem.queries])


def disc(radius, circles=40, angles=360):
    """Changes of one member all over a disc, ``(m, 1, 2)``."""
    r, phi = np.meshgrid(np.linspace(0, radius, circles), np.linspace(0, 2 * np.pi, angles))
    return np.column_stack([(r * np.cos(phi)).ravel(), (r * np.sin(phi)).ravel()])[:, None]


# -- slopes ---


def actual(problem, margins, weights, X):
    """The weighted quantities of a real replay with these features in the first records."""
    features = problem.records.X.copy()
    features[: len(X)] = X
    moved = Records(features, problem.records.y, problem.records.s)
    outcome = evaluate(replace(problem, records=moved, max_loss_increase=None), ())
    if problem.max_loss_increase is None:
        return float(weights @ margins.actual(outcome))
    from oar_opt.discovery import learner_of

    before, loss = evaluate(problem, ()).parameters, learner_of(problem).training_loss
    rise = loss(problem, problem.records, outcome.parameters) - loss(problem, problem.records, before)
    return float(weights @ margins.actual(replace(outcome, problem=problem, loss_increase=rise)))


@pytest.mark.parametrize("loss", ["squared", "hinge", "logistic"])
@pytest.mark.parametrize("intercept", ["none", "penalized", "free"])
@pytest.mark.parametrize("T", [1, 2, 3])
def test_slopes_are_those_of_real_replays(loss, intercept, T, finite_differences):
    """Of two queries, a guard and what is left of the fit, under mean and sum; the hinge over a tiny width."""
    for reduction in ("mean", "sum"):
        problem = problem_of(
            T, loss, members=3, queries=2, T=T, rate=0.15 if reduction == "mean" else 0.02,
            intercept=intercept, reduction=reduction, max_loss_increase=2.0,
        )  # fmt: skip
        problem = replace(problem, guards=(replace(problem.queries[0], name="guard"),))
        assert no_sensitivity(problem) is None
        margins = margins_of(problem, problem.records, [0, 1, 2])
        margins.narrow(1e-9)
        assert margins.is_exact is (loss != "hinge")
        weights = np.linspace(1.0, 2.0, len(margins.owners))
        X = problem.records.X[:3] + 0.01
        response = margins.at(X)
        numeric = finite_differences(lambda at, p=problem, m=margins, w=weights: actual(p, m, w, at), X, 1e-5)
        assert np.abs(numeric).max() > 1e-2
        assert np.abs(response.slopes(weights) - numeric).max() <= 1e-7 * max(1.0, np.abs(numeric).max())
        assert float(weights @ response.values) == pytest.approx(actual(problem, margins, weights, X), abs=1e-12)


@pytest.mark.parametrize("loss", ["squared", "hinge", "logistic"])
def test_records_in_several_batches_add_up(loss, finite_differences):
    """Member 0 arrives in steps 0 and 2, member 1 in step 1, member 2 never; others come and go."""
    batches = [[3, 0, 4], [1, 5], [0, 6, 3]]
    problem = problem_of(5, loss, members=3, T=3, batches=batches)
    margins = margins_of(problem, problem.records, [0, 1, 2])
    margins.narrow(1e-9)
    X = problem.records.X[:3].copy()
    slopes = margins.at(X).slopes(np.ones(1))
    numeric = finite_differences(lambda at: actual(problem, margins, np.ones(1), at), X, 1e-5)
    assert np.abs(slopes - numeric).max() <= 1e-8
    assert np.abs(numeric[:2]).max(axis=1).min() > 1e-3 and not slopes[2].any()


def test_slopes_of_a_response_are_its_own_whatever_was_asked_since():
    problem = problem_of(1, members=2, T=2)
    margins = margins_of(problem, problem.records, [0, 1])
    X = problem.records.X[:2]
    response = margins.at(X)
    slopes = response.slopes(np.ones(1))
    margins.at(X + 1.0)
    assert np.array_equal(response.slopes(np.ones(1)), slopes)


def test_the_hinge_is_smoothed_over_its_width(finite_differences):
    """Slopes are those of the smoothed replay, and some record is on the ramp, where the real one has another."""
    problem = problem_of(3, "hinge", members=8, T=3)
    margins = margins_of(problem, problem.records, range(8))
    margins.narrow(20.0)
    X = problem.records.X + 0.01
    slopes = margins.at(X).slopes(np.ones(1))
    numeric = finite_differences(lambda at: float(margins.at(at).values[0]), X, 1e-6)
    assert np.abs(slopes - numeric).max() <= 1e-7
    margins.narrow(1e-9)
    assert np.abs(margins.at(X).slopes(np.ones(1)) - slopes).max() > 1e-2


def test_withheld_records_are_no_part_of_the_mean():
    """Member 1's weight is 0 in the records that an option left: margins are those of a real replay of the move."""
    problem = problem_of(2, members=2, T=2)
    s = problem.records.s.copy()
    s[1] = 0.0
    left = Records(problem.records.X, problem.records.y, s)
    margins = margins_of(problem, left, [0])
    delta = np.array([[[0.2, -0.3]]])
    values = margins.at(problem.records.X[:1] + delta[0]).values
    assert values[0] == pytest.approx(replayed(problem, delta, s)[0, 0], abs=1e-12)


# -- known optima ---


@pytest.mark.parametrize("loss", ["squared", "hinge", "logistic"])
@pytest.mark.parametrize("T", [1, 2, 3])
def test_one_member_reaches_the_best_point_of_a_disc(loss, T, proposed):
    """A hinge's best points lie in corners between kinks: there all but a few points of the disc are no better."""
    for seed in range(1 if loss == "hinge" else 2):
        problem = problem_of(10 * T + seed, loss, radius=1.2, T=T, reduction=("mean", "sum")[seed % 2])
        margins = replayed(problem, disc(1.2))
        outcome = proposed(problem)
        if loss == "hinge":
            assert (margins > outcome.objective + 1e-9).mean() <= 0.01, seed
        else:
            assert margins.max() - 1e-6 <= outcome.objective <= margins.max() + 1e-2, seed
        delta = outcome.records.X[0] - problem.records.X[0]
        assert outcome.objective == pytest.approx(replayed(problem, delta[None, None])[0, 0], abs=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_one_hinge_step_on_one_side_of_the_kink_is_linear(reduction, proposed):
    """From small parameters ``y f < 1`` all over the disc, so the gain is ``rate s / S y t v'delta`` at best."""
    problem = problem_of(4, "hinge", d=3, members=3, radius=0.5, reduction=reduction)
    settings = dict(problem.update.settings)
    start = 0.05 * np.array(dict(settings["theta0"])["w"])
    problem = replace(problem, update=gradient_update(start, rate=0.4, reduction=reduction))
    weights, query = problem.records.s[:3], np.array(problem.queries[0].x)
    total = problem.records.s.sum() if reduction == "mean" else 1.0
    gain = 0.4 * float(weights.sum()) / total * 0.5 * float(np.linalg.norm(query))
    outcome = proposed(problem)
    assert outcome.objective == pytest.approx(evaluate(problem, ()).objective + gain, abs=1e-6)


# -- two members in one dimension: every combination of changes on a grid ---


STEPS = np.linspace(-1.0, 1.0, 101)


def on_the_line(seed, loss, **more):
    """The problem, all pairs of changes ``(m, 2)`` and the margins that they give."""
    more = {"members": 2, "radius": 1.0, "T": 2, "cost": CostKind.L1, **more}
    problem = problem_of(seed, loss, d=1, n=6, **more)
    deltas = np.stack(np.meshgrid(STEPS, STEPS, indexing="ij"), axis=-1).reshape(-1, 2)
    return problem, deltas, replayed(problem, deltas[:, :, None])


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_total_budgets_against_all_combinations(loss, proposed):
    for seed in range(2):
        problem, deltas, margins = on_the_line(seed, loss, budget=Budget(total=0.8, each=0.6))
        sizes = np.abs(deltas)
        allowed = (sizes.sum(axis=1) <= 0.8 + 1e-9) & (sizes.max(axis=1) <= 0.6 + 1e-9)
        outcome = proposed(problem)
        best = margins[allowed, 0].max()
        assert best - 1e-6 <= outcome.objective <= best + 2e-2


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_least_cost_and_fewest_members_against_all_combinations(loss, proposed):
    for seed in range(2):
        problem, deltas, margins = on_the_line(seed, loss, charge=0.1)
        if margins.max() < 0.05:
            query = problem.queries[0]
            problem, margins = replace(problem, queries=(replace(query, target=-query.target),)), -margins
        now = margins[len(margins) // 2, 0]
        query = replace(problem.queries[0], required=max(0.01, float(0.3 * now + 0.7 * margins.max())))
        reached = margins[:, 0] >= query.required
        acting = (np.abs(deltas) > 1e-9).sum(axis=1)
        fewest = proposed(replace(problem, queries=(query,), goal=GoalKind.MIN_MEMBERS))
        assert fewest.is_answer and fewest.objective == acting[reached].min()
        cheapest = proposed(replace(problem, queries=(query,), goal=GoalKind.MIN_COST))
        costs = np.abs(deltas).sum(axis=1) + 0.1 * acting
        assert cheapest.is_answer and cheapest.objective <= costs[reached].min() + 0.02


def test_a_guard_that_binds_and_the_most_helped_against_all_combinations(proposed):
    for seed in range(2):
        problem, _, margins = on_the_line(seed, "logistic", queries=3, intercept="free")
        two, third = margins[:, :2].min(axis=1), margins[:, 2]
        floor = float(0.5 * (third.max() + third[two.argmax()]))
        guard = replace(problem.queries[2], required=floor)
        guarded = proposed(replace(problem, queries=problem.queries[:2], guards=(guard,)))
        assert guarded.is_answer and guarded.objective >= two[third >= floor].max() - 5e-4
        level = max(0.01, float(np.quantile(margins.max(axis=0), 0.4)) * 0.9)
        asked = tuple(replace(query, required=level) for query in problem.queries)
        helped = proposed(replace(problem, queries=asked, goal=GoalKind.MAX_HELPED))
        assert helped.objective >= (margins >= level).sum(axis=1).max()


def test_members_may_withhold_or_move_and_the_mean_follows(proposed):
    """Both members may also withhold, and a third record may join: each of the eight cases on its own grid."""
    for seed in range(2):
        problem, deltas, _ = on_the_line(seed, "logistic")
        base = problem.records
        records = Records(base.X, base.y, np.concatenate([base.s[:2], [0.0], base.s[3:]]))
        members = tuple(Member(i, (FeatureAction(Norm.L2, 1.0), WithholdAction(1.0))) for i in range(2))
        joins = Option(OptionKind.MENU, tuple(base.X[2]), float(base.y[2]), 1.0, 1.0)
        problem = replace(
            problem, records=records, collective=Collective((*members, Member(2, (), (joins,))), CostKind.L1)
        )
        best = -np.inf
        for joined in (0.0, 1.0):
            for kept in ((1, 1), (1, 0), (0, 1), (0, 0)):
                s = records.s.copy()
                s[:2], s[2] = s[:2] * kept, joined
                best = max(best, float(replayed(problem, deltas[:, :, None], s).max()))
        assert best - 1e-6 <= proposed(problem).objective <= best + 2e-2


# -- the contract ---


def test_improving_a_start_and_the_time_limit():
    problem = problem_of(3, n=400, d=10, members=20, radius=0.5, T=5)
    start = {i: np.full(10, 0.05) for i in range(20)}
    assert improve(problem, start, time_limit=5.0).objective > evaluate(problem, ()).objective
    begin = time.process_time()
    HEURISTIC.propose(problem, time_limit=0.1)
    assert time.process_time() - begin < 0.6


def test_a_limited_loss_needs_a_risk(proposed):
    """Without a limit the learner's own loss plays no part in the slopes."""
    problem = problem_of(0)
    assert HEURISTIC.accepts(problem) is None
    limited = replace(problem, max_loss_increase=1e-3)
    outcome = proposed(limited)
    assert outcome.is_answer and outcome.loss_increase <= 1e-3 + limited.tolerances.feasibility
    assert outcome.objective > evaluate(limited, ()).objective
