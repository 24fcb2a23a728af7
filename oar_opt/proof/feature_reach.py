"""Where feature changes may lead, in rationals: for bounds everything that a verification admits, and some more.

One features action of a member with record ``x`` allows changes ``delta`` with ``||delta / scale|| <= radius`` under
bounds, directions and fixed features, at the cost ``charge + c(delta)``. The verification of an answer admits in
floating point, with the instance's tolerance ``tau``, lengths up to ``radius + tau max(1, radius)``, values beyond a
bound ``e`` by ``tau max(1, |value|, scale)``, changes of a fixed feature or against its direction by ``tau max(1, |x|,
scale)``, and stated costs that are off by ``10^-9 max(1, cost)``. A :class:`Reach` holds all of this: ``radius`` and
slacks are enlarged by a little more than rounding (``|value| <= |e| / (1 - tau)`` there, or it is not beyond ``e``),
and a change costs at least ``(1 - eps) (charge + c(delta)) - eps``. What it leaves out, and so enlarges further: the
budget for one member.

For linear functions, ``max of g'delta - price c(delta)``: where ball and cost are at least the norm ``N`` (the weaker
of the two, ``linf <= l2 <= l1``), it is at most ``radius max(0, |h|_* - price)`` with ``h_j = scale_j g_j`` (for
``sql2`` the maximum of ``r |h|_* - price r^2``); coordinates whose box is narrow are put aside beforehand, each with
its own largest ``g_j delta_j``. The box alone gives ``sum_j max(g_j low_j, g_j high_j)``, and the lower of the two
bounds is taken.

Not covered: features that move in steps, one-hot groups, linear constraints among features.

Reference: S. Boyd, L. Vandenberghe, "Convex Optimization", 2004, section 2.6 (dual norms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flint import fmpq

from oar_opt.problem import CostKind, Direction, Feature, FeatureAction, FeatureType, Member, Norm, RecourseProblem
from oar_opt.proof.rationals import Number, dot, exact, exact_row, length_above
from oar_opt.proof.scalar_maximum import quadratic_maximum

ROUNDED = fmpq(1, 10**12)
"""Of numbers that are compared in floating point."""
COST_SLACK = fmpq(1001, 10**12)
NARROW = fmpq(1, 100)
"""A coordinate with less room than that part of the radius is put aside."""
ORDER = (Norm.LINF, Norm.L2, Norm.L1)
COST_NORMS = {CostKind.L1: Norm.L1, CostKind.L2: Norm.L2, CostKind.SQL2: Norm.L2, CostKind.LINF: Norm.LINF}


@dataclass(frozen=True, eq=False)
class Reach:
    """See the module's docstring. ``low, high (d,)`` hold every change, all finite."""

    norm: Norm
    radius: Number
    scales: list[Number]
    low: list[Number]
    high: list[Number]
    cost: CostKind
    charge: Number

    def most(self, g: Sequence[Number], price: Number) -> Number:
        """At least every ``g'delta`` less the price times the cost; ``price >= 0``."""
        ends = [max(a * low, a * high) for a, low, high in zip(g, self.low, self.high, strict=True)]
        wide = [j for j, end in enumerate(ends) if end > NARROW * self.radius * self.scales[j] * abs(g[j])]
        rest = sum((end for j, end in enumerate(ends) if j not in wide), fmpq(0))
        priced = price * (1 - COST_SLACK)
        norm = self._weaker()
        slope = _dual(norm, [g[j] * self.scales[j] for j in wide])
        box = sum(ends, fmpq(0)) - (priced if self.cost is CostKind.COUNT else fmpq(0))
        return min(box, rest + self._along(slope, priced)) + self._fixed(price)

    def farthest(self, slope: Number, price: Number) -> Number:
        """At least every ``slope |delta|`` (Euclidean) less the price times the cost; ``slope, price >= 0``."""
        priced = price * (1 - COST_SLACK)
        far = self.length
        by_cost = slope * far - (priced if self.cost is CostKind.COUNT else fmpq(0))
        if self.cost in (CostKind.L1, CostKind.L2):
            by_cost = far * max(fmpq(0), slope - priced / max(self.scales))
        elif self.cost is CostKind.SQL2:
            found = quadratic_maximum(priced / max(self.scales) ** 2, slope, fmpq(0), far)
            by_cost = by_cost if found is None else found
        return by_cost + self._fixed(price)

    @property
    def ball(self) -> Number | None:
        """What ``|delta / scale|^2`` is at most, where norm and radius say so."""
        return None if self.norm is Norm.LINF else self.radius * self.radius

    def within(self, feature: int, low: Number | None, high: Number | None) -> Reach:
        """The changes whose entry at one feature is at least ``low`` and at most ``high``."""
        lows, highs = list(self.low), list(self.high)
        lows[feature] = lows[feature] if low is None else max(low, lows[feature])
        highs[feature] = highs[feature] if high is None else min(high, highs[feature])
        return replace(self, low=lows, high=highs)

    def cost_below(self, direction: Sequence[Number]) -> tuple[Number, list[Number]] | None:
        """``(k, g)`` with every cost at least ``k + g'delta``, by a direction ``n (d,)`` (none: 0); None where ``n`` is
        too long.

        A norm of ``u = delta / scale`` is at least ``n'u`` if the dual norm of ``n`` is at most 1; ``|u|^2 >= 2 n'u -
        |n|^2`` for every ``n``.
        """
        n = list(direction) or [fmpq(0)] * len(self.low)
        sizes = [abs(entry) for entry in n]
        level, factor = fmpq(0), 1
        match self.cost:
            case CostKind.L1:
                fits = max(sizes) <= 1
            case CostKind.L2:
                fits = dot(n, n) <= 1
            case CostKind.LINF:
                fits = sum(sizes, fmpq(0)) <= 1
            case CostKind.SQL2:
                fits, level, factor = True, -dot(n, n), 2
            case CostKind.COUNT:
                fits, level = not any(n), fmpq(1)
        if not fits or len(n) != len(self.low):
            return None
        share = 1 - COST_SLACK
        slopes = [share * factor * entry / scale for entry, scale in zip(n, self.scales, strict=True)]
        return share * (self.charge + level) - COST_SLACK, slopes

    @property
    def length(self) -> Number:
        """At least the Euclidean length of every change."""
        sizes = [max(abs(low), abs(high)) for low, high in zip(self.low, self.high, strict=True)]
        wide = [j for j, size in enumerate(sizes) if size > NARROW * self.radius * self.scales[j]]
        rest = sum((size for j, size in enumerate(sizes) if j not in wide), fmpq(0))
        box = length_above(sizes)
        if self.norm is Norm.LINF or not wide:
            return box
        return min(box, rest + self.radius * max(self.scales[j] for j in wide))

    @property
    def dearest(self) -> Number | None:
        """What a unit of Euclidean length costs at least, times this, is at least 1; None where it may cost nothing."""
        return max(self.scales) / (1 - COST_SLACK) if self.cost in (CostKind.L1, CostKind.L2) else None

    def _along(self, slope: Number, priced: Number) -> Number:
        """The largest ``r slope`` less the cost of length ``r``, from 0 to the radius."""
        match self.cost:
            case CostKind.COUNT:
                return self.radius * slope - priced
            case CostKind.SQL2:
                found = quadratic_maximum(priced, slope, fmpq(0), self.radius)
                return self.radius * slope if found is None else found
            case _:
                return self.radius * max(fmpq(0), slope - priced)

    def _fixed(self, price: Number) -> Number:
        """The part of the cost that any change has, as a loss."""
        return price * (COST_SLACK - (1 - COST_SLACK) * self.charge)

    def _weaker(self) -> Norm:
        other = COST_NORMS.get(self.cost, self.norm)
        return min(self.norm, other, key=ORDER.index)


def _dual(norm: Norm, h: Sequence[Number]) -> Number:
    """At least the dual norm."""
    if norm is Norm.LINF:
        return sum((abs(value) for value in h), fmpq(0))
    if norm is Norm.L1:
        return max((abs(value) for value in h), default=fmpq(0))
    return length_above(h) if dot(h, h) != 0 else fmpq(0)


def not_reachable(problem: RecourseProblem) -> str | None:
    """Why the rules of feature changes are not covered here, or None."""
    if problem.constraints:
        return "linear constraints among features are not covered in rationals yet"
    if problem.tolerances.feasibility >= 0.5:
        return "its tolerance is 0.5 or more, and changes have no bounds under that"
    for feature in problem.features:
        if feature.group is not None:
            return f"'{feature.name}' is in a one-hot group, which is not covered in rationals yet"
        if not feature.is_fixed and (feature.type is not FeatureType.CONTINUOUS or feature.step is not None):
            return f"'{feature.name}' moves in steps, which is not covered in rationals yet"
    return None


def reaches(problem: RecourseProblem, member: Member) -> list[Reach]:
    """Where each of a member's features actions may lead; the problem is not :func:`not_reachable`."""
    return [_reach(problem, member.record, action) for action in member.feature_actions]


def _reach(problem: RecourseProblem, record: int, action: FeatureAction) -> Reach:
    tau = exact(problem.tolerances.feasibility)
    stated = exact(action.radius)
    radius = (stated + tau * max(fmpq(1), stated)) * (1 + 1000 * ROUNDED)
    slack = tau / (1 - tau) * (1 + 1000 * ROUNDED) + ROUNDED
    scales = exact_row(feature.scale for feature in problem.features)
    x = exact_row(problem.records.X[record].tolist())
    ends = [_ends(f, value, radius, slack) for f, value in zip(problem.features, x, strict=True)]
    return Reach(
        norm=action.norm,
        radius=radius,
        scales=scales,
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
        cost=problem.collective.cost,
        charge=exact(action.charge),
    )


def _ends(feature: Feature, x: Number, radius: Number, slack: Number) -> tuple[Number, Number]:
    """The least and the largest change of one feature."""
    scale = exact(feature.scale)
    low, high = -radius * scale, radius * scale
    still = slack * max(fmpq(1), abs(x), scale)
    if feature.is_fixed or feature.direction is Direction.INCREASE:
        low = max(low, -still)
    if feature.is_fixed or feature.direction is Direction.DECREASE:
        high = min(high, still)
    if feature.lower is not None:
        end = exact(feature.lower)
        low = max(low, end - x - slack * max(fmpq(1), abs(end), scale))
    if feature.upper is not None:
        end = exact(feature.upper)
        high = min(high, end - x + slack * max(fmpq(1), abs(end), scale))
    return (low, high) if low <= high else (high, low)
