"""Leaves of :mod:`oar_opt.proof.centroid_bound`, from linear programs over shares of options.

The points are the centroids that the shares give, and the next shares those that are best for the tangents and secants
at these points: a few rounds, each half way, beginning with even shares.
"""

from __future__ import annotations

import math

import numpy as np

from oar_opt.problem import RecourseProblem
from oar_opt.proof.centroid_bound import CentroidMultipliers, Spread
from oar_opt.proof.leaf_bounds import LeafBounds
from oar_opt.proof.nodes import CentroidLeaf
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import approximate
from oar_opt.proof_search.assessed import Assessed
from oar_opt.proof_search.cone_rows import Floats
from oar_opt.proof_search.feature_rooms import Rooms, whole_cost
from oar_opt.proof_search.numbers import shortened
from oar_opt.proof_search.share_program import ShareProgram, Shares, open_shares

ROUNDS = 6
LITTLE = 1e-9
DIVIDED = 1e-4
TINY = 1e-300


class CentroidLeaves:
    """Of one problem."""

    def __init__(self, problem: RecourseProblem) -> None:
        self.bounds = LeafBounds(problem)
        self.rows = rows = self.bounds.classes
        self.weights = np.array([approximate(value) for value in rows.weights])
        self.sums = np.array([[approximate(value) for value in row] for row in rows.sums])
        subjects = [*rows.queries, *rows.guards]
        self.x = np.array([[approximate(value) for value in x] for _, x in subjects])
        self.pairs = [(q, c) for q, (own, _) in enumerate(subjects) for c in range(rows.classes) if c != own]
        self.own = [own for own, _ in subjects]

    def assess(self, part: Part, most: float) -> Assessed:
        """See :class:`oar_opt.proof_search.leaves.LeafMaker`; there is no duality to limit."""
        return _Rounds(self, part).assess()


class _Rounds:
    def __init__(self, data: CentroidLeaves, part: Part) -> None:
        self.data, self.part = data, part
        keys = [(record, k) for record, left in part.options.items() for k in left]
        options = [data.rows.options[record][k] for record, k in keys]
        dearest = {
            key: [whole_cost(row.reach)] for key, row in zip(keys, options, strict=True) if row.reach is not None
        }
        self.program = ShareProgram(part, dearest)
        self.c = np.array([row.c for row in options], dtype=np.int64)
        self.s = np.array([approximate(row.s) for row in options])
        self.X = np.array([[approximate(value) for value in row.x] for row in options]).reshape(-1, data.rows.d)
        self.room = Rooms([row.reach for row in options], data.rows.d)
        self.focus = np.ones(len(data.own))
        """Weights of the subjects that feature changes of their own class are to come near to."""
        needs = [*part.needs, *part.guards]
        self.pairs = [(q, c, approximate(needs[q])) for q, c in data.pairs if needs[q] is not None]

    def assess(self) -> Assessed:
        z, best = self.program.even() if not self.room.some else self.program.last(), np.inf
        last = Assessed(None, math.inf, open_shares(self.program.split(z)))
        for _ in range(ROUNDS):
            points, weights = self._centroids(z)
            found = self._solved(points, weights)
            if found is None:
                break
            given = self._multipliers(found, points)
            shares = self._to_split(found.shares, points)
            last = Assessed.of(self.data.bounds, self.part, given, _node(given), shares)
            if last.leaf is not None:
                break
            if not self.room.some and found.t > best - LITTLE * max(1.0, abs(best)):
                break
            self.focus = np.zeros(len(self.data.own))
            np.add.at(self.focus, [q for q, _, _ in self.pairs], found.weights)
            best = found.t
            new = np.concatenate([found.shares[record] for record in self.part.options])
            z = new if self.room.some else (z + new) / 2
        return last

    def _centroids(self, z: Floats) -> tuple[Floats, Floats]:
        """Centroids and weights of classes; 0 where there is none."""
        weights, sums = self.data.weights.copy(), self.data.sums.copy()
        np.add.at(weights, self.c, z * self.s)
        np.add.at(sums, self.c, (z * self.s)[:, None] * self.X)
        points = sums / np.where(weights > 0, weights, 1.0)[:, None]
        for c in set(self.data.own) if self.room.some else ():
            here = np.where(self.c == c, z * self.s / max(weights[c], TINY), 0.0)
            here_own = np.array(self.data.own) == c
            share = self.focus * here_own if (self.focus * here_own).any() else here_own
            wish = share @ self.data.x / share.sum()
            points[c] = self.room.towards(points[c], wish, here)
        return points, weights

    def _solved(self, points: Floats, weights: Floats) -> Shares | None:
        constants, values = [], []
        spreads = [self._ends(c, points[c]) for c in range(len(points))]
        over = np.where(weights > 0, weights, 1.0)
        for q, c, need in self.pairs:
            own, x = self.data.own[q], self.data.x[q]
            low, high, farthest = spreads[c]
            slopes = {c: low + high - 2 * x, own: 2 * (x - points[own])}
            constant, value = points[own] @ points[own] - low @ high - need, np.zeros(len(self.c))
            for k, slope in slopes.items():
                rest = self.data.sums[k] - self.data.weights[k] * points[k]
                constant += slope @ points[k] + slope @ rest / over[k]
                moved = self.room.along(slope)
                if k == c and self.room.balls:
                    stretch = 2 * np.linalg.norm(np.maximum(np.abs(low - x), np.abs(high - x))) + farthest
                    moved = stretch * self.room.length
                value += np.where(self.c == k, self.s * ((self.X - points[k]) @ slope + moved) / over[k], 0.0)
            constants.append(constant)
            values.append(value)
        if not constants:
            return None
        return self.program.solve(np.array(constants), np.array(values))

    def _ends(self, c: int, point: Floats) -> tuple[Floats, Floats, float]:
        """Where the checker takes a centroid to be, and how far feature changes move it."""
        spread = Spread.of(self.data.rows, self.part, c, [shortened(value) for value in point])
        if spread is None:
            return point, point, 0.0
        low, high = (np.array([approximate(v) for v in end]) for end in spread.ends(not self.room.balls))
        return low, high, approximate(spread.farthest()) if self.room.balls else 0.0

    def _multipliers(self, found: Shares, points: Floats) -> CentroidMultipliers:
        weights = zip(self.pairs, found.weights, strict=True)
        return CentroidMultipliers(
            [(q, c, shortened(pi)) for (q, c, _), pi in weights if pi > 0],
            [[shortened(value) for value in point] for point in points],
            shortened(found.cost),
            shortened(found.acting),
            self.room.balls,
        )

    def _to_split(self, shares: dict[int, Floats], points: Floats) -> dict[int, Floats]:
        """Where no share is divided the member whose options differ the most is the one to split upon."""
        open_ = open_shares(shares)
        if not open_ or any(share.max() < 1 - DIVIDED for share in open_.values()):
            return open_
        moved = self.s[:, None] * (self.X - points[self.c])
        ends = np.cumsum([len(left) for left in self.part.options.values()])
        differ = {}
        for record, last in zip(self.part.options, ends, strict=True):
            here = slice(last - len(self.part.options[record]), last)
            spread = [moved[here] * (self.c[here] == c)[:, None] for c in range(len(points))]
            differ[record] = sum(float(np.ptp(one, axis=0).sum()) for one in spread)
        record = max(open_, key=lambda one: differ[one])
        return {record: 0.5 + 0.5 * (open_[record] - 1)}


def _node(given: CentroidMultipliers) -> CentroidLeaf:
    return CentroidLeaf(
        kind="centroid",
        pairs=tuple((q, c, approximate(pi)) for q, c, pi in given.pairs),
        points=tuple(tuple(map(approximate, point)) for point in given.points),
        cost=approximate(given.cost),
        acting=approximate(given.acting),
        balls=given.balls,
    )
