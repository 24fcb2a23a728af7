"""Strong duality, by HiGHS's tangents and SCIP's nonlinear rows, against re-training of every choice."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyomo.environ as pyo
import pytest

from formulations.learners.logistic import LogisticLoss
from oar_opt.discovery import formulations
from oar_opt.errors import InputError
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.nonlinear_relaxation import NonlinearRelaxation
from oar_opt.parameters import LinearParameters
from oar_opt.pipeline import solve
from oar_opt.problem import (
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
    resulting_records,
)
from oar_opt.relaxation import Region, Relaxation
from oar_opt.result import Request, Status, StoppedBy
from oar_opt.retraining_search import Candidate, RelaxedChoices, proved_bounds
from oar_opt.solvers import run_pyomo
from oar_opt.solvers.scip import WITHOUT_INTERIOR

KINDS = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "logistic", "l1_svm", "lad")
pytestmark = pytest.mark.usefixtures("trained_once")

REQUEST = Request(relative_gap=1e-5)
SOLVERS = pytest.mark.parametrize("solver", ["highs", "scip"])


def run(problem, request=REQUEST):
    formulation = formulations()["strong_duality"]
    assert formulation.accepts(problem) is None
    return formulation.build(problem, request).run(request)


def assert_right(problem, claim, best, gap=1e-5):
    """The claim of a finished run; ``best`` is enumeration's evaluation or None."""
    assert claim.stopped_by is StoppedBy.PROOF
    assert claim.infeasible == (best is None)
    if best is None:
        assert claim.moves is None and claim.bound is None
        return
    room = gap * max(1.0, abs(best.objective))
    assert claim.objective == pytest.approx(best.objective, abs=room)
    assert claim.bound == pytest.approx(best.objective, abs=2 * room)
    assert_valid(problem, claim, best)


def assert_valid(problem, claim, best):
    """A bound that no answer is beyond, and moves that are what they say; whatever ended the run."""
    sign = 1 if problem.goal.maximises else -1
    assert not claim.infeasible
    if claim.bound is not None:
        assert sign * (claim.bound - best.objective) >= -1e-9 * max(1.0, abs(best.objective))
    if claim.moves is not None:
        outcome = evaluate(problem, claim.moves)
        assert outcome.is_answer and outcome.objective == pytest.approx(claim.objective, abs=1e-9)


# -- the optimum ------------------------------------------------------------------------------------------------------


@SOLVERS
@pytest.mark.parametrize("place", range(len(KINDS)))
def test_the_optimum_equals_that_of_re_training_every_choice(make_small, place, solver):
    for seed in (500 + place, 520 + place):
        intercept, goal = str(list(Intercept)[seed % 3]), str(list(GoalKind)[seed % 4])
        problem = make_small(seed, KINDS[place], intercept, goal, most_members=2)
        if formulations()["strong_duality"].accepts(problem) is None:
            assert_right(problem, run(problem, replace(REQUEST, solver=solver)), enumerate_choices(problem).best)


@SOLVERS
@pytest.mark.parametrize("kind", ["svm", "huber", "logistic"])
def test_a_start_that_is_the_optimum_already_is_confirmed(make_small, kind, solver):
    problem = make_small(540, kind, "penalized", "max_margin", most_members=2)
    best = enumerate_choices(problem).best
    request = replace(REQUEST, solver=solver, start=best.moves, start_parameters=best.parameters, cutoff=best.objective)
    assert_right(problem, run(problem, request), best)


@SOLVERS
@pytest.mark.parametrize(("kind", "seed"), [("ridge", 0), ("svm", 3)])
def test_moves_that_harm_the_fit_too_much_are_no_answer(make, kind, seed, solver):
    free = make(seed, kind, "penalized", n=7)
    best = enumerate_choices(free).best
    increase = evaluate(replace(free, max_loss_increase=1e9), best.moves).loss_increase
    problem = replace(free, max_loss_increase=0.5 * increase)
    limited = enumerate_choices(problem).best
    assert increase > 0 and limited.objective < best.objective - 1e-6
    assert_right(problem, run(problem, replace(REQUEST, solver=solver)), limited)


@SOLVERS
def test_excluded_moves_do_not_come_back(make, solver):
    problem = make(4, "svm", "none", "max_margin", n=7, identical=True)
    excluded: list = []
    for _ in range(3):
        best = enumerate_choices(problem, excluded=excluded).best
        claim = run(problem, replace(REQUEST, solver=solver, excluded=tuple(excluded)))
        assert_right(problem, claim, best)
        assert resulting_records(problem, claim.moves) not in [resulting_records(problem, m) for m in excluded]
        excluded.append(claim.moves)


def test_a_run_through_the_pipeline_is_certified(make):
    problem = make(7, "svm", "penalized", n=10, queries=2)
    result = solve(problem, formulation="strong_duality", solver="scip")
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(enumerate_choices(problem).best.objective, abs=1e-4)


def test_a_forbidden_tie_that_could_win_is_an_error():
    """Records at +-1, C = 0.05: w = 0.1 and any intercept up to 0.9 in size; doubling the record at 1 settles it."""
    heavier = Option(OptionKind.MENU, (1.0,), 1.0, 2.0, 1.0)
    problem = RecourseProblem(
        "tie",
        Records(np.array([[1.0], [-1.0]]), np.array([1.0, -1.0]), np.ones(2)),
        LearnerSpec("svm", Intercept.FREE, C=0.05),
        Collective((Member(0, (), (heavier,)),)),
        (Query("q", (0.0,), -1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=Position.UNIQUE,
    )
    with pytest.raises(InputError, match="not unique"):
        run(problem)


# -- limits, and solvers that fail ------------------------------------------------------------------------------------


def larger(make, kind="svm"):
    return make(7, kind, "penalized", "max_margin", n=10, members=3, options=2, queries=2)


@pytest.mark.parametrize(("kind", "solver"), [("svm", "highs"), ("squared_hinge", "scip"), ("logistic", "highs")])
def test_the_bound_is_valid_when_a_limit_ends_the_run(make, kind, solver):
    problem = larger(make, kind)
    best = enumerate_choices(problem).best
    for limit in ({"node_limit": 1}, {"time_limit": 1e-3}, {"time_limit": 0.3}):
        assert_valid(problem, run(problem, replace(REQUEST, solver=solver, **limit)), best)


@SOLVERS
def test_the_bound_is_valid_when_it_is_interrupted(make, solver):
    problem = larger(make)
    best = enumerate_choices(problem).best
    for asked in (0, 10, 60):
        count = iter(range(10**9))
        claim = run(problem, replace(REQUEST, solver=solver, interrupted=lambda: next(count) >= asked))  # noqa: B023
        assert_valid(problem, claim, best)
        assert asked or claim.stopped_by is StoppedBy.INTERRUPT


def test_progress_never_crosses_the_truth(make):
    problem, seen = larger(make), []
    best = enumerate_choices(problem).best.objective
    run(problem, replace(REQUEST, progress=seen.append))
    assert seen
    for line in seen:
        assert line.primal is None or line.primal <= best + 1e-9
        assert line.bound is None or line.bound >= best - 1e-9


@pytest.mark.parametrize("goal", ["max_margin", "min_members"])
def test_where_branch_and_bound_always_fails_single_choices_are_left(make, monkeypatch, goal):
    problem = make(3, "svm", "penalized", goal, members=3, options=2, required=0.02)
    monkeypatch.setattr(RelaxedChoices, "best", lambda self, limits: Candidate(False, self._nothing(), None, 1))
    monkeypatch.setattr(RelaxedChoices, "_nothing", lambda self: self.relaxation.goal[1] * math.inf, raising=False)
    assert_right(problem, run(problem), enumerate_choices(problem).best)


def test_no_choice_left_is_believed_only_twice(make, monkeypatch):
    """A first "infeasible", with presolve, is not believed."""
    problem = make(3, "svm", members=3, options=2)
    real = RelaxedChoices.best

    def wrong(self, limits):
        return Candidate(True, None, None, 0) if limits.presolve else real(self, limits)

    monkeypatch.setattr(RelaxedChoices, "best", wrong)
    assert_right(problem, run(problem), enumerate_choices(problem).best)


def test_a_choice_whose_worth_is_not_settled_keeps_the_bound_open(make, unsettle):
    problem = make(2, "svm", members=3, options=3)
    best = enumerate_choices(problem).best
    unsettle(best)
    claim = run(problem)
    assert claim.bound >= best.objective - 1e-9 and not claim.infeasible


def test_solvers_without_quadratic_rows_or_exponentials_are_refused(make):
    assert "quadratic" in formulations()["strong_duality"].unfit("glpk")
    assert formulations()["strong_duality"].unfit("scip") is None
    with pytest.raises(InputError, match="exponentials"):
        run(make(2, "logistic", n=6, members=1), replace(REQUEST, solver="gurobi_persistent"))


# -- the nonlinear rows -----------------------------------------------------------------------------------------------


def stated(make, kind):
    """The model of a relaxation without any linear row, so that only the rows of the convex terms are left."""
    problem = make(6, kind, "none", n=6, members=1, options=2, regression=kind == "huber", strength=2.0)
    bounds = proved_bounds(problem)
    found = NonlinearRelaxation(Relaxation(problem, bounds, Region.of(problem, bounds), None))
    for name in ("stationarity", "strong_duality", "row", "goal"):
        found.model.component(name).deactivate()
    return found


def least(found, column, fixed):
    """The least value of a column, with other columns held at values."""
    m = found.model
    m.del_component("asked")
    m.asked = pyo.Objective(expr=found.columns[column], sense=pyo.minimize)
    for place, value in fixed.items():
        found.columns[place].fix(value)
    program = replace(found.program, read=lambda: ((), LinearParameters.of(np.zeros(1), 0.0)))
    claim = run_pyomo(program, Request(relative_gap=1e-9, solver="scip"))
    for place in fixed:
        found.columns[place].unfix()
    return claim.objective


@pytest.mark.parametrize("kind", ["huber", "squared_hinge", "logistic"])
def test_the_nonlinear_rows_are_loss_and_conjugate_and_nothing_below(make, kind):
    """For an option too: ``z a l(f / z)``; of a curve only for ``z`` 1, and at ``z`` 0 nothing is asked."""
    found = stated(make, kind)
    loss, curves = found.loss, found.relaxation.curves
    picked = [next(c for c in curves if (c.z is None) is certain and c.loss is not None) for certain in (True, False)]
    for curve in picked:
        y = np.array([curve.y])
        for z in [1.0] if curve.z is None or kind == "logistic" else [1.0, 0.4]:
            held = {} if curve.z is None else {curve.z: z}
            for share in (0.0, 0.3, 0.8, 1.0):
                f = curve.low + share * (curve.high - curve.low)
                expected = z * curve.a * float(loss.value(y, np.array([f]))[0])
                assert least(found, curve.loss, held | {curve.f: z * f}) == pytest.approx(expected, abs=3e-5)
                g = float(loss.pull(y, np.array([f]))[0])
                expected = z * curve.a * float(loss.conjugate(y, np.array([g]))[0])
                value = least(found, curve.conjugate, held | {curve.g: z * curve.a * g})
                assert value == pytest.approx(expected, abs=3e-5)
    if kind == "logistic":
        curve = picked[1]
        for column, argument in ((curve.loss, curve.f), (curve.conjugate, curve.g)):
            assert least(found, column, {curve.z: 0.0, argument: 0.0}) <= 1e-6


def test_squares_are_cones(make):
    found = stated(make, "ridge")
    for square in found.relaxation.squares:
        t = 0.7 * math.sqrt(found.columns[square.column].ub / square.weight)
        direction = np.array(square.direction)
        point = dict(zip(square.columns, t * direction / (direction @ direction), strict=True))
        assert least(found, square.column, point | ({} if square.z is None else {square.z: 1.0})) == pytest.approx(
            square.weight * t * t, rel=1e-4, abs=1e-5
        )


@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_logistic_rows_hold_exactly_above_loss_and_conjugate(y):
    loss, room = LogisticLoss(), 1e-6
    for f in (-30.0, -2.0, 0.0, 0.5, 8.0):
        value = float(loss.value(np.array([y]), np.array([f]))[0])
        assert loss.value_excess(y, value + room, f, math.exp) < 0 < loss.value_excess(y, value - room, f, math.exp)
    for u in (0.0, 1e-12, 1e-9, 1e-7, 1e-3, 0.3, 0.5, 0.999, 1.0):
        conjugate = float(loss.conjugate(np.array([y]), np.array([-y * u]))[0])
        assert loss.conjugate_excess(y, conjugate, -y * u, math.log) <= 0
        assert loss.conjugate_excess(y, conjugate - room, -y * u, math.log) > 0


def test_every_choice_is_in_the_program_and_its_bound_is_that_of_re_training(make, moves_of):
    """Never below what re-training gives. Above, a slack ``e`` of strong duality leaves ``theta`` within
    ``lam/2 ||.||_R^2 <= e`` of the optimum, and SCIP's tolerance is a slack in every convex row."""
    problem = make(8, "squared_hinge", "penalized", n=8, members=2, options=1)
    bounds = proved_bounds(problem)
    risk, relaxation = bounds.risk, Relaxation(problem, bounds, Region.of(problem, bounds), None)
    found = NonlinearRelaxation(relaxation)
    heaviest = max(float(bounds.fixed.a.max()), float(bounds.stacked.a.max()))
    slack = WITHOUT_INTERIOR["numerics/feastol"] * heaviest * len(found.model.convex)
    x = risk.extend(np.array([problem.queries[0].x]))[0]
    room = math.sqrt(2 * slack / risk.lam * float((x**2 / risk.penalty).sum()))
    assert room < 0.05
    menus = [problem.admissible_options(member) for member in problem.collective.members]
    first = np.cumsum([0, *(len(menu) for menu in menus)])
    for choice, moves in moves_of(problem):
        rows = [first[i] + menus[i].index(option) for i, option in enumerate(choice)]
        columns = [found.columns[relaxation.choice[row]] for row in rows]
        for column in columns:
            column.fix(1.0)
        claim = run_pyomo(found.program, Request(relative_gap=1e-4, solver="scip"))
        for column in columns:
            column.unfix()
        truth = evaluate(problem, moves).objective
        assert truth - 1e-6 <= claim.bound <= truth + room + 1e-4
