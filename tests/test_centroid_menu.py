"""The nearest centroid under menus against re-training of every choice, and its proved intervals against all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from formulations.single_level import centroid_menu
from oar_opt import centroid_program
from oar_opt.bounds import Reason
from oar_opt.bounds_listing import list_bounds
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
    WithholdAction,
    moves_from_choice,
    resulting_records,
)
from oar_opt.result import Request, Status

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
        Collective(
            tuple(member(i) for i in team), budget=BUDGETS[int(draw.choice(6, p=[0.5, 0.1, 0.1, 0.1, 0.15, 0.05]))]
        ),
        tuple(subject(f"q{q}", margin) for q, margin in enumerate(required)),
        GOALS[seed % 4],
        classes=("a", "b", "c")[:classes],
        guards=tuple(subject(f"guard{g}", -2.0) for g in range(int(draw.random() < 0.3))),
        max_loss_increase=float(draw.choice([0.1, 1.0, 4.0])) if draw.random() < 0.25 else None,
    )


def run(problem, request=REQUEST):
    return program().build(problem, request).run(request)


def assert_right(problem, claim, best):
    """The claim is what re-training every choice gives: objective, bound, infeasibility, parameters.

    The program raises margins by a stated allowance for the solver's tolerances.
    """
    units = centroid_program.CentroidModel(problem, REQUEST).units
    raised = units.margin * units.slack
    if best is None:
        assert claim.infeasible and claim.moves is None
        return
    assert not claim.infeasible and claim.moves is not None
    outcome, size = evaluate(problem, claim.moves), max(1.0, abs(best.objective))
    assert outcome.is_answer
    for value in (outcome.objective, claim.objective, claim.bound):
        assert value == pytest.approx(best.objective, abs=2e-6 * size + raised)
    size = max(1.0, float(np.abs(outcome.parameters.vector()).max()))
    assert claim.parameters.vector() == pytest.approx(outcome.parameters.vector(), abs=1e-6 * size)


# -- the optimum ------------------------------------------------------------------------------------------------------


def every_choice(problem):
    """Moves and re-trained parameters of every choice within the cap on members."""
    for choice in choices(problem):
        moves = moves_from_choice(problem, choice)
        try:
            yield moves, evaluate(problem, moves).parameters
        except UndefinedLearner:
            continue


@pytest.mark.parametrize("seed", range(40))
def test_the_optimum_equals_that_of_re_training_every_choice(seed):
    problem = random_problem(seed)
    assert program().accepts(problem) is None
    assert_right(problem, run(problem), enumerate_choices(problem).best)


def measured_otherwise(problem, scale, offset):
    """The same story with features ``scale x + offset``; required margins grow with the mean square of the scales."""
    factor = float(np.mean(scale**2))

    def point(x):
        return tuple((np.array(x) * scale + offset).tolist())

    def subject(query):
        required = None if query.required is None else max(query.required * factor, 1e-4)
        return replace(query, x=point(query.x), required=required)

    members = tuple(
        replace(member, menu=tuple(replace(option, x=point(option.x)) for option in member.menu))
        for member in problem.collective.members
    )
    return replace(
        problem,
        records=replace(problem.records, X=problem.records.X * scale + offset),
        collective=replace(problem.collective, members=members),
        queries=tuple(map(subject, problem.queries)),
        guards=(),
        max_loss_increase=None,
    )


@pytest.mark.parametrize("seed", [1000, 1235, 1136, *range(3, 12)])
def test_features_of_different_size_and_far_from_zero(seed):
    """The first three have had wrong optima from SCIP's presolve, with one unit of length or rounding in rows."""
    draw, problem = np.random.default_rng([seed, 77]), random_problem(seed)
    ways = {
        0: (10.0 ** draw.uniform(-3, 3, size=problem.d), np.zeros(problem.d)),
        1: (np.ones(problem.d), 1000 * draw.normal(size=problem.d)),
        2: (np.full(problem.d, 0.01), np.zeros(problem.d)),
    }
    problem = measured_otherwise(problem, *ways[seed % 5 if seed >= 1000 else seed % 3])
    if program().accepts(problem) is None:
        assert_right(problem, run(problem), enumerate_choices(problem).best)


@pytest.mark.parametrize("seed", range(8))
def test_a_start_and_its_cutoff_change_nothing(seed):
    problem = random_problem(seed)
    ranking = enumerate_choices(problem, keep=100).ranking
    for known in (*ranking[:1], *ranking[-1:]):
        request = replace(REQUEST, start=known.moves, start_parameters=known.parameters, cutoff=known.objective)
        assert_right(problem, run(problem, request), ranking[0])


@pytest.mark.parametrize("seed", [0, 4, 8])
def test_excluded_moves_do_not_come_back(seed):
    problem, excluded = random_problem(seed, members=2), []
    for _ in range(4):
        best = enumerate_choices(problem, excluded=excluded).best
        claim = run(problem, replace(REQUEST, excluded=tuple(excluded)))
        assert_right(problem, claim, best)
        if claim.moves is None:
            break
        assert resulting_records(problem, claim.moves) not in [resulting_records(problem, m) for m in excluded]
        excluded.append(claim.moves)
    assert excluded


@pytest.mark.parametrize("goal", GOALS)
def test_the_bound_is_valid_after_few_nodes(goal):
    problem = replace(random_problem(4, members=4, extra=2, n=9), goal=goal, max_loss_increase=None)
    best = enumerate_choices(problem).best
    claim = run(problem, replace(REQUEST, node_limit=1))
    if best is None:
        assert claim.moves is None
        return
    sign = 1 if goal.maximises else -1
    assert claim.bound is None or sign * (claim.bound - best.objective) >= -1e-9 * max(1.0, abs(best.objective))
    assert not claim.infeasible


# -- the proved intervals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(24))
def test_every_interval_holds_for_every_choice_and_is_reached(seed):
    """Without a total budget each end is the extreme itself, but for a class that can be emptied."""
    problem = replace(random_problem(seed), max_loss_increase=None)
    budget = replace(problem.collective.budget, total=None)
    problem = replace(problem, collective=replace(problem.collective, budget=budget))
    built = program().build(problem)
    assert built.quantities.keys() == built.bounds.keys()
    emptied = {c for c, moving in centroid_program.moving_classes(problem).items() if moving.can_be_empty}
    undefined = {
        c
        for choice in choices(problem)
        for c in range(len(problem.classes))
        if not problem.apply(moves_from_choice(problem, choice))
        .s[problem.apply(moves_from_choice(problem, choice)).y == c]
        .any()
    }
    assert emptied == undefined
    outcomes = list(every_choice(problem))
    for name, bound in built.bounds.items():
        values = [built.quantities[name].value(moves, parameters) for moves, parameters in outcomes]
        assert bound.lower_reason is Reason.EXTREME and bound.lower <= min(values) and max(values) <= bound.upper
        if not emptied:
            assert (bound.lower, bound.upper) == pytest.approx((min(values), max(values)), abs=1e-6)


# -- where it applies -------------------------------------------------------------------------------------------------


def test_every_reason_to_refuse_is_given(make):
    base = random_problem(4)
    team = base.collective.members

    def with_weight(s):
        heavier = tuple(replace(o, s=s) for o in team[0].menu) or (
            Option(OptionKind.MENU, base.queries[0].x, 0.0, s, 1.0),
        )
        return replace(base, collective=Collective((replace(team[0], menu=heavier), *team[1:])))

    far = tuple(replace(query, x=tuple(1e5 for _ in query.x)) for query in base.queries)
    moving = Collective((Member(0, (FeatureAction(Norm.L2, 0.5),)),))
    small = tuple(replace(query, required=1e-5) for query in base.queries)
    refused = {
        "no nearest centroid": make(0),
        "finite options only": replace(base, collective=moving),
        "too far apart": with_weight(1e6),
        "divide all features": replace(base, queries=tuple(replace(q, x=tuple(1e9 for _ in q.x)) for q in far)),
        "tolerances hide": replace(
            base,
            goal=GoalKind.MIN_COST,
            queries=tuple(replace(query, x=f.x) for query, f in zip(small, far, strict=True)),
        ),
    }
    for reason, problem in refused.items():
        assert reason in (program().accepts(problem) or ""), reason


def test_it_is_chosen_where_there_are_too_many_choices_to_enumerate():
    many, few = random_problem(4, members=6, extra=3, n=9), random_problem(0)
    assert choose(many)[0].name == "centroid_menu" and choose(few)[0].name == "enumeration"


def test_the_shipped_instance_is_solved_and_its_program_is_written_and_listed(tmp_path):
    problem = load("iris-centroid-menus")
    result = solve(problem)
    assert result.status is Status.OPTIMAL and result.solution.method.formulation == "centroid_menu"
    assert result.active_bounds is not None and result.verification.passed
    assert list_bounds(problem).ends_by_reason.keys() == {Reason.EXTREME}
    written = export(problem, tmp_path / "iris.lp", form="lp", start=False)
    assert written.formulation == "centroid_menu"
