"""The solution format: round trips, errors with their places, schema."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from oar_opt.certificate import Grade
from oar_opt.errors import InputError
from oar_opt.result import Status, StoppedBy
from oar_opt.solution_file import (
    CentroidParameters,
    CertificateRecord,
    Check,
    LinearParameters,
    Method,
    MoveRecord,
    QueryOutcome,
    Seconds,
    Solution,
    load_solution,
    save_solution,
    solution_schema,
    solution_text,
)

Document = dict[str, Any]

ANSWER: Document = {
    "format": "oar-solution",
    "version": 1,
    "instance": "school",
    "instance_sha256": "0123456789abcdef" * 4,
    "status": "optimal",
    "stopped_by": "gap",
    "objective": 0.4211,
    "bound": 0.4212,
    "relative_gap": 0.0001,
    "moves": [{"record": 3, "x": [9.5, 2], "y": "yes", "weight": 1, "cost": 0.7, "changes": {"commute_km": [12, 9.5]}}],
    "parameters": {"w": [0.25, -1], "b": 0.1},
    "queries": [{"name": "q1", "margin_before": -0.2, "margin": 0.4211, "decision": "yes", "helped": True}],
    "certificate": {
        "grade": "confirmed",
        "checks": [
            {"name": "budget", "value": 0.7, "limit": 2, "passed": True},
            {"name": "unique optimum", "value": None, "limit": None, "passed": True},
        ],
    },
    "method": {
        "formulation": "kkt_big_m",
        "solver": "highs 1.16.0",
        "options": {"threads": 2, "presolve": True, "gap": 0.5, "mode": "fast", "seed": None},
    },
    "seconds": {"build": 0.01, "solve": 0.8, "verify": 0},
}

NO_ANSWER: Document = {
    **ANSWER,
    "status": "infeasible",
    "stopped_by": "proof",
    "objective": None,
    "bound": None,
    "relative_gap": None,
    "moves": [],
    "parameters": None,
    "queries": [],
}

DROP = object()


def changed(place: tuple[str | int, ...], value: Any) -> Document:
    found = copy.deepcopy(ANSWER)
    part: Any = found
    for step in place[:-1]:
        part = part[step]
    if value is DROP:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return found


def loaded(directory: Path, document: Document) -> Solution:
    path = directory / "answer.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return load_solution(path)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = solution_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("document", [ANSWER, NO_ANSWER], ids=["answer", "no answer"])
def test_round_trip(document: Document, tmp_path: Path, validator: Draft202012Validator) -> None:
    solution = loaded(tmp_path, document)
    path = tmp_path / "saved.json"
    save_solution(solution, path)
    assert json.loads(path.read_text(encoding="utf-8")) == document
    assert load_solution(path) == solution and path.read_text(encoding="utf-8") == solution_text(solution)
    validator.validate(document)


def test_solution_is_typed_and_frozen(tmp_path: Path) -> None:
    solution = loaded(tmp_path, ANSWER)
    assert solution.status is Status.OPTIMAL and solution.stopped_by is StoppedBy.GAP
    assert solution.certificate.grade is Grade.CONFIRMED
    assert isinstance(solution.parameters, LinearParameters) and solution.parameters.w == (0.25, -1.0)
    assert solution.moves[0].changes == {"commute_km": (12.0, 9.5)}
    assert solution.method.options == {"threads": 2, "presolve": True, "gap": 0.5, "mode": "fast", "seed": None}
    assert type(solution.method.options["presolve"]) is bool
    with pytest.raises(ValidationError):
        setattr(solution, "status", Status.UNKNOWN)  # noqa: B010


def test_built_in_python(tmp_path: Path, validator: Draft202012Validator) -> None:
    solution = Solution(
        instance="digits",
        instance_sha256="",
        status=Status.FEASIBLE,
        stopped_by=StoppedBy.TIME_LIMIT,
        objective=1.0,
        bound=None,
        relative_gap=None,
        moves=(MoveRecord(record=0, x=(1.0,), y=True, weight=0.0, cost=2.0),),
        parameters=CentroidParameters(centroids={"3": (1.0,), "8": (2.5,)}),
        queries=(QueryOutcome(name="q1", margin_before=-1.0, margin=0.5, decision=3, helped=True),),
        certificate=CertificateRecord(grade=Grade.CLAIMED, checks=(Check(name="moves", passed=True),)),
        method=Method(formulation="centroid", solver="none"),
        seconds=Seconds(build=0.0, solve=1.5, verify=0.25),
    )
    save_solution(solution, tmp_path / "digits.json")
    again = load_solution(tmp_path / "digits.json")
    assert again == solution and isinstance(again.parameters, CentroidParameters)
    assert again.moves[0].y is True and again.queries[0].decision == 3
    document = json.loads(solution_text(solution))
    assert document["format"] == "oar-solution" and document["version"] == 1
    validator.validate(document)


@pytest.mark.parametrize(
    ("place", "value", "where", "what", "fix"),
    [
        (("staus",), 1, "staus", "unknown key", "did you mean 'status'?"),
        (("moves", 0, "wieght"), 1, "moves[0].wieght", "unknown key", "did you mean 'weight'?"),
        (("objective",), DROP, "objective", "is missing", ""),
        (("bound",), "1", "bound", "must be a number, not '1'", "quotation marks"),
        (("status",), "optimum", "status", "is 'optimum', which is not known", "did you mean 'optimal'?"),
        (("stopped_by",), "luck", "stopped_by", "is 'luck'", "use one of gap, time_limit"),
        (("certificate", "grade"), "sure", "certificate.grade", "is 'sure'", "claimed, confirmed, enumerated, proved"),
        (("certificate", "checks", 0, "passed"), 1, "certificate.checks[0].passed", "must be true or false", ""),
        (("moves", 0, "record"), -1, "moves[0].record", "is -1", "at least 0"),
        (("moves", 0, "record"), 1.0, "moves[0].record", "must be a whole number, not 1.0", ""),
        (("moves", 0, "y"), None, "moves[0].y", "must be text, a number, true or false", ""),
        (("moves", 0, "changes", "commute_km"), [1], "moves[0].changes.commute_km[1]", "is missing", ""),
        (("moves", 0, "changes", "commute_km"), [1, 2, 3], "moves[0].changes.commute_km", "has 3 entries", "at most 2"),
        (("moves", 0, "changes", "a b"), 3, 'moves[0].changes["a b"]', "must be a list, not 3", ""),
        (("parameters", "b"), DROP, "parameters.b", "is missing", ""),
        (("parameters", "centroids"), {}, "parameters.w", "unknown key", "known keys: centroids"),
        (("parameters",), 3, "parameters", "must be an object, not 3", ""),
        (("parameters", "w"), [True], "parameters.w[0]", "must be a number, not true", ""),
        (("queries", 0, "margin"), None, "queries[0].margin", "must be a number, not null", ""),
        (("method", "options", "list"), [1], "method.options.list", "not a list", ""),
        (("seconds", "solve"), -0.5, "seconds.solve", "is -0.5", "at least 0"),
        (("instance_sha256",), "xyz", "instance_sha256", "is 'xyz'", "64 hexadecimal digits"),
        (("format",), "oar-instance", "format", "is 'oar-instance'", "supported is 'oar-solution'"),
        (("version",), DROP, "version", "is missing", '"version": 1'),
        (("version",), "1", "version", "is '1'", "supported is 1"),
    ],
)
def test_errors_name_the_place(
    place: tuple[str | int, ...], value: Any, where: str, what: str, fix: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, changed(place, value))
    error = caught.value
    assert error.where == f"answer.json: {where}" and what in error.what and fix in error.fix


def test_faults_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    text = json.dumps(ANSWER)
    for old, new, where, what in (
        ("0.4212", "NaN", "answer.json: bound", "is NaN"),
        ('"bound"', '"objective"', "answer.json: objective", "given twice"),
        ('"bound":', '"bound"', "answer.json, line 1, column", "is not valid JSON"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(InputError) as caught:
            load_solution(path)
        assert caught.value.where.startswith(where) and what in caught.value.what


def test_infinite_numbers_cannot_be_built() -> None:
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            Solution.model_validate(changed(("bound",), value))
        with pytest.raises(ValidationError):
            Solution.model_validate(changed(("method", "options", "gap"), value))


@settings(max_examples=40, deadline=None, database=None)
@given(
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
    names=st.lists(st.text('aZ 0.[]"\\\n\u00e9\u6f22\U0001f600', max_size=6), min_size=2, max_size=2),
    label=st.booleans() | st.integers(-(10**18), 10**18) | st.floats(-1e9, 1e9) | st.text('aé"\\\n', max_size=3),
)
def test_any_number_and_text_survives(numbers: list[float], names: list[str], label: bool | int | float | str) -> None:
    document = changed(("moves", 0, "x"), numbers)
    document["moves"][0] |= {"y": label, "changes": {names[0]: numbers[:2]}}
    document |= {"objective": numbers[0], "parameters": {"centroids": {names[1]: numbers}}}
    solution = Solution.model_validate(document)
    text = solution_text(solution)
    again = Solution.model_validate(json.loads(text))
    assert again == solution and solution_text(again) == text
    assert isinstance(again.moves[0].y, bool) == isinstance(label, bool)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("colour",), 1),
        (("moves", 0, "colour"), 1),
        (("parameters", "centroids"), {}),
        (("format",), DROP),
        (("version",), DROP),
        (("bound",), DROP),
        (("moves", 0, "changes", "commute_km"), [1]),
        (("certificate", "grade"), "sure"),
    ],
)
def test_schema_rejects(place: tuple[str | int, ...], value: Any, validator: Draft202012Validator) -> None:
    assert not validator.is_valid(changed(place, value))


def test_schema_describes_every_field() -> None:
    schema = solution_schema()
    assert schema["$id"] == "urn:oar-opt:oar-solution-1" and schema["title"]
    parts = {"": schema, **schema["$defs"]}
    silent = [
        f"{part}.{key}"
        for part, body in parts.items()
        for key, value in body.get("properties", {}).items()
        if not value.get("description")
    ]
    assert not silent
