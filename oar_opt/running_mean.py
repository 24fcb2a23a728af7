"""Running centroids as weighted means: the re-training problem that gives the same centroids.

*One class, labels and weights given.* Let the records ``1, 2, ...`` of weight ``s_k > 0`` arrive in this order. Each
step takes the centroid to ``(1 - a_k) mu + a_k x_k``, with a share that does not depend on any features:

    rate:      a_k = 1 - (1 - rate)^s_k,
    counts:    a_k = s_k / (N + s_1 + ... + s_k),
    both:      a_k = 1 where the class has no centroid yet.

Unrolled, with the centroid ``mu_0`` before the first arrival,

    mu = base mu_0 + sum_k coef_k x_k,    coef_k = a_k prod_(l > k) (1 - a_l),    base = prod_l (1 - a_l),

and ``base + sum_k coef_k = 1`` by induction over the steps (``base = 0`` without ``mu_0``). So ``mu`` is the mean of a
fixed record ``mu_0`` of weight ``base`` and of the records with the weights ``coef_k``. With counts the products
telescope: ``coef_k = s_k / (N + S)`` and ``base = N / (N + S)`` with ``S = sum_k s_k``, whatever the order; a mean does
not change when all its weights are multiplied by ``N + S``, so ``s_k`` and ``N`` serve as well.

*Members.* With counts the weights ``s_k`` and ``N`` are the same whatever members choose, labels and withholding
included: running centroids are nearest centroids re-trained on the arriving records and one fixed record per class.
With a rate that holds as long as no member can change the label or weight of an arriving record: otherwise the weights
of all earlier arrivals in its class change with it, and :func:`not_a_mean` says so.

*Who changes nothing.* A record that does not arrive has no influence (the centroids before the first arrival belong to
the records as they are), and one that arrived long ago has next to none. Such members can only cost, and stay: they are
no members of the re-training problem. Long ago means that all of them together move no centroid by more than
:data:`NEGLIGIBLE` of the largest number among the records, which is below the rounding of the replay.

``max_loss_increase`` is about the records' own weights, and these are others: not taken here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from oar_opt.active_bounds import Quantity
from oar_opt.contracts import DirectProgram, Program, PyomoProgram
from oar_opt.parameters import Parameters
from oar_opt.problem import (
    Flags,
    Matrix,
    Member,
    Move,
    Option,
    Records,
    RecourseProblem,
    Update,
    Vector,
)
from oar_opt.result import Claim, Request
from oar_opt.update_settings import RunningSettings, share_of_arrival

NEGLIGIBLE = 1e-16
"""Of the largest number among the records, how far the members left out can move a centroid in all."""


@dataclass(frozen=True, eq=False)
class MeanWeights:
    """Weights with which the centroids are means: of ``starts (classes, d)`` with ``base (classes,)``, 0 where a class
    has no start, and of the records with ``own (n,)``."""

    starts: Matrix
    base: Vector
    own: Vector


def mean_weights(problem: RecourseProblem, y: Vector, s: Vector) -> MeanWeights:
    """For the labels ``y (n,)`` and weights ``s (n,)`` of the records; see the module's docstring."""
    running = RunningSettings.of(problem)
    has_start = np.asarray(np.isfinite(running.centroids).all(axis=1))
    starts = np.where(has_start[:, None], running.centroids, 0.0)
    own = np.zeros(len(y))
    if running.rate is None:
        assert running.counts is not None
        own[running.order] = s[running.order]
        return MeanWeights(starts, np.where(has_start, running.counts, 0.0), own)
    left = np.ones(len(has_start))
    first: dict[int, int] = {}
    for i in running.order[::-1]:
        c = int(y[i])
        if s[i] > 0:
            share = share_of_arrival(running.rate, float(s[i]))
            own[i] = left[c] * share
            left[c] *= 1.0 - share
            first[c] = int(i)
    for c, i in first.items():
        if not has_start[c]:
            own[i] += left[c]
    return MeanWeights(starts, np.where(has_start, left, 0.0), own)


def not_a_mean(problem: RecourseProblem) -> str | None:
    """Why running centroids are no re-trained ones for this problem, or None."""
    if problem.max_loss_increase is not None:
        return "max_loss_increase weighs the records as they are, and running centroids weigh them as they arrive"
    if RunningSettings.of(problem).rate is not None:
        for member in problem.collective.members:
            if member.record in _arriving(problem) and _changes_weights(problem, member):
                return (
                    f"member {member.record} may change the label or weight of a record that arrives, and with a rate "
                    "that changes the weights of all earlier ones"
                )
    return _without_centroid(problem)


def _without_centroid(problem: RecourseProblem) -> str | None:
    weights = mean_weights(problem, problem.records.y, problem.records.s)
    for c, label in enumerate(problem.classes or ()):
        if weights.base[c] + weights.own[problem.records.y == c].sum() <= 0:
            return f"class '{label}' has no centroid as long as nobody acts"
    return None


def _arriving(problem: RecourseProblem) -> set[int]:
    return {int(i) for i in RunningSettings.of(problem).order}


def _changes_weights(problem: RecourseProblem, member: Member) -> bool:
    return not all(_keeps_weight(problem, member, option) for option in problem.admissible_options(member))


def _keeps_weight(problem: RecourseProblem, member: Member, option: Option) -> bool:
    y, s = problem.records.y[member.record], problem.records.s[member.record]
    return bool(option.s == s and (option.y == y or s == 0))


@dataclass(frozen=True, eq=False)
class SameByRetraining:
    """A problem with running centroids and the problem of re-training that is the same; :func:`not_a_mean` is None.

    The ``retrained`` one has the records of the first with other weights, followed by the centroids before the first
    arrival; its members are those whose records count. A move has one meaning in both, but for its weight.
    """

    problem: RecourseProblem
    retrained: RecourseProblem

    @classmethod
    def of(cls, problem: RecourseProblem) -> SameByRetraining:
        """The way from a problem to its twin."""
        records = problem.records
        weights = mean_weights(problem, records.y, records.s)
        started = np.flatnonzero(weights.base > 0)
        after = Records(
            np.vstack([records.X, weights.starts[started]]),
            np.concatenate([records.y, started]),
            np.concatenate([weights.own, weights.base[started]]),
        )
        is_rate = RunningSettings.of(problem).rate is not None
        heard = [
            member
            for member, counts in zip(problem.collective.members, _count(problem, weights), strict=True)
            if counts
        ]
        members = tuple(_with_weight(problem, m, float(weights.own[m.record])) if is_rate else m for m in heard)
        collective = replace(problem.collective, members=members)
        return cls(problem, replace(problem, records=after, collective=collective, update=Update()))

    @cached_property
    def unheard(self) -> tuple[int, ...]:
        """The records of members that could act and whose records do not count."""
        heard = self._heard
        idle = [member for member in self.problem.collective.members if member.record not in heard]
        return tuple(m.record for m in idle if m.feature_actions or len(self.problem.admissible_options(m)) > 1)

    @cached_property
    def _heard(self) -> frozenset[int]:
        return frozenset(member.record for member in self.retrained.collective.members)

    @cached_property
    def _is_rate(self) -> bool:
        return RunningSettings.of(self.problem).rate is not None

    # -- moves ---

    def moves_there(self, moves: Sequence[Move]) -> tuple[Move, ...]:
        """Moves of the problem as its twin has them."""
        return self._weighted([move for move in moves if move.record in self._heard], self.retrained)

    def moves_back(self, moves: Sequence[Move]) -> tuple[Move, ...]:
        """Moves of the twin as the problem has them."""
        return self._weighted(moves, self.problem)

    def _weighted(self, moves: Sequence[Move], owner: RecourseProblem) -> tuple[Move, ...]:
        if not self._is_rate:
            return tuple(moves)
        return tuple(replace(move, s=float(owner.records.s[move.record])) for move in moves)

    # -- requests, programs and claims ---

    def request_there(self, request: Request) -> Request:
        """A request about the problem as one about its twin."""
        start = None if request.start is None else self.moves_there(request.start)
        return replace(request, start=start, excluded=tuple(map(self.moves_there, request.excluded)))

    def claim_back(self, claim: Claim) -> Claim:
        """A claim about the twin as one about the problem; the centroids are the same."""
        moves = None if claim.moves is None else self.moves_back(claim.moves)
        return replace(claim, moves=moves, ranking=tuple(map(self.moves_back, claim.ranking)))

    def program_back(self, program: Program) -> Program:
        """A program for the twin as one for the problem, of the same kind."""
        if not isinstance(program, PyomoProgram):
            return DirectProgram(lambda request: self.claim_back(program.run(self.request_there(request))))
        read, start = program.read, program.start

        def read_back() -> tuple[tuple[Move, ...], Parameters]:
            moves, parameters = read()
            return self.moves_back(moves), parameters

        return replace(
            program,
            read=read_back,
            start=lambda moves, parameters: start(self.moves_there(moves), parameters),
            quantities={name: self._quantity_back(one) for name, one in program.quantities.items()},
        )

    def _quantity_back(self, quantity: Quantity) -> Quantity:
        value: Callable[[Sequence[Move], Parameters], float | None] = quantity.value
        return replace(quantity, value=lambda moves, parameters: value(self.moves_there(moves), parameters))


def _with_weight(problem: RecourseProblem, member: Member, s: float) -> Member:
    """A member whose record keeps its label and has another weight; options that change either cost too much anyway."""
    menu = tuple(replace(option, s=s) for option in member.menu if _keeps_weight(problem, member, option))
    return replace(member, actions=member.feature_actions, menu=menu)


def _count(problem: RecourseProblem, weights: MeanWeights) -> Flags:
    """Which members' records count, by place; see the module's docstring."""
    members, arriving = problem.collective.members, _arriving(problem)
    if RunningSettings.of(problem).rate is None:
        return np.array([member.record in arriving for member in members], dtype=bool)
    largest = float(np.abs(problem.records.X).max())
    reach = np.array([weights.own[member.record] * _reach(problem, member) for member in members])
    return reach > NEGLIGIBLE * largest / max(1, len(members))


def _reach(problem: RecourseProblem, member: Member) -> float:
    """No feature of the member's record can change by more."""
    x = problem.records.X[member.record]
    moved = [float(np.abs(np.array(option.x) - x).max()) for option in problem.admissible_options(member)]
    return max(*moved, *(action.radius * float(problem.scales.max()) for action in member.feature_actions), 0.0)
