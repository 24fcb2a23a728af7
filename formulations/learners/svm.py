"""Linear support vector machine: hinge loss and a squared norm.

Minimises ``1/2 ||w||^2 + C sum_i s_i max(0, 1 - y_i f_i)``: ``lam = 1``, ``a_i = C s_i``. The graph of the
subdifferential for ``y = 1`` has three pieces: ``g = -1`` left of ``f = 1``, the jump from -1 to 0 at ``f = 1``, and
0 to the right. ``w`` is unique. A free intercept is not always: where no record with a fractional pull pins it, a
whole interval is optimal, and the instance's ``position`` says which of its points the learner takes.

Re-training starts from scikit-learn (``SVC`` for a free intercept, ``LinearSVC`` otherwise; an interior-point method
where scikit-learn has no such learner: a prior, or one class alone) and finishes with an active-set step that solves
the optimality conditions exactly.

How far the result can be from the optimum is proved twice. First by the duality gap, ``1/2 ||w - w*||^2 <= gap``.
Then only the records ``E`` whose margin is within that distance of 1 can pull differently at the optimum. Let ``e_i``
be how far such a record is off the graph. Monotonicity gives ``||w - w*||^2 <= sum_E |g_i - g_i*| e_i``, and
stationarity ``sum_E (g_i - g_i*) xhat_i = -(w - w*)`` (0 for a free intercept), so that ``||w - w*|| <= ||e|| /
sigma_min`` with the least singular value of the rows ``xhat_E``, where these are independent. With a free intercept,
the optimal intercepts are weighted quantiles of ``y_i - w'x_i``, so they move by at most the largest move of those.

Reference: C. Cortes, V. Vapnik, "Support-Vector Networks", 1995.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from oar_opt.contracts import Fit, Learner, WorkedExample, line_example
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import Flags, Intercept, LearnerSpec, Matrix, Records, RecourseProblem, Vector
from oar_opt.risk import Jump, Line, Loss, Piece, RegularizedRisk

GOOD_ERROR = 1e-7
TIE = 1e-7
"""An interval of optimal intercepts shorter than this is a point to the accuracy of training."""


class HingeLoss(Loss):
    """``max(0, 1 - y f)`` for ``y`` in {-1, +1}; conjugate ``y g`` on ``-1 <= y g <= 0``."""

    def value(self, y: Vector, f: Vector) -> Vector:
        return np.maximum(0.0, 1 - y * f)

    def pull(self, y: Vector, f: Vector) -> Vector:
        return np.where(y * f < 1, -y, 0.0)

    def pull_range(self, y: float) -> tuple[float, float]:
        return (-1.0, 0.0) if y > 0 else (0.0, 1.0)

    def conjugate(self, y: Vector, g: Vector) -> Vector:
        inside = (y * g >= -1 - 1e-12) & (y * g <= 1e-12)
        return np.where(inside, y * g, math.inf)

    def pieces(self, y: float) -> tuple[Piece, ...]:
        low, high = self.pull_range(y)
        return Line(-math.inf, y, 0.0, low), Jump(y, low, high), Line(y, math.inf, 0.0, high)

    def kinks(self, y: Vector) -> Vector:
        return np.asarray(y, dtype=float)


class SupportVectorMachine(Learner):
    """Re-trained by scikit-learn's ``SVC`` and ``LinearSVC``, finished exactly; see the module's docstring."""

    kind = "svm"

    def risk(self, spec: LearnerSpec, d: int) -> RegularizedRisk:
        assert spec.C is not None
        return RegularizedRisk.of(spec, d, HingeLoss(), lam=1.0, factor=spec.C)

    def examples(self) -> tuple[WorkedExample, ...]:
        return (
            WorkedExample(
                line_example(LearnerSpec("svm", C=1.0)),
                0.5,
                "w + [w > -1] - 2 [w < 1/2] changes sign at 1/2 for (2, +); staying gives -1, reporting + gives 0",
            ),
        )

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        if problem.learner.intercept is not Intercept.FREE:
            return None
        for code in (-1, 1):
            if records.s[records.y == code].sum() <= 0:
                return f"class '{problem.label_of(code)}' has no weight left, so the free intercept is unbounded"
        return None

    def fit(self, problem: RecourseProblem, records: Records) -> Fit:
        risk = self.risk(problem.learner, problem.d)
        used = records.s > 0
        task = _Training(risk, risk.extend(records.X[used]), records.y[used], risk.factor * records.s[used])
        theta, u, backend = task.train()
        w, b = risk.split(theta)
        if not task.free:
            return Fit(LinearParameters.of(w, b), task.distance(u), backend)
        low, high = task.intercepts(theta)
        b = 0.5 * (low + high)
        tie = (low, high) if high - low > TIE * max(1.0, abs(b)) else None
        return Fit(LinearParameters.of(w, b), task.distance(u), backend, tie)

    def training_loss(self, problem: RecourseProblem, records: Records, parameters: Parameters) -> float:
        assert isinstance(parameters, LinearParameters) and problem.learner.C is not None
        f = records.X @ np.array(parameters.w) + parameters.b
        return problem.learner.C * float(records.s @ np.maximum(0.0, 1 - records.y * f))


@dataclass(frozen=True)
class _Training:
    """One quadratic program in its dual: ``theta = theta0 + sum u_i y_i xhat_i``, ``0 <= u_i <= a_i``."""

    risk: RegularizedRisk
    xhat: Matrix
    y: Vector
    a: Vector

    @property
    def free(self) -> bool:
        return self.risk.intercept is Intercept.FREE

    @property
    def columns(self) -> Matrix:
        """The penalised coordinates of ``y_i xhat_i``, ``(m, p or p - 1)``."""
        signed: Matrix = self.y[:, None] * self.xhat
        return signed[:, :-1] if self.free else signed

    @property
    def origin(self) -> Vector:
        theta0 = np.array(self.risk.theta0)
        return theta0[:-1] if self.free else theta0

    def train(self) -> tuple[Vector, Vector, str]:
        """``theta``, the dual ``u`` and the name of what trained: the first that is accurate, else the best."""
        best: tuple[float, Vector, Vector, str] | None = None
        for attempt in (self._by_sklearn, self._by_interior_point):
            start = attempt()
            if start is None:
                continue
            theta, backend = start
            polished, u = self._active_set(theta)
            error = self.distance(u)
            if best is None or error < best[0]:
                best = error, polished, u, backend
            if error <= GOOD_ERROR:
                break
        assert best is not None
        return best[1:]

    def _by_sklearn(self) -> tuple[Vector, str] | None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import SVC, LinearSVC

        if len(set(self.y)) < 2 or self.origin.any():
            return None
        s = self.a / self.risk.factor
        if self.free:
            svc = SVC(kernel="linear", C=self.risk.factor, tol=1e-6).fit(self.xhat[:, :-1], self.y, sample_weight=s)
            return np.append(svc.coef_[0], svc.intercept_[0]), "scikit-learn SVC"
        model = LinearSVC(
            loss="hinge", C=self.risk.factor, fit_intercept=False, tol=1e-6, max_iter=20_000, random_state=0
        )
        with warnings.catch_warnings():
            # The duality gap, not the iteration count, decides below whether this start was good enough.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(self.xhat, self.y, sample_weight=s)
        return model.coef_[0], "scikit-learn LinearSVC"

    def _by_interior_point(self) -> tuple[Vector, str]:
        import cvxpy as cp

        if not len(self.y):
            return np.array(self.risk.theta0), "no record"
        theta = cp.Variable(self.risk.p)
        shift = cp.multiply(np.sqrt(self.risk.penalty), theta - np.array(self.risk.theta0))
        losses = cp.pos(1 - cp.multiply(self.y, self.xhat @ theta))
        cp.Problem(cp.Minimize(0.5 * cp.sum_squares(shift) + self.a @ losses)).solve(solver=cp.CLARABEL)
        return np.asarray(theta.value), "Clarabel"

    def _active_set(self, theta: Vector) -> tuple[Vector, Vector]:
        """Guess which margins are below, at and above 1; solve for exactly that; correct the guess; repeat."""
        margin = self.y * (self.xhat @ theta)
        at, below = np.abs(margin - 1) <= 1e-4 * max(1.0, float(np.abs(theta).max(initial=0.0))), margin < 1
        best = (math.inf, theta, np.where(below, self.a, 0.0))
        for _ in range(60):
            below = below & ~at
            theta, u = self._solve_active(at, below)
            clipped = np.clip(u, 0.0, self.a)
            error = self.distance(clipped)
            if error < best[0]:
                best = error, theta, clipped
            margin = self.y * (self.xhat @ theta)
            slack = 1e-10 * max(1.0, float(np.abs(theta).max(initial=0.0)))
            enter = (below & (margin > 1 + slack)) | (~at & ~below & (margin < 1 - slack))
            leave_low = at & (u < -1e-12 * (1 + self.a))
            leave_high = at & (u > self.a * (1 + 1e-12))
            if not (enter.any() or leave_low.any() or leave_high.any()):
                break
            at = (at | enter) & ~leave_low & ~leave_high
            below = (below & ~enter) | leave_high
        _, theta, u = best
        if not self.free:
            theta = self.origin + self.columns.T @ u
        return theta, u

    def _solve_active(self, at: Flags, below: Flags) -> tuple[Vector, Vector]:
        columns, u = self.columns, np.where(below, self.a, 0.0)
        base = self.origin + columns.T @ u
        E, count = columns[at], int(at.sum())
        system, target = E @ E.T, 1 - E @ base
        if self.free and not count:
            return np.append(base, float(np.mean(self._optimal_intercepts(base)))), u
        if self.free:
            signs = self.y[at]
            system = np.block([[system, signs[:, None]], [signs[None, :], np.zeros((1, 1))]])
            target = np.append(target, -float(self.y @ u))
        solution = np.linalg.lstsq(system, target, rcond=1e-12)[0] if count else np.zeros(0)
        u = u.copy()
        u[at] = solution[:count]
        w = base + E.T @ solution[:count]
        return (np.append(w, solution[count]) if self.free else w), u

    def distance(self, u: Vector) -> float:
        """A bound on ``||w(u) - w*||`` with ``w(u) = w0 + sum u_i y_i x_i``; see the module's docstring."""
        w = self.origin + self.columns.T @ u
        b, unbalanced = 0.0, 0.0
        if self.free:
            unbalanced = abs(float(self.y @ u))
            if unbalanced > 1e-9 * (1 + float(u.sum())):
                return math.inf
            b = float(np.mean(self._optimal_intercepts(w)))
        coarse = math.sqrt(2 * (self._gap(u, w, b) + unbalanced * (1 + 2 * abs(b))))
        return min(coarse, self._sharpened(u, w, b, coarse))

    def _sharpened(self, u: Vector, w: Vector, b: float, coarse: float) -> float:
        """Only records within reach of their kink can pull differently at the optimum; those determine the distance."""
        slack = 1 - self.columns @ w - self.y * b
        lengths = np.linalg.norm(self.columns, axis=1)
        reach = coarse * (lengths + (lengths.max(initial=0.0) if self.free else 0.0))
        near = np.abs(slack) <= reach * (1 + 1e-9) + 1e-15
        miss = np.where(u <= 0, np.maximum(slack, 0.0), np.where(u >= self.a, np.maximum(-slack, 0.0), np.abs(slack)))
        if (miss[~near] > 0).any():
            return math.inf
        if not near.any():
            return 0.0
        singular = np.linalg.svd(self.xhat[near], compute_uv=False)
        if near.sum() > self.risk.p or singular[-1] <= 1e-9 * singular[0]:
            return math.inf
        return float(np.linalg.norm(miss[near]) + 1e-15) / float(singular[-1])

    def _gap(self, u: Vector, w: Vector, b: float) -> float:
        """Sum over records of loss plus conjugate minus product: each term is at least 0."""
        slack = 1 - self.columns @ w - self.y * b
        terms = self.a * np.maximum(0.0, slack) - u * slack
        return float(np.maximum(terms, 0.0).sum())

    def intercepts(self, theta: Vector) -> tuple[float, float]:
        return self._optimal_intercepts(theta[:-1])

    def _optimal_intercepts(self, w: Vector) -> tuple[float, float]:
        """All minimisers of ``sum a_i max(0, 1 - y_i (w'x_i + b))`` over ``b``: slopes change at ``y_i - w'x_i``."""
        breaks = self.y - self.xhat[:, :-1] @ w
        order = np.argsort(breaks, kind="stable")
        slope = np.append(0.0, np.cumsum(self.a[order])) - self.a[self.y > 0].sum()
        tiny = 1e-11 * (1 + float(self.a.sum()))
        # slope[k] is the slope right of the k-th smallest break (left of the first for k = 0)
        first = int(np.argmax(slope >= -tiny))
        last = int(np.argmax(slope > tiny)) if (slope > tiny).any() else len(breaks)
        return float(breaks[order[max(first - 1, 0)]]), float(breaks[order[min(last, len(breaks)) - 1]])
