"""A solver's "Optimal" that its own tolerances make wrong, and certificates of its claims, which are refused.

A support vector machine (C = 1, no intercept) on five records, one of a member with two other options. By hand, the
query's margin ``-w'(0, -1/4)`` is

    nobody acts:  w = (-31/52, -53/52), margin -53/208;        option 1:  w = (-5/4, 4/7), margin 1/7;
    option 2:  w = (-20/27, -28/27), margin -7/27.

The naive program states the learner's optimality conditions, with a binary for each side of each complementarity and
one M for all of them. A binary within 1e-6 of a whole number counts as whole, so with M = 1e7 it opens a door by 10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import highspy
import numpy as np
import pytest

from oar_opt.instance_file import dump_instance, parse_instance
from oar_opt.problem import (
    Collective,
    GoalKind,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.proof.checker import check
from oar_opt.proof.exact_choices import exact_choices
from oar_opt.proof.exact_outcome import exact_outcome
from oar_opt.proof.nodes import ChoiceLeaf, OptionsNode
from oar_opt.proof_search.enumeration import prove_by_enumeration
from oar_opt.proof_search.producer import prove_by_tree

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
MARGINS = (Fraction(-53, 208), Fraction(1, 7), Fraction(-7, 27))
"""Of staying and the two options."""
VERSION = "1.16.0"
RECORDED = {1e6: 1 / 7, 1e7: 0.0, 1e8: 0.0, 1e9: 0.4375}
"""By M, the value and bound with which this version of HiGHS ends as optimal, by its default tolerances."""
TOLERANCE = 1e-6
EVERY_CHOICE = (
    OptionsNode(kind="options", record=3, options=(0,)),
    ChoiceLeaf(kind="choice"),
    OptionsNode(kind="options", record=3, options=(1,)),
    ChoiceLeaf(kind="choice"),
    ChoiceLeaf(kind="choice"),
)


@pytest.fixture(scope="module")
def problem() -> RecourseProblem:
    X = np.array([[-1, -0.25], [1.25, 0.25], [1, 0.5], [-0.75, 0.5], [-0.25, -0.25]])
    options = (
        Option(OptionKind.MENU, (0.0, 1.75), 1.0, 1.0, 1.0),
        Option(OptionKind.MENU, (-0.75, 1.5), -1.0, 1.0, 1.0),
    )
    stated = RecourseProblem(
        "wrong-optimal",
        Records(X, np.array([1.0, -1, -1, -1, 1]), np.ones(5)),
        LearnerSpec("svm", C=1.0),
        Collective((Member(3, (), options),)),
        (Query("q", (0.0, -0.25), -1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
    )
    return parse_instance(dump_instance(stated))


# -- the naive program ---


@dataclass(frozen=True)
class Run:
    """How a solver ended; ``whole`` is how far binaries are from whole numbers, ``choice`` the option it picks."""

    status: highspy.HighsModelStatus
    value: float
    bound: float
    violation: float
    whole: float
    choice: int


def naive_run(problem: RecourseProblem, M: float) -> Run:
    """The learner's optimality conditions with this M, solved by HiGHS with its defaults (and one thread).

    For each possible record, ``xi - t = 1 - y f``, ``0 <= a <= C z``, and ``a = 0`` or ``t = 0`` (binary ``u``),
    ``xi = 0`` or ``a = C z`` (binary ``v``); ``w = sum a y x``. ``z`` is 1 for non-members, and a binary for options.
    """
    model = highspy.Highs()
    for name, setting in (("output_flag", False), ("threads", 1)):
        model.setOptionValue(name, setting)
    (member,), (query,) = problem.collective.members, problem.queries
    w = [model.addVariable(lb=-model.inf) for _ in query.x]
    pull: list[list[object]] = [[] for _ in w]
    binaries, picks = [], []
    rows = []
    for i, (x, y) in enumerate(zip(problem.records.X.tolist(), problem.records.y.tolist(), strict=True)):
        if i != member.record:
            rows.append((x, y, 1.0))
            continue
        for option in problem.options(member):
            picks.append(model.addBinary())
            rows.append((option.x, option.y, picks[-1]))
    for x, y, z in rows:
        a, xi, t = (model.addVariable(lb=0) for _ in range(3))
        u, v = model.addBinary(), model.addBinary()
        binaries += [u, v]
        model.addConstr(xi - t + sum(y * x[j] * w[j] for j in range(len(w))) == 1)
        model.addConstr(a - z <= 0)
        model.addConstr(a - M * u <= 0)
        model.addConstr(t + M * u <= M)
        model.addConstr(xi - M * v <= 0)
        model.addConstr(z - a + M * v <= M)
        for j, terms in enumerate(pull):
            terms.append(y * x[j] * a)
    model.addConstr(sum(picks) == 1)
    for j, terms in enumerate(pull):
        model.addConstr(w[j] - sum(terms) == 0)
    model.maximize(sum(query.target * query.x[j] * w[j] for j in range(len(w))))
    info, found = model.getInfo(), [model.variableValue(one) for one in (*binaries, *picks)]
    off = max(abs(value - round(value)) for value in found)
    choice = [round(value) for value in found[len(binaries) :]].index(1)
    return Run(
        model.getModelStatus(),
        info.objective_function_value,
        info.mip_dual_bound,
        info.max_primal_infeasibility,
        off,
        choice,
    )


@pytest.fixture(scope="module")
def runs(problem) -> dict[float, Run]:
    return {M: naive_run(problem, M) for M in RECORDED}


# -- certificates ---


def claimed(problem, bound, kind):
    """What a solver said as a certificate: the program's bound, and its tolerance more."""
    found = prove_by_enumeration(problem).model_copy(update={"bound": f"{bound + TOLERANCE:.9f}", "moves": None})
    return found if kind == "enumeration" else found.model_copy(update={"kind": "tree", "nodes": EVERY_CHOICE})


def test_the_margins_by_hand_are_the_exact_ones(problem):
    outcomes = [exact_outcome(problem, choice) for choice in exact_choices(problem)]
    assert [str(one.value.low) for one in outcomes] == [str(margin) for margin in MARGINS]
    assert all(one.value.is_point for one in outcomes)


def test_a_solver_within_its_tolerances_is_wrong(runs):
    """It ends as optimal every time, its point within 1e-6 of all it promises, and the value is off by 0.1 and more."""
    assert all(run.status == highspy.HighsModelStatus.kOptimal for run in runs.values())
    assert all(max(run.violation, run.whole) <= TOLERANCE for run in runs.values())
    assert abs(runs[1e6].value - MARGINS[1]) <= TOLERANCE
    assert max(abs(run.value - MARGINS[1]) for run in runs.values()) > 0.1
    if highspy.Highs().version() == VERSION:
        for M, value in RECORDED.items():
            assert abs(runs[M].value - value) <= TOLERANCE and abs(runs[M].bound - value) <= TOLERANCE
        assert (runs[1e7].choice, runs[1e8].choice) == (0, 0)


@pytest.mark.parametrize("kind", ["enumeration", "tree"])
@pytest.mark.parametrize("M", [M for M, value in RECORDED.items() if value < 0.1])
def test_its_recorded_bound_is_refused(problem, M, kind):
    verdict = check(claimed(problem, RECORDED[M], kind), problem)
    told = "the change of members 3 has the value between 0.142857142 and 0.142857143, better than the bound."
    assert not verdict.proved and f"the claim is wrong: {told}" in verdict.sentence


@pytest.mark.parametrize("kind", ["enumeration", "tree"])
def test_whatever_it_says_now_is_proved_if_and_only_if_it_is_true(problem, runs, kind):
    for run in runs.values():
        assert check(claimed(problem, run.bound, kind), problem).proved == (run.bound + TOLERANCE >= MARGINS[1])


def test_what_its_choice_gives_is_not_the_best(problem):
    """Whoever re-trains for the solver's choice, which is that nobody acts, and believes it the best claims -53/208."""
    for kind in ("enumeration", "tree"):
        assert not check(claimed(problem, float(MARGINS[0]), kind), problem).proved


def test_a_requirement_that_it_meets_by_its_tolerance_is_not_met(problem):
    """For the least cost a part of an option that counts as none is free; that nobody has to act is refused."""
    asked = (replace(problem.queries[0], required=0.1),)
    cheapest = parse_instance(dump_instance(replace(problem, goal=GoalKind.MIN_COST, queries=asked)))
    own = prove_by_enumeration(cheapest)
    assert own.bound == "1" and check(own, cheapest).proved
    verdict = check(own.model_copy(update={"bound": "0", "moves": ()}), cheapest)
    assert verdict.sentence == "Not proved: the stored moves are not proved to meet what the instance requires."


def test_the_packages_own_certificates_check(problem):
    enumeration, tree = prove_by_enumeration(problem), prove_by_tree(problem, None, 60.0)
    assert enumeration.bound == "0.142857143"
    assert MARGINS[1] <= Fraction(tree.bound) <= MARGINS[1] + Fraction(1, 10**4)
    for certificate in (enumeration, tree):
        verdict = check(certificate, problem)
        assert verdict.proved and "the stored change gives at least 0.142857142." in verdict.sentence
    false = tree.model_copy(update={"bound": "0", "moves": None})
    assert not check(false, problem).proved


def test_the_readme_states_these_figures():
    section = " ".join(README.partition("### Proofs")[2].partition("\n## ")[0].split())
    assert f"HiGHS {VERSION}" in section
    for M, value in RECORDED.items():
        assert f"M = 1e{int(np.log10(M))}" in section and f"{value:.6g}" in section
    assert f"{float(MARGINS[1]):.6f}" in section and "1/7" in section and f"{float(MARGINS[0]):.6f}" in section
