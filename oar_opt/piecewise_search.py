"""Relaxations on pieces, solved one after the other: each is cut where the last solution's products were wrong.

A round states the relaxation of :mod:`oar_opt.piecewise_model`, has it solved as a mixed-integer linear program, makes
the moves that its solution suggests and re-trains them, and lets a local search improve them. Then it adds tangents
where the solution breaks a ball, and cuts the pieces whose products are off by most, each error weighted by what it
does to the first query's margin to first order: errors of ``u`` enter stationarity as they are, those of a decision
value through the mean slope of the record's graph.

Every round's bound holds for the whole problem, that of an unfinished run too, so the best of all is kept. Rounds end
where the gap is closed, at a limit, or where nothing is left to refine: then the solution is a point of the exact
program, and what is left is the gap of the last run or a tie that the relaxation settles in the collective's favour.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from oar_opt.contracts import Program, PyomoProgram
from oar_opt.errors import SolverError, VerificationError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.heuristics.projected_gradient import ProjectedGradient, improve
from oar_opt.piecewise_cells import Partition
from oar_opt.piecewise_model import Pair, PiecewiseModel
from oar_opt.piecewise_tightening import Nothing, Tightening
from oar_opt.problem import GoalKind, Move, Option, OptionKind, Vector
from oar_opt.result import Claim, Progress, Request, StoppedBy
from oar_opt.rules import budget_violations
from oar_opt.solvers import run_pyomo
from oar_opt.solvers.highs import quiet_highs
from oar_opt.verification import move_violation

PART_OF_GAP = 0.1
"""Of the gap that is left, what one round's run may leave open."""
FIRST_GAP = 1e-3
FIRST_POLISHING, POLISHING, POLISHING_SHARE = 1.0, 0.3, 0.2
"""Seconds of the first local search where no answer is known, of every later one, and of all of them together as a part
of the whole."""
MOST_CUTS, WORTH_CUTTING = 4, 0.2
"""Pieces cut in one round, and the least error of one of them, as a part of the largest."""
TIGHTENING_SHARE, STALLED = 0.3, 0.9
"""Of the time that is left, what tightening takes at most; it goes on while all widths together shrink by that."""
CUT_SLACK = 0.25
"""Of the wanted gap, how much worse than the best answer moves may be to stay in the relaxation."""
WORTH_TANGENTS, SMALL = 1e-3, 1e-3
"""Tangents are added to a linear program while its bound gains that share of its size, which counts as at least
``SMALL``."""
LEAST_SECONDS = 0.01
"""Asked of a solver; writing a program may have taken the rest."""
EXACT = 1e-9
"""Weighted errors below that are no reason to cut."""


@dataclass(frozen=True)
class PiecewiseProgram(Program):
    """The model, ready to be refined; a run goes on from where the last one ended."""

    model: PiecewiseModel

    def run(self, request: Request) -> Claim:
        return PiecewiseSearch(self.model, request).run()

    def written(self) -> PyomoProgram:
        """The relaxation of the first round, without a cut."""
        self.model.rewrite()
        return relaxation_of(self.model)


def relaxation_of(model: PiecewiseModel) -> PyomoProgram:
    """The relaxation on the model's present pieces."""
    return replace(model.pyomo_program(), quantities={})


class PiecewiseSearch:
    """One run; see the module's docstring."""

    def __init__(self, model: PiecewiseModel, request: Request) -> None:
        self.model, self.request, self.problem = model, request, model.problem
        self.sign = 1.0 if self.problem.goal.maximises else -1.0
        self.started = time.monotonic()
        self.best: Evaluation | None = None
        self.bound = model.goal_end
        """In the goal's own sense."""
        self.bounds: list[float] = []
        """After every round."""
        self.infeasible = False
        self.nodes, self.rounds, self.polishing = 0, 0, 0.0
        self.solver = f"highs {quiet_highs().version()}"
        """Of the linear programs at first, then of the last round."""
        self.polishes = ProjectedGradient().accepts(self.problem) is None
        if request.start is not None:
            self._consider(evaluate(self.problem, request.start))

    def run(self) -> Claim:
        self._polish({}, {}, FIRST_POLISHING if self.best is None else POLISHING)
        stopped = self._limit()
        while stopped is None:
            stopped = self._round()
        return self._claim(stopped)

    # -- one round ---

    def _round(self) -> StoppedBy | None:
        """Why the search ends with this round, or None."""
        self.rounds += 1
        try:
            self._tighten()
        except Nothing:
            return self._exhausted()
        limit = StoppedBy.GAP if self._is_done() else self._limit()
        if limit is not None:
            return limit
        gap = self._gap_of_round()
        self.model.rewrite()
        claim = run_pyomo(self._program(), self._request(gap))
        self.solver, self.nodes = claim.solver, self.nodes + claim.nodes + 1
        if claim.infeasible:
            return self._exhausted()
        self._take_bound(claim.bound)
        if claim.moves is not None:
            self._try(claim.moves)
        self._report()
        if self._is_done():
            return StoppedBy.GAP
        if claim.stopped_by is not StoppedBy.GAP or claim.moves is None:
            return claim.stopped_by
        if not self._refine() and gap <= self._least_gap:
            return StoppedBy.GAP
        return self._limit()

    def _program(self) -> PyomoProgram:
        return relaxation_of(self.model)

    def _request(self, gap: float) -> Request:
        limit, left = self.request.node_limit, self._left()
        return replace(
            self.request,
            time_limit=None if left is None else max(LEAST_SECONDS, left),
            node_limit=None if limit is None else max(1, limit - self.nodes),
            relative_gap=gap,
            progress=None,
            start=self.best.moves if self.best else None,
            start_parameters=self.best.parameters if self.best else None,
            cutoff=None,
        )

    @property
    def _least_gap(self) -> float:
        return 0.5 * self.request.relative_gap

    def _gap_of_round(self) -> float:
        """Closer as the whole gap gets smaller."""
        if self.best is None or not self.bounds:
            return max(self._least_gap, FIRST_GAP)
        value = self.best.objective
        left = abs(self.bound - value) / max(1.0, abs(value))
        return max(self._least_gap, PART_OF_GAP * left)

    def _take_bound(self, bound: float | None) -> None:
        if bound is not None and math.isfinite(bound):
            if self.problem.goal is GoalKind.MIN_MEMBERS:
                bound = float(math.ceil(bound - 1e-6))
            elif self.problem.goal is GoalKind.MAX_HELPED:
                bound = float(math.floor(bound + 1e-6))
            self.bound = min(self.bound, bound) if self.sign > 0 else max(self.bound, bound)
        self.bounds.append(self.bound)

    def _exhausted(self) -> StoppedBy:
        """The relaxation has no point; it holds the best answer, where there is one."""
        if self.best is not None:
            raise SolverError(
                f"{self.solver} finds no point of a relaxation that holds a verified answer: "
                "bring the features to one scale, or use another formulation"
            )
        self.infeasible = True
        return StoppedBy.PROOF

    # -- intervals ---

    def _tighten(self) -> None:
        """Shrink the intervals for moves about as good as the best answer, while it helps; bounds the goal too."""
        now, left = time.monotonic(), self._left()
        until = math.inf if left is None else now + TIGHTENING_SHARE * left
        value = None if self.best is None else self.best.objective
        slack = CUT_SLACK * self.request.relative_gap * max(1.0, abs(value or 0.0))
        self.model.demand(value, self._bound(), slack)

        def stop() -> bool:
            return self.request.interrupted() or time.monotonic() > until

        while not stop():
            width, program = self.model.width, self._relaxed(stop)
            if program is None or self._is_done():
                return
            program.sweep()
            if self.model.width > STALLED * width:
                return

    def _relaxed(self, stop: Callable[[], bool]) -> Tightening | None:
        """The linear relaxation with the tangents that its optimum asks for; None where it cannot tighten."""
        while True:
            self.model.rewrite()
            program = Tightening(self.model, stop)
            if not program.is_bounded:
                return None
            before = self.bound
            self._take_bound(program.goal_bound())
            gained = abs(self.bound - before) > WORTH_TANGENTS * max(SMALL, abs(self.bound))
            if stop() or self._is_done() or not program.load() or not self._add_tangents() or not gained:
                return program

    def _add_tangents(self) -> bool:
        return any([ball.refine() for ball in self.model.balls])

    # -- answers ---

    def _try(self, moves: tuple[Move, ...]) -> None:
        """Re-train with these moves, and with what a local search makes of them, while that takes little time."""
        if not (budget_violations(self.problem, moves) or any(move_violation(self.problem, move) for move in moves)):
            with suppress(UndefinedLearner):
                self._consider(evaluate(self.problem, moves))
        if self._is_done() or self.polishing > POLISHING_SHARE * (time.monotonic() - self.started):
            return
        self._polish(*self._parts(moves), POLISHING)

    def _polish(self, deltas: dict[int, Vector], options: dict[int, Option], most: float) -> None:
        """A local search from these choices, where there is one for this learner."""
        began, left = time.monotonic(), self._left()
        if not self.polishes or (left is not None and left <= 0):
            return
        limit = most if left is None else min(most, POLISHING_SHARE * left)
        self._consider(improve(self.problem, deltas, options, seed=self.rounds, time_limit=limit))
        self.polishing += time.monotonic() - began

    def _parts(self, moves: tuple[Move, ...]) -> tuple[dict[int, Vector], dict[int, Option]]:
        """Feature changes, and finite options, by record."""
        deltas, chosen = {}, {}
        menus = dict(self.model.menus)
        for move in moves:
            same = [
                option
                for option in menus[move.record]
                if option.kind is not OptionKind.STAY
                and (option.x, option.y, option.s, option.cost) == (move.x, move.y, move.s, move.cost)
            ]
            if same:
                chosen[move.record] = same[0]
            else:
                deltas[move.record] = np.array(move.x) - self.problem.records.X[move.record]
        return deltas, chosen

    def _consider(self, outcome: Evaluation | None) -> None:
        if outcome is not None and outcome.improves_on(self.best):
            self.best = outcome

    # -- refining ---

    def _refine(self) -> bool:
        """Whether anything was added or cut."""
        added = self._add_tangents()
        return self._cut() or added

    def _cut(self) -> bool:
        """Cut the pieces whose products are off by most."""
        scored = sorted(self._scores(), key=lambda item: -item[0])
        worth = [item for item in scored if item[0] > max(EXACT, WORTH_CUTTING * scored[0][0])]
        return any([partition.cut(value) for _, partition, value in worth[:MOST_CUTS]])

    def _scores(self) -> list[tuple[float, Partition, float]]:
        """What the error of every cut factor does to the margin, with its partition and its present value."""
        model, towards = self.model, self._towards()
        found: list[tuple[float, Partition, float]] = []
        in_values = dict.fromkeys(model.weight_pieces, 0.0)
        for place, pair in enumerate(model.shapes):
            if not model.is_used(pair):
                continue
            errors = model.pull_errors(pair)[:, None] * model.shapes[pair].rows
            found.append((self._size(errors.sum(axis=0), towards), model.pull_pieces[pair], model.pulls[pair].value))
            slope = self._slope(place)
            for j, error in model.value_errors(pair).items():
                in_values[j] += self._size(slope * error * self._moved(pair), towards)
        found += [(score, model.weight_pieces[j], model.model.weight[j].value) for j, score in in_values.items()]
        return found

    def _moved(self, pair: Pair) -> Vector:
        """The record after its present change."""
        shape = self.model.shapes[pair]
        moved: Vector = shape.xhat + np.array([step.value for step in self.model.steps(pair)]) @ shape.rows
        return moved

    def _slope(self, place: int) -> float:
        """The mean slope of the graph of a change set, over the interval of its decision value."""
        box, pulls = self.model.bounds.of_changes, self.model.bounds.pulls_of_changes
        width = float(box.upper[place] - box.lower[place])
        return float(pulls[1][place] - pulls[0][place]) / max(width, EXACT)

    @staticmethod
    def _size(gradient: Vector, towards: Vector) -> float:
        """Of an error of the gradient; the second term keeps errors that do nothing to first order in the list."""
        return abs(float(towards @ gradient)) + 0.05 * float(np.linalg.norm(towards)) * float(np.linalg.norm(gradient))

    def _towards(self) -> Vector:
        """How the first query's margin answers to the gradient, with the curvature of the fixed records' lines."""
        model, risk = self.model, self.model.risk
        fixed, box = model.bounds.fixed, model.bounds.of_fixed
        H = risk.lam * np.diag(risk.penalty)
        for r in range(len(fixed)):
            low, high = float(box.lower[r]), float(box.upper[r])
            if math.isfinite(low) and math.isfinite(high) and high > low:
                g_low, g_high = risk.loss.pulls_over(float(fixed.y[r]), low, high)
                slope = (g_high - g_low) / (high - low)
            else:
                slope = risk.loss.curvature()
            H += fixed.a[r] * slope * np.outer(fixed.xhat[r], fixed.xhat[r])
        query = risk.extend(np.array([self.problem.queries[0].x]))[0]
        towards: Vector = np.linalg.lstsq(H, query, rcond=None)[0]
        return towards

    # -- limits and what comes out ---

    def _is_done(self) -> bool:
        if self.best is None:
            return False
        value = self.best.objective
        beyond = self.sign * (self.bound - value)
        if self.problem.goal in (GoalKind.MIN_MEMBERS, GoalKind.MAX_HELPED):
            return beyond < 1 - 1e-6
        return beyond <= self.request.relative_gap * max(1.0, abs(value)) * 0.9

    def _left(self) -> float | None:
        limit = self.request.time_limit
        return None if limit is None else limit - (time.monotonic() - self.started)

    def _limit(self) -> StoppedBy | None:
        if self.request.interrupted():
            return StoppedBy.INTERRUPT
        if self.request.node_limit is not None and self.nodes >= self.request.node_limit:
            return StoppedBy.NODE_LIMIT
        left = self._left()
        return StoppedBy.TIME_LIMIT if left is not None and left <= 0 else None

    def _claim(self, stopped: StoppedBy) -> Claim:
        if self.infeasible:
            return Claim(StoppedBy.PROOF, infeasible=True, solver=self.solver, nodes=self.nodes)
        best = self.best
        self._check_bound()
        return Claim(
            stopped,
            moves=None if best is None else best.moves,
            objective=None if best is None else best.objective,
            bound=self._bound(),
            parameters=None if best is None else best.parameters,
            solver=self.solver,
            nodes=self.nodes,
        )

    def _check_bound(self) -> None:
        """A verified answer that is better than the bound by more than tolerances refutes it."""
        if self.best is None:
            return
        value, limit = self.best.objective, self.problem.tolerances.relative_gap
        if self.sign * (value - self.bound) > limit * max(1.0, abs(value)):
            raise VerificationError(
                f"{self.solver} bounds the goal by {self.bound:.8g}, and a verified answer reaches "
                f"{value:.8g}: please report it, and use another formulation"
            )

    def _bound(self) -> float:
        """A verified answer beyond the bound, by the tolerances of both, moves it."""
        if self.best is None:
            return self.bound
        worst = max if self.sign > 0 else min
        return worst(self.bound, self.best.objective)

    def _report(self) -> None:
        if self.request.progress is None:
            return
        primal = None if self.best is None else self.best.objective
        self.request.progress(Progress(time.monotonic() - self.started, self.nodes, primal, self._bound()))
