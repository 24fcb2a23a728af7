"""SCIP through ``pyscipopt``: mixed-integer programs with linear, quadratic, exponential and logarithmic rows, special
ordered sets and indicator rows, with progress, interruption and a start.

Rows are scaled by powers of two so that their largest coefficient is near 1. "Infeasible" is believed only if a second
run without presolve (with it, where the first had none) ends so too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import pyscipopt
from pyomo.common.collections import ComponentMap
from pyomo.common.errors import InfeasibleConstraintException
from pyomo.core.expr import (
    DivisionExpression,
    NegationExpression,
    PowExpression,
    ProductExpression,
    SumExpression,
    UnaryFunctionExpression,
)
from pyomo.environ import Constraint, SOSConstraint, Var, value
from pyomo.repn import generate_standard_repn
from pyscipopt import SCIP_EVENTTYPE, SCIP_PARAMSETTING

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import SolverError
from oar_opt.result import Claim, Options, Progress, Request, StoppedBy
from oar_opt.solver_features import SolverFeature
from oar_opt.solvers.options import refused
from oar_opt.solvers.stderr_filter import stderr_without

FEASIBILITY = 1e-9
NONLINEAR_FEASIBILITY = 1e-8
"""SCIP cannot separate a nonlinear row much more sharply than that."""
WITHOUT_INTERIOR: dict[str, str | int | float | bool] = {
    "numerics/feastol": 1e-6,
    "heuristics/mpec/freq": -1,
    "heuristics/subnlp/freq": -1,
    "separating/aggregation/freq": -1,
}
"""Where no point satisfies the nonlinear rows strictly: a sharper tolerance is not reached there, and the rest took 9
seconds of 10 and found nothing."""
CONSTANT = 1e-9
REPORTS = 0.1
"""Seconds between two reports of progress."""

STOPS = {
    "optimal": StoppedBy.GAP,
    "gaplimit": StoppedBy.GAP,
    "infeasible": StoppedBy.PROOF,
    "timelimit": StoppedBy.TIME_LIMIT,
    "nodelimit": StoppedBy.NODE_LIMIT,
    "totalnodelimit": StoppedBy.NODE_LIMIT,
    "memlimit": StoppedBy.MEMORY_LIMIT,
    "userinterrupt": StoppedBy.INTERRUPT,
}


def run(program: PyomoProgram, request: Request, settings: Options = MappingProxyType({})) -> Claim:
    """Solve a :class:`PyomoProgram`; ``settings`` are the program's own, where measurements ask for them."""
    started = time.monotonic()
    translation = Translation(program)
    scip, options = translation.scip, options_of(program, request) | dict(settings) | dict(request.options)
    _set_options(scip, options)
    if request.log is not None:
        scip.setLogfile(str(request.log))
    scip.includeEventhdlr(_Watch(request), "watch", "progress and interruption")
    if request.start is not None:
        _set_start(translation, program, request)
    _optimize(scip)
    if scip.getStatus() in ("infeasible", "inforunbd"):
        scip.freeTransform()
        had_presolve = options.get("presolving/maxrounds") != 0
        scip.setPresolve(SCIP_PARAMSETTING.OFF if had_presolve else SCIP_PARAMSETTING.DEFAULT)
        if request.time_limit is not None:
            scip.setParam("limits/time", max(0.1, request.time_limit - (time.monotonic() - started)))
        _optimize(scip)
    return _claim(translation, program, options)


def _set_options(scip: Any, options: Options) -> None:
    for name, given in options.items():
        try:
            with stderr_without(b"["):
                scip.setParam(name, given)
        except (KeyError, ValueError) as wrong:
            raise refused("SCIP", name, given) from wrong


def _optimize(scip: Any) -> None:
    """Its linear programs warn, thousands of times, that they cannot be solved more sharply than 1e-10."""
    with stderr_without(b"Cannot set feasibility tolerance to small value"):
        scip.optimize()


def options_of(program: PyomoProgram, request: Request) -> dict[str, str | int | float | bool]:
    """The SCIP parameters that a request means; the gap is halved so that re-trained numbers still close it."""
    nonlinear = program.needs & {SolverFeature.QUADRATIC, SolverFeature.EXPONENTIAL}
    options: dict[str, str | int | float | bool] = {
        "limits/gap": request.relative_gap / 2,
        "limits/absgap": request.relative_gap / 2,
        "numerics/feastol": NONLINEAR_FEASIBILITY if nonlinear else FEASIBILITY,
        "heuristics/completesol/maxunknownrate": 1.0,
        "lp/threads": request.threads,
    }
    if nonlinear:
        # SCIP 10.0 has crashed while it looked for symmetries of quadratic rows with presolve off.
        options["misc/usesymmetry"] = 0
    if not program.has_interior:
        options |= WITHOUT_INTERIOR
    if request.time_limit is not None:
        options["limits/time"] = float(request.time_limit)
    if request.node_limit is not None:
        options["limits/nodes"] = request.node_limit
    return options


class Translation:
    """A Pyomo model as a SCIP model; :attr:`columns` maps the variables, ``label`` gives the names there."""

    def __init__(self, program: PyomoProgram, label: Callable[[str], str] = str) -> None:
        self.scip, self.label = pyscipopt.Model(), label
        self.scip.hideOutput()
        self.columns: Any = ComponentMap()
        model = program.model
        for variable in model.component_data_objects(Var):
            if not variable.fixed:
                self.columns[variable] = self._column(variable)
        for row in model.component_data_objects(Constraint, active=True):
            self._add_row(row)
        for chain in model.component_data_objects(SOSConstraint, active=True):
            self._add_sos(chain)
        for place, indicator in enumerate(program.indicators):
            self._add_indicator(place, indicator.binary, indicator.active, indicator.body, indicator.upper)
        sense = "maximize" if program.maximises else "minimize"
        self.scip.setObjective(self._expression(program.objective.expr), sense)

    def _column(self, variable: Any) -> Any:
        kind = "C" if variable.is_continuous() else "B" if variable.is_binary() else "I"
        return self.scip.addVar(self.label(variable.name), kind, lb=variable.lb, ub=variable.ub)

    def _add_row(self, row: Any) -> None:
        body, lower, upper = self._expression(row.body), value(row.lower), value(row.upper)
        if isinstance(body, int | float):
            _check_constant(row.name, float(body), lower, upper)
            return
        factor = self._factor(body)
        body = factor * body
        if lower is not None and lower == upper:
            self.scip.addCons(body == factor * lower, name=self.label(row.name))
        elif lower is None:
            self.scip.addCons(body <= factor * upper, name=self.label(row.name))
        elif upper is None:
            self.scip.addCons(body >= factor * lower, name=self.label(row.name))
        else:
            self.scip.addCons(factor * lower <= (body <= factor * upper), name=self.label(row.name))

    def _add_sos(self, chain: Any) -> None:
        if chain.level != 1:
            raise SolverError(f"special ordered sets of level {chain.level} are not written here")
        items = [(self.columns[v], w) for v, w in chain.get_items() if not (v.fixed and v.value == 0)]
        self.scip.addConsSOS1(
            [column for column, _ in items], [weight for _, weight in items], name=self.label(chain.name)
        )

    def _add_indicator(self, place: int, binary: Any, active: bool, body: Any, upper: float) -> None:
        left = self._expression(body)
        if binary.fixed:
            if bool(round(binary.value)) == active:
                self.scip.addCons(left <= upper)
            return
        self.scip.addConsIndicator(
            left <= upper, binvar=self.columns[binary], activeone=active, name=f"indicator[{place}]"
        )

    def _factor(self, body: Any) -> float:
        """A power of two that brings the largest coefficient of a polynomial row near 1."""
        terms = getattr(body, "terms", None)
        largest = max((abs(v) for t, v in terms.items() if len(t)), default=1.0) if terms else 1.0
        return float(2.0 ** -np.round(np.log2(largest))) if largest > 0 else 1.0

    def _expression(self, body: Any) -> Any:
        """A number, or a SCIP expression; linear and quadratic terms are merged first."""
        repn = generate_standard_repn(body, quadratic=True, compute_values=True)
        if repn.nonlinear_expr is not None:
            return self._walk(body)
        terms = [float(c) * self.columns[v] for c, v in zip(repn.linear_coefs, repn.linear_vars, strict=True)]
        terms += [
            float(c) * self.columns[u] * self.columns[v]
            for c, (u, v) in zip(repn.quadratic_coefs, repn.quadratic_vars, strict=True)
        ]
        constant = float(repn.constant)
        return pyscipopt.quicksum(terms) + constant if terms else constant

    def _walk(self, node: Any) -> Any:
        if not hasattr(node, "is_expression_type") or not node.is_potentially_variable():
            return float(value(node))
        if node.is_variable_type():
            return float(node.value) if node.fixed else self.columns[node]
        parts = [self._walk(part) for part in node.args]
        match node:
            case SumExpression():
                return pyscipopt.quicksum(parts)
            case NegationExpression():
                return -parts[0]
            case ProductExpression():
                return parts[0] * parts[1]
            case DivisionExpression():
                return parts[0] / parts[1]
            case PowExpression():
                return parts[0] ** parts[1]
            case UnaryFunctionExpression() if node.getname() in ("exp", "log"):
                return {"exp": pyscipopt.exp, "log": pyscipopt.log}[node.getname()](parts[0])
            case _:
                raise SolverError(f"SCIP's translation knows no expression '{type(node).__name__}'")


def _check_constant(name: str, body: float, lower: float | None, upper: float | None) -> None:
    slack = CONSTANT * max(1.0, abs(body))
    if (lower is not None and body < lower - slack) or (upper is not None and body > upper + slack):
        raise InfeasibleConstraintException(f"row '{name}' has no variable and does not hold")


class _Watch(pyscipopt.Eventhdlr):  # type: ignore[misc]
    """Reports progress and stops SCIP where the caller asks for it."""

    EVENTS = (
        SCIP_EVENTTYPE.PRESOLVEROUND,
        SCIP_EVENTTYPE.FIRSTLPSOLVED,
        SCIP_EVENTTYPE.LPSOLVED,
        SCIP_EVENTTYPE.NODEFOCUSED,
        SCIP_EVENTTYPE.BESTSOLFOUND,
    )

    def __init__(self, request: Request) -> None:
        self.request, self.last = request, -math.inf

    def eventinit(self) -> None:
        for event in self.EVENTS:
            self.model.catchEvent(event, self)

    def eventexit(self) -> None:
        for event in self.EVENTS:
            self.model.dropEvent(event, self)

    def eventexec(self, event: Any) -> dict[str, Any]:
        if self.request.interrupted():
            self.model.interruptSolve()
        now = time.monotonic()
        if self.request.progress is not None and now - self.last > REPORTS:
            self.last = now
            self.request.progress(
                Progress(
                    self.model.getSolvingTime(),
                    int(self.model.getNTotalNodes()),
                    _known(self.model.getPrimalbound()),
                    _known(self.model.getDualbound()),
                )
            )
        return {}


def _set_start(translation: Translation, program: PyomoProgram, request: Request) -> None:
    values = program.start(request.start or (), request.start_parameters)
    solution = translation.scip.createPartialSol()
    for variable, column in translation.columns.items():
        if variable.name in values:
            translation.scip.setSolVal(solution, column, values[variable.name])
    translation.scip.addSol(solution)


def _known(bound: float) -> float | None:
    return float(bound) if math.isfinite(bound) and abs(bound) < 1e20 else None


def _claim(translation: Translation, program: PyomoProgram, options: dict[str, str | int | float | bool]) -> Claim:
    scip = translation.scip
    common: dict[str, Any] = {
        "solver": f"scip {scip.getMajorVersion()}.{scip.getMinorVersion()}.{scip.getTechVersion()}",
        "options": options,
        "nodes": int(scip.getNTotalNodes()),
    }
    status = scip.getStatus()
    if status == "infeasible":
        return Claim(StoppedBy.PROOF, infeasible=True, **common)
    if status not in STOPS:
        raise SolverError(f"SCIP stopped with '{status}'")
    bound = _known(scip.getDualbound())
    if not scip.getNSols():
        return Claim(STOPS[status], bound=bound, **common)
    solution = scip.getBestSol()
    for variable, column in translation.columns.items():
        variable.set_value(float(scip.getSolVal(solution, column)), skip_validation=True)
    moves, parameters = program.read()
    objective = float(scip.getSolObjVal(solution))
    return Claim(STOPS[status], moves, objective, bound, parameters=parameters, **common)
