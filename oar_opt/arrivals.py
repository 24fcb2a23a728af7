"""An update in rounds: who arrives when, what is observed after each round, and the same instance begun from there.

A round of ``gradient`` is one of its steps. Of ``running_centroid`` every arrival of a member is a round, together with
the records that arrive before the next member; records ahead of the first member are a round in which nobody can act.
A member acts in the round in which its record arrives first; from then on its record stays as it was made.

``T`` rounds, ``theta_t`` the parameters before round ``t`` (counted from 0): since an update is its rounds, one after
the other, the rounds from ``t`` on are an update of the same kind that starts at ``theta_t``. For running means
``theta_t`` comes with the weights ``N_c`` behind the centroids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oar_opt.discovery import update_rule
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import UndefinedLearner
from oar_opt.parameters import CentroidParameters, LinearParameters, Parameters
from oar_opt.problem import Indices, Records, RecourseProblem, Update, UpdateKind, Vector
from oar_opt.update_settings import GradientSettings, RunningSettings, gradient_update, running_centroid_update


@dataclass(frozen=True, eq=False)
class Observed:
    """What is known between two rounds: the parameters and, for running means, the weights behind the centroids."""

    parameters: Parameters
    counts: Vector | None = None


@dataclass(frozen=True, eq=False)
class Calendar:
    """``rounds[t]`` are the records that arrive in round ``t``; ``begins[i]`` is when member ``i`` acts.

    Members whose records never arrive are not in ``begins``: whatever they do changes nothing.
    """

    rounds: tuple[Indices, ...]
    begins: Mapping[int, int]

    @property
    def T(self) -> int:
        return len(self.rounds)

    def acting(self, first: int, last: int) -> frozenset[int]:
        """The members who act in the rounds from ``first`` to before ``last``."""
        return frozenset(i for i, t in self.begins.items() if first <= t < last)


def calendar_of(problem: RecourseProblem) -> Calendar:
    """The rounds of an instance.

    Raises
    ------
    InputError : there is one round only, or a class has no centroid before the first arrival.
    UnsupportedError : the update cannot be replayed, or there is a limit on the training loss.
    """
    if problem.update.retrains:
        raise InputError("update.kind", f"is '{problem.update.kind}': one round", "use 'oar solve'")
    if problem.max_loss_increase is not None:
        raise UnsupportedError("max_loss_increase compares the last round with the first, and no round alone can")
    update_rule(problem)
    members = [member.record for member in problem.collective.members]
    rounds = _rounds(problem, frozenset(members))
    if len(rounds) < 2:
        raise InputError("update", f"has {len(rounds)} round", "use 'oar solve', or give it more steps or arrivals")
    begins = {i: next((t for t, batch in enumerate(rounds) if i in batch), None) for i in members}
    return Calendar(rounds, {i: t for i, t in begins.items() if t is not None})


def _rounds(problem: RecourseProblem, members: frozenset[int]) -> tuple[Indices, ...]:
    if problem.update.kind is UpdateKind.GRADIENT:
        return GradientSettings.of(problem).batches
    rounds: list[list[int]] = [[]]
    for i in RunningSettings.of(problem).order.tolist():
        if i in members and rounds[-1]:
            rounds.append([])
        rounds[-1].append(i)
    return tuple(np.array(one, dtype=np.int64) for one in rounds if one)


def observed_at_start(problem: RecourseProblem) -> Observed:
    """What is known before the first round."""
    if problem.update.kind is UpdateKind.GRADIENT:
        settings = GradientSettings.of(problem)
        return Observed(LinearParameters.of(*settings.split(settings.theta0)))
    running = RunningSettings.of(problem)
    for c, label in enumerate(problem.classes or ()):
        if not np.isfinite(running.centroids[c]).all() or (running.counts is not None and running.counts[c] == 0):
            raise InputError(
                "update.centroids",
                f"gives none for class '{label}' before the first arrival, so early rounds have no margins",
                "state one, or let a record of that class come before",
            )
    return Observed(CentroidParameters.of(running.centroids), running.counts)


def update_from(problem: RecourseProblem, known: Observed, batches: Sequence[Indices]) -> Update:
    """The problem's update over these rounds alone, starting from what is known."""
    settings = dict(problem.update.settings)
    match known.parameters:
        case LinearParameters(w=w, b=b):
            return gradient_update(
                w,
                b,
                rate=settings["rate"],
                T=len(batches),
                l2=settings.get("l2") or 0.0,
                reduction=settings.get("reduction") or "mean",
                batches=[batch.tolist() for batch in batches],
                loss=settings.get("loss"),
            )
        case CentroidParameters(mu=mu):
            labels, counts = problem.classes or (), known.counts
            return running_centroid_update(
                rate=settings.get("rate"),
                counts=None if counts is None else dict(zip(labels, counts.tolist(), strict=True)),
                centroids=dict(zip(labels, mu, strict=True)),
                order=[int(i) for batch in batches for i in batch],
            )


def after_round(problem: RecourseProblem, records: Records, known: Observed, batch: Indices) -> Observed:
    """What is known after one more round, in which ``records`` arrive as they stand.

    Raises
    ------
    UndefinedLearner : nobody is left in the round, and the update is a mean over it.
    """
    nobody = replace(problem.collective, members=())
    step = replace(problem, collective=nobody, update=update_from(problem, known, [batch]))
    rule = update_rule(step)
    undefined = rule.undefined(step, records)
    if undefined:
        raise UndefinedLearner(undefined)
    counts = None
    if known.counts is not None:
        counts = known.counts.copy()
        np.add.at(counts, records.y[batch].astype(np.int64), records.s[batch])
    return Observed(rule.replay(step, records).parameters, counts)


def begun_from(
    problem: RecourseProblem,
    known: Observed,
    batches: Sequence[Indices],
    acting: Iterable[int],
    records: Records,
) -> RecourseProblem:
    """The instance over these rounds alone, for the members who act in them; its budgets are still the whole ones."""
    acting = frozenset(acting)
    members = tuple(member for member in problem.collective.members if member.record in acting)
    return replace(
        problem,
        records=records,
        collective=replace(problem.collective, members=members),
        update=update_from(problem, known, batches),
        sha256="",
    )
