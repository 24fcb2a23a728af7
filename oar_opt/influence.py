"""First-order effects of single moves on a query's margin: influence functions, at the present parameters.

A member's record ``z = (x, y, s)`` is replaced by ``z' = (x', y', s')`` to the share ``e``; the effect is the
derivative of the query's margin in ``e`` at 0, that is, what the whole move would give if margins were linear in ``e``.

**Re-training.** Letters of :mod:`oar_opt.risk`. With ``q`` the margin's gradient in ``theta`` and ``H = lam R +
sum_i a_i l''_i xhat_i xhat_i'`` the Hessian at the optimum,

    effect = -q' H^-1 ( a' l'(y', f') xhat' - a l'(y, f) xhat ).

*Kinks.* Records ``E`` at a kink of the loss hold it to first order: ``theta`` moves within the null space of their rows
only. With a basis ``Z`` of it ``H^-1`` becomes ``Z (Z'HZ)^-1 Z'``. What such a record itself pulls does not matter
then, since ``Z'xhat = 0``: the others at kinks make up for it. Directions without curvature are not moved along.

**Gradient steps.** ``theta_(t+1) = K theta_t - rate G_t / S_t``, with ``G_t`` the sum of the pulls and ``S_t`` the
weight of the batch, or 1. With ``p_T = q`` and ``p_t = K p_(t+1) - rate / S_t sum_i s_i l''_i (xhat_i'p_(t+1))
xhat_i``,

    effect = - sum_t rate / S_t p_(t+1)' ( s' l'(y', f'_t) xhat' - s l'(y, f_t) xhat - (s' - s) G_t / S_t ),

over the batches that hold the record; the last term is there for means only. The hinge's ``l''`` is 0.

**Nearest centroid.** With ``v`` the record's weight in its class's mean of total weight ``S_y``,

    d mu_y = -v (x - mu_y) / S_y,     d mu_y' = v' (x' - mu_y') / S_y'     (both add up where y' = y),

and the effect is ``2 (x_q - mu_t)'d mu_t - 2 (x_q - mu_c)'d mu_c`` for the wanted class ``t`` and the nearest other
class ``c``. Running centroids are such means (:mod:`oar_opt.running_mean`).

Reference: P. W. Koh, P. Liang, "Understanding Black-box Predictions via Influence Functions", 2017.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from scipy.linalg import null_space

from oar_opt.discovery import learner_of
from oar_opt.evaluate import evaluate
from oar_opt.parameters import CentroidParameters, LinearParameters
from oar_opt.problem import Move, Query, RecourseProblem, UpdateKind, Vector
from oar_opt.risk import PenaltyNorm, RegularizedRisk
from oar_opt.running_mean import mean_weights, not_a_mean
from oar_opt.step_loss import bends, slopes
from oar_opt.training_pulls import Pulls
from oar_opt.update_settings import GradientSettings, RunningSettings

FLAT = 1e-12
"""Of the largest curvature, what counts as none."""


class Effects(ABC):
    """See the module's docstring."""

    @abstractmethod
    def of(self, move: Move) -> float:
        """The effect of one move on the query's margin."""


def no_effects(problem: RecourseProblem) -> str | None:
    """Why moves have no known first-order effects here, or None."""
    if problem.update.kind is UpdateKind.GRADIENT:
        return None
    if problem.update.kind is UpdateKind.RUNNING_CENTROID:
        return not_a_mean(replace(problem, max_loss_increase=None))
    learner = learner_of(problem)
    risk = None if problem.learner.is_centroid else learner.risk(problem.learner, problem.d)
    if risk is None:
        known = problem.learner.is_centroid
        return None if known else f"learner '{learner.kind}' is no regularised risk, so it has no Hessian"
    if risk.norm is PenaltyNorm.L1:
        return f"learner '{learner.kind}' is a linear program, and no small change moves the vertex that is its optimum"
    return None


def effects_on(problem: RecourseProblem, query: Query) -> Effects:
    """The effects on one query's margin, for a problem of which :func:`no_effects` says nothing and whose learner is
    defined at present."""
    if problem.update.kind is UpdateKind.GRADIENT:
        return StepEffects(problem, query)
    parameters = evaluate(problem, ()).parameters
    if isinstance(parameters, CentroidParameters):
        return CentroidEffects(problem, query, parameters)
    risk = learner_of(problem).risk(problem.learner, problem.d)
    assert risk is not None, "see no_effects"
    return RiskEffects(problem, query, risk, parameters)


class RiskEffects(Effects):
    """Of re-training; ``response (p,)`` is ``-H^-1 q``."""

    def __init__(
        self, problem: RecourseProblem, query: Query, risk: RegularizedRisk, parameters: LinearParameters
    ) -> None:
        self.pulls = Pulls(risk, problem.records, risk.join(np.array(parameters.w), parameters.b))
        xhat, bend = self.pulls.xhat, self.pulls.bends
        H = np.diag(risk.lam * risk.penalty) + (xhat.T * bend) @ xhat
        held = xhat[self.pulls.at_kink]
        Z = null_space(held) if len(held) else np.eye(risk.p)
        q = query.target * risk.extend(np.array([query.x]))[0]
        self.response = -Z @ (np.linalg.pinv(Z.T @ H @ Z, rcond=FLAT, hermitian=True) @ (Z.T @ q))

    def of(self, move: Move) -> float:
        before = self.pulls.pulls[move.record] * self.pulls.xhat[move.record]
        return float(self.response @ (self.pulls.after([move])[0] - before))


class StepEffects(Effects):
    """Of gradient steps; ``responses[t] (p,)`` is ``-rate / S_t p_(t+1)``."""

    def __init__(self, problem: RecourseProblem, query: Query) -> None:
        self.records, self.settings = problem.records, GradientSettings.of(problem)
        self.held = [frozenset(batch.tolist()) for batch in self.settings.batches]
        self.thetas, self.means, self.totals = [self.settings.theta0], list[Vector](), list[float]()
        for t in range(self.settings.T):
            self._forwards(t)
        self.responses = self._backwards(query.target * self.settings.extend(np.array([query.x]))[0])

    def _forwards(self, t: int) -> None:
        batch, records, theta = self.settings.batches[t], self.records, self.thetas[t]
        xhat, s = self.settings.extend(records.X[batch]), records.s[batch]
        total = float(s.sum()) if self.settings.is_mean else 1.0
        followed = (s * slopes(self.settings.loss, records.y[batch], xhat @ theta)) @ xhat / total
        self.totals.append(total)
        self.means.append(followed if self.settings.is_mean else 0.0 * followed)
        self.thetas.append(self.settings.kept * theta - self.settings.rate * followed)

    def _backwards(self, q: Vector) -> list[Vector]:
        found, p = list[Vector](), q
        for t in reversed(range(self.settings.T)):
            batch, rate = self.settings.batches[t], self.settings.rate / self.totals[t]
            found.append(-rate * p)
            xhat = self.settings.extend(self.records.X[batch])
            bend = self.records.s[batch] * bends(self.settings.loss, xhat @ self.thetas[t])
            p = self.settings.kept * p - rate * (bend * (xhat @ p)) @ xhat
        return found[::-1]

    def of(self, move: Move) -> float:
        i, records, effect = move.record, self.records, 0.0
        xhat = self.settings.extend(np.array([move.x, records.X[i]]))
        y, s = np.array([move.y, records.y[i]]), np.array([move.s, -records.s[i]])
        for t in range(self.settings.T):
            if i in self.held[t]:
                shift = (s * slopes(self.settings.loss, y, xhat @ self.thetas[t])) @ xhat
                effect += float(self.responses[t] @ (shift - s.sum() * self.means[t]))
        return effect


class CentroidEffects(Effects):
    """Of nearest and of running centroids; ``toward[c]`` is the margin's gradient in ``mu_c``, ``(d,)``."""

    def __init__(self, problem: RecourseProblem, query: Query, parameters: CentroidParameters) -> None:
        self.records, self.mu = problem.records, np.array(parameters.mu)
        y, self.weights, base = self.records.y.astype(int), self.records.s, np.zeros(len(self.mu))
        self.arriving = np.ones(problem.n, dtype=bool)
        if not problem.update.retrains:
            mean = mean_weights(problem, self.records.y, self.records.s)
            self.weights, base = mean.own, mean.base
            self.arriving = np.isin(np.arange(problem.n), RunningSettings.of(problem).order)
        self.totals = base + np.bincount(y, self.weights, minlength=len(self.mu))
        distances, own = parameters.squared_distances(query.x), int(query.target)
        distances[own] = np.inf
        other, x = int(distances.argmin()), np.array(query.x)
        self.toward = {own: 2 * (x - self.mu[own]), other: -2 * (x - self.mu[other])}

    def of(self, move: Move) -> float:
        i, records = move.record, self.records
        before, kept = float(self.weights[i]), move.s == records.s[i]
        after = before if kept else move.s * float(self.arriving[i])
        return self._moved(int(move.y), np.array(move.x), after) - self._moved(int(records.y[i]), records.X[i], before)

    def _moved(self, c: int, x: Vector, weight: float) -> float:
        """By a record of that weight more in class ``c``."""
        if c not in self.toward or weight == 0:
            return 0.0
        return float(self.toward[c] @ (x - self.mu[c])) * weight / float(self.totals[c])
