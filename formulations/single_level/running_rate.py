"""Running centroids with a rate under menus: the recursion unrolled, one hull of products per arrival.

Statement
---------
Members ``i`` choose one option ``k`` each: ``z_ik`` binary, ``sum_k z_ik = 1``, option 0 is to stay. Option ``k`` puts
the weight ``s_ik`` at ``x_ik`` into class ``y_ik``, when the record arrives. Take one class ``c``. Let

    a_ik = 1 - (1 - rate)^s_ik   where y_ik = c,   0 where it is another class,

be the option's share. The arrival of member ``i`` takes the centroid ``mu`` to ``mu + sum_k a_ik z_ik (x_ik - mu)``,
and the arrival of a record that no member changes, with the share ``a`` at ``x``, to ``(1 - a) mu + a x``. Only members
with some ``a_ik > 0`` are *arrivals* ``t = 1, ..., T_c`` in what follows (if all their options are the same in this
class, they are fixed like records of no member); ``i`` is the member of arrival ``t``. Let ``cbar_t`` be the centroid
after arrival ``t`` if all stay, and ``K_t`` the product of ``1 - a`` over the fixed arrivals after ``t``. For the
shifts from ``cbar_t``, carried to the end through the fixed arrivals,

    g_t = K_t (mu_t - cbar_t),    g_0 = 0,
    g_t = sum_k ((1 - a_ik) z_ik g_(t-1) + K_t v_ik z_ik),
    v_ik = (1 - a_ik) cbar_(t-) + a_ik x_ik - cbar_t,

with ``cbar_(t-)`` the centroid just before, if all stay; so ``v_i0 = 0``, and ``h_c = g_(T_c)`` is the shift of the
centroid. The products of choices and shifts are taken by groups ``G`` of options with one share ``a_G``: with
``g_(t-1)`` in the interval ``[l, u]`` (each feature by itself),

    g_(t-1) = sum_G m_G,    l zeta_G <= m_G <= u zeta_G,    zeta_G = sum_(k in G) z_ik,
    g_t = sum_G (1 - a_G) m_G + K_t sum_k v_ik z_ik.

One group alone needs no ``m``. Squares, distances, margins, goals and budgets are those of ``centroid_menu``.

*The intervals* follow the recursion: ``g_t`` lies between the least and the largest of ``(1 - a_ik) l + K_t v_ik`` and
``(1 - a_ik) u + K_t v_ik`` over the options ``k``. So every centroid stays in the box of its start and its arrivals.

*What the solver hides.* As in ``centroid_menu`` every margin is raised by the solver's tolerance once for each row. An
error in the rows of an arrival is passed on by factors of at most 1, so those of all arrivals add up at most.

Hypotheses
----------
Learner ``nearest_centroid``, update ``running_centroid`` with a rate; finite options only. No ``max_loss_increase``. A
class that has no centroid before the first arrival gets its first one from a record that no member changes, before the
first member can enter it. As in ``centroid_menu``, the unit of margins is at most 1e8 and no required margin is within
what tolerances hide. A solver for quadratic rows that are not convex.

Exactness
---------
Exact. For binary ``z`` one group has ``zeta_G = 1``: the others' ``m`` are 0, so this one's is ``g_(t-1)``, and the row
is the recursion.

Size
----
With ``K`` options, ``C`` classes, ``A`` pairs of a class and an arrival of a member that may enter it, of at most ``G``
groups each: ``K`` binaries, at most ``A d (1 + G) + C d`` other variables, ``2 A d (1 + G)`` linear and ``2 C d``
quadratic rows. Where no member can change a label or weight, ``centroid_menu`` needs none of the products.

Reference
---------
E. Balas, "Disjunctive programming and a hierarchy of relaxations for discrete optimization problems", 1985 (the hull of
the products); S. W. Roberts, "Control Chart Tests Based on Geometric Moving Averages", 1959. The statement is derived
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyomo.environ as pyo

from oar_opt.centroid_program import DROPPED, NEEDS, OF_DROPPED, TOLERANCE, Box, ShiftModel, Units, too_large
from oar_opt.contracts import Formulation, PyomoProgram, WorkedExample
from oar_opt.discovery import not_replayed
from oar_opt.errors import UnsupportedError
from oar_opt.menu_program import equal_options, row
from oar_opt.parameters import Parameters
from oar_opt.problem import (
    Collective,
    GoalKind,
    LearnerSpec,
    Matrix,
    Member,
    Move,
    Option,
    OptionKind,
    Query,
    Records,
    RecourseProblem,
    UpdateKind,
    Vector,
    WithholdAction,
)
from oar_opt.result import Request
from oar_opt.update_settings import RunningSettings, running_centroid_update, share_of_arrival


class RunningRate(Formulation):
    """See the module's docstring."""

    name = "running_rate"
    rank = 18
    exportable = True
    needs = NEEDS

    def accepts(self, problem: RecourseProblem) -> str | None:
        if problem.update.kind is not UpdateKind.RUNNING_CENTROID:
            return f"the update is '{problem.update.kind}', not 'running_centroid'"
        reason = not_replayed(problem)
        if reason:
            return reason
        if RunningSettings.of(problem).rate is None:
            return "running means with counts are re-trained centroids, which is the statement of centroid_menu"
        if problem.max_loss_increase is not None:
            return "max_loss_increase weighs the records as they are, and running centroids weigh them as they arrive"
        try:
            if not problem.is_menu_problem:
                return "members may move features, and this formulation knows finite options only"
            return too_large(problem, _units(problem, _paths(problem)))
        except UnsupportedError as unsupported:
            return str(unsupported)

    def build(self, problem: RecourseProblem, request: Request | None = None) -> PyomoProgram:
        return RateModel(problem, request or Request()).program()

    def examples(self) -> Sequence[WorkedExample]:
        """One record pulls the far centroid towards the query, a later one may stay away."""
        return _examples()


# -- what happens to one class ---


@dataclass(frozen=True, eq=False)
class Arrival:
    """A member's arrival in one class: ``a_ik`` of its options ``(K,)``, and their ``K_t v_ik``, ``(K, d)``.

    ``low``, ``high (d,)`` are the ends of ``g_t``.
    """

    record: int
    shares: Vector
    jumps: Matrix
    low: Vector
    high: Vector

    @property
    def groups(self) -> list[list[int]]:
        """The options by share."""
        return [[int(k) for k in np.flatnonzero(self.shares == share)] for share in np.unique(self.shares)]

    def after(self, k: int, before: Vector) -> Vector:
        """``g_t`` of an option."""
        shift: Vector = (1.0 - self.shares[k]) * before + self.jumps[k]
        return shift


@dataclass(frozen=True, eq=False)
class Path:
    """One class: its centroid if all stay, and the arrivals that members can change."""

    centroid: Vector
    arrivals: tuple[Arrival, ...]


def _paths(problem: RecourseProblem) -> dict[int, Path]:
    """Of all classes.

    Raises
    ------
    UnsupportedError : a class has no centroid when the first member may enter it.
    """
    return {c: _Walk(problem, c).path() for c in range(len(problem.classes or ()))}


class _Walk:
    """Follows one class through all arrivals."""

    def __init__(self, problem: RecourseProblem, c: int) -> None:
        self.problem, self.c, self.running = problem, c, RunningSettings.of(problem)
        start = self.running.centroids[c]
        self.mu: Vector | None = start.copy() if np.isfinite(start).all() else None
        self.menus = {member.record: problem.admissible_options(member) for member in problem.collective.members}
        self.found: list[Arrival] = []

    def path(self) -> Path:
        for i in self.running.order:
            shares, points = self._options(int(i))
            if not shares.any():
                continue
            if (shares == shares[0]).all() and (points == points[0]).all():
                self._fixed(float(shares[0]), points[0])
            else:
                self._member(int(i), shares, points)
        if self.mu is None:
            label = self.problem.label_of(self.c)
            raise UnsupportedError(f"class '{label}' has no centroid, and none of its records arrives")
        return Path(self.mu, self._with_ends())

    def _options(self, i: int) -> tuple[Vector, Matrix]:
        """Shares in the class and points of what can arrive."""
        records = self.problem.records
        only = ((records.X[i], float(records.y[i]), float(records.s[i])),)
        options = [(np.array(o.x), o.y, o.s) for o in self.menus[i]] if i in self.menus else only
        rate = self.running.rate or 0.0
        shares = [share_of_arrival(rate, s) if y == self.c else 0.0 for _, y, s in options]
        return np.array(shares), np.array([x for x, _, _ in options])

    def _fixed(self, share: float, x: Vector) -> None:
        if self.mu is None:
            self.mu = x.copy()
            return
        self.mu = (1.0 - share) * self.mu + share * x
        self.found = [replace(one, jumps=(1.0 - share) * one.jumps) for one in self.found]

    def _member(self, i: int, shares: Vector, points: Matrix) -> None:
        if self.mu is None:
            label = self.problem.label_of(self.c)
            raise UnsupportedError(f"class '{label}' has no centroid before member {i}, who may set it, arrives")
        steps = shares[:, None] * (points - self.mu)
        nothing = np.zeros(self.problem.d)
        self.found.append(Arrival(i, shares, steps - steps[0], nothing, nothing))
        self.mu = self.mu + steps[0]

    def _with_ends(self) -> tuple[Arrival, ...]:
        low = high = np.zeros(self.problem.d)
        found = []
        for one in self.found:
            kept = (1.0 - one.shares)[:, None]
            low, high = (kept * low + one.jumps).min(axis=0), (kept * high + one.jumps).max(axis=0)
            found.append(replace(one, low=low, high=high))
        return tuple(found)


def _units(problem: RecourseProblem, paths: Mapping[int, Path]) -> Units:
    """With a slack for the rows of all arrivals, and for the coefficients that a solver drops from them."""
    moving = {c: path for c, path in paths.items() if path.arrivals}
    units = Units.within(problem, {c: (p.centroid, p.arrivals[-1].low, p.arrivals[-1].high) for c, p in moving.items()})
    rows = sum(2 * problem.d * len(path.arrivals) for path in moving.values())
    dropped = sum(_dropped(path, units.shift[c]) for c, path in moving.items())
    return replace(units, slack=units.slack + TOLERANCE * rows + OF_DROPPED * dropped)


def _dropped(path: Path, unit: Vector) -> float:
    """How far, in its unit and over all features, coefficients below :data:`DROPPED` can move the centroid."""
    lost = 0.0
    for before, one in pairwise((None, *path.arrivals)):
        assert one is not None
        sizes = np.abs(one.jumps) / unit
        lost += float(np.where(sizes <= DROPPED, sizes, 0.0).max(axis=0).sum())
        if before is not None:
            factors = 1.0 - one.shares[one.shares >= 1.0 - DROPPED]
            farthest = np.maximum(np.abs(before.low), np.abs(before.high)) / unit
            lost += float(factors.max(initial=0.0)) * float(farthest.sum())
    return lost


# -- the program ---


class RateModel(ShiftModel):
    """A :class:`ShiftModel` with the shifts after every arrival."""

    def __init__(self, problem: RecourseProblem, request: Request) -> None:
        paths = _paths(problem)
        self.arrivals = {c: path.arrivals for c, path in paths.items() if path.arrivals}
        units = _units(problem, paths)
        boxes = {c: Box.within(own[-1].low, own[-1].high, units.shift[c]) for c, own in self.arrivals.items()}
        super().__init__(problem, request, units, boxes, np.array([path.centroid for path in paths.values()]))

    def add_shifts(self) -> None:
        """``g_t`` (``state[c,t,j]``, the last one ``shift[c,j]``) and ``m_G`` (``part[c,t,G,j]``)."""
        m, d = self.model, range(self.problem.d)
        steps = [(c, t) for c, own in self.arrivals.items() for t in range(len(own))]
        states = [(c, t, j) for c, t in steps for j in d if t + 1 < len(self.arrivals[c])]
        parts = [(c, t, G, j) for c, t in steps for G in self._groups(c, t) for j in d]
        sums = [(c, t, j) for c, t in steps for j in d if self._groups(c, t)]
        m.shift = pyo.Var(self._coordinates(), bounds=lambda _, c, j: self._ends_of(c, len(self.arrivals[c]) - 1, j))
        m.state = pyo.Var(states, bounds=self._ends_of_state)
        m.part = pyo.Var(parts, bounds=self._ends_of_part)
        m.part_low = pyo.Constraint(parts, rule=lambda m, c, t, G, j: self._within(c, t, G, j, low=True))
        m.part_high = pyo.Constraint(parts, rule=lambda m, c, t, G, j: self._within(c, t, G, j, low=False))
        m.parts = pyo.Constraint(
            sums,
            rule=lambda m, c, t, j: sum(m.part[c, t, G, j] for G in self._groups(c, t)) == m.state[c, t - 1, j],
        )
        m.step = pyo.Constraint(
            [(c, t, j) for c, t in steps for j in d],
            rule=lambda m, c, t, j: row(self._state(c, t, j) - self._after(c, t, j), "==", 0.0),
        )

    def _groups(self, c: int, t: int) -> list[int]:
        """The groups that need an ``m``: none at the first arrival, nor where there is only one."""
        count = len(self.arrivals[c][t].groups)
        return list(range(count)) if t > 0 and count > 1 else []

    def _ends_of(self, c: int, t: int, j: int) -> tuple[float, float]:
        one = self.arrivals[c][t]
        box = Box.within(one.low, one.high, self.units.shift[c])
        return float(box.low[j]), float(box.high[j])

    def _ends_of_state(self, _: Any, c: int, t: int, j: int) -> tuple[float, float]:
        return self._ends_of(c, t, j)

    def _ends_of_part(self, _: Any, c: int, t: int, G: int, j: int) -> tuple[float, float]:
        low, high = self._ends_of(c, t - 1, j)
        return min(0.0, low), max(0.0, high)

    def _within(self, c: int, t: int, G: int, j: int, *, low: bool) -> Any:
        one, part = self.arrivals[c][t], self.model.part[c, t, G, j]
        chosen = sum(self.model.choice[one.record, k] for k in one.groups[G])
        ends = self._ends_of(c, t - 1, j)
        return part >= ends[0] * chosen if low else part <= ends[1] * chosen

    def _state(self, c: int, t: int, j: int) -> Any:
        return self.model.shift[c, j] if t + 1 == len(self.arrivals[c]) else self.model.state[c, t, j]

    def _after(self, c: int, t: int, j: int) -> Any:
        """The recursion, in the class's unit."""
        one, m = self.arrivals[c][t], self.model
        jumps = one.jumps[:, j] / self.units.shift[c][j]
        gained = sum(float(jump) * m.choice[one.record, k] for k, jump in enumerate(jumps) if jump)
        if t == 0:
            return gained
        kept = [1.0 - float(one.shares[group[0]]) for group in one.groups]
        if len(kept) == 1:
            return gained + kept[0] * m.state[c, t - 1, j]
        return gained + sum(factor * m.part[c, t, G, j] for G, factor in enumerate(kept) if factor)

    # -- starting and names ---

    def start(self, moves: Sequence[Move], parameters: Parameters | None) -> Mapping[str, float]:
        values, m = self.start_choices(moves), self.model
        for c, own in self.arrivals.items():
            before = np.zeros(self.problem.d)
            for t, one in enumerate(own):
                k = self._picked(one.record, moves)
                for G in self._groups(c, t):
                    for j, size in enumerate(before / self.units.shift[c]):
                        values[m.part[c, t, G, j].name] = float(size) if k in one.groups[G] else 0.0
                before = one.after(k, before)
                for j, size in enumerate(before / self.units.shift[c]):
                    values[self._state(c, t, j).name] = float(size)
            for j, size in enumerate(before / self.units.shift[c]):
                values[m.square[c, j].name] = float(size) ** 2
        return values

    def _picked(self, record: int, moves: Sequence[Move]) -> int:
        own = next((move for move in moves if move.record == record), None)
        return equal_options(dict(self.menus)[record], own)[0]

    def meanings(self) -> dict[str, str]:
        words = super().meanings()
        for c, t, j in self.model.state:
            label, feature = self.problem.label_of(c), self.problem.features[j].name
            member = self.arrivals[c][t].record
            words[f"state[{c},{t},{j}]"] = (
                f"shift of '{label}' in '{feature}' after member {member}, as it is in the end"
            )
        for c, t, G, j in self.model.part:
            words[f"part[{c},{t},{G},{j}]"] = f"state[{c},{t - 1},{j}] if an option of group {G} is chosen, else 0"
        return words


# -- worked examples ---


def _examples() -> tuple[WorkedExample, ...]:
    stay_away = (WithholdAction(),)
    near = Option(OptionKind.MENU, (1.0,), 1.0, 1.0, 1.0)
    problem = RecourseProblem(
        name="running-rate",
        records=Records(np.array([[2.0], [4.0]]), np.array([1.0, 1.0]), np.ones(2)),
        learner=LearnerSpec("nearest_centroid"),
        classes=("near", "far"),
        collective=Collective((Member(0, (), (near,)), Member(1, stay_away))),
        queries=(Query("q", (1.0,), 1.0),),
        goal=GoalKind.MAX_MARGIN,
        update=running_centroid_update(rate=0.5, centroids={"near": [0.0], "far": [2.0]}),
    )
    why = "(2 + 1) / 2 = 3/2 if the first record goes to 1 and the second stays away: 1^2 - (1/2)^2"
    return (WorkedExample(problem, 0.75, why),)
