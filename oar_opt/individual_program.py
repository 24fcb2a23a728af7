"""Convex and mixed-integer programs for one subject's change against a fixed model.

Variables ``e (d,)``, the change over scales in a unit; pieces, box, rows, groups and balls of
:mod:`oar_opt.individual_duality` and :mod:`oar_opt.changes`. Two objectives:

    min ||e||   subject to  base_k + g_k'delta >= need for all k          (least length)
    max m       subject to  base_k + g_k'delta >= m for all k, ||e|| <= radius   (best margin)

The norms l1 and linf give linear programs (HiGHS), l2 a second-order cone program (Clarabel). A feature that moves in
steps takes one of evenly spaced values, ``delta_j = first + pitch z`` with ``z`` whole (the changes that two lattices
share are evenly spaced again); then it is a mixed-integer linear program (HiGHS). In l2 the squares are approximated
from below there: ``sigma_j >= 2 a e_j - a^2`` at every ``a`` that an earlier program ended at, feature by feature, with
``sum_j sigma_j`` in the place of ``||e||^2``, until that agrees with the best continuous rest for its steps. Each of
these programs is a relaxation, so the last one's value is a bound whenever the rounds end. SCIP would take the cone
itself, and has been seen to break down with the whole process on such programs.

Without integrality the multipliers are returned as well, for the exact bound. That nothing is feasible is believed of a
mixed-integer program only if a second run without presolve says so too. No answer is taken from here unchecked.

Reference: M. A. Duran, I. E. Grossmann, "An outer-approximation algorithm for a class of mixed-integer nonlinear
programs", 1986.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from oar_opt.changes import ChangeSet
from oar_opt.errors import SolverError
from oar_opt.individual_duality import Multipliers, Pieces
from oar_opt.limits import Clock
from oar_opt.problem import Flags, Norm, Vector
from oar_opt.projection import held

GAP = 1e-9
NEAR = 1e-5
"""Of the unit, how near to an end of the box a change counts as held there."""
ACCURACY = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11, "max_threads": 1}
ROUNDS, AGREE = 100, 1e-8
"""Programs with tangents for one answer in l2, and by which share of a length they may be off in the end."""
STARTS = (0.125, 0.25, 0.5, 1.0)
"""Of the unit, where the first tangents are."""
EVEN = 1e-6
"""Of the pitch, how far the values of a feature that moves in steps may be off."""


class Outcome(StrEnum):
    FOUND = "found"
    NONE = "none"
    STOPPED = "stopped"


@dataclass(frozen=True, eq=False)
class Found:
    """What a solver says: change ``delta (d,)`` and value where it has one, whether it finished, multipliers."""

    outcome: Outcome
    delta: Vector | None = None
    value: float = math.nan
    finished: bool = False
    multipliers: Multipliers | None = None


def shortest(
    one: ChangeSet,
    norm: Norm,
    pieces: Pieces,
    need: float,
    *,
    whole: bool = False,
    limit: float | None = None,
    unit: float | None = None,
) -> Found:
    """A shortest change (over scaled features) that gives a margin of ``need``; ``value`` is its length.

    ``whole``: features that move in steps do so, else they move within their range. ``limit`` in seconds. ``unit``:
    about how long the change will be, where that is known.
    """
    return _Program(one, pieces, whole, unit).shortest(norm, need, limit)


def best(
    one: ChangeSet, norm: Norm | None, pieces: Pieces, *, whole: bool = False, limit: float | None = None
) -> Found:
    """A change with the largest margin, which is ``value``, within the set's ball of a norm (None: without one)."""
    return _Program(one, pieces, whole).best(norm, limit)


@dataclass(frozen=True, eq=False)
class _Outer:
    """A relaxation with ``squares (d,)`` in the place of ``e^2``.

    ``value`` reads its bound after a run, ``inner`` solves the same for fixed steps, and the two may always differ by
    ``floor``.
    """

    objective: Any
    rows: list[Any]
    squares: Any
    value: Callable[[], float]
    inner: Callable[[_Program], Found]
    floor: float


@dataclass
class _Program:
    one: ChangeSet
    pieces: Pieces
    whole: bool
    about: float | None = None
    integer: bool = False
    conic: bool = False
    rows: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        import cvxpy as cp

        self.e = cp.Variable(self.one.d)
        self._add_box()
        self._add_rows()
        if self.whole:
            self._add_steps()

    # -- units ---

    @cached_property
    def size(self) -> float:
        """The unit of lengths: what is known of the change's own, the smallest radius, or a feature's longest reach."""
        if self.about:
            return self.about
        radii = [ball.radius for ball in self.one.balls if math.isfinite(ball.radius)]
        ends = np.abs([self.one.lower, self.one.upper]) / self.one.scales
        return min([*radii, float(ends[np.isfinite(ends)].max(initial=0.0))]) or 1.0

    @cached_property
    def to_change(self) -> Vector:
        return self.size * self.one.scales

    @cached_property
    def unit(self) -> float:
        """The unit of margins."""
        return float(np.abs(self.pieces.G * self.to_change).max(initial=0.0)) or 1.0

    # -- rows ---

    def _add_box(self) -> None:
        one = self.one
        below, above = np.flatnonzero(np.isfinite(one.lower)), np.flatnonzero(np.isfinite(one.upper))
        if len(below):
            self.rows.append(self.e[below] >= (one.lower / self.to_change)[below])
        if len(above):
            self.rows.append(self.e[above] <= (one.upper / self.to_change)[above])

    def _add_rows(self) -> None:
        one = self.one
        sizes = np.abs(one.A * self.to_change).max(axis=1, initial=0.0)
        self.row_units = np.where(sizes > 0, sizes, 1.0)
        self.linear = None
        if len(one.b):
            self.linear = (one.A * self.to_change / self.row_units[:, None]) @ self.e <= one.b / self.row_units
            self.rows.append(self.linear)
        self.groups = [self.to_change[g.columns] @ self.e[g.columns] == g.total for g in one.groups]
        self.rows += self.groups

    def _add_steps(self) -> None:
        import cvxpy as cp

        for j, grid in enumerate(self.one.grids):
            if grid is None:
                continue
            pitch = (grid[-1] - grid[0]) / max(1, len(grid) - 1)
            if (np.abs(grid - grid[0] - pitch * np.arange(len(grid))) > EVEN * pitch).any():
                raise SolverError("the values of a feature that moves in steps are not evenly spaced: please report it")
            z = cp.Variable(integer=True)
            self.rows += [z >= 0, z <= len(grid) - 1, self.to_change[j] * self.e[j] == grid[0] + pitch * z]
            self.integer = True

    def margins(self, less: float = 0.0) -> Any:
        """The pieces less a number, in their unit, ``(K,)``."""
        return (self.pieces.G * self.to_change / self.unit) @ self.e + (self.pieces.base_vector - less) / self.unit

    def _length_rows(self, norm: Norm, length: Any) -> list[Any]:
        """Rows for ``||e|| <= length``; the first two of the linear ones have the change's multipliers."""
        import cvxpy as cp

        if norm is Norm.L2:
            self.conic = True
            return [cp.norm(self.e, 2) <= length]
        sizes = cp.Variable(self.one.d) if norm is Norm.L1 else length * np.ones(self.one.d)
        rows = [self.e <= sizes, -self.e <= sizes]
        return [*rows, cp.sum(sizes) <= length] if norm is Norm.L1 else rows

    # -- the two objectives ---

    def shortest(self, norm: Norm, need: float, limit: float | None) -> Found:
        import cvxpy as cp

        demand = self.margins() >= need / self.unit
        if norm is Norm.L2 and self.integer:
            squares = cp.Variable(self.one.d, nonneg=True)
            outer = _Outer(
                cp.sum(squares),
                [demand],
                squares,
                value=lambda: self.size * math.sqrt(max(0.0, float(np.sum(squares.value)))),
                inner=lambda rest: rest.shortest(norm, need, limit),
                floor=GAP * self.size,
            )
            return self._with_tangents(outer, limit)
        length = cp.Variable()
        lengths = self._length_rows(norm, length)
        outcome, finished = self._solve(length, [*self.rows, demand, *lengths], limit)
        if outcome is not Outcome.FOUND:
            return Found(outcome, finished=finished)
        multipliers = None
        if not self.integer and demand.dual_value is not None:
            weights = np.atleast_1d(demand.dual_value) * self.size / self.unit
            multipliers = self._multipliers(weights, self._pull(norm, lengths), self.size)
        return Found(outcome, self._delta(), float(length.value) * self.size, finished, multipliers)

    def best(self, norm: Norm | None, limit: float | None) -> Found:
        import cvxpy as cp

        # Over the least base: where slopes are nearly nothing, their unit makes an infinite number of a margin.
        m, least = cp.Variable(), float(self.pieces.base_vector.min())
        demand = self.margins(less=least) >= m
        # The box holds the linf ball.
        limited = norm is not None and norm is not Norm.LINF and math.isfinite(self.one.ball(norm))
        radius = self.one.ball(norm) / self.size if norm is not None and limited else math.inf
        if norm is Norm.L2 and limited and self.integer:
            squares = cp.Variable(self.one.d, nonneg=True)
            outer = _Outer(
                -m,
                [demand, cp.sum(squares) <= radius**2],
                squares,
                value=lambda: float(m.value) * self.unit + least,
                inner=lambda rest: rest.best(norm, limit),
                floor=AGREE * self.unit,
            )
            return self._with_tangents(outer, limit)
        lengths = self._length_rows(norm, radius) if norm is not None and limited else []
        outcome, finished = self._solve(-m, [*self.rows, demand, *lengths], limit)
        if outcome is not Outcome.FOUND:
            return Found(outcome, finished=finished)
        multipliers = None
        if not self.integer and demand.dual_value is not None:
            pull = self._pull(norm, lengths) if norm is not None and limited else np.zeros(self.one.d)
            multipliers = self._multipliers(np.atleast_1d(demand.dual_value), pull * self.unit / self.size, self.unit)
        return Found(outcome, self._delta(), float(m.value) * self.unit + least, finished, multipliers)

    def _with_tangents(self, outer: _Outer, limit: float | None) -> Found:
        """Mixed-integer in l2: relaxations with tangents, and for the steps of each the best continuous rest.

        It ends where the two agree, or where the squares of the point are what they stand for.
        """
        import cvxpy as cp

        clock = Clock(limit)
        points = [sign * share * np.ones(self.one.d) for share in STARTS for sign in (1, -1)]
        for _ in range(ROUNDS):
            tangents = [outer.squares >= 2 * cp.multiply(a, self.e) - a**2 for a in points]
            outcome, finished = self._solve(outer.objective, [*self.rows, *outer.rows, *tangents], clock.left())
            if outcome is not Outcome.FOUND:
                return Found(outcome, finished=finished)
            e, value = np.asarray(self.e.value, dtype=np.float64), outer.value()
            found = Found(outcome, self._delta(), value, finished)
            rest = outer.inner(_Program(held(self.one, self._on_grids()), self.pieces, False, self.size))
            points.append(e)
            if rest.delta is not None:
                found = replace(found, delta=rest.delta)
                points.append(rest.delta / self.to_change)
                if abs(rest.value - value) <= max(outer.floor, AGREE * abs(value)):
                    break
            if (outer.squares.value >= e**2 - AGREE * max(GAP, float(e @ e))).all() or clock.is_over:
                break
        return found

    def _on_grids(self) -> Vector:
        """The present change, with what moves in steps set on them."""
        delta = self._delta()
        for j, grid in enumerate(self.one.grids):
            if grid is not None:
                delta[j] = grid[int(np.abs(grid - delta[j]).argmin())]
        return delta

    def _delta(self) -> Vector:
        return np.asarray(self.e.value, dtype=np.float64) * self.to_change

    def _pull(self, norm: Norm, lengths: list[Any]) -> Vector:
        """The multipliers of the change over scales, from those of the rows for its length."""
        if norm is not Norm.L2:
            return np.asarray(lengths[0].dual_value - lengths[1].dual_value, dtype=np.float64)
        e = np.asarray(self.e.value, dtype=np.float64)
        return np.asarray(float(lengths[0].dual_value) * e / max(1e-300, float(np.linalg.norm(e))))

    def _multipliers(self, weights: Vector, pull: Vector, unit: float) -> Multipliers:
        one = self.one
        rows = np.zeros(0) if self.linear is None else np.atleast_1d(self.linear.dual_value) * unit / self.row_units
        groups = np.array([float(group.dual_value) * unit for group in self.groups])
        change = pull / one.scales
        if pull.any():
            rest = self.pieces.G.T @ weights - one.A.T @ rows
            for group, value in zip(one.groups, groups, strict=True):
                rest[group.columns] -= value
            change = np.where(self._is_inside(), rest, change)
        return Multipliers(np.asarray(weights, dtype=np.float64), rows, groups, change)

    def _is_inside(self) -> Flags:
        """The features that no end of the box holds: there the change's multipliers are what is left of the others'."""
        e = self.e.value
        inside: Flags = (e > self.one.lower / self.to_change + NEAR) & (e < self.one.upper / self.to_change - NEAR)
        return inside

    # -- running ---

    def _solve(self, objective: Any, rows: list[Any], limit: float | None) -> tuple[Outcome, bool]:
        import cvxpy as cp

        program = cp.Problem(cp.Minimize(objective), rows)
        status = self._run(program, limit)
        if self.integer and status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
            status = self._run(program, limit, presolve=False)
        if status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
            return Outcome.NONE, status == cp.INFEASIBLE
        if self.e.value is None or not np.isfinite(self.e.value).all():
            return Outcome.STOPPED, False
        return Outcome.FOUND, status == cp.OPTIMAL

    def _run(self, program: Any, limit: float | None, presolve: bool = True) -> str:
        import cvxpy as cp

        solver, options = self._solver(limit, presolve)
        try:
            with warnings.catch_warnings():
                # Whether a point is accurate enough is checked on its own.
                warnings.simplefilter("ignore", UserWarning)
                program.solve(solver=solver, **options)
        except cp.SolverError:
            # cvxpy's word for a run without a point, by a limit or a breakdown.
            return str(cp.SOLVER_ERROR)
        return str(program.status)

    def _solver(self, limit: float | None, presolve: bool) -> tuple[str, dict[str, Any]]:
        import cvxpy as cp
        import highspy

        if self.conic:
            return cp.CLARABEL, ACCURACY if limit is None else {**ACCURACY, "time_limit": limit}
        from oar_opt.solvers.highs import quiet_highs

        # Its first object in a process writes a banner, and it keeps the number of threads of earlier runs.
        quiet_highs()
        highspy.Highs.resetGlobalScheduler(True)
        options: dict[str, Any] = {"threads": 1, "mip_rel_gap": 0.0, "presolve": "on" if presolve else "off"}
        options |= {f"{kind}_feasibility_tolerance": GAP for kind in ("mip", "primal", "dual")}
        return cp.HIGHS, options if limit is None else {**options, "time_limit": limit}
