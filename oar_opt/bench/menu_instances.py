"""Seeded instances of the benchmark over menus, by name.

    <data>-n<records>-d<features>-k<members>-o<options>-<learner>-<intercept>-<goal>-s<seed>

``options`` counts those of every member, staying among them. Data: scikit-learn's iris (versicolor and virginica),
wine (cultivars 0 and 1), breast cancer (``cancer``), diabetes, and its two generators (``blobs`` for two classes,
``linear`` for regression); rows and columns are drawn with the seed, standardised over the rows drawn, and rounded.

The query: for classes, a record that the present learner puts on the wrong side, pushed along ``w`` to a small negative
margin; for regression, a record with its threshold a little above what it gets now. The members are drawn from the
records nearest to it, two thirds of them from those whose class or target holds it back. Their options are small
changes of up to three features (cost: the l1 norm of the change) and, for about half of the members each, another label
(for regression, another target) and withholding.

The sizes are such that the textbook's program closes about a third within five minutes.

Besides, under names that begin with ``prior-``, the three tasks on menus and labels that published models and our
earlier programs left open or took minutes for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np

from oar_opt.bench import label_flips
from oar_opt.discovery import missing_learner
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import evaluate
from oar_opt.parameters import LinearParameters
from oar_opt.problem import (
    Action,
    Budget,
    Collective,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Position,
    Query,
    Records,
    RecourseProblem,
    Vector,
    WithholdAction,
)

REQUIRED = 0.4
"""The margin to reach, in units of the shortfall."""
LABEL_COST, WITHHOLD_COST = 1.0, 0.8
DECIMALS = 4


class Data(StrEnum):
    IRIS = "iris"
    WINE = "wine"
    CANCER = "cancer"
    DIABETES = "diabetes"
    BLOBS = "blobs"
    LINEAR = "linear"

    @property
    def is_regression(self) -> bool:
        return self in (Data.DIABETES, Data.LINEAR)


class Limit(StrEnum):
    """What the collective's budget limits."""

    NOTHING = "nothing"
    MEMBERS = "members"
    TOTAL = "total"


@dataclass(frozen=True)
class MenuSpec:
    """One instance: its sizes, learner, goal, budget and seed.

    ``strength`` is C or alpha. ``shortfall`` is how far the first query's margin is below 0 now, where classes are
    coded -1 and +1 and targets are standardised.
    """

    data: Data
    n: int
    d: int
    k: int
    o: int
    learner: str
    intercept: Intercept
    goal: GoalKind = GoalKind.MAX_MARGIN
    limit: Limit = Limit.NOTHING
    queries: int = 1
    strength: float = 1.0
    shortfall: float = 0.05
    seed: int = 1

    @property
    def name(self) -> str:
        learner, goal = (word.replace("_", "-") for word in (self.learner, self.goal))
        sizes = f"n{self.n}-d{self.d}-k{self.k}-o{self.o}"
        return f"{self.data}-{sizes}-{learner}-{self.intercept}-{goal}-s{self.seed}"

    @property
    def learner_spec(self) -> LearnerSpec:
        if self.learner == "ridge":
            return LearnerSpec("ridge", self.intercept, alpha=self.strength)
        return LearnerSpec(
            self.learner,
            self.intercept,
            C=self.strength,
            delta=0.5 if self.learner == "huber" else None,
            epsilon=0.3 if self.learner == "epsilon_insensitive" else None,
        )

    @property
    def budget(self) -> Budget:
        match self.limit:
            case Limit.MEMBERS:
                return Budget(members=math.ceil(self.k / 2))
            case Limit.TOTAL:
                return Budget(total=0.4 * self.k)
            case _:
                return Budget()


NONE, PENALIZED, FREE = Intercept.NONE, Intercept.PENALIZED, Intercept.FREE
MIN_COST, MIN_MEMBERS, MAX_HELPED = GoalKind.MIN_COST, GoalKind.MIN_MEMBERS, GoalKind.MAX_HELPED
MEMBERS, TOTAL = Limit.MEMBERS, Limit.TOTAL

SPECS = (
    # Ridge: the binaries are those of the menus alone.
    MenuSpec(Data.CANCER, 200, 8, 6, 4, "ridge", FREE),
    MenuSpec(Data.CANCER, 100, 10, 10, 4, "ridge", PENALIZED, MIN_COST),
    MenuSpec(Data.DIABETES, 150, 6, 5, 6, "ridge", FREE),
    MenuSpec(Data.CANCER, 300, 12, 10, 5, "ridge", PENALIZED, limit=MEMBERS),
    MenuSpec(Data.WINE, 130, 8, 7, 5, "ridge", NONE, limit=TOTAL),
    MenuSpec(Data.LINEAR, 250, 15, 10, 4, "ridge", FREE, MIN_MEMBERS, shortfall=0.02),
    MenuSpec(Data.CANCER, 250, 10, 10, 4, "ridge", FREE, MAX_HELPED, queries=3, shortfall=0.02),
    MenuSpec(Data.DIABETES, 400, 10, 12, 8, "ridge", FREE, MIN_COST, shortfall=0.01),
    MenuSpec(Data.CANCER, 500, 30, 12, 5, "ridge", FREE),
    MenuSpec(Data.BLOBS, 500, 20, 20, 4, "ridge", PENALIZED, limit=MEMBERS),
    # The support vector machine: two binaries for each record.
    MenuSpec(Data.IRIS, 50, 4, 5, 3, "svm", PENALIZED),
    MenuSpec(Data.IRIS, 50, 4, 5, 4, "svm", FREE),
    MenuSpec(Data.IRIS, 50, 2, 5, 3, "svm", NONE, MIN_COST),
    MenuSpec(Data.BLOBS, 60, 3, 6, 3, "svm", FREE, MIN_COST),
    MenuSpec(Data.WINE, 80, 5, 6, 4, "svm", NONE, limit=MEMBERS),
    MenuSpec(Data.BLOBS, 100, 2, 6, 4, "svm", FREE),
    MenuSpec(Data.IRIS, 100, 4, 8, 4, "svm", PENALIZED),
    MenuSpec(Data.BLOBS, 120, 5, 8, 4, "svm", PENALIZED, MAX_HELPED, queries=3),
    MenuSpec(Data.WINE, 130, 13, 10, 4, "svm", FREE, MIN_COST),
    MenuSpec(Data.CANCER, 150, 6, 8, 4, "svm", PENALIZED, MIN_MEMBERS, shortfall=0.3),
    MenuSpec(Data.BLOBS, 200, 4, 10, 4, "svm", FREE),
    MenuSpec(Data.CANCER, 300, 10, 12, 5, "svm", NONE, limit=TOTAL),
    MenuSpec(Data.CANCER, 500, 20, 15, 6, "svm", PENALIZED, strength=0.1),
    # Squared hinge: one binary for each record.
    MenuSpec(Data.BLOBS, 50, 2, 5, 3, "squared_hinge", FREE),
    MenuSpec(Data.CANCER, 60, 6, 5, 4, "squared_hinge", PENALIZED),
    MenuSpec(Data.IRIS, 100, 4, 8, 4, "squared_hinge", NONE),
    MenuSpec(Data.BLOBS, 150, 5, 10, 4, "squared_hinge", FREE, MIN_COST),
    MenuSpec(Data.CANCER, 300, 8, 12, 4, "squared_hinge", PENALIZED, limit=MEMBERS),
    # Huber: two.
    MenuSpec(Data.LINEAR, 50, 2, 5, 3, "huber", NONE, MIN_COST, shortfall=0.03, seed=5),
    MenuSpec(Data.DIABETES, 60, 3, 5, 3, "huber", FREE),
    MenuSpec(Data.DIABETES, 200, 6, 8, 4, "huber", PENALIZED),
    MenuSpec(Data.LINEAR, 300, 8, 12, 4, "huber", FREE, limit=MEMBERS),
    # Epsilon-insensitive: four.
    MenuSpec(Data.DIABETES, 50, 2, 5, 3, "epsilon_insensitive", NONE),
    MenuSpec(Data.LINEAR, 60, 3, 5, 4, "epsilon_insensitive", FREE, MIN_COST),
    MenuSpec(Data.DIABETES, 100, 4, 6, 4, "epsilon_insensitive", FREE),
    MenuSpec(Data.LINEAR, 200, 6, 10, 4, "epsilon_insensitive", PENALIZED, MIN_MEMBERS, shortfall=0.018),
)
"""The instances that ridge, svm, squared_hinge, huber and epsilon_insensitive allow."""

MORE_SPECS = (
    MenuSpec(Data.BLOBS, 60, 3, 5, 3, "l1_svm", NONE, MIN_COST, seed=3),
    MenuSpec(Data.CANCER, 100, 8, 6, 4, "l1_svm", FREE),
    MenuSpec(Data.DIABETES, 80, 4, 5, 3, "lad", FREE),
    MenuSpec(Data.IRIS, 100, 4, 8, 4, "logistic", PENALIZED),
    MenuSpec(Data.BLOBS, 100, 5, 8, 4, "logistic", FREE, MIN_COST),
    MenuSpec(Data.CANCER, 200, 8, 10, 4, "logistic", FREE),
)
"""Learners whose optimum is not unique, and one whose conditions the textbook's program cannot state."""


# -- the data ---


def _draw_records(spec: MenuSpec, draw: np.random.Generator) -> Records:
    X, y = load_data(spec.data, spec.n, spec.d, spec.seed)
    rows = np.sort(draw.permutation(len(y))[: spec.n])
    columns = np.sort(draw.permutation(X.shape[1])[: spec.d])
    if (len(rows), len(columns)) != (spec.n, spec.d):
        raise InputError(spec.name, f"has more than the {len(y)} records and {X.shape[1]} features of its data")
    y = y[rows]
    if spec.data.is_regression:
        y = np.round((y - y.mean()) / y.std(), DECIMALS)
    part = X[np.ix_(rows, columns)]
    return Records(np.round((part - part.mean(axis=0)) / part.std(axis=0), DECIMALS), y, np.ones(spec.n))


def load_data(data: Data, n: int, d: int, seed: int) -> tuple[Any, Vector]:
    """All rows and columns of the data; for a generator, ``n`` and ``d`` of them."""
    from sklearn import datasets

    match data:
        case Data.IRIS:
            return _of_classes(*datasets.load_iris(return_X_y=True), negative=1, positive=2)
        case Data.WINE:
            return _of_classes(*datasets.load_wine(return_X_y=True), negative=0, positive=1)
        case Data.CANCER:
            return _of_classes(*datasets.load_breast_cancer(return_X_y=True), negative=0, positive=1)
        case Data.DIABETES:
            X, y = datasets.load_diabetes(return_X_y=True, scaled=False)
            return X, np.asarray(y, dtype=np.float64)
        case Data.LINEAR:
            informative = max(2, d // 2)
            X, y = datasets.make_regression(n, d, n_informative=informative, noise=40.0, random_state=seed)
            return X, y
        case _:
            X, y = datasets.make_classification(
                n,
                d,
                n_informative=max(2, d // 2),
                n_redundant=d // 4,
                flip_y=0.1,
                class_sep=0.8,
                random_state=seed,
            )
            return _of_classes(X, y, negative=0, positive=1)


def _of_classes(X: Any, y: Any, *, negative: int, positive: int) -> tuple[Any, Vector]:
    kept = (y == negative) | (y == positive)
    return X[kept], np.where(y[kept] == positive, 1.0, -1.0)


# -- query, members, options ---


def make(spec: MenuSpec) -> RecourseProblem:
    """The instance of a specification; it depends on nothing else.

    Raises
    ------
    UnsupportedError : there is no such learner here, and the query depends on the present one.
    """
    draw = np.random.default_rng([spec.seed, spec.n, spec.d, spec.k, spec.o])
    records = _draw_records(spec, draw)
    present = present_parameters(spec.name, records, spec.learner_spec, spec.data.is_regression)
    queries = _draw_queries(spec, draw, records, present)
    members = _draw_members(spec, draw, records, queries[0])
    return RecourseProblem(
        name=spec.name,
        records=records,
        learner=spec.learner_spec,
        collective=Collective(tuple(_draw_member(spec, draw, records, int(i)) for i in members), budget=spec.budget),
        queries=queries,
        goal=spec.goal,
        classes=None if spec.data.is_regression else ("negative", "positive"),
        # Where an optimum of the learner is not unique, all methods take the best one.
        position=Position.OPTIMISTIC,
    )


def present_parameters(name: str, records: Records, learner: LearnerSpec, is_regression: bool) -> LinearParameters:
    """What the learner is now.

    Raises
    ------
    UnsupportedError : there is no such learner here.
    """
    nobody = RecourseProblem(
        name=name,
        records=records,
        learner=learner,
        collective=Collective(()),
        queries=(Query("anybody", tuple(records.X[0].tolist()), 1.0),),
        goal=GoalKind.MAX_MARGIN,
        classes=None if is_regression else ("negative", "positive"),
        position=Position.OPTIMISTIC,
    )
    missing = missing_learner(nobody)
    if missing:
        raise UnsupportedError(f"{name}: {missing}")
    parameters = evaluate(nobody, ()).parameters
    assert isinstance(parameters, LinearParameters)
    return parameters


def _draw_queries(
    spec: MenuSpec, draw: np.random.Generator, records: Records, present: LinearParameters
) -> tuple[Query, ...]:
    """Query ``q`` is short of ``(q + 1)`` times the specification's shortfall."""
    w, f = np.array(present.w), records.X @ np.array(present.w) + present.b
    wrong = np.argsort(np.abs(f), kind="stable")[: 4 * spec.queries + spec.n // 10]
    rows = draw.choice(wrong, spec.queries, replace=False)
    required = REQUIRED * spec.shortfall if spec.goal.needs_required else None
    found = []
    for q, row in enumerate(rows):
        margin, x, threshold = -(q + 1) * spec.shortfall, records.X[row], 0.0
        if spec.data.is_regression:
            threshold = round(float(f[row]) - margin, DECIMALS)
        else:
            x = np.round(x + (margin - float(f[row])) / float(w @ w) * w, DECIMALS)
        found.append(Query(f"q{q}", tuple(x.tolist()), 1.0, threshold, required))
    return tuple(found)


def _draw_members(spec: MenuSpec, draw: np.random.Generator, records: Records, query: Query) -> list[int]:
    """Positions: two of three among the nearest to the query of those that hold it back, the others of the rest."""
    distance = np.linalg.norm(records.X - np.array(query.x), axis=1)
    order = np.argsort(distance, kind="stable")
    against = records.y[order] < (query.threshold if spec.data.is_regression else 0.0)
    many = (2 * spec.k + 2) // 3
    chosen = [
        draw.choice(group[: 2 * count], count, replace=False)
        for group, count in ((order[against], many), (order[~against], spec.k - many))
    ]
    return sorted(int(i) for part in chosen for i in part)


def _draw_member(spec: MenuSpec, draw: np.random.Generator, records: Records, i: int) -> Member:
    x, y = records.X[i], float(records.y[i])
    actions: list[Action] = []
    menu: list[Option] = []
    if draw.random() < 0.5:
        if spec.data.is_regression:
            target = round(y + float(draw.choice([-0.5, 0.5])), DECIMALS)
            menu.append(Option(OptionKind.MENU, tuple(x.tolist()), target, 1.0, LABEL_COST))
        else:
            actions.append(LabelAction((-y,), LABEL_COST))
    if draw.random() < 0.5:
        actions.append(WithholdAction(WITHHOLD_COST))
    menu += [_draw_change(draw, x, y) for _ in range(spec.o - 1 - len(actions) - len(menu))]
    return Member(i, tuple(actions), tuple(menu))


def _draw_change(draw: np.random.Generator, x: Vector, y: float) -> Option:
    """Up to three features move by about half a standard deviation each."""
    columns = draw.permutation(len(x))[: min(len(x), int(draw.integers(1, 4)))]
    step = np.zeros(len(x))
    step[columns] = np.round(np.clip(draw.normal(0.0, 0.5, len(columns)), -1.0, 1.0), 2)
    cost = round(float(np.abs(step).sum()), 2)
    return Option(OptionKind.MENU, tuple(np.round(x + step, DECIMALS).tolist()), y, 1.0, max(cost, 0.01))


# -- by name ---

PRIOR_SPECS: Mapping[str, MenuSpec] = MappingProxyType(
    {
        "prior-menus-svm-n300": MenuSpec(Data.BLOBS, 300, 6, 10, 4, "svm", FREE),
        "prior-menus-ridge-n200": MenuSpec(Data.CANCER, 200, 8, 15, 8, "ridge", FREE),
    }
)


def _label_flips(name: str, n: int) -> RecourseProblem:
    (problem,) = label_flips.make_problems(n, 1)
    return replace(problem, name=name)


def _renamed(name: str, spec: MenuSpec) -> RecourseProblem:
    return replace(make(spec), name=name)


@cache
def menu_instances() -> Mapping[str, Callable[[], RecourseProblem]]:
    """The maker of every instance, by name, in the order of the benchmark."""
    found: dict[str, Callable[[], RecourseProblem]] = {spec.name: partial(make, spec) for spec in (*SPECS, *MORE_SPECS)}
    assert len(found) == len(SPECS) + len(MORE_SPECS), "two specifications have one name"
    for n in (20, 30):
        name = f"prior-label-flips-n{n}"
        found[name] = partial(_label_flips, name, n)
    for name, spec in PRIOR_SPECS.items():
        found[name] = partial(_renamed, name, spec)
    return MappingProxyType(found)
