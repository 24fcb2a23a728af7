"""Programs as objects of Pyomo and cvxpy, with the caller's own constraints, against enumeration by re-training."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pyomo.environ as pyo
import pytest

import oar_opt
from oar_opt.contracts import Exactness
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.evaluate import evaluate
from oar_opt.result import Status


def named(name, place=0):
    return formulations()[name].examples()[place].problem


@pytest.fixture(scope="module")
def problem(make):
    return make(7, "svm", "penalized", n=7, options=2)


@pytest.fixture
def opened(problem):
    return oar_opt.program(problem, "kkt_big_m", tightening=0.0)


@pytest.fixture(scope="module")
def best_apart(problem, every_choice):
    """The best margin where at most one of the two members acts."""
    return max(outcome.objective for outcome in every_choice(problem) if len(outcome.moves) <= 1)


@pytest.fixture(scope="module")
def every_choice(moves_of):
    def outcomes(problem):
        return [evaluate(problem, moves) for _, moves in moves_of(problem)]

    return outcomes


def apart(opened):
    """At least one of the members stays."""
    first, second = (member.record for member in opened.problem.collective.members)
    return opened.pyomo.choice[first, 0] + opened.pyomo.choice[second, 0] >= 1


@pytest.mark.parametrize("solver", [None, "highs", "scip"])
def test_without_additions_the_optimum_is_the_problems(problem, opened, every_choice, solver):
    answer = opened.solve(solver)
    best = max(outcome.objective for outcome in every_choice(problem))
    assert answer.result.objective == pytest.approx(best, abs=1e-6)
    assert answer.bound == pytest.approx(best, rel=1e-4)
    assert opened.exactness is Exactness.EXACT


def test_an_added_row_is_kept_and_the_bound_is_under_it(problem, opened, best_apart):
    free = opened.solve()
    assert len(free.result.moves) == 2, "the row must cut something off"
    opened.add(apart(opened))
    answer = opened.solve()
    assert answer.result.objective == pytest.approx(best_apart, abs=1e-6)
    assert answer.bound == pytest.approx(best_apart, rel=1e-4)
    assert free.bound > answer.bound + 1e-3
    assert (answer.result.status, answer.result.bound) == (Status.FEASIBLE, None), "the instance knows no such row"


def test_a_run_of_ones_own_is_read_by_answer(opened, best_apart):
    opened.add(apart(opened))
    pyo.SolverFactory("appsi_highs").solve(opened.pyomo)
    assert opened.answer().objective == pytest.approx(best_apart, abs=1e-6)


def test_a_product_that_was_added_goes_to_a_solver_that_knows_products(opened, best_apart):
    first, second = (member.record for member in opened.problem.collective.members)
    stays = opened.pyomo.choice
    opened.add((1 - stays[first, 0]) * (1 - stays[second, 0]) <= 0)
    with pytest.raises(InputError, match="quadratic"):
        opened.solve("highs")
    answer = opened.solve()
    assert answer.solver.startswith("scip")
    assert answer.result.objective == pytest.approx(best_apart, abs=1e-6)


def test_additions_that_nothing_satisfies_are_no_statement_on_the_instance(opened):
    first = opened.problem.collective.members[0].record
    opened.add(opened.pyomo.choice[first, 0] >= 1, opened.pyomo.choice[first, 0] <= 0)
    answer = opened.solve()
    assert answer.infeasible
    assert answer.result is None


def test_values_that_are_none_or_no_choices_say_so(opened):
    with pytest.raises(InputError, match="solve the program first"):
        opened.answer()
    opened.solve()
    first = opened.problem.collective.members[0].record
    opened.pyomo.choice[first, 0].set_value(0.4)
    with pytest.raises(InputError, match="fractions"):
        opened.answer()
    for k in range(3):
        opened.pyomo.choice[first, k].set_value(0)
    with pytest.raises(InputError, match="picks no option"):
        opened.answer()


def test_names_are_found_by_what_they_mean(opened):
    record = opened.problem.collective.members[0].record
    found = opened.meanings(f"member {record} picks")
    assert set(found) == {f"choice[{record},{k}]" for k in range(3)}
    assert all(opened.pyomo.find_component(name) is not None for name in found)


# -- cvxpy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [None, "clarabel", "scs"])
def test_a_program_of_cones_has_the_optimum_of_the_closed_form(solver):
    problem = oar_opt.load("iris-centroid-l2-r05-k46")
    known = oar_opt.solve(problem, formulation="centroid_closed_form").objective
    answer = oar_opt.program(problem, "centroid_convex").solve(solver)
    assert answer.result.objective == pytest.approx(known, abs=1e-6)
    assert answer.bound == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize("place", range(len(formulations()["centroid_convex"].examples())))
def test_every_example_of_cones_by_cvxpy(place):
    example = formulations()["centroid_convex"].examples()[place]
    answer = oar_opt.program(example.problem, "centroid_convex").solve()
    if example.optimum is None:
        assert answer.infeasible
    else:
        assert answer.result.objective == pytest.approx(example.optimum, abs=1e-5)


def test_a_row_over_changes_binds_them():
    problem = oar_opt.load("iris-centroid-l2-r05-k46")
    opened = oar_opt.program(problem)
    free = opened.solve()
    record, change = next(iter(opened.changes.items()))
    assert abs(change.value[0]) > 0.1
    opened.add(cp.abs(change[0]) <= 0.01)
    answer = opened.solve()
    (move,) = (move for move in answer.result.moves if move.record == record)
    assert abs(move.x[0] - problem.records.X[record, 0]) <= 0.01 + 1e-7
    assert answer.bound < free.bound
    assert answer.result.objective == pytest.approx(answer.bound, abs=1e-6)
    opened.cvxpy.solve(solver="CLARABEL")
    assert opened.answer().objective == pytest.approx(answer.result.objective, abs=1e-6)


def test_changes_that_are_a_little_too_long_are_shortened():
    problem = oar_opt.load("iris-centroid-l2-r05-k46")
    opened = oar_opt.program(problem, "centroid_convex")
    opened.solve()
    for variable in opened.cvxpy.variables():
        variable.value = (1 + 1e-6) * variable.value
    assert max(np.linalg.norm(change.value) for change in opened.changes.values()) > 0.5 * (1 + 5e-7)
    answer = opened.answer()
    moved = np.array([np.linalg.norm(np.array(m.x) - problem.records.X[m.record]) for m in answer.moves])
    assert moved.max() <= 0.5 * (1 + 1e-9)


def test_what_is_asked_of_the_wrong_kind_is_refused(opened):
    with pytest.raises(UnsupportedError, match=r"use \.pyomo"):
        _ = opened.cvxpy
    convex = oar_opt.program(named("centroid_convex"), "centroid_convex")
    with pytest.raises(UnsupportedError, match=r"use \.cvxpy"):
        _ = convex.pyomo
    with pytest.raises(InputError, match="not installed for cvxpy"):
        convex.solve("nosuch")
    with pytest.raises(InputError, match="time_limit"):
        convex.solve(time_limit=3)
    with pytest.raises(InputError, match="solve the program first"):
        convex.answer()


def test_formulations_without_a_program_say_why(problem):
    with pytest.raises(UnsupportedError, match="computed directly"):
        oar_opt.program(problem, "enumeration")
    with pytest.raises(InputError, match="unknown"):
        oar_opt.program(problem, "nosuch")


def test_moves_that_break_a_required_margin_are_no_answer(make):
    """The program's own rows are the caller's to switch off; the instance's are not."""
    problem = make(7, "svm", "penalized", goal="min_members", n=7, options=2, required=0.3)
    opened = oar_opt.program(problem, "kkt_big_m", tightening=0.0)
    needed = opened.solve()
    assert needed.result.objective > 0
    opened.pyomo.margin_of.deactivate()
    with pytest.raises(VerificationError, match="less than"):
        opened.solve()
