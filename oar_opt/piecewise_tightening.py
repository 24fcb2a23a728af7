"""Shorter intervals for the factors of a relaxation on pieces, for moves at least as good as the best answer.

The linear relaxation of the program, with the goal at least as good as a verified answer's and no better than the bound
so far, bounds every factor: two linear programs for each weight, for each pull (with its set used), and for each
decision value whose record still has several segments. Shorter intervals make tighter envelopes, so that this is
repeated while it helps. Segments that a decision value cannot lie on any more lose their binary.

Every end is proved by weak duality from HiGHS's multipliers (:mod:`oar_opt.linear_program`), not by its tolerances. The
same linear program bounds the goal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from pyomo.repn import generate_standard_repn
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler

from oar_opt.bounds import WIDENING
from oar_opt.linear_program import LinearProgram, Terms, Triplets
from oar_opt.piecewise_duality import Stated
from oar_opt.piecewise_model import Pair, PiecewiseModel

APART = 1e-6
"""How far a segment must be from an interval to be left out."""


class Nothing(Exception):
    """No move is as good as the answer that the rows demand; proved."""


class Tightening:
    """One linear relaxation of a model as it is written now."""

    def __init__(self, model: PiecewiseModel, stop: Callable[[], bool]) -> None:
        self.model, self.stop = model, stop
        compiled = LinearStandardFormCompiler().write(model.model, mixed_form=True, set_sense=None)
        self.columns = compiled.columns
        self.places = {id(variable): j for j, variable in enumerate(compiled.columns)}
        kinds, rhs = np.array([row.bound_type for row in compiled.rows]), np.asarray(compiled.rhs, dtype=float)
        rows = Triplets()
        rows.add(np.where(kinds == 1, -math.inf, rhs), np.where(kinds == -1, math.inf, rhs), len(rhs))
        matrix = compiled.A.tocoo()
        rows.put(matrix.row, matrix.col, matrix.data)
        lower = np.array([-math.inf if v.lb is None else v.lb for v in compiled.columns], dtype=float)
        upper = np.array([math.inf if v.ub is None else v.ub for v in compiled.columns], dtype=float)
        integer = np.array([not v.is_continuous() for v in compiled.columns])
        self.is_bounded = bool(np.isfinite(lower).all() and np.isfinite(upper).all())
        if self.is_bounded:
            self.program = LinearProgram(lower, upper, rows, integer)

    def load(self) -> bool:
        """Give the model's variables the values of the last solution; whether there is one."""
        if self.program.solution is None:
            return False
        for variable, value in zip(self.columns, self.program.solution, strict=True):
            variable.set_value(float(value), skip_validation=True)
        return True

    def goal_bound(self) -> float:
        """A proved bound on the goal; infinite where the linear program proves none."""
        sense = 1 if self.model.problem.goal.maximises else -1
        terms, constant = self._terms(self.model.model.goal.expr)
        return sense * math.inf if terms is None else constant + self._end(terms, sense)

    def sweep(self) -> None:
        """Every factor once; the model's intervals are changed, its rows are not written anew."""
        for j, partition in self.model.weight_pieces.items():
            weight = self.model.model.weight[j]
            low, high = self._range(weight, (weight.lb, weight.ub))
            partition.shrink(low, high)
            weight.setlb(low)
            weight.setub(high)
        for pair in self.model.shapes:
            self._pull(pair)
        for one in self.model.unions:
            self._segments(one)

    def _pull(self, pair: Pair) -> None:
        """Of a set, given that it is used."""
        model, pull, used = self.model, self.model.pulls[pair], self.model.model.used[pair]
        partition = model.pull_pieces[pair]
        ends = self._range_with(used, pull, (partition.points[0], partition.points[-1]))
        if ends is None:
            return
        partition.shrink(*ends)
        pull.setlb(max(pull.lb, min(0.0, ends[0])))
        pull.setub(min(pull.ub, max(0.0, ends[1])))

    def _segments(self, one: Stated) -> None:
        """Leave out segments that the record cannot lie on if it counts."""
        graph = one.graph
        binaries = [graph.block.segment[p] for p in range(len(graph.segments))]
        kept = [binary for binary in binaries if not binary.fixed]
        if len(kept) < 2:
            return
        ends = self._range_with(graph.choice, graph.f, (one.ends[0], one.ends[1]))
        if ends is None:
            return
        one.ends[:] = ends
        for binary, segment in zip(binaries, graph.segments, strict=True):
            if segment.f_high < ends[0] - APART or segment.f_low > ends[1] + APART:
                binary.fix(0)

    def _range_with(
        self, choice: Any | None, expression: Any, known: tuple[float, float]
    ) -> tuple[float, float] | None:
        """The range given that a binary is 1; None where it cannot be, and then it is fixed to 0."""
        if choice is None:
            return self._range(expression, known)
        if choice.fixed:
            return None
        column = self.places[id(choice)]
        self.program.fix(column, 1.0, 1.0)
        try:
            return self._range(expression, known)
        except Nothing:
            choice.fix(0)
            return None
        finally:
            self.program.fix(column, 0.0, 0.0 if choice.fixed else 1.0)

    def _range(self, expression: Any, known: tuple[float, float]) -> tuple[float, float]:
        """The ends of a linear expression, at least as close as those known."""
        terms, constant = self._terms(expression)
        if self.stop() or terms is None:
            return known
        low, high = constant + self._end(terms, -1), constant + self._end(terms, 1)
        low, high = low - WIDENING * (1 + abs(low)), high + WIDENING * (1 + abs(high))
        low, high = max(known[0], low), min(known[1], high)
        if low > high:
            raise Nothing
        return low, high

    def _end(self, terms: Terms, sense: int) -> float:
        end = self.program.maximum(terms, sense)
        if end is None:
            raise Nothing
        return end

    def _terms(self, expression: Any) -> tuple[Terms | None, float]:
        """Columns and constant of a linear expression; None where the program lacks one of its variables."""
        linear = generate_standard_repn(expression)
        columns = [self.places.get(id(variable)) for variable in linear.linear_vars]
        terms = [
            (column, float(value))
            for column, value in zip(columns, linear.linear_coefs, strict=True)
            if column is not None
        ]
        return terms if len(terms) == len(columns) else None, float(linear.constant)
