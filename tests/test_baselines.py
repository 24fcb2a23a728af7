"""The baselines of comparison: by hand, against brute force, and every rule obeyed on random instances."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from oar_opt import alone
from oar_opt.alone import Evidence
from oar_opt.contracts import line_with_room
from oar_opt.discovery import heuristics, learners
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.feature_search import CROWD
from oar_opt.heuristics.random_moves import MOST_DRAWS, _Draws
from oar_opt.problem import (
    Budget,
    Collective,
    FeatureAction,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Member,
    Norm,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.rules import budget_violations
from oar_opt.signals import worst_off
from oar_opt.standing import UNDEFINED, Best, standing, tried
from oar_opt.update_settings import gradient_update, running_centroid_update
from oar_opt.verification import move_violations

BASELINES = ("independent", "isolated", "nearest_members", "random_moves")
FLIP = (LabelAction((1.0,)),)

pytestmark = pytest.mark.usefixtures("trained_once")


def problem_of(X, y, members, queries, *, kind="ridge", goal=GoalKind.MAX_MARGIN, s=None, budget=None, **traits):
    """Ridge with alpha 1 and no intercept, or another learner; ``queries`` are points that want +1."""
    X = np.array(X, dtype=float)
    X = X[:, None] if X.ndim == 1 else X
    spec = LearnerSpec(kind, alpha=1.0) if kind == "ridge" else LearnerSpec(kind)
    points = [tuple(np.atleast_1d(x).astype(float).tolist()) for x in queries]
    required = traits.pop("required", None)
    return RecourseProblem(
        "by-hand",
        Records(X, np.array(y, dtype=float), np.ones(len(y)) if s is None else np.array(s, dtype=float)),
        spec,
        Collective(tuple(members), budget=budget or Budget()),
        tuple(Query(f"q{k}", x, 1.0, required=required) for k, x in enumerate(points)),
        goal,
        classes=traits.pop("classes", ("a", "b")),
        **traits,
    )


def option(x, y=1.0, s=1.0, cost=1.0):
    return Option(OptionKind.MENU, tuple(np.atleast_1d(x).astype(float).tolist()), y, s, cost)


def proposed(name, problem, *, seed=0, time_limit=20.0):
    """The proposal of a baseline and its outcome; every rule is obeyed."""
    heuristic = heuristics()[name]
    assert heuristic.accepts(problem) is None and not heuristic.starts
    proposal = heuristic.propose(problem, seed=seed, time_limit=time_limit)
    assert not budget_violations(problem, proposal.moves), (name, problem.name)
    assert not move_violations(problem, proposal.moves), (name, problem.name)
    assert len({move.record for move in proposal.moves}) == len(proposal.moves)
    return proposal, tried(problem, proposal.moves)


def acting(name, problem, **more):
    return [move.record for move in proposed(name, problem, **more)[0].moves]


# -- who only together, who as well alone ---


def two_sides(**traits):
    """Each of two members at e_1 and e_2 decides the weight of its own axis: -1/2, or 1/2 after a new label."""
    return problem_of(np.eye(2), [-1, -1], [Member(0, FLIP), Member(1, FLIP)], np.eye(2), **traits)


def test_members_that_help_only_together_do_nothing_alone():
    problem = two_sides()
    joint = evaluate(problem, [move for one in (0, 1) for move in _flips(problem, one)])
    assert joint.objective == pytest.approx(0.5)
    for name in ("isolated", "independent"):
        proposal, outcome = proposed(name, problem)
        assert proposal.moves == () and outcome.objective == pytest.approx(-0.5)
    assert "nobody gains" in proposed("isolated", problem)[0].remark
    assert "each of 2 members by itself solved to optimality" in proposed("isolated", problem)[0].remark


def _flips(problem, record):
    from oar_opt.member_room import Room

    return Room.of(problem, problem.member_at[record]).finite


@pytest.fixture
def locally(monkeypatch):
    """Calls have no time for any program, but enough for local searches."""

    def only(is_local):
        monkeypatch.setattr(alone, "SOLVE_SECONDS", np.inf if is_local else 0.0)

    return only


@pytest.mark.parametrize("evidence", [Evidence.SOLVED, Evidence.LOCAL])
def test_independent_is_joint_where_all_pull_one_centroid_to_the_query(locally, evidence):
    """Class a at 0; two members of class b at 4 with radius 1; the query at 1: 1 - 9 as it is, 1 - 6.25 by one
    member, 1 - 4 by both, and no move does better."""
    members = [Member(2, (FeatureAction(Norm.L2, 1.0),)), Member(3, (FeatureAction(Norm.L2, 1.0),))]
    problem = problem_of([0, 0, 4, 4], [0, 0, 1, 1], members, [1.0], kind="nearest_centroid")
    assert evaluate(problem, ()).objective == pytest.approx(-8.0)
    locally(evidence is Evidence.LOCAL)
    isolated = proposed("isolated", problem)[1]
    independent, outcome = proposed("independent", problem)
    assert isolated.objective == pytest.approx(-5.25, abs=1e-6)
    assert outcome.objective == pytest.approx(-3.0, abs=1e-6)
    assert evidence.words in independent.remark


def test_what_one_member_does_with_its_features_is_the_worked_optimum(locally):
    example = line_with_room()
    proposal, outcome = proposed("isolated", example.problem)
    assert outcome.objective == pytest.approx(example.optimum, abs=1e-6)
    assert proposal.remark == "member 1 alone; each of 1 members by itself solved to optimality"
    locally(True)
    found = alone.each_alone(example.problem, time_limit=20.0)
    assert found.words == "1 of 1 members by a local search only" and not found.found[0].is_proved
    assert evaluate(example.problem, found.found[0].moves).objective == pytest.approx(example.optimum, abs=1e-5)


@pytest.mark.parametrize("required, x", [(0.45, (1 - np.sqrt(0.19)) / 0.9), (0.6, 1.0)])
def test_a_change_costs_no_more_than_the_goal_takes_else_it_gives_the_largest_margin(required, x):
    """One record (1/2, +) that may move by 1/2: w = x / (x^2 + 1) rises up to x = 1, where it is 1/2."""
    member = Member(0, (FeatureAction(Norm.L2, 0.5),))
    problem = problem_of([0.5], [1], [member], [1.0], goal=GoalKind.MIN_COST, required=required)
    for name in ("isolated", "independent"):
        proposal, outcome = proposed(name, problem)
        assert proposal.moves[0].x[0] == pytest.approx(x, abs=1e-3) and outcome.is_answer == (required < 0.5)
        assert proposal.remark.endswith("each of 1 members by itself solved to optimality")


def test_options_beside_features_count_too(locally):
    """A new label gives w = 0, which no move of the feature does."""
    problem = line_with_room().problem
    member = replace(problem.collective.members[0], actions=(FeatureAction(Norm.L2, 0.5), *FLIP))
    problem = replace(problem, collective=Collective((member,)))
    for is_local in (False, True):
        locally(is_local)
        proposal, outcome = proposed("isolated", problem)
        assert outcome.objective == pytest.approx(0.0) and proposal.moves[0].y == 1.0


# -- goals ---


@pytest.mark.parametrize("required, cost", [(0.1, 1.0), (0.5, 5.0), (0.95, 5.0)])
def test_a_member_takes_the_cheapest_of_what_reaches_the_goal_else_the_largest_margin(required, cost):
    """w = x y / (x^2 + 1): 0.2 / 1.04 = 0.192 at 0.2 for 1, and 1/2 at 1 for 5."""
    member = Member(0, (), (option(0.2, cost=1.0), option(1.0, cost=5.0), option(0.1, cost=0.5)))
    problem = problem_of([1.0], [-1], [member], [1.0], goal=GoalKind.MIN_COST, required=required)
    for name in ("isolated", "independent"):
        proposal, outcome = proposed(name, problem)
        assert [move.cost for move in proposal.moves] == [cost]
        assert outcome.is_answer == (required <= 0.5)


@pytest.mark.parametrize("required, count", [(0.2, 2), (0.7, 3), (0.9, 3)])
def test_independent_members_stop_joining_when_the_answer_is_reached(required, count):
    """w is (flips - still) / 4 for three members at 1: -3/4, -1/4, 1/4, 3/4."""
    members = [Member(i, FLIP) for i in range(3)]
    problem = problem_of([1, 1, 1], [-1, -1, -1], members, [1.0], goal=GoalKind.MIN_MEMBERS, required=required)
    proposal, outcome = proposed("independent", problem)
    assert [move.record for move in proposal.moves] == list(range(count))
    assert outcome.is_answer == (required < 0.75)
    assert proposal.remark.startswith("3 of 3 members would act alone; each of 3 members")


def test_whoever_the_budget_does_not_pay_for_is_passed_over():
    """The same gain by acting for each, at the costs 2, 2 and 1: of 3 the first and the third are paid."""
    members = [Member(i, (LabelAction((1.0,), cost),)) for i, cost in enumerate((2.0, 2.0, 1.0))]
    problem = problem_of([1, 1, 1], [-1, -1, -1], members, [1.0], budget=Budget(total=3.0))
    assert acting("independent", problem) == [0, 2]
    assert acting("independent", replace(problem, collective=Collective(tuple(members), budget=Budget(members=1)))) == [
        0
    ]
    assert acting("nearest_members", problem) == [0, 2]


def test_no_gain_is_sought_where_all_queries_are_helped():
    problem = problem_of([1, 1], [1, -1], [Member(1, FLIP)], [1.0], goal=GoalKind.MAX_HELPED, required=0.1)
    assert acting("isolated", problem) == [1]
    helped = replace(problem, records=Records(problem.records.X * 1.0, np.array([1.0, 1.0]), np.ones(2)))
    member = Member(1, (), (option(1.0, s=2.0),))
    assert acting("isolated", replace(helped, collective=Collective((member,)))) == []


def test_more_helped_queries_come_before_a_larger_margin():
    """The first option helps one axis by its label, the second one raises the other axis only from -1/2 to -0.4."""
    own = Member(0, (), (option((0.5, 0.0), -1.0), option((1.0, 0.0), 1.0)))
    problem = problem_of(np.eye(2), [-1, -1], [own], np.eye(2), goal=GoalKind.MAX_HELPED, required=0.3)
    proposal, outcome = proposed("isolated", problem)
    assert proposal.moves[0].y == 1.0 and outcome.objective == 1.0


def test_moves_that_together_leave_a_class_empty_are_not_all_made():
    """Class a at 0 and 2, class b at 10, the query at 4: -27 as it is, 3 without record 0, 12 without record 1."""
    members = [Member(i, FLIP) for i in range(2)]
    problem = problem_of([0, 2, 10], [0, 0, 1], members, [4.0], kind="nearest_centroid")
    proposal, outcome = proposed("independent", problem)
    assert [move.record for move in proposal.moves] == [1] and outcome.objective == pytest.approx(12.0)
    assert proposed("isolated", problem)[1].objective == pytest.approx(12.0)
    assert standing(tried(problem, [move for i in range(2) for move in _flips(problem, i)])) == UNDEFINED


# -- against brute force ---


def by_brute_force(problem, moves_of, most=99):
    """All outcomes of at most so many members, by moves that are listed independently."""
    found = []
    for _, moves in moves_of(problem):
        if len(moves) <= most:
            try:
                found.append(evaluate(problem, moves))
            except UndefinedLearner:
                continue
    return found


@pytest.mark.parametrize("seed", range(32))
def test_isolated_is_the_best_single_member_and_the_joint_optimum_no_worse(make_varied, make_small, moves_of, seed):
    """Among them linear programs and free intercepts, whose ties the position settles by the goal."""
    tied = make_small(seed, ("lad", "l1_svm")[seed % 2], "free", list(GoalKind)[seed % 4])
    problem = make_varied(seed) if seed < 24 else tied
    proposal, outcome = proposed("isolated", problem)
    assert "solved to optimality" in proposal.remark or not problem.collective.members
    singles = [one for one in by_brute_force(problem, moves_of, 1) if one.is_answer]
    sign = 1 if problem.goal.maximises else -1
    if singles:
        best = max(sign * one.objective for one in singles)
        assert outcome.is_answer and sign * outcome.objective == pytest.approx(best, abs=1e-9)
        joint = max(sign * one.objective for one in by_brute_force(problem, moves_of) if one.is_answer)
        assert joint >= best - 1e-9
    else:
        assert not outcome.is_answer
    stays = tried(problem, ())
    if stays is not None and stays.is_answer:
        assert sign * outcome.objective >= sign * stays.objective


@pytest.mark.parametrize("seed", range(0, 24, 3))
def test_where_no_single_member_reaches_the_goal_it_gives_the_largest_margin(make_varied, moves_of, seed):
    problem = make_varied(seed)
    if problem.goal.maximises:
        problem = replace(problem, goal=GoalKind.MIN_COST)
    problem = replace(problem, queries=tuple(replace(q, required=50.0) for q in problem.queries))
    as_margin = replace(problem, goal=GoalKind.MAX_MARGIN)
    answers = [one.objective for one in by_brute_force(as_margin, moves_of, 1) if one.is_answer]
    outcome = tried(as_margin, proposed("isolated", problem)[0].moves)
    assert answers == [] or outcome.objective == pytest.approx(max(answers), abs=1e-9)


def test_independent_joins_what_each_would_do_alone(make_varied):
    for seed in range(24):
        problem = make_varied(seed)
        own = {move for one in alone.each_alone(problem, time_limit=20.0).found for move in one.moves}
        moves = proposed("independent", problem)[0].moves
        assert set(moves) <= own
        budget = problem.collective.budget
        if problem.goal.maximises and budget.total is None and budget.members is None and tried(problem, tuple(own)):
            assert set(moves) == own


# -- nearest members ---


def test_members_imitate_the_query_with_the_wanted_label_and_the_nearest_first():
    """From the query at 1: record 1 at 1.5 has the wanted label and may come as near as 0.75; record 0 at 3 may report
    the label; record 2 cannot have it; record 3 has no weight and may join."""
    members = [
        Member(0, FLIP, (option(1.0, y=-1.0),)),
        Member(1, (), (option(2.5), option(0.75, cost=3.0), option(1.25, cost=2.0), option(1.0, s=0.0))),
        Member(2, (FeatureAction(Norm.L2, 1.0),)),
        Member(3, (), (option(1.0, s=0.5),)),
    ]
    problem = problem_of([3, 1.5, 1.2, 0.0], [-1, 1, -1, 1], members, [1.0], s=[1, 1, 1, 0])
    for cap, records in ((1, {1}), (2, {1, 3}), (3, {0, 1, 3})):
        capped = replace(problem, collective=replace(problem.collective, budget=Budget(members=cap)))
        proposal, outcome = proposed("nearest_members", capped)
        assert {move.record for move in proposal.moves} <= records
        prefixes = [tried(capped, proposal_of(problem, order)) for order in ((), (1,), (1, 3), (1, 3, 0))[: cap + 1]]
        assert outcome.objective == pytest.approx(max(one.objective for one in prefixes))
    assert proposed("nearest_members", problem)[0].remark.endswith("3 of 3 prefixes re-trained")


def proposal_of(problem, order):
    """The imitations of the test above: 1.25 and not 0.75 since it is as near and cheaper."""
    wanted = {0: (3.0, 1.0), 1: (1.25, 1.0), 3: (1.0, 0.5)}
    return [m for i in order for m in _flips(problem, i) if (m.x[0], m.s) == wanted[i] and m.y == 1.0]


def test_a_change_goes_as_near_to_the_query_as_the_set_allows():
    member = Member(0, (FeatureAction(Norm.L2, 0.5),))
    problem = problem_of([[4.0, 5.0], [0.0, 1.0]], [1, -1], [member], [(1.0, 1.0)])
    move = proposed("nearest_members", problem)[0].moves[0]
    assert move.x == pytest.approx((4 - 0.3, 5 - 0.4))


def test_of_several_queries_the_worst_off_is_imitated():
    """The weights are 1/2 and -1/2; where margins are required, what each lacks of its own."""
    problem = problem_of(np.eye(2), [1, -1], [Member(1, FLIP)], np.eye(2))
    assert worst_off(problem).name == "q1"
    queries = (replace(problem.queries[0], required=9.0), replace(problem.queries[1], required=1.0))
    assert worst_off(replace(problem, queries=queries)).name == "q1"
    assert worst_off(replace(problem, queries=queries, goal=GoalKind.MAX_HELPED)).name == "q0"


def test_for_regression_the_target_is_near_to_what_is_wanted():
    """The query at 1 wants at least 3: a target of 3 or more lacks nothing, so the nearest x decides among those."""
    member = Member(1, (), (option(1.0, y=1.0), option(1.2, y=9.0), option(1.1, y=3.5), option(2.0, y=4.0)))
    query = Query("q", (1.0,), 1.0, threshold=3.0)
    problem = problem_of([1.0, 1.0], [0.0, 0.0], [member], [1.0], classes=None)
    proposal, _ = proposed("nearest_members", replace(problem, queries=(query,)))
    assert [(move.x, move.y) for move in proposal.moves] == [((1.1,), 3.5)]


# -- random moves ---


def some_draws(problem, seed, count=40):
    draws = _Draws(problem, seed, np.inf)
    return [draws.next() for _ in range(count)]


def test_random_moves_repeat_with_their_seed(random_rules):
    for seed in range(3):
        problem = random_rules(seed, "ridge", members=4, others=True)
        assert some_draws(problem, 5) == some_draws(problem, 5) != some_draws(problem, 6)
    problem = two_sides()
    first, again = (proposed("random_moves", problem, seed=3)[0] for _ in range(2))
    assert first == again and first.remark == f"the best of {MOST_DRAWS} random draws"


def test_random_draws_stay_within_budgets_and_rules(random_rules):
    sizes = set()
    for seed in range(20):
        problem = random_rules(seed, "ridge", members=4, others=True)
        if problem.collective.budget.members == 0:
            continue
        for moves in some_draws(problem, seed, 10):
            assert not budget_violations(problem, moves) and not move_violations(problem, moves)
            sizes.add(len(moves))
    assert sizes == {0, 1, 2, 3, 4}


def test_random_moves_find_the_best_of_few_and_know_when_to_stay():
    assert proposed("random_moves", two_sides())[1].objective == pytest.approx(0.5)
    harmful = problem_of([1, 1], [1, 1], [Member(1, (LabelAction((-1.0,)),))], [1.0])
    proposal, _ = proposed("random_moves", harmful)
    assert proposal.moves == () and proposal.remark.endswith("nobody acts")


def test_random_changes_reach_the_boundary_in_all_directions():
    member = Member(0, (FeatureAction(Norm.L2, 0.5),))
    problem = problem_of([[0.0, 0.0], [1.0, 0.0]], [1, -1], [member], [(1.0, 1.0)])
    seen = np.array([move.x for moves in some_draws(problem, 0, 200) for move in moves])
    lengths, signs = np.linalg.norm(seen, axis=1), {tuple(x) for x in np.sign(seen)}
    assert len(seen) == 200 and (lengths <= 0.5 + 1e-9).all() and len(signs) == 4
    assert 70 < (lengths > 0.5 - 1e-9).sum() < 130 and lengths.min() < 0.05


# -- rules, learners, updates and limits ---


@pytest.mark.parametrize("name", BASELINES)
def test_every_rule_is_obeyed_for_all_goals(random_rules, name):
    kinds, acted = ("ridge", "svm", "nearest_centroid"), 0
    for seed in range(8):
        goal = list(GoalKind)[seed % 4]
        problem = random_rules(seed, kinds[seed % 3], goal, members=3, queries=1 + seed % 2, others=seed % 3 > 0)
        acted += len(proposed(name, problem, seed=seed, time_limit=0.05)[0].moves)
    assert acted > 3


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("kind", ["logistic", "huber", "epsilon_insensitive", "l1_svm", "lad", "squared_hinge"])
def test_every_learner_is_compared(make_small, name, kind):
    problem = make_small(3, kind, "penalized", "max_helped")
    assert proposed(name, problem)[1].is_answer or not tried(problem, ()).is_answer


@pytest.mark.parametrize("name", BASELINES)
def test_members_act_when_their_records_arrive(name):
    """One step of logistic loss from 0 with rate 1: w = mean of y x / 2, so -1/2 and, with one label turned, 0."""
    spec = LearnerSpec("logistic", Intercept.NONE, C=1.0)
    problem = problem_of([1, 1], [-1, -1], [Member(1, FLIP)], [1.0])
    problem = replace(problem, learner=spec, update=gradient_update([0.0], rate=1.0))
    assert evaluate(problem, ()).objective == pytest.approx(-0.5)
    assert proposed(name, problem)[1].objective == pytest.approx(0.0)


@pytest.mark.parametrize("name", BASELINES)
def test_running_centroids_are_replayed(name):
    """Centroids start at 0 and 4, a rate of 1/2: record 3 as class b draws it to 3.5, as class a 0 to 1.5."""
    update = running_centroid_update(rate=0.5, centroids={"a": (0.0,), "b": (4.0,)})
    member = Member(0, (*FLIP, WithholdAction()))
    problem = problem_of([3.0], [0], [member], [2.0], kind="nearest_centroid", update=update)
    assert evaluate(problem, ()).objective == pytest.approx(0.25 - 4.0)
    assert proposed(name, problem)[1].objective == pytest.approx(4.0 - 2.25)


@pytest.mark.parametrize("name", BASELINES)
def test_a_learner_that_cannot_be_trained_is_refused_with_the_reason(name):
    problem = replace(two_sides(), learner=LearnerSpec("perceptron"))
    assert "cannot be re-trained" in heuristics()[name].accepts(problem)


@pytest.mark.parametrize("name", BASELINES)
def test_nobody_acts_where_nobody_may(name):
    for traits in ({"budget": Budget(members=0)}, {"budget": Budget(each=0.5)}):
        assert proposed(name, two_sides(**traits))[0].moves == ()
    assert proposed(name, replace(two_sides(), collective=Collective(())))[0].moves == ()


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("actions", [FLIP, (FeatureAction(Norm.L2, 0.5), *FLIP)])
def test_a_crowd_is_over_in_time_and_the_remark_says_what_was_left_out(name, actions):
    draw = np.random.default_rng(0)
    k, X = 2000, draw.normal(size=(2000, 4))
    members = [Member(i, actions) for i in range(k)]
    problem = problem_of(X, np.where(X[:, 0] > 0, 1.0, -1.0), members, [(1.0,) * 4], budget=Budget(total=20.0))
    started = time.monotonic()
    proposal, outcome = proposed(name, problem, time_limit=0.2)
    assert time.monotonic() - started < 5
    if name in ("isolated", "independent"):
        asked = CROWD if actions is FLIP else 8
        assert f"of {k} members only the {asked} that matter the most" in proposal.remark
        assert outcome.objective > tried(problem, ()).objective


# -- standings ---


def test_answers_stand_before_all_others_and_those_by_what_they_lack():
    problem = two_sides(goal=GoalKind.MIN_MEMBERS, required=0.3)
    both = [move for i in range(2) for move in _flips(problem, i)]
    assert standing(tried(problem, both)) == (0.0, -2.0)
    assert standing(tried(problem, both[:1])) == pytest.approx((-1.8, 0.0), abs=1e-5)
    assert standing(None) == UNDEFINED < standing(tried(problem, ()))
    best = Best(problem)
    for moves in (both[:1], both, ()):
        best.look(tuple(moves))
    assert best.moves == tuple(both) and best.standing == (0.0, -2.0)


def test_what_re_training_does_not_settle_stands_between_answers_and_others(monkeypatch):
    problem = two_sides(goal=GoalKind.MIN_MEMBERS, required=0.3)
    both = [move for i in range(2) for move in _flips(problem, i)]
    answer, short = tried(problem, both), tried(problem, both[:1])
    monkeypatch.setattr(Evaluation, "inaccuracy", 1.0)
    assert standing(answer) == (-0.5, -2.0) and standing(short)[0] < -1


def test_the_present_model_is_trained_once_for_all(monkeypatch):
    problem, learner = two_sides(), learners()["ridge"]
    fits, fit = [], learner.fit
    monkeypatch.setattr(learner, "fit", lambda *given: fits.append(given) or fit(*given))
    assert tried(problem, ()).margins == evaluate(problem, ()).margins == tried(problem, ()).margins
    assert len(fits) == 1
