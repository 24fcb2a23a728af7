"""The linear relaxation of programs with feature changes: their products on pieces, their balls by tangents.

The rows are those of :mod:`oar_opt.change_program` and :mod:`oar_opt.bilinear_system`, but for the products and for
rows that are not linear. Every product is a variable here, tied to its factors on the pieces of one of them
(:mod:`oar_opt.piecewise_cells`); rows that are not linear are dropped, and tangents stand in for them. So every point
of the exact program is a point of this one, whatever the pieces and tangents are.

- ``u_j = g t_j``: the pull ``g`` of a used set is cut into pieces, and the copies of the vector ``t`` lie in copies of
  the set's box and balls.
- ``v_j t_j``: the weight ``v_j`` is cut into pieces, once for all members; the copies of ``t_j`` lie in copies of its
  interval, which end where the set is not used.

Products of features with a binary for each of their values are linear as they are, and stay so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.change_program import ChangeModel, add_copies
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.piecewise_cells import Partition, SquareSum, TangentBook, Vertices
from oar_opt.piecewise_duality import Duality, Stated
from oar_opt.problem import CostKind, GoalKind, Move, Norm, Query, RecourseProblem, Vector
from oar_opt.projection import nearest_on_grids
from oar_opt.result import Request
from oar_opt.risk import RegularizedRisk
from oar_opt.risk_program import RiskModel
from oar_opt.rules import ROUNDING

Pair = tuple[int, int]
ROOM = 1 + 1e-6
"""Ends of variables below a bound are that much wider than it."""


class PiecewiseModel(ChangeModel):
    """A :class:`ChangeModel` without products: :meth:`rewrite` states what replaces them, and again when refined."""

    def __init__(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> None:
        super().__init__(problem, risk, request)
        self.pulls: dict[Pair, Any] = {}
        self.pull_pieces: dict[Pair, Partition] = {}
        self.weight_pieces: dict[int, Partition] = {}
        self.duality: Duality | None = None
        self.tangents = TangentBook()
        self.balls: list[SquareSum] = []
        self.pull_cells: dict[Pair, Vertices] = {}
        self.weight_cells: dict[int, Vertices] = {}

    def needed(self, subject: Query) -> float:
        """What re-training accepts, since this is a bound."""
        return RiskModel.needed(self, subject)

    def unproved(self) -> str | None:
        return super().unproved() or self._unproved_factor()

    def _unproved_factor(self) -> str | None:
        low, high = self.bounds.pulls_of_changes
        for (record, _), ends in zip(self.shapes, zip(low, high, strict=True), strict=True):
            if not np.isfinite(ends).all():
                return f"the pull of member {record} under feature changes"
        for j in self.reach_of:
            box = self.bounds.along(self.weight_row(j)[None, :]).bound(0)
            if not box.is_finite:
                return f"the weight of '{self.problem.features[j].name}'"
        return None

    # -- products as variables ---

    def _moved_value(self, pair: Pair) -> Any:
        m, shape = self.model, self.shapes[pair]
        block, free = m.moved[pair], list(enumerate(shape.free.tolist()))
        block.weighted = pyo.Var(self.continuous(pair), bounds=lambda _, q: self._weighted_ends(m.weight[free[q][1]]))
        found = self.value(shape.xhat)
        for q, j in free:
            share = float(shape.half[q]) / self.reach_of[j]
            if shape.has_binaries(q):
                product = add_copies(block, f"weight_copy_{q}", m.weight[j], shape, q, m.used[pair])
            else:
                product = block.weighted[q]
            found = found + share * product
        return found

    @staticmethod
    def _weighted_ends(weight: Any) -> tuple[float, float]:
        """Of ``v t``; no step is longer than 1."""
        most = max(abs(float(weight.lb)), abs(float(weight.ub)))
        return -most, most

    def continuous(self, pair: Pair) -> list[int]:
        """The features of a set whose products are not linear as they are."""
        shape = self.shapes[pair]
        return [q for q in range(len(shape.free)) if not shape.has_binaries(q)]

    def products(self, pair: Pair, pull: Any) -> list[Any]:
        block, shape = self.model.moved[pair], self.shapes[pair]
        most = max(abs(float(pull.lb)), abs(float(pull.ub)))
        free = range(len(shape.free))
        self.pulls[pair] = pull
        block.product = pyo.Var(free, bounds=(-most, most))
        listed = [q for q in free if shape.has_binaries(q)]
        copies = {q: add_copies(block, f"pull_copy_{q}", pull, shape, q, None) for q in listed}
        block.product_is = pyo.Constraint(listed, rule=lambda b, q: b.product[q] == copies[q])
        return [block.product[q] for q in free]

    # -- pieces and tangents ---

    def begin(self) -> None:
        """One piece for every factor; rows that are not linear are dropped."""
        low, high = self.bounds.pulls_of_changes
        for pair, g_low, g_high in zip(self.shapes, low, high, strict=True):
            self.pull_pieces[pair] = Partition(float(g_low), float(g_high))
        for j in self.reach_of:
            if any(j in self.shapes[pair].free[self.continuous(pair)] for pair in self.shapes):
                weight = self.model.weight[j]
                self.weight_pieces[j] = Partition(float(weight.lb), float(weight.ub))
        for row in list(self.model.component_data_objects(pyo.Constraint, active=True)):
            if row.body.polynomial_degree() not in (0, 1):
                row.deactivate()

    def rewrite(self) -> None:
        """State the products on the present pieces, and the balls by the present tangents."""
        m = self.model
        if m.find_component("cells") is not None:
            m.del_component("cells")
        m.cells = pyo.Block()
        self.balls = []
        m.cells.weight = pyo.Block(list(self.weight_pieces))
        self.weight_cells = {
            j: Vertices.write(m.cells.weight[j], partition, m.weight[j], 1.0)
            for j, partition in self.weight_pieces.items()
        }
        m.cells.pull = pyo.Block(list(self.shapes))
        m.cells.value = pyo.Block(list(self.shapes))
        m.cells.cost = pyo.Block(list(self.shapes))
        for pair in self.shapes:
            if self.continuous(pair):
                self._write_pulls(pair, m.cells.pull[pair])
                self._write_values(pair, m.cells.value[pair])
            else:
                self._write_balls(pair, m.cells.pull[pair], [(self.steps(pair), m.used[pair])])
            self._write_cost(pair, m.cells.cost[pair])
        if self.duality is not None and self.duality.is_bounded:
            m.cells.duality = pyo.Block()
            self.balls += self.duality.write(m.cells.duality, self.tangents)

    def _write_pulls(self, pair: Pair, block: Any) -> None:
        """Also of features whose products are linear, since balls are about all of them."""
        cell = Vertices.write(block, self.pull_pieces[pair], self.pulls[pair], self.model.used[pair])
        self.pull_cells[pair] = cell
        shape, steps, product = self.shapes[pair], self.steps(pair), self.model.moved[pair].product
        free, copies = range(len(steps)), []
        for q in free:
            ends = float(shape.lower[q]), float(shape.upper[q])
            copies.append(cell.product(block, f"step_{q}", steps[q], ends, cell.weights))
        block.product = pyo.Constraint(free, rule=lambda _, q: product[q] == cell.times(copies[q]))
        vertices = [([copy[v] for copy in copies], head) for v, head in enumerate(cell.weights)]
        self._write_balls(pair, block, vertices)

    def _write_balls(self, pair: Pair, block: Any, vertices: Sequence[tuple[Sequence[Any], Any]]) -> None:
        """The set's balls for vectors of steps, each multiplied by its head."""
        shape = self.shapes[pair]
        block.ball = pyo.Block(range(len(shape.changes.balls)))
        for number, ball in enumerate(shape.changes.balls):
            if ball.norm is Norm.LINF or ball.norm.of(np.append(shape.lengths, shape.shifted)) <= ball.radius:
                continue
            state = self._round if ball.norm is Norm.L2 else self._taxi
            parts, rest = shape.lengths / ball.radius, ball.norm.of(shape.shifted) / ball.radius
            block.ball[number].at = pyo.Block(range(len(vertices)))
            for v, (steps, head) in enumerate(vertices):
                state(block.ball[number].at[v], (pair, number), parts, steps, head, rest)

    def _round(self, block: Any, key: Any, parts: Vector, t: Sequence[Any], head: Any, rest: float) -> None:
        scaled = [float(part) * step for part, step in zip(parts, t, strict=True)]
        tangents = self.tangents.of(key, np.minimum(1.0, parts))
        self._add_ball(block, SquareSum(scaled, head, max(0.0, 1 - rest**2) * head, 1.0, tangents))

    @staticmethod
    def _taxi(block: Any, key: Any, parts: Vector, t: Sequence[Any], head: Any, rest: float) -> None:
        places = range(len(t))
        block.size = pyo.Var(places, bounds=(0, 1))
        block.up = pyo.Constraint(places, rule=lambda b, q: b.size[q] >= t[q])
        block.down = pyo.Constraint(places, rule=lambda b, q: b.size[q] >= -t[q])
        sizes = sum(float(part) * block.size[q] for q, part in enumerate(parts))
        block.ball = pyo.Constraint(expr=sizes <= max(0.0, 1 - rest) * head)

    def _add_ball(self, block: Any, ball: SquareSum) -> None:
        ball.write(block)
        self.balls.append(ball)

    def _write_values(self, pair: Pair, block: Any) -> None:
        m, shape, steps = self.model, self.shapes[pair], self.steps(pair)
        squares: dict[int, Any] = {}
        for q in self.continuous(pair):
            cell = self.weight_cells[int(shape.free[q])]
            places, ends = range(len(cell.ends)), (float(shape.lower[q]), float(shape.upper[q]))
            own = pyo.Block()
            block.add_component(f"used_{q}", own)
            own.part = pyo.Var(places, bounds=(0, 1))
            own.at_most = pyo.Constraint(places, rule=lambda b, v, cell=cell: b.part[v] <= cell.weights[v])
            own.all = pyo.Constraint(expr=sum(own.part[v] for v in places) == m.used[pair])
            copies = cell.product(block, f"step_{q}", steps[q], ends, [own.part[v] for v in places])
            own.product = pyo.Constraint(expr=m.moved[pair].weighted[q] == cell.times(copies))
            squares[q] = sum(end**2 * own.part[v] for v, end in enumerate(cell.ends))
        radius = shape.changes.ball(Norm.L2)
        if Norm.L2.of(shape.lengths) > radius:
            self._write_length(pair, block, radius, squares)

    def _write_length(self, pair: Pair, block: Any, radius: float, squares: Mapping[int, Any]) -> None:
        """``(v't)^2 <= ||v||^2`` in units in which the ball is round, with chords of the squares of the weights."""
        shape, moved = self.shapes[pair], self.model.moved[pair]
        shares = {q: float(shape.half[q]) / self.reach_of[int(shape.free[q])] for q in squares}
        factors = {q: shares[q] * radius / float(shape.lengths[q]) for q in squares}
        along = sum(share * moved.weighted[q] for q, share in shares.items())
        limit = sum(factors[q] ** 2 * square for q, square in squares.items())
        sizes = [factors[q] * max(map(abs, self.weight_cells[int(shape.free[q])].ends)) for q in squares]
        size = float(np.linalg.norm(sizes))
        block.length = pyo.Block()
        tangents = self.tangents.of((pair, "value"), np.array([size]))
        self._add_ball(block.length, SquareSum([along], self.model.used[pair], limit, ROOM * size**2, tangents))

    def _write_cost(self, pair: Pair, block: Any) -> None:
        """Tangents for the costs whose rows are not linear."""
        shape, moved, z = self.shapes[pair], self.model.moved[pair], self.model.used[pair]
        kind, shifted = shape.changes.cost_kind, float(np.linalg.norm(shape.shifted))
        if not self.is_costly or kind not in (CostKind.L2, CostKind.SQL2):
            return
        parts = [float(length) * t for length, t in zip(shape.lengths, self.steps(pair), strict=True)]
        most = float(moved.length.ub)
        if kind is CostKind.L2:
            tangents = self.tangents.of((pair, "cost"), np.ones(len(parts) + 1))
            self._add_ball(block, SquareSum([*parts, shifted * z], moved.length, moved.length, most, tangents))
        else:
            tangents = self.tangents.of((pair, "cost"), shape.lengths)
            self._add_ball(block, SquareSum(parts, z, moved.length - shifted**2 * z, most, tangents))

    # -- moves at least as good as one ---

    def demand(self, value: float | None, bound: float, slack: float) -> None:
        """Leave out moves whose goal is worse than a value by more than a slack; none is better than the bound."""
        goal, m, worst = self.problem.goal, self.model, math.inf if value is None else value
        if goal is GoalKind.MAX_MARGIN:
            m.margin.setlb(max(m.margin.lb, -math.inf if value is None else value - slack))
            m.margin.setub(min(m.margin.ub, bound + slack))
        elif goal is not GoalKind.MAX_HELPED:
            m.spent.setlb(max(m.spent.lb, bound - slack))
            m.spent.setub(min(math.inf if m.spent.ub is None else m.spent.ub, worst + slack))

    # -- starting ---

    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        values = dict(super().start(moves, parameters))
        if not isinstance(parameters, LinearParameters):
            return values
        theta = self.risk.join(np.array(parameters.w), parameters.b)
        for j, cell in self.weight_cells.items():
            self._pick(values, cell, self.weight_pieces[j].piece_of(float(self.weight_row(j) @ theta)))
        for place, pair in enumerate(self.shapes):
            if pair in self.pull_cells:
                used = values[self.model.used[pair].name] == 1.0
                g = self._pull_at(place, self.moved_value(pair, theta, values))
                self._pick(values, self.pull_cells[pair], self.pull_pieces[pair].piece_of(g) if used else None)
        return values

    @staticmethod
    def _pick(values: dict[str, float], cell: Vertices, piece: int | None) -> None:
        values |= {binary.name: float(k == piece) for k, binary in enumerate(cell.picks)}

    def _pull_at(self, place: int, f: float) -> float:
        reach = [reach for own in self.bounds.changes for reach in own][place]
        return reach.a * float(self.risk.loss.pull(np.array([reach.y]), np.array([f]))[0])

    # -- what a solution says ---

    def _move(self, pair: Pair, share: float) -> Move | None:
        """The nearest change that obeys all rules of the set: balls hold up to tangents only."""
        one = self.shapes[pair].changes
        near = nearest_on_grids(one, self.shapes[pair].delta(np.array([step.value for step in self.steps(pair)])))
        if near is None:
            return super()._move(pair, share)
        holds_nothing = one.violation(np.zeros(one.d)) > ROUNDING
        return one.move(near if holds_nothing else (1 - share) * near)

    def is_used(self, pair: Pair) -> bool:
        return bool(self.model.used[pair].value > 0.5)

    def pull_errors(self, pair: Pair) -> Vector:
        """``u - g t`` of a set, feature by feature, at the variables' present values."""
        g, block = self.pulls[pair].value, self.model.moved[pair]
        return np.array([block.product[q].value - g * step.value for q, step in enumerate(self.steps(pair))])

    def value_errors(self, pair: Pair) -> dict[int, float]:
        """What the products of the weights put into the decision value of a set beyond the truth, by feature."""
        shape, block, steps = self.shapes[pair], self.model.moved[pair], self.steps(pair)
        found = {}
        for q in self.continuous(pair):
            j = int(shape.free[q])
            share = float(shape.half[q]) / self.reach_of[j]
            found[j] = share * (block.weighted[q].value - self.model.weight[j].value * steps[q].value)
        return found

    @property
    def width(self) -> float:
        """Of all factors' intervals together, each relative to what it was, and of the segments that are left."""
        partitions = [*self.pull_pieces.values(), *self.weight_pieces.values()]
        shares = [partition.share for partition in partitions]
        for one in self.unions:
            binaries = [one.graph.block.segment[p] for p in range(len(one.graph.segments))]
            shares.append(sum(not binary.fixed for binary in binaries) / len(binaries))
        return float(sum(shares))

    @property
    def unions(self) -> list[Stated]:
        """The graphs with binaries for their segments."""
        return [one for one in self.duality.stated if len(one.graph.segments) > 1] if self.duality else []

    @property
    def goal_end(self) -> float:
        """A proved bound on the goal, before anything is solved."""
        if self.problem.goal.maximises:
            ends = [self.margin(q, query).high for q, query in enumerate(self.problem.queries)]
            return min(ends) if self.problem.goal is GoalKind.MAX_MARGIN else float(len(ends))
        return 0.0
