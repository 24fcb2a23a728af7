"""Makes leaves that refute a part: proposes multipliers for the learner's bound, and keeps what the checker accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from oar_opt.problem import RecourseProblem
from oar_opt.proof.lagrangian import slack_above
from oar_opt.proof.learner_rows import LearnerRows
from oar_opt.proof.nodes import Node
from oar_opt.proof.parts import Part
from oar_opt.proof.tree import is_refuted
from oar_opt.proof_search.centroid_leaves import CentroidLeaves
from oar_opt.proof_search.cone_rows import Floats
from oar_opt.proof_search.leaf_multipliers import Relaxation, leaf_of


class LeafMaker(Protocol):
    """Makes the leaves of one problem."""

    def leaf(self, part: Part, most: float) -> tuple[Node | None, Mapping[int, Floats]]:
        """The leaf that refutes a part, or None; and the shares of members' options in a relaxation, of those that
        it is worthwhile to split upon. ``most`` limits the learner's duality, where there is one."""


def leaf_maker(problem: RecourseProblem) -> LeafMaker:
    """The leaves that suit a problem's learner."""
    return CentroidLeaves(problem) if problem.learner.is_centroid else DualityLeaves(problem)


class DualityLeaves:
    """Of the Lagrangian of the learner's optimality conditions."""

    def __init__(self, problem: RecourseProblem) -> None:
        self.rows = LearnerRows(problem)
        self.relaxation = Relaxation(self.rows)

    def leaf(self, part: Part, most: float) -> tuple[Node | None, Mapping[int, Floats]]:
        proposal = self.relaxation.propose(part, most)
        given = proposal.multipliers
        refuted = is_refuted(part, slack_above(self.rows, part, given), given.queries)
        return leaf_of(given) if refuted else None, proposal.shares
