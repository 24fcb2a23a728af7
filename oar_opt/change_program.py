"""Programs whose members may change features: which changes there are, what they cost, and the learner's side of them.

Letters of :mod:`oar_opt.risk` and :mod:`oar_opt.optimality_system`. Change set ``a`` of member ``i``
(:class:`oar_opt.changes.ChangeSet`) has the binary ``z`` (``used[i,a]``) and, for every feature that has room to move,
``t_j`` with ``delta_j = h_j t_j``, ``h_j`` being the most that it can move; features without room shift by a constant,
which is counted to the record. ``z = 0`` leaves ``t = 0``.

- *Box, rows, groups*: ``lower z <= delta <= upper z``, ``A delta <= b z``, ``sum over a group = total z``.
- *Balls*: ``sum (delta_j / scale_j)^2 <= radius^2 z`` for l2, by sizes ``|t_j|`` for l1; the box has the linf ball.
- *Grids*: a binary for every value where there are up to :data:`FEW_VALUES`, else a whole number of steps.
- *Cost*: a variable above the cost of the change, wanted only where costs count.

The learner sees ``f = theta'xhat + sum_j v_j t_j`` and adds ``g xhat + sum_j u_j h_j E_j`` to its gradient, with the
weights ``v_j = h_j (E theta)_j`` and ``u_j = g t_j``. These are the only products: two for each feature with room. Of a
feature with a binary for each of its values both are linear, by copies of ``g`` and ``v_j`` that their intervals
bound. All other products are left to the solver.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pyomo.environ as pyo

from oar_opt.active_bounds import Quantity
from oar_opt.bounds import Interval
from oar_opt.change_reach import Reach
from oar_opt.changes import SHRUNK, ChangeSet
from oar_opt.contracts import PyomoProgram
from oar_opt.errors import UnsupportedError
from oar_opt.menu_program import MenuModel, equal_options
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import CostKind, GoalKind, Indices, Matrix, Move, Norm, OptionKind, Query, RecourseProblem, Vector
from oar_opt.result import Claim, Request
from oar_opt.risk import RegularizedRisk
from oar_opt.risk_program import RiskModel
from oar_opt.rules import ROUNDING, budget_violations
from oar_opt.solver_features import SolverFeature

FEW_VALUES = 12
"""Of a feature that moves in steps, to get a binary each."""
SCIP_SETTINGS: dict[str, str | int | float | bool] = {
    # Both took most of the time and closed or found next to nothing.
    "separating/aggregation/freq": -1,
    "heuristics/mpec/freq": -1,
}
MOST_DIAGONALS = 4
"""Features whose diagonals get rows."""
MORE_THAN_NEEDED = 0.5
"""Of the feasibility tolerance, which every required margin is less by: SCIP has been off by a fifth of it."""


@dataclass(frozen=True)
class ChangeProgram(PyomoProgram):
    """A program that SCIP solves with :data:`SCIP_SETTINGS`, or those of a subclass.

    It asks for a little more margin than an answer needs (:meth:`ChangeModel.needed`). Where a verified answer has just
    what it needs, "infeasible" says nothing about others like it: then nothing is claimed; and no bound is better than
    such an answer.
    """

    scip_settings: ClassVar[Mapping[str, str | int | float | bool]] = SCIP_SETTINGS

    def run(self, request: Request) -> Claim:
        from oar_opt.solvers import run_pyomo

        claim = run_pyomo(self, request, self.scip_settings)
        if request.start is not None and claim.infeasible:
            return replace(claim, infeasible=False)
        if request.cutoff is None or claim.bound is None:
            return claim
        return replace(claim, bound=(max if self.maximises else min)(claim.bound, request.cutoff))


def without_room(problem: RecourseProblem) -> str | None:
    """Why programs over change sets are not for this problem, or None."""
    try:
        if problem.is_menu_problem:
            return "nobody has room to move a feature, and for menus other statements are better"
    except UnsupportedError as unsupported:
        return str(unsupported)
    return None


@dataclass(frozen=True, eq=False)
class Shape:
    """A change set as the program sees it.

    ``free`` are the features with room, ``half`` their ``h``; ``shift (d,)`` is what the others change by. ``xhat
    (p,)`` is the record with that shift, ``rows (k, p)`` are the ``h_j E_j``.
    """

    changes: ChangeSet
    free: Indices
    half: Vector
    shift: Vector
    xhat: Vector
    rows: Matrix

    @classmethod
    def of(cls, reach: Reach) -> Shape:
        changes = reach.changes
        free: Indices = np.flatnonzero(changes.movable)
        half = np.maximum(np.abs(changes.lower), np.abs(changes.upper))[free]
        shift = np.where(changes.movable, 0.0, changes.lower)
        return cls(changes, free, half, shift, reach.xhat + shift @ reach.rows, half[:, None] * reach.rows[free])

    @cached_property
    def lower(self) -> Vector:
        """Of ``t``."""
        return self.changes.lower[self.free] / self.half

    @cached_property
    def upper(self) -> Vector:
        return self.changes.upper[self.free] / self.half

    @cached_property
    def lengths(self) -> Vector:
        """Of a whole step of ``t``, over scaled features."""
        return self.half / self.changes.scales[self.free]

    @cached_property
    def shifted(self) -> Vector:
        """What is shifted anyway, over scaled features."""
        return self.shift / self.changes.scales

    def grid(self, q: int) -> Vector | None:
        """The values that ``t_q`` may take."""
        values = self.changes.grids[int(self.free[q])]
        return None if values is None else values / self.half[q]

    def has_binaries(self, q: int) -> bool:
        values = self.grid(q)
        return values is not None and len(values) <= FEW_VALUES

    def delta(self, t: Vector) -> Vector:
        found = self.shift.copy()
        found[self.free] = self.half * t
        return found

    def t(self, move: Move) -> Vector:
        """The step of a move that is in the set."""
        steps: Vector = (np.array(move.x) - self.changes.x)[self.free] / self.half
        return np.clip(steps, self.lower, self.upper)


class ChangeChoices(MenuModel):
    """What members do whose program knows change sets, whatever the learner: steps, geometry, costs, reading back.

    ``shapes`` are those of ``sets``; a subclass fills both.
    """

    shapes: dict[tuple[int, int], Shape]

    def needed(self, subject: Query) -> float:
        """A continuum of changes ends on the rows, where a solver's rounding would make re-training refuse them."""
        return super().needed(subject) + MORE_THAN_NEEDED * self.problem.tolerances.feasibility

    @property
    def is_costly(self) -> bool:
        """Whether costs count beyond what the balls say of one change."""
        return self.problem.goal is GoalKind.MIN_COST or self.problem.collective.budget.total is not None

    # -- rows ---

    def add_steps(self) -> None:
        """The steps of all sets, with a block ``moved`` for each set's rows."""
        m, sizes = self.model, {pair: range(len(shape.free)) for pair, shape in self.shapes.items()}
        places = [(*pair, q) for pair in self.shapes for q in sizes[pair]]
        m.step = pyo.Var(places, bounds=lambda _, i, a, q: self._ends(self.shapes[i, a], q))
        m.moved = pyo.Block(list(self.shapes))

    def add_geometry(self) -> None:
        """Which changes the sets hold, and what they cost."""
        m = self.model
        for pair, shape in self.shapes.items():
            geometry = _Geometry(m.moved[pair], m.used[pair], shape, self.steps(pair))
            geometry.write(self.is_costly)

    @staticmethod
    def _ends(shape: Shape, q: int) -> tuple[float, float]:
        return min(0.0, float(shape.lower[q])), max(0.0, float(shape.upper[q]))

    def steps(self, pair: tuple[int, int]) -> list[Any]:
        """The variables ``t`` of a set."""
        return [self.model.step[(*pair, q)] for q in range(len(self.shapes[pair].free))]

    # -- costs, reading, starting ---

    def change_cost(self, pair: tuple[int, int]) -> Any:
        return self.model.moved[pair].cost

    def read_changes(self, used: Sequence[tuple[int, int]]) -> tuple[Move, ...]:
        found: tuple[Move, ...] = ()
        others = self._finite_moves({record for record, _ in used})
        for share in SHRUNK:
            moves = [self._move(pair, share) for pair in used]
            found = tuple(move for move in moves if move is not None)
            if not budget_violations(self.problem, (*others, *found)):
                return found
        return found

    def _finite_moves(self, changed: set[int]) -> list[Move]:
        """What the other members do, by options."""
        found = []
        for record, options in self.menus:
            values = [self.model.choice[record, k].value for k in range(len(options))]
            picked = options[int(np.argmax(values))]
            if record not in changed and picked.kind is not OptionKind.STAY:
                found.append(Move(record, picked.x, picked.y, picked.s, picked.cost))
        return found

    def _move(self, pair: tuple[int, int], share: float) -> Move | None:
        shape = self.shapes[pair]
        delta = shape.delta(np.array([step.value for step in self.steps(pair)]))
        holds_nothing = shape.changes.violation(np.zeros(shape.changes.d)) > ROUNDING
        return shape.changes.move(delta if holds_nothing else (1 - share) * delta)

    def start_steps(self, moves: Sequence[Move], values: Mapping[str, float]) -> dict[str, float]:
        """Values of the steps for moves, and of what counts or picks them; ``values`` has those of ``used``."""
        found: dict[str, float] = {}
        for pair, shape in self.shapes.items():
            move = next((move for move in moves if move.record == pair[0]), None)
            used = move is not None and values[self.model.used[pair].name] == 1.0
            t = shape.t(move) if move is not None and used else np.zeros(len(shape.free))
            for step, value in zip(self.steps(pair), t, strict=True):
                found[step.name] = float(value)
            found |= _start_grids(self.model.moved[pair], shape, t, used)
        return found

    # -- names ---

    def meanings(self) -> dict[str, str]:
        words = super().meanings()
        for (record, a), shape in self.shapes.items():
            words[f"used[{record},{a}]"] = f"member {record} changes features, as its action {a} allows"
            for q, j in enumerate(shape.free.tolist()):
                name = self.problem.features[j].name
                words[f"step[{record},{a},{q}]"] = (
                    f"change of '{name}' of member {record}, in units of {shape.half[q]:.6g}"
                )
            words[f"moved[{record},{a}]"] = f"rows of the feature changes {a} of member {record}"
        return words


class ChangeModel(ChangeChoices, RiskModel):
    """A :class:`RiskModel` whose members may use change sets."""

    def __init__(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> None:
        super().__init__(problem, risk, request)
        if not problem.goal.maximises:
            # At the cost of an answer with just the margin that it needs, there may be none with a little more.
            self.cutoff = None
        self.shapes = {}
        for (record, _), reaches in zip(self.menus, self.bounds.changes, strict=True):
            for a, reach in enumerate(reaches):
                self.sets[record, a], self.shapes[record, a] = reach.changes, Shape.of(reach)

    @cached_property
    def value_box(self) -> Interval:
        """``f`` of every change set, used (then over all its changes) or not."""
        still = self.bounds.along(np.array([shape.xhat for shape in self.shapes.values()]))
        moved = self.bounds.of_changes
        lower, upper = np.minimum(still.lower, moved.lower), np.maximum(still.upper, moved.upper)
        return Interval(lower, upper, moved.lower_reason, moved.upper_reason)

    # -- rows ---

    def add_choices(self) -> None:
        super().add_choices()
        self._add_changes()

    def _add_changes(self) -> None:
        """Steps, weights and decision values of all sets."""
        self.add_steps()
        self._add_weights()
        self.add_geometry()
        self._add_values()

    @cached_property
    def reach_of(self) -> dict[int, float]:
        """The largest ``h_j`` of every feature that some set can move."""
        found: dict[int, float] = {}
        for shape in self.shapes.values():
            for j, half in zip(shape.free.tolist(), shape.half.tolist(), strict=True):
                found[j] = max(found.get(j, 0.0), half)
        return dict(sorted(found.items()))

    def weight_row(self, j: int) -> Vector:
        """The direction of ``theta`` that is the weight of feature ``j`` times the most that it moves."""
        row = np.eye(self.problem.d, self.risk.p)[j] if self.risk.basis is None else self.risk.basis[j]
        direction: Vector = self.reach_of[j] * row
        return direction

    def _add_weights(self) -> None:
        m, features = self.model, list(self.reach_of)
        box = self.bounds.along(np.array([self.weight_row(j) for j in features]))
        ends = {j: (float(low), float(high)) for j, low, high in zip(features, box.lower, box.upper, strict=True)}
        m.weight = pyo.Var(features, bounds=lambda _, j: ends[j])
        m.weight_is = pyo.Constraint(features, rule=lambda m, j: m.weight[j] == self.value(self.weight_row(j)))

    def _add_values(self) -> None:
        m, pairs, box = self.model, list(self.shapes), self.value_box
        places = {pair: place for place, pair in enumerate(pairs)}

        def ends(_: Any, i: int, a: int) -> tuple[float, float]:
            return float(box.lower[places[i, a]]), float(box.upper[places[i, a]])

        m.value = pyo.Var(pairs, bounds=ends)
        m.value_is = pyo.Constraint(pairs, rule=lambda m, i, a: m.value[i, a] == self._moved_value((i, a)))

    def _moved_value(self, pair: tuple[int, int]) -> Any:
        """``theta'xhat + sum_j v_j t_j``."""
        m, shape = self.model, self.shapes[pair]
        found = self.value(shape.xhat)
        for q, j in enumerate(shape.free.tolist()):
            share, weight = float(shape.half[q]) / self.reach_of[j], m.weight[j]
            if shape.has_binaries(q):
                found = found + share * add_copies(m.moved[pair], f"weight_copy_{q}", weight, shape, q, m.used[pair])
            else:
                found = found + share * weight * m.step[(*pair, q)]
        return found

    def products(self, pair: tuple[int, int], pull: Any) -> list[Any]:
        """``u_j = g t_j`` of a set, for a variable ``g`` with finite bounds that is 0 where the set is not used."""
        m, shape, block = self.model, self.shapes[pair], self.model.moved[pair]
        free = range(len(shape.free))
        most = max(abs(float(pull.lb)), abs(float(pull.ub)))
        block.product = pyo.Var(free, bounds=(-most, most))
        block.product_is = pyo.Constraint(free, rule=lambda b, q: b.product[q] == self._product(pair, pull, q))
        PullCone(block, m.used[pair], shape, pull).write()
        return [block.product[q] for q in free]

    def _product(self, pair: tuple[int, int], pull: Any, q: int) -> Any:
        shape, block = self.shapes[pair], self.model.moved[pair]
        if shape.has_binaries(q):
            return add_copies(block, f"pull_copy_{q}", pull, shape, q, None)
        return pull * self.model.step[(*pair, q)]

    def change_program(self, needs: frozenset[SolverFeature]) -> ChangeProgram:
        """The finished model as a program."""
        found = self.pyomo_program()
        parts = {part.name: getattr(found, part.name) for part in fields(found)}
        return ChangeProgram(**(parts | {"needs": needs}))

    def add_goal(self) -> None:
        """What is proved of the margins is a bound too, where the solver has none yet."""
        super().add_goal()
        if self.problem.goal is GoalKind.MAX_MARGIN:
            self.goal_bound = float(self.model.margin.ub)

    # -- starting ---

    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        values = dict(super().start(moves, None))
        values |= self.start_steps(moves, values)
        if isinstance(parameters, LinearParameters):
            theta = self.risk.join(np.array(parameters.w), parameters.b)
            values |= {variable.name: float(value) for variable, value in zip(self.theta, theta, strict=True)}
            for starter in self.starters:
                values |= starter(theta, values)
        return values

    def moved_value(self, pair: tuple[int, int], theta: Vector, values: Mapping[str, float]) -> float:
        """``f`` of a set at ``theta (p,)`` and these values of its steps."""
        shape = self.shapes[pair]
        t = np.array([values[step.name] for step in self.steps(pair)])
        return float(theta @ (shape.xhat + t @ shape.rows))

    # -- names ---

    def all_quantities(self) -> dict[str, Quantity]:
        found = super().all_quantities()
        for record, a in self.shapes:
            words = f"decision value of member {record} under feature changes {a}, if used"
            found[interval_name(record, a)] = Quantity(words, self._value_if_used((record, a)))
        return found

    def _value_if_used(self, pair: tuple[int, int]) -> Any:
        options, changes = dict(self.menus)[pair[0]], self.sets[pair]

        def value(moves: Sequence[Move], parameters: Parameters) -> float | None:
            move = next((move for move in moves if move.record == pair[0]), None)
            if move is None or equal_options(options, move) or not isinstance(parameters, LinearParameters):
                return None
            if self.set_of(move) != pair[1] or (move.y, move.s) != (changes.y, changes.s):
                return None
            return float(np.array(parameters.w) @ np.array(move.x) + parameters.b)

        return value

    def meanings(self) -> dict[str, str]:
        words = super().meanings()
        for record, a in self.shapes:
            words[f"value[{record},{a}]"] = f"decision value of member {record} after that change"
        for j, reach in self.reach_of.items():
            words[f"weight[{j}]"] = f"weight of '{self.problem.features[j].name}' times {reach:.6g}"
        return words


def interval_name(record: int, a: int) -> str:
    """Under which the proved interval of a used set's decision value is kept."""
    return f"f[{record},changes {a}] if used"


# -- one set ---


@dataclass(frozen=True, eq=False)
class _Geometry:
    """Writes which changes a set holds, and what they cost, on its ``block``; ``t`` are its steps."""

    block: Any
    z: Any
    shape: Shape
    t: Sequence[Any]

    def write(self, costly: bool) -> None:
        self._add_box()
        self._add_grids()
        self._add_groups_and_rows()
        norms = {ball.norm for ball in self.shape.changes.balls}
        if Norm.L1 in norms or (costly and self.shape.changes.cost_kind is CostKind.L1):
            self._add_sizes()
        for ball in self.shape.changes.balls:
            self._add_ball(ball.norm, ball.radius)
        if costly:
            self._add_cost()

    def _add_box(self) -> None:
        shape, free = self.shape, range(len(self.t))
        self.block.lower = pyo.Constraint(free, rule=lambda _, q: self.t[q] >= float(shape.lower[q]) * self.z)
        self.block.upper = pyo.Constraint(free, rule=lambda _, q: self.t[q] <= float(shape.upper[q]) * self.z)

    def _add_grids(self) -> None:
        grids = {q: values for q in range(len(self.t)) if (values := self.shape.grid(q)) is not None}
        few = [(q, v) for q, values in grids.items() if self.shape.has_binaries(q) for v in range(len(values))]
        many = [q for q in grids if not self.shape.has_binaries(q)]
        b = self.block
        b.pick = pyo.Var(few, domain=pyo.Binary)
        b.one_value = pyo.Constraint(
            sorted({q for q, _ in few}),
            rule=lambda b, q: sum(b.pick[q, v] for v in range(len(grids[q]))) == self.z,
        )
        b.picked = pyo.Constraint(
            sorted({q for q, _ in few}),
            rule=lambda b, q: self.t[q] == sum(float(value) * b.pick[q, v] for v, value in enumerate(grids[q])),
        )
        b.count = pyo.Var(many, domain=pyo.NonNegativeIntegers, bounds=lambda _, q: (0, len(grids[q]) - 1))
        b.counted = pyo.Constraint(many, rule=lambda b, q: self._steps_from_first(grids[q], b.count[q], self.t[q]))
        b.count_if = pyo.Constraint(many, rule=lambda b, q: b.count[q] <= (len(grids[q]) - 1) * self.z)

    def _steps_from_first(self, values: Vector, count: Any, t: Any) -> Any:
        step = float(values[-1] - values[0]) / (len(values) - 1)
        assert np.allclose(np.diff(values), step, atol=1e-9), "features in steps have evenly spaced values"
        return t == float(values[0]) * self.z + step * count

    def _add_groups_and_rows(self) -> None:
        changes, b = self.shape.changes, self.block
        b.group = pyo.ConstraintList()
        b.rule = pyo.ConstraintList()
        for group in changes.groups:
            weights = np.zeros(changes.d)
            weights[group.columns] = 1.0
            self._bound(b.group, weights, group.total, equal=True)
        for row, end in zip(changes.A, changes.b, strict=True):
            self._bound(b.rule, row, float(end), equal=False)

    def _bound(self, rows: Any, weights: Vector, end: float, *, equal: bool) -> None:
        """``weights'delta`` at most (or equal to) ``end z``, over the size of the row; rounding makes no difference."""
        size = float(np.abs(weights) @ self.shape.changes.scales)
        if size == 0:
            return
        own = weights[self.shape.free] * self.shape.half / size
        rest = (end - float(weights @ self.shape.shift)) / size
        rest = 0.0 if abs(rest) <= ROUNDING else rest
        terms = [float(value) * t for value, t in zip(own, self.t, strict=True) if abs(value) > ROUNDING]
        if not terms and (rest == 0 or (rest > 0 and not equal)):
            return
        body = sum(terms) - rest * self.z
        rows.add(body == 0 if equal else body <= 0)

    def _add_sizes(self) -> None:
        """``|t_j|``."""
        free = range(len(self.t))
        self.block.size = pyo.Var(free, bounds=(0, 1))
        self.block.size_up = pyo.Constraint(free, rule=lambda b, q: b.size[q] >= self.t[q])
        self.block.size_down = pyo.Constraint(free, rule=lambda b, q: b.size[q] >= -self.t[q])

    def _add_ball(self, norm: Norm, radius: float) -> None:
        shape, z = self.shape, self.z
        farthest = np.append(shape.lengths, shape.shifted)
        if norm is Norm.LINF or norm.of(farthest) <= radius:
            return
        parts, shifted = shape.lengths / radius, norm.of(shape.shifted) / radius
        if norm is Norm.L1:
            sizes = sum(float(part) * self.block.size[q] for q, part in enumerate(parts))
            self.block.taxi_ball = pyo.Constraint(expr=sizes <= (1 - shifted) * z)
        else:
            squares = sum(float(part) ** 2 * t**2 for part, t in zip(parts, self.t, strict=True))
            self.block.round_ball = pyo.Constraint(expr=squares <= (1 - shifted**2) * z)

    def _add_cost(self) -> None:
        changes, b = self.shape.changes, self.block
        b.length = pyo.Var(bounds=(0, None))
        b.length_is = pyo.ConstraintList()
        kind, shifted = changes.cost_kind, self.shape.shifted
        scaled = [float(length) * t for length, t in zip(self.shape.lengths, self.t, strict=True)]
        match kind:
            case CostKind.COUNT:
                b.length_is.add(b.length >= self.z)
            case CostKind.L1:
                sizes = sum(float(part) * b.size[q] for q, part in enumerate(self.shape.lengths))
                b.length_is.add(b.length >= sizes + float(np.abs(shifted).sum()) * self.z)
            case CostKind.LINF:
                for part in [*scaled, *(-part for part in scaled), float(np.abs(shifted).max(initial=0.0)) * self.z]:
                    b.length_is.add(b.length >= part)
            case _:
                if kind is CostKind.L2:
                    self._add_polygon(scaled)
                squares = sum(part**2 for part in scaled) + float(shifted @ shifted) * self.z
                b.length_is.add(squares <= (b.length if kind is CostKind.SQL2 else b.length**2))
        farthest = np.append(self.shape.lengths, shifted)
        b.length.setub(1.0 if kind is CostKind.COUNT else (1 + ROUNDING) * kind.of(farthest))
        b.cost = pyo.Expression(expr=b.length + changes.fixed_cost * self.z)

    def _add_polygon(self, scaled: Sequence[Any]) -> None:
        """Linear rows below an l2 norm: at its tip a solver's tolerance on squares hides its root."""
        length, rows = self.block.length, self.block.length_is
        for part in scaled:
            rows.add(length >= part)
            rows.add(length >= -part)
        if 2 <= len(scaled) <= MOST_DIAGONALS:
            for signs in product((-1.0, 1.0), repeat=len(scaled)):
                side = sum(sign * part for sign, part in zip(signs, scaled, strict=True))
                rows.add(length >= side / math.sqrt(len(scaled)))


@dataclass(frozen=True, eq=False)
class PullCone:
    """What the balls say of ``u = g t``: ``||u|| <= radius |g|``, with the chord of ``|g|`` in its place.

    ``|g|`` is convex, so over ``[low, high]`` it is at most its chord ``c g + e z``; redundant, but a solver's
    relaxation of single products knows the box of ``t`` only.
    """

    block: Any
    z: Any
    shape: Shape
    pull: Any

    def write(self) -> None:
        low, high = float(self.pull.lb), float(self.pull.ub)
        if self.shape.shift.any() or high - low <= ROUNDING:
            return
        slope = (abs(high) - abs(low)) / (high - low)
        self.block.most = pyo.Var(bounds=(0, max(abs(low), abs(high))))
        self.block.most_is = pyo.Constraint(
            expr=self.block.most == slope * self.pull + (abs(low) - slope * low) * self.z
        )
        for ball in self.shape.changes.balls:
            self._add(ball.norm, ball.radius)

    def _add(self, norm: Norm, radius: float) -> None:
        b, free = self.block, range(len(self.shape.free))
        if norm is Norm.LINF or norm.of(self.shape.lengths) <= radius:
            return
        parts = self.shape.lengths / radius
        if norm is Norm.L2:
            squares = sum(float(part) ** 2 * b.product[q] ** 2 for q, part in enumerate(parts))
            b.round_cone = pyo.Constraint(expr=squares <= b.most**2)
            return
        b.product_size = pyo.Var(free, bounds=(0, b.most.ub))
        b.product_up = pyo.Constraint(free, rule=lambda b, q: b.product_size[q] >= b.product[q])
        b.product_down = pyo.Constraint(free, rule=lambda b, q: b.product_size[q] >= -b.product[q])
        sizes = sum(float(part) * b.product_size[q] for q, part in enumerate(parts))
        b.taxi_cone = pyo.Constraint(expr=sizes <= b.most)


def add_copies(block: Any, name: str, factor: Any, shape: Shape, q: int, z: Any | None) -> Any:
    """``factor t_q`` for a feature with binaries, linear: a copy of the bounded factor for every value.

    ``sum_v copy_v`` is the factor where the set is used; where not, the factor is 0 anyway (``z`` None) or free.
    """
    values = shape.grid(q)
    assert values is not None
    low, high, places = float(factor.lb), float(factor.ub), range(len(values))
    own = pyo.Block()
    block.add_component(name, own)
    own.copy = pyo.Var(places, bounds=(min(0.0, low), max(0.0, high)))
    own.low = pyo.Constraint(places, rule=lambda _, v: own.copy[v] >= low * block.pick[q, v])
    own.high = pyo.Constraint(places, rule=lambda _, v: own.copy[v] <= high * block.pick[q, v])
    rest = factor - sum(own.copy[v] for v in places)
    if z is None:
        own.all = pyo.Constraint(expr=rest == 0)
    else:
        own.rest_low = pyo.Constraint(expr=rest >= low * (1 - z))
        own.rest_high = pyo.Constraint(expr=rest <= high * (1 - z))
    return sum(float(value) * own.copy[v] for v, value in enumerate(values))


def _start_grids(block: Any, shape: Shape, t: Vector, used: bool) -> dict[str, float]:
    """Binaries and counts of the features that move in steps."""
    found: dict[str, float] = {}
    for q in range(len(t)):
        values = shape.grid(q)
        if values is None:
            continue
        nearest = int(np.abs(values - t[q]).argmin())
        if shape.has_binaries(q):
            found |= {block.pick[q, v].name: float(used and v == nearest) for v in range(len(values))}
        else:
            found[block.count[q].name] = float(nearest if used else 0)
    return found
