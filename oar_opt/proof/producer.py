"""Makes the certificate of an enumeration: the best choice that is surely an answer, and a bound over all of them.

The bound is the largest value that any choice may have by its enclosure, rounded up to :data:`DIGITS` decimals, or
for goals that are minimised the least effort of those that are not proved to fail, rounded down. Nothing here is
trusted: the checker goes through everything once more."""

from __future__ import annotations

from oar_opt.errors import UnsupportedError
from oar_opt.problem import Move, RecourseProblem
from oar_opt.proof.certificate_file import CertifiedMove, ProofCertificate
from oar_opt.proof.checker import not_checkable
from oar_opt.proof.exact_choices import exact_choices
from oar_opt.proof.exact_outcome import MINIMISED, Outcome, exact_outcome
from oar_opt.proof.rationals import decimal_above, decimal_below

DIGITS = 9
"""Decimals of a bound after the point."""


def prove_by_enumeration(problem: RecourseProblem) -> ProofCertificate:
    """The certificate of a problem that was read from a file.

    Raises
    ------
    UnsupportedError : the instance is not covered, or an enclosure was not found.
    """
    reason = not_checkable(problem)
    if reason:
        raise UnsupportedError(reason)
    possible = [outcome for outcome in _outcomes(problem) if not outcome.surely_fails]
    answers = [outcome for outcome in possible if outcome.surely_answers]
    if problem.goal in MINIMISED:
        bound = decimal_below(min(one.value.low for one in possible), DIGITS) if possible else None
        best = min(answers, key=lambda one: one.value.high, default=None)
    else:
        bound = decimal_above(max(one.value.high for one in possible), DIGITS) if possible else None
        best = max(answers, key=lambda one: one.value.low, default=None)
    moves = None if best is None else tuple(_written(problem, move) for move in best.choice.moves)
    return ProofCertificate(
        format="oar-certificate",
        version=1,
        kind="enumeration",
        instance=problem.name,
        instance_sha256=problem.sha256,
        goal=problem.goal,
        bound=bound,
        moves=moves,
    )


def _outcomes(problem: RecourseProblem) -> list[Outcome]:
    """Of all choices that leave the learner defined."""
    try:
        found = [exact_outcome(problem, choice) for choice in exact_choices(problem)]
    except ArithmeticError as error:
        raise UnsupportedError(f"no proof by enumeration: {error}") from error
    return [outcome for outcome in found if isinstance(outcome, Outcome)]


def _written(problem: RecourseProblem, move: Move) -> CertifiedMove:
    return CertifiedMove(record=move.record, x=move.x, y=problem.label_of(move.y), weight=move.s, cost=move.cost)
