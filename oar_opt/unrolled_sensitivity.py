"""Margins after gradient steps as functions of the records' features: replayed forwards, differentiated backwards.

Letters of the update rule ``gradient``. Its steps are

    theta_(t+1) = D theta_t - sum_(i in B_t) c_ti l'(y_i, f_ti) xhat_i,     f_ti = xhat_i' theta_t,

with ``c_ti = rate s_i / S_t`` and ``D`` the diagonal matrix of what a step keeps; the weights ``s``, hence the divisors
``S_t``, do not depend on features. Their differentials are

    d theta_(t+1) = (D - sum_i c_ti l''_ti xhat_i xhat_i') d theta_t - sum_i c_ti ( l'_ti E + l''_ti xhat_i w_t' ) d_i

for changes ``d_i`` of the features, with ``E`` the identity on their coordinates and ``w_t`` the part of ``theta_t``
for them. A quantity with the gradient ``q`` in ``theta_T`` changes by ``p_(t+1)'`` times the last term, summed over
the steps, where the adjoints follow the transposed recursion

    p_T = q,     p_t = D p_(t+1) - sum_i c_ti l''_ti (xhat_i' p_(t+1)) xhat_i .

Hence, one pass backwards for each weighted sum of quantities, for all records at once,

    d/d d_i = - sum over the steps t with i in B_t of  c_ti ( l'_ti p_(t+1),w + l''_ti (xhat_i' p_(t+1)) w_t ) ;

a record that arrives in several batches adds up, one in none has the slope 0. At ``theta_0``, which is given, the pulls
of records that stay are constants; so a single step costs nothing but the members' own records.

**Kinks.** The hinge's derivative is ``-y`` or 0 and changes at the kink alone, so no slope says what it is worth to
carry a record past it. As for re-training, it is replaced by that of the Moreau envelope of a given width ``mu``,
``-y clip((1 - y f) / mu, 0, 1)``. These margins are not the rule's: whoever uses them corrects them by a real replay,
and lets ``mu`` shrink.

Reference: D. Maclaurin, D. Duvenaud, R. P. Adams, "Gradient-based Hyperparameter Optimization through Reversible
Learning", 2015; A. Griewank, A. Walther, "Evaluating Derivatives", 2008 (the adjoint recursion).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oar_opt.problem import Indices, Matrix, Records, RecourseProblem, Vector
from oar_opt.sensitivity import LossSlack, Margins, Response, linear_subjects, subject_owners
from oar_opt.update_settings import GradientSettings, StepLoss

STEEPER = 0.1
"""Ramps are shorter than asked for by this: no optimum follows here that evens out what a wide one misplaces."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The records of one step that have weight: members' (``own`` numbers them among the rows) and all others.

    ``X (m, p)`` are the others' features, extended; ``c`` is the step length times the weight's share.
    """

    own: Indices
    own_y: Vector
    own_c: Vector
    X: Matrix
    y: Vector
    c: Vector


@dataclass(frozen=True, eq=False)
class _Step:
    """What a step began with, and its pulls and bends, times ``c``: the members' and the others'."""

    theta: Vector
    own_pull: Vector
    own_bend: Vector
    bend: Vector


class UnrolledMargins(Margins):
    """See the module's docstring."""

    def __init__(self, problem: RecourseProblem, records: Records, rows: Indices) -> None:
        self.settings = GradientSettings.of(problem)
        self.d, self.k = problem.d, len(rows)
        self.is_exact = self.settings.loss is not StepLoss.HINGE
        self.narrow(0.1)
        self.owners = subject_owners(problem)
        self.gradients, self.constants = linear_subjects(problem, self.settings.extend)
        self.loss_slack = LossSlack.of(problem)
        self.batches = self._batches(records, rows)
        self.first = self._others_first()

    def narrow(self, width: float) -> None:
        self.width = STEEPER * width

    def _batches(self, records: Records, rows: Indices) -> list[Batch]:
        """Of every step; equal ones are one object, for without batches of its own every step sees all records."""
        place = np.full(records.n, -1)
        place[rows] = np.arange(len(rows))
        known: dict[bytes, Batch] = {}
        for members in self.settings.batches:
            if members.tobytes() not in known:
                known[members.tobytes()] = self._batch(records, place, members)
        return [known[members.tobytes()] for members in self.settings.batches]

    def _batch(self, records: Records, place: Indices, members: Indices) -> Batch:
        here = members[records.s[members] > 0]
        total = float(records.s[here].sum()) if self.settings.is_mean else 1.0
        # An empty mean is undefined, which the rule says; nobody looks at its margins.
        c = self.settings.rate * records.s / (total or 1.0)
        own, others = here[place[here] >= 0], here[place[here] < 0]
        X = self.settings.extend(records.X[others])
        return Batch(place[own], records.y[own], c[own], X, records.y[others], c[others])

    def _others_first(self) -> Vector:
        """``theta_1`` but for the members' pulls. Kinks need no smoothing there: nothing that moves is near them."""
        theta, batch = self.settings.theta0, self.batches[0]
        pull = _pull(self.settings.loss, batch.y, batch.X @ theta, 0.0)
        first: Vector = self.settings.kept * theta - (batch.c * pull) @ batch.X
        return first

    # -- forwards ---

    def at(self, X: Matrix) -> Response:
        own, steps = self.settings.extend(X), []
        theta = self.settings.theta0
        for t, batch in enumerate(self.batches):
            xhat = own[batch.own]
            others = self.first if t == 0 else None
            step, theta = self._advance(batch, xhat, theta, others)
            steps.append(step)
        values, gradients = self.gradients @ theta + self.constants, self.gradients
        if self.loss_slack is not None:
            slack, slope = self.loss_slack(theta)
            values, gradients = np.append(values, slack), np.vstack([gradients, slope])
        return Response(values, lambda weights: self._backwards(own, steps, weights @ gradients))

    def _advance(self, batch: Batch, xhat: Matrix, theta: Vector, others: Vector | None) -> tuple[_Step, Vector]:
        """One step from ``theta``; ``others`` is its result but for the members' pulls, where that is known."""
        own_pull, own_bend = self._pull_and_bend(batch.own_y, batch.own_c, xhat @ theta)
        bend = np.zeros(0)
        if others is None:
            pull, bend = self._pull_and_bend(batch.y, batch.c, batch.X @ theta)
            others = self.settings.kept * theta - pull @ batch.X
        return _Step(theta, own_pull, own_bend, bend), others - own_pull @ xhat

    def _pull_and_bend(self, y: Vector, c: Vector, f: Vector) -> tuple[Vector, Vector]:
        loss, width = self.settings.loss, self.width
        return c * _pull(loss, y, f, width), c * _bend(loss, y, f, width)

    # -- backwards ---

    def _backwards(self, own: Matrix, steps: list[_Step], q: Vector) -> Matrix:
        """The slopes ``(k, d)`` of a quantity with the gradient ``q`` in the last parameters."""
        slopes, p = np.zeros((self.k, self.d)), q
        for t in reversed(range(len(steps))):
            batch, step = self.batches[t], steps[t]
            xhat = own[batch.own]
            bent = step.own_bend * (xhat @ p)
            slopes[batch.own] -= np.outer(step.own_pull, p[: self.d]) + np.outer(bent, step.theta[: self.d])
            if t > 0:
                p = self.settings.kept * p - bent @ xhat - (step.bend * (batch.X @ p)) @ batch.X
        return slopes


def _pull(loss: StepLoss, y: Vector, f: Vector, width: float) -> Vector:
    """``l'(y, f)``, a hinge's smoothed over ``width``, where that is not 0."""
    match loss:
        case StepLoss.SQUARED:
            pull = 2.0 * (f - y)
        case StepLoss.LOGISTIC:
            pull = -y * np.exp(-np.logaddexp(0.0, y * f))
        case StepLoss.HINGE:
            pull = -y * (np.clip((1.0 - y * f) / width, 0.0, 1.0) if width > 0 else y * f < 1.0)
    return pull


def _bend(loss: StepLoss, y: Vector, f: Vector, width: float) -> Vector:
    """``l''(y, f)``."""
    match loss:
        case StepLoss.SQUARED:
            bend = np.full(len(f), 2.0)
        case StepLoss.LOGISTIC:
            bend = np.exp(-np.logaddexp(0.0, f) - np.logaddexp(0.0, -f))
        case StepLoss.HINGE:
            ramp = (1.0 - y * f) / width
            bend = np.where((ramp > 0.0) & (ramp < 1.0), 1.0 / width, 0.0)
    return bend
