"""From a recipe and its family's records to the document of an instance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from oar_opt.discovery import heuristics
from oar_opt.errors import InputError
from oar_opt.evaluate import Evaluation, evaluate, evaluate_present
from oar_opt.generation.family import Document, Family, Table
from oar_opt.generation.recipe import ActionKind, Recipe
from oar_opt.instance_file import parse_instance
from oar_opt.problem import GoalKind, Intercept, RecourseProblem, Vector

QUICK = ("nearest_members", "influence", "random_moves")
"""Heuristics whose best answer says what is within reach."""
QUICK_SECONDS = 60.0
"""For each; they end far sooner, so that the machine's speed decides nothing."""
LARGEST_SHARE = 0.6
WAYS = ((0.3, 1.0), (LARGEST_SHARE, 1.8), (-0.5, 1.2))
"""Shares of the way to the mean of those with the wanted decision (below 0: away from it), and what they cost."""
STEPS = (0.5, 1.0)
"""Of a target's standard deviation, that it may be corrected by."""
PENALTY = 0.01
"""Of gradient updates; their rate is 1 over the mean of ``||x||^2 + 1``, so that steps neither crawl nor swing."""
RUNNING_RATE = 0.05
BESIDE = 40
"""Records that are drawn beside those to train on, as far as there are as many: subjects are chosen among them."""
NEAR, LEAST_NEAR = 6, 3
"""Query subjects are drawn from the one part in so many that is nearest to the boundary, and at least three records."""
SMALLEST = 0.001
"""Required margin, where the reachable one says nothing."""
PENALIZED = ("svm", "squared_hinge", "l1_svm", "epsilon_insensitive", "lad")
"""Learners whose intercept is penalised where the recipe says nothing: a free one would often be tied."""
TIED = ("l1_svm", "lad")
"""Learners that often have several optima; instances take them in the optimistic position."""


def compose(recipe: Recipe, family: Family) -> Document:
    """The document; :class:`InputError` where family, learner and action do not go together."""
    _check(recipe, family)
    draw = np.random.default_rng([recipe.seed, recipe.rows, recipe.members])
    beside = max(recipe.queries + recipe.guards, family.beside(recipe.rows, BESIDE))
    several = recipe.setting.kind == "nearest_centroid"
    table = family.table(recipe.rows + beside, recipe.columns, draw, several=several)
    scene = _scene(recipe, family, table, draw)
    document = _document(recipe, family, scene, draw)
    return _with_required(document, recipe)


def _check(recipe: Recipe, family: Family) -> None:
    kind = recipe.setting.kind
    numbers = kind in ("huber", "epsilon_insensitive", "lad")
    if family.regression and not (numbers or kind == "ridge"):
        raise InputError("--learner", f"'{recipe.learner}' needs classes", f"'{family.name}' has targets: take ridge")
    if numbers and not family.regression:
        raise InputError("--learner", f"'{recipe.learner}' needs targets", f"'{family.name}' has classes: take svm")
    if recipe.goal is GoalKind.MAX_HELPED and recipe.queries < 2:
        raise InputError("--goal", "max_helped needs several queries", "add --queries 2")


# -- who is who ---


@dataclass(frozen=True, eq=False)
class Scene:
    """The records that remain, and the subjects: ``queries`` and ``guards`` as documents without required margins."""

    table: Table
    queries: tuple[Document, ...]
    guards: tuple[Document, ...]
    centre: Vector
    """The mean of the query subjects' features, ``(d,)``."""


def _scene(recipe: Recipe, family: Family, table: Table, draw: np.random.Generator) -> Scene:
    """Some of the drawn records are trained on; subjects are chosen among the others."""
    trained = np.sort(draw.choice(len(table.y), recipe.rows, replace=False))
    records, others = table.rows(trained), table.rows(np.setdiff1d(np.arange(len(table.y)), trained))
    values = _present_values(recipe, records, others)
    spread = float(values.std()) or 1.0
    refused = values > np.median(values) if table.classes is None else values < 0
    if table.classes is not None and len(table.classes) > 2:
        refused &= others.y != 1
    unwanted = np.flatnonzero(refused)
    order = unwanted[np.argsort(np.abs(values[unwanted]), kind="stable")]
    near = order[: max(recipe.queries, LEAST_NEAR, len(order) // NEAR)]
    if len(near) < recipe.queries:
        words = f"{len(near)} of the records beside have the unwanted decision"
        raise InputError("--queries", f"is {recipe.queries}", f"{words}: take fewer rows, or another seed")
    asked = np.sort(draw.choice(near, recipe.queries, replace=False))
    kept = _guards(recipe, others, values, set(asked.tolist()))
    queries = [_query(family, others, int(i), q, float(values[i]), spread) for q, i in enumerate(asked)]
    guards = [_guard(others, int(i), float(values[i]), spread) for i in kept]
    return Scene(records, tuple(queries), tuple(guards), others.X[asked].mean(axis=0))


def _present_values(recipe: Recipe, records: Table, others: Table) -> Vector:
    """The others' margins for the wanted class (the second one), or their predicted targets."""
    wants = {"sense": ">=", "threshold": 0.0} if records.classes is None else {"target": records.classes[1]}
    probe = {
        "name": "probe",
        **_basis(recipe, records, _labels(records)),
        "collective": {"members": []},
        "queries": [{"name": f"r{i}", "x": x, **wants} for i, x in enumerate(others.X.tolist())],
        "goal": {"kind": "max_margin"},
    }
    found = evaluate_present(_parsed(probe))
    if found is None:
        raise InputError("--rows", f"is {recipe.rows}", "the learner is not defined on so few: take more")
    return np.array(found.margins)


def _guards(recipe: Recipe, table: Table, values: Vector, asked: set[int]) -> list[int]:
    """Those in the middle of the ones whose decision others' moves may turn."""
    two = table.classes is not None and len(table.classes) == 2
    hold = np.flatnonzero(values < 0) if two else np.flatnonzero(values > 0)
    hold = hold[np.argsort(np.abs(values[hold]), kind="stable")]
    hold = np.array([i for i in hold if int(i) not in asked], dtype=int)
    if len(hold) < recipe.guards:
        raise InputError("--guards", f"is {recipe.guards}", f"{len(hold)} of the records beside can be guards")
    middle = (len(hold) - recipe.guards) // 2
    return sorted(int(i) for i in hold[middle : middle + recipe.guards])


def _query(family: Family, table: Table, i: int, q: int, value: float, spread: float) -> Document:
    document: Document = {"name": f"{family.subject}-{q + 1}", "x": table.X[i].tolist()}
    if table.classes is None:
        return document | {"sense": "<=", "threshold": round(value - 0.1 * spread, 3)}
    return document | {"target": table.classes[1]}


def _guard(table: Table, i: int, value: float, spread: float) -> Document:
    document: Document = {"x": table.X[i].tolist()}
    if table.classes is None:
        return document | {"sense": ">=", "threshold": round(value - 0.5 * spread, 3), "required": 0.0}
    decision = table.classes[0] if value < 0 else table.classes[1]
    return document | {"decision": decision, "required": round(0.5 * abs(value), 4)}


def _labels(table: Table) -> list[Any]:
    return table.y.tolist() if table.classes is None else [table.classes[int(code)] for code in table.y]


# -- learner and records ---


def _basis(recipe: Recipe, table: Table, names: list[Any]) -> Document:
    """What a document says of features, records, learner and update."""
    basis: Document = {
        "features": list(table.features),
        "records": {"X": table.X.tolist(), "y": names},
        "learner": _learner(recipe),
    }
    if recipe.setting.kind in TIED:
        basis["position"] = "optimistic"
    if table.classes is not None:
        basis["classes"] = list(table.classes)
    if table.constraints:
        basis["constraints"] = list(table.constraints)
    update = _update(recipe, table)
    return basis | ({"update": update} if update else {})


def _learner(recipe: Recipe) -> Document:
    kind = recipe.setting.kind
    if kind == "nearest_centroid":
        return {"kind": kind}
    given = Intercept.PENALIZED if kind in PENALIZED else Intercept.FREE
    found: Document = {"kind": kind, "intercept": str(recipe.intercept or given)}
    if kind == "ridge":
        return found | {"alpha": 1.0}
    found["C"] = round(min(1.0, 30 / recipe.rows), 3)
    return found | {"huber": {"delta": 1.0}, "epsilon_insensitive": {"epsilon": 0.2}}.get(kind, {})


def _update(recipe: Recipe, table: Table) -> Document | None:
    setting, n = recipe.setting, len(table.y)
    if setting.update == "gradient":
        w, b = _line(table)
        size = -(-n // setting.steps)
        return {
            "kind": "gradient",
            "T": setting.steps,
            "rate": round(1 / float(np.mean((table.X**2).sum(axis=1) + 1)), 4),
            "l2": PENALTY,
            "reduction": "mean",
            "theta0": {"w": w, "b": b},
            "batches": [list(range(n))[first : first + size] for first in range(0, n, size)],
        }
    if setting.update == "running_centroid":
        classes = table.classes or ()
        centroids = {name: _mean(table, c).round(4).tolist() for c, name in enumerate(classes)}
        order = list(range(0, n, 2))
        return {"kind": "running_centroid", "rate": RUNNING_RATE, "centroids": centroids, "order": order}
    return None


def _mean(table: Table, c: int) -> Vector:
    mean: Vector = table.X[table.y == c].mean(axis=0)
    return mean


def _line(table: Table) -> tuple[list[float], float]:
    """Least squares for the signs of the classes, a little penalised: where a gradient update begins."""
    X, y = table.X, 2 * table.y - 1
    Z = X - X.mean(axis=0)
    w = np.linalg.solve(Z.T @ Z + np.eye(X.shape[1]), Z.T @ (y - y.mean()))
    b = float(y.mean() - X.mean(axis=0) @ w)
    return w.round(3).tolist(), round(b, 3)


# -- the collective ---


def _document(recipe: Recipe, family: Family, scene: Scene, draw: np.random.Generator) -> Document:
    table = scene.table
    collective = _collective(recipe, scene, draw)
    protected = {"protected": list(table.protected)} if table.protected else {}
    source = (
        f"{table.notes}; {recipe.rows} of them are trained on, and queries are others with the unwanted decision; made "
        f"by: {recipe.command()}"
    )
    return {
        "format": "oar-instance",
        "version": 1,
        "name": recipe.name(table.X.shape[1]),
        "title": f"{family.words.capitalize()}: {recipe.action.words}",
        "provenance": {
            **family.provenance,
            "seed": recipe.seed,
            **protected,
            "notes": source,
        },
        **_basis(recipe, table, _labels(table)),
        "collective": collective,
        "queries": list(scene.queries),
        **({"guards": list(scene.guards)} if scene.guards else {}),
        "goal": {"kind": str(recipe.goal)},
    }


def _collective(recipe: Recipe, scene: Scene, draw: np.random.Generator) -> Document:
    members = _members(recipe, scene)
    found: Document = {"members": members}
    actions = _actions(recipe, scene)
    if actions:
        found["actions"] = actions
    if recipe.action is ActionKind.MENUS or (scene.table.classes is None and recipe.action is not ActionKind.STRIKE):
        menus = {str(i): _menu(recipe, scene, i, draw) for i in members}
        found["menus"] = {i: menu for i, menu in menus.items() if menu}
    if recipe.action in (ActionKind.CHANGES, ActionKind.MIXED):
        found["cost"] = "l2"
    if recipe.cap is not None:
        found["budget"] = {"members": max(1, round(recipe.cap * recipe.members))}
    return found


def _members(recipe: Recipe, scene: Scene) -> list[int]:
    """The records nearest to the query subjects; those of unwanted classes where only these can help."""
    table = scene.table
    deviation = table.X.std(axis=0)
    distance = (((table.X - scene.centre) / np.where(deviation > 0, deviation, 1.0)) ** 2).sum(axis=1)
    one_class = recipe.action not in (ActionKind.CHANGES, ActionKind.MIXED) and table.classes is not None
    allowed = np.flatnonzero(table.y != 1) if one_class else np.arange(len(table.y))
    if recipe.setting.update == "running_centroid":
        allowed = allowed[allowed % 2 == 0]
    if len(allowed) < recipe.members:
        raise InputError("--members", f"is {recipe.members}", f"{len(allowed)} records can be members: take more rows")
    nearest = allowed[np.argsort(distance[allowed], kind="stable")[: recipe.members]]
    return sorted(int(i) for i in nearest)


def _actions(recipe: Recipe, scene: Scene) -> list[Document]:
    classes = scene.table.classes
    labels = [] if classes is None else [{"kind": "labels", "to": [classes[1]], "cost": 1.0}]
    withhold: list[Document] = [{"kind": "withhold", "cost": 0.8}]
    changes: list[Document] = [{"kind": "features", "norm": "l2", "radius": recipe.radius}]
    match recipe.action:
        case ActionKind.LABELS:
            return labels
        case ActionKind.STRIKE:
            return withhold
        case ActionKind.CHANGES:
            return changes
        case ActionKind.MIXED:
            return [*changes, *labels, *withhold]
        case ActionKind.MENUS:
            return []


def _menu(recipe: Recipe, scene: Scene, i: int, draw: np.random.Generator) -> list[Document]:
    """Other targets; or, of menus, the record on the way to those with the wanted decision, or away from them.

    Two shares of the way: the label or target stays with the first and is the better one with the second.
    """
    table = scene.table
    if recipe.action is not ActionKind.MENUS:
        if recipe.action is ActionKind.CHANGES:
            return []
        return [{"y": round(float(table.y[i]) - step, 4), "cost": 1.0 + step} for step in STEPS]
    wanted = table.y == 1 if table.classes is not None else table.y < np.median(table.y)
    better = table.classes[1] if table.classes is not None else round(float(table.y[i]) - STEPS[0], 4)
    goal, present = table.X[wanted].mean(axis=0), table.X[i]
    found: list[Document] = []
    for share, cost in WAYS:
        aim = present + share * (goal - present) * draw.uniform(0.5, 1.5, len(goal))
        option: Document = {"x": _allowed(table, present, aim), "cost": round(cost + float(draw.uniform(-0.2, 0.2)), 2)}
        if share == LARGEST_SHARE:
            option["y"] = better
        elif option["x"] == present.tolist():
            continue
        found.append(option)
    return found


def _allowed(table: Table, x: Vector, aim: Vector) -> list[float]:
    """The nearest to ``aim`` that the rules of single features allow; rules among features undo what breaks them."""
    found = [_allowed_value(feature, float(a), float(b)) for feature, a, b in zip(table.features, x, aim, strict=True)]
    names = [feature["name"] for feature in table.features]
    for row in table.constraints:
        columns = [names.index(name) for name in row["coefficients"]]
        total = sum(c * found[j] for c, j in zip(row["coefficients"].values(), columns, strict=True))
        if (total < row["rhs"]) if row["sense"] == ">=" else (total > row["rhs"]):
            for j in columns:
                found[j] = float(x[j])
    return found


def _allowed_value(feature: Document, present: float, aim: float) -> float:
    if feature.get("direction") == "fixed" or feature.get("type") in ("binary", "categorical"):
        return present
    value = float(round(aim)) if feature.get("type") == "integer" else round(aim, 4)
    low, high = float(feature.get("lower", -math.inf)), float(feature.get("upper", math.inf))
    if feature.get("direction") == "increase":
        low = max(low, present)
    if feature.get("direction") == "decrease":
        high = min(high, present)
    return min(max(value, low), high)


# -- required margins ---


def _with_required(document: Document, recipe: Recipe) -> Document:
    """Required margins part of the way to what quick heuristics reach."""
    if recipe.goal is GoalKind.MAX_MARGIN:
        return document
    problem = _parsed(document | {"goal": {"kind": "max_margin"}})
    present = evaluate(problem, ())
    best = _best(problem, present)
    queries = []
    for query, before, after in zip(document["queries"], present.margins, best.margins, strict=False):
        required = before + recipe.reach * max(0.0, after - before)
        queries.append(query | {"required": round(max(SMALLEST, required), 4)})
    return document | {"queries": queries}


def _best(problem: RecourseProblem, present: Evaluation) -> Evaluation:
    best = present
    for name in QUICK:
        heuristic = heuristics()[name]
        if heuristic.accepts(problem) is None:
            outcome = evaluate(problem, heuristic.propose(problem, seed=0, time_limit=QUICK_SECONDS).moves)
            best = outcome if outcome.improves_on(best) else best
    return best


def _parsed(document: Document) -> RecourseProblem:
    return parse_instance({"format": "oar-instance", "version": 1, **document})
