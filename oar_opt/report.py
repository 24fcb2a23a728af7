"""Words and tables for people: an instance, an answer, a verification."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from oar_opt.certificate import Grade
from oar_opt.discovery import not_replayed
from oar_opt.evaluate import count_choices, evaluate_present
from oar_opt.problem import (
    FeatureAction,
    GoalKind,
    Intercept,
    LabelAction,
    Member,
    Query,
    RecourseProblem,
    Task,
    UpdateKind,
    WithholdAction,
)
from oar_opt.result import Status, StoppedBy
from oar_opt.solution_file import Alternative, MoveRecord, Pool, Solution
from oar_opt.update_settings import GradientSettings, RunningSettings
from oar_opt.verification import Verification

if TYPE_CHECKING:
    from oar_opt.bounds import Reason
    from oar_opt.bounds_listing import BoundsListing
    from oar_opt.proof.checker import Verdict

SHOWN_MEMBERS = 12
SHOWN_NAMES = 4
SHOWN_RECORDS = 20
GOAL_WORDS = {
    GoalKind.MAX_MARGIN: "margin",
    GoalKind.MIN_COST: "cost",
    GoalKind.MIN_MEMBERS: "members",
    GoalKind.MAX_HELPED: "queries helped",
}


def number(value: float | None) -> str:
    """Six significant digits; a dash where nothing is known."""
    return "-" if value is None else f"{value:.6g}"


# -- an instance ---


def instance_words(problem: RecourseProblem) -> RenderableType:
    """The instance in words: learner, members, actions, queries with their margins before anyone acts."""
    title = f"{problem.name}: {problem.title}" if problem.title else problem.name
    lines = [f"{term:<10}{text}" for term, text in instance_facts(problem)]
    return Group(Text("\n".join([title, *lines])), _queries_before(problem))


def instance_facts(problem: RecourseProblem) -> list[tuple[str, str]]:
    """The instance in words, each fact after its term; a fact without one goes on with the last."""
    facts = [
        ("Records", f"{problem.n} with {problem.d} features" + _classes(problem)),
        ("Learner", _learner(problem)),
        ("Update", f"{_update(problem)}, position {problem.position}"),
        ("Goal", f"{problem.goal}: {problem.goal.words}"),
        ("Members", f"{len(problem.collective.members)}{_budget(problem)}"),
        *(("", text) for text in _members(problem)),
        ("Choices", _choices(problem)),
    ]
    if all(feature.is_fixed for feature in problem.features):
        facts.append(("Alone", "every feature is fixed: a query subject has no recourse of its own"))
    if problem.guards:
        facts.append(("Guards", _guards(len(problem.guards))))
    if problem.max_loss_increase is not None:
        facts.append(("Loss", f"may rise by at most {number(problem.max_loss_increase)}"))
    reason = not_replayed(problem)
    if reason:
        facts.append(("Margins", f"unknown: {reason}"))
    return facts


def _guards(count: int) -> str:
    return "1 bystander keeps the present decision" if count == 1 else f"{count} bystanders keep their decision"


def _update(problem: RecourseProblem) -> str:
    """The update rule in words; rules that no words are known for by their kind."""
    if problem.update.kind is UpdateKind.GRADIENT:
        return _gradient(GradientSettings.of(problem))
    if problem.update.kind is UpdateKind.RUNNING_CENTROID:
        running = RunningSettings.of(problem)
        pull = "as the mean of all so far" if running.rate is None else f"at the rate {number(running.rate)}"
        return f"{problem.update.kind}: {len(running.order)} records arrive one by one and pull {pull}"
    return str(problem.update.kind)


def _gradient(steps: GradientSettings) -> str:
    """Steps, rate, decay and batches."""
    sizes = sorted({len(batch) for batch in steps.batches})
    batch = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    count = "1 step" if steps.T == 1 else f"{steps.T} steps"
    decay = f", weight decay {number(steps.l2)}" if steps.l2 else ""
    how = "mean" if steps.is_mean else "sum"
    return f"{UpdateKind.GRADIENT}: {count} at the rate {number(steps.rate)}{decay}, by the {how} over {batch} records"


def _classes(problem: RecourseProblem) -> str:
    if problem.classes is None:
        return ", a number to predict"
    counts = [(label, int((problem.records.y == code).sum())) for label, code in class_codes(problem)]
    return ", classes " + ", ".join(f"{label} ({count})" for label, count in counts)


def class_codes(problem: RecourseProblem) -> list[tuple[object, float]]:
    """Every class with its code; none for a regression."""
    if problem.classes is None:
        return []
    labels = problem.classes
    codes = range(len(labels)) if problem.task is Task.MULTICLASS else (-1, 1)
    return [(label, float(code)) for label, code in zip(labels, codes, strict=True)]


def _learner(problem: RecourseProblem) -> str:
    spec = problem.learner
    constants = [
        f"{name} = {number(value)}"
        for name in ("C", "alpha", "delta", "epsilon")
        if (value := getattr(spec, name)) is not None
    ]
    if not spec.is_centroid:
        constants.append({Intercept.NONE: "no intercept"}.get(spec.intercept, f"{spec.intercept} intercept"))
    if spec.prior:
        constants.append("with a prior")
    return f"{spec.kind}" + (f" ({', '.join(constants)})" if constants else "")


def _budget(problem: RecourseProblem) -> str:
    budget = problem.collective.budget
    parts = []
    if budget.members is not None:
        parts.append(f"at most {budget.members} may act")
    if budget.each is not None:
        parts.append(f"each may spend {number(budget.each)}")
    if budget.total is not None:
        parts.append(f"together {number(budget.total)}")
    return f"; {', '.join(parts)}" if parts else ""


def _members(problem: RecourseProblem) -> list[str]:
    groups: dict[str, list[int]] = {}
    for member in problem.collective.members:
        groups.setdefault(_can(problem, member), []).append(member.record)
    lines = []
    for words, records in groups.items():
        shown = ", ".join(map(str, records[:SHOWN_MEMBERS])) + (", ..." if len(records) > SHOWN_MEMBERS else "")
        lines.append(f"{len(records)} can {words}: records {shown}")
    return lines


def _can(problem: RecourseProblem, member: Member) -> str:
    parts = []
    for action in member.actions:
        match action:
            case FeatureAction():
                charge = f" (charge {number(action.charge)})" if action.charge else ""
                parts.append(f"move features within {action.norm} radius {number(action.radius)}{charge}")
            case LabelAction():
                labels = "/".join(str(problem.label_of(to)) for to in action.to)
                parts.append(f"report {labels} (cost {number(action.cost)})")
            case WithholdAction():
                parts.append(f"withhold the record (cost {number(action.cost)})")
    if member.menu:
        parts.append(f"pick one of {len(member.menu)} menu options")
    return " or ".join(parts) or "only stay"


def _choices(problem: RecourseProblem) -> str:
    return f"{count_choices(problem):,}" if problem.is_menu_problem else "a continuum"


def _queries_before(problem: RecourseProblem) -> Table:
    present = evaluate_present(problem)
    table = Table(title="Queries before anyone acts", title_justify="left")
    for column in ("query", "wants", "margin", "required"):
        table.add_column(column, justify="right" if column in ("margin", "required") else "left")
    for q, query in enumerate(problem.queries):
        margin = present.margins[q] if present else None
        table.add_row(query.name, wants_words(problem, query), number(margin), number(query.required))
    return table


def wants_words(problem: RecourseProblem, query: Query) -> str:
    """What a query (or guard) wants: a class, or a number from which on or up to which."""
    if problem.task is Task.REGRESSION:
        return f"{'at least' if query.target > 0 else 'at most'} {number(query.threshold)}"
    return str(problem.label_of(query.target))


# -- an answer ---


def solution_words(problem: RecourseProblem, solution: Solution) -> RenderableType:
    """The answer: its sentence, the moves, the queries before and after, the certificate."""
    parts: list[RenderableType] = [Text(headline(problem, solution))]
    if solution.objective is not None:
        parts += [_moves_table(problem, solution.moves), _queries_table(problem, solution)]
        parts += [_pool_table(problem, solution)] if solution.pool else []
    parts.append(Text(certificate_words(solution)))
    if solution.pool and solution.objective is not None:
        parts.append(Text(pool_words(solution.pool)))
    if solution.method.active_bounds is not None:
        parts.append(Text(active_bounds_words(solution.method.active_bounds)))
    seconds = solution.seconds
    parts.append(
        Text(
            f"Method: {solution.method.formulation} by {solution.method.solver}; "
            f"{seconds.build:.2f} s to build, {seconds.solve:.2f} s to solve, {seconds.verify:.2f} s to verify"
            + ("" if seconds.prove is None else f", {seconds.prove:.2f} s to prove")
        )
    )
    return Group(*parts)


def headline(problem: RecourseProblem, solution: Solution) -> str:
    """What was found, in one sentence."""
    goal = GOAL_WORDS[problem.goal]
    value, bound = number(solution.objective), number(solution.bound)
    match solution.status:
        case Status.OPTIMAL:
            return f"{problem.name}: optimal {goal} {value} (bound {bound}, gap {percent(solution.relative_gap)})"
        case Status.FEASIBLE:
            known = "no bound is known"
            if solution.bound is not None:
                known = f"bound {bound}, gap {percent(solution.relative_gap)}"
            # A solver whose own gap is closed, or who was not ours, gives no reason why this one is not.
            closed = solution.stopped_by is StoppedBy.GAP
            why = "" if closed else f"; stopped because {solution.stopped_by.words}"
            return f"{problem.name}: best {goal} found {value}, {known}{why}"
        case Status.INFEASIBLE:
            return f"{problem.name}: infeasible: no admissible move of this collective gives what the instance requires"
        case _:
            return f"{problem.name}: no answer found (bound {bound}); stopped because {solution.stopped_by.words}"


def percent(gap: float | None) -> str:
    """A relative gap with two digits."""
    if gap is None:
        return "unknown"
    return f"{100 * gap:.0f} %" if gap >= 1 else f"{100 * gap:.2g} %"


def _moves_table(problem: RecourseProblem, moves: Iterable[MoveRecord]) -> RenderableType:
    moves = list(moves)
    if not moves:
        return Text("Nobody acts.")
    table = Table(title=f"Moves: {len(moves)} of {len(problem.collective.members)} members act", title_justify="left")
    for column in ("member", "changes", "now", "then", "cost"):
        table.add_column(column, justify="left" if column == "changes" else "right")
    for move in moves:
        changes = move_changes(problem, move)
        for row, (what, now, then) in enumerate(changes):
            first = row == 0
            table.add_row(str(move.record) if first else "", what, now, then, number(move.cost) if first else "")
    return table


def move_changes(problem: RecourseProblem, move: MoveRecord) -> list[tuple[str, str, str]]:
    """What a move changes: name, now, then; only what differs."""
    i = move.record
    rows = [(name, number(old), number(new)) for name, (old, new) in move.changes.items()]
    label = problem.label_of(float(problem.records.y[i]))
    if label != move.y:
        rows.append(("label" if problem.classes else "target", _label(label), _label(move.y)))
    if float(problem.records.s[i]) != move.weight:
        rows.append(("weight", number(float(problem.records.s[i])), number(move.weight)))
    return rows or [("nothing", "", "")]


def _label(label: object) -> str:
    return number(label) if isinstance(label, float) else str(label)


def _queries_table(problem: RecourseProblem, solution: Solution) -> Table:
    table = Table(title="Queries", title_justify="left")
    for column in ("query", "wants", "margin before", "margin after", "required", "decision", "helped"):
        table.add_column(column, justify="right" if "margin" in column or column == "required" else "left")
    for query, outcome in zip(problem.queries, solution.queries, strict=True):
        table.add_row(
            query.name,
            wants_words(problem, query),
            number(outcome.margin_before),
            number(outcome.margin),
            number(query.required),
            _label(outcome.decision),
            "yes" if outcome.helped else "no",
        )
    return table


def certificate_words(solution: Solution) -> str:
    """The grade of the certificate in a sentence, and how many checks passed."""
    checks = solution.certificate.checks
    passed = sum(check.passed for check in checks)
    grade = Grade(solution.certificate.grade)
    if solution.bound is None and solution.status is not Status.INFEASIBLE:
        meaning = "no bound is known, and so nothing of better moves"
    elif solution.status is Status.FEASIBLE or solution.status is Status.UNKNOWN:
        meaning = f"the gap is open, and the bound {_open_bound_rests(solution)}"
    elif solution.status is Status.INFEASIBLE and grade is Grade.CLAIMED:
        meaning = "the infeasibility rests on one solver's word"
    elif solution.status is Status.INFEASIBLE and grade is Grade.ENUMERATED:
        meaning = (
            "the learner was re-trained for every admissible choice of the members, and none gives what is required"
        )
    elif solution.status is Status.INFEASIBLE and grade is Grade.PROVED:
        meaning = "that no admissible move is an answer was checked in exact arithmetic, without trust in any solver"
    else:
        meaning = grade.words
    weaker = _weaker_proof_words(solution)
    return f"Certificate: {grade}: {meaning}; {passed} of {len(checks)} checks passed.{weaker}"


def _is_bound_proved(solution: Solution) -> bool:
    """Whether the bound is the proved one, rounded to a floating-point number."""
    proof = solution.certificate.proof
    if proof is None or proof.bound is None or solution.bound is None:
        return False
    return math.isclose(float(proof.bound), solution.bound, rel_tol=1e-15)


def _open_bound_rests(solution: Solution) -> str:
    if _is_bound_proved(solution):
        return "was checked in exact arithmetic, without trust in any solver"
    return "rests on one solver's word"


def _weaker_proof_words(solution: Solution) -> str:
    """What a certificate proves, where that is less than the bound that is stated; else nothing."""
    proof = solution.certificate.proof
    settled = solution.certificate.grade is Grade.PROVED or _is_bound_proved(solution)
    if proof is None or proof.bound is None or settled:
        return ""
    stated = "the infeasibility" if solution.status is Status.INFEASIBLE else f"the bound {number(solution.bound)}"
    grade = solution.certificate.grade
    return f" Proved in exact arithmetic is only the bound {proof.bound}; {stated} has the grade '{grade}'."


def explanation_words(sentences: Iterable[str]) -> RenderableType:
    """Why an instance is infeasible, one sentence a line."""
    return Text("\n".join(["Why:", *(f"  {sentence}" for sentence in sentences)]))


# -- further answers and bounds ---


def _pool_table(problem: RecourseProblem, solution: Solution) -> RenderableType:
    """The answers of a pool, best first, each by what is done otherwise than in the best."""
    alternatives = solution.pool.alternatives if solution.pool else ()
    if not alternatives:
        return Text("")
    table = Table(title="The best different answers", title_justify="left")
    for column in ("rank", GOAL_WORDS[problem.goal], "bound", "cost", "margins", "otherwise than the best"):
        table.add_column(column, justify="left" if column in ("margins", "otherwise than the best") else "right")
    best = {move.record: move for move in solution.moves}
    answers: list[Solution | Alternative] = [solution, *alternatives]
    for rank, answer in enumerate(answers, start=1):
        margins = [f"{query.name} {number(query.margin)}" for query in answer.queries]
        table.add_row(
            str(rank),
            number(answer.objective),
            number(answer.bound),
            number(sum(move.cost for move in answer.moves)),
            "\n".join(margins),
            "\n".join(_differences(problem, best, {move.record: move for move in answer.moves})),
        )
    return table


def _differences(problem: RecourseProblem, best: dict[int, MoveRecord], other: dict[int, MoveRecord]) -> list[str]:
    """What members do in ``other`` and not in ``best``, a line each."""
    told = []
    for record in sorted(best.keys() | other.keys()):
        move = other.get(record)
        if move is None:
            told.append(f"{record} stays")
        elif move != best.get(record):
            changes = [f"{name} {now} -> {then}".rstrip(" ->") for name, now, then in move_changes(problem, move)]
            told.append(f"{record}: {', '.join(changes)}")
    return told


def pool_words(pool: Pool) -> str:
    """What is proved about the answers of a pool, and why there are not more."""
    proved = "no move but those before it is better than its bound"
    if pool.stopped_by is StoppedBy.GAP:
        told = f"all {pool.asked} answers found; of each, {proved}"
    elif pool.complete:
        told = (
            f"{pool.asked} answers were asked for, and no move beside these {len(pool.alternatives) + 1} is admissible"
        )
    else:
        told = f"{pool.asked} answers were asked for; stopped because {pool.stopped_by.words}"
    return f"Pool: {told} (grade {pool.grade})."


def active_bounds_words(names: tuple[str, ...]) -> str:
    """One line on the proved intervals that the answer lies at an end of."""
    if not names:
        return "Bounds: the answer lies inside every proved interval that serves as a big-M."
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    return (
        f"Bounds: the answer lies at an end of {len(names)} proved interval{'s' if len(names) > 1 else ''} ({shown}); "
        "as they are proved, nothing is cut off: tightening has reached the answer there."
    )


def bounds_words(listing: BoundsListing) -> RenderableType:
    """Every proved interval with its reasons, and a summary."""
    table = Table(title=f"{listing.problem.name}: intervals that {listing.formulation} rests on", title_justify="left")
    for column in ("quantity", "name", "lower", "upper", "proved by"):
        table.add_column(column, justify="right" if column in ("lower", "upper") else "left", overflow="fold")
    for one in listing.bounds:
        bound = one.bound
        reasons = dict.fromkeys((bound.lower_reason, bound.upper_reason))
        ends = ("lower: ", "; upper: ") if len(reasons) > 1 else ("",)
        told = "".join(end + _short_reason(reason) for end, reason in zip(ends, reasons, strict=True))
        table.add_row(one.words, one.name, _end(bound.lower), _end(bound.upper), told)
    return Group(table, Text("\n".join(_bounds_summary(listing))))


def _bounds_summary(listing: BoundsListing) -> list[str]:
    lines = [f"{len(listing.bounds)} intervals. Ends by reason:"]
    lines += [f"  {count:6} {_short_reason(reason)}: {reason}" for reason, count in listing.ends_by_reason.items()]
    if listing.widest:
        bound = listing.widest.bound
        lines.append(
            f"Widest: {listing.widest.words}, from {number(bound.lower)} to {number(bound.upper)} "
            f"(width {number(bound.upper - bound.lower)})."
        )
    fixed = len(listing.constant) + len(listing.open_records)
    if listing.constant:
        shown = ", ".join(map(str, listing.constant[:SHOWN_RECORDS]))
        shown += ", ..." if len(listing.constant) > SHOWN_RECORDS else ""
        lines.append(
            f"Of the {fixed} records of no member, {len(listing.constant)} need no variable, as their pull is the same "
            f"all over their interval: {shown}."
        )
    elif fixed:
        lines.append(f"None of the {fixed} records of no member has a pull that is the same all over its interval.")
    else:
        lines.append(
            "The records of no member need no interval: they enter through their Gram matrix, or there are none."
        )
    if listing.conditional:
        beside = "" if listing.cutoff is None else f", which reaches {number(listing.cutoff)}"
        which = "All" if listing.conditional == len(listing.bounds) else f"{listing.conditional} of the"
        lines.append(f"{which} intervals hold for moves at least as good as the best verified one{beside}.")
    else:
        lines.append("All intervals hold for every admissible move.")
    return lines


def _short_reason(reason: Reason) -> str:
    return reason.name.lower()


def _end(value: float) -> str:
    return number(value) if math.isfinite(value) else "none"


# -- a verification ---


def verification_words(name: str, found: Verification, proof: Verdict | None = None) -> RenderableType:
    """Every check, and the verdict; with a certificate also what that proves."""
    table = Table(title=f"Verification of {name}", title_justify="left")
    for column in ("check", "measured", "limit", "passed"):
        table.add_column(column, justify="left" if column in ("check", "passed") else "right")
    for check in found.checks:
        table.add_row(check.name, _short(check.value), _short(check.limit), "yes" if check.passed else "NO")
    if found.passed:
        verdict = f"Verified, grade {found.grade}." + (f" {word_words(found.word)}" if found.word else "")
    else:
        verdict = "NOT verified:\n" + "\n".join(f"  {failure}" for failure in found.failures())
    return Group(table, Text(verdict), *([Text(proof.sentence)] if proof is not None else []))


def word_words(grade: Grade) -> str:
    """That a grade is a file's word, and how to have it checked."""
    how = "give --certificate FILE" if grade is Grade.PROVED else "solve once more with --confirm"
    return f"The solution states the grade '{grade}', which is the file's word and was not checked here ({how})."


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
