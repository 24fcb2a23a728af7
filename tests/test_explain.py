"""Why a problem is infeasible: conflicts against re-training of every choice, words, limits, falsified explanations."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

import oar_opt
from oar_opt.certificate import Grade
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import UndefinedLearner, evaluate
from oar_opt.explain import explain_infeasibility, with_explanation
from oar_opt.explain_words import UNDEFINED
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Position,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.requirements import Requirement, RequirementKind, attaining, keeping, requirements_of
from oar_opt.result import Status
from oar_opt.solution_file import load_solution, save_solution
from oar_opt.verification import verify


def line(goal=GoalKind.MIN_MEMBERS, required=0.3, budget=None, guards=(), queries=None, **traits):
    """Four records at 1 with label -; three members may report +, for 1 each. The margin of a query at 1 is w.

    w = sum y x / (sum x^2 + 1) = (2 m - 4) / 5 for m members who flip: -0.8, -0.4, 0, 0.4 with the core's label.
    """
    flip = (Option(OptionKind.MENU, (1.0,), 1.0, 1.0, 1.0),)
    return RecourseProblem(
        "line",
        Records(np.ones((4, 1)), np.full(4, -1.0), np.ones(4)),
        LearnerSpec("ridge", Intercept.NONE, alpha=1.0),
        Collective(tuple(Member(i, (), flip) for i in (1, 2, 3)), budget=budget or Budget()),
        queries or (Query("bottle", (1.0,), 1.0, required=required),),
        goal,
        classes=("-", "+"),
        guards=guards,
        **traits,
    )


def kinds(explanation):
    return [[requirement.kind.value for requirement in conflict.requirements] for conflict in explanation.conflicts]


# -- known conflicts --------------------------------------------------------------------------------------------------


def test_a_margin_that_too_few_members_cannot_reach():
    explanation = explain_infeasibility(line(budget=Budget(members=2, total=9.0, each=4.0)))
    assert kinds(explanation) == [["query", "members"]] and explanation.complete
    (conflict,) = explanation.conflicts
    assert conflict.irreducible and conflict.grade is Grade.ENUMERATED
    margin, members = conflict.needed
    assert margin.attainable == pytest.approx(0.0, abs=1e-6) and margin.is_best and margin.is_enough
    assert members.attainable == 3 and members.is_best and members.is_enough
    words = " ".join(explanation.words)
    assert "Even without any other budget, no move" in words
    assert "gives query 'bottle' its margin 0.3 with at most 2 acting members" in words
    assert "It takes 3 acting members." in words
    assert "Dropping either of the two would make the instance possible." in words


def test_a_margin_that_nothing_reaches():
    explanation = explain_infeasibility(line(required=0.9, budget=Budget(total=2.0, members=1), guards=(guard(),)))
    assert kinds(explanation) == [["query"]]
    words = " ".join(explanation.words)
    assert "Even without any budget or guard, no move" in words
    assert "The best margin that query 'bottle' can reach is 0.4." in words


def guard(required=-0.9):
    """Wants + at 1 as well: its margin is w."""
    return Query("neighbour", (1.0,), 1.0, required=required)


def test_a_guard_against_a_query():
    against = Query("neighbour", (1.0,), -1.0, required=0.1)
    explanation = explain_infeasibility(line(guards=(against,), budget=Budget(members=3)))
    assert kinds(explanation) == [["query", "guard"]]
    words = " ".join(explanation.words)
    assert "gives query 'bottle' its margin 0.3 and keeps guard 'neighbour' at its margin 0.1" in words
    # the query needs all three, w = 0.4; the guard -0.1 or less
    assert [one.attainable for one in explanation.conflicts[0].needed] == pytest.approx([-0.4, -0.4], abs=1e-6)


def test_two_queries_against_each_other():
    queries = (Query("a", (1.0,), 1.0, required=0.3), Query("b", (1.0,), -1.0, required=0.3))
    explanation = explain_infeasibility(line(queries=queries))
    assert kinds(explanation) == [["query", "query"]]
    assert "gives query 'a' its margin 0.3 and query 'b' its margin 0.3" in " ".join(explanation.words)


def test_a_limit_on_the_loss_and_a_total_budget():
    # The loss on the original records rises with w: sum (w + 1)^2.
    loss = explain_infeasibility(line(max_loss_increase=1.0))
    assert kinds(loss) == [["query", "loss"]]
    assert "keeps the training loss from rising by more than 1" in " ".join(loss.words)
    total = explain_infeasibility(line(goal=GoalKind.MIN_COST, budget=Budget(total=2.5)))
    assert kinds(total) == [["query", "total"]] and "It takes a total cost of 3." in total.words
    each = explain_infeasibility(line(goal=GoalKind.MIN_COST, budget=Budget(each=0.5)))
    assert kinds(each) == [["query", "each"]] and "at most 0.5 spent by each member" in " ".join(each.words)


@pytest.mark.parametrize("goal", [GoalKind.MAX_MARGIN, GoalKind.MAX_HELPED])
def test_goals_that_demand_no_margin_are_infeasible_by_their_guards(goal):
    explanation = explain_infeasibility(line(goal=goal, guards=(guard(0.6),), budget=Budget(members=1)))
    assert kinds(explanation) == [["guard"]]
    assert "The best margin that guard 'neighbour' can reach is 0.4." in explanation.words


def test_independent_reasons_are_all_told():
    # Out of reach: the query's margin, and the guard's, whatever the other.
    problem = line(required=0.7, guards=(guard(0.6),), budget=Budget(members=2))
    explanation = explain_infeasibility(problem)
    assert sorted(kinds(explanation)) == [["guard"], ["query"]] and explanation.complete
    assert all(one.is_enough is False for conflict in explanation.conflicts for one in conflict.needed)
    assert "These are 2 independent conflicts: one requirement of each has to give way." in explanation.words


def test_a_learner_that_every_choice_leaves_undefined():
    problem = RecourseProblem(
        "one-class",
        Records(np.array([[1.0], [2.0]]), np.array([1.0, 1.0]), np.ones(2)),
        LearnerSpec("svm", Intercept.FREE, C=1.0),
        Collective((Member(1, (), (Option(OptionKind.MENU, (3.0,), 1.0, 1.0, 1.0),)),), budget=Budget(total=3.0)),
        (Query("q", (1.0,), 1.0, required=0.1),),
        GoalKind.MIN_COST,
        classes=("no", "yes"),
        position=Position.OPTIMISTIC,
    )
    explanation = explain_infeasibility(problem, formulation="enumeration")
    assert kinds(explanation) == [[]] and explanation.words == (UNDEFINED,)
    result = with_explanation(solve(problem, formulation="enumeration"), explanation)
    assert verify(problem, result.solution).passed


# -- against re-training of every choice ------------------------------------------------------------------------------


def constrained(make, seed):
    """Random requirements of every kind on a random problem."""
    draw = np.random.default_rng([seed, 5])

    def maybe(value):
        return value if draw.random() < 0.5 else None

    budget = Budget(each=maybe(1.0), total=maybe(1.5), members=maybe(1))
    problem = make(
        seed,
        ("ridge", "svm")[seed % 2],
        "penalized",
        ("min_cost", "min_members", "max_margin")[seed % 3],
        withhold=True,
        budget=budget,
        queries=int(draw.integers(1, 3)),
        guards=int(draw.integers(1, 3)),
        required=float(draw.choice([0.1, 0.3, 0.6])),
    )
    guards = tuple(replace(guard, required=float(draw.choice([-0.5, 0.0, 0.3]))) for guard in problem.guards)
    return replace(problem, guards=guards)


CONSTRAINED = (3, 4, 5, 6, 8, 10, 11, 12, 17, 19, 22, 25)


@pytest.mark.parametrize(
    ("seed", "formulation"),
    [*((seed, "enumeration") for seed in CONSTRAINED), *((seed, "kkt_big_m") for seed in CONSTRAINED[::2])],
)
def test_conflicts_are_irreducible_and_what_is_said_of_them_is_true(make, moves_of, seed, formulation):
    problem = constrained(make, seed)

    def answers(kept):
        loose = keeping(problem, kept)
        found = []
        for _, moves in moves_of(loose):
            try:
                outcome = evaluate(loose, moves)
            except UndefinedLearner:
                continue
            found += [outcome] if outcome.is_answer else []
        return found

    everything = requirements_of(problem)
    result = solve(problem, formulation=formulation)
    assert (result.status is Status.INFEASIBLE) == (not answers(everything))
    if result.status is not Status.INFEASIBLE:
        with pytest.raises(InputError, match="has an admissible move"):
            explain_infeasibility(problem, proof=result)
        return
    explanation = explain_infeasibility(problem, proof=result, formulation=formulation)
    used = [requirement for conflict in explanation.conflicts for requirement in conflict.requirements]
    assert len(set(used)) == len(used) and explanation.complete
    assert answers([requirement for requirement in everything if requirement not in used])
    for conflict in explanation.conflicts:
        assert conflict.irreducible and not answers(conflict.requirements)
        for one in conflict.needed:
            rest = [other for other in conflict.requirements if other != one.requirement]
            assert answers(rest)
            without = [other for other in everything if other != one.requirement]
            assert one.is_enough == bool(answers(without))
            if one.attainable is not None:
                limit = attaining(problem, one.requirement, conflict.requirements)
                best = solve(limit, formulation="enumeration").objective
                assert one.attainable == pytest.approx(best, abs=2e-4) and one.is_best
    told = with_explanation(result, explanation)
    assert verify(problem, told.solution).passed


# -- the instance with fewer requirements -----------------------------------------------------------------------------


def test_requirements_are_listed_once_each():
    problem = line(budget=Budget(members=2, total=3.0), guards=(guard(),), max_loss_increase=0.5)
    assert [(r.kind.value, r.subject, r.limit) for r in requirements_of(problem)] == [
        ("query", "bottle", 0.3),
        ("guard", "neighbour", -0.9),
        ("loss", "", 0.5),
        ("members", "", 2.0),
        ("total", "", 3.0),
    ]
    assert keeping(problem, requirements_of(problem)) == problem


def test_dropping_every_margin_asks_for_the_largest():
    loose = keeping(line(budget=Budget(members=1)), [])
    assert loose.goal is GoalKind.MAX_MARGIN and loose.collective.budget == Budget() and len(loose.queries) == 1


def test_a_budget_for_each_has_no_best_number():
    problem = line(budget=Budget(each=0.5))
    each = Requirement(RequirementKind.EACH, 0.5)
    assert attaining(problem, each, requirements_of(problem)) is None


# -- limits and refusals ----------------------------------------------------------------------------------------------


def test_a_feasible_or_unsettled_problem_has_nothing_to_explain(make):
    with pytest.raises(InputError, match="admissible move"):
        oar_opt.explain_infeasibility(line(required=0.2))
    open_one = make(1, "svm", "penalized", "min_cost", members=6, options=5, n=12, required=100.0)
    unknown = solve(open_one, formulation="enumeration", time_limit=0.2)
    with pytest.raises(InputError, match="not proved infeasible"):
        explain_infeasibility(open_one, proof=unknown)


def test_without_time_everything_conflicts_and_nothing_more_is_said():
    problem = line(budget=Budget(members=2, total=9.0))
    proof = solve(problem)
    explanation = explain_infeasibility(problem, proof=proof, time_limit=1e-6)
    (conflict,) = explanation.conflicts
    assert conflict.requirements == requirements_of(problem) and not conflict.irreducible and not explanation.complete
    words = " ".join(explanation.words)
    assert "Perhaps not all of these requirements are needed" in words and "time limit" in words
    assert verify(problem, with_explanation(proof, explanation).solution).passed


def test_ctrl_c_returns_what_is_known(make, monkeypatch):
    problem = line(budget=Budget(members=2, total=9.0))
    proof, before = solve(problem), signal.getsignal(signal.SIGINT)

    def slowly(*_, **__):
        time.sleep(0.3)

    monkeypatch.setattr("oar_opt.explain.first_answer", slowly)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    explanation = explain_infeasibility(problem, proof=proof)
    timer.join()
    assert not explanation.complete and any("interrupted" in note for note in explanation.notes)
    assert not any(conflict.irreducible for conflict in explanation.conflicts)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_test_that_no_formulation_can_make_is_left_out_and_said(monkeypatch):
    problem = line(budget=Budget(members=2))
    proof = solve(problem)

    def refuse(*_, **__):
        raise UnsupportedError("nothing applies")

    monkeypatch.setattr("oar_opt.explain.solve", refuse)
    monkeypatch.setattr("oar_opt.explain.first_answer", lambda *_: None)
    explanation = explain_infeasibility(problem, proof=proof)
    assert kinds(explanation) == [["query", "members"]] and not explanation.conflicts[0].irreducible
    assert any("no formulation" in note for note in explanation.notes)


@pytest.mark.parametrize("position", [Position.OPTIMISTIC, Position.PESSIMISTIC])
def test_a_position_holds_for_the_conflicts_too(position):
    """The intercept may be anything from -0.4 to 0.4, so a margin of 0.3 is had or not by the position."""
    problem = RecourseProblem(
        "tied",
        Records(np.array([[1.0], [2.0], [-1.0], [-2.0]]), np.array([1.0, 1, -1, -1]), np.ones(4)),
        LearnerSpec("svm", Intercept.FREE, C=0.05),
        Collective((), budget=Budget(total=1.0)),
        (Query("q", (0.0,), 1.0, required=0.3 if position is Position.PESSIMISTIC else 0.5),),
        GoalKind.MIN_COST,
        classes=("no", "yes"),
        position=position,
    )
    explanation = explain_infeasibility(problem, formulation="enumeration")
    (conflict,) = explanation.conflicts
    assert kinds(explanation) == [["query"]] and conflict.irreducible
    assert conflict.needed[0].attainable == pytest.approx(-0.4 if position is Position.PESSIMISTIC else 0.4, abs=1e-6)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told():
    problem = replace(line(budget=Budget(members=2, total=9.0), guards=(guard(),)), sha256="0" * 64)
    result = solve(problem)
    return problem, with_explanation(result, explain_infeasibility(problem, proof=result)).solution


def test_an_explanation_survives_its_file(told, tmp_path):
    problem, solution = told
    save_solution(solution, tmp_path / "s.json")
    assert load_solution(tmp_path / "s.json") == solution and verify(problem, solution).passed
    document = json.loads((tmp_path / "s.json").read_text())
    assert [r["kind"] for r in document["conflicts"][0]["requirements"]] == ["query", "members"]


def refuted(problem, solution, change):
    """Whether the verification fails by the conflicts, once they are changed."""
    conflict = solution.conflicts[0]
    wrong = solution.model_copy(update={"conflicts": change(conflict)})
    return "conflicts" in {check.name for check in verify(problem, wrong).checks if not check.passed}


def test_falsified_conflicts_are_refuted(told):
    problem, solution = told
    query, members = solution.conflicts[0].requirements
    guarded = query.model_copy(update={"kind": "guard", "subject": "neighbour", "limit": -0.9})

    def with_requirements(*requirements):
        return lambda conflict: (conflict.model_copy(update={"requirements": requirements}),)

    assert not refuted(problem, solution, lambda conflict: (conflict,))
    assert refuted(problem, solution, with_requirements(query))
    assert refuted(problem, solution, with_requirements(query, members, guarded))
    assert refuted(problem, solution, with_requirements(query, members.model_copy(update={"limit": 1.0})))
    assert refuted(problem, solution, with_requirements(query, members.model_copy(update={"kind": "each"})))
    assert refuted(problem, solution, lambda conflict: (conflict, conflict))


def test_an_answer_has_no_conflicts(told):
    problem, solution = told
    possible = keeping(problem, [])
    answer = solve(possible).solution.model_copy(update={"conflicts": solution.conflicts})
    assert "conflicts" in {check.name for check in verify(possible, answer).checks if not check.passed}
