"""Re-training for many choices at once, each to within a proved distance of its learner's optimum.

Letters of :mod:`oar_opt.risk`, l2 norm. Over a region (:class:`oar_opt.relaxation.Region`) the fixed records whose
graph is a line over their whole interval are summed up, and with the penalty they give ``1/2 theta'M theta + c'theta``.
For a choice ``z`` whose optimum ``theta+`` lies in the region, ``theta+`` minimises

    F(theta) = 1/2 theta'M theta + c'theta + sum_i a_i l(y_i, f_i)

over the other fixed records and the chosen options, since there the summed records' losses, which are convex, equal
their lines. Take any ``theta`` and, for each of these records, any ``g_i`` with ``(a_i l)*(g_i)`` finite. With

    rho = M theta + c + sum_i g_i xhat_i,     G = sum_i [ a_i l(f_i) + (a_i l)*(g_i) - f_i g_i ] + 1/2 rho' M^-1 rho,

the Fenchel-Young inequality gives ``F(t) >= F(theta) - G + 1/2 ||t - theta + M^-1 rho||_M^2`` for every ``t``. As
``F - 1/2 theta'M theta`` is convex, ``F(theta) >= F(theta+) + 1/2 ||theta+ - theta||_M^2`` too. Adding both at
``t = theta+``:

    || theta+ - (theta - M^-1 rho / 2) ||_M^2  <=  G - 1/4 rho' M^-1 rho,

a ball that holds the optimum; where it does not meet the region, ``theta+`` is not in it. A margin ``q'theta+`` has a
sharper bound from a tilted objective: for any ``tau > 0`` and any admissible ``g``, the same inequality for ``F - tau
q'theta``, at ``t = theta+`` and with ``F(theta+) <= F(theta)``, gives

    q'theta+  <=  q'theta + G_tau / tau,     G_tau as G, with rho - tau q for rho.

With ``H`` the curvature of the (smoothed) objective, ``h = H^-1 q`` and pulls moved by what they would change for
``theta + tau h``, the tilt costs little wherever kinks hold ``theta+`` fast; ``tau`` balances the two parts of
``G_tau / tau``.

Nothing in this depends on how ``theta`` and ``g`` were found, so floating point is enough to find them. Many choices
are worked on at once, one matrix product serving all:

- losses without kinks, by Newton's method with a search along the step; ``g`` is the pull at ``theta``;
- losses with kinks and no slanted line are sums of hinges ``a (k - x'theta)^+`` after a change of signs, and for those
  a primal-dual interior-point method follows ``alpha s = nu``, ``(1 - alpha) xi = nu``, ``x'theta - k = s - xi`` to
  ``nu -> 0``; ``g = -a alpha``, and a bracket is ``a [alpha s + (1 - alpha) xi]`` at most.

**Free intercept** ``b`` without curvature. Then ``M`` belongs to ``w`` alone, and a rest ``rho_b`` costs ``|rho_b|``
times the distance to the farther end of the region's interval of ``b``. The bounds hold for every optimal intercept.

Rounding: ``rho`` and the brackets are enlarged by a bound on their own rounding errors.

Reference: E. Ndiaye, O. Fercoq, A. Gramfort, J. Salmon, "Gap safe screening rules for sparsity enforcing penalties",
2017 (balls from duality gaps); M. Ferris, T. Munson, "Interior-point methods for massive support vector machines",
2002. Screening whole choices by such balls is derived here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from oar_opt.bounds import Occurrences, ParameterBounds
from oar_opt.problem import Flags, Indices, Intercept, Matrix, Vector
from oar_opt.relaxation import Region
from oar_opt.risk import Jump, Line, Loss, PenaltyNorm, RegularizedRisk, line_over

UNIT = 2.0**-53
ELEMENTS = 50_000
"""Decision values of one batch, so that its arrays fit a processor's cache."""
ROUNDS = 60
SEARCHES = 6
SETTLED = 1e-5
"""A choice whose margins are known to within this, relative to their size (at least 1), is not worked on any more."""
LEAST_CURVATURE = 1e-7
"""Least eigenvalue of ``M``, with a diagonal of ones, for numbers that can be trusted."""
LESS, PATIENCE = 0.9, 8
"""Nor is one whose bounds have not become sharper by that factor for so many steps."""
NARROWEST = 1e-11
"""Least width of the smoothed kink in a step, for the sake of the linear systems."""
LEVENBERG = 1e-14
FIRST_NU = 0.03
INSIDE = 0.99
"""Share of the way to the boundary that an interior-point step goes."""
Hopeless = Callable[[Matrix, Indices], Flags]
"""For upper bounds on the subjects' margins ``(m, S)`` of the choices at ``(m,)``: which of them are of no use."""


@dataclass(frozen=True)
class Screened:
    """The choices that are left, as positions ``(m,)``, with upper bounds on their subjects' margins ``(m, S)``."""

    left: Indices
    upper: Matrix


def has_batches(risk: RegularizedRisk) -> bool:
    """Whether choices of this learner can be trained in batches."""
    pieces = risk.loss.pieces(1.0) or ()
    kinked = any(isinstance(piece, Jump) for piece in pieces)
    slanted = any(isinstance(piece, Line) and piece.slope > 0 for piece in pieces)
    return risk.norm is PenaltyNorm.L2 and not (kinked and slanted)


class BatchTraining:
    """Many choices of one region's options.

    Parameters
    ----------
    bounds : the problem's records and options, in their coordinates.
    region : a box; a choice whose optimum is not in it may be sorted out, or get numbers without meaning.
    subjects, constants : margins are ``subjects @ theta + constants``, ``(S, p)`` and ``(S,)``.

    Where ``is_sound`` is false, ``M`` is too close to singular for all of this.
    """

    def __init__(self, bounds: ParameterBounds, region: Region, subjects: Matrix, constants: Vector) -> None:
        self.risk, self.region = bounds.risk, region
        self.subjects, self.constants = subjects, constants
        self.p = bounds.risk.p
        self._sum_up(bounds)
        self._set_metric()

    @property
    def size(self) -> int:
        """How many choices one batch has."""
        return int(max(1, ELEMENTS // max(1, self.terms.width)))

    # -- the problem ---

    def _sum_up(self, bounds: ParameterBounds) -> None:
        risk, region, fixed = self.risk, self.region, bounds.fixed
        self.M = risk.lam * np.diag(risk.penalty)
        self.c = -risk.lam * risk.penalty * np.array(risk.theta0)
        general = []
        c_size = np.abs(self.c)
        for r in range(len(fixed)):
            low, high = float(region.fixed[0][r]), float(region.fixed[1][r])
            line = line_over(risk.loss.pieces(float(fixed.y[r])), low, max(low, high))
            if line is None:
                general.append(r)
                continue
            self.M += float(fixed.a[r]) * line.slope * np.outer(fixed.xhat[r], fixed.xhat[r])
            self.c += float(fixed.a[r]) * line.offset * fixed.xhat[r]
            c_size += np.abs(float(fixed.a[r]) * line.offset * fixed.xhat[r])
        rest = Occurrences(fixed.xhat[general], fixed.y[general], fixed.a[general])
        # What the sums above may be off by, in units of rounding: their terms in absolute value, and their number.
        roots = np.sqrt(np.diag(self.M))
        self.M_size, self.c_size, self.summed = np.outer(roots, roots), c_size, len(fixed) - len(general)
        self.start = np.clip(bounds.theta_bar, *region.theta)
        pieces = risk.loss.pieces(1.0) or ()
        kind = _Hinges if any(isinstance(piece, Jump) for piece in pieces) else _Smooth
        self.terms: _Terms = kind(risk.loss, rest, bounds.stacked, len(bounds.members))

    def _set_metric(self) -> None:
        diagonal = np.diag(self.M)
        self.split = self.risk.intercept is Intercept.FREE and bool(diagonal[-1] == 0)
        q = self.q = self.p - 1 if self.split else self.p
        part, sizes = self.M[:q, :q], np.sqrt(np.maximum(diagonal[:q], 1e-300))
        self.is_sound = bool(np.linalg.eigvalsh(part / np.outer(sizes, sizes)).min(initial=1.0) > LEAST_CURVATURE)
        if self.is_sound:
            self.inverse = np.linalg.inv(np.linalg.cholesky(part))
            self.M_inverse = self.inverse.T @ self.inverse
            self.subject_reach = np.linalg.norm(self.subjects[:, :q] @ self.inverse.T, axis=1)
            self.coordinate_reach = np.sqrt(np.diag(self.M_inverse))
        self.largest = self.terms.largest

    # -- screening ---

    def screen(self, options: Indices, hopeless: Hopeless) -> Screened:
        """Sort out choices, of at most :attr:`size`.

        ``options (m, k)`` are the rows of the options chosen, one per member. ``hopeless`` is asked again and again
        with sharper bounds.
        """
        # A number without meaning, as 0 / 0, proves nothing: its choice is left.
        with np.errstate(all="ignore"):
            done = self._sort_out(options, hopeless)
        left = np.concatenate([index for index, _ in done] or [np.zeros(0, dtype=np.int64)])
        uppers = np.vstack([upper for _, upper in done] or [np.zeros((0, len(self.constants)))])
        return Screened(left, uppers)

    def _sort_out(self, options: Indices, hopeless: Hopeless) -> list[tuple[Indices, Matrix]]:
        """What is left, in parts, with upper bounds."""
        work = self.terms.begin(options, np.tile(self.start, (len(options), 1)))
        done: list[tuple[Indices, Matrix]] = []
        for step in range(ROUNDS):
            rho, scaled, gap = self._gap(work, *self.terms.dual(work), np.zeros(self.p))
            self.terms.curve(work, self.M)
            if step >= self.terms.blind:
                upper = self._upper(work, gap)
                radius, outside = self._ball(work, rho, scaled, gap)
                known = (radius[:, None] * self.subject_reach <= SETTLED * np.maximum(1.0, np.abs(upper))).all(axis=1)
                upper, stalled = _sharpest(work, upper, radius)
                dead = outside | hopeless(upper, work.index)
                settled = ~dead & (known | stalled | (step == ROUNDS - 1))
                if settled.any():
                    done.append((work.index[settled], upper[settled]))
                kept = ~(dead | settled)
                if not kept.any():
                    break
                if not kept.all():
                    work, rho = work.kept(kept), rho[kept]
            self.terms.improve(work, self.M, rho)
        return done

    def _gap(self, work: _Work, pulls: Matrix, bracket: Vector, tilt: Matrix) -> tuple[Matrix, Vector, Vector]:
        """``rho`` of the objective less ``tilt'theta``, its length but for a split intercept, and ``G``, the latter two
        with what rounding may hide."""
        q, theta = self.q, work.theta
        linear = self.c - tilt
        rho = theta @ self.M + linear + self.terms.combine(work, pulls)
        size = np.abs(pulls).sum(axis=1)
        rounding = UNIT * (self.summed + self.terms.width + self.p + 6)
        fuzz = rounding * (size[:, None] * self.largest + np.abs(theta) @ self.M_size + self.c_size + np.abs(tilt))
        values = self.terms.scale + np.abs(theta) @ self.largest
        gap = (1 + rounding) * bracket + 4 * UNIT * (self.p + 4) * (size + work.a.sum(axis=1)) * values
        scaled = np.linalg.norm(rho[:, :q] @ self.inverse.T, axis=1)
        scaled += np.linalg.norm(fuzz[:, :q] @ np.abs(self.inverse).T, axis=1)
        gap += 0.5 * (1 + LEAST_CURVATURE) * scaled**2
        if self.split:
            ends = [np.abs(end[-1] - theta[:, -1]) for end in self.region.theta]
            rest = self.terms.rest(work, pulls, linear[..., -1]) + UNIT * self.summed * self.c_size[-1]
            gap += rest * np.maximum(*ends)
        return rho, scaled, gap

    def _ball(self, work: _Work, rho: Matrix, scaled: Vector, gap: Vector) -> tuple[Vector, Flags]:
        """The radius, and whether the ball does not meet the region."""
        q = self.q
        radius = np.sqrt(np.maximum(gap - 0.25 * scaled**2, 0.0)) * (1 + 1e-9)
        centre = work.theta[:, :q] - 0.5 * rho[:, :q] @ self.M_inverse
        off = radius[:, None] * self.coordinate_reach + 1e-12 * (1 + np.abs(centre))
        low, high = (end[:q] for end in self.region.theta)
        outside: Flags = ((centre - off > high) | (centre + off < low)).any(axis=1)
        return radius, outside

    def _upper(self, work: _Work, gap: Vector) -> Matrix:
        """Upper bounds on the margins, ``(m, S)``."""
        margins = work.theta @ self.subjects.T + self.constants
        slack = np.empty_like(margins)
        for s, q in enumerate(self.subjects):
            tau, pulls, bracket = self.terms.tilt(work, self.M, q, gap)
            slack[:, s] = self._gap(work, pulls, bracket, tau[:, None] * q)[2] / tau
        upper = margins + slack
        return np.where(np.isnan(upper), np.inf, upper)


def _sharpest(work: _Work, upper: Matrix, radius: Vector) -> tuple[Matrix, Flags]:
    """The best bounds so far, each of which holds, and where the balls have not become smaller for a while."""
    own = work.own
    if "upper" in own:
        better = radius < LESS * own["radius"]
        own["stalled"] = np.where(better, 0, own["stalled"] + 1)
        upper, radius = np.minimum(upper, own["upper"]), np.minimum(radius, own["radius"])
    else:
        own["stalled"] = np.zeros(len(radius))
    own["upper"], own["radius"] = upper, radius
    stalled: Flags = own["stalled"] >= PATIENCE
    return upper, stalled


@dataclass
class _Work:
    """Choices in work: positions ``(m,)``, chosen columns ``(m, C, p)``, parameters ``(m, p)``, weights ``(m, N)`` and
    whatever else the method keeps for each, by name."""

    index: Indices
    columns: Matrix
    theta: Matrix
    a: Matrix
    own: dict[str, Matrix] = field(default_factory=dict)

    def kept(self, kept: Flags) -> _Work:
        own = {name: array[kept] for name, array in self.own.items()}
        return _Work(self.index[kept], self.columns[kept], self.theta[kept], self.a[kept], own)


class _Terms(ABC):
    """The terms of ``F`` that are no lines: those of fixed records first, then those of the chosen options."""

    X: Matrix
    table: Matrix
    """Columns of the options' terms, ``(K, J, p)``."""
    scale: float
    """At least 1, and the largest size of a kink or target."""
    blind: int
    """Steps before the bounds are looked at for the first time."""

    def _finish(self, members: int) -> None:
        self.m, p = self.X.shape
        self.width = self.m + members * self.table.shape[1]
        self.upper = np.triu_indices(p)
        self.products = self.X[:, self.upper[0]] * self.X[:, self.upper[1]]
        everything = np.vstack([self.X, self.table.reshape(-1, p)])
        self.largest = np.abs(everything).max(axis=0, initial=0.0)

    @abstractmethod
    def begin(self, options: Indices, theta: Matrix) -> _Work: ...

    @abstractmethod
    def dual(self, work: _Work) -> tuple[Matrix, Vector]:
        """The pulls ``(m, N)`` and the sum of the brackets."""

    @abstractmethod
    def curvature(self, work: _Work) -> Matrix:
        """Of each term, or of what stands for it, ``(m, N)``."""

    @abstractmethod
    def tilt(self, work: _Work, M: Matrix, q: Vector, gap: Vector) -> tuple[Vector, Matrix, Vector]:
        """A ``tau`` for each choice, and pulls and brackets that suit the objective tilted by it."""

    @abstractmethod
    def improve(self, work: _Work, M: Matrix, rho: Matrix) -> None:
        """One step towards the optimum, after :meth:`curve`."""

    def _columns(self, options: Indices) -> Matrix:
        found: Matrix = self.table[options].reshape(len(options), -1, self.table.shape[2])
        return found

    def _join(self, fixed: Vector, chosen: Matrix) -> Matrix:
        return np.hstack([np.broadcast_to(fixed, (len(chosen), self.m)), chosen])

    def values(self, work: _Work, theta: Matrix) -> Matrix:
        """``x'theta`` of every term, ``(m, N)``."""
        chosen = np.matmul(work.columns, theta[:, :, None])[:, :, 0]
        return np.hstack([theta @ self.X.T, chosen])

    def combine(self, work: _Work, weights: Matrix) -> Matrix:
        """``sum_i weights_i x_i``, ``(m, p)``."""
        chosen = np.matmul(weights[:, None, self.m :], work.columns)[:, 0, :]
        found: Matrix = weights[:, : self.m] @ self.X + chosen
        return found

    def rest(self, work: _Work, pulls: Matrix, constant: Vector) -> Vector:
        """A bound on ``|constant + sum_i g_i b_i|``, ``b_i`` the intercept's entry of a term, ``(m,)``.

        numpy sums pairwise along the last axis, with parts of at most 128 terms.
        """
        each = pulls * self._join(self.X[:, -1], work.columns[:, :, -1])
        rounding = 160 * UNIT * (np.abs(each).sum(axis=1) + np.abs(constant))
        found: Vector = np.abs(each.sum(axis=1) + constant) + rounding
        return found

    def curve(self, work: _Work, M: Matrix) -> None:
        """Keep the terms' curvatures and the inverse of the objective's."""
        d = self.curvature(work)
        packed = d[:, : self.m] @ self.products
        H = np.empty((len(d), *M.shape))
        H[:, self.upper[0], self.upper[1]] = packed
        H[:, self.upper[1], self.upper[0]] = packed
        H += np.matmul((work.columns * d[:, self.m :, None]).transpose(0, 2, 1), work.columns)
        H += M
        diagonal = np.arange(len(M))
        H[:, diagonal, diagonal] += LEVENBERG * np.trace(M)
        work.own |= {"d": d, "H": H, "inverse": _inverses(H)}

    def solve(self, work: _Work, right: Matrix) -> Matrix:
        """``H^-1 right``, ``(m, p)``, refined once: near a kink the entries of ``H`` are huge."""
        inverse, H = work.own["inverse"], work.own["H"]
        found = np.matmul(inverse, right[:, :, None])
        found += np.matmul(inverse, right[:, :, None] - np.matmul(H, found))
        return np.asarray(found[:, :, 0])


def _inverses(H: Matrix) -> Matrix:
    """Of every matrix; where one is singular to rounding, NaN, so that nothing is proved of its choice any more."""
    try:
        return np.asarray(np.linalg.inv(H))
    except np.linalg.LinAlgError:
        if len(H) == 1:
            return np.full_like(H, np.nan)
        half = len(H) // 2
        return np.concatenate([_inverses(H[:half]), _inverses(H[half:])])


class _Hinges(_Terms):
    """``a (k - x'theta)^+`` for every term; a jump of the pull at ``f`` from below 0 to above 0 makes two."""

    blind = 3

    def __init__(self, loss: Loss, fixed: Occurrences, options: Occurrences, members: int) -> None:
        x, k, a = _hinges(loss, fixed)
        self.X, self.k, self.a = x.reshape(-1, x.shape[2]), k.ravel(), a.ravel()
        self.table, self.k_table, self.a_table = _hinges(loss, options)
        self.scale = 1 + max(np.abs(self.k).max(initial=0.0), np.abs(self.k_table).max(initial=0.0))
        self._finish(members)

    def begin(self, options: Indices, theta: Matrix) -> _Work:
        count = len(options)
        a = self._join(self.a, self.a_table[options].reshape(count, -1))
        k = self._join(self.k, self.k_table[options].reshape(count, -1))
        work = _Work(np.arange(count), self._columns(options), theta, a, {"k": k})
        D = self.values(work, theta) - k
        # On the central path alpha s = nu and (1 - alpha) xi = nu with s - xi = D.
        root = np.sqrt(D * D + 4 * FIRST_NU**2)
        s = FIRST_NU + 0.5 * np.where(D < 0, 4 * FIRST_NU**2 / (root - D), root + D)
        xi = FIRST_NU + 0.5 * np.where(D > 0, 4 * FIRST_NU**2 / (root + D), root - D)
        work.own |= {"s": s, "xi": xi, "alpha": FIRST_NU / s, "beta": FIRST_NU / xi}
        return work

    def dual(self, work: _Work) -> tuple[Matrix, Vector]:
        work.own["D"] = self.values(work, work.theta) - work.own["k"]
        alpha = np.clip(work.own["alpha"], 0.0, 1.0)
        return -work.a * alpha, self._brackets(work, alpha)

    def curvature(self, work: _Work) -> Matrix:
        own = work.own
        own["by_alpha"], own["by_beta"] = 1 / own["alpha"], 1 / own["beta"]
        width = own["s"] * own["by_alpha"] + own["xi"] * own["by_beta"]
        own["by_width"] = 1 / np.maximum(width, NARROWEST)
        found: Matrix = work.a * own["by_width"]
        return found

    def tilt(self, work: _Work, M: Matrix, q: Vector, gap: Vector) -> tuple[Vector, Matrix, Vector]:
        own = work.own
        h = self.solve(work, np.broadcast_to(q, work.theta.shape))
        dalpha = -self.values(work, h) * own["by_width"]
        most = np.maximum(_most(-dalpha * own["by_alpha"]), _most(dalpha * own["by_beta"]))
        bend = ((h @ M) * h).sum(axis=1)
        tau = np.minimum(np.sqrt(2 * gap / np.maximum(bend, UNIT)), 1 / np.maximum(most, UNIT))
        alpha = np.clip(own["alpha"] + tau[:, None] * dalpha, 0.0, 1.0)
        return tau, -work.a * alpha, self._brackets(work, alpha)

    def _brackets(self, work: _Work, alpha: Matrix) -> Vector:
        D = work.own["D"]
        found: Vector = (work.a * np.maximum(alpha * D, (alpha - 1) * D)).sum(axis=1)
        return found

    def improve(self, work: _Work, M: Matrix, rho: Matrix) -> None:
        """A predictor step, straight to ``nu = 0``, says how much smaller ``nu`` may be; then a corrected step."""
        own, a = work.own, work.a
        s, xi, alpha, beta = (own[name] for name in ("s", "xi", "alpha", "beta"))
        by_alpha, by_beta, by_width, d = (own[name] for name in ("by_alpha", "by_beta", "by_width", "d"))
        s_alpha, xi_beta = s * by_alpha, xi * by_beta
        # With x'dtheta = ds - dxi, alpha ds + s dalpha = to_s alpha and beta dxi - xi dalpha = to_xi beta.
        lack = xi - s
        dtheta = self.solve(work, self.combine(work, d * lack) - rho)
        dalpha = (lack - self.values(work, dtheta)) * by_width
        up, down = dalpha * by_alpha, dalpha * by_beta
        worst = np.maximum.reduce([1 + _most(up), 1 + _most(-down), _most(-up), _most(down)])
        mean = 0.5 * (a * (alpha * s + beta * xi)).sum(axis=1) / np.maximum(a.sum(axis=1), UNIT)
        length = 1 / np.maximum(worst, 1)
        nu = mean * np.clip(1 - length, 1e-2, 1) ** 3
        # Of a predictor that can hardly be followed, the second-order part means little.
        share = np.sqrt(length)[:, None]
        up, down = share * up, share * down
        to_s = nu[:, None] * by_alpha - s + (s + s_alpha * dalpha) * up
        to_xi = nu[:, None] * by_beta - xi - (xi - xi_beta * dalpha) * down
        lack = to_s - to_xi
        dtheta = self.solve(work, self.combine(work, d * lack) - rho)
        dalpha = (lack - self.values(work, dtheta)) * by_width
        ds, dxi = to_s - s_alpha * dalpha, to_xi + xi_beta * dalpha
        worst = np.maximum.reduce(
            [_most(-ds / s), _most(-dxi / xi), _most(-dalpha * by_alpha), _most(dalpha * by_beta)]
        )
        length = np.minimum(1.0, INSIDE / np.maximum(worst, UNIT))[:, None]
        work.theta = work.theta + length * dtheta
        own["s"], own["xi"] = s + length * ds, xi + length * dxi
        own["alpha"], own["beta"] = alpha + length * dalpha, beta - length * dalpha


def _hinges(loss: Loss, records: Occurrences) -> tuple[Matrix, Matrix, Matrix]:
    """Columns ``(m, J, p)``, kinks ``(m, J)`` and weights ``(m, J)`` of the hinges of every record."""
    each = len(_hinges_of(loss, 1.0))
    rows = [_hinges_of(loss, float(y)) for y in records.y]
    signs, kinks, weights = np.array(rows, dtype=float).reshape(len(rows), each, 3).transpose(2, 0, 1)
    return signs[:, :, None] * records.xhat[:, None, :], kinks, weights * records.a[:, None]


def _hinges_of(loss: Loss, y: float) -> list[tuple[float, float, float]]:
    """Sign of the column, kink and weight of every hinge: a jump from ``g_low`` to 0 is ``-g_low (k - f)^+``, one from
    0 to ``g_high`` is ``g_high (f - k)^+``."""
    found = []
    for piece in loss.pieces(y) or ():
        if isinstance(piece, Jump):
            found += [(1.0, piece.f, -piece.g_low)] if piece.g_low < 0 else []
            found += [(-1.0, -piece.f, piece.g_high)] if piece.g_high > 0 else []
    return found


def _most(values: Matrix) -> Vector:
    found: Vector = values.max(axis=1)
    return found


class _Smooth(_Terms):
    """Losses with a derivative; ``g`` is the pull."""

    blind = 1

    def __init__(self, loss: Loss, fixed: Occurrences, options: Occurrences, members: int) -> None:
        self.loss = loss
        self.X, self.y, self.a = fixed.xhat, fixed.y, fixed.a
        self.table, self.y_table, self.a_table = options.xhat[:, None, :], options.y, options.a
        self.scale = 1 + max(np.abs(self.y).max(initial=0.0), np.abs(self.y_table).max(initial=0.0))
        self.ends, self.end_tables = (_pull_ranges(loss, records.y) for records in (fixed, options))
        self._finish(members)

    def begin(self, options: Indices, theta: Matrix) -> _Work:
        a, y = self._join(self.a, self.a_table[options]), self._join(self.y, self.y_table[options])
        own = {"y": y}
        for name, fixed, table in zip(("low", "high"), self.ends, self.end_tables, strict=True):
            own[name] = self._join(fixed, table[options])
        return _Work(np.arange(len(options)), self._columns(options), theta, a, own)

    def dual(self, work: _Work) -> tuple[Matrix, Vector]:
        f = self.values(work, work.theta)
        work.own["f"], work.own["g"] = f, self.loss.pull(work.own["y"], f)
        return work.a * work.own["g"], np.zeros(len(f))

    def curvature(self, work: _Work) -> Matrix:
        found: Matrix = work.a * self.loss.second_derivative(work.own["y"], work.own["f"])
        return found

    def tilt(self, work: _Work, M: Matrix, q: Vector, gap: Vector) -> tuple[Vector, Matrix, Vector]:
        own, a, loss = work.own, work.a, self.loss
        h = self.solve(work, np.broadcast_to(q, work.theta.shape))
        tau = np.sqrt(2 * gap / np.maximum(h @ q, UNIT))
        y, f = own["y"], own["f"]
        change = self.loss.second_derivative(y, f) * self.values(work, h)
        g = np.clip(own["g"] + tau[:, None] * change, own["low"], own["high"])
        return tau, a * g, (a * (loss.value(y, f) + loss.conjugate(y, g) - f * g)).sum(axis=1)

    def improve(self, work: _Work, M: Matrix, rho: Matrix) -> None:
        own, a, y, f = work.own, work.a, work.own["y"], work.own["f"]
        dtheta = -self.solve(work, rho)
        along = self.values(work, dtheta)
        # The derivative along the step grows with t; the step ends where it is near 0 or still negative.
        first = (rho * dtheta).sum(axis=1)
        bend = ((dtheta @ M) * dtheta).sum(axis=1)
        flat = first - (a * own["g"] * along).sum(axis=1)
        t, low, at_low = np.ones(len(first)), np.zeros(len(first)), first.copy()
        still = np.arange(len(first))
        for _ in range(SEARCHES):
            at = t[still]
            pulls = self.loss.pull(y[still], f[still] + at[:, None] * along[still])
            slope = flat[still] + at * bend[still] + (a[still] * pulls * along[still]).sum(axis=1)
            far = slope > 0.1 * np.abs(first[still])
            still, slope, at = still[far], slope[far], at[far]
            if not len(still):
                break
            share = np.clip(at_low[still] / (at_low[still] - slope), 0.1, 0.9)
            t[still] = low[still] + share * (at - low[still])
        work.theta = work.theta + t[:, None] * dtheta


def _pull_ranges(loss: Loss, y: Vector) -> tuple[Vector, Vector]:
    low, high = np.array([loss.pull_range(float(value)) for value in y]).reshape(-1, 2).T
    return low, high
