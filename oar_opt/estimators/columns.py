"""What scikit-learn's transformers make of the columns of a table, read off their fitted state.

Every column of the transformed table is ``z = (u - m) / s`` where ``u`` is a column of the table or says whether that
column has a certain category (1) or not (0). Scalers compose: ``(z - m') / s'`` has ``m + m' s`` and ``s s'``. It
applies to ``StandardScaler``, ``MinMaxScaler`` and ``MaxAbsScaler`` (without clipping), ``RobustScaler``,
``OneHotEncoder`` (of raw columns, without rare categories put together), ``ColumnTransformer``, ``Pipeline``,
``passthrough`` and ``drop``; everything else is refused, since a change of the table would not be a known linear
change of what the learner sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from oar_opt.errors import InputError, UnsupportedError
from oar_opt.estimators.original_units import Units
from oar_opt.json_input import suggestion
from oar_opt.problem import Feature, FeatureType

KNOWN = (
    "StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, OneHotEncoder, ColumnTransformer, Pipeline, passthrough"
)

_MIXES = "mixes columns, so that bounds, steps and costs of one column are none of one feature"
_BENDS = "is not affine, so that a change of the table is no fixed change of what the learner sees"
REASONS = {
    "PCA": _MIXES,
    "TruncatedSVD": _MIXES,
    "PolynomialFeatures": _BENDS,
    "SplineTransformer": _BENDS,
    "PowerTransformer": _BENDS,
    "QuantileTransformer": _BENDS,
    "KBinsDiscretizer": _BENDS,
    "Normalizer": _BENDS,
    "FunctionTransformer": "may be anything",
    "SimpleImputer": "fills missing values, and no record of an instance may miss one",
}
"""Why the best known of the others are refused, by the ends of their names."""


@dataclass(frozen=True)
class Indicator:
    """Whether the source has this category; ``left_out`` is the one that has no column, if there is one."""

    category: Any
    left_out: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Column:
    """One column of the transformed table: its source's position in the table, and how it is made from it."""

    source: int
    indicator: Indicator | None = None
    units: Units = field(default_factory=Units)

    def feature(self, names: Sequence[str]) -> Feature:
        """The feature in original units, without any rule; ``names`` are those of the table's columns."""
        name = names[self.source]
        if self.indicator is None:
            return Feature(name)
        own = f"{name}={self.indicator.category}"
        if self.indicator.left_out:
            return Feature(own, FeatureType.BINARY)
        return Feature(own, FeatureType.CATEGORICAL, group=name)


def columns_after(transformer: Any, names: Sequence[str], where: str = "estimator") -> list[Column]:
    """The columns that a fitted transformer makes of a table with these column names.

    Raises
    ------
    UnsupportedError : it is, or contains, a transformer that is not read here, or it uses a column twice.
    """
    found = _derived(transformer, [Column(j) for j in range(len(names))], names, where)
    uses: dict[tuple[int, str], Column] = {}
    kinds: dict[int, bool] = {}
    for column in found:
        key = (column.source, repr(column.indicator))
        if key in uses or kinds.setdefault(column.source, column.indicator is None) != (column.indicator is None):
            raise UnsupportedError(
                f"{where}: '{names[column.source]}' enters the learner twice, so its columns cannot change one by "
                "one: transform every column once"
            )
        uses[key] = column
    return found


def _derived(transformer: Any, columns: list[Column], names: Sequence[str], where: str) -> list[Column]:
    if transformer is None or (isinstance(transformer, str) and transformer == "passthrough"):
        return columns
    if isinstance(transformer, str) and transformer == "drop":
        return []
    kind = type(transformer).__name__
    reader = _READERS.get(kind) if type(transformer).__module__.startswith("sklearn.") else None
    if reader is None:
        why = next((f", since it {what}" for name, what in REASONS.items() if kind.endswith(name)), "")
        raise UnsupportedError(
            f"{where}: {kind} is not read here{why}: use {KNOWN}, or transform the table beforehand and give "
            "what comes out"
        )
    return reader(transformer, columns, names, f"{where}.{kind}")


def _pipeline(transformer: Any, columns: list[Column], names: Sequence[str], where: str) -> list[Column]:
    for name, step in transformer.steps:
        columns = _derived(step, columns, names, f"{where} '{name}'")
    return columns


def _column_transformer(transformer: Any, columns: list[Column], names: Sequence[str], where: str) -> list[Column]:
    found: list[Column] = []
    own = list(getattr(transformer, "feature_names_in_", names))
    for name, part, chosen in transformer.transformers_:
        picked = [columns[j] for j in _positions(chosen, own, where)]
        # A remainder that passes through is fitted as a function without a function.
        passes = type(part).__name__ == "FunctionTransformer" and part.func is None
        found += picked if passes else _derived(part, picked, names, f"{where} '{name}'") if picked else []
    return found


def _positions(chosen: Any, names: Sequence[str], where: str) -> list[int]:
    if isinstance(chosen, slice):
        ends = [names.index(end) if isinstance(end, str) else end for end in (chosen.start, chosen.stop)]
        # By names both ends are included.
        stop = ends[1] + 1 if isinstance(chosen.stop, str) else ends[1]
        return list(range(len(names)))[slice(ends[0], stop, chosen.step)]
    listed = [chosen] if isinstance(chosen, str | int) else list(chosen)
    if listed and all(isinstance(entry, bool | np.bool_) for entry in listed):
        return [j for j, entry in enumerate(listed) if entry]
    for entry in listed:
        if isinstance(entry, str) and entry not in names:
            raise InputError(where, f"'{entry}' is no column", suggestion(entry, names))
    return [names.index(entry) if isinstance(entry, str) else range(len(names))[entry] for entry in listed]


def _scaled(columns: list[Column], centres: Any, spreads: Any) -> list[Column]:
    centres = np.zeros(len(columns)) if centres is None else centres
    spreads = np.ones(len(columns)) if spreads is None else spreads
    return [
        replace(column, units=column.units.after(float(centre), float(spread)))
        for column, centre, spread in zip(columns, centres, spreads, strict=True)
    ]


def _standard(transformer: Any, columns: list[Column], names: Sequence[str], where: str) -> list[Column]:
    centres = transformer.mean_ if transformer.with_mean else None
    return _scaled(columns, centres, transformer.scale_ if transformer.with_std else None)


def _min_max(transformer: Any, columns: list[Column], names: Sequence[str], where: str) -> list[Column]:
    _without_clip(transformer, where)
    return _scaled(columns, -transformer.min_ / transformer.scale_, 1.0 / transformer.scale_)


def _max_abs(transformer: Any, columns: list[Column], names: Sequence[str], where: str) -> list[Column]:
    _without_clip(transformer, where)
    return _scaled(columns, None, transformer.scale_)


def _robust(transformer: Any, columns: list[Column], names: Sequence[str], where: str) -> list[Column]:
    centres = transformer.center_ if transformer.with_centering else None
    return _scaled(columns, centres, transformer.scale_ if transformer.with_scaling else None)


def _without_clip(transformer: Any, where: str) -> None:
    if getattr(transformer, "clip", False):
        raise UnsupportedError(f"{where}.clip: is true, and clipping is not linear: set it to False")


def _one_hot(transformer: Any, columns: list[Column], names: Sequence[str], where: str) -> list[Column]:
    if getattr(transformer, "_infrequent_enabled", False):
        raise UnsupportedError(
            f"{where}: puts rare categories together, so a column does not say which: drop min_frequency and "
            "max_categories"
        )
    found = []
    dropped = [None] * len(columns) if transformer.drop_idx_ is None else list(transformer.drop_idx_)
    for column, categories, left_out in zip(columns, transformer.categories_, dropped, strict=True):
        if column.indicator is not None or not column.units.are_original:
            raise UnsupportedError(
                f"{where}: encodes '{names[column.source]}' after another transformation: encode the raw column"
            )
        rest = () if left_out is None else (plain(categories[left_out]),)
        found += [
            replace(column, indicator=Indicator(plain(category), rest))
            for k, category in enumerate(categories)
            if k != left_out
        ]
    return found


def plain(value: Any) -> Any:
    """A numpy scalar as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


_READERS: dict[str, Callable[[Any, list[Column], Sequence[str], str], list[Column]]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "OneHotEncoder": _one_hot,
}
