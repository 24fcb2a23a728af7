"""The settings of update rules, typed: what :class:`oar_opt.problem.Update` keeps as it stands in the file.

Read by the rules' replay and by the programs over them alike; here are data and their checks, no rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from oar_opt.errors import InputError
from oar_opt.problem import Indices, Intercept, Label, Matrix, RecourseProblem, Update, UpdateKind, Vector


class StepLoss(StrEnum):
    """Losses that gradient steps know; their values are those of the learners."""

    SQUARED = "squared"
    HINGE = "hinge"
    LOGISTIC = "logistic"


OWN_LOSS = {"ridge": StepLoss.SQUARED, "svm": StepLoss.HINGE, "logistic": StepLoss.LOGISTIC}
"""The loss that a learner's own gradient steps have."""


# -- gradient steps ---


@dataclass(frozen=True, eq=False)
class GradientSettings:
    """``T`` steps from ``theta0 (p,)``, which is ``w``, followed by ``b`` where there is an intercept.

    ``batches[t]`` are the records of step ``t``. ``decays (p,)`` is 1 for parameters that ``l2`` pulls towards 0 and 0
    for a free intercept. ``is_mean``: a step follows the mean over the batch's weight, else the sum.
    """

    theta0: Vector
    rate: float
    l2: float
    decays: Vector
    is_mean: bool
    loss: StepLoss
    batches: tuple[Indices, ...]
    has_intercept: bool

    @classmethod
    def of(cls, problem: RecourseProblem) -> GradientSettings:
        """The settings of a problem whose update is ``gradient``."""
        settings = dict(problem.update.settings)
        start = dict(settings["theta0"])
        intercept = problem.learner.intercept
        has_intercept = intercept is not Intercept.NONE
        decays = np.ones(problem.d + has_intercept)
        if intercept is Intercept.FREE:
            decays[-1] = 0.0
        batches = settings.get("batches") or [np.arange(problem.n)] * int(settings.get("T") or 1)
        loss = settings.get("loss") or OWN_LOSS[problem.learner.kind]
        return cls(
            theta0=np.array([*start["w"], *([start.get("b", 0.0)] if has_intercept else [])], dtype=np.float64),
            rate=float(settings["rate"]),
            l2=float(settings.get("l2") or 0.0),
            decays=decays,
            is_mean=(settings.get("reduction") or "mean") == "mean",
            loss=StepLoss(loss),
            batches=tuple(np.array(batch, dtype=np.int64) for batch in batches),
            has_intercept=has_intercept,
        )

    @property
    def T(self) -> int:
        return len(self.batches)

    @property
    def kept(self) -> Vector:
        """What a step keeps of every parameter, ``(p,)``: ``1 - rate l2``, or 1 for a free intercept."""
        factors: Vector = 1.0 - self.rate * self.l2 * self.decays
        return factors

    def extend(self, X: Matrix) -> Matrix:
        """Features with a 1 appended where there is an intercept, ``(m, p)``."""
        return np.hstack([X, np.ones((len(X), 1))]) if self.has_intercept else X

    def split(self, theta: Vector) -> tuple[Vector, float]:
        """``(w, b)``."""
        return (theta[:-1], float(theta[-1])) if self.has_intercept else (theta, 0.0)


def gradient_update(
    w0: Sequence[float],
    b0: float = 0.0,
    *,
    rate: float,
    T: int = 1,
    l2: float = 0.0,
    reduction: str = "mean",
    batches: Sequence[Sequence[int]] | None = None,
    loss: str | None = None,
) -> Update:
    """The update ``gradient`` as an instance file's keys give it.

    Parameters
    ----------
    w0, b0 : parameters before the first step, ``(d,)`` and a number.
    rate : step length. T : number of steps. l2 : weight decay.
    reduction : ``mean`` over the weight of the batch, or ``sum``.
    batches : the records of each step, by index; None: all of them in every step.
    loss : ``squared``, ``hinge`` or ``logistic``; None: the learner's.
    """
    theta0 = (("w", tuple(float(value) for value in w0)), ("b", float(b0)))
    own = None if batches is None else tuple(tuple(int(i) for i in batch) for batch in batches)
    settings = {"T": T, "rate": rate, "l2": l2, "reduction": reduction, "theta0": theta0, "batches": own, "loss": loss}
    return Update(UpdateKind.GRADIENT, tuple(settings.items()))


# -- running centroids ---


@dataclass(frozen=True, eq=False)
class RunningSettings:
    """Records that arrive in ``order``, and where the centroids stand before them.

    ``centroids (classes, d)``, with NaN rows for classes without any; ``counts (classes,)`` is the weight behind them.
    A ``rate`` is the fraction of the way that a centroid goes to a record; with None it is the exact running mean.
    A class that has no centroid yet takes the first record that arrives for its own.
    """

    order: Indices
    centroids: Matrix
    counts: Vector | None
    rate: float | None

    @classmethod
    def of(cls, problem: RecourseProblem) -> RunningSettings:
        """The settings of a problem whose update is ``running_centroid``; see :func:`history`."""
        settings = dict(problem.update.settings)
        stated = settings.get("order")
        order = np.arange(problem.n) if stated is None else np.array(stated, dtype=np.int64)
        means, weights = history(problem, order)
        given, counts = settings.get("centroids"), settings.get("counts")
        if given is not None:
            means = np.array([centroid for _, centroid in given], dtype=np.float64)
        rate = settings.get("rate")
        if rate is not None:
            return cls(order, means, None, float(rate))
        weights = weights if counts is None else np.array([count for _, count in counts], dtype=np.float64)
        return cls(order, means, weights, None)

    @property
    def lacking(self) -> Indices:
        """The classes with a count but without a centroid to go with it."""
        if self.counts is None:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero((self.counts > 0) & ~np.isfinite(self.centroids).all(axis=1))


def share_of_arrival(rate: float, s: float) -> float:
    """``1 - (1 - rate)^s``, the fraction of the way to a record of weight ``s``, to all digits."""
    if rate == 1.0:
        return 1.0 if s > 0 else 0.0
    return -math.expm1(s * math.log1p(-rate))


def history(problem: RecourseProblem, order: Indices) -> tuple[Matrix, Vector]:
    """Centroids and weights of the classes over the records that do not arrive, as they are before anyone acts."""
    records, classes = problem.records, len(problem.classes or ())
    past = np.setdiff1d(np.arange(problem.n), order)
    X, y, s = records.X[past], records.y[past], records.s[past]
    weights = np.array([s[y == c].sum() for c in range(classes)])
    means = np.full((classes, problem.d), np.nan)
    for c in np.flatnonzero(weights > 0):
        means[c] = s[y == c] @ X[y == c] / weights[c]
    return means, weights


def running_centroid_update(
    *,
    rate: float | None = None,
    counts: Mapping[Label, float] | None = None,
    centroids: Mapping[Label, Sequence[float]] | None = None,
    order: Sequence[int] | None = None,
) -> Update:
    """The update ``running_centroid`` as an instance file's keys give it; classes in the problem's order.

    Parameters
    ----------
    rate : fraction of the way to each record, or give ``counts``: the weight behind each class's centroid so far.
    centroids : each class's centroid before the first arrival, ``(d,)``; None: of the records not in ``order``.
    order : record indices in the order of arrival; None: all of them as they stand.
    """
    settings: dict[str, Any] = {
        "rate": rate,
        "counts": None if counts is None else tuple((label, float(count)) for label, count in counts.items()),
        "centroids": None
        if centroids is None
        else tuple((label, tuple(float(value) for value in centroid)) for label, centroid in centroids.items()),
        "order": None if order is None else tuple(int(i) for i in order),
    }
    return Update(UpdateKind.RUNNING_CENTROID, tuple(settings.items()))


# -- checks ---


def check_update(problem: RecourseProblem) -> None:
    """An error where the rule and the learner do not go together, or a setting is out of range."""
    match problem.update.kind:
        case UpdateKind.GRADIENT:
            _check_gradient(problem, dict(problem.update.settings))
        case UpdateKind.RUNNING_CENTROID:
            _check_running(problem, dict(problem.update.settings))
        case UpdateKind.PROXIMAL if problem.learner.prior is None:
            raise InputError("update.prior", "is missing", "a proximal update needs a prior, here or in learner.prior")


def _check_gradient(problem: RecourseProblem, settings: Mapping[str, Any]) -> None:
    spec = problem.learner
    for name in ("theta0", "rate"):
        if settings.get(name) is None:
            raise InputError(f"update.{name}", "is missing", "gradient steps need theta0 and rate")
    if spec.is_centroid:
        raise InputError(
            "update.kind", "is 'gradient', and centroids have no loss to descend", "use 'running_centroid'"
        )
    if spec.prior is not None:
        raise InputError("learner.prior", "means nothing to gradient steps", "leave it out: steps begin at theta0")
    loss = settings.get("loss") or OWN_LOSS.get(spec.kind)
    if loss is None:
        known = ", ".join(f"'{name}'" for name in StepLoss)
        raise InputError(
            "update.loss", f"is missing, and '{spec.kind}' has none that steps know", f"name one of {known}"
        )
    if problem.classes is None and loss != StepLoss.SQUARED:
        raise InputError(
            "update.loss", f"is '{loss}', and the instance has no classes", "use 'squared', or name classes"
        )
    start = dict(settings["theta0"])
    if len(start["w"]) != problem.d:
        raise InputError("update.theta0.w", f"has {len(start['w'])} entries", f"give one per feature: {problem.d}")
    if not np.isfinite([*start["w"], start.get("b", 0.0)]).all():
        raise InputError("update.theta0", "contains NaN or an infinity", "every number must be finite")
    if spec.intercept is Intercept.NONE and start.get("b", 0.0) != 0:
        raise InputError("update.theta0.b", "is not 0 though the learner has no intercept", "leave it out")
    if not (np.isfinite(settings["rate"]) and settings["rate"] > 0):
        raise InputError("update.rate", f"is {settings['rate']:g}", "give a number above 0")
    if not (settings.get("l2") or 0.0) >= 0:
        raise InputError("update.l2", f"is negative ({settings['l2']:g})", "give a number of at least 0")
    T = settings.get("T") or 1
    if T < 1:
        raise InputError("update.T", f"is {T}", "give at least one step")
    batches = settings.get("batches")
    if batches is not None and len(batches) != T:
        raise InputError("update.batches", f"has {len(batches)} lists", f"give one per step: T is {T}")
    for t, batch in enumerate(batches or ()):
        if len(batch) == 0:
            raise InputError(f"update.batches[{t}]", "is empty", "name at least one record, or drop the step")
        _check_arrivals(batch, problem.n, f"update.batches[{t}]")


def _check_running(problem: RecourseProblem, settings: Mapping[str, Any]) -> None:
    if not problem.learner.is_centroid:
        kind = problem.learner.kind
        raise InputError("update.kind", f"is 'running_centroid', and '{kind}' has no centroids", "use 'gradient'")
    rate, counts, given = settings.get("rate"), settings.get("counts"), settings.get("centroids")
    if (rate is None) == (counts is None):
        given = "is missing" if rate is None else "is given beside counts"
        raise InputError("update.rate", given, "give either 'rate' or 'counts'")
    if rate is not None and not 0 < rate <= 1:
        raise InputError("update.rate", f"is {rate:g}", "a centroid goes a fraction of the way: above 0, at most 1")
    order = settings.get("order")
    _check_arrivals(order or (), problem.n, "update.order")
    labels = tuple(problem.classes or ())
    for name, pairs in (("counts", counts), ("centroids", given)):
        if pairs is not None and tuple(label for label, _ in pairs) != labels:
            raise InputError(f"update.{name}", "does not have every class once, in order", f"the classes are {labels}")
    for label, centroid in given or ():
        if len(centroid) != problem.d or not np.isfinite(centroid).all():
            raise InputError(
                f"update.centroids.{label}", "is no point", f"give one finite number per feature: {problem.d}"
            )
    for label, count in counts or ():
        if not (np.isfinite(count) and count >= 0):
            raise InputError(f"update.counts.{label}", f"is {count:g}", "give a number of at least 0")


def _check_arrivals(indices: Sequence[int], n: int, where: str) -> None:
    seen: set[int] = set()
    for k, i in enumerate(indices):
        if not 0 <= i < n:
            raise InputError(f"{where}[{k}]", f"record {i} does not exist", f"records are 0 to {n - 1}")
        if i in seen:
            raise InputError(f"{where}[{k}]", f"names record {i} again", "a record arrives once here")
        seen.add(int(i))
