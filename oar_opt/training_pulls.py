"""What records pull at given parameters of a regularised risk, and which of them sit at a kink of the loss.

Letters of :mod:`oar_opt.risk`. A record ``(x, y, s)`` contributes ``a l'(y, f) xhat`` to the gradient of the training
objective at ``theta``, with ``a = factor s`` and ``f = xhat'theta``. At a kink ``l'`` is one of the subgradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oar_opt.problem import Flags, Matrix, Move, Records, Vector
from oar_opt.risk import RegularizedRisk

NEAR = 1e-6
"""Of a kink's size, at least 1, how near to it a decision value is at it; re-training is more accurate."""


@dataclass(frozen=True, eq=False)
class Pulls:
    """Of ``records`` at ``theta (p,)``; those without weight pull nothing and sit at no kink."""

    risk: RegularizedRisk
    records: Records
    theta: Vector

    @cached_property
    def xhat(self) -> Matrix:
        """``(n, p)``."""
        return self.risk.extend(self.records.X)

    @cached_property
    def a(self) -> Vector:
        return np.asarray(self.risk.factor * self.records.s)

    @cached_property
    def f(self) -> Vector:
        return np.asarray(self.xhat @ self.theta)

    @cached_property
    def kinks(self) -> Vector:
        """The kink nearest to each ``f``, NaN without any."""
        return self.risk.loss.kinks(self.records.y, self.f)

    @cached_property
    def at_kink(self) -> Flags:
        """The records with weight whose ``f`` is at a kink, ``(n,)``."""
        near: Flags = np.abs(self.f - self.kinks) <= NEAR * np.maximum(1.0, np.abs(self.kinks))
        return near & (self.records.s > 0)

    @cached_property
    def bends(self) -> Vector:
        """``a l''``, ``(n,)``; 0 for a loss whose kinks lie between flat lines."""
        if np.isfinite(self.kinks).any():
            return np.zeros(len(self.f))
        return np.asarray(self.a * self.risk.loss.second_derivative(self.records.y, self.f))

    @cached_property
    def pulls(self) -> Vector:
        """``a l'``, ``(n,)``."""
        return np.asarray(self.a * self.risk.loss.pull(self.records.y, self.f))

    @cached_property
    def drag(self) -> Vector:
        """The penalty's part of the gradient, ``(p,)``."""
        return np.asarray(self.risk.lam * self.risk.penalty * (self.theta - np.array(self.risk.theta0)))

    def after(self, moves: Sequence[Move]) -> Matrix:
        """What the records of moves contribute once they are made, ``(m, p)``."""
        if not moves:
            return np.zeros((0, len(self.theta)))
        xhat = self.risk.extend(np.array([move.x for move in moves]))
        y, s = np.array([move.y for move in moves]), np.array([move.s for move in moves])
        pulls = self.risk.factor * s * self.risk.loss.pull(y, xhat @ self.theta)
        return np.asarray(pulls[:, None] * xhat)
