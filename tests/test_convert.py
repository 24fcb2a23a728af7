"""Tables become instances: types, categories, queries and every error; and the list of solvers."""

from __future__ import annotations

import json

import pytest

from oar_opt.conversion import Wishes, convert
from oar_opt.errors import InputError
from oar_opt.evaluate import evaluate
from oar_opt.instance_file import load_instance
from oar_opt.problem import Direction, FeatureType
from oar_opt.solvers.listing import TAKES, list_solvers

LOANS = """id,income,late,own,city,approved
a1,40.5,0,1,Rome,yes
a2,30.0,2,0,Oslo,no
a3,22.1,3,0,Rome,no
a4,55.2,0,1,Bern,yes
a5,48.9,1,0,Oslo,yes
a6,25.0,2,1,Bern,no
"""
NUMBERS = "a,b,y\n1,0.5,2.5\n2,1.5,3.5\n3,-1.0,1.0\n4,0.0,4.5\n"
PART = {
    "collective": {"actions": [{"kind": "features", "norm": "l2", "radius": 1.5}]},
    "features": [{"name": "city", "direction": "fixed"}, {"name": "late", "lower": 0, "upper": 3}],
}


@pytest.fixture
def made(tmp_path):
    """Converts a text; wishes by keyword."""

    def run(text=LOANS, part=PART, **wishes):
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        settings = {"target": "approved", "members": "0:2,4", "query": "5", "drop": ("id",), **wishes}
        return convert(path, part, Wishes(**settings), "table")

    return run


def test_columns_are_typed_and_categories_become_groups(made):
    problem = made().problem
    assert [(f.name, f.type, f.group) for f in problem.features] == [
        ("income", FeatureType.CONTINUOUS, None),
        ("late", FeatureType.INTEGER, None),
        ("own", FeatureType.BINARY, None),
        ("city=Bern", FeatureType.CATEGORICAL, "city"),
        ("city=Oslo", FeatureType.CATEGORICAL, "city"),
        ("city=Rome", FeatureType.CATEGORICAL, "city"),
    ]
    assert problem.records.X[0].tolist() == [40.5, 0, 1, 0, 0, 1]
    assert problem.records.y.tolist() == [1, -1, -1, 1, 1, -1] and problem.classes == ("no", "yes")
    assert all(f.direction is Direction.FIXED for f in problem.features[3:])
    assert (problem.features[1].lower, problem.features[1].upper) == (0, 3)
    assert [member.record for member in problem.collective.members] == [0, 1, 2, 4]


def test_a_query_wants_what_it_is_not_given(made):
    """Rows 5 and 3 are on opposite sides, and each asks for the other one."""
    refused, granted = made(query="5").problem, made(query="3").problem
    assert (refused.queries[0].target, granted.queries[0].target) == (1, -1)
    assert all(evaluate(problem, ()).margins[0] < 0 for problem in (refused, granted))


def test_a_query_by_columns_and_a_learner_in_json(made):
    query = json.dumps({"income": 30, "late": 1, "own": 0, "city": "Oslo"})
    problem = made(query=query, learner='{"kind": "svm", "C": 2}', want="yes", goal="min_cost", required=0.1).problem
    assert problem.queries[0].x == (30, 1, 0, 0, 1, 0) and problem.queries[0].required == 0.1
    assert (problem.learner.kind, problem.learner.C, problem.goal) == ("svm", 2, "min_cost")


def test_queries_and_guards_of_the_file_by_columns(made):
    x = {"income": 30, "late": 1, "own": 0, "city": "Rome"}
    part = {**PART, "queries": [{"x": x, "target": "yes"}], "guards": [{"x": x, "decision": "no"}]}
    problem = made(part=part, query=None).problem
    assert problem.queries[0].x == problem.guards[0].x == (30, 1, 0, 0, 0, 1)


def test_numbers_with_many_values_are_a_regression(made):
    problem = made(
        NUMBERS, {"collective": PART["collective"]}, target="y", members="1", query="0", want=">=3", drop=()
    ).problem
    assert problem.classes is None and (problem.queries[0].target, problem.queries[0].threshold) == (1, 3)
    assert [f.type for f in problem.features] == [FeatureType.INTEGER, FeatureType.CONTINUOUS]


def test_a_stated_type_makes_categories_of_numbers(made):
    problem = made(part={**PART, "features": [{"name": "late", "type": "categorical"}]}).problem
    assert [f.name for f in problem.features][1:5] == ["late=0", "late=1", "late=2", "late=3"]


def test_semicolons_and_classes_in_order(made):
    problem = made(LOANS.replace(",", ";"), classes="yes,no").problem
    assert problem.classes == ("yes", "no") and problem.records.y[0] == -1


@pytest.mark.parametrize(
    ("text", "part", "wishes", "words"),
    [
        (LOANS.replace("30.0", ""), PART, {}, "line 3, column 'income': is missing"),
        (LOANS.replace("30.0", "NA"), PART, {}, r"is missing \('NA'\)"),
        (LOANS.replace("30.0", "3O"), PART, {}, "line 3, column 'income': is '3O', no finite number"),
        (LOANS.replace(",no", ",yes"), PART, {}, "column 'approved': has one value only"),
        (LOANS.replace("Oslo", "Rome").replace("Bern", "Rome"), PART, {}, "column 'city': has one value .*--drop"),
        (LOANS.replace("a2,30.0", "a2"), PART, {}, "line 3 has 5 cells"),
        (LOANS.split("\n")[0] + "\n", PART, {}, "a header and no rows"),
        (LOANS, PART, {"target": "aproved"}, "--target: 'aproved' is no column .*approved"),
        (LOANS, PART, {"drop": ("idd",)}, "--drop: 'idd' is no column"),
        (LOANS, PART, {"query": "6"}, "--query: '6' is no row"),
        (LOANS, PART, {"query": '{"income": 1}'}, "leaves out 'late'"),
        (LOANS, PART, {"query": '{"age": 1}'}, "'age' is no feature"),
        (LOANS, PART, {"query": None}, "--query: is missing"),
        (LOANS, PART, {"members": None}, "--members: is missing"),
        (LOANS, PART, {"members": "3:1"}, "--members: '3:1' is no row"),
        (LOANS, PART, {"members": "0:9"}, "record 6 does not exist"),
        (LOANS, PART, {"classes": "yes,maybe"}, "--classes: leaves out 'no' in line 3"),
        (LOANS, PART, {"want": "maybe"}, "'maybe' is no class"),
        (LOANS, PART, {"target": "city"}, "has 3 values, and 'ridge' is binary"),
        (LOANS, PART, {"learner": "riddge"}, "learner.kind: is 'riddge'.*ridge"),
        (LOANS, PART, {"learner": "huber"}, "has texts like 'no'"),
        (LOANS, {}, {"target": "city", "learner": "nearest_centroid"}, "--want: is missing"),
        (LOANS, {**PART, "colective": {}}, {}, "colective: unknown key .*collective"),
        (LOANS, {**PART, "records": {}}, {}, "records: is not said here"),
        (LOANS, {**PART, "features": [{"name": "citty"}]}, {}, r"features\[0\].name: 'citty' is no feature .*city"),
        (LOANS, {**PART, "features": [{"direction": "any"}]}, {}, r"features\[0\].name: is missing"),
        (LOANS, {**PART, "features": [{"name": "city", "type": "integer"}]}, {}, "no finite number"),
        (NUMBERS, {}, {"target": "y", "drop": (), "query": "0", "members": "1"}, "--want: is null for a regression"),
    ],
)
def test_what_is_wrong_is_named(made, text, part, wishes, words):
    with pytest.raises(InputError, match=words):
        made(text, part, **wishes)


def test_identifiers_are_no_categories(made):
    rows = "".join(f"k{i},{i % 7},{'yes' if i % 2 else 'no'}\n" for i in range(60))
    with pytest.raises(InputError, match=r"has 60 different texts.*--drop 'id'"):
        made("id,a,approved\n" + rows, {}, drop=())


# -- the command ---


@pytest.fixture
def files(tmp_path):
    (tmp_path / "loans.csv").write_text(LOANS)
    (tmp_path / "numbers.csv").write_text(NUMBERS)
    (tmp_path / "part.json").write_text(json.dumps(PART))
    (tmp_path / "plain.json").write_text(json.dumps({"collective": PART["collective"]}))
    return tmp_path


def test_the_written_file_loads_and_is_shown(oar, files):
    out = files / "loans.json"
    base = ("convert", files / "loans.csv", "--target", "approved", "--actions", files / "part.json", "-o", out)
    code, printed, _ = oar(*base, "--members", "0:2,4", "--query", "5", "--drop", "id")
    assert code == 0 and "Bern, Oslo, Rome" in printed and "22.1 to 55.2" in printed
    problem = load_instance(out)
    assert problem.name == "loans" and problem.n == 6
    code, printed, _ = oar("show", out)
    assert code == 0 and "6 with 6 features" in printed
    code, _, err = oar(*base, "--members", "0:2,4", "--query", "5", "--drop", "id", "--by-reference")
    assert code == 2 and "column 'city' is categorical" in err


def test_numbers_can_be_referred_to(oar, files):
    out = files / "numbers.json"
    base = ("convert", files / "numbers.csv", "--target", "y", "--actions", files / "plain.json", "-o", out)
    settings = ("--members", "1", "--query", "0", "--want", "<=1")
    assert oar(*base, *settings)[0] == 0
    written = load_instance(out)
    assert oar(*base, *settings, "--by-reference")[0] == 0
    assert json.loads(out.read_text())["records"]["csv"] == "numbers.csv"
    referred = load_instance(out)
    assert referred == written
    (files / "numbers.csv").write_text(NUMBERS.replace("0.5", "0.6"))
    with pytest.raises(InputError, match="the data have changed"):
        load_instance(out)


def test_solvers_are_listed_with_their_versions(oar):
    rows = {row.name: row for row in list_solvers()}
    assert list(rows) == list(TAKES) and rows["highs"].version and rows["scip"].version
    code, out, _ = oar("solvers", "--json")
    found = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and found["highs"]["takes"] == ["LP", "MILP", "QP"] and found["highs"]["installed"]
    assert "special ordered sets" in found["scip"]["used_for"]
    code, out, _ = oar("solvers")
    assert code == 0 and "clarabel" in out and "indicator" in out
