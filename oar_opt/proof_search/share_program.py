"""The best shares of members' options for several linear functions at once, and the multipliers of its dual.

    max t   subject to   t <= k_e + sum_(m,o) v_e,(m,o) z_(m,o)  for every e,   sum_o z_(m,o) = 1,   z >= 0,
            sum cost z <= limit,   sum a z <= cap,

budgets being softened by a price of :data:`MOST`, so that there always is a solution. By LP duality the weights of the
rows ``e`` and the prices of budgets give the least bound that :mod:`oar_opt.proof.member_sums` can give.

Reference: A. M. Geoffrion, "Lagrangean Relaxation for Integer Programming", 1974.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from oar_opt.proof.member_sums import effort_of
from oar_opt.proof.parts import Part
from oar_opt.proof.rationals import approximate
from oar_opt.proof_search.cone_rows import Floats

MOST = 1e3


@dataclass(frozen=True, eq=False)
class Shares:
    """``t``, the shares of the options left by the member's record, weights ``(E,)`` of rows, prices of cost and of
    acting."""

    t: float
    shares: dict[int, Floats]
    weights: Floats
    cost: float
    acting: float


class ShareProgram:
    """The program of one part; columns are the options left, member by member."""

    def __init__(self, part: Part, changes: Mapping[tuple[int, int], Sequence[float]] | None = None) -> None:
        """``changes`` are the costs of changes within sets of them, by record and option: each is a column."""
        self.part = part
        known, columns = changes or {}, []
        for record, left in part.options.items():
            for k in left:
                paid, acts = effort_of(part, record, k)
                columns += [(record, k, cost, acts) for cost in known.get((record, k), (approximate(paid),))]
        self.columns = [(record, k) for record, k, _, _ in columns]
        self.costs = np.array([cost for _, _, cost, _ in columns])
        self.acts = np.array([float(acts) for _, _, _, acts in columns])
        records = list(part.options)
        self.owner = np.zeros((len(records), len(self.columns)))
        for column, (record, _) in enumerate(self.columns):
            self.owner[records.index(record), column] = 1.0

    def even(self) -> Floats:
        """Every option of a member with the same share."""
        return np.asarray((1 / self.owner.sum(axis=1)) @ self.owner)

    def last(self) -> Floats:
        """Every member's last option."""
        z = np.zeros(len(self.columns))
        z[np.cumsum(self.owner.sum(axis=1)).astype(np.int64) - 1] = 1.0
        return z

    def split(self, z: Floats) -> dict[int, Floats]:
        """Shares by member."""
        return {record: z[self.owner[m] > 0] for m, record in enumerate(self.part.options)}

    def solve(self, constants: Floats, values: Floats) -> Shares | None:
        """For ``k (E,)`` and ``v (E, columns)``; None where the solver fails."""
        count, part = len(self.columns), self.part
        limits = [
            (self.costs, None if part.limit is None else approximate(part.limit)),
            (self.acts, None if part.cap is None else float(part.cap)),
        ]
        rows = [np.concatenate([row, np.zeros(1), -np.eye(2)[k]]) for k, (row, _) in enumerate(limits)]
        upper = np.hstack([-values, np.ones((len(values), 1)), np.zeros((len(values), 2))])
        given = [k for k, (_, limit) in enumerate(limits) if limit is not None]
        found = linprog(
            np.concatenate([np.zeros(count), [-1.0, MOST, MOST]]),
            A_ub=np.vstack([upper, *(rows[k][None, :] for k in given)]),
            b_ub=np.concatenate([constants, [limits[k][1] for k in given]]),
            A_eq=np.hstack([self.owner, np.zeros((len(self.owner), 3))]) if count else None,
            b_eq=np.ones(len(self.owner)) if count else None,
            bounds=[(0, None)] * count + [(None, None), (0, None), (0, None)],
            method="highs",
        )
        if found.x is None:
            return None
        duals = np.maximum(0.0, -found.ineqlin.marginals)
        prices = [0.0, 0.0]
        for k, price in zip(given, duals[len(values) :], strict=True):
            prices[k] = float(price)
        return Shares(-float(found.fun), self.split(found.x[:count]), duals[: len(values)], prices[0], prices[1])


def open_shares(shares: dict[int, Floats]) -> dict[int, Floats]:
    """Those of members with several options."""
    return {record: share for record, share in shares.items() if len(share) > 1}
