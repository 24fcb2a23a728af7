"""Any solver that Pyomo reaches, by its Pyomo name.

Pyomo's current interfaces report a bound and why they stopped in one vocabulary. Of the older ones only those answers
are used that their results object states; where it states no bound, none is claimed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from pyomo.common.errors import ApplicationError
from pyomo.environ import SolverFactory as OlderFactory
from pyomo.opt import TerminationCondition as OlderCondition

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import InputError, SolverError
from oar_opt.result import Claim, Request, StoppedBy
from oar_opt.solvers.options import WHERE, append

ALIASES = {"gurobi": "gurobi_direct", "highs_pyomo": "highs"}
FEASIBILITY = 1e-9
TIGHTEN = {
    "scip_direct": {"numerics/feastol": FEASIBILITY},
    "gurobi_direct": {"FeasibilityTol": FEASIBILITY, "IntFeasTol": FEASIBILITY},
    "highs": {"mip_feasibility_tolerance": FEASIBILITY, "primal_feasibility_tolerance": FEASIBILITY},
}


def run(program: PyomoProgram, request: Request) -> Claim:
    """Solve through Pyomo; the solver's own limits end it, and Ctrl-C ends the whole run."""
    from pyomo.contrib.solver.common.factory import SolverFactory

    asked = request.solver or ""
    name = ALIASES.get(asked, asked)
    if name in list(SolverFactory):
        return _run_current(program, request, name)
    older = _older(name)
    if older is None:
        raise InputError(
            "--solver", f"'{request.solver}' is not available here", f"installed: {', '.join(installed())}"
        )
    return _run_older(program, request, older, name)


def _older(name: str) -> Any | None:
    """Pyomo's older interface of that name where it can run, else None."""
    with _quiet_pyomo():
        solver = OlderFactory(name)
        return solver if hasattr(solver, "available") and solver.available(exception_flag=False) else None


@contextmanager
def _quiet_pyomo() -> Iterator[None]:
    """Pyomo logs a traceback for a name that it does not know, or a run that fails; the caller gets one sentence."""
    log = logging.getLogger("pyomo")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def require(name: str) -> None:
    """An error that lists what is installed, where no solver answers to the name."""
    from pyomo.contrib.solver.common.factory import SolverFactory

    known = name in ("highs", "scip") or ALIASES.get(name, name) in list(SolverFactory)
    if not known and _older(ALIASES.get(name, name)) is None:
        raise InputError("--solver", f"'{name}' is not available here", f"installed: {', '.join(installed())}")


def installed() -> list[str]:
    """The solvers that answer here, by the names that requests use."""
    from pyomo.contrib.solver.common.factory import SolverFactory

    found = ["highs", "scip"]
    if SolverFactory("gurobi_direct").available():
        found.append("gurobi")
    for name in ("cbc", "glpk", "cplex"):
        if _older(name) is not None:
            found.append(name)
    return found


def version_of(name: str) -> str | None:
    """The version of a solver that Pyomo reaches, by the name that requests use; "unknown" where it does not tell,
    None where it does not answer."""
    from pyomo.contrib.solver.common.factory import SolverFactory

    current = ALIASES.get(name, name)
    if current in list(SolverFactory):
        solver = SolverFactory(current)
        found = solver.version() if solver.available() else None
        if found is not None:
            return ".".join(map(str, found))
    older = _older(name)
    if older is None:
        return None
    told = older.version()
    return ".".join(map(str, told)) if told else "unknown"


def _run_current(program: PyomoProgram, request: Request, name: str) -> Claim:
    from pyomo.contrib.solver.common.factory import SolverFactory
    from pyomo.contrib.solver.common.results import SolutionStatus, TerminationCondition

    solver = SolverFactory(name)
    if not solver.available():
        raise InputError(
            "--solver", f"'{request.solver}' is not available here", f"installed: {', '.join(installed())}"
        )
    options = TIGHTEN.get(name, {}) | dict(request.options)
    with _log_of(request) as log:
        try:
            outcome: Any = solver.solve(
                program.model,
                load_solutions=False,
                raise_exception_on_nonoptimal_result=False,
                time_limit=request.time_limit,
                rel_gap=request.relative_gap / 2,
                abs_gap=request.relative_gap / 2,
                threads=request.threads,
                solver_options=options,
                tee=log,
            )
        except KeyError as wrong:
            if not request.options:
                raise
            raise InputError(WHERE, f"one of {', '.join(request.options)} is refused by {name}: {wrong}") from wrong
    stops = {
        TerminationCondition.convergenceCriteriaSatisfied: StoppedBy.GAP,
        TerminationCondition.provenInfeasible: StoppedBy.PROOF,
        TerminationCondition.maxTimeLimit: StoppedBy.TIME_LIMIT,
        TerminationCondition.iterationLimit: StoppedBy.NODE_LIMIT,
        TerminationCondition.interrupted: StoppedBy.INTERRUPT,
    }
    condition = outcome.termination_condition
    if condition not in stops:
        raise SolverError(f"{name} stopped with '{condition.name}'")
    common: dict[str, Any] = {"solver": _title(name, solver.version()), "options": options}
    if condition is TerminationCondition.provenInfeasible:
        return Claim(StoppedBy.PROOF, infeasible=True, **common)
    bound = _known(outcome.objective_bound)
    if outcome.solution_status not in (SolutionStatus.feasible, SolutionStatus.optimal):
        return Claim(stops[condition], bound=bound, **common)
    outcome.solution_loader.load_vars()
    moves, parameters = program.read()
    return Claim(stops[condition], moves, _known(outcome.incumbent_objective), bound, parameters=parameters, **common)


@contextmanager
def _log_of(request: Request) -> Iterator[TextIO | bool]:
    """What Pyomo's interfaces take as ``tee``."""
    if request.log is None:
        yield False
        return
    with request.log.open("a", encoding="utf-8") as log:
        yield log


def _run_older(program: PyomoProgram, request: Request, solver: Any, name: str) -> Claim:
    with TemporaryDirectory() as folder, _quiet_pyomo():
        log = Path(folder) / "log"
        try:
            outcome = solver.solve(
                program.model,
                load_solutions=False,
                timelimit=request.time_limit,
                options=dict(request.options),
                logfile=str(log),
            )
        except ApplicationError as failure:
            raise SolverError(_failure(name, request, log)) from failure
        if request.log is not None:
            append(request.log, log.read_text(encoding="utf-8"))
    stops = {
        OlderCondition.optimal: StoppedBy.GAP,
        OlderCondition.infeasible: StoppedBy.PROOF,
        OlderCondition.maxTimeLimit: StoppedBy.TIME_LIMIT,
        OlderCondition.maxIterations: StoppedBy.NODE_LIMIT,
        OlderCondition.userInterrupt: StoppedBy.INTERRUPT,
    }
    condition = outcome.solver.termination_condition
    if condition not in stops:
        raise SolverError(f"{name} stopped with '{condition}'")
    common: dict[str, Any] = {"solver": name}
    if condition == OlderCondition.infeasible:
        return Claim(StoppedBy.PROOF, infeasible=True, **common)
    problem = outcome.problem
    maximises = problem.sense.name == "maximize"
    bound = _known(problem.upper_bound if maximises else problem.lower_bound)
    if not len(outcome.solution):
        return Claim(stops[condition], bound=bound, **common)
    program.model.solutions.load_from(outcome)
    moves, parameters = program.read()
    return Claim(stops[condition], moves, program.objective_value(), bound, parameters=parameters, **common)


def _failure(name: str, request: Request, log: Path) -> str:
    said = log.read_text(encoding="utf-8").strip().splitlines() if log.exists() else []
    given = "; its options were " + ", ".join(f"{key}={value}" for key, value in request.options.items())
    return f"{name} broke off" + (f": {said[-1]}" if said else "") + (given if request.options else "")


def _title(name: str, version: tuple[int, ...] | None) -> str:
    return name.removesuffix("_direct") + (f" {'.'.join(map(str, version))}" if version else "")


def _known(value: Any) -> float | None:
    if value is None or not math.isfinite(value) or abs(value) >= 1e20:
        return None
    return float(value)
