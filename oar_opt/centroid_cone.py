"""Convex programs over the feature changes of members, for the nearest centroid.

Some members, the *movers*, change their features by ``delta_i`` in a convex set ``D_i`` (the set of
:class:`oar_opt.changes.ChangeSet` with every feature that moves in steps held at one value); everything else is given.
With ``w_i`` a mover's share of its class's weight, the centroid of class ``c`` stands ``h_c = b_c + sum_i w_i delta_i``
away from its present place ``mubar_c``, and with ``a_qc = x_q - mubar_c``

    ||a_qc - h_c||^2 = ||a_qc||^2 - 2 a_qc'h_c + ||h_c||^2.

For the wanted class ``t`` this is bounded above by ``s_t >= ||h_t||^2``, one cone for all subjects. For another class
it must be bounded below by something linear: it is constant where ``c`` has no mover, and otherwise the tangent at a
given shift ``h`` is used,

    ||a_qc - h_c||^2  >=  ||a_qc - h||^2 - 2 (a_qc - h)'(h_c - h),

which makes the program a restriction: what it finds is admissible, and its bound holds for nobody but itself. Without
tangents (no mover in a class that some subject wants to be far) the program is exact.

Goals: the largest margin ``gamma``, the least cost, or the largest *slack* over all required margins. Lengths are
measured in one unit, so that the squares of what matters are at most 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from oar_opt.changes import ChangeSet
from oar_opt.cone_bound import ConePoint, Range, minimise, rows_of
from oar_opt.problem import CostKind, Matrix, Norm, Query, RecourseProblem, Vector
from oar_opt.rules import ROUNDING

WIDER = 1.0 + 1e-9
"""Ranges of variables that only stand for others are wider by that."""


class Aim(StrEnum):
    """What a program asks for."""

    MARGIN = "the largest smallest margin of the queries"
    COST = "the least cost"
    SLACK = "the largest slack of all required margins"


@dataclass(frozen=True, eq=False)
class Mover:
    """A member that changes its features: class, share of the class's weight, and the ends of its change ``(d,)``."""

    change: ChangeSet
    code: int
    share: float
    lower: Vector
    upper: Vector

    @classmethod
    def of(cls, change: ChangeSet, weight: float) -> Mover:
        """A mover that has its whole set, in a class of this weight."""
        return cls(change, int(change.y), change.s / weight, change.lower, change.upper)

    @property
    def farthest(self) -> Vector:
        """The largest size of every scaled coordinate, ``(d,)``."""
        size: Vector = np.maximum(np.abs(self.lower), np.abs(self.upper)) / self.change.scales
        return size


@dataclass(frozen=True, eq=False)
class Given:
    """Everything about a program but its movers.

    ``present (classes, d)`` and ``weights (classes,)`` are centroids and weights before anyone acts, ``base (classes,
    d)`` the shifts without the movers, ``spent`` the cost without that of the changes' lengths. ``required`` are the
    margins that subjects need (those without one need none), raised by ``pad``; balls and the total budget are smaller
    by ``inside``, relatively. ``around`` are the shifts at which other classes' distances are replaced by tangents.
    """

    problem: RecourseProblem
    present: Matrix
    weights: Vector
    base: Matrix
    required: Mapping[str, float]
    spent: float = 0.0
    pad: float = 0.0
    inside: float = 0.0
    around: Matrix | None = None

    @property
    def subjects(self) -> tuple[Query, ...]:
        return (*self.problem.queries, *self.problem.guards)

    def offset(self, subject: Query, c: int) -> Vector:
        """``a_qc``."""
        offset: Vector = np.array(subject.x) - self.present[c]
        return offset


def shifts_of(given: Given, movers: Sequence[Mover], deltas: Matrix) -> Matrix:
    """``h_c`` of all classes for the movers' changes, ``(classes, d)``."""
    shifts = given.base.copy()
    for mover, delta in zip(movers, deltas, strict=True):
        shifts[mover.code] += mover.share * delta
    return shifts


def margins_of(given: Given, shifts: Matrix) -> dict[str, float]:
    """Every subject's margin."""
    found = {}
    for subject in given.subjects:
        away = np.array([given.offset(subject, c) - shift for c, shift in enumerate(shifts)])
        distances, t = (away**2).sum(axis=1), int(subject.target)
        found[subject.name] = float(np.delete(distances, t).min() - distances[t])
    return found


def keeps_loss(given: Given, shifts: Matrix) -> bool:
    """Whether shifts keep ``max_loss_increase`` but for the tolerance, rounding left aside for re-training's own."""
    limit = given.problem.max_loss_increase
    if limit is None:
        return True
    increase = float(given.weights @ (shifts**2).sum(axis=1))
    size = float(given.weights.sum() * np.abs(given.problem.records.X - given.present.mean(axis=0)).max() ** 2)
    return increase <= limit + given.problem.tolerances.feasibility - 1e-13 * size


@dataclass(frozen=True, eq=False)
class Solved:
    """Changes ``(movers, d)``, the program's bound on its aim in the instance's units, and whether it is infeasible."""

    deltas: Matrix
    bound: float
    infeasible: bool
    point: ConePoint


@dataclass(eq=False)
class CentroidCone:
    """One program; see the module's docstring. Subclasses may add to :meth:`parts` and :meth:`cost`."""

    given: Given
    movers: Sequence[Mover]
    aim: Aim
    rows: list[Any] = field(default_factory=list)
    ranges: list[Range] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.unit = self._length()
        self.e_unit = max((float(mover.farthest.max(initial=0.0)) for mover in self.movers), default=0.0) or 1.0
        self.scales = self.given.problem.scales
        self._squares: dict[int, Any] = {}
        self._add_changes()
        self.lengths = self._add_lengths()

    def solve(self, time_limit: float | None = None) -> Solved:
        """Run the program."""
        objective, unit = self._stated()
        point = minimise(objective, self.rows, self.ranges, time_limit)
        deltas = np.zeros((0, self.given.problem.d))
        if self.movers:
            deltas = point.of(self.e) * (self.e_unit * self.scales)
            deltas = np.clip(deltas, *(np.array([getattr(m, end) for m in self.movers]) for end in ("lower", "upper")))
        return Solved(deltas, unit * point.bound, point.infeasible, point)

    def stated(self) -> Any:
        """The program as one of cvxpy, its objective in the instance's units; in place of :meth:`solve`."""
        import cvxpy as cp

        objective, unit = self._stated()
        aim = cp.Minimize(unit * objective) if self.aim is Aim.COST else cp.Maximize(-unit * objective)
        return cp.Problem(aim, rows_of(self.rows, self.ranges))

    def changes(self) -> dict[int, Any]:
        """The expression ``(d,)`` of every mover's change, by record, in the features' own units."""
        import cvxpy as cp

        units = self.e_unit * self.scales
        return {mover.change.record: cp.multiply(self.e[row], units) for row, mover in enumerate(self.movers)}

    def words(self) -> dict[int, Any]:
        """What the entries of variables are, by the variable's id."""
        if not self.movers:
            return {}
        features = [
            (feature.name, self.e_unit * scale)
            for feature, scale in zip(self.given.problem.features, self.scales.tolist(), strict=True)
        ]
        changes = [
            [f"member {mover.change.record}: change of '{name}' in units of {unit:.6g}" for name, unit in features]
            for mover in self.movers
        ]
        return {self.e.id: changes}

    def _stated(self) -> tuple[Any, float]:
        """The objective to minimise and its unit, with all rows written."""
        objective, unit = self._goal()
        self._add_budget()
        self._add_loss_limit()
        return objective, unit

    def variable(self, shape: Any, low: Any, high: Any) -> Any:
        """A variable with its proved ends."""
        import cvxpy as cp

        made = cp.Variable(shape)
        self.ranges.append(Range(made, low, high))
        return made

    # -- what movers may do ---

    def _add_changes(self) -> None:
        """``e`` (movers, d): changes over scales, in a unit of the longest."""
        if not self.movers:
            return
        size = self.e_unit * self.scales
        low = np.array([mover.lower for mover in self.movers]) / size
        high = np.array([mover.upper for mover in self.movers]) / size
        self.e = self.variable(low.shape, low, high)
        for i, mover in enumerate(self.movers):
            for group in mover.change.groups:
                self.rows.append(self.e[i, group.columns] @ size[group.columns] == group.total)
            self._add_rows(i, mover.change, size)
        self._add_balls()

    def _add_rows(self, i: int, change: ChangeSet, size: Vector) -> None:
        for row, end in zip(change.A * size, change.b, strict=True):
            largest = float(np.abs(row).max(initial=0.0))
            if largest > 0:
                self.rows.append((row / largest) @ self.e[i] <= end / largest)

    def _add_balls(self) -> None:
        import cvxpy as cp

        for norm in (Norm.L1, Norm.L2):
            radii = np.array([self._radius(mover, norm) for mover in self.movers])
            index = np.flatnonzero(np.isfinite(radii))
            if not len(index):
                continue
            ends = radii[index] / self.e_unit * (1 - self.given.inside)
            if norm is Norm.L2:
                self.rows.append(cp.SOC(cp.Constant(ends), self.e[index, :].T, axis=0))
            else:
                self.rows.append(cp.sum(self._sizes()[index, :], axis=1) <= ends)

    @staticmethod
    def _radius(mover: Mover, norm: Norm) -> float:
        """Infinite where the box is inside the ball anyway; the box holds every linf ball."""
        radius = mover.change.ball(norm)
        return radius if norm.of(mover.farthest) > radius else math.inf

    def _sizes(self) -> Any:
        """``|e|`` or more."""
        if not hasattr(self, "_absolute"):
            farthest = np.array([mover.farthest for mover in self.movers]) / self.e_unit
            self._absolute = self.variable(farthest.shape, 0.0, farthest * WIDER)
            self.rows += [self.e <= self._absolute, -self.e <= self._absolute]
        return self._absolute

    def _add_lengths(self) -> Any:
        """The movers' costs or more, ``(movers,)``, in units of :attr:`cost_unit`; None where costs do not matter."""
        import cvxpy as cp

        kind = self.given.problem.collective.cost
        if not self.movers or not self.counts_cost or kind is CostKind.COUNT:
            return None
        norm = Norm.L2 if kind is CostKind.SQL2 else Norm(kind.value)
        most = np.array([min(norm.of(m.farthest), m.change.ball(norm)) for m in self.movers]) / self.e_unit
        most = most**2 if kind is CostKind.SQL2 else most
        spent = self.variable(len(self.movers), 0.0, most * WIDER)
        match kind:
            case CostKind.L2:
                self.rows.append(cp.SOC(spent, self.e.T, axis=0))
            case CostKind.SQL2:
                self.rows.append(
                    cp.SOC(spent + 1, cp.vstack([2 * self.e.T, cp.reshape(spent - 1, (1, -1), order="F")]))
                )
            case CostKind.L1:
                self.rows.append(cp.sum(self._sizes(), axis=1) <= spent)
            case _:
                wide = cp.reshape(spent, (-1, 1), order="F") @ np.ones((1, self.given.problem.d))
                self.rows += [self.e <= wide, -self.e <= wide]
        return spent

    @property
    def counts_cost(self) -> bool:
        return self.aim is Aim.COST or self.given.problem.collective.budget.total is not None

    @property
    def cost_unit(self) -> float:
        return self.e_unit**2 if self.given.problem.collective.cost is CostKind.SQL2 else self.e_unit

    def cost(self) -> Any:
        """What the changes cost beside ``spent``, in its unit."""
        import cvxpy as cp

        return 0.0 if self.lengths is None else cp.sum(self.lengths)

    def _add_budget(self) -> None:
        total, cost = self.given.problem.collective.budget.total, self.cost()
        if total is not None and not isinstance(cost, float):
            left = total * (1 - self.given.inside) - self.given.spent
            if 0 > left >= -ROUNDING * max(1.0, total):
                left = 0.0
            self.rows.append(cost <= left / self.cost_unit)

    # -- shifts and margins ---

    def _length(self) -> float:
        """The unit of lengths: the longest of all distances and shifts that matter."""
        given = self.given
        reach: Matrix = np.abs(given.base)
        for mover in self.movers:
            reach[mover.code] += mover.share * np.maximum(np.abs(mover.lower), np.abs(mover.upper))
        longest = float(np.linalg.norm(reach, axis=1).max())
        offsets = [np.linalg.norm(given.offset(q, c)) for q in given.subjects for c in range(len(given.present))]
        self.reach = reach
        return max(longest, float(max(offsets))) or 1.0

    def moves(self, c: int) -> bool:
        """Whether a class has movers."""
        return any(mover.code == c for mover in self.movers)

    def shift(self, c: int) -> Any:
        """``h_c`` in the unit of lengths."""
        base = self.given.base[c] / self.unit
        index = np.array([i for i, mover in enumerate(self.movers) if mover.code == c], dtype=int)
        if not len(index):
            return base
        shares = np.array([self.movers[i].share for i in index])
        to_unit = np.diag(self.e_unit * self.scales / self.unit)
        return (shares @ self.e[index, :]) @ to_unit + base

    def square(self, c: int) -> Any:
        """``s_c``: ``||h_c||^2`` or more."""
        import cvxpy as cp

        if not self.moves(c):
            return float(np.sum((self.given.base[c] / self.unit) ** 2))
        if c not in self._squares:
            most = float(np.sum((self.reach[c] / self.unit) ** 2)) * WIDER
            above = self.variable((), 0.0, most)
            self.rows.append(cp.SOC(above + 1, cp.hstack([2 * self.shift(c), above - 1])))
            self._squares[c] = above
        return self._squares[c]

    def _near(self, subject: Query) -> Any:
        """The squared distance to the wanted class's centroid, or more."""
        t = int(subject.target)
        a = self.given.offset(subject, t) / self.unit
        return float(a @ a) - 2 * (a @ self.shift(t)) + self.square(t)

    def _far(self, subject: Query, c: int) -> Any:
        """The squared distance to another class's centroid, or less."""
        a, h = self.given.offset(subject, c) / self.unit, self.given.base[c] / self.unit
        if self.moves(c):
            assert self.given.around is not None
            h = self.given.around[c] / self.unit
        tangent = -2 * (a - h) @ (self.shift(c) - h) if self.moves(c) else 0.0
        return float((a - h) @ (a - h)) + tangent

    def parts(self, subject: Query) -> list[Any]:
        """Expressions whose least is at most the subject's margin."""
        others = [c for c in range(len(self.given.present)) if c != int(subject.target)]
        near = self._near(subject)
        return [self._far(subject, c) - near for c in others]

    def _demand(self, subject: Query, slack: Any = 0.0) -> None:
        needed = (self.given.required[subject.name] + self.given.pad) / self.unit**2
        for part in self.parts(subject):
            self._at_least(part, needed + slack)

    def _at_least(self, part: Any, value: Any) -> None:
        import cvxpy as cp

        # A part without variables is a number, and cvxpy would drop a row that does not hold.
        self.rows.append(cp.Constant(0.0) + part >= value)

    def _goal(self) -> tuple[Any, float]:
        """The objective to minimise and what its unit is in the instance's; rows of all margins are added."""
        demanded = [subject for subject in self.given.subjects if subject.name in self.given.required]
        if self.aim is Aim.COST:
            for subject in demanded:
                self._demand(subject)
            return self.cost(), self.cost_unit
        # Squares of distances are at most (1 + 1)^2 in their unit, and required margins may lie beyond.
        asked = max((abs(self.given.required[subject.name]) for subject in demanded), default=0.0) / self.unit**2
        gamma = self.variable((), -5.0 - asked, 5.0 + asked)
        for subject in demanded:
            self._demand(subject, gamma if self.aim is Aim.SLACK else 0.0)
        if self.aim is Aim.MARGIN:
            for query in self.given.problem.queries:
                for part in self.parts(query):
                    self._at_least(part, gamma)
        return -gamma, self.unit**2

    def _add_loss_limit(self) -> None:
        limit = self.given.problem.max_loss_increase
        if limit is None:
            return
        heaviest = float(self.given.weights.max())
        increase = sum(float(weight) / heaviest * self.square(c) for c, weight in enumerate(self.given.weights))
        allowed = (limit + self.given.problem.tolerances.feasibility) / heaviest / self.unit**2
        if not isinstance(increase, float):
            self.rows.append(increase <= allowed - self.given.inside)
