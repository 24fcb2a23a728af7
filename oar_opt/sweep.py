"""Curves over one number of an instance: its radii, the size of its collective, a budget, or the required margin.

A sweep replaces one number, the *axis*, by each of several values and compares methods on each instance so made
(:mod:`oar_opt.compare`):

- ``radius``: of every features action, as it stands;
- ``members``: the collective is its first so many members, in the file's order, so that each collective is part of the
  next;
- ``acting``: how many members may act; ``total``, ``each``: the budgets of cost;
- ``required``: the required margin of every query. With the goal ``min_cost`` the curve is the front of cost against
  margin (Pareto): no admissible move costs less and gives more than a point of it, as far as its certificates go.

Where the axis only widens what the collective may do, optima do not get worse along it, whatever a heuristic does. Each
point is one line of a file of JSON lines; a sweep that is run again with the same file does what is left.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from oar_opt.errors import InputError
from oar_opt.problem import Collective, FeatureAction, GoalKind, Member, RecourseProblem
from oar_opt.result import StoppedBy

MOST_POINTS = 10_000


class Axis(StrEnum):
    """What is varied; see the module's docstring."""

    RADIUS = "radius"
    MEMBERS = "members"
    ACTING = "acting"
    TOTAL = "total"
    EACH = "each"
    REQUIRED = "required"

    @property
    def is_whole(self) -> bool:
        return self in (Axis.MEMBERS, Axis.ACTING)

    @property
    def words(self) -> str:
        return {
            Axis.RADIUS: "radius of every features action",
            Axis.MEMBERS: "members of the collective",
            Axis.ACTING: "members who may act",
            Axis.TOTAL: "total budget",
            Axis.EACH: "budget of each member",
            Axis.REQUIRED: "required margin",
        }[self]


@dataclass(frozen=True)
class Over:
    """An axis and its values, ascending, each once."""

    axis: Axis
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Over:
        """Read ``axis=first:last:count``, ``axis=first:last`` (whole numbers) or ``axis=a,b,c``.

        Raises
        ------
        InputError : anything else.
        """
        name, given, values = text.partition("=")
        if not given or name not in list(Axis):
            raise InputError("--over", f"is '{text}'", f"write AXIS=..., AXIS being one of {', '.join(Axis)}")
        axis = Axis(name)
        try:
            numbers = _numbers(axis, values)
        except ValueError:
            numbers = []
        if not numbers or not all(math.isfinite(v) and v >= 0 for v in numbers):
            form = f"{name}=1:20 or {name}=1,5,20" if axis.is_whole else f"{name}=0.1:1.0:10 or {name}=0.1,0.5,1"
            raise InputError("--over", f"is '{text}', which gives no values of at least 0", f"write {form}")
        if len(numbers) > MOST_POINTS:
            raise InputError("--over", f"gives {len(numbers)} values", f"give at most {MOST_POINTS}")
        if axis.is_whole and any(v != round(v) for v in numbers):
            raise InputError("--over", f"'{text}' is not in whole numbers", f"write {name}=1:20 or {name}=1,5,20")
        return cls(axis, tuple(sorted({float(f"{v:.12g}") for v in numbers})))


def _numbers(axis: Axis, text: str) -> list[float]:
    if ":" not in text:
        return [float(part) for part in text.split(",")]
    first, last, *count = text.split(":")
    low, high = float(first), float(last)
    if high < low or len(count) > 1:
        return []
    if count:
        return [float(v) for v in np.linspace(low, high, int(count[0]))]
    return [low + k for k in range(min(MOST_POINTS, int(high - low)) + 1)] if axis.is_whole else []


# -- the instance at a value ---


def at_value(problem: RecourseProblem, axis: Axis, value: float) -> RecourseProblem:
    """The instance with the axis at ``value``.

    Raises
    ------
    InputError : the instance has nothing that the axis could vary, or not so much of it.
    """
    collective = problem.collective
    match axis:
        case Axis.RADIUS:
            if not any(isinstance(a, FeatureAction) for member in collective.members for a in member.actions):
                raise InputError("--over radius", "varies features actions, and no member has one", "vary another axis")
            team = tuple(_with_radius(member, value) for member in collective.members)
            return replace(problem, collective=replace(collective, members=team))
        case Axis.MEMBERS:
            if value > len(collective.members):
                raise InputError("--over members", f"asks for {value:g} of {len(collective.members)}", "ask for fewer")
            return replace(problem, collective=replace(collective, members=collective.members[: int(value)]))
        case Axis.REQUIRED:
            if value <= 0 or problem.goal is GoalKind.MAX_MARGIN:
                why = f"is {value:g}" if value <= 0 else "is not asked for where the goal is max_margin"
                raise InputError("--over required", f"the required margin {why}", "use --goal min_cost, values above 0")
            return replace(problem, queries=tuple(replace(query, required=value) for query in problem.queries))
        case _:
            return replace(problem, collective=_with_budget(collective, axis, value))


def _with_radius(member: Member, radius: float) -> Member:
    actions = tuple(replace(a, radius=radius) if isinstance(a, FeatureAction) else a for a in member.actions)
    return replace(member, actions=actions)


def _with_budget(collective: Collective, axis: Axis, value: float) -> Collective:
    budget = collective.budget
    match axis:
        case Axis.ACTING:
            budget = replace(budget, members=int(value))
        case Axis.TOTAL:
            budget = replace(budget, total=value)
        case _:
            budget = replace(budget, each=value)
    return replace(collective, budget=budget)


# -- points ---


@dataclass(frozen=True)
class Settings:
    """What is done at every point; see :func:`oar_opt.compare.compare`."""

    methods: tuple[str, ...] | None = None
    seed: int = 0
    heuristic_seconds: float = 5.0
    time_limit: float | None = None
    formulation: str = "auto"


@dataclass(frozen=True)
class Point:
    """All methods at one value: a comparison's document (:func:`oar_opt.compare_words.comparison_document`)."""

    value: float
    document: dict[str, Any]


def point(problem: RecourseProblem, axis: Axis, value: float, settings: Settings) -> Point:
    """Compare at one value."""
    from oar_opt.compare import compare
    from oar_opt.compare_words import comparison_document

    found = compare(
        at_value(problem, axis, value),
        settings.methods,
        seed=settings.seed,
        heuristic_seconds=settings.heuristic_seconds,
        time_limit=settings.time_limit,
        formulation=settings.formulation,
    )
    if found.exact is not None and found.exact.stopped_by is StoppedBy.INTERRUPT:
        # A search that Ctrl-C ended keeps its answer, but what was asked for is another point.
        raise KeyboardInterrupt
    # As a file gives it back.
    return Point(value, json.loads(json.dumps(comparison_document(found))))


def sweep(
    problem: RecourseProblem,
    over: Over,
    settings: Settings | None = None,
    *,
    path: Path | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Point, ...]:
    """Compare at every value, in order of the values.

    Parameters
    ----------
    path : a file of JSON lines that points are added to as they are ready; those that it has are not done again.
    jobs : processes.
    progress : called with the number of points that are done, and of all.

    Raises
    ------
    InputError : see :func:`at_value`; or the file is of another sweep.
    """
    settings = settings or Settings()
    for value in over.values:
        at_value(problem, over.axis, value)
    book = _Book(path, _identity(problem, over.axis, settings))
    done = {value: found for value, found in book.points.items() if value in over.values}
    left = [value for value in over.values if value not in done]
    if progress:
        progress(len(done), len(over.values))
    for found in _points(problem, over.axis, left, settings, jobs):
        done[found.value] = found
        book.add(found)
        if progress:
            progress(len(done), len(over.values))
    return tuple(done[value] for value in over.values)


def _points(
    problem: RecourseProblem, axis: Axis, values: Sequence[float], settings: Settings, jobs: int
) -> Iterator[Point]:
    if jobs == 1 or len(values) < 2:
        yield from (point(problem, axis, value, settings) for value in values)
        return
    with ProcessPoolExecutor(min(jobs, len(values))) as pool:
        waiting: set[Future[Point]] = {pool.submit(point, problem, axis, value, settings) for value in values}
        try:
            while waiting:
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ready)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _identity(problem: RecourseProblem, axis: Axis, settings: Settings) -> dict[str, Any]:
    """What two runs must share for the points of one to stand in the other."""
    return {
        "instance": problem.name,
        "instance_sha256": problem.sha256,
        "goal": str(problem.goal),
        "axis": str(axis),
        "methods": None if settings.methods is None else list(settings.methods),
        "seed": settings.seed,
        "heuristic_seconds": settings.heuristic_seconds,
        "time_limit": settings.time_limit,
        "formulation": settings.formulation,
    }


class _Book:
    """The file of a sweep: a first line that says of which, then a line for every point."""

    def __init__(self, path: Path | None, identity: dict[str, Any]) -> None:
        self.path, self.points = path, dict[float, Point]()
        if path is None:
            return
        if path.exists() and path.stat().st_size:
            self._read(path, identity)
        else:
            path.write_text(json.dumps({"sweep": identity}) + "\n", encoding="utf-8")

    def _read(self, path: Path, identity: dict[str, Any]) -> None:
        first, *lines = path.read_bytes().splitlines(keepends=True)
        if _parsed(first) != {"sweep": identity}:
            raise InputError(
                str(path), "is no file of this sweep with these settings", "name another file, or remove it"
            )
        if lines and not lines[-1].endswith(b"\n"):
            # A run that was killed while it wrote: the point is done again.
            os.truncate(path, path.stat().st_size - len(lines.pop()))
        for number, line in enumerate(lines, start=2):
            found = _parsed(line)
            if not _is_point(found):
                fix = "remove the line, and its point is done again"
                raise InputError(f"{path}, line {number}", "is no point of a sweep", fix)
            self.points[found["value"]] = Point(found["value"], found["comparison"])

    def add(self, found: Point) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"value": found.value, "comparison": found.document}) + "\n")


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None


def _is_point(found: Any) -> bool:
    """Whether it has the shape of what :meth:`_Book.add` writes."""
    if not isinstance(found, dict) or set(found) != {"value", "comparison"}:
        return False
    value, comparison = found["value"], found["comparison"]
    if not isinstance(value, float) or not isinstance(comparison, dict) or "bound" not in comparison:
        return False
    records = comparison.get("methods")
    known = {"method", *CURVES}
    return isinstance(records, list) and all(isinstance(one, dict) and known <= set(one) for one in records)


# -- curves ---

CURVES = ("objective", "margin", "cost", "members", "seconds", "succeeds", "gap")


def curve(points: Sequence[Point], method: str, what: str) -> list[tuple[float, float | None]]:
    """One method's numbers over the values; None where it has none.

    ``what`` is one of :data:`CURVES`; success is 1 or 0.
    """
    found = []
    for one in points:
        record = next((r for r in one.document["methods"] if r["method"] == method), None)
        number = None if record is None else record[what]
        found.append((one.value, None if number is None else float(number)))
    return found


def bound_curve(points: Sequence[Point]) -> list[tuple[float, float | None]]:
    """The proved bound over the values."""
    return [(one.value, one.document["bound"]) for one in points]
