"""Rounds: policies against examples computed by hand and against a plain simulation that shares no code with them."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import oar_opt
from oar_opt.arrivals import calendar_of
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.evaluate import evaluate
from oar_opt.instance_file import save_instance
from oar_opt.library import load
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    FeatureAction,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Member,
    Norm,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.result import Status, StoppedBy
from oar_opt.rounds import Aim, Policy, play
from oar_opt.rounds_words import rounds_document
from oar_opt.update_settings import gradient_update, running_centroid_update

FORECAST, WORLD = "gig-three-weeks", "gig-three-weeks-surprise"
REACHED = 0.02
"""A margin that the random example reaches."""


def two_weeks(goal="max_margin", others=(-1.0, -1.0), weights=(1.0, 1.0), required=None, budget=None, guards=()):
    """Records 0 and 1 arrive first, 2 and 3 then, all at 1; members 1 and 3 say - and may say + for 1.

    One weight, from 0, by a quarter of sum (y - theta): after the first week a quarter of the labels' sum, then

        theta_2 = theta_1 / 2 + (y_2 + y_3) / 4         for weights 1; the query at 1 wants +, so this is its margin.
    """
    return RecourseProblem(
        name="two-weeks",
        records=Records(
            np.ones((4, 1)), np.array([others[0], -1.0, others[1], -1.0]), np.array([weights[0], 1, weights[1], 1])
        ),
        learner=LearnerSpec("ridge", alpha=1.0),
        classes=("-", "+"),
        collective=Collective(
            (Member(1, (LabelAction((1.0,)),)), Member(3, (LabelAction((1.0,)),))), budget=budget or Budget()
        ),
        queries=(Query("q", (1.0,), 1.0, required=required),),
        guards=guards,
        goal=GoalKind(goal),
        update=gradient_update([0.0], rate=0.125, T=2, reduction="sum", batches=[[0, 1], [2, 3]]),
    )


def acted(one):
    return [[move.record for move in each.moves] for each in one.rounds]


# -- by hand ---


def test_spending_at_once_is_a_mistake_that_only_the_myopic_policy_makes():
    """One of two may act: in week 1 that lifts theta_1 by 1/2, hence theta_2 by 1/4, in week 2 theta_2 by 1/2."""
    rounds = play(two_weeks(budget=Budget(members=1)), horizon=1)
    nobody, once, again, myopic = rounds.plays
    assert [one.policy for one in rounds.plays] == list(Policy)
    assert [each.parameters.w for each in nobody.rounds] == [(-0.5,), (-0.75,)] and nobody.objective == -0.75
    for one in (once, again):
        assert acted(one) == [[], [3]] and one.objective == -0.25
        assert [each.margins for each in one.rounds] == [(-0.5,), (-0.25,)]
    assert acted(myopic) == [[1], []] and myopic.objective == -0.5
    assert [each.margins for each in myopic.rounds] == [(0.0,), (-0.5,)]
    assert [plan.objective for plan in myopic.plans] == [0.0, -0.5]


def test_an_open_loop_pays_for_what_turned_out_to_be_needless():
    """Forecast: theta_1 = -1/2, and 1/4 is reached by member 3 alone. A heavy + in week 1 makes theta_1 = 1/2."""
    forecast = two_weeks("min_cost", others=(-1.0, 1.0), required=0.1)
    world = two_weeks("min_cost", others=(1.0, 1.0), weights=(3.0, 1.0), required=0.1)
    rounds = play(forecast, world)
    once, again = rounds.of(Policy.OPEN_LOOP), rounds.of(Policy.RECEDING)
    assert once.plans[0].objective == once.plans[0].bound == 1.0 and once.plans[0].status is Status.OPTIMAL
    assert acted(once) == [[], [3]] and (once.objective, once.margins) == (1.0, (0.75,))
    assert acted(again) == [[], []] and (again.objective, again.margins) == (0.0, (0.25,))
    assert not once.broken and not again.broken


def test_what_became_infeasible_is_planned_for_the_largest_margin_and_said():
    """A heavy - in week 1 makes theta_1 = -3/2: the best that is left is -3/4 + 1/2."""
    forecast = two_weeks("min_cost", others=(-1.0, 1.0), required=0.1)
    world = two_weeks("min_cost", others=(-1.0, 1.0), weights=(5.0, 1.0), required=0.1)
    again = play(forecast, world).of(Policy.RECEDING)
    first, second = again.plans
    assert (first.aim, second.aim) == (Aim.GOAL, Aim.MARGIN)
    assert second.objective == second.bound == -0.25 and again.margins == (-0.25,)
    assert "largest margin" in again.rounds[1].note and again.rounds[0].note == ""
    assert "less than 0.1" in again.broken[0] and again.objective == 1.0


def test_costs_of_plans_include_what_was_spent():
    """-1/4 + 1/2 is not enough for 0.4; with both it is a half, and in week 2 one of the two is spent already."""
    for goal in ("min_cost", "min_members"):
        again = play(two_weeks(goal, others=(-1.0, 1.0), required=0.4)).of(Policy.RECEDING)
        assert acted(again) == [[1], [3]]
        assert [(plan.objective, plan.bound) for plan in again.plans] == [(2.0, 2.0), (2.0, 2.0)]


def test_guards_that_no_plan_keeps_are_kept_as_well_as_can_be():
    """The bystander at -1 needs -theta >= 0.2. After a + of weight 7, theta_2 is 3/4 - 1/2 at least: nobody acts."""
    guard = (Query("bystander", (-1.0,), 1.0, required=0.2),)
    forecast, world = two_weeks(guards=guard), two_weeks(others=(1.0, -1.0), weights=(7.0, 1.0), guards=guard)
    rounds = play(forecast, world)
    once, again = rounds.of(Policy.OPEN_LOOP), rounds.of(Policy.RECEDING)
    assert once.plans[0].objective == -0.25 and acted(once) == [[], [3]]
    assert again.plans[1].aim is Aim.GUARDS and acted(again) == [[], []]
    assert [one.outcome.guard_margins for one in (once, again)] == [(-0.75,), (-0.25,)]
    assert "bystander" in once.broken[0] and "bystander" in again.broken[0]
    assert "guards' smallest margin" in again.rounds[1].note


def test_a_round_in_which_nobody_is_left_ends_the_play():
    """A mean over week 2: in the world its other record does not come, and the member withholds."""
    forecast = replace(
        two_weeks(),
        update=gradient_update([0.0], rate=0.5, T=2, batches=[[0, 1], [2, 3]]),
        collective=Collective((Member(3, (WithholdAction(),)),)),
    )
    forecast = replace(forecast, records=Records(np.ones((4, 1)), np.array([-1.0, -1, 1, -1]), np.ones(4)))
    world = replace(forecast, records=Records(forecast.records.X, forecast.records.y, np.array([1.0, 1, 0, 1])))
    rounds = play(forecast, world)
    for policy in (Policy.OPEN_LOOP, Policy.RECEDING):
        one = rounds.of(policy)
        assert one.objective is None and len(one.rounds) == 1
        assert one.broken == ("round 2 is undefined: nobody is left in batch 0, so the mean over it is undefined",)
    assert rounds.of(Policy.NOBODY).objective is not None
    assert rounds_document(rounds)["policies"][1]["objective"] is None


def test_the_last_cent_of_a_budget_in_decimals_is_spent():
    """0.3 - 0.1 is less than 0.2 on a computer."""
    problem = two_weeks(budget=Budget(total=0.3))
    members = tuple(Member(i, (LabelAction((1.0,), cost),)) for i, cost in ((1, 0.1), (3, 0.2)))
    problem = replace(problem, collective=replace(problem.collective, members=members))
    again = play(problem).of(Policy.RECEDING)
    assert acted(again) == [[1], [3]] and again.objective == 0.0


def test_members_whose_records_never_arrive_do_nothing_and_repeated_records_stay_changed():
    problem = two_weeks()
    late = replace(problem, update=gradient_update([0.0], rate=0.125, T=2, reduction="sum", batches=[[0, 1], [0, 1]]))
    assert dict(calendar_of(late).begins) == {1: 0}
    rounds = play(late)
    for one in (rounds.of(Policy.OPEN_LOOP), rounds.of(Policy.RECEDING)):
        assert acted(one) == [[1], []] and one.objective == 0.0
    assert len(rounds.of(Policy.RECEDING).plans) == 1


# -- against a plain simulation ---


def random_rounds(seed, goal, *, reduction="mean", loss="logistic", total=None, cap=None, required=0.05):
    """Three rounds of four records; two members with two options arrive in round 1, one in each round after it."""
    draw = np.random.default_rng(seed)
    X, y = draw.normal(size=(12, 2)), draw.choice([-1.0, 1.0], 12)
    menus = {
        i: tuple(
            Option(
                OptionKind.MENU,
                tuple((X[i] + draw.normal(size=2)).tolist()),
                float(draw.choice([-1.0, 1.0])),
                float(draw.choice(weights)),
                round(float(draw.uniform(0.5, 2)), 2),
            )
            for weights in ((1.0, 2.0), (1.0, 0.0))
        )
        for i in (0, 1, 4, 8)
    }
    return RecourseProblem(
        name=f"random-rounds-{seed}",
        records=Records(X, y, np.ones(12)),
        learner=LearnerSpec("logistic", Intercept.FREE, C=1.0),
        classes=("-", "+"),
        collective=Collective(tuple(Member(i, (), menu) for i, menu in menus.items()), budget=Budget(None, total, cap)),
        queries=tuple(Query(f"q{q}", tuple(draw.normal(size=2)), 1.0, required=required) for q in range(2)),
        goal=GoalKind(goal),
        update=gradient_update(
            draw.normal(size=2),
            0.1,
            rate=0.7,
            T=3,
            l2=0.1,
            reduction=reduction,
            batches=[range(4), range(4, 8), range(8, 12)],
            loss=loss,
        ),
    )


def turned_out(problem, seed):
    """Other people's records as they might turn out."""
    draw = np.random.default_rng(1000 + seed)
    mine = [member.record for member in problem.collective.members]
    others = np.setdiff1d(np.arange(problem.n), mine)
    X, y, s = problem.records.X.copy(), problem.records.y.copy(), problem.records.s.copy()
    X[others] += 0.7 * draw.normal(size=(len(others), problem.d))
    y[others] = draw.choice([-1.0, 1.0], len(others))
    s[others] = draw.choice([1.0, 2.0, 0.5], len(others))
    return replace(problem, records=Records(X, y, s))


class Plain:
    """Choices (one option for each member, 0 to stay) simulated step by step, and policies by trying all of them."""

    def __init__(self, forecast, world):
        self.forecast, self.world = forecast, world
        self.settings = dict(forecast.update.settings)
        self.members = forecast.collective.members
        self.week = {member.record: member.record // 4 for member in self.members}
        self.theta0 = np.array([*dict(self.settings["theta0"])["w"], dict(self.settings["theta0"])["b"]])

    def run(self, problem, theta, choice, first, last):
        X, y, s = (np.array(part) for part in (problem.records.X, problem.records.y, problem.records.s))
        for member, k in zip(self.members, choice, strict=True):
            if k:
                option = member.menu[k - 1]
                X[member.record], y[member.record], s[member.record] = option.x, option.y, option.s
        for week in range(first, last):
            here = slice(4 * week, 4 * week + 4)
            Z = np.column_stack([X[here], np.ones(4)])
            f, z = Z @ theta, y[here]
            slope = 2 * (f - z) if self.settings["loss"] == "squared" else -z / (1 + np.exp(z * f))
            pull = (s[here] * slope) @ Z
            if self.settings["reduction"] == "mean":
                pull = pull / s[here].sum()
            theta = theta - self.settings["rate"] * (self.settings["l2"] * theta * [1, 1, 0] + pull)
        return theta

    def margins(self, theta):
        return [float(np.dot(theta, [*query.x, 1.0])) for query in self.forecast.queries]

    def cost(self, choice):
        return sum(member.menu[k - 1].cost for member, k in zip(self.members, choice, strict=True) if k)

    def value(self, theta, choice):
        """The goal's value, larger is better; None where it is not admissible."""
        margins, budget = self.margins(theta), self.forecast.collective.budget
        if budget.total is not None and self.cost(choice) > budget.total + 1e-9:
            return None
        if budget.members is not None and np.count_nonzero(choice) > budget.members:
            return None
        match self.forecast.goal:
            case GoalKind.MAX_MARGIN:
                return min(margins)
            case GoalKind.MAX_HELPED:
                return sum(
                    margin >= query.required for margin, query in zip(margins, self.forecast.queries, strict=True)
                )
            case _ if min(margins) < self.forecast.queries[0].required:
                return None
            case GoalKind.MIN_COST:
                return -self.cost(choice)
            case _:
                return -np.count_nonzero(choice)

    def best(self, theta, done, first, last):
        """The best choice that goes on from ``done``, by the forecast."""
        free = [first <= self.week[member.record] < last for member in self.members]
        found = []
        for choice in product(*((0, 1, 2) if open_ else (k,) for open_, k in zip(free, done, strict=True))):
            value = self.value(self.run(self.forecast, theta, choice, first, last), choice)
            if value is not None:
                found.append((value, choice))
        return max(found) if found else None

    def play(self, look, again):
        """The value in the world of planning once, or again every week."""
        theta, done = self.theta0, (0, 0, 0, 0)
        plan = self.best(theta, done, 0, 3)[1] if not again else None
        for week in range(3):
            plan = self.best(theta, done, week, min(3, week + look))[1] if again else plan
            now = [self.week[member.record] == week for member in self.members]
            done = tuple(new if here else old for new, old, here in zip(plan, done, now, strict=True))
            theta = self.run(self.world, theta, done, week, week + 1)
        return self.margins(theta), done


@pytest.mark.parametrize("seed, traits", [(0, {"total": 2.5}), (1, {"cap": 2}), (2, {"loss": "squared", "total": 3.0})])
def test_policies_do_in_any_world_what_a_plain_simulation_does(seed, traits):
    """Largest margins of random records have no ties, so the moves themselves must agree."""
    forecast = random_rounds(seed, "max_margin", **traits)
    world = turned_out(forecast, seed)
    rounds, plain = play(forecast, world, horizon=1), Plain(forecast, world)
    for policy, look, again in ((Policy.OPEN_LOOP, 3, False), (Policy.RECEDING, 3, True), (Policy.LIMITED, 1, True)):
        margins, choice = plain.play(look, again)
        one = rounds.of(policy)
        assert one.margins == pytest.approx(margins, abs=1e-9)
        assert {move.record for move in one.moves} == {
            member.record for member, k in zip(plain.members, choice, strict=True) if k
        }
        assert one.cost == pytest.approx(plain.cost(choice))
        assert len(one.moves) <= (traits.get("cap") or 4) and one.cost <= (traits.get("total") or 99) + 1e-9


@pytest.mark.parametrize("goal", list(GoalKind))
def test_without_a_surprise_planning_again_changes_nothing(goal):
    forecast = random_rounds(3, goal, total=4.0, required=REACHED)
    rounds, plain = play(forecast), Plain(forecast, forecast)
    once, again = rounds.of(Policy.OPEN_LOOP), rounds.of(Policy.RECEDING)
    value = plain.best(plain.theta0, (0, 0, 0, 0), 0, 3)[0]
    assert once.plans[0].status is Status.OPTIMAL and not once.broken and not again.broken
    assert once.objective == pytest.approx(value if goal.maximises else -value, abs=1e-9)
    assert again.objective == pytest.approx(once.objective, abs=1e-9)
    for plan in again.plans:
        assert plan.objective == pytest.approx(once.objective, abs=1e-9)


def test_the_shipped_surprise_is_answered_by_planning_again_alone():
    """The open loop and the myopic policy miss the required margin, each checked by evaluating its moves."""
    forecast, world = load(FORECAST), load(WORLD)
    rounds = play(forecast, world, horizon=1)
    _, once, again, myopic = rounds.plays
    assert (once.objective, again.objective, myopic.objective) == (3.0, 6.0, 5.0)
    assert once.broken and myopic.broken and not again.broken
    assert once.margins[0] == pytest.approx(-0.192241, abs=1e-6)
    for one in rounds.plays:
        assert evaluate(world, one.moves).margins == one.margins
        assert one.cost <= world.collective.budget.total
    assert evaluate(forecast, once.moves).is_answer
    assert again.plans[-1].aim is Aim.GOAL and myopic.plans[-1].aim is Aim.MARGIN
    hindsight = solve(world)
    assert (hindsight.status, hindsight.objective) == (Status.OPTIMAL, 5.0)


# -- running centroids ---


def centroids(counts=None, rate=0.5):
    """Centroids at 0 and 4. A record of no member arrives at 3, then member 1, then one at 6, then member 3, all far.

    Member 1 arrives at 4 and may come from 2; member 3 at 4 and from 0. The query at 1.5 wants far.
    """
    far = Records(np.array([[3.0], [4.0], [6.0], [4.0]]), np.ones(4), np.ones(4))
    return RecourseProblem(
        name="centroid-rounds",
        records=far,
        learner=LearnerSpec("nearest_centroid"),
        classes=("near", "far"),
        collective=Collective(
            tuple(Member(i, (), (Option(OptionKind.MENU, (x,), 1.0, 1.0, 1.0),)) for i, x in ((1, 2.0), (3, 0.0))),
            budget=Budget(members=1),
        ),
        queries=(Query("q", (1.5,), 1.0),),
        goal=GoalKind.MAX_MARGIN,
        update=running_centroid_update(
            rate=None if counts else rate, counts=counts, centroids={"near": [0.0], "far": [4.0]}, order=[0, 1, 2, 3]
        ),
    )


def test_every_arrival_of_a_member_is_a_round():
    """mu goes half the way: 3.5; 3.75 (or 2.75); 4.875 (4.375); then 4.4375 (4.1875), or 2.4375 if member 3 acts."""
    problem = centroids()
    assert [batch.tolist() for batch in calendar_of(problem).rounds] == [[0], [1, 2], [3]]
    rounds = play(problem, horizon=1)
    nobody, once, again, myopic = rounds.plays
    assert [each.parameters.mu[1] for each in nobody.rounds] == [(3.5,), (4.875,), (4.4375,)]
    assert acted(once) == acted(again) == [[], [], [3]]
    assert once.objective == again.objective == pytest.approx(1.5**2 - (2.4375 - 1.5) ** 2)
    assert acted(myopic) == [[], [1], []]
    assert myopic.rounds[1].parameters.mu[1] == (4.375,)
    assert myopic.objective == pytest.approx(1.5**2 - (4.1875 - 1.5) ** 2)


def test_running_means_go_on_from_the_weights_behind_them():
    """The mean of 4 (twice), 3, 4, 6 and 0 with the weight 6 is 21 / 6; a world with 1 in the place of 6 has 16 / 6."""
    problem = centroids(counts={"near": 2.0, "far": 2.0})
    rounds = play(problem)
    for one in (rounds.of(Policy.OPEN_LOOP), rounds.of(Policy.RECEDING)):
        assert acted(one) == [[], [], [3]]
        assert one.rounds[-1].parameters.mu[1] == pytest.approx((21 / 6,))
    world = replace(problem, records=Records(np.array([[3.0], [4.0], [1.0], [4.0]]), np.ones(4), np.ones(4)))
    again = play(problem, world).of(Policy.RECEDING)
    assert again.outcome.parameters.mu[1] == pytest.approx((16 / 6,))


def test_a_class_without_a_centroid_before_the_first_arrival_is_refused():
    with pytest.raises(InputError, match=r"update.centroids.*class 'near'"):
        play(centroids(counts={"near": 0.0, "far": 2.0}))


# -- what is refused ---


def test_one_round_is_no_matter_of_rounds(make):
    with pytest.raises(InputError, match=r"update.kind.*one round.*oar solve"):
        play(make(1))
    with pytest.raises(InputError, match=r"1 round.*oar solve"):
        play(replace(two_weeks(), update=gradient_update([0.0], rate=0.1)))
    with pytest.raises(UnsupportedError, match="max_loss_increase"):
        play(replace(two_weeks(), max_loss_increase=1.0))
    for setting in ({"horizon": 0}, {"time_limit": 0.0}):
        with pytest.raises(InputError, match="--"):
            play(two_weeks(), **setting)
    with pytest.raises(UnsupportedError, match="kkt_big_m"):
        play(two_weeks(), formulation="kkt_big_m")


def changed_records(problem, i, **parts):
    arrays = {name: np.array(getattr(problem.records, name)) for name in ("X", "y", "s")}
    for name, value in parts.items():
        arrays[name][i] = value
    return replace(problem, records=Records(**arrays))


WRONG_WORLDS = {
    r"records.X\[1\]": lambda p: changed_records(p, 1, X=2.0),
    r"records.y\[3\]": lambda p: changed_records(p, 3, y=1.0),
    r"records.weight\[3\]": lambda p: changed_records(p, 3, s=2.0),
    r"records.X: has shape \(5, 1\)": lambda p: replace(p, records=Records(np.ones((5, 1)), -np.ones(5), np.ones(5))),
    r"update.rate: is 0.25, and 0.125": lambda p: replace(
        p, update=gradient_update([0.0], rate=0.25, T=2, reduction="sum", batches=[[0, 1], [2, 3]])
    ),
    r"queries\[0\].x\[0\]: is 2.0": lambda p: replace(p, queries=(replace(p.queries[0], x=(2.0,)),)),
    r"goal: is max_helped": lambda p: replace(p, goal=GoalKind.MAX_HELPED),
    r"collective.budget.members: is 1, and None": lambda p: replace(
        p, collective=replace(p.collective, budget=Budget(members=1))
    ),
    r"collective.members\[1\].actions\[0\].cost: is 2.0": lambda p: replace(
        p, collective=replace(p.collective, members=(p.collective.members[0], Member(3, (LabelAction((1.0,), 2.0),))))
    ),
}


@pytest.mark.parametrize("words", WRONG_WORLDS)
def test_a_world_may_differ_in_other_peoples_records_alone(words):
    forecast = two_weeks(required=0.1)
    with pytest.raises(InputError, match="world: " + words):
        play(forecast, WRONG_WORLDS[words](forecast))
    other = changed_records(forecast, 0, X=2.0, y=1.0, s=3.0)
    assert play(forecast, replace(other, name="other", title="else")).world.name == "other"


def test_the_past_of_running_centroids_is_no_matter_of_a_world():
    problem = replace(centroids(), update=running_centroid_update(rate=0.5, order=[1, 3]))
    problem = changed_records(problem, 0, y=0.0)
    with pytest.raises(InputError, match="before the first arrival"):
        play(problem, changed_records(problem, 2, X=7.0))


def test_moves_that_overdraw_a_budget_are_caught(monkeypatch):
    monkeypatch.setattr("oar_opt.rounds._left", lambda budget, moves: Budget())
    with pytest.raises(VerificationError, match="members act, more than 1"):
        play(two_weeks("min_cost", others=(-1.0, 1.0), required=0.1, budget=Budget(members=1)), horizon=1)


# -- feature changes ---


def test_changes_of_few_steps_are_played_like_menus():
    """Members move by a whole step at most: x = 0, 1 or 2 with the label -, and 0 is best for a query that wants +."""
    problem = two_weeks(budget=Budget(total=1.0))
    action = (FeatureAction(Norm.L2, 1.0),)
    problem = replace(
        problem,
        features=(replace(problem.features[0], step=1.0),),
        collective=replace(problem.collective, members=(Member(1, action), Member(3, action))),
    )
    rounds = play(problem)
    once, again = rounds.of(Policy.OPEN_LOOP), rounds.of(Policy.RECEDING)
    # theta_2 = theta_1 + (-1 - theta_1) / 4 = -5/8 with member 3 at 0, and -1/8 - 1/2 = -5/8 with member 1 there.
    assert once.objective == again.objective == -0.625 and len(once.moves) == len(again.moves) == 1


def test_changes_without_steps_are_planned_by_whatever_program_applies():
    """With x_1, x_3 in [0, 2], together at most 3/2 from 1, and a + in week 2:

    theta_1 = (-1 - x_1) / 4,    theta_2 = 3/4 theta_1 + 1/4 - x_3 / 4 - theta_1 x_3^2 / 4.
    """
    problem = two_weeks(others=(-1.0, 1.0), budget=Budget(total=1.5))
    action = (FeatureAction(Norm.L2, 1.0),)
    problem = replace(problem, collective=replace(problem.collective, members=(Member(1, action), Member(3, action))))
    x_1, x_3 = np.meshgrid(np.linspace(0, 2, 401), np.linspace(0, 2, 401))
    theta_1 = (-1 - x_1) / 4
    theta_2 = 0.75 * theta_1 + 0.25 - x_3 / 4 - theta_1 * x_3**2 / 4
    best = theta_2[np.abs(1 - x_1) + np.abs(1 - x_3) <= 1.5 + 1e-9].max()
    rounds = play(problem)
    once, again = rounds.of(Policy.OPEN_LOOP), rounds.of(Policy.RECEDING)
    assert best == pytest.approx(-0.03125)
    assert once.objective == pytest.approx(best, abs=1e-4) and again.objective == pytest.approx(best, abs=1e-4)
    assert once.plans[0].status is Status.OPTIMAL and acted(once) == [[1], [3]]
    assert max(once.cost, again.cost) <= 1.5 + 1e-6


# -- limits ---


def test_after_ctrl_c_the_rounds_that_are_left_pass_without_moves():
    def interrupt(line):
        if line.startswith("receding horizon, round 1"):
            os.kill(os.getpid(), signal.SIGINT)

    rounds = play(random_rounds(0, "max_margin"), horizon=1, progress=interrupt)
    once, again, myopic = rounds.plays[1:]
    assert once.stopped_by is None and once.plans
    assert again.stopped_by is StoppedBy.INTERRUPT and len(again.plans) == 1 and len(again.rounds) == 3
    assert acted(again)[1:] == [[], []] and "interrupted" in again.rounds[1].note
    assert myopic.stopped_by is StoppedBy.INTERRUPT and not myopic.moves and not rounds.found_nothing


@pytest.fixture
def files(tmp_path):
    """The example in which an open loop pays for what turned out to be needless, and its world."""
    paths = []
    for name, others, weights in (("weeks", (-1.0, 1.0), (1.0, 1.0)), ("weeks-as-they-were", (1.0, 1.0), (3.0, 1.0))):
        paths.append(tmp_path / f"{name}.json")
        save_instance(replace(two_weeks("min_cost", others, weights, 0.1), name=name), paths[-1])
    return paths


def test_a_time_limit_that_leaves_no_plan_exits_with_3(oar, files):
    code, out, _ = oar("rounds", files[0], "--time-limit", 1e-9)
    assert code == 3 and "the time limit was reached" in out


# -- the command line ---


def test_the_policies_stand_side_by_side_and_what_is_proved_is_said(oar, files):
    code, out, err = oar("rounds", files[0], "--world", files[1])
    assert code == 0 and "receding horizon, round 2: optimal 0" in err
    assert "weeks: 2 rounds, which turn out as weeks-as-they-were; goal cost" in out
    assert "Open loop: cost 1; q has the margin 0.75 (helped); 1 of 2 members act" in out
    assert "Receding horizon: cost 0; q has the margin 0.25 (helped); 0 of 2 members act" in out
    assert "forecast 1, optimal, grade enumerated" in " ".join(out.split())
    assert "No policy is proved to be best in the world" in " ".join(out.split())
    assert any(line.split() == ["Nobody", "acts", "Open", "loop", "Receding", "horizon"] for line in out.splitlines())


def test_one_document_holds_all_rounds(oar, files):
    code, out, err = oar("rounds", files[0], "--horizon", 1, "--json", "-q")
    document = json.loads(out)
    assert code == 0 and err == "" and document["rounds"] == 2 and document["world"] is None
    names = [one["policy"] for one in document["policies"]]
    assert names == ["nobody_acts", "open_loop", "receding_horizon", "limited_horizon"]
    nobody, once, again, myopic = document["policies"]
    assert nobody["broken"] and not nobody["gives_what_is_required"]
    assert once["objective"] == again["objective"] == 1.0 and again["gives_what_is_required"]
    assert (myopic["horizon"], again["horizon"]) == (1, None)
    assert [len(one["rounds"]) for one in document["policies"]] == [2, 2, 2, 2]
    assert once["rounds"][0]["plan"]["members"] == [3] and once["rounds"][1]["plan"] is None
    assert once["rounds"][1]["moves"] == [
        {"record": 3, "x": [1.0], "y": "+", "weight": 1.0, "cost": 1.0, "changes": {}}
    ]
    plan = again["rounds"][1]["plan"]
    assert (plan["first_round"], plan["last_round"], plan["status"], plan["grade"]) == (2, 2, "optimal", "enumerated")


def test_what_has_one_round_or_another_world_exits_with_2(oar, tmp_path):
    code, out, err = oar("rounds", "tenant-immutable")
    assert code == 2 and not out and "one round" in err and "oar solve" in err
    path = tmp_path / "two-weeks.json"
    save_instance(two_weeks(), path)
    code, out, err = oar("rounds", FORECAST, "--world", path)
    assert code == 2 and not out and err.startswith("error: world: learner")
    assert oar("rounds", FORECAST, "--horizon", 0)[0] == 2


def test_the_package_exports_it():
    assert oar_opt.play_rounds is play and oar_opt.Rounds.__module__ == "oar_opt.rounds"
