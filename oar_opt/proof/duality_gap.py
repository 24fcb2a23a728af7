"""A ball around the optimum from any feasible dual point: what holds where the exact optimum was not found.

Statement. No intercept, or a penalised one, and a polyline loss. Let every ``g_i / a_i`` be a value that the
subgradient of record ``i`` takes, and ``theta_g = theta0 - 1/lam sum_i g_i xhat_i``. With ``f`` at ``theta_g``,

    gap = sum_i a_i [ l(f_i) + l*(g_i / a_i) - f_i g_i / a_i ] >= 0,      ||theta_g - theta*||^2 <= gap / lam.

Proof. ``D(g) = -sum_i (a_i l)*(g_i) + theta0'v - ||v||^2 / (2 lam)`` with ``v = sum g_i xhat_i`` is the dual
objective, and ``J(theta_g) - D(g) = gap`` by inserting ``theta_g``. ``J`` is ``lam`` strongly convex and minimal at
``theta*``, so ``J(theta_g) - J* >= lam/2 ||theta_g - theta*||^2``. ``D`` is concave, and ``-D`` less ``||v||^2 / (2
lam)`` convex, so ``J* - D(g) >= ||v - v*||^2 / (2 lam) = lam/2 ||theta_g - theta*||^2``, since ``theta* = theta0 - v*
/ lam`` at a dual optimum. The sum of both is the claim.

All of it is rational but the root, which is rounded up. For a free intercept ``sum g_i = 0`` is needed besides, and
the gap then says nothing of ``b``: it is left out here.

Reference: S. Shalev-Shwartz, T. Zhang, "Stochastic Dual Coordinate Ascent Methods for Regularized Loss Minimization",
2013 (the gap); R. T. Rockafellar, "Convex Analysis", 1970, section 31.
"""

from __future__ import annotations

from collections.abc import Sequence

from flint import fmpq

from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.polylines import Graph, bregman
from oar_opt.proof.rationals import Number, root_above


def dual_ball(risk: ExactRisk, graphs: Sequence[Graph], pulls: Sequence[Number]) -> tuple[list[Number], Number]:
    """``theta_g (p,)`` and a radius around it that holds the optimum, for dual feasible ``pulls (m,)``."""
    theta = list(risk.theta0)
    for g, row in zip(pulls, risk.xhat, strict=True):
        if g != 0:
            theta = [t - g * x / risk.lam for t, x in zip(theta, row, strict=True)]
    gap = fmpq(0)
    for f, g, a, pieces in zip(risk.values(theta), pulls, risk.a, graphs, strict=True):
        gap += a * bregman(pieces, g / a, f)
    return theta, root_above(gap / risk.lam)
