"""Gradient steps in rationals (squared loss, hinge) or balls (logistic loss).

With the letters of the update rule's page, from the given ``theta_0``, for the records of weight above 0 in each
batch,

    theta_(t+1) = theta_t - rate (l2 D theta_t + 1/S sum_(i in B_t) s_i l'(y_i, f_i) xhat_i),

where ``l'`` is ``2 (f - y)``, ``-y`` while ``y f < 1`` and 0 from there on, or ``-y / (1 + exp(y f))``. The first two
need rational operations and comparisons only, so every iterate is exact, and so is the side of the kink on which a
record is: the rule defines the hinge's derivative at its kink, so there is no tie. The numbers' length grows linearly
with the steps. The logistic loss is evaluated in ball arithmetic; the balls' radii grow with the steps and hold every
error.

Reference: H. Robbins, S. Monro, "A Stochastic Approximation Method", 1951.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flint import arb, ctx, fmpq

from oar_opt.problem import Records, RecourseProblem
from oar_opt.proof.rationals import PRECISION, Interval, Number, exact, exact_row
from oar_opt.proof.scalar_maximum import LARGEST
from oar_opt.update_settings import GradientSettings, StepLoss

Value = Any
"""A ``flint.fmpq`` or a ``flint.arb``."""


def undefined_batch(problem: RecourseProblem, records: Records) -> str | None:
    """Why a mean over a batch is undefined, or None."""
    settings = GradientSettings.of(problem)
    for t, batch in enumerate(settings.batches):
        if settings.is_mean and not records.s[batch].any():
            return f"nobody is left in batch {t}"
    return None


def exact_steps(problem: RecourseProblem, records: Records) -> list[Interval]:
    """Where the parameters are after all steps, ``(p,)``; points but for the logistic loss."""
    settings = GradientSettings.of(problem)
    with ctx.workprec(PRECISION):
        theta: list[Value] = exact_row(settings.theta0.tolist())
        in_balls = settings.loss is StepLoss.LOGISTIC
        if in_balls:
            theta = [arb(value) for value in theta]
        for batch in settings.batches:
            theta = _step(settings, records, batch.tolist(), theta)
        return [Interval.around(value) if in_balls else Interval.at(value) for value in theta]


def _step(settings: GradientSettings, records: Records, batch: Sequence[int], theta: list[Value]) -> list[Value]:
    here = [i for i in batch if records.s[i] > 0]
    total = sum((exact(records.s[i]) for i in here), fmpq(0)) if settings.is_mean else fmpq(1)
    slope = SLOPES[settings.loss]
    direction: list[Value] = [fmpq(0)] * len(theta)
    ones = [fmpq(1)] if settings.has_intercept else []
    for i in here:
        x = exact_row(records.X[i].tolist()) + ones
        f = _value(x, theta)
        pull = exact(records.s[i]) / total * slope(exact(records.y[i]), f)
        direction = [entry + pull * value for entry, value in zip(direction, x, strict=True)]
    rate, l2 = exact(settings.rate), exact(settings.l2)
    kept = [1 - rate * l2 * exact(decay) for decay in settings.decays.tolist()]
    return [k * t - rate * entry for k, t, entry in zip(kept, theta, direction, strict=True)]


def _value(x: Sequence[Number], theta: Sequence[Value]) -> Value:
    total: Value = fmpq(0)
    for a, b in zip(x, theta, strict=True):
        total = total + b * a
    return total


def _squared(y: Number, f: Value) -> Value:
    return 2 * (f - y)


def _hinge(y: Number, f: Value) -> Value:
    return -y if y * f < 1 else fmpq(0)


def _logistic(y: Number, f: Value) -> Value:
    far = arb(y) * f
    if far > LARGEST:
        # Its exponent may be too long for a rational, and the derivative falls towards 0.
        return arb(-y) * arb(0).union(1 / (1 + arb(LARGEST).exp()))
    return arb(-y) / (1 + far.exp())


SLOPES: dict[StepLoss, Callable[[Number, Value], Value]] = {
    StepLoss.SQUARED: _squared,
    StepLoss.HINGE: _hinge,
    StepLoss.LOGISTIC: _logistic,
}
