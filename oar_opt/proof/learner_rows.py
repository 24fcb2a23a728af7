"""All rows that a learner may be trained on: the records of non-members, and every option of every member.

Letters of :mod:`oar_opt.proof.exact_records`. A row's ``xhat (p,)``, ``y``, ``a`` and cost are those of the instance,
as rationals. Rows of weight 0 pull nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from flint import fmpq, fmpq_mat

from oar_opt.problem import Intercept, Move, Query, RecourseProblem
from oar_opt.proof.exact_choices import member_moves
from oar_opt.proof.exact_records import penalty_and_factor, prior_point, with_one
from oar_opt.proof.feature_reach import Reach, reaches
from oar_opt.proof.parts import Part
from oar_opt.proof.polylines import Graph, graph
from oar_opt.proof.rationals import Number, dot, exact

LINEAR = ("l1_svm", "lad")
"""Learners that are linear programs."""


@dataclass(frozen=True, eq=False)
class Row:
    """A record as it is, or as one option of a member makes it; ``move`` is None for staying and for non-members,
    ``pieces`` for the logistic loss. With ``reach`` the features may change as far as that, at a cost of its own."""

    xhat: list[Number]
    y: Number
    a: Number
    cost: Number
    move: Move | None
    pieces: Graph | None
    reach: Reach | None = None

    @property
    def acts(self) -> bool:
        """Whether it is an option of a member who acts."""
        return self.move is not None or self.reach is not None

    @cached_property
    def length2(self) -> Number:
        """``|xhat|^2``."""
        return dot(self.xhat, self.xhat)

    @cached_property
    def pulls(self) -> tuple[Number | None, Number | None]:
        """The least and the largest subgradient of the loss, None where there is none."""
        if self.pieces is None:
            return min(-self.y, fmpq(0)), max(-self.y, fmpq(0))
        first, last = self.pieces[0], self.pieces[-1]
        return (first.offset if first.slope == 0 else None), (last.offset if last.slope == 0 else None)


class LearnerRows:
    """The rows of a problem: non-members first, then the options of each member in turn.

    ``options[r]`` are the rows of the member with record ``r``, staying first and sets of changes last. ``queries``
    and ``guards`` are ``(c, k)`` with margin ``c'theta + k``. ``most_penalty``, for learners that are linear programs:
    no optimum has a larger ``sum |theta_j|``, since the objective at 0 is at most that, whatever the choice.
    """

    def __init__(self, problem: RecourseProblem) -> None:
        self.problem = problem
        self.spec = problem.learner
        self.is_linear = problem.learner.kind in LINEAR
        self.is_quadratic = problem.learner.kind == "ridge"
        self.lam, self.factor = penalty_and_factor(problem.learner)
        self.theta0 = prior_point(problem)
        self.p = len(self.theta0)
        self.free = problem.learner.intercept is Intercept.FREE
        self.rows: list[Row] = []
        records, zero = problem.records, fmpq(0)
        for i in range(problem.n):
            if i not in problem.member_at and records.s[i] > 0:
                self._add(records.X[i].tolist(), records.y[i], records.s[i], zero, None)
        self.fixed = range(len(self.rows))
        self.options: dict[int, list[int]] = {}
        for member in problem.collective.members:
            i, first = member.record, len(self.rows)
            self._add(records.X[i].tolist(), records.y[i], records.s[i], zero, None)
            for move in member_moves(problem, member):
                self._add(move.x, move.y, move.s, exact(move.cost), move)
            stay = self.rows[first]
            self.rows += [replace(stay, reach=one) for one in reaches(problem, member)]
            self.options[i] = list(range(first, len(self.rows)))
        # With its shape, since there may be no row at all.
        self.matrix = fmpq_mat(len(self.rows), self.p, [value for row in self.rows for value in row.xhat])
        at_zero = [row.a * self._loss_at_zero(row) if self.is_linear else fmpq(0) for row in self.rows]
        self.most_penalty = sum((at_zero[i] for i in self.fixed), fmpq(0))
        self.most_penalty += sum((max(at_zero[i] for i in left) for left in self.options.values()), fmpq(0))
        self.queries = [self._direction(query) for query in problem.queries]
        self.guards = [self._direction(guard) for guard in problem.guards]

    def _add(self, x: Sequence[float], y: float, s: float, cost: Number, move: Move | None) -> None:
        pieces = None if self.spec.kind == "logistic" else graph(self.spec, exact(y))
        self.rows.append(Row(with_one(self.spec, x), exact(y), self.factor * exact(s), cost, move, pieces))

    def _direction(self, query: Query) -> tuple[list[Number], Number]:
        target = exact(query.target)
        return [target * value for value in with_one(self.spec, query.x)], -target * exact(query.threshold)

    def _loss_at_zero(self, row: Row) -> Number:
        """Of a learner that is a linear program: ``max(0, 1 - y f)`` or ``|y - f|`` at ``f = 0``."""
        return fmpq(1) if self.spec.kind == "l1_svm" else abs(row.y)

    def products(self, vector: Sequence[Number]) -> list[Number]:
        """``xhat'vector`` of every row."""
        return list((self.matrix * fmpq_mat(self.p, 1, list(vector))).entries())

    @property
    def penalised(self) -> range:
        """Which entries of ``theta`` are."""
        return range(self.p - 1 if self.free else self.p)

    def of(self, part: Part) -> tuple[list[int], dict[int, list[int]]]:
        """The rows that are the same in every choice of a part, and those that each member has left beside."""
        left = {r: [self.options[r][k] for k in kept] for r, kept in part.options.items()}
        is_settled = {r: len(rows) == 1 and self.rows[rows[0]].reach is None for r, rows in left.items()}
        settled = [*self.fixed, *(rows[0] for r, rows in left.items() if is_settled[r])]
        return settled, {r: rows for r, rows in left.items() if not is_settled[r]}
