"""What an adversary tried on certificates of trees: multipliers, numbers of any size and trees that hold less than
they say; and the Lagrangian's bound where it is known by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from flint import fmpq

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
    Prior,
    Query,
    Records,
)
from oar_opt.proof.approximate_training import approximate_optimum
from oar_opt.proof.certificate_file import parse_certificate
from oar_opt.proof.checker import check
from oar_opt.proof.exact_choices import exact_choices, with_slack
from oar_opt.proof.exact_optimum import exact_optimum
from oar_opt.proof.exact_outcome import Outcome, exact_outcome, forgiven_margin
from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.lagrangian import GRID, Multipliers, logistic_pull, logistic_tangent, slack_above
from oar_opt.proof.learner_rows import LINEAR, LearnerRows
from oar_opt.proof.parts import whole
from oar_opt.proof.polylines import absolute, graph, pulls_at
from oar_opt.proof.rationals import approximate, dot, exact
from oar_opt.proof.scalar_maximum import logistic_maximum
from oar_opt.proof.tree import is_refuted
from tests.test_proof import stated

REGRESSION = ("huber", "epsilon_insensitive", "lad")
KINDS = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "logistic", "l1_svm", "lad")
INTERCEPTS = ("none", "penalized", "free")
WITH_PRIOR = [(kind, intercept, prior) for kind in KINDS for intercept in INTERCEPTS for prior in (False, True)]
WITH_PRIOR = [one for one in WITH_PRIOR if not (one[0] in LINEAR and one[2])]


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
    near = approximate_optimum(problem, problem.records)
    if spec.kind == "logistic":
        theta = near
        units = [
            exact(-approximate(y) / (1 + np.exp(approximate(y * f))))
            for y, f in zip(risk.y, risk.values(theta), strict=True)
        ]
    else:
        theta, units = exact_saddle(risk, spec, near)
    pulls = {(tuple(x), y): g for x, y, g in zip(risk.xhat, risk.y, units, strict=True)}
    psi = [-sum((a * g * x[j] for a, g, x in zip(risk.a, units, risk.xhat, strict=True)), fmpq(0)) for j in range(risk.p)]
    return Saddle(theta, pulls, psi)


def exact_saddle(risk, spec, near):
    graphs, m = [graph(spec, y) for y in risk.y], len(risk.y)
    if spec.kind in LINEAR:
        penalised = [j for j in range(risk.p) if risk.penalty[j] != 0]
        rows = [[fmpq(int(j == k)) for k in range(risk.p)] for j in penalised]
        ones = [fmpq(1)] * len(rows)
        more = {"xhat": risk.xhat + rows, "y": risk.y + [0 * one for one in ones], "a": risk.a + ones}
        risk = replace(risk, **more, lam=fmpq(0), intercept=Intercept.NONE)
        graphs += [absolute(fmpq(0)) for _ in rows]
    found = exact_optimum(risk, graphs, near)
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


@pytest.mark.parametrize(("kind", "intercept", "prior"), WITH_PRIOR)
def test_the_bound_of_the_saddle_point_is_known(make, kind, intercept, prior):
    """Members have options that leave the same record, so the bound exceeds the weighted slacks by ``|c|^2 / (4 mu_0
    lam)``; for linear programs, whose margins it knows by ``most_penalty`` alone, it is that times the excess."""
    compared = 0
    for seed in range(6):
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
            if rows.is_linear:
                excess = max(abs(entry + mu * found.psi[j]) - mu for j, entry in enumerate(inside))
                expected = value - dot(c, found.theta) + most_penalty(problem) * max(excess, fmpq(0))
            expected += limit / 3 + fmpq(2, 5) - price
            slack = slack_above(rows, part, given)
            assert slack is not None
            assert abs(slack - expected) <= near
            assert kind == "logistic" or slack >= expected
    assert compared == 2


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


@pytest.mark.parametrize(("kind", "intercept", "prior"), WITH_PRIOR)
def test_no_multipliers_bound_less_than_a_choice_has(make, kind, intercept, prior):
    """Records that join or strike, priors and constants of any size."""
    compared = 0
    for seed in range(2):
        draw = np.random.default_rng([seed, 4])
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
