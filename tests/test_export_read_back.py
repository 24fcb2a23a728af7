"""Files are read back at points: every change is found; each formulation by each format and reader, or why not."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pyomo.environ as pyo
import pytest

from oar_opt.contracts import Exactness, Indicator, PyomoProgram
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, SolverError, UnsupportedError
from oar_opt.export import FORMATS, export
from oar_opt.export.algebra import read_expression
from oar_opt.export.bar_reader import read_bar
from oar_opt.export.cbf_reader import read_cbf
from oar_opt.export.file_program import UnreadableError
from oar_opt.export.gams_reader import read_gams
from oar_opt.export.mof_reader import read_mof
from oar_opt.export.name_map import read_map
from oar_opt.export.points import points
from oar_opt.export.readers import READERS, Job, Outcome, Size
from oar_opt.export.round_trip import check, check_cone, size_of
from oar_opt.export.writers import write
from oar_opt.instance_file import save_instance
from oar_opt.solver_features import SolverFeature
from oar_opt.testing import worked_examples

INSTALL = {"cbc": "coinor-cbc", "glpsol": "glpk-utils"}
"""The package of Debian and Ubuntu that has the program."""


def tiny(curved=False, quadratic=False, extra=False):
    """max 2 x + y / 3 + 5.1 over -3 <= x <= 5 whole, y >= -10, f free, z binary, w = 2; constants in rows."""
    m = pyo.ConcreteModel(name="tiny")
    m.x, m.y, m.f = pyo.Var(domain=pyo.Integers, bounds=(-3, 5)), pyo.Var(bounds=(-10, None)), pyo.Var()
    m.z, m.w, m.n = pyo.Var(domain=pyo.Binary), pyo.Var(bounds=(2, 2)), pyo.Var(bounds=(None, -1 / 3))
    m.p = pyo.Var(bounds=(0, 4))
    m.together = pyo.Constraint(expr=m.x + m.y + m.f / 3 + m.p <= 4 + 1 / 7)
    m.between = pyo.Constraint(expr=(-2, m.x - m.y + m.n, 10 / 3))
    m.equal = pyo.Constraint(expr=m.f + m.z - 1 + m.w == m.y - 1 / 3)
    m.low = pyo.Constraint(expr=m.f >= -1e-7)
    m.goal = pyo.Objective(expr=2 * m.x + m.y / 3 + 5.1, sense=pyo.maximize)
    needs, indicators = frozenset(), ()
    if quadratic or curved:
        m.bent = pyo.Constraint(expr=m.x * m.y - m.f**2 / 3 - m.y**2 <= 7)
        needs = frozenset({SolverFeature.QUADRATIC})
    if curved:
        m.waved = pyo.Constraint(expr=pyo.exp(m.f / 9) - pyo.log(m.p + 1) + m.y * m.f / (1 + m.z) <= 70)
        needs |= {SolverFeature.EXPONENTIAL}
    if extra:
        m.s = pyo.Var([1, 2], bounds=(0, 1))
        m.one = pyo.SOSConstraint(var=m.s, sos=1)
        needs |= {SolverFeature.SOS1, SolverFeature.INDICATOR}
        indicators = (Indicator(m.z, False, m.y + 2 * m.f + 1, 3.0),)
    nothing = SimpleNamespace(kind=None)
    return PyomoProgram(m, lambda: ((), nothing), lambda *_: {}, {}, {}, needs=needs, indicators=indicators)


def read_back(program, path, form, change=None):
    """What the round trip says of the file as written, or with one text in it changed."""
    names = write(program, path, form)
    if change is not None:
        text = path.read_text()
        assert text.count(change[0]) >= 1, text
        path.write_text(text.replace(*change, 1))
    return check(program, names, path, form)


# -- every change is found --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form,shape",
    [("gams", "curved"), ("bar", "curved"), ("gams", ""), ("bar", ""), ("mof", "quadratic"), ("mof", "extra")],
)
def test_what_is_written_is_read_back_as_written(tmp_path, form, shape):
    (opinion,) = read_back(tiny(**({shape: True} if shape else {})), tmp_path / f"t.{FORMATS[form].ending}", form)
    rows = 4 + {"curved": 2, "quadratic": 1}.get(shape, 0)
    columns = 9 if shape == "extra" else 7
    assert str(opinion) == f"our own reader: reads {rows} rows and {columns} columns, as written at 3 points"


CHANGES = [
    ("gams", "+ p =l= 4.142857142857143", "+ p =l= 4.142857", "another row 'together'"),
    ("gams", "0.3333333333333333*f", "0.3333333*f", "another row 'together'"),
    ("gams", "power(f, 2)", "power(f, 3)", "another row 'bent'"),
    ("gams", "exp(", "log(", "another row 'waved'"),
    ("gams", "maximizing", "minimizing", "minimised"),
    ("gams", "x.lo = -3;", "", "the column 'x'"),
    ("gams", "5.0999999999999996", "5.0", "another objective"),
    ("bar", "-2 <= x - y", "-2 <= x + y", "another row 'between'"),
    ("bar", "f >= -9.9999999999999995e-08", "f >= -2e-07", "another row 'low'"),
    ("bar", "y*f/(1 + z)", "y*f/1 + z", "another row 'waved'"),
    ("bar", "p: 4;", "", "the column 'p'"),
    ("bar", "INTEGER_VARIABLES x", "VARIABLES x", "the column 'x'"),
    ("bar", "maximize", "minimize", "minimised"),
    ("mof", '"variable_1": "y", "variable_2": "y"', '"variable_1": "x", "variable_2": "y"', "another row 'bent'"),
    ("mof", '"sense": "max"', '"sense": "min"', "minimised"),
    ("mof", '"type": "ZeroOne"', '"type": "Integer"', "the column 'z'"),
    ("mof", '"lower": -3.0', '"lower": -2.0', "the column 'x'"),
    ("mof", '"constant": 5.1', '"constant": 5', "another objective"),
]


@pytest.mark.parametrize("form,old,new,words", CHANGES)
def test_a_changed_file_is_an_error(tmp_path, form, old, new, words):
    program = tiny(quadratic=True) if form == "mof" else tiny(curved=True)
    with pytest.raises(SolverError, match=words):
        read_back(program, tmp_path / f"t.{FORMATS[form].ending}", form, (old, new))


@pytest.mark.parametrize(
    "old,new,words",
    [
        ('"weights": [1.0, 2.0]', '"weights": [2.0, 1.0]', "another special ordered set 'one'"),
        ('"activate_on": "zero"', '"activate_on": "one"', "another indicator row"),
        ('"set": {"type": "LessThan", "upper": 2.0}', '"set": {"type": "LessThan", "upper": 3.0}', "indicator row"),
    ],
)
def test_changed_sets_and_indicator_rows_are_errors(tmp_path, old, new, words):
    with pytest.raises(SolverError, match=words):
        read_back(tiny(extra=True), tmp_path / "t.mof.json", "mof", (old, new))


@pytest.mark.parametrize("form", ["lp", "mps", "mps-min"])
def test_linear_files_are_compared_at_points_by_what_highs_reads(tmp_path, form):
    """The writer makes the objective's constant a column of its own, which is no error; a coefficient of 1/3 is one."""
    path, program = tmp_path / f"t.{FORMATS[form].ending}", tiny()
    names = write(program, path, form)
    assert any(path.read_text().count(name) for name in names.others if name.startswith("ONE_VAR"))
    (job,) = [Job(path, form, True, frozenset(), None, 1e-6)]
    highs = READERS[0].read(job)
    size = size_of(program, form)
    assert (highs.size.rows, highs.size.columns, highs.size.nonzeros) == (size.rows, size.columns, size.nonzeros)
    digits = "0.3333333333333333 f" if form == "lp" else "c_u_together_ 0.33333333333333331"
    text = path.read_text()
    assert digits in text
    path.write_text(text.replace(digits, digits.replace("0.3333333333333333", "0.333333"), 1))
    with pytest.raises(SolverError, match="another row 'together'"):
        check_unsolved(program, names, path, form)


def check_unsolved(program, names, path, form):
    from oar_opt.export import round_trip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(round_trip, "SOLVED_COLUMNS", 0)
        return round_trip.check(program, names, path, form)


def test_a_file_that_is_not_solved_is_counted_by_all(tmp_path):
    """By hand: 4 rows, of which one has two sides, and one that says that the constant's column is 1."""
    path, program = tmp_path / "t.mps", tiny()
    opinions = check_unsolved(program, write(program, path, "mps-min"), path, "mps-min")
    absent = {title for command, title in {"cbc": "CBC", "glpsol": "GLPK"}.items() if shutil.which(command) is None}
    assert {one.reader for one in opinions if one.agrees} == {"HiGHS", "SCIP", "CBC", "GLPK"} - absent
    assert all("reads 6 rows and 8 columns, as written" in one.words for one in opinions if one.agrees)


def test_infeasible_is_refuted_by_what_was_found_where_the_rows_are_compared(tmp_path, monkeypatch):
    """GLPK has called programs infeasible whose columns have intervals of 1e-7: that says nothing of the file."""
    program, path = tiny(), tmp_path / "t.mps"
    names = write(program, path, "mps-min")
    monkeypatch.setattr("oar_opt.export.round_trip._own_outcome", lambda _: Outcome(True, 4.0))
    readings = {"HiGHS": Outcome(True, 4.0), "SCIP": Outcome(True), "CBC": Outcome(True, 4.5), "GLPK": None}
    for reader in READERS:
        read = reader.reading
        monkeypatch.setattr(
            reader,
            "reading",
            lambda job, read=read, name=reader.name: replace(
                read(replace(job, seconds=None)), outcome=readings[name], size=Size(6, 8)
            ),
        )
    found = {one.reader: one for one in check(program, names, path, "mps-min")}
    assert found["SCIP"].agrees and "infeasible by its arithmetic" in found["SCIP"].words
    assert found["HiGHS"].agrees and found["CBC"].agrees is False


def test_a_reader_that_refuses_the_file_disagrees(tmp_path):
    program, path = tiny(), tmp_path / "t.lp"
    names = write(program, path, "lp")
    path.write_text("binary garbage \0\1")
    opinions = {one.reader: one for one in check_unsolved(program, names, path, "lp")}
    assert opinions["HiGHS"].agrees is False and "refuses" in opinions["HiGHS"].words
    (ours,) = read_back(program, tmp_path / "t.gms", "gams", ("SOLVE", "PLEASE SOLVE"))
    assert ours.agrees is False and "not one SOLVE" in ours.words


def test_points_lie_in_the_box_and_leave_the_program_alone():
    program = tiny()
    program.model.x.set_value(2)
    found = list(points(program, {"x": 0.0}))
    assert found[0] == {"x": 0.0} and len(found) == 4
    assert all(-3 <= p["x"] <= 5 and p["w"] == 2 and p["n"] <= -1 / 3 and p["y"] >= -10 for p in found[1:])
    assert program.model.x.value == 2


# -- the readers by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text,value",
    [
        ("2*x - y/4/2 + 1", 2 * 3 - 2 / 8 + 1),
        ("-x^2", -9.0),
        ("-x ** 2/3", -3.0),
        ("2^-1", 0.5),
        ("x - (y - 1) - 1", 1.0),
        ("power(x, 2) + exp(log(y)) + sqrt(4) + sqr(y)", 9 + 2 + 2 + 4),
        ("1e-1*x + (-2.5E+00)", 0.3 - 2.5),
        ("exp_1 + 0*x", 7.0),
    ],
)
def test_expressions_by_hand(text, value):
    values = {"x": 3.0, "y": 2.0, "exp_1": 7.0}
    assert read_expression(text, values)(values) == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize("text", ["", "x +", "(x", "x y", "q", "x $ 2", "exp x", "exp(x", "2x)"])
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(UnreadableError):
        read_expression(text, {"x": 1.0})


@pytest.mark.parametrize("read", [read_mof, read_gams, read_bar, read_cbf])
@pytest.mark.parametrize("text", ["", "{}", "\0\1\2", "[1, 2]", "SOLVE a USING b minimizing c;", "OBJ: x;"])
def test_garbage_is_refused_by_every_reader(read, text):
    if read is read_cbf and not text:
        assert read_cbf("").rows == 0
        return
    with pytest.raises(UnreadableError):
        read(text)


def test_a_gams_file_by_hand():
    """Constants and columns on both sides; an integer has the bounds 0 and none, a binary 0 and 1."""
    found = read_gams(
        "$offlisting\nEQUATIONS\n\tr\n\ts\n\tgoal;\n\nBINARY VARIABLES\n\tb;\n\nINTEGER VARIABLES\n\ti;\n\n"
        "POSITIVE VARIABLES\n\tp;\n\nVARIABLES\n\tGOAL\n\tv;\n\n"
        "r.. 2*b + i =l= v - 3 ;\ns.. 1 =e= p ;\ngoal.. GOAL =e= 2*v + 1 ;\n"
        "i.up = 1E100;\nv.lo = -4;\nMODEL m /all/ ;\nSOLVE m USING mip minimizing GOAL;\n"
    )
    assert {name: (c.lower, c.upper, c.whole) for name, c in found.columns.items()} == {
        "b": (0, 1, True),
        "i": (0, math.inf, True),
        "p": (0, math.inf, False),
        "v": (-4, math.inf, False),
    }
    values = {"b": 1.0, "i": 2.0, "p": 5.0, "v": 10.0}
    assert (found.rows["r"].body(values), found.rows["r"].upper) == (-3.0, 0.0)
    assert (found.rows["s"].body(values), found.rows["s"].lower) == (-4.0, 0.0)
    assert found.objective(values) == 21.0 and not found.maximises


def test_a_cbf_file_by_hand_and_what_is_not_read_of_the_format():
    text = "# two rows\nVER\n3\nOBJSENSE\nMAX\nVAR\n2 1\nF 2\nCON\n3 2\nL+ 1\nQ 2\nOBJACOORD\n1\n1 4\n"
    text += "ACOORD\n2\n0 0 2\n2 1 3\nBCOORD\n1\n1 7\n"
    found = read_cbf(text)
    assert found.values([5.0, 6.0]).tolist() == [10.0, 7.0, 18.0] and found.objective([5.0, 6.0]) == 24.0
    assert found.cones == [("L+", 1), ("Q", 2)] and found.maximises
    for old, new in (("VER\n3", "VER\n9"), ("Q 2", "Q 1"), ("BCOORD", "POWCONES"), ("2 1 3", "2 2 3"), ("F 2", "L+ 2")):
        with pytest.raises(UnreadableError):
            read_cbf(text.replace(old, new))


def test_a_changed_conic_file_is_an_error(tmp_path):
    worked, path = formulations()["centroid_convex"].examples()[0], tmp_path / "p.cbf"
    (opinion,) = export(worked.problem, path, form="cbf").opinions
    assert opinion.agrees and "as written at 3 points" in opinion.words
    form, text = formulations()["centroid_convex"].build(worked.problem).written(), path.read_text()
    sense = "MAX" if form.maximises else "MIN"
    entry = text.split("ACOORD\n")[2].splitlines()[1]
    place = entry.rsplit(" ", 1)[0]
    for old, new in ((sense, {"MAX": "MIN", "MIN": "MAX"}[sense]), (entry, f"{place} 17.5"), ("L+ ", "L- ")):
        path.write_text(text.replace(f"\n{old}", f"\n{new}", 1))
        with pytest.raises(SolverError, match="read back by our own reader with"):
            check_cone(form, path)
    path.write_text("")
    with pytest.raises(SolverError, match="0 rows and 0 columns"):
        check_cone(form, path)
    assert not export(worked.problem, path, form="cbf", checked=False).opinions


# -- rows without variables, names, endings ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", [name for name in FORMATS if name != "cbf"])
def test_rows_of_fixed_variables_are_left_out_if_they_hold(tmp_path, form):
    """Writers made a column of their own for them, or lost them: the sizes did not agree."""
    program, path = tiny(), tmp_path / f"t.{FORMATS[form].ending}"
    program.model.w.fix(2)
    program.model.empty = pyo.Constraint(expr=program.model.w <= 2)
    program.model.nought = pyo.Constraint(expr=0 * program.model.x + program.model.w <= 3)
    program.model.goal.set_value(program.model.x)
    names = write(program, path, form)
    assert program.model.empty.active and "empty" not in (text := path.read_text()) and "nought" not in text
    if form in ("cip", "nl"):
        scip = READERS[1].read(Job(path, form, True, frozenset(), None, 1e-6))
        assert (scip.size.rows, scip.size.columns) == (4, 6)
    else:
        assert any(one.agrees for one in check_unsolved(program, names, path, form))
    program.model.w.fix(3)
    with pytest.raises(UnsupportedError, match="row 'empty' has no variable and does not hold"):
        write(program, path, form)
    assert program.model.empty.active


def test_every_row_of_a_file_has_its_name_in_the_map(tmp_path):
    """GAMS files call the sides of a row ``_lo`` and ``_hi``; its map had neither."""
    for form, pattern in (("gams", {"between_lo", "between_hi", "equal", "low_lo"}), ("bar", {"between", "low"})):
        names = write(tiny(), tmp_path / f"t.{FORMATS[form].ending}", form)
        assert pattern <= names.others.keys()
    assert {"r_l_between_", "r_u_between_"} <= write(tiny(), tmp_path / "t.mps", "mps").others.keys()
    assert "ONE_VAR_CONST__" in names.others, "BARON's answers have this column"


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_without_its_formats_ending_is_refused_before_it_is_written(make, tmp_path, form):
    with pytest.raises(InputError, match="does not end in"):
        export(make(2), tmp_path / "noext", form=form)
    assert not list(tmp_path.iterdir())


def test_bytes_do_not_depend_on_the_seed_of_hashes(make, tmp_path):
    """The seed of this process is a drawn one."""
    instance, here, there = tmp_path / "small.json", tmp_path / "here", tmp_path / "there"
    save_instance(replace(make(2, "ridge", n=6, options=1), name="small"), instance)
    script = (
        "def write(instance, folder):\n"
        "  from oar_opt.export import FORMATS, export\n"
        "  from oar_opt.instance_file import load_instance\n"
        "  problem = load_instance(instance)\n"
        "  folder.mkdir()\n"
        "  for form, one in FORMATS.items():\n"
        "    if not one.conic:\n"
        "      path = folder / f'{form}.{one.ending}'\n"
        "      export(problem, path, formulation='kkt_big_m', form=form, tightening=0.0, checked=False,"
        " start=form == 'lp')\n"
    )
    space = {}
    exec(script, space)
    space["write"](instance, here)
    call = "import sys; from pathlib import Path; write(Path(sys.argv[1]), Path(sys.argv[2]))"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", f"{script}\n{call}", instance, there], check=True, env=environment)
    found = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (here, there)]
    assert found[0] == found[1] and len(found[0]) == 2 * 8 + 2 + 2


# -- maps that are none -----------------------------------------------------------------------------------------------


def test_maps_with_values_of_another_kind_are_none(make, tmp_path):
    export(make(2, n=6, options=1), tmp_path / "p.lp", formulation="kkt_big_m", form="lp", start=False, checked=False)
    path = tmp_path / "p.lp.map.json"
    document = json.loads(path.read_text())
    broken = {
        "tightening": ("soon", -1, True),
        "formulation": (["kkt_big_m"],),
        "instance_sha256": (None,),
        "names": ([], {"x": {"kind": "column"}}, {"x": {"kind": "column", "component": 5, "meaning": ""}}, {"x": 1}),
    }
    for key, values in broken.items():
        for value in values:
            path.write_text(json.dumps(document | {key: value}))
            with pytest.raises(InputError, match="is no map of an exported file"):
                read_map(path)
    path.write_text(json.dumps(document))
    assert read_map(path).formulation == "kkt_big_m"


@pytest.mark.parametrize(
    "name,words", [("centroid_menu", "does not apply"), ("enumeration", "no program that a file can hold")]
)
def test_maps_of_formulations_that_cannot_be_are_refused(make, tmp_path, name, words):
    from oar_opt.export.answer_import import import_answer

    problem = make(2, n=6, options=1)
    export(problem, tmp_path / "p.lp", formulation="kkt_big_m", form="lp", start=False, checked=False)
    path = tmp_path / "p.lp.map.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"formulation": name}))
    (tmp_path / "p.lp.sol").write_text("margin 1\n")
    with pytest.raises(InputError, match=words):
        import_answer(problem, tmp_path / "p.lp.sol", path)
    with pytest.raises(InputError, match="--bound: is nan"):
        import_answer(problem, tmp_path / "p.lp.sol", path, bound=math.nan)


# -- every formulation, format and reader -----------------------------------------------------------------------------


def cases():
    """The first worked example of a formulation that has a program in files, by each format."""
    for name, item in formulations().items():
        for form in FORMATS:
            yield name, form, item.exportable or item.conic


@cache
def first_example(name):
    return next(one for _, one in worked_examples() if formulations()[name].accepts(one.problem) is None)


@pytest.mark.parametrize("name,form,has_program", list(cases()))
def test_a_formulation_in_a_format_by_every_reader_or_the_reason(tmp_path, name, form, has_program):
    worked, item = first_example(name), formulations()[name]
    path = tmp_path / f"p.{FORMATS[form].ending}"
    settings = {"formulation": name, "form": form, "tightening": 0.0, "start": False, "checked": True}
    try:
        found = export(worked.problem, path, **settings)
    except UnsupportedError as refused:
        assert "--format" in str(refused) or "no conic program" in str(refused) or not has_program
        assert not list(tmp_path.iterdir())
        return
    assert has_program and any(one.agrees for one in found.opinions)
    for one in found.opinions:
        assert one.agrees or (one.agrees is None and "not asked, since" in one.words), str(one)
        if one.agrees and "the same optimum" in one.words and item.file_exactness is Exactness.EXACT:
            room = 1e-4 if item.needs else 1e-6
            assert float(one.words.rsplit(" ", 1)[1]) == pytest.approx(worked.optimum, rel=room, abs=room)


@pytest.mark.parametrize("command", INSTALL)
def test_a_program_beside_us_is_there_to_read(command):
    """Not a failure, since a machine need not have them; but a line of the summary."""
    if shutil.which(command) is None:
        pytest.skip(f"'{command}' is not installed, so that no file is read by it: apt-get install {INSTALL[command]}")
    assert shutil.which(command)


# -- texts that read like the mathematics -----------------------------------------------------------------------------


def shorter():
    """min x - y / 3 under -1 <= x + y <= 2, x >= -4 whole, y free."""
    m = pyo.ConcreteModel(name="short")
    m.x, m.y = pyo.Var(domain=pyo.Integers, bounds=(-4, 9)), pyo.Var()
    m.both = pyo.Constraint(expr=(-1, m.x + m.y, 2))
    m.goal = pyo.Objective(expr=m.x - m.y / 3)
    return PyomoProgram(m, lambda: ((), None), lambda *_: {}, {}, {})


TEXTS = {
    "lp": "min goal: +1 x -0.3333333333333333 y s.t. r_l_both_: +1 x +1 y >= -1 r_u_both_: +1 x +1 y <= 2 "
    "bounds -4 <= x <= 9 -inf <= y <= +inf general x end",
    "mps-min": "NAME short ROWS N goal G r_l_both_ L r_u_both_ COLUMNS x goal 1 x r_l_both_ 1 x r_u_both_ 1 "
    "y goal -0.33333333333333331 y r_l_both_ 1 y r_u_both_ 1 RHS RHS r_l_both_ -1 RHS r_u_both_ 2 "
    "BOUNDS LI BOUND x -4 UI BOUND x 9 FR BOUND y ENDATA",
    "bar": "INTEGER_VARIABLES x; POSITIVE_VARIABLES ONE_VAR_CONST__; VARIABLES y; LOWER_BOUNDS{ x: -4; } "
    "UPPER_BOUNDS{ x: 9; } EQUATIONS c_e_FIX_ONE_VAR_CONST__, both; c_e_FIX_ONE_VAR_CONST__: ONE_VAR_CONST__ == 1; "
    "both: -1 <= x + y <= 2; OBJ: minimize x + (-0.3333333333333333)*y;",
}


@pytest.mark.parametrize("form", TEXTS)
def test_a_text_reads_like_the_mathematics(tmp_path, form):
    """But for comments and settings; layout does not count."""
    path = tmp_path / f"s.{FORMATS[form].ending}"
    write(shorter(), path, form)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("*", "\\*"))]
    assert TEXTS[form] in " ".join(" ".join(lines).split())
