"""Running centroids: replayed by hand, as re-trained means, by enumeration and against dense random moves."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from oar_opt.centroid_program import Units, moving_classes
from oar_opt.changes import change_sets
from oar_opt.contracts import PyomoProgram
from oar_opt.discovery import formulations, heuristics, update_rule
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import UndefinedLearner, enumerate_choices, evaluate
from oar_opt.parameters import CentroidParameters
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    FeatureAction,
    GoalKind,
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
    Update,
    WithholdAction,
)
from oar_opt.result import Status
from oar_opt.running_mean import SameByRetraining, mean_weights
from oar_opt.sensitivity import margins_of
from oar_opt.update_settings import running_centroid_update

CLASSES = ("a", "b")
STARTS = {"a": (0.0, 0.0), "b": (4.0, 0.0)}


def problem_of(
    X,
    y,
    update,
    members=(),
    *,
    s=None,
    x=(1.0, 0.5),
    goal=GoalKind.MAX_MARGIN,
    target=1.0,
    required=None,
    classes=CLASSES,
    cost=CostKind.L2,
    budget=None,
    **traits,
):
    X, y = np.atleast_2d(np.array(X, dtype=float)), np.array(y, dtype=float)
    return RecourseProblem(
        name="running",
        records=Records(X, y, np.ones(len(y)) if s is None else np.array(s, dtype=float)),
        learner=LearnerSpec("nearest_centroid"),
        collective=Collective(tuple(members), cost, budget or Budget()),
        queries=(Query("q", tuple(x), target, required=required),),
        goal=goal,
        classes=classes,
        update=update,
        **traits,
    )


def centroids(problem, moves=()):
    parameters = evaluate(problem, moves).parameters
    assert isinstance(parameters, CentroidParameters)
    return np.array(parameters.mu)


# -- the rule, replayed by hand ----------------------------------------------------------------------------------------


def test_a_rate_goes_a_fraction_of_the_way_in_the_order_of_arrival():
    X, y = [[2.0, 0.0], [2.0, 2.0], [0.0, 8.0]], [0, 0, 1]
    forth = running_centroid_update(rate=0.5, centroids=STARTS)
    back = running_centroid_update(rate=0.5, centroids=STARTS, order=[2, 1, 0])
    # a: (0, 0) -> (1, 0) -> (1.5, 1), and backwards (0, 0) -> (1, 1) -> (1.5, 0.5); b: (4, 0) -> (2, 4)
    assert centroids(problem_of(X, y, forth)) == pytest.approx(np.array([[1.5, 1.0], [2.0, 4.0]]))
    assert centroids(problem_of(X, y, back)) == pytest.approx(np.array([[1.5, 0.5], [2.0, 4.0]]))


def test_a_weight_stands_for_as_many_equal_records():
    update = running_centroid_update(rate=0.25, centroids=STARTS)
    twice = problem_of([[3.0, 1.0], [3.0, 1.0], [1.0, 1.0]], [0, 0, 1], update)
    heavy = problem_of([[3.0, 1.0], [1.0, 1.0]], [0, 1], update, s=[2.0, 1.0])
    assert centroids(heavy) == pytest.approx(centroids(twice))
    nobody = problem_of([[3.0, 1.0], [1.0, 1.0]], [0, 1], update, s=[0.0, 0.0])
    assert centroids(nobody) == pytest.approx(np.array(list(STARTS.values())))


def test_counts_are_the_weights_behind_the_start():
    update = running_centroid_update(counts={"a": 3, "b": 1}, centroids=STARTS)
    found = centroids(problem_of([[4.0, 4.0], [0.0, 2.0]], [0, 1], update, s=[1.0, 3.0]))
    assert found == pytest.approx(np.array([[1.0, 1.0], [1.0, 1.5]]))


def test_a_record_beside_a_far_start_keeps_its_digits():
    """At rate 1 the start is left behind altogether; weights and rates of any size leave all digits of the share."""
    problem = two_classes([[0.3], [0.1]], running_centroid_update(rate=1.0, centroids=FAR, order=[0]))
    assert evaluate(problem, ()).parameters.mu[1] == (0.3,)
    slow = running_centroid_update(rate=1e-12, centroids={"a": [0.0], "b": [0.0]}, order=[0])
    problem = two_classes([[1.0], [0.0]], slow, s=(1e12, 1.0))
    assert evaluate(problem, ()).parameters.mu[1][0] == pytest.approx(-np.expm1(1e12 * np.log1p(-1e-12)), rel=1e-14)


@pytest.mark.parametrize("rule", [{"rate": 0.3}, {"counts": {"a": 2.0, "b": 1e-3}}])
def test_the_stated_error_holds_in_exact_arithmetic(rule):
    draw = np.random.default_rng(0)
    for scale in (1.0, 1e9):
        X = draw.normal(size=(40, 2)) + scale
        start = {"a": [scale, 0.0], "b": [0.0, -3 * scale]}
        problem = two_classes(X, running_centroid_update(**rule, centroids=start), y=draw.integers(0, 2, 40).tolist())
        fit = evaluate(problem, ()).fit
        exact = exact_replay(problem, rule, start)
        off = [float(abs(Fraction(a) - b)) for a, b in zip(fit.parameters.vector().tolist(), exact, strict=True)]
        assert np.linalg.norm(off) <= fit.error <= 1e-12 * scale * len(X)


def two_classes(X, update, y=(1, 0), s=None):
    X = np.array(X)
    return RecourseProblem(
        "two",
        Records(X, np.array(y), np.ones(len(X)) if s is None else np.array(s)),
        LearnerSpec("nearest_centroid"),
        Collective(()),
        (Query("q", tuple([0.2] * X.shape[1]), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        update=update,
    )


FAR = {"a": [0.1], "b": [1e16]}


def exact_replay(problem, rule, start):
    """The rule in rational arithmetic, all records in order; centroids in one."""
    mu = {0.0: [Fraction(v) for v in start["a"]], 1.0: [Fraction(v) for v in start["b"]]}
    counts = {0.0: Fraction(rule.get("counts", {}).get("a", 0)), 1.0: Fraction(rule.get("counts", {}).get("b", 0))}
    for x, c in zip(problem.records.X.tolist(), problem.records.y.tolist(), strict=True):
        counts[c] += 1
        share = Fraction(rule["rate"]) if "rate" in rule else 1 / counts[c]
        mu[c] = [m + share * (Fraction(v) - m) for m, v in zip(mu[c], x, strict=True)]
    return [*mu[0.0], *mu[1.0]]


@pytest.mark.parametrize("traits", [{"rate": 0.5}, {"counts": {"a": 0, "b": 0}}])
def test_a_class_without_a_centroid_takes_its_first_arrival(traits):
    update = running_centroid_update(order=[0, 1, 2], **traits)
    found = centroids(problem_of([[2.0, 0.0], [4.0, 2.0], [0.0, 1.0]], [0, 0, 1], update))
    assert found == pytest.approx(np.array([[3.0, 1.0], [0.0, 1.0]]))


def test_records_that_do_not_arrive_are_the_start():
    update = running_centroid_update(rate=0.5, order=[2])
    found = centroids(problem_of([[0.0, 0.0], [2.0, 2.0], [4.0, 0.0]], [0, 1, 1], update))
    assert found == pytest.approx(np.array([[0.0, 0.0], [3.0, 1.0]]))


def test_a_class_that_nobody_is_left_in_is_undefined():
    update = running_centroid_update(counts={"a": 0, "b": 1}, centroids=STARTS)
    problem = problem_of([[1.0, 0.0], [1.0, 1.0]], [0, 1], update, [Member(0, (WithholdAction(),))])
    with pytest.raises(UndefinedLearner, match="class 'a' has no centroid"):
        evaluate(problem, [Move(0, (1.0, 0.0), 0.0, 0.0, 1.0)])
    result = solve(problem, formulation="centroid_menu")
    assert result.status is Status.OPTIMAL and not result.moves


# -- means -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_weights_of_the_mean_give_the_replayed_centroids(seed):
    draw = np.random.default_rng(seed)
    n = 8
    X, s = draw.normal(size=(n, 2)), draw.choice([1.0, 2.0, 0.3, 0.0], n)
    y = draw.permutation(np.arange(n) % 3)
    classes, order = ("a", "b", "c"), draw.permutation(n)[:6].tolist()
    s[[int(np.flatnonzero(y == c)[0]) for c in range(3)]] = 1.0
    rule = {"rate": float(draw.choice([0.3, 1.0]))} if seed % 2 else {"counts": dict.fromkeys(classes, 2.0)}
    given = None if seed < 2 else {c: draw.normal(size=2) for c in classes}
    if given is None:
        order = [int(i) for i in range(n) if i not in [int(np.flatnonzero(y == c)[0]) for c in range(3)]]
    problem = problem_of(X, y, running_centroid_update(centroids=given, order=order, **rule), s=s, classes=classes)
    weights = mean_weights(problem, problem.records.y, problem.records.s)
    totals = weights.base + np.array([weights.own[y == c].sum() for c in range(3)])
    means = weights.base[:, None] * weights.starts + np.array([weights.own[y == c] @ X[y == c] for c in range(3)])
    assert means / totals[:, None] == pytest.approx(centroids(problem))
    assert seed % 2 == 0 or totals == pytest.approx(np.ones(3))


def test_counts_over_all_records_are_the_re_trained_centroids():
    draw = np.random.default_rng(1)
    X, y = draw.normal(size=(10, 2)), np.arange(10) % 2
    members = [Member(i, (LabelAction((0.0, 1.0)), WithholdAction())) for i in (2, 3, 5)]
    running = problem_of(X, y, running_centroid_update(counts={"a": 0, "b": 0}, order=list(range(10))), members)
    past = problem_of(X, y, running_centroid_update(counts={"a": 2, "b": 1}, order=list(range(3, 10))), members[1:])
    for problem in (running, past):
        trained = replace(problem, update=Update())
        if problem is past:
            # The first three records are the history, with the counts that they have.
            stated = {label: tuple(np.mean(X[:3][y[:3] == c], axis=0)) for c, label in enumerate(CLASSES)}
            problem = replace(
                problem,
                update=running_centroid_update(counts={"a": 2, "b": 1}, centroids=stated, order=list(range(3, 10))),
            )
        ours, theirs = solve(problem), solve(trained)
        assert ours.objective == pytest.approx(theirs.objective)
        assert {m.record for m in ours.moves} == {m.record for m in theirs.moves}


# -- feature changes ---------------------------------------------------------------------------------------------------


def movers(records, radius=1.0, norm=Norm.L2):
    return [Member(i, (FeatureAction(norm, radius),)) for i in records]


def test_the_far_shift_of_balls_is_the_sum_of_the_weights_times_the_radius():
    """Both records of the far class walk straight away: with the rate 1/2 they count 1/4 and 1/2."""
    X, y = [[2.0, 0.0], [2.0, 0.0], [9.0, 9.0]], [0, 0, 1]
    problem = problem_of(X, y, running_centroid_update(rate=0.5, centroids=STARTS, order=[0, 1]), movers([0, 1], 2.0))
    mu = np.array([1.5, 0.0])
    far = np.linalg.norm(np.array([1.0, 0.5]) - mu) + (0.25 + 0.5) * 2.0
    wanted = far**2 - float(np.sum((np.array([1.0, 0.5]) - STARTS["b"]) ** 2))
    for name in ("centroid_closed_form", "centroid_convex"):
        result = solve(problem, formulation=name)
        assert result.status is Status.OPTIMAL
        assert result.objective == pytest.approx(wanted, abs=1e-6)
        assert result.bound == pytest.approx(wanted, abs=1e-6)
    assert [move.weight for move in result.moves] == [1.0, 1.0]


def random_running(seed, goal, *, kinds="features", classes=CLASSES, queries=1, guards=0, cost=CostKind.L2, rate=None):
    """A random problem; ``kinds`` of what members may do."""
    draw = np.random.default_rng(seed)
    n, k = 9, len(classes)
    X, s = draw.normal(size=(n, 2)), draw.choice([1.0, 2.0, 0.5], n)
    y = draw.permutation(np.arange(n) % k).astype(float)
    order = draw.permutation(n)[:7].tolist()
    starts = {c: tuple(draw.normal(size=2)) for c in classes}
    rule = (
        {"rate": float(draw.choice([0.2, 0.5]))}
        if seed % 2
        else {"counts": {c: float(draw.choice([1, 3])) for c in classes}}
    )
    if kinds == "labels" and rate is None:
        rule = {"counts": {c: float(draw.choice([0, 2])) for c in classes}}
        order = list(range(n))
    if rate is not None:
        rule = {"rate": rate}
    members = []
    for i in draw.choice(n, 3, replace=False):
        actions, menu = [], []
        if kinds == "labels":
            actions += [LabelAction(tuple(float(c) for c in range(k)), 0.8), WithholdAction(0.5)]
            menu.append(Option(OptionKind.MENU, tuple(draw.normal(size=2)), float(draw.choice(k)), 2.0, 1.0))
        if kinds == "menus":
            menu += [Option(OptionKind.MENU, tuple(draw.normal(size=2)), y[i], s[i], 1.0 + j / 2) for j in range(3)]
        if kinds == "features":
            actions.append(FeatureAction(Norm(draw.choice(tuple(Norm))), 0.8))
        members.append(Member(int(i), tuple(actions), tuple(menu)))
    asked = [Query(f"q{q}", tuple(draw.normal(size=2)), float(draw.choice(k)), required=0.2) for q in range(queries)]
    kept = [Query(f"g{g}", tuple(draw.normal(size=2)), float(draw.choice(k)), required=-0.5) for g in range(guards)]
    update = running_centroid_update(centroids=starts, order=order, **rule)
    base = problem_of(X, y, update, members, s=s, goal=GoalKind.MAX_MARGIN, required=0.2, classes=classes, cost=cost)
    return replace(base, queries=tuple(asked), guards=tuple(kept), goal=GoalKind(goal))


def random_moves(problem, draw, count):
    """Random changes within the members' radii."""
    for _ in range(count):
        moves = []
        for member in problem.collective.members:
            if draw.random() < 0.8:
                (action,) = member.feature_actions
                delta = draw.normal(size=problem.d)
                length = action.norm.of(delta)
                delta *= action.radius * float(draw.choice([1.0, draw.random()])) / length
                x = problem.records.X[member.record] + delta
                y, s = problem.records.y[member.record], problem.records.s[member.record]
                cost = problem.collective.cost.of(delta)
                moves.append(Move(member.record, tuple(x.tolist()), float(y), float(s), cost))
        yield tuple(moves)


@pytest.mark.parametrize("goal", GoalKind)
@pytest.mark.parametrize("seed", range(3))
def test_no_random_change_beats_the_bound(seed, goal):
    problem = random_running(
        seed, goal, queries=1 + seed % 2, guards=seed // 2, classes=("a", "b", "c")[: 2 + seed % 2]
    )
    result = solve(problem)
    draw = np.random.default_rng(seed)
    best = None
    for moves in random_moves(problem, draw, 150):
        outcome = evaluate(problem, moves)
        if outcome.beats(best):
            best = outcome
    if best is None:
        assert result.status in (Status.OPTIMAL, Status.INFEASIBLE)
        return
    assert result.status is Status.OPTIMAL
    sign = 1 if problem.goal.maximises else -1
    assert sign * (best.objective - result.bound) <= 1e-6
    assert sign * (result.objective - best.objective) >= -1e-6


def test_all_programs_agree_on_the_largest_margin():
    for seed in (1,):
        base = random_running(seed, "max_margin")
        members = tuple(Member(m.record, (FeatureAction(Norm.LINF, 0.7),)) for m in base.collective.members)
        problem = replace(base, collective=replace(base.collective, members=members))
        found = [solve(problem, formulation=f"centroid_{n}").objective for n in ("closed_form", "convex", "bilinear")]
        assert found == pytest.approx([found[0]] * 3, abs=1e-4)


# -- finite options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kinds", "goal"), list(product(("labels", "menus"), GoalKind)))
def test_menus_reach_what_enumeration_finds(kinds, goal):
    for seed in range(2):
        problem = random_running(seed, goal, kinds=kinds, queries=1 + seed % 2, classes=("a", "b", "c")[: 2 + seed % 2])
        if formulations()["centroid_menu"].accepts(problem):
            assert "no centroid as long as nobody acts" in formulations()["centroid_menu"].accepts(problem)
            continue
        result = solve(problem, formulation="centroid_menu")
        best = enumerate_choices(problem).best
        assert result.status is (Status.INFEASIBLE if best is None else Status.OPTIMAL)
        if best is not None:
            assert result.objective == pytest.approx(best.objective, abs=1e-5)


def test_a_program_keeps_its_kind_and_takes_starts_with_the_problems_own_weights():
    problem = random_running(1, "max_margin", kinds="menus")
    member = problem.collective.members[0]
    record, option = member.record, member.menu[1]
    program = formulations()["centroid_menu"].build(problem)
    assert isinstance(program, PyomoProgram)
    move = Move(record, option.x, option.y, option.s, option.cost)
    outcome = evaluate(problem, [move])
    values = program.start([move], outcome.parameters)
    assert {name for name, value in values.items() if name.startswith(f"choice[{record},") and value} == {
        f"choice[{record},2]"
    }
    for name, quantity in program.quantities.items():
        assert values[name] == pytest.approx(quantity.value([move], outcome.parameters))
        assert program.bounds[name].lower <= values[name] <= program.bounds[name].upper


@pytest.mark.parametrize("goal", GoalKind)
def test_labels_and_weights_under_a_rate_reach_what_enumeration_finds(goal):
    for seed, rate in enumerate((0.3, 1.0)):
        classes = ("a", "b", "c")[: 2 + seed % 2]
        problem = random_running(
            seed, goal, kinds="labels", queries=1 + seed % 2, guards=seed % 2, classes=classes, rate=rate
        )
        assert "earlier ones" in formulations()["centroid_menu"].accepts(problem)
        result = solve(problem, formulation="running_rate")
        best = enumerate_choices(problem).best
        assert result.status is (Status.INFEASIBLE if best is None else Status.OPTIMAL)
        if best is not None:
            assert result.objective == pytest.approx(best.objective, abs=1e-5)


def test_a_fixed_first_arrival_sets_a_class_that_members_enter_later():
    X, y = [[4.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 2.0]], [1, 0, 1, 1]
    problem = problem_of(X, y, running_centroid_update(rate=0.5, order=[0, 1, 2, 3]), [Member(2, (WithholdAction(),))])
    assert centroids(problem) == pytest.approx(np.array([[0.0, 0.0], [2.25, 1.0]]))
    result = solve(problem, formulation="running_rate")
    best = enumerate_choices(problem).best
    assert result.objective == pytest.approx(best.objective, abs=1e-6)
    early = replace(problem, update=running_centroid_update(rate=0.5, order=[1, 2, 0, 3]))
    assert "before member 2, who may set it" in formulations()["running_rate"].accepts(early)


def test_every_reason_of_the_unrolled_program_is_given(make):
    X, y = [[0.0, 1.0], [1.0, 1.0]], [0, 1]
    rate = running_centroid_update(rate=0.5, centroids=STARTS)
    stays = [Member(0, (WithholdAction(),))]
    refused = {
        "not 'running_centroid'": make(0),
        "with counts are re-trained": problem_of(
            X, y, running_centroid_update(counts={"a": 1, "b": 1}, centroids=STARTS)
        ),
        "max_loss_increase weighs": problem_of(X, y, rate, stays, max_loss_increase=1.0),
        "knows finite options only": problem_of(X, y, rate, movers([0])),
        "divide all features": problem_of([[1e9, 0.0], [1.0, 1.0]], y, rate, stays),
    }
    for reason, problem in refused.items():
        assert reason in (formulations()["running_rate"].accepts(problem) or "accepted"), reason
    assert formulations()["running_rate"].accepts(problem_of(X, y, rate, stays)) is None


def test_members_whose_records_do_not_arrive_stay_and_make_no_pool():
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(6, 2)), np.arange(6) % 2
    menu = (Option(OptionKind.MENU, (3.0, 3.0), 0.0, 1.0, 1.0),)
    members = [Member(0, (), menu), Member(2, (), menu)]
    update = running_centroid_update(rate=0.5, centroids=STARTS, order=[1, 2, 3])
    problem = problem_of(X, y, update, members)
    same = SameByRetraining.of(problem)
    assert same.unheard == (0,) and [m.record for m in same.retrained.collective.members] == [2]
    result = solve(problem, formulation="centroid_menu")
    assert result.objective == pytest.approx(enumerate_choices(problem).best.objective)
    assert {move.record for move in result.moves} <= {2}
    with pytest.raises(UnsupportedError, match="member 0 does changes nothing"):
        solve(problem, formulation="centroid_menu", pool=3)
    unrolled = solve(problem, formulation="running_rate", pool=3)
    ranking = enumerate_choices(problem, keep=3).ranking
    assert [one.objective for one in unrolled.alternatives] == pytest.approx([one.objective for one in ranking[1:]])
    everyone = replace(problem, update=running_centroid_update(rate=0.5, centroids=STARTS))
    pooled = solve(everyone, formulation="centroid_menu", pool=3)
    ranking = enumerate_choices(everyone, keep=3).ranking
    assert [one.objective for one in pooled.alternatives] == pytest.approx([one.objective for one in ranking[1:]])


def test_the_slack_covers_members_whose_coefficients_a_solver_drops():
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(60, 2)), [0.0] * 60
    problem = problem_of(X, y, running_centroid_update(rate=0.5, centroids=STARTS), movers(range(60), 0.5))
    retrained = SameByRetraining.of(problem).retrained
    changes = {member.record: change_sets(retrained, member) for member in retrained.collective.members}
    few = dict(list(changes.items())[-5:])
    slack = [
        Units.of(one, moving_classes(one, sets)).slack
        for one, sets in (
            (retrained, changes),
            (replace(retrained, collective=Collective(retrained.collective.members[-5:])), few),
        )
    ]
    # Shares halve, so those below 1e-8 sum to between 1e-8 and 2e-8: for two features, for places and for changes.
    assert 6 * 2 * 1e-8 < slack[0] - slack[1] < 6 * 4 * 2e-8
    assert slack[0] > slack[1] == 7e-8


def test_who_arrived_long_ago_is_left_out():
    X, y = np.vstack([np.zeros((70, 2)), [[1.0, 1.0]]]), [0] * 70 + [1]
    problem = problem_of(X, y, running_centroid_update(rate=0.5, centroids=STARTS), movers([0, 69]))
    assert SameByRetraining.of(problem).unheard == (0,)
    result = solve(problem)
    assert [move.record for move in result.moves] == [69]
    assert centroids(problem, [Move(0, (1.0, 0.0), 0.0, 1.0, 1.0)]) == pytest.approx(centroids(problem), abs=1e-15)


# -- reasons and errors ------------------------------------------------------------------------------------------------


def test_every_reason_is_given():
    rate = running_centroid_update(rate=0.5, centroids=STARTS)
    X, y = [[0.0, 1.0], [1.0, 1.0]], [0, 1]
    none = {"counts": {"a": 0, "b": 0}}
    refused = {
        "max_loss_increase weighs": problem_of(X, y, rate, movers([0]), max_loss_increase=1.0),
        "changes the weights of all earlier ones": problem_of(X, y, rate, [Member(0, (WithholdAction(),))]),
        "'b' has no centroid as long as nobody acts": problem_of(
            X, y, running_centroid_update(order=[0], **none), movers([0]), s=[1.0, 0.0]
        ),
        "states a count for class 'b'": problem_of(
            X, y, running_centroid_update(order=[0, 1], counts={"a": 0, "b": 2}), movers([0])
        ),
    }
    for reason, problem in refused.items():
        for name in ("closed_form", "convex", "bilinear", "menu"):
            assert reason in (formulations()[f"centroid_{name}"].accepts(problem) or "accepted"), reason
    dear = [Member(0, (WithholdAction(5.0),))]
    assert formulations()["centroid_menu"].accepts(problem_of(X, y, rate, dear, budget=Budget(each=1.0))) is None


def test_a_count_without_a_centroid_cannot_be_replayed():
    update = running_centroid_update(order=[0, 1], counts={"a": 1, "b": 0})
    problem = problem_of([[0.0, 1.0], [1.0, 1.0]], [0, 1], update)
    with pytest.raises(UnsupportedError, match="no centroid that goes with it"):
        update_rule(problem)


@pytest.mark.parametrize(
    ("update", "where", "what"),
    [
        (running_centroid_update(rate=1.5), "update.rate", "is 1.5"),
        (running_centroid_update(rate=0.0), "update.rate", "is 0"),
        (running_centroid_update(rate=0.5, order=[0, 1, 0]), "update.order[2]", "names record 0 again"),
        (running_centroid_update(rate=0.5, order=[0, 2]), "update.order[1]", "record 2 does not exist"),
        (running_centroid_update(rate=0.5, centroids={"a": [0.0], "b": [1.0]}), "update.centroids.a", "no point"),
        (running_centroid_update(counts={"a": -1, "b": 1}), "update.counts.a", "is -1"),
        (running_centroid_update(counts={"a": 1}), "update.counts", "every class once"),
        (running_centroid_update(), "update.rate", "is missing"),
        (running_centroid_update(rate=0.5, counts={"a": 1, "b": 1}), "update.rate", "beside counts"),
    ],
)
def test_wrong_settings_are_errors(update, where, what):
    with pytest.raises(InputError) as error:
        problem_of([[0.0, 1.0], [1.0, 1.0]], [0, 1], update)
    assert error.value.where == where and what in str(error.value)


def test_other_learners_have_no_centroids(make):
    with pytest.raises(InputError, match="'svm' has no centroids"):
        replace(make(0, "svm"), update=running_centroid_update(rate=0.5))


# -- slopes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_margins_and_slopes_are_those_of_the_replay(seed):
    problem = replace(random_running(seed, "max_margin", classes=("a", "b", "c")), max_loss_increase=1.0)
    rows = [member.record for member in problem.collective.members]
    model, draw = margins_of(problem, problem.records, rows), np.random.default_rng(seed)
    X = problem.records.X[rows] + draw.normal(size=(len(rows), 2))
    moves = [
        Move(i, tuple(x.tolist()), float(problem.records.y[i]), float(problem.records.s[i]), 1.0)
        for i, x in zip(rows, X, strict=True)
    ]
    response, outcome = model.at(X), evaluate(problem, moves)
    assert min(response.values[model.owners == 0]) == pytest.approx(outcome.margins[0])
    assert response.values[-1] == pytest.approx(1.0 - outcome.loss_increase)
    weights, h = draw.normal(size=len(response.values)), 1e-6
    slopes = response.slopes(weights)
    for i, j in np.ndindex(*X.shape):
        step = np.zeros_like(X)
        step[i, j] = h
        ahead, behind = (float(weights @ model.at(X + sign * step).values) for sign in (1, -1))
        assert slopes[i, j] == pytest.approx((ahead - behind) / (2 * h), abs=1e-6)


def test_the_projected_gradient_finds_the_closed_form():
    problem = random_running(1, "max_margin")
    members = tuple(Member(m.record, (FeatureAction(Norm.LINF, 0.7),)) for m in problem.collective.members)
    problem = replace(problem, collective=replace(problem.collective, members=members))
    heuristic = heuristics()["projected_gradient"]
    assert heuristic.accepts(problem) is None
    found = evaluate(problem, heuristic.propose(problem, time_limit=0.3).moves).objective
    assert found == pytest.approx(solve(problem, formulation="centroid_closed_form").objective, rel=1e-4)
