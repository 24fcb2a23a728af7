"""Nearest centroid under feature changes, where that is a convex program: largest margin and least cost.

Statement
---------
Members ``i`` of class ``c`` with the share ``w_i = s_i / S_c`` of its weight change their features by ``delta_i`` in a
convex set ``D_i`` that holds 0. The centroid shifts by ``h_c = sum_i w_i delta_i``, and with ``a_qc = x_q - mu_c`` the
margin of a subject that wants ``t`` is

    m_q = min_(c != t) ||a_qc - h_c||^2 - ||a_qt - h_t||^2:

concave in ``h_t``, convex in ``h_c``. So the instance is a convex program as it stands if every class that members can
move is the wanted one of all queries and guards:

    maximise gamma, or minimise the total cost, subject to
    delta_i in D_i,    ||h_t||^2 <= s_t,    (total cost) <= budget,    S_t s_t <= max_loss_increase,
    ||a_qc||^2 - ||a_qt||^2 + 2 a_qt'h_t - s_t >= gamma for a query, >= required for a guard or, at least cost, a query.

``s_t`` is a single rotated cone whatever the number of subjects. Costs and radii in l1, l2, linf and squared l2 are
cones and linear rows.

With one query and no guards another class ``c`` may move as well, where only the distance matters, not its direction.

- *Largest margin, no total budget.* The classes do not meet in any row, so the largest ``||a_c - h_c||`` is
  found by itself and is a constant of the program. If every ``D_i`` of the class is a *ball* of radius ``r_i`` in the
  same movable features ``J``, all of one scale ``sigma``: with ``a_J``, ``a_F`` the entries of ``a_c`` in and outside
  ``J`` it is ``||a_F||^2 + (||a_J|| + sum_i w_i sigma r_i)^2``, by everybody's move along ``-a_J``. If every ``D_i`` is
  a *box*: the end farther from ``a_cj`` in every coordinate.
- *Least cost in l2 or squared l2, balls.* If members of ``c`` move by lengths ``r_i``, then ``||a_c - h_c||^2`` is at
  most ``||a_F||^2 + (d_c + rho_c)^2`` with ``d_c = ||a_J||``, ``rho_c = sum_i w_i sigma r_i``, and all moving along
  ``-a_J`` reach it at the same cost. The required margin becomes, with ``kappa = required - ||a_F||^2 + (what
  of ||a_t||^2 no member can change)`` and ``J'`` the features in which ``h_t`` can move,

      sqrt(kappa + ||(a_t - h_t)_J'||^2) <= d_c + rho_c,

  a second-order cone if ``kappa >= 0``; it is no convex set otherwise. All features movable: ``kappa = required > 0``.

Hypotheses
----------
Goal ``max_margin`` or ``min_cost``. No member has finite options, more than one set of changes, a movable feature that
moves in steps, or a set without 0 (a record that breaks a rule). No budget on the number of members; where
costs matter, none of ``count`` and no charge for acting. Which classes may move is said above; ``max_loss_increase``
only where the wanted class alone moves. Feature rules and linear constraints are free for the wanted class. Update
``retrain``, or ``running_centroid`` as :mod:`oar_opt.running_mean` has it.

Exactness
---------
Exact. Objective and bound are two numbers: the moves are those of a program that asks for a little more (see
:data:`INSIDE`), so that re-training finds no row broken by rounding; the bound is computed anew by weak duality
(:mod:`oar_opt.cone_bound`) and holds whatever the solver did.

Size
----
With ``k`` members that can move and ``d`` features: ``k d`` variables (twice as many in l1), ``k`` more for costs;
``k`` cones of size ``d + 1`` for each l2 ball and cost, one of size ``d + 2``, one linear row per subject and class.

Reference
---------
The learner and the question: E. Creager, R. Zemel, "Online Algorithmic Recourse by Collective Action", 2023. The
solver: P. Goulart, Y. Chen, "Clarabel: An interior-point solver for conic programs with quadratic objectives", 2024.
The statement is derived here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from oar_opt.centroid_cone import Aim, CentroidCone, Given, Mover, Solved, keeps_loss, margins_of
from oar_opt.centroid_formulation import CentroidFormulation
from oar_opt.centroid_program import Changes, present_centroids
from oar_opt.changes import SHRUNK, ChangeSet, change_sets
from oar_opt.cone_form import ConvexProgram
from oar_opt.contracts import DirectProgram, WorkedExample
from oar_opt.errors import SolverError
from oar_opt.limits import Clock
from oar_opt.parameters import CentroidParameters
from oar_opt.problem import (
    Collective,
    CostKind,
    FeatureAction,
    Flags,
    GoalKind,
    LearnerSpec,
    Matrix,
    Member,
    Move,
    Norm,
    Query,
    Records,
    RecourseProblem,
    Vector,
)
from oar_opt.result import Claim, Request, StoppedBy
from oar_opt.rules import ROUNDING, budget_violations

INSIDE = (1e-9, 1e-8, 1e-7, 0.0)
"""Shares by which required margins (in their unit) are raised and budgets lowered to find moves, tried in turn."""
ROOM = 0.5
"""Of the feasibility tolerance, which every required margin is less by."""
SLIGHT = 1e-6
"""Changes below that, relative to the longest possible one, are left out where that loses nothing."""
SAME = 1e-12


class CentroidConvex(CentroidFormulation):
    """See the module's docstring."""

    name = "centroid_convex"
    rank = 12
    excludes = False
    conic = True

    def declines(self, problem: RecourseProblem) -> str | None:
        return _combinatorial(problem) or _members(problem) or _classes(problem)

    def retraining_program(self, problem: RecourseProblem, request: Request) -> DirectProgram:
        return DirectProgram(lambda request: _Statement(problem).solve(request), lambda: _Statement(problem).convex())

    def examples(self) -> Sequence[WorkedExample]:
        """Two classes on a line; the query at 1.5 wants the far one."""
        return _examples()


# -- where it is convex ---


def _counts_cost(problem: RecourseProblem) -> bool:
    return problem.goal is GoalKind.MIN_COST or problem.collective.budget.total is not None


def _combinatorial(problem: RecourseProblem) -> str | None:
    collective = problem.collective
    if problem.goal not in (GoalKind.MAX_MARGIN, GoalKind.MIN_COST):
        return f"the goal {problem.goal} counts members or queries, which is not convex"
    if collective.budget.members is not None:
        return "a budget on the number of members is not convex"
    if not _counts_cost(problem):
        return None
    if collective.cost is CostKind.COUNT:
        return "a cost of 1 for whoever acts is not convex"
    if any(action.charge > 0 for member in collective.members for action in member.feature_actions):
        return "a charge for acting is not convex"
    return None


def _members(problem: RecourseProblem) -> str | None:
    moving = 0
    for member in problem.collective.members:
        if len(problem.admissible_options(member)) > 1:
            return f"member {member.record} also has finite options, which are not convex"
        sets = change_sets(problem, member)
        moving += len(sets)
        if len(sets) > 1:
            return f"member {member.record} chooses among {len(sets)} ways to change its features"
        for change in sets:
            if change.is_discrete:
                return f"member {member.record} has features that move in steps"
            if change.violation(np.zeros(problem.d)) > ROUNDING:
                return f"member {member.record} breaks a rule as it stands: to stay is no change within its rules"
    return None if moving else "no member can move a feature"


def _changes(problem: RecourseProblem) -> Changes:
    return {member.record: change_sets(problem, member) for member in problem.collective.members}


def _classes(problem: RecourseProblem) -> str | None:
    by_class = _by_class(problem)
    subjects = (*problem.queries, *problem.guards)
    if all(set(by_class) <= {int(subject.target)} for subject in subjects):
        return None
    if len(subjects) > 1:
        return "members move a class that one of several queries and guards wants to be far"
    if problem.max_loss_increase is not None:
        return "max_loss_increase couples a class that moves away with the others"
    (query,) = subjects
    for c, sets in by_class.items():
        if c != int(query.target):
            reason = _away(problem, query, c, sets)
            if reason:
                return f"class '{problem.label_of(c)}' is to move away, and {reason}"
    return None


def _away(problem: RecourseProblem, query: Query, c: int, sets: Sequence[ChangeSet]) -> str | None:
    ball = Ball.of(sets)
    if problem.goal is GoalKind.MAX_MARGIN:
        if problem.collective.budget.total is not None:
            return "the total budget couples it with others"
        return None if ball or all(map(_is_box, sets)) else "its members' changes are neither balls nor boxes"
    if ball is None:
        return "its members' changes are not balls in l2"
    if problem.collective.cost not in (CostKind.L2, CostKind.SQL2) and ball.movable.sum() > 1:
        return f"the cost is in '{problem.collective.cost}', not in l2"
    kappa = _Statement(problem).kappa(query, c, ball)
    return None if kappa >= 0 else "what no member can change already makes it the farther one: no cone"


def _by_class(problem: RecourseProblem) -> dict[int, list[ChangeSet]]:
    found: dict[int, list[ChangeSet]] = {}
    for sets in _changes(problem).values():
        for change in sets:
            found.setdefault(int(change.y), []).append(change)
    return found


def _is_box(change: ChangeSet) -> bool:
    """Whether nothing but the box limits a change."""
    farthest = np.maximum(np.abs(change.lower), np.abs(change.upper)) / change.scales
    free = all(ball.norm.of(farthest) <= ball.radius * (1 + SAME) for ball in change.balls)
    # The entries of a one-hot group do not move here, so that its sum is what it was.
    held = all(not change.movable[group.columns].any() for group in change.groups)
    return free and held and not len(change.b)


@dataclass(frozen=True, eq=False)
class Ball:
    """A class whose members all move within balls of the same movable features and scale; ``radii`` as lengths."""

    sets: tuple[ChangeSet, ...]
    movable: Flags
    scale: float
    radii: Vector

    @classmethod
    def of(cls, sets: Sequence[ChangeSet]) -> Ball | None:
        """None where the sets are no such balls."""
        movable = sets[0].movable
        scales = sets[0].scales[movable]
        if np.ptp(scales) > 0 or any((change.movable != movable).any() for change in sets):
            return None
        radii = [_radius(change, float(scales[0])) for change in sets]
        if any(radius is None for radius in radii):
            return None
        return cls(tuple(sets), movable, float(scales[0]), np.array(radii, dtype=np.float64))


def _radius(change: ChangeSet, scale: float) -> float | None:
    """The radius of a set that is a ball around 0, in the features' own units; None where it is none."""
    held = all(not change.movable[group.columns].any() for group in change.groups)
    if len(change.b) or not held or (change.lower[~change.movable] != 0).any():
        return None
    ends = np.concatenate([-change.lower[change.movable], change.upper[change.movable]])
    radius = min(ball.radius for ball in change.balls) * scale
    if np.abs(ends - radius).max() > SAME * radius:
        return None
    single = change.movable.sum() == 1
    return radius if single or all(ball.norm is Norm.L2 for ball in change.balls) else None


# -- the statement ---


@dataclass(frozen=True, eq=False)
class Away:
    """A class that moves away from the query along ``direction (d,)`` of length 1, from the distance ``d_c`` in the
    features that move and with the square ``kappa`` of what must be reached beside that of the wanted class."""

    ball: Ball
    shares: Vector
    direction: Vector
    distance: float
    kappa: float


@dataclass(eq=False)
class ConvexCone(CentroidCone):
    """A program with classes that move away by lengths, :attr:`away` by class: see the page, least cost."""

    away: dict[int, Away] = field(default_factory=dict)
    radii: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for c, away in self.away.items():
            # In units of the ball's scale, like all costs.
            self.radii[c] = self.variable(len(away.shares), 0.0, away.ball.radii / away.ball.scale / self.e_unit)

    def _length(self) -> float:
        farther = [one.distance + float(one.shares @ one.ball.radii) for one in self.away.values()]
        return max(super()._length(), *farther) if farther else super()._length()

    def cost(self) -> Any:
        import cvxpy as cp

        squared = self.given.problem.collective.cost is CostKind.SQL2
        spent = [super().cost()]
        for radii in self.radii.values():
            lengths = self._squared(radii) if squared else radii
            spent.append(cp.sum(lengths))
        return sum(spent)

    def _squared(self, radii: Any) -> Any:
        """``r^2`` or more, entry by entry; the same variable every time."""
        import cvxpy as cp

        if not hasattr(self, "_squares_of"):
            self._squares_of: dict[int, Any] = {}
        if radii.id not in self._squares_of:
            (most,) = (one.high for one in self.ranges if one.variable is radii)
            above = self.variable(radii.shape, 0.0, most**2 * (1 + 1e-9))
            self.rows.append(cp.SOC(above + 1, cp.vstack([2 * radii, above - 1]), axis=0))
            self._squares_of[radii.id] = above
        return self._squares_of[radii.id]

    def _demand(self, subject: Query, slack: Any = 0.0) -> None:
        super()._demand(subject, slack)
        for c, away in self.away.items():
            self._demand_away(subject, c, away)

    def parts(self, subject: Query) -> list[Any]:
        others = [c for c in range(len(self.given.present)) if c != int(subject.target) and c not in self.away]
        near = self._near(subject)
        return [self._far(subject, c) - near for c in others]

    def _demand_away(self, subject: Query, c: int, away: Away) -> None:
        import cvxpy as cp

        t = int(subject.target)
        kappa = away.kappa + self.given.pad
        reached = away.distance + (away.shares @ self.radii[c]) * (self.e_unit * away.ball.scale)
        a, free = self.given.offset(subject, t), _free(self.movers, self.given.problem.d)
        inner = [math.sqrt(max(0.0, kappa)) / self.unit]
        if free.any():
            inner.append((a[free] / self.unit) - self.shift(t)[free])
        self.rows.append(cp.SOC(reached / self.unit, cp.hstack(inner)))


def _free(movers: Sequence[Mover], d: int) -> Flags:
    """The features in which a mover can move."""
    free = np.zeros(d, dtype=bool)
    for mover in movers:
        free |= mover.change.movable
    return free


class _Statement:
    """The program of one instance."""

    def __init__(self, problem: RecourseProblem) -> None:
        self.problem = problem
        y, s = problem.records.y, problem.records.s
        self.present = present_centroids(problem)
        self.weights = np.array([float(s[y == c].sum()) for c in range(len(self.present))])
        self.sets = _by_class(problem)
        targets = {int(subject.target) for subject in (*problem.queries, *problem.guards)}
        self.targets = targets
        wanted = [change for c in targets for change in self.sets.get(c, ())]
        self.movers = [Mover.of(change, float(self.weights[int(change.y)])) for change in wanted]
        self.far = {c: sets for c, sets in self.sets.items() if c not in targets}
        self.aim = Aim.COST if problem.goal is GoalKind.MIN_COST else Aim.MARGIN

    def kappa(self, query: Query, c: int, ball: Ball) -> float:
        """The constant under the root; see the page."""
        a_c, a_t = (np.array(query.x) - self.present[k] for k in (c, int(query.target)))
        still = ~_free(self.movers, self.problem.d)
        needed = self.problem.needed_margin(query)
        return needed - float(np.sum(a_c[~ball.movable] ** 2)) + float(np.sum(a_t[still] ** 2))

    def solve(self, request: Request) -> Claim:
        clock = Clock(request.time_limit)
        base, moves = self._moved_away()
        solved = self._cone(base, 0.0).solve(clock.left())
        if solved.infeasible:
            return Claim(StoppedBy.PROOF, infeasible=True, solver=_solver())
        for inside in INSIDE:
            cone = self._cone(base, inside)
            claim = self._claim(cone, cone.solve(clock.left()), solved.bound, moves)
            if claim is not None:
                return replace(claim, stopped_by=StoppedBy.TIME_LIMIT) if clock.is_over else claim
            if clock.is_over:
                return Claim(StoppedBy.TIME_LIMIT, bound=self._in_goal(solved.bound), solver=_solver())
        raise SolverError(
            "Clarabel finds no moves that keep all rows and no proof that there are none: "
            "the instance is within rounding of infeasible, try --formulation centroid_bilinear"
        )

    def convex(self) -> ConvexProgram:
        """The program for cvxpy; classes that move away by themselves have moved.

        It asks for :data:`ROOM` more margin than an answer needs, since other solvers are less accurate.
        """
        import cvxpy as cp

        base, far = self._moved_away()
        given = replace(self._cone(base, 0.0).given, pad=ROOM * self.problem.tolerances.feasibility)
        cone = ConvexCone(given, self.movers, self.aim, away=self._away())
        changes = cone.changes()
        for c, deltas in far.items():
            changes |= {change.record: cp.Constant(delta) for change, delta in zip(self.far[c], deltas, strict=True)}
        for c, away in cone.away.items():
            steps = cone.radii[c] * (cone.e_unit * away.ball.scale)
            changes |= {change.record: steps[i] * away.direction for i, change in enumerate(self.far[c])}
        return ConvexProgram(cone.stated(), changes, cone.words(), lambda: self._read(changes))

    def _read(self, changes: Mapping[int, Any]) -> tuple[Move, ...]:
        """The moves of the expressions' values, a little shorter where a budget or a radius needs it."""
        sets = [change for sets in self.sets.values() for change in sets]
        found: tuple[Move, ...] = ()
        for share in SHRUNK:
            deltas = [(1 - share) * _within(change, changes[change.record].value) for change in sets]
            moves = [change.move(delta) for change, delta in zip(sets, deltas, strict=True)]
            found = tuple(sorted((move for move in moves if move), key=lambda move: move.record))
            far = max(change.violation(delta) for change, delta in zip(sets, deltas, strict=True))
            if far <= ROUNDING and not budget_violations(self.problem, found):
                break
        return found

    def _in_goal(self, bound: float) -> float:
        """The program's bound as one on the goal; no cost is below 0."""
        return max(0.0, bound) if self.problem.goal is GoalKind.MIN_COST else -bound

    # -- classes that move away ---

    def _moved_away(self) -> tuple[Matrix, dict[int, Matrix]]:
        """For the largest margin: the shifts of classes that move away, and their members' changes."""
        base, found = np.zeros_like(self.present), {}
        if self.problem.goal is GoalKind.MAX_MARGIN:
            for c, sets in self.far.items():
                (query,) = self.problem.queries
                deltas = _farthest(np.array(query.x) - self.present[c], sets, float(self.weights[c]))
                base[c] = np.array([change.s for change in sets]) @ deltas / self.weights[c]
                found[c] = deltas
        return base, found

    def _away(self) -> dict[int, Away]:
        if self.problem.goal is GoalKind.MAX_MARGIN:
            return {}
        found = {}
        for c, sets in self.far.items():
            (query,) = self.problem.queries
            ball = Ball.of(sets)
            assert ball is not None
            a = np.where(ball.movable, np.array(query.x) - self.present[c], 0.0)
            shares = np.array([change.s for change in sets]) / self.weights[c]
            direction, distance = _away_from(a, ball.movable), float(np.linalg.norm(a))
            found[c] = Away(ball, shares, direction, distance, self.kappa(query, c, ball))
        return found

    # -- programs and what they give ---

    def _cone(self, base: Matrix, inside: float) -> ConvexCone:
        problem = self.problem
        is_cost = self.aim is Aim.COST
        asked = (*problem.queries, *problem.guards) if is_cost else problem.guards
        required = {subject.name: problem.needed_margin(subject) for subject in asked}
        given = Given(problem, self.present, self.weights, base, required)
        cone = ConvexCone(given, self.movers, self.aim, away=self._away())
        if not inside:
            return cone
        given = replace(given, pad=inside * cone.unit**2, inside=inside)
        return ConvexCone(given, self.movers, self.aim, away=self._away())

    def _claim(self, cone: ConvexCone, solved: Solved, bound: float, far: dict[int, Matrix]) -> Claim | None:
        """The claim of a program's changes, without those that are next to nothing; None where they miss something."""
        team = [mover.change for mover in self.movers]
        deltas = [solved.deltas]
        for c, away in {**far, **self._radial(cone, solved)}.items():
            team += self.far[c]
            deltas.append(away)
        every = np.vstack(deltas)
        claim = self._of(cone.given, team, every, bound)
        slight = np.abs(every / self.problem.scales).max(axis=1, initial=0.0) <= SLIGHT * cone.e_unit
        tidy = self._of(cone.given, team, np.where(slight[:, None], 0.0, every), bound)
        worse = SLIGHT**2 * cone.unit**2
        if tidy is None or (claim is not None and not self._is_as_good(tidy, claim, worse)):
            return claim
        return tidy

    def _is_as_good(self, one: Claim, other: Claim, tolerance: float) -> bool:
        assert one.objective is not None and other.objective is not None
        sign = 1 if self.problem.goal.maximises else -1
        return sign * (one.objective - other.objective) >= -tolerance

    def _of(self, given: Given, team: Sequence[ChangeSet], deltas: Matrix, bound: float) -> Claim | None:
        problem, shifts = self.problem, np.zeros_like(self.present)
        for change, delta in zip(team, deltas, strict=True):
            shifts[int(change.y)] += change.s / self.weights[int(change.y)] * delta
        found = [change.move(delta) for change, delta in zip(team, deltas, strict=True)]
        moves = tuple(sorted((move for move in found if move), key=lambda move: move.record))
        margins = margins_of(given, shifts)
        short = any(margins[name] < needed for name, needed in given.required.items())
        if short or budget_violations(problem, moves) or not keeps_loss(given, shifts):
            return None
        if problem.goal is GoalKind.MIN_COST:
            value = float(sum(move.cost for move in moves))
        else:
            value = min(margins[query.name] for query in problem.queries)
        parameters = CentroidParameters.of(self.present + shifts)
        return Claim(StoppedBy.GAP, moves, value, self._in_goal(bound), parameters=parameters, solver=_solver())

    def _radial(self, cone: ConvexCone, solved: Solved) -> dict[int, Matrix]:
        """Changes of members that move away by lengths."""
        found = {}
        for c, away in cone.away.items():
            lengths = np.clip(solved.point.of(cone.radii[c]) * (cone.e_unit * away.ball.scale), 0.0, away.ball.radii)
            found[c] = np.outer(lengths, away.direction)
        return found


def _within(change: ChangeSet, delta: Vector) -> Vector:
    return np.clip(delta, change.lower, change.upper)


def _away_from(a: Vector, movable: Flags) -> Vector:
    """The direction in which ``||a - t e||`` grows fastest."""
    length = float(np.linalg.norm(a))
    if length > 0:
        return -a / length
    e = np.zeros(len(a))
    e[int(np.flatnonzero(movable)[0])] = 1.0
    return e


def _farthest(a: Vector, sets: Sequence[ChangeSet], weight: float) -> Matrix:
    """The changes of a class's members, balls or boxes, that take its centroid farthest from the query."""
    ball = Ball.of(sets)
    if ball is not None:
        return np.outer(ball.radii, _away_from(np.where(ball.movable, a, 0.0), ball.movable))
    low, high = np.array([change.lower for change in sets]), np.array([change.upper for change in sets])
    shares = np.array([change.s for change in sets]) / weight
    # |a_j - h_j| is convex in h_j, so it is largest at an end, which takes everybody's own end.
    ends: Matrix = np.where(np.abs(a - shares @ low) >= np.abs(a - shares @ high), low, high)
    return ends


def _solver() -> str:
    from importlib.metadata import version

    return f"clarabel {version('clarabel')}"


# -- worked examples ---


def _examples() -> tuple[WorkedExample, ...]:
    X, y = np.array([[0.0], [0.0], [4.0], [4.0]]), np.array([0.0, 0.0, 1.0, 1.0])

    def problem(goal: GoalKind, required: float) -> RecourseProblem:
        action = (FeatureAction(Norm.L2, 2.0),)
        return RecourseProblem(
            name="two-centroids-on-a-line",
            records=Records(X, y, np.ones(4)),
            learner=LearnerSpec("nearest_centroid"),
            classes=("near", "far"),
            collective=Collective((Member(0, action), Member(2, action)), CostKind.L2),
            queries=(Query("q", (1.5,), 1.0, required=required),),
            goal=goal,
        )

    return (
        WorkedExample(
            problem(GoalKind.MIN_COST, 1.0),
            2 + 2 * (2.5 - math.sqrt(5.25)),
            "the farther centroid is moved first, by all of 1, to the distance 2.5; then 2.5^2 - v^2 = 1",
        ),
        WorkedExample(
            problem(GoalKind.MIN_COST, 5.0), None, "the distances 2.5 and 1.5 are the best, and give the margin 4"
        ),
    )
