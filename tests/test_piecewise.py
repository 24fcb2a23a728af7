"""Relaxations on pieces: every re-trained move is in them, their bounds against re-training, grids and moments."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pyomo.environ as pyo
import pytest

from oar_opt.changes import change_sets
from oar_opt.discovery import formulations
from oar_opt.errors import SolverError, VerificationError
from oar_opt.evaluate import evaluate
from oar_opt.moment_search import MomentSearch
from oar_opt.moment_setting import settings_of
from oar_opt.piecewise_cells import Partition, SquareSum, Tangents, Vertices
from oar_opt.piecewise_search import PiecewiseSearch
from oar_opt.piecewise_tightening import Nothing, Tightening
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Feature,
    FeatureAction,
    FeatureType,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Position,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.result import Request, Status, StoppedBy
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violation

KINDS = {
    "ridge": {"alpha": 1.0},
    "svm": {"C": 1.0},
    "squared_hinge": {"C": 1.0},
    "huber": {"C": 1.0, "delta": 0.5},
    "epsilon_insensitive": {"C": 1.0, "epsilon": 0.2},
}
REGRESSION = ("huber", "epsilon_insensitive")


def piecewise():
    return formulations()["piecewise"]


def moving(seed=0, kind="ridge", *, n=7, d=2, members=1, norm=Norm.L2, radius=0.3, charge=0.0, **more):
    """A random problem whose members may move features; the query is decided against its wish."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n, d))
    value = X @ draw.normal(size=d) + 0.5 * draw.normal(size=n)
    y = value if kind in REGRESSION else np.where(value > 0, 1.0, -1.0)
    if kind not in REGRESSION:
        y[:2] = 1.0, -1.0
    team = tuple(Member(i, (FeatureAction(norm, radius, charge),)) for i in range(2, 2 + members))
    problem = RecourseProblem(
        f"moving-{seed}",
        Records(X, y, np.ones(n)),
        LearnerSpec(kind, more.pop("intercept", Intercept.PENALIZED), **KINDS[kind]),
        Collective(team, more.pop("cost", CostKind.L2), more.pop("budget", Budget())),
        (Query("q", tuple(draw.normal(size=d).tolist()), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=None if kind in REGRESSION else ("no", "yes"),
        position=Position.OPTIMISTIC,
        **more,
    )
    target = 1.0 if evaluate(problem, ()).margins[0] < 0 else -1.0
    return replace(problem, queries=(replace(problem.queries[0], target=target),))


def random_moves(problem, draw):
    """Moves of some members, within all rules; None where budgets refuse them."""
    moves = []
    for member in problem.collective.members:
        for one in change_sets(problem, member):
            delta = draw.uniform(one.lower, one.upper) * draw.choice([0.3, 1.0, 1.5])
            for ball in one.balls:
                length = ball.norm.of(delta / one.scales)
                delta = delta * min(1.0, ball.radius / length) if length else delta
            moves.append(one.move(np.clip(delta, one.lower, one.upper)) if draw.uniform() < 0.8 else None)
    moves = [move for move in moves if move is not None]
    return None if budget_violations(problem, moves) or any(move_violation(problem, m) for m in moves) else moves


def searched(problem, **wanted):
    """A search that begins with nobody acting."""
    assert piecewise().accepts(problem) is None
    start = () if evaluate(problem, ()).is_answer else None
    request = Request(**{"time_limit": 60.0, "start": start, **wanted})
    return PiecewiseSearch(piecewise().build(problem, request).model, request)


def assert_valid(problem, bound, seed=0, count=40):
    """No random move is better than the bound."""
    draw, sign = np.random.default_rng(seed), 1.0 if problem.goal.maximises else -1.0
    for _ in range(count):
        moves = random_moves(problem, draw)
        outcome = None if moves is None else evaluate(problem, moves)
        if outcome is not None and outcome.is_answer:
            assert sign * (bound - outcome.objective) >= -1e-7


# -- cells ---


def solved(model, expression, sense):
    model.goal = pyo.Objective(expr=expression, sense=sense)
    pyo.SolverFactory("appsi_highs").solve(model)
    found = pyo.value(model.goal)
    model.del_component("goal")
    return found


def cells(points):
    """``c`` in the interval of the points, ``t`` in [-1, 2], their product ``u``."""
    m = pyo.ConcreteModel()
    m.c, m.t, m.u, m.block = pyo.Var(), pyo.Var(), pyo.Var(), pyo.Block()
    partition = Partition(points[0], points[-1])
    partition.points = list(points)
    found = Vertices.write(m.block, partition, m.c, 1.0)
    copies = found.product(m.block, "t", m.t, (-1.0, 2.0), found.weights)
    m.product = pyo.Constraint(expr=m.u == found.times(copies))
    return m


def test_one_piece_is_the_envelope_of_a_product():
    m, draw = cells([-0.5, 1.5]), np.random.default_rng(1)
    for _ in range(5):
        c, t = float(draw.uniform(-0.5, 1.5)), float(draw.uniform(-1, 2))
        m.c.fix(c)
        m.t.fix(t)
        upper = min(-0.5 * t + 2 * c + 1.0, 1.5 * t - c + 1.5)
        lower = max(-0.5 * t - c - 0.5, 1.5 * t + 2 * c - 3.0)
        assert solved(m, m.u, pyo.maximize) == pytest.approx(upper, abs=1e-7)
        assert solved(m, m.u, pyo.minimize) == pytest.approx(lower, abs=1e-7)


def test_many_pieces_are_off_by_a_quarter_of_a_piece_at_most():
    points = [-0.5, 0.1, 0.4, 1.5]
    m = cells(points)
    for c, width in ((-0.2, 0.6), (0.25, 0.3), (0.9, 1.1), (0.4, 0.0)):
        m.c.fix(c)
        m.t.fix(0.5)
        for sense, sign in ((pyo.maximize, 1), (pyo.minimize, -1)):
            off = sign * (solved(m, m.u, sense) - c * 0.5)
            assert -1e-7 <= off <= width * 3.0 / 4 + 1e-7


def test_cuts_leave_room_and_shrinking_keeps_the_points_inside():
    partition = Partition(0.0, 1.0)
    assert partition.cut(0.001) and partition.points[1] == pytest.approx(0.15)
    assert partition.cut(0.5) and partition.piece_of(0.3) == 1
    partition.shrink(0.2, 0.9)
    assert partition.points == pytest.approx([0.2, 0.5, 0.9]) and partition.share == pytest.approx(0.7)
    assert not Partition(1.0, 1.0).cut(1.0)


def test_tangents_close_in_on_a_ball():
    m = pyo.ConcreteModel()
    m.s = pyo.Var([0, 1], bounds=(-1, 1))
    tangents = Tangents(np.ones(2))
    for _ in range(6):
        m.block = pyo.Block()
        ball = SquareSum([m.s[0], m.s[1]], 1.0, 1.0, 1.0, tangents)
        ball.write(m.block)
        longest = solved(m, 0.6 * m.s[0] + 0.8 * m.s[1], pyo.maximize)
        assert longest >= 1 - 1e-7
        ball.refine()
        m.del_component("block")
    assert longest == pytest.approx(1.0, abs=1e-4)


# -- every point of the exact program is in every relaxation ---

SETTINGS = (
    {"members": 2},
    {"members": 2, "norm": Norm.L1, "intercept": Intercept.FREE},
    {"d": 3, "norm": Norm.LINF, "intercept": Intercept.NONE},
)


@pytest.mark.parametrize(("kind", "setting"), [(kind, k % 3) for k, kind in enumerate(KINDS)] + [("svm", 0)])
def test_every_re_trained_move_is_a_point_of_the_relaxation(kind, setting):
    """With discrete variables, changes and parameters held, the linear program has a point with the true margin."""
    problem, draw = moving(20 + setting, kind, **SETTINGS[setting]), np.random.default_rng(setting)
    assert piecewise().accepts(problem) is None
    model = piecewise().build(problem, Request()).model
    for part in [*model.pull_pieces.values(), *model.weight_pieces.values()]:
        for _ in range(2):
            part.cut(float(draw.uniform(part.points[0], part.points[-1])))
    model.rewrite()
    relaxed = Tightening(model, lambda: False)
    assert relaxed.is_bounded
    ends = [(v.lb, v.ub) for v in relaxed.columns]
    for _ in range(10):
        moves = random_moves(problem, draw)
        outcome = evaluate(problem, moves)
        hold(model, relaxed, ends, moves, outcome.parameters)
        # It would raise where it proves that there is no point.
        assert relaxed.goal_bound() >= outcome.objective - 1e-6


def hold(model, relaxed, ends, moves, parameters):
    """Choices, changes and the pieces of weights exactly, parameters within the accuracy of re-training."""
    values = model.start(moves, parameters)
    held = {step.name for pair in model.shapes for step in model.steps(pair)}
    held |= {binary.name for cell in model.weight_cells.values() for binary in cell.picks}
    held |= {binary.name for record, _ in model.menus for binary in model.alternatives(record).values()}
    theta = {variable.name for variable in model.theta}
    found = 0
    for column, (variable, (low, high)) in enumerate(zip(relaxed.columns, ends, strict=True)):
        if variable.name in held:
            low = high = values[variable.name]
        elif variable.name in theta:
            low, high = max(low, values[variable.name] - 1e-5), min(high, values[variable.name] + 1e-5)
            found += 1
        relaxed.program.fix(column, low, high)
    assert found == len(theta)


# -- whole searches ---


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_and_the_bound_are_those_of_moment_relaxations(kind):
    problem = moving(6, kind, n=6) if kind in ("ridge", "svm") else moving(7, kind, n=6, d=1)
    claim = searched(problem).run()
    other = MomentSearch(problem, settings_of(problem), Request(time_limit=60.0)).run()
    assert claim.stopped_by is StoppedBy.GAP
    assert claim.objective == pytest.approx(other.objective, abs=2e-4)
    assert claim.bound >= other.objective - 1e-6 and other.bound >= claim.objective - 1e-6
    assert claim.bound - claim.objective <= 1e-4
    assert_valid(problem, claim.bound)


@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_refining_never_worsens_a_bound_that_always_holds(kind):
    problem = moving(31, kind, members=2, radius=0.6)
    search = searched(problem, node_limit=2)
    claim = search.run()
    assert len(search.bounds) >= 2
    assert all(later <= earlier for earlier, later in zip(search.bounds, search.bounds[1:], strict=False))
    assert claim.bound < piecewise().build(problem, Request()).model.goal_end
    assert_valid(problem, claim.bound, count=40)


@pytest.mark.parametrize("calls", [1, 25])
def test_an_interrupt_leaves_a_valid_bound(calls):
    problem, asked = moving(31, "ridge", members=2, radius=0.6), []

    def interrupted():
        asked.append(None)
        return len(asked) >= calls

    claim = searched(problem, interrupted=interrupted).run()
    assert claim.stopped_by is StoppedBy.INTERRUPT
    assert_valid(problem, claim.bound)


@pytest.mark.parametrize(
    ("wanted", "stopped"),
    [({"time_limit": 0.2}, StoppedBy.TIME_LIMIT), ({"node_limit": 1, "relative_gap": 1e-9}, StoppedBy.NODE_LIMIT)],
)
def test_limits_leave_a_valid_bound_and_a_verified_move(wanted, stopped):
    problem = moving(6, "huber", radius=0.6)
    claim = searched(problem, **wanted).run()
    assert claim.stopped_by is stopped
    assert evaluate(problem, claim.moves).objective == pytest.approx(claim.objective, abs=1e-9)
    assert_valid(problem, claim.bound, count=20)


def ridge_on_a_line(goal, required=None, cost=CostKind.L2, **more):
    """Records at 1 and -1 say +1, a member at 0.5 says 1; alpha 1, no intercept: w = x / (3 + x^2)."""
    return RecourseProblem(
        "line",
        Records(np.array([[1.0], [1.0], [0.5]]), np.array([1.0, -1.0, 1.0]), np.ones(3)),
        LearnerSpec("ridge", Intercept.NONE, alpha=1.0),
        Collective((Member(2, (FeatureAction(Norm.L2, 1.0),)),), cost, **more),
        (Query("q", (1.0,), 1.0, required=required),),
        goal,
    )


@pytest.mark.parametrize("cost", [CostKind.L2, CostKind.SQL2])
def test_the_least_cost_on_a_line_is_known(cost):
    """x / (3 + x^2) = 1/4 at x = 1."""
    claim = searched(ridge_on_a_line(GoalKind.MIN_COST, 0.25, cost)).run()
    known = 0.25 if cost is CostKind.SQL2 else 0.5
    assert claim.objective == pytest.approx(known, abs=1e-4)
    assert known - 1e-4 <= claim.bound <= known + 1e-9


def test_what_cannot_be_reached_is_infeasible_and_one_member_is_enough():
    """The largest weight is 1 / (2 sqrt 3), at sqrt 3 = 1.73; 1.5 / 5.25 within reach."""
    claim = searched(ridge_on_a_line(GoalKind.MIN_COST, 0.29)).run()
    assert claim.infeasible and claim.stopped_by is StoppedBy.PROOF
    claim = searched(ridge_on_a_line(GoalKind.MIN_MEMBERS, 0.25)).run()
    assert claim.objective == claim.bound == 1.0
    claim = searched(ridge_on_a_line(GoalKind.MAX_HELPED, 0.25)).run()
    assert claim.objective == claim.bound == 1.0


def test_budgets_bind():
    claim = searched(ridge_on_a_line(GoalKind.MAX_MARGIN, budget=Budget(total=0.5))).run()
    assert claim.objective == pytest.approx(0.25, abs=1e-6)
    assert claim.bound == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_menus_stand_beside_changes(kind):
    problem = moving(7, kind, n=6, d=1)
    (member,) = problem.collective.members
    actions = (*member.actions, WithholdAction(), LabelAction((-1.0, 1.0)))
    mixed = replace(problem, collective=replace(problem.collective, members=(replace(member, actions=actions),)))
    claim = searched(mixed).run()
    finite = [evaluate(mixed, ())]
    for option in mixed.options(mixed.collective.members[0])[1:]:
        move = Move(member.record, option.x, option.y, option.s, option.cost)
        finite.append(evaluate(mixed, (move,)))
    changed = searched(problem).run()
    best = max([changed.objective, *(outcome.objective for outcome in finite)])
    assert claim.objective == pytest.approx(best, abs=2e-4)
    assert claim.bound >= best - 1e-6 and claim.bound - claim.objective <= 1e-4


# -- features in steps ---


def with_steps(kind, features, columns, query, radius):
    """One member; features in few steps beside a continuous one, the last."""
    draw = np.random.default_rng(5)
    X = np.column_stack([columns(draw, 8), draw.normal(size=8)])
    y = np.where(X @ np.linspace(1.0, -0.5, X.shape[1]) > 0.2, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    problem = RecourseProblem(
        "steps",
        Records(X, y, np.ones(8)),
        LearnerSpec(kind, Intercept.PENALIZED, **KINDS[kind]),
        Collective((Member(3, (FeatureAction(Norm.L2, radius),)),)),
        (Query("q", query, 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        features=(*features, Feature("x")),
    )
    return problem


def one_hot(kind):
    features = tuple(Feature(f"c{k}", FeatureType.CATEGORICAL, group="c") for k in range(2))
    return with_steps(kind, features, lambda draw, n: np.eye(2)[draw.integers(0, 2, size=n)], (0.0, 1.0, 0.3), 1.5)


def whole(kind):
    features = (Feature("count", FeatureType.INTEGER, lower=0.0, upper=2.0),)
    return with_steps(kind, features, lambda draw, n: draw.integers(0, 3, size=(n, 1)), (1.0, 0.3), 1.2)


def best_on_a_grid(problem):
    """Everything that the features in steps may do, and a grid of the continuous one with its ends on the ball."""
    (one,) = change_sets(problem, problem.collective.members[0])
    best = evaluate(problem, ()).objective
    for steps in product(*one.grids[:-1]):
        delta = np.array([*steps, 0.0])
        left = one.ball(Norm.L2) ** 2 - float(delta @ delta)
        if left < 0 or any(abs(delta[group.columns].sum() - group.total) > 1e-9 for group in one.groups):
            continue
        for last in np.linspace(-1.0, 1.0, 21) * np.sqrt(left):
            delta[-1] = last
            move = one.move(delta)
            assert move is None or move_violation(problem, move) is None
            best = max(best, evaluate(problem, () if move is None else (move,)).objective)
    return best


@pytest.mark.parametrize(("kind", "make"), [("ridge", one_hot), ("svm", whole)])
def test_integers_and_categories_are_exact(kind, make):
    problem = make(kind)
    known = best_on_a_grid(problem)
    claim = searched(problem, relative_gap=5e-3).run()
    assert claim.stopped_by is StoppedBy.GAP
    assert all(move_violation(problem, move) is None for move in claim.moves)
    assert claim.bound >= known - 1e-7
    assert known - 5e-3 <= claim.objective <= known + 5e-3


# -- the project's side ---


def test_the_pipeline_verifies_the_answer():
    result = solve(moving(6, "ridge", n=6), formulation="piecewise", time_limit=60.0)
    assert result.status is Status.OPTIMAL and result.verification.passed


def test_what_it_is_not_for_is_refused_with_the_reason():
    problem = moving(6, "ridge")
    logistic = replace(problem, learner=LearnerSpec("logistic", C=1.0))
    assert "curved" in piecewise().accepts(logistic)
    assert "max_loss_increase" in piecewise().accepts(replace(problem, max_loss_increase=1.0))
    still = replace(problem, collective=Collective((Member(2, (WithholdAction(),)),)))
    assert "room" in piecewise().accepts(still)


def test_a_relaxation_without_a_point_is_an_error_where_an_answer_is_known(monkeypatch):
    problem = moving(6, "ridge", n=6)
    search = searched(problem)

    def nothing():
        raise Nothing

    monkeypatch.setattr(search, "_tighten", nothing)
    with pytest.raises(SolverError, match="finds no point"):
        search.run()


def test_a_bound_that_a_verified_answer_refutes_is_an_error():
    search = searched(moving(6, "ridge", n=6))
    search.bound = search.best.objective - 0.01
    with pytest.raises(VerificationError, match="a verified answer reaches"):
        search.run()
