"""Feature changes by mixed-integer linear relaxations on pieces, refined until the gap closes: a bound from HiGHS.

Statement
---------
Letters of :mod:`formulations.single_level.kkt_bilinear`, whose program is relaxed: with ``t`` the steps of a change set
used (``z = 1``), ``g`` its pull and ``v_j`` the weights, it is linear but for the products ``u_j = g t_j`` in
stationarity and ``v_j t_j`` in the decision value, and for l2 balls and l2 costs.

- *Products.* The proved interval of one factor, the pull or the weight, is cut into pieces with a binary each. On a
  piece ``[l, h]`` the points ``(c, t, c t)`` with ``t`` in a convex set ``B`` have the convex hull

      c = l m_l + h m_h,   t = t_l + t_h,   c t = l t_l + h t_h,   m_l + m_h = 1,   t_l in m_l B,   t_h in m_h B

  (:mod:`oar_opt.piecewise_cells`), which is McCormick's envelope where ``B`` is a box. For pulls ``B`` is the box of
  all steps with the set's balls; for weights, whose pieces all members share, the interval of one step. Beside them,
  ``(sum_j v_j t_j)^2 <= z sum_j v_j^2`` in units in which the ball is round, with chords for the squares on the right.
- *Integers and categories.* A feature with a binary for each of up to 12 values has linear products, exactly
  (:mod:`oar_opt.change_program`). One with more steps is a whole number on pieces.
- *Balls.* ``sum_q s_q^2 / m <= limit`` becomes ``sum_q y_q <= limit`` with ``y_q >= 2 c s_q - c^2 m`` for some numbers
  ``c``; more of them are added where a solution breaks the ball.
- *Strong duality* of the learner, one convex row that couples all records, by the same tangents
  (:mod:`oar_opt.piecewise_duality`).

*Validity.* Take moves and the learner's optimum on them. With ``t``, ``z``, ``g``, ``v`` read off, every dropped row
holds; each factor lies in its proved interval, so in a piece, and ``m_l = (h - c) / (h - l)``, ``t_l = m_l t`` satisfy
the rows above; each tangent holds as ``m (s_q / m - c)^2 >= 0``; strong duality is an equality there. So the point is
in every relaxation, however it is cut, and its bound is one for all moves. Where intervals were shrunk, it is one for
all moves at least as good as a verified answer, which is in the relaxation itself: no other can be better.

*Refining* (:mod:`oar_opt.piecewise_search`). The moves of a solution are re-trained and improved by local search, and
with the best answer the factors' intervals are shrunk for moves at least as good
(:mod:`oar_opt.piecewise_tightening`; each end proved by weak duality). Then the pieces whose products are off by most
are cut at the solution, and the program is solved again.

What brought the most is strong duality with shrunk intervals: on ridge with 9 records, 2 members and 2 features the
bound after one round was -0.054 without both, -0.222 with shrunk intervals alone, and -0.2601 with both, where the
optimum is -0.2608.

Hypotheses
----------
As ``kkt_bilinear``, without the logistic loss: squared l2 penalty, a loss whose graph is a polyline (ridge, svm,
squared hinge, huber, epsilon-insensitive), some member with room to move features, menus beside; ``retrain`` or
``proximal``; no ``max_loss_increase``. Finite proved intervals of all decision values, of the pulls of change sets and
of the weights of features that move; where there is none it refuses.

Exactness
---------
Exact in the limit: a piece's error is at most a quarter of its width times the width of the step's interval, cuts leave
a fixed part of a piece on either side, and rounds go on until the gap is closed, or a limit stops them with a valid
bound: the best of all rounds, unfinished runs included. Bounds are the solver's word within its tolerance (those that
the linear relaxation gives are proved by weak duality). ``infeasible`` needs a relaxation without a point. Where a free
intercept is not unique, bounds are those of the position ``optimistic``, hence valid for every position, and the gap
may stay open for the others.

Size
----
With ``D`` the features with room summed over sets, ``A`` sets, ``p_g`` pieces of each pull and ``p_v`` of each weight:
``A p_g + d p_v`` binaries beside those of ``kkt_bilinear``, ``2 D (p_g + p_v)`` copies with about three rows each, and
some ten tangents for each copy in a ball. It closes one or two members with two or three features in seconds to a
minute; with more, its value is a valid bound from a linear solver.

Reference
---------
G. P. McCormick, "Computability of global solutions to factorable nonconvex programs", 1976; E. Balas, "Disjunctive
programming and a hierarchy of relaxations for discrete optimization problems", 1985; R. Karuppiah, I. E. Grossmann,
"Global optimization for the synthesis of integrated water systems in chemical processes", 2006 (pieces); J. P. Vielma,
I. Dunning, J. Huchette, M. Lubin, "Extended formulations in mixed integer conic quadratic programming", 2017 (one
variable for each square). The hull with a ball, strong duality under feature changes and the proofs are derived here.
"""

from __future__ import annotations

from collections.abc import Sequence

from oar_opt.change_program import without_room
from oar_opt.contracts import Exactness, Program, WorkedExample, line_with_room
from oar_opt.optimality_system import no_polyline
from oar_opt.piecewise_duality import Duality, RecordingSystem
from oar_opt.piecewise_model import PiecewiseModel
from oar_opt.piecewise_search import PiecewiseProgram
from oar_opt.problem import (
    RecourseProblem,
)
from oar_opt.result import Request
from oar_opt.risk import RegularizedRisk
from oar_opt.risk_program import RiskFormulation, RiskModel


class Piecewise(RiskFormulation):
    """See the module's docstring."""

    name = "piecewise"
    rank = 34
    file_exactness = Exactness.RELAXATION
    excludes = False

    def refuses(self, problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
        return no_polyline(problem, risk)

    def wrong_actions(self, problem: RecourseProblem) -> str | None:
        return without_room(problem)

    def model(self, problem: RecourseProblem, risk: RegularizedRisk, request: Request) -> PiecewiseModel:
        # Without the cutoff: rows that hold for better moves only would leave a relaxation without a point.
        return PiecewiseModel(problem, risk, Request())

    def add_learner(self, model: RiskModel) -> None:
        assert isinstance(model, PiecewiseModel)
        system = RecordingSystem(model)
        system.write()
        model.starters.append(system.start)
        model.duality = Duality(system)

    def program(self, model: RiskModel) -> Program:
        assert isinstance(model, PiecewiseModel)
        model.begin()
        return PiecewiseProgram(model)

    def examples(self) -> Sequence[WorkedExample]:
        return (line_with_room(),)
