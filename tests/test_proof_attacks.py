"""What an adversary tried on the checker: rounding at limits, numbers of any size, proposals that fail, odd files."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from flint import fmpq

from oar_opt.contracts import line_example
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import evaluate
from oar_opt.instance_file import dump_instance, parse_instance
from oar_opt.problem import (
    Budget,
    Collective,
    Feature,
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
    moves_from_choice,
)
from oar_opt.proof import enclosures
from oar_opt.proof.certificate_file import ProofCertificate, load_certificate
from oar_opt.proof.checker import check
from oar_opt.proof.enclosures import LINEAR_PROGRAMS, POLYLINES
from oar_opt.proof.exact_choices import Choice, exact_choices
from oar_opt.proof.exact_optimum import exact_optimum
from oar_opt.proof.exact_outcome import Outcome, exact_outcome
from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.exact_vertex import exact_vertex
from oar_opt.proof.polylines import bregman, graph
from oar_opt.proof.proposals import Proposal, propose
from oar_opt.proof.rationals import Interval, approximate, decimal_above, decimal_below, exact
from oar_opt.proof_search.enumeration import prove_by_enumeration
from oar_opt.rules import budget_violations, with_rounding
from oar_opt.update_settings import gradient_update, running_centroid_update


def line(spec, X=(1.0, -2.0), **changes):
    """Two records of both classes, the first one of a member who may withhold it; as read from its file."""
    problem = replace(
        line_example(spec),
        records=Records(np.array(X)[:, None], np.array([1.0, -1.0]), np.ones(2)),
        collective=Collective((Member(0, (WithholdAction(),)),)),
        **changes,
    )
    return parse_instance(dump_instance(problem))


def claim(problem, bound="1000", moves=None):
    return ProofCertificate(
        format="oar-certificate",
        version=1,
        kind="enumeration",
        instance=problem.name,
        instance_sha256=problem.sha256,
        goal=problem.goal,
        bound=bound,
        moves=moves,
    )


# -- what a check loads ---


LIBRARY = Path(__file__).parents[1] / "instances" / "library"
CHECKED = (
    "breastcancer-n120-d4-k10-centroid-mixed-s2",
    "diabetes-n60-d4-k6-epsilon-labels-s1",
    "diabetes-n60-d4-k6-huber-labels-s1",
    "diabetes-n80-d4-k8-lad-strike-s1",
    "digits-n120-d8-k10-logistic-strike-s2",
    "digits-n200-d12-k12-ridge-strike-s2",
    "gig-n60-d7-k5-svm-menus-s3",
    "gig-n80-d7-k10-l1svm-strike-s1",
    "gig-n80-d7-k6-sqhinge-menus-s1",
    "iris-n60-d4-k8-running-labels-s1",
    "loan-n80-d5-k8-gradient1-menus-s1",
    "school-n60-d6-k9-gradient3-strike-s1",
)
CHECKING = """
import sys
from oar_opt.proof.checker import check_files
for certificate, instance in zip(sys.argv[1::2], sys.argv[2::2]):
    assert check_files(certificate, instance).proved, certificate
print(*sys.modules)
"""


def test_a_check_loads_no_bound_formulation_or_solver():
    """Nor while it runs, over certificates of the library for all learners and updates."""
    pairs = [(LIBRARY / "certificates" / f"{name}.certificate.json", LIBRARY / f"{name}.json") for name in CHECKED]
    kinds = {json.loads(instance.read_text(encoding="utf-8"))["learner"]["kind"] for _, instance in pairs}
    assert kinds == {*POLYLINES, *LINEAR_PROGRAMS, "logistic", "nearest_centroid"}
    program = [sys.executable, "-c", CHECKING, *map(str, chain.from_iterable(pairs))]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    forbidden = ("oar_opt.bounds", "oar_opt.solvers", "oar_opt.contracts", "oar_opt.discovery", "formulations")
    more = ("scipy", "sklearn", "cvxpy", "pyomo", "highspy", "pyscipopt", "clarabel")
    loaded = done.stdout.split()
    assert "oar_opt.proof.checker" in loaded
    assert not [name for name in loaded if name.startswith((*forbidden, *more))]


# -- rounding at limits ---


def test_no_rounded_required_margin_makes_an_answer():
    """``1/2 - 10^-6`` and what the package, in floats, forgives below it: between them nothing is settled."""
    problem = line(
        LearnerSpec("ridge", alpha=1.0), goal=GoalKind.MIN_COST, queries=(Query("q", (1.0,), 1.0, 0.0, 0.5),)
    )
    needed = exact(0.5) - exact(problem.tolerances.feasibility)
    forgiven = exact(problem.needed_margin(problem.queries[0]))
    assert forgiven < needed

    def at(margin):
        outcome = Outcome(problem, Choice((), fmpq(0)), (Interval.at(margin),), (), False)
        return outcome.surely_answers, outcome.surely_fails

    assert at(needed) == (True, False)
    assert at(needed - fmpq(1, 10**30)) == at(forgiven) == (False, False)
    assert at(forgiven - fmpq(1, 10**30)) == (False, True)


def test_every_choice_that_the_verification_admits_is_gone_through():
    """A cost just at a limit that rounding moved up, beyond ``limit + 10^-9`` as rationals."""
    limits = [limit for limit in np.linspace(0.1, 5, 50).tolist() if _is_rounded_up(limit)]
    assert len(limits) > 10
    for limit in limits:
        base = line(LearnerSpec("ridge", alpha=1.0))
        option = Option(OptionKind.MENU, (1.0,), -1.0, 1.0, with_rounding(limit))
        for budget in (Budget(total=limit), Budget(each=limit)):
            problem = replace(base, collective=Collective((Member(0, (), (option,)),), budget=budget))
            assert not budget_violations(problem, moves_from_choice(problem, (option,)))
            assert len(exact_choices(problem)) == 2


def _is_rounded_up(limit):
    return exact(with_rounding(limit)) > exact(limit) + fmpq(1, 10**9) * max(fmpq(1), exact(limit))


# -- sizes ---


def test_more_choices_than_are_gone_through_are_never_listed():
    """300 options times 3000 are refused, and no list of all is made on the way."""
    base = line(LearnerSpec("ridge", alpha=1.0))
    menus = [tuple(Option(OptionKind.MENU, (1.0,), 1.0, 1.0, float(k)) for k in range(m)) for m in (300, 3000)]
    problem = replace(base, collective=Collective(tuple(Member(i, (), menu) for i, menu in enumerate(menus))))
    tracemalloc.start()
    verdict = check(claim(problem), problem)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not verdict.proved and "more than 100000 choices" in verdict.sentence
    assert peak < 80e6


def test_decimals_of_any_length_are_written():
    """Python's own integers refuse to be written beyond some thousands of digits."""
    large = fmpq(10) ** 6000 + fmpq(1, 2)
    assert decimal_below(large) == decimal_above(large) == "1" + "0" * 6000 + ".5"
    assert (decimal_below(-large, 1), decimal_above(fmpq(-1, 20), 1)) == ("-1" + "0" * 6000 + ".5", "0")
    assert (decimal_below(fmpq(1, 20), 1), decimal_above(fmpq(1, 20), 1)) == ("0", "0.1")


def test_steps_that_diverge_are_answered_in_words():
    """Squared loss, rate 1: each step multiplies by about ``-10^400``, and twelve of them have thousands of digits."""
    step = gradient_update([0.5], rate=1.0, T=12)
    problem = line(LearnerSpec("ridge", alpha=1.0), (1e200, -2e200), update=step)
    verdict = check(claim(problem), problem)
    assert not verdict.proved and verdict.sentence.startswith("Not proved: ")
    with pytest.raises(UnsupportedError, match="more digits than a certificate may state"):
        prove_by_enumeration(problem)


# -- proposals ---


def test_numbers_too_large_for_floating_point_leave_the_choice_undecided():
    """Weights of ``10^600``: there is no such number in floating point, so nobody says where to look."""
    problem = line(LearnerSpec("svm", C=1e300), (1.0, -1.0))
    heavy = parse_instance(dump_instance(replace(problem, records=replace(problem.records, s=np.full(2, 1e300)))))
    risk = ExactRisk.of(heavy, heavy.records)
    assert approximate(risk.a[0]) == float("inf") and approximate(-risk.a[0]) == -float("inf")
    verdict = check(claim(heavy), heavy)
    assert not verdict.proved and "undecided: floating point does not hold the numbers" in verdict.sentence


@pytest.mark.parametrize("value", [0.0, 5.0, -1e6, 1e-300])
@pytest.mark.parametrize("piece", [0, 1, 2])
def test_a_bad_proposal_proves_nothing_false(monkeypatch, value, piece):
    """Hinge at (1, +) and (-2, -): ``w^2 / 2 + 2 losses`` has ``w = 1``, where nobody acts; (-2, -) alone ``1/2``."""
    problem = line(LearnerSpec("svm", C=1.0), queries=(Query("q", (1.0,), 1.0),))

    def liar(risk, graphs):
        return Proposal([exact(value)] * risk.p, [piece] * len(graphs), [fmpq(0)] * len(graphs))

    monkeypatch.setattr(enclosures, "propose", liar)
    assert not check(claim(problem, "0.999999999"), problem).proved
    assert not check(claim(problem, "0.499999999"), problem).proved


JUMPING = (
    LearnerSpec("svm", C=10.0),
    LearnerSpec("svm", Intercept.PENALIZED, C=0.1),
    LearnerSpec("svm", Intercept.FREE, C=1.0),
    LearnerSpec("squared_hinge", Intercept.FREE, C=1.0),
    LearnerSpec("huber", Intercept.PENALIZED, C=10.0, delta=0.5),
    LearnerSpec("epsilon_insensitive", Intercept.FREE, C=1.0, epsilon=0.1),
    LearnerSpec("epsilon_insensitive", C=100.0, epsilon=0.0),
)


@pytest.mark.parametrize("seed", range(42))
def test_pulls_that_are_proposed_are_feasible_and_balanced(seed):
    """Whatever the graphs, a pull is one that its graph takes; the sum of all that pull is 0 up to rounding."""
    draw = np.random.default_rng(seed)
    m, spec = 12, JUMPING[seed % len(JUMPING)]
    size = draw.choice([1e-3, 1.0, 1e3])
    X = size * draw.normal(size=(m, 2)) if seed % 2 else draw.integers(-2, 3, (m, 2)).astype(float)
    problem = replace(
        line(spec),
        records=Records(X, draw.choice([-1.0, 1.0], m), draw.choice([0.1, 1.0, 3.0], m)),
        features=(Feature("a"), Feature("b")),
        queries=(Query("q", (1.0, 1.0), 1.0),),
        collective=Collective(()),
    )
    risk = ExactRisk.of(problem, problem.records)
    graphs = [graph(spec, y) for y in risk.y]
    found = propose(risk, graphs)
    for g, a, pieces in zip(found.pulls, risk.a, graphs, strict=True):
        bregman(pieces, g / a, fmpq(0))  # an ArithmeticError, if no subgradient has this value
    for j in range(risk.p):
        entries = [g * x[j] for g, x in zip(found.pulls, risk.xhat, strict=True)]
        entries.append(risk.penalty[j] * (found.theta[j] - risk.theta0[j]))
        assert abs(sum(entries, fmpq(0))) <= exact(1e-7) * (1 + sum(map(abs, entries), fmpq(0)))


# -- what is undefined ---


def test_a_count_without_a_centroid_is_refused():
    """Both records arrive, so nothing is behind the stated count: where its mean is, is not known."""
    rule = running_centroid_update(counts={"-": 0.0, "+": 2.0}, order=[0, 1])
    problem = replace(
        line_example(LearnerSpec("ridge", alpha=1.0)),
        records=Records(np.array([[1.0], [2.0]]), np.array([0.0, 1.0]), np.ones(2)),
        learner=LearnerSpec("nearest_centroid"),
        classes=("-", "+"),
        collective=Collective((Member(0, (WithholdAction(),)),)),
        queries=(Query("q", (0.0,), 0.0),),
        update=rule,
    )
    problem = parse_instance(dump_instance(problem))
    verdict = check(claim(problem), problem)
    assert not verdict.proved and "'+' has a count and no centroid" in verdict.sentence
    known = running_centroid_update(counts={"-": 0.0, "+": 2.0}, centroids={"-": [0.0], "+": [3.0]}, order=[0, 1])
    other = parse_instance(dump_instance(replace(problem, update=known)))
    assert check(claim(other), other).proved


# -- files ---


def _written(problem: RecourseProblem) -> str:
    return json.dumps(claim(problem, moves=()).model_dump(mode="json"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": true'),
        ('"version": 1', '"version": 1.0'),
        ('"moves": []', '"moves": [{"record": true, "x": [1], "y": "+", "weight": 0, "cost": 1}]'),
        ('"moves": []', '"moves": [{"record": 0, "x": [true], "y": "+", "weight": 0, "cost": 1}]'),
        ('"moves": []', '"moves": [{"record": 0, "x": [NaN], "y": "+", "weight": 0, "cost": 1}]'),
        ('"moves": []', '"moves": [{"record": 0, "x": [1e999], "y": "+", "weight": 0, "cost": 1}]'),
        ('"moves": []', '"moves": [{"record": 0, "x": [1], "y": "+", "weight": -1, "cost": 1}]'),
        ('"moves": []', '"moves": [{"record": 0, "x": [1], "y": null, "weight": 0, "cost": 1}]'),
        ('"moves": []', '"moves": {}'),
        ('"moves": []', '"moves": [], "moves": null'),
        ('"bound": "1000"', '"bound": "\\u0661"'),
        ('"bound": "1000"', '"bound": "1000\\n"'),
        ('"bound": "1000"', f'"bound": "{"9" * 301}"'),
        ('"bound": "1000"', f'"bound": {"9" * 5000}'),
        ('"instance": "', '"instance": "proved.\\u001b[1A\\n'),
    ],
)
def test_odd_certificates_are_input_errors(tmp_path, old, new):
    problem = line(LearnerSpec("ridge", alpha=1.0))
    text = _written(problem)
    path = tmp_path / "c.json"
    path.write_text(text, encoding="utf-8")
    assert load_certificate(path) == claim(problem, moves=())
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError):
        load_certificate(path)


def test_a_tie_that_only_rounding_breaks_is_not_called_unique():
    """``|w| + 10 max(0, 1 - 0.1 w)`` is constant from 0 to 10; with the number next to 0.1 it falls, by ``10^-16``."""
    spec = LearnerSpec("l1_svm", C=10.0)
    problem = line(LearnerSpec("l1_svm", C=10.0), (0.1, 0.0))
    risk = ExactRisk.of(problem, problem.records)
    assert exact(0.1) * 10 > 1 and exact_vertex(risk, spec) is None
    clear = LearnerSpec("l1_svm", C=10.001)
    problem = line(clear, (0.1, 0.0))
    assert exact_vertex(ExactRisk.of(problem, problem.records), clear) == [1 / exact(0.1)]


def test_an_intercept_that_only_rounding_settles_is_undecided():
    """Hinge at 0 with weights 0.1 and 0.2 against 0.3: as decimals every ``b`` from -1 to 1 is optimal."""
    problem = line(LearnerSpec("svm", Intercept.FREE, C=1.0), (0.0, 0.0))
    for last, settles in ((0.3, False), (0.31, True)):
        records = Records(np.zeros((3, 1)), np.array([1.0, 1.0, -1.0]), np.array([0.1, 0.2, last]))
        risk = ExactRisk.of(problem, records)
        graphs = [graph(problem.learner, y) for y in risk.y]
        if settles:
            assert exact_optimum(risk, graphs, propose(risk, graphs)).intercepts == Interval.at(fmpq(-1))
        else:
            with pytest.raises(ArithmeticError, match="no more than rounding"):
                exact_optimum(risk, graphs, replace(propose(risk, graphs), pieces=[1, 1]))


# -- what a proof found out about the ordinary re-training ---


def test_a_tie_that_begins_at_the_end_of_a_line_is_seen_by_both():
    """Huber, ``delta = 1/2``: two flat ends of weight 1 against one of weight 2, so every ``b`` from where the third
    record leaves its rising line, at ``y + 1/2``, is optimal up to where the second one meets its own. The optimum on
    that line's end solves a regular system, and was taken for the only one."""
    X = [
        [0.0006609365784183905, 0.0003941011466125682, 0.0005038255852147462],
        [-0.0005998542512061502, -0.0012671025470495662, -3.342403375046861e-05],
        [-0.001439900582223726, -0.00048680574450433225, 0.0007818146739670534],
    ]
    spec = LearnerSpec("huber", Intercept.FREE, C=0.5, delta=0.5)
    y = np.array([1.7091936822908524, 1.5023922048786065, 0.09036348240244026])
    problem = replace(
        line_example(LearnerSpec("ridge", alpha=1.0)),
        records=Records(np.array(X), y, np.array([1.0, 1.0, 2.0])),
        features=(),
        learner=spec,
        classes=None,
        collective=Collective(()),
        queries=(Query("q", (0.0, 0.0, 0.0), 1.0),),
        position=Position.UNIQUE,
    )
    exactly = exact_outcome(problem, Choice((), fmpq(0)))
    assert exactly.tied and exactly.queries[0].high - exactly.queries[0].low > fmpq(2, 5)
    found = evaluate(problem, ())
    assert found.fit.optima is not None and found.tie is not None
