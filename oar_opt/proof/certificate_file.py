"""The certificate format ``oar-certificate``, version 1: a claim that a reader can check without any solver.

A JSON object with these keys and no others:

=================== ===================================================================================================
``format``          ``"oar-certificate"``
``version``         ``1``
``kind``            ``"enumeration"``: all admissible choices are to be gone through, and ``nodes`` is empty; or
                    ``"tree"``: ``nodes`` is a tree that splits all choices into parts, each with its proof
``instance``        the instance's name
``instance_sha256`` SHA-256 digest of the instance's file, 64 hexadecimal digits
``goal``            the instance's goal: ``max_margin``, ``min_cost``, ``min_members`` or ``max_helped``
``bound``           no admissible change has a value better than this: a plain decimal in quotes (``"0.42113"``), read
                    as the rational that it states; null: no admissible change meets what the instance requires
``moves``           a change that is claimed to be admissible and to meet what is required, as a list with an object
                    for each member who acts (``record``, ``x``, ``y``, ``weight``, ``cost``, to the last digit those
                    of one of the member's options); an empty list where nobody acts; null where no change is claimed
``nodes``           the tree, see :mod:`oar_opt.proof.nodes`; it may be left out for ``"enumeration"``
=================== ===================================================================================================

``bound`` is an upper bound for goals that are maximised and a lower one for the others. With ``bound`` null ``moves``
is null. A tree has at least one node. :func:`certificate_schema` describes the format to other programs.

A file whose name ends in ``.gz`` holds the same text compressed by gzip (P. Deutsch, "GZIP file format specification
version 4.3", RFC 1952, 1996), without name and time, so that the same certificate gives the same bytes. No text of
more than :data:`MOST_BYTES` is read, compressed or not."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from oar_opt.errors import InputError
from oar_opt.json_input import (
    Decimal,
    Digest,
    LabelValue,
    Number,
    Numbers,
    Part,
    Slug,
    Whole,
    check_header,
    decode_object,
    json_schema,
    located,
    read_json_object,
    validate,
)
from oar_opt.json_text import json_text
from oar_opt.problem import GoalKind, Move, RecourseProblem
from oar_opt.proof.nodes import Node
from oar_opt.proof.rationals import read_decimal

FORMAT = "oar-certificate"
VERSION = 1
SCHEMA_ID = "urn:oar-opt:oar-certificate-1"
COMPRESSED = ".gz"
MOST_BYTES = 2**26
"""Of a certificate's text: a small file can unpack to more than a machine holds."""


class CertifiedMove(Part):
    """What one acting member does."""

    record: Whole = Field(ge=0, description="Index of the member's record.")
    x: Numbers = Field(description="Features after the move.")
    y: LabelValue = Field(description="Class label (regression: number) after the move.")
    weight: Number = Field(ge=0, description="Weight after the move.")
    cost: Number = Field(ge=0, description="Cost of the move.")

    @classmethod
    def of(cls, problem: RecourseProblem, move: Move) -> CertifiedMove:
        """A move as the file states it."""
        return cls(record=move.record, x=move.x, y=problem.label_of(move.y), weight=move.s, cost=move.cost)


class ProofCertificate(Part):
    """The file's object; see the module's docstring."""

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Certificate of online algorithmic recourse")

    format: Literal["oar-certificate"] = Field(description="Name of the format.")
    version: Literal[1] = Field(description="Version of the format.")
    kind: Literal["enumeration", "tree"] = Field(description="How the bound is proved.")
    instance: Slug = Field(description="Name of the instance.")
    instance_sha256: Digest = Field(description="SHA-256 digest of the instance's file.")
    goal: GoalKind = Field(description="The instance's goal.")
    bound: Decimal | None = Field(description="No admissible change is better; null: none is an answer.")
    moves: tuple[CertifiedMove, ...] | None = Field(description="A change that is claimed to be an answer, or null.")
    nodes: tuple[Node, ...] = Field(default=(), description="The tree in preorder.")

    @classmethod
    def of(
        cls,
        problem: RecourseProblem,
        bound: str | None,
        moves: Sequence[Move] | None,
        nodes: Sequence[Node] | None = None,
    ) -> ProofCertificate:
        """A claim about a problem that was read from a file: an enumeration, or with ``nodes`` a tree."""
        return cls(
            format="oar-certificate",
            version=1,
            kind="enumeration" if nodes is None else "tree",
            instance=problem.name,
            instance_sha256=problem.sha256,
            goal=problem.goal,
            bound=bound,
            moves=None if moves is None else tuple(CertifiedMove.of(problem, move) for move in moves),
            nodes=tuple(nodes or ()),
        )


def parse_certificate(document: dict[str, Any]) -> ProofCertificate:
    """The certificate that a file's document states; :class:`InputError` where it is none."""
    check_header(document, FORMAT, VERSION)
    certificate = validate(ProofCertificate, document)
    if certificate.bound is not None:
        read_decimal(certificate.bound)
    elif certificate.moves is not None:
        raise InputError("moves", "is given, and the bound says that there is no answer", "give a bound, or null here")
    if certificate.kind == "tree" and not certificate.nodes:
        raise InputError("nodes", "has no node, and the kind is 'tree'", "give the tree's nodes in preorder")
    if certificate.kind != "tree" and certificate.nodes:
        fix = "leave them out, or write the kind 'tree'"
        raise InputError("nodes", f"has nodes, and the kind is '{certificate.kind}'", fix)
    return certificate


def certificate_schema() -> dict[str, Any]:
    """The format as JSON Schema 2020-12."""
    tree = {"properties": {"kind": {"const": "tree"}}}
    unanswered = {"properties": {"bound": {"type": "null"}}}
    rules = [
        {
            "if": tree,
            "then": {"required": ["nodes"], "properties": {"nodes": {"minItems": 1}}},
            "else": {"properties": {"nodes": {"maxItems": 0}}},
        },
        {"if": unanswered, "then": {"properties": {"moves": {"type": "null"}}}},
    ]
    return {**json_schema(ProofCertificate, SCHEMA_ID), "allOf": rules}


def load_certificate(path: str | Path) -> ProofCertificate:
    """The certificate in a file, compressed if its name ends in ``.gz``; :class:`InputError` where it is none."""
    path = Path(path)
    document = read_certificate_document(path)
    with located(path.name):
        return parse_certificate(document)


def read_certificate_document(path: Path) -> dict[str, Any]:
    """The JSON object in a file that may be compressed; :class:`InputError` where there is none, or it is too large."""
    if path.suffix == COMPRESSED and path.is_file():
        return decode_object(_unpacked(path), path.name)
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise _too_large(path)
    return read_json_object(path)[0]


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            data = file.read(MOST_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        fix = "compress it once more, or give it a name without .gz"
        raise InputError(str(path), f"is no whole file of gzip ({error})", fix) from None
    if len(data) > MOST_BYTES:
        raise _too_large(path)
    return data


def _too_large(path: Path) -> InputError:
    return InputError(str(path), f"holds more than {MOST_BYTES:,} bytes of text", "no certificate is read beyond that")


def certificate_text(certificate: ProofCertificate) -> str:
    """The certificate as the text of its file, with a trailing newline."""
    document = certificate.model_dump(mode="json")
    if not certificate.nodes:
        del document["nodes"]
    return json_text(document)


def save_certificate(certificate: ProofCertificate, path: str | Path) -> None:
    """Write the certificate's file, compressed if its name ends in ``.gz``; the same certificate gives the same bytes.

    Raises :class:`InputError` where the text is more than is ever read.
    """
    path, text = Path(path), certificate_text(certificate).encode()
    if len(text) > MOST_BYTES:
        raise _too_large(path)
    path.write_bytes(_packed(text) if path.suffix == COMPRESSED else text)


def _packed(text: bytes) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as file:
        file.write(text)
    return out.getvalue()
