"""Sweeps in a table, as CSV and as one JSON document."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from oar_opt.compare import EXACT, wanted
from oar_opt.problem import RecourseProblem
from oar_opt.report import GOAL_WORDS, number
from oar_opt.sweep import Axis, Point, bound_curve, curve


def methods_of(points: Sequence[Point]) -> list[str]:
    """The methods that ran at some point, in the order of a comparison."""
    ran = {r["method"] for one in points for r in one.document["methods"] if r["seconds"] is not None}
    return [name for name in wanted() if name in ran]


def sweep_words(problem: RecourseProblem, axis: Axis, points: Sequence[Point]) -> RenderableType:
    """The goal's value of every method at every value, and the proved bound."""
    table = Table()
    table.add_column(str(axis), justify="right")
    names = methods_of(points)
    curves = {name: curve(points, name, "objective") for name in names}
    for name in names:
        table.add_column(name.replace("_", " "), justify="right", style="bold" if name == EXACT else "")
    table.add_column("bound", justify="right")
    for k, (value, bound) in enumerate(bound_curve(points)):
        cells = [number(curves[name][k][1]) for name in names]
        table.add_row(number(value), *cells, number(bound))
    return Group(Text(f"{problem.name}: {GOAL_WORDS[problem.goal]} over {axis.words}"), table)


def sweep_csv(axis: Axis, points: Sequence[Point]) -> str:
    """One line for every method at every value."""
    text = io.StringIO()
    fields = ["axis", "value", *points[0].document["methods"][0]]
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    for one in points:
        writer.writerows({"axis": str(axis), "value": one.value, **record} for record in one.document["methods"])
    return text.getvalue()


def sweep_document(problem: RecourseProblem, axis: Axis, points: Sequence[Point]) -> dict[str, Any]:
    """One JSON document."""
    return {
        "instance": problem.name,
        "goal": str(problem.goal),
        "axis": str(axis),
        "points": [{"value": one.value, "comparison": one.document} for one in points],
    }
