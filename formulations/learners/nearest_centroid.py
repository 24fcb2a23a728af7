"""Nearest centroid: every class is represented by the weighted mean of its records.

``mu_c = sum over records of class c of s_i x_i / S_c`` with ``S_c`` the class's weight; a query belongs to the class whose
centroid is nearest in Euclidean distance. The learner is its own closed form, unique while no class is empty.

Reference: R. Tibshirani, T. Hastie, B. Narasimhan, G. Chu, "Diagnosis of multiple cancer types by shrunken centroids of
gene expression", 2002 (the method without shrinkage).
"""

from __future__ import annotations

import numpy as np

from oar_opt.contracts import Fit, Learner
from oar_opt.parameters import CentroidParameters, Parameters
from oar_opt.problem import RecourseProblem, Records


class NearestCentroid(Learner):
    """Re-trained by scikit-learn's ``NearestCentroid``, or by a weighted mean where weights differ."""

    kind = "nearest_centroid"

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        for code, label in enumerate(problem.classes or ()):
            if records.s[records.y == code].sum() <= 0:
                return f"class '{label}' has no weight left, so its centroid is undefined"
        return None

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        used = records.s > 0
        X, y, s = records.X[used], records.y[used], records.s[used]
        if np.ptp(s) == 0:
            from sklearn.neighbors import NearestCentroid as SklearnNearestCentroid

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
