"""Enumeration: re-train the real learner for every admissible choice of options.

Statement
---------
With menus ``K_i`` (staying included) the admissible choices are the points of ``prod_i {1..K_i}`` that obey the
budgets. For each, the learner is re-trained by its own ``fit`` and the goal, queries, guards and loss are measured as
in the verification; the best admissible one is the optimum, and if none is admissible the problem is infeasible.

Hypotheses
----------
Menus, labels and withholding only; any learner that can be re-trained here, any goal, guards and loss limit. Refused
above :data:`oar_opt.evaluate.MANY_CHOICES` choices.

Exactness
---------
Exact up to the accuracy of re-training. Under the position ``unique``, a choice whose optimum is not unique and could
be the best one ends the enumeration with an error. No model of the learner is involved, so it is the oracle for all
formulations.

Size
----
One re-training per choice: ``prod_i K_i`` without a cap on members, the sum over subsets of at most ``cap`` members
otherwise.

Reference
---------
The definition of the problem itself: E. Creager, R. Zemel, "Online Algorithmic Recourse by Collective Action", 2023.
"""

from __future__ import annotations

import time

from oar_opt.contracts import DirectProgram, Formulation
from oar_opt.discovery import not_replayed
from oar_opt.errors import InputError
from oar_opt.evaluate import FEW_CHOICES, MANY_CHOICES, count_choices, enumerate_choices
from oar_opt.problem import RecourseProblem
from oar_opt.result import Claim, Request, StoppedBy


class EnumerationOfChoices(Formulation):
    """See the module's docstring."""

    name = "enumeration"
    rank = 30
    exhausts = True

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = not_replayed(problem)
        if reason:
            return reason
        if not problem.is_menu_problem:
            return "members may move features, so there are infinitely many choices"
        count = count_choices(problem)
        if count > MANY_CHOICES:
            return f"there are {count:.4g} choices, more than the {MANY_CHOICES} that are enumerated"
        return None

    def preference(self, problem: RecourseProblem) -> tuple[int, str]:
        """First where the choices are so few that the verification would re-train all of them anyway."""
        if problem.is_menu_problem and not_replayed(problem) is None:
            count = count_choices(problem)
            if count <= FEW_CHOICES:
                return 5, f"there are only {count} choices, and re-training for all of them proves most"
        return super().preference(problem)

    def build(self, problem: RecourseProblem, request: Request | None = None) -> DirectProgram:
        return DirectProgram(lambda request: _enumerate(problem, request))


def _enumerate(problem: RecourseProblem, request: Request) -> Claim:
    started = time.monotonic()
    reason = StoppedBy.PROOF

    def stop() -> bool:
        nonlocal reason
        if request.interrupted():
            reason = StoppedBy.INTERRUPT
        elif request.time_limit is not None and time.monotonic() - started > request.time_limit:
            reason = StoppedBy.TIME_LIMIT
        return reason is not StoppedBy.PROOF

    found = enumerate_choices(problem, stop, request.excluded, request.pool)
    if found.complete and found.tied and found.tied.tie:
        raise InputError("position", found.tied.tie)
    best = found.best
    return Claim(
        stopped_by=reason,
        moves=best.moves if best else None,
        objective=best.objective if best else None,
        bound=best.objective if best and found.complete else None,
        infeasible=found.complete and best is None,
        exhausted=found.complete,
        ranking=tuple(answer.moves for answer in found.ranking),
        parameters=best.parameters if best else None,
        solver="re-training",
        nodes=found.tried,
    )
