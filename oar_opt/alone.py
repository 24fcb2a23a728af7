"""The problem of one member alone, for every member: what it would do if nobody else acted.

The budgets, the queries, the guards and the goal are those of all. Where its own goal cannot be reached by one member
it takes the largest margin instead. So one member's outcomes compare lexicographically by ``(level, first, second)``:

- ``level`` is 0 where guards and the limit on the loss are surely kept, else that of :mod:`oar_opt.standing`;
- ``max_margin``: ``(0, margin)``; ``max_helped``: the number of helped queries, then, unless that is all, the margin;
  ``min_cost`` and ``min_members``: ``(1, -goal)`` where every query reaches its required margin, else ``(0, margin)``.

Margins are the smallest of the queries'. A member whose best outcome is no better than staying stays.

**Finite options** are enumerated by re-training. **Feature changes** (with the member's options beside them) are solved
by :func:`oar_opt.pipeline.solve` on the problem with that member only, first for the goal, and for the largest margin
where that reaches nothing; :class:`Evidence` says whether the outcome is a proved optimum (to the instance's gap).
Projected gradient ascent takes its place where the time for a member is less than :data:`SOLVE_SECONDS`, where no
formulation applies, where the optimum would rest on an unstated tie, and where the time ends before it has any move.

A solve that ends within its gap by staying is followed by a short ascent, since one of many may matter by less than
that gap; so "solved to optimality" always means up to the gap.

Of the members that may change features only as many are asked as there is time for (:data:`LOCAL_SECONDS` each): those
on whose features the queries depend the most to first order (:func:`~oar_opt.feature_search.leading_members`). With the
others, in the collective's order, they are at most :data:`~oar_opt.feature_search.CROWD`. Members for whom no time is
left are not asked either.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from oar_opt.discovery import not_replayed
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import Evaluation, evaluate, goal_value, helped
from oar_opt.feature_search import CROWD, leading_members
from oar_opt.heuristics.projected_gradient import ProjectedGradient
from oar_opt.member_room import Room
from oar_opt.problem import GoalKind, Member, Move, RecourseProblem
from oar_opt.result import Status
from oar_opt.sensitivity import no_sensitivity
from oar_opt.standing import standing, tried

SOLVE_SHARE = 0.8
"""Of a member's time; the rest is a local search's, where that found nothing."""

SOLVE_SECONDS = 0.04
"""For one member; with less, building a program would be all that is done."""

LOCAL_SECONDS, RECORD_SECONDS = 0.02, 2e-6
"""For one member that may change features, and more for every record: with less, its local search finds nothing."""

Rank = tuple[float, float, float]


class Evidence(StrEnum):
    """What is known of a member's outcome, the best first."""

    SOLVED = "solved"
    OPEN = "open"
    LOCAL = "local"
    CUT = "cut"
    VAGUE = "vague"

    @property
    def words(self) -> str:
        return {
            Evidence.SOLVED: "by itself solved to optimality",
            Evidence.OPEN: "not solved to optimality in time",
            Evidence.LOCAL: "by a local search only",
            Evidence.CUT: "with some options not tried for lack of time",
            Evidence.VAGUE: "with an option whose re-training is too inaccurate, or tied, to be compared",
        }[self]


@dataclass(frozen=True)
class Alone:
    """What one member does if nobody else acts: one move, or none where it stays."""

    member: Member
    moves: tuple[Move, ...]
    rank: Rank
    evidence: Evidence

    @property
    def is_proved(self) -> bool:
        """Whether nothing better exists for this member."""
        return self.evidence is Evidence.SOLVED

    def weakened(self, evidence: Evidence) -> Alone:
        """With no better evidence than that."""
        return replace(self, evidence=max(self.evidence, evidence, key=list(Evidence).index))


@dataclass(frozen=True)
class EachAlone:
    """What members do alone, one after the other as they were asked.

    ``k`` members there are, ``asked`` of them were to be asked; ``staying`` is the rank of nobody acting.
    """

    found: tuple[Alone, ...]
    asked: int
    k: int
    staying: Rank

    def by_gain(self) -> tuple[Alone, ...]:
        """Those that act, the largest gain first; of equal ones the first record."""
        acting = [one for one in self.found if one.moves]
        return tuple(sorted(acting, key=lambda one: (*(-value for value in one.rank), one.member.record)))

    @property
    def is_settled(self) -> bool:
        """Whether every member's own problem is solved to optimality."""
        return len(self.found) == self.k and all(one.is_proved for one in self.found)

    @property
    def words(self) -> str:
        """How well the members' problems were solved, and who was not asked."""
        count, kinds = len(self.found), Counter(one.evidence for one in self.found)
        if not self.k:
            return "there are no members"
        parts = [f"{kinds[kind]} of {count} members {kind.words}" for kind in list(Evidence)[1:] if kinds[kind]]
        if not parts:
            parts = [f"each of {count} members {Evidence.SOLVED.words}"]
        if count < self.asked:
            parts.append(f"time for {count} of {self.asked} members only")
        if self.asked < self.k:
            parts.append(
                f"of {self.k} members only the {self.asked} that matter the most to first order, or come first"
            )
        return "; ".join(parts)


def not_solved_alone(problem: RecourseProblem) -> str | None:
    """Why members cannot be looked at one by one here, or None."""
    reason = not_replayed(problem)
    if reason or problem.is_menu_problem:
        return reason
    return no_sensitivity(problem)


def each_alone(problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> EachAlone:
    """What every member does if nobody else acts, for a problem of which :func:`not_solved_alone` says nothing.

    Parameters
    ----------
    problem : with all members.
    seed : of local searches.
    time_limit : seconds for all together, kept but for one step; the changes of each have their share of what is left.
    """
    deadline, found = time.monotonic() + time_limit, list[Alone]()
    asked, search = asked_members(problem, time_limit), _Alone(problem, seed)
    for k, member in enumerate(asked):
        left = deadline - time.monotonic()
        if left <= 0 and found:
            break
        found.append(search.of(member, deadline, max(0.0, left) / (len(asked) - k)))
    return EachAlone(tuple(found), len(asked), len(problem.collective.members), search.staying)


def seconds_each(problem: RecourseProblem) -> float:
    """What a local search for one member takes at least."""
    return LOCAL_SECONDS + RECORD_SECONDS * problem.n


def asked_members(problem: RecourseProblem, time_limit: float) -> tuple[Member, ...]:
    """All members, or those that there is time for; see the module's docstring."""
    members, is_menu = problem.collective.members, problem.is_menu_problem
    most = CROWD if is_menu else min(CROWD, max(1, int(time_limit / seconds_each(problem))))
    if len(members) <= most:
        return members
    leading = () if is_menu else leading_members(problem, most)
    others = [member for member in members if is_menu or not member.feature_actions]
    return tuple(sorted((*leading, *others[: CROWD - len(leading)]), key=lambda member: member.record))


@dataclass(frozen=True)
class _Optimum:
    """Moves (None: none found), and what is known of them for the goal that was asked for."""

    moves: tuple[Move, ...] | None
    evidence: Evidence


class _Alone:
    """One member after the other."""

    def __init__(self, problem: RecourseProblem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self.for_margin = replace(problem, goal=GoalKind.MAX_MARGIN)
        self.staying = self.judge(())[0]

    def judge(self, moves: tuple[Move, ...]) -> tuple[Rank, bool]:
        """The rank of moves, see the module's docstring, and whether re-training is accurate enough to say so."""
        outcome = tried(self.for_margin, moves)
        if outcome is None:
            return (-math.inf, 0.0, 0.0), True
        is_sure = outcome.tie is None and outcome.is_accurate
        # Which of several optima the learner takes depends on the goal; without a tie re-training does not.
        is_tied = outcome.fit.optima is not None and self.problem.goal is not GoalKind.MAX_MARGIN
        return self._rank(outcome, evaluate(self.problem, moves) if is_tied else outcome), is_sure

    def _rank(self, for_margin: Evaluation, own: Evaluation) -> Rank:
        """Of moves, by their outcomes for the largest margin and for the goal."""
        problem, (level, margin) = self.problem, standing(for_margin)
        is_helped = helped(problem, own.margins)
        match problem.goal:
            case GoalKind.MAX_HELPED if level == 0:
                return (level, float(sum(is_helped)), 0.0 if all(is_helped) else min(own.margins))
            case GoalKind.MIN_COST | GoalKind.MIN_MEMBERS if standing(own)[0] == 0 and all(is_helped):
                return (0.0, 1.0, -goal_value(problem, own.moves, own.margins))
            case _:
                return (level, 0.0, margin)

    def of(self, member: Member, deadline: float, share: float) -> Alone:
        """What a member does alone: options are tried until the deadline, changes are searched for a share of time."""
        own_end, room = time.monotonic() + share, Room.of(self.problem, member)
        best = Alone(member, (), self.staying, Evidence.SOLVED)
        for k, move in enumerate(room.finite):
            if k and time.monotonic() > deadline:
                best = best.weakened(Evidence.CUT)
                break
            best = self._better(best, (move,))
        for found in self._changed(member, own_end) if room.sets else ():
            best = best.weakened(found.evidence)
            if found.moves:
                best = self._better(best, found.moves)
        return best

    def _better(self, best: Alone, moves: tuple[Move, ...]) -> Alone:
        rank, is_sure = self.judge(moves)
        if not is_sure:
            best = best.weakened(Evidence.VAGUE)
        return replace(best, moves=moves, rank=rank) if rank > best.rank else best

    # -- feature changes ---

    def _changed(self, member: Member, deadline: float) -> Iterator[_Optimum]:
        """For the goal, and for the largest margin where the goal is not reached."""
        alone = replace(self.problem, collective=replace(self.problem.collective, members=(member,)))
        if alone.goal is not GoalKind.MAX_MARGIN:
            found = self._optimum(alone, 0.5 * (deadline - time.monotonic()))
            yield found
            if found.moves is not None and self._is_reached(found.moves):
                return
        yield self._optimum(replace(alone, goal=GoalKind.MAX_MARGIN), deadline - time.monotonic())

    def _is_reached(self, moves: tuple[Move, ...]) -> bool:
        """Whether moves reach a goal that asks for margins, or help more than staying does, or all."""
        level, first, _ = self.judge(moves)[0]
        if self.problem.goal is GoalKind.MAX_HELPED:
            return level == 0 and (first == len(self.problem.queries) or first > self.staying[1])
        return level == 0 and first > 0

    def _optimum(self, alone: RecourseProblem, seconds: float) -> _Optimum:
        """The best that the only member of a problem can do."""
        deadline = time.monotonic() + seconds
        found = self._solved(alone, SOLVE_SHARE * seconds) if seconds >= SOLVE_SECONDS else None
        left = max(deadline - time.monotonic(), seconds_each(alone))
        if found is None:
            return _Optimum(self._climbed(alone, left), Evidence.LOCAL)
        if found.moves == ():
            # One of many matters by less than a gap, or nothing was found in time: a local search still may find it.
            return replace(found, moves=self._climbed(alone, min(left, seconds_each(alone))))
        return found

    def _climbed(self, alone: RecourseProblem, seconds: float) -> tuple[Move, ...] | None:
        search = ProjectedGradient()
        return None if search.accepts(alone) else search.propose(alone, seed=self.seed, time_limit=seconds).moves

    def _solved(self, alone: RecourseProblem, seconds: float) -> _Optimum | None:
        """By a formulation; None where none applies or the time ends without any move."""
        from oar_opt.pipeline import solve

        try:
            result = solve(alone, time_limit=seconds)
        except (UnsupportedError, InputError):
            # No formulation applies, or the optimum rests on an unstated tie: the local search then says so.
            return None
        outcome = result.verification.evaluation
        moves = None if outcome is None else outcome.moves
        if result.status in (Status.OPTIMAL, Status.INFEASIBLE):
            return _Optimum(moves, Evidence.SOLVED)
        return None if moves is None else _Optimum(moves, Evidence.OPEN)
