"""The process of one run: a task as JSON on standard input, the instance's digest and the run as lines to a descriptor.

``python -m oar_opt.bench.child DESCRIPTOR``; :func:`oar_opt.bench.runs.run_in_process` starts it. Standard output stays
what solvers make of it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import asdict

from oar_opt.bench.runs import Task, digest_of, measure


def main() -> None:
    """Read the task, run it and tell."""
    task = Task(**json.load(sys.stdin))
    resource.setrlimit(resource.RLIMIT_AS, (task.memory, task.memory))
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as lines:
        problem = task.problem()
        print(digest_of(problem), file=lines, flush=True)
        print(json.dumps(asdict(measure(problem, task.method, task.limit))), file=lines, flush=True)


if __name__ == "__main__":
    main()
