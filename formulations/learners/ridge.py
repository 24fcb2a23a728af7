"""Ridge: regularised least squares, for regression or for two classes coded -1 and +1.

Minimises ``sum_i s_i (y_i - f_i)^2 + alpha ||w||^2``. In the family of :mod:`oar_opt.risk` (that is, halved penalty):
``lam = 2 alpha`` and ``l(y, f) = (y - f)^2``, whose pull ``2 (f - y)`` is a line: no binary per record, and the fixed
records enter through their Gram matrix. The optimum is unique for ``alpha > 0`` while some record has weight.

Reference: A. E. Hoerl, R. W. Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", 1970.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import GoalKind, Intercept, LearnerSpec, Records, RecourseProblem, Vector
from oar_opt.risk import Line, Loss, Piece, RegularizedRisk
from oar_opt.training import risk_loss, without_weight


class SquaredLoss(Loss):
    """``(y - f)^2``; conjugate ``g y + g^2 / 4``."""

    def value(self, y: Vector, f: Vector) -> Vector:
        return (y - f) ** 2

    def pull(self, y: Vector, f: Vector) -> Vector:
        return 2 * (f - y)

    def pull_range(self, y: float) -> tuple[float, float]:
        return -math.inf, math.inf

    def conjugate(self, y: Vector, g: Vector) -> Vector:
        return g * y + g**2 / 4

    def expression(self, y: Vector, f: Any) -> Any:
        import cvxpy as cp

        return cp.square(y - f)

    def pieces(self, y: float) -> tuple[Piece, ...]:
        return (Line(-math.inf, math.inf, 2.0, -2.0 * y),)

    def curvature(self) -> float:
        return 2.0


class Ridge(Learner):
    """Re-trained by scikit-learn's ``Ridge``; a prior is removed by shifting the targets."""

    kind = "ridge"

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk:
        assert spec.alpha is not None
        return RegularizedRisk.of(spec, d, SquaredLoss(), lam=2 * spec.alpha, factor=1.0)

    def examples(self) -> tuple[WorkedExample, ...]:
        spec = LearnerSpec("ridge", alpha=1.0)
        return (
            WorkedExample(
                line_example(spec),
                1 / 6,
                "w = sum x y / (sum x^2 + alpha) is -2/3 if the member stays, 0 if it reports +, and 1/6 at (2, +)",
            ),
            WorkedExample(line_example(spec, GoalKind.MIN_COST, 0.1), 2.0, "only (2, +), at cost 2, exceeds 0.1"),
            WorkedExample(line_example(spec, GoalKind.MIN_MEMBERS, 0.5), None, "no choice gives more than 1/6"),
        )

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        return without_weight(problem, records)

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        from sklearn.linear_model import Ridge as SklearnRidge

        spec = problem.learner
        risk = self.risk(spec, problem.d)
        theta0 = np.array(risk.theta0)
        used = records.s > 0
        xhat, y, s = risk.extend(records.X[used]), records.y[used], records.s[used]
        free = spec.intercept is Intercept.FREE
        design = xhat[:, :-1] if free else xhat
        shift = theta0[:-1] if free else theta0
        theta = theta0.copy()
        if used.any():
            model = SklearnRidge(alpha=spec.alpha, fit_intercept=free, solver="cholesky")
            model.fit(design, y - design @ shift, sample_weight=s)
            theta = shift + model.coef_
            if free:
                theta = np.append(theta, float(model.intercept_))
        w, b = risk.split(theta)
        hessian = risk.lam * np.diag(risk.penalty) + 2 * (xhat.T * s) @ xhat
        gradient = risk.lam * risk.penalty * (theta - theta0) + 2 * xhat.T @ (s * (xhat @ theta - y))
        error = float(np.linalg.norm(gradient) / np.linalg.eigvalsh(hessian)[0])
        return Fit(LinearParameters.of(w, b), error, "scikit-learn Ridge")

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        return risk_loss(self.risk(problem.learner, problem.d), records, parameters)
