"""Local answers for members that may move features, beside or instead of finite options; see
:mod:`oar_opt.heuristics.projected_gradient`.

A :class:`Plan` says what every member does: an option, staying among them, or a change from one of its sets. For given
choices the changes are found by :mod:`oar_opt.feature_ascent`; choices are exchanged one at a time, members leave in
the order of what their changes are worth to first order, and features that move in steps are rounded and then searched
one step at a time. Every plan that is kept is re-trained by :func:`oar_opt.evaluate.evaluate`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oar_opt.changes import ChangeSet, change_sets
from oar_opt.discovery import update_rule
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.feature_ascent import Aim, Ascent, Project
from oar_opt.problem import (
    CostKind,
    GoalKind,
    Indices,
    Matrix,
    Member,
    Move,
    Option,
    OptionKind,
    RecourseProblem,
    Vector,
)
from oar_opt.projection import BudgetProjection, Projection, held, nearest, nearest_on_grids
from oar_opt.rules import budget_violations
from oar_opt.sensitivity import LOSS, Margins, margins_of
from oar_opt.standing import standing
from oar_opt.verification import move_violations

CUSHION = 1e-9
"""Beyond what is needed, for a margin that ascent may call reached; of the largest needed one, at least 1."""
HALVINGS, BUDGET_HALVINGS, PASSES = 20, 12, 4
CORRECTIONS = 4
SWAPS = 3
IDLE = 5
"""Starts in a row that find nothing better, after which no further one is tried."""
PROGRESS = 1e-6
CROWD = 500
"""Members that may act in one search: with more, none of it would end in time."""
DRAWS = 8
"""Random points of which the best one is a start."""
SHARES = (0.6, 0.9, 0.3)
"""Of the total budget, what the charges of acting members may take; one after the other, start by start."""

Choice = Option | ChangeSet
Rank = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """``choices`` member by member; ``deltas (d,)`` of the members that change features, by their number."""

    choices: tuple[Choice, ...]
    deltas: Mapping[int, Vector]

    @cached_property
    def changing(self) -> tuple[int, ...]:
        return tuple(i for i, choice in enumerate(self.choices) if isinstance(choice, ChangeSet))

    def with_choice(self, i: int, choice: Choice, delta: Vector | None = None) -> Plan:
        deltas = {j: value for j, value in self.deltas.items() if j != i}
        if isinstance(choice, ChangeSet):
            deltas[i] = np.zeros(choice.d) if delta is None else delta
        return Plan((*self.choices[:i], choice, *self.choices[i + 1 :]), deltas)

    def with_deltas(self, deltas: Iterable[Vector]) -> Plan:
        return Plan(self.choices, dict(zip(self.changing, deltas, strict=True)))

    def chosen_set(self, i: int) -> ChangeSet:
        choice = self.choices[i]
        assert isinstance(choice, ChangeSet)
        return choice


class FeatureSearch:
    """One search with a deadline; ``best`` is the best outcome so far, an answer or not.

    ``members`` are those who may act in it, all others stay; by default :func:`leading_members`.
    """

    def __init__(
        self, problem: RecourseProblem, seed: int, time_limit: float, members: tuple[Member, ...] | None = None
    ) -> None:
        self.problem, self.draw = problem, np.random.default_rng(seed)
        self.deadline = time.monotonic() + time_limit
        self.members = leading_members(problem) if members is None else members
        self.menus = [problem.admissible_options(member) for member in self.members]
        self.sets = [change_sets(problem, member) for member in self.members]
        self.budget, self.kind = problem.collective.budget, problem.collective.cost
        self.best: Evaluation | None = None
        self.best_plan: Plan | None = None
        self.shares, self.keeps_grids = SHARES[0], False
        self._models: dict[tuple[Option | None, ...], Margins] = {}
        self._correction: Vector | None = None

    # -- from starts to the best outcome ---

    def run(self) -> None:
        """From as many starts as the time allows, until some in a row find nothing better."""
        idle = 0
        self.consider(self.nobody())
        for count, start in enumerate(self._starts()):
            self.shares = SHARES[count % len(SHARES)]
            before = self.best
            self._consider_smoothed(start)
            self.improve(start)
            idle = 0 if self._is_progress(before) else idle + 1
            if idle >= IDLE or self.is_late:
                return

    def _consider_smoothed(self, start: Plan) -> None:
        """Where margins are smoothed, ascent may lose what a start already gives."""
        model = self.model(start)
        if model is not None and not model.is_exact and self.keeps_grids:
            self.consider(start)

    def _is_progress(self, before: Evaluation | None) -> bool:
        """Whether the best outcome is better than the one before by more than a little."""
        if before is None or self.best is None:
            return self.best is not before
        (level, value), (old_level, old_value) = standing(self.best), standing(before)
        return level > old_level + PROGRESS or value > old_value + PROGRESS * max(1.0, abs(old_value))

    def improve(self, plan: Plan) -> None:
        """A local answer from this plan, by the rule for the goal."""
        match self.problem.goal:
            case GoalKind.MAX_MARGIN:
                self.consider(self._best_for(plan, self.margin_aim))
            case GoalKind.MAX_HELPED:
                self._help_most(plan)
            case _:
                self._reach_cheaply(plan)

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def nobody(self) -> Plan:
        """Everyone stays."""
        return Plan(tuple(menu[0] for menu in self.menus), {})

    def _starts(self) -> Iterator[Plan]:
        """Everyone with room changes, from no change at first, then from the best of some random points of the sets;
        every second time what they do on grids is kept."""
        able = [sets[0] if sets else menu[0] for sets, menu in zip(self.sets, self.menus, strict=True)]
        still = {i: np.zeros(one.d) for i, one in enumerate(able) if isinstance(one, ChangeSet)}
        yield Plan(tuple(able), still)
        goal = self.problem.goal
        aim = self.reach_aim(range(len(self.problem.queries))) if goal.needs_required else self.margin_aim
        while True:
            self.keeps_grids = not self.keeps_grids
            drawn = [self._random_plan() for _ in range(DRAWS)]
            yield max(drawn, key=lambda plan: self.rank(plan, aim))

    def _random_plan(self) -> Plan:
        plan = self.nobody()
        for i, sets in enumerate(self.sets):
            if sets:
                one = sets[int(self.draw.integers(len(sets)))]
                point = self._random_point(one)
                near = nearest_on_grids(one, point) if self.keeps_grids else nearest(one, point)
                plan = plan if near is None else plan.with_choice(i, one, near)
        return plan

    def _random_point(self, one: ChangeSet) -> Vector:
        """Somewhere in the box around the set, not seldom at its ends."""
        share = np.clip(self.draw.uniform(-0.3, 1.3, one.d), 0.0, 1.0)
        return np.asarray(one.lower + share * (one.upper - one.lower))

    def consider(self, plan: Plan) -> Evaluation | None:
        """Re-train for a plan, remember it where it is the best, and correct the margins of smoothed learners."""
        moves = self.moves(plan)
        if not self._is_allowed(moves):
            return None
        try:
            outcome = evaluate(self.problem, moves)
        except UndefinedLearner:
            return None
        if self.best is None or standing(outcome) > standing(self.best):
            self.best, self.best_plan = outcome, plan
        model = self.model(plan)
        if model is not None and not model.is_exact:
            actual = model.actual(outcome)
            self._correction = actual - model.at(self._features(plan)).values
        return outcome

    def _is_allowed(self, moves: tuple[Move, ...]) -> bool:
        return not budget_violations(self.problem, moves) and not move_violations(self.problem, moves)

    # -- what a plan means ---

    def moves(self, plan: Plan) -> tuple[Move, ...]:
        found = []
        for i, (member, choice) in enumerate(zip(self.members, plan.choices, strict=True)):
            if isinstance(choice, ChangeSet):
                move = choice.move(plan.deltas[i])
                found += [move] if move is not None else []
            elif choice.kind is not OptionKind.STAY:
                found.append(Move(member.record, choice.x, choice.y, choice.s, choice.cost))
        return tuple(found)

    def acting(self, plan: Plan) -> list[int]:
        """The members whose records change, by their number."""
        records = {move.record for move in self.moves(plan)}
        return [i for i, member in enumerate(self.members) if member.record in records]

    def price(self, plan: Plan) -> float:
        """What the goal counts, where it counts cost or members."""
        moves = self.moves(plan)
        return float(len(moves)) if self.problem.goal is GoalKind.MIN_MEMBERS else float(sum(m.cost for m in moves))

    def model(self, plan: Plan) -> Margins | None:
        """The margins for a plan's choices as functions of its changes; None where they are undefined."""
        key = tuple(None if isinstance(choice, ChangeSet) else choice for choice in plan.choices)
        if key not in self._models:
            records = self.problem.apply(self._option_moves(plan))
            if update_rule(self.problem).undefined(self.problem, records):
                return None
            if len(self._models) > 50:
                self._models.clear()
            rows = [self.members[i].record for i in plan.changing]
            self._models[key] = margins_of(self.problem, records, rows)
        return self._models[key]

    def _option_moves(self, plan: Plan) -> tuple[Move, ...]:
        return self.moves(
            Plan(
                tuple(m[0] if isinstance(c, ChangeSet) else c for m, c in zip(self.menus, plan.choices, strict=True)),
                {},
            )
        )

    def _features(self, plan: Plan) -> Matrix:
        changed = [plan.chosen_set(i).x + plan.deltas[i] for i in plan.changing]
        return np.array(changed).reshape(len(changed), self.problem.d)

    def values(self, plan: Plan) -> Vector | None:
        model = self.model(plan)
        return None if model is None else model.at(self._features(plan)).values + self.correction

    # -- what is wanted ---

    @cached_property
    def owners(self) -> Indices:
        return margins_of(self.problem, self.problem.records, []).owners

    @property
    def correction(self) -> Vector:
        return np.zeros(len(self.owners)) if self._correction is None else self._correction

    @cached_property
    def needed(self) -> Vector:
        """Of every quantity, ``(S,)``."""
        subjects = (*self.problem.queries, *self.problem.guards)
        needed = [0.0 if owner == LOSS else self.problem.needed_margin(subjects[owner]) for owner in self.owners]
        return np.array(needed)

    @cached_property
    def margin_aim(self) -> Aim:
        """The largest least margin of the queries; guards and fit are kept."""
        wanted = (self.owners >= 0) & (self.owners < len(self.problem.queries))
        return Aim(wanted, np.zeros(len(wanted)), ~wanted, self.needed + self._cushion)

    def reach_aim(self, queries: Iterable[int]) -> Aim:
        """The needed margins of these queries, of guards and fit."""
        own = set(queries)
        wanted = np.array([o in own or o == LOSS or o >= len(self.problem.queries) for o in self.owners])
        if not wanted.any():
            wanted[:] = True
        return Aim(wanted, self.needed, np.zeros(len(wanted), dtype=bool), self.needed, self._cushion)

    @property
    def _cushion(self) -> float:
        return CUSHION * max(1.0, float(np.abs(self.needed).max()))

    def rank(self, plan: Plan, aim: Aim) -> Rank:
        """Compared lexicographically: the aim, then the price."""
        values = self.values(plan)
        if values is None or not self._is_affordable(plan):
            return (-math.inf, -math.inf, -math.inf)
        price = self.price(plan) if math.isfinite(aim.enough) else 0.0
        return (*aim.worth(values), -price)

    def _is_affordable(self, plan: Plan) -> bool:
        return not budget_violations(self.problem, self.moves(plan))

    # -- ascent for given choices ---

    def ascend(self, plan: Plan, aim: Aim, limit: float = math.inf, *, on_grids: bool | None = None) -> Plan:
        """The best changes for a plan's choices, at a cost (but for charges) of at most ``limit``.

        ``on_grids``: features that move in steps stay where they are, else they move freely within their range; None
        leaves it to the start.
        """
        model = self.model(plan)
        if model is None or not plan.changing or self.is_late:
            return plan
        sets = [plan.chosen_set(i) for i in plan.changing]
        if self.keeps_grids if on_grids is None else on_grids:
            sets = [held(one, plan.deltas[i]) for one, i in zip(sets, plan.changing, strict=True)]
        projection = Projection(tuple(sets))
        X = np.array([one.x for one in sets])
        start = np.array([plan.deltas[i] for i in plan.changing]) / self.problem.scales
        reach = float(np.max(projection.upper - projection.lower))
        project = self._project(plan, projection, limit)
        ascent = Ascent(
            model, X, self.problem.scales, project, self.deadline, self.correction, aim, reach, self.keeps_grids
        )
        return plan.with_deltas(ascent.run(start) * self.problem.scales)

    def _project(self, plan: Plan, projection: Projection, limit: float) -> Project:
        left = min(limit, self._left_for_changes(plan))
        # A little less, so that the rounding of many costs does not overdraw it.
        return projection if left == math.inf else BudgetProjection(projection, self.kind, left * (1 - 1e-10))

    def _left_for_changes(self, plan: Plan) -> float:
        if self.budget.total is None or self.kind is CostKind.COUNT:
            return math.inf
        spent = sum(choice.fixed_cost if isinstance(choice, ChangeSet) else choice.cost for choice in plan.choices)
        return max(0.0, self.budget.total - spent)

    # -- who acts ---

    def _best_for(self, plan: Plan, aim: Aim) -> Plan:
        """Ascent within the caps, exchanges of choices, and steps on grids."""
        capped = self._ascend_within_caps(plan, aim)
        exchanged = self._on_grids(self._exchange(capped, aim), aim)
        return max(self._on_grids(capped, aim), exchanged, key=lambda found: self.rank(found, aim))

    def _ascend_within_caps(self, plan: Plan, aim: Aim) -> Plan:
        plan = self.ascend(plan, aim)
        most = self._most_acting(plan)
        if len(self.acting(plan)) <= most and self._is_affordable(plan):
            return plan
        plan = self.ascend(self._thinned(plan, aim, most), aim)
        return self._swap(plan, aim)

    def _most_acting(self, plan: Plan) -> int:
        """How many members may act, by the cap and by what the charges may take."""
        most = len(self.members) if self.budget.members is None else self.budget.members
        charges = np.sort([plan.chosen_set(i).fixed_cost for i in plan.changing])
        total = self.budget.total
        if total is not None and charges.sum() > 0:
            if self.kind is CostKind.COUNT:
                return min(most, int(total + 1e-9))
            share = self.shares if charges.sum() > self.shares * total else 1.0
            most = min(most, max(1, int((np.cumsum(charges) <= share * total).sum())))
        elif total is not None and self.kind is CostKind.COUNT:
            most = min(most, int(total + 1e-9))
        return most

    def _thinned(self, plan: Plan, aim: Aim, most: int) -> Plan:
        """Only the ``most`` members whose changes are worth the most stay in the plan."""
        gains = self._gains(plan, aim)
        for i in sorted(self.acting(plan), key=lambda i: -gains.get(i, math.inf))[most:]:
            plan = self._without(plan, i)
        return plan

    def _without(self, plan: Plan, i: int) -> Plan:
        return plan.with_choice(i, self.menus[i][0])

    def _slopes(self, plan: Plan, aim: Aim) -> Matrix:
        """Of the aim's least quantities, in the changing members' features, ``(k, d)``."""
        model = self.model(plan)
        assert model is not None
        response = model.at(self._features(plan))
        values = response.values + self.correction - aim.offsets
        least = float(values[aim.wanted].min())
        weights = np.where(aim.wanted, np.exp(-np.maximum(0.0, values - least) / max(1e-3, 0.05 * abs(least))), 0.0)
        return response.slopes(weights / weights.sum())

    def _gains(self, plan: Plan, aim: Aim) -> dict[int, float]:
        """What every member's change is worth to first order, by its number."""
        if not plan.changing or self.model(plan) is None:
            return {}
        slopes = self._slopes(plan, aim)
        return {i: float(slopes[row] @ plan.deltas[i]) for row, i in enumerate(plan.changing)}

    def _swap(self, plan: Plan, aim: Aim) -> Plan:
        """Members that are worth little give way to those whose best change promises more."""
        for _ in range(SWAPS):
            gains = self._gains(plan, aim)
            promises = self._promises(plan, aim)
            if not gains or not promises or self.is_late:
                break
            leaves = min(gains, key=lambda i: gains[i])
            enters = max(promises, key=lambda i: promises[i][0])
            promise, one, delta = promises[enters]
            if promise <= gains[leaves]:
                break
            trial = self._without(plan, leaves).with_choice(enters, one, delta)
            trial = self.ascend(trial, aim)
            if self.rank(trial, aim) <= self.rank(plan, aim):
                break
            plan = trial
        return plan

    def _promises(self, plan: Plan, aim: Aim) -> dict[int, tuple[float, ChangeSet, Vector]]:
        """Of the members that stay and could change: what their best change is worth to first order."""
        idle = [i for i, sets in enumerate(self.sets) if sets and i not in plan.changing]
        opened = plan
        for i in idle:
            if self._stays(plan, i):
                opened = opened.with_choice(i, self.sets[i][0])
        if opened is plan or self.model(opened) is None:
            return {}
        slopes, found = self._slopes(opened, aim), {}
        for row, i in enumerate(opened.changing):
            if i in plan.changing:
                continue
            one = opened.chosen_set(i)
            push = slopes[row] * one.scales**2
            far = 1e3 * float(np.max((one.upper - one.lower) / one.scales)) / max(1e-300, float(np.abs(push).max()))
            delta = nearest(one, far * push)
            if delta is not None:
                found[i] = (float(slopes[row] @ delta), one, delta)
        return found

    def _stays(self, plan: Plan, i: int) -> bool:
        """Whether a member stays by choice."""
        choice = plan.choices[i]
        return isinstance(choice, Option) and choice.kind is OptionKind.STAY

    # -- choices beside changes ---

    def _exchange(self, plan: Plan, aim: Aim) -> Plan:
        """Other choices, member by member, while any helps; changes are improved after every pass."""
        if not any(len(menu) > 1 or len(sets) > 1 for menu, sets in zip(self.menus, self.sets, strict=True)):
            return plan
        rank = self.rank(plan, aim)
        for _ in range(PASSES):
            before = rank
            for i in self.draw.permutation(len(self.members)):
                for choice in (*self.menus[i], *self.sets[i]):
                    if choice is plan.choices[i] or self.is_late:
                        continue
                    trial = plan.with_choice(int(i), choice)
                    worth = self.rank(trial, aim)
                    if worth > rank:
                        plan, rank = trial, worth
            if rank == before or self.is_late:
                break
            better = self.ascend(plan, aim)
            if self.rank(better, aim) > rank:
                plan, rank = better, self.rank(better, aim)
        return plan

    # -- features that move in steps ---

    def _on_grids(self, plan: Plan, aim: Aim) -> Plan:
        """Rounded, then improved one step at a time, the other features following."""
        if not any(plan.chosen_set(i).is_discrete for i in plan.changing):
            return plan
        for i in plan.changing:
            one = plan.chosen_set(i)
            delta = nearest_on_grids(one, plan.deltas[i])
            plan = self._without(plan, i) if delta is None else plan.with_choice(i, one, delta)
        if not self._is_affordable(plan):
            plan = self._afforded(plan)
        plan = self.ascend(plan, aim, on_grids=True)
        for _ in range(PASSES):
            better = self._stepped(plan, aim)
            if better is plan or self.is_late:
                break
            plan = self.ascend(better, aim, on_grids=True)
        return plan

    def _afforded(self, plan: Plan) -> Plan:
        """Without members, the dearest first, until the budgets are kept."""
        while not self._is_affordable(plan) and plan.changing:
            costs = {i: plan.chosen_set(i).cost(plan.deltas[i]) for i in plan.changing}
            plan = self._without(plan, max(costs, key=lambda i: costs[i]))
        return plan

    def _stepped(self, plan: Plan, aim: Aim) -> Plan:
        """One pass over all steps of all members; the same plan where none helps."""
        rank = self.rank(plan, aim)
        for i in plan.changing:
            one = plan.chosen_set(i)
            for delta in _steps(one, plan.deltas[i]):
                if self.is_late:
                    return plan
                near = nearest(held(one, delta), delta)
                if near is None:
                    continue
                trial = plan.with_choice(i, one, near)
                worth = self.rank(trial, aim)
                if worth > rank:
                    plan, rank = trial, worth
        return plan

    # -- goals with needed margins ---

    def _reach_cheaply(self, plan: Plan) -> None:
        aim = self.reach_aim(range(len(self.problem.queries)))
        plan = self._best_for(plan, aim)
        for _ in range(CORRECTIONS):
            if not self._reaches(plan, aim):
                self.consider(plan)
                return
            plan = self._cheaper(self._fewer(plan, aim), aim)
            outcome = self.consider(plan)
            if outcome is None or outcome.is_answer or self.is_late:
                return
            # The margins were smoothed, and have just been corrected.
            plan = self.ascend(plan, aim)

    def _reaches(self, plan: Plan, aim: Aim) -> bool:
        values = self.values(plan)
        return values is not None and self._is_affordable(plan) and aim.least(values) >= 0

    def _fewer(self, plan: Plan, aim: Aim) -> Plan:
        """Without the members that are not needed, where acting itself counts."""
        charged = any(one.fixed_cost > 0 for sets in self.sets for one in sets) or self.kind is CostKind.COUNT
        if self.problem.goal is not GoalKind.MIN_MEMBERS and not charged:
            return plan
        low, high = 0, len(self.acting(plan))
        while high - low > 1 and not self.is_late:
            middle = (low + high) // 2
            trial = self._refined(self._thinned(plan, aim, middle), aim)
            if self._reaches(trial, aim):
                plan, high = trial, min(middle, len(self.acting(trial)))
            else:
                low = middle
        gains = self._gains(plan, aim)
        for i in sorted(self.acting(plan), key=lambda i: gains.get(i, math.inf)):
            if self.is_late:
                break
            trial = self._refined(self._without(plan, i), aim)
            if self._reaches(trial, aim) and self.price(trial) < self.price(plan):
                plan = trial
        return plan

    def _refined(self, plan: Plan, aim: Aim) -> Plan:
        return self._on_grids(self.ascend(plan, aim), aim)

    def _cheaper(self, plan: Plan, aim: Aim) -> Plan:
        """The least total cost that suffices, by halving; then all changes shrink as long as the aim is reached."""
        if self.problem.goal is not GoalKind.MIN_COST or self.kind is CostKind.COUNT or not plan.changing:
            return plan
        plan = self._drawn_back(plan, aim)
        rival = self._length_to_beat(plan)
        if rival < self._length(plan):
            trial = self._drawn_back(self.ascend(plan, aim, rival, on_grids=True), aim)
            if not self._reaches(trial, aim):
                return plan
            plan = trial
        low, high = 0.0, self._length(plan)
        for _ in range(BUDGET_HALVINGS):
            if self.is_late or high <= 0:
                break
            middle = 0.5 * (low + high)
            trial = self._drawn_back(self.ascend(plan, aim, middle, on_grids=True), aim)
            if self._reaches(trial, aim) and self._length(trial) < high:
                plan, high = trial, self._length(trial)
            else:
                low = middle
        return plan

    def _length_to_beat(self, plan: Plan) -> float:
        """What the changes may cost, but for the charges, to be cheaper than the best answer so far."""
        if self.best is None or not self.best.is_answer:
            return math.inf
        return max(0.0, (1 - 1e-4) * self.best.objective - (self.price(plan) - self._length(plan)))

    def _length(self, plan: Plan) -> float:
        """What the changes cost, but for the charges."""
        sets = [(plan.chosen_set(i), plan.deltas[i]) for i in plan.changing if plan.deltas[i].any()]
        return float(sum(one.cost(delta) - one.fixed_cost for one, delta in sets))

    def _drawn_back(self, plan: Plan, aim: Aim) -> Plan:
        """With all changes that need no steps shortened by one share, as far as the aim allows."""
        if not self._reaches(plan, aim):
            return plan
        low, high, best = 0.0, 1.0, plan
        for _ in range(HALVINGS):
            share = 0.5 * (low + high)
            trial = plan.with_deltas(self._shortened(plan, share))
            if self._reaches(trial, aim) and self.price(trial) <= self.price(best):
                best, high = trial, share
            else:
                low = share
        return best

    def _shortened(self, plan: Plan, share: float) -> list[Vector]:
        found = []
        for i in plan.changing:
            one, delta = plan.chosen_set(i), plan.deltas[i]
            steps = np.array([grid is not None for grid in one.grids])
            shorter = np.where(steps, delta, share * delta)
            found.append(shorter if one.violation(shorter) <= 1e-12 else delta)
        return found

    def _help_most(self, plan: Plan) -> None:
        """Queries join one by one, those that lack the least first, as long as all of them can be helped."""
        chosen: list[int] = []
        waiting = set(range(len(self.problem.queries)))
        kept = self._best_for(plan, self.reach_aim([]))
        self.consider(kept)
        while waiting and not self.is_late:
            values = self.values(kept)
            if values is None:
                return
            lacks = {q: float((self.needed - values)[self.owners == q].max()) for q in waiting}
            first = min(waiting, key=lambda q: (lacks[q], q))
            waiting.discard(first)
            aim = self.reach_aim([*chosen, first])
            trial = kept if self._reaches(kept, aim) else self._best_for(kept, aim)
            outcome = self.consider(trial)
            reached = (
                self._reaches(trial, aim)
                if outcome is None or outcome.fit.optima
                else _all_helped(outcome, chosen, first)
            )
            if reached:
                chosen, kept = [*chosen, first], trial


def leading_members(problem: RecourseProblem, most: int = CROWD) -> tuple[Member, ...]:
    """All members; of more than ``most`` those whose features the queries' margins depend on the most.

    That is to first order at the present records, over scaled features and times the radius. Options are not weighed.
    """
    members = problem.collective.members
    if len(members) <= most:
        return members
    able = [member for member in members if member.feature_actions and problem.records.s[member.record] > 0]
    if len(able) <= most or update_rule(problem).undefined(problem, problem.records):
        return tuple(able[:most])
    rows = [member.record for member in able]
    margins = margins_of(problem, problem.records, rows)
    response = margins.at(problem.records.X[rows])
    is_query = (margins.owners >= 0) & (margins.owners < len(problem.queries))
    slopes = response.slopes(is_query.astype(float)) * problem.scales
    radii = np.array([member.feature_actions[0].radius for member in able])
    first = np.sort(np.argsort(-radii * np.linalg.norm(slopes, axis=1), kind="stable")[:most])
    return tuple(able[k] for k in first)


def _all_helped(outcome: Evaluation, chosen: Sequence[int], first: int) -> bool:
    return outcome.is_answer and all(outcome.helped[q] for q in (*chosen, first))


def _steps(one: ChangeSet, delta: Vector) -> list[Vector]:
    """Changes that differ in one step of one feature, or in the choice within one one-hot group."""
    found, grouped = [], {int(j) for group in one.groups for j in group.columns}
    for j, grid in enumerate(one.grids):
        if grid is None or j in grouped:
            continue
        place = int(np.abs(grid - delta[j]).argmin())
        for k in (place - 1, place + 1):
            if 0 <= k < len(grid):
                found.append(np.where(np.arange(one.d) == j, grid[k], delta))
    for group in one.groups:
        columns = [int(j) for j in group.columns if one.grids[j] is not None]
        for j in columns:
            other = delta.copy()
            other[columns] = one.lower[columns]
            other[j] = one.upper[j]
            if not np.array_equal(other, delta):
                found.append(other)
    return found
