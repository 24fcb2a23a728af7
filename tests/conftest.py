"""Makers of small seeded problems and other things that several tests need, handed to them as fixtures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  (its own linear algebra library must be loaded to be limited)
from threadpoolctl import threadpool_limits

from oar_opt import retraining_search
from oar_opt.contracts import Fit
from oar_opt.discovery import heuristics, learners
from oar_opt.evaluate import Evaluation, evaluate
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Direction,
    Feature,
    FeatureAction,
    FeatureConstraint,
    FeatureType,
    GoalKind,
    Intercept,
    LabelAction,
    LearnerSpec,
    Matrix,
    Member,
    Move,
    Norm,
    Option,
    OptionKind,
    Position,
    Prior,
    Query,
    Records,
    RecourseProblem,
    Sense,
    WithholdAction,
    resulting_records,
)
from oar_opt.rules import budget_violations
from oar_opt.verification import move_violations

ONE_THREAD = threadpool_limits(1)
"""Two processes run the tests: more threads than cores would wait for each other."""

INTERCEPTS = tuple(Intercept)
GOALS = tuple(GoalKind)
REGRESSION = ("huber", "epsilon_insensitive", "lad")
CONSTANTS: dict[str, dict[str, float]] = {"huber": {"delta": 0.5}, "epsilon_insensitive": {"epsilon": 0.2}}


def random_problem(
    seed: int,
    kind: str = "ridge",
    intercept: str = "none",
    goal: str = "max_margin",
    *,
    n: int = 9,
    d: int = 2,
    members: int = 2,
    options: int = 2,
    strength: float = 1.0,
    prior: bool = False,
    labels: bool = False,
    withhold: bool = False,
    joins: bool = False,
    identical: bool = False,
    budget: Budget | None = None,
    queries: int = 1,
    guards: int = 0,
    regression: bool = False,
    required: float = 0.1,
    position: Position = Position.OPTIMISTIC,
    core: int = 2,
) -> RecourseProblem:
    """A problem with menus for a linear learner.

    ``strength`` is C or alpha. The first two records are of both classes; the first ``core`` records are of no member.
    """
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n, d))
    slope = draw.normal(size=d)
    noisy = X @ slope + 0.6 * draw.normal(size=n)
    y = noisy if regression else np.where(noisy > 0, 1.0, -1.0)
    if not regression:
        y[:2] = 1.0, -1.0
    s = draw.choice([1.0, 1.0, 2.0, 0.5, 0.0], size=n)
    s[:2] = 1.0
    chosen = draw.choice(np.arange(core, n), members, replace=False)
    if joins and members:
        s[chosen[0]] = 0.0

    def option(i: int) -> Option:
        new_y = float(draw.normal()) if regression else float(draw.choice([-1.0, 1.0]))
        x = tuple((X[i] + 0.8 * draw.normal(size=d)).tolist())
        weight, cost = float(draw.choice([1.0, 2.0, 0.0])), round(float(draw.uniform(0.5, 2)), 3)
        return Option(OptionKind.MENU, x, new_y, weight, cost)

    def actions(i: int) -> tuple[Any, ...]:
        found: list[Any] = []
        if labels:
            found.append(LabelAction((float(draw.normal()),) if regression else (-1.0, 1.0), 0.7))
        if withhold:
            found.append(WithholdAction(0.9))
        return tuple(found)

    def menu(i: int) -> tuple[Option, ...]:
        found = [option(i) for _ in range(options)]
        return (*found, found[0]) if identical and found else tuple(found)

    team = tuple(Member(int(i), actions(int(i)), menu(int(i))) for i in chosen)

    def subject(name: str, required: float | None) -> Query:
        target = float(draw.choice([-1.0, 1.0]))
        threshold = float(0.3 * draw.normal()) if regression else 0.0
        return Query(name, tuple(draw.normal(size=d).tolist()), target, threshold, required)

    asked = tuple(subject(f"q{q}", required * (1 + q)) for q in range(queries))
    kept = tuple(subject(f"guard{g}", -0.5) for g in range(guards))
    w0 = tuple(draw.normal(size=d).tolist())
    b0 = 0.4 if intercept == "penalized" else 0.0
    spec = LearnerSpec(
        kind,
        Intercept(intercept),
        C=None if kind == "ridge" else strength,
        alpha=strength if kind == "ridge" else None,
        prior=Prior(w0, b0) if prior else None,
        **CONSTANTS.get(kind, {}),
    )
    return RecourseProblem(
        f"random-{seed}",
        Records(X, y, s),
        spec,
        Collective(team, budget=budget or Budget()),
        asked,
        GoalKind(goal),
        classes=None if regression else ("no", "yes"),
        guards=kept,
        position=position,
    )


def varied_problem(seed: int, kind: str, intercept: str, goal: str) -> RecourseProblem:
    """A problem whose every other trait is drawn by the seed."""
    draw = np.random.default_rng([seed, 17])
    regression = kind == "ridge" and bool(draw.random() < 0.3)
    budgets = [
        Budget(),
        Budget(each=1.2),
        Budget(total=1.9),
        Budget(members=1),
        Budget(each=1.5, total=2.5, members=2),
        Budget(members=0),
    ]
    chances = [0.3, 0.15, 0.2, 0.2, 0.1, 0.05]
    return random_problem(
        seed,
        kind,
        intercept,
        goal,
        n=int(draw.integers(6, 10)),
        d=int(draw.integers(1, 4)),
        members=int(draw.integers(1, 4)) if kind == "ridge" else int(draw.integers(1, 3)),
        options=int(draw.integers(1, 3)),
        strength=float(draw.choice([0.3, 1.0, 3.0])),
        prior=bool(draw.random() < 0.3),
        labels=bool(draw.random() < 0.3),
        withhold=bool(draw.random() < 0.3),
        joins=bool(draw.random() < 0.3),
        identical=bool(draw.random() < 0.2),
        budget=budgets[int(draw.choice(len(budgets), p=chances))],
        queries=int(draw.choice([1, 2, 3], p=[0.5, 0.3, 0.2])),
        guards=int(draw.choice([0, 1], p=[0.7, 0.3])),
        regression=regression,
        required=float(draw.choice([0.02, 0.1, 0.3])),
    )


def tiny_problem(seed: int, kind: str, intercept: str, goal: str) -> RecourseProblem:
    """A few records, most of them members' own: one choice may change the learner altogether."""
    draw = np.random.default_rng([seed, 9])
    return random_problem(
        seed,
        kind,
        intercept,
        goal,
        n=int(draw.integers(3, 8)),
        members=int(draw.integers(1, 3)),
        options=int(draw.integers(0, 3)),
        core=int(draw.integers(0, 2)),
        withhold=True,
        labels=bool(draw.random() < 0.5),
        joins=bool(draw.random() < 0.5),
        strength=float(10 ** draw.uniform(-2, 1.5)),
        d=int(draw.integers(1, 4)),
        prior=bool(draw.random() < 0.3),
        identical=bool(draw.random() < 0.3),
        required=float(draw.choice([0.02, 0.1, 0.3])),
        queries=int(draw.integers(1, 3)),
    )


def small_problem(
    seed: int,
    kind: str,
    intercept: str = "none",
    goal: str = "max_margin",
    *,
    position: Position = Position.OPTIMISTIC,
    most_members: int = 3,
    strengths: tuple[float, ...] = (0.3, 1.0, 3.0),
) -> RecourseProblem:
    """A problem of any learner with finite options; all else is drawn by the seed, sizes for many quick solves."""
    draw = np.random.default_rng([seed, 23])
    budgets = [Budget(), Budget(each=1.3), Budget(total=2.2), Budget(members=1), Budget(1.6, 2.8, 2)]
    return random_problem(
        seed,
        kind,
        intercept,
        goal,
        n=int(draw.integers(6, 9)),
        d=int(draw.integers(1, 4)),
        members=int(draw.integers(1, most_members + 1)),
        options=int(draw.integers(1, 3)),
        strength=float(draw.choice(strengths)),
        prior=bool(draw.random() < 0.3),
        labels=bool(draw.random() < 0.3),
        withhold=bool(draw.random() < 0.3),
        joins=bool(draw.random() < 0.4),
        identical=bool(draw.random() < 0.2),
        budget=budgets[int(draw.choice(len(budgets), p=[0.5, 0.1, 0.15, 0.1, 0.15]))],
        queries=int(draw.choice([1, 2, 3], p=[0.5, 0.3, 0.2])),
        guards=int(draw.choice([0, 1], p=[0.75, 0.25])),
        regression=kind in REGRESSION or (kind == "ridge" and bool(draw.random() < 0.5)),
        required=float(draw.choice([0.02, 0.1, 0.3])),
        position=position,
    )


def combination(seed: int) -> tuple[str, str, str]:
    """Learner, intercept and goal by turns, so that consecutive seeds cover all of them."""
    every = list(product(("ridge", "svm"), (str(i) for i in INTERCEPTS), (str(g) for g in GOALS)))
    return every[seed % len(every)]


@pytest.fixture(scope="session")
def make() -> Callable[..., RecourseProblem]:
    """:func:`random_problem`."""
    return random_problem


@pytest.fixture(scope="session")
def make_varied() -> Callable[[int], RecourseProblem]:
    """A varied problem by its seed alone; 24 consecutive seeds cover every learner, intercept and goal."""
    return lambda seed: varied_problem(seed, *combination(seed))


@pytest.fixture(scope="session")
def make_tiny() -> Callable[[int], RecourseProblem]:
    """A tiny problem by its seed alone; 24 consecutive seeds cover every learner, intercept and goal."""
    return lambda seed: tiny_problem(seed, *combination(seed))


@pytest.fixture(scope="session")
def make_small() -> Callable[..., RecourseProblem]:
    """:func:`small_problem`."""
    return small_problem


@pytest.fixture(scope="session")
def moves_of() -> Callable[[RecourseProblem], list[tuple[tuple[Option, ...], tuple[Move, ...]]]]:
    """Every admissible choice with the moves that it means, listed independently of the code under test."""

    def every(problem: RecourseProblem) -> list[tuple[tuple[Option, ...], tuple[Move, ...]]]:
        budget, found = problem.collective.budget, []
        for choice in product(*(problem.options(member) for member in problem.collective.members)):
            acting = [option for option in choice if option.kind is not OptionKind.STAY]
            costs = [option.cost for option in acting]
            if budget.each is not None and any(cost > budget.each + 1e-9 for cost in costs):
                continue
            if budget.total is not None and sum(costs) > budget.total + 1e-9:
                continue
            if budget.members is not None and len(acting) > budget.members:
                continue
            moves = tuple(
                Move(member.record, option.x, option.y, option.s, option.cost)
                for member, option in zip(problem.collective.members, choice, strict=True)
                if option.kind is not OptionKind.STAY
            )
            found.append((choice, moves))
        return found

    return every


def random_feature(draw: np.random.Generator, j: int, x: Sequence[float], discrete: bool) -> Feature:
    """A feature of any type with rules that its values ``x`` mostly obey."""
    whole = (FeatureType.INTEGER, FeatureType.ORDINAL, FeatureType.BINARY)
    kind = draw.choice(whole) if discrete or draw.random() < 0.4 else FeatureType.CONTINUOUS
    step = None
    if kind is FeatureType.CONTINUOUS and (discrete or draw.random() < 0.3):
        step = float(draw.choice([0.25, 0.5]))
    elif kind is FeatureType.INTEGER and draw.random() < 0.3:
        step = 2.0
    low = round(min(x) + float(draw.choice([-0.5, 0.0, 0.3])), 2) if draw.random() < 0.4 else None
    high = round(max(x) + float(draw.choice([0.5, 0.0, -0.3])), 2) if draw.random() < 0.4 else None
    return Feature(
        f"x{j}",
        FeatureType(kind),
        lower=low,
        upper=high if low is None or high is None else max(low, high),
        direction=Direction(draw.choice(tuple(Direction), p=[0.55, 0.15, 0.15, 0.15])),
        step=step,
        scale=float(draw.choice([1.0, 1.0, 0.5, 2.0])),
    )


def random_rules_problem(
    seed: int,
    kind: str = "ridge",
    goal: str = "max_margin",
    *,
    n: int = 12,
    members: int = 2,
    discrete: bool = False,
    more: int = 2,
    queries: int = 1,
    required: float = 0.05,
    others: bool = False,
) -> RecourseProblem:
    """Members that may move features under random rules: types, steps, bounds, directions, groups, constraints, norms,
    charges and budgets. Some records break their own rules. ``discrete``: every feature moves in steps; ``others``:
    members may report another label or withhold, too."""
    draw = np.random.default_rng(seed)
    d = int(draw.integers(1, more + 1))
    X = np.round(draw.normal(size=(n, d)), 1)
    features = [random_feature(draw, j, X[:members, j].tolist(), discrete) for j in range(d)]
    for j, feature in enumerate(features):
        if feature.type is FeatureType.BINARY:
            X[:, j] = draw.integers(0, 2, n)
        elif feature.type is not FeatureType.CONTINUOUS:
            X[:, j] = np.round(2 * X[:, j])
    if draw.random() < 0.2:
        X[0, 0] += 0.4
    if draw.random() < 0.5:
        features += [Feature(f"is{c}", FeatureType.CATEGORICAL, group="is") for c in range(3)]
        X = np.hstack([X, np.eye(3)[draw.integers(0, 3, n)]])
    constraints = []
    for _ in range(int(draw.choice([0, 0, 1, 2]))):
        columns = draw.choice(len(features), min(2, len(features)), replace=False)
        row = [(features[int(j)].name, float(draw.choice([1.0, -1.0, 2.0]))) for j in columns]
        left = X[:members][:, columns] @ np.array([value for _, value in row])
        ends = ((Sense.LE, left.max() + 0.5), (Sense.GE, left.min() - 0.5), (Sense.EQ, left[0]))
        sense, end = ends[int(draw.choice(3, p=[0.45, 0.45, 0.1]))]
        constraints.append(FeatureConstraint(tuple(row), sense, float(end)))
    y = np.where(X @ draw.normal(size=X.shape[1]) + 0.5 * draw.normal(size=n) > 0, 1.0, -1.0)
    y[members : members + 2] = 1.0, -1.0
    radius, charge = round(float(draw.uniform(0.5, 2)), 2), float(draw.choice([0.0, 0.0, 0.3]))
    actions: tuple[Any, ...] = (FeatureAction(Norm(draw.choice(tuple(Norm))), radius, charge),)
    if others:
        labels = (0.0, 1.0) if kind == "nearest_centroid" else (-1.0, 1.0)
        actions += (LabelAction(labels, 0.7), WithholdAction(0.9))
    cost = CostKind(draw.choice(tuple(CostKind)))
    limits = [round(float(draw.uniform(0.4, 2.5)), 2) if draw.random() < 0.3 else None for _ in range(2)]
    cap = int(draw.integers(0, members + 1)) if draw.random() < 0.2 else None
    spec = LearnerSpec(kind, Intercept.PENALIZED, **({"alpha": 1.0} if kind == "ridge" else {"C": 1.0}))
    if kind == "nearest_centroid":
        y, spec = (y > 0) * 1.0, LearnerSpec(kind)
    wish = 1.0 if kind == "nearest_centroid" else float(draw.choice([-1.0, 1.0]))
    asked = [Query(f"q{q}", tuple(draw.normal(size=X.shape[1])), wish, required=required) for q in range(queries)]
    return RecourseProblem(
        f"rules-{seed}",
        Records(X, y, np.ones(n)),
        spec,
        Collective(tuple(Member(i, actions) for i in range(members)), cost, Budget(limits[0], limits[1], cap)),
        tuple(asked),
        GoalKind(goal),
        classes=("a", "b"),
        features=tuple(features),
        constraints=tuple(constraints),
    )


@pytest.fixture
def random_rules() -> Callable[..., RecourseProblem]:
    """Makes a problem with feature changes under random rules."""
    return random_rules_problem


@pytest.fixture
def oar(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the entry point in this process; returns exit code, standard output and standard error."""
    from oar_opt.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["oar", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def trained_once() -> Iterator[None]:
    """Within one file no learner trains twice for the same records.

    Enumeration, heuristics, searches and verification of one problem ask for the same trainings again and again, which
    give the same each time. Not for tests that change how learners train.
    """
    with pytest.MonkeyPatch.context() as patch:
        for learner in learners().values():
            patch.setattr(learner, "fit", _remembered(learner.fit))
        yield


def _remembered(fit: Callable[[RecourseProblem, Records], Fit]) -> Callable[[RecourseProblem, Records], Fit]:
    known: dict[tuple[Any, ...], Fit] = {}

    def remembered(problem: RecourseProblem, records: Records) -> Fit:
        data = (records.X.tobytes(), records.y.tobytes(), records.s.tobytes())
        key = (problem.learner, problem.update, problem.classes, *data)
        if key not in known:
            known[key] = fit(problem, records)
        return known[key]

    return remembered


@pytest.fixture
def unsettle(monkeypatch: pytest.MonkeyPatch) -> Callable[[Evaluation], None]:
    """Lets searches re-train so inaccurately for the choices with one result that nothing follows from it."""
    real = retraining_search.evaluate

    def make_vague(best: Evaluation) -> None:
        wanted = resulting_records(best.problem, best.moves)

        def vague(problem: RecourseProblem, moves: Sequence[Move]) -> Evaluation:
            outcome = real(problem, moves)
            if resulting_records(problem, outcome.moves) != wanted:
                return outcome
            return replace(outcome, broken=("vague",), fit=replace(outcome.fit, error=1.0, accuracy=None))

        monkeypatch.setattr(retraining_search, "evaluate", vague)

    return make_vague


# -- projected gradient ascent ---


@pytest.fixture(scope="session")
def proposed() -> Callable[..., Evaluation]:
    """The outcome of projected gradient ascent's proposal, every rule obeyed; it ends long before the limit."""

    def outcome(problem: RecourseProblem, time_limit: float = 20.0) -> Evaluation:
        heuristic = heuristics()["projected_gradient"]
        assert heuristic.accepts(problem) is None
        moves = heuristic.propose(problem, time_limit=time_limit).moves
        assert not budget_violations(problem, moves)
        assert not move_violations(problem, moves)
        return evaluate(problem, moves)

    return outcome


@pytest.fixture(scope="session")
def finite_differences() -> Callable[..., Matrix]:
    """The slopes of a function of features ``X (k, d)``, from both sides."""

    def slopes(function: Callable[[Matrix], float], X: Matrix, h: float) -> Matrix:
        found = np.zeros_like(X)
        for place in np.ndindex(X.shape):
            up, down = X.copy(), X.copy()
            up[place] += h
            down[place] -= h
            found[place] = (function(up) - function(down)) / (2 * h)
        return found

    return slopes
