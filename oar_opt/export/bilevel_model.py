"""The bilevel program in memory: the leader's part of every program over menus, and the learner as a linear program.

Letters and proofs: :mod:`oar_opt.export.bilevel`. Choices, budgets, definedness, goal, guards and the proved intervals
are those of :mod:`oar_opt.risk_program`; instead of the learner's optimality stands the learner itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.numvalue import is_potentially_variable

from oar_opt.active_bounds import Quantity
from oar_opt.bounds import Interval
from oar_opt.contracts import Program, PyomoProgram
from oar_opt.errors import UnsupportedError
from oar_opt.evaluate import FEW_CHOICES, UndefinedLearner, choices, count_choices, evaluate, goal_value
from oar_opt.menu_program import dot
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import GoalKind, Intercept, Move, Position, Query, RecourseProblem, Vector, moves_from_choice
from oar_opt.result import Request
from oar_opt.risk import Line, Loss, PenaltyNorm, RegularizedRisk
from oar_opt.risk_program import RiskFormulation, RiskModel

DIGITS = 6
"""Of a proved number, which is rounded outwards."""

Part = tuple[float, float]
"""``(slope, offset)`` of an affine function of a decision value."""


def affine_parts(loss: Loss, y: float) -> tuple[Part, ...] | None:
    """The affine functions of ``f`` whose largest value (and 0) is ``l(y, f)``; None where the loss is not such."""
    pieces = loss.pieces(y)
    lines = [piece for piece in pieces or () if isinstance(piece, Line)]
    if pieces is None or any(line.slope for line in lines):
        return None
    found = []
    for line in lines:
        f = next((end for end in (line.f_low, line.f_high) if math.isfinite(end)), 0.0)
        offset = float(loss.value(np.array([y]), np.array([f]))[0]) - line.offset * f
        found.append((line.offset, offset))
    return tuple(part for part in found if part != (0.0, 0.0))


def outwards(value: float, side: int) -> float:
    """``value`` with few digits, moved up (side 1) or down (-1)."""
    if not math.isfinite(value) or value == 0:
        return value
    unit = math.floor(math.log10(abs(value))) + 1 - DIGITS
    scaled = math.ceil(side * value / 10.0**unit)
    return side * float(f"{scaled}e{unit}")


@dataclass(frozen=True)
class BilevelProgram(PyomoProgram):
    """Both levels' variables and rows with the leader's objective, which is the high-point relaxation, and what of them
    is the follower's: the price of each of its variables in what it minimises, and its rows, by name."""

    lower_cost: Mapping[str, float] = field(default_factory=dict)
    lower_rows: frozenset[str] = frozenset()


class Bilevel(RiskFormulation):
    """The bilevel program itself: no statement of the learner's optimality, hence no formulation to solve by."""

    name = "bilevel"

    def accepts(self, problem: RecourseProblem) -> str | None:
        if problem.max_loss_increase is not None:
            return "max_loss_increase is not written to bilevel files"
        return super().accepts(problem) or _position(problem)

    def refuses(self, problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
        y = {*problem.records.y.tolist()}
        y |= {option.y for member in problem.collective.members for option in problem.options(member)}
        if risk.norm is PenaltyNorm.L1 and all(affine_parts(risk.loss, one) is not None for one in y):
            return None
        return f"learner '{problem.learner.kind}' is no linear program"

    def model(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> BilevelModel:
        return BilevelModel(problem, risk, request)

    def build(self, problem: RecourseProblem, request: Request | None = None) -> Program:
        # The follower answers to every choice, so intervals that hold for good moves only are of no use.
        return super().build(problem, replace(request or Request(), tightening=0.0))

    def add_learner(self, model: RiskModel) -> None:
        assert isinstance(model, BilevelModel)
        model.add_losses()

    def program(self, model: RiskModel) -> Program:
        assert isinstance(model, BilevelModel)
        rows = list(model.model.component_data_objects(pyo.Constraint, active=True))
        for one in rows:
            if not is_potentially_variable(one.body):
                raise UnsupportedError(
                    f"{model.problem.name} has no bilevel program to write: its row '{one.name}' holds for no choice "
                    "of the members, so no move of theirs can help"
                )
        lower = frozenset(one.name for one in rows if one.parent_component().local_name in BilevelModel.lower_rows)
        plain = model.pyomo_program()
        known = {one.name: getattr(plain, one.name) for one in fields(plain)}
        return BilevelProgram(**known, lower_cost=model.lower_cost, lower_rows=lower)


def _position(problem: RecourseProblem) -> str | None:
    """Why the follower's ties are not those that a bilevel solver takes, or None."""
    match problem.position:
        case Position.OPTIMISTIC:
            return None
        case Position.PESSIMISTIC:
            return "the position is pessimistic, and bilevel solvers that read these files take the best of all optima"
    if count_choices(problem) > FEW_CHOICES:
        return (
            f"the position is unique, and that no choice ties is proved by re-training for at most {FEW_CHOICES}: "
            "state the position 'optimistic'"
        )
    return next((f"the position is unique, and {tie}" for tie in _ties(problem)), None)


def _ties(problem: RecourseProblem) -> Iterator[str]:
    for choice in choices(problem):
        try:
            tie = evaluate(problem, moves_from_choice(problem, choice)).tie
        except UndefinedLearner:
            # The leader's rows forbid it.
            continue
        if tie:
            yield tie


class BilevelModel(RiskModel):
    """A :class:`RiskModel` whose ``theta`` is in the instance's own coordinates.

    ``lower_cost`` is the follower's objective by the name of each of its variables, ``lower_rows`` are the names of its
    components with rows.
    """

    lower_rows = ("fixed_row", "option_row")

    def __init__(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> None:
        super().__init__(problem, risk, request)
        self.own = risk
        self.lower_cost: dict[str, float] = {}

    # -- theta ---

    def add_theta(self) -> None:
        m, own, box = self.model, self.own, self.own_box()
        kept = [j for j in range(own.p) if own.penalty[j] > 0]

        def part(side: int) -> Any:
            ends = box.upper if side > 0 else box.lower
            # At an optimum one of the two parts is 0.
            room = {j: max(0.0, side * (float(ends[j]) - own.theta0[j])) for j in kept}
            return pyo.Var(kept, bounds=lambda _, j: (0, _end(room[j], 1)))

        m.up, m.down = part(1), part(-1)
        self.parameters: list[Any] = [own.theta0[j] + m.up[j] - m.down[j] for j in kept]
        self._prices(m.up, {j: own.lam * own.penalty[j] for j in kept})
        self._prices(m.down, {j: own.lam * own.penalty[j] for j in kept})
        if own.intercept is Intercept.FREE:
            m.intercept = pyo.Var(bounds=(_end(float(box.lower[-1]), -1), _end(float(box.upper[-1]), 1)))
            self.parameters.append(m.intercept)
            self.lower_cost[m.intercept.name] = 0.0
        for j in range(own.p):
            self.proved[f"parameter[{j}]"] = box.bound(j)

    def own_box(self) -> Interval:
        """Proved intervals of the learner's parameters in the instance's own coordinates."""
        assert self.risk.basis is not None
        return self.bounds.along(self.risk.basis)

    def decision_value(self, subject: Query) -> Any:
        return self.f(self.own.extend(np.array([subject.x]))[0])

    def f(self, xhat: Vector) -> Any:
        """``xhat'theta``."""
        return dot(xhat, self.parameters)

    # -- losses ---

    def add_losses(self) -> None:
        self._add_fixed()
        self._add_options()

    def _add_fixed(self) -> None:
        m, records, of = self.model, self.problem.records, self.bounds.of_fixed
        parts = {int(i): self._parts(float(records.y[i])) for i in self.bounds.fixed_index}
        top = {int(i): _highest(parts[int(i)], of, r) for r, i in enumerate(self.bounds.fixed_index)}
        m.fixed_loss = pyo.Var(list(parts), bounds=lambda _, i: (0, _end(top[i], 1)))
        xhat = self.own.extend(records.X)

        def state(_: Any, i: int, c: int) -> Any:
            slope, offset = parts[i][c]
            return m.fixed_loss[i] - self.f(slope * xhat[i]) >= offset

        m.fixed_row = pyo.Constraint([(i, c) for i in parts for c in range(len(parts[i]))], rule=state)
        self._prices(m.fixed_loss, {i: self.own.factor * float(records.s[i]) for i in parts})
        for r, i in enumerate(self.bounds.fixed_index):
            self.proved[f"f[{i}]"] = of.bound(r)

    def _add_options(self) -> None:
        m = self.model
        places = {pair: place for place, pair in enumerate(self.pairs)}
        options = {(i, k): option for i, menu in self.menus for k, option in enumerate(menu) if option.s > 0}
        parts = {pair: self._parts(option.y) for pair, option in options.items()}
        top = {pair: _highest(parts[pair], self.given, places[pair]) for pair in options}
        m.option_loss = pyo.Var(list(options), bounds=lambda _, i, k: (0, _end(top[i, k], 1)))

        def state(_: Any, i: int, k: int, c: int) -> Any:
            slope, offset = parts[i, k][c]
            xhat = self.own.extend(np.array([options[i, k].x]))[0]
            M = outwards(_highest((parts[i, k][c],), self.anyhow, places[i, k]), 1)
            return m.option_loss[i, k] - self.f(slope * xhat) - M * m.choice[i, k] >= offset - M

        rows = [(*pair, c) for pair in options for c in range(len(parts[pair]))]
        m.option_row = pyo.Constraint(rows, rule=state)
        self._prices(m.option_loss, {pair: self.own.factor * option.s for pair, option in options.items()})
        for (i, k), place in places.items():
            if (i, k) in options:
                self.proved[f"f[{i},{k}]"] = self.anyhow.bound(place)
                self.proved[f"f[{i},{k}] if chosen"] = self.given.bound(place)

    def _parts(self, y: float) -> tuple[Part, ...]:
        found = affine_parts(self.own.loss, y)
        assert found is not None, "Bilevel.refuses has seen every y"
        return found

    def _prices(self, variables: Any, prices: dict[Any, float]) -> None:
        self.lower_cost.update({variables[index].name: price for index, price in prices.items()})

    # -- reading and starting ---

    def read(self) -> tuple[tuple[Move, ...], LinearParameters]:
        w, b = self.own.split(np.array([pyo.value(parameter) for parameter in self.parameters]))
        return self.read_choice(), LinearParameters.of(w, b)

    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        """Values of the choices and, where the parameters are known, of all other variables."""
        chosen = self.start_choices(moves)
        if not isinstance(parameters, LinearParameters):
            return chosen
        theta = self.own.join(np.array(parameters.w), parameters.b)
        return {**chosen, **self._follower_at(theta, chosen), **self._goal_at(parameters, moves)}

    def _follower_at(self, theta: Vector, chosen: Mapping[str, float]) -> dict[str, float]:
        m, records, values = self.model, self.problem.records, dict[str, float]()
        for j in m.up:
            step = float(theta[j]) - self.own.theta0[j]
            values |= {m.up[j].name: max(0.0, step), m.down[j].name: max(0.0, -step)}
        if self.own.intercept is Intercept.FREE:
            values[m.intercept.name] = float(theta[-1])
        f = self.own.extend(records.X) @ theta
        for i in m.fixed_loss:
            values[m.fixed_loss[i].name] = self._loss(float(records.y[i]), float(f[i]))
        for i, menu in self.menus:
            for k, option in enumerate(menu):
                if option.s > 0:
                    loss = self._loss(option.y, float(self.own.extend(np.array([option.x]))[0] @ theta))
                    values[m.option_loss[i, k].name] = loss * chosen[m.choice[i, k].name]
        return values

    def _goal_at(self, parameters: LinearParameters, moves: Sequence[Move]) -> dict[str, float]:
        m, margins = self.model, [parameters.margin(query) for query in self.problem.queries]
        match self.problem.goal:
            case GoalKind.MAX_MARGIN:
                return {m.margin.name: min(margins)}
            case GoalKind.MAX_HELPED:
                needed = [self.needed(query) for query in self.problem.queries]
                return {m.reached[q].name: float(margin >= needed[q]) for q, margin in enumerate(margins)}
        return {m.spent.name: goal_value(self.problem, moves, margins)}

    def _loss(self, y: float, f: float) -> float:
        return max(0.0, *(slope * f + offset for slope, offset in self._parts(y)))

    # -- names ---

    def all_quantities(self) -> dict[str, Quantity]:
        assert self.risk.basis is not None
        own = {
            f"parameter[{j}]": self._quantity(words, self.risk.basis[j])
            for j, words in enumerate(self._parameter_words())
        }
        return super().all_quantities() | own

    def meanings(self) -> dict[str, str]:
        words = super().meanings()
        names = self._parameter_words()
        for j in range(self.own.p):
            words[f"up[{j}]"] = f"what the {names[j]} exceeds its prior by"
            words[f"down[{j}]"] = f"what the {names[j]} falls short of its prior by"
        words["intercept"] = "the free intercept"
        words["margin"] = "the smallest margin of any query"
        words["spent"] = "what the goal minimises"
        for i in self.bounds.fixed_index:
            words[f"fixed_loss[{i}]"] = f"loss of record {i}, unweighted"
        for i, k in self.pairs:
            words[f"option_loss[{i},{k}]"] = f"loss of member {i} under option {k}, unweighted; 0 unless chosen"
        return words | self._meanings_of_rows()

    def _meanings_of_rows(self) -> dict[str, str]:
        words = {f"one_option[{i}]": f"member {i} picks one option" for i, _ in self.menus}
        words |= {"total_budget": "the budget of all members", "members_budget": "how many members may act"}
        words["spent_on"] = "what the goal minimises, from the choices"
        for g, guard in enumerate(self.problem.guards):
            words[f"guard[{g}]"] = f"guard '{guard.name}' keeps its margin"
        for g in range(2):
            words[f"defined[{g}]"] = "keeps the learner defined"
        for i in self.bounds.fixed_index:
            for c, part in enumerate(self._parts(float(self.problem.records.y[i]))):
                words[f"fixed_row[{i},{c}]"] = f"loss of record {i} is at least {_in_words(part)}"
        for i, menu in self.menus:
            for k, option in enumerate(menu):
                for c, part in enumerate(self._parts(option.y)):
                    words[f"option_row[{i},{k},{c}]"] = (
                        f"loss of member {i} under option {k}, if chosen, is at least {_in_words(part)}"
                    )
        return words

    def _parameter_words(self) -> list[str]:
        words = [f"weight of '{feature.name}'" for feature in self.problem.features]
        return words + ([] if self.own.intercept is Intercept.NONE else ["intercept"])


def _highest(parts: tuple[Part, ...], box: Interval, place: int) -> float:
    """The largest of 0 and of some affine functions over an interval."""
    ends = (float(box.lower[place]), float(box.upper[place]))
    # A slope of 0 times an infinite end is no number.
    return max((slope * f if slope else 0.0) + offset for slope, offset in (*parts, (0.0, 0.0)) for f in ends)


def _in_words(part: Part) -> str:
    return f"{part[0]:g} f + {part[1]:g}"


def _end(value: float, side: int) -> float | None:
    return outwards(value, side) if math.isfinite(value) else None
