"""Solves one gradient step: prices by the dual, a choice by a mixed-integer program over what prices leave open.

1. The dual's least value is a bound (:mod:`oar_opt.step_dual`); where members are many, prices are found on a sample of
   them first. With ``max_margin`` under a mean whose divisor the choice changes, the level is raised to the best margin
   found and the dual solved again: ``S (m - tau) <= S_0 D`` gives ``m <= tau + max(0, D) S_0 / min S``.
2. A choice: those members for whom their second best choice at the best prices is nearly as good as the best are free,
   with their options and their changes at several prices; the others take their best (:mod:`oar_opt.step_choice`).
3. Where the members have finite options only and a gap is left, no option that the dual proves to be in no better
   choice is needed, and the program over the rest is exact.
4. Where features change and records are few, the choice is improved by projected gradient ascent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate
from oar_opt.limits import LEAST_SECONDS
from oar_opt.linear_program import Limits
from oar_opt.one_step import OneStep
from oar_opt.problem import GoalKind, Indices, Move, RecourseProblem, Vector
from oar_opt.result import Claim, Progress, Request, StoppedBy, relative_gap
from oar_opt.rules import budget_violations, with_rounding
from oar_opt.step_choice import Columns, Verdict, choose
from oar_opt.step_dual import Choice, DualGoal, DualSearch, Prices, StepDual
from oar_opt.step_offers import Offers, change_moves, held, item_moves, within_budgets

SAMPLE, CROWD, FINER = 10_000, 20_000, 0.01
"""Members in a sample, from how many on there is one, and its share of the tolerance."""
CUTS, CROWD_CUTS = 80, 6
"""Evaluations of the dual; over a crowd, after the sample."""
FREE, FREE_ITEMS, MOST_FREE = 300, 3000, 20_000
"""Members that are free in the choice: of those who change features, of others, and where it must be tried again."""
CHOICE_SECONDS = 10.0
LEVELS = 8
"""How often the level of a largest margin is raised at most."""
EXACT_ITEMS = 400_000
FEW_RECORDS = 2000
ASCENT_SECONDS = 1.0
WHOLE = 1e-6
"""A count is whole but for that."""


def solve_step(problem: RecourseProblem, request: Request) -> Claim:
    """The best choice found and the proved bound."""
    return _StepSolver(problem, request).run()


class _StepSolver:
    def __init__(self, problem: RecourseProblem, request: Request) -> None:
        self.problem, self.request = problem, request
        self.started = time.monotonic()
        self.step = OneStep.of(problem)
        self.evaluations = self.nodes = 0
        self.bound = np.inf
        self.best: Evaluation | None = None
        self.infeasible = False
        self.level: float | None = None

    # -- the whole ---

    def run(self) -> Claim:
        staying = self._take(())
        if self.step.count == 0:
            self._settle_without_members(staying)
            return self._claim()
        if self.problem.goal is GoalKind.MIN_MEMBERS and (staying is None or staying.at_best is None):
            self._prove(-1.0)
        if self.best is None:
            self._ascend()
        if not self._gap_is_closed() and self._is_within_reach():
            if self.problem.goal is GoalKind.MAX_MARGIN:
                self._raise_levels()
            else:
                self._solve_at(self.step.needs)
        return self._claim()

    def _settle_without_members(self, staying: Evaluation | None) -> None:
        """Nobody can change anything: staying is all there is."""
        at_best = None if staying is None else staying.at_best
        self.infeasible = at_best is None
        self.bound = -np.inf if at_best is None else self._signed(at_best)

    def _raise_levels(self) -> None:
        """``max_margin``: one level is enough where the divisor is fixed."""
        queries = len(self.problem.queries)
        levels = self.step.needs.copy()
        if self.step.has_fixed_divisor:
            levels[:queries] = 0.0
            self._solve_at(levels)
            return
        for _ in range(LEVELS):
            level = self.best.objective if self.best is not None else self._lowest_margin()
            levels[:queries] = level
            self.level = level
            self._solve_at(levels)
            if self._is_over() or self._gap_is_closed() or self.best is None or self.best.objective <= level:
                break

    def _lowest_margin(self) -> float:
        """A level to begin with, which no finite options lead below; the bound holds at any level."""
        step = self.step
        reach = np.abs(step.items.scores).sum(axis=0) + np.abs(step.fixed)
        return float((step.start - reach / step.least_divisor)[: len(self.problem.queries)].min())

    def _is_within_reach(self) -> bool:
        """Whether mixtures of choices meet all needs; if not, the instance is infeasible."""
        problem, step = self.problem, self.step
        needed = np.ones(len(step.needs), dtype=bool)
        needed[: len(problem.queries)] = problem.goal in (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS)
        if self.best is not None or not needed.any():
            return True
        none, nan = np.zeros(len(needed), dtype=bool), np.full(len(needed), np.nan)
        goal = DualGoal(needed, none, 0.0, 0.0, nan, *self._budgets())
        dual = StepDual(step, step.needs, stop=self._is_over)
        search = DualSearch(dual, goal, self.problem.tolerances.feasibility / 100)
        search.run(self._first(goal), CUTS, lambda s: s.is_below_zero or s.model > 0 or self._is_over())
        self.evaluations += len(search.cuts)
        self.infeasible = search.is_below_zero
        return not self.infeasible

    # -- at given levels ---

    def _solve_at(self, levels: Vector) -> None:
        """Bound and choice at these levels."""
        dual = StepDual(self.step, levels, stop=self._is_over)
        goal = self._goal(dual)
        search = self._least(dual, goal)
        self._prove(search.bound)
        if self._gap_is_closed() or self._is_over() or search.answered is None:
            return
        near = within_budgets(dual, goal, search.answered)
        self._take(self._moves(dual, near))
        if not self._gap_is_closed():
            self._choose(search, near, levels)
            self._ascend()
        if not dual.has_sets and not self._gap_is_closed() and not self._is_over():
            self._prove(self._exactly(search))

    def _prove(self, bound: float) -> None:
        """Enter a bound on the dual's goal: on the margin itself, unless the divisor and so the level varies."""
        if self.level is not None:
            bound = self.level + max(0.0, bound) * self.step.divisor / self.step.least_divisor
        counts = self.problem.goal in (GoalKind.MIN_MEMBERS, GoalKind.MAX_HELPED)
        self.bound = min(self.bound, float(np.floor(bound + WHOLE)) if counts and np.isfinite(bound) else bound)
        self._report()

    def _goal(self, dual: StepDual) -> DualGoal:
        problem = self.problem
        S, queries = len(self.step.needs), len(problem.queries)
        kind = problem.goal
        simplex = np.zeros(S, dtype=bool)
        simplex[:queries] = kind is GoalKind.MAX_MARGIN
        waived = np.full(S, np.nan)
        if kind is GoalKind.MAX_HELPED:
            waived[:queries] = self._waived(dual)
        cost, acting = float(kind is GoalKind.MIN_COST), float(kind is GoalKind.MIN_MEMBERS)
        return DualGoal(simplex, ~simplex, cost, acting, waived, *self._budgets())

    def _budgets(self) -> tuple[float | None, int | None]:
        """The total, as far as the rules let sums of costs go, and the number of members."""
        budget = self.problem.collective.budget
        return None if budget.total is None else with_rounding(budget.total), budget.members

    def _waived(self, dual: StepDual) -> Vector:
        """How far below 0 each query's excess can fall, by the members' worst choices."""
        found = []
        for q in range(len(self.problem.queries)):
            price = np.zeros(len(self.step.needs))
            price[q] = -1.0
            worst = dual.answer(Prices(price, 0.0, 0.0), self.problem.tolerances.feasibility).bounds.sum()
            found.append(max(0.0, float(worst - dual.base[q])) + self.problem.tolerances.feasibility)
        return np.array(found)

    def _least(self, dual: StepDual, goal: DualGoal) -> DualSearch:
        search = DualSearch(dual, goal, self._tolerance())
        if dual.count > CROWD:
            self._least_of_crowd(search)
        else:
            search.run(self._first(goal), CUTS, lambda _: self._is_over())
        self.evaluations += len(search.cuts)
        return search

    def _least_of_crowd(self, search: DualSearch) -> None:
        """Prices by a sample, whose slope is set right by the whole each time that these are not good enough."""
        dual = search.dual
        some = np.sort(np.random.default_rng(0).choice(dual.count, SAMPLE, replace=False))
        part = StepDual(self.step, dual.levels, some, self._is_over)
        # The bound is flat where it is least, what budgets leave unspent is not.
        sample = DualSearch(part, search.goal, FINER * search.tolerance, scale=dual.count / SAMPLE)
        sample.run(self._first(search.goal), CUTS, lambda _: self._is_over())
        for _ in range(CROWD_CUTS):
            self.evaluations += len(sample.points)
            x = sample.best
            search.evaluate(x)
            if self._is_over() or self._is_near(search):
                return
            sample = sample.shifted(search, x)
            sample.run(x, CUTS, lambda _: self._is_over())

    def _is_near(self, search: DualSearch) -> bool:
        """Whether the answer to the best prices, made to obey the budgets, is as good as the gap asked for."""
        if self.problem.goal is not GoalKind.MAX_MARGIN or self.level is not None or search.answered is None:
            return False
        rows, _, _ = search.dual.sums(within_budgets(search.dual, search.goal, search.answered))
        excess = search.dual.base + rows
        if (excess[search.goal.required] < 0).any():
            return False
        left = search.bound - float(excess[search.goal.simplex].min())
        return left <= 0.5 * self.request.relative_gap * max(1.0, abs(search.bound))

    def _first(self, goal: DualGoal) -> Vector:
        x = np.zeros(goal.size)
        simplex = goal.simplex
        x[: len(simplex)][simplex] = 1.0 / max(1, int(simplex.sum()))
        return x

    def _tolerance(self) -> float:
        size = 1.0 if self.best is None else max(1.0, abs(self.best.objective))
        return 0.05 * self.request.relative_gap * size

    # -- choices ---

    def _choose(self, search: DualSearch, near: Choice, levels: Vector) -> None:
        """The best choice with some members free, and the others as in the one near the answer to the best prices."""
        dual, answered = search.dual, search.answered
        assert answered is not None
        free = FREE if dual.has_sets else FREE_ITEMS
        while not self._is_over():
            who = np.sort(np.argsort(answered.margins, kind="stable")[:free])
            if self._with_free(search, near, who, levels) or len(who) == dual.count or free >= MOST_FREE:
                return
            free *= 4

    def _with_free(self, search: DualSearch, near: Choice, who: Indices, levels: Vector) -> bool:
        """Whether a choice was found with these members free, and the others as they are."""
        dual = search.dual
        offers = Offers(self.step, dual, levels, who)
        offers.add_own(near)
        offers.add_changes(search, self._tolerance() / max(1, dual.count))
        others = np.ones(dual.count, dtype=bool)
        others[who] = False
        rest = held(near, others)
        rows, spent, acting = dual.sums(rest)
        limits = self._limits()
        limits = replace(limits, seconds=min(CHOICE_SECONDS, np.inf if limits.seconds is None else limits.seconds))
        others_moves = self._moves(dual, rest)
        chosen = choose(
            self.problem.goal,
            search.goal,
            dual.base + rows,
            spent,
            acting,
            offers.columns(),
            limits,
            lambda taken: self._verdict([*others_moves, *offers.moves(taken)]),
        )
        self.nodes += chosen.nodes
        return chosen.columns is not None

    def _moves(self, dual: StepDual, choice: Choice) -> list[Move]:
        moves = item_moves(self.step, dual, choice.item[choice.set < 0])
        if len(choice.e):
            moves += change_moves(self.problem, dual, choice.set[choice.changing], choice.e)
        return moves

    def _exactly(self, search: DualSearch) -> float:
        """Over all options that may be part of a better choice than the best known: a bound on all choices."""
        dual, answered = search.dual, search.answered
        assert answered is not None
        known = self._known()
        if self.level is not None:
            known = 0.0 if self.best is not None else -np.inf
        prices = search.goal.prices(search.best)
        value = dual.rows @ prices.excess - prices.cost * dual.cost - prices.acting * dual.acts
        lost = answered.bounds[dual.item_member] - value
        slack = 1e-9 * max(1.0, abs(search.bound))
        keep = search.bound - lost >= known - slack
        count = np.bincount(dual.item_member[keep], minlength=dual.count)
        if keep.sum() > EXACT_ITEMS:
            return search.bound
        if (count == 0).any():
            return known
        single = np.flatnonzero(keep & (count[dual.item_member] == 1))
        fixed = dual.of_items(single)
        several = np.flatnonzero(keep & (count[dual.item_member] > 1))
        base = dual.base + fixed.rows.sum(axis=0)
        columns = Columns(dual.item_member[several], dual.of_items(several))
        spent, acting = float(fixed.cost.sum()), float(fixed.acts.sum())
        chosen = choose(
            self.problem.goal,
            search.goal,
            base,
            spent,
            acting,
            columns,
            self._limits(),
            lambda taken: self._verdict(item_moves(self.step, dual, np.concatenate([single, several[taken]]))),
        )
        self.nodes += chosen.nodes
        if chosen.ended and chosen.columns is None and np.isneginf(known):
            self.infeasible = self.problem.goal is not GoalKind.MAX_MARGIN or bool(self.problem.guards)
        return min(search.bound, max(chosen.bound, known))

    # -- answers ---

    def _take(self, moves: Sequence[Move]) -> Evaluation | None:
        """Their outcome (None: they overdraw a budget, or are undefined), kept where it is the best answer so far."""
        if budget_violations(self.problem, moves):
            return None
        try:
            outcome = evaluate(self.problem, moves)
        except UndefinedLearner:
            return None
        if outcome.improves_on(self.best):
            self.best = outcome
        return outcome

    def _verdict(self, moves: Sequence[Move]) -> Verdict:
        """What these moves are; an answer is kept where it is the best so far."""
        outcome = self._take(moves)
        if outcome is None or outcome.at_best is None:
            return Verdict.NO_ANSWER
        exact = outcome.is_answer and outcome.inaccuracy <= self.problem.tolerances.feasibility
        return Verdict.ANSWER if exact else Verdict.UNKNOWN

    def _ascend(self) -> None:
        """Local improvement of the features' changes, or a first answer, where a search for slopes is cheap."""
        if self.step.sets is None or self.problem.n > FEW_RECORDS or self._gap_is_closed() or self._is_over():
            return
        from oar_opt.heuristics.projected_gradient import ProjectedGradient

        if ProjectedGradient().accepts(self.problem) is not None:
            return
        if self.best is not None and self._climb_from(self.best):
            return
        proposal = ProjectedGradient().propose(self.problem, time_limit=min(ASCENT_SECONDS, self._left()))
        self._take(proposal.moves)

    def _climb_from(self, best: Evaluation) -> bool:
        """Whether the moves of an answer lead up to a better one."""
        from oar_opt.heuristics.projected_gradient import improve

        records = self.problem.records
        changed = {m.record: np.array(m.x) - records.X[m.record] for m in best.moves}
        options = {member.record: self.problem.options(member) for member in self.problem.collective.members}
        finite = {
            move.record: option
            for move in best.moves
            for option in options[move.record][1:]
            if (option.x, option.y, option.s) == (move.x, move.y, move.s)
        }
        deltas = {record: delta for record, delta in changed.items() if record not in finite}
        found = improve(self.problem, deltas, finite, time_limit=min(ASCENT_SECONDS, self._left()))
        if found is None or not found.improves_on(best):
            return False
        self.best = found
        return True

    def _known(self) -> float:
        """The best value known, in the dual's sense."""
        values = [] if self.best is None else [self._signed(self.best.objective)]
        if self.request.cutoff is not None:
            values.append(self._signed(self.request.cutoff))
        return max(values, default=-np.inf)

    def _signed(self, value: float) -> float:
        return value if self.problem.goal.maximises else -value

    # -- limits ---

    def _left(self) -> float:
        limit = self.request.time_limit
        return np.inf if limit is None else max(LEAST_SECONDS, limit - (time.monotonic() - self.started))

    def _is_over(self) -> bool:
        return self.request.interrupted() or self._left() <= LEAST_SECONDS

    def _limits(self) -> Limits:
        seconds = None if self.request.time_limit is None else self._left()
        return Limits(seconds, 0.2 * self.request.relative_gap, self.request.threads, self.request.interrupted)

    def _gap_is_closed(self) -> bool:
        known = self._known()
        return np.isfinite(known) and relative_gap(known, max(known, self.bound)) <= self.request.relative_gap

    def _report(self) -> None:
        if self.request.progress is not None:
            primal = None if self.best is None else self.best.objective
            bound = self._signed(self.bound) if np.isfinite(self.bound) else None
            self.request.progress(Progress(time.monotonic() - self.started, self.nodes, primal, bound))

    def _claim(self) -> Claim:
        from oar_opt.solvers.highs import quiet_highs

        own = None if self.best is None else self._signed(self.best.objective)
        bound = self.bound if own is None else max(self.bound, own)
        if self.infeasible or self._gap_is_closed():
            reason = StoppedBy.PROOF if self.infeasible else StoppedBy.GAP
        elif self.request.interrupted():
            reason = StoppedBy.INTERRUPT
        else:
            reason = StoppedBy.TIME_LIMIT if self._left() <= LEAST_SECONDS else StoppedBy.NODE_LIMIT
        return Claim(
            stopped_by=reason,
            moves=None if self.best is None else self.best.moves,
            objective=None if self.best is None else self.best.objective,
            bound=self._signed(bound) if np.isfinite(bound) and not self.infeasible else None,
            infeasible=self.infeasible,
            parameters=None if self.best is None else self.best.parameters,
            solver=f"lagrangian dual (numpy) and highs {quiet_highs().version()}",
            nodes=self.nodes + self.evaluations,
        )
