"""The best answer and the bound over the time of a solve; what lies between them is not settled.

Both are steps: they hold from the moment at which they were reported. Lines without a number yet begin later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oar_opt.errors import InputError
from oar_opt.pictures.picture import WIDTH, Picture, own_settings
from oar_opt.pictures.style import colour
from oar_opt.problem import RecourseProblem
from oar_opt.report import GOAL_WORDS, number
from oar_opt.result import Progress, relative_gap

HEIGHT = 5.6


def progress_picture(problem: RecourseProblem, lines: Sequence[Progress]) -> Picture:
    """Best answer and bound over the seconds of the given lines, in the goal's unit.

    Raises
    ------
    InputError : none of the lines has a number.
    """
    lines = sorted(lines, key=lambda line: line.seconds)
    if not any(_finite(line.primal) or _finite(line.bound) for line in lines):
        raise InputError("--kind", "progress has no number to draw: neither an answer nor a bound", "allow more time")
    title = _title(problem, lines[-1])
    with own_settings(title):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        figure.suptitle(title, x=0.08, y=0.965, ha="left", weight="bold")
        axes = figure.subplots()
        figure.subplots_adjust(left=0.08, right=0.97, top=0.88, bottom=0.2)
        _draw(axes, lines)
        axes.set_xlabel("seconds")
        axes.set_ylabel(f"{GOAL_WORDS[problem.goal]} ({'more' if problem.goal.maximises else 'less'} is better)")
        figure.legend(loc="lower center", ncols=3, frameon=False)
    return Picture(figure, title, _alt(problem, lines, title))


def _draw(axes: Axes, lines: Sequence[Progress]) -> None:
    seconds = [line.seconds for line in lines]
    primal, bound = [_or_nan(line.primal) for line in lines], [_or_nan(line.bound) for line in lines]
    known = [_finite(line.primal) and _finite(line.bound) for line in lines]
    if any(known):
        axes.fill_between(
            seconds, primal, bound, where=known, step="post", color="#DDDDDD", label="open gap", linewidth=0
        )
    settings: dict[str, Any] = {"where": "post", "linewidth": 2.2, "markersize": 6}
    if any(map(math.isfinite, bound)):
        axes.step(seconds, bound, color=colour(0), linestyle="--", marker="v", label="bound", gid="bound", **settings)
    if any(map(math.isfinite, primal)):
        axes.step(seconds, primal, color=colour(5), marker="o", label="best answer", gid="primal", **settings)
    axes.set_xlim(0, max(*seconds, 1e-3) * 1.03)
    axes.margins(y=0.1)
    axes.grid(axis="y", color="#E5E5E5")
    axes.set_axisbelow(True)


def _title(problem: RecourseProblem, last: Progress) -> str:
    name = problem.title or problem.name
    return f"{name}: {_state(last)} after {last.seconds:.3g} s"


def _state(last: Progress) -> str:
    if last.primal is None or last.bound is None or not (_finite(last.primal) and _finite(last.bound)):
        return "a bound but no answer yet" if _finite(last.bound) else "an answer but no bound yet"
    gap = relative_gap(last.primal, last.bound)
    return f"the gap is {100 * gap:.2g} %"


def _alt(problem: RecourseProblem, lines: Sequence[Progress], title: str) -> str:
    parts = [f"{title}. A step plot of {GOAL_WORDS[problem.goal]} over {lines[-1].seconds:.3g} seconds."]
    for name, values in (("The best answer", [p.primal for p in lines]), ("The bound", [p.bound for p in lines])):
        known = [value for value in values if _finite(value)]
        if known:
            first, last = number(known[0]), number(known[-1])
            parts.append(f"{name} is {first}." if first == last else f"{name} goes from {first} to {last}.")
    return " ".join(parts)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) else value
