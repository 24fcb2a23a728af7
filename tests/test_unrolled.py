"""Gradient steps written out: the same optimum as replaying every choice, intervals that hold, bounds nobody beats."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import highspy
import numpy as np
import pyomo.environ as pyo
import pytest
from pyomo.core.expr.visitor import identify_variables
from sklearn.linear_model import Ridge

from oar_opt.bounds import Reason
from oar_opt.changes import change_sets
from oar_opt.discovery import formulations
from oar_opt.errors import UnsupportedError
from oar_opt.evaluate import UndefinedLearner, choices, enumerate_choices, evaluate
from oar_opt.export import export
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Feature,
    FeatureAction,
    FeatureConstraint,
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
    Update,
    WithholdAction,
    moves_from_choice,
)
from oar_opt.result import Request, Status, StoppedBy
from oar_opt.rules import budget_violations
from oar_opt.step_loss import slopes_at_start
from oar_opt.unrolled_changes import UnrolledChangeModel
from oar_opt.unrolled_program import UnrolledModel
from oar_opt.unrolled_ranges import unroll
from oar_opt.update_settings import GradientSettings, StepLoss, gradient_update
from oar_opt.verification import move_violation

EXACT = Request(relative_gap=1e-9)
KIND_OF = {"squared": "ridge", "hinge": "svm", "logistic": "logistic"}
GOALS, INTERCEPTS = tuple(GoalKind), tuple(Intercept)


def linear():
    return formulations()["unrolled"]


def nonlinear():
    return formulations()["unrolled_nonlinear"]


def fitting(problem):
    """The formulation that accepts the problem; never both."""
    accepted = [one for one in (linear(), nonlinear()) if one.accepts(problem) is None]
    assert len(accepted) == 1
    return accepted[0]


def random_problem(seed, loss, T, reduction, *, members=2, options=2, n=8, d=2, **changed):
    """Two classes, menus that change features, labels and weights; the rest varies with the seed."""
    draw = np.random.default_rng([seed, T])
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    X, s = draw.normal(size=(n, d)) + 0.5 * y[:, None], draw.choice([0.5, 1.0, 2.0], size=n)
    intercept = INTERCEPTS[seed % 3]
    constants = {"alpha": 1.0} if loss == "squared" else {"C": 1.0}

    def option(i):
        x = tuple((X[i] + draw.normal(size=d)).tolist())
        weight, cost = float(draw.choice([s[i], 1.0, 3.0])), round(float(draw.uniform(0.5, 2.0)), 2)
        return Option(OptionKind.MENU, x, float(draw.choice([-1.0, 1.0])), weight, cost)

    def actions(i):
        return (
            *((WithholdAction(0.7),) if seed % 2 else ()),
            *((LabelAction((-y[i],), 1.1),) if seed % 3 == 0 else ()),
        )

    team = tuple(Member(i, actions(i), tuple(option(i) for _ in range(options))) for i in range(members))
    if seed % 4 == 1:
        s[0] = 0.0
    batches = None
    if seed % 2 == 0:
        batches = [
            sorted({0, *draw.choice(n, size=n // 2, replace=False).tolist()} - ({0} if t % 2 else set()))
            for t in range(T)
        ]
    update = gradient_update(
        draw.normal(size=d).tolist(),
        0.0 if intercept is Intercept.NONE else 0.2,
        rate=0.3 if reduction == "mean" else 0.3 / n,
        T=T,
        l2=float(draw.choice([0.0, 0.1])),
        reduction=reduction,
        batches=batches,
        loss=loss,
    )
    required = (0.05, 0.1, 0.3)[seed % 3]
    queries = tuple(
        Query(f"q{j}", tuple(draw.normal(size=d).tolist()), float(draw.choice([-1.0, 1.0])), required=required)
        for j in range(1 + seed % 2)
    )
    guards = (Query("g", tuple(draw.normal(size=d).tolist()), 1.0, required=-0.5),) if seed % 3 == 1 else ()
    budget = Budget(total=2.5 if seed % 5 == 0 else None, members=1 if seed % 7 == 3 else None)
    problem = RecourseProblem(
        name=f"steps-{seed}",
        records=Records(X, y, s),
        learner=LearnerSpec(KIND_OF[loss], intercept=intercept, **constants),
        collective=Collective(team, budget=budget),
        queries=queries,
        goal=GOALS[seed % 4],
        classes=("a", "b"),
        guards=guards,
        update=update,
    )
    return replace(problem, **changed)


def with_room(seed, loss, T, reduction, **sizes):
    """Its members may move features under varied rules; the last ones keep label changes and withholding."""
    problem = random_problem(seed, loss, T, reduction, **sizes)
    highest = float(problem.records.X[:, :2].sum(axis=1).max() + 0.1)
    rows = (FeatureConstraint((("x0", 1.0), ("x1", 1.0)), Sense.LE, highest),) if seed % 3 == 0 else ()
    steps = Feature("x1", step=0.25) if seed % 4 == 2 else Feature("x1", scale=0.7)
    team = tuple(
        Member(
            member.record,
            (FeatureAction(list(Norm)[(seed + i) % 3], 0.6, 0.1 * (seed % 2)), *(member.actions if i else ())),
        )
        for i, member in enumerate(problem.collective.members)
    )
    cost = list(CostKind)[seed % 5]
    collective = Collective(team, cost=cost, budget=problem.collective.budget)
    return replace(problem, features=(Feature("x0"), steps), constraints=rows, collective=collective)


def assert_same_optimum(problem, request=EXACT):
    found = enumerate_choices(problem)
    assert found.complete
    claim = fitting(problem).build(problem).run(request)
    assert claim.infeasible == (found.best is None)
    if found.best is None:
        return
    assert claim.objective == pytest.approx(found.best.objective, abs=1e-6)
    assert claim.bound == pytest.approx(found.best.objective, abs=1e-6)
    outcome = evaluate(problem, claim.moves)
    assert outcome.is_answer and outcome.objective == pytest.approx(found.best.objective, abs=1e-6)
    assert claim.parameters.vector() == pytest.approx(outcome.parameters.vector(), abs=1e-6)


# -- menus ---


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("loss", "T"),
    [("squared", 1), ("squared", 2), ("squared", 3), ("hinge", 1), ("hinge", 2), ("hinge", 3), ("logistic", 1)],
)
def test_the_optimum_equals_that_of_replaying_every_choice(loss, T, reduction, seed):
    assert_same_optimum(random_problem(seed + 4 * T, loss, T, reduction))


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 7])
def test_the_optimum_under_the_logistic_loss_equals_that_of_replaying_every_choice(seed):
    assert_same_optimum(random_problem(seed, "logistic", 2 + seed % 2, ("mean", "sum")[seed % 2], n=6))


@pytest.mark.parametrize("goal", GOALS)
def test_scip_finds_the_same_optimum(goal):
    assert_same_optimum(random_problem(9, "hinge", 2, "mean", goal=goal), replace(EXACT, solver="scip"))


def test_a_regression_has_thresholds():
    problem = random_problem(12, "squared", 2, "mean")
    queries = (Query("q", (0.5, 1.0), -1.0, threshold=0.4),)
    problem = replace(problem, classes=None, queries=queries, guards=(), goal=GoalKind.MAX_MARGIN)
    assert_same_optimum(problem)


def test_a_batch_that_everybody_may_leave_keeps_somebody():
    """Both members of the last batch may withhold; without a row the mean over nobody would be anything."""
    problem = random_problem(1, "squared", 2, "mean", goal=GoalKind.MAX_MARGIN)
    settings = dict(problem.update.settings) | {"batches": ((3, 4, 5), (0, 1))}
    records = Records(problem.records.X, problem.records.y, np.ones(8))
    problem = replace(problem, records=records, update=Update(problem.update.kind, tuple(settings.items())))
    assert enumerate_choices(problem).undefined > 0
    assert_same_optimum(problem)


def test_a_batch_without_weight_now_is_one_that_somebody_must_join():
    problem = random_problem(1, "squared", 2, "mean", goal=GoalKind.MAX_MARGIN)
    settings = dict(problem.update.settings) | {"batches": ((3, 4, 5), (0,))}
    problem = replace(problem, update=Update(problem.update.kind, tuple(settings.items())))
    assert problem.records.s[0] == 0
    assert_same_optimum(problem)


def test_several_best_moves_are_those_of_the_ranking():
    problem = random_problem(6, "squared", 2, "mean", goal=GoalKind.MAX_MARGIN)
    ranking = enumerate_choices(problem, keep=3).ranking
    result = solve(problem, formulation="unrolled", pool=3)
    assert result.status is Status.OPTIMAL and len(ranking) == 3
    found = [result.objective, *(one.objective for one in result.solution.pool.alternatives)]
    assert found == pytest.approx([one.objective for one in ranking], abs=1e-6)


def test_a_limit_leaves_a_valid_bound():
    problem = random_problem(3, "hinge", 3, "mean", members=4, options=2, goal=GoalKind.MAX_MARGIN, n=12)
    problem = replace(problem, collective=replace(problem.collective, budget=Budget()))
    claim = linear().build(problem).run(Request(node_limit=1, relative_gap=1e-9))
    best = enumerate_choices(problem).best
    assert claim.bound is not None and claim.bound >= best.objective - 1e-6


@pytest.mark.parametrize("goal", [GoalKind.MAX_MARGIN, GoalKind.MIN_COST])
def test_a_cutoff_and_a_start_keep_the_optimum(goal):
    problem = random_problem(
        2, "hinge", 2, "sum", goal=goal, guards=(), queries=(Query("q", (1.0, 0.5), -1.0, required=0.1),)
    )
    best = enumerate_choices(problem).best
    request = replace(EXACT, start=best.moves, start_parameters=best.parameters, cutoff=best.objective)
    claim = linear().build(problem, request).run(request)
    assert claim.objective == pytest.approx(best.objective, abs=1e-6)
    assert claim.bound == pytest.approx(best.objective, abs=1e-6)


# -- every row holds for every move ---


def rows_of_learner(model):
    """All rows but those of the goal, whose variables the start leaves to the solver."""
    goal = {"guard", "margin_of", "spent_on"}
    for one in model.component_data_objects(pyo.Constraint, active=True):
        if one.parent_component().local_name not in goal:
            yield one


def assert_rows_hold(problem, program, moves, slack=2e-6):
    values = program.start(moves, None)
    for variable in program.model.component_data_objects(pyo.Var):
        if variable.name in values:
            variable.set_value(values[variable.name], skip_validation=True)
            assert variable.lb is None or values[variable.name] >= variable.lb - slack, variable.name
            assert variable.ub is None or values[variable.name] <= variable.ub + slack, variable.name
    stated = 0
    for one in rows_of_learner(program.model):
        if all(v.name in values for v in identify_variables(one.body)):
            body, stated = pyo.value(one.body), stated + 1
            assert one.lower is None or body >= pyo.value(one.lower) - slack, one.name
            assert one.upper is None or body <= pyo.value(one.upper) + slack, one.name
    assert stated >= len(program.model.theta)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("loss", "T"), [("squared", 3), ("hinge", 3), ("logistic", 2)])
def test_the_iterates_of_every_move_satisfy_every_row(loss, T, reduction):
    """What the program would exclude otherwise; the iterates are the rule's, by its own replay."""
    for seed in (6,) if T == 3 else (1,):
        problem = random_problem(seed, loss, T, reduction)
        problem = replace(problem, collective=replace(problem.collective, budget=Budget()))
        program = fitting(problem).build(problem)
        for choice in choices(problem):
            moves = moves_from_choice(problem, choice)
            try:
                outcome = evaluate(problem, moves)
            except UndefinedLearner:
                continue
            thetas = unroll(GradientSettings.of(problem), problem.apply(moves))
            assert GradientSettings.of(problem).split(thetas[-1])[0] == pytest.approx(outcome.parameters.w, abs=1e-12)
            assert_rows_hold(problem, program, moves)


@pytest.mark.parametrize("loss", list(KIND_OF))
def test_a_choice_alone_fixes_the_iterates(loss):
    """For fixed choices the rows leave the parameters of the rule, nothing else."""
    problem = random_problem(7, loss, 2, "mean", goal=GoalKind.MAX_MARGIN)
    problem = replace(problem, guards=(), collective=replace(problem.collective, budget=Budget()))
    for place, choice in enumerate(choices(problem)):
        if place % 5:
            continue
        program = fitting(problem).build(problem)
        moves = moves_from_choice(problem, choice)
        for name, value in program.start(moves, None).items():
            if name.startswith("choice"):
                program.model.find_component(name).fix(value)
        claim = program.run(EXACT)
        outcome = evaluate(problem, moves)
        assert claim.parameters.vector() == pytest.approx(outcome.parameters.vector(), abs=1e-6)
        assert claim.objective == pytest.approx(outcome.objective, abs=1e-6)


# -- intervals ---


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("loss", "T"), list(product(KIND_OF, [2, 3])))
def test_no_choice_leaves_the_intervals(loss, T, reduction):
    for seed in (0, 1, 3):
        problem = random_problem(seed, loss, T, reduction)
        model = (UnrolledChangeModel if loss == "logistic" else UnrolledModel)(problem, Request())
        model.write()
        assert {bound.lower_reason for bound in model.proved.values()} == {Reason.STEPS}
        for choice in choices(problem):
            moves = moves_from_choice(problem, choice)
            for name, bound in model.proved.items():
                value = model.quantities[name].value(moves, None)
                assert value is None or bound.lower <= value <= bound.upper, name


def test_after_one_step_the_intervals_are_the_extremes_over_all_choices():
    for loss, cap in product(KIND_OF, [None, 1]):
        problem = random_problem(2, loss, 2, "sum")
        problem = replace(problem, collective=replace(problem.collective, budget=Budget(members=cap)))
        model, settings = UnrolledChangeModel(problem, Request()), GradientSettings.of(problem)
        directions = np.random.default_rng(0).normal(size=(5, model.p))
        box = model.ranges.along(directions, 1)
        moves = [moves_from_choice(problem, choice) for choice in choices(problem)]
        values = np.array([unroll(settings, problem.apply(one))[1] @ directions.T for one in moves])
        assert box.lower == pytest.approx(values.min(axis=0), abs=1e-5)
        assert box.upper == pytest.approx(values.max(axis=0), abs=1e-5)


def test_the_kink_at_the_start_is_decided_exactly():
    """0.1 * 3 is more than 0.3 in floating point; exactly, y f is just below or just above 1."""
    theta, y = np.array([3.0, 0.7]), np.ones(1)
    assert slopes_at_start(StepLoss.HINGE, np.array([[0.1, 1.0]]), y, theta)[0] == -1.0 or (0.1 * 3.0 + 0.7 >= 1.0)
    exact = np.array([[0.25, 0.25]])
    assert slopes_at_start(StepLoss.HINGE, exact, y, np.array([2.0, 2.0]))[0] == 0.0
    assert slopes_at_start(StepLoss.HINGE, exact, y, np.array([2.0, np.nextafter(2.0, 0.0)]))[0] == -1.0


# -- feature changes ---


def sampled_moves(problem, draw, around=()):
    """Random admissible moves, near given ones where there are any; None where a budget does not allow them."""
    known, moves = {move.record: move for move in around}, []
    for member in problem.collective.members:
        near, sets = known.get(member.record), change_sets(problem, member)
        if near is not None and draw.uniform() < 0.3:
            moves.append(near)
        elif sets and draw.uniform() < 0.8:
            one = sets[0]
            same = near is not None and (near.y, near.s) == (one.y, one.s)
            delta = np.array(near.x) - one.x if same else np.zeros(one.d)
            delta = delta + (0.1 if around else 0.6) * draw.normal(size=one.d) * one.scales * one.movable
            for ball in one.balls:
                delta = delta * min(1.0, ball.radius / max(1e-12, ball.norm.of(delta / one.scales)))
            move = one.move(np.clip(delta, one.lower, one.upper))
            moves += [] if move is None else [move]
        else:
            options = problem.admissible_options(member)
            option = options[draw.integers(len(options))]
            if option.kind is not OptionKind.STAY:
                moves.append(Move(member.record, option.x, option.y, option.s, option.cost))
    if budget_violations(problem, moves) or any(move_violation(problem, move) for move in moves):
        return None
    return tuple(moves)


def best_sampled(problem, tries=150):
    draw, best = np.random.default_rng(0), None
    for place in range(tries):
        moves = sampled_moves(problem, draw, best.moves if best is not None and place > tries // 3 else ())
        if moves is None:
            continue
        try:
            outcome = evaluate(problem, moves)
        except UndefinedLearner:
            continue
        if outcome.is_answer and (best is None or outcome.exceeds(best)):
            best = outcome
    return best


CHANGES = [("squared", 1), ("squared", 2), ("hinge", 1), ("hinge", 2), ("logistic", 1), ("logistic", 2)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("loss", "T"), CHANGES)
def test_no_sampled_change_beats_the_bound_and_the_answer_replays(loss, T, seed):
    problem = with_room(seed, loss, T, ("mean", "sum")[seed % 2], n=6)
    assert linear().accepts(problem) is not None
    best, claim = best_sampled(problem), nonlinear().build(problem).run(Request(relative_gap=1e-5, time_limit=10))
    sign = 1 if problem.goal.maximises else -1
    if best is not None:
        assert not claim.infeasible
        assert sign * (best.objective - claim.bound) <= 1e-6 * (1 + abs(claim.bound))
    if claim.moves is None:
        return
    assert claim.stopped_by is StoppedBy.GAP
    outcome = evaluate(problem, claim.moves)
    assert not budget_violations(problem, claim.moves)
    assert not [text for move in claim.moves if (text := move_violation(problem, move))]
    assert outcome.is_answer and outcome.objective == pytest.approx(claim.objective, abs=1e-5)


@pytest.mark.parametrize(("loss", "T"), CHANGES)
def test_no_sampled_change_leaves_the_intervals_or_breaks_a_row(loss, T):
    for seed in (0, 1, 2):
        problem = with_room(seed, loss, T, ("mean", "sum")[seed % 2])
        model = UnrolledChangeModel(problem, Request())
        program, draw = model.change_program(frozenset()), np.random.default_rng(seed)
        tried = [moves for _ in range(20) if (moves := sampled_moves(problem, draw)) is not None]
        assert tried
        for place, moves in enumerate(tried):
            for name, bound in model.proved.items():
                value = model.quantities[name].value(moves, None)
                assert value is None or bound.lower - 1e-9 <= value <= bound.upper + 1e-9, name
            if place < 5:
                assert_rows_hold(problem, program, moves)


def test_a_dense_grid_gives_the_same_optimum():
    """One member with two features, two steps: every move of a grid, and the best of them refined."""
    problem = with_room(4, "squared", 2, "sum", members=1)
    action = FeatureAction(Norm.LINF, 0.6)
    problem = replace(
        problem,
        collective=Collective((Member(0, (action,)),)),
        features=(Feature("x0"), Feature("x1")),
        goal=GoalKind.MAX_MARGIN,
        guards=(),
    )
    x = problem.records.X[0]
    grid = [x + np.array(step) for step in product(np.linspace(-0.6, 0.6, 31), repeat=2)]
    y, s = float(problem.records.y[0]), float(problem.records.s[0])
    values = [evaluate(problem, (Move(0, tuple(one.tolist()), y, s, 0.0),)).objective for one in grid]
    result = solve(problem, formulation="unrolled_nonlinear")
    assert result.status is Status.OPTIMAL
    assert max(values) - 1e-6 <= result.bound <= max(values) + 5e-3


def test_a_change_is_read_within_what_options_leave_of_the_budget():
    """An option and a change that together overdraw it by a solver's tolerance: the change gives way."""
    problem = with_room(0, "squared", 2, "sum")
    flip = LabelAction((-float(problem.records.y[1]),), 1.0)
    team = (Member(0, (FeatureAction(Norm.L2, 0.6),)), Member(1, (flip,)))
    collective = Collective(team, cost=CostKind.L2, budget=Budget(total=1.3))
    problem = replace(problem, features=(Feature("x0"), Feature("x1")), constraints=(), collective=collective)
    x, y, s = problem.records.X, problem.records.y, problem.records.s
    beyond = 0.3 + 3e-8
    change = Move(0, (float(x[0, 0] + beyond), float(x[0, 1])), float(y[0]), float(s[0]), beyond)
    label = Move(1, tuple(x[1].tolist()), -float(y[1]), float(s[1]), 1.0)
    assert budget_violations(problem, (change, label))
    program = nonlinear().build(problem)
    values = program.start((change, label), None)
    for variable in program.model.component_data_objects(pyo.Var):
        if variable.name in values:
            variable.set_value(values[variable.name], skip_validation=True)
    moves, _ = program.read()
    assert not budget_violations(problem, moves)
    assert [move.record for move in moves] == [0, 1] and moves[0].cost == pytest.approx(0.3, abs=1e-6)


def test_a_supremum_at_a_kink_is_approached():
    """w = 1, and the member's pull is x as long as x < 1: the answer lies just beside 1."""
    problem = kink_problem(T=1)
    result = solve(problem, formulation="unrolled_nonlinear")
    assert result.status is Status.OPTIMAL
    assert result.bound == pytest.approx(1.25, abs=1e-4) and result.objective == pytest.approx(1.25, abs=1e-4)
    assert result.objective <= 1.25


def test_where_several_kinks_meet_the_bound_is_one_but_no_answer_reaches_it():
    """After two steps the best is 1 + x / 2 with 1 + x / 4 just below 1 / x; the program also takes both kinks at 1."""
    problem = kink_problem(T=2)
    moves = [(Move(0, (float(x),), 1.0, 1.0, float(x) - 0.5),) for x in np.linspace(0.5, 1.4, 200)]
    best = max(evaluate(problem, one).objective for one in moves)
    result = solve(problem, formulation="unrolled_nonlinear")
    assert result.bound >= max(best, 2**0.5) - 1e-6
    assert result.status is Status.FEASIBLE and result.objective <= 2**0.5


def kink_problem(T):
    return RecourseProblem(
        name="kink",
        records=Records(np.array([[0.5], [-1.0]]), np.array([1.0, -1.0]), np.ones(2)),
        learner=LearnerSpec("svm", C=1.0),
        collective=Collective((Member(0, (FeatureAction(Norm.L2, 1.0),)),)),
        queries=(Query("q", (1.0,), 1.0),),
        goal=GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        update=gradient_update([1.0], rate=0.25, T=T, reduction="sum", loss="hinge"),
    )


# -- many steps ---


@pytest.mark.parametrize("T", [1, 4, 40])
def test_iterates_of_ridge_approach_re_training_as_fast_as_is_proved(T):
    problem = random_problem(0, "squared", 1, "sum", n=12)
    alpha, X, y, s = 1.0, problem.records.X, problem.records.y, problem.records.s
    optimum = Ridge(alpha=alpha, fit_intercept=False).fit(X, y, sample_weight=s).coef_
    hessian = 2 * alpha * np.eye(2) + 2 * (X.T * s) @ X
    least, largest = np.linalg.eigvalsh(hessian)[[0, -1]]
    for rate in (0.3 / largest, 1.0 / largest, 1.9 / largest):
        start = np.array([2.0, -1.0])
        update = gradient_update(start.tolist(), rate=rate, T=T, l2=2 * alpha, reduction="sum", loss="squared")
        here = replace(problem, update=update, learner=LearnerSpec("ridge", alpha=alpha))
        last = np.array(evaluate(here, ()).parameters.w)
        factor = max(abs(1 - rate * least), abs(1 - rate * largest))
        assert factor < 1
        assert np.linalg.norm(last - optimum) <= factor**T * np.linalg.norm(start - optimum) + 1e-12


def test_the_program_of_many_steps_is_that_of_re_training():
    """Where 40 steps have converged, the best labels are those of ridge re-trained."""
    problem = random_problem(0, "squared", 1, "sum", n=8, goal=GoalKind.MAX_MARGIN)
    flips = tuple(Member(i, (LabelAction((-float(problem.records.y[i]),)),)) for i in range(3))
    spec = LearnerSpec("ridge", alpha=1.0)
    retrained = replace(problem, update=Update(), learner=spec, collective=Collective(flips), guards=())
    X, s = problem.records.X, problem.records.s
    largest = float(np.linalg.eigvalsh(2 * np.eye(2) + 2 * (X.T * s) @ X)[-1])
    update = gradient_update([0.0, 0.0], rate=1 / largest, T=40, l2=2.0, reduction="sum")
    claim = linear().build(replace(retrained, update=update)).run(EXACT)
    assert claim.objective == pytest.approx(enumerate_choices(retrained).best.objective, abs=1e-5)


# -- refusals ---


def test_what_the_programs_refuse():
    problem = random_problem(0, "squared", 2, "mean")
    for one in (linear(), nonlinear()):
        assert "re" in one.accepts(replace(problem, update=Update()))
        assert "max_loss_increase" in one.accepts(replace(problem, max_loss_increase=0.1))
    assert "room" in nonlinear().accepts(problem)
    assert "finite options" in linear().accepts(with_room(0, "squared", 2, "mean"))
    assert "curve" in linear().accepts(random_problem(0, "logistic", 2, "mean"))
    diverging = dict(problem.update.settings) | {"rate": 1e6}
    wide = replace(problem, update=Update(problem.update.kind, tuple(diverging.items())))
    assert "wide" in linear().accepts(wide)
    with pytest.raises(UnsupportedError, match="wide"):
        solve(wide, formulation="unrolled")


def test_huge_numbers_are_refused_rather_than_overflown():
    problem = random_problem(0, "squared", 2, "mean")
    settings = dict(problem.update.settings) | {"rate": 1e200, "T": 4, "batches": None}
    huge = replace(problem, update=Update(problem.update.kind, tuple(settings.items())))
    assert "narrow enough" in linear().accepts(huge)


@pytest.mark.parametrize("form", ["lp", "mps"])
def test_another_reader_of_the_exported_program_finds_the_same_optimum(tmp_path, form):
    problem = random_problem(8, "squared", 3, "mean", goal=GoalKind.MAX_MARGIN, guards=())
    path = tmp_path / f"steps.{form}"
    export(problem, path, formulation="unrolled", form=form)
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("mip_rel_gap", 1e-9)
    solver.readModel(str(path))
    solver.run()
    value = abs(solver.getInfo().objective_function_value)
    assert value == pytest.approx(abs(enumerate_choices(problem).best.objective), abs=1e-6)


def test_a_kink_met_to_the_last_digit_is_no_answer_and_no_error():
    """The first step leads w from 0 to 1 but for rounding, where y f = 1 at the second step's records."""
    problem = RecourseProblem(
        "kink",
        Records(np.array([[10.0], [1.0], [1.0]]), np.array([1.0, 1.0, -1.0]), np.ones(3)),
        LearnerSpec("svm", Intercept.NONE, C=1.0),
        Collective((Member(2, (LabelAction((1.0,)),)),)),
        (Query("q", (1.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("-", "+"),
        update=gradient_update([0.0], rate=0.1, T=2, reduction="sum", batches=[[0], [1, 2]]),
    )
    for name in ("enumeration", "unrolled"):
        result = solve(problem, formulation=name)
        assert result.status is Status.UNKNOWN and result.objective is None
        assert result.bound is None or result.bound >= 1.1 - 1e-6


def test_a_crowd_is_refused_before_its_intervals_are_proved():
    n = 1500
    members = tuple(Member(i, (LabelAction((-1.0, 1.0)),)) for i in range(n))
    problem = RecourseProblem(
        "crowd",
        Records(np.ones((n, 1)), np.where(np.arange(n) % 2, 1.0, -1.0), np.ones(n)),
        LearnerSpec("ridge", Intercept.NONE, alpha=1.0),
        Collective(members),
        (Query("q", (1.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("-", "+"),
        update=gradient_update([0.0], rate=0.1, T=2),
    )
    for name in ("unrolled", "unrolled_nonlinear"):
        assert "alternatives" in formulations()[name].accepts(problem)
