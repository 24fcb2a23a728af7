"""Thousands of certificates and instances with one thing changed: refused, or true by enumeration and re-training.

A further kind of certificate joins by one more :class:`Producer` in :data:`PRODUCERS`; the changes are made in the JSON
documents, any number, text or list of them, so they need to know nothing of its keys. Trees are changed in their own
ways besides: nodes cut off, dropped, doubled, swapped or put in each other's place, splits and rows redirected. A
change of the proof alone leaves the claim true, so every other one goes with a claim that is better.
"""

from __future__ import annotations

import copy
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from oar_opt.errors import InputError
from oar_opt.evaluate import UndefinedLearner, evaluate
from oar_opt.instance_file import dump_instance, parse_instance
from oar_opt.pipeline import solve
from oar_opt.problem import (
    Budget,
    CostKind,
    FeatureAction,
    GoalKind,
    Move,
    Norm,
    Query,
    RecourseProblem,
    WithholdAction,
)
from oar_opt.proof import checker
from oar_opt.proof.certificate_file import certificate_text, parse_certificate
from oar_opt.proof.checker import check
from oar_opt.proof_search.enumeration import prove_by_enumeration
from oar_opt.proof_search.producer import prove_by_tree
from oar_opt.result import Request
from oar_opt.rules import budget_violations
from oar_opt.solution_file import MoveRecord
from oar_opt.step_search import solve_step
from oar_opt.update_settings import gradient_update, running_centroid_update
from oar_opt.verification import coded_moves, move_violations
from tests.feature_moves import random_move

ACCURACY = 1e-10
"""Of a re-trained margin, relative, beside its own proved error; far below the steps by which claims are changed."""
STEPS = (1e-6, 0.03, 0.5, 4.0)
BETTER = (2e-9, 1e-6, 0.01, 1.0)
"""By how much claims are changed. The first two may leave a tree's claim true, whose bound leaves a part of the gap."""


@dataclass(frozen=True)
class Producer:
    """A kind of certificate: problems, what proves them, and what finds an accepted claim false.

    ``falsehood(problem, certificate, every)`` is why the claim is clearly false, or None; ``every`` lists all
    admissible moves of a problem, independently of what is under test. ``turns(problem)`` is how often a proof of it is
    changed, ``change`` a change of the certificate, ``of_instance`` how many of five changes are of the instance,
    ``least`` how many claims have to be checked, and ``least_each`` how many of each kind of change have to be
    accepted, and refused.
    """

    name: str
    problems: Callable[[Callable[..., RecourseProblem]], list[RecourseProblem]]
    prove: Callable[[RecourseProblem], Any]
    falsehood: Callable[[RecourseProblem, Any, Callable[..., Any]], str | None]
    turns: Callable[[RecourseProblem], int]
    change: Callable[[Any, RecourseProblem, np.random.Generator], Any]
    of_instance: int
    least: int
    least_each: int


# -- what is true, by enumeration and ordinary re-training ---


def better_answer(problem: RecourseProblem, certificate: Any, several: Iterable[tuple[Move, ...]]) -> str | None:
    """The first of several changes that is surely better than the certificate says, in words."""
    bound = None if certificate.bound is None else float(certificate.bound)
    for moves in several:
        value = sure_value(problem, moves)
        if value is None:
            continue
        if bound is None:
            return f"{moves} is an answer"
        beyond = value - bound if problem.goal.maximises else bound - value
        if beyond > ACCURACY * max(1.0, abs(bound)):
            return f"{moves} gives {value!r}, better than {bound!r}"
    return None


def enumerated_falsehood(problem: RecourseProblem, certificate: Any, every: Callable[..., Any]) -> str | None:
    """By re-training for every admissible choice; the stored moves must be one of them."""
    better = better_answer(problem, certificate, (moves for _, moves in every(problem)))
    if better or certificate.moves is None:
        return better
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
        step = float(draw.choice(BETTER)) * (better if draw.random() < 0.75 else -better)
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


# -- changes of trees ---


def changed_tree(document: Any, problem: RecourseProblem, draw: np.random.Generator) -> Any:
    """One change of a tree, by turns as it is, with a better claim or with none of an answer; or any other change."""
    if draw.random() < 0.3:
        return changed_certificate(document, problem, draw)
    found = copy.deepcopy(document)
    change_nodes(found["nodes"], problem, draw)
    what = draw.random()
    if found["nodes"] == document["nodes"] or not found["nodes"]:
        return None
    if document["bound"] is not None and what < 0.5:
        step = float(draw.choice([0.001, 0.1, 1.0])) * (-1 if problem.goal.maximises else 1)
        found["bound"], found["moves"] = nudged(document["bound"], step), None
    elif what < 0.6:
        found["bound"], found["moves"] = None, None
    return found


def change_nodes(nodes: list[Any], problem: RecourseProblem, draw: np.random.Generator) -> None:
    """Change a list of nodes in one place, or in two for a swap."""
    i, j = (int(k) for k in draw.integers(len(nodes), size=2))
    match str(draw.choice(["cut", "drop", "double", "swap", "other", "kind", "options", *["numbers"] * 4])):
        case "cut":
            del nodes[i:]
        case "drop":
            del nodes[i]
        case "double":
            nodes.insert(i, copy.deepcopy(nodes[i]))
        case "swap":
            nodes[i], nodes[j] = nodes[j], nodes[i]
        case "other":
            nodes[i] = copy.deepcopy(nodes[j])
        case "kind":
            member = problem.collective.members[int(draw.integers(len(problem.collective.members)))]
            split = {"kind": "options", "record": member.record, "options": [int(draw.integers(3))]}
            nodes[i] = draw.choice([{"kind": "choice"}, {"kind": "few"}, split, {"kind": "query", "query": 0}])
        case "options":
            splits = [node for node in nodes if node["kind"] == "options"]
            if splits:
                change_split(splits[int(draw.integers(len(splits)))], draw)
        case "numbers":
            leaves_of = [node for node in nodes if node["kind"] in ("duality", "centroid", "step", "room")]
            if leaves_of:
                change_multipliers(leaves_of[int(draw.integers(len(leaves_of)))], draw)


def change_split(node: Any, draw: np.random.Generator) -> None:
    """Widen, narrow or turn round what a split's first child holds."""
    options = node["options"]
    match str(draw.choice(["wider", "narrower", "others"])):
        case "wider":
            options.append(int(draw.integers(-1, 4)))
        case "narrower":
            options.pop()
        case "others":
            node["options"] = [k for k in range(3) if k not in options]


def change_multipliers(node: Any, draw: np.random.Generator) -> None:
    """A number by a little, by much, its sign, or to nothing; or a row, a pull or a member's entry."""
    places = [place for place in leaves(node) if place != ("kind",)]
    place = places[int(draw.integers(len(places)))]
    value, what = at(node, place), str(draw.choice(["nudge", "scale", "row", "pull", "member"]))
    if what == "pull" and node.get("pulls"):
        k = int(draw.integers(len(node["pulls"])))
        node["pulls"][k : k + 1] = [[node["pulls"][k][0] + 1, node["pulls"][k][1]]] * int(draw.integers(3))
    elif what == "member" and node.get("members"):
        k = int(draw.integers(len(node["members"])))
        node["members"][k : k + 1] = [node["members"][k]] * (2 * int(draw.integers(2)))
    elif what == "row" and "balance" in node:
        node["balance"] = draw.choice([None, 0, 1, 7, 100])
    elif isinstance(value, bool):
        at(node, place[:-1])[place[-1]] = not value
    elif isinstance(value, float):
        factor = float(draw.choice([0.0, -1.0, 1.001, 30.0, 1e6])) if what == "scale" else 1 + 1e-5 * draw.normal()
        at(node, place[:-1])[place[-1]] = value * factor
    elif isinstance(value, int):
        at(node, place[:-1])[place[-1]] = value + int(draw.choice([-1, 1]))


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


SEEDS = {GoalKind.MAX_MARGIN: 2, GoalKind.MIN_COST: 3, GoalKind.MIN_MEMBERS: 3, GoalKind.MAX_HELPED: 1}
"""Whose problems have leaves of several kinds for most learners; among them are some without an answer."""


def small_trees(make: Callable[..., RecourseProblem]) -> list[RecourseProblem]:
    """Tiny problems of every learner with a Lagrangian, of centroids and of one step, of every goal, with nine choices
    or fewer."""
    kinds = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "logistic", "l1_svm", "lad")
    found = []
    for (k, kind), goal in product(enumerate(kinds), GoalKind):
        one = make(
            SEEDS[goal],
            kind,
            ("free", "none", "penalized")[(k + list(GoalKind).index(goal)) % 3],
            goal,
            n=6,
            options=1,
            withhold=True,
            strength=3.0,
            regression=kind in ("huber", "epsilon_insensitive", "lad"),
            required=0.02,
            guards=1,
            queries=2 if goal is GoalKind.MAX_HELPED else 1,
        )
        found.append(replace(one, records=replace(one.records, X=np.round(one.records.X, 2))))
        loss = {"svm": "hinge", "logistic": "logistic", "ridge": "squared"}.get(kind)
        if loss is not None:
            start = [0.5, *[0.0] * (one.d - 1)]
            found.append(replace(found[-1], update=gradient_update(start, 0.0, rate=0.5, loss=loss)))
        if kind == "svm":
            found.append(centroid_problems(one)[0])
    return found


STEP_LOSSES = {"ridge": "squared", "svm": "hinge", "logistic": "logistic"}
RETRAINED = {"ridge": None, "svm": None}


def small_changes(make: Callable[..., RecourseProblem], losses: Mapping[str, str | None]) -> list[RecourseProblem]:
    """Tiny problems of one gradient step (without a loss: of a learner that is re-trained) with changes of features, of
    every goal and norm; one of two members may also be withheld."""
    found = []
    for (k, (kind, loss)), goal in product(enumerate(losses.items()), GoalKind):
        one = make(k, kind, ("free", "none", "penalized")[k], goal, n=5, members=2, core=0, options=0, required=0.02)
        moving = FeatureAction(list(Norm)[k], 0.4, 0.2)
        first, second = (replace(member, actions=(moving,)) for member in one.collective.members)
        team = (first, replace(second, actions=(moving, WithholdAction(0.3))))
        budget = Budget(total=0.9) if goal is GoalKind.MIN_MEMBERS else Budget(members=1 + k % 2)
        collective = replace(one.collective, members=team, budget=budget, cost=list(CostKind)[k])
        rounded = replace(one.records, X=np.round(one.records.X, 2))
        problem = replace(one, records=rounded, collective=collective)
        if loss is not None:
            step = gradient_update([0.5, -0.25][: one.d] + [0.0] * (one.d - 2), 0.0, rate=0.5, loss=loss)
            problem = replace(problem, update=step)
        found.append(problem)
    return found


def sampled_falsehood(problem: RecourseProblem, certificate: Any, every: Callable[..., Any]) -> str | None:
    """By re-training for changes at random, and for the best that a search finds; stored moves must be admissible."""
    better = better_answer(problem, certificate, sampled_changes(problem))
    if better or certificate.moves is None:
        return better
    moves = coded_moves(problem, [MoveRecord(**move.model_dump()) for move in certificate.moves])
    broken = [*move_violations(problem, moves), *budget_violations(problem, moves)]
    if broken:
        return "; ".join(broken)
    return None if could_answer(problem, moves) else f"{moves} is no answer"


BEST: dict[str, tuple[Move, ...]] = {}
"""Of problems that were proved, by their digests."""
SAMPLES: dict[str, list[tuple[Move, ...]]] = {}


def prove_changes(problem: RecourseProblem) -> Any:
    """With the best change that a search finds, which is no proof."""
    moves = solved(problem)
    if moves is not None:
        BEST[problem.sha256] = moves
    return prove_by_tree(problem, moves, 60.0)


def solved(problem: RecourseProblem) -> tuple[Move, ...] | None:
    if not problem.update.retrains:
        return solve_step(problem, Request(time_limit=10.0)).moves
    found = solve(problem, time_limit=10.0).solution
    return None if found is None else coded_moves(problem, found.moves)


def sampled_changes(problem: RecourseProblem) -> list[tuple[Move, ...]]:
    """Admissible changes: as far as the rules let them be, and the best known."""
    key = problem.sha256
    if key not in SAMPLES:
        draw, found = np.random.default_rng(5), [BEST.get(key, ())]
        for _ in range(25):
            moves = [random_move(problem, m, draw) for m in problem.collective.members if draw.random() < 0.7]
            found.append(tuple(move for move in moves if move is not None))
        SAMPLES[key] = [moves for moves in found if not budget_violations(problem, moves)]
    return SAMPLES[key]


def turns(problem: RecourseProblem) -> int:
    """More for what trains at once, and for the goal that any change of a number shifts."""
    is_quick = problem.learner.kind in ("ridge", "nearest_centroid") or not problem.update.retrains
    return (32 if is_quick else 10) * (2 if problem.goal is GoalKind.MAX_MARGIN else 1)


PRODUCERS = (
    Producer(
        "enumeration",
        small_menus,
        prove_by_enumeration,
        enumerated_falsehood,
        turns,
        changed_certificate,
        of_instance=2,
        least=1100,
        least_each=60,
    ),
    Producer(
        "tree",
        small_trees,
        lambda problem: prove_by_tree(problem, None, 60.0),
        enumerated_falsehood,
        lambda problem: 60,
        changed_tree,
        of_instance=1,
        least=2200,
        least_each=45,
    ),
    Producer(
        "feature changes",
        lambda make: small_changes(make, STEP_LOSSES),
        prove_changes,
        sampled_falsehood,
        lambda problem: 50,
        changed_tree,
        of_instance=1,
        least=500,
        least_each=10,
    ),
    Producer(
        "changes and training",
        lambda make: small_changes(make, RETRAINED),
        prove_changes,
        sampled_falsehood,
        lambda problem: 50,
        changed_tree,
        of_instance=1,
        least=300,
        least_each=10,
    ),
)


@dataclass(frozen=True)
class Changed:
    """A claim about a problem after one change of either; ``of`` says of which, and whether of a tree's nodes."""

    of: str
    problem: RecourseProblem
    claim: Any


def random_changes(
    producer: Producer, problem: RecourseProblem, certificate: Any, draw: np.random.Generator
) -> list[Changed]:
    """Of five by turns so many of the instance as the producer says; what is neither any more is drawn anew."""
    count = producer.turns(problem)
    instance, document = dump_instance(problem), json.loads(certificate_text(certificate))
    found: list[Changed] = []
    for _ in range(20 * count):
        if len(found) == count:
            break
        if len(found) % 5 >= producer.of_instance:
            changed, claim = problem, parsed(producer.change(document, problem, draw))
            of = "certificate" if claim is None or claim.nodes == certificate.nodes else "nodes"
        else:
            changed, of = changed_instance(instance, draw), "instance"
            claim = None if changed is None else restated(document, changed, draw)
        if changed is not None and claim is not None:
            found.append(Changed(of, changed, claim))
    return found


@pytest.fixture
def judged_once(monkeypatch):
    """No choice of the same instance is enclosed or re-trained twice; the outcomes are those of the real functions."""
    for place, name in ((checker, "exact_outcome"), (sys.modules[__name__], "trained")):
        monkeypatch.setattr(place, name, remembering(getattr(place, name)))


def remembering(outcome: Callable[[RecourseProblem, Any], Any]) -> Callable[[RecourseProblem, Any], Any]:
    known: dict[Any, Any] = {}

    def remembered(problem: RecourseProblem, choice: Any) -> Any:
        key = (problem.sha256, getattr(choice, "moves", choice))
        if key not in known:
            known[key] = outcome(problem, choice)
        return known[key]

    return remembered


@pytest.mark.parametrize("producer", PRODUCERS, ids=lambda producer: producer.name)
def test_a_changed_claim_is_refused_or_true(producer, make, moves_of, trained_once, judged_once):
    """Digest, name and goal of a changed instance are put into the certificate, so that these do not refuse it."""
    draw, counts = np.random.default_rng(29), Counter()
    for raw in producer.problems(make):
        problem = parse_instance(dump_instance(raw))
        certificate = producer.prove(problem)
        assert check(certificate, problem).proved
        assert producer.falsehood(problem, certificate, moves_of) is None
        for one in random_changes(producer, problem, certificate, draw):
            accepted = check(one.claim, one.problem).proved
            counts[one.of, accepted] += 1
            if accepted:
                false = producer.falsehood(one.problem, one.claim, moves_of)
                assert false is None, f"{problem.name} ({problem.learner.kind}, {problem.goal}): {false}"
    assert counts.total() >= producer.least, counts
    for of in {of for of, _ in counts}:
        assert min(counts[of, True], counts[of, False]) >= producer.least_each, counts


def restated(document: Any, problem: RecourseProblem, draw: np.random.Generator) -> Any:
    """The certificate's claim about another instance; by turns with its moves or about the bound alone."""
    found = document | {"instance": problem.name, "instance_sha256": problem.sha256, "goal": problem.goal.value}
    return parsed(found if draw.random() < 0.5 else found | {"moves": None})
