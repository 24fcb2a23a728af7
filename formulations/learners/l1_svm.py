"""Sparse support vector machine: hinge loss and an l1 norm.

Minimises ``||w||_1 + C sum_i s_i max(0, 1 - y_i f_i)``: ``lam = 1``, ``a_i = C s_i``, the penalty in the l1 norm (of
``w - w0`` under a prior, with a penalised intercept's ``|b - b0|``). The graph of the pull is the support vector
machine's. The learner is a linear program: its optimum is a vertex, most weights are exactly 0 (or their prior), and
often a whole face is optimal, of which the instance's ``position`` says which point the learner takes.

scikit-learn has no such learner (its ``LinearSVC`` with an l1 norm squares the hinge), so re-training is HiGHS,
finished in exact arithmetic by :mod:`oar_opt.lp_training`, which also describes all optima.

Reference: J. Zhu, S. Rosset, T. Hastie, R. Tibshirani, "1-norm Support Vector Machines", 2003.
"""

from __future__ import annotations

from dataclasses import replace

from formulations.learners.svm import HingeLoss
from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.lp_training import train_linear_program
from oar_opt.parameters import Parameters
from oar_opt.problem import LearnerSpec, Position, Records, RecourseProblem
from oar_opt.risk import PenaltyNorm, RegularizedRisk
from oar_opt.training import risk_loss, without_class


class SparseSupportVectorMachine(Learner):
    """Re-trained by HiGHS, in exact arithmetic; see the module's docstring."""

    kind = "l1_svm"

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk:
        assert spec.C is not None
        return RegularizedRisk.of(spec, d, HingeLoss(), lam=1.0, factor=spec.C, norm=PenaltyNorm.L1)

    def examples(self) -> tuple[WorkedExample, ...]:
        unique, tied = (line_example(LearnerSpec("l1_svm", C=C)) for C in (2.0, 1.0))
        return (
            WorkedExample(
                unique,
                0.5,
                "at (2, +), |w| + 2 (1 + w) + 2 (1 - 2 w) falls up to 1/2, then rises; staying gives -1, reporting + 0",
            ),
            WorkedExample(
                replace(tied, position=Position.OPTIMISTIC),
                0.5,
                "at (2, +), |w| + (1 + w) + (1 - 2 w) is 2 for all w from 0 to 1/2",
            ),
            WorkedExample(
                replace(tied, position=Position.PESSIMISTIC),
                0.0,
                "of the optima from 0 to 1/2 at (2, +) the worst is 0, and reporting + gives just 0 as well",
            ),
        )

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        return without_class(problem, records)

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        return train_linear_program(self.risk(problem.learner, problem.d), records)

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        return risk_loss(self.risk(problem.learner, problem.d), records, parameters)
