"""Instances from scikit-learn: the same learner, changes in original units, and what cannot be expressed refused."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import Lasso, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

import oar_opt
from oar_opt.errors import InputError, OarError, UnsupportedError
from oar_opt.estimators.agreement import _Loose
from oar_opt.evaluate import evaluate
from oar_opt.parameters import LinearParameters
from oar_opt.problem import FeatureType, Move
from oar_opt.verification import move_violations

CLASSIFIERS = [
    RidgeClassifier(2.0),
    RidgeClassifier(fit_intercept=False),
    LinearSVC(C=0.5, loss="hinge"),
    LinearSVC(fit_intercept=False),
    SVC(kernel="linear", C=5.0),
    LogisticRegression(C=2.0),
    LogisticRegression(solver="liblinear"),
    LogisticRegression(fit_intercept=False),
    NearestCentroid(),
]
REGRESSIONS = [Ridge(0.5), LinearSVR(epsilon=0.1), SVR(kernel="linear", epsilon=0.2)]
BALL = ({"kind": "features", "norm": "l2", "radius": 1.0},)


def table(seed=0, n=16):
    draw = np.random.default_rng(seed)
    X = np.column_stack([draw.normal(40.0, 12.0, n), draw.normal(5.0, 2.0, n)])
    score = X[:, 0] / 12 + X[:, 1] / 2 + draw.normal(size=n)
    return X, score


def labelled(seed=0):
    X, score = table(seed)
    return X, np.where(score > np.median(score), "yes", "no")


def mixed(n=12):
    """Income, late payments, city: an array of objects, as a table of texts and numbers is."""
    draw = np.random.default_rng(3)
    income, late = draw.normal(30, 8, n).round(2), draw.integers(0, 4, n)
    city = np.array(["Rome", "Oslo", "Bern"])[np.arange(n) % 3]
    X = np.array([income, late, city], dtype=object).T
    y = np.where(income - 5 * late + draw.normal(size=n) > 22, 1, 0)
    return X, y


def encoded(**settings):
    return ColumnTransformer([("number", StandardScaler(), [0, 1]), ("city", OneHotEncoder(**settings), [2])])


# -- the same learner ---


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: f"{type(m).__name__}-{getattr(m, 'fit_intercept', '')}")
@pytest.mark.parametrize("scaler", [None, StandardScaler(), MinMaxScaler((-1, 2)), RobustScaler(), MaxAbsScaler()])
def test_a_classifier_decides_the_query_as_scikit_learn_does(model, scaler):
    X, y = labelled()
    if scaler is None and isinstance(model, SVC):
        X = (X - [40.0, 5.0]) / [12.0, 2.0]
    estimator = clone(model) if scaler is None else make_pipeline(clone(scaler), clone(model))
    problem = oar_opt.problem_from_estimator(estimator, X, y, members=[0], query=X[3] + 1, actions=BALL)
    tight = clone(model)
    if not isinstance(model, NearestCentroid):
        tight.set_params(tol=1e-10, **({} if isinstance(model, RidgeClassifier) else {"max_iter": 1_000_000}))
    fitted = make_pipeline("passthrough" if scaler is None else clone(scaler), tight).fit(X, y)
    margin = evaluate(problem, ()).margins[0]
    if isinstance(model, NearestCentroid):
        z = fitted[0].transform([X[3] + 1]) if scaler is not None else [X[3] + 1]
        squared = ((z - fitted[-1].centroids_) ** 2).sum(axis=1)
        value = squared[0] - squared[1]
    else:
        value = fitted.decision_function([X[3] + 1])[0]
    assert margin == pytest.approx(-abs(value), abs=1e-5)
    assert problem.label_of(problem.queries[0].target) != fitted.predict([X[3] + 1])[0]


@pytest.mark.parametrize("model", REGRESSIONS, ids=lambda m: type(m).__name__)
def test_a_regression_predicts_as_scikit_learn_does(model):
    X, score = table()
    estimator = make_pipeline(StandardScaler(), clone(model).set_params(tol=1e-10)).fit(X, score)
    problem = oar_opt.problem_from_estimator(
        estimator, X, score, members=[0], query=X[2], target=("<=", 3.0), actions=BALL
    )
    assert evaluate(problem, ()).margins[0] == pytest.approx(3.0 - estimator.predict(X[2:3])[0], abs=1e-5)


def test_weights_are_those_of_the_fit():
    X, y = labelled()
    s = np.linspace(0.5, 2, len(y))
    fitted = RidgeClassifier().fit(X, y, sample_weight=s)
    problem = oar_opt.problem_from_estimator(
        fitted, X, y, members=[0], query=X[:2], target="yes", actions=BALL, sample_weight=s
    )
    assert evaluate(problem, ()).margins == pytest.approx(fitted.decision_function(X[:2]), abs=1e-8)
    with pytest.raises(InputError, match=r"(X\[\d+\]|query \d): the estimator's decision value is off"):
        oar_opt.problem_from_estimator(fitted, X, y, members=[0], query=X[0], actions=BALL)


def notes(estimator, X, y, **wishes):
    given = {"members": [0], "query": X[0], "actions": BALL, **wishes}
    return oar_opt.problem_from_estimator(estimator, X, y, **given).provenance["notes"]


def test_what_libsvm_leaves_is_accepted_and_told():
    """On raw records single precision alone leaves more than 1e-6, at any tolerance."""
    X, y = labelled()
    assert "as its tol=1e-09 and its arithmetic allow" in notes(SVC(kernel="linear", C=0.7), X, y)
    assert "off its optimum by up to 0.00" in notes(SVC(kernel="linear", C=0.7).fit(X, y), X, y)


@pytest.mark.parametrize(
    "model", [LogisticRegression(), LogisticRegression(solver="liblinear"), LinearSVC(), SVR(kernel="linear")]
)
def test_an_estimator_fitted_as_it_comes_is_accepted_with_its_own_tolerance(model):
    X, y = table() if isinstance(model, SVR) else labelled()
    estimator = make_pipeline(StandardScaler(), clone(model)).fit(X, y)
    wish = {"target": (">=", 1.0)} if isinstance(model, SVR) else {}
    assert f"as its tol={model.tol:g} and" in notes(estimator, X, y, **wish)


def test_the_duality_gap_by_hand():
    """Two records at -1 and 1, C = 1: w = 1 and b = 0 exactly, so an estimator made to say 1 + e has the gap
    (1 + e)^2 / 2 - 1 / 2 = e + e^2 / 2 and libsvm may leave W tol = 2 tol."""
    X, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
    model = SVC(kernel="linear", C=1.0, tol=1e-3).fit(X, y)
    problem = oar_opt.problem_from_estimator(model, X, y, members=[0], query=[0.5], actions=BALL)
    at = LinearParameters.of(np.array([1.0]), 0.0)
    for off, explained in ((1.9e-3, True), (2.1e-3, False)):
        loose = _Loose(problem, Told(model, 1.0 + off), at)
        assert loose.gap == pytest.approx(off + off**2 / 2, rel=1e-6) and loose.is_explained == explained
        assert loose.distance == pytest.approx(np.sqrt(2 * loose.gap))


class Told:
    """A fitted SVC that says another weight."""

    def __init__(self, model, w):
        self.__class__ = type("SVC", (), {})
        self.coef_, self.intercept_, self.tol = np.array([[w]]), np.array([0.0]), model.tol
        self.support_, self.dual_coef_ = model.support_, model.dual_coef_


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            lambda X, y: SVC(kernel="linear", C=0.8).fit(X, y).set_params(C=0.7),
            "trained again it gives other parameters",
        ),
        (lambda X, y: SVC(kernel="linear", C=0.7).fit(X[1:], y[1:]), "fit it on these records"),
        (lambda X, y: LogisticRegression().fit(X[1:], y[1:]), "fit it on these records"),
        (lambda X, y: LogisticRegression(C=1.00001).fit(X, y).set_params(C=1.0), "trained again"),
    ],
)
def test_another_program_is_refused_however_near(other, words):
    X, y = labelled()
    with pytest.raises(InputError, match=words):
        notes(other(X, y), X, y)


def test_a_tied_intercept_is_named():
    """One record each at -1 and 1 with C = 1/4: w = 1/2 while both are inside the margin, for b in [-1/2, 1/2]."""
    X, y = np.array([[-1.0], [1.0]]), np.array(["no", "yes"])
    model = SVC(kernel="linear", C=0.25).fit(X, y)
    with pytest.raises(
        InputError, match=r"position: is 'unique', but every intercept from -0.5 to 0.5 is optimal.*optimistic"
    ):
        notes(model, X, y, query=[0.1])
    assert "every intercept from -0.5 to 0.5 is optimal" in notes(model, X, y, query=[0.1], position="pessimistic")


def test_an_estimator_that_stopped_early_is_refused():
    X, y = labelled()
    loose = make_pipeline(StandardScaler(), LogisticRegression(tol=0.1, C=50)).fit(X, y)
    with pytest.raises(InputError, match="tol=1e-10"):
        oar_opt.problem_from_estimator(loose, X, y, members=[0], query=X[0], actions=BALL)


# -- original units ---


def test_rules_are_restated_in_the_learners_units():
    X, y = np.array([[10.0, 0], [30.0, 1], [10.0, 1], [30.0, 2]]), [0, 1, 0, 1]
    scaler = StandardScaler().fit(X)
    assert (scaler.mean_[0], scaler.scale_[0]) == (20, 10)
    problem = oar_opt.problem_from_estimator(
        make_pipeline(scaler, RidgeClassifier()),
        X,
        y,
        members=[0],
        query=[25.0, 1],
        actions=BALL,
        features=[
            {"name": "x0", "lower": 0, "upper": 50, "scale": 5, "direction": "increase"},
            {"name": "x1", "type": "integer"},
        ],
        constraints=[{"coefficients": {"x0": 1, "x1": 2}, "sense": "<=", "rhs": 40}],
    )
    first, second = problem.features
    assert (first.lower, first.upper, first.scale, first.direction) == (-2, 3, 0.5, "increase")
    assert first.name == "x0 (from 20 by 10)"
    spread = scaler.scale_[1]
    assert second.type is FeatureType.CONTINUOUS and second.step == pytest.approx(1 / spread)
    row = problem.constraints[0]
    assert row.rhs == pytest.approx(40 - 20 - 2 * 1) and dict(row.coefficients)[first.name] == 10
    assert problem.queries[0].x[0] == 0.5


@pytest.mark.parametrize("settings", [{}, {"drop": "first"}])
def test_moves_in_original_units_give_scikit_learn_the_certified_margin(settings):
    X, y = mixed()
    estimator = make_pipeline(encoded(**settings), RidgeClassifier(1.0)).fit(X, y)
    # Every feature moves in steps, so the choices are few and all of them are tried.
    problem = oar_opt.problem_from_estimator(
        estimator,
        X,
        y,
        members=[1, 4],
        query=[25.0, 2, "Oslo"],
        actions=({"kind": "features", "norm": "l1", "radius": 2.0},),
        features=[
            {"name": "x0", "step": 4.0, "scale": 4.0, "upper": 60.0},
            {"name": "x1", "type": "integer", "lower": 0, "upper": 3},
        ],
    )
    result = oar_opt.solve(problem, time_limit=20)
    assert result.status == "optimal" and len(result.solution.moves) == 2
    after = oar_opt.table_after(estimator, X, result.solution.moves)
    assert X.tolist() == mixed()[0].tolist()
    for i in range(len(X)):
        if i not in (1, 4):
            assert after[i].tolist() == X[i].tolist()
    assert all(0 <= value <= 3 and float(value).is_integer() for value in after[:, 1])
    assert (after[[1, 4], 0] - X[[1, 4], 0]).astype(float) / 4 == pytest.approx(
        np.rint((after[[1, 4], 0] - X[[1, 4], 0]).astype(float) / 4), abs=1e-9
    )
    again = clone(estimator[-1]).fit(estimator[:-1].transform(after), y)
    query = estimator[:-1].transform(np.array([[25.0, 2, "Oslo"]], dtype=object))
    target = problem.queries[0].target
    assert target * again.decision_function(query)[0] == pytest.approx(result.objective, abs=1e-8)
    assert result.objective > evaluate(problem, ()).margins[0]


def test_a_continuous_change_comes_back_in_original_units():
    X, y = labelled()
    estimator = make_pipeline(StandardScaler(), NearestCentroid()).fit(X, y)
    problem = oar_opt.problem_from_estimator(
        estimator,
        X,
        y,
        members=[0, 1],
        query=X.mean(axis=0),
        actions=({"kind": "features", "norm": "l2", "radius": 1.5},),
        features=[{"name": "x0", "scale": 6.0}],
    )
    result = oar_opt.solve(problem, time_limit=20)
    after = oar_opt.table_after(estimator, X, result.solution.moves)
    lengths = np.linalg.norm((after - X) / [6.0, 1.0], axis=1)
    assert lengths.max() <= 1.5 + 1e-6 and lengths[2:].max() == 0
    again = clone(estimator[-1]).fit(estimator[:-1].transform(after), y)
    squared = ((estimator[:-1].transform([X.mean(axis=0)]) - again.centroids_) ** 2).sum(axis=1)
    target = int(problem.queries[0].target)
    assert squared[1 - target] - squared[target] == pytest.approx(result.objective, abs=1e-6)


def test_one_hot_columns_that_are_scaled_keep_their_sum():
    X, y = mixed()
    pipeline = make_pipeline(encoded(), StandardScaler(with_mean=False))
    problem = oar_opt.problem_from_estimator(
        make_pipeline(*[step for _, step in pipeline.steps], RidgeClassifier()),
        X,
        y,
        members=[0],
        query=X[1],
        actions=({"kind": "features", "norm": "l1", "radius": 2.0},),
        features=[{"name": "x0", "direction": "fixed"}, {"name": "x1", "direction": "fixed"}],
    )
    member = problem.collective.members[0]
    options = problem.options(member)
    # Rome can become Oslo or Bern, and nothing else.
    assert len(options) == 3
    moves = [Move(0, option.x, option.y, option.s, option.cost) for option in options[1:]]
    pipeline.fit(X)
    assert {oar_opt.table_after(pipeline_with(pipeline), X, [move])[0, 2] for move in moves} == {"Oslo", "Bern"}
    assert all(not move_violations(problem, [move]) and move.cost == pytest.approx(np.sqrt(2)) for move in moves)


def pipeline_with(before):
    return make_pipeline(*[step for _, step in before.steps], RidgeClassifier())


def test_a_fitted_scaler_stays_as_it_is_and_an_unfitted_learner_is_trained():
    X, y = labelled()
    scaler = StandardScaler().fit(X[:5])
    problem = oar_opt.problem_from_estimator(
        make_pipeline(scaler, LinearSVC()), X, y, members=[0], query=X[0], actions=BALL
    )
    assert np.array_equal(problem.records.X, scaler.transform(X))


def test_a_dataframe_gives_names_and_takes_moves_back():
    X, y = mixed()
    frame = pandas.DataFrame({"income": X[:, 0].astype(float), "late": X[:, 1].astype(int), "city": X[:, 2]})
    before = ColumnTransformer([("number", StandardScaler(), ["income", "late"]), ("city", OneHotEncoder(), ["city"])])
    estimator = make_pipeline(before, RidgeClassifier()).fit(frame, y)
    query = {"income": 25.0, "late": 2, "city": "Oslo"}
    problem = oar_opt.problem_from_estimator(estimator, frame, y, members=[0], query=query, actions=BALL)
    assert [feature.name for feature in problem.features][-1] == "city=Rome"
    assert evaluate(problem, ()).margins[0] == pytest.approx(
        -abs(estimator.decision_function(pandas.DataFrame([query]))[0]), abs=1e-8
    )
    x = problem.records.X[1].copy()
    x[0] += 1.0 / estimator[0].transformers_[0][1].scale_[0]
    after = oar_opt.table_after(estimator, frame, [Move(1, tuple(x), 1.0, 1.0, 1.0)])
    assert after.loc[1, "income"] == pytest.approx(frame.loc[1, "income"] + 1.0) and after.loc[0].equals(frame.loc[0])


# -- refused ---


@pytest.mark.parametrize(
    ("model", "setting"),
    [
        (LinearSVC(intercept_scaling=2.0), "intercept_scaling"),
        (LinearSVC(class_weight="balanced"), "class_weight"),
        (LinearSVC(penalty="l1", dual=False), "penalty"),
        (LinearSVR(loss="squared_epsilon_insensitive"), "loss"),
        (SVC(), "kernel"),
        (SVC(kernel="linear", class_weight={"no": 2}), "class_weight"),
        (LogisticRegression(l1_ratio=0.5, solver="saga"), "l1_ratio"),
        (LogisticRegression(C=np.inf), "C"),
        (LogisticRegression(solver="liblinear", intercept_scaling=3), "intercept_scaling"),
        (Ridge(positive=True), "positive"),
        (Ridge(alpha=0.0), "alpha"),
        (RidgeClassifier(class_weight="balanced"), "class_weight"),
        (NearestCentroid(metric="manhattan"), "metric"),
        (NearestCentroid(shrink_threshold=0.1), "shrink_threshold"),
        (NearestCentroid(priors="empirical"), "priors"),
        (Lasso(), "Lasso is no learner"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_expressed_is_refused_with_its_place(model, setting):
    X, y = labelled()
    with pytest.raises(UnsupportedError, match=rf"estimator.*{setting}.*: .*(set|give|use)"):
        oar_opt.problem_from_estimator(model, X, y, members=[0], query=X[0], actions=BALL)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (PCA(2), "PCA is not read here, since it mixes columns"),
        (PolynomialFeatures(2), "PolynomialFeatures is not read here, since it is not affine"),
        (MinMaxScaler(clip=True), "clip"),
        (ColumnTransformer([("a", StandardScaler(), [0]), ("b", "passthrough", [0, 1])]), "'x0' enters .* twice"),
        (OneHotEncoder(min_frequency=2), "rare categories"),
        (make_pipeline(StandardScaler(), OneHotEncoder()), "encode the raw column"),
    ],
)
def test_transformers_that_are_not_read_are_refused(before, words):
    X, y = labelled()
    with pytest.raises(UnsupportedError, match=words):
        oar_opt.problem_from_estimator(
            make_pipeline(before, RidgeClassifier()), X.round(-1), y, members=[0], query=X[0], actions=BALL
        )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"query": [1.0]}, r"query\[0\]: has 1 entries"),
        ({"query": {"x0": 1.0, "z": 2.0}}, "'z' is no column"),
        ({"target": "maybe"}, "is no class"),
        ({"features": [{"name": "x7"}]}, r"features\[0\].name: 'x7' is no feature"),
        ({"features": [{"name": "x0", "upper": "much"}]}, r"features\[0\].upper"),
        ({"features": [{"name": "x0", "type": "integer"}]}, "is no whole number"),
        ({"features": [{"name": "x0", "type": "categorical", "group": "g"}]}, "it is one number"),
        ({"constraints": [{"coefficients": {"x9": 1}, "sense": "<=", "rhs": 1}]}, r"constraints\[0\].coefficients.x9"),
        ({"members": [99]}, "record 99 does not exist"),
        ({"sample_weight": [1.0]}, "sample_weight: has the shape"),
        ({"sample_weight": [-1.0] * 16}, r"sample_weight\[0\]: is -1"),
        ({"query": [np.nan, 1.0]}, r"query\[0\], column 'x0': is NaN"),
        ({"actions": [{"kind": "fly"}]}, "'fly', which is not known"),
    ],
)
def test_wrong_input_is_named(wrong, words):
    X, y = labelled()
    given = {"members": [0], "query": X[0], "actions": BALL, **wrong}
    with pytest.raises(InputError, match=words):
        oar_opt.problem_from_estimator(RidgeClassifier(), X, y, **given)


def test_several_classes_and_missing_targets():
    X, score = table()
    three = np.digitize(score, np.quantile(score, [0.3, 0.6]))
    with pytest.raises(UnsupportedError, match="linear learners are binary"):
        oar_opt.problem_from_estimator(RidgeClassifier(), X, three, members=[0], query=X[0], actions=BALL)
    with pytest.raises(InputError, match="more than two classes"):
        oar_opt.problem_from_estimator(NearestCentroid(), X, three, members=[0], query=X[0], actions=BALL)
    with pytest.raises(InputError, match="for a regression"):
        oar_opt.problem_from_estimator(Ridge(), X, score, members=[0], query=X[0], actions=BALL)
    with pytest.raises(UnsupportedError, match="takes no sample_weight"):
        oar_opt.problem_from_estimator(
            NearestCentroid(), X, three, members=[0], query=X[0], actions=BALL, sample_weight=np.ones(len(X))
        )
    problem = oar_opt.problem_from_estimator(
        NearestCentroid(), X, three, members=[0], query=X[0], target=2, actions=BALL
    )
    assert problem.classes == (0, 1, 2)


@pytest.mark.parametrize(
    ("model", "X", "y", "words"),
    [
        (RidgeClassifier(), np.ones(3), [0, 1, 0], r"X: has the shape \(3,\)"),
        (RidgeClassifier(), [[1.0], [np.nan]], [0, 1], r"X\[1\], column 'x0': is NaN"),
        (RidgeClassifier(), [["a"], ["b"]], [0, 1], "X: .*encode texts"),
        (make_pipeline(StandardScaler(), RidgeClassifier()), [["a"], ["b"]], [0, 1], "X: .*cannot be fitted"),
        (RidgeClassifier(), [[1.0], [2.0]], [0], r"y: has the shape \(1,\) for 2 records"),
        (RidgeClassifier(), [[1.0], [2.0]], [0, None], r"y\[1\]: is missing"),
        (RidgeClassifier(), [[1.0], [2.0]], ["a", "a"], "y: has one value only"),
        (Ridge(), [[1.0], [2.0]], ["a", "b"], r"y\[0\]: is 'a', and the estimator predicts numbers"),
        (RidgeClassifier().fit([[1.0, 2], [2, 1]], [0, 1]), [[1.0], [2.0]], [0, 1], "fitted to 2"),
        (StandardScaler().fit([[1.0]]), [[1.0], [2.0]], [0, 1], "StandardScaler is no learner"),
        (
            GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=2).fit([[1.0], [2], [3], [4]], [1, 2, 3, 5]),
            [[1.0]],
            [0],
            "best_estimator_",
        ),
    ],
)
def test_wrong_tables_and_estimators_are_named(model, X, y, words):
    with pytest.raises(OarError, match=words):
        oar_opt.problem_from_estimator(model, X, y, members=[0], query=[1.0], target=(">=", 0), actions=BALL)
