"""Choosing among members' finite options and ready changes: the mixed-integer program over them.

Every free member has columns, each with its rows, cost and whether it acts (:class:`oar_opt.step_dual.Parts`), and
takes exactly one; what the other members do is decided, and adds to the constants. With ``x`` the binaries,

    excess_q = base_q + sum over columns of row_q x,     sum cost x <= total,     sum acts x <= cap,

and the goal: the largest ``t <= excess_q`` of the queries (guards: ``excess >= 0``), the least cost or number of acting
members with all excesses at least 0, or the largest number of binaries ``h_q`` with ``excess_q >= -W_q (1 - h_q)``.
HiGHS solves it; over all options that can still be part of an optimum its bound is one for the problem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from oar_opt.linear_program import Limits, LinearProgram, Terms, Triplets
from oar_opt.problem import GoalKind, Indices, Vector
from oar_opt.step_dual import DualGoal, Parts

TIGHT = 1e-10
"""HiGHS's own limit. Where two choices differ by less than its tolerance, it has been seen to drop the better one."""
MOST_CUT_OFF = 20
"""Choices that may turn out to be no answers before a program is given up."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of free members, ``owner (m,)`` is each one's member; ``parts`` what they add."""

    owner: Indices
    parts: Parts


class Verdict(StrEnum):
    """What a choice turns out to be when it is replayed."""

    ANSWER = "answer"
    NO_ANSWER = "no answer"
    UNKNOWN = "not replayed accurately enough to tell"


@dataclass(frozen=True, eq=False)
class Chosen:
    """The columns taken, by place (None: no answer was found), a bound on the goal, and whether the search ended."""

    columns: Indices | None
    bound: float
    ended: bool
    nodes: int


def choose(
    kind: GoalKind,
    goal: DualGoal,
    base: Vector,
    spent: float,
    acting: float,
    columns: Columns,
    limits: Limits,
    verdict: Callable[[Indices], Verdict],
) -> Chosen:
    """The best choice of one column for every owner that is an answer.

    A choice that HiGHS's tolerances let pass and that is no answer is cut off, and the program solved again.

    Parameters
    ----------
    base : the excesses that everybody else leaves, ``(S,)``. spent, acting : what they cost, and how many act.
    verdict : on columns taken, by place.

    Values are in the dual's sense, larger is better: minus the cost or the number of members for goals that are
    minimised.
    """
    limits = replace(limits, tolerance=TIGHT)
    model = _Model(kind, goal, base, spent, acting, columns)
    nodes = 0
    for _ in range(MOST_CUT_OFF):
        found = model.program.best_choice(model.objective, 1, limits)
        nodes += found.nodes
        if found.bound is None:
            # That there is no choice is believed only after a second run, without presolve.
            found = model.program.best_choice(model.objective, 1, replace(limits, presolve=False))
            nodes += found.nodes
        bound = model.constant + (-np.inf if found.bound is None else found.bound)
        if found.point is None:
            return Chosen(None, bound, found.ended, nodes)
        taken = np.flatnonzero(found.point[: len(columns.owner)] > 0.5)
        said = verdict(taken)
        if said is Verdict.ANSWER:
            return Chosen(taken, bound, found.ended, nodes)
        if said is Verdict.UNKNOWN:
            break
        model.program.cut([(int(k), -1.0) for k in taken], 1.0 - len(taken))
    return Chosen(None, bound, False, nodes)


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
