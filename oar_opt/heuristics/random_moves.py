"""Random moves: random members do random things within the budgets; the best of many draws.

A draw takes a number from 1 to what the cap on members allows, uniformly, and lets members in random order act until so
many do, or until one's move would overdraw the total budget. A member's choices are its finite options but staying and
its sets of feature changes, all equally likely. A change starts in a uniform direction ``u`` over the scaled features
that have room, as long as the set's balls allow, ``t u`` with ``t = min radius / ||u||``; half of the changes keep that
length, the others a uniform share of it. Then it is brought into the set and onto its grids; a member without anything
to do, or whose change comes to nothing, is passed over.

Nobody acting is tried as well, so the answer is never worse than that. Draws end after :data:`MOST_DRAWS`, or at the
time limit, of which no draw takes more than :data:`SHARE` to throw members together.
"""

from __future__ import annotations

import time

import numpy as np

from oar_opt.changes import ChangeSet
from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import not_replayed
from oar_opt.member_room import Room
from oar_opt.problem import Move, RecourseProblem, Vector
from oar_opt.purse import Purse
from oar_opt.standing import Best

MOST_DRAWS = 200
WHOLE = 0.5
"""Of the changes that go as far as their balls allow."""
SHARE = 0.1
"""Of the time limit: with a crowd, one draw could take all of it."""


class RandomMoves(Heuristic):
    """See the module's docstring."""

    name = "random_moves"

    def accepts(self, problem: RecourseProblem) -> str | None:
        return not_replayed(problem)

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        if not problem.collective.members or problem.collective.budget.members == 0:
            return Proposal((), "nobody may act")
        deadline = time.monotonic() + time_limit
        draws = _Draws(problem, seed, SHARE * time_limit)
        best, count = Best(problem), 0
        while count < MOST_DRAWS and not (count and time.monotonic() > deadline):
            best.look(draws.next())
            count += 1
        return Proposal(best.moves, f"the best of {count} random draws" + ("" if best.moves else ": nobody acts"))


class _Draws:
    """Sets of moves, one after the other, each within so many seconds but for one step."""

    def __init__(self, problem: RecourseProblem, seed: int, seconds: float) -> None:
        self.problem, self.seconds = problem, seconds
        self.draw = np.random.default_rng(seed)
        self.rooms: dict[int, Room] = {}

    def next(self) -> tuple[Move, ...]:
        deadline = time.monotonic() + self.seconds
        members, cap = self.problem.collective.members, self.problem.collective.budget.members
        most = len(members) if cap is None else min(cap, len(members))
        wanted, purse = int(self.draw.integers(1, most + 1)), Purse(self.problem)
        found: list[Move] = []
        for i in self.draw.permutation(len(members)):
            if len(found) == wanted or (found and time.monotonic() > deadline):
                break
            move = self._move(self._room(int(i)))
            if move is None:
                continue
            if not purse.pays(move):
                break
            found.append(move)
        return tuple(found)

    def _room(self, i: int) -> Room:
        if i not in self.rooms:
            self.rooms[i] = Room.of(self.problem, self.problem.collective.members[i])
        return self.rooms[i]

    def _move(self, room: Room) -> Move | None:
        if not room.size:
            return None
        k = int(self.draw.integers(room.size))
        if k < len(room.finite):
            return room.finite[k]
        one = room.sets[k - len(room.finite)]
        direction = np.where(one.movable, self.draw.normal(size=one.d), 0.0)
        share = 1.0 if self.draw.random() < WHOLE else float(self.draw.random())
        return room.change(one, share * _reach(one, direction) * direction * one.scales)


def _reach(one: ChangeSet, direction: Vector) -> float:
    """How often a direction, over scaled features, fits into all balls of the set; 0 where nothing has room."""
    lengths = [(ball.radius, ball.norm.of(direction)) for ball in one.balls]
    return min((radius / length for radius, length in lengths if length > 0), default=0.0)
