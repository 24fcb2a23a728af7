"""The largest value of one record's term in a Lagrangian, over all points of its loss's graph, in rationals.

For a record of weight 1 with decision value ``f`` and subgradient ``g``, and numbers ``gamma`` and ``mu >= 0``,

    max over (f, g) on the graph of    V(f) + g (gamma - mu f),       V(f) = -A f^2 + B f,  A >= 0.

A polyline is gone through piece by piece. On a line ``g = s f + t`` (``s >= 0``) the term is the concave quadratic
``-(A + mu s) f^2 + (B + s gamma - mu t) f + t gamma``, which is largest at its vertex or at an end; at a jump it is
linear in ``g``, so largest at an end. The maximum over an unbounded line may be infinite: None.

The logistic loss has no polyline, but on its graph ``f g = l(f) + l*(g)``, so the term is at most

    max over f of (V(f) - tau f) + mu l*(tau / mu) + mu l(gamma / mu)      for every tau,

by Fenchel's inequality ``mu l(f) >= tau f - mu l*(tau / mu)`` and ``gamma g - mu l*(g) <= mu l(gamma / mu)``. Here
``l(f) = log(1 + exp(-y f))``, and ``l*(-y v) = v log v + (1 - v) log(1 - v)`` for ``v`` in ``[0, 1]``, evaluated in
balls.

Reference: R. T. Rockafellar, "Convex Analysis", 1970, sections 12 and 26.
"""

from __future__ import annotations

from collections.abc import Sequence

from flint import arb, ctx, fmpq

from oar_opt.proof.polylines import Graph
from oar_opt.proof.rationals import PRECISION, Interval, Number

LARGEST = fmpq(120)
"""``exp(-120)`` is less than ``2^-173``."""


def graph_maximum(pieces: Graph, A: Number, B: Number, gamma: Number, mu: Number) -> Number | None:
    """The maximum over a polyline; None where it is infinite."""
    found = []
    for piece in pieces:
        if piece.g_low is not None and piece.g_high is not None and piece.low is not None:
            f, slack = piece.low, gamma - mu * piece.low
            found.append((B - A * f) * f + max(piece.g_low * slack, piece.g_high * slack))
            continue
        curvature, slope = A + mu * piece.slope, B + piece.slope * gamma - mu * piece.offset
        value = quadratic_maximum(curvature, slope, piece.low, piece.high)
        if value is None:
            return None
        found.append(value + piece.offset * gamma)
    return max(found)


def quadratic_maximum(curvature: Number, slope: Number, low: Number | None, high: Number | None) -> Number | None:
    """The maximum of ``-curvature f^2 + slope f`` on an interval (None: no end there); None where it is infinite."""
    if curvature > 0:
        f = slope / (2 * curvature)
        f = f if low is None else max(f, low)
        f = f if high is None else min(f, high)
    elif slope > 0:
        if high is None:
            return None
        f = high
    elif slope < 0:
        if low is None:
            return None
        f = low
    else:
        return fmpq(0)
    return (slope - curvature * f) * f


def concave_maximum(matrix: Sequence[Sequence[Number]], linear: Sequence[Number]) -> Number | None:
    """The maximum of ``linear'x - x'matrix x`` over all ``x (k,)``, for a symmetric ``matrix``; None where it is not
    concave, or infinite. By elimination: every pivot is above 0, or its row is 0."""
    rows, right, total = [list(row) for row in matrix], list(linear), fmpq(0)
    for k, row in enumerate(rows):
        pivot = row[k]
        if pivot < 0 or (pivot == 0 and (right[k] != 0 or any(row[k:]))):
            return None
        if pivot == 0:
            continue
        total += right[k] * right[k] / (4 * pivot)
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / pivot
            if factor != 0:
                rows[i] = [a - factor * b for a, b in zip(rows[i], row, strict=True)]
                right[i] -= factor * right[k]
    return total


def logistic_maximum(
    y: Number, A: Number, B: Number, gamma: Number, mu: Number, taus: Sequence[Number]
) -> Number | None:
    """A rational that is at least the maximum over the logistic loss's graph, the least that the ``taus`` give; None
    where none gives one. ``mu > 0``."""
    best = None
    for tau in taus:
        free = quadratic_maximum(A, B - tau, None, None)
        v = -y * tau / mu
        if free is None or not 0 <= v <= 1:
            continue
        value = free + mu * (_conjugate_above(v) + _logarithm_above(-y * gamma / mu))
        best = value if best is None else min(best, value)
    return best


def _conjugate_above(v: Number) -> Number:
    """At least ``v log v + (1 - v) log(1 - v)``, for ``v`` from 0 to 1."""
    if v in (0, 1):
        return fmpq(0)
    with ctx.workprec(PRECISION):
        return Interval.around(arb(v) * arb(v).log() + arb(1 - v) * arb(1 - v).log()).high


def _logarithm_above(z: Number) -> Number:
    """At least ``log(1 + exp(z)) = max(0, z) + log(1 + exp(-|z|))``, for ``z`` of any size: the last term falls with
    ``|z|``, so this may be cut to a size whose ball is not too wide or too fine to be a rational."""
    with ctx.workprec(PRECISION):
        return max(fmpq(0), z) + Interval.around((1 + arb(-min(abs(z), LARGEST)).exp()).log()).high
