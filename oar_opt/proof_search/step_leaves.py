"""Leaves of :mod:`oar_opt.proof.step_bound`: linear programs over shares of options give the best of them.

A set of feature changes joins the program with single changes, the best ones at the prices of the program before
(column generation), until nothing better is left in the sets.

Reference: P. C. Gilmore, R. E. Gomory, "A Linear Programming Approach to the Cutting-Stock Problem", 1961.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flint import fmpq

from oar_opt.problem import RecourseProblem
from oar_opt.proof.leaf_bounds import LeafBounds
from oar_opt.proof.member_sums import effort_of
from oar_opt.proof.nodes import ChangeLines, StepLeaf
from oar_opt.proof.parts import Part, Place
from oar_opt.proof.rationals import Number, approximate
from oar_opt.proof.step_bound import StepMultipliers, StepRow
from oar_opt.proof.step_changes import Changing, Line
from oar_opt.proof_search.assessed import Assessed
from oar_opt.proof_search.cone_rows import Floats
from oar_opt.proof_search.numbers import shortened
from oar_opt.proof_search.share_program import ShareProgram, Shares, open_shares
from oar_opt.proof_search.step_sets import Best, StepSets

ROUNDS = 40
CLOSE = 0.1
"""Part of a bound's room that further rounds need not win."""
TINY = 1e-9
ACCURACY = 0.01
"""Of best changes, as a part of what the program is away from 0."""
OF_ROOM = 0.5
"""Part of a bound's room that is left to the lines of the sets."""


class StepLeaves:
    """Of one problem: ``V (S, p)`` and ``start (S,)`` of queries and guards, ``fixed (S,)`` of those who are no
    members."""

    def __init__(self, problem: RecourseProblem) -> None:
        self.bounds = LeafBounds(problem)
        self.rows = rows = self.bounds.step
        self.V = np.array([_floats(v) for v, _ in rows.subjects])
        self.start = np.array(_floats([start for _, start in rows.subjects]))
        self.fixed = self.V @ np.array(_floats([one.high for one in rows.sums]))
        self.weight = approximate(rows.weight)
        self.sets = StepSets(problem, rows, self.V)

    def assess(self, part: Part, most: float) -> Assessed:
        """See :class:`oar_opt.proof_search.leaves.LeafMaker`; there is no duality to limit."""
        needs = [*part.needs, *part.guards]
        asked = [q for q, need in enumerate(needs) if need is not None]
        return _Rounds(self, part, asked).assess()


@dataclass(frozen=True, eq=False)
class _Dual:
    """A bound with its multipliers, the largest value of every member's options, what sets add to their changes' value
    ``(m,)``, the best changes, and decision values near the best."""

    bound: float
    found: Shares
    tops: dict[int, float]
    other: Floats
    changed: Best
    at: Floats


class _Rounds:
    """Of one part, with values for the queries and guards that are ``asked``: ``single`` of options that are no sets,
    and ``changes`` of changes in sets, each with its cost."""

    def __init__(self, data: StepLeaves, part: Part, asked: list[int]) -> None:
        self.data, self.part, self.asked = data, part, asked
        needs = [*part.needs, *part.guards]
        self.V = data.V[asked]
        self.level = data.start[asked] - np.array(_floats([needs[q] for q in asked]))
        self.constants = data.fixed[asked] + self.level * data.weight
        self.single: dict[Place, Floats] = {}
        self.changes: dict[Place, list[tuple[Floats, float]]] = {}
        for record, left in part.options.items():
            stay = self._value(data.rows.options[record][0])
            for k in left:
                row = data.rows.options[record][k]
                if isinstance(row, Changing):
                    self.changes[record, k] = [(stay, data.sets.still(row))]
                else:
                    self.single[record, k] = self._value(row)
        self.moving = [key for key in self.changes if key in data.sets.place]
        self.places = np.array([data.sets.place[key] for key in self.moving], dtype=np.int64)
        self.at = data.sets.side.u0[self.places]
        self.extra = [approximate(data.rows.options[record][k].s) for record, k in self.moving]

    def _value(self, row: StepRow | Changing) -> Floats:
        assert isinstance(row, StepRow)
        moved = approximate(row.push.high) * (self.V @ np.array(_floats(row.xhat)))
        return np.asarray(moved + self.level * approximate(row.s))

    def assess(self) -> Assessed:
        """The leaf of the best multipliers that are found."""
        best, t = None, -math.inf
        program = self._program()
        shares = program.split(program.even())
        for _ in range(ROUNDS if self.asked else 0):
            found = program.solve(self.constants, self._values(program))
            if found is None:
                break
            shares, t = found.shares, found.t
            if self.moving and t > 0:
                break
            dual = self._dual(found)
            if best is None or dual.bound < best.bound:
                best = dual
            if not self.moving or best.bound - t <= CLOSE * abs(best.bound) + TINY:
                break
            if not self._add(dual.changed):
                break
            program = self._program()
        opened = open_shares(self._by_option(program, shares))
        if best is None or (self.moving and max(t, best.bound) >= 0):
            return Assessed(None, math.inf if best is None else best.bound, opened)
        given = self._multipliers(best)
        return Assessed.of(self.data.bounds, self.part, given, _node(given), opened)

    # -- the program ---

    def _program(self) -> ShareProgram:
        return ShareProgram(self.part, {key: [cost for _, cost in some] for key, some in self.changes.items()})

    def _values(self, program: ShareProgram) -> Floats:
        columns = [
            value
            for key in dict.fromkeys(program.columns)
            for value in ([self.single[key]] if key in self.single else [one for one, _ in self.changes[key]])
        ]
        return np.array(columns).reshape(-1, len(self.asked)).T

    def _add(self, changed: Best) -> bool:
        """Whether something was found to join the program."""
        for i in np.flatnonzero(changed.found):
            value = changed.scores[i][self.asked] + self.level * self.extra[i]
            self.changes[self.moving[i]].append((value, float(changed.cost[i])))
        return bool(changed.found.any())

    def _by_option(self, program: ShareProgram, shares: Mapping[int, Floats]) -> dict[int, Floats]:
        """The shares of options, each set's changes together."""
        z = np.concatenate([shares[record] for record in self.part.options]) if shares else np.zeros(0)
        found = {record: np.zeros(len(left)) for record, left in self.part.options.items()}
        for (record, k), share in zip(program.columns, z, strict=True):
            found[record][self.part.options[record].index(k)] += share
        return found

    # -- its dual ---

    def _dual(self, found: Shares) -> _Dual:
        weights, part = found.weights, self.part
        tops = dict.fromkeys(part.options, -math.inf)
        for (record, k), value in self.single.items():
            paid, acts = effort_of(part, record, k)
            worth = float(weights @ value) - found.cost * approximate(paid) - found.acting * acts
            tops[record] = max(tops[record], worth)
        for (record, _), some in self.changes.items():
            worth = max(float(weights @ value) - found.cost * cost for value, cost in some) - found.acting
            tops[record] = max(tops[record], worth)
        accuracy = ACCURACY * (abs(found.t) + TINY) / max(1, len(self.moving))
        other = np.array([float(weights @ self.level * extra) - found.acting for extra in self.extra])
        floors = np.array([tops[record] for record, _ in self.moving]) - other
        changed = self.data.sets.best(self.places, weights @ self.V, found.cost, floors, accuracy)
        self.at = np.where(changed.found, changed.u, self.at)
        for (record, _), value in zip(self.moving, changed.value + other, strict=True):
            tops[record] = max(tops[record], float(value))
        bound = float(weights @ self.constants) + sum(tops.values())
        bound += found.cost * approximate(part.limit or fmpq(0)) + found.acting * (part.cap or 0)
        return _Dual(bound, found, tops, other, changed, self.at)

    def _multipliers(self, dual: _Dual) -> StepMultipliers:
        weights, count = np.zeros(len(self.data.start)), len(self.part.needs)
        weights[self.asked] = dual.found.weights
        short = [shortened(float(weight)) for weight in weights]
        cost, acting = shortened(dual.found.cost), shortened(dual.found.acting)
        return StepMultipliers(short[:count], short[count:], cost, acting, self._lines(dual))

    def _lines(self, dual: _Dual) -> dict[Place, list[Line]]:
        found, each = dual.found, -OF_ROOM * dual.bound / max(1, len(self.moving))
        targets = np.array([dual.tops[record] for record, _ in self.moving]) + each - dual.other
        lines = self.data.sets.lines(self.places, found.weights @ self.V, found.cost, dual.at, targets)
        return dict(zip(self.moving, lines, strict=True))


def _floats(numbers: Sequence[Number]) -> list[float]:
    return [approximate(number) for number in numbers]


def _node(given: StepMultipliers) -> StepLeaf:
    return StepLeaf(
        kind="step",
        queries=tuple(_floats(given.queries)),
        guards=tuple(_floats(given.guards)),
        cost=approximate(given.cost),
        acting=approximate(given.acting),
        sets=tuple(
            ChangeLines(record=record, option=k, lines=tuple((approximate(u), approximate(nu)) for u, nu in lines))
            for (record, k), lines in given.lines.items()
        ),
    )
