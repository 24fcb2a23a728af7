"""Makes the shipped instances, each from public data or a stated seed: ``python -m oar_opt.families FOLDER``.

An instance's text is a function of this file alone, so a test can make it again and compare. Invented data say so in
their provenance. Standardised means: mean 0 and standard deviation 1 over the instance's own records, rounded to 6
decimals.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from oar_opt.instance_file import instance_text, parse_instance
from oar_opt.problem import Flags, Matrix, Vector

Document = dict[str, Any]
SKLEARN = {"source": "scikit-learn", "licence": "BSD-3-Clause"}
INVENTED = {"source": "invented data from a seeded generator", "licence": "CC0-1.0"}


def shipped_documents() -> dict[str, Document]:
    """Every shipped instance's document by its name."""
    documents = [make() for make in MAKERS]
    return {document["name"]: {"format": "oar-instance", "version": 1, **document} for document in documents}


def write(folder: Path) -> None:
    """Write every shipped instance into ``folder``."""
    for name, document in shipped_documents().items():
        (folder / f"{name}.json").write_text(instance_text(parse_instance(document)), encoding="utf-8")


# -- building blocks ---


def _rounded(array: Any) -> Any:
    return np.round(array, 6).tolist()


def _standardised(X: Matrix) -> Matrix:
    deviation = X.std(axis=0)
    result: Matrix = np.round((X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), 6)
    return result


def _sklearn(name: str) -> tuple[Matrix, Vector, list[str]]:
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    return data.data, data.target, [str(feature) for feature in data.feature_names]


def _table(*columns: Vector) -> Matrix:
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def _slug(names: list[str]) -> list[str]:
    return [name.replace(" (cm)", "").replace("/", "_per_").replace(" ", "_") for name in names]


def _towards(X: Matrix, i: int, goal: Vector, shares: tuple[float, ...], costs: tuple[float, ...]) -> list[Document]:
    """Menu options that move record ``i`` a share of the way to ``goal``."""
    return [
        {"x": _rounded(X[i] + share * (goal - X[i])), "cost": cost} for share, cost in zip(shares, costs, strict=True)
    ]


def _nearest(X: Matrix, allowed: Flags, x: Vector, k: int) -> list[int]:
    candidates = np.flatnonzero(allowed)
    order = np.argsort(((X[candidates] - x) ** 2).sum(axis=1), kind="stable")
    return sorted(int(i) for i in candidates[order[:k]])


# -- nearest centroid on Iris ---


def _iris(name: str, title: str, norm: str, radius: float, helpers: int, query: int, target: int) -> Document:
    """Leave one flower out as the query; the members are the records of both classes nearest to it."""
    X, y, names = _sklearn("iris")
    labels = ["setosa", "versicolor", "virginica"]
    kept = np.arange(len(y)) != query
    own = int(y[query])
    members = _nearest(X[kept], np.isin(y[kept], [own, target]), X[query], helpers)
    return {
        "name": name,
        "title": title,
        "provenance": {
            **SKLEARN,
            "notes": "our re-specification of the Iris experiment; raw centimetres; the query is scikit-learn's record "
            f"{query}, left out of the records; members are the {helpers} records of "
            f"{labels[own]} and {labels[target]} nearest to it",
        },
        "features": [{"name": feature} for feature in _slug(names)],
        "records": {"X": X[kept].tolist(), "y": [labels[c] for c in y[kept]]},
        "classes": labels,
        "learner": {"kind": "nearest_centroid"},
        "collective": {
            "members": members,
            "actions": [{"kind": "features", "norm": norm, "radius": radius}],
            "cost": norm,
        },
        "queries": [{"name": f"flower-{query}", "x": X[query].tolist(), "target": labels[target], "required": 0.001}],
        "goal": {"kind": "max_margin"},
    }


def iris_small_radius() -> Document:
    return _iris("iris-centroid-l2-r05-k10", "Iris: 10 helpers within half a centimetre", "l2", 0.5, 10, 70, 2)


def iris_large_collective() -> Document:
    return _iris("iris-centroid-l2-r05-k46", "Iris: 46 helpers within half a centimetre", "l2", 0.5, 46, 70, 2)


def iris_large_radius() -> Document:
    return _iris("iris-centroid-l2-r10-k60", "Iris: 60 helpers within one centimetre", "l2", 1.0, 60, 106, 2)


def iris_boxes() -> Document:
    """One feature is fixed, one may only grow, and every length stays within what the species shows."""
    document = _iris("iris-centroid-linf-rules", "Iris: boxes, a fixed and a one-way feature", "linf", 0.3, 40, 83, 1)
    rules: list[Document] = [
        {"lower": 4.3, "upper": 7.9},
        {"direction": "fixed"},
        {"direction": "increase", "upper": 6.9},
        {"lower": 0.1, "upper": 2.5},
    ]
    document["features"] = [{**feature, **rule} for feature, rule in zip(document["features"], rules, strict=True)]
    return document


def iris_cheapest() -> Document:
    """Only flowers of the wanted species act, under every kind of rule: a convex program."""
    query, target = 133, 1
    name, title = "iris-centroid-cheapest", "Iris: the least re-measuring that reassigns a flower"
    document = _iris(name, title, "l2", 1.0, 15, query, target)
    X, y, _ = _sklearn("iris")
    kept = np.arange(len(y)) != query
    document["collective"] |= {"members": _nearest(X[kept], y[kept] == target, X[query], 15), "cost": "l1"}
    document["provenance"]["notes"] = (
        "our re-specification of the Iris experiment; raw centimetres; the query is scikit-learn's record "
        f"{query}, left out of the records; members are the 15 records of versicolor nearest to it"
    )
    rules: list[Document] = [
        {"lower": 4.3, "upper": 7.9},
        {"direction": "fixed"},
        {"direction": "increase", "upper": 6.9},
        {"lower": 0.1, "upper": 2.5},
    ]
    document["features"] = [{**feature, **rule} for feature, rule in zip(document["features"], rules, strict=True)]
    document["constraints"] = [{"coefficients": {"petal_length": 1.0, "petal_width": -1.0}, "sense": ">=", "rhs": 2.0}]
    document["goal"] = {"kind": "min_cost"}
    return document


def iris_fewest() -> Document:
    """Flowers of two species act for a third one, and two bystanders must not lose."""
    name, title = "iris-centroid-fewest", "Iris: the fewest helpers, with two bystanders who must not lose"
    document = _iris(name, title, "l2", 0.8, 40, 133, 1)
    document["features"][1]["direction"] = "fixed"
    document["guards"] = [
        {"x": [6.3, 2.7, 4.9, 1.8], "decision": "virginica", "required": 0.05},
        {"x": [5.0, 2.0, 3.5, 1.0], "decision": "versicolor", "required": 0.05},
    ]
    document["goal"] = {"kind": "min_members"}
    return document


# -- menus on scikit-learn's data ---


def iris_menus() -> Document:
    X, y, names = _sklearn("iris")
    species = ["setosa", "versicolor", "virginica"]
    query = [6.1, 2.7, 5.0, 1.8]
    members = _nearest(X, y == 2, np.array(query), 10)
    goal = X[y == 1].mean(axis=0)
    return {
        "name": "iris-centroid-menus",
        "title": "Iris: labels corrected, flowers measured again or withheld",
        "provenance": {
            **SKLEARN,
            "notes": "all 150 flowers in centimetres; the query is an invented flower between two species; the ten "
            "virginica nearest to it may be named versicolor, be withheld, or be measured again towards versicolor",
        },
        "features": [{"name": name} for name in _slug(names)],
        "records": {"X": X.tolist(), "y": [species[c] for c in y]},
        "classes": species,
        "learner": {"kind": "nearest_centroid"},
        "collective": {
            "members": members,
            "actions": [{"kind": "labels", "to": ["versicolor"], "cost": 1.5}, {"kind": "withhold", "cost": 1.0}],
            "menus": {str(i): _towards(X, i, goal, (0.5, 1.0), (0.6, 1.1)) for i in members},
            "budget": {"total": 8.0},
        },
        "queries": [{"name": "flower", "x": query, "target": "versicolor", "required": 0.01}],
        "guards": [{"x": [6.5, 3.0, 5.5, 2.0], "decision": "virginica", "required": 0.2}],
        "goal": {"kind": "max_margin"},
    }


def iris_running_centroids() -> Document:
    """Centroids that follow the flowers as they arrive, by a rate; ten of the arriving ones may have moved a little."""
    X, y, names = _sklearn("iris")
    labels = ["setosa", "versicolor", "virginica"]
    query = 121
    kept = np.arange(len(y)) != query
    Z, species = X[kept], y[kept]
    near = _nearest(Z, species > 0, X[query], 10)
    order = sorted({*near, *range(50, 149, 5)})
    return {
        "name": "iris-running-centroids",
        "title": "Iris: centroids that move with each arriving flower, ten of which are measured again",
        "provenance": {
            **SKLEARN,
            "notes": "raw centimetres; the centroids of all records but the query, scikit-learn's record "
            f"{query}, follow some of the flowers once more, by a rate; members are the ten arriving flowers "
            "nearest to it",
        },
        "features": [{"name": feature} for feature in _slug(names)],
        "records": {"X": Z.tolist(), "y": [labels[c] for c in species]},
        "classes": labels,
        "learner": {"kind": "nearest_centroid"},
        "update": {
            "kind": "running_centroid",
            "rate": 0.05,
            "centroids": {labels[c]: _rounded(Z[species == c].mean(axis=0)) for c in range(3)},
            "order": order,
        },
        "collective": {
            "members": near,
            "actions": [{"kind": "features", "norm": "l2", "radius": 0.5}],
            "cost": "l2",
        },
        "queries": [{"name": f"flower-{query}", "x": X[query].tolist(), "target": "virginica", "required": 0.001}],
        "goal": {"kind": "max_margin"},
    }


def breast_cancer_svm() -> Document:
    X, y, names = _sklearn("breast_cancer")
    columns = [0, 1, 4, 5, 8]
    rows = np.arange(0, 120)
    Z, labels = _standardised(X[rows][:, columns]), y[rows]
    query = -0.36 * Z[labels == 0].mean(axis=0)
    members = _nearest(Z, labels == 0, query, 6)
    goal = Z[labels == 1].mean(axis=0)
    return {
        "name": "breast-cancer-svm-menus",
        "title": "Breast cancer: six re-measured records, support vector machine",
        "provenance": {
            **SKLEARN,
            "notes": "first 120 records, columns 0, 1, 4, 5, 8, standardised; the query is an invented "
            "point near the boundary; menus re-measure a record part of the way to the benign mean, or have it "
            "read again as benign",
        },
        "features": [{"name": name} for name in _slug([names[c] for c in columns])],
        "records": {"X": Z.tolist(), "y": ["malignant" if c == 0 else "benign" for c in labels]},
        "classes": ["malignant", "benign"],
        "learner": {"kind": "svm", "C": 0.1, "intercept": "penalized"},
        "collective": {
            "members": members,
            "actions": [{"kind": "labels", "to": ["benign"], "cost": 3.0}],
            "menus": {str(i): _towards(Z, i, goal, (0.25, 0.5, 0.75), (1.0, 2.0, 3.0)) for i in members},
            "budget": {"total": 9.0},
        },
        "queries": [{"name": "patient", "x": _rounded(query), "target": "benign", "required": 0.05}],
        "goal": {"kind": "max_margin"},
    }


def breast_cancer_ridge() -> Document:
    X, y, names = _sklearn("breast_cancer")
    columns = [0, 1, 4, 5, 8, 9, 20, 21]
    rows = np.arange(0, 200)
    Z, labels = _standardised(X[rows][:, columns]), y[rows]
    draw = np.random.default_rng(7)
    query = _rounded(-0.04 * Z[labels == 0].mean(axis=0))
    members = _nearest(Z, labels == 0, np.array(query), 10)
    menus = {
        str(i): [{"x": _rounded(Z[i] + draw.normal(scale=0.6, size=len(columns))), "cost": 1.0} for _ in range(3)]
        for i in members
    }
    return {
        "name": "breast-cancer-ridge-menus",
        "title": "Breast cancer: ten members, three alternatives each, ridge classification",
        "provenance": {
            **SKLEARN,
            "seed": 7,
            "notes": "first 200 records, eight columns, standardised; alternatives drawn around each member's record",
        },
        "features": [{"name": name} for name in _slug([names[c] for c in columns])],
        "records": {"X": Z.tolist(), "y": ["malignant" if c == 0 else "benign" for c in labels]},
        "classes": ["malignant", "benign"],
        "learner": {"kind": "ridge", "alpha": 1.0, "intercept": "free"},
        "collective": {"members": members, "menus": menus, "budget": {"members": 6}},
        "queries": [{"name": "patient", "x": query, "target": "benign", "required": 0.05}],
        "goal": {"kind": "max_margin"},
    }


def breast_cancer_changes() -> Document:
    """Five members move five features each, of forty records: the learner's conditions are bilinear."""
    X, y, names = _sklearn("breast_cancer")
    rows, columns = np.arange(0, 41), [0, 1, 2, 3, 4]
    Z, labels = _standardised(X[rows][:, columns]), y[rows]
    kept = rows != 39
    return {
        "name": "breast-cancer-ridge-changes",
        "title": "Breast cancer: five members move five measurements each, ridge classification",
        "provenance": {
            **SKLEARN,
            "notes": "first 41 records, first five columns, standardised; the query is record 39, left out; members "
            "are the malignant records nearest to it",
        },
        "features": [{"name": name} for name in _slug([names[c] for c in columns])],
        "records": {"X": Z[kept].tolist(), "y": ["malignant" if c == 0 else "benign" for c in labels[kept]]},
        "classes": ["malignant", "benign"],
        "learner": {"kind": "ridge", "alpha": 1.0, "intercept": "penalized"},
        "collective": {
            "members": _nearest(Z[kept], labels[kept] == 0, Z[39], 5),
            "actions": [{"kind": "features", "norm": "l2", "radius": 0.5}],
        },
        "queries": [{"name": "patient", "x": Z[39].tolist(), "target": "benign"}],
        "goal": {"kind": "max_margin"},
    }


def wine_svm() -> Document:
    X, y, names = _sklearn("wine")
    columns = [0, 6, 9, 12]
    kept = y < 2
    Z, labels = _standardised(X[kept][:, columns]), y[kept]
    query = _rounded(0.5 * (Z[labels == 0].mean(axis=0) + Z[labels == 1].mean(axis=0)) + np.array([0.1, 0.0, 0.0, 0.0]))
    members = _nearest(Z, labels == 0, np.array(query), 7)
    goal = Z[labels == 1].mean(axis=0)
    return {
        "name": "wine-svm-cheapest",
        "title": "Wine: the cheapest change that reassigns a bottle",
        "provenance": {
            **SKLEARN,
            "notes": "cultivars 0 and 1, columns 0, 6, 9, 12, standardised; the query lies between them",
        },
        "features": [{"name": name} for name in _slug([names[c] for c in columns])],
        "records": {"X": Z.tolist(), "y": [f"cultivar-{c}" for c in labels]},
        "classes": ["cultivar-0", "cultivar-1"],
        "learner": {"kind": "svm", "C": 1.0, "intercept": "free"},
        "collective": {
            "members": members,
            "actions": [{"kind": "withhold", "cost": 2.5}],
            "menus": {str(i): _towards(Z, i, goal, (0.3, 0.6), (1.0, 1.8)) for i in members},
        },
        "queries": [{"name": "bottle", "x": query, "target": "cultivar-1", "required": 0.02}],
        "goal": {"kind": "min_cost"},
    }


def wine_ridge() -> Document:
    X, y, names = _sklearn("wine")
    columns = [0, 1, 2, 6, 9, 12]
    kept = y < 2
    Z, labels = _standardised(X[kept][:, columns]), y[kept]
    query = _rounded(0.54 * Z[labels == 0].mean(axis=0) + 0.46 * Z[labels == 1].mean(axis=0))
    members = _nearest(Z, labels == 0, np.array(query), 12)
    return {
        "name": "wine-ridge-fewest",
        "title": "Wine: the fewest growers who must report another cultivar or withhold",
        "provenance": {**SKLEARN, "notes": "cultivars 0 and 1, six columns, standardised"},
        "features": [{"name": name} for name in _slug([names[c] for c in columns])],
        "records": {"X": Z.tolist(), "y": [f"cultivar-{c}" for c in labels]},
        "classes": ["cultivar-0", "cultivar-1"],
        "learner": {"kind": "ridge", "alpha": 1.0, "intercept": "penalized"},
        "collective": {
            "members": members,
            "actions": [{"kind": "labels", "to": ["cultivar-1"]}, {"kind": "withhold", "cost": 1.0}],
        },
        "queries": [{"name": "bottle", "x": query, "target": "cultivar-1", "required": 0.05}],
        "goal": {"kind": "min_members"},
    }


def iris_label_flips() -> Document:
    X, y, names = _sklearn("iris")
    rows = np.concatenate([np.arange(50, 60), np.arange(100, 110)])
    Z, labels = _standardised(X[rows]), y[rows]
    query = _rounded(np.array([0.25, -0.1, 0.3, 0.2]))
    return {
        "name": "iris-svm-label-flips",
        "title": "Iris: at most two of twenty records report the other species",
        "provenance": {
            **SKLEARN,
            "notes": "ten versicolor and ten virginica, standardised; every record may flip its label",
        },
        "features": [{"name": name} for name in _slug(names)],
        "records": {"X": Z.tolist(), "y": ["versicolor" if c == 1 else "virginica" for c in labels]},
        "classes": ["versicolor", "virginica"],
        "learner": {"kind": "svm", "C": 1.0, "intercept": "penalized"},
        "collective": {
            "members": list(range(20)),
            "actions": [{"kind": "labels", "to": ["versicolor", "virginica"]}],
            "budget": {"members": 2},
        },
        "queries": [{"name": "flower", "x": query, "target": "versicolor", "required": 0.01}],
        "goal": {"kind": "max_margin"},
    }


def diabetes_regression() -> Document:
    X, y, names = _sklearn("diabetes")
    rows = np.arange(0, 150)
    columns = [2, 3, 8, 9]
    Z = _standardised(X[rows][:, columns])
    target = np.round((y[rows] - y[rows].mean()) / y[rows].std(), 6)
    members = [int(i) for i in np.argsort(-target, kind="stable")[:8]]
    return {
        "name": "diabetes-ridge-regression",
        "title": "Diabetes: lower a predicted progression by corrected measurements",
        "provenance": {
            **SKLEARN,
            "notes": "first 150 records, columns 2, 3, 8, 9; features and target standardised; the "
            "eight highest targets may be corrected downwards",
        },
        "features": [{"name": names[c]} for c in columns],
        "records": {"X": Z.tolist(), "y": target.tolist()},
        "learner": {"kind": "ridge", "alpha": 2.0, "intercept": "free"},
        "collective": {
            "members": members,
            "menus": {
                str(i): [
                    {"y": round(float(target[i]) - step, 6), "cost": cost} for step, cost in ((0.5, 1.0), (1.0, 1.7))
                ]
                for i in members
            },
        },
        "queries": [{"name": "patient", "x": [0.8, 0.5, 0.6, 0.4], "sense": "<=", "threshold": 0.5, "required": 0.05}],
        "goal": {"kind": "min_cost"},
    }


# -- stories with invented data ---


def school() -> Document:
    """Two neighbourhoods compete for places; families north of the river report what they could arrange together."""
    draw = np.random.default_rng(11)
    n = 60
    north = np.arange(n) < n // 2
    commute = np.where(north, draw.normal(11, 2.5, n), draw.normal(5, 2, n)).clip(0.5, 20)
    hours = draw.integers(0, 13, n).astype(float)
    siblings = draw.integers(0, 3, n).astype(float)
    score = 9 - commute + 0.25 * hours + 1.2 * siblings + draw.normal(0, 1.5, n)
    X = np.round(_table(commute, hours, siblings), 1)
    y = ["place" if value > 0 else "waiting" for value in score]
    x_q = [11.0, 4.0, 0.0]
    waiting_north = north & (np.array(y) == "waiting")
    members = _nearest(X, waiting_north, np.array(x_q), 5)

    def options(i: int) -> list[Document]:
        commute_km, afternoon_h, sibling_count = (float(value) for value in X[i])
        bus = round(max(0.5, commute_km - 4.0), 1)
        more = min(20.0, afternoon_h + 6.0)
        return [
            {"x": [bus, afternoon_h, sibling_count], "cost": 2.0},
            {"x": [commute_km, more, sibling_count], "cost": 1.0},
            {"x": [bus, more, sibling_count], "cost": 3.0},
            {"weight": 0.0, "cost": 1.5},
        ]

    return {
        "name": "school-two-neighbourhoods",
        "title": "School places: families of one neighbourhood act for a neighbour",
        "provenance": {
            **INVENTED,
            "seed": 11,
            "protected": ["siblings"],
            "notes": "a fictional admission model re-trained on families' records; a shared bus shortens the commute, "
            "joining the afternoon programme adds hours, and an application can be withdrawn",
        },
        "features": [
            {"name": "commute_km", "lower": 0, "upper": 40, "direction": "decrease", "scale": 5.0},
            {"name": "afternoon_h", "lower": 0, "upper": 20, "direction": "increase", "scale": 5.0},
            {"name": "siblings", "type": "integer", "lower": 0, "direction": "fixed"},
        ],
        "records": {"X": X.tolist(), "y": y},
        "classes": ["waiting", "place"],
        "learner": {"kind": "svm", "C": 0.5, "intercept": "penalized"},
        "collective": {
            "members": members,
            "menus": {str(i): options(i) for i in members},
            "budget": {"each": 3.0, "total": 8.0},
        },
        "queries": [{"name": "neighbour", "x": x_q, "target": "place", "required": 0.01}],
        "goal": {"kind": "max_margin"},
    }


def loan_strike() -> Document:
    """Customers withdraw their records from a lender's training data until an applicant is approved."""
    draw = np.random.default_rng(23)
    n = 80
    income, debt, years = draw.normal(0, 1, n), draw.normal(0, 1, n), draw.normal(0, 1, n)
    score = 0.9 * income - 1.1 * debt + 0.4 * years + draw.normal(0, 0.7, n)
    X = np.round(_table(income, debt, years), 3)
    y = ["approved" if value > 0 else "refused" for value in score]
    x_q = [0.0, 0.35, 0.0]
    members = _nearest(X, np.array(y) == "refused", np.array(x_q), 12)
    return {
        "name": "loan-data-strike",
        "title": "Loans: the smallest data strike that gets an applicant approved",
        "provenance": {
            **INVENTED,
            "seed": 23,
            "notes": "standardised income, debt and years of employment of fictional customers",
        },
        "features": [{"name": "income"}, {"name": "debt"}, {"name": "employment_years"}],
        "records": {"X": X.tolist(), "y": y},
        "classes": ["refused", "approved"],
        "learner": {"kind": "svm", "C": 0.2, "intercept": "penalized"},
        "collective": {"members": members, "actions": [{"kind": "withhold", "cost": 1.0}]},
        "queries": [{"name": "applicant", "x": x_q, "target": "approved", "required": 0.01}],
        "goal": {"kind": "min_members"},
    }


def loan_infeasible() -> Document:
    """The same lender, an applicant far on the wrong side, and three members: nothing they do is enough."""
    document = loan_strike()
    document.update(
        name="loan-beyond-reach",
        title="Loans: three members cannot get this applicant approved",
        queries=[{"name": "applicant", "x": [-1.2, 1.4, -0.5], "target": "approved", "required": 0.01}],
        goal={"kind": "min_cost"},
    )
    document["collective"] = {
        "members": document["collective"]["members"][:3],
        "actions": [{"kind": "withhold", "cost": 1.0}, {"kind": "labels", "to": ["approved"], "cost": 2.0}],
    }
    return document


def loan_corrections() -> Document:
    """Borrowers have small errors in their records corrected: whole numbers, groups and rules among features."""
    draw = np.random.default_rng(41)
    n = 24
    income, late_30 = np.round(draw.normal(30, 8, n), 1), draw.poisson(1.5, n).astype(float)
    late_60, tenure = np.minimum(draw.poisson(0.7, n).astype(float), late_30), draw.integers(0, 3, n)
    age = draw.integers(22, 65, n).astype(float)
    owner, tenant, family = ((tenure == t).astype(float) for t in range(3))
    X = _table(income, late_30, late_60, owner, tenant, family, age)
    score = 0.08 * (income - 30) - 0.6 * (late_30 - 1.5) - 0.5 * late_60 + 0.4 * owner + draw.normal(0, 0.4, n)
    y = ["repaid" if value > 0 else "default" for value in score]
    x_q = [29.0, 2.0, 0.0, 0.0, 1.0, 0.0, 35.0]
    members = _nearest(X / [8, 1, 1, 1, 1, 1, 12], np.array(y) == "default", np.array(x_q) / [8, 1, 1, 1, 1, 1, 12], 2)
    home = {"type": "categorical", "group": "home"}
    return {
        "name": "loan-small-corrections",
        "title": "Loans: two borrowers have small errors corrected, at the least cost",
        "provenance": {
            **INVENTED,
            "seed": 41,
            "protected": ["age"],
            "notes": "monthly income in hundreds, payments late by 30 and 60 days, home and age of fictional borrowers",
        },
        "features": [
            {"name": "income", "lower": 5.0, "upper": 80.0, "scale": 4.0},
            {"name": "late_30", "type": "integer", "lower": 0, "direction": "decrease"},
            {"name": "late_60", "type": "integer", "lower": 0, "direction": "decrease"},
            {"name": "owner", **home},
            {"name": "tenant", **home},
            {"name": "with_family", **home},
            {"name": "age", "type": "integer", "direction": "fixed"},
        ],
        "constraints": [{"coefficients": {"late_30": 1, "late_60": -1}, "sense": ">=", "rhs": 0}],
        "records": {"X": X.tolist(), "y": y},
        "classes": ["default", "repaid"],
        "learner": {"kind": "ridge", "alpha": 4.0, "intercept": "free"},
        "collective": {
            "members": members,
            "actions": [
                {"kind": "features", "norm": "l1", "radius": 2.5, "charge": 0.25},
                {"kind": "labels", "to": ["repaid"], "cost": 3.0},
            ],
            "cost": "l1",
        },
        "queries": [{"name": "applicant", "x": x_q, "target": "repaid", "required": 0.15}],
        "goal": {"kind": "min_cost"},
    }


def tenant_screening() -> Document:
    """Nothing about the applicant can change; former tenants of the same landlord can have their records corrected."""
    draw = np.random.default_rng(5)
    n = 70
    age, filed, moves = draw.normal(0, 1, n), (draw.random(n) < 0.35).astype(np.float64), draw.normal(0, 1, n)
    score = 0.5 * age - 1.6 * filed - 0.3 * moves + 0.6 + draw.normal(0, 0.6, n)
    X = np.round(_table(age, filed, moves), 3)
    y = ["accept" if value > 0 else "reject" for value in score]
    members = [int(i) for i in np.flatnonzero((filed == 1) & (np.array(y) == "reject"))[:8]]
    return {
        "name": "tenant-immutable",
        "title": "Tenant screening: no recourse alone, recourse together",
        "provenance": {
            **INVENTED,
            "seed": 5,
            "protected": ["age", "eviction_filed", "past_moves"],
            "notes": "every feature is fixed, so the applicant has no recourse of its own; fictional former "
            "tenants can have the landlord's outcome corrected (label) or their record erased (withhold)",
        },
        "features": [
            {"name": "age", "direction": "fixed"},
            {"name": "eviction_filed", "type": "binary", "direction": "fixed"},
            {"name": "past_moves", "direction": "fixed"},
        ],
        "records": {"X": X.tolist(), "y": y},
        "classes": ["reject", "accept"],
        "learner": {"kind": "ridge", "alpha": 0.5, "intercept": "free"},
        "collective": {
            "members": members,
            "actions": [{"kind": "labels", "to": ["accept"], "cost": 1.0}, {"kind": "withhold", "cost": 0.6}],
        },
        "queries": [{"name": "applicant", "x": [1.2, 1.0, -0.5], "target": "accept", "required": 0.02}],
        "goal": {"kind": "min_cost"},
    }


def gig_two_queries() -> Document:
    """Couriers raise the worse of two colleagues' margins while a third keeps the decision it has."""
    draw = np.random.default_rng(31)
    n = 50
    rating, hours, cancelled = draw.normal(0, 1, n), draw.normal(0, 1, n), draw.normal(0, 1, n)
    score = rating + 0.4 * hours - 0.9 * cancelled + draw.normal(0, 0.5, n)
    X = np.round(_table(rating, hours, cancelled), 3)
    y = ["bonus" if value > 0 else "no-bonus" for value in score]
    members = _nearest(X, np.array(y) == "no-bonus", np.zeros(3), 5)
    return {
        "name": "gig-two-colleagues",
        "title": "Gig work: two colleagues at once, and a third who must not lose",
        "provenance": {
            **INVENTED,
            "seed": 31,
            "notes": "standardised ratings, hours and cancellations of fictional couriers",
        },
        "features": [{"name": "rating"}, {"name": "hours"}, {"name": "cancelled"}],
        "records": {"X": X.tolist(), "y": y},
        "classes": ["no-bonus", "bonus"],
        "learner": {"kind": "svm", "C": 0.3, "intercept": "penalized"},
        "collective": {
            "members": members,
            "actions": [{"kind": "withhold", "cost": 1.0}],
            "menus": {
                str(i): [
                    {"x": _rounded(X[i] + np.array([0.0, 1.0, 0.0]))},
                    {"x": _rounded(X[i] + np.array([0.0, 0.0, -1.0]))},
                ]
                for i in members
            },
        },
        "queries": [
            {"name": "first", "x": [-0.1, 0.3, 0.05], "target": "bonus", "required": 0.01},
            {"name": "second", "x": [0.3, -0.5, 0.2], "target": "bonus", "required": 0.01},
        ],
        "guards": [{"x": [0.6, 0.2, -0.2], "decision": "bonus", "required": 0.3}],
        "goal": {"kind": "max_margin"},
    }


def gig_three_weeks() -> Document:
    """Couriers whose deliveries are rated in three weeks, each week a step of the platform's scoring model."""
    draw = np.random.default_rng(68)
    weeks, each = 3, 6
    n = weeks * each
    rating, late, hours = draw.normal(0, 1, n), draw.normal(0, 1, n), draw.normal(0, 1, n)
    score = rating - 0.8 * late + 0.3 * hours + draw.normal(0, 0.6, n)
    X = np.round(_table(rating, late, hours), 2)
    y = ["priority" if value > 0 else "standard" for value in score]
    members = [week * each + k for week in range(weeks) for k in range(2)]
    for i in members:
        X[i], y[i] = np.round(np.array([-0.4, 0.5, 0.2]) + 0.3 * draw.normal(size=3), 2), "standard"
    shorter_tours = np.array([0.0, -1.2, -0.4])
    return {
        "name": "gig-three-weeks",
        "title": "Gig work: ratings of three weeks, each of which moves the platform's model",
        "provenance": {
            **INVENTED,
            "seed": 68,
            "notes": "a fictional platform's logistic score takes a gradient step each week; two members are rated in "
            "each and may take shorter tours, late less often and rated priority, or have their week not counted; the "
            "records of the others are what is expected of the weeks to come",
        },
        "features": [{"name": "rating"}, {"name": "late"}, {"name": "hours"}],
        "records": {"X": X.tolist(), "y": y},
        "classes": ["standard", "priority"],
        "learner": {"kind": "logistic", "C": 1.0, "intercept": "free"},
        "update": {
            "kind": "gradient",
            "T": weeks,
            "rate": 1.0,
            "l2": 0.01,
            "reduction": "mean",
            "theta0": {"w": [0.8, -0.6, 0.2], "b": -0.1},
            "batches": [list(range(week * each, (week + 1) * each)) for week in range(weeks)],
        },
        "collective": {
            "members": members,
            "menus": {
                str(i): [
                    {"x": _rounded(X[i] + shorter_tours), "y": "priority", "cost": 2.0},
                    {"weight": 0.0, "cost": 1.0},
                ]
                for i in members
            },
            "budget": {"total": 6.0},
        },
        "queries": [{"name": "newcomer", "x": [-0.1, 0.2, 0.3], "target": "priority", "required": 0.05}],
        "goal": {"kind": "min_cost"},
    }


def gig_three_weeks_surprise() -> Document:
    """The same weeks as they turn out: in the second one two of the others are rated worse than expected."""
    document = gig_three_weeks()
    document.update(
        name="gig-three-weeks-surprise",
        title="Gig work: the weeks of gig-three-weeks as they turn out, the second one worse than expected",
    )
    document["provenance"]["notes"] = (
        "the world of gig-three-weeks ('oar rounds gig-three-weeks --world gig-three-weeks-surprise'): in the second "
        "week two couriers who are no members are rated standard, not priority as expected"
    )
    for i in (8, 9):
        document["records"]["y"][i] = "standard"
    return document


def loan_next_update() -> Document:
    """A lender's model takes one step on this week's records; twelve customers may have theirs corrected before."""
    draw = np.random.default_rng(7)
    n = 60
    income, debt, years, age = (draw.normal(0, 1, n) for _ in range(4))
    score = 0.9 * income - 1.1 * debt + 0.4 * years + draw.normal(0, 0.7, n)
    X = np.round(_table(income, debt, years, age).clip(-3, 3), 3)
    y = ["approved" if value > 0 else "refused" for value in score]
    x_q = [0.1, 0.14, 0.0, 0.4]
    members = _nearest(X, np.ones(n, dtype=bool), np.array(x_q), 12)
    return {
        "name": "loan-next-update",
        "title": "Loans: twelve customers of this week's batch, and the next step of the lender's model",
        "provenance": {
            **INVENTED,
            "seed": 7,
            "protected": ["age"],
            "notes": "standardised income, debt, years of employment and age of fictional customers whose records "
            "arrive in one batch; the lender's logistic score takes one gradient step on it",
        },
        "features": [
            {"name": "income", "lower": -3, "upper": 3},
            {"name": "debt", "lower": -3, "upper": 3},
            {"name": "employment_years", "lower": -3, "upper": 3, "direction": "increase"},
            {"name": "age", "direction": "fixed"},
        ],
        "records": {"X": X.tolist(), "y": y},
        "classes": ["refused", "approved"],
        "learner": {"kind": "logistic", "C": 1.0, "intercept": "free"},
        "update": {
            "kind": "gradient",
            "T": 1,
            "rate": 0.5,
            "l2": 0.01,
            "reduction": "mean",
            "theta0": {"w": [0.7, -0.9, 0.3, 0.0], "b": 0.1},
            "batches": [list(range(n))],
        },
        "collective": {
            "members": members,
            "actions": [{"kind": "features", "norm": "l2", "radius": 1.0}],
            "cost": "l2",
            "budget": {"total": 5.0, "members": 8},
        },
        "queries": [{"name": "applicant", "x": x_q, "target": "approved", "required": 0.001}],
        "goal": {"kind": "max_margin"},
    }


MAKERS: tuple[Callable[[], Document], ...] = (
    breast_cancer_ridge,
    breast_cancer_svm,
    diabetes_regression,
    gig_two_queries,
    iris_boxes,
    iris_cheapest,
    iris_fewest,
    iris_label_flips,
    iris_large_collective,
    iris_large_radius,
    iris_menus,
    iris_small_radius,
    loan_infeasible,
    loan_strike,
    school,
    tenant_screening,
    wine_ridge,
    wine_svm,
    breast_cancer_changes,
    loan_corrections,
    gig_three_weeks,
    gig_three_weeks_surprise,
    iris_running_centroids,
    loan_next_update,
)


def main() -> None:
    """Write the shipped instances and the formats' schemas into the folder given."""
    from oar_opt.instance_file import instance_schema
    from oar_opt.proof.certificate_file import certificate_schema
    from oar_opt.solution_file import solution_schema

    folder = Path(sys.argv[1])
    write(folder)
    (folder / "schema").mkdir(exist_ok=True)
    schemas = {
        "oar-instance-1": instance_schema(),
        "oar-solution-1": solution_schema(),
        "oar-certificate-1": certificate_schema(),
    }
    for name, schema in schemas.items():
        text = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
        (folder / "schema" / f"{name}.schema.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
