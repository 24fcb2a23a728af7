"""Certificates of trees: the Lagrangian against every choice of small instances, and what the checker refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flint import fmpq

from oar_opt.problem import GoalKind
from oar_opt.proof.checker import check
from oar_opt.proof.exact_choices import exact_choices
from oar_opt.proof.exact_outcome import Outcome, exact_outcome
from oar_opt.proof.lagrangian import slack_above
from oar_opt.proof.learner_rows import LearnerRows
from oar_opt.proof.parts import whole
from oar_opt.proof.rationals import approximate, exact, read_decimal
from oar_opt.proof.tree import not_dual
from oar_opt.proof_search.leaf_multipliers import Relaxation
from oar_opt.proof_search.producer import prove_by_tree
from tests.test_proof import stated

REGRESSION = ("huber", "epsilon_insensitive", "lad")
KINDS = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "logistic", "l1_svm", "lad")
INTERCEPTS = ("none", "penalized", "free")


def outcomes(problem):
    """Every choice with its exact outcome, where it has one."""
    found = []
    for choice in exact_choices(problem):
        try:
            outcome = exact_outcome(problem, choice)
        except ArithmeticError:
            continue
        if isinstance(outcome, Outcome):
            found.append((choice, outcome))
    return found


def is_in(part, choice):
    """Whether a choice is one of a part's."""
    taken = {move.record: 1 + list(part.menus[move.record]).index(move) for move in choice.moves}
    return all(taken.get(record, 0) in left for record, left in part.options.items())


def noisy(given, draw, scale):
    """Multipliers that are off by a random factor or amount; signs stay as they have to be."""

    def size(value):
        return exact(abs(approximate(value) * (1 + scale * draw.normal()) + scale * abs(draw.normal()) * 0.1))

    def off(value):
        return exact(approximate(value) * (1 + scale * draw.normal()) + scale * draw.normal() * 0.1)

    return replace(
        given,
        mu=size(given.mu) + fmpq(1, 1000),
        beta=[off(value) for value in given.beta],
        theta=[off(value) for value in given.theta],
        omegas={
            r: (size(mu) + fmpq(1, 1000), [*map(off, omega[:-1]), omega[-1]]) for r, (mu, omega) in given.omegas.items()
        },
        queries=[size(value) for value in given.queries],
        guards=[size(value) for value in given.guards],
    )


def random_part(problem, draw):
    """Some of a problem's choices; what is needed is drawn too, the limit and the cap are the budgets or looser."""
    part = whole(problem, exact(float(draw.normal())))
    part = replace(part, needs=tuple(exact(float(draw.normal())) for _ in problem.queries))
    for record, left in part.options.items():
        if len(left) > 1 and draw.random() < 0.5:
            kept = [k for k in left if draw.random() < 0.6] or [left[-1]]
            part = part.with_options(record, tuple(kept))
    budget = problem.collective.budget
    limit = exact(float(draw.uniform(0, 5))) if budget.total is None else part.limit
    return replace(part, limit=limit, cap=len(part.options) if part.cap is None else part.cap)


def total(part, given, choice, outcome):
    """The weighted slacks of a choice, from below."""
    queries = zip(given.queries, outcome.queries, part.needs, strict=True)
    guards = zip(given.guards, outcome.guards, part.guards, strict=True)
    found = sum((pi * (margin.low - need) for pi, margin, need in (*queries, *guards)), fmpq(0))
    return found + given.cost * (part.limit - choice.cost) + given.acting * (part.cap - len(choice.moves))


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_choice_exceeds_the_bound_of_any_multipliers(make, kind, intercept):
    """Multipliers of the relaxation, and the same off by a little and by much: all of them bound every choice."""
    compared = 0
    for seed in range(3):
        problem = make(seed, kind, intercept, regression=kind in REGRESSION)
        if not_dual(problem):
            continue
        draw = np.random.default_rng(seed)
        known, rows = outcomes(problem), LearnerRows(problem)
        relaxation = Relaxation(rows)
        for _ in range(3):
            part = random_part(problem, draw)
            proposal = relaxation.propose(part, 1e3).multipliers
            inside = [(choice, outcome) for choice, outcome in known if is_in(part, choice)]
            for scale in (0.0, 1e-3, 0.3):
                given = noisy(proposal, draw, scale)
                given = replace(given, cost=exact(abs(draw.normal())), acting=exact(abs(draw.normal())))
                slack = slack_above(rows, part, given)
                if slack is not None:
                    compared += len(inside)
                    assert all(total(part, given, *one) <= slack for one in inside)
    assert compared > 20


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_trees_find_and_prove_what_the_enumeration_finds(make, kind, intercept):
    for seed, goal in ((0, "max_margin"), (1, "max_helped"), (2, "min_cost"), (3, "min_members")):
        problem = stated(make(seed, kind, intercept, goal, regression=kind in REGRESSION))
        known = outcomes(problem)
        if len(known) < len(exact_choices(problem)):
            continue
        certificate = prove_by_tree(problem, None, 60.0)
        verdict = check(certificate, problem)
        assert verdict.proved, verdict.sentence
        answers = [outcome.value for _, outcome in known if outcome.surely_answers]
        if not answers:
            assert certificate.bound is None
            continue
        bound, room = read_decimal(certificate.bound), fmpq(1, 10**4)
        if problem.goal in (GoalKind.MAX_MARGIN, GoalKind.MAX_HELPED):
            best = max(value.low for value in answers)
            assert best <= bound <= best + room * max(fmpq(1), abs(best))
        else:
            best = min(value.high for value in answers)
            assert best - room * max(fmpq(1), abs(best)) <= bound <= best
