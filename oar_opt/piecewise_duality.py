"""Strong duality of the learner as linear rows: what the records' graphs say together.

For every record that counts, ``a l(f) + (a l)*(g) >= f g`` with equality on the graph, and stationarity times ``theta``
says ``sum f g = -lam (theta - theta0)'R theta``, moved records included, as it is their moved ``xhat`` that both ``f``
and stationarity have. So at the learner's optimum

    sum_i [ a_i l(f_i) + (a_i l)*(g_i) ] + lam (theta - theta0)'R theta <= 0,

a convex row of which the relaxation's products know nothing. Its terms are stated from below:

- fixed records on one line, ``g = slope f + offset``, give ``f g``, quadratic in ``theta``; with the penalty that is
  ``theta'Q theta`` and a linear part. Around the present optimum it is split along the axes of ``Q``, and every square
  gets tangents (:class:`oar_opt.piecewise_cells.SquareSum`); a constant pull gives ``g f``, linear as it is.
- an option or a change set on one line, if used: ``f g = (g^2 - offset g) / slope``, so ``g^2 / z`` gets tangents.
- all others: ``a l(f) >= a l(f_0) + g_0 (f - f_0)`` and ``(a l)*(g) >= f_0 g - a l(f_0)`` for some points
  ``(f_0, g_0)`` of the graph, multiplied by ``z``, with a variable for ``z f``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.bilinear_system import BilinearSystem
from oar_opt.menu_program import dot
from oar_opt.optimality_system import Graph
from oar_opt.piecewise_cells import SquareSum, TangentBook
from oar_opt.problem import Matrix, Vector
from oar_opt.risk import segments

SLACK = 1e-9
"""Of the row, relative to the total weight of the records: the row is an equality in disguise."""
ROOM = 1 + 1e-6


@dataclass(frozen=True, eq=False)
class Stated:
    """A graph and its pull; ``ends`` are those of ``f`` if the record counts."""

    graph: Graph
    pull: Any
    ends: list[float]


class RecordingSystem(BilinearSystem):
    """Remembers the graphs that it states."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.stated: list[Stated] = []

    def state(self, graph: Graph) -> Any:
        pull = super().state(graph)
        self.stated.append(Stated(graph, pull, [graph.given.lower, graph.given.upper]))
        return pull


class Duality:
    """Writes the row; again when ends or tangents have changed."""

    def __init__(self, system: RecordingSystem) -> None:
        self.owner, self.risk, self.bounds = system.owner, system.risk, system.bounds
        self.stated = system.stated
        self.Q, self.linear = self._of_theta()
        self.flat = self._flat_options()
        self.axes, self.sizes = self._axes()

    @property
    def is_bounded(self) -> bool:
        """Whether every square has a proved size."""
        return bool(np.isfinite(self.sizes).all())

    def _of_theta(self) -> tuple[Matrix, Vector]:
        """The quadratic form and the linear part of what depends on ``theta`` alone."""
        risk, fixed, box = self.risk, self.bounds.fixed, self.bounds.of_fixed
        Q = risk.lam * np.diag(risk.penalty)
        linear = -Q @ np.array(risk.theta0)
        for r in range(len(fixed)):
            y, a, xhat = float(fixed.y[r]), float(fixed.a[r]), fixed.xhat[r]
            pieces = risk.loss.pieces(y) or ()
            if self.owner.is_line(y):
                (line,) = pieces
                Q = Q + a * line.slope * np.outer(xhat, xhat)  # type: ignore[union-attr]
                linear = linear + a * line.offset * xhat  # type: ignore[union-attr]
                continue
            graph = segments(pieces, float(box.lower[r]), float(box.upper[r]), a)
            if len(graph) == 1 and graph[0].is_flat:
                linear = linear + graph[0].g_low * xhat
        return Q, linear

    def _flat_options(self) -> list[Stated]:
        """Options with a constant pull, which the system does not state."""
        found, place = [], 0
        for (record, options), occurrences in zip(self.owner.menus, self.bounds.members, strict=True):
            for k in range(len(options)):
                y, a, xhat = float(occurrences.y[k]), float(occurrences.a[k]), occurrences.xhat[k]
                given, anyhow = self.owner.given.bound(place), self.owner.anyhow.bound(place)
                place += 1
                if a == 0:
                    continue
                own = segments(self.risk.loss.pieces(y) or (), given.lower, given.upper, a)
                if len(own) == 1 and own[0].is_flat:
                    choice, value = self.owner.model.choice[record, k], self.owner.value(xhat)
                    graph = Graph(None, xhat, value, choice, own, anyhow, y, a, given)
                    found.append(Stated(graph, own[0].g_low * choice, [given.lower, given.upper]))
        return found

    def _axes(self) -> tuple[Matrix, Vector]:
        """``theta'Q theta`` is the sum of the squares of ``axes theta``; how far each is from the present optimum's."""
        values, vectors = np.linalg.eigh(self.Q)
        kept = values > 1e-12 * max(1.0, float(values.max(initial=0.0)))
        axes = (np.sqrt(values[kept]) * vectors[:, kept]).T
        box, centre = self.bounds.along(axes), axes @ self.bounds.theta_bar
        return axes, np.maximum(np.abs(box.lower - centre), np.abs(box.upper - centre))

    # -- rows ---

    def write(self, block: Any, book: TangentBook) -> list[SquareSum]:
        """The row, and the sums of squares that need tangents."""
        block.theta, block.graph = pyo.Block(), pyo.Block(range(len(self.stated)))
        block.flat = pyo.Block(range(len(self.flat)))
        total, balls = self._write_theta(block.theta, book)
        for number, one in enumerate(self.stated):
            line = self._line(one)
            if line is not None:
                term, ball = self._write_line(
                    block.graph[number], one, line, book.of(("duality", number), self._size(one))
                )
                balls.append(ball)
            else:
                term = self._write_general(block.graph[number], one)
            total += term
        for number, one in enumerate(self.flat):
            total += one.graph.segments[0].g_low * self._value(block.flat[number], one)
        weight = float(self.bounds.fixed.a.sum()) + sum(float(m.a.max(initial=0.0)) for m in self.bounds.members)
        block.row = pyo.Constraint(expr=total <= SLACK * max(1.0, weight))
        return balls

    def _write_theta(self, block: Any, book: TangentBook) -> tuple[Any, list[SquareSum]]:
        theta, centre = self.owner.theta, self.axes @ self.bounds.theta_bar
        most = float((self.sizes**2).sum()) * ROOM
        block.total = pyo.Var(bounds=(0, most))
        parts = [dot(axis, theta) - float(at) for axis, at in zip(self.axes, centre, strict=True)]
        ball = SquareSum(parts, 1.0, block.total, most, book.of("duality", self.sizes))
        ball.write(block)
        # theta'Q theta = |axes theta - centre|^2 + 2 centre'(axes theta) - |centre|^2
        linear = self.linear + 2 * centre @ self.axes
        return block.total + dot(linear, theta) - float(centre @ centre), [ball]

    @staticmethod
    def _line(one: Stated) -> tuple[float, float] | None:
        """Slope and offset of a graph that is one slanted segment."""
        own = one.graph.segments
        if len(own) != 1 or own[0].is_flat or own[0].f_high <= own[0].f_low:
            return None
        slope = (own[0].g_high - own[0].g_low) / (own[0].f_high - own[0].f_low)
        return slope, own[0].g_low - slope * own[0].f_low

    @staticmethod
    def _size(one: Stated) -> Vector:
        (s,) = one.graph.segments
        return np.array([max(abs(s.g_low), abs(s.g_high))])

    def _write_line(self, block: Any, one: Stated, line: tuple[float, float], tangents: Any) -> tuple[Any, SquareSum]:
        slope, offset = line
        most = float(self._size(one)[0]) ** 2 * ROOM
        block.total = pyo.Var(bounds=(0, most))
        ball = SquareSum([one.pull], one.graph.z, block.total, most, tangents)
        ball.write(block)
        return (block.total - offset * one.pull) / slope, ball

    def _write_general(self, block: Any, one: Stated) -> Any:
        """``a l(f) + (a l)*(g)`` if the record counts."""
        graph, (low, high), loss = one.graph, one.ends, self.risk.loss
        points = loss.tangent_points(graph.y, low, high)
        f = np.array([point[0] for point in points])
        values = graph.a * loss.value(np.full(len(f), graph.y), f)
        ends = graph.a * loss.value(np.full(2, graph.y), np.array([low, high]))
        pulls = max(abs(end) for end in graph.pulls)
        most = ROOM * float(ends.max()) + 1e-6
        block.loss = pyo.Var(bounds=(0, most))
        wide = most + ROOM * max(abs(low), abs(high)) * pulls
        block.conjugate = pyo.Var(bounds=(-wide, wide))
        counted = self._value(block, one)
        block.tangent = pyo.ConstraintList()
        for (f_0, g_0), value in zip(points, values, strict=True):
            slope = graph.a * g_0
            block.tangent.add(block.loss >= slope * counted + float(value - slope * f_0) * graph.z)
            block.tangent.add(block.conjugate >= float(f_0) * one.pull - float(value) * graph.z)
        return block.loss + block.conjugate

    @staticmethod
    def _value(block: Any, one: Stated) -> Any:
        """``z f``."""
        graph, (low, high) = one.graph, one.ends
        if graph.choice is None:
            return graph.f
        assert graph.anyhow is not None
        block.counted = pyo.Var(bounds=(min(0.0, low), max(0.0, high)))
        rest, z = graph.f - block.counted, graph.choice
        block.low = pyo.Constraint(expr=block.counted >= low * z)
        block.high = pyo.Constraint(expr=block.counted <= high * z)
        block.rest_low = pyo.Constraint(expr=rest >= graph.anyhow.lower * (1 - z))
        block.rest_high = pyo.Constraint(expr=rest <= graph.anyhow.upper * (1 - z))
        return block.counted
