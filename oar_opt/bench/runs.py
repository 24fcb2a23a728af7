"""Runs of benchmarks: one method on one instance, in a process of its own.

An instance is named: one of the makers of :func:`instances`, a shipped one, or the path of a file.

A method is ``textbook``, the rival that fits the instance (:mod:`oar_opt.bench.textbook` for menus, by HiGHS;
:mod:`oar_opt.bench.textbook_features` for feature changes, by SCIP); ``ours``, which is :func:`oar_opt.solve` with
everything at its default; or ``formulation:NAME`` and ``formulation:NAME@SOLVER``, the same with that formulation and
solver; ``second``, the same with the exact formulation that is next in order after the one that ``ours`` takes, so that
the two can be held against each other; or ``heuristic:NAME``, whose moves are re-trained and have no bound. All of them
get one thread and the instance's own tolerance for the gap.

Seconds are those from the instance in memory to the answer: heuristics, building, tightening, solving and, for all
but the textbook's program, the verification. Everything is imported before the clock starts. What the textbook's
program claims is held against the rules and re-trained afterwards, and then judged like any other answer: the objective
is that of re-training, and ``optimal`` means that it is within the tolerance of the bound.

``cpu`` are the seconds of processor that the process had in that time. Where they are clearly fewer than the seconds,
the machine was busy with something else, and the seconds say little.

A run that goes on for :data:`GRACE` seconds after its limit is killed, and so is one that needs more memory than it
may.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from oar_opt.bench.feature_instances import feature_instances
from oar_opt.bench.menu_instances import menu_instances
from oar_opt.contracts import PyomoProgram
from oar_opt.errors import InputError, OarError, SolverError, UnsupportedError
from oar_opt.problem import Move, RecourseProblem
from oar_opt.result import Claim, Progress, Request, Status, relative_gap

GRACE = 30.0
KILOBYTES = 1024
"""In a megabyte: the unit of what the system says of memory."""
AGREEMENT = 1e-5
"""Largest difference, relative to 1 or the value, between a claim and its re-training that still counts as verified."""
TEXTBOOK, OURS, SECOND, NAMED, HEURISTIC = "textbook", "ours", "second", "formulation:", "heuristic:"
UNSUPPORTED, KILLED, CRASHED, ERROR = "unsupported", "killed", "crashed", "error"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """One line of the results.

    ``status`` is one of :class:`~oar_opt.result.Status`, or ``unsupported``, ``killed``, ``crashed``, ``error``.
    ``objective`` is that of re-training, ``claimed`` the program's own where it is known. ``digest`` is that of the
    instance's text, so that lines of an instance that has changed since are not taken for lines of the new one.
    ``memory`` is the process's largest, in megabytes; ``trace`` has seconds, objective and bound as they became known;
    ``solution`` is the verified answer's document, so that it can be verified again.
    """

    instance: str
    digest: str
    method: str
    limit: float
    seconds: float
    status: str
    formulation: str = ""
    solver: str = ""
    objective: float | None = None
    claimed: float | None = None
    bound: float | None = None
    gap: float | None = None
    verified: bool = False
    maximises: bool = True
    nodes: int | None = None
    cpu: float | None = None
    memory: float | None = None
    grade: str = ""
    version: str = ""
    date: str = ""
    trace: tuple[tuple[float, float | None, float | None], ...] = ()
    solution: Mapping[str, Any] | None = None
    note: str = ""

    @property
    def is_closed(self) -> bool:
        return self.status in (Status.OPTIMAL, Status.INFEASIBLE)


def digest_of(problem: RecourseProblem) -> str:
    """The first digits of the digest of the instance's text."""
    from oar_opt.instance_file import instance_text

    return hashlib.sha256(instance_text(problem).encode()).hexdigest()[:16]


@cache
def instances() -> Mapping[str, Callable[[], RecourseProblem]]:
    """The makers of the instances of all benchmarks, by name."""
    menus, features = menu_instances(), feature_instances()
    assert not menus.keys() & features.keys(), "two instances have one name"
    return MappingProxyType({**menus, **features})


def instance_of(name: str) -> RecourseProblem:
    """The instance that a name or a path means."""
    from oar_opt.library import load

    return instances()[name]() if name in instances() else load(name)


# -- one method on one instance, in this process ---


def check_method(method: str) -> None:
    """An error for a method that there is not."""
    from oar_opt.discovery import formulations, heuristics

    known = [
        OURS,
        SECOND,
        TEXTBOOK,
        *(NAMED + name for name in formulations()),
        *(HEURISTIC + name for name in heuristics()),
    ]
    plain = method.partition("@")[0] if method.startswith(NAMED) else method
    if plain not in known:
        every = ", ".join(known)
        raise InputError("--methods", f"'{method}' is unknown", f"there are: {every}; @SOLVER may follow a formulation")


def measure(problem: RecourseProblem, method: str, limit: float) -> Run:
    """Run one method; errors that the package raises on purpose become a line like any other."""
    from oar_opt.discovery import formulations, heuristics, learners

    check_method(method)
    for load in (learners, formulations, heuristics):
        load()
    started, processor = time.perf_counter(), time.process_time()
    try:
        run = _run_of(method)(problem, method, limit)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES
        today = datetime.now(UTC).date().isoformat()
        cpu = time.process_time() - processor
        return replace(run, cpu=cpu, memory=round(memory, 1), version=version("oar_opt"), date=today)
    except OarError as error:
        status = UNSUPPORTED if isinstance(error, UnsupportedError) else ERROR
        seconds = time.perf_counter() - started
        return _line(problem, method, limit, seconds, status, note=f"{type(error).__name__}: {error}")


def _line(problem: RecourseProblem, method: str, limit: float, seconds: float, status: str, **more: Any) -> Run:
    """A run of an instance, with ``more`` of its fields."""
    own: dict[str, Any] = {"instance": problem.name, "digest": digest_of(problem), "maximises": problem.goal.maximises}
    return Run(method=method, limit=limit, seconds=seconds, status=status, **own, **more)


def _run_of(method: str) -> Callable[[RecourseProblem, str, float], Run]:
    if method == TEXTBOOK:
        return lambda problem, _, limit: by_textbook(problem, limit)
    return by_heuristic if method.startswith(HEURISTIC) else by_solve


class _Trace:
    """What was known of the optimum and when, as far as it changed."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.lines: list[tuple[float, float | None, float | None]] = []

    def __call__(self, progress: Progress) -> None:
        self.add(progress.primal, progress.bound)

    def add(self, objective: float | None, bound: float | None) -> None:
        if not self.lines or self.lines[-1][1:] != (objective, bound):
            self.lines.append((round(time.perf_counter() - self.started, 3), objective, bound))


def by_heuristic(problem: RecourseProblem, method: str, limit: float) -> Run:
    """One proposal, re-trained; its rules are checked like those of any answer."""
    from oar_opt.discovery import heuristics

    heuristic = heuristics()[method.removeprefix(HEURISTIC)]
    reason = heuristic.accepts(problem)
    if reason:
        raise UnsupportedError(reason)
    started = time.perf_counter()
    proposal = heuristic.propose(problem, time_limit=limit)
    seconds = time.perf_counter() - started
    objective, note = retrained(problem, proposal.moves)
    return _line(
        problem,
        method,
        limit,
        seconds,
        str(Status.UNKNOWN if objective is None else Status.FEASIBLE),
        objective=objective,
        verified=objective is not None,
        trace=((round(seconds, 3), objective, None),),
        note=proposal.remark or note,
    )


def second_formulation(problem: RecourseProblem) -> str:
    """The exact formulation that ``auto`` would take if its first choice did not apply; an error where none does."""
    from oar_opt.contracts import Exactness
    from oar_opt.discovery import formulations
    from oar_opt.pipeline import choose

    first, _ = choose(problem)
    others = [item for item in formulations().values() if item is not first and item.exactness is Exactness.EXACT]
    for candidate in sorted(others, key=lambda item: item.preference(problem)[0]):
        if candidate.accepts(problem) is None:
            return candidate.name
    raise UnsupportedError("no second exact formulation applies")


def by_solve(problem: RecourseProblem, method: str, limit: float) -> Run:
    """:func:`oar_opt.solve`; its answer has passed the verification or it raises."""
    import oar_opt
    from oar_opt.solution_file import solution_text

    name, _, solver = {OURS: "auto", SECOND: ""}.get(method, method.removeprefix(NAMED)).partition("@")
    name = name or second_formulation(problem)
    started = time.perf_counter()
    # Without a solver's name the formulation takes its own.
    trace = _Trace()
    result = oar_opt.solve(
        problem, formulation=name, solver=solver or None, time_limit=limit, threads=1, progress=trace
    )
    seconds = time.perf_counter() - started
    solution = result.solution
    trace.add(solution.objective, solution.bound)
    return _line(
        problem,
        method,
        limit,
        seconds,
        str(solution.status),
        formulation=solution.method.formulation,
        solver=solution.method.solver,
        objective=solution.objective,
        bound=solution.bound,
        gap=solution.relative_gap,
        verified=True,
        grade=str(result.grade),
        trace=tuple(trace.lines),
        solution=json.loads(solution_text(solution)),
        note="; ".join(result.notes),
    )


def by_textbook(problem: RecourseProblem, limit: float) -> Run:
    """The textbook's program, then the re-training of what it claims."""
    started = time.perf_counter()
    program, solver = rival(problem)
    left = max(0.01, limit - (time.perf_counter() - started))
    gap = problem.tolerances.relative_gap
    try:
        claim = program.run(Request(solver=solver, time_limit=left, relative_gap=gap, threads=1))
    except SolverError as error:
        raise SolverError(f"textbook: {error}") from error
    seconds = time.perf_counter() - started
    return judged(problem, claim, limit, seconds)


def rival(problem: RecourseProblem) -> tuple[PyomoProgram, str]:
    """The textbook's program for what members may do, and the solver that runs it."""
    from oar_opt.bench.textbook import textbook_program
    from oar_opt.bench.textbook_features import textbook_features_program

    if problem.is_menu_problem:
        return textbook_program(problem), "highs"
    return textbook_features_program(problem), "scip"


def judged(problem: RecourseProblem, claim: Claim, limit: float, seconds: float) -> Run:
    """A claim as a line of the results: what re-training makes of it."""
    objective, note = (None, "") if claim.moves is None else retrained(problem, claim.moves)
    gap = None if objective is None or claim.bound is None else relative_gap(objective, claim.bound)
    status = Status.UNKNOWN
    if claim.infeasible:
        status = Status.INFEASIBLE
    elif objective is not None:
        closed = gap is not None and gap <= problem.tolerances.relative_gap
        status = Status.OPTIMAL if closed else Status.FEASIBLE
    agrees = (
        objective is not None
        and claim.objective is not None
        and abs(claim.objective - objective) <= AGREEMENT * max(1.0, abs(objective))
    )
    return _line(
        problem,
        TEXTBOOK,
        limit,
        seconds,
        str(status),
        formulation=TEXTBOOK,
        solver=claim.solver,
        objective=objective,
        claimed=claim.objective,
        bound=claim.bound,
        gap=gap,
        verified=agrees,
        nodes=claim.nodes,
        note=f"{claim.stopped_by.words}{'; ' if note else ''}{note}",
    )


def retrained(problem: RecourseProblem, moves: tuple[Move, ...]) -> tuple[float | None, str]:
    """The objective that moves really give, None where they are no answer; and why."""
    from oar_opt.evaluate import UndefinedLearner, evaluate
    from oar_opt.rules import budget_violations
    from oar_opt.verification import move_violation

    broken = [words for move in moves if (words := move_violation(problem, move))]
    broken += budget_violations(problem, moves, problem.tolerances.feasibility)
    if broken:
        return None, f"its moves break rules: {'; '.join(broken)}"
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner as error:
        return None, f"its moves leave the learner undefined: {error}"
    if not outcome.is_answer:
        return None, f"its moves do not survive re-training: {'; '.join((*outcome.broken, outcome.tie or ''))}"
    return outcome.objective, ""


# -- one process for each run ---


@dataclass(frozen=True)
class Task:
    """What one process does. ``limit`` in seconds, ``memory`` in bytes of address space.

    ``text`` is that of the instance where the name alone may mean nothing in the process that does it, and ``sha256``
    the digest of the file that it was read from, which the solution refers to.
    """

    instance: str
    method: str
    limit: float
    memory: int
    text: str = ""
    sha256: str = ""

    def problem(self) -> RecourseProblem:
        """The instance."""
        from oar_opt.instance_file import parse_instance

        if not self.text:
            return instance_of(self.instance)
        return replace(parse_instance(json.loads(self.text)), sha256=self.sha256)

    def with_text(self) -> Task:
        """The same task for another machine."""
        from oar_opt.instance_file import instance_text

        problem = self.problem()
        return replace(self, text=instance_text(problem), sha256=problem.sha256)


class Children:
    """The processes of some runs, so that the end of those who asked for them takes them along."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    @contextmanager
    def of(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """For as long as the process runs; one that comes after the end is killed at once."""
        self._running.add(process)
        if self._ended:
            _kill(process)
        try:
            yield
        finally:
            self._running.discard(process)

    def kill(self) -> None:
        """Those that run, and all that are still to come."""
        self._ended = True
        for process in list(self._running):
            _kill(process)


def run_in_process(task: Task, grace: float = GRACE, children: Children | None = None) -> Run:
    """The run of a process that ends within ``limit + grace`` seconds of having the instance, or is killed.

    The process is one of ``children`` while it runs, and ends with this one, whose end closes its standard input.

    A program of its own (:mod:`oar_opt.bench.child`) and not a fork, so that it begins with nothing of ours, and also
    where the caller may have no children of its own.
    """
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "oar_opt.bench.child", str(writing)]
    # In a session of its own: Ctrl-C means the benchmark, and must not end as the answer of a run cut short.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, pass_fds=(writing,), start_new_session=True, text=True, env=_environment()
    )
    os.close(writing)
    assert process.stdin is not None
    try:
        with (children or Children()).of(process), os.fdopen(reading, encoding="utf-8") as lines:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asdict(task)) + "\n")
                process.stdin.flush()
            # Starting takes as long as it takes on a busy machine; the child says when it has the instance.
            digest = lines.readline().strip()
            if not digest:
                return broken_off(task, "", CRASHED, f"the process ended with the code {process.wait()}")
            if not select.select([lines], [], [], max(0.0, task.limit + grace))[0]:
                return broken_off(task, digest, KILLED, f"still running {grace:g} s after its limit")
            line = lines.readline()
            if not line:
                return broken_off(task, digest, CRASHED, f"the process ended with the code {process.wait()}")
            return read_run(json.loads(line))
    finally:
        _kill(process)
        process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()


def _kill(process: subprocess.Popen[str]) -> None:
    """The process and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Ours, with one thread for each library and the place where this package lies."""
    places = os.pathsep.join(place for place in sys.path if place)
    return {**os.environ, **{name: os.environ.get(name, "1") for name in ONE_THREAD}, "PYTHONPATH": places}


def broken_off(task: Task, digest: str, status: str, note: str) -> Run:
    """The line of a run that did not end by itself."""
    problem = task.problem()
    line = _line(problem, task.method, task.limit, task.limit, status, note=note)
    return replace(line, digest=digest) if digest else line


# -- all of them, with a file that remembers ---


def read_runs(path: Path) -> list[Run]:
    """The lines of a file of results; empty where there is none yet."""
    if not path.exists():
        return []
    runs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            runs.append(read_run(json.loads(line)))
        except (ValueError, AttributeError, TypeError) as error:
            raise InputError(f"{path}:{number}", f"is no line of results ({error})", "remove the line") from error
    return runs


def read_run(document: Mapping[str, Any]) -> Run:
    """One line's document; raises ValueError, AttributeError or TypeError where it is none."""
    known = {field.name for field in fields(Run)}
    kept = {name: value for name, value in document.items() if name in known}
    return Run(**kept | {"trace": tuple(tuple(line) for line in kept.get("trace", ()))})


def append_run(path: Path, run: Run) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(run)) + "\n")


def selected(names: Iterable[str], pattern: str | None) -> list[str]:
    """Those names that match a shell pattern, or contain the words given; all where there is none."""
    names = list(names)
    if pattern is None:
        return names
    found = [name for name in names if fnmatch.fnmatch(name, pattern) or pattern in name]
    if not found:
        raise InputError("--only", f"no instance is called like '{pattern}'", "--list prints all names")
    return found


def open_tasks(
    names: Iterable[str], methods: Sequence[str], limit: float, memory: int, done: Sequence[Run]
) -> list[Task]:
    """What is not in the results yet: no line of that instance as it is now, method and at least that limit.

    Learners that are missing here leave their instances out; nothing can be run on them, nor remembered.
    """
    tasks = []
    for name in names:
        try:
            problem = instance_of(name)
        except UnsupportedError:
            continue
        # Lines have the instance's name, also where it was asked for by a path.
        digest = digest_of(problem)
        for method in methods:
            if not any(_covers(run, problem.name, digest, method, limit) for run in done):
                tasks.append(Task(name, method, limit, memory))
    return tasks


def _covers(run: Run, name: str, digest: str, method: str, limit: float) -> bool:
    same = (run.instance, run.digest, run.method) == (name, digest, method)
    return same and (run.limit >= limit or run.is_closed or run.status == UNSUPPORTED)


def run_all(tasks: Sequence[Task], jobs: int, keep: Callable[[Run], None]) -> Iterator[Run]:
    """Runs as they finish; every one is handed to ``keep`` first."""
    children = Children()
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(run_in_process, task, children=children) for task in tasks]
        try:
            for future in as_completed(waiting):
                run = future.result()
                keep(run)
                yield run
        finally:
            for future in waiting:
                future.cancel()
            children.kill()
