"""Reads MathOptFormat 1.x, as far as programs of linear and quadratic rows, ordered sets and indicator rows go.

It follows the format's own words: ``1/2 x'Q x`` with every entry of the symmetric ``Q`` stated once, so that a square
counts half its coefficient and a product all of it; bounds and integrality are constraints on single variables.

Reference: B. Legat, O. Dowson, J. Dias Garcia, M. Lubin, "MathOptInterface: A Data Structure for Mathematical
Optimization Problems", 2022.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oar_opt.export.file_program import Body, Column, Conditional, FileProgram, Row, UnreadableError, weighted_sum

Json = dict[str, Any]


def read_mof(text: str) -> FileProgram:
    """Raises :class:`UnreadableError`, also for parts of the format that are not read here."""
    try:
        return _Reader.of(json.loads(text)).program()
    except (ValueError, KeyError, TypeError, IndexError) as failure:
        raise UnreadableError(f"no MathOptFormat that is read here ({type(failure).__name__}: {failure})") from failure


@dataclass
class _Reader:
    document: Json
    columns: dict[str, Column]
    rows: dict[str, Row] = field(default_factory=dict)
    sets: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    conditionals: dict[str, Conditional] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Json) -> _Reader:
        if document["version"]["major"] != 1:
            raise ValueError("another major version than 1")
        names = [one["name"] for one in document["variables"]]
        if len(set(names)) < len(names):
            raise ValueError("two variables of one name")
        return cls(document, {name: Column() for name in names})

    def program(self) -> FileProgram:
        for place, one in enumerate(self.document["constraints"]):
            self._take(one.get("name", f"constraint {place}"), one["function"], one["set"])
        goal = self.document["objective"]
        is_max = {"max": True, "min": False}[goal["sense"]]
        body = self._scalar(goal["function"])
        return FileProgram(self.columns, self.rows, body, is_max, self.sets, self.conditionals)

    def _take(self, name: str, function: Json, among: Json) -> None:
        if any(name in known for known in (self.rows, self.sets, self.conditionals)):
            raise ValueError(f"two constraints called '{name}'")
        if function["type"] == "Variable":
            column = function["name"]
            self.columns[column] = _narrowed(self.columns[column], among)
        elif among["type"] == "SOS1":
            members = function["variables"]
            self._known(members)
            self.sets[name] = tuple(zip(members, map(float, among["weights"]), strict=True))
        elif among["type"] == "Indicator":
            self.conditionals[name] = self._conditional(function, among)
        else:
            self.rows[name] = Row(self._scalar(function), *_ends(among))

    def _conditional(self, function: Json, among: Json) -> Conditional:
        first, second = ([t["scalar_term"] for t in function["terms"] if t["output_index"] == row] for row in (1, 2))
        if len(first) + len(second) != len(function["terms"]) or len(first) != 1 or first[0]["coefficient"] != 1:
            raise ValueError("an indicator whose first part is no single variable")
        if function["constants"][0] != 0:
            raise ValueError("an indicator whose first part has a constant")
        body = self._linear(second, function["constants"][1])
        active = {"one": True, "zero": False}[among["activate_on"]]
        return Conditional(first[0]["variable"], active, Row(body, *_ends(among["set"])))

    def _scalar(self, function: Json) -> Body:
        if function["type"] == "ScalarAffineFunction":
            return self._linear(function["terms"], function["constant"])
        if function["type"] != "ScalarQuadraticFunction":
            raise ValueError(f"a function of type {function['type']}")
        linear = self._linear(function["affine_terms"], function["constant"])
        products = [(t["coefficient"], t["variable_1"], t["variable_2"]) for t in function["quadratic_terms"]]
        self._known([name for _, *pair in products for name in pair])

        def body(values: Mapping[str, float]) -> float:
            curved = ((0.5 if u == v else 1.0) * weight * values[u] * values[v] for weight, u, v in products)
            return linear(values) + math.fsum(curved)

        return body

    def _linear(self, terms: list[Json], constant: float) -> Body:
        self._known([term["variable"] for term in terms])
        return weighted_sum([(float(term["coefficient"]), term["variable"]) for term in terms], float(constant))

    def _known(self, names: list[str]) -> None:
        unknown = [name for name in names if name not in self.columns]
        if unknown:
            raise ValueError(f"a variable '{unknown[0]}' that is not listed")


def _ends(among: Json) -> tuple[float, float]:
    match among["type"]:
        case "LessThan":
            return -math.inf, float(among["upper"])
        case "GreaterThan":
            return float(among["lower"]), math.inf
        case "EqualTo":
            return float(among["value"]), float(among["value"])
        case "Interval":
            return float(among["lower"]), float(among["upper"])
        case kind:
            raise ValueError(f"a set of type {kind}")


def _narrowed(column: Column, among: Json) -> Column:
    if among["type"] == "Integer":
        return replace(column, whole=True)
    if among["type"] == "ZeroOne":
        return Column(max(0.0, column.lower), min(1.0, column.upper), True)
    lower, upper = _ends(among)
    return replace(column, lower=max(lower, column.lower), upper=min(upper, column.upper))
