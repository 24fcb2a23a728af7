"""Runs a Pyomo program with a named solver and returns what the solver claims.

``highs`` and ``scip`` are called through ``highspy`` and ``pyscipopt``, for their progress, interruption and starts.
Every other name goes to Pyomo: first to its current interfaces (``gurobi_direct``, ``scip_direct``, ...), then to the
older ones (``cbc``, ``glpk``, ``cplex``, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import InputError
from oar_opt.result import Claim, Request, StoppedBy
from oar_opt.solver_features import default_solver, fit_solvers, unfit


def run_pyomo(
    program: PyomoProgram,
    request: Request,
    scip_settings: Mapping[str, str | int | float | bool] = MappingProxyType({}),
) -> Claim:
    """Solve with ``request.solver``; an error where it lacks what the program needs."""
    from pyomo.common.errors import InfeasibleConstraintException

    name = request.solver or default_solver(program.needs)
    reason = unfit(name, program.needs)
    if reason:
        raise InputError("--solver", reason, f"this program runs with {fit_solvers(program.needs)}")
    request = replace(request, solver=name)
    if name == "highs":
        from oar_opt.solvers.highs import run
    elif name == "scip":
        from oar_opt.solvers import scip

        run = partial(scip.run, settings=scip_settings)
    else:
        from oar_opt.solvers.by_pyomo import run
    try:
        return _with_bound(program, request, run(program, request))
    except InfeasibleConstraintException:
        # A row without variables that does not hold, for example a required margin of a query that nothing moves.
        return Claim(StoppedBy.PROOF, infeasible=True, solver="Pyomo's compiler")


def _with_bound(program: PyomoProgram, request: Request, claim: Claim) -> Claim:
    """The claim with the better of the solver's bound and the one proved while building.

    The latter holds for moves at least as good as the cutoff; if there are none better, the cutoff itself is the bound.
    """
    proved = program.goal_bound
    if claim.infeasible or proved is None:
        return claim
    tighter = min if program.maximises else max
    looser = max if program.maximises else min
    if request.cutoff is not None:
        proved = looser(proved, request.cutoff)
    return replace(claim, bound=proved if claim.bound is None else tighter(claim.bound, proved))
