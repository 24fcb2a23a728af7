"""scikit-learn's estimators as learners of the instance format, constant by constant.

The objectives of the format are those that scikit-learn documents, so ``alpha``, ``C`` and ``epsilon`` carry over as
they stand. The intercept is free in ``Ridge``, ``RidgeClassifier``, ``SVC``, ``SVR`` and in ``LogisticRegression``
except by liblinear; liblinear's estimators penalise it as the weight of a constant feature ``intercept_scaling``,
which is the format's ``penalized`` where that is 1. What changes the optimum and has no counterpart is refused:
``class_weight``, other penalties, kernels and losses, ``positive``, shrunken centroids, more than two classes for
linear classifiers. ``dual``, ``solver``, ``shrinking`` and the like lead to the same optimum.

Reference: F. Pedregosa and others, "Scikit-learn: Machine Learning in Python", 2011.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from oar_opt.errors import UnsupportedError
from oar_opt.parameters import CentroidParameters, Parameters
from oar_opt.problem import Matrix, Vector

TIGHT: Mapping[str, Mapping[str, Any]] = {
    "RidgeClassifier": {"tol": 1e-10},
    "Ridge": {"tol": 1e-10},
    "LogisticRegression": {"tol": 1e-10, "max_iter": 10_000},
    "LinearSVC": {"tol": 1e-10, "max_iter": 1_000_000, "random_state": 0},
    "LinearSVR": {"tol": 1e-10, "max_iter": 1_000_000, "random_state": 0},
    "SVC": {"tol": 1e-9, "max_iter": 10_000_000},
    "SVR": {"tol": 1e-9, "max_iter": 10_000_000},
}
"""Settings under which an estimator trains to its optimum, which its defaults often miss in the fourth digit."""


def learner_document(model: Any, where: str) -> dict[str, Any]:
    """The instance format's learner for an estimator that stands at ``where``.

    Raises
    ------
    UnsupportedError : it is none of those in the module's docstring, or has a setting that the format cannot express.
    """
    kind = type(model).__name__
    reader = _READERS.get(kind) if type(model).__module__.startswith("sklearn.") else None
    if reader is None:
        if hasattr(model, "best_estimator_"):
            raise UnsupportedError(f"{where}: {kind} searches for an estimator: give its best_estimator_")
        raise UnsupportedError(
            f"{where}: {kind} is no learner here: use one of {', '.join(_READERS)} with the constants that you want"
        )
    return reader(model, f"{where}.{kind}")


def _need(model: Any, where: str, **wanted: Sequence[Any]) -> None:
    """Refuse a setting, where the model has it, that is not among the wanted values."""
    for name, values in wanted.items():
        value = getattr(model, name, values[0])
        if not any(value is one or (isinstance(value, str | int | float) and value == one) for one in values):
            raise UnsupportedError(
                f"{where}.{name}: is {value!r}, which the instance format cannot express: set it to {values[0]!r}"
            )


def _intercept(model: Any, otherwise: str) -> str:
    return otherwise if model.fit_intercept else "none"


def _liblinear_intercept(model: Any, where: str) -> str:
    if model.fit_intercept:
        _need(model, where, intercept_scaling=(1,))
    return _intercept(model, "penalized")


def _ridge(model: Any, where: str) -> dict[str, Any]:
    _need(model, where, positive=(False,), class_weight=(None,))
    if np.ndim(model.alpha) or not model.alpha > 0:
        raise UnsupportedError(f"{where}.alpha: is {model.alpha!r}: give one number above 0")
    return {"kind": "ridge", "alpha": float(model.alpha), "intercept": _intercept(model, "free")}


def _linear_svc(model: Any, where: str) -> dict[str, Any]:
    _need(model, where, penalty=("l2",), loss=("hinge", "squared_hinge"), multi_class=("ovr",), class_weight=(None,))
    kind = "svm" if model.loss == "hinge" else "squared_hinge"
    return {"kind": kind, "C": float(model.C), "intercept": _liblinear_intercept(model, where)}


def _svc(model: Any, where: str) -> dict[str, Any]:
    _need(model, where, kernel=("linear",), class_weight=(None,))
    return {"kind": "svm", "C": float(model.C), "intercept": "free"}


def _logistic(model: Any, where: str) -> dict[str, Any]:
    _need(model, where, penalty=("l2", "deprecated"), class_weight=(None,), multi_class=("auto", "ovr", "deprecated"))
    _need(model, where, l1_ratio=(0.0, None))
    if not math.isfinite(model.C):
        raise UnsupportedError(f"{where}.C: is infinite, so there is no penalty: give a finite number")
    by_liblinear = model.solver == "liblinear"
    intercept = _liblinear_intercept(model, where) if by_liblinear else _intercept(model, "free")
    return {"kind": "logistic", "C": float(model.C), "intercept": intercept}


def _centroid(model: Any, where: str) -> dict[str, Any]:
    _need(model, where, metric=("euclidean",), shrink_threshold=(None,), priors=("uniform",))
    return {"kind": "nearest_centroid"}


def _linear_svr(model: Any, where: str) -> dict[str, Any]:
    _need(model, where, loss=("epsilon_insensitive",))
    return _epsilon(model, _liblinear_intercept(model, where))


def _svr(model: Any, where: str) -> dict[str, Any]:
    _need(model, where, kernel=("linear",))
    return _epsilon(model, "free")


def _epsilon(model: Any, intercept: str) -> dict[str, Any]:
    constants = {"C": float(model.C), "epsilon": float(model.epsilon)}
    return {"kind": "epsilon_insensitive", **constants, "intercept": intercept}


_READERS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "Ridge": _ridge,
    "RidgeClassifier": _ridge,
    "LinearSVC": _linear_svc,
    "SVC": _svc,
    "LogisticRegression": _logistic,
    "NearestCentroid": _centroid,
    "LinearSVR": _linear_svr,
    "SVR": _svr,
}


def is_regression(model: Any) -> bool:
    """Whether it predicts numbers."""
    return type(model).__name__ in ("Ridge", "LinearSVR", "SVR")


def trained_tightly(model: Any, Z: Matrix, y: Any, s: Vector | None) -> Any:
    """A copy of an estimator, fitted on ``Z (n, d)``, ``y (n,)`` and weights to its optimum."""
    from sklearn.base import clone
    from sklearn.exceptions import ConvergenceWarning

    copy = clone(model).set_params(**TIGHT.get(type(model).__name__, {}))
    if type(model).__name__ == "LogisticRegression" and model.solver != "liblinear":
        # The same optimum; the other solvers' last digits depend on how the records are scaled.
        copy.set_params(solver="newton-cholesky")
    with warnings.catch_warnings():
        # Whether it was enough is checked against the instance.
        warnings.simplefilter("ignore", ConvergenceWarning)
        copy.fit(Z, y, **({} if s is None else {"sample_weight": s}))
    return copy


def decision_values(model: Any, Z: Matrix) -> Vector:
    """What a fitted estimator decides by, for rows ``Z (m, d)``: ``f``, ``(m,)``; of the nearest centroid the squared
    distances to all centroids, ``(m, classes)``."""
    if type(model).__name__ == "NearestCentroid":
        return _squared_distances(Z, model.centroids_)
    values = model.predict(Z) if is_regression(model) else model.decision_function(Z)
    return np.asarray(values, dtype=np.float64)


def learner_values(parameters: Parameters, Z: Matrix) -> Vector:
    """The same of our own learner's parameters."""
    if isinstance(parameters, CentroidParameters):
        return _squared_distances(Z, np.array(parameters.mu))
    return np.asarray(Z @ np.array(parameters.w) + parameters.b)


def _squared_distances(Z: Matrix, mu: Matrix) -> Vector:
    return np.asarray(((Z[:, None, :] - mu[None, :, :]) ** 2).sum(axis=2))
