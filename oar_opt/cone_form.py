"""A convex program over linear rows and second-order cones as matrices: ``min or max c'x`` under ``b - A x in K``.

``K`` is the product of zeros, half-lines of numbers that are at least 0, and second-order cones ``v_0 >= ||v_rest||``,
in that order. It is what solvers and files take, and does not apply to other cones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oar_opt.problem import Vector


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
