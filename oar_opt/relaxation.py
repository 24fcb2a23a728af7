"""A linear relaxation of menus that knows the learner's duality; it gives bounds on the goal and on every quantity.

Letters of :mod:`oar_opt.risk`. The relaxation lives in a *region*: a box of ``theta``, intervals of the decision
values, and for each member the options that are still allowed. It holds for every admissible choice of allowed options
whose learner's optimum lies in the region and whose goal is at least as good as the *cutoff*. A member with one allowed
option counts among the records that are certain; for the others there are ``z_ik`` in [0, 1] and copies ``W_ik = z_ik
theta``:

- ``sum_k z_ik = 1``, ``sum_k W_ik = theta``, ``W_ik`` in ``z_ik`` times the box of ``theta``;
- ``(f_ik, g_ik)`` with ``f_ik = xhat_ik' W_ik`` in ``z_ik`` times the convex hull of the graph of the pull over the
  interval of ``f_ik``, and likewise ``(f_i, g_i)`` of every certain record, whose ``z`` is 1;
- stationarity, budgets, required margins and guards, and the goal at least as good as the cutoff;
- ``sum_i s_i l(y_i, xhat_i' theta)`` over the records as they are at most the limit that ``max_loss_increase`` sets;
- **strong duality**. By the Fenchel-Young inequality ``a l(f) + (a l)*(g) >= f g``, with equality on the graph, and
  ``sum_i f_i g_i = -r'theta`` by stationarity, ``r`` the gradient of the penalty. So at the learner's optimum

      sum_i [ a_i l(f_i) + (a_i l)*(g_i) ] + r'theta <= 0,      r = lam R (theta - theta0),

  which is one convex constraint. Where the pull is constant or a line over the whole interval, ``f g`` itself takes
  the place of the record's bracket. With the penalty ``lam sum_j rho_j |theta_j - theta0_j|`` the same argument for the
  penalty turns ``r'theta`` into ``lam sum_j rho_j |theta_j - theta0_j| + r'theta0`` with ``|r_j| <= lam rho_j``.

For choices that are settled (all ``z`` 0 or 1) stationarity and strong duality together say that ``theta`` is an
optimum of the learner, whatever the boxes; for the others the boxes' widths are what the relaxation loses.

The convex terms enter through tangents, those of an option multiplied by its ``z``: some at once, others where a
solution violates them. The quadratic form of ``theta`` is split along its principal axes, so that each tangent cuts one
square only and few of them do.

Size: with ``K`` undecided options and ``m`` certain records whose graph keeps several segments, ``p + K (p + 6) + 4 m``
columns at most, and about as many rows.

Reference: S. Ceria, J. Soares, "Convex programming for disjunctive convex optimization", 1999 (copies and
perspectives); M. Tawarmalani, N. Sahinidis, "A polyhedral branch-and-cut approach to global optimization", 2005 (why
separable squares are split).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oar_opt.bounds import Interval, ParameterBounds
from oar_opt.linear_program import LinearProgram, Terms, Triplets, along
from oar_opt.problem import Flags, GoalKind, Indices, Matrix, Query, RecourseProblem, Vector
from oar_opt.risk import Line, PenaltyNorm, line_over
from oar_opt.rules import with_rounding

WIDENING = 1e-6
VIOLATED = 1e-6
"""A tangent is added where a convex term is off by this, relative to the size of its function."""
SAME = 1e-12
SETTLED, SMALL = 1e-4, 1e-3
"""Tangents are added while the bound gains this share of its size, which counts as at least ``SMALL``."""


@dataclass(frozen=True)
class Region:
    """Where a relaxation holds: ends of ``theta (p,)``, of the fixed records' ``f (m,)`` and of the options' ``f (K,)``
    (given that the option is chosen), the allowed options ``(K,)``, and the margin that ``max_margin`` asks for, from
    ``floor`` to ``cap``."""

    theta: tuple[Vector, Vector]
    fixed: tuple[Vector, Vector]
    options: tuple[Vector, Vector]
    allowed: Flags
    floor: float = -math.inf
    cap: float = math.inf

    @classmethod
    def of(cls, problem: RecourseProblem, bounds: ParameterBounds) -> Region:
        """Everything that ``bounds`` has proved."""

        def ends(box: Interval) -> tuple[Vector, Vector]:
            return box.lower.copy(), box.upper.copy()

        return cls(
            ends(bounds.along(np.eye(bounds.risk.p))),
            ends(bounds.of_fixed),
            ends(bounds.of_options),
            np.ones(len(bounds.owner), dtype=bool),
        )

    @property
    def is_bounded(self) -> bool:
        return all(np.isfinite(end).all() for ends in (self.theta, self.fixed, self.options) for end in ends)

    def with_theta(self, low: Vector, high: Vector, bounds: ParameterBounds) -> Region:
        """With another box of ``theta``, and the decision values that it leaves."""
        return replace(
            self,
            theta=(low, high),
            fixed=_within(self.fixed, bounds.fixed.xhat, low, high),
            options=_within(self.options, bounds.stacked.xhat, low, high),
        )


def _within(ends: tuple[Vector, Vector], rows: Matrix, low: Vector, high: Vector) -> tuple[Vector, Vector]:
    """Ends of ``rows @ theta`` improved by a box of ``theta``."""
    middle, half = rows @ ((low + high) / 2), np.abs(rows) @ ((high - low) / 2)
    margin = 1e-9 * (1 + np.abs(middle) + half)
    return np.maximum(ends[0], middle - half - margin), np.minimum(ends[1], middle + half + margin)


@dataclass(frozen=True)
class _Shapes:
    """Occurrences whose graph is one line over the interval of ``f`` (``slope`` and ``offset`` with the weight), and
    all others."""

    line: Indices
    slope: Vector
    offset: Vector
    general: Indices


@dataclass(frozen=True)
class Square:
    """A column above ``weight * t^2 / z`` with ``t = direction'columns``; ``z`` None stands for 1."""

    column: int
    weight: float
    columns: tuple[int, ...]
    direction: tuple[float, ...]
    z: int | None

    def tangent(self, t: float) -> Terms:
        """``column - weight (2 t0 t - t0^2 z)``, to be at least 0 (with the constant on the right for ``z`` 1)."""
        terms = [(self.column, 1.0)]
        terms += [(c, -2 * self.weight * t * v) for c, v in zip(self.columns, self.direction, strict=True) if t * v]
        if self.z is not None:
            terms.append((self.z, self.weight * t * t))
        return terms


@dataclass(frozen=True)
class Curve:
    """A general record: columns of ``f``, ``g``, loss and conjugate (None where it is linear), and of ``z`` or None."""

    y: float
    a: float
    low: float
    high: float
    f: int
    g: int
    loss: int | None
    conjugate: int | None
    z: int | None


class Relaxation:
    """The linear program over one region. ``theta``, ``choice`` and ``margin`` are column numbers (-1: none).

    ``groups`` names all columns in their order, ``lower`` and ``upper`` are their ends, ``integer`` marks those that
    the program relaxes; ``rows`` are the rows before scaling and further tangents, ``duality`` is that of strong
    duality; ``squares`` and ``curves`` are the convex terms that tangents stand for.
    """

    def __init__(
        self,
        problem: RecourseProblem,
        bounds: ParameterBounds,
        region: Region,
        cutoff: float | None,
        loss_limit: float | None = None,
    ) -> None:
        self.loss_limit = loss_limit
        self.problem, self.bounds, self.risk, self.region = problem, bounds, bounds.risk, region
        self.p = self.risk.p
        self._low: list[Vector] = []
        self._high: list[Vector] = []
        self._width = 0
        self.groups: list[tuple[str, int]] = []
        self._rows = Triplets()
        self._squares: list[Square] = []
        self._curves: list[Curve] = []
        self._quadratic = np.zeros((self.p, self.p))
        self._linear = np.zeros(self.p)
        self._target = np.zeros(self.p)
        self.theta = self._columns("theta", *region.theta)
        self._stationarity = self._rows.add(0.0, 0.0, self.p)
        self._duality = self._rows.add(-math.inf, 0.0, 1)
        self._duality_constant = 0.0
        self._add_penalty()
        self._add_choices()
        self._add_certain()
        self._add_undecided()
        self._close_quadratic()
        self._add_budgets()
        self.goal = self._add_goal(cutoff)
        lower, upper = np.concatenate(self._low), np.concatenate(self._high)
        integer = np.zeros(self._width, dtype=bool)
        integer[self.z] = True
        integer[self.reached[self.reached >= 0]] = True
        self.lower, self.upper, self.integer = lower, upper, integer
        self.rows, self.duality, self.squares, self.curves = self._rows, self._duality, self._squares, self._curves
        self.program = LinearProgram(lower, upper, self._rows, integer)

    # -- columns ---

    def _columns(self, group: str, low: Vector, high: Vector) -> Indices:
        size = len(low)
        self.groups.append((group, size))
        self._low.append(np.asarray(low, dtype=float))
        self._high.append(np.asarray(high, dtype=float))
        self._width += size
        found: Indices = np.arange(self._width - size, self._width, dtype=np.int64)
        return found

    def _column(self, group: str, low: float, high: float) -> int:
        return int(self._columns(group, np.array([low]), np.array([high]))[0])

    # -- the learner ---

    def _add_penalty(self) -> None:
        risk = self.risk
        theta0 = np.array(risk.theta0)
        if risk.norm is PenaltyNorm.L2:
            self._quadratic += risk.lam * np.diag(risk.penalty)
            self._linear -= risk.lam * risk.penalty * theta0
            self._target += risk.lam * risk.penalty * theta0
            return
        reach = risk.lam * risk.penalty
        low, high = self.region.theta
        pull_low = np.where(low > theta0, reach, -reach)
        pull_high = np.where(high < theta0, -reach, reach)
        pull = self._columns("penalty_pull", pull_low, pull_high)
        far = np.maximum(np.abs(low - theta0), np.abs(high - theta0))
        size = self._columns("distance", np.zeros(self.p), far)
        for sign in (1.0, -1.0):
            rows = self._rows.add(-sign * theta0, math.inf, self.p)
            self._rows.put(rows, size, 1.0)
            self._rows.put(rows, self.theta, -sign)
        self._rows.put(self._stationarity, pull, 1.0)
        self._rows.put(self._duality, size, reach)
        self._rows.put(self._duality, pull, theta0)

    def _add_choices(self) -> None:
        """``z`` and the copies of every option of an undecided member."""
        bounds, region, rows = self.bounds, self.region, self._rows
        count = np.bincount(bounds.owner[region.allowed], minlength=len(bounds.members))
        self.empty = bool((count == 0).any())
        self.undecided = np.flatnonzero(region.allowed & (count[bounds.owner] > 1))
        self.certain = np.flatnonzero(region.allowed & (count[bounds.owner] == 1))
        low, high = region.theta
        size = len(self.undecided)
        self.choice = np.full(len(bounds.owner), -1)
        self.choice[self.undecided] = self._columns("choice", np.zeros(size), np.ones(size))
        self.z = self.choice[self.undecided]
        width = high - low
        flat = self._columns("copy", np.zeros(size * self.p), np.tile(width, size))
        self.copies = flat.reshape(size, self.p)
        caps = rows.add(-math.inf, 0.0, size * self.p)
        rows.put(caps, flat, 1.0)
        rows.put(caps, np.repeat(self.z, self.p), -np.tile(width, size))
        owners, place = np.unique(bounds.owner[self.undecided], return_inverse=True)
        one = rows.add(1.0, 1.0, len(owners))
        rows.put(one[place], self.z, 1.0)
        # theta = sum_k (z_k low + V_k) = low + sum_k V_k
        joined = rows.add(np.tile(low, len(owners)), np.tile(low, len(owners)), len(owners) * self.p)
        joined = joined.reshape(len(owners), self.p)
        rows.put(joined, self.theta[None, :], 1.0)
        rows.put(joined[place], self.copies, -1.0)

    def _shapes(self, y: Vector, a: Vector, low: Vector, high: Vector) -> _Shapes:
        line, slope, offset, general = [], [], [], []
        for r in range(len(y)):
            found = (
                line_over(self.risk.loss.pieces(float(y[r])), float(low[r]), float(high[r])) if a[r] > 0 else NOTHING
            )
            if found is None:
                general.append(r)
            else:
                line.append(r)
                slope.append(a[r] * found.slope)
                offset.append(a[r] * found.offset)
        return _Shapes(
            np.array(line, dtype=np.int64), np.array(slope), np.array(offset), np.array(general, dtype=np.int64)
        )

    def _add_certain(self) -> None:
        """Records of no member, and members with one option left."""
        bounds, region = self.bounds, self.region
        xhat = np.vstack([bounds.fixed.xhat, bounds.stacked.xhat[self.certain]])
        y = np.concatenate([bounds.fixed.y, bounds.stacked.y[self.certain]])
        a = np.concatenate([bounds.fixed.a, bounds.stacked.a[self.certain]])
        low = np.concatenate([region.fixed[0], region.options[0][self.certain]])
        high = np.concatenate([region.fixed[1], region.options[1][self.certain]])
        high = np.maximum(low, high)
        shapes = self._shapes(y, a, low, high)
        lines = xhat[shapes.line]
        self._quadratic += (lines.T * shapes.slope) @ lines
        self._linear += lines.T @ shapes.offset
        self._target -= lines.T @ shapes.offset
        r = shapes.general
        self.open_fixed = r[r < len(bounds.fixed)]
        f = self._columns("value", low[r], high[r])
        define = self._rows.add(0.0, 0.0, len(r))
        self._rows.put(define, f, -1.0)
        self._rows.put(define[:, None], self.theta[None, :], xhat[r])
        self._add_general(xhat[r], y[r], a[r], low[r], high[r], f, None)
        settled = np.setdiff1d(np.arange(len(y)), r)
        # What a record's constant or line rests on: its f stays in the interval.
        settled = settled[a[settled] > 0]
        self._keep_within(xhat[settled], low[settled], high[settled])

    def _keep_within(self, xhat: Matrix, low: Vector, high: Vector) -> None:
        """Rows only where the box of ``theta`` does not say so already."""
        box_low, box_high = self.region.theta
        middle, half = xhat @ ((box_low + box_high) / 2), np.abs(xhat) @ ((box_high - box_low) / 2)
        needed = (middle - half < low) | (middle + half > high)
        rows = self._rows.add(low[needed], high[needed], int(needed.sum()))
        self._rows.put(rows[:, None], self.theta[None, :], xhat[needed])

    def _add_undecided(self) -> None:
        bounds, region, rows = self.bounds, self.region, self._rows
        k = self.undecided
        xhat, y, a = bounds.stacked.xhat[k], bounds.stacked.y[k], bounds.stacked.a[k]
        low, high = region.options[0][k], np.maximum(region.options[0][k], region.options[1][k])
        f = self._columns("option_value", np.minimum(low, 0.0), np.maximum(high, 0.0))
        self.option_f = np.full(len(bounds.owner), -1)
        self.option_f[k] = f
        define = rows.add(0.0, 0.0, len(k))
        rows.put(define, f, -1.0)
        rows.put(define, self.z, xhat @ region.theta[0])
        rows.put(define[:, None], self.copies, xhat)
        for end, lower, upper in ((low, 0.0, math.inf), (high, -math.inf, 0.0)):
            held = rows.add(lower, upper, len(k))
            rows.put(held, f, 1.0)
            rows.put(held, self.z, -end)
        shapes = self._shapes(y, a, low, high)
        r, slope, offset = shapes.line, shapes.slope, shapes.offset
        rows.put(self._stationarity[None, :], f[r][:, None], xhat[r] * slope[:, None])
        rows.put(self._stationarity[None, :], self.z[r][:, None], xhat[r] * offset[:, None])
        rows.put(self._duality, f[r], offset)
        for i, s in zip(r, slope, strict=True):
            if s > 0:
                self._add_square(float(s), (int(f[i]),), (1.0,), float(low[i]), float(high[i]), int(self.z[i]))
        r = shapes.general
        self._add_general(xhat[r], y[r], a[r], low[r], high[r], f[r], self.z[r])

    def _add_square(
        self,
        weight: float,
        columns: tuple[int, ...],
        direction: tuple[float, ...],
        low: float,
        high: float,
        z: int | None,
    ) -> None:
        top = weight * max(low * low, high * high) * (1 + WIDENING)
        square = Square(self._column("square", 0.0, top), weight, columns, direction, z)
        self._squares.append(square)
        self._rows.put(self._duality, square.column, 1.0)
        for share in (0.1, 0.5, 0.9):
            t = low + share * (high - low)
            row = self._rows.add(0.0 if z is not None else -weight * t * t, math.inf, 1)
            for column, value in square.tangent(t):
                self._rows.put(row, column, value)

    def _add_general(
        self, xhat: Matrix, y: Vector, a: Vector, low: Vector, high: Vector, f: Indices, z: Indices | None
    ) -> None:
        """Pull in the hull of its graph, loss and conjugate above their tangents; all times ``z`` if there is one."""
        loss, rows = self.risk.loss, self._rows
        pulls = [loss.pulls_over(float(y[r]), float(low[r]), float(high[r])) for r in range(len(y))]
        g_low, g_high = np.array(pulls).reshape(-1, 2).T
        g_low, g_high = a * g_low, a * g_high
        within = (np.minimum(g_low, 0.0), np.maximum(g_high, 0.0)) if z is not None else (g_low, g_high)
        g = self._columns("pull", *within)
        rows.put(self._stationarity[None, :], g[:, None], xhat)
        if z is not None:
            for end, lower, upper in ((g_low, 0.0, math.inf), (g_high, -math.inf, 0.0)):
                held = rows.add(lower, upper, len(g))
                rows.put(held, g, 1.0)
                rows.put(held, z, -end)
        for r in range(len(y)):
            self._add_curve(
                float(y[r]),
                float(a[r]),
                float(low[r]),
                float(high[r]),
                int(f[r]),
                int(g[r]),
                None if z is None else int(z[r]),
                (float(g_low[r]), float(g_high[r])),
            )

    def _add_curve(
        self, y: float, a: float, low: float, high: float, f: int, g: int, z: int | None, pulls: tuple[float, float]
    ) -> None:
        loss = self.risk.loss
        # Level lines say what the ends of g say already.
        for slope, offset in loss.hull(y, low, high, upper=True):
            if slope:
                self._above((f, a * slope), (g, -1.0), a * offset, z)
        for slope, offset in loss.hull(y, low, high, upper=False):
            if slope:
                self._above((f, -a * slope), (g, 1.0), -a * offset, z)
        points = loss.tangent_points(y, low, high)
        f0 = np.array([point[0] for point in points])
        g0 = np.array([point[1] for point in points])
        value = loss.value(np.full(len(f0), y), f0)
        losses = _envelope(g0, value - g0 * f0, low, high)
        # (a l)*(a g0) = a (f0 g0 - l(f0)) on the graph, with f0 in its subdifferential
        conjugates = _envelope(f0, -value, pulls[0] / a, pulls[1] / a)
        curve_loss = self._bracket("loss", losses, f, a, a, z, (low, high))
        curve_conjugate = self._bracket("conjugate", conjugates, g, 1.0, a, z, (pulls[0], pulls[1]))
        self._curves.append(Curve(y, a, low, high, f, g, curve_loss, curve_conjugate, z))

    def _bracket(
        self,
        group: str,
        lines: list[tuple[float, float]],
        column: int,
        scale: float,
        weight: float,
        z: int | None,
        ends: tuple[float, float],
    ) -> int | None:
        """A column above ``scale * slope * column + weight * offset * z``, in the duality row; none for one line."""
        if len(lines) == 1 and self.risk.loss.pieces(1.0) is not None:
            slope, offset = lines[0]
            self._rows.put(self._duality, column, scale * slope)
            self._constant_in_duality(weight * offset, z)
            return None
        at_ends = [max(scale * s * end + weight * o for s, o in lines) for end in ends]
        low = min(min(scale * s * end + weight * o for s, o in lines) for end in ends)
        # The function is convex, so its largest value is at an end, and there its own tangent is among the lines.
        high = max(at_ends)
        slack = WIDENING * (1 + abs(high))
        level = [weight * offset for slope, offset in lines if slope == 0 and (z is None or offset == 0)]
        own = self._column(group, max([min(low, 0.0) - slack, *level]), max(high, 0.0) + slack)
        self._rows.put(self._duality, own, 1.0)
        for slope, offset in lines:
            if slope or weight * offset not in level:
                self._above((own, 1.0), (column, -scale * slope), -weight * offset, z)
        return own

    def _above(self, first: tuple[int, float], second: tuple[int, float], constant: float, z: int | None) -> None:
        """The row ``first + second + constant * z >= 0``."""
        row = self._new_row(0.0 if z is not None else -constant)
        self._rows.single += [(row, *first), (row, *second)]
        if z is not None:
            self._rows.single.append((row, z, constant))

    def _new_row(self, lower: float) -> int:
        """A row that is at least ``lower``."""
        return int(self._rows.add(lower, math.inf, 1)[0])

    def _constant_in_duality(self, constant: float, z: int | None) -> None:
        if z is None:
            self._duality_constant += constant
        else:
            self._rows.put(self._duality, z, constant)

    def _close_quadratic(self) -> None:
        """``theta'Q theta`` split along its axes, and the linear rest, into the duality row."""
        low, high = self.region.theta
        weights, axes = np.linalg.eigh(self._quadratic)
        diagonal = np.diag(np.diag(self._quadratic))
        if np.abs(self._quadratic - diagonal).max(initial=0.0) <= 1e-14 * np.abs(self._quadratic).max(initial=0.0):
            weights, axes = np.diag(self._quadratic), np.eye(self.p)
        for j in range(self.p):
            weight, axis = float(weights[j]), axes[:, j]
            if weight <= 1e-14 * max(1.0, float(weights.max())):
                continue
            middle, half = axis @ ((low + high) / 2), np.abs(axis) @ ((high - low) / 2)
            kept = np.flatnonzero(axis)
            self._add_square(
                weight,
                tuple(int(column) for column in self.theta[kept]),
                tuple(float(value) for value in axis[kept]),
                float(middle - half),
                float(middle + half),
                None,
            )
        self._rows.put(self._duality, self.theta, self._linear)
        self._rows.change(self._duality, np.array([-math.inf]), np.array([-self._duality_constant]))
        self._rows.put(self._stationarity[:, None], self.theta[None, :], self._quadratic)
        self._rows.change(self._stationarity, self._target, self._target)

    # -- the rest of the problem ---

    def _add_budgets(self) -> None:
        problem, rows = self.problem, self._rows
        budget = problem.collective.budget
        costs = [o.cost for member in problem.collective.members for o in problem.admissible_options(member)]
        self.costs = np.array(costs, dtype=float)
        self.acts = (self.bounds.place > 0).astype(float)
        self._spent_cost = float(self.costs[self.certain].sum())
        self._spent_acts = float(self.acts[self.certain].sum())
        k = self.undecided
        if budget.total is not None:
            row = rows.add(-math.inf, with_rounding(budget.total) - self._spent_cost, 1)
            rows.put(row, self.z, self.costs[k])
        if budget.members is not None:
            row = rows.add(-math.inf, budget.members - self._spent_acts, 1)
            rows.put(row, self.z, self.acts[k])

    def _add_goal(self, cutoff: float | None) -> tuple[Terms, int, float]:
        """Guards, required margins and the cutoff; returns the goal's terms, its sense and its constant."""
        problem, rows = self.problem, self._rows
        for guard in problem.guards:
            self._require(guard)
        slack = 0.0 if cutoff is None else WIDENING * (1 + abs(cutoff))
        floor, cap = self.region.floor, self.region.cap + WIDENING
        if cutoff is not None:
            floor = max(floor, cutoff - slack)
        self.reached = np.full(len(problem.queries), -1)
        if problem.goal is GoalKind.MAX_MARGIN:
            ends = [self._margin_range(query) for query in problem.queries]
            low, high = min(end[0] for end in ends), min(end[1] for end in ends)
            low, high = max(low, floor), min(high, cap)
            self.empty = self.empty or low > high
            margin = self._column("margin", min(low, high), high)
            for query in problem.queries:
                terms, constant = self._margin(query)
                # The smallest margin is at most the cap; of a single query that is its own.
                top = cap - constant if len(problem.queries) == 1 else math.inf
                row = rows.add(-constant, math.inf, 1)
                if math.isfinite(top):
                    capped = rows.add(-math.inf, top, 1)
                    rows.put(capped, self.theta, terms)
                rows.put(row, margin, -1.0)
                rows.put(row, self.theta, terms)
            return [(margin, 1.0)], 1, 0.0
        if problem.goal is GoalKind.MAX_HELPED:
            return self._add_helped(cutoff)
        for query in problem.queries:
            self._require(query)
        by_cost = problem.goal is GoalKind.MIN_COST
        values = (self.costs if by_cost else self.acts)[self.undecided]
        spent = self._spent_cost if by_cost else self._spent_acts
        if cutoff is not None:
            row = rows.add(-math.inf, cutoff + slack - spent, 1)
            rows.put(row, self.z, values)
        return along(self.z, values), -1, spent

    def _add_helped(self, cutoff: float | None) -> tuple[Terms, int, float]:
        terms: Terms = []
        sure = 0.0
        for q, query in enumerate(self.problem.queries):
            low, high = self._margin_range(query)
            needed = self.problem.needed_margin(query) - WIDENING
            if high < needed:
                continue
            if low >= needed:
                sure += 1.0
                continue
            reached = self._column("reached", 0.0, 1.0)
            self.reached[q] = reached
            values, constant = self._margin(query)
            row = self._rows.add(low - constant, math.inf, 1)
            self._rows.put(row, self.theta, values)
            self._rows.put(row, reached, low - needed)
            terms.append((reached, 1.0))
        if cutoff is not None:
            row = self._rows.add(cutoff - WIDENING - sure, math.inf, 1)
            self._rows.put(row, [column for column, _ in terms], 1.0)
        return terms, 1, sure

    def _margin(self, query: Query) -> tuple[Vector, float]:
        """``m_q = values'theta + constant``."""
        x = self.risk.extend(np.array([query.x]))[0]
        return query.target * x, -query.target * query.threshold

    def _margin_range(self, query: Query) -> tuple[float, float]:
        values, constant = self._margin(query)
        low, high = self.region.theta
        middle, half = float(values @ ((low + high) / 2)), float(np.abs(values) @ ((high - low) / 2))
        return middle - half + constant - WIDENING, middle + half + constant + WIDENING

    def _require(self, query: Query) -> None:
        values, constant = self._margin(query)
        row = self._rows.add(self.problem.needed_margin(query) - WIDENING - constant, math.inf, 1)
        self._rows.put(row, self.theta, values)

    # -- use ---

    def maximum(self, terms: Terms, sense: int = 1) -> float | None:
        """See :meth:`oar_opt.linear_program.LinearProgram.maximum`."""
        return self.program.maximum(terms, sense)

    def goal_bound(self, over: Callable[[], bool] = lambda: False, rounds: int = 12) -> float | None:
        """A proved bound on the goal, with tangents added where they are violated; None if nothing is in the region.

        ``over`` is asked between linear programs whether to stop.
        """
        if self.empty:
            return None
        terms, sense, constant = self.goal
        best = sense * math.inf
        for _ in range(rounds):
            value = self.maximum(terms, sense)
            if value is None:
                return None
            gain = sense * (best - value - constant)
            best = min(best, value + constant) if sense > 0 else max(best, value + constant)
            settled = self.program.solution is None or gain <= SETTLED * max(SMALL, abs(best))
            if settled or over() or not self.separate():
                break
        return best

    def separate(self) -> bool:
        """Add the tangents that the last solution violates; whether there were any."""
        x = self.program.solution
        assert x is not None
        added = 0
        for square in self._squares:
            z = 1.0 if square.z is None else float(x[square.z])
            if z <= 1e-7:
                continue
            t = float(np.dot(square.direction, x[list(square.columns)])) / z
            value = square.weight * t * t * z
            if value - x[square.column] > VIOLATED * (1 + value):
                self.program.cut(square.tangent(t), 0.0 if square.z is not None else -square.weight * t * t)
                added += 1
        for curve in self._curves:
            added += self._separate_curve(curve, x)
        return added + self._separate_training_loss(x[self.theta]) > 0

    def _separate_training_loss(self, theta: Vector) -> int:
        found = self.training_loss_tangent(theta)
        if found is None:
            return 0
        self.program.cut(along(self.theta, found[0]), -math.inf, found[1])
        return 1

    def training_loss_tangent(self, theta: Vector) -> tuple[Vector, float] | None:
        """``(v, limit)``: the tangent ``v'theta <= limit`` of ``sum_i s_i l(y_i, f_i)`` over the records as they are,
        where it exceeds the limit at these parameters; else None."""
        if self.loss_limit is None:
            return None
        records = self.problem.records
        xhat = self.risk.extend(records.X)
        f = xhat @ theta
        value = float(records.s @ self.risk.loss.value(records.y, f))
        if value - self.loss_limit <= VIOLATED * (1 + value):
            return None
        gradient = xhat.T @ (records.s * self.risk.loss.pull(records.y, f))
        return gradient, self.loss_limit - value + float(gradient @ theta) + WIDENING * (1 + value)

    def _separate_curve(self, curve: Curve, x: Vector) -> int:
        z = 1.0 if curve.z is None else float(x[curve.z])
        if z <= 1e-7 or (curve.loss is None and curve.conjugate is None):
            return 0
        loss, added = self.risk.loss, 0
        y = np.array([curve.y])
        if curve.loss is not None:
            f0 = np.array([min(max(float(x[curve.f]) / z, curve.low), curve.high)])
            added += self._tangent(curve, f0, curve.loss, x, z, conjugate=False)
        if curve.conjugate is not None:
            g0 = float(x[curve.g]) / (z * curve.a)
            f0 = np.array([_preimage(lambda f: float(loss.pull(y, np.array([f]))[0]), g0, curve.low, curve.high)])
            added += self._tangent(curve, f0, curve.conjugate, x, z, conjugate=True)
        return added

    def _tangent(self, curve: Curve, f0: Vector, column: int, x: Vector, z: float, *, conjugate: bool) -> int:
        y = np.array([curve.y])
        value, pull = float(self.risk.loss.value(y, f0)[0]), float(self.risk.loss.pull(y, f0)[0])
        f = float(f0[0])
        if conjugate:
            variable, slope, offset = curve.g, f, -curve.a * value
        else:
            variable, slope, offset = curve.f, curve.a * pull, curve.a * (value - pull * f)
        level = slope * float(x[variable]) + offset * z
        if level - x[column] <= VIOLATED * (1 + abs(level)):
            return 0
        terms = [(column, 1.0), (variable, -slope)]
        if curve.z is not None:
            terms.append((curve.z, -offset))
        self.program.cut([(c, v) for c, v in terms if v], 0.0 if curve.z is not None else offset)
        return 1


NOTHING = Line(-math.inf, math.inf, 0.0, 0.0)


def _preimage(pull: object, g: float, low: float, high: float) -> float:
    """A point of ``[low, high]`` where the monotone function ``pull`` passes through ``g``."""
    assert callable(pull)
    for _ in range(50):
        middle = 0.5 * (low + high)
        if pull(middle) < g:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _envelope(slopes: Vector, offsets: Vector, low: float, high: float) -> list[tuple[float, float]]:
    """Of lines ``slope t + offset`` those that are the highest somewhere in ``[low, high]``."""
    order = np.lexsort((offsets, slopes))
    kept: list[tuple[float, float, float]] = []
    for slope, offset in zip(slopes[order], offsets[order], strict=True):
        start = low
        while kept:
            s, o, begun = kept[-1]
            if slope - s <= SAME * (1 + abs(s)):
                cross = -math.inf if offset >= o else math.inf
            else:
                cross = (o - offset) / (slope - s)
            if cross <= begun:
                kept.pop()
                continue
            start = cross
            break
        if not kept:
            kept.append((float(slope), float(offset), low))
        elif start < high:
            kept.append((float(slope), float(offset), float(start)))
    return [(slope, offset) for slope, offset, _ in kept]


def widths(region: Region, options: Sequence[int] | Indices) -> float:
    """Total width of the decision values of the fixed records and of these options."""
    fixed = float((region.fixed[1] - region.fixed[0]).sum())
    return fixed + float((region.options[1] - region.options[0])[options].sum())
