"""Re-training on features far from 0, held against optima in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from flint import arb, arb_mat, ctx

from oar_opt.discovery import learner_of
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Position,
    Prior,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.result import Status
from oar_opt.risk import Jump

POLYLINES = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive")
REGRESSIONS = ("huber", "epsilon_insensitive")
OFFSETS = (1e3, 1e5)


def far(kind, intercept, offset, *, seed=0, members=0, prior=None):
    """Twenty records of two features around ``offset``; members with two options each, of whom two may act."""
    draw = np.random.default_rng([seed, 7])
    X = draw.normal(size=(20, 2))
    y = np.where(X @ [1.0, -0.7] + 0.5 * draw.normal(size=20) > 0, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    s = draw.choice([0.5, 1.0, 2.0], size=20)

    def place(near=(0.0, 0.0)):
        return tuple((np.array(near) + offset + draw.normal(size=2)).tolist())

    def option(i):
        return Option(OptionKind.MENU, place(X[i]), float(draw.choice([-1.0, 1.0])), 1.0, 1.0)

    team = tuple(Member(i, (), (option(i), option(i))) for i in range(3, 3 + members))
    spec = LearnerSpec(
        kind,
        Intercept(intercept),
        alpha=0.7 if kind == "ridge" else None,
        C=None if kind == "ridge" else 0.7,
        delta=0.5 if kind == "huber" else None,
        epsilon=0.3 if kind == "epsilon_insensitive" else None,
        prior=prior,
    )
    return RecourseProblem(
        "far from 0",
        Records(X + offset, y, s),
        spec,
        Collective(team, budget=Budget(members=2)),
        (Query("q", place(), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=None if kind in REGRESSIONS else ("no", "yes"),
        position=Position.OPTIMISTIC,
    )


# -- optima in exact arithmetic ---


def rows_of(problem):
    ones = [] if problem.learner.intercept is Intercept.NONE else [Fraction(1)]
    return [[Fraction(value) for value in x] + ones for x in problem.records.X.tolist()]


def fitted(problem):
    found = learner_of(problem).fit(problem, problem.records)
    theta = [Fraction(value) for value in (*found.parameters.w, found.parameters.b)]
    return found, theta[:-1] if problem.learner.intercept is Intercept.NONE else theta


def gauss(A, b):
    """The solution of a regular system of fractions."""
    A = [[*row, value] for row, value in zip(A, b, strict=True)]
    for k in range(len(A)):
        pivot = next(i for i in range(k, len(A)) if A[i][k])
        A[k], A[pivot] = A[pivot], A[k]
        A[k] = [value / A[k][k] for value in A[k]]
        for i in range(len(A)):
            if i != k and A[i][k]:
                factor = A[i][k]
                A[i] = [a - factor * c for a, c in zip(A[i], A[k], strict=True)]
    return [row[-1] for row in A]


def piece_at(pieces, f):
    """The jump that is as good as at ``f``, else the line around it."""
    jumps = [piece for piece in pieces if isinstance(piece, Jump) and abs(float(f) - piece.f) < 1e-6]
    return jumps[0] if jumps else next(p for p in pieces if not isinstance(p, Jump) and p.f_low <= f <= p.f_high)


def exact_optimum(problem, near):
    """The optimum of a polyline loss: the optimality conditions for the pieces at ``near``, solved and all checked."""
    risk, rows = learner_of(problem).risk(problem.learner, problem.d), rows_of(problem)
    p, lam = risk.p, [Fraction(risk.lam) * Fraction(float(rho)) for rho in risk.penalty]
    a = [Fraction(risk.factor) * Fraction(float(s)) for s in problem.records.s]
    held = [
        piece_at(risk.loss.pieces(float(y)), sum(v * t for v, t in zip(x, near, strict=True)))
        for x, y in zip(rows, problem.records.y, strict=True)
    ]
    kinks = [i for i, piece in enumerate(held) if isinstance(piece, Jump)]
    size = p + len(kinks)
    A, b = [[Fraction(0)] * size for _ in range(size)], [Fraction(0)] * size
    for j in range(p):
        A[j][j], b[j] = lam[j], lam[j] * Fraction(risk.theta0[j])
    for i, piece in enumerate(held):
        if isinstance(piece, Jump):
            e = p + kinks.index(i)
            b[e] = Fraction(piece.f)
            for j in range(p):
                A[j][e] = A[e][j] = rows[i][j]
            continue
        for j in range(p):
            b[j] -= a[i] * Fraction(piece.offset) * rows[i][j]
            for k in range(p):
                A[j][k] += a[i] * Fraction(piece.slope) * rows[i][j] * rows[i][k]
    solution = gauss(A, b)
    theta, pulls = solution[:p], dict(zip(kinks, solution[p:], strict=True))
    for i, piece in enumerate(held):
        f = sum(v * t for v, t in zip(rows[i], theta, strict=True))
        if isinstance(piece, Jump):
            assert a[i] * Fraction(piece.g_low) <= pulls[i] <= a[i] * Fraction(piece.g_high)
        else:
            assert piece.f_low <= f <= piece.f_high
    return theta


def exact_logistic(problem, near):
    """The optimum to many digits by Newton's method in ball arithmetic."""
    risk = learner_of(problem).risk(problem.learner, problem.d)
    before, ctx.prec = ctx.prec, 400
    try:
        rows = [[arb(float(v)) for v in row] for row in rows_of(problem)]
        lam = [arb(risk.lam * float(rho)) for rho in risk.penalty]
        theta, places = [arb(float(value)) for value in near], range(risk.p)
        for _ in range(20):
            v = [lam[j] * (theta[j] - risk.theta0[j]) for j in places]
            H = [[lam[j] if j == k else arb(0) for k in places] for j in places]
            for x, y, s in zip(rows, problem.records.y, problem.records.s, strict=True):
                f, a = sum((x[j] * theta[j] for j in places), arb(0)), arb(risk.factor) * arb(float(s))
                u = 1 / (1 + (float(y) * f).exp())
                for j in places:
                    v[j] -= float(y) * a * u * x[j]
                    for k in places:
                        H[j][k] += a * u * (1 - u) * x[j] * x[k]
            step = arb_mat(H).solve(arb_mat([[value] for value in v]))
            theta = [(theta[j] - step[j, 0]).mid() for j in places]
        assert max(abs(float(step[j, 0])) for j in places) < 1e-60
        exact = [value.man_exp() for value in theta]
        return [Fraction(int(man)) * Fraction(2) ** int(exp) for man, exp in exact]
    finally:
        ctx.prec = before


def assert_accurate(problem, optimum_of):
    found, theta = fitted(problem)
    optimum, (query,) = optimum_of(problem, theta), problem.queries
    difference = [value - best for value, best in zip(theta, optimum, strict=True)]
    assert float(sum(d**2 for d in difference)) ** 0.5 <= found.error
    x = [Fraction(v) for v in query.x] + [Fraction(1)] * (len(theta) - problem.d)
    off = abs(float(sum(v * d for v, d in zip(x, difference, strict=True))))
    assert off <= found.decision_error(query.x)
    assert evaluate(problem, ()).inaccuracy <= problem.tolerances.feasibility


@pytest.mark.parametrize("intercept", tuple(Intercept))
@pytest.mark.parametrize("kind", POLYLINES)
@pytest.mark.parametrize("offset", OFFSETS)
def test_the_optimum_of_a_polyline_loss_is_met_within_the_stated_accuracy(kind, intercept, offset):
    assert_accurate(far(kind, intercept, offset), exact_optimum)


@pytest.mark.parametrize("intercept", tuple(Intercept))
@pytest.mark.parametrize("offset", OFFSETS)
def test_the_optimum_of_the_logistic_loss_is_met_within_the_stated_accuracy(intercept, offset):
    assert_accurate(far("logistic", intercept, offset), exact_logistic)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", POLYLINES)
def test_the_stated_accuracy_holds_near_0_too(kind, seed):
    intercept = tuple(Intercept)[seed % 3]
    prior = Prior((0.7, -0.3), 0.5 if intercept is Intercept.PENALIZED else 0.0) if seed % 2 else None
    assert_accurate(far(kind, intercept, float(seed % 3), seed=seed, prior=prior), exact_optimum)


# -- what comes of it ---


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("kind", ["ridge", "logistic", "svm", "huber"])
def test_six_members_far_from_0_are_solved(kind, offset):
    problem = far(kind, "free", offset, members=6)
    found, result = enumerate_choices(problem), solve(problem, formulation="copies")
    assert found.complete and result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(found.best.objective, abs=1e-6)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_the_answer_does_not_depend_on_where_0_is(kind):
    """Under a free intercept; offsets are rounded in the features themselves."""
    near, *others = (enumerate_choices(far(kind, "free", offset, members=3)).best for offset in (0.0, *OFFSETS))
    for other in others:
        assert [move.record for move in other.moves] == [move.record for move in near.moves]
        assert other.objective == pytest.approx(near.objective, abs=1e-9)
