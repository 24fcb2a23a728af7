"""The solution format, version 1: what a run found, what it proves about it, and how it was found.

:class:`Solution` is the document in memory, immutable and typed; :func:`load_solution`, :func:`solution_text` and
:func:`save_solution` read and write it, :func:`solution_schema` describes it to other programs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, SerializerFunctionWrapHandler, Tag, model_serializer

from oar_opt.certificate import Grade
from oar_opt.json_input import (
    Decimal,
    Flag,
    LabelValue,
    Number,
    Numbers,
    Part,
    Scalar,
    Text,
    Whole,
    check_header,
    json_schema,
    located,
    read_json_object,
    validate,
)
from oar_opt.json_text import json_text
from oar_opt.requirements import RequirementKind
from oar_opt.result import Status, StoppedBy

FORMAT = "oar-solution"
VERSION = 1
SCHEMA_ID = "urn:oar-opt:oar-solution-1"


class MoveRecord(Part):
    """What one acting member does. Members without an entry stay as they are."""

    record: Whole = Field(ge=0, description="Index of the member's record.")
    x: Numbers = Field(description="Features after the move, one number each.")
    y: LabelValue = Field(description="Class label (regression: number) after the move.")
    weight: Number = Field(ge=0, description="Weight after the move; 0 is withheld.")
    cost: Number = Field(ge=0, description="Cost of the move.")
    changes: dict[Text, tuple[Number, Number]] = Field(
        default={}, description="The features that change, by name: value before, value after."
    )


class LinearParameters(Part):
    """Parameters of a linear learner."""

    w: Numbers = Field(description="Weights, one per feature.")
    b: Number = Field(description="Intercept.")


class CentroidParameters(Part):
    """Parameters of the nearest centroid."""

    centroids: dict[Text, Numbers] = Field(description="Centroid of each class, by the label as text.")


def _parameters_tag(value: Any) -> str | None:
    if isinstance(value, CentroidParameters):
        return "<centroid>"
    if isinstance(value, LinearParameters):
        return "<linear>"
    if isinstance(value, dict):
        return "<centroid>" if "centroids" in value else "<linear>"
    return None


Parameters = Annotated[
    Annotated[LinearParameters, Tag("<linear>")] | Annotated[CentroidParameters, Tag("<centroid>")],
    Discriminator(_parameters_tag),
]


class QueryOutcome(Part):
    """What the moves do for one query subject."""

    name: Text = Field(description="The query's name.")
    margin_before: Number | None = Field(
        description="Margin before anyone acts; null where the learner is undefined until somebody does."
    )
    margin: Number = Field(description="Margin after the moves; above 0 the query is decided as wanted.")
    decision: LabelValue = Field(description="Decision after the moves: class label (regression: predicted number).")
    helped: Flag = Field(description="Whether the query gets what it wants, at its required margin.")


class Check(Part):
    """One check of the verification."""

    name: Text = Field(description="What was checked.")
    value: Number | None = Field(default=None, description="What was measured; null where the answer is yes or no.")
    limit: Number | None = Field(default=None, description="What it may be at most; null where there is no limit.")
    passed: Flag = Field(description="Whether it holds.")


class WithLaterKeys(Part):
    """A part whose keys of later date, :attr:`later`, are written only where they say something.

    So a file without them is what it always was.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_empty(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value is not None or key not in self.later}


class ProofRecord(Part):
    """What a certificate of proof was checked to prove in exact arithmetic, without any solver."""

    bound: Decimal | None = Field(
        description="The decimal that no answer is better than; null where there is proved to be no answer."
    )


class CertificateRecord(WithLaterKeys):
    """What was verified, and how strong the evidence for the bound is."""

    later: ClassVar[frozenset[str]] = frozenset({"proof"})

    grade: Grade = Field(
        description="claimed: one solver said so; confirmed: a second way agrees; enumerated: all choices tried; "
        "proved: checked in exact or ball arithmetic."
    )
    checks: tuple[Check, ...] = Field(description="The checks in order.")
    proof: ProofRecord | None = Field(
        default=None,
        description="What a certificate of proof proves, also where that is less than the bound; null without one.",
    )


class Method(WithLaterKeys):
    """How the answer was found."""

    later: ClassVar[frozenset[str]] = frozenset({"active_bounds"})

    formulation: Text = Field(description="Name of the formulation.")
    solver: Text = Field(description="Solver and its version.")
    options: dict[Text, Scalar] = Field(default={}, description="Options that were set.")
    active_bounds: tuple[Text, ...] | None = Field(
        default=None,
        description="Names of the proved intervals that the answer lies at an end of; null where the formulation has "
        "none. They are proved, so nothing was cut off.",
    )


class Alternative(Part):
    """An answer that is not the best one."""

    objective: Number = Field(description="Objective of the moves, in the goal's unit.")
    bound: Number | None = Field(
        description="No move but those of the answers before this one is better; null where nothing is known."
    )
    relative_gap: Number | None = Field(description="As for the best answer.")
    moves: tuple[MoveRecord, ...] = Field(description="The moves of the members who act.")
    parameters: Parameters = Field(description="The re-trained parameters.")
    queries: tuple[QueryOutcome, ...] = Field(description="Outcome of each query.")


class Pool(Part):
    """The best different answers that were asked for; different ones leave different records behind."""

    asked: Whole = Field(ge=2, description="How many answers were asked for, the best one included.")
    alternatives: tuple[Alternative, ...] = Field(description="The answers beside the best one, best first.")
    complete: Flag = Field(description="Whether there is no further admissible move.")
    stopped_by: StoppedBy = Field(
        description="What ended the search: gap where all that were asked for are there, proof where there are no more."
    )
    grade: Grade = Field(description="Evidence for the bounds of the alternatives.")


class RequirementRecord(Part):
    """One requirement of the instance, as part of a conflict."""

    kind: RequirementKind = Field(
        description="query: a query's required margin; guard: a guard's; loss: max_loss_increase; members, total and "
        "each: the budgets."
    )
    subject: Text | None = Field(default=None, description="Name of the query or guard; null for all others.")
    limit: Number = Field(description="The number that the instance states.")
    attainable: Number | None = Field(
        default=None, description="The best number that a verified move reaches while the rest of the conflict holds."
    )


class ConflictRecord(Part):
    """Requirements that no move meets together."""

    requirements: tuple[RequirementRecord, ...] = Field(
        description="The requirements; none where every choice leaves the learner undefined."
    )
    irreducible: Flag = Field(description="Whether a verified move meets the others whichever of them is dropped.")
    grade: Grade = Field(description="Evidence for the conflict.")


class Seconds(WithLaterKeys):
    """Wall-clock seconds."""

    later: ClassVar[frozenset[str]] = frozenset({"prove"})

    build: Number = Field(ge=0, description="Building the program.")
    solve: Number = Field(ge=0, description="Solving it.")
    verify: Number = Field(ge=0, description="Verifying the answer.")
    prove: Number | None = Field(default=None, ge=0, description="Making and checking a certificate of proof.")

    @property
    def total(self) -> float:
        """All together."""
        return self.build + self.solve + self.verify + (self.prove or 0.0)


class Solution(WithLaterKeys):
    """The outcome of one run on one instance."""

    later: ClassVar[frozenset[str]] = frozenset({"pool", "conflicts"})
    model_config: ClassVar[ConfigDict] = ConfigDict(title="Solution of online algorithmic recourse")

    format: Literal["oar-solution"] = Field(default="oar-solution", description="Name of the format.")
    version: Literal[1] = Field(default=1, description="Version of the format.")
    instance: Text = Field(description="Name of the instance.")
    instance_sha256: Annotated[str, Field(strict=True, pattern="^([0-9a-f]{64})?$")] = Field(
        description="SHA-256 digest of the instance file in hexadecimal; empty for a problem that has no file."
    )
    status: Status = Field(description="What is known: optimal means a relative gap within the instance's tolerance.")
    stopped_by: StoppedBy = Field(description="What ended the search.")
    objective: Number | None = Field(description="Objective of the moves, in the goal's unit; null without an answer.")
    bound: Number | None = Field(description="No answer is better than this; null where nothing is known.")
    relative_gap: Number | None = Field(
        description="|bound - objective| / max(1, |objective|); null where either is null."
    )
    moves: tuple[MoveRecord, ...] = Field(description="The moves of the members who act.")
    parameters: Parameters | None = Field(description="The re-trained parameters; null without an answer.")
    queries: tuple[QueryOutcome, ...] = Field(description="Outcome of each query.")
    certificate: CertificateRecord = Field(description="What was verified.")
    method: Method = Field(description="Formulation, solver and options.")
    seconds: Seconds = Field(description="Where the time went.")
    pool: Pool | None = Field(default=None, description="Further answers; null where none were asked for.")
    conflicts: tuple[ConflictRecord, ...] | None = Field(
        default=None,
        description="Why the instance is infeasible: no two conflicts share a requirement; null where not explained.",
    )


def load_solution(path: str | Path) -> Solution:
    """The solution in a file.

    Raises
    ------
    InputError : the file or anything in it is wrong; ``where`` is the file's name and the path inside.
    """
    path = Path(path)
    document, _ = read_json_object(path)
    with located(path.name):
        return parse_solution(document)


def parse_solution(document: dict[str, Any]) -> Solution:
    """The solution that a file's document states; :class:`InputError` where it is none."""
    check_header(document, FORMAT, VERSION)
    return validate(Solution, document)


def solution_text(solution: Solution) -> str:
    """The solution as the text of its file: every key, deterministic, with a trailing newline."""
    return json_text(solution.model_dump(mode="json"))


def save_solution(solution: Solution, path: str | Path) -> None:
    """Write the solution's file."""
    Path(path).write_bytes(solution_text(solution).encode())


def solution_schema() -> dict[str, Any]:
    """The format as JSON Schema 2020-12."""
    schema = json_schema(Solution, SCHEMA_ID)
    # Python code may leave these two out; a file may not.
    return {**schema, "required": ["format", "version", *schema["required"]]}
