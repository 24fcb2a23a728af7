"""Pulls that nearly go with an approximate optimum, to begin a proof with; nothing rests on their accuracy.

A record away from the kinks of its loss has one subgradient. Those at a kink have a range, and stationarity, ``R_lam
(theta - theta0) + sum_i g_i xhat_i = 0``, chooses from it: least squares over the ranges, in floating point, cut to
the ranges in rationals.

Reference: P. B. Stark, R. L. Parker, "Bounded-Variable Least-Squares: an Algorithm and Applications", 1995.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from flint import fmpq

from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.polylines import Graph, Piece, pulls_at
from oar_opt.proof.rationals import Number, approximate, exact

NEAR = fmpq(1, 10**8)
"""How near to a kink, relative to its size, a record counts as being at it."""
LARGE = 1e100
"""Numbers above are not squared in floating point: then the pulls stay at an end of their ranges, which is feasible."""


def is_near(piece: Piece, f: Number) -> bool:
    """Whether a piece is a jump near ``f``."""
    return piece.is_jump and piece.low is not None and bool(abs(piece.low - f) <= NEAR * max(fmpq(1), abs(f)))


def approximate_pulls(risk: ExactRisk, graphs: Sequence[Graph], near: Sequence[Number]) -> list[Number]:
    """Dual feasible pulls that nearly are those of an approximate optimum ``near (p,)``.

    Those of records at a kink are the least squares that stationarity asks for, in floating point, cut to what is
    feasible: any choice is, so nothing rests on its accuracy.
    """
    ranges = [_range_near(pieces, f) for pieces, f in zip(graphs, risk.values(near), strict=True)]
    pulls = [a * low for a, (low, _) in zip(risk.a, ranges, strict=True)]
    open_ones = [i for i, (low, high) in enumerate(ranges) if low < high]
    if not open_ones:
        return pulls
    from scipy.optimize import lsq_linear

    rest = [c * (t - t0) for c, t, t0 in zip(risk.penalty, near, risk.theta0, strict=True)]
    for i, row in enumerate(risk.xhat):
        if i not in open_ones:
            rest = [r + pulls[i] * x for r, x in zip(rest, row, strict=True)]
    rows = np.array([[approximate(x) for x in risk.xhat[i]] for i in open_ones]).T
    low = np.array([approximate(risk.a[i] * ranges[i][0]) for i in open_ones])
    high = np.array([approximate(risk.a[i] * ranges[i][1]) for i in open_ones])
    sizes = [*map(abs, rows.ravel().tolist()), *map(abs, low.tolist()), *map(abs, high.tolist())]
    if max(*sizes, *(abs(approximate(r)) for r in rest)) > LARGE:
        return pulls
    found = lsq_linear(rows, -np.array([approximate(r) for r in rest]), (low, high), method="bvls", tol=1e-15)
    for i, value in zip(open_ones, found.x.tolist(), strict=True):
        a, (least, most) = risk.a[i], ranges[i]
        if math.isfinite(value):
            pulls[i] = min(max(exact(value), a * least), a * most)
    return pulls


def _range_near(pieces: Graph, f: Number) -> tuple[Number, Number]:
    """The pulls at ``f``, or at a jump that is near."""
    for piece in pieces:
        if piece.low is not None and is_near(piece, f):
            return pulls_at(pieces, piece.low)
    return pulls_at(pieces, f)
