"""The process of one run: a task as JSON on standard input, the instance's digest and the run as lines to a descriptor.

``python -m oar_opt.bench.child DESCRIPTOR``; :func:`oar_opt.bench.runs.run_in_process` starts it. Standard output stays
what solvers make of it.

Standard input stays open at its other end for as long as the one who asked is there. When it closes, however that came
about, the system sends SIGIO to this process and those that it has started, which ends them: also while a solver runs
that lets no other thread work.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import sys
from dataclasses import asdict

from oar_opt.bench.runs import Task, digest_of, measure


def main() -> None:
    """Read the task, run it and tell."""
    text = sys.stdin.readline()
    _end_with(sys.stdin.fileno())
    task = Task(**json.loads(text))
    resource.setrlimit(resource.RLIMIT_AS, (task.memory, task.memory))
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as lines:
        problem = task.problem()
        print(digest_of(problem), file=lines, flush=True)
        print(json.dumps(asdict(measure(problem, task.method, task.limit))), file=lines, flush=True)


def _end_with(reading: int) -> None:
    """End this process and its group when the pipe's other end closes."""
    pipe = os.dup(reading)
    # Solvers find an empty input and not one that never comes.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, reading)
    os.close(nothing)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    # Nothing follows the task, so that what can be read now is an end that came before.
    if select.select([pipe], [], [], 0)[0]:
        sys.exit("the one who asked for this run is gone")


if __name__ == "__main__":
    main()
