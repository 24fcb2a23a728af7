"""Local search over menus: change one member's option at a time, re-training for each, while it helps.

Starts from everyone staying. A step gives one member another option; where the cap on acting members or the total
budget forbids that, it also sends one acting member back to stay. Members are visited in a seeded random order, every
step that helps is taken, and the search ends when a whole pass finds none, or at the time limit. Where the goal asks
for required margins, choices that miss them are compared by how much the worst subject misses, so that the search
walks towards admissible choices first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np

from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import not_replayed
from oar_opt.member_room import move_of
from oar_opt.problem import Move, Option, RecourseProblem
from oar_opt.purse import within_budgets
from oar_opt.standing import Standing, standing, tried

Acting = Mapping[int, Option]
"""What the members that act do, by their number; all others stay."""


class LocalSearch(Heuristic):
    """See the module's docstring."""

    name = "local_search"
    starts = True

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = not_replayed(problem)
        if reason:
            return reason
        return None if problem.is_menu_problem else "members may move features, and this rule knows finite options only"

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        deadline = time.monotonic() + time_limit
        menus = _Menus(problem)
        best: Acting = {}
        value = _worth(problem, best)
        order = np.random.default_rng(seed)
        improved = True
        while improved:
            improved = False
            for i in order.permutation(len(problem.collective.members)):
                for trial in _steps(menus, best, int(i)):
                    if time.monotonic() > deadline:
                        break
                    worth = _worth(problem, trial)
                    if worth > value:
                        best, value, improved = trial, worth, True
                if time.monotonic() > deadline:
                    return Proposal(_moves(problem, best))
        return Proposal(_moves(problem, best))


class _Menus(dict[int, tuple[Option, ...]]):
    """The options that a member's budget leaves, by its number, staying first; made when asked for."""

    def __init__(self, problem: RecourseProblem) -> None:
        super().__init__()
        self.problem = problem

    def __missing__(self, i: int) -> tuple[Option, ...]:
        self[i] = self.problem.admissible_options(self.problem.collective.members[i])
        return self[i]


def _steps(menus: _Menus, acting: Acting, i: int) -> Iterator[Acting]:
    """All choices one step away at member ``i`` that the budgets allow.

    The work for each is what the members do that act, not all of them.
    """
    stay = menus[i][0]
    now, others = acting.get(i, stay), {j: option for j, option in acting.items() if j != i}
    spent = sum(option.cost for option in others.values())
    for option in menus[i]:
        if option is now:
            continue
        own = {} if option is stay else {i: option}
        if within_budgets(menus.problem, spent + option.cost, len(others) + len(own)):
            yield {**others, **own}
            continue
        for j in sorted(others):
            if within_budgets(menus.problem, spent - others[j].cost + option.cost, len(others) - 1 + len(own)):
                yield {**{k: other for k, other in others.items() if k != j}, **own}


def _moves(problem: RecourseProblem, acting: Acting) -> tuple[Move, ...]:
    members = problem.collective.members
    return tuple(move_of(members[i], option) for i, option in sorted(acting.items()))


def _worth(problem: RecourseProblem, acting: Acting) -> Standing:
    return standing(tried(problem, _moves(problem, acting)))
