"""The sets that feature changes come from: one :class:`ChangeSet` for each features action of a member.

A change ``delta (d,)`` of the record ``x`` is in the set if and only if ``x + delta`` obeys every rule of the instance:

- *balls*: ``||delta / scale|| <= radius`` in the action's norm, and what the budgets for one member and in total leave
  of the cost, which is a norm too (``sql2 <= c`` is ``l2 <= sqrt(c)``; ``count`` allows everything or nothing);
- *box*: ``lower <= delta <= upper``, from bounds, directions, fixed features and the balls;
- *grids*: features that move in steps (``step``, whole numbers, 0 and 1) take one of finitely many values;
- *groups*: the entries of a one-hot group sum to what makes the changed record sum to 1;
- *rows*: ``A delta <= b``, the linear constraints among features, an equality as two rows.

A set whose features all move in steps and that has at most :data:`FEW_POINTS` changes is not a set but a menu:
:func:`listed_options`, which :meth:`oar_opt.problem.RecourseProblem.options` hands out beside the other options.

Staying is no change; a member may always stay, also where its record breaks a rule, and then the set may well not hold
0. Programs, heuristics and relaxations are written against this class, so that they all mean the same rules;
:mod:`oar_opt.rules` and :mod:`oar_opt.verification` check the answers on their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oar_opt.errors import UnsupportedError
from oar_opt.problem import (
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    FeatureType,
    Flags,
    Indices,
    Matrix,
    Member,
    Move,
    Norm,
    Option,
    OptionKind,
    RecourseProblem,
    Sense,
    Vector,
)
from oar_opt.rules import ROUNDING, domain_violation

MOST_VALUES = 10_000
"""Of one feature that moves in steps."""
FEW_POINTS, MOST_PARTS = 1000, 100_000
"""Changes of one member that make a menu; parts of changes that are looked at to find them."""
SAME = 1e-12
"""Changes are nothing below that, relative to the feature's size."""
HIDDEN = 2e-15
"""Of the sizes of a row's terms, what rounding may hide."""
SHRUNK = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""Shares of a solver's changes that may be given up so that budgets and radii hold to the last digit."""
LOOSE = 1e-6
"""Over scaled features, how far rows and groups must be out of reach for a set to count as empty."""


@dataclass(frozen=True)
class Ball:
    """``|| delta / scale ||_norm <= radius``."""

    norm: Norm
    radius: float


@dataclass(frozen=True)
class Group:
    """A one-hot group: its columns, and what their changes must sum to."""

    columns: Indices
    total: float


@dataclass(frozen=True, eq=False)
class ChangeSet:
    """See the module's docstring. ``grids[j]`` are the changes that feature ``j`` may make, ascending, or None.

    ``fixed_cost`` is what acting costs beside the length of the change.
    """

    record: int
    x: Vector
    y: float
    s: float
    scales: Vector
    balls: tuple[Ball, ...]
    lower: Vector
    upper: Vector
    grids: tuple[Vector | None, ...]
    groups: tuple[Group, ...]
    A: Matrix
    b: Vector
    cost_kind: CostKind
    fixed_cost: float

    @property
    def d(self) -> int:
        return len(self.x)

    @property
    def movable(self) -> Flags:
        """The features that have room to move, ``(d,)``."""
        room: Flags = self.upper > self.lower
        return room

    @property
    def is_discrete(self) -> bool:
        """Whether any feature moves in steps."""
        return any(grid is not None for grid in self.grids)

    def ball(self, norm: Norm) -> float:
        """The radius in a norm; infinite where there is no such ball."""
        return min((ball.radius for ball in self.balls if ball.norm is norm), default=math.inf)

    def cost(self, delta: Vector) -> float:
        """What a change costs its member."""
        return self.fixed_cost + self.cost_kind.of(delta / self.scales)

    def violation(self, delta: Vector) -> float:
        """By how much a change breaks the worst rule, over scaled features; 0 inside."""
        scaled = delta / self.scales
        worst = [float(np.max(np.maximum(self.lower - delta, delta - self.upper) / self.scales, initial=0.0))]
        worst += [ball.norm.of(scaled) - ball.radius for ball in self.balls]
        for j, grid in enumerate(self.grids):
            if grid is not None:
                worst.append(float(np.abs(grid - delta[j]).min()) / float(self.scales[j]))
        worst += [abs(float(delta[group.columns].sum()) - group.total) for group in self.groups]
        if len(self.b):
            sizes = np.abs(self.A)
            # The record's own rounding is in every row, and on large records more than the tolerance on a change.
            hidden = HIDDEN * (sizes @ (np.abs(self.x) + np.abs(delta)) + np.abs(self.b))
            lengths = np.maximum(1e-300, sizes @ self.scales)
            worst.append(float(np.max((self.A @ delta - self.b - hidden) / lengths)))
        return max(0.0, *worst)

    def points(self, most: int) -> Matrix | None:
        """All changes, ``(m, d)``; None where a feature moves continuously, or where there are more than ``most``."""
        if any(grid is None for grid, room in zip(self.grids, self.movable, strict=True) if room):
            return None
        found = np.zeros((1, self.d))
        for j, grid in enumerate(self.grids):
            values = np.array([self.lower[j]]) if grid is None else grid
            if len(found) * len(values) > MOST_PARTS:
                return None
            found = np.repeat(found, len(values), axis=0)
            found[:, j] = np.tile(values, len(found) // len(values))
            for ball in self.balls:
                lengths = ball.norm.of_rows(found / self.scales)
                found = found[lengths <= ball.radius + ROUNDING * max(1.0, ball.radius)]
        found = np.array([delta for delta in found if self.violation(delta) <= ROUNDING]).reshape(-1, self.d)
        return found if len(found) <= most else None

    def move(self, delta: Vector) -> Move | None:
        """The move that makes this change, set exactly on bounds and grids nearby; None where nothing changes."""
        near = np.clip(delta, self.lower, self.upper)
        for j, grid in enumerate(self.grids):
            if grid is not None:
                near[j] = grid[int(np.abs(grid - near[j]).argmin())]
        after = self.x + near
        for j, grid in enumerate(self.grids):
            if grid is not None and abs(after[j] - round(after[j])) <= ROUNDING * max(1.0, abs(after[j])):
                after[j] = round(after[j])
        still = np.abs(after - self.x) <= SAME * np.maximum(1.0, np.abs(self.x))
        after[still] = self.x[still]
        if still.all():
            return None
        scaled = (after - self.x) / self.scales
        cost = self.fixed_cost + self.cost_kind.of(scaled)
        return Move(self.record, tuple(float(value) for value in after), self.y, self.s, cost)


def change_sets(problem: RecourseProblem, member: Member) -> tuple[ChangeSet, ...]:
    """The sets of a member's features actions, without those that are menus, and without those that hold no change
    because of their box, their rows and their groups (with the balls they may still leave nothing).

    Raises
    ------
    UnsupportedError : a feature that moves in steps has more than :data:`MOST_VALUES` values in reach.
    """
    return tuple(one for one in _all_sets(problem, member) if one.points(FEW_POINTS) is None and not _is_empty(one))


def listed_options(problem: RecourseProblem, member: Member) -> tuple[Option, ...]:
    """The changes of those sets that are menus, one by one."""
    moves: dict[Move, None] = {}
    for one in _all_sets(problem, member):
        for delta in () if (points := one.points(FEW_POINTS)) is None else points:
            move = one.move(delta)
            if move is not None:
                moves[move] = None
    return tuple(Option(OptionKind.CHANGE, move.x, move.y, move.s, move.cost) for move in moves)


def _is_empty(one: ChangeSet) -> bool:
    """Whether no point of the box comes near to all rows and groups."""
    near = np.clip(np.zeros(one.d), one.lower, one.upper)
    lengths = np.abs(one.A) @ one.scales
    sizes = np.abs(one.A) @ np.abs(one.x) + np.abs(one.b)
    rows, ends = one.A, one.b + LOOSE * np.maximum(lengths, sizes)
    for group in one.groups:
        row = np.zeros(one.d)
        row[group.columns] = 1.0
        rows = np.vstack([rows, row, -row])
        ends = np.append(ends, [group.total + 10 * LOOSE, -group.total + 10 * LOOSE])
    if not len(ends) or (rows @ near <= ends).all():
        return False
    from scipy.optimize import linprog

    size = np.maximum(1e-300, np.abs(rows) @ one.scales)
    box = np.column_stack([one.lower, one.upper]) / one.scales[:, None]
    found = linprog(np.zeros(one.d), rows * one.scales / size[:, None], ends / size, bounds=box, method="highs")
    return bool(found.status == 2)


def _all_sets(problem: RecourseProblem, member: Member) -> list[ChangeSet]:
    found = [_change_set(problem, member.record, action) for action in member.feature_actions]
    return [one for one in found if one is not None]


def _change_set(problem: RecourseProblem, record: int, action: FeatureAction) -> ChangeSet | None:
    records, scales = problem.records, problem.scales
    x, s = records.X[record], float(records.s[record])
    balls = balls_of(problem, action)
    if s == 0 or not balls:
        return None
    radius = min(ball.radius for ball in balls)
    lower, upper = _box(problem.features, x, radius * scales)
    grids = tuple(_grid(f, float(x[j]), lower[j], upper[j]) for j, f in enumerate(problem.features))
    for j, grid in enumerate(grids):
        if grid is not None and len(grid):
            lower[j], upper[j] = grid[0], grid[-1]
    if (lower > upper).any() or any(grid is not None and not len(grid) for grid in grids):
        return None
    A, b = _rows(problem, x)
    fixed = lower == upper
    if fixed.all() and (domain_violation(problem, x + lower) or not lower.any()):
        return None
    return ChangeSet(
        record=record,
        x=x,
        y=float(records.y[record]),
        s=s,
        scales=scales,
        balls=balls,
        lower=lower,
        upper=upper,
        grids=tuple(None if fixed[j] else grid for j, grid in enumerate(grids)),
        groups=_groups(problem, x),
        A=A,
        b=b,
        cost_kind=problem.collective.cost,
        fixed_cost=action.charge,
    )


def balls_of(problem: RecourseProblem, action: FeatureAction) -> tuple[Ball, ...]:
    """The radius and what the budgets leave of the cost; none where no change is paid for."""
    collective = problem.collective
    limits = [limit for limit in (collective.budget.each, collective.budget.total) if limit is not None]
    left = min(limits, default=math.inf) - action.charge
    radii = {action.norm: action.radius}
    if left < 0 or collective.budget.members == 0 or (collective.cost is CostKind.COUNT and left < 1):
        return ()
    if math.isfinite(left) and collective.cost is not CostKind.COUNT:
        norm = Norm.L2 if collective.cost is CostKind.SQL2 else Norm(collective.cost.value)
        most = math.sqrt(left) if collective.cost is CostKind.SQL2 else left
        radii[norm] = min(most, radii.get(norm, math.inf))
    return tuple(Ball(norm, radius) for norm, radius in radii.items())


def _box(features: tuple[Feature, ...], x: Vector, reach: Vector) -> tuple[Vector, Vector]:
    lower, upper = -reach, reach.copy()
    for j, feature in enumerate(features):
        if feature.is_fixed or feature.direction is Direction.INCREASE:
            lower[j] = 0.0
        if feature.is_fixed or feature.direction is Direction.DECREASE:
            upper[j] = 0.0
        slack = ROUNDING * max(1.0, abs(x[j]), feature.scale)
        # A record may lie on a bound but for rounding, and then it need not move.
        if feature.lower is not None and x[j] + lower[j] < feature.lower - (slack if lower[j] == 0 else 0.0):
            lower[j] = 0.0 if abs(feature.lower - x[j]) <= slack else feature.lower - x[j]
        if feature.upper is not None and x[j] + upper[j] > feature.upper + (slack if upper[j] == 0 else 0.0):
            upper[j] = 0.0 if abs(feature.upper - x[j]) <= slack else feature.upper - x[j]
    return lower, upper


def _grid(feature: Feature, x: float, lower: float, upper: float) -> Vector | None:
    """The changes in ``[lower, upper]`` of a feature that moves in steps; None of one that moves continuously."""
    whole = feature.type is not FeatureType.CONTINUOUS
    if feature.step is None and not whole:
        return None
    slack = ROUNDING * max(1.0, abs(x), feature.scale)
    if feature.type in (FeatureType.BINARY, FeatureType.CATEGORICAL):
        after = np.array([0.0, 1.0])
    else:
        step = feature.step or 1.0
        first = math.ceil((lower - slack) / step) if feature.step else math.ceil(x + lower - slack) - x
        last = math.floor((upper + slack) / step) if feature.step else math.floor(x + upper + slack) - x
        if last - first > MOST_VALUES:
            raise UnsupportedError(
                f"feature '{feature.name}' has more than {MOST_VALUES} values in reach: "
                "give it closer bounds or a smaller radius, or make it continuous"
            )
        count = max(0, round(last - first) + 1)
        after = x + (step if feature.step else 1.0) * (first + np.arange(count))
    delta: Vector = after - x
    keep = (delta >= lower - slack) & (delta <= upper + slack)
    if whole:
        keep &= np.abs(after - np.round(after)) <= slack
    if feature.step is not None:
        keep &= np.abs(delta / feature.step - np.round(delta / feature.step)) * feature.step <= slack
    delta = delta[keep]
    delta[np.abs(delta) <= slack] = 0.0
    return delta


def _groups(problem: RecourseProblem, x: Vector) -> tuple[Group, ...]:
    names = dict.fromkeys(feature.group for feature in problem.features if feature.group is not None)
    columns = [np.array([j for j, f in enumerate(problem.features) if f.group == name]) for name in names]
    return tuple(Group(index, 1.0 - float(x[index].sum())) for index in columns)


def _rows(problem: RecourseProblem, x: Vector) -> tuple[Matrix, Vector]:
    place = {feature.name: j for j, feature in enumerate(problem.features)}
    rows, ends = [], []
    for constraint in problem.constraints:
        row = np.zeros(problem.d)
        for name, value in constraint.coefficients:
            row[place[name]] += value
        rest = constraint.rhs - float(row @ x)
        if constraint.sense is not Sense.GE:
            rows.append(row)
            ends.append(rest)
        if constraint.sense is not Sense.LE:
            rows.append(-row)
            ends.append(-rest)
    return np.array(rows).reshape(len(rows), problem.d), np.array(ends)
