"""Generated instances: the same recipe gives the same file, names say what is in it, and every rule is kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from oar_opt.errors import InputError
from oar_opt.evaluate import evaluate, evaluate_present
from oar_opt.generation import FAMILIES, ActionKind, Recipe, compose
from oar_opt.generation.compose import _allowed_value
from oar_opt.generation.family import drawn
from oar_opt.generation.library import library
from oar_opt.generation.recipe import SETTINGS
from oar_opt.instance_file import instance_text, load_instance, parse_instance
from oar_opt.library import LIBRARY, benchmarks
from oar_opt.problem import Direction, GoalKind, OptionKind

SAMPLE = library()[::9]
"""Recipes that are made again here; all of them would take minutes."""


def name_of(recipe):
    return recipe.name(FAMILIES[recipe.family].checked(recipe.rows, recipe.columns))


def made(family="loan", rows=20, members=3, learner="ridge", action=ActionKind.MENUS, **others):
    return parse_instance(compose(Recipe(family, rows, members, learner, action, **others), FAMILIES[family]))


# -- the library ---


def test_every_recipe_has_its_file_and_every_file_its_recipe():
    names = [name_of(recipe) for recipe in library()]
    assert len(names) == len(set(names)) >= 120
    assert set(names) == set(benchmarks())


@pytest.mark.parametrize("recipe", SAMPLE, ids=name_of)
def test_a_recipe_gives_its_file_again(recipe):
    text = instance_text(parse_instance(compose(recipe, FAMILIES[recipe.family])))
    assert text == (LIBRARY / f"{name_of(recipe)}.json").read_text(encoding="utf-8")


def test_families_learners_actions_and_goals_all_occur():
    recipes = library()
    assert {recipe.family for recipe in recipes} == set(FAMILIES)
    assert {recipe.learner for recipe in recipes} == set(SETTINGS)
    assert {recipe.action for recipe in recipes} == set(ActionKind)
    assert {recipe.goal for recipe in recipes} == set(GoalKind)
    assert any(recipe.queries > 1 for recipe in recipes) and any(recipe.guards for recipe in recipes)


def test_the_command_in_a_file_is_the_recipe(oar, tmp_path):
    recipe = Recipe("gig", 16, 2, "sqhinge", ActionKind.STRIKE, 3, GoalKind.MIN_MEMBERS, 4, queries=2, guards=1)
    problem = parse_instance(compose(recipe, FAMILIES["gig"]))
    command = problem.provenance["notes"].partition("made by: ")[2]
    code, out, err = oar(*command.split()[1:], "-o", tmp_path)
    assert code == 0, err
    assert out.strip() == str(tmp_path / f"{problem.name}.json")
    assert load_instance(out.strip()) == problem


# -- what a recipe means ---


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("action", ActionKind)
def test_sizes_are_the_names_and_queries_have_the_unwanted_decision(family, action):
    learner = "huber" if FAMILIES[family].regression else "svm"
    problem = made(family, 24, 3, learner, action, columns=3, queries=2, guards=1)
    assert problem.name == f"{family}-n24-d3-k3-{learner}-{action}-s0"
    assert (problem.n, problem.d, len(problem.collective.members)) == (24, 3, 3)
    assert (len(problem.queries), len(problem.guards)) == (2, 1)
    assert not evaluate(problem, ()).broken, "guards keep what they have"
    assert max(evaluate_present(problem).margins) < 0


@pytest.mark.parametrize("family", ["school", "loan", "tenant", "gig", "diabetes"])
def test_the_protected_are_fixed_and_options_obey_every_rule(family):
    problem = made(family, 40, 8)
    assert problem.provenance["protected"]
    fixed = {feature.name for feature in problem.features if feature.direction is Direction.FIXED}
    assert fixed.issuperset(problem.provenance["protected"])
    assert problem.provenance["licence"] and ("invented" in problem.provenance["source"]) == (family != "diabetes")
    # Options that break a rule would have been refused when the document was read.
    kinds = [option.kind for member in problem.collective.members for option in problem.options(member)]
    assert kinds.count(OptionKind.MENU) > 8


def test_required_margins_are_part_of_the_way_to_what_is_reached():
    easy, hard = (
        made("digits", 40, 4, "ridge", ActionKind.LABELS, goal=GoalKind.MIN_COST, reach=r) for r in (0.5, 3.0)
    )
    present = evaluate_present(easy).margins[0]
    assert present < 0 < easy.queries[0].required < hard.queries[0].required
    everybody = replace(easy, goal=GoalKind.MAX_MARGIN)
    from oar_opt.pipeline import solve

    best = solve(everybody).objective
    assert easy.queries[0].required <= best < hard.queries[0].required
    assert easy.queries[0].required == pytest.approx(present + 0.5 * (best - present), abs=1e-3)


def test_a_class_keeps_its_share_of_the_records_that_are_drawn():
    y = np.repeat([0.0, 1.0, 2.0], [60, 30, 10])
    chosen = drawn(20, y, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 20
    assert [int((y[chosen] == code).sum()) for code in range(3)] == [12, 6, 2]
    assert len(drawn(7, y, np.random.default_rng(0))) == 7


@pytest.mark.parametrize(
    "feature,present,aim,allowed",
    [
        ({"direction": "fixed"}, 2.0, 5.0, 2.0),
        ({"type": "binary"}, 1.0, 0.0, 1.0),
        ({"type": "integer"}, 2.0, 3.6, 4.0),
        ({"direction": "increase"}, 2.0, 1.0, 2.0),
        ({"direction": "decrease"}, 2.0, 1.25, 1.25),
        ({"lower": 0, "upper": 3}, 2.0, 7.0, 3.0),
        ({"lower": 0, "upper": 3}, 2.0, -7.0, 0.0),
        ({"upper": 3, "direction": "decrease"}, 2.0, 7.0, 2.0),
    ],
)
def test_values_are_brought_within_a_features_rules(feature, present, aim, allowed):
    assert _allowed_value(feature, present, aim) == allowed


@pytest.mark.parametrize(
    "options,words",
    [
        (("nosuch",), "there are: school"),
        (("school", "--learner", "nosuch"), "--learner: 'nosuch' is unknown"),
        (("school", "--action", "fly"), "--action: 'fly' is unknown"),
        (("school", "--goal", "win"), "--goal: 'win' is unknown"),
        (("school", "--intercept", "maybe"), "--intercept: 'maybe' is unknown"),
        (("school", "--learner", "lad"), "needs targets"),
        (("diabetes", "--learner", "svm"), "needs classes"),
        (("school", "--rows", "3"), "--rows: is 3"),
        (("school", "--members", "60"), "leave at least two"),
        (("school", "--members", "0"), "--members: is 0"),
        (("iris", "--rows", "200"), "has 100 to choose from"),
        (("wine", "--features", "40"), "has 13 features"),
        (("loan", "--features", "6"), "give 5 or 8"),
        (("school", "--goal", "max_helped"), "add --queries 2"),
        (("school", "--queries", "70"), "have the unwanted decision"),
        (("school", "--guards", "70"), "can be guards"),
        (("school", "--radius", "0"), "--radius: is 0"),
        (("school", "--cap", "2"), "--cap: is 2"),
        (("school", "-o", "nosuch"), "is no folder"),
    ],
)
def test_what_cannot_be_made_says_so(oar, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = oar("generate", *options)
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())
    assert not list(tmp_path.iterdir())


def test_a_recipe_of_classes_needs_enough_members_of_one():
    with pytest.raises(InputError, match="can be members"):
        made("iris", 12, 9, "svm", ActionKind.LABELS)


def test_json_of_every_file_has_its_own_name():
    for name, path in benchmarks().items():
        assert json.loads(path.read_text(encoding="utf-8"))["name"] == name
