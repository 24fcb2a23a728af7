"""Bounds of linear programs against scipy's answers, known points and enumeration of the integer columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from types import SimpleNamespace

import highspy
import numpy as np
import pytest
from scipy.optimize import linprog

from oar_opt.errors import SolverError
from oar_opt.linear_program import Limits as SearchLimits
from oar_opt.linear_program import LinearProgram, Triplets, along

NO_LIMITS = SearchLimits(None, 1e-9, 1, lambda: False)


@dataclass(frozen=True)
class Data:
    """``L <= A x <= U``, ``l <= x <= u`` in small integers times powers of 2, so ``A inside`` is exact."""

    A: np.ndarray
    L: np.ndarray
    U: np.ndarray
    l: np.ndarray  # noqa: E741
    u: np.ndarray
    inside: np.ndarray
    integer: np.ndarray

    def program(self):
        rows = Triplets()
        index = rows.add(self.L, self.U, len(self.A))
        rows.put(index[:, None], np.arange(self.A.shape[1])[None, :], self.A)
        return LinearProgram(self.l, self.u, rows, self.integer)

    def with_row(self, row, low, high):
        return replace(self, A=np.vstack([self.A, row]), L=np.append(self.L, low), U=np.append(self.U, high))

    def with_ends(self, j, low, high):
        lower, upper = self.l.copy(), self.u.copy()
        lower[j], upper[j] = low, high
        return replace(self, l=lower, u=upper)


def draw_data(seed, *, integers=0, rows=None, row_powers=0, column_powers=0):
    draw = np.random.default_rng([seed, 5])
    columns, count = int(draw.integers(2, 8)), int(draw.integers(1, 8)) if rows is None else rows
    columns = max(columns, integers)
    A = draw.integers(-4, 5, size=(count, columns)).astype(float)
    A[draw.random(A.shape) < 0.3] = 0.0
    lower = -draw.integers(0, 6, size=columns).astype(float)
    upper = lower + draw.integers(0, 9, size=columns)
    integer = np.arange(columns) < integers
    lower[integer], upper[integer] = 0.0, 1.0
    inside = np.array([float(draw.integers(a, b + 1)) for a, b in zip(lower, upper, strict=True)])
    middle = A @ inside
    kind = draw.integers(0, 4, size=count)
    L = np.where(kind == 1, -math.inf, middle - np.where(kind == 0, 0, draw.integers(0, 4, size=count)))
    U = np.where(kind == 2, math.inf, middle + np.where(kind == 0, 0, draw.integers(0, 4, size=count)))
    r = 2.0 ** draw.integers(-row_powers, row_powers + 1, size=count)
    c = 2.0 ** draw.integers(-column_powers, column_powers + 1, size=columns)
    c[integer] = 1.0
    return Data(r[:, None] * A / c, r * L, r * U, lower * c, upper * c, inside * c, integer)


def draw_cost(seed, data):
    cost = np.random.default_rng([seed, 6]).integers(-5, 6, size=data.A.shape[1]).astype(float)
    width = np.where(data.integer | (data.u == data.l), 1.0, data.u - data.l)
    return cost / 2.0 ** np.round(np.log2(width))


def oracle(data, cost, sense=1):
    """The optimum by scipy, None where it says that there is no solution."""
    tops, bottoms = np.isfinite(data.U), np.isfinite(data.L)
    A = np.vstack([data.A[tops], -data.A[bottoms]])
    b = np.concatenate([data.U[tops], -data.L[bottoms]])
    found = linprog(-sense * cost, A_ub=A, b_ub=b, bounds=np.column_stack([data.l, data.u]), method="highs-ds")
    assert found.status in (0, 2), found.message
    return None if found.status == 2 else -sense * float(found.fun)


def terms_of(cost):
    return along(np.arange(len(cost)), cost)


def assert_bounds(program, data, cost, sense=1):
    """The bound is beyond scipy's optimum by its tolerances at most, and not on the wrong side of it."""
    best, bound = oracle(data, cost, sense), program.maximum(terms_of(cost), sense)
    if best is None:
        assert bound is None
        return
    assert bound is not None
    beyond = sense * (bound - best)
    assert -1e-9 * (1 + abs(best)) <= beyond <= 1e-6 * (1 + abs(best))


# -- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sense", [1, -1])
def test_the_bound_is_the_optimum_and_no_point_is_beyond_it(sense):
    for seed in range(60):
        data = draw_data(seed)
        program = data.program()
        for turn in range(3):
            cost = draw_cost(10 * seed + turn, data)
            assert_bounds(program, data, cost, sense)
            assert sense * (program.maximum(terms_of(cost), sense) - cost @ data.inside) >= 0


def test_equal_places_are_summed_and_ends_can_be_changed():
    rows = Triplets()
    row = rows.add(-math.inf, 8.0, 1)
    rows.put(row, [0, 0, 1], [1.0, 2.0, 0.5])
    rows.single.append((0, 1, 0.5))
    rows.change(row, np.array([-math.inf]), np.array([6.0]))
    program = LinearProgram(np.zeros(2), np.array([10.0, 3.0]), rows, np.zeros(2, dtype=bool))
    assert program.maximum([(0, 1.0)]) == pytest.approx(2.0, abs=1e-9)
    assert program.maximum([(0, 1.0), (1, 1.0)]) == pytest.approx(4.0, abs=1e-9)


@pytest.mark.parametrize("sense", [1, -1])
def test_bounds_stay_valid_where_rows_and_columns_are_of_very_different_size(sense):
    """Points are exact in binary here, so a bound short of one by a single rounding is a failure."""
    finite = 0
    for seed in range(120):
        data = draw_data(seed, row_powers=24, column_powers=16)
        program = data.program()
        for turn in range(3):
            cost = draw_cost(10 * seed + turn, data)
            bound = program.maximum(terms_of(cost), sense)
            assert bound is not None, seed
            assert sense * (bound - cost @ data.inside) >= 0, seed
            finite += math.isfinite(bound)
    assert finite >= 350


def test_a_program_without_rows_is_its_box():
    data = draw_data(3, rows=0)
    assert_bounds(data.program(), data, np.ones(data.A.shape[1]))


def test_an_unbounded_column_is_refused():
    with pytest.raises(SolverError, match="unbounded"):
        LinearProgram(np.array([0.0]), np.array([math.inf]), Triplets(), np.zeros(1, dtype=bool))


# -- changes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_fixed_columns_and_cuts_are_what_a_fresh_program_has(seed):
    draw = np.random.default_rng([seed, 7])
    data = draw_data(seed, column_powers=6)
    program = data.program()
    for turn in range(6):
        j = int(draw.integers(0, len(data.l)))
        if turn % 2:
            row = draw.integers(-3, 4, size=len(data.l)) / np.maximum(1e-3, data.u - data.l)
            row[j] += 0.5
            low, high = sorted(row @ data.inside + draw.normal(size=2))
            low, high = [(-math.inf, high), (low, math.inf), (low, high)][int(draw.integers(0, 3))]
            program.cut(terms_of(row), low, high)
            data = data.with_row(row, low, high)
        else:
            low, high = sorted(data.l[j] + draw.random(2) * (data.u[j] - data.l[j]))
            program.fix(j, low, high)
            data = data.with_ends(j, low, high)
        assert_bounds(program, data, draw_cost(100 * seed + turn, data), 1 if draw.random() < 0.5 else -1)


def test_a_fixed_column_can_be_set_free_again():
    for seed in range(40):
        data = draw_data(seed)
        program, cost = data.program(), draw_cost(seed, data)
        program.fix(0, float(data.u[0]), float(data.u[0]))
        program.maximum(terms_of(cost))
        program.fix(0, float(data.l[0]), float(data.u[0]))
        assert_bounds(program, data, cost)


@pytest.mark.parametrize("sense", [1, -1])
def test_the_bound_with_a_column_at_its_upper_end_holds(sense):
    sharper = 0
    for seed in range(50):
        data = draw_data(seed, column_powers=4)
        program, cost = data.program(), draw_cost(seed, data)
        bound = program.maximum(terms_of(cost), sense)
        columns = np.arange(len(data.l))
        held = -sense * program.with_upper_end(columns)
        for j in columns:
            best = oracle(data.with_ends(j, data.u[j], data.u[j]), cost, sense)
            assert sense * (bound - held[j]) >= 0
            sharper += sense * (bound - held[j]) > 1e-6
            if best is not None:
                assert sense * (held[j] - best) >= -1e-9 * (1 + abs(best))
    assert sharper > 30


# -- no solution ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [1e-3, 1.0, 100.0])
def test_no_solution_is_proved(gap):
    for seed in range(60):
        data = draw_data(seed, rows=4)
        multipliers = np.random.default_rng([seed, 8]).normal(size=4)
        # By the rows and their ends the combination is at most `top`; the further row wants more.
        ends = np.where(multipliers > 0, np.minimum(data.U, 50.0), np.maximum(data.L, -50.0))
        data = replace(data, U=np.minimum(data.U, 50.0), L=np.maximum(data.L, -50.0))
        row, top = multipliers @ data.A, float(multipliers @ ends)
        if not np.abs(row).max() > 1e-3:
            continue
        data = data.with_row(row, top + gap, math.inf)
        assert oracle(data, row) is None
        program = data.program()
        assert program.maximum([]) is None
        assert program.maximum(terms_of(draw_cost(seed, data)), -1) is None


@pytest.mark.parametrize("seed", range(40))
def test_a_row_that_only_just_has_a_solution_is_not_called_infeasible(seed):
    """The known point meets the row with equality, and the row's largest value over all else is that point's."""
    data = draw_data(seed)
    cost = draw_cost(seed, data)
    best = oracle(data, cost)
    # A vertex from scipy in floating point is off by rounding; an end lower than its value by 1e-7 has solutions.
    data = data.with_row(cost if cost.any() else np.ones(len(cost)), -math.inf, math.inf)
    program = data.program()
    if cost.any():
        program.cut(terms_of(cost), best - 1e-7 * (1 + abs(best)))
    assert program.maximum(terms_of(cost)) is not None
    assert program.maximum(terms_of(cost), -1) is not None


# -- integer columns --------------------------------------------------------------------------------------------------


def brute_force(data, cost, sense):
    places = np.flatnonzero(data.integer)
    values = []
    for choice in product((0.0, 1.0), repeat=len(places)):
        held = data
        for j, value in zip(places, choice, strict=True):
            held = held.with_ends(j, value, value)
        best = oracle(held, cost, sense)
        if best is not None:
            values.append(best)
    return max(values, key=lambda v: sense * v, default=None)


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("seed", range(25))
def test_the_best_choice_is_that_of_trying_all(seed, sense):
    data = draw_data(seed, integers=4)
    if seed % 5 == 4:
        cover = np.where(data.integer, 1.0, 0.0)
        data = data.with_row(cover, 4.5, math.inf)
    cost = draw_cost(seed, data)
    program = data.program()
    found, best = program.best_choice(terms_of(cost), sense, NO_LIMITS), brute_force(data, cost, sense)
    assert found.ended
    if best is None:
        assert found.bound is None and found.point is None
    else:
        assert found.bound == pytest.approx(best, abs=1e-6)
        assert cost @ found.point == pytest.approx(best, abs=1e-6)
        picked = found.point[data.integer]
        assert np.abs(picked - np.round(picked)).max() <= 1e-6
    # The same object is a linear program again.
    relaxed = oracle(data, cost, sense)
    bound = program.maximum(terms_of(cost), sense)
    assert (bound is None) == (relaxed is None)
    if relaxed is not None:
        assert bound == pytest.approx(relaxed, abs=1e-6)


def test_choices_are_found_one_after_another_as_rows_exclude_them():
    """Four binaries with weights 1, 2, 4, 8: the choices come in the order of their sums."""
    rows = Triplets()
    rows.add(0.0, 4.0, 1)
    rows.put([0], np.arange(4), 1.0)
    program = LinearProgram(np.zeros(4), np.ones(4), rows, np.ones(4, dtype=bool))
    terms = terms_of(np.array([1.0, 2.0, 4.0, 8.0]))
    for expected in range(15, -1, -1):
        found = program.best_choice(terms, 1, NO_LIMITS)
        assert found.ended and found.bound == pytest.approx(expected, abs=1e-6)
        picked = np.round(found.point)
        program.cut([(j, 1.0 if picked[j] else -1.0) for j in range(4)], -math.inf, picked.sum() - 1)
    assert program.best_choice(terms, 1, NO_LIMITS).bound is None


def test_an_interrupted_search_keeps_a_valid_bound():
    draw = np.random.default_rng(11)
    size = 40
    rows = Triplets()
    index = rows.add(-math.inf, 60.0, 6)
    rows.put(index[:, None], np.arange(size)[None, :], draw.uniform(1, 9, size=(6, size)))
    program = LinearProgram(np.zeros(size), np.ones(size), rows, np.ones(size, dtype=bool))
    terms = terms_of(draw.uniform(1, 9, size=size))
    full = program.best_choice(terms, 1, SearchLimits(20.0, 1e-6, 1, lambda: False))
    broken = program.best_choice(terms, 1, SearchLimits(None, 1e-6, 1, lambda: True))
    assert full.ended and not broken.ended
    assert broken.bound is not None and broken.bound >= full.bound - 1e-6


@pytest.mark.parametrize("status", ["kSolveError", "kUnknown", "kMemoryLimit", "kUnboundedOrInfeasible"])
def test_a_branch_and_bound_that_broke_down_bounds_nothing(status):
    """HiGHS keeps some number for its bound even then."""
    program = LinearProgram(np.zeros(1), np.ones(1), Triplets(), np.ones(1, dtype=bool))
    information = SimpleNamespace(mip_node_count=1, mip_dual_bound=0.25, primal_solution_status=None)
    program.solver = SimpleNamespace(
        getModelStatus=lambda: getattr(highspy.HighsModelStatus, status), getInfo=lambda: information
    )
    found = program._found(1)
    assert found.bound == math.inf and not found.ended and found.point is None
