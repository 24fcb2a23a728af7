"""A formulation's program as an object of Pyomo or cvxpy, to add constraints to before it is solved.

    program = oar_opt.program(problem, "kkt_big_m")
    program.add(program.pyomo.choice[7, 1] + program.pyomo.choice[9, 1] <= 1)   # not both of them
    answer = program.solve("cbc")
    print(answer.result.objective, answer.bound)

What is added belongs to the program and not to the instance. The answer's moves are re-trained and verified against the
instance; that they also keep what was added, and the bound on the goal under it, is the solver's word. So the verified
result has no bound, and "infeasible" speaks of the program as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oar_opt.claimed_moves import WHOLE, check_choices, verified_claim
from oar_opt.cone_form import ConvexProgram
from oar_opt.contracts import Exactness, PyomoProgram
from oar_opt.errors import InputError, SolverError, UnsupportedError
from oar_opt.export.names import written_chains, written_rows, written_variables
from oar_opt.limits import Clock, interruptible
from oar_opt.pipeline import Result, choose_program
from oar_opt.problem import RecourseProblem
from oar_opt.result import Claim, Options, Request, StoppedBy
from oar_opt.solver_features import SolverFeature

if TYPE_CHECKING:
    from pyomo.environ import ConcreteModel

WHERE = "the program's values"
OWN_RUN = "the caller's run"
NO_PROGRAM = "it is computed directly, or searched over many programs; there is none of Pyomo or cvxpy"
NONE = "no formulation of this instance has a program of Pyomo or cvxpy"


@dataclass(frozen=True)
class ProgramAnswer:
    """What a run of a program gave.

    ``result`` is the verified answer without a bound, None where the run found no moves. ``bound`` is the solver's
    bound on the goal over the program as it stands, its own word; ``infeasible`` says that this has no solution.
    """

    result: Result | None
    bound: float | None
    infeasible: bool
    stopped_by: StoppedBy
    solver: str


@dataclass(eq=False)
class OpenProgram:
    """See the module's docstring; :func:`program` makes one. ``exactness`` is how the program relates to the instance.

    Added constraints change neither what the names mean nor the instance.
    """

    problem: RecourseProblem
    formulation: str
    exactness: Exactness
    _program: PyomoProgram | ConvexProgram
    _added: list[Any] = field(default_factory=list)

    @property
    def pyomo(self) -> ConcreteModel:
        """The model of Pyomo, open to all of its components; :class:`UnsupportedError` where it is one of cvxpy."""
        if isinstance(self._program, PyomoProgram):
            return self._program.model
        raise UnsupportedError(f"the program of '{self.formulation}' is one of cvxpy: use .cvxpy")

    @property
    def cvxpy(self) -> Any:
        """The ``cvxpy.Problem`` with what was added; :class:`UnsupportedError` where it is a model of Pyomo."""
        import cvxpy as cp

        stated = self._convex.problem
        return cp.Problem(stated.objective, [*stated.constraints, *self._added]) if self._added else stated

    @property
    def changes(self) -> dict[int, Any]:
        """Of a program of cvxpy: every member's change, an expression ``(d,)`` in the features' units, by record."""
        return dict(self._convex.changes)

    @property
    def _convex(self) -> ConvexProgram:
        if isinstance(self._program, ConvexProgram):
            return self._program
        raise UnsupportedError(f"the program of '{self.formulation}' is a model of Pyomo: use .pyomo")

    def meanings(self, words: str = "") -> dict[str, str]:
        """Names of variables and rows of a Pyomo model with what they mean, where that or the name has these words."""
        self.pyomo  # noqa: B018 - raises where there are no names
        assert isinstance(self._program, PyomoProgram)
        known = self._program.meanings.items()
        return {name: meaning for name, meaning in known if words in meaning or words in name}

    def add(self, *constraints: Any) -> None:
        """Add constraints: of Pyomo (they become ``model.added[1]``, ``added[2]``, ...), or of cvxpy."""
        if isinstance(self._program, ConvexProgram):
            self._added.extend(constraints)
            return
        import pyomo.environ as pyo

        if self.pyomo.find_component("added") is None:
            self.pyomo.added = pyo.ConstraintList()
        for constraint in constraints:
            self.pyomo.added.add(constraint)

    def solve(
        self,
        solver: str | None = None,
        *,
        time_limit: float | None = None,
        gap: float | None = None,
        threads: int = 1,
        options: Options | None = None,
    ) -> ProgramAnswer:
        """Solve the program as it stands, re-train the moves and verify them.

        Parameters
        ----------
        solver : highs, scip or any name that Pyomo (for a program of cvxpy: cvxpy) knows and finds installed.
        time_limit : seconds; cvxpy's solvers take theirs by ``options``.
        gap : relative gap to stop at; None is the instance's tolerance.
        threads : of the solver.
        options : the solver's own options by its names.

        Raises
        ------
        InputError : a solver that is not installed, or that lacks what the program needs.
        VerificationError : the moves break a rule of the instance.
        SolverError : the solver broke down.
        """
        if isinstance(self._program, ConvexProgram):
            if time_limit is not None:
                raise InputError("time_limit", "is not known to cvxpy", "give it as one of the solver's own options")
            claim = self._solved_by_cvxpy(self._program, solver, options or {})
        else:
            tolerance = self.problem.tolerances.relative_gap if gap is None else gap
            with interruptible() as interrupted:
                request = Request(solver, time_limit, relative_gap=tolerance, threads=threads, options=options or {})
                claim = _with_needs(self._program).run(replace(request, interrupted=interrupted))
        result = None if claim.moves is None else self._verified(replace(claim, bound=None))
        return ProgramAnswer(result, claim.bound, claim.infeasible, claim.stopped_by, claim.solver)

    def answer(self) -> Result:
        """The verified answer that the variables' present values mean, after a run of your own; without a bound.

        Raises
        ------
        InputError : variables without values, or choices that are no whole numbers.
        VerificationError : the moves break a rule of the instance.
        """
        if isinstance(self._program, PyomoProgram):
            _check_values(self._program)
            moves, parameters = self._program.read()
            claim = Claim(StoppedBy.GAP, moves, parameters=parameters, solver=OWN_RUN)
        else:
            if any(variable.value is None for variable in self._program.problem.variables()):
                raise InputError(WHERE, "are missing", "solve the program first")
            claim = Claim(StoppedBy.GAP, self._program.read(), solver=OWN_RUN)
        return self._verified(claim)

    def _verified(self, claim: Claim) -> Result:
        return verified_claim(self.problem, claim, self.formulation, WHERE, Clock(None))

    def _solved_by_cvxpy(self, program: ConvexProgram, solver: str | None, options: Options) -> Claim:
        import cvxpy as cp

        name = (solver or "clarabel").upper()
        if name not in cp.installed_solvers():
            there = ", ".join(one.lower() for one in cp.installed_solvers())
            raise InputError("solver", f"'{solver}' is not installed for cvxpy", f"there are: {there}")
        stated = self.cvxpy
        try:
            stated.solve(solver=name, **options)
        except cp.SolverError as failure:
            raise SolverError(f"{name.lower()}: {failure}") from failure
        title = f"{name.lower()} by cvxpy"
        if stated.status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
            return Claim(StoppedBy.PROOF, infeasible=True, solver=title, options=dict(options))
        if stated.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
            raise SolverError(f"{name.lower()} stopped with '{stated.status}'")
        # What is inaccurate is no bound.
        bound = float(stated.value) if stated.status == cp.OPTIMAL else None
        return Claim(StoppedBy.GAP, program.read(), bound=bound, solver=title, options=dict(options))


def program(problem: RecourseProblem, formulation: str = "auto", *, tightening: float | None = None) -> OpenProgram:
    """The program of a formulation for a problem, to look at, to add constraints to and to solve.

    Parameters
    ----------
    problem : the instance.
    formulation : a name, or ``auto`` for the first that applies and has a program of Pyomo or cvxpy.
    tightening : seconds for better big-Ms, None for the formulation's own.

    Raises
    ------
    InputError : an unknown name.
    UnsupportedError : the formulation does not apply, or has no such program.
    """
    chosen = choose_program(problem, formulation, no_program=NO_PROGRAM, none=NONE, conic=True)
    built = chosen.build(problem, Request(tightening=tightening))
    stated = built.convex() or built.written()
    if isinstance(stated, PyomoProgram | ConvexProgram):
        return OpenProgram(problem, chosen.name, chosen.file_exactness, stated)
    raise UnsupportedError(f"formulation '{chosen.name}': {NO_PROGRAM}")


def _with_needs(program: PyomoProgram) -> PyomoProgram:
    """The program with what its rows, those added too, need of a solver."""
    from pyomo.repn import generate_standard_repn

    needs = set(program.needs)
    for row in written_rows(program):
        body = generate_standard_repn(row.body, quadratic=True, compute_values=True)
        if body.nonlinear_expr is not None:
            needs.add(SolverFeature.EXPONENTIAL)
        elif body.quadratic_vars:
            needs.add(SolverFeature.QUADRATIC)
    if written_chains(program):
        needs.add(SolverFeature.SOS1)
    return replace(program, needs=frozenset(needs))


def _check_values(program: PyomoProgram) -> None:
    """Every variable of a row has a value, and every member picks one thing; what is in no row becomes 0."""
    from pyomo.core.expr.visitor import identify_variables

    used = {id(variable) for row in written_rows(program) for variable in identify_variables(row.body)}
    for variable in written_variables(program):
        if variable.value is None:
            if id(variable) in used:
                raise InputError(WHERE, f"are missing: {variable.name} has none", "solve the program first")
            variable.set_value(0.0, skip_validation=True)
        elif not variable.is_continuous() and abs(variable.value - round(variable.value)) > WHOLE:
            raise InputError(WHERE, f"are fractions: {variable.name} = {variable.value:.6g}", "solve it as it stands")
    check_choices(program, WHERE)
