"""Feature changes by branch and bound over moment relaxations: semidefinite bounds that hold whatever the solver did.

Statement
---------
Members change features within their sets (:mod:`oar_opt.changes`), the learner is a regularised risk (letters of
:mod:`oar_opt.risk`). With ``u_i = g_i delta_i`` the learner's optimality is linear in ``(theta, g, u)`` but for

    f_i = theta'x_i + w'delta_i,      u_i = g_i delta_i,      (f_i, g_i) on the graph of a_i dl(y_i, .),

all of degree two. Products of variables of one record with each other and with ``theta`` become variables (moments),
their matrices positive semidefinite; stationarity is stated as it stands and times every coordinate of ``theta``; sets
and graphs enter through products that remain of degree two in these letters. :mod:`oar_opt.moment_relaxation` derives
every row, :mod:`oar_opt.moment_program` the bound. One matrix per member, so that the size grows with the number of
members, not with its square.

Where the relaxation leaves a gap, :mod:`oar_opt.moment_search` splits intervals of decision values, pulls, parameters
or grids, pieces of graphs, or who acts, and bounds the parts.

What lost, on ridge with 40 records, 5 members and 5 features (breast cancer, l2 radius 0.5), and was left out: without
point 4 of the relaxation the gap is 4e-3 to 5e-3 instead of 1e-5, and intervals of the parameters, shrunk by the
relaxation itself for answers better than the best one, take a fifth off it, not more. For the hinge loss a further
variable ``max(0, f - 1)``, by which complementarity becomes quadratic, changed no bound in its fourth digit.

Hypotheses
----------
Squared l2 penalty; update ``retrain`` or ``proximal``. Some member has room to move features; menus, labels and
withholding may be mixed in, as long as members choose among at most :data:`MOST_SETTINGS` combinations of actions (each
is a region of its own from the start). All goals, guards and budgets; no ``max_loss_increase``. Finite bounds on the
parameters, by :mod:`oar_opt.bounds`. A free intercept is bounded for the position ``optimistic``, so the bound is valid
for every position.

Exactness
---------
Exact in the limit: the error of a region goes to zero with its intervals, and the search ends at the requested gap.
Bounds are proved whatever the semidefinite solver returns, up to the rounding that they are raised by. ``infeasible``
is proved in the same way. On most instances one relaxation settles the question; kinks (svm, ``epsilon_insensitive``)
and the logistic loss take more regions than ridge. Where the best value is only approached by moves (a tie that no
rounded number meets exactly), the gap stays open, and the search goes on until a limit or an interruption.

Size
----
With ``p`` parameters, ``d`` features that may move and ``k`` members: ``k`` matrices of order ``2 + p + 2 d`` (with
kinks ``3 + p + 2 d``, and one of order ``p + 2`` for every fixed record whose graph is bent in the proved interval of
its decision value), ``k`` of order ``1 + d``, and ``p (p + 1)`` equations that couple them.

Reference
---------
N. Z. Shor, "Quadratic Optimization Problems", 1987; J. B. Lasserre, "Global Optimization with Polynomials and the
Problem of Moments", 2001; H. Waki, S. Kim, M. Kojima, M. Muramatsu, "Sums of Squares and Semidefinite Program
Relaxations for Polynomial Optimization Problems with Structured Sparsity", 2006. The statement for learners, the
products and point 4 are derived here.
"""

from __future__ import annotations

from oar_opt.changes import change_sets
from oar_opt.contracts import DirectProgram, Formulation, WorkedExample, line_with_room
from oar_opt.discovery import learner_of, missing_learner
from oar_opt.moment_search import MomentSearch
from oar_opt.moment_setting import count_settings, settings_of
from oar_opt.problem import (
    RecourseProblem,
)
from oar_opt.result import Request
from oar_opt.risk import Jump, PenaltyNorm

MOST_SETTINGS = 64
AFTER_BILINEAR = 32
FEW_RECORDS, FEW_WITH_JUMPS, FEW_PRODUCTS = 40, 20, 9
"""Up to so many records (if pulls jump, up to so many) and moving features, members counted, ``kkt_bilinear`` closed
bent graphs sooner."""


class Moments(Formulation):
    """See the module's docstring."""

    name = "moments"
    rank = 28
    excludes = False

    def accepts(self, problem: RecourseProblem) -> str | None:
        return _scope(problem) or _choices(problem) or _bounds(problem)

    def build(self, problem: RecourseProblem, request: Request | None = None) -> DirectProgram:
        settings = settings_of(problem)
        assert settings is not None
        return DirectProgram(lambda request: MomentSearch(problem, settings, request).run())

    def unfit(self, solver: str | None) -> str | None:
        return None if solver is None else "its semidefinite programs are solved by Clarabel, and by nothing else"

    def preference(self, problem: RecourseProblem) -> tuple[int, str]:
        """After ``kkt_bilinear`` where the graph is bent and the instance small, as measurements say."""
        learner = learner_of(problem) if missing_learner(problem) is None else None
        risk = learner.risk(problem.learner, problem.d) if learner else None
        pieces = () if risk is None else risk.loss.pieces(1.0) or ()
        if risk is None or len(pieces) == 1 or not problem.update.retrains:
            return super().preference(problem)
        few = FEW_WITH_JUMPS if any(isinstance(piece, Jump) for piece in pieces) else FEW_RECORDS
        moved = sum(
            int(one.movable.sum()) for member in problem.collective.members for one in change_sets(problem, member)
        )
        if problem.n <= few and moved <= FEW_PRODUCTS:
            return AFTER_BILINEAR, f"{problem.n} records on bent graphs and {moved} features that move"
        return super().preference(problem)

    def examples(self) -> tuple[WorkedExample, ...]:
        return (line_with_room(),)


def _scope(problem: RecourseProblem) -> str | None:
    missing = missing_learner(problem)
    if missing:
        return missing
    risk = learner_of(problem).risk(problem.learner, problem.d)
    if risk is None or risk.norm is not PenaltyNorm.L2:
        return f"learner '{problem.learner.kind}' is no regularised risk with a squared l2 penalty"
    if not problem.update.retrains:
        return f"the update '{problem.update.kind}' does not re-train to the learner's optimum"
    if problem.is_menu_problem:
        return "nobody has room to move a feature but in few steps, which are a menu"
    if problem.max_loss_increase is not None:
        return "max_loss_increase is not stated here"
    return learner_of(problem).undefined(problem, problem.records)


def _choices(problem: RecourseProblem) -> str | None:
    count = count_settings(problem)
    return (
        f"{count} combinations of the members' actions are more than {MOST_SETTINGS}" if count > MOST_SETTINGS else None
    )


def _bounds(problem: RecourseProblem) -> str | None:
    return "no finite bound is proved for the learner's parameters" if settings_of(problem) is None else None
