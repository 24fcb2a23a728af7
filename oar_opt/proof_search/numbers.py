"""Numbers of few bits, which certificates write in few digits."""

from __future__ import annotations

import math

from oar_opt.proof.rationals import Number, exact


def shortened(value: float, bits: int = 40) -> Number:
    """About the same number, with so many bits."""
    mantissa, exponent = math.frexp(value)
    return exact(math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits))
