"""Tables become instances: types, categories, queries and every error; and the list of solvers."""

from __future__ import annotations

import json

import pytest

from oar_opt.conversion import Wishes, convert
from oar_opt.errors import InputError
from oar_opt.evaluate import evaluate
from oar_opt.instance_file import load_instance
from oar_opt.problem import Direction, FeatureType

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


def test_a_querys_row_is_not_learnt_from_and_rows_keep_their_numbers(made):
    """As if the row were not there: the same margin as for the query in JSON by a table without it."""
    problem = made().problem
    assert problem.records.s.tolist() == [1, 1, 1, 1, 1, 0] and problem.n == 6
    query = json.dumps({"income": 25.0, "late": 2, "own": 1, "city": "Bern"})
    rest = LOANS.rsplit("a6", 1)[0]
    without = made(rest, query=query).problem
    assert evaluate(problem, ()).margins == pytest.approx(evaluate(without, ()).margins, abs=1e-9)
    kept = made(keep_query=True).problem
    assert kept.records.s.tolist() == [1] * 6
    assert evaluate(kept, ()).margins != pytest.approx(evaluate(without, ()).margins, abs=1e-3)


def test_a_query_that_is_a_member_is_kept_or_refused(made):
    with pytest.raises(InputError, match=r"--query: row 4 is a member.*--keep-query"):
        made(query="4")
    assert made(query="4", keep_query=True).problem.records.s.tolist() == [1] * 6


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_files_as_spreadsheets_write_them(made, delimiter):
    """A byte-order mark, another separator, decimal commas, carriage returns."""
    text = LOANS.replace(",", delimiter).replace(".", ",").replace("\n", "\r\n")
    assert made("\ufeff" + text).problem.records.X.tolist() == made().problem.records.X.tolist()


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
        ("", PART, {}, "table.csv is empty"),
        ("a,b\0\n", PART, {}, "is no text .*UTF-8"),
        ("1,2,3\n4,5,6\n", PART, {}, "first line has numbers"),
        (LOANS.replace("own", "late"), PART, {}, "has two columns 'late'"),
        (LOANS.replace("own", " late"), PART, {}, "has two columns 'late'"),
        (LOANS.replace("own", ""), PART, {}, "column 4 has no name"),
        ("a,own,approved\n1,,no\n2, ,yes\n", PART, {"drop": ()}, "column 'own': is empty .*--drop 'own'"),
        ("just words\nand more\n", PART, {}, "'approved' is no column"),
        (LOANS, PART, {"classes": "yes"}, "--classes: is 'yes' .*two or more"),
        (LOANS, PART, {"members": "0:x"}, "--members: '0:x' is no row"),
        (LOANS.replace("a6,25.0,2,1,Bern,no", "a6,25.0,2,1,Bern,maybe"), PART, {}, "has 3 values, .*two only"),
        (LOANS.split("\n")[0] + "\n", PART, {}, "a header and no rows"),
        (LOANS, PART, {"target": "aproved"}, "--target: 'aproved' is no column .*approved"),
        (LOANS, PART, {"drop": ("idd",)}, "--drop: 'idd' is no column"),
        (LOANS, PART, {"query": "6"}, "--query: '6' is no row"),
        (LOANS, PART, {"query": '{"income": 1}'}, "leaves out 'late'"),
        (LOANS, PART, {"query": '{"age": 1}'}, "'age' is no feature"),
        (LOANS, PART, {"query": None}, "--query: is missing"),
        (LOANS, PART, {"members": None}, "--members: is missing"),
        (LOANS, PART, {"members": "3:1"}, "--members: '3:1' is no row"),
        (LOANS, PART, {"members": "0:9"}, "--members: row 9 does not exist .*0 to 5"),
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
    settings = ("--members", "1", "--query", "0", "--want", "<=1", "--keep-query")
    assert oar(*base, *settings)[0] == 0
    written = load_instance(out)
    assert oar(*base, *settings, "--by-reference")[0] == 0
    assert json.loads(out.read_text())["records"]["csv"] == "numbers.csv"
    referred = load_instance(out)
    assert referred == written
    code, _, err = oar(*base, *settings[:-1], "--by-reference")
    assert code == 2 and "row 0, the query, is no record to learn from" in err
    (files / "numbers.csv").write_text(NUMBERS.replace("0.5", "0.6"))
    with pytest.raises(InputError, match="the data have changed"):
        load_instance(out)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ("{]", "is not valid JSON"),
        ("[]", "must hold an object"),
        ('{"colective": {}}', "did you mean 'collective'"),
        ('{"collective": {"actions": [{"kind": "features", "norm": "l2", "radus": 1}]}}', "radus: unknown key"),
        (None, "does not exist"),
    ],
)
def test_wrong_files_of_actions_end_with_two(oar, files, actions, words):
    path = files / "actions.json"
    if actions is not None:
        path.write_text(actions)
    code, _, err = oar(
        "convert", files / "loans.csv", "--target", "approved", "--actions", path, "-o", files / "loans.json",
        "--members", "0", "--query", "5", "--drop", "id",
    )  # fmt: skip
    assert code == 2 and words in err and "Traceback" not in err and not (files / "loans.json").exists()


def test_a_missing_table_ends_with_two(oar, files):
    base = ("--target", "approved", "--actions", files / "part.json", "-o", files / "loans.json")
    for table in (files / "none.csv", files):
        code, _, err = oar("convert", table, *base)
        assert code == 2 and "cannot be read" in err
