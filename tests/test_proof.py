"""Exact re-training and the certificate of an enumeration: hand-computed cases, agreement, and no false acceptance."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from flint import fmpq

import oar_opt.proof as proof
from oar_opt.contracts import line_example
from oar_opt.discovery import learners, update_rules
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import UndefinedLearner, choices, enumerate_choices, evaluate
from oar_opt.instance_file import dump_instance, parse_instance, save_instance
from oar_opt.library import load
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
    WithholdAction,
    moves_from_choice,
)
from oar_opt.proof.certificate_file import (
    certificate_text,
    load_certificate,
    parse_certificate,
    save_certificate,
)
from oar_opt.proof.checker import check, check_files
from oar_opt.proof.duality_gap import dual_ball
from oar_opt.proof.enclosures import POLYLINES, enclose, undefined
from oar_opt.proof.exact_choices import Choice, exact_choices
from oar_opt.proof.exact_optimum import exact_optimum
from oar_opt.proof.exact_outcome import exact_outcome
from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.exact_vertex import exact_vertex
from oar_opt.proof.gradient_bound import logistic_ball
from oar_opt.proof.polylines import bregman, graph, pulls_at
from oar_opt.proof.proposals import propose
from oar_opt.proof.rationals import (
    Interval,
    approximate,
    decimal_above,
    decimal_below,
    exact,
    read_decimal,
    root_above,
)
from oar_opt.proof_search.enumeration import prove_by_enumeration
from oar_opt.update_settings import gradient_update, running_centroid_update

REGRESSION = ("huber", "epsilon_insensitive")
COVERED = (*POLYLINES, "logistic")


def stated(problem):
    """The same problem with the digest of its own file."""
    return parse_instance(dump_instance(problem))


def as_fraction(number):
    return Fraction(int(number.p), int(number.q))


def of_line(spec, points):
    """The exact risk of records ``(x, y, s)`` with one feature."""
    x, y, s = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    problem = replace(
        line_example(spec),
        records=Records(x[:, None], y, s),
        collective=Collective(()),
        classes=None if spec.kind in REGRESSION else ("-", "+"),
    )
    return ExactRisk.of(problem, problem.records)


def optimum_of(risk, spec, guess=None):
    """The exact optimum from our own proposal, or from all records on the pieces of that number."""
    graphs = [graph(spec, y) for y in risk.y]
    proposal = propose(risk, graphs)
    return exact_optimum(risk, graphs, proposal if guess is None else replace(proposal, pieces=[guess] * len(graphs)))


# -- hand-computed optima ---


def test_ridge_with_a_weight_and_a_prior_is_exact():
    """``(w - 1) 2 alpha + 2 (w - 1) + 2 3 (2 w + 1) 2 = 0`` with ``alpha = 1/2``: ``w = -9/27``."""
    from oar_opt.problem import Prior

    spec = LearnerSpec("ridge", alpha=0.5, prior=Prior((1.0,)))
    risk = of_line(spec, [(1, 1, 1), (2, -1, 3)])
    assert as_fraction(optimum_of(risk, spec).theta[0]) == Fraction(-9, 27)


def test_ridge_with_a_free_intercept_is_the_centred_slope():
    """Means 1 and 1/3, ``w = sum (x - 1)(y - 1/3) / (2 + alpha) = (4/3 + 2/3) / 4``."""
    spec = LearnerSpec("ridge", Intercept.FREE, alpha=2.0)
    found = optimum_of(of_line(spec, [(0, -1, 1), (1, 1, 1), (2, 1, 1)]), spec)
    assert [as_fraction(value) for value in found.theta] == [Fraction(1, 2), Fraction(1, 3) - Fraction(1, 2)]
    assert found.intercepts.is_point


def test_an_svm_record_at_its_kink_is_met_exactly():
    """``w^2 / 2 + max(0, 1 - w) + max(0, 1 - 3 w)``: the record at 1 pulls 1, so ``w = 1``, where it is at its kink."""
    spec = LearnerSpec("svm", C=1.0)
    found = optimum_of(of_line(spec, [(1, 1, 1), (3, 1, 1)]), spec)
    assert found.theta == [1]


@pytest.mark.parametrize("guess", [0, 1, 2])
def test_a_wrong_guess_is_corrected(guess):
    """``w^2 / 2 + max(0, 1 - 3 w)`` falls up to ``1/3``, its kink."""
    spec = LearnerSpec("svm", C=1.0)
    assert optimum_of(of_line(spec, [(3, 1, 1)]), spec, guess).theta == [fmpq(1, 3)]


def test_more_records_at_kinks_than_parameters():
    """With ``epsilon = 0`` and the target 0, ``w = 0`` fits three records at once."""
    spec = LearnerSpec("epsilon_insensitive", C=1.0, epsilon=0.0)
    found = optimum_of(of_line(spec, [(1, 0, 1), (2, 0, 1), (-1, 0, 1)]), spec)
    assert found.theta == [0]


def test_a_tie_of_the_intercept_is_found_with_both_ends():
    """Both classes at 0: every ``b`` from -1 to 1 has the loss 2, and ``w = 0``."""
    spec = LearnerSpec("svm", Intercept.FREE, C=1.0)
    found = optimum_of(of_line(spec, [(0, 1, 1), (0, -1, 1)]), spec)
    assert (found.intercepts.low, found.intercepts.high) == (-1, 1)
    assert found.theta[0] == 0


def test_squared_hinge_and_huber_by_hand():
    """``w + 2 (w - 1) = 0`` and, beyond ``delta = 1/2`` of the target 4, ``w = 1/2``."""
    hinge, huber = LearnerSpec("squared_hinge", C=1.0), LearnerSpec("huber", C=1.0, delta=0.5)
    assert optimum_of(of_line(hinge, [(1, 1, 1)]), hinge).theta == [fmpq(2, 3)]
    assert optimum_of(of_line(huber, [(1, 4, 1)]), huber).theta == [fmpq(1, 2)]


def test_the_dual_ball_is_attained_by_the_hinge():
    """``w^2 / 2 + max(0, 1 - w)`` has ``w* = 1``; the pull -1/2 gives 1/2, the gap 1/4, and so the radius 1/2."""
    spec = LearnerSpec("svm", C=1.0)
    risk = of_line(spec, [(1, 1, 1)])
    theta, radius = dual_ball(risk, [graph(spec, y) for y in risk.y], [fmpq(-1, 2)])
    assert theta == [fmpq(1, 2)] and fmpq(1, 2) <= radius <= fmpq(1, 2) + fmpq(1, 10**40)


@pytest.mark.parametrize("kind", POLYLINES)
def test_the_dual_ball_holds_the_exact_optimum(make, kind):
    draw = np.random.default_rng(3)
    for intercept in ("none", "penalized"):
        problem = make(4, kind, intercept, regression=kind in REGRESSION, prior=True)
        risk = ExactRisk.of(problem, problem.records)
        graphs = [graph(problem.learner, y) for y in risk.y]
        theta = exact_optimum(risk, graphs, propose(risk, graphs)).theta
        for noise in (0.0, 1.0):
            f = [value + exact(noise * draw.normal()) for value in risk.values(theta)]
            pulls = [a * pulls_at(pieces, v)[0] for a, pieces, v in zip(risk.a, graphs, f, strict=True)]
            centre, radius = dual_ball(risk, graphs, pulls)
            assert sum((a - b) ** 2 for a, b in zip(centre, theta, strict=True)) <= radius**2


def test_the_bracket_is_the_fenchel_young_gap():
    """Hinge with ``y = 1``: ``l(0) + l*(-1/4) - 0 = 1 - 1/4``; squared with ``y = 0``: ``1 + 1/4 - 1 = 1/4``."""
    assert bregman(graph(LearnerSpec("svm", C=1.0), fmpq(1)), fmpq(-1, 4), fmpq(0)) == fmpq(3, 4)
    assert bregman(graph(LearnerSpec("ridge", alpha=1.0), fmpq(0)), fmpq(1), fmpq(1)) == fmpq(1, 4)


def test_the_gradient_bound_of_logistic_regression():
    """``w^2 / 2 + log(1 + exp(-w))`` has the slope -1/2 at 0, and its minimum where ``w (1 + exp(w)) = 1``."""
    risk = of_line(LearnerSpec("logistic", C=1.0), [(1, 1, 1)])
    at_zero = logistic_ball(risk, [fmpq(0)])
    assert fmpq(1, 2) <= at_zero.radius <= fmpq(1, 2) + fmpq(1, 10**30)
    near = exact(0.40105813754154704)
    assert logistic_ball(risk, [near]).radius < fmpq(1, 10**15)


def test_a_free_logistic_intercept_is_enclosed():
    """All records at 0: ``w = 0``, and three of four are +, so ``b = log 3``; from a poor start all the same."""
    risk = of_line(LearnerSpec("logistic", Intercept.FREE, C=1.0), [(0, 1, 3), (0, -1, 1)])
    for start in (1.0986122886681098, -2.0):
        ball = logistic_ball(risk, [fmpq(0), exact(start)])
        assert ball.intercepts.low <= exact(1.0986122886681098) + fmpq(1, 10**15)
        assert ball.intercepts.high >= exact(1.0986122886681096)


def test_hinge_steps_know_the_side_of_the_kink():
    """From ``w = 1`` a record at 1 has ``y f = 1`` and does not pull; from the next number below it does."""
    for start, expected in ((1.0, Fraction(1)), (np.nextafter(1.0, 0.0), Fraction(np.nextafter(1.0, 0.0)) + 1)):
        problem = replace(
            line_example(LearnerSpec("svm", C=1.0)),
            records=Records(np.ones((1, 1)), np.ones(1), np.ones(1)),
            collective=Collective(()),
            update=gradient_update([start], rate=1.0, reduction="sum"),
        )
        found = enclose(problem, problem.records)
        assert as_fraction(found.w[0].low) == as_fraction(found.w[0].high) == expected


def test_running_centroids_are_exact():
    """With the rate 0.1, which is no tenth, from 0 to 1 by a record of weight 2: ``1 - (1 - rate)^2``."""
    rate = 0.1
    problem = replace(
        update_rules()["running_centroid"].examples()[0].problem,
        records=Records(np.array([[1.0], [2.0]]), np.array([0.0, 1.0]), np.array([2.0, 0.5])),
        collective=Collective(()),
        update=running_centroid_update(rate=rate, centroids={"near": [0.0], "far": [4.0]}, order=[0, 1]),
    )
    found = enclose(problem, problem.records)
    assert as_fraction(found.mu[0][0].low) == 1 - (1 - Fraction(rate)) ** 2
    far = found.mu[1][0]
    assert not far.is_point and approximate(far.low) == pytest.approx(4 - 2 * (1 - 0.9**0.5), abs=1e-14)


@pytest.mark.parametrize("kind", ["l1_svm", "lad"])
def test_a_vertex_is_exact_where_it_is_the_only_optimum(kind):
    """At (2, +), ``|w| + C (1 + w) + C (1 - 2 w)`` (``lad``: with absolute values): for ``C = 2`` it falls up to 1/2
    and then rises, for ``C = 1`` it is constant up to there, and nothing is said."""
    for C, expected in ((2.0, [fmpq(1, 2)]), (1.0, None)):
        spec = LearnerSpec(kind, C=C)
        assert exact_vertex(of_line(spec, [(1, -1, 1), (2, 1, 1)]), spec) == expected


@pytest.mark.parametrize("intercept", list(Intercept))
@pytest.mark.parametrize("kind", ["l1_svm", "lad"])
def test_vertices_agree_with_the_ordinary_re_training(make, kind, intercept):
    found = 0
    for seed in range(3):
        problem = make(seed, kind, intercept, regression=kind == "lad", strength=2.0, prior=seed == 1)
        for choice in list(choices(problem))[:4]:
            moves = moves_from_choice(problem, choice)
            theta = evaluate(problem, moves).parameters.vector()
            risk = ExactRisk.of(problem, problem.apply(moves))
            vertex = exact_vertex(risk, problem.learner)
            if vertex is not None:
                found += 1
                assert [approximate(value) for value in vertex] == pytest.approx(list(theta[: risk.p]), abs=1e-9)
    assert found >= 6


@pytest.mark.parametrize("kind", sorted({*COVERED, "nearest_centroid"}))
def test_worked_examples_are_enclosed(kind):
    """The optimum that each learner's page states, proved."""
    for example in learners()[kind].examples():
        if any(member.feature_actions for member in example.problem.collective.members):
            continue
        problem = stated(example.problem)
        verdict = check(prove_by_enumeration(problem), problem)
        assert verdict.proved, verdict.sentence
        if example.optimum is None:
            assert verdict.sentence.endswith("its required margin within the tolerance.")
            continue
        assert verdict.value.low - fmpq(1, 10**9) <= exact(example.optimum) <= verdict.value.high + fmpq(1, 10**9)


def test_gradient_steps_of_the_page_are_proved():
    for example in update_rules()["gradient"].examples():
        problem = stated(example.problem)
        verdict = check(prove_by_enumeration(problem), problem)
        assert verdict.proved and verdict.value.low <= exact(example.optimum) <= verdict.value.high


# -- agreement with the ordinary re-training ---


@pytest.mark.parametrize("intercept", list(Intercept))
@pytest.mark.parametrize("kind", COVERED)
def test_enclosures_agree_with_the_ordinary_re_training(make, kind, intercept):
    for seed in range(2):
        problem = make(
            seed, kind, intercept, regression=kind in REGRESSION, labels=True, identical=True, prior=seed == 1, guards=1
        )
        for choice in list(choices(problem))[:4]:
            _agrees(problem, moves_from_choice(problem, choice))


def _agrees(problem, moves):
    try:
        expected = evaluate(problem, moves)
    except UndefinedLearner:
        assert undefined(problem, problem.apply(moves))
        return
    found = exact_outcome(problem, Choice(moves, fmpq(0)))
    assert found.tied or expected.fit.optima is None
    assert found.tied or all(m.high - m.low < fmpq(1, 10**9) for m in found.queries)
    for inside, margin in zip(
        (*found.queries, *found.guards), (*expected.margins, *expected.guard_margins), strict=True
    ):
        assert approximate(inside.low) - 1e-9 <= margin <= approximate(inside.high) + 1e-9


@pytest.mark.parametrize("loss", ["squared", "hinge", "logistic"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_steps_agree(make, loss, reduction):
    for intercept in Intercept:
        base = make(5, "svm", intercept, withhold=True)
        start = 0.0 if intercept is Intercept.NONE else 0.3
        rule = gradient_update([0.2, -0.4], start, rate=0.3, T=3, l2=0.1, reduction=reduction, loss=loss)
        problem = replace(base, update=rule)
        for choice in choices(problem):
            _agrees(problem, moves_from_choice(problem, choice))


def test_an_emptied_class_is_undefined():
    problem = load("iris-centroid-menus")
    records = problem.records
    without = Records(records.X, records.y, np.where(records.y == 0, 0.0, records.s))
    assert "has no centroid" in undefined(problem, without) and undefined(problem, records) is None


# -- choices ---


def test_budgets_are_kept_in_rationals():
    """0.1 + 0.2 is more than 0.3 as floating-point numbers, by less than the slack; 0.3 + 1e-6 is not within it."""
    problem = line_example(LearnerSpec("ridge", alpha=1.0))
    here = problem.records.X[0].tolist()

    def count(*costs):
        members = tuple(
            Member(i, (), (Option(OptionKind.MENU, tuple(here), 1.0, 1.0, cost),)) for i, cost in enumerate(costs)
        )
        return len(exact_choices(replace(problem, collective=Collective(members, budget=Budget(total=0.3)))))

    assert count(0.1, 0.2) == 4 and count(0.1, 0.2 + 1e-6) == 3


def test_choices_are_those_of_the_enumeration(make):
    for seed in range(5):
        problem = make(seed, members=4, labels=True, withhold=True, budget=Budget(total=2.5, each=1.6, members=2))
        ours = [frozenset(choice.moves) for choice in exact_choices(problem)]
        theirs = [frozenset(moves_from_choice(problem, choice)) for choice in choices(problem)]
        assert len(ours) == len(theirs) and set(ours) == set(theirs)


# -- certificates: true ones are accepted, changed ones are not ---


@pytest.mark.parametrize("goal", list(GoalKind))
@pytest.mark.parametrize(("kind", "seed"), [("ridge", 0), ("svm", 1), ("logistic", 2)])
def test_certificates_of_random_instances_check(make, kind, seed, goal):
    problem = stated(make(seed, kind, "penalized", goal, options=1, withhold=True, queries=2, guards=1))
    certificate = prove_by_enumeration(problem)
    assert parse_certificate(json.loads(certificate_text(certificate))) == certificate
    verdict = check(certificate, problem)
    assert verdict.proved, verdict.sentence
    best = enumerate_choices(problem).best
    assert (best is None) == (certificate.moves is None)
    if best is not None:
        assert float(certificate.bound) == pytest.approx(best.objective, abs=2e-9)


@pytest.fixture(scope="module")
def proved(make):
    """Small true certificates with their problems, one for each goal."""
    found = []
    for goal, kind, seed in zip(GoalKind, ("squared_hinge", "ridge", "ridge", "ridge"), (0, 14, 14, 14), strict=True):
        problem = make(seed, kind, "penalized", goal, withhold=True, required=0.02, budget=Budget(total=2.5))
        certificate = prove_by_enumeration(stated(problem))
        assert certificate.moves
        found.append((certificate, stated(problem)))
    return found


def test_a_better_bound_is_refused(proved):
    for certificate, problem in proved:
        value = read_decimal(certificate.bound)
        for step in (fmpq(1, 10**8), fmpq(1, 100), fmpq(2)):
            better = value - step if problem.goal.maximises else value + step
            verdict = check(certificate.model_copy(update={"bound": decimal_below(better, 12)}), problem)
            assert not verdict.proved and ("wrong" in verdict.sentence or "undecided" in verdict.sentence)
        assert not check(certificate.model_copy(update={"bound": None, "moves": None}), problem).proved


def test_the_sentence_says_what_is_proved(proved):
    certificate, problem = next(pair for pair in proved if pair[1].goal is GoalKind.MIN_MEMBERS)
    assert check(certificate, problem).sentence == (
        "No admissible change of these 2 members in which fewer than 1 act gives every query and guard its required "
        "margin within the tolerance; the stored change does with 1 acting."
    )


def test_a_weaker_bound_is_true_and_accepted(proved):
    for certificate, problem in proved:
        value = read_decimal(certificate.bound)
        weaker = value + 1 if problem.goal.maximises else value - 1
        assert check(certificate.model_copy(update={"bound": decimal_below(weaker, 12)}), problem).proved


def test_changed_moves_are_refused(proved):
    for certificate, problem in proved:
        first, *others = certificate.moves
        stranger = next(i for i in range(problem.n) if i not in problem.member_at)
        for change in (
            {"x": (np.nextafter(first.x[0], 9.0), *first.x[1:])},
            {"x": first.x[:-1]},
            {"y": "no" if first.y == "yes" else "yes"},
            {"y": "maybe"},
            {"weight": first.weight + 0.5},
            {"cost": float(np.nextafter(first.cost, 0.0))},
            {"record": stranger},
            {"record": problem.n + 7},
        ):
            moved = first.model_copy(update=change)
            assert not check(certificate.model_copy(update={"moves": (moved, *others)}), problem).proved
        assert not check(certificate.model_copy(update={"moves": (first, *certificate.moves)}), problem).proved


def test_stored_moves_must_be_proved_to_be_an_answer(proved):
    for certificate, problem in proved:
        if not problem.goal.maximises:
            verdict = check(certificate.model_copy(update={"moves": ()}), problem)
            assert not verdict.proved and "not proved to meet" in verdict.sentence


def test_a_certificate_of_another_instance_is_refused(proved):
    for certificate, problem in proved:
        turned = "0" if certificate.instance_sha256[0] != "0" else "1"
        for change in (
            {"instance": "other"},
            {"instance_sha256": turned + certificate.instance_sha256[1:]},
            {"goal": next(goal for goal in GoalKind if goal is not problem.goal)},
        ):
            assert not check(certificate.model_copy(update=change), problem).proved


def test_random_changes_of_the_instance_are_never_falsely_accepted(proved):
    """With the old digest all are refused; with the new one only what enumeration finds true is accepted."""
    draw = np.random.default_rng(11)
    accepted = refused = 0
    for certificate, problem in proved:
        for _ in range(3):
            document = dump_instance(problem)
            i, j = int(draw.integers(problem.n)), int(draw.integers(problem.d))
            document["records"]["X"][i][j] += float(draw.choice([-1, 1]) * draw.choice([1e-3, 0.1, 3.0]))
            changed = parse_instance(document)
            assert not check(certificate, changed).proved
            verdict = check(certificate.model_copy(update={"instance_sha256": changed.sha256}), changed)
            accepted, refused = accepted + verdict.proved, refused + (not verdict.proved)
            if verdict.proved:
                best = enumerate_choices(changed).best
                sign = 1 if changed.goal.maximises else -1
                assert best is not None and sign * (best.objective - float(certificate.bound)) <= 1e-9
    assert accepted and refused


def test_a_tie_is_no_answer_where_the_position_is_unique():
    """An svm whose two records are both at 0: any ``b`` from -1 to 1, so no margin above -1 is sure."""
    problem = replace(
        line_example(LearnerSpec("svm", Intercept.FREE, C=1.0)),
        records=Records(np.zeros((2, 1)), np.array([-1.0, 1.0]), np.ones(2)),
        collective=Collective((Member(0, (WithholdAction(),)),)),
        queries=(Query("q", (0.0,), 1.0),),
        position=Position.UNIQUE,
    )
    problem = stated(problem)
    certificate = prove_by_enumeration(problem)
    assert certificate.moves is None and read_decimal(certificate.bound) == 1
    assert check(certificate, problem).sentence == "No admissible change of this member gives a margin above 1."
    verdict = check(certificate.model_copy(update={"bound": "0.5"}), problem)
    assert not verdict.proved and "undecided" in verdict.sentence
    assert not check(certificate.model_copy(update={"moves": ()}), problem).proved


def test_what_is_not_covered_is_refused_in_words():
    with pytest.raises(UnsupportedError, match="may change features"):
        prove_by_enumeration(load("loan-next-update"))
    capped = stated(replace(line_example(LearnerSpec("ridge", alpha=1.0)), max_loss_increase=1.0))
    with pytest.raises(UnsupportedError, match="training loss"):
        prove_by_enumeration(capped)
    with pytest.raises(UnsupportedError, match="no enclosure"):
        prove_by_enumeration(line_example(LearnerSpec("lad", C=1.0)))


# -- files and numbers ---


def test_files_are_checked_from_their_bytes(proved, tmp_path):
    certificate, problem = proved[0]
    path, instance = tmp_path / "proof.json", tmp_path / f"{problem.name}.json"
    save_certificate(certificate, path)
    save_instance(problem, instance)
    verdict = check_files(path, instance)
    assert verdict.proved and f"gives a margin above {certificate.bound}; the stored" in verdict.sentence
    instance.write_bytes(instance.read_bytes() + b"\n")
    assert "another digest" in check_files(path, instance).sentence


def test_the_commands_write_and_check_a_certificate(oar, tmp_path):
    path = tmp_path / "proof.json"
    code, _, notes = oar("solve", "gig-three-weeks", "--prove", path, "-q")
    assert code == 0 and "that costs less than" in notes
    code, said, _ = oar("check", path, "gig-three-weeks")
    assert code == 0 and said.startswith("No admissible change of these 6 members that costs less than ")
    code, said, _ = oar("check", path, "gig-three-weeks-surprise")
    assert code == 4 and said.startswith("Not proved: the certificate is for 'gig-three-weeks'")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"bound": "1e-3"}, "bound"),
        ({"bound": "nan"}, "bound"),
        ({"bound": 0.5}, "bound"),
        ({"bound": None}, "moves"),
        ({"kind": "tree"}, "kind"),
        ({"version": 2}, "version"),
        ({"note": "x"}, "note"),
        ({"instance_sha256": "12"}, "instance_sha256"),
    ],
)
def test_a_file_that_is_no_certificate_is_an_input_error(proved, tmp_path, change, where):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(json.loads(certificate_text(proved[0][0])) | change), encoding="utf-8")
    with pytest.raises(InputError, match=where):
        load_certificate(path)


def test_decimals_are_rounded_to_the_stated_side():
    third = fmpq(-1, 3)
    assert (decimal_below(third, 3), decimal_above(third, 3)) == ("-0.334", "-0.333")
    assert decimal_below(fmpq(5, 2), 3) == decimal_above(fmpq(5, 2), 3) == "2.5"
    assert decimal_above(fmpq(-1, 10**6), 3) == "0" and read_decimal("-0.25") == fmpq(-1, 4)
    assert root_above(fmpq(2)) ** 2 >= 2 and root_above(fmpq(0)) == 0


def test_intervals_by_hand():
    one = Interval(fmpq(-1), fmpq(2))
    assert (one.squared(), one.times(fmpq(-2))) == (Interval(fmpq(0), fmpq(4)), Interval(fmpq(-4), fmpq(2)))


ALLOWED = (
    "oar_opt.proof",
    "oar_opt.problem",
    "oar_opt.parameters",
    "oar_opt.update_settings",
    "oar_opt.instance_file",
    "oar_opt.json_input",
    "oar_opt.json_text",
    "oar_opt.errors",
)


def test_the_package_says_what_to_read():
    named = set(re.findall(r"\w+", proof.__doc__))
    assert not [path.stem for path in Path(proof.__file__).parent.glob("[a-z]*.py") if path.stem not in named]


@pytest.mark.parametrize("path", sorted(Path(proof.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_a_proof_imports_no_formulation_bound_or_solver(path):
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ours = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module.startswith("oar_opt")]
    assert not [name for name in ours if not name.startswith(ALLOWED)]
    assert not [name for name in ours if name.startswith("formulations")]
