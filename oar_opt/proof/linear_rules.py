"""Linear constraints among features and one-hot groups, as inequalities in rationals.

Both are demanded of every record whose features are changed. A constraint is kept up to ``tau max(1, |rhs|, |terms|)``,
the sum of a group, which is 1, up to ``10 tau``, as in the module ``verification``. An equality is two inequalities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq

from oar_opt.problem import RecourseProblem, Sense
from oar_opt.proof.rationals import Number, exact

GROUP_SLACK = 10


@dataclass(frozen=True, eq=False)
class LinearRule:
    """``a'x <= end`` for ``a (d,)``."""

    a: list[Number]
    end: Number
    is_group: bool

    def slack(self, sizes: Sequence[Number], tau: Number) -> Number:
        """By how much it may be broken, for features of these sizes ``(d,)``."""
        if self.is_group:
            return GROUP_SLACK * tau
        terms = [abs(a) * size for a, size in zip(self.a, sizes, strict=True)]
        return tau * max(fmpq(1), abs(self.end), *terms)


def linear_rules(problem: RecourseProblem) -> list[LinearRule]:
    """Those of a problem, constraints first."""
    place = {feature.name: j for j, feature in enumerate(problem.features)}
    found = []
    for constraint in problem.constraints:
        a = [fmpq(0)] * problem.d
        for name, value in constraint.coefficients:
            a[place[name]] += exact(value)
        found += _both(a, exact(constraint.rhs), constraint.sense, is_group=False)
    for group in dict.fromkeys(feature.group for feature in problem.features if feature.group is not None):
        ones = [fmpq(int(feature.group == group)) for feature in problem.features]
        found += _both(ones, fmpq(1), Sense.EQ, is_group=True)
    return found


def _both(a: list[Number], end: Number, sense: Sense, *, is_group: bool) -> list[LinearRule]:
    found = [] if sense is Sense.GE else [LinearRule(a, end, is_group)]
    return found if sense is Sense.LE else [*found, LinearRule([-value for value in a], -end, is_group)]
