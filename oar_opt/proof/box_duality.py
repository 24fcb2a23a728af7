"""The largest linear function less a cost over a box within balls, by weak duality at multipliers that are guessed.

For ``e`` with ``low <= e <= high``, ``|e|_1 <= R_1`` and ``|e|_2 <= R_2`` (either radius may be missing), and weights
``A, Q, B >= 0`` of ``|e|_1``, ``|e|_2^2`` and ``|e|_2``, any ``alpha, eta >= 0`` and any ``v`` with ``|v|_2 <= 1`` give

    h'e - A |e|_1 - Q |e|_2^2 - B |e|_2
        <= alpha R_1 + eta R_2^2 / 2 + sum over j of the largest k_j e_j - (A + alpha) |e_j| - (Q + eta / 2) e_j^2

with ``k = h - B v``, each over its own interval, since ``|e|_2 >= v'e``. That is rational. The multipliers are those of
the maximiser ``e(c) = clip(soft(h, A + alpha) / c, low, high)``, whose curvature ``c = 2 Q + eta + B / |e|_2`` a
bisection in floating point finds; where that is wrong the bound is weak, never false.

Reference: D. P. Bertsekas, "Nonlinear Programming", 1999 (duality of separable problems).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq

from oar_opt.proof.rationals import Number, approximate, dot, exact, root_above
from oar_opt.proof.scalar_maximum import quadratic_maximum

HALVINGS = 45
LEAST, MOST = 1e-12, 1e12
"""Curvatures that are tried, as multiples of the slope's size by the box's."""

TINY, HUGE = 1e-100, 1e100
"""Outside these sizes nothing is guessed."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """A box ``low <= 0 <= high`` (or not) within balls, and the weights of a cost."""

    low: Sequence[Number]
    high: Sequence[Number]
    R1: Number | None
    R2: Number | None
    A: Number
    Q: Number
    B: Number

    def most(self, h: Sequence[Number]) -> Number:
        """A rational that is at least the maximum."""
        alpha, eta, v = _Guess(self, [approximate(value) for value in h]).multipliers()
        length = dot(v, v)
        if length > 1:
            root = root_above(length)
            v = [value / root for value in v]
        total = alpha * (self.R1 or 0) + eta * (self.R2 or 0) ** 2 / 2
        A, Q = self.A + alpha, self.Q + eta / 2
        for slope, direction, low, high in zip(h, v, self.low, self.high, strict=True):
            total += _peak(slope - self.B * direction, A, Q, low, high)
        return total


def _peak(k: Number, A: Number, Q: Number, low: Number, high: Number) -> Number:
    """The largest ``k e - A |e| - Q e^2`` on an interval."""
    zero, found = fmpq(0), []
    if high >= 0:
        found.append(quadratic_maximum(Q, k - A, max(low, zero), high))
    if low <= 0:
        found.append(quadratic_maximum(Q, k + A, low, min(high, zero)))
    return max(value for value in found if value is not None)


class _Guess:
    """In floating point, the multipliers at the maximiser."""

    def __init__(self, body: Rounded, h: list[float]) -> None:
        self.h = h
        self.low, self.high = ([approximate(value) for value in end] for end in (body.low, body.high))
        self.A, self.Q, self.B = approximate(body.A), approximate(body.Q), approximate(body.B)
        self.R1 = math.inf if body.R1 is None else approximate(body.R1)
        self.R2 = math.inf if body.R2 is None else approximate(body.R2)
        self.size = max((abs(end) for end in (*self.low, *self.high)), default=0.0)
        self.slope = math.hypot(*h)

    def multipliers(self) -> tuple[Number, Number, list[Number]]:
        """``alpha``, ``eta`` and ``v``."""
        alpha = 0.0
        if not (TINY < self.slope < HUGE and TINY < self.size < HUGE and max(self.A, self.Q, self.B) < HUGE):
            return fmpq(0), fmpq(0), [fmpq(0)] * len(self.h)
        c, e = self._bent(alpha)
        if sum(map(abs, e)) > self.R1:
            low, alpha = 0.0, max(map(abs, self.h))
            for _ in range(HALVINGS):
                middle = (low + alpha) / 2
                low, alpha = (middle, alpha) if sum(map(abs, self._bent(middle)[1])) > self.R1 else (low, middle)
            c, e = self._bent(alpha)
        length = math.hypot(*e)
        v = self._direction(alpha, e, length) if self.B > 0 else [0.0] * len(e)
        eta = c - 2 * self.Q - (self.B / length if length > 0 else 0.0)
        bounded = math.isfinite(self.R2) and length > 0
        return exact(alpha), exact(max(0.0, eta)) if bounded else fmpq(0), [exact(value) for value in v]

    def _direction(self, alpha: float, e: list[float], length: float) -> list[float]:
        """Along the maximiser; where nothing pays, what takes the slopes away."""
        if length > 1e-9 * self.size:
            return [value / length for value in e]
        return [value / self.B for value in self._soft(alpha)]

    def _soft(self, alpha: float) -> list[float]:
        """Slopes less the weight of ``|e|_1``, of those who can go where they point."""
        found = []
        for slope, low, high in zip(self.h, self.low, self.high, strict=True):
            rest = math.copysign(max(0.0, abs(slope) - self.A - alpha), slope)
            found.append(rest if (high if rest > 0 else -low) > 0 else 0.0)
        return found

    def _bent(self, alpha: float) -> tuple[float, list[float]]:
        """The least curvature at which all is paid for, and the point there."""
        soft = self._soft(alpha)
        least = 2 * self.Q
        e = self._at(soft, least)
        if self._is_paid(least, e):
            return least, e
        scale = self.slope / self.size
        low, high = math.log(LEAST * scale), math.log(MOST * scale)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            c = math.exp(middle)
            low, high = (low, middle) if c >= least and self._is_paid(c, self._at(soft, c)) else (middle, high)
        c = math.exp(high)
        return c, self._at(soft, c)

    def _at(self, soft: Sequence[float], c: float) -> list[float]:
        """``e(c)``; a corner for 0."""
        far = [(high if s > 0 else low) if s else 0.0 for s, low, high in zip(soft, self.low, self.high, strict=True)]
        if c > 0:
            far = [math.copysign(min(abs(end), abs(s) / c), s) for s, end in zip(soft, far, strict=True)]
        return [min(max(x, low), high) for x, low, high in zip(far, self.low, self.high, strict=True)]

    def _is_paid(self, c: float, e: list[float]) -> bool:
        length = math.hypot(*e)
        return length <= self.R2 and (c - 2 * self.Q) * length >= self.B
