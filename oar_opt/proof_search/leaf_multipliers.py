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

All numbers are rounded to ten digits, and multipliers of a free intercept are cut to what keeps the bound finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oar_opt.proof.lagrangian import Multipliers
from oar_opt.proof.learner_rows import LearnerRows
from oar_opt.proof.nodes import DualityLeaf, MemberMultipliers
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import Number, approximate, exact
from oar_opt.proof_search.cone_rows import Block, Columns, ConeRows, Floats, Solution, Term
from oar_opt.proof_search.loss_cones import Gathered, LossRecords, add_loss

OWN = 0.01
"""The part of ``Q`` that is put on its first row alone."""
AS_STATED = 1e-7
"""A pull that is nearer to what the checker takes by itself is not stated."""
TINY = 1e-300


@dataclass(frozen=True)
class Proposal:
    """Multipliers, and the shares ``(options,)`` of each open member in the relaxation."""

    multipliers: Multipliers
    shares: dict[int, Floats]


class Relaxation:
    """The rows of a problem as floating-point arrays."""

    def __init__(self, rows: LearnerRows) -> None:
        self.rows = rows
        self.X = np.array([[approximate(value) for value in row.xhat] for row in rows.rows]).reshape(-1, rows.p)
        self.y, self.a, self.cost = (
            np.array([approximate(getattr(row, name)) for row in rows.rows]) for name in ("y", "a", "cost")
        )
        self.acts = np.array([float(row.move is not None) for row in rows.rows])
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


class _Model:
    """The program of one part."""

    def __init__(self, data: Relaxation, part: Part, most: float) -> None:
        self.data, self.part, self.cone = data, part, ConeRows()
        self.settled, self.open = data.rows.of(part)
        self.pulling = np.array([i for i in self.settled if data.a[i] > 0], dtype=np.int64)
        self.theta, self.tau, slack = self.cone.variables(data.rows.p), self.cone.variable(), self.cone.variable()
        self.cone.cost = {self.tau: -1.0, slack: most}
        self.cone.nonnegative([0.0], ([slack], 1.0))
        self.gathered = Gathered([], np.zeros(data.rows.p), [([slack], np.ones((1, 1)))])
        self.size = self._penalty()
        self.slopes = add_loss(self.cone, data.rows.spec, self._records(self.pulling, self.theta, None), self.gathered)
        self.copies = {record: self._member(left) for record, left in self.open.items()}
        self.subjects = self._subjects()
        self.prices = self._price(part.limit, data.cost), self._price(part.cap, data.acts)
        self.stationarity = self.cone.zero(self.gathered.balance_constant, *self.gathered.balance)
        self.duality = self.cone.nonnegative([self.gathered.gap_constant], *self.gathered.gap)

    def _records(self, rows: Columns, theta: Columns, z: Columns | None) -> LossRecords:
        X = self.data.X[rows]
        return LossRecords(X, self.data.y[rows], self.data.a[rows], [(theta, X)], z)

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

    def _member(self, rows: list[int]) -> _Copies:
        data, cone = self.data, self.cone
        k, p = len(rows), data.rows.p
        z, q, copies = cone.variables(k), cone.variables(k), cone.variables(k * p).reshape(k, p)
        cone.nonnegative(np.zeros(k), (z, 1.0))
        cone.zero([-1.0], (z, np.ones((1, k))))
        total = cone.zero(np.zeros(p), (self.theta, 1.0), *((copy, -1.0) for copy in copies))
        size = cone.nonnegative([0.0], ([self.size], 1.0), (q, -np.ones((1, k))))
        for o in range(k):
            self._size_of(int(q[o]), int(z[o]), copies[o])
        active = [o for o in range(k) if data.a[rows[o]] > 0]
        chosen = np.array([rows[o] for o in active], dtype=np.int64)
        X = data.X[chosen]
        each = np.zeros((len(active), len(active) * p))
        for j in range(len(active)):
            each[j, j * p : (j + 1) * p] = X[j]
        of_copies: list[Term] = [(copies[active].reshape(-1), each)]
        records = LossRecords(X, data.y[chosen], data.a[chosen], of_copies, z[active])
        add_loss(cone, data.rows.spec, records, self.gathered)
        return _Copies(rows, z, total, size)

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

    def _price(self, limit: Number | int | None, weights: Floats) -> Block | None:
        if limit is None:
            return None
        left = float(limit) if isinstance(limit, int) else approximate(limit)
        terms = [(one.z, -weights[one.rows][None, :]) for one in self.copies.values()]
        return self.cone.nonnegative([left - float(weights[self.settled].sum())], *terms)

    # -- what the solution says ---

    def proposal(self) -> Proposal:
        """The multipliers of the solution."""
        found, data = self.cone.solve(), self.data
        mu = _size(found, self.duality)
        members = {r: (_size(found, one.size) / data.lam, -found.of(one.sum)) for r, one in self.copies.items()}
        own = max(mu - sum(share for share, _ in members.values()), 0.5 * OWN * mu)
        mu = own + sum(share for share, _ in members.values())
        for record, (_, omega) in members.items():
            if data.rows.free:
                omega[-1] = self._finite(self.open[record], mu, omega[-1])
        weights = [0.0 if block is None else _size(found, block) for block in self.subjects]
        cost, acting = (0.0 if block is None else _size(found, block) for block in self.prices)
        queries, theta = len(self.part.needs), found.x[self.theta]
        multipliers = Multipliers(
            mu=_short(own),
            beta=_shortened(found.of(self.stationarity)),
            theta=_shortened(theta),
            pulls=self._pulls(found, theta, mu),
            balance=self._balance(theta),
            omegas={record: (_short(share), _shortened(omega)) for record, (share, omega) in members.items()},
            queries=_shortened(weights[:queries]),
            guards=_shortened(weights[queries:]),
            cost=_short(cost),
            acting=_short(acting),
        )
        return Proposal(multipliers, {record: found.x[one.z] for record, one in self.copies.items()})

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
        return {int(i): _short(pull) for i, pull in zip(rows[stated], pulls[stated], strict=True)}

    def _balance(self, theta: Floats) -> int | None:
        """A row whose pull can balance a free intercept: one that is well inside its range."""
        if not self.data.rows.free or not len(self.pulling):
            return None
        rows = self.pulling
        centre = 0.0 if self.data.rows.spec.kind == "logistic" else self.data.y[rows]
        return int(rows[np.argmin(np.abs(self.data.X[rows] @ theta - centre))])


def _size(found: Solution, block: Block) -> float:
    value = float(found.of(block)[0])
    return max(0.0, value) if np.isfinite(value) else 0.0


def _short(value: float) -> Number:
    """About the same number, short to write; 0 for one that is none."""
    return exact(float(f"{value:.10g}") if np.isfinite(value) else 0.0)


def _shortened(values: Sequence[float] | Floats) -> list[Number]:
    return [_short(float(value)) for value in values]


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
        queries=tuple(map(approximate, given.queries)),
        guards=tuple(map(approximate, given.guards)),
        cost=approximate(given.cost),
        acting=approximate(given.acting),
    )
