"""Label flips of a support vector machine: our model against the published kind with ``n^2`` products.

    python -m oar_opt.bench.label_flips [--n 20 30] [--queries 3] [--time-limit 120] [--json FILE]

What is measured
----------------
Instances: ``n`` flowers of Iris, half versicolor and half virginica, drawn with a seed and standardised over
themselves; SVM with hinge loss, linear kernel, ``C = 1`` and a penalised intercept (a constant feature 1); at most 2 of
all ``n`` labels may flip. Each query is a flower that was left out, and it wants the species that it is not. Goal: its
largest margin.

Methods, all solved by :func:`oar_opt.solvers.highs.run` with the same request (one thread, gap 1e-6), and without the
heuristics, cutoff and start that ``oar solve`` would give to ours:

- ``kkt_big_m``: our formulation, one product per label that a record may have;
- ``products_1e4``: the rival below with the constant 1e4 for its multipliers, the published default;
- ``products_proved``: the rival with the smallest constants that are easy to prove, see :func:`proved_big_m`.

The rival is our own statement, in our own words and code, of the kind of model in M. Sabanayagam, L. Gosch,
S. Guennemann, D. Ghoshdastidar, "Exact Certification of (Graph) Neural Networks Against Label Poisoning", 2025
(LabelCert). It writes the optimality conditions of the SVM's dual

    min over 0 <= alpha <= C  of  1/2 sum_ij t_i t_j alpha_i alpha_j Q_ij - sum_i alpha_i

with the kernel matrix ``Q``, multipliers ``u`` and ``v`` of the two bounds, and labels ``t_i`` in {-1, 1} as variables:

    sum_j Q_ij R_ij - 1 - u_i + v_i = 0,   u_i alpha_i = 0,   v_i (C - alpha_i) = 0,   u_i, v_i >= 0       (all i)
    p_j = t_j alpha_j  (n products),       R_ij = t_i p_j  (n^2 products),   at most 2 of the t_i differ from y_i

Each product with a label is four linear rows with the constant ``C``, which are exact. Each complementarity condition
has one binary, with a constant for ``u_i`` or ``v_i``. The margin is ``t_q sum_j p_j Q(x_j, x_q)``.

How it is measured
------------------
Seconds are those of building and solving, on one clock, after one small warm-up of every method. All methods run on one
instance before the next one starts, and which goes first rotates. A run that the limit stops (or that the solver breaks
off) counts as the limit: the ratio rival / ours is then marked "at least" or "at most". There is no ratio where both
were stopped or one claims something wrong. Afterwards all choices of at most 2 flips are re-trained; every claim must
agree with the best of them to 1e-5. The exit code is 1 if ``kkt_big_m`` or ``products_proved`` claims anything wrong; a
wrong claim of ``products_1e4`` is reported only, for nobody proves that its constant is large enough, and a large one
lets tolerances through.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.contracts import Program, PyomoProgram
from oar_opt.discovery import formulations
from oar_opt.errors import SolverError
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.parameters import LinearParameters
from oar_opt.problem import (
    Budget,
    Collective,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Matrix,
    Member,
    Move,
    Query,
    Records,
    RecourseProblem,
    Vector,
)
from oar_opt.result import Claim, Request, StoppedBy

FLIPS = 2
C = 1.0
SEED = 20
DEFAULT_BIG_M = 1e4
GAP = 1e-6
AGREEMENT = 1e-5
OURS, UNPROVED, PROVED = "kkt_big_m", "products_1e4", "products_proved"
MEAN = "geometric mean"


# -- instances ---


def make_problems(n: int, queries: int, seed: int = SEED) -> list[RecourseProblem]:
    """One problem per query, all with the same ``n`` records."""
    from sklearn.datasets import load_iris

    data = load_iris()
    draw = np.random.default_rng([seed, n])
    order = [draw.permutation(np.flatnonzero(data.target == species)) for species in (1, 2)]
    rows = np.sort(np.concatenate([order[0][: n // 2], order[1][: n - n // 2]]))
    left = draw.permutation(np.concatenate([order[0][n // 2 :], order[1][n - n // 2 :]]))
    mean, deviation = data.data[rows].mean(axis=0), data.data[rows].std(axis=0)
    Z = np.round((data.data - mean) / deviation, 6)
    y = np.where(data.target == 2, 1.0, -1.0)
    records = Records(Z[rows], y[rows], np.ones(n))
    return [_problem(f"n{n}-flower{row}", records, Z[row], -float(y[row])) for row in left[:queries]]


def _problem(name: str, records: Records, x: Vector, target: float) -> RecourseProblem:
    flip = (LabelAction((-1.0, 1.0)),)
    return RecourseProblem(
        name=name,
        records=records,
        learner=LearnerSpec("svm", Intercept.PENALIZED, C=C),
        collective=Collective(tuple(Member(i, flip) for i in range(records.n)), budget=Budget(members=FLIPS)),
        queries=(Query("flower", tuple(x.tolist()), target),),
        goal=GoalKind.MAX_MARGIN,
        classes=("versicolor", "virginica"),
    )


# -- the rival ---


@dataclass(frozen=True)
class BigM:
    """Constants for the multipliers ``u`` and ``v``, ``(n,)`` each."""

    u: Vector
    v: Vector


def default_big_m(problem: RecourseProblem) -> BigM:
    """The published default, whatever the data."""
    constant = np.full(problem.n, DEFAULT_BIG_M)
    return BigM(constant, constant)


def proved_big_m(problem: RecourseProblem) -> BigM:
    """The smaller of two constants, one from intervals and one from the norm of the parameters.

    Intervals: with ``r_i = t_i sum_(j != i) Q_ij p_j``, stationarity reads ``r_i + Q_ii alpha_i - 1 - u_i + v_i = 0``.
    Where ``u_i > 0``, ``alpha_i = v_i = 0``, so ``u_i = r_i - 1``. Where ``v_i > 0``, ``alpha_i = C`` and ``u_i = 0``,
    so ``v_i = 1 - C Q_ii - r_i``. Record ``j`` adds to ``r_i`` between 0 and ``C t_i y_j Q_ij``, and if flipped between
    0 and minus that; where ``i`` is flipped itself, ``t_i = -y_i`` and one flip less is left to the others.

    Norm: ``alpha_i > 0`` implies ``t_i f_i <= 1``, so ``||theta||^2 = sum_i alpha_i t_i f_i <= sum_i alpha_i <= C n``
    and ``|f_i| <= sqrt(C n Q_ii)``; where positive, ``u_i`` is ``t_i f_i - 1`` and ``v_i`` is ``1 - t_i f_i``.
    """
    kernel, y = kernel_matrix(problem), problem.records.y
    u = np.sqrt(C * problem.n * np.diag(kernel)) - 1
    v = u + 2
    for i in range(problem.n):
        pulls = C * y[i] * np.delete(y * kernel[i], i)
        highest = max(_reach(pulls, FLIPS), _reach(-pulls, FLIPS - 1))
        lowest = -max(_reach(-pulls, FLIPS), _reach(pulls, FLIPS - 1))
        u[i] = max(0.0, min(u[i], highest - 1))
        v[i] = max(0.0, min(v[i], 1 - C * float(kernel[i, i]) - lowest))
    return BigM(u, v)


def _reach(pulls: Vector, flips: int) -> float:
    """The largest ``sum_j share_j pulls_j``: shares in [0, 1], but ``flips`` of them may be in [-1, 0]."""
    gains = np.sort(np.maximum(0.0, -pulls))[::-1]
    return float(np.maximum(0.0, pulls).sum() + gains[:flips].sum())


def kernel_matrix(problem: RecourseProblem) -> Matrix:
    """``Q_ij = x_i' x_j + 1``."""
    X = problem.records.X
    kernel: Matrix = X @ X.T + 1.0
    return kernel


def product_program(problem: RecourseProblem, big_m: BigM) -> PyomoProgram:
    """The rival's model; see the module's docstring."""
    m, records = pyo.ConcreteModel(name=problem.name), range(problem.n)
    m.flip = pyo.Var(records, domain=pyo.Binary)
    m.alpha = pyo.Var(records, bounds=(0, C))
    m.p = pyo.Var(records, bounds=(-C, C))
    m.R = pyo.Var(records, records, bounds=(-C, C))
    label = [float(y) * (1 - 2 * m.flip[i]) for i, y in enumerate(problem.records.y)]
    m.flips = pyo.Constraint(expr=sum(m.flip[i] for i in records) <= FLIPS)
    m.signed = pyo.ConstraintList()
    for j in records:
        _add_product(m.signed, m.p[j], label[j], m.alpha[j])
    m.products = pyo.ConstraintList()
    for i in records:
        for j in records:
            _add_product(m.products, m.R[i, j], label[i], m.p[j])
    _add_optimality(m, kernel_matrix(problem), big_m)
    m.goal = pyo.Objective(expr=_margin(problem, m), sense=pyo.maximize)
    return PyomoProgram(
        model=m,
        read=lambda: _read(problem, m),
        start=lambda moves, _parameters: _start(problem, m, moves),
        meanings={},
        bounds={},
    )


def _add_product(rows: Any, product: Any, label: Any, factor: Any) -> None:
    """``product = label * factor`` for a label in {-1, 1} and a factor in [-C, C]."""
    rows.add(product <= factor + C * (1 - label))
    rows.add(product >= factor - C * (1 - label))
    rows.add(product <= -factor + C * (1 + label))
    rows.add(product >= -factor - C * (1 + label))


def _add_optimality(m: Any, kernel: Matrix, big_m: BigM) -> None:
    """Stationarity of the dual's Lagrangian, and complementarity with a binary for each condition."""
    records = range(len(kernel))
    m.u = pyo.Var(records, bounds=lambda _, i: (0, float(big_m.u[i])))
    m.v = pyo.Var(records, bounds=lambda _, i: (0, float(big_m.v[i])))
    m.at_zero = pyo.Var(records, domain=pyo.Binary)
    m.at_top = pyo.Var(records, domain=pyo.Binary)
    m.stationarity = pyo.Constraint(
        records,
        rule=lambda m, i: sum(float(kernel[i, j]) * m.R[i, j] for j in records) - 1 - m.u[i] + m.v[i] == 0,
    )
    m.u_used = pyo.Constraint(records, rule=lambda m, i: m.u[i] <= float(big_m.u[i]) * m.at_zero[i])
    m.alpha_zero = pyo.Constraint(records, rule=lambda m, i: m.alpha[i] <= C * (1 - m.at_zero[i]))
    m.v_used = pyo.Constraint(records, rule=lambda m, i: m.v[i] <= float(big_m.v[i]) * m.at_top[i])
    m.alpha_top = pyo.Constraint(records, rule=lambda m, i: C - m.alpha[i] <= C * (1 - m.at_top[i]))


def _margin(problem: RecourseProblem, m: Any) -> Any:
    (query,) = problem.queries
    weights = query.target * (problem.records.X @ np.array(query.x) + 1.0)
    return sum(float(weights[j]) * m.p[j] for j in range(problem.n))


def _read(problem: RecourseProblem, m: Any) -> tuple[tuple[Move, ...], LinearParameters]:
    p = np.array([m.p[j].value for j in range(problem.n)])
    moves = tuple(_flipped(problem, i) for i in range(problem.n) if m.flip[i].value > 0.5)
    return moves, LinearParameters.of(problem.records.X.T @ p, float(p.sum()))


def _flipped(problem: RecourseProblem, i: int) -> Move:
    records = problem.records
    return Move(i, tuple(records.X[i].tolist()), -float(records.y[i]), float(records.s[i]), 1.0)


def _start(problem: RecourseProblem, m: Any, moves: Sequence[Move]) -> Mapping[str, float]:
    acting = {move.record for move in moves}
    return {m.flip[i].name: float(i in acting) for i in range(problem.n)}


METHODS: dict[str, Callable[[RecourseProblem], Program]] = {
    OURS: lambda problem: formulations()[OURS].build(problem),
    UNPROVED: lambda problem: product_program(problem, default_big_m(problem)),
    PROVED: lambda problem: product_program(problem, proved_big_m(problem)),
}


# -- measuring ---


@dataclass(frozen=True)
class Run:
    """One method on one instance. ``retrained`` is the margin that the claimed flips really give."""

    instance: str
    n: int
    method: str
    seconds: float
    limited: bool
    status: str
    claimed: float | None
    bound: float | None
    nodes: int
    flips: tuple[int, ...]
    retrained: float | None
    solver: str


@dataclass(frozen=True)
class Ratio:
    """Seconds of a rival over ours. ``mark`` qualifies the value, or says why it is None."""

    instance: str
    method: str
    value: float | None
    mark: str


def measure(problem: RecourseProblem, method: str, limit: float) -> Run:
    """Build and solve once, on one clock; re-training comes after it."""
    started = time.perf_counter()
    program = METHODS[method](problem)
    left = max(0.01, limit - (time.perf_counter() - started))
    claim: Claim | None
    try:
        claim = program.run(Request(time_limit=left, relative_gap=GAP, threads=1))
    except SolverError as error:
        claim, status = None, f"error: {error}"
    else:
        status = _status(claim)
    seconds = time.perf_counter() - started
    limited = claim is None or claim.stopped_by is StoppedBy.TIME_LIMIT
    moves = claim.moves if claim else None
    return Run(
        instance=problem.name,
        n=problem.n,
        method=method,
        seconds=limit if limited else seconds,
        limited=limited,
        status=status,
        claimed=claim.objective if claim else None,
        bound=claim.bound if claim else None,
        nodes=claim.nodes if claim else 0,
        flips=tuple(move.record for move in moves or ()),
        retrained=None if moves is None else evaluate(problem, moves).objective,
        solver=claim.solver if claim else "",
    )


def _status(claim: Claim) -> str:
    if claim.infeasible:
        return "infeasible"
    return "optimal" if claim.stopped_by is StoppedBy.GAP else claim.stopped_by.value


def optimum_of(problem: RecourseProblem) -> float:
    """The best of all choices of flips, each re-trained."""
    found = enumerate_choices(problem)
    assert found.best is not None and found.complete
    return found.best.objective


def faults(run: Run, optimum: float) -> list[str]:
    """What a run claims and the re-trained optimum refutes, in words."""
    found = []
    if run.status == "infeasible":
        found.append("claims that there is no answer")
    if run.bound is not None and run.bound < optimum - AGREEMENT:
        found.append(f"bound {run.bound:.6f} is below the optimum {optimum:.6f}")
    if run.claimed is not None and run.claimed > optimum + AGREEMENT:
        found.append(f"value {run.claimed:.6f} is above the optimum {optimum:.6f}")
    if run.status == "optimal" and run.claimed is not None and run.claimed < optimum - AGREEMENT:
        found.append(f"value {run.claimed:.6f} is called optimal, and the optimum is {optimum:.6f}")
    if run.claimed is not None and run.retrained is not None and abs(run.claimed - run.retrained) > AGREEMENT:
        found.append(f"value {run.claimed:.6f}, and its flips give {run.retrained:.6f} when re-trained")
    if len(run.flips) > FLIPS:
        found.append(f"flips {len(run.flips)} labels, and {FLIPS} are allowed")
    return found


# -- ratios ---


def ratio_of(rival: Run, ours: Run, optimum: float) -> Ratio:
    """Rival over ours, marked where a limit stopped one of them."""
    value: float | None = None
    if faults(rival, optimum) or faults(ours, optimum):
        mark = "wrong claim"
    elif rival.limited and ours.limited:
        mark = "both stopped"
    else:
        mark = "at least" if rival.limited else "at most" if ours.limited else ""
        value = rival.seconds / ours.seconds
    return Ratio(rival.instance, rival.method, value, mark)


def ratios_of(runs: Sequence[Run], optima: Mapping[str, float]) -> dict[str, list[Ratio]]:
    """For each rival, its ratio on every instance and their geometric mean at the end."""
    ours = {run.instance: run for run in runs if run.method == OURS}
    found: dict[str, list[Ratio]] = {}
    for method in (UNPROVED, PROVED):
        rivals = [run for run in runs if run.method == method]
        ratios = [ratio_of(run, ours[run.instance], optima[run.instance]) for run in rivals]
        found[method] = [*ratios, geometric_mean(method, ratios)]
    return found


def geometric_mean(method: str, ratios: Sequence[Ratio]) -> Ratio:
    """Over the ratios that have a value; it is "at least" or "at most" if any of them is."""
    used = [(ratio.value, ratio.mark) for ratio in ratios if ratio.value is not None]
    if not used:
        return Ratio(MEAN, method, None, "no ratio")
    marks = {mark for _, mark in used if mark}
    mark = "limits on both sides:" if len(marks) > 1 else "".join(marks)
    return Ratio(MEAN, method, math.exp(sum(math.log(value) for value, _ in used) / len(used)), mark)


# -- the script ---

COLUMNS = "{:<14} {:<16} {:>9} {:>11} {:>11} {:<11} {:>8}  {}"


def run_all(problems: Sequence[RecourseProblem], limit: float) -> tuple[list[Run], dict[str, float]]:
    """Every method on every instance in alternation, printed as they finish, and the optima by instance."""
    runs: list[Run] = []
    optima: dict[str, float] = {}
    names = list(METHODS)
    print(COLUMNS.format("instance", "method", "seconds", "value", "bound", "status", "nodes", "against re-training"))
    for k, problem in enumerate(problems):
        turn = k % len(names)
        mine = [measure(problem, method, limit) for method in (*names[turn:], *names[:turn])]
        optimum = optima[problem.name] = optimum_of(problem)
        for run in mine:
            print(_row(run, optimum), flush=True)
        print(COLUMNS.format(problem.name, "all re-trained", "", _number(optimum), "", "", "", ""), flush=True)
        runs += mine
    return runs, optima


def _row(run: Run, optimum: float) -> str:
    verdict = "; ".join(faults(run, optimum)) or ("agrees" if run.status == "optimal" else "open")
    seconds = f"{'>= ' if run.limited else ''}{run.seconds:.2f}"
    cells = (run.instance, run.method, seconds, _number(run.claimed), _number(run.bound), run.status, run.nodes)
    return COLUMNS.format(*cells, verdict if verdict in ("agrees", "open") else f"WRONG: {verdict}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def print_ratios(ratios: Mapping[str, Sequence[Ratio]]) -> None:
    for method, lines in ratios.items():
        print(f"\nseconds of {method} / seconds of {OURS}")
        for ratio in lines:
            value = "" if ratio.value is None else f"{ratio.value:.2f}"
            print(f"  {ratio.instance:<16} {f'{ratio.mark} {value}'.strip()}")


def warm_up() -> None:
    """Import and start everything once, on six records."""
    (problem,) = make_problems(6, 1)
    for method in METHODS:
        measure(problem, method, 10.0)
    optimum_of(problem)


def document_of(
    asked: argparse.Namespace,
    runs: Sequence[Run],
    optima: Mapping[str, float],
    ratios: Mapping[str, Sequence[Ratio]],
) -> dict[str, Any]:
    """Everything measured, with the settings."""
    return {
        "benchmark": "label_flips",
        "settings": {
            "n": asked.n,
            "queries": asked.queries,
            "time_limit": asked.time_limit,
            "flips": FLIPS,
            "C": C,
            "seed": SEED,
            "relative_gap": GAP,
            "threads": 1,
        },
        "optima": dict(optima),
        "runs": [{**asdict(run), "faults": faults(run, optima[run.instance])} for run in runs],
        "ratios": [asdict(ratio) for lines in ratios.values() for ratio in lines],
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m oar_opt.bench.label_flips", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--n", type=int, nargs="+", default=[20, 30], help="numbers of records, 4 to 90 each")
    parser.add_argument("--queries", type=int, default=3, help="queries for each n (default 3)")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds for each run (default 120)")
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    found = parser.parse_args(arguments)
    if not all(4 <= n <= 90 for n in found.n):
        parser.error("--n: give numbers from 4 to 90")
    if not 1 <= found.queries <= 10:
        parser.error("--queries: give a number from 1 to 10")
    if not found.time_limit > 0:
        parser.error("--time-limit: give a number above 0")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if a method with proved constants claims anything that re-training refutes."""
    asked = parse(arguments)
    problems = [problem for n in asked.n for problem in make_problems(n, asked.queries)]
    warm_up()
    runs, optima = run_all(problems, asked.time_limit)
    ratios = ratios_of(runs, optima)
    print_ratios(ratios)
    if asked.json is not None:
        document = document_of(asked, runs, optima, ratios)
        asked.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    wrong = [run for run in runs if run.method != UNPROVED and faults(run, optima[run.instance])]
    for run in wrong:
        print(f"WRONG: {run.method} on {run.instance}: {'; '.join(faults(run, optima[run.instance]))}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
