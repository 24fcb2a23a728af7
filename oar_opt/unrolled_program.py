"""Gradient steps as rows of a program: the iterates, and what every arriving record pulls in every step.

The statement is that of :mod:`formulations.single_level.unrolled`, and its letters hold here. A member's pull in a step
is ``z g``, written by the rows of :mod:`oar_opt.unrolled_pulls`, with the intervals of :mod:`oar_opt.unrolled_ranges`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.active_bounds import Quantity
from oar_opt.bounds import Interval, ProvedBound
from oar_opt.contracts import PyomoProgram
from oar_opt.discovery import not_replayed
from oar_opt.menu_program import Margin, MenuModel, dot, row
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import GoalKind, Matrix, Move, Query, RecourseProblem, UpdateKind, Vector
from oar_opt.result import Request
from oar_opt.solver_features import SolverFeature
from oar_opt.unrolled_pulls import Arrival, add_pull, unsteady
from oar_opt.unrolled_ranges import Batch, UnrolledRanges, unroll
from oar_opt.update_settings import GradientSettings, StepLoss

WIDEST = 1e4
"""Largest interval of a decision value in units of the targets, and largest factor by which the weight of a batch may
change; times a solver's integrality tolerance, 1e-4."""
MOST_ALTERNATIVES = 2000
"""Of all members: every one's interval is followed through the others'."""

Starter = Callable[["Trace"], Mapping[str, float]]
"""Values of further variables for known moves."""


@dataclass(frozen=True)
class Trace:
    """What known moves lead to: the iterates ``(T + 1, p)``, and the values of choices and steps by name."""

    thetas: Matrix
    values: Mapping[str, float]


def no_gradient(problem: RecourseProblem) -> str | None:
    """Why the update is no sequence of gradient steps that programs state, or None."""
    if problem.update.kind is not UpdateKind.GRADIENT:
        return f"the update '{problem.update.kind}' makes no gradient steps"
    if problem.max_loss_increase is not None:
        return "max_loss_increase is a convex nonlinear constraint on the last step, which is not stated here"
    return not_replayed(problem) or _too_many(problem)


def _too_many(problem: RecourseProblem) -> str | None:
    """Why proving an interval for every alternative of every member would take too long, or None."""
    total = 0
    for member in problem.collective.members:
        total += len(problem.admissible_options(member)) + len(member.feature_actions)
        if total > MOST_ALTERNATIVES:
            return (
                f"the members have more than {MOST_ALTERNATIVES} alternatives, whose intervals take too long to prove"
            )
    return None


class UnrolledModel(MenuModel):
    """A :class:`MenuModel` with the iterates ``theta[t,j]``; ``theta_0`` is given.

    ``ranges`` proves; ``proved`` collects what the rows rest on; ``starters`` give start values.
    """

    def __init__(self, problem: RecourseProblem, request: Request) -> None:
        super().__init__(problem, request)
        self.settings = GradientSettings.of(problem)
        self.add_sets()
        self.ranges = UnrolledRanges(problem, self.settings, self.menus, self.sets)
        self.proved: dict[str, ProvedBound] = {}
        self.quantities: dict[str, Quantity] = {}
        self.starters: list[Starter] = []

    def add_sets(self) -> None:
        """The members' change sets, where a subclass knows them."""

    @property
    def p(self) -> int:
        return len(self.settings.theta0)

    def names(self) -> list[str]:
        """What the parameters belong to."""
        return [f"weight of '{feature.name}'" for feature in self.problem.features] + ["intercept"]

    # -- is it fit for a solver ---

    def unproved(self) -> str | None:
        """Why the proved intervals do not carry a program, or None."""
        for t, batch in enumerate(self.ranges.batches):
            if not batch.widest <= WIDEST:
                return f"the weight of batch {t} may change by more than a solver's tolerances bear, or is always 0"
        subjects = np.array([self._subject(query) for query in (*self.problem.queries, *self.problem.guards)])
        boxes = [self.ranges.along(subjects, self.settings.T), self.ranges.along(np.eye(self.p), self.settings.T)]
        for known in self.ranges.known:
            boxes += [known.anyhow, known.given, known.fixed]
        widest = max(_widest(box) for box in boxes)
        if widest > WIDEST * self.unit:
            return (
                f"decision values in an interval narrow enough for a solver's tolerances (it is {widest:.3g} wide): "
                "make fewer or shorter steps, or bring the features to one scale"
            )
        return None

    @property
    def unit(self) -> float:
        """The size of a typical decision value: that of the targets."""
        targets = np.append(self.problem.records.y, self.ranges.alternatives.y)
        return max(1.0, float(np.abs(targets).max()))

    # -- rows ---

    def add_steps_of_learner(self) -> None:
        """The iterates, and the rows that lead from each to the next."""
        m = self.model
        steps = range(self.settings.T)
        boxes = [self.ranges.along(np.eye(self.p), t + 1) for t in steps]
        m.theta = pyo.Var(
            [(t + 1, j) for t in steps for j in range(self.p)],
            bounds=lambda _, t, j: (float(boxes[t - 1].lower[j]), float(boxes[t - 1].upper[j])),
        )
        m.fixed_pull, m.pull = pyo.Block(pyo.Any), pyo.Block(pyo.Any)
        m.shift = pyo.Var([(t, j) for t in steps if self.ranges.batches[t].varies for j in range(self.p)])
        m.weighed = pyo.Block([t for t in steps if self.ranges.batches[t].varies])
        m.update = pyo.Constraint(steps, range(self.p))
        for t in steps:
            for j, direction in enumerate(np.eye(self.p)):
                self.keep(f"theta[{t + 1},{j}]", self._words(t + 1, j), boxes[t].bound(j), t + 1, direction)
            self._add_step(t)
        self.starters.append(self._start_iterates)

    def _words(self, t: int, j: int) -> str:
        return f"{self.names()[j]} after {t} step{'s' if t > 1 else ''}"

    def keep(self, name: str, words: str, bound: ProvedBound, t: int, direction: Vector) -> None:
        """Keep the interval of ``direction'theta_t``, which holds for all moves."""
        self.proved[name] = bound

        def value(moves: Sequence[Move], _: Parameters) -> float | None:
            thetas = unroll(self.settings, self.problem.apply(moves))
            return None if thetas is None else float(thetas[t] @ direction)

        self.quantities[name] = Quantity(words, value)

    def theta(self, t: int) -> list[Any]:
        """The parameters after ``t`` steps: numbers for 0, else variables."""
        return [float(v) for v in self.settings.theta0] if t == 0 else [self.model.theta[t, j] for j in range(self.p)]

    def value(self, t: int, xhat: Vector) -> Any:
        """``xhat'theta_t``."""
        return dot(xhat, self.theta(t))

    def _add_step(self, t: int) -> None:
        batch, m = self.ranges.batches[t], self.model
        terms = self._fixed_terms(t, batch)
        for i in np.flatnonzero(batch.members):
            terms += self.member_terms(t, int(i))
        before, after, kept = self.theta(t), self.theta(t + 1), self.settings.kept
        share = self.settings.rate / batch.total
        gradient = [sum(float(v[j]) * part for v, part in terms if v[j]) for j in range(self.p)]
        if not batch.varies:
            for j in range(self.p):
                m.update[t, j] = after[j] == float(kept[j]) * before[j] - share * gradient[j]
            return
        weighed = self._weigh(t, batch)
        for j in range(self.p):
            m.update[t, j] = after[j] == float(kept[j]) * before[j] + m.shift[t, j]
            m.weighed[t].mean.add(m.shift[t, j] == weighed[j] - share * gradient[j])

    def _fixed_terms(self, t: int, batch: Batch) -> list[tuple[Vector, Any]]:
        """Vectors and factors whose sum is what the records of nobody pull."""
        known = self.ranges.known[t]
        pulls = known.fixed_pulls[0]
        if self.settings.loss is StepLoss.SQUARED and t > 0:
            gram, moment = 2.0 * (batch.X.T * batch.s) @ batch.X, 2.0 * (batch.s * batch.y) @ batch.X
            return [*((gram[:, j], variable) for j, variable in enumerate(self.theta(t))), (-moment, 1.0)]
        open_records = np.flatnonzero(unsteady(self.settings.loss, batch.y, known.fixed) & (t > 0))
        settled = np.ones(len(batch.y), dtype=bool)
        settled[open_records] = False
        terms: list[tuple[Vector, Any]] = [(pulls[settled] @ batch.X[settled], 1.0)]
        terms += [(batch.X[r], self._fixed_pull(t, batch, int(r))) for r in open_records]
        return terms

    def _fixed_pull(self, t: int, batch: Batch, r: int) -> Any:
        record, xhat, bound = int(batch.index[r]), batch.X[r], self.ranges.known[t].fixed.bound(r)
        y, s = float(batch.y[r]), float(batch.s[r])
        self.keep(f"f[{t},{record}]", f"decision value of record {record} in step {t}", bound, t, xhat)
        arrival = Arrival(self.settings.loss, self.value(t, xhat), 1.0, y, s, bound, bound)
        return self._pull(self.model.fixed_pull[t, record], arrival, lambda trace: float(trace.thetas[t] @ xhat))

    def _pull(self, block: Any, arrival: Arrival, value: Callable[[Trace], float]) -> Any:
        """The rows of one arrival, and how to start them."""
        found, starter = add_pull(block, arrival)
        if starter is not None:
            self.starters.append(lambda trace: starter(value(trace), trace.values))
        return found

    def member_terms(self, t: int, i: int) -> list[tuple[Vector, Any]]:
        """Vectors and factors whose sum is what member number ``i`` pulls in step ``t``."""
        places = [place for place, owner in enumerate(self.ranges.alternatives.owner) if owner == i]
        finite = [place for place in places if place < self.ranges.alternatives.first_set]
        if t == 0:
            pulls, X = self.ranges.known[0].pulls[0], self.ranges.alternatives.X
            return [(float(pulls[place]) * X[place], self.choice(place)) for place in finite if pulls[place]]
        if self.settings.loss is StepLoss.SQUARED:
            return self._squared_terms(t, finite, len(places))
        return [self._option_term(t, [place]) for place in finite if self.ranges.alternatives.s[place] > 0]

    def choice(self, place: int) -> Any:
        """The binary of an alternative."""
        return self.model.choice[self.pairs[place]]

    def _squared_terms(self, t: int, places: Sequence[int], alternatives: int) -> list[tuple[Vector, Any]]:
        """Options with the same features and weight share the product ``z f``; if there are no others, it is ``f``."""
        everything, groups = self.ranges.alternatives, dict[tuple[float, ...], list[int]]()
        for place in places:
            groups.setdefault((float(everything.s[place]), *everything.X[place].tolist()), []).append(place)
        found = []
        for own in groups.values():
            X, s = everything.X[own[0]], 2.0 * float(everything.s[own[0]])
            if s == 0:
                continue
            constant = sum(float(everything.y[place]) * self.choice(place) for place in own)
            if len(own) == alternatives:
                found.append((X, s * (self.value(t, X) - constant)))
            else:
                found.append(self._option_term(t, own))
        return found

    def _option_term(self, t: int, own: Sequence[int]) -> tuple[Vector, Any]:
        """Options with the same features and weight (losses with kinks and curves: just one)."""
        everything, known = self.ranges.alternatives, self.ranges.known[t]
        record, k = self.pairs[own[0]]
        xhat, y, s = everything.X[own[0]], float(everything.y[own[0]]), float(everything.s[own[0]])
        given = [known.given.bound(place) for place in own]
        widest = ProvedBound(
            min(one.lower for one in given),
            max(one.upper for one in given),
            given[0].lower_reason,
            given[0].upper_reason,
        )
        z = sum(self.choice(place) for place in own)
        targets = sum(float(everything.y[place]) * self.choice(place) for place in own)
        arrival = Arrival(self.settings.loss, self.value(t, xhat), z, y, s, widest, known.anyhow.bound(own[0]), targets)
        pull = self._pull(self.model.pull[t, record, k], arrival, lambda trace: float(trace.thetas[t] @ xhat))
        words = f"decision value of member {record} under option {k} in step {t}, whatever is chosen"
        self.keep(f"f[{t},{record},{k}]", words, known.anyhow.bound(own[0]), t, xhat)
        self._keep_given(t, own, widest, xhat, f"f[{t},{record},{k}] if chosen")
        return xhat, pull

    def _keep_given(self, t: int, own: Sequence[int], bound: ProvedBound, xhat: Vector, name: str) -> None:
        record, k = self.pairs[own[0]]
        self.keep(name, f"decision value of member {record} under option {k} in step {t}, if chosen", bound, t, xhat)
        always, names = self.quantities[name], [self.choice(place).name for place in own]

        def value(moves: Sequence[Move], parameters: Parameters) -> float | None:
            picked = self.start_choices(moves)
            return always.value(moves, parameters) if any(picked[one] for one in names) else None

        self.quantities[name] = Quantity(always.words, value)

    # -- means over a batch whose weight changes ---

    def _weigh(self, t: int, batch: Batch) -> list[Any]:
        """``sum_i (sbar_i - s_i) / Sbar v_t`` by products of ``v_t`` with choices, ``(p,)``."""
        m, box = self.model, self.ranges.shift(t)
        block = m.weighed[t]
        block.mean, block.rule = pyo.ConstraintList(), pyo.ConstraintList()
        for j in range(self.p):
            m.shift[t, j].setlb(float(box.lower[j]))
            m.shift[t, j].setub(float(box.upper[j]))
        groups = self._weight_groups(batch)
        block.product = pyo.Var([(i, w, j) for i, w, _, _ in groups for j in range(self.p)])
        for j in range(self.p):
            self._prove_shift(t, j, box.bound(j))
            for i in sorted({group[0] for group in groups}):
                own = [(w, z) for owner, w, _, z in groups if owner == i]
                self._multiply(block, [(block.product[i, w, j], z) for w, z in own], m.shift[t, j])
        self.starters.append(lambda trace: self._start_products(t, groups, trace))
        if batch.can_be_empty:
            alternatives = self.ranges.alternatives
            present = np.flatnonzero(batch.members[alternatives.owner] & (alternatives.s > 0))
            block.somebody = pyo.Constraint(expr=row(sum(self.choice(int(place)) for place in present), ">=", 1.0))
        return [sum(change * block.product[i, w, j] for i, w, change, _ in groups) for j in range(self.p)]

    def _weight_groups(self, batch: Batch) -> list[tuple[int, int, float, Any]]:
        """Members, numbers, what the weight lacks of the nominal one over ``Sbar``, the choices that lead to it."""
        alternatives, found = self.ranges.alternatives, []
        for i in np.flatnonzero(batch.members):
            places = np.flatnonzero(alternatives.owner == i)
            for w, weight in enumerate(sorted(set(alternatives.s[places].tolist()) - {float(batch.base[i])})):
                z = sum(self.choice(int(place)) for place in places if alternatives.s[place] == weight)
                found.append((int(i), w, (float(batch.base[i]) - weight) / batch.total, z))
        return found

    @staticmethod
    def _multiply(block: Any, products: Sequence[tuple[Any, Any]], factor: Any) -> None:
        """``product = z factor`` for binaries of which at most one is 1; the rest is 0 where one is."""
        low, high = factor.lb, factor.ub
        for product, z in products:
            product.setlb(min(0.0, low))
            product.setub(max(0.0, high))
            block.rule.add(product >= low * z)
            block.rule.add(product <= high * z)
        rest = factor - sum(product for product, _ in products)
        others = 1 - sum(z for _, z in products)
        block.rule.add(rest >= low * others)
        block.rule.add(rest <= high * others)

    def _prove_shift(self, t: int, j: int, bound: ProvedBound) -> None:
        name, kept = f"shift[{t},{j}]", float(self.settings.kept[j])
        self.proved[name] = bound

        def value(moves: Sequence[Move], _: Parameters) -> float | None:
            thetas = unroll(self.settings, self.problem.apply(moves))
            return None if thetas is None else float(thetas[t + 1, j] - kept * thetas[t, j])

        self.quantities[name] = Quantity(f"what step {t} adds to the {self.names()[j]}", value)

    # -- margins ---

    def margin(self, place: int, subject: Query) -> Margin:
        xhat = self._subject(subject)
        box = self.ranges.along(xhat[None, :], self.settings.T).bound(0)
        if place < len(self.problem.queries):
            self.keep(f"f({subject.name})", f"decision value of query '{subject.name}'", box, self.settings.T, xhat)
        ends = [subject.target * (value - subject.threshold) for value in (box.lower, box.upper)]
        part = subject.target * (self.value(self.settings.T, xhat) - subject.threshold)
        return Margin((part,), min(ends), max(ends))

    def _subject(self, query: Query) -> Vector:
        xhat: Vector = self.settings.extend(np.array([query.x]))[0]
        return xhat

    # -- the program ---

    def write(self) -> None:
        """All rows."""
        self.add_choices()
        self.add_budgets()
        self.add_steps_of_learner()
        self.add_goal()

    def program(self, needs: frozenset[SolverFeature]) -> PyomoProgram:
        """The model, written, as a program."""
        self.write()
        bound = float(self.model.margin.ub) if self.problem.goal is GoalKind.MAX_MARGIN else None
        return PyomoProgram(
            model=self.model,
            read=self.read,
            start=self.start,
            meanings=self.meanings(),
            bounds=self.proved,
            goal_bound=bound,
            needs=needs,
            quantities=self.quantities,
        )

    def read(self) -> tuple[tuple[Move, ...], LinearParameters]:
        """Moves and parameters of the variables' present values."""
        last = np.array([variable.value for variable in self.theta(self.settings.T)])
        return self.read_choice(), LinearParameters.of(*self.settings.split(last))

    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        """Values of the choices and of all that follows from them."""
        values = self.start_choices(moves)
        values |= self.start_changes(moves, values)
        thetas = unroll(self.settings, self.problem.apply(moves))
        if thetas is not None:
            trace = Trace(thetas, values)
            for starter in self.starters:
                values |= starter(trace)
        return values

    def start_changes(self, moves: Sequence[Move], values: Mapping[str, float]) -> Mapping[str, float]:
        """Values of what describes feature changes."""
        return {}

    def _start_iterates(self, trace: Trace) -> Mapping[str, float]:
        found = {
            self.model.theta[t, j].name: float(trace.thetas[t, j])
            for t in range(1, self.settings.T + 1)
            for j in range(self.p)
        }
        moved = trace.thetas[1:] - self.settings.kept * trace.thetas[:-1]
        return found | {shift.name: float(moved[index]) for index, shift in self.model.shift.items()}

    def _start_products(self, t: int, groups: Sequence[tuple[int, int, float, Any]], trace: Trace) -> dict[str, float]:
        moved = trace.thetas[t + 1] - self.settings.kept * trace.thetas[t]
        alternatives, found = self.ranges.alternatives, {}
        for i, w, change, _ in groups:
            batch = self.ranges.batches[t]
            picked = [
                place
                for place in np.flatnonzero(alternatives.owner == i)
                if trace.values[self.choice(int(place)).name] > 0.5
            ]
            weight = float(alternatives.s[picked[0]]) if picked else float(batch.base[i])
            is_used = abs((float(batch.base[i]) - weight) / batch.total - change) < 1e-12
            for j in range(self.p):
                found[self.model.weighed[t].product[i, w, j].name] = float(moved[j]) if is_used else 0.0
        return found

    def meanings(self) -> dict[str, str]:
        words = super().meanings()
        for t in range(1, self.settings.T + 1):
            for j in range(self.p):
                words[f"theta[{t},{j}]"] = self._words(t, j)
                words[f"update[{t - 1},{j}]"] = f"step {t - 1}: what it makes of the {self.names()[j]}"
        for t, j in self.model.shift:
            words[f"shift[{t},{j}]"] = f"what step {t} adds to the {self.names()[j]}, a mean over the batch"
        for t, record in self.model.fixed_pull:
            words[f"fixed_pull[{t},{record}]"] = f"pull of record {record} in step {t}"
        for t, record, k in self.model.pull:
            words[f"pull[{t},{record},{k}]"] = f"pull of member {record} under alternative {k} in step {t}"
        return words


def _widest(box: Interval) -> float:
    """The largest width; infinite where an end is, or where rounding has emptied an interval."""
    width = np.full(len(box.lower), math.inf)
    np.subtract(box.upper, box.lower, out=width, where=np.isfinite(box.lower) & np.isfinite(box.upper))
    return float(np.where(width < 0, math.inf, width).max(initial=0.0))
