"""The largest sum of one number per member, over all choices of a part or with prices in place of its budgets.

Every option ``o`` that a member ``m`` has left in a :class:`~oar_opt.proof.parts.Part` has a number ``v_(m,o)``, a
cost, and acts or stays (``a = 0`` for staying, else 1). With prices ``lambda, nu >= 0``,

    sum_m v_(m,o) + lambda (limit - sum cost) + nu (cap - sum a)
        <= lambda limit + nu cap + sum_m max over o of (v - lambda cost - nu a).

Without prices: a member that may stay gains ``v - v_stay`` by acting, at most its best gain ``G``, and at most ``r``
times its cost, ``r`` its best ratio of gain to cost; any other member has its largest ``v``, at no less than its least
cost. So no choice within the limit has more than the fractional knapsack of items with gain ``G`` and size ``G / r``,
and none within the cap more than that of items of size 1. The lower of the two is taken.

Reference: G. B. Dantzig, "Discrete-Variable Extremum Problems", 1957; A. M. Geoffrion, "Lagrangean Relaxation for
Integer Programming", 1974.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flint import fmpq

from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import Number, exact

Values = Mapping[int, Mapping[int, Number]]
"""By the member's record and the option, for all options left."""


def effort_of(part: Part, record: int, option: int) -> tuple[Number, int]:
    """The cost of an option (0 of a set of changes, whose values have it already), and 1 where it is to act."""
    if option == 0:
        return fmpq(0), 0
    return (fmpq(0) if part.is_set(record, option) else exact(part.menus[record][option - 1].cost)), 1


def prices_fit(part: Part, cost: Number, acting: Number) -> bool:
    """Whether prices are at least 0, and 0 where there is no budget."""
    return bool(
        cost >= 0 and acting >= 0 and (part.limit is not None or cost == 0) and (part.cap is not None or acting == 0)
    )


def priced_maximum(part: Part, values: Values, cost: Number, acting: Number) -> Number:
    """The bound with prices that :func:`prices_fit`."""
    total = cost * (part.limit or 0) + acting * (part.cap or 0)
    for record, options in values.items():
        found = []
        for option, value in options.items():
            paid, acts = effort_of(part, record, option)
            found.append(value - cost * paid - acting * acts)
        total += max(found)
    return total


def largest(part: Part, values: Values) -> Number:
    """A number that no choice's sum within the part's limit and cap exceeds."""
    under_cap = _under_cap(part, values)
    return under_cap if part.limit is None else min(_under_limit(part, values, part.limit), under_cap)


def least(part: Part, values: Values) -> Number:
    """A number that no choice's sum within the part's limit and cap is below."""
    return -largest(part, {record: {k: -v for k, v in options.items()} for record, options in values.items()})


def _under_cap(part: Part, values: Values) -> Number:
    total, gains, forced = fmpq(0), [], 0
    for options in values.values():
        best = max(options.values())
        if 0 not in options:
            total, forced = total + best, forced + 1
            continue
        total += options[0]
        gains.append(best - options[0])
    if part.cap is None:
        return total + sum(gains, fmpq(0))
    return total + sum(sorted(gains, reverse=True)[: max(0, part.cap - forced)], fmpq(0))


def _under_limit(part: Part, values: Values, limit: Number) -> Number:
    total, spent, items = fmpq(0), fmpq(0), []
    for record, options in values.items():
        paid = {option: effort_of(part, record, option)[0] for option in options}
        if 0 not in options:
            total, spent = total + max(options.values()), spent + min(paid.values())
            continue
        total += options[0]
        items.append([(value - options[0], paid[option]) for option, value in options.items() if value > options[0]])
    return total + _knapsack(items, max(fmpq(0), limit - spent))


def _knapsack(items: Sequence[Sequence[tuple[Number, Number]]], room: Number) -> Number:
    """The fractional knapsack of members with pairs of a gain above 0 and its cost."""
    total, sized = fmpq(0), []
    for pairs in items:
        most = max((gain for gain, _ in pairs), default=fmpq(0))
        if any(cost == 0 for _, cost in pairs):
            total += most
        elif pairs:
            sized.append((max(gain / cost for gain, cost in pairs), most))
    for ratio, most in sorted(sized, reverse=True):
        taken = min(most, ratio * room)
        total, room = total + taken, room - taken / ratio
    return total
