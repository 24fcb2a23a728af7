"""Relabelling, those with the largest present decision value for the wanted label first.

Members report the wanted label as :mod:`oar_opt.relabelling` says, in the order of ``t f(x_i)``, for nearest centroids
of the distance to the nearest other centroid less that to the wanted one (both squared). A probability that grows with
that value gives the same order. That reading of the ranking is this package's own.

Reference: O. Ben-Dov, S. Samadi, A. Sanyal, A. Tifrea, "Fairness for the People, by the People: Minority Collective
Action", 2025.
"""

from __future__ import annotations

from collections.abc import Sequence

from oar_opt.problem import RecourseProblem
from oar_opt.relabelling import Relabelling, decision_values


class RbProb(Relabelling):
    """See the module's docstring."""

    name = "rb_prob"

    def keys(self, problem: RecourseProblem, label: float, rows: Sequence[int]) -> Sequence[tuple[float, ...]]:
        values = decision_values(problem, label, problem.records.X[list(rows)])
        return [(-value,) for value in values.tolist()]
