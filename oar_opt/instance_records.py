"""The records of an instance: written out, of a scikit-learn data set, or in a csv file; labels become codes here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from oar_opt.csv_cells import csv_cells, decoded
from oar_opt.errors import InputError
from oar_opt.instance_models import CsvRecords, Dataset, InlineRecords, InstanceModel, SklearnRecords
from oar_opt.json_input import shown, suggestion
from oar_opt.json_text import label_text
from oar_opt.learner_models import PURE_CLASSIFIERS, PURE_REGRESSIONS
from oar_opt.problem import Label, Matrix, Records, Vector

T = TypeVar("T")


# -- labels and their codes ---


def label_key(label: Label) -> tuple[str, Label]:
    """Equal for equal labels: 1 is 1.0, but neither is true nor '1'."""
    kind = {bool: "truth", str: "text"}.get(type(label), "number")
    return kind, label


class Coder:
    """Labels as the codes of ``problem.py``: -1 and +1, positions for the nearest centroid, or numbers themselves.

    Parameters
    ----------
    classes : the labels in the order of their codes; None for regression.
    positions : whether codes are positions rather than -1 and +1.
    """

    def __init__(self, classes: tuple[Label, ...] | None, positions: bool) -> None:
        self.classes = classes
        signs = classes is not None and len(classes) == 2 and not positions
        self._codes: dict[tuple[str, Label], float] = {}
        for position, label in enumerate(classes or ()):
            if label_key(label) in self._codes:
                raise InputError(f"classes[{position}]", f"{shown(label)} is named twice", "name each class once")
            self._codes[label_key(label)] = 2.0 * position - 1.0 if signs else float(position)

    def code(self, label: Label, where: str) -> float:
        """The code of a label (regression: of a number) that stands at ``where``."""
        if self.classes is None:
            if isinstance(label, bool | str):
                raise InputError(where, f"must be a number, not {shown(label)}", "regression has no class labels")
            return float(label)
        found = self._codes.get(label_key(label))
        if found is None:
            raise InputError(where, f"{shown(label)} is no class", f"the classes are {self.listed}")
        return found

    def knows(self, label: Label) -> bool:
        """Whether it is a class."""
        return label_key(label) in self._codes

    def label_of_text(self, text: str) -> Label | None:
        """The class that a cell or a key of an object spells, or None."""
        classes = self.classes or ()
        exact: list[Label] = [label for label in classes if isinstance(label, str) and label == text]
        return next(iter(exact or [label for label in classes if _spells(text, label)]), None)

    @property
    def listed(self) -> str:
        """The classes in a message."""
        return ", ".join(shown(label) for label in self.classes or ())


def _spells(text: str, label: Label) -> bool:
    if isinstance(label, bool):
        return text.strip().lower() == label_text(label)
    return not isinstance(label, str) and finite_number(text) == label


def finite_number(text: str) -> float | None:
    """The finite number that a text spells, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def resolved_classes(document: InstanceModel) -> tuple[Label, ...] | None:
    """The class labels that an instance states or takes from its data set; None means regression."""
    kind, records = document.learner.kind, document.records
    if document.classes is not None:
        return document.classes
    names: tuple[str, ...] = ()
    if isinstance(records, SklearnRecords):
        names = _dataset(records.sklearn).target_names
        if records.classes is not None and kind not in PURE_REGRESSIONS:
            return tuple(names[position] for position in _chosen_classes(records, _dataset(records.sklearn)))
        if names and kind == "nearest_centroid":
            return names
    if kind in PURE_CLASSIFIERS:
        known = f"; the data set has {', '.join(names)}" if names else ""
        raise InputError(
            "classes", f"is missing, and '{kind}' is a classifier", f"name them, of two the negative first{known}"
        )
    return None


# -- tables ---


@dataclass(frozen=True)
class Table:
    """Records as read, with the source's own feature names, if it has any."""

    records: Records
    names: tuple[str, ...] | None = None


def read_table(document: InstanceModel, coder: Coder, base: Path) -> Table:
    """The records of an instance; a csv file's path is relative to ``base``."""
    match document.records:
        case InlineRecords() as records:
            return _inline(records, coder)
        case SklearnRecords() as records:
            return _from_sklearn(records, coder)
        case CsvRecords() as records:
            wanted = None if document.features is None else tuple(feature.name for feature in document.features)
            return _CsvFile(records, base).table(wanted, coder)


def _inline(records: InlineRecords, coder: Coder) -> Table:
    for i, row in enumerate(records.X):
        if len(row) != len(records.X[0]):
            raise InputError(
                f"records.X[{i}]", f"has {len(row)} entries, the first row {len(records.X[0])}", "give equally many"
            )
    y = [coder.code(label, f"records.y[{i}]") for i, label in enumerate(records.y)]
    weight = np.ones(len(records.X)) if records.weight is None else np.array(records.weight)
    return Table(Records(np.array(records.X, dtype=np.float64), np.array(y), weight))


# -- scikit-learn -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """``target_names`` is empty for a regression data set; otherwise ``target`` holds positions in it."""

    X: Matrix
    target: Vector
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]


@cache
def _dataset(name: Dataset) -> _Data:
    bunch: Any = getattr(import_module("sklearn.datasets"), f"load_{name.value}")()
    names = () if name is Dataset.DIABETES else tuple(str(target) for target in bunch.target_names)
    return _Data(
        np.asarray(bunch.data, dtype=np.float64),
        np.asarray(bunch.target, dtype=np.float64),
        tuple(str(feature) for feature in bunch.feature_names),
        names,
    )


def _from_sklearn(records: SklearnRecords, coder: Coder) -> Table:
    data = _dataset(records.sklearn)
    kept = _kept_by_class(records, data)
    if records.rows is not None:
        kept = kept[_positions(records.rows, len(kept), "records.rows", "record")]
    columns = _columns(records, data)
    X = data.X[kept][:, columns]
    if records.standardize and len(kept):
        spread = X.std(axis=0)
        X = (X - X.mean(axis=0)) / np.where(np.ptp(X, axis=0) > 0, spread, 1.0)
    y = _sklearn_targets(records, data, kept, coder)
    return Table(Records(X, y, np.ones(len(kept))), tuple(data.feature_names[j] for j in columns))


def _kept_by_class(records: SklearnRecords, data: _Data) -> NDArray[np.int64]:
    if records.classes is None:
        return np.arange(len(data.target))
    return np.flatnonzero(np.isin(data.target, _chosen_classes(records, data)))


def _chosen_classes(records: SklearnRecords, data: _Data) -> list[int]:
    _need_target_names(records, data, "records.classes")
    chosen = [
        _position_of_name(name, data.target_names, f"records.classes[{c}]", f"no target name of {records.sklearn}")
        for c, name in enumerate(records.classes or ())
    ]
    _unique(chosen, "records.classes", lambda position: f"'{data.target_names[position]}'")
    return chosen


def _columns(records: SklearnRecords, data: _Data) -> list[int]:
    if records.columns is None:
        return list(range(data.X.shape[1]))
    found = [
        _position_of_name(column, data.feature_names, f"records.columns[{c}]", f"no feature of {records.sklearn}")
        if isinstance(column, str)
        else _position(column, len(data.feature_names), f"records.columns[{c}]", "feature")
        for c, column in enumerate(records.columns)
    ]
    _unique(found, "records.columns", lambda position: f"'{data.feature_names[position]}'")
    return found


def _sklearn_targets(records: SklearnRecords, data: _Data, kept: NDArray[np.int64], coder: Coder) -> Vector:
    target: Vector = data.target[kept]
    if coder.classes is None:
        return target
    _need_target_names(records, data, "classes")
    renamed = _renamed(records, data, coder.classes)
    codes: dict[int, float] = {}
    for position in sorted({int(position) for position in target}):
        name = data.target_names[position]
        label = renamed.get(name, name)
        if not coder.knows(label):
            raise InputError("classes", f"leaves out '{label}', a class of the records", _LEFT_OUT)
        codes[position] = coder.code(label, "classes")
    return np.array([codes[int(position)] for position in target])


_LEFT_OUT = (
    "name it; or select records with records.classes, which classes may rename: as many new names, in the same order"
)


def _renamed(records: SklearnRecords, data: _Data, classes: Sequence[Label]) -> dict[str, Label]:
    """New names of the selected target names, in order, where none of the classes is a target name itself."""
    if records.classes is None or len(records.classes) != len(classes) or set(classes) & set(data.target_names):
        return {}
    return dict(zip(records.classes, classes, strict=True))


def _need_target_names(records: SklearnRecords, data: _Data, where: str) -> None:
    if not data.target_names:
        raise InputError(where, f"'{records.sklearn}' has numbers as targets, not classes", "leave it out")


def _position_of_name(name: str, names: Sequence[str], where: str, what: str) -> int:
    if name not in names:
        raise InputError(where, f"'{name}' is {what}", suggestion(name, names))
    return names.index(name)


def _position(position: int, size: int, where: str, noun: str) -> int:
    if not 0 <= position < size:
        raise InputError(where, f"{noun} {position} does not exist", f"they count from 0 to {size - 1}")
    return position


def _positions(positions: Sequence[int], size: int, where: str, noun: str) -> list[int]:
    for r, position in enumerate(positions):
        _position(position, size, f"{where}[{r}]", noun)
    _unique(positions, where, lambda position: f"{noun} {position}")
    return list(positions)


def _unique(values: Sequence[T], where: str, name: Callable[[T], str]) -> None:
    seen: set[T] = set()
    for v, value in enumerate(values):
        if value in seen:
            raise InputError(f"{where}[{v}]", f"{name(value)} is given twice", "give each once")
        seen.add(value)


# -- csv ---


class _CsvFile:
    """A csv file: its header and its lines with their numbers."""

    def __init__(self, records: CsvRecords, base: Path) -> None:
        self.target, self.source = records.target, records.csv
        cells = csv_cells(_checked_text(records, base), self.source, "records.csv")
        self.header, self.rows = cells.header, cells.rows

    def table(self, wanted: tuple[str, ...] | None, coder: Coder) -> Table:
        """The table with the wanted feature columns, by default all but the target's."""
        target = _position_of_name(self.target, self.header, "records.target", f"no column of {self.source}")
        names = tuple(name for name in self.header if name != self.target) if wanted is None else wanted
        if self.target in names:
            raise InputError(f"features[{names.index(self.target)}].name", f"'{self.target}' is the target", "drop it")
        columns = [
            _position_of_name(name, self.header, f"features[{j}].name", f"no column of {self.source}")
            for j, name in enumerate(names)
        ]
        X = [[self._number(line, cells, column) for column in columns] for line, cells in self.rows]
        y = [self._code(line, cells, target, coder) for line, cells in self.rows]
        return Table(Records(np.array(X).reshape(len(y), len(columns)), np.array(y), np.ones(len(y))), names)

    def _number(self, line: int, cells: list[str], column: int) -> float:
        number = finite_number(cells[column])
        if number is None:
            raise self._cell_error(line, cells, column, "no finite number", "")
        return number

    def _code(self, line: int, cells: list[str], column: int, coder: Coder) -> float:
        if coder.classes is None:
            return self._number(line, cells, column)
        label = coder.label_of_text(cells[column])
        if label is None:
            raise self._cell_error(line, cells, column, "no class", f"the classes are {coder.listed}")
        return coder.code(label, "records.csv")

    def _cell_error(self, line: int, cells: list[str], column: int, what: str, fix: str) -> InputError:
        place = f"{self.source} line {line}, column '{self.header[column]}'"
        return InputError("records.csv", f"{place}: {shown(cells[column])} is {what}", fix)


def _checked_text(records: CsvRecords, base: Path) -> str:
    path = base / records.csv
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            "records.csv", f"{path} cannot be read: {error.strerror or error}", "the path is relative to the instance"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if records.sha256 is not None and records.sha256.lower() != digest:
        raise InputError(
            "records.sha256", f"is {records.sha256.lower()}, but {records.csv} has {digest}", "the data have changed"
        )
    return decoded(data, records.csv, "records.csv")
