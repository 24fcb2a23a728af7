"""Learners that are linear programs, against all vertices in exact arithmetic; ties in every position."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
from scipy.optimize import linprog

from oar_opt.discovery import formulations, learner_of
from oar_opt.errors import InputError
from oar_opt.evaluate import enumerate_choices, evaluate, goal_value
from oar_opt.exact_simplex import exact, nearest, solve_exactly
from oar_opt.optima import Optima, closest_point
from oar_opt.pipeline import solve
from oar_opt.position import take_position
from oar_opt.problem import (
    Collective,
    GoalKind,
    Intercept,
    LearnerSpec,
    Position,
    Prior,
    Query,
    Records,
    RecourseProblem,
    moves_from_choice,
)
from oar_opt.result import Status
from oar_opt.verification import verify

KINDS = ("l1_svm", "lad")
INTERCEPTS = tuple(Intercept)
COST_GOALS = (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS)


def problem_of(kind, X, y, s=None, intercept="free", C=1.0, prior=None, queries=(), guards=(), **traits):
    X = np.atleast_2d(np.asarray(X, dtype=float))
    spec = LearnerSpec(kind, Intercept(intercept), C=C, prior=prior)
    return RecourseProblem(
        "linear program",
        Records(X, y, np.ones(len(X)) if s is None else s),
        spec,
        Collective(()),
        tuple(queries) or (Query("q", (1.0,) * X.shape[1], 1.0),),
        traits.pop("goal", GoalKind.MAX_MARGIN),
        classes=("no", "yes") if kind == "l1_svm" else None,
        guards=tuple(guards),
        **traits,
    )


def fit(problem):
    return learner_of(problem).fit(problem, problem.records)


# -- the oracle: all vertices, in rational arithmetic ---


class Exactly:
    """The learner's objective and all its optimal vertices, by trying every way to cross ``p`` of its kinks.

    The objective is convex, piecewise linear and grows in every direction, so its least value is reached where ``p``
    independent kinks of its terms cross, and the set of optima is the convex hull of all such points.
    """

    def __init__(self, problem):
        spec, records = problem.learner, problem.records
        self.free, self.kind = spec.intercept is Intercept.FREE, spec.kind
        self.has_b = spec.intercept is not Intercept.NONE
        to = lambda values: [Fraction(float(v)) for v in values]  # noqa: E731
        used = [i for i in range(problem.n) if records.s[i] > 0]
        self.X = [[*to(records.X[i]), Fraction(1)][: problem.d + self.has_b] for i in used]
        self.y = to(records.y[used])
        self.a = [Fraction(spec.C * float(records.s[i])) for i in used]
        prior = spec.prior or Prior((0.0,) * problem.d)
        self.theta0 = [*to(prior.w0), Fraction(prior.b0)][: problem.d + self.has_b]
        self.p = len(self.theta0)

    def objective(self, theta):
        penalised = zip(theta, self.theta0, [*range(self.p - self.free)], strict=False)
        total = sum((abs(t - o) for t, o, _ in penalised), Fraction(0))
        for x, y, a in zip(self.X, self.y, self.a, strict=True):
            f = sum(v * t for v, t in zip(x, theta, strict=True))
            total += a * (max(Fraction(0), 1 - y * f) if self.kind == "l1_svm" else abs(y - f))
        return total

    def vertices(self):
        """All optimal ones, and the least objective."""
        unit = [[Fraction(int(j == k)) for j in range(self.p)] for k in range(self.p - self.free)]
        planes = {(*x, y) for x, y in zip(self.X, self.y, strict=True)}
        planes |= {(*e, o) for e, o in zip(unit, self.theta0, strict=False)}
        best, found = None, set()
        for chosen in combinations(sorted(planes), self.p):
            theta = crossing([list(plane) for plane in chosen])
            if theta is None:
                continue
            value = self.objective(theta)
            if best is None or value < best:
                best, found = value, set()
            if value == best:
                found.add(theta)
        return found, best


def crossing(rows):
    """Gauss elimination of ``[A | b]``; None where ``A`` is singular."""
    p = len(rows)
    for j in range(p):
        pivot = next((i for i in range(j, p) if rows[i][j] != 0), None)
        if pivot is None:
            return None
        rows[j], rows[pivot] = rows[pivot], rows[j]
        rows[j] = [v / rows[j][j] for v in rows[j]]
        for i in range(p):
            if i != j and rows[i][j] != 0:
                rows[i] = [v - rows[i][j] * w for v, w in zip(rows[i], rows[j], strict=True)]
    return tuple(row[p] for row in rows)


def as_points(vertices, problem):
    """``(w, b)`` in floating point."""
    points = np.array([[float(v) for v in vertex] for vertex in sorted(vertices)])
    none = problem.learner.intercept is Intercept.NONE
    return np.hstack([points, np.zeros((len(points), 1))]) if none else points


def tiny(seed, kind, on_grid, **traits):
    """At most nine records of at most two features; on a grid of quarters many optima are not unique."""
    draw = np.random.default_rng([seed, on_grid])
    n, d = int(draw.integers(2, 8)), int(draw.integers(1, 3))
    X = np.round(2 * draw.normal(size=(n, d))) / 2 if on_grid else draw.normal(size=(n, d))
    if seed % 4 == 0:
        X = np.vstack([X, X[:2]])
    y = draw.choice([-1.0, 1.0], size=len(X))
    if kind == "lad":
        y = np.round(4 * draw.normal(size=len(X))) / 4 if on_grid else draw.normal(size=len(X))
    s = draw.choice([0.0, 0.5, 1.0, 1.0, 2.0], size=len(X))
    y[:2], s[:2] = (y[:2] if kind == "lad" else (1.0, -1.0)), 1.0
    intercept = INTERCEPTS[seed % 3]
    b0 = 0.5 if intercept is Intercept.PENALIZED else 0.0
    prior = Prior(tuple((np.round(2 * draw.normal(size=d)) / 2).tolist()), b0) if draw.random() < 0.3 else None
    C = float(draw.choice([0.25, 0.5, 1.0, 2.0])) if on_grid else float(10 ** draw.uniform(-1, 1))
    return problem_of(kind, X, y, s, intercept, C, prior, **traits)


@pytest.mark.parametrize("on_grid", [True, False])
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("kind", KINDS)
def test_training_finds_the_least_objective_and_all_optima(kind, seed, on_grid):
    problem = tiny(seed, kind, on_grid)
    exactly, found = Exactly(problem), fit(problem)
    vertices, least = exactly.vertices()
    theta = found.parameters.vector()[: exactly.p]
    assert float(exactly.objective([Fraction(v) for v in theta]) - least) <= 1e-12
    points, own = as_points(vertices, problem), found.parameters.vector()
    assert np.abs(points - own).sum(axis=1).min() <= 1e-12, "training ends at a vertex"
    assert min(np.linalg.norm(points - own, axis=1)) <= found.error + 1e-16
    if len(vertices) == 1:
        assert found.optima is None
    else:
        assert_same_set(found.optima, points)


def assert_same_set(optima, points):
    """The polytope and the convex hull of the points have the same range in many directions."""
    assert optima is not None
    draw = np.random.default_rng(0)
    for u in (*np.eye(points.shape[1]), *draw.normal(size=(12, points.shape[1]))):
        low, high = optima.range(u @ optima.directions)
        ends = float(u @ optima.point) + np.array([low, high])
        assert ends == pytest.approx([(points @ u).min(), (points @ u).max()], abs=1e-8)


def test_enough_of_the_cases_on_the_grid_tie():
    tied = sum(fit(tiny(seed, kind, True)).optima is not None for kind in KINDS for seed in range(30))
    assert tied >= 12


@pytest.mark.parametrize("seed", range(20))
def test_the_exact_simplex_ends_at_the_same_value_from_every_basis(seed):
    """Starts that are far from optimal, dependent or both; values agree exactly, and complementary slackness holds."""
    draw = np.random.default_rng(seed)
    n, p = 6, 3
    X = np.round(2 * draw.normal(size=(n, p)))
    c = [exact(v) for v in np.round(2 * draw.normal(size=n))]
    width = [1.0] * n + [1.0, 2.0, 0.0]
    low, high = [exact(-v) for v in width], [exact(v) for v in width]
    values = set()
    for basis in combinations(range(n + p), p):
        found = solve_exactly(X, c, low, high, basis)
        values.add(str(sum((a * b for a, b in zip(c, found.g, strict=True)), exact(0.0))))
        for k, value in enumerate((*found.g, *found.v)):
            assert low[k] <= value <= high[k]
        for j in range(p):
            assert sum((exact(X[i, j]) * found.g[i] for i in range(n)), exact(0.0)) == found.v[j]
        for i in range(n):
            reduced = c[i] - sum((exact(X[i, j]) * found.pi[j] for j in range(p)), exact(0.0))
            assert reduced == 0 or found.g[i] == (low if reduced > 0 else high)[i]
    assert len(values) == 1
    reference = linprog(
        [nearest(v) for v in c],
        A_ub=np.vstack([X.T[:2], -X.T[:2]]),
        b_ub=[1.0, 2.0, 1.0, 2.0],
        A_eq=X.T[2:],
        b_eq=[0.0],
        bounds=(-1, 1),
    )
    found = solve_exactly(X, c, low, high, range(p))
    assert float(sum(nearest(a * b) for a, b in zip(c, found.g, strict=True))) == pytest.approx(reference.fun, abs=1e-9)


# -- closed forms ---


def test_the_median_of_an_even_number_of_values_is_an_interval():
    """Features 0, so the weight stays 0 and the intercept is a median: of -1, 2, 5, 11 anything from 2 to 5."""
    problem = problem_of("lad", np.zeros((4, 1)), [2.0, -1.0, 11.0, 5.0], position=Position.OPTIMISTIC)
    assert fit(problem).intercepts == pytest.approx((2.0, 5.0), abs=1e-12)
    assert fit(problem).parameters.w == (0.0,)


def test_the_median_of_an_odd_number_of_values_is_one_of_them():
    found = fit(problem_of("lad", np.zeros((3, 1)), [2.0, -1.0, 11.0]))
    assert found.optima is None and found.parameters.b == 2.0 and found.error == 0.0


def test_a_weighted_median_goes_to_the_half_of_the_weight():
    found = fit(problem_of("lad", np.zeros((3, 1)), [2.0, -1.0, 11.0], np.array([1.0, 1.0, 3.0])))
    assert found.optima is None and found.parameters.b == 11.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("C", "w"), [(0.4, 0.0), (2.0, 0.5)])
def test_one_record_switches_its_weight_on_where_C_passes_a_half(kind, C, w):
    """A record (2, +1): 1 against 2 C for every unit of w up to 1/2."""
    found = fit(problem_of(kind, [[2.0]], [1.0], intercept="none", C=C))
    assert found.parameters.w == (w,) and found.optima is None and found.error == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_where_both_cost_the_same_all_between_is_optimal(kind):
    found = fit(problem_of(kind, [[2.0]], [1.0], intercept="none", C=0.5))
    assert found.optima is not None and found.optima.parameter_range(0) == pytest.approx((0.0, 0.5), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_were_meant_to_tie_do(kind):
    """Weights 0.1 three times against a penalty of 0.3 - as floating-point numbers they differ in the last digit."""
    X, y = [[1.0]] * 3, [1.0] * 3
    found = fit(problem_of(kind, X, y, np.full(3, 0.1), intercept="none", C=1 / 0.3))
    assert found.optima is not None and found.optima.parameter_range(0) == pytest.approx((0.0, 1.0), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_two_equal_features_share_their_weight_in_any_way(kind):
    """w1 + w2 = 1/2 at least cost: a face of dimension one on which no margin of equal features changes."""
    problem = problem_of(kind, [[2.0, 2.0]], [1.0], intercept="none", C=2.0, position=Position.PESSIMISTIC)
    found = fit(problem)
    assert found.optima is not None and found.optima.dimension == 1
    assert [found.optima.parameter_range(j) for j in (0, 1)] == [pytest.approx((0.0, 0.5), abs=1e-12)] * 2
    assert evaluate(problem, ()).objective == pytest.approx(0.5, abs=1e-9)
    skewed = replace(problem, queries=(Query("q", (1.0, 3.0), 1.0),))
    assert evaluate(skewed, ()).objective == pytest.approx(0.5, abs=1e-9)
    assert evaluate(replace(skewed, position=Position.OPTIMISTIC), ()).objective == pytest.approx(1.5, abs=1e-8)


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_duplicated_records_equal_doubled_weights_and_unused_ones_do_not_count(kind, intercept):
    draw = np.random.default_rng(5)
    X, s = draw.normal(size=(8, 2)), draw.choice([0.5, 1.0, 2.0], size=8)
    y = draw.normal(size=8) if kind == "lad" else np.array([1.0, -1.0] * 4)
    once = fit(problem_of(kind, X, y, 2 * s, intercept))
    twice = fit(problem_of(kind, np.vstack([X, X]), np.append(y, y), np.append(s, s), intercept))
    unused = fit(problem_of(kind, np.vstack([X, 9 + X]), np.append(y, y), np.append(2 * s, 0 * s), intercept))
    assert once.parameters.vector() == pytest.approx(twice.parameters.vector(), abs=1e-12)
    assert once.parameters == unused.parameters


@pytest.mark.parametrize("kind", KINDS)
def test_without_any_weight_the_prior_stays(kind):
    problem = problem_of(kind, [[1.0, 2.0]], [1.0], np.zeros(1), "penalized", prior=Prior((0.7, -0.3), 0.25))
    found = fit(problem)
    assert found.parameters.vector() == pytest.approx([0.7, -0.3, 0.25], abs=0) and found.optima is None


def test_what_is_undefined():
    one_class = problem_of("l1_svm", [[1.0], [2.0]], [1.0, -1.0], np.array([1.0, 0.0]))
    assert "class 'no'" in learner_of(one_class).undefined(one_class, one_class.records)
    empty = problem_of("lad", [[1.0], [2.0]], [1.0, 3.0], np.zeros(2))
    assert "no record has positive weight" in learner_of(empty).undefined(empty, empty.records)
    for intercept in ("none", "penalized"):
        problem = problem_of("l1_svm", [[1.0], [2.0]], [1.0, -1.0], np.array([1.0, 0.0]), intercept)
        assert learner_of(problem).undefined(problem, problem.records) is None


@pytest.mark.parametrize("kind", KINDS)
def test_badly_scaled_records_are_solved_exactly(kind):
    """Features of size 1e-3 and 1e3, far from 0: the stated error is that of rounding, and the oracle agrees."""
    draw = np.random.default_rng(2)
    X = draw.normal(size=(7, 2)) * np.array([1e-3, 1e3]) + np.array([5.0, 1e5])
    y = draw.normal(size=7) if kind == "lad" else np.array([1.0, -1, 1, -1, 1, -1, 1])
    problem = problem_of(kind, X, y, C=50.0)
    found = fit(problem)
    vertices, _ = Exactly(problem).vertices()
    points = as_points(vertices, problem)
    assert np.linalg.norm(points - found.parameters.vector(), axis=1).min() <= found.error * (1 + 1e-6) + 1e-15
    assert found.error <= 1e-15 * (1 + np.abs(found.parameters.vector()).max())


# -- ties, by brute force over the vertices of the set ---


def margins(subjects, points):
    """``(points, subjects)``."""
    return np.array([[s.target * (np.dot(p[:-1], s.x) + p[-1] - s.threshold) for s in subjects] for p in points])


def reachable(M, offsets, side=1):
    """The largest ``min_i side (m_i - offset_i)`` over the convex hull of the rows of ``M``."""
    count, subjects = M.shape
    if not subjects:
        return np.inf
    A = np.hstack([-side * M.T, np.ones((subjects, 1))])
    found = linprog(
        np.append(np.zeros(count), -1.0),
        A_ub=A,
        b_ub=-side * np.array(offsets),
        A_eq=[[*np.ones(count), 0.0]],
        b_eq=[1.0],
        bounds=[*[(0, None)] * count, (None, None)],
    )
    return -found.fun


def expected(problem, points):
    """Whether there is an answer and its goal, for the position that the problem states; by enumeration of subsets."""
    queries, guards = problem.queries, problem.guards
    needed_q, needed_g = ([problem.needed_margin(s) for s in group] for group in (queries, guards))
    M, G = margins(queries, points), margins(guards, points).reshape(len(points), len(guards))
    everyone, needed = np.hstack([M, G]), [*needed_q, *needed_g]
    cost = problem.goal in COST_GOALS
    subsets = [list(c) for k in range(len(queries), -1, -1) for c in combinations(range(len(queries)), k)]
    if problem.position is Position.PESSIMISTIC:
        demanded, levels = (everyone, needed) if cost else (G, needed_g)
        if (demanded < np.array(levels) - 1e-9).any():
            return False, None
        if cost:
            return True, 0.0
        if problem.goal is GoalKind.MAX_MARGIN:
            return True, float(M.min())
        failed = next(S for S in subsets if not S or reachable(M[:, S], np.array(needed_q)[S], -1) > 2e-9)
        return True, float(len(queries) - len(failed))
    if cost:
        met = reachable(everyone, needed) >= 0
        return met, 0.0 if met else None
    if guards and reachable(G, needed_g) < 0:
        return False, None
    if problem.goal is GoalKind.MAX_MARGIN:
        return True, guarded_margin(M, G, needed_g)
    best = next(S for S in subsets if reachable(np.hstack([M[:, S], G]), [*np.array(needed_q)[S], *needed_g]) >= 0)
    return True, float(len(best))


def guarded_margin(M, G, needed):
    """The largest smallest query margin on the hull while every guard keeps its own."""
    count = len(M)
    A = np.vstack([np.hstack([-M.T, np.ones((M.shape[1], 1))]), np.hstack([-G.T, np.zeros((G.shape[1], 1))])])
    found = linprog(
        np.append(np.zeros(count), -1.0),
        A_ub=A,
        b_ub=np.append(np.zeros(M.shape[1]), -np.array(needed)),
        A_eq=[[*np.ones(count), 0.0]],
        b_eq=[1.0],
        bounds=[*[(0, None)] * count, (None, None)],
    )
    return -found.fun


@cache
def tied_problems(kind):
    """Problems on the grid whose optimum is not unique, with several queries and guards, and their vertices."""
    found = []
    for seed, variant in product(range(40), range(4)):
        problem, points = tied_points(seed, kind)
        if points is None:
            continue
        draw = np.random.default_rng([seed, variant])

        def subject(name, required, draw=draw, d=problem.d):
            x = tuple((np.round(2 * draw.normal(size=d)) / 2).tolist())
            return Query(name, x, float(draw.choice([-1.0, 1.0])), 0.0 if kind == "l1_svm" else 0.3, required)

        queries = tuple(subject(f"q{q}", 0.05 + 0.2 * q) for q in range(int(draw.integers(1, 2 + variant))))
        guards = tuple(subject(f"g{g}", float(draw.choice([-1.0, -0.2, 0.1]))) for g in range(int(draw.integers(0, 3))))
        found.append((replace(problem, queries=queries, guards=guards), points))
    return found


@cache
def tied_points(seed, kind):
    """A problem and the vertices of its optima; None in their place where there is one optimum only."""
    problem = tiny(seed, kind, True)
    return problem, None if fit(problem).optima is None else as_points(Exactly(problem).vertices()[0], problem)


@pytest.mark.parametrize("position", [Position.OPTIMISTIC, Position.PESSIMISTIC])
@pytest.mark.parametrize("goal", list(GoalKind))
@pytest.mark.parametrize("kind", KINDS)
def test_the_position_is_taken_as_brute_force_takes_it(kind, goal, position):
    outcomes = []
    for base, points in tied_problems(kind):
        problem = replace(base, goal=goal, position=position)
        outcome = evaluate(problem, ())
        is_answer, value = expected(problem, points)
        assert outcome.is_answer == is_answer
        if is_answer:
            assert outcome.objective == pytest.approx(value, abs=1e-7)
            assert outcome.objective == goal_value(problem, (), outcome.margins)
        assert is_an_optimum(problem, outcome.parameters.vector(), points)
        outcomes.append(is_answer)
    assert len(outcomes) >= 20 and any(outcomes) and not all(outcomes)


def is_an_optimum(problem, parameters, points):
    """Whether a point is in the convex hull of the vertices."""
    count = len(points)
    found = linprog(
        np.zeros(count),
        A_eq=np.vstack([points.T, np.ones(count)]),
        b_eq=[*parameters, 1.0],
        bounds=(0, None),
    )
    return found.status == 0


@pytest.mark.parametrize("seed", range(60))
def test_positions_on_random_polytopes_beat_every_sampled_point(seed):
    """Sets of up to three dimensions that no learner made: corners and points inside never do better (or worse)."""
    draw = np.random.default_rng(seed)
    d = int(draw.integers(1, 4))
    k = min(3, int(draw.integers(1, d + 2)))
    rows = np.vstack([draw.normal(size=(5, k)), np.eye(k), -np.eye(k)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    limits = np.append(draw.uniform(0, 1, size=5), draw.uniform(0.5, 2, size=2 * k))
    directions = np.linalg.qr(draw.normal(size=(d + 1, k)))[0]
    optima = Optima(draw.normal(size=d + 1), directions, rows, limits)

    def subject(name, required):
        return Query(name, tuple(draw.normal(size=d).tolist()), float(draw.choice([-1.0, 1.0])), 0.0, required)

    problem = problem_of(
        "l1_svm",
        np.vstack([np.zeros(d), np.ones(d)]),
        [1.0, -1.0],
        queries=[subject(f"q{q}", float(draw.uniform(0.01, 0.5))) for q in range(int(draw.integers(1, 6)))],
        guards=[subject(f"g{g}", float(draw.uniform(-1.5, 0.3))) for g in range(int(draw.integers(0, 3)))],
        goal=list(GoalKind)[seed % 4],
        position=(Position.OPTIMISTIC, Position.PESSIMISTIC)[(seed // 4) % 2],
    )
    side = 1 if problem.position is Position.OPTIMISTIC else -1
    taken = worth(problem, take_position(problem, optima).vector())
    crossings = [list(c) for c in combinations(range(len(rows)), k) if abs(np.linalg.det(rows[list(c)])) > 1e-6]
    corners = [np.linalg.solve(rows[c], limits[c]) for c in crossings]
    corners = [t for t in corners if (rows @ t <= limits + 1e-9).all()]
    inside = [draw.dirichlet(np.ones(len(corners))) @ np.array(corners) for _ in range(300)]
    for t in (*corners, *inside):
        met, value = worth(problem, optima.at(t))
        if met == taken[0]:
            assert side * (taken[1] - value) >= -1e-6
        else:
            assert taken[0] == (side == 1)


def worth(problem, parameters):
    """Whether all demands are met, and then the goal, else by how much the worst demand is missed."""
    subjects = (*problem.queries, *problem.guards)
    own = margins(subjects, [parameters])[0]
    needed = np.array([problem.needed_margin(s) for s in subjects])
    first = 0 if problem.goal in COST_GOALS else len(problem.queries)
    if any(m < n for m, n in zip(own[first:], needed[first:], strict=True)):
        return False, float((own - needed)[first:].min())
    sign = 1 if problem.goal.maximises else -1
    return True, sign * goal_value(problem, (), own[: len(problem.queries)].tolist())


@pytest.mark.parametrize("seed", range(20))
def test_the_closest_point_satisfies_the_conditions_of_optimality(seed):
    """``t - to = -rows'u`` with ``u >= 0`` on rows that hold with equality."""
    draw = np.random.default_rng(seed)
    k = int(draw.integers(1, 4))
    rows = draw.normal(size=(8, k))
    limits = rows @ draw.normal(size=k) + draw.uniform(0, 0.5, size=8)
    to = 3 * draw.normal(size=k)
    point = closest_point(to, rows, limits)
    assert point is not None and (rows @ point <= limits + 1e-9).all()
    tight = np.abs(rows @ point - limits) <= 1e-8
    from scipy.optimize import nnls

    _, rest = nnls(rows[tight].T, to - point) if tight.any() else (None, float(np.linalg.norm(to - point)))
    assert rest <= 1e-8


def test_no_point_is_closest_where_there_is_none():
    assert closest_point(np.zeros(1), np.array([[1.0], [-1.0]]), np.array([-1.0, -1.0])) is None


def test_a_tie_is_forbidden_under_unique_and_with_a_limit_on_the_loss():
    problem = problem_of("lad", [[2.0]], [1.0], intercept="none", C=0.5, position=Position.UNIQUE)
    outcome = evaluate(problem, ())
    assert not outcome.is_answer and not outcome.broken
    assert "not unique" in outcome.tie and "any weight of 'x0' from 0 to 0.5" in outcome.tie
    limited = replace(problem, position=Position.OPTIMISTIC, max_loss_increase=1.0)
    assert "max_loss_increase" in evaluate(limited, ()).tie
    with pytest.raises(InputError, match="not unique"):
        solve(problem, formulation="enumeration")


def test_a_loss_limit_is_refused_where_only_the_present_optimum_is_not_unique(make):
    """The loss before anyone acts is then not one number: the weight costs what the loss saves."""
    from oar_opt.contracts import line_example

    example = line_example(LearnerSpec("lad", C=0.5))
    problem = replace(example, position=Position.OPTIMISTIC, max_loss_increase=5.0)
    assert fit(problem).optima is not None
    member = problem.collective.members[0]
    for option in problem.admissible_options(member)[1:]:
        assert "before anyone acts" in evaluate(problem, moves_from_choice(problem, (option,))).tie


# -- menus ---


def menu_problem(make, seed, kind, intercept, goal, position):
    """Records, options and queries on a grid, so that some choices tie."""
    problem = make(
        seed, kind, str(intercept), str(goal), n=7, withhold=True, queries=2, guards=1, regression=kind == "lad"
    )

    def rounded(values):
        return tuple((np.round(2 * np.array(values)) / 2).tolist())

    members = tuple(
        replace(
            member,
            menu=tuple(
                replace(o, x=rounded(o.x), y=o.y if kind == "l1_svm" else round(2 * o.y) / 2) for o in member.menu
            ),
        )
        for member in problem.collective.members
    )
    records = problem.records
    y = records.y if kind == "l1_svm" else np.round(2 * records.y) / 2
    return replace(
        problem,
        records=Records(np.round(2 * records.X) / 2, y, records.s),
        collective=replace(problem.collective, members=members),
        position=position,
    )


@pytest.mark.parametrize("position", list(Position))
@pytest.mark.parametrize("goal", list(GoalKind))
@pytest.mark.parametrize("kind", KINDS)
def test_small_menus_are_solved_and_verified_in_every_position(make, kind, goal, position):
    """A tie may leave nothing to solve under ``UNIQUE``: all intercepts; else two each, all with every goal."""
    solved, turn = 0, list(GoalKind).index(goal) + list(Position).index(position)
    for seed, intercept in enumerate(INTERCEPTS):
        if position is not Position.UNIQUE and seed == turn % 3:
            continue
        problem = menu_problem(make, seed, kind, intercept, goal, position)
        found = enumerate_choices(problem)
        if found.tied:
            assert position is Position.UNIQUE
            with pytest.raises(InputError, match="not unique"):
                solve(problem, formulation="enumeration", time_limit=5)
            continue
        result = solve(problem, formulation="enumeration", time_limit=5)
        solved += 1
        if found.best is None:
            assert result.status is Status.INFEASIBLE
            continue
        assert result.status is Status.OPTIMAL
        assert result.objective == pytest.approx(found.best.objective, abs=1e-9)
        assert verify(problem, result.solution).passed
    assert solved


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_enumerated_is_what_the_vertices_say(make, kind):
    """Every choice of a menu, its optimal vertices by brute force and the position taken on them."""
    seen = 0
    for seed, position in product(range(3), (Position.OPTIMISTIC, Position.PESSIMISTIC)):
        problem = menu_problem(make, seed, kind, INTERCEPTS[seed], GoalKind.MAX_MARGIN, position)
        best = None
        from oar_opt.evaluate import choices

        for choice in choices(problem):
            records = problem.apply(moves_from_choice(problem, choice))
            if learner_of(problem).undefined(problem, records):
                continue
            changed = replace(problem, records=records, collective=Collective(()))
            is_answer, value = expected(changed, as_points(Exactly(changed).vertices()[0], changed))
            if is_answer and (best is None or value > best):
                best = value
        found = enumerate_choices(problem)
        assert (found.best is None) == (best is None)
        if best is not None:
            assert found.best.objective == pytest.approx(best, abs=1e-7)
            seen += 1
    assert seen >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_programs_of_the_squared_norm_refuse_the_l1_norm(make, kind):
    problem = make(0, kind, "free", regression=kind == "lad")
    for name in ("kkt_big_m", "kkt_sos1"):
        assert "l1 norm" in formulations()[name].accepts(problem)
