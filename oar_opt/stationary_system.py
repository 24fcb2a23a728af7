"""The optimality conditions of a risk whose records are each held to one piece of their graph: one linear system.

Letters of :mod:`oar_opt.risk` and :mod:`oar_opt.round_coordinates`. Records on a line have ``g_i = slope_i f_i +
offset_i`` (both times ``a_i``), those of ``E`` are at a jump: ``f_i = kink_i``, and ``g_i`` is unknown. Then ``eta``
and ``g_E`` solve

    [ T' lam R T + Z'diag(slope) Z   Z_E' ] [ eta ]   [ T' lam R theta0 - Z'offset ]
    [ Z_E                            0    ] [ g_E ] = [ kink_E                     ].

A solution is found by iterative refinement, the residual ``r`` in extended precision. How far the system's own exact
solution can be from it is proved as follows. Let ``K`` be the exact matrix, ``delta`` the difference, so that ``K delta
= r``, and ``B`` the computed inverse of the computed matrix. Then

    delta = B r + (I - B K) delta,     |I - B K| <= N  entry by entry.

If all row sums of ``N`` are at most ``q < 1`` then ``max |delta| <= max |B r| / (1 - q)``, and ``|delta| <= |B r| + N
max |delta|``; in particular ``K`` is regular, so its solution is the only one. Before that rows and columns are scaled,
or the maximum would mix units. ``N`` covers how far the computed matrix is from the exact one, and the rounding of ``B
K``; ``r`` comes with a bound on its own rounding.

Reference: S. M. Rump, "Verification methods: Rigorous results using floating-point arithmetic", 2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oar_opt.problem import Flags, Matrix, Vector
from oar_opt.risk import RegularizedRisk
from oar_opt.round_coordinates import EPS, ROUNDING, Precise, RoundCoordinates, precise

DEPENDENT = 1e-13
"""Relative to the largest, eigenvalues of the system that are taken for 0."""
CONTRACTION = 0.5


@dataclass(frozen=True)
class Enclosure:
    """Where the exact solution is: ``|eta* - eta| <= eta (p,)``, ``|g* - g| <= g`` for the records at a jump.

    ``first (p, k)``, ``residual (k,)``, ``in_doubt (k,)`` and ``rest (p,)`` are the parts of the bound on ``eta``:
    ``eta* - eta = first (residual +- in_doubt) +- rest``.
    """

    eta: Vector
    g: Vector
    first: Precise
    residual: Precise
    in_doubt: Vector
    rest: Vector

    def spread(self, P: Matrix | Precise) -> float:
        """A bound on ``||P (eta* - eta)||``, smaller than :attr:`eta` alone would give."""
        moved = precise(P) @ self.first
        sizes = np.abs(np.asarray(moved, dtype=np.float64))
        centre = np.abs(np.asarray(moved @ self.residual, dtype=np.float64))
        # The last term: the rounding of these very products.
        parts = np.abs(np.asarray(P, dtype=np.float64)) @ self.rest_with_rounding
        return (1 + 1e-9) * float(np.linalg.norm(centre + sizes @ self.in_doubt + parts))

    @cached_property
    def rest_with_rounding(self) -> Vector:
        """:attr:`rest` and what :meth:`spread` loses by rounding."""
        products = np.abs(np.asarray(self.first, dtype=np.float64)) @ np.abs(
            np.asarray(self.residual, dtype=np.float64)
        )
        rounded: Vector = self.rest + 8 * (len(self.residual) + len(self.rest)) * EPS * products
        return rounded


@dataclass(frozen=True)
class StationarySystem:
    """``slope (m,)`` and ``offset (m,)``, times ``a``, 0 at the jumps; ``kinks`` of the jumps in their order."""

    coordinates: RoundCoordinates
    slope: Precise
    offset: Precise
    jumps: Flags
    kinks: Vector

    @property
    def risk(self) -> RegularizedRisk:
        return self.coordinates.risk

    @property
    def p(self) -> int:
        return self.risk.p

    @cached_property
    def weights(self) -> Vector:
        """``slope``, rounded."""
        return np.asarray(self.slope, dtype=np.float64)

    @cached_property
    def matrix(self) -> Matrix:
        """``K`` as computed, ``(p + E, p + E)``."""
        z = self.coordinates.z
        return self._blocks(self.coordinates.penalty + (z.T * self.weights) @ z, z[self.jumps])

    @staticmethod
    def _blocks(H: Matrix, E: Matrix) -> Matrix:
        return np.block([[H, E.T], [E, np.zeros((len(E), len(E)))]])

    @cached_property
    def inverse(self) -> Matrix:
        """Of :attr:`matrix`, nearly; where that is singular, what gives the shortest solution."""
        scale = np.ones(len(self.matrix)) if self.jumps.any() else self.scale
        units = np.outer(scale, scale)
        inverse: Matrix = units * np.linalg.pinv(units * self.matrix, rcond=DEPENDENT, hermitian=True)
        return inverse

    def solve(self, refinements: int) -> tuple[Precise, Precise]:
        """``theta (p,)`` and the pulls ``g (m,)``; of dependent equations the shortest solution."""
        theta, at_jumps = precise(np.array(self.risk.theta0)), precise(np.zeros(int(self.jumps.sum())))
        theta, at_jumps = self.refine(theta, at_jumps, 1 + refinements)
        return theta, self.pulls(theta, at_jumps)[0]

    def refine(self, theta: Precise, at_jumps: Precise, steps: int) -> tuple[Precise, Precise]:
        """Steps of iterative refinement of ``theta (p,)`` and of the pulls at the jumps."""
        for _ in range(steps):
            residual, _ = self._residual(theta, at_jumps)
            step = self.inverse @ np.asarray(residual, dtype=np.float64)
            theta = theta + precise(self.coordinates.T) @ precise(step[: self.p])
            at_jumps = at_jumps + step[self.p :]
        return theta, at_jumps

    def pulls(self, theta: Vector | Precise, at_jumps: Precise) -> tuple[Precise, Vector]:
        """``g (m,)`` and how far each can be off; those at a jump are what they are said to be."""
        f, in_doubt = self.coordinates.values(theta)
        g = self.slope * f + self.offset
        sizes = np.abs(np.asarray(self.slope * f, dtype=np.float64)) + np.abs(np.asarray(self.offset, dtype=np.float64))
        g[self.jumps] = at_jumps
        return g, np.where(self.jumps, 0.0, (1 + 1e-9) * self.weights * in_doubt + 8 * EPS * sizes)

    def _residual(self, theta: Vector | Precise, at_jumps: Precise) -> tuple[Precise, Vector]:
        """``r`` and how far each entry can be off."""
        g, g_in_doubt = self.pulls(theta, at_jumps)
        v, v_in_doubt = self.coordinates.gradient(theta, g, g_in_doubt)
        f, f_in_doubt = self.coordinates.values(theta)
        missing = self.kinks - f[self.jumps]
        off = f_in_doubt[self.jumps] + 4 * EPS * np.abs(np.asarray(missing, dtype=np.float64))
        return np.concatenate([-v, missing]), np.concatenate([v_in_doubt, off])

    def _in_doubt(self) -> Matrix:
        """How far each entry of :attr:`matrix` can be off."""
        c = self.coordinates
        sizes = np.abs(c.z)
        terms = self.risk.lam * (np.abs(c.T).T * self.risk.penalty) @ np.abs(c.T) + (sizes.T * self.weights) @ sizes
        cross = (sizes.T * self.weights) @ c.z_rounded
        off = ROUNDING * (len(c.xhat) + self.p + 8) * terms + 2 * (cross + cross.T)
        return self._blocks(off, c.z_rounded[self.jumps])

    def enclosure(self, theta: Vector, at_jumps: Precise) -> Enclosure | None:
        """Where the exact solution is, around ``theta`` and the pulls at the jumps; None where that is not proved."""
        scale = self.scale
        scaled = self.matrix * np.outer(scale, scale)
        try:
            B = np.linalg.inv(scaled)
        except np.linalg.LinAlgError:
            return None
        k, size = len(scale), np.abs(B)
        off = self._in_doubt() * np.outer(scale, scale) + (k + 8) * ROUNDING * np.abs(scaled)
        N = (np.abs(np.eye(k) - B @ scaled) + size @ off).sum(axis=1) * (1 + 1e-9)
        if not N.max(initial=0.0) <= CONTRACTION:
            return None
        residual, in_doubt = self._residual(theta, at_jumps)
        residual, in_doubt = residual * scale, in_doubt * scale
        products = size @ np.abs(np.asarray(residual, dtype=np.float64))
        first = np.abs(np.asarray(precise(B) @ residual, dtype=np.float64)) + size @ in_doubt
        first = (1 + 1e-9) * first + 8 * k * EPS * products
        rest = N * float(first.max(initial=0.0)) / (1 - CONTRACTION)
        bound, unknowns = scale * (first + rest), slice(self.p)
        return Enclosure(
            bound[: self.p],
            bound[self.p :],
            precise(scale[unknowns, None]) * precise(B[unknowns]),
            residual,
            in_doubt * (1 + 1e-9),
            scale[unknowns] * rest[unknowns],
        )

    @cached_property
    def scale(self) -> Vector:
        """Of the unknowns: ``eta`` by the diagonal, then pulls by the rows of ``Z_E``."""
        diagonal = np.diag(self.matrix)[: self.p]
        of_eta = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        lengths = np.abs(self.coordinates.z[self.jumps] * of_eta).max(axis=1, initial=0.0)
        return np.concatenate([of_eta, 1 / np.where(lengths > 0, lengths, 1.0)])
