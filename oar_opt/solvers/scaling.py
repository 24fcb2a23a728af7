"""Equilibration: rows and continuous columns of a program scaled by powers of two, so that absolute tolerances mean
something.

Alternating geometric scaling brings the largest entry of every row and column near 1 without touching a bit of any
coefficient's mantissa. Integer columns keep their unit.

Reference: D. Ruiz, "A Scaling Algorithm to Equilibrate Both Rows and Columns Norms in Matrices", 2001.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from oar_opt.problem import Flags, Vector

SWEEPS = 10


def equilibrate(matrix: Any, continuous: Flags, sweeps: int = SWEEPS) -> tuple[Vector, Vector]:
    """Row scales ``(m,)`` and column scales ``(n,)``: solve ``diag(r) A diag(c) x' = diag(r) b`` with ``x = c x'``."""
    size = abs(sparse.csr_array(matrix))
    rows, columns = np.ones(size.shape[0]), np.ones(size.shape[1])
    if not size.nnz:
        return rows, columns
    for _ in range(sweeps):
        rows = rows / np.sqrt(_largest(size.multiply(rows[:, None]).multiply(columns[None, :]), axis=1))
        step = np.sqrt(_largest(size.multiply(rows[:, None]).multiply(columns[None, :]), axis=0))
        columns = np.where(continuous, columns / step, 1.0)
    return np.exp2(np.round(np.log2(rows))), np.exp2(np.round(np.log2(columns)))


def _largest(matrix: Any, axis: int) -> Vector:
    """The largest entry of every row (``axis`` 1) or column; 1 where there is none."""
    found = np.asarray(sparse.csr_array(matrix).max(axis=axis).todense(), dtype=np.float64).ravel()
    return np.where(found > 0, found, 1.0)
