"""Nearest centroid: every class is represented by the weighted mean of its records.

``mu_c = sum over records of class c of s_i x_i / S_c`` with ``S_c`` the class's weight; a query belongs to the class
whose centroid is nearest in Euclidean distance. The learner is its own closed form, unique while no class is empty.

Reference: R. Tibshirani, T. Hastie, B. Narasimhan, G. Chu, "Diagnosis of multiple cancer types by shrunken centroids of
gene expression", 2002 (the method without shrinkage).
"""

from __future__ import annotations

import warnings

import numpy as np

from oar_opt.contracts import Fit, Learner, WorkedExample
from oar_opt.parameters import CentroidParameters, Parameters
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


class NearestCentroid(Learner):
    """Re-trained by scikit-learn's ``NearestCentroid``, or by a weighted mean where weights differ."""

    kind = "nearest_centroid"

    def examples(self) -> tuple[WorkedExample, ...]:
        """Two records at 0 against two at 4; one of each may move by 2, so each centroid shifts by 1."""
        X, y = np.array([[0.0], [0.0], [4.0], [4.0]]), np.array([0.0, 0.0, 1.0, 1.0])

        def problem(norm: Norm) -> RecourseProblem:
            action = (FeatureAction(norm, 2.0),)
            return RecourseProblem(
                name="two-centroids",
                records=Records(X, y, np.ones(4)),
                learner=LearnerSpec("nearest_centroid"),
                classes=("near", "far"),
                collective=Collective((Member(0, action), Member(2, action))),
                queries=(Query("q", (1.5,), 1.0),),
                goal=GoalKind.MAX_MARGIN,
            )

        why = "the centroids go to -1 and 3, so the margin is 2.5^2 - 1.5^2"
        return tuple(WorkedExample(problem(norm), 4.0, why) for norm in Norm)

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        for code, label in enumerate(problem.classes or ()):
            if records.s[records.y == code].sum() <= 0:
                return f"class '{label}' has no weight left, so its centroid is undefined"
        return None

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        used = records.s > 0
        X, y, s = records.X[used], records.y[used], records.s[used]
        # scikit-learn knows no weights, and refuses records that are all equal.
        if np.ptp(s) == 0 and np.ptp(X, axis=0).any():
            from sklearn.neighbors import NearestCentroid as SklearnNearestCentroid

            with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
                # It also standardises deviations within classes, which may be 0 and are not used here.
                warnings.simplefilter("ignore", UserWarning)
                mu = SklearnNearestCentroid().fit(X, y.astype(int)).centroids_
            backend = "scikit-learn NearestCentroid"
        else:
            codes = range(len(problem.classes or ()))
            mu = np.array([np.average(X[y == code], axis=0, weights=s[y == code]) for code in codes])
            backend = "weighted means (numpy)"
        error = 1e-14 * float(np.abs(X).max()) * len(X)
        return Fit(CentroidParameters.of(mu), error, backend)

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        assert isinstance(parameters, CentroidParameters)
        mu = np.array(parameters.mu)[records.y.astype(int)]
        return float(records.s @ ((records.X - mu) ** 2).sum(axis=1))
