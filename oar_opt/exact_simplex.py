"""The dual simplex method in exact arithmetic, for linear programs whose variables are all boxed.

    minimise  sum_i c_i g_i    subject to    sum_i g_i x_i = v,    l <= (g, v) <= u,

with ``n`` variables ``g``, ``p`` variables ``v``, every bound finite and ``g = v = 0`` within them. All numbers are
the given floating-point numbers, taken as the rationals that they are, so the optimum and its dual solution are exact.

A basis is a choice of ``p`` of the ``n + p`` variables whose columns ``K`` (``x_i`` for ``g_i``, ``-e_j`` for ``v_j``)
are independent; with the dual solution ``pi``, ``K_B pi = c_B``, the reduced cost of a variable is ``d = c - K pi``
(``pi_j`` for ``v_j``). As all variables are boxed, any basis becomes dual feasible when the others go to the bound that
suits the sign of their ``d``; from there dual pivots with Bland's rule (the first violated variable leaves, the first
of the best ratios enters) end at an optimum. Where a good basis is known beforehand, no or few pivots remain, each a
handful of exact linear solves with ``p x p`` matrices.

Reference: R. G. Bland, "New Finite Pivoting Rules for the Simplex Method", 1977; W. Cook, T. Koch, D. Steffy, K.
Wolter, "A hybrid branch-and-bound approach for exact rational mixed-integer programming", 2013 (exact bases from
floating-point ones).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oar_opt.errors import SolverError
from oar_opt.problem import Matrix

PIVOTS = 100_000

Number = Any
"""A ``flint.fmpq``."""


@dataclass(frozen=True)
class ExactOptimum:
    """Optimal values of ``g (n,)`` and ``v (p,)``, the dual solution ``pi (p,)``, and how many pivots it took."""

    g: list[Number]
    v: list[Number]
    pi: list[Number]
    pivots: int


def exact(value: float) -> Number:
    """A floating-point number as a rational."""
    from flint import fmpq

    return fmpq(*float(value).as_integer_ratio())


def nearest(value: Number) -> float:
    """The floating-point number nearest to a rational."""
    return float(int(value.p) / int(value.q))


def solve_exactly(
    X: Matrix, c: Sequence[Number], low: Sequence[Number], high: Sequence[Number], basis: Sequence[int]
) -> ExactOptimum:
    """The optimum.

    Parameters
    ----------
    X : the rows ``x_i``, ``(n, p)``.
    c : costs of ``g``, ``(n,)``.
    low, high : bounds of ``g``, then of ``v``, ``(n + p,)``.
    basis : variables to begin with, ``g`` before ``v``, ``(p,)``; where they are dependent, all ``v`` instead.
    """
    return _Simplex(X, c, low, high, basis).run()


class _Simplex:
    """Variables are numbered ``g`` first, then ``v``."""

    def __init__(
        self, X: Matrix, c: Sequence[Number], low: Sequence[Number], high: Sequence[Number], basis: Sequence[int]
    ) -> None:
        from flint import fmpq, fmpq_mat

        self.n, self.p = X.shape
        self.zero = fmpq(0)
        self.rows = [[exact(value) for value in row] for row in X.tolist()]
        self.X: Any = fmpq_mat(self.rows) if self.n else None
        self.Xt: Any = self.X.transpose() if self.X is not None else None
        self.c, self.low, self.high = list(c), list(low), list(high)
        self.basis = list(basis)
        if self._matrix().rank() < self.p:
            self.basis = list(range(self.n, self.n + self.p))
        self.at_high = [False] * (self.n + self.p)

    def run(self) -> ExactOptimum:
        pi = self._duals()
        for k, d in enumerate(self._reduced(pi)):
            self.at_high[k] = bool(d < 0)
        for pivots in range(PIVOTS):
            values = self._values()
            leaving = self._first_violated(values)
            if leaving is None:
                return ExactOptimum(values[: self.n], values[self.n :], pi, pivots)
            self._pivot(leaving, values[leaving] < self.low[leaving], self._reduced(pi))
            pi = self._duals()
        raise SolverError(f"the exact simplex method does not end within {PIVOTS} pivots")

    def _column(self, k: int) -> list[Number]:
        if k < self.n:
            return self.rows[k]
        column = [self.zero] * self.p
        column[k - self.n] = self.zero - 1
        return column

    def _matrix(self) -> Any:
        """``K_B``: the basic variables' columns as rows."""
        from flint import fmpq_mat

        return fmpq_mat([self._column(k) for k in self.basis])

    def _duals(self) -> list[Number]:
        costs = [self.c[k] if k < self.n else self.zero for k in self.basis]
        return _entries(self._matrix().solve(_as_column(costs)))

    def _along(self, z: list[Number]) -> list[Number]:
        """``K z`` for all variables."""
        products = _entries(self.X * _as_column(z)) if self.X is not None else []
        return [*products, *(-value for value in z)]

    def _reduced(self, pi: list[Number]) -> list[Number]:
        costs = [*self.c, *([self.zero] * self.p)]
        reduced = [cost - product for cost, product in zip(costs, self._along(pi), strict=True)]
        for k in self.basis:
            reduced[k] = self.zero
        return reduced

    def _values(self) -> list[Number]:
        """All variables: the others at their bounds, the basic ones such that ``sum_i g_i x_i = v``."""
        values = [high if at else low for at, low, high in zip(self.at_high, self.low, self.high, strict=True)]
        for k in self.basis:
            values[k] = self.zero
        g, v = values[: self.n], values[self.n :]
        sums = _entries(self.Xt * _as_column(g)) if self.Xt is not None else [self.zero] * self.p
        rest = [own - total for own, total in zip(v, sums, strict=True)]
        for k, value in zip(self.basis, _entries(self._matrix().transpose().solve(_as_column(rest))), strict=True):
            values[k] = value
        return values

    def _first_violated(self, values: list[Number]) -> int | None:
        return next((k for k in sorted(self.basis) if not self.low[k] <= values[k] <= self.high[k]), None)

    def _pivot(self, leaving: int, too_low: bool, reduced: list[Number]) -> None:
        place = self.basis.index(leaving)
        unit = [self.zero] * self.p
        unit[place] = self.zero + 1
        alpha = self._along(_entries(self._matrix().solve(_as_column(unit))))
        basic, best, entering = set(self.basis), None, None
        for k, a in enumerate(alpha):
            # The leaving variable changes by -a times the change of k, which can only move away from its bound.
            if k in basic or self.low[k] == self.high[k] or a == 0 or (a < 0) != (too_low != self.at_high[k]):
                continue
            ratio = abs(reduced[k] / a)
            if best is None or ratio < best:
                best, entering = ratio, k
        assert entering is not None, "g = v = 0 is feasible"
        self.basis[place] = entering
        self.at_high[leaving] = not too_low


def _as_column(values: Sequence[Number]) -> Any:
    from flint import fmpq_mat

    return fmpq_mat([[value] for value in values])


def _entries(column: Any) -> list[Number]:
    return list(column.entries())
