"""Enclosures of a re-trained model: intervals with rational ends that provably hold its margins.

| learner or rule | how | page |
|---|---|---|
| nearest centroid, running centroids | exact | :mod:`oar_opt.proof.exact_centroids` |
| ridge, svm, squared hinge, Huber, epsilon-insensitive | exact optimum | :mod:`oar_opt.proof.exact_optimum` |
| the same, where that is not found, unless the intercept is free | dual point | :mod:`oar_opt.proof.duality_gap` |
| l1_svm, lad | exact optimum, proved to be the only one | :mod:`oar_opt.proof.exact_vertex` |
| logistic regression | gradient at an approximate optimum | :mod:`oar_opt.proof.gradient_bound` |
| gradient steps | exact, or in balls for the logistic loss | :mod:`oar_opt.proof.exact_steps` |

:mod:`oar_opt.proof.proposals` says where to look, in floating point, and nothing rests on it: where a proposal is bad
the enclosure is wide or missing, never wrong."""

from __future__ import annotations

from dataclasses import dataclass

from flint import fmpq

from oar_opt.errors import UnsupportedError
from oar_opt.problem import Intercept, Query, Records, RecourseProblem, UpdateKind
from oar_opt.proof.duality_gap import dual_ball
from oar_opt.proof.exact_centroids import (
    Centroids,
    centroid_margin,
    counted_without_centroid,
    exact_means,
    exact_running,
)
from oar_opt.proof.exact_optimum import exact_optimum
from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.exact_steps import exact_steps, undefined_batch
from oar_opt.proof.exact_vertex import exact_vertex
from oar_opt.proof.gradient_bound import logistic_ball
from oar_opt.proof.polylines import graph
from oar_opt.proof.proposals import propose, propose_logistic
from oar_opt.proof.rationals import Interval, Number, exact, exact_row, length_above

POLYLINES = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive")
LINEAR_PROGRAMS = ("l1_svm", "lad")
ONE_SIDED = ("svm", "squared_hinge", "logistic", "l1_svm")
"""Losses that pull each class one way only: a free intercept needs both classes."""


@dataclass(frozen=True)
class LinearEnclosure:
    """``w`` is within ``radius`` of a point of the box ``w (d,)``, ``b`` in an interval.

    With ``joint`` the radius is one for ``(w, b)`` together. ``tied``: several intercepts are optimal.
    """

    w: list[Interval]
    b: Interval
    radius: Number
    joint: bool = False
    tied: bool = False

    def value(self, x: list[Number]) -> Interval:
        """The decision value at ``x (d,)``."""
        total = self.b
        for entry, coefficient in zip(self.w, x, strict=True):
            total = total + entry.times(coefficient)
        length = length_above([*x, fmpq(1)] if self.joint else x) if self.radius != 0 else fmpq(0)
        return total.widened(self.radius * length)

    def margin(self, query: Query) -> Interval:
        """The margin of a query or guard."""
        return self.value(exact_row(query.x)).plus(-exact(query.threshold)).times(exact(query.target))


@dataclass(frozen=True)
class CentroidEnclosure:
    """One centroid per class."""

    mu: Centroids
    tied: bool = False

    def margin(self, query: Query) -> Interval:
        """The margin of a query or guard."""
        return centroid_margin(self.mu, exact_row(query.x), int(query.target))


Enclosure = LinearEnclosure | CentroidEnclosure


def not_enclosed(problem: RecourseProblem) -> str | None:
    """Why a problem's learner and update have no enclosure here, or None."""
    kind, update = problem.learner.kind, problem.update.kind
    if update is UpdateKind.RUNNING_CENTROID:
        lacking = counted_without_centroid(problem)
        return None if lacking is None else f"class '{lacking}' has a count and no centroid that goes with it"
    if not problem.update.retrains or kind in (*POLYLINES, *LINEAR_PROGRAMS, "logistic", "nearest_centroid"):
        return None
    return f"there is no enclosure of '{kind}' under the update '{update}' here"


def undefined(problem: RecourseProblem, records: Records) -> str | None:
    """Why these records leave the learner undefined, or None. Weights are at least 0, so this needs no rounding."""
    if problem.update.kind is UpdateKind.GRADIENT:
        return undefined_batch(problem, records)
    if problem.learner.is_centroid:
        empty = [c for c, mean in enumerate(_centroids(problem, records)) if mean is None]
        return f"class '{problem.label_of(float(empty[0]))}' has no centroid" if empty else None
    if problem.learner.intercept is not Intercept.FREE:
        return None
    present = set(records.y[records.s > 0].tolist())
    enough = 2 if problem.learner.kind in ONE_SIDED else 1
    return "the free intercept is undefined: a class has no weight left" if len(present) < enough else None


def enclose(problem: RecourseProblem, records: Records) -> Enclosure | None:
    """An enclosure of the model that these records give, which leave it defined; None where none was found.

    Raises
    ------
    UnsupportedError : see :func:`not_enclosed`.
    ArithmeticError : numbers are too large to look for an optimum.
    """
    reason = not_enclosed(problem)
    if reason:
        raise UnsupportedError(reason)
    if problem.learner.is_centroid:
        return CentroidEnclosure(_centroids(problem, records))
    if problem.update.kind is UpdateKind.GRADIENT:
        return _linear(problem, exact_steps(problem, records))
    risk = ExactRisk.of(problem, records)
    if problem.learner.kind in LINEAR_PROGRAMS:
        theta = exact_vertex(risk, problem.learner)
        return None if theta is None else _linear(problem, _points(theta))
    return _logistic(problem, risk) if problem.learner.kind == "logistic" else _polyline(problem, risk)


def _centroids(problem: RecourseProblem, records: Records) -> Centroids:
    running = problem.update.kind is UpdateKind.RUNNING_CENTROID
    return exact_running(problem, records) if running else exact_means(problem, records)


def _linear(problem: RecourseProblem, theta: list[Interval], radius: Number = fmpq(0)) -> LinearEnclosure:  # noqa: B008
    if problem.learner.intercept is Intercept.NONE:
        return LinearEnclosure(theta, Interval.at(fmpq(0)), radius)
    return LinearEnclosure(theta[:-1], theta[-1], radius, joint=True)


def _points(theta: list[Number]) -> list[Interval]:
    return [Interval.at(value) for value in theta]


def _logistic(problem: RecourseProblem, risk: ExactRisk) -> LinearEnclosure | None:
    ball = logistic_ball(risk, propose_logistic(risk))
    if ball is None:
        return None
    if ball.intercepts is not None:
        return LinearEnclosure(_points(ball.centre), ball.intercepts, ball.radius)
    return _linear(problem, _points(ball.centre), ball.radius)


def _polyline(problem: RecourseProblem, risk: ExactRisk) -> LinearEnclosure | None:
    graphs = [graph(problem.learner, y) for y in risk.y]
    proposal = propose(risk, graphs)
    optimum = exact_optimum(risk, graphs, proposal)
    if optimum is not None and optimum.intercepts is not None:
        tied = not optimum.intercepts.is_point
        return LinearEnclosure(_points(optimum.theta[:-1]), optimum.intercepts, fmpq(0), tied=tied)
    if optimum is not None:
        return _linear(problem, _points(optimum.theta))
    if risk.free:
        return None
    theta, radius = dual_ball(risk, graphs, proposal.pulls)
    return _linear(problem, _points(theta), radius)
