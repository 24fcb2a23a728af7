"""Whether an answer lies at the end of an interval that its program rests on.

An interval of :mod:`oar_opt.bounds` used as a big-M is proved, so an answer at its end is no error: nothing was cut
off. It says that there the proof decides, not the learner, so a tighter interval cannot exist and a wider one would
have cost time. An answer *beyond* an end would refute a proof; that is checked as well, with re-trained parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from oar_opt.bounds import ProvedBound, Reason
from oar_opt.errors import VerificationError
from oar_opt.parameters import Parameters
from oar_opt.problem import Move

AT_END = 1e-5
"""Relative distance from an end that counts as being there: above the widening of all proofs."""
BEYOND = 1e-4
"""Relative distance beyond an end that refutes its proof: above the error of re-training."""


@dataclass(frozen=True)
class Quantity:
    """What a proved interval is about: words, and its value for moves and the parameters re-trained on them.

    The value is None where the interval says nothing about these moves, for example of an option not chosen. ``record``
    is the record of no member whose decision value it is, if it is that.
    """

    words: str
    value: Callable[[Sequence[Move], Parameters], float | None]
    record: int | None = None


@dataclass(frozen=True)
class ActiveBound:
    """An end of a proved interval that an answer lies at."""

    name: str
    words: str
    end: float
    reason: Reason


def active_bounds(
    bounds: Mapping[str, ProvedBound],
    quantities: Mapping[str, Quantity],
    moves: Sequence[Move],
    parameters: Parameters,
) -> tuple[ActiveBound, ...]:
    """The ends that the answer lies at, in the order of ``bounds``; intervals that are hardly more than a point aside.

    Raises
    ------
    VerificationError : the answer lies beyond an end, so the proof of that bound is wrong.
    """
    found = []
    for name, bound in bounds.items():
        quantity = quantities[name]
        value = quantity.value(moves, parameters)
        if value is None:
            continue
        _check(name, quantity, bound, value)
        if bound.is_finite and bound.upper - bound.lower <= 4 * AT_END * _size(bound.lower, bound.upper):
            continue
        for end, reason in ((bound.lower, bound.lower_reason), (bound.upper, bound.upper_reason)):
            if math.isfinite(end) and abs(value - end) <= AT_END * _size(end):
                found.append(ActiveBound(name, quantity.words, end, reason))
    return tuple(found)


def _check(name: str, quantity: Quantity, bound: ProvedBound, value: float) -> None:
    beyond = max(bound.lower - value, value - bound.upper)
    if beyond > BEYOND * _size(value):
        raise VerificationError(
            f"the {quantity.words} ({name}) is {value:.8g} for the re-trained answer, outside its proved interval "
            f"{bound.words}: the proof is wrong, please report it"
        )


def _size(*numbers: float) -> float:
    return max(1.0, *(abs(number) for number in numbers))
