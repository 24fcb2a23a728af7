"""What an adversary tried on certificates of trees: multipliers, numbers of any size and trees that hold less than
they say; and the Lagrangian's bound where it is known by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from flint import fmpq, fmpq_mat

from oar_opt.contracts import line_example
from oar_opt.problem import (
    Budget,
    Collective,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Query,
    Records,
)
from oar_opt.proof.certificate_file import parse_certificate
from oar_opt.proof.checker import check
from oar_opt.proof.exact_choices import exact_choices, with_slack
from oar_opt.proof.exact_optimum import exact_optimum
from oar_opt.proof.exact_outcome import Outcome, exact_outcome, forgiven_margin
from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.lagrangian import GRID, Multipliers, logistic_pull, logistic_tangent, slack_above
from oar_opt.proof.leaf_bounds import is_refuted
from oar_opt.proof.learner_rows import LINEAR, LearnerRows
from oar_opt.proof.parts import only_choice, whole
from oar_opt.proof.polylines import absolute, graph, pulls_at
from oar_opt.proof.proposals import propose, propose_logistic
from oar_opt.proof.rationals import approximate, dot, exact, read_decimal
from oar_opt.proof.scalar_maximum import logistic_maximum, quadratic_maximum
from tests.test_proof import stated

REGRESSION = ("huber", "epsilon_insensitive", "lad")
KINDS = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "logistic", "l1_svm", "lad")
INTERCEPTS = ("none", "penalized", "free")


# -- the exact saddle point of one choice ---


@dataclass(frozen=True)
class Saddle:
    """An optimum and the pull of a record of unit weight by its ``(xhat, y)``; ``psi (p,)`` is what they add up to."""

    theta: list
    pulls: Mapping
    psi: list


def saddle(problem):
    """That of the problem's own records, exact except for logistic regression."""
    risk, spec = ExactRisk.of(problem, problem.records), problem.learner
    if spec.kind == "logistic":
        theta = propose_logistic(risk)
        units = [
            exact(-approximate(y) / (1 + np.exp(approximate(y * f))))
            for y, f in zip(risk.y, risk.values(theta), strict=True)
        ]
    else:
        theta, units = exact_saddle(risk, spec)
    pulls = {(tuple(x), y): g for x, y, g in zip(risk.xhat, risk.y, units, strict=True)}
    psi = [
        -sum((a * g * x[j] for a, g, x in zip(risk.a, units, risk.xhat, strict=True)), fmpq(0)) for j in range(risk.p)
    ]
    return Saddle(theta, pulls, psi)


def exact_saddle(risk, spec):
    graphs, m = [graph(spec, y) for y in risk.y], len(risk.y)
    if spec.kind in LINEAR:
        penalised = [j for j in range(risk.p) if risk.penalty[j] != 0]
        rows = [[fmpq(int(j == k)) for k in range(risk.p)] for j in penalised]
        ones = [fmpq(1)] * len(rows)
        more = {"xhat": risk.xhat + rows, "y": risk.y + [0 * one for one in ones], "a": risk.a + ones}
        risk = replace(risk, **more, lam=fmpq(0), intercept=Intercept.NONE)
        graphs += [absolute(fmpq(0)) for _ in rows]
    found = exact_optimum(risk, graphs, propose(risk, graphs))
    assert found is not None
    units = [
        found.pulls[i] / a if i in found.pulls else pulls_at(pieces, f)[0]
        for i, (a, pieces, f) in enumerate(zip(risk.a, graphs, found.values, strict=True))
    ]
    return found.theta, units[:m]


def is_stationary(rows, found):
    """Whether the pulls are those of the optimum: a record at a kink may have others than those of the line there."""
    theta = [found.theta[j] - rows.theta0[j] for j in rows.penalised]
    pairs = [*zip(theta, found.psi, strict=False)]
    if rows.is_linear:
        return all(abs(psi) <= 1 and psi * value == abs(value) for value, psi in pairs)
    return all(abs(psi - rows.lam * value) < fmpq(1, 10**6) for value, psi in pairs)


def balanced_row(rows):
    return next(i for i in rows.fixed if rows.rows[i].a != 0)


def saddle_multipliers(rows, part, found, mu, shares):
    """``beta = mu theta``, ``alpha = mu g`` and ``omega`` the slope of ``mu_m Q + mu g f`` at the optimum, if every
    member stays."""
    every = mu + sum(shares.values(), fmpq(0))
    free = [j in rows.penalised for j in range(rows.p)]
    quadratic = [2 * rows.lam * value * inside for value, inside in zip(found.theta, free, strict=True)]
    slope = found.psi if rows.is_linear else quadratic

    def unit(i):
        row = rows.rows[i]
        return found.pulls[tuple(row.xhat), row.y] if row.a != 0 else fmpq(0)

    def omega(r, share):
        i = rows.options[r][0]
        row = rows.rows[i]
        return [share * s + every * row.a * unit(i) * x for s, x in zip(slope, row.xhat, strict=True)]

    settled, opened = rows.of(part)
    return Multipliers(
        mu=mu,
        beta=[every * value for value in found.theta],
        theta=found.theta,
        pulls={i: unit(i) for i in settled},
        balance=balanced_row(rows),
        omegas={r: (share, omega(r, share)) for r, share in shares.items() if r in opened},
        queries=[fmpq(int(need is not None)) for need in part.needs],
        guards=[fmpq(1) for _ in part.guards],
        cost=fmpq(1, 3),
        acting=fmpq(1, 5),
    )


def of_two_sides(problem):
    """A query that wants + and a guard that wants -, so that a free intercept counts for both together nothing."""
    x, z = (0.5, -1.25), (1.5, 0.25)
    subjects = Query("q", x, 1.0, 0.25 * (problem.classes is None), 0.125), Query("g", z, -1.0, required=-0.5)
    return replace(problem, queries=subjects[:1], guards=subjects[1:])


def with_the_same_again(problem, cost=1.5):
    """Every member may do, for a cost, what leaves its record as it is."""
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    members = tuple(
        Member(m.record, (), (Option(OptionKind.MENU, tuple(X[m.record]), y[m.record], s[m.record], cost),))
        for m in problem.collective.members
    )
    return replace(problem, collective=Collective(members, budget=Budget(total=2.0, members=2)))


def weighted_slack(problem, part, theta):
    """``pi`` times the slacks of all margins, with ``pi = 1``, if nobody acts; and the coefficients of ``theta``."""
    rows = LearnerRows(problem)
    sides = [*zip(rows.queries, part.needs, strict=True), *zip(rows.guards, part.guards, strict=True)]
    c = [sum((entries[j] for (entries, _), _ in sides), fmpq(0)) for j in range(rows.p)]
    return dot(c, theta) + sum((k - need for (_, k), need in sides), fmpq(0)), c


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_of_the_saddle_point_is_known(make, kind, intercept):
    """Members have options that leave the same record, so the bound exceeds the weighted slacks by ``|c|^2 / (4 mu_0
    lam)``; for the squared loss by that in the metric of all that is the same in every choice; for linear programs,
    whose margins it knows by ``most_penalty`` alone, it is that times the excess."""
    compared = 0
    for seed in range(6):
        prior = kind not in LINEAR and compared == 1
        problem = make(seed, kind, intercept, "min_cost", regression=kind in REGRESSION, prior=prior, strength=0.75)
        problem = with_the_same_again(of_two_sides(problem))
        found, rows, base = saddle(problem), LearnerRows(problem), whole(problem, None)
        if compared == 2 or not is_stationary(rows, found):
            continue
        compared += 1
        mu, record = fmpq(5, 2), problem.collective.members[0].record
        limit, near = with_slack(2.0), fmpq(1, 2 ** (30 if kind == "logistic" else GRID - 6))
        for options, price in (((0, 1), 0), ((0,), 0), ((1,), fmpq(1, 3) * fmpq(3, 2) + fmpq(1, 5))):
            part = base.with_options(record, options)
            shares = {r: fmpq(1 + k, 4) for k, r in enumerate(rows.of(part)[1])}
            given = saddle_multipliers(rows, part, found, mu, shares)
            value, c = weighted_slack(problem, part, found.theta)
            inside = [c[j] for j in rows.penalised]
            expected = value + dot(inside, inside) / (4 * mu * rows.lam)
            if rows.is_quadratic:
                matrix = fmpq_mat(curvature(rows, part, mu, mu + sum(shares.values(), fmpq(0))))
                expected = value + dot(c, list(matrix.solve(fmpq_mat(rows.p, 1, c)).entries())) / 4
            if rows.is_linear:
                excess = max(abs(entry + mu * found.psi[j]) - mu for j, entry in enumerate(inside))
                expected = value - dot(c, found.theta) + most_penalty(problem) * max(excess, fmpq(0))
            expected += limit / 3 + fmpq(2, 5) - price
            slack = slack_above(rows, part, given)
            assert slack is not None
            assert abs(slack - expected) <= near
            assert kind == "logistic" or slack >= expected
    assert compared == 2


def curvature(rows, part, own, mu):
    """``mu_0 lam R + 2 mu sum a xhat xhat'`` over rows that are the same in every choice."""
    matrix = [[own * rows.lam * (j == k and j in rows.penalised) for k in range(rows.p)] for j in range(rows.p)]
    for i in rows.of(part)[0]:
        row = rows.rows[i]
        matrix = [
            [m + 2 * mu * row.a * x * z for m, z in zip(line, row.xhat, strict=True)]
            for line, x in zip(matrix, row.xhat, strict=True)
        ]
    return matrix


def most_penalty(problem):
    """The objective at 0."""
    records = problem.records
    losses = np.abs(records.y) if problem.learner.kind == "lad" else np.ones(len(records.y))
    terms = zip(records.s.tolist(), losses.tolist(), strict=True)
    return exact(problem.learner.C) * sum((exact(s) * exact(loss) for s, loss in terms), fmpq(0))


# -- any multipliers ---


def any_number(draw, value):
    """Near a number, or of any size."""
    kind = draw.random()
    if kind < 0.4:
        return value
    if kind < 0.8:
        return exact(approximate(value) * (1 + 0.2 * draw.normal()) + 0.05 * draw.normal())
    return exact(draw.normal() * 10 ** draw.uniform(-3, 3)) if kind < 0.95 else fmpq(0)


def any_multipliers(draw, rows, given):
    def row(values):
        return [any_number(draw, value) for value in values]

    def weight(value):
        return abs(any_number(draw, value))

    def omega(r, values):
        if not rows.free or draw.random() < 0.1:
            return row(values)
        strikes = any(rows.rows[i].a == 0 for i in rows.options[r])
        return [*row(values[:-1]), fmpq(0) if strikes else values[-1]]

    both = weight(fmpq(1))
    return replace(
        given,
        mu=weight(given.mu),
        beta=row(given.beta),
        theta=row(given.theta),
        pulls={i: any_number(draw, pull) for i, pull in given.pulls.items() if draw.random() < 0.5},
        balance=int(draw.integers(len(rows.rows))) if draw.random() < 0.3 else given.balance,
        omegas={r: (weight(mu), omega(r, values)) for r, (mu, values) in given.omegas.items()},
        queries=[both if rows.free else weight(value) for value in given.queries],
        guards=[both if rows.free else weight(value) for value in given.guards],
        cost=weight(given.cost),
        acting=weight(given.acting),
    )


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_multipliers_bound_less_than_a_choice_has(make, kind, intercept):
    """Records that join or strike, priors and constants of any size."""
    compared = 0
    for seed in range(2):
        draw = np.random.default_rng([seed, 4])
        prior = kind not in LINEAR and seed == 1
        changes = {"regression": kind in REGRESSION, "prior": prior, "joins": seed == 1, "withhold": seed == 0}
        strength = float(10 ** draw.uniform(-2, 2))
        problem = of_two_sides(make(seed, kind, intercept, "min_cost", n=6, options=1, strength=strength, **changes))
        problem = replace(problem, collective=replace(problem.collective, budget=Budget(total=3.0, members=2)))
        found, rows, part = saddle(problem), LearnerRows(problem), whole(problem, None)
        known = [one for one in map(outcome_of(problem), exact_choices(problem)) if one is not None]
        shares = {r: fmpq(1 + k, 4) for k, r in enumerate(part.options)}
        start = saddle_multipliers(rows, part, found, fmpq(1), shares)
        for _ in range(30):
            given = any_multipliers(draw, rows, start)
            slack = slack_above(rows, part, given)
            if slack is not None:
                compared += 1
                assert all(slack_of(part, given, one) <= slack for one in known)
    assert compared >= 5


def outcome_of(problem):
    def found(choice):
        try:
            outcome = exact_outcome(problem, choice)
        except ArithmeticError:
            return None
        return outcome if isinstance(outcome, Outcome) else None

    return found


def slack_of(part, given, outcome):
    """The weighted slacks of a choice, from below."""
    queries = zip(given.queries, outcome.queries, part.needs, strict=True)
    guards = zip(given.guards, outcome.guards, part.guards, strict=True)
    total = sum((pi * (margin.low - need) for pi, margin, need in (*queries, *guards)), fmpq(0))
    actors = len(outcome.choice.moves)
    return total + given.cost * (part.limit - outcome.choice.cost) + given.acting * (part.cap - actors)


# -- linear programs, by hand ---


def line(spec, *, members=(), s=(1.0, 1.0), **changes):
    """Records at 1 that report - and +; the query at 1 wants +, so that its margin is ``w``."""
    base = line_example(spec, GoalKind.MIN_COST, required=0.5)
    records = Records(np.array([[1.0], [1.0]]), np.array([-1.0, 1.0]), np.array(s))
    return stated(replace(base, records=records, collective=Collective(tuple(members)), **changes))


def leaf(p=1, **changes):
    """A duality leaf of ``p`` parameters, a query and no guard, that says nothing."""
    zeros = [0.0] * p
    numbers = {"mu": 0.0, "beta": zeros, "theta": zeros, "pulls": [], "balance": None, "members": []}
    return {"kind": "duality", **numbers, "queries": [0.0], "guards": [], "cost": 0.0, "acting": 0.0, **changes}


def judged(problem, *nodes, bound="0.1"):
    """The checker's verdict on a tree's nodes."""
    document = {"format": "oar-certificate", "version": 1, "kind": "tree", "instance": problem.name}
    document |= {"instance_sha256": problem.sha256, "goal": str(problem.goal), "bound": bound, "moves": None}
    return check(parse_certificate({**document, "nodes": list(nodes)}), problem)


def evaluated(problem, **changes):
    rows, part = LearnerRows(problem), whole(problem, None)
    zero = [fmpq(0)] * rows.p
    given = Multipliers(fmpq(0), zero, zero, {}, None, {}, [fmpq(0)], [], fmpq(0), fmpq(0))
    return slack_above(rows, part, replace(given, **changes))


def needed(problem):
    return forgiven_margin(problem.queries[0], problem)


@pytest.mark.parametrize("kind", LINEAR)
def test_a_goal_that_no_duality_bounds_is_at_most_the_objective_at_0(kind):
    """``|w| <= C (1 + 1) = 4``, so the margin is at most 4, whoever takes the goal: ``T0``, or a member whose ``f`` is
    0 and who sets ``|w| / 4`` against it. Then the record at 1, with ``alpha = beta = 0``, is left with ``-f g / 4``
    twice: at most 1/2, at the kink."""
    option = Option(OptionKind.MENU, (0.0,), -1.0, 1.0, 1.0)
    records = Records(np.array([[1.0], [0.0]]), np.array([-1.0, 1.0]), np.ones(2))
    problem = replace(line(LearnerSpec(kind, C=2.0), members=[Member(1, (), (option,))]), records=records)
    assert evaluated(problem, queries=[fmpq(1)]) == 4 - needed(problem)
    shares = {1: (fmpq(1, 4), [fmpq(1)])}
    assert evaluated(problem, queries=[fmpq(1)], omegas=shares, pulls={0: fmpq(0)}) == fmpq(7, 2) - needed(problem)


def test_a_member_that_pulls_nothing_may_carry_the_goal():
    """Of weight 0 whatever it does: ``w - |w| / 4`` for ``|w| <= C = 2``, and 1/2 as before."""
    option = Option(OptionKind.MENU, (3.0,), 1.0, 0.0, 1.0)
    problem = line(LearnerSpec("l1_svm", C=2.0), members=[Member(1, (), (option,))], s=(1.0, 0.0))
    shares = {1: (fmpq(1, 4), [fmpq(1)])}
    assert evaluated(problem, queries=[fmpq(1)], omegas=shares, pulls={0: fmpq(0)}) == 2 - needed(problem)
    ridge = line(LearnerSpec("ridge", alpha=0.5), members=[Member(1, (), (option,))], s=(1.0, 0.0))
    # The largest w - w^2 / 4 is 1, and record 0 is left with -f (2 f + 2) / 4, at most 1/8.
    assert evaluated(ridge, queries=[fmpq(1)], omegas=shares, pulls={0: fmpq(0)}) == fmpq(9, 8) - needed(ridge)


def test_a_record_without_features_has_no_value_to_pull_at():
    """``x = 0`` and no intercept: ``f = 0`` and ``g = -2 y``, so the term is ``g gamma = 0``; and ``w - w^2 / 4``."""
    option = Option(OptionKind.MENU, (0.0,), 1.0, 1.0, 1.0)
    records = Records(np.array([[1.0], [0.0]]), np.array([-1.0, -1.0]), np.ones(2))
    problem = replace(line(LearnerSpec("ridge", alpha=0.5), members=[Member(1, (), (option,))]), records=records)
    shares = {1: (fmpq(1, 4), [fmpq(1)])}
    assert evaluated(problem, queries=[fmpq(1)], omegas=shares, pulls={0: fmpq(0)}) == fmpq(9, 8) - needed(problem)


def test_a_member_takes_the_option_with_the_largest_term():
    """``mu = 0`` and ``beta = -1``: ``T0`` is 1, the terms are the largest ``-g``: 0 of a record that reports -, and
    ``C = 2`` of one that reports +."""
    option = Option(OptionKind.MENU, (1.0,), 1.0, 1.0, 1.0)
    base = line(LearnerSpec("l1_svm", C=2.0), members=[Member(1, (), (option,))])
    problem = replace(base, records=Records(np.ones((2, 1)), -np.ones(2), np.ones(2)))
    assert evaluated(problem, beta=[fmpq(-1)]) == 3


def test_pulls_of_the_logistic_loss_alone():
    """``mu = 0`` and ``beta = (0, -1)``: 0 of a record that reports -, and ``C = 2`` of one that reports +."""
    problem = line(LearnerSpec("logistic", Intercept.FREE, C=2.0))
    assert evaluated(problem, beta=[fmpq(0), fmpq(-1)]) == 2
    assert evaluated(problem, beta=[fmpq(0), fmpq(1)]) == 2


@pytest.mark.parametrize("kind", ["ridge", "svm", "l1_svm"])
def test_nothing_bounds_a_free_intercept_that_no_record_holds(kind):
    """A member of weight 0, whatever it does, with a share of the intercept; the balancing row takes the rest."""
    option = Option(OptionKind.MENU, (3.0,), 1.0, 0.0, 1.0)
    X, y, s = np.array([[1.0], [2.0], [1.0]]), np.array([-1.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0])
    spec = LearnerSpec(kind, Intercept.FREE, **{"alpha" if kind == "ridge" else "C": 1.0})
    problem = replace(line(spec), records=Records(X, y, s))
    problem = replace(problem, collective=Collective((Member(2, (), (option,)),)))

    def shared(b):
        return evaluated(problem, mu=fmpq(10), omegas={2: (fmpq(1), [fmpq(1, 4), b])}, balance=0)

    assert shared(fmpq(0)) is not None
    assert shared(fmpq(1, 1000)) is None and shared(fmpq(-1, 1000)) is None


def test_weights_and_prices_are_not_negative_and_go_with_something():
    option = Option(OptionKind.MENU, (1.0,), 1.0, 1.0, 1.0)
    base = line(LearnerSpec("l1_svm", C=2.0), members=[Member(1, (), (option,))])
    capped = replace(base, collective=replace(base.collective, budget=Budget(total=3.0, members=2)))
    for name, value in (("cost", fmpq(1)), ("acting", fmpq(1)), ("queries", [fmpq(1)])):
        less = [-one for one in value] if isinstance(value, list) else -value
        assert evaluated(capped, **{name: value}) is not None
        assert evaluated(capped, **{name: less}) is None
        assert (evaluated(base, **{name: value}) is None) == (name != "queries")
    assert evaluated(capped, omegas={1: (fmpq(0), [fmpq(0)])}) is not None
    # Of one who is no member.
    assert evaluated(capped, omegas={0: (fmpq(0), [fmpq(0)])}) is None


# -- numbers of any size ---


def test_pulls_are_proposed_for_any_point():
    """``exp(-f)`` as a rational has as many binary digits as ``1.4 f``, and a point may be anything."""
    for f in (fmpq(10**6), fmpq(-(10**6)), fmpq(10**300), fmpq(-(10**300))):
        pull = logistic_pull(fmpq(1), f)
        assert -1 <= pull <= 0 and abs(pull - (f < 0) * -1) < fmpq(1, 2**100)
        assert pull.q.bit_length() < 1000
    assert logistic_tangent(fmpq(1), exact(1e-300), exact(1e-3), fmpq(1)).q.bit_length() < 1000
    third = logistic_pull(fmpq(-1), exact(np.log(0.5)))
    assert abs(third - fmpq(1, 3)) < fmpq(1, 10**15)


def test_the_logistic_term_is_bounded_for_numbers_of_any_size():
    """With ``tau = 0`` it is ``mu log(1 + exp(-gamma / mu))``: about ``-gamma`` or 0 where it is large."""
    for size in (fmpq(10) ** 300, fmpq(10) ** 3000):
        for mu in (fmpq(1), fmpq(1, 10**300)):
            down = logistic_maximum(fmpq(1), fmpq(0), fmpq(0), -size, mu, [fmpq(0)])
            up = logistic_maximum(fmpq(1), fmpq(0), fmpq(0), size, mu, [fmpq(0)])
            assert size < down < size + mu * fmpq(1, 2**150)
            assert 0 < up < mu * fmpq(1, 2**150)
    half = logistic_maximum(fmpq(-1), fmpq(0), fmpq(0), fmpq(0), fmpq(1), [fmpq(0)])
    assert 0 < half - fmpq(6931471805599453094, 10**19) < fmpq(1, 10**19)


@pytest.mark.parametrize("kind", KINDS)
def test_multipliers_of_any_size_are_judged_at_once(make, kind):
    """No error, no endless number: the bound 1000 is proved or it is not."""
    sizes = (0.0, 5e-324, 1e-300, 1e12, 1.7e308)
    for intercept in ("none", "free"):
        problem = stated(make(3, kind, intercept, regression=kind in REGRESSION, guards=1))
        p = problem.d + (intercept == "free")
        begun = time.process_time()
        for size in sizes:
            for mu in sizes:
                entries = [[-size] * (p - 1) + [size], [size] * p]
                shares = [
                    {"record": m.record, "mu": mu, "omega": [size] * (p - 1) + [0.0]}
                    for m in problem.collective.members
                ]
                changes = {"mu": mu, "beta": entries[0], "theta": entries[1], "balance": 0, "members": shares}
                verdict = judged(problem, leaf(**changes, queries=[1.0], guards=[mu]), bound="1000")
                assert verdict.proved or "node 0: its multipliers leave room" in verdict.sentence
        assert time.process_time() - begun < 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_learner_of_no_record_is_no_error(kind):
    """``w = 0``, so no margin exceeds 0: which the Lagrangian proves with a large ``mu``."""
    base = line(LearnerSpec(kind, **{"alpha" if kind == "ridge" else "C": 1.0}, **constants(kind)), s=(0.0, 0.0))
    problem = replace(base, goal=GoalKind.MAX_MARGIN)
    verdict = judged(problem, leaf(mu=1e6, queries=[1.0]), bound="0.001")
    assert verdict.proved, verdict.sentence


def constants(kind):
    return {"huber": {"delta": 0.5}, "epsilon_insensitive": {"epsilon": 0.25}}.get(kind, {})


def test_a_long_list_of_options_is_split_at_once():
    menu = tuple(Option(OptionKind.MENU, (1.0,), 1.0, 1.0, float(k + 1)) for k in range(400))
    problem = line(LearnerSpec("ridge", alpha=1.0), members=[Member(1, (), menu)])
    begun = time.process_time()
    verdict = judged(problem, {"kind": "options", "record": 1, "options": [*range(401, 300_000), 0]}, leaf(), leaf())
    assert "node 1: its multipliers leave room" in verdict.sentence
    assert time.process_time() - begun < 2


# -- trees ---


def trees(goal=GoalKind.MIN_COST, **changes):
    """A member with two options and one with one, and two queries."""
    first = tuple(Option(OptionKind.MENU, (float(k),), 1.0, 1.0, float(k)) for k in (1, 2))
    second = Member(0, (), (Option(OptionKind.MENU, (1.0,), 1.0, 1.0, 1.0),))
    queries = tuple(Query(f"q{k}", (float(k),), 1.0, 0.0, 0.25) for k in (1, 2))
    members = [Member(1, (), first), second]
    return line(LearnerSpec("ridge", alpha=1.0), members=members, goal=goal, queries=queries, **changes)


def split(record, *options):
    return {"kind": "options", "record": record, "options": list(options)}


def ask(query):
    return {"kind": "query", "query": query}


CHOICE, FEW = {"kind": "choice"}, {"kind": "few"}
PRICED = leaf(queries=[0.0, 0.0], cost=1.0)
"""Refutes for ``min_cost`` every part in which the cost is above the bound."""


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([split(7, 0)], "node 0: record 7 is no member's"),
        ([split(1)], "node 0: it does not split what member 1 has left"),
        ([split(1, 3, -1)], "node 0: it does not split what member 1 has left"),
        ([split(1, 0, 1, 2)], "node 0: it does not split what member 1 has left"),
        ([split(1, 2), split(1, 2)], "node 1: it does not split what member 1 has left"),
        ([split(1, 2), PRICED, split(1, 1), PRICED, split(1, 1)], "node 4: it does not split what member 1 has left"),
        ([split(1, 1, 2), PRICED], "1 part of the tree has no node"),
        ([split(1, 1), PRICED], "1 part of the tree has no node"),
        ([split(1, 0), PRICED], "node 1: its multipliers leave room"),
        ([CHOICE], "node 0: more than one choice is left"),
        ([split(1, 1, 2), PRICED, CHOICE], "node 2: more than one choice is left"),
        ([FEW], "node 0: more queries than the bound says may be helped"),
        ([ask(0)], "node 0: there is no query 0 to count"),
    ],
)
def test_trees_that_leave_choices_out_prove_nothing(nodes, words):
    verdict = judged(trees(), *nodes, bound="0.5")
    assert not verdict.proved and words in verdict.sentence


def test_trees_that_leave_none_out_prove_their_bound():
    """The first acts for 1 or more, above the bound; of the second alone likewise; nobody acting is no answer."""
    nodes = [split(1, 1, 2), PRICED, split(0, 1), PRICED, CHOICE]
    assert judged(trees(), *nodes, bound="0.5").proved
    assert "node 5 belongs to no split" in judged(trees(), *nodes, CHOICE, bound="0.5").sentence
    assert "node 1: its multipliers" in judged(trees(), *nodes, bound="1.001").sentence
    acting = [PRICED | {"cost": 0.0, "acting": 1.0} if node is PRICED else node for node in nodes]
    fewest = trees(GoalKind.MIN_MEMBERS)
    for bound in ("0.5", "1", "1.0"):
        assert judged(fewest, *acting, bound=bound).proved
    for bound in ("1.5", "2"):
        # One who acts is fewer than 1.5.
        assert "node 1: its multipliers" in judged(fewest, *acting, bound=bound).sentence
    assert judged(trees(), PRICED, bound="-0.5").proved
    assert judged(fewest, PRICED | {"cost": 0.0, "acting": 1.0}, bound="0").proved


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"beta": []}, "beta has 0 numbers instead of 1"),
        ({"theta": [0.0, 0.0]}, "theta has 2 numbers instead of 1"),
        ({"queries": [1.0]}, "queries has 1 numbers instead of 2"),
        ({"guards": [1.0]}, "guards has 1 numbers instead of 0"),
        ({"members": [{"record": 1, "mu": 1.0, "omega": []}]}, "omega of member 1 has 0 numbers"),
        ({"members": [{"record": 1, "mu": 1.0, "omega": [0.0]}] * 2}, "a member has multipliers twice"),
        ({"members": [{"record": 9, "mu": 1.0, "omega": [0.0]}]}, "leave room"),
        ({"members": [{"record": 0, "mu": 1.0, "omega": [0.0]}]}, "leave room"),
        ({"members": [{"record": 1, "mu": -1.0, "omega": [0.0]}]}, "leave room"),
        ({"mu": -1.0}, "leave room"),
        ({"queries": [-1.0, 0.0]}, "leave room"),
        ({"acting": 1.0}, "leave room"),
    ],
)
def test_leaves_with_wrong_multipliers_prove_nothing(changes, words):
    """The part is one in which record 0's member is settled and acts, so that the price of the cost alone refutes it;
    nobody caps the number of those who act."""
    verdict = judged(trees(), split(0, 1), PRICED | changes, split(1, 0), CHOICE, PRICED, bound="0.5")
    assert not verdict.proved and f"node 1: {words}" in verdict.sentence.replace("its multipliers ", "")
    assert judged(trees(), split(0, 1), PRICED, split(1, 0), CHOICE, PRICED, bound="0.5").proved


def test_queries_are_split_upon_once_and_counted():
    """Both margins have the sign of ``w``, which is 1 where both report + at 1 (``w = 2 / 3``)."""
    problem = trees(GoalKind.MAX_HELPED)
    two, aside = [ask(0), leaf(queries=[0.0, 0.0]), FEW], [ask(0), ask(0)]
    assert "node 1: its multipliers" in judged(problem, *two, bound="1").sentence
    assert "node 1: query 0 is split upon twice" in judged(problem, *aside, bound="1").sentence
    assert "there is no query 2" in judged(problem, ask(2), bound="1").sentence
    assert judged(problem, FEW, bound="2").proved
    for bound in ("1.9", "-1"):
        assert "node 0: more queries" in judged(problem, FEW, bound=bound).sentence
    assert "node 0: more queries" in judged(problem, FEW, bound=None).sentence
    # A query that was left aside and is asked again, and one that needs nothing yet, with a weight.
    again = [ask(0), ask(1), leaf(queries=[0.0, 0.0]), FEW]
    assert "node 2: its multipliers" in judged(problem, *again, bound="1").sentence
    assert "node 0: its multipliers" in judged(problem, leaf(queries=[1.0, 0.0]), bound="1").sentence


def test_what_is_left_aside_is_one_query_at_a_time():
    """The first query, at 0 without an intercept, has a margin of 0 and is never helped."""
    base = trees(GoalKind.MAX_HELPED)
    far = [Query(f"q{k}", (0.0,), 1.0, 0.0, 0.25) for k in range(2)]
    one, both = (stated(replace(base, queries=(far[0], last))) for last in (base.queries[1], far[1]))
    never = [leaf(queries=[1.0, 0.0]), leaf(queries=[0.0, 1.0])]
    assert judged(one, ask(0), never[0], FEW, bound="1").proved
    assert "1 part of the tree has no node" in judged(one, ask(0), never[0], bound="1").sentence
    assert "node 2: query 0 is split upon twice" in judged(one, ask(0), never[0], ask(0), FEW, FEW, bound="1").sentence
    assert "node 2: more queries" in judged(both, ask(0), never[0], FEW, bound="0").sentence
    assert judged(both, ask(0), never[0], ask(1), never[1], FEW, bound="0").proved


def test_a_choice_is_forbidden_only_beyond_the_budgets():
    """The member's second option costs 2, the other member's 1."""
    problem = trees()
    for budget, allowed in ((Budget(total=3.0), True), (Budget(total=2.9), False), (Budget(members=1), False)):
        limited = replace(problem, collective=replace(problem.collective, budget=budget))
        part = whole(limited, None).with_options(1, (2,)).with_options(0, (1,))
        assert (only_choice(part) is not None) == allowed


def test_a_line_without_an_end_has_no_maximum():
    zero, one = fmpq(0), fmpq(1)
    assert quadratic_maximum(zero, one, zero, None) is quadratic_maximum(zero, -one, None, zero) is None
    assert quadratic_maximum(zero, one, None, one) == quadratic_maximum(zero, -one, -one, None) == 1
    assert quadratic_maximum(one, 2 * one, None, None) == 1 and quadratic_maximum(one, 2 * one, 2 * one, None) == 0


def test_a_slack_of_0_refutes_only_what_has_to_be_exceeded():
    part = replace(whole(trees(), fmpq(1)), strict=True)
    assert is_refuted(part, fmpq(0), [fmpq(0), fmpq(1)])
    assert not is_refuted(part, fmpq(0), [fmpq(0), fmpq(0)])
    assert not is_refuted(replace(part, strict=False), fmpq(0), [fmpq(1), fmpq(1)])
    assert not is_refuted(part, fmpq(1, 10**40), [fmpq(1)]) and not is_refuted(part, None, [fmpq(1)])
    assert is_refuted(replace(part, strict=False), fmpq(-1, 10**40), [fmpq(0)])


def test_whose_margin_is_always_the_bound_never_exceeds_it():
    """The query at 0 without an intercept: a margin of 0, proved to be at most 0 and not to be less."""
    problem = trees(GoalKind.MAX_MARGIN)
    problem = stated(replace(problem, queries=(replace(problem.queries[0], x=(0.0,)),)))
    assert judged(problem, leaf(queries=[1.0]), bound="0").proved
    assert not judged(problem, leaf(queries=[1.0]), bound="-0.000000001").proved
    assert not judged(problem, leaf(queries=[0.0]), bound="0").proved


@pytest.mark.parametrize(
    ("goal", "bound", "limit", "cap", "needs"),
    [
        (GoalKind.MIN_COST, "2.5", fmpq(5, 2), 2, 1),
        (GoalKind.MIN_COST, "9", 3, 2, 1),
        (GoalKind.MIN_MEMBERS, "0.5", 3, 0, 1),
        (GoalKind.MIN_MEMBERS, "1", 3, 0, 1),
        (GoalKind.MIN_MEMBERS, "1.001", 3, 1, 1),
        (GoalKind.MIN_MEMBERS, "7", 3, 2, 1),
        (GoalKind.MAX_MARGIN, "0.5", 3, 2, fmpq(1, 2)),
        (GoalKind.MAX_HELPED, "0.5", 3, 2, None),
    ],
)
def test_what_is_better_than_a_bound(goal, bound, limit, cap, needs):
    """Budgets are the least of their own and what the bound leaves; 3 stands for the total budget with its slack, 1 for
    the required margin less what is forgiven."""
    problem = trees(goal)
    problem = replace(problem, collective=replace(problem.collective, budget=Budget(total=3.0, members=2)))
    part = whole(problem, read_decimal(bound))
    assert part.limit == (with_slack(3.0) if limit == 3 else limit) and part.cap == cap
    assert part.needs == ((forgiven_margin(problem.queries[0], problem) if needs == 1 else needs,) * 2)
    assert part.strict == (goal is GoalKind.MAX_MARGIN)
