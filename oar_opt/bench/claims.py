"""Claims on the library's instances: from files of results, or from solution files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from oar_opt.bench.best_known import Claim
from oar_opt.bench.runs import Run, digest_of, read_runs
from oar_opt.errors import InputError
from oar_opt.library import benchmarks, load
from oar_opt.solution_file import Solution, load_solution, parse_solution


def claims_in(path: Path, method: str | None = None) -> Iterator[Claim]:
    """Those in a file: a line of results that has its solution, or one solution file.

    Raises :class:`InputError` where the file is neither, or of an instance that is not in the library as it is now.
    """
    if path.suffix == ".jsonl":
        if not path.exists():
            raise InputError(str(path), "does not exist")
        yield from (claim for run in read_runs(path) if (claim := _of_run(run, path)) is not None)
        return
    solution = load_solution(path)
    today = datetime.now(UTC).date().isoformat()
    yield _claim(solution, path, method or solution.method.formulation, version("oar_opt"), today)


def _of_run(run: Run, path: Path) -> Claim | None:
    if run.solution is None or run.instance not in benchmarks() or digest_of(load(run.instance)) != run.digest:
        return None
    return _claim(parse_solution(dict(run.solution)), path, _words(run), run.version, run.date)


def _words(run: Run) -> str:
    return f"{run.method} ({run.formulation})" if run.method == "ours" else run.method


def _claim(solution: Solution, path: Path, method: str, made_by: str, date: str) -> Claim:
    if solution.instance not in benchmarks():
        raise InputError(str(path), f"is about '{solution.instance}', which is not in the library")
    problem = load(solution.instance)
    if solution.instance_sha256 != problem.sha256:
        raise InputError(str(path), f"is about another file of '{solution.instance}'", "solve the library's own")
    return Claim(problem, solution, method, made_by, date)
