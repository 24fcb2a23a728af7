"""The textbook's program over feature changes: optimality conditions with every product of unknowns left as it stands.

The rival of the benchmark over feature changes: what a modeller gets from any text on bilevel programming and hands to
a global solver, stated with care but without anything that this project adds to it.

Statement
---------
Letters, lengths, walks and big-M of :mod:`oar_opt.bench.textbook`; the records that nobody moves have the same rows
here. Member ``i`` moves its record ``xhat_i`` to ``xhat_i + E'delta_i``, where ``E (d, p)`` picks the features among
the parameters, so ``(E theta)_j = theta_j``. Variables ``theta``, and for every member ``delta_i``, its decision value
``f_i`` and its pull ``g_i``:

    f_i = xhat_i'theta + sum_j theta_j delta_ij                                                       (bilinear)
    (f_i, g_i) on the graph of dl(y_i, .)
    lam R (theta - theta0) + sum_(i not in C) a_i g_i xhat_i + sum_(i in C) a_i (g_i xhat_i + g_i E'delta_i) = 0
                                                                                                      (bilinear)

For ridge ``g_i = 2 (f_i - y_i)`` is minus twice the residual, and the last row is ``X~'(X~ theta - y) + alpha R theta =
0``; no binaries. For the support vector machine ``-y_i g_i`` is the multiplier ``alpha_i``, with the two familiar
conditions and their binaries. All other polyline losses come with the same rows.

The changes: ``lower <= delta <= upper`` (radius, bounds, directions), ``sum_j (delta_j / scale_j)^2 <= r^2`` for an l2
ball, ``a_j >= +-delta_j / scale_j`` and ``sum_j a_j <= r`` for an l1 ball; linear rules and one-hot groups as they
stand; a feature that moves in steps is a sum of its values times binaries. A cost that counts is a variable ``c_i``
above the change's norm: ``c_i^2 >= sum_j (delta_j / scale_j)^2``, ``c_i >=`` that sum (sql2), ``c_i >= sum_j a_j``
(l1) or ``c_i >= +-delta_j / scale_j`` (linf). Staying is ``delta_i = 0``.

Bounds: those of ``theta`` by ``rho`` as there (``V`` with the larger of the losses at both ends of the interval of
``theta0'(xhat + E'delta)``); ``|f_i| <= F_i`` over the box of ``x_i + delta_i``; those of ``g_i`` follow on the graph.
Nothing is tightened or whitened, no product is bounded or counted twice, alike members share nothing; there is no start
and no cutoff. SCIP solves it, with the settings of all other programs.

Hypotheses
----------
Update ``retrain`` or ``proximal``, a polyline graph, no ``max_loss_increase``; for a free intercept fixed records of
positive weight, of both classes where pulls are one-sided. Every member has one features action without charge and
nothing else, and may stay within it; nothing counts who acts.

Exactness
---------
Exact up to the solver's tolerances, for the position ``optimistic`` where the learner is not unique: for every change
the rows of the learner hold if and only if ``theta`` is optimal.

Size
----
With ``k`` members, ``d`` features and ``n`` records whose graph has ``c`` corners: ``c n`` binaries, ``2 k d``
products, ``p + (d + 2) k + (c + 1) n`` other variables.

Reference
---------
J. Fortuny-Amat, B. McCarl, "A Representation and Economic Interpretation of a Two-Level Programming Problem", 1981;
S. Dempe, "Foundations of Bilevel Programming", 2002 (the single-level program by optimality conditions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.bench.textbook import Oriented, TextbookModel, farthest, pull_range, risk_of, unstated_learner, walk
from oar_opt.changes import ChangeSet, change_sets
from oar_opt.contracts import PyomoProgram
from oar_opt.errors import UnsupportedError
from oar_opt.parameters import LinearParameters
from oar_opt.problem import CostKind, GoalKind, Member, Move, Norm, Query, RecourseProblem, Vector
from oar_opt.rules import ROUNDING
from oar_opt.solver_features import SolverFeature


def accepts(problem: RecourseProblem) -> str | None:
    """None where the textbook's program can be stated, else the reason why not."""
    reason = unstated_learner(problem)
    if reason:
        return reason
    if problem.goal is GoalKind.MIN_MEMBERS or problem.collective.budget.members is not None:
        return "this program does not count who acts"
    if problem.collective.cost is CostKind.COUNT and _spends(problem):
        return "this program does not count changed records"
    return next((words for member in problem.collective.members if (words := _unlike(problem, member))), None)


def _unlike(problem: RecourseProblem, member: Member) -> str | None:
    """Why what a member may do is not one set of changes around 0."""
    sets = change_sets(problem, member)
    if len(member.actions) != 1 or member.menu or len(sets) != 1:
        return f"member {member.record} may do something else than move features in one set"
    if sets[0].fixed_cost:
        return f"member {member.record} is charged for acting"
    if sets[0].violation(np.zeros(problem.d)) > ROUNDING:
        return f"member {member.record} breaks a rule where it stays"
    return None


def _spends(problem: RecourseProblem) -> bool:
    """Whether costs matter beyond what the balls of :class:`ChangeSet` hold."""
    return problem.goal is GoalKind.MIN_COST or problem.collective.budget.total is not None


def textbook_features_program(problem: RecourseProblem) -> PyomoProgram:
    """The program of the module's docstring.

    Raises
    ------
    UnsupportedError : it cannot be stated for this problem; the message says why.
    """
    reason = accepts(problem)
    if reason:
        raise UnsupportedError(f"textbook: {reason}")
    build = _FeatureModel(problem, risk_of(problem))
    needs = frozenset({SolverFeature.QUADRATIC})
    return PyomoProgram(build.model, build.read, build.start, meanings={}, bounds={}, needs=needs)


class _FeatureModel(TextbookModel):
    """Members that move features; variables and rows are named after the docstring's letters."""

    def _choices(self) -> None:
        sets = [change_sets(self.problem, member)[0] for member in self.problem.collective.members]
        self.sets = {one.record: one for one in sets}
        self.model.member = pyo.Block(list(self.sets))
        for i, one in self.sets.items():
            self._changes(self.model.member[i], one)
            if _spends(self.problem):
                self._price(self.model.member[i], one)

    # -- changes and their cost ---

    def _changes(self, block: Any, one: ChangeSet) -> None:
        places = range(one.d)
        block.delta = pyo.Var(places, bounds=lambda _, j: (float(one.lower[j]), float(one.upper[j])))
        block.scaled = [block.delta[j] / float(one.scales[j]) for j in places]
        block.rows = pyo.ConstraintList()
        for ball in one.balls:
            if ball.norm is Norm.L2:
                block.rows.add(sum(part**2 for part in block.scaled) <= ball.radius**2)
            elif ball.norm is Norm.L1:
                block.rows.add(sum(self._sizes(block, one)) <= ball.radius)
        for row, end in zip(one.A, one.b, strict=True):
            block.rows.add(sum(float(row[j]) * block.delta[j] for j in places if row[j]) <= float(end))
        for group in one.groups:
            block.rows.add(sum(block.delta[int(j)] for j in group.columns) == group.total)
        self._steps(block, one)

    def _steps(self, block: Any, one: ChangeSet) -> None:
        grids = {j: grid for j, grid in enumerate(one.grids) if grid is not None}
        block.step = pyo.Var([(j, k) for j, grid in grids.items() for k in range(len(grid))], domain=pyo.Binary)
        for j, grid in grids.items():
            block.rows.add(sum(block.step[j, k] for k in range(len(grid))) == 1)
            block.rows.add(block.delta[j] == sum(float(value) * block.step[j, k] for k, value in enumerate(grid)))

    def _sizes(self, block: Any, one: ChangeSet) -> list[Any]:
        """Variables above ``|delta_j / scale_j|``, made once."""
        if not hasattr(block, "size"):
            block.size = pyo.Var(range(one.d), bounds=lambda _, j: (0.0, float(_reach(one)[j])))
            for j in range(one.d):
                block.rows.add(block.size[j] >= block.scaled[j])
                block.rows.add(block.size[j] >= -block.scaled[j])
        return [block.size[j] for j in range(one.d)]

    def _price(self, block: Any, one: ChangeSet) -> None:
        block.cost = pyo.Var(bounds=(0.0, one.cost_kind.of(_reach(one))))
        match one.cost_kind:
            case CostKind.L2:
                block.rows.add(sum(part**2 for part in block.scaled) <= block.cost**2)
            case CostKind.SQL2:
                block.rows.add(sum(part**2 for part in block.scaled) <= block.cost)
            case CostKind.L1:
                block.rows.add(sum(self._sizes(block, one)) <= block.cost)
            case _:
                for part in block.scaled:
                    block.rows.add(part <= block.cost)
                    block.rows.add(-part <= block.cost)

    def _cost(self) -> Any:
        return sum(self.model.member[i].cost for i in self.sets)

    def _acting(self) -> Any:
        raise AssertionError("problems that count who acts are refused")

    # -- the learner ---

    def _members(self) -> None:
        for i, one in self.sets.items():
            self._member(self.model.member[i], one)

    def _member(self, block: Any, one: ChangeSet) -> None:
        theta, xhat, graph = self.model.theta, self._extended(one.x), self._graph(one.y)
        reach = self.bound.of_values_within(farthest(one))
        block.f = pyo.Var(bounds=(-reach, reach))
        moved = sum(theta[j] * block.delta[j] for j in range(one.d))
        block.value_of = pyo.Constraint(expr=block.f == self._value(xhat) + moved)
        block.g = pyo.Var(bounds=pull_range([Oriented(graph, 1.0)], reach))
        g = walk(block, graph, block.f, graph.corner_f, graph.corner_g, reach)
        block.pull = pyo.Constraint(expr=block.g == g)
        weight = self.risk.factor * one.s
        self._pull(xhat, weight * block.g)
        for j in range(one.d):
            self.gradient[j] += weight * block.g * block.delta[j]

    def _needed(self, subject: Query) -> float:
        # Without the tolerance of re-training, which is left for what SCIP rounds off.
        return subject.required or 0.0

    # -- reading and starting ---

    def read(self) -> tuple[tuple[Move, ...], LinearParameters]:
        moves = []
        for i, one in self.sets.items():
            delta = self.model.member[i].delta
            moves.append(one.move(np.array([delta[j].value for j in range(one.d)])))
        theta = np.array([self.model.theta[j].value for j in range(self.risk.p)])
        return tuple(move for move in moves if move is not None), LinearParameters.of(*self.risk.split(theta))

    def start(self, moves: Sequence[Move], _: object) -> Mapping[str, float]:
        """Values of the changes; the textbook's runs do without."""
        acting = {move.record: np.array(move.x) - self.sets[move.record].x for move in moves}
        return {
            self.model.member[i].delta[j].name: float(acting[i][j]) if i in acting else 0.0
            for i, one in self.sets.items()
            for j in range(one.d)
        }


def _reach(one: ChangeSet) -> Vector:
    """The largest size of every feature's scaled change, ``(d,)``."""
    sizes: Vector = np.maximum(np.abs(one.lower), np.abs(one.upper)) / one.scales
    return sizes
