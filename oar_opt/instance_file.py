"""The instance format, version 1: files and JSON documents to :class:`RecourseProblem`, and back.

Reading: :func:`load_instance`, :func:`parse_instance`. Writing: :func:`save_instance`, :func:`instance_text`,
:func:`dump_instance`; the records are always written out, and what equals its default is left out, so that every
problem has exactly one text. :func:`instance_schema` describes the format to other programs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oar_opt.errors import InputError
from oar_opt.instance_models import FORMAT, VERSION, FeatureModel, InstanceModel, ProvenanceModel
from oar_opt.instance_parts import (
    read_collective,
    read_guard,
    read_learner,
    read_query,
    read_update,
    written_collective,
    written_learner,
    written_query,
    written_update,
)
from oar_opt.instance_records import Coder, Table, read_table, resolved_classes
from oar_opt.json_input import check_header, json_schema, located, read_json_object, suggestion, validate
from oar_opt.json_text import compact, json_text
from oar_opt.problem import Feature, FeatureConstraint, FeatureType, RecourseProblem, Tolerances
from oar_opt.rules import ROUNDING

SCHEMA_ID = "urn:oar-opt:oar-instance-1"


def load_instance(path: str | Path) -> RecourseProblem:
    """The problem in a file ``NAME.json``; its ``sha256`` is the digest of the file's bytes.

    Raises
    ------
    InputError : the file or anything in it is wrong; ``where`` is the file's name and the path inside.
    """
    path = Path(path)
    document, data = read_json_object(path)
    with located(path.name):
        model = _checked(document)
        if path.name != f"{model.name}.json":
            raise InputError("name", f"is '{model.name}' in a file '{path.name}'", "name the file NAME.json")
        return _problem(model, path.parent, hashlib.sha256(data).hexdigest())


def parse_instance(document: Mapping[str, Any], *, base: Path | None = None) -> RecourseProblem:
    """The problem that an already read JSON document states; its ``sha256`` is that of the text that save writes.

    Parameters
    ----------
    document : the JSON object.
    base : directory to which a csv path is relative; default: the current one.
    """
    if not isinstance(document, Mapping):
        raise InputError("document", f"must be a mapping, not a {type(document).__name__}", "read the JSON text first")
    problem = _problem(_checked(dict(document)), base or Path(), "")
    return replace(problem, sha256=hashlib.sha256(instance_text(problem).encode()).hexdigest())


def dump_instance(problem: RecourseProblem) -> dict[str, Any]:
    """The problem as a JSON document, without the keys that equal their defaults."""
    model = validate(InstanceModel, _document(problem))
    found: dict[str, Any] = compact(model.model_dump(mode="json", exclude_defaults=True))
    return found


def instance_text(problem: RecourseProblem) -> str:
    """The problem as the text of its file: deterministic, with a trailing newline."""
    return json_text(dump_instance(problem))


def save_instance(problem: RecourseProblem, path: str | Path) -> None:
    """Write the problem's file; it must be called as the problem, ``NAME.json``."""
    path = Path(path)
    if path.name != f"{problem.name}.json":
        raise InputError(str(path), f"cannot hold the instance '{problem.name}'", f"call it '{problem.name}.json'")
    path.write_bytes(instance_text(problem).encode())


def instance_schema() -> dict[str, Any]:
    """The format as JSON Schema 2020-12."""
    return json_schema(InstanceModel, SCHEMA_ID)


# -- reading ---


def _checked(document: dict[str, Any]) -> InstanceModel:
    check_header(document, FORMAT, VERSION)
    return validate(InstanceModel, document)


def _problem(model: InstanceModel, base: Path, sha256: str) -> RecourseProblem:
    classes = resolved_classes(model)
    coder = Coder(classes, positions=model.learner.kind == "nearest_centroid")
    table = read_table(model, coder, base)
    features = _features(model, table)
    _check_protected(model.provenance, features)
    return RecourseProblem(
        name=model.name,
        records=table.records,
        learner=read_learner(model),
        collective=read_collective(model.collective, table, coder),
        queries=tuple(read_query(query, q, coder, model.learner.kind) for q, query in enumerate(model.queries)),
        goal=model.goal.kind,
        classes=classes,
        features=features,
        constraints=tuple(
            FeatureConstraint(tuple(row.coefficients.items()), row.sense, row.rhs) for row in model.constraints
        ),
        guards=tuple(read_guard(guard, g, coder, model.learner.kind) for g, guard in enumerate(model.guards)),
        max_loss_increase=model.max_loss_increase,
        position=model.position,
        update=read_update(model.update, table, coder),
        tolerances=Tolerances(model.tolerances.feasibility, model.tolerances.relative_gap),
        title=model.title,
        provenance=model.provenance.model_dump(exclude_none=True),
        sha256=sha256,
    )


def _features(model: InstanceModel, table: Table) -> tuple[Feature, ...]:
    if model.features is None:
        return tuple(Feature(name) for name in table.names or (f"x{j}" for j in range(table.records.d)))
    features = tuple(_feature(feature, f"features[{j}]") for j, feature in enumerate(model.features))
    for j, feature in enumerate(features[: table.records.d]):
        _check_type(feature, j, table)
    return features


def _feature(model: FeatureModel, where: str) -> Feature:
    if model.type is FeatureType.CATEGORICAL and model.group is None:
        raise InputError(f"{where}.group", "is missing", "a categorical feature names its one-hot group")
    if model.type is not FeatureType.CATEGORICAL and model.group is not None:
        raise InputError(f"{where}.group", f"is given for a feature of type {model.type}", "groups are for categorical")
    return Feature(**dict(model))


def _check_type(feature: Feature, j: int, table: Table) -> None:
    values = table.records.X[:, j]
    match feature.type:
        case FeatureType.INTEGER | FeatureType.ORDINAL:
            off, wanted = np.abs(values - np.rint(values)) / np.maximum(1.0, np.abs(values)), "whole numbers"
        case FeatureType.BINARY | FeatureType.CATEGORICAL:
            off, wanted = np.minimum(np.abs(values), np.abs(values - 1)), "0 or 1"
        case FeatureType.CONTINUOUS:
            return
    if (off > ROUNDING).any():
        i = int(np.argmax(off > ROUNDING))
        raise InputError(
            f"records.X[{i}][{j}]",
            f"is {values[i]:g}, and '{feature.name}' is {feature.type}: {wanted}",
            "correct the value, or the type",
        )


def _check_protected(provenance: ProvenanceModel, features: tuple[Feature, ...]) -> None:
    by_name = {feature.name: feature for feature in features}
    for p, name in enumerate(provenance.protected or ()):
        where = f"provenance.protected[{p}]"
        if name not in by_name:
            raise InputError(where, f"'{name}' is no feature", suggestion(name, by_name))
        if not by_name[name].is_fixed:
            raise InputError(where, f"'{name}' is not fixed", "give that feature the direction 'fixed'")


# -- writing ---


def _document(problem: RecourseProblem) -> dict[str, Any]:
    default_features = tuple(Feature(f"x{j}") for j in range(problem.d))
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": problem.name,
        "title": problem.title,
        "provenance": dict(problem.provenance),
        "features": None if problem.features == default_features else [vars(part) for part in problem.features],
        "constraints": [
            {"coefficients": dict(row.coefficients), "sense": row.sense, "rhs": row.rhs} for row in problem.constraints
        ],
        "records": _written_records(problem),
        "classes": problem.classes,
        "learner": written_learner(problem.learner),
        "update": written_update(problem.update),
        "position": problem.position,
        "max_loss_increase": problem.max_loss_increase,
        "collective": written_collective(problem),
        "queries": [written_query(problem, query, f"q{q + 1}", "target") for q, query in enumerate(problem.queries)],
        "guards": [
            written_query(problem, guard, f"guard{g + 1}", "decision") for g, guard in enumerate(problem.guards)
        ],
        "goal": {"kind": problem.goal},
        "tolerances": vars(problem.tolerances),
    }


def _written_records(problem: RecourseProblem) -> dict[str, Any]:
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    return {
        "X": X.tolist(),
        "y": [problem.label_of(code) for code in y.tolist()],
        "weight": None if (s == 1).all() else s.tolist(),
    }
