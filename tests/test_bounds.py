"""Proved bounds hold: the re-trained parameters of every admissible choice lie inside; finite ends have a reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oar_opt.bounds import SHARES, ParameterBounds, Reason
from oar_opt.changes import change_sets
from oar_opt.discovery import learner_of
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    Intercept,
    Member,
    Move,
    Norm,
    OptionKind,
    Records,
)

SEEDS = range(0, 48, 2)
ROUNDING = 1e-7


def proved(problem, theta_bar=None):
    """The bounds, by default around the present optimum."""
    risk = learner_of(problem).risk(problem.learner, problem.d)
    if theta_bar is None:
        theta_bar = trained(problem, ())[0]
    return risk, ParameterBounds(problem, risk, theta_bar)


def trained(problem, moves):
    """The re-trained parameters: one point, or the extreme points of the set of all optima in many directions."""
    learner, records = learner_of(problem), problem.apply(moves)
    if learner.undefined(problem, records):
        return []
    fit = learner.fit(problem, records)
    points = [fit.parameters.vector()]
    if fit.optima:
        k = fit.optima.dimension
        random = np.random.default_rng(0).normal(size=(4 * k, k))
        points = [fit.optima.at(fit.optima.highest(slope)[1]) for slope in (*np.eye(k), *-np.eye(k), *random)]
    return [point[:-1] if problem.learner.intercept is Intercept.NONE else point for point in points]


def inside(interval, values, rows=None):
    """Whether ``values`` lie between the ends, up to the accuracy of training."""
    rows = slice(None) if rows is None else rows
    slack = ROUNDING * (1 + np.abs(values))
    return bool((values >= interval.lower[rows] - slack).all() and (values <= interval.upper[rows] + slack).all())


def assert_holds_for_every_choice(problem, risk, bounds, moves_of, U, to_own=None):
    """``to_own`` turns the instance's parameters into the risk's coordinates."""
    along, members = bounds.along(U), problem.collective.members
    first_row = np.cumsum([0, *(len(problem.admissible_options(member)) for member in members)])
    tried = 0
    for choice, moves in moves_of(problem):
        for theta in trained(problem, moves):
            theta = theta if to_own is None else to_own @ theta
            tried += 1
            assert inside(along, U @ theta)
            assert inside(bounds.of_fixed, risk.extend(problem.records.X[bounds.fixed_index]) @ theta)
            for m, (member, option) in enumerate(zip(members, choice, strict=True)):
                row = first_row[m] + problem.admissible_options(member).index(option)
                assert inside(bounds.of_options, risk.extend(np.array([option.x])) @ theta, [row])
    assert tried > 0


def directions(risk, seed):
    return np.vstack([np.eye(risk.p), np.random.default_rng(seed).normal(size=(6, risk.p))])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_retrained_learner_lies_in_the_bounds_around_the_present_optimum(make_varied, moves_of, seed):
    problem = make_varied(seed)
    risk, bounds = proved(problem)
    assert_holds_for_every_choice(problem, risk, bounds, moves_of, directions(risk, seed))


@pytest.mark.parametrize("seed", range(100, 124, 2))
def test_bounds_hold_around_any_reference_point(make_varied, moves_of, seed):
    problem = make_varied(seed)
    p = len(trained(problem, ())[0])
    risk, bounds = proved(problem, np.random.default_rng(seed).normal(size=p))
    assert_holds_for_every_choice(problem, risk, bounds, moves_of, directions(risk, seed))


@pytest.mark.parametrize("strength", [1e-3, 1e-1, 10.0, 1e3])
@pytest.mark.parametrize("intercept", ["none", "penalized", "free"])
@pytest.mark.parametrize("kind", ["ridge", "svm", "logistic", "l1_svm", "lad"])
def test_bounds_hold_for_weak_and_strong_regularisation(make, moves_of, kind, intercept, strength):
    problem = make(5, kind, intercept, strength=strength, n=12, labels=True, withhold=True)
    risk, bounds = proved(problem)
    assert_holds_for_every_choice(problem, risk, bounds, moves_of, directions(risk, 5))


@pytest.mark.parametrize("seed", range(6))
def test_a_member_whose_record_is_unused_so_far_may_join_within_the_bounds(make, moves_of, seed):
    problem = make(seed, ("ridge", "svm")[seed % 2], ("none", "penalized", "free")[seed % 3], joins=True, options=3)
    assert problem.records.s[problem.collective.members[0].record] == 0
    risk, bounds = proved(problem)
    assert_holds_for_every_choice(problem, risk, bounds, moves_of, directions(risk, seed))


@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_where_every_record_is_a_member(make, moves_of, seed):
    kind, intercept = ("ridge", "svm")[seed % 2], ("none", "penalized", "free")[seed % 3]
    problem = make(seed, kind, intercept, n=4, members=4, options=1, withhold=True, core=0, joins=seed < 6)
    risk = learner_of(problem).risk(problem.learner, problem.d)
    bounds = ParameterBounds(problem, risk, np.zeros(risk.p))
    assert_holds_for_every_choice(problem, risk, bounds, moves_of, directions(risk, seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_end_has_a_reason_if_and_only_if_it_is_finite(make_varied, seed):
    problem = make_varied(seed)
    risk, bounds = proved(problem)
    for interval in (bounds.along(directions(risk, seed)), bounds.of_fixed, bounds.of_options):
        for j in range(len(interval.lower)):
            bound = interval.bound(j)
            assert np.isfinite(bound.lower) == (bound.lower_reason is not Reason.NONE)
            assert np.isfinite(bound.upper) == (bound.upper_reason is not Reason.NONE)
            assert bound.lower <= bound.upper


@pytest.mark.parametrize("intercept", ["none", "penalized", "free"])
@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_a_cap_on_members_tightens_the_bounds_and_they_still_hold(make, moves_of, kind, intercept):
    loose = make(3, kind, intercept, n=12, members=3)
    tight = make(3, kind, intercept, n=12, members=3, budget=Budget(members=1))
    risk, bounds = proved(tight)
    U = directions(risk, 3)
    assert_holds_for_every_choice(tight, risk, bounds, moves_of, U)
    wide = proved(loose)[1].along(U)
    narrow = bounds.along(U)
    slack = 1e-7 * (1 + np.abs(wide.upper) + np.abs(wide.lower))
    assert (narrow.upper <= wide.upper + slack).all() and (narrow.lower >= wide.lower - slack).all()
    if (kind, intercept) != ("svm", "free"):
        assert (narrow.upper - narrow.lower).sum() < 0.95 * (wide.upper - wide.lower).sum()


@pytest.mark.parametrize("intercept", ["none", "penalized", "free"])
def test_where_nobody_may_act_ridge_is_pinned_to_its_present_optimum(make, intercept):
    problem = make(4, "ridge", intercept, members=3, budget=Budget(members=0))
    risk, bounds = proved(problem)
    (theta,) = trained(problem, ())
    along = bounds.along(np.eye(risk.p))
    assert along.lower == pytest.approx(theta, abs=1e-6) and along.upper == pytest.approx(theta, abs=1e-6)


@pytest.mark.parametrize("intercept", ["none", "penalized"])
def test_where_nobody_may_act_the_svm_is_pinned_to_its_present_optimum(make, intercept):
    problem = make(4, "svm", intercept, members=3, budget=Budget(members=0))
    risk, bounds = proved(problem)
    (theta,) = trained(problem, ())
    along = bounds.along(np.eye(risk.p))
    assert along.lower == pytest.approx(theta, abs=1e-3) and along.upper == pytest.approx(theta, abs=1e-3)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["svm", "logistic", "l1_svm", "lad"])
def test_a_free_intercept_gets_finite_bounds(make, kind, seed):
    problem = make(seed, kind, "free", d=1 + seed % 3, labels=True, withhold=True, joins=seed % 2 == 0)
    risk, bounds = proved(problem)
    assert bounds.along(np.eye(risk.p)).bound(risk.p - 1).is_finite
    for interval in (bounds.of_fixed, bounds.of_options):
        assert np.isfinite(interval.lower).all() and np.isfinite(interval.upper).all()


# -- a smooth loss, and the l1 norm ---


def random_traits(make, seed, kind):
    draw = np.random.default_rng([seed, 3])
    return make(
        seed,
        kind,
        ("none", "penalized", "free")[seed % 3],
        n=int(draw.integers(5, 16)),
        d=int(draw.integers(1, 4)),
        members=int(draw.integers(1, 4)),
        options=int(draw.integers(1, 3)),
        strength=float(10 ** draw.uniform(-2, 2)),
        labels=bool(draw.random() < 0.5),
        withhold=bool(draw.random() < 0.5),
        joins=bool(draw.random() < 0.3),
        prior=bool(draw.random() < 0.3),
        core=int(draw.integers(0, 3)),
        budget=Budget(members=2) if draw.random() < 0.3 else None,
        regression=kind == "lad",
    )


@pytest.mark.parametrize("seed", range(18))
@pytest.mark.parametrize("kind", ["logistic", "l1_svm", "lad"])
def test_bounds_are_finite_and_every_choice_keeps_them(make, moves_of, kind, seed):
    """Around the present optimum or another point, in the instance's coordinates or in whitened ones."""
    problem = random_traits(make, seed, kind)
    risk = learner_of(problem).risk(problem.learner, problem.d)
    present = trained(problem, ())
    theta_bar = present[0] if present else np.zeros(risk.p)
    if seed % 5 == 0:
        theta_bar = theta_bar + np.random.default_rng(seed).normal(size=risk.p)
    if seed % 2:
        own = risk
        risk = risk.whitened(problem.records.X, 1.0, 1.0)
        theta_bar = risk.join(*own.split(theta_bar))
    bounds = ParameterBounds(problem, risk, theta_bar)
    U = directions(risk, seed)
    for interval in (bounds.along(U), bounds.of_fixed, bounds.of_options):
        assert np.isfinite(interval.lower).all() and np.isfinite(interval.upper).all()
    to_own = np.eye(risk.p) if risk.basis is None else np.linalg.inv(risk.basis)
    assert_holds_for_every_choice(problem, risk, bounds, moves_of, U, to_own)


def test_bounds_of_a_smooth_loss_are_not_vacuous_where_few_act(make, moves_of):
    """Three of a hundred records: the proved width is at most ten times what re-training uses, intercept included."""
    problem = make(1, "logistic", "free", n=100, members=3, d=3)
    risk, bounds = proved(problem)
    along = bounds.along(np.eye(risk.p))
    reached = np.array([theta for _, moves in moves_of(problem) for theta in trained(problem, moves)])
    assert (along.upper - along.lower <= 10 * np.ptp(reached, axis=0)).all()
    reasons = {*along.lower_reason, *along.upper_reason, *bounds.of_fixed.upper_reason}
    assert reasons <= {Reason.MONOTONICITY, Reason.SELF_CONCORDANCE}


@pytest.mark.parametrize("intercept", ["none", "penalized", "free"])
@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_a_collective_of_nobody_leaves_bounds_on_the_present_optimum(make, kind, intercept):
    problem = make(6, kind, intercept, members=0)
    risk, bounds = proved(problem)
    U = directions(risk, 6)
    assert all(inside(bounds.along(U), U @ theta) for theta in trained(problem, ()))
    assert len(bounds.of_options.lower) == 0


def test_staying_is_the_first_option_of_every_member(make):
    problem = make(0, labels=True, withhold=True)
    for member in problem.collective.members:
        assert problem.admissible_options(member)[0].kind is OptionKind.STAY


@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_bounds_are_not_vacuous(make, moves_of, kind):
    """Most of the proved width is really used when one member of twenty records acts."""
    problem = make(8, kind, "penalized", n=20, members=1, options=3)
    risk, bounds = proved(problem)
    along = bounds.along(np.eye(risk.p))
    reached = np.array([theta for _, moves in moves_of(problem) for theta in trained(problem, moves)])
    width, used = along.upper - along.lower, np.ptp(reached, axis=0)
    assert (width <= 40 * used.max()).all()


def test_bounds_in_the_l1_norm_by_hand(make):
    """One fixed record (1, +), one member at (0, +) that stays, C = 1/2: J is 1 at w = 0, where the record pulls -1/2.

    With the share s of that pull, (1 - s/2) w <= 1 - s/2 for w > 0, and (1 + s/2) |w| <= 1 - s/2 for w < 0; s = 0.95
    gives 0.525 / 1.475.
    """
    problem = make(0, "l1_svm", n=4, members=1, options=0, d=1, strength=0.5)
    member = problem.collective.members[0].record
    X, s = np.zeros((4, 1)), np.zeros(4)
    fixed = next(i for i in range(4) if i != member)
    X[fixed], s[fixed], s[member] = 1.0, 1.0, 1.0
    problem = replace(problem, records=Records(X, np.ones(4), s))
    risk = learner_of(problem).risk(problem.learner, 1)
    along = ParameterBounds(problem, risk, np.zeros(1)).along(np.eye(1))
    assert along.upper[0] == pytest.approx(1.0, abs=1e-6)
    assert max(SHARES) == 0.95 and along.lower[0] == pytest.approx(-0.525 / 1.475, abs=1e-6)


# -- feature changes ---


def moving(make, seed, kind, **traits):
    """A problem whose members move features, all else drawn by the seed; some have a menu too."""
    draw = np.random.default_rng([seed, 41])
    problem = make(
        seed,
        kind,
        ("none", "penalized", "free")[seed % 3],
        n=int(draw.integers(6, 14)),
        d=int(draw.integers(1, 4)),
        options=int(draw.integers(0, 2)),
        strength=float(10 ** draw.uniform(-1.5, 1)),
        labels=bool(draw.random() < 0.3),
        withhold=bool(draw.random() < 0.3),
        prior=bool(draw.random() < 0.3),
        regression=kind in ("huber", "epsilon_insensitive") or (kind == "ridge" and seed % 2 == 0),
        **{"members": int(draw.integers(1, 4)), **traits},
    )
    menus = any(member.menu for member in problem.collective.members)
    ways = ["any"] if menus else ["any", "any", "increase", "decrease"]
    features = tuple(
        Feature(
            f"x{j}",
            scale=float(10 ** draw.uniform(-0.5, 0.5)),
            direction=Direction(draw.choice(ways)),
            lower=-4.0 if draw.random() < 0.3 else None,
        )
        for j in range(problem.d)
    )
    radii = [float(10 ** draw.uniform(-1.5, 0.5)) for _ in problem.collective.members]
    norms = [Norm(draw.choice(list(Norm))) for _ in radii]
    members = tuple(
        replace(member, actions=(*member.actions, FeatureAction(norm, radius)))
        for member, norm, radius in zip(problem.collective.members, norms, radii, strict=True)
    )
    kinds = (CostKind.L1, CostKind.L2, CostKind.SQL2, CostKind.LINF, CostKind.COUNT)
    collective = replace(problem.collective, members=members, cost=kinds[seed % 5])
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    records = Records(X, y, np.where(s > 0, s, 0.7))
    return replace(problem, features=features, collective=collective, records=records)


def random_moves(problem, draw):
    """A random admissible choice, most of them at the ends of what features may do: moves and the sets used."""
    cap = problem.collective.budget.members
    acting = draw.permutation(len(problem.collective.members))[:cap]
    moves, used = [], {}
    for m in sorted(acting):
        member = problem.collective.members[m]
        options, sets = problem.admissible_options(member), change_sets(problem, member)
        if not sets or draw.random() < 0.2:
            option = options[draw.integers(len(options))]
            if option.kind is not OptionKind.STAY:
                moves.append(Move(member.record, option.x, option.y, option.s, option.cost))
            continue
        a = int(draw.integers(len(sets)))
        move = sets[a].move(random_change(sets[a], draw))
        if move is not None:
            moves.append(move)
            used[m] = a
    return moves, used


def random_change(one, draw):
    """Into a random direction as far as the set goes (or, one time in four, half of that)."""
    scaled = draw.normal(size=one.d) * (draw.random(one.d) < 0.7)
    delta = np.clip(one.scales * scaled * 10, one.lower, one.upper)
    for ball in one.balls:
        length = ball.norm.of(delta / one.scales)
        if length > ball.radius:
            delta = delta * ball.radius / length
    delta = delta * (0.5 if draw.random() < 0.25 else 1.0)
    assert one.violation(delta) <= 1e-9
    return delta


def numbered(problem):
    """The place of every change set among all of them."""
    sets = [change_sets(problem, member) for member in problem.collective.members]
    pairs = [(m, a) for m, own in enumerate(sets) for a in range(len(own))]
    return {pair: place for place, pair in enumerate(pairs)}


def assert_holds_for_random_moves(problem, tries, seed, theta_bar=None, whitened=False):
    risk, bounds = proved(problem, theta_bar)
    to_own = np.eye(risk.p)
    if whitened:
        own, risk = risk, risk.whitened(problem.records.X, 1.0, 1.0)
        bounds = ParameterBounds(problem, risk, risk.join(*own.split(bounds.theta_bar)))
        to_own = np.linalg.inv(risk.basis)
    draw, place = np.random.default_rng([seed, 5]), numbered(problem)
    U = directions(risk, seed)
    along, fixed = bounds.along(U), risk.extend(problem.records.X[bounds.fixed_index])
    pulls = bounds.pulls_of_changes
    assert len(bounds.of_changes.lower) == len(place) > 0
    for _ in range(tries):
        moves, used = random_moves(problem, draw)
        records = problem.apply(moves)
        for raw in trained(problem, moves):
            theta = to_own @ raw
            assert inside(along, U @ theta)
            assert inside(bounds.of_fixed, fixed @ theta)
            for m, a in used.items():
                i, row = problem.collective.members[m].record, place[m, a]
                f = float((risk.extend(records.X[i : i + 1]) @ theta)[0])
                assert inside(bounds.of_changes, np.array([f]), [row])
                ends = risk.loss.pulls_over(float(records.y[i]), f - 1e-6, f + 1e-6)
                a_i = risk.factor * records.s[i]
                assert a_i * ends[1] >= pulls[0][row] - 1e-6 and a_i * ends[0] <= pulls[1][row] + 1e-6
    return bounds


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["ridge", "svm", "squared_hinge", "logistic", "huber", "epsilon_insensitive"])
def test_random_feature_changes_keep_the_bounds(make, kind, seed):
    problem = moving(make, seed, kind, budget=Budget(members=1) if seed % 4 == 0 else None)
    tries = {"ridge": 250, "logistic": 20}.get(kind, 6)
    assert_holds_for_random_moves(problem, tries, seed, whitened=seed % 2 == 1)


@pytest.mark.parametrize("kind", ["ridge", "svm", "squared_hinge", "logistic", "huber", "epsilon_insensitive"])
def test_change_sets_have_finite_intervals_with_a_reason(make, kind):
    problem = moving(make, 3, kind)
    _, bounds = proved(problem)
    box, (low, high) = bounds.of_changes, bounds.pulls_of_changes
    assert len(box.lower) == len(numbered(problem)) > 0
    assert all(box.bound(r).is_finite and box.bound(r).lower_reason is Reason.ROOM for r in range(len(low)))
    assert np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()


def test_bounds_of_one_moving_record_by_hand(make):
    """No fixed record, ridge with alpha 1: w = y x~ / (1 + x~^2) for x~ in [1, 3], y = 1, so w is in [0.3, 0.5]."""
    problem = make(0, "ridge", n=4, members=1, options=0, d=1, regression=True)
    record = problem.collective.members[0].record
    X, y, s = np.zeros((4, 1)), np.zeros(4), np.zeros(4)
    X[record], y[record], s[record] = 2.0, 1.0, 1.0
    member = Member(record, (FeatureAction(Norm.L2, 1.0),))
    problem = replace(problem, records=Records(X, y, s), collective=Collective((member,)))
    _, bounds = proved(problem)
    along = bounds.along(np.eye(1))
    assert along.lower[0] <= 0.3 and along.upper[0] >= 0.5
    assert bounds.of_changes.lower[0] <= 0.5 and bounds.of_changes.upper[0] >= 0.9
    # At w = 0.4, f is in [0.4, 1.2], so J is at most 0.6^2 + 0.16, and M = 2.
    ends = (0.4 - np.sqrt(0.52), 0.4 + np.sqrt(0.52))
    assert along.lower[0] == pytest.approx(ends[0], abs=1e-6) and along.upper[0] == pytest.approx(ends[1], abs=1e-6)
    low, high = bounds.pulls_of_changes
    assert low[0] <= 2 * (0.5 - 1) and high[0] >= 2 * (0.9 - 1)


@pytest.mark.parametrize("kind", ["ridge", "squared_hinge", "logistic"])
def test_the_bounds_of_small_changes_are_small(make, kind):
    """As the room for changes shrinks, so do the intervals of smooth learners, in proportion."""
    problem = make(8, kind, "penalized", n=20, members=2, options=0)
    widths = []
    for radius in (1e-2, 1e-3):
        members = tuple(replace(m, actions=(FeatureAction(Norm.L2, radius),)) for m in problem.collective.members)
        _, bounds = proved(replace(problem, collective=replace(problem.collective, members=members)))
        along = bounds.along(np.eye(3))
        widths.append(float((along.upper - along.lower).max()))
    assert widths[0] < 0.2 and widths[1] < 0.11 * widths[0]
