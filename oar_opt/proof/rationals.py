"""Rational numbers, intervals with rational ends, and decimals that are rounded to a stated side.

Balls (``flint.arb``) are turned into intervals: midpoint and radius of a ball are dyadic, so its ends are rationals.
All comparisons are those of rationals.

Reference: F. Johansson, "Arb: Efficient Arbitrary-Precision Midpoint-Radius Interval Arithmetic", 2017.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flint import arb, ctx, fmpq, fmpz

from oar_opt.errors import InputError

Number = Any
"""A ``flint.fmpq``."""
Ball = Any
"""A ``flint.arb``."""
PRECISION = 192
"""Bits of ball arithmetic."""
DECIMAL = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?")


def exact(value: float) -> Number:
    """A floating-point number as the rational that it is."""
    return fmpq(*float(value).as_integer_ratio())


def exact_row(values: Iterable[float]) -> list[Number]:
    """Floating-point numbers as rationals."""
    return [exact(value) for value in values]


def dot(left: Sequence[Number], right: Sequence[Number]) -> Number:
    """``left' right``."""
    total = fmpq(0)
    for a, b in zip(left, right, strict=True):
        total += a * b
    return total


@dataclass(frozen=True)
class Interval:
    """All numbers from ``low`` to ``high``, both rational."""

    low: Number
    high: Number

    @classmethod
    def at(cls, value: Number) -> Interval:
        """One number."""
        return cls(value, value)

    @classmethod
    def around(cls, ball: Ball) -> Interval:
        """The numbers of a ball, which must be finite."""
        if not ball.is_finite():
            raise ArithmeticError("a ball that is not finite encloses nothing")
        middle, radius = _dyadic(ball.mid()), _dyadic(ball.rad())
        return cls(middle - radius, middle + radius)

    @property
    def is_point(self) -> bool:
        return bool(self.low == self.high)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def plus(self, number: Number) -> Interval:
        """Moved by a rational."""
        return Interval(self.low + number, self.high + number)

    def times(self, number: Number) -> Interval:
        """Multiplied by a rational."""
        ends = (self.low * number, self.high * number)
        return Interval(min(ends), max(ends))

    def widened(self, radius: Number) -> Interval:
        """With everything within ``radius >= 0``."""
        return Interval(self.low - radius, self.high + radius)

    def squared(self) -> Interval:
        """The squares of its numbers."""
        ends = (self.low * self.low, self.high * self.high)
        return Interval(fmpq(0) if self.low <= 0 <= self.high else min(ends), max(ends))


def root_above(value: Number) -> Number:
    """A rational that is at least the root of ``value >= 0``, and 0 only for 0."""
    if value == 0:
        return fmpq(0)
    with ctx.workprec(PRECISION):
        return Interval.around(arb(value).sqrt()).high


def length_above(vector: Sequence[Number]) -> Number:
    """A rational that is at least the Euclidean length."""
    return root_above(dot(vector, vector))


def _dyadic(ball: Ball) -> Number:
    mantissa, exponent = ball.man_exp()
    power = fmpz(2) ** abs(int(exponent))
    return fmpq(mantissa * power) if exponent >= 0 else fmpq(mantissa, power)


def ceiling(value: Number) -> int:
    """The least whole number that is not below ``value``."""
    return int(-((-value.p) // value.q))


# -- decimals ---


def read_decimal(text: str) -> Number:
    """The rational that a plain decimal (``-0.25``) states; :class:`InputError` for anything else."""
    if DECIMAL.fullmatch(text) is None:
        raise InputError("bound", f"is '{text[:40]}'", "write a plain decimal such as -0.25")
    whole, _, fraction = text.partition(".")
    return fmpq(int(whole + fraction), 10 ** len(fraction))


def decimal_below(value: Number, digits: int = 9) -> str:
    """The largest decimal with so many digits after the point that is not above ``value``."""
    return _decimal((value.p * 10**digits) // value.q, digits)


def decimal_above(value: Number, digits: int = 9) -> str:
    """The least decimal with so many digits after the point that is not below ``value``."""
    return _decimal(-((-value.p * 10**digits) // value.q), digits)


def _decimal(units: Any, digits: int) -> str:
    # Flint's own text: that of Python's integers ends at some thousands of digits.
    written, sign = str(abs(fmpz(units))).zfill(digits + 1), "-" if units < 0 else ""
    text = f"{sign}{written[:-digits]}.{written[-digits:]}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def approximate(value: Number) -> float:
    """The nearest floating-point number, for guesses only; infinite where it is too large for one."""
    try:
        return int(value.p) / int(value.q)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
