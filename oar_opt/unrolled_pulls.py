"""Rows for the pull of one record that may arrive in a gradient step: ``z g`` with ``g = s l'(y, f)``.

``z`` is 1 where the record arrives as described, a binary expression or the number 1; ``f`` is an expression in ``[L,
U]`` if ``z = 1`` and in ``[L', U']`` anyhow.

- *Squared.* ``z g = 2 s (h - y z)`` with ``h = z f``, exactly by ``L z <= h <= U z`` and ``L' (1 - z) <= f - h <= U'
  (1 - z)``. For several options with the same features, ``y z`` is the sum over them.
- *Hinge.* ``z g = -s y e``; ``e = z`` where ``y f < 1`` all over ``[L, U]``, 0 where ``y f >= 1``, else a binary ``e <=
  z``. With ``[l, u]`` and ``[l', u']`` the intervals of ``y f``,

      l e + (z - e) + l' (1 - z) <= y f <= e + u (z - e) + u' (1 - z):

  ``e = 1`` leaves ``y f <= 1``, and ``z = 1, e = 0`` leaves ``y f >= 1``. At ``y f = 1`` both are allowed.
- *Logistic.* ``z g = -s y h`` with ``h = z p`` and ``p = 1 / (1 + exp(y f))``, the product as for the squared loss with
  the interval of ``p`` that that of ``f`` gives. The lines that bound the curve over ``f``'s interval are added, since
  solvers bound exponential and reciprocal one by one.

If ``L' = U'``, as at the given start, ``z f = f - L' (1 - z)`` needs no variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyomo.environ as pyo
from scipy.special import expit

from oar_opt.bounds import Interval, ProvedBound
from oar_opt.discovery import learners
from oar_opt.problem import Flags, LearnerSpec, Vector
from oar_opt.risk import Loss
from oar_opt.update_settings import StepLoss

Starter = Callable[[float, Mapping[str, float]], Mapping[str, float]]
"""Start values for a value of ``f`` and those of the choices by name."""


@dataclass(frozen=True)
class Arrival:
    """See the module's docstring; ``targets`` is ``y z``, where it is not just that product."""

    loss: StepLoss
    f: Any
    z: Any
    y: float
    s: float
    given: ProvedBound
    anyhow: ProvedBound
    targets: Any | None = None

    @property
    def is_certain(self) -> bool:
        """Whether ``z`` is the number 1."""
        return isinstance(self.z, int | float)

    def is_used(self, values: Mapping[str, float]) -> bool:
        """Whether ``z`` is 1 for values of the choices by name."""
        if self.is_certain:
            return True
        from pyomo.core.expr.visitor import identify_variables

        return any(values[variable.name] > 0.5 for variable in identify_variables(self.z))


def unsteady(loss: StepLoss, y: Vector, f: Interval) -> Flags:
    """The records whose pull changes over their interval."""
    from oar_opt.step_loss import slopes_over

    low, high = slopes_over(loss, y, f.lower, f.upper)
    changes: Flags = low < high
    return changes


def add_pull(block: Any, arrival: Arrival) -> tuple[Any, Starter | None]:
    """``z g``, with what rows it needs on ``block``, and how to start their variables."""
    match arrival.loss:
        case StepLoss.SQUARED:
            return _squared(block, arrival)
        case StepLoss.HINGE:
            return _hinge(block, arrival)
        case StepLoss.LOGISTIC:
            return _logistic(block, arrival)


def _squared(block: Any, arrival: Arrival) -> tuple[Any, Starter | None]:
    targets = arrival.y * arrival.z if arrival.targets is None else arrival.targets
    given, anyhow = arrival.given, arrival.anyhow
    counted, starter = add_counted(block, arrival, arrival.f, (given.lower, given.upper), (anyhow.lower, anyhow.upper))
    return 2.0 * arrival.s * (counted - targets), starter


def add_counted(
    block: Any, arrival: Arrival, factor: Any, given: tuple[float, float], anyhow: tuple[float, float]
) -> tuple[Any, Starter | None]:
    """``z factor`` for a factor in ``given`` if ``z = 1`` and in ``anyhow`` else."""
    if arrival.is_certain:
        return factor, None
    z = arrival.z
    if anyhow[0] == anyhow[1]:
        return factor - anyhow[0] * (1 - z), None
    block.counted = pyo.Var(bounds=(min(0.0, given[0]), max(0.0, given[1])))
    block.counted_low = pyo.Constraint(expr=block.counted >= given[0] * z)
    block.counted_high = pyo.Constraint(expr=block.counted <= given[1] * z)
    block.rest_low = pyo.Constraint(expr=factor - block.counted >= anyhow[0] * (1 - z))
    block.rest_high = pyo.Constraint(expr=factor - block.counted <= anyhow[1] * (1 - z))

    def start(f: float, values: Mapping[str, float]) -> Mapping[str, float]:
        return {block.counted.name: f if arrival.is_used(values) else 0.0}

    return block.counted, start


def _hinge(block: Any, arrival: Arrival) -> tuple[Any, Starter | None]:
    y, z, f = arrival.y, arrival.z, arrival.f
    (low, high), (far_low, far_high) = times(y, arrival.given), times(y, arrival.anyhow)
    if high < 1:
        return -arrival.s * y * z, None
    if low >= 1:
        return 0.0, None
    block.inside = pyo.Var(domain=pyo.Binary)
    e = block.inside
    if not arrival.is_certain:
        block.only_if = pyo.Constraint(expr=e <= z)
    block.value_low = pyo.Constraint(expr=y * f >= low * e + (z - e) + far_low * (1 - z))
    block.value_high = pyo.Constraint(expr=y * f <= e + high * (z - e) + far_high * (1 - z))

    def start(value: float, values: Mapping[str, float]) -> Mapping[str, float]:
        return {e.name: float(arrival.is_used(values) and y * value < 1)}

    return -arrival.s * y * e, start


def times(y: float, bound: ProvedBound) -> tuple[float, float]:
    """The interval of ``y f``."""
    ends = y * bound.lower, y * bound.upper
    return min(ends), max(ends)


def _logistic(block: Any, arrival: Arrival) -> tuple[Any, Starter | None]:
    y = arrival.y
    low, high = _everywhere(arrival)
    block.f = pyo.Var(bounds=(low, high))
    block.f_is = pyo.Constraint(expr=block.f == arrival.f)
    block.share = pyo.Var(bounds=_shares(y, low, high))
    block.curve = pyo.Constraint(expr=block.share == 1 / (1 + pyo.exp(y * block.f)))
    block.line = pyo.ConstraintList()
    for upper in (True, False):
        for slope, offset in logistic_loss().hull(y, low, high, upper=upper):
            line = slope * block.f + offset
            block.line.add(-y * block.share <= line if upper else -y * block.share >= line)
    given = _shares(y, arrival.given.lower, arrival.given.upper)
    counted, starter = add_counted(block, arrival, block.share, given, _shares(y, low, high))

    def start(f: float, values: Mapping[str, float]) -> Mapping[str, float]:
        share = float(expit(-y * f))
        return {block.f.name: f, block.share.name: share} | (dict(starter(share, values)) if starter else {})

    return -arrival.s * y * counted, start


def _everywhere(arrival: Arrival) -> tuple[float, float]:
    return min(arrival.given.lower, arrival.anyhow.lower), max(arrival.given.upper, arrival.anyhow.upper)


def _shares(y: float, low: float, high: float) -> tuple[float, float]:
    ends = float(expit(-y * low)), float(expit(-y * high))
    return min(ends), max(ends)


@cache
def logistic_loss() -> Loss:
    """The loss of the learner ``logistic``, for the lines around its pull."""
    risk = learners()["logistic"].risk(LearnerSpec("logistic", C=1.0), 1)
    assert risk is not None
    return risk.loss
