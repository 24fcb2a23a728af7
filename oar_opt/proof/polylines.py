"""Losses whose subdifferential is a polyline, in rationals: squared, hinge, squared hinge, Huber, epsilon-insensitive.

The graph of ``dl/df(y, .)`` of unit weight, left to right, is a list of lines (``g = slope f + offset`` for ``low <= f
<= high``, None for an infinite end) and jumps (``f = low = high``, ``g`` from ``g_low`` to ``g_high``); neighbours
share an end. So ``g`` is a subgradient at ``f`` if and only if ``(f, g)`` is on a piece:

    squared             (y - f)^2                       2 f - 2 y
    hinge               max(0, 1 - y f)                 -y where y f < 1, 0 where y f > 1, y in {-1, 1}
    squared hinge       max(0, 1 - y f)^2               2 f - 2 y where y f <= 1, 0 where y f >= 1
    Huber               r^2 / 2, |r| <= delta           f - y cut to [-delta, delta],  r = y - f
    epsilon-insensitive max(0, |y - f| - epsilon)       -1, 0, 1 with jumps at y - epsilon and y + epsilon
    absolute            |y - f|                         -1, 1 with a jump at y
"""

from __future__ import annotations

from dataclasses import dataclass

from flint import fmpq

from oar_opt.errors import UnsupportedError
from oar_opt.problem import LearnerSpec
from oar_opt.proof.rationals import Number, exact


@dataclass(frozen=True)
class Piece:
    """A line or a jump; see the module's docstring."""

    low: Number | None
    high: Number | None
    slope: Number
    offset: Number
    g_low: Number | None = None
    g_high: Number | None = None

    @property
    def is_jump(self) -> bool:
        return self.g_low is not None

    def has(self, f: Number) -> bool:
        return (self.low is None or self.low <= f) and (self.high is None or f <= self.high)

    def pulls(self, f: Number) -> tuple[Number, Number]:
        """The least and the largest ``g`` on this piece at ``f``, which it has."""
        if self.g_low is not None and self.g_high is not None:
            return self.g_low, self.g_high
        g = self.slope * f + self.offset
        return g, g


Graph = tuple[Piece, ...]


def _line(low: Number | None, high: Number | None, slope: Number, offset: Number) -> Piece:
    return Piece(low, high, fmpq(slope), fmpq(offset))


def _jump(f: Number, g_low: Number, g_high: Number) -> Piece:
    return Piece(f, f, fmpq(0), fmpq(0), fmpq(g_low), fmpq(g_high))


def graph(spec: LearnerSpec, y: Number) -> Graph:
    """The graph of a record's loss.

    Raises
    ------
    UnsupportedError : the learner's loss has no polyline.
    """
    match spec.kind:
        case "ridge":
            return (_line(None, None, 2, -2 * y),)
        case "svm" | "l1_svm":
            least, most = (-1, 0) if y > 0 else (0, 1)
            return _line(None, y, 0, least), _jump(y, least, most), _line(y, None, 0, most)
        case "squared_hinge":
            if y > 0:
                return _line(None, y, 2, -2 * y), _line(y, None, 0, 0)
            return _line(None, y, 0, 0), _line(y, None, 2, -2 * y)
        case "huber":
            delta = exact(spec.delta or 0)
            low, high = y - delta, y + delta
            return _line(None, low, 0, -delta), _line(low, high, 1, -y), _line(high, None, 0, delta)
        case "epsilon_insensitive":
            return _insensitive(y, exact(spec.epsilon or 0))
        case "lad":
            return absolute(y)
        case kind:
            raise UnsupportedError(f"the loss of '{kind}' has no polyline for its subgradients")


def _insensitive(y: Number, epsilon: Number) -> Graph:
    low, high = y - epsilon, y + epsilon
    if epsilon == 0:
        return absolute(y)
    left, right = _line(None, low, 0, -1), _line(high, None, 0, 1)
    return left, _jump(low, -1, 0), _line(low, high, 0, 0), _jump(high, 0, 1), right


def absolute(y: Number) -> Graph:
    """The graph of ``|y - f|``."""
    return _line(None, y, 0, -1), _jump(y, -1, 1), _line(y, None, 0, 1)


def pulls_at(pieces: Graph, f: Number) -> tuple[Number, Number]:
    """The least and the largest subgradient at ``f``."""
    found = [piece.pulls(f) for piece in pieces if piece.has(f)]
    return min(low for low, _ in found), max(high for _, high in found)


def bregman(pieces: Graph, g: Number, f: Number) -> Number:
    """``l(f) + l*(g) - f g``, at least 0, for ``g`` among the subgradients.

    With any ``f0`` at which ``g`` is a subgradient, ``l*(g) = f0 g - l(f0)``, so it is the integral of ``l' - g`` from
    ``f0`` to ``f``, which a polyline gives line by line.
    """
    start = _where(pieces, g)
    low, high = min(start, f), max(start, f)
    total = fmpq(0)
    for piece in pieces:
        if piece.is_jump:
            continue
        left = low if piece.low is None else max(piece.low, low)
        right = high if piece.high is None else min(piece.high, high)
        if left < right:
            total += (right - left) * (piece.slope * (left + right) / 2 + piece.offset - g)
    return total if start <= f else -total


def _where(pieces: Graph, g: Number) -> Number:
    """An ``f`` at which ``g`` is a subgradient."""
    for piece in pieces:
        if piece.slope != 0:
            f = (g - piece.offset) / piece.slope
            if piece.has(f):
                return f
            continue
        end = piece.high if piece.high is not None else piece.low
        assert end is not None
        low, high = piece.pulls(end)
        if low <= g <= high:
            return end
    raise ArithmeticError("no subgradient of this loss has that value")
