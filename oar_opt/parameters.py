"""What a learner learns, and the margins it gives to a query.

Linear learners: ``f(x) = w'x + b`` and ``m_q = t_q (f(x_q) - threshold)``. Nearest centroid:
``m_q = min over c != t_q of ||x_q - mu_c||^2 - ||x_q - mu_tq||^2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oar_opt.problem import Label, Matrix, Point, Query, RecourseProblem, Task, Vector


@dataclass(frozen=True)
class LinearParameters:
    """``w (d,)`` and ``b``."""

    w: Point
    b: float = 0.0

    @classmethod
    def of(cls, w: Vector, b: float) -> LinearParameters:
        return cls(tuple(float(value) for value in w), float(b))

    def vector(self) -> Vector:
        """``(w, b)`` in one, ``(d + 1,)``."""
        return np.array([*self.w, self.b])

    def value(self, x: Point) -> float:
        """The decision value ``f(x)``."""
        return float(np.dot(self.w, x)) + self.b

    def margin(self, query: Query) -> float:
        return query.target * (self.value(query.x) - query.threshold)

    def decision(self, problem: RecourseProblem, query: Query) -> Label:
        """The predicted class; for regression the predicted number."""
        f = self.value(query.x)
        return f if problem.task is Task.REGRESSION else problem.label_of(1.0 if f > 0 else -1.0)


@dataclass(frozen=True)
class CentroidParameters:
    """``mu``: one centroid per class, in the order of ``classes``."""

    mu: tuple[Point, ...]

    @classmethod
    def of(cls, mu: Matrix) -> CentroidParameters:
        return cls(tuple(tuple(float(value) for value in row) for row in mu))

    def vector(self) -> Vector:
        """All centroids in one, ``(classes * d,)``."""
        return np.array(self.mu).ravel()

    def squared_distances(self, x: Point) -> Vector:
        """To every centroid, ``(classes,)``."""
        return np.array([float(np.sum((np.array(x) - np.array(mu)) ** 2)) for mu in self.mu])

    def margin_error(self, x: Sequence[float], error: float) -> float:
        """How far a margin at ``x (d,)`` can be off where the centroids are off by ``error`` together.

        A squared distance ``r^2`` is off by ``2 r e + e^2``, with the rounding of differences in ``e``, and by its own
        rounding.
        """
        point, mu = np.array(x), np.array(self.mu)
        unit = float(np.finfo(np.float64).eps)
        e = error + unit * np.linalg.norm(np.abs(point) + np.abs(mu), axis=1)
        r = np.linalg.norm(point - mu, axis=1)
        return 2 * float((2 * r * e + e**2 + unit * (len(point) + 2) * r**2).max())

    def margin(self, query: Query) -> float:
        distances = self.squared_distances(query.x)
        own = int(query.target)
        return float(np.min(np.delete(distances, own)) - distances[own])

    def decision(self, problem: RecourseProblem, query: Query) -> Label:
        return problem.label_of(float(np.argmin(self.squared_distances(query.x))))


Parameters = LinearParameters | CentroidParameters
