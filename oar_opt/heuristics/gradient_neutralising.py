"""Gradient neutralising: moves that make decoy parameters, which serve the queries, stationary for the learner.

Letters of :mod:`oar_opt.risk`. A decoy is the optimum of the learner on the records and, with a weight that grows from
decoy to decoy (:data:`SHARES` of the total weight, in equal parts), the queries' own records with the wanted label; for
regression the target at the required margin beyond the threshold and one standard deviation of the targets more. With
``r`` the training gradient of the records alone at the decoy (at kinks, the subgradients nearest to the decoy's own
optimality), and ``c_i`` what a move of member ``i`` adds to it, moves are to make ``||r + sum_i c_i||^2`` small: then
the decoy is nearly what the learner goes to.

Finite options by greedy coordinate descent: the member and option that lower the square the most (per cost, where the
goal is the cost) act next, while any lowers it. Feature changes by projected gradient descent of the same square, for
each set from no change, and again for a member that acts next. The order in which members act has prefixes, of which
the best of all decoys by re-training is proposed.

It does not apply to nearest centroids and to linear programs (``l1_svm``, ``lad``), which have no gradient that
vanishes, nor to gradient steps, which do not go to an optimum.

Reference: P. W. Koh, J. Steinhardt, P. Liang, "Stronger Data Poisoning Attacks Break Data Sanitization Defenses", 2018.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear

from oar_opt.changes import ChangeSet
from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import learner_of
from oar_opt.member_room import Room
from oar_opt.parameters import LinearParameters
from oar_opt.problem import Move, Records, RecourseProblem, Vector
from oar_opt.projection import nearest
from oar_opt.purse import within_budgets
from oar_opt.risk import Jump, PenaltyNorm, RegularizedRisk
from oar_opt.sensitivity import no_sensitivity
from oar_opt.signals import SHARE, Prefixes, in_time, not_aimed, worth_of
from oar_opt.standing import Best
from oar_opt.training_pulls import Pulls

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
STEPS, HALVINGS = 25, 12
LOWERS = 1e-12
"""Of the square, what counts as lowering it."""


class GradientNeutralising(Heuristic):
    """See the module's docstring."""

    name = "gradient_neutralising"

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = not_aimed(problem)
        if reason:
            return reason
        if problem.learner.is_centroid:
            return "nearest centroids are no risk whose gradient could vanish"
        if not problem.update.retrains:
            return f"the update '{problem.update.kind}' does not go to an optimum, where the gradient would vanish"
        risk = learner_of(problem).risk(problem.learner, problem.d)
        if risk is not None and risk.norm is PenaltyNorm.L1:
            return f"learner '{problem.learner.kind}' is a linear program, without a gradient that could vanish"
        return no_sensitivity(problem)

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        started = time.monotonic()
        deadline = started + time_limit
        best, tried, waiting = Best(problem), 0, decoys(problem)
        members = in_time(problem.collective.members, time.monotonic() + SHARE * time_limit)
        rooms = [Room.of(problem, member) for member in members]
        # The time is looked at before the next decoy is trained.
        while not (tried and time.monotonic() > deadline) and (decoy := next(waiting, None)) is not None:
            tried += 1
            left = deadline - time.monotonic()
            order = _Descent(problem, decoy, rooms, time.monotonic() + left / 2).order()
            prefixes = Prefixes.of(best, order, deadline)
            prefixes.run()
        return Proposal(best.moves, f"{len(best.moves)} members act: {tried} of {len(SHARES)} decoys neutralised")


@dataclass(frozen=True, eq=False)
class Decoy:
    """``pulls`` of the records at the decoy, ``own (n,)`` those that are consistent with it, ``gradient (p,)``."""

    pulls: Pulls
    own: Vector
    gradient: Vector

    def shift(self, moves: tuple[Move, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """What each move adds to the gradient, ``(m, p)``."""
        rows = [move.record for move in moves]
        return np.asarray(self.pulls.after(moves) - self.own[rows, None] * self.pulls.xhat[rows])


def decoys(problem: RecourseProblem) -> Iterator[Decoy]:
    """One for each share that leaves the learner defined."""
    learner, records = learner_of(problem), problem.records
    risk = learner.risk(problem.learner, problem.d)
    assert risk is not None, "see accepts"
    points, count = np.array([query.x for query in problem.queries]), len(problem.queries)
    for share in SHARES:
        s = np.full(count, share * (float(records.s.sum()) or 1.0) / count)
        joined = Records(
            np.vstack([records.X, points]),
            np.concatenate([records.y, wanted_labels(problem)]),
            np.concatenate([records.s, s]),
        )
        if learner.undefined(problem, joined) is None:
            parameters = learner.fit(problem, joined).parameters
            assert isinstance(parameters, LinearParameters)
            yield decoy_at(risk, joined, problem.n, risk.join(np.array(parameters.w), parameters.b))


def wanted_labels(problem: RecourseProblem) -> Vector:
    """The labels, or targets, with which the queries' records join, ``(queries,)``."""
    if problem.classes is not None:
        return np.array([query.target for query in problem.queries])
    spread = float(np.std(problem.records.y)) or 1.0
    beyond = [max(0.0, query.required or 0.0) + spread for query in problem.queries]
    return np.array([q.threshold + q.target * more for q, more in zip(problem.queries, beyond, strict=True)])


def decoy_at(risk: RegularizedRisk, joined: Records, n: int, theta: Vector) -> Decoy:
    """The first ``n`` records at the optimum for all."""
    every = Pulls(risk, joined, theta)
    own, kinked = every.pulls.copy(), np.flatnonzero(every.at_kink)
    if len(kinked):
        own[kinked] = 0.0
        ends = np.array([_range_at(risk, every, int(i)) for i in kinked])
        own[kinked] = lsq_linear(every.xhat[kinked].T, -every.drag - own @ every.xhat, (ends[:, 0], ends[:, 1])).x
    records = Records(joined.X[:n], joined.y[:n], joined.s[:n])
    return Decoy(Pulls(risk, records, theta), own[:n], every.drag + own[:n] @ every.xhat[:n])


def _range_at(risk: RegularizedRisk, every: Pulls, i: int) -> tuple[float, float]:
    """The pulls of a record at a kink, least and largest."""
    jumps = [piece for piece in risk.loss.pieces(float(every.records.y[i])) or () if isinstance(piece, Jump)]
    jump = min(jumps, key=lambda one: abs(one.f - every.kinks[i]))
    return float(every.a[i]) * jump.g_low, float(every.a[i]) * jump.g_high


class _Descent:
    """Greedy coordinate descent for one decoy."""

    def __init__(self, problem: RecourseProblem, decoy: Decoy, rooms: list[Room], deadline: float) -> None:
        self.problem, self.decoy, self.deadline = problem, decoy, deadline
        self.left = decoy.gradient.copy()
        self.offers = [(room, move, None) for room in rooms for move in room.finite] + [
            (room, move, one) for room in rooms for one in room.sets if (move := self._changed(room, one)) is not None
        ]

    def order(self) -> list[Move]:
        """The members' moves, the first one first."""
        found, spent = list[Move](), 0.0
        offers = self.offers
        while offers and (not found or time.monotonic() <= self.deadline):
            offers = [o for o in offers if within_budgets(self.problem, spent + o[1].cost, len(found) + 1)]
            gains = self._gains(tuple(move for _, move, _ in offers))
            ranked = [
                (worth_of(self.problem, float(gain), offer[1].cost), -k)
                for k, (gain, offer) in enumerate(zip(gains, offers, strict=True))
                if gain > LOWERS * float(self.left @ self.left)
            ]
            if not ranked:
                break
            room, move, one = offers[-max(ranked)[1]]
            again = self._changed(room, one) if one is not None else None
            if again is not None and within_budgets(self.problem, spent + again.cost, len(found) + 1):
                move = max((move, again), key=lambda other: float(self._gains((other,))[0]))
            found.append(move)
            spent += move.cost
            self.left += self.decoy.shift((move,))[0]
            offers = [offer for offer in offers if offer[1].record != move.record]
        return found

    def _gains(self, moves: tuple[Move, ...]) -> Vector:
        """By how much each move lowers the square."""
        after = self.left + self.decoy.shift(moves)
        return np.asarray(self.left @ self.left - (after**2).sum(axis=1))

    def _changed(self, room: Room, one: ChangeSet) -> Move | None:
        """The change of a set where projected gradient descent of the square ends."""
        if time.monotonic() > self.deadline:
            return None
        delta = nearest(one, np.zeros(one.d))
        if delta is None:
            return None
        reach = float(((one.upper - one.lower) / one.scales).max())
        value, slope = self._square(one, delta)
        step = reach / max(1e-300, float(np.abs(slope).max()))
        for _ in range(STEPS):
            for _ in range(HALVINGS):
                moved = nearest(one, delta - step * slope * one.scales)
                if moved is not None and self._square(one, moved)[0] < value * (1 - LOWERS):
                    break
                step *= 0.5
            else:
                break
            assert moved is not None
            delta, step = moved, 2 * step
            value, slope = self._square(one, delta)
        return room.change(one, delta)

    def _square(self, one: ChangeSet, delta: Vector) -> tuple[float, Vector]:
        """The square after a change, and its slope over scaled features."""
        pulls, i = self.decoy.pulls, one.record
        theta, a = pulls.theta, float(pulls.a[i])
        xhat = pulls.risk.extend((one.x + delta)[None])[0]
        y, f = np.array([one.y]), np.array([xhat @ theta])
        pull = float(pulls.risk.loss.pull(y, f)[0])
        has_kinks = bool(np.isfinite(pulls.kinks).any())
        bend = 0.0 if has_kinks else float(pulls.risk.loss.second_derivative(y, f)[0])
        left = self.left + a * pull * xhat - self.decoy.own[i] * pulls.xhat[i]
        slope = 2 * a * (pull * left[: one.d] + bend * float(xhat @ left) * theta[: one.d])
        return float(left @ left), slope * one.scales
