"""The search by copies against re-training of every choice, along each of its ways to close a region.

Small problems end in re-training all choices of the first region, so the tests also take that way, or HiGHS's branch
and bound, away: what is left must be as right. Splitting alone need not end, so it gets a limit of nodes, and its bound
must be valid then.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from formulations.single_level import copies
from oar_opt.discovery import formulations
from oar_opt.errors import InputError
from oar_opt.evaluate import choices, enumerate_choices, evaluate
from oar_opt.linear_program import LinearProgram
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
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
    resulting_records,
)
from oar_opt.result import Request, Status, StoppedBy
from oar_opt.screening import Screening

pytestmark = pytest.mark.usefixtures("trained_once")

REQUEST = Request(relative_gap=1e-5)
KINDS = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "logistic", "l1_svm", "lad")
EVERY = pytest.mark.parametrize(("kind", "intercept"), list(product(KINDS, [str(i) for i in Intercept])))
SPLITS = 8
WAYS = ("training", "branch and bound", "splitting")


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """As it is; without re-training whole regions; and without HiGHS's branch and bound where a region can be split."""
    if request.param != "training":
        no_screening(monkeypatch)
    if request.param == "splitting":
        monkeypatch.setattr(copies, "WASTE", -1.0)
    return request.param


def no_screening(monkeypatch):
    """Re-train for all choices of a region only where there is a single one."""
    expected = Screening.expected_seconds

    def seconds(self, region, terms):
        return expected(self, region, terms) if self.choices(region).count <= 1 else float("inf")

    monkeypatch.setattr(Screening, "expected_seconds", seconds)
    monkeypatch.setattr(Screening, "climb", lambda *_: None)


def program():
    return formulations()["copies"]


def run(problem, request=REQUEST):
    assert program().accepts(problem) is None
    if copies.WASTE < 0 and request.node_limit is None:
        request = replace(request, node_limit=SPLITS)
    return program().build(problem, request).run(request)


def assert_right(problem, claim, best, gap=1e-5):
    """The claim of a run; ``best`` is enumeration's evaluation or None."""
    if copies.WASTE < 0 and claim.stopped_by is StoppedBy.NODE_LIMIT:
        assert_valid(problem, claim, best)
        return
    assert claim.stopped_by is StoppedBy.PROOF
    assert claim.infeasible == (best is None)
    if best is None:
        assert claim.moves is None and claim.objective is None and claim.bound is None
        return
    room = gap * max(1.0, abs(best.objective))
    assert claim.objective == pytest.approx(best.objective, abs=room)
    assert_valid(problem, claim, best)
    assert claim.bound == pytest.approx(best.objective, abs=2 * room)
    outcome = evaluate(problem, claim.moves)
    assert outcome.is_answer and outcome.objective == pytest.approx(claim.objective, abs=1e-9)
    assert claim.parameters.vector() == pytest.approx(outcome.parameters.vector(), abs=1e-9)


def assert_valid(problem, claim, best):
    """A bound that no answer is beyond, and moves that are what they say; whatever ended the run."""
    sign = 1 if problem.goal.maximises else -1
    if best is None:
        assert claim.moves is None
        return
    assert not claim.infeasible
    if claim.bound is not None:
        assert sign * (claim.bound - best.objective) >= -1e-9 * max(1.0, abs(best.objective))
    if claim.moves is not None:
        assert evaluate(problem, claim.moves).objective == pytest.approx(claim.objective, abs=1e-9)


TRUTHS: dict = {}


def enumerated(problem, keep=1):
    """Enumeration of a problem; the ways of one test share it."""
    key = pickle.dumps((problem, keep))
    if key not in TRUTHS:
        TRUTHS[key] = enumerate_choices(problem, keep=keep)
    return TRUTHS[key]


def goal_of(seed):
    return str(list(GoalKind)[seed % 4])


# -- the optimum ------------------------------------------------------------------------------------------------------


@EVERY
def test_the_optimum_equals_that_of_re_training_every_choice(make_small, way, kind, intercept):
    shift = KINDS.index(kind)
    for seed in range(200 + shift, 201 + shift):
        problem = make_small(seed, kind, intercept, goal_of(seed), most_members=2)
        if program().accepts(problem) is None:
            assert_right(problem, run(problem), enumerated(problem).best)


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_and_its_cutoff_change_nothing(make_small, way, kind):
    for seed in range(220, 221):
        problem = make_small(seed, kind, "penalized", goal_of(seed + KINDS.index(kind)), most_members=2)
        ranking = enumerated(problem, keep=100).ranking
        for known in (*ranking[:1], *ranking[-1:]):
            request = replace(REQUEST, start=known.moves, start_parameters=known.parameters, cutoff=known.objective)
            assert_right(problem, run(problem, request), ranking[0])


@pytest.mark.parametrize("goal", list(GoalKind))
@pytest.mark.parametrize("kind", ["ridge", "svm", "logistic"])
def test_more_members_with_guards_and_budgets(make, way, kind, goal):
    """The two budgets go by turns: either meets every learner and every goal."""
    turn = (list(GoalKind).index(goal) + ("ridge", "svm", "logistic").index(kind)) % 2
    seed, budget = ((1, Budget(each=1.5, total=3.0, members=3)), (2, Budget(total=2.5)))[turn]
    traits = {"members": 3, "options": 2, "n": 9, "guards": 1, "queries": 2, "required": 0.05, "budget": budget}
    problem = make(seed, kind, "penalized", goal, **traits)
    assert_right(problem, run(problem), enumerated(problem).best)


HARMFUL = {"ridge": (0, 1), "svm": (3, 0), "squared_hinge": (2, 0)}
"""Seeds for which a limit on the loss matters, and seeds for which the best moves harm nothing."""


@pytest.mark.parametrize("kind", HARMFUL)
def test_moves_that_harm_the_fit_too_much_are_no_answer(make, way, kind):
    mattered = 0
    for seed in HARMFUL[kind]:
        free = make(seed, kind, "penalized", n=7)
        best = enumerated(free).best
        increase = evaluate(replace(free, max_loss_increase=1e9), best.moves).loss_increase
        problem = replace(free, max_loss_increase=max(0.0, 0.5 * increase))
        expected = enumerated(problem).best
        mattered += expected is None or expected.objective < best.objective - 1e-6
        assert_right(problem, run(problem), expected)
    assert mattered


# -- ties -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [Position.OPTIMISTIC, Position.PESSIMISTIC])
@pytest.mark.parametrize("kind", ["svm", "l1_svm", "lad"])
def test_ties_are_taken_as_the_position_says(make_small, way, kind, position):
    for seed in range(240, 242):
        problem = make_small(
            seed, kind, "free", goal_of(seed), position=position, most_members=2, strengths=(0.05, 0.3)
        )
        if program().accepts(problem) is None:
            assert_right(problem, run(problem), enumerated(problem).best)


def tie_or_not(target):
    """Records at +-1, C = 0.05: ``w = 0.1`` and any intercept from -0.9 to 0.9. Doubling the record at 1 settles it.

    With weights 2 and 1 the pulls cannot be both at their bounds, so f is 1 at the heavier record: ``(0.1, 0.9)``.
    """
    records = Records(np.array([[1.0], [-1.0]]), np.array([1.0, -1.0]), np.ones(2))
    heavier = Option(OptionKind.MENU, (1.0,), 1.0, 2.0, 1.0)
    return RecourseProblem(
        "tie",
        records,
        LearnerSpec("svm", Intercept.FREE, C=0.05),
        Collective((Member(0, (), (heavier,)),)),
        (Query("q", (0.0,), target),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=Position.UNIQUE,
    )


def test_a_forbidden_tie_that_could_win_is_an_error(way):
    """Staying leaves any b up to 0.9 in size: for the target -1 that could beat -0.9, for +1 it cannot beat 0.9.

    Without training of whole regions the heavier record's optimum once lay 1e-9 from the end of a tightened box, and
    HiGHS called its program infeasible.
    """
    with pytest.raises(InputError, match="not unique"):
        run(tie_or_not(-1.0))
    if way != "splitting":
        claim = run(tie_or_not(1.0))
        assert claim.objective == pytest.approx(0.9, abs=1e-6) and len(claim.moves) == 1


def test_the_pipeline_passes_the_error_of_a_tie_on():
    with pytest.raises(InputError, match="not unique"):
        solve(tie_or_not(-1.0), formulation="copies")


# -- moves that must not come back ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "goal"), [("ridge", "min_cost"), ("svm", "max_margin")])
def test_excluded_moves_do_not_come_back(make, way, kind, goal):
    problem = make(4, kind, "none", goal, n=7, regression=kind == "lad", identical=True, required=0.02)
    ranking, excluded = enumerated(problem, keep=100).ranking, []
    while True:
        best = enumerate_choices(problem, excluded=excluded).best
        claim = run(problem, replace(REQUEST, excluded=tuple(excluded)))
        assert_right(problem, claim, best)
        if claim.moves is None:
            break
        assert resulting_records(problem, claim.moves) not in [resulting_records(problem, m) for m in excluded]
        excluded.append(claim.moves)
        if len(excluded) == 2:
            # One by one at both ends of the ranking, all between at once.
            excluded += [answer.moves for answer in ranking[2:-1]]
    results = {resulting_records(problem, moves_from_choice(problem, choice)) for choice in choices(problem)}
    assert len(excluded) <= len(results)


# -- limits -----------------------------------------------------------------------------------------------------------


def larger(make, kind, goal="max_margin"):
    return make(7, kind, "penalized", goal, n=14, members=4, options=2, queries=2, required=0.05)


@pytest.mark.parametrize(
    ("kind", "goal"),
    [
        ("ridge", GoalKind.MAX_MARGIN),
        ("ridge", GoalKind.MIN_MEMBERS),
        ("svm", GoalKind.MIN_COST),
        ("svm", GoalKind.MAX_HELPED),
        ("logistic", GoalKind.MAX_MARGIN),
        ("logistic", GoalKind.MIN_COST),
    ],
)
def test_the_bound_is_valid_after_any_number_of_nodes(make, way, kind, goal):
    problem = larger(make, kind, goal)
    best = enumerated(problem).best
    for nodes in (1, 4):
        claim = run(problem, replace(REQUEST, node_limit=nodes))
        assert_valid(problem, claim, best)
        assert claim.stopped_by in (StoppedBy.NODE_LIMIT, StoppedBy.PROOF)
        assert claim.stopped_by is StoppedBy.PROOF or not claim.infeasible


def test_a_node_limit_can_end_a_run_early(make, monkeypatch):
    monkeypatch.setattr(Screening, "expected_seconds", lambda *_: float("inf"))
    claim = run(larger(make, "svm"), replace(REQUEST, node_limit=1))
    assert claim.stopped_by is StoppedBy.NODE_LIMIT and claim.bound is not None


@pytest.mark.parametrize("seconds", [1e-3, 0.05, 0.3])
@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_the_bound_is_valid_when_time_runs_out(make, way, kind, seconds):
    problem = larger(make, kind)
    assert_valid(problem, run(problem, replace(REQUEST, time_limit=seconds)), enumerated(problem).best)


@pytest.mark.parametrize("asked", [0, 3, 20, 60])
def test_the_bound_is_valid_when_it_is_interrupted(make, way, asked):
    problem, count = larger(make, "svm"), iter(range(10**9))
    claim = run(problem, replace(REQUEST, interrupted=lambda: next(count) >= asked))
    assert_valid(problem, claim, enumerated(problem).best)
    assert claim.stopped_by in (StoppedBy.INTERRUPT, StoppedBy.PROOF)
    if asked == 0:
        assert claim.stopped_by is StoppedBy.INTERRUPT and not claim.infeasible


def test_progress_never_crosses_the_truth(make, way):
    problem, seen = make(7, "svm", "penalized", n=12, members=3, options=2, queries=2, required=0.05), []
    best = enumerated(problem).best.objective
    run(problem, replace(REQUEST, progress=seen.append))
    for line in seen:
        assert line.primal is None or line.primal <= best + 1e-9
        assert line.bound is None or line.bound >= best - 1e-9


def test_a_run_through_the_pipeline_is_certified(make):
    problem = larger(make, "ridge")
    result = solve(problem, formulation="copies")
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(enumerated(problem).best.objective, abs=1e-4)


# -- where it applies -------------------------------------------------------------------------------------------------


def test_movable_features_and_the_centroid_are_refused(make):
    problem = make(0)
    weighted = next(i for i in range(problem.n) if problem.records.s[i] > 0)
    moving = replace(problem, collective=Collective((Member(weighted, (FeatureAction(Norm.L2, 0.5),)),)))
    assert "features" in program().accepts(moving)
    records = Records(problem.records.X, (problem.records.y > 0).astype(float), np.ones(problem.n))
    centroid = replace(
        problem,
        records=records,
        learner=LearnerSpec("nearest_centroid"),
        collective=Collective((Member(2),)),
        queries=(Query("q", problem.queries[0].x, 1.0),),
    )
    assert "regularised" in program().accepts(centroid)


# -- choices that re-training does not settle --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_a_choice_whose_worth_is_not_settled_keeps_the_bound_open(kind, seed, make, way, unsettle):
    """The best choice is told to be no answer, by a re-training so inaccurate that nothing follows from it."""
    problem = make(seed, kind, members=3, options=3)
    best = enumerated(problem).best
    unsettle(best)
    claim = run(problem)
    assert claim.bound >= best.objective - 1e-9 and not claim.infeasible


def test_an_empty_relaxation_that_breaks_down_is_not_taken_for_closed(make, monkeypatch):
    """Where no linear program is solved, every region's bound is infinite, and only re-training is left."""
    problem = make(3, "svm", members=2, options=2)
    monkeypatch.setattr(LinearProgram, "maximum", _unsolved)
    assert_right(problem, run(problem), enumerated(problem).best)


def _unsolved(self, terms, sense=1):
    self.solution = None
    return sense * float("inf")
