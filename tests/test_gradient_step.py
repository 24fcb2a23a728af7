"""One gradient step: scores are what replaying gives, bounds hold at all prices, optima are those of enumeration."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from oar_opt.discovery import formulations
from oar_opt.evaluate import UndefinedLearner, enumerate_choices, evaluate
from oar_opt.instance_file import save_instance
from oar_opt.one_step import OneStep
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Direction,
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
    WithholdAction,
)
from oar_opt.result import Request, Status, StoppedBy
from oar_opt.rules import budget_violations
from oar_opt.step_dual import Choice, DualGoal, Prices, StepDual
from oar_opt.update_settings import gradient_update
from oar_opt.verification import move_violation

LOSSES, GOALS, INTERCEPTS = ("squared", "hinge", "logistic"), tuple(GoalKind), tuple(Intercept)
FINE = Request(relative_gap=1e-7)


def formulation():
    return formulations()["gradient_step"]


def run(problem, request=FINE):
    assert formulation().accepts(problem) is None
    return formulation().build(problem).run(request)


def steps(seed, loss, reduction, *, members=4, n=9, d=2, moving=False, away=1, required=0.1, queries=None, **changed):
    """Members with labels, withholding and menus that change everything; ``away`` records do not arrive, of which the
    last member is one. ``moving``: the first two may move features as well."""
    draw = np.random.default_rng([seed, LOSSES.index(loss)])
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    X, s = draw.normal(size=(n, d)), draw.choice([0.5, 1.0, 2.0], size=n)
    intercept = INTERCEPTS[seed % 3]

    def member(i):
        actions = [LabelAction((-1.0, 1.0), 1.0)] if i % 3 == 0 else []
        actions += [WithholdAction(0.6)] if i % 2 else []
        if moving and i < 2:
            actions.append(FeatureAction(Norm.L2, 0.5, 0.1))
        x = tuple((X[i] + draw.normal(size=d)).tolist())
        other = Option(OptionKind.MENU, x, float(draw.choice([-1.0, 1.0])), float(draw.choice([s[i], 1.5])), 0.8)
        return Member(i, tuple(actions), (other,))

    arriving = sorted(draw.permutation([i for i in range(n) if i < members - away or i >= members]).tolist())
    update = gradient_update(
        draw.normal(size=d),
        0.0 if intercept is Intercept.NONE else 0.3,
        rate=0.7 if reduction == "mean" else 0.1,
        l2=0.1,
        reduction=reduction,
        batches=[arriving],
        loss=loss,
    )
    asked = tuple(
        Query(f"q{j}", tuple(draw.normal(size=d).tolist()), float(draw.choice([-1.0, 1.0])), required=required)
        for j in range(queries or 1 + seed % 2)
    )
    guards = (Query("g", tuple(draw.normal(size=d).tolist()), 1.0, required=-0.8),) if seed % 2 else ()
    problem = RecourseProblem(
        f"step-{seed}",
        Records(X, y, s),
        LearnerSpec("ridge", alpha=1.0, intercept=intercept),
        Collective(tuple(member(i) for i in range(members)), budget=Budget(total=2.0 if seed % 3 == 1 else None)),
        asked,
        GOALS[seed % 4],
        classes=("a", "b"),
        guards=guards,
        update=update,
    )
    return replace(problem, **changed)


def with_budget(problem, **budget):
    return replace(problem, collective=replace(problem.collective, budget=Budget(**budget)))


def movers(seed, loss, *, k=2, radius=0.6, norm=Norm.L2, cost=CostKind.L2, budget=None, features=(), d=2, **changed):
    """Members who move features, a record that nobody changes, a sum, one query, the largest margin."""
    draw = np.random.default_rng([seed, 77])
    X = draw.normal(size=(k + 1, d))
    problem = RecourseProblem(
        f"movers-{seed}",
        Records(X, draw.choice([-1.0, 1.0], k + 1), np.ones(k + 1)),
        LearnerSpec("ridge", alpha=1.0),
        Collective(tuple(Member(i, (FeatureAction(norm, radius),)) for i in range(k)), cost, budget or Budget()),
        (Query("q", tuple(draw.normal(size=d).tolist()), 1.0, required=0.1),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        features=features,
        update=gradient_update(draw.normal(size=d), rate=0.3, reduction="sum", loss=loss),
    )
    return replace(problem, **changed)


# -- scores --------------------------------------------------------------------------------------------------------


def one_of_each(step, draw):
    """A random item and, for some who can, a random change of features: a choice of the dual, and its moves."""
    first = np.append(step.items.first, len(step.items.member))
    item = np.array([draw.integers(a, b) for a, b in pairwise(first)])
    chosen = np.full(step.count, -1, dtype=np.int64)
    e = []
    for place, owner in enumerate(step.sets.members if step.sets is not None else ()):
        if draw.random() < 0.6:
            chosen[owner] = place
            toward = draw.normal(size=step.problem.d)
            e.append(step.sets.R2[place] * draw.random() * toward / np.linalg.norm(toward))
    return Choice(item, chosen, np.array(e).reshape(-1, step.problem.d))


def moves_of(step, choice):
    from oar_opt.step_offers import change_moves

    items = [step.move(int(k)) for k in choice.item[choice.set < 0]]
    return [move for move in items if move is not None] + change_moves(
        step.problem, StepDual(step, step.needs), choice.set[choice.changing], choice.e
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", LOSSES)
def test_margins_of_all_kinds_of_moves_are_what_the_scores_say(loss, reduction):
    problem = steps(5, loss, reduction, moving=True)
    step = OneStep.of(problem)
    assert step.count == 3 and step.has_fixed_divisor == (reduction == "sum")
    draw = np.random.default_rng(0)
    levels = draw.normal(size=len(step.needs))
    dual = StepDual(step, levels)
    for _ in range(10):
        choice = one_of_each(step, draw)
        moves = moves_of(step, choice)
        outcome = evaluate(problem, moves)
        margins = np.array([*outcome.margins, *outcome.guard_margins])
        rows, cost, acts = dual.sums(choice)
        weight = 1.0
        if reduction == "mean":
            arriving = list(dict(problem.update.settings)["batches"][0])
            weight = float(outcome.records.s[arriving].sum())
        # The sum is linear also where withholding changes the weight of the batch.
        assert (dual.base + rows) * step.divisor / weight + levels == pytest.approx(margins, abs=1e-9)
        assert cost == pytest.approx(sum(move.cost for move in moves)) and acts == len(moves)
        assert weight >= step.least_divisor - 1e-12
        assert not [text for move in moves if (text := move_violation(problem, move))]


@pytest.mark.parametrize("budget", [Budget(), Budget(each=0.7), Budget(total=0.9), Budget(members=0)])
def test_items_are_the_admissible_options_of_those_who_arrive(budget):
    problem = steps(3, "hinge", "mean")
    problem = replace(problem, collective=replace(problem.collective, budget=budget))
    step = OneStep.of(problem)
    for place, number in enumerate(step.members):
        member = problem.collective.members[number]
        options = problem.admissible_options(member)
        moves = [step.move(int(k)) for k in np.flatnonzero(step.items.member == place)]
        assert moves[0] is None and len(moves) == len(options)
        ours = Counter((m.record, m.x, m.y, m.s, m.cost) for m in moves[1:])
        assert ours == Counter((member.record, o.x, o.y, o.s, o.cost) for o in options[1:])


def test_changes_in_few_steps_are_items():
    features = (Feature("a", step=0.25), Feature("b", direction=Direction.FIXED))
    problem = movers(0, "squared", features=features)
    step = OneStep.of(problem)
    assert step.sets is None and len(step.items.member) == sum(
        len(problem.options(m)) for m in problem.collective.members
    )
    claim, best = run(problem), enumerate_choices(problem).best
    assert claim.objective == pytest.approx(best.objective, abs=1e-7) and claim.stopped_by is StoppedBy.GAP


# -- the dual ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", GOALS)
def test_the_dual_bounds_every_answer_at_any_prices(goal):
    """Also at prices that are nowhere near the best ones; two queries, a guard, both budgets."""
    problem = with_budget(
        steps(1, "logistic", "sum", goal=GoalKind.MAX_MARGIN, required=0.02, queries=2), total=2.0, members=2
    )
    # Thresholds such that the best choice just gives both queries what they need.
    margins = enumerate_choices(problem).best.margins
    queries = tuple(replace(q, threshold=q.target * (m - 0.02)) for q, m in zip(problem.queries, margins, strict=True))
    problem = replace(problem, queries=queries, goal=goal)
    best = enumerate_choices(problem).best
    assert best is not None and best.moves and problem.guards
    step = OneStep.of(problem)
    levels = step.needs.copy()
    simplex, waived = np.zeros(len(levels), dtype=bool), np.full(len(levels), np.nan)
    if goal is GoalKind.MAX_MARGIN:
        levels[:2], simplex[:2] = 0.0, True
    if goal is GoalKind.MAX_HELPED:
        waived[:2] = np.abs(step.items.scores).sum() + np.abs(step.fixed).sum() + 10.0
    dual = StepDual(step, levels)
    own = DualGoal(
        simplex, ~simplex, float(goal is GoalKind.MIN_COST), float(goal is GoalKind.MIN_MEMBERS), waived, 2.0, 2
    )
    value = best.objective if goal.maximises else -best.objective
    draw = np.random.default_rng(2)
    for _ in range(100):
        x = draw.exponential(size=own.size) * draw.choice([0.0, 0.1, 1.0, 5.0])
        if simplex.any():
            x[: len(levels)][simplex] = draw.dirichlet(np.ones(2))
        bounds = dual.answer(own.prices(x), 1e-9).bounds
        assert own.linear(dual) @ x + own.counted(x) + bounds.sum() >= value - 1e-5


# -- finite options ------------------------------------------------------------------------------------------------


def assert_enumerated(problem):
    found = enumerate_choices(problem)
    assert found.complete
    claim = run(problem)
    assert claim.infeasible == (found.best is None)
    if found.best is None:
        assert claim.moves is None and claim.stopped_by is StoppedBy.PROOF
        return
    value, sign = found.best.objective, 1 if problem.goal.maximises else -1
    assert claim.stopped_by is StoppedBy.GAP
    assert claim.objective == pytest.approx(value, abs=1e-6) and claim.bound == pytest.approx(value, abs=1e-6)
    assert sign * (claim.bound - value) >= -1e-7
    outcome = evaluate(problem, claim.moves)
    assert outcome.is_answer and outcome.objective == pytest.approx(value, abs=1e-6)
    assert claim.parameters.vector() == pytest.approx(outcome.parameters.vector(), abs=1e-9)


# Seeds 0 to 3 go through the goals; odd ones have two queries and a guard, 1 has a total budget.
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("loss", "reduction"), list(product(LOSSES, ["mean", "sum"])))
def test_the_optimum_equals_that_of_replaying_every_choice(loss, reduction, seed):
    assert_enumerated(steps(seed, loss, reduction))


def test_withholding_under_a_mean_with_one_member_allowed():
    for seed in (4, 5, 7):
        problem = with_budget(steps(seed, "logistic", "mean", goal=GoalKind.MAX_MARGIN), members=1)
        assert not OneStep.of(problem).has_fixed_divisor
        assert_enumerated(problem)


def menu_team(gains, costs, cap=None, total=None):
    """Members whose only option adds ``gains[i]`` to the margin of a query at 1, exactly."""
    k = len(gains)
    # Parameters 0, squared loss, a sum with rate 1/2: a record (x, +1) pushes w by x.
    team = tuple(
        Member(i, (), (Option(OptionKind.MENU, (float(g),), 1.0, 1.0, float(c)),))
        for i, (g, c) in enumerate(zip(gains, costs, strict=True))
    )
    return RecourseProblem(
        "sorted",
        Records(np.zeros((k, 1)), np.ones(k), np.ones(k)),
        LearnerSpec("ridge", alpha=1.0),
        Collective(team, budget=Budget(members=cap, total=total)),
        (Query("q", (1.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        update=gradient_update([0.0], rate=0.5, reduction="sum", loss="squared"),
    )


def test_with_a_cap_on_members_the_largest_gains_win():
    draw = np.random.default_rng(0)
    gains = draw.normal(size=200).round(3)
    for cap in (0, 1, 37, 200):
        claim = run(menu_team(gains, np.ones(200), cap=cap))
        best = np.maximum(np.sort(gains)[::-1][:cap], 0.0).sum()
        assert claim.objective == pytest.approx(best, abs=1e-9) and claim.bound == pytest.approx(best, abs=1e-6)
        assert claim.stopped_by is StoppedBy.GAP and len(claim.moves) <= cap


def test_a_total_budget_is_a_knapsack():
    draw = np.random.default_rng(1)
    costs, gains = draw.integers(3, 30, size=40), draw.integers(5, 60, size=40)
    table = np.zeros(101)
    for cost, gain in zip(costs, gains, strict=True):
        table[cost:] = np.maximum(table[cost:], table[:-cost] + gain)
    claim = run(menu_team(gains, costs, total=100.0))
    assert claim.objective == pytest.approx(table[100]) and claim.bound == pytest.approx(table[100], abs=1e-4)
    assert claim.stopped_by is StoppedBy.GAP and sum(move.cost for move in claim.moves) <= 100


@pytest.mark.parametrize("goal", [GoalKind.MAX_MARGIN, GoalKind.MAX_HELPED])
def test_a_guard_alone_must_be_met_where_margins_are_wished_for(goal):
    """Queries far below what they ask for; staying breaks the guard, and the member can mend it."""
    problem = menu_team([2.0, 1.0], [1.0, 1.0])
    query = replace(problem.queries[0], threshold=100.0, required=1.0)
    guard = Query("g", (1.0,), 1.0, threshold=1.5, required=0.0)
    problem = replace(problem, queries=(query,), guards=(guard,), goal=goal)
    claim = run(problem)
    assert not claim.infeasible and claim.stopped_by is StoppedBy.GAP
    assert claim.objective == pytest.approx(-97.0 if goal is GoalKind.MAX_MARGIN else 0.0)


# -- feature changes -----------------------------------------------------------------------------------------------


def assert_allowed(problem, moves):
    assert not [text for move in moves if (text := move_violation(problem, move))]
    assert not budget_violations(problem, moves)


def test_one_member_whose_push_is_constant_has_a_closed_form():
    """Parameters 0: a record (x, y) pushes by 2 rate y x, so the best change is the radius along y x_q."""
    problem = movers(1, "squared", k=1, radius=0.7)
    problem = replace(problem, update=gradient_update([0.0, 0.0], rate=0.3, reduction="sum", loss="squared"))
    X, y, q = problem.records.X, problem.records.y, np.array(problem.queries[0].x)
    best = 0.6 * (y @ X @ q + 0.7 * np.linalg.norm(q))
    claim = run(problem)
    assert claim.objective == pytest.approx(best, abs=1e-6) and claim.bound == pytest.approx(best, abs=1e-6)
    assert np.array(claim.moves[0].x) - X[0] == pytest.approx(y[0] * 0.7 * q / np.linalg.norm(q), abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_two_members_with_a_total_budget_are_not_beaten_by_a_dense_grid(loss):
    problem = movers(2, loss, d=1, radius=1.5, cost=CostKind.L1, norm=Norm.LINF, budget=Budget(total=1.0))
    X, y = problem.records.X[:, 0], problem.records.y
    start = dict(dict(problem.update.settings)["theta0"])["w"][0]
    x_q = problem.queries[0].x[0]
    delta = np.linspace(-1.0, 1.0, 801)

    def pushed(x, label):
        u = start * x
        slope = {
            "squared": 2 * (label - u),
            "hinge": label * (label * u < 1),
            "logistic": label / (1 + np.exp(label * u)),
        }
        return 0.3 * slope[loss] * x * x_q

    first, second = pushed(X[0] + delta, y[0]), pushed(X[1] + delta, y[1])
    fits = np.abs(delta)[:, None] + np.abs(delta)[None, :] <= 1.0 + 1e-12
    best = start * x_q + pushed(X[2], y[2]) + np.where(fits, first[:, None] + second[None, :], -np.inf).max()
    result = solve(problem, formulation="gradient_step")
    assert result.bound >= best - 1e-9
    gap = result.bound - result.objective
    assert (result.status is Status.OPTIMAL) == (gap <= 1e-4 * max(1.0, abs(result.objective)))
    assert result.objective >= best - max(1e-3, gap)


RULES = (
    Feature("up", direction=Direction.INCREASE, upper=1.5),
    Feature("down", direction=Direction.DECREASE, scale=2.0),
    Feature("still", direction=Direction.FIXED),
)


@pytest.mark.parametrize(
    ("loss", "norm", "cost", "goal"),
    [
        ("squared", Norm.L2, CostKind.L2, GoalKind.MAX_MARGIN),
        ("logistic", Norm.L1, CostKind.COUNT, GoalKind.MAX_HELPED),
        ("hinge", Norm.L2, CostKind.SQL2, GoalKind.MIN_COST),
        ("logistic", Norm.LINF, CostKind.LINF, GoalKind.MIN_MEMBERS),
    ],
)
def test_rules_hold_and_random_moves_do_not_beat_the_bound(loss, norm, cost, goal):
    problem = movers(4, loss, k=2, d=3, norm=norm, cost=cost, features=RULES, radius=0.8, goal=goal)
    X = np.minimum(problem.records.X, [1.0, 9.0, 9.0])
    start = evaluate(
        replace(problem, goal=GoalKind.MAX_MARGIN, records=Records(X, problem.records.y, problem.records.s)), ()
    )
    query = replace(problem.queries[0], required=max(0.01, start.margins[0] + 0.01))
    lift = max(0.0, -start.margins[0])
    query = replace(query, threshold=-lift)
    problem = replace(problem, queries=(query,), records=Records(X, problem.records.y, problem.records.s))
    claim = run(problem, Request(relative_gap=1e-3))
    assert claim.moves, "the case asks for moves"
    assert_allowed(problem, claim.moves)
    for move in claim.moves:
        change = np.array(move.x) - X[move.record]
        assert change[0] >= 0 and change[1] <= 0 and change[2] == 0 and move.x[0] <= 1.5
    step, draw = OneStep.of(problem), np.random.default_rng(0)
    lower, upper = step.sets.box()
    sign = 1 if goal.maximises else -1
    dual, answers = StepDual(step, step.needs), 0
    from oar_opt.step_offers import change_moves

    for _ in range(150):
        e = np.where(draw.random(lower.shape) < 0.5, lower, upper) * draw.choice([1.0, draw.random()])
        for radii, lengths in ((step.sets.R1, np.abs(e).sum(axis=1)), (step.sets.R2, np.linalg.norm(e, axis=1))):
            e *= np.minimum(1.0, radii / np.maximum(lengths, 1e-12))[:, None]
        who = np.flatnonzero(draw.random(step.sets.m) < 0.7)
        outcome = evaluate(problem, change_moves(problem, dual, who, e[who]))
        if outcome.is_answer:
            answers += 1
            assert sign * (outcome.objective - claim.bound) <= 1e-7
    assert answers


def test_members_with_radii_of_different_kinds():
    """One l1, one l2, one linf radius in the same collective."""
    problem = movers(6, "logistic", k=3)
    team = tuple(Member(i, (FeatureAction(norm, 0.5),)) for i, norm in enumerate(Norm))
    problem = replace(problem, collective=Collective(team, CostKind.L2))
    result = solve(problem, formulation="gradient_step")
    assert result.status in (Status.OPTIMAL, Status.FEASIBLE) and result.bound - result.objective < 0.01
    assert len(result.moves) >= 2


# -- where rounding decides ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", [GoalKind.MAX_MARGIN, GoalKind.MIN_COST, GoalKind.MAX_HELPED])
def test_options_at_the_kink_push_as_in_the_replay(goal):
    """3 times 0.1 plus 0.7: 1 in floating point, a little less in exact arithmetic, so the hinge still pushes."""
    k, option = 6, Option(OptionKind.MENU, (0.1, 0.7), 1.0, 1.0, 1.0)
    problem = RecourseProblem(
        "kink",
        Records(
            np.array([[-2.0, 0.0]] * k + [[0.5, 0.0], [-3.0, 0.0]]), np.array([1.0] * k + [-1.0, 1.0]), np.ones(k + 2)
        ),
        LearnerSpec("ridge", alpha=1.0),
        Collective(tuple(Member(i, (), (option,)) for i in range(k))),
        (Query("q", (1.0, 1.0), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        update=gradient_update([3.0, 1.0], rate=1.0, reduction="sum", loss="hinge"),
    )
    assert evaluate(problem, [Move(0, option.x, 1.0, 1.0, 1.0)]).margins[0] > evaluate(problem, ()).margins[0]
    best = enumerate_choices(problem).best.objective
    if goal is not GoalKind.MAX_MARGIN:
        problem = replace(problem, goal=goal, queries=(replace(problem.queries[0], required=best - 0.05),))
    assert_enumerated(problem)


def test_a_reach_that_ends_at_the_kink_counts_the_push():
    """From u = 0 with a radius that ends at u = 1 but for rounding: the answer may stop just short of the kink."""
    for radius in (1.0, 1.0 - 1e-10, 1.0 + 1e-10):
        problem = RecourseProblem(
            "end",
            Records(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([-1.0, 1.0]), np.ones(2)),
            LearnerSpec("ridge", alpha=1.0),
            Collective((Member(0, (FeatureAction(Norm.LINF, radius),)),)),
            (Query("q", (1.0, 0.0), -1.0, required=-9.0),),
            GoalKind.MAX_MARGIN,
            classes=("a", "b"),
            update=gradient_update([-1.0, 0.0], rate=1.0, reduction="sum", loss="hinge"),
        )
        claim = run(problem)
        for x in (radius, radius * (1 - 1e-12), 0.5 * radius, -radius):
            assert evaluate(problem, [Move(0, (x, 0.0), -1.0, 1.0, 0.0)]).objective <= claim.bound + 1e-9


@pytest.mark.parametrize("over", [1e-6, 1e-8, 3e-9])
def test_a_choice_that_overspends_by_a_hair_is_cut_off(over):
    """The solver's tolerance lets two options through that together cost just more than the total."""
    problem = menu_team([2.0, 3.0, 0.5, 0.1], [0.5, 0.5 * (1 + over), 0.3, 0.2], total=1.0)
    claim, best = run(problem), enumerate_choices(problem).best
    assert not budget_violations(problem, claim.moves)
    assert claim.objective == pytest.approx(best.objective, abs=1e-9) and claim.bound >= best.objective - 1e-9
    assert solve(problem, formulation="gradient_step").objective == pytest.approx(best.objective)


def test_an_answer_to_prices_ends_when_told_with_a_valid_bound():
    problem = movers(3, "logistic", k=3)
    step = OneStep.of(problem)
    prices = Prices(np.ones(1), 0.0, 0.0)
    whole = StepDual(step, step.needs).answer(prices, 1e-9).bounds
    ended = StepDual(step, step.needs, stop=lambda: True).answer(prices, 1e-9).bounds
    assert (ended >= whole - 1e-9).all() and ended.sum() > whole.sum()


def several_needs(seed, goal):
    """Two queries and a guard that all need some move; slow sets (an l2 radius, an l1 cost), few members."""
    draw = np.random.default_rng([seed, 3])
    problem = movers(seed, "logistic", k=4, d=3, cost=CostKind.L1, radius=1.0, goal=GoalKind.MAX_MARGIN)
    queries = tuple(Query(f"q{j}", tuple(draw.normal(size=3).tolist()), 1.0) for j in range(3))
    asked = replace(problem, queries=queries, goal=GoalKind.MAX_MARGIN)
    far = evaluate(asked, run(asked, Request(relative_gap=0.1)).moves).margins
    still = evaluate(asked, ()).margins
    needs = [min(0.5 * (a + b), b) for a, b in zip(still, far, strict=True)]
    shifted = [replace(q, threshold=m - 1.0, required=1.0) for q, m in zip(queries, needs, strict=True)]
    return replace(problem, queries=tuple(shifted[:2]), guards=(shifted[2],), goal=goal)


@pytest.mark.parametrize("goal", [GoalKind.MIN_COST, GoalKind.MIN_MEMBERS])
def test_several_needs_that_can_be_met_are_met_before_the_time_is_over(goal):
    problem = several_needs(1, goal)
    assert not evaluate(problem, ()).is_answer
    result = solve(problem, formulation="gradient_step", time_limit=4)
    assert result.moves and result.bound <= result.objective + 1e-7
    if goal is GoalKind.MIN_MEMBERS:
        assert result.bound >= 1


# -- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", [GoalKind.MIN_COST, GoalKind.MIN_MEMBERS])
@pytest.mark.parametrize("moving", [False, True])
def test_needs_out_of_reach_are_infeasible(goal, moving):
    problem = steps(0, "logistic", "sum", goal=goal, required=50.0, moving=moving)
    result = solve(problem, formulation="gradient_step")
    assert result.status is Status.INFEASIBLE and result.objective is None


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", [2, 4, 6])
def test_a_need_that_is_just_within_reach_is_not_infeasible(loss, seed):
    """The largest margin itself is needed: the dual's bound on the excess is 0 but for rounding."""
    problem = steps(seed, loss, "mean", goal=GoalKind.MAX_MARGIN, queries=1)
    best = enumerate_choices(problem).best
    (query,) = problem.queries
    needed = best.margins[0] + problem.tolerances.feasibility
    problem = replace(problem, goal=GoalKind.MIN_MEMBERS, queries=(replace(query, required=needed),))
    expected = enumerate_choices(problem).best.objective
    claim = run(problem)
    assert not claim.infeasible and claim.objective == claim.bound == expected


def test_a_guard_out_of_reach_is_infeasible_for_every_goal():
    guard = Query("g", (1.0, 0.0), 1.0, required=50.0)
    for goal in GOALS:
        assert run(steps(0, "squared", "mean", goal=goal, guards=(guard,))).infeasible


@pytest.mark.parametrize("empty", ["nobody", "nobody arrives", "all immutable", "no radius"])
def test_where_nobody_can_act_staying_is_optimal(empty):
    problem = movers(3, "squared")
    if empty == "nobody":
        problem = replace(problem, collective=Collective(()))
    elif empty == "nobody arrives":
        settings = dict(problem.update.settings)
        start = dict(settings["theta0"])
        update = gradient_update(start["w"], rate=0.3, reduction="sum", batches=[[2]], loss="squared")
        problem = replace(problem, update=update)
    elif empty == "all immutable":
        problem = replace(problem, features=tuple(Feature(name, direction=Direction.FIXED) for name in "ab"))
    else:
        problem = movers(3, "squared", radius=0.0)
    claim, still = run(problem), evaluate(problem, ())
    assert claim.moves == () and claim.stopped_by is StoppedBy.GAP
    assert claim.objective == pytest.approx(still.objective) == claim.bound
    short = replace(problem, goal=GoalKind.MIN_COST, queries=(replace(problem.queries[0], required=99.0),))
    assert run(short).infeasible


def test_a_tiny_time_limit_leaves_an_answer_and_a_valid_bound():
    problem = steps(2, "logistic", "mean", members=8, n=14, goal=GoalKind.MAX_MARGIN)
    claim = run(problem, Request(time_limit=0.01, relative_gap=1e-9))
    assert claim.stopped_by in (StoppedBy.TIME_LIMIT, StoppedBy.GAP) and claim.moves is not None
    best = run(problem)
    assert claim.bound is None or claim.bound >= best.objective - 1e-7


@pytest.mark.parametrize("moving", [False, True])
def test_an_interrupt_leaves_a_valid_bound(moving):
    problem = steps(2, "squared", "sum", moving=moving, goal=GoalKind.MAX_MARGIN)
    best = run(problem).objective
    stayed = run(problem, replace(FINE, interrupted=lambda: True))
    assert stayed.stopped_by in (StoppedBy.INTERRUPT, StoppedBy.GAP) and not stayed.infeasible
    assert stayed.moves is not None
    assert stayed.bound is None or stayed.bound >= best - 1e-7
    reached = tuple(replace(q, required=0.1, threshold=q.target * (best - 0.13)) for q in problem.queries)
    needed = replace(problem, goal=GoalKind.MIN_COST, queries=reached)
    assert not run(needed, replace(FINE, interrupted=lambda: True)).infeasible and run(needed).moves


def test_progress_is_reported():
    seen = []
    run(steps(0, "squared", "sum"), replace(FINE, progress=seen.append))
    assert seen and seen[-1].bound is not None


def test_the_command_solves_and_verifies(oar, tmp_path):
    path, answer = tmp_path / "movers-5.json", tmp_path / "answer.json"
    save_instance(movers(5, "logistic", budget=Budget(total=0.8)), path)
    assert oar("solve", path, "--formulation", "gradient_step", "-o", answer, "-q")[0] == 0
    code, out, _ = oar("verify", path, answer)
    assert code == 0 and "claimed" in out


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ("unrolled", steps(6, "squared", "mean")),
        ("unrolled", steps(6, "logistic", "mean")),
        ("unrolled_nonlinear", movers(1, "logistic", k=1, d=1)),
    ],
)
def test_the_unrolled_step_has_the_same_optimum(other, problem):
    theirs = solve(problem, formulation=other, time_limit=20)
    ours = solve(problem, formulation="gradient_step")
    assert ours.status is theirs.status is Status.OPTIMAL
    assert ours.objective == pytest.approx(theirs.objective, abs=2e-4)


# -- what is refused -----------------------------------------------------------------------------------------------


def refused(problem, words):
    reason = formulation().accepts(problem)
    assert reason is not None and words in reason, reason


def test_what_is_no_sum_over_the_members_is_refused():
    base = movers(0, "squared")
    two = gradient_update([1.0, 0.0], rate=0.1, T=2, loss="squared")
    refused(replace(base, update=two), "takes 2 steps")
    refused(replace(base, max_loss_increase=0.1), "max_loss_increase")
    refused(movers(0, "squared", cost=CostKind.LINF, budget=Budget(total=1.0)), "linf")
    assert formulation().accepts(movers(0, "squared", cost=CostKind.LINF)) is None
    bounded = (Feature("a", upper=-9.0), Feature("b"))
    refused(replace(base, features=bounded), "outside its own features' bounds")
    steps_ = (Feature("a", step=0.001), Feature("b"))
    refused(replace(base, features=steps_), "many steps")
    row = FeatureConstraint((("x0", 1.0), ("x1", 1.0)), Sense.LE, 100.0)
    refused(replace(base, constraints=(row,)), "linear rows")
    refused(_all_withheld(), "withheld")


def _all_withheld():
    base = movers(0, "squared")
    start = dict(dict(base.update.settings)["theta0"])["w"]
    team = tuple(Member(i, (WithholdAction(),)) for i in range(2))
    update = gradient_update(start, rate=0.1, reduction="mean", batches=[[0, 1]], loss="squared")
    return replace(base, collective=Collective(team), update=update)


def test_a_mean_that_somebody_stays_in_is_accepted():
    problem = _all_withheld()
    settled = replace(problem, collective=Collective(problem.collective.members[:1]))
    with pytest.raises(UndefinedLearner):
        evaluate(problem, [step_move for k in (1, 3) if (step_move := OneStep.of(problem).move(k))])
    assert_enumerated(settled)


# -- a crowd -------------------------------------------------------------------------------------------------------


def test_a_crowd_is_solved_to_a_small_gap():
    n, d = 30_000, 5
    draw = np.random.default_rng(0)
    X = draw.normal(size=(n, d))
    actions = (FeatureAction(Norm.L2, 0.5),)
    problem = RecourseProblem(
        "crowd",
        Records(X, np.where(X @ draw.normal(size=d) > 0, 1.0, -1.0), np.ones(n)),
        LearnerSpec("logistic", C=1.0),
        Collective(tuple(Member(i, actions) for i in range(n)), CostKind.L2, Budget(total=1500.0, members=6000)),
        (Query("q", tuple(draw.normal(size=d).tolist()), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        update=gradient_update(draw.normal(size=d), rate=1.0, loss="logistic"),
    )
    claim = run(problem, Request(relative_gap=1e-3))
    still = evaluate(problem, ())
    outcome = evaluate(problem, claim.moves)
    assert outcome.objective == pytest.approx(claim.objective, abs=1e-9) and outcome.objective > still.objective
    assert 0 <= claim.bound - claim.objective <= 1e-3 * max(1.0, abs(claim.objective))
    assert len(claim.moves) <= 6000 and sum(move.cost for move in claim.moves) <= 1500.0 * (1 + 1e-9)
