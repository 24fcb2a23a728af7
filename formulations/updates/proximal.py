"""Proximal update: the learner's optimum, regularised towards a prior, yesterday's parameters.

``||w||^2`` becomes ``||w - w0||^2`` (with ``b - b0`` for a penalised intercept): an implicit online step, whose length
the learner's constant ``alpha`` or ``C`` sets. Everything that holds for re-training holds here.

Reference: B. Kulis, P. L. Bartlett, "Implicit Online Learning", 2010.
"""

from __future__ import annotations

from dataclasses import replace

from formulations.updates.retrain import Retrain
from oar_opt.contracts import WorkedExample, line_example
from oar_opt.problem import LearnerSpec, Prior, Update, UpdateKind


class Proximal(Retrain):
    """See the module's docstring."""

    kind = "proximal"

    def examples(self) -> tuple[WorkedExample, ...]:
        problem = replace(
            line_example(LearnerSpec("ridge", alpha=1.0, prior=Prior((-1.0,)))), update=Update(UpdateKind.PROXIMAL)
        )
        why = "w = (sum x y - alpha) / (sum x^2 + alpha) is -1 if the member stays, -1/3 if it reports +, 0 at (2, +)"
        return (WorkedExample(problem, 0.0, why),)
