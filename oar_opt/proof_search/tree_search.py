"""Branch and bound for a certificate's tree: splits upon what members do until every leaf proves that it is done.

Depth first. A part is proposed multipliers for, and where the checker's own evaluation of them refutes it, it is a
leaf. A part with one choice is re-trained by the checker, and where that is undecided (several optima, say) bounded
by multipliers once more, with a far larger limit on the duality's. Every other part is split: the option with the
largest share in the relaxation, and the others, of the member for which the product of what both children gain is the
largest, out of the few whose shares are the most divided (strong branching). Trees that were two thirds to a quarter
as large are worth the relaxations of all of these children, since each node is checked again by every reader.

Sets of feature changes are split where the relaxation's moments are those of no point: in the direction of their
largest variance, at the mean. What the relaxation suggests is re-trained, and taken where it is the best answer so far.

A choice that turns out to be a better answer than the best one so far makes the bound anew, from what it surely
reaches and a part of the instance's relative gap more (or less, for goals that are minimised). What was refuted for
the old bound is for the new one too, since that asks for more; what waits is asked for more from then on.

Reference: D. Applegate, R. Bixby, V. Chvatal, W. Cook, "The Traveling Salesman Problem: A Computational Study", 2006
(strong branching).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from flint import fmpq

from oar_opt.errors import UnsupportedError
from oar_opt.problem import GoalKind, Move, RecourseProblem
from oar_opt.proof.checker import choice_doubt
from oar_opt.proof.exact_choices import Choice, changes_features
from oar_opt.proof.exact_outcome import MINIMISED, Outcome, exact_outcome
from oar_opt.proof.nodes import ChoiceLeaf, FewLeaf, Node, OptionsNode, QueryNode, RoomNode
from oar_opt.proof.parts import Part, Place, admitted, only_choice, whole
from oar_opt.proof.rationals import Number, approximate, decimal_above, decimal_below, exact, read_decimal
from oar_opt.proof_search.assessed import Assessed, Spread
from oar_opt.proof_search.leaves import leaf_maker
from oar_opt.proof_search.suggested import suggested

PART_OF_GAP = fmpq(1, 1000)
"""What a bound leaves of the gap; trees for half of the gap were hardly smaller."""
DIGITS = 9
"""Decimals of a bound after the point."""
MOST_DUALITY = 1e3
MOST_DUALITY_OF_A_CHOICE = 1e6
CANDIDATES = 3
"""Members whose splits are tried, upon options and upon changes each."""
LEAST_GAIN = 1e-6
UNCERTAIN = 1e-4
"""Variances of changes, as parts of their squared widths, that are worth a split beside others."""
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
        if known is not None or changes_features(problem):
            # Sets of changes have no choice at which a search would end, so it begins with nobody acting.
            self._takes(tuple(known or ()))

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
        waiting: list[tuple[Part, Assessed | None]] = [(whole(self.problem, self.number), None)]
        while waiting:
            (part, assessed), bound = waiting.pop(), self.bound
            try:
                node, children = self._node(part, assessed)
            except TimeoutError:
                raise UnsupportedError(
                    f"the time for a proof is over after {len(found)} nodes of its tree, with {len(waiting) + 1} parts "
                    "left; give it more"
                ) from None
            if self.bound != bound:
                root = whole(self.problem, self.number)
                waiting = [(one.for_bound_of(root), None) for one, _ in waiting]
            found.append(node)
            waiting += reversed(children)
        return found

    def _take(self, outcome: Outcome) -> None:
        self.best, self.bound = outcome, bound_of(self.problem, outcome)

    def _node(self, part: Part, assessed: Assessed | None) -> tuple[Node, Sequence[tuple[Part, Assessed | None]]]:
        if self.problem.goal is GoalKind.MAX_HELPED and self.number is not None:
            if part.may_help() <= self.number:
                return FewLeaf(kind="few"), ()
            undecided = [k for k, need in enumerate(part.needs) if need is None and k not in part.aside]
            if undecided:
                k = undecided[0]
                return QueryNode(kind="query", query=k), ((part.with_helped(k), None), (part.without(k), None))
        if part.is_one_choice:
            return self._choice(part), ()
        assessed = assessed or self._assessed(part)
        if assessed.leaf is None and self._takes(suggested(part, assessed)):
            part = part.for_bound_of(whole(self.problem, self.number))
            assessed = self._assessed(part)
        if assessed.leaf is not None:
            return assessed.leaf, ()
        return self._split(part, assessed)

    def _takes(self, moves: tuple[Move, ...] | None) -> bool:
        """Whether moves are a better answer than the best one so far, and taken for it."""
        choice = None if moves is None else admitted(self.problem, moves)
        outcome = None if choice is None else _answer(self.problem, choice)
        if outcome is None or (self.best is not None and not _is_better(self.problem, outcome, self.best)):
            return False
        self._take(outcome)
        return True

    def _assessed(self, part: Part, most: float = MOST_DUALITY) -> Assessed:
        if time.monotonic() > self.end:
            raise TimeoutError
        return self.leaves.assess(part, most)

    def _split(self, part: Part, assessed: Assessed) -> tuple[Node, Sequence[tuple[Part, Assessed | None]]]:
        best: tuple[float, Node, Sequence[tuple[Part, Assessed | None]]] | None = None
        for node, halves in _splits(part, assessed):
            children = [(child, None if child.is_one_choice else self._assessed(child)) for child in halves]
            gain = math.prod(LEAST_GAIN + assessed.gain(child) for _, child in children)
            if best is None or gain > best[0]:
                best = gain, node, children
        if best is None:
            raise UnsupportedError("no proof by a tree: a set of feature changes is left open, and is not split")
        return best[1], best[2]

    def _choice(self, part: Part) -> Node:
        choice = only_choice(part)
        if choice is None or self._doubt(choice) is None:
            return ChoiceLeaf(kind="choice")
        # One that overdraws a budget within the tolerance has to be refuted, but is taken for no answer.
        if self._takes(choice.moves) and self._doubt(choice) is None:
            return ChoiceLeaf(kind="choice")
        leaf = self._assessed(part, MOST_DUALITY_OF_A_CHOICE).leaf
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
    # The tolerance lets features change a little further than an answer's, which a bound has to cover.
    part = fmpq(1, 2) if changes_features(problem) else PART_OF_GAP
    room = part * exact(problem.tolerances.relative_gap) * max(fmpq(1), abs(end))
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


def _splits(part: Part, assessed: Assessed) -> list[tuple[Node, tuple[Part, Part]]]:
    """The splits to try: upon options, and upon features' changes that are uncertain or the only thing that is."""
    splits = [_option_split(part, record, option) for record, option in _divided(part, assessed.shares)]
    least, spreads = UNCERTAIN if splits else 0.0, assessed.spreads
    places = [place for place, one in spreads.items() if one.variance > least and _is_inside(part, place, one)]
    places.sort(key=lambda place: spreads[place].variance, reverse=True)
    return [*splits, *(_room_split(part, place, spreads[place]) for place in places[:CANDIDATES])]


def _is_inside(part: Part, place: Place, spread: Spread) -> bool:
    """Whether a mean divides what a part has of a set."""
    low, high = part.rooms.get(place, {}).get(spread.direction, (None, None))
    at = spread.middle
    return bool((low is None or low < at) and (high is None or at < high))


def _option_split(part: Part, record: int, option: int) -> tuple[Node, tuple[Part, Part]]:
    others = tuple(k for k in part.options[record] if k != option)
    children = part.with_options(record, (option,)), part.with_options(record, others)
    return OptionsNode(kind="options", record=record, options=(option,)), children


def _room_split(part: Part, place: Place, spread: Spread) -> tuple[Node, tuple[Part, Part]]:
    direction, at = spread.direction, spread.middle
    below, above = (part.with_room(place, direction, at, above=side) for side in (False, True))
    record, option = place
    numbers = tuple(map(approximate, direction))
    node = RoomNode(kind="room", record=record, option=option, direction=numbers, at=approximate(at))
    return node, (below, above)


def _divided(part: Part, shares: Mapping[int, npt.NDArray[np.float64]]) -> list[tuple[int, int]]:
    """Members to split upon, the most divided first, each with the option that is split off."""
    several = {record: share for record, share in shares.items() if len(share) > 1}
    known = {record: share for record, share in several.items() if np.isfinite(share).all()}
    if not known:
        return [(record, part.options[record][0]) for record in list(several)[:1]]
    rest = {record: 1 - float(share.max()) for record, share in known.items()}
    # Where no share is divided, the members with most options come first.
    order = sorted(known, key=lambda one: (max(rest[one], DIVIDED), len(known[one])), reverse=True)
    return [(record, part.options[record][int(np.argmax(known[record]))]) for record in order[:CANDIDATES]]
