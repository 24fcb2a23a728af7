"""The nearest centroid under feature changes: three statements against each other, grids, samples and known counts."""

from __future__ import annotations

import math
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from sklearn.datasets import load_iris

from oar_opt import cone_bound
from oar_opt.cone_bound import Range, minimise
from oar_opt.discovery import formulations
from oar_opt.errors import SolverError
from oar_opt.evaluate import UndefinedLearner, evaluate
from oar_opt.export import export
from oar_opt.pipeline import choose, solve
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
    LabelAction,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Query,
    Records,
    RecourseProblem,
    Sense,
    WithholdAction,
)
from oar_opt.result import Request, Status
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violation

GOALS = list(GoalKind)
REQUEST = Request(relative_gap=1e-6)
RANDOM = (0, 1, 2, 5, 6, 8, 9, 12, 13, 14, 15, 17, 18, 19)
"""Seeds of problems that are no menus and take tenths of a second each."""
CLOSED, CONVEX, BILINEAR = "centroid_closed_form", "centroid_convex", "centroid_bilinear"


def named(name):
    return formulations()[name]


def run(problem, name=BILINEAR, request=REQUEST):
    assert named(name).accepts(problem) is None
    return named(name).build(problem, request).run(request)


def two_classes(members, query, goal, *, X=None, target=1.0, required=0.1, cost=CostKind.L2, **traits):
    """Four records of each of two classes in the plane."""
    if X is None:
        X = [[0, 0], [0.4, 0.2], [-0.2, 0.5], [0.1, -0.6], [2, 1], [2.3, 1.5], [1.6, 0.7], [2.2, 0.6]]
    X = np.array(X, dtype=float)
    y = np.repeat([0.0, 1.0], len(X) // 2)
    budget = traits.pop("budget", Budget())
    return RecourseProblem(
        "two-classes",
        Records(X, y, np.ones(len(X))),
        LearnerSpec("nearest_centroid"),
        Collective(tuple(members), cost, budget),
        (Query("q", tuple(query), target, required=required),),
        goal,
        classes=("a", "b"),
        **traits,
    )


# -- problems drawn by their seed -------------------------------------------------------------------------------------


def drawn_feature(draw, j, X):
    """A feature with one rule; columns that need whole numbers are rounded in place."""
    kinds = ["plain", "plain", "integer", "step", "bounded", "up", "down", "fixed", "scaled", "binary"]
    low, high = (round(float(end(X[:, j])), 2) for end in (np.min, np.max))
    match draw.choice(kinds if j else kinds[:-3]):
        case "integer":
            X[:, j] = np.round(2 * X[:, j])
            return Feature(f"x{j}", FeatureType.INTEGER)
        case "binary":
            X[:, j] = X[:, j] > 0
            return Feature(f"x{j}", FeatureType.BINARY)
        case "step":
            return Feature(f"x{j}", step=float(draw.choice([0.05, 0.3])))
        case "bounded":
            return Feature(f"x{j}", lower=low - 0.3, upper=high + 0.3)
        case "up":
            return Feature(f"x{j}", direction=Direction.INCREASE)
        case "down":
            return Feature(f"x{j}", direction=Direction.DECREASE)
        case "fixed":
            return Feature(f"x{j}", direction=Direction.FIXED)
        case "scaled":
            return Feature(f"x{j}", scale=2.0)
    return Feature(f"x{j}")


def drawn_actions(draw, classes):
    radius, charge = float(draw.choice([0.6, 1.2, 2.5])), float(draw.choice([0, 0, 0.3]))
    found = [FeatureAction(Norm(draw.choice([str(norm) for norm in Norm])), radius, charge)]
    if draw.random() < 0.15:
        found.append(FeatureAction(Norm.LINF, 0.8, 0.1))
    if draw.random() < 0.2:
        found.append(WithholdAction(0.9))
    if draw.random() < 0.2:
        found.append(LabelAction(tuple(float(c) for c in range(classes)), 0.7))
    return tuple(found)


def drawn_problem(seed):
    """Any rules, costs, budgets and options; goals go by turns."""
    draw = np.random.default_rng([seed, 71])
    classes, d = int(draw.integers(2, 4)), int(draw.integers(1, 4))
    n = int(draw.integers(2 * classes, 3 * classes + 3))
    y = np.arange(n) % classes
    X = draw.normal(size=(n, d)) + draw.normal(size=(classes, d))[y]
    s = draw.choice([1.0, 1.0, 2.0, 0.5], size=n) if draw.random() < 0.4 else np.ones(n)
    features = [drawn_feature(draw, j, X) for j in range(d)]
    if draw.random() < 0.25:
        X = np.hstack([X, np.eye(2)[draw.integers(2, size=n)]])
        features += [Feature(name, FeatureType.CATEGORICAL, group="g") for name in ("g0", "g1")]
    constraints = ()
    if draw.random() < 0.3 and X.shape[1] > 1:
        slope = draw.normal(size=2).round(2)
        end = np.max if draw.random() < 0.7 else np.median
        names = (("x0", float(slope[0])), (features[1].name, float(slope[1])))
        constraints = (FeatureConstraint(names, Sense.LE, round(float(end(X[:, :2] @ slope)) + 0.1, 2)),)
    budgets = [Budget(), Budget(each=1.0), Budget(total=1.5), Budget(members=1), Budget(1.2, 2.0, 2)]
    team = draw.choice(n, int(draw.integers(1, 4)), replace=False)
    members = tuple(Member(int(i), drawn_actions(draw, classes)) for i in team)
    cost, budget = CostKind(draw.choice([str(kind) for kind in CostKind])), budgets[int(draw.choice(5))]

    def subject(name, required):
        x = X[draw.integers(n)] + 0.5 * draw.normal(size=X.shape[1])
        return Query(name, tuple(x.tolist()), float(draw.integers(classes)), required=required)

    count = int(draw.choice([1, 1, 2]))
    return RecourseProblem(
        f"drawn-{seed}",
        Records(X, y.astype(float), s),
        LearnerSpec("nearest_centroid"),
        Collective(members, cost, budget),
        tuple(subject(f"q{q}", float(draw.choice([0.05, 0.3, 1.0]))) for q in range(count)),
        GOALS[seed % 4],
        classes=("a", "b", "c")[:classes],
        features=tuple(features),
        constraints=constraints,
        guards=(subject("guard", -1.5),) if draw.random() < 0.25 else (),
        max_loss_increase=float(draw.choice([0.3, 2.0])) if draw.random() < 0.2 else None,
    )


def convex_problem(seed):
    """Only members of the wanted class, or balls that move others away; margins and costs by turns."""
    draw = np.random.default_rng([seed, 72])
    classes, d, own = int(draw.integers(2, 4)), int(draw.integers(1, 4)), bool(draw.random() < 0.6)
    n, t = int(draw.integers(3 * classes, 4 * classes + 3)), int(draw.integers(classes))
    y = np.arange(n) % classes
    X = draw.normal(size=(n, d)) + draw.normal(size=(classes, d))[y]
    goal = (GoalKind.MIN_COST, GoalKind.MAX_MARGIN)[seed % 2]
    is_cost = goal is GoalKind.MIN_COST
    rules = [{}, {"lower": -9.0, "upper": 2.5}, {"direction": Direction.INCREASE}, {"scale": 2.0}]
    features = [Feature(f"x{j}", **(rules[int(draw.integers(4))] if own else {})) for j in range(d)]
    if d > 1 and draw.random() < 0.2:
        features[1] = Feature("x1", direction=Direction.FIXED)
    costs = ["l1", "l2", "sql2", "linf"] if own else ["l2", "sql2"]
    constraints = ()
    if own and d > 1 and draw.random() < 0.5:
        slope = draw.normal(size=2)
        end = float((X[:, :2] @ slope).max()) + 0.2
        constraints = (FeatureConstraint((("x0", float(slope[0])), ("x1", float(slope[1]))), Sense.LE, end),)

    def member(i):
        free = own or (not is_cost and y[i] == t)
        norm = Norm(draw.choice(["l1", "l2", "linf"])) if free else Norm.L2
        return Member(int(i), (FeatureAction(norm, float(draw.choice([0.8, 2.0, 5.0]))),))

    def subject(name, required):
        x = X[draw.integers(n)] + 0.5 * draw.normal(size=d)
        return Query(name, tuple(x.tolist()), float(t), required=required)

    team = draw.choice(np.flatnonzero(y == t) if own else np.arange(n), 3, replace=False)
    total = 2.0 if draw.random() < 0.3 and (own or is_cost) else None
    return RecourseProblem(
        f"convex-{seed}",
        Records(np.minimum(X, 2.4), y.astype(float), np.ones(n)),
        LearnerSpec("nearest_centroid"),
        Collective(tuple(member(i) for i in team), CostKind(draw.choice(costs)), Budget(total=total)),
        tuple(
            subject(f"q{q}", float(draw.choice([0.05, 0.5]))) for q in range(2 if own and draw.random() < 0.5 else 1)
        ),
        goal,
        classes=("a", "b", "c")[:classes],
        features=tuple(features),
        constraints=constraints,
        guards=(subject("guard", -2.0),) if own and draw.random() < 0.3 else (),
        max_loss_increase=2.0 if own and draw.random() < 0.2 else None,
    )


# -- the oracle that knows the instance's rules alone: samples, improved ----------------------------------------------


def proposal(problem, member, draw, around=None, width=1.0):
    """Some move of a member, or None to stay; it may well break rules."""
    options = problem.options(member)
    if around is None and draw.random() < 0.3:
        option = options[int(draw.integers(len(options)))]
        return None if option is options[0] else Move(member.record, option.x, option.y, option.s, option.cost)
    action = member.feature_actions[int(draw.integers(len(member.feature_actions)))]
    x, scales = problem.records.X[member.record], problem.scales
    delta = np.zeros(problem.d) if around is None else np.array(around.x) - x
    delta = delta + width * action.radius * scales * draw.uniform(-1, 1, size=problem.d)
    for j, feature in enumerate(problem.features):
        delta[j] = obedient(feature, float(x[j]), float(delta[j]), draw)
    hot = [j for j, feature in enumerate(problem.features) if feature.group]
    if hot:
        delta[hot] = np.eye(len(hot))[draw.integers(len(hot))] - x[hot]
    length = action.norm.of(delta / scales)
    if length > action.radius:
        smooth = [j for j, f in enumerate(problem.features) if f.type is FeatureType.CONTINUOUS and not f.step]
        delta[smooth] *= action.radius / length
    after = x + delta
    cost = action.charge + problem.collective.cost.of((after - x) / scales)
    y, s = float(problem.records.y[member.record]), float(problem.records.s[member.record])
    return Move(member.record, tuple(after.tolist()), y, s, cost) if delta.any() else None


def obedient(feature, x, delta, draw):
    if feature.is_fixed:
        return 0.0
    if feature.direction is not Direction.ANY:
        delta = max(0.0, delta) if feature.direction is Direction.INCREASE else min(0.0, delta)
    if feature.step:
        return round(delta / feature.step) * feature.step
    if feature.type is FeatureType.INTEGER:
        return round(x + delta) - x
    if feature.type is not FeatureType.CONTINUOUS:
        return float(draw.integers(2)) - x
    low = -math.inf if feature.lower is None else feature.lower - x
    return max(low, min(delta, math.inf if feature.upper is None else feature.upper - x))


def answer(problem, moves):
    """What moves give; None where they are no answer."""
    if budget_violations(problem, moves) or any(move_violation(problem, move) for move in moves):
        return None
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner:
        return None
    return outcome if outcome.is_answer else None


def sampled(problem, seed=0, tries=60, climbs=90):
    """The best answer among random moves and small changes of the best one."""
    draw, members = np.random.default_rng(seed), {m.record: m for m in problem.collective.members}
    best, width = answer(problem, ()), 0.5
    for _ in range(tries):
        found = answer(problem, [move for m in members.values() if (move := proposal(problem, m, draw))])
        best = found if found is not None and found.beats(best) else best
    for t in range(climbs if best is not None else 0):
        moves = {move.record: move for move in best.moves}
        record = int(draw.choice(list(members)))
        around = moves.pop(record, None)
        keeps_class = around is not None and (around.y, around.s) == (
            problem.records.y[record],
            problem.records.s[record],
        )
        move = proposal(problem, members[record], draw, around if keeps_class else None, width)
        found = answer(problem, [*moves.values(), *([move] if move else [])])
        best = found if found is not None and found.beats(best) else best
        width *= 0.7 if t % 10 == 9 else 1.0
    return best


def assert_sound(problem, claim, best):
    """The claimed moves are an answer and as good as the bound, and nothing that was sampled is better than that."""
    if claim.infeasible:
        assert best is None
        return
    assert claim.moves is not None and claim.bound is not None
    outcome = answer(problem, claim.moves)
    assert outcome is not None
    sign, size = 1 if problem.goal.maximises else -1, max(1.0, abs(outcome.objective))
    assert -1e-7 * size <= sign * (claim.bound - outcome.objective) <= 5e-5 * size
    assert claim.parameters.vector() == pytest.approx(outcome.parameters.vector(), abs=1e-9)
    assert best is None or sign * (best.objective - claim.bound) <= 1e-7 * size


@pytest.mark.parametrize("seed", RANDOM)
def test_no_answer_breaks_a_rule_and_no_sample_beats_a_bound(seed):
    problem = drawn_problem(seed)
    best = sampled(problem, seed)
    assert_sound(problem, run(problem), best)


@pytest.mark.parametrize("seed", range(16))
def test_the_convex_program_and_the_bilinear_one_agree(seed):
    problem = convex_problem(seed)
    claims = [run(problem, name) for name in (CONVEX, BILINEAR)]
    assert claims[0].infeasible == claims[1].infeasible
    if claims[0].infeasible:
        assert sampled(problem, seed) is None
        return
    assert claims[0].bound == pytest.approx(claims[1].bound, rel=2e-5, abs=2e-5)
    for claim in claims:
        assert_sound(problem, claim, None)
    if named(CLOSED).accepts(problem) is None:
        assert run(problem, CLOSED).objective == pytest.approx(claims[0].objective, abs=1e-6)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("seed", range(3))
def test_all_three_agree_where_the_closed_form_holds(seed, norm):
    draw = np.random.default_rng([seed, 5])
    members = [Member(i, (FeatureAction(norm, float(draw.uniform(0.5, 2)), 0.1),)) for i in (0, 1, 4, 5)]
    query = draw.normal(1.0, 1.0, size=2)
    problem = two_classes(members, query, GoalKind.MAX_MARGIN, cost=CostKind(norm.value), budget=Budget(each=1.2))
    value = run(problem, CLOSED).objective
    names = [name for name in (CONVEX, BILINEAR) if named(name).accepts(problem) is None]
    assert BILINEAR in names and (CONVEX in names or norm is Norm.L1)
    for name in names:
        claim = run(problem, name)
        assert_sound(problem, claim, None)
        assert claim.bound == pytest.approx(value, abs=1e-5) and claim.bound >= value - 1e-9


# -- dense grids ------------------------------------------------------------------------------------------------------


def grid(radius, step):
    axis = np.arange(-radius, radius + step / 2, step)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def margins_on(problem, record, deltas):
    """The query's margin for every change of one record; plain means."""
    X, y, q = problem.records.X, problem.records.y, np.array(problem.queries[0].x)
    own, t = int(y[record]), int(problem.queries[0].target)
    mu = np.array([X[y == c].mean(axis=0) for c in (0, 1)])
    moved = ((q - mu[own] - deltas / (y == own).sum()) ** 2).sum(axis=1)
    other = float(np.sum((q - mu[1 - own]) ** 2))
    return other - moved if own == t else moved - other


@pytest.mark.parametrize("record", [1, 5])
@pytest.mark.parametrize("cost", [kind for kind in CostKind if kind is not CostKind.COUNT])
def test_the_least_cost_is_that_of_a_dense_grid(record, cost):
    """One member of the wanted class or of the other one, in a disc cut by a line, a bound and a direction."""
    traits = {
        "features": (Feature("x0", upper=3.0), Feature("x1", direction=Direction.DECREASE, scale=2.0)),
        "constraints": (FeatureConstraint((("x0", 1.0), ("x1", -1.0)), Sense.LE, 2.5),),
    }
    member, kind = Member(record, (FeatureAction(Norm.L2, 2.5),)), GoalKind.MIN_COST
    problem = two_classes([member], (1.1, 0.2), kind, cost=cost, required=0.8, **traits)
    x, scaled = problem.records.X[record], grid(2.5, 0.01)
    deltas = scaled * [1.0, 2.0]
    after = x + deltas
    inside = (np.hypot(*scaled.T) <= 2.5) & (after[:, 0] <= 3.0) & (deltas[:, 1] <= 0) & (after @ [1, -1] <= 2.5)
    reaching = inside & (margins_on(problem, record, deltas) >= 0.8)
    costs = [cost.of(change) for change in scaled[reaching]]
    names = [name for name in (CONVEX, BILINEAR) if named(name).accepts(problem) is None]
    assert names == ([CONVEX, BILINEAR] if record == 5 else [BILINEAR])
    for name in names:
        claim = run(problem, name)
        assert_sound(problem, claim, None)
        assert claim.objective <= min(costs) + 1e-9 and min(costs) <= claim.objective + 0.1


def test_steps_beyond_a_menu_are_settled_as_by_trying_all():
    """3,700 points of two stepped features; the best is exact."""
    traits = {"features": (Feature("x0", step=0.07), Feature("x1", step=0.05, scale=0.7))}
    member = Member(1, (FeatureAction(Norm.L1, 2.2),))
    problem = two_classes([member], (1.1, 0.4), GoalKind.MAX_MARGIN, **traits)
    assert not problem.is_menu_problem
    steps = np.stack(np.meshgrid(np.arange(-40, 41), np.arange(-40, 41)), axis=-1).reshape(-1, 2)
    deltas = steps * [0.07, 0.05]
    deltas = deltas[np.abs(deltas / [1.0, 0.7]).sum(axis=1) <= 2.2 + 1e-12]
    assert len(deltas) > 1000
    claim = run(problem)
    assert_sound(problem, claim, None)
    best = float(margins_on(problem, 1, deltas).max())
    assert evaluate(problem, claim.moves).objective == pytest.approx(best, abs=1e-9)


def test_changes_and_withholding_together_as_on_a_dense_grid():
    """Withholding changes the weight that a colleague's change counts with: 4 records of each class, two members."""
    members = [
        Member(0, (FeatureAction(Norm.LINF, 1.0), WithholdAction(0.4))),
        Member(1, (WithholdAction(0.4), LabelAction((1.0,), 0.5))),
    ]
    problem = two_classes(members, (0.9, 0.4), GoalKind.MAX_MARGIN, budget=Budget(total=1.6), cost=CostKind.LINF)
    best, changes = -math.inf, grid(1.0, 0.1)
    others = [None, ("s", 0.4), ("y", 0.5)]
    for other in others:
        for change in [None, "withhold", *changes]:
            X, y, s, spent = problem.records.X.copy(), problem.records.y.copy(), np.ones(8), 0.0
            if other is not None:
                spent += other[1]
                s[1], y[1] = (0.0, y[1]) if other[0] == "s" else (1.0, 1.0)
            if isinstance(change, str):
                s[0], spent = 0.0, spent + 0.4
            elif change is not None:
                X[0], spent = X[0] + change, spent + float(np.abs(change).max())
            mu = [np.average(X[y == c], axis=0, weights=s[y == c]) for c in (0, 1)]
            away, near = (float(np.sum((np.array([0.9, 0.4]) - m) ** 2)) for m in mu)
            best = max(best, away - near) if spent <= 1.6 + 1e-9 else best
    claim = run(problem)
    assert_sound(problem, claim, None)
    assert claim.bound >= best - 1e-9 and claim.objective <= best + 0.05


# -- known answers ----------------------------------------------------------------------------------------------------


def fewest(problem, radius):
    """Equal l2 radii and everybody a member: ``m_t`` of the wanted class, and for every other one the least number
    that pushes it far enough; None where all are not enough."""
    X, y, query = problem.records.X, problem.records.y, problem.queries[0]
    d = [float(np.linalg.norm(np.array(query.x) - X[y == c].mean(axis=0))) for c in range(len(problem.classes))]
    n, t = [int((y == c).sum()) for c in range(len(d))], int(query.target)
    needed, found = problem.needed_margin(query), []
    for near in range(n[t] + 1):
        beyond = math.sqrt(needed + max(0.0, d[t] - radius * near / n[t]) ** 2)
        away = [math.ceil(max(0.0, beyond - d[c]) * n[c] / radius - 1e-12) for c in range(len(d)) if c != t]
        if all(count <= n[c] for count, c in zip(away, (c for c in range(len(d)) if c != t), strict=True)):
            found.append(near + sum(away))
    return min(found, default=None)


def iris_problem():
    """One flower left out; the 149 others may each move by half a centimetre."""
    X, y = load_iris(return_X_y=True)
    kept = np.arange(150) != 70
    members = tuple(Member(i, (FeatureAction(Norm.L2, 0.5),)) for i in range(149))
    return RecourseProblem(
        "iris-70",
        Records(X[kept], y[kept].astype(float), np.ones(149)),
        LearnerSpec("nearest_centroid"),
        Collective(members),
        (Query("q", tuple(X[70].tolist()), 2.0, required=0.001),),
        GoalKind.MIN_MEMBERS,
        classes=("setosa", "versicolor", "virginica"),
    )


def test_the_fewest_of_149_flowers_are_the_known_count():
    problem = iris_problem()
    claim = run(problem)
    assert_sound(problem, claim, None)
    assert len(claim.moves) == fewest(problem, 0.5) == 21


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_the_fewest_members_are_the_known_count(seed):
    draw = np.random.default_rng([seed, 3])
    n, radius = 9, 0.8
    X = np.vstack([draw.normal(size=(n, 3)), draw.normal(size=(n, 3)) + np.array([2.5, 0, 0])])
    query = draw.normal(size=3) * 0.5 + [0.4, 0, 0]
    members = [Member(i, (FeatureAction(Norm.L2, radius),)) for i in range(2 * n)]
    problem = two_classes(members, query, GoalKind.MIN_MEMBERS, X=X, required=0.05)
    count = fewest(problem, radius)
    claim = run(problem)
    assert claim.infeasible == (count is None)
    if count is not None:
        assert_sound(problem, claim, None)
        assert len(claim.moves) == count


@pytest.mark.parametrize("charge", [0.0, 0.5])
def test_a_charge_is_paid_once_by_whoever_acts_and_never_by_others(charge):
    """Two equal members on a line bring the centroid from 4 to 1.5 + v with v^2 = 1.5^2 - required: 2 (2.5 - v) in all,
    by one of them, and one charge."""
    members = [Member(i, (FeatureAction(Norm.L2, 3.0, charge),)) for i in (2, 3)]
    problem = two_classes(members, (1.5,), GoalKind.MIN_COST, X=[[0.0], [0.0], [4.0], [4.0]], required=0.75)
    claim = run(problem)
    assert_sound(problem, claim, None)
    assert claim.objective == pytest.approx(2 * (2.5 - math.sqrt(2.25 - 0.75)) + charge, abs=1e-5)
    assert len(claim.moves) == 1 or not charge


def alike_problem(cost, odd=0.0):
    """Two alike members of each class; ``odd`` makes the radii differ, each by that much more than the last."""
    members = [Member(i, (FeatureAction(Norm.L2, 1.5 + odd * i, 0.2),)) for i in (0, 1, 4, 5)]
    return two_classes(members, (0.9, 0.4), GoalKind.MIN_COST, cost=cost, required=0.9)


@pytest.mark.parametrize("cost", [CostKind.SQL2, CostKind.L2, CostKind.L1, CostKind.COUNT])
def test_alike_members_are_as_good_in_one_sum_as_one_by_one(cost):
    together, apart = alike_problem(cost), alike_problem(cost, odd=1e-9)
    claims = [run(problem) for problem in (together, apart)]
    assert claims[0].bound == pytest.approx(claims[1].bound, rel=2e-5)
    for problem, claim in zip((together, apart), claims, strict=True):
        assert_sound(problem, claim, None)


# -- nothing to do ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", GOALS)
def test_who_cannot_move_stays(goal):
    """No member, radius 0, everything fixed, and bounds that leave one point: all the same problem."""
    move = FeatureAction(Norm.L2, 1.0)
    base = two_classes([Member(4, (move,))], (1.6, 0.7), goal, required=0.2)
    x = base.records.X[4]
    held = tuple(Feature(f"x{j}", lower=float(x[j]), upper=float(x[j])) for j in range(2))
    fixed = tuple(Feature(f"x{j}", direction=Direction.FIXED) for j in range(2))
    present = evaluate(base, ())
    still = [Member(4, (replace(move, radius=0.0),))]
    for problem in (
        replace(base, collective=Collective(())),
        replace(base, collective=Collective(tuple(still))),
        replace(base, features=fixed),
        replace(base, features=held),
    ):
        result = solve(problem)
        assert result.status is Status.OPTIMAL and result.moves == ()
        assert result.objective == pytest.approx(present.objective)
        assert "no member" in named(CONVEX).accepts(problem) or goal not in (GoalKind.MAX_MARGIN, GoalKind.MIN_COST)
        assert "finite options only" in named(BILINEAR).accepts(problem)


def test_a_record_outside_its_bounds_may_stay_or_come_in():
    """To stay is no change within the rules, so the set does not hold 0 and the program has a binary for it."""
    member = Member(5, (FeatureAction(Norm.L2, 2.0),))
    features = (Feature("x0", upper=2.0), Feature("x1"))
    wants_near = two_classes([member], (1.2, 0.9), GoalKind.MAX_MARGIN, features=features)
    wants_far = two_classes([member], (1.2, 0.9), GoalKind.MAX_MARGIN, features=features, target=0.0)
    for problem in (wants_near, wants_far):
        assert "as it stands" in named(CONVEX).accepts(problem)
        assert_sound(problem, run(problem), sampled(problem))


# -- starts, limits, bounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 13, 17])
def test_a_start_and_its_cutoff_change_nothing(seed):
    problem = drawn_problem(seed)
    plain, best = run(problem), sampled(problem, seed)
    assert best is not None
    known = Request(relative_gap=1e-6, start=best.moves, start_parameters=best.parameters, cutoff=best.objective)
    claim = run(problem, request=known)
    assert claim.bound == pytest.approx(plain.bound, rel=1e-5, abs=1e-5)
    assert_sound(problem, claim, best)


def test_a_bound_after_one_node_still_holds():
    for seed in (0, 1, 5, 12):
        problem = drawn_problem(seed)
        claim, best = run(problem, request=replace(REQUEST, node_limit=1)), sampled(problem, seed)
        sign = 1 if problem.goal.maximises else -1
        assert best is None or claim.bound is None or sign * (best.objective - claim.bound) <= 1e-7


def test_every_start_satisfies_every_row_of_the_program():
    """Values of a sampled answer, put into the model, break no row: nothing is cut off."""
    from pyomo.environ import Constraint, Var, value

    alike = alike_problem(CostKind.SQL2)
    costly = replace(alike, collective=replace(alike.collective, budget=Budget(total=4.0)), goal=GoalKind.MAX_MARGIN)
    for problem in (*map(drawn_problem, (0, 8, 13, 15, 17, 19)), costly):
        best = sampled(problem)
        assert best is not None
        program = named(BILINEAR).build(problem)
        values = program.start(best.moves, best.parameters)
        unset = []
        for variable in program.model.component_data_objects(Var):
            if variable.name in values:
                variable.set_value(values[variable.name], skip_validation=True)
                assert variable.lb is None or variable.value >= variable.lb - 1e-7, variable.name
                assert variable.ub is None or variable.value <= variable.ub + 1e-7, variable.name
            else:
                unset.append(variable.parent_component().name)
        assert set(unset) <= {"margin", "spent", "reached", "reach"}
        for row in program.model.component_data_objects(Constraint, active=True):
            if row.parent_component().name.split("_")[0] not in ("margin", "spent", "reach", "within"):
                body = value(row.body)
                assert row.lower is None or body >= value(row.lower) - 1e-7, row.name
                assert row.upper is None or body <= value(row.upper) + 1e-7, row.name


def test_weak_duality_bounds_whatever_the_dual_vector_is():
    draw = np.random.default_rng(0)
    x, t = cp.Variable(3), cp.Variable()
    goal = np.array([3.0, -2.0, 1.0])
    rows = [cp.SOC(t, x - goal), cp.sum(x) == 1.0]
    ranges = [Range(x, -1.0, 1.0), Range(t, 0.0, 20.0)]
    found = minimise(1.0 * t, rows, ranges)
    # The nearest point with sum 1 in the box is (1, -1, 1).
    assert found.bound == pytest.approx(math.sqrt(5.0), abs=1e-7) and found.bound <= math.sqrt(5.0)
    A, b, c = draw.normal(size=(6, 4)), draw.normal(size=6), draw.normal(size=4)
    point = draw.uniform(-1, 1, size=4)
    b = A @ point + draw.uniform(0, 1, size=6)
    for _ in range(50):
        y = np.abs(draw.normal(size=6))
        bound, _ = cone_bound._weak_duality(c, A, b, y, np.full(4, -1.0), np.full(4, 1.0))
        assert bound <= c @ point
    impossible = minimise(1.0 * t, [*rows, x[0] + x[1] >= 2.5], ranges)
    assert impossible.infeasible and not found.infeasible
    with pytest.raises(SolverError, match="no proved interval"):
        minimise(1.0 * t, rows, ranges[:1])


def test_the_convex_programs_bound_is_never_beyond_the_truth_where_it_stops_early():
    """A bound of few iterations is weak, and no more: the true optimum is a closed form."""
    problem = two_classes([Member(5, (FeatureAction(Norm.L2, 1.0),))], (1.1, 0.2), GoalKind.MAX_MARGIN)
    truth = run(problem, CLOSED).objective
    before = dict(cone_bound.ACCURACY)
    try:
        for iterations in range(1, 12):
            cone_bound.ACCURACY["max_iter"] = iterations
            claim = run(problem, CONVEX)
            assert claim.bound >= truth - 1e-12
            assert claim.objective <= truth + 1e-12
    finally:
        cone_bound.ACCURACY.clear()
        cone_bound.ACCURACY.update(before)


# -- where they apply -------------------------------------------------------------------------------------------------


def test_every_reason_of_the_convex_program_is_given(make):
    action = FeatureAction(Norm.L2, 1.0)
    base = two_classes([Member(5, (action,))], (1.1, 0.2), GoalKind.MIN_COST)

    def with_member(record, *actions, **traits):
        return replace(base, collective=Collective((Member(record, actions),), **traits))

    query = base.queries[0]
    refused = {
        "no nearest centroid": make(0),
        "counts members or queries": replace(base, goal=GoalKind.MIN_MEMBERS),
        "budget on the number": with_member(5, action, budget=Budget(members=1)),
        "1 for whoever acts": with_member(5, action, cost=CostKind.COUNT),
        "charge for acting": with_member(5, replace(action, charge=0.1)),
        "finite options": with_member(5, action, WithholdAction()),
        "2 ways": with_member(5, action, FeatureAction(Norm.L1, 1.5)),
        "move in steps": replace(base, features=(Feature("x0", step=1e-3), Feature("x1"))),
        "as it stands": replace(base, features=(Feature("x0", upper=2.0), Feature("x1"))),
        "one of several": replace(base, queries=(query, replace(query, name="r", target=0.0))),
        "max_loss_increase couples": replace(with_member(1, action), max_loss_increase=1.0),
        "the total budget couples": replace(with_member(1, action, budget=Budget(total=0.5)), goal=GoalKind.MAX_MARGIN),
        "neither balls nor boxes": replace(with_member(1, FeatureAction(Norm.L1, 1.0)), goal=GoalKind.MAX_MARGIN),
        "not balls in l2": with_member(1, FeatureAction(Norm.LINF, 1.0)),
        "cost is in 'l1'": with_member(1, action, cost=CostKind.L1),
        "no member can move": with_member(5, replace(action, radius=0.0)),
    }
    for words, problem in refused.items():
        assert words in (named(CONVEX).accepts(problem) or "accepted"), words
    assert named(CONVEX).accepts(base) is None and named(CONVEX).accepts(with_member(1, action)) is None


def test_every_reason_of_the_bilinear_program_is_given(make):
    action = FeatureAction(Norm.L2, 1.0)
    base = two_classes([Member(5, (action,))], (1.1, 0.2), GoalKind.MIN_COST)
    wide = FeatureAction(Norm.L2, 1e6)
    refused = {
        "no nearest centroid": make(0),
        "finite options only": replace(base, collective=Collective((Member(5, (WithholdAction(),)),))),
        "more than 10000 values": replace(
            base,
            features=(Feature("x0", step=1e-3), Feature("x1")),
            collective=Collective((Member(5, (wide,)),)),
        ),
        "divide all features": replace(base, collective=Collective((Member(5, (wide,)),))),
    }
    for words, problem in refused.items():
        assert words in (named(BILINEAR).accepts(problem) or "accepted"), words


def test_auto_takes_the_closed_form_then_the_convex_program_then_the_bilinear_one():
    ball = Member(5, (FeatureAction(Norm.L2, 1.0),))
    closed = two_classes([ball], (1.1, 0.2), GoalKind.MAX_MARGIN)
    convex = replace(closed, goal=GoalKind.MIN_COST)
    general = replace(closed, goal=GoalKind.MIN_MEMBERS)
    assert [choose(problem)[0].name for problem in (closed, convex, general)] == [CLOSED, CONVEX, BILINEAR]
    for problem in (closed, convex):
        assert solve(problem, confirm=True).grade == "confirmed"


def test_the_bilinear_program_is_written_and_its_names_explained(tmp_path):
    problem = drawn_problem(6)
    written = export(problem, tmp_path / "program.lp", formulation=BILINEAR, form="lp")
    assert written.rows > 10 and "delta" in written.map_path.read_text(encoding="utf-8")
