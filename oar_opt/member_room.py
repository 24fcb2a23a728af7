"""What one member may do within the budgets: its finite options as moves, and its sets of feature changes.

Options are those of :meth:`~oar_opt.problem.RecourseProblem.admissible_options`, sets those of
:func:`~oar_opt.changes.change_sets`. A change is brought into its set, on its grids, by
:func:`~oar_opt.projection.nearest_on_grids`, and counts only where verification would let it pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from oar_opt.changes import ChangeSet, change_sets
from oar_opt.problem import Member, Move, Option, RecourseProblem, Vector
from oar_opt.projection import nearest_on_grids
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violations


def move_of(member: Member, option: Option) -> Move:
    """The move of a member that picks an option other than staying."""
    return Move(member.record, option.x, option.y, option.s, option.cost)


@dataclass(frozen=True, eq=False)
class Room:
    """``finite`` are the moves of the options but staying, in their order; ``sets`` hold the other changes."""

    problem: RecourseProblem
    member: Member
    finite: tuple[Move, ...]
    sets: tuple[ChangeSet, ...]

    @classmethod
    def of(cls, problem: RecourseProblem, member: Member) -> Room:
        """The room of a member.

        Raises
        ------
        UnsupportedError : a feature that moves in steps has too many values in reach, see :mod:`oar_opt.changes`.
        """
        _, *others = problem.admissible_options(member)
        sets = change_sets(problem, member) if member.feature_actions else ()
        return cls(problem, member, tuple(move_of(member, option) for option in others), sets)

    @property
    def size(self) -> int:
        """How many options and sets there are."""
        return len(self.finite) + len(self.sets)

    def change(self, one: ChangeSet, delta: Vector) -> Move | None:
        """The move by a change of the set near ``delta (d,)``; None where that finds none, or nothing changes."""
        near = nearest_on_grids(one, delta)
        move = None if near is None else one.move(near)
        if move is None or move_violations(self.problem, [move]):
            return None
        alone = budget_violations(self.problem, [move])
        return None if alone else move
