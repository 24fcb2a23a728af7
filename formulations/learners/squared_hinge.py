"""Squared hinge: a support vector machine whose loss is differentiable.

Minimises ``1/2 ||w||^2 + C sum_i s_i max(0, 1 - y_i f_i)^2``: ``lam = 1``, ``a_i = C s_i``. For ``y = 1`` the pull is
the line ``2 (f - 1)`` left of ``f = 1`` and 0 to the right, without a jump; the conjugate is ``g y + g^2 / 4`` for
``y g <= 0``. The optimum is unique where ``w`` and the intercept are penalised; a free intercept is unique while some
record is on the line.

Re-training starts from scikit-learn's ``LinearSVC``; an interior-point method stands in for a free intercept, a prior
or one class alone. Finished exactly by :mod:`oar_opt.training`.

Reference: Y. Tang, "Deep Learning using Linear Support Vector Machines", 2013 (the loss); R.-E. Fan, K.-W. Chang,
C.-J. Hsieh, X.-R. Wang, C.-J. Lin, "LIBLINEAR: A Library for Large Linear Classification", 2008.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.parameters import Parameters
from oar_opt.problem import LearnerSpec, Records, RecourseProblem, Vector
from oar_opt.risk import Line, Loss, Piece, RegularizedRisk
from oar_opt.training import Training, by_liblinear, from_prior, risk_loss, train, without_class


class SquaredHingeLoss(Loss):
    """``max(0, 1 - y f)^2`` for ``y`` in {-1, +1}."""

    def value(self, y: Vector, f: Vector) -> Vector:
        return np.maximum(0.0, 1 - y * f) ** 2

    def pull(self, y: Vector, f: Vector) -> Vector:
        return -2 * y * np.maximum(0.0, 1 - y * f)

    def second_derivative(self, y: Vector, f: Vector) -> Vector:
        return np.where(y * f < 1, 2.0, 0.0)

    def pull_range(self, y: float) -> tuple[float, float]:
        return (-math.inf, 0.0) if y > 0 else (0.0, math.inf)

    def conjugate(self, y: Vector, g: Vector) -> Vector:
        return np.where(y * g <= 1e-12, g * y + g**2 / 4, math.inf)

    def expression(self, y: Vector, f: Any) -> Any:
        import cvxpy as cp

        return cp.square(cp.pos(1 - cp.multiply(y, f)))

    def pieces(self, y: float) -> tuple[Piece, ...]:
        if y > 0:
            return Line(-math.inf, y, 2.0, -2.0 * y), Line(y, math.inf, 0.0, 0.0)
        return Line(-math.inf, y, 0.0, 0.0), Line(y, math.inf, 2.0, -2.0 * y)


class SquaredHinge(Learner):
    """Re-trained by scikit-learn's ``LinearSVC(loss="squared_hinge")``, finished exactly."""

    kind = "squared_hinge"

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk:
        assert spec.C is not None
        return RegularizedRisk.of(spec, d, SquaredHingeLoss(), lam=1.0, factor=spec.C)

    def examples(self) -> tuple[WorkedExample, ...]:
        return (
            WorkedExample(
                line_example(LearnerSpec("squared_hinge", C=1.0)),
                2 / 11,
                "w + 2 (1 + w) - 4 (1 - 2 w) is 0 at 2/11 for (2, +); staying gives -4/5, reporting + gives 0",
            ),
        )

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        return without_class(problem, records)

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        return train(problem, self.risk(problem.learner, problem.d), records, (by_sklearn, from_prior))

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        return risk_loss(self.risk(problem.learner, problem.d), records, parameters)


def by_sklearn(task: Training) -> tuple[Vector, str] | None:
    """scikit-learn's machine, where it has the learner: no free intercept, no prior, both classes."""
    if task.free or len(set(task.y)) < 2 or task.origin.any():
        return None
    return by_liblinear(task, "squared_hinge")
