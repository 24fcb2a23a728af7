"""The certificate format ``oar-certificate``, version 1: a claim that a reader can check without any solver.

A JSON object with these keys and no others, all of them given:

=================== ===================================================================================================
``format``          ``"oar-certificate"``
``version``         ``1``
``kind``            ``"enumeration"``: all admissible choices are to be gone through; nothing else has to be stored
``instance``        the instance's name
``instance_sha256`` SHA-256 digest of the instance's file, 64 hexadecimal digits
``goal``            the instance's goal: ``max_margin``, ``min_cost``, ``min_members`` or ``max_helped``
``bound``           no admissible change has a value better than this: a plain decimal in quotes (``"0.42113"``), read
                    as the rational that it states; null: no admissible change meets what the instance requires
``moves``           a change that is claimed to be admissible and to meet what is required, as a list with an object
                    for each member who acts (``record``, ``x``, ``y``, ``weight``, ``cost``, to the last digit those
                    of one of the member's options); an empty list where nobody acts; null where no change is claimed
=================== ===================================================================================================

``bound`` is an upper bound for goals that are maximised and a lower one for the others. With ``bound`` null ``moves``
is null."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from oar_opt.errors import InputError
from oar_opt.json_input import (
    Digest,
    LabelValue,
    Number,
    Numbers,
    Part,
    Slug,
    Text,
    Whole,
    check_header,
    located,
    read_json_object,
    validate,
)
from oar_opt.json_text import json_text
from oar_opt.problem import GoalKind
from oar_opt.proof.rationals import read_decimal

FORMAT = "oar-certificate"
VERSION = 1


class CertifiedMove(Part):
    """What one acting member does."""

    record: Whole = Field(ge=0, description="Index of the member's record.")
    x: Numbers = Field(description="Features after the move.")
    y: LabelValue = Field(description="Class label (regression: number) after the move.")
    weight: Number = Field(ge=0, description="Weight after the move.")
    cost: Number = Field(ge=0, description="Cost of the move.")


class ProofCertificate(Part):
    """The file's object; see the module's docstring."""

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Certificate of online algorithmic recourse")

    format: Literal["oar-certificate"] = Field(description="Name of the format.")
    version: Literal[1] = Field(description="Version of the format.")
    kind: Literal["enumeration"] = Field(description="How the bound is proved.")
    instance: Slug = Field(description="Name of the instance.")
    instance_sha256: Digest = Field(description="SHA-256 digest of the instance's file.")
    goal: GoalKind = Field(description="The instance's goal.")
    bound: Text | None = Field(description="No admissible change is better; null: none is an answer.")
    moves: tuple[CertifiedMove, ...] | None = Field(description="A change that is claimed to be an answer, or null.")


def parse_certificate(document: dict[str, Any]) -> ProofCertificate:
    """The certificate that a file's document states; :class:`InputError` where it is none."""
    check_header(document, FORMAT, VERSION)
    certificate = validate(ProofCertificate, document)
    if certificate.bound is not None:
        read_decimal(certificate.bound)
    elif certificate.moves is not None:
        raise InputError("moves", "is given, and the bound says that there is no answer", "give a bound, or null here")
    return certificate


def load_certificate(path: str | Path) -> ProofCertificate:
    """The certificate in a file; :class:`InputError` where it is none."""
    path = Path(path)
    document, _ = read_json_object(path)
    with located(path.name):
        return parse_certificate(document)


def certificate_text(certificate: ProofCertificate) -> str:
    """The certificate as the text of its file, with a trailing newline."""
    return json_text(certificate.model_dump(mode="json"))


def save_certificate(certificate: ProofCertificate, path: str | Path) -> None:
    """Write the certificate's file."""
    Path(path).write_bytes(certificate_text(certificate).encode())
