"""Derivatives of the losses that gradient steps follow, as programs over them need them.

The replay (:mod:`formulations.updates.gradient`) has its own: it shares nothing with what it checks.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy.special import expit

from oar_opt.problem import Matrix, Vector
from oar_opt.update_settings import StepLoss

NEAR = 1e-9
"""Of the sizes in ``y f``, how near to the kink exact arithmetic decides at the given start."""


def slopes(loss: StepLoss, y: Vector, f: Vector) -> Vector:
    """``l'(y, f)``, elementwise; the hinge's is 0 from its kink on, where ``y f >= 1``."""
    match loss:
        case StepLoss.SQUARED:
            return 2.0 * (f - y)
        case StepLoss.HINGE:
            return np.where(y * f < 1.0, -y, 0.0)
        case StepLoss.LOGISTIC:
            return np.asarray(-y * expit(-y * f))


def slopes_over(loss: StepLoss, y: Vector, low: Vector, high: Vector) -> tuple[Vector, Vector]:
    """The least and the largest ``l'(y, f)`` for ``low <= f <= high``; all three losses are convex in ``f``."""
    return slopes(loss, y, low), slopes(loss, y, high)


def slopes_at_start(loss: StepLoss, X: Matrix, y: Vector, theta: Vector) -> Vector:
    """``l'(y, f)`` at parameters that are given exactly: the hinge's kink is decided in rational arithmetic."""
    f = X @ theta
    found = slopes(loss, y, f)
    if loss is StepLoss.HINGE:
        sizes = 1.0 + np.abs(X) @ np.abs(theta)
        for i in np.flatnonzero(np.abs(1.0 - y * f) <= NEAR * sizes):
            terms = (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(X[i], theta, strict=True))
            found[i] = -y[i] if Fraction(float(y[i])) * sum(terms, Fraction(0)) < 1 else 0.0
    return found


def bends(loss: StepLoss, f: Vector) -> Vector:
    """``l''(y, f)``, elementwise, which does not depend on ``y``; the hinge's is 0, but at its kink."""
    match loss:
        case StepLoss.SQUARED:
            return np.full(len(f), 2.0)
        case StepLoss.HINGE:
            return np.zeros(len(f))
        case StepLoss.LOGISTIC:
            return np.asarray(expit(f) * expit(-f))
