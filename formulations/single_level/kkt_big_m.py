"""Optimality conditions of the learner with proved big-M bounds: a mixed-integer linear program for menus.

Statement
---------
Members ``i in C`` choose one option ``k`` each: ``z_ik`` binary, ``sum_k z_ik = 1``, option 0 is to stay. The learner
is a regularised risk (letters of :mod:`oar_opt.risk`) with a piecewise linear-quadratic loss. Write ``g_ik`` for the
pull of option ``k`` if it is chosen and 0 otherwise. Then the learner's optimality is

    lam R (theta - theta0) + sum_(i not in C) g_i xhat_i + sum_(i in C, k) g_ik xhat_ik = 0          (stationarity)
    (f_i, g_i) on the graph of a_i dl(y_i, .)                                     for i not in C,  f_i = xhat_i' theta
    z_ik = 1  =>  (f_ik, g_ik) on the graph of a_ik dl(y_ik, .),     z_ik = 0  =>  g_ik = 0          for i in C, all k

so only one product per option is needed, whatever the number of features. Each graph is the union of segments from
``(p_j, r_j)`` to ``(p_j', r_j')``, cut to the proved interval of ``f``. With binaries ``e_j``, ``sum_j e_j = z``, and
for slanted segments ``0 <= t_j <= e_j`` where there are several,

    sum_j e_j p_j + sum_slanted t_j (p_j' - p_j) + (1 - z) L <= f <= sum_flat e_j p_j' + sum_others ... + (1 - z) U
    sum_j e_j r_j + sum_slanted t_j (r_j' - r_j)             <= g <= sum_jumps e_j r_j' + sum_others ...

with ``[L, U]`` the proved interval of ``f`` over all moves. A record whose interval leaves a flat segment alone is a
constant; one slanted segment alone needs no binary, and without ``z`` no variable either (ridge's fixed records enter
through their Gram matrix).

Goals: ``max_margin`` maximises a variable below every query's margin; ``min_cost`` and ``min_members`` minimise
``sum cost_ik z_ik`` or ``sum (1 - z_i0)`` with every margin at least its ``required`` (less the instance's
feasibility tolerance, as in the verification); ``max_helped`` counts binaries that are 1 only where the margin
reaches ``required``. Budgets and guards are linear. Where a free intercept needs both classes (or any weight at all),
a row demands it.

``theta`` stands in coordinates that whiten the records (:meth:`oar_opt.risk.RegularizedRisk.whitened`), since
features of very different size or far from 0 have misled solvers; everything above holds in them as it stands, with
``R`` the penalty's diagonal there.

Where a move with a known value of the goal is at hand (the *cutoff*), the intervals are shrunk by
:mod:`oar_opt.tightening` for moves at least as good; a record whose pull is constant only for those keeps a row that
holds it there, so that every point of the program still is an optimum of the learner.

Hypotheses
----------
Menus, labels and withholding only (nobody has room to move features). Loss with a polyline graph (ridge: squared; svm:
hinge). Update ``retrain`` or ``proximal``. No ``max_loss_increase``. Every interval finite: it is proved by
:mod:`oar_opt.bounds`, and the formulation refuses where no proof is found, or where the interval is more than
:data:`WIDEST` times as wide as the targets are large: a solver's integrality tolerance would then hide a whole margin.

Exactness
---------
Exact: the segments' rows describe, for fixed binaries, just the chosen segment, and their linear relaxation is the
convex hull of the union for each record by itself. Where a free intercept is not unique, the program may take any
optimal one: it is exact for the position ``optimistic`` and its bound is valid for every position.

Size
----
With ``K = sum_i K_i`` options and ``m`` fixed records whose graph keeps several segments: ridge has ``K`` binaries and
``p + K`` other variables; svm ``K + 3 (K + m)`` binaries at most and ``p + K + m`` others. Rows: ``p + k`` and at
most 5 for each option and each such record; no row has a product of features and choices.

Reference
---------
J. Fortuny-Amat, B. McCarl, "A Representation and Economic Interpretation of a Two-Level Programming Problem", 1981
(optimality conditions with big-M); J. P. Vielma, "Mixed Integer Linear Programming Formulation Techniques", 2015
(unions of polyhedra). The one-product form and the proofs of the bounds are derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.bounds import Occurrences, ParameterBounds, ProvedBound
from oar_opt.contracts import Formulation, PyomoProgram
from oar_opt.discovery import learner_of, missing_learner
from oar_opt.errors import UnsupportedError
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import (
    GoalKind,
    Intercept,
    Move,
    Option,
    OptionKind,
    Query,
    RecourseProblem,
    UpdateKind,
    Vector,
    moves_from_choice,
)
from oar_opt.result import Request
from oar_opt.risk import RegularizedRisk, Segment, segments
from oar_opt.tightening import tighten

TIGHTENING_SECONDS = 10.0
CUTOFF_SLACK = 1e-6
WIDEST = 1e4
"""Largest interval of a decision value in units of the targets; times a solver's integrality tolerance, 1e-4."""


class KktBigM(Formulation):
    """See the module's docstring."""

    name = "kkt_big_m"
    rank = 20
    exportable = True

    def accepts(self, problem: RecourseProblem) -> str | None:
        missing = missing_learner(problem)
        if missing:
            return missing
        risk = learner_of(problem).risk(problem.learner, problem.d)
        if risk is None:
            return f"learner '{problem.learner.kind}' is not a regularised empirical risk"
        if risk.loss.pieces(1.0) is None:
            return f"the loss of learner '{problem.learner.kind}' has a curved subdifferential, not a polyline"
        if problem.update.kind not in (UpdateKind.RETRAIN, UpdateKind.PROXIMAL):
            return f"the update '{problem.update.kind}' does not re-train to the learner's optimum"
        if not problem.is_menu_problem:
            return "members may move features, and this formulation knows finite options only"
        if problem.max_loss_increase is not None:
            return "max_loss_increase is a convex nonlinear constraint, and this program is linear"
        unproved = _Build(problem, risk).unproved()
        return f"no finite bound is proved for {unproved}" if unproved else None

    def build(self, problem: RecourseProblem, request: Request | None = None) -> PyomoProgram:
        risk = learner_of(problem).risk(problem.learner, problem.d)
        assert risk is not None
        request = request or Request()
        draft = _Build(problem, risk, request.cutoff)
        draft.tighten(TIGHTENING_SECONDS if request.tightening is None else request.tightening, request.interrupted)
        return draft.program()


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


@dataclass
class _Build:
    """Writes one model; rows and variables are named after the mathematics, in the order of the records."""

    problem: RecourseProblem
    risk: RegularizedRisk
    cutoff: float | None = None
    excluded: set[int] = field(default_factory=set)
    goal_bound: float | None = None
    graphs: list[tuple[Any, Vector, Any | None, tuple[Segment, ...]]] = field(default_factory=list)
    model: Any = field(init=False)
    proved: dict[str, ProvedBound] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self.problem
        self.risk, self.unit = whitened(problem, self.risk), unit_of(problem)
        self.model = pyo.ConcreteModel(name=problem.name)
        self.bounds = ParameterBounds(problem, self.risk, reference_point(problem, self.risk))
        self.menus: list[tuple[int, tuple[Option, ...]]] = [
            (member.record, problem.admissible_options(member)) for member in problem.collective.members
        ]
        self._read_bounds()

    def _read_bounds(self) -> None:
        stacked = np.vstack([o.xhat for o in self.bounds.members] or [np.zeros((0, self.risk.p))])
        subjects = (*self.problem.queries, *self.problem.guards)
        self.anyhow = self.bounds.along(stacked)
        self.given = self.bounds.of_options
        self.subjects = self.bounds.along(np.array([self._subject(query) for query in subjects]))

    def tighten(self, seconds: float, interrupted: Callable[[], bool]) -> None:
        """Shrink the intervals for moves at least as good as the cutoff, where all are finite to begin with."""
        if seconds <= 0 or not self.menus or self.unproved() or not self._is_boxed():
            return
        found = tighten(self.problem, self.bounds, self.cutoff, seconds, interrupted)
        if not found.empty:
            self.bounds.adopt(found.theta, found.fixed, found.options)
            self.excluded, self.goal_bound = found.excluded, found.goal_bound
            self._read_bounds()

    def _is_boxed(self) -> bool:
        box = self.bounds.along(np.eye(self.risk.p))
        return bool(np.isfinite(box.lower).all() and np.isfinite(box.upper).all())

    def unproved(self) -> str | None:
        """The first quantity without a finite interval, or with one that rounding has emptied."""
        boxes = (self.bounds.of_fixed, self.given, self.anyhow, self.subjects)
        if any((box.lower > box.upper).any() for box in boxes):
            return "the decision values: the numbers of this instance are too far apart in size for floating point"
        widest = max(float((box.upper - box.lower).max(initial=0.0)) for box in boxes)
        if math.isfinite(widest) and widest > WIDEST * self.unit:
            return (
                f"decision values in an interval narrow enough for a solver's tolerances (it is {widest:.3g} wide): "
                "regularise more, or bring the features to one scale"
            )
        for r, index in enumerate(self.bounds.fixed_index):
            if not self.bounds.of_fixed.bound(r).is_finite and not self._is_line(float(self.bounds.fixed.y[r])):
                return f"the decision value of record {index}"
        row = 0
        for record, options in self.menus:
            for k in range(len(options)):
                if not (self.anyhow.bound(row).is_finite and self.given.bound(row).is_finite):
                    return f"the decision value of member {record} under option {k}"
                row += 1
        for q, query in enumerate(self.problem.queries):
            if not self.subjects.bound(q).is_finite:
                return f"the decision value of query '{query.name}'"
        return None

    def program(self) -> PyomoProgram:
        unproved = self.unproved()
        if unproved:
            raise UnsupportedError(f"kkt_big_m: no finite bound is proved for {unproved}")
        self._variables()
        self._budgets()
        self._learner()
        self._goal()
        self._exclude()
        return PyomoProgram(
            model=self.model,
            read=self._read,
            start=self._start,
            meanings=self._meanings(),
            bounds=self.proved,
            goal_bound=self.goal_bound,
        )

    # -- variables and budgets ---

    def _variables(self) -> None:
        m = self.model
        coordinates = self.bounds.along(np.eye(self.risk.p))
        for j in range(self.risk.p):
            self.proved[f"theta[{j}]"] = coordinates.bound(j)

        def box(j: int) -> tuple[float | None, float | None]:
            low, high = coordinates.lower[j], coordinates.upper[j]
            return (low if math.isfinite(low) else None, high if math.isfinite(high) else None)

        m.theta = pyo.Var(range(self.risk.p), bounds=lambda _, j: box(j))
        pairs = [(record, k) for record, options in self.menus for k in range(len(options))]
        m.choice = pyo.Var(pairs, domain=pyo.Binary)
        m.one_option = pyo.Constraint(
            [record for record, _ in self.menus],
            rule=lambda m, i: sum(m.choice[i, k] for k in range(len(self._options(i)))) == 1,
        )

    def _budgets(self) -> None:
        m, budget = self.model, self.problem.collective.budget
        if not self.menus:
            return
        if budget.total is not None:
            m.total_budget = pyo.Constraint(expr=self._cost() <= budget.total)
        if budget.members is not None:
            m.members_budget = pyo.Constraint(expr=self._acting() <= budget.members)

    def _cost(self) -> Any:
        return sum(
            option.cost * self.model.choice[record, k]
            for record, options in self.menus
            for k, option in enumerate(options)
        )

    def _acting(self) -> Any:
        return sum(1 - self.model.choice[record, 0] for record, _ in self.menus)

    def _exclude(self) -> None:
        """Options that no move as good as the cutoff can use."""
        pairs = [(record, k) for record, options in self.menus for k in range(len(options))]
        for row in self.excluded:
            self.model.choice[pairs[row]].fix(0)

    # -- the learner's optimality ---

    def _learner(self) -> None:
        m, risk = self.model, self.risk
        theta = self._theta()
        gradient: list[Any] = [
            risk.lam * risk.penalty[j] * (theta[j] - risk.theta0[j]) if risk.penalty[j] else 0.0 for j in range(risk.p)
        ]
        self._add_fixed(gradient, theta)
        self._add_options(gradient, theta)
        m.stationarity = pyo.Constraint(range(risk.p), rule=lambda _, j: _row(gradient[j], "==", 0.0))
        self._stay_defined()

    def _add_fixed(self, gradient: list[Any], theta: list[Any]) -> None:
        """Constants and lines go straight into the gradient; the other records get a pull and binaries."""
        fixed, box = self.bounds.fixed, self.bounds.of_fixed
        gram, constant = np.zeros((self.risk.p, self.risk.p)), np.zeros(self.risk.p)
        open_graphs: list[tuple[int, int, tuple[Segment, ...]]] = []
        kept: list[tuple[int, int]] = []
        for r, index in enumerate(self.bounds.fixed_index):
            y, a, xhat = float(fixed.y[r]), float(fixed.a[r]), fixed.xhat[r]
            if self._is_line(y):
                line = (self.risk.loss.pieces(y) or ())[0]
                gram += a * line.slope * np.outer(xhat, xhat)  # type: ignore[union-attr]
                constant += a * line.offset * xhat  # type: ignore[union-attr]
                continue
            self.proved[f"f[{index}]"] = box.bound(r)
            graph = segments(self.risk.loss.pieces(y) or (), box.lower[r], box.upper[r], a)
            if len(graph) == 1 and graph[0].is_flat:
                constant += graph[0].g_low * xhat
                if box.bound(r).is_conditional:
                    kept.append((r, int(index)))
            else:
                open_graphs.append((r, int(index), graph))
        for j in range(self.risk.p):
            gradient[j] += constant[j] + sum(float(gram[j, c]) * theta[c] for c in range(self.risk.p) if gram[j, c])
        # A pull that is constant only for moves as good as the cutoff: the record has to stay where that is proved.
        rows = {index: _dot(fixed.xhat[r], theta) for r, index in kept}
        ends = {index: (float(box.lower[r]), float(box.upper[r])) for r, index in kept}
        self.model.constant_low = pyo.Constraint(list(rows), rule=lambda _, i: _row(rows[i], ">=", ends[i][0]))
        self.model.constant_high = pyo.Constraint(list(rows), rule=lambda _, i: _row(-rows[i], ">=", -ends[i][1]))
        block = self.model.fixed = pyo.Block([index for _, index, _ in open_graphs])
        for r, index, graph in open_graphs:
            pull = self._graph(block[index], fixed.xhat[r], None, graph, None)
            for j in range(self.risk.p):
                gradient[j] += float(fixed.xhat[r, j]) * pull

    def _add_options(self, gradient: list[Any], theta: list[Any]) -> None:
        m, row = self.model, 0
        m.option = pyo.Block(list(m.choice.keys()))
        for (record, options), occurrences in zip(self.menus, self.bounds.members, strict=True):
            for k in range(len(options)):
                if occurrences.a[k] > 0:
                    pull = self._option_pull(record, k, occurrences, row, theta)
                    for j in range(self.risk.p):
                        if occurrences.xhat[k, j]:
                            gradient[j] += float(occurrences.xhat[k, j]) * pull
                row += 1

    def _option_pull(self, record: int, k: int, occurrences: Occurrences, row: int, theta: list[Any]) -> Any:
        choice = self.model.choice[record, k]
        given, anyhow = self.given.bound(row), self.anyhow.bound(row)
        pieces = self.risk.loss.pieces(float(occurrences.y[k])) or ()
        graph = segments(pieces, given.lower, given.upper, float(occurrences.a[k]))
        self.proved[f"f[{record},{k}] if chosen"] = given
        f = _dot(occurrences.xhat[k], theta)
        if len(graph) == 1 and graph[0].is_flat:
            if given.is_conditional:
                block = self.model.option[record, k]
                block.value_low = pyo.Constraint(expr=f >= given.lower * choice + anyhow.lower * (1 - choice))
                block.value_high = pyo.Constraint(expr=f <= given.upper * choice + anyhow.upper * (1 - choice))
            return graph[0].g_low * choice
        self.proved[f"f[{record},{k}]"] = anyhow
        return self._graph(self.model.option[record, k], occurrences.xhat[k], choice, graph, anyhow)

    def _graph(
        self,
        block: Any,
        xhat: Vector,
        choice: Any | None,
        graph: tuple[Segment, ...],
        anyhow: ProvedBound | None,
    ) -> Any:
        """The rows of one record: ``(f, g)`` on one of the segments if ``z``, else ``g = 0`` and ``f`` anywhere."""
        f, z = _dot(xhat, self._theta()), 1 if choice is None else choice
        block.pull = pyo.Var(bounds=(min(0.0, *(s.g_low for s in graph)), max(0.0, *(s.g_high for s in graph))))
        away_low, away_high = (anyhow.lower * (1 - z), anyhow.upper * (1 - z)) if anyhow else (0.0, 0.0)
        if len(graph) == 1:
            (s,) = graph
            slope = (s.g_high - s.g_low) / (s.f_high - s.f_low) if s.f_high > s.f_low else 0.0
            along = (block.pull - s.g_low * z) / slope if slope else 0.0
            block.pull_low = pyo.Constraint(expr=block.pull >= s.g_low * z)
            block.pull_high = pyo.Constraint(expr=block.pull <= s.g_high * z)
            block.value_low = pyo.Constraint(expr=f >= s.f_low * z + along + away_low)
            block.value_high = pyo.Constraint(expr=f <= s.f_low * z + along + away_high)
            return block.pull
        places = range(len(graph))
        self.graphs.append((block, xhat, choice, graph))
        block.segment = pyo.Var(places, domain=pyo.Binary)
        block.one_segment = pyo.Constraint(expr=sum(block.segment[p] for p in places) == z)
        slanted = [p for p in places if graph[p].f_high > graph[p].f_low and not graph[p].is_flat]
        block.share = pyo.Var(slanted, bounds=(0, 1))
        block.share_used = pyo.Constraint(slanted, rule=lambda b, p: b.share[p] <= b.segment[p])
        f_low, f_high, g_low, g_high = away_low, away_high, 0.0, 0.0
        for p, s in enumerate(graph):
            e, t = block.segment[p], block.share[p] if p in slanted else 0.0
            f_low += s.f_low * e + (s.f_high - s.f_low) * t
            f_high += (s.f_low if p in slanted else s.f_high) * e + (s.f_high - s.f_low) * t
            g_low += s.g_low * e + (s.g_high - s.g_low) * t
            g_high += (s.g_low if p in slanted else s.g_high) * e + (s.g_high - s.g_low) * t
        block.value_low = pyo.Constraint(expr=f >= f_low)
        block.value_high = pyo.Constraint(expr=f <= f_high)
        block.pull_low = pyo.Constraint(expr=block.pull >= g_low)
        block.pull_high = pyo.Constraint(expr=block.pull <= g_high)
        return block.pull

    def _stay_defined(self) -> None:
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
            return sum(terms) >= 1 if terms else pyo.Constraint.Infeasible

        self.model.defined = pyo.Constraint(range(len(needed)), rule=weight)

    def _all_y(self) -> list[float]:
        return [*self.problem.records.y.tolist(), *(option.y for _, options in self.menus for option in options)]

    # -- goal and side conditions ---

    def _goal(self) -> None:
        m, problem = self.model, self.problem
        m.guard = pyo.Constraint(
            range(len(problem.guards)),
            rule=lambda _, g: self._served(problem.guards[g]),
        )
        queries = range(len(problem.queries))
        for q, query in enumerate(problem.queries):
            self.proved[f"f({query.name})"] = self.subjects.bound(q)
        match problem.goal:
            case GoalKind.MAX_MARGIN:
                ends = [self._margin_range(q) for q in queries]
                low = min(low for low, _ in ends)
                if self.cutoff is not None:
                    low = max(low, self.cutoff - CUTOFF_SLACK * (1 + abs(self.cutoff)))
                m.margin = pyo.Var(bounds=(low, min(high for _, high in ends)))
                m.margin_of = pyo.Constraint(queries, rule=lambda m, q: m.margin <= self._margin(problem.queries[q]))
                m.goal = pyo.Objective(expr=m.margin, sense=pyo.maximize)
            case GoalKind.MAX_HELPED:
                m.reached = pyo.Var(queries, domain=pyo.Binary)
                m.margin_of = pyo.Constraint(queries, rule=self._reach)
                m.goal = pyo.Objective(expr=sum(m.reached[q] for q in queries), sense=pyo.maximize)
            case _:
                m.margin_of = pyo.Constraint(queries, rule=lambda _, q: self._served(problem.queries[q]))
                high = None if self.cutoff is None else self.cutoff + CUTOFF_SLACK * (1 + abs(self.cutoff))
                m.spent = pyo.Var(bounds=(0, high))
                spent = self._cost() if problem.goal is GoalKind.MIN_COST else self._acting()
                m.spent_on = pyo.Constraint(expr=m.spent == spent)
                m.goal = pyo.Objective(expr=m.spent, sense=pyo.minimize)

    def _served(self, subject: Query) -> Any:
        return _row(self._margin(subject), ">=", self.problem.needed_margin(subject))

    def _reach(self, m: Any, q: int) -> Any:
        query, (low, _) = self.problem.queries[q], self._margin_range(q)
        needed = self.problem.needed_margin(query)
        return self._margin(query) >= needed * m.reached[q] + min(low, needed) * (1 - m.reached[q])

    def _margin(self, query: Query) -> Any:
        return query.target * (_dot(self._subject(query), self._theta()) - query.threshold)

    def _margin_range(self, q: int) -> tuple[float, float]:
        query, box = self.problem.queries[q], self.subjects.bound(q)
        ends = [query.target * (value - query.threshold) for value in (box.lower, box.upper)]
        return min(ends), max(ends)

    # -- names, reading, starting ---

    def _theta(self) -> list[Any]:
        return [self.model.theta[j] for j in range(self.risk.p)]

    def _subject(self, query: Query) -> Vector:
        row: Vector = self.risk.extend(np.array([query.x]))[0]
        return row

    def _options(self, record: int) -> tuple[Option, ...]:
        return next(options for i, options in self.menus if i == record)

    def _is_line(self, y: float) -> bool:
        return len(self.risk.loss.pieces(y) or ()) == 1

    def _read(self) -> tuple[tuple[Move, ...], LinearParameters]:
        m = self.model
        choice = [
            options[max(range(len(options)), key=lambda k: m.choice[record, k].value)] for record, options in self.menus
        ]
        w, b = self.risk.split(np.array([m.theta[j].value for j in range(self.risk.p)]))
        return moves_from_choice(self.problem, choice), LinearParameters.of(w, b)

    def _start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        """Values of all binaries: the choices and, where the parameters are known, the segments they lie on."""
        values = self._start_choices(moves)
        if isinstance(parameters, LinearParameters):
            theta = self.risk.join(np.array(parameters.w), parameters.b)
            for block, xhat, choice, graph in self.graphs:
                used = choice is None or values[choice.name] == 1.0
                picked = _segment_of(float(xhat @ theta), graph) if used else None
                for p in range(len(graph)):
                    values[block.segment[p].name] = float(p == picked)
        return values

    def _start_choices(self, moves: Sequence[Move]) -> dict[str, float]:
        acting = {move.record: move for move in moves}
        values: dict[str, float] = {}
        for record, options in self.menus:
            picked = 0
            if record in acting:
                move = acting[record]
                wanted = (move.x, move.y, move.s, move.cost)
                picked = next(
                    k
                    for k, option in enumerate(options)
                    if option.kind is not OptionKind.STAY and (option.x, option.y, option.s, option.cost) == wanted
                )
            for k in range(len(options)):
                values[self.model.choice[record, k].name] = float(k == picked)
        return values

    def _meanings(self) -> dict[str, str]:
        problem, words = self.problem, {}
        names = [f"weight of '{feature.name}'" for feature in problem.features]
        names += [] if self.risk.intercept is Intercept.NONE else ["intercept"]
        for j in range(self.risk.p):
            column = np.ones(1) if self.risk.basis is None else self.risk.basis[:, j]
            parts = ", ".join(f"{value:.17g} to the {name}" for value, name in zip(column, names, strict=True))
            words[f"theta[{j}]"] = f"whitened coordinate of the learner's parameters: each unit adds {parts}"
        for record, options in self.menus:
            for k, option in enumerate(options):
                words[f"choice[{record},{k}]"] = (
                    f"member {record} picks option {k}: {describe(problem, record, option)}"
                )
                words[f"option[{record},{k}]"] = f"member {record}, option {k}: its pull on the learner"
        for index in self.bounds.fixed_index:
            words[f"fixed[{index}]"] = f"record {index}: its pull on the learner"
        for q, query in enumerate(problem.queries):
            words[f"margin_of[{q}]"] = f"the margin of query '{query.name}'"
        return words


def _segment_of(f: float, graph: tuple[Segment, ...]) -> int:
    """The segment that a decision value lies on: a jump where it is at one, else the nearest."""
    jumps = [p for p, s in enumerate(graph) if s.f_low == s.f_high and abs(f - s.f_low) <= 1e-7 * max(1.0, abs(f))]
    if jumps:
        return jumps[0]
    return min(range(len(graph)), key=lambda p: max(graph[p].f_low - f, f - graph[p].f_high, 0.0))


def describe(problem: RecourseProblem, record: int, option: Option) -> str:
    """An option in words: only what changes."""
    parts = [
        f"{feature.name} {old:.6g} -> {new:.6g}"
        for feature, old, new in zip(problem.features, problem.records.X[record], option.x, strict=True)
        if old != new
    ]
    if option.y != problem.records.y[record]:
        parts.append(f"{problem.label_of(problem.records.y[record])} -> {problem.label_of(option.y)}")
    if option.s != problem.records.s[record]:
        parts.append(f"weight {problem.records.s[record]:g} -> {option.s:g}")
    return ", ".join(parts) or "stay"


def _row(body: Any, sense: str, rhs: float | None) -> Any:
    """A constraint, also where the body is a number (Pyomo refuses those)."""
    if isinstance(body, int | float):
        holds = abs(body - (rhs or 0.0)) < 1e-12 if sense == "==" else body >= (rhs or 0.0)
        return pyo.Constraint.Feasible if holds else pyo.Constraint.Infeasible
    return body == rhs if sense == "==" else body >= rhs


def _dot(row: Vector, theta: list[Any]) -> Any:
    return sum(float(value) * variable for value, variable in zip(row, theta, strict=True) if value)
