"""Multipliers for :mod:`oar_opt.proof.lagrangian`, proposed by the conic program whose dual they are.

Statement. Every member with several options left has a share ``z_o``, a copy ``theta_o`` and a pull ``g_o`` for each
of them, with ``sum z_o = 1`` and ``sum theta_o = theta``; records that are the same in all choices have a pull each.
The largest ``tau`` is sought that all margins exceed their needs by, subject to stationarity, the prices' limits and
the one row of duality

    sum of t over all records + lam Q <= lam theta0'R theta + s,    Q >= |theta|^2,  Q >= sum_o |theta_o|^2 / z_o,

``t`` as in :mod:`oar_opt.proof_search.loss_cones`, at the price ``most`` for ``s >= 0``, without which no solver would
find an inside. For LP learners ``|theta|^2`` is ``sum |theta_j|``, and subgradients of it join stationarity. A choice
with its re-trained learner is a feasible point with ``s = 0``, so the value bounds all of them; the multipliers of
stationarity are ``beta``, of the copies' sums ``-omega_m``, of ``Q``'s rows ``mu_0, mu_m``, of the others the weights
and prices. A small part of ``Q`` is put on the first of its rows alone, so that ``mu_0`` is not 0.

Squared loss: the moments ``T`` of ``theta theta'`` take the place of ``Q`` and of the records that are the same in all
choices, as ``lam sum T_jj + sum 2 a x'T x`` in duality, with ``(1, theta)`` and ``T`` positive semidefinite. Then
``mu_0`` has any sign. Sets of feature changes are :mod:`oar_opt.proof_search.change_cones`.

All numbers are rounded to ten digits, and multipliers of a free intercept are cut to what keeps the bound finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oar_opt.proof.changed_record import CaseMultipliers
from oar_opt.proof.lagrangian import Multipliers, changed_term
from oar_opt.proof.learner_rows import LearnerRows
from oar_opt.proof.nodes import ChangeCase, ChangeMultipliers, DualityLeaf, MemberMultipliers
from oar_opt.proof.parts import Part, Place
from oar_opt.proof.rationals import Number, approximate
from oar_opt.proof_search.assessed import Spread
from oar_opt.proof_search.change_cones import ChangeCone, fitted
from oar_opt.proof_search.cone_rows import Block, Columns, ConeRows, Floats, Solution, Term
from oar_opt.proof_search.loss_cones import Gathered, LossRecords, Slopes, add_loss
from oar_opt.proof_search.numbers import shortened

OWN = 0.01
"""The part of ``Q`` that is put on its first row alone."""
AS_STATED = 1e-7
"""A pull that is nearer to what the checker takes by itself is not stated."""
TINY = 1e-300


@dataclass(frozen=True)
class Proposal:
    """Multipliers, the shares ``(options,)`` of each open member in the relaxation, and how uncertain changes are."""

    multipliers: Multipliers
    shares: dict[int, Floats]
    spreads: dict[Place, Spread]


class Relaxation:
    """The rows of a problem as floating-point arrays."""

    def __init__(self, rows: LearnerRows) -> None:
        self.rows = rows
        self.X = np.array([[approximate(value) for value in row.xhat] for row in rows.rows]).reshape(-1, rows.p)
        self.y, self.a, self.cost = (
            np.array([approximate(getattr(row, name)) for row in rows.rows]) for name in ("y", "a", "cost")
        )
        self.acts = np.array([float(row.acts) for row in rows.rows])
        self.lam = 1.0 if rows.is_linear else approximate(rows.lam)
        self.theta0 = np.array([approximate(value) for value in rows.theta0])
        self.penalised = np.array(rows.penalised, dtype=np.int64)
        ends = [row.pulls for row in rows.rows]
        self.least = np.array([-np.inf if low is None else approximate(low) for low, _ in ends])
        self.most = np.array([np.inf if high is None else approximate(high) for _, high in ends])

    def propose(self, part: Part, most: float) -> Proposal:
        """Multipliers for a part; ``most`` is the largest that the duality's may be, about."""
        return _Model(self, part, most).proposal()


@dataclass(frozen=True, eq=False)
class _Copies:
    """A member's columns and rows: shares, the sum of its copies, and its row of ``Q``."""

    rows: list[int]
    z: Columns
    sum: Block
    size: Block
    changes: dict[int, ChangeCone]


class _Model:
    """The program of one part."""

    def __init__(self, data: Relaxation, part: Part, most: float) -> None:
        self.data, self.part, self.cone = data, part, ConeRows()
        self.settled, self.open = data.rows.of(part)
        self.pulling = np.array([i for i in self.settled if data.a[i] > 0], dtype=np.int64)
        self.tau, slack = self.cone.variable(), self.cone.variable()
        self.cone.cost = {self.tau: -1.0, slack: most}
        self.cone.nonnegative([0.0], ([slack], 1.0))
        self.gathered = Gathered([], np.zeros(data.rows.p), [([slack], np.ones((1, 1)))])
        self.slopes: Slopes | None = None
        self.theta, self.size = self._jointly() if data.rows.is_quadratic else self._apart()
        self.copies = {record: self._member(record, left) for record, left in self.open.items()}
        self.subjects = self._subjects()
        costs = [term for one in self.copies.values() for change in one.changes.values() for term in change.cost()]
        self.prices = self._price(part.limit, data.cost, costs), self._price(part.cap, data.acts, [])
        self.stationarity = self.cone.zero(self.gathered.balance_constant, *self.gathered.balance)
        self.duality = self.cone.nonnegative([self.gathered.gap_constant], *self.gathered.gap)

    def _records(self, rows: Columns, theta: Columns, z: Columns | None) -> LossRecords:
        X = self.data.X[rows]
        return LossRecords(X, self.data.y[rows], self.data.a[rows], [(theta, X)], z)

    def _jointly(self) -> tuple[Columns, Term]:
        """``theta`` and ``Q`` out of the moments of ``theta``, with all that they add to stationarity and duality, for
        the squared loss."""
        data, cone, into, p = self.data, self.cone, self.gathered, self.data.rows.p
        matrix = cone.moments(1 + p)
        cone.zero([-1.0], (matrix[0, :1], [[1.0]]))
        theta, second = matrix[0, 1:], matrix[1:, 1:]
        weights = np.zeros(p)
        weights[data.penalised] = data.lam
        X, double = data.X[self.pulling], 2.0 * data.a[self.pulling]
        H, h = np.diag(weights) + (X.T * double) @ X, weights * data.theta0 + X.T @ (double * data.y[self.pulling])
        into.balance.append((theta, H))
        into.balance_constant -= h
        into.less(second.reshape(-1), H.reshape(-1))
        into.less(theta, -h)
        return theta, (second.diagonal()[data.penalised], np.ones((1, len(data.penalised))))

    def _apart(self) -> tuple[Columns, Term]:
        """The same with terms of their own for every record."""
        self.theta = self.cone.variables(self.data.rows.p)
        size = self._penalty()
        records = self._records(self.pulling, self.theta, None)
        self.slopes = add_loss(self.cone, self.data.rows.spec, records, self.gathered)
        return self.theta, ([size], [[1.0]])

    def _penalty(self) -> int:
        """``Q``, with the penalty's part in stationarity and duality."""
        data, cone, into = self.data, self.cone, self.gathered
        both, own = cone.variable(), cone.variable()
        cone.nonnegative([0.0], ([both, own], [[1.0, -1.0]]))
        self._size_of(own, None, self.theta)
        into.less(np.array([both, own]), data.lam * np.array([1.0 - OWN, OWN]))
        k, p = len(data.penalised), data.rows.p
        if data.rows.is_linear:
            subgradients = cone.variables(k)
            for sign in (1.0, -1.0):
                cone.nonnegative(np.ones(k), (subgradients, sign))
            into.balance.append((subgradients, np.eye(p)[:, data.penalised]))
            return both
        weights = np.zeros(p)
        weights[data.penalised] = data.lam
        into.balance.append((self.theta, weights))
        into.balance_constant -= weights * data.theta0
        into.less(self.theta, -weights * data.theta0)
        return both

    def _size_of(self, top: int, side: int | None, theta: Columns) -> None:
        """``top side >= |theta|^2`` over penalised entries, or ``top >= sum |theta_j|``."""
        entries = theta[self.data.penalised]
        k = len(entries)
        if not self.data.rows.is_linear:
            self.cone.squares(top, side, k, (entries, 1.0))
            return
        sizes = self.cone.variables(k)
        for sign in (1.0, -1.0):
            self.cone.nonnegative(np.zeros(k), (sizes, 1.0), (entries, sign))
        self.cone.nonnegative([0.0], ([top], 1.0), (sizes, -np.ones((1, k))))

    def _member(self, record: int, rows: list[int]) -> _Copies:
        data, cone = self.data, self.cone
        k, p = len(rows), data.rows.p
        z, q, copies = cone.variables(k), cone.variables(k), cone.variables(k * p).reshape(k, p)
        cone.nonnegative(np.zeros(k), (z, 1.0))
        cone.zero([-1.0], (z, np.ones((1, k))))
        total = cone.zero(np.zeros(p), (self.theta, 1.0), *((copy, -1.0) for copy in copies))
        size = cone.nonnegative([0.0], self.size, (q, -np.ones((1, k))))
        for o in range(k):
            self._size_of(int(q[o]), int(z[o]), copies[o])
        changes = {
            i: self._change(record, i, int(z[o]), copies[o], int(q[o])) for o, i in enumerate(rows) if self._is_set(i)
        }
        active = [o for o in range(k) if data.a[rows[o]] > 0 and rows[o] not in changes]
        chosen = np.array([rows[o] for o in active], dtype=np.int64)
        X = data.X[chosen]
        each = np.zeros((len(active), len(active) * p))
        for j in range(len(active)):
            each[j, j * p : (j + 1) * p] = X[j]
        of_copies: list[Term] = [(copies[active].reshape(-1), each)]
        records = LossRecords(X, data.y[chosen], data.a[chosen], of_copies, z[active])
        add_loss(cone, data.rows.spec, records, self.gathered)
        return _Copies(rows, z, total, size, changes)

    def _is_set(self, i: int) -> bool:
        return self.data.rows.rows[i].reach is not None and bool(self.data.a[i] > 0)

    def _change(self, record: int, i: int, z: int, copy: Columns, q: int) -> ChangeCone:
        """A set of changes, whose share, copy and size are the sums of its lines'."""
        cone, rows = self.cone, self.data.rows
        row = rows.rows[i]
        assert row.reach is not None and row.pieces is not None
        place = record, rows.options[record].index(i)
        cuts, priced = self.part.cuts_of(place, row.reach), self.part.limit is not None
        change = ChangeCone(cone, row, cuts, self.data.penalised, self.gathered, priced)
        shares, squares = change.shares, change.squares()
        cone.zero([0.0], ([z], [[1.0]]), (shares, -np.ones((1, len(shares)))))
        cone.zero(np.zeros(rows.p), (copy, 1.0), *((columns, -1.0) for columns in change.theta()))
        cone.zero([0.0], ([q], [[1.0]]), (squares, -np.ones((1, len(squares)))))
        return change

    def _subjects(self) -> list[Block | None]:
        """The rows ``margin - need - tau >= 0`` of queries and guards."""
        rows, part = self.data.rows, self.part
        pairs = [*zip(rows.queries, part.needs, strict=True), *zip(rows.guards, part.guards, strict=True)]
        found: list[Block | None] = []
        for (direction, offset), need in pairs:
            if need is None:
                found.append(None)
                continue
            c = np.array([[approximate(value) for value in direction]])
            found.append(self.cone.nonnegative([approximate(offset - need)], (self.theta, c), ([self.tau], -1.0)))
        if not any(found):
            self.cone.nonnegative([1.0], ([self.tau], -1.0))
        return found

    def _price(self, limit: Number | int | None, weights: Floats, more: Sequence[Term]) -> Block | None:
        if limit is None:
            return None
        left = float(limit) if isinstance(limit, int) else approximate(limit)
        terms = [(one.z, -weights[one.rows][None, :]) for one in self.copies.values()]
        terms += [(columns, -np.asarray(factors)) for columns, factors in more]
        return self.cone.nonnegative([left - float(weights[self.settled].sum())], *terms)

    # -- what the solution says ---

    def proposal(self) -> Proposal:
        """The multipliers of the solution."""
        found, data = self.cone.solve(), self.data
        mu = _size(found, self.duality)
        members = {r: (_size(found, one.size) / data.lam, -found.of(one.sum)) for r, one in self.copies.items()}
        own = mu - sum(share for share, _ in members.values())
        if not data.rows.is_quadratic:
            own = max(own, 0.5 * OWN * mu)
        mu = own + sum(share for share, _ in members.values())
        for record, (_, omega) in members.items():
            if data.rows.free:
                omega[-1] = self._finite(self.open[record], mu, omega[-1])
        weights = [0.0 if block is None else _size(found, block) for block in self.subjects]
        cost, acting = (0.0 if block is None else _size(found, block) for block in self.prices)
        queries, theta = len(self.part.needs), found.x[self.theta]
        multipliers = Multipliers(
            mu=shortened(own),
            beta=_shortened(found.of(self.stationarity)),
            theta=_shortened(theta),
            pulls=self._pulls(found, theta, mu),
            balance=self._balance(theta),
            omegas={record: (shortened(share), _shortened(omega)) for record, (share, omega) in members.items()},
            queries=_shortened(weights[:queries]),
            guards=_shortened(weights[queries:]),
            cost=shortened(cost),
            acting=shortened(acting),
        )
        shares = {record: found.x[one.z] for record, one in self.copies.items()}
        return Proposal(replace(multipliers, changes=self._changes(found, multipliers)), shares, self._spreads(found))

    def _spreads(self, found: Solution) -> dict[Place, Spread]:
        return {
            (record, self.data.rows.options[record].index(i)): change.spread(found.x)
            for record, one in self.copies.items()
            for i, change in one.changes.items()
        }

    def _changes(self, found: Solution, given: Multipliers) -> dict[int, list[CaseMultipliers]]:
        """The multipliers of sets of changes."""
        rows, cases = self.data.rows, {}
        for record, one in self.copies.items():
            for i, change in one.changes.items():
                raw = change.multipliers(found, given, given.omegas[record][1], rows.free)
                cases[i] = fitted(changed_term(rows, self.part, given, record, i), change.pieces, raw)
        return cases

    def _finite(self, rows: Sequence[int], mu: float, value: float) -> float:
        """Cut to what keeps every option's term finite, where ``f`` has no other end."""
        data = self.data
        active = [i for i in rows if data.a[i] > 0]
        if len(active) < len(rows):
            return 0.0
        least, most = (max(mu * data.a[active] * data.least[active]), min(mu * data.a[active] * data.most[active]))
        return float(np.clip(value, least, most)) if mu > 0 and least <= most else 0.0

    def _pulls(self, found: Solution, theta: Floats, mu: float) -> dict[int, Number]:
        """The pulls of records at a kink, which are not what the checker takes by itself."""
        if self.slopes is None:
            return {}
        rows, data = self.pulling, self.data
        pulls = np.clip(self.slopes(found) / np.maximum(mu * data.a[rows], TINY), data.least[rows], data.most[rows])
        f, y, epsilon = data.X[rows] @ theta, data.y[rows], float(data.rows.spec.epsilon or 0.0)
        if data.rows.spec.kind in ("svm", "l1_svm"):
            own = np.where(y * f < 1, -y, 0.0)
        else:
            own = np.where(f > y + epsilon, 1.0, np.where(f < y - epsilon, -1.0, 0.0))
        stated = np.abs(pulls - own) > AS_STATED
        return {int(i): shortened(pull) for i, pull in zip(rows[stated], pulls[stated], strict=True)}

    def _balance(self, theta: Floats) -> int | None:
        """A row whose pull can balance a free intercept: one that is well inside its range."""
        if not self.data.rows.free or not len(self.pulling) or self.data.rows.is_quadratic:
            return None
        rows = self.pulling
        centre = 0.0 if self.data.rows.spec.kind == "logistic" else self.data.y[rows]
        return int(rows[np.argmin(np.abs(self.data.X[rows] @ theta - centre))])


def _size(found: Solution, block: Block) -> float:
    value = float(found.of(block)[0])
    return max(0.0, value) if np.isfinite(value) else 0.0


def _shortened(values: Sequence[float] | Floats) -> list[Number]:
    return [shortened(float(value)) for value in values]


def leaf_of(given: Multipliers) -> DualityLeaf:
    """The node of a certificate with these multipliers, which are floating-point numbers."""
    return DualityLeaf(
        kind="duality",
        mu=approximate(given.mu),
        beta=tuple(map(approximate, given.beta)),
        theta=tuple(map(approximate, given.theta)),
        pulls=tuple((row, approximate(pull)) for row, pull in given.pulls.items()),
        balance=given.balance,
        members=tuple(
            MemberMultipliers(record=record, mu=approximate(mu), omega=tuple(map(approximate, omega)))
            for record, (mu, omega) in given.omegas.items()
        ),
        changes=tuple(
            ChangeMultipliers(row=row, cases=tuple(map(_case_of, cases))) for row, cases in given.changes.items()
        ),
        queries=tuple(map(approximate, given.queries)),
        guards=tuple(map(approximate, given.guards)),
        cost=approximate(given.cost),
        acting=approximate(given.acting),
    )


def _case_of(given: CaseMultipliers) -> ChangeCase:
    return ChangeCase(
        kappa=approximate(given.kappa),
        tau=approximate(given.tau),
        sides=tuple(map(approximate, given.sides)),
        ball=approximate(given.ball),
        direction=tuple(map(approximate, given.direction)),
        cuts=tuple(map(approximate, given.cuts)),
        facet=tuple(map(approximate, given.facet)),
        rows=tuple(map(approximate, given.rows)),
    )
