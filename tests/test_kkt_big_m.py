"""The big-M program against re-training: the same optimum as enumeration, and the learner's own parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyomo.environ as pyo
import pytest

from oar_opt.bounds import Interval, ParameterBounds
from oar_opt.discovery import formulations, learner_of
from oar_opt.errors import UnsupportedError
from oar_opt.evaluate import evaluate
from oar_opt.problem import Collective as Team
from oar_opt.problem import (
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
    moves_from_choice,
)
from oar_opt.result import Request, StoppedBy
from oar_opt.risk import Loss, PenaltyNorm, RegularizedRisk
from oar_opt.risk_program import whitened
from oar_opt.update_settings import gradient_update

EXACT = Request(relative_gap=1e-9)
KINDS, INTERCEPTS = ("ridge", "svm"), ("none", "penalized", "free")


def program():
    return formulations()["kkt_big_m"]


def reached(problem, moves_of):
    """The objectives of all answers by re-training every choice, in the choices' order."""
    found = []
    for _, moves in moves_of(problem):
        if not learner_of(problem).undefined(problem, problem.apply(moves)):
            outcome = evaluate(problem, moves)
            found += [] if outcome.broken else [outcome.objective]
    return found


def oracle(problem, moves_of):
    """The best of them, None where no choice is an answer."""
    return (max if problem.goal.maximises else min)(reached(problem, moves_of), default=None)


def assert_same_optimum(problem, moves_of, request=EXACT):
    assert program().accepts(problem) is None
    claim, best = program().build(problem).run(request), oracle(problem, moves_of)
    assert claim.infeasible == (best is None)
    if best is None:
        assert claim.moves is None and claim.stopped_by is StoppedBy.PROOF
        return
    assert claim.objective == pytest.approx(best, abs=1e-6)
    assert claim.bound == pytest.approx(best, abs=1e-6)
    outcome = evaluate(problem, claim.moves)
    assert outcome.objective == pytest.approx(best, abs=1e-6) and not outcome.broken
    assert claim.parameters.w == pytest.approx(outcome.parameters.w, abs=1e-6)
    if outcome.fit.intercepts is None:
        assert claim.parameters.b == pytest.approx(outcome.parameters.b, abs=1e-6)
    else:
        assert outcome.fit.intercepts[0] - 1e-6 <= claim.parameters.b <= outcome.fit.intercepts[1] + 1e-6


@pytest.mark.parametrize("seed", range(48))
def test_the_optimum_equals_that_of_re_training_every_choice(make_varied, moves_of, seed):
    assert_same_optimum(make_varied(seed), moves_of)


@pytest.mark.parametrize("seed", range(12))
def test_the_optimum_is_right_where_every_record_is_a_member(make, moves_of, seed):
    kind, intercept = KINDS[seed % 2], INTERCEPTS[seed % 3]
    problem = make(seed, kind, intercept, n=4, members=4, options=1, withhold=seed < 6, core=0, joins=seed % 4 == 0)
    assert_same_optimum(problem, moves_of)


@pytest.mark.parametrize("strength", [1e-3, 100.0])
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_optimum_is_right_for_weak_and_strong_regularisation(make, moves_of, kind, intercept, strength):
    assert_same_optimum(make(2, kind, intercept, n=7, strength=strength), moves_of)


@pytest.mark.parametrize("goal", list(GoalKind))
@pytest.mark.parametrize("kind", KINDS)
def test_a_collective_of_nobody_keeps_the_present_optimum(make, moves_of, kind, goal):
    assert_same_optimum(make(1, kind, "penalized", goal, n=6, members=0, required=1e-3), moves_of)


@pytest.mark.parametrize("seed", range(6))
def test_scip_finds_the_same_optimum(make_varied, moves_of, seed):
    assert_same_optimum(make_varied(200 + 5 * seed), moves_of, Request(solver="scip", relative_gap=1e-9))


def test_two_threads_find_the_same_optimum(make_varied, moves_of):
    assert_same_optimum(make_varied(19), moves_of, Request(relative_gap=1e-9, threads=2))


@pytest.mark.parametrize("seed", [*range(12), 1088, 2188, 2764, 3678, 10678])
def test_the_optimum_is_right_where_one_choice_changes_the_learner_altogether(make_tiny, moves_of, seed):
    """1088 to 3678: an interval ends within 1e-9 of a re-trained value; 10678: a member has every option excluded."""
    problem = make_tiny(seed)
    if program().accepts(problem) is None:
        assert_same_optimum(problem, moves_of)
    else:
        assert oracle(problem, moves_of) is None


@pytest.mark.parametrize("seed", [1863, 3471])
def test_tightened_intervals_leave_room_for_the_solvers_tolerances(make_varied, moves_of, seed):
    assert_same_optimum(make_varied(seed), moves_of)


def assert_no_cutoff_loses_the_optimum(problem, moves_of, *, every=False):
    values = reached(problem, moves_of)
    best = (max if problem.goal.maximises else min)(values, default=None)
    for cutoff in {*(values if every else values[:1]), best} - {None}:
        request = replace(EXACT, cutoff=cutoff)
        claim = program().build(problem, request).run(request)
        assert claim.objective == pytest.approx(best, abs=1e-6) and claim.bound == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("seed", [*range(240, 264, 5), 2327])
def test_a_cutoff_that_some_choice_reaches_does_not_lose_the_optimum(make_varied, moves_of, seed):
    assert_no_cutoff_loses_the_optimum(make_varied(seed), moves_of)


@pytest.mark.parametrize("seed", [*range(24, 48, 5), 2952, 3032])
def test_a_cutoff_does_not_lose_the_optimum_of_a_tiny_problem(make_tiny, moves_of, seed):
    problem = make_tiny(seed)
    if program().accepts(problem) is None:
        assert_no_cutoff_loses_the_optimum(problem, moves_of)


@pytest.mark.parametrize("seed", [1700, 3016])
def test_no_cutoff_breaks_the_solver_or_the_model(make_tiny, moves_of, seed):
    assert_no_cutoff_loses_the_optimum(make_tiny(seed), moves_of, every=True)


# -- fixed moves ------------------------------------------------------------------------------------------------------


def fix(model, problem, choice):
    for member, option in zip(problem.collective.members, choice, strict=True):
        options = problem.admissible_options(member)
        for k, other in enumerate(options):
            model.choice[member.record, k].fix(float(other is option or other == option))


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_with_the_choice_fixed_the_programs_parameters_are_the_re_trained_ones(make, moves_of, seed, kind, intercept):
    problem = make(seed, kind, intercept, n=7, members=2, options=1, withhold=True, prior=seed == 1)
    built = program().build(problem)
    for choice, moves in moves_of(problem):
        fix(built.model, problem, choice)
        claim, outcome = built.run(EXACT), evaluate(problem, moves)
        assert claim.moves == moves
        assert claim.parameters.w == pytest.approx(outcome.parameters.w, abs=1e-6)
        if outcome.fit.intercepts is None:
            assert claim.parameters.b == pytest.approx(outcome.parameters.b, abs=1e-6)
        assert claim.objective == pytest.approx(outcome.objective, abs=1e-6)


def test_any_other_parameters_than_the_re_trained_ones_are_infeasible(make):
    """With all members staying and the first weight pushed off the optimum by 1e-3, no solution is left."""
    problem = make(3, "svm", "penalized", n=7)
    w = evaluate(problem, ()).parameters.w[0]
    first = whitened(problem, learner_of(problem).risk(problem.learner, problem.d)).basis[0]
    for shift in (-1e-3, 1e-3):
        built = program().build(problem)
        fix(built.model, problem, [problem.options(member)[0] for member in problem.collective.members])
        off = pyo.Constraint(expr=sum(first[j] * built.model.theta[j] for j in built.model.theta) == w + shift)
        built.model.off = off
        assert built.run(EXACT).infeasible


# -- ties -------------------------------------------------------------------------------------------------------------


def tied(position=Position.OPTIMISTIC, target=1.0, menu=()):
    """Records at +-1 and +-2, C = 0.05: ``w = C (1 + 2 + 1 + 2) = 0.3`` with every pull at its bound.

    So it stays while ``0.6 + |b| <= 1``, that is for every intercept from -0.4 to 0.4. The query is at 0, where f = b.
    """
    X = np.array([[1.0], [2.0], [-1.0], [-2.0], [0.0]])
    records = Records(X, np.array([1.0, 1.0, -1.0, -1.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0, 0.0]))
    return RecourseProblem(
        "tied",
        records,
        LearnerSpec("svm", Intercept.FREE, C=0.05),
        Team((Member(4, (), tuple(menu)),)),
        (Query("q", (0.0,), target),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=position,
    )


@pytest.mark.parametrize("target", [-1.0, 1.0])
def test_a_tie_is_resolved_in_favour_of_the_collective(target):
    problem = tied(target=target)
    claim = program().build(problem).run(EXACT)
    assert claim.parameters.w == pytest.approx((0.3,), abs=1e-7)
    assert claim.parameters.b == pytest.approx(0.4 * target, abs=1e-7)
    assert claim.objective == pytest.approx(0.4, abs=1e-7)
    assert evaluate(problem, ()).objective == pytest.approx(0.4, abs=1e-7)


def test_the_claim_of_a_tie_bounds_the_pessimistic_optimum_from_above():
    problem = tied(Position.PESSIMISTIC)
    claim = program().build(problem).run(EXACT)
    assert claim.bound == pytest.approx(0.4, abs=1e-7)
    assert evaluate(problem, ()).objective == pytest.approx(-0.4, abs=1e-7)


# -- defined learners -------------------------------------------------------------------------------------------------


def lonely(kind="svm", intercept=Intercept.FREE, weight=0.0, strength=1.0):
    """Only the member has the class 'no'; its one option, good for the query, withholds it or changes its label."""
    X = np.array([[1.0], [2.0], [-1.0]])
    leave = Option(OptionKind.MENU, (-1.0,), -1.0 if weight == 0 else 1.0, weight, 1.0)
    return RecourseProblem(
        "lonely",
        Records(X, np.array([1.0, 1.0, -1.0]), np.ones(3)),
        LearnerSpec(kind, intercept, C=strength if kind == "svm" else None, alpha=1.0 if kind == "ridge" else None),
        Team((Member(2, (), (leave,)),)),
        (Query("q", (-1.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=Position.OPTIMISTIC,
    )


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_choice_that_would_empty_a_class_is_never_taken(weight):
    problem = lonely(weight=weight)
    assert learner_of(problem).undefined(problem, problem.apply(problem_moves(problem)))
    claim = program().build(problem).run(EXACT)
    assert claim.moves == () and claim.objective == pytest.approx(evaluate(problem, ()).objective, abs=1e-6)


@pytest.mark.parametrize(("kind", "intercept"), [("svm", "penalized"), ("svm", "none"), ("ridge", "free")])
def test_where_the_learner_stays_defined_the_same_choice_is_taken(kind, intercept):
    problem = lonely(kind, Intercept(intercept), strength=0.05)
    claim = program().build(problem).run(EXACT)
    assert claim.moves == problem_moves(problem)
    assert claim.objective == pytest.approx(evaluate(problem, claim.moves).objective, abs=1e-6)


def problem_moves(problem):
    return moves_from_choice(problem, [problem.options(member)[-1] for member in problem.collective.members])


def test_where_no_choice_leaves_the_learner_defined_it_refuses_or_proves_infeasibility(moves_of):
    """Class 'no' has no weight at all and nobody can give it any, so the free intercept is always undefined."""
    problem = lonely()
    records = Records(problem.records.X, problem.records.y, np.array([1.0, 1.0, 0.0]))
    problem = replace(problem, records=records)
    assert oracle(problem, moves_of) is None
    reason = program().accepts(problem)
    if reason is None:
        assert program().build(problem).run(EXACT).infeasible
    else:
        assert "no finite bound is proved" in reason


def test_an_optimum_that_presolve_loses_is_found_by_the_second_run():
    """HiGHS 1.16 alone says 1, the margin if the member stays: the widest strip lies between -1 and 1, ``f = -x``.

    Once its record is at 0 the strip lies between 0 and 1: ``f = 1 - 2 x``, and the query's margin is 3. The pulls this
    takes, 2 on either side, are below ``C s``.
    """
    records = Records(np.array([[1.0], [-1.0], [-2.0]]), np.array([-1.0, 1.0, 1.0]), np.array([2.0, 2.0, 3.0]))
    problem = RecourseProblem(
        "strip",
        records,
        LearnerSpec("svm", Intercept.FREE, C=10.0),
        Team((Member(2, (), (Option(OptionKind.MENU, (0.0,), 1.0, 3.0, 1.0),)),)),
        (Query("q", (-1.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=Position.OPTIMISTIC,
    )
    claim = program().build(problem).run(Request())
    assert claim.objective == pytest.approx(3.0, abs=1e-6) and claim.bound == pytest.approx(3.0, abs=1e-6)
    assert claim.parameters.w == pytest.approx((-2.0,), abs=1e-6)


# -- where it applies -------------------------------------------------------------------------------------------------


def test_an_unknown_learner_is_refused(make):
    problem = replace(make(0), learner=LearnerSpec("perceptron", C=1.0))
    assert "cannot be re-trained here" in program().accepts(problem)


def test_the_nearest_centroid_is_refused(make):
    problem = make(0)
    records = Records(problem.records.X, (problem.records.y > 0).astype(float), np.ones(problem.n))
    members = tuple(Member(member.record) for member in problem.collective.members)
    queries = (Query("q", problem.queries[0].x, 1.0),)
    spec = LearnerSpec("nearest_centroid")
    problem = replace(problem, records=records, learner=spec, collective=Team(members), queries=queries)
    assert "no" in program().accepts(problem) and "regularised" in program().accepts(problem)


def test_a_curved_loss_is_refused(make, monkeypatch):
    class Curved(Loss):
        value = pull = conjugate = expression = lambda self, y, f: f**4

        def pull_range(self, y):
            return -np.inf, np.inf

    problem = make(0)
    risk = RegularizedRisk.of(problem.learner, problem.d, Curved(), lam=1.0, factor=1.0)
    monkeypatch.setattr(type(learner_of(problem)), "risk", lambda self, spec, d: risk)
    assert "curved" in program().accepts(problem)


def test_an_l1_penalty_is_refused(make, monkeypatch):
    problem = make(0)
    risk = replace(learner_of(problem).risk(problem.learner, problem.d), norm=PenaltyNorm.L1)
    monkeypatch.setattr(type(learner_of(problem)), "risk", lambda self, spec, d: risk)
    assert "l1 norm" in program().accepts(problem)


def test_another_update_rule_is_refused(make):
    problem = make(0)
    problem = replace(problem, update=gradient_update([0.0] * problem.d, rate=0.1, loss="squared"))
    assert "gradient" in program().accepts(problem)


def test_movable_features_are_refused(make):
    problem = make(0)
    moving = next(i for i in range(problem.n) if problem.records.s[i] > 0)
    members = (Member(moving, (FeatureAction(Norm.L2, 0.5),)),)
    assert "features" in program().accepts(replace(problem, collective=Team(members)))


def test_feature_actions_of_radius_zero_are_no_movable_features(make):
    problem = make(0)
    members = (Member(2, (FeatureAction(Norm.L2, 0.0),), problem.collective.members[0].menu),)
    assert program().accepts(replace(problem, collective=Team(members))) is None


def test_a_loss_limit_is_refused(make):
    assert "max_loss_increase" in program().accepts(replace(make(0), max_loss_increase=1.0))


def test_without_a_proof_of_finite_bounds_it_refuses_rather_than_assumes(make, monkeypatch):
    monkeypatch.setattr(ParameterBounds, "along", lambda self, U: Interval.unknown(len(U)))
    problem = make(0)
    assert "no finite bound is proved" in program().accepts(problem)
    with pytest.raises(UnsupportedError, match="no finite bound is proved"):
        program().build(problem)


# -- what the program carries along -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_big_m_has_a_finite_bound_with_a_reason(make, kind):
    built = program().build(make(1, kind, "free", n=7))
    assert built.bounds
    for name, bound in built.bounds.items():
        assert bound.is_finite and "no proof" not in bound.words, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_is_accepted_and_does_not_change_the_optimum(make, moves_of, kind):
    problem = make(1, kind, "penalized", n=7)
    best = oracle(problem, moves_of)
    for _, moves in moves_of(problem)[:3]:
        claim = program().build(problem).run(Request(relative_gap=1e-9, start=moves))
        assert claim.objective == pytest.approx(best, abs=1e-6)


def test_the_model_is_linear(make):
    model = program().build(make(1, "svm", "free", n=7, queries=2, goal="max_helped")).model
    for row in model.component_data_objects(pyo.Constraint, active=True):
        assert row.body.polynomial_degree() in (0, 1)
