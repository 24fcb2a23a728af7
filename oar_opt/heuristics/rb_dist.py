"""Relabelling, those nearest to a record that carries the wanted label first.

Members report the wanted label as :mod:`oar_opt.relabelling` says, in the order of the least of ``||(x_i - x_j) /
scale||_2`` over the records ``j`` that have weight and carry the wanted label before anyone acts. Where there is none
all are equally far. That reading of the ranking is this package's own.

Reference: O. Ben-Dov, S. Samadi, A. Sanyal, A. Tifrea, "Fairness for the People, by the People: Minority Collective
Action", 2025.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

from oar_opt.problem import RecourseProblem
from oar_opt.relabelling import Relabelling


class RbDist(Relabelling):
    """See the module's docstring."""

    name = "rb_dist"

    def keys(self, problem: RecourseProblem, label: float, rows: Sequence[int]) -> Sequence[tuple[float, ...]]:
        records = problem.records
        carriers = records.X[(records.y == label) & (records.s > 0)] / problem.scales
        points = records.X[list(rows)] / problem.scales
        if not len(carriers) or not len(points):
            return [(np.inf,)] * len(points)
        return [(float(distance),) for distance in KDTree(carriers).query(points)[0]]
