"""The bilinear program against re-training: fixed moves, dense grids of changes, goals, costs and rules of features."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from formulations.single_level.kkt_bilinear import KktBilinear
from oar_opt.change_program import ChangeProgram
from oar_opt.changes import change_sets
from oar_opt.evaluate import UndefinedLearner, evaluate
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
    Intercept,
    LabelAction,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
    Sense,
    WithholdAction,
)
from oar_opt.result import Claim, Request, Status, StoppedBy
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violation

KINDS = ("ridge", "svm", "squared_hinge", "logistic", "huber", "epsilon_insensitive")
REGRESSION = ("ridge", "huber", "epsilon_insensitive")
GAP = 1e-6


def with_room(make, seed, kind, intercept="penalized", goal="max_margin", *, radius=0.5, norm=Norm.L2, **traits):
    """A small problem whose members move features only, unless a trait says otherwise."""
    problem = make(
        seed,
        kind,
        intercept,
        goal,
        **{"n": 9, "d": 2, "members": 1, "options": 0, "regression": kind in REGRESSION, **traits},
    )
    members = tuple(
        replace(member, actions=(*member.actions, FeatureAction(norm, radius))) for member in problem.collective.members
    )
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    records = Records(X, y, np.where(s > 0, s, 0.5))
    return replace(problem, records=records, collective=replace(problem.collective, members=members))


def ridge_on_a_line(goal, cost=CostKind.L2, required=None, charge=0.0, budget=None, radius=2.0):
    """Records at 1 and -1 say +1, a member at 0.5 says 1; alpha 1, no intercept: w = (x + 0) / (3 + x^2)."""
    return RecourseProblem(
        "line",
        Records(np.array([[1.0], [1.0], [0.5]]), np.array([1.0, -1.0, 1.0]), np.ones(3)),
        LearnerSpec("ridge", Intercept.NONE, alpha=1.0),
        Collective((Member(2, (FeatureAction(Norm.L2, radius, charge),)),), cost, budget or Budget()),
        (Query("q", (1.0,), 1.0, required=required),),
        GoalKind(goal),
    )


def claim_of(problem, gap=GAP, **wanted):
    """Build and run, without the pipeline's heuristics."""
    formulation = KktBilinear()
    assert formulation.accepts(problem) is None
    request = Request(tightening=0.0, relative_gap=gap, time_limit=20.0, **wanted)
    return formulation.build(problem, request).run(request)


def outcome_of(problem, moves):
    """Re-trained, None where that is no answer."""
    if budget_violations(problem, moves) or any(move_violation(problem, move) for move in moves):
        return None
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner:
        return None
    return None if outcome.broken else outcome


def best_of(problem, all_moves):
    sign, found = 1 if problem.goal.maximises else -1, None
    for moves in all_moves:
        outcome = outcome_of(problem, moves)
        if outcome is not None and (found is None or sign * (outcome.objective - found) > 0):
            found = outcome.objective
    return found


def assert_settled(problem, claim, known, reached=1e-6):
    """The claim is closed, true, and nothing known is better than its bound; ``known`` may be None."""
    sign = 1 if problem.goal.maximises else -1
    assert claim.stopped_by in (StoppedBy.GAP, StoppedBy.PROOF)
    if known is None:
        assert claim.infeasible
        return
    outcome = outcome_of(problem, claim.moves)
    assert outcome is not None
    size = max(1.0, abs(known))
    assert claim.objective == pytest.approx(outcome.objective, abs=2e-6 * size)
    assert sign * (claim.bound - known) >= -1e-6 * size
    assert sign * (outcome.objective - known) >= -reached * size


def moves_in(one, deltas):
    """One move for each change that the set holds."""
    moves = (one.move(delta) for delta in deltas if one.violation(delta) <= 1e-9)
    return [move for move in moves if move is not None]


def round_grid(one, count):
    """Changes in the box, ``count`` for each feature that has room, and on the l2 ball's edge."""
    axes = [np.linspace(low, high, count if high > low else 1) for low, high in zip(one.lower, one.upper, strict=True)]
    inside = [np.array(point) for point in product(*axes)]
    edge = [
        one.ball(Norm.L2) * np.array([math.cos(angle), math.sin(angle)]) * one.scales
        for angle in np.linspace(0, 2 * math.pi, 4 * count, endpoint=False)
        if one.d == 2 and math.isfinite(one.ball(Norm.L2))
    ]
    return inside + edge


def ways(problem, member, count):
    """Staying, every finite option, and a grid of changes."""
    options = problem.admissible_options(member)[1:]
    found = [None, *(Move(member.record, o.x, o.y, o.s, o.cost) for o in options)]
    for one in change_sets(problem, member):
        found += moves_in(one, round_grid(one, count))
    return found


def grid_of(problem, count):
    for combined in product(*(ways(problem, member, count) for member in problem.collective.members)):
        yield tuple(move for move in combined if move is not None)


# -- the program is the learner ---


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_fixed_changes_give_the_retrained_parameters(make, kind, seed):
    problem = with_room(make, seed, kind, ("penalized", "none")[seed], members=2, radius=1.0)
    formulation, draw = KktBilinear(), np.random.default_rng([seed, 3])
    program = formulation.build(problem, Request(tightening=0.0))
    moves = []
    for record, a in program.model.used:
        (one,) = change_sets(problem, next(m for m in problem.collective.members if m.record == record))
        delta = draw.normal(size=2)
        delta *= one.ball(Norm.L2) / np.linalg.norm(delta) * draw.uniform(0.3, 1.0)
        moves.append(one.move(delta))
        program.model.used[record, a].fix(1)
        for q in range(2):
            program.model.step[record, a, q].fix(delta[q] / one.upper[q])
    claim = program.run(Request(time_limit=20.0))
    outcome = evaluate(problem, moves)
    made = sorted(claim.moves, key=lambda move: move.record)
    assert [move.x for move in made] == [pytest.approx(m.x, abs=1e-9) for m in outcome.moves]
    assert claim.parameters.vector() == pytest.approx(outcome.parameters.vector(), abs=3e-6)
    assert claim.objective == pytest.approx(outcome.objective, abs=1e-5)


# -- dense grids ---


@pytest.mark.parametrize("kind", KINDS)
def test_no_change_of_two_features_is_better_than_the_bound(make, kind):
    problem = with_room(make, 3, kind, "none" if kind == "svm" else "penalized")
    assert_settled(problem, claim_of(problem), best_of(problem, grid_of(problem, 5)))


@pytest.mark.parametrize("kind", KINDS)
def test_no_changes_of_two_members_are_better_than_the_bound(make, kind):
    problem = with_room(make, 5, kind, "free" if kind in ("ridge", "huber", "logistic") else "none", d=1, members=2)
    assert_settled(problem, claim_of(problem), best_of(problem, grid_of(problem, 4)))


@pytest.mark.parametrize(("kind", "norm"), [("ridge", Norm.L1), ("ridge", Norm.LINF), ("svm", Norm.L1)])
def test_other_norms(make, kind, norm):
    problem = with_room(make, 7, kind, norm=norm)
    assert_settled(problem, claim_of(problem), best_of(problem, grid_of(problem, 5)))


def ridge_margins(problem, deltas):
    """By the normal equations: the query's margin for every change of the only member, ``(m,)``."""
    i, query = problem.collective.members[0].record, problem.queries[0]
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    kept = np.arange(problem.n) != i
    gram = (X[kept].T * s[kept]) @ X[kept] + problem.learner.alpha * np.eye(problem.d)
    right = (X[kept].T * s[kept]) @ y[kept]
    moved = X[i] + deltas
    grams = gram + s[i] * moved[:, :, None] * moved[:, None, :]
    rights = right + s[i] * y[i] * moved
    w = np.linalg.solve(grams, rights[:, :, None])[:, :, 0]
    return query.target * (w @ np.array(query.x) - query.threshold)


def disk(radius, count):
    axis = np.linspace(-radius, radius, count)
    points = np.array(list(product(axis, axis)))
    return points[np.linalg.norm(points, axis=1) <= radius]


@pytest.mark.parametrize("seed", range(3))
def test_ridge_against_thirty_thousand_changes(make, seed):
    problem = with_room(make, seed, "ridge", "none", radius=1.5)
    margins = ridge_margins(problem, disk(1.5, 201))
    claim = claim_of(problem)
    assert_settled(problem, claim, float(margins.max()), reached=0.0)
    assert claim.bound <= margins.max() + 5e-3


# -- goals and costs ---


@pytest.mark.parametrize("cost", list(CostKind))
def test_least_cost_against_a_dense_grid(make, cost):
    problem = with_room(make, 4, "ridge", "none", radius=1.5)
    deltas = disk(1.5, 201)
    margins = ridge_margins(problem, deltas)
    required = float(np.quantile(margins, 0.8))
    query = replace(problem.queries[0], threshold=problem.queries[0].threshold, required=max(required, 0.01))
    shift = query.required - required
    query = replace(query, threshold=query.threshold - query.target * shift)
    problem = replace(
        problem, queries=(query,), goal=GoalKind.MIN_COST, collective=replace(problem.collective, cost=cost)
    )
    enough = deltas[margins + shift >= query.required]
    least = min(cost.of(delta) for delta in enough)
    claim = claim_of(problem)
    outcome = outcome_of(problem, claim.moves)
    assert outcome is not None and outcome.objective == pytest.approx(claim.objective, abs=1e-5)
    assert claim.bound <= least + 1e-6 and outcome.objective <= least + 1e-6
    assert outcome.objective >= least - 0.03


@pytest.mark.parametrize(
    ("cost", "charge", "of_change"),
    [
        (CostKind.L1, 0.0, 0.5),
        (CostKind.L2, 0.25, 0.75),
        (CostKind.SQL2, 0.0, 0.25),
        (CostKind.LINF, 0.1, 0.6),
        (CostKind.COUNT, 0.5, 1.5),
    ],
)
def test_least_cost_by_hand(cost, charge, of_change):
    """w = x / (3 + x^2) reaches 1/4 first at x = 1, half a unit from the record."""
    problem = ridge_on_a_line("min_cost", cost, 0.25, charge)
    claim = claim_of(problem)
    assert_settled(problem, claim, of_change, reached=2e-5)
    assert claim.bound == pytest.approx(of_change, abs=2e-5)


def test_the_best_margin_by_hand():
    """x / (3 + x^2) is largest at the root of 3."""
    claim = claim_of(ridge_on_a_line("max_margin"))
    assert claim.objective == pytest.approx(1 / (2 * math.sqrt(3)), abs=1e-6)
    assert claim.moves[0].x[0] == pytest.approx(math.sqrt(3), abs=1e-2)


def test_budgets_hold_the_best_margin_back():
    """With half a unit to spend the record ends at 1; with a charge of 0.2 at 0.8; where nobody may act, nowhere."""
    for budget, charge, x in ((Budget(total=0.5), 0.0, 1.0), (Budget(each=0.5), 0.2, 0.8)):
        claim = claim_of(ridge_on_a_line("max_margin", budget=budget, charge=charge))
        assert claim.objective == pytest.approx(x / (3 + x * x), abs=1e-6)
    assert "nobody has room" in (KktBilinear().accepts(ridge_on_a_line("max_margin", budget=Budget(members=0))) or "")


def test_what_no_change_can_reach_is_infeasible():
    assert claim_of(ridge_on_a_line("min_cost", required=0.3)).infeasible
    assert claim_of(ridge_on_a_line("min_members", required=0.3)).infeasible
    assert not claim_of(ridge_on_a_line("min_members", required=0.28)).infeasible


@pytest.mark.parametrize(
    ("kind", "seed", "goal"),
    [
        ("ridge", 47, "min_cost"),
        ("ridge", 47, "max_helped"),
        ("svm", 19, "min_members"),
        ("svm", 19, "max_helped"),
        ("logistic", 34, "min_cost"),
        ("logistic", 34, "min_members"),
    ],
)
def test_goals_of_two_members_against_a_grid(make, kind, seed, goal):
    """Problems in which nobody's staying is no answer to the cost, and a guard is to be kept."""
    traits = {"d": 1, "members": 2, "radius": 1.2, "guards": 1, "required": 0.05}
    problem = with_room(make, seed, kind, "none", goal, queries=2 if goal == "max_helped" else 1, **traits)
    known = best_of(problem, grid_of(problem, 5))
    assert known is not None and known > 0.05
    assert_settled(problem, claim_of(problem), known)


@pytest.mark.parametrize("kind", ["squared_hinge", "huber"])
def test_a_total_budget_is_shared(make, kind):
    budget = Budget(total=0.5)
    problem = with_room(make, 9, kind, "penalized", d=1, members=2, radius=0.4, budget=budget)
    claim = claim_of(problem)
    assert_settled(problem, claim, best_of(problem, grid_of(problem, 5)))
    assert sum(move.cost for move in claim.moves) <= 0.5 + 1e-9


@pytest.mark.parametrize("kind", ["svm", "logistic", "epsilon_insensitive"])
def test_labels_withholding_and_menus_beside_feature_changes(make, kind):
    problem = with_room(make, 11, kind, "none", d=1, members=2, options=1, labels=True, withhold=True)
    assert_settled(problem, claim_of(problem), best_of(problem, grid_of(problem, 2)))


# -- rules of features ---


def ruled(make, features, constraints=(), radius=1.0, norm=Norm.L2, kind="ridge", X=None):
    problem = with_room(make, 13, kind, "none", d=len(features), radius=radius, norm=norm)
    if X is not None:
        records = Records(X(problem.records.X), problem.records.y, problem.records.s)
        problem = replace(problem, records=records)
    return replace(problem, features=tuple(features), constraints=tuple(constraints))


def test_whole_numbers_and_long_steps(make):
    """One feature in 5 whole numbers (a binary each), one in steps of 0.2, one continuous."""
    features = (
        Feature("whole", FeatureType.INTEGER),
        Feature("step", step=0.2),
        Feature("free"),
    )
    problem = ruled(
        make, features, radius=2.0, norm=Norm.LINF, X=lambda X: np.column_stack([np.round(X[:, 0]), X[:, 1:]])
    )
    (one,) = change_sets(problem, problem.collective.members[0])
    assert [None if grid is None else len(grid) for grid in one.grids] == [5, 21, None]
    points = np.array(list(product(one.grids[0], one.grids[1], np.linspace(one.lower[2], one.upper[2], 81))))
    claim = claim_of(problem, gap=1e-5)
    assert_settled(problem, claim, float(ridge_margins(problem, points).max()), reached=1e-5)
    x = np.array(claim.moves[0].x)
    assert x[0] == round(x[0])


@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_one_hot_groups(make, kind):
    colours = [Feature(name, FeatureType.CATEGORICAL, group="colour") for name in ("red", "green", "blue")]

    def one_hot(X):
        return np.column_stack([np.eye(3)[np.argmax(X[:, :3], axis=1)], X[:, 3]])

    problem = ruled(make, [*colours, Feature("size")], radius=1.5, kind=kind, X=one_hot)
    member = problem.collective.members[0]
    (one,) = change_sets(problem, member)
    start = int(np.argmax(one.x[:3]))
    deltas = [
        np.append(np.eye(3)[colour] - np.eye(3)[start], size)
        for colour in range(3)
        for size in np.linspace(one.lower[3], one.upper[3], 41)
    ]
    known = best_of(problem, [(), *((move,) for move in moves_in(one, deltas))])
    claim = claim_of(problem)
    assert_settled(problem, claim, known)
    assert sorted(claim.moves[0].x[:3]) == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("kind", ["ridge", "squared_hinge"])
def test_linear_constraints_directions_and_bounds(make, kind):
    features = (Feature("late_30", direction=Direction.INCREASE), Feature("late_60", upper=3.0, scale=2.0))
    rows = (
        FeatureConstraint((("late_30", 1.0), ("late_60", -1.0)), Sense.GE, 0.0),
        FeatureConstraint((("late_30", 1.0), ("late_60", 1.0)), Sense.LE, 1.5),
    )
    problem = ruled(make, features, rows, kind=kind, X=lambda X: np.sort(np.clip(X, -2, 0.7), axis=1)[:, ::-1])
    (one,) = change_sets(problem, problem.collective.members[0])
    assert one.lower[0] == 0.0 and len(one.b) == 2
    known = best_of(problem, grid_of(problem, 7))
    assert_settled(problem, claim_of(problem), known)


def test_rules_that_force_a_change_on_whoever_acts(make):
    """The record breaks a rule, so staying keeps it and acting has to mend it."""
    rows = (FeatureConstraint((("a", 1.0),), Sense.GE, 5.0),)
    problem = ruled(make, (Feature("a"), Feature("b")), rows, radius=6.0)
    (one,) = change_sets(problem, problem.collective.members[0])
    assert one.violation(np.zeros(2)) > 0
    assert_settled(problem, claim_of(problem), best_of(problem, grid_of(problem, 9)))


# -- hypotheses ---


def test_it_refuses_what_it_does_not_state(make):
    refuses = KktBilinear().accepts
    assert "l1 norm" in (refuses(with_room(make, 1, "l1_svm")) or "")
    assert "l1 norm" in (refuses(with_room(make, 1, "lad", regression=True)) or "")
    assert "nobody has room" in (refuses(make(1, "ridge", options=2)) or "")
    assert "nobody has room" in (refuses(with_room(make, 1, "ridge", radius=0.0)) or "")
    problem = with_room(make, 1, "ridge")
    assert "nobody has room" in (refuses(replace(problem, collective=Collective(()))) or "")
    fixed = tuple(Feature(f"x{j}", direction=Direction.FIXED) for j in range(2))
    assert "nobody has room" in (refuses(replace(problem, features=fixed)) or "")
    assert "max_loss_increase" in (refuses(replace(problem, max_loss_increase=1.0)) or "")
    assert "narrow enough" in (refuses(with_room(make, 1, "ridge", radius=1e9)) or "")
    assert "logistic pull" in (refuses(with_room(make, 1, "logistic", radius=30.0)) or "")


# -- start, cutoff, pipeline ---


@pytest.mark.parametrize("kind", ["ridge", "svm", "logistic"])
def test_a_start_is_taken_over_and_the_cutoff_keeps_it(make, kind):
    problem = with_room(make, 15, kind, "none", d=1)
    (one,) = change_sets(problem, problem.collective.members[0])
    answers = [outcome_of(problem, (move,)) for move in moves_in(one, round_grid(one, 4))]
    best = max(answers, key=lambda outcome: outcome.objective)
    request = {"start": best.moves, "start_parameters": best.parameters, "cutoff": best.objective}
    first = claim_of(problem, node_limit=1, **request)
    assert first.moves is not None
    assert first.objective >= best.objective - 1e-5
    known = claim_of(problem, **request)
    assert_settled(problem, known, best.objective)
    assert known.bound == pytest.approx(claim_of(problem).bound, abs=1e-5)


def test_a_run_that_hardly_begins_has_the_proved_bound(make):
    problem = with_room(make, 1, "ridge", n=40, members=5, d=5)
    request = Request(tightening=0.0, node_limit=1, time_limit=0.05)
    claim = KktBilinear().build(problem, request).run(request)
    assert claim.bound is not None
    assert claim.bound >= evaluate(problem, ()).objective


def test_the_pipeline_verifies_the_answer(make):
    problem = with_room(make, 3, "svm", "none", d=1)
    result = solve(problem, formulation="kkt_bilinear")
    assert result.status is Status.OPTIMAL
    best = best_of(problem, grid_of(problem, 21))
    assert result.objective >= best - 1e-6 and result.bound >= best - 1e-6


def test_every_way_to_act_has_words(make):
    problem = with_room(make, 2, "logistic", labels=True)
    program = KktBilinear().build(problem)
    record = problem.collective.members[0].record
    assert program.meanings[f"used[{record},0]"].startswith(f"member {record} changes features")
    assert {"weight[0]", f"step[{record},0,1]", f"value[{record},0]"} <= set(program.meanings)
    assert set(program.quantities) == set(program.bounds)


def test_mixed_actions_of_the_dataclasses_are_all_played():
    """A member with a menu, a label, withholding and room, all of which beat staying in turn."""
    base = ridge_on_a_line("max_margin")
    menu = (Option(OptionKind.MENU, (1.2,), 1.0, 1.0, 0.1),)
    actions = (LabelAction((-1.0,), 1.0), WithholdAction(1.0), FeatureAction(Norm.L2, 0.3))
    problem = replace(base, collective=Collective((Member(2, actions, menu),)))
    claim = claim_of(problem)
    assert claim.moves[0].x == (1.2,)
    roomy = replace(problem, collective=Collective((Member(2, (*actions[:2], FeatureAction(Norm.L2, 1.0)), menu),)))
    assert claim_of(roomy).moves[0].x[0] == pytest.approx(1.5, abs=1e-4)
    against = replace(problem, queries=(replace(problem.queries[0], target=-1.0),))
    assert claim_of(against).moves[0].y == -1.0


def test_infeasible_says_nothing_where_a_verified_answer_has_just_its_margin(monkeypatch):
    program = object.__new__(ChangeProgram)
    monkeypatch.setattr("oar_opt.solvers.run_pyomo", lambda *_: Claim(StoppedBy.PROOF, infeasible=True))
    known, unknown = program.run(Request(start=())), program.run(Request())
    assert not known.infeasible and known.bound is None
    assert unknown.infeasible


@pytest.mark.parametrize(("maximises", "cutoff", "bound"), [(True, 2.0, 2.0), (True, 1.0, 1.5), (False, 1.0, 1.0)])
def test_no_bound_is_better_than_a_verified_answer(monkeypatch, maximises, cutoff, bound):
    monkeypatch.setattr("oar_opt.solvers.run_pyomo", lambda *_: Claim(StoppedBy.GAP, bound=1.5))
    monkeypatch.setattr(ChangeProgram, "maximises", maximises)
    assert object.__new__(ChangeProgram).run(Request(start=(), cutoff=cutoff)).bound == bound
