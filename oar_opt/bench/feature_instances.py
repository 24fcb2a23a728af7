"""Seeded instances of the benchmark over feature changes, by name.

    <data>-n<records>-d<features>-k<members>-<norm>-r<radius>-<learner>-<intercept>-<goal>-s<seed>

``radius`` is in hundredths.

Data: scikit-learn's breast cancer (``cancer``), iris (versicolor and virginica), wine (cultivars 0 and 1) and, for
regression, diabetes: the first columns, standardised over all rows and rounded; rows are drawn with the seed. Ridge has
``alpha = 1``, the support vector machine ``C = 1``. All members have one action: to move all features, which are
continuous, within the radius. They are drawn from all records.

The query is one of the five records that were left out and that the present learner decides most narrowly; it wants
the other decision. For regression it is any of those left out, and its threshold lies the specification's ``rise``
above what it gets now. For the least cost it requires the margin that the specification states, which local search
reaches, and costs are l1 norms or squared l2 norms: with l2 norms, a solver's tolerance of 1e-8 on the squares would
let every idle member move by 1e-4 for nothing, and that would be all that is measured.

Besides, under names that begin with ``poisoning-``, three generated tasks of the shapes of the small instances of ridge
poisoning in arXiv 2501.07275 (Guedes-Ayala, Schewe, Suvak, Anjos): ridge regression on features in [0, 1], some of them
one-hot, with a few records that may go anywhere. Their goal is the largest error of training, which this project does
not have; here it is the largest prediction for one query. The data are not theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

import numpy as np

from oar_opt.bench.menu_instances import DECIMALS, Data, load_data, present_parameters
from oar_opt.errors import InputError
from oar_opt.problem import (
    Collective,
    CostKind,
    Feature,
    FeatureAction,
    FeatureType,
    GoalKind,
    Intercept,
    LearnerSpec,
    Matrix,
    Member,
    Norm,
    Position,
    Query,
    Records,
    RecourseProblem,
    Vector,
)

NARROWEST = 5
RISE = 0.1
"""Of the poisoning tasks' thresholds above the present prediction."""
NOISE = 0.1
"""Standard deviation of the targets' noise in the poisoning tasks."""


@dataclass(frozen=True)
class FeatureSpec:
    """One instance: its sizes, the members' action, learner, goal and seed.

    ``required`` is the margin that the least cost must buy; ``rise`` is that of a regression's threshold.
    """

    data: Data
    n: int
    d: int
    k: int
    radius: float
    learner: str
    norm: Norm = Norm.L2
    intercept: Intercept = Intercept.PENALIZED
    required: float | None = None
    cost: CostKind = CostKind.L1
    rise: float = 0.1
    seed: int = 1

    @property
    def goal(self) -> GoalKind:
        return GoalKind.MAX_MARGIN if self.required is None else GoalKind.MIN_COST

    @property
    def name(self) -> str:
        sizes = f"n{self.n}-d{self.d}-k{self.k}-{self.norm}-r{round(100 * self.radius)}"
        return f"{self.data}-{sizes}-{self.learner}-{self.intercept}-{self.goal.replace('_', '-')}-s{self.seed}"

    @property
    def learner_spec(self) -> LearnerSpec:
        if self.learner == "ridge":
            return LearnerSpec("ridge", self.intercept, alpha=1.0)
        return LearnerSpec(self.learner, self.intercept, C=1.0)


FREE, LINF = Intercept.FREE, Norm.LINF

SPECS = (
    # Ridge: what is not convex is in the products alone.
    FeatureSpec(Data.CANCER, 40, 3, 3, 0.5, "ridge"),
    FeatureSpec(Data.IRIS, 40, 3, 5, 0.5, "ridge", LINF, required=0.02),
    FeatureSpec(Data.CANCER, 40, 5, 5, 0.5, "ridge"),
    FeatureSpec(Data.DIABETES, 100, 3, 3, 0.5, "ridge", intercept=FREE),
    FeatureSpec(Data.WINE, 100, 5, 5, 0.5, "ridge"),
    FeatureSpec(Data.CANCER, 100, 5, 5, 0.3, "ridge", intercept=FREE),
    FeatureSpec(Data.WINE, 100, 10, 10, 0.3, "ridge", LINF),
    FeatureSpec(Data.CANCER, 100, 10, 10, 0.5, "ridge"),
    FeatureSpec(Data.DIABETES, 200, 5, 10, 0.3, "ridge"),
    FeatureSpec(Data.CANCER, 200, 5, 10, 0.3, "ridge", required=0.05, cost=CostKind.SQL2),
    FeatureSpec(Data.CANCER, 200, 10, 10, 0.1, "ridge", LINF),
    FeatureSpec(Data.CANCER, 400, 5, 10, 0.5, "ridge", intercept=FREE),
    FeatureSpec(Data.DIABETES, 400, 10, 20, 0.1, "ridge", required=0.01, rise=0.01),
    FeatureSpec(Data.CANCER, 400, 10, 20, 0.3, "ridge"),
    FeatureSpec(Data.CANCER, 400, 10, 20, 0.5, "ridge"),
    # The support vector machine: besides, which records lie beyond the margin.
    FeatureSpec(Data.IRIS, 40, 3, 3, 0.3, "svm"),
    FeatureSpec(Data.WINE, 40, 3, 3, 0.3, "svm", intercept=FREE),
    FeatureSpec(Data.CANCER, 40, 3, 3, 0.5, "svm"),
    FeatureSpec(Data.CANCER, 40, 5, 5, 0.5, "svm"),
    FeatureSpec(Data.CANCER, 100, 5, 5, 0.3, "svm", required=0.05, cost=CostKind.SQL2, seed=3),
    FeatureSpec(Data.CANCER, 100, 5, 5, 0.1, "svm", LINF, seed=2),
    FeatureSpec(Data.CANCER, 100, 10, 10, 0.1, "svm"),
    FeatureSpec(Data.CANCER, 200, 5, 5, 0.3, "svm"),
    FeatureSpec(Data.CANCER, 400, 10, 10, 0.1, "svm"),
)


@dataclass(frozen=True)
class PoisoningSpec:
    """Ridge regression on ``numerical`` features and one-hot groups of ``columns`` each; ``k`` of ``n`` may move."""

    numerical: int
    groups: int
    n: int
    k: int
    columns: int = 3
    seed: int = 1

    @property
    def d(self) -> int:
        return self.numerical + self.groups * self.columns

    @property
    def name(self) -> str:
        return f"poisoning-n{self.n}-numerical{self.numerical}-categorical{self.groups}-k{self.k}-s{self.seed}"


POISONING_SPECS = (PoisoningSpec(2, 0, 5, 1), PoisoningSpec(1, 1, 300, 12), PoisoningSpec(5, 1, 300, 12))


# -- moving within a radius ---


def make(spec: FeatureSpec) -> RecourseProblem:
    """The instance of a specification; it depends on nothing else."""
    X, y = _standardised(spec)
    draw = np.random.default_rng([spec.seed, spec.n, spec.d, spec.k])
    order = draw.permutation(len(y))
    rows, left = np.sort(order[: spec.n]), order[spec.n :]
    records = Records(X[rows], y[rows], np.ones(spec.n))
    members = sorted(int(i) for i in draw.choice(spec.n, spec.k, replace=False))
    action = FeatureAction(spec.norm, spec.radius)
    return RecourseProblem(
        name=spec.name,
        records=records,
        learner=spec.learner_spec,
        collective=Collective(tuple(Member(i, (action,)) for i in members), cost=spec.cost),
        queries=(_draw_query(spec, draw, records, X[left]),),
        goal=spec.goal,
        classes=None if spec.data.is_regression else ("negative", "positive"),
        # Where an optimum of the learner is not unique, all methods take the best one.
        position=Position.OPTIMISTIC,
    )


def _standardised(spec: FeatureSpec) -> tuple[Matrix, Vector]:
    """All rows, of the first columns."""
    X, y = load_data(spec.data, spec.n, spec.d, spec.seed)
    if spec.n >= len(y) or spec.d > X.shape[1]:
        raise InputError(
            spec.name,
            f"has {spec.n} records and {spec.d} features, and its data {len(y)} and {X.shape[1]}",
            "take fewer, and leave a record for the query",
        )
    part = np.asarray(X[:, : spec.d], dtype=np.float64)
    if spec.data.is_regression:
        y = np.round((y - y.mean()) / y.std(), DECIMALS)
    return np.round((part - part.mean(axis=0)) / part.std(axis=0), DECIMALS), y


def _draw_query(spec: FeatureSpec, draw: np.random.Generator, records: Records, left: Matrix) -> Query:
    present = present_parameters(spec.name, records, spec.learner_spec, spec.data.is_regression)
    f = left @ np.array(present.w) + present.b
    if spec.data.is_regression:
        row = int(draw.integers(len(left)))
        return Query("q", tuple(left[row].tolist()), 1.0, round(float(f[row]) + spec.rise, DECIMALS), spec.required)
    row = int(draw.choice(np.argsort(np.abs(f), kind="stable")[:NARROWEST]))
    return Query("q", tuple(left[row].tolist()), -1.0 if f[row] > 0 else 1.0, required=spec.required)


# -- poisoning ---


def make_poisoning(spec: PoisoningSpec) -> RecourseProblem:
    """The task of a specification; it depends on nothing else."""
    draw = np.random.default_rng([spec.seed, spec.n, spec.d, spec.k])
    X = _draw_features(spec, draw, spec.n + 1)
    w = draw.normal(0.0, 1.0, spec.d)
    y = X[:-1] @ w + draw.normal(0.0, NOISE, spec.n)
    records = Records(X[:-1], np.round((y - y.min()) / (y.max() - y.min()), DECIMALS), np.ones(spec.n))
    learner = LearnerSpec("ridge", Intercept.PENALIZED, alpha=1.0)
    present = present_parameters(spec.name, records, learner, is_regression=True)
    threshold = round(present.value(tuple(X[-1].tolist())) + RISE, DECIMALS)
    members = sorted(int(i) for i in draw.choice(spec.n, spec.k, replace=False))
    return RecourseProblem(
        name=spec.name,
        records=records,
        learner=learner,
        collective=Collective(tuple(Member(i, (FeatureAction(Norm.LINF, 1.0),)) for i in members)),
        queries=(Query("q", tuple(X[-1].tolist()), 1.0, threshold),),
        goal=GoalKind.MAX_MARGIN,
        features=_features(spec),
    )


def _draw_features(spec: PoisoningSpec, draw: np.random.Generator, rows: int) -> Matrix:
    X = np.zeros((rows, spec.d))
    X[:, : spec.numerical] = np.round(draw.random((rows, spec.numerical)), DECIMALS)
    for g in range(spec.groups):
        X[np.arange(rows), spec.numerical + g * spec.columns + draw.integers(spec.columns, size=rows)] = 1.0
    return X


def _features(spec: PoisoningSpec) -> tuple[Feature, ...]:
    numbers = [Feature(f"number{j}", lower=0.0, upper=1.0) for j in range(spec.numerical)]
    columns = [
        Feature(f"category{g}_{c}", FeatureType.CATEGORICAL, group=f"category{g}")
        for g in range(spec.groups)
        for c in range(spec.columns)
    ]
    return (*numbers, *columns)


# -- by name ---


@cache
def feature_instances() -> Mapping[str, Callable[[], RecourseProblem]]:
    """The maker of every instance, by name, in the order of the benchmark."""
    found: dict[str, Callable[[], RecourseProblem]] = {spec.name: partial(make, spec) for spec in SPECS}
    found |= {spec.name: partial(make_poisoning, spec) for spec in POISONING_SPECS}
    assert len(found) == len(SPECS) + len(POISONING_SPECS), "two specifications have one name"
    return MappingProxyType(found)
