"""Moves of an instance made from an estimator, taken back to the original table.

Letters of :mod:`oar_opt.estimators.original_units`: a moved ``z`` is ``x = m + s z``; of a one-hot group that column
is 1 whose category the cell takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from oar_opt.estimators.frozen import FrozenTable
from oar_opt.rules import ROUNDING


class Moved(Protocol):
    """What one member does: :class:`oar_opt.problem.Move`, or an entry of a solution's moves."""

    @property
    def record(self) -> int: ...

    @property
    def x(self) -> tuple[float, ...]: ...


def table_after(estimator: Any, X: Any, moves: Iterable[Moved]) -> Any:
    """``X`` after moves of :func:`problem_from_estimator`'s problem, in original units: a changed copy of ``X``.

    Labels and weights are the moves' own. ``estimator`` and ``X`` are those that the problem was made from.
    """
    frozen = FrozenTable.of(estimator, X)
    cells: dict[tuple[int, int], Any] = {}
    for move in moves:
        for j, column in enumerate(frozen.columns):
            z = float(move.x[j])
            if z == frozen.Z[move.record, j]:
                continue
            u = column.units.original(z)
            u = float(round(u)) if abs(u - round(u)) <= ROUNDING * max(1.0, abs(u)) else u
            if column.indicator is None:
                cells[move.record, column.source] = u
            elif u > 0.5:
                cells[move.record, column.source] = column.indicator.category
            else:
                # It may be that no column of the group rises, where the encoder leaves one out.
                for category in column.indicator.left_out:
                    cells.setdefault((move.record, column.source), category)
    return frozen.table.changed(cells)
