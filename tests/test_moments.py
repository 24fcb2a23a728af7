"""Moment relaxations: bounds against re-training, closed forms and grids; every answer within the rules."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from oar_opt import moment_program, moment_search
from oar_opt.changes import change_sets
from oar_opt.discovery import formulations, learner_of
from oar_opt.evaluate import evaluate
from oar_opt.moment_program import MomentProgram, Polynomial, combine
from oar_opt.moment_relaxation import EmptyRegion, MomentRelaxation, Region
from oar_opt.moment_search import MomentSearch
from oar_opt.moment_setting import settings_of
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
    Norm,
    Position,
    Query,
    Records,
    RecourseProblem,
    Sense,
    WithholdAction,
)
from oar_opt.result import Request, Status, StoppedBy
from oar_opt.risk import Jump, segments
from oar_opt.rules import budget_violations
from oar_opt.update_settings import gradient_update
from oar_opt.verification import move_violation

KINDS = {
    "ridge": {"alpha": 1.0},
    "svm": {"C": 1.0},
    "squared_hinge": {"C": 1.0},
    "logistic": {"C": 1.0},
    "huber": {"C": 1.0, "delta": 0.5},
    "epsilon_insensitive": {"C": 1.0, "epsilon": 0.2},
}
REGRESSION = ("huber", "epsilon_insensitive")


def moments():
    return formulations()["moments"]


def moving(
    seed=0,
    kind="ridge",
    *,
    n=9,
    d=2,
    members=2,
    norm=Norm.L2,
    radius=0.5,
    charge=0.0,
    intercept=Intercept.PENALIZED,
    features=(),
    queries=1,
    **more,
):
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
        LearnerSpec(kind, intercept, **KINDS[kind]),
        Collective(team, more.pop("cost", CostKind.L2), more.pop("budget", Budget())),
        tuple(Query(f"q{q}", tuple(draw.normal(size=d).tolist()), 1.0) for q in range(queries)),
        GoalKind.MAX_MARGIN,
        classes=None if kind in REGRESSION else ("no", "yes"),
        features=features,
        position=Position.OPTIMISTIC,
    )
    present = evaluate(problem, ())
    wishes = tuple(
        replace(q, target=1.0 if m < 0 else -1.0) for q, m in zip(problem.queries, present.margins, strict=True)
    )
    return replace(problem, queries=wishes, **more)


def requiring(problem, goal, share=0.5):
    """The same with a goal that asks for part of the margin that can be gained."""
    best = solve(problem, formulation="moments", time_limit=20)
    now = evaluate(problem, ()).margins[0]
    required = now + share * (best.objective - now)
    shift = max(0.0, 0.01 - required)
    query = problem.queries[0]
    row = np.array(query.x)
    assert problem.classes is None or shift == 0.0 or row.size
    return replace(
        problem, queries=(replace(query, threshold=-shift * query.target, required=required + shift),), goal=goal
    )


def random_moves(problem, draw):
    moves = []
    for member in problem.collective.members:
        for one in change_sets(problem, member):
            delta = draw.uniform(one.lower, one.upper)
            for ball in one.balls:
                length = ball.norm.of(delta / one.scales)
                delta = delta * min(1.0, ball.radius / length) if length else delta
            moves.append(one.move(delta))
    moves = [move for move in moves if move is not None]
    broken = budget_violations(problem, moves) or [m for m in moves if move_violation(problem, m)]
    return None if broken else moves


def claim_of(problem, seconds=10.0):
    return MomentSearch(problem, settings_of(problem), Request(time_limit=seconds)).run()


# -- the program over moments ---


def quadratic(seed):
    """``max v'Q v / 2`` over ``|v| <= 1`` in two dimensions, and its value on a fine grid."""
    draw = np.random.default_rng(seed)
    Q = draw.normal(size=(2, 2))
    Q = Q + Q.T
    program = MomentProgram()
    v = [program.variable(), program.variable()]
    program.clique(v)
    program.at_least_zero(1.0 - (v[0] * v[0] + v[1] * v[1]))
    objective = Polynomial()
    for i, j in itertools.product(range(2), range(2)):
        objective.add(v[i] * v[j], 0.5 * float(Q[i, j]))
    return program, objective, max(0.0, 0.5 * float(np.linalg.eigvalsh(Q)[-1]))


@pytest.mark.parametrize("seed", range(6))
def test_a_quadratic_over_a_ball_is_solved_exactly(seed):
    program, objective, value = quadratic(seed)
    bound = program.maximise(objective).bound
    assert value <= bound <= value + 1e-6


@pytest.mark.parametrize("noise", [1e-3, 1e-1, 10.0])
def test_the_bound_holds_whatever_the_multipliers_are(noise, monkeypatch):
    run, draw = moment_program._run, np.random.default_rng(1)

    class Spoilt:
        def __init__(self, answer):
            self.status, self.x = answer.status, answer.x
            self.z = np.array(answer.z) + noise * draw.normal(size=len(answer.z))

    monkeypatch.setattr(moment_program, "_run", lambda *args: Spoilt(run(*args)))
    for seed in range(10):
        program, objective, value = quadratic(seed)
        assert program.maximise(objective).bound >= value


def test_an_inaccurate_end_is_tried_again_where_that_matters(monkeypatch):
    """Once under Clarabel's own settings, spoilt; once more under careful ones, and the better bound counts."""
    run, asked = moment_program._run, []

    class Broken:
        def __init__(self, answer):
            self.status, self.x, self.z = "NumericalError", answer.x, np.array(answer.z) + 0.1

    def first_broken(A, b, q, cones, seconds, *further):
        asked.append(further)
        answer = run(A, b, q, cones, seconds, *further)
        return answer if further else Broken(answer)

    monkeypatch.setattr(moment_program, "_run", first_broken)
    program, objective, value = quadratic(0)
    assert value <= program.maximise(objective).bound <= value + 1e-6
    assert asked == [(), (moment_program.CAREFUL,)]
    assert program.maximise(objective, enough=1e6).bound > value + 1e-3 and len(asked) == 3


def test_a_contradiction_is_proved():
    program = MomentProgram()
    v = program.variable()
    program.clique([v])
    program.equal(v * v - 0.25)
    program.at_least_zero(v - 0.6)
    assert program.maximise(v).bound == -math.inf


def test_a_moment_that_no_row_knows_counts_with_its_largest_value():
    program = MomentProgram()
    v, w = program.variable(2.0), program.variable()
    program.at_least_zero(1.0 - v)
    assert program.maximise(v + w).bound == pytest.approx(2.0, abs=1e-6)


def test_rows_that_are_nothing_but_rounding_demand_nothing():
    program = MomentProgram()
    v = program.variable()
    program.clique([v])
    program.at_least_zero(1.0 - v * v)
    program.equal(v * 0.1 + v * 0.2 - v * 0.3 + 0.1 + 0.2 - 0.3)
    program.at_least_zero(Polynomial() + 0.3 - 0.1 - 0.2)
    assert program.maximise(v).bound == pytest.approx(1.0, abs=1e-6)
    assert program.maximise(-v).bound == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6, 1e300])
def test_no_multipliers_call_a_point_impossible(size, monkeypatch):
    draw = np.random.default_rng(2)

    class Impossible:
        status, x = "PrimalInfeasible", np.array([math.nan])

        def __init__(self, b):
            self.z = size * draw.normal(size=len(b))

    monkeypatch.setattr(moment_program, "_run", lambda A, b, *rest: Impossible(b))
    for seed in range(10):
        program, objective, _ = quadratic(seed)
        program.equal(Polynomial() + 0.1 + 0.2 - 0.3)
        assert program.maximise(objective).bound == math.inf


def test_multipliers_without_a_finite_sum_prove_nothing(monkeypatch):
    class Huge:
        status, x = "Solved", np.array([math.nan])

        def __init__(self, b):
            self.z = np.full(len(b), 1e308)

    monkeypatch.setattr(moment_program, "_run", lambda A, b, *rest: Huge(b))
    program, objective, _ = quadratic(0)
    with np.errstate(over="ignore", invalid="ignore"):
        assert program.maximise(objective).bound == math.inf


def test_moments_are_never_larger_than_their_variables(monkeypatch):
    run = moment_program._run

    class Far:
        def __init__(self, answer):
            self.status, self.x, self.z = answer.status, 1e200 * np.array(answer.x), answer.z

    monkeypatch.setattr(moment_program, "_run", lambda *args: Far(run(*args)))
    (setting,) = settings_of(moving(0, "svm"))
    relaxation = MomentRelaxation(setting, Region(setting.low, setting.high))
    found = relaxation.solve()
    assert max(map(abs, found.moments.values())) <= 1.0
    assert len(moment_search.parts_of(relaxation, found)) == 2


def test_polynomials_multiply_only_up_to_degree_two():
    program = MomentProgram()
    v, w = program.variable(2.0), program.variable()
    product = (v + 1.0) * (w - 3.0)
    assert product.terms == {(0, 0): -3.0, (0, 1): -6.0, (0, 2): 1.0, (1, 2): 2.0}
    with pytest.raises(AssertionError):
        _ = product * v
    assert combine(np.array([0.0, 2.0]), [v, w]).terms == {(0, 2): 2.0}


# -- relaxation: no point is cut off ---


def true_point(relaxation, problem, moves):
    """Values of all variables of a relaxation that belong to moves, by number; None where the region lacks them."""
    setting = relaxation.setting
    outcome = evaluate(problem, moves)
    theta = setting.risk.join(np.array(outcome.parameters.w), outcome.parameters.b)
    eta = np.linalg.solve(setting.basis, theta - setting.theta_bar)
    return outcome, eta


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", list(Norm))
def test_no_move_reaches_more_than_the_bound_and_parameters_stay_in_their_intervals(kind, norm):
    for seed in range(2):
        problem = moving(seed, kind, norm=norm, members=1 + seed, intercept=list(Intercept)[seed])
        (setting,) = settings_of(problem)
        bound = MomentRelaxation(setting, Region(setting.low, setting.high)).solve().bound
        light = MomentRelaxation(setting, Region(setting.low, setting.high), light=True)
        ends = [(-light.end_of(j, -1.0), light.end_of(j, 1.0)) for j in range(setting.p)]
        draw = np.random.default_rng(seed)
        for _ in range(25):
            outcome, eta = true_point(light, problem, random_moves(problem, draw))
            assert outcome.margins[0] <= bound + 1e-9
            for value, (low, high) in zip(eta, ends, strict=True):
                assert low - 1e-7 <= value <= high + 1e-7


class TruePoint:
    """Moves and what the re-trained learner makes of them: ``eta``; by record number ``f, g``; by member ``delta``."""

    def __init__(self, setting, moves):
        problem, risk, loss = setting.problem, setting.risk, setting.risk.loss
        self.setting, self.outcome = setting, evaluate(problem, moves)
        theta = risk.join(np.array(self.outcome.parameters.w), self.outcome.parameters.b)
        self.eta = np.linalg.solve(setting.basis, theta - setting.theta_bar)
        moved = {move.record: np.array(move.x) for move in moves}
        self.acts = [one.record in moved for _, one in setting.movers]
        self.delta = [moved.get(one.record, one.x) - one.x for _, one in setting.movers]
        records = [setting.record(number) for number in range(len(setting.fixed) + len(setting.movers))]
        changes = [np.zeros(problem.d)] * len(setting.fixed) + self.delta
        rows = np.array([r.x + setting.W.T @ delta for r, delta in zip(records, changes, strict=True)])
        base = [r.value + setting.w_bar @ delta for r, delta in zip(records, changes, strict=True)]
        self.f = np.array(base) + rows @ self.eta
        a, y = (np.array([getattr(r, name) for r in records]) for name in ("a", "y"))
        self.g = a * loss.pull(y, self.f)
        self._settle_kinks(a, y, rows)

    def _settle_kinks(self, a, y, rows):
        """On a kink stationarity decides."""
        loss, near = self.setting.risk.loss, np.abs(self.f - self.setting.risk.loss.kinks(y, self.f)) < 1e-7
        rest = self.setting.gradient + self.setting.curvature @ self.eta
        if near.any():
            self.f[near] = loss.kinks(y, self.f)[near]
            jumps = [
                next(p for p in loss.pieces(y[r]) if isinstance(p, Jump) and abs(p.f - self.f[r]) < 1e-7)
                for r in np.flatnonzero(near)
            ]
            low, high = (a[near] * [getattr(jump, name) for jump in jumps] for name in ("g_low", "g_high"))
            wanted = -(rest + self.g[~near] @ rows[~near])
            self.g[near] = np.clip(lsq_linear(rows[near].T, wanted, (low, high), method="bvls").x, low, high)
        assert np.abs(rest + self.g @ rows).max() < 1e-7

    def lies_in(self, region, slack=1e-12):
        """Whether a region that splits made holds this point."""
        setting, fixed = self.setting, len(self.setting.fixed)
        spans = [(region.low, self.eta, region.high)]
        spans += [(low, self.f[k], high) for k, (low, high) in region.values.items()]
        spans += [(low, self.g[k], high) for k, (low, high) in region.pulls.items()]
        spans += [(low, self.delta[i][j], high) for (i, j), (low, high) in region.changes.items()]
        inside = all((low - slack <= value).all() and (value <= high + slack).all() for low, value, high in spans)
        for k, (first, last) in region.pieces.items():
            seen = setting.record(k)
            pieces = setting.risk.loss.pieces(seen.y)[first : last + 1]
            parts = segments(pieces, float(self.f[k]), float(self.f[k]), seen.a)
            inside &= any(part.g_low - 1e-7 <= self.g[k] <= part.g_high + 1e-7 for part in parts)
        helped = all(self.outcome.helped[q] or not wanted for q, wanted in region.helped.items())
        assert fixed + len(self.delta) == len(self.f)
        return inside and helped and all(self.acts[i] is acts for i, acts in region.acting.items())

    def values(self, relaxation):
        """All variables of a relaxation at this point, by number."""
        problem, found = self.setting.problem, {0: 1.0}

        def put(quantity, value):
            ((monomial, size),) = quantity.terms.items()
            found[monomial[1]] = float(value) / size

        for eta, value in zip(relaxation.eta, self.eta, strict=True):
            put(eta, value)
        for k, bent in relaxation.bent.items():
            put(bent.g, self.g[k])
            if relaxation.light:
                put(bent.fg, self.f[k] * self.g[k])
        costs = relaxation.costs or [Polynomial()] * len(relaxation.movers)
        for (i, mover), cost in zip(relaxation.movers.items(), costs, strict=True):
            k, scaled = len(self.setting.fixed) + i, self.delta[i] / mover.one.scales
            put(mover.g, self.g[k])
            for j in mover.free:
                put(mover.delta[j], self.delta[i][j])
                put(mover.u[j], self.g[k] * self.delta[i][j])
            if set(mover.f.terms) != set((mover.g + 1.0).terms):
                put(mover.f, self.f[k])
            if mover.z is not None:
                put(mover.z, self.acts[i])
            for j, size in mover.sizes.items():
                put(size, abs(scaled[j]))
            for (_, number), size in cost.terms.items():
                if number not in found:
                    found[number] = problem.collective.cost.of(scaled) / size
        for q, reached in relaxation.reached.items():
            put(reached, relaxation.region.helped.get(q, self.outcome.helped[q]))
        if len(problem.queries) > 1 and problem.goal is GoalKind.MAX_MARGIN:
            put(relaxation.objective, self.outcome.objective)
        return np.array([found[number] for number in range(relaxation.program.count)])


def worst_violation(program, v):
    """By how much numbers leave the worst row's cone, rows being scaled to coefficients of at most 1."""
    A, b, _, cones = program._assembled
    moments = np.zeros(A.shape[1])
    for (i, j), column in program._column.items():
        if column >= 0:
            moments[column] = v[i] * v[j]
    slack, start = b - A @ moments, 0
    found = [float(np.abs(v).max()) - 1]
    found += [abs(v[i] * v[j] - v[k] * v[m]) for (i, j), (k, m) in program._same.items()]
    for kind, size in cones:
        part = slack[start : start + (size * (size + 1) // 2 if kind == "semidefinite" else size)]
        start += len(part)
        if kind == "semidefinite":
            matrix = np.zeros((size, size))
            below = np.tril_indices(size)
            matrix[below] = np.where(below[0] == below[1], part, part / math.sqrt(2))
            part = np.linalg.eigvalsh(matrix)
        found.append(float(np.abs(part).max() if kind == "zero" else -part.min()))
    return max(found)


def varied(seed, kind):
    """Problems that take turns in everything that has rows of its own; demands are met before anyone acts."""
    goals, costs, norms = list(GoalKind), list(CostKind), list(Norm)
    features = (
        Feature("a", FeatureType.CONTINUOUS, step=0.001 if seed % 3 == 0 else None, scale=2.0),
        Feature("b", direction=Direction.INCREASE if seed % 4 == 0 else Direction.ANY),
    )
    problem = moving(
        seed,
        kind,
        n=7,
        norm=norms[seed % 3],
        radius=0.7,
        charge=0.1 * (seed % 2),
        intercept=list(Intercept)[seed // 2 % 3],
        features=features,
        queries=1 + seed % 2,
        cost=costs[seed % 5],
        budget=Budget(total=None if seed % 3 else 1.5, members=None if seed % 4 else 2),
        constraints=(FeatureConstraint((("a", 1.0), ("b", -1.0)), Sense.LE, 4.0),) if seed % 3 == 1 else (),
    )
    margins = evaluate(problem, ()).margins
    queries = tuple(
        replace(q, threshold=q.threshold + q.target * (margin - 1.0), required=0.6)
        for q, margin in zip(problem.queries, margins, strict=True)
    )
    return replace(problem, queries=queries, goal=goals[seed % 4])


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_holds_at_true_points_in_all_regions_that_hold_them(kind):
    checked = 0
    start = list(KINDS).index(kind)
    for seed in range(start, start + 3):
        problem, draw = varied(seed, kind), np.random.default_rng(seed)
        (setting,) = settings_of(problem)
        moves = [(), *(random_moves(problem, draw) or () for _ in range(2))]
        points = [point for m in moves if (point := TruePoint(setting, m)).outcome.is_answer]
        region = Region(setting.low, setting.high)
        light = MomentRelaxation(setting, region, light=True)
        for point in points:
            assert worst_violation(light.program, point.values(light)) < 1e-7
        for _ in range(3):
            relaxation, held = MomentRelaxation(setting, region), [p for p in points if p.lies_in(region)]
            for point in held:
                assert worst_violation(relaxation.program, point.values(relaxation)) < 1e-7
                checked += 1
            parts = moment_search.parts_of(relaxation, relaxation.solve())
            assert all(any(point.lies_in(part, 1e-9) for part in parts) for point in held)
            region = max(parts, key=lambda part: sum(point.lies_in(part) for point in points))
    assert checked > 6


@pytest.mark.parametrize("seed", [35, 54, 55])
def test_a_region_that_ends_on_a_kink_but_for_rounding_holds_it(seed):
    problem = moving(seed, "svm", n=6, d=1, members=1, radius=1e-9, intercept=Intercept.NONE)
    (setting,), margin = settings_of(problem), evaluate(problem, ()).margins[0]
    for low, high in ((np.array([-1e-16]), setting.high), (setting.low, np.array([1e-16]))):
        assert MomentRelaxation(setting, Region(low, high, acting={0: False})).solve().bound >= margin - 1e-9


@pytest.mark.parametrize("kind", ["ridge", "svm", "huber"])
def test_the_parts_of_a_region_hold_all_of_it(kind):
    problem = moving(5, kind, n=12, members=2, radius=0.8)
    (setting,) = settings_of(problem)
    regions = [Region(setting.low, setting.high)]
    bounds = []
    for _ in range(12):
        relaxation = MomentRelaxation(setting, regions.pop(0))
        found = relaxation.solve()
        bounds.append(found.bound)
        regions += moment_search.parts_of(relaxation, found)
    leaves = []
    for region in regions:
        try:
            leaves.append(MomentRelaxation(setting, region).solve().bound)
        except EmptyRegion:
            continue
    draw = np.random.default_rng(0)
    best = max(evaluate(problem, random_moves(problem, draw)).margins[0] for _ in range(60))
    assert best <= max(leaves) + 1e-9
    assert max(leaves) <= bounds[0] + 1e-6


# -- answers ---


def grid_best(problem, steps=41):
    """The best margin over a grid of the change of the only member, in one or two dimensions."""
    (one,) = change_sets(problem, problem.collective.members[0])
    axes = [np.linspace(low, high, steps) for low, high in zip(one.lower, one.upper, strict=True)]
    best = -math.inf
    for delta in itertools.product(*axes):
        if one.violation(np.array(delta)) <= 1e-12:
            move = one.move(np.array(delta))
            best = max(best, evaluate(problem, [move] if move else []).margins[0])
    return best


@pytest.mark.parametrize("kind", ["ridge", "svm", "squared_hinge", "huber", "logistic"])
def test_one_member_against_a_grid(kind):
    problem = moving(3, kind, members=1, norm=Norm.LINF, radius=0.6)
    found = solve(problem, formulation="moments", time_limit=20)
    best = grid_best(problem, 17)
    assert found.status is Status.OPTIMAL
    assert best <= found.bound + 1e-9
    assert found.objective >= best - 1e-4


def test_ridge_with_one_member_and_a_ball_against_its_closed_form():
    problem = moving(1, n=12, d=3, members=1, radius=0.7)
    found = solve(problem, formulation="moments")
    i = problem.collective.members[0].record
    X, y = np.hstack([problem.records.X, np.ones((problem.n, 1))]), problem.records.y
    others = np.arange(problem.n) != i
    inverse = np.linalg.inv(X[others].T @ X[others] + np.eye(4))
    q, b = np.append(problem.queries[0].x, 1.0), X[others].T @ y[others]
    draw, best = np.random.default_rng(0), -math.inf
    for _ in range(20000):
        delta = draw.normal(size=3)
        x = X[i] + np.append(0.7 * delta / np.linalg.norm(delta) * draw.random() ** 0.2, 0.0)
        u, v, h = q @ inverse @ x, b @ inverse @ x, x @ inverse @ x
        best = max(best, problem.queries[0].target * (q @ inverse @ b + u * (y[i] - v) / (1 + h)))
    assert best <= found.bound
    assert found.objective == pytest.approx(best, abs=2e-3)
    assert found.objective >= best


@pytest.mark.parametrize("cost", list(CostKind))
def test_least_costs_are_proved(cost):
    seed = 0
    problem = requiring(moving(seed, cost=cost, radius=0.6), GoalKind.MIN_COST)
    found = solve(problem, formulation="moments", time_limit=20)
    assert found.status is Status.OPTIMAL
    draw = np.random.default_rng(seed)
    for _ in range(60):
        outcome = evaluate(problem, random_moves(problem, draw))
        assert not outcome.is_answer or outcome.objective >= found.bound - 1e-9


def test_fewest_members():
    problem = requiring(moving(2, members=4, n=14, radius=0.4), GoalKind.MIN_MEMBERS, share=0.6)
    found = solve(problem, formulation="moments", time_limit=30)
    assert found.status is Status.OPTIMAL
    for team in itertools.combinations(problem.collective.members, int(found.objective) - 1):
        smaller = replace(problem, collective=Collective(team), goal=GoalKind.MAX_MARGIN)
        assert solve(smaller, formulation="moments").bound < problem.queries[0].required


def test_a_margin_out_of_reach_is_proved_infeasible():
    problem = requiring(moving(4), GoalKind.MIN_COST, share=1.3)
    found = solve(problem, formulation="moments", time_limit=20)
    assert found.status is Status.INFEASIBLE


@pytest.mark.parametrize(
    "budget",
    [Budget(each=0.2), Budget(total=0.5), Budget(members=1), Budget(total=0.6, members=2)],
)
def test_budgets_are_obeyed_and_tighten_the_bound(budget):
    problem = moving(6, members=3, n=12)
    free, held = (solve(p, formulation="moments", time_limit=20) for p in (problem, _with(problem, budget)))
    assert held.status is Status.OPTIMAL
    assert held.bound <= free.bound + 1e-6
    draw, best = np.random.default_rng(0), -math.inf
    for _ in range(200):
        moves = random_moves(_with(problem, budget), draw)
        best = best if moves is None else max(best, evaluate(problem, moves).margins[0])
    assert best <= held.bound


def _with(problem, budget):
    return replace(problem, collective=replace(problem.collective, budget=budget))


def test_a_charge_counts():
    problem = requiring(moving(2, radius=0.6, charge=0.3), GoalKind.MIN_COST)
    found = solve(problem, formulation="moments", time_limit=20)
    assert found.status is Status.OPTIMAL
    assert found.objective >= 0.3 * len(found.moves)


def test_rules_of_features_are_obeyed():
    features = (
        Feature("a", FeatureType.INTEGER, -3, 3),
        Feature("b", direction=Direction.INCREASE, upper=2.5, scale=2.0),
        Feature("c", direction=Direction.FIXED),
        Feature("d"),
    )
    rule = FeatureConstraint((("b", 1.0), ("d", -1.0)), Sense.LE, 4.0)
    problem = moving(8, d=4, n=12, norm=Norm.L1, radius=1.2, features=tuple(Feature(x) for x in "abcd"))
    X = problem.records.X.copy()
    X[:, 0] = np.round(X[:, 0])
    problem = replace(
        problem, records=Records(X, problem.records.y, problem.records.s), features=features, constraints=(rule,)
    )
    found = solve(problem, formulation="moments", time_limit=20)
    assert found.status is Status.OPTIMAL
    draw = np.random.default_rng(0)
    best = -math.inf
    for _ in range(200):
        moves = []
        for member in problem.collective.members:
            (one,) = change_sets(problem, member)
            delta = draw.uniform(one.lower, one.upper) * draw.random()
            move = one.move(delta)
            if move is not None and move_violation(problem, move) is None:
                moves.append(move)
        best = max(best, evaluate(problem, moves).margins[0])
    assert best <= found.bound


@pytest.mark.parametrize("sense", [Sense.LE, Sense.EQ])
def test_a_record_on_a_constraint_but_for_its_last_digit_is_free_in_the_rest(sense):
    features = (*(Feature(name, direction=Direction.FIXED) for name in "ab"), Feature("c"))
    problem = moving(1, d=3, members=1)
    X = problem.records.X.copy()
    X[2, :2] = 0.1, 0.2  # their sum is above 0.3
    problem = replace(problem, records=Records(X, problem.records.y, problem.records.s), features=features)
    rule = FeatureConstraint((("a", 1.0), ("b", 1.0)), sense, 0.3)
    free, held = (claim_of(p) for p in (problem, replace(problem, constraints=(rule,))))
    assert not held.infeasible
    assert held.objective == pytest.approx(free.objective, abs=1e-6)
    assert held.bound >= free.objective


@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_all_records_may_be_members_under_a_free_intercept(kind):
    problem = moving(1, kind, n=5, members=3, intercept=Intercept.FREE)
    team = tuple(Member(i, (FeatureAction(Norm.L2, 0.1),)) for i in range(problem.n))
    problem = replace(problem, collective=Collective(team))
    assert moments().accepts(problem) is None
    found, draw = claim_of(problem, 2.0), np.random.default_rng(0)
    assert all(evaluate(problem, random_moves(problem, draw)).margins[0] <= found.bound for _ in range(40))


def test_several_queries_and_guards():
    problem = moving(7, members=3, n=14, queries=2)
    alone = solve(problem, formulation="moments", time_limit=20)
    guard = Query("guard", tuple(problem.records.X[0].tolist()), 1.0, required=evaluate(problem, ()).margins[0] - 5.0)
    held = solve(replace(problem, guards=(guard,)), formulation="moments", time_limit=20)
    assert alone.status is held.status is Status.OPTIMAL
    assert held.objective <= alone.bound + 1e-9


@pytest.mark.parametrize("seed", range(2))
def test_most_helped(seed):
    problem = moving(seed, members=2, n=12, queries=3)
    draw = np.random.default_rng(seed)
    outcomes = [evaluate(problem, random_moves(problem, draw)) for _ in range(150)]
    now = evaluate(problem, ()).margins
    # Each query asks for most of what random moves give it, so that they compete; thresholds keep that above 0.
    most = [max(outcome.margins[q] for outcome in outcomes) for q in range(3)]
    wanted = [n + 0.8 * (m - n) for n, m in zip(now, most, strict=True)]
    asked = tuple(
        replace(query, threshold=-query.target * max(0.0, 0.1 - w), required=max(w, 0.1))
        for query, w in zip(problem.queries, wanted, strict=True)
    )
    problem = replace(problem, queries=asked, goal=GoalKind.MAX_HELPED)
    found = solve(problem, formulation="moments", time_limit=20)
    assert found.status is Status.OPTIMAL
    helped = [evaluate(problem, outcome.moves).objective for outcome in outcomes]
    assert max(helped) <= found.objective
    assert found.objective < 3 or sum(found.verification.evaluation.helped) == 3


def test_agrees_with_the_bilinear_program():
    problem = moving(9, n=8, d=2, members=1)
    results = [solve(problem, formulation=name, time_limit=30) for name in ("moments", "kkt_bilinear")]
    assert results[0].objective == pytest.approx(results[1].objective, abs=2e-4)


# -- stopping and scope ---


def test_a_node_limit_and_an_interruption_keep_the_answer_and_a_bound():
    problem = moving(3, "svm", n=16, members=3, radius=0.9)
    start = evaluate(problem, ())
    (setting,) = settings_of(problem)
    limited = MomentSearch(problem, [setting], Request(node_limit=1, start=start.moves)).run()
    assert limited.stopped_by in (StoppedBy.NODE_LIMIT, StoppedBy.GAP)
    stopped = MomentSearch(problem, [setting], Request(interrupted=lambda: True, start=start.moves)).run()
    assert stopped.stopped_by is StoppedBy.INTERRUPT
    assert stopped.moves == ()
    assert stopped.bound is None
    assert limited.bound >= limited.objective - 1e-9


@pytest.mark.parametrize(
    "changed, word",
    [
        ({"update": gradient_update([0.0, 0.0], rate=0.1, loss="squared")}, "gradient"),
        ({"max_loss_increase": 1.0}, "max_loss_increase"),
        ({"learner": LearnerSpec("l1_svm", C=1.0)}, "l1_svm"),
        ({"collective": Collective(())}, "room"),
        ({"features": (Feature("a", direction=Direction.FIXED), Feature("b", direction=Direction.FIXED))}, "room"),
    ],
)
def test_what_is_not_stated_is_refused_with_the_reason(changed, word):
    assert word in moments().accepts(replace(moving(0), **changed))


def test_a_choice_among_several_actions_is_made_by_settings():
    problem = moving(3, n=12, members=2)
    first, second = problem.collective.members
    flip = LabelAction((-float(problem.records.y[first.record]),), 0.4)
    mixed = Collective(
        (
            replace(first, actions=(*first.actions, flip)),
            replace(second, actions=(*second.actions, FeatureAction(Norm.L1, 0.7))),
        )
    )
    problem = replace(problem, collective=mixed)
    settings = settings_of(problem)
    assert len(settings) == 4
    found = solve(problem, formulation="moments", time_limit=30)
    other = solve(problem, formulation="kkt_bilinear", time_limit=30)
    assert found.status is Status.OPTIMAL
    assert other.objective <= found.bound + 1e-7
    assert found.objective <= other.bound + 1e-6


def test_a_record_outside_the_rules_may_stay_or_must_move_far():
    problem = moving(0, members=1)
    i = problem.collective.members[0].record
    least = float(problem.records.X[i, 0]) + 0.3
    problem = replace(problem, features=(Feature("a", lower=least), Feature("b")))
    stay, move = settings_of(problem)
    assert (len(stay.movers), len(move.movers), move.forced) == (0, 1, (0,))
    found = solve(problem, formulation="moments", time_limit=20)
    assert found.status is Status.OPTIMAL
    assert not found.moves or found.moves[0].x[0] >= least - 1e-6
    assert found.bound >= evaluate(problem, ()).margins[0]


def test_another_solver_means_another_formulation():
    assert "Clarabel" in moments().unfit("scip")
    assert moments().unfit(None) is None


def test_bent_graphs_of_small_instances_go_to_the_bilinear_program():
    small, large = moving(0, "svm"), moving(0, "svm", n=45)
    ridge = moving(0)
    other = formulations()["kkt_bilinear"]
    assert moments().preference(small)[0] > other.preference(small)[0] > moments().preference(large)[0]
    assert moments().preference(ridge)[0] < other.preference(ridge)[0]


def test_too_many_combinations_are_refused_with_their_number():
    problem = moving(0, n=16, members=7)
    team = tuple(replace(m, actions=(*m.actions, WithholdAction())) for m in problem.collective.members)
    reason = moments().accepts(replace(problem, collective=Collective(team)))
    assert "128 combinations" in reason


def test_the_learner_is_the_one_that_is_re_trained():
    problem = moving(1, "svm")
    (setting,) = settings_of(problem)
    fitted = learner_of(problem).fit(problem, problem.records).parameters
    w, _ = setting.risk.split(setting.theta_bar)
    assert w == pytest.approx(np.array(fitted.w))
    assert setting.w_bar == pytest.approx(w)
