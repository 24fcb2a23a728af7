"""The package's ordinary re-training, as a proposal of where an optimum is.

It is the one thing that a check takes from outside :mod:`oar_opt.proof` beside the problem and its file: a proposal
that an enclosure proves or refuses, so whether it is right is of no consequence."""

from __future__ import annotations

from oar_opt.discovery import learner_of
from oar_opt.parameters import CentroidParameters
from oar_opt.problem import Intercept, Records, RecourseProblem
from oar_opt.proof.rationals import Number, exact_row


def approximate_optimum(problem: RecourseProblem, records: Records) -> list[Number]:
    """``theta (p,)`` of a linear learner re-trained on records."""
    parameters = learner_of(problem).fit(problem, records).parameters
    assert not isinstance(parameters, CentroidParameters)
    ends = [] if problem.learner.intercept is Intercept.NONE else [parameters.b]
    return exact_row([*parameters.w, *ends])
