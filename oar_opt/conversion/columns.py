"""What a table's columns hold, inferred from all of their cells.

0 and 1 alone are *binary*; whole numbers written without a point are *integer*; other numbers are *continuous*; texts
are *categorical*, one 0/1 column for each of them. An empty cell, ``NA``, ``N/A``, ``NaN``, ``null`` and ``?`` are
missing values, which no learner here can take. What is no column to learn from is an error: one value only, a different
text in nearly every row, numbers mixed with texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from oar_opt.csv_cells import CsvCells
from oar_opt.errors import InputError
from oar_opt.instance_records import finite_number
from oar_opt.json_input import shown, suggestion
from oar_opt.json_text import label_text
from oar_opt.problem import Feature, FeatureType, Label

MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})
MOST_CATEGORIES = 50


@dataclass(frozen=True)
class CsvColumn:
    """One column; ``categories`` are those of a categorical one, in alphabetical order."""

    name: str
    type: FeatureType
    categories: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features that it becomes, without any rule."""
        if self.type is not FeatureType.CATEGORICAL:
            return (Feature(self.name, self.type),)
        return tuple(
            Feature(f"{self.name}={category}", FeatureType.CATEGORICAL, group=self.name) for category in self.categories
        )

    def encoded(self, value: Any, where: str) -> list[float]:
        """The features' values for one cell.

        Raises
        ------
        InputError : it is no number, or none of the categories.
        """
        text = value.strip() if isinstance(value, str) else label_text(value)
        if self.type is FeatureType.CATEGORICAL:
            if text not in self.categories:
                raise InputError(where, f"{shown(text)} is no category", suggestion(text, self.categories))
            return [float(text == category) for category in self.categories]
        number = finite_number(text)
        if number is None:
            raise InputError(where, f"{shown(text)} is no finite number", "correct it")
        return [number]


def cells_of(table: CsvCells, name: str, where: str) -> list[str]:
    """A column's cells, without spaces around them.

    Raises
    ------
    InputError : there is no such column (said at ``where``), or a value is missing.
    """
    place = position(table, name, where)
    found = [cells[place].strip() for _, cells in table.rows]
    if all(cell.lower() in MISSING for cell in found):
        raise InputError(f"{table.source}, column '{name}'", "is empty", f"fill it, or drop it: --drop '{name}'")
    for (line, _), cell in zip(table.rows, found, strict=True):
        if cell.lower() in MISSING:
            raise InputError(
                f"{table.source} line {line}, column '{name}'",
                f"is missing ({shown(cell)})",
                "fill it, leave the row out, or drop the column (--drop); spell a category of that name otherwise",
            )
    return found


def position(table: CsvCells, name: str, where: str) -> int:
    """A column's place in the header."""
    if name not in table.header:
        raise InputError(where, f"'{name}' is no column of {table.source}", suggestion(name, table.header))
    return table.header.index(name)


def inferred(table: CsvCells, name: str, stated: FeatureType | None) -> CsvColumn:
    """The column of that name; ``stated`` is the type that the caller gives it.

    Raises
    ------
    InputError : see the module's docstring; or its cells are not of the stated type.
    """
    cells = cells_of(table, name, "--drop")
    where = f"{table.source}, column '{name}'"
    if len(set(cells)) == 1:
        raise InputError(where, f"has one value only ({shown(cells[0])})", f"drop it: --drop '{name}'")
    if stated is FeatureType.CATEGORICAL:
        return _categorical(name, cells, where)
    spelled = [finite_number(cell) for cell in cells]
    numbers = [number for number in spelled if number is not None]
    if len(numbers) == len(cells):
        return CsvColumn(name, stated or _kind(cells, numbers))
    if numbers or stated is not None:
        line = table.rows[spelled.index(None)][0]
        cell = cells[spelled.index(None)]
        raise InputError(
            f"{table.source} line {line}, column '{name}'",
            f"is {shown(cell)}, no finite number, in a column of numbers",
            'correct it, or give that feature the type "categorical"',
        )
    return _categorical(name, cells, where)


def _kind(cells: list[str], numbers: list[float]) -> FeatureType:
    if set(numbers) <= {0.0, 1.0}:
        return FeatureType.BINARY
    written_whole = all(cell.lstrip("+-").isdigit() for cell in cells)
    return FeatureType.INTEGER if written_whole else FeatureType.CONTINUOUS


def _categorical(name: str, cells: list[str], where: str) -> CsvColumn:
    categories = tuple(sorted(set(cells)))
    if len(categories) > MOST_CATEGORIES:
        raise InputError(
            where,
            f"has {len(categories)} different texts, more than {MOST_CATEGORIES}",
            f"an identifier is no feature: --drop '{name}'; otherwise join rare categories",
        )
    return CsvColumn(name, FeatureType.CATEGORICAL, categories)


def labels_of(cells: Iterable[str]) -> list[Label]:
    """The cells of a target as labels: numbers where all of them are."""
    texts = list(cells)
    numbers = [finite_number(text) for text in texts]
    if any(number is None for number in numbers):
        return list(texts)
    return [int(number) if float(number).is_integer() else number for number in numbers if number is not None]


def stated_types(overrides: Iterable[Mapping[str, Any]]) -> dict[str, FeatureType]:
    """The types that overrides state, by name; wrong ones are left to whoever checks the overrides."""
    known = {kind.value: kind for kind in FeatureType}
    return {
        str(override.get("name")): known[str(override["type"])]
        for override in overrides
        if isinstance(override, Mapping) and str(override.get("type")) in known
    }
