"""One gradient step, exactly: margins are sums over the members, so prices join what each member solves by itself.

Statement
---------
With ``theta_0`` given, record ``i`` of the batch pushes the parameters by ``a_i xhat_i / S`` with ``a_i = -rate s_i
l'(y_i, xhat_i'theta_0)``, so every subject's margin is

    m_q = start_q + 1/S (fixed_q + sum_(i in C) a_i v_q'xhat_i),     v_q = t_q xhat_q

(:mod:`oar_opt.one_step`). The bound is the Lagrangian dual over budgets and required margins
(:mod:`oar_opt.step_dual`). A member's own problem at given prices, with ``p`` the priced sum of the ``v_q``, is

    max over its finite options of  a p'xhat - kappa cost - mu,
    max over its changes delta of   a(u) (p'xhat + p'delta) - kappa c(delta) - mu,     u = xhat'theta_0 + theta_0'delta,

the latter in two linear forms of ``delta`` and its cost. It is solved for squared, hinge and logistic loss, all norms
of radius and cost, bounds and directions by an interval search whose bound is proved (:mod:`oar_opt.step_response`).
A choice is found by a mixed-integer program over the members that the prices leave undecided
(:mod:`oar_opt.step_search`).

Hypotheses
----------
The update ``gradient`` with one step; squared, hinge or logistic loss, mean or sum. Menus, labels, withholding; feature
changes of features that move continuously, or in so few steps that they are menus; no linear rows or one-hot groups
among features that move; a priced linf cost only with a linf radius; every record within its own bounds. Any goal,
several queries, guards, all budgets. A mean whose batch could lose all its weight is refused, as is a limit on the
training loss.

Exactness
---------
Finite options: exact to the gap asked for. If only the number of acting members is limited, the largest gains win, and
the prices find them. Options that the dual proves to be in no better choice are left out, and the program over the
others is exact (its bound is HiGHS's word; where the dual closes the gap by itself, no solver is trusted).
Feature changes: without budgets that join the members, and for one query, exact to the gap asked for. Otherwise the
bound is the dual's, whose distance from the optimum vanishes as the members grow in number (by Shapley and Folkman at
most as many members as there are prices gain by mixing their choices); for few members a gap may be left, which is
reported, with the end ``node_limit``. A hinge's maximum at its kink is only approached, and to within 1e-6 of the gain.

Size
----
Linear in the members: each evaluation of the dual costs ``O(k d)`` and a few intervals for each member that changes
features; about twenty evaluations, of a sample where members are many. The program has the options of at most some
thousand members.

Reference
---------
H. Everett, "Generalized Lagrange Multiplier Method for Solving Problems of Optimum Allocation of Resources", 1963;
J. P. Aubin, I. Ekeland, "Estimates of the Duality Gap in Nonconvex Optimization", 1976.
"""

from __future__ import annotations

from dataclasses import replace

from oar_opt.contracts import DirectProgram, Formulation, WorkedExample, line_example
from oar_opt.discovery import not_replayed
from oar_opt.one_step import refusal
from oar_opt.problem import (
    Budget,
    Collective,
    FeatureAction,
    GoalKind,
    LearnerSpec,
    Member,
    Norm,
    RecourseProblem,
    UpdateKind,
)
from oar_opt.result import Request
from oar_opt.update_settings import GradientSettings, gradient_update


class GradientStep(Formulation):
    """See the module's docstring."""

    name = "gradient_step"
    rank = 10
    excludes = False
    starts = False

    def accepts(self, problem: RecourseProblem) -> str | None:
        if problem.update.kind is not UpdateKind.GRADIENT:
            return f"the update is '{problem.update.kind}', no gradient step"
        steps = GradientSettings.of(problem).T
        if steps > 1:
            return f"the update takes {steps} steps, and margins are sums over the members for one"
        return not_replayed(problem) or refusal(problem)

    def build(self, problem: RecourseProblem, request: Request | None = None) -> DirectProgram:
        from oar_opt.step_search import solve_step

        return DirectProgram(lambda request: solve_step(problem, request))

    def examples(self) -> tuple[WorkedExample, ...]:
        base = replace(
            line_example(LearnerSpec("ridge", alpha=1.0)),
            update=gradient_update([1.0], rate=0.5, reduction="sum", loss="squared"),
        )
        moving = (Member(1, (FeatureAction(Norm.L2, 1.0),)),)
        changed = replace(base, collective=Collective(moving))
        cheap = replace(
            changed,
            goal=GoalKind.MIN_COST,
            queries=(replace(base.queries[0], required=-0.5 + 1.0),),
            collective=Collective(moving, budget=Budget(total=1.0)),
        )
        return (
            WorkedExample(changed, -1.0, "w = 1 - 2 - (x + 1) x is largest at x = 0, for x in [0, 2]"),
            WorkedExample(cheap, None, "w is at most -1"),
        )
