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
definite is used.

In the norm of ``H`` this is sharp; in another it can be far off, where ``H`` is badly conditioned. There a second step
helps. The mean Hessian on the way is ``H + E`` with ``-(e^m - 1) H <= E <= (e^m - 1) H``, and ``v = (H + E) D``, hence
``D = H^-1 v - H^-1 E D`` and for any matrix ``P``

    ||P D|| <= ||P H^-1 v|| + ||P H^-1/2|| (e^m - 1) ||D||_H,

whose second term is of second order in ``v``.

All of it is computed in coordinates that suit the records (:mod:`oar_opt.round_coordinates`; ``H``, ``v`` and ``P``
stand for theirs from here on), and with a matrix ``T`` for which ``T H T' = I + F``, ``||F|| <= delta < 1``: the
inverse of ``H``'s Cholesky factor as computed. Then ``H^-1 = T' (I + F)^-1 T``, so with ``q = T v``

    ||v||_(H^-1) <= ||q|| / sqrt(1 - delta),     ||P H^-1/2|| <= ||P T'|| / sqrt(1 - delta),
    ||P H^-1 v|| <= ||P T' q|| + ||P T'|| ||q|| delta / (1 - delta).

Where every parameter is penalised, strong convexity gives ``||D|| <= ||v|| / lam`` besides (``v`` in the instance's own
coordinates), and the smaller of the two is stated.

``v`` is computed in extended precision, and a bound on its own rounding is added: each pull is off by ``a_i l''`` times
what ``f`` is off by (twice, to allow for ``l''`` changing meanwhile), and by a few units of its own. ``delta`` holds
the rounding of ``H``, of its products with ``T``, and of the curvatures through that of ``f``.

Reference: F. Bach, "Self-concordant analysis for logistic regression", 2010.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq

from oar_opt.contracts import Accuracy
from oar_opt.problem import Matrix, Vector
from oar_opt.round_coordinates import EPS, ROUNDING, Precise, gamma, precise
from oar_opt.training import Trained, Training

STEPS = 200
ENOUGH = 1e-14
TINY = 1e-300
ARMIJO, UNBALANCED = 1e-4, 0.1


@dataclass(frozen=True)
class NewtonTraining(Training):
    """One training problem with a smooth loss; see the module's docstring."""

    def finish(self, theta: Vector) -> Trained:
        """Damped Newton steps while they help; the least error and its ``theta``."""
        best, idle = self._proved(theta), 0
        for _ in range(STEPS):
            theta, is_last_digits = self._next(theta)
            found = self._proved(theta)
            idle = idle + 1 if is_last_digits and found.inaccuracy > 0.5 * best.inaccuracy else 0
            best = min(best, found, key=lambda trained: trained.inaccuracy)
            if best.inaccuracy <= ENOUGH * (1 + float(np.abs(theta).max())) or idle >= 3:
                break
        return best

    def _next(self, theta: Vector) -> tuple[Vector, bool]:
        """One step, and whether the objective's own rounding hides what it gains."""
        theta = self._balanced(theta)
        gradient = np.asarray(self._gradient(theta)[0], dtype=np.float64)
        scale, scaled, _ = self._scaled_hessian(theta)
        in_eta = scale * np.linalg.lstsq(scaled, scale * gradient, rcond=1e-14)[0]
        step = self.coordinates.T @ in_eta
        decrement, value, length = float(gradient @ in_eta), self._value(theta), 1.0
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
        return self._proved(theta).error

    def _proved(self, theta: Vector) -> Trained:
        coordinates, nearness = self.coordinates, self._nearness(theta)
        by_convexity = math.inf if self.free else self._slope(theta) / self.risk.lam
        if nearness is None:
            return Trained(theta, by_convexity, None)
        error = min(by_convexity, nearness.spread(coordinates.T))
        if not self.free:
            return Trained(theta, error, None)
        of_w, of_value = (nearness.spread(rows) for rows in (coordinates.T[:-1], coordinates.at_centre[-1:]))
        return Trained(theta, error, Accuracy(tuple(coordinates.centre.tolist()), of_w, of_value), is_point=True)

    def _slope(self, theta: Vector) -> float:
        """A bound on ``||v||`` in the instance's own coordinates."""
        drag = self.risk.lam * self.risk.penalty * (precise(theta) - np.array(self.risk.theta0))
        g, in_doubt = self._pulls(theta)
        sizes = np.abs(self.xhat).T @ (np.abs(np.asarray(g, dtype=np.float64)) + TINY)
        rounding = gamma(len(self.y) + self.risk.p) * (np.abs(np.asarray(drag, dtype=np.float64)) + sizes)
        v = np.abs(np.asarray(drag + precise(self.xhat).T @ g, dtype=np.float64))
        return (1 + 1e-9) * float(np.linalg.norm(v + rounding + np.abs(self.xhat).T @ in_doubt))

    def _nearness(self, theta: Vector) -> _Nearness | None:
        """None where the argument does not hold."""
        z, z_rounded = self.coordinates.z, self.coordinates.z_rounded
        T, delta = self._whitener(theta)
        if not delta < 1:
            return None
        gradient, in_doubt = self._gradient(theta)
        root, sizes = math.sqrt(1 - delta), np.abs(T)
        q = np.asarray(precise(T) @ gradient, dtype=np.float64)
        q_in_doubt = sizes @ (in_doubt + gamma(self.risk.p) * np.abs(np.asarray(gradient, dtype=np.float64)))
        length = (1 + 1e-9) * float(np.linalg.norm(np.abs(q) + q_in_doubt)) / root
        reach = np.abs(z @ T.T) + (z_rounded + 2 * self.risk.p * ROUNDING * np.abs(z)) @ sizes.T
        kappa = (1 + 1e-9) * float(np.linalg.norm(reach, axis=1).max()) / root
        if not kappa * length < 0.5:
            return None
        in_hessian = -math.log1p(-kappa * length) / kappa if kappa > 0 else length
        second = length * root * delta / (1 - delta) + math.expm1(kappa * in_hessian) * in_hessian / root
        return _Nearness(T, q, q_in_doubt, second)

    def _whitener(self, theta: Vector) -> tuple[Matrix, float]:
        """``T`` and ``delta``; infinite where ``H`` has no Cholesky factor to double precision."""
        scale, scaled, in_doubt = self._scaled_hessian(theta)
        try:
            B = np.linalg.inv(np.linalg.cholesky(scaled))
        except np.linalg.LinAlgError:
            return np.diag(scale), math.inf
        off = B @ scaled @ B.T - np.eye(self.risk.p)
        return B * scale, float(np.linalg.norm(off)) + in_doubt * float(np.sum(np.abs(B).sum(axis=1) ** 2))

    def _value(self, theta: Vector) -> float:
        return self.risk.objective(theta, self.xhat, self.y, self.a / self.risk.factor)

    @cached_property
    def _precise_a(self) -> Precise:
        return precise(self.a)

    def _pulls(self, theta: Vector) -> tuple[Precise, Vector]:
        """``g (m,)`` in extended precision, and how far each can be off."""
        f, f_in_doubt = self.coordinates.values(theta)
        pull: Any = self.risk.loss.pull  # Its formula keeps whatever precision it is given.
        g = self._precise_a * pull(precise(self.y), f)
        bend = self.a * self.risk.loss.second_derivative(self.y, np.asarray(f, dtype=np.float64))
        return g, 2 * bend * f_in_doubt + 64 * EPS * np.abs(np.asarray(g, dtype=np.float64)) + TINY

    def _gradient(self, theta: Vector) -> tuple[Precise, Vector]:
        """The gradient of ``J`` in the coordinates and a bound on its rounding, ``(p,)`` each."""
        return self.coordinates.gradient(theta, *self._pulls(theta))

    def _scaled_hessian(self, theta: Vector) -> tuple[Vector, Matrix, float]:
        """``S``, as a vector, ``S H S``, and how far each of its entries, or of its products, can be off."""
        coordinates, m, p = self.coordinates, len(self.y), self.risk.p
        f, f_in_doubt = coordinates.values(theta)
        near = np.asarray(f, dtype=np.float64)
        curvature = self.a * self.risk.loss.second_derivative(self.y, near)
        H = coordinates.penalty + (coordinates.z.T * curvature) @ coordinates.z
        diagonal = np.diag(H)
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        # No entry of S H S is a sum of terms whose sizes add up to more than 1, and l'' changes at its own rate.
        unit = 4e-16 * (m + 4 * p) * (1 + float(np.abs(near).max())) + 2 * float(f_in_doubt.max())
        moved = scale * np.sqrt(curvature @ coordinates.z_rounded**2)
        return scale, H * np.outer(scale, scale), unit + 3 * float(moved.max())


@dataclass(frozen=True)
class _Nearness:
    """``T``, ``q = T v`` with its rounding, and ``second``: what ``||P T'||`` is multiplied by in the bound."""

    T: Matrix
    q: Vector
    q_in_doubt: Vector
    second: float

    def spread(self, P: Matrix | Precise) -> float:
        """A bound on ``||P D||``."""
        rows = np.asarray(precise(P) @ precise(self.T).T, dtype=np.float64)
        sizes = np.abs(np.asarray(P, dtype=np.float64)) @ np.abs(self.T).T
        slack = self.q_in_doubt + 2 * len(self.q) * ROUNDING * np.abs(self.q)
        first = np.abs(rows @ self.q) + sizes @ slack
        return (1 + 1e-9) * (float(np.linalg.norm(first)) + float(np.linalg.norm(sizes)) * self.second)
