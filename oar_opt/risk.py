"""Regularised empirical risk: the family of learners that the reformulations know.

The learner minimises, over ``theta`` (``w``, followed by ``b`` where there is an intercept),

    J(theta) = lam P(theta) + sum_i a_i l(y_i, f_i),     f_i = xhat_i' theta,

with ``a_i = factor * s_i`` and ``xhat`` the features with a 1 appended where there is an intercept. The penalty has one
of two norms, in both of which every coordinate has its factor ``rho_j >= 0`` (1, but 0 for a free intercept), and ``R``
is the diagonal matrix of those factors:

    L2:   P(theta) = 1/2 (theta - theta0)' R (theta - theta0)
    L1:   P(theta) = sum_j rho_j |theta_j - theta0_j|

The program is convex and its functions are finite everywhere, so ``theta`` is optimal if and only if

    lam r + sum_i g_i xhat_i = 0,     r in dP(theta),     g_i in a_i dl/df(y_i, f_i)     for every record i,

where ``g_i`` is the record's *pull* and ``r`` the penalty's: ``r_j = rho_j (theta_j - theta0_j)`` for L2, and for L1
anything in ``rho_j [-1, 1]`` with ``r_j = rho_j sign(theta_j - theta0_j)`` unless ``theta_j = theta0_j``. A loss is
therefore known by its value and the graph of its subdifferential, a monotone curve in the plane of ``(f, g)``; for a
piecewise linear-quadratic loss that curve is a polyline. Under L2 ``theta`` is unique where all ``rho_j > 0``; under L1
with a piecewise linear loss the learner is a linear program, and a whole polyhedron may be optimal.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from oar_opt.problem import Intercept, LearnerSpec, Matrix, Vector


@dataclass(frozen=True)
class Line:
    """Part of the graph of ``dl/df(y, .)``, unit weight: ``g = slope f + offset`` on ``[f_low, f_high]``."""

    f_low: float
    f_high: float
    slope: float
    offset: float


@dataclass(frozen=True)
class Jump:
    """A kink of the loss: at ``f`` the pull, unit weight, is anything in ``[g_low, g_high]``."""

    f: float
    g_low: float
    g_high: float


Piece = Line | Jump


@dataclass(frozen=True)
class Segment:
    """A bounded piece: from ``(f_low, g_low)`` to ``(f_high, g_high)``."""

    f_low: float
    f_high: float
    g_low: float
    g_high: float

    @property
    def is_flat(self) -> bool:
        return self.g_low == self.g_high


SHORTEST = 1e-5


def segments(pieces: tuple[Piece, ...], low: float, high: float, weight: float) -> tuple[Segment, ...]:
    """The graph over ``low <= f <= high`` for a record of that weight, left to right; never empty.

    Neighbouring pieces share their end points, so a piece that only touches the interval at one end is left out. A line
    shorter than :data:`SHORTEST` is prolonged as far as the graph goes on, since solvers cannot tell its ends apart.
    """
    found = []
    for piece in pieces:
        if isinstance(piece, Jump):
            if low <= piece.f <= high:
                found.append(Segment(piece.f, piece.f, weight * piece.g_low, weight * piece.g_high))
            continue
        left, right = max(piece.f_low, low), min(piece.f_high, high)
        if left < right or (left == right and low == high):
            lack = max(0.0, SHORTEST - (right - left))
            left, right = max(piece.f_low, left - lack), min(piece.f_high, right + lack)
            ends = (weight * (piece.slope * f + piece.offset) for f in (left, right))
            found.append(Segment(left, right, *ends))
    return tuple(found)


def line_over(pieces: Sequence[Piece] | None, low: float, high: float) -> Line | None:
    """The line that a graph is over an interval; None where it is more than that, or curved."""
    inside = [piece for piece in pieces or () if _meets(piece, low, high)]
    return inside[0] if len(inside) == 1 and isinstance(inside[0], Line) else None


def _meets(piece: Piece, low: float, high: float) -> bool:
    if isinstance(piece, Line):
        return piece.f_low < high and piece.f_high > low
    return low <= piece.f <= high


def polyline_hull(graph: Sequence[Segment], *, upper: bool) -> list[tuple[float, float]]:
    """``(slope, offset)`` of the lines that bound the segments' convex hull from above (or below)."""
    points = sorted({(s.f_low, s.g_low) for s in graph} | {(s.f_high, s.g_high) for s in graph})
    side = 1 if upper else -1
    chain: list[tuple[float, float]] = []
    for point in points:
        while len(chain) >= 2 and side * _turn(chain[-2], chain[-1], point) >= 0:
            chain.pop()
        chain.append(point)
    lines = []
    for (f1, g1), (f2, g2) in pairwise(chain):
        if f2 - f1 > 1e-9:
            slope = (g2 - g1) / (f2 - f1)
            lines.append((slope, g1 - slope * f1))
    return lines


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def polyline_tangent_points(graph: Sequence[Segment]) -> list[tuple[float, float]]:
    """Points of the graph for the tangents of loss and conjugate: all ends, and five inside slanted segments."""
    found = []
    for s in graph:
        found += [(s.f_low, s.g_low), (s.f_high, s.g_high)]
        if not s.is_flat and s.f_high > s.f_low:
            for share in (1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6):
                found.append((s.f_low + share * (s.f_high - s.f_low), s.g_low + share * (s.g_high - s.g_low)))
    return sorted(set(found))


class PenaltyNorm(StrEnum):
    """How the distance to ``theta0`` is measured; see the module's docstring."""

    L2 = "squared l2 norm"
    L1 = "l1 norm"


class Loss(ABC):
    """A convex loss ``l(y, f)`` of one record. Vectorised over records: ``y`` and ``f`` of shape ``(n,)``."""

    @abstractmethod
    def value(self, y: Vector, f: Vector) -> Vector:
        """``l(y, f)``."""

    @abstractmethod
    def pull(self, y: Vector, f: Vector) -> Vector:
        """One element of ``dl/df(y, f)``: the derivative where it exists, any subgradient at a kink."""

    @abstractmethod
    def pull_range(self, y: float) -> tuple[float, float]:
        """The least and the largest pull over all ``f``; infinite where there is none."""

    @abstractmethod
    def conjugate(self, y: Vector, g: Vector) -> Vector:
        """``sup over f of g f - l(y, f)``; infinite outside its domain."""

    @abstractmethod
    def expression(self, y: Vector, f: Any) -> Any:
        """``l(y, f)`` as a cvxpy expression of ``f``, for training by an interior-point method."""

    def pieces(self, y: float) -> tuple[Piece, ...] | None:
        """The graph of the subdifferential as a polyline, left to right, or None where it is curved."""
        return None

    def second_derivative(self, y: Vector, f: Vector) -> Vector:
        """``d^2 l/df^2`` of a loss without kinks; between two lines, that of either one.

        Of a loss with a curved graph, its own derivative is at most as large in size, see
        :mod:`oar_opt.newton_training`.
        """
        raise NotImplementedError(f"{type(self).__name__} has kinks")

    def curvature(self) -> float:
        """A ``kappa`` such that ``l(y, f) - kappa/2 f^2`` is convex in ``f`` for every ``y``."""
        return 0.0

    def curvature_over(self, y: float, low: float, high: float) -> float:
        """As :meth:`curvature`, for this ``y`` and ``low <= f <= high`` only (ends may be infinite)."""
        pieces = self.pieces(y)
        if pieces is None:
            return self.curvature()
        lines = [piece for piece in pieces if isinstance(piece, Line)]
        slopes = [line.slope for line in lines if max(line.f_low, low) < min(line.f_high, high)]
        return min(slopes, default=self.curvature())

    def pulls_over(self, y: float, low: float, high: float) -> tuple[float, float]:
        """The least and the largest pull of unit weight over ``low <= f <= high``, both finite."""
        pieces = self.pieces(y)
        if pieces is None:
            # Without jumps, and monotone.
            ends = self.pull(np.full(2, y), np.array([low, high]))
            return float(ends[0]), float(ends[1])
        graph = segments(pieces, low, high, 1.0)
        return graph[0].g_low, graph[-1].g_high

    def hull(self, y: float, low: float, high: float, *, upper: bool) -> list[tuple[float, float]]:
        """Lines ``(slope, offset)`` that bound the graph of the pull, unit weight, over ``low <= f <= high``.

        Every point ``(f, g)`` of the graph there has ``g <= slope f + offset`` for each line (``>=`` where not
        ``upper``). Together with :meth:`pulls_over` they are the exact convex hull for a polyline, and a polygon
        around it for a curve. Both ends are finite.
        """
        pieces = self.pieces(y)
        assert pieces is not None, "a loss with a curved graph brings its own lines"
        return polyline_hull(segments(pieces, low, high, 1.0), upper=upper)

    def tangent_points(self, y: float, low: float, high: float) -> list[tuple[float, float]]:
        """Points ``(f, g)`` of the graph, unit weight, where tangents of the loss and its conjugate are worth adding.

        At each, ``l(y, f') >= l(y, f) + g (f' - f)`` for every ``f'``, and ``l*(y, g') >= f g' - l(y, f)`` for every
        ``g'``. Sorted; the ends of the interval, finite, are among them, or as far as the pull still changes.
        """
        pieces = self.pieces(y)
        assert pieces is not None, "a loss with a curved graph brings its own points"
        return polyline_tangent_points(segments(pieces, low, high, 1.0))

    def value_excess(self, y: float, value: Any, f: Any, exp: Callable[[Any], Any]) -> Any:
        """A convex expression that is at most 0 if and only if ``value >= l(y, f)``, by the ``exp`` of any library.

        Only for a loss with a curved graph, like :meth:`conjugate_excess`.
        """
        raise NotImplementedError(f"{type(self).__name__} has a curved graph and brings no row for its value")

    def conjugate_excess(self, y: float, value: Any, g: Any, log: Callable[[Any], Any]) -> Any:
        """A convex expression that is at most 0 wherever ``value >= sup over f of g f - l(y, f)``, and hardly anywhere
        else."""
        raise NotImplementedError(f"{type(self).__name__} has a curved graph and brings no row for its conjugate")

    def kinks(self, y: Vector, f: Vector) -> Vector:
        """Where ``dl/df`` jumps nearest to ``f``, ``(n,)``; NaN for a loss that has no kink."""
        return np.full(y.shape, math.nan)


@dataclass(frozen=True)
class RegularizedRisk:
    """One learner of the family: see the module's docstring for every letter."""

    loss: Loss
    lam: float
    factor: float
    intercept: Intercept
    theta0: tuple[float, ...]
    basis: Matrix | None = None
    norm: PenaltyNorm = PenaltyNorm.L2

    @classmethod
    def of(
        cls, spec: LearnerSpec, d: int, loss: Loss, lam: float, factor: float, norm: PenaltyNorm = PenaltyNorm.L2
    ) -> RegularizedRisk:
        """With the intercept and the prior that the instance states."""
        w0 = spec.prior.w0 if spec.prior else (0.0,) * d
        b0 = spec.prior.b0 if spec.prior and spec.intercept is Intercept.PENALIZED else 0.0
        theta0 = w0 if spec.intercept is Intercept.NONE else (*w0, b0)
        return cls(loss, lam, factor, spec.intercept, theta0, norm=norm)

    @property
    def p(self) -> int:
        """The number of parameters."""
        return len(self.theta0)

    @cached_property
    def penalty(self) -> Vector:
        """The factors ``rho``, the diagonal of ``R``, ``(p,)``."""
        diagonal = np.ones(self.p)
        if self.intercept is Intercept.FREE:
            diagonal[-1] = 0.0
        if self.basis is None:
            return diagonal
        if self.norm is PenaltyNorm.L1:
            # Only a free intercept's row, which has no penalty, has entries off the diagonal, see `whitened`.
            scales: Vector = np.abs(np.diag(self.basis)) * diagonal
            return scales
        # The columns of a basis are orthogonal in the penalty, see `whitened`.
        squares: Vector = (self.basis**2 * diagonal[:, None]).sum(axis=0)
        return squares

    def whitened(self, X: Matrix, unit: float, weight: float) -> RegularizedRisk:
        """The same learner in coordinates ``theta'`` with ``theta = T theta'`` in which the records look round.

        ``T`` holds the principal axes of ``xhat`` over the rows of ``X`` (of the centred features for a free intercept,
        which stays the last coordinate), each divided by the spread along it, times ``unit``. So every coordinate moves
        a typical ``f`` by about ``unit``, ``T'RT`` stays diagonal, and numbers that are far apart in size or far from 0
        in the records are not so in a program. The l1 norm does not survive a rotation: there the axes are the
        features themselves, and ``rho_j |theta_j - theta0_j| = rho_j |T_jj| |theta'_j - theta0'_j|``. The objective is
        divided by ``factor weight``, so that a record of that weight counts 1; the optimum is the same.
        """
        xhat = self.extend(X)
        free = self.intercept is Intercept.FREE
        part = xhat[:, :-1] - xhat[:, :-1].mean(axis=0) if free else xhat
        scaled = self._axes(part)
        basis = np.eye(self.p)
        if free:
            basis[:-1, :-1] = scaled
            basis[-1, :-1] = -xhat[:, :-1].mean(axis=0) @ scaled
        else:
            basis = scaled
        basis = unit * basis
        theta0 = np.linalg.solve(basis, np.array(self.theta0))
        share = self.factor * weight
        return replace(
            self,
            lam=self.lam / share,
            factor=self.factor / share,
            basis=basis,
            theta0=tuple(float(value) for value in theta0),
        )

    def _axes(self, part: Matrix) -> Matrix:
        """Directions, in columns, along which the rows of ``part`` have the root mean square 1, where it is not 0."""
        count = part.shape[1]
        if self.norm is PenaltyNorm.L1:
            lengths, axes = np.sqrt((part**2).mean(axis=0)), np.eye(count)
        else:
            _, spread, rows = np.linalg.svd(part / math.sqrt(max(1, len(part))), full_matrices=True)
            axes, lengths = rows.T, np.zeros(count)
            lengths[: len(spread)] = spread
        top = float(lengths.max(initial=0.0)) or 1.0
        scaled: Matrix = axes / np.where(lengths > 1e-7 * top, lengths, top)
        return scaled

    def extend(self, X: Matrix) -> Matrix:
        """``xhat``: ``X (n, d)`` with the intercept's column, ``(n, p)``, in this risk's coordinates."""
        xhat = np.asarray(X, dtype=float)
        if self.intercept is not Intercept.NONE:
            xhat = np.hstack([X, np.ones((len(X), 1))])
        return xhat if self.basis is None else xhat @ self.basis

    def split(self, theta: Vector) -> tuple[Vector, float]:
        """``(w, b)`` of ``theta``."""
        theta = theta if self.basis is None else self.basis @ theta
        if self.intercept is Intercept.NONE:
            return theta, 0.0
        return theta[:-1], float(theta[-1])

    def join(self, w: Vector, b: float) -> Vector:
        """``theta`` of ``(w, b)``."""
        theta = np.asarray(w) if self.intercept is Intercept.NONE else np.append(w, b)
        return theta if self.basis is None else np.linalg.solve(self.basis, theta)

    def objective(self, theta: Vector, Xhat: Matrix, y: Vector, s: Vector) -> float:
        """``J(theta)``."""
        fit = float(np.sum(self.factor * s * self.loss.value(y, Xhat @ theta)))
        return self.lam * self.penalty_value(theta) + fit

    def penalty_value(self, theta: Vector) -> float:
        """``P(theta)``."""
        shift = theta - np.array(self.theta0)
        if self.norm is PenaltyNorm.L1:
            return float(self.penalty @ np.abs(shift))
        return 0.5 * float(shift @ (self.penalty * shift))
