"""The cells of a comma-separated table, with the line that each row stands on.

The first row is the header; empty lines are skipped; every row has as many cells as the header, whose names differ.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from oar_opt.errors import InputError


@dataclass(frozen=True)
class CsvCells:
    """``rows`` are pairs of a line number, from 1, and that row's cells."""

    source: str
    header: list[str]
    rows: list[tuple[int, list[str]]]


def decoded(data: bytes, source: str, where: str) -> str:
    """A file's text; ``where`` and ``source`` say in errors whose it is.

    Raises
    ------
    InputError : it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(where, f"{source} is not UTF-8 text (line {line})") from None


def csv_cells(text: str, source: str, where: str, delimiter: str = ",") -> CsvCells:
    """The table that a text spells.

    Raises
    ------
    InputError : there is no header, a name stands in it twice, or a row has another number of cells.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        numbered = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise InputError(where, f"{source} line {reader.line_num}: {error}") from None
    if not numbered:
        raise InputError(where, f"{source} is empty", "it needs a header row")
    header, rows = numbered[0][1], numbered[1:]
    for name in header:
        if header.count(name) > 1:
            raise InputError(where, f"{source} has two columns '{name}'", "rename one")
    for line, cells in rows:
        if len(cells) != len(header):
            raise InputError(where, f"{source} line {line} has {len(cells)} cells, the header {len(header)}")
    return CsvCells(source, header, rows)
