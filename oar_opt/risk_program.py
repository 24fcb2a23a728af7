"""Programs whose learner is a regularised risk: coordinates, proved bounds, definedness, reading back.

Letters of :mod:`oar_opt.risk`. ``theta`` (``theta[j]``) stands in coordinates that whiten the records
(:meth:`oar_opt.risk.RegularizedRisk.whitened`), since features of very different size or far from 0 have misled
solvers; everything holds in them as it stands, with ``R`` the penalty's diagonal there. Margins are linear in
``theta``.

Every interval is proved by :mod:`oar_opt.bounds`. Where a move with a known value of the goal is at hand (the
*cutoff*), the intervals are shrunk by :mod:`oar_opt.tightening` for moves at least as good, and options that no such
move can use are fixed to 0. Where a free intercept needs both classes (or any weight at all), a row demands it.

A :class:`RiskFormulation` adds what is its own: rows that say that ``theta`` is the learner's optimum.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pyomo.environ as pyo

from oar_opt.active_bounds import Quantity
from oar_opt.bounds import ParameterBounds, ProvedBound
from oar_opt.contracts import Formulation, Indicator, Program, PyomoProgram
from oar_opt.discovery import learner_of, missing_learner
from oar_opt.errors import UnsupportedError
from oar_opt.menu_program import Margin, MenuModel, dot, equal_options
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import Intercept, Move, Option, Query, RecourseProblem, Vector
from oar_opt.result import Request
from oar_opt.risk import RegularizedRisk
from oar_opt.tightening import tighten

TIGHTENING_SECONDS = 10.0
WIDEST = 1e4
"""Largest interval of a decision value in units of the targets; times a solver's integrality tolerance, 1e-4."""

Starter = Callable[[Vector, Mapping[str, float]], Mapping[str, float]]
"""Values of further variables for ``theta (p,)`` and the choices' values."""


class RiskFormulation(Formulation):
    """A statement of the learner's optimality, for learners that are a regularised risk.

    Over menus; a subclass that knows feature changes overrides :meth:`wrong_actions` and :meth:`model`.
    """

    exportable = True
    loss_limit: ClassVar[bool] = False
    """Whether ``max_loss_increase`` can be stated."""

    def accepts(self, problem: RecourseProblem) -> str | None:
        missing = missing_learner(problem)
        if missing:
            return missing
        risk = learner_of(problem).risk(problem.learner, problem.d)
        if risk is None:
            return f"learner '{problem.learner.kind}' is not a regularised empirical risk"
        own = self.refuses(problem, risk)
        if own:
            return own
        if not problem.update.retrains:
            return f"the update '{problem.update.kind}' does not re-train to the learner's optimum"
        wrong = self.wrong_actions(problem)
        if wrong:
            return wrong
        if problem.max_loss_increase is not None and not self.loss_limit:
            return "max_loss_increase is a convex nonlinear constraint, and this program is linear"
        unproved = self.unproved(self.model(problem, risk, Request()))
        return f"no finite bound is proved for {unproved}" if unproved else None

    def wrong_actions(self, problem: RecourseProblem) -> str | None:
        """Why this statement does not know what the members may do, or None."""
        if problem.is_menu_problem:
            return None
        return "members may move features, and this formulation knows finite options only"

    def model(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> RiskModel:
        """The model to write into."""
        return RiskModel(problem, risk, request)

    @abstractmethod
    def refuses(self, problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
        """Why this statement does not hold for the learner, or None."""

    def unproved(self, model: RiskModel) -> str | None:
        """The first quantity that this statement needs a finite interval of and has none, or None."""
        return model.unproved()

    @abstractmethod
    def add_learner(self, model: RiskModel) -> None:
        """Variables and rows that hold ``theta`` at the learner's optimum."""

    def build(self, problem: RecourseProblem, request: Request | None = None) -> Program:
        risk = learner_of(problem).risk(problem.learner, problem.d)
        assert risk is not None
        request = request or Request()
        model = self.model(problem, risk, request)
        if not self.unproved(model):
            model.tighten(TIGHTENING_SECONDS if request.tightening is None else request.tightening, request.interrupted)
        unproved = self.unproved(model)
        if unproved:
            raise UnsupportedError(f"{self.name}: no finite bound is proved for {unproved}")
        model.add_theta()
        model.add_choices()
        model.add_budgets()
        self.add_learner(model)
        model.add_definedness()
        model.add_goal()
        model.forbid(model.excluded)
        return self.program(model)

    def program(self, model: RiskModel) -> Program:
        """The finished model as a program."""
        return replace(model.pyomo_program(), needs=self.needs)


class RiskModel(MenuModel):
    """A :class:`MenuModel` with ``theta``, its proved bounds and margins.

    ``bounds`` proves; ``anyhow`` and ``given`` are the intervals of the options' decision values, without and with the
    option being chosen; ``proved`` collects what the rows rest on; ``starters`` give start values of variables
    beyond the choices; ``indicators`` are rows that Pyomo has no component for.
    """

    def __init__(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> None:
        super().__init__(problem, request)
        self.risk, self.unit = whitened(problem, risk), unit_of(problem)
        self.bounds = ParameterBounds(problem, self.risk, reference_point(problem, self.risk))
        self.excluded: set[int] = set()
        self.goal_bound: float | None = None
        self.proved: dict[str, ProvedBound] = {}
        self.starters: list[Starter] = []
        self.indicators: list[Indicator] = []
        self._read_bounds()

    def _read_bounds(self) -> None:
        stacked = np.vstack([o.xhat for o in self.bounds.members] or [np.zeros((0, self.risk.p))])
        subjects = (*self.problem.queries, *self.problem.guards)
        self.anyhow = self.bounds.along(stacked)
        self.given = self.bounds.of_options
        self.subjects = self.bounds.along(np.array([self._subject(query) for query in subjects]))

    def tighten(self, seconds: float, interrupted: Callable[[], bool]) -> None:
        """Shrink the intervals for moves at least as good as the cutoff, where all are finite to begin with.

        Not where features change: the relaxation that does it knows finite options only.
        """
        if seconds <= 0 or not self.menus or self.sets or self.unproved() or not self.is_boxed:
            return
        found = tighten(self.problem, self.bounds, self.cutoff, seconds, interrupted)
        if not found.empty:
            self.bounds.adopt(found.theta, found.fixed, found.options)
            self.excluded, self.goal_bound = found.excluded, found.goal_bound
            self._read_bounds()

    @property
    def is_boxed(self) -> bool:
        """Whether every coordinate of ``theta`` has a finite interval."""
        box = self.bounds.along(np.eye(self.risk.p))
        return bool(np.isfinite(box.lower).all() and np.isfinite(box.upper).all())

    def unproved(self) -> str | None:
        """The first decision value without a finite interval, or with one that rounding has emptied."""
        boxes = (self.bounds.of_fixed, self.given, self.anyhow, self.bounds.of_changes, self.subjects)
        if any((box.lower > box.upper).any() for box in boxes):
            return "the decision values: the numbers of this instance are too far apart in size for floating point"
        widest = max(float((box.upper - box.lower).max(initial=0.0)) for box in boxes)
        if math.isfinite(widest) and widest > WIDEST * self.unit:
            return (
                f"decision values in an interval narrow enough for a solver's tolerances (it is {widest:.3g} wide): "
                "regularise more, or bring the features to one scale"
            )
        for r, index in enumerate(self.bounds.fixed_index):
            if not self.bounds.of_fixed.bound(r).is_finite and not self.is_line(float(self.bounds.fixed.y[r])):
                return f"the decision value of record {index}"
        for place, (record, k) in enumerate(self.pairs):
            if not (self.anyhow.bound(place).is_finite and self.given.bound(place).is_finite):
                return f"the decision value of member {record} under option {k}"
        for place, (record, _) in enumerate(self.sets):
            if not self.bounds.of_changes.bound(place).is_finite:
                return f"the decision value of member {record} under feature changes"
        for q, query in enumerate(self.problem.queries):
            if not self.subjects.bound(q).is_finite:
                return f"the decision value of query '{query.name}'"
        return None

    def is_line(self, y: float) -> bool:
        """Whether the loss's graph is one line: its records enter through their Gram matrix."""
        return len(self.risk.loss.pieces(y) or ()) == 1

    # -- theta ---

    def add_theta(self) -> None:
        coordinates = self.bounds.along(np.eye(self.risk.p))
        for j in range(self.risk.p):
            self.proved[f"theta[{j}]"] = coordinates.bound(j)

        def box(j: int) -> tuple[float | None, float | None]:
            low, high = coordinates.lower[j], coordinates.upper[j]
            return (low if math.isfinite(low) else None, high if math.isfinite(high) else None)

        self.model.theta = pyo.Var(range(self.risk.p), bounds=lambda _, j: box(j))

    @property
    def theta(self) -> list[Any]:
        return [self.model.theta[j] for j in range(self.risk.p)]

    def value(self, xhat: Vector) -> Any:
        """The decision value ``xhat'theta``."""
        return dot(xhat, self.theta)

    def add_definedness(self) -> None:
        """A free intercept needs weight on both classes where pulls are one-sided, else on any record."""
        if self.risk.intercept is not Intercept.FREE:
            return
        one_sided = self.risk.loss.pull_range(1.0)[1] <= 0
        groups: list[tuple[float, ...]] = [(-1.0,), (1.0,)] if one_sided else [tuple(self._all_y())]
        needed = [group for group in groups if not np.isin(self.bounds.fixed.y, group).any()]

        def weight(_: Any, g: int) -> Any:
            terms = [
                self.model.choice[record, k]
                for record, options in self.menus
                for k, option in enumerate(options)
                if option.s > 0 and option.y in needed[g]
            ]
            terms += [self.model.used[pair] for pair, one in self.sets.items() if one.y in needed[g]]
            return sum(terms) >= 1 if terms else pyo.Constraint.Infeasible

        self.model.defined = pyo.Constraint(range(len(needed)), rule=weight)

    def _all_y(self) -> list[float]:
        return [*self.problem.records.y.tolist(), *(option.y for _, options in self.menus for option in options)]

    # -- margins ---

    def margin(self, place: int, subject: Query) -> Margin:
        box = self.subjects.bound(place)
        if place < len(self.problem.queries):
            self.proved[f"f({subject.name})"] = box
        ends = [subject.target * (value - subject.threshold) for value in (box.lower, box.upper)]
        part = subject.target * (self.decision_value(subject) - subject.threshold)
        return Margin((part,), min(ends), max(ends))

    def decision_value(self, subject: Query) -> Any:
        """The subject's ``f``, of the model's variables."""
        return self.value(self._subject(subject))

    def _subject(self, query: Query) -> Vector:
        xhat: Vector = self.risk.extend(np.array([query.x]))[0]
        return xhat

    # -- the program ---

    def pyomo_program(self) -> PyomoProgram:
        return PyomoProgram(
            model=self.model,
            read=self.read,
            start=self.start,
            meanings=self.meanings(),
            bounds=self.proved,
            goal_bound=self.goal_bound,
            quantities=self.quantities(),
            indicators=tuple(self.indicators),
        )

    def read(self) -> tuple[tuple[Move, ...], LinearParameters]:
        """Moves and parameters of the variables' present values."""
        w, b = self.risk.split(np.array([variable.value for variable in self.theta]))
        return self.read_choice(), LinearParameters.of(w, b)

    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        """Values of the choices and, where the parameters are known, of what follows from both."""
        values = self.start_choices(moves)
        if isinstance(parameters, LinearParameters):
            theta = self.risk.join(np.array(parameters.w), parameters.b)
            for starter in self.starters:
                values |= starter(theta, values)
        return values

    def quantities(self) -> dict[str, Quantity]:
        """What every proved interval is about, by its name in ``proved``."""
        found = self.all_quantities()
        return {name: found[name] for name in self.proved}

    def all_quantities(self) -> dict[str, Quantity]:
        """What every interval that could be proved is about."""
        found = {}
        for j, direction in enumerate(np.eye(self.risk.p)):
            found[f"theta[{j}]"] = self._quantity(f"coordinate {j} of the whitened parameters", direction)
        for r, index in enumerate(self.bounds.fixed_index):
            value = self._quantity(f"decision value of record {index}", self.bounds.fixed.xhat[r])
            found[f"f[{index}]"] = replace(value, record=int(index))
        for (record, k), (i, row) in zip(self.pairs, self._option_rows(), strict=True):
            words, options = f"decision value of member {record} under option {k}", self.menus[i][1]
            chosen = (record, options, k)
            found[f"f[{record},{k}]"] = self._quantity(f"{words}, whatever is chosen", row, chosen, False)
            found[f"f[{record},{k}] if chosen"] = self._quantity(f"{words}, if chosen", row, chosen, True)
        for query in self.problem.queries:
            found[f"f({query.name})"] = self._quantity(f"decision value of query '{query.name}'", self._subject(query))
        return found

    def _option_rows(self) -> list[tuple[int, Vector]]:
        """Member's place and ``xhat`` of every option, in the order of :attr:`pairs`."""
        return [(i, row) for i, occurrences in enumerate(self.bounds.members) for row in occurrences.xhat]

    def _quantity(
        self,
        words: str,
        direction: Vector,
        option: tuple[int, tuple[Option, ...], int] | None = None,
        if_chosen: bool = True,
    ) -> Quantity:
        """``direction'theta``; where it is an option's, only for moves that choose it, or only for all others."""

        def value(moves: Sequence[Move], parameters: Parameters) -> float | None:
            if option is not None:
                record, options, k = option
                move = next((move for move in moves if move.record == record), None)
                if (k in equal_options(options, move)) is not if_chosen:
                    return None
            if not isinstance(parameters, LinearParameters):
                return None
            return float(direction @ self.risk.join(np.array(parameters.w), parameters.b))

        return Quantity(words, value)

    def meanings(self) -> dict[str, str]:
        problem, words = self.problem, super().meanings()
        names = [f"weight of '{feature.name}'" for feature in problem.features]
        names += [] if self.risk.intercept is Intercept.NONE else ["intercept"]
        for j in range(self.risk.p):
            column = np.ones(1) if self.risk.basis is None else self.risk.basis[:, j]
            parts = ", ".join(f"{value:.17g} to the {name}" for value, name in zip(column, names, strict=True))
            words[f"theta[{j}]"] = f"whitened coordinate of the learner's parameters: each unit adds {parts}"
        for record, k in self.pairs:
            words[f"option[{record},{k}]"] = f"member {record}, option {k}: its pull on the learner"
        for index in self.bounds.fixed_index:
            words[f"fixed[{index}]"] = f"record {index}: its pull on the learner"
        return words


def unit_of(problem: RecourseProblem) -> float:
    """The size of a typical decision value: that of the targets."""
    targets = [option.y for member in problem.collective.members for option in problem.admissible_options(member)]
    return max(1.0, float(np.abs(problem.records.y).max()), *(abs(y) for y in targets))


def whitened(problem: RecourseProblem, risk: RegularizedRisk) -> RegularizedRisk:
    """The learner in coordinates that suit the records, options, targets and weights of this problem."""
    menus = [problem.admissible_options(member) for member in problem.collective.members]
    options = [option for options in menus for option in options]
    X = np.vstack([problem.records.X, *(np.array([option.x]) for option in options)])
    s = np.append(problem.records.s, [option.s for option in options])
    return risk.whitened(X, unit_of(problem), float(s.max()) or 1.0)


def reference_point(problem: RecourseProblem, risk: RegularizedRisk) -> Vector:
    """The learner's present optimum where it has one, else the prior; the bounds are valid around any point."""
    learner = learner_of(problem)
    if learner.undefined(problem, problem.records):
        return np.array(risk.theta0)
    parameters = learner.fit(problem, problem.records).parameters
    assert isinstance(parameters, LinearParameters)
    return risk.join(np.array(parameters.w), parameters.b)
