"""Optimality conditions of the learner under feature changes: one nonconvex program with bilinear rows, for SCIP.

Statement
---------
Letters of :mod:`oar_opt.risk`. Member ``i`` picks one finite option ``k`` (``z_ik``, staying is one) or one change set
``a`` (``z_ia``, :mod:`oar_opt.changes`): binaries whose sum is 1. A set used turns ``xhat`` into ``xhat + E'delta``,
where ``E (d, p)`` holds the features' rows of the basis. Write ``delta_j = h_j t_j`` with ``h_j`` the most that a
feature can move, so ``|t_j| <= z``. With ``g`` the pull of an option or a set if it is used and 0 otherwise, the
learner's optimality is

    lam R (theta - theta0) + sum_fixed g_i xhat_i + sum_ik g_ik xhat_ik + sum_ia (g_ia xhat_i + sum_j u_iaj h_j E_j) = 0
    v_j = h_j E_j'theta,      u_iaj = g_ia t_iaj,      f_ia = theta'xhat_i + sum_j v_j t_iaj
    (f, g) on the graph of a dl(y, .)  for every fixed record, and for every option and set that is used

*Proof.* For any move the learner's objective is convex, so ``theta`` is optimal if and only if 0 is in its
subdifferential, which is the first row with pulls on their graphs. A moved record enters it with ``g (xhat +
E'delta)``, and its decision value is ``theta'xhat + (E theta)'delta``: these are the two products, and no triple one is
needed.

- *Graphs.* A polyline is the union of segments of ``kkt_big_m``, cut to the proved interval of ``f``; the logistic
  curve is ``log p - log(1 - p) + y f = 0`` with ``g = -a y p`` (:mod:`oar_opt.bilinear_system`).
- *Changes.* The box is ``lower z <= delta <= upper z``; rows, one-hot groups and balls are multiplied by ``z`` too. A
  feature that moves in up to 12 steps has a binary for each value, and its two products are linear, exactly, by copies
  of ``g`` and ``v_j``; with more steps it is a whole number (:mod:`oar_opt.change_program`).
- *Costs* are variables above the change's norm, so costs of changes and of options add up.
- *Redundant.* Where the ball has radius ``r``, ``|| h u / scale || <= r |g|``; ``|g|`` is at most its chord over the
  proved interval of ``g``, which makes it a second-order cone (or linear).

Goals, budgets, guards and the rows for a free intercept are those of :mod:`oar_opt.menu_program` and
:mod:`oar_opt.risk_program`; required margins are stated half the feasibility tolerance above what re-training
must reach, since a continuum of moves ends exactly on such rows; so the bound is one for margins that high.

Hypotheses
----------
Some member has room to move features; menus, labels and withholding may be mixed in. Squared l2 penalty, and a loss
whose graph is a polyline (ridge, svm, squared hinge, huber, epsilon-insensitive) or the logistic curve; the l1
learners' penalty has a pull that is no linear function. Update ``retrain`` or ``proximal``. No ``max_loss_increase``.
Finite proved intervals of all decision values (:mod:`oar_opt.bounds` ranges over change sets), and for the logistic
curve none beyond 16. A solver with quadratic rows, and logarithms for the logistic loss: SCIP.

Exactness
---------
Exact, by the proof above. Answers are made to obey budgets to the last digit, and re-trained. Where a free intercept is
not unique, the program may take any optimal one: it is exact for the position ``optimistic`` and its bound is valid for
every position. Bounds are the solver's word within its tolerance of 1e-8 on every row. A pool of several best answers
means nothing in a continuum and is refused.

Size
----
With ``K`` options, ``A`` sets, ``D`` the features with room summed over sets, and ``m`` fixed records whose graph keeps
several segments: ``K + A`` binaries and up to three for each segmented graph; ``2 D`` bilinear terms; two logarithms
for every record under the logistic loss. What decides is ``D``: with one or two members and two or three features it
takes a second or a few; the sum of all bilinear errors is what a branch and bound has to close.

Reference
---------
G. P. McCormick, "Computability of global solutions to factorable nonconvex programs", 1976; B. Biggio, B. Nelson,
P. Laskov, "Poisoning attacks against support vector machines", 2012 (the same lower level, by local search). The
form with two products for each feature, its gates, and the proofs of the bounds are derived here.
"""

from __future__ import annotations

from collections.abc import Sequence

from oar_opt.bilinear_system import BilinearSystem, too_steep
from oar_opt.change_program import ChangeModel, without_room
from oar_opt.contracts import Program, WorkedExample, line_with_room
from oar_opt.problem import (
    RecourseProblem,
)
from oar_opt.result import Request
from oar_opt.risk import PenaltyNorm, RegularizedRisk
from oar_opt.risk_program import RiskFormulation, RiskModel
from oar_opt.solver_features import SolverFeature


class KktBilinear(RiskFormulation):
    """See the module's docstring."""

    name = "kkt_bilinear"
    rank = 30
    needs = frozenset({SolverFeature.QUADRATIC})
    excludes = False

    def refuses(self, problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
        if risk.norm is PenaltyNorm.L1:
            return f"the penalty of learner '{problem.learner.kind}' is an l1 norm, whose pull is not linear"
        return None

    def wrong_actions(self, problem: RecourseProblem) -> str | None:
        return without_room(problem)

    def model(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> ChangeModel:
        return ChangeModel(problem, risk, request)

    def unproved(self, model: RiskModel) -> str | None:
        assert isinstance(model, ChangeModel)
        return super().unproved(model) or too_steep(model)

    def add_learner(self, model: RiskModel) -> None:
        assert isinstance(model, ChangeModel)
        system = BilinearSystem(model)
        system.write()
        model.starters.append(system.start)

    def program(self, model: RiskModel) -> Program:
        assert isinstance(model, ChangeModel)
        is_curved = model.risk.loss.pieces(1.0) is None
        return model.change_program(self.needs | {SolverFeature.EXPONENTIAL} if is_curved else self.needs)

    def examples(self) -> Sequence[WorkedExample]:
        return (line_with_room(),)
