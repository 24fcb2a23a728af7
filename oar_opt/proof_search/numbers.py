"""Numbers that certificates write in few digits."""

from __future__ import annotations

import math

from oar_opt.proof.rationals import Number, exact


def shortened(value: float) -> Number:
    """About the same number, short to write; 0 for one that is none."""
    return exact(float(f"{value:.10g}") if math.isfinite(value) else 0.0)
