"""Individual recourse: what a query subject can do by changing its own features against the fixed present model.

The model is what the update gives on the records as they are (:func:`oar_opt.evaluate.evaluate_present`; ties are
settled by the instance's position). The subject obeys the rules for features that members obey: types, bounds,
directions, steps, one-hot groups and linear constraints; its own record takes a record's place in the instance, so that
:mod:`oar_opt.changes` states them for both. Two numbers for each query:

- *least cost*: the least cost, ``||delta / scale||`` in the collective's cost kind (``count``: 1), of a change that
  gives the query the margin it needs. That is :meth:`oar_opt.problem.RecourseProblem.needed_margin`; without a required
  margin, the feasibility tolerance above 0. No radius bounds it.
- *best margin*: the largest margin within one member's radius. Where the collective's features actions differ, the
  largest radius of every norm is tried and the best margin kept. None where no member has a features action.

Budgets and charges are the collective's and do not bind the subject. Staying is always possible, and costs nothing.

Margins are minima of linear functions of the change for every learner here (:mod:`oar_opt.individual_duality`), so both
are linear or second-order cone programs (:mod:`oar_opt.individual_program`), mixed-integer where features move in
steps; few changes are tried one by one. What solvers propose is set on the rules, and rules, margin and cost are then
checked without them; where a margin misses by rounding, a little more is asked for. The bound is ``proved`` where weak
duality in exact arithmetic closes the gap, ``enumerated`` where all changes were tried, and ``claimed`` where it is a
mixed-integer solver's. All of this is about the parameters as re-trained, whose own accuracy is not part of it.

Reference: B. Ustun, A. Spangher, Y. Liu, "Actionable Recourse in Linear Classification", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from oar_opt import individual_duality as duality
from oar_opt import individual_program as programs
from oar_opt.certificate import Grade
from oar_opt.changes import LOOSE, MOST_VALUES, ChangeSet, change_sets, listed_options
from oar_opt.discovery import not_replayed
from oar_opt.errors import UnsupportedError
from oar_opt.evaluate import Evaluation, evaluate_present
from oar_opt.individual_program import Found, Outcome
from oar_opt.limits import Clock
from oar_opt.parameters import Parameters
from oar_opt.problem import (
    Collective,
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    FeatureType,
    Member,
    Norm,
    Point,
    Query,
    Records,
    RecourseProblem,
    Vector,
)
from oar_opt.projection import held, nearest_on_grids
from oar_opt.result import Status, relative_gap
from oar_opt.rules import ROUNDING, change_violation, domain_violation

PUSHES = (0.0, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7)
"""Shares of its size by which a needed margin is raised, in turn, where answers miss it by rounding."""
WIDER = 1 + 1e-6
GROWTHS, GROWTH = 6, 4.0
"""How often, and how much, the radius grows where features have too many steps to list."""
NOT_IN_STEPS = "no change in the steps that the rules allow gives it the margin"
FREE = FeatureAction(Norm.LINF, math.inf)
"""Any change that the rules allow."""


@dataclass(frozen=True)
class Certified:
    """One number with its evidence: ``value`` is that of ``x`` (None: no such change), ``bound`` what nothing beats.

    ``reason`` says why there is no value, or what a reader should know of it.
    """

    status: Status
    value: float | None
    bound: float | None
    grade: Grade
    x: Point | None
    reason: str = ""


@dataclass(frozen=True)
class IndividualRecourse:
    """What one query subject can do alone; see the module's docstring.

    ``needed`` is the margin that ``cost`` is about. ``radii`` are those that ``best_margin`` allows, by norm; without a
    member that has a features action there are none, and ``best_margin`` is None.
    """

    query: str
    needed: float
    margin_before: float
    cost: Certified
    best_margin: Certified | None
    radii: tuple[tuple[Norm, float], ...]
    notes: tuple[str, ...] = ()

    @property
    def x(self) -> Point | None:
        """The record of least cost that has the needed margin."""
        return self.cost.x

    @property
    def best_x(self) -> Point | None:
        """The record with the best margin."""
        return self.best_margin.x if self.best_margin else None

    @property
    def helps_itself(self) -> bool | None:
        """Whether one member's radius is enough for the needed margin; None where that is not settled."""
        best = self.best_margin
        if best is None or best.value is None or best.bound is None:
            return None
        return True if best.value >= self.needed else False if best.bound < self.needed else None


def individual_recourse(problem: RecourseProblem, *, time_limit: float | None = None) -> tuple[IndividualRecourse, ...]:
    """Individual recourse of every query, in their order; guards have none.

    Parameters
    ----------
    time_limit : seconds for all queries together; None is no limit.

    Raises
    ------
    UnsupportedError : the present model is undefined, or its update cannot be replayed here.
    """
    present = evaluate_present(problem)
    if present is None:
        reason = not_replayed(problem) or "the learner is undefined on the records as they are"
        raise UnsupportedError(f"no individual recourse: {reason}")
    clock = Clock(time_limit)
    return tuple(_recourse(_Subject(problem, query, present.parameters, clock), present) for query in problem.queries)


def _recourse(subject: _Subject, present: Evaluation) -> IndividualRecourse:
    cost = _or_unsupported(subject, _least_cost)
    best = _or_unsupported(subject, _best_margin) if subject.radii else None
    return IndividualRecourse(
        subject.query.name, subject.need, subject.before, cost, best, subject.radii, tuple(_notes(subject, present))
    )


def _or_unsupported(subject: _Subject, part: Callable[[_Subject], Certified]) -> Certified:
    """What cannot be stated leaves its own number unknown, and says why."""
    try:
        return part(subject)
    except UnsupportedError as error:
        return Certified(Status.UNKNOWN, None, None, Grade.CLAIMED, None, str(error))


def _notes(subject: _Subject, present: Evaluation) -> list[str]:
    problem, query = subject.problem, subject.query
    notes = [present.tie] if present.tie else []
    broken = domain_violation(problem, subject.x)
    if broken:
        notes.append(f"the query's own record breaks a rule: {broken}")
    if query.required is None:
        notes.append(f"no margin is required: one of {subject.need:g} counts as decided as wanted")
    if not subject.radii:
        notes.append("no member has a features action, so there is no radius to compare with")
    if len(subject.radii) > 1:
        notes.append("members have several features actions: the largest radius of every norm is tried")
    budget = problem.collective.budget
    charged = any(a.charge for member in problem.collective.members for a in member.feature_actions)
    if charged or (budget.each, budget.total, budget.members) != (None, None, None):
        notes.append("the collective's budgets and charges do not bind a query subject")
    return notes


# -- one subject ---


@dataclass(frozen=True)
class _Subject:
    problem: RecourseProblem
    query: Query
    parameters: Parameters
    clock: Clock

    @cached_property
    def x(self) -> Vector:
        return np.array(self.query.x)

    @cached_property
    def need(self) -> float:
        tolerance = self.problem.tolerances.feasibility
        return tolerance if self.query.required is None else self.problem.needed_margin(self.query)

    @cached_property
    def before(self) -> float:
        return self.margin(self.query.x)

    @cached_property
    def pieces(self) -> duality.Pieces:
        return duality.pieces_of(self.parameters, self.query)

    @cached_property
    def rules(self) -> RecourseProblem:
        """The instance with the subject's record in the first one's place, which keeps its label: the rules are all
        that is read of it."""
        X, s = self.problem.records.X.copy(), self.problem.records.s.copy()
        X[0], s[0] = self.x, 1.0
        return replace(
            self.problem,
            records=Records(X, self.problem.records.y, s),
            collective=Collective((), self.kind),
            max_loss_increase=None,
        )

    @cached_property
    def radii(self) -> tuple[tuple[Norm, float], ...]:
        """The largest radius of every norm that a member's features action has."""
        found: dict[Norm, float] = {}
        for member in self.problem.collective.members:
            for action in member.feature_actions:
                found[action.norm] = max(action.radius, found.get(action.norm, 0.0))
        return tuple(found.items())

    @property
    def kind(self) -> CostKind:
        return self.problem.collective.cost

    @property
    def norm(self) -> Norm:
        """Of the lengths that costs grow with; any will do for ``count``."""
        match self.kind:
            case CostKind.SQL2:
                return Norm.L2
            case CostKind.COUNT:
                return Norm.LINF
            case _:
                return Norm(self.kind.value)

    def margin(self, x: Point) -> float:
        return self.parameters.margin(replace(self.query, x=x))

    def scaled(self, x: Point) -> Vector:
        change: Vector = (np.array(x) - self.x) / self.problem.scales
        return change

    def cost(self, x: Point) -> float:
        return self.kind.of(self.scaled(x))

    def cost_of_length(self, length: float) -> float:
        """The least cost of a change that is at least that long and not nothing."""
        if self.kind is CostKind.COUNT:
            return 1.0
        return length**2 if self.kind is CostKind.SQL2 else length

    def obeys(self, x: Point) -> bool:
        after = np.array(x)
        return not (change_violation(self.problem, self.x, after) or domain_violation(self.problem, after))

    def reach(self, rules: RecourseProblem, action: FeatureAction) -> tuple[ChangeSet | None, list[Point]]:
        """What an action lets the subject do: a set, or a list of records."""
        member = Member(0, (action,))
        sets = change_sets(rules, member)
        return (sets[0] if sets else None), [option.x for option in listed_options(rules, member)]

    def settled(self, one: ChangeSet, delta: Vector) -> Point | None:
        """The record that a change of the set near ``delta`` makes; None where rounding finds none by the rules."""
        found = nearest_on_grids(one, delta)
        move = None if found is None else one.move(found)
        return move.x if move is not None and self.obeys(move.x) else None

    def certified(
        self, x: Point, value: float, proved: float, claimed: float | None, sign: int, reason: str = ""
    ) -> Certified:
        """The better of two bounds with its grade; ``sign`` 1 where large values are good, -1 where small ones are.

        Bounds that the answer passes by rounding are cut off there.
        """
        tolerance = self.problem.tolerances.relative_gap

        def closes(bound: float) -> bool:
            return relative_gap(value, bound) <= tolerance

        proved = sign * max(sign * proved, sign * value)
        if claimed is None or closes(proved) or sign * claimed >= sign * proved:
            bound, grade = proved, Grade.PROVED
        else:
            bound, grade = sign * max(sign * claimed, sign * value), Grade.CLAIMED
        status = Status.OPTIMAL if closes(bound) else Status.FEASIBLE
        return Certified(status, value, bound if math.isfinite(bound) else None, grade, x, reason)


# -- least cost ---


def _least_cost(subject: _Subject) -> Certified:
    if subject.before >= subject.need:
        reason = "the query has the margin already"
        return Certified(Status.OPTIMAL, 0.0, 0.0, Grade.PROVED, subject.query.x, reason)
    loose = _loosened(subject.rules)
    wide, listed = subject.reach(loose, FREE)
    if listed:
        return _cheapest(subject, listed)
    if wide is None:
        return _nothing_allowed(subject)
    left, about = subject.clock.left(), _lack(subject)
    first = programs.shortest(wide, Norm.LINF, subject.pieces, subject.need, limit=left, unit=about)
    if first.delta is None:
        return _out_of_reach(subject, wide, first)
    within = subject.norm.of(first.delta / wide.scales) * WIDER
    near = _within(wide, within)
    relaxed = programs.shortest(near, subject.norm, subject.pieces, subject.need, limit=subject.clock.left())
    proved = min(within, _proved_length(subject, near, relaxed))
    if loose is not subject.rules:
        return _with_many_steps(subject, loose, wide, within, proved)
    if wide.is_discrete:
        return _by_steps(subject, wide, within, proved)
    start = first.delta if relaxed.delta is None else relaxed.delta
    x = _reaching(subject, _around(wide, start), start)
    if x is None:
        # Its margin may be just out of reach, by less than the solver's tolerance.
        beyond = _out_of_reach(subject, wide, relaxed)
        return beyond if beyond.status is Status.INFEASIBLE else _least(subject, None, proved, None)
    return _least(subject, x, proved, None)


def _lack(subject: _Subject) -> float | None:
    """How long a change must be in linf for its slopes alone, the unit of the first program; None without slopes."""
    steep = np.abs(subject.pieces.G * subject.problem.scales).sum(axis=1)
    lacks = subject.need - subject.pieces.base_vector
    return float(np.max(lacks[steep > 0] / steep[steep > 0], initial=0.0)) or None


def _proved_length(subject: _Subject, near: ChangeSet, found: Found) -> float:
    if found.multipliers is None:
        return 0.0
    return duality.least_length(near, subject.norm, subject.pieces, found.multipliers, subject.need)


def _least(subject: _Subject, x: Point | None, proved: float, claimed: float | None, reason: str = "") -> Certified:
    """The certificate of a record, for lengths that nothing shorter reaches."""
    lower = subject.cost_of_length(proved)
    upper = None if claimed is None else subject.cost_of_length(max(0.0, claimed))
    if x is None:
        reason = reason or "no change was found that keeps every rule and has the margin beyond rounding"
        return Certified(Status.UNKNOWN, None, lower, Grade.PROVED, None, reason)
    return subject.certified(x, subject.cost(x), lower, upper, -1)


def _cheapest(subject: _Subject, listed: Sequence[Point]) -> Certified:
    reaching = [x for x in listed if subject.obeys(x) and subject.margin(x) >= subject.need]
    if not reaching:
        reason = f"none of its {len(listed)} changes gives it the margin"
        return Certified(Status.INFEASIBLE, None, None, Grade.ENUMERATED, None, reason)
    x = min(reaching, key=subject.cost)
    return Certified(Status.OPTIMAL, subject.cost(x), subject.cost(x), Grade.ENUMERATED, x)


def _nothing_allowed(subject: _Subject) -> Certified:
    """No record but its own: by bounds, directions and steps, or by what the rows and groups leave."""
    broken = domain_violation(subject.problem, subject.x)
    reason = f"no change is allowed that mends the record: {broken}" if broken else "no feature may change"
    entangled = subject.problem.constraints or any(feature.group for feature in subject.problem.features)
    return Certified(
        Status.INFEASIBLE, None, None, Grade.CLAIMED if entangled else Grade.PROVED, None, f"{reason}; it can only stay"
    )


def _out_of_reach(subject: _Subject, wide: ChangeSet, first: Found) -> Certified:
    """No change has the margin, if a bound on all margins or at least the solver says so."""
    best = programs.best(wide, None, subject.pieces, limit=subject.clock.left())
    proved = math.inf
    if best.multipliers is not None:
        proved = duality.highest_margin(wide, None, subject.pieces, best.multipliers)
    if proved < subject.need:
        reason = f"no change that the rules allow gives it a margin above {proved:.6g}"
        return Certified(Status.INFEASIBLE, None, None, Grade.PROVED, None, reason)
    if first.outcome is Outcome.NONE and first.finished:
        reason = "no change that the rules allow gives it the margin"
        return Certified(Status.INFEASIBLE, None, None, Grade.CLAIMED, None, reason)
    return Certified(Status.UNKNOWN, None, None, Grade.CLAIMED, None, "the solver stopped without an answer")


def _by_steps(subject: _Subject, one: ChangeSet, about: float, proved: float) -> Certified:
    """Mixed-integer, asking for a little more where the answer misses the margin by rounding; ``about``: its length."""
    claimed: float | None = None
    for push in (PUSHES[0], *PUSHES[3:]):
        need = subject.need + push * _size(subject)
        left = subject.clock.left()
        found = programs.shortest(one, subject.norm, subject.pieces, need, whole=True, limit=left, unit=about)
        if push == 0 and found.outcome is Outcome.NONE and found.finished:
            return Certified(Status.INFEASIBLE, None, None, Grade.CLAIMED, None, NOT_IN_STEPS)
        if found.delta is None:
            break
        claimed = found.value if push == 0 and found.finished else claimed
        x = _reaching(subject, _around(one, found.delta), found.delta)
        if x is not None:
            return _least(subject, x, proved, claimed)
        if subject.clock.is_over:
            break
    reason = "the time limit was reached without an answer" if subject.clock.is_over else ""
    return _least(subject, None, proved, None, reason)


def _with_many_steps(
    subject: _Subject, loose: RecourseProblem, wide: ChangeSet, within: float, proved: float
) -> Certified:
    """Where features have too many steps to list: by the ends that rows and the margin give them, else in balls."""
    bounded = _bounded_by_rows(subject, loose, wide)
    if bounded is None:
        return _in_growing_balls(subject, within, proved)
    one, listed = subject.reach(bounded, FREE)
    if one is not None:
        return _by_steps(subject, one, within, proved)
    if not listed:
        return Certified(Status.INFEASIBLE, None, None, Grade.CLAIMED, None, NOT_IN_STEPS)
    # The ends are a solver's word, so that all of these changes need not be all there are.
    return replace(_cheapest(subject, listed), grade=Grade.CLAIMED)


def _bounded_by_rows(subject: _Subject, loose: RecourseProblem, wide: ChangeSet) -> RecourseProblem | None:
    """The rules with ends for the features that ``loose`` lets move continuously: how far they move where the margin is
    reached, by linear programs. None where one of them still has too many steps."""
    features, pieces = list(subject.rules.features), subject.pieces
    reaching = replace(wide, A=np.vstack([wide.A, -pieces.G]), b=np.append(wide.b, pieces.base_vector - subject.need))
    for j, feature in enumerate(features):
        if loose.features[j] is feature:
            continue
        ends = [sign * _farthest(reaching, j, sign) for sign in (-1, 1)]
        slack = LOOSE * max(1.0, feature.scale, abs(float(subject.x[j])), *map(abs, ends))
        if not np.isfinite(ends).all():
            return None
        low, high = (float(subject.x[j]) + end + sign * slack for end, sign in zip(ends, (-1, 1), strict=True))
        features[j] = replace(
            feature,
            lower=low if feature.lower is None else max(low, feature.lower),
            upper=high if feature.upper is None else min(high, feature.upper),
        )
        if not _is_listed(features[j], float(subject.x[j])):
            return None
    return replace(subject.rules, features=tuple(features))


def _farthest(one: ChangeSet, j: int, sign: int) -> float:
    """How far up (down) a feature may move, with all others free to follow; infinite where nothing is known."""
    slope = tuple(Fraction(sign if i == j else 0) for i in range(one.d))
    found = programs.best(one, None, duality.Pieces((Fraction(0),), (slope,)))
    return found.value if found.finished and found.delta is not None else math.inf


def _in_growing_balls(subject: _Subject, start: float, proved: float) -> Certified:
    """Without such ends; what costs less than the radius looked at lies within it."""
    features = subject.problem.features
    steps = np.array([(f.step or 1.0) / f.scale if _moves_in_steps(f) else 0.0 for f in features])
    radius = start + subject.norm.of(steps)
    for _ in range(GROWTHS):
        try:
            one, listed = subject.reach(subject.rules, FeatureAction(subject.norm, radius))
        except UnsupportedError as error:
            return _least(subject, None, proved, None, str(error))
        found = None
        if listed:
            found = _cheapest(subject, listed)
        elif one is not None:
            found = _by_steps(subject, one, start, proved)
        if found is not None and found.value is not None:
            return found
        if subject.clock.is_over:
            break
        radius *= GROWTH
    reason = (
        f"no change was found up to a length of {radius:.6g}; farther ones were not tried, give the features bounds"
    )
    return _least(subject, None, proved, None, reason)


def _reaching(subject: _Subject, one: ChangeSet, delta: Vector) -> Point | None:
    """A record by the rules that has the needed margin, at or near a shortest change of the set."""
    if one.is_discrete:
        rounded = nearest_on_grids(one, delta)
        if rounded is None:
            return None
        one = held(one, rounded)
        if not one.movable.any():
            return _if_reaching(subject, subject.settled(one, rounded))
    for push in PUSHES:
        need = subject.need + push * _size(subject)
        found = programs.shortest(one, subject.norm, subject.pieces, need, limit=subject.clock.left())
        if found.delta is not None:
            x = _if_reaching(subject, subject.settled(one, found.delta))
            if x is not None:
                return x
    return None


def _if_reaching(subject: _Subject, x: Point | None) -> Point | None:
    return x if x is not None and subject.margin(x) >= subject.need else None


def _size(subject: _Subject) -> float:
    return max(1.0, abs(subject.need), abs(subject.before))


def _within(one: ChangeSet, length: float) -> ChangeSet:
    """The set with no feature changed by more than that, over its scale."""
    reach = length * one.scales
    return replace(one, lower=np.maximum(one.lower, -reach), upper=np.minimum(one.upper, reach))


def _around(one: ChangeSet, delta: Vector) -> ChangeSet:
    """With finite ends well beyond a change; the ends of features that move in steps are finite anyway."""
    steps = np.array([grid is not None for grid in one.grids])
    near = _within(one, 2 * float(np.abs(delta / one.scales).max(initial=0.0)) or 1.0)
    return replace(one, lower=np.where(steps, one.lower, near.lower), upper=np.where(steps, one.upper, near.upper))


def _moves_in_steps(feature: Feature) -> bool:
    return feature.step is not None or feature.type is not FeatureType.CONTINUOUS


def _loosened(rules: RecourseProblem) -> RecourseProblem:
    """The rules, but features with too many steps to list move continuously; the same object where there are none."""
    x = rules.records.X[0]
    endless = [_moves_in_steps(f) and not _is_listed(f, float(x[j])) for j, f in enumerate(rules.features)]
    if not any(endless):
        return rules
    features = tuple(
        replace(feature, type=FeatureType.CONTINUOUS, step=None) if without else feature
        for feature, without in zip(rules.features, endless, strict=True)
    )
    return replace(rules, features=features)


def _is_listed(feature: Feature, x: float) -> bool:
    """Whether a feature that moves in steps has an end both ways, and not too many values between them."""
    if feature.is_fixed or feature.type in (FeatureType.BINARY, FeatureType.CATEGORICAL):
        return True
    low = x if feature.direction is Direction.INCREASE else feature.lower
    high = x if feature.direction is Direction.DECREASE else feature.upper
    return low is not None and high is not None and high - low <= MOST_VALUES * (feature.step or 1.0)


# -- best margin ---


def _best_margin(subject: _Subject) -> Certified:
    stay = Certified(Status.OPTIMAL, subject.before, subject.before, Grade.PROVED, subject.query.x)
    found = [stay, *(_best_within(subject, norm, radius) for norm, radius in subject.radii)]
    best = max((one for one in found if one.value is not None), key=lambda one: one.value or 0.0)
    bounds = [one.bound for one in found if one.status is not Status.INFEASIBLE]
    bound = None if None in bounds else max(value for value in bounds if value is not None)
    grade = min((one.grade for one in found), key=lambda grade: grade.rank)
    value = best.value if best.value is not None else subject.before
    closed = bound is not None and relative_gap(value, bound) <= subject.problem.tolerances.relative_gap
    status = Status.OPTIMAL if closed else Status.FEASIBLE
    reason = "; ".join(one.reason for one in found if one.reason)
    if best is stay and closed:
        reason = "no change within the radius is better than staying" + (f" ({reason})" if reason else "")
    return Certified(status, value, bound, grade, best.x, reason)


def _best_within(subject: _Subject, norm: Norm, radius: float) -> Certified:
    """The best change, staying not counted; infeasible where there is none."""
    one, listed = subject.reach(subject.rules, FeatureAction(norm, radius))
    listed = [x for x in listed if subject.obeys(x)]
    if listed:
        x = max(listed, key=subject.margin)
        return Certified(Status.OPTIMAL, subject.margin(x), subject.margin(x), Grade.ENUMERATED, x)
    if one is None:
        nothing = _nothing_allowed(subject)
        return replace(nothing, reason="")
    left = subject.clock.left()
    relaxed = programs.best(one, norm, subject.pieces, limit=left)
    if relaxed.outcome is Outcome.NONE and relaxed.finished:
        reason = f"the {norm} radius {radius:g} leaves no change"
        return Certified(Status.INFEASIBLE, None, None, Grade.CLAIMED, None, reason)
    proved = _proved_margin(subject, one, norm, relaxed)
    found = programs.best(one, norm, subject.pieces, whole=True, limit=left) if one.is_discrete else relaxed
    if found.outcome is Outcome.NONE and found.finished:
        reason = f"the {norm} radius {radius:g} leaves no change in steps"
        return Certified(Status.INFEASIBLE, None, None, Grade.CLAIMED, None, reason)
    x_best = None if found.delta is None else _best_near(subject, one, norm, radius, found.delta)
    if x_best is None:
        reason = f"no change was found within the {norm} radius {radius:g}"
        return Certified(Status.UNKNOWN, None, proved if math.isfinite(proved) else None, Grade.PROVED, None, reason)
    claimed = found.value if found.finished else None
    return subject.certified(x_best, subject.margin(x_best), proved, claimed, 1)


def _proved_margin(subject: _Subject, one: ChangeSet, norm: Norm, found: Found) -> float:
    if found.multipliers is None:
        return math.inf
    return duality.highest_margin(one, norm, subject.pieces, found.multipliers)


def _best_near(subject: _Subject, one: ChangeSet, norm: Norm, radius: float, delta: Vector) -> Point | None:
    """The record of the best change that shares its steps with ``delta``, checked against the rules and the radius."""
    rounded = nearest_on_grids(one, delta)
    if rounded is None:
        return None
    candidates = [rounded]
    if one.is_discrete and held(one, rounded).movable.any():
        rest = programs.best(held(one, rounded), norm, subject.pieces, limit=subject.clock.left())
        candidates += [] if rest.delta is None else [rest.delta]
    settled = [subject.settled(one, candidate) for candidate in candidates]
    longest = radius + ROUNDING * max(1.0, radius)
    kept = [x for x in settled if x is not None and norm.of(subject.scaled(x)) <= longest]
    return max(kept, key=subject.margin, default=None)
