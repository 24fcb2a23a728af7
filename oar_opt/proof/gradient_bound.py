"""A ball around the optimum of logistic regression, from the gradient at an approximate one.

Statement, no intercept or a penalised one. For every ``theta~``, ``||theta~ - theta*|| <= ||grad J(theta~)|| / lam``.

Proof. ``J`` is differentiable and ``lam`` strongly convex: ``lam ||D||^2 <= (grad J(theta~) - grad J(theta*))'D``
with ``D = theta~ - theta*``, and the gradient at the optimum is 0. Cauchy and Schwarz.

Statement, a free intercept and both classes with weight. Let ``h(w, b) = sum_i g_i`` with ``g_i = -a_i y_i / (1 +
exp(y_i (w'x_i + b)))``, and ``h(w~, low) < 0 < h(w~, high)``. Let ``rho`` be at least ``||lam (w~ - w0) + sum_i g_i
x_i|| / lam`` for every ``b`` in ``[low, high]``. Then ``||w~ - w*|| <= rho`` and ``low - rho r <= b* <= high + rho
r``, ``r = max ||x_i||``.

Proof. ``phi(w) = min over b of J(w, b)`` is ``lam`` strongly convex, as ``J - lam/2 ||w||^2`` is jointly convex and
partial minima of such functions are convex; ``h(w~, .)`` is continuous and increasing, so the minimum at ``w~`` is
attained at a ``b`` in ``[low, high]``, where ``grad phi(w~)`` is the gradient of ``J`` in ``w``. This proves the
first part as above. At ``b = low - rho r`` every ``w*'x_i + b`` is at most ``w~'x_i + low``, so ``h(w*, b) <= h(w~,
low) < 0``, hence ``b* > b``; above likewise.

Everything is evaluated in ball arithmetic, so the bounds hold whatever the rounding; a sign that the balls do not
settle is no sign, and then nothing is said.

Reference: Y. Nesterov, "Introductory Lectures on Convex Optimization", 2004, section 2.1; F. Johansson, "Arb:
Efficient Arbitrary-Precision Midpoint-Radius Interval Arithmetic", 2017."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import arb, ctx, fmpq

from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.rationals import PRECISION, Ball, Interval, Number, length_above, root_above

DOUBLINGS = 120
FIRST = fmpq(1, 2**60)


@dataclass(frozen=True)
class OptimumBall:
    """``||theta - centre|| <= radius``; with a free intercept for ``w`` alone, ``b`` then is in ``intercepts``."""

    centre: list[Number]
    radius: Number
    intercepts: Interval | None


def logistic_ball(risk: ExactRisk, near: Sequence[Number]) -> OptimumBall | None:
    """The ball around ``near (p,)``; None where a free intercept could not be enclosed."""
    with ctx.workprec(PRECISION):
        values = risk.values(near)
        if not risk.free:
            slopes = [_slope(a, y, arb(f)) for a, y, f in zip(risk.a, risk.y, values, strict=True)]
            return OptimumBall(list(near), _gradient(risk, near, slopes, risk.p), None)
        shift = [f - near[-1] for f in values]
        interval = _intercepts(risk, shift, near[-1])
        if interval is None:
            return None
        b = _ball(interval)
        slopes = [_slope(a, y, arb(f) + b) for a, y, f in zip(risk.a, risk.y, shift, strict=True)]
        radius = _gradient(risk, near, slopes, risk.p - 1)
        reach = radius * max(length_above(row[:-1]) for row in risk.xhat)
        return OptimumBall(list(near[:-1]), radius, interval.widened(reach))


def _slope(a: Number, y: Number, f: Ball) -> Ball:
    """``-a y / (1 + exp(y f))``."""
    return arb(-a * y) / (1 + (arb(y) * f).exp())


def _gradient(risk: ExactRisk, near: Sequence[Number], slopes: Sequence[Ball], count: int) -> Number:
    """A rational above ``||grad|| / lam``, for the first ``count`` coordinates, which are penalised."""
    squares = arb(0)
    for j in range(count):
        entry = arb(risk.lam * (near[j] - risk.theta0[j]))
        for slope, row in zip(slopes, risk.xhat, strict=True):
            entry += slope * arb(row[j])
        squares += entry * entry
    return root_above(Interval.around(squares).high) / risk.lam


def _intercepts(risk: ExactRisk, shift: Sequence[Number], b: Number) -> Interval | None:
    """An interval around ``b`` at whose ends the sum of pulls has proved signs."""
    found: list[Number] = []
    for sign in (-1, 1):
        width = FIRST * max(fmpq(1), abs(b))
        for _ in range(DOUBLINGS):
            end = b + sign * width
            if sign * _sum(risk, shift, end) > 0:
                found.append(end)
                break
            width *= 2
    return Interval(*found) if len(found) == 2 else None


def _sum(risk: ExactRisk, shift: Sequence[Number], b: Number) -> Ball:
    total = arb(0)
    for a, y, f in zip(risk.a, risk.y, shift, strict=True):
        total += _slope(a, y, arb(f + b))
    return total


def _ball(interval: Interval) -> Ball:
    middle = (interval.low + interval.high) / 2
    return arb(middle) + arb(0, 1) * arb(interval.high - middle)
