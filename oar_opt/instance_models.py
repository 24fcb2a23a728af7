"""The instance format, version 1, as typed models: structure, types, defaults and the meaning of every key.

They hold a document as it is written. :mod:`oar_opt.instance_file` turns it into a :class:`RecourseProblem`, whose own
validation judges what the values mean together.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from oar_opt.json_input import (
    Digest,
    Flag,
    LabelValue,
    Number,
    Numbers,
    Part,
    Slug,
    Text,
    Whole,
    fault,
    kind_tag,
    shown,
)
from oar_opt.learner_models import LearnerModel, RetrainModel, UpdateModel
from oar_opt.problem import CostKind, Direction, FeatureType, GoalKind, Norm, Position, Sense

FORMAT = "oar-instance"
VERSION = 1

# -- records ---


class Dataset(StrEnum):
    """Data sets that scikit-learn carries with it."""

    IRIS = "iris"
    WINE = "wine"
    BREAST_CANCER = "breast_cancer"
    DIABETES = "diabetes"
    DIGITS = "digits"


class InlineRecords(Part):
    """Records written out in the file."""

    X: tuple[Numbers, ...] = Field(description="Features, one row of d numbers for each of the n records.")
    y: tuple[LabelValue, ...] = Field(description="Class label (regression: number) of each record.")
    weight: Numbers | None = Field(default=None, description="Weight of each record, at least 0; default 1 each.")


def _column(value: object) -> int | str:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise fault(f"must be a whole number or a name, not {shown(value)}")


Column = Annotated[int | str, PlainValidator(_column), WithJsonSchema({"type": ["integer", "string"]})]


class SklearnRecords(Part):
    """Records of a data set that comes with scikit-learn."""

    sklearn: Dataset = Field(description="Name of the data set.")
    rows: tuple[Whole, ...] | None = Field(
        default=None,
        description="Records to keep, in this order, counted from 0 after the selection by classes; default all.",
    )
    columns: tuple[Column, ...] | None = Field(
        default=None, description="Features to keep, in this order, by position from 0 or by name; default all."
    )
    classes: tuple[Text, ...] | None = Field(
        default=None, description="Keep only records of these target names (of digits: '0' to '9'); default all."
    )
    standardize: Flag = Field(
        default=False,
        description="Subtract each feature's mean over the kept records and divide by their population standard "
        "deviation (a constant feature by 1). Everything else in the file (radii, bounds, steps, queries, menus) is "
        "then in these standardised units.",
    )


class CsvRecords(Part):
    """Records in a comma-separated UTF-8 file with a header row; features are every column but the target."""

    csv: Text = Field(description="Path of the file, relative to the instance file.")
    target: Text = Field(description="Column that holds the class label (regression: the number).")
    sha256: Digest | None = Field(
        default=None, description="SHA-256 digest of the file in hexadecimal; another file is refused."
    )


_RECORDS_BY_KEY = {"X": "<inline>", "sklearn": "<sklearn>", "csv": "<csv>"}


def _records_tag(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, Part) else ()
    return next((tag for key, tag in _RECORDS_BY_KEY.items() if key in keys), None)


def _one_source(value: Any) -> Any:
    if isinstance(value, dict):
        present = [f"'{key}'" for key in _RECORDS_BY_KEY if key in value]
        if not present:
            raise fault("says not where the records are", "give one of 'X' (with 'y'), 'sklearn' or 'csv'")
        if len(present) > 1:
            raise fault(f"gives records by {' and by '.join(present)}", "keep one of them")
    return value


RecordsModel = Annotated[
    Annotated[InlineRecords, Tag("<inline>")]
    | Annotated[SklearnRecords, Tag("<sklearn>")]
    | Annotated[CsvRecords, Tag("<csv>")],
    Discriminator(_records_tag),
    BeforeValidator(_one_source),
]


class FeatureModel(Part):
    """One feature and the rules for changing it."""

    name: Text = Field(description="Name, used in constraints, reports and as a column of a csv file.")
    type: FeatureType = Field(
        default=FeatureType.CONTINUOUS,
        description="continuous; integer and ordinal: whole numbers; binary and categorical: 0 or 1.",
    )
    lower: Number | None = Field(default=None, description="Least value after a change; null is none.")
    upper: Number | None = Field(default=None, description="Largest value after a change; null is none.")
    direction: Direction = Field(default=Direction.ANY, description="Which way the value may move.")
    step: Number | None = Field(default=None, description="Changes are multiples of it; null lets them be any.")
    scale: Number = Field(default=1.0, description="Divides the feature's change in norms and costs; above 0.")
    group: Text | None = Field(
        default=None, description="One-hot group of a categorical column: the columns of a group sum to 1."
    )


class ConstraintModel(Part):
    """A linear constraint among features, demanded of every record whose features are changed."""

    coefficients: dict[Text, Number] = Field(min_length=1, description="Coefficient of each feature, by its name.")
    sense: Sense = Field(description="How the left side compares with rhs.")
    rhs: Number = Field(description="Right side.")


# -- collective ---


class FeatureActionModel(Part):
    """Change the features within a radius and under every feature's own rules."""

    kind: Literal["features"] = Field(description="The action.")
    norm: Norm = Field(description="Norm of the scaled change.")
    radius: Number = Field(description="Largest norm of the scaled change, at least 0.")
    charge: Number = Field(default=0.0, description="What acting costs beside the change itself, at least 0.")


class LabelActionModel(Part):
    """Report another label."""

    kind: Literal["labels"] = Field(description="The action.")
    to: tuple[LabelValue, ...] = Field(min_length=1, description="Labels (regression: numbers) to choose from.")
    cost: Number = Field(default=1.0, description="Cost of the change, at least 0.")


class WithholdActionModel(Part):
    """Withdraw the record: its weight becomes 0."""

    kind: Literal["withhold"] = Field(description="The action.")
    cost: Number = Field(default=1.0, description="Cost of the withdrawal, at least 0.")


ActionModel = Annotated[
    Annotated[FeatureActionModel, Tag("<features>")]
    | Annotated[LabelActionModel, Tag("<labels>")]
    | Annotated[WithholdActionModel, Tag("<withhold>")],
    Discriminator(kind_tag),
]


class OptionModel(Part):
    """A record that a member may put in the place of its own."""

    x: Numbers | None = Field(default=None, description="Features; null: the member's own.")
    y: LabelValue | None = Field(default=None, description="Class label (regression: number); null: the member's own.")
    weight: Number | None = Field(default=None, description="Weight, at least 0; null: the member's own.")
    cost: Number = Field(default=1.0, description="Cost of the choice, at least 0.")


class BudgetModel(Part):
    """What the collective may spend."""

    each: Number | None = Field(default=None, description="Largest cost of one member; null is no limit.")
    total: Number | None = Field(default=None, description="Largest cost of all members together; null is no limit.")
    members: Whole | None = Field(default=None, description="Largest number of members who act; null is no limit.")


class CollectiveModel(Part):
    """Who may change their records, and how. Every member may also stay as it is, at cost 0."""

    members: tuple[Whole, ...] = Field(description="Record indices of the members.")
    actions: tuple[ActionModel, ...] = Field(default=(), description="What every member may do; it uses one action.")
    menus: dict[Text, tuple[OptionModel, ...]] = Field(
        default={}, description="Further options of single members, by record index."
    )
    overrides: dict[Text, tuple[ActionModel, ...]] = Field(
        default={}, description="Actions of single members, by record index, in the place of 'actions'."
    )
    cost: CostKind = Field(default=CostKind.L2, description="Cost of a change of features, over scaled features.")
    budget: BudgetModel = Field(
        default=BudgetModel(), description="Limits on costs and on the number of acting members."
    )


# -- queries and the whole ---


class QueryModel(Part):
    """A query subject and the decision it wants."""

    name: Text | None = Field(default=None, description="Name; default q1, q2, ... by position.")
    x: Numbers = Field(description="Features, one number each.")
    target: LabelValue | None = Field(default=None, description="Wanted class (classification only, required there).")
    sense: Literal[">=", "<="] | None = Field(default=None, description="Wanted side of threshold (regression only).")
    threshold: Number | None = Field(default=None, description="Threshold of the prediction (regression only).")
    required: Number | None = Field(default=None, description="Margin to reach; only the goal max_margin does without.")


class GuardModel(Part):
    """A bystander whose decision must stay as given."""

    name: Text | None = Field(default=None, description="Name; default guard1, guard2, ... by position.")
    x: Numbers = Field(description="Features, one number each.")
    decision: LabelValue | None = Field(
        default=None, description="Class to keep (classification only, required there)."
    )
    sense: Literal[">=", "<="] | None = Field(default=None, description="Side of threshold to keep (regression only).")
    threshold: Number | None = Field(default=None, description="Threshold of the prediction (regression only).")
    required: Number = Field(default=0.0, description="Margin that the decision must keep.")


class GoalModel(Part):
    """What the collective wants."""

    kind: GoalKind = Field(
        description="max_margin: largest margin (of several queries: their smallest); min_cost, min_members: least "
        "cost or fewest acting members with every query at its required margin; max_helped: most queries there."
    )


class TolerancesModel(Part):
    """Numerical tolerances."""

    feasibility: Number = Field(default=1e-6, description="Absolute, on every rule and re-trained number; above 0.")
    relative_gap: Number = Field(default=1e-4, description="An answer whose relative gap is at most this is optimal.")


class ProvenanceModel(Part):
    """Where the instance comes from."""

    source: Text | None = Field(default=None, description="Source of the data, or how it was made.")
    licence: Text | None = Field(default=None, description="Licence of the data.")
    seed: Whole | None = Field(default=None, description="Seed of the random generator.")
    protected: tuple[Text, ...] | None = Field(
        default=None, description="Protected features; each must have the direction 'fixed'."
    )
    notes: Text | None = Field(default=None, description="Anything else.")


class InstanceModel(Part):
    """One problem of online algorithmic recourse by collective action, stated completely."""

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Instance of online algorithmic recourse")

    format: Literal["oar-instance"] = Field(description="Name of the format.")
    version: Literal[1] = Field(description="Version of the format.")
    name: Slug = Field(
        description="Name of the instance and, without .json, of its file: lower-case letters, digits, hyphens."
    )
    title: Text = Field(default="", description="One line for people.")
    provenance: ProvenanceModel = Field(default=ProvenanceModel(), description="Source, licence and the like.")
    features: tuple[FeatureModel, ...] | None = Field(
        default=None,
        description="One entry per feature. Default: continuous, unbounded, any direction, named as in the data set "
        "or csv file, else x0, x1, ...",
    )
    constraints: tuple[ConstraintModel, ...] = Field(default=(), description="Linear constraints on changed records.")
    records: RecordsModel = Field(description="The n records, in one of three ways.")
    classes: tuple[LabelValue, ...] | None = Field(
        default=None,
        description="Class labels; of two, the negative one first. Absent for regression. Default for scikit-learn's "
        "data: the selected target names (nearest centroid: all of them).",
    )
    learner: LearnerModel = Field(description="The learner and its constants.")
    update: UpdateModel = Field(
        default=RetrainModel(kind="retrain"),
        description="How the parameters follow the changed records; default: retrain.",
    )
    position: Position = Field(
        default=Position.UNIQUE,
        description="Where the learner's optimum is not unique: optimistic takes the best for the collective, "
        "pessimistic the worst, unique refuses.",
    )
    max_loss_increase: Number | None = Field(
        default=None, description="The learner's training loss may rise by at most this; null is no limit."
    )
    collective: CollectiveModel = Field(description="Who may change their records, and how.")
    queries: tuple[QueryModel, ...] = Field(description="The query subjects, at least one.")
    guards: tuple[GuardModel, ...] = Field(default=(), description="Bystanders whose decisions must stay.")
    goal: GoalModel = Field(description="The objective, over all queries.")
    tolerances: TolerancesModel = Field(
        default=TolerancesModel(), description="When numbers count as equal, and a gap as closed."
    )
