"""An instance as the world that another one, the forecast, expects: what may have turned out otherwise.

Only the records of people who are no members may differ. Members arrive with the records that they said, since their
actions and menus are stated for those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from oar_opt.arrivals import observed_at_start
from oar_opt.errors import InputError
from oar_opt.problem import RecourseProblem, Update

SHARED = (
    "learner",
    "classes",
    "features",
    "constraints",
    "update",
    "position",
    "max_loss_increase",
    "collective",
    "queries",
    "guards",
    "goal",
    "tolerances",
)
"""What a forecast and its world must state alike."""


def check_world(forecast: RecourseProblem, world: RecourseProblem) -> None:
    """An error that says where the two differ, unless only other people's records do."""
    for name in SHARED:
        found = _first_difference(name, getattr(forecast, name), getattr(world, name))
        if found:
            where, expected, actual = found
            raise InputError(
                f"world: {where}",
                f"is {_short(actual)}, and {_short(expected)} in the forecast",
                "a world differs from its forecast in the records of people who are no members alone",
            )
    _check_records(forecast, world)
    _check_start(forecast, world)


def _check_records(forecast: RecourseProblem, world: RecourseProblem) -> None:
    ours, theirs = forecast.records, world.records
    if ours.X.shape != theirs.X.shape:
        raise InputError(
            "world: records.X",
            f"has shape {theirs.X.shape}, and {ours.X.shape} in the forecast",
            "describe the same people; one who does not come has the weight 0",
        )
    for i in (member.record for member in forecast.collective.members):
        for where, before, after in (
            (f"records.X[{i}]", ours.X[i], theirs.X[i]),
            (f"records.y[{i}]", ours.y[i], theirs.y[i]),
            (f"records.weight[{i}]", ours.s[i], theirs.s[i]),
        ):
            if not np.array_equal(before, after):
                raise InputError(
                    f"world: {where}",
                    f"is a member's record and not as in the forecast ({before} there, {after} here)",
                    "members arrive with the records that they said",
                )


def _check_start(forecast: RecourseProblem, world: RecourseProblem) -> None:
    """Of running centroids the records that do not arrive are the past, and make the start."""
    ours, theirs = observed_at_start(forecast), observed_at_start(world)
    same = np.array_equal(ours.parameters.vector(), theirs.parameters.vector())
    if ours.counts is not None and theirs.counts is not None:
        same = same and np.array_equal(ours.counts, theirs.counts)
    if not same:
        raise InputError(
            "world: records",
            "give other centroids before the first arrival",
            "what came before is known: let records that do not arrive be as in the forecast",
        )


def _first_difference(where: str, expected: Any, actual: Any) -> tuple[str, Any, Any] | None:
    """The path of the first part that differs, with its two values; None where all is equal."""
    if expected == actual:
        return None
    for step, ours, theirs in _parts(expected, actual):
        found = _first_difference(f"{where}{step}", ours, theirs)
        if found:
            return found
    return where, expected, actual


def _parts(expected: Any, actual: Any) -> list[tuple[str, Any, Any]]:
    if type(expected) is not type(actual):
        return []
    if isinstance(expected, Update) and expected.kind is actual.kind:
        return _parts(dict(expected.settings), dict(actual.settings))
    if isinstance(expected, Mapping):
        names = dict.fromkeys([*expected, *actual])
        return [(f".{name}", expected.get(name), actual.get(name)) for name in names]
    if is_dataclass(expected):
        names = {part.name: None for part in fields(expected)}
        return [(f".{name}", getattr(expected, name), getattr(actual, name)) for name in names]
    if isinstance(expected, tuple) and len(expected) == len(actual):
        return [(f"[{k}]", ours, theirs) for k, (ours, theirs) in enumerate(zip(expected, actual, strict=True))]
    return []


def _short(value: Any) -> str:
    text = f"{len(value)} long" if isinstance(value, tuple) and len(value) > 3 else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
