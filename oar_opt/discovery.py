"""Finds learners, update rules, formulations and heuristics: one file each, plus entry points of others.

Another package adds its own by an entry point in the group ``oar_opt.learners``, ``oar_opt.updates``,
``oar_opt.formulations`` or ``oar_opt.heuristics`` whose value is the class.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType, ModuleType
from typing import TypeVar

from oar_opt.contracts import Formulation, Heuristic, Learner, UpdateRule
from oar_opt.errors import OarError, UnsupportedError
from oar_opt.problem import RecourseProblem

Addition = TypeVar("Addition", Learner, UpdateRule, Formulation, Heuristic)


@cache
def learners() -> MappingProxyType[str, Learner]:
    """Every learner by its kind."""
    _check_ownership()
    found = _discover("formulations.learners", Learner, "learners")  # type: ignore[type-abstract]
    return MappingProxyType({item.kind: item for item in found})


@cache
def update_rules() -> MappingProxyType[str, UpdateRule]:
    """Every update rule by its kind."""
    _check_ownership()
    found = _discover("formulations.updates", UpdateRule, "updates")  # type: ignore[type-abstract]
    return MappingProxyType({item.kind: item for item in found})


@cache
def formulations() -> MappingProxyType[str, Formulation]:
    """Every formulation by its name, those that ``auto`` prefers first."""
    _check_ownership()
    found = _discover("formulations.single_level", Formulation, "formulations")  # type: ignore[type-abstract]
    return MappingProxyType({item.name: item for item in sorted(found, key=lambda item: (item.rank, item.name))})


@cache
def heuristics() -> MappingProxyType[str, Heuristic]:
    """Every heuristic by its name."""
    found = _discover("oar_opt.heuristics", Heuristic, "heuristics")  # type: ignore[type-abstract]
    return MappingProxyType({item.name: item for item in found})


def learner_of(problem: RecourseProblem) -> Learner:
    """The learner that a problem names; an error where no file provides it yet."""
    missing = missing_learner(problem)
    if missing:
        raise UnsupportedError(missing)
    return learners()[problem.learner.kind]


def missing_learner(problem: RecourseProblem) -> str | None:
    """Why the problem's learner cannot be re-trained here, or None."""
    kind = problem.learner.kind
    if kind in learners():
        return None
    return f"learner '{kind}' cannot be re-trained here yet (there are: {', '.join(sorted(learners()))})"


def update_rule(problem: RecourseProblem) -> UpdateRule:
    """The rule by which a problem's parameters follow its records; an error where it cannot be replayed here."""
    reason = not_replayed(problem)
    if reason:
        raise UnsupportedError(reason)
    return update_rules()[problem.update.kind]


def not_replayed(problem: RecourseProblem) -> str | None:
    """Why moves cannot be evaluated here, or None: the learner or the update rule is missing, or not fit for it."""
    kind = problem.update.kind.value
    if kind not in update_rules():
        return f"the update '{kind}' is not replayed here (there are: {', '.join(sorted(update_rules()))})"
    return missing_learner(problem) or update_rules()[kind].refuses(problem)


def page(item: Learner | UpdateRule | Formulation | Heuristic) -> str:
    """The docstring of the module that defines an addition."""
    return inspect.getdoc(importlib.import_module(type(item).__module__)) or ""


def summary(item: Learner | UpdateRule | Formulation | Heuristic) -> str:
    """The first line of the page."""
    return page(item).split("\n", 1)[0].rstrip(".")


def _discover(package: str, base: type[Addition], group: str) -> list[Addition]:
    folder = importlib.import_module(package)
    modules = [
        importlib.import_module(f"{package}.{entry.name}")
        for entry in sorted(pkgutil.iter_modules(folder.__path__), key=lambda entry: entry.name)
    ]
    classes = [cls for module in modules for cls in _own_classes(module, base)]
    classes += [point.load() for point in sorted(entry_points(group=f"oar_opt.{group}"), key=lambda point: point.name)]
    return [cls() for cls in classes]


def _own_classes(module: ModuleType, base: type[Addition]) -> list[type[Addition]]:
    return [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, base) and member.__module__ == module.__name__ and not inspect.isabstract(member)
    ]


def _check_ownership() -> None:
    """Another project on the package index also installs a package called ``formulations``."""
    import formulations

    if getattr(formulations, "OWNER", None) != "oar_opt":
        raise OarError(
            f"the installed package 'formulations' ({formulations.__file__}) is not oar_opt's: "
            "run 'pip uninstall formulations' and reinstall oar_opt"
        )
