"""Makes leaves that refute a part: proposes multipliers for the learner's bound, and keeps what the checker accepts."""

from __future__ import annotations

from typing import Protocol

from oar_opt.problem import RecourseProblem, UpdateKind
from oar_opt.proof.leaf_bounds import LeafBounds
from oar_opt.proof.parts import Part
from oar_opt.proof_search.assessed import Assessed
from oar_opt.proof_search.centroid_leaves import CentroidLeaves
from oar_opt.proof_search.leaf_multipliers import Relaxation, leaf_of
from oar_opt.proof_search.step_leaves import StepLeaves


class LeafMaker(Protocol):
    """Makes the leaves of one problem."""

    def assess(self, part: Part, most: float) -> Assessed:
        """A part's relaxation; its shares are those of members that it is worthwhile to split upon. ``most`` limits
        the learner's duality, where there is one."""


def leaf_maker(problem: RecourseProblem) -> LeafMaker:
    """The leaves that suit a problem's learner and update."""
    if problem.update.kind is UpdateKind.GRADIENT:
        return StepLeaves(problem)
    return CentroidLeaves(problem) if problem.learner.is_centroid else DualityLeaves(problem)


class DualityLeaves:
    """Of the Lagrangian of the learner's optimality conditions."""

    def __init__(self, problem: RecourseProblem) -> None:
        self.bounds = LeafBounds(problem)
        self.relaxation = Relaxation(self.bounds.learner)

    def assess(self, part: Part, most: float) -> Assessed:
        """See :class:`LeafMaker`."""
        proposal = self.relaxation.propose(part, most)
        given = proposal.multipliers
        return Assessed.of(self.bounds, part, given, leaf_of(given), proposal.shares, proposal.spreads)
