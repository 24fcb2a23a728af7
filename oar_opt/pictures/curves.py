"""A sweep's curves: what each method reaches over a radius, a size or a budget, and the proved bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from oar_opt.compare import EXACT
from oar_opt.errors import InputError
from oar_opt.pictures.picture import WIDTH, Picture, own_settings
from oar_opt.problem import RecourseProblem
from oar_opt.report import GOAL_WORDS, number
from oar_opt.sweep import Axis, Point, bound_curve, curve
from oar_opt.sweep_words import methods_of

LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#8c564b", "#17becf", "#bcbd22")
"""Told apart by the colour-blind as well (the first seven, after Okabe and Ito), and by their markers in grey."""
MARKERS = ("s", "^", "v", "D", "P", "X", "<", ">", "h", "p")
HEIGHT = 6.0


def curves_picture(problem: RecourseProblem, axis: Axis, points: Sequence[Point], what: str = "objective") -> Picture:
    """One line for each method, the joint optimum in black, and its bound dashed where that is the goal's.

    Parameters
    ----------
    points : of a sweep, in order of their values.
    what : one of :data:`oar_opt.sweep.CURVES`.

    Raises
    ------
    InputError : there are no points.
    """
    if not points:
        raise InputError("sweep", "has no points", "give at least one value")
    words = GOAL_WORDS[problem.goal] if what == "objective" else what
    title = f"{problem.name}: {words} over {axis.words}"
    names = methods_of(points)
    with own_settings(title):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        if EXACT in names:
            _line(axes, curve(points, EXACT, what), "joint optimum", color="black", marker="o", linewidth=3.5)
        if what == "objective":
            _line(axes, bound_curve(points), "bound", color="0.45", linestyle="--", linewidth=1.5, marker=".")
        # Open markers that grow, on top: methods that reach the same are all seen.
        for k, name in enumerate(name for name in names if name != EXACT):
            look = {"color": LINES[k % len(LINES)], "marker": MARKERS[k % len(MARKERS)], "markerfacecolor": "none"}
            _line(axes, curve(points, name, what), name.replace("_", " "), linewidth=1.2, markersize=6 + k, **look)
        axes.set_xlabel(axis.words)
        axes.set_ylabel(words)
        axes.grid(alpha=0.25)
        figure.suptitle(title)
        if axes.lines:
            figure.legend(loc="outside right upper")
        else:
            axes.text(0.5, 0.5, "no method has an answer at any value", ha="center", transform=axes.transAxes)
    return Picture(figure, title, _alt(title, points, names, what))


def _line(axes: Any, line: Sequence[tuple[float, float | None]], label: str, **style: Any) -> None:
    # Not joined across a value where nothing is known: a bound's line could pass below the optimum.
    numbers = [math.nan if number is None else number for _, number in line]
    if not all(map(math.isnan, numbers)):
        axes.plot([value for value, _ in line], numbers, label=label, **style)


def _alt(title: str, points: Sequence[Point], names: Sequence[str], what: str) -> str:
    """The ends of every line, in words."""
    parts = []
    for name in names:
        known = [(value, found) for value, found in curve(points, name, what) if found is not None]
        label = "joint optimum" if name == EXACT else name.replace("_", " ")
        if not known:
            parts.append(f"{label}: no answer anywhere")
            continue
        (first, start), (last, end) = known[0], known[-1]
        where = f"{number(start)} at {number(first)}"
        parts.append(f"{label}: {where}" + ("" if first == last else f", {number(end)} at {number(last)}"))
    return f"Line chart, {title}. {'; '.join(parts)}."
