"""Where an optimum nearly is, in floating point: proposals that an enclosure proves or refuses.

Nothing rests on their accuracy. They come from the proximal method of multipliers. From parameters ``c`` and pulls
``g`` of one round, the next are those of

    min over theta of  1/2 (theta - theta0)' R_lam (theta - theta0) + hold/2 |theta - c|^2 + sum_i a_i l_i(f_i),

``l_i`` being the loss smoothed over a width ``e``: its derivative at ``f`` is the ``h`` with ``h`` in ``dl(y_i, f + e
(g_i - h))``. Of a polyline that makes a polyline without jumps: a jump at ``f0`` becomes a line of slope ``1 / e``.
Newton's method with an exact line search ends on each of these problems. Once every record is on its right piece so
does the method, whatever the width, and records at a kink then have pulls inside their jumps; a wide start needs few
steps, a narrow end few rounds. The logistic loss is smooth: Newton's method is all that it needs.

Reference: R. T. Rockafellar, "Augmented Lagrangians and Applications of the Proximal Point Algorithm in Convex
Programming", 1976; L. Qi, J. Sun, "A Nonsmooth Version of Newton's Method", 1993.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from flint import fmpq
from numpy.typing import NDArray

from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.polylines import Graph
from oar_opt.proof.rationals import Number, approximate, exact, exact_row

Vector = NDArray[np.float64]
Pulls = Callable[[Vector], tuple[Vector, Vector]]
"""The derivatives of all losses at decision values ``(m,)``, and the slopes of these."""

WIDTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Relative to the largest kink; the last one goes on."""
ROUNDS = 60
STILL = 1e-7
"""The change of pulls that ends the rounds."""
STEPS = 100
HALVINGS = 60
RISE, FALL = 0.1, 0.5
"""The slopes at which a line search ends, relative to the first one."""
FLAT = 1e-14
"""Steps that change decision values by less than that part of them are rounding."""
HOLD = 1e-4
"""Of the records' weight, times the width."""


@dataclass(frozen=True)
class Proposal:
    """Parameters ``theta (p,)``, and of every record the piece it is on and a pull that its graph takes, ``(m,)``."""

    theta: list[Number]
    pieces: list[int]
    pulls: list[Number]


def propose(risk: ExactRisk, graphs: Sequence[Graph]) -> Proposal:
    """A proposal for losses whose subgradients are polylines.

    Raises
    ------
    ArithmeticError : floating point does not hold the numbers.
    """
    if all(len(pieces) == 1 for pieces in graphs):
        # There is nothing to guess.
        return Proposal(risk.theta0, [0] * len(graphs), [fmpq(0)] * len(graphs))
    with _floating_point():
        task, lines = _Task(risk), _Lines(graphs)
        theta, pulls = task.theta0, np.zeros(len(graphs))
        for k in range(ROUNDS):
            width = WIDTHS[min(k, len(WIDTHS) - 1)]
            smoothed = _Smoothed(lines, width * lines.size, pulls)
            theta = _minimum(_Held(task, smoothed.pulls, theta, HOLD * width))
            found, _ = smoothed.pulls(task.X @ theta)
            change, pulls = np.abs(_finite(found) - pulls).max(), found
            if k >= len(WIDTHS) and change < STILL:
                break
        pieces = smoothed.pieces(task.X @ theta).tolist()
        feasible = [a * lines.cut(i, g) for i, (a, g) in enumerate(zip(risk.a, pulls.tolist(), strict=True))]
        return Proposal(task.in_units(theta), pieces, feasible)


def propose_logistic(risk: ExactRisk) -> list[Number]:
    """Parameters ``(p,)`` for the logistic loss.

    Raises
    ------
    ArithmeticError : floating point does not hold the numbers.
    """

    def pulls(f: Vector) -> tuple[Vector, Vector]:
        share = 1 / (1 + np.exp(y * f))
        return -y * share, share * (1 - share)

    with _floating_point():
        task, y = _Task(risk), _numbers(risk.y)
        return task.in_units(_minimum(_Held(task, pulls, task.theta0, 0.0)))


@contextmanager
def _floating_point() -> Iterator[None]:
    """Numbers that overflow are found where they would be used."""
    try:
        with np.errstate(all="ignore"):
            yield
    except (ValueError, np.linalg.LinAlgError) as error:
        raise ArithmeticError(f"floating point does not hold the numbers of an optimum ({error})") from error


def _numbers(values: Sequence[Number]) -> Vector:
    return _finite(np.array([approximate(value) for value in values]))


def _finite(found: Vector) -> Vector:
    if not np.isfinite(found).all():
        raise ValueError("not all are finite")
    return found


# -- Newton's method ---


class _Task:
    """The risk in floating point; features are divided by their largest sizes, so ``theta`` is multiplied by them."""

    def __init__(self, risk: ExactRisk) -> None:
        rows = np.array([_numbers(row) for row in risk.xhat]).reshape(-1, risk.p)
        sizes = np.abs(rows).max(axis=0, initial=0.0)
        self.sizes = np.where(sizes == 0, 1.0, sizes)
        self.X = rows / self.sizes
        self.a = _numbers(risk.a)
        self.penalty = _numbers(risk.penalty) / self.sizes**2
        self.theta0 = _numbers(risk.theta0) * self.sizes

    def in_units(self, theta: Vector) -> list[Number]:
        """Parameters of the features as they are."""
        return exact_row(_finite(theta / self.sizes).tolist())


@dataclass(frozen=True, eq=False)
class _Held:
    """A task with differentiable losses and a ``centre`` that holds ``theta`` back."""

    task: _Task
    pulls: Pulls
    centre: Vector
    hold: float

    def derivatives(self, theta: Vector) -> tuple[Vector, NDArray[np.float64]]:
        """Gradient ``(p,)`` and Hessian matrix ``(p, p)``."""
        task = self.task
        g, slopes = self.pulls(task.X @ theta)
        hessian = (task.X.T * (task.a * slopes)) @ task.X
        return self._smooth(theta) + (task.a * g) @ task.X, hessian + np.diag(task.penalty + self._weight)

    def length(self, theta: Vector, step: Vector) -> float:
        """How far to go along a Newton step: 1, or to near where the objective no longer falls if that is before."""
        start, along = self.task.X @ theta, self.task.X @ step

        def slope(t: float) -> float:
            pulls, _ = self.pulls(start + t * along)
            return float(step @ self._smooth(theta + t * step) + along @ (self.task.a * pulls))

        first = abs(slope(0.0))
        low, high, middle = 0.0, 2.0, 1.0
        for _ in range(HALVINGS):
            found = slope(middle)
            if found <= RISE * first and (found >= -FALL * first or high > 1):
                break
            low, high = (low, middle) if found > 0 else (middle, high)
            middle = (low + high) / 2
        return middle

    def _smooth(self, theta: Vector) -> Vector:
        """The gradient of all but the losses."""
        penalty: Vector = self.task.penalty * (theta - self.task.theta0)
        return penalty + self._weight * (theta - self.centre)

    @property
    def _weight(self) -> float:
        return self.hold * float(self.task.a.sum())


def _minimum(held: _Held) -> Vector:
    theta, X = held.centre, held.task.X
    for _ in range(STEPS):
        gradient, hessian = held.derivatives(theta)
        sizes = np.sqrt(np.where(hessian.diagonal() > 0, hessian.diagonal(), 1.0))
        scaled = _finite(hessian / np.outer(sizes, sizes))
        step = np.linalg.lstsq(scaled, -_finite(gradient / sizes), rcond=None)[0] / sizes
        is_rounding = np.abs(X @ step).max(initial=0.0) <= FLAT * (1 + np.abs(X @ theta).max(initial=0.0))
        if is_rounding or gradient @ step >= 0:
            break
        theta = theta + held.length(theta, step) * step
    return theta


# -- polylines in floating point ---


class _Lines:
    """All graphs: ``low, slope, offset, start (m, k)``, ``start`` being the pull where a piece begins; a graph with
    fewer pieces than another ends with pieces that begin at infinity."""

    def __init__(self, graphs: Sequence[Graph]) -> None:
        shape = len(graphs), max(map(len, graphs), default=0)
        self.graphs = graphs
        self.low, self.start = np.full(shape, np.inf), np.zeros(shape)
        self.slope, self.offset, self.jumps = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
        for i, pieces in enumerate(graphs):
            for k, piece in enumerate(pieces):
                self.low[i, k] = -np.inf if piece.low is None else approximate(piece.low)
                self.start[i, k] = 0.0 if piece.low is None else approximate(piece.pulls(piece.low)[0])
                self.slope[i, k], self.offset[i, k] = approximate(piece.slope), approximate(piece.offset)
                self.jumps[i, k] = piece.is_jump
        self.size = float(np.abs(self.low[np.isfinite(self.low)]).max(initial=0.0)) or 1.0

    def cut(self, i: int, pull: float) -> Number:
        """A pull that graph ``i`` takes, ``pull`` if it does."""
        first, last = self.graphs[i][0], self.graphs[i][-1]
        found = exact(pull)
        if first.slope == 0:
            found = max(found, first.offset)
        return min(found, last.offset) if last.slope == 0 else found


class _Smoothed:
    """All graphs, smoothed over a width around earlier pulls ``(m,)``."""

    def __init__(self, lines: _Lines, width: float, earlier: Vector) -> None:
        self._shift = width * earlier
        self._low = lines.low + width * lines.start
        flatter = 1 + width * lines.slope
        self._slope = np.where(lines.jumps, 1 / width, lines.slope / flatter)
        self._offset = np.where(lines.jumps, -lines.low / width, lines.offset / flatter)

    def pieces(self, f: Vector) -> NDArray[np.intp]:
        """The piece ``(m,)`` that each record is on."""
        begun: NDArray[np.intp] = (f + self._shift >= self._low.T).sum(axis=0)
        return begun - 1

    def pulls(self, f: Vector) -> tuple[Vector, Vector]:
        """See :data:`Pulls`."""
        at = np.arange(len(f)), self.pieces(f)
        return self._slope[at] * (f + self._shift) + self._offset[at], self._slope[at]
