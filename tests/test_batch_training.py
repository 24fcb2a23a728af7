"""Batches of choices: their bounds hold at every step, and what they leave is what re-training finds."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from oar_opt.batch_training import BatchTraining, _inverses, has_batches
from oar_opt.choice_batches import ChoiceBatches, Limit
from oar_opt.discovery import formulations
from oar_opt.evaluate import UndefinedLearner, choices, enumerate_choices, evaluate
from oar_opt.problem import Budget, GoalKind, OptionKind, Position, moves_from_choice
from oar_opt.relaxation import Region
from oar_opt.result import Request, StoppedBy
from oar_opt.retraining_search import RetrainingSearch, proved_bounds
from oar_opt.screening import Screening

KINDS = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "logistic")
EVERY = pytest.mark.parametrize(
    ("kind", "intercept"), list(itertools.product(KINDS, ("none", "penalized", "free"))), ids=" ".join
)


class Case:
    """A problem, its batches over everything, and the true margins ``(m, S)`` of all its admissible choices."""

    def __init__(self, problem, region=None):
        self.search = RetrainingSearch(problem, Request())
        self.screening = Screening(self.search)
        self.bounds = self.search.bounds
        self.region = region or Region.of(problem, self.bounds)
        self.batch = BatchTraining(self.bounds, self.region, self.screening.subjects, self.screening.constants)
        menus = self.search.menus
        places = [tuple(m.index(o) for m, o in zip(menus, choice, strict=True)) for choice in choices(problem)]
        self.options = np.array(places, dtype=np.int64) + self.search.first_row[:-1]
        self.defined, self.margins, self.theta, self.tied = [], [], [], []
        for choice in places:
            moves = moves_from_choice(problem, [m[k] for m, k in zip(menus, choice, strict=True)])
            try:
                found = evaluate(problem, moves)
            except UndefinedLearner:
                self.defined.append(False)
                self.tied.append(False)
                self.margins.append([math.nan] * len(self.screening.constants))
                self.theta.append(np.full(self.bounds.risk.p, math.nan))
                continue
            self.defined.append(True)
            self.tied.append(found.fit.optima is not None)
            self.margins.append([*found.margins, *found.guard_margins])
            self.theta.append(self.bounds.risk.join(np.array(found.parameters.w), found.parameters.b))
        self.defined, self.margins, self.theta = map(np.array, (self.defined, self.margins, self.theta))

    def screen(self, hopeless):
        """In batches; the numbers of the choices that are left, with their bounds."""
        left, upper = [], []
        for start in range(0, len(self.options), self.batch.size):
            part = self.options[start : start + self.batch.size]
            found = self.batch.screen(part, lambda u, i, s=start: hopeless(u, i + s))
            left += (found.left + start).tolist()
            upper += found.upper.tolist()
        return left, np.array(upper).reshape(-1, len(self.screening.constants))


def accuracy(case):
    """How far apart a bound and a margin that is re-trained may be: re-training has its own accuracy."""
    return 1e-6 * np.maximum(1.0, np.abs(case.margins))


def assert_bounds(case, tight):
    """The bounds hold for all choices at every step, and at the end, unless there is a tie, within ``tight``."""
    seen = []

    def never(upper, index):
        known = case.defined[index]
        assert (upper[known] >= case.margins[index][known] - accuracy(case)[index][known]).all()
        seen.append(len(index))
        return np.zeros(len(index), dtype=bool)

    left, upper = case.screen(never)
    assert seen
    assert sorted(left) == list(range(len(case.options))), "a choice is in the region and must be left"
    rows = [place for place, j in enumerate(left) if case.defined[j] and not case.tied[j]]
    over = upper[rows] - case.margins[[left[place] for place in rows]]
    assert (over <= tight).all()


@EVERY
def test_bounds_hold_at_every_step_and_become_sharp(make_small, kind, intercept):
    for seed in range(300, 304):
        problem = make_small(seed, kind, intercept, most_members=2)
        case = Case(problem)
        assert has_batches(case.bounds.risk) and case.batch.is_sound
        assert_bounds(case, 2e-3)


@pytest.mark.parametrize("kind", ["svm", "epsilon_insensitive"])
@pytest.mark.parametrize("position", [Position.OPTIMISTIC, Position.PESSIMISTIC])
def test_bounds_hold_for_every_optimal_intercept(make_small, kind, position):
    """With little weight on the records, whole intervals of intercepts are optimal."""
    for seed in range(310, 316):
        case = Case(make_small(seed, kind, "free", position=position, most_members=2, strengths=(0.05, 0.3)))
        assert_bounds(case, math.inf)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1e-3, 1e4])
def test_little_and_much_regularisation(make_small, kind, strength):
    for seed in (320, 321):
        problem = make_small(seed, kind, "penalized", most_members=2, strengths=(strength,))
        case = Case(problem)
        if case.batch.is_sound:
            assert_bounds(case, math.inf)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_smaller_region_its_own_choices_are_left(make_small, kind):
    """Records that are lines there are summed up; choices whose optimum is outside may go."""
    for seed in range(330, 333):
        problem = make_small(seed, kind, "penalized", most_members=2)
        whole = Case(problem)
        bounds = proved_bounds(problem)
        middle = whole.theta[whole.defined][-1]
        low, high = whole.region.theta
        low, high = np.maximum(low, middle - 0.1), np.minimum(high, middle + 0.1)
        case = Case(problem, whole.region.with_theta(low, high, bounds))
        inside = case.defined & ((case.theta >= low) & (case.theta <= high)).all(axis=1)
        assert inside.any()

        def never(upper, index, case=case, inside=inside):
            mine = inside[index]
            assert (upper[mine] >= case.margins[index][mine] - accuracy(case)[index][mine]).all()
            return np.zeros(len(index), dtype=bool)

        left, _ = case.screen(never)
        assert set(np.flatnonzero(inside)) <= set(left)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_beats_a_threshold_is_left(make_small, kind):
    case = Case(make_small(340, kind, "penalized", most_members=3))
    best = np.nanmax(case.margins[:, 0])
    left, _ = case.screen(lambda upper, _: upper[:, 0] < best - 1e-3)
    expected = set(np.flatnonzero(case.margins[:, 0] >= best - 1e-3))
    assert expected <= set(left)
    assert all(case.margins[j, 0] >= best - 1e-2 for j in left)


@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_a_small_batch_changes_nothing(make_small, monkeypatch, kind):
    problem = make_small(350, kind, "free", most_members=3)
    one = Case(problem)
    _, upper = one.screen(lambda upper, _: np.zeros(len(upper), dtype=bool))
    monkeypatch.setattr("oar_opt.batch_training.ELEMENTS", 1)
    assert one.batch.size == 1
    left, singly = one.screen(lambda upper, _: np.zeros(len(upper), dtype=bool))
    assert left == list(range(len(one.options)))
    assert np.allclose(np.sort(singly, axis=0), np.sort(upper, axis=0), atol=1e-4)


@pytest.mark.parametrize("kind", ["l1_svm", "lad"])
def test_linear_programs_have_no_batches(make_small, kind):
    assert not has_batches(proved_bounds(make_small(360, kind)).risk)


# -- choices ---


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "budget", [Budget(), Budget(total=2.2), Budget(members=2), Budget(members=0), Budget(total=1.5, members=3)]
)
def test_batches_hold_every_admissible_choice_once(make, budget, size):
    problem = make(5, "ridge", members=4, options=2, labels=True, budget=budget)
    search = RetrainingSearch(problem, Request())
    batches = Screening(search).choices(Region.of(problem, search.bounds))
    found = [tuple(row) for part in batches.batches(size) for row in (part - search.first_row[:-1]).tolist()]
    menus = search.menus
    expected = [tuple(menus[i].index(o) for i, o in enumerate(choice)) for choice in choices(problem)]
    assert sorted(found) == sorted(expected)
    assert len(found) <= batches.count
    if budget.total is None:
        assert len(found) == batches.count
    assert all(len(part) <= size for part in batches.batches(size))


def test_no_choice_costs_less_than_nothing():
    batches = ChoiceBatches((np.array([0, 1]),), np.array([0.0, 1.0]), np.array([0.0, 1.0]), Limit(math.inf, -1.0))
    assert batches.count == 0 and list(batches.batches(10)) == []


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_choices_near_another_one_differ_for_few_members(make, distance):
    problem = make(5, "ridge", members=4, options=2, budget=Budget(members=3))
    search = RetrainingSearch(problem, Request())
    batches = Screening(search).choices(Region.of(problem, search.bounds))
    every = {tuple(row) for part in batches.batches(1000) for row in part.tolist()}
    centre = search.first_row[:-1] + np.array([0, 1, 2, 0])
    found = {tuple(row) for part in batches.near(centre, distance, 4) for row in part.tolist()}
    assert found == {row for row in every if (np.array(row) != centre).sum() <= distance}
    assert len(found) <= batches.count_near(distance)


# -- searches ---


@pytest.mark.parametrize("goal", [str(goal) for goal in GoalKind])
@pytest.mark.parametrize("kind", (*KINDS, "l1_svm"))
def test_a_closed_region_has_no_better_choice(make_small, kind, goal):
    for seed in (370, 371, 372):
        problem = make_small(seed, kind, "penalized", goal, most_members=3)
        search = RetrainingSearch(problem, Request(relative_gap=1e-5))
        assert Screening(search).close(Region.of(problem, search.bounds), math.inf)
        best = enumerate_choices(problem).best
        assert (search.best is None) == (best is None)
        if best is not None:
            assert search.best.objective == pytest.approx(best.objective, abs=1e-5 * max(1.0, abs(best.objective)))


def test_few_choices_are_re_trained_exactly(make):
    """Three members of four options each: the batches leave less than a tenth."""
    problem = make(8, "svm", members=4, options=3, n=30)
    search = RetrainingSearch(problem, Request())
    assert Screening(search).close(Region.of(problem, search.bounds), math.inf)
    assert search.best.objective == pytest.approx(enumerate_choices(problem).best.objective, abs=1e-4)
    assert len(search.known) < 0.2 * 4**4


def test_a_limit_on_the_loss_is_settled_one_by_one(make):
    problem = replace(make(9, "svm", members=2, options=2), max_loss_increase=0.1)
    search = RetrainingSearch(problem, Request())
    screening = Screening(search)
    assert not screening.in_batches
    assert screening.close(Region.of(problem, search.bounds), math.inf)
    best = enumerate_choices(problem).best
    assert (search.best is None) == (best is None)
    assert best is None or search.best.objective == pytest.approx(best.objective, abs=1e-4)


def test_time_that_runs_out_leaves_the_region_open(make):
    problem = make(8, "svm", members=4, options=3, n=30)
    search = RetrainingSearch(problem, Request(time_limit=1e-9))
    assert not Screening(search).close(Region.of(problem, search.bounds), math.inf)


@pytest.mark.parametrize("goal", ["max_margin", "min_cost"])
def test_climbing_ends_where_no_three_members_do_better(make, goal):
    problem = make(8, "svm", goal=goal, members=4, options=3, n=30, required=0.02)
    search = RetrainingSearch(problem, Request(relative_gap=1e-6))
    ranking = enumerate_choices(problem, keep=200).ranking
    worst = ranking[-1]
    search.consider(worst.moves)
    screening = Screening(search)
    region = Region.of(problem, search.bounds)
    screening.climb(region, 60.0)
    assert search.best.exceeds(worst)
    rows = screening._rows_of(search.best)
    near = {tuple(row) for part in screening.choices(region).near(rows, 3, 1000) for row in part.tolist()}
    sign = 1 if problem.goal.maximises else -1
    for answer in ranking:
        if tuple(screening._rows_of(answer)) in near:
            assert sign * (answer.objective - search.best.objective) <= 1e-5


@pytest.mark.parametrize("goal", ["max_margin", "min_cost"])
def test_an_answer_that_is_not_settled_is_no_answer_and_keeps_its_own_bound(make, monkeypatch, goal):
    problem = make(8, "svm", goal=goal, members=4, options=3, n=30, required=0.02)
    best = enumerate_choices(problem).best

    def vague(problem, moves):
        found = evaluate(problem, moves)
        if found.moves != best.moves:
            return found
        return replace(found, fit=replace(found.fit, error=1.0, accuracy=None))

    for module in ("retraining_search", "evaluate"):
        monkeypatch.setattr(f"oar_opt.{module}.evaluate", vague)
    search = RetrainingSearch(problem, Request())
    search.try_moves(best.moves)
    assert search.best is None and search.loosest == vague(problem, best.moves).at_best
    assert Screening(search).close(Region.of(problem, search.bounds), search.sign * math.inf)
    assert not search.best.exceeds(best)
    could_be_better = search.sign * (search.loosest - search.best.objective) > 0
    assert enumerate_choices(problem).complete is not could_be_better
    assert could_be_better or goal == "min_cost"


def test_a_singular_system_proves_nothing():
    systems = np.stack([np.eye(2), np.zeros((2, 2)), 2 * np.eye(2)])
    found = _inverses(systems)
    assert np.isnan(found[1]).all() and np.array_equal(found[[0, 2]], np.stack([np.eye(2), 0.5 * np.eye(2)]))


@pytest.mark.parametrize(("seed", "kind"), [(536316, "epsilon_insensitive"), (787032, "svm")])
def test_options_far_away_break_nothing(make, seed, kind):
    """Such kinks once made a linear system singular."""
    strength = {536316: 0.31920896, 787032: 0.1645792320388229}[seed]
    regression = kind == "epsilon_insensitive"
    made = make(seed, kind, "free", n=12, d=2, members=2, options=3, regression=regression, strength=strength)
    members = tuple(
        replace(m, menu=tuple(replace(o, x=tuple(1e4 * value for value in o.x)) for o in m.menu))
        for m in made.collective.members
    )
    problem = replace(made, collective=replace(made.collective, members=members))
    claim = formulations()["copies"].build(problem).run(Request(relative_gap=1e-5))
    best = enumerate_choices(problem).best
    assert claim.objective == pytest.approx(best.objective, abs=1e-5 * max(1.0, abs(best.objective)))


def test_climbing_stops_for_lack_of_time(make):
    problem = make(8, "svm", members=4, options=3, n=30)
    search = RetrainingSearch(problem, Request())
    search.consider(())
    before = search.best
    Screening(search).climb(Region.of(problem, search.bounds), 1e-9)
    assert search.best is before


def test_progress_is_told_between_batches(make, monkeypatch):
    monkeypatch.setattr("oar_opt.screening.REPORTS", 0.0)
    monkeypatch.setattr("oar_opt.batch_training.ELEMENTS", 300)
    told = []
    problem = make(8, "svm", members=4, options=3, n=30)
    search = RetrainingSearch(problem, Request(progress=told.append))
    assert Screening(search).close(Region.of(problem, search.bounds), 7.0)
    assert len(told) > 2 and all(entry.bound == 7.0 for entry in told)
    assert told[-1].primal == search.best.objective


def test_copies_screens_the_first_region(make, monkeypatch):
    """With no time for anything else, the answer comes from batches alone."""
    from formulations.single_level import copies

    monkeypatch.setattr(copies._Search, "_split", lambda *_: pytest.fail("a region is split"))
    problem = make(8, "svm", members=4, options=3, n=30)
    claim = formulations()["copies"].build(problem).run(Request(relative_gap=1e-4))
    assert claim.stopped_by is StoppedBy.PROOF
    assert claim.objective == pytest.approx(enumerate_choices(problem).best.objective, abs=1e-4)


def test_staying_is_the_first_option(make):
    """The rows of acting options are told by their place."""
    problem = make(5, "ridge", members=3, options=2)
    assert all(menu[0].kind is OptionKind.STAY for menu in RetrainingSearch(problem, Request()).menus)
