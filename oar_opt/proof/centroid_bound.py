"""A bound over many choices at once for the nearest centroid: tangents, secants and sums over members.

Statement. Over the choices of a part that leave every class a weight ``N_c > 0``, let weights ``pi_(q,c) >= 0`` of
pairs of a subject ``q`` (query or guard, of class ``t_q``) and another class ``c``, and points ``m_c``, be given. With

    P_c = sum over (q, c) of pi - sum over (q, c') with t_q = c of pi,       v_c likewise with pi x_q,

the collected margins are ``sum pi (|x_q - mu_c|^2 - |x_q - mu_t|^2) = sum_c (P_c |mu_c|^2 - 2 v_c'mu_c)``, and no
margin of ``q`` is above that against ``c``. For every class

    P_c |mu_c|^2 <= P_c (2 m_c'mu_c - |m_c|^2)                     where P_c <= 0,
    P_c |mu_c|^2 <= P_c sum_j ((l_j + u_j) mu_cj - l_j u_j)        where P_c > 0 and l <= mu_c <= u,

so what is left is ``sum_c g_c'mu_c`` and a constant. With ``R_c = sum over the class of s g_c'(x - m_c)``, a sum over
the members, ``g_c'mu_c = g_c'm_c + R_c / N_c``. For ``R`` in ``[a, b]`` and ``N`` in ``[N-, N+]``, ``N- > 0``,
``R / N <= phi(R) = max(R / N-, R / N+)``, convex in ``R``, so at most its chord ``w R + k`` on ``[a, b]``; with one
weight ``N`` only this is ``R / N`` itself. :mod:`oar_opt.proof.member_sums` bounds the sum over the members of ``w_c s
g_c'(x - m_c)`` with prices for cost and for acting.

Proof. The tangent of ``|mu|^2`` lies below it and the secant on an interval above it, coordinate by coordinate; for
fixed ``R`` the quotient is monotone in ``N``; the rest is as stated there.

Ranges. ``R``'s and ``N``'s are sums over the members, bounded in the same module within the part's budgets, and
``mu_cj - m_cj = A_cj / N_c`` lies between the least and the largest ``A / N`` with both in their ranges. Where a class
may lose all weight, ``N-`` is the least weight above 0 of a record that may be in it: any choice with ``N_c > 0`` has
such a record. Choices with ``N_c = 0`` leave no learner and are forbidden, so nothing has to be said of them; a part
in which a class that matters cannot have a weight holds forbidden choices only, and every number is a bound.

Strength. Nothing is lost but at ``P_c > 0``, ``P_c sum_j (u_j - mu_j)(mu_j - l_j)``, where the weight of a class is
open, and by fractions of options; all vanish as the part shrinks to one choice (with ``m`` its centroids).

Reference: J. E. Falk, R. M. Soland, "An Algorithm for Separable Nonconvex Programming Problems", 1969; G. P. McCormick,
"Computability of Global Solutions to Factorable Nonconvex Programs: Part I", 1976.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq

from oar_opt.proof.class_rows import ClassRow, ClassRows
from oar_opt.proof.member_sums import Values, largest, least, priced_maximum, prices_fit
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import Interval, Number, dot


@dataclass(frozen=True)
class CentroidMultipliers:
    """What a leaf states: triples of a subject (queries first, then guards), another class and the weight of this
    pair; a point ``(d,)`` for every class; the prices of cost and of acting."""

    pairs: list[tuple[int, int, Number]]
    points: list[list[Number]]
    cost: Number
    acting: Number

    def weights(self, count: int) -> list[Number]:
        """Of the first ``count`` subjects."""
        return [sum((pi for q, _, pi in self.pairs if q == k), fmpq(0)) for k in range(count)]


def slack_above(rows: ClassRows, part: Part, given: CentroidMultipliers) -> Number | None:
    """A rational that ``sum pi (margin - needed) + lambda (limit - cost) + nu (cap - acting)`` does not exceed, for any
    choice of the part that leaves a learner; None where the multipliers do not fit."""
    signs = all(pi >= 0 for _, _, pi in given.pairs) and prices_fit(part, given.cost, given.acting)
    collected = _collect(rows, part, given) if signs else None
    if collected is None:
        return None
    total, quadratics = collected
    slopes: dict[int, list[Number]] = {}
    for c, (P, v) in quadratics.items():
        spread = Spread.of(rows, part, c, given.points[c])
        if spread is None:
            return fmpq(-1)
        slope, constant, w = _linear(spread, P, v)
        total += constant
        slopes[c] = [w * entry for entry in slope]
        fixed = zip(rows.sums[c], given.points[c], strict=True)
        total += dot(slopes[c], [a - rows.weights[c] * m for a, m in fixed])

    def value(row: ClassRow) -> Number:
        if row.s == 0 or row.c not in slopes:
            return fmpq(0)
        return row.s * dot(slopes[row.c], [x - m for x, m in zip(row.x, given.points[row.c], strict=True)])

    return total + priced_maximum(part, rows.values(part, value), given.cost, given.acting)


def _collect(
    rows: ClassRows, part: Part, given: CentroidMultipliers
) -> tuple[Number, dict[int, tuple[Number, list[Number]]]] | None:
    """``-sum pi needed``, and ``(P_c, v_c)`` of the classes that matter; None where a pair is none."""
    subjects, needs = [*rows.queries, *rows.guards], [*part.needs, *part.guards]
    constant = fmpq(0)
    P, v = [fmpq(0)] * rows.classes, [[fmpq(0)] * rows.d for _ in range(rows.classes)]
    for q, c, pi in given.pairs:
        if q >= len(subjects) or c >= rows.classes or subjects[q][0] == c or needs[q] is None:
            return None
        own, x = subjects[q]
        constant -= pi * needs[q]
        for k, sign in ((c, pi), (own, -pi)):
            P[k] += sign
            v[k] = [entry + sign * value for entry, value in zip(v[k], x, strict=True)]
    return constant, {c: (P[c], v[c]) for c in range(rows.classes) if P[c] != 0 or any(v[c])}


@dataclass(frozen=True, eq=False)
class Spread:
    """Where one class's weight and centroid may be: ``low`` and ``high`` ``(d,)`` hold every centroid, and the quotient
    of a sum over the members is bounded by :meth:`chord`."""

    rows: ClassRows
    part: Part
    c: int
    point: list[Number]
    weight: Interval
    low: list[Number]
    high: list[Number]

    @classmethod
    def of(cls, rows: ClassRows, part: Part, c: int, point: Sequence[Number]) -> Spread | None:
        """None where no choice of the part gives the class a weight."""
        weight = _weight(rows, part, c)
        if weight is None:
            return None
        low, high = [], []
        for j, m in enumerate(point):
            shift = _sum(part, rows.sums[c][j] - rows.weights[c] * m, _shifts(rows, part, c, j, m))
            low.append(m + min(shift.low / weight.low, shift.low / weight.high))
            high.append(m + max(shift.high / weight.low, shift.high / weight.high))
        return cls(rows, part, c, list(point), weight, low, high)

    def chord(self, slope: Sequence[Number]) -> tuple[Number, Number]:
        """``(w, k)`` with ``R / N <= w R + k``."""
        weight = self.weight
        if weight.is_point:
            return 1 / weight.low, fmpq(0)
        offset, fixed = dot(slope, self.point), self._fixed(slope)

        def value(row: ClassRow) -> Number:
            return row.s * (dot(slope, row.x) - offset) if row.c == self.c else fmpq(0)

        total = _sum(self.part, fixed, self.rows.values(self.part, value))
        if total.low >= 0:
            return 1 / weight.low, fmpq(0)
        if total.high <= 0:
            return 1 / weight.high, fmpq(0)
        left, right = total.low / weight.high, total.high / weight.low
        w = (right - left) / (total.high - total.low)
        return w, left - w * total.low

    def _fixed(self, slope: Sequence[Number]) -> Number:
        rows, c = self.rows, self.c
        return dot(slope, rows.sums[c]) - rows.weights[c] * dot(slope, self.point)


def _linear(spread: Spread, P: Number, v: Sequence[Number]) -> tuple[list[Number], Number, Number]:
    """``(g, constant, w)`` with ``P |mu|^2 - 2 v'mu <= constant + w R``, ``R`` the sum of ``s g'(x - m)``."""
    m = spread.point
    if P > 0:
        ends = list(zip(spread.low, spread.high, strict=True))
        slope = [P * (low + high) - 2 * entry for (low, high), entry in zip(ends, v, strict=True)]
        constant = -P * sum((low * high for low, high in ends), fmpq(0))
    else:
        slope = [2 * (P * value - entry) for value, entry in zip(m, v, strict=True)]
        constant = -P * dot(m, m)
    w, rest = spread.chord(slope)
    return slope, constant + dot(slope, m) + rest, w


def _shifts(rows: ClassRows, part: Part, c: int, j: int, m: Number) -> Values:
    """``s (x_j - m)`` of the options in a class."""
    return rows.values(part, lambda row: row.s * (row.x[j] - m) if row.c == c else fmpq(0))


def _weight(rows: ClassRows, part: Part, c: int) -> Interval | None:
    """The weights above 0 that a class may have."""
    values = rows.values(part, lambda row: row.s if row.c == c else fmpq(0))
    found = _sum(part, rows.weights[c], values)
    if found.low > 0:
        return found
    some = [value for options in values.values() for value in options.values() if value > 0]
    return Interval(min(some), max(found.high, min(some))) if some else None


def _sum(part: Part, fixed: Number, values: Values) -> Interval:
    low = least(part, values)
    return Interval(fixed + low, fixed + max(low, largest(part, values)))
