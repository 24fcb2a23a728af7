"""What a caller says about single features, laid over what is known of all of them.

An override is an entry of the instance format's ``features``: a name and any other keys, of which those that are not
given stay as they are. The name of a one-hot group means all of its columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oar_opt.errors import InputError
from oar_opt.instance_models import FeatureModel
from oar_opt.json_input import shown, suggestion, validate
from oar_opt.problem import Feature


def with_overrides(
    features: Sequence[Feature],
    overrides: Sequence[Mapping[str, Any]],
    sources: Sequence[str] | None = None,
    where: str = "features",
) -> tuple[Feature, ...]:
    """The features with every override applied, in order.

    Parameters
    ----------
    features : the features as they are.
    overrides : entries of the instance format, at ``where`` in errors.
    sources : another name by which each feature may be called, that of the column it was made from.

    Raises
    ------
    InputError : an override has no name or an unknown one, or is no entry of the format.
    """
    found = list(features)
    groups = [feature.group for feature in features] if sources is None else list(sources)
    known = dict.fromkeys([*(feature.name for feature in features), *(group for group in groups if group)])
    for k, override in enumerate(overrides):
        name = override_name(override, f"{where}[{k}]")
        if name not in known:
            raise InputError(f"{where}[{k}].name", f"'{name}' is no feature", suggestion(name, known))
        for j, feature in enumerate(features):
            if name in (feature.name, groups[j]):
                found[j] = _merged(found[j], override, f"{where}[{k}]")
    return tuple(found)


def override_name(override: Mapping[str, Any], where: str) -> str:
    """The name that an override at ``where`` is for."""
    if not isinstance(override, Mapping):
        raise InputError(where, f"must be an object, not {shown(override)}", 'write {"name": ..., ...}')
    name = override.get("name")
    if not isinstance(name, str):
        raise InputError(f"{where}.name", "is missing", "name the feature that this is about")
    return name


def _merged(feature: Feature, override: Mapping[str, Any], where: str) -> Feature:
    try:
        model = validate(FeatureModel, {**vars(feature), **override, "name": feature.name})
    except InputError as error:
        raise InputError(f"{where}.{error.where}", error.what, error.fix) from None
    if (model.type, model.group) != (feature.type, feature.group) and feature.group is not None:
        raise InputError(where, f"changes what '{feature.name}' is, a one-hot column", "leave out 'type' and 'group'")
    if (model.group is None) != (feature.group is None) or (model.group is None and model.type == "categorical"):
        raise InputError(where, f"makes '{feature.name}' categorical, and it is one number", "leave out 'group'")
    return Feature(**dict(model))
