"""Where feature changes may lead, in rationals: for bounds everything that a verification admits, and some more.

One features action of a member with record ``x`` allows changes ``delta`` with ``||delta / scale|| <= radius`` under
bounds, directions and fixed features, at the cost ``charge + c(delta)``. The verification of an answer admits in
floating point, with the instance's tolerance ``tau``, lengths up to ``radius + tau max(1, radius)``, values beyond a
bound ``e`` by ``tau max(1, |value|, scale)``, changes of a fixed feature or against its direction by ``tau max(1, |x|,
scale)``, and stated costs that are off by ``10^-9 max(1, cost)``. A :class:`Reach` holds all of this: ``radius`` and
slacks are enlarged by a little more than rounding (``|value| <= |e| / (1 - tau)`` there, or it is not beyond ``e``),
and a change costs at least ``(1 - eps) (charge + c(delta)) - eps``. So where ``E`` is a budget for one member or for
all of them, with the tolerance that the verification has, the length in the norm of the cost is at most ``spent = (E +
eps) / (1 - eps) - charge`` (its root for ``sql2``), and so is every ``|delta_j / scale_j|``.

For linear functions, ``max of g'delta - price c(delta)``: where ball and cost are at least the norm ``N`` (the weaker
of the two, ``linf <= l2 <= l1``), it is at most ``radius max(0, |h|_* - price)`` with ``h_j = scale_j g_j`` (for
``sql2`` the maximum of ``r |h|_* - price r^2``); coordinates whose box is narrow are put aside beforehand, each with
its own largest ``g_j delta_j``. Within ``spent`` the same holds for the norm of the cost. The box alone gives ``sum_j
max(g_j low_j, g_j high_j)``, box and radii together what :mod:`oar_opt.proof.box_duality` finds. The lowest of these
bounds is taken.

Features that move in steps (whole numbers, 0 and 1, multiples of a step) are taken to move continuously between the
least and the largest value that their steps allow, each with the tolerance; where no step is in reach they stay.

Linear constraints and one-hot groups are rows ``a'delta <= r``. None of the bounds here uses them; a bound that leaves
them out is one over more changes.

Reference: S. Boyd, L. Vandenberghe, "Convex Optimization", 2004, section 2.6 (dual norms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq

from oar_opt.problem import CostKind, Direction, Feature, FeatureAction, FeatureType, Member, Norm, RecourseProblem
from oar_opt.proof.box_duality import Rounded
from oar_opt.proof.exact_choices import SLACK
from oar_opt.proof.linear_rules import LinearRule, linear_rules
from oar_opt.proof.rationals import Number, ceiling, dot, exact, exact_row, length_above, root_above
from oar_opt.proof.scalar_maximum import quadratic_maximum

ROUNDED = fmpq(1, 10**12)
"""Of numbers that are compared in floating point."""
COST_SLACK = fmpq(1001, 10**12)
NARROW = fmpq(1, 100)
"""A coordinate with less room than that part of the radius is put aside."""
WHOLE = (FeatureType.INTEGER, FeatureType.ORDINAL, FeatureType.BINARY, FeatureType.CATEGORICAL)
TWO_VALUES = (FeatureType.BINARY, FeatureType.CATEGORICAL)
ORDER = (Norm.LINF, Norm.L2, Norm.L1)
COST_NORMS = {CostKind.L1: Norm.L1, CostKind.L2: Norm.L2, CostKind.SQL2: Norm.L2, CostKind.LINF: Norm.LINF}


@dataclass(frozen=True, eq=False)
class Reach:
    """See the module's docstring. ``low, high (d,)`` hold every change, all finite; ``spent`` is None where no budget
    limits the cost. ``rows`` are pairs ``(a, r)`` with ``a'delta <= r``."""

    norm: Norm
    radius: Number
    scales: list[Number]
    low: list[Number]
    high: list[Number]
    cost: CostKind
    charge: Number
    spent: Number | None = None
    rows: tuple[tuple[list[Number], Number], ...] = ()

    def most(self, g: Sequence[Number], price: Number) -> Number:
        """At least every ``g'delta`` less the price times the cost; ``price >= 0``."""
        ends = [max(a * low, a * high) for a, low, high in zip(g, self.low, self.high, strict=True)]
        wide = [j for j, end in enumerate(ends) if end > NARROW * self.radius * self.scales[j] * abs(g[j])]
        rest = sum((end for j, end in enumerate(ends) if j not in wide), fmpq(0))
        priced = price * (1 - COST_SLACK)
        counted = priced if self.cost is CostKind.COUNT else fmpq(0)
        h = [g[j] * self.scales[j] for j in wide]
        found = [sum(ends, fmpq(0)) - counted]
        found.append(rest + self._along(_dual(self._weaker(), h), priced, self.radius))
        if self.spent is not None and self.spent < self.radius:
            found.append(rest + self._along(_dual(COST_NORMS[self.cost], h), priced, self.spent))
        if len(wide) > 1 and min(found) > -counted and self._is_cut(wide, h, priced):
            found.append(rest + self._rounded(wide, priced).most(h) - counted)
        return min(found) + self._fixed(price)

    def _is_dear(self, priced: Number) -> bool:
        """Whether the norm of the cost matters."""
        return self.cost in COST_NORMS and (priced != 0 or self.spent is not None)

    def _is_cut(self, wide: Sequence[int], h: Sequence[Number], priced: Number) -> bool:
        """Whether box, radii and cost restrict a change along ``h`` together by more than one of them may do."""
        norms = {self.norm} | ({COST_NORMS[self.cost]} if self._is_dear(priced) else set())
        if len(norms) > 1 or norms == {Norm.LINF}:
            return len(norms) > 1
        radius = self.radius if self.spent is None else min(self.radius, self.spent)
        rooms = [(self.high[j] if a > 0 else -self.low[j]) / self.scales[j] for j, a in zip(wide, h, strict=True)]
        if norms == {Norm.L1}:
            return any(room < radius for room in rooms)
        return any(room < 0 or (radius * a) ** 2 > room**2 * dot(h, h) for room, a in zip(rooms, h, strict=True))

    def _rounded(self, wide: Sequence[int], priced: Number) -> Rounded:
        """The box of some coordinates within all radii, without the cost of a count."""
        nothing = fmpq(0)
        return Rounded(
            low=[self.low[j] / self.scales[j] for j in wide],
            high=[self.high[j] / self.scales[j] for j in wide],
            R1=self.radius_in(Norm.L1),
            R2=self.radius_in(Norm.L2),
            A=priced if self.cost is CostKind.L1 else nothing,
            Q=priced if self.cost is CostKind.SQL2 else nothing,
            B=priced if self.cost is CostKind.L2 else nothing,
        )

    def radius_in(self, norm: Norm) -> Number | None:
        """The radius in a norm, that of a budget too; None where there is none."""
        radii = [self.radius] if self.norm is norm else []
        if self.spent is not None and COST_NORMS[self.cost] is norm:
            radii.append(self.spent)
        return min(radii, default=None)

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
        """What ``|delta / scale|^2`` is at most, where a radius says so: l1 is no less than l2."""
        radii = [one for one in (self.radius_in(Norm.L1), self.radius_in(Norm.L2)) if one is not None]
        return min(radii) ** 2 if radii else None

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

    def _along(self, slope: Number, priced: Number, radius: Number) -> Number:
        """The largest ``r slope`` less the cost of length ``r``, from 0 to a radius."""
        match self.cost:
            case CostKind.COUNT:
                return radius * slope - priced
            case CostKind.SQL2:
                found = quadratic_maximum(priced, slope, fmpq(0), radius)
                return radius * slope if found is None else found
            case _:
                return radius * max(fmpq(0), slope - priced)

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
    if problem.tolerances.feasibility >= 0.5:
        return "its tolerance is 0.5 or more, and changes have no bounds under that"
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
    spent = _spent(problem, exact(action.charge))
    far = radius if spent is None else min(radius, spent)
    ends = [_ends(f, value, far, slack) for f, value in zip(problem.features, x, strict=True)]
    return Reach(
        norm=action.norm,
        radius=radius,
        scales=scales,
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
        cost=problem.collective.cost,
        charge=exact(action.charge),
        spent=spent,
        rows=tuple(_row(rule, x, ends, tau) for rule in linear_rules(problem)),
    )


def _row(
    rule: LinearRule, x: Sequence[Number], ends: Sequence[tuple[Number, Number]], tau: Number
) -> tuple[list[Number], Number]:
    """A rule on what a record becomes, as one on its change, with the slack that it has at most."""
    sizes = [max(abs(value + low), abs(value + high)) for value, (low, high) in zip(x, ends, strict=True)]
    rounding = ROUNDED * (1 + abs(rule.end) + sum((abs(a) * size for a, size in zip(rule.a, sizes, strict=True)), tau))
    return rule.a, rule.end - dot(rule.a, x) + rule.slack(sizes, tau) + rounding


def _spent(problem: RecourseProblem, charge: Number) -> Number | None:
    """The longest that budgets let a change be, in the norm of the cost; None where they say nothing."""
    collective, tau = problem.collective, exact(problem.tolerances.feasibility) + SLACK
    limits = [exact(one) for one in (collective.budget.each, collective.budget.total) if one is not None]
    if not limits or collective.cost is CostKind.COUNT:
        return None
    most = min(limit + tau * max(fmpq(1), limit) for limit in limits)
    left = max(fmpq(0), (most + COST_SLACK) / (1 - COST_SLACK) - charge)
    return root_above(left) if collective.cost is CostKind.SQL2 else left


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
    if not feature.is_fixed:
        low, high = _in_steps(feature, x, low, high, slack * max(fmpq(1), abs(x + low), abs(x + high), abs(x), scale))
    return (low, high) if low <= high else (high, low)


def _in_steps(feature: Feature, x: Number, low: Number, high: Number, slack: Number) -> tuple[Number, Number]:
    """The ends between which changes lie that are within the slack of a feature's steps."""
    if feature.type in WHOLE:
        low, high = _on_grid(x + low, x + high, fmpq(1), slack)
        if feature.type in TWO_VALUES:
            low, high = max(low, -slack), min(high, 1 + slack)
        low, high = low - x, high - x
    if feature.step is not None:
        low, high = _on_grid(low, high, exact(feature.step), slack)
    return low, high


def _on_grid(low: Number, high: Number, step: Number, slack: Number) -> tuple[Number, Number]:
    """The ends between which the numbers lie that are within the slack of a multiple of the step."""
    first, last = ceiling((low - slack) / step), -ceiling(-(high + slack) / step)
    return max(low, first * step - slack), min(high, last * step + slack)
