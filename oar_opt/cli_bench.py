"""The commands of the library of benchmarks: ``oar generate``, ``oar bench``, ``oar bounds-update``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oar_opt.errors import InputError, VerificationError

if TYPE_CHECKING:
    from oar_opt.bench.best_known import BestKnown
    from oar_opt.bench.runs import Run, Task

GIGABYTE = 1 << 30
ROW = "{:<52} {:<26} {:>8}  {:<11} {:>12} {:>12}"
REPORT = "report"


def register(app: typer.Typer) -> None:
    """Add the commands to the program's."""
    app.command()(generate)
    app.command()(bench)
    app.command("bounds-update")(bounds_update)


def generate(
    family: Annotated[str, typer.Argument(help="school, loan, tenant, gig, iris, wine, digits, ...")],
    rows: Annotated[int, typer.Option(help="Records to train on.")] = 60,
    members: Annotated[int, typer.Option(help="Members of the collective.")] = 6,
    learner: Annotated[
        str,
        typer.Option(
            help="centroid, ridge, svm, sqhinge, logistic, huber, epsilon, l1svm, lad, gradient1, gradient3, running."
        ),
    ] = "ridge",
    action: Annotated[str, typer.Option(help="What members may do: labels, strike, menus, changes, mixed.")] = "menus",
    goal: Annotated[str, typer.Option(help="max_margin, min_cost, min_members, max_helped.")] = "max_margin",
    seed: Annotated[int, typer.Option(help="Another seed is another instance.")] = 0,
    features: Annotated[int | None, typer.Option(help="How many of the family's features (default: all).")] = None,
    queries: Annotated[int, typer.Option(help="Query subjects.")] = 1,
    guards: Annotated[int, typer.Option(help="Subjects who must keep their decision.")] = 0,
    reach: Annotated[
        float, typer.Option(help="Required margins, as a share of the way to what quick heuristics reach.")
    ] = 0.6,
    cap: Annotated[float | None, typer.Option(help="Share of the members that may act (default: all).")] = None,
    radius: Annotated[float, typer.Option(help="Of changes of features, in scaled l2.")] = 0.5,
    intercept: Annotated[str | None, typer.Option(help="none, penalized, free (default: the usual).")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the file NAME.json.")] = Path("."),
) -> None:
    """Make an instance of a family, reproducibly; its name says what is in it."""
    from oar_opt.generation import FAMILIES, ActionKind, Recipe, compose
    from oar_opt.generation.recipe import chosen
    from oar_opt.instance_file import parse_instance, save_instance
    from oar_opt.problem import GoalKind, Intercept

    if family not in FAMILIES:
        raise InputError("FAMILY", f"'{family}' is unknown", f"there are: {', '.join(FAMILIES)}")
    recipe = Recipe(
        family,
        rows,
        members,
        learner,
        chosen(ActionKind, "--action", action),
        seed,
        chosen(GoalKind, "--goal", goal),
        features,
        queries,
        guards,
        reach,
        cap,
        radius,
        chosen(Intercept, "--intercept", intercept) if intercept else None,
    )
    if not output.is_dir():
        raise InputError("--output", f"'{output}' is no folder", "name one that exists")
    problem = parse_instance(compose(recipe, FAMILIES[family]))
    target = output / f"{problem.name}.json"
    save_instance(problem, target)
    print(target)


def bench(
    asked: Annotated[
        str, typer.Argument(metavar="SET", help="smoke, benchmark, challenge, library, examples, a folder or a file.")
    ],
    files: Annotated[list[Path] | None, typer.Argument(help="With 'report': files of results.")] = None,
    methods: Annotated[
        str, typer.Option(help="Commas between: ours, second, textbook, formulation:NAME[@SOLVER], heuristic:NAME.")
    ] = "ours",
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds for each run.")] = 60.0,
    memory: Annotated[float, typer.Option(min=0.1, help="Gigabytes for each run.")] = 6.0,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at a time, each with one thread (a cluster decides itself).")
    ] = 1,
    only: Annotated[str | None, typer.Option(help="Instances whose name matches or contains this.")] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="SCHEDULER_ADDRESS", help="Run on the cluster of this dask scheduler.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file of results: also read, so that runs are not repeated.")
    ] = Path("results.jsonl"),
    as_csv: Annotated[bool, typer.Option("--csv", help="Report as comma-separated values, a line for a run.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures here as well.")] = None,
) -> None:
    """Run methods on a set of instances, every answer re-trained and checked; 'oar bench report FILE ...' sums up."""
    from oar_opt.bench.comparison import Comparison, contradictions
    from oar_opt.bench.summary import csv_text, named_by_file, page_text, text

    if asked != REPORT:
        if files:
            raise InputError("FILES", "are given", "only 'oar bench report' takes files of results")
        _run(asked, methods, time_limit, memory, jobs, only, dask, output)
        files = [output]
    runs = named_by_file(files or [])
    if as_csv:
        print(csv_text(runs), end="")
    else:
        print(text(runs))
    if html is not None:
        html.write_text(page_text(runs), encoding="utf-8")
        print(f"page written to {html}", file=sys.stderr)
    wrong = contradictions(Comparison.of(runs))
    if wrong:
        raise VerificationError(f"runs contradict each other: {'; '.join(wrong)}")


def _run(
    asked: str,
    methods: str,
    time_limit: float,
    memory: float,
    jobs: int,
    only: str | None,
    dask: str | None,
    output: Path,
) -> None:
    """Do the runs that the file of results lacks, a line for each as it ends."""
    from oar_opt.bench.runs import append_run, check_method, open_tasks, read_runs, selected
    from oar_opt.bench.sets import names_of

    wanted = [word.strip() for word in methods.split(",") if word.strip()]
    for method in wanted:
        check_method(method)
    if not output.parent.is_dir():
        raise InputError("--output", f"lies in a folder that does not exist: {output.parent}", "create it first")
    names, done = selected(names_of(asked), only), read_runs(output)
    tasks = open_tasks(names, wanted, time_limit, int(memory * GIGABYTE), done)
    print(f"{len(tasks)} of {len(names) * len(wanted)} runs to do", file=sys.stderr)

    def keep(run: Run) -> None:
        append_run(output, run)

    # An end of the benchmark takes the runs along, also where shells let processes in the background ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        for run in _runs(tasks, jobs, dask, keep):
            values = ["-" if value is None else f"{value:.6g}" for value in (run.objective, run.bound)]
            line = ROW.format(run.instance, run.method, f"{run.seconds:.2f}", run.status, *values)
            print(line.rstrip(), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        kept = len(read_runs(output))
        if not kept:
            raise
        print(f"interrupted; {output} has {kept} runs, and the same command goes on from there", file=sys.stderr)


def _runs(tasks: Sequence[Task], jobs: int, dask: str | None, keep: Callable[[Run], None]) -> Iterator[Run]:
    if dask is None:
        from oar_opt.bench.runs import run_all

        return run_all(tasks, jobs, keep)
    from oar_opt.bench.cluster import run_on_cluster

    return run_on_cluster(tasks, dask, keep)


def bounds_update(
    files: Annotated[list[Path], typer.Argument(help="Files of results ('oar bench'), solution files, certificates.")],
    method: Annotated[str | None, typer.Option(help="How a solution file was found, in a few words.")] = None,
) -> None:
    """Verify claims once more and take in what is better than the best known answers and bounds of the library."""
    from oar_opt.bench.best_known import merge, read_bounds, write_bounds
    from oar_opt.bench.certified_bounds import certificate_in, take_in
    from oar_opt.bench.claims import claims_in

    known = read_bounds()
    better = 0

    def keep(name: str, found: tuple[BestKnown, tuple[str, ...]]) -> None:
        nonlocal better
        known[name], words = found
        if words:
            better += 1
            print(f"{name}: {'; '.join(words)}")

    try:
        for path in files:
            certificate = certificate_in(path)
            if certificate is not None:
                keep(certificate.instance, take_in(known, certificate))
                continue
            for claim in claims_in(path, method):
                keep(claim.problem.name, merge(known, claim))
    finally:
        # What was taken in before an error has its solution and certificate stored by now.
        write_bounds(known)
    print(f"{better} claims were better")
