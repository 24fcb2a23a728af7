"""Leaves for one gradient step: hand-computed bounds, and all of them against every choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flint import fmpq

from oar_opt.instance_file import dump_instance, parse_instance
from oar_opt.problem import (
    Budget,
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
from oar_opt.proof.exact_steps import exact_steps
from oar_opt.proof.leaf_bounds import not_bounded, not_one_step
from oar_opt.proof.nodes import StepLeaf
from oar_opt.proof.parts import whole
from oar_opt.proof.rationals import exact
from oar_opt.proof.step_bound import StepMultipliers, StepRows, slack_above
from oar_opt.proof_search.producer import prove_by_tree
from oar_opt.update_settings import gradient_update
from tests.proved_trees import leaves_of_a_proved_tree
from tests.test_centroid_leaves import choices_of, random_part

LOSSES = ("squared", "hinge", "logistic")
INTERCEPTS = ("none", "penalized", "free")


def random_problem(make, seed, *, core=2, goal=None):
    """Menus with labels and strikes under one step; batches that leave members out, means that may lose all weight."""
    draw = np.random.default_rng([seed, 3])
    intercept = INTERCEPTS[seed % 3]
    budget = [Budget(), Budget(total=2.0), Budget(members=1), Budget(1.5, 2.5, 2)][int(draw.integers(4))]
    base = make(
        seed,
        "svm",
        intercept,
        goal or list(GoalKind)[seed % 4],
        n=6,
        members=3,
        core=core,
        labels=bool(draw.random() < 0.5),
        withhold=True,
        budget=budget,
        queries=int(draw.integers(1, 3)),
        guards=int(draw.integers(0, 2)),
        required=0.05,
    )
    batch = None if draw.random() < 0.5 else [np.flatnonzero(draw.random(6) < 0.7).tolist() or [0]]
    rule = gradient_update(
        draw.normal(size=2).tolist(),
        0.0 if intercept == "none" else 0.2,
        rate=float(draw.choice([0.1, 1.0])),
        l2=float(draw.choice([0.0, 0.1])),
        reduction=str(draw.choice(["mean", "sum"])),
        batches=batch,
        loss=LOSSES[int(draw.integers(3))],
    )
    return parse_instance(dump_instance(replace(base, update=rule)))


def line(reduction, weight=1.0):
    """``theta_0 = 0``, rate 1/4, squared loss: ``theta+ = (2/4) sum s y x``, over 2 records for a mean. The one at 1 is
    ``+``; the member at 2 is ``-`` and may go to 6 or change its weight. The query 1 wants ``+``."""
    option = Option(OptionKind.MENU, (6.0,) if weight == 1.0 else (2.0,), -1.0, weight, 3.0)
    return RecourseProblem(
        "line",
        Records(np.array([[1.0], [2.0]]), np.array([1.0, -1.0]), np.ones(2)),
        LearnerSpec("ridge", alpha=1.0),
        Collective((Member(1, (), (option,)),)),
        (Query("q", (1.0,), 1.0),),
        GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        update=gradient_update([0.0], rate=0.25, reduction=reduction),
    )


def slack(problem, bound, pi, cost=0, acting=0):
    given = StepMultipliers([fmpq(pi)], [], fmpq(cost), fmpq(acting))
    return slack_above(StepRows(problem), whole(problem, bound), given)


def test_a_step_by_hand():
    """Staying gives ``theta+ = (1 - 2)/2 = -1/2`` for the sum and -1/4 for the mean."""
    assert slack(line("sum"), fmpq(0), 1) == fmpq(-1, 2)
    assert slack(line("mean"), fmpq(0), 1) == fmpq(-1, 2)
    assert slack(line("mean"), fmpq(-1, 4), 3) == 0


def test_the_batchs_weight_may_change():
    """A strike leaves 1/2 of one record: ``S (m - 1/2) = 0``; weight 3 leaves ``(1 - 6)/8`` of four."""
    assert slack(line("mean", weight=0.0), fmpq(1, 2), 1) == 0
    assert slack(line("mean", weight=3.0), fmpq(-5, 8), 1) == max(4 * (fmpq(-5, 8) + fmpq(5, 8)), 2 * fmpq(3, 8))


def test_what_does_not_fit_gives_no_bound():
    assert slack(line("sum"), fmpq(0), -1) is None
    assert slack(line("sum"), fmpq(0), 1, cost=1) is None
    assert slack(line("sum"), fmpq(0), 1, acting=1) is None


@pytest.mark.parametrize("core", [0, 2])
def test_every_bound_is_above_every_choice(make, core):
    compared, sharp = 0, 0
    for seed in range(60):
        problem, draw = random_problem(make, seed, core=core), np.random.default_rng(seed)
        part, rows = random_part(problem, draw), StepRows(problem)
        needs = [*part.needs, *part.guards]
        weights = [fmpq(int(draw.integers(0, 4)), 3) if need is not None else fmpq(0) for need in needs]
        prices = [fmpq(int(draw.integers(0, 2)) if end is not None else 0) for end in (part.limit, part.cap)]
        bound = slack_above(
            rows, part, StepMultipliers(weights[: len(part.needs)], weights[len(part.needs) :], *prices)
        )
        best = None
        for choice, taken, outcome in choices_of(part):
            S = rows.weight + sum(rows.options[r][k].s for r, k in taken.items())
            margins = [m.low for m in (*outcome.queries, *outcome.guards)]
            value = sum(
                (S * pi * (m - need) for pi, m, need in zip(weights, margins, needs, strict=True) if pi), fmpq(0)
            )
            value += prices[0] * ((part.limit or 0) - choice.cost) + prices[1] * ((part.cap or 0) - len(choice.moves))
            assert value <= bound
            best = value if best is None else max(best, value)
            compared += 1
        sharp += best is not None and bound - best < fmpq(1, 10**20)
    assert compared > 300 and sharp >= 20


@pytest.mark.parametrize("start", range(0, 40, 20))
def test_trees_prove_what_enumeration_does(make, start):
    problems = (random_problem(make, seed) for seed in range(start, start + 20))
    assert sum(leaves_of_a_proved_tree(problem, StepLeaf) for problem in problems) > 0


def test_several_steps_have_no_leaf(make):
    problem = random_problem(make, 0)
    certificate = prove_by_tree(problem, None, 60.0)
    again = parse_instance(
        dump_instance(replace(problem, update=gradient_update([0.1, 0.2], rate=0.1, T=2, loss="hinge")))
    )
    assert not_one_step(problem) is None and not_bounded(again) == "the update is not one gradient step"
    leaf = StepLeaf(kind="step", queries=(1.0,), guards=(), cost=0.0, acting=0.0)
    claim = {"nodes": (leaf,), "instance_sha256": again.sha256, "moves": None}
    assert "not one gradient step" in check(certificate.model_copy(update=claim), again).sentence
    claim = {"nodes": (leaf.model_copy(update={"queries": ()}),)}
    assert "one weight for every query" in check(certificate.model_copy(update=claim), problem).sentence


def test_a_logistic_push_is_enclosed():
    """``1 / (1 + exp(0)) = 1/2`` at ``theta_0 = 0``, within the ball's radius."""
    problem = replace(line("sum"), update=gradient_update([0.0], rate=0.25, reduction="sum", loss="logistic"))
    bound = slack(problem, fmpq(0), 1)
    assert fmpq(-1, 8) <= bound <= fmpq(-1, 8) + fmpq(1, 10**40) and exact(-0.125) <= bound


def test_a_record_far_on_its_side_pushes_hardly():
    """At ``y f = 10^20`` the push is less than ``exp(-120)``, and its own exponent would have twenty digits."""
    base = line("sum")
    records = Records(np.array([[1e20], [2.0]]), np.array([1.0, -1.0]), np.ones(2))
    update = gradient_update([1.0], rate=0.25, reduction="sum", loss="logistic")
    problem = replace(base, records=records, update=update, collective=Collective(()))
    near, (theta,) = 1 - 0.5 / (1 + np.exp(-2.0)), exact_steps(problem, records)
    assert theta.low < exact(near) + fmpq(1, 10**15) and exact(near) - fmpq(1, 10**15) < theta.high
    assert theta.high - theta.low < fmpq(1, 10**30)
    bound = slack(problem, fmpq(0), 1)
    assert theta.low <= bound <= theta.high + fmpq(1, 10**30)
