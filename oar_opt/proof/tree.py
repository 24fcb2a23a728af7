"""Walks through a certificate's tree and finds out whether its leaves together leave no better answer.

Every split covers the part that it splits: a member takes one of the options of the first child or one of the others;
what its feature changes lead to is at most some number or at least that; and an answer that helps more queries than
the bound says either helps a query or is an answer with this query left aside. So if no leaf holds an answer that is
better than the bound, there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oar_opt.problem import GoalKind, RecourseProblem
from oar_opt.proof.exact_choices import Choice
from oar_opt.proof.leaf_bounds import LeafBounds
from oar_opt.proof.nodes import (
    CentroidLeaf,
    ChoiceLeaf,
    DualityLeaf,
    FewLeaf,
    Node,
    OptionsNode,
    QueryNode,
    RoomNode,
    StepLeaf,
)
from oar_opt.proof.parts import Part, only_choice, whole
from oar_opt.proof.rationals import Number, exact, exact_row

Doubt = Callable[[Choice], str | None]
"""Why one choice is not proved to be no better than the bound, or None."""


class Refuter:
    """Judges the leaves of one problem's tree for one bound (None: that there is no answer)."""

    def __init__(self, problem: RecourseProblem, bound: Number | None, doubt: Doubt) -> None:
        self.problem, self.bound, self.doubt = problem, bound, doubt
        self.bounds = LeafBounds(problem)

    def doubt_about(self, nodes: Sequence[Node]) -> str | None:
        """Why the tree does not prove the bound, or None where it does."""
        waiting = [whole(self.problem, self.bound)]
        for number, node in enumerate(nodes):
            if not waiting:
                return f"node {number} belongs to no split"
            part = waiting.pop()
            found = self.judged(part, node)
            if isinstance(found, str):
                return f"node {number}: {found}"
            waiting += reversed(found)
        left = len(waiting)
        return f"{left} part{'s' * (left > 1)} of the tree {'have' if left > 1 else 'has'} no node" if waiting else None

    def judged(self, part: Part, node: Node) -> list[Part] | str:
        """The parts that are left to be judged, or why a node proves nothing."""
        match node:
            case OptionsNode():
                return _split_options(part, node)
            case RoomNode():
                return _split_room(part, node)
            case QueryNode():
                return _split_query(part, node)
            case FewLeaf():
                return self._few(part)
            case ChoiceLeaf():
                return self._choice(part)
            case DualityLeaf() | CentroidLeaf() | StepLeaf():
                return self.bounds.doubt(part, node) or []

    def _few(self, part: Part) -> list[Part] | str:
        if self.problem.goal is GoalKind.MAX_HELPED and self.bound is not None and part.may_help() <= self.bound:
            return []
        return "more queries than the bound says may be helped"

    def _choice(self, part: Part) -> list[Part] | str:
        if not part.is_one_choice:
            return "more than one choice is left"
        choice = only_choice(part)
        return (self.doubt(choice) if choice is not None else None) or []


def _split_options(part: Part, node: OptionsNode) -> list[Part] | str:
    left = part.options.get(node.record)
    if left is None:
        return f"record {node.record} is no member's"
    stated = frozenset(node.options)
    first = tuple(k for k in left if k in stated)
    second = tuple(k for k in left if k not in stated)
    if not first or not second:
        return f"it does not split what member {node.record} has left"
    return [part.with_options(node.record, first), part.with_options(node.record, second)]


def _split_room(part: Part, node: RoomNode) -> list[Part] | str:
    left = part.options.get(node.record, ())
    if node.option not in left or not part.is_set(node.record, node.option):
        return f"member {node.record} has no set of feature changes {node.option} left"
    if len(node.direction) != part.problem.d:
        return f"its direction has {len(node.direction)} numbers instead of {part.problem.d}, one for each feature"
    place, direction = (node.record, node.option), tuple(exact_row(node.direction))
    return [part.with_room(place, direction, exact(node.at), above=side) for side in (False, True)]


def _split_query(part: Part, node: QueryNode) -> list[Part] | str:
    if part.problem.goal is not GoalKind.MAX_HELPED or node.query >= len(part.needs):
        return f"there is no query {node.query} to count"
    if part.needs[node.query] is not None or node.query in part.aside:
        return f"query {node.query} is split upon twice"
    return [part.with_helped(node.query), part.without(node.query)]
