"""Rows of a table as features, and queries and guards that are stated by columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oar_opt.conversion.columns import CsvColumn
from oar_opt.errors import InputError
from oar_opt.json_input import suggestion


def encoded_row(columns: Sequence[CsvColumn], cells: Sequence[Any], where: str) -> list[float]:
    return [
        number
        for column, cell in zip(columns, cells, strict=True)
        for number in column.encoded(cell, f"{where}, column '{column.name}'")
    ]


def row_by_columns(row: Mapping[str, Any], columns: Sequence[CsvColumn], where: str) -> list[float]:
    names = [column.name for column in columns]
    for name in row:
        if name not in names:
            raise InputError(where, f"'{name}' is no feature", suggestion(name, names))
    for name in names:
        if name not in row:
            raise InputError(where, f"leaves out '{name}'", "give every column but the target")
    return encoded_row(columns, [row[name] for name in names], where)


def subjects_by_columns(given: Sequence[Any], columns: Sequence[CsvColumn], where: str) -> list[Any]:
    found = []
    for q, subject in enumerate(given):
        if isinstance(subject, Mapping) and isinstance(subject.get("x"), Mapping):
            subject = {**subject, "x": row_by_columns(subject["x"], columns, f"{where}[{q}].x")}
        found.append(subject)
    return found
