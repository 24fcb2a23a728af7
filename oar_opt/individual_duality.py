"""What one subject's changes can do at most against a fixed model: weak duality in exact arithmetic.

The margin of a record ``x + delta`` under fixed parameters is ``m(delta) = min over k of base_k + g_k'delta``:

- linear learners have one piece, ``g = t w`` and ``base = t (w'x + b - threshold)``;
- the nearest centroid has one for each other class ``c``, since ``||x - mu_c||^2 - ||x - mu_t||^2`` is linear in ``x``:
  ``g_c = 2 (mu_t - mu_c)``.

Letters of :mod:`oar_opt.changes`: box ``lower <= delta <= upper``, rows ``A delta <= b``, groups ``E delta = total``.
For any ``lambda, y >= 0``, any ``nu (groups,)`` and ``p (d,)`` let

    D(need) = lambda'(need - base) - y'b - nu'total
              + min over the box of (p - G'lambda + A'y + E'nu)'delta.

*Least length.* ``p'delta <= N ||delta / scale||`` with ``N`` the dual norm of ``p * scale``, so a change that obeys the
rules and has ``m(delta) >= need`` is at least ``D(need) / N`` long.

*Best margin.* Within ``||delta / scale|| <= radius`` no margin is above ``(N radius - D(0)) / sum(lambda)``.

The multipliers are whatever a solver proposes; ``D`` is evaluated in rational numbers, so that the bounds rest on no
solver. Features that move in steps count with their range only: such bounds hold but need not be reached. Nothing
follows where the minimum over the box is not finite.

Reference: R. T. Rockafellar, "Convex Analysis", 1970 (sections 16 and 28).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from oar_opt.changes import ChangeSet
from oar_opt.parameters import CentroidParameters, Parameters
from oar_opt.problem import Matrix, Norm, Query, Vector

Numbers = tuple[Fraction, ...]


@dataclass(frozen=True)
class Pieces:
    """The margin's pieces: ``base`` for every piece, ``slopes`` one row ``(d,)`` for each."""

    base: Numbers
    slopes: tuple[Numbers, ...]

    @cached_property
    def G(self) -> Matrix:
        """The slopes in floating point, ``(K, d)``."""
        return np.array([[float(value) for value in row] for row in self.slopes])

    @cached_property
    def base_vector(self) -> Vector:
        """``base`` in floating point, ``(K,)``."""
        return np.array([float(value) for value in self.base])


def pieces_of(parameters: Parameters, query: Query) -> Pieces:
    """The pieces of a query's margin in the change of its own record; exact for these parameters."""
    x = _exact(query.x)
    if isinstance(parameters, CentroidParameters):
        mu, own = [_exact(point) for point in parameters.mu], int(query.target)
        far = [_squared(x, point) for point in mu]
        others = [c for c in range(len(mu)) if c != own]
        slopes = [tuple(2 * (a - b) for a, b in zip(mu[own], mu[c], strict=True)) for c in others]
        return Pieces(tuple(far[c] - far[own] for c in others), tuple(slopes))
    target, w = Fraction(query.target), _exact(parameters.w)
    base = target * (_product(w, x) + Fraction(parameters.b) - Fraction(query.threshold))
    return Pieces((base,), (tuple(target * value for value in w),))


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Of the margin's pieces ``(K,)``, rows, groups, and the change ``p (d,)``; letters of the module's page."""

    pieces: Vector
    rows: Vector
    groups: Vector
    change: Vector


def least_length(one: ChangeSet, norm: Norm, pieces: Pieces, found: Multipliers, need: float) -> float:
    """No change of the set that gives a margin of ``need`` or more is shorter, over scaled features; at least 0."""
    value, size = _lagrangian(one, pieces, found, need), _dual_length(norm, one.scales, found.change)
    return 0.0 if value is None or value <= 0 or size == 0 else _below(value / size)


def highest_margin(one: ChangeSet, norm: Norm | None, pieces: Pieces, found: Multipliers) -> float:
    """No change of the set gives a larger margin; infinite where nothing is proved.

    ``norm``: of the ball that the change's multipliers belong to; None where they are all 0.
    """
    value = _lagrangian(one, pieces, found, 0.0)
    weight = sum(_positive(found.pieces), Fraction(0))
    if value is None or weight == 0:
        return math.inf
    reach = Fraction(0)
    if norm is not None and found.change.any():
        reach = _dual_length(norm, one.scales, found.change) * Fraction(one.ball(norm))
    return -_below((value - reach) / weight)


def _lagrangian(one: ChangeSet, pieces: Pieces, found: Multipliers, need: float) -> Fraction | None:
    """``D(need)``; None where the minimum over the box is not finite."""
    weights, y, nu = _positive(found.pieces), _positive(found.rows), _exact(found.groups)
    slope = list(_exact(found.change))
    for weight, row in zip(weights, pieces.slopes, strict=True):
        _add(slope, -weight, row)
    for weight, numbers in zip(y, one.A, strict=True):
        _add(slope, weight, _exact(numbers))
    for weight, group in zip(nu, one.groups, strict=True):
        for j in group.columns:
            slope[j] += weight
    total = sum((w * (Fraction(need) - base) for w, base in zip(weights, pieces.base, strict=True)), Fraction(0))
    total -= _product(y, _exact(one.b)) + _product(nu, _exact([group.total for group in one.groups]))
    for value, low, high in zip(slope, one.lower, one.upper, strict=True):
        if value == 0:
            continue
        end = float(low if value > 0 else high)
        if math.isinf(end):
            return None
        total += value * Fraction(end)
    return total


def _dual_length(norm: Norm, scales: Vector, p: Vector) -> Fraction:
    """The dual norm of ``p * scales``, or a little more."""
    sizes = [abs(a * b) for a, b in zip(_exact(p), _exact(scales), strict=True)]
    if norm is Norm.L1:
        return max(sizes)
    if norm is Norm.LINF:
        return sum(sizes, Fraction(0))
    square = sum((size * size for size in sizes), Fraction(0))
    root = Fraction(math.sqrt(square))
    while root * root < square:
        root *= 1 + Fraction(1, 2**52)
    return root


def _below(value: Fraction) -> float:
    """The nearest number, or the next one below where that is larger."""
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, -math.inf)


def _exact(values: Sequence[float] | Vector) -> Numbers:
    return tuple(Fraction(float(value)) for value in values)


def _positive(values: Vector) -> Numbers:
    return _exact(np.maximum(0.0, values))


def _add(slope: list[Fraction], weight: Fraction, row: Numbers) -> None:
    if weight:
        for j, value in enumerate(row):
            slope[j] += weight * value


def _product(left: Numbers, right: Numbers) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))


def _squared(left: Numbers, right: Numbers) -> Fraction:
    return sum(((a - b) ** 2 for a, b in zip(left, right, strict=True)), Fraction(0))
