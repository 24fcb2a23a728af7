"""Sets of feature changes as floating-point arrays, one row for each option, for proposals only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oar_opt.problem import CostKind, Norm
from oar_opt.proof.feature_reach import Reach
from oar_opt.proof.rationals import approximate
from oar_opt.proof_search.cone_rows import Floats


class Rooms:
    """``low, high (K, d)`` and ``length (K,)`` of every option's changes, 0 where there are none; ``balls`` is whether
    their lengths are what matters."""

    def __init__(self, reaches: Sequence[Reach | None], d: int) -> None:
        self.some = any(reach is not None for reach in reaches)
        self.balls = any(reach is not None and reach.norm is not Norm.LINF for reach in reaches)
        zero = [0.0] * d
        self.low = _rows([zero if r is None else [approximate(v) for v in r.low] for r in reaches], d)
        self.high = _rows([zero if r is None else [approximate(v) for v in r.high] for r in reaches], d)
        self.length = np.array([0.0 if r is None else approximate(r.length) for r in reaches])

    def along(self, slope: Floats) -> Floats:
        """The largest ``slope'delta`` of every option, ``(K,)``."""
        box = np.maximum(self.low * slope, self.high * slope).sum(axis=1)
        return np.asarray(np.minimum(box, self.length * np.linalg.norm(slope)) if self.balls else box)

    def towards(self, point: Floats, wish: Floats, weights: Floats) -> Floats:
        """How near to ``wish (d,)`` changes with ``weights (K,)`` bring a point ``(d,)``."""
        step, room = wish - point, float(weights @ self.length)
        if self.balls and np.linalg.norm(step) > room:
            step *= room / np.linalg.norm(step)
        return np.asarray(point + np.clip(step, weights @ self.low, weights @ self.high))


def whole_cost(reach: Reach) -> float:
    """About the cost of going as far as possible."""
    radius = approximate(reach.radius)
    far = {CostKind.COUNT: 1.0, CostKind.SQL2: radius**2}.get(reach.cost, radius)
    return approximate(reach.charge) + far


def _rows(rows: Sequence[Sequence[float]], d: int) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(-1, d)
