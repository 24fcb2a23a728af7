"""Rules of the literature: formulas by hand and by differences, rules obeyed, never better than enumeration."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from oar_opt.contracts import line_example, line_with_room
from oar_opt.discovery import heuristics
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.heuristics.gradient_neutralising import decoys
from oar_opt.influence import effects_on
from oar_opt.member_room import Room
from oar_opt.problem import (
    Budget,
    Collective,
    FeatureAction,
    GoalKind,
    LabelAction,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.relabelling import relabelled
from oar_opt.rules import budget_violations
from oar_opt.signals import Prefixes, in_time
from oar_opt.standing import Best
from oar_opt.update_settings import gradient_update
from oar_opt.verification import move_violations

NAMES = (
    "feature_label_planting",
    "feature_only_signal",
    "gradient_neutralising",
    "influence",
    "rb_dist",
    "rb_label",
    "rb_prob",
)
RELABELLING = ("rb_dist", "rb_label", "rb_prob")

pytestmark = pytest.mark.usefixtures("trained_once")


def on_a_line(xs, ys, members, query=1.0, spec=None, goal="max_margin", **more):
    """Ridge without intercept on a line; members may report +."""
    return RecourseProblem(
        "line",
        Records(np.array(xs, float)[:, None], np.array(ys, float), np.ones(len(xs))),
        spec or LearnerSpec("ridge", alpha=1.0),
        Collective(tuple(Member(i, (LabelAction((1.0,)),)) for i in members), budget=more.pop("budget", Budget())),
        (Query("q", (query,), 1.0, required=more.pop("required", None)),),
        GoalKind(goal),
        classes=("-", "+"),
        **more,
    )


# -- influence ---


def test_a_relabelled_ridge_record_has_the_closed_forms_effect():
    """w = (2 - 3) / (4 + 9 + 1); with the second label w = 5/14: the change 6/14 is linear in the label."""
    problem = on_a_line([2, 3], [1, -1], [1])
    effects = effects_on(problem, problem.queries[0])
    assert effects.of(Move(1, (3.0,), 1.0, 1.0, 1.0)) == pytest.approx(6 / 14)


def test_a_moved_and_a_withheld_ridge_record_by_hand():
    """w = -1/14 and H = 28. Withholding (3, -): minus the pull 2 * 3 * (3 w + 1) = 66/14, so 66/14 / 28 more w.

    At x = 4 the pull is 8 (4 w + 1) = 80/14, so w falls by 14/14 / 28.
    """
    problem = on_a_line([2, 3], [1, -1], [1])
    effects = effects_on(problem, problem.queries[0])
    assert effects.of(Move(1, (3.0,), -1.0, 0.0, 1.0)) == pytest.approx(66 / 14 / 28)
    assert effects.of(Move(1, (4.0,), -1.0, 1.0, 1.0)) == pytest.approx(-1 / 28)


def test_one_gradient_steps_effect_of_a_sum_is_exact():
    problem = replace(
        line_example(LearnerSpec("logistic", C=1.0)), update=gradient_update([0.3], rate=0.25, reduction="sum")
    )
    before, effects = evaluate(problem, ()).objective, effects_on(problem, problem.queries[0])
    for move in Room.of(problem, problem.collective.members[0]).finite:
        assert effects.of(move) == pytest.approx(evaluate(problem, (move,)).objective - before)


def shared(problem, move, share):
    """The margin where a record is replaced to a share: two records, with the weights of before and after."""
    records, i = problem.records, move.record
    s = records.s.copy()
    s[i] *= 1 - share
    joined = Records(np.vstack([records.X, [move.x]]), np.append(records.y, move.y), np.append(s, share * move.s))
    alone = replace(problem, records=joined, collective=Collective(()))
    return evaluate(alone, ()).margins[0]


@pytest.mark.parametrize("kind", ["ridge", "logistic", "squared_hinge", "svm", "nearest_centroid", "steps"])
def test_effects_are_derivatives_in_the_share_of_the_move(make, kind):
    compared = 0
    for seed in range(4):
        base = make(seed, "ridge" if kind in ("nearest_centroid", "steps") else kind, "penalized", labels=True, n=12)
        if kind == "nearest_centroid":
            y = (base.records.y > 0) * 1.0
            menus = tuple(
                Member(m.record, (), tuple(replace(o, y=float(o.y > 0)) for o in m.menu))
                for m in base.collective.members
            )
            queries = (replace(base.queries[0], target=1.0),)
            records = Records(base.records.X, y, base.records.s)
            base = replace(
                base, records=records, learner=LearnerSpec(kind), collective=Collective(menus), queries=queries
            )
        if kind == "steps":
            base = replace(base, update=gradient_update([0.2, -0.1], 0.1, rate=0.1, T=3, l2=0.1, loss="logistic"))
        effects = effects_on(base, base.queries[0])
        for member in base.collective.members:
            for move in Room.of(base, member).finite:
                h = 1e-5
                slope = (shared(base, move, h) - shared(base, move, 0.0)) / h
                assert effects.of(move) == pytest.approx(slope, rel=2e-3, abs=2e-3), (seed, move)
                compared += abs(slope) > 1e-2
    assert compared >= 3


def test_influence_moves_along_the_slope_to_the_end_of_the_set():
    """dw/dx < 0 or > 0: w = -(1 + x)/(2 + x^2) rises with x at 1, so the member goes to 3/2."""
    example = line_with_room()
    (move,) = heuristics()["influence"].propose(example.problem).moves
    assert move.x == pytest.approx((1.5,))
    assert evaluate(example.problem, (move,)).objective == pytest.approx(example.optimum)


def test_the_cheapest_effect_comes_first_where_cost_is_the_goal():
    """w = (1 - 1 + 2) / (1 + 1 + 4 + 1) with either of two equal records relabelled: the cheap one is enough."""
    problem = on_a_line([1, 1, 2], [-1, -1, 1], [], goal="min_cost", required=0.25)
    members = (Member(0, (LabelAction((1.0,), 3.0),)), Member(1, (LabelAction((1.0,), 0.5),)))
    problem = replace(problem, collective=Collective(members))
    (move,) = heuristics()["influence"].propose(problem).moves
    assert move.record == 1


# -- gradient neutralising ---


def test_a_decoys_gradient_is_the_queries_pull_by_hand():
    """Share 1 of the weight 2 joins (1, +): w = (-1 - 1 + 2) / (1 + 1 + 2 + 1) = 0, whose gradient is 2 + 2 alone."""
    problem = on_a_line([1, 1], [-1, -1], [1])
    *_, last = decoys(problem)
    assert last.pulls.theta == pytest.approx([0.0], abs=1e-9)
    assert last.gradient == pytest.approx([4.0])
    assert last.shift((Move(1, (1.0,), 1.0, 1.0, 1.0),)) == pytest.approx(np.array([[-4.0]]))


def test_decoys_of_a_hinge_are_stationary_with_the_queries(make):
    """What is left is minus the query's own pull, within its bounds: C times its weight times [-1, 0]."""
    problem = make(3, "svm", "penalized", n=12)
    query, total = problem.queries[0], float(problem.records.s.sum())
    for share, decoy in zip((0.01, 0.03, 0.1, 0.3, 1.0), decoys(problem), strict=True):
        xhat = np.append(query.x, 1.0)
        size = float(decoy.gradient @ xhat / (xhat @ xhat)) * query.target
        assert decoy.gradient == pytest.approx(size * query.target * xhat, abs=1e-6)
        assert -1e-6 <= size <= share * total + 1e-6


def test_neutralising_relabels_on_the_line():
    problem = on_a_line([1, 1], [-1, -1], [1])
    (move,) = heuristics()["gradient_neutralising"].propose(problem).moves
    assert (move.record, move.y) == (1, 1.0)


# -- planting, features only ---


def test_planting_takes_the_copy_with_the_wanted_label():
    options = tuple(Option(OptionKind.MENU, (x,), y, 1.0, 1.0) for x, y in ((1.0, -1.0), (1.5, 1.0), (4.0, 1.0)))
    problem = replace(on_a_line([1, 3], [-1, -1], []), collective=Collective((Member(1, (), options),)))
    (move,) = heuristics()["feature_label_planting"].propose(problem).moves
    assert (move.x, move.y) == ((1.5,), 1.0)


def test_only_those_with_the_wanted_label_move_their_features():
    """Towards the query at 1 from 3, by 1/2 as far as they may; the record with - could move, too, and stays."""
    problem = on_a_line([1, 3, 3], [-1, 1, -1], [])
    actions = (FeatureAction(Norm.L2, 0.5),)
    problem = replace(problem, collective=Collective((Member(1, actions), Member(2, actions))))
    heuristic = heuristics()["feature_only_signal"]
    before, found = evaluate(problem, ()).objective, heuristic.propose(problem)
    assert [(move.record, move.x) for move in found.moves] in ([], [(1, (2.5,))])
    moved = Move(1, (2.5,), 1.0, 1.0, 0.5)
    assert bool(found.moves) == (evaluate(problem, (moved,)).objective > before)


# -- relabelling ---


@pytest.mark.parametrize(
    "name, expected", [("rb_label", [3, 4, 2, 1]), ("rb_prob", [4, 3, 2, 1]), ("rb_dist", [4, 3, 2, 1])]
)
def test_rankings_by_hand(name, expected):
    """w > 0: at 1 and 2 the label + is given, at -1 and -3 not; the nearest + is at 4."""
    problem = on_a_line([4, -3, -1, 1, 2], [1, -1, -1, -1, -1], [1, 2, 3, 4])
    assert evaluate(problem, ()).margins[0] > 0
    keys = heuristics()[name].keys(problem, 1.0, [1, 2, 3, 4])
    assert [i for _, i in sorted(zip(keys, [1, 2, 3, 4], strict=True))] == expected


def test_ranking_lists_no_feature_changes(monkeypatch):
    """They change no label, and with a crowd listing them takes longer than all else."""
    problem = on_a_line([4, -3], [1, -1], [1])
    (member,) = problem.collective.members
    moving = replace(member, actions=(FeatureAction(Norm.L2, 1.0), *member.actions))
    monkeypatch.setattr("oar_opt.changes.listed_options", None)
    move = relabelled(replace(problem, collective=Collective((moving,))), moving, 1.0)
    assert (move.record, move.x, move.y, move.s) == (1, (-3.0,), 1.0, 1.0)


def test_without_a_carrier_all_are_equally_far():
    problem = on_a_line([4, -3], [-1, -1], [0, 1])
    assert heuristics()["rb_dist"].keys(problem, 1.0, [0, 1]) == [(np.inf,), (np.inf,)]


def test_the_first_member_is_asked_however_late_it_is():
    members = tuple(Member(i) for i in range(3))
    assert list(in_time(members, time.monotonic() - 1)) == [members[0]]
    assert list(in_time(members, time.monotonic() + 100)) == list(members) and not list(in_time((), 0.0))


# -- all ---


@pytest.mark.parametrize("name", NAMES)
def test_never_better_than_the_enumerated_optimum(name, make_small):
    heuristic, applied, moved = heuristics()[name], 0, 0
    for seed in range(24):
        kind = ("ridge", "svm", "logistic", "squared_hinge")[seed % 4]
        goal = tuple(GoalKind)[(seed // 4) % 4]
        problem = make_small(seed, kind, "penalized", goal)
        if heuristic.accepts(problem) is not None:
            continue
        moves = heuristic.propose(problem, seed=seed, time_limit=20.0).moves
        assert not budget_violations(problem, moves) and not move_violations(problem, moves), seed
        applied, moved = applied + 1, moved + bool(moves)
        outcome, best = evaluate(problem, moves), enumerate_choices(problem).best
        if outcome.is_answer:
            assert best is not None and not outcome.exceeds(best, 1e-6), seed
    assert applied >= 3 and moved >= 1


@pytest.mark.parametrize("name", NAMES)
def test_random_rules_are_obeyed(name, random_rules):
    heuristic, applied = heuristics()[name], 0
    for seed in range(8):
        kind = ("ridge", "svm", "nearest_centroid")[seed % 3]
        problem = random_rules(seed, kind, tuple(GoalKind)[seed % 4], members=3, queries=2, others=seed % 2 == 0)
        if heuristic.accepts(problem) is not None:
            continue
        first, second = (heuristic.propose(problem, seed=1, time_limit=20.0).moves for _ in range(2))
        assert first == second
        assert not budget_violations(problem, first) and not move_violations(problem, first), seed
        applied += 1
    assert applied >= 2


def test_relabelling_changes_labels_only(make):
    for name in RELABELLING:
        for seed in range(8):
            problem = make(seed, labels=True, members=3)
            if heuristics()[name].accepts(problem) is None:
                for move in heuristics()[name].propose(problem).moves:
                    assert move.x == tuple(problem.records.X[move.record]) and move.s == problem.records.s[move.record]


@pytest.mark.parametrize("name, words", [("influence", "linear program"), ("gradient_neutralising", "linear program")])
def test_linear_programs_are_refused(name, words, make):
    assert words in heuristics()[name].accepts(make(0, "l1_svm"))


def test_what_the_others_refuse(make):
    for name in RELABELLING:
        assert "targets are numbers" in heuristics()[name].accepts(make(0, regression=True))
        assert "may report" in heuristics()[name].accepts(on_a_line([1, 2], [-1, 1], []))
    assert "carries a wanted label" in heuristics()["feature_only_signal"].accepts(on_a_line([1, 2], [-1, 1], [0]))
    steps = replace(on_a_line([1, 2], [-1, 1], [0]), update=gradient_update([0.0], rate=0.1))
    assert "does not go to an optimum" in heuristics()["gradient_neutralising"].accepts(steps)
    unheard = replace(on_a_line([1, 2], [-1, 1], [0]), learner=LearnerSpec("unheard-of"))
    for name in NAMES:
        assert "cannot be re-trained" in heuristics()[name].accepts(unheard)


def test_many_prefixes_end_at_the_best_one():
    """Relabelling 100 equal records one by one: the 37th reaches the required margin, w = (2 m - 100) / 101."""
    problem = on_a_line([1] * 100, [-1] * 100, range(100), goal="min_members", required=(2 * 37 - 100) / 101 + 0.3)
    order = [Move(i, (1.0,), 1.0, 1.0, 1.0) for i in range(100)]
    needed = next(m for m in range(101) if (2 * m - 100) / 101 >= problem.queries[0].required - 1e-6)
    best = Best(problem)
    prefixes = Prefixes.of(best, order, np.inf)
    prefixes.run()
    assert len(best.moves) == needed and len(prefixes.standings) < 60
