"""The relaxation contains every re-trained choice: its bounds, its cutoffs, its smaller regions, its tightening.

For a choice with one re-trained outcome the region is cut down to that choice; then the bound must be on the safe side
of the outcome's goal, whatever else the region was given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from oar_opt import relaxation
from oar_opt.bounds import ParameterBounds
from oar_opt.discovery import learner_of
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.problem import GoalKind, Intercept, Position, moves_from_choice
from oar_opt.relaxation import Region, Relaxation
from oar_opt.risk_program import reference_point, whitened
from oar_opt.rules import budget_violations
from oar_opt.tightening import tighten

KINDS = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "logistic", "l1_svm", "lad")
EVERY = pytest.mark.parametrize(("kind", "intercept"), list(product(KINDS, [str(i) for i in Intercept])))
SAFE = 1e-9
"""Relative room for the rounding of re-training; the relaxation itself has more than that to give away."""


@dataclass(frozen=True)
class Chosen:
    """An admissible choice whose demands are met: its rows among all options, and its outcome."""

    rows: list[int]
    outcome: Evaluation
    theta: np.ndarray


@dataclass(frozen=True)
class Case:
    problem: object
    bounds: ParameterBounds
    region: Region
    chosen: list[Chosen]

    @property
    def sign(self):
        return 1 if self.problem.goal.maximises else -1

    def only(self, region, rows):
        allowed = np.zeros_like(region.allowed)
        allowed[rows] = True
        return replace(region, allowed=allowed)

    def bound(self, region, cutoff=None):
        return Relaxation(self.problem, self.bounds, region, cutoff).goal_bound()

    def assert_holds(self, region, one, cutoff=None):
        """The region, and the same cut down to the choice, have bounds on the safe side of what the choice gives."""
        value = one.outcome.objective
        alone = self.only(region, one.rows)
        for part in [alone] if (alone.allowed == region.allowed).all() else [region, alone]:
            bound = self.bound(part, cutoff)
            assert bound is not None, f"a choice that gives {value} is excluded"
            assert self.sign * (bound - value) >= -SAFE * (1 + abs(value))


def case_of(problem):
    """None where no finite bound is proved."""
    risk = whitened(problem, learner_of(problem).risk(problem.learner, problem.d))
    bounds = ParameterBounds(problem, risk, reference_point(problem, risk))
    region = Region.of(problem, bounds)
    if not region.is_bounded:
        return None
    menus = [problem.admissible_options(member) for member in problem.collective.members]
    first = np.cumsum([0, *(len(menu) for menu in menus)])
    chosen = []
    for places in product(*(range(len(menu)) for menu in menus)):
        moves = moves_from_choice(problem, [menu[k] for menu, k in zip(menus, places, strict=True)])
        if budget_violations(problem, moves):
            continue
        try:
            outcome = evaluate(problem, moves)
        except UndefinedLearner:
            continue
        if not outcome.broken:
            theta = risk.join(np.array(outcome.parameters.w), outcome.parameters.b)
            chosen.append(Chosen([int(first[i]) + k for i, k in enumerate(places)], outcome, theta))
    return Case(problem, bounds, region, chosen)


CASES: dict = {}


def cases(make_small, *asked):
    """As :func:`found_cases`; tests share them."""
    if asked not in CASES:
        CASES[asked] = found_cases(make_small, *asked)
    return CASES[asked]


def found_cases(make_small, kind, intercept, first, count, goals=tuple(GoalKind)):
    """The first ``count`` problems from seed ``first`` on that have an answer; their goals go by turns."""
    shift = 7 * KINDS.index(kind) + ("none", "penalized", "free").index(intercept)
    found = []
    for seed in range(first, first + 20):
        goal = str(goals[(seed + shift) % len(goals)])
        case = case_of(make_small(seed, kind, intercept, goal, most_members=2))
        if case is not None and case.chosen:
            found.append(case)
        if len(found) == count:
            return found
    raise AssertionError("too few problems were usable")


@EVERY
def test_no_choice_is_excluded_and_no_bound_is_too_good(make_small, kind, intercept):
    for case in cases(make_small, kind, intercept, 0, 1):
        best = max(case.sign * one.outcome.objective for one in case.chosen)
        bound = case.bound(case.region)
        assert bound is not None and case.sign * bound >= best - SAFE * (1 + abs(best))
        for one in case.chosen:
            case.assert_holds(case.only(case.region, one.rows), one)


@EVERY
def test_a_settled_choice_has_the_learners_own_margin(make_small, kind, intercept, monkeypatch):
    """Stationarity and strong duality leave the learner's optimum only, whatever the boxes.

    A duality row that is off by ``e`` leaves ``theta`` off by ``sqrt(e)``, hence the fine tangents.
    """
    monkeypatch.setattr(relaxation, "VIOLATED", 1e-9)
    compared = 0
    for case in cases(make_small, kind, intercept, 20, 1, (GoalKind.MAX_MARGIN,)):
        for one in case.chosen[:3]:
            if one.outcome.fit.optima is None:
                value = one.outcome.objective
                reached = limit_of_tangents(case, one)
                assert abs(reached - value) <= 1e-3 * max(1.0, abs(value))
                compared += 1
    assert compared or kind in ("l1_svm", "lad")


def limit_of_tangents(case, one):
    program = Relaxation(case.problem, case.bounds, case.only(case.region, one.rows), None)
    terms, sense, constant = program.goal
    for _ in range(60):
        value = program.maximum(terms, sense)
        assert value is not None
        if not program.separate():
            break
    return value + constant


@EVERY
def test_no_cutoff_excludes_a_choice_that_is_as_good(make_small, kind, intercept):
    for case in cases(make_small, kind, intercept, 100, 1):
        values = sorted({one.outcome.objective for one in case.chosen})
        for cutoff in {values[0], values[len(values) // 2], values[-1]}:
            kept = [one for one in case.chosen if case.sign * (one.outcome.objective - cutoff) >= 0]
            for one in kept[:4]:
                case.assert_holds(case.only(case.region, one.rows), one, cutoff)
        best = max(case.chosen, key=lambda one: case.sign * one.outcome.objective)
        case.assert_holds(case.region, best, best.outcome.objective)


@EVERY
def test_boxes_around_an_optimum_keep_it(make_small, kind, intercept):
    draw = np.random.default_rng([5, KINDS.index(kind)])
    for case in cases(make_small, kind, intercept, 0, 1):
        low, high = case.region.theta
        for one in case.chosen[:2]:
            assert (low <= one.theta).all() and (one.theta <= high).all()
            for width in (1.0, 0.1, 1e-3):
                below = one.theta - width * draw.random(len(low)) * (one.theta - low)
                above = one.theta + width * draw.random(len(low)) * (high - one.theta)
                case.assert_holds(case.region.with_theta(below, above, case.bounds), one)
            # The optimum may lie on the box's edge, where a search has halved it.
            edge = np.where(draw.random(len(low)) < 0.5, one.theta, high)
            case.assert_holds(case.region.with_theta(low, edge, case.bounds), one)


@EVERY
def test_windows_of_the_margin_keep_what_lies_in_them(make_small, kind, intercept):
    for case in cases(make_small, kind, intercept, 20, 1, (GoalKind.MAX_MARGIN,)):
        for one in case.chosen[:2]:
            value = one.outcome.objective
            for floor, cap in ((-math.inf, value), (value, math.inf), (value, value), (value - 0.1, value + 0.05)):
                region = replace(case.region, floor=floor, cap=cap)
                case.assert_holds(region, one)
                assert case.bound(region) <= cap + 2e-6 * (1 + abs(cap))


@EVERY
def test_tightening_for_a_cutoff_keeps_every_choice_that_is_as_good(make_small, kind, intercept):
    for case in cases(make_small, kind, intercept, 100, 1):
        values = sorted({one.outcome.objective for one in case.chosen})
        for cutoff in {None, values[-1], values[len(values) // 2]}:
            found = tighten(case.problem, case.bounds, cutoff, seconds=1e9)
            assert not found.empty
            for one in case.chosen:
                if cutoff is None or case.sign * (one.outcome.objective - cutoff) >= 0:
                    assert_kept(case, found, one)


def assert_kept(case, found, one):
    assert not found.excluded & set(one.rows)
    assert_within(found.theta.lower, one.theta, found.theta.upper)
    assert_within(found.fixed.lower, case.bounds.fixed.xhat @ one.theta, found.fixed.upper)
    own = case.bounds.stacked.xhat[one.rows] @ one.theta
    assert_within(found.options.lower[one.rows], own, found.options.upper[one.rows])
    if found.goal_bound is not None:
        assert case.sign * (found.goal_bound - one.outcome.objective) >= -SAFE


def assert_within(lower, values, upper):
    slack = SAFE * (1 + np.abs(values))
    assert (lower <= values + slack).all() and (values <= upper + slack).all()


@pytest.mark.parametrize("kind", ["svm", "l1_svm"])
@pytest.mark.parametrize("position", [Position.OPTIMISTIC, Position.PESSIMISTIC])
def test_the_bound_holds_for_whichever_optimum_is_taken(make_small, kind, position):
    tied = 0
    for seed in range(120, 130):
        problem = make_small(seed, kind, "free", strengths=(0.05, 0.3), most_members=1, position=position)
        case = case_of(problem)
        for one in case.chosen if case else ():
            tied += one.outcome.fit.optima is not None
            case.assert_holds(case.region, one)
    assert tied >= 3
