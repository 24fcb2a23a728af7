"""Nearest centroid under feature changes and menus: all goals, all rules, one product per class and feature.

Statement
---------
The statement of ``centroid_menu`` (its letters hold) with one more option for every set ``D_ir`` of feature changes
that member ``i`` may choose: ``z_ir`` binary, and ``delta_ir`` in ``D_ir`` where ``z_ir = 1``, else 0. The record keeps
its class and weight ``s_i``, so ``z_ir`` counts like an option that puts ``s_i`` at ``x_i``, and the change enters the
centroid's shift by

    g_c = sum s_i delta_ir / Sbar_c  over the members of class c,
    Sbar_c h_c = F_c omega_c + sum_(ik in O_c) s_ik (x_ik - mubar_c) v_ik + Sbar_c omega_c g_c.

``omega_c g_cj`` is the only product of two variables, one per class and feature whatever the number of members; where
no option changes the class's weight, ``omega_c = 1`` and the shift is linear.

*The sets.* With ``e = delta / (rho scale)``, ``rho`` a tenth of the set's longest scaled change, ``z = z_ir``:

    lower_j z <= e_j <= upper_j z                                            (bounds, directions, linf)
    e_j = first_j z + step_j n_j,   0 <= n_j <= (values_j - 1) z,   n_j whole             (features that move in steps)
    sum_(j in group) delta_j = total z,    A delta <= b z                          (one-hot groups, linear constraints)
    ||e||_2 <= l, |e_j| <= l, or |e_j| <= u_j, sum_j u_j <= l, or |e_j| <= l;    l <= radius z   (balls, and lengths)

The values of a feature that moves in steps are equally far apart: steps and whole numbers allow a coset of a group of
numbers each, and what is common to both is one again. Every big-M is an end of the set's own box. The member's cost is
``rho l`` in the cost's norm, ``rho^2 c`` with ``l^2 <= c`` for squared l2, 1 for ``count``, and the charge.

*Who may act for nothing.* If acting costs nothing by itself, is not counted, and a member's single set holds 0, then to
stay is one of its changes: ``z_ir = 1`` is fixed and no binary is left.

*Alike members.* Where members of one class and weight have one and the same set without steps, only the number ``m``
of those who act and the sum of their changes matter: as the set is convex, ``m`` equal parts of a sum are in it if any
parts are, and cost no more. So they share one ``e`` and one ``l``, with ``m`` in the place of ``z`` above, and ``l^2 <=
c m``. If they have no other option, they are numbered so that the first ones act.

*A cut for balls.* If all options of a rigid class are changes, ``||h_c / scale||_2 <= R_c = sum_i (s_i / Sbar_c) rho
l_i``, so with the squares ``p_cj`` of the shifts

    sum_j p_cj / scale_j^2 <= R_c^2,

which leaves one number ``R_c`` to branch on instead of ``d``; in the root it is the closed form of the ball.

*Answers.* The solver's point breaks rows by its tolerance, and its margins are raised by the slack of
``centroid_menu``. Its discrete part is kept and the changes are found anew by convex programs a little inside
(:mod:`oar_opt.centroid_polish`); the bound stays the solver's.

Hypotheses
----------
Those of ``centroid_menu``, and that some member can move a feature. Features that move in steps have at most 10,000
values in reach.

Exactness
---------
Exact: for fixed binaries the rows above are the sets ``D_ir``, and the rest is exact as in ``centroid_menu``.

Size
----
With ``r`` sets in all: ``r`` binaries, ``r d`` changes (in l1 as many sizes), a whole number for every feature that
moves in steps, ``r`` lengths with a cone of size ``d + 1`` each; ``d`` products for each class of varying weight; the
rest as in ``centroid_menu``. What is not convex lives in ``d`` shifts per class (one number for balls), not in the
members.

Reference
---------
G. McCormick, "Computability of global solutions to factorable nonconvex programs", 1976 (products of bounded
variables). The learner and the question: E. Creager, R. Zemel, "Online Algorithmic Recourse by Collective Action",
2023. The statement is derived here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.centroid_formulation import CentroidFormulation
from oar_opt.centroid_polish import Polish
from oar_opt.centroid_program import NEEDS, CentroidModel, Changes, too_wide
from oar_opt.changes import ChangeSet, change_sets
from oar_opt.contracts import PyomoProgram, WorkedExample
from oar_opt.menu_program import equal_options
from oar_opt.parameters import CentroidParameters, Parameters
from oar_opt.problem import (
    Collective,
    CostKind,
    Feature,
    FeatureAction,
    FeatureType,
    GoalKind,
    LearnerSpec,
    Matrix,
    Member,
    Move,
    Norm,
    Query,
    Records,
    RecourseProblem,
    Vector,
    WithholdAction,
)
from oar_opt.result import Request
from oar_opt.rules import ROUNDING

FINER = 10.0
"""How many units long the longest change is: a cone that a solver keeps within 1e-8 lets lengths of 1e-4 units pass."""


class CentroidBilinear(CentroidFormulation):
    """See the module's docstring."""

    name = "centroid_bilinear"
    rank = 17
    exportable = True
    needs = NEEDS
    excludes = False

    def declines(self, problem: RecourseProblem) -> str | None:
        if problem.is_menu_problem:
            return "members have finite options only, which is the statement of centroid_menu"
        return too_wide(problem, _changes(problem))

    def retraining_program(self, problem: RecourseProblem, request: Request) -> PyomoProgram:
        return BilinearModel(problem, request).program()

    def examples(self) -> Sequence[WorkedExample]:
        """Two classes on a line; the query wants the far one."""
        return _examples()


def _changes(problem: RecourseProblem) -> Changes:
    found = {member.record: change_sets(problem, member) for member in problem.collective.members}
    return {record: sets for record, sets in found.items() if sets}


@dataclass(frozen=True, eq=False)
class Acting:
    """One set in the program, of one member or of several alike: ``places`` are their ``(record, option)``.

    Changes are measured in ``unit (d,)``, summed over those who act; ``most`` has the norms whose length has a
    variable, with the longest length of one member, in the unit ``rho``.
    """

    places: tuple[tuple[int, int], ...]
    change: ChangeSet
    rho: float
    most: Mapping[Norm, float]

    @classmethod
    def of(cls, places: Sequence[tuple[int, int]], change: ChangeSet, costly: bool) -> Acting:
        farthest = np.maximum(np.abs(change.lower), np.abs(change.upper)) / change.scales
        rho = (float(farthest.max(initial=0.0)) or 1.0) * len(places) / FINER
        most = {norm: norm.of(farthest) for norm in Norm}
        needed: set[Norm] = {norm for norm in (Norm.L1, Norm.L2) if change.ball(norm) < most[norm]}
        if costly and change.cost_kind is not CostKind.COUNT:
            needed.add(Norm.L2 if change.cost_kind is CostKind.SQL2 else Norm(change.cost_kind.value))
        ends = {norm: min(most[norm], change.ball(norm)) / rho for norm in Norm if norm in needed}
        return cls(tuple(places), change, rho, ends)

    @property
    def place(self) -> tuple[int, int]:
        """By which the variables are named."""
        return self.places[0]

    @property
    def size(self) -> int:
        return len(self.places)

    @property
    def unit(self) -> Vector:
        return self.rho * self.change.scales

    @property
    def lower(self) -> Vector:
        """For each who acts."""
        return self.change.lower / self.unit

    @property
    def upper(self) -> Vector:
        return self.change.upper / self.unit

    @property
    def columns(self) -> list[int]:
        """The features that can change, or must."""
        return [int(j) for j in np.flatnonzero((self.change.lower != 0) | (self.change.upper != 0))]

    def step(self, j: int) -> tuple[float, float, int]:
        """First change, step and number of values of a feature that moves in steps."""
        grid = self.change.grids[j]
        assert grid is not None
        return float(grid[0]), float(grid[-1] - grid[0]) / max(1, len(grid) - 1), len(grid)


def _traits(change: ChangeSet) -> tuple[Any, ...]:
    """What a set is, apart from whose it is."""
    grids = tuple(None if grid is None else grid.tobytes() for grid in change.grids)
    groups = tuple((group.columns.tobytes(), group.total) for group in change.groups)
    arrays = tuple(array.tobytes() for array in (change.lower, change.upper, change.A, change.b))
    return change.y, change.s, change.balls, change.fixed_cost, arrays, grids, groups


class BilinearModel(CentroidModel):
    """A :class:`CentroidModel` whose members may also change features."""

    def __init__(self, problem: RecourseProblem, request: Request) -> None:
        self.original = problem
        super().__init__(problem, request, _changes(problem))
        self.costly = problem.goal is GoalKind.MIN_COST or problem.collective.budget.total is not None
        self.acting_sets = self._grouped()
        self.group_of = {place: acting for acting in self.acting_sets.values() for place in acting.places}

    def _grouped(self) -> dict[tuple[int, int], Acting]:
        """All sets, those that are alike in one if nothing moves in steps; by the first place of each."""
        found: dict[Any, list[tuple[int, int]]] = {}
        sets: dict[Any, ChangeSet] = {}
        for record, own in self.changes.items():
            for r, change in enumerate(own):
                place = (record, self.finite[record] + r)
                key = place if change.is_discrete else _traits(change)
                found.setdefault(key, []).append(place)
                sets.setdefault(key, change)
        return {places[0]: Acting.of(places, sets[key], self.costly) for key, places in found.items()}

    def count(self, acting: Acting) -> Any:
        """How many act by a set."""
        return sum(self.model.choice[place] for place in acting.places)

    # -- changes ---

    def add_changes(self) -> None:
        m = self.model
        m.delta = pyo.Var(self._coordinates_of_changes(), bounds=lambda _, i, k, j: self._change_ends(i, k, j))
        m.delta_low = pyo.Constraint(
            self._coordinates_of_changes(),
            rule=lambda m, i, k, j: m.delta[i, k, j] >= self._end(i, k, j, low=True),
        )
        m.delta_high = pyo.Constraint(
            self._coordinates_of_changes(),
            rule=lambda m, i, k, j: m.delta[i, k, j] <= self._end(i, k, j, low=False),
        )
        self._add_steps()
        self._add_groups_and_rules()
        self._add_lengths()
        self._act_for_nothing()
        self._order_alike()
        self._add_moved()

    def _coordinates_of_changes(self) -> list[tuple[int, int, int]]:
        return [(*place, j) for place, acting in self.acting_sets.items() for j in acting.columns]

    def _change_ends(self, i: int, k: int, j: int) -> tuple[float, float]:
        acting = self.acting_sets[i, k]
        n = acting.size
        return min(0.0, n * float(acting.lower[j])), max(0.0, n * float(acting.upper[j]))

    def _end(self, i: int, k: int, j: int, *, low: bool) -> Any:
        acting = self.acting_sets[i, k]
        return float((acting.lower if low else acting.upper)[j]) * self.count(acting)

    def _add_steps(self) -> None:
        m = self.model
        stepped = [
            (i, k, j)
            for i, k, j in self._coordinates_of_changes()
            if self.acting_sets[i, k].change.grids[j] is not None
        ]

        def most(i: int, k: int, j: int) -> int:
            return self.acting_sets[i, k].step(j)[2] - 1

        def on_grid(m: Any, i: int, k: int, j: int) -> Any:
            acting = self.acting_sets[i, k]
            first, step, _ = acting.step(j)
            unit = float(acting.unit[j])
            return m.delta[i, k, j] == first / unit * m.choice[i, k] + step / unit * m.steps[i, k, j]

        m.steps = pyo.Var(stepped, domain=pyo.NonNegativeIntegers, bounds=lambda _, i, k, j: (0, most(i, k, j)))
        m.on_grid = pyo.Constraint(stepped, rule=on_grid)
        m.steps_if = pyo.Constraint(stepped, rule=lambda m, i, k, j: m.steps[i, k, j] <= most(i, k, j) * m.choice[i, k])

    def _add_groups_and_rules(self) -> None:
        m = self.model
        groups = [(*place, g) for place, acting in self.acting_sets.items() for g in range(len(acting.change.groups))]
        rules = [(*place, r) for place, acting in self.acting_sets.items() for r in range(len(acting.change.b))]
        m.one_hot = pyo.Constraint(groups, rule=lambda _, i, k, g: self._group(self.acting_sets[i, k], g))
        m.rule = pyo.Constraint(rules, rule=lambda _, i, k, r: self._rule(self.acting_sets[i, k], r))

    def _group(self, acting: Acting, g: int) -> Any:
        group = acting.change.groups[g]
        weights = np.zeros(acting.change.d)
        weights[group.columns] = 1.0
        body = self._linear(acting, weights) - group.total * self.count(acting)
        return pyo.Constraint.Skip if group.total == 0 and not (weights[acting.columns]).any() else body == 0

    def _rule(self, acting: Acting, r: int) -> Any:
        row, end = acting.change.A[r], float(acting.change.b[r])
        size = float(np.abs(row * acting.unit)[acting.columns].max(initial=0.0)) or max(1.0, abs(end))
        return self._linear(acting, row / size) - end / size * self.count(acting) <= 0

    def _linear(self, acting: Acting, values: Vector) -> Any:
        """``values'delta``."""
        return sum(
            float(values[j] * acting.unit[j]) * self.model.delta[(*acting.place, j)]
            for j in acting.columns
            if values[j]
        )

    def _add_lengths(self) -> None:
        """``length[i,k,norm]`` and, for squared l2, ``square_of[i,k]``."""
        m = self.model
        lengths = [(*place, str(norm)) for place, acting in self.acting_sets.items() for norm in acting.most]

        def most(i: int, k: int, norm: str) -> float:
            return self.acting_sets[i, k].most[Norm(norm)]

        def within(m: Any, i: int, k: int, norm: str) -> Any:
            return m.length[i, k, norm] <= most(i, k, norm) * self.count(self.acting_sets[i, k])

        sizes = {place: acting.size for place, acting in self.acting_sets.items()}
        m.length = pyo.Var(lengths, bounds=lambda _, i, k, norm: (0.0, sizes[i, k] * most(i, k, norm)))
        m.length_if = pyo.Constraint(lengths, rule=within)
        self._add_norms(lengths)
        squared = self.costly and self.problem.collective.cost is CostKind.SQL2
        places = list(self.acting_sets) if squared else []
        m.square_of = pyo.Var(places, bounds=lambda _, i, k: (0.0, sizes[i, k] * most(i, k, "l2") ** 2))
        several = [place for place in places if sizes[place] > 1]
        m.acting = pyo.Var(several, bounds=lambda _, i, k: (0, sizes[i, k]))
        m.acting_is = pyo.Constraint(several, rule=lambda m, i, k: m.acting[i, k] == self.count(self.acting_sets[i, k]))
        m.square_of_is = pyo.Constraint(places, rule=lambda m, i, k: self._squared_length_of(i, k) <= 0)

    def _squared_length_of(self, i: int, k: int) -> Any:
        """``l^2 / count - c``, times the count."""
        m = self.model
        count = m.acting[i, k] if self.acting_sets[i, k].size > 1 else 1.0
        return m.length[i, k, "l2"] ** 2 - m.square_of[i, k] * count

    def _add_norms(self, lengths: Sequence[tuple[int, int, str]]) -> None:
        m = self.model
        euclidean = [(i, k) for i, k, norm in lengths if norm == "l2" and len(self.acting_sets[i, k].columns) > 1]
        taxi = [(i, k) for i, k, norm in lengths if norm == "l1"]
        m.ball = pyo.Constraint(euclidean, rule=lambda m, i, k: self._squares(i, k) <= m.length[i, k, "l2"] ** 2)
        sizes = [(i, k, j) for i, k in taxi for j in self.acting_sets[i, k].columns]
        m.size = pyo.Var(sizes, bounds=lambda _, i, k, j: (0.0, max(map(abs, self._change_ends(i, k, j)))))
        m.size_up = pyo.Constraint(sizes, rule=lambda m, i, k, j: m.delta[i, k, j] <= m.size[i, k, j])
        m.size_down = pyo.Constraint(sizes, rule=lambda m, i, k, j: -m.delta[i, k, j] <= m.size[i, k, j])
        m.sizes = pyo.Constraint(
            taxi,
            rule=lambda m, i, k: sum(m.size[i, k, j] for j in self.acting_sets[i, k].columns) <= m.length[i, k, "l1"],
        )
        # Also in l2: the cone alone lets changes of the root of the solver's tolerance pass for free.
        across = [(i, k, norm, j) for i, k, norm in lengths if norm != "l1" for j in self.acting_sets[i, k].columns]
        m.wide_up = pyo.Constraint(across, rule=lambda m, i, k, norm, j: m.delta[i, k, j] <= m.length[i, k, norm])
        m.wide_down = pyo.Constraint(across, rule=lambda m, i, k, norm, j: -m.delta[i, k, j] <= m.length[i, k, norm])

    def _squares(self, i: int, k: int) -> Any:
        return sum(self.model.delta[i, k, j] ** 2 for j in self.acting_sets[i, k].columns)

    def _act_for_nothing(self) -> None:
        """Fix the choice of members whose changes include to stay, where acting itself counts for nothing."""
        if self._acting_counts():
            return
        for record, sets in self.changes.items():
            if self.finite[record] + len(sets) == 2 and sets[0].violation(np.zeros(self.problem.d)) <= ROUNDING:
                self.model.choice[record, 0].fix(0)
                self.model.choice[record, 1].fix(1)

    def _order_alike(self) -> None:
        m, pairs = self.model, [pair for group in self._alike for pair in pairwise(group)]
        m.alike = pyo.Constraint(pairs, rule=lambda m, i, j: m.choice[i, 1] >= m.choice[j, 1])

    @cached_property
    def _alike(self) -> list[list[int]]:
        """Groups of members, by record, that may swap what they do."""
        found: dict[Any, list[int]] = {}
        for record, sets in self.changes.items():
            if self.finite[record] == 1 and len(sets) == 1 and not self.model.choice[record, 0].fixed:
                found.setdefault(_traits(sets[0]), []).append(record)
        return [group for group in found.values() if len(group) > 1]

    def _acting_counts(self) -> bool:
        problem = self.problem
        charged = any(one.fixed_cost > 0 for sets in self.changes.values() for one in sets)
        counted = problem.goal is GoalKind.MIN_MEMBERS or problem.collective.budget.members is not None
        return counted or (self.costly and (charged or problem.collective.cost is CostKind.COUNT))

    def cost(self) -> Any:
        """Of the choices, and of the lengths of all changes."""
        kind, spent = self.problem.collective.cost, super().cost()
        for place, acting in self.acting_sets.items():
            if kind is CostKind.SQL2:
                spent = spent + acting.rho**2 * self.model.square_of[place]
            elif kind is not CostKind.COUNT:
                spent = spent + acting.rho * self.model.length[(*place, kind.value)]
        return spent

    # -- shifts ---

    def _in_class(self, c: int) -> list[Acting]:
        return [acting for acting in self.acting_sets.values() if int(acting.change.y) == c]

    def _add_moved(self) -> None:
        """``g_cj`` (``moved[c,j]``) of the classes of varying weight."""
        places = [(c, j) for c in self.loose for j in range(self.problem.d) if self._movers(c, j)]
        self.model.moved = pyo.Var(places, bounds=self._moved_ends)
        self.model.moved_is = pyo.Constraint(places, rule=lambda m, c, j: m.moved[c, j] == self._sum(c, j))

    def _movers(self, c: int, j: int) -> list[Acting]:
        return [acting for acting in self._in_class(c) if j in acting.columns]

    def _moved_ends(self, _: Any, c: int, j: int) -> tuple[float, float]:
        ends = [(self._weight(acting, c, j), self._change_ends(*acting.place, j)) for acting in self._movers(c, j)]
        return sum(weight * low for weight, (low, _) in ends), sum(weight * high for weight, (_, high) in ends)

    def _weight(self, acting: Acting, c: int, j: int) -> float:
        """What a change in its unit moves the class's centroid by, in its unit, at the present weight."""
        moving = self.moving[c]
        return acting.change.s / moving.weight * float(acting.unit[j] / self.units.shift[c][j])

    def _sum(self, c: int, j: int) -> Any:
        """``g_cj`` in the unit of ``h_cj``."""
        movers = self._movers(c, j)
        return sum(self._weight(acting, c, j) * self.model.delta[(*acting.place, j)] for acting in movers)

    def moment(self, c: int, j: int) -> Any:
        if not self._movers(c, j):
            return 0.0
        unit = float(self.units.shift[c][j])
        if self.moving[c].is_rigid:
            return unit * self._sum(c, j)
        return unit * self.model.inverse[c] * self.model.moved[c, j]

    def add_cuts(self) -> None:
        """``R_c`` (``reach[c]``) of the classes that the page's cut holds for and serves."""
        m = self.model
        balls = [c for c in self.moving if self._is_ball_class(c)]
        m.reach = pyo.Var(balls, bounds=(0.0, 1.0 + ROUNDING))
        m.reach_is = pyo.Constraint(balls, rule=lambda m, c: m.reach[c] == self._reach_of(c))
        m.within_reach = pyo.Constraint(balls, rule=lambda m, c: self._shift_square(c) <= m.reach[c] ** 2)

    def _is_ball_class(self, c: int) -> bool:
        moving, subjects = self.moving[c], (*self.problem.queries, *self.problem.guards)
        changes_only = all(self.finite[member.record] == 1 for member in moving.members)
        is_far = any(int(subject.target) != c for subject in subjects)
        lengths = any(Norm.L2 in acting.most for acting in self._in_class(c))
        return moving.is_rigid and changes_only and is_far and lengths

    @cached_property
    def _farthest_reach(self) -> dict[int, float]:
        """The largest ``R_c``."""
        found = {}
        for c, moving in self.moving.items():
            lengths = (
                acting.change.s / moving.weight * acting.rho * acting.size * self._longest(acting)
                for acting in self._in_class(c)
            )
            found[c] = sum(lengths) or 1.0
        return found

    @staticmethod
    def _longest(acting: Acting) -> float:
        """Of one member, in l2 and the set's unit."""
        size = np.maximum(np.abs(acting.lower), np.abs(acting.upper))
        return acting.most.get(Norm.L2, float(np.linalg.norm(size)))

    def _reach_of(self, c: int) -> Any:
        m, total = self.model, self._farthest_reach[c]
        return sum(
            acting.change.s
            / self.moving[c].weight
            * acting.rho
            / total
            * (
                m.length[(*acting.place, "l2")]
                if Norm.L2 in acting.most
                else self._longest(acting) * self.count(acting)
            )
            for acting in self._in_class(c)
        )

    def _shift_square(self, c: int) -> Any:
        units = self.units.shift[c] / (self.original.scales * self._farthest_reach[c])
        return sum(float(units[j] ** 2) * self.model.square[c, j] for j in range(self.problem.d) if self._movers(c, j))

    # -- reading and starting ---

    def picked(self, record: int, move: Move | None) -> int:
        options = dict(self.menus)[record]
        equal = equal_options(options[: self.finite[record]], move)
        if equal or move is None:
            return equal[0]
        return self.finite[record] + self._set_of(record, move)

    def _set_of(self, record: int, move: Move) -> int:
        """The set that holds a move; of several the one at its cost."""
        delta = np.array(move.x) - self.original.records.X[record]
        sets, tolerance = self.changes[record], self.original.tolerances.feasibility
        return min(
            range(len(sets)),
            key=lambda r: (max(tolerance, sets[r].violation(delta)), abs(sets[r].cost(delta) - move.cost)),
        )

    def start_choices(self, moves: Sequence[Move]) -> dict[str, float]:
        acting = {move.record: move for move in moves}
        chosen = {record: self._start_of(record, acting.get(record)) for record, _ in self.menus}
        for group in self._alike:
            # Those who act first, as the rows want it; alike members may swap.
            chosen |= zip(group, sorted((chosen[record] for record in group), key=lambda one: -one[0]), strict=True)
        values: dict[str, float] = {}
        for record, options in self.menus:
            for k in range(len(options)):
                values[self.model.choice[record, k].name] = float(k == chosen[record][0])
        for acting_set in self.acting_sets.values():
            used = [chosen[record][1] for record, k in acting_set.places if chosen[record][0] == k]
            values |= self._start_change(acting_set, np.array(used).reshape(-1, self.problem.d) / acting_set.unit)
        return values

    def _start_of(self, record: int, move: Move | None) -> tuple[int, Vector]:
        """The option and the change of features that a move means."""
        picked = self.picked(record, move)
        if picked == 0 and self.model.choice[record, 0].fixed:
            picked = 1
        after = self.original.records.X[record] if move is None else np.array(move.x)
        return picked, after - self.original.records.X[record]

    def _start_change(self, acting: Acting, used: Matrix) -> dict[str, float]:
        """For the changes of those who act, ``(acting, d)``, in the set's unit."""
        m, values, place = self.model, {}, acting.place
        for j in acting.columns:
            values[m.delta[(*place, j)].name] = float(used[:, j].sum())
            if acting.change.grids[j] is not None:
                first, step, _ = acting.step(j)
                steps = (float(e) * acting.unit[j] - first for e in used[:, j])
                values[m.steps[(*place, j)].name] = float(sum(round(one / step) if step else 0 for one in steps))
        for norm in acting.most:
            values[m.length[(*place, str(norm))].name] = float(norm.of_rows(used).sum()) if len(used) else 0.0
            if norm is Norm.L1:
                values |= {m.size[(*place, j)].name: float(np.abs(used[:, j]).sum()) for j in acting.columns}
        if place in m.square_of:
            values[m.square_of[place].name] = float((used**2).sum())
        if place in m.acting:
            values[m.acting[place].name] = float(len(used))
        return values

    def read(self) -> tuple[tuple[Move, ...], CentroidParameters]:
        """Moves and centroids, polished: see :mod:`oar_opt.centroid_polish`."""
        m, finite, acting, deltas = self.model, [], [], []
        for record, options in self.menus:
            k = max(range(len(options)), key=lambda k: m.choice[record, k].value)
            if k >= self.finite[record]:
                acting.append(self.changes[record][k - self.finite[record]])
                deltas.append(self._delta(self.group_of[record, k]))
            elif k > 0:
                option = options[k]
                finite.append(Move(record, option.x, option.y, option.s, option.cost))
        start: Matrix = np.array(deltas).reshape(len(acting), self.problem.d)
        polished = Polish(self.original, finite, acting, start, self._required()).run()
        return polished.moves, CentroidParameters.of(self.centroids + polished.shifts)

    def _delta(self, acting: Acting) -> Vector:
        """The change of each who acts: an equal part, which is in the set as it is convex, and costs no more."""
        delta, count = np.zeros(acting.change.d), sum(self.model.choice[place].value for place in acting.places)
        for j in acting.columns:
            delta[j] = float(self.model.delta[(*acting.place, j)].value) * acting.unit[j] / max(1.0, count)
        return delta

    def _required(self) -> dict[str, float]:
        """The margins that the present values promise, by name."""
        problem = self.original
        asked = list(problem.guards)
        match problem.goal:
            case GoalKind.MIN_COST | GoalKind.MIN_MEMBERS:
                asked += problem.queries
            case GoalKind.MAX_HELPED:
                asked += [query for q, query in enumerate(problem.queries) if self.model.reached[q].value > 0.5]
        return {subject.name: problem.needed_margin(subject) for subject in asked}

    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        values = dict(super().start(moves, parameters))
        m = self.model
        for c, j in m.moved:
            values[m.moved[c, j].name] = float(
                sum(
                    self._weight(acting, c, j) * values[m.delta[(*acting.place, j)].name]
                    for acting in self._movers(c, j)
                )
            )
        return values

    def meanings(self) -> dict[str, str]:
        words = super().meanings()
        for (record, k), acting in self.acting_sets.items():
            who = ", ".join(str(other) for other, _ in acting.places)
            for other, option in acting.places:
                words[f"choice[{other},{option}]"] = f"member {other} changes its features"
            for j in acting.columns:
                feature, unit = self.problem.features[j].name, acting.unit[j]
                words[f"delta[{record},{k},{j}]"] = f"changes of '{feature}' by {who} in all, in units of {unit:.6g}"
        return words


# -- worked examples ---


def _examples() -> tuple[WorkedExample, ...]:
    X, y = np.array([[0.0], [0.0], [4.0], [4.0]]), np.array([0.0, 0.0, 1.0, 1.0])
    move = FeatureAction(Norm.L2, 2.0)

    def problem(
        members: tuple[Member, ...], goal: GoalKind, required: float, feature: Feature | None = None
    ) -> RecourseProblem:
        return RecourseProblem(
            name="two-centroids-with-changes",
            records=Records(X, y, np.ones(4)),
            learner=LearnerSpec("nearest_centroid"),
            classes=("near", "far"),
            collective=Collective(members, CostKind.L2),
            queries=(Query("q", (1.5,), 1.0, required=required),),
            goal=goal,
            features=(feature or Feature("x0"),),
        )

    both = (Member(0, (move,)), Member(2, (move,)))
    steps = Feature("x0", FeatureType.CONTINUOUS, step=1e-3)
    either = (Member(0, (WithholdAction(0.5),)), Member(2, (move, WithholdAction(0.5))))
    return (
        WorkedExample(
            problem(both, GoalKind.MIN_MEMBERS, 3.0),
            2.0,
            "one member alone gives at most 2.5^2 - 2.5^2 = 0, both give 4",
        ),
        WorkedExample(
            problem(both, GoalKind.MAX_MARGIN, 1.0, steps), 2.5**2 - 1.5**2, "two thousand steps of 0.001 reach the end"
        ),
        WorkedExample(
            problem(either, GoalKind.MAX_MARGIN, 1.0),
            1.5**2 - 1.5**2,
            "withholding equal records changes nothing; the member at 4 moves to 2, the centroid to 3",
        ),
    )
