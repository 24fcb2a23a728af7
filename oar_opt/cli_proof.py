"""The command of certificates that need no solver: ``oar check``; and what ``oar solve --prove`` takes in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from oar_opt.errors import UnsupportedError
    from oar_opt.pipeline import Result
    from oar_opt.proof.certificate_file import ProofCertificate
    from oar_opt.proof.checker import Verdict

EXIT_NOT_PROVED = 4
"""A certificate that does not check is a failed verification."""
EXIT_UNDECIDED = 3
"""It was interrupted before anything could be said."""


def register(app: typer.Typer) -> None:
    """Add the command to the program's."""
    app.command()(check)


def check(
    certificate: Annotated[Path, typer.Argument(help="A certificate's file, as 'oar solve --prove' writes it.")],
    instance: Annotated[str, typer.Argument(help="A shipped instance's name or the path of a file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a sentence.")] = False,
) -> None:
    """Check a certificate in exact arithmetic, without any solver, and say what is proved; exit code 4 if it is not."""
    from oar_opt.json_text import json_text
    from oar_opt.proof.certificate_file import load_certificate
    from oar_opt.proving import check_certificate

    stated = load_certificate(certificate)
    try:
        verdict = check_certificate(stated, instance)
    except KeyboardInterrupt:
        print("interrupted: nothing is said about the certificate", file=sys.stderr)
        raise typer.Exit(EXIT_UNDECIDED) from None
    if as_json:
        typer.echo(json_text(_document(stated, verdict)), nl=False)
    else:
        typer.echo(verdict.sentence)
        if verdict.proved:
            typer.echo(_evidence(stated, verdict))
    if not verdict.proved:
        raise typer.Exit(EXIT_NOT_PROVED)


def _document(certificate: ProofCertificate, verdict: Verdict) -> dict[str, Any]:
    """What ``--json`` prints; ``choices`` or ``nodes`` is how many were gone through, null for the other kind and where
    the claim is refused."""
    is_tree, steps = certificate.kind == "tree", verdict.choices or None
    return {
        "proved": verdict.proved,
        "infeasible": verdict.is_infeasible,
        "bound": verdict.bound,
        "sentence": verdict.sentence,
        "kind": certificate.kind,
        "choices": None if is_tree else steps,
        "nodes": steps if is_tree else None,
    }


def _evidence(certificate: ProofCertificate, verdict: Verdict) -> str:
    """By what it is proved, in a sentence."""
    if certificate.kind == "enumeration":
        counted = "the only choice" if verdict.choices == 1 else f"each of the {verdict.choices:,} choices"
        return f"Checked in exact arithmetic for {counted}."
    splits = sum(node.kind in ("options", "query") for node in certificate.nodes)
    parts = len(certificate.nodes) - splits
    counted = "all choices at once" if parts == 1 else f"{parts:,} parts that together hold all choices"
    size = f"{len(certificate.nodes):,} node{'s' * (splits > 0)}"
    return f"Checked in exact arithmetic for {counted}, as a tree of {size}."


def proved(
    result: Result, path: Path, seconds: float | None, quiet: bool = False
) -> tuple[Result, UnsupportedError | None]:
    """The result with a proof of its instance taken in, whose certificate is written; or why there is no proof, as
    where Ctrl-C ended the search for it.

    Raises
    ------
    VerificationError : what is proved contradicts the result. The certificate is written all the same.
    """
    from oar_opt.errors import UnsupportedError
    from oar_opt.proved_answer import with_proof
    from oar_opt.proving import prove_result

    if not quiet:
        print("searching for a proof (Ctrl-C keeps the answer without one)", file=sys.stderr)
    try:
        proof = prove_result(result, seconds)
    except UnsupportedError as reason:
        return result, reason
    except KeyboardInterrupt:
        return result, UnsupportedError("not proved: it was interrupted")
    proof.save(path)
    print(f"{proof.sentence} Certificate written to {path}", file=sys.stderr)
    return with_proof(result, proof), None
