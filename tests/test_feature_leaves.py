"""Sets of feature changes in certificates: hand-computed bounds, and changes that the verification admits against all
of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flint import fmpq

from oar_opt.instance_file import dump_instance, parse_instance
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    FeatureType,
    GoalKind,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Query,
    Records,
    RecourseProblem,
    Tolerances,
    WithholdAction,
)
from oar_opt.proof.centroid_bound import CentroidMultipliers, slack_above
from oar_opt.proof.checker import check, not_checkable
from oar_opt.proof.class_rows import ClassRows
from oar_opt.proof.exact_changes import is_allowed_change
from oar_opt.proof.exact_choices import Choice
from oar_opt.proof.exact_outcome import exact_outcome
from oar_opt.proof.feature_reach import COST_SLACK, reaches
from oar_opt.proof.parts import admitted, only_choice, whole
from oar_opt.proof.rationals import approximate, decimal_below, dot, exact, exact_row, length_above, read_decimal
from oar_opt.proof_search.centroid_leaves import CentroidLeaves
from oar_opt.proof_search.producer import make_certificate
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violation
from tests.feature_moves import random_features, random_move, some_rules

NORMS = list(Norm)


def random_problem(seed, norm=None, menus=True):
    """Changes under all norms and costs, with bounds, directions and scales; a few moves besides."""
    draw = np.random.default_rng([seed, 11])
    classes, d, n = int(draw.integers(2, 4)), int(draw.integers(1, 4)), 8
    y = (np.arange(n) % classes).astype(float)
    X = draw.normal(size=(n, d)) + draw.normal(size=(classes, d))[y.astype(int)]
    s = draw.choice([1.0, 2.0, 0.5, 0.0], size=n)
    s[:classes] = 1.0
    features = random_features(X, draw)

    def member(i):
        moving = [FeatureAction(norm or NORMS[int(draw.integers(3))], float(draw.choice([0.3, 1.5])), 0.25)]
        withheld = [WithholdAction(0.9)] if menus and draw.random() < 0.4 else []
        return Member(int(i), (*moving, *withheld))

    goal = list(GoalKind)[seed % 4]
    budget = [Budget(), Budget(total=0.8), Budget(members=1)][int(draw.integers(3))]
    problem = RecourseProblem(
        f"feature-leaves-{seed}",
        Records(X, y, s),
        LearnerSpec("nearest_centroid"),
        Collective(
            tuple(member(i) for i in draw.choice(np.arange(classes, n), 3, replace=False)),
            list(CostKind)[int(draw.integers(5))],
            budget,
        ),
        tuple(
            Query(f"q{q}", tuple(draw.normal(size=d)), float(q % classes), required=0.2) for q in range(1 + seed % 2)
        ),
        goal,
        classes=tuple(f"c{c}" for c in range(classes)),
        features=features,
        constraints=some_rules(X, draw),
    )
    return parse_instance(dump_instance(problem))


def test_a_reach_holds_what_the_verification_admits():
    held = 0
    for seed in range(120):
        problem, draw = random_problem(seed), np.random.default_rng(seed)
        for member in problem.collective.members:
            move = random_move(problem, member, draw)
            if (
                move is None
                or budget_violations(problem, [move], problem.tolerances.feasibility)
                or move.s != problem.records.s[member.record]
                or move.x == tuple(problem.records.X[member.record])
            ):
                continue
            (reach,) = reaches(problem, member)
            delta = [exact(a) - exact(b) for a, b in zip(move.x, problem.records.X[member.record], strict=True)]
            assert all(low <= v <= high for low, v, high in zip(reach.low, delta, reach.high, strict=True))
            assert all(dot(a, delta) <= room for a, room in reach.rows)
            length = length_above(delta)
            assert length <= reach.length + fmpq(1, 10**30)
            for price in (fmpq(0), fmpq(1, 3), fmpq(2)):
                g = exact_row(draw.normal(size=problem.d))
                paid = price * exact(move.cost)
                assert dot(g, delta) - paid <= reach.most(g, price)
                assert 2 * length - paid <= reach.farthest(fmpq(2), price) + fmpq(1, 10**30)
            held += 1
    assert held > 200


def test_every_bound_is_above_what_is_admitted():
    """Also with moves beside, budgets, prices, parts and both ways to bound; sums are those of the stated costs."""
    compared = 0
    for seed in range(80):
        problem, draw = random_problem(seed), np.random.default_rng(seed)
        rows, part = ClassRows(problem), whole(problem, fmpq(1))
        if problem.goal is GoalKind.MAX_HELPED:
            part = part.with_helped(0)
        own = [int(query.target) for query in problem.queries]
        usable = [
            (q, c) for q, t in enumerate(own) for c in range(rows.classes) if c != t and part.needs[q] is not None
        ]
        cap, limit = part.cap, part.limit
        bounds = []
        for balls in (True, False, True):
            given = CentroidMultipliers(
                [(q, c, fmpq(int(draw.integers(0, 4)), 3)) for q, c in usable],
                [exact_row(draw.normal(size=rows.d)) for _ in range(rows.classes)],
                fmpq(int(draw.integers(0, 3)) if limit is not None else 0),
                fmpq(int(draw.integers(0, 3)) if cap is not None else 0),
                balls,
            )
            bounds.append((given, slack_above(rows, part, given)))
        for _ in range(12):
            moves = [random_move(problem, member, draw) for member in problem.collective.members if draw.random() < 0.8]
            moves = tuple(move for move in moves if move is not None)
            cost = sum((exact(move.cost) for move in moves), fmpq(0))
            if (limit is not None and cost > limit) or (cap is not None and len(moves) > cap):
                continue
            outcome = exact_outcome(problem, Choice(moves, cost))
            if isinstance(outcome, str):
                continue
            for given, bound in bounds:
                value = sum((pi * (outcome.queries[q].low - part.needs[q]) for q, _, pi in given.pairs), fmpq(0))
                value += given.cost * ((limit or 0) - cost) + given.acting * ((cap or 0) - len(moves))
                assert value <= bound
                compared += 1
    assert compared > 600


# -- by hand ---


def line(norm=Norm.L2, goal=GoalKind.MAX_MARGIN, radius=1.0, **changes):
    """Classes at (0, 0) and (4, 0), one record each of two moves; the query (1, 0) wants the former."""
    records = Records(np.array([[0.0, 0], [0, 0], [4, 0], [4, 0]]), np.array([0.0, 0, 1, 1]), np.ones(4))
    action = (FeatureAction(norm, radius),)
    problem = RecourseProblem(
        "line",
        records,
        LearnerSpec("nearest_centroid"),
        Collective((Member(1, action), Member(3, action)), budget=changes.pop("budget", Budget())),
        (Query("q", (1.0, 0.0), 0.0, required=11.0),),
        goal,
        classes=("near", "far"),
    )
    return parse_instance(dump_instance(replace(problem, **changes)))


def best_moves(problem, near=1.0, far=5.0, cost=1.0, height=0.0):
    moves = (Move(1, (near, 0.0), 0.0, 1.0, cost), Move(3, (far, height), 1.0, 1.0, cost))
    return tuple(move for move in moves if move.x != tuple(problem.records.X[move.record]))


def test_balls_by_hand():
    """``(3 + 1/2)^2 - (1 - 1/2)^2 = 12``."""
    problem = line()
    certificate = make_certificate(problem, best_moves(problem))
    verdict = check(certificate, problem)
    assert verdict.proved and verdict.value.low == 12 and len(certificate.nodes) == 1
    assert 12 < read_decimal(certificate.bound) < fmpq(12) + fmpq(1, 1000)


def test_boxes_by_hand():
    """In ``linf`` the centroid of the other class goes to a corner as well: ``3.5^2 + 0.5^2 - 0.5^2``."""
    problem = line(Norm.LINF, collective=replace(line(Norm.LINF).collective, cost=CostKind.LINF))
    verdict = check(make_certificate(problem, best_moves(problem, height=1.0)), problem)
    assert verdict.proved and verdict.value.low == fmpq(49, 4)


def test_the_fewest_members_by_hand():
    """One reaches ``3.5^2 - 1 = 11.25``, and 11 are required."""
    problem = line(goal=GoalKind.MIN_MEMBERS)
    verdict = check(make_certificate(problem, best_moves(problem, near=0.0)), problem)
    assert verdict.proved and verdict.bound == "1"


def test_none_is_enough():
    """13 is more than 12."""
    problem = line(goal=GoalKind.MIN_COST, queries=(Query("q", (1.0, 0.0), 0.0, required=13.0),))
    assert check(make_certificate(problem), problem).is_infeasible


@pytest.mark.parametrize("total, allowed", [(1.9991, True), (1.997, False)])
def test_a_choice_beside_a_set_may_overdraw_the_total_by_the_tolerance(total, allowed):
    """Two strikes cost 2; with the tolerance 1e-3 the verification admits up to ``1.001 total``."""
    base, strike = line(), (WithholdAction(1.0), FeatureAction(Norm.L2, 1.0))
    members = tuple(Member(i, strike) for i in (1, 3))
    problem = line(
        collective=replace(base.collective, members=members, budget=Budget(total=total)),
        tolerances=Tolerances(feasibility=1e-3),
    )
    moves = tuple(whole(problem, None).menus[i][0] for i in (1, 3))
    assert (not budget_violations(problem, moves, 1e-3)) == allowed
    part = whole(problem, None).with_options(1, (1,)).with_options(3, (1,))
    assert (only_choice(part) is not None) == allowed and admitted(problem, moves) is None


# -- certificates ---


def test_tighter_claims_and_changed_moves_are_refused():
    problem = line()
    certificate = make_certificate(problem, best_moves(problem))
    assert not check(certificate.model_copy(update={"bound": decimal_below(fmpq(12) - fmpq(1, 10**6))}), problem).proved
    assert not check(certificate.model_copy(update={"bound": None, "moves": None}), problem).proved
    assert not check(certificate.model_copy(update={"kind": "enumeration", "nodes": ()}), problem).proved
    first, second = certificate.moves
    for change in (
        {"x": (1.00001, 0.0)},
        {"x": (1.0,)},
        {"y": "far"},
        {"weight": 2.0},
        {"cost": 0.9},
        {"cost": 1.1},
        {"record": 0},
    ):
        changed = (first.model_copy(update=change), second)
        assert not check(certificate.model_copy(update={"moves": changed}), problem).proved


def test_what_is_allowed_exactly_the_verification_allows():
    allowed = refused = 0
    for seed in range(100):
        problem, draw = random_problem(seed), np.random.default_rng([seed, 2])
        for member in problem.collective.members:
            move = random_move(problem, member, draw)
            if move is None:
                continue
            noise = float(draw.choice([0.0, 1e-7, 1e-5, 0.1]))
            x = np.array(move.x) + noise * draw.normal(size=problem.d)
            cost = member.feature_actions[0].charge + problem.collective.cost.of(
                (x - problem.records.X[member.record]) / problem.scales
            )
            cost = max(0.0, cost + float(draw.choice([0.0, 0.0, 1e-8, -0.1])))
            moved = replace(move, x=tuple(x.tolist()), cost=cost)
            fits = is_allowed_change(problem, member, moved)
            assert not fits or move_violation(problem, moved) is None
            allowed, refused = allowed + fits, refused + (not fits)
    assert allowed > 60 and refused > 60


@pytest.mark.parametrize("kind, value", [(FeatureType.INTEGER, 3 - 4e-10), (FeatureType.BINARY, 1 + 4e-10)])
def test_a_fixed_value_that_is_off_its_type_allows_no_change(kind, value):
    """Files may be off by 1e-9, and the verification forgives the tolerance alone."""
    records = line().records
    X = np.where(np.arange(4)[:, None] * [0, 1] == 1, value, records.X)
    for tau, allowed in ((1e-6, True), (1e-10, False)):
        problem = line(
            records=Records(X, records.y, records.s),
            features=(Feature("a"), Feature("b", kind, direction=Direction.FIXED)),
            tolerances=Tolerances(feasibility=tau),
        )
        move = Move(1, (1.0, value), 0.0, 1.0, 1.0)
        assert (move_violation(problem, move) is None) == allowed
        assert is_allowed_change(problem, problem.member_at[1], move) == allowed


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_no_leaf_refutes_a_margin_that_is_reached(norm):
    """The best of some changes against a bound just below its margin; a far larger bound is proved."""
    proved = 0
    for seed in range(0, 48, 4):
        problem, draw = random_problem(seed, norm, menus=False), np.random.default_rng(seed)
        problem = parse_instance(
            dump_instance(replace(problem, collective=replace(problem.collective, budget=Budget())))
        )
        best = None
        for _ in range(30):
            moves = [random_move(problem, member, draw) for member in problem.collective.members]
            moves = tuple(move for move in moves if move is not None)
            outcome = exact_outcome(problem, Choice(moves, fmpq(0)))
            if best is None or outcome.value.low > best[0]:
                best = outcome.value.low, moves
        claim = whole(problem, best[0] - fmpq(1, 10**6))
        assert CentroidLeaves(problem).assess(claim, 1.0).leaf is None
        loose = whole(problem, best[0] + 10)
        proved += CentroidLeaves(problem).assess(loose, 1.0).leaf is not None
    assert proved > 6


def test_a_budget_shortens_a_reach():
    """0.3 for one member are spent on 0.05 of charge and 0.25 of length, in l2; all features' ends are no further."""
    team = Collective((Member(3, (FeatureAction(Norm.LINF, 1.0, 0.05),)),), budget=Budget(each=0.3))
    (reach,) = reaches(line(collective=team), team.members[0])
    assert abs(approximate(reach.most([fmpq(3), fmpq(4)], fmpq(0))) - 5 * 0.25) < 1e-4
    assert abs(approximate(reach.most([fmpq(3), fmpq(4)], fmpq(2))) - 3 * 0.25 + 0.1) < 1e-4
    assert abs(approximate(reach.high[0]) - 0.25) < 1e-5


def test_a_wall_in_a_ball():
    """``3 x + 4 y`` on the unit disc with ``y <= 0`` is 3 at most, less what a change costs by count or by length."""
    problem = line(features=(Feature("a"), Feature("b", upper=0.0)))
    for cost, least in ((CostKind.COUNT, 2.5), (CostKind.L2, 2.5), (CostKind.SQL2, 2.5), (CostKind.L1, 2.5)):
        priced = replace(problem, collective=replace(problem.collective, cost=cost))
        (reach,) = reaches(priced, priced.collective.members[0])
        assert abs(approximate(reach.most([fmpq(3), fmpq(4)], fmpq(1, 2))) - least) < 1e-4


# -- features that move in steps ---


def in_steps(feature, draw):
    """Whole numbers, 0 and 1, or multiples of a step in place of a feature, by turns with itself."""
    kind = (FeatureType.CONTINUOUS, FeatureType.INTEGER, FeatureType.ORDINAL, FeatureType.BINARY)[int(draw.integers(4))]
    ends = {"lower": None, "upper": None} if kind is FeatureType.BINARY else {}
    step = 0.25 if kind is FeatureType.CONTINUOUS and draw.random() < 0.7 else None
    return replace(feature, type=kind, step=step, **ends)


def stepped(seed):
    """Of :func:`random_problem`, on grids, with room for a step or two."""
    draw, base = np.random.default_rng([seed, 13]), random_problem(seed, menus=False)
    features = tuple(in_steps(feature, draw) for feature in base.features)
    X = np.round(base.records.X, 2)
    for j, feature in enumerate(features):
        if feature.type is FeatureType.BINARY:
            X[:, j] = X[:, j] > 0
        elif feature.type is not FeatureType.CONTINUOUS:
            X[:, j] = np.round(X[:, j])
    return replace(base, features=features, records=replace(base.records, X=X))


def near_a_grid(problem, member, draw):
    """A change that ends near values in steps, off by about the tolerance."""
    before, tau = problem.records.X[member.record], problem.tolerances.feasibility
    x = before + draw.normal(size=problem.d) * 1.2 * member.feature_actions[0].radius * problem.scales
    for j, feature in enumerate(problem.features):
        if feature.type is not FeatureType.CONTINUOUS:
            x[j] = np.round(x[j])
        elif feature.step is not None:
            x[j] = before[j] + feature.step * np.round((x[j] - before[j]) / feature.step)
    x = np.where(draw.random(problem.d) < 0.5, before, x) + tau * draw.choice([0.0, 0.9, -0.9, 1.5], size=problem.d)
    action = member.feature_actions[0]
    cost = action.charge + problem.collective.cost.of((x - before) / problem.scales)
    stays = float(problem.records.y[member.record]), float(problem.records.s[member.record])
    return Move(member.record, tuple(x.tolist()), *stays, cost)


def test_steps_are_kept_as_the_verification_keeps_them():
    """And a reach holds what it admits."""
    held = refused = 0
    for seed in range(100):
        problem, draw = stepped(seed), np.random.default_rng([seed, 14])
        for member in problem.collective.members:
            (reach,) = reaches(problem, member)
            for _ in range(6):
                move = near_a_grid(problem, member, draw)
                beyond = move_violation(problem, move)
                assert is_allowed_change(problem, member, move) == (beyond is None)
                refused += beyond is not None
                if beyond is None and not budget_violations(problem, [move], problem.tolerances.feasibility):
                    before = exact_row(problem.records.X[member.record].tolist())
                    delta = [exact(a) - b for a, b in zip(move.x, before, strict=True)]
                    assert all(low <= v <= high for low, v, high in zip(reach.low, delta, reach.high, strict=True))
                    held += 1
    assert held > 150 and refused > 150


def test_steps_out_of_reach_fix_a_feature():
    """By half a unit no whole number changes; by 1.7 it does by one, and a step of 0.4 four times."""
    features = (Feature("a", FeatureType.INTEGER), Feature("b", step=0.4))
    for radius, ends in ((0.3, (0, 0)), (1.7, (1, 1.6))):
        problem = line(Norm.LINF, radius=radius, features=features)
        (reach,) = reaches(problem, problem.collective.members[0])
        assert all(abs(approximate(high) - end) < 1e-5 for high, end in zip(reach.high, ends, strict=True))
        assert all(abs(approximate(low) + end) < 1e-5 for low, end in zip(reach.low, ends, strict=True))


def test_what_is_not_covered_is_refused_in_words():
    problem = line()
    groups = (Feature("a", FeatureType.CATEGORICAL, group="g"), Feature("b", FeatureType.CATEGORICAL, group="g"))
    assert not_checkable(replace(problem, features=groups)) is None
    logistic = replace(
        problem,
        learner=LearnerSpec("logistic", C=1.0),
        records=Records(problem.records.X, np.array([-1.0, -1, 1, 1]), problem.records.s),
        queries=(Query("q", (1.0, 0.0), 1.0),),
    )
    assert "no Lagrangian for 'logistic'" in not_checkable(logistic)
    assert fmpq(1, 10**9) < COST_SLACK
