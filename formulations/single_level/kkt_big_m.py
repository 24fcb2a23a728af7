"""Optimality conditions of the learner with proved big-M bounds: a mixed-integer linear program for menus.

Statement
---------
Members ``i in C`` choose one option ``k`` each: ``z_ik`` binary, ``sum_k z_ik = 1``, option 0 is to stay. The learner
is a regularised risk (letters of :mod:`oar_opt.risk`) with a piecewise linear-quadratic loss. Write ``g_ik`` for the
pull of option ``k`` if it is chosen and 0 otherwise. Then the learner's optimality is

    lam R (theta - theta0) + sum_(i not in C) g_i xhat_i + sum_(i in C, k) g_ik xhat_ik = 0          (stationarity)
    (f_i, g_i) on the graph of a_i dl(y_i, .)                                     for i not in C,  f_i = xhat_i' theta
    z_ik = 1  =>  (f_ik, g_ik) on the graph of a_ik dl(y_ik, .),     z_ik = 0  =>  g_ik = 0          for i in C, all k

so only one product per option is needed, whatever the number of features. Each graph is the union of segments from
``(p_j, r_j)`` to ``(p_j', r_j')``, cut to the proved interval of ``f``. With binaries ``e_j``, ``sum_j e_j = z``, and
for slanted segments ``0 <= t_j <= e_j`` where there are several,

    sum_j e_j p_j + sum_slanted t_j (p_j' - p_j) + (1 - z) L <= f <= sum_flat e_j p_j' + sum_others ... + (1 - z) U
    sum_j e_j r_j + sum_slanted t_j (r_j' - r_j)             <= g <= sum_jumps e_j r_j' + sum_others ...

with ``[L, U]`` the proved interval of ``f`` over all moves. A record whose interval leaves a flat segment alone is a
constant; one slanted segment alone needs no binary, and without ``z`` no variable either (ridge's fixed records enter
through their Gram matrix).

Goals: ``max_margin`` maximises a variable below every query's margin; ``min_cost`` and ``min_members`` minimise
``sum cost_ik z_ik`` or ``sum (1 - z_i0)`` with every margin at least its ``required`` (less the instance's
feasibility tolerance, as in the verification); ``max_helped`` counts binaries that are 1 only where the margin
reaches ``required``. Budgets and guards are linear. Where a free intercept needs both classes (or any weight at all),
a row demands it.

``theta`` stands in coordinates that whiten the records (:meth:`oar_opt.risk.RegularizedRisk.whitened`), since
features of very different size or far from 0 have misled solvers; everything above holds in them as it stands, with
``R`` the penalty's diagonal there.

Where a move with a known value of the goal is at hand (the *cutoff*), the intervals are shrunk by
:mod:`oar_opt.tightening` for moves at least as good; a record whose pull is constant only for those keeps a row that
holds it there, so that every point of the program still is an optimum of the learner.

Hypotheses
----------
Menus, labels and withholding only (nobody has room to move features). Squared l2 penalty and a loss with a polyline
graph (ridge: squared; svm: hinge). Update ``retrain`` or ``proximal``. No ``max_loss_increase``. Every interval finite:
it is proved by :mod:`oar_opt.bounds`, and the formulation refuses where no proof is found, or where the interval is
more than :data:`oar_opt.risk_program.WIDEST` times as wide as the targets are large: a solver's integrality tolerance
would then hide a whole margin.

Exactness
---------
Exact: the segments' rows describe, for fixed binaries, just the chosen segment, and their linear relaxation is the
convex hull of the union for each record by itself. Where a free intercept is not unique, the program may take any
optimal one: it is exact for the position ``optimistic`` and its bound is valid for every position.

Size
----
With ``K = sum_i K_i`` options and ``m`` fixed records whose graph keeps several segments: ridge has ``K`` binaries and
``p + K`` other variables; svm ``K + 3 (K + m)`` binaries at most and ``p + K + m`` others. Rows: ``p + k`` and at
most 5 for each option and each such record; no row has a product of features and choices.

Reference
---------
J. Fortuny-Amat, B. McCarl, "A Representation and Economic Interpretation of a Two-Level Programming Problem", 1981
(optimality conditions with big-M); J. P. Vielma, "Mixed Integer Linear Programming Formulation Techniques", 2015
(unions of polyhedra). The one-product form and the proofs of the bounds are derived here.
"""

from __future__ import annotations

from oar_opt.batch_training import has_batches
from oar_opt.discovery import learner_of, missing_learner
from oar_opt.evaluate import count_choices
from oar_opt.optimality_system import no_polyline
from oar_opt.problem import GoalKind, RecourseProblem
from oar_opt.risk import Jump, RegularizedRisk
from oar_opt.risk_program import RiskFormulation, RiskModel
from oar_opt.segment_unions import SegmentUnions

FEW_KINKS, FEW_KINKS_FOR_COSTS = 100, 125
"""Up to so many fixed records it closed instances that ``copies`` left open in 30 s; beyond them its gap was several
times as wide, or it took longer (bench of menus)."""
SOON_SCREENED = 2 * 10**6
"""Choices that batches settle in seconds (ridge) to two minutes (svm, 200 records)."""
MANY_COPIES = 1500
"""For ridge it was faster with 1,680 and 1,860 entries of the copies, slower with up to 1,056 (bench of menus)."""


class KktBigM(RiskFormulation):
    """See the module's docstring."""

    name = "kkt_big_m"
    rank = 20

    def refuses(self, problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
        return no_polyline(problem, risk)

    def preference(self, problem: RecourseProblem) -> tuple[int, str]:
        """Before the search over regions where that would be large, or the binaries of kinks are few; not where batches
        settle all choices soon."""
        learner = learner_of(problem) if missing_learner(problem) is None else None
        risk = learner.risk(problem.learner, problem.d) if learner else None
        if risk is None or not problem.update.retrains or not problem.is_menu_problem:
            return super().preference(problem)
        if has_batches(risk) and count_choices(problem) <= SOON_SCREENED:
            return super().preference(problem)
        pieces = risk.loss.pieces(1.0) or ()
        copies = risk.p * sum(len(problem.admissible_options(member)) for member in problem.collective.members)
        if len(pieces) == 1 and copies > MANY_COPIES:
            return 12, f"the loss's graph is a line, and copies of the parameters would take {copies} variables"
        costs = problem.goal in (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS)
        fixed = problem.n - len(problem.collective.members)
        if any(isinstance(piece, Jump) for piece in pieces) and fixed <= (FEW_KINKS_FOR_COSTS if costs else FEW_KINKS):
            return 12, f"the loss has kinks, and only {fixed} records of no member may need binaries for them"
        return super().preference(problem)

    def add_learner(self, model: RiskModel) -> None:
        system = SegmentUnions(model)
        system.write()
        model.starters.append(system.start)
