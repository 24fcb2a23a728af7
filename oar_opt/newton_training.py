"""Re-training of regularised risks with a smooth loss: Newton's method, with a proof of accuracy.

Letters of :mod:`oar_opt.risk`, squared l2 norm, a loss whose curvature changes at most at its own rate, ``|l'''| <=
l''`` (the logistic loss: ``l'' = sigma (1 - sigma)``, ``l''' = l'' (1 - 2 sigma)``).

How far ``theta`` can be from the optimum ``theta*`` is proved. Let ``D = theta - theta*``, ``v`` the gradient and ``H``
the Hessian of ``J`` at ``theta``, ``m = max_i |xhat_i'D|``. On the way from ``theta`` to ``theta*`` every ``l''(f_i - t
xhat_i'D) >= exp(-t m) l''(f_i)``, and the penalty's share of the Hessian does not change, so there the Hessian is at
least ``exp(-t m) H``, and

    v'D = integral over t in [0, 1] of D'H(theta - t D) D  >=  (1 - exp(-m)) / m  ||D||_H^2.

With ``v'D <= ||v||_(H^-1) ||D||_H``, ``m <= kappa ||D||_H`` and ``kappa = max_i ||xhat_i||_(H^-1)``, this gives first
``1 - exp(-m) <= kappa ||v||_(H^-1)`` and then, where the right side ``q`` is below 1, ``m <= -log(1 - q)`` and

    ||D||_H <= -log(1 - q) / kappa,

since ``m / (1 - exp(-m))`` grows with ``m``. It covers a free intercept as it stands: nothing but ``H`` being positive
definite is used. Norms are taken through a matrix ``T`` with ``||T H T' - I|| <= delta < 1``, the inverse of ``H``'s
Cholesky factor as computed: then ``H^-1 <= T'T / (1 - delta)``, so ``||z||_(H^-1) <= ||T z|| / sqrt(1 - delta)`` and
``||D|| <= ||T|| ||D||_H / sqrt(1 - delta)``. Where every parameter is penalised, strong convexity gives ``||D|| <=
||v|| / lam`` besides, and the smaller of the two is stated.

``v`` is computed in extended precision, and a bound on its own rounding is added: each record's ``f`` is off by at most
``gamma |xhat_i|'|theta|``, its pull by ``a_i l''`` times that (twice, to allow for ``l''`` changing meanwhile) and
``gamma |g_i|``, each sum by ``gamma`` times the sum of its terms' sizes, with ``gamma`` a few times ``n + p`` units of
rounding. ``delta`` holds the rounding of ``H``, of its products with ``T``, and of the curvatures through that of
``f``.

Reference: F. Bach, "Self-concordant analysis for logistic regression", 2010.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from oar_opt.problem import Matrix, Vector
from oar_opt.training import Training

STEPS = 200
ENOUGH = 1e-14
TINY = 1e-300
ARMIJO, UNBALANCED = 1e-4, 0.1

Precise = NDArray[np.longdouble]


@dataclass(frozen=True)
class NewtonTraining(Training):
    """One training problem with a smooth loss; see the module's docstring."""

    def finish(self, theta: Vector) -> tuple[float, Vector]:
        """Damped Newton steps while they help; the least error and its ``theta``."""
        best, idle = (self.error(theta), theta), 0
        for _ in range(STEPS):
            theta, is_last_digits = self._next(theta)
            error = self.error(theta)
            idle = idle + 1 if is_last_digits and error > 0.5 * best[0] else 0
            best = min(best, (error, theta), key=lambda pair: pair[0])
            if best[0] <= ENOUGH * (1 + float(np.abs(theta).max())) or idle >= 3:
                break
        return best

    def _next(self, theta: Vector) -> tuple[Vector, bool]:
        """One step, and whether the objective's own rounding hides what it gains."""
        theta = self._balanced(theta)
        gradient, _ = self._gradient(theta)
        scale, scaled = self._scaled_hessian(theta)
        step = scale * np.linalg.lstsq(scaled, scale * gradient.astype(np.float64), rcond=1e-14)[0]
        decrement, value, length = float(gradient @ step), self._value(theta), 1.0
        if decrement <= 1e-12 * (1 + abs(value)):
            return theta - step, True
        while length > 1e-12 and self._value(theta - length * step) > value - ARMIJO * length * decrement:
            length *= 0.5
        return theta - length * step, False

    def _balanced(self, theta: Vector) -> Vector:
        """With the intercept that balances the pulls where they are far from balanced: there the curvature in it may be
        0 to all digits, and Newton's method would stand still."""
        f = self.xhat @ theta
        pulls = self.a * self.risk.loss.pull(self.y, f)
        if not self.free or abs(float(pulls.sum())) <= UNBALANCED * float(np.abs(pulls).sum()):
            return theta

        def total(b: float) -> float:
            return float(self.a @ self.risk.loss.pull(self.y, f + b))

        reach = 1.0 + float(np.abs(f).max())
        while total(-reach) > 0 or total(reach) < 0:
            reach *= 2
        return np.append(theta[:-1], theta[-1] + brentq(total, -reach, reach, xtol=1e-9))

    def error(self, theta: Vector) -> float:
        """A bound on ``||theta - theta*||``, a free intercept included; infinite where the argument does not hold."""
        gradient, rounding = self._gradient(theta)
        by_convexity = math.inf
        if not self.free:
            by_convexity = float(np.linalg.norm(np.abs(gradient).astype(np.float64) + rounding)) / self.risk.lam
        T, delta = self._whitener(theta)
        if not delta < 1:
            return by_convexity
        root = math.sqrt(1 - delta)
        v = np.abs(T.astype(np.longdouble) @ gradient) + np.abs(T) @ rounding
        length = (1 + 1e-12) * float(np.linalg.norm(np.asarray(v, dtype=np.float64))) / root
        kappa = (1 + 1e-12) * float(np.linalg.norm(self.xhat @ T.T, axis=1).max()) / root
        if not kappa * length < 1:
            return by_convexity
        in_hessian = -math.log1p(-kappa * length) / kappa if kappa > 0 else length
        return min(by_convexity, (1 + 1e-12) * float(np.linalg.norm(T, 2)) * in_hessian / root)

    def _whitener(self, theta: Vector) -> tuple[Matrix, float]:
        """``T`` and ``delta``; infinite where ``H`` has no Cholesky factor to double precision."""
        scale, scaled = self._scaled_hessian(theta)
        try:
            B = np.linalg.inv(np.linalg.cholesky(scaled))
        except np.linalg.LinAlgError:
            return np.diag(scale), math.inf
        off = B @ scaled @ B.T - np.eye(self.risk.p)
        # No entry of S H S is a sum of terms whose sizes add up to more than 1.
        reach = 1 + float((np.abs(self.xhat) @ np.abs(theta)).max())
        unit = 4e-16 * (len(self.y) + 4 * self.risk.p) * reach
        return B * scale, float(np.linalg.norm(off)) + unit * float(np.sum(np.abs(B).sum(axis=1) ** 2))

    def _value(self, theta: Vector) -> float:
        return self.risk.objective(theta, self.xhat, self.y, self.a / self.risk.factor)

    def _gradient(self, theta: Vector) -> tuple[Precise, Vector]:
        """The gradient of ``J`` in extended precision and a bound on its rounding, ``(p,)`` each."""
        xhat, a = self.xhat.astype(np.longdouble), self.a.astype(np.longdouble)
        shift = theta.astype(np.longdouble) - np.array(self.risk.theta0)
        pull: Any = self.risk.loss.pull  # Its formula keeps whatever precision it is given.
        g = a * pull(self.y.astype(np.longdouble), xhat @ theta)
        penalty = self.risk.lam * self.risk.penalty * shift
        gamma = 8 * (len(self.y) + self.risk.p + 8) * float(np.finfo(np.longdouble).eps)
        bend = self.a * self.risk.loss.second_derivative(self.y, self.xhat @ theta)
        pulls = np.abs(g) + 2 * bend * (np.abs(self.xhat) @ np.abs(theta)) + TINY
        rounding = gamma * (np.abs(penalty) + np.abs(xhat).T @ pulls)
        return penalty + xhat.T @ g, np.asarray(rounding, dtype=np.float64)

    def _scaled_hessian(self, theta: Vector) -> tuple[Vector, Matrix]:
        """``S``, as a vector, and ``S H S``."""
        f = self.xhat @ theta
        curvature = self.a * self.risk.loss.second_derivative(self.y, f)
        H = self.risk.lam * np.diag(self.risk.penalty) + (self.xhat.T * curvature) @ self.xhat
        diagonal = np.diag(H)
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        return scale, H * np.outer(scale, scale)
