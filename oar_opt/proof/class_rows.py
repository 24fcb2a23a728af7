"""A centroid learner's records as class, weight and features in rationals, and sums of them over a part's choices.

With ``m_c`` any point for every class, every record of class ``c`` has ``s`` and ``s (x - m_c)``; those that are the
same in every choice are summed up once. ``N_c = sum s`` and ``A_c = sum s (x - m_c)`` over the records of class ``c``,
so the centroid is ``m_c + A_c / N_c`` in every choice with ``N_c > 0``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flint import fmpq

from oar_opt.problem import RecourseProblem
from oar_opt.proof.exact_choices import member_moves
from oar_opt.proof.feature_reach import Reach, reaches
from oar_opt.proof.member_sums import Values
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import Number, exact, exact_row


@dataclass(frozen=True, eq=False)
class ClassRow:
    """A record of class ``c`` with weight ``s`` and features ``x (d,)``, which may change as far as ``reach``."""

    c: int
    s: Number
    x: list[Number]
    reach: Reach | None = None


class ClassRows:
    """The rows of a problem: ``options[r]`` of the member with record ``r``, staying first and sets of feature changes
    last; ``weights`` and ``sums`` (of ``s x``) of all other records, by class."""

    def __init__(self, problem: RecourseProblem) -> None:
        records = problem.records
        self.problem, self.classes, self.d = problem, len(problem.classes or ()), problem.d
        self.weights = [fmpq(0)] * self.classes
        self.sums = [[fmpq(0)] * self.d for _ in range(self.classes)]
        for i in range(problem.n):
            if i not in problem.member_at:
                row = _row(records.y[i], records.s[i], records.X[i].tolist())
                self.weights[row.c] += row.s
                self.sums[row.c] = [a + row.s * x for a, x in zip(self.sums[row.c], row.x, strict=True)]
        self.options: dict[int, list[ClassRow]] = {}
        for member in problem.collective.members:
            i = member.record
            stay = _row(records.y[i], records.s[i], records.X[i].tolist())
            moved = [_row(move.y, move.s, move.x) for move in member_moves(problem, member)]
            self.options[i] = [stay, *moved, *(replace(stay, reach=one) for one in reaches(problem, member))]
        self.queries = [(int(query.target), exact_row(query.x)) for query in problem.queries]
        self.guards = [(int(guard.target), exact_row(guard.x)) for guard in problem.guards]

    def values(self, part: Part, value: Callable[[ClassRow], Number]) -> Values:
        """A number for every option that is left."""
        return {r: {k: value(self.options[r][k]) for k in left} for r, left in part.options.items()}


def _row(y: float, s: float, x: Sequence[float]) -> ClassRow:
    return ClassRow(int(y), exact(s), exact_row(x))
