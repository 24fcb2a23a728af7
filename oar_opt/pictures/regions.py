"""Decision regions before and after the collective acted, side by side with the same axes.

Regions and boundary are exact on the plane of :mod:`oar_opt.pictures.plane`: a linear learner's line ``w'x + b = 0``,
the cells of nearest centroids, for a regression the fitted number with the line at the threshold. After the moves the
learner is re-trained by :mod:`oar_opt.evaluate`, not taken from the solution. Of many records a sample is drawn.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from oar_opt.evaluate import Evaluation
from oar_opt.pictures.answer import outcome_after, outcome_before
from oar_opt.pictures.cells import Rectangle
from oar_opt.pictures.panel import View, draw_model, draw_records, draw_subjects
from oar_opt.pictures.picture import WIDTH, Picture, own_settings
from oar_opt.pictures.plane import Plane, plane_of
from oar_opt.pictures.style import INK, SHADES, colour, marker, tint
from oar_opt.problem import Indices, RecourseProblem
from oar_opt.report import class_codes, number, wants_words
from oar_opt.solution_file import Solution

MOST_OTHERS = 500
MOST_MEMBERS = 250
TOLD_QUERIES = 2
MARGIN = 0.07
"""Around the data, as a share of their range."""
HEIGHT = 7.4
LEGEND_COLUMNS = 5


def regions_picture(
    problem: RecourseProblem, solution: Solution | None = None, features: Sequence[str] = ()
) -> Picture:
    """Records and decision regions; with a solution's answer also those after its moves.

    Parameters
    ----------
    problem : the instance.
    solution : what was found for it; None, or one without an answer, gives one panel.
    features : the names of two features whose plane is drawn; by default the principal plane of the records.

    Raises
    ------
    InputError : unknown features, or a solution that is not of this instance.
    UnsupportedError : the records have one feature, or the update cannot be replayed.
    """
    plane = plane_of(problem, features)
    after = outcome_after(problem, solution) if solution else None
    outcomes = [outcome_before(problem), *([after] if after else [])]
    view = _view(problem, plane, after)
    title = _title(problem, solution, after)
    with own_settings(title):
        figure = _drawn(view, outcomes, title)
    return Picture(figure, title, _alt(view, outcomes, title))


# -- what is drawn ---


def _view(problem: RecourseProblem, plane: Plane, after: Evaluation | None) -> View:
    records = problem.records
    is_member = np.zeros(problem.n, dtype=bool)
    is_member[[member.record for member in problem.collective.members]] = True
    acting = sorted(after.moves, key=lambda move: -move.cost) if after else []
    first = np.array([move.record for move in acting[:MOST_MEMBERS]], dtype=np.int64)
    rest = np.setdiff1d(np.flatnonzero(is_member), first)
    members = np.concatenate([first, _sample(rest, MOST_MEMBERS - len(first))])
    others = _sample(np.flatnonzero(~is_member), MOST_OTHERS)
    shown = np.concatenate([others, members])
    subjects = np.array([subject.x for subject in (*problem.queries, *problem.guards)])
    later = after.records.X[members] if after else records.X[members]
    Z = plane.project(np.vstack([records.X[shown], later, subjects]))
    low, high = Z.min(axis=0), Z.max(axis=0)
    room = MARGIN * np.where(high > low, high - low, 1.0)
    positive = records.s[records.s > 0]
    shades = Normalize(float(records.y.min()), float(max(records.y.max(), records.y.min() + 1e-9)))
    unit = float(np.median(positive)) if len(positive) else 1.0
    return View(problem, plane, Rectangle(low - room, high + room), others, members, unit, shades)


def _sample(rows: Indices, count: int) -> Indices:
    """At most so many of the rows, the same ones each time."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, max(count, 0), replace=False))


def _drawn(view: View, outcomes: Sequence[Evaluation | None], title: str) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT))
    right = 0.9 if view.is_regression else 0.98
    heading, caption = textwrap.fill(title, 96), textwrap.fill(_caption(view), 180)
    heads = [
        _panel_title(view.problem, outcome, name, 62 if len(outcomes) > 1 else 120)
        for outcome, name in zip(outcomes, _panel_names(outcomes), strict=True)
    ]
    handles, labels = _legend(view, outcomes)
    # Inches from the top and the bottom edge, by the numbers of lines.
    top = 0.3 + 0.22 * _lines(heading) + 0.19 * max(map(_lines, heads))
    below = 0.12 + 0.16 * _lines(caption)
    bottom = below + 0.25 * math.ceil(len(handles) / LEGEND_COLUMNS) + 0.85
    figure.suptitle(heading, x=0.075, y=1 - 0.12 / HEIGHT, ha="left", va="top", weight="bold")
    panels = figure.subplots(1, len(outcomes), sharex=True, sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.075, right=right, top=1 - top / HEIGHT, bottom=bottom / HEIGHT, wspace=0.06)
    for axes, outcome, head in zip(panels, outcomes, heads, strict=True):
        _panel(axes, view, outcome, head)
    panels[0].set_ylabel(view.plane.axes[1])
    if view.is_regression:
        place = (right + 0.02, bottom / HEIGHT, 0.015, 1 - (top + bottom) / HEIGHT)
        bar = figure.colorbar(ScalarMappable(view.shades, SHADES), cax=figure.add_axes(place))
        bar.set_label("recorded number (markers), predicted number (ground, paler)")
    figure.legend(
        handles=handles,
        labels=labels,
        loc="lower center",
        bbox_to_anchor=(0.5, below / HEIGHT),
        ncols=LEGEND_COLUMNS,
        frameon=False,
        columnspacing=1.6,
    )
    figure.text(0.5, 0.1 / HEIGHT, caption, ha="center", va="bottom", fontsize=9)
    return figure


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _panel(axes: Axes, view: View, outcome: Evaluation | None, head: str) -> None:
    axes.set_xlim(view.rectangle.low[0], view.rectangle.high[0])
    axes.set_ylim(view.rectangle.low[1], view.rectangle.high[1])
    records = outcome.records if outcome else view.problem.records
    if outcome is not None:
        draw_model(axes, view, outcome.parameters)
    draw_records(axes, view, records, outcome.moves if outcome else ())
    draw_subjects(axes, view, records)
    axes.set_title(head, loc="left")
    axes.set_xlabel(view.plane.axes[0])


# -- words ---


def _panel_names(outcomes: Sequence[Evaluation | None]) -> list[str]:
    names = ["If nobody acts"]
    if len(outcomes) > 1 and outcomes[1] is not None:
        count = len(outcomes[1].moves)
        names.append(f"After {count} member{'s' * (count != 1)} acted")
    return names


def _panel_title(problem: RecourseProblem, outcome: Evaluation | None, name: str, width: int) -> str:
    return "\n".join(textwrap.fill(line, width) for line in [name, *_query_lines(problem, outcome)])


def _query_lines(problem: RecourseProblem, outcome: Evaluation | None) -> list[str]:
    if outcome is None:
        return ["the learner is undefined: no decisions"]
    if len(problem.queries) > TOLD_QUERIES:
        return [f"{sum(outcome.helped)} of {len(problem.queries)} queries get what they want"]
    lines = []
    for query, margin in zip(problem.queries, outcome.margins, strict=True):
        decision = outcome.parameters.decision(problem, query)
        told = number(decision) if isinstance(decision, float) else str(decision)
        lines.append(f"{query.name}: {told}, wants {wants_words(problem, query)} (margin {margin:.3g})")
    return lines


def _title(problem: RecourseProblem, solution: Solution | None, after: Evaluation | None) -> str:
    name = problem.title or problem.name
    if after is not None:
        count, members = len(after.moves), len(problem.collective.members)
        helped = sum(margin > 0 for margin in after.margins)
        which = "the query is" if len(problem.queries) == 1 else f"{helped} of {len(problem.queries)} queries are"
        negation = "" if helped or len(problem.queries) > 1 else "not "
        return f"{name}: {count} of {members} members act, and {which} {negation}decided as wanted"
    if solution is not None:
        return f"{name}: the decisions if nobody acts; no answer was found ({solution.status})"
    return f"{name}: the decisions if nobody acts"


def _caption(view: View) -> str:
    query = view.problem.queries[0].name
    parts = []
    if not view.plane.is_all:
        what = "Ground and line: the model's predictions" if view.is_regression else "Regions: the model's decisions"
        which = "number" if view.is_regression else "decision"
        parts.append(
            f"{what} on the plane through query '{query}'. Everything else is drawn at its projection onto this plane; "
            f"its own {which} can differ."
        )
    shown, n = len(view.others) + len(view.members), view.problem.n
    if shown < n:
        parts.append(f"{shown} of {n:,} records are drawn, members first.")
    return " ".join(parts)


def _alt(view: View, outcomes: Sequence[Evaluation | None], title: str) -> str:
    problem = view.problem
    axes = " against ".join(name.replace("\n", ": ") for name in view.plane.axes)
    shown = len(view.others) + len(view.members)
    parts = [f"{title}.", f"A scatter plot of {shown} records, {len(view.members)} of them members, {axes}."]
    for outcome, name in zip(outcomes, _panel_names(outcomes), strict=True):
        parts.append(f"{name}: {'; '.join(_query_lines(problem, outcome))}.")
    after = outcomes[1] if len(outcomes) > 1 else None
    if after is not None:
        parts.append(_alt_moves(problem, after))
    return " ".join(parts)


def _alt_moves(problem: RecourseProblem, after: Evaluation) -> str:
    old = problem.records
    counts = (
        (sum(bool((old.X[m.record] != m.x).any()) for m in after.moves), "moved (arrows)"),
        (sum(bool(old.y[m.record] != m.y) for m in after.moves), "with another label (rings)"),
        (sum(m.s == 0 and bool(old.s[m.record] > 0) for m in after.moves), "withheld (crosses)"),
    )
    told = [f"{count} {words}" for count, words in counts if count]
    return (
        f"Records in the right panel: {', '.join(told)}; the regions are those of the re-trained model." if told else ""
    )


def _legend(view: View, outcomes: Sequence[Evaluation | None]) -> tuple[list[Any], list[str]]:
    """What the figure has, and nothing else: handles, labels."""
    problem = view.problem
    found: list[tuple[Any, str]] = []
    for c, (label, _) in enumerate(class_codes(problem)):
        # On the colour of its region, the mark of its records.
        mark = _mark(marker(c), markerfacecolor=colour(c), markeredgecolor="white")
        found.append(((Patch(facecolor=tint(c), edgecolor="#888888"), mark), f"{label}: records, decisions"))
    line = "predicted number is the threshold" if view.is_regression else "decision boundary"
    found.append((Line2D([], [], color=INK, linewidth=1.8), line))
    found.append((_mark("o", markerfacecolor="#BBBBBB", markeredgecolor=INK, markersize=8), "member"))
    found.append((_mark("*", markerfacecolor="#FFFF66", markeredgecolor="black", markersize=15), "query"))
    if problem.guards:
        found.append((_mark("D", markerfacecolor="white", markeredgecolor="black", markersize=8), "guard"))
    after = outcomes[1] if len(outcomes) > 1 else None
    if after is not None:
        found += _legend_of_moves(problem, after)
    return [handle for handle, _ in found], [label for _, label in found]


def _legend_of_moves(problem: RecourseProblem, after: Evaluation) -> list[tuple[Any, str]]:
    old, moves = problem.records, after.moves
    found: list[tuple[Any, str]] = []
    if any((old.X[move.record] != move.x).any() for move in moves):
        found.append((_mark("$\\rightarrow$", color=INK, markersize=16), "move from a hollow circle"))
    if any(old.y[move.record] != move.y for move in moves):
        what = "label changed" if problem.classes else "target changed"
        found.append((_mark("o", markerfacecolor="none", markeredgecolor="black", markersize=13), what))
    if any(move.s == 0 and old.s[move.record] > 0 for move in moves):
        found.append((_mark("x", markeredgecolor="black", markersize=9, markeredgewidth=2.2), "withheld"))
    if len(set(old.s.tolist()) | {move.s for move in moves if move.s}) > 1:
        found.append((_mark("o", markerfacecolor="#BBBBBB", markeredgecolor="white", markersize=10), "area: weight"))
    return found


def _mark(shape: str, **look: Any) -> Line2D:
    settings: dict[str, Any] = {"markersize": 7, **look}
    return Line2D([], [], linestyle="none", marker=shape, **settings)
