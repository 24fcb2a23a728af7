"""The relaxation of menus with its convex terms as nonlinear rows, for solvers that have them.

Letters of :mod:`oar_opt.relaxation`, whose columns and rows are translated one by one into a Pyomo model; beside its
first tangents, which help a solver's linear programs, every convex term gets its own rows.

- **Squares**: ``weight t^2 <= q z``, a second-order cone.
- **Polylines**. Over its interval the graph is a chain of segments from ``(p_j, r_j)`` to ``(p_j', r_j')``, weight
  included. Walk it: ``f = z p_1 + sum_j x_j`` with ``0 <= x_j <= z (p_j' - p_j)``. Then

      z a l(f / z)  =  min over x of   z a l(p_1) + sum_j [ r_j x_j + slope_j / 2 x_j^2 / z ],

  since slopes grow along the chain, so that walking it in order is cheapest. The conjugate is the same with the axes
  exchanged: it starts at ``r_1``, where it is ``p_1 r_1 - a l(p_1)``, and its slopes are ``1 / slope_j``. Where all
  segments are level or upright (hinge, absolute value) nothing is quadratic, and the lines of the relaxation are exact.
- **Curves** (logistic): the rows that the loss brings, which are right for ``z`` 0 and 1. In the loss's, ``z`` 0 adds
  ``a l(0)``, as there ``f = 0`` and the column is only known to be at least 0; the conjugate is ``-min l = 0`` at 0.

**Slack.** The strong-duality row is an equality in disguise: every point with ``z`` 0 or 1 that satisfies the rest has
a left side of at least 0, so there is no interior, and a solver that asks for one finds nothing. It gets :data:`SLACK`,
relative to the total weight of the records. A slack only adds points, so bounds stay valid; as the learner's optimum
is then only known to the root of the slack, choices are to be settled by re-training.

Reference: O. Günlük, J. Linderoth, "Perspective reformulations of mixed integer nonlinear programs with indicator
variables", 2010.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.numeric_expr import LinearExpression

from oar_opt.contracts import PyomoProgram
from oar_opt.linear_program import Limits
from oar_opt.parameters import LinearParameters
from oar_opt.problem import GoalKind, Move, Vector, moves_from_choice
from oar_opt.relaxation import Curve, Relaxation, Square
from oar_opt.result import Request, StoppedBy
from oar_opt.retraining_search import Candidate, Choice, likeliest, rows_of
from oar_opt.risk import Segment, segments
from oar_opt.solver_features import SolverFeature

SLACK = 1e-8
SHORT = 1e-4
"""Of a slanted segment shorter than that, only its slope at the start is written, not its square."""
ROOM = 1 + 1e-6
"""Ends of variables above a function are that much wider than the function's own."""


@dataclass(frozen=True)
class _Step:
    """A segment of a chain that is walked: its length, and value and slope of the derivative at its start."""

    length: float
    value: float
    slope: float


class NonlinearRelaxation:
    """A Pyomo model of a relaxation: ``columns`` has the variable of each column, ``program`` is ready to run."""

    def __init__(self, relaxation: Relaxation) -> None:
        self.relaxation, self.loss = relaxation, relaxation.risk.loss
        self.model: Any = pyo.ConcreteModel(name=relaxation.problem.name)
        self.columns: list[Any] = []
        self.choice: Choice = ()
        self.needs = {SolverFeature.QUADRATIC}
        self._add_columns()
        self._add_rows()
        self._add_goal()
        self.model.walked, self.model.square_of = pyo.VarList(), pyo.VarList()
        self.model.axis, self.model.axis_is = pyo.VarList(), pyo.ConstraintList()
        self.model.walk, self.model.walked_at_most = pyo.ConstraintList(), pyo.ConstraintList()
        self.model.convex, self.model.settled = pyo.ConstraintList(), pyo.ConstraintList()
        for square in relaxation.squares:
            self._add_square(square)
        for curve in relaxation.curves:
            self._add_curve(curve)

    @property
    def program(self) -> PyomoProgram:
        """With as many rows as there are now."""
        return PyomoProgram(
            model=self.model,
            read=self._read,
            start=lambda moves, parameters: {},
            meanings={},
            bounds={},
            needs=frozenset(self.needs),
            has_interior=False,
        )

    def _read(self) -> tuple[tuple[Move, ...], LinearParameters]:
        relaxation, problem = self.relaxation, self.relaxation.problem
        point = np.array([variable.value for variable in self.columns], dtype=float)
        self.choice = likeliest(relaxation, point)
        self.theta: Vector = point[relaxation.theta]
        menus = [problem.admissible_options(member) for member in problem.collective.members]
        options = [menu[k] for menu, k in zip(menus, self.choice, strict=True)]
        w, b = relaxation.risk.split(self.theta)
        return moves_from_choice(problem, options), LinearParameters.of(w, b)

    # -- columns and linear rows ---

    def _add_columns(self) -> None:
        relaxation = self.relaxation
        places: dict[str, list[int]] = {}
        column = 0
        for group, size in relaxation.groups:
            places.setdefault(group, []).extend(range(column, column + size))
            column += size
        made: dict[int, Any] = {}
        for group, numbers in places.items():
            if not numbers:
                continue
            names = self._names(group, len(numbers))
            ends = {name: (relaxation.lower[n], relaxation.upper[n]) for name, n in zip(names, numbers, strict=True)}
            domain = pyo.Binary if relaxation.integer[numbers[0]] else pyo.Reals
            variable = pyo.Var(names, bounds=ends, domain=domain)
            self.model.add_component(group, variable)
            made |= {n: variable[name] for name, n in zip(names, numbers, strict=True)}
        self.columns = [made[number] for number in range(column)]

    def _names(self, group: str, size: int) -> list[Any]:
        """Options by the member's record and the option's place, their copies by the coordinate too, else numbers."""
        relaxation = self.relaxation
        records = [member.record for member in relaxation.problem.collective.members]
        rows = relaxation.undecided
        options = [(records[int(relaxation.bounds.owner[row])], int(relaxation.bounds.place[row])) for row in rows]
        if group in ("choice", "option_value"):
            return options
        if group == "copy":
            return [(*option, j) for option in options for j in range(relaxation.p)]
        return list(range(size))

    def _add_rows(self) -> None:
        relaxation = self.relaxation
        matrix = relaxation.rows.matrix(len(self.columns))
        lower, upper = relaxation.rows.ends()
        duality = int(relaxation.duality[0])
        upper[duality] += SLACK * max(1.0, self._weight())

        def body(row: int) -> Any:
            part = slice(matrix.indptr[row], matrix.indptr[row + 1])
            variables = [self.columns[column] for column in matrix.indices[part]]
            return LinearExpression(linear_coefs=matrix.data[part].tolist(), linear_vars=variables)

        def row(_: Any, number: int) -> Any:
            # A row without variables is left to the linear program, which has been asked before.
            if matrix.indptr[number] == matrix.indptr[number + 1]:
                return pyo.Constraint.Skip
            if lower[number] == upper[number]:
                return body(number) == lower[number]
            ends = [end if math.isfinite(end) else None for end in (lower[number], upper[number])]
            return (ends[0], body(number), ends[1])

        others = [number for number in range(matrix.shape[0]) if number >= relaxation.p and number != duality]
        self.model.stationarity = pyo.Constraint(range(relaxation.p), rule=row)
        self.model.strong_duality = pyo.Constraint([duality], rule=row)
        self.model.row = pyo.Constraint(others, rule=row)

    def _weight(self) -> float:
        """The largest total weight that the records can have."""
        bounds = self.relaxation.bounds
        return float(bounds.fixed.a.sum()) + sum(float(member.a.max(initial=0.0)) for member in bounds.members)

    def _add_goal(self) -> None:
        terms, sense, constant = self.relaxation.goal
        expression = sum(value * self.columns[column] for column, value in terms) + constant
        self.model.goal = pyo.Objective(expr=expression, sense=pyo.maximize if sense > 0 else pyo.minimize)

    # -- convex terms ---

    def _add_square(self, square: Square) -> None:
        m = self.model
        above, z = self.columns[square.column], self._z(square.z)
        if len(square.columns) == 1:
            weight, t = square.weight * square.direction[0] ** 2, self.columns[square.columns[0]]
        else:
            weight, t = square.weight, m.axis.add()
            part = zip(square.direction, square.columns, strict=True)
            m.axis_is.add(t == sum(value * self.columns[column] for value, column in part))
            reach = math.sqrt(above.ub / weight) * ROOM
            t.setlb(-reach)
            t.setub(reach)
        m.convex.add(weight * t * t <= above * z)

    def _z(self, column: int | None) -> Any:
        return 1.0 if column is None else self.columns[column]

    def _add_curve(self, curve: Curve) -> None:
        if curve.loss is None and curve.conjugate is None:
            return
        pieces = self.loss.pieces(curve.y)
        if pieces is None:
            self._add_curved(curve)
            return
        chain = segments(pieces, curve.low, curve.high, curve.a)
        value = curve.a * float(self.loss.value(np.array([curve.y]), np.array([chain[0].f_low]))[0])
        if curve.loss is not None:
            steps = [_along_f(s) for s in chain if s.f_high > s.f_low]
            self._walk(curve, curve.loss, curve.f, (chain[0].f_low, value), steps)
        if curve.conjugate is not None:
            steps = [_along_g(s) for s in chain if s.g_high > s.g_low]
            start = (chain[0].g_low, chain[0].f_low * chain[0].g_low - value)
            self._walk(curve, curve.conjugate, curve.g, start, steps)

    def _walk(self, curve: Curve, column: int, along: int, start: tuple[float, float], steps: Sequence[_Step]) -> None:
        """The column is above the cheapest walk from ``start``, a place and the value there."""
        if not any(step.slope > 0 and step.length > SHORT for step in steps):
            return
        m, z = self.model, self._z(curve.z)
        parts = [m.walked.add() for _ in steps]
        m.walk.add(self.columns[along] == start[0] * z + sum(parts))
        total = start[1] * z
        for step, part in zip(steps, parts, strict=True):
            part.setlb(0.0)
            part.setub(step.length)
            if curve.z is not None:
                m.walked_at_most.add(part <= step.length * z)
            total += step.value * part
            if step.slope > 0 and step.length > SHORT:
                square = m.square_of.add()
                square.setlb(0.0)
                square.setub(ROOM * step.length**2)
                m.convex.add(part * part <= square * z)
                total += step.slope / 2 * square
        m.walk.add(self.columns[column] >= total)

    def _add_curved(self, curve: Curve) -> None:
        """The rows that the loss brings; a column of the relaxation stands for each."""
        assert curve.loss is not None and curve.conjugate is not None
        self.needs.add(SolverFeature.EXPONENTIAL)
        a, f, g = curve.a, self.columns[curve.f], self.columns[curve.g]
        value = self.columns[curve.loss] / a
        if curve.z is not None:
            value = value + float(self.loss.value(np.array([curve.y]), np.zeros(1))[0]) * (1 - self._z(curve.z))
        conjugate = self.columns[curve.conjugate] / a
        self.model.convex.add(self.loss.value_excess(curve.y, value, f, pyo.exp) <= 0)
        self.model.convex.add(self.loss.conjugate_excess(curve.y, conjugate, g / a, pyo.log) <= 0)


def _along_f(s: Segment) -> _Step:
    length = s.f_high - s.f_low
    return _Step(length, s.g_low, (s.g_high - s.g_low) / length)


def _along_g(s: Segment) -> _Step:
    length = s.g_high - s.g_low
    return _Step(length, s.f_low, (s.f_high - s.f_low) / length)


class NonlinearChoices:
    """A :class:`oar_opt.retraining_search.ChoiceProgram`: the model, run by the request's solver."""

    def __init__(self, relaxation: Relaxation, request: Request) -> None:
        self.relaxation, self.request = relaxation, request
        self.stated = NonlinearRelaxation(relaxation)
        self.solver = request.solver or ""
        self._found = False

    def best(self, limits: Limits) -> Candidate:
        from oar_opt.solvers import run_pyomo

        finite = math.isfinite(limits.seconds) if limits.seconds is not None else False
        request = replace(
            self.request,
            time_limit=limits.seconds if finite else None,
            node_limit=limits.nodes,
            # The solvers stop at half of the gap that they are given.
            relative_gap=2 * limits.gap,
            progress=None,
            start=None,
            start_parameters=None,
        )
        claim = run_pyomo(self.stated.program, request)
        self.solver = claim.solver
        self._found = claim.moves is not None
        if claim.infeasible:
            return Candidate(True, None, None, claim.nodes)
        bound = self.relaxation.goal[1] * math.inf if claim.bound is None else claim.bound
        choice = self.stated.choice if self._found else None
        return Candidate(claim.stopped_by in (StoppedBy.GAP, StoppedBy.PROOF), bound, choice, claim.nodes)

    def forbid(self, choice: Choice) -> None:
        columns = self.relaxation.choice[rows_of(self.relaxation, choice)]
        picked = [self.stated.columns[int(column)] for column in columns if column >= 0]
        if picked:
            self.stated.model.settled.add(sum(picked) <= len(picked) - 1)

    def demand(self, target: float) -> None:
        terms, sense, _ = self.relaxation.goal
        if self.relaxation.problem.goal is GoalKind.MAX_MARGIN:
            margin = self.stated.columns[terms[0][0]]
            margin.setlb(min(margin.ub, max(margin.lb, target)))
        elif terms:
            goal = self.stated.model.goal.expr
            self.stated.model.settled.add(goal >= target if sense > 0 else goal <= target)

    def refine(self) -> None:
        """The limit on the training loss has no row of its own, only tangents."""
        tangent = self.relaxation.training_loss_tangent(self.stated.theta) if self._found else None
        if tangent is not None:
            columns = [self.stated.columns[int(column)] for column in self.relaxation.theta]
            left = sum(float(v) * column for v, column in zip(tangent[0], columns, strict=True))
            self.stated.model.settled.add(left <= tangent[1])
