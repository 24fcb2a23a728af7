"""Instances from a scikit-learn estimator, its table of records, and what a collective may do to it.

The estimator is a learner of :mod:`oar_opt.estimators.learners`, alone or as the last step of a ``Pipeline`` behind
transformers of :mod:`oar_opt.estimators.columns`. Transformers are *frozen* in their fitted state (where they are not
fitted: fitted to ``X`` once): the online learner re-trains the last step only, and members' changes do not move a mean
or a spread. The instance lives in what the learner sees, while everything that a caller says (bounds, steps, scales,
radii, costs, constraints, queries) is in original units; :mod:`oar_opt.estimators.original_units` derives why that can
be restated exactly. One-hot columns become groups. :func:`oar_opt.table_after` takes moves back to the original table.

It is checked, not assumed, that this is the same learner: re-training by the format's learner gives the estimator's
decision values on all records and queries, to 1e-6 of their size, or as near as the estimator's own tolerance explains
(:mod:`oar_opt.estimators.agreement`). Then, and where its intercept is one of several that are optimal, the instance's
``provenance.notes`` say so, and by how much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from oar_opt.errors import InputError, UnsupportedError
from oar_opt.estimators.agreement import agreement
from oar_opt.estimators.columns import plain
from oar_opt.estimators.frozen import FrozenTable, check_whole, is_fitted
from oar_opt.estimators.learners import is_regression, learner_document, trained_tightly
from oar_opt.estimators.original_units import restated
from oar_opt.feature_overrides import with_overrides
from oar_opt.instance_file import parse_instance
from oar_opt.instance_models import FORMAT, VERSION, ConstraintModel
from oar_opt.json_input import suggestion, validate
from oar_opt.problem import Feature, FeatureConstraint, RecourseProblem, Vector


def problem_from_estimator(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    members: Iterable[int],
    query: Any,
    actions: Sequence[Mapping[str, Any]],
    target: Any = None,
    goal: str = "max_margin",
    required: float | None = None,
    cost: str = "l2",
    budget: Mapping[str, Any] | None = None,
    features: Sequence[Mapping[str, Any]] = (),
    constraints: Sequence[Mapping[str, Any]] = (),
    sample_weight: Any = None,
    position: str = "unique",
    name: str = "from-estimator",
) -> RecourseProblem:
    """The problem whose learner is ``estimator``; see the module's docstring.

    Parameters
    ----------
    estimator : fitted, then it has to be at its optimum for these records; or not fitted.
    X : ``(n, columns)``, an array or a pandas DataFrame, in original units.
    y : ``(n,)``, class labels or numbers.
    members : positions of the members' rows.
    query : one row like those of ``X`` (a mapping where columns have names), or several.
    actions : what every member may do, as in the instance format, in original units.
    target : the class that every query wants, by default the other one than the estimator gives now; for regression
        a pair like ``(">=", 3.5)``.
    goal, required, cost, budget, position, name : as in the instance format.
    features : entries of the instance format with the rules of features, in original units. A name is that of a
        column of ``X``, or of one category like ``city=Paris``. What is not said is the format's default.
    constraints : as in the instance format, among those features, in original units.
    sample_weight : ``(n,)``, at least 0; default 1 each.

    Raises
    ------
    UnsupportedError : the estimator, or a setting of it, cannot be expressed exactly.
    InputError : anything else is wrong, among it an estimator that was not fitted on these records.
    """
    frozen = FrozenTable.of(estimator, X)
    model, where = frozen.learner
    learner = learner_document(model, where)
    labels = _labels(y, len(frozen.Z), is_regression(model))
    _check_columns(model, frozen)
    weights = None if sample_weight is None else _weights(sample_weight, len(frozen.Z), model, where)
    teacher = model if is_fitted(model) else trained_tightly(model, frozen.Z, np.asarray(labels), weights)
    classes = None if is_regression(model) else _classes(teacher, labels, where)
    original = with_overrides(frozen.features, features, frozen.sources)
    check_whole(frozen, original)
    rows = [_row(entry, f"constraints[{c}]", original) for c, entry in enumerate(constraints)]
    asked = frozen.transformed(frozen.table.rows_like(query, "query"), "query")
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "provenance": {"source": f"scikit-learn {type(model).__name__}", "notes": frozen.notes},
        "features": [vars(restated(one, at.units)) for one, at in zip(original, frozen.columns, strict=True)],
        "constraints": [_written(row) for row in frozen.rows(original, rows)],
        "records": {
            "X": frozen.Z.tolist(),
            "y": labels,
            "weight": None if weights is None else weights.tolist(),
        },
        "classes": classes,
        "learner": learner,
        "position": position,
        "collective": {
            "members": [int(member) for member in members],
            "actions": [dict(action) for action in actions],
            "cost": cost,
            "budget": dict(budget or {}),
        },
        "queries": [{"x": x.tolist(), "required": required, **_wanted(target, classes, teacher, x)} for x in asked],
        "goal": {"kind": goal},
    }
    problem = parse_instance(document)
    words = agreement(problem, teacher, asked, was_fitted=teacher is model)
    if not words:
        return problem
    source = {**document["provenance"], "notes": f"{frozen.notes}; {words}"}
    return parse_instance({**document, "provenance": source})


def _labels(y: Any, n: int, are_numbers: bool) -> list[Any]:
    values = [plain(value) for value in np.asarray(y).ravel()]
    if np.ndim(y) != 1 or len(values) != n:
        raise InputError("y", f"has the shape {np.shape(y)} for {n} records", "give one label or number for each")
    for i, value in enumerate(values):
        if value is None or value != value:
            raise InputError(f"y[{i}]", "is missing", "fill it, or leave the row out")
        if are_numbers and (isinstance(value, str) or not math.isfinite(value)):
            raise InputError(f"y[{i}]", f"is {value!r}, and the estimator predicts numbers", "give a finite number")
    if not are_numbers and len(set(values)) == 1:
        raise InputError("y", f"has one value only ({values[0]!r})", "there is nothing to learn from it")
    return values


def _check_columns(model: Any, frozen: FrozenTable) -> None:
    wanted, found = getattr(model, "n_features_in_", None), frozen.Z.shape[1]
    if is_fitted(model) and wanted is not None and wanted != found:
        what = f"gives the learner {found} columns, and the estimator was fitted to {wanted}"
        raise InputError("X", what, "give the table that it was fitted to")


def _weights(s: Any, n: int, model: Any, where: str) -> Vector:
    if type(model).__name__ == "NearestCentroid":
        raise UnsupportedError(f"{where}: scikit-learn's NearestCentroid takes no sample_weight: leave it out")
    weights = np.asarray(s, dtype=np.float64)
    if weights.shape != (n,):
        raise InputError("sample_weight", f"has the shape {weights.shape} for {n} records", "give one for each")
    off = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(off):
        raise InputError(f"sample_weight[{off[0]}]", f"is {weights[off[0]]:g}", "give a number of at least 0")
    return weights


def _classes(teacher: Any, labels: list[Any], where: str) -> list[Any]:
    classes = [plain(label) for label in teacher.classes_]
    unknown = next((i for i, label in enumerate(labels) if label not in classes), None)
    if unknown is not None:
        raise InputError(f"y[{unknown}]", f"{labels[unknown]!r} is no class of the fitted estimator", "fit it again")
    if len(classes) > 2 and type(teacher).__name__ != "NearestCentroid":
        raise UnsupportedError(
            f"{where}: separates {len(classes)} classes, and linear learners are binary here: keep the records of two "
            "classes, or ask one class against the rest"
        )
    return classes


def _row(entry: Mapping[str, Any], where: str, features: Sequence[Feature]) -> FeatureConstraint:
    try:
        model = validate(ConstraintModel, dict(entry))
    except InputError as error:
        raise InputError(f"{where}.{error.where}", error.what, error.fix) from None
    names = [feature.name for feature in features]
    for name in model.coefficients:
        if name not in names:
            raise InputError(f"{where}.coefficients.{name}", "is no feature", suggestion(name, names))
    return FeatureConstraint(tuple(model.coefficients.items()), model.sense, model.rhs)


def _written(row: FeatureConstraint) -> dict[str, Any]:
    return {"coefficients": dict(row.coefficients), "sense": row.sense, "rhs": row.rhs}


def _wanted(target: Any, classes: list[Any] | None, teacher: Any, x: Vector) -> dict[str, Any]:
    """What a query wants, as the file writes it."""
    if classes is None:
        if not isinstance(target, tuple | list) or len(target) != 2:
            raise InputError("target", f"is {target!r} for a regression", 'give a pair like (">=", 3.5)')
        return {"sense": target[0], "threshold": float(target[1])}
    if target is not None:
        return {"target": plain(target)}
    if len(classes) != 2:
        raise InputError("target", "is missing, and there are more than two classes", "name the class that is wanted")
    now = plain(teacher.predict(x[None, :])[0])
    return {"target": next(label for label in classes if label != now)}
