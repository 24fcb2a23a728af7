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

Feature changes. An option may be a set of changes ``delta`` (:mod:`oar_opt.proof.feature_reach`), whose record is that
of staying. Where ``P_c <= 0`` and, "coordinate by coordinate", where ``P_c > 0``, the sums above are over ``x +
delta``, with the largest ``s g'delta`` less the price of its cost. With "lengths", where ``P_c > 0``, the ranges and
``R`` are those without ``delta``; then ``mu_c = nu + e`` with ``|e| <= rho = sum s |delta| / N_c``, and

    P |mu|^2 - 2 v'mu <= P |nu|^2 - 2 v'nu + (2 max |P nu - v| + P rho+) rho,        rho <= rho+,

with the largest ``rho+`` that lengths, cap and limit allow. So one leaf gives ``(d_c + rho_c)^2 - max(0, d_t -
rho_t)^2`` for balls in ``l2`` with equal scales, and the best corner for boxes (``linf``, bounds, directions), if only
features change and every member with a set acts at no price. It is no more than a bound, and not sharp, for ``l1``, for
unequal scales in ``l2``, where bounds cut a ball, and where a total cost is shared among changes.

Strength. Nothing is lost otherwise but at ``P_c > 0``, ``P_c sum_j (u_j - mu_j)(mu_j - l_j)``, where the weight of a
class is open, and by fractions of options; all vanish as the part shrinks to one choice (with ``m`` its centroids).

Reference: J. E. Falk, R. M. Soland, "An Algorithm for Separable Nonconvex Programming Problems", 1969; G. P. McCormick,
"Computability of Global Solutions to Factorable Nonconvex Programs: Part I", 1976.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq

from oar_opt.proof.class_rows import ClassRow, ClassRows
from oar_opt.proof.feature_reach import COST_SLACK
from oar_opt.proof.member_sums import Values, largest, least, priced_maximum, prices_fit
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import Interval, Number, dot, length_above


@dataclass(frozen=True)
class CentroidMultipliers:
    """What a leaf states: triples of a subject (queries first, then guards), another class and the weight of this
    pair; a point ``(d,)`` for every class; the prices of cost and of acting; whether feature changes are
    bounded by their lengths where ``P_c > 0``."""

    pairs: list[tuple[int, int, Number]]
    points: list[list[Number]]
    cost: Number
    acting: Number
    balls: bool = False

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
    classes: dict[int, _Line] = {}
    for c, (P, v) in quadratics.items():
        line = _line(Spread.of(rows, part, c, given.points[c]), P, v, given.balls)
        if line is None:
            return fmpq(-1)
        total += line.constant
        classes[c] = line

    def value(row: ClassRow) -> Number:
        return _value(row, classes.get(row.c) if row.s != 0 else None, given)

    return total + priced_maximum(part, rows.values(part, value), given.cost, given.acting)


def _value(row: ClassRow, line: _Line | None, given: CentroidMultipliers) -> Number:
    """What an option adds to the bound, without the prices that are put on it from outside."""
    if line is None:
        return fmpq(0) if row.reach is None else row.reach.most([fmpq(0)] * len(row.x), given.cost)
    slope = [row.s * entry for entry in line.slope]
    found = dot(slope, [x - m for x, m in zip(row.x, given.points[row.c], strict=True)])
    if row.reach is None:
        return found
    if line.stretch is None:
        return found + row.reach.most(slope, given.cost)
    return found + row.reach.farthest(row.s * line.stretch, given.cost)


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
    """Where one class's weight and centroid may be."""

    rows: ClassRows
    part: Part
    c: int
    point: list[Number]
    weight: Interval

    @classmethod
    def of(cls, rows: ClassRows, part: Part, c: int, point: Sequence[Number]) -> Spread | None:
        """None where no choice of the part gives the class a weight."""
        weight = _weight(rows, part, c)
        return None if weight is None else cls(rows, part, c, list(point), weight)

    def ends(self, moved: bool) -> tuple[list[Number], list[Number]]:
        """``low`` and ``high`` ``(d,)`` hold every centroid; without feature changes those that leave them out."""
        low, high = [], []
        for j, m in enumerate(self.point):
            unit = [fmpq(int(k == j)) for k in range(self.rows.d)]
            shift = self.total(unit, moved)
            low.append(m + min(shift.low / self.weight.low, shift.low / self.weight.high))
            high.append(m + max(shift.high / self.weight.low, shift.high / self.weight.high))
        return low, high

    def total(self, slope: Sequence[Number], moved: bool) -> Interval:
        """``R``, the sum of ``s g'(x - m)``."""
        offset, back = dot(slope, self.point), [-entry for entry in slope]
        fixed = dot(slope, self.rows.sums[self.c]) - self.rows.weights[self.c] * offset

        def value(row: ClassRow, sign: int) -> Number:
            if row.c != self.c or row.s == 0:
                return fmpq(0)
            own = sign * (dot(slope, row.x) - offset)
            return row.s * (own + (row.reach.most(slope if sign > 0 else back, fmpq(0)) if row.reach and moved else 0))

        up = largest(self.part, self.rows.values(self.part, lambda row: value(row, 1)))
        down = largest(self.part, self.rows.values(self.part, lambda row: value(row, -1)))
        return Interval(fixed - down, fixed + max(-down, up))

    def chord(self, slope: Sequence[Number], moved: bool) -> tuple[Number, Number]:
        """``(w, k)`` with ``R / N <= w R + k``."""
        weight = self.weight
        if weight.is_point:
            return 1 / weight.low, fmpq(0)
        total = self.total(slope, moved)
        if total.low >= 0:
            return 1 / weight.low, fmpq(0)
        if total.high <= 0:
            return 1 / weight.high, fmpq(0)
        left, right = total.low / weight.high, total.high / weight.low
        w = (right - left) / (total.high - total.low)
        return w, left - w * total.low

    def farthest(self) -> Number:
        """At least the length of what feature changes move the centroid by."""
        part = self.part
        moving = [(r, row) for r, left in part.options.items() for row in self._moving(r, left)]
        lengths = self.rows.values(
            part, lambda row: row.s * row.reach.length if row.c == self.c and row.reach else fmpq(0)
        )
        found = largest(part, lengths)
        units = [(row.s * row.reach.dearest if row.reach and row.reach.dearest else None) for _, row in moving]
        if part.limit is not None and units and None not in units:
            paid = part.limit + len(part.options) * COST_SLACK
            found = min(found, max(fmpq(0), paid) * max(unit for unit in units if unit is not None))
        return found / self.weight.low

    def _moving(self, record: int, left: Sequence[int]) -> list[ClassRow]:
        rows = [self.rows.options[record][k] for k in left]
        return [row for row in rows if row.c == self.c and row.reach is not None]


@dataclass(frozen=True, eq=False)
class _Line:
    """``P |mu|^2 - 2 v'mu <= constant + sum s slope'(x - m)`` over the class's members, plus ``stretch`` times the
    weighted lengths of feature changes, or with None, over ``x`` after these changes."""

    slope: list[Number]
    constant: Number
    stretch: Number | None


def _line(spread: Spread | None, P: Number, v: Sequence[Number], balls: bool) -> _Line | None:
    if spread is None:
        return None
    m, stretch = spread.point, None
    moved = not (balls and P > 0)
    if P > 0:
        low, high = spread.ends(moved)
        slope = [P * (a + b) - 2 * entry for a, b, entry in zip(low, high, v, strict=True)]
        constant = -P * dot(low, high)
        if not moved:
            far = length_above([max(abs(P * a - e), abs(P * b - e)) for a, b, e in zip(low, high, v, strict=True)])
            stretch = (2 * far + P * spread.farthest()) / spread.weight.low
    else:
        slope = [2 * (P * value - entry) for value, entry in zip(m, v, strict=True)]
        constant = -P * dot(m, m)
    w, rest = spread.chord(slope, moved)
    rows, c = spread.rows, spread.c
    fixed = dot(slope, rows.sums[c]) - rows.weights[c] * dot(slope, m)
    return _Line([w * entry for entry in slope], constant + dot(slope, m) + rest + w * fixed, stretch)


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
