"""Branch and bound for a certificate's tree: splits upon what members do until every leaf proves that it is done.

Depth first. A part is proposed multipliers for, and where the checker's own evaluation of them refutes it, it is a
leaf. A part with one choice is re-trained by the checker, and where that is undecided (several optima, say) bounded
by multipliers once more, with a far larger limit on the duality's. Every other part is split upon the member whose
shares in the relaxation are the most divided: the option with the largest share, and the others.

A choice that turns out to be a better answer than the best one so far makes the bound anew, from what it surely
reaches and a part of the instance's relative gap more (or less, for goals that are minimised). What was refuted for
the old bound is for the new one too, since that asks for more; what waits is asked for more from then on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from flint import fmpq

from oar_opt.errors import UnsupportedError
from oar_opt.problem import GoalKind, Move, RecourseProblem
from oar_opt.proof.checker import choice_doubt
from oar_opt.proof.exact_choices import Choice
from oar_opt.proof.exact_outcome import MINIMISED, Outcome, exact_outcome
from oar_opt.proof.nodes import ChoiceLeaf, FewLeaf, Node, OptionsNode, QueryNode
from oar_opt.proof.parts import Part, admitted, only_choice, whole
from oar_opt.proof.rationals import Number, decimal_above, decimal_below, exact, read_decimal
from oar_opt.proof_search.leaves import leaf_maker

PART_OF_GAP = fmpq(1, 2)
DIGITS = 9
"""Decimals of a bound after the point."""
MOST_DUALITY = 1e3
MOST_DUALITY_OF_A_CHOICE = 1e6
DIVIDED = 1e-4
"""Shares that are less divided say nothing about where to split."""


class TreeSearch:
    """One problem's search, from a known change that may be the best (None: none is known).

    ``best`` is the best sure answer and ``bound`` the decimal that no change is better than, once :meth:`nodes` is
    through.
    """

    def __init__(self, problem: RecourseProblem, known: Sequence[Move] | None, seconds: float) -> None:
        self.problem = problem
        self.leaves = leaf_maker(problem)
        self.end = time.monotonic() + seconds
        self.best: Outcome | None = None
        self.bound: str | None = None
        choice = None if known is None else admitted(problem, tuple(known))
        outcome = None if choice is None else _answer(problem, choice)
        if outcome is not None:
            self._take(outcome)

    @property
    def number(self) -> Number | None:
        """The bound as a rational."""
        return None if self.bound is None else read_decimal(self.bound)

    def nodes(self) -> list[Node]:
        """The tree in preorder.

        Raises
        ------
        UnsupportedError : the time is over, or a choice stays undecided.
        """
        found: list[Node] = []
        waiting = [whole(self.problem, self.number)]
        while waiting:
            if time.monotonic() > self.end:
                raise UnsupportedError(f"the time for a proof is over, with {len(waiting)} parts of its tree left")
            part, bound = waiting.pop(), self.bound
            node, children = self._node(part)
            if self.bound != bound:
                root = whole(self.problem, self.number)
                waiting = [one.for_bound_of(root) for one in waiting]
            found.append(node)
            waiting += reversed(children)
        return found

    def _take(self, outcome: Outcome) -> None:
        self.best, self.bound = outcome, bound_of(self.problem, outcome)

    def _node(self, part: Part) -> tuple[Node, Sequence[Part]]:
        if self.problem.goal is GoalKind.MAX_HELPED and self.number is not None:
            if part.may_help() <= self.number:
                return FewLeaf(kind="few"), ()
            undecided = [k for k, need in enumerate(part.needs) if need is None and k not in part.aside]
            if undecided:
                k = undecided[0]
                return QueryNode(kind="query", query=k), (part.with_helped(k), part.without(k))
        if part.is_one_choice:
            return self._choice(part), ()
        leaf, shares = self.leaves.leaf(part, MOST_DUALITY)
        if leaf is not None:
            return leaf, ()
        record, option = _divided(part, shares)
        others = tuple(k for k in part.options[record] if k != option)
        first, second = part.with_options(record, (option,)), part.with_options(record, others)
        return OptionsNode(kind="options", record=record, options=(option,)), (first, second)

    def _choice(self, part: Part) -> Node:
        choice = only_choice(part)
        if choice is None or self._doubt(choice) is None:
            return ChoiceLeaf(kind="choice")
        outcome = _answer(self.problem, choice)
        if outcome is not None and (self.best is None or _is_better(self.problem, outcome, self.best)):
            self._take(outcome)
            if self._doubt(choice) is None:
                return ChoiceLeaf(kind="choice")
        leaf, _ = self.leaves.leaf(part, MOST_DUALITY_OF_A_CHOICE)
        if leaf is None:
            raise UnsupportedError(f"no proof by a tree: {self._doubt(choice)}")
        return leaf

    def _doubt(self, choice: Choice) -> str | None:
        try:
            return choice_doubt(self.problem, self.number, choice)
        except ArithmeticError as error:
            return str(error)


def bound_of(problem: RecourseProblem, best: Outcome) -> str:
    """The bound to be proved with a best answer: numbers of queries or members exactly, others with a part of the
    gap."""
    value = best.value
    if problem.goal in (GoalKind.MAX_HELPED, GoalKind.MIN_MEMBERS):
        return decimal_below(value.low, DIGITS)
    end = value.low if problem.goal in MINIMISED else value.high
    room = PART_OF_GAP * exact(problem.tolerances.relative_gap) * max(fmpq(1), abs(end))
    return decimal_below(end - room, DIGITS) if problem.goal in MINIMISED else decimal_above(end + room, DIGITS)


def _is_better(problem: RecourseProblem, one: Outcome, other: Outcome) -> bool:
    minimised = problem.goal in MINIMISED
    return bool(one.value.high < other.value.high if minimised else one.value.low > other.value.low)


def _answer(problem: RecourseProblem, choice: Choice) -> Outcome | None:
    """The outcome of a choice that surely is an answer, or None."""
    try:
        outcome = exact_outcome(problem, choice)
    except ArithmeticError:
        return None
    return outcome if isinstance(outcome, Outcome) and outcome.surely_answers else None


def _divided(part: Part, shares: Mapping[int, npt.NDArray[np.float64]]) -> tuple[int, int]:
    """The member to split upon, and the option that is split off."""
    known = {record: share for record, share in shares.items() if np.isfinite(share).all()}
    rest = {record: 1 - float(share.max()) for record, share in known.items()}
    record = max(rest, key=lambda one: rest[one], default=None)
    if record is None or rest[record] < DIVIDED:
        record = max(shares, key=lambda one: len(shares[one]))
    option = int(np.argmax(known[record])) if record in known else 0
    return record, part.options[record][option]
