"""Sweeps: each point is the instance with one number replaced; files resume; optima are monotone where they must be."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from oar_opt.compare import EXACT, compare
from oar_opt.errors import InputError
from oar_opt.evaluate import enumerate_choices
from oar_opt.library import load
from oar_opt.problem import GoalKind
from oar_opt.result import StoppedBy
from oar_opt.sweep import Axis, Over, Settings, at_value, bound_curve, curve, sweep

ONLY = Settings(methods=("stay", EXACT))


@pytest.mark.parametrize(
    ("text", "axis", "values"),
    [
        ("radius=0.1:0.5:3", Axis.RADIUS, (0.1, 0.3, 0.5)),
        ("members=1:4", Axis.MEMBERS, (1.0, 2.0, 3.0, 4.0)),
        ("acting=5,1,1", Axis.ACTING, (1.0, 5.0)),
        ("total=0", Axis.TOTAL, (0.0,)),
        ("required=0.1:0.7:7", Axis.REQUIRED, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
    ],
)
def test_axes_are_read(text, axis, values):
    assert Over.parse(text) == Over(axis, values)


@pytest.mark.parametrize(
    "text",
    ["", "radius", "radius=", "size=1:2", "radius=a", "radius=0.1:1", "radius=1:0:3", "members=0.5,1", "radius=-1,2",
     "radius=nan", "radius=0:1:0", "radius=1:2:3:4", "members=1:1e9", "total=inf"],
)  # fmt: skip
def test_what_is_no_axis_is_told(text):
    with pytest.raises(InputError, match="--over"):
        Over.parse(text)


def test_the_instance_at_a_value():
    changes, menus = load("iris-centroid-l2-r05-k10"), load("school-two-neighbourhoods")
    moved = at_value(changes, Axis.RADIUS, 0.25)
    assert {action.radius for member in moved.collective.members for action in member.actions} == {0.25}
    assert at_value(changes, Axis.MEMBERS, 3).collective.members == changes.collective.members[:3]
    assert at_value(menus, Axis.ACTING, 2).collective.budget.members == 2
    assert at_value(menus, Axis.TOTAL, 2.5).collective.budget.total == 2.5
    assert at_value(menus, Axis.EACH, 2.5).collective.budget.each == 2.5
    cheap = replace(menus, goal=GoalKind.MIN_COST)
    assert {query.required for query in at_value(cheap, Axis.REQUIRED, 0.3).queries} == {0.3}
    for problem, axis, value, words in [
        (menus, Axis.RADIUS, 1.0, "no member has one"),
        (menus, Axis.MEMBERS, 99, "of 6" if len(menus.collective.members) == 6 else "99 of"),
        (menus, Axis.REQUIRED, 1.0, "max_margin"),
        (cheap, Axis.REQUIRED, 0.0, "is 0"),
    ]:
        with pytest.raises(InputError, match=words):
            at_value(problem, axis, value)


@pytest.fixture
def nobody_alone(monkeypatch):
    """Without what the query could do by itself, which is tested elsewhere and no curve shows."""
    monkeypatch.setattr("oar_opt.compare.individual_recourse", lambda *_, **__: ())


def test_optima_do_not_fall_as_more_is_allowed(make, nobody_alone):
    problem = make(3, "ridge", "penalized", members=3, options=3)
    points = sweep(problem, Over(Axis.ACTING, (0.0, 1.0, 3.0)), ONLY)
    exact = [value for _, value in curve(points, EXACT, "objective")]
    assert all(b >= a - 1e-6 for a, b in pairwise(exact))
    assert exact[0] == pytest.approx(curve(points, "stay", "objective")[0][1])
    for (value, found), (_, bound) in zip(curve(points, EXACT, "objective"), bound_curve(points), strict=True):
        best = enumerate_choices(at_value(problem, Axis.ACTING, value)).best.objective
        assert found == pytest.approx(best, abs=1e-6) and bound >= best - 1e-6


def test_the_front_of_cost_against_margin_rises(make, nobody_alone):
    problem = replace(make(4, "ridge", "penalized", members=3, options=3), goal=GoalKind.MIN_COST)
    query = replace(problem.queries[0], required=0.1)
    problem = replace(problem, queries=(query,))
    costs = [value for _, value in curve(sweep(problem, Over.parse("required=0.01:2:3"), ONLY), EXACT, "objective")]
    known = [cost for cost in costs if cost is not None]
    assert all(b >= a - 1e-6 for a, b in pairwise(known))
    # Once it is out of reach it stays so.
    assert all(later is None for k, cost in enumerate(costs) if cost is None for later in costs[k:])


def test_a_file_keeps_points_and_a_second_run_does_what_is_left(make, tmp_path, monkeypatch):
    problem, path = make(3, "ridge", "penalized", members=3, options=2), tmp_path / "sweep.jsonl"
    first = sweep(problem, Over.parse("acting=0,1"), ONLY, path=path)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"value": 2.0, "compar')  # A run that was killed while it wrote.
    done = []
    again = sweep(problem, Over.parse("acting=0,1,2"), ONLY, path=path, progress=lambda *at: done.append(at))
    assert again[:2] == first and done == [(2, 3), (3, 3)]
    monkeypatch.setattr("oar_opt.sweep.point", None)
    assert sweep(problem, Over.parse("acting=2,0"), ONLY, path=path) == (again[0], again[2])
    with pytest.raises(InputError, match="no file of this sweep"):
        sweep(problem, Over.parse("total=1"), ONLY, path=path)


@pytest.mark.parametrize(
    "line", ["hello", '{"value": 1.0}', '{"value": 1.0, "comparison": {"methods": 3, "bound": 1}}']
)
def test_a_broken_line_is_told_and_no_other_is_lost(make, tmp_path, line):
    problem, path = make(3, "ridge", "penalized", members=3, options=2), tmp_path / "sweep.jsonl"
    over, settings = Over.parse("acting=0,1,2"), Settings(methods=("stay",))
    sweep(problem, over, settings, path=path)
    lines = path.read_text(encoding="utf-8").splitlines()
    broken = "\n".join([*lines[:2], line, *lines[3:]]) + "\n"
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(InputError, match="line 3: is no point of a sweep"):
        sweep(problem, over, settings, path=path)
    assert path.read_text(encoding="utf-8") == broken
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no file of this sweep"):
        sweep(problem, over, settings, path=path)


def test_a_point_whose_search_was_interrupted_is_not_kept(make, tmp_path, monkeypatch):
    problem, path = make(3, "ridge", "penalized", members=3, options=2), tmp_path / "sweep.jsonl"

    def interrupted(problem, *_, **__):
        found = compare(problem, ["stay", EXACT], heuristic_seconds=0.1)
        exact = found.exact.model_copy(update={"stopped_by": StoppedBy.INTERRUPT})
        return replace(found, exact=exact)

    monkeypatch.setattr("oar_opt.compare.compare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(problem, Over.parse("acting=1"), ONLY, path=path)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1


def test_several_processes_give_the_same_points(make):
    problem = make(3, "ridge", "penalized", members=3, options=2)
    over, settings = Over.parse("acting=0,1,2"), Settings(methods=("stay",))

    def told(points):
        return [(one.value, [r["objective"] for r in one.document["methods"]]) for one in points]

    assert told(sweep(problem, over, settings, jobs=2)) == told(sweep(problem, over, settings))
    with pytest.raises(InputError, match="'magic' is unknown"):
        sweep(problem, over, Settings(methods=(EXACT,), formulation="magic"), jobs=2)


def test_the_command_prints_a_table_csv_and_json(oar, tmp_path):
    common = ("sweep", "gig-two-colleagues", "--over", "acting=0:1", "--methods", "stay,exact")
    code, out, err = oar(*common, "-o", tmp_path / "points.jsonl")
    assert code == 0 and "members who may act" in out and "bound" in out and "Traceback" not in err
    code, out, _ = oar(*common, "--csv", "-q", "-o", tmp_path / "points.jsonl")
    assert (
        code == 0 and out.splitlines()[0].startswith("axis,value,instance,goal,method") and len(out.splitlines()) == 5
    )
    code, out, _ = oar(*common, "--json", "-q", "-o", tmp_path / "points.jsonl")
    assert code == 0 and [point["value"] for point in json.loads(out)["points"]] == [0.0, 1.0]
    assert oar(*common, "--json", "--csv")[0] == 2
    code, _, err = oar("sweep", "gig-two-colleagues", "--over", "members=0:99")
    assert code == 2 and "ask for fewer" in err
    code, _, err = oar("sweep", "gig-two-colleagues", "--over", "acting=1", "--goal", "magic")
    assert code == 2 and "'magic' is unknown" in err


# -- the picture ---


def test_the_curves_drawn_are_the_numbers_of_the_sweep(make, oar, tmp_path):
    from oar_opt.pictures.curves import curves_picture

    problem = make(3, "ridge", "penalized", members=3, options=2)
    points = sweep(problem, Over.parse("acting=0,1,2"), ONLY)
    picture = curves_picture(problem, Axis.ACTING, points)
    drawn = {line.get_label(): list(map(tuple, line.get_xydata().tolist())) for line in picture.figure.axes[0].lines}
    assert drawn["joint optimum"] == curve(points, EXACT, "objective")
    assert drawn["stay"] == curve(points, "stay", "objective") and drawn["bound"] == bound_curve(points)
    assert "joint optimum: " in picture.alt and f"{drawn['joint optimum'][0][1]:.6g} at 0" in picture.alt
    seconds = curves_picture(problem, Axis.ACTING, points, "seconds")
    assert "bound" not in {line.get_label() for line in seconds.figure.axes[0].lines}
    with pytest.raises(InputError, match="no points"):
        curves_picture(problem, Axis.ACTING, [])
    target = tmp_path / "curves.svg"
    common = ("sweep", "gig-two-colleagues", "--over", "acting=0:1", "--methods", "stay", "-q")
    assert oar(*common, "--picture", target)[0] == 0 and "<svg" in target.read_text(encoding="utf-8")
    assert oar(*common, "--picture", tmp_path / "curves.bmp")[0] == 2
    assert oar(*common, "--draw", "magic")[0] == 2
