"""One self-contained HTML page on an instance and its answer: for readers who will not run anything.

The page says what the problem is, what the answer is, what each member changes, how other methods do, what the bound
says and how each check of the certificate reads, and how to get all of it again. Pictures are inside, with a
description in words; nothing is loaded from anywhere, no script runs. The same inputs give the same page, byte for
byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from oar_opt.compare import EXACT, Comparison
from oar_opt.compare_words import (
    applied,
    bound_sentence,
    cells_of,
    columns_of,
    gain_sentence,
    individual_sentences,
    left_out,
)
from oar_opt.evaluate import evaluate_present
from oar_opt.explain import recorded_explanation
from oar_opt.pictures.answer import outcome_after
from oar_opt.problem import RecourseProblem
from oar_opt.report import certificate_words, headline, instance_facts, move_changes, number, percent, wants_words
from oar_opt.result import Status
from oar_opt.solution_file import Check, Solution

CHECK_SENTENCES = {
    "instance": "The answer is for exactly this instance file (by its digest).",
    "members": "Everybody who moves is a member of the collective, and moves once.",
    "allowed moves": "Every move obeys the member's actions and every rule on features, labels and weights.",
    "listed changes": "The changes listed are those of the records.",
    "budgets": "The budgets and the number of acting members are kept.",
    "learner defined": "The learner has an optimum on the changed records.",
    "re-training accuracy": "The re-training is accurate enough for what is stated about margins.",
    "parameters": "The stated parameters are those of the learner, trained anew on the changed records.",
    "queries": "The queries are the instance's, in its order.",
    "margins": "The stated margins are those of the re-trained learner.",
    "margins before": "The stated margins before anyone acts are those of the learner on the records as they are.",
    "decisions": "The stated decisions are those of the re-trained learner.",
    "required margins, guards and loss": "Required margins, guards and the limit on the learner's loss are kept.",
    "position": "No tie of the learner that the instance does not settle is relied upon.",
    "objective": "The stated value of the goal is that of the moves.",
    "no answer": "Nothing is stated about an answer that there is not.",
    "gap": "The stated gap is that between the answer and the bound.",
    "bound": "The answer does not beat the bound.",
    "status": "The status is what answer, bound and gap say.",
    "all choices re-trained": "The learner was re-trained for every admissible choice, and none does better.",
    "proof": "A certificate, checked in exact arithmetic, proves what is said to be proved.",
    "order of alternatives": "The further answers come in order, each with a bound of its own.",
    "conflicts": "Each set of conflicting requirements is one, and no smaller part of it is.",
    "certificate": "The grade of the certificate is not stronger than the evidence.",
}
"""What each check of a certificate says when it passes."""


@dataclass(frozen=True)
class Figure:
    """A picture on the page: SVG text, its caption."""

    svg: str
    caption: str


def check_sentence(check: Check) -> str:
    """A check as a sentence."""
    if check.name.startswith("alternative "):
        return f"Further answer {check.name.removeprefix('alternative ')} obeys every rule and reaches what is stated."
    return CHECK_SENTENCES[check.name]


def page(
    problem: RecourseProblem,
    solution: Solution | None = None,
    comparison: Comparison | None = None,
    *,
    why: Sequence[str] | None = None,
    pictures: bool = True,
) -> str:
    """The page as HTML text.

    Parameters
    ----------
    solution : a verified answer; without one the page is about the problem alone.
    comparison : of methods on this instance.
    why : sentences on why the instance is infeasible (default: the solution's conflicts in words).
    pictures : whether to draw.
    """
    return rendered(
        "page.html.j2",
        problem=problem,
        title=problem.title or problem.name,
        facts=_grouped(instance_facts(problem)),
        queries=_queries(problem, solution),
        guards=_guards(problem, solution),
        answer=None if solution is None else _answer(problem, solution),
        why=_why(problem, solution) if why is None else why,
        comparison=None if comparison is None else _comparison(problem, comparison),
        figures=_figures(problem, solution) if pictures else [],
        commands=_commands(problem, solution, comparison),
    )


def comparisons_page(comparisons: Sequence[Comparison]) -> str:
    """The tables of comparisons on one page, as HTML text."""
    return rendered(
        "comparisons.html.j2", comparisons=[(one.problem, _comparison(one.problem, one)) for one in comparisons]
    )


def rendered(name: str, **context: Any) -> str:
    """A page of the templates; ``version`` is there in each."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("oar_opt", "templates")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(name).render(version=version("oar_opt"), **context)


def _grouped(facts: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Facts by their term."""
    found: list[tuple[str, list[str]]] = []
    for term, text in facts:
        if term:
            found.append((term, [text]))
        else:
            found[-1][1].append(text)
    return found


def _queries(problem: RecourseProblem, solution: Solution | None) -> list[dict[str, str]]:
    present = evaluate_present(problem)
    outcomes = solution.queries if solution is not None and solution.queries else None
    rows = []
    for q, query in enumerate(problem.queries):
        row = {
            "name": query.name,
            "wants": wants_words(problem, query),
            "required": number(query.required),
            "before": number(present.margins[q] if present else None),
        }
        if outcomes is not None:
            one = outcomes[q]
            row |= {"after": number(one.margin), "decision": str(one.decision), "helped": "yes" if one.helped else "no"}
        rows.append(row)
    return rows


def _guards(problem: RecourseProblem, solution: Solution | None) -> list[dict[str, str]]:
    """Guards with their margins before and, where there is an answer, after."""
    if not problem.guards:
        return []
    before = evaluate_present(problem)
    after = None if solution is None else outcome_after(problem, solution)
    rows = []
    for g, guard in enumerate(problem.guards):
        row = {"name": guard.name, "keeps": wants_words(problem, guard), "required": number(guard.required)}
        row["before"] = number(before.guard_margins[g] if before else None)
        if after is not None:
            row["after"] = number(after.guard_margins[g])
        rows.append(row)
    return rows


def _why(problem: RecourseProblem, solution: Solution | None) -> Sequence[str]:
    if solution is None or not solution.conflicts:
        return ()
    return recorded_explanation(problem, solution.conflicts).words


def _spent(problem: RecourseProblem, solution: Solution) -> str:
    """How much of the budgets the moves use up."""
    costs, budget = [move.cost for move in solution.moves], problem.collective.budget
    parts = [
        f"{len(costs)} of {len(problem.collective.members)} members act"
        + ("" if budget.members is None else f", at most {budget.members} may")
    ]
    parts.append(f"the total cost is {number(sum(costs))}" + _of(budget.total))
    if budget.each is not None:
        parts.append(f"the dearest member costs {number(max(costs))}" + _of(budget.each))
    return "; ".join(parts).capitalize() + "."


def _of(limit: float | None) -> str:
    return "" if limit is None else f" of at most {number(limit)}"


def _answer(problem: RecourseProblem, solution: Solution) -> dict[str, Any]:
    seconds, method = solution.seconds, solution.method
    return {
        "headline": headline(problem, solution).removeprefix(f"{problem.name}: ").capitalize(),
        "moves": _flipset(problem, solution),
        "columns": _changed_columns(problem, solution),
        "spent": _spent(problem, solution) if solution.moves else "",
        "nobody": solution.objective is not None and not solution.moves,
        "certificate": certificate_words(solution),
        "checks": [(check_sentence(check), _measured(check), check.passed) for check in solution.certificate.checks],
        "method": f"{method.formulation} by {method.solver}",
        "seconds": f"{seconds.total:.2f}",
        "proved": _proved(problem, solution),
    }


def _proved(problem: RecourseProblem, solution: Solution) -> str:
    if solution.status is Status.INFEASIBLE:
        return "No admissible move of this collective gives what the instance requires."
    if solution.bound is None:
        return "Nothing is proved about other moves."
    word = "more" if problem.goal.maximises else "less"
    gap = "" if solution.relative_gap is None else f" The gap is {percent(solution.relative_gap)}."
    return f"By the bound, no admissible move gives {word} than {number(solution.bound)}.{gap}"


def _changed_columns(problem: RecourseProblem, solution: Solution) -> list[str]:
    """What some member changes, in the order of the features, then label and weight."""
    changed = {what for move in solution.moves for what, _, _ in move_changes(problem, move)}
    names = [feature.name for feature in problem.features]
    return [*(name for name in names if name in changed), *sorted(changed - set(names))]


def _flipset(problem: RecourseProblem, solution: Solution) -> list[dict[str, Any]]:
    """A row for each move: only what changes, by its column."""
    rows = []
    for move in solution.moves:
        changes = {what: f"{now} → {then}" if now else "" for what, now, then in move_changes(problem, move)}
        rows.append({"record": move.record, "changes": changes, "cost": number(move.cost)})
    return rows


def _measured(check: Check) -> str:
    """The number behind a check; "" for a plain yes or no."""
    if check.value is None or check.limit is None or check.value == check.limit == 0:
        return ""
    return f"measured {check.value:.2g}, at most {check.limit:.2g} allowed"


def _comparison(problem: RecourseProblem, comparison: Comparison) -> dict[str, Any]:
    rows = [(cells_of(problem, row), row.method == EXACT) for row in applied(comparison)]
    sentences = [*individual_sentences(comparison), gain_sentence(comparison), bound_sentence(comparison)]
    return {
        "columns": columns_of(problem),
        "rows": rows,
        "sentences": [text for text in sentences if text],
        "left_out": left_out(comparison),
    }


def _figures(problem: RecourseProblem, solution: Solution | None) -> list[Figure]:
    from oar_opt.pictures.moves import moves_picture
    from oar_opt.pictures.picture import to_inline_svg
    from oar_opt.pictures.regions import regions_picture

    # Records with one feature have no regions in a plane.
    drawn = [regions_picture(problem, solution)] if problem.d > 1 else []
    captions = [picture.alt for picture in drawn]
    if solution is not None and any(move.changes for move in solution.moves):
        # Its words are those of the table of moves.
        drawn.append(moves_picture(problem, solution))
        captions.append(f"{drawn[-1].title}.")
    svgs = [to_inline_svg(picture, f"picture-{k}-") for k, picture in enumerate(drawn, start=1)]
    return [Figure(svg, caption) for svg, caption in zip(svgs, captions, strict=True)]


def _commands(problem: RecourseProblem, solution: Solution | None, comparison: Comparison | None) -> list[str]:
    """What gives all of it again."""
    found = [f"oar show {problem.name}"]
    if solution is not None:
        file, certificate = f"{problem.name}.solution.json", f"{problem.name}.certificate.json"
        prove, check = "", ""
        if solution.certificate.proof is not None:
            prove, check = f" --prove {certificate}", f" --certificate {certificate}"
        found.append(f"oar solve {problem.name} --formulation {solution.method.formulation}{prove} -o {file}")
        found.append(f"oar verify {problem.name} {file}{check}")
    if comparison is not None:
        found.append(f"oar compare {problem.name}")
    return found
