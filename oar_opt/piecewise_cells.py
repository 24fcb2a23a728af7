"""Products of a bounded factor and of a change that lies in a convex set, on the pieces of the factor's interval.

**One piece.** Let ``c`` lie in ``[l, h]`` and ``t`` in a convex set ``B``. The convex hull of all ``(c, t, c t)`` is

    c = l m_l + h m_h,    t = t_l + t_h,    u = l t_l + h t_h,    m_l + m_h = 1,    t_l in m_l B,    t_h in m_h B:

a point of the hull is a mean of points with ``c`` at an end, since ``(c, t, c t)`` is linear in ``c`` for a fixed
``t``; and these are the points above. Where ``B`` is a box it is McCormick's envelope, feature by feature; a ball makes
it smaller. Multiplied by a binary ``z`` that is 0 where the set is not used, it holds all points with ``t = 0`` too.

**Many pieces.** The breakpoints ``b_0 < ... < b_K`` cut the interval; piece ``k`` has a binary ``e_k``, with
``sum e_k = z``, and copies ``m``, ``t`` of its own with ``m_l + m_h = e_k``. For each ``e`` this is the hull on one
piece, and without integrality the hull of the union (Balas); its width decides the error. With one piece ``e`` is ``z``
itself.

**Balls.** ``sum_q s_q^2 <= m limit`` with ``s`` linear (:class:`SquareSum`) is stated by one variable for each square,
``y_q >= 2 c s_q - c^2 m`` for some numbers ``c``. Every such row holds, since ``m (s_q / m - c)^2 >= 0``, and few
numbers for each feature make many faces of the ball. The numbers are a :class:`Tangents`, which grow where a solution
breaks the ball.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.problem import Vector

FIRST_TANGENTS = (-1.0, -0.5, 0.5, 1.0)
"""In units of the largest that ``s_q / m`` can be."""
NEAR = 1e-4
"""Tangents closer to each other than that are the same, in those units."""
VIOLATED = 1e-7
LEAST_HEAD = 1e-7
"""A ball that counts for less than that is not looked at."""
INNER = 0.15
"""Of a piece, what a cut leaves on either side at least."""
SHORTEST = 1e-7
"""Pieces are cut no shorter than that, relative to the interval."""


class Partition:
    """The breakpoints of one factor's proved interval, ascending."""

    def __init__(self, low: float, high: float) -> None:
        self.points, self.first = [low, high], high - low

    @property
    def pieces(self) -> list[tuple[float, float]]:
        return list(pairwise(self.points))

    @property
    def share(self) -> float:
        """What is left of the first interval."""
        return (self.points[-1] - self.points[0]) / self.first if self.first > 0 else 0.0

    def shrink(self, low: float, high: float) -> None:
        """To the part of the interval between these ends, which is not empty."""
        low, high = max(low, self.points[0]), min(high, self.points[-1])
        self.points = [low, *(point for point in self.points if low < point < high), high]

    def piece_of(self, value: float) -> int:
        """The number of a piece that holds the value, or is nearest to it."""
        return min(range(len(self.pieces)), key=lambda k: max(self.points[k] - value, value - self.points[k + 1], 0.0))

    def cut(self, value: float) -> bool:
        """Cut the piece of a value there, or a little further inside; whether there was room for it."""
        low, high = self.pieces[self.piece_of(value)]
        whole = self.points[-1] - self.points[0]
        if high - low <= SHORTEST * max(whole, abs(low), abs(high)):
            return False
        at = min(max(value, low + INNER * (high - low)), high - INNER * (high - low))
        self.points = sorted([*self.points, at])
        return True


@dataclass
class Tangents:
    """For every square of one kind of ball, where its parabola has tangents; ``sizes`` are the units."""

    sizes: Vector
    points: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.points = [[float(size * point) for point in FIRST_TANGENTS] for size in self.sizes]

    def add(self, q: int, point: float) -> bool:
        """Whether it was not there yet."""
        unit = float(self.sizes[q])
        if unit == 0 or min(abs(point - other) for other in self.points[q]) <= NEAR * unit:
            return False
        self.points[q].append(point)
        return True


@dataclass(frozen=True, eq=False)
class SquareSum:
    """``sum_q s_q^2 / head <= limit``, of which ``tangents`` are stated; all are linear expressions, ``head >= 0``.

    ``most`` is the largest that ``limit`` can be.
    """

    parts: Sequence[Any]
    head: Any
    limit: Any
    most: float
    tangents: Tangents

    def write(self, block: Any) -> None:
        places = range(len(self.parts))
        rows = [(q, n) for q in places for n in range(len(self.tangents.points[q]))]
        block.square = pyo.Var(places, bounds=(0, self.most))
        block.tangent = pyo.Constraint(rows, rule=lambda b, q, n: b.square[q] >= self._tangent(q, n))
        block.ball = pyo.Constraint(expr=sum(block.square[q] for q in places) <= self.limit)

    def _tangent(self, q: int, n: int) -> Any:
        c = self.tangents.points[q][n]
        return 2 * c * self.parts[q] - c * c * self.head

    def refine(self) -> bool:
        """Add tangents where the variables' present values break the ball; whether any was added."""
        head, limit = float(pyo.value(self.head)), float(pyo.value(self.limit))
        if head <= LEAST_HEAD:
            return False
        parts = np.array([float(pyo.value(part)) for part in self.parts]) / head
        if (parts**2).sum() * head <= limit + VIOLATED * max(1.0, abs(limit)):
            return False
        return any([self.tangents.add(q, float(part)) for q, part in enumerate(parts)])


@dataclass(frozen=True, eq=False)
class Vertices:
    """The copies of one factor's pieces: for each piece and each of its ends the end and its weight ``m``.

    ``picks`` are the binaries ``e``, none where there is one piece only.
    """

    ends: tuple[float, ...]
    weights: tuple[Any, ...]
    picks: tuple[Any, ...]

    @classmethod
    def write(cls, block: Any, partition: Partition, factor: Any, z: Any) -> Vertices:
        """``factor = sum of ends times weights``, ``sum of weights = z``, on one piece."""
        pieces = partition.pieces
        places = range(2 * len(pieces))
        ends = tuple(end for piece in pieces for end in piece)
        block.weight = pyo.Var(places, bounds=(0, 1))
        weights = tuple(block.weight[v] for v in places)
        picks: tuple[Any, ...] = ()
        if len(pieces) > 1:
            block.piece = pyo.Var(range(len(pieces)), domain=pyo.Binary)
            picks = tuple(block.piece[k] for k in range(len(pieces)))
            block.one_piece = pyo.Constraint(expr=sum(picks) == z)
        used = picks or (z,)
        block.on_piece = pyo.Constraint(
            range(len(pieces)), rule=lambda _, k: weights[2 * k] + weights[2 * k + 1] == used[k]
        )
        block.factor = pyo.Constraint(expr=cls._mean(ends, weights) == factor)
        return cls(ends, weights, picks)

    @staticmethod
    def _mean(ends: Sequence[float], copies: Sequence[Any]) -> Any:
        return sum(end * copy for end, copy in zip(ends, copies, strict=True))

    def product(self, block: Any, name: str, t: Any, ends: tuple[float, float], heads: Sequence[Any]) -> list[Any]:
        """Copies of ``t``, which lies in ``ends`` times what ``heads`` sum to; their products are to be summed."""
        places = range(len(self.ends))
        own = pyo.Block()
        block.add_component(name, own)
        own.copy = pyo.Var(places, bounds=(min(0.0, ends[0]), max(0.0, ends[1])))
        own.low = pyo.Constraint(places, rule=lambda b, v: b.copy[v] >= ends[0] * heads[v])
        own.high = pyo.Constraint(places, rule=lambda b, v: b.copy[v] <= ends[1] * heads[v])
        own.all = pyo.Constraint(expr=sum(own.copy[v] for v in places) == t)
        return [own.copy[v] for v in places]

    def times(self, copies: Sequence[Any]) -> Any:
        """The product of the factor and what the copies sum to."""
        return self._mean(self.ends, copies)


class TangentBook:
    """The tangents of every kind of ball, which outlive the rows."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Tangents] = {}

    def of(self, key: Hashable, sizes: Vector) -> Tangents:
        if key not in self._kept:
            self._kept[key] = Tangents(sizes)
        return self._kept[key]
