"""Data built to mislead: whatever a formulation says of them is what re-training every choice says, or less.

'optimal' and 'infeasible' must be right and every bound valid; 'feasible' and 'unknown' with a valid bound, or a
refusal with its reason, are honest too. A claim that verification rejects is not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from oar_opt.discovery import formulations
from oar_opt.errors import SolverError, UnsupportedError, VerificationError
from oar_opt.evaluate import enumerate_choices
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
    WithholdAction,
)
from oar_opt.result import Status

pytestmark = pytest.mark.usefixtures("trained_once")

SECONDS = 5.0
LEARNERS = {
    "ridge": Intercept.FREE,
    "svm": Intercept.FREE,
    "squared_hinge": Intercept.PENALIZED,
    "logistic": Intercept.FREE,
    "l1_svm": Intercept.PENALIZED,
}

TURNS = ("strong_duality", "kkt_sos1", "kkt_indicator")


def strength(kind, value):
    return {"alpha" if kind == "ridge" else "C": value}


def plain(kind, goal=GoalKind.MAX_MARGIN, seed=1, n=8):
    """Two features, two members with two options each and withholding for the first; all else a case changes."""
    draw = np.random.default_rng([seed, 31])
    X = draw.normal(size=(n, 2))
    y = np.where(X @ [1.0, -0.7] + 0.5 * draw.normal(size=n) > 0, 1.0, -1.0)
    y[:2] = 1.0, -1.0

    def option(i):
        x = tuple((X[i] + draw.normal(size=2)).tolist())
        return Option(OptionKind.MENU, x, float(draw.choice([-1.0, 1.0])), 1.0, round(float(draw.uniform(0.5, 2)), 2))

    members = (Member(3, (WithholdAction(0.7),), (option(3), option(3))), Member(5, (), (option(5), option(5))))
    query = Query("q", tuple(draw.normal(size=2).tolist()), 1.0, required=0.05)
    spec = LearnerSpec(kind, LEARNERS[kind], **strength(kind, 1.0))
    return RecourseProblem(
        "adversarial",
        Records(X, y, np.ones(n)),
        spec,
        Collective(members),
        (query,),
        goal,
        classes=("no", "yes"),
        position=Position.OPTIMISTIC,
    )


def mapped(problem, change):
    """The same with every record's, option's and query's features changed alike."""

    def point(x):
        return tuple(change(np.array(x)).tolist())

    members = tuple(
        replace(m, menu=tuple(replace(o, x=point(o.x)) for o in m.menu)) for m in problem.collective.members
    )
    records = replace(problem.records, X=np.array([change(x) for x in problem.records.X]))
    queries = tuple(replace(q, x=point(q.x)) for q in problem.queries)
    return replace(problem, records=records, collective=replace(problem.collective, members=members), queries=queries)


def with_records(problem, **changes):
    return replace(problem, records=replace(problem.records, **changes))


def with_strength(problem, value):
    return replace(problem, learner=replace(problem.learner, **strength(problem.learner.kind, value)))


def collinear(problem):
    return mapped(problem, lambda x: np.array([x[0], 2 * x[0] + 1e-6 * x[1]]))


def duplicated(problem):
    records = problem.records
    return with_records(problem, X=np.vstack([records.X, records.X]), y=np.tile(records.y, 2), s=np.tile(records.s, 2))


def separable(problem):
    X = problem.records.X.copy()
    X[:, 0] = problem.records.y * (3 + np.abs(X[:, 0]))
    return with_records(problem, X=X)


def weightless(problem):
    s = np.ones(problem.n)
    s[[2, 3, 4, 7]] = 0.0
    return with_records(problem, s=s)


def nearly_one_class(problem):
    y = np.ones(problem.n)
    y[1] = -1.0
    s = np.ones(problem.n)
    s[1] = 1e-3
    return with_records(problem, y=y, s=s)


def at_a_record(problem):
    return replace(problem, queries=(replace(problem.queries[0], x=tuple(problem.records.X[3].tolist())),))


def identical_options(problem):
    members = tuple(replace(m, menu=(m.menu[0],) * 3) for m in problem.collective.members)
    return replace(problem, collective=replace(problem.collective, members=members))


def options_that_stay(problem):
    """Every option is the member's own record, at a cost."""

    def stay(m):
        x, y = tuple(problem.records.X[m.record].tolist()), float(problem.records.y[m.record])
        return replace(m, actions=(), menu=(Option(OptionKind.MENU, x, y, 1.0, 0.5),) * 2)

    members = tuple(stay(m) for m in problem.collective.members)
    return replace(problem, collective=replace(problem.collective, members=members))


def one_class_of_members(problem):
    """All records of the class 'no' are members', who may withhold them."""
    y = np.ones(problem.n)
    y[[3, 5]] = -1.0
    members = tuple(replace(m, actions=(WithholdAction(0.3),)) for m in problem.collective.members)
    return replace(with_records(problem, y=y), collective=replace(problem.collective, members=members))


def everybody(problem):
    four = Records(problem.records.X[:4], problem.records.y[:4], np.ones(4))
    draw = np.random.default_rng(41)

    def member(i):
        x = tuple((problem.records.X[i] + draw.normal(size=2)).tolist())
        return Member(i, (WithholdAction(0.4),), (Option(OptionKind.MENU, x, float(-problem.records.y[i]), 1.0, 1.0),))

    return replace(problem, records=four, collective=Collective(tuple(member(i) for i in range(4))))


CASES = {
    "nearly collinear features": collinear,
    "duplicated records": duplicated,
    "separable": separable,
    "hardly any strength": lambda problem: with_strength(problem, 1e-4),
    "huge strength": lambda problem: with_strength(problem, 1e4),
    "records without weight": weightless,
    "one class nearly empty": nearly_one_class,
    "the query is a record": at_a_record,
    "identical options": identical_options,
    "options that change nothing": options_that_stay,
    "features far from 0": lambda problem: mapped(problem, lambda x: x + 1000.0),
    "a constant feature": lambda problem: mapped(problem, lambda x: np.array([x[0], 1.0])),
    "a feature that is 0": lambda problem: mapped(problem, lambda x: np.array([x[0], 0.0])),
    "features of very different size": lambda problem: mapped(problem, lambda x: x * [1e-3, 1e3]),
    "one class all members": one_class_of_members,
    "a collective of everybody": everybody,
}


@cache
def truth(case, kind, goal):
    problem = CASES[case](plain(kind, goal))
    return problem, enumerate_choices(problem)


def assert_honest(problem, found, name):
    """What a formulation says, held against enumeration; returns its status or None where it refuses."""
    if formulations()[name].accepts(problem) is not None:
        return None
    best, sign = found.best, 1 if problem.goal.maximises else -1
    try:
        result = solve(problem, formulation=name, time_limit=SECONDS)
    except (UnsupportedError, SolverError) as refusal:
        assert str(refusal)
        return None
    except VerificationError as rejected:
        # Nothing was claimed that is known to be false only where re-training itself is too coarse to say.
        assert not found.complete and "re-training accuracy" in str(rejected), f"{name}: {rejected}"
        return None
    if not found.complete:
        # Re-training itself is too inaccurate here to be the judge.
        return result.status
    if best is None:
        assert result.status in (Status.INFEASIBLE, Status.UNKNOWN)
        return result.status
    room = problem.tolerances.relative_gap * max(1.0, abs(best.objective)) + 1e-6
    assert result.status is not Status.INFEASIBLE
    if result.bound is not None:
        assert sign * (result.bound - best.objective) >= -room, f"{name}: {result.bound} cuts off {best.objective}"
    if result.status is Status.OPTIMAL:
        assert result.objective == pytest.approx(best.objective, abs=room)
    if result.objective is not None:
        assert sign * (result.objective - best.objective) <= room
    return result.status


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("case", CASES)
def test_nothing_false_is_certified(case, kind):
    """The goals go by turns, and so do the programs in ``TURNS``: each plays every case with one learner or more."""
    place = list(CASES).index(case) + list(LEARNERS).index(kind)
    goal = (GoalKind.MAX_MARGIN, GoalKind.MIN_COST)[place % 2]
    problem, found = truth(case, kind, goal)
    left_out = {"enumeration"} if kind in ("logistic", "l1_svm") else {"enumeration", *TURNS} - {TURNS[place % 3]}
    said = {name: assert_honest(problem, found, name) for name in formulations() if name not in left_out}
    # Not everybody may take refuge in refusing.
    assert any(status is not None for status in said.values())


@cache
def kinked_truth(seed):
    problem = kinked(seed)
    return problem, enumerate_choices(problem)


@pytest.mark.parametrize("name", [name for name in formulations() if name != "enumeration"])
def test_records_at_kinks_with_a_free_intercept(name):
    """On records at -2, 2, 2 HiGHS has claimed 0.5 as optimal in the tightened big-M program where 0.8254 is."""
    # Each seed by every other formulation, and all by the one that was wrong.
    place = list(formulations()).index(name)
    for seed in range(8) if name == "kkt_big_m" else range(place % 2, 8, 2):
        status = assert_honest(*kinked_truth(seed), name)
        assert status in (Status.OPTIMAL, Status.INFEASIBLE) or (status is None and name != "kkt_big_m")


def kinked(seed):
    """Decision values of 1 in size everywhere: options at the records' places, any label, the records' own weights."""
    draw = np.random.default_rng([seed, 43])
    weights = np.array([2.213, 1.867, 2.249])
    records = Records(np.array([[-2.0], [2.0], [2.0]]), np.array([1.0, -1.0, -1.0]), weights)

    def member(i):
        places, labels = draw.choice([-2.0, 2.0, 1.0], size=2), draw.choice([-1.0, 1.0], size=2)
        menu = tuple(
            Option(OptionKind.MENU, (float(x),), float(y), float(weights[i]), 1.0)
            for x, y in zip(places, labels, strict=True)
        )
        return Member(i, (WithholdAction(1.0),), menu)

    members = tuple(member(int(i)) for i in draw.choice(3, 2, replace=False))
    query = Query("q", (float(draw.choice([-2.0, -1.0, 0.5, 2.0])),), float(draw.choice([-1.0, 1.0])))
    return RecourseProblem(
        "kinked",
        records,
        LearnerSpec("svm", Intercept.FREE, C=10.0),
        Collective(members),
        (query,),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=Position.OPTIMISTIC,
    )
