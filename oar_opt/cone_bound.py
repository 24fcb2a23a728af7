"""Bounds of convex programs that hold whatever the solver did: weak duality, computed anew from the program's data.

A program of cvxpy over linear rows and second-order cones is, in the solver's form,

    minimise c'x    subject to  A x + v = b,  v in K = {0} x R_+ x (second-order cones),

and here every variable has a proved interval, ``l <= x <= u``. For any ``y`` in the dual cone ``K* = R x R_+ x (the
same cones)`` and any ``x`` that is feasible,

    c'x  >=  c'x - y'v  =  -b'y + (c + A'y)'x  >=  -b'y + sum_j min((c + A'y)_j l_j, (c + A'y)_j u_j).

The solver's dual vector is projected onto ``K*`` and put in; its accuracy decides how good the bound is, never whether
it holds. The same with ``c = 0`` and a value above 0 proves that nothing is feasible. Rounding is allowed for by
:data:`ROUNDING` times the sizes of all terms.

Reference: A. Neumaier, O. Shcherbina, "Safe bounds in linear and mixed-integer linear programming", 2004; the step to
second-order cones is that their dual cones are they themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oar_opt.cone_form import check_dims
from oar_opt.errors import SolverError
from oar_opt.problem import Vector

ROUNDING = 1e-13
"""Of the sum of the sizes of all terms: far above what sums of some thousands of them lose."""
SURE = 1e-9
"""What proves that nothing is feasible, relative to the sizes of the terms."""
ACCURACY = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11, "max_threads": 1}
"""Asked of Clarabel; where it reaches less, the bound is weaker by that."""


@dataclass(frozen=True, eq=False)
class Range:
    """A cvxpy variable with the proved ends of its entries; every program variable has one."""

    variable: Any
    low: Any
    high: Any


@dataclass(frozen=True, eq=False)
class ConePoint:
    """What a run gave: ``values`` by the variables' ids (whatever their accuracy), and the two proofs."""

    values: dict[int, Any]
    bound: float
    infeasible: bool

    def of(self, variable: Any) -> Any:
        """The value of a variable, in its shape."""
        return self.values[variable.id]


def minimise(
    objective: Any, rows: Sequence[Any], ranges: Sequence[Range], time_limit: float | None = None
) -> ConePoint:
    """Minimise an affine ``objective`` without a constant under ``rows`` (linear, or ``cp.SOC``), by Clarabel.

    The ends of ``ranges`` are stated as rows here. Raises :class:`SolverError` where a variable has no range.
    """
    import cvxpy as cp

    program = cp.Problem(cp.Minimize(objective), rows_of(rows, ranges))
    data, chain, _ = program.get_problem_data(cp.CLARABEL)
    options = dict(ACCURACY) if time_limit is None else {**ACCURACY, "time_limit": time_limit}
    found = chain.solve_via_data(program, data, solver_opts=options)
    columns = data["param_prob"].var_id_to_col
    low, high = _ends(ranges, columns, data["A"].shape[1])
    y = _in_dual_cone(np.nan_to_num(np.array(found.z)), data["dims"])
    x = np.nan_to_num(np.array(found.x))
    values = {
        one.variable.id: x[columns[one.variable.id] :][: one.variable.size].reshape(one.variable.shape, order="F")
        for one in ranges
    }
    bound, _ = _weak_duality(data["c"], data["A"], data["b"], y, low, high)
    proof, size = _weak_duality(0.0 * data["c"], data["A"], data["b"], y, low, high)
    return ConePoint(values, bound, proof > SURE * size)


def rows_of(rows: Sequence[Any], ranges: Sequence[Range]) -> list[Any]:
    """The ends of ``ranges`` as rows, before the others."""
    ends = [row for one in ranges for row in (one.variable >= one.low, one.variable <= one.high)]
    return [*ends, *rows]


def _ends(ranges: Sequence[Range], columns: dict[int, int], total: int) -> tuple[Vector, Vector]:
    low, high = np.full(total, np.nan), np.full(total, np.nan)
    for one in ranges:
        place = slice(columns[one.variable.id], columns[one.variable.id] + one.variable.size)
        low[place] = np.broadcast_to(one.low, one.variable.shape).ravel(order="F")
        high[place] = np.broadcast_to(one.high, one.variable.shape).ravel(order="F")
    if not (np.isfinite(low) & np.isfinite(high)).all():
        raise SolverError("a variable of the convex program has no proved interval: please report it")
    return low, high


def _in_dual_cone(y: Vector, dims: Any) -> Vector:
    """The nearest dual vector: multipliers of inequalities at least 0, those of cones in their cones."""
    check_dims(dims)
    place = dims.zero + dims.nonneg
    y[dims.zero : place] = np.maximum(0.0, y[dims.zero : place])
    for size in dims.soc:
        y[place : place + size] = _project(y[place : place + size])
        place += size
    return y


def _project(v: Vector) -> Vector:
    """Onto the second-order cone ``v_0 >= ||v_rest||``, and a little inside."""
    length = float(np.linalg.norm(v[1:]))
    if v[0] >= length:
        return v
    if v[0] <= -length:
        return np.zeros(len(v))
    middle = (v[0] + length) / 2
    inside: Vector = np.concatenate([[middle * (1 + 1e-15)], v[1:] * (middle / length)])
    return inside


def _weak_duality(c: Vector, A: Any, b: Vector, y: Vector, low: Vector, high: Vector) -> tuple[float, float]:
    """The bound, and the size of its terms."""
    left = c + A.T @ y
    value = -float(b @ y) + float(np.minimum(left * low, left * high).sum())
    farthest = np.maximum(np.abs(low), np.abs(high))
    size = float(np.abs(b) @ np.abs(y)) + float((np.abs(c) + abs(A).T @ np.abs(y)) @ farthest)
    return value - ROUNDING * size, size
