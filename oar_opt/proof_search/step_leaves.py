"""Leaves of :mod:`oar_opt.proof.step_bound`: one linear program over shares of options gives the best of them."""

from __future__ import annotations

import math

import numpy as np

from oar_opt.problem import RecourseProblem
from oar_opt.proof.leaf_bounds import LeafBounds
from oar_opt.proof.nodes import StepLeaf
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import Number, approximate
from oar_opt.proof.step_bound import StepMultipliers
from oar_opt.proof_search.assessed import Assessed
from oar_opt.proof_search.cone_rows import Floats
from oar_opt.proof_search.numbers import shortened
from oar_opt.proof_search.share_program import ShareProgram, open_shares


class StepLeaves:
    """Of one problem: ``V (S, p)`` and ``start (S,)`` of queries and guards, ``fixed (S,)`` of those who are no
    members."""

    def __init__(self, problem: RecourseProblem) -> None:
        self.bounds = LeafBounds(problem)
        self.rows = rows = self.bounds.step
        self.V = np.array([_floats(v) for v, _ in rows.subjects])
        self.start = np.array(_floats([start for _, start in rows.subjects]))
        self.fixed = self.V @ np.array(_floats([one.high for one in rows.sums]))
        self.weight = approximate(rows.weight)

    def assess(self, part: Part, most: float) -> Assessed:
        """See :class:`oar_opt.proof_search.leaves.LeafMaker`; there is no duality to limit."""
        program = ShareProgram(part)
        options = [self.rows.options[record][k] for record, k in program.columns]
        needs = [*part.needs, *part.guards]
        asked = [q for q, need in enumerate(needs) if need is not None]
        shares = program.split(program.even())
        if asked:
            level = self.start[asked] - np.array(_floats([needs[q] for q in asked]))
            moved = np.array([approximate(row.push.high) * np.array(_floats(row.xhat)) for row in options])
            scores = self.V[asked] @ moved.reshape(-1, self.V.shape[1]).T
            values = scores + level[:, None] * np.array(_floats([row.s for row in options]))[None, :]
            found = program.solve(self.fixed[asked] + level * self.weight, values)
            if found is not None:
                given = self._multipliers(part, asked, found.weights, found.cost, found.acting)
                return Assessed.of(self.bounds, part, given, _node(given), open_shares(found.shares))
        return Assessed(None, math.inf, open_shares(shares))

    def _multipliers(self, part: Part, asked: list[int], found: Floats, cost: float, acting: float) -> StepMultipliers:
        weights, count = np.zeros(len(self.start)), len(part.needs)
        weights[asked] = found
        short = [shortened(float(weight)) for weight in weights]
        return StepMultipliers(short[:count], short[count:], shortened(cost), shortened(acting))


def _floats(numbers: list[Number]) -> list[float]:
    return [approximate(number) for number in numbers]


def _node(given: StepMultipliers) -> StepLeaf:
    return StepLeaf(
        kind="step",
        queries=tuple(_floats(given.queries)),
        guards=tuple(_floats(given.guards)),
        cost=approximate(given.cost),
        acting=approximate(given.acting),
    )
