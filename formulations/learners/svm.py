"""Linear support vector machine: hinge loss and a squared norm.

Minimises ``1/2 ||w||^2 + C sum_i s_i max(0, 1 - y_i f_i)``: ``lam = 1``, ``a_i = C s_i``. The graph of the
subdifferential for ``y = 1`` has three pieces: ``g = -1`` left of ``f = 1``, the jump from -1 to 0 at ``f = 1``, and
0 to the right. ``w`` is unique. A free intercept is not always: where no record with a fractional pull pins it, a
whole interval is optimal, and the instance's ``position`` says which of its points the learner takes.

Re-training starts from scikit-learn (``SVC`` for a free intercept, ``LinearSVC`` otherwise; an interior-point method
where scikit-learn has no such learner: a prior, or one class alone) and is finished exactly by
:mod:`oar_opt.training`.

Reference: C. Cortes, V. Vapnik, "Support-Vector Networks", 1995.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.parameters import Parameters
from oar_opt.problem import LearnerSpec, Records, RecourseProblem, Vector
from oar_opt.risk import Jump, Line, Loss, Piece, RegularizedRisk
from oar_opt.training import LIBSVM_STEPS, Training, by_liblinear, fit_quietly, risk_loss, train, without_class


class HingeLoss(Loss):
    """``max(0, 1 - y f)`` for ``y`` in {-1, +1}; conjugate ``y g`` on ``-1 <= y g <= 0``."""

    def value(self, y: Vector, f: Vector) -> Vector:
        return np.maximum(0.0, 1 - y * f)

    def pull(self, y: Vector, f: Vector) -> Vector:
        return np.where(y * f < 1, -y, 0.0)

    def pull_range(self, y: float) -> tuple[float, float]:
        return (-1.0, 0.0) if y > 0 else (0.0, 1.0)

    def conjugate(self, y: Vector, g: Vector) -> Vector:
        inside = (y * g >= -1 - 1e-12) & (y * g <= 1e-12)
        return np.where(inside, y * g, math.inf)

    def expression(self, y: Vector, f: Any) -> Any:
        import cvxpy as cp

        return cp.pos(1 - cp.multiply(y, f))

    def pieces(self, y: float) -> tuple[Piece, ...]:
        low, high = self.pull_range(y)
        return Line(-math.inf, y, 0.0, low), Jump(y, low, high), Line(y, math.inf, 0.0, high)

    def kinks(self, y: Vector, f: Vector) -> Vector:
        return np.asarray(y, dtype=float)


class SupportVectorMachine(Learner):
    """Re-trained by scikit-learn's ``SVC`` and ``LinearSVC``, finished exactly; see the module's docstring."""

    kind = "svm"

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk:
        assert spec.C is not None
        return RegularizedRisk.of(spec, d, HingeLoss(), lam=1.0, factor=spec.C)

    def examples(self) -> tuple[WorkedExample, ...]:
        return (
            WorkedExample(
                line_example(LearnerSpec("svm", C=1.0)),
                0.5,
                "w + [w > -1] - 2 [w < 1/2] changes sign at 1/2 for (2, +); staying gives -1, reporting + gives 0",
            ),
        )

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        return without_class(problem, records)

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        return train(problem, self.risk(problem.learner, problem.d), records, (by_sklearn,))

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        return risk_loss(self.risk(problem.learner, problem.d), records, parameters)


def by_sklearn(task: Training) -> tuple[Vector, str] | None:
    """scikit-learn's support vector machine, where it has the learner: no prior, both classes."""
    from sklearn.svm import SVC

    if len(set(task.y)) < 2 or task.origin.any():
        return None
    if not task.free:
        return by_liblinear(task, "hinge")
    svc = SVC(kernel="linear", C=task.risk.factor, tol=1e-6, max_iter=LIBSVM_STEPS)
    fit_quietly(svc, task.centred, task.y, task.a / task.risk.factor)
    return task.from_centred(svc.coef_[0], float(svc.intercept_[0])), "scikit-learn SVC"
