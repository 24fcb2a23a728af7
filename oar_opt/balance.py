"""Bounds from a free intercept: the pulls of all records sum to zero.

Letters of :mod:`oar_opt.risk`; wanted is an upper bound on ``F = f(x) = w'x + b`` at a point ``x``, over all admissible
choices (a lower one is the mirror image). Every record has ``f_i = F + w'(x_i - x)``, where ``w'(x_i - x)`` lies in an
interval that other arguments prove, so ``f_i >= F + d_i`` with a known number ``d_i``.

**Polyline losses.** Either some record pulls strictly down (``g < 0``), which holds its ``f`` below the end of that
part of its graph; or no record pulls at all, which holds every ``f`` inside the flat part of its graph, the fixed
records' too. Either way some ``f_i`` is at most a known ``level_i``, hence ``F <= level_i - d_i``.

**Smooth losses**, whose pull is a monotone function ``g_i(f)``. As pulls grow with ``f``,

    0 = sum_i a_i g_i(f_i) >= sum_(i fixed) a_i g_i(F + d_i) + sum_members min_k a_ik g_ik(F + d_ik) =: h(F),

so every ``F`` with ``h(F) > 0`` is too large, and ``h`` grows too: bisection finds where. Where no fixed record can
pull up, ``h`` may stay below 0 for ever although the learner is defined only for choices in which some member's record
can; the minimum is then taken over those choices: one member, the best for the minimum, must pick such an option.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oar_opt.problem import Flags, Matrix, Vector
from oar_opt.risk import Jump, Loss, Piece

if TYPE_CHECKING:
    from oar_opt.bounds import Occurrences

HALVINGS = 60
DOUBLINGS = 60
CERTAIN = 1e-11
"""A sum of pulls is called positive if it is so by this share of the records' weight: above rounding."""
CELLS = 2_000_000
"""Pairs of a point and a record that are treated at once."""

Ranges = Callable[[Matrix], tuple[Vector, Vector]]


@dataclass(frozen=True)
class Balance:
    """``ranges``: the proved interval of ``w'u`` for every row ``u`` of a matrix ``(k, p - 1)``.

    ``rooms``: how far each of a member's decision values may be from that of its record, where features move.
    """

    loss: Loss
    fixed: Occurrences
    members: Sequence[Occurrences]
    rooms: Sequence[Vector]
    ranges: Ranges

    def ends(self, points: Matrix) -> tuple[Vector, Vector]:
        """Lower and upper bound on ``w'x + b`` for every row ``x`` of ``points (m, p - 1)``."""
        end = self._smooth_end if self.loss.pieces(1.0) is None else self._polyline_end
        count = len(self.fixed) + sum(len(o) for o in self.members)
        size = max(1, CELLS // max(1, count))
        parts = [points[start : start + size] for start in range(0, len(points), size)]
        lower, upper = ([end(part, side) for part in parts] for side in (-1, 1))
        return np.concatenate(lower), np.concatenate(upper)

    def _furthest(self, points: Matrix, xhat: Matrix, room: Vector, side: int) -> Matrix:
        """``side`` times the end of ``w'(x - x_i)`` on that side, ``(m, N)``."""
        steps = points[:, None, :] - xhat[None, :, :-1]
        low, high = self.ranges(steps.reshape(-1, points.shape[1]))
        ends: Matrix = (high if side == 1 else -low).reshape(steps.shape[:2])
        return ends + room

    # -- polylines ---

    def _polyline_end(self, points: Matrix, side: int) -> Vector:
        pulling = np.full(len(points), -math.inf)
        resting_any = np.full(len(points), -math.inf)
        resting = np.full(len(points), math.inf)
        for occurrences, room in self._used():
            used = occurrences.a > 0
            if not used.any():
                continue
            levels = np.array([_levels(self.loss.pieces(y) or (), side) for y in occurrences.y[used]])
            if (levels[:, 0] == side * math.inf).any():
                return np.full(len(points), side * math.inf)
            carried = self._furthest(points, occurrences.xhat[used], room[used], side)
            strict, flat = np.isfinite(levels[:, 0]), np.isfinite(levels[:, 1])
            if strict.any():
                reached = side * levels[None, strict, 0] + carried[:, strict]
                pulling = np.maximum(pulling, reached.max(axis=1))
            if flat.any():
                reached = side * levels[None, flat, 1] + carried[:, flat]
                resting_any = np.maximum(resting_any, reached.max(axis=1))
                if occurrences is self.fixed:
                    resting = np.minimum(resting, reached.min(axis=1))
        resting = np.where(np.isfinite(resting), resting, np.where(np.isfinite(resting_any), resting_any, math.inf))
        end: Vector = side * np.maximum(pulling, resting)
        return end

    # -- smooth losses ---

    def _smooth_end(self, points: Matrix, side: int) -> Vector:
        """Written for ``side`` 1; for -1 values and pulls are mirrored, which leaves them monotone."""
        sources = [
            _Source.of(self.loss, o, self._furthest(points, o.xhat, room, side), side) for o, room in self._used()
        ]
        members, weight = sources[1:], sum(source.weight for source in sources)

        def too_large(F: Vector) -> Flags:
            total = sources[0].pulls(F).sum(axis=1)
            for source in members:
                total = total + source.least(F)
            if not sources[0].opposing.any():
                extra = [source.least_opposing(F) - source.least(F) for source in members if source.opposing.any()]
                total = total + np.min(extra, axis=0) if extra else np.full(len(F), -math.inf)
            flags: Flags = total > CERTAIN * weight
            return flags

        return side * _first_true(too_large, len(points))

    def _used(self) -> Iterator[tuple[Occurrences, Vector]]:
        """The fixed records, then every member's options; those without weight stay, as they pull 0."""
        yield self.fixed, np.zeros(len(self.fixed))
        yield from zip(self.members, self.rooms, strict=True)


@dataclass(frozen=True)
class _Source:
    """One member's options, or the fixed records: ``pulls`` at ``F - furthest (m, N)``, mirrored for side -1."""

    loss: Loss
    y: Vector
    a: Vector
    furthest: Matrix
    side: int
    opposing: Flags

    @classmethod
    def of(cls, loss: Loss, o: Occurrences, furthest: Matrix, side: int) -> _Source:
        ends = np.array([loss.pull_range(float(y)) for y in o.y]).reshape(-1, 2)
        opposing = (o.a > 0) & (side * ends[:, 1 if side == 1 else 0] > 0)
        return cls(loss, o.y, o.a, furthest, side, opposing)

    @property
    def weight(self) -> float:
        return float(self.a.sum())

    def pulls(self, F: Vector) -> Matrix:
        f = self.side * (F[:, None] - self.furthest)
        mirrored: Matrix = self.side * self.a * self.loss.pull(np.broadcast_to(self.y, f.shape), f)
        return mirrored

    def least(self, F: Vector) -> Vector:
        least: Vector = self.pulls(F).min(axis=1)
        return least

    def least_opposing(self, F: Vector) -> Vector:
        least: Vector = self.pulls(F)[:, self.opposing].min(axis=1)
        return least


def _first_true(test: Callable[[Vector], Flags], m: int) -> Vector:
    """For a test that stays true from some number on, row by row: a number where it is true, close to the first.

    Infinite where it is not true at the largest number tried.
    """
    high = np.ones(m)
    found = test(high)
    for _ in range(DOUBLINGS):
        if found.all():
            break
        high = np.where(found, high, 2 * high)
        found = test(high)
    low = np.where(high > 1, high / 2, -high)
    for _ in range(DOUBLINGS):
        still = test(low)
        if not still.any():
            break
        high, low = np.where(still, low, high), np.where(still, 2 * np.minimum(low, -1.0), low)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        passes = test(middle)
        low, high = np.where(passes, low, middle), np.where(passes, middle, high)
    return np.where(found, high, math.inf)


def _levels(pieces: Sequence[Piece], side: int) -> tuple[float, float]:
    """``side`` 1: the largest ``f`` with ``g < 0`` and the largest with ``g = 0``; -1: the least with ``> 0``, ``= 0``.

    Infinite where the set is empty (such a record never pulls that way) or has no end.
    """
    strict, flat = -side * math.inf, -side * math.inf
    pick = max if side == 1 else min
    for piece in pieces:
        if isinstance(piece, Jump):
            ends = (piece.g_low, piece.g_high)
            if side * ends[0 if side == 1 else 1] < 0:
                strict = pick(strict, piece.f)
            if ends[0] <= 0 <= ends[1]:
                flat = pick(flat, piece.f)
            continue
        inner = piece.f_high if side == 1 else piece.f_low
        if piece.slope == 0:
            if side * piece.offset < 0:
                strict = pick(strict, inner)
            elif piece.offset == 0:
                flat = pick(flat, inner)
            continue
        root = -piece.offset / piece.slope
        if piece.f_low <= root <= piece.f_high:
            strict, flat = pick(strict, root), pick(flat, root)
        elif side * (root - inner) > 0:
            strict = pick(strict, inner)
    return strict, flat
