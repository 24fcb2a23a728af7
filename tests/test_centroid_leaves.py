"""Leaves for the nearest centroid: hand-computed bounds, and all of them against re-training every choice."""

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
    LabelAction,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.proof.centroid_bound import CentroidMultipliers, slack_above
from oar_opt.proof.checker import check
from oar_opt.proof.class_rows import ClassRows
from oar_opt.proof.exact_choices import exact_choices
from oar_opt.proof.exact_outcome import exact_outcome
from oar_opt.proof.member_sums import effort_of, largest, least, priced_maximum
from oar_opt.proof.nodes import CentroidLeaf
from oar_opt.proof.parts import only_choice, whole
from oar_opt.proof_search.centroid_leaves import CentroidLeaves
from oar_opt.proof_search.producer import prove_by_tree
from tests.proved_trees import leaves_of_a_proved_tree

BUDGETS = [Budget(), Budget(total=2.2), Budget(members=1), Budget(1.6, 2.8, 2)]


def random_problem(seed, members=3):
    """Labels, strikes and menus of several classes; weights 0, and classes that may be emptied."""
    draw = np.random.default_rng([seed, 7])
    classes, d = int(draw.integers(2, 4)), int(draw.integers(1, 4))
    n = int(draw.integers(2 * classes, 10))
    y = np.arange(n) % classes
    X = draw.normal(size=(n, d)) + draw.normal(size=(classes, d))[y]
    s = draw.choice([1.0, 1.0, 2.0, 0.5, 0.0], size=n)
    s[:classes] = np.maximum(s[:classes], 0.3)
    goal = list(GoalKind)[seed % 4]

    def option(i):
        weight, cost = float(draw.choice([1.0, 2.0, 0.3, 0.0])), round(float(draw.uniform(0, 2)), 3)
        return Option(OptionKind.MENU, tuple((X[i] + draw.normal(size=d)).tolist()), y_of(), weight, cost)

    def y_of():
        return float(draw.integers(classes))

    def member(i):
        labels = (LabelAction(tuple(float(c) for c in range(classes)), 0.7),) if draw.random() < 0.5 else ()
        strike = (WithholdAction(0.9),) if draw.random() < 0.5 else ()
        return Member(int(i), (*labels, *strike), tuple(option(i) for _ in range(int(draw.integers(0, 3)))))

    def subject(name, required):
        return Query(name, tuple(draw.normal(size=d).tolist()), y_of(), required=required)

    team = draw.choice(n, members, replace=False)
    problem = RecourseProblem(
        f"leaves-{seed}",
        Records(X, y.astype(float), s),
        LearnerSpec("nearest_centroid"),
        Collective(tuple(member(i) for i in team), budget=BUDGETS[int(draw.integers(4))]),
        tuple(subject(f"q{q}", 0.2) for q in range(int(draw.integers(1, 3)))),
        goal,
        classes=tuple(f"c{c}" for c in range(classes)),
        guards=tuple(subject(f"g{g}", -1.0) for g in range(int(draw.integers(0, 2)))),
    )
    return parse_instance(dump_instance(problem))


def line(goal=GoalKind.MAX_MARGIN, weight=1.0, **changes):
    """Classes at 0 and at 4, two records each; the second of the latter may move to 8. The query 2 wants the former."""
    option = Option(OptionKind.MENU, (8.0,), 1.0, weight, 3.0)
    return replace(
        RecourseProblem(
            "line",
            Records(np.array([[0.0], [0.0], [4.0], [4.0]]), np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)),
            LearnerSpec("nearest_centroid"),
            Collective((Member(3, (), (option,)),)),
            (Query("q", (2.0,), 0.0, required=1.0),),
            goal,
            classes=("near", "far"),
        ),
        **changes,
    )


def slack(problem, bound, pairs, points, cost=0, acting=0):
    given = CentroidMultipliers(
        [(q, c, fmpq(pi)) for q, c, pi in pairs], [[fmpq(x)] for x in points], fmpq(cost), fmpq(acting)
    )
    return slack_above(ClassRows(problem), whole(problem, bound), given)


# -- by hand ---


def test_the_secant_meets_the_best_choice():
    """Staying has the margin 0, moving ``(2 - 6)^2 - 4 = 12``: between the centroids 4 and 6 the secant is exact."""
    assert slack(line(), fmpq(0), [(0, 1, 1)], [0, 4]) == 12
    assert slack(line(), fmpq(5), [(0, 1, 2)], [0, 5]) == 14


def test_a_tangent_that_is_off_costs_its_square():
    """At ``m = 1`` instead of the centroid 0 of the query's class."""
    assert slack(line(), fmpq(0), [(0, 1, 1)], [1, 4]) == 13


def test_prices_and_budgets_by_hand():
    """If nobody may act the centroids stay, and a price of 100 keeps the member from moving; with a limit of 3 and
    a price of 10 moving is worth 12 - 30."""
    poor = line(collective=replace(line().collective, budget=Budget(members=0)))
    assert slack(poor, fmpq(0), [(0, 1, 1)], [0, 4], acting=100) == 0
    cheap = line(GoalKind.MIN_COST)
    needed = whole(cheap, fmpq(3)).needs[0]
    assert slack(cheap, fmpq(3), [(0, 1, 1)], [0, 4], cost=10) == -needed + 30


def test_an_open_weight_of_a_class():
    """A strike of the record at 4 leaves the centroid 4; the weights 1 and 2 change nothing at ``m = 4``."""
    problem = line(weight=0.0)
    assert slack(problem, fmpq(0), [(0, 1, 1)], [0, 4]) == 0


def test_a_class_without_a_weight_is_no_choice():
    records = Records(np.array([[0.0], [4.0]]), np.array([0.0, 1.0]), np.ones(2))
    problem = line(records=records, collective=Collective((Member(1, (WithholdAction(1.0),)),)))
    part = whole(problem, fmpq(-100))
    given = CentroidMultipliers([(0, 1, fmpq(1))], [[fmpq(0)], [fmpq(4)]], fmpq(0), fmpq(0))
    rows = ClassRows(problem)
    assert slack_above(rows, part, given) == 100
    assert slack_above(rows, part.with_options(1, (0,)), given) == 100
    assert slack_above(rows, part.with_options(1, (1,)), given) == -1


def test_what_does_not_fit_gives_no_bound():
    for pairs in ([(0, 1, -1)], [(0, 0, 1)], [(1, 1, 1)], [(0, 2, 1)]):
        assert slack(line(), fmpq(0), pairs, [0, 4]) is None
    assert slack(line(), fmpq(0), [(0, 1, 1)], [0, 4], cost=1) is None
    assert slack(line(), fmpq(0), [(0, 1, 1)], [0, 4], acting=1) is None


# -- against all choices ---


def choices_of(part):
    """The choices of a part, with their outcome; those that leave no learner are left out."""
    found = []
    for choice in exact_choices(part.problem):
        moves = {move.record: move for move in choice.moves}
        taken = {r: 1 + part.menus[r].index(moves[r]) if r in moves else 0 for r in part.options}
        inside = all(k in part.options[r] for r, k in taken.items())
        too_much = (part.limit is not None and choice.cost > part.limit) or (
            part.cap is not None and len(choice.moves) > part.cap
        )
        outcome = exact_outcome(part.problem, choice) if inside and not too_much else ""
        if not isinstance(outcome, str):
            found.append((choice, taken, outcome))
    return found


def random_part(problem, draw):
    part = whole(problem, fmpq(int(draw.integers(0, 3))))
    for record, left in part.options.items():
        kept = tuple(k for k in left if draw.random() < 0.7) or left
        part = part.with_options(record, kept)
    return part if problem.goal is not GoalKind.MAX_HELPED else part.with_helped(0)


def test_every_bound_is_above_every_choice():
    compared = 0
    for seed in range(120):
        problem, draw = random_problem(seed), np.random.default_rng(seed)
        rows, part = ClassRows(problem), random_part(problem, draw)
        needs = [*part.needs, *part.guards]
        own = [int(subject.target) for subject in (*problem.queries, *problem.guards)]
        usable = [(q, c) for q, t in enumerate(own) for c in range(rows.classes) if c != t and needs[q] is not None]
        given = CentroidMultipliers(
            [(q, c, fmpq(int(draw.integers(0, 4)), 3)) for q, c in usable],
            [[fmpq(int(v), 4) for v in draw.integers(-8, 9, rows.d)] for _ in range(rows.classes)],
            fmpq(int(draw.integers(0, 3)) if part.limit is not None else 0),
            fmpq(int(draw.integers(0, 3)) if part.cap is not None else 0),
        )
        bound = slack_above(rows, part, given)
        for choice, _, outcome in choices_of(part):
            margins = [m.low for m in (*outcome.queries, *outcome.guards)]
            value = sum((pi * (margins[q] - needs[q]) for q, _, pi in given.pairs), fmpq(0))
            value += given.cost * ((part.limit or 0) - choice.cost) if part.limit is not None else 0
            value += given.acting * ((part.cap or 0) - len(choice.moves)) if part.cap is not None else 0
            assert value <= bound
            compared += 1
    assert compared > 500


def test_sums_over_members_are_bounded():
    compared = 0
    for seed in range(60):
        problem, draw = random_problem(seed), np.random.default_rng([seed, 1])
        part = random_part(problem, draw)
        values = {r: {k: fmpq(int(draw.integers(-9, 10))) for k in left} for r, left in part.options.items()}
        for choice, taken, _ in choices_of(part):
            total = sum(values[r][k] for r, k in taken.items())
            assert least(part, values) <= total <= largest(part, values)
            assert sum(effort_of(part, r, k)[0] for r, k in taken.items()) == choice.cost
            prices = (fmpq(2 if part.limit is not None else 0), fmpq(1 if part.cap is not None else 0))
            assert total <= priced_maximum(part, values, *prices)
            compared += 1
    assert compared > 300


def test_a_part_with_one_choice_is_bounded_exactly():
    for seed in range(0, 48, 4):
        problem = random_problem(seed)
        leaves, root = CentroidLeaves(problem), whole(problem, fmpq(0))
        for choice, taken, outcome in choices_of(root)[:4]:
            part = root
            for record, k in taken.items():
                part = part.with_options(record, (k,))
            assert only_choice(part).cost == choice.cost
            value = outcome.value.high
            for step, refuted in ((fmpq(1, 10**6), True), (fmpq(-1, 10**6), False)):
                # The relation is to the bound alone, so guards are left out.
                here = replace(
                    part, needs=(value + step,) * len(part.needs), guards=(fmpq(-(10**6)),) * len(part.guards)
                )
                assert (leaves.assess(here, 1.0).leaf is not None) == refuted


# -- certificates ---


@pytest.mark.parametrize("start", range(0, 40, 20))
def test_trees_prove_what_enumeration_does(start):
    problems = (random_problem(seed) for seed in range(start, start + 20))
    assert sum(leaves_of_a_proved_tree(problem, CentroidLeaf) for problem in problems) > 0


def test_a_leaf_that_is_not_the_learners_is_refused():
    problem = random_problem(0)
    certificate = prove_by_tree(problem, None, 60.0)
    leaf = CentroidLeaf(kind="centroid", pairs=(), points=(), cost=0.0, acting=0.0, balls=False)
    assert "one point for every class" in check(certificate.model_copy(update={"nodes": (leaf,)}), problem).sentence
    points = ((0.0,) * problem.d,) * len(problem.classes)
    for change in ({"pairs": ((-1, 0, 1.0),)}, {"pairs": ((0, 7, 1.0),)}, {}):
        given = leaf.model_copy(update={"points": points, **change})
        assert not check(certificate.model_copy(update={"nodes": (given,)}), problem).proved
