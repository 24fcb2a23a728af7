"""Re-training of learners that are linear programs: an l1 norm and a loss with one kink, solved in exact arithmetic.

Letters of :mod:`oar_opt.risk`. The loss has one kink ``t_i``, where its pull jumps from ``l_i`` to ``u_i`` (both times
``a_i``), and is linear on either side, so ``(a_i l)*(g) = t_i g - a_i l(t_i)`` on ``[l_i, u_i]``. By Fenchel duality
the least objective is the largest value of

    sum_i g_i (xhat_i'theta0 - t_i) + constant    subject to    l_i <= g_i <= u_i,    |v_j| <= lam rho_j,
                                                                v = sum_i g_i xhat_i

(``v_j = 0`` for a free intercept), a linear program with as many rows as parameters whose dual solution is ``theta -
theta0``. HiGHS solves it in coordinates that suit the records; from its solution starts :mod:`oar_opt.exact_simplex`,
which takes the records as the rational numbers that they are. So ``theta`` is an exact optimum, rounded, and what is
stated as its error is a bound on that rounding and nothing else.

**All optima.** With any optimal ``g``, ``theta`` is optimal if and only if every term of the objective meets its
conjugate at ``g`` (complementary slackness):

    f_i = t_i where l_i < g_i < u_i,    f_i <= t_i where g_i = l_i,     f_i >= t_i where g_i = u_i,
    theta_j = theta0_j where |v_j| < lam rho_j,    (theta_j - theta0_j) v_j <= 0 where |v_j| = lam rho_j.

Whether a number is at its bound is decided here up to :data:`EQUAL` of its range, so that records tie whose numbers
were meant to tie (one tenth three times, and three tenths). The set is then exactly that of a learner whose slopes
``l_i``, ``u_i`` and factors ``rho_j`` are smaller by that share at most. If the equations among these rows leave no
direction, the optimum is unique; so it is where, in each direction that they leave, the set is narrower than
:data:`oar_opt.training.TIE` times the size of the targets, the accuracy to which other learners' ties are told as well.

Reference: Fenchel and linear-programming duality as in R. T. Rockafellar, "Convex Analysis", 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linprog

from oar_opt.contracts import Fit
from oar_opt.exact_simplex import ExactOptimum, Number, exact, nearest, solve_exactly
from oar_opt.optima import FEASIBILITY, Optima
from oar_opt.parameters import LinearParameters
from oar_opt.problem import Flags, Indices, Intercept, Matrix, Records, Vector
from oar_opt.risk import Jump, RegularizedRisk
from oar_opt.training import TIE

EQUAL = 1e-10
INDEPENDENT = 1e-9


def train_linear_program(risk: RegularizedRisk, records: Records) -> Fit:
    """The learner's exact optimum, rounded, and the set of all its optima where there are several."""
    used = records.s > 0
    task = _Task(risk, risk.extend(records.X[used]), records.y[used], risk.factor * records.s[used])
    found = task.solve()
    theta = [origin + step for origin, step in zip(task.origin, found.pi, strict=True)]
    rounded = np.array([nearest(value) for value in theta])
    w, b = risk.split(rounded)
    optima = task.optima(found, rounded)
    return Fit(LinearParameters.of(w, b), _rounding(theta, rounded), "HiGHS, exact simplex method", optima)


def _rounding(theta: Sequence[Number], rounded: Vector) -> float:
    """A bound on the Euclidean distance, a little above it."""
    squares = [nearest((value - exact(near)) ** 2) for value, near in zip(theta, rounded, strict=True)]
    return float(np.sqrt(np.sum(squares))) * (1 + 1e-9)


@dataclass(frozen=True)
class _Task:
    """Rows ``xhat (n, p)``, targets ``y (n,)`` and effective weights ``a (n,)``, all positive, in the instance's own
    coordinates."""

    risk: RegularizedRisk
    xhat: Matrix
    y: Vector
    a: Vector

    @cached_property
    def jumps(self) -> list[Jump]:
        found = [[piece for piece in self.risk.loss.pieces(y) or () if isinstance(piece, Jump)] for y in self.y]
        assert all(len(kinks) == 1 for kinks in found), "these losses have one kink"
        return [kinks[0] for kinks in found]

    @cached_property
    def kinks(self) -> Vector:
        return np.array([jump.f for jump in self.jumps])

    @cached_property
    def low(self) -> Vector:
        """Of ``(g, v)``."""
        return np.append(self.a * np.array([jump.g_low for jump in self.jumps]), -self.risk.lam * self.risk.penalty)

    @cached_property
    def high(self) -> Vector:
        return np.append(self.a * np.array([jump.g_high for jump in self.jumps]), self.risk.lam * self.risk.penalty)

    @cached_property
    def origin(self) -> list[Number]:
        return [exact(value) for value in self.risk.theta0]

    @cached_property
    def scaled(self) -> tuple[Matrix, Matrix]:
        """``T`` and ``xhat T``: coordinates whose unit changes decision values by about the size of the targets."""
        if not len(self.y):
            return np.eye(self.risk.p), self.xhat
        features = self.xhat if self.risk.intercept is Intercept.NONE else self.xhat[:, :-1]
        basis = self.risk.whitened(features, max(1.0, float(np.abs(self.y).max())), 1.0).basis
        assert basis is not None
        return basis, self.xhat @ basis

    def solve(self) -> ExactOptimum:
        costs = []
        for x, kink in zip(self.xhat.tolist(), self.kinks.tolist(), strict=True):
            at_origin = sum((exact(value) * o for value, o in zip(x, self.origin, strict=True)), exact(0.0))
            costs.append(exact(kink) - at_origin)
        low, high = ([exact(value) for value in ends.tolist()] for ends in (self.low, self.high))
        return solve_exactly(self.xhat, costs, low, high, self._basis())

    def _basis(self) -> list[int]:
        """The variables between their bounds in HiGHS's solution, made up to a basis by those that could be so."""
        n, p = self.xhat.shape
        if not n:
            return list(range(p))
        T, X = self.scaled
        lengths = np.abs(np.diag(T)) * self.risk.lam * self.risk.penalty
        costs = self.kinks - self.xhat @ np.array(self.risk.theta0)
        held = lengths > 0
        found = linprog(
            costs,
            A_ub=np.vstack([X.T[held], -X.T[held]]),
            b_ub=np.append(lengths[held], lengths[held]),
            A_eq=X.T[~held] if (~held).any() else None,
            b_eq=np.zeros(int((~held).sum())) if (~held).any() else None,
            bounds=np.stack([self.low[:n], self.high[:n]], axis=1),
            method="highs",
            options={"primal_feasibility_tolerance": FEASIBILITY, "dual_feasibility_tolerance": FEASIBILITY},
        )
        if found.x is None:
            return list(range(n, n + p))
        pi = np.zeros(p)
        pi[held] = found.ineqlin.marginals[: int(held.sum())] - found.ineqlin.marginals[int(held.sum()) :]
        if (~held).any():
            pi[~held] = found.eqlin.marginals
        width = np.append(self.high[:n] - self.low[:n], 2 * lengths)
        values = np.append(found.x, X.T @ found.x)
        from_low = values - np.append(self.low[:n], -lengths)
        inside = np.minimum(from_low, width - from_low) / np.where(width > 0, width, 1.0)
        reduced = np.abs(np.append(costs - X @ pi, pi))
        # A free intercept's own row, which is fixed at 0, comes last: with it, theta need not be a vertex.
        score = np.where(width > 0, np.where(inside > FEASIBILITY, -1 - inside, reduced), np.inf)
        order: Indices = np.argsort(score, kind="stable")
        return _independent(np.vstack([X, -np.eye(p)]), order)

    # -- all optima ---

    def optima(self, found: ExactOptimum, theta: Vector) -> Optima | None:
        """The set of all optima around one of them; None where that is the only one."""
        T, X = self.scaled
        values = np.array([nearest(value) for value in (*found.g, *found.v)])
        share = EQUAL * (self.high - self.low)
        at_low, at_high = values <= self.low + share, values >= self.high - share
        free = self.high == self.low
        # Rows of T theta': xhat_i for records, e_j (of the instance's coordinates) for parameters.
        rows = np.vstack([X, T])
        excess = np.append(self.kinks - self.xhat @ theta, np.array(self.risk.theta0) - theta)
        # For records f <= kink at the low end; for parameters theta_j >= theta0_j there.
        sign = np.append(np.ones(len(X)), -np.ones(self.risk.p))
        N = _null_space(rows[~at_low & ~at_high & ~free])
        if not N.shape[1]:
            return None
        upper, lower = (at_low | ~at_high) & ~free, (at_high | ~at_low) & ~free
        sides = np.vstack([sign[upper, None] * rows[upper], -sign[lower, None] * rows[lower]])
        limits = np.append(sign[upper] * excess[upper], -sign[lower] * excess[lower])
        return self._set(theta, T @ N, *_normalised(sides @ N, limits, np.linalg.norm(sides, axis=1)))

    def _set(self, theta: Vector, directions: Matrix, rows: Matrix, limits: Vector) -> Optima | None:
        w, b = self.risk.split(theta)
        if self.risk.intercept is Intercept.NONE:
            directions = np.vstack([directions, np.zeros(directions.shape[1])])
        found = Optima(np.append(w, b), directions, rows, limits)
        ranges = [found.range(unit) for unit in np.eye(found.dimension)]
        return found if max(high - low for low, high in ranges) > TIE else None


def _independent(columns: Matrix, order: Indices) -> list[int]:
    """The first rows in an order that are independent, as many as there are columns."""
    rest, chosen = columns / np.linalg.norm(columns, axis=1, keepdims=True).clip(1e-300), []
    for k in order:
        length = float(np.linalg.norm(rest[k]))
        if length > 1e-7:
            chosen.append(int(k))
            unit = rest[k] / length
            rest = rest - np.outer(rest @ unit, unit)
        if len(chosen) == columns.shape[1]:
            break
    return chosen


def _null_space(rows: Matrix) -> Matrix:
    """Orthonormal columns that all rows, taken at length 1, are orthogonal to."""
    p = rows.shape[1]
    if not len(rows):
        return np.eye(p)
    lengths = np.linalg.norm(rows, axis=1)
    kept = rows[lengths > 0] / lengths[lengths > 0, None]
    _, spread, axes = np.linalg.svd(np.vstack([kept, np.zeros((p, p))]), full_matrices=False)
    null: Matrix = axes[spread <= INDEPENDENT].T
    return null


def _normalised(rows: Matrix, limits: Vector, sizes: Vector) -> tuple[Matrix, Vector]:
    """Rows of length 1 with their limits; rows that are 0 but for rounding hold everywhere and are left out."""
    lengths = np.linalg.norm(rows, axis=1)
    kept: Flags = lengths > 1e-12 * sizes
    return rows[kept] / lengths[kept, None], np.maximum(limits[kept], 0.0) / lengths[kept]
