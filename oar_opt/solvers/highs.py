"""HiGHS through ``highspy``: mixed-integer linear programs, with progress, interruption and a start.

Pyomo compiles the model to matrices, which are equilibrated; nothing is written to disk. Tolerances are tightened
since a big-M turns a violation of 1e-6 into a visible error of the parameters. "Infeasible" is believed, and a
breakdown accepted, only if a second run with presolve off and looser tolerances ends so too: the first has been seen
to be wrong.
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Any

import highspy
import numpy as np
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
from scipy import sparse

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import SolverError
from oar_opt.problem import Vector
from oar_opt.result import Claim, Options, Progress, Request, StoppedBy
from oar_opt.solvers.options import append, refused
from oar_opt.solvers.scaling import equilibrate

FEASIBILITY = 1e-9
MIP_FEASIBILITY = 1e-8

STOPS = {
    "kOptimal": StoppedBy.GAP,
    "kInfeasible": StoppedBy.PROOF,
    "kTimeLimit": StoppedBy.TIME_LIMIT,
    "kSolutionLimit": StoppedBy.NODE_LIMIT,
    "kMemoryLimit": StoppedBy.MEMORY_LIMIT,
    "kInterrupt": StoppedBy.INTERRUPT,
    "kHighsInterrupt": StoppedBy.INTERRUPT,
}

DOUBTED_SECONDS = 5.0
BREAKDOWNS = ("kSolveError", "kPresolveError", "kPostsolveError", "kUnboundedOrInfeasible", "kUnknown")


def run(program: PyomoProgram, request: Request) -> Claim:
    """Solve a :class:`PyomoProgram` whose model is linear up to integrality."""
    compiled = LinearStandardFormCompiler().write(program.model, mixed_form=True, set_sense=None)
    rows, columns = equilibrate(compiled.A, np.array([v.is_continuous() for v in compiled.columns]))
    solver = _load(program, compiled, rows, columns)
    _set_options(solver, request)
    _watch(solver, request)
    if request.start is not None:
        _set_start(solver, program, compiled.columns, request)
    # HiGHS refuses another number of threads than an earlier run in this process had, unless its scheduler starts anew.
    highspy.Highs.resetGlobalScheduler(True)
    solver.run()
    if solver.getModelStatus().name in ("kInfeasible", *BREAKDOWNS):
        _doubt(solver)
    claim = _claim(solver, program, compiled.columns, columns, request)
    if _is_stale(program, claim):
        solver.clearSolver()
        solver.run()
        claim = _claim(solver, program, compiled.columns, columns, request)
    seconds = solver.getRunTime()
    if claim.stopped_by is not StoppedBy.GAP or claim.moves is None or seconds > DOUBTED_SECONDS:
        return claim
    # "Optimal" after presolve has been wrong as well, on small programs: where it is cheap, once more without.
    solver.clearSolver()
    solver.setOptionValue("presolve", "off")
    solver.setOptionValue("time_limit", 2.0 + 3.0 * seconds)
    solver.run()
    if solver.getModelStatus().name not in STOPS:
        return claim
    again = _claim(solver, program, compiled.columns, columns, request)
    return _weaker(claim, again, program.maximises)


def _is_stale(program: PyomoProgram, claim: Claim) -> bool:
    """Whether the variables do not have the objective that HiGHS states.

    Where presolve alone solves a program, HiGHS has been seen to state the optimum and return the start.
    """
    if claim.moves is None or claim.objective is None:
        return False
    return abs(program.objective_value() - claim.objective) > 1e-6 * max(1.0, abs(claim.objective))


def _weaker(first: Claim, second: Claim, maximises: bool) -> Claim:
    """The second claim if its moves beat the first one's bound, else the first."""
    if first.bound is None or second.objective is None:
        return first
    sign = 1.0 if maximises else -1.0
    return second if sign * (second.objective - first.bound) > 1e-6 * max(1.0, abs(first.bound)) else first


def _doubt(solver: highspy.Highs) -> None:
    """Solve once more, with presolve off and HiGHS's own tolerances; the limits stay."""
    solver.clearSolver()
    solver.setOptionValue("presolve", "off")
    for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
        solver.setOptionValue(name, 1e-7)
    solver.setOptionValue("mip_feasibility_tolerance", 1e-6)
    solver.run()


def quiet_highs() -> highspy.Highs:
    """A HiGHS that prints nothing; its constructor writes a banner to the process's standard output."""
    sys.stdout.flush()
    kept, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        solver = highspy.Highs()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(sink)
    # Not output_flag: without it HiGHS makes no progress callbacks either.
    solver.setOptionValue("log_to_console", False)
    # HiGHS drops smaller coefficients without a word, and a dropped term makes a row say something else.
    solver.setOptionValue("small_matrix_value", 1e-12)
    return solver


def _load(program: PyomoProgram, compiled: Any, r: Vector, c: Vector) -> highspy.Highs:
    """The program with rows scaled by ``r`` and columns measured in units of ``c``."""
    columns, matrix = compiled.columns, sparse.csc_array(compiled.A.multiply(r[:, None]).multiply(c[None, :]))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(columns), len(compiled.rhs)
    cost = np.asarray(compiled.c.todense(), dtype=float).ravel()
    lp.col_cost_, lp.offset_ = cost * c, float(compiled.c_offset[0])
    lp.col_lower_ = np.array([-math.inf if v.lb is None else v.lb for v in columns], dtype=float) / c
    lp.col_upper_ = np.array([math.inf if v.ub is None else v.ub for v in columns], dtype=float) / c
    kinds, rhs = np.array([row.bound_type for row in compiled.rows]), r * np.asarray(compiled.rhs, dtype=float)
    lp.row_lower_, lp.row_upper_ = np.where(kinds == 1, -math.inf, rhs), np.where(kinds == -1, math.inf, rhs)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    integer, continuous = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    lp.integrality_ = [continuous if v.is_continuous() else integer for v in columns]
    lp.sense_ = highspy.ObjSense.kMaximize if program.maximises else highspy.ObjSense.kMinimize
    solver = quiet_highs()
    if solver.passModel(lp) == highspy.HighsStatus.kError:
        raise SolverError("HiGHS refuses the model")
    return solver


def options_of(request: Request) -> Options:
    """The HiGHS options that a request means; the gap is halved so that re-trained numbers still close it."""
    options: dict[str, str | int | float | bool] = {
        "mip_rel_gap": request.relative_gap / 2,
        "mip_abs_gap": request.relative_gap / 2,
        "primal_feasibility_tolerance": FEASIBILITY,
        "dual_feasibility_tolerance": FEASIBILITY,
        "mip_feasibility_tolerance": MIP_FEASIBILITY,
        "threads": request.threads,
    }
    if request.time_limit is not None:
        options["time_limit"] = float(request.time_limit)
    if request.node_limit is not None:
        options["mip_max_nodes"] = request.node_limit
    return options | dict(request.options)


def _set_options(solver: highspy.Highs, request: Request) -> None:
    for name, value in options_of(request).items():
        if solver.setOptionValue(name, value) == highspy.HighsStatus.kError:
            raise refused("HiGHS", name, value)


def _watch(solver: highspy.Highs, request: Request) -> None:
    # HiGHS looks at its own clock too rarely at the root, so its time limit is also kept here.
    deadline = math.inf if request.time_limit is None else time.monotonic() + request.time_limit

    def stop(event: Any) -> None:
        if request.interrupted() or time.monotonic() > deadline:
            event.interrupt()

    solver.cbMipInterrupt += stop
    solver.cbSimplexInterrupt += stop
    if request.log is not None:
        log = request.log

        def keep(event: Any) -> None:
            # Not HiGHS's own log_file, which begins anew with every run.
            append(log, event.message)

        solver.cbLogging += keep
    if request.progress is not None:
        report = request.progress

        def tell(event: Any) -> None:
            data = event.data_out
            report(
                Progress(
                    data.running_time,
                    int(data.mip_node_count),
                    _known(data.mip_primal_bound),
                    _known(data.mip_dual_bound),
                )
            )

        solver.cbMipLogging += tell


def _set_start(solver: highspy.Highs, program: PyomoProgram, columns: list[Any], request: Request) -> None:
    values = program.start(request.start or (), request.start_parameters)
    position = {variable.name: j for j, variable in enumerate(columns)}
    known = [(position[name], value) for name, value in values.items() if name in position]
    index = np.array([j for j, _ in known], dtype=np.int32)
    solver.setSolution(len(known), index, np.array([value for _, value in known], dtype=float))


def _known(value: float) -> float | None:
    return float(value) if abs(value) < 1e29 and math.isfinite(value) else None


def _claim(solver: highspy.Highs, program: PyomoProgram, columns: list[Any], units: Vector, request: Request) -> Claim:
    status, info = solver.getModelStatus(), solver.getInfo()
    is_mip = any(not v.is_continuous() for v in columns)
    common: dict[str, Any] = {
        "solver": f"highs {solver.version()}",
        "options": options_of(request),
        "nodes": max(0, int(info.mip_node_count)),
    }
    if status == highspy.HighsModelStatus.kInfeasible:
        return Claim(StoppedBy.PROOF, infeasible=True, **common)
    if status.name not in STOPS:
        raise SolverError(f"HiGHS stopped with '{solver.modelStatusToString(status)}'")
    stopped = STOPS[status.name]
    if stopped is StoppedBy.INTERRUPT and not request.interrupted():
        stopped = StoppedBy.TIME_LIMIT
    bound = _known(info.mip_dual_bound) if is_mip else None
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Claim(stopped, bound=bound, **common)
    objective = float(info.objective_function_value)
    if not is_mip and status == highspy.HighsModelStatus.kOptimal:
        bound = objective
    for variable, value in zip(columns, units * np.array(solver.getSolution().col_value), strict=True):
        variable.set_value(float(value), skip_validation=True)
    moves, parameters = program.read()
    return Claim(stopped, moves=moves, objective=objective, bound=bound, parameters=parameters, **common)
