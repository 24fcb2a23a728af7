"""What a picture shows of a solution: the outcome of its moves, re-trained from the instance."""

from __future__ import annotations

from oar_opt.discovery import not_replayed
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import Evaluation, UndefinedLearner, evaluate, evaluate_present
from oar_opt.problem import RecourseProblem
from oar_opt.solution_file import Solution
from oar_opt.verification import coded_moves, identity_violations, member_violations


def check_belongs(problem: RecourseProblem, solution: Solution) -> None:
    """Whether the moves can be moves of this collective.

    Raises
    ------
    InputError : they are another instance's, or no moves of its members.
    """
    broken = identity_violations(problem, solution) or member_violations(problem, solution.moves)
    if broken:
        raise InputError("SOLUTION", "; ".join(broken), "solve this instance and draw what that gives")


def outcome_before(problem: RecourseProblem) -> Evaluation | None:
    """The outcome if nobody acts; None where the learner is undefined then.

    Raises
    ------
    UnsupportedError : nothing here replays this learner's update.
    """
    reason = not_replayed(problem)
    if reason:
        raise UnsupportedError(f"no picture of the decisions: {reason}")
    return evaluate_present(problem)


def outcome_after(problem: RecourseProblem, solution: Solution) -> Evaluation | None:
    """The outcome of a solution's moves; None where it has no answer.

    Raises
    ------
    InputError : the solution is another instance's, or leaves the learner undefined.
    """
    check_belongs(problem, solution)
    if solution.objective is None:
        return None
    try:
        return evaluate(problem, coded_moves(problem, solution.moves))
    except UndefinedLearner as undefined:
        raise InputError("SOLUTION", f"its moves leave the learner undefined: {undefined}", "verify it") from undefined
