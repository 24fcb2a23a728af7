"""Logistic regression: a smooth loss and a squared norm.

Minimises ``1/2 ||w||^2 + C sum_i s_i log(1 + exp(-y_i f_i))``: ``lam = 1``, ``a_i = C s_i``. With ``sigma(t) = 1 / (1 +
exp(-t))`` the pull is ``-y sigma(-y f)``, that is ``sigma(f)`` for ``y = -1`` and ``sigma(f) - 1`` for ``y = 1``: one
curve, strictly monotone, strictly between its ends, so ``theta`` is unique (under a free intercept, while both classes
have weight). The conjugate is the negative entropy of ``u = -y g``, ``u log u + (1 - u) log (1 - u)`` for ``0 <= u <=
1``: ``g f - l(f)`` is largest where ``y f = log((1 - u) / u)``.

**Lines above the curve** over ``low <= f <= high`` (those below follow from ``sigma(-f) = 1 - sigma(f)``). ``sigma`` is
convex up to 0 and concave from there.

- The tangent at ``t >= 0`` is above ``sigma`` on ``f >= 0``, by concavity. Tangent minus ``sigma`` is concave on ``f <=
  0``, so it is at least 0 on ``[low, 0]`` if it is so at 0, which has just been said, and at ``low``: one number to
  check. That number grows with ``t`` (its derivative is ``-sigma''(t) (t - low)``), hence bisection finds the first
  ``t`` that passes; from there to ``high`` all tangents are valid.
- If not even the tangent at ``high > 0`` passes, or if ``high <= 0``, the secant through both ends is above. For ``high
  <= 0`` by convexity. Else: the tangent at ``high`` being below ``sigma`` at ``low`` says that the secant's slope is
  less than ``sigma'(high)``, hence less than ``sigma'`` on all of ``[0, high]``, so going down from ``high`` the curve
  falls faster than the secant; and on ``[low, 0]`` the convex curve is below the secant at both ends.

Lines are moved outwards by :data:`LIFT`, above their rounding. Tangents are spaced evenly in ``u(f) = 2 arctan
tanh(f/4)``, the integral of ``sqrt(l'')``: a tangent's gap half-way to the next is an eighth of the squared step in
``u``, and the same holds for the conjugate, since ``sqrt((l*)'') dg = sqrt(l'') df``.

Re-training starts from scikit-learn's ``LogisticRegression``, or from the prior where scikit-learn has no such learner,
and is finished by :mod:`oar_opt.newton_training`.

Reference: D. R. Cox, "The Regression Analysis of Binary Sequences", 1958.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, xlog1py, xlogy

from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.parameters import Parameters
from oar_opt.problem import LearnerSpec, Records, RecourseProblem, Vector
from oar_opt.risk import Loss, RegularizedRisk
from oar_opt.training import Training, fit_quietly, from_prior, risk_loss, train, without_class

LIFT = 1e-12
FLAT = 40.0
"""Beyond it the pull is constant, and the loss a line, to double precision."""
AWAY = 1e-8
"""How far :meth:`LogisticLoss.conjugate_excess` keeps the arguments of its logarithms from 0."""
STEP_OF_LINES, STEP_OF_TANGENTS = 0.4, 0.29


class LogisticLoss(Loss):
    """``log(1 + exp(-y f))`` for ``y`` in {-1, +1}; see the module's docstring for every formula."""

    def value(self, y: Vector, f: Vector) -> Vector:
        return np.logaddexp(0.0, -y * f)

    def pull(self, y: Vector, f: Vector) -> Vector:
        pulls: Vector = -y * expit(-y * f)
        return pulls

    def second_derivative(self, y: Vector, f: Vector) -> Vector:
        return np.asarray(expit(f) * expit(-f), dtype=np.float64)

    def curvature_over(self, y: float, low: float, high: float) -> float:
        # l'' grows up to 0 and falls from there.
        return float(self.second_derivative(np.full(2, y), np.array([low, high])).min())

    def pull_range(self, y: float) -> tuple[float, float]:
        return (-1.0, 0.0) if y > 0 else (0.0, 1.0)

    def conjugate(self, y: Vector, g: Vector) -> Vector:
        u = np.clip(-y * g, 0.0, 1.0)
        outside = np.abs(-y * g - u) > 1e-12
        return np.where(outside, math.inf, xlogy(u, u) + xlog1py(1 - u, -u))

    def expression(self, y: Vector, f: Any) -> Any:
        import cvxpy as cp

        return cp.logistic(-cp.multiply(y, f))

    def value_excess(self, y: float, value: Any, f: Any, exp: Callable[[Any], Any]) -> Any:
        # 1 + exp(-y f) <= exp(value), divided by the right side: a sum of exponentials of linear terms.
        return exp(-value) + exp(-y * f - value) - 1

    def conjugate_excess(self, y: float, value: Any, g: Any, log: Callable[[Any], Any]) -> Any:
        # Solvers hold the argument of a logarithm away from 0, which has cut off u = 0. For phi(u) = u log u, convex,
        # phi(u + e) <= phi(u) + e (1 + log(1 + e)) up to u = 1, so moved by e both terms together gain less than 3 e.
        u, rest = -y * g + AWAY, 1 + y * g + AWAY
        return u * log(u) + rest * log(rest) - value - 3 * AWAY

    def hull(self, y: float, low: float, high: float, *, upper: bool) -> list[tuple[float, float]]:
        constant = 1.0 if y > 0 else 0.0
        if upper:
            return [(slope, offset - constant) for slope, offset in _above_sigmoid(low, high)]
        return [(slope, 1.0 - offset - constant) for slope, offset in _above_sigmoid(-high, -low)]

    def tangent_points(self, y: float, low: float, high: float) -> list[tuple[float, float]]:
        low, high = (min(max(end, -FLAT), FLAT) for end in (low, high))
        f = np.array(_spaced(low, high, STEP_OF_TANGENTS))
        return [(float(a), float(b)) for a, b in zip(f, self.pull(np.full(f.shape, y), f), strict=True)]


def _above_sigmoid(low: float, high: float) -> list[tuple[float, float]]:
    """Lines ``(slope, offset)`` with ``sigma(f) <= slope f + offset`` for ``low <= f <= high``."""
    if low >= 0:
        return [_tangent(t) for t in _spaced(low, high, STEP_OF_LINES)]
    if high <= 0 or not _is_above_at(low, high):
        slope = (_sigmoid(high) - _sigmoid(low)) / (high - low) if high > low else 0.0
        return [(slope, _sigmoid(high) - slope * high + LIFT)]
    fails, passes = 0.0, high
    for _ in range(50):
        middle = 0.5 * (fails + passes)
        fails, passes = (fails, middle) if _is_above_at(low, middle) else (middle, passes)
    return [_tangent(t) for t in _spaced(passes, high, STEP_OF_LINES)]


def _sigmoid(f: float) -> float:
    return float(expit(f))


def _is_above_at(low: float, t: float) -> bool:
    """Whether the tangent of ``sigma`` at ``t`` is above ``sigma`` at ``low``."""
    slope, offset = _tangent(t)
    return slope * low + offset - LIFT >= _sigmoid(low)


def _tangent(t: float) -> tuple[float, float]:
    slope = _sigmoid(t) * _sigmoid(-t)
    return slope, _sigmoid(t) - slope * t + LIFT


def _spaced(low: float, high: float, step: float) -> list[float]:
    """Both ends and points between them that are at most ``step`` apart in ``u``."""
    u_low, u_high = (2 * math.atan(math.tanh(f / 4)) for f in (low, high))
    count = max(1, math.ceil((u_high - u_low) / step))
    inner = [4 * math.atanh(math.tan((u_low + k / count * (u_high - u_low)) / 2)) for k in range(1, count)]
    return sorted({low, high, *(min(max(f, low), high) for f in inner)})


class LogisticRegression(Learner):
    """Re-trained by scikit-learn's ``LogisticRegression``, finished by Newton's method."""

    kind = "logistic"

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk:
        assert spec.C is not None
        return RegularizedRisk.of(spec, d, LogisticLoss(), lam=1.0, factor=spec.C)

    def examples(self) -> tuple[WorkedExample, ...]:
        return (
            WorkedExample(
                line_example(LearnerSpec("logistic", C=175 / 26 * math.log(4 / 3))),
                math.log(4 / 3),
                "at (2, +), w = C (2 / (1 + e^2w) - e^w / (1 + e^w)), and e^w = 4/3 gives C (18/25 - 4/7) = C 26/175; "
                "reporting + gives 0, staying less",
            ),
        )

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        return without_class(problem, records)

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        return train(problem, self.risk(problem.learner, problem.d), records, (by_sklearn, from_prior))

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        return risk_loss(self.risk(problem.learner, problem.d), records, parameters)


def by_sklearn(task: Training) -> tuple[Vector, str] | None:
    """scikit-learn's logistic regression, where it has the learner: no prior, both classes."""
    from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

    if len(set(task.y)) < 2 or task.origin.any():
        return None
    model = SklearnLogisticRegression(
        C=task.risk.factor, fit_intercept=task.free, solver="newton-cholesky", tol=1e-8, max_iter=1000
    )
    fit_quietly(model, task.centred, task.y, task.a / task.risk.factor)
    theta = task.from_centred(model.coef_[0], float(model.intercept_[0])) if task.free else model.coef_[0]
    return np.asarray(theta, dtype=np.float64), "scikit-learn LogisticRegression"
