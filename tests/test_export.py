"""Programs in files: other readers find the same program and optimum, answers come back, refusals say why."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import cvxpy as cp
import jsonschema
import numpy as np
import pyomo.environ as pyo
import pyscipopt
import pytest

from oar_opt.contracts import Indicator, PyomoProgram
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, SolverError, UnsupportedError, VerificationError
from oar_opt.export import FORMATS, export
from oar_opt.export.answer_import import import_answer
from oar_opt.export.formats import refusal
from oar_opt.export.listing import listing
from oar_opt.export.mof import mof_text
from oar_opt.export.name_map import read_map
from oar_opt.export.round_trip import check
from oar_opt.export.writers import write
from oar_opt.instance_file import load_instance, save_instance
from oar_opt.pipeline import solve
from oar_opt.result import Request, Status
from oar_opt.solution_file import load_solution
from oar_opt.solver_features import SolverFeature
from oar_opt.verification import verify

PROGRAMS = {"cbc": "CBC", "glpsol": "GLPK"}


def example(name, place=0):
    return formulations()[name].examples()[place]


@pytest.fixture(scope="module")
def problem(make):
    """Two members, two options each; the svm's program has binaries for members and for kinks."""
    return make(2, "svm", "penalized", n=6, options=1)


@pytest.fixture(scope="module")
def answer(problem):
    return solve(problem).objective


def written(problem, path, name, form, **settings):
    return export(problem, path, formulation=name, form=form, **{"tightening": 0.0, "start": False, **settings})


def optimum(path):
    """By SCIP, which the file's own ending tells what it reads."""
    reader = pyscipopt.Model()
    reader.hideOutput()
    reader.readProblem(str(path))
    reader.setParam("limits/gap", 1e-7)
    reader.optimize()
    return reader.getObjVal()


# -- other readers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name,form,agreeing",
    [
        ("kkt_big_m", "lp", {"HiGHS", "SCIP", "CBC", "GLPK"}),
        ("kkt_big_m", "mps", {"HiGHS", "SCIP", "CBC"}),
        ("kkt_big_m", "mps-min", {"HiGHS", "SCIP", "CBC", "GLPK"}),
        ("kkt_big_m", "cip", {"SCIP"}),
        ("kkt_big_m", "nl", {"SCIP"}),
        ("kkt_sos1", "lp", {"SCIP"}),
        ("kkt_sos1", "nl", {"SCIP"}),
        ("kkt_sos1", "cip", {"SCIP"}),
        ("kkt_indicator", "cip", {"SCIP"}),
    ],
)
def test_every_reader_finds_the_size_and_the_optimum(problem, answer, tmp_path, name, form, agreeing):
    opinions = written(problem, tmp_path / f"p.{FORMATS[form].ending}", name, form, checked=True).opinions
    absent = {title for command, title in PROGRAMS.items() if shutil.which(command) is None}
    if absent & agreeing:
        print(f"not installed, so not asked: {', '.join(sorted(absent & agreeing))}")
    assert {one.reader for one in opinions if one.agrees} == agreeing - absent, [str(one) for one in opinions]
    for one in opinions:
        if one.agrees:
            assert float(one.words.rsplit(" ", 1)[1]) == pytest.approx(answer, abs=1e-6)
        else:
            assert one.agrees is None and ("not asked, since" in one.words)


@pytest.mark.parametrize("form", ["lp", "cip", "nl"])
def test_products_and_feature_changes_are_carried(tmp_path, form):
    """By hand: w = -(1 + x) / (2 + x^2) is -10/17 at x = 3/2, and the step -(1 + x) / 2 is -3/4 at 1/2."""
    for name, value in (("kkt_bilinear", -10 / 17), ("unrolled_nonlinear", -0.75)):
        path = tmp_path / f"{name}.{form}"
        (scip,) = [one for one in written(example(name).problem, path, name, form).opinions if one.reader == "SCIP"]
        assert scip.agrees and float(scip.words.rsplit(" ", 1)[1]) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("form", ["cip", "nl"])
def test_exponentials_are_carried(tmp_path, form):
    curved = example("unrolled_nonlinear", 2)
    (scip,) = written(curved.problem, tmp_path / f"p.{form}", "unrolled_nonlinear", form).opinions
    assert scip.agrees and float(scip.words.rsplit(" ", 1)[1]) == pytest.approx(curved.optimum, abs=1e-5)


def test_the_relaxation_of_pieces_is_called_so_and_bounds_the_optimum(tmp_path):
    worked = example("piecewise")
    path = tmp_path / "p.mps"
    assert written(worked.problem, path, "piecewise", "mps").opinions[0].agrees
    assert json.loads((tmp_path / "p.mps.map.json").read_text())["exactness"] == "relaxation"
    assert optimum(path) >= worked.optimum


@pytest.mark.parametrize("form", ["gams", "bar"])
def test_modelling_systems_get_every_name_that_the_map_explains(problem, tmp_path, form):
    path = tmp_path / f"p.{FORMATS[form].ending}"
    opinions = written(problem, path, "kkt_big_m", form).opinions
    assert [str(one) for one in opinions] == ["our own reader: reads 41 rows and 36 columns, as written at 3 points"]
    names, text = json.loads((tmp_path / f"{path.name}.map.json").read_text())["names"], path.read_text()
    columns = [name for name, entry in names.items() if entry["kind"] == "column"]
    assert (
        len(columns)
        == 36
        == 1
        + 3
        + sum(
            entry["component"].startswith(("choice", "fixed", "option"))
            for entry in names.values()
            if entry["kind"] == "column"
        )
    )
    assert all(re.search(rf"\b{re.escape(name)}\b", text) for name in columns)


def test_a_reader_that_is_not_there_says_so(problem, tmp_path, monkeypatch):
    monkeypatch.setattr("oar_opt.export.readers.shutil.which", lambda command: None)
    words = {one.reader: one.words for one in written(problem, tmp_path / "p.lp", "kkt_big_m", "lp").opinions}
    assert words["CBC"] == "not asked, since 'cbc' is not installed" and "'glpsol'" in words["GLPK"]
    assert "the same optimum" in words["HiGHS"]


# -- what the round trip is for ---------------------------------------------------------------------------------------


def tiny(**needs):
    """max 2 x + y + 5 under x + y <= 4, x - y >= -2 (rows), x <= 3 whole, y in [0, 10]: by hand 12 at (3, 1)."""
    model = pyo.ConcreteModel(name="tiny")
    model.x = pyo.Var(domain=pyo.NonNegativeIntegers, bounds=(0, 3))
    model.y = pyo.Var(bounds=(0, 10))
    model.together = pyo.Constraint(expr=model.x + model.y <= 4)
    model.apart = pyo.Constraint(expr=model.x - model.y >= -2)
    model.goal = pyo.Objective(expr=2 * model.x + model.y + 5, sense=pyo.maximize)
    nothing = SimpleNamespace(kind=None)
    return PyomoProgram(model, lambda: ((), nothing), lambda moves, parameters: {}, {}, {}, **needs)


@pytest.mark.parametrize("form", ["lp", "mps", "mps-min", "cip", "nl"])
def test_a_constant_of_the_objective_and_a_sense_survive(tmp_path, form):
    program, path = tiny(), tmp_path / f"t.{FORMATS[form].ending}"
    stated = str(program.objective.expr)
    write(program, path, form)
    assert optimum(path) == pytest.approx(-12.0 if form == "mps-min" else 12.0)
    assert program.maximises and str(program.objective.expr) == stated


def test_a_lost_row_and_another_coefficient_are_errors_and_another_optimum_is_said(problem, tmp_path, monkeypatch):
    program = formulations()["kkt_big_m"].build(problem, Request(tightening=0.0))
    path = tmp_path / "p.lp"
    names = write(program, path, "lp")
    text = path.read_text()
    lost = re.sub(r"\nc_e_one_option\(\d+\)_:\n(?:\+1 .*\n)+= 1\n", "\n", text, count=1)
    assert lost != text
    path.write_text(lost)
    with pytest.raises(SolverError, match=r"read back by HiGHS with .* rows, and the program has"):
        check(program, names, path, "lp")
    path.write_text(text.replace("+1 margin\n", "+2 margin\n", 1))
    with pytest.raises(SolverError, match="read back by HiGHS with another objective"):
        check(program, names, path, "lp")
    monkeypatch.setattr("oar_opt.export.round_trip.difference", lambda *_: None)
    opinions = {one.reader: one for one in check(program, names, path, "lp")}
    assert opinions["HiGHS"].agrees is False and "and here it is" in opinions["HiGHS"].words


# -- MathOptFormat ----------------------------------------------------------------------------------------------------

NUMBER, NAME = {"type": "number"}, {"type": "string"}


def record(kind, **fields):
    """An object of exactly these fields."""
    head = {"type": {"const": kind}} if kind else {}
    fields = head | fields
    return {"type": "object", "required": list(fields), "properties": fields, "additionalProperties": False}


def listed(item):
    return {"type": "array", "items": item}


TERM = record(None, coefficient=NUMBER, variable=NAME)
PRODUCT = record(None, coefficient=NUMBER, variable_1=NAME, variable_2=NAME)
ENDS = [
    record("LessThan", upper=NUMBER),
    record("GreaterThan", lower=NUMBER),
    record("EqualTo", value=NUMBER),
    record("Interval", lower=NUMBER, upper=NUMBER),
    record("ZeroOne"),
    record("Integer"),
]
SCALARS = [
    record("Variable", name=NAME),
    record("ScalarAffineFunction", terms=listed(TERM), constant=NUMBER),
    record("ScalarQuadraticFunction", affine_terms=listed(TERM), quadratic_terms=listed(PRODUCT), constant=NUMBER),
]
ROW = record(None, output_index={"type": "integer", "minimum": 1}, scalar_term=TERM)
VECTORS = [
    record("VectorOfVariables", variables=listed(NAME)),
    record("VectorAffineFunction", terms=listed(ROW), constants=listed(NUMBER)),
]
CONES = [
    record("SOS1", weights=listed(NUMBER)),
    record("Indicator", set={"oneOf": ENDS}, activate_on={"enum": ["one", "zero"]}),
]
RULES = {
    "type": "object",
    "required": ["version", "variables", "objective", "constraints"],
    "properties": {
        "version": record(None, major={"const": 1}, minor={"const": 2}),
        "variables": listed(record(None, name=NAME)) | {"uniqueItems": True},
        "objective": record(None, sense={"enum": ["min", "max"]}, function={"oneOf": SCALARS}),
        "constraints": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "type": "object",
                "required": ["function", "set"],
                "properties": {"name": NAME},
                "oneOf": [
                    {"properties": {"function": {"oneOf": SCALARS}, "set": {"oneOf": ENDS}}},
                    {"properties": {"function": {"oneOf": VECTORS}, "set": {"oneOf": CONES}}},
                ],
            },
        },
    },
}
"""The rules of the format's schema 1.2 that its writer uses, in our words."""


def from_mof(document):
    """The program in a MathOptFormat document as a SCIP model: a reader that shares nothing with the writer."""
    scip, columns = pyscipopt.Model(), {}
    scip.hideOutput()
    for one in document["variables"]:
        columns[one["name"]] = scip.addVar(one["name"], lb=None, ub=None)

    def linear(terms):
        return pyscipopt.quicksum(t["coefficient"] * columns[t["variable"]] for t in terms)

    def scalar(f):
        if f["type"] == "Variable":
            return columns[f["name"]]
        if f["type"] == "ScalarAffineFunction":
            return linear(f["terms"]) + f["constant"]
        total = linear(f["affine_terms"]) + f["constant"]
        for t in f["quadratic_terms"]:
            half = 0.5 if t["variable_1"] == t["variable_2"] else 1.0
            total = total + half * t["coefficient"] * columns[t["variable_1"]] * columns[t["variable_2"]]
        return total

    for one in document["constraints"]:
        f, s = one["function"], one["set"]
        match s["type"]:
            case "ZeroOne" | "Integer":
                column = columns[f["name"]]
                scip.chgVarType(column, "I")
                if s["type"] == "ZeroOne":
                    scip.chgVarLb(column, 0), scip.chgVarUb(column, 1)
            case "LessThan":
                scip.addCons(scalar(f) <= s["upper"])
            case "GreaterThan":
                scip.addCons(scalar(f) >= s["lower"])
            case "EqualTo":
                scip.addCons(scalar(f) == s["value"])
            case "Interval":
                scip.addCons(scalar(f) <= s["upper"])
                scip.addCons(scalar(f) >= s["lower"])
            case "SOS1":
                scip.addConsSOS1([columns[name] for name in f["variables"]], s["weights"])
            case "Indicator":
                parts = {r: [t["scalar_term"] for t in f["terms"] if t["output_index"] == r] for r in (1, 2)}
                binary = columns[parts[1][0]["variable"]]
                active = s["activate_on"] == "one"
                scip.addConsIndicator(linear(parts[2]) <= s["set"]["upper"], binvar=binary, activeone=active)
    objective = document["objective"]
    goal = scip.addVar("the goal", lb=None, ub=None)
    is_max = objective["sense"] == "max"
    scip.addCons(goal <= scalar(objective["function"]) if is_max else goal >= scalar(objective["function"]))
    scip.setObjective(goal, "maximize" if is_max else "minimize")
    scip.setParams({"limits/gap": 1e-7, "misc/usesymmetry": 0})
    return scip


@pytest.mark.parametrize("name", ["kkt_big_m", "kkt_sos1", "kkt_indicator"])
def test_mof_files_obey_the_formats_rules_and_have_the_same_optimum(problem, answer, tmp_path, name):
    path = tmp_path / "p.mof.json"
    written(problem, path, name, "mof")
    document = json.loads(path.read_text())
    jsonschema.validate(document, RULES)
    scip = from_mof(document)
    scip.optimize()
    assert scip.getObjVal() == pytest.approx(answer, abs=1e-6)


def test_products_in_mof_files(tmp_path):
    path = tmp_path / "p.mof.json"
    written(example("kkt_bilinear").problem, path, "kkt_bilinear", "mof")
    document = json.loads(path.read_text())
    jsonschema.validate(document, RULES)
    scip = from_mof(document)
    scip.optimize()
    assert scip.getObjVal() == pytest.approx(-10 / 17, abs=1e-5)


def test_a_mof_file_by_hand():
    """Squares are doubled, products are not; constants go to the right; one indicator row on zero."""
    program = tiny(needs=frozenset({SolverFeature.QUADRATIC, SolverFeature.INDICATOR}))
    m = program.model
    m.z = pyo.Var(domain=pyo.Binary)
    m.bent = pyo.Constraint(expr=3 * m.x**2 + 2 * m.x * m.y - 1 <= 7)
    program = replace(program, indicators=(Indicator(m.z, False, m.y + 1, 3.0),))
    document = json.loads(mof_text(program))
    jsonschema.validate(document, RULES)
    assert document["objective"] == {
        "sense": "max",
        "function": {
            "type": "ScalarAffineFunction",
            "terms": [{"coefficient": 2.0, "variable": "x"}, {"coefficient": 1.0, "variable": "y"}],
            "constant": 5.0,
        },
    }
    by_name = {one["name"]: one for one in document["constraints"] if "name" in one}
    assert by_name["bent"]["set"] == {"type": "LessThan", "upper": 8.0}
    assert by_name["bent"]["function"]["quadratic_terms"] == [
        {"coefficient": 6.0, "variable_1": "x", "variable_2": "x"},
        {"coefficient": 2.0, "variable_1": "x", "variable_2": "y"},
    ]
    assert by_name["indicator[0]"]["set"] == {
        "type": "Indicator",
        "set": {"type": "LessThan", "upper": 2.0},
        "activate_on": "zero",
    }
    assert [one["set"] for one in document["constraints"] if one["function"] == {"type": "Variable", "name": "x"}] == [
        {"type": "Integer"},
        {"type": "Interval", "lower": 0.0, "upper": 3.0},
    ]


# -- cones ------------------------------------------------------------------------------------------------------------


def from_cbf(text):
    """The program in a CBF file as a problem of cvxpy, and its variable."""
    blocks = [block.split("\n") for block in text.split("\n\n")]
    parts = {block[0]: [line.split() for line in block[1:] if line] for block in blocks if not block[0].startswith("#")}
    size, rows = int(parts["VAR"][0][0]), int(parts["CON"][0][0])
    A, b, c = np.zeros((rows, size)), np.zeros(rows), np.zeros(size)
    for i, j, value in parts["ACOORD"][1:]:
        A[int(i), int(j)] = float(value)
    for i, value in parts["BCOORD"][1:]:
        b[int(i)] = float(value)
    for j, value in parts["OBJACOORD"][1:]:
        c[int(j)] = float(value)
    x, place, held = cp.Variable(size), 0, []
    for kind, count in parts["CON"][1:]:
        part = (A @ x + b)[place : place + int(count)]
        held.append({"L=": lambda p: p == 0, "L+": lambda p: p >= 0, "Q": lambda p: cp.SOC(p[0], p[1:])}[kind](part))
        place += int(count)
    assert place == rows
    goal = cp.Maximize(c @ x) if parts["OBJSENSE"] == [["MAX"]] else cp.Minimize(c @ x)
    return cp.Problem(goal, held), x


@pytest.mark.parametrize("place", range(2))
def test_a_conic_program_has_the_same_optimum_elsewhere(tmp_path, place):
    worked, path = example("centroid_convex", place), tmp_path / "p.cbf"
    exported = export(worked.problem, path, form="cbf")
    assert exported.formulation == "centroid_convex" and "needs none" in exported.start.missing
    program, x = from_cbf(path.read_text())
    value = program.solve(cp.CLARABEL)
    if worked.optimum is None:
        assert program.status == cp.INFEASIBLE
    else:
        assert value == pytest.approx(worked.optimum, abs=1e-5)
    names = json.loads((tmp_path / "p.cbf.map.json").read_text())["names"]
    assert len(names) == x.size and any("change of 'x0'" in entry["meaning"] for entry in names.values())


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name,form,words",
    [
        ("kkt_sos1", "gams", "special ordered sets, which gams files do not hold here: .* --format lp, cip, nl or mof"),
        ("kkt_indicator", "nl", "indicator constraints, which nl files .* --format cip or mof"),
        ("kkt_big_m", "cbf", "no conic program"),
        ("enumeration", "lp", "computed directly"),
        ("copies", "lp", "computed directly"),
    ],
)
def test_what_a_format_does_not_hold_is_refused_with_the_reason(problem, tmp_path, name, form, words):
    with pytest.raises(UnsupportedError, match=words):
        written(problem, tmp_path / f"p.{FORMATS[form].ending}", name, form)
    assert not list(tmp_path.iterdir())


def test_a_conic_program_is_refused_by_all_other_formats(tmp_path):
    with pytest.raises(UnsupportedError, match="is conic, which mof files do not hold: write it with --format cbf"):
        written(example("centroid_convex").problem, tmp_path / "p.mof.json", "centroid_convex", "mof")
    with pytest.raises(UnsupportedError, match="moments: it is computed directly, or searched over many"):
        export(example("moments").problem, tmp_path / "p.cbf", form="cbf")


def test_every_feature_is_held_by_some_format():
    for feature in SolverFeature:
        holding = [name for name in FORMATS if refusal(name, frozenset({feature})) is None]
        assert "cip" in holding and "mps" not in holding
    with pytest.raises(InputError, match="'magic' is unknown"):
        refusal("magic", frozenset())


def test_the_listing_says_which_formats_hold_which_formulation(oar, problem, tmp_path):
    rows = {row.formulation: row for row in listing(problem)}
    assert rows["kkt_big_m"].formats == tuple(name for name in FORMATS if name != "cbf")
    assert rows["kkt_indicator"].formats == ("cip", "mof") and "indicator" in rows["kkt_indicator"].words
    assert rows["kkt_bilinear"].words.startswith("does not apply: nobody has room")
    assert not rows["enumeration"].formats and "computed directly" in rows["enumeration"].words
    code, out, _ = oar("export", "--list")
    assert code == 0 and "centroid_convex" in out and "cbf" in out
    assert oar("export")[0] == 2


# -- names, bytes, starts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [name for name in FORMATS if name != "cbf"])
def test_writing_twice_gives_the_same_bytes(problem, tmp_path, form):
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        written(problem, folder / f"p.{FORMATS[form].ending}", "kkt_big_m", form, start=True, checked=False)
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1] and len(found[0]) == (6 if form == "nl" else 4)


def test_names_with_blanks_have_none_in_files(tmp_path):
    worked = example("unrolled_nonlinear", 1)
    for form in ("cip", "nl", "mof"):
        written(worked.problem, tmp_path / f"p.{FORMATS[form].ending}", "unrolled_nonlinear", form, checked=False)
        known = read_map(tmp_path / f"p.{FORMATS[form].ending}.map.json")
        assert not [name for name in known.columns if " " in name]
        assert known.columns["pull[1,1,changes_0].value"] == "pull[1,1,changes 0].value"
    assert "changes_0" in (tmp_path / "p.col").read_text() and " " not in (tmp_path / "p.col").read_text()


@pytest.mark.parametrize("name,form", [("kkt_big_m", "lp"), ("kkt_sos1", "nl"), ("kkt_indicator", "cip")])
def test_the_start_is_a_point_of_the_program(problem, tmp_path, name, form):
    path = tmp_path / f"p.{form}"
    exported = written(problem, path, name, form, start=True, checked=False)
    assert [one.name for one in exported.start.files] == [f"p.{form}.sol", f"p.{form}.solu"]
    reader = pyscipopt.Model()
    reader.hideOutput()
    reader.readProblem(str(path))
    point = reader.readSolFile(str(exported.start.files[0]))
    assert reader.checkSol(point, original=True)
    (known,) = [line for line in exported.start.files[1].read_text().splitlines() if line.startswith("=best= p ")]
    assert reader.getSolObjVal(point) >= float(known.split()[2]) - 1e-6


def test_where_there_is_no_start_it_is_said(make, tmp_path):
    nobody = make(2, "ridge", "none", "min_cost", n=6, required=50.0)
    found = written(nobody, tmp_path / "p.lp", "kkt_big_m", "lp", start=True)
    assert found.start.missing == "no start: the heuristics found no admissible move"
    assert not (tmp_path / "p.lp.sol").exists()
    assert all("infeasible, as the program is" in one.words for one in found.opinions if one.agrees)


# -- answers come back ------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(problem, tmp_path):
    path = tmp_path / "p.lp"
    written(problem, path, "kkt_big_m", "lp", checked=False)
    return path


def by_highs(path, target):
    import highspy

    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.readModel(str(path))
    solver.run()
    solver.writeSolution(str(target), 0)


def by_scip(path, target):
    solver = pyscipopt.Model()
    solver.hideOutput()
    solver.readProblem(str(path))
    solver.optimize()
    solver.writeBestSol(str(target))


def by_cbc(path, target):
    subprocess.run(["cbc", str(path), "-solve", "-solu", str(target), "-quit"], check=True, capture_output=True)


def by_glpk(path, target):
    subprocess.run(["glpsol", "--lp", str(path), "-o", str(target)], check=True, capture_output=True)


SOLVERS = {"HiGHS": by_highs, "SCIP": by_scip, "CBC": by_cbc, "GLPK": by_glpk}


@pytest.mark.parametrize("title", SOLVERS)
def test_a_solvers_answer_comes_back_verified(problem, answer, exported, title):
    command = {name: command for command, name in PROGRAMS.items()}.get(title)
    if command and shutil.which(command) is None:
        pytest.skip(f"'{command}' is not installed")
    target = exported.with_name("p.lp.sol")
    SOLVERS[title](exported, target)
    result = import_answer(problem, target)
    assert result.objective == pytest.approx(answer, abs=1e-9) and result.verification.passed
    assert (result.status, result.bound) == (Status.FEASIBLE, None)
    assert result.solution.method.solver == f"{title}, imported"
    assert verify(problem, result.solution).passed


def values_of(problem, path):
    by_scip(path, path.with_name("scip.sol"))
    lines = path.with_name("scip.sol").read_text().splitlines()[1:]
    known = dict.fromkeys(read_map(path.with_name(path.name + ".map.json")).columns, 0.0)
    return known | {line.split()[0]: float(line.split()[1]) for line in lines}


def pairs(values):
    return "".join(f"{name} {value!r}\n" for name, value in values.items())


def as_cplex(values):
    rows = "".join(f'<variable name="{n}" index="{i}" value="{v!r}"/>' for i, (n, v) in enumerate(values.items()))
    return f'<?xml version="1.0"?>\n<CPLEXSolution><header/><variables>{rows}</variables></CPLEXSolution>\n'


@pytest.mark.parametrize(
    "style,head,writer",
    [(pairs, "", "unnamed solver"), (pairs, "# Objective value = 1\n", "Gurobi"), (as_cplex, "", "CPLEX")],
)
def test_other_styles_and_a_bound_as_a_claim(problem, answer, exported, tmp_path, style, head, writer):
    target = tmp_path / "answer.txt"
    target.write_text(head + style(values_of(problem, exported)))
    result = import_answer(problem, target, tmp_path / "p.lp.map.json", bound=answer)
    assert result.status is Status.OPTIMAL and result.solution.method.solver == f"{writer}, imported"
    with pytest.raises(VerificationError, match="beats the bound"):
        import_answer(problem, target, tmp_path / "p.lp.map.json", bound=answer - 0.1)


def test_answers_that_are_none_say_why(problem, make, exported, tmp_path):
    values, target, known = values_of(problem, exported), tmp_path / "a.sol", tmp_path / "p.lp.map.json"
    choice = next(name for name in values if name.startswith("choice"))
    member = re.search(r"\d+", choice).group()

    def refused(text, problem=problem):
        target.write_text(text)
        with pytest.raises(InputError) as caught:
            import_answer(problem, target, known)
        return str(caught.value)

    assert "does not know: magic" in refused(pairs(values | {"magic": 1.0}))
    few = {name: value for name, value in values.items() if name != choice}
    assert f"lacks 1 of {len(values)} columns: {choice}" in refused(pairs(few))
    half = refused(pairs(values | {choice: 0.5}))
    assert "fractions" in half and f"{choice} = 0.5 (member {member} picks option" in half
    picked = next(name for name in values if name.startswith("choice") and values[name] > 0.5)
    member = re.search(r"\d+", picked).group()
    head = "solution status: optimal\nobjective value: 1\n"
    gone = {name: value for name, value in values.items() if name != picked}
    assert f"picks no option, or several, for member {member}" in refused(head + pairs(gone))
    assert "no finite number" in refused(pairs(values).replace(f"{choice} ", f"{choice} nan#", 1))
    assert "holds no solution" in refused("solution status: infeasible\nno solution available\n")
    assert "holds no solution" in refused("Infeasible - objective value 0\n")
    assert "not known" in refused("").replace("no solution file that is known", "not known")
    assert "is no XML" in refused("<?xml version='1.0'?><CPLEXSolution>")
    other = replace(make(3, "svm", "penalized", n=8), name="another")
    assert "is of the instance 'random-2'" in refused(pairs(values), other)
    with pytest.raises(InputError, match="is no map of an exported file"):
        known.write_text("{}")
        import_answer(problem, target, known)


def test_feature_changes_come_back_within_their_rules(tmp_path):
    worked, path = example("kkt_bilinear"), tmp_path / "p.cip"
    written(worked.problem, path, "kkt_bilinear", "cip", checked=False)
    by_scip(path, tmp_path / "p.cip.sol")
    result = import_answer(worked.problem, tmp_path / "p.cip.sol")
    assert result.objective == pytest.approx(-10 / 17, abs=1e-5) and result.moves[0].x == pytest.approx((1.5,))


def test_the_command_writes_a_solution_that_verifies(oar, problem, answer, tmp_path):
    instance, target = tmp_path / "small.json", tmp_path / "small.lp"
    save_instance(replace(problem, name="small"), instance)
    code, out, err = oar("export", instance, "--format", "lp", "-o", target, "--tighten", "0")
    assert code == 0, err
    assert "Read by HiGHS: reads" in out and "small.lp.sol: a start" in out
    by_highs(target, tmp_path / "small.lp.sol")
    arguments = ("import-solution", instance, tmp_path / "small.lp.sol")
    code, _, err = oar(*arguments, "--bound", answer, "--solver", "mine", "-o", tmp_path / "s.json")
    assert code == 0, err
    found = load_solution(tmp_path / "s.json")
    assert found.objective == pytest.approx(answer, abs=1e-9) and found.method.solver == "mine, imported"
    assert oar("verify", instance, tmp_path / "s.json")[0] == 0
    save_instance(replace(load_instance(instance), title="changed"), instance)
    code, _, err = oar(*arguments)
    assert code == 2 and "instance 'small'" in err and "unchanged" in err


def test_by_default_an_mps_file_is_minimised_whoever_reads_it(oar, problem, tmp_path):
    """CBC reads over OBJSENSE MAX and minimises: what is maximised is written as minus itself, and that is said."""
    assert problem.goal.maximises
    instance = tmp_path / "small.json"
    save_instance(replace(problem, name="small"), instance)
    code, out, _ = oar("export", instance, "-o", tmp_path / "small.mps", "--no-start", "--no-check")
    assert code == 0 and "minimises minus it" in out
    assert "OBJSENSE" not in (tmp_path / "small.mps").read_text(encoding="utf-8")


def test_an_imported_answer_without_a_bound_says_that_none_is_known(oar, problem, answer, tmp_path):
    instance, target = tmp_path / "small.json", tmp_path / "small.lp"
    save_instance(replace(problem, name="small"), instance)
    assert oar("export", instance, "--format", "lp", "-o", target, "--tighten", "0", "--no-check")[0] == 0
    by_highs(target, tmp_path / "small.lp.sol")
    code, out, _ = oar("import-solution", instance, tmp_path / "small.lp.sol")
    assert code == 0 and "no bound is known" in out and "stopped because" not in out
