"""A set of feature changes in the conic program: moments of degree two; :mod:`oar_opt.proof.changed_record` is dual.

For every line ``g = c f + t`` of the loss's graph there is a positive semidefinite matrix of the moments of ``(1, e,
theta)``, and ``f`` as well where ``c > 0``; ``e_j = delta_j / width_j`` is at most 1 in size. Its corner is the line's
share ``z``. Rows: ``f = xhat'theta + delta'theta`` in the mean, the line's ends, the features' ranges, the ball, and
the cost's cone. Pull, ``g delta``, ``f g`` and ``|theta|^2`` are moments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from flint import fmpq

from oar_opt.problem import CostKind, Norm
from oar_opt.proof.changed_record import CaseMultipliers, ChangedTerm
from oar_opt.proof.feature_reach import Reach
from oar_opt.proof.lagrangian import Multipliers
from oar_opt.proof.learner_rows import Row
from oar_opt.proof.parts import Direction
from oar_opt.proof.polylines import Graph, Piece
from oar_opt.proof.rationals import Number, approximate, dot, exact, exact_row
from oar_opt.proof_search.assessed import Spread
from oar_opt.proof_search.cone_rows import Block, Columns, ConeRows, Floats, Solution, Term
from oar_opt.proof_search.loss_cones import Gathered
from oar_opt.proof_search.numbers import shortened

TINY = 1e-12
"""Shares below say nothing of what is in them."""
MORE = tuple(10.0**k for k in range(-9, 2))
"""Relative to what the form needs to be concave."""


@dataclass(frozen=True, eq=False)
class ChangeSpace:
    """A set of changes in floating point: ``low, high, width, scales (d,)``, ``ball`` (infinite: none), ``facets``
    (the radius in l1, or none), ``rows`` ``a'delta <= r``."""

    low: Floats
    high: Floats
    width: Floats
    scales: Floats
    ball: float
    facets: float | None
    rows: list[tuple[Floats, float]]
    cost: CostKind
    charge: float

    @classmethod
    def of(cls, reach: Reach) -> ChangeSpace:
        low, high, scales = (np.array([approximate(v) for v in row]) for row in (reach.low, reach.high, reach.scales))
        ball = math.inf if reach.ball is None else approximate(reach.ball)
        width = np.maximum(np.maximum(abs(low), abs(high)), 1e-300)
        facets = approximate(reach.radius) if reach.norm is Norm.L1 else None
        rows = [(np.array([approximate(value) for value in a]), approximate(room)) for a, room in reach.rows]
        return cls(low, high, width, scales, ball, facets, rows, reach.cost, approximate(reach.charge))


@dataclass(eq=False)
class LineCase:
    """The columns and rows of one line: ``matrix (k, k)`` are the moments' columns."""

    piece: Piece
    space: ChangeSpace
    matrix: Columns
    cost: list[Term] = field(default_factory=list)
    value: Block | None = None
    ends: dict[str, Block] = field(default_factory=dict)
    sides: Block | None = None
    ball: Block | None = None
    cuts: list[tuple[Block, float]] = field(default_factory=list)
    direction: Block | None = None
    facet: Block | None = None
    rows: Block | None = None

    @property
    def z(self) -> int:
        """The column of its share."""
        return int(self.matrix[0, 0])


class ChangeCone:
    """One member's set of changes: share, copy of ``theta``, part of ``|theta|^2`` and cost, each a sum over lines."""

    def __init__(
        self,
        cone: ConeRows,
        row: Row,
        cuts: Sequence[tuple[Direction, Number, Number]],
        penalised: Columns,
        into: Gathered,
        priced: bool,
    ) -> None:
        assert row.reach is not None and row.pieces is not None
        self.cone, self.pieces = cone, row.pieces
        self.space = ChangeSpace.of(row.reach)
        self.d, self.p = len(self.space.low), len(row.xhat)
        self.x, self.a = np.array([approximate(value) for value in row.xhat]), approximate(row.a)
        self.cuts = [
            (np.array([approximate(n) for n in direction]) * self.space.width, approximate(low), approximate(high))
            for direction, low, high in cuts
        ]
        self.penalised = penalised
        self.cases = [self._case(piece, into, priced) for piece in row.pieces if not piece.is_jump]

    @property
    def shares(self) -> Columns:
        """The columns of the cases' shares."""
        return np.array([case.z for case in self.cases])

    def theta(self) -> list[Columns]:
        """The columns ``(p,)`` of each line's copy of ``theta``."""
        return [case.matrix[0, 1 + self.d : 1 + self.d + self.p] for case in self.cases]

    def squares(self) -> Columns:
        """The columns whose sum is ``|theta|^2``."""
        places = 1 + self.d + self.penalised
        return np.concatenate([case.matrix[places, places] for case in self.cases])

    def spread(self, x: Floats) -> Spread:
        """Of the change along its most uncertain direction, given that it is taken."""
        z = max(sum(float(x[case.z]) for case in self.cases), TINY)
        inner = slice(1, 1 + self.d)
        first = sum(x[case.matrix[0, inner]] for case in self.cases) / z
        second = sum(x[case.matrix[inner, inner]] for case in self.cases) / z
        covariance = second - np.outer(first, first)
        if not np.isfinite(covariance).all():
            # The solver ended without numbers.
            return Spread(0.0, (fmpq(0),) * self.d, np.full(self.d, np.nan))
        variances, directions = np.linalg.eigh(covariance)
        along = np.array([float(f"{value:.6g}") for value in (directions[:, -1] / self.space.width).tolist()])
        return Spread(float(variances[-1]) * z, tuple(exact_row(along.tolist())), first * self.space.width)

    def _case(self, piece: Piece, into: Gathered, priced: bool) -> LineCase:
        cone, space, d, p, a = self.cone, self.space, self.d, self.p, self.a
        slope, offset = approximate(piece.slope), approximate(piece.offset)
        size = 1 + d + p + (slope > 0)
        matrix = cone.moments(size)
        case = LineCase(piece, space, matrix)
        places = np.arange(1, 1 + d)
        e, theta, cross = matrix[0, 1 : 1 + d], matrix[0, 1 + d : 1 + d + p], matrix[places, d + places]
        f: list[Term] = [(theta, self.x[None, :]), (cross, space.width[None, :])]
        if slope > 0:
            column = matrix[0, -1]
            case.value = cone.zero([0.0], *f, ([column], [[-1.0]]))
            f = [([column], [[1.0]])]
            into.balance.append(([column], a * slope * self.x[:, None]))
            into.balance.append((matrix[places, -1], a * slope * np.eye(p, d) * space.width))
            into.less(np.array([matrix[-1, -1]]), a * slope)
        into.balance.append(([case.z], a * offset * self.x[:, None]))
        into.balance.append((e, a * offset * np.eye(p, d) * space.width))
        for columns, factors in f:
            into.gap.append((columns, -a * offset * np.asarray(factors)))
        self._ends(case, f)
        self._set(case, e)
        if priced:
            case.cost = self._cost(case, e)
        return case

    def _ends(self, case: LineCase, f: list[Term]) -> None:
        for name, end, sign in (("high", case.piece.high, 1.0), ("low", case.piece.low, -1.0)):
            if end is not None:
                terms = [(columns, -sign * np.asarray(factors)) for columns, factors in f]
                case.ends[name] = self.cone.nonnegative([0.0], ([case.z], [[sign * approximate(end)]]), *terms)

    def _set(self, case: LineCase, e: Columns) -> None:
        space, cone, z = self.space, self.cone, np.full(self.d, case.z)
        low, high = space.low / space.width, space.high / space.width
        squares = case.matrix.diagonal()[1 : 1 + self.d]
        case.sides = cone.nonnegative(np.zeros(self.d), (squares, -1.0), (e, low + high), (z, -low * high))
        inner = case.matrix[1 : 1 + self.d, 1 : 1 + self.d].reshape(-1)
        for n, least, most in self.cuts:
            size = max(abs(least), abs(most), TINY)
            unit, bottom, top = n / size, least / size, most / size
            terms = (inner, -np.outer(unit, unit).reshape(1, -1)), (e, (bottom + top) * unit[None, :])
            case.cuts.append((cone.nonnegative([0.0], *terms, ([case.z], [[-bottom * top]])), size))
        if space.rows:
            rooms = np.array([room for _, room in space.rows])
            places = np.full(len(rooms), case.z)
            factors = -np.array([a for a, _ in space.rows]) * space.width
            case.rows = cone.nonnegative(np.zeros(len(rooms)), (places, rooms), (e, factors))
        if space.facets is not None:
            case.facet, sizes = self._sizes(e)
            cone.nonnegative([0.0], ([case.z], [[space.facets]]), (sizes, -np.ones((1, self.d))))
        if math.isfinite(space.ball):
            parts = (space.width / space.scales) ** 2 / space.ball
            case.ball = cone.nonnegative([0.0], ([case.z], [[1.0]]), (squares, -parts[None, :]))

    def _cost(self, case: LineCase, e: Columns) -> list[Term]:
        """The terms of its cost."""
        space, cone, d = self.space, self.cone, self.d
        terms: list[Term] = [([case.z], [[space.charge + (space.cost is CostKind.COUNT)]])]
        if space.cost is CostKind.COUNT:
            return terms
        u = space.width / space.scales
        if space.cost is CostKind.SQL2:
            squares = case.matrix.diagonal()[1 : 1 + d]
            return [*terms, (squares, (u**2)[None, :])]
        size = cone.variable()
        if space.cost is CostKind.L2:
            case.direction = cone.length(size, d, (e, u))
        elif space.cost is CostKind.LINF:
            case.direction = cone.nonnegative(
                np.zeros(2 * d), (np.full(2 * d, size), 1.0), (np.tile(e, 2), np.concatenate([u, -u]))
            )
        else:
            case.direction, sizes = self._sizes(e)
            cone.zero([0.0], ([size], [[1.0]]), (sizes, -np.ones((1, d))))
        return [*terms, ([size], [[1.0]])]

    def _sizes(self, e: Columns) -> tuple[Block, Columns]:
        """The rows that say that new variables ``(d,)`` are at least ``|delta / scale|``."""
        d, u = self.d, self.space.width / self.space.scales
        sizes = self.cone.variables(d)
        twice = (np.tile(sizes, 2), 1.0), (np.tile(e, 2), np.concatenate([u, -u]))
        return self.cone.nonnegative(np.zeros(2 * d), *twice), sizes

    # -- what the solution says ---

    def cost(self) -> list[Term]:
        """The terms of its cost."""
        return [term for case in self.cases for term in case.cost]

    def multipliers(
        self, found: Solution, given: Multipliers, omega: Sequence[Number], free: bool
    ) -> list[CaseMultipliers]:
        """The cases' multipliers, before they are made to fit."""
        return [self._multipliers(case, found, given, omega, free) for case in self.cases]

    def _multipliers(
        self, case: LineCase, found: Solution, given: Multipliers, omega: Sequence[Number], free: bool
    ) -> CaseMultipliers:
        mu, price = approximate(given.total), approximate(given.cost)
        slope, offset = approximate(case.piece.slope), approximate(case.piece.offset)
        high, low = (_first(found, case.ends.get(name)) for name in ("high", "low"))
        tau = max(high, 0.0) - max(low, 0.0)
        kappa = -self.a * mu * offset - tau if case.value is None else _first(found, case.value)
        if case.value is None:
            kappa = self._within(case, kappa, mu)
        assert case.sides is not None
        sides = np.maximum(found.of(case.sides), 0.0) / self.space.width**2
        ball = 0.0 if case.ball is None else max(_first(found, case.ball), 0.0) / self.space.ball
        return CaseMultipliers(
            kappa=-omega[-1] if free else shortened(kappa),
            tau=shortened(tau if slope > 0 else 0.0),
            sides=[shortened(side) for side in sides.tolist()],
            ball=shortened(ball),
            direction=[shortened(value) for value in self._direction(case, found, price)],
            facet=[]
            if case.facet is None
            else [shortened(value) for value in self._turned(case.facet, found).tolist()],
            rows=[] if case.rows is None else [shortened(max(value, 0.0)) for value in found.of(case.rows).tolist()],
            cuts=[shortened(max(_first(found, block), 0.0) / size**2) for block, size in case.cuts],
        )

    def _within(self, case: LineCase, kappa: float, mu: float) -> float:
        """Cut to what leaves a flat line's term finite."""
        at = -self.a * mu * approximate(case.piece.offset)
        kappa = min(kappa, at) if case.piece.low is None else kappa
        return max(kappa, at) if case.piece.high is None else kappa

    def _turned(self, block: Block | None, found: Solution) -> Floats:
        """What a pair of rows for each feature, one for each sign, says of the feature; nothing without rows."""
        values = np.zeros(0) if block is None else found.of(block)
        return values[self.d :] - values[: self.d]

    def _direction(self, case: LineCase, found: Solution, price: float) -> Sequence[float]:
        if price <= 0 or self.space.cost is CostKind.COUNT:
            return []
        if case.direction is None:
            z = max(float(found.x[case.z]), TINY)
            return list(found.x[case.matrix[0, 1 : 1 + self.d]] * self.space.width / self.space.scales / z)
        values = found.of(case.direction)
        raw = -values[1:] if self.space.cost is CostKind.L2 else self._turned(case.direction, found)
        n = raw / price
        size = {
            CostKind.L2: float(np.linalg.norm(n)),
            CostKind.L1: float(abs(n).max(initial=0.0)),
            CostKind.LINF: float(abs(n).sum()),
        }[self.space.cost]
        return list(n * (1 - 1e-9) / max(1.0, size))


def _first(found: Solution, block: Block | None) -> float:
    value = 0.0 if block is None else float(found.of(block)[0])
    return value if math.isfinite(value) else 0.0


def fitted(term: ChangedTerm, pieces: Graph, cases: Sequence[CaseMultipliers]) -> list[CaseMultipliers]:
    """Cases with the sets' multipliers a little larger, as far as that gives the least bound.

    What a solver finds is at the border of where the form is concave, on one side of it or the other.
    """
    if term.strength <= 0 or term.mu <= 0:
        return list(cases)
    lines = [piece for piece in pieces if not piece.is_jump]
    found = []
    for line, given in zip(lines, cases, strict=True):
        b = term.beta[: len(term.reach.low)]
        least = given.kappa**2 / (4 * term.strength) + term.a * line.slope * dot(b, b) / (4 * term.mu)
        best, value = given, term.on_line(line, given)
        for part in MORE:
            more = _more(term, given, exact(part) * least)
            other = term.on_line(line, more)
            if other is not None and (value is None or other < value):
                best, value = more, other
        found.append(best)
    return found


def _more(term: ChangedTerm, given: CaseMultipliers, size: Number) -> CaseMultipliers:
    scales = term.reach.scales
    if term.reach.ball is not None:
        return replace(given, ball=shortened(approximate(given.ball + size * max(scales) ** 2)))
    return replace(given, sides=[shortened(approximate(side + size)) for side in given.sides])
