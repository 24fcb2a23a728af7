"""The bilevel program in memory: the leader's part of every program over menus, and the learner as a linear program.

Letters and proofs: :mod:`oar_opt.export.bilevel`. Choices, budgets, definedness, goal, guards and the proved intervals
are those of :mod:`oar_opt.risk_program`; only the learner's optimality is not stated, but the learner itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.active_bounds import Quantity
from oar_opt.bounds import Interval
from oar_opt.menu_program import dot
from oar_opt.problem import Intercept, Query, RecourseProblem, Vector
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


class Bilevel(RiskFormulation):
    """Not a statement of the learner's optimality, hence no formulation that anybody can choose."""

    name = "bilevel"

    def refuses(self, problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
        y = {*problem.records.y.tolist()}
        y |= {option.y for member in problem.collective.members for option in problem.options(member)}
        if risk.norm is PenaltyNorm.L1 and all(affine_parts(risk.loss, one) is not None for one in y):
            return None
        return f"learner '{problem.learner.kind}' is no linear program"

    def model(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> BilevelModel:
        return BilevelModel(problem, risk, request)

    def add_learner(self, model: RiskModel) -> None:
        assert isinstance(model, BilevelModel)
        model.add_losses()


class BilevelModel(RiskModel):
    """A :class:`RiskModel` whose ``theta`` is in the instance's own coordinates.

    ``lower_cost``, also of the Pyomo model, is the follower's objective by the name of each of its variables;
    ``lower_rows`` are the names of its components with rows.
    """

    lower_rows = ("fixed_row", "option_row")

    def __init__(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> None:
        super().__init__(problem, risk, request)
        self.own = risk
        self.lower_cost: dict[str, float] = {}
        self.model.lower_cost = self.lower_cost

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
        return words

    def _parameter_words(self) -> list[str]:
        words = [f"weight of '{feature.name}'" for feature in self.problem.features]
        return words + ([] if self.own.intercept is Intercept.NONE else ["intercept"])


def _highest(parts: tuple[Part, ...], box: Interval, place: int) -> float:
    """The largest of 0 and of some affine functions over an interval."""
    ends = (float(box.lower[place]), float(box.upper[place]))
    # A slope of 0 times an infinite end is no number.
    return max((slope * f if slope else 0.0) + offset for slope, offset in (*parts, (0.0, 0.0)) for f in ends)


def _end(value: float, side: int) -> float | None:
    return outwards(value, side) if math.isfinite(value) else None
