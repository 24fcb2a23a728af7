"""``FILE.map.json``: what every column and row of a written file means, and the proof of every bound.

It also says which program of which instance the file holds, so that a solver's answer can be brought back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oar_opt.contracts import Exactness, PyomoProgram
from oar_opt.errors import InputError
from oar_opt.export.names import Names
from oar_opt.json_input import read_json_object
from oar_opt.problem import RecourseProblem


@dataclass(frozen=True)
class Origin:
    """What a file was written from; ``tightening`` in seconds, None for the formulation's own."""

    formulation: str
    form: str
    exactness: Exactness
    tightening: float | None


def map_path_of(path: Path) -> Path:
    """Where the map of a file lies."""
    return path.with_name(path.name + ".map.json")


def write_map(problem: RecourseProblem, program: PyomoProgram, origin: Origin, names: Names, path: Path) -> Path:
    """Write the map of the file ``path``."""
    entries = {symbol: _entry(program, component, "column") for symbol, component in names.columns.items()}
    for symbol in names.whole:
        entries[symbol]["integer"] = True
    entries |= {symbol: _entry(program, component, "row") for symbol, component in names.others.items()}
    bounds = {
        name: {
            "lower": bound.lower if bound.is_finite else None,
            "upper": bound.upper if bound.is_finite else None,
            "reason": bound.words,
        }
        for name, bound in program.bounds.items()
    }
    document = _head(problem, origin) | {"names": dict(sorted(entries.items())), "proved_bounds": bounds}
    return _write(document, path)


def write_conic_map(problem: RecourseProblem, origin: Origin, columns: tuple[str, ...], path: Path) -> Path:
    """The same for a conic file, whose columns have numbers instead of names."""
    entries = {str(j): {"component": words, "meaning": words, "kind": "column"} for j, words in enumerate(columns)}
    return _write(_head(problem, origin) | {"names": entries, "proved_bounds": {}}, path)


def _head(problem: RecourseProblem, origin: Origin) -> dict[str, Any]:
    return {
        "instance": problem.name,
        "instance_sha256": problem.sha256,
        "formulation": origin.formulation,
        "exactness": str(origin.exactness),
        "format": origin.form,
        "tightening": origin.tightening,
    }


def _write(document: dict[str, Any], path: Path) -> Path:
    target = map_path_of(path)
    target.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def _entry(program: PyomoProgram, component: str, kind: str) -> dict[str, Any]:
    exact = program.meanings.get(component)
    prefix = component.rsplit(".", 1)[0]
    return {"component": component, "meaning": exact or program.meanings.get(prefix, ""), "kind": kind}


@dataclass(frozen=True)
class ReadMap:
    """A map read back: columns of the file with component, meaning and whether they are whole numbers."""

    instance: str
    sha256: str
    formulation: str
    form: str
    tightening: float | None
    columns: dict[str, str]
    meanings: dict[str, str]
    whole: frozenset[str]
    others: frozenset[str]
    """Names of rows, and of columns that are a solver's own."""


def read_map(path: Path) -> ReadMap:
    """Raises :class:`InputError` where the file is no map."""
    document, _ = read_json_object(path)
    try:
        _check_kinds(document)
        columns = {symbol: entry for symbol, entry in document["names"].items() if entry["kind"] == "column"}
        return ReadMap(
            document["instance"],
            document["instance_sha256"],
            document["formulation"],
            document["format"],
            document["tightening"],
            {symbol: entry["component"] for symbol, entry in columns.items()},
            {symbol: entry["meaning"] for symbol, entry in columns.items()},
            frozenset(symbol for symbol, entry in columns.items() if entry.get("integer")),
            frozenset(document["names"]) - frozenset(columns),
        )
    except (KeyError, TypeError) as missing:
        raise InputError(str(path), f"is no map of an exported file ({missing})", "'oar export' writes it") from missing


def _check_kinds(document: dict[str, Any]) -> None:
    """Raises :class:`TypeError` where a value is of another kind than :func:`write_map` writes."""
    for key in ("instance", "instance_sha256", "formulation", "format"):
        _check_kind(key, document[key], str)
    seconds = document["tightening"]
    if seconds is not None:
        _check_kind("tightening", seconds, int, float)
        if isinstance(seconds, bool) or not seconds >= 0:
            raise TypeError(f"'tightening' is {seconds}")
    _check_kind("names", document["names"], dict)
    for symbol, entry in document["names"].items():
        _check_kind(symbol, entry, dict)
        for key in ("component", "meaning", "kind"):
            _check_kind(f"{key} of {symbol}", entry[key], str)


def _check_kind(key: str, found: object, *kinds: type) -> None:
    if not isinstance(found, kinds):
        raise TypeError(f"'{key}' is of the kind {type(found).__name__}")
