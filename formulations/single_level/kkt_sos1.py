"""Optimality conditions of the learner with complementarity as special ordered sets: no big-M for the fixed records.

Statement
---------
Letters, stationarity and options as in :mod:`oar_opt.optimality_system`; what is stated here is that ``(f, g)`` lies on
the graph of a record, a chain of segments that meet in the vertices ``v_1, ..., v_m``. Walk along it: ``e >= 0`` is how
far ``f`` lies to the left of ``v_1`` on the first segment, whose direction is ``d_0``; ``t_j`` in [0, 1] is the part of
segment ``v_j v_(j+1)`` walked and ``u_j = 1 - t_j`` what is left; ``h >= 0`` is how far beyond ``v_m``, in direction
``d_m``. Then

    (f, g) = v_1 - e d_0 + sum_j t_j (v_(j+1) - v_j) + h d_m,

and a point of this form is on the chain if and only if nothing of a segment is walked before all of the one before it:

    at most one of each pair  (e, t_1), (u_1, t_2), ..., (u_(m-2), t_(m-1)), (u_(m-1), h)  is not 0.

Each pair is a special ordered set of type 1. For the hinge loss these are the textbook's complementarity conditions:
excess against pull, shortfall against what the pull lacks of its bound. One segment alone needs no pair.

An option's graph is multiplied by its ``z``: the vertices by ``z``, ``t_j + u_j = z``, ``e`` and ``h`` at most ``z``
times their length in the proved interval; and the point is ``(f - c, g)`` with ``(1 - z) L <= c <= (1 - z) U``, where
``[L, U]`` is the proved interval of ``f`` over all moves. So an option that is not chosen pulls nothing, wherever its
``f`` is.

Hypotheses
----------
Menus, labels and withholding only. Squared l2 penalty and a loss with a polyline graph. Update ``retrain`` or
``proximal``. No ``max_loss_increase``. Finite proved intervals as for ``kkt_big_m``: for the fixed records they only
bound ``e`` and ``h`` and drop segments out of reach. A solver with special ordered sets: SCIP by default.

Exactness
---------
Exact, by the equivalence above. Where a free intercept is not unique, the program may take any optimal one: it is
exact for the position ``optimistic`` and its bound is valid for every position.

Size
----
With ``K`` options and ``m`` fixed records whose graph keeps several segments: ``K`` binaries (and one per query for
``max_helped``); for svm ``4 (K + m)`` further variables and ``2 (K + m)`` pairs. The linear relaxation forgets the
pairs, so the search branches on them.

Reference
---------
E. M. L. Beale, J. A. Tomlin, "Special facilities in a general mathematical programming system for nonconvex problems
using ordered sets of variables", 1970; T. Fischer, M. E. Pfetsch, "Branch-and-cut for linear programs with
overlapping SOS1 constraints", 2018. The chain with pairs and its form for options are derived here.
"""

from __future__ import annotations

from typing import Any

import pyomo.environ as pyo

from oar_opt.optimality_system import Graph, OptimalitySystem, no_polyline
from oar_opt.problem import RecourseProblem
from oar_opt.risk import RegularizedRisk, Segment
from oar_opt.risk_program import RiskFormulation, RiskModel
from oar_opt.solver_features import SolverFeature


class KktSos1(RiskFormulation):
    """See the module's docstring."""

    name = "kkt_sos1"
    rank = 26
    needs = frozenset({SolverFeature.SOS1})

    def refuses(self, problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
        return no_polyline(problem, risk)

    def add_learner(self, model: RiskModel) -> None:
        _Complementarity(model).write()


class _Complementarity(OptimalitySystem):
    """Each graph as a chain of segments that are walked one after the other."""

    def state(self, graph: Graph) -> Any:
        block, z, (first, *middle) = graph.block, graph.z, graph.segments
        last = middle.pop() if middle else first
        block.pull = pyo.Var(bounds=graph.pulls)
        # One segment alone is walked from its left end.
        f, g = (first.f_low * z, first.g_low * z) if last is first else (first.f_high * z, first.g_high * z)
        pairs: list[Any] = []
        if last is not first:
            block.before = pyo.Var(bounds=(0, _length(first)))
            f, g = f - _run(first) * block.before, g - _rise(first) * block.before
            pairs.append(block.before)
        block.part = pyo.Var(range(len(middle)), bounds=(0, 1))
        block.left = pyo.Var(range(len(middle)), bounds=(0, 1))
        block.whole = pyo.Constraint(range(len(middle)), rule=lambda b, j: b.part[j] + b.left[j] == z)
        for j, s in enumerate(middle):
            step = _length(s) * block.part[j]
            f, g = f + _run(s) * step, g + _rise(s) * step
            pairs += [block.part[j], block.left[j]]
        block.beyond = pyo.Var(bounds=(0, _length(last)))
        f, g = f + _run(last) * block.beyond, g + _rise(last) * block.beyond
        pairs.append(block.beyond)
        block.pair = pyo.SOSConstraint(
            range(len(pairs) // 2), rule=lambda _, j: (pairs[2 * j : 2 * j + 2], [1, 2]), sos=1
        )
        self._place(graph, f, g)
        return block.pull

    def _place(self, graph: Graph, f: Any, g: Any) -> None:
        """``(f, g)`` of the record is the walked point; an option's ``f`` is free where it is not chosen."""
        block, anyhow, z = graph.block, graph.anyhow, graph.z
        block.pull_is = pyo.Constraint(expr=block.pull == g)
        if anyhow is None:
            block.value_is = pyo.Constraint(expr=graph.f == f)
            return
        if len(graph.segments) > 1:
            block.before_used = pyo.Constraint(expr=block.before <= _length(graph.segments[0]) * z)
        block.beyond_used = pyo.Constraint(expr=block.beyond <= _length(graph.segments[-1]) * z)
        block.value_low = pyo.Constraint(expr=graph.f >= f + anyhow.lower * (1 - z))
        block.value_high = pyo.Constraint(expr=graph.f <= f + anyhow.upper * (1 - z))


def _length(s: Segment) -> float:
    """In units of ``f``, or of ``g`` where that changes more."""
    return max(s.f_high - s.f_low, s.g_high - s.g_low)


def _run(s: Segment) -> float:
    """What a step of length 1 adds to ``f``."""
    return (s.f_high - s.f_low) / _length(s) if _length(s) else 0.0


def _rise(s: Segment) -> float:
    """What a step of length 1 adds to ``g``."""
    return (s.g_high - s.g_low) / _length(s) if _length(s) else 0.0
