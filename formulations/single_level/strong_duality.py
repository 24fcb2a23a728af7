"""Strong duality of the learner: stationarity and one convex constraint, with binaries for the choices only.

Statement
---------
Letters of :mod:`oar_opt.risk`. Member ``i`` picks one option ``k``: ``z_ik`` binary, ``sum_k z_ik = 1``; ``W_ik = z_ik
theta`` is the option's copy of the parameters, ``f_ik = xhat_ik' W_ik`` and ``g_ik`` its decision value and pull if it
is picked and 0 otherwise. With ``l*`` the conjugate of a loss and ``r`` the gradient of the penalty at ``theta``,

    r + sum_i g_i xhat_i + sum_ik g_ik xhat_ik = 0                                                      (stationarity)
    sum_i [a_i l(f_i) + (a_i l)*(g_i)] + sum_ik z_ik [a_ik l(f_ik / z_ik) + (a_ik l)*(g_ik / z_ik)]
        + r'theta <= 0                                                                                (strong duality)
    sum_k W_ik = theta,    W_ik in z_ik [proved box of theta],

where ``i`` alone runs over the records of no member. *Proof that this is the learner's optimality:* by the
Fenchel-Young inequality each bracket is at least ``f g``, with equality if and only if ``(f, g)`` is on the record's
graph; and ``sum f g = -r'theta`` by stationarity. So the left side is at least 0 wherever stationarity holds, and at
most 0 exactly where every record is on its graph. (For the l1 norm the same is said of the penalty too:
:mod:`oar_opt.relaxation`, which states the whole program with goal, budgets and guards over the root region, in
intervals shrunk by :mod:`oar_opt.tightening` and padded by :data:`PAD`.)

So the lower level is one convex constraint, and the only binaries are those of the choices, however many records
there are. Two ways to solve it:

- **HiGHS** (default), outer approximation: the convex terms enter as tangents, first those that the linear relaxation
  violates, then those that a branch and bound's best point does.
- **SCIP** (or another solver with quadratic rows): squares as second-order cones, losses and conjugates as walks along
  their graphs or as exponentials and logarithms (:mod:`oar_opt.nonlinear_relaxation`), where the strong-duality row, an
  equality in disguise without interior, gets a small slack.

Either program is a relaxation of the problem by a solver's tolerance. Its best choice is re-trained and excluded by a
row, a better value is demanded, and it is solved again until no choice is left or its bound is not better
(:mod:`oar_opt.retraining_search`). Where a solver returns an excluded choice or breaks down, the options of a member
are split in halves, down to single choices, which are re-trained.

Hypotheses
----------
Menus, labels and withholding only. A convex learner of the family with finite bounds on ``theta`` and all decision
values (proved by :mod:`oar_opt.bounds`). Update ``retrain`` or ``proximal``. A solver other than HiGHS needs quadratic
rows, and exponentials for the logistic loss. ``max_loss_increase`` enters through tangents.

Exactness
---------
Exact. Answers are re-trained choices; the bound is the solver's own word on the rest, HiGHS's "no choice is left" after
a second run without presolve where that is cheap. Any position: re-training takes it, and the program, which leaves
the learner's ties open, stays a relaxation. A choice that could not be re-trained accurately enough keeps the bound
that it was found with. By itself the program is a relaxation (the limit on the training loss, ties, and choices that
leave the learner undefined are left to re-training), so it is not exported.

Size
----
``K`` options, ``p`` parameters, ``k`` members, ``m`` records of no member whose graph keeps several pieces: ``K``
binaries (and one per query for ``max_helped``), ``p K`` copies, ``p`` squares of ``theta``, and for every option and
every such record at most a value, a pull, a loss and a conjugate; ``2 p K + p k + O(K + m)`` rows. With SCIP as many
convex rows as squares, and two for each slanted segment, or two for each curve. How often it is solved has no useful
bound: once for each choice that looks better than the best one within the tolerance.

Reference
---------
W. Fenchel, "On conjugate convex functions", 1949; M. Duran, I. Grossmann, "An outer-approximation algorithm for a class
of mixed-integer nonlinear programs", 1986; S. Ceria, J. Soares, "Convex programming for disjunctive convex
optimization", 1999 (copies). Strong duality in one row for online recourse, with re-trained choices, is derived here.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np

from oar_opt.contracts import DirectProgram, Formulation
from oar_opt.linear_program import Limits
from oar_opt.nonlinear_relaxation import NonlinearChoices
from oar_opt.problem import Indices, RecourseProblem, Vector
from oar_opt.relaxation import Region, Relaxation
from oar_opt.result import Claim, Progress, Request, StoppedBy
from oar_opt.retraining_search import (
    Candidate,
    Choice,
    ChoiceProgram,
    RelaxedChoices,
    RetrainingSearch,
    known_in,
    likeliest,
    refusal,
)
from oar_opt.solver_features import DEFAULT, SolverFeature, unfit
from oar_opt.tightening import TIGHTENING_SECONDS, tighten

PAD = 1e-5
"""Added to both ends of every interval: HiGHS and SCIP have called programs infeasible whose intervals were as narrow
as 1e-7."""
TIGHTENING_SHARE = 0.25
"""Of a time limit, what tightening may take where the caller does not say."""
ROOT_ROUNDS = 30
DOUBTED_SECONDS = 5.0
"""A branch and bound of at most that long which finds nothing is repeated without presolve."""


class StrongDuality(Formulation):
    """See the module's docstring."""

    name = "strong_duality"
    rank = 24

    def accepts(self, problem: RecourseProblem) -> str | None:
        return refusal(problem)

    def unfit(self, solver: str | None) -> str | None:
        return None if solver in (None, DEFAULT) else unfit(str(solver), frozenset({SolverFeature.QUADRATIC}))

    def build(self, problem: RecourseProblem, request: Request | None = None) -> DirectProgram:
        seconds = None if request is None else request.tightening
        return DirectProgram(lambda wanted: _Search(problem, wanted, tightening=seconds).run())


@dataclass
class _Search(RetrainingSearch):
    """A run. ``tightening`` is how many seconds that may take (None: the usual); ``regions`` are those that are still
    to be closed, with their bounds: more than the first only where a solver fails on one."""

    tightening: float | None = None
    solver: str = DEFAULT
    regions: list[tuple[float, Region]] = field(default_factory=list)

    def run(self) -> Claim:
        if self.request.start is not None:
            self.try_moves(self.request.start)
        self.regions.append((self.sign * math.inf, self._root()))
        reason = StoppedBy.PROOF
        while self.regions:
            stop = self.stopped()
            if stop is not None:
                reason = stop
                break
            bound, region = self.regions.pop()
            if self.is_better(bound):
                self.regions += self._process(bound, region)
        return self.claim(reason, [bound for bound, _ in self.regions], self.solver)

    def _root(self) -> Region:
        """All choices, in intervals that hold for what is better than the best known."""
        region = Region.of(self.problem, self.bounds)
        target, seconds = self.target(), self.tightening
        if seconds is None:
            seconds = min(TIGHTENING_SECONDS, TIGHTENING_SHARE * self.seconds_left())
        if seconds > 0 and self.menus:
            found = tighten(self.problem, self.bounds, target, seconds, lambda: self.stopped() is not None)
            if not found.empty:
                self.bounds.adopt(found.theta, found.fixed, found.options)
                region = Region.of(self.problem, self.bounds)
                region.allowed[list(found.excluded)] = False
        return replace(
            region, theta=_padded(region.theta), fixed=_padded(region.fixed), options=_padded(region.options)
        )

    def _process(self, bound: float, region: Region) -> list[tuple[float, Region]]:
        """Close the region (nothing is left of it), or as much of it as can be: what is left, with bounds."""
        relaxation = Relaxation(self.problem, self.bounds, region, self.target(), self.loss_limit)
        self.solver = RelaxedChoices(relaxation).solver
        found = relaxation.goal_bound(lambda: self.stopped() is not None, ROOT_ROUNDS)
        if found is None:
            return []
        bound = self.tighter(bound, found)
        self._report(bound)
        if not self.is_better(bound):
            return []
        if not len(relaxation.undecided):
            self.settle(likeliest(relaxation, None), bound)
            return []
        if relaxation.program.solution is not None:
            self.settle(likeliest(relaxation, relaxation.program.solution), bound)
        program = self._program(relaxation)
        left = self.close(program, bound, known_in(region, self), self.seconds_left())
        self.solver = program.solver
        if left is None:
            return []
        if self.stopped() is not None:
            return [(left, region)]
        return [(left, half) for half in _halves(relaxation)]

    def _program(self, relaxation: Relaxation) -> ChoiceProgram:
        if self.request.solver in (None, DEFAULT):
            return _DoubtedChoices(relaxation)
        return NonlinearChoices(relaxation, self.request)

    def settle(self, choice: Choice, bound: float) -> None:
        super().settle(choice, bound)
        self._report(bound)

    def _report(self, bound: float) -> None:
        if self.request.progress is not None:
            primal = None if self.best is None else self.best.objective
            known = self.bound(StoppedBy.TIME_LIMIT, [bound, *(other for other, _ in self.regions)])
            self.request.progress(Progress(self.elapsed(), self.nodes, primal, known))


class _DoubtedChoices(RelaxedChoices):
    """ "No choice is left" is believed only if a second run without presolve ends so too, where that is cheap."""

    def best(self, limits: Limits) -> Candidate:
        begun = time.monotonic()
        found = super().best(limits)
        seconds = time.monotonic() - begun
        if found.bound is not None or seconds > DOUBTED_SECONDS:
            return found
        return super().best(replace(limits, presolve=False))


def _halves(relaxation: Relaxation) -> list[Region]:
    """The region with either half of the options of the member that has most of them."""
    owner: Indices = relaxation.bounds.owner[relaxation.undecided]
    most = int(np.argmax(np.bincount(owner)))
    options = relaxation.undecided[owner == most]
    halves = []
    for dropped in (options[: len(options) // 2], options[len(options) // 2 :]):
        allowed = relaxation.region.allowed.copy()
        allowed[dropped] = False
        halves.append(replace(relaxation.region, allowed=allowed))
    return halves


def _padded(ends: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
    return ends[0] - PAD * (1 + np.abs(ends[0])), ends[1] + PAD * (1 + np.abs(ends[1]))
