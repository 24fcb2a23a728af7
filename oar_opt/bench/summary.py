"""What files of results say together: solved counts, means, profiles, integrals and winners, as text, CSV and HTML.

*Performance profile*: the share of instances that a method closed within ``tau`` times the seconds of the fastest
method that closed it (E. Dolan, J. More, "Benchmarking optimization software with performance profiles", 2002).

*Primal-dual integral*: the integral over time of the gap ``|p - b| / max(|p|, |b|)`` (1 while ``p`` or ``b`` is
unknown, or they differ in sign), up to the limit, in seconds: small where good answers and bounds came early (T.
Berthold, "Measuring the impact of primal heuristics", 2013). A run closed as infeasible counts 1 until its end. What a
method knew between its first and its last line of progress is its solver's word; the last line is verified.

*Winner*: of the methods that closed an instance, the fastest; of those that did not, the one with the smallest gap.

Runs of several files are told apart by the file's name.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oar_opt.bench.comparison import Comparison, counted_seconds, report
from oar_opt.bench.runs import UNSUPPORTED, Run, read_runs
from oar_opt.errors import InputError
from oar_opt.result import Status

TAUS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
LEAST = 0.01
"""Seconds below which no run counts as faster."""
CSV_COLUMNS = (
    "instance",
    "method",
    "status",
    "seconds",
    "limit",
    "objective",
    "bound",
    "gap",
    "grade",
    "verified",
    "formulation",
    "solver",
    "memory",
    "version",
    "date",
)


def named_by_file(files: Sequence[Path]) -> list[Run]:
    """The runs of all files; of several, methods get the file's name behind theirs.

    Raises :class:`InputError` where a file is missing, no file of results, or empty.
    """
    found: list[Run] = []
    for path in files:
        if not path.exists():
            raise InputError(str(path), "does not exist", "'oar bench SET -o FILE' writes one")
        runs = read_runs(path)
        found += [replace(run, method=f"{run.method} [{path.stem}]") for run in runs] if len(files) > 1 else runs
    if not found:
        raise InputError("FILES", "have no runs", "run some first: 'oar bench SET -o FILE'")
    return found


def text(runs: Iterable[Run]) -> str:
    """The whole report."""
    comparison = Comparison.of(runs)
    return "\n".join([report(comparison), "", *_more(comparison)])


def _more(comparison: Comparison) -> list[str]:
    lines = [f"{'method':<36} {'integral':>9}  closed within 1, 2, 4, ... times the fastest"]
    shared = comparison.shared(comparison.methods)
    for method in comparison.methods:
        mean = _mean_integral(comparison, method, shared)
        shares = " ".join(f"{share:.2f}" for _, share in profile(comparison, method, shared))
        lines.append(f"{method:<36} {mean:>9}  {shares}")
    if len(comparison.methods) > 1:
        lines += ["", "winners", *(f"  {name}: {winner(comparison, name) or '-'}" for name in comparison.instances)]
    return lines


def _mean_integral(comparison: Comparison, method: str, names: Sequence[str]) -> str:
    values = [integral(comparison.runs[name, method]) for name in names]
    return f"{sum(values) / len(values):.2f} s" if values else "-"


# -- numbers ---


def integral(run: Run) -> float:
    """The primal-dual integral in seconds; see the module's docstring."""
    end = run.limit
    total, last, gap = 0.0, 0.0, 1.0
    for seconds, objective, bound in run.trace:
        now = min(seconds, end)
        total += gap * (now - last)
        last, gap = now, _gap(objective, bound)
    closed_at = min(run.seconds, end) if run.is_closed else end
    if run.status == Status.INFEASIBLE:
        return closed_at
    return total + gap * max(0.0, closed_at - last)


def _gap(objective: float | None, bound: float | None) -> float:
    if objective is None or bound is None or not (math.isfinite(objective) and math.isfinite(bound)):
        return 1.0
    largest = max(abs(objective), abs(bound))
    if objective == bound or largest == 0:
        return 0.0
    return 1.0 if objective * bound < 0 else abs(objective - bound) / largest


def profile(comparison: Comparison, method: str, names: Sequence[str]) -> list[tuple[float, float]]:
    """Pairs of ``tau`` and the share of the named instances that the method closed within it."""
    ratios = [ratio for name in names if (ratio := _ratio(comparison, method, name)) is not None]
    return [(tau, sum(ratio <= tau for ratio in ratios) / len(names)) for tau in TAUS] if names else []


def _ratio(comparison: Comparison, method: str, name: str) -> float | None:
    """Seconds over those of the fastest method; None where this one did not close the instance."""
    run = comparison.runs[name, method]
    if not run.is_closed:
        return None
    others = [comparison.runs[name, other] for other in comparison.methods if (name, other) in comparison.runs]
    fastest = min(max(LEAST, counted_seconds(other)) for other in others if other.is_closed)
    return max(LEAST, counted_seconds(run)) / fastest


def winner(comparison: Comparison, name: str) -> str | None:
    """The method that did best on an instance, None where none did anything."""
    runs = {method: comparison.runs[name, method] for method in comparison.methods if (name, method) in comparison.runs}
    closed = {method: counted_seconds(run) for method, run in runs.items() if run.is_closed}
    if closed:
        return min(closed, key=closed.__getitem__)
    gaps = {method: run.gap for method, run in runs.items() if run.gap is not None}
    return min(gaps, key=gaps.__getitem__) if gaps else None


# -- other forms ---


def csv_text(runs: Iterable[Run]) -> str:
    """A line for each run that counts, with its primal-dual integral."""
    comparison, out = Comparison.of(runs), io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow([*CSV_COLUMNS, "integral"])
    for run in comparison.runs.values():
        table.writerow([*(getattr(run, column) for column in CSV_COLUMNS), round(integral(run), 3)])
    return out.getvalue()


@dataclass(frozen=True)
class _Line:
    """A method's row on the page."""

    method: str
    closed: int
    of: int
    mean: str
    integral: str


def page_text(runs: Iterable[Run]) -> str:
    """One self-contained HTML page."""
    from oar_opt.bench.profile_picture import profile_picture
    from oar_opt.page import rendered
    from oar_opt.pictures.picture import to_inline_svg

    comparison = Comparison.of(runs)
    shared = comparison.shared(comparison.methods)
    drawn = profile_picture(comparison, shared) if shared else None
    lines = [_line(comparison, method, shared) for method in comparison.methods]
    cells: list[Any] = [
        (name, winner(comparison, name) or "-", [comparison.runs.get((name, method)) for method in comparison.methods])
        for name in comparison.instances
    ]
    return rendered(
        "bench.html.j2",
        methods=comparison.methods,
        lines=lines,
        cells=cells,
        shared=len(shared),
        picture=drawn and to_inline_svg(drawn, "profile-"),
        caption=drawn and drawn.alt,
    )


def _line(comparison: Comparison, method: str, shared: Sequence[str]) -> _Line:
    mine = [name for name in comparison.instances if (run := comparison.runs.get((name, method))) and not _left(run)]
    mean = f"{comparison.mean(method, shared):.2f}" if shared else "-"
    closed = len(comparison.closed(method).intersection(mine))
    return _Line(method, closed, len(mine), mean, _mean_integral(comparison, method, shared))


def _left(run: Run) -> bool:
    return run.status == UNSUPPORTED
