"""The optimum of a learner that is a linear program, as a rational, where it is proved to be the only one.

The learner minimises ``lam sum_j rho_j |theta_j - theta0_j| + sum_i a_i l(y_i, f_i)`` with a piecewise linear loss.
Each term of the penalty is the loss of one more record: ``xhat = e_j``, target ``theta0_j``, weight ``lam rho_j``,
absolute deviation. So all of :mod:`oar_opt.proof.exact_optimum` holds with ``R = 0``, but for uniqueness, which
strict convexity gave.

Statement. Let ``theta`` and ``g`` meet the optimality conditions, and let ``S`` be the records at a jump whose ``g_i
/ a_i`` is strictly inside it. If the ``xhat_i`` of ``S`` span the space of parameters, ``theta`` is the only optimum.

Proof. Let ``D`` be another direction than 0, and ``e_i > 0`` the distance of ``g_i`` from the ends of its jump. The
derivative of the objective along ``D`` is the sum of the largest ``c_i xhat_i'D`` over subgradients ``c_i``, at least
that with ``c_i = g_i + e_i sign(xhat_i'D)`` on ``S`` and ``c_i = g_i`` elsewhere. As ``sum g_i xhat_i = 0`` this is
``sum over S of e_i |xhat_i'D|``, which is above 0.

Where the span is less nothing is said: there may be several optima, and a proof would have to enclose them all. Nor
is anything said where pulls of ``S`` are inside their jumps by less than :data:`ROOM` of these: then decimals such as
0.1, which are no floating-point numbers, may have meant a tie that their rounding breaks, and the ordinary re-training
sees the tie.

Reference: O. L. Mangasarian, "Uniqueness of solution in linear programming", 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flint import fmpq, fmpq_mat

from oar_opt.problem import Intercept, LearnerSpec
from oar_opt.proof.exact_optimum import ExactOptimum, exact_optimum
from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.polylines import Graph, absolute, graph
from oar_opt.proof.proposals import propose
from oar_opt.proof.rationals import Number

ROOM = fmpq(1, 10**9)
"""Of a jump, far above what rounding does to it."""


def exact_vertex(risk: ExactRisk, spec: LearnerSpec) -> list[Number] | None:
    """The only optimum, ``(p,)``; None where it was not found or is not proved the only one."""
    penalised = [j for j in range(risk.p) if risk.penalty[j] != 0]
    units = [[fmpq(int(j == k)) for k in range(risk.p)] for j in penalised]
    centres = [risk.theta0[j] for j in penalised]
    graphs = [graph(spec, y) for y in risk.y] + [absolute(centre) for centre in centres]
    extended = replace(
        risk,
        xhat=risk.xhat + units,
        y=risk.y + centres,
        a=risk.a + [risk.penalty[j] for j in penalised],
        lam=fmpq(0),
        intercept=Intercept.NONE,
    )
    found = exact_optimum(extended, graphs, propose(extended, graphs))
    return found.theta if found is not None and _is_only(extended, graphs, found) else None


def _is_only(risk: ExactRisk, graphs: Sequence[Graph], found: ExactOptimum) -> bool:
    inside = []
    for i, g in found.pulls.items():
        jump = next(piece for piece in graphs[i] if piece.is_jump and piece.has(found.values[i]))
        if jump.g_low is not None and jump.g_high is not None:
            room = ROOM * (jump.g_high - jump.g_low)
            if jump.g_low + room < g / risk.a[i] < jump.g_high - room:
                inside.append(risk.xhat[i])
    return bool(inside) and fmpq_mat(inside).rank() == risk.p
