"""Thousands of certificates and instances with one thing changed: refused, or true by enumeration and re-training.

A further kind of certificate joins by one more :class:`Producer` in :data:`PRODUCERS`; the changes are made in the JSON
documents, any number, text or list of them, so they need to know nothing of its keys.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from oar_opt.errors import InputError
from oar_opt.evaluate import UndefinedLearner, evaluate
from oar_opt.instance_file import dump_instance, parse_instance
from oar_opt.problem import Budget, GoalKind, Move, Query, RecourseProblem
from oar_opt.proof.certificate_file import certificate_text, parse_certificate
from oar_opt.proof.checker import check
from oar_opt.proof_search.enumeration import prove_by_enumeration
from oar_opt.update_settings import gradient_update, running_centroid_update

ACCURACY = 1e-10
"""Of a re-trained margin, relative, beside its own proved error; far below the steps by which claims are changed."""
STEPS = (1e-6, 0.03, 0.5, 4.0)


@dataclass(frozen=True)
class Producer:
    """A kind of certificate: problems, what proves them, and what finds an accepted claim false.

    ``falsehood(problem, certificate, every)`` is why the claim is clearly false, or None; ``every`` lists all
    admissible moves of a problem, independently of what is under test. ``turns(problem)`` is how often a proof of it is
    changed.
    """

    name: str
    problems: Callable[[Callable[..., RecourseProblem]], list[RecourseProblem]]
    prove: Callable[[RecourseProblem], Any]
    falsehood: Callable[[RecourseProblem, Any, Callable[..., Any]], str | None]
    turns: Callable[[RecourseProblem], int]


# -- what is true, by enumeration and ordinary re-training ---


def enumerated_falsehood(problem: RecourseProblem, certificate: Any, every: Callable[..., Any]) -> str | None:
    """By re-training for every admissible choice; the stored moves must be one of them."""
    bound = None if certificate.bound is None else float(certificate.bound)
    for _, moves in every(problem):
        value = sure_value(problem, moves)
        if value is None:
            continue
        if bound is None:
            return f"{moves} is an answer"
        beyond = value - bound if problem.goal.maximises else bound - value
        if beyond > ACCURACY * max(1.0, abs(bound)):
            return f"{moves} gives {value!r}, better than {bound!r}"
    if certificate.moves is None:
        return None
    stored = {(m.record, m.x, m.weight, m.cost, m.y) for m in certificate.moves}
    for _, moves in every(problem):
        if {(m.record, m.x, m.s, m.cost, problem.label_of(m.y)) for m in moves} == stored:
            return None if could_answer(problem, moves) else f"{moves} is no answer"
    return "the stored moves are not admissible"


@dataclass(frozen=True)
class Trained:
    """Queries, then guards, each with its margin and how far that can be off; ``tied``: the position refuses a tie."""

    subjects: tuple[tuple[Query, float, float], ...]
    tied: bool


def trained(problem: RecourseProblem, moves: tuple[Move, ...]) -> Trained | None:
    """The ordinary re-training's outcome; None without a learner."""
    try:
        found = evaluate(problem, moves)
    except UndefinedLearner:
        return None
    subjects = zip((*problem.queries, *problem.guards), (*found.margins, *found.guard_margins), strict=True)
    off = [(q, m, found.fit.decision_error(q.x) + ACCURACY * max(1.0, abs(m))) for q, m in subjects]
    return Trained(tuple(off), found.tie is not None)


def sure_value(problem: RecourseProblem, moves: tuple[Move, ...]) -> float | None:
    """The least value that an answer surely has, with the accuracy against it; None of what may be no answer."""
    outcome = trained(problem, moves)
    if outcome is None or outcome.tied:
        return None
    found, k = outcome.subjects, len(problem.queries)
    reached = [m - off >= problem.needed_margin(q) + 2e-12 for q, m, off in found]
    if not all(reached if problem.goal in (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS) else reached[k:]):
        return None
    match problem.goal:
        case GoalKind.MAX_MARGIN:
            return min(m - off for _, m, off in found[:k])
        case GoalKind.MAX_HELPED:
            return float(sum(reached[:k]))
        case GoalKind.MIN_COST:
            return float(sum(move.cost for move in moves))
        case GoalKind.MIN_MEMBERS:
            return float(len(moves))


def could_answer(problem: RecourseProblem, moves: tuple[Move, ...]) -> bool:
    """Whether moves meet what the instance requires, within the accuracy of re-training."""
    outcome = trained(problem, moves)
    if outcome is None:
        return False
    found, k = outcome.subjects, len(problem.queries)
    asked = found if problem.goal in (GoalKind.MIN_COST, GoalKind.MIN_MEMBERS) else found[k:]
    return all(m + off >= problem.needed_margin(q) for q, m, off in asked)


# -- changes ---


def leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all numbers, texts and empty values in a JSON value."""
    if isinstance(value, dict | list) and value:
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, entry in entries for leaf in leaves(entry, (*place, key))]
    return [place]


def at(document: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        document = document[key]
    return document


def changed_leaf(document: Any, place: tuple[Any, ...], draw: np.random.Generator) -> Any:
    """A copy of a JSON value with another number or text at one place."""
    found = copy.deepcopy(document)
    at(found, place[:-1])[place[-1]] = another(at(document, place), draw)
    return found


def another(value: Any, draw: np.random.Generator) -> Any:
    step = float(draw.choice(STEPS) * draw.choice([-1, 1]))
    match value:
        case bool():
            return not value
        case int() if draw.random() < 0.5:
            return value + int(draw.choice([-1, 1]))
        case int() | float():
            return float(draw.choice([value + step, value * (1 + step), -value]))
        case str():
            # Labels, goals, positions and other words of the formats; most of them do not fit, and count for nothing.
            return str(draw.choice(WORDS)) if not value.lstrip("-").replace(".", "").isdigit() else nudged(value, step)
        case _:
            return draw.choice([0, 1, 2]).item()


WORDS = ("no", "yes", "max_margin", "max_helped", "min_cost", "min_members", "unique", "pessimistic", "free", "none")


def nudged(decimal: str, step: float) -> str:
    return f"{float(decimal) + step:.12f}"


def changed_instance(document: Any, draw: np.random.Generator) -> RecourseProblem | None:
    """One change of an instance: a part first, so that few small parts are changed as often as many numbers."""
    part = str(draw.choice(["records", "collective", "learner", "update", "queries", "guards", "goal", "budget"]))
    if part == "budget":
        found = copy.deepcopy(document)
        limits = {"each": [0, 0.8, 1.2], "total": [0, 0.9, 1.7], "members": [0, 1]}
        key = str(draw.choice(list(limits)))
        found["collective"].setdefault("budget", {})[key] = draw.choice(limits[key]).item()
        if key == "members":
            found["collective"]["budget"][key] = int(found["collective"]["budget"][key])
    elif part in document:
        places = leaves(document[part], (part,))
        found = changed_leaf(document, places[int(draw.integers(len(places)))], draw)
    else:
        return None
    try:
        return None if found == document else parse_instance(found)
    except InputError:
        return None


def changed_certificate(document: Any, problem: RecourseProblem, draw: np.random.Generator) -> Any:
    """One change of what a certificate says: its bound, a stored move, or anything else at random."""
    found, what = copy.deepcopy(document), draw.random()
    if document["bound"] is None or 0.55 <= what < 0.75:
        # A bound where nothing is an answer holds, and any stored change is wrong there.
        found["bound"] = document["bound"] or nudged("0", draw.normal())
        found["moves"] = [a_move(problem, draw)] if what < 0.65 else []
    elif what < 0.45:
        better = -1 if problem.goal.maximises else 1
        # The bound is rounded by up to 1e-9, so a claim that is better by this is false by at least as much.
        step = float(draw.choice([2e-9, 1e-6, 0.01, 1.0])) * (better if draw.random() < 0.75 else -better)
        found["bound"] = nudged(document["bound"], step)
    elif what < 0.55:
        found["bound"], found["moves"] = None, None
    else:
        places = [p for p in leaves(document) if p[0] not in ("format", "version", "kind", "instance", "goal")]
        found = changed_leaf(document, places[int(draw.integers(len(places)))], draw)
    return None if found == document else found


def parsed(document: Any) -> Any:
    """The certificate; None where there is none."""
    if document is None:
        return None
    try:
        return parse_certificate(document)
    except InputError:
        return None


def a_move(problem: RecourseProblem, draw: np.random.Generator) -> dict[str, Any]:
    """One option of a member as a stored move; staying, which is none, among them."""
    member = problem.collective.members[int(draw.integers(len(problem.collective.members)))]
    options = problem.options(member)
    option = options[int(draw.integers(len(options)))]
    told = {"x": list(option.x), "y": problem.label_of(option.y), "weight": option.s, "cost": option.cost}
    return {"record": member.record, **told}


# -- small problems with certificates ---


BUDGETS = {
    GoalKind.MAX_MARGIN: Budget(members=1),
    GoalKind.MIN_COST: Budget(each=1.6),
    GoalKind.MIN_MEMBERS: Budget(total=2.2),
    GoalKind.MAX_HELPED: Budget(),
}


def small_menus(make: Callable[..., RecourseProblem]) -> list[RecourseProblem]:
    """Tiny problems of every learner, goal and update rule."""
    kinds = ("ridge", "ridge", "svm", "squared_hinge", "logistic", "huber", "epsilon_insensitive", "l1_svm")
    found = []
    for seed, kind in enumerate(kinds):
        for goal in GoalKind:
            regression = kind in ("huber", "epsilon_insensitive") or seed == 1
            one = make(
                seed,
                kind,
                ("none", "penalized", "free")[seed % 3],
                goal,
                n=5,
                members=2 if kind == "ridge" and goal in (GoalKind.MIN_MEMBERS, GoalKind.MAX_MARGIN) else 1,
                budget=BUDGETS[goal] if kind == "ridge" else None,
                options=1,
                withhold=True,
                regression=regression,
                required=0.02,
                guards=1,
                queries=2 if goal is GoalKind.MAX_HELPED else 1,
            )
            found.append(replace(one, records=replace(one.records, X=np.round(one.records.X, 2))))
            if kind == "ridge" and not regression:
                step = gradient_update([0.5, -0.25], 0.0, rate=0.25, T=2, reduction="sum", loss="hinge")
                found.append(replace(found[-1], update=step))
                found.append(replace(found[-1], update=gradient_update([0.5, 0.0], 0.0, rate=0.5, loss="logistic")))
                found += centroid_problems(one)
    return found


def centroid_problems(base: RecourseProblem) -> list[RecourseProblem]:
    """The same records with centroids: the means, and running ones."""
    from oar_opt.problem import LearnerSpec

    def coded(query: Query) -> Query:
        return replace(query, target=float(query.target > 0))

    team = replace(
        base.collective,
        members=tuple(
            replace(m, menu=tuple(replace(o, y=float(o.y > 0)) for o in m.menu)) for m in base.collective.members
        ),
    )
    means = replace(
        base,
        records=replace(base.records, y=(base.records.y > 0) * 1.0),
        learner=LearnerSpec("nearest_centroid"),
        collective=team,
        queries=tuple(map(coded, base.queries)),
        guards=tuple(map(coded, base.guards)),
    )
    start = {"no": [0.0, 0.5], "yes": [1.0, -0.5]}
    running = replace(means, update=running_centroid_update(rate=0.25, centroids=start, order=[4, 2, 3]))
    return [means, running]


def turns(problem: RecourseProblem) -> int:
    """More for what trains at once, and for the goal that any change of a number shifts."""
    is_quick = problem.learner.kind in ("ridge", "nearest_centroid") or not problem.update.retrains
    return (80 if is_quick else 20) * (2 if problem.goal is GoalKind.MAX_MARGIN else 1)


PRODUCERS = (Producer("enumeration", small_menus, prove_by_enumeration, enumerated_falsehood, turns),)


@dataclass(frozen=True)
class Changed:
    """A claim about a problem after one change of either; ``of`` says of which."""

    of: str
    problem: RecourseProblem
    claim: Any


def random_changes(problem: RecourseProblem, certificate: Any, count: int, draw: np.random.Generator) -> list[Changed]:
    """Three of the certificate, two of the instance, and again; what is neither any more is drawn anew."""
    instance, document = dump_instance(problem), json.loads(certificate_text(certificate))
    found: list[Changed] = []
    for _ in range(20 * count):
        if len(found) == count:
            break
        if len(found) % 5 < 3:
            changed, claim, of = problem, parsed(changed_certificate(document, problem, draw)), "certificate"
        else:
            changed, of = changed_instance(instance, draw), "instance"
            claim = None if changed is None else restated(document, changed, draw)
        if changed is not None and claim is not None:
            found.append(Changed(of, changed, claim))
    return found


@pytest.mark.parametrize("producer", PRODUCERS, ids=lambda producer: producer.name)
def test_a_changed_claim_is_refused_or_true(producer, make, moves_of, trained_once):
    """Digest, name and goal of a changed instance are put into the certificate, so that these do not refuse it."""
    draw, counts = np.random.default_rng(29), Counter()
    for raw in producer.problems(make):
        problem = parse_instance(dump_instance(raw))
        certificate = producer.prove(problem)
        assert check(certificate, problem).proved
        assert producer.falsehood(problem, certificate, moves_of) is None
        for one in random_changes(problem, certificate, producer.turns(problem), draw):
            accepted = check(one.claim, one.problem).proved
            counts[one.of, accepted] += 1
            if accepted:
                false = producer.falsehood(one.problem, one.claim, moves_of)
                assert false is None, f"{problem.name} ({problem.learner.kind}, {problem.goal}): {false}"
    assert counts.total() >= 3000, counts
    for of in ("certificate", "instance"):
        assert min(counts[of, True], counts[of, False]) >= 120, counts


def restated(document: Any, problem: RecourseProblem, draw: np.random.Generator) -> Any:
    """The certificate's claim about another instance; by turns with its moves or about the bound alone."""
    found = document | {"instance": problem.name, "instance_sha256": problem.sha256, "goal": problem.goal.value}
    return parsed(found if draw.random() < 0.5 else found | {"moves": None})
