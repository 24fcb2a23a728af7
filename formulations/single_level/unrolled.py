"""Gradient steps under menus, written out step by step: a mixed-integer linear program with proved big-Ms.

Statement
---------
The update makes ``T`` steps from the given ``theta_0`` (:mod:`formulations.updates.gradient`). Members ``i in C``
choose one option ``k`` each: ``z_ik`` binary, ``sum_k z_ik = 1``, option 0 is to stay; the choice holds in all steps.
With ``f_ti = xhat_i'theta_t``, the pull ``g_ti = s_i l'(y_i, f_ti)`` of a record of nobody, and ``g_tik`` that of
option ``k`` if it is chosen and 0 otherwise, a step is linear in pulls and parameters,

    theta_(t+1) = K theta_t + v_t,      S_t v_t = -rate (sum_(i in B_t, not in C) g_ti xhat_i + sum_ik g_tik xhat_ik)

with ``K`` the diagonal of what a step keeps, ``1 - rate l2``, or 1 for a free intercept. ``S_t`` is 1 where steps
follow the sum. For the mean it is the weight that the batch has after the moves, ``S_t = Sbar_t - sum_ik (sbar_i -
s_ik) z_ik`` over the members that arrive, with ``sbar_i`` the weight of now and ``Sbar_t`` that of the batch, so

    Sbar_t v_t = -rate (...) + sum_i sum_w (sbar_i - w) p_tiw,        p_tiw = v_t sum_(k: s_ik = w) z_ik,

with products for weights ``w`` other than ``sbar_i`` only: where ``[l, u]`` is a proved interval of a coordinate of
``v_t``, ``l z <= p <= u z`` for each and ``l (1 - sum z) <= v - sum p <= u (1 - sum z)`` for all of a member. A batch
that can lose all weight has the row ``sum z >= 1`` over the options with weight. (If the batch has none now,
``sbar_i`` are the members' largest weights.)

The pulls, with ``[L, U]`` the proved interval of ``f`` if the option is chosen and ``[L', U']`` that of
``xhat_ik'theta_t`` whatever is:

- *Squared loss.* Records of nobody enter through their Gram matrix. ``g_tik = 2 s (h - y z)`` where ``h = z f``:
  ``L z <= h <= U z`` and ``L' (1 - z) <= f - h <= U' (1 - z)``. Options of a member that differ in ``y`` alone share
  one ``h``, and where these are all its options, ``h = f``.
- *Hinge.* ``g = -s y`` where ``y f < 1`` all over the interval, 0 where ``y f >= 1``; otherwise ``g = -s y e`` with a
  binary ``e <= z`` for this option and step, and with ``[l, u]`` and ``[l', u']`` the intervals of ``y f``,

      l e + (z - e) + l' (1 - z) <= y f <= e + u (z - e) + u' (1 - z).

  A record of nobody has the same rows with ``z = 1``.
- *First step.* ``theta_0`` is given, so all pulls are constants times ``z``, for the logistic loss too; on which side
  of a kink ``y f`` lies is decided in rational arithmetic, as in the rule.

The intervals follow a direction back, step by step, to ``theta_0``; the derivation is that of
:mod:`oar_opt.unrolled_ranges`. After the first step they are the exact extremes over all choices within the cap on
members where no weight changes. Budgets, excluded moves, guards and goals are those of :mod:`oar_opt.menu_program`.

Hypotheses
----------
Update ``gradient``, with the squared loss or the hinge, or the logistic loss and ``T = 1``; any intercept; batches may
overlap. Menus, labels, withholding and joining only (nobody has room to move features). No ``max_loss_increase``.
Finite intervals, at most :data:`oar_opt.unrolled_program.WIDEST` times as wide as the targets are large, and the weight
of a batch within that factor of ``Sbar_t``: beyond, a solver's integrality tolerance would hide a margin. Long steps
make iterates diverge, and the intervals with them.

Exactness
---------
Exact but for ties at the hinge's kink. For fixed binaries the rows leave ``h = z f``, ``p = v z`` and the one pull of
the rule, so ``theta_T`` is the rule's. Only where ``y f = 1`` holds exactly after the first step may the program
choose between both pulls while the rule takes 0: there it is a relaxation. Its bound stays valid for every move; the
answer is what the replay gives, and where that falls short of the bound the gap says so. (There replay in floating
point does not know the pull either, and such a choice is no answer.)

*Many steps.* For the squared loss with the same batch in every step, and nobody's move changed in between, let ``H = l2
D + 2/S sum s_i xhat_i xhat_i'``, with ``D`` the diagonal of what decays, be positive definite with least and largest
eigenvalue ``m`` and ``L``, and ``theta*`` the zero of the gradient. The gradient at ``theta`` is ``H (theta -
theta*)``, so ``theta_(t+1) - theta* = (I - rate H) (theta_t - theta*)`` and

    || theta_T - theta* || <= q^T || theta_0 - theta* ||,      q = max(|1 - rate m|, |1 - rate L|).

For ``rate < 2 / L`` the program tends to that of re-training: with the sum and ``l2 = 2 alpha``, ``theta*`` is the
optimum of ``ridge`` with this ``alpha``, and every margin is off by at most ``||xhat_q|| q^T ||theta_0 - theta*||``.

Size
----
With ``K`` options in all and ``m_t`` records of nobody whose hinge may turn in step ``t``: ``K`` binaries, ``p T``
parameters, and for every step but the first up to ``K`` products and 4 ``K`` rows (squared) or ``K + m_t`` binaries and
``3 (K + m_t)`` rows (hinge). A mean whose weight changes adds, in each step, ``p`` products and 4 ``p`` rows for every
member and every weight other than its own. Intervals widen with every step, and the effort with them.

Reference
---------
H. Robbins, S. Monro, "A Stochastic Approximation Method", 1951 (the rule); G. P. McCormick, "Computability of global
solutions to factorable nonconvex programs", 1976 (products with binaries); A. Charnes, W. Cooper, "Programming with
Linear Fractional Functionals", 1962 (weights multiplied through). Unrolled steps as a lower level: Y. Bengio,
"Gradient-Based Optimization of Hyperparameters", 2000. The one-product form and the intervals are derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from oar_opt.contracts import Formulation, PyomoProgram, WorkedExample, line_example
from oar_opt.problem import (
    Collective,
    GoalKind,
    LearnerSpec,
    Member,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.result import Request
from oar_opt.unrolled_program import UnrolledModel, no_gradient
from oar_opt.update_settings import GradientSettings, StepLoss, gradient_update


class Unrolled(Formulation):
    """See the module's docstring."""

    name = "unrolled"
    rank = 40
    exportable = True

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = no_gradient(problem)
        if reason:
            return reason
        if not problem.is_menu_problem:
            return "members may move features, and this formulation knows finite options only"
        settings = GradientSettings.of(problem)
        if settings.loss is StepLoss.LOGISTIC and settings.T > 1:
            return "after the first step the logistic loss is a curve, and this program is linear"
        unproved = UnrolledModel(problem, Request()).unproved()
        return f"no finite bound is proved for {unproved}" if unproved else None

    def build(self, problem: RecourseProblem, request: Request | None = None) -> PyomoProgram:
        return UnrolledModel(problem, request or Request()).program(self.needs)

    def examples(self) -> Sequence[WorkedExample]:
        """One feature, two records, from 0."""
        return _examples()


# -- worked examples ---


def _examples() -> tuple[WorkedExample, ...]:
    spec = LearnerSpec("ridge", alpha=1.0)
    two_steps = gradient_update([0.0], rate=0.25, T=2, reduction="sum")
    hinges = gradient_update([0.0], rate=0.5, T=2, loss="hinge")
    mean = gradient_update([0.0], rate=0.25, T=2)
    return (
        WorkedExample(
            replace(line_example(spec), update=two_steps),
            0.0,
            "(2, +) leads with 1/2 after one step and is at -1/4 after two, where (1, +) cancels (1, -) in both",
        ),
        WorkedExample(
            replace(line_example(spec), update=hinges),
            0.5,
            "under (2, +) both are below their kinks in both steps, each of 1/2 (-1 + 2) / 2",
        ),
        WorkedExample(
            replace(_against(spec), update=mean),
            0.75,
            "if the member withholds, 2 (f - 1) of one record alone: 1/2, then half of the way that is left",
        ),
        WorkedExample(
            replace(_against(spec, GoalKind.MIN_COST, 0.8), update=mean),
            None,
            "withholding leads to 3/4, staying to 0",
        ),
    )


def _against(spec: LearnerSpec, goal: GoalKind = GoalKind.MAX_MARGIN, required: float | None = None) -> RecourseProblem:
    """A fixed record (1, +) and a member with (1, -) that may withhold; the query at 1 wants +."""
    return RecourseProblem(
        name="one-against-one",
        records=Records(np.array([[1.0], [1.0]]), np.array([1.0, -1.0]), np.ones(2)),
        learner=spec,
        classes=("-", "+"),
        collective=Collective((Member(1, (WithholdAction(),)),)),
        queries=(Query("q", (1.0,), 1.0, required=required),),
        goal=goal,
    )
