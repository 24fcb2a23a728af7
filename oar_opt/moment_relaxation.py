"""The moment relaxation of recourse by feature changes; letters of :mod:`oar_opt.risk` and :mod:`oar_opt.changes`.

Coordinates. ``theta = theta_bar + B eta`` around the present optimum, with ``B`` such that ``eta`` is round;
``x_i`` stands for ``B' xhat_i`` and ``w = w_bar + W eta`` for the part of ``theta`` that multiplies features. A
member's record becomes ``x_i + W' delta_i`` with ``delta_i`` in its set ``D_i`` and has the decision value and pull

    f_i = f_bar_i + x_i'eta + w'delta_i,       (f_i, g_i) on the graph of a_i dl(y_i, .),       u_i = g_i delta_i.

Stationarity is linear in ``eta, g, u``:

    S(eta, g, u) := c + G eta + sum_(bent fixed records) g_i x_i + sum_members (g_i x_i + W'u_i) = 0,

where penalty and fixed records on a straight part of their graph make ``c`` and ``G``.

Cliques: ``(1, eta, delta_i, g_i, u_i)`` for a member (with ``f_i`` where the graph is bent), ``(1, eta, g_i)`` for a
bent fixed record. Rows, all of degree two:

1. ``S = 0`` and ``S eta_l = 0`` for every ``l``. The latter makes the multiplier of stationarity an affine function
   of ``eta`` instead of a number: without it the Lagrangian is convex in ``eta`` and largest far from the optimum.
2. ``g_i delta_i = u_i`` and ``delta_i u_i'`` symmetric, named the same moments; the equation of ``f_i`` as it stands
   and times ``g_i``.
3. ``D_i``: a ball ``q = radius^2 - ||delta/scale||^2``, an interval ``q = (delta_j - l_j)(h_j - delta_j)`` and the
   square of a linear constraint are at least 0, so that ``[[q, g q], [g q, g^2 q]]`` is positive semidefinite, ``g q``
   and ``g^2 q`` are of degree two in ``(delta, g, u)``. With ``a <= g <= b``, also ``(g - a) q``, ``(b - g) q`` and
   ``(g - a)(b - g) q`` are at least 0, and so are the linear constraints times ``g - a`` and ``b - g``.
4. Let ``(delta - m)(delta - m)' <= Q`` (a ball: ``m = 0``, ``Q = radius^2 diag(scale^2)``; a box: its centre and an
   ellipsoid around it). For every vector ``v``, ``0 <= (w - v)'(Q - (delta - m)(delta - m)')(w - v)``. As a function of
   ``(1, v)`` this is a quadratic form, so

       [[ w'Qw - t^2,  (t (delta - m) - Q w)' ],  [ ., Q - (delta - m)(delta - m)' ]]   is positive semidefinite,

   ``t = w'(delta - m)``, which is linear in ``f, eta``. For ``v`` the true ``w`` it says that ``t`` is what it is said
   to be; without it ``f_i`` and ``delta_i`` are tied together in the mean only, and members mix changes.
5. The graph: a straight one is an equation (or ``g`` is a number); two straight parts are one quadric ``L_1 L_2 = 0``;
   more of them, or a curve: products of the lines around its convex hull, and ``(f - f_0)(g - g_0) >= 0`` for points
   ``(f_0, g_0)`` on it, since it is monotone.
6. Sizes ``t_j = |delta_j / scale_j|``, for a ball or a cost in l1: ``t_j >= 0``, ``t_j^2 = (delta_j / scale_j)^2`` and
   ``t_j`` is above both signs, also times ``g - a`` and ``b - g``. Costs: ``sql2`` is linear in the moments; ``l1`` is
   the sum of the sizes; ``l2`` and ``linf`` are a variable ``c`` with ``c^2 = ||delta/scale||^2`` (``>= (delta_j /
   scale_j)^2``) that is above the length of the change, also times ``reach - c``, ``g - a`` and ``b - g``. Where acting
   counts, ``z`` with ``z^2 = z``, ``z delta = delta``, ``z u = u``.

What is left open when the moments of degree one are taken at their word: a member that mixes changes of different
``f`` (as with every dual bound, this vanishes relative to the rest as members grow: Shapley-Folkman), and products with
``eta`` where ``eta`` is uncertain. Both go to zero as the intervals of ``f_i, g_i`` and ``eta`` shrink.

The *light* relaxation has no cliques for bent fixed records, only a variable for ``f_i g_i`` each, with the rows of
point 5 that need no other product, and of the products of stationarity only ``S'eta = 0`` (strong duality, since it
has ``sum_i g_i x_i'eta`` in it). It is weaker and much smaller: good for shrinking the intervals of ``eta``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from oar_opt.changes import HIDDEN, ChangeSet
from oar_opt.moment_program import COEFFICIENTS, MomentProgram, MomentSolution, Polynomial, combine
from oar_opt.moment_setting import Seen, Setting
from oar_opt.problem import CostKind, GoalKind, Norm, RecourseProblem, Vector
from oar_opt.risk import Segment, segments
from oar_opt.rules import ROUNDING

Span = tuple[float, float]
TINY = 1e-12
"""Least size of a variable."""
MOST_LINES = 3
"""Lines kept on each side of a curved graph."""


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the search space.

    Intervals of ``eta (p,)``; by record number, intervals of ``f`` and ``g`` and the first and last piece of the graph;
    by member, whether it acts; by member and feature, intervals of ``delta``; by query, whether it must be helped.
    """

    low: Vector
    high: Vector
    values: Mapping[int, Span] = field(default_factory=dict)
    pulls: Mapping[int, Span] = field(default_factory=dict)
    pieces: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    acting: Mapping[int, bool] = field(default_factory=dict)
    changes: Mapping[tuple[int, int], Span] = field(default_factory=dict)
    helped: Mapping[int, bool] = field(default_factory=dict)

    def split(self, name: str, key: Any, part: Any) -> Region:
        """The same with one entry of one of the mappings replaced."""
        changed: dict[str, Any] = {name: {**getattr(self, name), key: part}}
        return replace(self, **changed)


@dataclass(frozen=True, eq=False)
class Graph:
    """Where ``(f, g)`` of a record can be: segments from left to right, or a curve between its ends and lines.

    ``above`` and ``below`` are lines ``(slope, offset)`` around a curve; ``pieces`` numbers the segments.
    """

    f: Span
    g: Span
    chain: tuple[Segment, ...] = ()
    pieces: tuple[int, ...] = ()
    above: tuple[tuple[float, float], ...] = ()
    below: tuple[tuple[float, float], ...] = ()

    @property
    def corners(self) -> list[tuple[float, float]]:
        """Its ends and the ends of its segments."""
        found = {(self.f[0], self.g[0]), (self.f[1], self.g[1])}
        for s in self.chain:
            found |= {(s.f_low, s.g_low), (s.f_high, s.g_high)}
        return sorted(found)

    @property
    def line(self) -> tuple[float, float] | None:
        """Slope and offset, where the graph is one segment that is not upright."""
        if len(self.chain) != 1 or self.chain[0].f_high <= self.chain[0].f_low:
            return None
        (s,) = self.chain
        slope = (s.g_high - s.g_low) / (s.f_high - s.f_low)
        return slope, s.g_low - slope * s.f_low


@dataclass(frozen=True, eq=False)
class Bent:
    """A fixed record whose graph is more than a line: its polynomials; ``fg`` stands for the product."""

    graph: Graph
    f: Polynomial
    g: Polynomial
    fg: Polynomial


@dataclass(frozen=True, eq=False)
class Mover:
    """An acting member: its polynomials. ``z`` is there where the number of acting members or a charge counts."""

    index: int
    one: ChangeSet
    graph: Graph
    low: Vector
    high: Vector
    delta: tuple[Polynomial, ...]
    u: tuple[Polynomial, ...]
    f: Polynomial
    g: Polynomial
    z: Polynomial | None
    sizes: Mapping[int, Polynomial]
    """Of ``delta / scale``, of the features that have room, where l1 is a norm or a cost."""

    @property
    def free(self) -> list[int]:
        """The features that have room to move."""
        return [int(j) for j in np.flatnonzero(self.high > self.low)]


class EmptyRegion(Exception):
    """The intervals of a region leave no point."""


class MomentRelaxation:
    """The relaxation over one region.

    Parameters
    ----------
    least : only points whose objective is at least that are meant.
    light : bent fixed records get no cliques, as the last paragraph of the module's docstring has it.

    Raises
    ------
    EmptyRegion : the region holds no point.
    """

    def __init__(self, setting: Setting, region: Region, least: float | None = None, light: bool = False) -> None:
        self.setting, self.region, self.light = setting, region, light
        self.program = MomentProgram()
        self.low, self.high = np.maximum(setting.low, region.low), np.minimum(setting.high, region.high)
        if (self.low > self.high).any():
            raise EmptyRegion
        sizes = np.maximum(np.maximum(np.abs(self.low), np.abs(self.high)), TINY)
        self.eta = [self.program.variable(float(size)) for size in sizes]
        self.bent: dict[int, Bent] = {}
        self.movers: dict[int, Mover] = {}
        self.gradient, self.curvature = setting.gradient.copy(), setting.curvature.copy()
        self.sizes = np.abs(self.gradient) + np.abs(self.curvature) @ sizes
        """Of all that was added up to the two, by row of stationarity."""
        for coordinate, low, high in zip(self.eta, self.low, self.high, strict=True):
            self._interval(coordinate, float(low), float(high))
        self.costs: list[Polynomial] = []
        self.reached: dict[int, Polynomial] = {}
        self._counts = counts_acting(setting.problem)
        for number in range(len(setting.fixed)):
            self._add_fixed(number)
        for i in range(len(setting.movers)):
            if region.acting.get(i, True):
                self._add_mover(i)
            else:
                self._add_fixed(len(setting.fixed) + i)
        self._add_stationarity()
        self._add_budgets()
        self.objective = self._goal()
        if least is not None:
            self.program.at_least_zero(self.objective - least)

    @property
    def towards(self) -> Vector:
        """The direction in which ``eta`` changes the first query's margin, ``(p,)``."""
        setting = self.setting
        row: Vector = setting.basis.T @ setting.risk.extend(np.array([setting.problem.queries[0].x]))[0]
        return row

    def is_empty(self, bound: float) -> bool:
        """Whether a bound on the objective is below all values that it has anywhere: then there is no point."""
        return bound < _ends(self.objective)[0]

    def solve(self, seconds: float | None = None, enough: float = -math.inf) -> MomentSolution:
        """The bound of the region; one of at most ``enough`` need not be accurate."""
        return self.program.maximise(self.objective, seconds, enough)

    def end_of(self, j: int, side: float, seconds: float | None = None) -> float:
        """A bound on ``side * eta_j``."""
        return self.program.maximise(self.eta[j] * side, seconds, math.inf).bound

    # -- eta and stationarity ---

    def _interval(self, quantity: Polynomial, low: float, high: float) -> None:
        self.program.at_least_zero((quantity - low) * (high - quantity))

    def _add_stationarity(self) -> None:
        setting, program = self.setting, self.program
        for j in range(setting.p):
            row = combine(self.curvature[j], self.eta) + float(self.gradient[j])
            row.size += float(self.sizes[j])
            for number, bent in self.bent.items():
                row.add(bent.g, float(setting.record(number).x[j]))
            for i, mover in self.movers.items():
                row.add(mover.g, float(setting.movers[i][0].x[j]))
                row.add(combine(setting.W[:, j], mover.u))
            program.equal(row)
            if not self.light or not self.bent:
                for eta in self.eta:
                    program.equal(row * eta)
        if self.light and self.bent:
            self._add_duality()

    def _add_duality(self) -> None:
        """``S'eta = 0``."""
        setting, row = self.setting, Polynomial()
        for j, eta in enumerate(self.eta):
            row.add((combine(self.curvature[j], self.eta) + float(self.gradient[j])) * eta)
            row.size += float(self.sizes[j]) * eta.size
        for number, bent in self.bent.items():
            row.add(bent.fg)
            row.add(bent.g, -setting.record(number).value)
        for i, mover in self.movers.items():
            row.add(combine(setting.movers[i][0].x, self.eta) * mover.g)
            for w, pulled in zip(setting.W, mover.u, strict=True):
                if pulled.terms:
                    row.add(combine(w, self.eta) * pulled)
        self.program.equal(row)

    # -- records ---

    def _add_fixed(self, number: int) -> None:
        record = self.setting.record(number)
        low, high = self._value_of(record)
        graph = self._graph(number, (low, high))
        f = combine(record.x, self.eta) + record.value
        if graph.line is not None:
            slope, offset = graph.line
            self.gradient += (offset + slope * record.value) * record.x
            self.curvature += slope * np.outer(record.x, record.x)
            furthest = max(abs(low), abs(high), abs(record.value))
            self.sizes += np.abs(record.x) * (abs(offset) + abs(slope) * furthest)
            if number in self.region.values or number in self.region.pieces:
                self.program.at_least_zero(f - graph.f[0])
                self.program.at_least_zero(graph.f[1] - f)
            return
        g = self.program.variable(max(*map(abs, graph.g), TINY))
        if self.light:
            fg = self.program.variable(max(*map(abs, graph.f)) * max(*map(abs, graph.g), TINY))
            self.bent[number] = Bent(graph, f, g, fg)
            self._add_graph_lightly(self.bent[number])
            return
        self.bent[number] = Bent(graph, f, g, f * g)
        self.program.clique([*self.eta, g])
        self._add_graph(graph, f, g)

    def _value_of(self, record: Seen) -> Span:
        """An interval of ``f`` at the unmoved record, widened against rounding.

        Regions meet where moments were, which may well be on a kink; without it both could miss the kink.
        """
        centre, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        middle, reach = record.value + float(record.x @ centre), float(np.abs(record.x) @ half)
        reach += COEFFICIENTS * (abs(record.value) + float(np.abs(record.x) @ np.abs(centre)) + reach)
        return middle - reach, middle + reach

    def _graph(self, number: int, span: Span) -> Graph:
        """The graph of a record within the region and an interval of its ``f``."""
        record, region, loss = self.setting.record(number), self.region, self.setting.risk.loss
        low, high = _meet(span, region.values.get(number))
        if low > high:
            raise EmptyRegion
        pieces = loss.pieces(record.y)
        if pieces is None:
            ends = loss.pulls_over(record.y, low, high)
            above, below = (
                [(record.a * slope, record.a * offset) for slope, offset in loss.hull(record.y, low, high, upper=side)]
                for side in (True, False)
            )
            g = (record.a * ends[0], record.a * ends[1])
            return Graph((low, high), g, above=_few(above), below=_few(below))
        first, last = region.pieces.get(number, (0, len(pieces) - 1))
        chain = []
        for k in range(first, last + 1):
            chain += [(k, s) for s in segments((pieces[k],), low, high, record.a)]
        pulls = region.pulls.get(number)
        if pulls is not None:
            chain = [(k, part) for k, s in chain if (part := _cut(s, pulls)) is not None]
        if not chain:
            raise EmptyRegion
        kept = tuple(s for _, s in chain)
        f, g = (kept[0].f_low, kept[-1].f_high), (kept[0].g_low, kept[-1].g_high)
        return Graph(f, g, kept, tuple(k for k, _ in chain))

    def _add_graph(self, graph: Graph, f: Polynomial, g: Polynomial) -> None:
        """Point 5 of the module's docstring; ``f`` and ``g`` are linear in the variables of one clique."""
        program = self.program
        edges = [f - graph.f[0], graph.f[1] - f, g - graph.g[0], graph.g[1] - g]
        edges += [f * slope + offset - g for slope, offset in graph.above]
        edges += [g - f * slope - offset for slope, offset in graph.below]
        for r, edge in enumerate(edges):
            program.at_least_zero(edge)
            for other in edges[r:]:
                program.at_least_zero(edge * other)
        lines = [_equation(s, f, g) for s in graph.chain]
        if len(lines) == 1:
            program.equal(lines[0])
        elif len(lines) == 2:
            program.equal(lines[0] * lines[1])
        for f_0, g_0 in graph.corners:
            program.at_least_zero((f - f_0) * (g - g_0))

    def _add_graph_lightly(self, bent: Bent) -> None:
        """Linear rows, monotonicity and the products of the intervals of ``f`` and ``g``, in terms of ``fg``."""
        program, graph, f, g = self.program, bent.graph, bent.f, bent.g
        for low, high, quantity in ((*graph.f, f), (*graph.g, g)):
            program.at_least_zero(quantity - low)
            program.at_least_zero(high - quantity)
        for slope, offset in graph.above:
            program.at_least_zero(f * slope + offset - g)
        for slope, offset in graph.below:
            program.at_least_zero(g - f * slope - offset)
        if len(graph.chain) == 1:
            program.equal(_equation(graph.chain[0], f, g))
        for f_0, g_0 in graph.corners:
            program.at_least_zero(bent.fg - g * f_0 - f * g_0 + f_0 * g_0)
        for f_0, g_0 in ((graph.f[0], graph.g[1]), (graph.f[1], graph.g[0])):
            program.at_least_zero(g * f_0 + f * g_0 - bent.fg - f_0 * g_0)

    # -- movers ---

    def _add_mover(self, i: int) -> None:
        setting, program = self.setting, self.program
        record, one = setting.movers[i]
        low, high = self._box(i, one)
        graph = self._graph(len(setting.fixed) + i, self._values_of(record, one, low, high))
        size = max(*map(abs, graph.g), TINY)
        g = program.variable(size)
        free = high > low
        reach = np.maximum(np.maximum(np.abs(low), np.abs(high)), TINY)
        delta = [
            program.variable(float(r)) if room else Polynomial() + float(end)
            for r, end, room in zip(reach, low, free, strict=True)
        ]
        u = [
            program.variable(size * float(r)) if room else g * float(end)
            for r, end, room in zip(reach, low, free, strict=True)
        ]
        z = program.variable() if self._counts else None
        slanted = graph.line is not None and graph.line[0] > 0
        if slanted:
            assert graph.line is not None
            f = (g - graph.line[1]) * (1 / graph.line[0])
        else:
            f = program.variable(max(*map(abs, graph.f), TINY))
        sizes = {}
        if self._is_in_l1(one):
            sizes = {int(j): program.variable(float(reach[j] / one.scales[j])) for j in np.flatnonzero(free)}
        mover = Mover(i, one, graph, low, high, tuple(delta), tuple(u), f, g, z, sizes)
        self.movers[i] = mover
        self._identify(mover)
        own = [*(delta[j] for j in mover.free), g, *([] if slanted else [f]), *(u[j] for j in mover.free)]
        cost = self._cost(mover)
        own += [v for v in (z, cost) if v is not None]
        program.clique([*self.eta, *own, *sizes.values()])
        if slanted:
            self._interval(g, *graph.g)
        else:
            self._add_graph(graph, f, g)
        self._tie_value(record, mover)
        self._add_set(mover)
        self._add_ellipsoids(record, mover)

    def _box(self, i: int, one: ChangeSet) -> tuple[Vector, Vector]:
        low, high = one.lower.copy(), one.upper.copy()
        for (member, j), (a, b) in self.region.changes.items():
            if member == i:
                low[j], high[j] = max(low[j], a), min(high[j], b)
        for j, grid in enumerate(one.grids):
            if grid is not None:
                inside = grid[(grid >= low[j]) & (grid <= high[j])]
                if not len(inside):
                    raise EmptyRegion
                low[j], high[j] = inside[0], inside[-1]
        if (low > high).any():
            raise EmptyRegion
        return low, high

    def _values_of(self, record: Seen, one: ChangeSet, low: Vector, high: Vector) -> Span:
        """An interval of ``f`` over the region: of ``x'eta``, and of ``w'delta`` over the box and the balls."""
        setting = self.setting
        centre, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        w, off = setting.w_bar + setting.W @ centre, np.abs(setting.W) @ half
        most = np.maximum(np.abs(low), np.abs(high))
        far = off @ most
        up = float(np.maximum(w * low, w * high).sum() + far)
        down = float(np.minimum(w * low, w * high).sum() - far)
        for ball in one.balls:
            dual = _dual_norm(ball.norm, w * one.scales) + _dual_norm(ball.norm, off * one.scales)
            up, down = min(up, ball.radius * dual), max(down, -ball.radius * dual)
        unmoved, slack = self._value_of(record), COEFFICIENTS * float((np.abs(w) + off) @ most)
        return unmoved[0] + down - slack, unmoved[1] + up + slack

    def _identify(self, mover: Mover) -> None:
        program, free = self.program, mover.free
        delta = [program.number(mover.delta[j]) for j in free]
        u = [program.number(mover.u[j]) for j in free]
        g = program.number(mover.g)
        for r, j in enumerate(delta):
            program.identify((j, g), (0, u[r]))
            for k in range(r):
                program.identify((j, u[k]), (delta[k], u[r]))
        if mover.z is not None:
            z = program.number(mover.z)
            program.identify((z, z), (0, z))
            for number in (*delta, *u):
                program.identify((number, z), (0, number))

    def _tie_value(self, record: Seen, mover: Mover) -> None:
        """``f = f_bar + x'eta + w'delta`` as it stands and times ``g``."""
        setting = self.setting
        own = combine(record.x, self.eta) + record.value - mover.f
        for start, changes in ((own, mover.delta), (own * mover.g, mover.u)):
            row = start + combine(setting.w_bar, changes)
            for w, change in zip(setting.W, changes, strict=True):
                if change.terms:
                    row.add(combine(w, self.eta) * change)
            self.program.equal(row)

    def _add_set(self, mover: Mover) -> None:
        """Points 3 of the module's docstring: linear constraints, then every quadratic."""
        one, program, delta, u, g = mover.one, self.program, mover.delta, mover.u, mover.g
        rows: list[Row] = []
        triples: list[tuple[Polynomial, Polynomial, Polynomial]] = []
        for j in mover.free:
            below = (delta[j] - float(mover.low[j]), u[j] - g * float(mover.low[j]))
            above = (float(mover.high[j]) - delta[j], g * float(mover.high[j]) - u[j])
            rows += [below, above]
            triples.append(_product(below, above))
            grid = one.grids[j]
            if grid is not None and sum((grid >= mover.low[j]) & (grid <= mover.high[j])) == 2:
                program.equal(triples[-1][0])
        for A, b in zip(one.A, _limits(one), strict=True):
            row = (float(b) - combine(A, delta), g * float(b) - combine(A, u))
            rows.append(row)
            triples.append(_product(row, row))
        for group in one.groups:
            columns = group.columns.tolist()
            off = _sum([delta[j] for j in columns]) - group.total, _sum([u[j] for j in columns]) - g * group.total
            if group.total == 0:
                program.equal(off[0])
                program.equal(off[1])
            else:
                rows += [(ROUNDING - off[0], g * ROUNDING - off[1]), (ROUNDING + off[0], g * ROUNDING + off[1])]
        for ball in one.balls:
            if ball.norm is not Norm.LINF:
                triples.append(_ball(ball.radius, one.scales, mover))
        low, high = mover.graph.g
        rows += [(row, row * g) for row in self._add_sizes(mover)]
        for plain, once in rows:
            program.at_least_zero(plain)
            program.at_least_zero(once - plain * low)
            program.at_least_zero(plain * high - once)
        for plain, once, twice in triples:
            program.semidefinite([[plain, once], [Polynomial(), twice]])
            program.at_least_zero(once - plain * low)
            program.at_least_zero(plain * high - once)
            program.at_least_zero(once * (low + high) - twice - plain * (low * high))
        if mover.z is not None:
            self._add_acting(mover, mover.z)

    def _is_in_l1(self, one: ChangeSet) -> bool:
        costs = self._has_costs and self.setting.problem.collective.cost is CostKind.L1
        return costs or any(ball.norm is Norm.L1 for ball in one.balls)

    def _l1(self, mover: Mover) -> Polynomial:
        """The length of the change in l1."""
        still = np.abs(mover.low / mover.one.scales)[mover.high <= mover.low].sum()
        return _sum(list(mover.sizes.values())) + float(still)

    def _add_sizes(self, mover: Mover) -> list[Polynomial]:
        """What is at least 0 by the sizes, linear."""
        found = []
        for j, size in mover.sizes.items():
            scaled = mover.delta[j] * (1 / float(mover.one.scales[j]))
            self.program.equal(size * size - scaled * scaled)
            self.program.at_least_zero(size)
            found += [size - scaled, size + scaled]
        radius = mover.one.ball(Norm.L1)
        if math.isfinite(radius):
            room = radius - self._l1(mover)
            found.append(room)
            self.program.at_least_zero(room * room)
            for size in mover.sizes.values():
                self.program.at_least_zero(room * size)
        return found

    def _add_acting(self, mover: Mover, z: Polynomial) -> None:
        """Nothing moves where ``z`` is 0."""
        one, program = mover.one, self.program
        program.at_least_zero(z)
        program.at_least_zero(1 - z)
        for j in mover.free:
            program.at_least_zero(mover.delta[j] - z * float(mover.low[j]))
            program.at_least_zero(z * float(mover.high[j]) - mover.delta[j])
        for ball in one.balls:
            if ball.norm is Norm.L2:
                row = z * ball.radius**2
                for scale, change in zip(one.scales, mover.delta, strict=True):
                    row.add(change * change, -1 / float(scale) ** 2)
                program.at_least_zero(row)
        if self.region.acting.get(mover.index):
            program.equal(1 - z)

    def _add_ellipsoids(self, record: Seen, mover: Mover) -> None:
        one, round_ball = mover.one, False
        for ball in one.balls:
            if ball.norm is not Norm.LINF:
                round_ball = True
                self._add_ellipsoid(record, mover, np.zeros(one.d), (ball.radius * one.scales) ** 2)
        middle, half = 0.5 * (mover.low + mover.high), 0.5 * (mover.high - mover.low)
        if not round_ball or middle.any():
            self._add_ellipsoid(record, mover, middle, half * half.sum())

    def _add_ellipsoid(self, record: Seen, mover: Mover, m: Vector, Q: Vector) -> None:
        """Point 4 of the module's docstring, for a diagonal ``Q``."""
        setting = self.setting
        used = [j for j in range(len(Q)) if Q[j] > 0 and mover.high[j] > mover.low[j]]
        rest = np.ones(len(Q), dtype=bool)
        rest[used] = False
        w = [combine(setting.W[j], self.eta) + float(setting.w_bar[j]) for j in used]
        shifted = [mover.delta[j] - float(m[j]) for j in used]
        # t = w'(delta - m) over the free features = f - f_bar - x'eta - w'c, c being m there and delta elsewhere.
        c = np.where(rest, mover.low, m)
        t = mover.f - record.value - combine(record.x, self.eta)
        t = t - float(setting.w_bar @ c) - combine(setting.W.T @ c, self.eta)
        corner = -(t * t)
        for weight, j in zip(w, used, strict=True):
            corner.add(weight * weight, float(Q[j]))
        matrix = [
            [corner, *(t * change - weight * float(Q[j]) for weight, change, j in zip(w, shifted, used, strict=True))]
        ]
        for r, j in enumerate(used):
            row = [Polynomial() for _ in range(1 + r)] + [-(shifted[r] * change) for change in shifted[r:]]
            row[1 + r].add(float(Q[j]))
            matrix.append(row)
        self.program.semidefinite(matrix)

    # -- costs and the goal ---

    @property
    def _has_costs(self) -> bool:
        problem = self.setting.problem
        return problem.goal is GoalKind.MIN_COST or problem.collective.budget.total is not None

    def _cost(self, mover: Mover) -> Polynomial | None:
        """Adds the member's cost, or a lower bound on it; returns the variable that its clique must hold, if any."""
        problem, program = self.setting.problem, self.program
        if not self._has_costs:
            return None
        cost, own = Polynomial(), None
        if mover.z is not None:
            cost.add(mover.z, mover.one.fixed_cost)
        match problem.collective.cost:
            case CostKind.COUNT:
                assert mover.z is not None
                cost.add(mover.z)
            case CostKind.SQL2:
                cost.add(self._square(mover))
            case CostKind.L1:
                cost.add(self._l1(mover))
            case CostKind.L2:
                own = program.variable(max(self._reach(mover), TINY))
                program.equal(own * own - self._square(mover))
                program.at_least_zero(own * self._reach(mover) - self._square(mover))
                self._add_length(mover, own)
            case CostKind.LINF:
                own = program.variable(max(self._reach(mover), TINY))
                self._add_largest(mover, own)
        if own is not None:
            program.at_least_zero(own)
            cost.add(own)
        self.costs.append(cost)
        return own

    @staticmethod
    def _square(mover: Mover) -> Polynomial:
        square = Polynomial()
        for scale, change in zip(mover.one.scales, mover.delta, strict=True):
            square.add(change * change, 1 / float(scale) ** 2)
        return square

    def _factors(self, mover: Mover, length: Polynomial) -> list[Polynomial | None]:
        """What is at least 0 and may multiply a row of the member: 1 (None), what a length lacks, the ends of ``g``."""
        low, high = mover.graph.g
        return [None, self._reach(mover) - length, mover.g - low, high - mover.g]

    def _add_largest(self, mover: Mover, length: Polynomial) -> None:
        """``|delta_j / scale_j| <= length``."""
        for scale, change in zip(mover.one.scales, mover.delta, strict=True):
            scaled = change * (1 / float(scale))
            self.program.at_least_zero(length * length - scaled * scaled)
            for row in (length - scaled, length + scaled):
                for factor in self._factors(mover, length):
                    self.program.at_least_zero(row if factor is None else row * factor)

    def _add_length(self, mover: Mover, length: Polynomial) -> None:
        """``||delta / scale|| <= length`` as a matrix, plain and times ``reach - length`` and the ends of ``g``."""
        scaled = [mover.delta[j] * (1 / float(mover.one.scales[j])) for j in range(mover.one.d)]
        for factor in self._factors(mover, length):
            axis = length if factor is None else length * factor
            matrix = [[axis, *(v if factor is None else v * factor for v in scaled)]]
            for r in range(len(scaled)):
                matrix.append([axis if c == r else Polynomial() for c in range(-1, len(scaled))])
            self.program.semidefinite(matrix)

    def _reach(self, mover: Mover) -> float:
        """The longest change in l2 over scaled features."""
        corner = float(np.linalg.norm(np.maximum(np.abs(mover.low), np.abs(mover.high)) / mover.one.scales))
        balls = [ball.radius for ball in mover.one.balls if ball.norm is not Norm.LINF]
        return min([corner, *balls])

    def _add_budgets(self) -> None:
        budget = self.setting.problem.collective.budget
        if budget.total is not None:
            self.program.at_least_zero(budget.total - self._spent())
        if budget.members is not None:
            self.program.at_least_zero(budget.members - self._acting())

    def _spent(self) -> Polynomial:
        return _sum(self.costs) + sum(move.cost for move in self.setting.options)

    def _acting(self) -> Polynomial:
        acting = [mover.z for mover in self.movers.values() if mover.z is not None]
        return _sum(acting) + float(len(self.setting.options))

    def _goal(self) -> Polynomial:
        """The objective to be maximised (a cost with its sign changed), with the rows that it needs."""
        setting, problem, program = self.setting, self.setting.problem, self.program
        subjects = (*problem.queries, *problem.guards)
        rows = setting.risk.extend(np.array([subject.x for subject in subjects]))
        margins = [
            (combine(setting.basis.T @ row, self.eta) + (float(row @ setting.theta_bar) - subject.threshold))
            * subject.target
            for row, subject in zip(rows, subjects, strict=True)
        ]
        asked = len(problem.queries)
        for guard, margin in zip(problem.guards, margins[asked:], strict=True):
            program.at_least_zero(margin - problem.needed_margin(guard))
        if problem.goal is GoalKind.MAX_MARGIN:
            if asked == 1:
                return margins[0]
            least = program.variable(max(abs(end) for margin in margins[:asked] for end in _ends(margin)))
            for margin in margins[:asked]:
                program.at_least_zero(margin - least)
            return least
        if problem.goal is GoalKind.MAX_HELPED:
            return _sum([self._reach_margin(q, margin) for q, margin in enumerate(margins[:asked])])
        for query, margin in zip(problem.queries, margins[:asked], strict=True):
            program.at_least_zero(margin - problem.needed_margin(query))
        return -(self._spent() if problem.goal is GoalKind.MIN_COST else self._acting())

    def _reach_margin(self, q: int, margin: Polynomial) -> Polynomial:
        """A number in [0, 1] that is 1 only where the query's margin is what it needs."""
        problem, program, given = self.setting.problem, self.program, self.region.helped.get(q)
        required = problem.needed_margin(problem.queries[q])
        low = min(_ends(margin)[0], required)
        reached = program.variable()
        self.reached[q] = reached
        program.at_least_zero(reached)
        program.at_least_zero(1 - reached)
        program.at_least_zero(margin - low - reached * (required - low))
        if given is not None:
            program.equal(reached - float(given))
        return reached


def counts_acting(problem: RecourseProblem) -> bool:
    """Whether it matters if a member acts at all, not only how far it goes."""
    collective = problem.collective
    if problem.goal is GoalKind.MIN_MEMBERS or collective.budget.members is not None:
        return True
    if problem.goal is not GoalKind.MIN_COST and collective.budget.total is None:
        return False
    charges = [action.charge for member in collective.members for action in member.feature_actions]
    return collective.cost is CostKind.COUNT or any(charges)


Row = tuple[Polynomial, Polynomial]
"""A linear function of ``delta``, plain and times ``g``."""


def _ends(polynomial: Polynomial) -> Span:
    """A range of a polynomial whose moments lie in ``[-1, 1]``."""
    constant = polynomial.terms.get((0, 0), 0.0)
    spread = sum(abs(v) for monomial, v in polynomial.terms.items() if monomial != (0, 0))
    return constant - spread, constant + spread


def _sum(polynomials: Sequence[Polynomial]) -> Polynomial:
    return combine(np.ones(len(polynomials)), polynomials)


def _meet(span: Span, other: Span | None) -> Span:
    return span if other is None else (max(span[0], other[0]), min(span[1], other[1]))


def _few(lines: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most :data:`MOST_LINES` of them, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(lines) - 1, min(len(lines), MOST_LINES)).round().astype(int))
    return tuple(lines[k] for k in chosen)


def _equation(s: Segment, f: Polynomial, g: Polynomial) -> Polynomial:
    """0 on the segment's line."""
    if s.f_high <= s.f_low:
        return f - s.f_low
    slope = (s.g_high - s.g_low) / (s.f_high - s.f_low)
    return g - f * slope - (s.g_low - slope * s.f_low)


def _cut(s: Segment, pulls: Span) -> Segment | None:
    """The part of a segment whose pull lies in an interval."""
    low, high = max(s.g_low, pulls[0]), min(s.g_high, pulls[1])
    if low > high:
        return None
    if s.is_flat or s.f_high <= s.f_low:
        return Segment(s.f_low, s.f_high, low, high)
    slope = (s.g_high - s.g_low) / (s.f_high - s.f_low)
    return Segment(s.f_low + (low - s.g_low) / slope, s.f_high - (s.g_high - high) / slope, low, high)


def _limits(one: ChangeSet) -> Vector:
    """``b`` of the linear constraints, with the rounding that :meth:`ChangeSet.violation` grants a member that stays.

    Without it a record that lies on a constraint but for its last digit would count as unable to stay there.
    """
    sizes = np.abs(one.A)
    reach = np.maximum(np.abs(one.lower), np.abs(one.upper))
    limits: Vector = one.b + ROUNDING * (sizes @ one.scales)
    limits += HIDDEN * (sizes @ (np.abs(one.x) + reach) + np.abs(one.b))
    return limits


def _dual_norm(norm: Norm, v: Vector) -> float:
    return {Norm.L1: Norm.LINF, Norm.L2: Norm.L2, Norm.LINF: Norm.L1}[norm].of(v)


def _ball(radius: float, scales: Vector, mover: Mover) -> tuple[Polynomial, Polynomial, Polynomial]:
    """``q, g q, g^2 q`` of ``q = radius^2 - ||delta / scale||^2``."""
    g, square = mover.g, radius**2
    plain, once, twice = Polynomial() + square, g * square, (g * g) * square
    for scale, change, pulled in zip(scales, mover.delta, mover.u, strict=True):
        share = 1 / float(scale) ** 2
        plain.add(change * change, -share)
        once.add(change * pulled, -share)
        twice.add(pulled * pulled, -share)
    return plain, once, twice


def _product(one: Row, other: Row) -> tuple[Polynomial, Polynomial, Polynomial]:
    """``q, g q, g^2 q`` of the product of two linear functions."""
    return one[0] * other[0], one[0] * other[1], one[1] * other[1]
