"""Relabelling by a ranking: members who may report the wanted label, and change nothing else, do so one by one.

A member takes part if its record has weight and another label than the query aimed at wants, and one of its options has
the wanted label with the record's own features and weight; of several the cheapest. Who comes first is what the rules
in :mod:`oar_opt.heuristics` differ in. They are this package's re-specification of three rankings.

Reference: O. Ben-Dov, S. Samadi, A. Sanyal, A. Tifrea, "Fairness for the People, by the People: Minority Collective
Action", 2025.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from oar_opt.contracts import Heuristic, Proposal
from oar_opt.evaluate import evaluate
from oar_opt.member_room import move_of
from oar_opt.problem import LabelAction, Matrix, Member, Move, Query, RecourseProblem, Vector
from oar_opt.signals import best_prefix, not_aimed, worst_off


def relabelled(problem: RecourseProblem, member: Member, label: float) -> Move | None:
    """The cheapest move by which a member reports a label and changes nothing else; None where it has none."""
    i, records = member.record, problem.records
    if records.s[i] == 0 or records.y[i] == label:
        return None
    x, s = tuple(records.X[i].tolist()), float(records.s[i])
    # Listing what a member may do with its features takes long, and changes no label.
    labels = replace(member, actions=tuple(action for action in member.actions if isinstance(action, LabelAction)))
    found = [
        option for option in problem.admissible_options(labels)[1:] if (option.x, option.y, option.s) == (x, label, s)
    ]
    return move_of(member, min(found, key=lambda option: option.cost)) if found else None


def decision_values(problem: RecourseProblem, label: float, X: Matrix) -> Vector:
    """The present model's decision value for a label at every row, ``(m,)``: the margin of a query there that wants it,
    above 0 where the model gives that label."""
    parameters = evaluate(problem, ()).parameters
    return np.array([parameters.margin(Query("record", tuple(x), label)) for x in X.tolist()])


class Relabelling(Heuristic):
    """See the module's docstring."""

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = not_aimed(problem)
        if reason:
            return reason
        if problem.classes is None:
            return "targets are numbers, and this rule ranks who reports another class"
        wanted = {query.target for query in problem.queries}
        members = problem.collective.members
        if any(relabelled(problem, member, label) for label in wanted for member in members):
            return None
        return "no member may report a wanted label and change nothing else"

    @abstractmethod
    def keys(self, problem: RecourseProblem, label: float, rows: Sequence[int]) -> Sequence[tuple[float, ...]]:
        """By which the records ``rows`` are ordered, the least first."""

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        deadline = time.monotonic() + time_limit
        query = worst_off(problem)
        able = [relabelled(problem, member, query.target) for member in problem.collective.members]
        moves = [move for move in able if move is not None]
        keys = self.keys(problem, query.target, [move.record for move in moves])
        ranked = sorted(zip(keys, moves, strict=True), key=lambda pair: (pair[0], pair[1].cost, pair[1].record))
        what = f"those who may report '{problem.label_of(query.target)}', as query '{query.name}' wants"
        return best_prefix(problem, [move for _, move in ranked], deadline, what)
