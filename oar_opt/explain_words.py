"""An explained infeasibility in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from oar_opt.certificate import Grade
from oar_opt.requirements import Requirement, RequirementKind, requirements_of

if TYPE_CHECKING:
    from oar_opt.explain import Conflict, Explanation, Needed

UNDEFINED = "Whatever this collective chooses, the learner is left undefined: no requirement is to blame for that."


def explanation_words(explanation: Explanation) -> tuple[str, ...]:
    """The conflicts, one after the other, and how they stand together."""
    everything = requirements_of(explanation.problem)
    sentences = [text for conflict in explanation.conflicts for text in _conflict_words(conflict, everything)]
    if len(explanation.conflicts) > 1:
        sentences.append(
            f"These are {len(explanation.conflicts)} independent conflicts: one requirement of each has to give way."
        )
    if not explanation.complete and any(conflict.requirements for conflict in explanation.conflicts):
        sentences.append("Whether there are further conflicts is open.")
    return (*sentences, *(f"{note[0].upper()}{note[1:]}." for note in explanation.notes))


def _conflict_words(conflict: Conflict, everything: Sequence[Requirement]) -> list[str]:
    if not conflict.requirements:
        return [UNDEFINED]
    dropped = [requirement for requirement in everything if requirement not in conflict.requirements]
    without = _without(dropped, conflict.requirements)
    start = f"Even without {without}, no move" if without else "No move"
    told = [f"{start} of this collective {_demands(conflict.requirements)}."]
    told += [text for one in conflict.needed if (text := _attainable(one, len(conflict.needed) > 1))]
    if not conflict.irreducible:
        told.append("Perhaps not all of these requirements are needed for the conflict: that is not settled.")
    else:
        told += _giving_up(conflict)
    if conflict.grade is Grade.ENUMERATED:
        told.append("(The learner was re-trained for every choice of the members to prove it.)")
    elif conflict.grade is Grade.PROVED:
        told.append("(That was checked in exact arithmetic, without trust in any solver.)")
    return told


def _without(dropped: Iterable[Requirement], kept: Iterable[Requirement]) -> str:
    """'any budget or guard', with 'other' where some of the same sort are among ``kept``."""
    gone, left = {_sort(r.kind) for r in dropped}, {_sort(r.kind) for r in kept}
    sorts = ("budget", "guard", "query")
    groups = [
        ("any ", [sort for sort in sorts if sort in gone - left]),
        ("any other ", [sort for sort in sorts if sort in gone & left]),
    ]
    parts = [start + _list(names, "or") for start, names in groups if names]
    return _list([*parts, *(["the limit on the training loss"] if "loss" in gone else [])], "or")


def _sort(kind: RequirementKind) -> str:
    return "budget" if kind.is_budget else str(kind)


def _demands(requirements: Sequence[Requirement]) -> str:
    def of(kind: RequirementKind) -> list[Requirement]:
        return [requirement for requirement in requirements if requirement.kind is kind]

    verbs = []
    if of(RequirementKind.QUERY):
        verbs.append("gives " + _list([f"query {_margin(r, '')}" for r in of(RequirementKind.QUERY)], "and"))
    if of(RequirementKind.GUARD):
        verbs.append("keeps " + _list([f"guard {_margin(r, 'at ')}" for r in of(RequirementKind.GUARD)], "and"))
    verbs += [f"keeps the training loss from rising by more than {r.limit:.6g}" for r in of(RequirementKind.LOSS)]
    means = [f"at most {r.limit:.6g} acting members" for r in of(RequirementKind.MEMBERS)]
    means += [f"a total cost of at most {r.limit:.6g}" for r in of(RequirementKind.TOTAL)]
    means += [f"at most {r.limit:.6g} spent by each member" for r in of(RequirementKind.EACH)]
    told = _list(verbs, "and") or "leaves the learner defined"
    return f"{told} with {_list(means, 'and')}" if means else told


def _margin(requirement: Requirement, at: str) -> str:
    return f"'{requirement.subject}' {at}its margin {requirement.limit:.6g}"


def _attainable(one: Needed, beside_others: bool) -> str | None:
    if one.attainable is None:
        return None
    value, kind = f"{one.attainable:.6g}", one.requirement.kind
    rest = " with the other requirements kept" if beside_others else ""
    match kind:
        case RequirementKind.QUERY | RequirementKind.GUARD:
            best = f"The best margin that {kind} '{one.requirement.subject}' can reach{rest} is {value}"
            some = f"A margin of {value} is possible for {kind} '{one.requirement.subject}'{rest}"
        case RequirementKind.MEMBERS:
            best, some = f"It takes {value} acting members", f"{value} acting members would be enough"
        case _:
            best, some = f"It takes a total cost of {value}", f"A total cost of {value} would be enough"
    return f"{best}." if one.is_best else f"{some}; whether that is the best is open."


def _giving_up(conflict: Conflict) -> list[str]:
    enough = [one.requirement for one in conflict.needed if one.is_enough]
    short = [one.requirement for one in conflict.needed if one.is_enough is False]
    count = len(conflict.needed)
    if len(enough) == count:
        return [f"{_any_one(count)} would make the instance possible."]
    if len(short) == count:
        # Beside an independent conflict; the sentence on those says it.
        return []
    told = []
    if count > 1:
        told.append(f"{_any_one(count)} would end this conflict.")
    if enough:
        told.append(f"Dropping {_list([r.words for r in enough], 'or')} would make the whole instance possible.")
    if short:
        told.append(f"Dropping {_list([r.words for r in short], 'or')} alone would not make the instance possible.")
    return told


def _any_one(count: int) -> str:
    return {1: "Dropping it", 2: "Dropping either of the two"}.get(count, f"Dropping any one of these {count}")


def _list(parts: Sequence[str], last: str) -> str:
    """'a, b and c'."""
    return f" {last} ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
