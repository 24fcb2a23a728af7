"""From a problem to a verified answer, and verification against falsified answers."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import threading
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oar_opt.certificate import Grade
from oar_opt.contracts import DirectProgram, Proposal
from oar_opt.discovery import formulations, heuristics
from oar_opt.errors import InputError, OarError, UnsupportedError, VerificationError
from oar_opt.evaluate import enumerate_choices, evaluate, evaluate_present
from oar_opt.library import load
from oar_opt.pipeline import choose, solve
from oar_opt.problem import (
    Budget,
    Collective,
    Direction,
    Feature,
    FeatureAction,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Norm,
    Option,
    OptionKind,
    Position,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.result import Claim, Progress, Request, Status, StoppedBy, relative_gap
from oar_opt.solution_file import QueryOutcome, Solution
from oar_opt.verification import listed_changes, stated_parameters, verify

# -- statuses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", list(GoalKind))
@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_small_problems_are_solved_to_verified_optimality(make, moves_of, kind, goal):
    problem = make(12, kind, "penalized", goal, queries=2, withhold=True, required=0.01)
    values = [evaluate(problem, moves) for _, moves in moves_of(problem)]
    values = [outcome.objective for outcome in values if not outcome.broken]
    result = solve(problem)
    if not values:
        assert result.status is Status.INFEASIBLE and result.objective is None
        return
    best = max(values) if problem.goal.maximises else min(values)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(best, abs=2e-4) and result.bound == pytest.approx(best, abs=2e-4)
    assert result.verification.passed and verify(problem, result.solution).passed


@pytest.mark.parametrize("formulation", ["auto", "kkt_big_m", "enumeration"])
def test_an_unreachable_margin_is_infeasible_with_proof_and_no_moves(make, formulation):
    problem = make(0, "svm", "penalized", "min_cost", required=50.0)
    result = solve(problem, formulation=formulation)
    assert result.status is Status.INFEASIBLE and result.solution.stopped_by is StoppedBy.PROOF
    assert result.objective is None and not result.moves and result.solution.parameters is None
    assert verify(problem, result.solution).passed


@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_a_collective_of_nobody_leaves_everything_as_it_is(make, kind):
    problem = make(1, kind, "penalized", members=0)
    result = solve(problem)
    assert result.status is Status.OPTIMAL and not result.moves
    assert result.objective == pytest.approx(evaluate_present(problem).objective, abs=1e-9)


def centroid(radius=0.5, directions=(Direction.ANY, Direction.ANY), members=(0, 2)):
    return RecourseProblem(
        "centroid",
        Records(np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0], [5.0, 2.0]]), np.array([0.0, 0, 1, 1]), np.ones(4)),
        LearnerSpec("nearest_centroid"),
        Collective(tuple(Member(i, (FeatureAction(Norm.L2, radius),)) for i in members)),
        (Query("q", (2.0, 0.5), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("a", "b"),
        features=tuple(Feature(name, direction=d) for name, d in zip("xy", directions, strict=True)),
    )


def test_a_feature_change_is_solved_and_verified():
    result = solve(centroid())
    assert result.status is Status.OPTIMAL and len(result.moves) == 2
    # distances sqrt(2.25 + 0.25) and sqrt(6.25 + 0.25); each centroid shifts by 0.25
    assert result.objective == pytest.approx((math.sqrt(2.5) + 0.25) ** 2 - (math.sqrt(6.5) - 0.25) ** 2, abs=1e-9)


@pytest.mark.parametrize(
    "problem",
    [centroid(radius=0.0), centroid(directions=(Direction.FIXED, Direction.FIXED)), centroid(members=())],
    ids=["radius 0", "all features fixed", "nobody"],
)
def test_where_nothing_can_move_staying_is_optimal(problem):
    result = solve(problem)
    assert result.status is Status.OPTIMAL and not result.moves
    assert result.objective == pytest.approx(2.5 - 6.5, abs=1e-9)
    assert verify(problem, result.solution).passed


def test_immutable_features_still_leave_withholding(make):
    problem = make(3, "svm", "penalized", withhold=True, options=0)
    fixed = tuple(replace(feature, direction=Direction.FIXED) for feature in problem.features)
    result = solve(replace(problem, features=fixed))
    assert result.status is Status.OPTIMAL and result.objective == solve(problem).objective


@pytest.mark.parametrize("C", [10.0, 100.0, 1e4])
@pytest.mark.parametrize("intercept", ["none", "free"])
def test_a_large_C_does_not_fail_verification(make, intercept, C):
    assert solve(make(3, "svm", intercept, n=14, strength=C), formulation="enumeration").status is Status.OPTIMAL


def test_a_margin_within_tolerance_of_the_required_one_is_no_contradiction(make):
    """Re-training accepts a margin that misses the required one by less than the tolerance; so must the whole run."""
    problem = make(3, "ridge", "penalized")
    reached = solve(problem, formulation="enumeration").objective
    query = replace(problem.queries[0], required=reached + 5e-7)
    problem = replace(problem, queries=(query,), goal=GoalKind.MIN_COST)
    results = [solve(problem, formulation=name) for name in ("enumeration", "kkt_big_m")]
    assert results[0].status is results[1].status


@pytest.mark.parametrize("formulation", ["kkt_big_m", "enumeration"])
def test_a_present_learner_that_is_undefined_does_not_stop_a_member_from_joining(formulation):
    """Class 'no' has no weight before anyone acts; the member's record joins with weight 1. No margin before exists."""
    join = Option(OptionKind.MENU, (-1.0,), -1.0, 1.0, 1.0)
    problem = RecourseProblem(
        "join",
        Records(np.array([[1.0], [2.0], [-1.0]]), np.array([1.0, 1.0, -1.0]), np.array([1.0, 1.0, 0.0])),
        LearnerSpec("svm", Intercept.FREE, C=10.0),
        Collective((Member(2, (), (join,)),)),
        (Query("q", (0.5,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=Position.OPTIMISTIC,
    )
    result = solve(problem, formulation=formulation)
    assert result.status is Status.OPTIMAL and len(result.moves) == 1
    # records at +-1 with C large: w = 1, b = 0
    assert result.objective == pytest.approx(0.5, abs=1e-6)
    assert result.solution.queries[0].margin_before is None
    assert verify(problem, result.solution).passed


# -- limits -----------------------------------------------------------------------------------------------------------


def hard(n=60, members=20, options=5):
    """Far too much to finish by default."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(n, 4))
    y = np.where(X[:, 0] + draw.normal(size=n) > 0, 1.0, -1.0)

    def menu(i):
        return tuple(
            Option(OptionKind.MENU, tuple(X[i] + draw.normal(size=4)), float(draw.choice([-1, 1])), 1.0, 1.0)
            for _ in range(options)
        )

    return RecourseProblem(
        "hard",
        Records(X, y, np.ones(n)),
        LearnerSpec("svm", Intercept.PENALIZED, C=1.0),
        Collective(tuple(Member(i, (), menu(i)) for i in range(members))),
        (Query("q", tuple(draw.normal(size=4)), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
    )


def test_a_time_limit_keeps_a_verified_move_and_an_honest_bound():
    problem, started = hard(), time.monotonic()
    result = solve(problem, time_limit=3.0)
    assert time.monotonic() - started < 15
    assert result.status is Status.FEASIBLE and result.solution.stopped_by is StoppedBy.TIME_LIMIT
    assert result.moves and result.objective > evaluate_present(problem).objective
    assert result.bound is None or result.bound >= result.objective
    assert result.grade is Grade.CLAIMED and verify(problem, result.solution).passed


def test_a_node_limit_stops_the_search_and_progress_is_reported_in_order():
    lines: list[Progress] = []
    result = solve(hard(n=20, members=6, options=3), node_limit=1, progress=lines.append)
    assert lines and all(a.seconds <= b.seconds and a.nodes <= b.nodes for a, b in pairwise(lines))
    assert result.status is Status.FEASIBLE and result.solution.stopped_by is StoppedBy.NODE_LIMIT
    assert result.bound > result.objective


def test_enumeration_stops_at_the_time_limit_without_claiming_a_bound(make):
    problem = make(2, "svm", "penalized", n=12, members=5, options=6)
    result = solve(problem, formulation="enumeration", time_limit=0.5)
    assert result.status is Status.FEASIBLE and result.bound is None
    assert result.solution.stopped_by is StoppedBy.TIME_LIMIT


def test_ctrl_c_keeps_the_best_verified_move():
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(2.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    try:
        result = solve(hard(), time_limit=40.0)
    finally:
        timer.cancel()
    assert time.monotonic() - started < 30
    assert result.solution.stopped_by is StoppedBy.INTERRUPT and result.status is Status.FEASIBLE
    assert result.moves and result.verification.passed
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interruption_that_the_caller_signals_ends_enumeration(make):

    problem = make(2, "ridge", "penalized", members=2)
    claim = formulations()["enumeration"].build(problem).run(Request(interrupted=lambda: True))
    assert claim.stopped_by is StoppedBy.INTERRUPT and claim.bound is None and not claim.infeasible


def test_solving_works_outside_the_main_thread(make):
    problem, found = make(2, "ridge", "penalized"), []
    worker = threading.Thread(target=lambda: found.append(solve(problem)))
    worker.start()
    worker.join()
    assert found[0].status is Status.OPTIMAL and found[0].objective == solve(problem).objective


def test_two_threads_give_the_same_optimum(make):
    problem = make(7, "svm", "penalized")
    assert solve(problem, threads=2).objective == pytest.approx(solve(problem).objective, abs=1e-4)


# -- ties, refusals, names --------------------------------------------------------------------------------------------


def tied(position):
    """The learner's intercept may be anything from -0.4 to 0.4 (tests of the learner prove it)."""
    return RecourseProblem(
        "tied",
        Records(np.array([[1.0], [2.0], [-1.0], [-2.0]]), np.array([1.0, 1, -1, -1]), np.ones(4)),
        LearnerSpec("svm", Intercept.FREE, C=0.05),
        Collective(()),
        (Query("q", (0.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=position,
    )


@pytest.mark.parametrize("formulation", ["auto", "kkt_big_m", "enumeration"])
def test_an_unstated_tie_is_refused_by_the_name_of_the_key(formulation):
    with pytest.raises(InputError, match="not unique") as caught:
        solve(tied(Position.UNIQUE), formulation=formulation)
    assert caught.value.where == "position"


@pytest.mark.parametrize(("position", "expected"), [(Position.OPTIMISTIC, 0.4), (Position.PESSIMISTIC, -0.4)])
def test_a_stated_tie_is_resolved_as_stated(position, expected):
    result = solve(tied(position), formulation="enumeration")
    assert result.status is Status.OPTIMAL and result.objective == pytest.approx(expected, abs=1e-7)


def test_a_pessimistic_tie_is_never_called_optimal_by_the_optimistic_program():
    result = solve(tied(Position.PESSIMISTIC), formulation="kkt_big_m")
    assert result.objective == pytest.approx(-0.4, abs=1e-7) and result.bound >= result.objective
    assert result.status is Status.FEASIBLE


def test_an_unsupported_learner_lists_the_reason_of_every_formulation(make):
    problem = replace(make(0), learner=LearnerSpec("perceptron", C=1.0))
    with pytest.raises(UnsupportedError) as caught:
        solve(problem)
    for name in ("centroid_closed_form", "kkt_big_m", "enumeration"):
        assert f"{name}: " in str(caught.value)
    assert "perceptron" in str(caught.value)


def test_a_formulation_that_does_not_apply_says_why(make):
    with pytest.raises(UnsupportedError, match=r"centroid_closed_form.*no nearest centroid"):
        solve(make(0), formulation="centroid_closed_form")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"formulation": "magic"}, "--formulation"),
        ({"solver": "magic"}, "--solver"),
        ({"time_limit": 0.0}, "--time-limit"),
        ({"time_limit": -1.0}, "--time-limit"),
        ({"gap": 0.0}, "--gap"),
        ({"gap": math.nan}, "--gap"),
    ],
)
def test_a_wrong_option_is_an_input_error_that_names_it(make, options, where):
    with pytest.raises(InputError) as caught:
        solve(make(0), **{"formulation": "kkt_big_m", **options})
    assert caught.value.where == where


def test_the_choice_is_explained(make):
    few, many = make(0), make(0, members=6, options=4)
    chosen, notes = choose(few)
    assert chosen.name == "enumeration" and "choices, and re-training for all" in notes[0]
    chosen, notes = choose(many)
    assert chosen.name == "copies" and "the usual order" in notes[0] and "no nearest centroid" in notes[0]
    assert choose(make(0, "svm", members=6, options=4))[0].name == "copies"
    assert choose(make(0, "svm", n=14, members=12, options=4))[0].name == "kkt_big_m"


def test_auto_takes_the_lowest_preference_that_applies(make):
    problem = make(0, members=6, options=4)
    order = sorted(formulations().values(), key=lambda f: f.preference(problem)[0])
    assert choose(problem)[0] is next(f for f in order if f.accepts(problem) is None)


# -- accuracy -------------------------------------------------------------------------------------------------------


def test_inaccurate_re_training_matters_only_where_it_could_be_better(make, monkeypatch):
    problem = make(2, "ridge")
    ranking = enumerate_choices(problem, keep=50).ranking
    best, worst = ranking[0], ranking[-1]
    apart = best.objective - worst.objective
    assert apart > 1e-2

    def vague(outcome, error):
        return replace(outcome, fit=replace(outcome.fit, error=error, accuracy=None))

    assert not vague(worst, 1e-4).could_beat(best) and vague(worst, 1e-4).could_beat(None)
    assert vague(worst, apart).could_beat(best)
    for moves, error, complete in ((worst.moves, 1e-4, True), (worst.moves, apart, False), (best.moves, 1e-4, False)):

        def inaccurate(problem, chosen, moves=moves, error=error):
            found = evaluate(problem, chosen)
            return vague(found, error) if found.moves == moves else found

        monkeypatch.setattr("oar_opt.evaluate.evaluate", inaccurate)
        assert enumerate_choices(problem).complete is complete


def test_what_is_required_is_met_within_the_accuracy(make):
    problem = make(2, "ridge", goal="min_cost", required=50.0)
    outcome = evaluate(problem, ())
    assert outcome.broken and not outcome.could_beat(None)
    assert replace(outcome, fit=replace(outcome.fit, error=100.0, accuracy=None)).could_beat(None)


# -- grades -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("required", [0.01, 50.0])
def test_enumeration_that_agrees_raises_the_grade_to_enumerated(make, required):
    problem = make(2, "ridge", "penalized", "min_cost", members=10, options=1, n=14, required=required)
    single, double = solve(problem), solve(problem, confirm=True)
    assert single.grade is Grade.CLAIMED and double.grade is Grade.ENUMERATED
    assert any("confirmed by enumeration" in note for note in double.notes)
    assert verify(problem, double.solution).passed


def test_a_second_formulation_that_agrees_raises_the_grade_to_confirmed(make):
    problem = make(2, "ridge", "penalized", "min_members", members=16, options=1, n=20, required=0.01)
    result = solve(problem, formulation="kkt_big_m", confirm=True)
    assert result.grade is Grade.CONFIRMED and verify(problem, result.solution).passed
    assert not any("by scip" in note for note in result.notes)


@pytest.mark.parametrize("required", [0.01, 50.0])
def test_a_second_solver_that_agrees_raises_the_grade_to_confirmed(make, required, monkeypatch):
    """65,536 choices: too many to re-train them all."""
    alone = {"kkt_big_m": formulations()["kkt_big_m"]}
    monkeypatch.setattr("oar_opt.pipeline.formulations", lambda: alone)
    problem = make(2, "ridge", "penalized", "min_members", members=16, options=1, n=20, required=required)
    single, double = solve(problem), solve(problem, confirm=True)
    assert single.grade is Grade.CLAIMED and double.grade is Grade.CONFIRMED
    assert any("confirmed by kkt_big_m by scip" in note for note in double.notes)
    assert verify(problem, double.solution).passed


def test_few_choices_are_all_re_trained_and_graded_so(make):
    result = solve(make(2, "ridge", "penalized"), formulation="kkt_big_m")
    assert result.grade is Grade.ENUMERATED
    assert any(check.name == "all choices re-trained" for check in result.solution.certificate.checks)


def test_a_formulation_that_claims_too_much_is_caught(make, monkeypatch):
    """A program that calls staying optimal while a better choice exists must not get past the verification."""

    problem = make(2, "ridge", "penalized", members=2, options=3)
    stay, best = evaluate_present(problem).objective, solve(problem).objective
    assert best > stay + 0.01
    lie = Claim(StoppedBy.GAP, moves=(), objective=stay, bound=stay, solver="liar")
    monkeypatch.setattr(type(formulations()["kkt_big_m"]), "build", lambda *_, **__: DirectProgram(lambda request: lie))
    monkeypatch.setattr(type(heuristics()["local_search"]), "propose", lambda *_, **__: Proposal())
    with pytest.raises(VerificationError, match="all choices re-trained"):
        solve(problem, formulation="kkt_big_m")


def test_a_formulation_that_calls_a_feasible_problem_infeasible_is_caught(make, monkeypatch):

    lie = Claim(StoppedBy.PROOF, infeasible=True, solver="liar")
    monkeypatch.setattr(type(formulations()["kkt_big_m"]), "build", lambda *_, **__: DirectProgram(lambda request: lie))
    with pytest.raises(VerificationError):
        solve(make(2, "ridge", "penalized"), formulation="kkt_big_m")


# -- falsified answers ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def menu_answer(make):
    """Ridge, several members who act, two queries, a loss of anything in the answer being visible."""
    problem = replace(make(21, "ridge", "penalized", n=10, members=3, options=3, queries=2), sha256="0" * 64)
    result = solve(problem, formulation="kkt_big_m")
    assert len(result.moves) >= 2 and result.status is Status.OPTIMAL
    return problem, result.solution


@pytest.fixture(scope="module")
def change_answer():
    """Nearest centroid, a feature change with a fixed feature."""
    problem = replace(centroid(directions=(Direction.ANY, Direction.FIXED)), sha256="0" * 64)
    result = solve(problem)
    assert len(result.moves) == 2 and result.status is Status.OPTIMAL
    return problem, result.solution


def falsified(solution, *path_and_value):
    """The solution's document with one place replaced."""
    *path, last, value = path_and_value
    document = copy.deepcopy(solution.model_dump(mode="json"))
    place = document
    for key in path:
        place = place[key]
    place[last] = value(place[last]) if callable(value) else value
    return Solution.model_validate_json(json.dumps(document))


def failed(problem, solution):
    return {check.name for check in verify(problem, solution).checks if not check.passed}


def test_the_true_answers_pass(menu_answer, change_answer):
    for problem, solution in (menu_answer, change_answer):
        assert verify(problem, solution).passed


CERTIFICATE = {"certificate"}
"""Fails beside the others: the answer states that they passed."""


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        (("queries", 0, "margin"), lambda v: v + 1e-4, {"margins"}),
        (("queries", 1, "margin"), lambda v: v - 1e-4, {"margins"}),
        (("queries", 0, "margin_before"), lambda v: v + 1e-4, {"margins before"}),
        (("queries", 0, "margin_before"), None, {"margins before"}),
        (("queries", 0, "decision"), lambda v: "yes" if v == "no" else "no", {"decisions"}),
        (("queries", 0, "helped"), lambda v: not v, {"decisions"}),
        (("queries", 0, "name"), "stranger", {"queries"}),
        (("parameters", "w", 0), lambda v: v + 1e-4, {"parameters"}),
        (("parameters", "b"), lambda v: v - 1e-4, {"parameters"}),
        (("parameters", "w"), [0.1], {"parameters"}),
        (("parameters",), {"centroids": {"no": [0.0, 0.0], "yes": [0.0, 0.0]}}, {"parameters"}),
        (("bound",), lambda v: v + 1e-5, {"gap"}),
        (("relative_gap",), lambda v: v + 1e-3, {"gap"}),
        (("relative_gap",), None, {"gap"}),
        (("status",), "infeasible", {"status", "all choices re-trained"}),
        (("instance",), "other", {"instance"}),
        (("instance_sha256",), "1" * 64, {"instance"}),
        (("moves", 0, "record"), 0, {"members"}),
        (("moves", 0, "y"), "maybe", {"members"}),
        (("moves", 0, "x"), [0.0], {"members"}),
        (("certificate", "grade"), "proved", CERTIFICATE),
        (("certificate", "checks", 0, "passed"), False, CERTIFICATE),
        (("certificate", "checks"), [], CERTIFICATE),
    ],
)
def test_a_falsified_menu_answer_fails_exactly_the_check_that_says_so(menu_answer, path, value, names):
    problem, solution = menu_answer
    found = failed(problem, falsified(solution, *path, value))
    assert found - CERTIFICATE == names - CERTIFICATE and "certificate" in found


def test_a_cost_that_no_option_has_is_no_allowed_move(menu_answer):
    problem, solution = menu_answer
    wrong = falsified(solution, "moves", 0, "cost", lambda v: v + 0.01)
    assert failed(problem, wrong) - CERTIFICATE == {"allowed moves"}


def test_a_free_move_is_no_allowed_move(menu_answer):
    problem, solution = menu_answer
    wrong = falsified(solution, "moves", 0, "x", lambda x: [x[0] + 0.01, *x[1:]])
    assert {"allowed moves", "listed changes", "parameters", "margins", "objective"} <= failed(problem, wrong)


def test_the_option_of_another_member_is_no_allowed_move(menu_answer):
    problem, solution = menu_answer
    first, second = solution.moves[:2]
    swapped = first.model_copy(update={"record": second.record}), second.model_copy(update={"record": first.record})
    wrong = solution.model_copy(update={"moves": (*swapped, *solution.moves[2:])})
    assert "allowed moves" in failed(problem, wrong)


def test_another_option_of_the_same_member_is_allowed_but_has_another_outcome(menu_answer):
    problem, solution = menu_answer
    move = solution.moves[0]
    member = next(m for m in problem.collective.members if m.record == move.record)
    other = next(o for o in problem.options(member)[1:] if o.x != move.x)
    changed = move.model_copy(
        update={"x": other.x, "y": problem.label_of(other.y), "weight": other.s, "cost": other.cost,
                "changes": listed_changes(problem, move.record, other.x)}
    )  # fmt: skip
    wrong = solution.model_copy(update={"moves": (changed, *solution.moves[1:])})
    assert failed(problem, wrong) - CERTIFICATE - {"decisions"} == {"parameters", "margins", "objective"}


def test_dropping_a_move_changes_the_outcome(menu_answer):
    problem, solution = menu_answer
    found = failed(problem, solution.model_copy(update={"moves": solution.moves[1:]}))
    assert {"parameters", "margins", "objective"} <= found


def test_a_move_listed_twice_is_refused(menu_answer):
    problem, solution = menu_answer
    found = failed(problem, solution.model_copy(update={"moves": (*solution.moves, solution.moves[0])}))
    assert "members" in found


def test_changes_that_are_not_those_of_the_features_are_refused(menu_answer):
    problem, solution = menu_answer
    wrong = solution.moves[0].model_copy(update={"changes": {}})
    found = failed(problem, solution.model_copy(update={"moves": (wrong, *solution.moves[1:])}))
    assert found - CERTIFICATE == {"listed changes"}


def test_a_better_objective_than_the_true_one_is_refused(menu_answer):
    problem, solution = menu_answer
    found = failed(problem, solution.model_copy(update={"objective": solution.objective + 1e-4}))
    assert "objective" in found and "gap" in found


def consistent(solution, **changes):
    found = solution.model_copy(update=changes)
    return found.model_copy(update={"relative_gap": relative_gap(found.objective, found.bound)})


def test_a_bound_that_the_answer_beats_is_refused(menu_answer):
    problem, solution = menu_answer
    found = failed(problem, consistent(solution, bound=solution.objective - 1e-2, status=Status.FEASIBLE))
    assert {"bound", "all choices re-trained"} <= found


def test_optimal_with_an_open_gap_is_refused(menu_answer):
    problem, solution = menu_answer
    found = failed(problem, consistent(solution, bound=solution.objective + 0.1))
    assert found - CERTIFICATE == {"status"}


def test_a_worse_answer_that_calls_itself_optimal_is_refused(menu_answer):
    """All numbers belong together, only the optimum is missed: enumeration finds the better choice."""
    problem, solution = menu_answer
    present = evaluate_present(problem)
    wrong = consistent(
        solution,
        moves=(),
        objective=present.objective,
        bound=present.objective,
        parameters=stated_parameters(problem, present.parameters),
        queries=tuple(
            QueryOutcome(
                name=query.name,
                margin_before=margin,
                margin=margin,
                helped=helped,
                decision=present.parameters.decision(problem, query),
            )
            for query, margin, helped in zip(problem.queries, present.margins, present.helped, strict=True)
        ),
    )
    assert failed(problem, wrong) - CERTIFICATE == {"all choices re-trained"}


def test_infeasible_for_a_feasible_problem_is_refused(menu_answer):
    problem, solution = menu_answer
    wrong = solution.model_copy(
        update={"status": Status.INFEASIBLE, "stopped_by": StoppedBy.PROOF, "objective": None, "bound": None,
                "relative_gap": None, "moves": (), "parameters": None, "queries": ()}
    )  # fmt: skip
    assert "all choices re-trained" in failed(problem, wrong)


def test_moves_without_an_objective_are_refused(menu_answer):
    problem, solution = menu_answer
    wrong = solution.model_copy(update={"objective": None, "relative_gap": None, "status": Status.UNKNOWN})
    assert "no answer" in failed(problem, wrong)


def test_the_budgets_are_checked(menu_answer):
    problem, solution = menu_answer
    for budget in (Budget(each=0.1), Budget(total=0.1), Budget(members=1)):
        tight = replace(problem, collective=replace(problem.collective, budget=budget))
        assert "budgets" in failed(tight, solution)


def test_required_margins_guards_and_losses_are_checked(menu_answer):
    problem, solution = menu_answer
    query = problem.queries[0]
    margin = solution.queries[0].margin
    guard = replace(query, name="guard", required=margin + 0.1)
    strict = replace(problem, guards=(guard,))
    assert "required margins, guards and loss" in failed(strict, solution)
    strict = replace(problem, max_loss_increase=0.0)
    assert "required margins, guards and loss" in failed(strict, solution)


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        (("moves", 0, "x", 0), lambda v: v + 1e-3, "allowed moves"),
        (("moves", 0, "x", 1), lambda v: v + 1e-3, "allowed moves"),
        (("moves", 0, "y"), "b", "allowed moves"),
        (("moves", 0, "weight"), 2.0, "allowed moves"),
        (("moves", 0, "cost"), lambda v: v - 1e-3, "allowed moves"),
        (("moves", 0, "record"), 1, "members"),
        (("parameters", "centroids", "a", 0), lambda v: v + 1e-3, "parameters"),
    ],
)
def test_a_falsified_feature_change_fails(change_answer, path, value, name):
    problem, solution = change_answer
    assert name in failed(problem, falsified(solution, *path, value))


def test_a_move_beyond_its_radius_or_of_a_fixed_feature_says_so(change_answer):
    problem, solution = change_answer
    far = falsified(solution, "moves", 0, "x", 0, lambda v: v * 1.1)
    assert "more than its radius" in verify(problem, far).details["allowed moves"]
    small = centroid(radius=1.0, directions=(Direction.ANY, Direction.FIXED))
    moved = falsified(solution, "moves", 0, "x", 1, 0.1)
    assert "'y' is fixed" in verify(small, moved).details["allowed moves"]


EXEMPT = ("seconds", "method", "certificate")
"""Not facts about the answer: times, names of the method, and the measurements that a re-check makes for itself."""


def numbers(document, path=()):
    """The paths of all numbers of a document."""
    if isinstance(document, bool) or (path and path[0] in EXEMPT):
        return
    if isinstance(document, int | float):
        yield path
    if not isinstance(document, dict | list):
        return
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        yield from numbers(value, (*path, key))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(data=st.data())
def test_any_number_changed_by_more_than_a_thousandth_is_noticed(menu_answer, change_answer, data):
    problem, solution = data.draw(st.sampled_from([menu_answer, change_answer]), label="answer")
    document = solution.model_dump(mode="json")
    path = data.draw(st.sampled_from(list(numbers(document))), label="path")
    size = data.draw(st.floats(1.1e-3, 10.0), label="size") * data.draw(st.sampled_from([-1, 1]), label="sign")
    place = document
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    scale = max(1.0, abs(old))
    place[path[-1]] = old + (round(size) or 1) if isinstance(old, int) else old + size * scale
    try:
        wrong = Solution.model_validate_json(json.dumps(document))
    except ValueError:
        return
    assert not verify(problem, wrong).passed


# -- shipped instances ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tenant-immutable", "loan-beyond-reach", "iris-centroid-linf-rules"])
def test_shipped_instances_are_solved(name):
    result = solve(load(name))
    assert result.status in (Status.OPTIMAL, Status.INFEASIBLE) and result.verification.passed
    assert (result.status is Status.INFEASIBLE) == (name == "loan-beyond-reach")


def test_every_error_of_the_package_has_an_exit_code():
    codes = {cls.__name__: cls.exit_code for cls in (OarError, *OarError.__subclasses__())}
    assert codes == {"OarError": 1, "InputError": 2, "UnsupportedError": 2, "SolverError": 1, "VerificationError": 4}


def test_withholding_one_record_is_a_move_of_weight_zero(make):
    problem = make(5, "ridge", "penalized", options=0, withhold=True, members=1)
    member = problem.collective.members[0]
    assert member.actions == (WithholdAction(0.9),)
    result = solve(problem)
    for move in result.moves:
        assert move.weight == 0.0 and move.cost == 0.9 and move.changes == {}
