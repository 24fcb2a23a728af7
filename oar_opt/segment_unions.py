"""Graphs of records as unions of segments, with the proved intervals as the only big-M.

The statement is that of :mod:`formulations.single_level.kkt_big_m`; programs with feature changes use it too.
"""

from __future__ import annotations

from typing import Any

import pyomo.environ as pyo

from oar_opt.optimality_system import Graph, OptimalitySystem


class SegmentUnions(OptimalitySystem):
    """Each graph as a union of segments, with the proved intervals as the only big-M."""

    def state(self, graph: Graph) -> Any:
        graph.block.pull = pyo.Var(bounds=graph.pulls)
        if len(graph.segments) == 1:
            self._line(graph)
        else:
            self._union(graph)
        return graph.block.pull

    def _away(self, graph: Graph) -> tuple[Any, Any]:
        """What ``f`` may be where the option is not chosen: the terms in ``1 - z``."""
        anyhow, z = graph.anyhow, graph.z
        return (anyhow.lower * (1 - z), anyhow.upper * (1 - z)) if anyhow else (0.0, 0.0)

    def _line(self, graph: Graph) -> None:
        """One segment alone needs no binary of its own."""
        (s,), block, f, z = graph.segments, graph.block, graph.f, graph.z
        away_low, away_high = self._away(graph)
        slope = (s.g_high - s.g_low) / (s.f_high - s.f_low) if s.f_high > s.f_low else 0.0
        along = (block.pull - s.g_low * z) / slope if slope else 0.0
        block.pull_low = pyo.Constraint(expr=block.pull >= s.g_low * z)
        block.pull_high = pyo.Constraint(expr=block.pull <= s.g_high * z)
        block.value_low = pyo.Constraint(expr=f >= s.f_low * z + along + away_low)
        block.value_high = pyo.Constraint(expr=f <= (s.f_low if slope else s.f_high) * z + along + away_high)

    def _union(self, graph: Graph) -> None:
        block, union = graph.block, graph.segments
        places = range(len(union))
        self.add_segments(graph)
        slanted = [p for p in places if union[p].f_high > union[p].f_low and not union[p].is_flat]
        block.share = pyo.Var(slanted, bounds=(0, 1))
        block.share_used = pyo.Constraint(slanted, rule=lambda b, p: b.share[p] <= b.segment[p])
        (f_low, f_high), g_low, g_high = self._away(graph), 0.0, 0.0
        for p, s in enumerate(union):
            e, t = block.segment[p], block.share[p] if p in slanted else 0.0
            f_low += s.f_low * e + (s.f_high - s.f_low) * t
            f_high += (s.f_low if p in slanted else s.f_high) * e + (s.f_high - s.f_low) * t
            g_low += s.g_low * e + (s.g_high - s.g_low) * t
            g_high += (s.g_low if p in slanted else s.g_high) * e + (s.g_high - s.g_low) * t
        block.value_low = pyo.Constraint(expr=graph.f >= f_low)
        block.value_high = pyo.Constraint(expr=graph.f <= f_high)
        block.pull_low = pyo.Constraint(expr=block.pull >= g_low)
        block.pull_high = pyo.Constraint(expr=block.pull <= g_high)
