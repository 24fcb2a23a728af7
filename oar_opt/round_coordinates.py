"""Coordinates in which a training problem's records look round, however far from 0 they are.

Letters of :mod:`oar_opt.risk`. With ``theta = T eta`` a record's ``f`` is ``z'eta``, ``z = T'xhat``, and the gradient
of ``J`` in ``eta`` is

    v' = T'[lam R (theta - theta0)] + sum_i g_i z_i.

``T`` may be any invertible matrix. Here its columns are the principal axes of ``xhat`` (of the features measured from
their mean under a free intercept, which stays the last coordinate), each divided by the spread along it, so Gram
matrices of ``z`` are well conditioned where those of ``xhat`` have lost the digits that matter: at features of 1e5 give
or take 1 the latter's condition is 1e10.

With the mean ``c`` of the rows and ``x = xhat - c``, ``z = T'c + T'x`` and ``sum_i g_i z_i = T'c sum_i g_i + T' sum_i
g_i x_i``: what is far from 0 enters once and not with every record. ``x``, ``T'c``, ``f`` and ``v'`` are computed in
extended precision, and what is stated of their rounding covers all of it: ``gamma_k = 2 (k + 4) eps`` is twice what a
sum of ``k`` products can lose, relative to the sum of their sizes.

Reference: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, chapter 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from oar_opt.problem import Intercept, Matrix, Vector
from oar_opt.risk import RegularizedRisk

Precise = NDArray[np.longdouble]

NO_SPREAD = 1e-7
"""Relative to the largest spread, one that is taken for 0: along such an axis the unit of the largest is used."""

EPS = float(np.finfo(np.longdouble).eps)
ROUNDING = float(np.finfo(np.float64).eps)


def gamma(k: int) -> float:
    """Twice the largest relative rounding of a sum of ``k`` products in extended precision."""
    return 2 * (k + 4) * EPS


def precise(values: Matrix | Vector | Precise) -> Precise:
    """In extended precision."""
    return np.asarray(values, dtype=np.longdouble)


@dataclass(frozen=True)
class RoundCoordinates:
    """For rows ``xhat (m, p)`` of a risk in the squared l2 norm; see the module's docstring."""

    risk: RegularizedRisk
    xhat: Matrix

    @property
    def free(self) -> bool:
        return self.risk.intercept is Intercept.FREE

    @cached_property
    def mean(self) -> Vector:
        """``c (p,)``: any point near the middle of the rows will do."""
        return self.xhat.mean(axis=0) if len(self.xhat) else np.zeros(self.risk.p)

    @cached_property
    def around_mean(self) -> Precise:
        """The rows ``x``, ``(m, p)``."""
        return precise(self.xhat) - self.mean

    @cached_property
    def T(self) -> Matrix:
        """``(p, p)``."""
        if not self.free:
            return _axes(self.xhat)
        T = np.eye(self.risk.p)
        T[:-1, :-1] = _axes(np.asarray(self.around_mean[:, :-1], dtype=np.float64))
        T[-1, :-1] = -self.mean[:-1] @ T[:-1, :-1]
        return T

    @cached_property
    def of_mean(self) -> Precise:
        """``T'c (p,)``."""
        return precise(self.mean) @ precise(self.T)

    @cached_property
    def of_mean_in_doubt(self) -> Vector:
        """How far each entry of :attr:`of_mean` can be off."""
        return gamma(self.risk.p) * (np.abs(self.mean) @ np.abs(self.T))

    @cached_property
    def z(self) -> Matrix:
        """The rows ``z``, ``(m, p)``, rounded."""
        return np.asarray(self.around_mean, dtype=np.float64) @ self.T + np.asarray(self.of_mean, dtype=np.float64)

    @cached_property
    def z_rounded(self) -> Matrix:
        """How far each entry of :attr:`z` can be off, ``(m, p)``."""
        of_mean = ROUNDING * np.abs(np.asarray(self.of_mean, dtype=np.float64)) + self.of_mean_in_doubt
        return ROUNDING * (np.abs(self.z) + (self.risk.p + 4) * (self.sizes @ np.abs(self.T))) + of_mean

    @cached_property
    def sizes(self) -> Matrix:
        """``|x|``, not less, ``(m, p)``."""
        return (1 + ROUNDING) * np.abs(np.asarray(self.around_mean, dtype=np.float64))

    @cached_property
    def unevenness(self) -> float:
        """The largest spread of the records along an axis over the least one that is not 0."""
        spreads = np.sqrt((self.z**2).mean(axis=0)) > 0.5
        units = 1 / np.linalg.norm(self.T, axis=0)[spreads]
        return float(units.max() / units.min()) if units.size else 1.0

    @cached_property
    def penalty(self) -> Matrix:
        """``lam T'RT``, ``(p, p)``."""
        return self.risk.lam * (self.T.T * self.risk.penalty) @ self.T

    @cached_property
    def centre(self) -> Vector:
        """The mean of the penalised columns of ``xhat`` under a free intercept, else 0."""
        return self.mean[:-1] if self.free else np.zeros(self.risk.p)

    @cached_property
    def at_centre(self) -> Precise:
        """``T`` with the last row replaced by that of ``w'centre + b``, for a free intercept."""
        rows = precise(self.T).copy()
        if self.free:
            rows[-1] = self.of_mean
        return rows

    def values(self, theta: Vector | Precise) -> tuple[Precise, Vector]:
        """``f (m,)`` and how far each can be off."""
        f = precise(self.xhat) @ precise(theta)
        return f, gamma(self.risk.p) * (np.abs(self.xhat) @ np.abs(np.asarray(theta, dtype=np.float64)))

    def gradient(self, theta: Vector | Precise, g: Precise, g_in_doubt: Vector) -> tuple[Precise, Vector]:
        """``v' (p,)`` for pulls ``g (m,)`` off by at most ``g_in_doubt``, and how far each entry can be off."""
        drag = self.risk.lam * self.risk.penalty * (precise(theta) - np.array(self.risk.theta0))
        total, moment = g.sum(), self.around_mean.T @ g
        v: Precise = precise(self.T).T @ (drag + moment) + self.of_mean * total
        pulls, axes = _size(g), np.abs(self.T).T
        of_mean = _size(self.of_mean) + self.of_mean_in_doubt
        of_records, of_total = gamma(len(g)) * pulls + g_in_doubt, float(gamma(len(g)) * pulls.sum() + g_in_doubt.sum())
        off = axes @ (self.sizes.T @ of_records + gamma(self.risk.p) * (_size(drag) + _size(moment)))
        off = off + of_mean * of_total + self.of_mean_in_doubt * abs(float(total)) + gamma(2) * _size(v)
        return v, (1 + 1e-9) * off


def _axes(rows: Matrix) -> Matrix:
    """Directions, in columns, along which the rows have the root mean square 1, where it is not 0."""
    count = rows.shape[1]
    triangle = np.linalg.qr(rows / math.sqrt(max(1, len(rows))), mode="r")
    _, spread, axes = np.linalg.svd(triangle, full_matrices=True)
    lengths = np.zeros(count)
    lengths[: len(spread)] = spread
    top = float(lengths.max(initial=0.0)) or 1.0
    scaled: Matrix = axes.T / np.where(lengths > NO_SPREAD * top, lengths, top)
    return scaled


def _size(values: Precise) -> Vector:
    """``|values|``, not less."""
    return (1 + ROUNDING) * np.abs(np.asarray(values, dtype=np.float64))
