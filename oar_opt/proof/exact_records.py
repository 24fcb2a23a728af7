"""The records that moves leave behind, in rationals, and the linear learners' risk over them.

Letters of the module ``risk``: the learner minimises

    J(theta) = lam/2 (theta - theta0)' R (theta - theta0) + sum_i a_i l(y_i, f_i),     f_i = xhat_i' theta,

``R`` the identity, but 0 at a free intercept, ``xhat`` the features with a 1 appended where there is an intercept.
``lam = 2 alpha`` and ``a_i = s_i`` for ridge, ``lam = 1`` and ``a_i = C s_i`` for the others: the objectives as the
problem's page states them. It is stated here once more, since a proof takes nothing from what it proves.

Records with the same features and label are one record with the sum of their weights, and records of weight 0 none:
``J`` stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from flint import fmpq, fmpq_mat

from oar_opt.problem import Intercept, LearnerSpec, Records, RecourseProblem
from oar_opt.proof.rationals import Number, exact, exact_row


def penalty_and_factor(spec: LearnerSpec) -> tuple[Number, Number]:
    """``lam``, and what a record's weight is multiplied by to give ``a_i``."""
    return (fmpq(2) * exact(spec.alpha), fmpq(1)) if spec.alpha is not None else (fmpq(1), exact(spec.C or 0))


def with_one(spec: LearnerSpec, x: Iterable[float]) -> list[Number]:
    """``xhat (p,)``: the features, and a 1 where there is an intercept."""
    return exact_row(x) + ([] if spec.intercept is Intercept.NONE else [fmpq(1)])


def prior_point(problem: RecourseProblem) -> list[Number]:
    """``theta0 (p,)``; 0 where there is no prior, and at a free intercept."""
    spec = problem.learner
    theta0 = exact_row(spec.prior.w0 if spec.prior else (0.0,) * problem.d)
    if spec.intercept is not Intercept.NONE:
        has_b0 = spec.prior is not None and spec.intercept is Intercept.PENALIZED
        theta0.append(exact(spec.prior.b0) if spec.prior is not None and has_b0 else fmpq(0))
    return theta0


@dataclass(frozen=True, eq=False)
class ExactRisk:
    """``xhat (m, p)``, ``y (m,)``, ``a (m,)``, ``theta0 (p,)``; every ``a_i`` is above 0."""

    xhat: list[list[Number]]
    y: list[Number]
    a: list[Number]
    lam: Number
    theta0: list[Number]
    intercept: Intercept

    @classmethod
    def of(cls, problem: RecourseProblem, records: Records) -> ExactRisk:
        """The risk over records, for a linear learner with the squared l2 norm."""
        lam, factor = penalty_and_factor(problem.learner)
        weights: dict[tuple[tuple[float, ...], float], Number] = {}
        for x, y, s in zip(records.X.tolist(), records.y.tolist(), records.s.tolist(), strict=True):
            if s > 0:
                weights[tuple(x), y] = weights.get((tuple(x), y), fmpq(0)) + factor * exact(s)
        return cls(
            xhat=[with_one(problem.learner, x) for x, _ in weights],
            y=[exact(y) for _, y in weights],
            a=list(weights.values()),
            lam=lam,
            theta0=prior_point(problem),
            intercept=problem.learner.intercept,
        )

    @property
    def p(self) -> int:
        return len(self.theta0)

    @property
    def free(self) -> bool:
        return self.intercept is Intercept.FREE

    @cached_property
    def penalty(self) -> list[Number]:
        """``lam`` times the diagonal of ``R``, ``(p,)``."""
        return [fmpq(0) if self.free and j == self.p - 1 else self.lam for j in range(self.p)]

    def values(self, theta: Sequence[Number]) -> list[Number]:
        """All ``f_i``, ``(m,)``."""
        if not self.xhat:
            return []
        return list((self._matrix * fmpq_mat(self.p, 1, list(theta))).entries())

    @cached_property
    def _matrix(self) -> fmpq_mat:
        # Its products bring everything to one denominator first, which is far faster than sums of fractions.
        return fmpq_mat(self.xhat)
