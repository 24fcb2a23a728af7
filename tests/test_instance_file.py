"""The instance format: round trips, every kind of error with its place, data sources, schema."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from oar_opt.errors import InputError
from oar_opt.instance_file import (
    dump_instance,
    instance_schema,
    instance_text,
    load_instance,
    parse_instance,
    save_instance,
)
from oar_opt.problem import (
    CostKind,
    FeatureAction,
    GoalKind,
    Intercept,
    LabelAction,
    Norm,
    Option,
    OptionKind,
    Position,
    Prior,
    RecourseProblem,
    Task,
    UpdateKind,
    WithholdAction,
)

Document = dict[str, Any]

SCHOOL: Document = {
    "format": "oar-instance",
    "version": 1,
    "name": "school",
    "title": "Two neighbourhoods, one school",
    "provenance": {"source": "made up", "licence": "CC0-1.0", "seed": 1, "protected": ["age"], "notes": "für Tests"},
    "features": [
        {"name": "commute_km", "lower": 0, "upper": 40, "scale": 10},
        {"name": "late_30", "type": "integer", "lower": 0},
        {"name": "late_60", "type": "integer", "lower": 0, "direction": "decrease"},
        {"name": "age", "direction": "fixed"},
    ],
    "constraints": [{"coefficients": {"late_30": 1, "late_60": -1}, "sense": ">=", "rhs": 0}],
    "records": {
        "X": [[12.5, 2, 1, 30], [3, 4, 1, 41], [5.5, 3, 0, 29], [30.25, 5, 2, 50], [8, 0, 0, 35]],
        "y": ["no", "yes", "yes", "no", "yes"],
        "weight": [1, 1, 0.5, 1, 2],
    },
    "classes": ["no", "yes"],
    "learner": {"kind": "svm", "C": 2.5, "intercept": "penalized"},
    "position": "optimistic",
    "max_loss_increase": 3,
    "collective": {
        "members": [0, 2, 3],
        "actions": [
            {"kind": "features", "norm": "l2", "radius": 0.5},
            {"kind": "labels", "to": ["yes"], "cost": 0.5},
            {"kind": "withhold", "cost": 2},
        ],
        "menus": {"3": [{"x": [20, 5, 1, 50], "y": "yes", "weight": 0.5, "cost": 0.7}, {}]},
        "overrides": {"2": [{"kind": "withhold"}]},
        "cost": "sql2",
        "budget": {"each": 2, "total": 3.5, "members": 2},
    },
    "queries": [{"x": [10, 1, 1, 33], "target": "yes", "required": 0.001}],
    "guards": [{"x": [4, 1, 0, 30], "decision": "no"}],
    "goal": {"kind": "min_cost"},
    "tolerances": {"feasibility": 1e-7},
}

REGRESSION: Document = {
    "format": "oar-instance",
    "version": 1,
    "name": "rent",
    "records": {"X": [[1, 2], [3, 4], [5, 7]], "y": [1, 2.5, 4]},
    "learner": {"kind": "ridge"},
    "collective": {"members": [1], "actions": [{"kind": "labels", "to": [3, 4]}]},
    "queries": [{"x": [0, 1], "sense": ">=", "threshold": 3}],
    "goal": {"kind": "max_margin"},
}

CENTROID: Document = {
    **REGRESSION,
    "records": {"X": [[1, 2], [3, 4], [5, 7]], "y": ["a", "b", "c"]},
    "classes": ["a", "b", "c"],
    "learner": {"kind": "nearest_centroid"},
    "collective": {"members": [1]},
    "queries": [{"x": [0, 1], "target": "c"}],
}

DROP = object()


def changed(document: Document, *changes: tuple[tuple[str | int, ...], Any]) -> Document:
    """A copy with other values at some places; DROP takes the entry out."""
    found = copy.deepcopy(document)
    for place, value in changes:
        part: Any = found
        for step in place[:-1]:
            part = part[step]
        if value is DROP:
            del part[place[-1]]
        else:
            part[place[-1]] = value
    return found


def error_of(action: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        action()
    return caught.value


def rejected(document: Document, *, base: Path | None = None) -> InputError:
    return error_of(lambda: parse_instance(document, base=base))


def written(directory: Path, document: Document) -> Path:
    path = directory / f"{document['name']}.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def assert_round_trip(problem: RecourseProblem) -> None:
    text = instance_text(problem)
    again = parse_instance(json.loads(text))
    assert again == problem
    assert instance_text(again) == text
    assert again.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = instance_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


# -- what a document means ----------------------------------------------------------------------------------------


def test_classification_document_becomes_the_problem() -> None:
    problem = parse_instance(SCHOOL)
    assert (problem.name, problem.title, problem.task) == ("school", "Two neighbourhoods, one school", Task.BINARY)
    assert problem.provenance["protected"] == ("age",) and problem.provenance["seed"] == 1
    assert problem.records.y.tolist() == [-1, 1, 1, -1, 1] and problem.records.s.tolist() == [1, 1, 0.5, 1, 2]
    assert [feature.name for feature in problem.features] == ["commute_km", "late_30", "late_60", "age"]
    assert problem.scales.tolist() == [10, 1, 1, 1] and problem.features[3].is_fixed
    assert problem.constraints[0].coefficients == (("late_30", 1.0), ("late_60", -1.0))
    assert (problem.learner.kind, problem.learner.C, problem.learner.alpha) == ("svm", 2.5, None)
    assert problem.learner.intercept is Intercept.PENALIZED and problem.update.kind is UpdateKind.RETRAIN
    assert problem.position is Position.OPTIMISTIC and problem.max_loss_increase == 3
    collective = problem.collective
    assert [member.record for member in collective.members] == [0, 2, 3] and collective.cost is CostKind.SQL2
    everybody = (FeatureAction(Norm.L2, 0.5), LabelAction((1.0,), 0.5), WithholdAction(2.0))
    assert [member.actions for member in collective.members] == [everybody, (WithholdAction(1.0),), everybody]
    assert collective.members[2].menu == (
        Option(OptionKind.MENU, (20.0, 5.0, 1.0, 50.0), 1.0, 0.5, 0.7),
        Option(OptionKind.MENU, (30.25, 5.0, 2.0, 50.0), -1.0, 1.0, 1.0),
    )
    assert (collective.budget.each, collective.budget.total, collective.budget.members) == (2, 3.5, 2)
    assert problem.goal is GoalKind.MIN_COST
    query, guard = problem.queries[0], problem.guards[0]
    assert (query.name, query.target, query.required) == ("q1", 1.0, 0.001)
    assert (guard.name, guard.target, guard.required) == ("guard1", -1.0, 0.0)
    assert (problem.tolerances.feasibility, problem.tolerances.relative_gap) == (1e-7, 1e-4)


def test_defaults_of_a_regression_document() -> None:
    problem = parse_instance(REGRESSION)
    assert problem.task is Task.REGRESSION and problem.classes is None
    assert [feature.name for feature in problem.features] == ["x0", "x1"]
    assert (problem.learner.alpha, problem.learner.intercept, problem.learner.C) == (1.0, Intercept.FREE, None)
    assert problem.position is Position.UNIQUE and problem.collective.cost is CostKind.L2
    assert (problem.queries[0].target, problem.queries[0].threshold, problem.queries[0].required) == (1.0, 3.0, None)
    below = parse_instance(changed(REGRESSION, (("queries", 0, "sense"), "<=")))
    assert below.queries[0].target == -1.0


def test_learner_defaults() -> None:
    for kind, constants in {
        "huber": {"C": 1.0, "delta": 1.0},
        "epsilon_insensitive": {"C": 1.0, "epsilon": 0.0},
        "lad": {"C": 1.0},
    }.items():
        spec = parse_instance(changed(REGRESSION, (("learner",), {"kind": kind}))).learner
        stated = {name: getattr(spec, name) for name in ("C", "alpha", "delta", "epsilon")}
        assert {name: value for name, value in stated.items() if value is not None} == constants
        assert spec.intercept is Intercept.FREE
    assert parse_instance(CENTROID).learner.intercept is Intercept.NONE


def test_regression_learner_may_see_two_classes_as_signs() -> None:
    document = changed(
        CENTROID,
        (("records", "y"), ["a", "b", "b"]),
        (("classes",), ["b", "a"]),
        (("learner",), {"kind": "lad"}),
        (("queries", 0, "target"), "a"),
    )
    problem = parse_instance(document)
    assert problem.task is Task.BINARY and problem.records.y.tolist() == [1, -1, -1]
    assert_round_trip(problem)


def test_labels_are_compared_with_their_type() -> None:
    kinds = [True, 1, "1"]
    document = changed(
        CENTROID,
        (("records", "y"), ["1", 1.0, True]),
        (("classes",), kinds),
        (("queries", 0, "target"), True),
    )
    problem = parse_instance(document)
    assert problem.records.y.tolist() == [2, 1, 0] and problem.queries[0].target == 0
    assert_round_trip(problem)
    twice = rejected(changed(document, (("classes",), [True, 1, 1.0])))
    assert (twice.where, twice.what) == ("classes[2]", "1.0 is named twice")
    wrong = rejected(changed(document, (("classes",), [False, 1, "1"])))
    assert (wrong.where, wrong.what) == ("records.y[2]", "true is no class")


def test_names_of_queries_and_guards_are_kept_where_they_differ() -> None:
    document = changed(SCHOOL, (("queries", 0, "name"), "ann"), (("guards", 0, "name"), "guard1"))
    dumped = dump_instance(parse_instance(document))
    assert dumped["queries"][0]["name"] == "ann" and "name" not in dumped["guards"][0]


# -- update rules -------------------------------------------------------------------------------------------------


def test_prior_of_a_proximal_update_goes_to_the_learner() -> None:
    prior = {"w0": [1, 2], "b0": 0.5}
    here = parse_instance(changed(REGRESSION, (("update",), {"kind": "proximal", "prior": prior})))
    there = parse_instance(
        changed(REGRESSION, (("update",), {"kind": "proximal"}), (("learner",), {"kind": "ridge", "prior": prior}))
    )
    assert here == there and here.update.kind is UpdateKind.PROXIMAL
    assert here.learner.prior == Prior((1.0, 2.0), 0.5)
    dumped = dump_instance(here)
    assert dumped["update"] == {"kind": "proximal"} and dumped["learner"] == {"kind": "ridge", "prior": prior}
    retrained = parse_instance(changed(REGRESSION, (("learner",), {"kind": "ridge", "prior": {"w0": [1, 2]}})))
    assert retrained.update.kind is UpdateKind.RETRAIN and retrained.learner.prior == Prior((1.0, 2.0), 0.0)
    assert_round_trip(retrained)


def test_gradient_settings_are_complete_and_written_back() -> None:
    update = {
        "kind": "gradient",
        "T": 2,
        "rate": 0.1,
        "theta0": {"w": [1, 2]},
        "batches": [[0, 1], [2]],
        "loss": "squared",
    }
    problem = parse_instance(changed(REGRESSION, (("update",), update)))
    assert dict(problem.update.settings) == {
        "T": 2,
        "rate": 0.1,
        "l2": 0.0,
        "reduction": "mean",
        "theta0": (("w", (1.0, 2.0)), ("b", 0.0)),
        "batches": ((0, 1), (2,)),
        "loss": "squared",
    }
    assert hash(problem.update) == hash(parse_instance(dump_instance(problem)).update)
    assert dump_instance(problem)["update"] == update
    assert_round_trip(problem)


def test_running_centroid_settings_are_by_class() -> None:
    document = changed(
        CENTROID,
        (("records", "y"), [1, 2, True]),
        (("classes",), [1, 2.0, True]),
        (("queries", 0, "target"), 1),
        (
            ("update",),
            {
                "kind": "running_centroid",
                "counts": {"true": 4, "2.0": 5, "1": 6},
                "centroids": {"1": [0, 0], "2": [1, 1], "true": [2, 2.5]},
                "order": [2, 0],
            },
        ),
    )
    problem = parse_instance(document)
    assert dict(problem.update.settings) == {
        "rate": None,
        "counts": ((1, 6.0), (2.0, 5.0), (True, 4.0)),
        "centroids": ((1, (0.0, 0.0)), (2.0, (1.0, 1.0)), (True, (2.0, 2.5))),
        "order": (2, 0),
    }
    assert dump_instance(problem)["update"]["counts"] == {"1": 6, "2": 5, "true": 4}
    assert_round_trip(problem)


CENTROID_RULE = {"kind": "running_centroid", "counts": {"a": 1, "b": 1, "c": 1}}
GRADIENT = {"kind": "gradient", "rate": 0.1, "theta0": {"w": [1, 2]}}


@pytest.mark.parametrize(
    ("document", "update", "where", "what"),
    [
        (REGRESSION, {"kind": "proximal"}, "update.prior", "is missing"),
        (CENTROID, {"kind": "proximal", "prior": {"w0": [0, 0]}}, "update.kind", "takes no prior"),
        (REGRESSION, {**GRADIENT, "rate": 0}, "update.rate", "is 0"),
        (REGRESSION, {**GRADIENT, "T": 0}, "update.T", "is 0"),
        (REGRESSION, {**GRADIENT, "l2": -1}, "update.l2", "is -1"),
        (REGRESSION, {**GRADIENT, "reduction": "max"}, "update.reduction", "'max', which is not known"),
        (REGRESSION, {**GRADIENT, "theta0": {"w": [1]}}, "update.theta0.w", "has 1 entries"),
        (REGRESSION, {**GRADIENT, "batches": [[0], [1]]}, "update.batches", "has 2 lists"),
        (REGRESSION, {**GRADIENT, "batches": [[0, 3]]}, "update.batches[0][1]", "record 3 does not exist"),
        (CENTROID, {"kind": "running_centroid"}, "update.rate", "is missing"),
        (CENTROID, {**CENTROID_RULE, "rate": 0.5}, "update.rate", "beside counts"),
        (CENTROID, {**CENTROID_RULE, "counts": {"a": 1, "b": 1, "d": 1}}, "update.counts.d", "no class"),
        (CENTROID, {**CENTROID_RULE, "counts": {"a": 1, "b": 1}}, "update.counts", "leaves out the class 'c'"),
        (CENTROID, {**CENTROID_RULE, "centroids": {"a": [1]}}, "update.centroids.a", "has 1 entries"),
        (CENTROID, {**CENTROID_RULE, "order": [-1]}, "update.order[0]", "record -1 does not exist"),
        (CENTROID, {"kind": "running_mean"}, "update.kind", "'running_mean', which is not known"),
    ],
)
def test_wrong_updates(document: Document, update: Document, where: str, what: str) -> None:
    error = rejected(changed(document, (("update",), update)))
    assert error.where == where and what in error.what


def test_two_priors_are_refused() -> None:
    prior = {"w0": [1, 2]}
    error = rejected(
        changed(
            REGRESSION,
            (("update",), {"kind": "proximal", "prior": prior}),
            (("learner",), {"kind": "ridge", "prior": prior}),
        )
    )
    assert error.where == "update.prior" and "learner.prior" in error.what


def test_one_class_under_two_keys_is_refused() -> None:
    numbers = changed(CENTROID, (("records", "y"), [1, 2, 3]), (("classes",), [1, 2, 3]), (("queries", 0, "target"), 1))
    counts = {"1": 1, "1.0": 1, "2": 1, "3": 1}
    error = rejected(changed(numbers, (("update",), {"kind": "running_centroid", "counts": counts})))
    assert error.where == 'update.counts["1.0"]' and "again" in error.what


# -- errors in a document -----------------------------------------------------------------------------------------

ACTION = ("collective", "actions", 0)
MENU = ("collective", "menus")


@pytest.mark.parametrize(
    ("place", "value", "where", "what", "fix"),
    [
        # Keys.
        ((*ACTION, "radus"), 1, "collective.actions[0].radus", "unknown key", "did you mean 'radius'?"),
        (("quereis",), [], "quereis", "unknown key", "did you mean 'queries'?"),
        (("learner", "c"), 1, "learner.c", "unknown key", "did you mean 'C'?"),
        (("learner", "alpha"), 1, "learner.alpha", "unknown key", "known keys: kind, intercept, prior, C"),
        (("goal", "zzz"), 1, "goal.zzz", "unknown key", "known keys: kind"),
        (("records", "rows"), [0], "records.rows", "unknown key", "known keys: X, y, weight"),
        (("records", "a b"), [0], 'records["a b"]', "unknown key", "known keys: X, y, weight"),
        ((*ACTION, "radius"), DROP, "collective.actions[0].radius", "is missing", "add it"),
        (("goal",), DROP, "goal", "is missing", "add it"),
        ((*ACTION, "kind"), DROP, "collective.actions[0].kind", "is missing", "'features', 'labels', 'withhold'"),
        # Types.
        ((*ACTION, "radius"), "1", "collective.actions[0].radius", "must be a number, not '1'", "quotation marks"),
        ((*ACTION, "radius"), True, "collective.actions[0].radius", "must be a number, not true", ""),
        ((*ACTION, "radius"), None, "collective.actions[0].radius", "must be a number, not null", ""),
        (ACTION, 3, "collective.actions[0]", "must be an object, not 3", ""),
        (("collective", "actions"), {}, "collective.actions", "must be a list, not an object", ""),
        (("collective", "members"), [0, 2.0], "collective.members[1]", "must be a whole number, not 2.0", ""),
        (("collective", "menus"), [], "collective.menus", "must be an object, not a list", ""),
        (("learner",), "svm", "learner", "must be an object, not 'svm'", ""),
        (("title",), 3, "title", "must be text, not 3", ""),
        (("records", "X", 1, 2), "4", "records.X[1][2]", "must be a number, not '4'", "quotation marks"),
        (("records", "y", 1), None, "records.y[1]", "must be text, a number, true or false, not null", ""),
        (("records",), [], "records", "must be an object, not a list", ""),
        # Numbers.
        ((*ACTION, "radius"), float("nan"), "collective.actions[0].radius", "NaN", "finite"),
        (("records", "X", 0, 0), float("inf"), "records.X[0][0]", "infinite", "finite"),
        (("tolerances", "feasibility"), 10**400, "tolerances.feasibility", "too large", "finite"),
        (("title",), "\ud800", "title", "broken text", ""),
        # Choices.
        ((*ACTION, "kind"), "feature", "collective.actions[0].kind", "'feature', which is not", "mean 'features'?"),
        ((*ACTION, "kind"), 3, "collective.actions[0].kind", "is 3, which is not known", "features, labels"),
        ((*ACTION, "norm"), "l9", "collective.actions[0].norm", "is 'l9'", "use one of l1, l2, linf"),
        (("learner", "kind"), "smv", "learner.kind", "is 'smv'", "did you mean 'svm'?"),
        (("position",), "optimist", "position", "is 'optimist'", "did you mean 'optimistic'?"),
        (("goal", "kind"), 1, "goal.kind", "is 1", "use one of max_margin, min_cost"),
        (("queries", 0, "sense"), "==", "queries[0].sense", "is '=='", "use one of >=, <="),
        # Header and name.
        (("format",), "oar-solution", "format", "is 'oar-solution'", "supported is 'oar-instance'"),
        (("format",), DROP, "format", "is missing", '"format": "oar-instance"'),
        (("version",), 2, "version", "is 2", "supported is 1"),
        (("version",), True, "version", "is true", "supported is 1"),
        (("name",), "My School", "name", "is 'My School'", "lower-case letters, digits and hyphens"),
        # Records.
        (("records",), {}, "records", "says not where", "'X' (with 'y'), 'sklearn' or 'csv'"),
        (("records", "sklearn"), "iris", "records", "by 'X' and by 'sklearn'", "keep one"),
        (("records", "y"), DROP, "records.y", "is missing", ""),
        (("records", "X", 2), [1, 2], "records.X[2]", "has 2 entries, the first row 4", ""),
        (("records", "y", 3), "maybe", "records.y[3]", "'maybe' is no class", "'no', 'yes'"),
        (("records", "weight"), [1], "records.weight", "has 1 entries for 5 records", ""),
        (("classes",), DROP, "classes", "is missing, and 'svm' is a classifier", "negative first"),
        (("classes",), ["no", "yes", "no"], "classes[2]", "'no' is named twice", ""),
        # Features.
        (("features", 0, "type"), "categorical", "features[0].group", "is missing", "one-hot"),
        (("features", 0, "group"), "g", "features[0].group", "type continuous", "categorical"),
        (("features", 0, "type"), "integer", "records.X[0][0]", "is 12.5, and 'commute_km' is integer", ""),
        (("features", 1, "type"), "binary", "records.X[0][1]", "'late_30' is binary: 0 or 1", ""),
        (("features", 0, "name"), "age", "features[3].name", "'age' is used twice", ""),
        (("constraints", 0, "coefficients"), {}, "constraints[0].coefficients", "has 0 entries", ""),
        (("provenance", "protected"), ["agee"], "provenance.protected[0]", "'agee' is no feature", "mean 'age'?"),
        (("provenance", "protected"), ["age", "late_30"], "provenance.protected[1]", "is not fixed", "'fixed'"),
        # Collective.
        ((*MENU, "x"), [], "collective.menus.x", "is no record number", ""),
        ((*MENU, "03"), [], "collective.menus.03", "is no record number", ""),
        ((*MENU, "\u00b2"), [], "collective.menus.\u00b2", "is no record number", ""),
        ((*MENU, "1"), [], "collective.menus.1", "record 1 is no member", ""),
        (("collective", "overrides", "4"), [], "collective.overrides.4", "record 4 is no member", ""),
        ((*MENU, "3", 0, "y"), "maybe", "collective.menus.3[0].y", "'maybe' is no class", ""),
        ((*MENU, "3", 0, "x"), [1, 2], "collective.menus.3[0].x", "has 2 entries", ""),
        ((*MENU, "3", 0, "x"), [20, 1, 2, 50], "collective.menus.3[0].x", "late_30 + -1 late_60 >= 0", ""),
        (("collective", "actions", 1, "to"), [], "collective.actions[1].to", "has 0 entries", "at least 1"),
        (("collective", "actions", 1, "to", 0), "si", "collective.actions[1].to[0]", "'si' is no class", ""),
        (("collective", "members"), [0, 2, 3, 9], "collective.members[3]", "record 9 does not exist", ""),
        # Queries.
        (("queries", 0, "target"), DROP, "queries[0].target", "is missing, and 'svm' classifies", "class"),
        (("queries", 0, "target"), 1, "queries[0].target", "1 is no class", "'no', 'yes'"),
        (("queries", 0, "threshold"), 1, "queries[0].threshold", "is for regression", "'target'"),
        (("queries", 0, "decision"), "no", "queries[0].decision", "unknown key", ""),
        (("queries", 0, "required"), DROP, "queries[0].required", "is missing, and the goal is min_cost", ""),
        (("guards", 0, "decision"), DROP, "guards[0].decision", "is missing, and 'svm' classifies", ""),
        (("guards", 0, "sense"), ">=", "guards[0].sense", "is for regression", "'decision'"),
        (("guards", 0, "target"), "no", "guards[0].target", "unknown key", ""),
    ],
)
def test_errors_name_the_place(place: tuple[str | int, ...], value: Any, where: str, what: str, fix: str) -> None:
    error = rejected(changed(SCHOOL, (place, value)))
    assert error.where == where
    assert what in error.what
    assert fix in error.fix
    assert "pydantic" not in str(error) and "Input should" not in str(error)


@pytest.mark.parametrize(
    ("place", "value", "where", "what"),
    [
        (("queries", 0, "target"), "yes", "queries[0].target", "'ridge' predicts numbers"),
        (("queries", 0, "sense"), DROP, "queries[0].sense", "is missing"),
        (("queries", 0, "threshold"), DROP, "queries[0].threshold", "is missing"),
        (("guards",), [{"x": [0, 1], "decision": 1}], "guards[0].decision", "is for classes"),
        (("records", "y", 0), "a", "records.y[0]", "must be a number, not 'a'"),
        (("records", "y", 0), True, "records.y[0]", "must be a number, not true"),
        (("collective", "actions", 0, "to", 1), "a", "collective.actions[0].to[1]", "must be a number"),
        (("learner",), {"kind": "nearest_centroid"}, "classes", "is missing, and 'nearest_centroid'"),
        (("learner",), {"kind": "nearest_centroid", "prior": None}, "learner.prior", "unknown key"),
        (("records", "X"), [], "records.X", "has shape (0,)"),
    ],
)
def test_errors_of_regression(place: tuple[str | int, ...], value: Any, where: str, what: str) -> None:
    error = rejected(changed(REGRESSION, (place, value)))
    assert error.where == where and what in error.what


def test_first_error_counts_the_others() -> None:
    error = rejected(changed(SCHOOL, (("title",), 3), (("position",), "x"), (("goal",), DROP)))
    assert error.where == "title" and error.fix == "2 more errors in this document"
    error = rejected(changed(SCHOOL, ((*ACTION, "radus"), 3), (("goal",), DROP)))
    assert error.fix == "did you mean 'radius'?; 1 more error in this document"


def test_document_must_be_an_object_with_text_keys() -> None:
    assert "must be a mapping" in error_of(lambda: parse_instance([])).what  # type: ignore[arg-type]
    error = rejected(changed(SCHOOL, ((*MENU, 3), [])))
    assert error.where == "collective.menus[3]" and error.what == "must be text, not 3"


# -- files --------------------------------------------------------------------------------------------------------


def test_load_knows_the_digest_of_the_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, SCHOOL)
    problem = load_instance(path)
    assert problem.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert problem == parse_instance(SCHOOL) and problem.sha256 != parse_instance(SCHOOL).sha256


def test_save_and_load(tmp_path: Path) -> None:
    first = load_instance(written(tmp_path, SCHOOL))
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / "school.json"
    save_instance(first, path)
    second = load_instance(path)
    assert second == first
    before = path.read_bytes()
    save_instance(second, path)
    assert path.read_bytes() == before
    assert second.sha256 == parse_instance(SCHOOL).sha256


def test_file_is_called_as_the_instance(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(SCHOOL))
    error = error_of(lambda: load_instance(path))
    assert error.where == "other.json: name" and "'school'" in error.what
    error = error_of(lambda: save_instance(parse_instance(SCHOOL), path))
    assert "school.json" in error.fix


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, changed(SCHOOL, ((*ACTION, "radus"), 1)))
    assert error_of(lambda: load_instance(path)).where == "school.json: collective.actions[0].radus"
    path = written(tmp_path, changed(SCHOOL, (("tolerances", "feasibility"), 0)))
    assert error_of(lambda: load_instance(path)).where == "school.json: tolerances.feasibility"


def text_of(document: Document, old: str, new: str) -> bytes:
    text = json.dumps(document)
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize(
    ("data", "where", "what"),
    [
        (b"", "school.json", "is empty"),
        (b" \n", "school.json", "is empty"),
        (b"[1]", "school.json", "must hold an object {...}, not a list"),
        (b'"a"', "school.json", "not 'a'"),
        (b'{\n "a": 1,\n "b" 2}', "school.json, line 3, column 6", "is not valid JSON: expecting ':'"),
        (b'{"a": 1} x', "school.json, line 1, column 10", "is not valid JSON: extra data"),
        (b'{"a":\n"\xff"}', "school.json", "is not UTF-8 text (line 2)"),
        (b'{"a": ' + b"[" * 100_000, "school.json", "is nested too deeply"),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', "school.json: a.b", "the key 'b' is given twice"),
        (text_of(SCHOOL, '"radius": 0.5', '"radius": NaN'), "school.json: collective.actions[0].radius", "is NaN"),
        (text_of(SCHOOL, '"radius": 0.5', '"radius": -Infinity'), "school.json: collective.actions[0].radius", "is -I"),
        (text_of(SCHOOL, "30.25", "1e999"), "school.json: records.X[3][0]", "is 1e999"),
        (text_of(SCHOOL, "30.25", "1" * 400), "school.json: records.X[3][0]", "is 1111"),
        (text_of(SCHOOL, "30.25", "-" + "9" * 5000), "school.json: records.X[3][0]", "is -9999"),
        (text_of(SCHOOL, '"made up"', r'"\ud800"'), "school.json: provenance.source", "broken text"),
        (text_of(SCHOOL, '"version": 1', '"version": 1.0'), "school.json: version", "is 1.0"),
    ],
)
def test_broken_files(tmp_path: Path, data: bytes, where: str, what: str) -> None:
    path = tmp_path / "school.json"
    path.write_bytes(data)
    error = error_of(lambda: load_instance(path))
    assert error.where == where and what in error.what


def test_missing_file_and_directory(tmp_path: Path) -> None:
    error = error_of(lambda: load_instance(tmp_path / "none.json"))
    assert error.where.endswith("none.json") and error.what == "does not exist"
    assert error_of(lambda: load_instance(tmp_path)).what == "is a directory"


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = written(tmp_path, SCHOOL)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_instance(path) == parse_instance(SCHOOL)


# -- writing ------------------------------------------------------------------------------------------------------


def test_dump_gives_the_document_back() -> None:
    expected = copy.deepcopy(SCHOOL)
    assert dump_instance(parse_instance(SCHOOL)) == expected


def test_dump_leaves_defaults_out() -> None:
    full = changed(
        REGRESSION,
        (("title",), ""),
        (("provenance",), {}),
        (("features",), [{"name": "x0", "scale": 1}, {"name": "x1", "lower": None, "direction": "any"}]),
        (("constraints",), []),
        (("records", "weight"), [1, 1, 1]),
        (("learner",), {"kind": "ridge", "alpha": 1, "intercept": "free", "prior": None}),
        (("update",), {"kind": "retrain"}),
        (("position",), "unique"),
        (("max_loss_increase",), None),
        (("collective", "menus"), {"1": []}),
        (("collective", "overrides"), {"1": [{"kind": "labels", "to": [3, 4], "cost": 1}]}),
        (("collective", "cost"), "l2"),
        (("collective", "budget"), {"each": None}),
        (("queries", 0, "name"), "q1"),
        (("queries", 0, "required"), None),
        (("guards",), []),
        (("tolerances",), {"feasibility": 1e-6, "relative_gap": 1e-4}),
    )
    assert dump_instance(parse_instance(full)) == REGRESSION


def test_most_common_actions_are_everybodys() -> None:
    radius, withhold = {"kind": "features", "norm": "l1", "radius": 2}, {"kind": "withhold"}
    document = changed(
        SCHOOL,
        (("collective", "members"), [4, 0, 2, 3]),
        (("collective", "actions"), [radius]),
        (("collective", "overrides"), {"0": [withhold], "2": [withhold], "4": []}),
    )
    problem = parse_instance(document)
    dumped = dump_instance(problem)["collective"]
    assert dumped["actions"] == [withhold] and dumped["overrides"] == {"4": [], "3": [radius]}
    assert_round_trip(problem)
    same = changed(document, (("collective", "overrides"), {str(i): [withhold] for i in (0, 2, 3, 4)}))
    dumped = dump_instance(parse_instance(same))["collective"]
    assert dumped["actions"] == [withhold] and "overrides" not in dumped


def test_menu_options_leave_out_what_is_the_members_own() -> None:
    own = {"x": [30.25, 5, 2, 50], "y": "no", "weight": 1, "cost": 1}
    problem = parse_instance(changed(SCHOOL, ((*MENU, "3"), [own, {"weight": 0, "cost": 3}])))
    assert dump_instance(problem)["collective"]["menus"] == {"3": [{}, {"weight": 0, "cost": 3}]}
    assert_round_trip(problem)


def test_text_is_readable() -> None:
    text = instance_text(parse_instance(SCHOOL))
    assert text.endswith("}\n") and text.startswith(
        '{\n  "format": "oar-instance",\n  "version": 1,\n  "name": "school"'
    )
    assert '\n  "classes": ["no", "yes"],\n' in text and "für Tests" in text
    assert '"X": [[12.5, 2, 1, 30], [3, 4, 1, 41], ' in text
    long = changed(REGRESSION, (("records", "X"), [[k, k / 7] for k in range(80)]), (("records", "y"), list(range(80))))
    text = instance_text(parse_instance(long))
    assert "\n      [7, 1],\n" in text and max(map(len, text.splitlines())) <= 110
    assert len(text.splitlines()) < 110


def test_dump_refuses_what_the_format_cannot_say() -> None:
    from dataclasses import replace

    problem = replace(parse_instance(REGRESSION), name="Not A Slug")
    assert error_of(lambda: dump_instance(problem)).where == "name"


# -- random documents ---------------------------------------------------------------------------------------------

NUMBER = st.floats(-1e6, 1e6) | st.integers(-5, 5) | st.sampled_from([-0.0, 1e-300, 0.1, 1e17, 2**53 + 2])
AT_LEAST_ZERO = st.floats(0, 1e6) | st.integers(0, 5)
POSITIVE = st.floats(1e-3, 1e6) | st.integers(1, 5)
LABEL = st.text("aB1. \u00e9", max_size=3) | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0])
WORDS = st.text('aZ 0.[]"\\\n\u00e9\u6f22\U0001f600', max_size=8)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def points(d: int, number: st.SearchStrategy[Any] = NUMBER) -> st.SearchStrategy[Any]:
    return st.lists(number, min_size=d, max_size=d)


def label_key(label: Any) -> tuple[str, Any]:
    return ("text" if isinstance(label, str) else "truth" if isinstance(label, bool) else "number", label)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    d, kind = draw(st.integers(1, 3)), draw(st.sampled_from(["nearest_centroid", "ridge", "svm", "huber", "lad"]))
    classifies = kind in ("nearest_centroid", "svm") or (kind == "ridge" and draw(st.booleans()))
    size = draw(st.integers(2, 3)) if kind == "nearest_centroid" else 2
    classes = draw(st.lists(LABEL, min_size=size, max_size=size, unique_by=label_key)) if classifies else None
    extra = draw(st.integers(0, 3))
    label = NUMBER if classes is None else st.sampled_from(classes)
    y = [*(classes or [1, 2.5]), *draw(points(extra, label))]
    n = len(y)
    members = draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n))
    action = st.one_of(
        st.fixed_dictionaries(
            {"kind": st.just("features"), "norm": st.sampled_from(["l1", "l2", "linf"]), "radius": AT_LEAST_ZERO}
        ),
        st.fixed_dictionaries(
            {"kind": st.just("labels"), "to": st.lists(label, min_size=1, max_size=2)}, optional={"cost": AT_LEAST_ZERO}
        ),
        st.fixed_dictionaries({"kind": st.just("withhold")}, optional={"cost": AT_LEAST_ZERO}),
    )
    option = st.fixed_dictionaries(
        {}, optional={"x": points(d), "y": label, "weight": AT_LEAST_ZERO, "cost": AT_LEAST_ZERO}
    )
    actions = st.lists(action, max_size=2)

    def subject(key: str) -> st.SearchStrategy[Any]:
        wanted: dict[str, Any] = {key: label}
        if classes is None:
            wanted = {"sense": st.sampled_from([">=", "<="]), "threshold": NUMBER}
        return st.fixed_dictionaries({"x": points(d), "required": POSITIVE, **wanted})

    learner: Document = {"kind": kind}
    if kind != "nearest_centroid":
        learner["intercept"] = draw(st.sampled_from(["penalized", "free"]))
        learner["alpha" if kind == "ridge" else "C"] = draw(POSITIVE)
        learner["prior"] = draw(optional(st.fixed_dictionaries({"w0": points(d)}, optional={"b0": NUMBER})))
    return {
        "format": "oar-instance",
        "version": 1,
        "name": "random",
        "title": draw(WORDS),
        "provenance": draw(st.fixed_dictionaries({}, optional={"notes": WORDS, "seed": st.integers()})),
        "features": draw(optional(st.just([{"name": f"f {j}", "scale": draw(POSITIVE)} for j in range(d)]))),
        "records": {
            "X": [draw(points(d)) for _ in range(n)],
            "y": y,
            "weight": draw(optional(points(n, POSITIVE))),
        },
        "classes": classes,
        "learner": learner,
        "position": draw(st.sampled_from(["unique", "optimistic", "pessimistic"])),
        "collective": {
            "members": members,
            "actions": draw(actions),
            "menus": {str(i): draw(st.lists(option, max_size=2)) for i in members[:2]},
            "overrides": {str(i): draw(actions) for i in members[1:3]},
            "cost": draw(st.sampled_from(["l1", "l2", "sql2", "linf", "count"])),
            "budget": draw(
                st.fixed_dictionaries({}, optional={"each": AT_LEAST_ZERO, "members": optional(st.integers(0, 5))})
            ),
        },
        "queries": draw(st.lists(subject("target"), min_size=1, max_size=2)),
        "guards": draw(st.lists(subject("decision"), max_size=2)),
        "goal": {"kind": draw(st.sampled_from(["max_margin", "min_cost", "min_members", "max_helped"]))},
    }


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(document=documents())
def test_random_documents_survive_the_round_trip(document: Document, validator: Draft202012Validator) -> None:
    problem = parse_instance(document)
    assert_round_trip(problem)
    assert problem.records.X.tolist() == [[float(value) for value in row] for row in document["records"]["X"]]
    validator.validate(document)
    validator.validate(dump_instance(problem))


# -- scikit-learn -------------------------------------------------------------------------------------------------


def sklearn_document(records: Document, learner: str, d: int, **keys: Any) -> Document:
    query: Document = {"x": [0] * d, "sense": ">=", "threshold": 0}
    if "target" in keys:
        query = {"x": [0] * d, "target": keys.pop("target")}
    return {
        "format": "oar-instance",
        "version": 1,
        "name": "data",
        "records": records,
        "learner": {"kind": learner},
        "collective": {"members": [0]},
        "queries": [query],
        "goal": {"kind": "max_margin"},
        **keys,
    }


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("iris", (150, 4), ("setosa", "versicolor", "virginica")),
        ("wine", (178, 13), ("class_0", "class_1", "class_2")),
        ("breast_cancer", (569, 30), ("malignant", "benign")),
        ("digits", (1797, 64), tuple("0123456789")),
    ],
)
def test_sklearn_classification(name: str, shape: tuple[int, int], classes: tuple[str, ...]) -> None:
    from sklearn import datasets

    problem = parse_instance(sklearn_document({"sklearn": name}, "nearest_centroid", shape[1], target=classes[1]))
    bunch: Any = getattr(datasets, f"load_{name}")()
    assert problem.classes == classes and problem.records.X.shape == shape
    assert np.array_equal(problem.records.X, bunch.data) and np.array_equal(problem.records.y, bunch.target)
    assert [feature.name for feature in problem.features] == [str(feature) for feature in bunch.feature_names]


def test_sklearn_regression() -> None:
    problem = parse_instance(sklearn_document({"sklearn": "diabetes", "columns": ["bmi", 0]}, "ridge", 2))
    assert problem.task is Task.REGRESSION and problem.records.X.shape == (442, 2)
    assert [feature.name for feature in problem.features] == ["bmi", "age"] and problem.records.y[0] == 151
    assert_round_trip(problem)


def test_sklearn_selection_counts_among_the_kept() -> None:
    from sklearn.datasets import load_iris

    data: Any = load_iris()
    records = {
        "sklearn": "iris",
        "classes": ["virginica", "versicolor"],
        "rows": [60, 0, 1],
        "columns": [3, "petal length (cm)"],
        "standardize": True,
    }
    problem = parse_instance(sklearn_document(records, "svm", 2, target="virginica"))
    assert problem.classes == ("virginica", "versicolor") and problem.records.y.tolist() == [-1, 1, 1]
    chosen = data.data[[110, 50, 51]][:, [3, 2]]
    assert np.allclose(problem.records.X, (chosen - chosen.mean(axis=0)) / chosen.std(axis=0), atol=1e-12)
    assert [feature.name for feature in problem.features] == ["petal width (cm)", "petal length (cm)"]
    dumped = dump_instance(problem)
    assert set(dumped["records"]) == {"X", "y"} and dumped["classes"] == ["virginica", "versicolor"]
    assert_round_trip(problem)


def test_sklearn_constant_column_stays_finite() -> None:
    records = {"sklearn": "digits", "columns": [0, 1], "standardize": True}
    problem = parse_instance(sklearn_document(records, "nearest_centroid", 2, target="3"))
    assert not problem.records.X[:, 0].any() and problem.records.X[:, 1].std() == pytest.approx(1)


def test_classes_rename_the_selected_target_names_in_order() -> None:
    records = {"sklearn": "digits", "classes": ["8", "3"], "rows": [0, 1]}
    problem = parse_instance(sklearn_document(records, "svm", 64, target=True, classes=[False, True]))
    own = parse_instance(sklearn_document(records, "svm", 64, target="3"))
    assert own.classes == ("8", "3") and problem.classes == (False, True)
    assert problem.records.y.tolist() == own.records.y.tolist() == [1, -1]
    swapped = parse_instance(sklearn_document(records, "svm", 64, target="3", classes=["3", "8"]))
    assert swapped.records.y.tolist() == [-1, 1]


def test_regression_learner_takes_target_numbers_unless_classes_are_named() -> None:
    records = {"sklearn": "iris", "classes": ["versicolor", "virginica"]}
    numbers = parse_instance(sklearn_document(records, "huber", 4))
    assert numbers.classes is None and set(numbers.records.y.tolist()) == {1.0, 2.0}
    signs = parse_instance(
        sklearn_document(records, "huber", 4, target="virginica", classes=["versicolor", "virginica"])
    )
    assert set(signs.records.y.tolist()) == {-1.0, 1.0}
    ridge = parse_instance(sklearn_document(records, "ridge", 4, target="virginica"))
    assert ridge.task is Task.BINARY


@pytest.mark.parametrize(
    ("records", "keys", "where", "what", "fix"),
    [
        ({"sklearn": "irs"}, {}, "records.sklearn", "'irs', which is not known", "mean 'iris'?"),
        ({"classes": ["setosa", "virginca"]}, {}, "records.classes[1]", "no target name of iris", "mean 'virginica'?"),
        ({"classes": ["setosa", "setosa"]}, {}, "records.classes[1]", "'setosa' is given twice", ""),
        ({"classes": ["setosa"], "rows": [0, 50]}, {}, "records.rows[1]", "record 50 does not exist", "0 to 49"),
        ({"rows": [-1]}, {}, "records.rows[0]", "record -1 does not exist", ""),
        ({"rows": [1, 1]}, {}, "records.rows[1]", "record 1 is given twice", ""),
        ({"columns": [4]}, {}, "records.columns[0]", "feature 4 does not exist", ""),
        ({"columns": [0, "sepal length (cm)"]}, {}, "records.columns[1]", "is given twice", ""),
        ({"columns": ["sepal length"]}, {}, "records.columns[0]", "no feature of iris", "mean 'sepal length (cm)'?"),
        ({"columns": [1.5]}, {}, "records.columns[0]", "must be a whole number or a name, not 1.5", ""),
        ({"standardize": 1}, {}, "records.standardize", "must be true or false, not 1", ""),
        ({}, {"classes": ["setosa", "virginica"]}, "classes", "leaves out 'versicolor'", "records.classes"),
        ({"classes": ["setosa", "virginica"]}, {"classes": ["setosa", "x"]}, "classes", "leaves out 'virginica'", ""),
        ({}, {"learner": {"kind": "svm"}}, "classes", "is missing, and 'svm'", "setosa, versicolor, virginica"),
        ({"sklearn": "diabetes"}, {}, "classes", "is missing, and 'nearest_centroid'", ""),
        ({"sklearn": "diabetes"}, {"classes": ["a", "b"]}, "classes", "has numbers as targets", ""),
        ({"sklearn": "diabetes", "classes": ["a"]}, {}, "records.classes", "has numbers as targets", ""),
    ],
)
def test_wrong_sklearn_records(records: Document, keys: Document, where: str, what: str, fix: str) -> None:
    document = sklearn_document({"sklearn": "iris", **records}, "nearest_centroid", 4, target="setosa")
    error = rejected({**document, **keys})
    assert error.where == where and what in error.what and fix in error.fix


# -- csv ----------------------------------------------------------------------------------------------------------

LOANS = 'income,"debt, monthly",approved\n10,1.5,no\n20,2e0,yes\n\n-30,0,yes\n'


def csv_document(**records: Any) -> Document:
    return sklearn_document(
        {"csv": "loans.csv", "target": "approved", **records}, "svm", 2, target="yes", classes=["no", "yes"]
    )


def put(directory: Path, text: str) -> str:
    (directory / "loans.csv").write_text(text, encoding="utf-8")
    return hashlib.sha256((directory / "loans.csv").read_bytes()).hexdigest()


def test_csv_beside_the_instance(tmp_path: Path) -> None:
    digest = put(tmp_path, LOANS)
    problem = load_instance(written(tmp_path, csv_document(sha256=digest.upper())))
    assert problem.records.X.tolist() == [[10, 1.5], [20, 2], [-30, 0]] and problem.records.y.tolist() == [-1, 1, 1]
    assert [feature.name for feature in problem.features] == ["income", "debt, monthly"]
    assert parse_instance(csv_document(), base=tmp_path) == problem
    assert_round_trip(problem)


def test_csv_path_is_relative_to_the_current_directory_without_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, LOANS)
    monkeypatch.chdir(tmp_path)
    assert parse_instance(csv_document()).n == 3


def test_features_choose_the_columns_of_a_csv(tmp_path: Path) -> None:
    put(tmp_path, "\ufeffid,income,age,approved\nx7,10,30,no\nx8,20,40,yes\n")
    document = csv_document()
    document["features"] = [{"name": "age"}, {"name": "income"}]
    problem = parse_instance(document, base=tmp_path)
    assert problem.records.X.tolist() == [[30, 10], [40, 20]]
    document["features"] = [{"name": "age"}, {"name": "incme"}]
    error = rejected(document, base=tmp_path)
    assert error.where == "features[1].name" and error.fix == "did you mean 'income'?"
    document["features"] = [{"name": "age"}, {"name": "approved"}]
    assert "is the target" in rejected(document, base=tmp_path).what


def test_csv_labels_that_are_numbers_or_truths(tmp_path: Path) -> None:
    put(tmp_path, "a,b,approved\n1,2,1.0\n3,4,0\n5,6,00\n")
    document = csv_document()
    document["classes"], document["queries"][0]["target"] = [0, 1], 1
    assert parse_instance(document, base=tmp_path).records.y.tolist() == [1, -1, -1]
    put(tmp_path, "a,b,approved\n1,2,True\n3,4,false\n")
    document["classes"], document["queries"][0]["target"] = [False, True], True
    assert parse_instance(document, base=tmp_path).records.y.tolist() == [1, -1]


def test_csv_targets_of_regression_are_numbers(tmp_path: Path) -> None:
    put(tmp_path, "a,approved\n1,2.5\n3,4\n")
    document = sklearn_document({"csv": "loans.csv", "target": "approved"}, "lad", 1)
    assert parse_instance(document, base=tmp_path).records.y.tolist() == [2.5, 4]
    put(tmp_path, "a,approved\n1,2.5\n3,much\n")
    assert "line 3, column 'approved': 'much'" in rejected(document, base=tmp_path).what


def test_another_csv_file_is_refused(tmp_path: Path) -> None:
    digest, wrong = put(tmp_path, LOANS), "0" * 64
    error = rejected(csv_document(sha256=wrong), base=tmp_path)
    assert error.where == "records.sha256" and digest in error.what and wrong in error.what
    error = rejected(csv_document(sha256="abc"), base=tmp_path)
    assert error.where == "records.sha256" and error.fix == "give 64 hexadecimal digits"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "records.csv", "loans.csv is empty"),
        ("income,debt\n1,2\n", "records.target", "'approved' is no column of loans.csv"),
        ("a,a,approved\n1,2,no\n", "records.csv", "loans.csv has two columns 'a'"),
        ("a,b,approved\n1,2,no\n1,2\n", "records.csv", "loans.csv line 3 has 2 cells, the header 3"),
        ("a,b,approved\n1,x,no\n", "records.csv", "loans.csv line 2, column 'b': 'x' is no finite number"),
        ("a,b,approved\n1,,no\n", "records.csv", "column 'b': '' is no finite number"),
        ("a,b,approved\n1,nan,no\n", "records.csv", "'nan' is no finite number"),
        ("a,b,approved\n1,1e999,no\n", "records.csv", "'1e999' is no finite number"),
        ("a,b,approved\n1,1_0,no\n", "records.csv", "'1_0' is no finite number"),
        ("a,b,approved\n1,2,No\n", "records.csv", "loans.csv line 2, column 'approved': 'No' is no class"),
        ('a,b,approved\n1,"2,no\n', "records.csv", "loans.csv line 2: unexpected end of data"),
        ("a,b,approved\n", "records.X", "has shape (0, 2)"),
    ],
)
def test_wrong_csv_files(tmp_path: Path, text: str, where: str, what: str) -> None:
    put(tmp_path, text)
    error = rejected(csv_document(), base=tmp_path)
    assert error.where == where and what in error.what


def test_unreadable_csv_files(tmp_path: Path) -> None:
    assert "loans.csv cannot be read" in rejected(csv_document(), base=tmp_path).what
    (tmp_path / "loans.csv").write_bytes(b"a,b,approved\n1,2,\xff\n")
    assert rejected(csv_document(), base=tmp_path).what == "loans.csv is not UTF-8 text (line 2)"


# -- schema -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [SCHOOL, REGRESSION, CENTROID], ids=["school", "regression", "centroid"])
def test_schema_accepts_documents_and_dumps(document: Document, validator: Draft202012Validator) -> None:
    validator.validate(document)
    validator.validate(dump_instance(parse_instance(document)))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("colour",), 1),
        ((*ACTION, "radus"), 1),
        (("learner", "alpha"), 1),
        (("records", "rows"), [0]),
        (("goal",), DROP),
        (("version",), 2),
        ((*ACTION, "radius"), "1"),
        (("collective", "members"), [0.5]),
        (("name",), "A b"),
    ],
)
def test_schema_rejects(place: tuple[str | int, ...], value: Any, validator: Draft202012Validator) -> None:
    assert not validator.is_valid(changed(SCHOOL, (place, value)))


def test_schema_describes_every_field() -> None:
    schema = instance_schema()
    assert schema["$id"] == "urn:oar-opt:oar-instance-1" and schema["$schema"].endswith("2020-12/schema")
    assert schema["title"] and json.loads(json.dumps(schema)) == schema
    parts = {"": schema, **schema["$defs"]}
    silent = [
        f"{part}.{key}"
        for part, body in parts.items()
        for key, value in body.get("properties", {}).items()
        if not value.get("description")
    ]
    assert not silent
    assert "standardised units" in schema["$defs"]["SklearnRecords"]["properties"]["standardize"]["description"]
