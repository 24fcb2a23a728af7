"""Instances from a table in a csv file and a JSON file with what the collective may do.

The JSON file is a part of an instance: ``collective`` as in the format, ``features`` with the rules of single columns
(a categorical column is meant by its own name, one of its categories by ``column=category``), and, if wanted,
``constraints``, ``learner``, ``queries``, ``guards``, ``goal``, ``position`` and so on. ``x`` of a query or guard may
be an object by columns. Columns are typed by :mod:`oar_opt.csv_columns`; records are written out in the instance, or
referred to with the csv file's digest where every column is a number.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oar_opt.csv_cells import CsvCells, csv_cells, decoded
from oar_opt.csv_columns import CsvColumn, cells_of, inferred, labels_of, position, stated_types
from oar_opt.errors import InputError
from oar_opt.feature_overrides import with_overrides
from oar_opt.instance_file import dump_instance, load_instance, parse_instance
from oar_opt.instance_models import FORMAT, VERSION, InstanceModel
from oar_opt.instance_records import finite_number
from oar_opt.json_input import check_values, decode_object, shown, suggestion
from oar_opt.json_text import json_text, label_text
from oar_opt.learner_models import PURE_CLASSIFIERS, PURE_REGRESSIONS
from oar_opt.problem import FeatureType, Label, RecourseProblem, Sense

if TYPE_CHECKING:
    from rich.console import RenderableType

OWN_KEYS = ("format", "version", "name", "records", "classes")
"""Of an instance, what the JSON file does not say."""


@dataclass(frozen=True)
class Wishes:
    """What the caller says beside the two files; None and () leave it to the JSON file.

    ``query`` is a row's number, from 0, or JSON by columns; ``want`` a class, or ``>=3.5`` for regression; ``members``
    are rows like ``0:9,14``; ``learner`` is a kind or JSON; ``classes`` are names with commas between, of two the
    negative one first.
    """

    target: str
    learner: str | None = None
    query: str | None = None
    want: str | None = None
    required: float | None = None
    members: str | None = None
    goal: str | None = None
    classes: str | None = None
    drop: Sequence[str] = field(default=())


@dataclass(frozen=True, eq=False)
class Converted:
    """The problem with the columns of the table that its features come from; ``sha256`` is the csv file's."""

    problem: RecourseProblem
    columns: tuple[CsvColumn, ...]
    path: Path
    target: str
    delimiter: str
    sha256: str

    def save(self, path: Path, by_reference: bool = False) -> None:
        """Write the instance's file, with its records, or with a reference to the csv file.

        Raises
        ------
        InputError : the csv file cannot be referred to, since it has categories or another delimiter than a comma.
        """
        document = dump_instance(self.problem)
        if by_reference:
            texts = [column.name for column in self.columns if column.type is FeatureType.CATEGORICAL]
            if texts or self.delimiter != ",":
                why = f"column '{texts[0]}' is categorical" if texts else "its cells are not separated by commas"
                raise InputError("--by-reference", f"{self.path.name}: {why}", "write the records out: leave it away")
            relative = os.path.relpath(self.path.resolve(), path.resolve().parent)
            document["features"] = [vars(feature) for feature in self.problem.features]
            document["records"] = {"csv": relative, "target": self.target, "sha256": self.sha256}
        path.write_bytes(json_text(document).encode())
        load_instance(path)


def convert(path: str | Path, collective: Mapping[str, Any], wishes: Wishes, name: str) -> Converted:
    """The problem that a csv file, a part of an instance and the caller's wishes state together.

    Parameters
    ----------
    path : the csv file, UTF-8 with a header; cells may be separated by commas, semicolons or tabs.
    collective : the JSON file's object; see the module's docstring.
    name : of the instance.

    Raises
    ------
    InputError : anything is wrong, by its column and line, its key or its option.
    """
    path = Path(path)
    table, delimiter, digest = _read(path)
    part = _checked_part(collective)
    labels = labels_of(cells_of(table, wishes.target))
    learner = _learner(wishes.learner, part)
    classes = _classes(wishes, labels, learner["kind"], table)
    columns = _columns(table, wishes, part.get("features", ()))
    features = [(feature, column.name) for column in columns for feature in column.features]
    ruled = with_overrides([one for one, _ in features], part.get("features", ()), [source for _, source in features])
    places = [position(table, column.name, "--target") for column in columns]
    X = [_encoded(columns, [cells[j] for j in places], f"{table.source} line {line}") for line, cells in table.rows]
    document = {
        "provenance": {"source": path.name},
        **part,
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "features": [vars(feature) for feature in ruled],
        "records": {"X": X, "y": labels},
        "classes": classes,
        "learner": learner,
        "collective": _collective(wishes, part),
        "guards": _subjects(part.get("guards", ()), columns, "guards"),
        "goal": {"kind": wishes.goal} if wishes.goal is not None else part.get("goal", {"kind": "max_margin"}),
    }
    queries = _queries(wishes, part, columns, X)
    problem = _with_wants({**document, "queries": queries}, wishes, classes)
    return Converted(problem, columns, path, wishes.target, delimiter, digest)


def converted_words(converted: Converted) -> RenderableType:
    """Which column became what, as a table."""
    from rich.table import Table

    table = Table(title=f"{converted.path.name}: {converted.problem.n} records, target '{converted.target}'")
    for head in ("column", "type", "values", "features"):
        table.add_column(head)
    names, X = [feature.name for feature in converted.problem.features], converted.problem.records.X
    for column in converted.columns:
        if column.type is FeatureType.CATEGORICAL:
            values = ", ".join(column.categories[:4]) + (", ..." if len(column.categories) > 4 else "")
        else:
            own = X[:, names.index(column.name)]
            values = f"{own.min():g} to {own.max():g}"
        table.add_row(column.name, str(column.type), values, str(len(column.features)))
    return table


def _read(path: Path) -> tuple[CsvCells, str, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror or error}", "check the path") from None
    text = decoded(data, path.name, str(path))
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    table = csv_cells(text, path.name, str(path), delimiter)
    stripped = replace(table, header=[name.strip() for name in table.header])
    if not table.rows:
        raise InputError(str(path), "has a header and no rows", "give at least one record")
    return stripped, delimiter, hashlib.sha256(data).hexdigest()


def _checked_part(collective: Mapping[str, Any]) -> dict[str, Any]:
    check_values(collective)
    known = [key for key in InstanceModel.model_fields if key not in OWN_KEYS]
    for key in collective:
        if key in OWN_KEYS:
            raise InputError(key, "is not said here", "it comes from the table and the options: leave it out")
        if key not in known:
            raise InputError(key, "unknown key", suggestion(key, known, "known keys: "))
    for key in ("features", "queries", "guards"):
        if not isinstance(collective.get(key, ()), list | tuple):
            raise InputError(key, f"must be a list, not {shown(collective[key])}")
    for key in ("collective", "learner"):
        if not isinstance(collective.get(key, {}), Mapping):
            raise InputError(key, f"must be an object, not {shown(collective[key])}")
    return dict(collective)


def _learner(wish: str | None, part: Mapping[str, Any]) -> dict[str, Any]:
    if wish is None:
        found = dict(part.get("learner", {"kind": "ridge"}))
    elif wish.lstrip().startswith("{"):
        found = decode_object(wish.encode(), "--learner")
    else:
        found = {"kind": wish}
    return {"kind": "", **found}


def _classes(wishes: Wishes, labels: list[Label], kind: str, table: CsvCells) -> list[Label] | None:
    """The class labels, None for regression."""
    where = f"{table.source}, column '{wishes.target}'"
    found = sorted(set(labels), key=lambda label: (isinstance(label, str), label))
    if len(found) == 1:
        raise InputError(where, f"has one value only ({shown(found[0])})", "there is nothing to learn from it")
    numeric = not isinstance(found[0], str)
    if wishes.classes is not None:
        named = [text.strip() for text in wishes.classes.split(",")]
        stated = [next((label for label in found if label_text(label) == text), text) for text in named]
        for i, label in enumerate(labels):
            if label not in stated:
                raise InputError("--classes", f"leaves out {shown(label)} in line {table.rows[i][0]}", "name it, too")
        return list(stated)
    if kind in PURE_REGRESSIONS or (kind not in PURE_CLASSIFIERS and numeric and len(found) > 2):
        if not numeric:
            raise InputError(where, f"has texts like {shown(found[0])}, and '{kind}' predicts numbers", "use another")
        return None
    if len(found) > 2 and kind != "nearest_centroid":
        raise InputError(where, f"has {len(found)} values, and '{kind}' is binary", "use nearest_centroid, or two only")
    return list(found)


def _columns(table: CsvCells, wishes: Wishes, overrides: Sequence[Mapping[str, Any]]) -> tuple[CsvColumn, ...]:
    for name in wishes.drop:
        position(table, name, "--drop")
    types = stated_types(overrides)
    names = [name for name in table.header if name != wishes.target and name not in wishes.drop]
    if not names:
        raise InputError(table.source, "has no column beside the target", "leave at least one feature")
    return tuple(inferred(table, name, types.get(name)) for name in names)


def _encoded(columns: Sequence[CsvColumn], cells: Sequence[Any], where: str) -> list[float]:
    return [
        number
        for column, cell in zip(columns, cells, strict=True)
        for number in column.encoded(cell, f"{where}, column '{column.name}'")
    ]


def _by_columns(row: Mapping[str, Any], columns: Sequence[CsvColumn], where: str) -> list[float]:
    names = [column.name for column in columns]
    for name in row:
        if name not in names:
            raise InputError(where, f"'{name}' is no feature", suggestion(name, names))
    for name in names:
        if name not in row:
            raise InputError(where, f"leaves out '{name}'", "give every column but the target")
    return _encoded(columns, [row[name] for name in names], where)


def _subjects(given: Sequence[Any], columns: Sequence[CsvColumn], where: str) -> list[Any]:
    found = []
    for q, subject in enumerate(given):
        if isinstance(subject, Mapping) and isinstance(subject.get("x"), Mapping):
            subject = {**subject, "x": _by_columns(subject["x"], columns, f"{where}[{q}].x")}
        found.append(subject)
    return found


def _queries(wishes: Wishes, part: Mapping[str, Any], columns: Sequence[CsvColumn], X: list[list[float]]) -> list[Any]:
    if wishes.query is None:
        if not part.get("queries"):
            raise InputError("--query", "is missing, and the JSON file has no queries", "give a row's number, or JSON")
        if wishes.want is not None or wishes.required is not None:
            raise InputError("--want, --required", "are given without --query", "say it in the file's queries")
        return _subjects(part["queries"], columns, "queries")
    text = wishes.query.strip()
    if text.startswith("{"):
        x = _by_columns(decode_object(text.encode(), "--query"), columns, "--query")
    else:
        x = X[_row(text, len(X), "--query")]
    return [{"x": x, "required": wishes.required}]


def _row(text: str, n: int, where: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) >= n:
        raise InputError(where, f"{shown(text)} is no row", f"rows are 0 to {n - 1}, counted without the header")
    return int(text)


def _collective(wishes: Wishes, part: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(part.get("collective", {}))
    if wishes.members is not None:
        found["members"] = [i for piece in wishes.members.split(",") for i in _rows(piece.strip())]
    if "members" not in found:
        raise InputError("--members", "is missing, and the JSON file names none", "give rows like 0:9,14")
    return found


def _rows(piece: str) -> range:
    first, _, last = piece.partition(":")
    ends = (first, last or first)
    if not all(end.isascii() and end.isdigit() for end in ends) or int(ends[1]) < int(ends[0]):
        raise InputError("--members", f"{shown(piece)} is no row", "give rows like 0:9,14 (both ends included)")
    return range(int(ends[0]), int(ends[1]) + 1)


def _with_wants(document: dict[str, Any], wishes: Wishes, classes: list[Label] | None) -> RecourseProblem:
    """The problem with what the caller's own query wants; by default the other class than it is given now."""
    if wishes.query is None:
        return parse_instance(document)
    query = document["queries"][0]

    def wanting(wish: dict[str, Any]) -> RecourseProblem:
        return parse_instance({**document, "queries": [{**query, **wish}]})

    if classes is None:
        return wanting(_side(wishes.want))
    if wishes.want is not None:
        return wanting({"target": next((label for label in classes if label_text(label) == wishes.want), wishes.want)})
    if len(classes) != 2:
        raise InputError("--want", "is missing, and there are more than two classes", "name the class that is wanted")
    from oar_opt.evaluate import evaluate_present

    problem = wanting({"target": classes[1]})
    present = evaluate_present(problem)
    if present is None:
        raise InputError("--want", "is missing, and the learner decides nothing yet", "name the class that is wanted")
    return wanting({"target": classes[0]}) if present.margins[0] > 0 else problem


def _side(want: str | None) -> dict[str, Any]:
    text = (want or "").strip()
    threshold = finite_number(text[2:])
    if text[:2] not in (Sense.GE.value, Sense.LE.value) or threshold is None:
        raise InputError("--want", f"is {json.dumps(want)} for a regression", "give a side like '>=3.5'")
    return {"sense": text[:2], "threshold": threshold}
