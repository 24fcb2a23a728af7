"""Ridge: regularised least squares, for regression or for two classes coded -1 and +1.

Minimises ``sum_i s_i (y_i - f_i)^2 + alpha ||w||^2``. In the family of :mod:`oar_opt.risk` (that is, halved penalty):
``lam = 2 alpha`` and ``l(y, f) = (y - f)^2``, whose pull ``2 (f - y)`` is a line: no binary per record, and the fixed
records enter through their Gram matrix. The optimum is unique for ``alpha > 0`` while some record has weight.

Reference: A. E. Hoerl, R. W. Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", 1970.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import GoalKind, LearnerSpec, Records, RecourseProblem, Vector
from oar_opt.risk import Line, Loss, Piece, RegularizedRisk
from oar_opt.round_coordinates import precise
from oar_opt.stationary_system import StationarySystem
from oar_opt.training import Trained, Training, fit_quietly, risk_loss, without_weight


class SquaredLoss(Loss):
    """``(y - f)^2``; conjugate ``g y + g^2 / 4``."""

    def value(self, y: Vector, f: Vector) -> Vector:
        return (y - f) ** 2

    def pull(self, y: Vector, f: Vector) -> Vector:
        return 2 * (f - y)

    def second_derivative(self, y: Vector, f: Vector) -> Vector:
        return np.full_like(f, 2.0)

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
    """Re-trained by scikit-learn's ``Ridge``, a prior being removed by shifting the targets, and refined."""

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
        risk = self.risk(problem.learner, problem.d)
        used = records.s > 0
        task = RidgeTraining(risk, risk.extend(records.X[used]), records.y[used], records.s[used])
        found, backend = task.best((by_sklearn,))
        return Fit(LinearParameters.of(*risk.split(found.theta)), found.error, backend, accuracy=found.accuracy)

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        return risk_loss(self.risk(problem.learner, problem.d), records, parameters)


@dataclass(frozen=True)
class RidgeTraining(Training):
    """One linear system, whose exact solution is enclosed; the start is refined."""

    def finish(self, theta: Vector) -> Trained:
        none = np.zeros(len(self.y), dtype=bool)
        a = precise(self.a)
        system = StationarySystem(self.coordinates, 2 * a, -2 * a * self.y, none, np.zeros(0))
        theta = np.asarray(system.refine(precise(theta), precise(np.zeros(0)), 2)[0], dtype=np.float64)
        enclosure = system.enclosure(theta, precise(np.zeros(0)))
        return Trained(theta, math.inf, None) if enclosure is None else self.enclosed(theta, enclosure)


def by_sklearn(task: Training) -> tuple[Vector, str]:
    """scikit-learn's ``Ridge``, on features measured from their mean under a free intercept."""
    from sklearn.linear_model import Ridge as SklearnRidge

    model = SklearnRidge(alpha=task.risk.lam / 2, fit_intercept=task.free, solver="cholesky")
    fit_quietly(model, task.centred, task.y - task.centred @ task.origin, task.a)
    w = task.origin + model.coef_
    return task.from_centred(w, float(model.intercept_)) if task.free else w, "scikit-learn Ridge"
