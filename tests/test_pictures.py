"""Pictures show the data, say so in words, and are written the same way each time."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import evaluate
from oar_opt.library import load, shipped
from oar_opt.parameters import CentroidParameters, LinearParameters
from oar_opt.pictures.cells import Rectangle, affine_scores, boundaries, cells
from oar_opt.pictures.kinds import check_kind, recorded
from oar_opt.pictures.moves import moves_picture
from oar_opt.pictures.picture import save_picture, to_svg
from oar_opt.pictures.plane import plane_of
from oar_opt.pictures.progress import progress_picture
from oar_opt.pictures.regions import regions_picture
from oar_opt.pictures.style import tint
from oar_opt.pipeline import solve
from oar_opt.result import Progress
from oar_opt.solution_file import MoveRecord

pytestmark = pytest.mark.usefixtures("trained_once")


@pytest.fixture(scope="module")
def answered():
    """An instance with two queries, a guard, menus and withholding, and its solution."""
    problem = load("gig-two-colleagues")
    return problem, solve(problem).solution


def artist(axes, gid):
    (found,) = [one for one in axes.get_children() if one.get_gid() == gid]
    return found


def panels(picture):
    return picture.figure.axes


# -- cells and planes ---


def test_the_line_and_cells_of_a_square_cut_in_half(make):
    """f(x) = 2 x0 - 1 on the unit square: the line x0 = 1/2, each class has half."""
    plane = plane_of(make(1))
    square = Rectangle(np.zeros(2), np.ones(2))
    scores = affine_scores(LinearParameters((2.0, 0.0), -1.0), plane)
    (segment,) = boundaries(*scores, square)
    assert sorted(segment.tolist()) == [[0.5, 0.0], [0.5, 1.0]]
    left, right = cells(*scores, square)
    assert left[:, 0].max() == 0.5 and right[:, 0].min() == 0.5


def test_the_cells_of_three_centroids_meet_at_their_circumcentre(make):
    """Centroids (0, 0), (2, 0), (0, 2): all are equally far from (1, 1)."""
    plane = plane_of(make(1))
    square = Rectangle(np.array([-1.0, -1.0]), np.array([3.0, 3.0]))
    scores = affine_scores(CentroidParameters(((0.0, 0.0), (2.0, 0.0), (0.0, 2.0))), plane)
    segments = boundaries(*scores, square)
    assert len(segments) == 3
    assert all(np.abs(segment - 1.0).sum(axis=1).min() < 1e-12 for segment in segments)
    areas = [
        abs(np.sum(p[:, 0] * np.roll(p[:, 1], -1) - p[:, 1] * np.roll(p[:, 0], -1))) / 2 for p in cells(*scores, square)
    ]
    assert areas == pytest.approx([4.0, 6.0, 6.0])


def test_the_principal_plane_passes_through_the_query_and_keeps_decisions():
    problem = load("school-two-neighbourhoods")
    plane = plane_of(problem)
    query = np.array(problem.queries[0].x)
    at = plane.project(query[None])
    assert plane.lift(at)[0] == pytest.approx(query)
    Z = np.array([[0.3, -0.2], [1.0, 2.0]])
    assert plane.project(plane.lift(Z)) == pytest.approx(Z)
    w, b = np.array([1.0, -2.0, 0.5]), 0.7
    a, c = plane.restrict(w, b)
    assert Z @ a + c == pytest.approx(plane.lift(Z) @ w + b)
    assert "% of the variance" in plane.axes[0]


# -- regions ---


def test_the_drawn_data_are_the_data(answered):
    problem, solution = answered
    names = [feature.name for feature in problem.features][:2]
    before, after = panels(regions_picture(problem, solution, names))
    X = problem.records.X[:, :2]
    members = {member.record for member in problem.collective.members}
    for c, code in enumerate((-1.0, 1.0)):
        wanted = [X[i].tolist() for i in range(problem.n) if i not in members and problem.records.y[i] == code]
        assert sorted(artist(before, f"records-{c}").get_offsets().tolist()) == sorted(wanted)
    shown = [row for c in (0, 1) for row in _offsets(before, f"members-{c}")]
    assert sorted(shown) == sorted(X[i].tolist() for i in members)
    assert artist(after, "queries").get_offsets().tolist() == [list(query.x[:2]) for query in problem.queries]
    assert artist(after, "guards").get_offsets().tolist() == [list(guard.x[:2]) for guard in problem.guards]
    moved = {move.record: move.x[:2] for move in solution.moves if move.changes}
    gone = [move.record for move in solution.moves if move.weight == 0]
    assert moved or gone
    if moved:
        arrows = artist(after, "moves")
        ends = arrows.get_offsets() + np.column_stack([arrows.U, arrows.V])
        assert sorted(arrows.get_offsets().tolist()) == sorted(X[i].tolist() for i in moved)
        assert np.sort(ends, axis=0) == pytest.approx(np.sort(np.array(list(moved.values())), axis=0))
    if gone:
        assert sorted(_offsets(after, "withheld")) == sorted(X[i].tolist() for i in gone)


def _offsets(axes, gid):
    return [row for one in axes.get_children() if one.get_gid() == gid for row in one.get_offsets().tolist()]


def test_the_drawn_line_is_the_learners(answered):
    problem, solution = answered
    plane = plane_of(problem)
    before, after = panels(regions_picture(problem, solution))
    for axes, parameters in ((before, evaluate(problem, ()).parameters), (after, solution.parameters)):
        for segment in artist(axes, "boundary").get_segments():
            assert plane.lift(segment) @ np.array(parameters.w) + parameters.b == pytest.approx(0, abs=1e-5)
    assert before.get_xlim() == after.get_xlim() and before.get_ylim() == after.get_ylim()


def test_a_label_change_has_a_ring_and_the_other_colour():
    problem = load("tenant-immutable")
    solution = solve(problem).solution
    changed = [move.record for move in solution.moves if move.y != problem.label_of(problem.records.y[move.record])]
    assert changed
    after = panels(regions_picture(problem, solution))[1]
    wanted = plane_of(problem).project(problem.records.X[changed])
    rings = np.asarray(artist(after, "relabelled").get_offsets())
    assert np.allclose(sorted(rings.tolist()), sorted(wanted.tolist()))


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_instance_is_drawn_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = regions_picture(load(name))
        picture.figure.draw_without_rendering()
    (axes, *rest) = panels(picture)
    assert len(rest) == (name == "diabetes-ridge-regression")
    assert "If nobody acts" in axes.get_title(loc="left") and picture.title in picture.alt


def test_of_many_records_a_sample_is_drawn_and_that_is_said(make):
    picture = regions_picture(make(3, n=900))
    drawn = sum(len(_offsets(panels(picture)[0], f"{kind}-{c}")) for kind in ("records", "members") for c in (0, 1))
    assert drawn == 502 and any("502 of 900" in text.get_text() for text in picture.figure.texts)


# -- moves and progress ---


def test_moves_are_sorted_by_cost_and_drawn_in_their_own_units(answered):
    problem = load("loan-small-corrections")
    x = problem.records.X[22].tolist()
    stays, lower = tuple(problem.records.X[5].tolist()), (x[0] - 6.4, *x[1:])
    moves = (
        MoveRecord(record=22, x=lower, y="default", weight=1.0, cost=1.85, changes={"income": (x[0], lower[0])}),
        MoveRecord(record=5, x=stays, y="repaid", weight=1.0, cost=3.0),
    )
    known = {"instance": problem.name, "instance_sha256": problem.sha256, "moves": moves}
    solution = answered[1].model_copy(update=known)
    picture = moves_picture(problem, solution)
    income = [feature.name for feature in problem.features].index("income")
    costs = [(-move.cost, move.record) for move in solution.moves]
    rows = [record for _, record in sorted(costs)]
    now = artist(panels(picture)[0], f"now-{income}").get_offsets().tolist()
    assert rows == [5, 22]
    assert [value for value, _ in now] == pytest.approx([problem.records.X[i, income] for i in rows])
    then = artist(panels(picture)[0], f"then-{income}").get_offsets().tolist()
    moved = [move for move in solution.moves if "income" in move.changes]
    assert then == [[pytest.approx(move.x[income]), rows.index(move.record)] for move in moved]
    assert "label from default to repaid" in picture.alt
    fewer = moves_picture(problem, solution, most=1)
    assert any("and 1 more members" in text.get_text() for text in fewer.figure.texts)


def test_progress_draws_what_was_reported_and_nothing_where_nothing_was_known():
    lines = [Progress(1.0, 1, None, 5.0), Progress(2.0, 2, 3.0, 4.0), Progress(3.0, 3, 4.0, 4.0)]
    picture = progress_picture(load("tenant-immutable"), lines)
    (axes,) = panels(picture)
    assert artist(axes, "bound").get_ydata().tolist() == [5.0, 4.0, 4.0]
    assert np.isnan(artist(axes, "primal").get_ydata()[0]) and artist(axes, "primal").get_ydata()[2] == 4.0
    assert "the gap is 0 %" in picture.title and "The bound goes from 5 to 4." in picture.alt
    with pytest.raises(InputError, match="no number to draw"):
        progress_picture(load("tenant-immutable"), [Progress(1.0, 0, None, None)])


def test_a_recorded_run_ends_with_the_verified_answer():
    last = recorded(load("tenant-immutable"), None)[-1]
    assert last.primal == last.bound and last.seconds > 0


def test_columns_span_the_same_in_scaled_units_and_last_digits_get_none():
    """Of scales 4 and 1: ranges as 4 to 1. Record 22's debt changes by a solver's last digits: no column."""
    problem = load("loan-small-corrections")
    scales = [feature.scale for feature in problem.features]
    x = problem.records.X[22]
    step = np.array([scale if j < 2 else 1e-9 for j, scale in enumerate(scales)])
    changes = {f.name: (x[j], x[j] + step[j]) for j, f in enumerate(problem.features)}
    move = MoveRecord(record=22, x=tuple(x + step), y="default", weight=1.0, cost=1.0, changes=changes)
    known = {"instance": problem.name, "instance_sha256": problem.sha256, "moves": (move,)}
    picture = moves_picture(problem, solve(problem, time_limit=1).solution.model_copy(update=known))
    first, second = panels(picture)[:2]
    spans = [axes.get_xlim()[1] - axes.get_xlim()[0] for axes in (first, second)]
    assert spans[0] / scales[0] == pytest.approx(spans[1] / scales[1]) and len(panels(picture)) == 4
    assert any(f"{problem.d - 2} more feature" in text.get_text() for text in picture.figure.texts)


# -- files ---


def test_svg_is_deterministic_and_has_words_for_those_who_cannot_see_it(answered):
    problem, solution = answered
    text = to_svg(regions_picture(problem, solution))
    assert text == to_svg(regions_picture(problem, solution)) and "dc:date" not in text
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.find(f"{space}title").text in root.find(f"{space}desc").text


def test_ids_are_given_once_and_what_refers_to_them_finds_them(answered):
    root = ElementTree.fromstring(to_svg(regions_picture(*answered), "one-"))
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    wanted = [value[1:] for one in root.iter() for name, value in one.items() if name.endswith("href")]
    wanted += [one.get("clip-path")[5:-1] for one in root.iter() if one.get("clip-path")]
    assert len(ids) == len(set(ids)) and wanted and set(wanted) <= set(ids)
    assert all(name.startswith("one-") for name in ids)


def test_regions_differ_in_grey():
    grey = sorted(float(np.dot((0.299, 0.587, 0.114), tint(c))) for c in range(3))
    assert min(np.diff(grey)) > 0.05


def test_titles_stand_apart_and_the_legend_is_inside(answered):
    """Two queries give panels three lines each; a long title wraps."""
    problem, solution = answered
    problem = replace(problem, title="A long title that says much " * 6)
    for picture in (regions_picture(problem, solution), regions_picture(load("diabetes-ridge-regression"))):
        figure = picture.figure
        figure.draw_without_rendering()
        title, legend = figure._suptitle.get_window_extent(), figure.legends[0].get_window_extent()
        for axes in figure.axes[:2]:
            if axes.get_title(loc="left"):
                head = axes._left_title.get_window_extent()
                assert head.y1 < title.y0 and axes.xaxis.label.get_window_extent().y0 > legend.y1
        caption = figure.texts[-1].get_window_extent()
        assert caption.y0 > 0 and legend.y0 > caption.y1 and legend.x0 > 0
    assert "Ground and line" in figure.texts[-1].get_text()


def test_the_callers_settings_stay_as_they_are(answered):
    with matplotlib.rc_context({"font.size": 33.0}):
        picture = moves_picture(*answered)
        assert matplotlib.rcParams["font.size"] == 33.0
    assert all(text.get_fontsize() >= 9 for text in picture.figure.findobj(matplotlib.text.Text))


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_files_are_written_the_same_each_time(tmp_path, form):
    picture = progress_picture(load("tenant-immutable"), [Progress(1.0, 1, 1.0, 2.0)])
    for name in ("a", "b"):
        save_picture(picture, tmp_path / f"{name}.{form}")
    assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()


def test_pyplot_is_never_loaded():
    program = "import sys; import oar_opt.pictures.regions; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# -- errors and the command ---


def test_errors_say_what_where_and_how(answered, make, random_rules):
    problem, solution = answered
    with pytest.raises(InputError, match=r"--features: 'raiting' is no feature \(did you mean 'rating'"):
        regions_picture(problem, None, ["raiting", "hours"])
    with pytest.raises(InputError, match="name two different features"):
        regions_picture(problem, None, ["rating"])
    with pytest.raises(InputError, match="the solution is for 'gig-two-colleagues'"):
        regions_picture(load("tenant-immutable"), solution)
    stranger = solution.model_copy(update={"moves": (solution.moves[0].model_copy(update={"record": 10**6}),)})
    with pytest.raises(InputError, match="is no member"):
        regions_picture(problem, stranger)
    with pytest.raises(InputError, match="has no moves"):
        moves_picture(problem, solution.model_copy(update={"moves": ()}))
    with pytest.raises(UnsupportedError, match="one feature only"):
        regions_picture(make(1, d=1))


@pytest.mark.parametrize(
    "kind, given, where",
    [
        ("pie", {}, "--kind"),
        ("moves", {}, "SOLUTION"),
        ("progress", {"has_solution": True}, "SOLUTION"),
        ("moves", {"has_solution": True, "features": ["a", "b"]}, "--features"),
        ("regions", {"time_limit": 3.0}, "--time-limit"),
    ],
)
def test_arguments_that_a_kind_does_not_take_are_refused(kind, given, where):
    with pytest.raises(InputError) as caught:
        check_kind(kind, **{"has_solution": False, "features": (), "time_limit": None, **given})
    assert caught.value.where == where and caught.value.fix


def test_the_command_writes_a_picture_of_the_instances_name(oar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = oar("plot", "loan-small-corrections", "--features", "income,age")
    assert code == 0 and "loan-small-corrections-regions.png: Loans" in out
    assert (tmp_path / "loan-small-corrections-regions.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = oar("plot", "loan-small-corrections", "-o", "x.gif")
    assert code == 2 and "end its name with .png, .svg, .pdf" in err


def test_a_solution_without_an_answer_gives_one_panel(answered):
    problem, solution = answered
    empty = {"status": "infeasible", "objective": None, "moves": (), "parameters": None, "queries": ()}
    picture = regions_picture(problem, solution.model_copy(update=empty))
    assert len(panels(picture)) == 1 and "no answer was found (infeasible)" in picture.title


def test_without_a_title_the_name_is_told(make):
    problem = replace(make(2), title="")
    assert regions_picture(problem).title.startswith(problem.name)
