"""Who changes what: a row for each acting member, a column for each changed feature, now and then joined by a line.

Each column is in its feature's own unit and spans the same number of scaled units (values divided by the feature's
``scale``), as norms and costs measure them: lines of the same length are changes of the same size. Members are sorted
by cost, most first. Labels and weights are told in words. What changes by less than a thousandth of the largest change
is not seen at that size and gets no column.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from oar_opt.errors import InputError
from oar_opt.pictures.answer import check_belongs
from oar_opt.pictures.picture import WIDTH, Picture, own_settings
from oar_opt.pictures.style import ACCENT, INK
from oar_opt.problem import Indices, Matrix, RecourseProblem, Vector
from oar_opt.report import move_changes, number
from oar_opt.solution_file import MoveRecord, Solution

MOST_ROWS = 30
MOST_COLUMNS = 6
SEEN = 1e-3
"""Of the largest change; smaller ones, such as a solver's last digits, are not drawn."""
TOLD = 8
"""Members in the alternative text."""
ROW = 0.3
"""Inches."""
ROOM = 1.24
"""Of a column, as a multiple of the widest range."""


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
    """The features that are seen to change, in their order; of many those that change most."""
    sizes = _sizes(problem, moves)
    total, seen = sizes.sum(axis=0), sizes.max(axis=0) > SEEN * sizes.max()
    largest = sorted(np.flatnonzero(seen).tolist(), key=lambda j: -total[j])[:MOST_COLUMNS]
    return sorted(largest)


def _sizes(problem: RecourseProblem, moves: Sequence[MoveRecord]) -> Matrix:
    """Every move's change of every feature, in scaled units: ``(moves, d)``."""
    now = problem.records.X[[move.record for move in moves]]
    return np.asarray(np.abs(np.array([move.x for move in moves]) - now) / problem.scales)


def _rest(
    problem: RecourseProblem, every: Sequence[MoveRecord], shown: Sequence[MoveRecord], features: Sequence[int]
) -> str:
    """What there is no room for, in words."""
    parts = ["all columns span the same number of scaled units"] if len(features) > 1 else []
    if len(every) > len(shown):
        parts.append(f"and {len(every) - len(shown)} more members, of lower or equal cost")
    names = {problem.features[j].name for j in features}
    hidden = {name for move in shown for name in move.changes} - names
    if hidden:
        parts.append(
            f"and {len(hidden)} more feature{'s' * (len(hidden) > 1)} that change{'s' * (len(hidden) == 1)} less"
        )
    return "; ".join(parts)


def _drawn(
    problem: RecourseProblem, moves: Sequence[MoveRecord], features: Sequence[int], title: str, rest: str
) -> Figure:
    rows = len(moves)
    words = [_words(problem, move) for move in moves]
    height = ROW * rows + 1.9
    figure = Figure(figsize=(WIDTH, height))
    figure.suptitle(textwrap.fill(title, 100), x=0.02, y=1 - 0.15 / height, ha="left", va="top", weight="bold")
    widths = [1.0] * len(features) + [(1.5 if features else 4.0) if any(words) else 0.01, 0.45]
    columns = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
    figure.subplots_adjust(left=0.075, right=0.985, top=1 - 0.95 / height, bottom=0.7 / height, wspace=0.12)
    columns[0].set_ylim(rows - 0.5, -0.5)
    columns[0].set_yticks(range(rows), [str(move.record) for move in moves])
    columns[0].set_ylabel("member (record)")
    _feature_columns(columns, problem, moves, features)
    _text_column(columns[-2], words, "label, weight" if any(words) else "")
    _text_column(columns[-1], [number(move.cost) for move in moves], "cost")
    if features:
        now = Line2D([], [], linestyle="none", marker="o", markerfacecolor="white", markeredgecolor=INK, label="now")
        then = Line2D([], [], linestyle="none", marker="D", color=ACCENT, label="then")
        figure.legend(handles=[now, then], loc="lower left", bbox_to_anchor=(0.065, 0.0), ncols=2, frameon=False)
    figure.text(0.985, 0.1 / height, rest, ha="right", va="bottom", style="italic")
    return figure


def _feature_columns(
    columns: Sequence[Axes], problem: RecourseProblem, moves: Sequence[MoveRecord], features: Sequence[int]
) -> None:
    records = [move.record for move in moves]
    now, then, sizes = problem.records.X[records], np.array([move.x for move in moves]), _sizes(problem, moves)
    low, high = np.minimum(now, then).min(axis=0), np.maximum(now, then).max(axis=0)
    span = max((float((high[j] - low[j]) / problem.scales[j]) for j in features), default=1.0)
    for axes, j in zip(columns, features, strict=False):
        moved = np.flatnonzero(sizes[:, j] > SEEN * sizes.max())
        _feature_column(axes, now[:, j], then[:, j], moved, j)
        middle, half = (low[j] + high[j]) / 2, ROOM * span * problem.scales[j] / 2
        axes.set_xlim(middle - half, middle + half)
        axes.set_title(textwrap.fill(problem.features[j].name.replace("_", " "), 18), fontsize=10)


def _feature_column(axes: Axes, now: Vector, then: Vector, moved: Indices, j: int) -> None:
    for row in range(0, len(now), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", zorder=0)
    lines = [[(now[row], row), (then[row], row)] for row in moved]
    axes.add_collection(LineCollection(lines, colors=ACCENT, linewidths=2.4, zorder=2))
    axes.scatter(now, range(len(now)), s=38, c="white", edgecolors=INK, linewidths=1.2, zorder=3, gid=f"now-{j}")
    axes.scatter(then[moved], moved, s=34, marker="D", c=ACCENT, zorder=4, gid=f"then-{j}")
    axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _text_column(axes: Axes, words: Sequence[str], title: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", length=0)
    for row, text in enumerate(words):
        axes.text(0, row, text, va="center_baseline")


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
