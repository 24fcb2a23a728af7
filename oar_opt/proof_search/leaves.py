"""Makes leaves that refute a part: proposes multipliers for the learner's bound, and keeps what the checker accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from oar_opt.problem import RecourseProblem, UpdateKind
from oar_opt.proof.leaf_bounds import LeafBounds
from oar_opt.proof.nodes import Node
from oar_opt.proof.parts import Part
from oar_opt.proof_search.centroid_leaves import CentroidLeaves
from oar_opt.proof_search.cone_rows import Floats
from oar_opt.proof_search.leaf_multipliers import Relaxation, leaf_of
from oar_opt.proof_search.step_leaves import StepLeaves


class LeafMaker(Protocol):
    """Makes the leaves of one problem."""

    def leaf(self, part: Part, most: float) -> tuple[Node | None, Mapping[int, Floats]]:
        """The leaf that refutes a part, or None; and the shares of members' options in a relaxation, of those that
        it is worthwhile to split upon. ``most`` limits the learner's duality, where there is one."""


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

    def leaf(self, part: Part, most: float) -> tuple[Node | None, Mapping[int, Floats]]:
        """See :class:`LeafMaker`."""
        proposal = self.relaxation.propose(part, most)
        refuted = self.bounds.refutes(part, proposal.multipliers)
        return leaf_of(proposal.multipliers) if refuted else None, proposal.shares
