"""The library's recipes: every instance of ``instances/library`` and nothing else.

A recipe that is here stays as it is, since its instance is never edited; one that is found wanting is retired, and its
name is not used again. Which of the sets ``smoke``, ``benchmark`` and ``challenge`` an instance belongs to is in
``instances/library/index.csv``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from oar_opt.generation.recipe import ActionKind, Recipe
from oar_opt.problem import GoalKind, Intercept

LABELS, STRIKE, MENUS, CHANGES, MIXED = ActionKind
MARGIN, COST, MEMBERS, HELPED = GoalKind.MAX_MARGIN, GoalKind.MIN_COST, GoalKind.MIN_MEMBERS, GoalKind.MAX_HELPED


def library() -> tuple[Recipe, ...]:
    """All of them, in the order of the index."""
    return (*_centroids(), *_steps(), *_ridge(), *_margins(), *_logistic(), *_regression(), *_linear(), *_large())


def _each(first: Recipe, *others: dict[str, Any]) -> Iterator[Recipe]:
    """The first recipe, and those that differ from it by the fields given."""
    yield first
    for fields in others:
        yield replace(first, **fields)


def _goals(recipe: Recipe, goals: Sequence[GoalKind]) -> Iterator[Recipe]:
    """One for every goal, each with a seed of its own so that no two have one name.

    Where finite choices are to raise a margin, half of the members may act: else all would, mostly.
    """
    for place, goal in enumerate(goals):
        chooses = goal is MARGIN and recipe.action in (LABELS, STRIKE, MENUS)
        cap = 0.5 if chooses and recipe.cap is None else recipe.cap
        yield replace(recipe, goal=goal, seed=recipe.seed + place, cap=cap)


def _centroids() -> Iterator[Recipe]:
    yield from _goals(Recipe("iris", 60, 10, "centroid", CHANGES, 1), (MARGIN, COST, MEMBERS))
    yield from _each(
        Recipe("iris", 90, 30, "centroid", CHANGES, 4),
        {"members": 60, "radius": 1.0},
        {"goal": COST, "seed": 5},
        {"goal": MEMBERS, "guards": 2, "seed": 6},
        {"queries": 2, "seed": 7},
    )
    yield from _goals(Recipe("wine", 80, 8, "centroid", MENUS, 1, columns=5), (MARGIN, COST, MEMBERS))
    yield from _goals(Recipe("wine", 100, 10, "centroid", LABELS, 1, columns=6, cap=0.5), (MARGIN, COST))
    yield from _goals(Recipe("digits", 150, 12, "centroid", CHANGES, 1, columns=8, radius=1.0), (MARGIN, COST))
    yield from _each(
        Recipe("breastcancer", 120, 10, "centroid", MIXED, 1, columns=4, cap=0.5),
        {"goal": COST, "seed": 2},
    )
    yield from _each(Recipe("iris", 60, 8, "running", CHANGES, 1), {"seed": 2, "goal": COST}, {"action": LABELS})


def _steps() -> Iterator[Recipe]:
    yield from _goals(Recipe("loan", 80, 8, "gradient1", MENUS, 1, columns=5), (MARGIN, COST))
    yield from _goals(Recipe("gig", 100, 12, "gradient1", CHANGES, 1), (MARGIN, COST))
    yield from _each(
        Recipe("gig", 400, 60, "gradient1", MIXED, 1, cap=0.3),
        {"family": "school", "rows": 2000, "members": 300, "action": CHANGES},
    )
    yield from _goals(Recipe("tenant", 60, 8, "gradient3", LABELS, 1), (MARGIN, COST, MEMBERS))
    yield from _each(Recipe("school", 60, 9, "gradient3", STRIKE, 1, goal=MEMBERS), {"action": MENUS, "goal": MARGIN})


def _ridge() -> Iterator[Recipe]:
    yield from _goals(Recipe("tenant", 70, 8, "ridge", LABELS, 1), (MARGIN, COST, MEMBERS))
    yield from _goals(Recipe("loan", 100, 10, "ridge", MENUS, 1), (MARGIN, COST))
    yield from _each(
        Recipe("digits", 200, 12, "ridge", LABELS, 1, columns=12, goal=MEMBERS),
        {"action": STRIKE, "seed": 2},
        {"action": MENUS, "goal": MARGIN, "members": 10},
        {"action": MENUS, "goal": HELPED, "members": 8, "queries": 3, "seed": 3},
        {"rows": 300, "members": 15, "action": MENUS, "goal": MARGIN, "cap": 0.5},
    )
    yield from _goals(Recipe("gig", 40, 3, "ridge", CHANGES, 1, columns=4), (MARGIN, COST))
    yield from _each(
        Recipe("breastcancer", 60, 5, "ridge", CHANGES, 1, columns=5),
        {"rows": 200, "members": 10, "columns": 8},
        {"rows": 200, "members": 10, "columns": 8, "goal": COST, "seed": 2},
        {"action": MIXED, "members": 4, "columns": 3},
        {"action": MIXED, "members": 4, "columns": 3, "goal": COST, "seed": 2},
        {"intercept": Intercept.PENALIZED, "queries": 2, "guards": 1, "columns": 3, "seed": 3},
    )
    yield from _each(
        Recipe("loan", 60, 4, "ridge", CHANGES, 1, columns=5, radius=1.5, goal=COST),
        {"goal": MARGIN, "seed": 2},
        {"columns": 8, "seed": 3, "reach": 1.6},
    )
    yield from _goals(Recipe("diabetes", 80, 6, "ridge", LABELS, 1, columns=4), (MARGIN, COST, MEMBERS))
    yield from _each(Recipe("diabetes", 60, 4, "ridge", CHANGES, 1, columns=3), {"goal": COST, "seed": 2})


def _margins() -> Iterator[Recipe]:
    yield from _goals(Recipe("school", 60, 5, "svm", MENUS, 1), (MARGIN, COST, MEMBERS))
    yield from _goals(Recipe("loan", 80, 10, "svm", STRIKE, 1, columns=5), (MARGIN, COST, MEMBERS))
    yield from _goals(Recipe("tenant", 60, 8, "svm", LABELS, 1), (MARGIN, MEMBERS))
    yield from _each(
        Recipe("gig", 60, 5, "svm", MENUS, 1, queries=2, guards=1),
        {"goal": HELPED, "queries": 3, "guards": 0, "seed": 2},
        {"goal": COST, "reach": 1.8, "queries": 1, "guards": 0, "seed": 3},
    )
    yield from _each(
        Recipe("breastcancer", 120, 8, "svm", MENUS, 1, columns=5),
        {"rows": 200, "members": 10},
        {"rows": 200, "members": 10, "goal": COST, "seed": 2},
        {"intercept": Intercept.FREE, "goal": COST, "seed": 3},
    )
    yield from _each(
        Recipe("wine", 40, 3, "svm", CHANGES, 1, columns=3),
        {"members": 5, "rows": 60, "radius": 0.3},
        {"goal": COST, "seed": 2},
        {"action": MIXED, "members": 3, "columns": 2, "seed": 3},
    )
    yield from _each(
        Recipe("iris", 20, 9, "svm", LABELS, 1, cap=0.25),
        {"rows": 30, "members": 14, "cap": 0.2},
    )
    yield from _goals(Recipe("digits", 100, 8, "sqhinge", MENUS, 1, columns=6), (MARGIN, COST))
    yield from _goals(Recipe("school", 80, 8, "sqhinge", STRIKE, 1), (MARGIN, MEMBERS))
    yield from _each(
        Recipe("wine", 50, 4, "sqhinge", CHANGES, 1, columns=3),
        {"goal": COST, "seed": 2},
        {"action": LABELS, "members": 8, "rows": 80, "goal": MEMBERS, "columns": 5, "seed": 3},
    )
    yield from _each(
        Recipe("gig", 80, 6, "sqhinge", MENUS, 1, queries=3, goal=HELPED),
        {"queries": 2, "goal": COST, "seed": 2},
    )


def _logistic() -> Iterator[Recipe]:
    yield from _goals(Recipe("loan", 100, 8, "logistic", MENUS, 1, columns=5), (MARGIN, COST))
    yield from _goals(Recipe("tenant", 80, 10, "logistic", LABELS, 1), (MARGIN, COST, MEMBERS))
    yield from _goals(Recipe("digits", 120, 10, "logistic", STRIKE, 1, columns=8), (MARGIN, MEMBERS))
    yield from _each(
        Recipe("breastcancer", 60, 3, "logistic", CHANGES, 1, columns=3),
        {"goal": COST, "seed": 2},
        {"rows": 150, "members": 6, "columns": 5, "radius": 0.3},
    )
    yield from _each(
        Recipe("school", 100, 8, "logistic", MENUS, 1, queries=2, guards=1),
        {"queries": 3, "guards": 0, "goal": HELPED, "seed": 2},
    )


def _regression() -> Iterator[Recipe]:
    yield from _goals(Recipe("diabetes", 60, 6, "huber", LABELS, 1, columns=4), (MARGIN, COST))
    yield from _each(
        Recipe("diabetes", 50, 3, "huber", CHANGES, 1, columns=3, radius=0.3),
        {"action": MENUS, "members": 8, "rows": 100, "seed": 2},
    )
    yield from _goals(Recipe("diabetes", 60, 6, "epsilon", LABELS, 1, columns=4), (MARGIN, COST, MEMBERS))
    yield from _each(Recipe("diabetes", 80, 6, "epsilon", MENUS, 1, columns=3), {"action": STRIKE, "members": 10})
    yield from _goals(Recipe("diabetes", 60, 6, "lad", LABELS, 1, columns=4), (MARGIN, COST))
    yield from _each(Recipe("diabetes", 80, 8, "lad", MENUS, 1, columns=4), {"action": STRIKE, "goal": MEMBERS})


def _linear() -> Iterator[Recipe]:
    yield from _goals(Recipe("loan", 60, 6, "l1svm", MENUS, 1, columns=5), (MARGIN, COST))
    yield from _goals(Recipe("tenant", 70, 8, "l1svm", LABELS, 1), (MARGIN, MEMBERS))
    yield from _each(
        Recipe("gig", 80, 10, "l1svm", STRIKE, 1, goal=COST),
        {"queries": 2, "guards": 1, "seed": 2},
    )


def _large() -> Iterator[Recipe]:
    """Larger ones, some of which nobody may have closed."""
    yield from _each(
        Recipe("breastcancer", 500, 20, "ridge", MENUS, 1, columns=20),
        {"action": CHANGES, "rows": 400, "columns": 10, "radius": 0.3},
    )
    yield from _each(
        Recipe("digits", 300, 12, "svm", MENUS, 1, columns=6),
        {"action": CHANGES, "members": 8, "radius": 0.3},
        {"family": "loan", "rows": 300, "members": 20, "columns": 5, "action": STRIKE, "goal": MEMBERS},
    )
    yield from _each(
        Recipe("digits", 300, 12, "sqhinge", MENUS, 1, columns=6),
        {"learner": "logistic"},
        {"learner": "ridge", "action": MIXED, "members": 8},
    )
    yield Recipe("gig", 200, 8, "sqhinge", CHANGES, 1)
    yield Recipe("diabetes", 300, 15, "epsilon", MENUS, 1, columns=6)
