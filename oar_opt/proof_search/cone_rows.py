"""Conic programs for Clarabel, put together block by block.

Reference: P. J. Goulart, Y. Chen, "Clarabel: An Interior-Point Solver for Conic Programs with Quadratic Objectives",
2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]
Term = tuple[Any, Any]
"""Columns ``(k,)`` and a matrix ``(rows, k)``; a vector stands for a diagonal matrix, a number for that times the
identity."""
ORDER = ("zero", "nonnegative", "second_order", "exponential", "semidefinite")


@dataclass
class Block:
    """``E x + e`` in one cone (or in several exponential ones), as entries ``(rows, columns, values)`` of ``E``."""

    cone: str
    offset: Floats
    entries: list[tuple[Columns, Columns, Floats]] = field(default_factory=list)
    place: int = 0

    def add(self, term: Term, rows: Columns, factor: float = 1.0) -> None:
        """Add a term to some rows, times a factor."""
        columns, matrix = np.asarray(term[0], dtype=np.int64), np.asarray(term[1], dtype=np.float64)
        if matrix.ndim == 2:
            r, k = np.nonzero(matrix)
            self.entries.append((rows[r], columns[k], factor * matrix[r, k]))
        else:
            self.entries.append((rows, columns, np.broadcast_to(factor * matrix, rows.shape)))


@dataclass(frozen=True)
class Solution:
    """Clarabel's values ``x`` and the multipliers ``z`` of all rows."""

    status: str
    x: Floats
    z: Floats

    def of(self, block: Block) -> Floats:
        """The multipliers of a block."""
        return self.z[block.place : block.place + len(block.offset)]


@dataclass
class ConeRows:
    """Minimise ``cost'x`` with ``E x + e`` in a cone for every block."""

    size: int = 0
    cost: dict[int, float] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def variables(self, count: int) -> Columns:
        """New variables, by their columns."""
        self.size += count
        return np.arange(self.size - count, self.size)

    def variable(self) -> int:
        """One new variable."""
        return int(self.variables(1)[0])

    def zero(self, offset: Sequence[float] | Floats, *terms: Term) -> Block:
        """``E x + e = 0``."""
        return self._rows("zero", offset, terms)

    def nonnegative(self, offset: Sequence[float] | Floats, *terms: Term) -> Block:
        """``E x + e >= 0``."""
        return self._rows("nonnegative", offset, terms)

    def squares(self, top: int, side: int | None, count: int, *terms: Term) -> Block:
        """``top side >= |E x|^2`` for two variables that are at least 0 (None: 1), ``E`` having ``count`` rows.

        This is ``|(2 E x, top - side)| <= top + side``.
        """
        block = Block("second_order", np.zeros(count + 2))
        ends = np.array([0, count + 1])
        block.entries.append((ends, np.array([top, top]), np.ones(2)))
        if side is None:
            block.offset[ends] = 1.0, -1.0
        else:
            block.entries.append((ends, np.array([side, side]), np.array([1.0, -1.0])))
        for term in terms:
            block.add(term, np.arange(1, count + 1), 2.0)
        self.blocks.append(block)
        return block

    def length(self, top: int, count: int, *terms: Term) -> Block:
        """``top >= |E x|`` for a variable, ``E`` having ``count`` rows."""
        block = Block("second_order", np.zeros(count + 1))
        block.entries.append((np.zeros(1, dtype=np.int64), np.array([top]), np.ones(1)))
        for term in terms:
            block.add(term, np.arange(1, count + 1))
        self.blocks.append(block)
        return block

    def moments(self, size: int) -> Columns:
        """The columns ``(size, size)`` of a new symmetric matrix of variables that is positive semidefinite.

        Clarabel takes the upper triangle column by column, with its inner entries times the root of 2.
        """
        matrix = np.zeros((size, size), dtype=np.int64)
        matrix[np.triu_indices(size)] = self.variables(size * (size + 1) // 2)
        matrix = np.triu(matrix) + np.triu(matrix, 1).T
        j, i = np.tril_indices(size)
        block = Block("semidefinite", np.zeros(len(i)))
        block.entries.append((np.arange(len(i)), matrix[i, j], np.where(i == j, 1.0, math.sqrt(2.0))))
        self.blocks.append(block)
        return matrix

    def exponentials(self, count: int, *triple: Sequence[Term], ones: Sequence[int] = ()) -> Block:
        """``count`` cones ``y exp(x / y) <= z`` for a triple ``(x, y, z)`` of sums of terms; ``ones`` says to which of
        them 1 is added."""
        block = Block("exponential", np.zeros(3 * count))
        for k, terms in enumerate(triple):
            for term in terms:
                block.add(term, 3 * np.arange(count) + k)
        for k in ones:
            block.offset[k::3] = 1.0
        self.blocks.append(block)
        return block

    def _rows(self, cone: str, offset: Sequence[float] | Floats, terms: Sequence[Term]) -> Block:
        block = Block(cone, np.array(offset, dtype=np.float64))
        for term in terms:
            block.add(term, np.arange(len(block.offset)))
        self.blocks.append(block)
        return block

    def solve(self) -> Solution:
        """Clarabel's answer, on one thread."""
        import clarabel
        from scipy.sparse import csc_matrix

        blocks = sorted(self.blocks, key=lambda block: ORDER.index(block.cone))
        cones: list[Any] = []
        place = 0
        for block in blocks:
            block.place, m = place, len(block.offset)
            place += m
            match block.cone:
                case "zero":
                    cones.append(clarabel.ZeroConeT(m))
                case "nonnegative":
                    cones.append(clarabel.NonnegativeConeT(m))
                case "second_order":
                    cones.append(clarabel.SecondOrderConeT(m))
                case "semidefinite":
                    cones.append(clarabel.PSDTriangleConeT(math.isqrt(2 * m)))
                case _:
                    cones += [clarabel.ExponentialConeT()] * (m // 3)
        entries = [(rows + block.place, columns, values) for block in blocks for rows, columns, values in block.entries]
        rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        matrix = csc_matrix((-values, (rows, columns)), shape=(place, self.size))
        q = np.zeros(self.size)
        q[list(self.cost)] = list(self.cost.values())
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.max_threads = 1
        offset = np.concatenate([block.offset for block in blocks])
        found = clarabel.DefaultSolver(csc_matrix((self.size, self.size)), q, matrix, offset, cones, settings).solve()
        return Solution(str(found.status), np.array(found.x), np.array(found.z))
