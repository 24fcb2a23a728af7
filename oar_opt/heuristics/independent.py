"""Independent: every member acts as if it were alone, and then all of these moves are made.

Every member's own problem is solved as :mod:`oar_opt.alone` says. Those that gain by acting alone join in the order of
their gains; whoever the budgets no longer pay for is passed over. For the least cost and the fewest members the order
ends as soon as the moves together are an answer, by re-training; where they never are, all of them are proposed. For
the other goals all join, whether or not they help each other: what one member's move is worth to the others is not
asked here, and the outcome may be worse than that of staying. Moves that together leave the learner undefined are
forbidden, so the last ones to join leave again until it is defined.

The joint optimum less this outcome is what coordination gains. Nothing is gained for the nearest centroid of two
classes with one query, where members move equally scaled features within l2 balls, under no other rule or budget, and
too little to carry a centroid to the query or through it: alone and together each moves straight towards the query or
away from it.

It does not apply where members may move features and margins have no slopes for a local search.
"""

from __future__ import annotations

import time

from oar_opt.alone import Alone, each_alone, not_solved_alone
from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import update_rule
from oar_opt.problem import Move, RecourseProblem
from oar_opt.purse import Purse
from oar_opt.requirements import asks_for_margins
from oar_opt.standing import tried

SHARE = 0.8
"""Of the time, what the members' own problems may take where prefixes are re-trained after them."""


class Independent(Heuristic):
    """See the module's docstring."""

    name = "independent"

    def accepts(self, problem: RecourseProblem) -> str | None:
        return not_solved_alone(problem)

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        deadline = time.monotonic() + time_limit
        ends_early = asks_for_margins(problem)
        known = each_alone(problem, seed=seed, time_limit=time_limit * (SHARE if ends_early else 1.0))
        order = known.by_gain()
        moves = _defined(problem, _joined(problem, order))
        remark = f"{len(order)} of {known.k} members would act alone; {known.words}"
        if not ends_early:
            return Proposal(moves, remark, known.is_settled)
        chosen, is_late = _first_answer(problem, moves, deadline)
        if is_late:
            remark = f"{remark}; time ended before fewer of them were tried"
        return Proposal(chosen, remark, known.is_settled and not is_late)


def _joined(problem: RecourseProblem, order: tuple[Alone, ...]) -> tuple[Move, ...]:
    purse = Purse(problem)
    return tuple(move for one in order for move in one.moves if purse.pays(move))


def _defined(problem: RecourseProblem, moves: tuple[Move, ...]) -> tuple[Move, ...]:
    """Without the last moves, as many as it takes for the learner to be defined."""
    rule = update_rule(problem)
    while moves and rule.undefined(problem, problem.apply(moves)):
        moves = moves[:-1]
    return moves


def _first_answer(problem: RecourseProblem, moves: tuple[Move, ...], deadline: float) -> tuple[tuple[Move, ...], bool]:
    """The shortest prefix that is an answer, else all moves; and whether the time ended before all were tried."""
    for size in range(len(moves) + 1):
        if size and time.monotonic() > deadline:
            return moves, True
        outcome = tried(problem, moves[:size])
        if outcome is not None and outcome.is_answer:
            return moves[:size], False
    return moves, False
