"""Sets of feature changes under one gradient step in floating point: best changes, and lines for the checker's bound.

Best changes and lines come from :mod:`oar_opt.step_response`, which bounds the same gains by the same lines. Cells are
halved, beginning with the two on either side of the best change, until all of their bounds are low enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oar_opt.change_arrays import ChangeArrays
from oar_opt.problem import CostKind, Flags, Indices, Norm, RecourseProblem
from oar_opt.proof.rationals import Number, approximate
from oar_opt.proof.step_bound import StepRows
from oar_opt.proof.step_changes import Changing, Line
from oar_opt.proof_search.cone_rows import Floats
from oar_opt.proof_search.numbers import shortened
from oar_opt.step_response import Cells, Lines, StepSearch, StepSide
from oar_opt.update_settings import StepLoss

HALVINGS = 12
NEARLY = 1e-9
"""Of what a set's decision values reach: how far inside its ends a line touches."""
NO_ROOM = 1e-4
"""Of a radius: features with less room than this are fixed but for the tolerance."""


@dataclass(frozen=True, eq=False)
class Best:
    """The best changes of some sets: bounds on their ``value (m,)``, which of them were found ``(m,)``, what they score
    with every subject ``(m, S)``, their cost ``(m,)``, and the decision values there ``(m,)``."""

    value: Floats
    found: Flags
    scores: Floats
    cost: Floats
    u: Floats


class StepSets:
    """All sets of members who arrive, in the order of ``keys``; ``V (S, p)`` are the directions of the subjects."""

    def __init__(self, problem: RecourseProblem, rows: StepRows, V: Floats) -> None:
        found = {
            (record, k): row
            for record, options in rows.options.items()
            for k, row in enumerate(options)
            if isinstance(row, Changing) and row.c != 0
        }
        self.keys = list(found)
        self.place = {key: i for i, key in enumerate(self.keys)}
        self.V, self.theta0, self.d = V, _floats(rows.theta0), problem.d
        self.X = np.array([_floats(row.xhat) for row in found.values()]).reshape(-1, V.shape[1])
        self.sets = _arrays(problem, list(found.values()))
        self.side = StepSide(
            rows.settings.loss,
            _floats([row.y for row in found.values()]),
            _floats([row.c for row in found.values()]),
            _floats([row.f0 for row in found.values()]),
            self.theta0[: problem.d] * self.sets.scales,
        )

    def still(self, row: Changing) -> float:
        """What a change of nothing costs."""
        return approximate(row.reach.charge) + float(row.reach.cost is CostKind.COUNT)

    def search(self, places: Indices, v: Floats, price: float) -> StepSearch:
        """Of some sets against a direction ``v (p,)``."""
        p = v[: self.d] * self.sets.scales
        return StepSearch(self.sets.subset(places), self.side.subset(places), self.X[places] @ v, p, price)

    def best(self, places: Indices, v: Floats, price: float, floors: Floats, accuracy: float) -> Best:
        """The best changes at a price of cost, of those sets in which something is worth more than the ``floors (m,)``;
        values have what every change costs taken off."""
        search = self.search(places, v, price)
        fixed = self.sets.charges[places] + float(self.sets.cost is CostKind.COUNT)
        found = search.best(floors, price * fixed, accuracy)
        e = search.changes(np.arange(len(places)), found.u, found.a)
        X = self.X[places].copy()
        X[:, : self.d] += e * self.sets.scales
        # At the hinge's kink the push is the one from whose side it is approached.
        scores = found.a[:, None] * (X @ self.V.T)
        cost = fixed + self.sets.subset(places).costs(e)
        return Best(found.bound, np.isfinite(found.value), scores, cost, found.u)

    def lines(self, places: Indices, v: Floats, price: float, at: Floats, targets: Floats) -> list[list[Line]]:
        """Lines for some sets, whose bounds are at most ``targets (m,)`` if that can be had by halving cells.

        ``at (m,)`` are the decision values at the best changes.
        """
        search = self.search(places, v, price)
        fixed = price * (self.sets.charges[places] + float(self.sets.cost is CostKind.COUNT))
        if self.side.loss is StepLoss.HINGE:
            return self._kinks(search)
        cells, done = _both_sides(search, at), []
        for _ in range(HALVINGS):
            low = cells.bound <= (targets + fixed)[cells.rows]
            done.append(cells.take(low))
            cells = cells.take(~low)
            if not len(cells.rows):
                break
            pushes = search.side.push(cells.rows, cells.middle)
            cells = search.halved(cells, Lines(*search.line(cells.rows, cells.middle, pushes)))
        return _points([*done, cells], len(places))

    def _kinks(self, search: StepSearch) -> list[list[Line]]:
        side, rows = search.side, np.arange(search.sets.m)
        room = NEARLY * (search.high - search.low)
        u = np.clip(side.y, search.low + room, search.high - room)
        pairs = [search.line(rows, u, push) for push in (side.weight * side.y, np.zeros(len(rows)))]
        # A kink that is out of reach restricts nothing.
        turn = np.where((side.y > search.low) & (side.y < search.high), side.y, 0.0)
        left, right = pairs[0][1] * turn, -pairs[1][1] * turn
        kinks = zip(u, np.maximum(left, 0.0), np.maximum(right, 0.0), strict=True)
        return [[(shortened(float(x)), shortened(float(nu))) for nu in (a, b)] for x, a, b in kinks]


def _both_sides(search: StepSearch, at: Floats) -> Cells:
    """Two cells for each set, that meet near ``at (m,)`` in the same line."""
    room, rows = 1e-3 * (search.high - search.low), np.arange(search.sets.m)
    u = np.clip(at, search.low + room, search.high - room)
    T, nu = search.line(rows, u, search.side.push(rows, u))
    both = np.tile(rows, 2)
    lines = [Lines(np.tile(T, 2), np.tile(nu, 2)) for _ in range(2)]
    return search.cells(
        both, np.concatenate([search.low, u]), np.concatenate([u, search.high]), None, (lines[0], lines[1])
    )


def _points(cells: Sequence[Cells], count: int) -> list[list[Line]]:
    """The points at which cells meet, with the slopes of their lines, for every set; ascending."""
    found: list[dict[float, float]] = [{} for _ in range(count)]
    for some in cells:
        for u, nu, rows in ((some.u1, some.left.nu, some.rows), (some.u2, some.right.nu, some.rows)):
            for point, slope, row in zip(u.tolist(), nu.tolist(), rows.tolist(), strict=True):
                found[row][point] = slope
    return [[(shortened(u), shortened(nu)) for u, nu in sorted(one.items())] for one in found]


def _arrays(problem: RecourseProblem, rows: Sequence[Changing]) -> ChangeArrays:
    """The reaches as change sets; where a member has to move, staying is let in."""
    scales = problem.scales
    count = len(rows)
    low = np.array([_floats(row.reach.low) for row in rows]).reshape(-1, problem.d) / scales
    high = np.array([_floats(row.reach.high) for row in rows]).reshape(-1, problem.d) / scales
    radius = _floats([row.reach.radius for row in rows])
    free: Flags = np.asarray((high - low > NO_ROOM * radius[:, None]).any(axis=0))
    made = ChangeArrays(
        members=np.arange(count),
        records=np.arange(count),
        scales=scales,
        free=free,
        cost=problem.collective.cost,
        lower=np.where(free, np.minimum(low, 0.0), 0.0),
        upper=np.where(free, np.maximum(high, 0.0), 0.0),
        R1=_radii(rows, Norm.L1),
        R2=_radii(rows, Norm.L2),
        charges=_floats([row.reach.charge for row in rows]),
    )
    return made.without_needless_boxes()


def _radii(rows: Sequence[Changing], norm: Norm) -> Floats:
    """The radii in a norm ``(m,)``; infinite without one."""
    radii = (row.reach.radius_in(norm) for row in rows)
    return np.array([np.inf if radius is None else approximate(radius) for radius in radii])


def _floats(numbers: Sequence[Number]) -> Floats:
    return np.array([approximate(number) for number in numbers])
