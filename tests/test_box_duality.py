"""Linear functions over boxes within balls: hand-computed maxima, and bounds against points and another search."""

from __future__ import annotations

import numpy as np
import pytest
from flint import fmpq

from oar_opt.change_arrays import ChangeArrays
from oar_opt.problem import CostKind
from oar_opt.proof.box_duality import Rounded
from oar_opt.proof.rationals import approximate, exact, exact_row

WEIGHTS = {CostKind.L1: 0, CostKind.SQL2: 1, CostKind.L2: 2}
"""The place of a cost's weight among ``A, Q, B``."""


def rounded(low, high, R1=None, R2=None, cost=None, price=0.0):
    weights = [fmpq(0)] * 3
    if cost is not None:
        weights[WEIGHTS[cost]] = exact(price)
    radii = (None if R is None else exact(R) for R in (R1, R2))
    return Rounded(exact_row(low), exact_row(high), *radii, *weights)


def most(h, **body):
    return approximate(rounded(**body).most(exact_row(h)))


def test_a_disc_that_a_wall_cuts():
    """``3 x + 4 y`` on the unit disc with ``y <= 0``: (1, 0), though the disc alone gives 5 and the box 3."""
    assert most([3, 4], low=[-2, -2], high=[2, 0], R2=1.0) == pytest.approx(3, abs=1e-9)
    assert most([3, 4], low=[-2, -2], high=[2, 0.6], R2=1.0) == pytest.approx(0.8 * 3 + 0.6 * 4, abs=1e-9)
    assert most([3, 4], low=[-2, -2], high=[2, 2], R2=1.0) == pytest.approx(5, abs=1e-9)


def test_a_diamond_that_a_wall_cuts():
    """In ``l1`` the steepest goes to its end first, and the other takes the rest."""
    assert most([3, 4], low=[-2, -2], high=[2, 0.25], R1=1.0) == pytest.approx(4 * 0.25 + 3 * 0.75, abs=1e-9)


def test_costs_by_hand():
    """On the square of sides 1, ``(3, 4)'e`` less five times a cost, or two times the squared length."""
    square = {"low": [-1, -1], "high": [1, 1]}
    assert most([3, 4], **square, cost=CostKind.L1, price=3.5) == pytest.approx(0.5, abs=1e-9)
    assert most([3, 4], **square, cost=CostKind.SQL2, price=2.0) == pytest.approx(9 / 8 + 2, abs=1e-9)
    assert most([3, 4], **square, cost=CostKind.L2, price=5.0) == pytest.approx(0, abs=1e-6)
    assert most([3, 4], low=[-1, -1], high=[0, 1], cost=CostKind.L2, price=3.0) == pytest.approx(1, abs=1e-6)
    assert most([0, 0], **square) == 0


def test_a_box_that_leaves_nothing_out_of_sight():
    """A member that has to move, from 1/2 to 1 in the first coordinate, against its slope."""
    assert most([-2, 1], low=[0.5, -1], high=[1, 1], R2=5.0) == pytest.approx(0, abs=1e-9)


def test_the_bound_is_above_every_point_and_hardly_above_the_best():
    draw = np.random.default_rng(3)
    points = 0
    for _ in range(250):
        d = int(draw.integers(1, 5))
        low, high = -draw.uniform(0, 1, d) * draw.choice([0, 1], d, p=[0.2, 0.8]), draw.uniform(0, 1, d)
        R1 = draw.uniform(0.1, 2) if draw.random() < 0.4 else None
        R2 = draw.uniform(0.1, 1.5) if draw.random() < 0.7 else None
        cost = (None, *WEIGHTS)[int(draw.integers(4))]
        price, h = draw.uniform(0, 2) if cost else 0.0, 2 * draw.normal(size=d)
        found = most(h, low=low, high=high, R1=R1, R2=R2, cost=cost, price=price)
        sets = ChangeArrays(
            members=np.zeros(1, dtype=np.int64),
            records=np.zeros(1, dtype=np.int64),
            scales=np.ones(d),
            free=np.ones(d, dtype=bool),
            cost=cost or CostKind.COUNT,
            lower=low[None, :],
            upper=high[None, :],
            R1=np.array([np.inf if R1 is None else R1]),
            R2=np.array([np.inf if R2 is None else R2]),
            charges=np.zeros(1),
        )
        best = sets.gain(h[None, :], price)
        assert best.value[0] - 1e-12 <= found <= best.value[0] + 1e-5 * (1 + abs(best.value[0]))
        for e in draw.uniform(low, high, size=(20, d)):
            lengths = np.abs(e).sum(), np.linalg.norm(e)
            inside = (R1 is None or lengths[0] <= R1) and (R2 is None or lengths[1] <= R2)
            if inside:
                paid = price * {None: 0.0, CostKind.L1: lengths[0], CostKind.L2: lengths[1]}.get(cost, lengths[1] ** 2)
                assert h @ e - paid <= found + 1e-12
                points += 1
    assert points > 500


def test_a_guess_that_is_wrong_leaves_a_bound(monkeypatch):
    """Multipliers out of nowhere, and a direction that is too long."""
    nowhere = (exact(0.3), exact(2.0), exact_row([5.0, -1.0]))
    monkeypatch.setattr("oar_opt.proof.box_duality._Guess.multipliers", lambda self: nowhere)
    assert most([3, 4], low=[-1, -1], high=[1, 1], R1=1.0, R2=1.0, cost=CostKind.L2, price=1.0) >= 4 - 1
