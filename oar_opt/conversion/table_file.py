"""A csv file as people have it: separated by commas, semicolons or tabs, with a byte-order mark, with decimal commas.

The separator is the one that stands most often in the first line. Where it is no comma, a column all of whose numbers
could have a decimal comma (``40,5``), and one of them has, is read so. Names lose the spaces around them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from oar_opt.conversion.columns import MISSING
from oar_opt.csv_cells import CsvCells, csv_cells, decoded
from oar_opt.errors import InputError
from oar_opt.instance_records import finite_number

DELIMITERS = ",;\t"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")


@dataclass(frozen=True)
class TableFile:
    """``sha256`` is the file's; ``is_plain`` says that the instance format could read the same cells."""

    path: Path
    cells: CsvCells
    sha256: str
    is_plain: bool


def read_table(path: Path) -> TableFile:
    """The table in a file.

    Raises
    ------
    InputError : it cannot be read, is no such table, has no names for its columns, or no rows.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror or error}", "check the path") from None
    text = _text(data, path)
    head = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=head.count)
    table = csv_cells(text, path.name, str(path), delimiter)
    table = replace(table, header=[name.strip() for name in table.header])
    _check_header(table, path)
    if not table.rows:
        raise InputError(str(path), "has a header and no rows", "give at least two records")
    pointed = table if delimiter == "," else _with_points(table)
    return TableFile(path, pointed, hashlib.sha256(data).hexdigest(), delimiter == ",")


def _text(data: bytes, path: Path) -> str:
    if b"\0" in data:
        raise InputError(str(path), "is no text", "save the table as csv, with the encoding UTF-8")
    try:
        return decoded(data, path.name, str(path))
    except InputError as error:
        raise InputError(error.where, error.what, "save it with the encoding UTF-8") from None


def _check_header(table: CsvCells, path: Path) -> None:
    if all(finite_number(name) is not None for name in table.header):
        raise InputError(str(path), "its first line has numbers", "a header with the columns' names comes first")
    for j, name in enumerate(table.header):
        if not name:
            raise InputError(str(path), f"column {j + 1} has no name", "name it, or remove the separator at the end")
        if name in table.header[:j]:
            raise InputError(str(path), f"has two columns '{name}'", "rename one")


def _with_points(table: CsvCells) -> CsvCells:
    columns = [_column_with_points([cells[j] for _, cells in table.rows]) for j in range(len(table.header))]
    rows = [(line, [column[i] for column in columns]) for i, (line, _) in enumerate(table.rows)]
    return replace(table, rows=rows)


def _column_with_points(cells: list[str]) -> list[str]:
    known = [cell.strip() for cell in cells if cell.strip().lower() not in MISSING]
    if not all(_DECIMAL_COMMA.fullmatch(cell) for cell in known) or not any("," in cell for cell in known):
        return cells
    return [cell.replace(",", ".") for cell in cells]
