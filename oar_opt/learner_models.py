"""The instance format's models of learners and of update rules: which constants each kind has, and their defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from oar_opt.json_input import Number, Numbers, Part, Text, Whole, kind_tag
from oar_opt.problem import Intercept

PURE_CLASSIFIERS = ("nearest_centroid", "svm", "squared_hinge", "logistic", "l1_svm")
"""Kinds that need classes."""

PURE_REGRESSIONS = ("huber", "epsilon_insensitive", "lad")
"""Kinds that see classes only where the instance names them itself, as the targets -1 and +1."""

# -- learners ---


class PriorModel(Part):
    """Yesterday's parameters, towards which the learner regularises."""

    w0: Numbers = Field(description="Weights, one per feature.")
    b0: Number = Field(default=0.0, description="Intercept.")


class NearestCentroidModel(Part):
    """Nearest centroid: a class is its mean."""

    kind: Literal["nearest_centroid"] = Field(description="The learner.")


class _Linear(Part):
    kind: str = Field(description="The learner.")  # Narrowed below; here for its place in the order of keys.
    intercept: Intercept = Field(
        default=Intercept.FREE,
        description="none; penalized: a constant feature 1 like the others; free: not regularised.",
    )
    prior: PriorModel | None = Field(
        default=None, description="Regularise the distance to these parameters; null: to 0."
    )


class RidgeModel(_Linear):
    """Squared loss with alpha times the squared norm of the weights."""

    kind: Literal["ridge"] = Field(description="The learner.")
    alpha: Number = Field(default=1.0, description="Strength of the regularisation, above 0.")


class _WithC(_Linear):
    C: Number = Field(default=1.0, description="Weight of the losses against the regularisation, above 0.")


class SvmModel(_WithC):
    """Support vector machine: hinge loss."""

    kind: Literal["svm"] = Field(description="The learner.")


class SquaredHingeModel(_WithC):
    """Support vector machine with the squared hinge loss."""

    kind: Literal["squared_hinge"] = Field(description="The learner.")


class LogisticModel(_WithC):
    """Logistic regression."""

    kind: Literal["logistic"] = Field(description="The learner.")


class L1SvmModel(_WithC):
    """Hinge loss with the l1 norm of the weights."""

    kind: Literal["l1_svm"] = Field(description="The learner.")


class LadModel(_WithC):
    """Least absolute deviations with the l1 norm of the weights."""

    kind: Literal["lad"] = Field(description="The learner.")


class HuberModel(_WithC):
    """Huber regression."""

    kind: Literal["huber"] = Field(description="The learner.")
    delta: Number = Field(
        default=1.0, description="Residual at which the loss turns from quadratic to linear, above 0."
    )


class EpsilonInsensitiveModel(_WithC):
    """Support vector regression."""

    kind: Literal["epsilon_insensitive"] = Field(description="The learner.")
    epsilon: Number = Field(default=0.0, description="Residuals up to this size cost nothing, at least 0.")


LearnerModel = Annotated[
    Annotated[NearestCentroidModel, Tag("<nearest_centroid>")]
    | Annotated[RidgeModel, Tag("<ridge>")]
    | Annotated[SvmModel, Tag("<svm>")]
    | Annotated[SquaredHingeModel, Tag("<squared_hinge>")]
    | Annotated[LogisticModel, Tag("<logistic>")]
    | Annotated[L1SvmModel, Tag("<l1_svm>")]
    | Annotated[LadModel, Tag("<lad>")]
    | Annotated[HuberModel, Tag("<huber>")]
    | Annotated[EpsilonInsensitiveModel, Tag("<epsilon_insensitive>")],
    Discriminator(kind_tag),
]


# -- update rules ---


class RetrainModel(Part):
    """The learner's optimum on all records."""

    kind: Literal["retrain"] = Field(description="The rule.")


class ProximalModel(Part):
    """The learner's optimum, regularised towards a prior that is given here or in the learner."""

    kind: Literal["proximal"] = Field(description="The rule.")
    prior: PriorModel | None = Field(default=None, description="The prior; null where the learner gives it.")


class LinearParametersModel(Part):
    """Parameters of a linear model."""

    w: Numbers = Field(description="Weights, one per feature.")
    b: Number = Field(default=0.0, description="Intercept.")


class GradientModel(Part):
    """Gradient steps from given parameters, each on its own batch of arriving records."""

    kind: Literal["gradient"] = Field(description="The rule.")
    T: Whole = Field(default=1, ge=1, description="Number of steps.")
    rate: Number = Field(gt=0, description="Step length.")
    l2: Number = Field(default=0.0, ge=0, description="Factor of the parameters in the gradient (weight decay).")
    reduction: Literal["mean", "sum"] = Field(default="mean", description="How a batch's gradients are joined.")
    theta0: LinearParametersModel = Field(description="Parameters before the first step.")
    batches: tuple[tuple[Whole, ...], ...] | None = Field(
        default=None, description="Records arriving in each step, by index: one list per step."
    )
    loss: Literal["squared", "hinge", "logistic"] | None = Field(default=None, description="Loss; null: the learner's.")


class RunningCentroidModel(Part):
    """Centroids that follow the records one by one."""

    kind: Literal["running_centroid"] = Field(description="The rule.")
    rate: Number | None = Field(default=None, gt=0, description="Fraction of the way to each record; or give counts.")
    counts: dict[Text, Annotated[float, Field(strict=True, ge=0)]] | None = Field(
        default=None, description="Records behind each class's centroid so far, for exact running means; or give rate."
    )
    centroids: dict[Text, Numbers] | None = Field(
        default=None, description="Centroid of each class before the first arrival."
    )
    order: tuple[Whole, ...] | None = Field(default=None, description="Record indices in the order of arrival.")


UpdateModel = Annotated[
    Annotated[RetrainModel, Tag("<retrain>")]
    | Annotated[ProximalModel, Tag("<proximal>")]
    | Annotated[GradientModel, Tag("<gradient>")]
    | Annotated[RunningCentroidModel, Tag("<running_centroid>")],
    Discriminator(kind_tag),
]
