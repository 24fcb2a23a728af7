"""The textbook's single-level program: optimality conditions with one loose big-M for each record.

The rival of the benchmark over menus: what a modeller gets from any text on bilevel programming, stated with care
but without anything that this project adds to it.

Statement
---------
The learner (letters of :mod:`oar_opt.risk`) is written with slacks. A loss with a polyline graph has *lengths*: walking
along the graph of ``dl(y, .)`` from its first corner ``(p, q)``, ``t_0`` is the length to the left of it, and
``t_1, ..., t_m`` are those along the pieces to the right, measured in ``f`` on lines of slope ``c_j`` and in ``g`` on
jumps (``c_j = 1``, no part of ``f``). A piece is entered only when the one before it is full:

    f = p - t_0 + sum_lines t_j,        g = q - c_0 t_0 + sum_(j >= 1) c_j t_j,        0 <= t_j <= T_j,
    0 <= t_0  _|_  t_1 >= 0,            0 <= T_j - t_j  _|_  t_(j+1) >= 0                    for j = 1, ..., m - 1.

For the hinge loss and ``y = 1``, ``t_0`` is the slack ``xi``, ``1 - t_1`` the multiplier ``alpha`` and ``t_2`` the
surplus ``f - 1 + xi``: the two conditions are the familiar ``(1 - alpha) xi = 0`` and ``alpha (f - 1 + xi) = 0``. The
squared hinge and Huber's loss have one and two conditions, the epsilon-insensitive loss four, ridge none (``g`` is a
line). Each condition ``0 <= u _|_ v >= 0`` has a binary ``e``: ``u <= T_u (1 - e)``, ``v <= T_v e`` (Fortuny-Amat and
McCarl). An l1 penalty is one more such graph for every parameter, that of ``|theta_j|``.

Members choose by binaries ``z_ik``, ``sum_k z_ik = 1``. A member has one graph like any other record, of unit weight,
with ``f_i = sum_k z_ik f_ik``, ``f_ik = xhat_ik' theta``, and corner ``sum_k z_ik (p_ik, q_ik)``; where the graph of
option ``k`` is the mirror image of that of staying (the other class), ``f_ik`` and the pull enter with the sign
``sigma_ik = -1`` instead. Its share in the learner's optimality is ``sum_k z_ik a_ik sigma_ik g_i xhat_ik``. Both
kinds of products are linearised exactly, with ``v_ik = z_ik f_ik`` and ``h_ik = z_ik g_i`` (McCormick):

    -F_ik z_ik <= v_ik <= F_ik z_ik,         f_ik - F_ik (1 - z_ik) <= v_ik <= f_ik + F_ik (1 - z_ik)
    G-_i z_ik <= h_ik <= G+_i z_ik,          g_i - G+_i (1 - z_ik) <= h_ik <= g_i - G-_i (1 - z_ik)
    lam R (theta - theta0) + sum_(i not in C) a_i g_i xhat_i + sum_(i in C, k) a_ik sigma_ik h_ik xhat_ik = 0

Goals, budgets and guards as in the problem; ``max_helped`` has a binary for each query, with the same big-M.

Big-M
-----
One number each, from the objective at ``theta0``: ``J_z(theta+) <= J_z(theta0) <= V``, with ``V`` the losses at
``theta0``, each member's under its worst option. So ``||theta+ - theta0||_R <= rho = sqrt(2 V / lam)``, for an l1
penalty ``<= V / lam``, and ``|f_ik| <= F_ik = |theta0' xhat_ik| + rho ||xhat_ik||`` (Cauchy and Schwarz). Lengths
without end get ``T = F + |p|``, with ``F`` and ``p`` the largest of the record's, and the last corner instead of the
first on the right; ``[G-, G+]`` is what the graph holds between those ends, ``[-1, 0]`` for the hinge and ``y = 1``.

A free intercept adds ``|b| <= B = L + (||w0|| + rho) max ||x||`` (maximum over all records and options), with ``L`` the
largest ``|f|`` of a corner or of a zero of a graph: pulls sum to zero, so either some record pulls down, which needs
``f <= L``, and another one up, which needs ``f >= -L``; or none pulls, and then the flat parts of the fixed records, of
both classes where pulls are one-sided, end within ``[-L, L]`` on either side; ``b = f - w'x`` in all cases.

Nothing is tightened or whitened; there is no start and no cutoff. The solver and its settings are those of all
other programs (equilibration of rows and columns included, which is the solver's business).

Hypotheses
----------
Menus, labels and withholding only; update ``retrain`` or ``proximal``; no ``max_loss_increase``; a polyline graph, so
no logistic loss. All options of a member have graphs that are equal up to a shift, or mirror images. For a free
intercept, fixed records of positive weight, of both classes where pulls are one-sided.

Exactness
---------
Exact up to the solver's tolerances times the big-M, for the position ``optimistic`` where the learner is not unique.

Size
----
With ``K`` options in all and ``n`` records whose graph has ``c`` corners: ``K + c n`` binaries, ``p + (c + 1) n + 2 K``
other variables, ``p + (2 c + 1) n + 8 K + k`` rows and those of goal and budgets.

Reference
---------
J. Fortuny-Amat, B. McCarl, "A Representation and Economic Interpretation of a Two-Level Programming Problem", 1981;
G. P. McCormick, "Computability of Global Solutions to Factorable Nonconvex Programs: Part I", 1976 (the products).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.changes import ChangeSet, change_sets
from oar_opt.contracts import PyomoProgram
from oar_opt.discovery import learner_of, missing_learner
from oar_opt.errors import UnsupportedError
from oar_opt.parameters import LinearParameters
from oar_opt.problem import (
    GoalKind,
    Intercept,
    Matrix,
    Move,
    Option,
    OptionKind,
    Query,
    RecourseProblem,
    Vector,
    moves_from_choice,
)
from oar_opt.risk import Jump, Line, PenaltyNorm, Piece, RegularizedRisk

ABSOLUTE_VALUE: tuple[Piece, ...] = (Line(-math.inf, 0, 0, -1), Jump(0, -1, 1), Line(0, math.inf, 0, 1))
"""The graph of the subdifferential of ``|.|``."""


# -- graphs as lengths ---


@dataclass(frozen=True)
class Length:
    """One piece of a graph: how fast ``f`` and ``g`` change along it, and how long it is."""

    along_f: float
    along_g: float
    longest: float


@dataclass(frozen=True)
class Graph:
    """A monotone polyline: its first corner and its lengths, see the module's docstring.

    ``lengths[0]`` is walked to the left, the others to the right. A single line has one length, is walked both ways,
    and starts at its zero (at ``f = 0`` if flat).
    """

    corner_f: float
    corner_g: float
    lengths: tuple[Length, ...]
    last_corner_f: float

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> Graph:
        lengths = tuple(_length(piece) for piece in pieces)
        first, last = pieces[0], pieces[-1]
        assert isinstance(first, Line) and isinstance(last, Line), "a loss is finite everywhere"
        if len(pieces) == 1:
            zero = -first.offset / first.slope if first.slope else 0.0
            return cls(zero, first.slope * zero + first.offset, lengths, zero)
        corner = first.f_high
        return cls(corner, first.slope * corner + first.offset, lengths, last.f_low)

    def is_like(self, other: Graph) -> bool:
        """Whether the two are the same up to a shift."""
        return len(self.lengths) == len(other.lengths) and all(
            math.isclose(a, b, abs_tol=1e-12)
            for mine, others in zip(self.lengths, other.lengths, strict=True)
            for a, b in zip(_numbers(mine), _numbers(others), strict=True)
        )


def _length(piece: Piece) -> Length:
    if isinstance(piece, Jump):
        return Length(0.0, 1.0, piece.g_high - piece.g_low)
    return Length(1.0, piece.slope, piece.f_high - piece.f_low)


def _numbers(length: Length) -> tuple[float, float, float]:
    return length.along_f, length.along_g, length.longest


def mirrored(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The graph of ``(-f, -g)``."""

    def mirror(piece: Piece) -> Piece:
        if isinstance(piece, Jump):
            return Jump(-piece.f, -piece.g_high, -piece.g_low)
        return Line(-piece.f_high, -piece.f_low, piece.slope, -piece.offset)

    return tuple(mirror(piece) for piece in reversed(pieces))


@dataclass(frozen=True)
class Oriented:
    """A graph and the sign with which ``f`` and ``g`` enter it."""

    graph: Graph
    sigma: float


def oriented(pieces: Sequence[Piece], like: Sequence[Piece]) -> Oriented | None:
    """``pieces`` as the mirror image of ``like`` where it is one, else as a shift of it, else None."""
    own, image, wanted = Graph.of(pieces), Graph.of(mirrored(pieces)), Graph.of(like)
    at_home = math.isclose(image.corner_f, wanted.corner_f) and math.isclose(image.corner_g, wanted.corner_g)
    if image.is_like(wanted) and at_home and tuple(pieces) != tuple(like):
        return Oriented(image, -1.0)
    if own.is_like(wanted):
        return Oriented(own, 1.0)
    return Oriented(image, -1.0) if image.is_like(wanted) else None


# -- bounds ---


@dataclass(frozen=True)
class NormBound:
    """What the objective at ``theta0`` says of the learner's optimum; see the module's docstring.

    ``rho`` bounds ``theta - theta0`` in the penalty's norm, ``intercept`` is ``B`` (0 unless the intercept is free).
    """

    risk: RegularizedRisk
    rho: float
    intercept: float

    @classmethod
    def of(cls, problem: RecourseProblem, risk: RegularizedRisk) -> NormBound:
        value = _worst_objective_at_prior(problem, risk)
        rho = value / risk.lam if risk.norm is PenaltyNorm.L1 else math.sqrt(2 * value / risk.lam)
        if risk.intercept is not Intercept.FREE:
            return cls(risk, rho, 0.0)
        options = [option for member in problem.collective.members for option in problem.admissible_options(member)]
        X = np.vstack([problem.records.X, *(np.array([option.x]) for option in options)])
        y = {*problem.records.y.tolist(), *(option.y for option in options)}
        w0 = float(np.linalg.norm(risk.theta0[:-1]))
        moved = [farthest(one) for member in problem.collective.members for one in change_sets(problem, member)]
        longest = float(np.linalg.norm(np.vstack([X, *moved]), axis=1).max())
        return cls(risk, rho, _farthest_level(risk, y) + (w0 + rho) * longest)

    def of_theta(self, j: int) -> tuple[float, float]:
        """The interval of ``theta_j``."""
        if self.risk.penalty[j] == 0:
            return -self.intercept, self.intercept
        return self.risk.theta0[j] - self.rho, self.risk.theta0[j] + self.rho

    def of_value(self, xhat: Vector) -> float:
        """``F`` with ``|xhat' theta| <= F``."""
        if self.risk.intercept is not Intercept.FREE:
            return abs(float(xhat @ np.array(self.risk.theta0))) + self.rho * float(np.linalg.norm(xhat))
        w0, x = np.array(self.risk.theta0[:-1]), xhat[:-1]
        return abs(float(x @ w0)) + self.rho * float(np.linalg.norm(x)) + self.intercept

    def of_values_within(self, sizes: Vector) -> float:
        """``F`` for all ``x`` with ``|x_j| <= sizes_j``, ``(d,)``."""
        w0, row = np.abs(self.risk.theta0), self.risk.extend(sizes[None, :])[0]
        if self.risk.intercept is Intercept.FREE:
            w0, row = w0[:-1], row[:-1]
        return float(row @ w0) + self.rho * float(np.linalg.norm(row)) + self.intercept


def _worst_objective_at_prior(problem: RecourseProblem, risk: RegularizedRisk) -> float:
    """``V``: the losses at ``theta0``, every member's under its worst option."""
    members = {member.record for member in problem.collective.members}
    fixed = np.array([i not in members for i in range(problem.n)], dtype=bool)
    records = problem.records
    total = _losses_at_prior(risk, records.X[fixed], records.y[fixed], records.s[fixed]).sum()
    for member in problem.collective.members:
        options = problem.admissible_options(member)
        X = np.array([option.x for option in options])
        y, s = np.array([option.y for option in options]), np.array([option.s for option in options])
        worst = [_losses_at_prior(risk, X, y, s).max()]
        worst += [_worst_change_at_prior(risk, one) for one in change_sets(problem, member)]
        total += max(worst)
    return float(total)


def farthest(one: ChangeSet) -> Vector:
    """The sizes that no moved record's features exceed, ``(d,)``."""
    sizes: Vector = np.maximum(np.abs(one.x + one.lower), np.abs(one.x + one.upper))
    return sizes


def _worst_change_at_prior(risk: RegularizedRisk, one: ChangeSet) -> float:
    """The larger of the losses at both ends of an interval for the decision value at ``theta0``; losses are convex."""
    middle = float(risk.extend(one.x[None, :])[0] @ np.array(risk.theta0))
    spread = float(np.abs(risk.theta0[: one.d]) @ np.maximum(np.abs(one.lower), np.abs(one.upper)))
    losses = risk.loss.value(np.full(2, one.y), np.array([middle - spread, middle + spread]))
    return risk.factor * one.s * float(losses.max())


def _losses_at_prior(risk: RegularizedRisk, X: Matrix, y: Vector, s: Vector) -> Vector:
    losses: Vector = risk.factor * s * risk.loss.value(y, risk.extend(X) @ np.array(risk.theta0))
    return losses


def _farthest_level(risk: RegularizedRisk, targets: set[float]) -> float:
    """``L``: the largest ``|f|`` of a corner or of a zero of the graphs."""
    levels = []
    for y in targets:
        for piece in risk.loss.pieces(y) or ():
            if isinstance(piece, Jump):
                levels.append(piece.f)
                continue
            levels += [end for end in (piece.f_low, piece.f_high) if math.isfinite(end)]
            if piece.slope:
                levels.append(-piece.offset / piece.slope)
    return max(abs(level) for level in levels)


# -- the program ---


def accepts(problem: RecourseProblem) -> str | None:
    """None where the textbook's program can be stated, else the reason why not."""
    reason = unstated_learner(problem)
    if reason:
        return reason
    if not problem.is_menu_problem:
        return "members may move features, and this program knows finite options only"
    return _unlike(problem, risk_of(problem))


def unstated_learner(problem: RecourseProblem) -> str | None:
    """Why the learner's conditions cannot be written down as in the module's docstring, or None."""
    missing = missing_learner(problem)
    if missing:
        return missing
    risk = learner_of(problem).risk(problem.learner, problem.d)
    if risk is None or risk.loss.pieces(1.0) is None:
        return f"learner '{problem.learner.kind}' has no optimality conditions that are linear and complementary"
    if not problem.update.retrains:
        return f"the update '{problem.update.kind}' does not re-train to the learner's optimum"
    if problem.max_loss_increase is not None:
        return "max_loss_increase is a convex nonlinear constraint, and this program has none for it"
    return _undefined(problem, risk)


def risk_of(problem: RecourseProblem) -> RegularizedRisk:
    """The learner's risk; :func:`unstated_learner` says where there is none."""
    risk = learner_of(problem).risk(problem.learner, problem.d)
    assert risk is not None
    return risk


def _undefined(problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
    """Why the bound on a free intercept, or the learner itself, might not hold for every move."""
    if risk.intercept is not Intercept.FREE:
        return None
    members = [member.record for member in problem.collective.members]
    lasting = np.setdiff1d(np.flatnonzero(problem.records.s > 0), members)
    found = set(problem.records.y[lasting].tolist())
    if risk.loss.pull_range(1.0)[1] <= 0 and found != {-1.0, 1.0}:
        return "the intercept is free, and the fixed records are not of both classes"
    return None if found else "the intercept is free, and there is no fixed record"


def _unlike(problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
    for member in problem.collective.members:
        stay, *others = problem.admissible_options(member)
        like = risk.loss.pieces(stay.y) or ()
        for option in others:
            if oriented(risk.loss.pieces(option.y) or (), like) is None:
                return f"the options of member {member.record} have graphs of different shape"
    return None


def textbook_program(problem: RecourseProblem) -> PyomoProgram:
    """The program of the module's docstring.

    Raises
    ------
    UnsupportedError : it cannot be stated for this problem; the message says why.
    """
    reason = accepts(problem)
    if reason:
        raise UnsupportedError(f"textbook: {reason}")
    return program_of(problem, risk_of(problem))


def program_of(problem: RecourseProblem, risk: RegularizedRisk) -> PyomoProgram:
    """The program for a learner given by its risk."""
    build = _MenuModel(problem, risk)
    return PyomoProgram(build.model, build.read, build.start, meanings={}, bounds={})


class TextbookModel(ABC):
    """Writes one model: learner, fixed records, budgets and goal. What members do is for a subclass to say.

    Variables and rows are named after the docstring's letters.
    """

    def __init__(self, problem: RecourseProblem, risk: RegularizedRisk) -> None:
        self.problem, self.risk = problem, risk
        self.bound = NormBound.of(problem, risk)
        self.model = m = pyo.ConcreteModel(name=problem.name)
        m.theta = pyo.Var(range(risk.p), bounds=lambda _, j: self.bound.of_theta(j))
        self._choices()
        self.gradient: list[Any] = self._penalty()
        self._fixed_records()
        self._members()
        m.stationarity = pyo.Constraint(range(risk.p), rule=lambda _, j: self.gradient[j] == 0)
        self._budgets()
        self._goal()

    @abstractmethod
    def _choices(self) -> None:
        """The variables of what members do."""

    @abstractmethod
    def _members(self) -> None:
        """The rows of the members, and their share in ``gradient``."""

    @abstractmethod
    def _cost(self) -> Any:
        """What all members spend, as an expression."""

    @abstractmethod
    def _acting(self) -> Any:
        """How many members act, as an expression."""

    # -- the learner ---

    def _penalty(self) -> list[Any]:
        """``lam r``, ``r`` in the subdifferential of the penalty."""
        m, risk = self.model, self.risk
        m.penalty = pyo.Block(range(risk.p) if risk.norm is PenaltyNorm.L1 else [])
        terms: list[Any] = []
        for j in range(risk.p):
            strength, step = risk.lam * float(risk.penalty[j]), m.theta[j] - risk.theta0[j]
            if strength == 0:
                terms.append(0.0)
            elif risk.norm is PenaltyNorm.L1:
                graph = Graph.of(ABSOLUTE_VALUE)
                terms.append(strength * walk(m.penalty[j], graph, step, 0.0, -1.0, self.bound.rho))
            else:
                terms.append(strength * step)
        return terms

    def _fixed_records(self) -> None:
        m, records = self.model, self.problem.records
        members = {member.record for member in self.problem.collective.members}
        fixed = [i for i in range(self.problem.n) if i not in members and records.s[i] > 0]
        m.record = pyo.Block(fixed)
        for i in fixed:
            xhat, graph = self._extended(records.X[i]), self._graph(float(records.y[i]))
            reach = self.bound.of_value(xhat)
            g = walk(m.record[i], graph, self._value(xhat), graph.corner_f, graph.corner_g, reach)
            self._pull(xhat, self.risk.factor * float(records.s[i]) * g)

    def _pull(self, xhat: Vector, g: Any) -> None:
        for j in range(self.risk.p):
            if xhat[j]:
                self.gradient[j] += float(xhat[j]) * g

    def _graph(self, y: float) -> Graph:
        return Graph.of(self.risk.loss.pieces(y) or ())

    def _extended(self, x: Vector) -> Vector:
        row: Vector = self.risk.extend(np.array([x]))[0]
        return row

    def _value(self, xhat: Vector) -> Any:
        return sum(float(value) * self.model.theta[j] for j, value in enumerate(xhat))

    # -- budgets and goal ---

    def _budgets(self) -> None:
        m, budget = self.model, self.problem.collective.budget
        acts = bool(self.problem.collective.members)
        if acts and budget.total is not None:
            m.total_budget = pyo.Constraint(expr=self._cost() <= budget.total)
        if acts and budget.members is not None:
            m.members_budget = pyo.Constraint(expr=self._acting() <= budget.members)

    def _goal(self) -> None:
        m, problem = self.model, self.problem
        m.guard = pyo.Constraint(range(len(problem.guards)), rule=lambda _, g: self._served(problem.guards[g]))
        queries = range(len(problem.queries))
        match problem.goal:
            case GoalKind.MAX_MARGIN:
                m.margin = pyo.Var(bounds=(-self._largest_margin(), self._largest_margin()))
                m.margin_of = pyo.Constraint(queries, rule=lambda m, q: m.margin <= self._margin(problem.queries[q]))
                m.goal = pyo.Objective(expr=m.margin, sense=pyo.maximize)
            case GoalKind.MAX_HELPED:
                m.reached = pyo.Var(queries, domain=pyo.Binary)
                m.margin_of = pyo.Constraint(queries, rule=self._reach)
                m.goal = pyo.Objective(expr=sum(m.reached[q] for q in queries), sense=pyo.maximize)
            case _:
                m.margin_of = pyo.Constraint(queries, rule=lambda _, q: self._served(problem.queries[q]))
                spent = self._cost() if problem.goal is GoalKind.MIN_COST else self._acting()
                m.goal = pyo.Objective(expr=spent, sense=pyo.minimize)

    def _served(self, subject: Query) -> Any:
        return self._margin(subject) >= self._needed(subject)

    def _needed(self, subject: Query) -> float:
        return self.problem.needed_margin(subject)

    def _reach(self, m: Any, q: int) -> Any:
        query = self.problem.queries[q]
        needed = self._needed(query)
        return self._margin(query) >= needed - (needed + self._largest_margin()) * (1 - m.reached[q])

    def _margin(self, query: Query) -> Any:
        return query.target * (self._value(self._extended(np.array(query.x))) - query.threshold)

    def _largest_margin(self) -> float:
        """A bound on the size of every query's margin."""
        values = [self.bound.of_value(self._extended(np.array(q.x))) + abs(q.threshold) for q in self.problem.queries]
        needed = [abs(self._needed(q)) for q in self.problem.queries]
        return max(*values, *needed)


class _MenuModel(TextbookModel):
    """Members with finite options."""

    def _choices(self) -> None:
        members = self.problem.collective.members
        self.menus = [(member.record, self.problem.admissible_options(member)) for member in members]
        places = [(i, k) for i, options in self.menus for k in range(len(options))]
        self.model.z = pyo.Var(places, domain=pyo.Binary)

    def _members(self) -> None:
        m = self.model
        m.one_option = pyo.Constraint(
            [i for i, _ in self.menus],
            rule=lambda m, i: sum(m.z[i, k] for k in range(len(self._options(i)))) == 1,
        )
        m.member = pyo.Block([i for i, _ in self.menus])
        for i, options in self.menus:
            self._member(m.member[i], i, options)

    def _member(self, block: Any, i: int, options: Sequence[Option]) -> None:
        """One graph for the member, products for its choice; see the docstring."""
        places = range(len(options))
        z = [self.model.z[i, k] for k in places]
        xhat = [self._extended(np.array(option.x)) for option in options]
        reach = [self.bound.of_value(row) for row in xhat]
        like = self.risk.loss.pieces(options[0].y) or ()
        faces = [oriented(self.risk.loss.pieces(option.y) or (), like) for option in options]
        shapes = [face for face in faces if face is not None]
        block.v = pyo.Var(places, bounds=lambda _, k: (-reach[k], reach[k]))
        block.f_times_z = pyo.ConstraintList()
        for k in places:
            add_product(block.f_times_z, block.v[k], z[k], self._value(xhat[k]), -reach[k], reach[k])
        f = sum(shapes[k].sigma * block.v[k] for k in places)
        corner_f = sum(shapes[k].graph.corner_f * z[k] for k in places)
        corner_g = sum(shapes[k].graph.corner_g * z[k] for k in places)
        g = walk(block, widest(shapes), f, corner_f, corner_g, max(reach))
        low, high = pull_range(shapes, max(reach))
        block.h = pyo.Var(places, bounds=(min(low, 0.0), max(high, 0.0)))
        block.g_times_z = pyo.ConstraintList()
        for k in places:
            add_product(block.g_times_z, block.h[k], z[k], g, low, high)
            self._pull(xhat[k], self.risk.factor * options[k].s * shapes[k].sigma * block.h[k])

    def _options(self, record: int) -> tuple[Option, ...]:
        return next(options for i, options in self.menus if i == record)

    def _cost(self) -> Any:
        return sum(o.cost * self.model.z[i, k] for i, options in self.menus for k, o in enumerate(options))

    def _acting(self) -> Any:
        return sum(1 - self.model.z[i, 0] for i, _ in self.menus)

    # -- reading and starting ---

    def read(self) -> tuple[tuple[Move, ...], LinearParameters]:
        z, theta = self.model.z, self.model.theta
        choice = [options[max(range(len(options)), key=lambda k: z[i, k].value)] for i, options in self.menus]
        w, b = self.risk.split(np.array([theta[j].value for j in range(self.risk.p)]))
        return moves_from_choice(self.problem, choice), LinearParameters.of(w, b)

    def start(self, moves: Sequence[Move], _: object) -> Mapping[str, float]:
        """Values of the choices; the textbook's runs do without."""
        acting = {move.record: (move.x, move.y, move.s, move.cost) for move in moves}
        values: dict[str, float] = {}
        for i, options in self.menus:
            kept = [(o.x, o.y, o.s, o.cost) if o.kind is not OptionKind.STAY else None for o in options]
            picked = kept.index(acting.get(i))
            values |= {self.model.z[i, k].name: float(k == picked) for k in range(len(options))}
        return values


def widest(shapes: Sequence[Oriented]) -> Graph:
    """The common lengths, with the corners whose ``f`` lies farthest from 0."""
    graphs = [shape.graph for shape in shapes]
    return Graph(
        max((graph.corner_f for graph in graphs), key=abs),
        graphs[0].corner_g,
        graphs[0].lengths,
        max((graph.last_corner_f for graph in graphs), key=abs),
    )


def longest(graph: Graph, reach: float) -> list[float]:
    """``T_j``, for decision values in ``[-reach, reach]``."""
    found = [length.longest for length in graph.lengths]
    found[0] = reach + abs(graph.corner_f)
    found[-1] = reach + abs(graph.last_corner_f)
    return found


def pull_range(shapes: Sequence[Oriented], reach: float) -> tuple[float, float]:
    """``[G-, G+]`` of a member whose options have these graphs."""
    graph, corners = widest(shapes), [shape.graph.corner_g for shape in shapes]
    rises = [length.along_g * T for length, T in zip(graph.lengths, longest(graph, reach), strict=True)]
    to_the_right = rises if len(rises) == 1 else rises[1:]
    return min(corners) - rises[0], max(corners) + sum(to_the_right)


def walk(block: Any, graph: Graph, f: Any, corner_f: Any, corner_g: Any, reach: float) -> Any:
    """``g`` as an expression, with rows such that ``(f, g)`` is on the graph with that corner.

    ``f`` is an expression with values in ``[-reach, reach]``; ``corner_f`` and ``corner_g`` are numbers or expressions,
    ``corner_f`` no farther from 0 than the graph's own.
    """
    lengths = graph.lengths
    if len(lengths) == 1:
        return corner_g + lengths[0].along_g * (f - corner_f)
    places, T = range(len(lengths)), longest(graph, reach)
    block.t = pyo.Var(places, bounds=lambda _, j: (0, T[j]))
    block.e = pyo.Var(places[:-1], domain=pyo.Binary)
    block.left = pyo.Constraint(
        places[:-1],
        rule=lambda b, j: (b.t[0] if j == 0 else T[j] - b.t[j]) <= T[j] * (1 - b.e[j]),
    )
    block.right = pyo.Constraint(places[:-1], rule=lambda b, j: b.t[j + 1] <= T[j + 1] * b.e[j])
    rest = places[1:]
    block.value = pyo.Constraint(
        expr=f == corner_f - lengths[0].along_f * block.t[0] + sum(lengths[j].along_f * block.t[j] for j in rest)
    )
    return corner_g - lengths[0].along_g * block.t[0] + sum(lengths[j].along_g * block.t[j] for j in rest)


def add_product(rows: Any, product: Any, z: Any, factor: Any, low: float, high: float) -> None:
    """``product = z factor`` for a binary ``z`` and a factor in ``[low, high]``."""
    rows.add(product >= low * z)
    rows.add(product <= high * z)
    rows.add(product >= factor - high * (1 - z))
    rows.add(product <= factor - low * (1 - z))
