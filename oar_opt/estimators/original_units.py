"""Rules for changes in original units, stated for a learner that sees shifted and divided features.

A frozen scaler shows the learner ``z_j = (x_j - m_j) / s_j`` with ``s_j > 0``. The learner's penalty is on the weights
of ``z``, and the format has no penalty with a factor for each weight, so the instance has to live in ``z``. Its rules
for changes keep their meaning in ``x``, since a change ``delta`` of ``x_j`` is ``delta / s_j`` of ``z_j``:

- norms and costs: ``delta / scale = (delta / s_j) / (scale / s_j)``, so ``scale`` becomes ``scale / s_j`` and every
  radius, budget and cost stays what it is;
- bounds ``l`` become ``(l - m_j) / s_j``; directions stay, for ``s_j > 0``; a step ``h`` becomes ``h / s_j``;
- whole numbers that stay whole numbers move in steps of 1, so ``z_j`` is continuous with the step ``1 / s_j``; 0 and 1
  have these as their bounds, too;
- a row ``sum_j a_j x_j <= b`` becomes ``sum_j (a_j s_j) z_j <= b - sum_j a_j m_j``;
- one-hot columns that are scaled, too, keep their sum by such a row in the place of a group.

A feature with ``m_j = 0`` and ``s_j = 1`` stays as it is; any other one says its units in its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oar_opt.errors import InputError
from oar_opt.problem import Feature, FeatureConstraint, FeatureType, Sense, Vector


@dataclass(frozen=True)
class Units:
    """``z = (x - centre) / spread``."""

    centre: float = 0.0
    spread: float = 1.0

    @property
    def are_original(self) -> bool:
        return self.centre == 0 and self.spread == 1

    def after(self, centre: float, spread: float) -> Units:
        """The units after another ``(z - centre) / spread``."""
        return Units(self.centre + centre * self.spread, self.spread * spread)

    def of(self, x: float) -> float:
        """``z`` of ``x``."""
        return (x - self.centre) / self.spread

    def original(self, z: float) -> float:
        """``x`` of ``z``."""
        return self.centre + self.spread * z

    def originals(self, z: Vector) -> Vector:
        """``x`` of every ``z``, ``(m,)``."""
        return np.asarray(self.centre + self.spread * z)


def restated(feature: Feature, units: Units) -> Feature:
    """The feature as the learner sees it.

    Raises
    ------
    InputError : a whole-number feature has a step that is no whole number.
    """
    if units.are_original:
        return feature
    lower, upper, step = feature.lower, feature.upper, feature.step
    if feature.type is not FeatureType.CONTINUOUS:
        step = 1.0 if step is None else step
        if not step.is_integer():
            raise InputError(
                f"features '{feature.name}'.step", f"is {step:g} for whole numbers", "give a whole number, or no type"
            )
    if feature.type in (FeatureType.BINARY, FeatureType.CATEGORICAL):
        lower, upper = max(0.0, lower or 0.0), min(1.0, 1.0 if upper is None else upper)
    return Feature(
        f"{feature.name} (from {units.centre:g} by {units.spread:g})",
        FeatureType.CONTINUOUS,
        None if lower is None else units.of(lower),
        None if upper is None else units.of(upper),
        feature.direction,
        None if step is None else step / units.spread,
        feature.scale / units.spread,
    )


def restated_row(row: FeatureConstraint, features: Sequence[Feature], units: Sequence[Units]) -> FeatureConstraint:
    """A constraint among ``features``, in original units, as one among what the learner sees."""
    place = {feature.name: j for j, feature in enumerate(features)}
    terms, rhs = [], row.rhs
    for name, value in row.coefficients:
        own = units[place[name]]
        terms.append((restated(features[place[name]], own).name, value * own.spread))
        rhs -= value * own.centre
    return replace(row, coefficients=tuple(terms), rhs=rhs)


def group_rows(features: Sequence[Feature], units: Sequence[Units]) -> list[FeatureConstraint]:
    """For every one-hot group that is scaled: that its columns sum to 1."""
    groups = dict.fromkeys(feature.group for feature in features if feature.group is not None)
    found = []
    for group in groups:
        columns = [j for j, feature in enumerate(features) if feature.group == group]
        if not all(units[j].are_original for j in columns):
            row = FeatureConstraint(tuple((features[j].name, 1.0) for j in columns), Sense.EQ, 1.0)
            found.append(restated_row(row, features, units))
    return found
