"""Makes a certificate by what promises to be shortest: an enumeration of few choices, a tree of many."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oar_opt.errors import UnsupportedError
from oar_opt.problem import Move, RecourseProblem
from oar_opt.proof.certificate_file import ProofCertificate
from oar_opt.proof.checker import not_checkable
from oar_opt.proof.exact_choices import changes_features, exact_choices, member_moves
from oar_opt.proof.leaf_bounds import not_bounded
from oar_opt.proof_search.enumeration import prove_by_enumeration
from oar_opt.proof_search.tree_search import TreeSearch

FEW = 64
"""Choices that are rather gone through one by one."""


def make_certificate(
    problem: RecourseProblem, known: Sequence[Move] | None = None, seconds: float | None = None
) -> ProofCertificate:
    """The certificate of a problem that was read from a file.

    Parameters
    ----------
    known : a change that may be the best; a better one is taken where one is met.
    seconds : for the search of a tree; None is no limit.

    Raises
    ------
    UnsupportedError : the instance is not covered, the time is over, or something stays undecided.
    """
    reason = not_checkable(problem)
    if reason:
        raise UnsupportedError(reason)
    if not_bounded(problem) or _has_few_choices(problem):
        return prove_by_enumeration(problem)
    return prove_by_tree(problem, known, math.inf if seconds is None else seconds)


def prove_by_tree(problem: RecourseProblem, known: Sequence[Move] | None, seconds: float) -> ProofCertificate:
    """The certificate of a tree; see :func:`make_certificate`."""
    reason = not_checkable(problem) or not_bounded(problem)
    if reason:
        raise UnsupportedError(reason)
    search = TreeSearch(problem, known, seconds)
    nodes = search.nodes()
    return ProofCertificate.of(problem, search.bound, search.best.choice.moves if search.best else None, nodes)


def _has_few_choices(problem: RecourseProblem) -> bool:
    if changes_features(problem):
        return False
    options = math.prod(1 + len(member_moves(problem, member)) for member in problem.collective.members)
    return options <= FEW or (options <= FEW**2 and len(exact_choices(problem)) <= FEW)
