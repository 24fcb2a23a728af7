"""Who changes what: a row for each acting member, a column for each changed feature, now and then joined by a line.

Features are in scaled units (the value divided by the feature's ``scale``), as norms and costs measure them. Members
are sorted by cost, most first. Labels and weights are told in words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from oar_opt.errors import InputError
from oar_opt.pictures.answer import check_belongs
from oar_opt.pictures.picture import WIDTH, Picture, own_settings
from oar_opt.pictures.style import ACCENT, INK
from oar_opt.problem import RecourseProblem
from oar_opt.report import move_changes, number
from oar_opt.solution_file import MoveRecord, Solution

MOST_ROWS = 30
MOST_COLUMNS = 6
TOLD = 8
"""Members in the alternative text."""
ROW = 0.3
"""Inches."""


def moves_picture(problem: RecourseProblem, solution: Solution, most: int = MOST_ROWS) -> Picture:
    """What the acting members change; at most so many of them, those of the highest cost.

    Raises
    ------
    InputError : the solution is another instance's, or nobody acts in it.
    """
    check_belongs(problem, solution)
    if not solution.moves:
        raise InputError("SOLUTION", f"has no moves (status {solution.status})", "draw a solution in which members act")
    ordered = sorted(solution.moves, key=lambda move: (-move.cost, move.record))
    shown = ordered[: max(most, 1)]
    title = _title(problem, solution)
    features = _columns(problem, shown)
    with own_settings(title):
        figure = _drawn(problem, shown, features, title, _rest(problem, ordered, shown, features))
    return Picture(figure, title, _alt(problem, shown, title, len(ordered)))


def _title(problem: RecourseProblem, solution: Solution) -> str:
    count, members = len(solution.moves), len(problem.collective.members)
    cost = sum(move.cost for move in solution.moves)
    return (
        f"{problem.title or problem.name}: what {count} of {members} members change, at the total cost {number(cost)}"
    )


def _columns(problem: RecourseProblem, moves: Sequence[MoveRecord]) -> list[int]:
    """The features that change, in their order; of many those that change most."""
    total = [0.0] * problem.d
    for move in moves:
        for j, feature in enumerate(problem.features):
            if feature.name in move.changes:
                old, new = move.changes[feature.name]
                total[j] += abs(new - old) / feature.scale
    largest = sorted((j for j in range(problem.d) if total[j]), key=lambda j: -total[j])[:MOST_COLUMNS]
    return sorted(largest)


def _rest(
    problem: RecourseProblem, every: Sequence[MoveRecord], shown: Sequence[MoveRecord], features: Sequence[int]
) -> str:
    """What there is no room for, in words."""
    parts = []
    if len(every) > len(shown):
        parts.append(f"and {len(every) - len(shown)} more members, of lower or equal cost")
    names = {problem.features[j].name for j in features}
    hidden = {name for move in shown for name in move.changes} - names
    if hidden:
        parts.append(f"and {len(hidden)} more features that change less")
    return "; ".join(parts)


def _drawn(
    problem: RecourseProblem, moves: Sequence[MoveRecord], features: Sequence[int], title: str, rest: str
) -> Figure:
    rows = len(moves)
    words = [_words(problem, move) for move in moves]
    height = ROW * rows + 2.3
    figure = Figure(figsize=(WIDTH, height))
    figure.suptitle(textwrap.fill(title, 100), x=0.02, y=1 - 0.15 / height, ha="left", va="top", weight="bold")
    widths = [1.0] * len(features) + [(1.5 if features else 4.0) if any(words) else 0.01, 0.45]
    columns = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
    figure.subplots_adjust(left=0.075, right=0.985, top=1 - 0.95 / height, bottom=1.05 / height, wspace=0.12)
    columns[0].set_ylim(rows - 0.5, -0.5)
    columns[0].set_yticks(range(rows), [str(move.record) for move in moves])
    columns[0].set_ylabel("member (record)")
    for axes, j in zip(columns, features, strict=False):
        _feature_column(axes, problem, moves, j)
    _text_column(columns[-2], words, "label, weight" if any(words) else "")
    _text_column(columns[-1], [number(move.cost) for move in moves], "cost")
    if features:
        now = Line2D([], [], linestyle="none", marker="o", markerfacecolor="white", markeredgecolor=INK, label="now")
        then = Line2D([], [], linestyle="none", marker="D", color=ACCENT, label="then")
        note = "value, in the column's own range"
        figure.legend(
            handles=[now, then],
            title=note,
            loc="lower left",
            bbox_to_anchor=(0.07, 0.0),
            ncols=2,
            frameon=False,
        )
    figure.text(0.985, 0.12 / height, rest, ha="right", va="bottom", style="italic")
    return figure


def _feature_column(axes: Axes, problem: RecourseProblem, moves: Sequence[MoveRecord], j: int) -> None:
    feature = problem.features[j]
    now = [float(problem.records.X[move.record, j]) / feature.scale for move in moves]
    then = [move.x[j] / feature.scale for move in moves]
    moved = [row for row in range(len(moves)) if now[row] != then[row]]
    for row in range(0, len(moves), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", zorder=0)
    lines = [[(now[row], row), (then[row], row)] for row in moved]
    axes.add_collection(LineCollection(lines, colors=ACCENT, linewidths=2.4, zorder=2))
    axes.scatter(now, range(len(moves)), s=38, c="white", edgecolors=INK, linewidths=1.2, zorder=3, gid=f"now-{j}")
    axes.scatter([then[row] for row in moved], moved, s=34, marker="D", c=ACCENT, zorder=4, gid=f"then-{j}")
    axes.margins(x=0.12)
    axes.set_title(textwrap.fill(feature.name.replace("_", " "), 18), fontsize=10)
    axes.set_xlabel("value" if feature.scale == 1 else f"value / {number(feature.scale)}")
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _text_column(axes: Axes, words: Sequence[str], title: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", length=0)
    for row, text in enumerate(words):
        axes.text(0, row, text, va="center")


def _words(problem: RecourseProblem, move: MoveRecord) -> str:
    """Changed labels and weights."""
    parts = []
    for what, now, then in move_changes(problem, move):
        if what in move.changes or what == "nothing":
            continue
        if what == "weight" and move.weight == 0:
            parts.append("withheld")
        else:
            parts.append(f"{what}: {now} to {then}")
    return "; ".join(parts)


def _alt(problem: RecourseProblem, shown: Sequence[MoveRecord], title: str, count: int) -> str:
    lines = []
    for move in shown[:TOLD]:
        changes = [f"{what} from {now} to {then}" for what, now, then in move_changes(problem, move) if now]
        lines.append(f"Member {move.record}: {', '.join(changes) or 'nothing'} (cost {number(move.cost)}).")
    more = f" And {count - TOLD} more members." if count > TOLD else ""
    return f"{title}. {' '.join(lines)}{more}"
