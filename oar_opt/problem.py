"""The problem in memory: records, learner, collective, queries and goal.

Letters and shapes
------------------
======================  =========================================================  ==============
``n, d``                records, features
``X, y, s``             features, labels or targets, record weights                ``(n, d), (n,), (n,)``
``x_q``                 a query subject's features                                  ``(d,)``
``m_q``                 its margin; it is decided as wanted if and only if ``m_q > 0``
======================  =========================================================  ==============

Coding of ``y`` (and of a query's ``target``): -1 and +1 for two classes, the class's position in
``classes`` for the nearest centroid, the number itself for regression.

Everything here is immutable and validated on construction. An :class:`~oar_opt.errors.InputError` names the
offending part by its path in the instance file, since the parts are called the same in both places.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oar_opt.errors import InputError

if TYPE_CHECKING:
    from oar_opt.contracts import Fit

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Point = tuple[float, ...]
Label = bool | int | float | str


class Task(StrEnum):
    """What the learner predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class FeatureType(StrEnum):
    CONTINUOUS = "continuous"
    INTEGER = "integer"
    BINARY = "binary"
    ORDINAL = "ordinal"
    CATEGORICAL = "categorical"


class Direction(StrEnum):
    ANY = "any"
    INCREASE = "increase"
    DECREASE = "decrease"
    FIXED = "fixed"


class Norm(StrEnum):
    L1 = "l1"
    L2 = "l2"
    LINF = "linf"

    def of(self, vector: Vector) -> float:
        """The norm of a vector."""
        order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}[self]
        return float(np.linalg.norm(vector, ord=order)) if vector.size else 0.0

    def of_rows(self, vectors: Matrix) -> Vector:
        """The norm of every row, ``(m,)``."""
        order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}[self]
        lengths: Vector = np.linalg.norm(vectors, ord=order, axis=1)
        return lengths


class CostKind(StrEnum):
    """How the cost of a feature change is measured (over scaled features)."""

    L1 = "l1"
    L2 = "l2"
    SQL2 = "sql2"
    LINF = "linf"
    COUNT = "count"

    def of(self, scaled_change: Vector) -> float:
        """Cost of a change ``delta / scale``; ``count`` is 1 for whoever acts."""
        match self:
            case CostKind.COUNT:
                return 1.0
            case CostKind.SQL2:
                return float(scaled_change @ scaled_change)
            case _:
                return Norm(self.value).of(scaled_change)

    def of_rows(self, scaled_changes: Matrix) -> Vector:
        """The cost of every row, ``(m,)``."""
        match self:
            case CostKind.COUNT:
                return np.ones(len(scaled_changes))
            case CostKind.SQL2:
                return np.asarray(np.einsum("ij,ij->i", scaled_changes, scaled_changes))
            case _:
                return Norm(self.value).of_rows(scaled_changes)


class Intercept(StrEnum):
    NONE = "none"
    PENALIZED = "penalized"
    FREE = "free"


class Position(StrEnum):
    """Which of several optima of the learner is taken."""

    UNIQUE = "unique"
    OPTIMISTIC = "optimistic"
    PESSIMISTIC = "pessimistic"


class Sense(StrEnum):
    LE = "<="
    GE = ">="
    EQ = "=="


class GoalKind(StrEnum):
    MAX_MARGIN = "max_margin"
    MIN_COST = "min_cost"
    MIN_MEMBERS = "min_members"
    MAX_HELPED = "max_helped"

    @property
    def maximises(self) -> bool:
        return self in (GoalKind.MAX_MARGIN, GoalKind.MAX_HELPED)

    @property
    def needs_required(self) -> bool:
        """Whether every query must state the margin it requires."""
        return self is not GoalKind.MAX_MARGIN

    @property
    def words(self) -> str:
        return {
            GoalKind.MAX_MARGIN: "the largest margin of the query (of several: the smallest of theirs)",
            GoalKind.MIN_COST: "the least total cost that gives every query its required margin",
            GoalKind.MIN_MEMBERS: "the fewest acting members that give every query its required margin",
            GoalKind.MAX_HELPED: "the largest number of queries that reach their required margin",
        }[self]


@dataclass(frozen=True)
class Feature:
    """One column of ``X`` and the rules for changing it. ``scale`` divides it in norms and costs."""

    name: str
    type: FeatureType = FeatureType.CONTINUOUS
    lower: float | None = None
    upper: float | None = None
    direction: Direction = Direction.ANY
    step: float | None = None
    scale: float = 1.0
    group: str | None = None

    @property
    def is_fixed(self) -> bool:
        return self.direction is Direction.FIXED


@dataclass(frozen=True)
class FeatureConstraint:
    """``sum_j coefficients[j] x_j  sense  rhs``, demanded of every record whose features are changed."""

    coefficients: tuple[tuple[str, float], ...]
    sense: Sense
    rhs: float


@dataclass(frozen=True, eq=False)
class Records:
    """``X (n, d)``, ``y (n,)``, ``s (n,)``; the arrays are read-only copies."""

    X: Matrix
    y: Vector
    s: Vector

    def __post_init__(self) -> None:
        for name in ("X", "y", "s"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.X.ndim != 2 or 0 in self.X.shape:
            raise InputError("records.X", f"has shape {self.X.shape}", "give at least one record and one feature")
        for name, where in (("y", "records.y"), ("s", "records.weight")):
            array = getattr(self, name)
            if array.shape != (self.n,):
                raise InputError(where, f"has {array.size} entries for {self.n} records", "give one per record")
        for name, where in (("X", "records.X"), ("y", "records.y"), ("s", "records.weight")):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(where, "contains NaN or an infinity", "every number must be finite")
        if (self.s < 0).any():
            i = int(np.argmax(self.s < 0))
            raise InputError(f"records.weight[{i}]", f"is negative ({self.s[i]:g})", "weights are at least 0")

    @property
    def n(self) -> int:
        return int(self.X.shape[0])

    @property
    def d(self) -> int:
        return int(self.X.shape[1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("X", "y", "s")
        )


@dataclass(frozen=True)
class Prior:
    """Yesterday's parameters: ``||w||^2`` becomes ``||w - w0||^2`` (with ``b - b0`` for a penalised intercept)."""

    w0: Point
    b0: float = 0.0


@dataclass(frozen=True)
class LearnerSpec:
    """Which learner, with its constants; only those that the kind knows are not None."""

    kind: str
    intercept: Intercept = Intercept.NONE
    C: float | None = None
    alpha: float | None = None
    delta: float | None = None
    epsilon: float | None = None
    prior: Prior | None = None

    @property
    def is_centroid(self) -> bool:
        return self.kind == "nearest_centroid"


class UpdateKind(StrEnum):
    RETRAIN = "retrain"
    PROXIMAL = "proximal"
    GRADIENT = "gradient"
    RUNNING_CENTROID = "running_centroid"


@dataclass(frozen=True)
class Update:
    """The rule by which parameters move; ``settings`` are those of the file, kept as they stand.

    :mod:`oar_opt.update_settings` makes and reads them.
    """

    kind: UpdateKind = UpdateKind.RETRAIN
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def retrains(self) -> bool:
        """Whether the learner goes to its own optimum, from whatever prior."""
        return self.kind in (UpdateKind.RETRAIN, UpdateKind.PROXIMAL)


@dataclass(frozen=True)
class FeatureAction:
    """Move ``x`` within ``|| delta / scale ||_norm <= radius`` and every feature's own rules.

    ``charge`` is what acting costs beside the cost of the change itself.
    """

    norm: Norm
    radius: float
    charge: float = 0.0


@dataclass(frozen=True)
class LabelAction:
    """Report another label (coded like ``y``)."""

    to: tuple[float, ...]
    cost: float = 1.0


@dataclass(frozen=True)
class WithholdAction:
    """Withdraw the record: weight 0."""

    cost: float = 1.0


Action = FeatureAction | LabelAction | WithholdAction


class OptionKind(StrEnum):
    STAY = "stay"
    MENU = "menu"
    LABEL = "label"
    WITHHOLD = "withhold"
    CHANGE = "change"
    """Of features that all move in steps, where there are few; see :mod:`oar_opt.changes`."""


@dataclass(frozen=True)
class Option:
    """One record that a member may put in the place of its own, at a stated cost."""

    kind: OptionKind
    x: Point
    y: float
    s: float
    cost: float


@dataclass(frozen=True)
class Member:
    """A member of the collective: its record, its actions and its private menu."""

    record: int
    actions: tuple[Action, ...] = ()
    menu: tuple[Option, ...] = ()

    @property
    def feature_actions(self) -> tuple[FeatureAction, ...]:
        return tuple(action for action in self.actions if isinstance(action, FeatureAction))


@dataclass(frozen=True)
class Budget:
    """Largest cost of one member, of all together, and number of acting members; None is no limit."""

    each: float | None = None
    total: float | None = None
    members: int | None = None


@dataclass(frozen=True)
class Collective:
    members: tuple[Member, ...]
    cost: CostKind = CostKind.L2
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True)
class Query:
    """A subject and the decision it wants (or, as a guard, must keep).

    ``target`` is coded like ``y`` for classes; for regression it is +1 for ``>=`` and -1 for ``<=``, and the margin is
    ``target * (f(x) - threshold)``.
    """

    name: str
    x: Point
    target: float
    threshold: float = 0.0
    required: float | None = None


@dataclass(frozen=True)
class Tolerances:
    """``feasibility``: absolute, on every rule and re-trained number. ``relative_gap``: when to say optimal."""

    feasibility: float = 1e-6
    relative_gap: float = 1e-4


@dataclass(frozen=True)
class Move:
    """What one acting member does: its record becomes ``(x, y, s)``. Members without a move stay."""

    record: int
    x: Point
    y: float
    s: float
    cost: float


@dataclass(frozen=True)
class RecourseProblem:
    """One complete problem; see the module's docstring for letters, shapes and coding."""

    name: str
    records: Records
    learner: LearnerSpec
    collective: Collective
    queries: tuple[Query, ...]
    goal: GoalKind
    classes: tuple[Label, ...] | None = None
    features: tuple[Feature, ...] = ()
    constraints: tuple[FeatureConstraint, ...] = ()
    guards: tuple[Query, ...] = ()
    max_loss_increase: float | None = None
    position: Position = Position.UNIQUE
    update: Update = field(default_factory=Update)
    tolerances: Tolerances = field(default_factory=Tolerances)
    title: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.features:
            object.__setattr__(self, "features", tuple(Feature(f"x{j}") for j in range(self.d)))
        from oar_opt.update_settings import check_update

        _check_features(self)
        _check_learner(self)
        check_update(self)
        _check_labels(self)
        _check_collective(self)
        _check_queries(self)

    # -- sizes and looks ---

    @property
    def n(self) -> int:
        return self.records.n

    @property
    def d(self) -> int:
        return self.records.d

    @property
    def task(self) -> Task:
        if self.classes is None:
            return Task.REGRESSION
        return Task.MULTICLASS if self.learner.is_centroid else Task.BINARY

    @cached_property
    def scales(self) -> Vector:
        """The features' scales, ``(d,)``, read-only."""
        scales = np.array([feature.scale for feature in self.features])
        scales.setflags(write=False)
        return scales

    @cached_property
    def is_menu_problem(self) -> bool:
        """Whether every member has finitely many options: nobody has room to move a feature, or only in few steps."""
        from oar_opt.changes import change_sets

        return not any(change_sets(self, member) for member in self.collective.members if member.feature_actions)

    @cached_property
    def member_at(self) -> Mapping[int, Member]:
        """The members by their records."""
        return {member.record: member for member in self.collective.members}

    @cached_property
    def present_fit(self) -> list[Fit]:
        """The learner's fit on the records as they are, once :mod:`oar_opt.evaluate` has it; empty before."""
        return []

    @cached_property
    def _known_changes(self) -> dict[int, tuple[Option, ...]]:
        """What :meth:`_listed_changes` found so far, by record."""
        return {}

    def _listed_changes(self, member: Member) -> tuple[Option, ...]:
        from oar_opt.changes import listed_options

        if not member.feature_actions:
            return ()
        if member.record not in self._known_changes:
            self._known_changes[member.record] = listed_options(self, member)
        return self._known_changes[member.record]

    def label_of(self, y: float) -> Label:
        """A coded ``y`` as the file writes it."""
        if self.classes is None:
            return float(y)
        return self.classes[int(y)] if self.task is Task.MULTICLASS else self.classes[int(y > 0)]

    def needed_margin(self, subject: Query) -> float:
        """The margin from which a query or guard counts as served: its required one (0 if none) less the tolerance,
        and what rounding may hide.

        Programs and re-training use this one number, so that neither admits a move that the other refuses.
        """
        needed = (subject.required or 0.0) - self.tolerances.feasibility
        return needed - 1e-12 * max(1.0, abs(needed))

    # -- moves ---

    def options(self, member: Member) -> tuple[Option, ...]:
        """All finite options of a member: staying first, then labels, withholding, feature changes in steps where
        they are few, and its menu."""
        i = member.record
        x, y, s = tuple(self.records.X[i].tolist()), float(self.records.y[i]), float(self.records.s[i])
        found = [Option(OptionKind.STAY, x, y, s, 0.0)]
        for action in member.actions:
            if isinstance(action, LabelAction):
                found += [Option(OptionKind.LABEL, x, to, s, action.cost) for to in action.to if to != y]
            elif isinstance(action, WithholdAction):
                found.append(Option(OptionKind.WITHHOLD, x, y, 0.0, action.cost))
        return (*found, *self._listed_changes(member), *member.menu)

    def admissible_options(self, member: Member) -> tuple[Option, ...]:
        """The options that the budget for one member (and the total) leaves; staying is always among them."""
        budget = self.collective.budget
        limit = min(
            math.inf if budget.each is None else budget.each, math.inf if budget.total is None else budget.total
        )
        stay, *others = self.options(member)
        if budget.members == 0:
            return (stay,)
        return (stay, *(option for option in others if option.cost <= limit))

    def apply(self, moves: Iterable[Move]) -> Records:
        """The records ``X~, y~, s~`` after the given members acted."""
        X, y, s = self.records.X.copy(), self.records.y.copy(), self.records.s.copy()
        moves = list(moves)
        if moves:
            where = [move.record for move in moves]
            X[where] = [move.x for move in moves]
            y[where] = [move.y for move in moves]
            s[where] = [move.s for move in moves]
        return Records(X, y, s)


def moves_from_choice(problem: RecourseProblem, choice: Sequence[Option]) -> tuple[Move, ...]:
    """The moves of members that picked ``choice[i]``; those that stay make none."""
    return tuple(
        Move(member.record, option.x, option.y, option.s, option.cost)
        for member, option in zip(problem.collective.members, choice, strict=True)
        if option.kind is not OptionKind.STAY
    )


def resulting_records(problem: RecourseProblem, moves: Iterable[Move]) -> frozenset[tuple[int, Point, float, float]]:
    """What moves leave behind: ``(record, x, y, s)`` of every record that is no longer as it was.

    Moves with equal results are one move to the learner, whatever their costs: identical options, an option equal to
    the member's own record, and all ways to withhold a record (with the weight 0 the rest of it counts for nothing).
    """
    found = set()
    for move in moves:
        i = move.record
        before = _as_seen(i, tuple(problem.records.X[i].tolist()), problem.records.y[i], problem.records.s[i])
        after = _as_seen(i, move.x, move.y, move.s)
        if after != before:
            found.add(after)
    return frozenset(found)


def _as_seen(record: int, x: Point, y: float, s: float) -> tuple[int, Point, float, float]:
    return (record, tuple(map(float, x)), float(y), float(s)) if s > 0 else (record, (), 0.0, 0.0)


# -- validation ---


def _finite(where: str, *numbers: float | None) -> None:
    for number in numbers:
        if number is not None and not math.isfinite(number):
            raise InputError(where, f"is {number}", "every number must be finite")


def _at_least_zero(where: str, number: float | None) -> None:
    _finite(where, number)
    if number is not None and number < 0:
        raise InputError(where, f"is negative ({number:g})", "give a number of at least 0")


def _positive(where: str, number: float | None) -> None:
    _finite(where, number)
    if number is not None and number <= 0:
        raise InputError(where, f"is {number:g}", "give a number above 0")


def _point(where: str, x: Point, d: int) -> None:
    if len(x) != d:
        raise InputError(where, f"has {len(x)} entries", f"give one per feature: {d}")
    _finite(where, *x)


def _check_features(problem: RecourseProblem) -> None:
    if len(problem.features) != problem.d:
        raise InputError(
            "features", f"describes {len(problem.features)} features", f"the records have {problem.d}, describe each"
        )
    seen: set[str] = set()
    for j, feature in enumerate(problem.features):
        where = f"features[{j}]"
        if feature.name in seen:
            raise InputError(f"{where}.name", f"'{feature.name}' is used twice", "give every feature its own name")
        seen.add(feature.name)
        _finite(where, feature.lower, feature.upper)
        _positive(f"{where}.scale", feature.scale)
        _positive(f"{where}.step", feature.step)
        if feature.lower is not None and feature.upper is not None and feature.lower > feature.upper:
            raise InputError(where, f"lower {feature.lower:g} is above upper {feature.upper:g}", "swap them")
    for c, constraint in enumerate(problem.constraints):
        _finite(f"constraints[{c}]", constraint.rhs, *(value for _, value in constraint.coefficients))
        for name, _ in constraint.coefficients:
            if name not in seen:
                raise InputError(
                    f"constraints[{c}].coefficients.{name}", "is no feature", f"use one of {', '.join(sorted(seen))}"
                )


def _check_learner(problem: RecourseProblem) -> None:
    spec = problem.learner
    for name in ("C", "alpha", "delta"):
        _positive(f"learner.{name}", getattr(spec, name))
    _at_least_zero("learner.epsilon", spec.epsilon)
    if spec.prior is not None:
        _point("learner.prior.w0", spec.prior.w0, problem.d)
        _finite("learner.prior.b0", spec.prior.b0)
        if spec.intercept is Intercept.NONE and spec.prior.b0 != 0:
            raise InputError("learner.prior.b0", "is not 0 though the learner has no intercept", "leave it out")
    _at_least_zero("max_loss_increase", problem.max_loss_increase)
    _positive("tolerances.feasibility", problem.tolerances.feasibility)
    _positive("tolerances.relative_gap", problem.tolerances.relative_gap)


def _check_labels(problem: RecourseProblem) -> None:
    classes = problem.classes
    if classes is None:
        if problem.learner.is_centroid or problem.learner.kind in ("svm", "squared_hinge", "logistic", "l1_svm"):
            raise InputError(
                "classes", f"is missing, and '{problem.learner.kind}' is a classifier", "name them, the negative first"
            )
        return
    if len({(type(label).__name__, label) for label in classes}) != len(classes):
        raise InputError("classes", "names a class twice", "name each once")
    if len(classes) < 2:
        raise InputError("classes", f"names {len(classes)}", "name at least two")
    if not problem.learner.is_centroid and len(classes) != 2:
        raise InputError(
            "classes", f"names {len(classes)}, and '{problem.learner.kind}' is binary", "name two, the negative first"
        )
    codes = set(range(len(classes))) if problem.task is Task.MULTICLASS else {-1, 1}
    unknown = np.flatnonzero(~np.isin(problem.records.y, sorted(codes)))
    if len(unknown):
        i, y = int(unknown[0]), float(problem.records.y[unknown[0]])
        raise InputError(f"records.y[{i}]", f"is {y:g}, which codes no class", f"use one of {sorted(codes)}")
    if problem.learner.is_centroid and problem.update.retrains:
        for code, label in enumerate(classes):
            if problem.records.s[problem.records.y == code].sum() <= 0:
                raise InputError(
                    "classes", f"'{label}' has no record with positive weight", "its centroid is undefined: drop it"
                )


def _check_y(problem: RecourseProblem, where: str, y: float) -> None:
    _finite(where, y)
    if problem.task is Task.BINARY and y not in (-1.0, 1.0):
        raise InputError(where, f"is {y:g}, which codes no class", "use -1 or +1")
    if problem.task is Task.MULTICLASS and y not in range(len(problem.classes or ())):
        raise InputError(where, f"is {y:g}, which codes no class", "use the position of the class")


def _check_collective(problem: RecourseProblem) -> None:
    budget = problem.collective.budget
    _at_least_zero("collective.budget.each", budget.each)
    _at_least_zero("collective.budget.total", budget.total)
    _at_least_zero("collective.budget.members", budget.members)
    n, seen, checked = problem.n, set[int](), set[int]()
    for m, member in enumerate(problem.collective.members):
        i = member.record
        if not 0 <= i < n:
            raise InputError(f"collective.members[{m}]", f"record {i} does not exist", f"records are 0 to {n - 1}")
        if i in seen:
            raise InputError(f"collective.members[{m}]", f"record {i} is a member twice", "list each member once")
        seen.add(i)
        # Mostly all members share one tuple of actions, and there may be a million of them.
        if id(member.actions) not in checked:
            checked.add(id(member.actions))
            _check_actions(problem, member)
        if member.menu:
            _check_menu(problem, member)


def _check_menu(problem: RecourseProblem, member: Member) -> None:
    from oar_opt.rules import option_violation

    for k, option in enumerate(member.menu):
        place = f"collective.menus.{member.record}[{k}]"
        _point(f"{place}.x", option.x, problem.d)
        _check_y(problem, f"{place}.y", option.y)
        _at_least_zero(f"{place}.weight", option.s)
        _at_least_zero(f"{place}.cost", option.cost)
        broken = option_violation(problem, member.record, option)
        if broken:
            raise InputError(f"{place}.x", broken, "change the option, or the rule of that feature")


def _check_actions(problem: RecourseProblem, member: Member) -> None:
    part = f"collective.actions (member {member.record})"
    for action in member.actions:
        match action:
            case FeatureAction():
                _at_least_zero(f"{part}.radius", action.radius)
                _at_least_zero(f"{part}.charge", action.charge)
            case LabelAction():
                _at_least_zero(f"{part}.cost", action.cost)
                for to in action.to:
                    _check_y(problem, f"{part}.to", to)
            case WithholdAction():
                _at_least_zero(f"{part}.cost", action.cost)


def _check_queries(problem: RecourseProblem) -> None:
    if not problem.queries:
        raise InputError("queries", "is empty", "name at least one query subject")
    names: set[str] = set()
    for kind, subjects in (("queries", problem.queries), ("guards", problem.guards)):
        for q, query in enumerate(subjects):
            where = f"{kind}[{q}]"
            _point(f"{where}.x", query.x, problem.d)
            _finite(f"{where}.threshold", query.threshold)
            _check_y(problem, f"{where}.target", query.target)
            _finite(f"{where}.required", query.required)
            if query.name in names:
                raise InputError(f"{where}.name", f"'{query.name}' is used twice", "give each its own name")
            names.add(query.name)
    if problem.goal.needs_required:
        for q, query in enumerate(problem.queries):
            where = f"queries[{q}].required"
            if query.required is None:
                raise InputError(where, f"is missing, and the goal is {problem.goal}", "state the margin to reach")
            if query.required <= problem.tolerances.feasibility:
                raise InputError(
                    where,
                    f"is {query.required:g}, within the feasibility tolerance {problem.tolerances.feasibility:g}",
                    "ask for a margin well above it, else rounding alone could reach it",
                )
