"""Huber regression: quadratic up to a deviation ``delta``, linear beyond.

Minimises ``1/2 ||w||^2 + C sum_i s_i h(y_i - f_i)`` with ``h(r) = r^2 / 2`` for ``|r| <= delta`` and ``delta (|r| -
delta / 2)`` beyond: ``lam = 1``, ``a_i = C s_i``. The pull is ``f - y`` cut to ``[-delta, delta]``, without a jump;
the conjugate is ``g y + g^2 / 2`` for ``|g| <= delta``. ``w`` is unique; a free intercept is unique while some record
is on the line.

scikit-learn's ``HuberRegressor`` minimises another objective (it fits a scale too), so re-training is
Newton's method, or an interior-point method where that does not end, as in :mod:`oar_opt.training`.

Reference: P. J. Huber, "Robust Estimation of a Location Parameter", 1964.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.parameters import Parameters
from oar_opt.problem import LearnerSpec, Records, RecourseProblem, Vector
from oar_opt.risk import Line, Loss, Piece, RegularizedRisk
from oar_opt.training import from_prior, risk_loss, train, without_weight


@dataclass(frozen=True)
class HuberLoss(Loss):
    """``r^2 / 2`` for ``|r| <= delta``, else ``delta (|r| - delta / 2)``, with ``r = y - f``."""

    delta: float

    def value(self, y: Vector, f: Vector) -> Vector:
        r = np.abs(y - f)
        return np.where(r <= self.delta, r**2 / 2, self.delta * (r - self.delta / 2))

    def pull(self, y: Vector, f: Vector) -> Vector:
        return np.clip(f - y, -self.delta, self.delta)

    def second_derivative(self, y: Vector, f: Vector) -> Vector:
        return np.asarray(np.abs(f - y) < self.delta, dtype=np.float64)

    def pull_range(self, y: float) -> tuple[float, float]:
        return -self.delta, self.delta

    def conjugate(self, y: Vector, g: Vector) -> Vector:
        return np.where(np.abs(g) <= self.delta * (1 + 1e-12), g * y + g**2 / 2, math.inf)

    def expression(self, y: Vector, f: Any) -> Any:
        import cvxpy as cp

        return 0.5 * cp.huber(y - f, self.delta)

    def pieces(self, y: float) -> tuple[Piece, ...]:
        return (
            Line(-math.inf, y - self.delta, 0.0, -self.delta),
            Line(y - self.delta, y + self.delta, 1.0, -y),
            Line(y + self.delta, math.inf, 0.0, self.delta),
        )


class Huber(Learner):
    """Re-trained by Newton's method, or by Clarabel on the learner's own program, finished exactly."""

    kind = "huber"

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk:
        assert spec.C is not None and spec.delta is not None
        return RegularizedRisk.of(spec, d, HuberLoss(spec.delta), lam=1.0, factor=spec.C)

    def examples(self) -> tuple[WorkedExample, ...]:
        return (
            WorkedExample(
                line_example(LearnerSpec("huber", C=1.0, delta=10.0)),
                1 / 6,
                "deviations stay below delta, so w = sum x y / (sum x^2 + 1): -2/3 if the member stays, 1/6 at (2, +)",
            ),
        )

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        return without_weight(problem, records)

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        return train(problem, self.risk(problem.learner, problem.d), records, (from_prior,))

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        return risk_loss(self.risk(problem.learner, problem.d), records, parameters)
