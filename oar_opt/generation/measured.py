"""Families from scikit-learn's data sets: iris, wine, breast cancer, digits as embeddings, and diabetes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from oar_opt.generation.family import SKLEARN, Document, Family, Table, drawn, standardised


def _data(name: str) -> Any:
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")()


def _slug(name: str) -> str:
    return str(name).replace(" (cm)", "").replace("/", "_per_").replace(" ", "_")


class Measured(Family):
    """A data set of scikit-learn, standardised over the records that are drawn; ``pair`` are the classes of learners
    with two, the negative one first."""

    provenance = SKLEARN
    data: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]
    pair: ClassVar[tuple[int, int]]
    order: ClassVar[tuple[int, ...]]
    """The columns, those that are used first at the front."""
    protected: ClassVar[tuple[str, ...]] = ()

    def table(self, rows: int, columns: int | None, draw: np.random.Generator, *, several: bool) -> Table:
        data = _data(self.data)
        d = self.checked(rows, columns)
        chosen = list(self.order[:d])
        codes = range(len(self.labels)) if several else self.pair
        kept = np.flatnonzero(np.isin(data.target, list(codes)))
        kept = kept[drawn(rows, data.target[kept], draw)]
        names = [_slug(data.feature_names[c]) for c in chosen]
        order = list(codes)
        return Table(
            standardised(data.data[kept][:, chosen]),
            np.array([order.index(int(code)) for code in data.target[kept]], dtype=np.float64),
            tuple(self.labels[code] for code in codes),
            tuple(self._feature(name) for name in names),
            f"{rows} of the records, drawn by class, {d} of the columns, standardised",
            tuple(name for name in names if name in self.protected),
        )

    def _feature(self, name: str) -> Document:
        return {"name": name, "direction": "fixed"} if name in self.protected else {"name": name}


class Iris(Measured):
    name, words, subject = "iris", "flowers", "flower"
    data, labels, pair = "iris", ("setosa", "versicolor", "virginica"), (2, 1)
    order, all_features, most_rows = (2, 3, 0, 1), 4, 100


class Wine(Measured):
    name, words, subject = "wine", "bottles of three growers", "bottle"
    data, labels, pair = "wine", ("cultivar-0", "cultivar-1", "cultivar-2"), (0, 1)
    order, all_features, most_rows = (12, 9, 6, 0, 11, 10, 1, 3, 5, 2, 4, 7, 8), 13, 130


class BreastCancer(Measured):
    name, words, subject = "breastcancer", "measured cell nuclei", "patient"
    data, labels, pair = "breast_cancer", ("malignant", "benign"), (0, 1)
    order = (0, 1, 4, 5, 8, 9, 24, 25, 28, 29, *range(10, 20), 2, 3, 6, 7, *range(20, 24), 26, 27)
    all_features, most_rows = 30, 569


class Digits(Family):
    """Pictures of digits as what a model's last layer might hand on: their first principal components."""

    name, words, subject = "digits", "handwritten digits as embeddings", "picture"
    provenance = SKLEARN
    all_features, most_rows = 24, 350

    def table(self, rows: int, columns: int | None, draw: np.random.Generator, *, several: bool) -> Table:
        from sklearn.decomposition import PCA

        d = self.checked(rows, columns)
        data = _data("digits")
        codes = (3, 5, 8) if several else (3, 8)
        kept = np.flatnonzero(np.isin(data.target, codes))
        kept = kept[drawn(rows, data.target[kept], draw)]
        # Components of all pictures, as of a model that was trained before on others too.
        parts = PCA(d, svd_solver="full").fit(data.data)
        Z = parts.transform(data.data[kept])
        return Table(
            standardised(Z),
            np.array([codes.index(int(code)) for code in data.target[kept]], dtype=np.float64),
            tuple(f"digit-{code}" for code in codes),
            tuple({"name": f"component_{j}"} for j in range(d)),
            f"{rows} pictures of {' and '.join(map(str, codes))}, drawn by class, as the first {d} principal "
            "components of all 1797 pictures, standardised: they stand in for a model's embeddings",
        )


class Diabetes(Family):
    """How far a disease has come after a year, a number."""

    name, words, subject = "diabetes", "the progression of a disease", "patient"
    provenance = SKLEARN
    regression, all_features, most_rows = True, 10, 442
    ORDER = (2, 8, 3, 9, 6, 4, 5, 7, 0, 1)
    PROTECTED = ("age", "sex")

    def table(self, rows: int, columns: int | None, draw: np.random.Generator, *, several: bool) -> Table:
        data = _data("diabetes")
        d = self.checked(rows, columns)
        chosen = list(self.ORDER[:d])
        kept = np.sort(draw.choice(len(data.target), rows, replace=False))
        target = data.target[kept]
        names = [str(data.feature_names[c]) for c in chosen]
        protected = tuple(name for name in names if name in self.PROTECTED)
        return Table(
            standardised(data.data[kept][:, chosen]),
            np.round((target - target.mean()) / target.std(), 4),
            None,
            tuple({"name": name, **({"direction": "fixed"} if name in protected else {})} for name in names),
            f"{rows} of the records, {d} of the columns; features and target standardised",
            protected,
        )
