"""Gradient steps whose members may change features: what a change set pulls in every step.

Letters of :mod:`oar_opt.change_program`: a change set turns ``xhat`` into ``xhat + sum_j h_j t_j E_j``, with ``t = 0``
where it is not used (``z = 0``). In step ``t`` it has the decision value

    f = xhat'theta_t + sum_j h_j theta_tj t_j

and pulls ``z g xhat + sum_j h_j (z g) t_j E_j``. At the given start ``f`` is linear in the steps ``t_j``; later it is
bilinear, but for features with a binary for each of their values. ``z g`` is that of :mod:`oar_opt.unrolled_pulls`. The
products ``u_j = (z g) t_j`` are

- for the hinge ``-s y (e t_j)`` with a binary ``e``, hence linear by ``l e <= p <= u e`` and ``l (z - e) <= t_j - p <=
  u (z - e)``, where ``t_j`` is between ``l`` and ``u``;
- for the others bilinear, or linear for features with a binary for each value, as in :mod:`oar_opt.change_program`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pyomo.environ as pyo
from scipy.special import expit

from oar_opt.active_bounds import Quantity
from oar_opt.bounds import WIDENING, ProvedBound, Reason
from oar_opt.change_program import SCIP_SETTINGS as CHANGE_SETTINGS
from oar_opt.change_program import ChangeChoices, ChangeProgram, PullCone, Shape, add_copies
from oar_opt.changes import ChangeSet, change_sets
from oar_opt.menu_program import equal_options
from oar_opt.parameters import Parameters
from oar_opt.problem import Move, Query, RecourseProblem, Vector
from oar_opt.result import Request
from oar_opt.rules import ROUNDING, budget_violations
from oar_opt.solver_features import SolverFeature
from oar_opt.step_loss import slopes
from oar_opt.unrolled_program import Trace, UnrolledModel
from oar_opt.unrolled_pulls import Arrival, add_pull
from oar_opt.unrolled_ranges import reach_of, unroll
from oar_opt.update_settings import StepLoss

STEEPEST = 16.0
"""Largest ``|f|`` where a solver still tells the logistic pull from its end: it is 1e-7 there."""
BESIDE, TRIALS, MEANT = (1e-8, 1e-7, 1e-6, 1e-5), 16, 1e-6
"""Beside a kink: distances over scaled features, how many points each, and how near to the program's parameters they
must lead, relatively."""

SCIP_SETTINGS = CHANGE_SETTINGS | {
    # With iterates in narrow intervals, aggregation has cut off the best choice, by 1e-5 of its value.
    "presolving/donotaggr": True,
    "presolving/donotmultaggr": True,
    "numerics/epsilon": 1e-10,
}


@dataclass(frozen=True)
class UnrolledProgram(ChangeProgram):
    """A :class:`ChangeProgram` that SCIP solves with :data:`SCIP_SETTINGS`."""

    scip_settings: ClassVar[Mapping[str, str | int | float | bool]] = SCIP_SETTINGS


def too_steep(model: UnrolledModel) -> str | None:
    """Why the logistic curve cannot be stated over the proved intervals, or None."""
    if model.settings.loss is not StepLoss.LOGISTIC:
        return None
    boxes = [box for known in model.ranges.known for box in (known.fixed, known.anyhow, known.given)]
    widest = max(float(np.abs(end).max(initial=0.0)) for box in boxes for end in (box.lower, box.upper))
    if widest <= STEEPEST:
        return None
    return (
        f"decision values where the logistic pull is more than rounding (they may be {widest:.3g} in size): "
        "make fewer or shorter steps, or give changes less room"
    )


class UnrolledChangeModel(ChangeChoices, UnrolledModel):
    """An :class:`UnrolledModel` whose members may use change sets."""

    def __init__(self, problem: RecourseProblem, request: Request) -> None:
        super().__init__(problem, request)
        if self.sets and not problem.goal.maximises:
            # At the cost of an answer with just the margin that it needs, there may be none with a little more.
            self.cutoff = None

    def needed(self, subject: Query) -> float:
        """Options alone need no more than re-training does: of finitely many none is lost to rounding."""
        return super().needed(subject) if self.sets else self.problem.needed_margin(subject)

    def add_sets(self) -> None:
        self.shapes = {}
        for member in self.problem.collective.members:
            for a, one in enumerate(change_sets(self.problem, member)):
                self.sets[member.record, a] = one
                self.shapes[member.record, a] = Shape.of(reach_of(one, self.settings))

    def choice(self, place: int) -> Any:
        if place < self.ranges.alternatives.first_set:
            return super().choice(place)
        return self.model.used[self._pair(place)]

    def _pair(self, place: int) -> tuple[int, int]:
        return list(self.sets)[place - self.ranges.alternatives.first_set]

    def add_choices(self) -> None:
        super().add_choices()
        self.add_steps()
        self.add_geometry()

    # -- reading ---

    def read_choice(self) -> tuple[Move, ...]:
        """The moves; under the hinge loss a little beside a kink that the program lies on, if that is where it means.

        At a kink the program takes the pull that it likes, the rule just one: the other is that of points nearby.
        """
        moves = super().read_choice()
        if self.settings.loss is not StepLoss.HINGE or all(self._set_used(move) is None for move in moves):
            return moves
        meant = np.array([variable.value for variable in self.theta(self.settings.T)])
        best, distance, draw = moves, self._distance(moves, meant), np.random.default_rng(0)
        for size in BESIDE:
            if distance <= MEANT * (1 + float(np.abs(meant).max())):
                break
            for _ in range(TRIALS):
                tried = tuple(self._beside(move, size, draw) for move in moves)
                other = math.inf if budget_violations(self.problem, tried) else self._distance(tried, meant)
                if other < distance:
                    best, distance = tried, other
        return best

    def _set_used(self, move: Move) -> ChangeSet | None:
        options = dict(self.menus)[move.record]
        if equal_options(options, move) or not any(record == move.record for record, _ in self.sets):
            return None
        return self.sets[move.record, self.set_of(move)]

    def _distance(self, moves: Sequence[Move], meant: Vector) -> float:
        thetas = unroll(self.settings, self.problem.apply(moves))
        return math.inf if thetas is None else float(np.abs(thetas[-1] - meant).max())

    def _beside(self, move: Move, size: float, draw: np.random.Generator) -> Move:
        """A move of the same set at a small distance, or the move itself."""
        one = self._set_used(move)
        if one is None:
            return move
        free = one.movable & np.array([grid is None for grid in one.grids])
        delta = np.array(move.x) - one.x + size * one.scales * draw.normal(size=one.d) * free
        delta = np.clip(delta, one.lower, one.upper)
        for ball in one.balls:
            length = ball.norm.of(delta / one.scales)
            delta = delta * min(1.0, ball.radius / length) if length > 0 else delta
        found = one.move(delta)
        return move if found is None or one.violation(np.array(found.x) - one.x) > ROUNDING else found

    # -- pulls ---

    def member_terms(self, t: int, i: int) -> list[tuple[Vector, Any]]:
        found = super().member_terms(t, i)
        alternatives = self.ranges.alternatives
        for place in range(alternatives.first_set, alternatives.count):
            if alternatives.owner[place] == i:
                found += self._changed_terms(t, place)
        return found

    def _changed_terms(self, t: int, place: int) -> list[tuple[Vector, Any]]:
        pair = self._pair(place)
        block = self.model.pull[t, pair[0], f"changes {pair[1]}"]
        changed = _Changed(self, t, place, pair, self.shapes[pair], block)
        terms = changed.terms()
        self.starters.append(changed.start)
        return terms

    def change_program(self, needs: frozenset[SolverFeature]) -> UnrolledProgram:
        """The model, written, as a program."""
        found = self.program(needs)
        return UnrolledProgram(**{part.name: getattr(found, part.name) for part in fields(found)})

    def start_changes(self, moves: Sequence[Move], values: Mapping[str, float]) -> Mapping[str, float]:
        return self.start_steps(moves, values)

    def keep_changed(self, t: int, pair: tuple[int, int], bound: ProvedBound) -> None:
        """The interval of a used set's decision value."""
        options, changes = dict(self.menus)[pair[0]], self.sets[pair]

        def value(moves: Sequence[Move], _: Parameters) -> float | None:
            move = next((move for move in moves if move.record == pair[0]), None)
            thetas = unroll(self.settings, self.problem.apply(moves))
            if move is None or thetas is None or equal_options(options, move) or self.set_of(move) != pair[1]:
                return None
            if (move.y, move.s) != (changes.y, changes.s):
                return None
            return float(self.settings.extend(np.array([move.x]))[0] @ thetas[t])

        name = f"f[{t},{pair[0]},changes {pair[1]}] if used"
        words = f"decision value of member {pair[0]} under feature changes {pair[1]} in step {t}, if used"
        self.proved[name], self.quantities[name] = bound, Quantity(words, value)


@dataclass(frozen=True, eq=False)
class _Changed:
    """One change set in one step: writes its rows on ``block``."""

    model: UnrolledChangeModel
    t: int
    place: int
    pair: tuple[int, int]
    shape: Shape
    block: Any

    @property
    def steps(self) -> list[Any]:
        return self.model.steps(self.pair)

    @property
    def used(self) -> Any:
        return self.model.model.used[self.pair]

    @property
    def y(self) -> float:
        return self.shape.changes.y

    @property
    def s(self) -> float:
        return self.shape.changes.s

    def terms(self) -> list[tuple[Vector, Any]]:
        """Vectors and factors whose sum is what the set pulls."""
        model, t = self.model, self.t
        given = model.ranges.known[t].given.bound(self.place)
        anyhow = self._unmoved()
        if t > 0:
            model.keep_changed(t, self.pair, given)
        arrival = Arrival(model.settings.loss, self._value(given, anyhow), self.used, self.y, self.s, given, anyhow)
        pull, _ = add_pull(self.block, arrival)
        products = self._hinged(pull) if model.settings.loss is StepLoss.HINGE else self._multiplied(pull)
        return [(self.shape.xhat, pull), *zip(self.shape.rows, products, strict=True)]

    def _unmoved(self) -> ProvedBound:
        """The interval of the decision value where the set is not used."""
        if self.t > 0:
            return self.model.ranges.along(self.shape.xhat[None, :], self.t).bound(0)
        value = float(self.shape.xhat @ self.model.settings.theta0)
        return ProvedBound(value, value, Reason.STEPS, Reason.STEPS)

    def _value(self, given: ProvedBound, anyhow: ProvedBound) -> Any:
        """``f``: linear at the given start, else a variable."""
        still, free, half = self.model.value(self.t, self.shape.xhat), self.shape.free, self.shape.half
        theta = self.model.theta(self.t)
        products = [self._turned(q, theta[int(j)]) for q, j in enumerate(free)]
        found = still + sum(float(h) * part for h, part in zip(half, products, strict=True))
        if self.t == 0:
            return found
        self.block.value = pyo.Var(bounds=(min(given.lower, anyhow.lower), max(given.upper, anyhow.upper)))
        self.block.value_is = pyo.Constraint(expr=self.block.value == found)
        return self.block.value

    def _turned(self, q: int, weight: Any) -> Any:
        """``theta_tj t_q``."""
        if self.t > 0 and self.shape.has_binaries(q):
            moved = self.model.model.moved[self.pair]
            return add_copies(moved, f"weight_copy_{self.t}_{q}", weight, self.shape, q, self.used)
        return weight * self.steps[q]

    def _multiplied(self, pull: Any) -> list[Any]:
        """``z g t_q`` for a pull that is a curve or a line."""
        low, high = (float(end[self.place]) for end in self.model.ranges.known[self.t].pulls)
        b, free = self.block, range(len(self.steps))
        off = WIDENING * (1 + max(abs(low), abs(high)))
        b.counts = pyo.Var(bounds=(min(0.0, low - off), max(0.0, high + off)))
        b.counts_is = pyo.Constraint(expr=b.counts == pull)
        most = max(abs(b.counts.lb), abs(b.counts.ub))
        b.product = pyo.Var(free, bounds=(-most, most))
        b.product_is = pyo.Constraint(free, rule=lambda b, q: b.product[q] == self._product(q))
        PullCone(b, self.used, self.shape, b.counts).write()
        return [b.product[q] for q in free]

    def _product(self, q: int) -> Any:
        if self.shape.has_binaries(q):
            moved = self.model.model.moved[self.pair]
            return add_copies(moved, f"pull_copy_{self.t}_{q}", self.block.counts, self.shape, q, None)
        return self.block.counts * self.steps[q]

    def _hinged(self, pull: Any) -> list[Any]:
        """``-s y e t_q``; nothing where the hinge is flat over the whole interval."""
        b, free, factor = self.block, range(len(self.steps)), -self.s * self.y
        if isinstance(pull, int | float):
            return [0.0 for _ in free]
        if b.component("inside") is None:
            return [factor * step for step in self.steps]
        b.product, b.rule = pyo.Var(free), pyo.ConstraintList()
        for q, step in enumerate(self.steps):
            low, high, part = float(step.lb), float(step.ub), b.product[q]
            part.setlb(low)
            part.setub(high)
            for body, z in ((part, b.inside), (step - part, self.used - b.inside)):
                b.rule.add(body >= low * z)
                b.rule.add(body <= high * z)
        return [factor * b.product[q] for q in free]

    def start(self, trace: Trace) -> dict[str, float]:
        """Values of the variables beyond choices and steps."""
        t = np.array([trace.values[step.name] for step in self.steps])
        used = trace.values[self.used.name] > 0.5
        f = float(trace.thetas[self.t] @ (self.shape.xhat + t @ self.shape.rows))
        slope = float(slopes(self.model.settings.loss, np.array([self.y]), np.array([f]))[0])
        known = {
            "value": f,
            "counted": self._counted(f) if used else 0.0,
            "inside": float(used and self.y * f < 1),
            "counts": self.s * slope if used else 0.0,
            "f": f,
            "share": float(expit(-self.y * f)),
        }
        own = {name: self.block.component(name) for name in known}
        return {variable.name: known[name] for name, variable in own.items() if variable is not None}

    def _counted(self, f: float) -> float:
        return float(expit(-self.y * f)) if self.model.settings.loss is StepLoss.LOGISTIC else f
