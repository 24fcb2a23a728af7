"""Rounds: the collective acts, the model updates, the collective acts again; plans made once against plans re-made.

An instance whose update has ``T`` rounds (:mod:`oar_opt.arrivals`) is a *forecast*: of the records of other people it
says what is expected. The *world* is the same instance with their records as they turn out. Members act in the round
in which their record arrives; budgets hold over all rounds, the goal and the guards after the last one. The policies:

- *nobody acts*;
- *open loop*: the forecast is solved once, before round 1, and its moves are carried out whatever happens;
- *receding horizon*: in every round in which members arrive, the forecast of the rounds that are left is solved again
  from the parameters observed by then, with what is left of the budgets; only this round's moves are made;
- *limited horizon*: the same looking ``H`` rounds ahead (this one included) as if the last of them were the end.
  ``H = 1`` is the myopic policy.

What is observed are parameters, not people: a record that arrives again later is expected as forecast.

Where no plan gives what the goal requires any more, the next best thing is planned for: the largest margin with what
is left of the budgets, and where no plan keeps the guards, their smallest margin as large as possible. The round's plan
says so. Where the forecast is proved infeasible this way at once, the open loop does the same.

What is proved. Every plan is an answer of :func:`oar_opt.pipeline.solve`, with its bound and grade: *for the forecast
from which it was made*. In the world, what the moves achieve is re-trained and measured, and that they obey every rule
and budget is checked. Nothing is claimed to be best there: no policy can be proved best against surprises. Without a
surprise, and with plans solved to optimality, open loop and receding horizon reach the same objective: from any point
of an optimal plan its own rest is an optimal plan, of the same value.

Reference: D. P. Bertsekas, "Dynamic Programming and Optimal Control", volume 1, 2017, chapters 1 and 6 (open loop
against closed loop, rolling horizon); J. B. Rawlings, D. Q. Mayne, M. M. Diehl, "Model Predictive Control", 2017.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from oar_opt.arrivals import Calendar, Observed, after_round, begun_from, calendar_of, observed_at_start
from oar_opt.certificate import Grade
from oar_opt.errors import InputError, VerificationError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.limits import Clock, interruptible
from oar_opt.parameters import Parameters
from oar_opt.pipeline import Result, solve
from oar_opt.problem import Budget, GoalKind, Indices, Move, Query, RecourseProblem
from oar_opt.result import Status, StoppedBy
from oar_opt.rules import ROUNDING, budget_violations
from oar_opt.verification import move_violations
from oar_opt.world import check_world

LEFT_OVER = 1e-12
"""Relative slack on what is left of a budget: differences of decimals are rounded."""


class Policy(StrEnum):
    NOBODY = "nobody_acts"
    OPEN_LOOP = "open_loop"
    RECEDING = "receding_horizon"
    LIMITED = "limited_horizon"


class Aim(StrEnum):
    """What a plan is best for."""

    GOAL = "goal"
    MARGIN = "largest_margin"
    GUARDS = "guards"

    @property
    def words(self) -> str:
        return {
            Aim.GOAL: "the instance's goal",
            Aim.MARGIN: "the largest margin, as no plan gives every query its required one",
            Aim.GUARDS: "the guards' smallest margin, as no plan keeps all guards",
        }[self]


@dataclass(frozen=True)
class Plan:
    """A verified answer to the forecast of the rounds from ``first`` to before ``last``, counted from 0.

    ``objective`` and ``bound`` are those of the whole instance, in the unit of what is aimed at: costs and members
    include what was spent before; margins are those after round ``last - 1``. None where nothing is known.
    ``moves`` are those of all members who act in these rounds; ``formulation`` is how it was solved.
    """

    first: int
    last: int
    aim: Aim
    status: Status
    grade: Grade
    objective: float | None
    bound: float | None
    moves: tuple[Move, ...]
    formulation: str


@dataclass(frozen=True)
class Round:
    """One round as it was played.

    ``parameters``, ``margins`` (of each query) and ``guard_margins`` are those after it. ``moves`` are made in it, at
    the total ``cost``. ``plan`` is the one made in it, None where none was; ``note`` says what is out of the ordinary.
    ``seconds`` are those of planning and replaying.
    """

    arrives: tuple[int, ...]
    moves: tuple[Move, ...]
    parameters: Parameters
    margins: tuple[float, ...]
    guard_margins: tuple[float, ...]
    plan: Plan | None
    note: str
    seconds: float

    @property
    def cost(self) -> float:
        return float(sum(move.cost for move in self.moves))


@dataclass(frozen=True)
class Play:
    """A policy played in the world, ``moves`` those of all rounds.

    ``outcome`` evaluates them on the world; None where a round is undefined, as nobody is left in it. ``broken`` says
    in words what the instance demands and the outcome does not give. ``stopped_by`` is why a round passed without a
    plan although there was something to plan (the first such reason); nobody acted in it.
    """

    policy: Policy
    horizon: int | None
    rounds: tuple[Round, ...]
    moves: tuple[Move, ...]
    outcome: Evaluation | None
    broken: tuple[str, ...]
    stopped_by: StoppedBy | None

    @property
    def objective(self) -> float | None:
        """The goal's value in the world: a margin, a cost, members or queries helped."""
        return self.outcome.objective if self.outcome else None

    @property
    def margins(self) -> tuple[float, ...]:
        """Of each query, after the last round that could be replayed."""
        return self.outcome.margins if self.outcome else self.rounds[-1].margins if self.rounds else ()

    @property
    def helped(self) -> tuple[bool, ...]:
        return self.outcome.helped if self.outcome else ()

    @property
    def cost(self) -> float:
        return float(sum(move.cost for move in self.moves))

    @property
    def plans(self) -> tuple[Plan, ...]:
        return tuple(one.plan for one in self.rounds if one.plan)

    @property
    def name(self) -> str:
        if self.policy is not Policy.LIMITED:
            return self.policy.value.replace("_", " ")
        return "myopic" if self.horizon == 1 else f"horizon of {self.horizon} rounds"


@dataclass(frozen=True)
class Rounds:
    """The policies side by side, in the world; ``T`` rounds."""

    forecast: RecourseProblem
    world: RecourseProblem
    T: int
    plays: tuple[Play, ...]

    def of(self, policy: Policy) -> Play:
        """The play of one policy."""
        return next(play for play in self.plays if play.policy is policy)

    @property
    def found_nothing(self) -> bool:
        """Whether planning was stopped before any plan was found."""
        stopped = any(play.stopped_by for play in self.plays)
        return stopped and all(plan.objective is None for play in self.plays for plan in play.plans)


def play(
    problem: RecourseProblem,
    world: RecourseProblem | None = None,
    *,
    horizon: int | None = None,
    formulation: str = "auto",
    solver: str | None = None,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Rounds:
    """Play an instance of several rounds by each policy; see the module's docstring.

    Parameters
    ----------
    problem : the forecast.
    world : the same instance with other people's records as they turn out; None: as forecast.
    horizon : rounds that a fourth policy looks ahead, 1 for the myopic one; None: there is none.
    formulation, solver, threads : of every plan, as in :func:`oar_opt.pipeline.solve`.
    time_limit : seconds for everything together; None is no limit. When they are over, the rounds that are left pass
        without further moves. The same on Ctrl-C.
    progress : called with a line about every plan.

    Raises
    ------
    InputError : the update has one round only, or the world differs in more than other people's records.
    UnsupportedError : no formulation (or not the one named) solves a plan, or there is a limit on the training loss.
    VerificationError : an answer or a play failed its check.
    """
    if horizon is not None and horizon < 1:
        raise InputError("--horizon", f"is {horizon}", "look at least 1 round ahead")
    if time_limit is not None and not time_limit > 0:
        raise InputError("--time-limit", f"is {time_limit:g}", "give a number above 0")
    calendar = calendar_of(problem)
    if world is not None:
        check_world(problem, world)
    looks = {Policy.OPEN_LOOP: calendar.T, Policy.RECEDING: calendar.T}
    if horizon is not None:
        looks[Policy.LIMITED] = horizon
    table = _Table(
        forecast=problem,
        world=problem if world is None else world,
        calendar=calendar,
        start=observed_at_start(problem),
        solve=lambda rest, seconds: solve(
            rest, formulation=formulation, solver=solver, time_limit=seconds, threads=threads
        ),
        clock=Clock(time_limit),
        progress=progress or (lambda line: None),
        to_plan=1 + (len(looks) - 1) * len(set(calendar.begins.values())),
    )
    with interruptible() as table.interrupted:
        plays = [_played(table, Policy.NOBODY, 0)] + [_played(table, policy, look) for policy, look in looks.items()]
    return Rounds(problem, table.world, calendar.T, tuple(plays))


play_rounds = play
"""The name under which the package exports it."""


@dataclass
class _Table:
    """What all policies share: the instance, the time, and how many plans are still to be made."""

    forecast: RecourseProblem
    world: RecourseProblem
    calendar: Calendar
    start: Observed
    solve: Callable[[RecourseProblem, float | None], Result]
    clock: Clock
    progress: Callable[[str], None]
    to_plan: int
    interrupted: Callable[[], bool] = lambda: False

    @property
    def stopped_by(self) -> StoppedBy | None:
        """Why no further plan is to be made."""
        if self.interrupted():
            return StoppedBy.INTERRUPT
        return StoppedBy.TIME_LIMIT if self.clock.is_over else None

    def next_clock(self) -> Clock:
        """Of a time limit, each plan may use an equal share of what is left."""
        share = self.clock.share(1.0 / max(1, self.to_plan))
        self.to_plan -= 1
        return Clock(share)


# -- one policy ---


def _played(table: _Table, policy: Policy, look: int) -> Play:
    hand = _Hand(table, policy, look, table.start)
    broken: tuple[str, ...] = ()
    try:
        for t in range(table.calendar.T):
            hand.go_on(t)
    except UndefinedLearner as undefined:
        broken = (f"round {len(hand.rounds) + 1} is undefined: {undefined}",)
    outcome = None if broken else _checked_outcome(table, hand)
    return Play(
        policy=policy,
        horizon=look if policy is Policy.LIMITED else None,
        rounds=tuple(hand.rounds),
        moves=hand.moves,
        outcome=outcome,
        broken=broken if outcome is None else (*outcome.broken, *_vague(outcome)),
        stopped_by=hand.stopped_by,
    )


@dataclass
class _Hand:
    """A policy in the midst of its rounds: what it knows, what its members have done, and the plan it follows."""

    table: _Table
    policy: Policy
    look: int
    known: Observed
    moves: tuple[Move, ...] = ()
    rounds: list[Round] = field(default_factory=list)
    plan: Plan | None = None
    stopped_by: StoppedBy | None = None

    def go_on(self, t: int) -> None:
        """Plan where it is time to, make this round's moves, and see what becomes of them."""
        started, world, calendar = time.monotonic(), self.table.world, self.table.calendar
        fresh, note = self._planned(t)
        acting = calendar.acting(t, t + 1)
        due = tuple(move for move in self.plan.moves if move.record in acting) if self.plan else ()
        self.moves = (*self.moves, *due)
        batch = calendar.rounds[t]
        self.known = after_round(world, world.apply(self.moves), self.known, batch)
        parameters = self.known.parameters
        self.rounds.append(
            Round(
                arrives=tuple(int(i) for i in batch),
                moves=due,
                parameters=parameters,
                margins=_margins(parameters, world.queries),
                guard_margins=_margins(parameters, world.guards),
                plan=fresh,
                note=note,
                seconds=time.monotonic() - started,
            )
        )

    def _planned(self, t: int) -> tuple[Plan | None, str]:
        """The plan made in this round, if it is time for one, and a note."""
        anew = t == 0 if self.policy is Policy.OPEN_LOOP else bool(self.table.calendar.acting(t, t + 1))
        if self.policy is Policy.NOBODY or not anew:
            return None, ""
        self.plan, stopped = None, self.table.stopped_by
        self.stopped_by = self.stopped_by or stopped
        if stopped:
            return None, f"nobody acts: {stopped.words}"
        last = min(self.table.calendar.T, t + self.look)
        result, aim = _best_plan(self.table, self.known, self.moves, t, last)
        self.plan = _as_plan(self.table.forecast, result, aim, self.moves, t, last)
        if result.status is Status.UNKNOWN:
            self.stopped_by = self.stopped_by or result.solution.stopped_by
        note = _note(self.plan, result)
        self.table.progress(f"{self.policy.value.replace('_', ' ')}, round {t + 1}: {_progress(self.plan)}")
        return self.plan, note


def _margins(parameters: Parameters, subjects: Sequence[Query]) -> tuple[float, ...]:
    return tuple(parameters.margin(subject) for subject in subjects)


# -- one plan ---


def _best_plan(table: _Table, known: Observed, moves: tuple[Move, ...], first: int, last: int) -> tuple[Result, Aim]:
    """The best plan for these rounds, by the goal or, where that is infeasible, by the next best thing."""
    rest = _rest(table, known, moves, first, last)
    clock = table.next_clock()
    (aim, attempt), *others = _attempts(rest)
    result = table.solve(attempt, clock.left())
    while result.status is Status.INFEASIBLE and others:
        (aim, attempt), *others = others
        result = table.solve(attempt, clock.left())
    return result, aim


def _rest(table: _Table, known: Observed, moves: tuple[Move, ...], first: int, last: int) -> RecourseProblem:
    """The forecast of these rounds alone."""
    forecast, calendar = table.forecast, table.calendar
    acting = calendar.acting(first, last)
    if (first, last) == (0, calendar.T) and len(acting) == len(forecast.collective.members):
        return forecast
    batches: Sequence[Indices] = calendar.rounds[first:last]
    rest = begun_from(forecast, known, batches, acting, forecast.apply(moves))
    return replace(rest, collective=replace(rest.collective, budget=_left(forecast.collective.budget, moves)))


def _left(budget: Budget, moves: Sequence[Move]) -> Budget:
    """What the moves made so far leave of the budgets."""
    total, members = budget.total, budget.members
    if total is not None:
        left, size = total - sum(move.cost for move in moves), max(1.0, total)
        total = left + LEFT_OVER * size if left > ROUNDING * size else 0.0
    if members is not None:
        members = max(0, members - len(moves))
    return replace(budget, total=total, members=members)


def _attempts(rest: RecourseProblem) -> list[tuple[Aim, RecourseProblem]]:
    """What to plan for, one after the other, as long as it is infeasible."""
    found = [(Aim.GOAL, rest)]
    if rest.goal in (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS):
        found.append((Aim.MARGIN, replace(rest, goal=GoalKind.MAX_MARGIN)))
    if rest.guards:
        found.append((Aim.GUARDS, replace(rest, goal=GoalKind.MAX_MARGIN, queries=rest.guards, guards=())))
    return found


def _as_plan(forecast: RecourseProblem, result: Result, aim: Aim, moves: Sequence[Move], first: int, last: int) -> Plan:
    spent = 0.0
    if aim is Aim.GOAL and not forecast.goal.maximises:
        spent = float(len(moves)) if forecast.goal is GoalKind.MIN_MEMBERS else sum(move.cost for move in moves)
    outcome = result.verification.evaluation
    return Plan(
        first=first,
        last=last,
        aim=aim,
        status=result.status,
        grade=result.grade,
        objective=None if result.objective is None else result.objective + spent,
        bound=None if result.bound is None else result.bound + spent,
        moves=outcome.moves if outcome else (),
        formulation=result.solution.method.formulation,
    )


def _note(plan: Plan, result: Result) -> str:
    if plan.status is Status.INFEASIBLE:
        return f"nobody acts: no plan is admissible ({plan.grade})"
    if plan.status is Status.UNKNOWN:
        stopped = result.solution.stopped_by
        why = "some margins are not known accurately enough" if stopped is StoppedBy.PROOF else stopped.words
        return f"nobody acts: no plan was found: {why}"
    return "" if plan.aim is Aim.GOAL else f"planned for {plan.aim.words}"


def _progress(plan: Plan) -> str:
    value = "no plan" if plan.objective is None else f"{plan.objective:.6g}"
    return f"{plan.status} {value} by {plan.formulation}"


# -- what became of it ---


def _checked_outcome(table: _Table, hand: _Hand) -> Evaluation:
    """All moves evaluated on the world at once, after they passed every rule; it must agree with the rounds."""
    world = table.world
    broken = move_violations(world, hand.moves)
    broken += budget_violations(world, hand.moves, world.tolerances.feasibility)
    if broken:
        raise VerificationError(f"the moves of all rounds together break a rule: {'; '.join(broken)}")
    outcome = evaluate(world, hand.moves)
    stated, seen = outcome.parameters.vector(), hand.known.parameters.vector()
    allowed = world.tolerances.feasibility * max(1.0, float(np.abs(stated).max())) + 2 * outcome.fit.error
    if float(np.abs(stated - seen).max()) > allowed:
        raise VerificationError("round by round the parameters become others than by all rounds at once")
    return outcome


def _vague(outcome: Evaluation) -> tuple[str, ...]:
    off = outcome.inaccuracy
    if off <= outcome.problem.tolerances.feasibility:
        return ()
    return (f"the margins are known to a relative {off:.3g} only, as a record may lie on a kink of the loss",)
