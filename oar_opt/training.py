"""Re-training of regularised risks in the squared l2 norm, finished exactly, with a proof of accuracy.

Letters of :mod:`oar_opt.risk`. A learner brings a start (scikit-learn's, where it has the learner; an interior-point
method otherwise). A smooth loss is finished by :mod:`oar_opt.newton_training`, a polyline loss here: the finish guesses
on which piece of its graph every record lies. For a fixed guess the optimality conditions are linear in ``theta`` and
the pulls of the records that sit at a jump,

    lam R (theta - theta0) + sum_lines a_i (slope_i f_i + offset_i) xhat_i + sum_jumps g_i xhat_i = 0,
    xhat_i' theta = kink_i at the jumps;

records whose ``f`` leaves their line, or whose ``g`` leaves their jump, go to the neighbouring piece, and again until
none does.

How far the result can be from the optimum is proved. Let ``v = lam (w - w0) + sum g_i x_i`` be what stationarity
leaves, ``e_i`` how far in ``f`` record ``i`` is off its graph, ``D = w - w*``. Strong convexity of the penalty and
Fenchel duality give

    lam/2 ||D||^2 <= v'D + G,     G = sum_i [ a_i l(f_i) + (a_i l)*(g_i) - f_i g_i ],

each bracket at least 0, so ``||D|| <= (||v|| + sqrt(||v||^2 + 2 lam G)) / lam``. That is coarse at jumps, where a
bracket is of the order of ``e_i`` itself. There only the records ``E`` within reach of a jump can pull differently at
the optimum, provided that all others lie on flat lines. (Where no record is within reach of a jump at all, pulls may
be read off the graph at ``f``, and ``||D|| <= ||v|| / lam``.) Monotonicity gives ``lam ||D||^2 <= v'D + sum_E |g_i -
g_i*| e_i``, and stationarity ``sum_E (g_i - g_i*) xhat_i = v - lam D`` (in the penalised coordinates; 0 for a free
intercept). With the least singular value of the rows ``xhat_E``, where these are independent, and ``h = ||e|| /
sigma_min``,

    lam ||D||^2 <= ||v|| ||D|| + (||v|| + lam ||D||) h,     so     ||D|| <= ||v||/lam + h + sqrt(||v|| h / lam).

With a free intercept, what is left of its balance, ``r = sum g_i``, adds ``r (b - b*)`` to both right sides; the ends
of the interval of optimal intercepts move by at most the largest move of ``w'x_i``, which bounds ``b - b*`` where
``b`` is taken from that interval. Residuals are computed in extended precision.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from oar_opt.contracts import Fit
from oar_opt.optima import Optima
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import Flags, Indices, Intercept, Matrix, Records, RecourseProblem, Vector
from oar_opt.risk import Jump, Piece, RegularizedRisk

GOOD_ERROR = 1e-8
ROUNDS = 60
LIBSVM_STEPS = 200_000
"""libsvm has no other end on badly scaled records; the finish needs no exact start."""
NEARNESS = (1e-4, 1e-6, 1e-8)
TIE = 1e-7
"""An interval of optimal intercepts shorter than this is a point to the accuracy of training."""

Start = Callable[["Training"], "tuple[Vector, str] | None"]


def train(problem: RecourseProblem, risk: RegularizedRisk, records: Records, starts: Sequence[Start]) -> Fit:
    """Train from the first start that leads to an accurate result, else from the best one.

    ``starts`` give ``theta`` and the name of what trained; the interior-point method and Newton's come last.
    """
    task = training_of(risk, records)
    theta, error, backend = task.best((*starts, interior_point, from_prior))
    w, b = risk.split(theta)
    if risk.intercept is not Intercept.FREE or not isinstance(task, PolylineTraining):
        return Fit(LinearParameters.of(w, b), error, backend)
    low, high = task.optimal_intercepts(w)
    b = 0.5 * (low + high)
    tie = Optima.interval(w.tolist(), low, high) if high - low > TIE * max(1.0, abs(b)) else None
    return Fit(LinearParameters.of(w, b), error, backend, tie)


def training_of(risk: RegularizedRisk, records: Records) -> Training:
    """The training problem on the records that have weight, with the finish that its loss needs."""
    from oar_opt.newton_training import NewtonTraining

    used = records.s > 0
    kind = NewtonTraining if risk.loss.pieces(1.0) is None else PolylineTraining
    return kind(risk, risk.extend(records.X[used]), records.y[used], risk.factor * records.s[used])


def risk_loss(risk: RegularizedRisk, records: Records, parameters: Parameters) -> float:
    """The weighted loss on ``records``, without the penalty."""
    assert isinstance(parameters, LinearParameters)
    f = records.X @ np.array(parameters.w) + parameters.b
    return risk.factor * float(records.s @ risk.loss.value(records.y, f))


def without_class(problem: RecourseProblem, records: Records) -> str | None:
    """Why a free intercept is undefined for a loss that pulls each class one way only, or None."""
    if problem.learner.intercept is Intercept.FREE:
        for code in (-1, 1):
            if records.s[records.y == code].sum() <= 0:
                return f"class '{problem.label_of(code)}' has no weight left, so the free intercept is unbounded"
    return None


def without_weight(problem: RecourseProblem, records: Records) -> str | None:
    """Why a free intercept is undefined for a loss that pulls both ways, or None."""
    if problem.learner.intercept is Intercept.FREE and records.s.sum() <= 0:
        return "no record has positive weight, so the free intercept is undefined"
    return None


def from_prior(task: Training) -> tuple[Vector, str]:
    """Newton's method from ``theta0``: the finish alone, which ends quickly where the loss has no jump."""
    return np.array(task.risk.theta0), "Newton's method"


def interior_point(task: Training) -> tuple[Vector, str] | None:
    """The learner's own convex program, by Clarabel; None where that breaks down."""
    import cvxpy as cp

    risk = task.risk
    theta = cp.Variable(risk.p)
    shift = cp.multiply(np.sqrt(risk.penalty), theta - np.array(risk.theta0))
    losses = risk.loss.expression(task.y, task.xhat @ theta)
    program = cp.Problem(cp.Minimize(0.5 * risk.lam * cp.sum_squares(shift) + task.a @ losses))
    for tolerance in (1e-12, 1e-8):
        # So strict a tolerance is not always reached. Whatever start is used, the finish proves its result's accuracy.
        with contextlib.suppress(cp.SolverError):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                program.solve(solver=cp.CLARABEL, tol_gap_abs=tolerance, tol_gap_rel=tolerance, tol_feas=tolerance)
            if theta.value is not None and np.isfinite(theta.value).all():
                return np.asarray(theta.value, dtype=np.float64), "Clarabel"
    return None


def fit_quietly(model: Any, X: Matrix, y: Vector, s: Vector) -> None:
    """Fit a scikit-learn model; the proved error of the finish, not what it warns of, tells if it was enough."""
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(X, y, sample_weight=s)


def by_liblinear(task: Training, loss: str) -> tuple[Vector, str]:
    """scikit-learn's ``LinearSVC`` without its own intercept: a penalised one is a feature here."""
    from sklearn.svm import LinearSVC

    model = LinearSVC(loss=loss, C=task.risk.factor, fit_intercept=False, tol=1e-6, max_iter=20_000, random_state=0)
    fit_quietly(model, task.xhat, task.y, task.a / task.risk.factor)
    return np.asarray(model.coef_[0], dtype=np.float64), "scikit-learn LinearSVC"


@dataclass(frozen=True)
class Training(ABC):
    """One training problem: rows ``xhat (m, p)``, targets ``y (m,)``, effective weights ``a (m,)``, all positive."""

    risk: RegularizedRisk
    xhat: Matrix
    y: Vector
    a: Vector

    @property
    def free(self) -> bool:
        return self.risk.intercept is Intercept.FREE

    @property
    def features(self) -> Matrix:
        """The penalised columns, ``(m, p)`` or ``(m, p - 1)``."""
        return self.xhat[:, :-1] if self.free else self.xhat

    @property
    def origin(self) -> Vector:
        """The penalised part of ``theta0``."""
        theta0 = np.array(self.risk.theta0)
        return theta0[:-1] if self.free else theta0

    @abstractmethod
    def finish(self, theta: Vector) -> tuple[float, Vector]:
        """From a start to the optimum: the result's proved error and the result."""

    def best(self, starts: Sequence[Start]) -> tuple[Vector, float, str]:
        """``theta``, its proved error and the name of the start."""
        if not len(self.y):
            return np.array(self.risk.theta0), 0.0, "no record has weight"
        found: tuple[float, Vector, str] | None = None
        for start in starts:
            begun = start(self)
            if begun is None:
                continue
            error, theta = self.finish(begun[0])
            if found is None or error < found[0]:
                found = error, theta, begun[1]
            if error <= GOOD_ERROR:
                break
        assert found is not None, "at least one start always applies"
        return found[1], found[0], found[2]


@dataclass(frozen=True)
class PolylineTraining(Training):
    """With a polyline loss; see the module's docstring."""

    @cached_property
    def graphs(self) -> _Graphs:
        return _Graphs.of([self.risk.loss.pieces(y) or () for y in self.y])

    # -- the finish ---

    def finish(self, theta: Vector) -> tuple[float, Vector]:
        """The least error and its ``theta``, over guesses that take what is more or less near a jump to be at it."""
        scale = max(1.0, float(np.abs(theta).max(initial=0.0)))
        f, best = self.xhat @ theta, (math.inf, theta)
        for near in NEARNESS:
            guess = self._settle(self.graphs.pieces_at(f, near * scale))
            candidate, g = self._solve(guess, refinements=3)
            g = self._admissible(guess, candidate, g)
            best = min(best, (self.error(candidate, g), candidate), key=lambda pair: pair[0])
            if best[0] <= GOOD_ERROR:
                break
        return best

    def _settle(self, guess: Indices) -> Indices:
        """Correct the guess until nothing changes: all records at once, later only the one that is farthest off."""
        for turn in range(ROUNDS):
            theta, g = self._solve(guess)
            step, off = self._correct(guess, self.xhat @ theta, g)
            if not step.any():
                break
            if turn >= ROUNDS // 4:
                step = np.where(np.arange(len(step)) == int(np.argmax(off)), step, 0)
            guess = guess + step
        return guess

    def _admissible(self, guess: Indices, theta: Vector, g: Vector) -> Vector:
        """Pulls within the jumps. Where jumps depend on each other, others than the shortest solution may fit."""
        clipped = self.graphs.clip(guess, g, self.a)
        rows = np.arange(len(guess))
        jumps = self.graphs.is_jump[rows, guess]
        if np.allclose(clipped, g, rtol=1e-12, atol=1e-15) or not jumps.any():
            return clipped
        shift = theta - np.array(self.risk.theta0)
        rest = self.risk.lam * self.risk.penalty * shift + self.xhat[~jumps].T @ g[~jumps]
        low, high = self.a * self.graphs.g_low[rows, guess], self.a * self.graphs.g_high[rows, guess]
        clipped[jumps] = lsq_linear(self.xhat[jumps].T, -rest, bounds=(low[jumps], high[jumps]), tol=1e-14).x
        return clipped

    def _solve(self, guess: Indices, refinements: int = 0) -> tuple[Vector, Vector]:
        graphs, rows = self.graphs, np.arange(len(guess))
        jumps = graphs.is_jump[rows, guess]
        slope, offset = self.a * graphs.slope[rows, guess], self.a * graphs.offset[rows, guess]
        H = self.risk.lam * np.diag(self.risk.penalty) + (self.xhat.T * slope) @ self.xhat
        rhs = self.risk.lam * self.risk.penalty * np.array(self.risk.theta0) - self.xhat.T @ offset
        E, count = self.xhat[jumps], int(jumps.sum())
        system = np.block([[H, E.T], [E, np.zeros((count, count))]])
        kinks = graphs.f_low[rows, guess][jumps]
        target = np.concatenate([rhs, kinks])
        solution = np.linalg.lstsq(system, target, rcond=1e-13)[0]
        for _ in range(refinements):
            rest = target.astype(np.longdouble) - system.astype(np.longdouble) @ solution.astype(np.longdouble)
            solution = solution + np.linalg.lstsq(system, rest.astype(np.float64), rcond=1e-13)[0]
        theta: Vector = solution[: self.risk.p]
        if self.free and not count and not slope.any():
            # Only constant pulls: nothing holds the intercept, any optimal one will do.
            theta = np.append(theta[:-1], float(np.mean(self.optimal_intercepts(theta[:-1]))))
        g: Vector = slope * (self.xhat @ theta) + offset
        g[jumps] = solution[self.risk.p :]
        return theta, g

    def _correct(self, guess: Indices, f: Vector, g: Vector) -> tuple[Indices, Vector]:
        """The step to the neighbouring piece of every record that is off its own, and how far it is off."""
        graphs, rows = self.graphs, np.arange(len(guess))
        jumps = graphs.is_jump[rows, guess]
        pull = g / self.a
        above = np.where(jumps, pull - graphs.g_high[rows, guess], f - graphs.f_high[rows, guess])
        below = np.where(jumps, graphs.g_low[rows, guess] - pull, graphs.f_low[rows, guess] - f)
        slack = np.where(jumps, 1e-12, 1e-10 * max(1.0, float(np.abs(f).max(initial=0.0))))
        step: Indices = (above > slack).astype(np.int64) - (below > slack).astype(np.int64)
        return step, np.maximum(above, below)

    # -- how accurate ---

    def error(self, theta: Vector, g: Vector) -> float:
        """A bound on ``||w - w*||``; see the module's docstring."""
        lam, w, b = self.risk.lam, theta[: self.features.shape[1]], 0.0
        if self.free:
            b = float(np.mean(self.optimal_intercepts(w)))
        f = np.asarray(self.features.astype(np.longdouble) @ w.astype(np.longdouble) + b, dtype=np.float64)
        conjugate = self.a * self.risk.loss.conjugate(self.y, g / self.a)
        brackets = self.a * self.risk.loss.value(self.y, f) + conjugate - f * g
        gap = float(np.maximum(brackets, 0.0).sum())
        if not math.isfinite(gap):
            return math.inf
        lengths = np.linalg.norm(self.features, axis=1)
        longest = float(lengths.max(initial=0.0))
        rest = self._rest(w, g, longest)
        coarse = _root(lam / 2, rest, gap)
        reach = coarse * (lengths + (longest if self.free else 0.0)) * (1 + 1e-9) + 1e-15
        touched = self.graphs.touched(f, reach)
        if not (touched & self.graphs.is_jump).any():
            on_graph = self.a * self.risk.loss.pull(self.y, f)
            return min(coarse, self._rest(w, on_graph, longest) / lam)
        h = self._off_graph(f, g, touched)
        return min(coarse, _root(lam, rest + lam * h, rest * h))

    def _rest(self, w: Vector, g: Vector, longest: float) -> float:
        """``||v||``, with ``r`` times the longest record where the intercept is free."""
        precise = g.astype(np.longdouble)
        v = self.risk.lam * (w - self.origin.astype(np.longdouble)) + self.features.astype(np.longdouble).T @ precise
        return float(np.linalg.norm(v)) + (abs(float(precise.sum())) * max(longest, 1.0) if self.free else 0.0)

    def _off_graph(self, f: Vector, g: Vector, touched: Flags) -> float:
        """``h``; infinite where the argument does not hold."""
        graphs = self.graphs
        jumps = touched & graphs.is_jump
        if (touched & (graphs.slope != 0)).any() or (jumps.sum(axis=1) > 1).any():
            return math.inf
        near = jumps.any(axis=1)
        singular = np.linalg.svd(self.xhat[near], compute_uv=False)
        if near.sum() > self.risk.p or singular[-1] <= 1e-9 * singular[0]:
            return math.inf
        which = jumps.argmax(axis=1)[near]
        off = f[near] - graphs.f_low[near, which]
        low, high = graphs.g_low[near, which], graphs.g_high[near, which]
        pull = g[near] / self.a[near]
        miss = np.where(pull <= low, np.maximum(off, 0.0), np.where(pull >= high, np.maximum(-off, 0.0), np.abs(off)))
        rounding = 1e-16 * (1 + float(np.abs(f).max()))
        return (float(np.linalg.norm(miss)) + rounding) / float(singular[-1])

    # -- the free intercept ---

    def optimal_intercepts(self, w: Vector) -> tuple[float, float]:
        """The interval of all ``b`` that minimise ``sum a_i l(y_i, w'x_i + b)``: where the sum of pulls passes
        through 0.

        The sum is a monotone polyline in ``b``; its pieces change at ``f_end - w'x_i``.
        """
        at, steeper, higher, slope, level = self.graphs.changes(self.a, self.features @ w)
        return _zero_set(at, steeper, higher, slope, level, 1e-11 * float(self.a.sum()))


def _root(square: float, linear: float, constant: float) -> float:
    """The largest ``D`` with ``square D^2 <= linear D + constant``."""
    if not math.isfinite(linear + constant):
        return math.inf
    return (linear + math.sqrt(linear**2 + 4 * square * constant)) / (2 * square)


def _zero_set(
    at: Vector, steeper: Vector, higher: Vector, slope: float, level: float, tiny: float
) -> tuple[float, float]:
    """Where the monotone polyline ``slope b + level``, changed at ``at`` by ``(steeper, higher)``, is 0."""
    order = np.argsort(at, kind="stable")
    ends = np.append(at[order], math.inf)
    starts = np.insert(at[order], 0, -math.inf)
    slopes = slope + np.insert(np.cumsum(steeper[order]), 0, 0.0)
    levels = level + np.insert(np.cumsum(higher[order]), 0, 0.0)
    sloped = slopes > tiny * 1e-3
    with np.errstate(invalid="ignore"):
        first = np.where(sloped, slopes * starts, 0.0) + levels
        last = np.where(sloped, slopes * ends, 0.0) + levels
    crossing = np.where(sloped, -levels / np.where(sloped, slopes, 1.0), starts)
    k = int(np.argmax(last >= -tiny))
    low = min(max(crossing[k], starts[k]), ends[k]) if first[k] < -tiny else starts[k]
    k = int(np.argmax(last > tiny)) if (last > tiny).any() else len(ends) - 1
    high = max(starts[k], min(crossing[k], ends[k])) if first[k] <= tiny else starts[k]
    return float(low), float(high)


@dataclass(frozen=True)
class _Graphs:
    """The records' graphs side by side, ``(m, K)`` each; jumps have ``f_low == f_high``, padding no ``exists``."""

    f_low: Matrix
    f_high: Matrix
    slope: Matrix
    offset: Matrix
    g_low: Matrix
    g_high: Matrix
    is_jump: Flags
    exists: Flags

    @classmethod
    def of(cls, graphs: Sequence[tuple[Piece, ...]]) -> _Graphs:
        width = max((len(graph) for graph in graphs), default=0)
        table = np.zeros((6, len(graphs), width))
        table[0], table[1] = math.inf, -math.inf
        is_jump, exists = np.zeros((2, len(graphs), width), dtype=bool)
        for i, graph in enumerate(graphs):
            for k, piece in enumerate(graph):
                exists[i, k] = True
                if isinstance(piece, Jump):
                    is_jump[i, k] = True
                    table[:, i, k] = piece.f, piece.f, 0.0, 0.0, piece.g_low, piece.g_high
                else:
                    table[:4, i, k] = piece.f_low, piece.f_high, piece.slope, piece.offset
        f_low, f_high, slope, offset, g_low, g_high = table
        return cls(f_low, f_high, slope, offset, g_low, g_high, is_jump, exists)

    def touched(self, f: Vector, reach: Vector) -> Flags:
        """The pieces within reach of every ``f``."""
        within: Flags = (self.f_low <= (f + reach)[:, None]) & (self.f_high >= (f - reach)[:, None]) & self.exists
        return within

    def pieces_at(self, f: Vector, near: float) -> Indices:
        """The piece at every ``f``; a jump attracts what is near, else the first line that reaches so far."""
        jumps = self.is_jump & (np.abs(np.where(self.is_jump, self.f_low, math.inf) - f[:, None]) <= near)
        lines = ~self.is_jump & self.exists & (f[:, None] <= self.f_high)
        chosen: Indices = np.where(jumps.any(axis=1), jumps.argmax(axis=1), lines.argmax(axis=1))
        return chosen

    def clip(self, guess: Indices, g: Vector, a: Vector) -> Vector:
        """The pulls of records at a jump, cut to the jump."""
        rows = np.arange(len(guess))
        low, high = a * self.g_low[rows, guess], a * self.g_high[rows, guess]
        clipped: Vector = np.where(self.is_jump[rows, guess], np.clip(g, low, high), g)
        return clipped

    def changes(self, a: Vector, shift: Vector) -> tuple[Vector, Vector, Vector, float, float]:
        """The sum of all pulls at ``f_i = shift_i + b``, a polyline in ``b``: where and how it changes and starts."""
        at, steeper, higher = [], [], []
        lines = [np.flatnonzero(~self.is_jump[i] & self.exists[i]) for i in range(len(a))]
        first = np.array([ks[0] for ks in lines])
        rows = np.arange(len(a))
        slope, offset = self.slope[rows, first], self.offset[rows, first]
        for i, ks in enumerate(lines):
            for left, right in pairwise(ks):
                slope_gain = self.slope[i, right] - self.slope[i, left]
                at.append(self.f_high[i, left] - shift[i])
                steeper.append(a[i] * slope_gain)
                higher.append(a[i] * (slope_gain * shift[i] + self.offset[i, right] - self.offset[i, left]))
        return (
            np.array(at),
            np.array(steeper),
            np.array(higher),
            float(a @ slope),
            float(a @ (slope * shift + offset)),
        )
