"""A bound over many choices at once for one gradient step: margins times the batch's weight are sums over members.

Statement. From ``theta_0`` one step over a batch goes to ``theta+ = K theta_0 + 1/S sum_i u_i xhat_i``, with ``K = 1 -
rate l2 D``, the pushes ``u_i = -rate s_i l'(y_i, xhat_i'theta_0)`` and ``S = sum_i s_i`` (or 1, for a sum instead of
the mean). With ``v_q = t_q xhat_q`` and ``a_q = v_q'K theta_0 - t_q c_q``, ``c_q`` the threshold, in every choice with
``S > 0``

    S (m_q - need_q) = sum_i [u_i v_q'xhat_i + (a_q - need_q) s_i]         (for a sum: (a_q - need_q) once instead),

so that with weights ``pi_q >= 0`` of queries and guards ``S sum pi (m - need)`` is a sum of one number per record,
which an option determines. :mod:`oar_opt.proof.member_sums` bounds it together with prices of cost and acting.
``theta_0`` does not depend on the choice, so neither do the pushes of the same record.

What follows. If the bound is below 0 no choice of the part meets all needs, limit and cap, since ``S > 0``; if it is 0
none exceeds a need that has a weight. A choice with ``S = 0`` under the mean leaves no learner and is forbidden.
Members who are not in the batch change nothing; their options cost what they cost.

Feature changes. An option may be a set of changes ``delta`` (:mod:`oar_opt.proof.feature_reach`) of a record whose
label and weight stay. Under the weighted direction ``v = sum pi v_q`` it adds ``u(delta) v'(xhat + delta)`` and what
its weight does, less the price of its cost; :mod:`oar_opt.proof.step_changes` bounds this by lines that a leaf states.

Exactness. All is rational for the squared loss and the hinge; a push by the logistic loss is an interval with rational
ends around a ball, and the end is taken that makes the sum larger.

Several steps are not covered: what a member does in the first one changes the pushes of all in the next.

Reference: H. Robbins, S. Monro, "A Stochastic Approximation Method", 1951; G. B. Dantzig, "Discrete-Variable Extremum
Problems", 1957.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flint import ctx, fmpq

from oar_opt.problem import Query, RecourseProblem
from oar_opt.proof.exact_choices import member_moves
from oar_opt.proof.exact_steps import SLOPES
from oar_opt.proof.feature_reach import Reach, reaches
from oar_opt.proof.member_sums import priced_maximum, prices_fit
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import PRECISION, Interval, Number, dot, exact, exact_row
from oar_opt.proof.step_changes import Changing, Line
from oar_opt.update_settings import GradientSettings, StepLoss


@dataclass(frozen=True)
class StepMultipliers:
    """What a leaf states: weights of queries and of guards, prices of cost and of acting, and lines for sets of feature
    changes, by the member's record and the option."""

    queries: list[Number]
    guards: list[Number]
    cost: Number
    acting: Number
    lines: Mapping[tuple[int, int], Sequence[Line]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StepRow:
    """A record's push, ``xhat (p,)``, and what it adds to ``S``."""

    push: Interval
    xhat: list[Number]
    s: Number

    def most(self, v: Sequence[Number]) -> Number:
        """The largest ``u v'xhat``."""
        return self.push.times(dot(v, self.xhat)).high


class StepRows:
    """The rows of a problem with one step: ``options[r]`` of the member with record ``r``, staying first and sets of
    feature changes last.

    Of all others together: ``sums`` (of ``u xhat``, ``p`` intervals) and ``weight`` (of ``S``). ``subjects`` are
    queries and then guards, as ``(v_q, a_q)``.
    """

    def __init__(self, problem: RecourseProblem) -> None:
        settings, records = GradientSettings.of(problem), problem.records
        self.problem, self.settings = problem, settings
        self.theta0 = exact_row(settings.theta0.tolist())
        self.ones = [fmpq(1)] if settings.has_intercept else []
        self.batch = frozenset(settings.batches[0].tolist())
        self.weight = fmpq(0) if settings.is_mean else fmpq(1)
        self.sums = [Interval.at(fmpq(0))] * len(self.theta0)
        for i in sorted(self.batch - problem.member_at.keys()):
            row = self._row(i, records.X[i].tolist(), records.y[i], records.s[i])
            self.weight += row.s
            self.sums = [one + row.push.times(x) for one, x in zip(self.sums, row.xhat, strict=True)]
        self.options: dict[int, list[StepRow | Changing]] = {}
        for member in problem.collective.members:
            i = member.record
            stay = self._row(i, records.X[i].tolist(), records.y[i], records.s[i])
            moved = [self._row(i, move.x, move.y, move.s) for move in member_moves(problem, member)]
            sets = [self._changing(i, stay, reach) for reach in reaches(problem, member)]
            self.options[i] = [stay, *moved, *sets]
        self.subjects = [self._subject(subject) for subject in (*problem.queries, *problem.guards)]

    def _row(self, i: int, x: Sequence[float], y: float, s: float) -> StepRow:
        xhat = [*exact_row(x), *self.ones]
        if i not in self.batch or s == 0:
            return StepRow(Interval.at(fmpq(0)), xhat, fmpq(0))
        with ctx.workprec(PRECISION):
            slope = SLOPES[self.settings.loss](exact(y), dot(xhat, self.theta0))
            pull = Interval.around(slope) if self.settings.loss is StepLoss.LOGISTIC else Interval.at(slope)
        push = pull.times(-exact(self.settings.rate) * exact(s))
        return StepRow(push, xhat, exact(s) if self.settings.is_mean else fmpq(0))

    def _changing(self, i: int, stay: StepRow, reach: Reach) -> Changing:
        records = self.problem.records
        c = exact(self.settings.rate) * exact(records.s[i]) if i in self.batch else fmpq(0)
        f0, w = dot(stay.xhat, self.theta0), self.theta0[: self.problem.d]
        return Changing(self.settings.loss, exact(records.y[i]), c, f0, w, stay.xhat, stay.s, reach)

    def _subject(self, subject: Query) -> tuple[list[Number], Number]:
        target, rate, l2 = exact(subject.target), exact(self.settings.rate), exact(self.settings.l2)
        v = [target * value for value in (*exact_row(subject.x), *self.ones)]
        kept = [1 - rate * l2 * exact(decay) for decay in self.settings.decays.tolist()]
        start = sum((a * k * t for a, k, t in zip(v, kept, self.theta0, strict=True)), fmpq(0))
        return v, start - target * exact(subject.threshold)


def slack_above(rows: StepRows, part: Part, given: StepMultipliers) -> Number | None:
    """A rational that ``S sum pi (margin - needed) + lambda (limit - cost) + nu (cap - acting)`` does not exceed, for
    any choice of the part that leaves a learner; None where the multipliers do not fit."""
    weights, needs = [*given.queries, *given.guards], [*part.needs, *part.guards]
    unused = any(pi != 0 for pi, need in zip(weights, needs, strict=True) if need is None)
    if unused or any(pi < 0 for pi in weights) or not prices_fit(part, given.cost, given.acting):
        return None
    v, level = [fmpq(0)] * len(rows.theta0), fmpq(0)
    for pi, need, (direction, start) in zip(weights, needs, rows.subjects, strict=True):
        if need is not None and pi != 0:
            v = [entry + pi * value for entry, value in zip(v, direction, strict=True)]
            level += pi * (start - need)
    fixed = sum((one.times(value).high for one, value in zip(rows.sums, v, strict=True)), level * rows.weight)

    def value(r: int, k: int) -> Number:
        row = rows.options[r][k]
        found = row.most(v) if isinstance(row, StepRow) else row.most(v, given.lines.get((r, k), ()), given.cost)
        return found + level * row.s

    values = {r: {k: value(r, k) for k in left} for r, left in part.options.items()}
    return fixed + priced_maximum(part, values, given.cost, given.acting)
