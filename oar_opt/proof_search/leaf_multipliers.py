"""Multipliers for :mod:`oar_opt.proof.lagrangian`, proposed by a conic program whose dual they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flint import fmpq

from oar_opt.proof.lagrangian import Multipliers
from oar_opt.proof.learner_rows import LearnerRows
from oar_opt.proof.nodes import DualityLeaf, MemberMultipliers
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import approximate
from oar_opt.proof_search.cone_rows import Block, ConeRows, Floats, Solution
from oar_opt.proof_search.numbers import shortened

OWN = 0.01


@dataclass(frozen=True)
class Proposal:
    multipliers: Multipliers
    slack: float
    shares: dict[int, Floats]
    status: str


class Relaxation:
    """The rows of a program as floating-point arrays."""

    def __init__(self, program: LearnerRows) -> None:
        self.program = program
        self.X = np.array([[approximate(v) for v in row.xhat] for row in program.rows]).reshape(-1, program.p)
        self.y = np.array([approximate(row.y) for row in program.rows])
        self.a = np.array([approximate(row.a) for row in program.rows])
        self.cost = np.array([approximate(row.cost) for row in program.rows])
        self.acts = np.array([float(row.move is not None) for row in program.rows])
        self.lam = approximate(program.lam)
        self.theta0 = np.array([approximate(v) for v in program.theta0])
        self.R = np.array([float(j in program.penalised) for j in range(program.p)])
        self.kind = program.spec.kind
        self.epsilon = float(program.spec.epsilon or 0.0)
        self.delta = float(program.spec.delta or 0.0)

    def propose(self, part: Part, most: float) -> Proposal:
        return _Model(self, part, most).solve()


class _Model:
    def __init__(self, data: Relaxation, part: Part, most: float) -> None:
        self.data, self.part = data, part
        self.cone = cone = ConeRows()
        p = data.program.p
        self.theta, (self.tau, self.s) = cone.variables(p), cone.variables(2)
        self.penalised = np.flatnonzero(data.R)
        cone.cost = {int(self.tau): -1.0, int(self.s): most}
        cone.add("nonnegative", [0.0], ([self.s], 1.0))
        # stationarity and gap, gathered while records are added
        self.balance: list = []
        self.constant = np.zeros(p)
        self.gap: list = [([self.s], np.array([[1.0]]))]
        self.gap_constant = 0.0
        settled, self.open = data.program.of(part)
        self.settled_rows = np.array(settled, int)
        self.settled = np.array([i for i in settled if data.a[i] > 0], int)
        self.member: dict[int, tuple] = {}
        self._penalty()
        self._fixed()
        for r, left in self.open.items():
            self._member(r, list(left))
        self._goal()
        self.stationarity = cone.add("zero", self.constant, *self.balance)
        self.duality = cone.add("nonnegative", [self.gap_constant], *self.gap)

    def _penalty(self) -> None:
        data, cone, p = self.data, self.cone, self.data.program.p
        self.Q, Q = (int(column) for column in cone.variables(2))
        cone.add("nonnegative", [0.0], ([self.Q, Q], [[1.0, -1.0]]))
        if data.program.is_linear:
            k = len(self.penalised)
            size, r = cone.variables(k), cone.variables(k)
            for sign in (1.0, -1.0):
                cone.add("nonnegative", np.zeros(k), (size, 1.0), (self.theta[self.penalised], sign))
                cone.add("nonnegative", np.ones(k), (r, sign))
            cone.add("nonnegative", [0.0], ([Q], 1.0), (size, -np.ones((1, k))))
            self.balance.append((r, np.eye(p)[:, self.penalised]))
            self.gap.append(([self.Q, Q], np.array([[OWN - 1.0, -OWN]])))
            return
        cone.square(({Q: 1.0}, 0.0), ({}, 1.0), (self.theta[self.penalised], 1.0), offset=np.zeros(len(self.penalised)))
        self.balance.append((self.theta, np.diag(data.lam * data.R)))
        self.constant -= data.lam * data.R * data.theta0
        self.gap.append(([self.Q, Q], data.lam * np.array([[OWN - 1.0, -OWN]])))
        self.gap.append((self.theta, (data.lam * data.R * data.theta0)[None, :]))

    # losses: f = F columns, z (1 if settled)

    def _fixed(self) -> None:
        data, cone = self.data, self.cone
        rows = self.settled
        X, y, a = data.X[rows], data.y[rows], data.a[rows]
        n = len(rows)
        self.read = lambda found, mu: {}
        if n == 0:
            return
        Qf = int(cone.variables(1)[0])
        self.gap.append(([Qf], np.array([[-1.0]])))
        kind = data.kind
        if kind == "ridge":
            H = 2 * (X.T * a) @ X
            w, V = np.linalg.eigh(H)
            L = (V * np.sqrt(np.maximum(w, 0))).T
            cone.square(({Qf: 1.0}, 0.0), ({}, 1.0), (self.theta, L), offset=np.zeros(len(L)))
            self.balance.append((self.theta, H))
            self.constant -= 2 * X.T @ (a * y)
            self.gap.append((self.theta, (2 * X.T @ (a * y))[None, :]))
            return
        g = cone.variables(n)
        self.balance.append((g, X.T))
        if kind in ("svm", "l1_svm", "squared_hinge"):
            xi = cone.variables(n)
            cone.add("nonnegative", np.zeros(n), (xi, 1.0))
            kink = cone.add("nonnegative", -np.ones(n), (xi, 1.0), (self.theta, y[:, None] * X))
            cone.add("nonnegative", np.zeros(n), (g, -y))
            self.gap.append((g, -y[None, :]))
            if kind == "squared_hinge":
                roots = np.sqrt(a)
                E = np.zeros((2 * n, 2 * n))
                E[np.arange(n), np.arange(n)] = roots
                E[np.arange(n) + n, np.arange(n) + n] = 0.5 / roots
                cone.square(({Qf: 1.0}, 0.0), ({}, 1.0), (np.concatenate([xi, g]), E), offset=np.zeros(2 * n))
                return
            cone.add("nonnegative", a, (g, y))
            self.gap.append((xi, -a[None, :]))
            cone.add("zero", [0.0], ([Qf], 1.0))
            self.read = lambda found, mu: -y * found.of(kink) / np.maximum(mu * a, 1e-300)
            return
        if kind in ("epsilon_insensitive", "lad"):
            xi, h = cone.variables(n), cone.variables(n)
            cone.add("nonnegative", np.zeros(n), (xi, 1.0))
            up = cone.add("nonnegative", y + data.epsilon, (xi, 1.0), (self.theta, -X))
            down = cone.add("nonnegative", data.epsilon - y, (xi, 1.0), (self.theta, X))
            for sign in (1.0, -1.0):
                cone.add("nonnegative", np.zeros(n), (h, 1.0), (g, sign))
                cone.add("nonnegative", a, (g, sign))
            self.gap += [(xi, -a[None, :]), (g, -y[None, :]), (h, -np.full((1, n), data.epsilon))]
            cone.add("zero", [0.0], ([Qf], 1.0))
            self.read = lambda found, mu: (found.of(up) - found.of(down)) / np.maximum(mu * a, 1e-300)
            return
        if kind == "huber":
            u, v, h = cone.variables(n), cone.variables(n), cone.variables(n)
            cone.add("zero", y, (u, -1.0), (v, -1.0), (self.theta, -X))
            for sign in (1.0, -1.0):
                cone.add("nonnegative", np.zeros(n), (h, 1.0), (v, sign))
                cone.add("nonnegative", a * data.delta, (g, sign))
            roots = np.sqrt(a / 2)
            E = np.zeros((2 * n, 2 * n))
            E[np.arange(n), np.arange(n)] = roots
            E[np.arange(n) + n, np.arange(n) + n] = 0.5 / roots
            cone.square(({Qf: 1.0}, 0.0), ({}, 1.0), (np.concatenate([u, g]), E), offset=np.zeros(2 * n))
            self.gap += [(h, -(a * data.delta)[None, :]), (g, -y[None, :])]
            return
        if kind == "logistic":
            cone.add("zero", [0.0], ([Qf], 1.0))
            t, u1, u2, r1, r2 = (cone.variables(n) for _ in range(5))
            cone.add("nonnegative", np.ones(n), (u1, -1.0), (u2, -1.0))
            self._exponential(n, [(t, -1.0)], [], [(u1, 1.0)], ones=(1,))
            self._exponential(n, [(t, -1.0), (self.theta, -y[:, None] * X)], [], [(u2, 1.0)], ones=(1,))
            self._exponential(n, [(r1, -1.0)], [(g, -y / a)], [], ones=(2,))
            self._exponential(n, [(r2, -1.0)], [(g, y / a)], [], ones=(1, 2))
            self.gap += [(t, -a[None, :]), (r1, -a[None, :]), (r2, -a[None, :])]
            return
        raise AssertionError(kind)

    def _exponential(self, n, first, second, third, ones=(), z=None) -> None:
        """n cones (first, second, third); ones: which entries have an additional 1 (or z)."""
        offset = np.zeros(3 * n)
        block = Block("exponential", [], offset)
        for k, terms in enumerate((first, second, third)):
            for columns, given in terms:
                matrix = np.asarray(given, float)
                if matrix.ndim == 2:
                    r, c = np.nonzero(matrix)
                    block.entries.append((3 * r + k, np.asarray(columns)[c], matrix[r, c]))
                else:
                    block.entries.append((3 * np.arange(n) + k, np.asarray(columns), np.broadcast_to(matrix, (n,))))
            if k in ones and z is None:
                offset[k::3] += 1.0
            elif k in ones:
                block.entries.append((3 * np.arange(n) + k, np.asarray(z), np.ones(n)))
        self.cone.blocks.append(block)

    def _member(self, r: int, left: list[int]) -> None:
        data, cone, p = self.data, self.cone, self.data.program.p
        k = len(left)
        z = cone.variables(k)
        q = cone.variables(k)
        copies = cone.variables(k * p).reshape(k, p)
        cone.add("nonnegative", np.zeros(k), (z, 1.0))
        cone.add("zero", [-1.0], (z, np.ones((1, k))))
        split = cone.add("zero", np.zeros(p), (self.theta, 1.0), *((copy, -1.0) for copy in copies))
        share = cone.add("nonnegative", [0.0], ([self.Q], 1.0), (q, -np.ones((1, k))))
        pen = self.penalised
        for o in range(k):
            if data.program.is_linear:
                size = cone.variables(len(pen))
                for sign in (1.0, -1.0):
                    cone.add("nonnegative", np.zeros(len(pen)), (size, 1.0), (copies[o][pen], sign))
                cone.add("nonnegative", [0.0], ([q[o]], 1.0), (size, -np.ones((1, len(pen)))))
            else:
                cone.square(
                    ({int(q[o]): 1.0}, 0.0), ({int(z[o]): 1.0}, 0.0), (copies[o][pen], 1.0), offset=np.zeros(len(pen))
                )
        active = [o for o in range(k) if data.a[left[o]] > 0]
        self.member[r] = (z, split, share, left)
        if not active:
            return
        rows = np.array([left[o] for o in active])
        zs = z[active]
        n = len(rows)
        F = np.zeros((n, n * p))
        for j, i in enumerate(rows):
            F[j, j * p : (j + 1) * p] = data.X[i]
        f = cone.variables(n)
        cone.add("zero", np.zeros(n), (f, -1.0), (copies[active].reshape(-1), F))
        y, a, X = data.y[rows], data.a[rows], data.X[rows]
        g = cone.variables(n)
        self.balance.append((g, X.T))
        kind = data.kind
        if kind == "ridge":
            cone.add("zero", np.zeros(n), (g, -1.0), (f, 2 * a), (zs, -2 * a * y))
            t = cone.variables(n)
            for j in range(n):
                cone.square(
                    ({int(t[j]): 1.0}, 0.0), ({int(zs[j]): 1.0}, 0.0), ([f[j]], [[np.sqrt(2 * a[j])]]), offset=[0.0]
                )
            self.gap += [(t, -np.ones((1, n))), (f, (2 * a * y)[None, :])]
        elif kind in ("svm", "l1_svm", "squared_hinge"):
            xi = cone.variables(n)
            cone.add("nonnegative", np.zeros(n), (xi, 1.0))
            cone.add("nonnegative", np.zeros(n), (xi, 1.0), (f, y), (zs, -1.0))
            cone.add("nonnegative", np.zeros(n), (g, -y))
            self.gap.append((g, -y[None, :]))
            if kind == "squared_hinge":
                t = cone.variables(n)
                for j in range(n):
                    cone.square(
                        ({int(t[j]): 1.0}, 0.0),
                        ({int(zs[j]): 1.0}, 0.0),
                        ([xi[j], g[j]], np.diag([np.sqrt(a[j]), 0.5 / np.sqrt(a[j])])),
                        offset=np.zeros(2),
                    )
                self.gap.append((t, -np.ones((1, n))))
            else:
                cone.add("nonnegative", np.zeros(n), (g, y), (zs, a))
                self.gap.append((xi, -a[None, :]))
        elif kind in ("epsilon_insensitive", "lad"):
            xi, h = cone.variables(n), cone.variables(n)
            cone.add("nonnegative", np.zeros(n), (xi, 1.0))
            cone.add("nonnegative", np.zeros(n), (xi, 1.0), (f, -1.0), (zs, y + data.epsilon))
            cone.add("nonnegative", np.zeros(n), (xi, 1.0), (f, 1.0), (zs, data.epsilon - y))
            for sign in (1.0, -1.0):
                cone.add("nonnegative", np.zeros(n), (h, 1.0), (g, sign))
                cone.add("nonnegative", np.zeros(n), (g, sign), (zs, a))
            self.gap += [(xi, -a[None, :]), (g, -y[None, :]), (h, -np.full((1, n), data.epsilon))]
        elif kind == "huber":
            u, v, h, t = (cone.variables(n) for _ in range(4))
            cone.add("zero", np.zeros(n), (u, -1.0), (v, -1.0), (f, -1.0), (zs, y))
            for sign in (1.0, -1.0):
                cone.add("nonnegative", np.zeros(n), (h, 1.0), (v, sign))
                cone.add("nonnegative", np.zeros(n), (g, sign), (zs, a * data.delta))
            for j in range(n):
                cone.square(
                    ({int(t[j]): 1.0}, 0.0),
                    ({int(zs[j]): 1.0}, 0.0),
                    ([u[j], g[j]], np.diag([np.sqrt(a[j] / 2), 0.5 / np.sqrt(a[j] / 2)])),
                    offset=np.zeros(2),
                )
            self.gap += [(t, -np.ones((1, n))), (h, -(a * data.delta)[None, :]), (g, -y[None, :])]
        else:
            t, u1, u2, r1, r2 = (cone.variables(n) for _ in range(5))
            cone.add("nonnegative", np.zeros(n), (u1, -1.0), (u2, -1.0), (zs, 1.0))
            self._exponential(n, [(t, -1.0)], [], [(u1, 1.0)], ones=(1,), z=zs)
            self._exponential(n, [(t, -1.0), (f, -y)], [], [(u2, 1.0)], ones=(1,), z=zs)
            self._exponential(n, [(r1, -1.0)], [(g, -y / a)], [], ones=(2,), z=zs)
            self._exponential(n, [(r2, -1.0)], [(g, y / a)], [], ones=(1, 2), z=zs)
            self.gap += [(t, -a[None, :]), (r1, -a[None, :]), (r2, -a[None, :])]

    def _goal(self) -> None:
        data, part, cone = self.data, self.part, self.cone
        program = data.program
        self.subjects = []
        for group, needs in ((program.queries, part.needs), (program.guards, part.guards)):
            for (direction, offset), need in zip(group, needs, strict=True):
                if need is None:
                    self.subjects.append(None)
                    continue
                c = np.array([approximate(v) for v in direction])
                self.subjects.append(
                    cone.add(
                        "nonnegative", [approximate(offset - need)], (self.theta, c[None, :]), ([self.tau], [[-1.0]])
                    )
                )
        self.prices = []
        for limit, weight in ((part.limit, data.cost), (part.cap, data.acts)):
            if limit is None:
                self.prices.append(None)
                continue
            fixed = float(weight[self.settled_rows].sum())
            terms = [(z, -weight[left][None, :]) for z, _, _, left in self.member.values()]
            self.prices.append(
                cone.add(
                    "nonnegative", [float(limit if isinstance(limit, int) else approximate(limit)) - fixed], *terms
                )
            )
        if all(s is None for s in self.subjects):
            cone.add("nonnegative", [1.0], ([self.tau], [[-1.0]]))

    def solve(self) -> Proposal:
        found = self.cone.solve()
        x = found.x
        q = len(self.data.program.queries)
        pi = [0.0 if b is None else max(0.0, float(found.of(b)[0])) for b in self.subjects]
        prices = [0.0 if b is None else max(0.0, float(found.of(b)[0])) for b in self.prices]
        lam = self.data.lam if not self.data.program.is_linear else 1.0
        total = max(float(found.of(self.duality)[0]), 0.0)
        omegas = {}
        for r, (_, split, share, _) in self.member.items():
            mu = max(0.0, float(found.of(share)[0])) / lam
            omegas[r] = (mu, -found.of(split))
        own = max(total - sum(mu for mu, _ in omegas.values()), 0.5 * OWN * total)
        if self.data.program.free:
            for r, (mu, omega) in omegas.items():
                omega[-1] = self._slope(r, total, omega[-1])
        beta, theta = found.of(self.stationarity), x[self.theta]
        pulls = self._pulls(found, theta, total)
        multipliers = Multipliers(
            shortened(own), [shortened(v) for v in beta], [shortened(v) for v in theta], pulls, self._balance(theta),
            {r: (shortened(mu), [shortened(v) for v in omega]) for r, (mu, omega) in omegas.items()},
            [shortened(v) for v in pi[:q]], [shortened(v) for v in pi[q:]], shortened(prices[0]), shortened(prices[1]),
        )  # fmt: skip
        shares = {r: x[z] for r, (z, *_) in self.member.items()}
        return Proposal(multipliers, float(x[self.tau]), shares, found.status)

    def _pulls(self, found: Solution, theta: Floats, mu: float) -> dict[int, fmpq]:
        read = self.read(found, mu)
        if isinstance(read, dict):
            return {}
        rows, kind = self.settled, self.data.kind
        f, y = self.data.X[rows] @ theta, self.data.y[rows]
        low, high = (
            (np.minimum(-y, 0), np.maximum(-y, 0))
            if kind in ("svm", "l1_svm")
            else (-np.ones(len(rows)), np.ones(len(rows)))
        )
        read = np.clip(read, low, high)
        if kind in ("svm", "l1_svm"):
            default = np.where(y * f < 1, -y, 0.0)
        else:
            default = np.where(f > y + self.data.epsilon, 1.0, np.where(f < y - self.data.epsilon, -1.0, 0.0))
        near = np.abs(read - default) > 1e-7
        return {int(i): shortened(v) for i, v in zip(rows[near], read[near], strict=True)}

    def _slope(self, r: int, mu: float, value: float) -> float:
        """Cut to what keeps every option's term finite."""
        for i in self.open[r]:
            a, y, kind = self.data.a[i], self.data.y[i], self.data.kind
            if a == 0:
                return 0.0
            least, most = {
                "ridge": (-np.inf, np.inf),
                "huber": (-self.data.delta, self.data.delta),
                "epsilon_insensitive": (-1.0, 1.0),
            }.get(kind, (min(-y, 0), max(-y, 0)))
            if kind == "squared_hinge":
                least, most = (-np.inf, 0) if y > 0 else (0, np.inf)
            value = float(np.clip(value, mu * a * least, mu * a * most))
        return value

    def _balance(self, theta: Floats) -> int | None:
        if not self.data.program.free:
            return None
        rows = self.settled
        r = self.data.X[rows] @ theta - (0 if self.data.kind == "logistic" else self.data.y[rows])
        return int(rows[np.argmin(np.abs(r))])


def leaf_of(given: Multipliers) -> DualityLeaf:
    """The node of a certificate with these multipliers, whose numbers have few enough bits to be written exactly."""
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
