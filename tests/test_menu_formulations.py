"""Every program over menus against re-training of every choice: optimum, parameters, ties, cutoffs, excluded moves.

What the big-M program alone promises is in test_kkt_big_m.py.
"""

from __future__ import annotations

from dataclasses import replace

import pyomo.environ as pyo
import pyscipopt
import pytest

from oar_opt.discovery import formulations, learner_of
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.export import export
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
from oar_opt.result import Request, StoppedBy
from oar_opt.risk_program import whitened

pytestmark = pytest.mark.usefixtures("trained_once")

EXACT = Request(relative_gap=1e-9, tightening=0.0)
NEW = ("kkt_sos1", "kkt_indicator")
PROGRAMS = ("kkt_big_m", *NEW)
KINDS, INTERCEPTS = ("ridge", "svm"), tuple(Intercept)


def run(name, problem, request=EXACT):
    return formulations()[name].build(problem, request).run(request)


def outcomes(problem, moves_of):
    """Every answer by re-training, the best first; moves with the same result count once."""
    every = []
    for _, moves in moves_of(problem):
        if not learner_of(problem).undefined(problem, problem.apply(moves)):
            outcome = evaluate(problem, moves)
            every += [] if outcome.broken else [outcome]
    every.sort(key=lambda o: -o.objective if problem.goal.maximises else o.objective)
    best: dict = {}
    for outcome in every:
        best.setdefault(resulting_records(problem, outcome.moves), outcome)
    return list(best.values())


def assert_same_optimum(name, problem, best, request=EXACT):
    claim = run(name, problem, request)
    assert claim.infeasible == (best is None)
    if best is None:
        assert claim.moves is None and claim.stopped_by is StoppedBy.PROOF
        return
    assert claim.objective == pytest.approx(best.objective, abs=1e-6)
    assert claim.bound == pytest.approx(best.objective, abs=1e-6)
    outcome = evaluate(problem, claim.moves)
    assert outcome.objective == pytest.approx(best.objective, abs=1e-6) and not outcome.broken
    assert claim.parameters.w == pytest.approx(outcome.parameters.w, abs=1e-6)
    low, high = outcome.fit.intercepts or (outcome.parameters.b, outcome.parameters.b)
    assert low - 1e-6 <= claim.parameters.b <= high + 1e-6


# -- the optimum ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("seed", range(300, 348))
def test_the_optimum_equals_that_of_re_training_every_choice(make_varied, moves_of, name, seed):
    problem = make_varied(seed)
    assert formulations()[name].accepts(problem) is None
    assert_same_optimum(name, problem, next(iter(outcomes(problem, moves_of)), None))


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("seed", range(48, 72))
def test_the_optimum_is_right_where_one_choice_changes_the_learner_altogether(make_tiny, moves_of, name, seed):
    problem = make_tiny(seed)
    best = next(iter(outcomes(problem, moves_of)), None)
    if formulations()[name].accepts(problem) is None:
        assert_same_optimum(name, problem, best)
    else:
        assert best is None


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("seed", range(400, 424, 3))
def test_a_start_and_tightening_for_a_cutoff_do_not_lose_the_optimum(make_varied, moves_of, name, seed):
    problem = make_varied(seed)
    every = outcomes(problem, moves_of)
    for known in every[:1] + every[-1:]:
        request = replace(
            EXACT,
            tightening=1e9,
            cutoff=known.objective,
            start=known.moves,
            start_parameters=known.parameters,
        )
        assert_same_optimum(name, problem, every[0], request)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("goal", list(GoalKind))
def test_a_collective_of_nobody_keeps_the_present_optimum(make, moves_of, name, goal):
    problem = make(1, "svm", "penalized", goal, n=6, members=0, required=1e-3)
    assert_same_optimum(name, problem, next(iter(outcomes(problem, moves_of)), None))


# -- fixed moves ------------------------------------------------------------------------------------------------------


def fix(model, problem, choice):
    for member, option in zip(problem.collective.members, choice, strict=True):
        for k, other in enumerate(problem.admissible_options(member)):
            model.choice[member.record, k].fix(float(other is option or other == option))


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_with_the_choice_fixed_the_programs_parameters_are_the_re_trained_ones(make, moves_of, name, kind, intercept):
    problem = make(1, kind, intercept, n=7, members=2, options=1, withhold=True, prior=True)
    for choice, moves in moves_of(problem):
        built = formulations()[name].build(problem, EXACT)
        fix(built.model, problem, choice)
        claim, outcome = built.run(EXACT), evaluate(problem, moves)
        assert claim.moves == moves
        assert claim.parameters.w == pytest.approx(outcome.parameters.w, abs=1e-6)
        if outcome.fit.intercepts is None:
            assert claim.parameters.b == pytest.approx(outcome.parameters.b, abs=1e-6)
        assert claim.objective == pytest.approx(outcome.objective, abs=1e-6)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("shift", [-1e-3, 1e-3])
def test_any_other_parameters_than_the_re_trained_ones_are_infeasible(make, name, shift):
    problem = make(3, "svm", "penalized", n=7)
    w = evaluate(problem, ()).parameters.w[0]
    first = whitened(problem, learner_of(problem).risk(problem.learner, problem.d)).basis[0]
    built = formulations()[name].build(problem, EXACT)
    fix(built.model, problem, [problem.options(member)[0] for member in problem.collective.members])
    theta = built.model.theta
    built.model.off = pyo.Constraint(expr=sum(first[j] * theta[j] for j in theta) == w + shift)
    assert built.run(EXACT).infeasible


# -- ties and definedness ---------------------------------------------------------------------------------------------


def tied(position=Position.OPTIMISTIC, target=1.0):
    """Records at +-1 and +-2, C = 0.05: ``w = 0.3`` with every pull at its bound, so every b in [-0.4, 0.4] is optimal.

    The query is at 0, where f = b.
    """
    X = np_column([1.0, 2.0, -1.0, -2.0, 0.0])
    records = Records(X, [1.0, 1.0, -1.0, -1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 0.0])
    return RecourseProblem(
        "tied",
        records,
        LearnerSpec("svm", Intercept.FREE, C=0.05),
        Collective((Member(4),)),
        (Query("q", (0.0,), target),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=position,
    )


def np_column(values):
    return [[value] for value in values]


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("target", [-1.0, 1.0])
def test_a_tie_is_resolved_in_favour_of_the_collective(name, target):
    claim = run(name, tied(target=target))
    assert claim.parameters.w == pytest.approx((0.3,), abs=1e-6)
    assert claim.parameters.b == pytest.approx(0.4 * target, abs=1e-6)
    assert claim.objective == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("name", NEW)
def test_the_claim_of_a_tie_bounds_the_pessimistic_optimum_from_above(name):
    problem = tied(Position.PESSIMISTIC)
    assert evaluate(problem, ()).objective == pytest.approx(-0.4, abs=1e-7)
    assert run(name, problem).bound == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_choice_that_would_empty_a_class_is_never_taken(name, weight):
    """Only the member has the class 'no'; its one option withholds it or changes its label."""
    leave = Option(OptionKind.MENU, (-1.0,), -1.0 if weight == 0 else 1.0, weight, 1.0)
    problem = RecourseProblem(
        "lonely",
        Records(np_column([1.0, 2.0, -1.0]), [1.0, 1.0, -1.0], [1.0, 1.0, 1.0]),
        LearnerSpec("svm", Intercept.FREE, C=1.0),
        Collective((Member(2, (), (leave,)),)),
        (Query("q", (-1.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=Position.OPTIMISTIC,
    )
    claim = run(name, problem)
    assert claim.moves == () and claim.objective == pytest.approx(evaluate(problem, ()).objective, abs=1e-6)


# -- solvers, limits, interruption ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kkt_sos1", "kkt_indicator"])
def test_without_a_named_solver_the_formulations_own_runs(make, name):
    assert solve(make(1), formulation=name).solution.method.solver.startswith("scip ")


@pytest.mark.parametrize(
    ("name", "lacks"), [("kkt_sos1", "special ordered sets"), ("kkt_indicator", "indicator constraints")]
)
def test_a_named_solver_that_cannot_run_it_is_refused_by_name(make, name, lacks):
    with pytest.raises(InputError, match=f"'highs' is not known to have {lacks}"):
        solve(make(1), formulation=name, solver="highs")
    for solver in ("highs", "glpk"):
        with pytest.raises(InputError, match=f"'{solver}' is not known to have {lacks}"):
            formulations()[name].build(make(1)).run(Request(solver=solver))


@pytest.mark.parametrize("name", NEW)
def test_an_interruption_ends_the_run_and_is_said(make, name):
    problem = make(5, "svm", "free", n=40, d=4, members=5, options=3)
    claim = run(name, problem, replace(EXACT, interrupted=lambda: True))
    assert claim.stopped_by is StoppedBy.INTERRUPT and not claim.infeasible


@pytest.mark.parametrize("name", NEW)
def test_limits_end_the_run_and_leave_a_valid_bound(make, name):
    problem = make(5, "svm", "free", n=60, d=4, members=6, options=3, core=10)
    best = enumerate_choices(replace(problem, collective=Collective(problem.collective.members[:3]))).best
    for limit in (Request(tightening=0.0, node_limit=1), Request(tightening=0.0, time_limit=0.5)):
        claim = run(name, problem, limit)
        assert claim.stopped_by in (StoppedBy.NODE_LIMIT, StoppedBy.TIME_LIMIT, StoppedBy.GAP)
        assert claim.bound is None or claim.bound >= best.objective - 1e-6


@pytest.mark.parametrize("name", NEW)
def test_progress_is_reported(make, name):
    seen = []
    run(name, make(5, "svm", "penalized", n=14, members=3), replace(EXACT, progress=seen.append))
    assert seen and all(line.seconds >= 0 for line in seen)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kkt_sos1"])
def test_another_reader_of_the_written_file_finds_the_same_optimum(make, tmp_path, name):
    problem = make(5, "svm", "penalized", n=12)
    claim = run(name, problem)
    export(problem, tmp_path / "program.lp", formulation=name, form="lp")
    reader = pyscipopt.Model()
    reader.hideOutput()
    reader.readProblem(str(tmp_path / "program.lp"))
    reader.optimize()
    assert reader.getObjVal() == pytest.approx(claim.objective, abs=1e-6)


@pytest.mark.parametrize("name", ["kkt_sos1"])
def test_what_mps_files_do_not_hold_is_not_written_to_one(make, tmp_path, name):
    with pytest.raises(UnsupportedError, match="write it with --format lp"):
        export(make(5, "svm"), tmp_path / "program.mps", formulation=name, form="mps")
    assert not (tmp_path / "program.mps").exists()


def test_a_program_that_lp_files_do_not_hold_is_not_written(make, tmp_path):
    with pytest.raises(
        UnsupportedError,
        match="indicator constraints, which lp files do not hold here: write it with --format cip or mof",
    ):
        export(make(5, "svm"), tmp_path / "program.lp", formulation="kkt_indicator", form="lp")


# -- excluded moves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PROGRAMS, "enumeration"])
@pytest.mark.parametrize("seed", range(6))
def test_excluding_the_answers_one_by_one_goes_through_all_of_them_in_order(make, moves_of, name, seed):
    goal = ("max_margin", "min_cost", "min_members")[seed % 3]
    problem = make(
        seed,
        ("ridge", "svm")[seed % 2],
        "penalized",
        goal,
        n=7,
        options=1,
        withhold=seed % 4 == 1,
        identical=seed % 2 == 0,
        required=0.01,
    )
    request = EXACT
    for expected in outcomes(problem, moves_of):
        claim = run(name, problem, request)
        assert claim.objective == pytest.approx(expected.objective, abs=1e-6)
        result = resulting_records(problem, claim.moves)
        assert result not in {resulting_records(problem, moves) for moves in request.excluded}
        request = replace(request, excluded=(*request.excluded, claim.moves))
    claim = run(name, problem, request)
    assert claim.infeasible and claim.moves is None and claim.stopped_by is StoppedBy.PROOF


@pytest.mark.parametrize("name", [*PROGRAMS, "enumeration"])
def test_a_collective_of_nobody_has_one_move_to_exclude(make, name):
    assert run(name, make(1, members=0), replace(EXACT, excluded=((),))).infeasible


@pytest.mark.parametrize("name", [*PROGRAMS, "enumeration"])
def test_excluding_what_no_member_can_do_changes_nothing(make, name):
    problem = make(1)
    best = enumerate_choices(problem).best
    assert best.moves
    stranger = replace(best.moves[0], s=17.0)
    claim = run(name, problem, replace(EXACT, excluded=((stranger,), (replace(stranger, record=0),))))
    assert claim.moves == best.moves
