"""What a relaxation says of a part of the choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from oar_opt.proof.leaf_bounds import LeafBounds, Stated
from oar_opt.proof.nodes import Node
from oar_opt.proof.parts import Direction, Part, Place
from oar_opt.proof.rationals import Number, approximate
from oar_opt.proof_search.cone_rows import Floats
from oar_opt.proof_search.numbers import shortened


@dataclass(frozen=True, eq=False)
class Spread:
    """Where a relaxation's moments say that a set of changes leads: the mean ``(d,)``, and the direction in which it is
    least certain, with the variance there in the set's widths."""

    variance: float
    direction: Direction
    mean: Floats

    @property
    def middle(self) -> Number:
        """The mean in that direction."""
        return shortened(float(np.array([approximate(n) for n in self.direction]) @ self.mean))


@dataclass(frozen=True)
class Assessed:
    """A part's relaxation: the leaf that refutes it, or None; how far it is from that; the options' shares; and how
    uncertain feature changes are."""

    leaf: Node | None
    slack: float
    shares: Mapping[int, Floats]
    spreads: Mapping[Place, Spread] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        bounds: LeafBounds,
        part: Part,
        given: Stated,
        leaf: Node,
        shares: Mapping[int, Floats],
        spreads: Mapping[Place, Spread] | None = None,
    ) -> Assessed:
        """With the leaf that states multipliers, where they refute the part."""
        slack = bounds.slack(part, given)
        refuted = bounds.refutes(part, given, slack)
        return cls(leaf if refuted else None, math.inf if slack is None else approximate(slack), shares, spreads or {})

    def gain(self, child: Assessed | None) -> float:
        """How much nearer a child is to being refuted; all of it for one choice."""
        if child is None or child.leaf is not None:
            return self.slack
        return max(0.0, self.slack - child.slack) if math.isfinite(child.slack) else 0.0
