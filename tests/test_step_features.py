"""Feature changes under one gradient step in certificates: hand-computed bounds, and changes that the verification
admits against all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flint import fmpq

from oar_opt.instance_file import dump_instance, parse_instance, save_instance
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.proof.checker import check, not_checkable
from oar_opt.proof.exact_choices import Choice
from oar_opt.proof.exact_outcome import exact_outcome
from oar_opt.proof.feature_reach import Reach
from oar_opt.proof.nodes import StepLeaf
from oar_opt.proof.parts import whole
from oar_opt.proof.rationals import approximate, decimal_below, exact, read_decimal
from oar_opt.proof.step_bound import StepMultipliers, StepRows, slack_above
from oar_opt.proof.step_changes import Changing
from oar_opt.proof_search.producer import make_certificate
from oar_opt.proof_search.step_leaves import StepLeaves
from oar_opt.result import Request
from oar_opt.step_search import solve_step
from oar_opt.update_settings import StepLoss, gradient_update
from tests.feature_moves import random_move
from tests.test_feature_leaves import random_problem as random_changes

KINDS = {"squared": "ridge", "hinge": "svm", "logistic": "logistic"}
LOSSES = list(KINDS)
LAMBERT = 0.2784645427610738
"""The largest ``z / (1 + exp(z))``: Lambert's ``W(1/e)``."""
SLIGHT = fmpq(1, 10**4)
"""What the tolerance of a verification may be worth in the problems below."""


def spec(loss, intercept=Intercept.NONE):
    own = {"alpha": 1.0} if loss == "squared" else {"C": 1.0}
    return LearnerSpec(KINDS[loss], intercept=intercept, **own)


def line(loss, start, radius=2.0, **changes):
    """``theta_0 = start``; the member at 1 is ``+`` and may move as far as the radius. A quarter of the sum is the
    step, and the query 1 wants ``+``: at ``z`` it has the margin ``start + p z / 4``, ``p`` the push."""
    problem = RecourseProblem(
        "line",
        Records(np.array([[1.0]]), np.array([1.0]), np.ones(1)),
        spec(loss),
        Collective((Member(0, (FeatureAction(Norm.L2, radius),)),), budget=changes.pop("budget", Budget())),
        (Query("q", (1.0,), 1.0, required=changes.pop("required", None)),),
        changes.pop("goal", GoalKind.MAX_MARGIN),
        classes=("no", "yes"),
        update=gradient_update([start], rate=0.25, reduction="sum", loss=loss),
    )
    return parse_instance(dump_instance(replace(problem, **changes)))


def slack(problem, bound, lines, cost=0):
    given = StepMultipliers([fmpq(1)], [], fmpq(cost), fmpq(0), {(0, 1): [(exact(u), exact(nu)) for u, nu in lines]})
    part = whole(problem, bound).with_options(0, (1,))
    return slack_above(StepRows(problem), part, given)


def moved(problem, z, cost=None):
    return (Move(0, (z,), 1.0, 1.0, abs(z - 1) if cost is None else cost),)


def random_problem(seed, norm=None, menus=True):
    """The changes of the tests for centroids under one step: batches that leave members out, several subjects."""
    draw = np.random.default_rng([seed, 5])
    base, loss = random_changes(seed, norm, menus), LOSSES[seed % 3]
    d, intercept = base.d, (Intercept.NONE, Intercept.PENALIZED, Intercept.FREE)[int(draw.integers(3))]

    def subject(name):
        return Query(name, tuple(draw.normal(size=d)), float(draw.choice([-1.0, 1.0])), required=0.05)

    problem = replace(
        base,
        name=f"step-features-{seed}",
        records=Records(base.records.X, draw.choice([-1.0, 1.0], size=base.n), base.records.s),
        learner=spec(loss, intercept),
        queries=tuple(subject(f"q{k}") for k in range(1 + seed % 2)),
        guards=tuple(replace(subject("g"), required=-2.0) for _ in range(int(draw.integers(2)))),
        goal=list(GoalKind)[(seed // 3) % 4],
        classes=("no", "yes"),
        update=gradient_update(
            draw.normal(size=d).tolist(),
            0.0 if intercept is Intercept.NONE else 0.3,
            rate=float(draw.choice([0.1, 1.0])),
            l2=0.1,
            reduction=str(draw.choice(["mean", "sum"])),
            batches=None if draw.random() < 0.6 else [[0, 1, 2, 3, 4, 5]],
            loss=loss,
        ),
    )
    return parse_instance(dump_instance(problem))


def answers(problem, draw, count):
    """Admissible moves as far as the rules let them be, with the exact outcome."""
    budget = problem.collective.budget
    for _ in range(count):
        moves = [random_move(problem, member, draw) for member in problem.collective.members if draw.random() < 0.8]
        moves = tuple(move for move in moves if move is not None)
        cost = sum((exact(move.cost) for move in moves), fmpq(0))
        dear = budget.total is not None and cost > exact(budget.total)
        if dear or (budget.members is not None and len(moves) > budget.members):
            continue
        outcome = exact_outcome(problem, Choice(moves, cost))
        if not isinstance(outcome, str):
            yield moves, cost, outcome


def worth(problem, rows, part, given, answer):
    """What an answer has of that which the multipliers bound."""
    moves, cost, outcome = answer
    weights = {move.record: exact(move.s) for move in moves}
    S = rows.weight
    if rows.settings.is_mean:
        here = [r for r in rows.options if r in rows.batch]
        S += sum((weights.get(r, exact(problem.records.s[r])) for r in here), fmpq(0))
    pairs = zip((*given.queries, *given.guards), (*outcome.queries, *outcome.guards), strict=True)
    needs = (*part.needs, *part.guards)
    value = sum((S * pi * (m.low - need) for (pi, m), need in zip(pairs, needs, strict=True) if pi), fmpq(0))
    return value + given.cost * ((part.limit or 0) - cost) + given.acting * ((part.cap or 0) - len(moves))


# -- by hand ---


def test_the_squared_loss_by_hand():
    """At ``start = 1/4`` the margin grows by ``z (1 - z/4) / 2``, at most 1/2, at ``z = 2`` where ``f`` is 1/2. In one
    dimension lines with the push as slope are exact, so the cell from end to end has no error."""
    problem = line("squared", 0.25)
    exact_lines = [(-0.25, 2.5), (0.75, 0.5)]
    assert fmpq(1, 4) <= slack(problem, fmpq(1, 2), exact_lines) <= fmpq(1, 4) + SLIGHT
    assert fmpq(1, 4) <= slack(problem, fmpq(1, 2), [(-9, 2.5), (0.5, 1), (9, 0.5)]) <= fmpq(1, 4) + SLIGHT
    assert slack(problem, fmpq(1, 2), []) > 1


def test_the_squared_loss_with_a_price_by_hand():
    """At 1/2 for each unit of the way from 1 to ``z``, ``z (1 - z/4) / 2 - |z - 1| / 2`` is 3/8 for staying, which is
    best; the budget of 2 adds 1. The cell left of it has the wrong slope at its end, and an error of 1/128."""
    problem = line("squared", 0.25, goal=GoalKind.MIN_COST, required=1.0, budget=Budget(total=2.0))
    needed = whole(problem, None).needs[0]
    lines = [(-0.25, 4.5), (0.25, 0.0), (0.75, -1.5)]
    got = slack(problem, None, lines, cost=fmpq(1, 2)) + needed - 1 - fmpq(1, 4)
    assert fmpq(3, 8) <= got <= fmpq(3, 8) + fmpq(1, 128) + SLIGHT


def test_the_hinge_by_hand():
    """At ``start = 1/2`` the push is 1 up to ``z = 2``, so ``z / 4`` comes near to 1/2, and none from there on."""
    problem = line("hinge", 0.5)
    assert fmpq(1, 2) <= slack(problem, fmpq(1, 2), [(1, 0.5), (1, 0)]) <= fmpq(1, 2) + SLIGHT
    assert fmpq(3, 4) <= slack(problem, fmpq(1, 2), []) <= fmpq(3, 4) + SLIGHT
    assert slack(problem, fmpq(1, 2), [(1, -5.0), (1, -5.0)]) == slack(problem, fmpq(1, 2), [])


def test_the_hinges_kink_is_on_both_sides():
    """At the kink itself there is no push, just below it is a whole one; the bound holds for both, and is attained."""
    problem = line("hinge", 0.5)
    at, below = (exact_outcome(problem, Choice(moved(problem, z), fmpq(1))).value.low for z in (2.0, 2.0 - 2**-40))
    assert at == fmpq(1, 2) and fmpq(1) - below < fmpq(1, 10**12)
    certificate = make_certificate(problem, moved(problem, 2.0 - 2**-30))
    assert check(certificate, problem).proved and 1 < read_decimal(certificate.bound) < 1 + SLIGHT


def test_a_side_of_the_kink_that_nothing_reaches_is_left_out():
    """With ``y f`` at 3 or more there is no push, whatever the slopes."""
    problem = line("hinge", 3.0, radius=0.0)
    assert slack(problem, fmpq(3), []) == 0


def test_the_logistic_loss_by_hand():
    """At ``start = 1``, ``z / (1 + exp(z)) / 4``: the largest is Lambert's ``W(1/e) / 4``, at ``z = 1.278``."""
    problem = line("logistic", 1.0)
    at = [(u, 0.25 / (1 + np.exp(u))) for u in np.linspace(-1.0, 3.0, 41)]
    got = approximate(slack(problem, fmpq(1), at))
    assert LAMBERT / 4 <= got <= LAMBERT / 4 + 2e-4
    assert approximate(slack(problem, fmpq(1), [])) > 0.15


def test_far_tails_of_the_logistic_loss_are_cut():
    """Where ``f`` is 10^6 the push is 0, or the label's sign, to 50 digits."""
    problem = line("logistic", 1e6, radius=0.5)
    assert 0 <= slack(problem, fmpq(10**6), []) < fmpq(1, 10**30)
    got = slack(line("logistic", -1e6, radius=0.5), fmpq(-(10**6)), [(0, -2.5e-7), (0, -2.5e-7)])
    assert fmpq(3, 8) <= got <= fmpq(3, 8) + SLIGHT


def test_who_is_not_in_the_batch_changes_nothing():
    """But pays for it."""
    problem = line("squared", 0.25, budget=Budget(total=3.0))
    records = Records(np.array([[1.0], [0.0]]), np.ones(2), np.ones(2))
    rule = gradient_update([0.25], rate=0.25, reduction="sum", loss="squared", batches=[[1]])
    outside = parse_instance(dump_instance(replace(problem, records=records, update=rule)))
    free = slack(outside, fmpq(1, 4), [(0, 7.0)], cost=1) - whole(outside, None).limit
    assert 0 <= free <= fmpq(1, 10**8)
    weightless = replace(problem, records=Records(np.ones((1, 1)), np.ones(1), np.zeros(1)))
    assert slack(parse_instance(dump_instance(weightless)), fmpq(1, 4), [(0, 7.0)]) == 0


# -- against changes ---


def random_multipliers(problem, part, draw):
    """Weights and prices, without lines."""
    needs = [*part.needs, *part.guards]
    weights = [fmpq(int(draw.integers(0, 4)), 3) if need is not None else fmpq(0) for need in needs]
    prices = [fmpq(int(draw.integers(0, 3)) if end is not None else 0) for end in (part.limit, part.cap)]
    count = len(part.needs)
    return StepMultipliers(weights[:count], weights[count:], *prices)


def compared(problem, draw, givens, count):
    """How far every bound is above what admissible answers have; each is a bound."""
    part = whole(problem, fmpq(1))
    part = part.with_helped(0) if problem.goal is GoalKind.MAX_HELPED else part
    rows = StepRows(problem)
    bounds = [(given, slack_above(rows, part, given)) for given in givens(part)]
    gaps = []
    for answer in answers(problem, draw, count):
        for given, bound in bounds:
            value = worth(problem, rows, part, given, answer)
            assert value <= bound
            gaps.append(approximate(bound - value))
    return gaps


def test_with_any_lines_the_bound_is_above_what_is_admitted():
    gaps = []
    for seed in range(72):
        problem, draw = random_problem(seed), np.random.default_rng(seed)
        keys = [(member.record, k) for member in problem.collective.members for k in (1, 2)]

        def givens(part, problem=problem, draw=draw, keys=keys):
            for _ in range(3):
                lines = {key: random_lines(draw) for key in keys}
                yield replace(random_multipliers(problem, part, draw), lines=lines)

        gaps += compared(problem, draw, givens, 12)
    assert len(gaps) > 1000


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_with_the_producers_lines_it_is_hardly_above(norm):
    """Lines that are nearly as low as can be; changes at random come near to the bound of one member."""
    gaps = []
    # Those with two radii besides their bounds take the search too long.
    for seed in (0, 1, 2, 3, 4, 5, 8, 9, 10, 11):
        problem, draw = random_problem(seed, norm=norm, menus=False), np.random.default_rng([seed, 4])

        def givens(part, problem=problem, draw=draw):
            leaves = StepLeaves(problem)
            given = random_multipliers(problem, part, draw)
            v = np.array([approximate(weight) for weight in (*given.queries, *given.guards)]) @ leaves.V
            places, price = np.arange(len(leaves.sets.keys)), approximate(given.cost)
            best = leaves.sets.best(places, v, price, np.full(len(places), -1e300), 1e-4)
            lines = leaves.sets.lines(places, v, price, best.u, best.value + 1e-3)
            yield replace(given, lines=dict(zip(leaves.sets.keys, lines, strict=True)))

        gaps += compared(problem, draw, givens, 30)
    assert len(gaps) > 80 and min(gaps) < 0.01


def random_lines(draw):
    return [(exact(draw.normal() * 3), exact(draw.normal())) for _ in range(int(draw.integers(0, 6)))]


@pytest.mark.parametrize("loss", LOSSES)
def test_cells_of_any_length_are_bounded(loss):
    """In one dimension, where lines with the slopes of the pushes are exact and all of the error is the cells'."""
    draw, interior = np.random.default_rng(6), 0
    for _ in range(150):
        y, w, v, b = float(draw.choice([-1, 1])), float(draw.choice([-2.0, 0.7])), draw.normal(), draw.uniform(-15, 15)
        radius, middle = draw.uniform(0.5, 6), 2 * draw.normal()
        f = np.linspace(middle - radius * abs(w), middle + radius * abs(w), 801)
        h = v * (f - middle) / w + b
        phi = 0.3 * pushes(loss, y, f) * h
        at = np.sort(draw.choice(f, int(draw.integers(0, 4)), replace=False))
        points = [f[0], *at, f[-1]]
        lines = [(exact(u), exact(0.3 * pushes(loss, y, u) * v / w)) for u in points]
        sides = exact(y), exact(0.3), exact(middle), [exact(w)], [exact(b) / exact(v)], fmpq(1)
        row = Changing(StepLoss(loss), *sides, box(radius))
        bound = approximate(row.most([exact(v)], lines, fmpq(0)))
        assert phi.max() <= bound + 1e-12
        interior += 0 < phi.argmax() < 800
    assert interior > 20


def pushes(loss, y, f):
    return {"squared": 2 * (y - f), "hinge": y * (y * f < 1), "logistic": y / (1 + np.exp(y * f))}[loss]


def box(radius):
    ends = {"low": [exact(-radius)], "high": [exact(radius)]}
    return Reach(Norm.LINF, exact(radius), [fmpq(1)], **ends, cost=CostKind.COUNT, charge=fmpq(0))


# -- certificates ---


def solved(problem):
    return solve_step(problem, Request(time_limit=10.0)).moves


@pytest.mark.parametrize("loss", LOSSES)
def test_a_certificate_of_several_members(loss):
    """Six members in two dimensions; their best changes are no corners."""
    problem = crowd(loss)
    certificate = make_certificate(problem, solved(problem))
    verdict = check(certificate, problem)
    assert verdict.proved and any(isinstance(node, StepLeaf) and node.sets for node in certificate.nodes)
    bound = read_decimal(certificate.bound)
    assert bound - verdict.value.low <= fmpq(1, 10**4) * max(fmpq(1), abs(bound))
    for better in (verdict.value.low - fmpq(1, 10**6), verdict.value.low - 1):
        assert not check(certificate.model_copy(update={"bound": decimal_below(better)}), problem).proved
    assert not check(certificate.model_copy(update={"bound": None, "moves": None}), problem).proved
    leaf = certificate.nodes[0]
    twice = leaf.model_copy(update={"sets": (*leaf.sets, leaf.sets[0])})
    assert "lines twice" in check(certificate.model_copy(update={"nodes": (twice,)}), problem).sentence
    bare = leaf.model_copy(update={"sets": ()})
    assert not check(certificate.model_copy(update={"nodes": (bare,)}), problem).proved


def crowd(loss, **changes):
    draw = np.random.default_rng(8)
    X = draw.normal(size=(12, 2))
    team = tuple(Member(i, (FeatureAction(Norm.L2, 0.8),)) for i in range(6))
    problem = RecourseProblem(
        "crowd",
        Records(X, np.where(np.arange(12) % 2, 1.0, -1.0), np.ones(12)),
        spec(loss, Intercept.PENALIZED),
        Collective(team, budget=changes.pop("budget", Budget())),
        (Query("q", (0.5, -0.2), 1.0, required=changes.pop("required", None)),),
        changes.pop("goal", GoalKind.MAX_MARGIN),
        classes=("no", "yes"),
        update=gradient_update([0.7, -0.4], 0.1, rate=0.5, loss=loss),
    )
    return parse_instance(dump_instance(replace(problem, **changes)))


def test_a_feature_whose_steps_are_out_of_reach():
    """It stays, and the bound is that without its changes."""
    problem = parse_instance(dump_instance(replace(crowd("logistic"), features=(Feature("a"), Feature("b", step=1.0)))))
    verdict = check(make_certificate(problem, solved(problem)), problem)
    fixed = replace(problem, features=(Feature("a"), Feature("b", direction=Direction.FIXED)))
    fixed = parse_instance(dump_instance(fixed))
    alike = check(make_certificate(fixed, solved(fixed)), fixed)
    assert verdict.proved and alike.proved and abs(float(verdict.bound) - float(alike.bound)) < 1e-5
    free = crowd("logistic")
    assert float(check(make_certificate(free, solved(free)), free).bound) > float(verdict.bound) + 1e-3


def test_counts_and_infeasibility_are_proved():
    """The best margin of the crowd tells what any number of them can reach."""
    best = check(make_certificate(crowd("squared"), solved(crowd("squared"))), crowd("squared")).value.high
    few = crowd("squared", goal=GoalKind.MIN_MEMBERS, required=approximate(best) * 0.9)
    verdict = check(make_certificate(few, solved(few)), few)
    assert verdict.proved and 1 < float(verdict.bound) < 6
    hopeless = crowd("squared", goal=GoalKind.MIN_COST, required=approximate(best) + 0.01)
    assert check(make_certificate(hopeless), hopeless).is_infeasible


def test_other_actions_stand_beside(oar, tmp_path):
    """Strikes and changes, a budget and a cap, from the command line to the grade."""
    problem = crowd("squared", budget=Budget(members=3))
    team = tuple(replace(m, actions=(*m.actions, WithholdAction(0.3))) for m in problem.collective.members)
    problem = replace(problem, collective=replace(problem.collective, members=team, cost=CostKind.COUNT))
    instance, proof = tmp_path / "crowd.json", tmp_path / "proof.json"
    save_instance(problem, instance)
    code, out, _ = oar("solve", instance, "--prove", proof, "-o", tmp_path / "solution.json", "-q")
    assert code == 0 and "Certificate: proved: " in out
    code, out, _ = oar("verify", instance, tmp_path / "solution.json", "--certificate", proof)
    assert code == 0 and "Verified, grade proved." in out


@pytest.mark.parametrize("loss", LOSSES)
def test_numbers_of_any_size_get_a_verdict(loss):
    """Points and slopes, weights and prices that floating point cannot multiply: no verdict but a refusal, or a true
    claim."""
    problem = parse_instance(dump_instance(replace(crowd(loss), features=(Feature("a", upper=2.0), Feature("b")))))
    problem = parse_instance(
        dump_instance(replace(problem, collective=replace(problem.collective, budget=Budget(total=2.0))))
    )
    certificate = make_certificate(problem, solved(problem))
    assert check(certificate, problem).proved
    leaf, better = certificate.nodes[0], decimal_below(read_decimal(certificate.bound) - 1)
    for size in (1.7e308, -1.7e308, 5e-324, 1e99, 1e-99, 0.0):
        lines = tuple(one.model_copy(update={"lines": ((size, -size), *one.lines, (1.0, size))}) for one in leaf.sets)
        for change in ({"sets": lines}, {"queries": (abs(size),)}, {"cost": abs(size)}):
            found = certificate.model_copy(update={"nodes": (leaf.model_copy(update=change),), "bound": better})
            assert not check(found, problem).proved


def test_members_whom_the_rules_leave_no_change_stay():
    """They lie out of bounds, farther than their radius; whatever is stated of their changes is a bound."""
    features = (Feature("a", lower=9.0), Feature("b", lower=9.0))
    for loss in LOSSES:
        problem = parse_instance(dump_instance(replace(crowd(loss), features=features)))
        rows, part, draw = StepRows(problem), whole(problem, fmpq(0)), np.random.default_rng(1)
        staying = worth(problem, rows, part, StepMultipliers([fmpq(1)], [], fmpq(0), fmpq(0)), still(problem))
        for _ in range(10):
            lines = {(member.record, 1): random_lines(draw) for member in problem.collective.members}
            given = StepMultipliers([fmpq(1)], [], fmpq(0), fmpq(0), lines)
            assert slack_above(rows, part, given) >= staying


def still(problem):
    return (), fmpq(0), exact_outcome(problem, Choice((), fmpq(0)))


def test_what_is_not_covered_is_refused_in_words():
    problem = crowd("logistic")
    assert not_checkable(problem) is None
    twice = replace(problem, update=gradient_update([0.7, -0.4], 0.1, rate=0.5, T=2, loss="logistic"))
    assert "the update is not one gradient step" in not_checkable(twice)
