"""Regularised empirical risk: the family of learners that the reformulations know.

The learner minimises, over ``theta`` (``w``, followed by ``b`` where there is an intercept),

    J(theta) = lam/2 (theta - theta0)' R (theta - theta0) + sum_i a_i l(y_i, f_i),     f_i = xhat_i' theta,

with ``R`` diagonal (1, but 0 for a free intercept), ``a_i = factor * s_i`` and ``xhat`` the features with a 1 appended
where there is an intercept. The program is convex, so ``theta`` is optimal if and only if

    lam R (theta - theta0) + sum_i g_i xhat_i = 0,     g_i in a_i dl/df(y_i, f_i);

``g_i`` is the record's *pull*. A loss is therefore known by its value and the graph of its subdifferential, a monotone
curve in the plane of ``(f, g)``; for a piecewise linear-quadratic loss that curve is a polyline.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
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

    def curvature(self) -> float:
        """A ``kappa`` such that ``l(y, f) - kappa/2 f^2`` is convex in ``f`` for every ``y``."""
        return 0.0

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

    @classmethod
    def of(cls, spec: LearnerSpec, d: int, loss: Loss, lam: float, factor: float) -> RegularizedRisk:
        """With the intercept and the prior that the instance states."""
        w0 = spec.prior.w0 if spec.prior else (0.0,) * d
        b0 = spec.prior.b0 if spec.prior and spec.intercept is Intercept.PENALIZED else 0.0
        return cls(loss, lam, factor, spec.intercept, w0 if spec.intercept is Intercept.NONE else (*w0, b0))

    @property
    def p(self) -> int:
        """The number of parameters."""
        return len(self.theta0)

    @cached_property
    def penalty(self) -> Vector:
        """The diagonal of ``R``, ``(p,)``."""
        diagonal = np.ones(self.p)
        if self.intercept is Intercept.FREE:
            diagonal[-1] = 0.0
        # The columns of a basis are orthogonal in the penalty, see `whitened`.
        return diagonal if self.basis is None else (self.basis**2 * diagonal[:, None]).sum(axis=0)

    def whitened(self, X: Matrix, unit: float, weight: float) -> RegularizedRisk:
        """The same learner in coordinates ``theta'`` with ``theta = T theta'`` in which the records look round.

        ``T`` holds the principal axes of ``xhat`` over the rows of ``X`` (of the centred features for a free intercept,
        which stays the last coordinate), each divided by the spread along it, times ``unit``. So every coordinate moves
        a typical ``f`` by about ``unit``, ``T'RT`` stays diagonal, and numbers that are far apart in size or far from 0
        in the records are not so in a program. The objective is divided by ``factor weight``, so that a record of that
        weight counts 1; the optimum is the same.
        """
        xhat = self.extend(X)
        free = self.intercept is Intercept.FREE
        part = xhat[:, :-1] - xhat[:, :-1].mean(axis=0) if free else xhat
        _, spread, axes = np.linalg.svd(part / math.sqrt(max(1, len(part))), full_matrices=True)
        lengths = np.zeros(part.shape[1])
        lengths[: len(spread)] = spread
        top = float(lengths.max(initial=0.0)) or 1.0
        scaled = axes.T / np.where(lengths > 1e-7 * top, lengths, top)
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
        shift = theta - np.array(self.theta0)
        fit = float(np.sum(self.factor * s * self.loss.value(y, Xhat @ theta)))
        return 0.5 * self.lam * float(shift @ (self.penalty * shift)) + fit
