"""From a solver's point to moves that keep every rule exactly, for the nearest centroid under feature changes.

A branch and bound ends at a point that breaks its rows by the solver's tolerance, and least costs lie where required
margins are just reached: re-training would refuse most such points. Here the discrete part of a point is kept (options,
who acts by which set, features that move in steps), and the changes are found anew by
:class:`oar_opt.centroid_cone.CentroidCone`, with margins and budgets a little inside. Tangents at the last shifts
replace what is not convex (the convex-concave procedure): each program holds the last one's answer, so the goal never
gets worse, and a few rounds are enough near an optimum.

Reference: A. Yuille, A. Rangarajan, "The concave-convex procedure", 2003.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oar_opt.centroid_cone import Aim, CentroidCone, Given, Mover, keeps_loss, margins_of, shifts_of
from oar_opt.centroid_program import present_centroids
from oar_opt.changes import ChangeSet
from oar_opt.problem import CostKind, GoalKind, Matrix, Move, RecourseProblem, Vector
from oar_opt.rules import ROUNDING, budget_violations

INSIDE = ((1e-9, 1e-9), (1e-8, 1e-8), (1e-7, 1e-7), (1e-9, 0.0), (1e-8, 0.0))
"""Shares by which required margins (in the unit of the program) are raised and budgets lowered, tried in turn. The
latter are not lowered in the end: steps may use a budget up."""
ROUNDS = 4
BETTER = 1e-10
"""Relative improvement that is worth another round."""
SLIGHT = 1e-6
"""Changes below that, relative to the longest possible one, are left out where that loses nothing."""


@dataclass(frozen=True, eq=False)
class Polished:
    """Changes ``(acting, d)``, the moves of all members and the centroids' shifts ``(classes, d)``."""

    deltas: Matrix
    moves: tuple[Move, ...]
    shifts: Matrix
    is_admissible: bool
    value: float


class Polish:
    """The continuous rest of one discrete choice.

    Parameters
    ----------
    problem : the instance.
    finite : the moves of members that picked a finite option.
    acting : the sets that the others act by; ``deltas (acting, d)`` are their changes at the solver's point.
    required : the margin that each subject must reach, by name.
    """

    def __init__(
        self,
        problem: RecourseProblem,
        finite: Sequence[Move],
        acting: Sequence[ChangeSet],
        deltas: Matrix,
        required: Mapping[str, float],
    ) -> None:
        self.problem, self.finite, self.acting = problem, tuple(finite), tuple(acting)
        present, after = present_centroids(problem), problem.apply(finite)
        classes = range(len(present))
        weights = np.array([float(after.s[after.y == c].sum()) for c in classes])
        moved = np.array([np.average(after.X[after.y == c], axis=0, weights=after.s[after.y == c]) for c in classes])
        before = np.array([float(problem.records.s[problem.records.y == c].sum()) for c in classes])
        count = float(len(acting)) if problem.collective.cost is CostKind.COUNT else 0.0
        spent = sum(move.cost for move in finite) + sum(one.fixed_cost for one in acting) + count
        self.given = Given(problem, present, before, moved - present, required, spent=spent)
        self.start = np.array([_on_grid(one, delta) for one, delta in zip(acting, deltas, strict=True)])
        self.start = self.start.reshape(len(acting), problem.d)
        self.movers = [
            _held(one, Mover.of(one, float(weights[int(one.y)])), delta)
            for one, delta in zip(acting, self.start, strict=True)
        ]

    @property
    def aim(self) -> Aim:
        if self.problem.goal is GoalKind.MAX_MARGIN:
            return Aim.MARGIN
        is_cost = self.problem.goal is GoalKind.MIN_COST and self.problem.collective.cost is not CostKind.COUNT
        return Aim.COST if is_cost else Aim.SLACK

    def run(self) -> Polished:
        """The best of what was found; the solver's own point where nothing better was."""
        best = self._look(self.start)
        if not any((mover.upper > mover.lower).any() for mover in self.movers):
            return best
        for raised, inside in INSIDE:
            best = self._climb(best, raised, inside)
            if best.is_admissible:
                break
        slight = np.abs(best.deltas / self.problem.scales).max(axis=1, initial=0.0) <= SLIGHT * self._longest()
        tidy = self._look(np.where(slight[:, None], 0.0, best.deltas))
        allowed = all(
            one.violation(np.zeros(self.problem.d)) <= ROUNDING
            for one, leave in zip(self.acting, slight, strict=True)
            if leave
        )
        return tidy if allowed and self._beats(tidy, best, -SLIGHT * SLIGHT) else best

    def _climb(self, best: Polished, raised: float, inside: float) -> Polished:
        for _ in range(ROUNDS):
            given = replace(self.given, around=best.shifts, inside=inside)
            cone = CentroidCone(given, self.movers, self.aim)
            padded = replace(given, pad=raised * cone.unit**2)
            found = CentroidCone(padded, self.movers, self.aim).solve()
            if found.infeasible:
                return best
            better = self._look(found.deltas)
            if not self._beats(better, best, BETTER):
                return better if better.is_admissible and not best.is_admissible else best
            best = better
        return best

    def _beats(self, one: Polished, other: Polished, tolerance: float) -> bool:
        if one.is_admissible != other.is_admissible:
            return one.is_admissible
        return one.value - other.value > tolerance * max(1.0, abs(other.value))

    def _longest(self) -> float:
        return max((float(mover.farthest.max(initial=0.0)) for mover in self.movers), default=0.0)

    def _look(self, deltas: Matrix) -> Polished:
        """What changes give: whether margins and the total budget hold, and the aim's value, larger is better."""
        shifts = shifts_of(self.given, self.movers, deltas)
        changed = [one.move(delta) for one, delta in zip(self.acting, deltas, strict=True)]
        moves = (*self.finite, *(move for move in changed if move is not None))
        margins = margins_of(self.given, shifts)
        slack = min((margins[name] - needed for name, needed in self.given.required.items()), default=0.0)
        cost = float(sum(move.cost for move in moves))
        admissible = slack >= 0 and not budget_violations(self.problem, moves) and keeps_loss(self.given, shifts)
        match self.aim:
            case Aim.MARGIN:
                value = min(margins[query.name] for query in self.problem.queries)
            case Aim.COST:
                value = -cost
            case Aim.SLACK:
                value = slack
        ordered = tuple(sorted(moves, key=lambda move: move.record))
        return Polished(deltas, ordered, shifts, admissible, value if admissible or self.aim is Aim.SLACK else slack)


def _on_grid(one: ChangeSet, delta: Vector) -> Vector:
    """A change inside the box, with the features that move in steps on their nearest value."""
    near: Vector = np.clip(delta, one.lower, one.upper)
    for j, grid in enumerate(one.grids):
        if grid is not None:
            near[j] = grid[int(np.abs(grid - near[j]).argmin())]
    return near


def _held(one: ChangeSet, mover: Mover, delta: Vector) -> Mover:
    """The mover with its features that move in steps held where they are."""
    lower, upper = mover.lower.copy(), mover.upper.copy()
    for j, grid in enumerate(one.grids):
        if grid is not None:
            lower[j] = upper[j] = delta[j]
    return replace(mover, lower=lower, upper=upper)
