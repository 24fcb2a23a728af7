"""Convex programs over linear rows and second-order cones: of cvxpy, and as matrices.

As matrices a program is ``min or max c'x`` under ``b - A x in K``: ``K`` is the product of zeros, half-lines of numbers
that are at least 0, and second-order cones ``v_0 >= ||v_rest||``, in that order. It is what solvers and files take, and
does not apply to other cones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oar_opt.errors import SolverError
from oar_opt.problem import Move, Vector


@dataclass(frozen=True, eq=False)
class ConeForm:
    """``c (columns,)``, sparse ``A (rows, columns)``, ``b (rows,)``; rows by cones; what every column is, in words."""

    c: Vector
    A: Any
    b: Vector
    zero: int
    nonnegative: int
    second_order: tuple[int, ...]
    maximises: bool
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ConvexProgram:
    """A program of cvxpy, its objective in the instance's units, with its way back to moves.

    ``changes`` has the cvxpy expression ``(d,)`` of every member's change in the features' own units, by record;
    ``words`` says what a variable's entries are, by its id, in its shape (those without are auxiliary). ``read`` turns
    the variables' present values into moves.
    """

    problem: Any
    changes: Mapping[int, Any]
    words: Mapping[int, Any]
    read: Callable[[], tuple[Move, ...]]

    @property
    def maximises(self) -> bool:
        import cvxpy as cp

        return isinstance(self.problem.objective, cp.Maximize)

    def form(self) -> ConeForm:
        """The program as matrices; raises :class:`SolverError` where it has other cones."""
        import cvxpy as cp

        data, _, _ = self.problem.get_problem_data(cp.CLARABEL)
        dims = data["dims"]
        check_dims(dims)
        columns = np.full(data["A"].shape[1], "auxiliary", dtype=object)
        for variable in self.problem.variables():
            if variable.id in self.words:
                first = data["param_prob"].var_id_to_col[variable.id]
                columns[first : first + variable.size] = np.array(self.words[variable.id]).ravel(order="F")
        return ConeForm(
            np.asarray(-data["c"] if self.maximises else data["c"], dtype=np.float64),
            data["A"],
            np.asarray(data["b"], dtype=np.float64),
            int(dims.zero),
            int(dims.nonneg),
            tuple(map(int, dims.soc)),
            self.maximises,
            tuple(map(str, columns)),
        )


def check_dims(dims: Any) -> None:
    """Raises :class:`SolverError` where a program that cvxpy has compiled has cones beyond those."""
    if dims.exp or dims.psd or dims.p3d:
        raise SolverError("the convex program has cones that are not of second order: please report it")
