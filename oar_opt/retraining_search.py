"""What re-training has told of every choice, and the loop "solve, re-train, exclude" that closes a program over them.

A program over choices (one option for each member) that is a relaxation of the problem says how good the choices are at
best; what one of them is worth is known from **re-training the learner**, as an answer is verified. So whatever slack
the program has, this ends in an exact answer: solve it, re-train for the choice that comes out, exclude that choice by
a row since its worth is known, demand something better than the best known choice, and again, until the program has
no choice left or its bound is not better. The answer is the best re-trained choice. What is not known accurately
enough keeps the bound that the program had for it.

Bounds are upper ones where the goal is maximised, lower ones else; *better* is meant in that sense.

Reference: J. N. Hooker, G. Ottosson, "Logic-based Benders decomposition", 2003 (exclusion of choices whose subproblem
is solved).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from oar_opt.bounds import ParameterBounds
from oar_opt.discovery import learner_of, not_replayed
from oar_opt.errors import InputError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.linear_program import Limits
from oar_opt.problem import GoalKind, Indices, Move, RecourseProblem, Vector, moves_from_choice, resulting_records
from oar_opt.relaxation import Region, Relaxation
from oar_opt.result import Claim, Request, StoppedBy
from oar_opt.risk_program import reference_point, whitened
from oar_opt.rules import budget_violations

COST_UNITS = 10**6
"""Costs that are multiples of its inverse have a known step between totals."""

Choice = tuple[int, ...]
"""For every member the place of its option in its menu."""


def refusal(problem: RecourseProblem) -> str | None:
    """Why :class:`oar_opt.relaxation.Relaxation` does not know the problem, or None."""
    reason = not_replayed(problem)
    if reason:
        return reason
    if not problem.update.retrains:
        return f"the update '{problem.update.kind}' does not re-train to the learner's optimum"
    if learner_of(problem).risk(problem.learner, problem.d) is None:
        return f"learner '{problem.learner.kind}' is not a regularised empirical risk"
    if not problem.is_menu_problem:
        return "members may move features, and this formulation knows finite options only"
    if not Region.of(problem, proved_bounds(problem)).is_bounded:
        return "no finite bound is proved for all parameters and decision values"
    return None


def proved_bounds(problem: RecourseProblem) -> ParameterBounds:
    """In coordinates that whiten the records, around the learner's present optimum."""
    risk = learner_of(problem).risk(problem.learner, problem.d)
    assert risk is not None
    risk = whitened(problem, risk)
    return ParameterBounds(problem, risk, reference_point(problem, risk))


@dataclass(frozen=True)
class Candidate:
    """What a program over choices gave: whether it was solved to its end, the bound on all choices that are not
    forbidden (None: there are none; infinite: not known), its best choice (None: none found) and its nodes."""

    ended: bool
    bound: float | None
    choice: Choice | None
    nodes: int


class ChoiceProgram(Protocol):
    """A relaxation of the problem whose solutions are choices; it keeps what it is told."""

    @property
    def solver(self) -> str:
        """What solves it, with its version where that is known."""

    def best(self, limits: Limits) -> Candidate:
        """The best choice that is not forbidden."""

    def forbid(self, choice: Choice) -> None:
        """Leave this choice out."""

    def demand(self, target: float) -> None:
        """Only moves whose goal is at least as good as ``target`` matter."""

    def refine(self) -> None:
        """Be more exact where the last best choice was found, as far as that is possible."""


@dataclass
class RetrainingSearch:
    """The state of one run. ``known`` has every choice that was re-trained, with what it may be worth at best
    where that is not settled (else None).

    ``tied`` is the best move whose worth depends on an unstated tie, ``loosest`` the worst bound of choices whose worth
    is not settled, ``training`` the seconds that re-training took.
    """

    problem: RecourseProblem
    request: Request
    best: Evaluation | None = None
    tied: Evaluation | None = None
    known: dict[Choice, float | None] = field(default_factory=dict)
    nodes: int = 0
    training: float = 0.0
    loosest: float | None = None

    def __post_init__(self) -> None:
        problem = self.problem
        self.started = time.monotonic()
        self.bounds = proved_bounds(problem)
        self.sign = 1 if problem.goal.maximises else -1
        self.menus = [problem.admissible_options(member) for member in problem.collective.members]
        self.first_row = np.cumsum([0, *(len(menu) for menu in self.menus)])
        self.unwanted = [resulting_records(problem, moves) for moves in self.request.excluded]
        self.step = goal_step(problem)
        self.loss_limit = loss_limit(problem)

    # -- the loop ---

    def close(self, program: ChoiceProgram, bound: float, known: Sequence[Choice], seconds: float) -> float | None:
        """Find out whether any choice of the program is better than the best one, for at most these seconds.

        ``bound`` holds for all choices of the program, ``known`` are those of them that are known already. Returns
        None where nothing better is left, else a bound on what is left.
        """
        deadline = time.monotonic() + seconds
        forbidden = set(known)
        for choice in known:
            self.settle(choice, bound)
            program.forbid(choice)
        while True:
            left = min(deadline - time.monotonic(), self.seconds_left())
            if left <= 0 or self.stopped() is not None:
                return bound
            found = program.best(self._limits(left))
            self.nodes += found.nodes
            if found.bound is None:
                return None
            bound = self.tighter(bound, found.bound)
            if not self.is_better(found.bound):
                return None
            # A forbidden choice: the solver is beyond its tolerances, and must not be asked again.
            if found.choice is None or found.choice in forbidden:
                return bound
            if not found.ended:
                self.try_choice(found.choice)
                return bound
            forbidden.add(found.choice)
            self.settle(found.choice, bound)
            program.forbid(found.choice)
            program.refine()
            target = self.target()
            if target is not None:
                program.demand(target)

    def _limits(self, seconds: float) -> Limits:
        most = self.request.node_limit
        nodes = None if most is None else max(1, most - self.nodes)
        return Limits(seconds, self.gap() / 2, self.request.threads, self.request.interrupted, nodes=nodes)

    # -- choices ---

    def training_seconds(self) -> float:
        """What re-training for a choice has taken so far, on average."""
        return self.training / max(1, len(self.known)) if self.known else 1e-3

    def settle(self, choice: Choice, bound: float) -> None:
        """Find out what a choice is worth; where that stays open, the better of what re-training and ``bound``, which
        holds for it, promise is kept for good."""
        own = self.consider_choice(choice)
        if own is not None:
            self._keep(self.tighter(own, bound))

    def try_choice(self, choice: Choice) -> None:
        """The same without a bound that holds for it."""
        self.settle(choice, self.sign * math.inf)

    def try_moves(self, moves: Sequence[Move]) -> None:
        """The same for moves, say a start."""
        own = self.consider(moves)
        if own is not None:
            self._keep(own)

    def _keep(self, bound: float) -> None:
        self.loosest = bound if self.loosest is None else self.looser(self.loosest, bound)

    def consider_choice(self, choice: Choice) -> float | None:
        """Re-train for it, once. What it may be worth at best where that is not settled, else None."""
        if choice not in self.known:
            begun = time.monotonic()
            options = [menu[k] for menu, k in zip(self.menus, choice, strict=True)]
            self.known[choice] = self.consider(moves_from_choice(self.problem, options))
            self.training += time.monotonic() - begun
        return self.known[choice]

    def consider(self, moves: Sequence[Move]) -> float | None:
        """Re-train for moves. What they may be worth at best where that is not settled, else None."""
        problem = self.problem
        if budget_violations(problem, moves) or resulting_records(problem, moves) in self.unwanted:
            return None
        try:
            outcome = evaluate(problem, moves)
        except UndefinedLearner:
            return None
        if outcome.inaccuracy > problem.tolerances.feasibility:
            # Not known well enough to be the answer, nor for others to be held against it.
            return outcome.at_best if outcome.could_beat(self.best) else None
        if outcome.beats(self.best):
            self.best = outcome
        elif outcome.tie and not outcome.broken and (self.tied is None or outcome.exceeds(self.tied)):
            self.tied = outcome
        return None

    # -- what would be better ---

    def tighter(self, a: float, b: float) -> float:
        """Of two bounds the one that says more."""
        return min(a, b) if self.sign > 0 else max(a, b)

    def looser(self, a: float, b: float) -> float:
        """Of two bounds the one that says less."""
        return max(a, b) if self.sign > 0 else min(a, b)

    def gap(self) -> float:
        """How much a move must improve on the best one to matter."""
        size = 1.0 if self.best is None else max(1.0, abs(self.best.objective))
        return 0.4 * self.request.relative_gap * size

    def target(self) -> float | None:
        """The least value of the goal that would be better than what is known."""
        if self.best is None:
            return None
        return self.best.objective + self.sign * (self.step * (1 - 1e-6) if self.step else self.gap())

    def is_better(self, bound: float) -> bool:
        """Whether a move with this bound could still be better than what is known."""
        target = self.target()
        return target is None or self.sign * (bound - target) >= 0

    # -- limits ---

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    def seconds_left(self) -> float:
        """Seconds until the time limit."""
        limit = self.request.time_limit
        return math.inf if limit is None else limit - self.elapsed()

    def stopped(self) -> StoppedBy | None:
        """The limit that has been reached, or None."""
        if self.request.interrupted():
            return StoppedBy.INTERRUPT
        if self.seconds_left() <= 0:
            return StoppedBy.TIME_LIMIT
        if self.request.node_limit is not None and self.nodes >= self.request.node_limit:
            return StoppedBy.NODE_LIMIT
        return None

    # -- the result ---

    def bound(self, reason: StoppedBy, still_open: Sequence[float]) -> float | None:
        """The best that an unknown move could reach; ``still_open`` are the bounds of what was not closed."""
        values = list(still_open) if reason is not StoppedBy.PROOF else []
        if self.loosest is not None:
            values.append(self.loosest)
        if self.best is not None:
            values.append(self.best.objective + (0.0 if self.step else self.sign * self.gap()))
        if not values:
            return None
        bound = max(values, key=lambda b: self.sign * b)
        return bound if math.isfinite(bound) else None

    def claim(self, reason: StoppedBy, still_open: Sequence[float], solver: str) -> Claim:
        """What the run ends with.

        Raises
        ------
        InputError : a move whose worth depends on an unstated tie could be the best.
        """
        tied = self.tied
        if tied is not None and tied.tie and (self.best is None or tied.exceeds(self.best, self.gap())):
            raise InputError("position", tied.tie)
        best, bound = self.best, self.bound(reason, still_open)
        return Claim(
            stopped_by=reason,
            moves=None if best is None else best.moves,
            objective=None if best is None else best.objective,
            bound=bound,
            infeasible=best is None and reason is StoppedBy.PROOF and self.loosest is None,
            parameters=None if best is None else best.parameters,
            solver=f"re-training and {solver}",
            options={"relative_gap": self.request.relative_gap, "threads": self.request.threads},
            nodes=self.nodes,
        )


class RelaxedChoices:
    """A :class:`ChoiceProgram`: HiGHS's branch and bound on a relaxation, with tangents where its point violates the
    convex terms."""

    def __init__(self, relaxation: Relaxation) -> None:
        self.relaxation = relaxation
        self._point: Vector | None = None

    @property
    def solver(self) -> str:
        return f"highs {self.relaxation.program.solver.version()}"

    def best(self, limits: Limits) -> Candidate:
        terms, sense, constant = self.relaxation.goal
        found = self.relaxation.program.best_choice(terms, sense, limits)
        self._point = found.point
        choice = None if found.point is None else likeliest(self.relaxation, found.point)
        if found.bound is None:
            return Candidate(found.ended, None, choice, found.nodes)
        return Candidate(found.ended, found.bound + constant, choice, found.nodes)

    def forbid(self, choice: Choice) -> None:
        columns = [int(column) for column in self.relaxation.choice[rows_of(self.relaxation, choice)] if column >= 0]
        if columns:
            self.relaxation.program.cut([(column, 1.0) for column in columns], -math.inf, len(columns) - 1.0)

    def demand(self, target: float) -> None:
        """Raises the end of the margin; other goals are cut off by their bound."""
        if self.relaxation.problem.goal is GoalKind.MAX_MARGIN:
            margin = self.relaxation.goal[0][0][0]
            program = self.relaxation.program
            units = program.units[margin]
            top = float(program.upper[margin] * units)
            program.fix(margin, min(top, max(float(program.lower[margin] * units), target)), top)

    def refine(self) -> None:
        self.relaxation.program.solution = self._point
        self.relaxation.separate()


def rows_of(relaxation: Relaxation, choice: Choice) -> Indices:
    """The rows of a choice's options among all options, ``(k,)``."""
    first = np.searchsorted(relaxation.bounds.owner, np.arange(len(choice)))
    return np.asarray(first + np.array(choice, dtype=np.int64), dtype=np.int64)


def likeliest(relaxation: Relaxation, point: Vector | None) -> Choice:
    """The options of the certain members, and of the others those with the largest ``z`` (without a point: any)."""
    picked = [0] * len(relaxation.bounds.members)
    best = [-1.0] * len(picked)
    for row in (*relaxation.certain, *relaxation.undecided):
        i, column = int(relaxation.bounds.owner[row]), int(relaxation.choice[row])
        share = 2.0 if column < 0 or point is None else float(point[column])
        if share > best[i]:
            picked[i], best[i] = int(relaxation.bounds.place[row]), share
    return tuple(picked)


def known_in(region: Region, search: RetrainingSearch) -> list[Choice]:
    """The known choices whose options are all allowed, in the order in which they were found."""
    first = search.first_row
    return [choice for choice in search.known if all(region.allowed[first[i] + k] for i, k in enumerate(choice))]


def loss_limit(problem: RecourseProblem) -> float | None:
    """The largest ``sum_i s_i l(y_i, f_i)`` over the records as they are that ``max_loss_increase`` leaves."""
    learner = learner_of(problem)
    risk = learner.risk(problem.learner, problem.d)
    if problem.max_loss_increase is None or risk is None or learner.undefined(problem, problem.records):
        return None
    present = learner.training_loss(problem, problem.records, learner.fit(problem, problem.records).parameters)
    return (present + problem.max_loss_increase + problem.tolerances.feasibility) / risk.factor


def goal_step(problem: RecourseProblem) -> float:
    """The goal's values are multiples of this; 0 where nothing is known."""
    if problem.goal in (GoalKind.MIN_MEMBERS, GoalKind.MAX_HELPED):
        return 1.0
    if problem.goal is GoalKind.MIN_COST:
        costs = [o.cost for member in problem.collective.members for o in problem.admissible_options(member)]
        scaled = [cost * COST_UNITS for cost in costs]
        if all(abs(cost - round(cost)) <= 1e-9 * max(1.0, cost) for cost in scaled):
            return math.gcd(*(round(cost) for cost in scaled)) / COST_UNITS
    return 0.0
