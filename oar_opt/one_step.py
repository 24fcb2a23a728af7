"""One gradient step as a sum over the members: every choice has its scores, and margins are linear in them.

With ``theta_0`` given, record ``i`` of the batch moves the parameters by ``a_i xhat_i / S``, where ``a_i = -rate s_i
l'(y_i, xhat_i'theta_0)`` is its push and ``S`` the batch's weight (1 for a sum). A subject ``q`` (queries, then guards)
with target ``t_q`` and threshold ``c_q`` therefore has the margin

    m_q = start_q + 1/S (fixed_q + sum_(i in C) score_iq),     score_iq = a_i v_q'xhat_i,     v_q = t_q xhat_q,
    start_q = t_q (xhat_q' kept theta_0 - c_q).

For any level ``tau_q`` and ``S = S_0 + sum_i s_i`` (``s_i`` the weight of the member's choice),

    S (m_q - tau_q) = fixed_q + (start_q - tau_q) S_0 + sum_i [score_iq + (start_q - tau_q) s_i]

is linear in the choices also where withholding changes ``S``. A member's choices are *items* (finite options, staying
first) and *sets* of feature changes (:mod:`oar_opt.change_arrays`).

Members that are not in the batch change nothing by acting; they stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oar_opt.change_arrays import ChangeArrays, continuous_sets
from oar_opt.changes import change_sets
from oar_opt.problem import (
    Action,
    CostKind,
    FeatureAction,
    FeatureType,
    GoalKind,
    Indices,
    LabelAction,
    Matrix,
    Member,
    Move,
    Norm,
    Option,
    OptionKind,
    RecourseProblem,
    Vector,
    WithholdAction,
)
from oar_opt.rules import ROUNDING
from oar_opt.step_loss import slopes_at_start
from oar_opt.step_response import StepSide
from oar_opt.update_settings import GradientSettings


@dataclass(frozen=True, eq=False)
class Items:
    """``K`` finite choices, members in order and staying first for each: ``member`` (its place among those who
    arrive), ``scores (K, S)``, ``cost``, ``acts``, ``weight``, ``y (K,)``; ``options`` has those with features of their
    own, by place."""

    member: Indices
    scores: Matrix
    cost: Vector
    acts: Vector
    weight: Vector
    y: Vector
    options: dict[int, Option]

    @cached_property
    def first(self) -> Indices:
        """The place of every member's first item."""
        return np.flatnonzero(np.diff(self.member, prepend=-1))


@dataclass(frozen=True, eq=False)
class OneStep:
    """See the module's docstring. ``members (A,)`` are the places in the collective of those who arrive.

    ``V (S, p)``, ``start, fixed, needs (S,)``; ``fixed_weight`` is ``S_0``. ``sets`` is None where nobody moves
    features, and ``side`` goes with it.
    """

    problem: RecourseProblem
    settings: GradientSettings
    members: Indices
    records: Indices
    V: Matrix
    start: Vector
    fixed: Vector
    fixed_weight: float
    items: Items
    sets: ChangeArrays | None
    side: StepSide | None
    needs: Vector

    @classmethod
    def of(cls, problem: RecourseProblem) -> OneStep:
        """Of a problem that :func:`refusal` accepts."""
        settings = GradientSettings.of(problem)
        batch = settings.batches[0]
        everyone = np.array([member.record for member in problem.collective.members], dtype=np.int64)
        arriving = np.zeros(problem.n, dtype=bool)
        arriving[batch] = True
        members = np.flatnonzero(arriving[everyone]) if len(everyone) else everyone
        records = everyone[members]
        subjects = (*problem.queries, *problem.guards)
        targets = np.array([subject.target for subject in subjects])
        V = targets[:, None] * settings.extend(np.array([subject.x for subject in subjects]))
        start = V @ (settings.kept * settings.theta0) - targets * np.array([s.threshold for s in subjects])
        arriving[records] = False
        scorer = _Scorer(problem, settings, V)
        others = np.flatnonzero(arriving)
        fixed = scorer.scores(problem.records.X[others], problem.records.y[others], problem.records.s[others])
        items, sets = _choices(problem, scorer, members, records)
        side = None if sets is None else scorer.side(sets)
        return cls(
            problem=problem,
            settings=settings,
            members=members,
            records=records,
            V=V,
            start=start,
            fixed=fixed.sum(axis=0),
            fixed_weight=float(problem.records.s[others].sum()) if settings.is_mean else 1.0,
            items=items,
            sets=sets,
            side=side,
            needs=np.array([problem.needed_margin(subject) for subject in subjects]),
        )

    @property
    def count(self) -> int:
        """How many members arrive."""
        return len(self.members)

    @cached_property
    def divisor(self) -> float:
        """``S`` before anyone acts."""
        return self.fixed_weight + float(self.weights[self.items.first].sum())

    @cached_property
    def least_divisor(self) -> float:
        """The least ``S`` that any choice leaves."""
        least = np.minimum.reduceat(self.weights, self.items.first) if self.count else np.zeros(0)
        return self.fixed_weight + float(least.sum())

    @cached_property
    def has_fixed_divisor(self) -> bool:
        """Whether no item changes the weight of the batch."""
        stays = self.weights[self.items.first]
        return bool((self.weights == stays[self.items.member]).all())

    @cached_property
    def weights(self) -> Vector:
        """What the items add to ``S``, ``(K,)``: nothing under a sum."""
        return self.items.weight if self.settings.is_mean else np.zeros(len(self.items.weight))

    def move(self, item: int) -> Move | None:
        """The move behind an item; None for staying."""
        items = self.items
        if not items.acts[item]:
            return None
        option, record = items.options.get(item), int(self.records[items.member[item]])
        if option is not None:
            return Move(record, option.x, option.y, option.s, option.cost)
        x = tuple(self.problem.records.X[record].tolist())
        return Move(record, x, float(items.y[item]), float(items.weight[item]), float(items.cost[item]))


def refusal(problem: RecourseProblem) -> str | None:
    """Why a problem whose update is one gradient step is not of this form, or None."""
    if problem.max_loss_increase is not None:
        return "max_loss_increase is no sum over the members"
    moving = _moving(problem.collective.members)
    if moving and not moves_freely(problem):
        for member in moving:
            for one in change_sets(problem, member):
                if one.is_discrete or len(one.b) or one.groups:
                    return f"member {member.record} moves features in many steps, or under linear rows or groups"
                if (one.lower > 0).any() or (one.upper < 0).any():
                    return f"member {member.record} lies where its own features' rules force it to move"
    return _lost_batch(problem) or (_wrong_sets(problem, moving) if moving else None)


def _lost_batch(problem: RecourseProblem) -> str | None:
    """Whether all of a mean's records could be withheld."""
    settings = GradientSettings.of(problem)
    if not settings.is_mean:
        return None
    arriving = np.zeros(problem.n, dtype=bool)
    arriving[settings.batches[0]] = True
    others = arriving.copy()
    others[[member.record for member in problem.collective.members]] = False
    if problem.records.s[others].any():
        return None
    for member in problem.collective.members:
        withdraws = any(isinstance(action, WithholdAction) for action in member.actions)
        stays = problem.records.s[member.record] > 0 and not withdraws and all(option.s > 0 for option in member.menu)
        if arriving[member.record] and stays:
            return None
    return "all records of the batch could be withheld, and then its mean is undefined"


def _wrong_sets(problem: RecourseProblem, moving: Sequence[Member]) -> str | None:
    """Costs and boxes that the members' own problem does not know."""
    budget, cost = problem.collective.budget, problem.collective.cost
    priced = budget.total is not None or problem.goal is GoalKind.MIN_COST
    norms = {action.norm for actions in different_actions(moving) for action in _features(actions)}
    if cost is CostKind.LINF and priced and norms - {Norm.LINF}:
        return "a priced cost in linf goes with radii in linf only"
    lower = [-np.inf if feature.lower is None else feature.lower for feature in problem.features]
    upper = [np.inf if feature.upper is None else feature.upper for feature in problem.features]
    rows = np.array([member.record for member in moving], dtype=np.int64)
    X = problem.records.X[rows]
    slack = ROUNDING * np.maximum(np.maximum(1.0, np.abs(X)), problem.scales)
    outside = np.flatnonzero(((np.array(lower) - X > slack) | (X - np.array(upper) > slack)).any(axis=1))
    if len(outside):
        return f"member {rows[outside[0]]} lies outside its own features' bounds, so that no small change is allowed"
    return None


def different_actions(members: Sequence[Member]) -> list[tuple[Action, ...]]:
    """The members' tuples of actions, each object once; none of members without actions."""
    return list({id(member.actions): member.actions for member in members if member.actions}.values())


def _moving(members: Sequence[Member]) -> list[Member]:
    """Those who may change features."""
    own = {id(actions) for actions in different_actions(members) if _features(actions)}
    return [member for member in members if id(member.actions) in own]


def _features(actions: tuple[Action, ...]) -> list[FeatureAction]:
    return [action for action in actions if isinstance(action, FeatureAction)]


class _Scorer:
    """Scores of records, with everything they do not depend on."""

    def __init__(self, problem: RecourseProblem, settings: GradientSettings, V: Matrix) -> None:
        self.problem, self.settings, self.V = problem, settings, V

    def scores(self, X: Matrix, y: Vector, s: Vector) -> Matrix:
        """``score_iq``, ``(m, S)``."""
        X = self.settings.extend(X)
        pushes = -self.settings.rate * s * slopes_at_start(self.settings.loss, X, y, self.settings.theta0)
        return np.asarray(pushes[:, None] * (X @ self.V.T))

    def side(self, sets: ChangeArrays) -> StepSide:
        records, settings = self.problem.records, self.settings
        rows = sets.records
        w0 = settings.split(settings.theta0)[0]
        u0 = settings.extend(records.X[rows]) @ settings.theta0
        return StepSide(settings.loss, records.y[rows], settings.rate * records.s[rows], u0, w0 * sets.scales)


# -- what members can choose ---


def _choices(
    problem: RecourseProblem, scorer: _Scorer, members: Indices, records: Indices
) -> tuple[Items, ChangeArrays | None]:
    book = _Book(problem, scorer, records)
    book.stay()
    arriving = [problem.collective.members[number] for number in members.tolist()]
    for place, member in enumerate(arriving):
        if member.menu:
            book.menu(place, member.menu)
    vectorised = moves_freely(problem)
    # Members that share one tuple of actions are one group, without a look at it for each.
    keys = np.fromiter((id(member.actions) for member in arriving), dtype=np.int64, count=len(arriving))
    for actions in different_actions(arriving):
        book.actions(np.flatnonzero(keys == id(actions)), actions, vectorised)
    return book.items(), book.sets()


def moves_freely(problem: RecourseProblem) -> bool:
    """Whether all features that are not fixed move continuously, without rows and groups among them."""
    free = [feature for feature in problem.features if not feature.is_fixed]
    steps = any(feature.type is not FeatureType.CONTINUOUS or feature.step is not None for feature in free)
    return not steps and not problem.constraints and not any(feature.group for feature in problem.features)


class _Book:
    """Collects items and sets in any order, and sorts them by member."""

    def __init__(self, problem: RecourseProblem, scorer: _Scorer, records: Indices) -> None:
        self.problem, self.scorer, self.places = problem, scorer, records
        budget = problem.collective.budget
        limits = [limit for limit in (budget.each, budget.total) if limit is not None]
        self.most = -1.0 if budget.members == 0 else min(limits, default=np.inf)
        self.parts: list[tuple[Indices, Matrix, Vector, Vector, Vector, Vector, list[Option] | None]] = []
        self.found: list[ChangeArrays] = []

    def stay(self) -> None:
        rows = self.places
        self._add(np.arange(len(rows)), self.problem.records.y[rows], self.problem.records.s[rows], 0.0, acts=False)

    def menu(self, place: int, options: Sequence[Option]) -> None:
        fit = [option for option in options if option.cost <= self.most]
        if fit:
            X, y, s = np.array([o.x for o in fit]), np.array([o.y for o in fit]), np.array([o.s for o in fit])
            costs = np.array([o.cost for o in fit])
            self._put(np.full(len(fit), place), X, y, s, costs, np.ones(len(fit)), fit)

    def actions(self, places: Indices, actions: tuple[Action, ...], vectorised: bool) -> None:
        records = self.problem.records
        rows = self.places[places]
        moving = [action for action in actions if isinstance(action, FeatureAction)]
        for action in actions:
            if isinstance(action, LabelAction) and action.cost <= self.most:
                for to in action.to:
                    other = records.y[rows] != to
                    self._add(places[other], np.full(int(other.sum()), to), records.s[rows][other], action.cost)
            elif isinstance(action, WithholdAction) and action.cost <= self.most:
                self._add(places, records.y[rows], np.zeros(len(rows)), action.cost)
        if not moving:
            return
        if vectorised:
            self.found += [one for action in moving for one in continuous_sets(self.problem, places, rows, action)]
        else:
            for place in places:
                self._by_itself(int(place), moving)

    def _by_itself(self, place: int, moving: Sequence[FeatureAction]) -> None:
        """Changes in steps that are options, and sets that are left over, of one member."""
        member = Member(int(self.places[place]), tuple(moving))
        steps = [option for option in self.problem.options(member)[1:] if option.kind is OptionKind.CHANGE]
        self.menu(place, steps)
        sets = [(place, one) for one in change_sets(self.problem, member)]
        if sets:
            free = np.array([not feature.is_fixed for feature in self.problem.features])
            self.found.append(ChangeArrays.of(sets, self.problem.scales, free, self.problem.collective.cost))

    def _add(self, places: Indices, y: Vector, s: Vector, cost: float, *, acts: bool = True) -> None:
        """Items that keep the records' features."""
        X = self.problem.records.X[self.places[places]]
        ones = np.ones(len(places))
        self._put(places, X, y, s, cost * ones, ones if acts else 0 * ones, None)

    def _put(
        self,
        places: Indices,
        X: Matrix,
        y: Vector,
        s: Vector,
        cost: Vector,
        acts: Vector,
        options: list[Option] | None,
    ) -> None:
        self.parts.append((places, self.scorer.scores(X, y, s), cost, acts, s, y, options))

    def items(self) -> Items:
        place, scores, cost, acts, s, y = (
            np.concatenate([np.asarray(part[k]) for part in self.parts]) for k in range(6)
        )
        order = np.argsort(place, kind="stable")
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        options = {int(back[k]): option for k, option in self._numbered() if option is not None}
        return Items(place[order], scores[order], cost[order], acts[order], s[order], y[order], options)

    def _numbered(self) -> Iterator[tuple[int, Option | None]]:
        k = 0
        for part in self.parts:
            if part[6] is not None:
                yield from ((k + j, option) for j, option in enumerate(part[6]))
            k += len(part[0])

    def sets(self) -> ChangeArrays | None:
        return ChangeArrays.joined(self.found) if self.found else None
