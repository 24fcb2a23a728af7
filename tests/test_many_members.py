"""What is done for all members at once says what is done for each, and takes no more than a moment for many."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from oar_opt.answer_document import answer_document
from oar_opt.changes import change_sets
from oar_opt.errors import InputError
from oar_opt.evaluate import choices, count_choices, evaluate
from oar_opt.feature_search import leading_members
from oar_opt.heuristics.local_search import LocalSearch
from oar_opt.heuristics.projected_gradient import ProjectedGradient, improve
from oar_opt.json_text import json_text
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Feature,
    FeatureAction,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.result import Claim, StoppedBy
from oar_opt.rules import budget_violations
from oar_opt.solution_file import Seconds
from oar_opt.update_settings import gradient_update
from oar_opt.verification import check_answer, move_violation, move_violations

ACTIONS = (FeatureAction(Norm.L2, 0.5),)


def crowd(members, d=5, actions=ACTIONS, **more):
    """As many records as members, all with the same actions; one logistic step."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(members, d))
    return RecourseProblem(
        "crowd",
        Records(X, np.where(X[:, 0] > 0, 1.0, -1.0), np.ones(members)),
        LearnerSpec("logistic", Intercept.PENALIZED, C=1.0),
        Collective(tuple(Member(i, actions) for i in range(members))),
        (Query("q", (1.0,) * d, 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        update=gradient_update([0.1] * d, rate=0.1),
        **more,
    )


def shifted(problem, count, length=0.4):
    """Moves of the first members in random directions."""
    draw = np.random.default_rng(1)
    delta = draw.normal(size=(count, problem.d))
    after = problem.records.X[:count] + length * delta / np.linalg.norm(delta, axis=1, keepdims=True)
    costs = np.linalg.norm(after - problem.records.X[:count], axis=1)
    return tuple(
        Move(i, tuple(x), float(problem.records.y[i]), 1.0, float(cost))
        for i, (x, cost) in enumerate(zip(after.tolist(), costs, strict=True))
    )


def stated(problem, moves):
    outcome = evaluate(problem, moves)
    claim = Claim(StoppedBy.GAP, moves, outcome.objective, outcome.objective, solver="none")
    return answer_document(problem, "none", claim, outcome, outcome.objective, Seconds(build=0, solve=0, verify=0))


# -- the same as one by one ---


def test_moves_are_allowed_together_where_each_is(random_rules):
    """Changes within, at and beyond the rules, with wrong costs, labels and weights; rules of all kinds."""
    allowed = refused = 0
    for seed in range(30):
        problem, draw = random_rules(seed, "ridge", GoalKind.MAX_MARGIN, members=3, more=3), np.random.default_rng(seed)
        moves = []
        for member in problem.collective.members:
            for one in change_sets(problem, member):
                for stretch in (0.3, 0.99, 1.0 + 5e-7, 1.0 + 5e-6, 1.5):
                    for delta in (stretch * one.upper, stretch * one.lower, draw.uniform(one.lower, one.upper)):
                        move = Move(one.record, tuple(one.x + delta), one.y, one.s, one.cost(delta))
                        moves += [move, replace(move, cost=move.cost + 1e-3)]
                        moves += [replace(move, y=-move.y), replace(move, s=0.5 * move.s)]
        one_by_one = [text for move in moves if (text := move_violation(problem, move))]
        assert move_violations(problem, moves) == one_by_one, seed
        allowed, refused = allowed + len(moves) - len(one_by_one), refused + len(one_by_one)
    assert allowed > 50 and refused > 500


@pytest.mark.parametrize("cost", list(CostKind))
@pytest.mark.parametrize("norm", list(Norm))
def test_every_norm_and_cost_counts_as_for_one(norm, cost):
    problem = crowd(40, actions=(FeatureAction(norm, 0.6, 0.25),))
    features = tuple(Feature(f"x{j}", lower=-1.0, upper=1.5, scale=0.5 + j) for j in range(5))
    problem = replace(problem, collective=replace(problem.collective, cost=cost), features=features)
    draw, moves = np.random.default_rng(2), []
    for i in range(40):
        delta = draw.normal(size=5) * problem.scales * draw.choice([0.1, 0.3, 0.6])
        after = np.clip(problem.records.X[i] + delta, -1.05, 1.55)
        due = 0.25 + cost.of((after - problem.records.X[i]) / problem.scales)
        moves.append(Move(i, tuple(after.tolist()), float(problem.records.y[i]), 1.0, due + draw.choice([0.0, 1e-4])))
    one_by_one = [text for move in moves if (text := move_violation(problem, move))]
    assert move_violations(problem, moves) == one_by_one
    assert 5 < len(one_by_one) < 40
    rows = draw.normal(size=(7, 5))
    assert cost.of_rows(rows) == pytest.approx([cost.of(row) for row in rows], rel=1e-14)


def test_actions_that_members_share_are_checked_and_others_too():
    wrong = (FeatureAction(Norm.L2, -1.0),)
    with pytest.raises(InputError, match=r"collective.actions \(member 0\).radius: is negative"):
        crowd(5, actions=wrong)
    problem = crowd(5)
    members = (*problem.collective.members[:3], Member(3, wrong), Member(4, (LabelAction((2.0,)),)))
    with pytest.raises(InputError, match=r"member 3\).radius"):
        replace(problem, collective=Collective(members))
    with pytest.raises(InputError, match=r"member 4\).to: is 2, which codes no class"):
        replace(problem, collective=Collective((*members[:3], members[4])))
    with pytest.raises(InputError, match=r"members\[1\]: record 0 is a member twice"):
        replace(problem, collective=Collective((Member(0, ACTIONS), Member(0, ACTIONS))))
    with pytest.raises(InputError, match=r"members\[1\]: record 5 does not exist"):
        replace(problem, collective=Collective((Member(0, ACTIONS), Member(5, ACTIONS))))


def test_moves_that_are_none_of_the_collectives_are_said():
    problem = crowd(30)
    solution = stated(problem, shifted(problem, 3))
    assert check_answer(problem, solution).passed
    twice = solution.model_copy(update={"moves": (*solution.moves, solution.moves[1])})
    assert "member 1 moves twice" in check_answer(problem, twice).failures()[0]
    others = replace(problem, collective=Collective(problem.collective.members[1:]))
    assert "record 0 is no member" in check_answer(others, solution).failures()[0]


def test_numbers_are_written_as_json_writes_them():
    for value in (0.1, -0.0, 5e-324, 1.7976931348623157e308, -1 / 3, 1e22, 12345678.9, -2.5e-7):
        assert json_text({"a": value}) == f'{{\n  "a": {json.dumps(value)}\n}}\n'
    long = [[0.5] * 20, list(range(60)), {f"k{j}": j for j in range(40)}]
    assert json.loads(json_text({"long": long})) == {"long": long}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": float("nan")})


# -- a moment ---


def test_verifying_twenty_thousand_members_takes_a_moment():
    """Before, every move looked through all members, and every member's changes were listed."""
    problem = crowd(20_000)
    moves = shifted(problem, 2_000)
    solution = stated(problem, moves)
    begin = time.process_time()
    fresh = crowd(20_000)
    assert not fresh.is_menu_problem
    assert check_answer(fresh, solution).passed
    assert len(fresh.options(fresh.collective.members[7])) == 1
    assert time.process_time() - begin < 2.0


def test_in_a_crowd_those_search_on_whom_the_queries_depend():
    """Of 700 members 500 arrive; and those of the others' changes that are given are kept."""
    problem = crowd(700)
    arriving = gradient_update([0.1] * 5, rate=0.1, batches=[range(100, 600)])
    problem = replace(problem, update=arriving)
    assert [member.record for member in leading_members(problem)] == list(range(100, 600))
    outcome = improve(problem, {3: np.full(5, 0.1), 100: np.full(5, -0.1)}, time_limit=2.0)
    assert {move.record for move in outcome.moves} <= {3, 100}
    assert outcome.objective > evaluate(problem, ()).objective
    few = replace(problem, collective=Collective(problem.collective.members[:500]))
    assert leading_members(few) == few.collective.members


@pytest.mark.parametrize("budget", [Budget(), Budget(total=2.5), Budget(members=3)], ids=str)
def test_searches_among_ten_thousand_members_end_in_time(budget):
    """What they have by then obeys every rule and harms nobody; a busy machine may leave them nothing."""
    choices = (LabelAction((1.0, -1.0)), WithholdAction())
    for heuristic, actions in ((LocalSearch(), choices), (ProjectedGradient(), ACTIONS)):
        problem = crowd(10_000, actions=actions)
        problem = replace(problem, collective=replace(problem.collective, budget=budget))
        begin = time.process_time()
        assert heuristic.accepts(problem) is None
        moves = heuristic.propose(problem, time_limit=0.1).moves
        assert time.process_time() - begin < 1.0
        assert not budget_violations(problem, moves) and not move_violations(problem, moves)
        assert evaluate(problem, moves).objective >= evaluate(problem, ()).objective


@pytest.mark.parametrize("weight", [1e-7, 1.0 - 1e-7])
def test_a_weight_close_to_an_options_is_another(weight):
    """A record of weight 1e-7 is not withheld: of a class that is all withheld it would still make a learner."""
    problem = crowd(5, actions=(WithholdAction(),))
    x, y = tuple(problem.records.X[2].tolist()), float(problem.records.y[2])
    assert move_violation(problem, Move(2, x, y, 0.0, 1.0)) is None
    assert "no such option" in move_violation(problem, Move(2, x, y, weight, 1.0))


def test_what_is_short_of_every_cost_does_not_add_up():
    """A thousand changes that each state nothing, within the tolerance of one cost, are not free together."""
    problem = crowd(1000, actions=(FeatureAction(Norm.L2, 0.5),))
    X = problem.records.X.copy()
    X[:, 0] += 0.9e-6
    rows = zip(X.tolist(), problem.records.y.tolist(), strict=True)
    stated = [Move(i, tuple(x), y, 1.0, 0.0) for i, (x, y) in enumerate(rows)]
    assert len(move_violations(problem, stated)) == 1000
    assert "states the cost" in move_violation(problem, stated[0])


@pytest.mark.parametrize("place", ["x", "cost"])
def test_a_number_that_is_none_breaks_every_rule(place):
    problem, nan = crowd(3), float("nan")
    x = problem.records.X[1] + 0.01
    x[0] = nan if place == "x" else x[0]
    cost = nan if place == "cost" else 0.01 * np.sqrt(5)
    assert move_violation(problem, Move(1, tuple(x.tolist()), float(problem.records.y[1]), 1.0, cost))


def test_few_choices_of_many_members_are_enumerated():
    problem = crowd(2000, actions=(WithholdAction(),))
    nobody = replace(problem, collective=replace(problem.collective, budget=Budget(members=0)))
    assert len(list(choices(nobody))) == 1
    one = replace(problem, collective=replace(problem.collective, budget=Budget(members=1)))
    assert sum(1 for _ in islice(choices(one), 2500)) == 2001 == count_choices(one)
