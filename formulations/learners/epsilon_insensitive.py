"""Epsilon-insensitive regression: deviations up to ``epsilon`` cost nothing, the rest linearly.

Minimises ``1/2 ||w||^2 + C sum_i s_i max(0, |y_i - f_i| - epsilon)``: ``lam = 1``, ``a_i = C s_i``. The pull is -1
below ``y - epsilon``, 0 in between and 1 above ``y + epsilon``, with jumps at both ends (one jump from -1 to 1 where
``epsilon = 0``). The conjugate is ``g y + epsilon |g|`` for ``|g| <= 1``. ``w`` is unique; a free intercept is not
always.

Re-training starts from scikit-learn's ``SVR`` (free intercept) or ``LinearSVR``, or an interior-point method under a
prior, and is finished exactly by :mod:`oar_opt.training`.

Reference: V. Vapnik, "The Nature of Statistical Learning Theory", 1995.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.parameters import Parameters
from oar_opt.problem import LearnerSpec, Records, RecourseProblem, Vector
from oar_opt.risk import Jump, Line, Loss, Piece, RegularizedRisk
from oar_opt.training import LIBSVM_STEPS, UNEVEN, Training, fit_quietly, risk_loss, train, without_weight


@dataclass(frozen=True)
class EpsilonInsensitiveLoss(Loss):
    """``max(0, |y - f| - epsilon)``."""

    epsilon: float

    def value(self, y: Vector, f: Vector) -> Vector:
        return np.maximum(0.0, np.abs(y - f) - self.epsilon)

    def pull(self, y: Vector, f: Vector) -> Vector:
        return np.where(np.abs(f - y) > self.epsilon, np.sign(f - y), 0.0)

    def pull_range(self, y: float) -> tuple[float, float]:
        return -1.0, 1.0

    def conjugate(self, y: Vector, g: Vector) -> Vector:
        return np.where(np.abs(g) <= 1 + 1e-12, g * y + self.epsilon * np.abs(g), math.inf)

    def expression(self, y: Vector, f: Any) -> Any:
        import cvxpy as cp

        return cp.pos(cp.abs(y - f) - self.epsilon)

    def pieces(self, y: float) -> tuple[Piece, ...]:
        low, high = y - self.epsilon, y + self.epsilon
        left, right = Line(-math.inf, low, 0.0, -1.0), Line(high, math.inf, 0.0, 1.0)
        if low == high:
            return left, Jump(y, -1.0, 1.0), right
        return left, Jump(low, -1.0, 0.0), Line(low, high, 0.0, 0.0), Jump(high, 0.0, 1.0), right

    def kinks(self, y: Vector, f: Vector) -> Vector:
        return np.where(f < y, y - self.epsilon, y + self.epsilon)


class EpsilonInsensitive(Learner):
    """Re-trained by scikit-learn's ``SVR`` and ``LinearSVR``, finished exactly."""

    kind = "epsilon_insensitive"

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk:
        assert spec.C is not None and spec.epsilon is not None
        return RegularizedRisk.of(spec, d, EpsilonInsensitiveLoss(spec.epsilon), lam=1.0, factor=spec.C)

    def examples(self) -> tuple[WorkedExample, ...]:
        return (
            WorkedExample(
                line_example(LearnerSpec("epsilon_insensitive", C=1.0, epsilon=0.5)),
                0.25,
                "at (2, +), w + [w > -1/2] - 2 [w < 1/4] changes sign at 1/4; staying gives -1/2, reporting + gives 0",
            ),
        )

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        return without_weight(problem, records)

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        return train(problem, self.risk(problem.learner, problem.d), records, (by_sklearn,))

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        return risk_loss(self.risk(problem.learner, problem.d), records, parameters)


def by_sklearn(task: Training) -> tuple[Vector, str] | None:
    """scikit-learn's regression, where it has the learner: no prior."""
    from sklearn.svm import SVR, LinearSVR

    loss = task.risk.loss
    assert isinstance(loss, EpsilonInsensitiveLoss)
    if task.origin.any():
        return None
    s = task.a / task.risk.factor
    if task.free:
        svr = SVR(kernel="linear", C=task.risk.factor, epsilon=loss.epsilon, tol=1e-6, max_iter=LIBSVM_STEPS)
        fit_quietly(svr, task.centred, task.y, s)
        return task.from_centred(svr.coef_[0], float(svr.intercept_[0])), "scikit-learn SVR"
    if task.coordinates.unevenness > UNEVEN:
        return None
    model = LinearSVR(
        epsilon=loss.epsilon, C=task.risk.factor, fit_intercept=False, tol=1e-6, max_iter=20_000, random_state=0
    )
    fit_quietly(model, task.xhat, task.y, s)
    return np.asarray(model.coef_, dtype=np.float64), "scikit-learn LinearSVR"
