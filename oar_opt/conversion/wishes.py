"""What the caller of a conversion asks for beside the files, and how such words are read.

Rows are counted from 0, without the header; ``0:9,14`` are ten rows and one more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oar_opt.errors import InputError
from oar_opt.instance_records import finite_number
from oar_opt.json_input import decode_object, shown
from oar_opt.problem import Sense


@dataclass(frozen=True)
class Wishes:
    """What the caller says beside the two files; None and () leave it to the JSON file.

    ``query`` is a row's number, from 0, or JSON by columns; such a row leaves the training records (it gets the weight
    0, so that all rows keep their numbers) unless ``keep_query``; ``want`` a class, or ``>=3.5`` for regression;
    ``members`` are rows like ``0:9,14``; ``learner`` is a kind or JSON; ``classes`` are names with commas between, of
    two the negative one first.
    """

    target: str
    learner: str | None = None
    query: str | None = None
    want: str | None = None
    required: float | None = None
    members: str | None = None
    goal: str | None = None
    classes: str | None = None
    keep_query: bool = False
    drop: Sequence[str] = field(default=())

    @property
    def query_row_text(self) -> str | None:
        """The query where it is a row's number, else None."""
        text = None if self.query is None else self.query.strip()
        return None if text is None or text.startswith("{") else text


def learner_wanted(wish: str | None, part: Mapping[str, Any]) -> dict[str, Any]:
    """The learner's part of the instance: the wish, else the JSON file's, else ridge."""
    if wish is None:
        found = dict(part.get("learner", {"kind": "ridge"}))
    elif wish.lstrip().startswith("{"):
        found = decode_object(wish.encode(), "--learner")
    else:
        found = {"kind": wish}
    return {"kind": "", **found}


def row_number(text: str, n: int, where: str) -> int:
    """The row that a text names, of ``n``."""
    if not (text.isascii() and text.isdigit()) or int(text) >= n:
        raise InputError(where, f"{shown(text)} is no row", f"rows are 0 to {n - 1}, counted without the header")
    return int(text)


def row_numbers(text: str, n: int) -> list[int]:
    """The rows that a text like ``0:9,14`` names, of ``n``."""
    return [i for piece in text.split(",") for i in _rows(piece.strip(), n)]


def _rows(piece: str, n: int) -> range:
    first, _, last = piece.partition(":")
    ends = (first, last or first)
    if not all(end.isascii() and end.isdigit() for end in ends) or int(ends[1]) < int(ends[0]):
        raise InputError("--members", f"{shown(piece)} is no row", "give rows like 0:9,14 (both ends included)")
    if int(ends[1]) >= n:
        raise InputError("--members", f"row {ends[1]} does not exist", f"rows are 0 to {n - 1}, without the header")
    return range(int(ends[0]), int(ends[1]) + 1)


def side_wanted(want: str | None) -> dict[str, Any]:
    """The side of a threshold, like ``>=3.5``, that a regression's query wants."""
    text = (want or "").strip()
    threshold = finite_number(text[2:])
    if text[:2] not in (Sense.GE.value, Sense.LE.value) or threshold is None:
        raise InputError("--want", f"is {json.dumps(want)} for a regression", "give a side like '>=3.5'")
    return {"sense": text[:2], "threshold": threshold}
