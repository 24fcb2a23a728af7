"""One panel of decision regions: the model's cells, the records, the members' moves, queries and guards.

Every group is one artist with a ``gid``, by which it is found again: ``records-C``, ``members-C`` (class ``C``),
``gone``, ``moves``, ``relabelled``, ``withheld``, ``queries``, ``guards``, ``boundary``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.pictures.cells import Rectangle, affine_scores, boundaries, cells
from oar_opt.pictures.plane import Plane
from oar_opt.pictures.style import INK, SHADES, colour, marker, pale_shades, tint
from oar_opt.problem import Flags, Indices, Move, Query, Records, RecourseProblem, Task, Vector

AREA = 26.0
"""Of a record's marker, in square points, at the weight 1."""
MEMBER = 58.0
LEAST, MOST = 0.3, 4.0
"""Weights beyond are drawn like these."""
LEVELS = 10
GRID = 60


@dataclass(frozen=True, eq=False)
class View:
    """What both panels share: ``others`` are the drawn records of no member, ``members`` the drawn members."""

    problem: RecourseProblem
    plane: Plane
    rectangle: Rectangle
    others: Indices
    members: Indices
    unit: float
    """The weight that is drawn as 1."""
    shades: Normalize
    """Colours of numbers, for a regression."""

    @property
    def is_regression(self) -> bool:
        return self.problem.task is Task.REGRESSION

    def classes(self, y: Vector) -> Indices:
        """Positions of classes, all 0 for numbers."""
        if self.is_regression:
            return np.zeros(len(y), dtype=np.int64)
        return np.asarray(y if self.problem.task is Task.MULTICLASS else y > 0, dtype=np.int64)


def draw_model(axes: Axes, view: View, parameters: Parameters) -> None:
    """Regions and boundaries; for a regression the fitted number and the lines at the thresholds."""
    axes.set_xlim(view.rectangle.low[0], view.rectangle.high[0])
    axes.set_ylim(view.rectangle.low[1], view.rectangle.high[1])
    if view.is_regression:
        assert isinstance(parameters, LinearParameters)
        _draw_numbers(axes, view, parameters)
        return
    slopes, constants = affine_scores(parameters, view.plane)
    for c, polygon in enumerate(cells(slopes, constants, view.rectangle)):
        if len(polygon) > 2:
            axes.add_collection(PolyCollection([polygon], facecolors=[tint(c)], zorder=0, gid=f"region-{c}"))
    _draw_lines(axes, boundaries(slopes, constants, view.rectangle))


def _draw_lines(axes: Axes, segments: Sequence[np.ndarray]) -> None:
    axes.add_collection(LineCollection(list(segments), colors=INK, linewidths=1.8, zorder=2, gid="boundary"))


def _draw_numbers(axes: Axes, view: View, parameters: LinearParameters) -> None:
    low, high = view.rectangle.low, view.rectangle.high
    a, c = view.plane.restrict(np.array(parameters.w), parameters.b)
    first, second = np.meshgrid(np.linspace(low[0], high[0], GRID), np.linspace(low[1], high[1], GRID))
    values = a[0] * first + a[1] * second + c
    levels = np.linspace(float(view.shades.vmin or 0.0), float(view.shades.vmax or 1.0), LEVELS + 1)
    axes.contourf(first, second, values, levels, norm=view.shades, cmap=pale_shades(), extend="both", zorder=0)
    segments = []
    for threshold in dict.fromkeys(query.threshold for query in view.problem.queries):
        slopes, constants = np.array([a, np.zeros(2)]), np.array([c - threshold, 0.0])
        segments += boundaries(slopes, constants, view.rectangle)
    _draw_lines(axes, segments)


# -- records ---


def draw_records(axes: Axes, view: View, records: Records, moves: Sequence[Move] = ()) -> None:
    """Records as they are after the moves; what moved has its arrow, and a pale mark where it was."""
    away = {move.record: move for move in moves}
    _scatter(axes, view, records, view.others, is_member=False)
    _scatter(axes, view, records, view.members, is_member=True)
    acting = np.array([i for i in view.members.tolist() if i in away], dtype=np.int64)
    if len(acting):
        _draw_moves(axes, view, records, acting)


def _scatter(axes: Axes, view: View, records: Records, shown: Indices, *, is_member: bool) -> None:
    codes = view.classes(records.y[shown])
    for c in sorted(set(codes.tolist())):
        rows = shown[codes == c]
        Z = view.plane.project(records.X[rows])
        name, area = ("members", MEMBER) if is_member else ("records", AREA)
        look: dict[str, Any] = {"color": colour(c)}
        if view.is_regression:
            look = {"c": records.y[rows], "cmap": SHADES, "norm": view.shades}
        axes.scatter(
            Z[:, 0],
            Z[:, 1],
            s=area * np.clip(records.s[rows] / view.unit, LEAST, MOST),
            marker=marker(c),
            edgecolors=INK if is_member else "white",
            linewidths=1.3 if is_member else 0.5,
            alpha=1.0 if is_member else 0.75,
            zorder=5 if is_member else 3,
            gid=f"{name}-{c}",
            **look,
        )


def _draw_moves(axes: Axes, view: View, records: Records, acting: Indices) -> None:
    problem = view.problem
    before, after = view.plane.project(problem.records.X[acting]), view.plane.project(records.X[acting])
    moved = (problem.records.X[acting] != records.X[acting]).any(axis=1)
    if moved.any():
        start, step = before[moved], (after - before)[moved]
        axes.scatter(
            start[:, 0],
            start[:, 1],
            s=30,
            facecolors="none",
            edgecolors="#666666",
            linewidths=0.9,
            zorder=4,
            gid="gone",
        )
        axes.quiver(
            start[:, 0],
            start[:, 1],
            step[:, 0],
            step[:, 1],
            angles="xy",
            scale_units="xy",
            scale=1,
            units="inches",
            width=0.024,
            headwidth=4.5,
            headlength=5,
            headaxislength=4.5,
            minlength=0.5,
            color=INK,
            edgecolor="white",
            linewidth=0.4,
            zorder=6,
            gid="moves",
        )
    _mark(axes, after, problem.records.y[acting] != records.y[acting], "relabelled")
    _mark(axes, after, (records.s[acting] == 0) & (problem.records.s[acting] > 0), "withheld")


def _mark(axes: Axes, at: np.ndarray, which: Flags, gid: str) -> None:
    if not which.any():
        return
    if gid == "withheld":
        axes.scatter(at[which, 0], at[which, 1], s=95, marker="x", c="black", linewidths=2.2, zorder=7, gid=gid)
    else:
        axes.scatter(
            at[which, 0], at[which, 1], s=190, facecolors="none", edgecolors="black", linewidths=1.8, zorder=7, gid=gid
        )


# -- subjects ---


def draw_subjects(axes: Axes, view: View, records: Records) -> None:
    """Queries as stars, guards as diamonds, all with their names; ``records`` are those that the panel shows."""
    groups = (
        (view.problem.guards, "D", 75.0, "#FFFFFF", "guards"),
        (view.problem.queries, "*", 330.0, "#FFFF66", "queries"),
    )
    for subjects, shape, area, fill, gid in groups:
        if subjects:
            Z = view.plane.project(np.array([subject.x for subject in subjects]))
            axes.scatter(
                Z[:, 0], Z[:, 1], s=area, marker=shape, c=fill, edgecolors="black", linewidths=1.5, zorder=9, gid=gid
            )
    _name(axes, view, records, (*view.problem.queries, *view.problem.guards))


SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
"""Right or left, up or down of a mark: where its name may stand."""


def _name(axes: Axes, view: View, records: Records, subjects: Sequence[Query]) -> None:
    """Names beside the marks, in the frame, where no earlier name is and few records are."""
    dots = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    shown = np.concatenate([view.others, view.members])
    at = view.plane.project(np.array([subject.x for subject in subjects]))
    marks = axes.transData.transform(np.vstack([view.plane.project(records.X[shown]), at]))
    taken: list[Bbox] = []
    for subject, z in zip(subjects, at, strict=True):
        place = axes.transData.transform(z)
        boxes = [_beside(place, subject.name, side, dots) for side in SIDES]
        box = min(
            boxes,
            key=lambda b: (
                b.padded(4 * dots).count_contains(marks)
                + 50 * b.count_overlaps(taken)
                + 100 * (not (frame.fully_contains(*b.min) and frame.fully_contains(*b.max)))
            ),
        )
        taken.append(box)
        axes.annotate(
            subject.name,
            z,
            xytext=tuple((box.min - place) / dots),
            textcoords="offset points",
            weight="bold",
            zorder=10,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _beside(place: Vector, name: str, side: tuple[int, int], dots: float) -> Bbox:
    """About where a name stands on that side of a mark, in dots."""
    right, up = side
    width, height, away = 6.4 * len(name) * dots, 13 * dots, 8 * dots
    x = place[0] + (away if right > 0 else -away - width if right < 0 else -width / 2)
    y = place[1] + (away if up > 0 else -away - height)
    return Bbox.from_bounds(float(x), float(y), width, height)
