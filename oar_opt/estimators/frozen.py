"""A table with the fitted transformers in front of a learner, frozen: what the learner sees of every row.

Transformers that are not fitted are fitted to the table once. From then on nothing moves their means, spreads or
categories, whatever members change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from oar_opt.errors import InputError
from oar_opt.estimators.columns import Column, columns_after
from oar_opt.estimators.input_table import InputTable
from oar_opt.estimators.original_units import group_rows, restated_row
from oar_opt.problem import Feature, FeatureConstraint, FeatureType, Matrix, Sense
from oar_opt.rules import ROUNDING


@dataclass(frozen=True, eq=False)
class FrozenTable:
    """A table, the fitted transformers before the learner (None: there are none), and what they make of it."""

    table: InputTable
    before: Any
    learner: tuple[Any, str]

    @classmethod
    def of(cls, estimator: Any, X: Any) -> FrozenTable:
        table = InputTable.of(X)
        if type(estimator).__name__ != "Pipeline":
            return cls(table, None, (estimator, "estimator"))
        from sklearn.base import clone

        name, last = estimator.steps[-1]
        before = estimator[:-1] if len(estimator.steps) > 1 else None
        if before is not None and not all(is_fitted(step) for _, step in before.steps):
            try:
                before = clone(before).fit(table.data)
            except ValueError as error:
                raise InputError(
                    "X", f"the estimator's transformers cannot be fitted to it: {error}", "correct it"
                ) from None
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

    def transformed(self, data: Any, where: str = "X") -> Matrix:
        """What the learner sees of rows, ``(m, d)``; of every one-hot group exactly one column is 1."""
        try:
            Z = data if self.before is None else self.before.transform(data)
            Z = np.asarray(Z.toarray() if hasattr(Z, "toarray") else Z, dtype=np.float64)
        except ValueError as error:
            raise InputError(
                where,
                f"the estimator cannot take it: {error}",
                "encode texts, for example by OneHotEncoder; else correct",
            ) from None
        off = np.argwhere(~np.isfinite(Z))
        if len(off):
            i, j = off[0]
            name = self.table.names[self.columns[j].source]
            raise InputError(f"{where}[{i}], column '{name}'", "is NaN or infinite", "fill it, or leave the row out")
        self._check_groups(Z, where)
        return Z

    def _check_groups(self, Z: Matrix, where: str) -> None:
        for group in dict.fromkeys(feature.group for feature in self.features if feature.group):
            chosen = [j for j, feature in enumerate(self.features) if feature.group == group]
            totals = np.sum([self.columns[j].units.originals(Z[:, j]) for j in chosen], axis=0)
            bad = np.flatnonzero(np.abs(totals - 1) > ROUNDING)
            if len(bad):
                raise InputError(
                    f"{where}[{bad[0]}], column '{group}'",
                    "has a category that the encoder does not know",
                    "fit it again",
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


def is_fitted(model: Any) -> bool:
    """Whether scikit-learn would predict, or transform, with it."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(model, str) or model is None:
        return True
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


def check_whole(frozen: FrozenTable, features: Sequence[Feature]) -> None:
    """Raise where a feature is to take whole numbers and does not.

    Raises
    ------
    InputError : with the row and the column.
    """
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
