"""Optimality-based tightening: better intervals from a linear relaxation that knows the learner's duality.

Letters of :mod:`oar_opt.risk`. The relaxation lives in ``theta``, the choices ``z_ik`` in [0, 1], copies ``W_ik =
z_ik theta`` and pulls. It holds for every admissible choice whose goal is at least as good as ``cutoff``:

- ``sum_k z_ik = 1``, ``sum_k W_ik = theta``, ``W_ik`` in ``z_ik`` times the box of ``theta``;
- ``(xhat_ik' W_ik, g_ik)`` in ``z_ik`` times the convex hull of the graph of the pull over the interval of ``f_ik``,
  and likewise for the fixed records (whose ``z`` is 1);
- stationarity, budgets, required margins and guards, and the goal at least as good as ``cutoff``;
- **strong duality**. By the Fenchel-Young inequality ``a l(f) + (a l)*(g) >= f g``, with equality on the graph, and
  ``sum_i f_i g_i = -lam theta'R(theta - theta0)`` by stationarity. So at the learner's optimum

      sum_i [ a_i l(f_i) + (a_i l)*(g_i) ] + lam theta'R(theta - theta0) <= 0.

  Where the pull is constant or a line over the whole interval, ``f g`` itself takes the place of the record's
  bracket. What is left of squares is one convex quadratic form of ``theta``; it and the brackets enter through
  gradient cuts, those of an option multiplied by its ``z``. Without this row the relaxation is weak: on the shipped
  school instance the bound at the root falls from 50 to 3.7 with it, before any tightening (the optimum is 0.95).

Every interval is then the optimum of two linear programs, the interval of an option's ``f`` under ``z_ik = 1``; an
option whose program has no solution cannot be part of a better answer and is excluded. The new intervals make the
hulls smaller, so the whole is repeated while it helps. Values are widened by :data:`WIDENING` against the solver's
tolerances (1e-9); the evidence is the linear programs' optima, in floating point.

Reference: A. M. Gleixner, T. Berthold, B. Müller, S. Weltge, "Three enhancements for optimization-based bound
tightening", 2017.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from oar_opt.bounds import Interval, Occurrences, ParameterBounds, Reason
from oar_opt.problem import GoalKind, Query, RecourseProblem, Vector
from oar_opt.risk import Line, Segment, polyline_hull, polyline_tangent_points, segments

WIDENING = 1e-6
STRICT, LOOSE = 1e-9, 1e-7
"""Tolerances of the linear programs, and of the second opinion on one that seems to have no solution."""
GRADIENT_CUTS = 12
MIN_GAIN = 0.1
"""A further round is worth its time if the intervals shrank by this share."""

Terms = list[tuple[int, float]]


@dataclass
class Tightening:
    """What was proved: intervals of ``theta``, of the fixed records' and of the options' ``f``; ``excluded`` rows of
    the options;
    a bound on the goal (of moves at least as good as the cutoff), None where there is none."""

    theta: Interval
    fixed: Interval
    options: Interval
    excluded: set[int] = field(default_factory=set)
    goal_bound: float | None = None
    empty: bool = False
    programs: int = 0


def tighten(
    problem: RecourseProblem,
    bounds: ParameterBounds,
    cutoff: float | None,
    seconds: float,
    interrupted: Callable[[], bool] = lambda: False,
    rounds: int = 3,
) -> Tightening:
    """Shrink the intervals that ``bounds`` has proved.

    Parameters
    ----------
    problem, bounds : the instance and what is proved so far; every interval must be finite.
    cutoff : a value of the goal that a verified move reaches; intervals then hold for moves at least that good.
    seconds, interrupted : when to stop; what is proved by then is returned.
    rounds : how often to go through all intervals, at most.
    """
    deadline = time.monotonic() + seconds

    def over() -> bool:
        return time.monotonic() > deadline or interrupted()

    state = Tightening(bounds.along(np.eye(bounds.risk.p)), bounds.of_fixed.copy(), bounds.of_options.copy())
    points = [bounds.theta_bar * share for share in (0.0, 0.5, 1.0, 1.5, 2.0)]
    for _ in range(rounds):
        before = _total_width(bounds, state)
        run = _Round(problem, bounds, state, cutoff, points, over)
        run.go()
        state.programs += run.programs
        state.empty = state.empty or _without_option(bounds, state)
        if state.empty or over() or _total_width(bounds, state) > (1 - MIN_GAIN) * before:
            break
    return state


def _without_option(bounds: ParameterBounds, state: Tightening) -> bool:
    """Whether some member has every option excluded: then no move is as good as the cutoff."""
    kept = np.ones(len(state.options.lower), dtype=bool)
    kept[list(state.excluded)] = False
    return any(not kept[bounds.owner == i].any() for i in range(len(bounds.members)))


def _total_width(bounds: ParameterBounds, state: Tightening) -> float:
    kept = np.ones(len(state.options.lower), dtype=bool)
    kept[list(state.excluded)] = False
    wide = (state.options.upper - state.options.lower)[kept]
    return float((state.fixed.upper - state.fixed.lower).sum() + wide.sum())


# -- one round ---


@dataclass
class _Round:
    problem: RecourseProblem
    bounds: ParameterBounds
    state: Tightening
    cutoff: float | None
    points: list[Vector]
    over: Callable[[], bool]
    programs: int = 0

    def go(self) -> None:
        self.relaxation = _Relaxation(self.problem, self.bounds, self.state, self.cutoff)
        for point in self.points:
            self.relaxation.cut_square(point)
        if not self._bound_goal():
            self.state.empty = True
            return
        p = self.bounds.risk.p
        self._shrink(self.state.theta, range(p), lambda j: [(self.relaxation.theta[j], 1.0)])
        self._shrink(self.state.fixed, self.relaxation.open_fixed, self.relaxation.fixed_value)
        for row in range(len(self.state.options.lower)):
            if row not in self.state.excluded and not self.over():
                self._shrink_option(row)

    def _bound_goal(self) -> bool:
        """The relaxation's own optimum, with gradient cuts added where they are violated; False if it is empty."""
        terms, sense = self.relaxation.goal
        best = None
        for _ in range(GRADIENT_CUTS):
            value = self._optimum(terms, sense)
            if value is None:
                return False
            if not math.isfinite(value):
                break
            stalled = best is not None and abs(best - value) <= 1e-4 * max(1.0, abs(value))
            best = value
            point = self.relaxation.program.point()[self.relaxation.theta]
            if stalled or not self.relaxation.cut_square(point):
                break
            self.points.append(point)
        if best is not None and self.relaxation.bounds_goal:
            self.state.goal_bound = best + sense * WIDENING * (1 + abs(best))
        return True

    def _shrink(self, box: Interval, places: Iterable[int], value: Any) -> None:
        for j in places:
            if self.over():
                return
            high = self._optimum(value(j), 1)
            low = self._optimum(value(j), -1)
            if high is not None and low is not None:
                _take(box, j, low, high)

    def _shrink_option(self, row: int) -> None:
        choice = self.relaxation.choice[row]
        program, value = self.relaxation.program, self.relaxation.option_value(row)
        program.fix(choice, 1.0, 1.0)
        high = self._optimum(value, 1)
        if high is None:
            self.state.excluded.add(row)
            program.fix(choice, 0.0, 0.0)
            return
        low = self._optimum(value, -1)
        if low is not None:
            _take(self.state.options, row, low, high)
        program.fix(choice, 0.0, 1.0)

    def _optimum(self, terms: Terms, sense: int) -> float | None:
        self.programs += 1
        return self.relaxation.program.optimum(terms, sense)


def _take(box: Interval, j: int, low: float, high: float) -> None:
    """Take over better ends, widened; an end is never moved past the other."""
    low, high = low - WIDENING * (1 + abs(low)), high + WIDENING * (1 + abs(high))
    if max(low, box.lower[j]) > min(high, box.upper[j]):
        return
    if low > box.lower[j]:
        box.lower[j], box.lower_reason[j] = low, Reason.TIGHTENING
    if high < box.upper[j]:
        box.upper[j], box.upper_reason[j] = high, Reason.TIGHTENING


# -- the relaxation ---


class _Relaxation:
    """Rows and columns of the linear program that the module's docstring describes."""

    def __init__(
        self, problem: RecourseProblem, bounds: ParameterBounds, state: Tightening, cutoff: float | None
    ) -> None:
        self.problem, self.bounds, self.risk, self.state = problem, bounds, bounds.risk, state
        self.program = program = _LinearProgram()
        self.p = self.risk.p
        self.theta = [program.column(state.theta.lower[j], state.theta.upper[j]) for j in range(self.p)]
        self.gradient: list[Terms] = [[] for _ in range(self.p)]
        self.constant = np.zeros(self.p)
        self.duality: Terms = []
        self.square = self.risk.lam * np.diag(self.risk.penalty)
        self.slope = -self.risk.lam * self.risk.penalty * np.array(self.risk.theta0)
        self.open_fixed: list[int] = []
        self._add_fixed()
        self._add_options()
        self._add_stationarity()
        self.rest = program.column(-math.inf, math.inf)
        program.row(-math.inf, 0.0, [*self.duality, (self.rest, 1.0)])
        self._add_budgets()
        self.bounds_goal = problem.goal is not GoalKind.MAX_HELPED
        self.goal = self._add_goal(cutoff)
        program.load()

    def fixed_value(self, r: int) -> Terms:
        return self._along(self.theta, self.bounds.fixed.xhat[r])

    def option_value(self, row: int) -> Terms:
        return self._along(self.copies[row], self.xhat[row])

    def cut_square(self, point: Vector) -> bool:
        """``rest >= theta'S theta + slope'theta`` through its tangent at a point; False where it cuts nothing off."""
        value = float(point @ self.square @ point)
        gradient = 2 * self.square @ point + self.slope
        terms = [(self.rest, 1.0), *((j, -g) for j, g in zip(self.theta, gradient, strict=True) if g)]
        solution = self.program.solution
        if solution is not None:
            violation = value + self.slope @ point - solution[self.rest]
            if violation <= 1e-7 * (1 + abs(value)):
                return False
        self.program.row(-value, math.inf, terms)
        return True

    @staticmethod
    def _along(columns: Sequence[int], x: Vector) -> Terms:
        return [(column, float(value)) for column, value in zip(columns, x, strict=True) if value]

    def _add_fixed(self) -> None:
        fixed, box = self.bounds.fixed, self.state.fixed
        for r in range(len(fixed)):
            y, a, xhat = float(fixed.y[r]), float(fixed.a[r]), fixed.xhat[r]
            pieces = self.risk.loss.pieces(y) or ()
            if len(pieces) == 1 and isinstance(pieces[0], Line):
                self.square = self.square + a * pieces[0].slope * np.outer(xhat, xhat)
                self.slope = self.slope + a * pieces[0].offset * xhat
                self.constant += a * pieces[0].offset * xhat
                continue
            graph = segments(pieces, box.lower[r], box.upper[r], a)
            if len(graph) == 1 and graph[0].is_flat:
                self.constant += graph[0].g_low * xhat
                self.duality += [(j, graph[0].g_low * value) for j, value in self._along(self.theta, xhat)]
                continue
            self.open_fixed.append(r)
            f = self._along(self.theta, xhat)
            self.program.row(box.lower[r], box.upper[r], f)
            self._add_record(f, xhat, y, a, graph, None)

    def _add_options(self) -> None:
        box, theta = self.state.options, self.state.theta
        self.choice: list[int] = []
        self.copies: list[list[int]] = []
        self.xhat: list[Vector] = []
        for occurrences in self.bounds.members:
            start = len(self.choice)
            for k in range(len(occurrences)):
                self._add_option(occurrences, k, box, theta)
            rows = range(start, len(self.choice))
            self.program.row(1.0, 1.0, [(self.choice[row], 1.0) for row in rows])
            for j in range(self.p):
                self.program.row(0.0, 0.0, [(self.theta[j], -1.0), *((self.copies[row][j], 1.0) for row in rows)])

    def _add_option(self, o: Occurrences, k: int, box: Interval, theta: Interval) -> None:
        row, program = len(self.choice), self.program
        z = program.column(0.0, 0.0 if row in self.state.excluded else 1.0)
        copy = [program.column(-math.inf, math.inf) for _ in range(self.p)]
        self.choice.append(z)
        self.copies.append(copy)
        self.xhat.append(o.xhat[k])
        for j in range(self.p):
            program.row(-math.inf, 0.0, [(copy[j], 1.0), (z, -float(theta.upper[j]))])
            program.row(0.0, math.inf, [(copy[j], 1.0), (z, -float(theta.lower[j]))])
        f, low, high = self._along(copy, o.xhat[k]), float(box.lower[row]), float(box.upper[row])
        program.row(-math.inf, 0.0, [*f, (z, -high)])
        program.row(0.0, math.inf, [*f, (z, -low)])
        if o.a[k] <= 0:
            return
        y, a = float(o.y[k]), float(o.a[k])
        graph = segments(self.risk.loss.pieces(y) or (), low, high, a)
        if len(graph) == 1 and graph[0].is_flat:
            for j in range(self.p):
                self.gradient[j].append((z, graph[0].g_low * float(o.xhat[k, j])))
            self.duality += [(j, graph[0].g_low * value) for j, value in f]
            return
        self._add_record(f, o.xhat[k], y, a, graph, z)

    def _add_record(self, f: Terms, xhat: Vector, y: float, a: float, graph: Sequence[Segment], z: int | None) -> None:
        """Pull in the hull of its graph, loss and conjugate above their tangents; all times ``z`` if there is one."""
        program = self.program
        low, high = min(s.g_low for s in graph), max(s.g_high for s in graph)
        g = program.column(low if z is None else min(low, 0.0), high if z is None else max(high, 0.0))
        for j in range(self.p):
            if xhat[j]:
                self.gradient[j].append((g, float(xhat[j])))

        def row(lower: float, upper: float, terms: Terms, constant: float) -> None:
            """``lower <= terms + constant * z <= upper``, where an end that is not infinite is 0."""
            if z is None:
                program.row(lower - constant, upper - constant, terms)
            else:
                program.row(lower, upper, [*terms, (z, constant)])

        row(0.0, math.inf, [(g, 1.0)], -low)
        row(-math.inf, 0.0, [(g, 1.0)], -high)
        for slope, offset in polyline_hull(graph, upper=True):
            row(-math.inf, 0.0, [(g, 1.0), *((j, -slope * v) for j, v in f)], -offset)
        for slope, offset in polyline_hull(graph, upper=False):
            row(0.0, math.inf, [(g, 1.0), *((j, -slope * v) for j, v in f)], -offset)
        loss, conjugate = program.column(-math.inf, math.inf), program.column(-math.inf, math.inf)
        self.duality += [(loss, 1.0), (conjugate, 1.0)]
        for f0, g0 in polyline_tangent_points(graph):
            value = a * float(self.risk.loss.value(np.array([y]), np.array([f0]))[0])
            row(0.0, math.inf, [(loss, 1.0), *((j, -g0 * v) for j, v in f)], g0 * f0 - value)
            # (a l)*(g0) = f0 g0 - a l(f0) on the graph, with f0 in its subdifferential
            row(0.0, math.inf, [(conjugate, 1.0), (g, -f0)], value)

    def _add_stationarity(self) -> None:
        for j in range(self.p):
            terms = self._along(self.theta, self.square[j])
            target = float(self.risk.lam * self.risk.penalty[j] * self.risk.theta0[j] - self.constant[j])
            self.program.row(target, target, [*terms, *self.gradient[j]])

    def _add_budgets(self) -> None:
        budget, row = self.problem.collective.budget, 0
        costs: Terms = []
        stays: Terms = []
        for member in self.problem.collective.members:
            for k, option in enumerate(self.problem.admissible_options(member)):
                costs.append((self.choice[row], option.cost))
                if k == 0:
                    stays.append((self.choice[row], 1.0))
                row += 1
        self.costs, self.stays = costs, stays
        if budget.total is not None and costs:
            self.program.row(-math.inf, budget.total, costs)
        if budget.members is not None and stays:
            self.program.row(len(stays) - budget.members, math.inf, stays)

    def _add_goal(self, cutoff: float | None) -> tuple[Terms, int]:
        """Guards, required margins and the cutoff; returns the goal's terms and its sense."""
        problem = self.problem
        for guard in problem.guards:
            self._require(guard)
        margin = self.program.column(-math.inf, math.inf)
        slack = 0.0 if cutoff is None else WIDENING * (1 + abs(cutoff))
        if problem.goal in (GoalKind.MAX_MARGIN, GoalKind.MAX_HELPED):
            for query in problem.queries:
                terms, constant = self._margin(query)
                self.program.row(-constant, math.inf, [(margin, -1.0), *terms])
            if problem.goal is GoalKind.MAX_MARGIN and cutoff is not None:
                self.program.fix(margin, cutoff - slack, math.inf)
            return [(margin, 1.0)], 1
        for query in problem.queries:
            self._require(query)
        spent = self.program.column(-math.inf, math.inf if cutoff is None else cutoff + slack)
        if problem.goal is GoalKind.MIN_COST:
            self.program.row(0.0, 0.0, [(spent, -1.0), *self.costs])
        else:
            self.program.row(float(len(self.stays)), float(len(self.stays)), [(spent, 1.0), *self.stays])
        return [(spent, 1.0)], -1

    def _margin(self, query: Query) -> tuple[Terms, float]:
        x = self.risk.extend(np.array([query.x]))[0]
        terms = [(j, query.target * value) for j, value in self._along(self.theta, x)]
        return terms, -query.target * query.threshold

    def _require(self, query: Query) -> None:
        terms, constant = self._margin(query)
        self.program.row(self.problem.needed_margin(query) - WIDENING - constant, math.inf, terms)


# -- linear programs in HiGHS ---


class _LinearProgram:
    """Columns and rows collected, loaded once, then solved for many objectives from the last basis."""

    def __init__(self) -> None:
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.rows: list[tuple[float, float, Terms]] = []
        self.solver: Any = None
        self.solution: Vector | None = None

    def column(self, lower: float, upper: float) -> int:
        self.lower.append(float(lower))
        self.upper.append(float(upper))
        return len(self.lower) - 1

    def row(self, lower: float, upper: float, terms: Terms) -> None:
        merged: dict[int, float] = {}
        for column, value in terms:
            merged[column] = merged.get(column, 0.0) + value
        kept = [(column, value) for column, value in merged.items() if value]
        if self.solver is None:
            self.rows.append((float(lower), float(upper), kept))
            return
        index = np.array([column for column, _ in kept], dtype=np.int32)
        values = np.array([value for _, value in kept]) * self.units[index]
        size = 2.0 ** -np.round(np.log2(np.abs(values).max()))
        self.solver.addRow(lower * size, upper * size, len(kept), index, values * size)

    def fix(self, column: int, lower: float, upper: float) -> None:
        if self.solver is None:
            self.lower[column], self.upper[column] = lower, upper
        else:
            self.solver.changeColBounds(column, lower / self.units[column], upper / self.units[column])

    def load(self) -> None:
        import highspy

        from oar_opt.solvers.highs import quiet_highs
        from oar_opt.solvers.scaling import equilibrate

        self.count = len(self.lower)
        start = np.cumsum([0, *(len(row[2]) for row in self.rows)])
        index = np.array([column for row in self.rows for column, _ in row[2]], dtype=np.int32)
        value = np.array([value for row in self.rows for _, value in row[2]], dtype=float)
        matrix = sparse.csr_array((value, index, start), shape=(len(self.rows), self.count))
        sizes, self.units = equilibrate(matrix, np.ones(self.count, dtype=bool))
        matrix = sparse.csr_array(matrix.multiply(sizes[:, None]).multiply(self.units[None, :]))
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.count, len(self.rows)
        lp.col_cost_ = np.zeros(self.count)
        lp.col_lower_, lp.col_upper_ = np.array(self.lower) / self.units, np.array(self.upper) / self.units
        lp.row_lower_ = np.array([row[0] for row in self.rows]) * sizes
        lp.row_upper_ = np.array([row[1] for row in self.rows]) * sizes
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
        self.solver = quiet_highs()
        self.solver.setOptionValue("presolve", "off")
        self.solver.setOptionValue("threads", 1)
        self._tolerances(STRICT)
        highspy.Highs.resetGlobalScheduler(True)
        self.solver.passModel(lp)

    def _tolerances(self, tolerance: float) -> None:
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            self.solver.setOptionValue(name, tolerance)

    def optimum(self, terms: Terms, sense: int) -> float | None:
        """The largest (``sense`` 1) or least value of a linear form; None if empty, infinite where unsettled."""
        import highspy

        cost = np.zeros(self.count)
        for column, value in terms:
            cost[column] += value * self.units[column]
        self.solver.changeColsCost(self.count, np.arange(self.count, dtype=np.int32), cost)
        self.solver.changeObjectiveSense(highspy.ObjSense.kMaximize if sense > 0 else highspy.ObjSense.kMinimize)
        self.solver.run()
        status = self.solver.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            # Excluding an option for good needs more than one run's word: again, from scratch and less strictly.
            self._tolerances(LOOSE)
            self.solver.clearSolver()
            self.solver.run()
            status = self.solver.getModelStatus()
            self._tolerances(STRICT)
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            return sense * math.inf
        self.solution = self.units * np.array(self.solver.getSolution().col_value)
        return float(self.solver.getInfo().objective_function_value)

    def point(self) -> Vector:
        assert self.solution is not None
        return self.solution
