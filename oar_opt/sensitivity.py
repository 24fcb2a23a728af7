"""Margins as functions of the records' features: fast re-training, and slopes through the optimality conditions.

Letters of :mod:`oar_opt.risk`. The optimum satisfies ``F = lam r(theta) + sum_i a_i l'(y_i, f_i) xhat_i = 0``, so for a
change of record ``i``

    dF/d delta_i = a_i l'_i E + a_i l''_i xhat_i w',     d theta/d delta_i = -H^-1 dF/d delta_i,

with ``E`` the identity on the features' coordinates and ``H = lam r' + sum_i a_i l''_i xhat_i xhat_i'``. A quantity
with the gradient ``q`` in ``theta`` therefore has, with ``p = H^-1 q`` and ``p_w`` its part for the features, the slope

    d/d delta_i = -a_i ( l'_i p_w + l''_i (xhat_i'p) w ).

One solve per quantity (or per weighted sum of them) serves all records. Training is Newton's method from the last
optimum, and a single linear system where the loss is quadratic.

**Kinks.** A loss whose pull jumps has no such slopes. It is replaced by its Moreau envelope of a given width ``mu``,
whose pull at a jump ``[low, high]`` at ``k`` is ``clip((f - k) / mu, low, high)``; the l1 penalty likewise. Its
margins are not the learner's: whoever uses them corrects them by a real re-training, and lets ``mu`` shrink.

**Gradient steps** do not go to an optimum; their slopes are in :mod:`oar_opt.unrolled_sensitivity`.

**Nearest centroid.** Every pair of a subject and another class has its own quantity, ``||x_q - mu_c||^2 - ||x_q -
mu_t||^2``; a subject's margin is the smallest of its own. For given labels and weights running centroids are means,
too (:mod:`oar_opt.running_mean`).

Reference: S. Mei, X. Zhu, "Using Machine Teaching to Identify Optimal Training-Set Attacks on Machine Learners", 2015.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oar_opt.discovery import learner_of
from oar_opt.evaluate import Evaluation, evaluate_present
from oar_opt.problem import Indices, Matrix, Records, RecourseProblem, UpdateKind, Vector
from oar_opt.risk import Jump, Line, PenaltyNorm, RegularizedRisk
from oar_opt.running_mean import mean_weights

STEPS, SEARCHES = 100, 60
CONVERGED = 1e-12
"""Of the gradient, relative to what it is a sum of."""
DAMPING, LOOSE = 1e-13, 1e-9
"""Of the largest curvature, added to all; the latter where kinks are smoothed."""
FAR = 0.1
WIDENINGS = (256.0, 64.0, 16.0, 4.0)
LOSS = -1
"""The owner of the quantity that stands for ``max_loss_increase``."""


@dataclass(frozen=True, eq=False)
class Response:
    """``values (S,)`` of the quantities, and ``slopes(weights)``: the gradient ``(k, d)`` of ``weights @ values``."""

    values: Vector
    slopes: Callable[[Vector], Matrix]


class Margins(ABC):
    """What re-training gives the subjects, as a function of the features of the records ``rows (k,)``.

    The quantities' ``owners (S,)`` are the queries, then the guards, by number, and :data:`LOSS`: what is left of
    ``max_loss_increase``.
    """

    owners: Indices
    is_exact: bool = True

    @abstractmethod
    def at(self, X: Matrix) -> Response:
        """With the features ``X (k, d)`` in the rows."""

    def narrow(self, width: float) -> None:  # noqa: B027
        """Smooth kinks over this width from now on; nothing for learners without."""

    def actual(self, outcome: Evaluation) -> Vector:
        """The quantities of an outcome, ``(S,)``, where each subject has one; its margin for all of its own."""
        margins = (*outcome.margins, *outcome.guard_margins)
        limit, increase = outcome.problem.max_loss_increase, outcome.loss_increase
        slack = 0.0 if limit is None or increase is None else limit - increase
        return np.array([slack if owner == LOSS else margins[owner] for owner in self.owners])


def no_sensitivity(problem: RecourseProblem) -> str | None:
    """Why margins have no slopes here, or None."""
    learner = learner_of(problem)
    if problem.update.kind is UpdateKind.GRADIENT:
        bounded = problem.max_loss_increase is not None
        lacks = bounded and learner.risk(problem.learner, problem.d) is None
        return f"learner '{learner.kind}' is no regularised risk, so its loss has no known slopes" if lacks else None
    if problem.learner.is_centroid:
        return None
    risk = learner.risk(problem.learner, problem.d)
    if risk is None:
        return f"learner '{learner.kind}' is no regularised risk, so its margins have no known slopes"
    pieces = risk.loss.pieces(1.0) or ()
    if any(isinstance(piece, Jump) for piece in pieces) and any(
        isinstance(piece, Line) and piece.slope > 0 for piece in pieces
    ):
        return f"the loss of '{learner.kind}' has kinks between slanted lines, which are not smoothed here"
    return None


def margins_of(problem: RecourseProblem, records: Records, rows: Sequence[int]) -> Margins:
    """For records that are ``records`` but for the features of ``rows``, all of which have weight."""
    chosen = np.array(rows, dtype=np.int64)
    if problem.update.kind is UpdateKind.GRADIENT:
        from oar_opt.unrolled_sensitivity import UnrolledMargins

        return UnrolledMargins(problem, records, chosen)
    if problem.learner.is_centroid:
        return CentroidMargins(problem, records, chosen)
    risk = learner_of(problem).risk(problem.learner, problem.d)
    assert risk is not None, "see no_sensitivity"
    return RiskMargins(problem, risk, records, chosen)


# -- linear learners ---


def subject_owners(problem: RecourseProblem) -> Indices:
    """One quantity for each query and guard, and :data:`LOSS` where it is limited."""
    bounded = problem.max_loss_increase is not None
    count = len(problem.queries) + len(problem.guards)
    return np.array([*range(count), *([LOSS] if bounded else [])], dtype=np.int64)


def linear_subjects(problem: RecourseProblem, extend: Callable[[Matrix], Matrix]) -> tuple[Matrix, Vector]:
    """Margins are ``gradients (S, p) @ theta + constants (S,)``, with ``extend`` giving ``xhat`` of the features."""
    subjects = (*problem.queries, *problem.guards)
    targets = np.array([subject.target for subject in subjects])
    points = extend(np.array([subject.x for subject in subjects]))
    is_regression = problem.classes is None
    thresholds = np.array([subject.threshold if is_regression else 0.0 for subject in subjects])
    return targets[:, None] * points, -targets * thresholds


@dataclass(frozen=True, eq=False)
class LossSlack:
    """What is left of ``max_loss_increase``, and its gradient, as functions of ``theta (p,)``."""

    problem: RecourseProblem
    risk: RegularizedRisk

    @classmethod
    def of(cls, problem: RecourseProblem) -> LossSlack | None:
        """None where the loss is not limited."""
        if problem.max_loss_increase is None:
            return None
        risk = learner_of(problem).risk(problem.learner, problem.d)
        assert risk is not None, "see no_sensitivity"
        return cls(problem, risk)

    def __call__(self, theta: Vector) -> tuple[float, Vector]:
        X, y, a, before = self._history
        f = X @ theta
        limit = self.problem.max_loss_increase or 0.0
        return limit - (float(a @ self.risk.loss.value(y, f)) - before), -X.T @ (a * self.risk.loss.pull(y, f))

    @cached_property
    def _history(self) -> tuple[Matrix, Vector, Vector, float]:
        records, risk = self.problem.records, self.risk
        return risk.extend(records.X), records.y, risk.factor * records.s, _present_loss(self.problem)


# -- regularised risks ---


class RiskMargins(Margins):
    """See the module's docstring. ``theta`` is the last optimum, from which training goes on."""

    def __init__(self, problem: RecourseProblem, risk: RegularizedRisk, records: Records, rows: Indices) -> None:
        self.problem, self.risk, self.d = problem, risk, problem.d
        fixed = records.s > 0
        fixed[rows] = False
        order = np.concatenate([rows, np.flatnonzero(fixed)])
        self.k = len(rows)
        self.xhat = risk.extend(records.X[order])
        self.y, self.a = records.y[order], risk.factor * records.s[order]
        self.owners = subject_owners(problem)
        self.gradients, self.constants = linear_subjects(problem, risk.extend)
        self.loss_slack = LossSlack.of(problem)
        self._set_kinks()
        self.theta0, self.stiffness = np.array(risk.theta0, dtype=np.float64), risk.lam * risk.penalty
        self.theta, self.is_trained = self.theta0.copy(), False

    def _set_kinks(self) -> None:
        values, which = np.unique(self.y, return_inverse=True)
        pieces = [self.risk.loss.pieces(float(y)) for y in values]
        jumps = [[piece for piece in graph or () if isinstance(piece, Jump)] for graph in pieces]
        self.has_jumps = bool(jumps and jumps[0])
        table = np.array([[(jump.f, jump.g_low, jump.g_high) for jump in row] for row in jumps], dtype=np.float64)
        table = table[which]
        self.jumps = [tuple(part.T.copy()) for part in table.transpose(1, 0, 2)] if self.has_jumps else []
        self.is_exact = not self.has_jumps and self.risk.norm is PenaltyNorm.L2
        self.unit = 1.0 if self.problem.classes is not None else max(1e-6, float(np.std(self.y)))
        self.width = 0.1 * self.unit
        self.is_quadratic = self.is_exact and all(
            graph is not None and len(graph) == 1 and isinstance(graph[0], Line) for graph in pieces
        )

    def narrow(self, width: float) -> None:
        self.width = width * self.unit

    def at(self, X: Matrix) -> Response:
        self.xhat[: self.k] = self.risk.extend(X)
        if self.is_quadratic:
            return self._response(*self._solve_quadratic())
        self._train()
        f = self.xhat @ self.theta
        pull, bend = self._pull(f), self._bend(f)
        inverse = np.asarray(np.linalg.inv(self._hessian(bend)), dtype=np.float64)
        return self._response(pull[: self.k], bend[: self.k], inverse)

    # -- training ---

    @cached_property
    def _fixed_part(self) -> tuple[Matrix, Vector]:
        """Of a quadratic loss: ``H`` and the right side of all but the rows."""
        rest, a, y = self.xhat[self.k :], self.a[self.k :], self.y[self.k :]
        zero = np.zeros(len(y))
        bend, level = self.risk.loss.second_derivative(y, zero), self.risk.loss.pull(y, zero)
        weighted = rest.T * (a * bend)
        H = np.diag(self.stiffness) + weighted @ rest
        return H, self.stiffness * self.theta0 - rest.T @ (a * level)

    @cached_property
    def _own_part(self) -> tuple[Vector, Vector]:
        """Of a quadratic loss: slope and level of the rows' pulls."""
        zero = np.zeros(self.k)
        y, a = self.y[: self.k], self.a[: self.k]
        return self.risk.loss.second_derivative(y, zero), a * self.risk.loss.pull(y, zero)

    def _solve_quadratic(self) -> tuple[Vector, Vector, Matrix]:
        H, right = self._fixed_part
        bend, level = self._own_part
        own = self.xhat[: self.k]
        inverse: Matrix = np.linalg.inv(H + (own.T * (self.a[: self.k] * bend)) @ own)
        self.theta = inverse @ (right - own.T @ level)
        return self.risk.loss.pull(self.y[: self.k], own @ self.theta), bend, inverse

    def _train(self) -> None:
        """From the last optimum; at first, and where that does not end, from wide kinks down to the width asked for."""
        if (self.is_exact or self.is_trained) and self._descend():
            self.is_trained = True
            return
        width = self.width
        for wider in () if self.is_exact else WIDENINGS:
            self.width = wider * width
            self._descend()
        self.width = width
        self.is_trained = self._descend()

    def _descend(self) -> bool:
        """Newton's method, each step as far as the objective falls along it; whether it has converged."""
        f = self.xhat @ self.theta
        pull = self.a * self._pull(f)
        slope = self.xhat.T @ pull + self._drag(self.theta)
        largest = np.abs(self.xhat).max(axis=0)
        for _ in range(STEPS):
            size = largest * float(np.abs(pull).sum()) + np.abs(self._drag(self.theta))
            if (np.abs(slope) <= CONVERGED * (size + 1e-3)).all():
                return True
            step = -np.linalg.solve(self._hessian(self._bend(f)), slope)
            along, first, t = self.xhat @ step, float(slope @ step), 1.0
            low, high, theta = 0.0, np.inf, self.theta
            for _ in range(SEARCHES):
                theta = self.theta + t * step
                pull = self.a * self._pull(f + t * along)
                slope = self.xhat.T @ pull + self._drag(theta)
                now = float(slope @ step)
                if now <= -FAR * first and (t >= 1 or now >= first * (1 - FAR)):
                    break
                low, high = (t, high) if now < 0 else (low, t)
                t = 0.5 * (low + high)
            self.theta, f = theta, self.xhat @ theta
        return False

    def _pull(self, f: Vector) -> Vector:
        if not self.has_jumps:
            return self.risk.loss.pull(self.y, f)
        pulls: Vector = self.jumps[0][1].copy()
        for k, low, high in self.jumps:
            pulls += np.minimum(np.maximum((f - k) / self.width, low), high) - low
        return pulls

    def _bend(self, f: Vector) -> Vector:
        if not self.has_jumps:
            return self.risk.loss.second_derivative(self.y, f)
        bends = np.zeros(len(f))
        for k, low, high in self.jumps:
            ramp = (f - k) / self.width
            bends += (ramp > low) & (ramp < high)
        return bends / self.width

    def _drag(self, theta: Vector) -> Vector:
        shift = theta - self.theta0
        if self.risk.norm is PenaltyNorm.L1:
            shift = np.clip(shift / self.width, -1.0, 1.0)
        return self.stiffness * shift

    def _hessian(self, bend: Vector) -> Matrix:
        diagonal = self.stiffness
        if self.risk.norm is PenaltyNorm.L1:
            diagonal = diagonal * (np.abs(self.theta - self.theta0) < self.width) / self.width
        curved = np.flatnonzero(bend)
        part = self.xhat[curved]
        H: Matrix = (part.T * (self.a * bend)[curved]) @ part
        entries = H.diagonal() + diagonal
        # Where the curvature vanishes, as for an intercept that no record holds, steps are only damped.
        damping = (DAMPING if self.is_exact else LOOSE) * max(1e-3, float(entries.max()))
        H.flat[:: len(H) + 1] = entries + damping
        return H

    # -- quantities ---

    def _response(self, pull: Vector, bend: Vector, inverse: Matrix) -> Response:
        theta, own = self.theta, self.xhat[: self.k].copy()
        values, gradients = self.gradients @ theta + self.constants, self.gradients
        if self.loss_slack is not None:
            slack, slope = self.loss_slack(theta)
            values, gradients = np.append(values, slack), np.vstack([gradients, slope])
        a, w, d = self.a[: self.k], theta[: self.d], self.d

        def slopes(weights: Vector) -> Matrix:
            p = inverse @ (weights @ gradients)
            return -np.outer(a * pull, p[:d]) - np.outer(a * bend * (own @ p), w)

        return Response(values, slopes)


def _present_loss(problem: RecourseProblem) -> float:
    present = evaluate_present(problem)
    if present is None:
        return 0.0
    return learner_of(problem).training_loss(problem, problem.records, present.parameters)


# -- nearest centroid ---


class CentroidMargins(Margins):
    """See the module's docstring."""

    def __init__(self, problem: RecourseProblem, records: Records, rows: Indices) -> None:
        self.problem, self.classes = problem, len(problem.classes or ())
        y, s = records.y.astype(int), records.s
        base = np.zeros((self.classes, problem.d))
        self.totals = np.zeros(self.classes)
        if not problem.update.retrains:
            mean = mean_weights(problem, records.y, records.s)
            s, self.totals, base = mean.own, mean.base, mean.base[:, None] * mean.starts
        self.own, self.weights = y[rows], s[rows]
        self.totals = self.totals + _class_weights(y, s, self.classes)
        rest = s.copy()
        rest[rows] = 0.0
        self.sums = base + np.array([rest[y == c] @ records.X[y == c] for c in range(self.classes)])
        subjects = (*problem.queries, *problem.guards)
        pairs = [(q, c, int(t.target)) for q, t in enumerate(subjects) for c in range(self.classes) if c != t.target]
        owners, others, targets = np.array(pairs, dtype=np.int64).T
        self.points = np.array([subjects[q].x for q in owners])
        self.others, self.targets = others, targets
        bounded = problem.max_loss_increase is not None
        self.owners = np.append(owners, LOSS) if bounded else owners

    def at(self, X: Matrix) -> Response:
        sums = self.sums.copy()
        np.add.at(sums, self.own, self.weights[:, None] * X)
        mu = sums / self.totals[:, None]
        to_other, to_target = self.points - mu[self.others], self.points - mu[self.targets]
        values = (to_other**2).sum(axis=1) - (to_target**2).sum(axis=1)
        share = self.weights / self.totals[self.own]
        bounded = LOSS in self.owners
        if bounded:
            slack, loss_slope = self._loss_slack(mu)
            values = np.append(values, slack)

        def slopes(weights: Vector) -> Matrix:
            by_class = np.zeros_like(mu)
            pairs = weights[: len(self.others), None]
            np.add.at(by_class, self.others, -2 * pairs * to_other)
            np.add.at(by_class, self.targets, 2 * pairs * to_target)
            if bounded:
                by_class += weights[-1] * loss_slope
            gradient: Matrix = share[:, None] * by_class[self.own]
            return gradient

        return Response(values, slopes)

    def _loss_slack(self, mu: Matrix) -> tuple[float, Matrix]:
        """What is left of the harm to the fit: the loss is ``S_c ||mu_c - mean_c||^2``, but for a constant."""
        means, totals = self._history
        shift = mu - means
        limit = (self.problem.max_loss_increase or 0.0) + self._present_loss
        return limit - float(totals @ (shift**2).sum(axis=1)), -2 * totals[:, None] * shift

    @cached_property
    def _present_loss(self) -> float:
        present = evaluate_present(self.problem)
        if present is None or self.problem.update.retrains:
            return 0.0
        means, totals = self._history
        mu = present.parameters.vector().reshape(means.shape)
        return float(totals @ ((mu - means) ** 2).sum(axis=1))

    @cached_property
    def _history(self) -> tuple[Matrix, Vector]:
        records = self.problem.records
        y, s = records.y.astype(int), records.s
        totals = _class_weights(y, s, self.classes)
        sums = np.array([s[y == c] @ records.X[y == c] for c in range(self.classes)])
        return sums / np.where(totals > 0, totals, 1.0)[:, None], totals


def _class_weights(y: Indices, s: Vector, classes: int) -> Vector:
    return np.array([float(s[y == c].sum()) for c in range(classes)])
