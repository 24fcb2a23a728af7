"""Certified optimal collective changes for online algorithmic recourse.

    import oar_opt
    problem = oar_opt.load("school-two-neighbourhoods")
    result = oar_opt.solve(problem)
    print(result.status, result.objective, result.grade)
    oar_opt.save_solution(result.solution, "solution.json")

Names are imported on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oar_opt.compare import Comparison
    from oar_opt.estimators import problem_from_estimator, table_after
    from oar_opt.explain import Explanation, explain_infeasibility
    from oar_opt.individual import IndividualRecourse, individual_recourse
    from oar_opt.instance_file import load_instance, parse_instance, save_instance
    from oar_opt.library import load, shipped
    from oar_opt.open_program import OpenProgram, program
    from oar_opt.pipeline import Result, solve
    from oar_opt.problem import RecourseProblem
    from oar_opt.rounds import Rounds, play_rounds
    from oar_opt.solution_file import Solution, load_solution, save_solution
    from oar_opt.verification import Verification, verify

_HOMES = {
    "Comparison": "compare",
    "Explanation": "explain",
    "IndividualRecourse": "individual",
    "OpenProgram": "open_program",
    "RecourseProblem": "problem",
    "Result": "pipeline",
    "Rounds": "rounds",
    "Solution": "solution_file",
    "Verification": "verification",
    "explain_infeasibility": "explain",
    "individual_recourse": "individual",
    "load": "library",
    "load_instance": "instance_file",
    "load_solution": "solution_file",
    "parse_instance": "instance_file",
    "play_rounds": "rounds",
    "program": "open_program",
    "problem_from_estimator": "estimators",
    "save_instance": "instance_file",
    "save_solution": "solution_file",
    "shipped": "library",
    "solve": "pipeline",
    "table_after": "estimators",
    "verify": "verification",
}

__all__ = [
    "Comparison",
    "Explanation",
    "IndividualRecourse",
    "OpenProgram",
    "RecourseProblem",
    "Result",
    "Rounds",
    "Solution",
    "Verification",
    "explain_infeasibility",
    "individual_recourse",
    "load",
    "load_instance",
    "load_solution",
    "parse_instance",
    "play_rounds",
    "problem_from_estimator",
    "program",
    "save_instance",
    "save_solution",
    "shipped",
    "solve",
    "table_after",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'oar_opt' has no attribute '{name}'")
    return getattr(import_module(f"oar_opt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
