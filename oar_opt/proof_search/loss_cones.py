"""The duality of one record's loss as cones: ``t >= a l(f) + (a l)*(g)``, or its perspective by an option's share.

With the share ``z`` of an option (1 for a record that is the same in every choice), ``f`` and ``g`` stand for ``z``
times decision value and pull, and ``t`` for ``z (a l(f / z) + (a l)*(g / z))``; ``g = 0`` where ``z = 0``. By loss:

    hinge                xi >= z - y f, xi >= 0, -a z <= y g <= 0
                         t = a xi + y g
    squared hinge        xi >= z - y f, xi >= 0, y g <= 0
                         t = a xi^2 / z + g^2 / (4 a z) + y g
    epsilon-insensitive  xi >= |y z - f| - epsilon z, xi >= 0, |g| <= a z
                         t = a xi + y g + epsilon |g|
    Huber                y z - f = u + v, |g| <= a delta z
                         t = a (u^2 / (2 z) + delta |v|) + g^2 / (2 a z) + y g
    squared              g = 2 a (f - y z)
                         t = 2 a f^2 / z - 2 a y f, which is f g / z
    logistic             two exponential cones for each of the two terms

Absolute deviation is epsilon-insensitive with ``epsilon = 0``. Every ``t`` is subtracted from the row of duality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from oar_opt.problem import LearnerSpec
from oar_opt.proof_search.cone_rows import Block, Columns, ConeRows, Floats, Solution, Term


@dataclass
class Gathered:
    """Terms of stationarity ``(p,)`` and of the one row of duality, each with its constant."""

    balance: list[Term]
    balance_constant: Floats
    gap: list[Term] = field(default_factory=list)
    gap_constant: float = 0.0

    def less(self, columns: Columns, factors: Floats | float) -> None:
        """Take ``factors'x`` off the row of duality."""
        self.gap.append((columns, -np.broadcast_to(np.asarray(factors, dtype=np.float64), columns.shape)[None, :]))


@dataclass(frozen=True, eq=False)
class LossRecords:
    """``n`` records with ``f`` as a sum of terms, and their shares' columns (None: 1)."""

    X: Floats
    y: Floats
    a: Floats
    f: list[Term]
    z: Columns | None

    @property
    def n(self) -> int:
        return len(self.y)

    def minus_f(self, factors: Floats | float = 1.0) -> list[Term]:
        """The terms of ``-factors f``."""
        return [(columns, -np.broadcast_to(factors, (self.n,))[:, None] * matrix) for columns, matrix in self.f]

    def shared(self, factors: Floats | float) -> tuple[Floats, list[Term]]:
        """``factors z`` as a constant and terms."""
        values = np.broadcast_to(np.asarray(factors, dtype=np.float64), (self.n,))
        return (values.copy(), []) if self.z is None else (np.zeros(self.n), [(self.z, values)])

    def at(self, k: int) -> int | None:
        """The column of the share of record ``k``."""
        return None if self.z is None else int(self.z[k])


Slopes = Callable[[Solution], Floats]
"""The coefficients ``alpha (n,)`` of ``f`` in a solution's Lagrangian."""


def add_loss(cone: ConeRows, spec: LearnerSpec, records: LossRecords, into: Gathered) -> Slopes | None:
    """Add the records' duality; returns how to read ``alpha`` where a kink leaves it open."""
    if records.n == 0:
        return None
    match spec.kind:
        case "svm" | "l1_svm":
            return _hinge(cone, records, into)
        case "epsilon_insensitive" | "lad":
            return _insensitive(cone, records, float(spec.epsilon or 0.0), into)
        case "ridge":
            _squared(cone, records, into)
        case "squared_hinge":
            _squared_hinge(cone, records, into)
        case "huber":
            _huber(cone, records, float(spec.delta or 0.0), into)
        case _:
            _logistic(cone, records, into)
    return None


def _pulls(cone: ConeRows, records: LossRecords, into: Gathered) -> Columns:
    g = cone.variables(records.n)
    into.balance.append((g, records.X.T))
    return g


def _within(cone: ConeRows, records: LossRecords, size: Floats, *terms: Term) -> Block:
    """``size z + terms >= 0``."""
    offset, share = records.shared(size)
    return cone.nonnegative(offset, *share, *terms)


def _squared(cone: ConeRows, records: LossRecords, into: Gathered) -> None:
    y, a, X = records.y, records.a, records.X
    if records.z is None:
        top = cone.variable()
        theta, _ = records.f[0]
        H = 2 * (X.T * a) @ X
        values, vectors = np.linalg.eigh(H)
        cone.squares(top, None, len(H), (theta, (vectors * np.sqrt(np.maximum(values, 0))).T))
        into.balance.append((theta, H))
        into.balance_constant -= 2 * X.T @ (a * y)
        into.less(np.array([top]), 1.0)
        into.gap.append((theta, (2 * X.T @ (a * y))[None, :]))
        return
    g, t = _pulls(cone, records, into), cone.variables(records.n)
    f = cone.variables(records.n)
    cone.zero(np.zeros(records.n), (f, 1.0), *records.minus_f())
    cone.zero(np.zeros(records.n), (g, -1.0), (f, 2 * a), (records.z, -2 * a * y))
    for k in range(records.n):
        cone.squares(int(t[k]), records.at(k), 1, ([f[k]], [[np.sqrt(2 * a[k])]]))
    into.less(t, 1.0)
    into.less(f, -2 * a * y)


def _kinks(cone: ConeRows, records: LossRecords, into: Gathered) -> tuple[Columns, Columns, Block]:
    """``xi``, ``g`` and the rows ``xi >= z - y f``."""
    g, xi = _pulls(cone, records, into), cone.variables(records.n)
    cone.nonnegative(np.zeros(records.n), (xi, 1.0))
    rows = _within(cone, records, -np.ones(records.n), (xi, 1.0), *records.minus_f(-records.y))
    cone.nonnegative(np.zeros(records.n), (g, -records.y))
    into.less(g, records.y)
    return xi, g, rows


def _hinge(cone: ConeRows, records: LossRecords, into: Gathered) -> Slopes:
    xi, g, rows = _kinks(cone, records, into)
    _within(cone, records, records.a, (g, records.y))
    into.less(xi, records.a)
    return lambda found: -records.y * found.of(rows)


def _squared_hinge(cone: ConeRows, records: LossRecords, into: Gathered) -> None:
    xi, g, _ = _kinks(cone, records, into)
    _two_squares(cone, records, xi, np.sqrt(records.a), g, 0.5 / np.sqrt(records.a), into)


def _two_squares(
    cone: ConeRows, records: LossRecords, one: Columns, of_one: Floats, two: Columns, of_two: Floats, into: Gathered
) -> None:
    """``t z >= (of_one one)^2 + (of_two two)^2``, record by record."""
    t = cone.variables(records.n)
    for k in range(records.n):
        cone.squares(int(t[k]), records.at(k), 2, ([one[k], two[k]], np.diag([of_one[k], of_two[k]])))
    into.less(t, 1.0)


def _insensitive(cone: ConeRows, records: LossRecords, epsilon: float, into: Gathered) -> Slopes:
    g, xi = _pulls(cone, records, into), cone.variables(records.n)
    size = _sizes(cone, records, g, records.a)
    cone.nonnegative(np.zeros(records.n), (xi, 1.0))
    above = _within(cone, records, records.y + epsilon, (xi, 1.0), *records.minus_f())
    below = _within(cone, records, epsilon - records.y, (xi, 1.0), *records.minus_f(-1.0))
    into.less(xi, records.a)
    into.less(g, records.y)
    into.less(size, epsilon)
    return lambda found: found.of(above) - found.of(below)


def _sizes(cone: ConeRows, records: LossRecords, g: Columns, most: Floats) -> Columns:
    """Variables that are at least ``|g|``, with ``|g| <= most z``."""
    size = cone.variables(records.n)
    for sign in (1.0, -1.0):
        cone.nonnegative(np.zeros(records.n), (size, 1.0), (g, sign))
        _within(cone, records, most, (g, sign))
    return size


def _huber(cone: ConeRows, records: LossRecords, delta: float, into: Gathered) -> None:
    g = _pulls(cone, records, into)
    u, v, size = (cone.variables(records.n) for _ in range(3))
    offset, share = records.shared(records.y)
    cone.zero(offset, *share, (u, -1.0), (v, -1.0), *records.minus_f())
    for sign in (1.0, -1.0):
        cone.nonnegative(np.zeros(records.n), (size, 1.0), (v, sign))
        _within(cone, records, records.a * delta, (g, sign))
    _two_squares(cone, records, u, np.sqrt(records.a / 2), g, 0.5 / np.sqrt(records.a / 2), into)
    into.less(size, records.a * delta)
    into.less(g, records.y)


def _logistic(cone: ConeRows, records: LossRecords, into: Gathered) -> None:
    """``exp(-t) + exp(-y f - t) <= 1``, and ``v log v + (1 - v) log(1 - v)`` with ``v = -y g / a``, by shares."""
    n, y, a = records.n, records.y, records.a
    g = _pulls(cone, records, into)
    t, one, other, entropy, rest = (cone.variables(n) for _ in range(5))
    share: list[Term] = [] if records.z is None else [(records.z, 1.0)]
    _within(cone, records, np.ones(n), (one, -1.0), (other, -1.0))

    def ones(*which: int) -> tuple[int, ...]:
        return which if records.z is None else ()

    cone.exponentials(n, [(t, -1.0)], share, [(one, 1.0)], ones=ones(1))
    cone.exponentials(n, [(t, -1.0), *records.minus_f(y)], share, [(other, 1.0)], ones=ones(1))
    cone.exponentials(n, [(entropy, -1.0)], [(g, -y / a)], share, ones=ones(2))
    cone.exponentials(n, [(rest, -1.0)], [*share, (g, y / a)], share, ones=ones(1, 2))
    for columns in (t, entropy, rest):
        into.less(columns, a)
