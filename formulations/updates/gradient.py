"""Gradient steps: the parameters descend, step by step, along the loss of the records that arrive.

From the given ``theta_0``, with the batch ``B_t`` of step ``t``, ``xhat`` the features with a 1 appended where there is
an intercept, ``f_i = xhat_i' theta_t`` and ``S = 1`` (sum) or ``S = sum_(i in B_t) s_i`` (mean),

    theta_(t+1) = theta_t - rate (l2 D theta_t + 1/S sum_(i in B_t) s_i l'(y_i, f_i) xhat_i).

``D`` is the identity but for a free intercept, which does not decay; a penalised one does, and without intercept ``b``
stays 0. Losses are those of the learners: ``(y - f)^2``, ``max(0, 1 - y f)`` with derivative 0 from its kink on
(``y f >= 1``), ``log(1 + exp(-y f))``. The learner's own constants ``alpha`` and ``C`` play no part. A record of weight
0 does not arrive; a mean over a batch that nobody is left in is undefined.

Accuracy. Let ``e_t`` bound ``||theta - theta_t||`` for the computed ``theta``. A decision value is then off by at most
``||xhat_i|| e_t`` plus rounding, hence its derivative by ``L`` times that (``L`` is 2 for the squared and 1/4 for the
logistic loss); for the hinge it is exact unless ``y f`` is 1 to that accuracy, and then off by 1 at most. At
``theta_0``, which is given exactly, such a case is decided in rational arithmetic. What was off before is kept by the
factor

    max(|1 - rate l|, |1 - rate (l2 + L sigma)|),

``l`` the least decay and ``sigma`` the largest eigenvalue of ``1/S sum s_i xhat_i xhat_i'``: the step is affine or, for
the logistic loss, differentiable with a symmetric derivative whose eigenvalues lie between ``1 - rate (l2 + L sigma)``
and ``1 - rate l``.

Reference: H. Robbins, S. Monro, "A Stochastic Approximation Method", 1951; N. J. Higham, "Accuracy and Stability of
Numerical Algorithms", 2002 (the rounding of sums).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from oar_opt.contracts import Fit, UpdateRule, WorkedExample, line_example
from oar_opt.parameters import LinearParameters
from oar_opt.problem import LearnerSpec, Matrix, Records, RecourseProblem, Vector
from oar_opt.update_settings import GradientSettings, StepLoss, gradient_update

EPSILON = float(np.finfo(np.float64).eps)
SMOOTHNESS = {StepLoss.SQUARED: 2.0, StepLoss.LOGISTIC: 0.25, StepLoss.HINGE: 0.0}
"""How fast a loss's derivative can change; the hinge's does not, but at its kink."""


class Gradient(UpdateRule):
    """See the module's docstring."""

    kind = "gradient"

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        settings = GradientSettings.of(problem)
        if settings.is_mean:
            for t, batch in enumerate(settings.batches):
                if not records.s[batch].any():
                    return f"nobody is left in batch {t}, so the mean over it is undefined"
        return None

    def replay(self, problem: RecourseProblem, records: Records) -> Fit:
        settings = GradientSettings.of(problem)
        theta, error = settings.theta0, 0.0
        for batch in settings.batches:
            here = batch[records.s[batch] > 0]
            X, y, s = settings.extend(records.X[here]), records.y[here], records.s[here]
            theta, error = _step(settings, X, y, s, theta, error)
        return Fit(LinearParameters.of(*settings.split(theta)), error, "gradient steps (numpy)")

    def examples(self) -> tuple[WorkedExample, ...]:
        spec = LearnerSpec("ridge", alpha=1.0)
        return tuple(
            WorkedExample(_line(spec, loss), optimum, why)
            for loss, optimum, why in (
                (
                    "squared",
                    0.5,
                    "from 0, a quarter of the sum of 2 y x: (-2 + 4) / 4 at (2, +) is more than 0 at (1, +)",
                ),
                ("hinge", 0.25, "from 0, a quarter of the sum of y x: (-1 + 2) / 4 at (2, +)"),
                ("logistic", 0.125, "from 0, a quarter of the sum of y x / 2: (-1/2 + 1) / 4 at (2, +)"),
            )
        )


def _line(spec: LearnerSpec, loss: str) -> RecourseProblem:
    return replace(line_example(spec), update=gradient_update([0.0], rate=0.25, reduction="sum", loss=loss))


def _step(
    settings: GradientSettings, X: Matrix, y: Vector, s: Vector, theta: Vector, error: float
) -> tuple[Vector, float]:
    """One step and a bound on how far its result is from the exact iterate."""
    f = X @ theta
    rounding = (X.shape[1] + 2) * EPSILON * (np.abs(X) @ np.abs(theta))
    lengths = np.linalg.norm(X, axis=1)
    slope, off = _derivative(settings.loss, X, y, f, rounding, lengths * error, theta)
    total = float(s.sum()) if settings.is_mean else 1.0
    direction = (s * slope) @ X / total
    after = settings.kept * theta - settings.rate * direction
    weight = s * lengths / total
    of_sums = (len(s) + 4) * EPSILON * float(weight @ np.abs(slope))
    own = settings.rate * (float(weight @ off) + of_sums) + 4 * EPSILON * float(
        np.abs(theta).sum() + np.abs(after).sum()
    )
    inherited = _kept(settings, X, s, total) * error if error > 0 else 0.0
    return after, inherited + own


def _derivative(
    loss: StepLoss, X: Matrix, y: Vector, f: Vector, rounding: Vector, inherited: Vector, theta: Vector
) -> tuple[Vector, Vector]:
    """``l'(y, f)``, ``(m,)``, and how far it can be off; for smooth losses but for what was inherited."""
    match loss:
        case StepLoss.SQUARED:
            return 2.0 * (f - y), 2.0 * rounding + 4 * EPSILON * (np.abs(f) + np.abs(y))
        case StepLoss.LOGISTIC:
            slope = -y * np.exp(-np.logaddexp(0.0, y * f))
            return slope, 0.25 * rounding + 16 * EPSILON * np.abs(slope)
        case StepLoss.HINGE:
            return _hinge(X, y, f, rounding, inherited, theta)


def _hinge(
    X: Matrix, y: Vector, f: Vector, rounding: Vector, inherited: Vector, theta: Vector
) -> tuple[Vector, Vector]:
    active = y * f < 1.0
    doubtful = np.abs(1.0 - y * f) <= rounding + inherited
    off = np.zeros(len(y))
    if inherited.any():
        off[doubtful] = 1.0
    else:
        for i in np.flatnonzero(doubtful):
            active[i] = Fraction(y[i]) * _exact_product(X[i], theta) < 1
    return np.where(active, -y, 0.0), off


def _exact_product(x: Vector, theta: Vector) -> Fraction:
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, theta, strict=True)), Fraction(0))


def _kept(settings: GradientSettings, X: Matrix, s: Vector, total: float) -> float:
    """The factor by which a step can keep or enlarge what the iterate was off before it."""
    largest = SMOOTHNESS[settings.loss] * float(np.linalg.norm((X.T * s) @ X, 2)) / total if len(s) else 0.0
    steepest = settings.l2 + largest * (1 + len(s) * EPSILON)
    least = settings.l2 * float(settings.decays.min())
    ends = [abs(1 - settings.rate * slope) for slope in (least, steepest, settings.l2)]
    return max(ends) + 4 * EPSILON * (1 + settings.rate * steepest)
