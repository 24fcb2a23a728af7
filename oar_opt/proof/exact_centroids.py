"""Centroids in rationals: weighted means, and running centroids record by record.

Nearest centroid: ``mu_c = sum_(y_i = c) s_i x_i / sum_(y_i = c) s_i``. Running centroids, for a record ``(x, y, s)``
that arrives in class ``c``, with the exact count or with a rate:

    N_c <- N_c + s,  mu_c <- mu_c + s / N_c (x - mu_c);        mu_c <- mu_c + (1 - (1 - rate)^s) (x - mu_c).

A class that had no centroid takes its first record. All are rational operations, but for a power with a weight ``s``
that is no whole number, which is a ball. Centroids and counts that the instance does not state are those of the
records that do not arrive, exactly, where the update rule itself rounds them.

The margin at a query is the least over the other classes of ``||x_q - mu_c||^2 - ||x_q - mu_t||^2``: exact, and over
intervals the interval that the ends give.

Reference: R. Tibshirani, T. Hastie, B. Narasimhan, G. Chu, "Diagnosis of multiple cancer types by shrunken centroids
of gene expression", 2002; D. E. Knuth, "The Art of Computer Programming", volume 2, 1997, section 4.2.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flint import arb, ctx, fmpq

from oar_opt.problem import Label, Records, RecourseProblem
from oar_opt.proof.rationals import PRECISION, Interval, Number, exact, exact_row
from oar_opt.update_settings import RunningSettings

Value = Any
"""A ``flint.fmpq`` or a ``flint.arb``."""
LARGEST_POWER = 1000
"""Weights above are a power in ball arithmetic even where they are whole."""

Centroids = list[list[Interval] | None]
"""One per class; None where the class has none."""


def exact_means(problem: RecourseProblem, records: Records) -> Centroids:
    """The nearest centroid's parameters."""
    found = _means(problem, records, range(records.n))
    return [None if mean is None else [Interval.at(value) for value in mean] for mean, _ in found]


def exact_running(problem: RecourseProblem, records: Records) -> Centroids:
    """Where running centroids are after all arrivals."""
    running = RunningSettings.of(problem)
    order = running.order.tolist()
    with ctx.workprec(PRECISION):
        mu, counts = _start(problem, running, order)
        for i in order:
            if records.s[i] > 0:
                c = int(records.y[i])
                mu[c], counts[c] = _arrival(running.rate, mu[c], counts[c], records, i)
        return [None if mean is None else [_interval(value) for value in mean] for mean in mu]


def counted_without_centroid(problem: RecourseProblem) -> Label | None:
    """The first class whose running mean has a stated count above 0 but no centroid to begin at, or None.

    Such a count says nothing of where the mean is, so what the next record makes of it is undefined.
    """
    settings, order = dict(problem.update.settings), RunningSettings.of(problem).order.tolist()
    if settings.get("counts") is None or settings.get("centroids") is not None:
        return None
    arriving = set(order)
    history = _means(problem, problem.records, [i for i in range(problem.n) if i not in arriving])
    lacking = [
        label
        for (label, count), (mean, _) in zip(settings["counts"], history, strict=True)
        if count > 0 and mean is None
    ]
    return lacking[0] if lacking else None


def _interval(value: Value) -> Interval:
    return Interval.at(value) if isinstance(value, fmpq) else Interval.around(value)


def _means(problem: RecourseProblem, records: Records, rows: Sequence[int]) -> list[tuple[list[Value] | None, Number]]:
    """Weighted mean and weight of every class over some records."""
    found: list[tuple[list[Value] | None, Number]] = []
    for c in range(len(problem.classes or ())):
        total, sums = fmpq(0), [fmpq(0)] * problem.d
        for i in rows:
            if records.y[i] == c and records.s[i] > 0:
                s = exact(records.s[i])
                total += s
                sums = [entry + s * x for entry, x in zip(sums, exact_row(records.X[i].tolist()), strict=True)]
        found.append(([entry / total for entry in sums] if total > 0 else None, total))
    return found


def _start(
    problem: RecourseProblem, running: RunningSettings, order: Sequence[int]
) -> tuple[list[list[Value] | None], list[Number]]:
    """Centroids and counts before the first arrival."""
    settings, arriving = dict(problem.update.settings), set(order)
    history = _means(problem, problem.records, [i for i in range(problem.n) if i not in arriving])
    given, stated = settings.get("centroids"), settings.get("counts")
    mu: list[list[Value] | None] = [mean for mean, _ in history]
    if given is not None:
        mu = [exact_row(centroid) for _, centroid in given]
    counts = [weight for _, weight in history] if stated is None else exact_row(count for _, count in stated)
    if running.rate is None:
        mu = [mean if count > 0 else None for mean, count in zip(mu, counts, strict=True)]
    return mu, counts


def _arrival(
    rate: float | None, mean: list[Value] | None, count: Number, records: Records, i: int
) -> tuple[list[Value], Number]:
    x, s = exact_row(records.X[i].tolist()), exact(records.s[i])
    count = count + s
    if mean is None:
        return x, count
    share = s / count if rate is None else _share(exact(rate), s)
    return [m + share * (value - m) for m, value in zip(mean, x, strict=True)], count


def _share(rate: Number, s: Number) -> Value:
    """``1 - (1 - rate)^s``."""
    if rate == 1:
        return fmpq(1)
    if s.q == 1 and s <= LARGEST_POWER:
        return 1 - (1 - rate) ** int(s.p)
    return 1 - arb(1 - rate) ** arb(s)


def centroid_margin(mu: Centroids, x: Sequence[Number], own: int) -> Interval:
    """The margin at ``x (d,)`` of the class ``own``; every class has a centroid."""
    distances = [_squared_distance(mean, x) for mean in mu if mean is not None]
    others = [distance for c, distance in enumerate(distances) if c != own]
    least = Interval(min(one.low for one in others), min(one.high for one in others))
    return least + distances[own].times(fmpq(-1))


def _squared_distance(mean: Sequence[Interval], x: Sequence[Number]) -> Interval:
    total = Interval.at(fmpq(0))
    for entry, value in zip(mean, x, strict=True):
        total = total + entry.plus(-value).squared()
    return total
