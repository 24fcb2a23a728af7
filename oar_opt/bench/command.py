"""The command line that all benchmarks by instance name share; :mod:`oar_opt.bench.runs` does the work.

A benchmark is a set of named instances and a report on the file of results. Every run has a process of its own and
leaves one line in that file; a run whose line is there already is not repeated.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from oar_opt.bench.comparison import Comparison, contradictions
from oar_opt.bench.runs import OURS, TEXTBOOK, Run, append_run, check_method, open_tasks, read_runs, run_all, selected
from oar_opt.errors import InputError

GIGABYTE = 1 << 30
ROW = "{:<66} {:<24} {:>9}  {:<11} {:>12} {:>12}"


@dataclass(frozen=True)
class Benchmark:
    """``module`` is the part of its name behind ``oar_opt.bench``; ``limit`` is in seconds for each run."""

    module: str
    summary: str
    names: Callable[[], Iterable[str]]
    report: Callable[[Comparison], str]
    limit: float

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog=f"python -m oar_opt.bench.{self.module}", description=self.summary)
        limit, results = self.limit, Path(f"{self.module}.jsonl")
        parser.add_argument("--limit", type=float, default=limit, help=f"seconds for each run (default {limit:g})")
        parser.add_argument(
            "--methods",
            default=f"{OURS},{TEXTBOOK}",
            help="separated by commas: ours, textbook, formulation:NAME, formulation:NAME@SOLVER "
            "(default ours,textbook)",
        )
        parser.add_argument("--only", metavar="PATTERN", help="instances whose name matches or contains this")
        parser.add_argument("--results", type=Path, default=results, help="the file of results, also read")
        parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="runs at a time (default 1)")
        parser.add_argument("--memory", type=float, default=6.0, help="gigabytes for each run (default 6)")
        parser.add_argument("--list", action="store_true", help="print the names of all instances")
        parser.add_argument("--report", type=Path, nargs="+", metavar="FILE", help="only report what these files say")
        found = parser.parse_args(arguments)
        if not (found.limit > 0 and found.memory > 0):
            parser.error("--limit, --memory: give a number above 0")
        return found

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Exit code 1 where two runs contradict each other, 2 for a wrong argument, 130 where it was interrupted."""
        asked = self.parse(arguments)
        try:
            if asked.list:
                print("\n".join(self.names()))
                return 0
            if asked.report is None:
                self.run_open(asked)
            return self.tell([run for path in asked.report or [asked.results] for run in read_runs(path)])
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            print("interrupted; the file of results has what was finished", file=sys.stderr)
            return 130

    def run_open(self, asked: argparse.Namespace) -> None:
        """Run whatever the file of results lacks, printing every line as it comes."""
        methods = [word for word in asked.methods.split(",") if word]
        for method in methods:
            check_method(method)
        names, done = selected(self.names(), asked.only), read_runs(asked.results)
        tasks = open_tasks(names, methods, asked.limit, int(asked.memory * GIGABYTE), done)
        print(f"{len(tasks)} of {len(names) * len(methods)} runs to do")
        for run in run_all(tasks, asked.jobs, partial(append_run, asked.results)):
            print(line_of(run), flush=True)

    def tell(self, runs: Sequence[Run]) -> int:
        """Print the report; 1 where runs contradict each other."""
        if not runs:
            raise InputError("--results", "there are no runs to report", "run some first")
        comparison = Comparison.of(runs)
        print(self.report(comparison))
        return 1 if contradictions(comparison) else 0

    def as_program(self) -> None:
        """Run with the arguments of the process, and end it."""
        # Also in the background, where shells make processes ignore Ctrl-C's signal, an end takes the run along.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        sys.exit(self.main())


def line_of(run: Run) -> str:
    values = ["-" if value is None else f"{value:.6g}" for value in (run.objective, run.bound)]
    return ROW.format(run.instance, run.method, f"{run.seconds:.2f}", run.status, *values).rstrip()
