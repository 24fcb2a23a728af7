"""Programs for the nearest centroid: classes that members can change, proved intervals, shifts and margins.

The statement is that of :mod:`formulations.single_level.centroid_menu`, and its letters hold here: a class ``c`` has
the present weight ``Sbar_c`` and centroid ``mubar_c``, the weight ``S_c(z)`` under a choice, ``omega_c = Sbar_c /
S_c(z)``, the products ``v_ik = z_ik omega_c``, the shift ``h_c = mu_c - mubar_c`` and its squares ``p_cj``. A class
whose weight is the same for every choice is *rigid*: there ``omega_c = 1`` and ``v_ik = z_ik``, and neither is a
variable.

A member may also act by a change of features (:class:`oar_opt.changes.ChangeSet`): one more option for each set, after
the finite ones, that leaves its record ``(x, y, s)`` for the class, to which the change itself is added. A subclass
adds it to the moments (:meth:`CentroidModel.moment`); the intervals here already hold for all changes in the sets'
boxes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.active_bounds import Quantity
from oar_opt.bounds import WIDENING, ProvedBound, Reason
from oar_opt.changes import ChangeSet
from oar_opt.contracts import PyomoProgram
from oar_opt.menu_program import Margin, MenuModel, dot, equal_options, row
from oar_opt.parameters import CentroidParameters, Parameters
from oar_opt.problem import (
    CostKind,
    GoalKind,
    Matrix,
    Move,
    Option,
    OptionKind,
    Query,
    RecourseProblem,
    Vector,
)
from oar_opt.result import Claim, Request
from oar_opt.solver_features import SolverFeature

Changes = Mapping[int, tuple[ChangeSet, ...]]
"""The sets of changes of those members that have any, by record."""
NO_CHANGES: Changes = MappingProxyType({})
NEEDS = frozenset({SolverFeature.QUADRATIC})

WIDEST = 1e4
"""Largest factor by which a class's weight may fall or rise; times a solver's tolerance, 1e-4."""
LARGEST = 1e8
"""Largest unit of margins; times a solver's tolerance, 1."""
SMALLEST = 1e-4
"""Shifts have units of at least this share of the longest one, and that of a query's distance to a centroid."""
TOLERANCE = 1e-8
"""The solver's, on every row."""
DROPPED, OF_DROPPED = 1e-8, 6.0
"""A solver drops coefficients below 1e-9, and a change is up to 10 units long. What is lost in the rows of shifts is so
many times as large in a margin at most: once by the shift, twice by its square, and as much by the cut for balls."""
SCIP_SETTINGS = {
    # It has called optima infeasible where rows of shifts and weights are nearly parallel, and saves no time here.
    "presolving/maxrounds": 0,
    # On the dense rows of shifts it takes most of the time and closes next to nothing.
    "separating/aggregation/freq": -1,
}


def too_wide(problem: RecourseProblem, changes: Changes = NO_CHANGES) -> str | None:
    """Why floating point does not carry this instance, or None."""
    classes = moving_classes(problem, changes)
    for c, moving in classes.items():
        low, high = moving.weights
        if max(moving.weight / low, high / moving.weight) > WIDEST:
            return (
                f"the weight of class '{problem.label_of(c)}' is {moving.weight:.3g} and may become {low:.3g} to "
                f"{high:.3g}, too far apart for a solver's tolerances"
            )
    return too_large(problem, Units.of(problem, classes))


def too_large(problem: RecourseProblem, units: Units) -> str | None:
    """Why margins in these units, which may hide what matters, are too much for a solver's tolerances, or None."""
    if units.margin > LARGEST:
        return (
            f"margins come in differences of numbers near {units.margin:.3g}, too large for a solver's tolerances: "
            "divide all features by one number"
        )
    hidden = problem.tolerances.feasibility + units.margin * units.slack
    if problem.goal.needs_required and any((query.required or 0.0) <= hidden for query in problem.queries):
        return f"a required margin is within {hidden:.3g}, which a solver's tolerances hide at distances this large"
    return None


# -- what members can do to one class ---


@dataclass(frozen=True)
class Contribution:
    """What one member's options put into a class: weights ``(K_i,)``, 0 for options of other classes or withheld, and
    points relative to the class's present centroid ``(K_i, d)``; changes take these points from ``low`` to ``high``."""

    record: int
    weights: Vector
    offsets: Matrix
    low: Matrix
    high: Matrix

    @property
    def options(self) -> list[int]:
        """The options with weight in the class."""
        return [int(k) for k in np.flatnonzero(self.weights)]

    @property
    def can_leave(self) -> bool:
        return len(self.options) < len(self.weights)

    def farthest(self, j: int, sign: float) -> Vector:
        """The largest ``sign`` times the coordinate ``j`` of every option's point, ``(K_i,)``."""
        return sign * (self.high if sign > 0 else self.low)[:, j]


@dataclass(frozen=True)
class MovingClass:
    """A class that members can change, with the ranges of its weight and of its centroid's shift.

    ``weight`` and ``centroid (d,)`` are those before anyone acts; ``fixed_weight`` and ``fixed_moment (d,)`` belong to
    the records of no member, the moment relative to ``centroid``. ``cap`` is how many members may act.
    """

    weight: float
    centroid: Vector
    fixed_weight: float
    fixed_moment: Vector
    members: tuple[Contribution, ...]
    cap: int | None

    @cached_property
    def can_be_empty(self) -> bool:
        """Whether some choice within the cap leaves no weight in the class."""
        leaving = sum(bool(member.weights[0] > 0) for member in self.members)
        within_cap = self.cap is None or leaving <= self.cap
        return self.fixed_weight == 0 and all(member.can_leave for member in self.members) and within_cap

    @cached_property
    def is_rigid(self) -> bool:
        """Whether the weight is the same for every choice."""
        return all(bool((member.weights == member.weights[0]).all()) for member in self.members)

    @cached_property
    def weights(self) -> tuple[float, float]:
        """The least positive and the largest weight."""
        highest = self._weight(self._best([member.weights for member in self.members]))
        if self.can_be_empty:
            return min(float(member.weights[k]) for member in self.members for k in member.options), highest
        return self._weight(self._best([-member.weights for member in self.members])), highest

    @cached_property
    def shifts(self) -> tuple[Vector, Vector]:
        """The least and the largest shift of the centroid, ``(d,)`` each."""
        d = len(self.centroid)
        high = np.array([self._largest_shift(j, 1.0) for j in range(d)])
        low = -np.array([self._largest_shift(j, -1.0) for j in range(d)])
        return low, high

    def _largest_shift(self, j: int, sign: float) -> float:
        """The maximum of ``sign h_cj``; see the module's docstring."""
        if self.can_be_empty:
            return max(float(member.farthest(j, sign)[k]) for member in self.members for k in member.options)
        choice = [0] * len(self.members)
        ratio = self._shift(choice, j, sign)
        while True:
            choice = self._best([member.weights * (member.farthest(j, sign) - ratio) for member in self.members])
            better = self._shift(choice, j, sign)
            if better <= ratio:
                return ratio
            ratio = better

    def _best(self, values: Sequence[Vector]) -> list[int]:
        """The options that make the sum of ``values`` (one array per member) largest within the cap."""
        best = [int(np.argmax(value)) for value in values]
        gains = np.array([value[k] - value[0] for value, k in zip(values, best, strict=True)])
        if self.cap is not None and self.cap < len(best):
            for i in np.argsort(-gains, kind="stable")[self.cap :]:
                best[i] = 0
        return best

    def _weight(self, choice: Sequence[int]) -> float:
        return self.fixed_weight + sum(float(m.weights[k]) for m, k in zip(self.members, choice, strict=True))

    def _shift(self, choice: Sequence[int], j: int, sign: float) -> float:
        moments = (float(m.weights[k] * m.farthest(j, sign)[k]) for m, k in zip(self.members, choice, strict=True))
        return (sign * float(self.fixed_moment[j]) + sum(moments)) / self._weight(choice)


def acting_option(change: ChangeSet) -> Option:
    """To act by a change: the record as it is, and what acting costs beside the length of the change."""
    x, cost = tuple(change.x.tolist()), change.fixed_cost + float(change.cost_kind is CostKind.COUNT)
    return Option(OptionKind.CHANGE, x, change.y, change.s, cost)


def moving_classes(problem: RecourseProblem, changes: Changes = NO_CHANGES) -> dict[int, MovingClass]:
    """The classes with options of members, by code."""
    found = {}
    for c in range(len(problem.classes or ())):
        moving = _moving_class(problem, c, changes)
        if moving.members:
            found[c] = moving
    return found


def _moving_class(problem: RecourseProblem, c: int, changes: Changes) -> MovingClass:
    records = problem.records
    centroid = present_centroids(problem)[c]
    fixed = records.y == c
    weight = float(records.s[fixed].sum())
    fixed[[member.record for member in problem.collective.members]] = False
    contributions = [
        _contribution(problem.admissible_options(member), changes.get(member.record, ()), member.record, c, centroid)
        for member in problem.collective.members
    ]
    # F_c = sum s_i (x_i - mubar_c) over the others, in the form that makes the shift exactly 0 where all stay: rounding
    # would leave rows that are all but parallel to those of the weights, and presolve divides by the difference.
    moment = -sum((one.weights[0] * one.offsets[0] for one in contributions), np.zeros(problem.d))
    return MovingClass(
        weight,
        centroid,
        float(records.s[fixed].sum()),
        moment,
        tuple(contribution for contribution in contributions if contribution.options),
        problem.collective.budget.members,
    )


def _contribution(
    finite: Sequence[Option], changes: Sequence[ChangeSet], record: int, c: int, centroid: Vector
) -> Contribution:
    options = (*finite, *map(acting_option, changes))
    weights = np.array([option.s if option.y == c else 0.0 for option in options])
    offsets = np.array([option.x for option in options]) - centroid
    low, high = offsets.copy(), offsets.copy()
    for k, change in enumerate(changes, start=len(finite)):
        low[k] += change.lower
        high[k] += change.upper
    return Contribution(record, weights, offsets, low, high)


def present_centroids(problem: RecourseProblem) -> Matrix:
    """Of the records as they are, ``(classes, d)``."""
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    return np.array([np.average(X[y == c], axis=0, weights=s[y == c]) for c in range(len(problem.classes or ()))])


# -- the program ---


@dataclass(frozen=True)
class CentroidProgram(PyomoProgram):
    """A program that SCIP solves with :data:`SCIP_SETTINGS`."""

    def run(self, request: Request) -> Claim:
        from oar_opt.solvers import run_pyomo

        return run_pyomo(self, request, SCIP_SETTINGS)


def _dropped(moving: MovingClass, unit: Vector) -> float:
    """How far, in its unit and over all features, members can move a centroid by coefficients below :data:`DROPPED`."""
    total = 0.0
    for member in moving.members:
        weights = member.weights[:, None] / moving.weights[0] / unit
        sizes = (
            weights * np.abs(member.offsets),
            weights * np.maximum(member.high - member.offsets, member.offsets - member.low),
        )
        total += sum(float(np.where(size <= DROPPED, size, 0.0).max(axis=0).sum()) for size in sizes)
    return total


@dataclass(frozen=True)
class Units:
    """What the program measures in: ``shift[c] (d,)`` per class, ``margin``; margins are raised by ``slack`` of it."""

    shift: Mapping[int, Vector]
    margin: float
    slack: float

    @classmethod
    def of(cls, problem: RecourseProblem, classes: Mapping[int, MovingClass]) -> Units:
        found = cls.within(problem, {c: (one.centroid, *one.shifts) for c, one in classes.items()})
        dropped = sum(_dropped(classes[c], unit) for c, unit in found.shift.items())
        return replace(found, slack=found.slack + OF_DROPPED * dropped)

    @classmethod
    def within(cls, problem: RecourseProblem, classes: Mapping[int, tuple[Vector, Vector, Vector]]) -> Units:
        """For classes with these centroids and their least and largest shifts, ``(d,)`` each."""
        subjects = np.array([subject.x for subject in (*problem.queries, *problem.guards)])
        farthest = max((float(np.abs(subjects - centroid).max()) for centroid, _, _ in classes.values()), default=0.0)
        reach = {c: np.maximum(np.abs(low), np.abs(high)) for c, (_, low, high) in classes.items()}
        longest = max([SMALLEST * farthest, *(float(shift.max()) for shift in reach.values())]) or 1.0
        units = {c: np.maximum(shift, SMALLEST * longest) for c, shift in reach.items()}
        return cls(units, longest * max(2 * farthest, longest), TOLERANCE * (2 * problem.d + 3))

    def measured(self, problem: RecourseProblem) -> RecourseProblem:
        """The problem with all required margins, and the tolerance for them, in the unit of margins."""

        def of(subject: Query) -> Query:
            return replace(subject, required=None if subject.required is None else subject.required / self.margin)

        tolerance = replace(problem.tolerances, feasibility=problem.tolerances.feasibility / self.margin)
        queries, guards = tuple(map(of, problem.queries)), tuple(map(of, problem.guards))
        return replace(problem, queries=queries, guards=guards, tolerances=tolerance)


@dataclass(frozen=True)
class Box:
    """The proved intervals of ``omega_c`` and of the shift ``h_c``, ``(d,)`` each end, as the program measures them.

    They are widened, or a solver's presolve takes an end within its tolerances for reached.
    """

    low: Vector
    high: Vector
    inverse: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def of(cls, moving: MovingClass, unit: Vector) -> Box:
        least, most = moving.weights
        inverse = moving.weight / most * (1 - WIDENING), moving.weight / least * (1 + WIDENING)
        return replace(cls.within(*moving.shifts, unit), inverse=inverse)

    @classmethod
    def within(cls, low: Vector, high: Vector, unit: Vector) -> Box:
        """Of shifts between these."""
        low, high = low / unit, high / unit
        return cls(low - WIDENING * (1 + np.abs(low)), high + WIDENING * (1 + np.abs(high)))


class ShiftModel(MenuModel):
    """A :class:`MenuModel` with the shifts of all centroids that members can change; a subclass says what they are.

    Parameters
    ----------
    problem, request : as of a :class:`MenuModel`.
    units : what shifts and margins are measured in.
    boxes : the proved intervals of shifts, of the classes that can move.
    centroids : before anyone acts, ``(classes, d)``.
    """

    def __init__(
        self,
        problem: RecourseProblem,
        request: Request,
        units: Units,
        boxes: Mapping[int, Box],
        centroids: Matrix,
    ) -> None:
        self.units, self.boxes, self.centroids = units, boxes, centroids
        super().__init__(units.measured(problem), request)
        if problem.goal is GoalKind.MAX_MARGIN and self.cutoff is not None:
            self.cutoff /= units.margin

    @property
    def codes(self) -> range:
        return range(len(self.problem.classes or ()))

    def program(self) -> PyomoProgram:
        self.add_choices()
        self.add_changes()
        self.add_budgets()
        self.add_shifts()
        self._add_squares()
        self.add_cuts()
        self.add_loss_limit()
        self.add_goal()
        if self.problem.goal is GoalKind.MAX_MARGIN:
            self.model.goal.set_value(self.units.margin * self.model.margin)
        return CentroidProgram(
            model=self.model,
            read=self.read,
            start=self.start,
            meanings=self.meanings(),
            bounds=self.proved(),
            needs=NEEDS,
            quantities=self.quantities(),
        )

    # -- rows ---

    def add_changes(self) -> None:
        """Variables and rows of the changes of features; finite options have none."""

    @abstractmethod
    def add_shifts(self) -> None:
        """``h_cj`` (``shift[c,j]``), in its unit, of all choices."""

    def add_cuts(self) -> None:
        """Rows that hold for all changes and help the solver; none for finite options."""

    def add_loss_limit(self) -> None:
        """``max_loss_increase``, where a statement knows it."""

    def _add_squares(self) -> None:
        """``p_cj`` (``square[c,j]``), in the unit's square, held on the sides that matter."""
        m, places = self.model, self._coordinates()
        wanted = {int(subject.target) for subject in (*self.problem.queries, *self.problem.guards)}
        limited = self.problem.max_loss_increase is not None
        above = [(c, j) for c, j in places if limited or c in wanted]
        below = [(c, j) for c, j in places if wanted - {c}]

        def largest(_: Any, c: int, j: int) -> tuple[float, float]:
            box = self.boxes[c]
            return 0.0, max(float(box.low[j]) ** 2, float(box.high[j]) ** 2)

        m.square = pyo.Var(places, bounds=largest)
        m.square_above = pyo.Constraint(above, rule=lambda m, c, j: m.shift[c, j] ** 2 - m.square[c, j] <= 0)
        m.square_below = pyo.Constraint(below, rule=lambda m, c, j: m.square[c, j] - m.shift[c, j] ** 2 <= 0)

    def _coordinates(self) -> list[tuple[int, int]]:
        return [(c, j) for c in self.boxes for j in range(self.problem.d)]

    def _squared_length(self, c: int) -> Any:
        return dot(
            self.units.shift[c] ** 2 / self.units.margin, [self.model.square[c, j] for j in range(self.problem.d)]
        )

    # -- margins, in their unit ---

    def margin(self, place: int, subject: Query) -> Margin:
        t = int(subject.target)
        others = [c for c in self.codes if c != t]
        low, high = self._ends(t, subject)
        ends = [self._ends(c, subject) for c in others]
        lowest, highest = min(end[0] for end in ends) - high, min(end[1] for end in ends) - low
        raised = self.units.slack - self._distance(t, subject)
        parts = tuple(self._distance(c, subject) + raised for c in others)
        return Margin(parts, lowest - WIDENING * (1 + abs(lowest)), highest + WIDENING * (1 + abs(highest)))

    def _ends(self, c: int, subject: Query) -> tuple[float, float]:
        """An interval of the squared distance to the centroid of class ``c``."""
        a = np.array(subject.x) - self.centroids[c]
        low = high = np.zeros(len(a))
        if c in self.boxes:
            low, high = (end * self.units.shift[c] for end in (self.boxes[c].low, self.boxes[c].high))
        nearest, farthest = a - np.clip(a, low, high), np.maximum(np.abs(a - low), np.abs(a - high))
        return float(nearest @ nearest) / self.units.margin, float(farthest @ farthest) / self.units.margin

    def _distance(self, c: int, subject: Query) -> Any:
        a = np.array(subject.x) - self.centroids[c]
        present = float(a @ a) / self.units.margin
        if c not in self.boxes:
            return present
        shift = [self.model.shift[c, j] for j in range(self.problem.d)]
        return present - dot(2 * a * self.units.shift[c] / self.units.margin, shift) + self._squared_length(c)

    # -- reading, starting, names ---

    def read(self) -> tuple[tuple[Move, ...], CentroidParameters]:
        """Moves and centroids of the variables' present values."""
        mu = self.centroids.copy()
        for c, j in self._coordinates():
            mu[c, j] += self.units.shift[c][j] * float(self.model.shift[c, j].value)
        return self.read_choice(), CentroidParameters.of(mu)

    @abstractmethod
    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        """Values of variables, by name, for moves."""

    def proved(self) -> dict[str, ProvedBound]:
        """The intervals that rows rest on, as the variables are measured."""
        found = {}
        for c, box in self.boxes.items():
            for j, ends in enumerate(zip(box.low.tolist(), box.high.tolist(), strict=True)):
                found[f"shift[{c},{j}]"] = ProvedBound(*ends, Reason.EXTREME, Reason.EXTREME)
        return found

    def quantities(self) -> dict[str, Quantity]:
        """What every proved interval is about, by its name in :meth:`proved`."""
        places = self._coordinates()
        return {f"shift[{c},{j}]": Quantity(self._words(c, j), self._shift_of(c, j)) for c, j in places}

    def _shift_of(self, c: int, j: int) -> Callable[[Sequence[Move], Parameters], float | None]:
        def value(_: Sequence[Move], parameters: Parameters) -> float | None:
            if not isinstance(parameters, CentroidParameters):
                return None
            return float(parameters.mu[c][j] - self.centroids[c][j]) / float(self.units.shift[c][j])

        return value

    def _words(self, c: int, j: int) -> str:
        label, feature = self.problem.label_of(c), self.problem.features[j].name
        return f"shift of the centroid of '{label}' in '{feature}', in units of {self.units.shift[c][j]:.6g}"

    def meanings(self) -> dict[str, str]:
        words = super().meanings()
        for c, j in self._coordinates():
            words[f"shift[{c},{j}]"] = self._words(c, j)
            words[f"square[{c},{j}]"] = f"square of shift[{c},{j}]"
        return words


class CentroidModel(ShiftModel):
    """Centroids that are re-trained: their shifts by products of choices and class weights."""

    def __init__(self, problem: RecourseProblem, request: Request, changes: Changes = NO_CHANGES) -> None:
        self.changes = changes
        self.moving = moving_classes(problem, changes)
        units = Units.of(problem, self.moving)
        boxes = {c: Box.of(moving, units.shift[c]) for c, moving in self.moving.items()}
        super().__init__(problem, request, units, boxes, present_centroids(problem))
        # Sets are options here, since to act by one gives a class the same weight as an option does.
        self.sets = {}
        self.finite = {record: len(options) for record, options in self.menus}
        self.menus = [
            (record, (*options, *map(acting_option, changes.get(record, ())))) for record, options in self.menus
        ]

    @property
    def loose(self) -> dict[int, MovingClass]:
        """The classes whose weight varies."""
        return {c: moving for c, moving in self.moving.items() if not moving.is_rigid}

    # -- rows ---

    def add_shifts(self) -> None:
        self._add_products()
        self._add_shifts()

    def moment(self, c: int, j: int) -> Any:
        """``omega_c / Sbar_c`` times the sum of ``s_i delta_ij`` over the changes in class ``c``."""
        return 0.0

    def _add_products(self) -> None:
        """``omega_c`` (``inverse[c]``) and ``v_ik`` (``product[i,k]``)."""
        m, moving = self.model, self.loose
        owner = {(i.record, k): c for c, cls in moving.items() for i in cls.members for k in i.options}
        pairs = [pair for pair in self.pairs if pair in owner]
        m.inverse = pyo.Var(list(moving), bounds=lambda _, c: self.boxes[c].inverse)
        m.product = pyo.Var(pairs, bounds=lambda _, i, k: (0.0, self.boxes[owner[i, k]].inverse[1]))
        ends = {pair: self.boxes[owner[pair]].inverse for pair in pairs}
        m.product_low = pyo.Constraint(pairs, rule=lambda m, i, k: m.product[i, k] >= ends[i, k][0] * m.choice[i, k])
        m.product_high = pyo.Constraint(pairs, rule=lambda m, i, k: m.product[i, k] <= ends[i, k][1] * m.choice[i, k])
        others = {(member.record, c): member for c, cls in moving.items() for member in cls.members}
        m.rest_low = pyo.Constraint(list(others), rule=lambda _, i, c: self._rest(c, others[i, c], low=True))
        m.rest_high = pyo.Constraint(list(others), rule=lambda _, i, c: self._rest(c, others[i, c], low=False))
        m.weights = pyo.Constraint(list(moving), rule=lambda _, c: self._weights(c))
        emptied = [c for c, cls in moving.items() if cls.can_be_empty]
        m.defined = pyo.Constraint(emptied, rule=lambda _, c: sum(self._chosen(c)) >= 1)

    def _rest(self, c: int, member: Contribution, *, low: bool) -> Any:
        """``omega_c`` less the member's products, where it chooses no option of the class; else 0."""
        m, record, (least, most) = self.model, member.record, self.boxes[c].inverse
        rest = m.inverse[c] - sum(m.product[record, k] for k in member.options)
        away = 1 - sum(m.choice[record, k] for k in member.options) if member.can_leave else 0.0
        return rest >= least * away if low else rest <= most * away

    def _weights(self, c: int) -> Any:
        moving = self.moving[c]
        return self._share(c, moving.fixed_weight, [member.weights for member in moving.members]) == 1

    def _share(self, c: int, fixed: float, values: Sequence[Vector]) -> Any:
        """``(fixed omega_c + sum values_ik v_ik) / Sbar_c``, with one array of values per member of the class."""
        m, moving = self.model, self.moving[c]
        part, whole = (m.choice, 1.0) if moving.is_rigid else (m.product, m.inverse[c])
        terms = [
            float(value[k]) / moving.weight * part[member.record, k]
            for member, value in zip(moving.members, values, strict=True)
            for k in member.options
        ]
        return fixed / moving.weight * whole + sum(terms)

    def _chosen(self, c: int) -> list[Any]:
        return [self.model.choice[member.record, k] for member in self.moving[c].members for k in member.options]

    def _add_shifts(self) -> None:
        """``h_cj`` (``shift[c,j]``), in its unit."""
        m, places, boxes = self.model, self._coordinates(), self.boxes
        m.shift = pyo.Var(places, bounds=lambda _, c, j: (float(boxes[c].low[j]), float(boxes[c].high[j])))
        m.shift_is = pyo.Constraint(places, rule=lambda m, c, j: row(m.shift[c, j] - self._shift(c, j), "==", 0.0))

    def _shift(self, c: int, j: int) -> Any:
        moving, unit = self.moving[c], float(self.units.shift[c][j])
        moments = [member.weights * member.offsets[:, j] / unit for member in moving.members]
        return self._share(c, float(moving.fixed_moment[j]) / unit, moments) + self.moment(c, j) / unit

    def add_loss_limit(self) -> None:
        problem = self.problem
        if problem.max_loss_increase is None or not self.moving:
            return
        limit = problem.max_loss_increase / self.units.margin + problem.tolerances.feasibility + self.units.slack
        increase = sum(moving.weight * self._squared_length(c) for c, moving in self.moving.items())
        self.model.loss_limit = pyo.Constraint(expr=increase <= limit)

    # -- reading, starting, names ---

    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        """Values of the choices and, where the centroids are known, of all that follows from both."""
        values, m = self.start_choices(moves), self.model
        if not isinstance(parameters, CentroidParameters):
            return values
        mu = np.array(parameters.mu)
        for c, moving in self.moving.items():
            if not moving.is_rigid:
                inverse = moving.weight / self.weight_after(c, moves)
                values[m.inverse[c].name] = inverse
                for member in moving.members:
                    for k in member.options:
                        chosen = values[m.choice[member.record, k].name]
                        values[m.product[member.record, k].name] = inverse * chosen
            for j, shift in enumerate((mu[c] - moving.centroid) / self.units.shift[c]):
                values[m.shift[c, j].name] = float(shift)
                values[m.square[c, j].name] = float(shift) ** 2
        return values

    def picked(self, record: int, move: Move | None) -> int:
        """The option that a move means."""
        return equal_options(dict(self.menus)[record], move)[0]

    def weight_after(self, c: int, moves: Sequence[Move]) -> float:
        """``S_c(z)`` of moves."""
        acting = {move.record: move for move in moves}
        moving = self.moving[c]
        chosen = (self.picked(member.record, acting.get(member.record)) for member in moving.members)
        return moving.fixed_weight + sum(
            float(member.weights[k]) for member, k in zip(moving.members, chosen, strict=True)
        )

    def proved(self) -> dict[str, ProvedBound]:
        ends = {c: self.boxes[c].inverse for c in self.loose}
        found = {f"inverse[{c}]": ProvedBound(*both, Reason.EXTREME, Reason.EXTREME) for c, both in ends.items()}
        return {**found, **super().proved()}

    def quantities(self) -> dict[str, Quantity]:
        found = {f"inverse[{c}]": Quantity(self._inverse_words(c), self._inverse_of(c)) for c in self.loose}
        return {**found, **super().quantities()}

    def _inverse_of(self, c: int) -> Callable[[Sequence[Move], Parameters], float]:
        return lambda moves, _: self.moving[c].weight / self.weight_after(c, moves)

    def _inverse_words(self, c: int) -> str:
        return f"present weight of class '{self.problem.label_of(c)}' divided by its weight"

    def meanings(self) -> dict[str, str]:
        words = super().meanings()
        for c, moving in self.moving.items():
            if not moving.is_rigid:
                words[f"inverse[{c}]"] = self._inverse_words(c)
                words[f"weights[{c}]"] = f"the weight of class '{self.problem.label_of(c)}'"
            for member in () if moving.is_rigid else moving.members:
                for k in member.options:
                    words[f"product[{member.record},{k}]"] = f"inverse[{c}] if choice[{member.record},{k}] is 1, else 0"
        return words
