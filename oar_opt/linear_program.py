"""Linear programs in HiGHS whose bounds do not rest on HiGHS's tolerances.

Let every column have finite ends ``l <= x <= u``. For any row multipliers ``y`` (of a sign that fits the rows' finite
ends) and any objective ``c``,

    min { c'x : L <= A x <= U, l <= x <= u }  >=  sum_i (L_i if y_i > 0 else U_i) y_i
                                                + sum_j min over [l_j, u_j] of (c - A'y)_j x_j,

whatever ``y`` is; with HiGHS's multipliers it is its optimum but for rounding. With ``c = 0`` a positive right side
proves that there is no solution at all. So an answer of HiGHS only proposes ``y``, and what is returned here is this
sum, evaluated in floating point and lowered by a bound on its own rounding error.

Reference: A. Neumaier, O. Shcherbina, "Safe bounds in linear and mixed-integer linear programming", 2004.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from oar_opt.errors import SolverError
from oar_opt.problem import Flags, Indices, Vector

TOLERANCE = 1e-8
ITERATIONS, ANY_NUMBER = 20_000, 2**31 - 1
"""Simplex steps for one linear program, many times what it takes: HiGHS has been seen not to end otherwise."""
INTEGRALITY = 1e-7
UNIT = 2.0**-53

ENDS = ("kOptimal", "kTimeLimit", "kInterrupt", "kHighsInterrupt", "kSolutionLimit", "kIterationLimit")
"""Ways in which a branch and bound may end with a bound that holds."""

Terms = list[tuple[int, float]]


@dataclass
class Triplets:
    """Rows in the making: coefficients as triplets, and both ends of every row."""

    row: list[Indices] = field(default_factory=list)
    column: list[Indices] = field(default_factory=list)
    value: list[Vector] = field(default_factory=list)
    lower: list[Vector] = field(default_factory=list)
    upper: list[Vector] = field(default_factory=list)
    changed: list[tuple[Indices, Vector, Vector]] = field(default_factory=list)
    single: list[tuple[int, int, float]] = field(default_factory=list)
    count: int = 0

    def add(self, lower: Vector | float, upper: Vector | float, size: int) -> Indices:
        """``size`` new rows with these ends; returns their numbers."""
        rows: Indices = np.arange(self.count, self.count + size, dtype=np.int64)
        self.count += size
        self.lower.append(np.broadcast_to(np.asarray(lower, dtype=float), (size,)))
        self.upper.append(np.broadcast_to(np.asarray(upper, dtype=float), (size,)))
        return rows

    def change(self, rows: Indices, lower: Vector, upper: Vector) -> None:
        """Other ends for rows that exist."""
        self.changed.append((rows, lower, upper))

    def put(self, rows: Any, columns: Any, values: Any) -> None:
        """Coefficients; the three are broadcast against each other, and equal places are summed."""
        r, c, v = np.broadcast_arrays(np.asarray(rows), np.asarray(columns), np.asarray(values, dtype=float))
        self.row.append(r.ravel())
        self.column.append(c.ravel())
        self.value.append(v.ravel())

    def matrix(self, columns: int) -> Any:
        """All coefficients, ``(rows, columns)``."""
        single = np.array(self.single, dtype=float).reshape(-1, 3)
        row = np.concatenate([*self.row, single[:, 0].astype(np.int64)])
        column = np.concatenate([*self.column, single[:, 1].astype(np.int64)])
        triplets = (np.concatenate([*self.value, single[:, 2]]), (row, column))
        made = sparse.csr_array(sparse.coo_array(triplets, shape=(self.count, columns)))
        made.sum_duplicates()
        made.eliminate_zeros()
        return made

    def ends(self) -> tuple[Vector, Vector]:
        """Lower and upper ends of all rows."""
        if not self.lower:
            return np.zeros(0), np.zeros(0)
        lower, upper = np.concatenate(self.lower), np.concatenate(self.upper)
        for rows, new_lower, new_upper in self.changed:
            lower[rows], upper[rows] = new_lower, new_upper
        return lower, upper


@dataclass(frozen=True)
class Limits:
    """Of one branch and bound: seconds (None: no limit), the gap to stop at, threads, whether to stop now; whether to
    presolve; nodes (None: no limit); and by how much rows and choices may be missed."""

    seconds: float | None
    gap: float
    threads: int
    interrupted: Callable[[], bool]
    presolve: bool = True
    nodes: int | None = None
    tolerance: float = INTEGRALITY


@dataclass(frozen=True)
class Found:
    """What a branch and bound gave: whether it ended, its bound (None: no solution), its best point, its nodes."""

    ended: bool
    bound: float | None
    point: Vector | None
    nodes: int


class LinearProgram:
    """A linear program that is loaded once and then solved for many objectives, from the last basis.

    Parameters
    ----------
    lower, upper : finite ends of the columns, ``(m,)`` each.
    rows : the rows; more can be appended later by :meth:`cut`.
    choices : the columns that are integer in the program that this one relaxes, ``(m,)``; they keep their unit.
    """

    def __init__(self, lower: Vector, upper: Vector, rows: Triplets, choices: Flags) -> None:
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            raise SolverError("a linear program of the relaxation has an unbounded column")
        self.count = len(lower)
        self.choices = choices
        self.programs = 0
        self.solution: Vector | None = None
        self._load(lower, upper, rows)

    def _load(self, lower: Vector, upper: Vector, rows: Triplets) -> None:
        import highspy

        from oar_opt.solvers.highs import quiet_highs
        from oar_opt.solvers.scaling import equilibrate

        matrix = rows.matrix(self.count)
        sizes, self.units = equilibrate(matrix, ~self.choices, sweeps=3)
        matrix = sparse.csr_array(sparse.diags_array(sizes) @ matrix @ sparse.diags_array(self.units))
        self._matrix = matrix
        self._extra: list[tuple[Any, Vector]] = []
        ends = rows.ends()
        self._row_lower, self._row_upper = ends[0] * sizes, ends[1] * sizes
        self.lower, self.upper = lower / self.units, upper / self.units
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.count, matrix.shape[0]
        lp.col_cost_ = np.zeros(self.count)
        lp.col_lower_, lp.col_upper_ = self.lower, self.upper
        lp.row_lower_, lp.row_upper_ = self._row_lower, self._row_upper
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
        self._every = np.arange(self.count, dtype=np.int32)
        self.solver = quiet_highs()
        self.solver.setOptionValue("presolve", "off")
        self.solver.setOptionValue("threads", 1)
        self.solver.setOptionValue("simplex_iteration_limit", ITERATIONS)
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            self.solver.setOptionValue(name, TOLERANCE)
        highspy.Highs.resetGlobalScheduler(True)
        if self.solver.passModel(lp) == highspy.HighsStatus.kError:
            raise SolverError("HiGHS refuses a linear program of the relaxation")

    def fix(self, column: int, lower: float, upper: float) -> None:
        """Change a column's ends."""
        self.lower[column], self.upper[column] = lower / self.units[column], upper / self.units[column]
        self.solver.changeColBounds(column, self.lower[column], self.upper[column])

    def cut(self, terms: Terms, lower: float, upper: float = math.inf) -> None:
        """Append the row ``lower <= terms <= upper``."""
        index = np.array([column for column, _ in terms], dtype=np.int32)
        values = np.array([value for _, value in terms]) * self.units[index]
        size = 2.0 ** -np.round(np.log2(np.abs(values).max()))
        self.solver.addRow(lower * size, upper * size, len(terms), index, values * size)
        self._extra.append((index, values * size))
        self._row_lower = np.append(self._row_lower, lower * size)
        self._row_upper = np.append(self._row_upper, upper * size)

    def maximum(self, terms: Terms, sense: int = 1) -> float | None:
        """A proved upper bound on a linear form (``sense`` -1: lower bound); None if proved to have no solution.

        Infinite where nothing is proved. :attr:`solution` is HiGHS's point where it has one.
        """
        import highspy

        self.programs += 1
        cost = np.zeros(self.count)
        for column, value in terms:
            cost[column] -= sense * value * self.units[column]
        self.solver.changeColsCost(self.count, self._every, cost)
        self.solver.run()
        status = self.solver.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            self.solution = None
            if self._has_none():
                return None
            # HiGHS is wrong, or its ray is too coarse: once more from scratch.
            self.solver.clearSolver()
            self.solver.run()
            status = self.solver.getModelStatus()
            if status == highspy.HighsModelStatus.kInfeasible:
                return None if self._has_none() else sense * math.inf
        if status != highspy.HighsModelStatus.kOptimal:
            self.solution = None
            self.solver.clearSolver()
            return sense * math.inf
        solution = self.solver.getSolution()
        self.solution = self.units * np.array(solution.col_value)
        self.proved, self.reduced = self._safe(cost, np.array(solution.row_dual))
        return -sense * self.proved

    def with_upper_end(self, columns: Indices) -> Vector:
        """The last proved bound if each column, by itself, is held at its upper end; in the sense of a minimum."""
        gain: Vector = self.proved + np.maximum(0.0, self.reduced[columns]) * (self.upper - self.lower)[columns]
        return gain

    def best_choice(self, terms: Terms, sense: int, limits: Limits) -> Found:
        """The best point whose choices are integer, by branch and bound; what HiGHS says, unproved."""
        import highspy

        cost = np.zeros(self.count)
        for column, value in terms:
            cost[column] -= sense * value * self.units[column]
        integer = np.flatnonzero(self.choices).astype(np.int32)
        kinds = [highspy.HighsVarType.kInteger] * len(integer)
        self.solver.clearSolver()
        self.solver.changeColsCost(self.count, self._every, cost)
        self.solver.changeColsIntegrality(len(integer), integer, np.array(kinds))
        deadline = math.inf if limits.seconds is None else time.monotonic() + limits.seconds

        def stop(event: Any) -> None:
            if limits.interrupted() or time.monotonic() > deadline:
                event.interrupt()

        self.solver.cbMipInterrupt += stop
        self.solver.cbSimplexInterrupt += stop
        options: dict[str, Any] = {
            "presolve": "on" if limits.presolve else "off",
            "threads": limits.threads,
            "mip_rel_gap": limits.gap,
            "mip_abs_gap": limits.gap,
            "mip_feasibility_tolerance": limits.tolerance,
            "primal_feasibility_tolerance": min(TOLERANCE, limits.tolerance),
            "simplex_iteration_limit": ANY_NUMBER,
            "mip_max_nodes": ANY_NUMBER if limits.nodes is None else limits.nodes,
        }
        for name, option in options.items():
            self.solver.setOptionValue(name, option)
        highspy.Highs.resetGlobalScheduler(True)
        self.solver.run()
        found = self._found(sense)
        self.solver.cbMipInterrupt -= stop
        self.solver.cbSimplexInterrupt -= stop
        self.solver.clearSolver()
        self.solver.changeColsIntegrality(
            len(integer), integer, np.array([highspy.HighsVarType.kContinuous] * len(integer))
        )
        self.solver.setOptionValue("presolve", "off")
        self.solver.setOptionValue("simplex_iteration_limit", ITERATIONS)
        self.solver.setOptionValue("primal_feasibility_tolerance", TOLERANCE)
        return found

    def _found(self, sense: int) -> Found:
        import highspy

        status, info = self.solver.getModelStatus(), self.solver.getInfo()
        nodes = max(0, int(info.mip_node_count))
        if status == highspy.HighsModelStatus.kInfeasible:
            return Found(True, None, None, nodes)
        dual = float(info.mip_dual_bound)
        # Of a run that broke down, what HiGHS holds for its bound means nothing.
        known = status.name in ENDS and math.isfinite(dual) and abs(dual) < 1e29
        bound = -sense * dual if known else sense * math.inf
        point = None
        if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
            point = self.units * np.array(self.solver.getSolution().col_value)
        return Found(status == highspy.HighsModelStatus.kOptimal, bound, point, nodes)

    def _has_none(self) -> bool:
        """Whether HiGHS's ray proves that there is no solution."""
        ray = self.solver.getDualRay()
        values = np.asarray(ray[-1] if isinstance(ray, tuple) else ray, dtype=float)
        if values.shape != self._row_lower.shape or not np.isfinite(values).all():
            return False
        zero = np.zeros(self.count)
        return self._safe(zero, values)[0] > 0 or self._safe(zero, -values)[0] > 0

    def _safe(self, cost: Vector, y: Vector) -> tuple[float, Vector]:
        """The lower bound on ``min cost'x`` of the module's docstring, and the reduced costs."""
        y = np.where(
            y > 0, np.where(np.isfinite(self._row_lower), y, 0.0), np.where(np.isfinite(self._row_upper), y, 0.0)
        )
        ends = np.where(y > 0, self._row_lower, self._row_upper)
        ends = np.where(y == 0, 0.0, ends)
        m = self._matrix.shape[0]
        reduced = cost - self._matrix.T @ y[:m]
        size = np.abs(cost) + abs(self._matrix).T @ np.abs(y[:m])
        for (index, values), multiplier in zip(self._extra, y[m:], strict=True):
            reduced[index] -= multiplier * values
            size[index] += abs(multiplier) * np.abs(values)
        rows = ends * y
        columns = np.minimum(reduced * self.lower, reduced * self.upper)
        reach = np.maximum(np.abs(self.lower), np.abs(self.upper))
        total = float(rows.sum() + columns.sum())
        terms = len(y) + self.count + 2
        error = 2 * terms * UNIT * float(np.abs(rows).sum() + size @ reach)
        return total - error, reduced


def along(columns: Sequence[int] | Indices, x: Vector) -> Terms:
    """``x'columns`` as terms."""
    return [(int(column), float(value)) for column, value in zip(columns, x, strict=True) if value]
