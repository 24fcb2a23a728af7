"""What a one-file addition provides: a learner, a formulation or a heuristic.

Each is a subclass of the class below, found in its folder (or through an entry point of another package) by
:mod:`oar_opt.discovery`. The first paragraph of its module's docstring is its line in the catalogue; a formulation's
docstring has the sections that :data:`PAGE_SECTIONS` names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from oar_opt.active_bounds import Quantity
from oar_opt.bounds import ProvedBound
from oar_opt.cone_form import ConeForm, ConvexProgram
from oar_opt.optima import Optima
from oar_opt.parameters import CentroidParameters, Parameters
from oar_opt.problem import (
    Collective,
    FeatureAction,
    GoalKind,
    LabelAction,
    LearnerSpec,
    Member,
    Move,
    Norm,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
)
from oar_opt.result import Claim, Request
from oar_opt.risk import RegularizedRisk
from oar_opt.solver_features import SolverFeature, unfit

if TYPE_CHECKING:
    from pyomo.environ import ConcreteModel

PAGE_SECTIONS = ("Statement", "Hypotheses", "Exactness", "Size", "Reference")


@dataclass(frozen=True)
class Accuracy:
    """Bounds on how far a learner with a free intercept is from an optimum: ``||w - w*||`` is at most ``of_w``, and the
    decision value at ``centre (d,)`` is off by at most ``of_value``.

    Far from 0 this says much more than a distance in ``(w, b)``: there small errors of ``w`` are large ones of ``b``,
    and cancel where the records are.
    """

    centre: tuple[float, ...]
    of_w: float
    of_value: float


@dataclass(frozen=True)
class Fit:
    """A re-trained learner.

    ``error`` bounds the Euclidean distance of ``parameters`` from an exact optimum of the learner (of ``w`` alone where
    a polyline loss has a free intercept in the l2 norm). ``optima`` is the set of all optima where it is more than a
    point to the accuracy of training; ``parameters`` is one of them. ``backend`` names the code that trained.
    ``accuracy`` is sharper than ``error``, where it is known.
    """

    parameters: Parameters
    error: float
    backend: str
    optima: Optima | None = None
    accuracy: Accuracy | None = None

    def decision_error(self, x: Sequence[float]) -> float:
        """A bound on how far the decision value at ``x (d,)`` (for centroids: a margin there) can be off."""
        if isinstance(self.parameters, CentroidParameters):
            return self.parameters.margin_error(x, self.error)
        if self.accuracy is None:
            return self.error * float(np.linalg.norm([*x, 1.0]))
        distance = float(np.linalg.norm(np.array(x) - self.accuracy.centre))
        return self.accuracy.of_w * distance + self.accuracy.of_value

    @property
    def intercepts(self) -> tuple[float, float] | None:
        """The least and the largest optimal intercept, where the optimum is not unique."""
        return self.optima.parameter_range(-1) if self.optima else None


@dataclass(frozen=True)
class WorkedExample:
    """A small problem with its known optimum and the reason why it is that."""

    problem: RecourseProblem
    optimum: float | None
    why: str


def line_example(
    spec: LearnerSpec, goal: GoalKind = GoalKind.MAX_MARGIN, required: float | None = None
) -> RecourseProblem:
    """One feature, no intercept: a fixed record (1, -), a member with the same that may report + or move to (2, +).

    The query at 1 wants +, so its margin is the learner's ``w``. Small enough for every learner to be solved by hand.
    """
    return RecourseProblem(
        name="line",
        records=Records(np.array([[1.0], [1.0]]), np.array([-1.0, -1.0]), np.array([1.0, 1.0])),
        learner=spec,
        classes=("-", "+"),
        collective=Collective((Member(1, (LabelAction((1.0,)),), (Option(OptionKind.MENU, (2.0,), 1.0, 1.0, 2.0),)),)),
        queries=(Query("q", (1.0,), 1.0, required=required),),
        goal=goal,
    )


def line_with_room() -> WorkedExample:
    """Ridge on a line: a fixed record (1, -), a member with the same that may move by 1/2; the query at 1 wants +."""
    line = line_example(LearnerSpec("ridge", alpha=1.0))
    collective = Collective((Member(1, (FeatureAction(Norm.L2, 0.5),)),))
    why = "w = -(1 + x) / (2 + x^2) for x in [1/2, 3/2] is -2/3 at 1/2 and -10/17 at 3/2, with one minimum between"
    return WorkedExample(replace(line, collective=collective), -10 / 17, why)


class Learner(ABC):
    """How parameters follow from records. ``kind`` is the name in instance files."""

    kind: ClassVar[str]

    @abstractmethod
    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        """Re-train, with code that shares nothing with any formulation. The learner must be defined on ``records``."""

    @abstractmethod
    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        """The weighted loss on ``records`` without the penalty, as in the learner's objective."""

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        """Why the learner has no well-defined optimum on ``records``, or None."""
        return None

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk | None:
        """The optimality system, where the learner is a regularised empirical risk."""
        return None

    def examples(self) -> Sequence[WorkedExample]:
        """Small problems of this learner with known optimum, for the conformance suite."""
        return ()


class UpdateRule(ABC):
    """How parameters follow the changed records. ``kind`` is the name in instance files."""

    kind: ClassVar[str]

    def refuses(self, problem: RecourseProblem) -> str | None:
        """Why the rule cannot be replayed for this problem, or None."""
        return None

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        """Why the rule gives no parameters on ``records``, or None."""
        return None

    @abstractmethod
    def replay(self, problem: RecourseProblem, records: Records) -> Fit:
        """The parameters after the update on ``records``, by code that shares nothing with any formulation."""

    @abstractmethod
    def examples(self) -> Sequence[WorkedExample]:
        """Small problems under this rule with known optimum, for the conformance suite."""


class Exactness(StrEnum):
    """How the program's optimum relates to the problem's."""

    EXACT = "exact"
    RELAXATION = "relaxation"
    RESTRICTION = "restriction"


class Program(ABC):
    """A single-level program, ready to run."""

    @abstractmethod
    def run(self, request: Request) -> Claim:
        """Solve it within the request's limits and say what came out."""

    def written(self) -> PyomoProgram | ConeForm | None:
        """What a file can hold of it; None where it is computed directly, or searched over many programs."""
        return None

    def convex(self) -> ConvexProgram | None:
        """The program of cvxpy that it is, where it is one."""
        return None


@dataclass(frozen=True)
class DirectProgram(Program):
    """A program whose solution is computed rather than searched by a solver; ``state`` writes it for cvxpy, if any."""

    compute: Callable[[Request], Claim]
    state: Callable[[], ConvexProgram] | None = None

    def run(self, request: Request) -> Claim:
        return self.compute(request)

    def convex(self) -> ConvexProgram | None:
        return self.state() if self.state else None

    def written(self) -> ConeForm | None:
        return self.state().form() if self.state else None


@dataclass(frozen=True)
class Indicator:
    """``body <= upper`` wherever the Pyomo variable ``binary`` has the value ``active``; ``body`` is linear."""

    binary: Any
    active: bool
    body: Any
    upper: float


@dataclass(frozen=True)
class PyomoProgram(Program):
    """A Pyomo model with its way back to moves.

    ``read`` turns variable values (by Pyomo name) into moves and parameters. ``meanings`` explains every variable and
    row by name; ``bounds`` keeps each big-M with the reason that proves it, ``quantities`` says what each is about.
    ``start`` gives values of the discrete variables for moves and the re-trained parameters. ``goal_bound`` bounds the
    goal of all moves at least as good as the request's cutoff, where building proved one. ``needs`` says what the
    solver must have; ``indicators`` are rows beside the model's own, which Pyomo has no component for.
    ``has_interior`` says whether points can satisfy all nonlinear rows strictly.
    """

    model: ConcreteModel
    read: Callable[[], tuple[tuple[Move, ...], Parameters]]
    start: Callable[[Sequence[Move], Parameters | None], Mapping[str, float]]
    meanings: Mapping[str, str]
    bounds: Mapping[str, ProvedBound]
    goal_bound: float | None = None
    needs: frozenset[SolverFeature] = frozenset()
    indicators: tuple[Indicator, ...] = ()
    has_interior: bool = True
    quantities: Mapping[str, Quantity] = field(default_factory=dict)

    @property
    def objective(self) -> Any:
        """The model's objective."""
        from pyomo.environ import Objective

        return next(self.model.component_data_objects(Objective, active=True))

    @property
    def maximises(self) -> bool:
        from pyomo.environ import maximize

        return bool(self.objective.sense == maximize)

    def objective_value(self) -> float:
        """The objective at the variables' present values."""
        from pyomo.environ import value

        return float(value(self.objective))

    def run(self, request: Request) -> Claim:
        from oar_opt.solvers import run_pyomo

        return run_pyomo(self, request)

    def written(self) -> PyomoProgram:
        return self


class Formulation(ABC):
    """One statement of the single-level problem; its module's docstring is its page."""

    name: ClassVar[str]
    exactness: ClassVar[Exactness] = Exactness.EXACT
    rank: ClassVar[int] = 100
    """Order in which ``auto`` tries formulations that apply: the lowest first; see :meth:`preference`."""
    exportable: ClassVar[bool] = False
    """Whether what ``build`` returns has a :class:`PyomoProgram` that a file can hold (:meth:`Program.written`)."""
    file_exactness: ClassVar[Exactness] = Exactness.EXACT
    """How the program in a file relates to the problem."""
    conic: ClassVar[bool] = False
    """Whether it has a :class:`ConeForm` instead."""
    needs: ClassVar[frozenset[SolverFeature]] = frozenset()
    """What the solver must have; without any, and where no program is built, every solver will do."""
    exhausts: ClassVar[bool] = False
    """Whether a finished run has re-trained the learner for every choice: the best confirmation of another."""
    starts: ClassVar[bool] = True
    """Whether a first answer by heuristics helps a run."""
    excludes: ClassVar[bool] = True
    """Whether programs leave out ``Request.excluded``, so that several best moves can be found."""

    @abstractmethod
    def accepts(self, problem: RecourseProblem) -> str | None:
        """None where the formulation applies, else the reason why it does not."""

    def single(self, problem: RecourseProblem) -> str | None:
        """Why programs for a problem that is accepted find the best move only, no pool of several, or None."""
        return None if self.excludes else "it finds the best move only, no pool of several"

    @abstractmethod
    def build(self, problem: RecourseProblem, request: Request | None = None) -> Program:
        """The program for a problem that :meth:`accepts` accepts.

        Of ``request`` it heeds ``cutoff``, ``tightening`` and ``interrupted``; what running needs comes with the run.
        """

    def preference(self, problem: RecourseProblem) -> tuple[int, str]:
        """The rank for this problem and why: where measurements say so it differs from :attr:`rank`."""
        return self.rank, "the usual order"

    def unfit(self, solver: str | None) -> str | None:
        """Why a solver (None: the formulation's own) cannot run this statement's programs, or None."""
        return unfit(solver, self.needs) if solver else None

    def examples(self) -> Sequence[WorkedExample]:
        """Small problems with known optimum, for the conformance suite."""
        return ()


@dataclass(frozen=True)
class Proposal:
    """Moves that a heuristic proposes, and what a reader of its result should know ("" for nothing).

    ``settled``: these are the moves that its rule defines, not what a cut-off or a local search left of it. Only of
    rules that others are held against is it asked.
    """

    moves: tuple[Move, ...] = ()
    remark: str = ""
    settled: bool = False


class Heuristic(ABC):
    """A fixed rule that proposes moves; they are evaluated with the real learner.

    ``starts`` tells whether every solve tries it for a first answer; the others are asked by comparisons only.
    """

    name: ClassVar[str]
    starts: ClassVar[bool] = False

    @abstractmethod
    def accepts(self, problem: RecourseProblem) -> str | None:
        """None where the rule applies, else the reason why it does not."""

    @abstractmethod
    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        """Moves that obey every rule of the instance; seconds for ``time_limit``, which is kept but for one step."""
