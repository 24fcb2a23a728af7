"""Instances from a table in a csv file and a JSON file with what the collective may do.

The JSON file is a part of an instance: ``collective`` as in the format, ``features`` with the rules of single columns
(a categorical column is meant by its own name, one of its categories by ``column=category``), and, if wanted,
``constraints``, ``learner``, ``queries``, ``guards``, ``goal``, ``position`` and so on. ``x`` of a query or guard may
be an object by columns. A query that is a row of the table is no record to learn from, unless asked for: its outcome is
what the decision is about. Columns are typed by :mod:`oar_opt.conversion.columns`. Records are written out in the
instance, or referred to with the csv file's digest where every column is a number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oar_opt.conversion.classes import classes_of
from oar_opt.conversion.columns import CsvColumn, cells_of, inferred, labels_of, position, stated_types
from oar_opt.conversion.encoding import encoded_row, row_by_columns, subjects_by_columns
from oar_opt.conversion.table_file import TableFile, read_table
from oar_opt.conversion.wishes import Wishes, learner_wanted, row_number, row_numbers, side_wanted
from oar_opt.csv_cells import CsvCells
from oar_opt.errors import InputError
from oar_opt.feature_overrides import with_overrides
from oar_opt.instance_file import dump_instance, load_instance, parse_instance
from oar_opt.instance_models import FORMAT, VERSION, InstanceModel
from oar_opt.json_input import check_values, decode_object, shown, suggestion
from oar_opt.json_text import json_text, label_text
from oar_opt.problem import FeatureType, Label, RecourseProblem

OWN_KEYS = ("format", "version", "name", "records", "classes")
"""Of an instance, what the JSON file does not say."""


@dataclass(frozen=True, eq=False)
class Converted:
    """The problem with the columns of the table that its features come from.

    ``left_out`` is the row of the query where that is no record to learn from.
    """

    problem: RecourseProblem
    columns: tuple[CsvColumn, ...]
    file: TableFile
    target: str
    left_out: int | None

    def save(self, path: Path, by_reference: bool = False) -> None:
        """Write the instance's file, with its records, or with a reference to the csv file.

        Raises
        ------
        InputError : the csv file cannot be referred to, since it has categories, another separator than a
            comma, or a row that is left out.
        """
        document = dump_instance(self.problem)
        if by_reference:
            self._check_reference()
            relative = os.path.relpath(self.file.path.resolve(), path.resolve().parent)
            document["features"] = [vars(feature) for feature in self.problem.features]
            document["records"] = {"csv": relative, "target": self.target, "sha256": self.file.sha256}
        path.write_bytes(json_text(document).encode())
        load_instance(path)

    def _check_reference(self) -> None:
        texts = [column.name for column in self.columns if column.type is FeatureType.CATEGORICAL]
        if texts:
            why = f"column '{texts[0]}' is categorical"
        elif not self.file.is_plain:
            why = "its cells are not separated by commas"
        elif self.left_out is not None:
            why = f"row {self.left_out}, the query, is no record to learn from (unless with --keep-query)"
        else:
            return
        raise InputError("--by-reference", f"{self.file.path.name}: {why}", "write the records out: leave it away")


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
    file = read_table(Path(path))
    table = file.cells
    part = _checked_part(collective)
    labels = labels_of(cells_of(table, wishes.target, "--target"))
    learner = learner_wanted(wishes.learner, part)
    classes = classes_of(table, labels, str(learner["kind"]), wishes)
    columns = _columns(table, wishes, part.get("features", ()))
    features = [(feature, column.name) for column in columns for feature in column.features]
    ruled = with_overrides([one for one, _ in features], part.get("features", ()), [source for _, source in features])
    places = [position(table, column.name, "--drop") for column in columns]
    X = [encoded_row(columns, [cells[j] for j in places], f"{table.source} line {line}") for line, cells in table.rows]
    collective_part = _collective(wishes, part, len(X))
    left_out = _left_out(wishes, collective_part, len(X))
    weights = None if left_out is None else [float(i != left_out) for i in range(len(X))]
    document = {
        "provenance": {"source": file.path.name},
        **part,
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "features": [vars(feature) for feature in ruled],
        "records": {"X": X, "y": labels, "weight": weights},
        "classes": classes,
        "learner": learner,
        "collective": collective_part,
        "guards": subjects_by_columns(part.get("guards", ()), columns, "guards"),
        "goal": {"kind": wishes.goal} if wishes.goal is not None else part.get("goal", {"kind": "max_margin"}),
    }
    queries = _queries(wishes, part, columns, X)
    problem = _with_wants({**document, "queries": queries}, wishes, classes)
    return Converted(problem, columns, file, wishes.target, left_out)


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


def _columns(table: CsvCells, wishes: Wishes, overrides: Sequence[Mapping[str, Any]]) -> tuple[CsvColumn, ...]:
    for name in wishes.drop:
        position(table, name, "--drop")
    types = stated_types(overrides)
    names = [name for name in table.header if name != wishes.target and name not in wishes.drop]
    if not names:
        raise InputError(table.source, "has no column beside the target", "leave at least one feature")
    return tuple(inferred(table, name, types.get(name)) for name in names)


def _queries(wishes: Wishes, part: Mapping[str, Any], columns: Sequence[CsvColumn], X: list[list[float]]) -> list[Any]:
    if wishes.query is None:
        if not part.get("queries"):
            raise InputError("--query", "is missing, and the JSON file has no queries", "give a row's number, or JSON")
        if wishes.want is not None or wishes.required is not None:
            raise InputError("--want, --required", "are given without --query", "say it in the file's queries")
        return subjects_by_columns(part["queries"], columns, "queries")
    text = wishes.query_row_text
    if text is None:
        x = row_by_columns(decode_object(wishes.query.encode(), "--query"), columns, "--query")
    else:
        x = X[row_number(text, len(X), "--query")]
    return [{"x": x, "required": wishes.required}]


def _collective(wishes: Wishes, part: Mapping[str, Any], n: int) -> dict[str, Any]:
    found = dict(part.get("collective", {}))
    if wishes.members is not None:
        found["members"] = row_numbers(wishes.members, n)
    if "members" not in found:
        raise InputError("--members", "is missing, and the JSON file names none", "give rows like 0:9,14")
    return found


def _left_out(wishes: Wishes, collective: Mapping[str, Any], n: int) -> int | None:
    """The query's row where it is not to be learnt from; rows keep their numbers, since its weight is 0."""
    text = wishes.query_row_text
    if text is None or wishes.keep_query:
        return None
    row, members = row_number(text, n, "--query"), collective["members"]
    if isinstance(members, list | tuple) and any(type(member) is int and member == row for member in members):
        fix = "take another row, or learn from it all the same: --keep-query"
        raise InputError("--query", f"row {row} is a member, and a query's row is no record to learn from", fix)
    return row


def _with_wants(document: dict[str, Any], wishes: Wishes, classes: list[Label] | None) -> RecourseProblem:
    """The problem with what the caller's own query wants; by default the other class than it is given now."""
    if wishes.query is None:
        return parse_instance(document)
    query = document["queries"][0]

    def wanting(wish: dict[str, Any]) -> RecourseProblem:
        return parse_instance({**document, "queries": [{**query, **wish}]})

    if classes is None:
        return wanting(side_wanted(wishes.want))
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
