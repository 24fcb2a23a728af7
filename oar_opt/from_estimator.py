"""Instances from a scikit-learn estimator, its table of records, and what a collective may do to it.

The estimator is a learner of :mod:`oar_opt.sklearn_learners`, alone or as the last step of a ``Pipeline`` behind
transformers of :mod:`oar_opt.sklearn_columns`. Transformers are *frozen* in their fitted state (where they are not
fitted: fitted to ``X`` once): the online learner re-trains the last step only, and members' changes do not move a mean
or a spread. The instance lives in what the learner sees, while everything that a caller says (bounds, steps, scales,
radii, costs, constraints, queries) is in original units; :mod:`oar_opt.original_units` derives why that can be
restated exactly. One-hot columns become groups. :func:`table_after` takes moves back to the original table.

It is checked, not assumed, that this is the same learner: re-training by the format's learner gives the estimator's
decision values on all records and queries, to 1e-6 of their size. That fails, too, where scikit-learn does not reach
its own optimum: libsvm (``SVC``, ``SVR``) keeps inner products in single precision, which is not enough on raw records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from oar_opt.errors import InputError, UnsupportedError
from oar_opt.feature_overrides import with_overrides
from oar_opt.input_table import InputTable
from oar_opt.instance_file import parse_instance
from oar_opt.instance_models import FORMAT, VERSION, ConstraintModel
from oar_opt.json_input import suggestion, validate
from oar_opt.original_units import group_rows, restated, restated_row
from oar_opt.problem import Feature, FeatureConstraint, FeatureType, Matrix, RecourseProblem, Sense, Vector
from oar_opt.rules import ROUNDING
from oar_opt.sklearn_columns import Column, columns_after, plain
from oar_opt.sklearn_learners import decision_values, is_regression, learner_document, learner_values, trained_tightly

AGREEMENT = 1e-6
"""Of decision values with the estimator's, relative to the largest of them (at least 1)."""


class Moved(Protocol):
    """What one member does: :class:`oar_opt.problem.Move`, or an entry of a solution's moves."""

    @property
    def record(self) -> int: ...

    @property
    def x(self) -> tuple[float, ...]: ...


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
    frozen = _Frozen.of(estimator, X)
    model, where = frozen.learner
    learner = learner_document(model, where)
    labels = _labels(y, len(frozen.Z))
    weights = None if sample_weight is None else _weights(sample_weight, len(frozen.Z), model, where)
    teacher = model if _is_fitted(model) else trained_tightly(model, frozen.Z, np.asarray(labels), weights)
    classes = None if is_regression(model) else _classes(teacher, labels, where)
    original = with_overrides(frozen.features, features, frozen.sources)
    _check_whole(frozen, original)
    rows = [_row(entry, f"constraints[{c}]", original) for c, entry in enumerate(constraints)]
    asked = frozen.transformed(frozen.table.rows_like(query, "query"))
    document = {
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
    _check_agreement(problem, teacher, asked, was_fitted=teacher is model)
    return problem


def table_after(estimator: Any, X: Any, moves: Iterable[Moved]) -> Any:
    """``X`` after moves of :func:`problem_from_estimator`'s problem, in original units: a changed copy of ``X``.

    Labels and weights are the moves' own. ``estimator`` and ``X`` are those that the problem was made from.
    """
    frozen = _Frozen.of(estimator, X)
    cells: dict[tuple[int, int], Any] = {}
    for move in moves:
        for j, column in enumerate(frozen.columns):
            z = float(move.x[j])
            if z == frozen.Z[move.record, j]:
                continue
            u = column.units.original(z)
            u = float(round(u)) if abs(u - round(u)) <= ROUNDING * max(1.0, abs(u)) else u
            if column.indicator is None:
                cells[move.record, column.source] = u
            elif u > 0.5:
                cells[move.record, column.source] = column.indicator.category
            else:
                # It may be that no column of the group rises, where the encoder leaves one out.
                for category in column.indicator.left_out:
                    cells.setdefault((move.record, column.source), category)
    return frozen.table.changed(cells)


@dataclass(frozen=True, eq=False)
class _Frozen:
    """A table, the fitted transformers before the learner (None: there are none), and what they make of it."""

    table: InputTable
    before: Any
    learner: tuple[Any, str]

    @classmethod
    def of(cls, estimator: Any, X: Any) -> _Frozen:
        table = InputTable.of(X)
        if type(estimator).__name__ != "Pipeline":
            return cls(table, None, (estimator, "estimator"))
        from sklearn.base import clone

        name, last = estimator.steps[-1]
        before = estimator[:-1] if len(estimator.steps) > 1 else None
        if before is not None and not all(_is_fitted(step) for _, step in before.steps):
            before = clone(before).fit(table.data)
        return cls(table, before, (last, f"estimator '{name}'"))

    @cached_property
    def columns(self) -> list[Column]:
        return columns_after(self.before, self.table.names)

    @property
    def sources(self) -> list[str]:
        return [self.table.names[column.source] for column in self.columns]

    @cached_property
    def features(self) -> list[Feature]:
        return [column.feature(self.table.names) for column in self.columns]

    @cached_property
    def Z(self) -> Matrix:
        return self.transformed(self.table.data)

    def transformed(self, data: Any) -> Matrix:
        """What the learner sees of rows, ``(m, d)``; of every one-hot group exactly one column is 1."""
        Z = data if self.before is None else self.before.transform(data)
        Z = Z.toarray() if hasattr(Z, "toarray") else Z
        try:
            Z = np.asarray(Z, dtype=np.float64)
        except ValueError as error:
            raise InputError(
                "X", f"is not all numbers: {error}", "encode texts, for example by OneHotEncoder"
            ) from None
        self._check_groups(Z)
        return Z

    def _check_groups(self, Z: Matrix) -> None:
        for group in dict.fromkeys(feature.group for feature in self.features if feature.group):
            chosen = [j for j, feature in enumerate(self.features) if feature.group == group]
            totals = np.sum([self.columns[j].units.originals(Z[:, j]) for j in chosen], axis=0)
            bad = np.flatnonzero(np.abs(totals - 1) > ROUNDING)
            if len(bad):
                raise InputError(
                    f"X[{bad[0]}], column '{group}'", "has a category that the encoder does not know", "fit it again"
                )

    def rows(self, features: Sequence[Feature], own: Sequence[FeatureConstraint]) -> list[FeatureConstraint]:
        """All constraints as the learner's features have them: the caller's, and those of encoders."""
        units = [column.units for column in self.columns]
        encoded: dict[int, list[str]] = {}
        for feature, column in zip(features, self.columns, strict=True):
            if column.indicator is not None and column.indicator.left_out:
                encoded.setdefault(column.source, []).append(feature.name)
        at_most_one = [
            FeatureConstraint(tuple((name, 1.0) for name in names), Sense.LE, 1.0)
            for names in encoded.values()
            if len(names) > 1
        ]
        return [
            *(restated_row(row, features, units) for row in (*own, *at_most_one)),
            *group_rows(features, units),
        ]

    @property
    def notes(self) -> str:
        """For the instance's provenance."""
        if self.before is None:
            return "features in original units"
        return "features as the learner sees them: (original - from) / by, as their names say; transformers are frozen"


def _is_fitted(model: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(model, str) or model is None:
        return True
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


def _labels(y: Any, n: int) -> list[Any]:
    values = [plain(value) for value in np.asarray(y).ravel()]
    if np.ndim(y) != 1 or len(values) != n:
        raise InputError("y", f"has the shape {np.shape(y)} for {n} records", "give one label or number for each")
    return values


def _weights(s: Any, n: int, model: Any, where: str) -> Vector:
    if type(model).__name__ == "NearestCentroid":
        raise UnsupportedError(f"{where}: scikit-learn's NearestCentroid takes no sample_weight: leave it out")
    weights = np.asarray(s, dtype=np.float64)
    if weights.shape != (n,):
        raise InputError("sample_weight", f"has the shape {weights.shape} for {n} records", "give one for each")
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


def _check_whole(frozen: _Frozen, features: Sequence[Feature]) -> None:
    for j, (feature, column) in enumerate(zip(features, frozen.columns, strict=True)):
        if feature.type is FeatureType.CONTINUOUS:
            continue
        values = column.units.originals(frozen.Z[:, j])
        off = np.abs(values - np.rint(values)) > ROUNDING * np.maximum(1.0, np.abs(values))
        if off.any():
            i = int(np.argmax(off))
            raise InputError(
                f"X[{i}], column '{feature.name}'", f"is no whole number, and it is {feature.type}", "correct the type"
            )


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


def _check_agreement(problem: RecourseProblem, teacher: Any, asked: Matrix, was_fitted: bool) -> None:
    from oar_opt.evaluate import UndefinedLearner, evaluate

    try:
        parameters = evaluate(problem, ()).fit.parameters
    except UndefinedLearner as error:
        raise InputError("y", str(error), "give records of both classes with weight") from None
    Z = np.vstack([problem.records.X, asked])
    theirs, ours = decision_values(teacher, Z), learner_values(parameters, Z)
    off = np.abs(theirs - ours).reshape(len(Z), -1).max(axis=1)
    worst = int(np.argmax(off))
    if off[worst] <= AGREEMENT * max(1.0, float(np.abs(theirs).max())):
        return
    n = problem.n
    where = f"X[{worst}]" if worst < n else f"query {worst - n}"
    fix = "fit it on these records, to the end (tol=1e-10, more max_iter), or give it unfitted"
    if not was_fitted:
        fix = "scale the features, so that scikit-learn reaches its optimum"
    raise InputError(
        where, f"the estimator's decision value is off by {off[worst]:.3g} from that of its optimum here", fix
    )
