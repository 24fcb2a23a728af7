"""Branch and bound for a certificate's tree: splits upon what members do until every leaf proves that it is done.

Depth first, with a bound that is known beforehand: the goal's value of the best known change and a little more. A part
is proposed multipliers for, and where the checker's own evaluation of them refutes it, it is a leaf. A part with one
choice is re-trained by the checker, and where that is undecided (several optima, say) once more bounded by multipliers,
with a far larger limit on the duality's. Every other part is split upon the member whose shares in the relaxation are
the most divided: the option with the largest share, and the others. A choice that is found to be better than the bound
ends the search: the bound has to be made again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from oar_opt.errors import UnsupportedError
from oar_opt.problem import GoalKind, RecourseProblem
from oar_opt.proof.exact_choices import Choice
from oar_opt.proof.lagrangian import slack_above
from oar_opt.proof.learner_rows import LearnerRows
from oar_opt.proof.nodes import ChoiceLeaf, FewLeaf, Node, OptionsNode, QueryNode
from oar_opt.proof.parts import Part, only_choice, whole
from oar_opt.proof.rationals import Number
from oar_opt.proof.tree import is_refuted
from oar_opt.proof_search.leaf_multipliers import Relaxation, leaf_of

MOST_DUALITY = 1e3
MOST_DUALITY_OF_A_CHOICE = 1e6
DIVIDED = 1e-4
"""Shares that are less divided say nothing about where to split."""


@dataclass(frozen=True)
class Better(Exception):
    """A choice that is not proved to be no better than the bound."""

    choice: Choice
    doubt: str


class TreeSearch:
    """One problem's search; ``doubt`` is the checker's for one choice."""

    def __init__(
        self, problem: RecourseProblem, bound: Number | None, doubt: Callable[[Choice], str | None], seconds: float
    ) -> None:
        self.problem, self.bound, self.doubt = problem, bound, doubt
        self.rows = LearnerRows(problem)
        self.relaxation = Relaxation(self.rows)
        self.end = time.monotonic() + seconds

    def nodes(self) -> list[Node]:
        """The tree in preorder.

        Raises
        ------
        Better : a choice is better than the bound, or may be.
        UnsupportedError : the time is over.
        """
        found: list[Node] = []
        waiting = [whole(self.problem, self.bound)]
        while waiting:
            if time.monotonic() > self.end:
                raise UnsupportedError(f"the time for a proof is over: {len(found)} nodes, {len(waiting)} parts left")
            part = waiting.pop()
            node, children = self._node(part)
            found.append(node)
            waiting += reversed(children)
        return found

    def _node(self, part: Part) -> tuple[Node, Sequence[Part]]:
        if self.problem.goal is GoalKind.MAX_HELPED and self.bound is not None:
            if part.may_help() <= self.bound:
                return FewLeaf(kind="few"), ()
            undecided = [k for k, need in enumerate(part.needs) if need is None and k not in part.aside]
            if undecided:
                k = undecided[0]
                return QueryNode(kind="query", query=k), (part.with_helped(k), part.without(k))
        if part.is_one_choice:
            return self._choice(part), ()
        proposal = self.relaxation.propose(part, MOST_DUALITY)
        if is_refuted(part, slack_above(self.rows, part, proposal.multipliers), proposal.multipliers.queries):
            return leaf_of(proposal.multipliers), ()
        record, option = _divided(part, proposal.shares)
        left = part.options[record]
        others = tuple(k for k in left if k != option)
        first, second = part.with_options(record, (option,)), part.with_options(record, others)
        return OptionsNode(kind="options", record=record, options=(option,)), (first, second)

    def _choice(self, part: Part) -> Node:
        choice = only_choice(part)
        doubt = None
        if choice is not None:
            try:
                doubt = self.doubt(choice)
            except ArithmeticError as error:
                doubt = str(error)
        if choice is None or doubt is None:
            return ChoiceLeaf(kind="choice")
        proposal = self.relaxation.propose(part, MOST_DUALITY_OF_A_CHOICE)
        if is_refuted(part, slack_above(self.rows, part, proposal.multipliers), proposal.multipliers.queries):
            return leaf_of(proposal.multipliers)
        raise Better(choice, doubt)


def _divided(part: Part, shares: dict[int, np.ndarray]) -> tuple[int, int]:
    """The member to split upon, and the option that is split off."""
    rest = {record: 1 - float(share.max()) for record, share in shares.items() if np.isfinite(share).all()}
    record = max(rest, key=lambda r: rest[r], default=None)
    if record is None or rest[record] < DIVIDED:
        record = max(shares, key=lambda r: len(shares[r]))
        if not math.isfinite(float(shares[record].max())):
            return record, part.options[record][0]
    return record, part.options[record][int(np.argmax(shares[record]))]
