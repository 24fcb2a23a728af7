"""The best different moves: against re-training of every choice, what is proved of them, limits, falsified pools."""

from __future__ import annotations

import copy
import json
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from oar_opt.certificate import Grade
from oar_opt.contracts import DirectProgram
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.evaluate import Evaluation, evaluate
from oar_opt.library import load
from oar_opt.pipeline import solve
from oar_opt.pool import Search, best_neighbour, bound_outside, cheapest_twin, ranked
from oar_opt.problem import (
    Budget,
    Collective,
    Feature,
    FeatureAction,
    FeatureType,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Option,
    OptionKind,
    Position,
    Query,
    Records,
    RecourseProblem,
    resulting_records,
)
from oar_opt.result import Claim, Request, Status, StoppedBy, relative_gap
from oar_opt.solution_file import Solution, load_solution, save_solution
from oar_opt.verification import verify

NAMES = ["kkt_big_m", "enumeration"]


@pytest.fixture
def every(moves_of):
    """The best answer of every result, best first, by re-training the choices listed in the tests' own way."""

    def answers(problem):
        found: dict[frozenset, Evaluation] = {}
        for _, moves in moves_of(problem):
            outcome = evaluate(problem, moves)
            result = frozenset(
                (m.record, *(m.x if m.s else ()), m.y if m.s else 0.0, m.s)
                for m in moves
                if (m.x, m.y, m.s) != (tuple(problem.records.X[m.record]), problem.records.y[m.record],
                                       problem.records.s[m.record])
                and (m.s or problem.records.s[m.record])
            )  # fmt: skip
            if outcome.is_answer and (result not in found or outcome.exceeds(found[result])):
                found[result] = outcome
        sign = -1 if problem.goal.maximises else 1
        return sorted(found.values(), key=lambda outcome: sign * outcome.objective)

    return answers


# -- against re-training of every choice ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("goal", ["max_margin", "min_cost", "min_members"])
@pytest.mark.parametrize("seed", range(4))
def test_the_pool_has_the_best_objectives_in_order_and_bounds_that_hold(make, every, seed, goal, name):
    kind = ("ridge", "svm")[seed % 2]
    problem = make(
        seed, kind, "penalized", goal, withhold=True, identical=seed == 3, queries=1 + seed % 2, required=0.05
    )
    truth, result = every(problem), solve(problem, formulation=name, pool=5)
    answers = [result.solution, *result.alternatives] if result.moves or result.objective is not None else []
    assert len(answers) == min(5, len(truth)) and result.solution.pool.complete == (len(truth) < 5)
    for k, (answer, true) in enumerate(zip(answers, truth, strict=False)):
        assert answer.objective == pytest.approx(true.objective, abs=2e-4)
        before = {resulting_records(problem, as_moves(problem, other)) for other in answers[:k]}
        outside = next(t for t in truth if resulting_records(problem, t.moves) not in before)
        ahead = outside.objective - answer.bound if problem.goal.maximises else answer.bound - outside.objective
        assert ahead <= 1e-6
    assert verify(problem, result.solution).passed


def as_moves(problem, answer):
    codes = {problem.label_of(code): code for code in (-1.0, 1.0)}
    return [Move(m.record, m.x, codes[m.y], m.weight, m.cost) for m in answer.moves]


@pytest.mark.parametrize("name", NAMES)
def test_more_than_there_are_gives_all_and_says_so(make, every, name):
    problem = make(0, "ridge", "penalized", members=1, options=2)
    result = solve(problem, formulation=name, pool=40)
    pool = result.solution.pool
    assert len(result.alternatives) + 1 == len(every(problem)) == 3
    assert pool.complete and pool.stopped_by is StoppedBy.PROOF and pool.asked == 40
    assert result.alternatives[-1].bound == pytest.approx(result.alternatives[-1].objective, abs=1e-9)


def test_a_pool_beyond_what_is_re_trained_at_once_is_claimed(make):
    """59,049 choices: the searches are excluded one by one, and their bounds close every gap."""
    problem = make(3, "ridge", "penalized", "max_margin", members=10, options=2, n=16)
    result = solve(problem, formulation="kkt_big_m", pool=3, time_limit=60)
    assert result.solution.pool.grade is Grade.CLAIMED and len(result.alternatives) == 2
    assert all(answer.relative_gap <= 1e-4 for answer in result.alternatives)
    objectives = [result.objective, *(answer.objective for answer in result.alternatives)]
    assert objectives == sorted(objectives, reverse=True) and verify(problem, result.solution).passed


# -- moves that are the same ------------------------------------------------------------------------------------------


def twins():
    """One member: flipped labels at costs 3 and 1, its own record as an option, two ways to be withheld."""
    x = (1.0,)
    menu = (
        Option(OptionKind.MENU, x, 1.0, 1.0, 3.0),
        Option(OptionKind.MENU, x, 1.0, 1.0, 1.0),
        Option(OptionKind.MENU, x, -1.0, 1.0, 0.5),
        Option(OptionKind.MENU, (5.0,), 1.0, 0.0, 0.7),
        Option(OptionKind.MENU, x, -1.0, 0.0, 0.6),
    )
    return RecourseProblem(
        "twins",
        Records(np.array([[1.0], [2.0], [1.0]]), np.array([-1.0, 1.0, -1.0]), np.ones(3)),
        LearnerSpec("ridge", Intercept.NONE, alpha=1.0),
        Collective((Member(2, (), menu),)),
        (Query("q", (1.0,), 1.0, required=0.01),),
        GoalKind.MIN_COST,
        classes=("no", "yes"),
    )


@pytest.mark.parametrize("name", NAMES)
def test_equal_results_count_once_at_their_least_cost(name):
    # w = sum y x / (sum x^2 + 1): 0 if the member stays, 2/7 flipped, 1/6 withheld.
    result = solve(twins(), formulation=name, pool=9)
    answers = [result.solution, *result.alternatives]
    assert [answer.objective for answer in answers] == pytest.approx([0.6, 1.0])
    assert [answer.queries[0].margin for answer in answers] == pytest.approx([1 / 6, 2 / 7], abs=1e-6)
    assert result.solution.pool.complete and verify(twins(), result.solution).passed


def test_what_moves_leave_behind():
    problem = twins()
    results = [resulting_records(problem, [Move(2, o.x, o.y, o.s, o.cost)]) for o in problem.collective.members[0].menu]
    assert results[0] == results[1] and results[3] == results[4] and results[2] == frozenset()
    assert len(set(results)) == 3


def test_the_same_change_by_a_cheaper_action_is_a_twin():
    """Two actions that allow the same step, one without a charge."""
    steps = (FeatureAction(Norm.L2, 1.0, charge=0.5), FeatureAction(Norm.L2, 1.0))
    problem = replace(
        twins(), collective=Collective((Member(2, steps),)), features=(Feature("x", FeatureType.INTEGER),)
    )
    dear = evaluate(replace(problem, goal=GoalKind.MAX_MARGIN), [Move(2, (2.0,), -1.0, 1.0, 1.5)])
    assert [move.cost for move in cheapest_twin(problem, dear).moves] == [1.0]


def test_the_cheapest_twin_of_an_answer():
    problem = twins()
    dear = evaluate(problem, [Move(2, (1.0,), 1.0, 1.0, 3.0)])
    assert [move.cost for move in cheapest_twin(problem, dear).moves] == [1.0]
    idle = evaluate(replace(problem, goal=GoalKind.MAX_MARGIN), [Move(2, (1.0,), -1.0, 1.0, 0.5)])
    assert cheapest_twin(replace(problem, goal=GoalKind.MAX_MARGIN), idle).moves == ()


def test_highs_returns_the_optimum_and_not_the_start_that_it_was_given(make):
    """Where presolve solves all, HiGHS has stated the optimum's value and returned the start: cost 2.869 for 2.532."""
    problem = make(4, "ridge", "penalized", "min_cost", members=3, options=2, withhold=True, required=0.05)
    best = solve(problem, formulation="enumeration")
    excluded = (tuple(as_moves(problem, best)),)
    start = best_neighbour(problem, [evaluate(problem, excluded[0])], 2.0, lambda: False)
    request = Request(
        excluded=excluded, start=start.moves, start_parameters=start.parameters, cutoff=start.objective, solver="highs"
    )
    claim = formulations()["kkt_big_m"].build(problem, request).run(request)
    assert sum(move.cost for move in claim.moves) == pytest.approx(claim.objective, abs=1e-6)


# -- what the searches prove ------------------------------------------------------------------------------------------


def answered(value, maximises=True):
    """An answer of that objective; the problem is of no matter."""
    problem = replace(twins(), goal=GoalKind.MAX_MARGIN if maximises else GoalKind.MIN_COST)
    found = evaluate(problem, ())
    found.__dict__["objective"] = value
    return found


def test_bounds_come_from_all_searches():
    a, b, c = (answered(value) for value in (5.0, 3.0, 4.0))
    searches = (Search((), 6.0), Search((a,), 4.5), Search((a, b), 4.2))
    order = ranked([a, b, c], searches, True)
    assert [one.answer.objective for one in order] == [5.0, 4.0, 3.0]
    # All moves: the second search leaves a (5) and 4.5. Without a, or a and c: the third leaves b (3) and 4.2.
    assert [one.bound for one in order] == [5.0, 4.2, 4.2]
    least = [answered(value, False) for value in (5.0, 3.0)]
    assert bound_outside([], (Search((), 1.0), Search(tuple(least), 4.0)), False) == 3.0


def test_nothing_left_proves_the_last_one_and_no_search_proves_nothing():
    a, b = answered(5.0), answered(3.0)
    done = (Search((), None), Search((a,), None), Search((a, b), None, nothing_left=True))
    assert [one.bound for one in ranked([a, b], done, True)] == [5.0, 3.0]
    assert [one.bound for one in ranked([a, b], done[:2], True)] == [None, None]


# -- limits and refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [0, -3])
def test_a_wrong_number_is_an_input_error(make, pool):
    with pytest.raises(InputError) as caught:
        solve(make(0), pool=pool)
    assert caught.value.where == "--pool"


def test_a_pool_of_one_is_no_pool(make):
    assert solve(make(0), pool=1).solution.pool is None


def test_a_continuum_of_moves_has_no_pool():
    with pytest.raises(UnsupportedError, match="no pool of several"):
        solve(load("iris-centroid-linf-rules"), pool=2)


def test_an_infeasible_problem_has_an_empty_and_complete_pool(make):
    result = solve(make(0, "svm", "penalized", "min_cost", required=50.0), pool=3)
    assert result.status is Status.INFEASIBLE and not result.alternatives
    assert result.solution.pool.complete and result.solution.pool.stopped_by is StoppedBy.PROOF


def hard(make, **traits):
    return make(1, "svm", "penalized", "max_margin", n=60, members=20, options=5, d=4, **traits)


def test_a_time_limit_holds_for_all_searches_together(make):
    problem, started = hard(make), time.monotonic()
    result = solve(problem, formulation="kkt_big_m", pool=3, time_limit=5.0)
    assert time.monotonic() - started < 22
    pool = result.solution.pool
    assert result.moves and not pool.complete
    for answer in result.alternatives:
        assert answer.objective <= result.objective and (
            answer.bound is None or answer.bound >= answer.objective - 1e-9
        )
    assert pool.stopped_by in (StoppedBy.TIME_LIMIT, StoppedBy.GAP) and verify(problem, result.solution).passed


def test_enumeration_that_is_cut_short_ranks_what_it_has_without_bounds(make):
    problem = make(2, "svm", "penalized", n=12, members=5, options=6)
    result = solve(problem, formulation="enumeration", pool=3, time_limit=1.0)
    assert result.status is Status.FEASIBLE and result.solution.pool.grade is Grade.CLAIMED
    assert all(answer.bound is None for answer in result.alternatives) and not result.solution.pool.complete


def test_ctrl_c_keeps_the_answers_found_by_then(make):
    problem, before = hard(make), signal.getsignal(signal.SIGINT)
    timer = threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        result = solve(problem, formulation="kkt_big_m", pool=50, time_limit=60.0)
    finally:
        timer.cancel()
    assert result.moves and result.solution.pool.stopped_by is StoppedBy.INTERRUPT
    assert signal.getsignal(signal.SIGINT) is before and verify(problem, result.solution).passed


def tied(position):
    """Intercepts from -0.4 to 0.4 are optimal if the member stays; it may withhold its record."""
    withheld = Option(OptionKind.MENU, (2.0,), 1.0, 0.0, 1.0)
    return RecourseProblem(
        "tied",
        Records(np.array([[1.0], [2.0], [-1.0], [-2.0]]), np.array([1.0, 1, -1, -1]), np.ones(4)),
        LearnerSpec("svm", Intercept.FREE, C=0.05),
        Collective((Member(1, (), (withheld,)),)),
        (Query("q", (0.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=position,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("position", [Position.OPTIMISTIC, Position.PESSIMISTIC])
def test_a_stated_position_holds_for_every_answer(every, name, position):
    problem = tied(position)
    try:
        result = solve(problem, formulation=name, pool=4)
    except UnsupportedError as refused:
        assert "position" in str(refused)
        return
    truth = [outcome.objective for outcome in every(problem)]
    assert [result.objective, *(answer.objective for answer in result.alternatives)] == pytest.approx(truth, abs=1e-6)
    assert verify(problem, result.solution).passed


@pytest.mark.parametrize("name", NAMES)
def test_an_unstated_tie_is_refused_in_a_pool_too(name):
    with pytest.raises(InputError, match="not unique"):
        solve(tied(Position.UNIQUE), formulation=name, pool=4)


def test_a_formulation_that_returns_an_excluded_move_is_caught(make, monkeypatch):
    problem = make(2, "ridge", "penalized", members=2, options=3)
    stay = Claim(StoppedBy.GAP, moves=(), objective=-9.0, bound=9.0, solver="liar")
    monkeypatch.setattr(type(formulations()["kkt_big_m"]), "build", lambda *_: DirectProgram(lambda request: stay))
    monkeypatch.setattr("oar_opt.pool.first_answer", lambda *_: None)
    monkeypatch.setattr("oar_opt.pool.best_neighbour", lambda *_: None)
    with pytest.raises(VerificationError, match="told to leave out"):
        solve(problem, formulation="kkt_big_m", pool=2)


# -- files and falsified pools ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pooled(make):
    problem = replace(make(21, "ridge", "penalized", n=10, members=3, options=3, queries=2), sha256="0" * 64)
    result = solve(problem, formulation="kkt_big_m", pool=4)
    assert len(result.alternatives) == 3 and result.solution.pool.grade is Grade.ENUMERATED
    return problem, result.solution


def test_a_pool_survives_its_file_and_a_solution_without_one_has_no_such_key(pooled, tmp_path):
    problem, solution = pooled
    save_solution(solution, tmp_path / "s.json")
    assert load_solution(tmp_path / "s.json") == solution and verify(problem, solution).passed
    document = solve(problem).solution.model_dump(mode="json")
    assert not {"pool", "conflicts"} & document.keys()
    assert Solution.model_validate_json(json.dumps(document)).pool is None


def falsified(solution, *path, value):
    document = copy.deepcopy(solution.model_dump(mode="json"))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value(place[path[-1]])
    return Solution.model_validate_json(json.dumps(document))


def failed(problem, solution):
    return {check.name for check in verify(problem, solution).checks if not check.passed} - {"certificate"}


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        (("alternatives", 1, "objective"), lambda v: v + 1e-4, {"alternative 3"}),
        (("alternatives", 0, "queries", 1, "margin"), lambda v: v - 1e-4, {"alternative 2"}),
        (("alternatives", 2, "parameters", "w", 0), lambda v: v + 1e-4, {"alternative 4"}),
        (("alternatives", 0, "moves", 0, "cost"), lambda v: v + 0.1, {"alternative 2"}),
        (("alternatives", 0, "relative_gap"), lambda v: v + 1e-3, {"alternative 2"}),
        (("alternatives",), lambda v: [v[1], v[0], v[2]], {"order of alternatives", "all choices re-trained"}),
        (("alternatives",), lambda v: [v[0], v[0], v[2]], {"order of alternatives", "all choices re-trained"}),
        (("alternatives",), lambda v: v[:2], {"order of alternatives"}),
        (("asked",), lambda v: 2, {"order of alternatives"}),
        (("complete",), lambda v: True, {"order of alternatives", "all choices re-trained"}),
    ],
)
def test_a_falsified_pool_fails_the_check_that_says_so(pooled, path, value, names):
    problem, solution = pooled
    assert failed(problem, falsified(solution, "pool", *path, value=value)) == names


def test_a_skipped_answer_is_found_by_re_training(pooled):
    """All numbers belong together, only the second best is missing."""
    problem, solution = pooled
    first, second, third = solution.pool.alternatives
    wrong = solution.pool.model_copy(update={"alternatives": (second, third), "asked": 3})
    assert failed(problem, solution.model_copy(update={"pool": wrong})) == {"all choices re-trained"}
    assert first.objective > second.objective


def test_a_bound_that_a_left_out_move_beats_is_found_by_re_training(pooled):
    problem, solution = pooled
    last = solution.pool.alternatives[0]
    low = last.model_copy(update={"bound": last.objective - 1e-3})
    low = low.model_copy(update={"relative_gap": relative_gap(low.objective, low.bound)})
    wrong = solution.pool.model_copy(update={"alternatives": (low, *solution.pool.alternatives[1:])})
    found = failed(problem, solution.model_copy(update={"pool": wrong}))
    assert {"alternative 2", "all choices re-trained"} <= found


def test_a_grade_without_evidence_is_refused(make):
    """1,024 choices are more than a verification re-trains unasked."""
    problem = make(3, "ridge", "penalized", members=10, options=1, n=16)
    result = solve(problem, formulation="kkt_big_m", pool=2)
    assert result.solution.pool.grade is Grade.CLAIMED
    wrong = result.solution.pool.model_copy(update={"grade": Grade.PROVED})
    assert not verify(problem, result.solution.model_copy(update={"pool": wrong})).passed


def test_budgets_hold_for_every_answer(make):
    problem = make(5, "ridge", "penalized", budget=Budget(members=1, total=1.2), members=3)
    result = solve(problem, pool=6)
    assert result.alternatives
    for answer in result.alternatives:
        assert len(answer.moves) <= 1 and sum(move.cost for move in answer.moves) <= 1.2 + 1e-9
