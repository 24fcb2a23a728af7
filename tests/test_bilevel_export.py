"""Bilevel files, read back from their text alone: leader enumerated, follower solved as the files state it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from oar_opt.contracts import line_example
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.export.bilevel import carries, write_bilevel
from oar_opt.pipeline import solve
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

# -- a reader of its own, and the bilevel optimum by brute force ---


class Files:
    """Both files as dense arrays, in the order of the text."""

    def __init__(self, mps, aux):
        self.kinds, self.columns, self.whole, entries, self.rhs, bounds = {}, [], set(), {}, {}, []
        section, inside = "", False
        for line in mps.splitlines():
            words = line.split()
            if not line.startswith(" "):
                section = words[0]
            elif section == "ROWS":
                self.kinds[words[1]] = words[0]
            elif section == "COLUMNS" and words[1] == "'MARKER'":
                inside = words[2] == "'INTORG'"
            elif section == "COLUMNS":
                if words[0] not in self.columns:
                    self.columns.append(words[0])
                if inside:
                    self.whole.add(words[0])
                entries[words[1], words[0]] = float(words[2])
            elif section == "RHS":
                self.rhs[words[1]] = float(words[2])
            elif section == "BOUNDS":
                bounds.append(words)
        place = {name: j for j, name in enumerate(self.columns)}
        self.matrix = {row: np.zeros(len(place)) for row in self.kinds}
        for (row, column), value in entries.items():
            self.matrix[row][place[column]] = value
        self.low, self.high = np.zeros(len(place)), np.full(len(place), np.inf)
        for kind, _, column, *value in bounds:
            if kind in ("MI", "FR"):
                self.low[place[column]] = -np.inf
            else:
                (self.low if kind == "LO" else self.high)[place[column]] = float(value[0])
        lines = aux.splitlines()
        between = lambda a, b: lines[lines.index(a) + 1 : lines.index(b)]  # noqa: E731
        costs = [line.split() for line in between("@VARSBEGIN", "@VARSEND")]
        self.lower = [place[name] for name, _ in costs]
        self.cost = np.array([float(value) for _, value in costs])
        self.lower_rows = between("@CONSTRSBEGIN", "@CONSTRSEND")
        assert [int(lines[1]), int(lines[3])] == [len(self.lower), len(self.lower_rows)]
        self.objective = next(row for row, kind in self.kinds.items() if kind == "N")

    def program(self, cost, rows, extra=()):
        """``linprog`` over all columns with some rows; ``extra`` are rows ``a x <= b``."""
        A, b, E, e = [], [], [], []
        for row in rows:
            kind, side = self.kinds[row], -1.0 if self.kinds[row] == "G" else 1.0
            (E if kind == "E" else A).append(side * self.matrix[row])
            (e if kind == "E" else b).append(side * self.rhs.get(row, 0.0))
        A, b = [*A, *(a for a, _ in extra)], [*b, *(end for _, end in extra)]
        return linprog(cost, A or None, b or None, E or None, e or None, np.column_stack([self.low, self.high]))

    def optimum(self):
        """The least leader's objective over all values of the integer columns, ties for the leader; None if none."""
        whole = [j for j, name in enumerate(self.columns) if name in self.whole]
        upper = [row for row in self.kinds if row not in self.lower_rows and row != self.objective]
        own = [row for row in upper if not self.matrix[row][[j for j in range(len(self.low)) if j not in whole]].any()]
        ends, best = (self.low.copy(), self.high.copy()), None
        lower_cost = np.zeros(len(self.columns))
        lower_cost[self.lower] = self.cost
        for values in product((0.0, 1.0), repeat=len(whole)):
            self.low, self.high = ends[0].copy(), ends[1].copy()
            self.low[whole] = self.high[whole] = values
            if self.program(np.zeros(len(self.low)), own).status == 2:
                continue
            follower = self.program(lower_cost, self.lower_rows)
            assert follower.status == 0
            face = [(lower_cost, follower.fun + 1e-9 * (1 + abs(follower.fun)))]
            leader = self.program(self.matrix[self.objective], [*upper, *self.lower_rows], face)
            assert leader.status in (0, 2)
            if leader.status == 0 and (best is None or leader.fun < best):
                best = leader.fun
        self.low, self.high = ends
        return best


def files_of(problem, folder):
    written = write_bilevel(problem, folder / "program.mps")
    return Files(written.path.read_text(), written.aux_path.read_text())


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


@pytest.mark.parametrize("name", list(CASES))
def test_the_files_optimum_is_the_instances(name, tmp_path):
    problem = CASES[name]
    found, result = files_of(problem, tmp_path).optimum(), solve(problem)
    sign = -1 if problem.goal.maximises else 1
    assert (None if found is None else sign * found) == (
        None if result.objective is None else pytest.approx(result.objective, abs=1e-5)
    )


@pytest.mark.parametrize("kind", ["l1_svm", "lad"])
def test_ties_are_the_leaders(kind, tmp_path):
    """At (2, +) every w from 0 to 1/2 is optimal with C = 1, and the margin is w: by hand in the learners' pages."""
    problem = replace(line_example(LearnerSpec(kind, C=1.0)), position=Position.OPTIMISTIC)
    assert files_of(problem, tmp_path).optimum() == pytest.approx(-0.5, abs=1e-6)


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
 UP BND       m         4.423729355932204
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


def line(**traits):
    return replace(line_example(LearnerSpec("l1_svm", C=2.0)), **{"position": Position.OPTIMISTIC, **traits})


def test_the_files_of_the_line_read_like_the_mathematics(tmp_path):
    """Records (1, -), its member at (1, -), (1, +) or (2, +); losses 1 + w, 1 - w, 1 - 2 w; C = 2 is every price."""
    written = write_bilevel(line(), tmp_path / "line.mps")
    assert written.path.read_bytes().decode() == LINE_MPS
    assert written.aux_path.read_bytes().decode() == LINE_AUX
    assert (written.columns, written.rows, written.lower_columns, written.lower_rows) == (10, 6, 6, 4)
    document = json.loads(written.map_path.read_text())
    columns, rows = document["columns"], document["rows"]
    assert columns["z1_1"]["meaning"] == "member 1 picks option 1: - -> +"
    assert columns["l1_2"]["meaning"].startswith("loss of member 1 under option 2")
    assert all(entry["meaning"] for entry in columns.values()), columns
    assert rows["o1_2_0"]["component"] == "option_row[1,2,0]"
    assert Files(LINE_MPS, LINE_AUX).optimum() == pytest.approx(-0.5, abs=1e-6)


def test_highs_reads_the_same_program(tmp_path):
    from oar_opt.solvers.highs import quiet_highs

    written = write_bilevel(CASES["lad two queries"], tmp_path / "two.mps")
    reader = quiet_highs()
    reader.readModel(str(written.path))
    own = Files(written.path.read_text(), written.aux_path.read_text())
    model = reader.getLp()
    assert (model.num_row_, model.num_col_) == (written.rows, written.columns)
    assert list(model.col_lower_) == list(own.low) and list(model.col_upper_) == list(own.high)


def test_names_that_would_be_too_long_are_numbered(tmp_path):
    X = np.ones((12_003, 1))
    y = np.where(np.arange(len(X)) % 2, 1.0, -1.0)
    s = (np.arange(len(X)) >= 12_000) * 1.0
    problem = line(records=Records(X, y, s), collective=Collective((Member(12_002, STRIKE),)))
    files = files_of(problem, tmp_path)
    assert all(len(name) <= 8 for name in [*files.columns, *files.kinds])
    assert len(files.kinds) == len(set(files.kinds)) and any(name.startswith("X") for name in files.kinds)


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
    assert (carries(problem) or "").startswith(reason)
    with pytest.raises(UnsupportedError, match="cannot be written as a bilevel program"):
        write_bilevel(problem, tmp_path / "line.mps")
    assert not list(tmp_path.iterdir())


def test_a_unique_position_is_held_where_no_choice_ties():
    assert carries(line(position=Position.UNIQUE)) is None


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not end in"):
        write_bilevel(line(), tmp_path / "line.lp")
    with pytest.raises(InputError, match="does not exist"):
        write_bilevel(line(), tmp_path / "none" / "line.mps")


def test_the_command_says_what_it_cannot_write(oar, tmp_path):
    code, _, err = oar("export-bilevel", "wine-svm-cheapest", "-o", tmp_path / "wine.mps")
    assert code == 2 and "is no linear program" in err
