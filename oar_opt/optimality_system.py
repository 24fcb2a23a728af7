"""The learner's optimality as stationarity and one graph per record, for losses whose graph is a polyline.

Write ``g_ik`` for the pull of option ``k`` if it is chosen and 0 otherwise. The learner's optimality is

    lam R (theta - theta0) + sum_(i not in C) g_i xhat_i + sum_(i in C, k) g_ik xhat_ik = 0          (stationarity)
    (f_i, g_i) on the graph of a_i dl(y_i, .)                                     for i not in C,  f_i = xhat_i' theta
    z_ik = 1  =>  (f_ik, g_ik) on the graph of a_ik dl(y_ik, .),     z_ik = 0  =>  g_ik = 0          for i in C, all k

so only one product per option is needed, whatever the number of features. Each graph is cut to the proved interval of
its ``f`` and is then a chain of segments. A record whose interval leaves a flat segment alone has a constant pull; a
fixed one on one slanted line enters through its Gram matrix. Where such a constant holds only for moves as good as the
cutoff, rows hold ``f`` in the interval, so that every point of the program still is an optimum of the learner.

How the remaining graphs are stated is each formulation's own: a subclass of :class:`OptimalitySystem`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.bounds import Occurrences, ProvedBound
from oar_opt.menu_program import row
from oar_opt.problem import RecourseProblem, Vector
from oar_opt.risk import PenaltyNorm, RegularizedRisk, Segment, segments
from oar_opt.risk_program import RiskModel


def no_polyline(problem: RecourseProblem, risk: RegularizedRisk) -> str | None:
    """Why the learner's optimality is no system of polylines, or None."""
    if risk.norm is PenaltyNorm.L1:
        return f"the penalty of learner '{problem.learner.kind}' is an l1 norm, whose pull is not linear"
    if risk.loss.pieces(1.0) is None:
        return f"the loss of learner '{problem.learner.kind}' has a curved subdifferential, not a polyline"
    return None


@dataclass(frozen=True)
class Graph:
    """One record's graph, to be stated on ``block``.

    ``f = xhat'theta`` and ``z`` are expressions, ``choice`` is None for a fixed record, whose ``z`` is the number 1.
    ``given`` is the interval of ``f`` if the record counts, ``anyhow`` that whatever is chosen, None for a fixed
    record. ``segments`` are empty for a loss with a curved graph. Beyond the interval, ``y`` and the weight ``a`` say
    what the graph is.
    """

    block: Any
    xhat: Vector
    f: Any
    choice: Any | None
    segments: tuple[Segment, ...]
    anyhow: ProvedBound | None
    y: float
    a: float
    given: ProvedBound

    @property
    def z(self) -> Any:
        return 1 if self.choice is None else self.choice

    @property
    def pulls(self) -> tuple[float, float]:
        """The range of the pull, 0 included."""
        return min(0.0, *(s.g_low for s in self.segments)), max(0.0, *(s.g_high for s in self.segments))

    def used(self, values: Mapping[str, float]) -> bool:
        """Whether the record counts under these values of the choices."""
        return self.choice is None or values[self.choice.name] == 1.0


class OptimalitySystem(ABC):
    """Writes stationarity, and every graph by :meth:`state`."""

    def __init__(self, model: RiskModel) -> None:
        self.owner, self.model, self.risk = model, model.model, model.risk
        self.bounds = model.bounds
        self.unions: list[Graph] = []
        """Graphs with a binary ``segment`` for each of their segments."""

    @abstractmethod
    def state(self, graph: Graph) -> Any:
        """``(f, g)`` on one of the segments if ``z``, else ``g = 0`` and ``f`` anywhere; returns the variable ``g``."""

    def hold(self, graph: Graph) -> None:
        """``f`` in the interval of an option's one flat segment if ``z``, else anywhere."""
        (s,), anyhow, z = graph.segments, graph.anyhow, graph.z
        assert anyhow is not None
        graph.block.value_low = pyo.Constraint(expr=graph.f >= s.f_low * z + anyhow.lower * (1 - z))
        graph.block.value_high = pyo.Constraint(expr=graph.f <= s.f_high * z + anyhow.upper * (1 - z))

    def add_segments(self, graph: Graph) -> None:
        """Binaries of which ``z`` is 1: the segment that the record lies on."""
        block, places = graph.block, range(len(graph.segments))
        self.unions.append(graph)
        block.segment = pyo.Var(places, domain=pyo.Binary)
        block.one_segment = pyo.Constraint(expr=sum(block.segment[p] for p in places) == graph.z)

    def start(self, theta: Vector, values: Mapping[str, float]) -> Mapping[str, float]:
        """The segments that the records lie on."""
        found = {}
        for graph in self.unions:
            f = self.decision_value(graph, theta, values)
            picked = segment_of(f, graph.segments) if graph.used(values) else None
            for p in range(len(graph.segments)):
                found[graph.block.segment[p].name] = float(p == picked)
        return found

    def decision_value(self, graph: Graph, theta: Vector, values: Mapping[str, float]) -> float:
        """The graph's ``f`` at ``theta (p,)`` and these values of the choices."""
        return float(graph.xhat @ theta)

    def write(self) -> None:
        risk, theta = self.risk, self.owner.theta
        gradient: list[Any] = [
            risk.lam * risk.penalty[j] * (theta[j] - risk.theta0[j]) if risk.penalty[j] else 0.0 for j in range(risk.p)
        ]
        self._add_fixed(gradient)
        self._add_options(gradient)
        for j, term in enumerate(self.added_by_changes()):
            gradient[j] += term
        self.model.stationarity = pyo.Constraint(range(risk.p), rule=lambda _, j: row(gradient[j], "==", 0.0))

    def added_by_changes(self) -> list[Any]:
        """What the members' feature changes add to the gradient; nothing, over menus."""
        return [0.0] * self.risk.p

    def _add_fixed(self, gradient: list[Any]) -> None:
        """Constants and lines go straight into the gradient; the other records get a pull."""
        fixed, box, theta = self.bounds.fixed, self.bounds.of_fixed, self.owner.theta
        gram, constant = np.zeros((self.risk.p, self.risk.p)), np.zeros(self.risk.p)
        open_graphs: list[tuple[int, int, tuple[Segment, ...]]] = []
        kept: list[tuple[int, int]] = []
        for r, index in enumerate(self.bounds.fixed_index):
            y, a, xhat = float(fixed.y[r]), float(fixed.a[r]), fixed.xhat[r]
            if self.owner.is_line(y):
                line = (self.risk.loss.pieces(y) or ())[0]
                gram += a * line.slope * np.outer(xhat, xhat)  # type: ignore[union-attr]
                constant += a * line.offset * xhat  # type: ignore[union-attr]
                continue
            self.owner.proved[f"f[{index}]"] = box.bound(r)
            graph = segments(self.risk.loss.pieces(y) or (), box.lower[r], box.upper[r], a)
            if len(graph) == 1 and graph[0].is_flat:
                constant += graph[0].g_low * xhat
                if box.bound(r).is_conditional:
                    kept.append((r, int(index)))
            else:
                open_graphs.append((r, int(index), graph))
        for j in range(self.risk.p):
            gradient[j] += constant[j] + sum(float(gram[j, c]) * theta[c] for c in range(self.risk.p) if gram[j, c])
        self._keep_constant(kept)
        block = self.model.fixed = pyo.Block([index for _, index, _ in open_graphs])
        for r, index, graph in open_graphs:
            xhat, y, a = fixed.xhat[r], float(fixed.y[r]), float(fixed.a[r])
            pull = self.state(Graph(block[index], xhat, self.owner.value(xhat), None, graph, None, y, a, box.bound(r)))
            for j in range(self.risk.p):
                gradient[j] += float(xhat[j]) * pull

    def _keep_constant(self, kept: list[tuple[int, int]]) -> None:
        """A pull that is constant only for moves as good as the cutoff: the record has to stay where that is proved."""
        box = self.bounds.of_fixed
        f = {index: self.owner.value(self.bounds.fixed.xhat[r]) for r, index in kept}
        ends = {index: (float(box.lower[r]), float(box.upper[r])) for r, index in kept}
        self.model.constant_low = pyo.Constraint(list(f), rule=lambda _, i: row(f[i], ">=", ends[i][0]))
        self.model.constant_high = pyo.Constraint(list(f), rule=lambda _, i: row(-f[i], ">=", -ends[i][1]))

    def _add_options(self, gradient: list[Any]) -> None:
        m, place = self.model, 0
        m.option = pyo.Block(list(m.choice.keys()))
        for (record, options), occurrences in zip(self.owner.menus, self.bounds.members, strict=True):
            for k in range(len(options)):
                if occurrences.a[k] > 0:
                    pull = self._option_pull(record, k, occurrences, place)
                    for j in range(self.risk.p):
                        if occurrences.xhat[k, j]:
                            gradient[j] += float(occurrences.xhat[k, j]) * pull
                place += 1

    def _option_pull(self, record: int, k: int, occurrences: Occurrences, place: int) -> Any:
        choice = self.model.choice[record, k]
        given, anyhow = self.owner.given.bound(place), self.owner.anyhow.bound(place)
        y, a, xhat = float(occurrences.y[k]), float(occurrences.a[k]), occurrences.xhat[k]
        found = segments(self.risk.loss.pieces(y) or (), given.lower, given.upper, a)
        self.owner.proved[f"f[{record},{k}] if chosen"] = given
        block = self.model.option[record, k]
        if len(found) == 1 and found[0].is_flat:
            if given.is_conditional:
                whole = (Segment(given.lower, given.upper, found[0].g_low, found[0].g_low),)
                self.hold(Graph(block, xhat, self.owner.value(xhat), choice, whole, anyhow, y, a, given))
            return found[0].g_low * choice
        self.owner.proved[f"f[{record},{k}]"] = anyhow
        return self.state(Graph(block, xhat, self.owner.value(xhat), choice, found, anyhow, y, a, given))


def segment_of(f: float, graph: tuple[Segment, ...]) -> int:
    """The segment that a decision value lies on: a jump where it is at one, else the nearest."""
    jumps = [p for p, s in enumerate(graph) if s.f_low == s.f_high and abs(f - s.f_low) <= 1e-7 * max(1.0, abs(f))]
    if jumps:
        return jumps[0]
    return min(range(len(graph)), key=lambda p: max(graph[p].f_low - f, f - graph[p].f_high, 0.0))
