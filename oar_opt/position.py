"""Which of several optima the learner takes: the best or the worst one for the collective.

All margins are linear on the set of optima (:mod:`oar_opt.optima`). Subjects with a demand are the guards, and the
queries where the goal is a cost; a demand is met where the margin reaches what is needed.

- **optimistic**: the optimum with the best value of the goal among those that meet every demand; where none does, the
  one that falls short of the demands the least.
- **pessimistic**: an optimum that falls short of a demand the most, where any does: then the moves are no answer.
  Otherwise the one with the worst value of the goal: the smallest margin of any query, or the fewest queries helped.

The largest smallest margin is a linear program. The most queries that one optimum can help (or fail to help) is a small
mixed-integer program whose big-Ms are the ranges of the margins on the set. As its solver's tolerances are coarse, each
set of queries that it proposes is checked by a linear program, and cut off where it is not possible after all.

In a linear program, to reach a needed margin means to exceed it by :data:`STRICT`; margins that are constant on the set
are compared as they stand. Of several optima that are equally good the one closest to the set's own origin is taken, so
that the same records give the same parameters everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from oar_opt.errors import SolverError
from oar_opt.optima import Optima, largest
from oar_opt.parameters import LinearParameters
from oar_opt.problem import Flags, GoalKind, Matrix, Position, Query, RecourseProblem, Vector

STRICT = 1e-9
CONSTANT = 1e-11
SAME = 1e-6
"""Two points of the set this close are one to the accuracy of the linear programs."""


def take_position(problem: RecourseProblem, optima: Optima) -> LinearParameters:
    """The optimum that the instance's position names; under ``unique`` the optimistic one stands for the tie."""
    choice = _Choice(problem, optima)
    parameters = optima.at(choice.worst() if problem.position is Position.PESSIMISTIC else choice.best())
    return LinearParameters.of(parameters[:-1], float(parameters[-1]))


@dataclass(frozen=True)
class _Choice:
    """Subjects are numbered: first the queries, then the guards."""

    problem: RecourseProblem
    optima: Optima

    @property
    def subjects(self) -> tuple[Query, ...]:
        return (*self.problem.queries, *self.problem.guards)

    @property
    def queries(self) -> list[int]:
        return list(range(len(self.problem.queries)))

    @property
    def guards(self) -> list[int]:
        return list(range(len(self.problem.queries), len(self.subjects)))

    @cached_property
    def demands(self) -> list[int]:
        is_cost = self.problem.goal in (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS)
        return [*(self.queries if is_cost else []), *self.guards]

    @cached_property
    def needed(self) -> Vector:
        return np.array([self.problem.needed_margin(subject) for subject in self.subjects])

    @cached_property
    def base(self) -> Vector:
        """The margins at ``t = 0``."""
        middle = LinearParameters.of(self.optima.point[:-1], float(self.optima.point[-1]))
        return np.array([middle.margin(subject) for subject in self.subjects])

    @cached_property
    def slopes(self) -> Matrix:
        """The margins' gradients in ``t``; exactly 0 where they are so but for rounding."""
        x = np.array([[*subject.x, 1.0] for subject in self.subjects])
        slopes: Matrix = np.array([[s.target] for s in self.subjects]) * (x @ self.optima.directions)
        sizes = np.abs(x) @ np.abs(self.optima.directions)
        slopes[np.abs(slopes) <= CONSTANT * sizes] = 0.0
        return slopes

    @cached_property
    def ranges(self) -> Matrix:
        """The least and the largest margin of every subject, ``(Q, 2)``."""
        return np.array([self.optima.range(slope) for slope in self.slopes]) + self.base[:, None]

    # -- the two positions ---

    def best(self) -> Vector:
        goal, guarded = self.problem.goal, self._reaching(1, self.guards)
        found: Vector | None = None
        if goal is GoalKind.MAX_MARGIN:
            found = self._extreme(1, self.queries, np.zeros(len(self.base)), guarded)
        elif goal is GoalKind.MAX_HELPED:
            found = self._most(1, guarded)
        if found is None:
            found = self._extreme(1, self.demands, self.needed, [])
        assert found is not None, "without rows to hold there is always an optimum"
        return found

    def worst(self) -> Vector:
        lowest = self.ranges[:, 0]
        missed = [i for i in self.demands if lowest[i] < self.needed[i]]
        if missed:
            worst = min(missed, key=lambda i: lowest[i] - self.needed[i])
        elif self.problem.goal is GoalKind.MAX_HELPED:
            found = self._most(-1, [])
            assert found is not None, "without rows to hold there is always an optimum"
            return found
        else:
            offset = 0.0 if self.problem.goal is GoalKind.MAX_MARGIN else self.needed
            worst = min(self.queries, key=lambda i: (lowest - offset)[i])
        point = self._extreme(-1, [worst], self.needed, [])
        assert point is not None, "without rows to hold there is always an optimum"
        return point

    # -- linear programs in t, where side 1 looks for large margins and -1 for small ones ---

    def _reaching(self, side: int, subjects: Sequence[int]) -> list[tuple[Vector, float]] | None:
        """Rows ``(row, limit)`` for ``side (m_i - needed_i) >= STRICT``; None where a constant margin says no."""
        rows = []
        for i in subjects:
            if self.slopes[i].any():
                limit = side * (self.base[i] - self.needed[i]) - STRICT * max(1.0, abs(self.needed[i]))
                rows.append((-side * self.slopes[i], float(limit)))
            elif bool(self.base[i] < self.needed[i]) == (side == 1):
                return None
        return rows

    def _extreme(
        self, side: int, subjects: Sequence[int], offsets: Vector, held: list[tuple[Vector, float]] | None
    ) -> Vector | None:
        """Where the least of ``side (m_i - offset_i)`` is largest, rows held; None where they cannot be."""
        if held is None:
            return None
        k, base = self.optima.dimension, side * (self.base - offsets)
        # Variables (t, least): least <= base_i + side slope_i't.
        rows = [np.append(row, 0.0) for row in self.optima.rows] + [np.append(row, 0.0) for row, _ in held]
        rows += [np.append(-side * self.slopes[i], 1.0) for i in subjects]
        limits = [*self.optima.limits, *(limit for _, limit in held), *(base[i] for i in subjects)]
        if not subjects:
            rows, limits = [*rows, np.append(np.zeros(k), 1.0)], [*limits, 0.0]
        top = largest(np.append(np.zeros(k), 1.0), np.array(rows), np.array(limits))
        if top is None:
            return None
        least = float(top[-1]) - STRICT * max(1.0, abs(float(top[-1])))
        own = [(-side * self.slopes[i], float(base[i]) - least) for i in subjects if self.slopes[i].any()]
        return self._closest(top[:-1], [*held, *own])

    def _closest(self, point: Vector, held: list[tuple[Vector, float]]) -> Vector:
        """The optimum closest to the origin that holds the rows, as ``point`` does; ``point`` where they are one."""
        rows = np.array([row for row, _ in held]).reshape(len(held), self.optima.dimension)
        found = self.optima.closest(np.zeros(self.optima.dimension), rows, np.array([limit for _, limit in held]))
        return point if found is None or np.linalg.norm(found - point) <= SAME else found

    # -- how many queries can be helped, or fail to be helped, at once ---

    def _most(self, side: int, held: list[tuple[Vector, float]] | None) -> Vector | None:
        """An optimum that helps the most queries (side 1) or the fewest (-1), rows held; None where they cannot be."""
        if held is None:
            return None
        opened = [i for i in self.queries if self.slopes[i].any()]
        refused: list[Flags] = []
        while True:
            chosen = self._propose(side, opened, held, refused)
            if chosen is None:
                return None
            subset = [i for i, picked in zip(opened, chosen, strict=True) if picked]
            found = self._extreme(side, subset, self.needed, [*held, *(self._reaching(side, subset) or [])])
            if found is not None:
                return found
            refused.append(chosen)

    def _propose(
        self, side: int, opened: Sequence[int], held: list[tuple[Vector, float]], refused: Sequence[Flags]
    ) -> Flags | None:
        """The most open queries that reach their side at once, to the tolerances of a mixed-integer solver."""
        k, count = self.optima.dimension, len(opened)
        rows = [np.append(row, np.zeros(count)) for row in self.optima.rows]
        rows += [np.append(row, np.zeros(count)) for row, _ in held]
        limits = [*self.optima.limits, *(limit for _, limit in held)]
        for place, i in enumerate(opened):
            # h_i = 1 demands side (m_i - needed_i) >= 0; otherwise the margin's range says what it is at least.
            low = min(0.0, float((side * (self.ranges[i] - self.needed[i])).min()))
            unit = np.zeros(count)
            unit[place] = -low
            rows.append(np.append(-side * self.slopes[i], unit))
            limits.append(float(side * (self.base[i] - self.needed[i])) - low)
        for chosen in refused:
            rows.append(np.append(np.zeros(k), np.where(chosen, 1.0, -1.0)))
            limits.append(float(chosen.sum()) - 1.0)
        # The first queries count a little more, so that the choice is one.
        weights = 1 + 1e-3 * np.arange(count, 0, -1) / max(1, count) ** 2
        found = milp(
            np.append(np.zeros(k), -weights),
            constraints=LinearConstraint(np.array(rows), -np.inf, np.array(limits)),
            integrality=np.append(np.zeros(k), np.ones(count)),
            bounds=Bounds(
                np.append(np.full(k, -np.inf), np.zeros(count)), np.append(np.full(k, np.inf), np.ones(count))
            ),
            options={"mip_rel_gap": 0.0},
        )
        if found.status == 2:
            return None
        if found.status != 0:
            raise SolverError(f"HiGHS does not settle which optimum the learner takes: {found.message}")
        flags: Flags = found.x[k:] > 0.5
        return flags
