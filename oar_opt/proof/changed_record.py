"""The largest value of a member's term in the Lagrangian over a whole set of feature changes, in rationals.

Statement. Letters of :mod:`oar_opt.proof.lagrangian`. A member's record ``(x, y)`` of weight ``a > 0`` becomes ``x +
delta`` with ``delta`` in a set of changes (:mod:`oar_opt.proof.feature_reach`): ``l_j <= delta_j <= u_j`` and, in l2
or l1, ``|delta / scale| <= radius``. Its term is, at the price ``lambda`` of cost,

    omega'theta - m |theta|^2 + a g (gamma + b'delta - mu f) - lambda cost(delta),     f = (xhat + delta)'theta,

``(f, g)`` on the graph of the loss, ``m = mu_m lam``, ``|.|`` over penalised entries, ``gamma = xhat'beta``, ``b``
the part of ``beta`` that multiplies features. For all ``kappa``, ``tau``, ``z (d,)``, ``s_j, q_k, v_i, S >=
0`` and directions ``n`` it is at most the maximum over ``delta`` of a concave quadratic.

Proof. At a jump the term is linear in ``g``, so it is no larger than at one of the jump's ends, which are ends of the
lines beside it. On a line ``g = c f + t`` from ``f_-`` to ``f_+`` add ``kappa ((xhat + delta)'theta - f) = 0`` and
``tau (f_+ - f) >= 0``, or for ``tau < 0`` ``tau (f_- - f) >= 0``, and let ``theta`` and ``f`` be free:

    max over theta of (omega + kappa (xhat + delta))'theta - m |theta|^2 = |omega + kappa (xhat + delta)|^2 / (4 m),
    max over f of h f - a mu c f^2 = h^2 / (4 a mu c),        h = a c (gamma + b'delta) - a mu t - kappa - tau,

at a free intercept only for ``kappa = -omega_b``, and for ``c = 0`` only for ``h = 0``, which says what ``tau`` is.
Both are convex in ``delta``. Adding ``s_j (delta_j - l_j)(u_j - delta_j) >= 0``, ``q_k (n_k'delta - l_k)(u_k - n_k'
delta) >= 0`` where the part bounds ``n_k'delta``, ``S (radius^2 - |delta / scale|^2) >= 0``, in l1
``radius max |z_j| - z'delta / scale >= 0``, ``v_i (r_i - a_i'delta) >= 0`` for linear rules, and ``cost(delta) >=
charge + n'delta / scale`` leaves ``K + k'delta - delta'M delta`` with

    M = diag(s_j + S / scale_j^2 - kappa^2 / (4 m)) + sum_k q_k n_k n_k' - a c / (4 mu) b b',

whose maximum over all ``delta`` elimination finds where ``M`` is positive semidefinite.

Not covered: the logistic loss, whose graph has no lines, and learners that are linear programs.

Strength. For one member and one line without ends nothing is lost (the S-lemma for a ball); in ridge regression with
balls the sum over members was within the solver's accuracy of the best change known on most instances tried. Ends of
lines, boxes and several lines lose something, which goes to 0 with the set.

Reference: V. A. Yakubovich, "S-procedure in Nonlinear Control Theory", 1971; N. Z. Shor, "Quadratic Optimization
Problems", 1987.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flint import fmpq

from oar_opt.problem import Norm
from oar_opt.proof.feature_reach import Reach
from oar_opt.proof.polylines import Graph, Piece
from oar_opt.proof.rationals import Number, dot
from oar_opt.proof.scalar_maximum import concave_maximum


@dataclass(frozen=True)
class CaseMultipliers:
    """Of one line of the graph: see the module's docstring.

    ``sides (d,)`` are ``s_j``, ``ball`` is ``S``, ``direction`` and ``facet`` ``(d,)`` are ``n`` and ``z`` (empty for
    0), ``cuts`` are ``q_k``, one for each direction in which the part was split, ``rows`` are ``v_i`` (or empty).
    """

    kappa: Number
    tau: Number
    sides: list[Number]
    ball: Number
    direction: list[Number]
    cuts: list[Number] = field(default_factory=list)
    facet: list[Number] = field(default_factory=list)
    rows: list[Number] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class ChangedTerm:
    """What the term is made of: ``xhat, omega, beta (p,)``, of which the first ``d`` multiply features.

    ``cuts`` are ``(n_k, l_k, u_k)``, ``strength`` is ``m``; ``free``: the last entry of ``theta`` is a free intercept.
    """

    reach: Reach
    cuts: Sequence[tuple[Sequence[Number], Number, Number]]
    xhat: list[Number]
    a: Number
    omega: Sequence[Number]
    beta: Sequence[Number]
    mu: Number
    strength: Number
    free: bool
    price: Number

    def maximum(self, pieces: Graph, cases: Sequence[CaseMultipliers]) -> Number | None:
        """A rational that the term does not exceed; None where the multipliers give none, or do not fit."""
        lines = [piece for piece in pieces if not piece.is_jump]
        if len(cases) != len(lines):
            return None
        found = []
        for line, given in zip(lines, cases, strict=True):
            value = self.on_line(line, given)
            if value is None:
                return None
            found.append(value)
        return max(found)

    def on_line(self, line: Piece, given: CaseMultipliers) -> Number | None:
        """The same for one line."""
        d = len(self.reach.low)
        signs = all(number >= 0 for number in (*given.sides, *given.cuts, *given.rows, given.ball))
        lengths = len(given.sides) == d and len(given.cuts) == len(self.cuts)
        lengths = lengths and len(given.facet) in (0, d) and len(given.rows) in (0, len(self.reach.rows))
        no_ball = given.ball != 0 and self.reach.ball is None
        no_facet = any(given.facet) and self.reach.norm is not Norm.L1
        if not signs or not lengths or no_ball or no_facet or self.mu <= 0 or self.strength <= 0:
            return None
        form = _Form.zero(d)
        fits = (
            self._add_theta(form, given.kappa)
            and self._add_line(form, line, given)
            and self._add_cost(form, given.direction)
        )
        self._add_set(form, given)
        found = concave_maximum(form.matrix, form.linear) if fits else None
        return None if found is None else form.constant + found

    def _add_theta(self, form: _Form, kappa: Number) -> bool:
        """``|omega + kappa (xhat + delta)|^2 / (4 m)``."""
        rest = [value + kappa * x for value, x in zip(self.omega, self.xhat, strict=True)]
        if self.free and rest.pop() != 0:
            return False
        form.constant += dot(rest, rest) / (4 * self.strength)
        for j in range(len(form.linear)):
            form.linear[j] += kappa * rest[j] / (2 * self.strength)
            form.matrix[j][j] -= kappa * kappa / (4 * self.strength)
        return True

    def _add_line(self, form: _Form, line: Piece, given: CaseMultipliers) -> bool:
        a, mu, c, t = self.a, self.mu, line.slope, line.offset
        gamma = dot(self.xhat, self.beta)
        tau = given.tau if c != 0 else -a * mu * t - given.kappa
        end = line.high if tau > 0 else line.low
        if tau != 0 and end is None:
            return False
        form.constant += a * t * gamma + (0 if tau == 0 else tau * end)
        form.add_product(a * t, self.beta)
        if c != 0:
            h = a * c * gamma - a * mu * t - given.kappa - tau
            form.constant += h * h / (4 * a * mu * c)
            form.add_product(h / (2 * mu), self.beta)
            form.add_square(-a * c / (4 * mu), self.beta)
        return True

    def _add_cost(self, form: _Form, direction: Sequence[Number]) -> bool:
        """``-price cost(delta)``."""
        below = self.reach.cost_below(direction)
        if below is None:
            return False
        constant, slopes = below
        form.constant -= self.price * constant
        for j, slope in enumerate(slopes):
            form.linear[j] -= self.price * slope
        return True

    def _add_set(self, form: _Form, given: CaseMultipliers) -> None:
        reach = self.reach
        ends = zip(given.sides, reach.low, reach.high, reach.scales, strict=True)
        for j, (side, low, high, scale) in enumerate(ends):
            form.constant -= side * low * high
            form.linear[j] += side * (low + high)
            form.matrix[j][j] += side + given.ball / (scale * scale)
        form.constant += given.ball * (reach.ball or 0)
        if given.facet:
            form.constant += reach.radius * max(abs(z) for z in given.facet)
            form.add_product(fmpq(-1), [z / scale for z, scale in zip(given.facet, reach.scales, strict=True)])
        for v, (a, room) in zip(given.rows, reach.rows, strict=False):
            form.constant += v * room
            form.add_product(-v, a)
        for q, (direction, low, high) in zip(given.cuts, self.cuts, strict=True):
            form.constant -= q * low * high
            form.add_product(q * (low + high), direction)
            form.add_square(q, direction)


@dataclass(eq=False)
class _Form:
    """``constant + linear'delta - delta'matrix delta``."""

    constant: Number
    linear: list[Number]
    matrix: list[list[Number]]

    @classmethod
    def zero(cls, d: int) -> _Form:
        return cls(fmpq(0), [fmpq(0)] * d, [[fmpq(0)] * d for _ in range(d)])

    def add_product(self, factor: Number, vector: Sequence[Number]) -> None:
        """``factor vector'delta``, by the first entries of the vector."""
        self.linear = [value + factor * entry for value, entry in zip(self.linear, vector, strict=False)]

    def add_square(self, factor: Number, vector: Sequence[Number]) -> None:
        """``-factor (vector'delta)^2``."""
        for row, entry in zip(self.matrix, vector, strict=False):
            if entry != 0:
                row[:] = [value + factor * entry * other for value, other in zip(row, vector, strict=False)]
