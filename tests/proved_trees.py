"""What the tests of several kinds of leaves ask of a whole certificate."""

from __future__ import annotations

import pytest
from flint import fmpq

from oar_opt.problem import GoalKind
from oar_opt.proof.checker import check
from oar_opt.proof.rationals import decimal_below, read_decimal
from oar_opt.proof_search.enumeration import prove_by_enumeration
from oar_opt.proof_search.producer import prove_by_tree


def leaves_of_a_proved_tree(problem, kind):
    """How many leaves of a kind the tree of a small problem has, once it agrees with the enumeration and no better
    claim is accepted with it."""
    certificate = prove_by_tree(problem, None, 60.0)
    verdict = check(certificate, problem)
    assert verdict.proved, verdict.sentence
    leaves = sum(isinstance(node, kind) for node in certificate.nodes)
    true = prove_by_enumeration(problem)
    assert (true.bound is None) == (certificate.bound is None)
    if true.bound is None:
        return leaves
    assert float(certificate.bound) == pytest.approx(float(true.bound), rel=1e-4, abs=1e-4)
    step = fmpq(1) if problem.goal in (GoalKind.MIN_MEMBERS, GoalKind.MAX_HELPED) else fmpq(2, 10**4)
    step *= max(fmpq(1), abs(read_decimal(true.bound)))
    better = read_decimal(true.bound) + (-step if problem.goal.maximises else step)
    for claim in ({"bound": decimal_below(better)}, {"bound": None, "moves": None}):
        assert not check(certificate.model_copy(update=claim), problem).proved
    return leaves
