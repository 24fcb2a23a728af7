"""Nearest centroid under feature changes: the joint optimum in closed form.

Statement
---------
Member ``i`` of class ``c`` moves by ``delta_i`` in its set ``D_i``; the centroid ``mu_c`` (class weight ``S_c``)
shifts by ``h_c = sum_(i in c) s_i delta_i / S_c``, which ranges over ``H_c = sum_i (s_i / S_c) D_i``. With ``a_c =
x_q - mu_c`` the margin of a query that wants class ``t`` is ``min_(c != t) ||a_c - h_c||^2 - ||a_t - h_t||^2``.
Shifts of different classes are independent, so the optimum is

    min_(c != t) max_(h in H_c) ||a_c - h||^2  -  min_(h in H_t) ||a_t - h||^2,

every part being optimal at once. Members' sets are cut from one norm and one set of direction rules, so they are
multiples ``rho`` of one unit set, and so is their sum: ``H_c = rho_c B`` with ``rho_c = sum_i s_i radius_i / S_c``.
Let ``sigma`` be the features' scales, ``J`` the features that may move, and say that ``-e_j`` or ``e_j`` is *allowed*
if the direction rule permits it.

- ``linf``, with any bounds: ``H_c`` is a box, coordinate by coordinate. Away: the end farther from ``a_j``; towards:
  ``a_j`` clipped to the box.
- ``l1``: the hull of 0 and the allowed vertices ``+- rho sigma_j e_j``. Away: a convex function is largest at a vertex:
  ``||a||^2 + max(0, max_j (2 rho sigma_j |a_j| + rho^2 sigma_j^2))`` with the sign ``-a_j`` where it is allowed, else
  with ``-2 rho sigma_j |a_j|``. Towards: the projection of ``a``, with entries of forbidden sign set to 0, found from
  the condition ``sum_j max(0, |a_j| - nu / sigma_j) / sigma_j = rho`` by sorting its breakpoints.
- ``l2``, equal scales ``sigma`` over ``J``: a ball of radius ``r = rho sigma`` cut with the allowed orthant ``K``.
  Towards: the projection onto ``K``, shortened to length ``r``. Away: ``||a - t e||^2 = ||a||^2 - 2 t a'e + t^2`` is
  convex in ``t``, so ``t`` is 0 or ``r``; the best unit ``e`` in ``K`` is along the projection ``p`` of ``-a`` onto
  ``K`` (giving ``||a||^2 + 2 r ||p|| + r^2``), or, if ``p = 0``, the coordinate of least ``|a_j|``.

Back to members: each takes its share ``radius_i`` of the unit move (``linf``: of its own interval).

Hypotheses
----------
One query, goal ``max_margin``, no guards, no ``max_loss_increase``, no budget on members or in total. Members have
one feature action each and nothing else, with one norm within a class. Continuous features without step, no linear
constraints. For ``l1`` and ``l2`` no bound that a member's own set could reach; for ``l2`` equal scales over ``J``. A
budget for one member, less the charge for acting, counts where the cost is the action's own norm (it caps the radius)
or ``sql2`` with ``l2`` (its root does), or ``count`` (at least 1 or nobody acts). Update ``retrain``, or
``running_centroid`` as :mod:`oar_opt.running_mean` has it.

Exactness
---------
Exact, in floating point, whatever the number of classes, features and members.

Size
----
Time ``O(n d + d log d)``; no program is built.

Reference
---------
The learner and the question: E. Creager, R. Zemel, "Online Algorithmic Recourse by Collective Action", 2023.
Projection onto the l1 ball: J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, "Efficient Projections onto the
l1-Ball for Learning in High Dimensions", 2008. The derivation is given above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oar_opt.centroid_formulation import CentroidFormulation
from oar_opt.changes import ChangeSet, change_sets
from oar_opt.contracts import DirectProgram
from oar_opt.parameters import CentroidParameters
from oar_opt.problem import (
    Direction,
    FeatureType,
    Flags,
    GoalKind,
    Move,
    Norm,
    RecourseProblem,
    Vector,
)
from oar_opt.result import Claim, Request, StoppedBy
from oar_opt.rules import ROUNDING


class CentroidClosedForm(CentroidFormulation):
    """See the module's docstring."""

    name = "centroid_closed_form"
    rank = 10
    excludes = False

    def declines(self, problem: RecourseProblem) -> str | None:
        return _scope(problem) or _actions(problem) or _bounds(problem)

    def retraining_program(self, problem: RecourseProblem, request: Request) -> DirectProgram:
        return DirectProgram(lambda request: _solve(problem, request))


# -- where the closed form holds ---


def _scope(problem: RecourseProblem) -> str | None:
    if problem.goal is not GoalKind.MAX_MARGIN:
        return f"the goal is {problem.goal}, and the closed form is for max_margin"
    if len(problem.queries) > 1:
        return "several queries pull the centroids different ways"
    if problem.guards or problem.max_loss_increase is not None:
        return "guards and max_loss_increase couple the classes"
    budget = problem.collective.budget
    if budget.total is not None or budget.members is not None:
        return "a budget in total or on the number of members couples the members"
    if problem.constraints:
        return "linear constraints among features cut the members' sets differently"
    for feature in problem.features:
        if feature.is_fixed:
            continue
        if feature.type is not FeatureType.CONTINUOUS or feature.step is not None:
            return f"feature '{feature.name}' moves in steps, not continuously"
    return None


def _actions(problem: RecourseProblem) -> str | None:
    norms: dict[float, Norm] = {}
    for member in problem.collective.members:
        if len(problem.options(member)) > 1:
            return f"member {member.record} also has finite options (menu, labels or withholding)"
        if len(member.feature_actions) != 1:
            return f"member {member.record} has {len(member.feature_actions)} feature actions, not one"
        norm = member.feature_actions[0].norm
        y = float(problem.records.y[member.record])
        if norms.setdefault(y, norm) is not norm:
            return f"members of class '{problem.label_of(y)}' are limited in different norms"
        if any(len(change.balls) > 1 for change in change_sets(problem, member)):
            return f"the budget for one member is in '{problem.collective.cost}' and its radius in '{norm}'"
    return None


def _bounds(problem: RecourseProblem) -> str | None:
    movable = [feature for feature in problem.features if not feature.is_fixed]
    for member in problem.collective.members:
        norm = member.feature_actions[0].norm
        if norm is Norm.L2 and len({feature.scale for feature in movable}) > 1:
            return "features with different scales make the l2 set an ellipsoid"
        for change in change_sets(problem, member):
            reason = _cut(problem, change, norm)
            if reason:
                return f"member {member.record} {reason}"
    return None


def _cut(problem: RecourseProblem, change: ChangeSet, norm: Norm) -> str | None:
    """Why a set is no multiple of the unit set, or None."""
    if any(abs(group.total) > ROUNDING for group in change.groups):
        return "breaks the rule of a one-hot group as it stands"
    for j, feature in enumerate(problem.features):
        if change.lower[j] > 0 or change.upper[j] < 0:
            return f"starts outside the bounds of '{feature.name}'"
        reach = _radius(change) * feature.scale
        down = -reach if feature.direction in (Direction.ANY, Direction.DECREASE) else 0.0
        up = reach if feature.direction in (Direction.ANY, Direction.INCREASE) else 0.0
        if norm is not Norm.LINF and (change.lower[j] > down or change.upper[j] < up):
            return f"can reach a bound of '{feature.name}' within its {norm} radius"
    return None


def _radius(change: ChangeSet) -> float:
    (ball,) = change.balls
    return ball.radius


# -- the solution ---


@dataclass(frozen=True)
class Reach:
    """What one class's centroid can do: the unit set times ``rho``, or for ``linf`` the box ``[low, high]``.

    ``down`` and ``up`` tell, per feature, whether the direction rule allows to fall and to rise.
    """

    norm: Norm
    rho: float
    scales: Vector
    down: Flags
    up: Flags
    low: Vector
    high: Vector

    def away(self, a: Vector) -> Vector:
        """The shift ``h`` that makes ``||a - h||`` largest."""
        match self.norm:
            case Norm.LINF:
                return np.where(np.abs(a - self.low) >= np.abs(a - self.high), self.low, self.high)
            case Norm.L1:
                steps = self.rho * self.scales
                fall = np.where(self.down, 2 * steps * a + steps**2, 0.0)
                rise = np.where(self.up, -2 * steps * a + steps**2, 0.0)
                return self._vertex(fall, rise, steps)
            case Norm.L2:
                return self._away_in_ball(a)

    def towards(self, a: Vector) -> Vector:
        """The shift ``h`` that makes ``||a - h||`` smallest."""
        if self.norm is Norm.LINF:
            clipped: Vector = np.clip(a, self.low, self.high)
            return clipped
        wanted = self._allowed(a)
        if self.norm is Norm.L1:
            return _project_l1(wanted, self.scales, self.rho)
        length, r = float(np.linalg.norm(wanted)), self._ball_radius
        return wanted if length <= r else wanted * (r / length)

    @property
    def _ball_radius(self) -> float:
        movable = self.down | self.up
        return self.rho * float(self.scales[movable][0]) if movable.any() else 0.0

    def _allowed(self, direction: Vector) -> Vector:
        allowed: Vector = np.where(((direction < 0) & self.down) | ((direction > 0) & self.up), direction, 0.0)
        return allowed

    def _away_in_ball(self, a: Vector) -> Vector:
        p, r = self._allowed(-a), self._ball_radius
        length = float(np.linalg.norm(p))
        if length > 0:
            return p * (r / length)
        fall = np.where(self.down, 2 * r * a + r**2, 0.0)
        rise = np.where(self.up, -2 * r * a + r**2, 0.0)
        return self._vertex(fall, rise, np.full(len(a), r))

    def _vertex(self, fall: Vector, rise: Vector, steps: Vector) -> Vector:
        """The single-coordinate step with the largest gain; none where no gain is positive."""
        shift = np.zeros(len(steps))
        gains = np.maximum(fall, rise)
        j = int(np.argmax(gains))
        if gains[j] > 0:
            shift[j] = steps[j] if rise[j] >= fall[j] else -steps[j]
        return shift


def _project_l1(a: Vector, scales: Vector, rho: float) -> Vector:
    """The point of ``{h : sum |h_j| / scales_j <= rho}`` nearest to ``a``."""
    if rho <= 0:
        return np.zeros(len(a))
    size = np.abs(a)
    if float((size / scales).sum()) <= rho:
        return a
    # sum_j max(0, size_j - nu / scales_j) / scales_j = rho is decreasing in nu with breaks at size_j * scales_j
    order = np.argsort(-size * scales)
    head, weight = np.cumsum((size / scales)[order]), np.cumsum((1 / scales**2)[order])
    levels = (head - rho) / weight
    last = int(np.flatnonzero((size * scales)[order] > levels)[-1])
    projected: Vector = np.sign(a) * np.maximum(0.0, size - levels[last] / scales)
    return projected


def _reach(problem: RecourseProblem, changes: Sequence[ChangeSet], total_weight: float) -> Reach:
    down = np.array([f.direction in (Direction.ANY, Direction.DECREASE) for f in problem.features])
    up = np.array([f.direction in (Direction.ANY, Direction.INCREASE) for f in problem.features])
    shares = np.array([change.s for change in changes]) / total_weight
    rho = float(shares @ [_radius(change) for change in changes])
    low, high = (shares @ np.array([getattr(change, end) for change in changes]) for end in ("lower", "upper"))
    return Reach(changes[0].balls[0].norm, rho, problem.scales, down, up, low, high)


def _solve(problem: RecourseProblem, request: Request) -> Claim:
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    (query,) = problem.queries
    target = int(query.target)
    mu = np.array([np.average(X[y == c], axis=0, weights=s[y == c]) for c in range(len(problem.classes or ()))])
    changes = [change for member in problem.collective.members for change in change_sets(problem, member)]
    moves: list[Move] = []
    for c in range(len(mu)):
        team = [change for change in changes if change.y == c]
        if not team:
            continue
        reach = _reach(problem, team, float(s[y == c].sum()))
        a = np.array(query.x) - mu[c]
        shift = reach.towards(a) if c == target else reach.away(a)
        mu[c] += shift
        found = (change.move(_part(change, reach, shift)) for change in team)
        moves += [move for move in found if move is not None]
    parameters = CentroidParameters.of(mu)
    value = parameters.margin(query)
    return Claim(
        StoppedBy.PROOF,
        moves=tuple(sorted(moves, key=lambda move: move.record)),
        objective=value,
        bound=value,
        parameters=parameters,
        solver="closed form",
    )


def _part(change: ChangeSet, reach: Reach, shift: Vector) -> Vector:
    """A member's share of its class's shift: of the unit move, or (linf) of its own interval."""
    if reach.norm is not Norm.LINF:
        share: Vector = shift * (_radius(change) / reach.rho)
        return share
    span = reach.high - reach.low
    position = np.divide(shift - reach.low, span, out=np.zeros(len(shift)), where=span > 0)
    part: Vector = change.lower + position * (change.upper - change.lower)
    return part
