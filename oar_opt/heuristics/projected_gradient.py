"""Projected gradient ascent on feature changes: slopes through optimality conditions or gradient steps, many starts.

The members' changes climb along the slopes of the subjects' margins within the sets of :mod:`oar_opt.changes`, budgets
included (:mod:`oar_opt.feature_ascent`). Where the learner re-trains, slopes follow from its optimality conditions
(:mod:`oar_opt.sensitivity`). Under the update ``gradient`` its steps are replayed and differentiated backwards
(:mod:`oar_opt.unrolled_sensitivity`): that is the usual gradient search through an unrolled update, the baseline.
Where the goal is a cost, a number of members or of helped queries, changes first reach the needed margins and then
shrink, members leave, or queries join one by one (:mod:`oar_opt.feature_search`). Losses with kinks are smoothed, less
and less, and corrected by what the learner really does.

Of more than 500 members only those take part on whose features the queries depend the most, to first order; all others
stay. The first start is no change, the others are random; the search ends at the time limit, or when some starts in a
row have found nothing better. Answers are local: nothing is proved here.
"""

from __future__ import annotations

from collections.abc import Mapping

from oar_opt.changes import change_sets
from oar_opt.contracts import Heuristic, Proposal
from oar_opt.discovery import not_replayed
from oar_opt.evaluate import Evaluation
from oar_opt.feature_search import CROWD, FeatureSearch
from oar_opt.problem import Member, Option, RecourseProblem, Vector
from oar_opt.sensitivity import no_sensitivity


class ProjectedGradient(Heuristic):
    """See the module's docstring."""

    name = "projected_gradient"
    starts = True

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = not_replayed(problem) or no_sensitivity(problem)
        if reason:
            return reason
        has_room = any(change_sets(problem, member) for member in problem.collective.members)
        return None if has_room else "no member has room to move features, but for finite options"

    def propose(self, problem: RecourseProblem, *, seed: int = 0, time_limit: float = 1.0) -> Proposal:
        search = FeatureSearch(problem, seed, time_limit)
        search.run()
        return Proposal(search.best.moves if search.best is not None else ())


def improve(
    problem: RecourseProblem,
    deltas: Mapping[int, Vector],
    options: Mapping[int, Option] | None = None,
    *,
    seed: int = 0,
    time_limit: float = 0.2,
) -> Evaluation | None:
    """A local answer from given changes, which need not obey any rule: they are projected and rounded first.

    Parameters
    ----------
    problem : one that :meth:`ProjectedGradient.accepts` accepts.
    deltas : changes ``(d,)`` by record; a member that is in none of the mappings stays at first (for good, where
        there are more than 500).
    options : finite options (of :meth:`~oar_opt.problem.RecourseProblem.options`) by record.
    time_limit : seconds.

    Returns
    -------
    Evaluation or None : the best outcome met, whose moves obey every rule and budget; whether it is an answer is its
    own to say. None where none leaves the learner defined.
    """
    search = FeatureSearch(problem, seed, time_limit, _named(problem, {*deltas, *(options or {})}))
    plan = search.nobody()
    for i, member in enumerate(search.members):
        if options and member.record in options:
            plan = plan.with_choice(i, options[member.record])
        elif member.record in deltas and search.sets[i]:
            delta = deltas[member.record]
            closest = min(search.sets[i], key=lambda one: one.violation(delta))
            plan = plan.with_choice(i, closest, delta)
    search.improve(plan)
    return search.best


def _named(problem: RecourseProblem, records: set[int]) -> tuple[Member, ...]:
    """All members where they are no crowd, else those of the records given."""
    members = problem.collective.members
    return members if len(members) <= CROWD else tuple(member for member in members if member.record in records)
