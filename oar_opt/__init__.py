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
    from oar_opt.proof.certificate_file import ProofCertificate, load_certificate, save_certificate
    from oar_opt.proof.checker import Verdict
    from oar_opt.proved_answer import with_proof
    from oar_opt.proving import Proof, check_certificate, prove
    from oar_opt.rounds import Rounds, play_rounds
    from oar_opt.solution_file import Solution, load_solution, save_solution
    from oar_opt.verification import Verification, verify

_HOMES = {
    "Comparison": "compare",
    "Explanation": "explain",
    "IndividualRecourse": "individual",
    "OpenProgram": "open_program",
    "Proof": "proving",
    "ProofCertificate": "proof.certificate_file",
    "RecourseProblem": "problem",
    "Result": "pipeline",
    "Rounds": "rounds",
    "Solution": "solution_file",
    "Verdict": "proof.checker",
    "Verification": "verification",
    "check_certificate": "proving",
    "explain_infeasibility": "explain",
    "individual_recourse": "individual",
    "load": "library",
    "load_certificate": "proof.certificate_file",
    "load_instance": "instance_file",
    "load_solution": "solution_file",
    "parse_instance": "instance_file",
    "play_rounds": "rounds",
    "program": "open_program",
    "problem_from_estimator": "estimators",
    "prove": "proving",
    "save_certificate": "proof.certificate_file",
    "save_instance": "instance_file",
    "save_solution": "solution_file",
    "shipped": "library",
    "solve": "pipeline",
    "table_after": "estimators",
    "verify": "verification",
    "with_proof": "proved_answer",
}

__all__ = [
    "Comparison",
    "Explanation",
    "IndividualRecourse",
    "OpenProgram",
    "Proof",
    "ProofCertificate",
    "RecourseProblem",
    "Result",
    "Rounds",
    "Solution",
    "Verdict",
    "Verification",
    "check_certificate",
    "explain_infeasibility",
    "individual_recourse",
    "load",
    "load_certificate",
    "load_instance",
    "load_solution",
    "parse_instance",
    "play_rounds",
    "problem_from_estimator",
    "program",
    "prove",
    "save_certificate",
    "save_instance",
    "save_solution",
    "shipped",
    "solve",
    "table_after",
    "verify",
    "with_proof",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'oar_opt' has no attribute '{name}'")
    return getattr(import_module(f"oar_opt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
