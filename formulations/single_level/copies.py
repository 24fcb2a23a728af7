"""Copies of the parameters and the learner's strong duality, with re-training at the leaves: a search for menus.

Statement
---------
Letters of :mod:`oar_opt.risk`; members choose ``z_ik`` binary, ``sum_k z_ik = 1``. With a copy ``W_ik = z_ik theta`` of
the parameters for every option, products of choices and parameters are gone, and the learner's optimality is

    stationarity                                       (linear in theta, the pulls g_i and g_ik)
    sum_i [a_i l(f_i) + (a_i l)*(g_i)] + sum_ik z_ik [a_ik l(f_ik / z_ik) + (a_ik l)*(g_ik / z_ik)] + r'theta <= 0
    sum_k W_ik = theta,    W_ik in z_ik [box of theta],    f_ik = xhat_ik' W_ik,

one convex constraint beside linear ones: :mod:`oar_opt.relaxation` states it over a *region* (a box of ``theta``, the
options still allowed, a window of the margin) with tangents in place of the convex terms, so that it is a linear
program up to the choices. What it promises for a choice is an upper bound (of a goal to be maximised); what the
choice is worth is known from **re-training the learner**, as an answer is verified. Where choices are many, it begins
with all that differ from the first answer for two or three members, as long as one of them is better. The search:

1. Take the region with the best bound. Shrink its box of ``theta`` by two linear programs for each coordinate, for
   moves better than the best verified one, while that helps; drop options that the reduced costs exclude. Close the
   region where nothing better is left in it. The choices that the linear program suggests are re-trained.
2. As soon as that is expected to take no longer than a few times the search so far, settle all choices of the first
   region by themselves: they are trained many at a time until a bound on their margins, from weak duality of the
   learner, shows that they are not better (:mod:`oar_opt.screening`); the few that are left are re-trained. On one core
   that takes a few microseconds (ridge) to 0.2 milliseconds (svm, 500 records) for a choice, so a million choices end
   in seconds or minutes. Later regions are closed in this way too where they have few choices.
3. Let HiGHS find the region's best choice with integer ``z``. Re-train for it, add tangents where its point violates
   the convex terms, exclude this choice by a row (its worth is known), and again, until no better choice is left:
   then the region is closed. Where the fixed records' graphs are lines over their whole interval (ridge), this comes
   first.
4. Otherwise halve the region: the window of the margin as long as it is wide, then the coordinate of ``theta`` on
   which the copies disagree most. All members' relaxations gain at once when the box shrinks.

Every open region's bound holds at any time, so a limit leaves a valid bound.

Hypotheses
----------
Menus, labels and withholding only. A convex learner of the family with finite bounds on ``theta`` and all decision
values (proved by :mod:`oar_opt.bounds`). Update ``retrain`` or ``proximal``. Any position: it matters in re-training,
and the relaxation ignores it, which keeps its bound valid.

Exactness
---------
Exact. Bounds of linear programs are safe ones (:mod:`oar_opt.linear_program`), and so are those of batches of choices
(:mod:`oar_opt.batch_training`); the bounds and "no better choice" of HiGHS's branch and bound are its own words.
Choices are told apart by what re-training gives within its proved accuracy; one that could not be re-trained so
accurately keeps its region's bound.

Size
----
For a region with ``K`` undecided options and ``m`` certain records whose graph keeps several pieces: ``K`` binaries,
``p + K (p + 6) + 4 m`` columns at most, about as many rows; the number of regions has no useful bound.

Reference
---------
S. Ceria, J. Soares, "Convex programming for disjunctive convex optimization", 1999 (copies); M. Duran, I. Grossmann,
"An outer-approximation algorithm for a class of mixed-integer nonlinear programs", 1986 (tangents between integer
programs). The strong-duality form for online recourse, the re-trained leaves and the windows of the margin are
derived here.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oar_opt.bounds import WIDENING
from oar_opt.contracts import DirectProgram, Formulation
from oar_opt.problem import GoalKind, Indices, RecourseProblem, Vector
from oar_opt.relaxation import Region, Relaxation
from oar_opt.result import Claim, Progress, Request, StoppedBy
from oar_opt.retraining_search import RelaxedChoices, RetrainingSearch, known_in, likeliest, refusal
from oar_opt.screening import Screening

SHRUNK = 0.9
"""Tightening is repeated while it leaves at most this share of the box's mean width."""
FIRST_ROUNDS = 12
NARROW = 0.2
"""A window of the margin narrower than this, relative to the margin's size (at least 1), is not halved any more."""
FIRST_SECONDS, LATER_SECONDS, LATER_SHARE = 600.0, 2.0, 0.1
"""For HiGHS's branch and bound on the first region where the fixed records are lines, and on any other region (there
at least this share of the time so far)."""

SCREENING_SECONDS, SCREENING_SHARE = 2.0, 5.0
"""All choices are re-trained where that is expected to take no longer than this, or than so many times the search so
far."""
CLIMBING_SECONDS, CLIMBING_SHARE = 20.0, 0.2
"""For better moves near the first one, where not all choices are re-trained at once; the latter of the time limit."""
FEW = 0.2
"""Share of the first region's choices, and of the search's seconds, that re-training may take in a later region."""
WASTE = 0.5
"""Share of the time that branch and bound by HiGHS may spend on regions that it does not close."""
LATER_COORDINATES = 2
"""How many coordinates of ``theta`` are tightened in regions other than the first."""


class Copies(Formulation):
    """See the module's docstring."""

    name = "copies"
    rank = 15

    def accepts(self, problem: RecourseProblem) -> str | None:
        return refusal(problem)

    def unfit(self, solver: str | None) -> str | None:
        return None if solver in (None, "highs") else "its linear programs are solved by HiGHS, and by nothing else"

    def build(self, problem: RecourseProblem, request: Request | None = None) -> DirectProgram:
        return DirectProgram(lambda wanted: _Search(problem, wanted).run())


@dataclass
class _Search(RetrainingSearch):
    """A run: the open regions, and the seconds ``wasted`` by branch and bound on regions that it did not close."""

    wasted: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.screening = Screening(self)
        self.root = Region.of(self.problem, self.bounds)
        self.terms = len(self.bounds.fixed)

    # -- the search ---

    def run(self) -> Claim:
        if self.request.start is not None:
            self.try_moves(self.request.start)
        if not self._pays():
            seconds = min(CLIMBING_SECONDS, CLIMBING_SHARE * self.seconds_left())
            self.screening.climb(self.root, seconds)
        counter = itertools.count()
        heap: list[tuple[float, int, Region, int]] = [(-math.inf, next(counter), self.root, 0)]
        reason = StoppedBy.PROOF
        while heap:
            stop = self.stopped()
            if stop is not None:
                reason = stop
                break
            rank, _, region, depth = heapq.heappop(heap)
            if not self.is_better(-self.sign * rank if math.isfinite(rank) else self.sign * math.inf):
                continue
            self.nodes += 1
            for bound, child in self._process(region, depth):
                heapq.heappush(heap, (-self.sign * bound, next(counter), child, depth + 1))
            if heap and self._pays() and self.screening.close(self.root, -self.sign * heap[0][0]):
                # Every open region is part of the first one.
                heap.clear()
            self._report(heap)
        from oar_opt.solvers.highs import quiet_highs

        still_open = [-self.sign * rank for rank, *_ in heap]
        return self.claim(reason, still_open, f"highs {quiet_highs().version()}")

    def _process(self, region: Region, depth: int) -> list[tuple[float, Region]]:
        """Close the region (no children), or split it; children inherit its bound."""
        for _ in range(FIRST_ROUNDS if depth == 0 else 1):
            found = self._relax(region)
            if found is None:
                return []
            relaxation, bound, point = found
            if point is not None:
                region = self._without_dear_options(relaxation, region)
            if depth == 0:
                self.root, self.terms = region, len(relaxation.open_fixed)
            if self.stopped() is not None or (depth == 0 and self._pays()):
                return [(bound, region)]
            if depth > 0 and self._is_closed(relaxation, region, bound):
                return []
            first = self._by_disagreement(relaxation, point)
            smaller = self._tighten(relaxation, region, first if depth == 0 else first[:LATER_COORDINATES])
            if smaller is None:
                return []
            before, after = (ends[1] - ends[0] for ends in (region.theta, smaller.theta))
            decided = smaller.allowed.sum() < relaxation.region.allowed.sum()
            region = smaller
            if float(np.mean(after / np.maximum(before, 1e-12))) > SHRUNK and not decided:
                break
        children = self._split(relaxation, point, region, bound)
        if not children or (depth == 0 and len(relaxation.open_fixed) == 0):
            found = self._relax(region)
            if found is None or self._search_choices(found[0], found[1], self._patience()):
                return []
        return [(bound, child) for child in children] or [(bound, region)]

    def _pays(self) -> bool:
        """Whether to settle all choices of the first region by re-training: that takes little or not much longer than
        the search so far, and there is time for it."""
        expected = self.screening.expected_seconds(self.root, self.terms)
        return expected <= min(self.seconds_left(), max(SCREENING_SECONDS, SCREENING_SHARE * self.elapsed()))

    def _patience(self) -> float:
        """Seconds for HiGHS on the first region: less where re-training for all its choices does not take long."""
        expected = self.screening.expected_seconds(self.root, self.terms)
        return min(FIRST_SECONDS, max(LATER_SECONDS, expected / SCREENING_SHARE))

    def _relax(self, region: Region) -> tuple[Relaxation, float, Vector | None] | None:
        """The region's relaxation, bound and point; None where nothing better is in it."""
        relaxation = Relaxation(self.problem, self.bounds, region, self.target(), self.loss_limit)
        bound = relaxation.goal_bound(lambda: self.stopped() is not None)
        if bound is None or not self.is_better(bound):
            return None
        point = relaxation.program.solution
        if point is not None:
            self.try_choice(likeliest(relaxation, point))
        return relaxation, bound, point

    def _is_closed(self, relaxation: Relaxation, region: Region, bound: float) -> bool:
        """By re-training for its choices where they are few and it is quick, else by HiGHS if that has paid so far."""
        few = self.screening.choices(region).count <= FEW * self.screening.choices(self.root).count
        expected = self.screening.expected_seconds(region, len(relaxation.open_fixed))
        if few and expected <= max(FEW * SCREENING_SECONDS, FEW * self.elapsed()):
            return self.screening.close(region, bound)
        if self.wasted > WASTE * self.elapsed():
            return False
        begun = time.monotonic()
        closed = self._search_choices(relaxation, bound, max(LATER_SECONDS, LATER_SHARE * self.elapsed()))
        self.wasted += 0.0 if closed else time.monotonic() - begun
        return closed

    def _without_dear_options(self, relaxation: Relaxation, region: Region) -> Region:
        """Without the options whose reduced cost says that no better move uses them."""
        target = self.target()
        if target is None:
            return region
        bounds = -self.sign * relaxation.program.with_upper_end(relaxation.z) + relaxation.goal[2]
        dear = relaxation.undecided[self.sign * (bounds - target) < 0]
        if not len(dear):
            return region
        allowed = region.allowed.copy()
        allowed[dear] = False
        return replace(region, allowed=allowed)

    def _tighten(self, relaxation: Relaxation, region: Region, coordinates: Iterable[int]) -> Region | None:
        low, high = region.theta[0].copy(), region.theta[1].copy()
        for j in coordinates:
            if self.stopped() is not None:
                break
            for sense, ends in ((1, high), (-1, low)):
                value = relaxation.maximum([(int(relaxation.theta[j]), 1.0)], sense)
                if value is None:
                    return None
                value += sense * WIDENING * (1 + abs(value))
                ends[j] = min(ends[j], value) if sense > 0 else max(ends[j], value)
            if low[j] > high[j]:
                return None
        return region.with_theta(low, high, self.bounds)

    def _disagreement(self, relaxation: Relaxation, point: Vector | None) -> Vector:
        """How much the copies of every coordinate differ from ``z theta``, in units of decision values, ``(p,)``."""
        low, high = relaxation.region.theta
        if point is None:
            return high - low
        z = point[relaxation.z]
        copies = low * z[:, None] + point[relaxation.copies]
        apart = np.abs(copies - z[:, None] * point[relaxation.theta])
        weight: Vector = (np.abs(self.bounds.stacked.xhat[relaxation.undecided]) * apart).sum(axis=0)
        return weight if weight.max(initial=0.0) > 1e-9 else high - low

    # -- splitting ---

    def _by_disagreement(self, relaxation: Relaxation, point: Vector | None) -> Indices:
        """The coordinates of ``theta``, those on which the copies disagree most first."""
        order: Indices = np.argsort(-self._disagreement(relaxation, point))
        return order

    def _split(self, relaxation: Relaxation, point: Vector | None, region: Region, bound: float) -> list[Region]:
        low, high = region.theta
        if self.problem.goal is GoalKind.MAX_MARGIN and math.isfinite(bound):
            target = self.target()
            floor = region.floor if target is None else max(region.floor, target)
            if math.isfinite(floor) and bound - floor > NARROW * max(1.0, abs(floor)):
                middle = 0.5 * (floor + bound)
                return [replace(region, floor=middle), replace(region, cap=min(region.cap, middle))]
        width = high - low
        j = int(self._by_disagreement(relaxation, point)[0])
        at = 0.5
        if point is not None:
            at = min(max((point[relaxation.theta[j]] - low[j]) / max(width[j], 1e-300), 0.2), 0.8)
        middle = low[j] + at * width[j]
        # The halves overlap: HiGHS has called a program infeasible whose only solution lay 1e-9 from an end.
        overlap = WIDENING * (1 + abs(middle))
        if width[j] <= 10 * overlap:
            return []
        below, above = high.copy(), low.copy()
        below[j], above[j] = middle + overlap, middle - overlap
        return [region.with_theta(low, below, self.bounds), region.with_theta(above, high, self.bounds)]

    def _search_choices(self, relaxation: Relaxation, bound: float, seconds: float) -> bool:
        """Whether HiGHS and re-training close the region within the seconds."""
        known = known_in(relaxation.region, self)
        return self.close(RelaxedChoices(relaxation), bound, known, seconds) is None

    def _report(self, heap: Sequence[tuple[float, int, Region, int]]) -> None:
        if self.request.progress is not None:
            primal = None if self.best is None else self.best.objective
            bound = self.bound(StoppedBy.TIME_LIMIT, [-self.sign * rank for rank, *_ in heap])
            self.request.progress(Progress(self.elapsed(), self.nodes, primal, bound))
