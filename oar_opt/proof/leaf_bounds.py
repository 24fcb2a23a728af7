"""Which bounds a leaf of a certificate's tree may state for a learner, and whether one refutes a part.

| leaf | learner and update | page |
|---|---|---|
| ``duality`` | linear learners that are re-trained | :mod:`oar_opt.proof.lagrangian` |
| ``centroid`` | nearest centroid that is re-trained | :mod:`oar_opt.proof.centroid_bound` |
| ``step`` | one gradient step | :mod:`oar_opt.proof.step_bound` |

All of them bound sets of feature changes, ``duality`` those of learners whose loss is a polyline and whose penalty is
l2. Running centroids and several gradient steps have no such leaf: their trees split down to single choices, so their
certificates are enumerations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from oar_opt.problem import RecourseProblem, UpdateKind
from oar_opt.proof import centroid_bound, lagrangian, step_bound
from oar_opt.proof.centroid_bound import CentroidMultipliers
from oar_opt.proof.changed_record import CaseMultipliers
from oar_opt.proof.class_rows import ClassRows
from oar_opt.proof.exact_choices import changes_features
from oar_opt.proof.exact_records import prior_point
from oar_opt.proof.feature_reach import not_reachable
from oar_opt.proof.lagrangian import Multipliers
from oar_opt.proof.learner_rows import LINEAR, LearnerRows
from oar_opt.proof.nodes import CentroidLeaf, ChangeCase, DualityLeaf, StepLeaf
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import Number, exact, exact_row
from oar_opt.proof.step_bound import StepMultipliers, StepRows
from oar_opt.update_settings import GradientSettings

BoundLeaf = DualityLeaf | CentroidLeaf | StepLeaf
Stated = Multipliers | CentroidMultipliers | StepMultipliers
ROOM = "its multipliers leave room for a better answer"


class LeafBounds:
    """The bounds of one problem's leaves; what they need of it is made once."""

    def __init__(self, problem: RecourseProblem) -> None:
        self.problem = problem

    @cached_property
    def learner(self) -> LearnerRows:
        return LearnerRows(self.problem)

    @cached_property
    def classes(self) -> ClassRows:
        return ClassRows(self.problem)

    @cached_property
    def step(self) -> StepRows:
        return StepRows(self.problem)

    def doubt(self, part: Part, leaf: BoundLeaf) -> str | None:
        """Why a leaf does not refute a part, or None where it does."""
        given = self._stated(leaf)
        if isinstance(given, str):
            return given
        return None if self.refutes(part, given, self.slack(part, given)) else ROOM

    def slack(self, part: Part, given: Stated) -> Number | None:
        """The bound that multipliers which fit the learner give; None where they give none."""
        match given:
            case Multipliers():
                return lagrangian.slack_above(self.learner, part, given)
            case CentroidMultipliers():
                return centroid_bound.slack_above(self.classes, part, given)
            case StepMultipliers():
                return step_bound.slack_above(self.step, part, given)

    def refutes(self, part: Part, given: Stated, slack: Number | None) -> bool:
        """Whether the bound of multipliers refutes a part."""
        weights = given.weights(len(part.needs)) if isinstance(given, CentroidMultipliers) else given.queries
        return is_refuted(part, slack, weights)

    def _stated(self, leaf: BoundLeaf) -> Stated | str:
        match leaf:
            case DualityLeaf():
                return not_dual(self.problem) or multipliers(self.problem, leaf)
            case CentroidLeaf():
                return not_means(self.problem) or centroid_multipliers(self.problem, leaf)
            case StepLeaf():
                return not_one_step(self.problem) or step_multipliers(self.problem, leaf)


def is_refuted(part: Part, slack: Number | None, weights: Sequence[Number]) -> bool:
    """Whether a bound on the weighted slacks rules all better answers out: their slacks are at least 0, and above 0
    where a margin that has to be exceeded has a weight."""
    if slack is None:
        return False
    return bool(slack < 0 or (slack == 0 and part.strict and any(weight > 0 for weight in weights)))


# -- which learners ---


def not_bounded(problem: RecourseProblem) -> str | None:
    """Why no kind of leaf bounds many choices of a problem at once, or None."""
    if problem.update.kind is UpdateKind.GRADIENT:
        return not_one_step(problem)
    return not_means(problem) if problem.learner.is_centroid else not_dual(problem)


def not_dual(problem: RecourseProblem) -> str | None:
    """Why the Lagrangian of the learner's optimality conditions does not hold, or None."""
    if not problem.update.retrains or problem.learner.is_centroid:
        return "the learner has no Lagrangian here"
    if problem.learner.kind in LINEAR and any(prior_point(problem)):
        return "a linear program with a prior has no Lagrangian here"
    if changes_features(problem) and problem.learner.kind in (*LINEAR, "logistic"):
        return f"changes of features have no Lagrangian for '{problem.learner.kind}' here"
    return not_reachable(problem) if changes_features(problem) else None


def not_means(problem: RecourseProblem) -> str | None:
    """Why the learner's centroids are no weighted means of the records, or None."""
    if not (problem.learner.is_centroid and problem.update.retrains):
        return "the learner has no weighted means here"
    return not_reachable(problem) if changes_features(problem) else None


def not_one_step(problem: RecourseProblem) -> str | None:
    """Why one gradient step's bound does not hold, or None."""
    if problem.update.kind is not UpdateKind.GRADIENT or GradientSettings.of(problem).T != 1:
        return "the update is not one gradient step"
    return not_reachable(problem) if changes_features(problem) else None


# -- what leaves state ---


def multipliers(problem: RecourseProblem, node: DualityLeaf) -> Multipliers | str:
    """The multipliers that a leaf states, or what is wrong with them."""
    p = len(prior_point(problem))
    lengths = {"beta": (node.beta, p, "parameter"), "theta": (node.theta, p, "parameter")}
    lengths["queries"] = (node.queries, len(problem.queries), "query")
    lengths["guards"] = (node.guards, len(problem.guards), "guard")
    lengths |= {f"omega of member {one.record}": (one.omega, p, "parameter") for one in node.members}
    for name, (numbers, length, whose) in lengths.items():
        if len(numbers) != length:
            return f"{name} has {len(numbers)} numbers instead of {length}, one for each {whose}"
    if len({one.record for one in node.members}) < len(node.members):
        return "a member has multipliers twice"
    if len({one.row for one in node.changes}) < len(node.changes):
        return "a set of changes has multipliers twice"
    return Multipliers(
        mu=exact(node.mu),
        beta=exact_row(node.beta),
        theta=exact_row(node.theta),
        pulls={row: exact(pull) for row, pull in node.pulls},
        balance=node.balance,
        omegas={one.record: (exact(one.mu), exact_row(one.omega)) for one in node.members},
        queries=exact_row(node.queries),
        guards=exact_row(node.guards),
        cost=exact(node.cost),
        acting=exact(node.acting),
        changes={one.row: [_case(case) for case in one.cases] for one in node.changes},
    )


def _case(node: ChangeCase) -> CaseMultipliers:
    return CaseMultipliers(
        kappa=exact(node.kappa),
        tau=exact(node.tau),
        sides=exact_row(node.sides),
        ball=exact(node.ball),
        direction=exact_row(node.direction),
        cuts=exact_row(node.cuts),
        facet=exact_row(node.facet),
        rows=exact_row(node.rows),
    )


def centroid_multipliers(problem: RecourseProblem, node: CentroidLeaf) -> CentroidMultipliers | str:
    """The multipliers that a leaf states, or what is wrong with them."""
    if [len(point) for point in node.points] != [problem.d] * len(problem.classes or ()):
        return "it has not one point for every class"
    pairs = [(q, c, exact(pi)) for q, c, pi in node.pairs]
    if any(q < 0 or c < 0 for q, c, _ in pairs):
        return "a pair has no subject or no class"
    points = [exact_row(x) for x in node.points]
    return CentroidMultipliers(pairs, points, exact(node.cost), exact(node.acting), node.balls)


def step_multipliers(problem: RecourseProblem, node: StepLeaf) -> StepMultipliers | str:
    """The multipliers that a leaf states, or what is wrong with them."""
    if len(node.queries) != len(problem.queries) or len(node.guards) != len(problem.guards):
        return "it has not one weight for every query and guard"
    lines = {(one.record, one.option): [(exact(u), exact(nu)) for u, nu in one.lines] for one in node.sets}
    if len(lines) < len(node.sets):
        return "a set of feature changes has lines twice"
    return StepMultipliers(exact_row(node.queries), exact_row(node.guards), exact(node.cost), exact(node.acting), lines)
