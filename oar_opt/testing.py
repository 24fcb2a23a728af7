"""The conformance suite: what every learner, update rule and formulation must do, on the examples that come with them.

A package that adds a learner or formulation runs the same checks on it::

    from oar_opt import testing

    def test_mine():
        testing.check_formulation(MyFormulation())
"""

from __future__ import annotations

from collections.abc import Iterator

from oar_opt.contracts import PAGE_SECTIONS, Formulation, Learner, UpdateRule, WorkedExample
from oar_opt.discovery import formulations, learners, page, update_rules
from oar_opt.evaluate import UndefinedLearner, choices, evaluate
from oar_opt.pipeline import solve
from oar_opt.problem import moves_from_choice
from oar_opt.result import Request, Status

TOLERANCE = 1e-6
FEW = 64
"""Every choice is fixed and compared where an example has at most this many."""


def worked_examples() -> Iterator[tuple[str, WorkedExample]]:
    """Every example that any learner, update rule or formulation brings, with its owner's name."""
    owners: list[tuple[str, Learner | UpdateRule | Formulation]] = [
        *learners().items(),
        *update_rules().items(),
        *formulations().items(),
    ]
    for name, item in owners:
        for example in item.examples():
            yield name, example


def check_page(item: Learner | UpdateRule | Formulation) -> None:
    """The module's docstring has every section that a page needs."""
    text = page(item)
    needed = PAGE_SECTIONS if isinstance(item, Formulation) else ("Reference",)
    missing = [section for section in needed if section not in text]
    assert not missing, f"the page of {type(item).__name__} has no {', '.join(missing)}"


def check_example(formulation: Formulation, example: WorkedExample) -> str | None:
    """Solve an example: its optimum must come out. Returns the reason where the formulation does not apply."""
    reason = formulation.accepts(example.problem)
    if reason:
        return reason
    result = solve(example.problem, formulation=formulation.name, gap=1e-7)
    if example.optimum is None:
        assert result.status is Status.INFEASIBLE, f"{formulation.name} says {result.status}; {example.why}"
        return None
    assert result.status is Status.OPTIMAL, f"{formulation.name} says {result.status}; {example.why}"
    assert result.objective is not None and result.bound is not None
    for value in (result.objective, result.bound):
        assert abs(value - example.optimum) <= TOLERANCE, f"{formulation.name} gives {value}; {example.why}"
    return None


def check_claims(formulation: Formulation, example: WorkedExample) -> None:
    """The program's own parameters and objective are those that re-training gives for its moves."""
    if formulation.accepts(example.problem):
        return
    claim = formulation.build(example.problem).run(Request(relative_gap=1e-7))
    if claim.moves is None or claim.parameters is None or claim.objective is None:
        return
    outcome = evaluate(example.problem, claim.moves)
    distance = abs(claim.parameters.vector() - outcome.parameters.vector()).max()
    assert distance <= TOLERANCE, f"{formulation.name}: the program's parameters are {distance:.2g} from the learner's"
    assert abs(claim.objective - outcome.objective) <= TOLERANCE


def check_learner(learner: Learner) -> None:
    """Page, examples, and the accuracy that every re-training states."""
    _check_replay(learner)


def check_update_rule(rule: UpdateRule) -> None:
    """Page, examples, and the accuracy that every replay states."""
    _check_replay(rule)


def _check_replay(item: Learner | UpdateRule) -> None:
    check_page(item)
    examples = item.examples()
    assert examples, f"'{item.kind}' brings no worked example"
    for example in examples:
        for count, choice in enumerate(choices(example.problem)):
            if count >= FEW:
                break
            try:
                outcome = evaluate(example.problem, moves_from_choice(example.problem, choice))
            except UndefinedLearner:
                continue
            assert outcome.fit.error <= TOLERANCE, f"{item.kind}: {outcome.fit.backend} is off by {outcome.fit.error}"


def check_formulation(formulation: Formulation) -> None:
    """Page, and every worked example of every file that the formulation accepts."""
    check_page(formulation)
    applied = 0
    for _, example in worked_examples():
        if check_example(formulation, example) is None:
            check_claims(formulation, example)
            applied += 1
    assert applied, f"formulation '{formulation.name}' applies to no worked example: bring one"
