"""The package's ordinary re-training, as a proposal of where an optimum is.

It is the one thing that a check takes from outside :mod:`oar_opt.proof` beside the problem and its file: a proposal
that an enclosure proves or refuses, so whether it is right is of no consequence. It is imported only where a proposal
is asked for, since learners know more of the package than a proof may. One that fails, for whatever reason, is none:
the choice at hand is then undecided."""

from __future__ import annotations

import math

from oar_opt.parameters import CentroidParameters
from oar_opt.problem import Intercept, Records, RecourseProblem
from oar_opt.proof.rationals import Number, exact_row


def approximate_optimum(problem: RecourseProblem, records: Records) -> list[Number]:
    """``theta (p,)`` of a linear learner re-trained on records.

    Raises
    ------
    ArithmeticError : re-training failed, or gave no finite numbers.
    """
    from oar_opt.discovery import learner_of

    try:
        parameters = learner_of(problem).fit(problem, records).parameters
    except Exception as error:
        # Third parties train, on numbers of any size: what they raise has no common type.
        raise ArithmeticError(f"re-training, which proposes an optimum, failed ({error})") from error
    assert not isinstance(parameters, CentroidParameters)
    theta = [*parameters.w, *([] if problem.learner.intercept is Intercept.NONE else [parameters.b])]
    if not all(map(math.isfinite, theta)):
        raise ArithmeticError("re-training, which proposes an optimum, gave no finite numbers")
    return exact_row(theta)
