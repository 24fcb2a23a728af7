"""Re-training of regularised risks in the squared l2 norm, finished exactly, with a proof of accuracy.

Letters of :mod:`oar_opt.risk`. A learner brings a start (scikit-learn's, where it has the learner; an interior-point
method otherwise). A smooth loss is finished by :mod:`oar_opt.newton_training`, a polyline loss here: the finish guesses
on which piece of its graph every record lies. For a fixed guess the optimality conditions are linear in ``theta`` and
the pulls of the records that sit at a jump,

    lam R (theta - theta0) + sum_lines a_i (slope_i f_i + offset_i) xhat_i + sum_jumps g_i xhat_i = 0,
    xhat_i' theta = kink_i at the jumps;

records whose ``f`` leaves their line, or whose ``g`` leaves their jump, go to the neighbouring piece, and again until
none does. All of it happens in coordinates that suit records far from 0 (:mod:`oar_opt.round_coordinates`).

How far the result can be from the optimum is proved. A guess's own exact solution is enclosed by
:mod:`oar_opt.stationary_system`. If within the enclosure every ``f`` stays on its line and every ``g`` in its jump,
that solution satisfies the optimality conditions, so it is *the* optimum, and the enclosure holds for it.

Where records lie at the very end of a piece this cannot be told. Then let ``v = lam (w - w0) + sum g_i x_i`` be what
stationarity leaves, ``e_i`` how far in ``f`` record ``i`` is off its graph, ``D = w - w*``. Strong convexity of the
penalty and Fenchel duality give

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
``b`` is taken from that interval. There features are measured from their mean ``c``, which gives the same learner with
the intercept ``c'w + b``. Residuals are computed in extended precision.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from oar_opt.contracts import Accuracy, Fit
from oar_opt.optima import Optima
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import Flags, Indices, Intercept, Matrix, Records, RecourseProblem, Vector
from oar_opt.risk import Jump, Piece, RegularizedRisk
from oar_opt.round_coordinates import EPS, ROUNDING, Precise, RoundCoordinates, precise
from oar_opt.stationary_system import Enclosure, StationarySystem

GOOD_ERROR = 1e-8
ROUNDS = 60
LIBSVM_STEPS = 200_000
"""libsvm has no other end on badly scaled records; the finish needs no exact start."""
UNEVEN = 100.0
"""Spreads of the records that differ by more than this are too much for coordinate descent."""
NEARNESS = (1e-4, 1e-6, 1e-8)
TIE = 1e-7
"""An interval of optimal intercepts shorter than this is a point to the accuracy of training."""

Start = Callable[["Training"], "tuple[Vector, str] | None"]


def train(problem: RecourseProblem, risk: RegularizedRisk, records: Records, starts: Sequence[Start]) -> Fit:
    """Train from the first start that leads to an accurate result, else from the best one.

    ``starts`` give ``theta`` and the name of what trained; the interior-point method and Newton's come last.
    """
    task = training_of(risk, records)
    found, backend = task.best((*starts, interior_point, from_prior))
    w, b = risk.split(found.theta)
    if found.is_point or not task.free or not isinstance(task, PolylineTraining):
        return Fit(LinearParameters.of(w, b), found.error, backend, accuracy=found.accuracy)
    low, high = task.optimal_intercepts(w)
    middle = 0.5 * (low + high)
    is_tie = high - low > TIE * max(1.0, abs(task.at_centre(w, middle)))
    if is_tie or not found.is_enclosed:
        b = middle
    tie = Optima.interval(w.tolist(), low, high) if is_tie else None
    return Fit(LinearParameters.of(w, b), found.error, backend, tie, found.accuracy)


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

    risk, coordinates = task.risk, task.coordinates
    eta = cp.Variable(risk.p)
    shift = cp.multiply(np.sqrt(risk.penalty), coordinates.T @ eta - np.array(risk.theta0))
    losses = risk.loss.expression(task.y, coordinates.z @ eta)
    program = cp.Problem(cp.Minimize(0.5 * risk.lam * cp.sum_squares(shift) + task.a @ losses))
    for tolerance in (1e-12, 1e-8):
        # So strict a tolerance is not always reached. Whatever start is used, the finish proves its result's accuracy.
        with contextlib.suppress(cp.SolverError):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                program.solve(solver=cp.CLARABEL, tol_gap_abs=tolerance, tol_gap_rel=tolerance, tol_feas=tolerance)
            if eta.value is not None and np.isfinite(eta.value).all():
                return np.asarray(coordinates.T @ eta.value, dtype=np.float64), "Clarabel"
    return None


def fit_quietly(model: Any, X: Matrix, y: Vector, s: Vector) -> None:
    """Fit a scikit-learn model; the proved error of the finish, not what it warns of, tells if it was enough."""
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(X, y, sample_weight=s)


def by_liblinear(task: Training, loss: str) -> tuple[Vector, str] | None:
    """scikit-learn's ``LinearSVC`` without its own intercept: a penalised one is a feature here. None on records that
    are far from 0, where it does not end in time."""
    from sklearn.svm import LinearSVC

    if task.coordinates.unevenness > UNEVEN:
        return None
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

    @cached_property
    def coordinates(self) -> RoundCoordinates:
        return RoundCoordinates(self.risk, self.xhat)

    @cached_property
    def centred(self) -> Matrix:
        """The penalised columns, measured from their mean where the intercept is free."""
        if not self.free:
            return self.features
        return np.asarray(precise(self.features) - self.coordinates.centre, dtype=np.float64)

    def from_centred(self, w: Vector, at_centre: float) -> Vector:
        """``theta`` of a free intercept's learner trained on :attr:`centred`."""
        return np.append(w, float(at_centre - precise(w) @ self.coordinates.centre))

    @abstractmethod
    def finish(self, theta: Vector) -> Trained:
        """From a start to the optimum, with its proved error."""

    def best(self, starts: Sequence[Start]) -> tuple[Trained, str]:
        """The most accurate result and the name of its start."""
        if not len(self.y):
            return Trained(np.array(self.risk.theta0), 0.0, None), "no record has weight"
        found: tuple[Trained, str] | None = None
        for start in starts:
            begun = start(self)
            if begun is None:
                continue
            trained = self.finish(begun[0])
            if found is None or trained.inaccuracy < found[0].inaccuracy:
                found = trained, begun[1]
            if trained.inaccuracy <= GOOD_ERROR:
                break
        assert found is not None, "at least one start always applies"
        return found

    def enclosed(self, theta: Vector, enclosure: Enclosure) -> Trained:
        """A result whose distance from the optimum is enclosed."""
        coordinates = self.coordinates
        error, accuracy = enclosure.spread(coordinates.T), None
        if self.free:
            of_w, of_value = (enclosure.spread(rows) for rows in (coordinates.T[:-1], coordinates.at_centre[-1:]))
            accuracy = Accuracy(tuple(coordinates.centre.tolist()), of_w, of_value)
        return Trained(theta, error, accuracy, is_point=True, is_enclosed=True)


@dataclass(frozen=True)
class Trained:
    """``theta (p,)`` with its proved error, as in :class:`oar_opt.contracts.Fit`; ``is_point`` where it is known that
    there is no other optimum, ``is_enclosed`` where the error is that of an optimum which is there in any case."""

    theta: Vector
    error: float
    accuracy: Accuracy | None
    is_point: bool = False
    is_enclosed: bool = False

    @property
    def inaccuracy(self) -> float:
        """What the best of several results has the least of."""
        return self.error if self.accuracy is None else max(self.accuracy.of_w, self.accuracy.of_value)


@dataclass(frozen=True)
class PolylineTraining(Training):
    """With a polyline loss; see the module's docstring."""

    @cached_property
    def graphs(self) -> _Graphs:
        return _Graphs.of([self.risk.loss.pieces(y) or () for y in self.y])

    # -- the finish ---

    def finish(self, theta: Vector) -> Trained:
        """The least error and its ``theta``, over guesses that take what is more or less near a jump to be at it."""
        scale = max(1.0, float(np.abs(self._f(theta)).max(initial=0.0)))
        f, best = self._f(theta), Trained(theta, math.inf, None)
        for near in NEARNESS:
            guess = self._settle(self.graphs.pieces_at(f, near * scale))
            found = self._proved(guess)
            best = min(best, found, key=lambda trained: trained.inaccuracy)
            if best.inaccuracy <= GOOD_ERROR:
                break
        return best

    def _proved(self, guess: Indices) -> Trained:
        """The guess's own optimum, and how far it can be from the learner's."""
        system = self._system(guess)
        precise_theta, g = self._solve(guess, refinements=3)
        theta = np.asarray(precise_theta, dtype=np.float64)
        enclosure = system.enclosure(theta, g[system.jumps])
        if enclosure is not None and self._holds(guess, system, theta, g, enclosure):
            found = self.enclosed(theta, enclosure)
            return found if self._holds_intercept(guess, system, theta) else replace(found, is_point=False)
        return self._estimated(theta, self._admissible(guess, theta, g))

    def _estimated(self, theta: Vector, g: Vector) -> Trained:
        """By convexity alone; the intercept's accuracy follows from that of ``w``, see the module's docstring."""
        error = self.error(theta, g)
        if not self.free:
            return Trained(theta, error, None)
        longest = float(np.linalg.norm(self.centred, axis=1).max(initial=0.0))
        sizes = np.abs(self.features) @ np.abs(theta[:-1])
        rounding = ROUNDING * (len(self.y) + 8) * (float(sizes.max(initial=0.0)) + abs(float(theta[-1])) + 1)
        centre = tuple(self.coordinates.centre.tolist())
        return Trained(theta, error, Accuracy(centre, error, longest * error * (1 + 1e-9) + rounding))

    def _f(self, theta: Vector | Precise) -> Vector:
        return np.asarray(self.coordinates.values(theta)[0], dtype=np.float64)

    def _holds(self, guess: Indices, system: StationarySystem, theta: Vector, g: Precise, within: Enclosure) -> bool:
        """Whether the enclosed solution keeps every record on its piece."""
        graphs, rows, jumps = self.graphs, np.arange(len(guess)), system.jumps
        f, f_in_doubt = self.coordinates.values(theta)
        coordinates = self.coordinates
        reach = (np.abs(coordinates.z) + coordinates.z_rounded) @ within.eta * (1 + 1e-9) + f_in_doubt
        stays = (f - reach >= graphs.f_low[rows, guess]) & (f + reach <= graphs.f_high[rows, guess])
        a = precise(self.a)[jumps]
        low, high = (a * ends[rows, guess][jumps] for ends in (graphs.g_low, graphs.g_high))
        slack = (1 + 1e-9) * within.g + 4 * EPS * np.maximum(np.abs(low), np.abs(high))
        pulls = g[jumps]
        return bool(stays[~jumps].all() and (pulls - slack >= low).all() and (pulls + slack <= high).all())

    def _holds_intercept(self, guess: Indices, system: StationarySystem, theta: Vector) -> bool:
        """Whether pulls surely change to both sides of an optimal intercept: some record is at a jump, with a pull
        strictly inside it, or clearly inside a line that rises. At the end of a line others may be optimal beyond."""
        if not self.free or system.jumps.any():
            return True
        graphs, rows, f = self.graphs, np.arange(len(guess)), self._f(theta)
        room = np.minimum(f - graphs.f_low[rows, guess], graphs.f_high[rows, guess] - f)
        return bool((graphs.slope[rows, guess] > 0)[room > TIE * np.maximum(1.0, np.abs(f))].any())

    def _settle(self, guess: Indices) -> Indices:
        """Correct the guess until nothing changes: all records at once, later only the one that is farthest off."""
        for turn in range(ROUNDS):
            theta, g = self._solve(guess)
            step, off = self._correct(guess, self._f(theta), np.asarray(g, dtype=np.float64))
            if not step.any():
                break
            if turn >= ROUNDS // 4:
                step = np.where(np.arange(len(step)) == int(np.argmax(off)), step, 0)
            guess = guess + step
        return guess

    def _admissible(self, guess: Indices, theta: Vector, precise_g: Precise) -> Vector:
        """Pulls within the jumps. Where jumps depend on each other, others than the shortest solution may fit."""
        g = np.asarray(precise_g, dtype=np.float64)
        clipped = self.graphs.clip(guess, g, self.a)
        rows = np.arange(len(guess))
        jumps = self.graphs.is_jump[rows, guess]
        if np.allclose(clipped, g, rtol=1e-12, atol=1e-15) or not jumps.any():
            return clipped
        lines = np.where(jumps, 0.0, precise_g)
        rest = np.asarray(self.coordinates.gradient(theta, lines, np.zeros(len(g)))[0], dtype=np.float64)
        low, high = self.a * self.graphs.g_low[rows, guess], self.a * self.graphs.g_high[rows, guess]
        clipped[jumps] = lsq_linear(self.coordinates.z[jumps].T, -rest, bounds=(low[jumps], high[jumps]), tol=1e-14).x
        return clipped

    def _system(self, guess: Indices) -> StationarySystem:
        graphs, rows = self.graphs, np.arange(len(guess))
        jumps, a = graphs.is_jump[rows, guess], precise(self.a)
        slope, offset = (a * part[rows, guess] for part in (graphs.slope, graphs.offset))
        return StationarySystem(self.coordinates, slope, offset, jumps, graphs.f_low[rows, guess][jumps])

    def _solve(self, guess: Indices, refinements: int = 0) -> tuple[Precise, Precise]:
        system = self._system(guess)
        theta, g = system.solve(refinements)
        if self.free and not system.jumps.any() and not system.slope.any():
            # Only constant pulls: nothing holds the intercept, any optimal one will do.
            w = np.asarray(theta[:-1], dtype=np.float64)
            theta = np.append(theta[:-1], np.longdouble(np.mean(self.optimal_intercepts(w))))
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
        lam, w = self.risk.lam, theta[: self.features.shape[1]]
        f = self._best_values(w)
        conjugate = self.a * self.risk.loss.conjugate(self.y, g / self.a)
        brackets = self.a * self.risk.loss.value(self.y, f) + conjugate - f * g
        gap = float(np.maximum(brackets, 0.0).sum())
        if not math.isfinite(gap):
            return math.inf
        lengths = np.linalg.norm(self.centred, axis=1)
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
        pulls = precise(g)
        v = self.risk.lam * (w - precise(self.origin)) + (precise(self.features) - self.coordinates.centre).T @ pulls
        return float(np.linalg.norm(v)) + (abs(float(pulls.sum())) * max(longest, 1.0) if self.free else 0.0)

    def _off_graph(self, f: Vector, g: Vector, touched: Flags) -> float:
        """``h``; infinite where the argument does not hold."""
        graphs = self.graphs
        jumps = touched & graphs.is_jump
        if (touched & (graphs.slope != 0)).any() or (jumps.sum(axis=1) > 1).any():
            return math.inf
        near = jumps.any(axis=1)
        rows = np.append(self.centred, np.ones((len(f), 1)), axis=1) if self.free else self.xhat
        singular = np.linalg.svd(rows[near], compute_uv=False)
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
        (low, high), middle = self._around_middle(w)
        return float(low - middle), float(high - middle)

    def _around_middle(self, w: Vector) -> tuple[tuple[float, float], Any]:
        """The interval of ``b`` plus the mean of all ``w'x_i``, and that mean: far from 0 only the sum is accurate."""
        values = precise(self.features) @ precise(w)
        middle = values.mean()
        shift = np.asarray(values - middle, dtype=np.float64)
        return _zero_set(*self.graphs.changes(self.a, shift), 1e-11 * float(self.a.sum())), middle

    def _best_values(self, w: Vector) -> Vector:
        """All ``f``, with the middle of the optimal intercepts where the intercept is free."""
        if not self.free:
            return self._f(w)
        (low, high), middle = self._around_middle(w)
        values = precise(self.features) @ precise(w) - middle
        return np.asarray(values + 0.5 * (low + high), dtype=np.float64)

    def at_centre(self, w: Vector, b: float) -> float:
        """The decision value at the centre of the coordinates."""
        return float(precise(w) @ self.coordinates.centre + b)


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
