"""Relabelling, those whom the present model already gives the wanted label first.

Members report the wanted label as :mod:`oar_opt.relabelling` says. Those come first whose present decision value ``v``
for the wanted label is above 0; among them, and among the others, those with the least ``|v|``, that is, those of whose
label the model is least sure. (With the largest ``v`` first in both groups this would be ``rb_prob``.) That reading of
the ranking is this package's own.

Reference: O. Ben-Dov, S. Samadi, A. Sanyal, A. Tifrea, "Fairness for the People, by the People: Minority Collective
Action", 2025.
"""

from __future__ import annotations

from collections.abc import Sequence

from oar_opt.problem import RecourseProblem
from oar_opt.relabelling import Relabelling, decision_values


class RbLabel(Relabelling):
    """See the module's docstring."""

    name = "rb_label"

    def keys(self, problem: RecourseProblem, label: float, rows: Sequence[int]) -> Sequence[tuple[float, ...]]:
        values = decision_values(problem, label, problem.records.X[list(rows)])
        return [(float(value <= 0), abs(value)) for value in values.tolist()]
