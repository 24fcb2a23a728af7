"""What a member can gain by changing its features before one gradient step, at a price for the change.

Let ``u0 = xhat'theta_0`` be the member's decision value under the given parameters, ``a(u) = -c s l'(y, u)`` its push
(``c`` is the rate over the batch's divisor), and ``p`` the direction that counts, a combination of the subjects'
features. A change ``delta`` of its set ``E``, with ``u = u0 + theta'delta``, gains

    a(u) (p'xhat + p'delta) - kappa c(delta).

The change enters only through two linear forms and its cost. For a fixed push ``a`` and decision value ``u`` the rest
is concave: with ``r0 = p'xhat`` and any multiplier ``nu``,

    G(a, u) = max { a (r0 + p'delta) - kappa c(delta) : delta in E, theta'delta = u - u0 }
            <= a r0 + nu (u - u0) + gain(a p - nu theta),

``gain`` being the best paid linear function over ``E`` (:mod:`oar_opt.change_arrays`); the right side is a *line* in
``u``, and touches ``G(a, .)`` at ``u`` for the best ``nu``. ``G`` is convex in ``a``, as a maximum of linear functions.

On an interval ``[u1, u2]`` of length ``h``, let ``a1 = a(u1)``, ``a2 = a(u2)``, and ``T_j + nu_j (u - u_j)`` lines over
``G(a_j, .)``. With ``a(u) = (1 - t) a1 + t a2`` and ``u = u1 + sigma h``, convexity gives

    G(a(u), u) <= (1 - t) (T_1 + nu_1 h sigma) + t (T_2 - nu_2 h (1 - sigma)).

The push falls from ``a1`` to ``a2``, so ``t`` is in [0, 1], and ``t = sigma`` where it is affine (squared loss). For
the logistic loss ``a`` is off its chord by at most ``h^2 sigma (1 - sigma) max |a''| / 2``, so ``|t - sigma| <= 4 eta
sigma (1 - sigma)`` with ``eta = h^2 max |a''| / (8 |a1 - a2|)`` and ``|a''| <= |a'| |1 - 2 sigmoid|``. So the gain on
the interval is at most the largest value in ``sigma`` of

    (1 - sigma) T_1 + sigma T_2
        + sigma (1 - sigma) (h (nu_1 - nu_2) + 4 eta max(|T_2 - nu_2 h - T_1|, |T_2 - T_1 - nu_1 h|)),

and never more than the largest of the four corners of ``sigma, t``. For the hinge the push is constant on either side
of the kink, and the lower one of the two lines bounds the gain. The error falls with the square of ``h``: intervals are
halved until no gain above the best one found, plus a tolerance, is left. Every loss, every sign of ``p'xhat``, every
norm and box is treated alike; a maximum that is only approached (from the left of a hinge's kink) is approached.

Reference: D. P. Bertsekas, "Nonlinear Programming", 1999 (weak duality); R. E. Moore, "Interval Analysis", 1966 (the
search).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from oar_opt.change_arrays import ChangeArrays, ball_gain
from oar_opt.problem import CostKind, Flags, Indices, Matrix, Vector
from oar_opt.rules import ROUNDING
from oar_opt.step_loss import slopes
from oar_opt.update_settings import StepLoss

ASIDE = 1e-6
"""How far inside an interval its first lines touch, as a share of it."""
ROUNDS, MOST_CELLS = 40, 4_000_000
"""Halvings of an interval, and intervals at once, after which their bounds stand as they are."""
HALVINGS, WIDENINGS = 60, 15
"""Multipliers tried for one point at most."""
CLOSE = 1e-13
NEVER = -np.inf


@dataclass(frozen=True, eq=False)
class StepSide:
    """The members' own side of a step: ``y, weight (m,)`` (``c s``), ``u0 (m,)``, and ``theta (d,)``, scaled."""

    loss: StepLoss
    y: Vector
    weight: Vector
    u0: Vector
    theta: Vector

    def push(self, rows: Indices, u: Vector) -> Vector:
        """``a(u) = -weight l'(y, u)`` of the members ``rows``."""
        return -self.weight[rows] * slopes(self.loss, self.y[rows], u)

    def subset(self, rows: Indices) -> StepSide:
        return StepSide(self.loss, self.y[rows], self.weight[rows], self.u0[rows], self.theta)


@dataclass(frozen=True, eq=False)
class Responses:
    """For every set its best change: gain ``value`` and proved ``bound``, ``(m,)``, tolls taken off.

    ``u, a (m,)`` say where the best change lies; :meth:`StepSearch.changes` gives it. Where nothing was found that is
    worth more than the floor, ``value`` is ``-inf``.
    """

    value: Vector
    bound: Vector
    u: Vector
    a: Vector


class StepSearch:
    """The search of the module's docstring, for all sets at once.

    Parameters
    ----------
    sets : ``m`` sets of changes. side : see there.
    r0 : ``p'xhat``, ``(m,)``. p : the direction over scaled features, ``(d,)``. kappa : the price of cost.
    stop : asked again and again; true ends the search, with wider bounds.
    """

    def __init__(
        self,
        sets: ChangeArrays,
        side: StepSide,
        r0: Vector,
        p: Vector,
        kappa: float,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.sets, self.side, self.r0, self.kappa, self.stop = sets, side, r0, kappa, stop
        self.theta, self.p = np.where(sets.free, side.theta, 0.0), np.where(sets.free, p, 0.0)
        self.length = float(np.linalg.norm(self.theta))
        unit = self.theta / self.length if self.length > 0 else self.theta
        self.p1 = float(self.p @ unit)
        across = self.p - self.p1 * unit
        p2 = float(np.linalg.norm(across))
        # What rounding alone leaves across theta has no direction.
        self.p2 = p2 if p2 > 1e-12 * float(np.linalg.norm(self.p)) else 0.0
        self.unit, self.sideways = unit, across / p2 if self.p2 > 0 else np.zeros_like(across)
        self.low, self.high = self._reach()

    def _reach(self) -> tuple[Vector, Vector]:
        """The decision values that the changes reach, ``(m,)`` each."""
        if self.sets.are_balls:
            far = self.sets.R2 * self.length
            return self.side.u0 - far, self.side.u0 + far
        up = self.sets.gain(np.tile(self.theta, (self.sets.m, 1)), 0.0).bound
        down = self.sets.gain(np.tile(-self.theta, (self.sets.m, 1)), 0.0).bound
        return self.side.u0 - down, self.side.u0 + up

    # -- the search ---

    def best(self, floor: Vector, toll: Vector, tolerance: float) -> Responses:
        """The best change of every set that is worth more than ``floor (m,)`` after its ``toll (m,)``.

        Gains that exceed neither the floor nor the best found by more than ``tolerance`` are not looked into further;
        the bound says by how much they might.
        """
        m = self.sets.m
        worth, aim = np.full(m, NEVER), floor + toll
        u, a = self.side.u0.copy(), np.zeros(m)
        bound = np.full(m, NEVER)
        cells = self._first_cells()
        for _ in range(ROUNDS):
            keep = cells.bound > np.maximum(worth, aim)[cells.rows] + tolerance
            np.maximum.at(bound, cells.rows[~keep], cells.bound[~keep])
            cells = cells.take(keep)
            if not len(cells.rows) or 2 * len(cells.rows) > MOST_CELLS or self.stop():
                break
            pushes = self.side.push(cells.rows, cells.middle) if cells.constant is None else cells.constant
            T, nu, gains = self._node(cells.rows, cells.middle, pushes)
            _enter(cells.rows, gains, (cells.middle, pushes), worth, (u, a))
            cells = self.halved(cells, Lines(T, nu))
        np.maximum.at(bound, cells.rows, cells.bound)
        bound = np.maximum(bound, worth)
        return Responses(np.where(worth > aim, worth - toll, NEVER), bound - toll, u, a)

    def _first_cells(self) -> Cells:
        """Both sides of ``u0``, where the cost has its kink; for the hinge each also of the loss's kink."""
        m, u0 = self.sets.m, np.clip(self.side.u0, self.low, self.high)
        rows = np.arange(m)
        if self.side.loss is not StepLoss.HINGE:
            who, u1, u2 = _halves(rows, self.low, u0, self.high)
            return self.cells(who, u1, u2, None)
        kink = self.side.y
        # A kink at the very end of what is reached counts as reached: the rules have room for rounding as well.
        near = ROUNDING * (1.0 + np.abs(self.side.u0) + self.high - self.low)
        left, right = self.low <= kink + near, self.high >= kink - near
        at = np.clip(kink, self.low, self.high)
        parts = [
            _halves(rows[there], low[there], u0[there], high[there])
            for there, low, high in ((left, self.low, at), (right, at, self.high))
        ]
        pushes = [self.side.push(parts[k][0], kink[parts[k][0]] + (-1.0, 1.0)[k]) for k in (0, 1)]
        who, u1, u2 = (np.concatenate([part[k] for part in parts]) for k in range(3))
        return self.cells(who, u1, u2, np.concatenate(pushes))

    def _split(self, rows: Indices, u1: Vector, u2: Vector) -> Vector:
        middle, half = (self.low[rows] + self.high[rows]) / 2, (self.high[rows] - self.low[rows]) / 2
        size = np.maximum(half, 1e-300)
        angles = [np.arccos(np.clip((middle - u) / size, -1.0, 1.0)) for u in (u1, u2)]
        return np.clip(middle - half * np.cos((angles[0] + angles[1]) / 2), u1, u2)

    def halved(self, cells: Cells, at_middle: Lines) -> Cells:
        """Both halves of every cell; the line of the middle becomes one of theirs."""
        constant = None if cells.constant is None else np.tile(cells.constant, 2)
        u1, u2 = np.concatenate([cells.u1, cells.middle]), np.concatenate([cells.middle, cells.u2])
        left = Lines(*(np.concatenate(pair) for pair in zip(cells.left, at_middle, strict=True)))
        right = Lines(*(np.concatenate(pair) for pair in zip(at_middle, cells.right, strict=True)))
        return self.cells(np.tile(cells.rows, 2), u1, u2, constant, (left, right))

    def cells(
        self,
        rows: Indices,
        u1: Vector,
        u2: Vector,
        constant: Vector | None,
        lines: tuple[Lines, Lines] | None = None,
    ) -> Cells:
        """Cells with their bounds. ``constant``: the push, where the loss has one on each cell."""
        middle = self._split(rows, u1, u2)
        a1, a2 = (self.side.push(rows, u) if constant is None else constant for u in (u1, u2))
        if lines is None:
            lines = self._first_lines(rows, (u1, u2), (a1, a2))
        else:
            # At a set's very end the best multiplier may be infinite: a line that touches in the middle does there.
            for line, u, push_there, outer in (
                (lines[0], u1, a1, u1 <= self.low[rows]),
                (lines[1], u2, a2, u2 >= self.high[rows]),
            ):
                if outer.any():
                    T, nu = self.line(rows[outer], middle[outer], push_there[outer])
                    line.T[outer], line.nu[outer] = T + nu * (u - middle)[outer], nu
        if constant is not None:
            bound = _below_both(u2 - u1, *lines)
            return Cells(rows, u1, u2, constant, bound, middle, *lines)
        bound = self._bound(rows, u2 - u1, (u1, u2), (a1, a2), *lines)
        return Cells(rows, u1, u2, constant, bound, middle, *lines)

    def _first_lines(
        self, rows: Indices, ends: tuple[Vector, Vector], pushes: tuple[Vector, Vector]
    ) -> tuple[Lines, Lines]:
        """Lines that touch just inside the end at ``u0``, where what can be gained jumps in slope: they show at once
        that most members who stay should; in the middle where ``u0`` is no end."""
        u1, u2 = ends
        u0 = self.side.u0[rows]
        inside = ASIDE * (u2 - u1)
        at = np.where(u1 == u0, u1 + inside, np.where(u2 == u0, u2 - inside, self._split(rows, u1, u2)))
        found = []
        for u, push_there in zip(ends, pushes, strict=True):
            T, nu = self.line(rows, at, push_there)
            found.append(Lines(T + nu * (u - at), nu))
        return found[0], found[1]

    def _bound(
        self,
        rows: Indices,
        h: Vector,
        ends: tuple[Vector, Vector],
        pushes: tuple[Vector, Vector],
        left: Lines,
        right: Lines,
    ) -> Vector:
        T, nu = (left.T, right.T), (left.nu, right.nu)
        bend = h * (nu[0] - nu[1])
        if self.side.loss is StepLoss.LOGISTIC:
            step = np.maximum(np.abs(T[1] - nu[1] * h - T[0]), np.abs(T[1] - T[0] - nu[0] * h))
            bend = np.minimum(bend + 4 * self._bending(rows, h, ends, pushes) * step, 1e300)
        top = np.clip(0.5 + (T[1] - T[0]) / (2 * np.where(bend > 0, bend, 1.0)), 0.0, 1.0)
        arc = (1 - top) * T[0] + top * T[1] + top * (1 - top) * bend
        smooth = np.where(bend > 0, arc, np.maximum(T[0], T[1]))
        corners = np.maximum(np.maximum(T[0], T[0] + nu[0] * h), np.maximum(T[1] - nu[1] * h, T[1]))
        return np.minimum(smooth, corners)

    def _bending(self, rows: Indices, h: Vector, ends: tuple[Vector, Vector], pushes: tuple[Vector, Vector]) -> Vector:
        """``eta`` of the logistic push."""
        u1, u2 = ends
        nearest, farthest = np.clip(0.0, u1, u2), np.maximum(np.abs(u1), np.abs(u2))
        slope = np.exp(-np.logaddexp(0.0, nearest) - np.logaddexp(0.0, -nearest))
        bent = self.side.weight[rows] * slope * np.tanh(farthest / 2)
        steep = np.maximum(8 * np.abs(pushes[0] - pushes[1]), 1e-300)
        return np.asarray(h**2 * bent / steep)

    # -- lines and points ---

    def _node(self, rows: Indices, u: Vector, a: Vector) -> tuple[Vector, Vector, Vector]:
        """A line as :meth:`line` gives it, and what a change there gains.

        The gain is ``-inf`` where the push at the change is another than ``a``.
        """
        if not self.sets.are_balls:
            return self._node_by_halving(rows, u, a)
        return *self.line(rows, u, a), self._worth_on_balls(rows, u, a)

    def line(self, rows: Indices, u: Vector, a: Vector) -> tuple[Vector, Vector]:
        """``T`` and ``nu`` of a line over ``G(a, .)`` that touches it (nearly) at ``u``; valid for every ``nu``."""
        if not self.sets.are_balls:
            return self._node_by_halving(rows, u, a)[:2]
        along = u - self.side.u0[rows]
        nu = np.zeros(len(rows)) if self.length == 0 else self._multiplier_on_balls(rows, along / self.length, a)
        slope = np.hypot(a * self.p1 - nu * self.length, a * self.p2)
        _, gained = ball_gain(self.sets.cost, self.sets.R2[rows], slope, self.kappa)
        return a * self.r0[rows] + nu * along + gained, nu

    def _multiplier_on_balls(self, rows: Indices, along: Vector, a: Vector) -> Vector:
        """The slope of ``G(a, .)`` in closed form: the change is ``along`` theta and ``k`` across it."""
        radius, A = self.sets.R2[rows], np.abs(a) * self.p2
        most = np.sqrt(np.maximum(radius**2 - along**2, (1e-8 * radius) ** 2))
        k, is_short = self._across(along, A, most)
        with np.errstate(divide="ignore", invalid="ignore"):
            price = self._price_slope(np.hypot(along, k))
            inside = a * self.p1 - price * along
            at_end = a * self.p1 - A * along / most
        return np.asarray(np.where(is_short, inside, at_end) / self.length)

    def _price_slope(self, length: Vector) -> Vector:
        """``kappa c'(length) / length``."""
        match self.sets.cost:
            case CostKind.SQL2:
                return np.full(len(length), 2 * self.kappa)
            case CostKind.L2:
                return np.where(length > 0, self.kappa / np.where(length > 0, length, 1.0), 0.0)
            case _:
                return np.zeros(len(length))

    def _across(self, along: Vector, A: Vector, most: Vector) -> tuple[Vector, Flags]:
        """How far to go across ``theta``, and whether that is short of the ball's end."""
        match self.sets.cost:
            case CostKind.SQL2 if self.kappa > 0:
                k = A / (2 * self.kappa)
            case CostKind.L2 if self.kappa > 0:
                rest = np.sqrt(np.maximum(self.kappa**2 - A**2, 0.0))
                k = np.where(self.kappa > A, np.abs(along) * A / np.maximum(rest, 1e-150), np.inf)
            case _:
                k = np.where(A > 0, np.inf, 0.0)
        return np.minimum(k, most), k < most

    def _worth_on_balls(self, rows: Indices, u: Vector, a: Vector) -> Vector:
        along, k = self._on_balls(rows, u, a)
        worth = a * (self.r0[rows] + self.p1 * along) + np.abs(a) * self.p2 * k
        worth = worth - self.kappa * _cost_of_length(self.sets.cost, np.hypot(along, k))
        actual = self.side.push(rows, self.side.u0[rows] + self.length * along)
        return np.where(np.abs(actual - a) <= 1e-9 * np.abs(a) + 1e-300, worth, NEVER)

    def _on_balls(self, rows: Indices, u: Vector, a: Vector) -> tuple[Vector, Vector]:
        radius = self.sets.R2[rows]
        along = np.zeros(len(rows)) if self.length == 0 else (u - self.side.u0[rows]) / self.length
        along = np.clip(along, -radius, radius)
        most = np.sqrt(np.maximum(radius**2 - along**2, 0.0))
        return along, self._across(along, np.abs(a) * self.p2, most)[0]

    def changes(self, rows: Indices, u: Vector, a: Vector) -> Matrix:
        """The changes over scaled features that stand behind a response, ``(len(rows), d)``."""
        if not self.sets.are_balls:
            return self._at(rows, u, a)
        along, k = self._on_balls(rows, u, a)
        return along[:, None] * self.unit + (np.sign(a) * k)[:, None] * self.sideways

    # -- boxes ---

    def _node_by_halving(self, rows: Indices, u: Vector, a: Vector) -> tuple[Vector, Vector, Vector]:
        sets = self.sets.subset(rows)
        nu, e = self._multiplier(sets, u - self.side.u0[rows], a)
        gained = sets.gain(a[:, None] * self.p - nu[:, None] * self.theta, self.kappa).bound
        T = a * self.r0[rows] + nu * (u - self.side.u0[rows]) + gained
        actual = self.side.push(rows, self.side.u0[rows] + e @ self.theta)
        return T, nu, actual * (self.r0[rows] + e @ self.p) - self.kappa * sets.costs(e)

    def _at(self, rows: Indices, u: Vector, a: Vector) -> Matrix:
        return self._multiplier(self.sets.subset(rows), u - self.side.u0[rows], a)[1]

    def _multiplier(self, sets: ChangeArrays, aim: Vector, a: Vector) -> tuple[Vector, Matrix]:
        """The multiplier at which the best change has ``theta'e = aim``, and that change.

        What the changes reach falls as the multiplier rises; between two of them lies a mixture that hits the aim, and
        is as good as they are where the multiplier is right.
        """
        if self.length == 0:
            return np.zeros(len(aim)), sets.gain(a[:, None] * self.p, self.kappa).e
        start = (np.abs(a) * float(np.linalg.norm(self.p)) + self.kappa) / self.length + 1e-12
        lower, upper = -start, start
        e_low, e_high = self._reached(sets, lower, a), self._reached(sets, upper, a)
        for _ in range(WIDENINGS):
            short, over = e_low @ self.theta < aim, e_high @ self.theta > aim
            if not (short.any() or over.any()):
                break
            lower, upper = np.where(short, 4 * lower, lower), np.where(over, 4 * upper, upper)
            e_low, e_high = self._reached(sets, lower, a), self._reached(sets, upper, a)
        return self._between_multipliers(sets, aim, a, (lower, upper), (e_low, e_high))

    def _between_multipliers(
        self, sets: ChangeArrays, aim: Vector, a: Vector, ends: tuple[Vector, Vector], e: tuple[Matrix, Matrix]
    ) -> tuple[Vector, Matrix]:
        """The least point of the convex function ``nu aim + gain(a p - nu theta)`` between two multipliers.

        Where it is piecewise linear, the tangents of both ends meet in it soon; where it is smooth, false position on
        its slope does; they take turns.
        """
        (low, high), (e_low, e_high) = ends, e
        phi_low, phi_high = (self._dual_value(sets, nu, aim, a, e) for nu, e in ((low, e_low), (high, e_high)))
        w_low, w_high = e_low @ self.theta - aim, e_high @ self.theta - aim
        f_low, f_high = w_low, w_high
        for k in range(HALVINGS):
            fall = f_low - f_high
            meet = np.clip((phi_low - phi_high + f_low * low - f_high * high) / np.maximum(fall, 1e-300), low, high)
            left = np.minimum(phi_low, phi_high) - (phi_low - f_low * (meet - low))
            if (left <= CLOSE * (np.abs(phi_low) + np.abs(phi_high) + 1e-3)).all() or self.stop():
                break
            share = np.clip(w_low / np.maximum(w_low - w_high, 1e-300), 1e-3, 1 - 1e-3)
            nu = (meet, low + share * (high - low), (low + high) / 2)[k % 3]
            middle = self._reached(sets, nu, a)
            f, phi = middle @ self.theta - aim, self._dual_value(sets, nu, aim, a, middle)
            rises = f >= 0
            w_low, w_high = np.where(rises, f, w_low / 2), np.where(rises, w_high / 2, f)
            low, high = np.where(rises, nu, low), np.where(rises, high, nu)
            phi_low, phi_high = np.where(rises, phi, phi_low), np.where(rises, phi_high, phi)
            f_low, f_high = np.where(rises, f, f_low), np.where(rises, f_high, f)
            e_low, e_high = (
                np.where(rises[:, None], middle, e_low),
                np.where(rises[:, None], e_high, middle),
            )
        share = np.clip(f_low / np.maximum(f_low - f_high, 1e-300), 0.0, 1.0)
        return np.where(phi_low <= phi_high, low, high), e_low + share[:, None] * (e_high - e_low)

    def _dual_value(self, sets: ChangeArrays, nu: Vector, aim: Vector, a: Vector, e: Matrix) -> Vector:
        slope = a[:, None] * self.p - nu[:, None] * self.theta
        return np.asarray(nu * aim + (slope * e).sum(axis=1) - self.kappa * sets.costs(e))

    def _reached(self, sets: ChangeArrays, nu: Vector, a: Vector) -> Matrix:
        return sets.gain(a[:, None] * self.p - nu[:, None] * self.theta, self.kappa).e


class Lines(NamedTuple):
    """Lines over ``G`` at one end of each cell: their values there and their slopes, ``(cells,)`` each."""

    T: Vector
    nu: Vector

    def take(self, keep: Flags) -> Lines:
        return Lines(self.T[keep], self.nu[keep])


@dataclass(frozen=True, eq=False)
class Cells:
    """Intervals ``[u1, u2]`` of members ``rows``, all ``(cells,)``, with bounds, middles and lines at both ends."""

    rows: Indices
    u1: Vector
    u2: Vector
    constant: Vector | None
    bound: Vector
    middle: Vector
    left: Lines
    right: Lines

    def take(self, keep: Flags) -> Cells:
        return Cells(
            self.rows[keep],
            self.u1[keep],
            self.u2[keep],
            None if self.constant is None else self.constant[keep],
            self.bound[keep],
            self.middle[keep],
            self.left.take(keep),
            self.right.take(keep),
        )


def _enter(
    rows: Indices, gains: Vector, where: tuple[Vector, Vector], worth: Vector, best: tuple[Vector, Vector]
) -> None:
    """Note what points of members ``rows`` gain, and where they lie, if it is more than their members' worth so far."""
    top = np.full(len(worth), NEVER)
    np.maximum.at(top, rows, gains)
    here = (gains == top[rows]) & (gains > worth[rows])
    who = rows[here]
    worth[who] = gains[here]
    for values, kept in zip(where, best, strict=True):
        kept[who] = values[here]


def _halves(rows: Indices, low: Vector, middle: Vector, high: Vector) -> tuple[Indices, Vector, Vector]:
    """Members and ends of the intervals left and right of the middle; a point is one interval."""
    at = np.clip(middle, low, high)
    first, second = (at > low) | (low == high), high > at
    ends = [np.concatenate([a[first], b[second]]) for a, b in ((low, at), (at, high))]
    return np.concatenate([rows[first], rows[second]]), ends[0], ends[1]


def _below_both(h: Vector, left: Lines, right: Lines) -> Vector:
    """The largest value on ``[0, h]`` of the lower one of ``T1 + nu1 x`` and ``T2 + nu2 (x - h)``."""
    T1, nu1, T2, nu2 = *left, *right
    ends = np.maximum(np.minimum(T1, T2 - nu2 * h), np.minimum(T1 + nu1 * h, T2))
    apart = nu1 - nu2
    cross = np.clip((T2 - nu2 * h - T1) / np.where(apart > 0, apart, 1.0), 0.0, h)
    between = np.minimum(T1 + nu1 * cross, T2 + nu2 * (cross - h))
    return np.where(apart > 0, np.maximum(ends, between), ends)


def _cost_of_length(cost: CostKind, length: Vector) -> Vector:
    match cost:
        case CostKind.COUNT:
            return np.zeros(len(length))
        case CostKind.SQL2:
            return length**2
        case _:
            return length
