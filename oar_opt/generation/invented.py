"""Families of fictional people from seeded generators: school places, loans, tenant screening and gig work."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from oar_opt.errors import InputError
from oar_opt.generation.family import INVENTED, Document, Family, Table
from oar_opt.problem import Matrix, Vector

PLACES = 3
"""Decimals of values that are not whole."""


class Invented(Family):
    """Features are drawn, a hidden score decides with noise; ``features`` and ``weights`` are in the same order.

    One class gets the half of the records with the higher scores.
    """

    provenance = INVENTED
    classes: ClassVar[tuple[str, str]]
    features: ClassVar[tuple[Document, ...]]
    weights: ClassVar[tuple[float, ...]]
    """Of the standardised features in the score."""
    noise: ClassVar[float] = 0.6
    protected: ClassVar[tuple[str, ...]] = ()
    constraints: ClassVar[tuple[Document, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.all_features = len(cls.features)

    @abstractmethod
    def people(self, n: int, draw: np.random.Generator) -> Matrix:
        """All features of ``n`` people, ``(n, all_features)``."""

    def table(self, rows: int, columns: int | None, draw: np.random.Generator, *, several: bool) -> Table:
        d = self.checked(rows, columns)
        X = np.round(self.people(rows, draw), PLACES)
        deviation = X.std(axis=0)
        Z = (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
        score: Vector = Z[:, :d] @ np.array(self.weights[:d]) + self.noise * draw.normal(size=rows)
        names = [feature["name"] for feature in self.features[:d]]
        return Table(
            X[:, :d],
            (score > np.median(score)).astype(np.float64),
            self.classes,
            self.features[:d],
            f"{rows} fictional people",
            tuple(name for name in names if name in self.protected),
            tuple(row for row in self.constraints if set(row["coefficients"]) <= set(names)),
        )


class School(Invented):
    name, words, subject = "school", "school places", "neighbour"
    classes = ("waiting", "place")
    protected = ("siblings", "age_years")
    features = (
        {"name": "commute_km", "lower": 0, "upper": 40, "direction": "decrease", "scale": 4},
        {"name": "afternoon_h", "lower": 0, "upper": 20, "direction": "increase", "scale": 4},
        {"name": "siblings", "type": "integer", "lower": 0, "direction": "fixed"},
        {"name": "grade_average", "lower": 1, "upper": 6},
        {"name": "open_days", "type": "integer", "lower": 0, "upper": 6, "direction": "increase"},
        {"name": "age_years", "direction": "fixed"},
    )
    weights = (-1.0, 0.4, 0.5, -0.7, 0.3, 0.1)

    def people(self, n: int, draw: np.random.Generator) -> Matrix:
        return np.column_stack(
            [
                draw.gamma(3, 3, n).clip(0.5, 35).round(1),
                draw.integers(0, 13, n),
                draw.integers(0, 4, n),
                draw.normal(2.8, 0.8, n).clip(1, 6).round(1),
                draw.integers(0, 4, n),
                draw.normal(6.3, 0.35, n),
            ]
        )


class Loan(Invented):
    name, words, subject = "loan", "loans", "applicant"
    classes = ("refused", "approved")
    protected = ("age_decades",)
    features = (
        {"name": "income_10k", "lower": 0, "upper": 20},
        {"name": "debt_10k", "lower": 0, "upper": 20},
        {"name": "late_30", "type": "integer", "lower": 0, "direction": "decrease"},
        {"name": "employment_years", "lower": 0, "direction": "increase", "scale": 2},
        {"name": "late_60", "type": "integer", "lower": 0, "direction": "decrease"},
        {"name": "owner", "type": "categorical", "group": "home"},
        {"name": "tenant", "type": "categorical", "group": "home"},
        {"name": "with_family", "type": "categorical", "group": "home"},
        {"name": "age_decades", "direction": "fixed"},
    )
    weights = (0.9, -1.0, -0.7, 0.4, -0.4, 0.2, 0.0, -0.2, 0.1)
    constraints = ({"coefficients": {"late_30": 1, "late_60": -1}, "sense": ">=", "rhs": 0},)

    def checked(self, rows: int, columns: int | None) -> int:
        d = super().checked(rows, columns)
        if 5 < d < 8:
            raise InputError("--features", f"is {d}", "the entries of 'home' are there together or not: give 5 or 8")
        return d

    def people(self, n: int, draw: np.random.Generator) -> Matrix:
        late_30 = draw.poisson(1.2, n)
        home = draw.integers(0, 3, n)
        return np.column_stack(
            [
                draw.gamma(6, 0.7, n).clip(0.5, 18),
                draw.gamma(2, 1.0, n).clip(0, 18),
                late_30,
                draw.gamma(2, 2.5, n).clip(0, 40).round(1),
                draw.binomial(late_30, 0.4),
                *((home == kind).astype(np.float64) for kind in range(3)),
                draw.uniform(2.0, 6.8, n).round(1),
            ]
        )


class Tenant(Invented):
    name, words, subject = "tenant", "tenant screening", "applicant"
    classes = ("reject", "accept")
    protected = ("age_decades", "eviction_filed")
    features = (
        {"name": "rent_share", "lower": 0, "upper": 1, "direction": "decrease", "scale": 0.1},
        {"name": "references", "type": "integer", "lower": 0, "upper": 6, "direction": "increase"},
        {"name": "eviction_filed", "type": "binary", "direction": "fixed"},
        {"name": "past_moves", "type": "integer", "lower": 0, "direction": "fixed"},
        {"name": "income_10k", "lower": 0, "upper": 20},
        {"name": "age_decades", "direction": "fixed"},
    )
    weights = (-0.8, 0.5, -0.9, -0.3, 0.6, 0.2)

    def people(self, n: int, draw: np.random.Generator) -> Matrix:
        return np.column_stack(
            [
                draw.beta(4, 7, n),
                draw.integers(0, 4, n),
                draw.random(n) < 0.25,
                draw.poisson(2, n),
                draw.gamma(6, 0.6, n).clip(0.5, 18),
                draw.uniform(1.8, 7.5, n).round(1),
            ]
        )


class Gig(Invented):
    name, words, subject = "gig", "gig work", "courier"
    classes = ("no-bonus", "bonus")
    protected = ("night_only",)
    features = (
        {"name": "rating", "lower": 1, "upper": 5, "scale": 0.5},
        {"name": "late_share", "lower": 0, "upper": 1, "scale": 0.1},
        {"name": "hours_10", "lower": 0, "upper": 7},
        {"name": "cancelled_share", "lower": 0, "upper": 1, "scale": 0.1},
        {"name": "tours_10", "lower": 0, "upper": 20},
        {"name": "weekends", "type": "integer", "lower": 0, "upper": 4},
        {"name": "night_only", "type": "binary", "direction": "fixed"},
    )
    weights = (0.9, -0.7, 0.3, -0.6, 0.4, 0.3, -0.2)

    def people(self, n: int, draw: np.random.Generator) -> Matrix:
        hours = draw.gamma(4, 0.8, n).clip(0.2, 6.5)
        return np.column_stack(
            [
                (5 - draw.gamma(2, 0.25, n)).clip(1, 5).round(2),
                draw.beta(2, 9, n),
                hours,
                draw.beta(1.5, 14, n),
                (hours * draw.normal(1.6, 0.2, n)).clip(0, 19),
                draw.integers(0, 5, n),
                draw.random(n) < 0.2,
            ]
        )
