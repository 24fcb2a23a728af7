"""The command line ``oar``. Results go to standard output, progress and notes to standard error.

Exit codes: 0 a valid answer (proved infeasible and "limit reached with a verified move" included), 1 internal or solver
error, 2 bad input, 3 limit reached without any move, 4 verification failed, 5 not certified under ``--strict``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oar_opt import cli_bench, cli_proof
from oar_opt.errors import InputError, OarError, SolverError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from oar_opt.pipeline import Result
    from oar_opt.problem import RecourseProblem
    from oar_opt.result import Progress
    from oar_opt.solution_file import Solution

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Certified optimal collective changes: who changes what, so that a re-trained learner decides as wanted.",
)

Instance = Annotated[str, typer.Argument(help="A shipped instance's name ('oar instances') or the path of a file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
Methods = Annotated[str | None, typer.Option(help="Names with commas between (default: all that apply).")]
JointSeconds = Annotated[float | None, typer.Option(help="Seconds for the joint optimum (default: none).")]
HeuristicSeconds = Annotated[float, typer.Option(min=0.01, help="Seconds for each heuristic.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the heuristics.")]
JointFormulation = Annotated[str, typer.Option(help="For the joint optimum: from 'oar formulations', or auto.")]

EXPLAIN_SECONDS = 60.0
"""For explaining an infeasibility where no time limit is given."""
LEAST_SECONDS = 0.01
EXIT_NO_MOVE = 3
EXIT_INTERRUPTED = 130
"""What typer makes of a KeyboardInterrupt."""
EXIT_NOT_VERIFIED = 4
EXIT_NOT_CERTIFIED = 5


def main() -> None:
    """Entry point: every error of ours becomes one line and its exit code."""
    try:
        app()
    except OarError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code != EXIT_INTERRUPTED:
            raise
        print("interrupted before anything was found", file=sys.stderr)
        sys.exit(EXIT_NO_MOVE)
    except KeyboardInterrupt:
        print("interrupted before anything was found", file=sys.stderr)
        sys.exit(EXIT_NO_MOVE)
    except BrokenPipeError:
        # The reader of our output went away (for example `head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.filename is None or os.environ.get("OAR_DEBUG"):
            raise
        print(f"error: {error.filename}: {error.strerror} (check the path, its permissions and room)", file=sys.stderr)
        sys.exit(InputError.exit_code)
    except Exception as error:
        if os.environ.get("OAR_DEBUG"):
            raise
        print(
            f"internal error: {type(error).__name__}: {error} (please report it; OAR_DEBUG=1 shows where it happened)",
            file=sys.stderr,
        )
        sys.exit(1)


def _print(renderable: RenderableType) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False, soft_wrap=False).print(renderable)


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=False))


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"oar_opt {version('oar_opt')}")
        raise typer.Exit()


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def solve(
    instance: Instance,
    formulation: Annotated[str, typer.Option(help="A name from 'oar formulations', or auto.")] = "auto",
    solver: Annotated[
        str | None, typer.Option(help="highs, scip, or any that Pyomo finds (default: the formulation's own).")
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds for the whole run.")] = None,
    node_limit: Annotated[int | None, typer.Option(min=1, help="Branch-and-bound nodes.")] = None,
    gap: Annotated[float | None, typer.Option(help="Relative gap to stop at (default: the instance's).")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the solver.")] = 1,
    confirm: Annotated[bool, typer.Option(help="Solve again by a second formulation or solver.")] = False,
    pool: Annotated[int, typer.Option(min=1, help="How many of the best different moves to find.")] = 1,
    solver_option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, an option of the solver by its own name; may be repeated.")
    ] = None,
    solver_log: Annotated[Path | None, typer.Option(help="Write the solver's own log here.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain/--no-explain", help="Say which requirements conflict if infeasible.")
    ] = True,
    strict: Annotated[bool, typer.Option(help="Exit with 5 unless optimal or infeasible.")] = False,
    prove: Annotated[
        Path | None,
        typer.Option(
            help="Search for a proof that 'oar check' checks in exact arithmetic (with the time limit once more), take "
            "in what it proves, and write its certificate here (compressed if it ends in .gz)."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the solution file here.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Solve an instance, verify the answer and print it."""
    from oar_opt.library import load
    from oar_opt.pipeline import solve as run
    from oar_opt.report import explanation_words, solution_words
    from oar_opt.result import Status
    from oar_opt.solution_file import save_solution
    from oar_opt.solvers.options import parse_options

    problem = load(instance)
    _check_writable(output)
    _check_writable(prove)
    if prove is not None:
        from oar_opt.proving import require_provable

        require_provable(problem)
    started = time.monotonic()
    result = run(
        problem,
        formulation=formulation,
        solver=solver,
        time_limit=time_limit,
        node_limit=node_limit,
        gap=gap,
        threads=threads,
        confirm=confirm,
        pool=pool,
        progress=None if quiet else _Progress(),
        solver_options=parse_options(solver_option or ()),
        solver_log=solver_log,
    )
    if not quiet:
        for note in result.notes:
            _note(note)
    explanation: tuple[str, ...] = ()
    if explain and result.status is Status.INFEASIBLE:
        left = EXPLAIN_SECONDS if time_limit is None else time_limit - (time.monotonic() - started)
        if not quiet:
            _note(f"{_finding_out_why(left)} (--no-explain skips this)")
        result, explanation = _explained(result, formulation, solver, left, threads)
    unproved = None
    if prove is not None:
        result, unproved = cli_proof.proved(result, prove, time_limit, quiet)
    if output is not None:
        save_solution(result.solution, output)
        _note(f"solution written to {output}")
    if as_json:
        _print_json(result.solution.model_dump(mode="json"))
        for sentence in explanation if not quiet else ():
            _note(sentence)
    else:
        _print(solution_words(problem, result.solution))
        if explanation:
            _print(explanation_words(explanation))
    if unproved is not None:
        raise unproved
    if result.status is Status.UNKNOWN:
        raise typer.Exit(EXIT_NO_MOVE)
    if strict and result.status is Status.FEASIBLE:
        raise typer.Exit(EXIT_NOT_CERTIFIED)


def _finding_out_why(seconds: float) -> str:
    return f"infeasible; finding out why, for {max(seconds, 0.0):.0f} s at most"


def _explained(
    result: Result, formulation: str, solver: str | None, seconds: float, threads: int
) -> tuple[Result, tuple[str, ...]]:
    """The result with the conflicts that make it infeasible, and those in words."""
    from oar_opt.explain import explain_infeasibility, with_explanation

    explanation = explain_infeasibility(
        result.problem,
        proof=result,
        formulation=formulation,
        solver=solver,
        time_limit=max(seconds, LEAST_SECONDS),
        threads=threads,
    )
    return with_explanation(result, explanation), explanation.words


@app.command()
def bounds(
    instance: Instance,
    formulation: Annotated[str, typer.Option(help="A name from 'oar formulations', or auto.")] = "auto",
    tighten: Annotated[float, typer.Option(help="Seconds for optimality-based tightening; 0 is none.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """List the proved intervals that a formulation's big-Ms come from, with the reason of each end."""
    from oar_opt.bounds_listing import list_bounds
    from oar_opt.library import load
    from oar_opt.report import bounds_words

    listing = list_bounds(load(instance), formulation, tighten)
    if as_json:
        _print_json(listing.document())
    else:
        _print(bounds_words(listing))


@app.command()
def rounds(
    instance: Instance,
    world: Annotated[
        str | None, typer.Option(help="The instance as it turns out: a name or a file (default: as forecast).")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="Also a policy that looks this many rounds ahead; 1 is the myopic one.")
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds for all plans together.")] = None,
    formulation: Annotated[str, typer.Option(help="A name from 'oar formulations', or auto.")] = "auto",
    solver: Annotated[
        str | None, typer.Option(help="highs, scip, or any that Pyomo finds (default: the formulation's own).")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Play an instance of several rounds: planned once, re-planned every round, and nobody acts, side by side."""
    from oar_opt.library import load
    from oar_opt.rounds import play
    from oar_opt.rounds_words import rounds_document, rounds_words

    found = play(
        load(instance),
        None if world is None else load(world),
        horizon=horizon,
        formulation=formulation,
        solver=solver,
        time_limit=time_limit,
        progress=None if quiet else _note,
    )
    if as_json:
        _print_json(rounds_document(found))
    else:
        _print(rounds_words(found))
    if found.found_nothing:
        raise typer.Exit(EXIT_NO_MOVE)


@app.command()
def compare(
    instances: Annotated[list[str], typer.Argument(help="Shipped instances' names or paths of files.")],
    methods: Methods = None,
    time_limit: JointSeconds = None,
    heuristic_seconds: HeuristicSeconds = 5.0,
    seed: Seed = 0,
    formulation: JointFormulation = "auto",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX tables.")] = False,
    as_html: Annotated[bool, typer.Option("--html", help="Print one HTML page.")] = False,
    quiet: Quiet = False,
) -> None:
    """Exact against heuristic, joint against isolated: every method on every instance, side by side."""
    from oar_opt import compare_words
    from oar_opt.compare import compare as run
    from oar_opt.library import load
    from oar_opt.result import StoppedBy

    if as_json + as_csv + as_latex + as_html > 1:
        raise InputError("--json, --csv, --latex, --html", "are given together", "give one of them")
    names = None if methods is None else _names(methods)
    problems, found = [load(name) for name in instances], []
    try:
        for problem in problems:
            comparison = run(
                problem,
                names,
                seed=seed,
                heuristic_seconds=heuristic_seconds,
                time_limit=time_limit,
                formulation=formulation,
                progress=None if quiet else _Named(problem.name),
            )
            found.append(comparison)
            if as_latex:
                print(compare_words.comparison_latex(comparison))
            elif not (as_json or as_csv or as_html):
                _print(compare_words.comparison_words(comparison))
            if comparison.exact is not None and comparison.exact.stopped_by is StoppedBy.INTERRUPT:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        if not found:
            raise
        _note(f"interrupted; {len(found)} of {len(problems)} instances were compared")
    if as_json:
        _print_json([compare_words.comparison_document(comparison) for comparison in found])
    if as_html:
        from oar_opt.page import comparisons_page

        print(comparisons_page(found))
    if as_csv:
        print(compare_words.comparisons_csv(found), end="")


@app.command()
def sweep(
    instance: Instance,
    over: Annotated[
        str,
        typer.Option(
            help="What varies: radius=0.1:1:10, members=1:20, acting=1,2,4, total=..., each=..., required=... "
            "(first:last:count, first:last in whole numbers, or a list)."
        ),
    ],
    methods: Methods = None,
    goal: Annotated[
        str | None, typer.Option(help="Another goal than the file's; min_cost over required=... is the Pareto front.")
    ] = None,
    time_limit: JointSeconds = None,
    heuristic_seconds: HeuristicSeconds = 5.0,
    seed: Seed = 0,
    formulation: JointFormulation = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Keep points in this file; run again, and it does what is left."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the curves to this png, svg or pdf file.")] = None,
    draw: Annotated[
        str, typer.Option(help="What the curves show: objective, margin, cost, members, seconds, succeeds or gap.")
    ] = "objective",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    quiet: Quiet = False,
) -> None:
    """Compare methods at many values of a radius, the collective's size, a budget or the required margin."""
    from dataclasses import replace

    from oar_opt import sweep_words
    from oar_opt.compare import wanted
    from oar_opt.library import load
    from oar_opt.problem import GoalKind
    from oar_opt.sweep import CURVES, Over, Settings
    from oar_opt.sweep import sweep as run

    if as_json and as_csv:
        raise InputError("--json, --csv", "are given together", "give one of them")
    problem = load(instance)
    if goal is not None:
        if goal not in list(GoalKind):
            raise InputError("--goal", f"'{goal}' is unknown", f"there are: {', '.join(GoalKind)}")
        problem = replace(problem, goal=GoalKind(goal))
    varied = Over.parse(over)
    _check_writable(output)
    if draw not in CURVES:
        raise InputError("--draw", f"'{draw}' is unknown", f"there are: {', '.join(CURVES)}")
    if picture is not None:
        from oar_opt.pictures.curves import curves_picture
        from oar_opt.pictures.picture import format_of, save_picture

        format_of(picture)
        _check_writable(picture)
    names = None if methods is None else wanted(_names(methods))
    settings = Settings(names, seed, heuristic_seconds, time_limit, formulation)
    try:
        with _bar(f"{problem.name} over {varied.axis}", quiet) as advance:
            points = run(problem, varied, settings, path=output, jobs=jobs, progress=advance)
    except KeyboardInterrupt:
        kept = "with -o FILE a second run would do only what is left"
        if output is not None:
            kept = f"the points done by then are in {output}, and a second run does what is left"
        _note(f"interrupted; {kept}")
        raise typer.Exit(EXIT_NO_MOVE) from None
    if picture is not None:
        save_picture(curves_picture(problem, varied.axis, points, draw), picture)
        _note(f"curves drawn to {picture}")
    if as_json:
        _print_json(sweep_words.sweep_document(problem, varied.axis, points))
    elif as_csv:
        print(sweep_words.sweep_csv(varied.axis, points), end="")
    else:
        _print(sweep_words.sweep_words(problem, varied.axis, points))


@dataclass(frozen=True)
class _Named:
    """Progress by method, of one of several instances."""

    instance: str

    def __call__(self, method: str) -> None:
        _note(f"{self.instance}: {method.replace('_', ' ')}")


def _names(methods: str) -> list[str]:
    return [name.strip() for name in methods.split(",") if name.strip()]


@contextmanager
def _bar(words: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on standard error: to be told how many of how many are done."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(words), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@app.command()
def report(
    instance: Instance,
    solution: Annotated[
        Path | None, typer.Argument(help="A solution file, which is verified first (default: the instance is solved).")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default: INSTANCE.report.html.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="To compare with: names with commas between, or none (default: all that apply).")
    ] = None,
    time_limit: JointSeconds = None,
    heuristic_seconds: HeuristicSeconds = 5.0,
    seed: Seed = 0,
    formulation: JointFormulation = "auto",
    quiet: Quiet = False,
) -> None:
    """Write one self-contained HTML page: the problem, the answer, pictures, other methods, what was checked."""
    from oar_opt.compare import compare as run
    from oar_opt.compare import wanted
    from oar_opt.library import load
    from oar_opt.page import page
    from oar_opt.report import headline
    from oar_opt.result import Status

    if solution is not None and (time_limit is not None or formulation != "auto"):
        where = "--formulation" if time_limit is None else "--time-limit"
        raise InputError(where, "does nothing where a solution file is given", "leave out one of the two")
    names = None if methods is None or methods == "none" else wanted(_names(methods))
    problem = load(instance)
    target = output or Path(f"{problem.name}.report.html")
    _check_writable(target)
    why = None
    if solution is None:
        answer, why = _solved(problem, formulation, time_limit, quiet)
    else:
        answer = _verified(problem, solution)
    comparison = None
    if methods != "none":
        named = None if quiet else _Named(problem.name)
        comparison = run(problem, names, seed=seed, heuristic_seconds=heuristic_seconds, exact=answer, progress=named)
    target.write_text(page(problem, answer, comparison, why=why), encoding="utf-8")
    _note(f"{headline(problem, answer)}\nreport written to {target}")
    if answer.status is Status.UNKNOWN:
        raise typer.Exit(EXIT_NO_MOVE)


def _solved(
    problem: RecourseProblem, formulation: str, time_limit: float | None, quiet: bool
) -> tuple[Solution, tuple[str, ...] | None]:
    """The answer; where there is none, why, in words."""
    from oar_opt.pipeline import solve
    from oar_opt.result import Status

    started = time.monotonic()
    progress = None if quiet else _Progress()
    result = solve(problem, formulation=formulation, time_limit=time_limit, progress=progress)
    if result.status is not Status.INFEASIBLE:
        return result.solution, None
    left = EXPLAIN_SECONDS if time_limit is None else time_limit - (time.monotonic() - started)
    if not quiet:
        _note(_finding_out_why(left))
    result, why = _explained(result, formulation, None, left, 1)
    return result.solution, why


def _verified(problem: RecourseProblem, path: Path) -> Solution:
    """The solution in a file; what does not verify is told, and ends the run."""
    from oar_opt.report import verification_words, word_words
    from oar_opt.solution_file import load_solution
    from oar_opt.verification import verify

    answer = load_solution(path)
    found = verify(problem, answer)
    if not found.passed:
        _print(verification_words(str(path), found))
        raise typer.Exit(EXIT_NOT_VERIFIED)
    if found.word is not None:
        _note(word_words(found.word))
    return answer


@app.command()
def verify(
    instance: Instance,
    solution: Annotated[Path, typer.Argument(help="The solution file.")],
    certificate: Annotated[
        Path | None, typer.Option(help="The certificate of proof that the grade 'proved' rests on: check it as well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Re-train and re-check everything that a solution file states; exit code 4 if anything fails."""
    from oar_opt.library import load
    from oar_opt.report import verification_words
    from oar_opt.solution_file import load_solution
    from oar_opt.verification import verify as check

    problem, stated = load(instance), load_solution(solution)
    verdict = None
    if certificate is not None:
        from oar_opt.proving import check_certificate

        verdict = check_certificate(certificate, problem)
    found = check(problem, stated, verdict=verdict)
    if as_json:
        _print_json(
            {
                "instance": problem.name,
                "passed": found.passed,
                "grade": found.grade,
                "grade_on_the_files_word": found.word,
                "proof": verdict and verdict.sentence,
                "checks": [check.model_dump(mode="json") for check in found.checks],
                "failures": found.failures(),
            }
        )
    else:
        _print(verification_words(str(solution), found, verdict))
    if not found.passed:
        raise typer.Exit(EXIT_NOT_VERIFIED)


@app.command()
def show(instance: Instance, as_json: AsJson = False) -> None:
    """Describe an instance in words: learner, members, actions, queries and their margins before anyone acts."""
    from oar_opt.instance_file import dump_instance
    from oar_opt.library import load
    from oar_opt.report import instance_words

    problem = load(instance)
    if as_json:
        _print_json(dump_instance(problem))
    else:
        _print(instance_words(problem))


@app.command()
def formulations(
    instance: Annotated[
        str | None, typer.Option("--instance", "-i", help="Say which apply to this instance, and why others do not.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the formulations."""
    from rich.table import Table

    from oar_opt.discovery import formulations as known
    from oar_opt.discovery import summary
    from oar_opt.library import load

    problem = load(instance) if instance else None
    rows = []
    for name, item in known().items():
        reason = item.accepts(problem) if problem else None
        rows.append({"name": name, "exactness": str(item.exactness), "summary": summary(item), "reason": reason})
    if as_json:
        _print_json([{**row, "applies": row["reason"] is None} if problem else row for row in rows])
        return
    table = Table()
    table.add_column("formulation")
    table.add_column("exactness")
    table.add_column(f"applies to {problem.name}" if problem else "statement")
    for row in rows:
        words = ("no: " + str(row["reason"]) if row["reason"] else "yes") if problem else row["summary"]
        table.add_row(row["name"], row["exactness"], words)
    _print(table)


@app.command()
def instances(
    asked: Annotated[
        str, typer.Argument(metavar="SET", help="examples, or of the library: smoke, benchmark, challenge, library.")
    ] = "examples",
    as_json: AsJson = False,
) -> None:
    """List the shipped instances."""
    from rich.table import Table

    from oar_opt.bench.sets import names_of
    from oar_opt.library import load

    problems = [load(name) for name in names_of(asked)]
    if as_json:
        _print_json(
            [
                {
                    "name": p.name,
                    "title": p.title,
                    "learner": p.learner.kind,
                    "n": p.n,
                    "d": p.d,
                    "members": len(p.collective.members),
                    "goal": p.goal,
                }
                for p in problems
            ]
        )
        return
    table = Table()
    for column in ("instance", "learner", "n", "d", "members", "goal", "title"):
        right = column in ("n", "d", "members")
        table.add_column(column, justify="right" if right else "left", no_wrap=column == "instance")
    for p in problems:
        table.add_row(p.name, p.learner.kind, str(p.n), str(p.d), str(len(p.collective.members)), str(p.goal), p.title)
    _print(table)


@app.command()
def solvers(as_json: AsJson = False) -> None:
    """List the solvers that are installed, and what each can take."""
    from oar_opt.solvers.listing import list_solvers, solver_words

    rows = list_solvers()
    if as_json:
        _print_json([row.document() for row in rows])
    else:
        _print(solver_words(rows))


@app.command()
def convert(
    table: Annotated[Path, typer.Argument(help="A csv file with a header, UTF-8.")],
    target: Annotated[str, typer.Option(help="The column with labels, or numbers for regression.")],
    actions: Annotated[Path, typer.Option(help="JSON: 'collective', 'features' and other parts of an instance.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The instance's file, NAME.json.")],
    learner: Annotated[str | None, typer.Option(help="A kind, or JSON (default: the file's, else ridge).")] = None,
    query: Annotated[
        str | None, typer.Option(help="A row's number from 0 (it leaves the training records), or JSON.")
    ] = None,
    want: Annotated[
        str | None, typer.Option(help="The query's class (default: the other one), or '>=3.5' for regression.")
    ] = None,
    required: Annotated[float | None, typer.Option(help="The margin that the query has to reach.")] = None,
    members: Annotated[str | None, typer.Option(help="Rows like 0:9,14 (default: the file's).")] = None,
    goal: Annotated[str | None, typer.Option(help="Default: the file's, else max_margin.")] = None,
    classes: Annotated[str | None, typer.Option(help="Names with commas between; of two, the negative first.")] = None,
    keep_query: Annotated[bool, typer.Option(help="Learn from the query's row, too.")] = False,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")] = None,
    by_reference: Annotated[bool, typer.Option(help="Refer to the csv file instead of writing records out.")] = False,
) -> None:
    """Make an instance from a table and a JSON file with what the collective may do."""
    from oar_opt.conversion import Wishes
    from oar_opt.conversion import convert as run
    from oar_opt.conversion.words import converted_words
    from oar_opt.json_input import located, read_json_object

    _check_writable(output)
    part, _ = read_json_object(actions)
    wishes = Wishes(target, learner, query, want, required, members, goal, classes, keep_query, tuple(drop or ()))
    with located(actions.name):
        converted = run(table, part, wishes, output.stem)
    converted.save(output, by_reference)
    _print(converted_words(converted))
    _note(f"instance written to {output}")


@app.command()
def export(
    instance: Annotated[
        str | None, typer.Argument(help="A shipped instance's name ('oar instances') or the path of a file.")
    ] = None,
    formulation: Annotated[str, typer.Option(help="A name from 'oar formulations', or auto.")] = "auto",
    form: Annotated[
        str, typer.Option("--format", help="lp, mps, mps-min, cip, nl, gams, bar, mof, cbf or mps-aux; see --list.")
    ] = "mps-min",
    listed: Annotated[bool, typer.Option("--list", help="Say which formats hold which formulation.")] = False,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Write a start and known bounds.")] = True,
    check: Annotated[
        bool | None,
        typer.Option("--check/--no-check", help="Read the file back by other programs (default: to 20,000 columns)."),
    ] = None,
    tighten: Annotated[
        float | None, typer.Option(help="Seconds for better bounds; 0 is none (default: the formulation's own).")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default: the instance's name.")] = None,
) -> None:
    """Write the program for other solvers, with a JSON map of its names, a start, and what other readers find."""
    from oar_opt.export import export as write
    from oar_opt.export.formats import format_named
    from oar_opt.library import load

    if listed:
        _print_formats(instance)
        return
    if instance is None:
        raise InputError("INSTANCE", "is missing", "name an instance, or ask for --list")
    problem = load(instance)
    target = output or Path(f"{problem.name}.{format_named(form).ending}")
    written = write(problem, target, formulation=formulation, form=form, start=start, checked=check, tightening=tighten)
    print(f"{written.path}: {written.formulation}, {written.rows} rows, {written.columns} columns")
    if written.aux_path is not None:
        print(
            f"{written.aux_path}: the follower, {written.rows_below} rows and {written.columns_below} columns of these"
        )
    print(f"{written.map_path}: what every name means, and the proof of every bound")
    if written.is_negated:
        print("The goal is maximised, and the file minimises minus it: its optimum has the other sign.")
    for path in written.start.files:
        print(f"{path}: {'a start' if path.suffix == '.sol' else 'what is known of the optimum'}")
    if written.start.missing:
        _note(written.start.missing)
    for opinion in written.opinions:
        print(f"Read by {opinion}" if opinion.agrees is not None else f"Not read by {opinion}")
    if any(opinion.agrees is False for opinion in written.opinions):
        raise SolverError(f"{target} is read otherwise elsewhere, or has another optimum there: see above")


def _print_formats(instance: str | None) -> None:
    from rich.table import Table

    from oar_opt.export.listing import listing
    from oar_opt.library import load

    problem = load(instance) if instance else None
    table = Table()
    for column in ("formulation", f"formats for {problem.name}" if problem else "formats", "not"):
        table.add_column(column)
    for row in listing(problem):
        table.add_row(row.formulation, ", ".join(row.formats) or "-", row.words)
    _print(table)


@app.command("import-solution")
def import_solution(
    instance: Instance,
    answer: Annotated[Path, typer.Argument(help="The solver's solution file for an exported program.")],
    map_file: Annotated[
        Path | None, typer.Option("--map", help="The exported file's map (default: FILE.map.json of FILE.sol).")
    ] = None,
    bound: Annotated[float | None, typer.Option(help="The solver's bound on the goal, as its claim.")] = None,
    solver: Annotated[str | None, typer.Option(help="The solver's name (default: told by the file's style).")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the solution file here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring a solver's answer to an exported program back: re-trained, verified, as a solution file."""
    from oar_opt.export.answer_import import import_answer
    from oar_opt.library import load
    from oar_opt.report import solution_words
    from oar_opt.solution_file import save_solution

    problem = load(instance)
    _check_writable(output)
    result = import_answer(problem, answer, map_file, bound=bound, solver=solver)
    if output is not None:
        save_solution(result.solution, output)
        _note(f"solution written to {output}")
    if as_json:
        _print_json(result.solution.model_dump(mode="json"))
    else:
        _print(solution_words(problem, result.solution))


@app.command()
def plot(
    instance: Instance,
    solution: Annotated[Path | None, typer.Argument(help="A solution file; without it: if nobody acts.")] = None,
    kind: Annotated[str, typer.Option(help="regions, moves (of a solution), or progress (solves).")] = "regions",
    features: Annotated[
        str | None, typer.Option(help="Two features A,B for regions (default: the records' principal plane).")
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds, where the kind is progress.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="FILE.png, .svg or .pdf (default: INSTANCE-KIND.png).")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Draw decision regions before and after, the members' moves, or the progress of a solve."""
    from oar_opt.library import load
    from oar_opt.pictures.kinds import check_kind, draw
    from oar_opt.pictures.picture import format_of, save_picture
    from oar_opt.solution_file import load_solution

    named = [name.strip() for name in features.split(",")] if features is not None else []
    check_kind(kind, has_solution=solution is not None, features=named, time_limit=time_limit)
    problem = load(instance)
    path = output or Path(f"{problem.name}-{kind}.png")
    format_of(path)
    _check_writable(path)
    picture = draw(
        problem,
        None if solution is None else load_solution(solution),
        kind,
        features=named,
        time_limit=time_limit,
        progress=None if quiet else _Progress(),
    )
    save_picture(picture, path)
    print(f"{path}: {picture.alt}")


def _check_writable(path: Path | None) -> None:
    """Before a long run, not after it."""
    if path is None:
        return
    at = path if path.exists() else path.parent
    if path.is_dir() or not path.parent.is_dir() or not os.access(at, os.W_OK):
        raise InputError(str(path), "cannot be written", "give a file in an existing folder")


class _Progress:
    """One line on standard error: rewritten on a terminal, else a new one every few seconds."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.last = -1e9

    def __call__(self, progress: Progress) -> None:
        from oar_opt.report import number

        now = time.monotonic()
        if now - self.last < (0.2 if self.live else 5.0):
            return
        self.last = now
        line = (
            f"{progress.seconds:7.1f} s  nodes {progress.nodes}  primal {number(progress.primal)}  "
            f"bound {number(progress.bound)}  gap {self._gap(progress)}"
        )
        print(f"\r{line:<78}" if self.live else line, end="" if self.live else "\n", file=sys.stderr, flush=True)

    @staticmethod
    def _gap(progress: Progress) -> str:
        from oar_opt.result import relative_gap

        if progress.primal is None or progress.bound is None:
            return "-"
        return f"{100 * relative_gap(progress.primal, progress.bound):.2f} %"


cli_bench.register(app)
cli_proof.register(app)

if __name__ == "__main__":
    main()
