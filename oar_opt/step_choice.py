"""Choosing among members' finite options and ready changes: the mixed-integer program over them.

Every free member has columns, each with its rows, cost and whether it acts (:class:`oar_opt.step_dual.Parts`), and
takes exactly one; what the other members do is decided, and adds to the constants. With ``x`` the binaries,

    excess_q = base_q + sum over columns of row_q x,     sum cost x <= total,     sum acts x <= cap,

and the goal: the largest ``t <= excess_q`` of the queries (guards: ``excess >= 0``), the least cost or number of acting
members with all excesses at least 0, or the largest number of binaries ``h_q`` with ``excess_q >= -W_q (1 - h_q)``.
HiGHS solves it; over all options that can still be part of an optimum its bound is one for the problem.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from oar_opt.linear_program import Limits, LinearProgram, Terms, Triplets
from oar_opt.problem import GoalKind, Indices, Vector
from oar_opt.step_dual import DualGoal, Parts


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of free members, ``owner (m,)`` is each one's member; ``parts`` what they add."""

    owner: Indices
    parts: Parts


@dataclass(frozen=True, eq=False)
class Chosen:
    """The columns taken, by place (None: nothing was found), the goal's value, its bound, and whether it ended."""

    columns: Indices | None
    value: float
    bound: float
    ended: bool
    nodes: int


def choose(
    kind: GoalKind, goal: DualGoal, base: Vector, spent: float, acting: float, columns: Columns, limits: Limits
) -> Chosen:
    """The best choice of one column for every owner.

    Parameters
    ----------
    base : the excesses that everybody else leaves, ``(S,)``. spent, acting : what they cost, and how many act.

    Values are in the dual's sense, larger is better: minus the cost or the number of members for goals that are
    minimised.
    """
    model = _Model(kind, goal, base, spent, acting, columns)
    found = model.program.best_choice(model.objective, 1, limits)
    if found.bound is None:
        # That there is no choice is believed only after a second run, without presolve.
        found = model.program.best_choice(model.objective, 1, replace(limits, presolve=False))
    bound = model.constant + (-np.inf if found.bound is None else found.bound)
    if found.point is None:
        return Chosen(None, -np.inf, bound, found.ended, found.nodes)
    taken = np.flatnonzero(found.point[: len(columns.owner)] > 0.5)
    return Chosen(taken, model.value(taken), bound, found.ended, found.nodes)


class _Model:
    def __init__(
        self, kind: GoalKind, goal: DualGoal, base: Vector, spent: float, acting: float, columns: Columns
    ) -> None:
        self.kind, self.goal, self.base, self.spent, self.acting, self.columns = (
            kind,
            goal,
            base,
            spent,
            acting,
            columns,
        )
        parts, m, S = columns.parts, len(columns.owner), len(base)
        counted = np.flatnonzero(np.isfinite(goal.waived))
        extra = 1 if kind is GoalKind.MAX_MARGIN else len(counted)
        rows = Triplets()
        _, owner = np.unique(columns.owner, return_inverse=True)
        one = rows.add(1.0, 1.0, int(owner.max(initial=-1)) + 1)
        rows.put(one[owner], np.arange(m), 1.0)
        least = -base.copy()
        least[counted] -= goal.waived[counted]
        if kind is GoalKind.MAX_MARGIN:
            least[goal.simplex] = -base[goal.simplex]
        subject = rows.add(least, np.inf, S)
        rows.put(subject[:, None], np.arange(m)[None, :], parts.rows.T)
        if kind is GoalKind.MAX_MARGIN:
            rows.put(subject[goal.simplex], m, -1.0)
        for j, q in enumerate(counted):
            rows.put(subject[q], m + j, -goal.waived[q])
        if goal.total is not None:
            rows.put(rows.add(-np.inf, goal.total - spent, 1), np.arange(m), parts.cost)
        if goal.cap is not None:
            rows.put(rows.add(-np.inf, goal.cap - acting, 1), np.arange(m), parts.acts)
        lower, upper = np.zeros(m + extra), np.ones(m + extra)
        if kind is GoalKind.MAX_MARGIN:
            lower[m], upper[m] = self._range()
        choices = np.ones(m + extra, dtype=bool)
        choices[m:] = kind is not GoalKind.MAX_MARGIN
        self.program = LinearProgram(lower, upper, rows, choices)
        self.objective, self.constant = self._objective(m, extra)

    def _range(self) -> tuple[float, float]:
        """Of the least excess: what the columns can give at most and at least."""
        rows = self.columns.parts.rows[:, self.goal.simplex]
        reach = np.abs(rows).sum(axis=0)
        base = self.base[self.goal.simplex]
        return float((base - reach).min()) - 1.0, float((base + reach).min()) + 1.0

    def _objective(self, m: int, extra: int) -> tuple[Terms, float]:
        parts = self.columns.parts
        match self.kind:
            case GoalKind.MIN_COST:
                return [(k, -float(c)) for k, c in enumerate(parts.cost) if c], -self.spent
            case GoalKind.MIN_MEMBERS:
                return [(k, -float(a)) for k, a in enumerate(parts.acts) if a], -self.acting
            case _:
                return [(m + j, 1.0) for j in range(extra)], 0.0

    def value(self, taken: Indices) -> float:
        """The goal's value of columns taken, from the numbers themselves."""
        parts = self.columns.parts
        excess = self.base + parts.rows[taken].sum(axis=0)
        match self.kind:
            case GoalKind.MAX_MARGIN:
                return float(excess[self.goal.simplex].min())
            case GoalKind.MIN_COST:
                return -self.spent - float(parts.cost[taken].sum())
            case GoalKind.MIN_MEMBERS:
                return -self.acting - float(parts.acts[taken].sum())
            case GoalKind.MAX_HELPED:
                return float((excess[np.isfinite(self.goal.waived)] >= 0).sum())
