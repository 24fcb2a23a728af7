"""What programs share, whatever the learner: choices, budgets, excluded moves and the goal.

Member ``i`` picks one option ``k``: ``z_ik`` binary (``choice[i,k]``), ``sum_k z_ik = 1``; option 0 is to stay. Costs
and the number of acting members are linear in ``z``. A move ``e`` that must not be returned (``Request.excluded``) is
cut off by

    sum_i sum_(k in E_i) z_ik <= |C| - 1,

where ``E_i`` are the options of member ``i`` with the same result as what it does in ``e``
(:func:`oar_opt.problem.resulting_records`), so that no copy of an option brings the move back.

Where a subclass knows change sets (:mod:`oar_opt.changes`), a member may use one of them instead: ``used[i,a]`` is 1 if
it does, and one more term of the sum that is 1. What such a change is and costs is for that subclass to say.

The learner enters through margins alone (:class:`Margin`): the margin of a subject is the least of some expressions of
the model's variables, in a proved interval. Goals: ``max_margin`` maximises a variable below every query's margin;
``min_cost`` and ``min_members`` minimise ``sum cost_ik z_ik`` or ``sum_i (1 - z_i0)`` with every margin at least
its ``required``, less the instance's feasibility tolerance, as in the verification; ``max_helped`` counts binaries that
are 1 only where the margin reaches ``required``. Guards are required margins too. Where a value of the goal is known
that a verified move reaches (``Request.cutoff``), the goal's variable is bounded by it.

Rows and variables are named after the mathematics and come in the order of the members.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.changes import ChangeSet
from oar_opt.problem import (
    GoalKind,
    Move,
    Option,
    OptionKind,
    Query,
    RecourseProblem,
    Vector,
    moves_from_choice,
    resulting_records,
)
from oar_opt.result import Request

CUTOFF_SLACK = 1e-6


@dataclass(frozen=True)
class Margin:
    """A subject's margin: the least of ``parts``; it lies in ``[low, high]`` for every admissible move."""

    parts: tuple[Any, ...]
    low: float
    high: float


class MenuModel(ABC):
    """Writes choices, budgets and goal into a Pyomo model; subclasses add the learner.

    Parameters
    ----------
    problem : its members have finite options, or a subclass says what their feature changes are.
    request : heeded are ``cutoff`` and ``excluded``.
    """

    def __init__(self, problem: RecourseProblem, request: Request) -> None:
        self.problem, self.cutoff, self.unwanted = problem, request.cutoff, request.excluded
        self.model: Any = pyo.ConcreteModel(name=problem.name)
        self.menus: list[tuple[int, tuple[Option, ...]]] = [
            (member.record, problem.admissible_options(member)) for member in problem.collective.members
        ]
        self.sets: dict[tuple[int, int], ChangeSet] = {}
        """Change sets by record and place, members in order, where a subclass knows them."""

    @abstractmethod
    def margin(self, place: int, subject: Query) -> Margin:
        """The margin of subject number ``place`` among the queries, followed by the guards."""

    def needed(self, subject: Query) -> float:
        """The margin that rows demand of a query or guard."""
        return self.problem.needed_margin(subject)

    # -- choices and budgets ---

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """``(record, k)`` of every option, members in order."""
        return [(record, k) for record, options in self.menus for k in range(len(options))]

    def add_choices(self) -> None:
        m = self.model
        m.choice = pyo.Var(self.pairs, domain=pyo.Binary)
        m.used = pyo.Var(list(self.sets), domain=pyo.Binary)
        m.one_option = pyo.Constraint(
            [record for record, _ in self.menus], rule=lambda _, i: sum(self.alternatives(i).values()) == 1
        )

    def alternatives(self, record: int) -> dict[str, Any]:
        """The binaries of everything that a member can do, by name, staying first."""
        size = next(len(options) for other, options in self.menus if other == record)
        found = [self.model.choice[record, k] for k in range(size)]
        found += [self.model.used[pair] for pair in self.sets if pair[0] == record]
        return {binary.name: binary for binary in found}

    def add_budgets(self) -> None:
        m, budget = self.model, self.problem.collective.budget
        if self.menus and budget.total is not None:
            m.total_budget = pyo.Constraint(expr=self.cost() <= budget.total)
        if self.menus and budget.members is not None:
            m.members_budget = pyo.Constraint(expr=self.acting() <= budget.members)
        rows = [self._no_good(moves) for moves in self.unwanted]
        if rows:
            m.no_good = pyo.Constraint(range(len(rows)), rule=lambda _, e: rows[e])

    def cost(self) -> Any:
        spent = sum(
            option.cost * self.model.choice[record, k]
            for record, options in self.menus
            for k, option in enumerate(options)
        )
        return spent + sum(self.change_cost(pair) for pair in self.sets)

    def change_cost(self, pair: tuple[int, int]) -> Any:
        """An expression that is at least the cost of the member's change, and 0 without one."""
        raise NotImplementedError(f"{type(self).__name__} knows no feature changes")

    def acting(self) -> Any:
        return sum(1 - self.model.choice[record, 0] for record, _ in self.menus)

    def _no_good(self, moves: Sequence[Move]) -> Any:
        """At least one member does something else; nothing to say where a move is not among the options."""
        acting = {move.record: move for move in moves}
        picked = []
        for record, options in self.menus:
            equal = self._with_result(record, options, acting.pop(record, None))
            if not equal:
                return pyo.Constraint.Skip
            picked += [self.model.choice[record, k] for k in equal]
        if acting:
            return pyo.Constraint.Skip
        return sum(picked) <= len(self.menus) - 1 if picked else pyo.Constraint.Infeasible

    def _with_result(self, record: int, options: Sequence[Option], move: Move | None) -> list[int]:
        """The options that leave the member's record as the move does (None: as it is)."""
        wanted = resulting_records(self.problem, [move] if move else [])
        moves = [Move(record, option.x, option.y, option.s, option.cost) for option in options]
        return [k for k, other in enumerate(moves) if resulting_records(self.problem, [other]) == wanted]

    def forbid(self, rows: Iterable[int]) -> None:
        """Fix options, numbered as in :attr:`pairs`, to 0."""
        pairs = self.pairs
        for row in rows:
            self.model.choice[pairs[row]].fix(0)

    # -- goal and side conditions ---

    def add_goal(self) -> None:
        m, problem = self.model, self.problem
        queries, guards = problem.queries, problem.guards
        margins = [self.margin(q, query) for q, query in enumerate(queries)]
        kept = [self.margin(len(queries) + g, guard) for g, guard in enumerate(guards)]
        m.guard = self._rows(kept, lambda g, part: row(part, ">=", self.needed(guards[g])))
        match problem.goal:
            case GoalKind.MAX_MARGIN:
                low = min(margin.low for margin in margins)
                if self.cutoff is not None:
                    low = max(low, self.cutoff - CUTOFF_SLACK * (1 + abs(self.cutoff)))
                m.margin = pyo.Var(bounds=(low, min(margin.high for margin in margins)))
                m.margin_of = self._rows(margins, lambda _, part: m.margin <= part)
                m.goal = pyo.Objective(expr=m.margin, sense=pyo.maximize)
            case GoalKind.MAX_HELPED:
                m.reached = pyo.Var(range(len(queries)), domain=pyo.Binary)
                m.margin_of = self._rows(margins, lambda q, part: self._reach(q, part, margins[q].low))
                m.goal = pyo.Objective(expr=sum(m.reached[q] for q in range(len(queries))), sense=pyo.maximize)
            case _:
                m.margin_of = self._rows(margins, lambda q, part: row(part, ">=", self.needed(queries[q])))
                high = None if self.cutoff is None else self.cutoff + CUTOFF_SLACK * (1 + abs(self.cutoff))
                m.spent = pyo.Var(bounds=(0, high))
                spent = self.cost() if problem.goal is GoalKind.MIN_COST else self.acting()
                m.spent_on = pyo.Constraint(expr=m.spent == spent)
                m.goal = pyo.Objective(expr=m.spent, sense=pyo.minimize)

    def _reach(self, q: int, part: Any, low: float) -> Any:
        needed, reached = self.needed(self.problem.queries[q]), self.model.reached[q]
        return part >= needed * reached + min(low, needed) * (1 - reached)

    @staticmethod
    def _rows(margins: Sequence[Margin], state: Any) -> Any:
        """One row per part, indexed by the subject, and by the part too where there are several."""
        single = all(len(margin.parts) == 1 for margin in margins)
        parts = {
            (q if single else (q, c)): (q, part)
            for q, margin in enumerate(margins)
            for c, part in enumerate(margin.parts)
        }
        return pyo.Constraint(list(parts), rule=lambda _, *index: state(*parts[index if len(index) > 1 else index[0]]))

    # -- reading, starting, names ---

    def read_choice(self) -> tuple[Move, ...]:
        """The moves of the variables' present values."""
        choice, changed = [], []
        for record, options in self.menus:
            binaries = list(self.alternatives(record).values())
            picked = max(range(len(binaries)), key=lambda k: binaries[k].value)
            choice.append(options[picked if picked < len(options) else 0])
            if picked >= len(options):
                changed.append((record, picked - len(options)))
        moves = (*moves_from_choice(self.problem, choice), *self.read_changes(changed))
        return tuple(sorted(moves, key=lambda move: [record for record, _ in self.menus].index(move.record)))

    def read_changes(self, used: Sequence[tuple[int, int]]) -> tuple[Move, ...]:
        """The moves of the change sets that are used."""
        return ()

    def start_choices(self, moves: Sequence[Move]) -> dict[str, float]:
        """Values of the choices for moves, by name."""
        acting = {move.record: move for move in moves}
        values: dict[str, float] = {}
        for record, options in self.menus:
            equal = equal_options(options, acting.get(record))
            names = list(self.alternatives(record))
            picked = equal[0] if equal else len(options) + self.set_of(acting[record])
            values |= {name: float(k == picked) for k, name in enumerate(names)}
        return values

    def set_of(self, move: Move) -> int:
        """The member's change set that holds a move which is none of its options."""
        own = [(a, one) for (record, a), one in self.sets.items() if record == move.record]
        return min(own, key=lambda item: item[1].violation(np.array(move.x) - item[1].x))[0]

    def meanings(self) -> dict[str, str]:
        """What the choices and the margins' rows mean, by name."""
        words = {}
        for record, options in self.menus:
            for k, option in enumerate(options):
                words[f"choice[{record},{k}]"] = (
                    f"member {record} picks option {k}: {describe(self.problem, record, option)}"
                )
        for q, query in enumerate(self.problem.queries):
            words[f"margin_of[{q}]"] = f"the margin of query '{query.name}'"
        return words


def equal_options(options: Sequence[Option], move: Move | None) -> list[int]:
    """The options that mean this move; staying (None) is the first alone."""
    if move is None:
        return [0]
    wanted = (move.x, move.y, move.s, move.cost)
    return [
        k
        for k, option in enumerate(options)
        if option.kind is not OptionKind.STAY and (option.x, option.y, option.s, option.cost) == wanted
    ]


def describe(problem: RecourseProblem, record: int, option: Option) -> str:
    """An option in words: only what changes."""
    parts = [
        f"{feature.name} {old:.6g} -> {new:.6g}"
        for feature, old, new in zip(problem.features, problem.records.X[record], option.x, strict=True)
        if old != new
    ]
    if option.y != problem.records.y[record]:
        parts.append(f"{problem.label_of(problem.records.y[record])} -> {problem.label_of(option.y)}")
    if option.s != problem.records.s[record]:
        parts.append(f"weight {problem.records.s[record]:g} -> {option.s:g}")
    return ", ".join(parts) or "stay"


def row(body: Any, sense: str, rhs: float) -> Any:
    """A constraint, also where the body is a number (Pyomo refuses those)."""
    if isinstance(body, int | float):
        holds = abs(body - rhs) < 1e-12 if sense == "==" else body >= rhs
        return pyo.Constraint.Feasible if holds else pyo.Constraint.Infeasible
    return body == rhs if sense == "==" else body >= rhs


def dot(values: Vector, variables: Sequence[Any]) -> Any:
    """``values'variables`` without the terms that are 0; the number 0 where none is left."""
    return sum(float(value) * variable for value, variable in zip(values, variables, strict=True) if value)
