"""Makes the certificate of an enumeration: the best choice that is surely an answer, and a bound over all of them.

The bound is the largest value that any choice may have by its enclosure, rounded up to :data:`DIGITS` decimals, or
for goals that are minimised the least effort of those that are not proved to fail, rounded down. Nothing here is
trusted: the checker goes through everything once more."""

from __future__ import annotations

from oar_opt.errors import UnsupportedError
from oar_opt.problem import RecourseProblem
from oar_opt.proof.certificate_file import ProofCertificate
from oar_opt.proof.checker import not_checkable
from oar_opt.proof.exact_choices import exact_choices
from oar_opt.proof.exact_outcome import MINIMISED, Outcome, effort, exact_outcome
from oar_opt.proof.rationals import DECIMAL, decimal_above, decimal_below

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
    bound, best = _least_effort(problem) if problem.goal in MINIMISED else _largest_value(problem)
    if bound is not None and DECIMAL.fullmatch(bound) is None:
        raise UnsupportedError("no proof by enumeration: the bound has more digits than a certificate may state")
    return ProofCertificate.of(problem, bound, None if best is None else best.choice.moves)


def _largest_value(problem: RecourseProblem) -> tuple[str | None, Outcome | None]:
    """The bound and the best sure answer of a goal that is maximised."""
    try:
        found = [exact_outcome(problem, choice) for choice in exact_choices(problem)]
    except ArithmeticError as error:
        raise UnsupportedError(f"no proof by enumeration: {error}") from error
    possible = [outcome for outcome in found if isinstance(outcome, Outcome) and not outcome.surely_fails]
    bound = decimal_above(max(one.value.high for one in possible), DIGITS) if possible else None
    answers = [outcome for outcome in possible if outcome.surely_answers]
    return bound, max(answers, key=lambda one: one.value.low, default=None)


def _least_effort(problem: RecourseProblem) -> tuple[str | None, Outcome | None]:
    """The bound and the first sure answer of a goal that is minimised, least effort first.

    A choice without an enclosure may be an answer, and bounds the effort like one; beyond the first sure answer no
    choice matters.
    """
    bound: str | None = None
    for choice in sorted(exact_choices(problem), key=lambda one: effort(problem, one)):
        try:
            outcome = exact_outcome(problem, choice)
        except ArithmeticError:
            bound = bound or decimal_below(effort(problem, choice), DIGITS)
            continue
        if isinstance(outcome, str) or outcome.surely_fails:
            continue
        bound = bound or decimal_below(effort(problem, choice), DIGITS)
        if outcome.surely_answers:
            return bound, outcome
    return bound, None
