"""Bilevel files, read back from their text alone: leader enumerated, follower solved as the files state it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from itertools import product

import numpy as np
import pyscipopt
import pytest

from oar_opt.contracts import line_example
from oar_opt.errors import InputError, SolverError, UnsupportedError, VerificationError
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.export import export
from oar_opt.export.answer_import import import_answer
from oar_opt.export.bilevel_check import bilevel_opinion
from oar_opt.export.bilevel_model import Bilevel
from oar_opt.export.bilevel_reading import bilevel_optimum, read_bilevel
from oar_opt.export.fixed_mps import Column, MixedIntegerProgram, Row, mps_text, number, rounding
from oar_opt.export.listing import listing
from oar_opt.instance_file import save_instance
from oar_opt.problem import (
    Budget,
    Collective,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Position,
    Prior,
    Query,
    Records,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.result import Status

MOST = 10_000


def written(problem, path, **settings):
    return export(problem, path, form="mps-aux", **{"start": False, "checked": False, **settings})


def optimum(problem, folder):
    """Of the files, in their own sense."""
    found = written(problem, folder / "p.mps")
    return bilevel_optimum(read_bilevel(found.path, found.aux_path), MOST).value


# -- instances ---


def instance(kind, seed, members, intercept="none", goal="max_margin", n=8, d=2, prior=None, budget=None, queries=1):
    draw = np.random.default_rng(seed)
    X = np.round(draw.normal(size=(n, d)), 2)
    y = np.where(X[:, 0] > 0, 1.0, -1.0) if kind == "l1_svm" else np.round(X[:, 0] + draw.normal(size=n) / 2, 2)
    y[-2:] = 1.0, -1.0
    required = None if goal == "max_margin" else 0.05
    targets = [-1.0, 1.0][:queries]
    asked = tuple(
        Query(f"q{q}", tuple(np.round(draw.normal(size=d), 2)), t, 0.3 if kind == "lad" else 0.0, required)
        for q, t in enumerate(targets)
    )
    return RecourseProblem(
        f"{kind} {seed}",
        Records(X, y, np.where(np.arange(n) % 3, 1.0, 0.7)),
        LearnerSpec(kind, Intercept(intercept), C=0.8, prior=prior),
        Collective(tuple(members), budget=budget or Budget()),
        asked,
        GoalKind(goal),
        classes=("no", "yes") if kind == "l1_svm" else None,
        position=Position.OPTIMISTIC,
    )


def menu(*rows):
    return tuple(Option(OptionKind.MENU, x, y, s, cost) for x, y, s, cost in rows)


SVM_MENU = menu(((1.5, -0.5), -1.0, 1.0, 1.0), ((-1.0, 1.0), 1.0, 0.5, 0.5))
SHORT_MENU = menu(((1.0,), 1.0, 1.0, 1.0))
LAD_MENU = menu(((1.0, -1.0), 2.0, 1.0, 1.0), ((0.5, 0.5), -1.5, 2.0, 0.7))
STRIKE = (WithholdAction(),)
CASES = {
    "l1_svm menus": instance("l1_svm", 1, [Member(0, menu=SVM_MENU), Member(1, (LabelAction((1.0, -1.0)),))]),
    "l1_svm withholding, free intercept": instance(
        "l1_svm", 2, [Member(i, STRIKE) for i in range(4)], "free", budget=Budget(total=2.0)
    ),
    "lad two queries": instance("lad", 3, [Member(0, STRIKE, LAD_MENU), Member(1, STRIKE)], "penalized", queries=2),
    "lad free, prior": instance("lad", 4, [Member(2, menu=LAD_MENU)], "free", prior=Prior((0.5, -0.25))),
    "l1_svm cheapest": instance("l1_svm", 5, [Member(i, STRIKE, SVM_MENU) for i in (0, 1)], "free", "min_cost"),
    "l1_svm helped": instance("l1_svm", 6, [Member(0, STRIKE, SVM_MENU)], "free", "max_helped", queries=2),
}


def line(**traits):
    return replace(line_example(LearnerSpec("l1_svm", C=2.0)), **{"position": Position.OPTIMISTIC, **traits})


@pytest.mark.parametrize("name", list(CASES))
def test_the_files_optimum_is_the_instances(name, tmp_path):
    problem = CASES[name]
    found, best = optimum(problem, tmp_path), enumerate_choices(problem).best
    sign = -1 if problem.goal.maximises else 1
    assert best is not None and sign * found == pytest.approx(best.objective, abs=1e-6)


TURNS = [*product(("l1_svm", "lad"), Intercept)]
TRAITS = {"n": 6, "options": 1, "withhold": True, "joins": True, "guards": 1, "required": 0.02}


@pytest.mark.parametrize("seed", range(len(TURNS)))
def test_so_it_is_for_drawn_instances(make, tmp_path, seed):
    """Numbers of 17 digits, weights, priors, guards, budgets, copies of options, joining, withholding, other labels."""
    kind, intercept = TURNS[seed]
    goal, odd = list(GoalKind)[seed % 4], seed % 2 == 1
    drawn = {"prior": odd, "labels": odd, "identical": not odd, "queries": 1 + odd}
    budget = Budget(total=2.0) if odd else Budget(members=1)
    traits = TRAITS | drawn | {"regression": kind == "lad", "budget": budget}
    problem = make(40 + seed, kind, str(intercept), str(goal), **traits)
    written(problem, tmp_path / "p.mps")
    opinion = bilevel_opinion(problem, tmp_path / "p.mps", MOST)
    assert opinion.agrees, opinion.words
    assert max(map(len, (tmp_path / "p.mps").read_text().splitlines()[1:])) <= 47, "the marker's line is the longest"


def test_the_cheapest_way_may_cost_something_and_there_may_be_none(make, tmp_path):
    found = []
    for required in (0.02, 0.4, 50.0):
        problem = make(8, "l1_svm", "free", "min_cost", n=7, members=2, options=1, withhold=True, required=required)
        opinion = bilevel_opinion(problem, written(problem, tmp_path / "p.mps").path, MOST)
        assert opinion.agrees, opinion.words
        found.append(optimum(problem, tmp_path))
    assert found[-1] is None and any(value is not None and value > 0 for value in found), found


@pytest.mark.parametrize("kind", ["l1_svm", "lad"])
def test_ties_are_the_leaders(kind, tmp_path):
    """At (2, +) every w from 0 to 1/2 is optimal with C = 1, and the margin is w: by hand in the learners' pages."""
    problem = replace(line_example(LearnerSpec(kind, C=1.0)), position=Position.OPTIMISTIC)
    assert optimum(problem, tmp_path) == pytest.approx(-0.5, abs=1e-6)


def test_a_wrong_file_is_told(tmp_path):
    """With M = 0 for staying, its loss counts at (2, +) too: |w| + 4 (1 + w) + 2 (1 - 2 w) is least at w = 0."""
    found = written(line(), tmp_path / "line.mps")
    text, row = found.path.read_text(), "o1_0_0    -"
    assert f"z1_0      {row}5.42373" in text and f"RHS       {row}4.42373" in text
    found.path.write_text(text.replace(f"{row}5.42373", "o1_0_0    0").replace(f"{row}4.42373", "o1_0_0    1"))
    opinion = bilevel_opinion(line(), found.path)
    assert opinion.agrees is False and "by re-training for every choice it is 0.5" in opinion.words


# -- the reader, by hand ---

HAND_MPS = """\
NAME          hand
ROWS
 N  goal
 L  most
 L  cap
 G  tie
COLUMNS
    MARKER    'MARKER'                 'INTORG'
    x         goal      1
    x         most      1
    x         cap       -2
    y         most      1
    y         tie       -5
    MARKER    'MARKER'                 'INTEND'
    f         goal      -2
    f         cap       1
    g         goal      -1
    g         tie       -1
RHS
    RHS       most      1
    RHS       cap       1
    RHS       tie       -4
BOUNDS
 UP BND       x         1
 UP BND       y         1
 UP BND       f         10
ENDATA
"""
HAND_AUX = "@NUMVARS\n2\n@NUMCONSTRS\n2\n@VARSBEGIN\nf -1\ng 0\n@VARSEND\n@CONSTRSBEGIN\ncap\ntie\n@CONSTRSEND\n"


def hand(folder, mps=HAND_MPS, aux=HAND_AUX):
    (folder / "h.mps").write_text(mps)
    (folder / "h.aux").write_text(aux)
    return read_bilevel(folder / "h.mps", folder / "h.aux")


def test_a_bilevel_program_by_hand(tmp_path):
    """min x - 2 f - g, x + y <= 1; max f with f <= 1 + 2 x and g <= 4 - 5 y, so that g >= 0 has no point at y = 1.

    At x = 0: f = 1 and the leader's g = 4, value -6. At x = 1: f = 3, value 1 - 6 - 4 = -9.
    """
    found = bilevel_optimum(hand(tmp_path), MOST)
    assert found.value == pytest.approx(-9.0) and found.choices == 3
    assert bilevel_optimum(hand(tmp_path), 2) is None
    low = hand(tmp_path, aux=HAND_AUX.replace("f -1", "f 1"))
    assert bilevel_optimum(low, MOST).value == pytest.approx(-4.0), "the follower now wants f = 0, so x = 0 is best"
    none = hand(tmp_path, HAND_MPS.replace("RHS       most      1", "RHS       most      -1"))
    assert bilevel_optimum(none, MOST).value is None


@pytest.mark.parametrize(
    ("mps", "aux", "words"),
    [
        (
            HAND_MPS.replace("    f         cap       1\n", "    f         cap       1.23456789012345\n"),
            HAND_AUX,
            "outside",
        ),
        (HAND_MPS.replace("    f         cap ", "    toolongname cap "), HAND_AUX, "line 16: has something outside"),
        (HAND_MPS.removesuffix("ENDATA\n"), HAND_AUX, "without ENDATA"),
        (HAND_MPS, HAND_AUX.replace("S\n2", "S\n3", 1), "announces 3 and 2"),
        (HAND_MPS, HAND_AUX.replace("tie", "tied"), "names what the MPS file has not: tied"),
        (HAND_MPS, HAND_AUX.replace("@VARSEND\n", ""), "no section from @VARSBEGIN"),
    ],
)
def test_files_that_are_none_say_why(tmp_path, mps, aux, words):
    with pytest.raises(InputError, match=words):
        hand(tmp_path, mps, aux)


def test_what_the_reader_cannot_solve_is_said(tmp_path):
    with pytest.raises(SolverError, match="continuous column of the leader"):
        bilevel_optimum(hand(tmp_path, aux=HAND_AUX.replace("S\n2", "S\n1", 1).replace("g 0\n", "")), MOST)
    with pytest.raises(SolverError, match="ended with"):
        bilevel_optimum(hand(tmp_path, HAND_MPS.replace("    g         tie       -1\n", "")), MOST)


# -- numbers ---


@pytest.mark.parametrize(
    ("value", "side", "text"),
    [
        (0.1, 0, "0.1"),
        (-14.0001, 0, "-14.0001"),
        (1e-7, 0, "1e-7"),
        (1e300, 0, "1e300"),
        (2.0, 0, "2"),
        (-0.0, 0, "0"),
        (1 / 3, 0, "0.3333333333"),
        (1 / 3, 1, "0.3333333334"),
        (-1 / 3, -1, "-0.333333334"),
        (-1 / 3, 1, "-0.333333333"),
        (-0.0001234567890123, 0, "-1.234568e-4"),
        (123456789012345.0, 0, "1.2345679e14"),
        (123456789012.5, -1, "123456789012"),
    ],
)
def test_numbers_take_twelve_characters(value, side, text):
    assert number(value, side) == text and len(text) <= 12


def test_numbers_are_rounded_to_the_asked_side_and_well():
    draw = np.random.default_rng(5)
    for value in (draw.normal(size=200) * 10.0 ** draw.integers(-12, 12, 200)).tolist():
        down, near, up = (Decimal(number(value, side)) for side in (-1, 0, 1))
        assert down <= Decimal(value) <= up and near in (down, up)
        assert max(len(number(value, side)) for side in (-1, 0, 1)) <= 12
        assert abs(float(near) - value) <= 5e-6 * abs(value)


def test_what_rounding_does_is_bounded_by_hand():
    """1/3 is written 0.3333333333, off by 1/3 e-10, times 3; the right-hand side 2/3 up by 1/3 e-10."""
    columns = (Column("x", -3.0, 2.0, False), Column("y", 0.0, 1.0, True))
    row = Row("r", "L", {"x": 1 / 3, "y": 0.5}, 2 / 3)
    found = rounding(MixedIntegerProgram("t", columns, (row,), {"x": 1.0}))
    assert found.numbers == 2 and found.shift == pytest.approx(4 / 3 * 1e-10, rel=1e-4)
    exact = rounding(MixedIntegerProgram("t", (Column("x", -np.inf, np.inf, False),), (), {"x": 0.25}))
    assert (exact.numbers, exact.shift) == (0, 0.0)
    free = rounding(MixedIntegerProgram("t", (Column("x", -np.inf, np.inf, False),), (), {"x": 1 / 3}))
    assert free.shift == np.inf


def test_bounds_and_columns_without_entries_in_the_text():
    columns = (Column("a", -np.inf, np.inf, False), Column("b", -np.inf, 1 / 3, False), Column("c", 1 / 3, 4.0, True))
    text = mps_text(MixedIntegerProgram("t", columns, (), {}), "said")
    assert text.startswith("* said\nNAME          t\n") and "    a         goal      0\n" in text
    assert text.endswith(
        " FR BND       a\n MI BND       b\n UP BND       b         0.3333333334\n"
        " LO BND       c         0.3333333333\n UP BND       c         4\nENDATA\n"
    )


def test_numbers_that_twelve_characters_do_not_hold_are_refused(make, tmp_path):
    problem = make(1, "lad", n=6, options=1, regression=True)
    records = Records(problem.records.X, problem.records.y * 1e5, problem.records.s)
    wide = replace(problem, records=records, learner=replace(problem.learner, C=1e-4))
    with pytest.raises(UnsupportedError, match=r"p.mps: \d+ numbers are rounded .* state records with fewer digits"):
        written(wide, tmp_path / "p.mps")
    assert not list(tmp_path.iterdir())


# -- the texts ---

LINE_MPS = """\
NAME          line
ROWS
 N  goal
 E  one1
 L  mq0
 G  f0_0
 G  o1_0_0
 G  o1_1_0
 G  o1_2_0
COLUMNS
    u0        mq0       -1
    u0        f0_0      -1
    u0        o1_0_0    -1
    u0        o1_1_0    1
    u0        o1_2_0    2
    v0        mq0       1
    v0        f0_0      1
    v0        o1_0_0    1
    v0        o1_1_0    -1
    v0        o1_2_0    -2
    MARKER    'MARKER'                 'INTORG'
    z1_0      one1      1
    z1_0      o1_0_0    -5.42373
    z1_1      one1      1
    z1_1      o1_1_0    -8.00001
    z1_2      one1      1
    z1_2      o1_2_0    -15.0001
    MARKER    'MARKER'                 'INTEND'
    l0        f0_0      1
    l1_0      o1_0_0    1
    l1_1      o1_1_0    1
    l1_2      o1_2_0    1
    m         goal      -1
    m         mq0       1
RHS
    RHS       one1      1
    RHS       f0_0      1
    RHS       o1_0_0    -4.42373
    RHS       o1_1_0    -7.00001
    RHS       o1_2_0    -14.0001
BOUNDS
 UP BND       u0        4.42373
 UP BND       v0        7.00001
 UP BND       z1_0      1
 UP BND       z1_1      1
 UP BND       z1_2      1
 UP BND       l0        5.42373
 UP BND       l1_0      5.42373
 UP BND       l1_1      8.00001
 UP BND       l1_2      15.0001
 LO BND       m         -7.0000008
 UP BND       m         4.423729356
ENDATA
"""

LINE_AUX = """\
@NUMVARS
6
@NUMCONSTRS
4
@VARSBEGIN
u0 1
v0 1
l0 2
l1_0 2
l1_1 2
l1_2 2
@VARSEND
@CONSTRSBEGIN
f0_0
o1_0_0
o1_1_0
o1_2_0
@CONSTRSEND
@NAME
line
@MPS
line.mps
"""


def test_the_files_of_the_line_read_like_the_mathematics(tmp_path):
    """Records (1, -), its member at (1, -), (1, +) or (2, +); losses 1 + w, 1 - w, 1 - 2 w; C = 2 is every price."""
    found = written(line(), tmp_path / "line.mps")
    assert found.path.read_bytes().decode() == LINE_MPS
    assert found.aux_path.read_bytes().decode() == LINE_AUX
    assert (found.columns, found.rows, found.columns_below, found.rows_below) == (10, 6, 6, 4)
    assert (found.formulation, found.is_negated) == ("bilevel", True)
    document = json.loads(found.map_path.read_text())
    names = document["names"]
    assert (document["formulation"], document["format"], document["exactness"]) == ("bilevel", "mps-aux", "exact")
    assert names["z1_1"] == {
        "component": "choice[1,1]",
        "meaning": "member 1 picks option 1: - -> +",
        "kind": "column",
        "integer": True,
    }
    assert names["l1_2"]["meaning"].startswith("loss of member 1 under option 2")
    assert names["o1_2_0"]["meaning"] == "loss of member 1 under option 2, if chosen, is at least -1 f + 1"
    assert all(entry["meaning"] for entry in names.values()), names
    assert "by objective" in document["proved_bounds"]["f[1,2]"]["reason"]
    assert optimum(line(), tmp_path) == pytest.approx(-0.5, abs=1e-6)


def test_other_readers_and_the_bilevel_solve_are_asked(tmp_path, monkeypatch):
    found = written(CASES["lad two queries"], tmp_path / "two.mps", checked=True)
    opinions = {one.reader: one for one in found.opinions}
    assert all(one.agrees is not False for one in found.opinions), found.opinions
    assert "high-point relaxation" in opinions["HiGHS"].words and "high-point relaxation" in opinions["SCIP"].words
    assert "re-training for every choice" in found.opinions[-1].words and found.opinions[-1].agrees
    assert "more than 2 choices" in bilevel_opinion(CASES["lad two queries"], found.path, 2).words
    monkeypatch.setattr("oar_opt.export.bilevel_check.SOLVED_COLUMNS", 3)
    assert "more than 3 columns" in bilevel_opinion(CASES["lad two queries"], found.path).words


def test_writing_twice_gives_the_same_bytes_of_all_five_files(tmp_path):
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        written(CASES["l1_svm menus"], folder / "p.mps", start=True)
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1]
    assert sorted(found[0]) == ["p.aux", "p.mps", "p.mps.map.json", "p.mps.sol", "p.mps.solu"]


def test_names_that_would_be_too_long_are_numbered(tmp_path):
    X = np.ones((12_003, 1))
    y = np.where(np.arange(len(X)) % 2, 1.0, -1.0)
    s = (np.arange(len(X)) >= 12_000) * 1.0
    problem = line(records=Records(X, y, s), collective=Collective((Member(12_002, menu=10 * SHORT_MENU),)))
    found = written(problem, tmp_path / "p.mps")
    files = read_bilevel(found.path, found.aux_path)
    names = [*files.columns, *files.senses]
    assert all(len(name) <= 8 for name in names) and len(names) == len(set(names))
    assert any(name.startswith("R") for name in files.senses) and any(name.startswith("X") for name in files.columns)


# -- starts and answers ---


def test_the_start_is_the_learners_optimum(tmp_path):
    """By hand at (2, +): |w| + 2 (1 + w) + 2 (1 - 2 w) is 3.5 at w = 1/2, and the margin is 1/2."""
    found = written(line(), tmp_path / "line.mps", start=True)
    values = {a: float(b) for a, b in (row.split() for row in (tmp_path / "line.mps.sol").read_text().splitlines())}
    assert values == pytest.approx(
        {"u0": 0.5, "v0": 0, "z1_0": 0, "z1_1": 0, "z1_2": 1, "l0": 1.5, "l1_0": 0, "l1_1": 0, "l1_2": 0, "m": 0.5}
    )
    files = read_bilevel(found.path, found.aux_path)
    assert sum(price * values[name] for name, price in files.lower_cost.items()) == pytest.approx(3.5)
    assert (tmp_path / "line.mps.solu").read_text().split()[2] == "-0.5"


@pytest.mark.parametrize("name", list(CASES))
def test_the_start_is_a_point_of_the_file_and_comes_back(name, tmp_path):
    problem = CASES[name]
    found = written(problem, tmp_path / "p.mps", start=True)
    assert [one.name for one in found.start.files] == ["p.mps.sol", "p.mps.solu"], found.start.missing
    reader = pyscipopt.Model()
    reader.hideOutput()
    reader.readProblem(str(found.path))
    assert reader.checkSol(reader.readSolFile(str(found.start.files[0])), original=True)
    result = import_answer(problem, found.start.files[0])
    sign = -1 if problem.goal.maximises else 1
    known = float(found.start.files[1].read_text().split()[2])
    assert result.verification.passed and result.objective == pytest.approx(sign * known, abs=1e-9)
    assert (result.status, result.solution.method.formulation) == (Status.FEASIBLE, "bilevel")


def test_the_leaders_choice_alone_is_an_answer(tmp_path):
    found = written(line(), tmp_path / "line.mps")
    answer = tmp_path / "answer.txt"
    answer.write_text("z1_0 0\nz1_1 0\nz1_2 1\n")
    assert import_answer(line(), answer, found.map_path).objective == pytest.approx(0.5)
    answer.write_text("z1_0 0\nz1_2 1\n")
    with pytest.raises(InputError, match="lacks 1 of 3 columns: z1_1"):
        import_answer(line(), answer, found.map_path)


def test_a_bilevel_solvers_bound_is_its_claim(tmp_path):
    found = written(line(), tmp_path / "line.mps", start=True)
    assert import_answer(line(), found.start.files[0], bound=0.5).status is Status.OPTIMAL
    with pytest.raises(VerificationError, match="beats the bound"):
        import_answer(line(), found.start.files[0], bound=0.4)


# -- what is refused ---


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (line(position=Position.PESSIMISTIC), "the position is pessimistic"),
        (line(position=Position.UNIQUE, learner=LearnerSpec("l1_svm", C=1.0)), "the position is unique, and the"),
        (line(learner=LearnerSpec("svm", C=1.0)), "learner 'svm' is no linear program"),
        (line(max_loss_increase=1.0), "max_loss_increase is not written"),
    ],
)
def test_what_the_files_cannot_hold_is_refused_with_the_reason(problem, reason, tmp_path):
    assert (Bilevel().accepts(problem) or "").startswith(reason)
    with pytest.raises(UnsupportedError, match="cannot be written as a bilevel program"):
        written(problem, tmp_path / "line.mps")
    assert not list(tmp_path.iterdir())


def test_rows_that_no_choice_obeys_are_said(tmp_path):
    """A query or a guard at 0 has margin 0 under every w."""
    at_0 = Query("q", (0.0,), 1.0, required=0.1)
    asked, guarded = line(queries=(at_0,), goal=GoalKind.MIN_COST), line(guards=(replace(at_0, name="g"),))
    for problem, row in ((asked, "margin_of[0]"), (guarded, "guard[0]")):
        with pytest.raises(UnsupportedError, match=re.escape(f"its row '{row}' holds for no choice of the members")):
            written(problem, tmp_path / "p.mps")
        assert enumerate_choices(problem).best is None
    assert not list(tmp_path.iterdir())
    assert "row 'guard[0]'" in listing(guarded)[-1].inapplicable


def test_a_unique_position_is_held_where_no_choice_ties():
    assert Bilevel().accepts(line(position=Position.UNIQUE)) is None
    assert evaluate(line(position=Position.UNIQUE), ()).tie is None


def test_the_format_is_no_formulations_and_others_do_not_hold_it(tmp_path):
    with pytest.raises(UnsupportedError, match=r"formulation 'enumeration': it is computed directly"):
        export(line(), tmp_path / "p.mps", formulation="enumeration", form="mps-aux")
    with pytest.raises(UnsupportedError, match=r"formulation 'kkt_big_m': its program .* name no formulation"):
        export(line(learner=LearnerSpec("svm", C=1.0)), tmp_path / "p.mps", formulation="kkt_big_m", form="mps-aux")
    with pytest.raises(UnsupportedError, match="lp files hold: write it with --format mps-aux"):
        export(line(), tmp_path / "p.lp", formulation="bilevel", form="lp")
    with pytest.raises(UnsupportedError, match="the bilevel program itself can be written: --format mps-aux"):
        export(line(), tmp_path / "p.lp", form="lp")
    row = listing(line())[-1]
    assert (row.formulation, row.formats) == ("bilevel", ("mps-aux",)) and "leader and follower" in row.words
    assert listing(None)[-1].formats == ("mps-aux",)
    assert not any("mps-aux" in one.formats for one in listing(line())[:-1])


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not end in"):
        written(line(), tmp_path / "line.lp")
    with pytest.raises(InputError, match="does not exist"):
        written(line(), tmp_path / "none" / "line.mps")


def test_the_command_writes_and_says_what_it_cannot(oar, tmp_path):
    save_instance(replace(line(), name="line"), tmp_path / "line.json")
    code, out, err = oar("export", tmp_path / "line.json", "--format", "mps-aux", "-o", tmp_path / "line.mps")
    assert code == 0, err
    assert "line.aux: the follower, 4 rows and 6 columns of these" in out and "minimises minus it" in out
    assert "the same optimum as by re-training for every choice, 0.5" in out
    code, out, _ = oar("import-solution", tmp_path / "line.json", tmp_path / "line.mps.sol")
    assert code == 0 and "0.5" in out
    code, _, err = oar("export", "wine-svm-cheapest", "--format", "mps-aux", "-o", tmp_path / "wine.mps")
    assert code == 2 and "is no linear program" in err
