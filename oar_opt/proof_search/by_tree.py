"""Makes the certificate of a tree from a known change and what it reaches.

The bound is what the change surely reaches and a part of the instance's relative gap more (or less, for goals that are
minimised); where the search finds a better choice it is made again from that one."""

from __future__ import annotations

import time
from collections.abc import Sequence

from flint import fmpq

from oar_opt.errors import UnsupportedError
from oar_opt.problem import GoalKind, Move, RecourseProblem
from oar_opt.proof.certificate_file import CertifiedMove, ProofCertificate
from oar_opt.proof.checker import choice_doubt, not_checkable
from oar_opt.proof.exact_choices import Choice
from oar_opt.proof.exact_outcome import MINIMISED, Outcome, exact_outcome
from oar_opt.proof.parts import admitted
from oar_opt.proof.rationals import decimal_above, decimal_below, exact, read_decimal
from oar_opt.proof.tree import not_dual
from oar_opt.proof_search.tree_search import Better, TreeSearch

PART_OF_GAP = fmpq(1, 2)
DIGITS = 9
TRIES = 20


def prove_by_tree(problem: RecourseProblem, known: Sequence[Move] | None, seconds: float) -> ProofCertificate:
    """The certificate of a problem that was read from a file, from a ``known`` change that may be the best (None: there
    is said to be none).

    Raises
    ------
    UnsupportedError : the instance is not covered, the time is over, or something stays undecided.
    """
    reason = not_checkable(problem) or not_dual(problem)
    if reason:
        raise UnsupportedError(reason)
    end = time.monotonic() + seconds
    best = None if known is None else _answer(problem, admitted(problem, tuple(known)))
    for _ in range(TRIES):
        text = None if best is None else _bound(problem, best)
        bound = None if text is None else read_decimal(text)
        search = TreeSearch(
            problem, bound, lambda choice, bound=bound: choice_doubt(problem, bound, choice), end - time.monotonic()
        )
        try:
            nodes = search.nodes()
        except Better as found:
            better = _answer(problem, found.choice)
            if better is None:
                raise UnsupportedError(f"no proof by a tree: {found.doubt}") from None
            best = better
            continue
        return ProofCertificate(
            format="oar-certificate",
            version=1,
            kind="tree",
            instance=problem.name,
            instance_sha256=problem.sha256,
            goal=problem.goal,
            bound=text,
            moves=None if best is None else tuple(_written(problem, move) for move in best.choice.moves),
            nodes=tuple(nodes),
        )
    raise UnsupportedError("no proof by a tree: better choices were found again and again")


def _answer(problem: RecourseProblem, choice: Choice | None) -> Outcome | None:
    """The outcome of a choice that surely is an answer, or None."""
    if choice is None:
        return None
    try:
        outcome = exact_outcome(problem, choice)
    except ArithmeticError:
        return None
    return outcome if isinstance(outcome, Outcome) and outcome.surely_answers else None


def _bound(problem: RecourseProblem, best: Outcome) -> str:
    value = best.value
    if problem.goal in (GoalKind.MAX_HELPED, GoalKind.MIN_MEMBERS):
        return (
            decimal_below(value.low, DIGITS)
            if problem.goal is GoalKind.MAX_HELPED
            else decimal_above(value.high, DIGITS)
        )
    room = PART_OF_GAP * exact(problem.tolerances.relative_gap)
    if problem.goal in MINIMISED:
        return decimal_below(value.low - room * max(fmpq(1), abs(value.low)), DIGITS)
    return decimal_above(value.high + room * max(fmpq(1), abs(value.high)), DIGITS)


def _written(problem: RecourseProblem, move: Move) -> CertifiedMove:
    return CertifiedMove(record=move.record, x=move.x, y=problem.label_of(move.y), weight=move.s, cost=move.cost)
