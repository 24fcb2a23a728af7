"""Nearest centroid under menus: one product per option and the squares of the centroids' shifts.

Statement
---------
Members ``i in C`` choose one option ``k`` each: ``z_ik`` binary, ``sum_k z_ik = 1``, option 0 is to stay. Option ``k``
puts the weight ``s_ik`` at ``x_ik`` into class ``y_ik``. For a class ``c`` that members can change let ``Sbar_c > 0``
and ``mubar_c`` be its weight and centroid before anyone acts, ``S_c0`` the weight of its records of no member,
``F_c = sum s_i (x_i - mubar_c)`` over these records, and ``O_c`` the options of class ``c`` with positive weight. With
the weight ``S_c(z) = S_c0 + sum_(ik in O_c) s_ik z_ik``, the centroid's shift ``h_c = mu_c - mubar_c`` is a ratio,

    S_c(z) h_c = F_c + sum_(ik in O_c) s_ik (x_ik - mubar_c) z_ik,

and it becomes linear in ``omega_c = Sbar_c / S_c(z)`` and its products ``v_ik = z_ik omega_c`` with single choices
(A. Charnes, W. Cooper): no product of choices and centroids is needed, whatever the number of features.

    S_c0 omega_c + sum_(ik in O_c) s_ik v_ik = Sbar_c                                                       (weights)
    Sbar_c h_c = F_c omega_c + sum_(ik in O_c) s_ik (x_ik - mubar_c) v_ik                                   (shift)
    l_c z_ik <= v_ik <= u_c z_ik                                                                for ik in O_c
    l_c (1 - sum_k z_ik) <= omega_c - sum_k v_ik <= u_c (1 - sum_k z_ik)              for i, sums over ik in O_c

where ``[l_c, u_c]`` is a proved interval of ``omega_c``. A class whose weight is the same for every choice needs
neither: there ``omega_c = 1`` and ``v_ik = z_ik``. The squared distance of a query to ``mu_c`` is, with ``a_qc = x_q -
mubar_c`` and squares ``p_cj = h_cj^2``,

    D_qc = ||a_qc||^2 - 2 a_qc'h_c + sum_j p_cj,        m_q = min_(c != t) D_qc - D_qt.

Margins are only ever bounded below, so ``p_cj >= h_cj^2`` (convex) is stated where ``c`` is the wanted class of a query
or guard, and ``p_cj <= h_cj^2`` (not convex; what the solver branches on) where another class is wanted.
``max_loss_increase`` is convex too: the loss on the records as they are is ``const + sum_c Sbar_c ||h_c||^2``.

A class whose records are all members' that may leave it gets the row ``sum_(ik in O_c) z_ik >= 1``: without it the
centroid would be undefined. Choices, budgets, excluded moves and goals are those of :mod:`oar_opt.menu_program`.

*Numbers a solver can bear.* Each ``h_cj`` is measured in a unit of its largest possible size ``L_cj`` (all in
one, SCIP's presolve has divided by small coefficients and cut off the optimum; it is switched off as well), margins in
units ``U = L max(2 |a_qcj|, L)`` with the largest ``L_cj`` and ``|a_qcj|``, so that all coefficients of their rows are
at most 1. Every margin is raised by ``2 d + 3`` times the solver's tolerance, in units ``U``, so that rounding cuts no
choice off: the bound is higher by that, and a claimed choice that needed it is refused by re-training.

*The intervals.* All are extremes over choices that obey the cap on members, and ignore other budgets. A sum over
members is largest where each takes its best option (with a cap: those whose best option gains most), which gives the
extremes of ``S_c``. ``h_cj`` is a ratio ``T(z) / S_c(z)`` of two such sums, and ``r`` is at least its maximum if and
only if ``max_z T(z) - r S_c(z) <= 0``, again such a sum; from a ratio that is reached, replacing ``r`` by the ratio at
the maximiser climbs to the maximum in finitely many steps (W. Dinkelbach). A class that can be emptied has no fixed
weight: its least positive weight is at least that of the lightest option in ``O_c``, and its centroid lies between
the options' points.

Hypotheses
----------
Learner ``nearest_centroid`` with any number of classes; menus, labels, withholding, joining. Update ``retrain``, or
``running_centroid`` as :mod:`oar_opt.running_mean` has it. A class's weight may change by a factor of at most 10,000,
``U`` is at most 1e8, and no query requires a margin within the solver's tolerance: beyond, that would hide what
matters. A solver for quadratic rows that are not convex.

Exactness
---------
Exact. For fixed binaries the rows leave ``v_ik = z_ik omega_c``: a chosen option of ``O_c`` has the others at 0 and
``omega_c - v_ik`` between 0 and 0; where none of ``O_c`` is chosen all are 0. Then ``omega_c = Sbar_c / S_c(z)`` and
``h_c`` is the centroid's shift. A square that only one side holds cannot make a margin larger than it is.

Size
----
With ``K`` options, ``k`` members and ``g`` classes that members can change: ``K`` binaries, at most ``K`` products,
at most ``g (1 + 2 d)`` other variables; at most ``2 K + 2 k g`` rows for the products, ``g (1 + d)`` linear and
``2 g d`` quadratic ones.

Reference
---------
A. Charnes, W. Cooper, "Programming with Linear Fractional Functionals", 1962; W. Dinkelbach, "On Nonlinear Fractional
Programming", 1967. The learner and the question: E. Creager, R. Zemel, "Online Algorithmic Recourse by Collective
Action", 2023. The statement for centroids is derived here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oar_opt.centroid_formulation import CentroidFormulation
from oar_opt.centroid_program import NEEDS, CentroidModel, too_wide
from oar_opt.contracts import PyomoProgram, WorkedExample
from oar_opt.problem import (
    Budget,
    Collective,
    GoalKind,
    LabelAction,
    LearnerSpec,
    Member,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.result import Request


class CentroidMenu(CentroidFormulation):
    """See the module's docstring."""

    name = "centroid_menu"
    rank = 16
    exportable = True
    needs = NEEDS

    def declines(self, problem: RecourseProblem) -> str | None:
        if not problem.is_menu_problem:
            return "members may move features, and this formulation knows finite options only"
        return too_wide(problem)

    def retraining_program(self, problem: RecourseProblem, request: Request) -> PyomoProgram:
        return CentroidModel(problem, request).program()

    def examples(self) -> Sequence[WorkedExample]:
        """Two records at 0 against two at 4; the query at 1.5 wants ``near``."""
        return _examples()


# -- worked examples ---


def _examples() -> tuple[WorkedExample, ...]:
    X, y = np.array([[0.0], [0.0], [4.0], [4.0]]), np.array([0.0, 0.0, 1.0, 1.0])

    def problem(members: tuple[Member, ...], goal: GoalKind, cap: int | None = None) -> RecourseProblem:
        return RecourseProblem(
            name="two-centroids-with-labels",
            records=Records(X, y, np.ones(4)),
            learner=LearnerSpec("nearest_centroid"),
            classes=("near", "far"),
            collective=Collective(members, budget=Budget(members=cap)),
            queries=(Query("q", (2.5,), 0.0, required=2.0),),
            goal=goal,
        )

    flips = tuple(Member(i, (LabelAction((0.0,)),)) for i in (2, 3))
    withholds = (Member(2, (WithholdAction(),)), Member(3, (WithholdAction(),)))
    return (
        WorkedExample(
            problem(flips, GoalKind.MAX_MARGIN),
            1.5**2 - (2.5 - 4 / 3) ** 2,
            "one label moves 'near' to 4/3 and leaves 'far' at 4; both would empty 'far'",
        ),
        WorkedExample(
            problem(withholds, GoalKind.MIN_MEMBERS), None, "withholding one of two equal records moves no centroid"
        ),
        WorkedExample(
            problem(flips, GoalKind.MIN_COST), None, "the best margin of one label is 0.889, and 2 are required"
        ),
    )
