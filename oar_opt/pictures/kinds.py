"""The pictures of the command line by their kind, and which of its arguments each kind takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from oar_opt.errors import InputError
from oar_opt.pictures.moves import moves_picture
from oar_opt.pictures.picture import Picture
from oar_opt.pictures.progress import progress_picture
from oar_opt.pictures.regions import regions_picture
from oar_opt.pipeline import solve
from oar_opt.problem import RecourseProblem
from oar_opt.result import Progress
from oar_opt.solution_file import Solution

KINDS = ("regions", "moves", "progress")


def check_kind(kind: str, *, has_solution: bool, features: Sequence[str], time_limit: float | None) -> None:
    """Whether there is such a kind, and the given arguments are those that it takes.

    Raises
    ------
    InputError : it is unknown, misses one, or does nothing with one.
    """
    if kind not in KINDS:
        raise InputError("--kind", f"'{kind}' is unknown", f"there are: {', '.join(KINDS)}")
    if features and kind != "regions":
        raise InputError("--features", f"does nothing for the kind '{kind}'", "leave it out, or draw regions")
    if time_limit is not None and kind != "progress":
        raise InputError("--time-limit", f"does nothing for the kind '{kind}'", "leave it out, or draw progress")
    if kind == "moves" and not has_solution:
        raise InputError(
            "SOLUTION", "is missing, and the kind 'moves' draws its moves", "'oar solve -o FILE' makes one"
        )
    if kind == "progress" and has_solution:
        raise InputError("SOLUTION", "has no log of its run: the kind 'progress' solves again", "leave it out")


def draw(
    problem: RecourseProblem,
    solution: Solution | None,
    kind: str,
    *,
    features: Sequence[str] = (),
    time_limit: float | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Picture:
    """The picture of that kind; ``progress`` is called while the kind ``progress`` solves.

    Raises
    ------
    InputError : see :func:`check_kind` and the pictures' own functions.
    """
    check_kind(kind, has_solution=solution is not None, features=features, time_limit=time_limit)
    if kind == "progress":
        return progress_picture(problem, recorded(problem, time_limit, progress))
    if kind == "moves":
        assert solution is not None
        return moves_picture(problem, solution)
    return regions_picture(problem, solution, features)


def recorded(
    problem: RecourseProblem, time_limit: float | None, progress: Callable[[Progress], None] | None = None
) -> list[Progress]:
    """Solve, and keep what was reported, with the verified end as the last line."""
    lines: list[Progress] = []

    def keep(line: Progress) -> None:
        lines.append(line)
        if progress is not None:
            progress(line)

    started = time.monotonic()
    result = solve(problem, time_limit=time_limit, progress=keep)
    end = max(time.monotonic() - started, lines[-1].seconds if lines else 0.0)
    return [*lines, Progress(end, lines[-1].nodes if lines else 0, result.objective, result.bound)]
