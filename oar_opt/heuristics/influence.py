"""Influence functions: members act in the order of the first-order effect of their moves on the query's margin.

Every option, and every change of features along the slope of the margin to the end of its set, has an effect at the
present parameters (:mod:`oar_opt.influence`); slopes are those of :mod:`oar_opt.sensitivity`, with kinks smoothed a
little. Each member takes the move with the largest effect, or, where the goal is the cost, the largest effect per cost;
members come in the same order, and the best prefix by re-training is proposed. Moves without a gain are not made.

It does not apply to learners that are linear programs, whose optimum no small change moves, nor where the margins have
no slopes. What moves do to each other is not seen.

Reference: P. W. Koh, P. Liang, "Understanding Black-box Predictions via Influence Functions", 2017.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from oar_opt.changes import ChangeSet
from oar_opt.contracts import Heuristic, Proposal
from oar_opt.influence import effects_on, no_effects
from oar_opt.member_room import Room
from oar_opt.problem import Indices, Matrix, Member, Move, Query, RecourseProblem, Vector
from oar_opt.projection import nearest
from oar_opt.sensitivity import margins_of, no_sensitivity
from oar_opt.signals import SHARE, best_prefix, in_time, not_aimed, worst_off, worth_of

FAR = 1e4
"""How much further than a set reaches a point along the slope is that is projected on it."""
WIDTH = 0.003
"""Of smoothed kinks."""


class Influence(Heuristic):
    """See the module's docstring."""

    name = "influence"

    def accepts(self, problem: RecourseProblem) -> str | None:
        return not_aimed(problem) or no_effects(problem) or no_sensitivity(problem)

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        started = time.monotonic()
        query = worst_off(problem)
        effects, slopes = effects_on(problem, query), Slopes.of(problem, query)
        found = list[tuple[tuple[float, float], Move]]()
        for member in in_time(problem.collective.members, time.monotonic() + SHARE * time_limit):
            moves = [*(room := Room.of(problem, member)).finite, *slopes.changes(room)]
            gains = [(effect, move) for move in moves if (effect := effects.of(move)) > 0]
            ranked = [(worth_of(problem, effect, move.cost), move) for effect, move in gains]
            found += [max(ranked, key=lambda pair: pair[0])] if ranked else []
        found.sort(key=lambda pair: (-pair[0][0], -pair[0][1], pair[1].record))
        what = f"first-order effects on query '{query.name}'"
        return best_prefix(problem, [move for _, move in found], started + time_limit, what)


@dataclass(frozen=True, eq=False)
class Slopes:
    """The slopes ``(k, d)`` of a query's margin in the features of the records ``rows (k,)``."""

    rows: Indices
    slopes: Matrix

    @classmethod
    def of(cls, problem: RecourseProblem, query: Query) -> Slopes:
        """At present, for the members with features to change whose records have weight."""
        rows = np.array([member.record for member in problem.collective.members if _may_change(problem, member)], int)
        if not len(rows):
            return cls(rows, np.zeros((0, problem.d)))
        margins = margins_of(problem, problem.records, rows.tolist())
        margins.narrow(WIDTH)
        response = margins.at(problem.records.X[rows])
        own = np.flatnonzero(margins.owners == problem.queries.index(query))
        weights = np.zeros(len(margins.owners))
        weights[own[response.values[own].argmin()]] = 1.0
        return cls(rows, response.slopes(weights))

    def changes(self, room: Room) -> list[Move]:
        """The changes of a member along its slope, one for each set that it leads to the end of."""
        found = []
        for one in room.sets:
            slope = self.slopes[np.flatnonzero(self.rows == one.record)[0]] * one.scales
            end = _end(one, slope)
            move = None if end is None else room.change(one, end)
            found += [move] if move is not None else []
        return found


def _may_change(problem: RecourseProblem, member: Member) -> bool:
    return bool(member.feature_actions) and problem.records.s[member.record] > 0


def _end(one: ChangeSet, slope: Vector) -> Vector | None:
    """The point of a set (grids widened) furthest along a slope over scaled features; None where there is no slope."""
    length = float(np.linalg.norm(slope))
    if length == 0:
        return None
    reach = float(((one.upper - one.lower) / one.scales).max())
    return nearest(one, FAR * reach / length * slope * one.scales)
