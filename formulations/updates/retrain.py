"""Re-training: the parameters are the learner's optimum on all records, history and changed ones.

The learner's own file says how it trains and how accurately.

Reference: E. Creager, R. Zemel, "Online Algorithmic Recourse by Collective Action", 2023.
"""

from __future__ import annotations

from oar_opt.contracts import Fit, UpdateRule, WorkedExample, line_example
from oar_opt.discovery import learner_of
from oar_opt.problem import LearnerSpec, Records, RecourseProblem


class Retrain(UpdateRule):
    """See the module's docstring."""

    kind = "retrain"

    def undefined(self, problem: RecourseProblem, records: Records) -> str | None:
        return learner_of(problem).undefined(problem, records)

    def replay(self, problem: RecourseProblem, records: Records) -> Fit:
        return learner_of(problem).fit(problem, records)

    def examples(self) -> tuple[WorkedExample, ...]:
        why = "w = sum x y / (sum x^2 + alpha) is -2/3 if the member stays, 0 if it reports +, and 1/6 at (2, +)"
        return (WorkedExample(line_example(LearnerSpec("ridge", alpha=1.0)), 1 / 6, why),)
