"""The optimum of a polyline loss as a rational, found on guessed pieces and proved by its optimality conditions.

Statement. Let every graph of ``dl/df(y_i, .)`` be a polyline (see :mod:`oar_opt.proof.polylines`). If rational
``theta`` and ``g`` have

    R_lam (theta - theta0) + sum_i g_i xhat_i = 0     and     (f_i, g_i / a_i) on the graph of record i for every i,

``R_lam`` being ``lam R``, then ``theta`` minimises ``J``; ``w`` is the only optimal one, and so is a penalised ``b``.

Proof. The sum is a subgradient of ``J`` at ``theta``, ``J`` is convex, and it is strictly convex in every penalised
coordinate, so two optima agree in these: on the segment between them ``J`` would fall below its minimum otherwise.

Finding it. Each record is put on the piece of a proposal (see :mod:`oar_opt.proof.proposals`). The conditions then
are a square linear system in ``theta`` and the pulls of those at a jump, solved by ``flint.fmpq_mat`` (of several
solutions one near what is proposed); whoever turns out to be off its piece goes to the neighbouring one, and again.
That may end without an optimum (more records at jumps than there are parameters), and then nothing is said. Where it
ends with one, ties at a kink are met exactly: the pieces are closed.

A free intercept. With the optimal ``w`` the optimal ``b`` are the zeros of the monotone set-valued polyline ``H(b) =
sum_i a_i dl/df(y_i, w'x_i + b)``. From one of them it goes on to the right while the largest element of ``H`` is 0 and
no line to the right has a slope, up to the next kink of any record, and so on; to the left likewise. So the interval
of all of them is exact, and a tie is seen. Where the largest (or least) element is not 0 but within :data:`ROOM` of
``sum a_i``, rounded weights such as 0.1 and 0.2 against 0.3 may have been meant to tie, and nothing is said.

Reference: S. Boyd, L. Vandenberghe, "Convex Optimization", 2004, section 5.5; for training by pieces, T. Hastie, S.
Rosset, R. Tibshirani, J. Zhu, "The Entire Regularization Path for the Support Vector Machine", 2004.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flint import fmpq, fmpq_mat

from oar_opt.proof.exact_records import ExactRisk
from oar_opt.proof.polylines import Graph, Piece, pulls_at
from oar_opt.proof.proposals import Proposal
from oar_opt.proof.rationals import Interval, Number, dot

ROUNDS = 20
ROOM = fmpq(1, 10**9)
FEW_ROUNDS = 3
"""From a guess that is not the first one."""


@dataclass(frozen=True)
class ExactOptimum:
    """``theta (p,)``, an optimum, with all decision values ``(m,)`` and the pulls of those records that are at a jump.

    ``intercepts`` are all optimal values of the last entry of ``theta`` where that is a free intercept.
    """

    theta: list[Number]
    values: list[Number]
    pulls: dict[int, Number]
    intercepts: Interval | None


def exact_optimum(risk: ExactRisk, graphs: Sequence[Graph], proposal: Proposal) -> ExactOptimum | None:
    """The optimum, for a proposal of it; None where no guess led to it."""
    for k, guess in enumerate(_guesses(graphs, proposal.pieces)):
        # Of several solutions one is looked for only once: it takes long.
        near = None if k else [*proposal.theta, *proposal.pulls]
        found = _from_guess(risk, graphs, guess, near, FEW_ROUNDS if k else ROUNDS)
        if found is not None:
            return found
    return None


def _guesses(graphs: Sequence[Graph], first: list[int]) -> Iterator[list[int]]:
    """The first guess, then those in which one record at a jump is beside it.

    Kinks that meet in decimals need not do so in the floating-point numbers that are near to them.
    """
    yield first
    for i, (pieces, k) in enumerate(zip(graphs, first, strict=True)):
        for step in (-1, 1) if pieces[k].is_jump else ():
            yield [*first[:i], k + step, *first[i + 1 :]]


def _from_guess(
    risk: ExactRisk,
    graphs: Sequence[Graph],
    guess: list[int],
    near: Sequence[Number] | None,
    rounds: int,
) -> ExactOptimum | None:
    """The optimum that a guess leads to, or None."""
    for _ in range(rounds):
        solved = _solve(risk, graphs, guess, near)
        if solved is None:
            return None
        theta, g = solved
        steps = _steps(risk, graphs, guess, theta, g)
        if not any(steps):
            interval = _intercepts(risk, graphs, theta) if risk.free else None
            return ExactOptimum(theta, risk.values(theta), g, interval)
        guess = [k + step for k, step in zip(guess, steps, strict=True)]
    return None


def _solve(
    risk: ExactRisk, graphs: Sequence[Graph], guess: Sequence[int], near: Sequence[Number] | None
) -> tuple[list[Number], dict[int, Number]] | None:
    """``theta`` and the pulls of the records at jumps; of several solutions one near approximate ``theta`` and pulls
    ``near (p + m,)``, or none without these."""
    p = risk.p
    on = [pieces[k] for pieces, k in zip(graphs, guess, strict=True)]
    jumps = [i for i, piece in enumerate(on) if piece.is_jump]
    size = p + len(jumps)
    matrix = [[fmpq(0)] * size for _ in range(size)]
    right = [c * t for c, t in zip(risk.penalty, risk.theta0, strict=True)] + [fmpq(0)] * len(jumps)
    for j in range(p):
        matrix[j][j] = risk.penalty[j]
    _add_squares(matrix, [(row, a * piece.slope) for row, a, piece in zip(risk.xhat, risk.a, on, strict=True)])
    for row, a, piece in zip(risk.xhat, risk.a, on, strict=True):
        if piece.offset != 0:
            right[:p] = [r - a * piece.offset * x for r, x in zip(right, row, strict=False)]
    for k, i in enumerate(jumps):
        kink = on[i].low
        assert kink is not None
        for j in range(p):
            matrix[j][p + k] = matrix[p + k][j] = risk.xhat[i][j]
        right[p + k] = kink
    found = _solution(matrix, right, None if near is None else [*near[:p], *(near[p + i] for i in jumps)])
    return None if found is None else (found[:p], dict(zip(jumps, found[p:], strict=True)))


def _solution(matrix: list[list[Number]], right: list[Number], near: list[Number] | None) -> list[Number] | None:
    """The solution of a linear system; of several, one that keeps what it can of ``near``; None where there is none."""
    size = len(right)
    square = fmpq_mat(matrix)
    try:
        return list(square.solve(fmpq_mat(size, 1, right)).entries())
    except ZeroDivisionError:
        if near is None:
            return None
        lack = [r - dot(row, near) for r, row in zip(right, matrix, strict=True)]
    reduced, rank = fmpq_mat([[*row, r] for row, r in zip(matrix, lack, strict=True)]).rref()
    rows = reduced.tolist()[:rank]
    step = [fmpq(0)] * (size + 1)
    for row in rows:
        pivot = next(j for j, value in enumerate(row) if value != 0)
        step[pivot] = row[-1]
    return None if step[size] != 0 else [a + b for a, b in zip(near, step[:size], strict=True)]


def _add_squares(matrix: list[list[Number]], weighted: Sequence[tuple[list[Number], Number]]) -> None:
    """Add ``sum weight row row'`` to the leading block."""
    curved = [(row, weight) for row, weight in weighted if weight != 0]
    if not curved:
        return
    rows = fmpq_mat([row for row, _ in curved])
    products = rows.transpose() * fmpq_mat([[weight * value for value in row] for row, weight in curved])
    for j, entries in enumerate(products.tolist()):
        for k, value in enumerate(entries):
            matrix[j][k] += value


def _steps(
    risk: ExactRisk, graphs: Sequence[Graph], guess: Sequence[int], theta: Sequence[Number], g: dict[int, Number]
) -> list[int]:
    """The step to the neighbouring piece of every record that is off its own; all 0 proves the optimum."""
    found = []
    for i, (pieces, k, f) in enumerate(zip(graphs, guess, risk.values(theta), strict=True)):
        piece = pieces[k]
        if piece.g_low is not None and piece.g_high is not None:
            pull = g[i] / risk.a[i]
            found.append(int(pull > piece.g_high) - int(pull < piece.g_low))
        else:
            above = piece.high is not None and f > piece.high
            found.append(int(above) - int(piece.low is not None and f < piece.low))
    return found


# -- a free intercept ---


def _intercepts(risk: ExactRisk, graphs: Sequence[Graph], theta: Sequence[Number]) -> Interval:
    b = theta[-1]
    if any(all(piece.slope > 0 for piece in pieces) for pieces in graphs):
        # The sum of pulls is strictly increasing.
        return Interval.at(b)
    shift = [value - b for value in risk.values(theta)]
    return Interval(_reach(risk, graphs, shift, b, up=False), _reach(risk, graphs, shift, b, up=True))


def _reach(risk: ExactRisk, graphs: Sequence[Graph], shift: Sequence[Number], b: Number, *, up: bool) -> Number:
    """The last optimal intercept on one side of an optimal one."""
    while True:
        f = [value + b for value in shift]
        ends = [pulls_at(pieces, value)[up] for pieces, value in zip(graphs, f, strict=True)]
        lines = [_line_beside(pieces, value, up) for pieces, value in zip(graphs, f, strict=True)]
        pull = dot(risk.a, ends)
        if pull != 0 and abs(pull) <= ROOM * sum(risk.a, fmpq(0)):
            raise ArithmeticError("the optimal intercept is the only one by no more than rounding")
        if pull != 0 or any(line.slope != 0 for line in lines):
            return b
        gaps = [
            abs(end - value)
            for line, value in zip(lines, f, strict=True)
            if (end := line.high if up else line.low) is not None
        ]
        if not gaps:
            raise ArithmeticError("every intercept on one side is optimal: no record pulls it back")
        b += min(gaps) if up else -min(gaps)


def _line_beside(pieces: Graph, f: Number, up: bool) -> Piece:
    """The line that begins at ``f`` or goes on there."""
    for piece in pieces if not up else reversed(pieces):
        if not piece.is_jump and piece.has(f):
            return piece
    raise ArithmeticError("a graph has a gap")
