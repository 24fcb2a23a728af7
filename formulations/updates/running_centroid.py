"""Running centroids: every arriving record pulls its class's centroid towards itself, one after the other.

A record ``(x, y, s)`` that arrives in class ``c = y`` moves only that centroid,

    with a rate:       mu_c <- mu_c + (1 - (1 - rate)^s) (x - mu_c),
    with counts:       N_c <- N_c + s,     mu_c <- mu_c + s / N_c (x - mu_c).

The weight ``s`` stands for ``s`` equal records that arrive at once: for whole ``s`` the formulas are that many steps
of weight 1, and a record of weight 0 does nothing. With counts the result is the exact mean of everything so far, so
the order does not matter; with a rate late arrivals count for more. A class that had no centroid takes the first
record that arrives for its own.

Accuracy. What a centroid was off is kept by the factor ``1 - share``; a step adds some roundings of the largest number,
and under counts what the count was off, at most one rounding for each arrival so far.

Where labels and weights are fixed, the result is a weighted mean of the start and the arrivals whose weights do not
depend on the features; see :mod:`oar_opt.running_mean`.

Reference: D. E. Knuth, "The Art of Computer Programming", volume 2, 1997, section 4.2.2 (running means); S. W. Roberts,
"Control Chart Tests Based on Geometric Moving Averages", 1959.
"""

from __future__ import annotations

import math

import numpy as np

from oar_opt.contracts import Fit, UpdateRule, WorkedExample
from oar_opt.parameters import CentroidParameters
from oar_opt.problem import (
    Collective,
    FeatureAction,
    GoalKind,
    LearnerSpec,
    Member,
    Norm,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.update_settings import RunningSettings, running_centroid_update, share_of_arrival

EPSILON = float(np.finfo(np.float64).eps)
ROUNDINGS = 8
"""Of one step, in units of the largest number: of the share, what it leaves, two products and their sum."""


class RunningCentroid(UpdateRule):
    """See the module's docstring."""

    kind = "running_centroid"

    def refuses(self, problem: RecourseProblem) -> str | None:
        lacking = RunningSettings.of(problem).lacking
        if len(lacking):
            label = problem.label_of(float(lacking[0]))
            return f"the update states a count for class '{label}', and no centroid that goes with it"
        return None

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        running = RunningSettings.of(problem)
        arriving = records.y[running.order][records.s[running.order] > 0]
        for c, label in enumerate(problem.classes or ()):
            has_start = np.isfinite(running.centroids[c]).all() and (running.counts is None or running.counts[c] > 0)
            if not has_start and c not in arriving:
                return f"class '{label}' has no centroid, and none of its records arrives"
        return None

    def replay(self, problem: RecourseProblem, records: Records) -> Fit:
        running = RunningSettings.of(problem)
        mu = running.centroids.copy()
        counts = np.zeros(len(mu)) if running.counts is None else running.counts.copy()
        started = np.isfinite(mu).all(axis=1) & ((counts > 0) | (running.counts is None))
        off, largest = np.zeros(len(mu)), float(np.abs(records.X).max())
        largest = max(largest, float(np.abs(mu[started]).max(initial=0.0)))
        for k, i in enumerate(running.order):
            c, s = int(records.y[i]), float(records.s[i])
            if s == 0:
                continue
            counts[c] += s
            if not started[c]:
                mu[c], started[c] = records.X[i], True
                continue
            # A difference of the two would lose what is small beside a large one.
            share = s / counts[c] if running.rate is None else share_of_arrival(running.rate, s)
            mu[c] = (1.0 - share) * mu[c] + share * records.X[i]
            of_count = 0.0 if running.rate is not None else share * (k + 2)
            off[c] = (1.0 - share) * off[c] + EPSILON * (ROUNDINGS + 2 * of_count) * largest
        error = math.sqrt(problem.d) * float(np.linalg.norm(off))
        return Fit(CentroidParameters.of(mu), error, "running centroids (numpy)")

    def examples(self) -> tuple[WorkedExample, ...]:
        """Centroids at 0 and 4; a record at 2 arrives in the far class with rate 1/2 and may move by 2."""
        problem = RecourseProblem(
            name="running-centroids",
            records=Records(np.array([[0.0], [2.0]]), np.array([0.0, 1.0]), np.ones(2)),
            learner=LearnerSpec("nearest_centroid"),
            classes=("near", "far"),
            collective=Collective((Member(1, (FeatureAction(Norm.L2, 2.0),)),)),
            queries=(Query("q", (1.5,), 1.0),),
            goal=GoalKind.MAX_MARGIN,
            update=running_centroid_update(rate=0.5, centroids={"near": [0.0], "far": [4.0]}, order=[1]),
        )
        return (WorkedExample(problem, 2.0, "the far centroid goes to 2 if the record moves to 0: 1.5^2 - 0.5^2"),)
