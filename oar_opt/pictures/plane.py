"""The plane that a picture of records in ``d`` dimensions shows.

Coordinates ``z = V'((x - c) / scale)`` with orthonormal columns ``V (d, 2)``: either two features' own values, or the
two principal directions of the records in scaled units. A point of the plane stands for the record

    x(z) = x_0 + scale * V (z - z_0),

on the plane through ``x_0``, the first query. Decisions are drawn for these points; a record off the plane is drawn at
its projection, where its own decision can be another one. With two features in all nothing is off the plane.
Reference: K. Pearson, "On Lines and Planes of Closest Fit to Systems of Points in Space", 1901.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from oar_opt.errors import InputError, UnsupportedError
from oar_opt.problem import Matrix, RecourseProblem, Vector

SHOWN_LOADINGS = 2
LEAST_LOADING = 0.1


@dataclass(frozen=True, eq=False)
class Plane:
    """``V (d, 2)``, ``centre (d,)``, ``scale (d,)``, and ``through (d,)``, the point ``x_0``.

    ``is_all``: nothing is off the plane. ``axes`` are the names of the two coordinates.
    """

    V: Matrix
    centre: Vector
    scale: Vector
    through: Vector
    axes: tuple[str, str]
    is_all: bool

    def project(self, X: Matrix) -> Matrix:
        """Coordinates of points ``(m, d)``: ``(m, 2)``."""
        return np.asarray((X - self.centre) / self.scale @ self.V)

    def restrict(self, w: Vector, b: float) -> tuple[Vector, float]:
        """``w'x(z) + b`` as ``a'z + c``: ``a (2,)`` and ``c``."""
        a = self.V.T @ (self.scale * w)
        at = self.project(self.through[None])[0]
        return a, float(w @ self.through + b - a @ at)

    def lift(self, Z: Matrix) -> Matrix:
        """The records ``x(z)`` of points of the plane ``(m, 2)``: ``(m, d)``."""
        at = self.project(self.through[None])[0]
        return np.asarray(self.through + ((Z - at) @ self.V.T) * self.scale)


def plane_of(problem: RecourseProblem, features: Sequence[str] = ()) -> Plane:
    """The plane of two features, by default of the only two there are, otherwise of the principal directions.

    Raises
    ------
    InputError : not two features, or unknown ones.
    UnsupportedError : the records have one feature only.
    """
    if problem.d == 1:
        raise UnsupportedError("decision regions are drawn in a plane, and the records have one feature only")
    if features:
        return _of_features(problem, [_index(problem, name) for name in _two(features)])
    return _of_features(problem, [0, 1]) if problem.d == 2 else _principal(problem)


def _two(names: Sequence[str]) -> Sequence[str]:
    if len(names) != 2 or names[0] == names[1]:
        raise InputError("--features", f"names {', '.join(names)}", "name two different features: A,B")
    return names


def _index(problem: RecourseProblem, name: str) -> int:
    known = [feature.name for feature in problem.features]
    if name not in known:
        near = get_close_matches(name, known, n=1)
        fix = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
        raise InputError("--features", f"'{name}' is no feature", fix)
    return known.index(name)


def _of_features(problem: RecourseProblem, columns: list[int]) -> Plane:
    d = problem.d
    names = tuple(f"{problem.features[j].name} (its own unit)" for j in columns)
    V = np.eye(d)[:, columns]
    return Plane(V, np.zeros(d), np.ones(d), np.array(problem.queries[0].x), (names[0], names[1]), d == 2)


def _principal(problem: RecourseProblem) -> Plane:
    X, scale = problem.records.X, problem.scales
    centre = X.mean(axis=0)
    scaled = (X - centre) / scale
    variances, directions = np.linalg.eigh(scaled.T @ scaled / len(X))
    V, kept, total = directions[:, [-1, -2]], variances[[-1, -2]], max(float(variances.sum()), 1e-300)
    # The largest entry is positive, so that the picture does not depend on the linear algebra library.
    V = V * np.where(V[np.abs(V).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    names = [
        f"principal direction {k + 1} ({100 * max(kept[k], 0.0) / total:.0f} % of the variance)\n"
        f"{_loadings(problem, V[:, k])}, in scaled units"
        for k in range(2)
    ]
    return Plane(V, centre, scale, np.array(problem.queries[0].x), (names[0], names[1]), False)


def _loadings(problem: RecourseProblem, direction: Vector) -> str:
    """A direction by its largest entries."""
    order = np.argsort(-np.abs(direction), kind="stable").tolist()
    large = [j for j in order if abs(direction[j]) >= LEAST_LOADING]
    if len(large) == 1:
        return str(problem.features[large[0]].name)
    words = ""
    for j in large[:SHOWN_LOADINGS]:
        sign = "-" if direction[j] < 0 else "+"
        words += f" {sign} {abs(direction[j]):.2g} {problem.features[j].name}"
    return words.removeprefix(" + ").strip() + (" + ..." if len(large) > SHOWN_LOADINGS else "")
