"""Which class wins where in a rectangle: the cells of affine scores, and the edges between them.

Class ``c`` wins at ``z`` where ``g_c(z) = a_c'z + c_c`` is largest. Nearest centroid: ``-||x(z) - mu_c||^2`` less what
all classes share; two classes of a linear learner: ``0`` and ``f(x(z))``. Each cell is the rectangle cut by the
half-planes ``g_c >= g_c'``, so its corners are exact (up to rounding), not those of a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from oar_opt.parameters import CentroidParameters, LinearParameters, Parameters
from oar_opt.pictures.plane import Plane
from oar_opt.problem import Matrix, Vector


@dataclass(frozen=True, eq=False)
class Rectangle:
    """What the axes show."""

    low: Vector
    high: Vector

    @property
    def corners(self) -> Matrix:
        (a, c), (b, d) = self.low, self.high
        return np.array([[a, c], [b, c], [b, d], [a, d]])


def affine_scores(parameters: Parameters, plane: Plane) -> tuple[Matrix, Vector]:
    """The scores of the classes in their order: slopes ``(classes, 2)`` and constants ``(classes,)``."""
    if isinstance(parameters, CentroidParameters):
        mu = np.array(parameters.mu)
        # Around a common point, since squares of large features would lose the digits of the differences.
        origin = plane.through
        pairs = [plane.restrict(2 * (m - origin), -float((m - origin) @ (m + origin))) for m in mu]
    else:
        assert isinstance(parameters, LinearParameters)
        pairs = [(np.zeros(2), 0.0), plane.restrict(np.array(parameters.w), parameters.b)]
    return np.array([a for a, _ in pairs]), np.array([c for _, c in pairs])


def cells(slopes: Matrix, constants: Vector, rectangle: Rectangle) -> list[Matrix]:
    """The cell of each class: corners ``(m, 2)`` in order, none where the class wins nowhere."""
    found = []
    for c in range(len(slopes)):
        polygon = rectangle.corners
        for other in range(len(slopes)):
            if other != c:
                polygon = half(polygon, slopes[c] - slopes[other], constants[c] - constants[other])
        found.append(polygon)
    return found


def half(polygon: Matrix, a: Vector, c: float) -> Matrix:
    """The part of a convex polygon ``(m, 2)`` where ``a'z + c >= 0``.

    Reference: I. Sutherland, G. Hodgman, "Reentrant Polygon Clipping", 1974.
    """
    kept: list[Vector] = []
    for p, q in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        at_p, at_q = float(a @ p + c), float(a @ q + c)
        if at_p >= 0:
            kept.append(p)
        if (at_p < 0) != (at_q < 0):
            kept.append(p + (q - p) * (at_p / (at_p - at_q)))
    return np.array(kept).reshape(-1, 2)


def boundaries(slopes: Matrix, constants: Vector, rectangle: Rectangle) -> list[Matrix]:
    """The segments ``(2, 2)`` on which two classes tie and no other wins."""
    found = []
    for c, other in combinations(range(len(slopes)), 2):
        segment = _line(slopes[c] - slopes[other], constants[c] - constants[other], rectangle)
        for third in range(len(slopes)):
            if segment is not None and third not in (c, other):
                segment = _clipped(segment, slopes[c] - slopes[third], constants[c] - constants[third])
        if segment is not None:
            found.append(segment)
    return found


def _line(a: Vector, c: float, rectangle: Rectangle) -> Matrix | None:
    """Where ``a'z + c = 0`` in the rectangle."""
    if not a.any():
        return None
    corners = rectangle.corners
    crossings = []
    for p, q in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        at_p, at_q = float(a @ p + c), float(a @ q + c)
        if (at_p < 0) != (at_q < 0):
            crossings.append(p + (q - p) * (at_p / (at_p - at_q)))
    return np.array(crossings) if len(crossings) == 2 else None


def _clipped(segment: Matrix, a: Vector, c: float) -> Matrix | None:
    p, q = segment
    at_p, at_q = float(a @ p + c), float(a @ q + c)
    if at_p < 0 and at_q < 0:
        return None
    if (at_p < 0) != (at_q < 0):
        cut = p + (q - p) * (at_p / (at_p - at_q))
        p, q = (cut, q) if at_p < 0 else (p, cut)
    return np.array([p, q])
