"""What moment relaxations of one problem share: coordinates, proved intervals, and who may do what.

A member with one set that holds 0 and no other option needs no choice: it moves within its set, and may stay. Any other
member with room to move has *alternatives*: to stay (unless one of its sets holds 0, which covers that), each finite
option, each set; and a set without 0 must be used where it is chosen. Every combination of alternatives that budgets
allow and that leaves the learner defined is a :class:`Setting`: picked options are records like any other, the rest
moves. Members without room to move count as alternatives by their options alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod

import numpy as np

from oar_opt.bounds import ParameterBounds
from oar_opt.changes import ChangeSet, change_sets
from oar_opt.discovery import learner_of
from oar_opt.problem import Matrix, Member, Move, Option, OptionKind, RecourseProblem, Vector
from oar_opt.risk import RegularizedRisk
from oar_opt.risk_program import reference_point, whitened
from oar_opt.rules import ROUNDING, budget_violations

LEAST_CURVATURE = 0.1
"""Of a record, in the metric that makes coordinates round; any value is valid."""

Alternative = Option | ChangeSet


@dataclass(frozen=True, eq=False)
class Seen:
    """A record as the relaxation sees it: ``x (p,)``, ``f`` at the reference point, target, effective weight."""

    x: Vector
    value: float
    y: float
    a: float


@dataclass(frozen=True, eq=False)
class Setting:
    """What all regions of one combination of actions share.

    ``eta`` lies in ``[low, high]``, ``(p,)``, proved for every admissible move. ``fixed`` are the records that no
    change touches, ``movers`` the members' records with their sets; together they are numbered in this order. The
    movers of ``forced`` must act. ``options`` are the moves of members that picked a finite option.
    ``gradient (p,)`` and ``curvature (p, p)`` are those of the penalty at the reference point.
    """

    problem: RecourseProblem
    risk: RegularizedRisk
    theta_bar: Vector
    basis: Matrix
    low: Vector
    high: Vector
    fixed: tuple[Seen, ...]
    movers: tuple[tuple[Seen, ChangeSet], ...]
    gradient: Vector
    curvature: Matrix
    options: tuple[Move, ...] = ()
    forced: tuple[int, ...] = ()

    @property
    def p(self) -> int:
        return len(self.low)

    @cached_property
    def w_bar(self) -> Vector:
        """The features' weights at the reference point, ``(d,)``."""
        return self.risk.split(self.theta_bar)[0]

    @cached_property
    def W(self) -> Matrix:
        """``(d, p)``."""
        columns = self.basis if self.risk.basis is None else self.risk.basis @ self.basis
        return columns[: self.problem.d]

    def record(self, number: int) -> Seen:
        """The record of that number."""
        fixed = len(self.fixed)
        return self.fixed[number] if number < fixed else self.movers[number - fixed][0]


def alternatives(problem: RecourseProblem, member: Member) -> tuple[Alternative, ...]:
    """What a member chooses among; staying is the first option, unless a set covers it."""
    sets = change_sets(problem, member)
    options = problem.admissible_options(member)
    return (*(options[1:] if any(holds_nothing(one) for one in sets) else options), *sets)


def holds_nothing(one: ChangeSet) -> bool:
    """Whether no change is in the set."""
    return one.violation(np.zeros(one.d)) <= ROUNDING


def count_settings(problem: RecourseProblem) -> int:
    """How many combinations there are before budgets."""
    return prod(len(alternatives(problem, member)) for member in problem.collective.members)


def settings_of(problem: RecourseProblem) -> list[Setting] | None:
    """One setting for each combination; None where no finite bound is proved for the parameters."""
    learner = learner_of(problem)
    given = learner.risk(problem.learner, problem.d)
    assert given is not None
    risk = whitened(problem, given)
    theta_bar = reference_point(problem, risk)
    penalty = risk.lam * np.diag(risk.penalty)
    members = [member.record for member in problem.collective.members]
    others = np.setdiff1d(np.arange(problem.n), members)
    # Without fixed records a free intercept has no curvature but from the members.
    rows = others[problem.records.s[others] > 0] if problem.records.s[others].any() else np.arange(problem.n)
    xhat, a = risk.extend(problem.records.X[rows]), risk.factor * problem.records.s[rows]
    metric = penalty + max(risk.loss.curvature(), LEAST_CURVATURE) * (xhat.T * a) @ xhat
    basis = np.linalg.inv(np.linalg.cholesky(metric)).T
    box = ParameterBounds(problem, risk, theta_bar).along(np.linalg.inv(basis))
    centre = np.linalg.solve(basis, theta_bar)
    low, high = box.lower - centre, box.upper - centre
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return None
    common = Setting(
        problem=problem,
        risk=risk,
        theta_bar=theta_bar,
        basis=basis,
        low=low,
        high=high,
        fixed=(),
        movers=(),
        gradient=basis.T @ (penalty @ (theta_bar - np.array(risk.theta0))),
        curvature=basis.T @ penalty @ basis,
    )
    return list(_combinations(common))


def _combinations(common: Setting) -> Iterator[Setting]:
    problem = common.problem
    members = problem.collective.members
    for choice in product(*(alternatives(problem, member) for member in members)):
        chosen = dict(zip((member.record for member in members), choice, strict=True))
        moves = tuple(
            Move(record, option.x, option.y, option.s, option.cost)
            for record, option in chosen.items()
            if isinstance(option, Option) and option.kind is not OptionKind.STAY
        )
        if budget_violations(problem, moves):
            continue
        if learner_of(problem).undefined(problem, problem.apply(moves)):
            continue
        yield _with(common, moves, [one for one in choice if isinstance(one, ChangeSet)])


def _with(common: Setting, moves: tuple[Move, ...], sets: Sequence[ChangeSet]) -> Setting:
    problem, risk = common.problem, common.risk
    records = problem.apply(moves)
    xhat, a = risk.extend(records.X), risk.factor * records.s

    def seen(i: int) -> Seen:
        x, y = common.basis.T @ xhat[i], float(records.y[i])
        return Seen(x, float(xhat[i] @ common.theta_bar), y, float(a[i]))

    moving = {one.record for one in sets}
    return replace(
        common,
        fixed=tuple(seen(i) for i in range(problem.n) if a[i] > 0 and i not in moving),
        movers=tuple((seen(one.record), one) for one in sets),
        options=moves,
        forced=tuple(i for i, one in enumerate(sets) if not holds_nothing(one)),
    )
