"""Comparisons in words and tables, as CSV, LaTeX and one JSON document."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from oar_opt.compare import EXACT, Comparison, CoordinationGain, Row
from oar_opt.individual import Certified, IndividualRecourse
from oar_opt.problem import GoalKind, RecourseProblem
from oar_opt.report import GOAL_WORDS, number, percent
from oar_opt.result import Status

JOINT = {
    Status.OPTIMAL: "joint optimum",
    Status.FEASIBLE: "joint, best found",
    Status.INFEASIBLE: "joint: impossible",
    Status.UNKNOWN: "joint: nothing found",
}


# -- one table for all formats ---


@dataclass(frozen=True)
class Column:
    """A column of the table: its heading, and whether it holds numbers."""

    heading: str
    numeric: bool = True


def columns_of(problem: RecourseProblem) -> tuple[Column, ...]:
    """The columns that say something about an instance of this kind."""
    goal = GOAL_WORDS[problem.goal]
    found = [Column("method", False), Column(goal)]
    if problem.goal is not GoalKind.MAX_MARGIN:
        found.append(Column("least margin" if len(problem.queries) > 1 else "margin"))
    if len(problem.queries) > 1 and problem.goal is not GoalKind.MAX_HELPED:
        found.append(Column("helped"))
    found.append(Column("gap"))
    found += [Column(name) for name in ("members", "cost") if name != goal]
    return (*found, Column("seconds"), Column("succeeds", False), Column("remark", False))


def cells_of(problem: RecourseProblem, row: Row) -> tuple[str, ...]:
    """A row's cells, for :func:`columns_of`."""
    known: dict[str, str] = {
        "method": JOINT[row.status] if row.status else row.method.replace("_", " "),
        "margin": number(row.margin),
        "least margin": number(row.margin),
        "helped": number(row.helped),
        "gap": "" if row.gap is None else percent(row.gap),
        "members": number(row.members),
        "cost": number(row.cost),
        "seconds": "" if row.seconds is None else f"{row.seconds:.2f}",
        "succeeds": "yes" if row.succeeds else "no",
        "remark": "; ".join(text for text in (row.reason, row.remark) if text),
    }
    known[GOAL_WORDS[problem.goal]] = number(row.objective)
    return tuple(known[column.heading] for column in columns_of(problem))


def applied(comparison: Comparison) -> list[Row]:
    """The rows of the methods that ran."""
    return [row for row in comparison.rows if row.seconds is not None]


def left_out(comparison: Comparison) -> list[str]:
    """Methods that do not apply, each with its reason."""
    return [f"{row.method}: {row.reason}" for row in comparison.rows if row.seconds is None]


# -- sentences ---


def individual_sentences(comparison: Comparison) -> list[str]:
    """What each query subject could do by itself, under the model as it is, or why that is not known."""
    if comparison.without_individual:
        return [f"{comparison.without_individual[:1].upper()}{comparison.without_individual[1:]}."]
    return [sentence for one in comparison.individual for sentence in _individual(comparison.problem, one)]


def _individual(problem: RecourseProblem, one: IndividualRecourse) -> tuple[str, str]:
    (query,) = (query for query in problem.queries if query.name == one.query)
    needed = "a margin above 0" if query.required is None else f"the required margin {number(query.required)}"
    return _alone_at_least_cost(one, needed), _alone_at_best(one)


def _alone_at_least_cost(one: IndividualRecourse, needed: str) -> str:
    found = one.cost
    who = f"Individual recourse of {one.query}, whose margin is {number(one.margin_before)}:"
    if found.status is Status.INFEASIBLE:
        text = f"no change of its own gives it {needed}"
    elif found.value is None:
        text = f"no change of its own that gives it {needed} was found, and none costs less than {number(found.bound)}"
    else:
        least = "" if found.status is Status.OPTIMAL else f", and none costs less than {number(found.bound)}"
        text = f"{needed} costs it {number(found.value)}{least}"
    return f"{who} {text} (grade {found.grade}){_because(found)}."


def _alone_at_best(one: IndividualRecourse) -> str:
    found = one.best_margin
    if found is None:
        return "No member moves features, so no radius says how far one member's own effort goes."
    within = " or ".join(f"{number(radius)} in {norm}" for norm, radius in one.radii)
    if found.value is None:
        return f"Within one member's radius ({within}) nothing was found{_because(found)}."
    most = "" if found.status is Status.OPTIMAL else f", and at most {number(found.bound)}"
    words = f"its best margin is {number(found.value)}{most}"
    return f"Within one member's radius ({within}) {words} (grade {found.grade}){_because(found)}."


def _because(found: Certified) -> str:
    return f": {found.reason}" if found.reason else ""


def gain_sentence(comparison: Comparison) -> str | None:
    """The coordination gain, with the grade of its evidence; None where it is not known."""
    gain = comparison.gain
    if gain is None:
        return None
    what, tolerance = GOAL_WORDS[comparison.problem.goal], comparison.problem.tolerances.relative_gap
    size = max(1.0, abs(comparison.exact.objective or 0.0)) if comparison.exact else 1.0
    if gain.most is not None and gain.most <= tolerance * size:
        told = "none beyond the tolerance to which optima are found"
    else:
        told = _range(gain)
    provisional = (
        " Provisional: not every member's own problem is solved to optimality, so that acting as if alone may give "
        "another value; more seconds for the heuristics may settle it."
    )
    sentence = f"Coordination gain ({what}, joint against independent): {told}; grade {gain.grade}."
    return sentence + (provisional if gain.is_provisional else "")


def _range(gain: CoordinationGain) -> str:
    if gain.most is None:
        return f"at least {number(gain.least)}"
    if number(gain.least) == number(gain.most):
        return number(gain.least)
    return f"between {number(gain.least)} and {number(gain.most)}"


def bound_sentence(comparison: Comparison) -> str | None:
    """What is proved about every admissible move; None where the joint search was not asked for."""
    exact = comparison.exact
    if exact is None:
        return None
    goal, grade = GOAL_WORDS[comparison.problem.goal], f"grade {exact.certificate.grade}"
    if exact.status is Status.INFEASIBLE:
        return f"No admissible move of this collective gives what the instance requires ({grade})."
    if exact.bound is None:
        return f"No bound on the {goal} is known."
    word = "at most" if comparison.problem.goal.maximises else "at least"
    return f"Bound: {goal} {word} {number(exact.bound)} for every admissible move ({grade})."


# -- formats ---


def comparison_words(comparison: Comparison) -> RenderableType:
    """The table, what the query could do alone, the gain, the bound, and what was left out."""
    problem = comparison.problem
    table = Table(title=f"{problem.name}: {GOAL_WORDS[problem.goal]}", title_justify="left")
    for column in columns_of(problem):
        table.add_column(column.heading, justify="right" if column.numeric else "left")
    for row in applied(comparison):
        table.add_row(*cells_of(problem, row), style="bold" if row.method == EXACT else "")
    sentences = [*individual_sentences(comparison), gain_sentence(comparison), bound_sentence(comparison)]
    lines = [text for text in sentences if text]
    if left_out(comparison):
        lines.append("Does not apply: " + "; ".join(left_out(comparison)) + ".")
    return Group(table, Text("\n".join(lines)))


FIELDS = (
    "instance", "goal", "method", "status", "objective", "bound", "gap", "margin", "helped", "members", "cost",
    "seconds", "succeeds", "reason", "remark",
)  # fmt: skip


def comparison_records(comparison: Comparison) -> list[dict[str, Any]]:
    """One record per method, with the keys of :data:`FIELDS`; None where a method has no such number."""
    problem, bound = comparison.problem, comparison.exact.bound if comparison.exact else None
    shared = {"instance": problem.name, "goal": str(problem.goal), "bound": bound}
    found = []
    for row in comparison.rows:
        values = {**vars(row), **shared, "status": None if row.status is None else str(row.status)}
        found.append({name: values[name] for name in FIELDS})
    return found


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """One JSON document: the records, the reference points, the gain."""
    gain, exact = comparison.gain, comparison.exact
    return {
        "instance": comparison.problem.name,
        "goal": str(comparison.problem.goal),
        "margins_before": None if comparison.present is None else list(comparison.present.margins),
        "methods": comparison_records(comparison),
        "individual": [_individual_document(one) for one in comparison.individual],
        "without_individual": comparison.without_individual or None,
        "bound": None if exact is None else exact.bound,
        "grade": None if exact is None else str(exact.certificate.grade),
        "coordination_gain": None if gain is None else {**vars(gain), "grade": str(gain.grade)},
    }


def _individual_document(one: IndividualRecourse) -> dict[str, Any]:
    return {
        "query": one.query,
        "needed": one.needed,
        "margin_before": one.margin_before,
        "least_cost": _certified_document(one.cost),
        "best_margin": None if one.best_margin is None else _certified_document(one.best_margin),
        "radii": {str(norm): radius for norm, radius in one.radii},
        "notes": list(one.notes),
    }


def _certified_document(found: Certified) -> dict[str, Any]:
    bound = found.bound if found.bound is not None and math.isfinite(found.bound) else None
    return {**vars(found), "status": str(found.status), "grade": str(found.grade), "bound": bound}


def comparisons_csv(comparisons: Sequence[Comparison]) -> str:
    """All records below one header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for comparison in comparisons:
        writer.writerows(comparison_records(comparison))
    return text.getvalue()


def comparison_latex(comparison: Comparison) -> str:
    """A ``tabular`` with rules of the package booktabs."""
    problem, columns = comparison.problem, columns_of(comparison.problem)
    shown = [k for k, column in enumerate(columns) if column.heading != "remark"]
    lines = [
        f"% {problem.name}: needs \\usepackage{{booktabs}}",
        "\\begin{tabular}{" + "".join("r" if columns[k].numeric else "l" for k in shown) + "}",
        "\\toprule",
        " & ".join(_escaped(columns[k].heading) for k in shown) + " \\\\",
        "\\midrule",
    ]
    for row in applied(comparison):
        cells = cells_of(problem, row)
        lines.append(" & ".join(_escaped(cells[k]) for k in shown) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _escaped(text: str) -> str:
    special = {c: "\\" + c for c in "&%$#_{}"} | {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\^{}"}
    return "".join(special.get(c, c) for c in text)
