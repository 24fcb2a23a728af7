"""One gradient step with a crowd: seconds, memory and proved gap by the number of members, and a search beside it.

    python -m oar_opt.bench.online --members 1000,10000,100000,1000000
    python -m oar_opt.bench.online --members 1000,10000 --kind labels --search 10

Logistic loss, 20 features, everybody a member, one query that is decided against. ``changes``: an l2 radius of 1/2, a
total budget of 0.02 n in the l2 norm, at most 0.05 n members act. ``labels``: report the other label at cost 1, a total
budget of 0.03 n, at most 0.05 n members act. Every size has a process of its own, whose peak memory is told.
``--search S`` also runs projected gradient ascent through the step (:mod:`oar_opt.heuristics.projected_gradient`; for
labels local search) for S seconds by itself, checks its moves, and tells how far it is from the certified bound. A run
far beyond its limit is stopped (without ``--limit`` it may take as long as it does).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from oar_opt.discovery import formulations, heuristics
from oar_opt.errors import VerificationError
from oar_opt.evaluate import evaluate
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    FeatureAction,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Member,
    Norm,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.rules import budget_violations
from oar_opt.update_settings import gradient_update
from oar_opt.verification import move_violations

KINDS = {"changes": "projected_gradient", "labels": "local_search"}
"""Kinds of instances, and the search that knows each."""
PROGRAM = (sys.executable, "-m", "oar_opt.bench.online")
FEATURES = 20
ROW = "{:>9} {:>9} {:>8} {:>8} {:>8} {:>7} {:>11} {:>11} {:>10} {:>9} {:>8} {:>12}"
HEAD = (
    "members",
    "seconds",
    "build",
    "solve",
    "verify",
    "MB",
    "objective",
    "bound",
    "gap",
    "status",
    "acting",
    "search gap",
)


def crowd(n: int, kind: str = "changes", seed: int = 0) -> RecourseProblem:
    """The instance with ``n`` members."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=FEATURES) / np.sqrt(FEATURES)
    X = rng.normal(size=(n, FEATURES))
    y = np.where(X @ truth + 0.5 * rng.normal(size=n) > 0, 1.0, -1.0)
    w0 = truth + 0.3 * rng.normal(size=FEATURES) / np.sqrt(FEATURES)
    x = rng.normal(size=FEATURES)
    actions = (FeatureAction(Norm.L2, 0.5),) if kind == "changes" else (LabelAction((-1.0, 1.0)),)
    budget = Budget(total=(0.02 if kind == "changes" else 0.03) * n, members=int(0.05 * n))
    return RecourseProblem(
        name=f"crowd-{kind}-{n}",
        records=Records(X, y, np.ones(n)),
        learner=LearnerSpec("logistic", C=1.0, intercept=Intercept.FREE),
        classes=("no", "yes"),
        collective=Collective(tuple(Member(i, actions) for i in range(n)), CostKind.L2, budget),
        queries=(Query("query", tuple(x.tolist()), -float(np.sign(x @ w0))),),
        goal=GoalKind.MAX_MARGIN,
        update=gradient_update(w0.tolist(), 0.1, rate=1.0),
    )


def measured(n: int, kind: str, limit: float | None, search: float) -> dict[str, Any]:
    """One run in this process: what the table tells. Reading the formulations is not in its seconds."""
    formulations(), heuristics()
    problem = crowd(n, kind)
    started = time.monotonic()
    result = solve(problem, time_limit=limit)
    total = time.monotonic() - started
    seconds = result.solution.seconds
    return {
        "members": n,
        "kind": kind,
        "seconds": total,
        "build": seconds.build,
        "solve": seconds.solve,
        "verify": seconds.verify,
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "objective": result.objective,
        "bound": result.bound,
        "gap": result.solution.relative_gap,
        "status": str(result.status),
        "acting": len(result.moves),
        "search gap": gap_of_search(problem, kind, search, result.bound) if search > 0 else None,
    }


def gap_of_search(problem: RecourseProblem, kind: str, seconds: float, bound: float | None) -> float | None:
    """How far the search's answer is below the bound, once it has been checked against every rule and budget.

    Raises
    ------
    VerificationError : its moves break a rule, or beat the bound.
    """
    moves = heuristics()[KINDS[kind]].propose(problem, time_limit=seconds).moves
    broken = move_violations(problem, moves) + budget_violations(problem, moves)
    if broken:
        raise VerificationError(f"the search breaks a rule: {broken[0]}")
    if bound is None:
        return None
    gap = bound - evaluate(problem, moves).objective
    if gap < -problem.tolerances.feasibility:
        raise VerificationError(f"the search is {-gap:.3g} above the certified bound")
    return gap


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    cells = []
    for name in HEAD:
        value = found[name]
        small = name in ("objective", "bound", "gap", "search gap")
        cells.append(
            "-" if value is None else f"{value:.4g}" if small else f"{value:.1f}" if isinstance(value, float) else value
        )
    return ROW.format(*cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, a row as soon as it is there. Exit code 1 where a run failed."""
    parser = argparse.ArgumentParser(prog="python -m oar_opt.bench.online", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--members", default="1000,10000,100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--kind", choices=tuple(KINDS), default="changes")
    parser.add_argument("--limit", type=float, help="seconds for each run (default none)")
    parser.add_argument("--search", type=float, default=0.0, help="seconds for the search beside it (default 0: none)")
    parser.add_argument("--json", action="store_true", help="a JSON object for each row")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    try:
        sizes = [int(word) for word in asked.members.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 20:
        parser.error("--members: give whole numbers of at least 20, separated by commas")
    if asked.here:
        print(json.dumps(measured(sizes[0], asked.kind, asked.limit, asked.search)))
        return 0
    if not asked.json:
        print(ROW.format(*HEAD))
    failed = False
    for n in sizes:
        own = ["--here", "--members", str(n), "--kind", asked.kind, "--search", str(asked.search)]
        own += [] if asked.limit is None else ["--limit", str(asked.limit)]
        patience = None if asked.limit is None else 4 * asked.limit + asked.search + 60
        try:
            done = subprocess.run([*PROGRAM, *own], capture_output=True, text=True, timeout=patience)
        except subprocess.TimeoutExpired:
            failed = True
            print(f"{n} members: stopped after {patience:g} s", file=sys.stderr)
            continue
        if done.returncode:
            failed = True
            print(f"{n} members: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        print(done.stdout.strip() if asked.json else line(json.loads(done.stdout.splitlines()[-1])), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
