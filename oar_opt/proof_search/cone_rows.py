"""Conic programs for Clarabel, put together block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
ORDER = ("zero", "nonnegative", "second_order", "exponential")


@dataclass
class Block:
    """``E x + e`` in one cone, or several exponential ones."""

    cone: str
    entries: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]]
    offset: Floats
    place: int = 0


@dataclass
class ConeRows:
    """Minimise ``cost'x`` with ``E x + e`` in a cone for every block."""

    size: int = 0
    cost: dict[int, float] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def variables(self, count: int) -> npt.NDArray[np.int64]:
        """New variables, by their columns."""
        self.size += count
        return np.arange(self.size - count, self.size)

    def add(self, cone: str, offset: Sequence[float] | Floats, *terms: tuple[Any, Any]) -> Block:
        """A block from ``(columns (k,), matrix (rows, k))`` pairs; a vector is a diagonal matrix, a number that times
        the identity."""
        e = np.asarray(offset, float)
        entries = []
        for columns, given in terms:
            matrix = np.asarray(given, float)
            if matrix.ndim == 2:
                r, k = np.nonzero(matrix)
                entries.append((r, np.asarray(columns)[k], matrix[r, k]))
            else:
                entries.append((np.arange(len(e)), np.asarray(columns), np.broadcast_to(matrix, e.shape)))
        block = Block(cone, entries, e)
        self.blocks.append(block)
        return block

    def square(
        self,
        top: tuple[Mapping[int, float], float],
        side: tuple[Mapping[int, float], float],
        *terms: tuple[Any, Any],
        offset: Any,
    ) -> Block:
        """``top side >= |E x + e|^2`` for two affine forms ``top, side >= 0``, as ``|(2 (E x + e), top - side)| <= top
        + side``."""
        e = np.asarray(offset, float)
        k = len(e)
        block = Block("second_order", [], np.concatenate([[top[1] + side[1]], 2 * e, [top[1] - side[1]]]))
        for (form, _), sign in ((top, 1.0), (side, -1.0)):
            for column, value in form.items():
                block.entries.append((np.array([0, k + 1]), np.array([column] * 2), np.array([value, sign * value])))
        for columns, given in terms:
            matrix = np.asarray(given, float)
            if matrix.ndim == 2:
                r, c = np.nonzero(matrix)
                block.entries.append((r + 1, np.asarray(columns)[c], 2 * matrix[r, c]))
            else:
                block.entries.append((np.arange(k) + 1, np.asarray(columns), 2 * np.broadcast_to(matrix, e.shape)))
        self.blocks.append(block)
        return block

    def solve(self, **settings: Any) -> Solution:
        """Clarabel's answer."""
        import clarabel
        from scipy.sparse import csc_matrix

        blocks = sorted(self.blocks, key=lambda block: ORDER.index(block.cone))
        cones, place = [], 0
        for block in blocks:
            block.place = place
            m = len(block.offset)
            place += m
            match block.cone:
                case "zero":
                    cones.append(clarabel.ZeroConeT(m))
                case "nonnegative":
                    cones.append(clarabel.NonnegativeConeT(m))
                case "second_order":
                    cones.append(clarabel.SecondOrderConeT(m))
                case _:
                    cones += [clarabel.ExponentialConeT()] * (m // 3)
        r = np.concatenate([rows + block.place for block in blocks for rows, _, _ in block.entries])
        c = np.concatenate([columns for block in blocks for _, columns, _ in block.entries])
        v = np.concatenate([values for block in blocks for _, _, values in block.entries])
        A = csc_matrix((-v, (r, c)), shape=(place, self.size))
        q = np.zeros(self.size)
        for column, value in self.cost.items():
            q[column] = value
        options = clarabel.DefaultSettings()
        options.verbose = False
        options.max_threads = 1
        for name, value in settings.items():
            setattr(options, name, value)
        e = np.concatenate([block.offset for block in blocks])
        found = clarabel.DefaultSolver(csc_matrix((self.size, self.size)), q, A, e, cones, options).solve()
        return Solution(str(found.status), np.array(found.x), np.array(found.z), found.iterations)


@dataclass(frozen=True)
class Solution:
    """Clarabel's status, values ``x`` and multipliers ``z`` of the rows."""

    status: str
    x: Floats
    z: Floats
    iterations: int

    def of(self, block: Block) -> Floats:
        """The multipliers of a block."""
        return self.z[block.place : block.place + len(block.offset)]
