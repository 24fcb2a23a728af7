"""Branch and bound over regions of parameters, decision values and pulls, bounded by moment relaxations.

Best bound first. Each region is bounded by :class:`oar_opt.moment_relaxation.MomentRelaxation`; the changes that its
moments of degree one suggest are made, re-trained and kept where they are the best answer so far. A region whose bound
is no better than that, within the gap, is done; any other is split where the moments are farthest from those of a
point:

- a query that is helped in part: is helped, or need not be;
- a member that acts in part: acts, or stays;
- a feature between two values of its grid: below, or above;
- a record off its graph: the pieces before, or after;
- a member whose pull and change are correlated: its ``f`` (its ``g``, on an upright piece) below its mean, or above;
- else the parameter with the largest variance, at its mean.

Where members choose among several actions, the search begins with one region for each combination
(:mod:`oar_opt.moment_setting`).

The bound is the largest of all open regions, of those that were dropped within the gap, and the best answer, so that it
is valid whenever the search stops.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from oar_opt.changes import ChangeSet
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.heuristics.projected_gradient import improve
from oar_opt.moment_program import MomentSolution
from oar_opt.moment_relaxation import EmptyRegion, Graph, MomentRelaxation, Region
from oar_opt.moment_setting import Setting
from oar_opt.problem import GoalKind, Option, OptionKind, RecourseProblem, Vector
from oar_opt.result import Claim, Progress, Request, StoppedBy
from oar_opt.risk import Segment
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violation

PART = 1e-5
"""From this distance to 0 and 1 on, a member acts in part, and a query is helped in part."""
POLISHING, POLISHING_SHARE = 0.3, 0.2
"""Seconds of one local search, and of all of them together as a part of the whole."""
LIGHT_TIGHTENING, TIGHTENING_SHARE, STALLED = 10.0, 0.3, 0.9
"""Seconds for the parameters' intervals by the light relaxation; by the full one, that part of what has passed; never
more than that part of what is left. Rounds go on while the intervals shrink by that factor."""
TIGHTENING_FIRST, TIGHTENING_AGAIN = 15, 4
"""The first time after so many regions, and again after so many times as many."""
ENDING = 0.9
"""Of the requested gap: answers are re-trained, so that only rounding needs room."""
CUT_SLACK, WIDENING = 1e-7, 1e-9
COUNTS = (GoalKind.MIN_MEMBERS, GoalKind.MAX_HELPED)
"""Goals whose values are whole numbers."""
MANY_BENT = 60
"""Fixed records that may need cliques: with more, intervals are shrunk before the first relaxation."""
OFF_GRID = 1e-4
"""Of the distance between two values of a grid."""
NEGLIGIBLE = 1e-9
"""Errors of a region's moments below that are no reason to split there."""
INNER = 0.1
"""Splits keep that part of an interval at least on either side."""


@dataclass(order=True)
class _Open:
    """An open region of the setting of that number; ``rank`` is minus its bound."""

    rank: float
    number: int
    region: Region = field(compare=False)
    setting: int = field(compare=False)


class MomentSearch:
    """One run; see the module's docstring. Bounds inside are of the quantity to maximise (costs change their sign)."""

    def __init__(self, problem: RecourseProblem, settings: Sequence[Setting], request: Request) -> None:
        self.problem, self.settings, self.request = problem, list(settings), request
        self.sign = 1.0 if self.problem.goal.maximises else -1.0
        self.started = time.monotonic()
        self.best: Evaluation | None = None
        self.open: list[_Open] = []
        self.nodes, self.last_report, self.polishing = 0, -math.inf, 0.0
        self.tightening_at = TIGHTENING_FIRST
        self.done_below = -math.inf
        """The largest bound of a region that was dropped since it is within the gap of the best answer."""
        if request.start is not None:
            self._consider(evaluate(self.problem, request.start))

    def run(self) -> Claim:
        for number, setting in enumerate(self.settings):
            if len(setting.fixed) > MANY_BENT:
                self._tighten(number, light=True)
            setting = self.settings[number]
            acting = {i: True for i in setting.forced}
            heapq.heappush(
                self.open, _Open(-math.inf, -number, Region(setting.low, setting.high, acting=acting), number)
            )
        stopped = StoppedBy.GAP
        while self.open:
            limit = self._limit()
            if limit is not None:
                stopped = limit
                break
            node = heapq.heappop(self.open)
            if self._is_done(-node.rank):
                self.done_below = max(self.done_below, -node.rank)
                continue
            self._explore(node)
            self._report()
            if self.nodes == self.tightening_at and self.open:
                for number in {node.setting for node in self.open}:
                    self._tighten(number, light=False)
                self.tightening_at *= TIGHTENING_AGAIN
        return self._claim(stopped)

    # -- one region ---

    def _explore(self, node: _Open) -> None:
        self.nodes += 1
        try:
            relaxation = MomentRelaxation(self.settings[node.setting], node.region)
        except EmptyRegion:
            return
        found = relaxation.solve(self._left(), self._enough())
        bound = min(found.bound, -node.rank)
        if relaxation.is_empty(bound):
            return
        if found.moments:
            self._try(relaxation.setting, self._suggested(relaxation, found), bound)
        if self._is_done(bound):
            self.done_below = max(self.done_below, bound)
            return
        for part in parts_of(relaxation, found):
            heapq.heappush(self.open, _Open(-bound, self.nodes, part, node.setting))

    def _is_done(self, bound: float) -> bool:
        return self.best is not None and bound <= self._enough()

    def _enough(self) -> float:
        """The bound at which a region is done."""
        if self.best is None:
            return -math.inf
        value = self.sign * self.best.objective
        if self.problem.goal in COUNTS:
            return value + 1 - 1e-6
        return value + ENDING * self.request.relative_gap * max(1.0, abs(value))

    def _limit(self) -> StoppedBy | None:
        if self.request.interrupted():
            return StoppedBy.INTERRUPT
        if self.request.node_limit is not None and self.nodes >= self.request.node_limit:
            return StoppedBy.NODE_LIMIT
        left = self._left()
        return StoppedBy.TIME_LIMIT if left is not None and left <= 0 else None

    def _left(self) -> float | None:
        limit = self.request.time_limit
        return None if limit is None else limit - (time.monotonic() - self.started)

    def _tighten(self, number: int, *, light: bool) -> None:
        """Shrink the parameters' intervals of a setting for answers better than the best one."""
        now, left, setting = time.monotonic(), self._left(), self.settings[number]
        most = (LIGHT_TIGHTENING if light else TIGHTENING_SHARE * (now - self.started)) / len(self.settings)
        until = now + (most if left is None else min(most, TIGHTENING_SHARE * left))
        least = None if self.best is None else self.sign * self.best.objective - CUT_SLACK
        low, high = setting.low.copy(), setting.high.copy()
        while time.monotonic() < until:
            width = (high - low).sum()
            try:
                relaxation = MomentRelaxation(setting, Region(low, high), least, light=light)
            except EmptyRegion:
                return
            if not relaxation.bent:
                break
            for j in range(setting.p):
                for side, ends in ((1.0, high), (-1.0, low)):
                    if time.monotonic() < until and not self.request.interrupted():
                        end = relaxation.end_of(j, side, until - time.monotonic()) + WIDENING
                        ends[j] = side * min(side * ends[j], end)
            if (low > high).any() or (high - low).sum() > STALLED * width:
                break
        if (low <= high).all():
            self.settings[number] = replace(setting, low=low, high=high)

    # -- answers ---

    def _suggested(self, relaxation: MomentRelaxation, found: MomentSolution) -> list[tuple[ChangeSet, Vector]]:
        """The changes that the moments suggest: ``E[u] / E[g]`` where ``g`` is not near 0, else ``E[delta]``."""
        suggested = []
        for mover in relaxation.movers.values():
            if mover.z is not None and found.value(mover.z) < 0.5:
                continue
            g, size = found.value(mover.g), max(map(abs, mover.graph.g))
            delta = found.values(mover.delta)
            if abs(g) > 0.01 * size:
                delta = found.values(mover.u) / g
            suggested.append((mover.one, _inside(mover.one, delta)))
        return suggested

    def _try(self, setting: Setting, suggested: Sequence[tuple[ChangeSet, Vector]], bound: float) -> None:
        """Re-train with these changes, and with what a local search makes of them, while that takes little time."""
        moves = [*setting.options, *(move for one, delta in suggested if (move := one.move(delta)) is not None)]
        if not (budget_violations(self.problem, moves) or any(move_violation(self.problem, move) for move in moves)):
            with suppress(UndefinedLearner):
                self._consider(evaluate(self.problem, moves))
        if self._is_done(bound) or self.polishing > POLISHING_SHARE * (time.monotonic() - self.started):
            return
        began = time.monotonic()
        limit = POLISHING if self.request.time_limit is None else min(POLISHING, max(0.01, self._left() or 0.0))
        deltas = {one.record: delta for one, delta in suggested}
        options = {move.record: Option(OptionKind.MENU, move.x, move.y, move.s, move.cost) for move in setting.options}
        self._consider(improve(self.problem, deltas, options, seed=self.nodes, time_limit=limit))
        self.polishing += time.monotonic() - began

    def _consider(self, outcome: Evaluation | None) -> None:
        if outcome is not None and outcome.improves_on(self.best):
            self.best = outcome

    # -- what comes out ---

    def _bound(self) -> float:
        """Of the quantity to maximise."""
        value = -math.inf if self.best is None else self.sign * self.best.objective
        bound = max([value, self.done_below, *(-node.rank for node in self.open)])
        if self.problem.goal in COUNTS and math.isfinite(bound):
            bound = float(math.floor(bound + 1e-6))
        return bound

    def _claim(self, stopped: StoppedBy) -> Claim:
        import clarabel

        bound, solver = self._bound(), f"clarabel {clarabel.__version__}"
        if self.best is None:
            if bound == -math.inf:
                return Claim(StoppedBy.PROOF, infeasible=True, solver=solver, nodes=self.nodes)
            known = self.sign * bound if math.isfinite(bound) else None
            return Claim(stopped, bound=known, solver=solver, nodes=self.nodes)
        return Claim(
            stopped,
            moves=self.best.moves,
            objective=self.best.objective,
            bound=self.sign * bound if math.isfinite(bound) else None,
            parameters=self.best.parameters,
            solver=solver,
            nodes=self.nodes,
        )

    def _report(self) -> None:
        progress = self.request.progress
        if progress is None or time.monotonic() - self.last_report < 0.1:
            return
        self.last_report = time.monotonic()
        bound = self._bound()
        primal = None if self.best is None else self.best.objective
        known = self.sign * bound if math.isfinite(bound) else None
        progress(Progress(self.last_report - self.started, self.nodes, primal, known))


def _inside(one: ChangeSet, delta: Vector) -> Vector:
    """A change near ``delta`` that obeys intervals and balls."""
    near: Vector = np.clip(delta, one.lower, one.upper)
    for ball in one.balls:
        length = ball.norm.of(near / one.scales)
        if length > ball.radius:
            near = near * (ball.radius / length)
    return near


# -- splitting ---

Parts = list[Region]


def parts_of(relaxation: MomentRelaxation, found: MomentSolution) -> Parts:
    """Regions that together hold all points of this one."""
    if not found.moments:
        return _halves(relaxation, int(np.argmax(relaxation.high - relaxation.low)), None)
    return (
        _by_helped(relaxation, found)
        or _by_acting(relaxation, found)
        or _by_grid(relaxation, found)
        or _by_record(relaxation, found)
        or _by_parameter(relaxation, found)
    )


def _by_acting(relaxation: MomentRelaxation, found: MomentSolution) -> Parts:
    acting = {i: mover.z for i, mover in relaxation.movers.items() if mover.z is not None}
    return _by_part(relaxation.region, "acting", {i: found.value(z) for i, z in acting.items()})


def _by_helped(relaxation: MomentRelaxation, found: MomentSolution) -> Parts:
    return _by_part(relaxation.region, "helped", {q: found.value(part) for q, part in relaxation.reached.items()})


def _by_part(region: Region, name: str, shares: Mapping[int, float]) -> Parts:
    """Yes or no, of what is nearest to a half; none where all are 0 or 1."""
    partly = {i: abs(share - 0.5) for i, share in shares.items() if PART < share < 1 - PART}
    if not partly:
        return []
    i = min(partly, key=lambda i: partly[i])
    return [region.split(name, i, answer) for answer in (True, False)]


def _by_grid(relaxation: MomentRelaxation, found: MomentSolution) -> Parts:
    worst, chosen = OFF_GRID, None
    for i, mover in relaxation.movers.items():
        for j in mover.free:
            grid = mover.one.grids[j]
            if grid is None:
                continue
            value = min(max(found.value(mover.delta[j]), mover.low[j]), mover.high[j])
            above = int(np.clip(np.searchsorted(grid, value), 1, len(grid) - 1))
            left, right = float(grid[above - 1]), float(grid[above])
            off = min(value - left, right - value) / (right - left)
            if off > worst:
                worst, chosen = off, ((i, j), (float(mover.low[j]), left), (right, float(mover.high[j])))
    if chosen is None:
        return []
    key, below, beyond = chosen
    return [relaxation.region.split("changes", key, part) for part in (below, beyond)]


def _by_record(relaxation: MomentRelaxation, found: MomentSolution) -> Parts:
    """Of the record whose moments are farthest from a point, weighted by what it does to the first query's margin."""
    setting = relaxation.setting
    towards = relaxation.towards
    best, chosen = NEGLIGIBLE, None
    for number, bent in relaxation.bent.items():
        weight = abs(float(towards @ setting.record(number).x))
        score = weight * _off_graph(bent.graph, found.value(bent.f), found.value(bent.g))
        if score > best:
            best, chosen = score, (number, bent.graph, bent.f, bent.g)
    for i, mover in relaxation.movers.items():
        record = setting.movers[i][0]
        g, delta = found.value(mover.g), found.values(mover.delta)
        mixed = setting.W.T @ (found.values(mover.u) - g * delta)
        off = _off_graph(mover.graph, found.value(mover.f), g)
        score = abs(float(towards @ mixed)) + abs(float(towards @ record.x)) * off
        if score > best and (len(mover.graph.chain) != 1 or not mover.graph.chain[0].is_flat):
            best, chosen = score, (len(setting.fixed) + i, mover.graph, mover.f, mover.g)
    if chosen is None:
        return []
    number, graph, f, g_polynomial = chosen
    return _along_graph(relaxation.region, number, graph, found.value(f), found.value(g_polynomial))


def _along_graph(region: Region, number: int, graph: Graph, f: float, g: float) -> Parts:
    """Before and after a place of the graph: between two pieces, or inside the only one."""
    if len(graph.chain) > 1:
        nearest = min(range(len(graph.chain)), key=lambda k: _distance(graph.chain[k], f, g))
        cut = max(1, nearest) if nearest < len(graph.chain) - 1 else nearest
        before, after = graph.pieces[:cut], graph.pieces[cut:]
        return [region.split("pieces", number, (part[0], part[-1])) for part in (before, after)]
    upright = bool(graph.chain) and graph.f[0] == graph.f[1]
    name, (low, high), at = ("pulls", graph.g, g) if upright else ("values", graph.f, f)
    at = _inner(low, high, at)
    return [region.split(name, number, part) for part in ((low, at), (at, high))]


def _by_parameter(relaxation: MomentRelaxation, found: MomentSolution) -> Parts:
    variances = [found.value(eta * eta) - found.value(eta) ** 2 for eta in relaxation.eta]
    widest = int(np.argmax(variances))
    return _halves(relaxation, widest, found.value(relaxation.eta[widest]))


def _halves(relaxation: MomentRelaxation, j: int, at: float | None) -> Parts:
    low, high = float(relaxation.low[j]), float(relaxation.high[j])
    at = _inner(low, high, 0.5 * (low + high) if at is None else at)
    region = relaxation.region
    below, above = region.high.copy(), region.low.copy()
    below[j] = above[j] = at
    return [replace(region, high=below), replace(region, low=above)]


def _inner(low: float, high: float, at: float) -> float:
    return min(max(at, low + INNER * (high - low)), high - INNER * (high - low))


def _off_graph(graph: Graph, f: float, g: float) -> float:
    """How far ``g`` is from the graph at ``f``, roughly."""
    if graph.chain:
        return min(_distance(s, f, g) for s in graph.chain)
    return min(g - graph.g[0], graph.g[1] - g)


def _distance(s: Segment, f: float, g: float) -> float:
    """From ``(f, g)`` to a segment, in the larger of the two coordinates."""
    f_near = min(max(f, s.f_low), s.f_high)
    share = (f_near - s.f_low) / (s.f_high - s.f_low) if s.f_high > s.f_low else None
    g_near = min(max(g, s.g_low), s.g_high) if share is None else s.g_low + share * (s.g_high - s.g_low)
    return max(abs(f - f_near), abs(g - g_near))
