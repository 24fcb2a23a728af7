"""Optimality conditions of the learner with indicator constraints: each graph as alternatives, without big-M.

Statement
---------
Letters, stationarity and options as in :mod:`oar_opt.optimality_system`. The graph of a record is the union of segments
from ``(p_j, r_j)`` to ``(p_j', r_j')``. With binaries ``e_j``, ``sum_j e_j = z`` (1 for a fixed record),

    sum_j e_j r_j  <=  g  <=  sum_j e_j r_j'
    e_j = 1   =>   p_j <= f <= p_j',
    e_j = 1   =>   g - r_j = (r_j' - r_j) / (p_j' - p_j) (f - p_j)        for slanted segments,

the latter two as indicator constraints, so no bound on ``f`` enters a row: it only drops segments out of reach and
bounds the variable. One segment alone needs no ``e``; ``z`` itself is then the indicator for an option. An option that
is not chosen has all ``e_j = 0``, hence ``g = 0``, and its ``f`` is free.

Hypotheses
----------
Menus, labels and withholding only. Squared l2 penalty and a loss with a polyline graph. Update ``retrain`` or
``proximal``. No ``max_loss_increase``. Finite proved intervals as for ``kkt_big_m``. A solver with indicator
constraints that Pyomo's components do not reach: SCIP, called directly.

Exactness
---------
Exact: for fixed binaries the rows describe just the chosen segments. Where a free intercept is not unique, the program
may take any optimal one: it is exact for the position ``optimistic`` and its bound is valid for every position.

Size
----
With ``K`` options and ``m`` fixed records whose graph keeps several segments: as many binaries as ``kkt_big_m``, and
for svm six indicator constraints for each such option or record.

Reference
---------
P. Bonami, A. Lodi, A. Tramontani, S. Wiese, "On mathematical programming with indicator constraints", 2015. The union
of segments is that of ``kkt_big_m``.
"""

from __future__ import annotations

from typing import Any

import pyomo.environ as pyo

from oar_opt.contracts import Indicator
from oar_opt.optimality_system import Graph, OptimalitySystem, no_polyline
from oar_opt.problem import RecourseProblem
from oar_opt.risk import RegularizedRisk, Segment
from oar_opt.risk_program import RiskFormulation, RiskModel
from oar_opt.solver_features import SolverFeature


class KktIndicator(RiskFormulation):
    """See the module's docstring."""

    name = "kkt_indicator"
    rank = 27
    needs = frozenset({SolverFeature.INDICATOR})

    def refuses(self, problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
        return no_polyline(problem, risk)

    def add_learner(self, model: RiskModel) -> None:
        system = _Alternatives(model)
        system.write()
        model.starters.append(system.start)


class _Alternatives(OptimalitySystem):
    """Each graph as alternatives that their binaries switch on."""

    def state(self, graph: Graph) -> Any:
        block, places = graph.block, range(len(graph.segments))
        block.pull = pyo.Var(bounds=graph.pulls)
        self._name_value(graph)
        if len(graph.segments) == 1:
            switches = [graph.choice]
        else:
            self.add_segments(graph)
            switches = [block.segment[p] for p in places]
        on = [1 if switch is None else switch for switch in switches]
        block.pull_low = pyo.Constraint(expr=block.pull >= sum(graph.segments[p].g_low * on[p] for p in places))
        block.pull_high = pyo.Constraint(expr=block.pull <= sum(graph.segments[p].g_high * on[p] for p in places))
        block.certain = pyo.ConstraintList()
        for s, switch in zip(graph.segments, switches, strict=True):
            self._between(graph, s, switch)
            if s.f_high > s.f_low and not s.is_flat:
                slope = (s.g_high - s.g_low) / (s.f_high - s.f_low)
                along = block.pull - slope * block.value
                self._where(graph, switch, along, s.g_low - slope * s.f_low)
                self._where(graph, switch, -along, slope * s.f_low - s.g_low)
        return block.pull

    def hold(self, graph: Graph) -> None:
        self._name_value(graph)
        self._between(graph, graph.segments[0], graph.choice)

    def _name_value(self, graph: Graph) -> None:
        """``f`` as a variable, so that indicator rows are short."""
        ends = (graph.anyhow.lower, graph.anyhow.upper) if graph.anyhow else (None, None)
        graph.block.value = pyo.Var(bounds=ends)
        graph.block.value_is = pyo.Constraint(expr=graph.block.value == graph.f)

    def _between(self, graph: Graph, s: Segment, switch: Any | None) -> None:
        self._where(graph, switch, graph.block.value, s.f_high)
        self._where(graph, switch, -graph.block.value, -s.f_low)

    def _where(self, graph: Graph, switch: Any | None, body: Any, upper: float) -> None:
        """``body <= upper`` where the switch is on; a fixed record's only segment has none."""
        if switch is None:
            graph.block.certain.add(body <= upper)
        else:
            self.owner.indicators.append(Indicator(switch, True, body, upper))
