"""What a member's feature changes add to a sum over members under one gradient step, at most: lines over cells.

Statement. A member of the batch with record ``(x, y)`` and weight ``s`` that changes its features by ``delta`` has the
decision value ``f = f_0 + w'delta`` under the given ``theta_0 = (w, b)``, is pushed by ``c p(f)`` with ``c = rate s``
and ``p = -l'(y, .)``, and adds to the sum, after a price for the cost,

    phi(delta) = c p(f) h - price cost(delta),         h = h_0 + v'delta,

with ``v`` the weighted direction of the subjects and ``h_0 = v'xhat``. For any number ``P`` and any line in ``f``, with
slope ``nu`` and the anchor ``u``,

    c P h - price cost <= T + nu (f - u),
    T = c P h_0 - nu (f_0 - u) + max over delta of ((c P v - nu w)'delta - price cost),

and :meth:`oar_opt.proof.feature_reach.Reach.most` bounds the maximum.

Cells. Points ``u_1 <= ... <= u_k`` with slopes ``nu_j`` are stated; the first and the last are replaced by the ends of
what ``f`` reaches, so the cells cover it. On the cell ``[u_1, u_2]``, ``h`` long, let ``f = u_1 + sigma h`` and ``p(f)
= (1 - t) P_1 + t P_2`` with ``t`` in [0, 1]. As ``phi`` is affine in ``p``, it is at most

    B(sigma, t) = (1 - t) (T_1 + nu_1 h sigma) + t (T_2 - nu_2 h (1 - sigma)).

With ``|t - sigma| <= e sigma (1 - sigma) + e'`` and ``R = max(|T_2 - nu_2 h - T_1|, |T_2 - T_1 - nu_1 h|)``, the
steepest that ``B`` is in ``t``, it is at most ``e' R`` more than the largest value in ``sigma`` of

    (1 - sigma) T_1 + sigma T_2 + sigma (1 - sigma) (nu_1 h - nu_2 h + e R),

and never more than at the four corners of ``(sigma, t)``. The lower of the two is taken.

- Squared loss: ``p = 2 (y - f)`` is affine, so ``t = sigma`` with ``P_j = p(u_j)``, and ``e = e' = 0``.
- Logistic loss: ``p = y / (1 + exp(y f))`` falls, and is off its chord by at most ``M h^2 sigma (1 - sigma) / 2``, with
  ``M >= |p''| = |y|^3 g (1 - g) |1 - 2 g|`` for ``g = p / y`` in [0, 1]. The ``P_j`` are rational and within ``eps`` of
  ``p(u_j)``; instead of ``p(f)`` the nearest number between ``P_1`` and ``P_2`` is taken, which is within ``eps`` of
  it, and ``c eps |h|`` is added for that. So ``e = M h^2 / (2 (P_1 - P_2))`` and ``e' = 2 eps / (P_1 - P_2)``.

Hinge. ``p = y`` where ``y f < 1`` and else 0, and both sides are bounded closed, so it does not matter which of them
has the kink. With ``nu, kappa >= 0``, the first and the last slope that are stated (0 in place of a negative one),

    c y h - price cost <= c y h - price cost + nu (1 - y f)          where y f <= 1,
            - price cost <=        - price cost + kappa (y f - 1)        where y f >= 1,

which are linear in ``delta``. A side that no change reaches is left out.

Strength. Any points and slopes give a bound. Where ``nu_j`` is the slope at ``u_j`` of the largest ``c P_j h - price
cost`` over all changes with ``f = u``, both lines touch, and the error on a cell falls with its length squared; for the
hinge strong duality leaves none.

Reference: G. P. McCormick, "Computability of Global Solutions to Factorable Nonconvex Programs: Part I", 1976; S. Boyd,
L. Vandenberghe, "Convex Optimization", 2004, section 5.1 (weak duality).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from flint import arb, ctx, fmpq

from oar_opt.proof.feature_reach import Reach
from oar_opt.proof.rationals import PRECISION, Interval, Number, dot
from oar_opt.proof.scalar_maximum import LARGEST, quadratic_maximum
from oar_opt.update_settings import StepLoss

Line = tuple[Number, Number]
"""A point and a slope."""
GRAIN = fmpq(1, 2**60)
"""What pushes by the logistic loss are rounded to: short numbers make short sums."""
MOST_BEND = fmpq(1, 10)
"""At least ``g (1 - g) |1 - 2 g|``, whose maximum is ``1 / (6 sqrt 3) = 0.0962...``."""


@dataclass(frozen=True, eq=False)
class Changing:
    """A record whose features may change: label, ``c`` (0 where it is not in the batch), ``f_0``, ``w (d,)``, ``xhat
    (p,)``, and what it adds to ``S``."""

    loss: StepLoss
    y: Number
    c: Number
    f0: Number
    w: list[Number]
    xhat: list[Number]
    s: Number
    reach: Reach

    def most(self, v: Sequence[Number], lines: Sequence[Line], price: Number) -> Number:
        """At least every ``phi``, for ``v (p,)``; ``price >= 0``."""
        if self.c == 0:
            return self.reach.most([fmpq(0)] * len(self.w), price)
        side = Side(self, list(v[: len(self.w)]), dot(v, self.xhat), price)
        return side.of_hinge(lines) if self.loss is StepLoss.HINGE else side.of_cells(lines)


@dataclass(frozen=True, eq=False)
class Side:
    """One record's changes against a direction ``v (d,)`` and a price of cost."""

    row: Changing
    v: list[Number]
    h0: Number
    price: Number

    def line(self, P: Number, u: Number, nu: Number) -> Number:
        """``T``."""
        row = self.row
        push = row.c * P
        slope = [push * a - nu * b for a, b in zip(self.v, row.w, strict=True)]
        return push * self.h0 - nu * (row.f0 - u) + row.reach.most(slope, self.price)

    def of_hinge(self, lines: Sequence[Line]) -> Number:
        """The bound on both sides of the kink."""
        row, nu, kappa = self.row, fmpq(0), fmpq(0)
        if lines:
            nu, kappa = max(fmpq(0), lines[0][1]), max(fmpq(0), lines[-1][1])
        # With y f in place of f, the lines are anchored at 1.
        turned = [row.y * b for b in row.w]
        inside = [row.c * row.y * a - nu * b for a, b in zip(self.v, turned, strict=True)]
        margin = row.y * row.f0
        sides = []
        if margin - row.reach.most([-b for b in turned], fmpq(0)) <= 1:
            sides.append(row.c * row.y * self.h0 + nu * (1 - margin) + row.reach.most(inside, self.price))
        if margin + row.reach.most(turned, fmpq(0)) >= 1:
            sides.append(kappa * (margin - 1) + row.reach.most([kappa * b for b in turned], self.price))
        # Where rules leave no change at all, any number is a bound.
        return max(sides, default=fmpq(0))

    def of_cells(self, lines: Sequence[Line]) -> Number:
        """The bound over all cells."""
        nodes, eps = [], fmpq(0)
        for u, nu in self._covering(lines):
            P, off = _push(self.row.loss, self.row.y, u)
            nodes.append(_Node(u, P, nu, self.line(P, u, nu)))
            eps = max(eps, off)
        best = max(_over_cell(self.row, one, other, eps) for one, other in pairwise(nodes))
        return best + abs(self.row.c) * eps * self._height() if eps > 0 else best

    def _covering(self, lines: Sequence[Line]) -> list[Line]:
        """The stated points that lie inside what ``f`` reaches, ascending, between its ends."""
        row, nothing = self.row, fmpq(0)
        low = row.f0 - row.reach.most([-b for b in row.w], nothing)
        high = row.f0 + row.reach.most(row.w, nothing)
        given = sorted(lines)
        first, last = (given[0][1], given[-1][1]) if given else (nothing, nothing)
        return [(low, first), *((u, nu) for u, nu in given[1:-1] if low < u < high), (high, last)]

    def _height(self) -> Number:
        """At least ``|h|``."""
        up = self.h0 + self.row.reach.most(self.v, fmpq(0))
        down = -self.h0 + self.row.reach.most([-a for a in self.v], fmpq(0))
        return max(up, down, fmpq(0))


@dataclass(frozen=True, eq=False)
class _Node:
    """A point ``u``, a number near ``p(u)``, and the line ``T + nu (f - u)``."""

    u: Number
    P: Number
    nu: Number
    T: Number


def _push(loss: StepLoss, y: Number, u: Number) -> tuple[Number, Number]:
    """A rational near ``p(u)``, and what it is off by at most."""
    if loss is StepLoss.SQUARED:
        return 2 * (y - u), fmpq(0)
    z = y * u
    found = _share(min(max(z, -LARGEST), LARGEST))
    if abs(z) > LARGEST:
        found = Interval(fmpq(0), found.high) if z > 0 else Interval(found.low, fmpq(1))
    units = found.low / GRAIN
    g = (units.p // units.q) * GRAIN
    return y * g, abs(y) * max(abs(found.low - g), abs(found.high - g))


def _share(z: Number) -> Interval:
    """``1 / (1 + exp(z))``."""
    with ctx.workprec(PRECISION):
        return Interval.around(1 / (1 + arb(z).exp()))


def _over_cell(row: Changing, one: _Node, other: _Node, eps: Number) -> Number:
    """The largest ``B`` on the cell from one point to the next."""
    h = other.u - one.u
    A, D, n1, n2 = one.T, other.T, one.nu * h, other.nu * h
    corners = max(A, A + n1, D - n2, D)
    off = _off_chord(row, one, other, eps)
    if off is None:
        return corners
    steepest = max(abs(D - n2 - A), abs(D - A - n1))
    bend = n1 - n2 + off[0] * steepest
    arc = quadratic_maximum(bend, D - A + bend, fmpq(0), fmpq(1)) if bend > 0 else None
    smooth = max(A, D) if arc is None else A + arc
    return min(corners, smooth + off[1] * steepest)


def _off_chord(row: Changing, one: _Node, other: _Node, eps: Number) -> tuple[Number, Number] | None:
    """``e`` and ``e'``; None where nothing is known of ``t``."""
    if row.loss is StepLoss.SQUARED:
        return fmpq(0), fmpq(0)
    fall = one.P - other.P
    if fall <= 0:
        return None
    h, size = other.u - one.u, abs(row.y)
    ends = sorted([one.P / row.y, other.P / row.y])
    low, high = max(fmpq(0), ends[0] - eps / size), min(fmpq(1), ends[1] + eps / size)
    middle = min(max(fmpq(1, 2), low), high)
    bend = size**3 * min(MOST_BEND, middle * (1 - middle) * max(abs(1 - 2 * low), abs(1 - 2 * high)))
    return bend * h * h / (2 * fall), 2 * eps / fall
