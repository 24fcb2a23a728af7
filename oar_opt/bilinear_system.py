"""The learner's optimality under feature changes: stationarity, one graph per record, and products for moved records.

As :mod:`oar_opt.optimality_system` says it, with the rows of :mod:`oar_opt.change_program` beside it. Polylines are
unions of segments (:mod:`oar_opt.segment_unions`). A curved graph, that of the logistic loss, is the row

    log(p) - log(1 - p) + y f = 0,     g = -a y p,

for every record, chosen or not; what an option or a change set adds to the gradient is ``g`` times its binary, made
linear by the proved intervals of ``g``. The lines of :meth:`oar_opt.risk.Loss.hull` are added, as solvers bound the two
logarithms one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyomo.environ as pyo
from scipy.special import expit

from oar_opt.bounds import ProvedBound, Reason
from oar_opt.change_program import ChangeModel, interval_name
from oar_opt.optimality_system import Graph
from oar_opt.problem import Vector
from oar_opt.risk import segments
from oar_opt.segment_unions import SegmentUnions

STEEPEST = 16.0
"""Largest ``|f|`` where a solver still tells the logistic pull from its end: it is 1e-7 there."""


class BilinearSystem(SegmentUnions):
    """See the module's docstring."""

    def __init__(self, model: ChangeModel) -> None:
        super().__init__(model)
        self.changing = model
        self.pairs: dict[str, tuple[int, int]] = {model.model.used[pair].name: pair for pair in model.shapes}
        self.curves: list[Graph] = []

    def state(self, graph: Graph) -> Any:
        return self._curve(graph) if not graph.segments else super().state(graph)

    # -- feature changes ---

    def added_by_changes(self) -> list[Any]:
        gradient: list[Any] = super().added_by_changes()
        for place, (pair, shape) in enumerate(self.changing.shapes.items()):
            pull = self._change_pull(pair, place)
            products = self.changing.products(pair, pull)
            for c in range(self.risk.p):
                terms = [float(row[c]) * u for row, u in zip(shape.rows, products, strict=True) if row[c]]
                gradient[c] += float(shape.xhat[c]) * pull + sum(terms)
        return gradient

    def _change_pull(self, pair: tuple[int, int], place: int) -> Any:
        """A variable with bounds, 0 where the set is not used."""
        model, shape, reach = self.model, self.changing.shapes[pair], self._reaches()[place]
        given, anyhow = self.bounds.of_changes.bound(place), self.changing.value_box.bound(place)
        self.owner.proved[interval_name(*pair)] = given
        pieces = self.risk.loss.pieces(reach.y) or ()
        found = segments(pieces, given.lower, given.upper, reach.a)
        block = model.moved[pair].graph = pyo.Block()
        graph = Graph(block, shape.xhat, model.value[pair], model.used[pair], found, anyhow, reach.y, reach.a, given)
        pull = self.state(graph)
        low, high = self.bounds.pulls_of_changes[0][place], self.bounds.pulls_of_changes[1][place]
        pull.setlb(max(pull.lb, min(0.0, float(low))))
        pull.setub(min(pull.ub, max(0.0, float(high))))
        return pull

    def _reaches(self) -> list[Any]:
        return [reach for own in self.bounds.changes for reach in own]

    # -- curves ---

    def _curve(self, graph: Graph) -> Any:
        """The logistic graph: its share ``p`` of the weight, and what it pulls where it counts."""
        b, y, everywhere = graph.block, graph.y, _hull(graph.given, graph.anyhow)
        low, high = everywhere.lower, everywhere.upper
        self.curves.append(graph)
        shares = sorted((float(expit(-y * low)), float(expit(-y * high))))
        b.f = pyo.Var(bounds=(low, high))
        b.f_is = pyo.Constraint(expr=b.f == graph.f)
        b.share = pyo.Var(bounds=(shares[0], shares[1]))
        b.curve = pyo.Constraint(expr=pyo.log(b.share) - pyo.log(1 - b.share) + y * b.f == 0)
        b.line = pyo.ConstraintList()
        for upper in (True, False):
            for slope, offset in self.risk.loss.hull(y, low, high, upper=upper):
                line = slope * b.f + offset
                b.line.add(-y * b.share <= line if upper else -y * b.share >= line)
        return -graph.a * y * b.share if graph.choice is None else self._counted(graph)

    def _counted(self, graph: Graph) -> Any:
        """``z g``."""
        b, z, given, anyhow = graph.block, graph.z, graph.given, graph.anyhow
        assert anyhow is not None
        low, high = (graph.a * end for end in self.risk.loss.pulls_over(graph.y, given.lower, given.upper))
        everywhere = _hull(given, anyhow)
        ends = [graph.a * end for end in self.risk.loss.pulls_over(graph.y, everywhere.lower, everywhere.upper)]
        b.pull = pyo.Var(bounds=(min(0.0, low), max(0.0, high)))
        left = -graph.a * graph.y * b.share - b.pull
        b.pull_low = pyo.Constraint(expr=b.pull >= low * z)
        b.pull_high = pyo.Constraint(expr=b.pull <= high * z)
        b.left_low = pyo.Constraint(expr=left >= ends[0] * (1 - z))
        b.left_high = pyo.Constraint(expr=left <= ends[1] * (1 - z))
        return b.pull

    # -- starting ---

    def decision_value(self, graph: Graph, theta: Vector, values: Mapping[str, float]) -> float:
        pair = None if graph.choice is None else self.pairs.get(graph.choice.name)
        if pair is None:
            return super().decision_value(graph, theta, values)
        return self.changing.moved_value(pair, theta, values)

    def start(self, theta: Vector, values: Mapping[str, float]) -> Mapping[str, float]:
        found = dict(super().start(theta, values))
        for pair in self.changing.shapes:
            found[self.model.value[pair].name] = self.changing.moved_value(pair, theta, values)
        for j in self.changing.reach_of:
            found[self.model.weight[j].name] = float(self.changing.weight_row(j) @ theta)
        for graph in self.curves:
            f = self.decision_value(graph, theta, values)
            found[graph.block.f.name], found[graph.block.share.name] = f, float(expit(-graph.y * f))
        return found


def _hull(given: ProvedBound, anyhow: ProvedBound | None) -> ProvedBound:
    """An interval that holds ``f`` whether the record counts or not; only its ends matter."""
    if anyhow is None:
        return given
    ends = min(given.lower, anyhow.lower), max(given.upper, anyhow.upper)
    return ProvedBound(*ends, Reason.NONE, Reason.NONE)


def too_steep(model: ChangeModel) -> str | None:
    """Why a curved graph cannot be stated over the proved intervals, or None."""
    if model.risk.loss.pieces(1.0) is not None:
        return None
    boxes = (model.bounds.of_fixed, model.given, model.anyhow, model.value_box)
    widest = max(float(np.abs(end).max(initial=0.0)) for box in boxes for end in (box.lower, box.upper))
    if widest <= STEEPEST:
        return None
    return (
        f"decision values where the logistic pull is more than rounding (they may be {widest:.3g} in size): "
        "regularise more, or give changes less room"
    )
