"""Ascent on the members' feature changes: spectral projected gradients, from one start to a local answer.

Wanted are changes for which the least of some quantities ``v_j - offset_j`` is as large as possible, while others stay
above their floors. The least is smoothed to ``-T log sum exp(-v_j / T)``, and the floors enter by an augmented
Lagrangian ``-1/2 rho sum max(0, (floor_j - v_j) + multiplier_j / rho)^2``; ``T`` falls and ``rho`` grows from round to
round, and the width of smoothed kinks shrinks. A round is projected gradient ascent with the step lengths of Barzilai
and Borwein and a line search that allows a passing loss.

Reference: E. G. Birgin, J. M. Martinez, M. Raydan, "Nonmonotone Spectral Projected Gradient Methods on Convex Sets",
2000.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from oar_opt.problem import Flags, Matrix, Vector
from oar_opt.sensitivity import Margins, Response

CUTS, MEMORY, HALVINGS = 12, 5, 20
ARMIJO = 1e-4
ITERATIONS = (20, 20, 20, 30, 60)
SMALL = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
"""Of a round: its steps, and the gain, relative to the spread of what is wanted, that is not worth one."""
TEMPERATURES = (0.1, 0.02, 0.004, 0.0008, 0.00005)
"""Of the smoothed least, relative to the spread of what is wanted."""
STIFFNESS = (1.0, 4.0, 16.0, 64.0, 256.0)
WIDTHS = (0.2, 0.05, 0.0125, 0.003, 0.003)

Project = Callable[[Matrix], Matrix]


@dataclass(frozen=True, eq=False)
class Aim:
    """What is wanted: ``wanted (S,)`` are the quantities whose least is to grow, beyond their ``offsets``; ``floored``
    those that must keep above their ``floors``. Ascent may end where the least reaches ``enough``."""

    wanted: Flags
    offsets: Vector
    floored: Flags
    floors: Vector
    enough: float = np.inf

    def least(self, values: Vector) -> float:
        return float((values - self.offsets)[self.wanted].min())

    def lack(self, values: Vector) -> float:
        """By how much the worst floor is missed; 0 where none is."""
        return float(np.max((self.floors - values)[self.floored], initial=0.0))

    def worth(self, values: Vector) -> tuple[float, float]:
        """Compared lexicographically: floors first, then the least."""
        return (-self.lack(values), min(self.least(values), self.enough))

    def is_reached(self, values: Vector) -> bool:
        return self.lack(values) <= 0 and self.least(values) >= self.enough

    @property
    def is_smooth(self) -> bool:
        """Whether one quantity is wanted and nothing else is asked for."""
        return int(self.wanted.sum()) == 1 and not self.floored.any()


@dataclass
class _Merit:
    """The smoothed objective, with its temperature, stiffness and multipliers."""

    aim: Aim
    temperature: float
    stiffness: float
    multipliers: Vector

    def __call__(self, values: Vector) -> tuple[float, Vector]:
        """Value and slopes in the quantities."""
        aim, weights = self.aim, np.zeros(len(values))
        v = (values - aim.offsets)[aim.wanted]
        least = float(v.min())
        share = np.exp(-(v - least) / self.temperature)
        weights[aim.wanted] = share / share.sum()
        merit = least - self.temperature * float(np.log(share.sum()))
        miss = self.missed(values)
        weights += self.stiffness * miss
        return merit - 0.5 * self.stiffness * float(miss @ miss), weights

    def missed(self, values: Vector) -> Vector:
        shifted = self.aim.floors - values + self.multipliers / self.stiffness
        return np.where(self.aim.floored, np.maximum(0.0, shifted), 0.0)


@dataclass
class Ascent:
    """Ascent with given margins and projection, both in scaled features ``U (k, d)``.

    ``best`` is the best point met, by :meth:`Aim.worth` of its corrected values; ``correction (S,)`` is added to what
    the margins say (real re-training less theirs).
    """

    margins: Margins
    X: Matrix
    scales: Vector
    project: Project
    deadline: float
    correction: Vector
    aim: Aim
    reach: float
    is_fine: bool = False
    best: Matrix | None = None
    values: Vector | None = None
    _worth: tuple[float, float] = field(default=(-np.inf, -np.inf))

    def run(self, start: Matrix) -> Matrix:
        """From a start, to the best point met in the last round (or before, where the last width is that one's)."""
        U = self.project(start)
        response = self.respond(U)
        if self._is_over(response.values):
            return self.found
        spread = max(1e-3, float(np.abs(response.values[self.aim.wanted]).max()))
        merit = _Merit(self.aim, spread, 1.0, np.zeros(len(response.values)))
        for T, stiffness, width, steps, small in self._rounds():
            if not self.margins.is_exact:
                self.margins.narrow(width)
                self.best, self._worth = None, (-np.inf, -np.inf)
            merit.temperature = T * spread
            merit.multipliers = merit.stiffness * merit.missed(response.values)
            merit.stiffness = stiffness / spread
            U, response = self._climb(U, merit, steps, small * spread)
            if self._is_over(response.values):
                break
        self._look_between(U)
        return self.found

    def _look_between(self, U: Matrix) -> None:
        """Towards the last point from the best one, which may keep its floors by more than it has to."""
        best = self.found
        if not self.aim.floored.any() or self._worth[0] < 0:
            return
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            values = self.respond(best + middle * (U - best)).values
            low, high = (middle, high) if self.aim.lack(values) <= 0 else (low, middle)

    @property
    def found(self) -> Matrix:
        assert self.best is not None, "a run looks at one point at least"
        return self.best

    def _rounds(self) -> list[tuple[float, float, float, int, float]]:
        rounds = list(zip(TEMPERATURES, STIFFNESS, WIDTHS, ITERATIONS, SMALL, strict=True))
        if self.margins.is_exact:
            return rounds[-1:] if self.aim.is_smooth else rounds
        return rounds[-2:] if self.is_fine else rounds

    def _is_over(self, values: Vector) -> bool:
        return time.monotonic() > self.deadline or (self.margins.is_exact and self.aim.is_reached(values))

    def respond(self, U: Matrix) -> Response:
        """The quantities at a point, which is remembered where it is the best."""
        response = self.margins.at(self.X + U * self.scales)
        values = response.values + self.correction
        worth = self.aim.worth(values)
        if self.best is None or worth > self._worth:
            self.best, self.values, self._worth = U.copy(), values, worth
        return Response(values, response.slopes)

    def _climb(self, U: Matrix, merit: _Merit, steps: int, small: float) -> tuple[Matrix, Response]:
        response = self.respond(U)
        value, slope = self._slope(response, merit)
        step, past = self._first_step(slope), [value]
        for _ in range(steps):
            direction = self.project(U + step * slope) - U
            gain = float((slope * direction).sum())
            if gain <= small or self._is_over(response.values):
                break
            t = 1.0
            for _ in range(CUTS):
                moved = U + t * direction
                answer = self.respond(moved)
                new, new_slope = self._slope(answer, merit)
                if new >= min(past[-MEMORY:]) + ARMIJO * t * gain:
                    break
                t *= 0.5
            else:
                break
            change = moved - U
            bend = -float((change * (new_slope - slope)).sum())
            length = float((change**2).sum())
            longest = 100 * self._first_step(new_slope)
            step = min(longest, length / bend) if bend > 0 else longest
            U, response, slope = moved, answer, new_slope
            past.append(new)
        return U, response

    def _slope(self, response: Response, merit: _Merit) -> tuple[float, Matrix]:
        value, weights = merit(response.values)
        return value, response.slopes(weights) * self.scales

    def _first_step(self, slope: Matrix) -> float:
        return self.reach / max(1e-300, float(np.abs(slope).max(initial=0.0)))
