"""A bound over many choices at once from multipliers: the Lagrangian of the learner's optimality conditions.

Statement. A linear learner that is re-trained, with the letters of :mod:`oar_opt.proof.exact_records`. Some records
are the same in every choice under consideration ("rows" ``i``: those of non-members, and of members with one option
left); every other member ``m`` takes one of its remaining options ``o``. A choice's optimum ``theta`` and pulls ``g``
satisfy

    psi(theta) + sum_i g_i xhat_i + sum_m g_m xhat_(m,o) = 0,     (f, g / a) on the graph of each record's loss,

``psi(theta) = lam R (theta - theta0)``. For all numbers ``beta (p,)``, ``alpha_i``, ``omega_m (p,)``, ``mu_0, mu_m >=
0``, ``mu = mu_0 + sum_m mu_m``, and ``gamma = xhat'beta`` for each record, any linear ``c'theta`` equals

    T0(theta) + sum_i [alpha_i f_i + g_i (gamma_i - mu f_i)] + sum_m [omega_m'theta - mu_m Q(theta)
                                                                              + g_m (gamma_(m,o) - mu f_(m,o))],

    T0(theta) = c'theta + (beta + mu theta0)' lam R theta - beta' lam R theta0 - (sum_i alpha_i xhat_i + sum_m
    omega_m)'theta - mu_0 Q(theta),        Q(theta) = lam theta'R theta,

so it is at most the sum of the three kinds of terms' maxima, each taken by itself.

Proof. ``0 = (beta - mu theta)' (psi + sum g xhat)``, in which ``xhat'beta = gamma`` and ``xhat'theta = f``; then
``alpha_i (f_i - xhat_i'theta) = 0`` and ``omega_m'theta - omega_m'theta = 0`` are added, and ``-mu theta' lam R
theta`` is shared out among ``T0`` and the members.

Strength. ``c`` may collect several margins with weights ``pi >= 0``, and costs and the number of acting members join
with prices ``lambda, nu >= 0``: :func:`slack_above` bounds ``sum pi (margin - required) + lambda (limit - cost) + nu
(cap - acting)``, and where that is below 0 no choice meets all of them. The terms with ``mu`` are what duality of the
learner contributes: for one choice, ``beta = mu theta`` and ``alpha = mu g``, the bound exceeds ``c'theta`` by
``|c|^2 / (4 mu lam)``, so it is exact as ``mu`` grows, and with options left it is the convex hull of every member's
copies ``(z, z theta, g)`` that any multipliers can reach. Nothing has to be bounded beforehand.

The maxima. ``T0`` is a concave quadratic, coordinate by coordinate; at a free intercept its coefficient has to be 0,
and one row's ``alpha`` is chosen to make it so (``balance``). A row's term is :mod:`oar_opt.proof.scalar_maximum`. For
an option, ``max of omega'theta - mu_m Q(theta)`` subject to ``xhat'theta = f`` is a concave ``V(f)``: with ``v = sum
omega_j^2 / (4 mu_m lam)``, attained at ``t = omega / (2 mu_m lam)``, it is ``v - mu_m lam (f - xhat't)^2 / |xhat|^2``,
and with a free intercept ``omega_b f + sum over w of (omega_j - omega_b x_j)^2 / (4 mu_m lam)``. A record of weight 0
has no ``f``, and ``v`` alone remains (infinite with ``omega_b != 0``).

Squared loss. ``g_i = 2 a_i (f_i - y_i)`` makes ``T0`` and all terms of rows one quadratic in ``theta``, whose maximum
elimination finds. ``alpha_i`` is of no use then, and ``mu_0`` may be below 0: members may be lent the rows' curvature.

Feature changes. An option may be a whole set of changes; its maximum is :mod:`oar_opt.proof.changed_record`.

LP learners. ``psi`` is a subgradient of ``sum |theta_j|`` over penalised ``j`` (``lam = 1``, no prior), and ``Q`` that
sum. ``T0`` is at most ``sum |beta_j|`` if every coefficient of ``theta_j`` is at most ``mu_0`` in size. ``V(f) = min
of tau f`` over all ``tau`` with ``|omega_j - tau xhat_j| <= mu_m`` (equal, at a free intercept), by LP duality. What a
size has beyond ``mu_0`` or ``mu_m`` counts ``M`` times, where no choice's optimum has ``sum |theta_j| > M``.

Size and time. Linear in records and options; sums are rounded up to multiples of ``2^-GRID``.

Reference: A. M. Geoffrion, "Lagrangean Relaxation for Integer Programming", 1974; A. Neumaier, O. Shcherbina, "Safe
Bounds in Linear and Mixed-Integer Linear Programming", 2004, whose rounding the maxima over terms replace.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flint import arb, ctx, fmpq, fmpq_mat, fmpz

from oar_opt.proof.changed_record import CaseMultipliers, ChangedTerm
from oar_opt.proof.learner_rows import LearnerRows, Row
from oar_opt.proof.parts import Part
from oar_opt.proof.polylines import Graph
from oar_opt.proof.rationals import Interval, Number, approximate, dot, exact
from oar_opt.proof.scalar_maximum import concave_maximum, graph_maximum, logistic_maximum

GRID = 120
"""Bits after the point of the terms that are summed up."""
STEEPEST = fmpq(100)
"""Largest decision value, either way, that pulls are proposed for: ``exp(-100)`` is below ``2^-GRID``."""


@dataclass(frozen=True)
class Multipliers:
    """What a leaf of a certificate states; see the module's docstring. ``pulls`` are ``alpha_i / (mu a_i)`` of rows.

    A row that ``pulls`` does not name has the one that makes ``f = xhat'theta`` stationary in its term; ``theta (p,)``
    is a point for this only. ``omegas`` are ``(mu_m, omega_m)`` by the member's record; others have 0. ``changes`` are
    those of sets of changes, by the row, with a case for each line of its graph.
    """

    mu: Number
    beta: list[Number]
    theta: list[Number]
    pulls: Mapping[int, Number]
    balance: int | None
    omegas: Mapping[int, tuple[Number, list[Number]]]
    queries: list[Number]
    guards: list[Number]
    cost: Number
    acting: Number
    changes: Mapping[int, Sequence[CaseMultipliers]] = field(default_factory=dict)

    @property
    def total(self) -> Number:
        """``mu``."""
        return self.mu + sum((mu for mu, _ in self.omegas.values()), fmpq(0))


def slack_above(rows: LearnerRows, part: Part, given: Multipliers) -> Number | None:
    """A rational that ``sum pi (margin - needed) + lambda (limit - cost) + nu (cap - acting)`` does not exceed, for
    any of the choices and any optimum of its learner; None where the multipliers give none."""
    return _Evaluation(rows, part, given).total()


def changed_term(rows: LearnerRows, part: Part, given: Multipliers, r: int, i: int) -> ChangedTerm:
    """The term of row ``i``, a set of changes of the member with record ``r``."""
    row = rows.rows[i]
    assert row.reach is not None
    mu, omega = given.omegas.get(r, (fmpq(0), [fmpq(0)] * rows.p))
    return ChangedTerm(
        reach=row.reach,
        cuts=part.cuts_of((r, rows.options[r].index(i)), row.reach),
        xhat=row.xhat,
        a=row.a,
        omega=omega,
        beta=given.beta,
        mu=given.total,
        strength=mu * rows.lam,
        free=rows.free,
        price=given.cost,
    )


class _Evaluation:
    def __init__(self, rows: LearnerRows, part: Part, given: Multipliers) -> None:
        self.part, self.given, self.program = part, given, rows
        self.mu = given.total
        self.settled, self.open = rows.of(part)

    def total(self) -> Number | None:
        if not self._is_well_signed():
            return None
        program, given = self.program, self.given
        self.gamma = program.products(given.beta)
        self.values = program.products(given.theta)
        slope, constant = self._goal()
        terms = [self._joint(slope)] if program.is_quadratic else self._apart(slope)
        terms += [self._member(r, left) for r, left in self.open.items()]
        total = constant + self._price(self.settled)
        for term in terms:
            if term is None:
                return None
            total += _rounded_up(term)
        return total

    def _is_well_signed(self) -> bool:
        given, part = self.given, self.part
        numbers = [self.mu if self.program.is_quadratic else given.mu, given.cost, given.acting]
        numbers += [*given.queries, *given.guards]
        numbers += [mu for mu, _ in given.omegas.values()]
        unused = [pi for pi, need in zip(given.queries, part.needs, strict=True) if need is None and pi != 0]
        unused += [given.cost] if part.limit is None and given.cost != 0 else []
        unused += [given.acting] if part.cap is None and given.acting != 0 else []
        return all(number >= 0 for number in numbers) and not unused and given.omegas.keys() <= self.open.keys()

    def _goal(self) -> tuple[list[Number], Number]:
        """The coefficients of ``theta`` and the constant."""
        program, part, given = self.program, self.part, self.given
        c, constant = [fmpq(0)] * program.p, fmpq(0)
        subjects = [*zip(program.queries, part.needs, given.queries, strict=True)]
        subjects += [*zip(program.guards, part.guards, given.guards, strict=True)]
        for (direction, offset), need, pi in subjects:
            if need is not None and pi != 0:
                c = [entry + pi * value for entry, value in zip(c, direction, strict=True)]
                constant += pi * (offset - need)
        constant += given.cost * (part.limit or 0) + given.acting * (part.cap or 0)
        if not program.is_linear:
            for j in program.penalised:
                c[j] += program.lam * (given.beta[j] + self.mu * program.theta0[j])
                constant -= program.lam * given.beta[j] * program.theta0[j]
        for _, omega in given.omegas.values():
            c = [entry - value for entry, value in zip(c, omega, strict=True)]
        return c, constant

    def _price(self, rows: Sequence[int]) -> Number:
        """``-lambda cost - nu acting`` of rows that are taken."""
        taken = [self.program.rows[i] for i in rows]
        cost = sum((row.cost for row in taken), fmpq(0))
        return -self.given.cost * cost - self.given.acting * sum(row.acts for row in taken)

    # -- rows that are the same in every choice ---

    def _apart(self, slope: list[Number]) -> list[Number | None]:
        """The start's term, and one for every row."""
        pulls = {i: self._pull(i) for i in self.settled if self.program.rows[i].a != 0}
        slope = self._balanced(slope, pulls)
        return [self._start(slope), *(self._row(i, pull) for i, pull in pulls.items())]

    def _joint(self, slope: Sequence[Number]) -> Number | None:
        """The start's term and all rows', for the squared loss."""
        program = self.program
        matrix, linear, constant = [[fmpq(0)] * program.p for _ in slope], list(slope), fmpq(0)
        for j in program.penalised:
            matrix[j][j] = self.given.mu * program.lam
        settled = [program.rows[i] for i in self.settled]
        if settled:
            gammas = [self.gamma[i] for i in self.settled]
            constant = -sum((2 * row.a * g * row.y for row, g in zip(settled, gammas, strict=True)), constant)
            rights = [2 * row.a * (g + self.mu * row.y) for row, g in zip(settled, gammas, strict=True)]
            rows = fmpq_mat([row.xhat for row in settled])
            weighted = fmpq_mat([[2 * self.mu * row.a * x for x in row.xhat] for row in settled])
            matrix = (fmpq_mat(matrix) + rows.transpose() * weighted).tolist()
            more = (fmpq_mat(1, len(rights), rights) * rows).entries()
            linear = [a + b for a, b in zip(linear, more, strict=True)]
        found = concave_maximum(matrix, linear)
        return None if found is None else found + constant

    def _pull(self, i: int) -> Number:
        """``alpha / (mu a)``."""
        if i in self.given.pulls:
            return self.given.pulls[i]
        row, f = self.program.rows[i], self.values[i]
        if row.pieces is None:
            return logistic_pull(row.y, f)
        piece = next(piece for piece in row.pieces if not piece.is_jump and piece.has(f))
        pull = piece.pulls(f)[0]
        if self.mu != 0 and len(row.pieces) == 1:
            pull += (f - self.gamma[i] / self.mu) * piece.slope
        return within(row.pulls, pull)

    def _balanced(self, slope: list[Number], pulls: dict[int, Number]) -> list[Number]:
        """What is left of the coefficients of ``theta`` when the rows have taken theirs; the balancing row's pull is
        set, so that nothing is left at a free intercept."""
        program = self.program
        alphas = [fmpq(0)] * len(program.rows)
        for i, pull in pulls.items():
            alphas[i] = self.mu * program.rows[i].a * pull
        balance = self.given.balance
        if program.free and balance in pulls and self.mu > 0:
            others = sum(alphas, fmpq(0)) - alphas[balance]
            alphas[balance] = slope[-1] - others
            pulls[balance] = alphas[balance] / (self.mu * program.rows[balance].a)
        taken = (fmpq_mat(1, len(alphas), alphas) * program.matrix).entries()
        return [entry - value for entry, value in zip(slope, taken, strict=True)]

    def _row(self, i: int, pull: Number) -> Number | None:
        row, mu = self.program.rows[i], self.mu
        if row.pieces is None and mu == 0:
            found = max(fmpq(0), -row.y * self.gamma[i])
        elif row.pieces is None:
            found = logistic_maximum(row.y, fmpq(0), mu * pull, self.gamma[i], mu, [mu * pull])
        else:
            found = graph_maximum(row.pieces, fmpq(0), mu * pull, self.gamma[i], mu)
        return None if found is None else row.a * found

    # -- the start's term ---

    def _start(self, slope: Sequence[Number]) -> Number | None:
        program, mu = self.program, self.given.mu
        if program.free and slope[-1] != 0:
            return None
        entries = [slope[j] for j in program.penalised]
        if program.is_linear:
            excess = max((abs(entry) - mu for entry in entries), default=fmpq(0))
            total = sum((abs(self.given.beta[j]) for j in program.penalised), fmpq(0))
            return total + program.most_penalty * max(fmpq(0), excess)
        return _peak(entries, mu * program.lam)

    # -- members ---

    def _member(self, r: int, left: Sequence[int]) -> Number | None:
        mu, omega = self.given.omegas.get(r, (fmpq(0), [fmpq(0)] * self.program.p))
        found = []
        for i in left:
            value = self._option(r, i, mu, omega)
            if value is None:
                return None
            found.append(value + self._price([i]))
        return max(found)

    def _option(self, r: int, i: int, mu: Number, omega: Sequence[Number]) -> Number | None:
        row = self.program.rows[i]
        if row.reach is not None:
            return self._changed(r, i, row, mu, omega)
        caps = self._linear_caps(row, mu, omega) if self.program.is_linear else self._quadratic_caps(row, mu, omega)
        found = [self._capped(row, self.gamma[i], *cap) for cap in caps]
        return None if not found or None in found else max(value for value in found if value is not None)

    def _changed(self, r: int, i: int, row: Row, mu: Number, omega: Sequence[Number]) -> Number | None:
        """That of a set of changes; see :mod:`oar_opt.proof.changed_record`."""
        program, given = self.program, self.given
        if row.reach is None or row.pieces is None or program.is_linear:
            return None
        if row.a == 0:
            caps, reach = self._quadratic_caps(row, mu, omega), row.reach
            return caps[0][0] + reach.most([fmpq(0)] * len(reach.low), given.cost) if caps else None
        term = changed_term(program, self.part, given, r, i)
        return term.maximum(row.pieces, given.changes.get(i, ()))

    def _capped(
        self, row: Row, gamma: Number, v: Number, A: Number, B: Number, low: Number | None, high: Number | None
    ) -> Number | None:
        """The maximum of ``v - A f^2 + B f + g (gamma - mu f)`` for ``f`` from ``low`` to ``high``."""
        if row.a == 0:
            return v
        A, B = A / row.a, B / row.a
        if row.pieces is None:
            taus = [logistic_tangent(row.y, A, B, self.mu)]
            found = None if self.mu == 0 else logistic_maximum(row.y, A, B, gamma, self.mu, taus)
        else:
            found = graph_maximum(clipped(row.pieces, low, high), A, B, gamma, self.mu)
        return None if found is None else v + row.a * found

    def _quadratic_caps(self, row: Row, mu: Number, omega: Sequence[Number]) -> list[tuple[Any, ...]]:
        """``V`` as ``(v, A, B, low, high)``; nothing where it is infinite."""
        zero = fmpq(0)
        if mu == 0:
            return [] if any(omega) else [(zero, zero, zero, None, None)]
        strength = mu * self.program.lam
        if self.program.free:
            if row.a == 0 and omega[-1] != 0:
                return []
            rest = [value - omega[-1] * x for value, x in zip(omega[:-1], row.xhat, strict=False)]
            return [(_peak(rest, strength), zero, omega[-1], None, None)]
        v = _peak(omega, strength)
        if row.length2 == 0 or row.a == 0:
            return [(v, zero, zero, zero, zero)]
        A, t = strength / row.length2, dot(row.xhat, omega) / (2 * strength)
        return [(v - A * t * t, A, 2 * A * t, None, None)]

    def _linear_caps(self, row: Row, mu: Number, omega: Sequence[Number]) -> list[tuple[Any, ...]]:
        """``V <= v + tau f``, for any ``tau`` on each side of ``f = 0``; nothing where it is infinite."""
        zero = fmpq(0)
        xhat = row.xhat if row.a != 0 else [zero] * self.program.p
        if self.program.free:
            sides = [(omega[-1] * xhat[-1], None, None)]
        elif not any(xhat):
            sides = [(zero, zero, zero)]
        else:
            low, high = _slopes(xhat, mu, omega)
            least, most = (None if g is None else self.mu * row.a * g for g in row.pulls)
            sides = [(within((None, most), low), zero, None), (within((least, None), high), None, zero)]
        found = []
        for tau, *ends in sides:
            excess = self._excess(xhat, mu, omega, tau)
            if excess is None:
                return []
            found.append((excess, zero, tau, *ends))
        return found

    def _excess(self, xhat: Sequence[Number], mu: Number, omega: Sequence[Number], tau: Number) -> Number | None:
        """``max of (omega - tau xhat)'theta - mu sum |theta_j|``, where the sum is at most ``most_penalty``."""
        rest = [value - tau * x for value, x in zip(omega, xhat, strict=True)]
        if self.program.free and rest[-1] != 0:
            return None
        return self.program.most_penalty * max(fmpq(0), max(abs(rest[j]) - mu for j in self.program.penalised))


def _slopes(xhat: Sequence[Number], mu: Number, omega: Sequence[Number]) -> tuple[Number, Number]:
    """The least and the largest ``tau`` with ``|omega_j - tau xhat_j| <= mu`` wherever ``xhat_j`` is not 0; where there
    is none, twice one between the ends that cross."""
    ends = [sorted(((value - mu) / x, (value + mu) / x)) for value, x in zip(omega, xhat, strict=True) if x != 0]
    low, high = max(end[0] for end in ends), min(end[1] for end in ends)
    return (low, high) if low <= high else ((low + high) / 2, (low + high) / 2)


def within(ends: tuple[Number | None, Number | None], value: Number) -> Number:
    """``value`` cut to an interval."""
    low, high = ends
    value = value if low is None else max(low, value)
    return value if high is None else min(high, value)


def _peak(entries: Sequence[Number], strength: Number) -> Number | None:
    """The maximum of ``entries'theta - strength |theta|^2``."""
    if strength > 0:
        return dot(entries, entries) / (4 * strength)
    return None if any(entries) else fmpq(0)


def _rounded_up(value: Number) -> Number:
    return fmpq(-((-value.p << GRID) // value.q), fmpz(1) << GRID)


def clipped(pieces: Graph, low: Number | None, high: Number | None) -> Graph:
    """The part of a graph from ``low`` to ``high``."""
    if low is None and high is None:
        return pieces
    kept = []
    for piece in pieces:
        left = low if piece.low is None else piece.low if low is None else max(piece.low, low)
        right = high if piece.high is None else piece.high if high is None else min(piece.high, high)
        if left is None or right is None or left <= right:
            kept.append(replace(piece, low=left, high=right))
    return tuple(kept)


# -- the logistic loss, for proposals that need not be accurate ---


def logistic_pull(y: Number, f: Number) -> Number:
    """About ``-y / (1 + exp(y f))``, as a rational from ``-y`` to 0.

    Beyond :data:`STEEPEST` the share hardly changes, and as a rational it would take more memory than a machine has.
    """
    with ctx.workprec(64):
        share = 1 / (1 + arb(y * within((-STEEPEST, STEEPEST), f)).exp())
        v = Interval.around(share.mid()).low
    return -y * min(max(v, fmpq(0)), fmpq(1))


def logistic_tangent(y: Number, A: Number, B: Number, mu: Number) -> Number:
    """About the ``tau`` with the least bound: the slope of ``mu l`` where it is that of ``V``."""
    if A == 0:
        return B
    low, high = -1.0, 1.0
    a, b, m, sign = (approximate(number) for number in (A, B, mu, y))

    def excess(f: float) -> float:
        z = sign * f
        share = 1 / (1 + math.exp(min(z, 700.0)))
        return -2 * a * f + b + m * sign * share

    while excess(low) < 0 and low > -1e9:
        low *= 4
    while excess(high) > 0 and high < 1e9:
        high *= 4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return mu * logistic_pull(y, exact((low + high) / 2))
