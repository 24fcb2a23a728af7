"""The parts of an instance between their models and their classes in memory: learner, update, collective, queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

from oar_opt.errors import InputError
from oar_opt.instance_models import (
    ActionModel,
    CollectiveModel,
    FeatureActionModel,
    GuardModel,
    InstanceModel,
    LabelActionModel,
    OptionModel,
    QueryModel,
)
from oar_opt.instance_records import Coder, Table
from oar_opt.json_input import path_text, shown
from oar_opt.json_text import label_text
from oar_opt.learner_models import (
    GradientModel,
    NearestCentroidModel,
    PriorModel,
    ProximalModel,
    RunningCentroidModel,
    UpdateModel,
)
from oar_opt.problem import (
    Action,
    Budget,
    Collective,
    FeatureAction,
    Label,
    LabelAction,
    LearnerSpec,
    Member,
    Option,
    OptionKind,
    Point,
    Prior,
    Query,
    Records,
    RecourseProblem,
    Sense,
    Update,
    UpdateKind,
    WithholdAction,
)

T = TypeVar("T")

# -- learner ---


def read_learner(model: InstanceModel) -> LearnerSpec:
    """The learner with its prior, which a proximal update may give in its place."""
    learner, update = model.learner, model.update
    prior = None if isinstance(learner, NearestCentroidModel) else learner.prior
    if isinstance(update, ProximalModel):
        if isinstance(learner, NearestCentroidModel):
            raise InputError("update.kind", "is 'proximal', and 'nearest_centroid' takes no prior", "use another rule")
        prior = _only_prior(learner.prior, update.prior)
    return LearnerSpec(
        **learner.model_dump(exclude={"prior"}), prior=None if prior is None else Prior(prior.w0, prior.b0)
    )


def _only_prior(of_learner: PriorModel | None, of_update: PriorModel | None) -> PriorModel:
    if of_learner is not None and of_update is not None:
        raise InputError("update.prior", "is given here and in learner.prior", "keep one of them")
    prior = of_update if of_learner is None else of_learner
    if prior is None:
        raise InputError("update.prior", "is missing", "a proximal update needs a prior, here or in learner.prior")
    return prior


def written_learner(spec: LearnerSpec) -> dict[str, Any]:
    """The learner as the file writes it."""
    constants = {name: getattr(spec, name) for name in ("alpha", "C", "delta", "epsilon")}
    written = {name: value for name, value in constants.items() if value is not None}
    if not spec.is_centroid:
        written["intercept"] = spec.intercept
    if spec.prior is not None:
        written["prior"] = vars(spec.prior)
    return {"kind": spec.kind, **written}


# -- update ---


def read_update(model: UpdateModel, table: Table, coder: Coder) -> Update:
    """The update rule with all its settings, defaults included.

    Objects become tuples of pairs: ``theta0`` is ``(("w", w), ("b", b))``; ``counts`` and ``centroids`` pair each
    class label with its value, in the order of ``classes``.
    """
    settings: dict[str, Any] = {}
    match model:
        case GradientModel():
            theta0 = (("w", model.theta0.w), ("b", model.theta0.b))
            settings = {**dict(model), "theta0": theta0}
        case RunningCentroidModel():
            settings = dict(model) | _by_class(model, table.records.d, coder)
        case _:
            pass
    settings.pop("kind", None)
    return Update(UpdateKind(model.kind), tuple(settings.items()))


def _by_class(model: RunningCentroidModel, d: int, coder: Coder) -> dict[str, Any]:
    for key, centroid in (model.centroids or {}).items():
        if len(centroid) != d:
            where = path_text(("update", "centroids", key))
            raise InputError(where, f"has {len(centroid)} entries", f"give one per feature: {d}")
    return {
        "counts": _class_pairs(model.counts, coder, "counts"),
        "centroids": _class_pairs(model.centroids, coder, "centroids"),
    }


def _class_pairs(values: Mapping[str, T] | None, coder: Coder, name: str) -> tuple[tuple[Label, T], ...] | None:
    if values is None:
        return None
    found: dict[float, tuple[Label, T]] = {}
    for key, value in values.items():
        where, label = path_text(("update", name, key)), coder.label_of_text(key)
        if label is None:
            raise InputError(where, f"'{key}' is no class", f"the classes are {coder.listed or 'not stated'}")
        code = coder.code(label, where)
        if code in found:
            raise InputError(where, f"names the class {shown(label)} again", "give each class once")
        found[code] = (label, value)
    for label in coder.classes or ():
        if coder.code(label, "classes") not in found:
            raise InputError(f"update.{name}", f"leaves out the class {shown(label)}", "give every class")
    return tuple(found[code] for code in sorted(found))


def written_update(update: Update) -> dict[str, Any]:
    """The update rule as the file writes it."""
    written = {key: value for key, value in update.settings if value is not None}
    if "theta0" in written:
        written["theta0"] = dict(written["theta0"])
    for key in ("counts", "centroids"):
        if key in written:
            written[key] = {label_text(label): value for label, value in written[key]}
    return {"kind": update.kind.value, **written}


# -- collective ---


def read_collective(model: CollectiveModel, table: Table, coder: Coder) -> Collective:
    """The collective, every member with its own actions and its resolved menu."""
    shared = _read_actions(model.actions, coder, "collective.actions")
    own = {
        _member(key, model.members, "overrides"): _read_actions(actions, coder, f"collective.overrides.{key}")
        for key, actions in model.overrides.items()
    }
    menus = {
        _member(key, model.members, "menus"): _read_menu(int(key), options, table.records, coder)
        for key, options in model.menus.items()
    }
    members = tuple(Member(i, own.get(i, shared), menus.get(i, ())) for i in model.members)
    return Collective(members, model.cost, Budget(**dict(model.budget)))


def _member(key: str, members: tuple[int, ...], part: str) -> int:
    where = path_text(("collective", part, key))
    if not (key.isascii() and key.isdigit() and key == (key.lstrip("0") or "0")):
        raise InputError(where, "is no record number", "use the index of a member's record as the key")
    if key not in {str(member) for member in members}:
        raise InputError(where, f"record {key} is no member", "add it to collective.members, or leave this out")
    return int(key)


def _read_actions(models: tuple[ActionModel, ...], coder: Coder, where: str) -> tuple[Action, ...]:
    return tuple(_read_action(model, coder, f"{where}[{a}]") for a, model in enumerate(models))


def _read_action(model: ActionModel, coder: Coder, where: str) -> Action:
    match model:
        case FeatureActionModel():
            return FeatureAction(model.norm, model.radius, model.charge)
        case LabelActionModel():
            codes = tuple(coder.code(label, f"{where}.to[{k}]") for k, label in enumerate(model.to))
            return LabelAction(codes, model.cost)
        case _:
            return WithholdAction(model.cost)


def _read_menu(record: int, models: tuple[OptionModel, ...], records: Records, coder: Coder) -> tuple[Option, ...]:
    if record >= records.n:
        return ()  # The problem itself refuses this member.
    return tuple(
        _read_option(model, record, records, coder, f"collective.menus.{record}[{k}]") for k, model in enumerate(models)
    )


def _read_option(model: OptionModel, record: int, records: Records, coder: Coder, where: str) -> Option:
    x: Point = tuple(records.X[record].tolist()) if model.x is None else model.x
    y = float(records.y[record]) if model.y is None else coder.code(model.y, f"{where}.y")
    s = float(records.s[record]) if model.weight is None else model.weight
    return Option(OptionKind.MENU, x, y, s, model.cost)


def written_collective(problem: RecourseProblem) -> dict[str, Any]:
    """The collective as the file writes it: the most common list of actions is everybody's, others override it."""
    collective = problem.collective
    counts = Counter(member.actions for member in collective.members)
    shared = max(counts, key=lambda actions: counts[actions], default=())
    return {
        "members": [int(member.record) for member in collective.members],
        "actions": [_written_action(problem, action) for action in shared],
        "menus": {
            str(member.record): [_written_option(problem, member.record, option) for option in member.menu]
            for member in collective.members
            if member.menu
        },
        "overrides": {
            str(member.record): [_written_action(problem, action) for action in member.actions]
            for member in collective.members
            if member.actions != shared
        },
        "cost": collective.cost,
        "budget": vars(collective.budget),
    }


def _written_action(problem: RecourseProblem, action: Action) -> dict[str, Any]:
    match action:
        case FeatureAction():
            return {"kind": "features", "norm": action.norm, "radius": action.radius, "charge": action.charge}
        case LabelAction():
            return {"kind": "labels", "to": [problem.label_of(code) for code in action.to], "cost": action.cost}
        case WithholdAction():
            return {"kind": "withhold", "cost": action.cost}


def _written_option(problem: RecourseProblem, record: int, option: Option) -> dict[str, Any]:
    X, y, s = problem.records.X, problem.records.y, problem.records.s
    return {
        "x": None if option.x == tuple(X[record].tolist()) else option.x,
        "y": None if option.y == y[record] else problem.label_of(option.y),
        "weight": None if option.s == s[record] else option.s,
        "cost": option.cost,
    }


# -- queries ---


def read_query(model: QueryModel, q: int, coder: Coder, learner: str) -> Query:
    """The query at position ``q``."""
    target, threshold = _wanted(model, model.target, f"queries[{q}]", "target", coder, learner)
    return Query(_name(model.name, f"q{q + 1}"), model.x, target, threshold, model.required)


def read_guard(model: GuardModel, g: int, coder: Coder, learner: str) -> Query:
    """The guard at position ``g``."""
    target, threshold = _wanted(model, model.decision, f"guards[{g}]", "decision", coder, learner)
    return Query(_name(model.name, f"guard{g + 1}"), model.x, target, threshold, model.required)


def _name(given: str | None, default: str) -> str:
    return default if given is None else given


def _wanted(
    model: QueryModel | GuardModel, label: Label | None, where: str, key: str, coder: Coder, learner: str
) -> tuple[float, float]:
    side = {"sense": model.sense, "threshold": model.threshold}
    if coder.classes is not None:
        for name, value in side.items():
            if value is not None:
                raise InputError(
                    f"{where}.{name}", f"is for regression, and '{learner}' classifies here", f"use '{key}'"
                )
        if label is None:
            raise InputError(f"{where}.{key}", f"is missing, and '{learner}' classifies here", "name a class")
        return coder.code(label, f"{where}.{key}"), 0.0
    if label is not None:
        raise InputError(
            f"{where}.{key}", f"is for classes, and '{learner}' predicts numbers here", "use 'sense' and 'threshold'"
        )
    if model.sense is None or model.threshold is None:
        missing = "sense" if model.sense is None else "threshold"
        raise InputError(f"{where}.{missing}", f"is missing, and '{learner}' predicts numbers here", "state it")
    return (1.0 if model.sense == Sense.GE.value else -1.0), model.threshold


def written_query(problem: RecourseProblem, query: Query, default_name: str, key: str) -> dict[str, Any]:
    """A query or a guard as the file writes it; ``key`` is 'target' or 'decision'."""
    written: dict[str, Any] = {"name": None if query.name == default_name else query.name, "x": query.x}
    if problem.classes is None:
        written |= {"sense": (Sense.GE if query.target > 0 else Sense.LE).value, "threshold": query.threshold}
    else:
        written[key] = problem.label_of(query.target)
    guard_required = 0.0 if key == "decision" else None
    return written | {"required": guard_required if query.required is None else query.required}
