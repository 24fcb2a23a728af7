"""Runs a Pyomo program with a named solver and returns what the solver claims.

``highs`` is called through ``highspy`` directly, for its progress, its interruption and its starts. Every other name
goes to Pyomo: first to its current interfaces (``scip_direct``, ``gurobi_direct``, ...), then to the older ones
(``cbc``, ``glpk``, ``cplex``, ...). ``scip`` stands for ``scip_direct``.
"""

from __future__ import annotations

from oar_opt.contracts import PyomoProgram
from oar_opt.result import Claim, Request


def run_pyomo(program: PyomoProgram, request: Request) -> Claim:
    """Solve with ``request.solver``."""
    if request.solver == "highs":
        from oar_opt.solvers.highs import run

        return run(program, request)
    from oar_opt.solvers.by_pyomo import run as run_by_pyomo

    return run_by_pyomo(program, request)
