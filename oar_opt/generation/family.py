"""What a family of instances provides: records with named features and their rules, and what their labels mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from oar_opt.errors import InputError
from oar_opt.problem import Matrix, Vector

Document = dict[str, Any]
SKLEARN = {"source": "scikit-learn", "licence": "BSD-3-Clause"}
INVENTED = {"source": "invented data from a seeded generator", "licence": "CC0-1.0"}


@dataclass(frozen=True, eq=False)
class Table:
    """Records ``X (n, d)`` with ``y``: positions in ``classes`` (the negative one first), or numbers if that is None.

    ``features`` are their documents in the instance format, ``protected`` the names of those that say who somebody is
    and are therefore fixed; ``constraints`` the linear rules among them. ``notes`` says where the records come from.
    """

    X: Matrix
    y: Vector
    classes: tuple[str, ...] | None
    features: tuple[Document, ...]
    notes: str
    protected: tuple[str, ...] = ()
    constraints: tuple[Document, ...] = ()

    def rows(self, chosen: Any) -> Table:
        """The same for some of the records."""
        return Table(
            self.X[chosen], self.y[chosen], self.classes, self.features, self.notes, self.protected, self.constraints
        )


class Family(ABC):
    """One source of records. ``words`` says in a few what they are about, ``provenance`` whose they are."""

    name: ClassVar[str]
    words: ClassVar[str]
    provenance: ClassVar[Document]
    subject: ClassVar[str]
    """What a query is called."""
    regression: ClassVar[bool] = False
    """Whether targets are numbers."""
    most_rows: ClassVar[int | None] = None
    """How many records there are, None for any number."""
    all_features: ClassVar[int]

    @abstractmethod
    def table(self, rows: int, columns: int | None, draw: np.random.Generator, *, several: bool) -> Table:
        """``rows`` records with the first ``columns`` features; ``several``: with all classes there are, else two."""

    def beside(self, rows: int, wanted: int) -> int:
        """How many records there are beside so many rows, up to a wanted number."""
        return wanted if self.most_rows is None else max(0, min(wanted, self.most_rows - rows))

    def checked(self, rows: int, columns: int | None) -> int:
        """The number of features; an error where there are fewer, or fewer records."""
        if self.most_rows is not None and rows > self.most_rows:
            raise InputError("--rows", f"is {rows}", f"the family '{self.name}' has {self.most_rows} to choose from")
        if columns is not None and columns > self.all_features:
            raise InputError(
                "--features", f"is {columns}", f"the family '{self.name}' has {self.all_features} features"
            )
        return self.all_features if columns is None else columns


def standardised(X: Matrix) -> Matrix:
    """Mean 0 and standard deviation 1 of every column, rounded to 4 decimals."""
    deviation = X.std(axis=0)
    result: Matrix = np.round((X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), 4)
    return result


def drawn(n: int, y: Vector, draw: np.random.Generator) -> Any:
    """``n`` records, drawn so that every class keeps its share (at least two), in their order."""
    codes, counts = np.unique(y, return_counts=True)
    shares = np.maximum(2, np.floor(n * counts / len(y)).astype(int))
    while shares.sum() < n:
        shares[int(np.argmax(n * counts / len(y) - shares))] += 1
    while shares.sum() > n:
        shares[int(np.argmax(shares))] -= 1
    parts = [
        draw.choice(np.flatnonzero(y == code), share, replace=False) for code, share in zip(codes, shares, strict=True)
    ]
    return np.sort(np.concatenate(parts))
