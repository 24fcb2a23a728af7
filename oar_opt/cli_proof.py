"""The command of certificates that need no solver: ``oar check``; and what ``oar solve --prove`` takes in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from oar_opt.errors import UnsupportedError
    from oar_opt.pipeline import Result

EXIT_NOT_PROVED = 4
"""A certificate that does not check is a failed verification."""


def register(app: typer.Typer) -> None:
    """Add the command to the program's."""
    app.command()(check)


def check(
    certificate: Annotated[Path, typer.Argument(help="A certificate's file, as 'oar solve --prove' writes it.")],
    instance: Annotated[str, typer.Argument(help="A shipped instance's name or the path of a file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a sentence.")] = False,
) -> None:
    """Check a certificate in exact arithmetic, without any solver, and say what is proved; exit code 4 if it is not."""
    import json

    from oar_opt.proving import check_certificate

    verdict = check_certificate(certificate, instance)
    if as_json:
        typer.echo(json.dumps({"proved": verdict.proved, "sentence": verdict.sentence, "choices": verdict.choices}))
    else:
        typer.echo(verdict.sentence)
    if not verdict.proved:
        raise typer.Exit(EXIT_NOT_PROVED)


def proved(result: Result, path: Path, seconds: float | None) -> tuple[Result, UnsupportedError | None]:
    """The result with a proof of its instance taken in, whose certificate is written; or why there is no proof.

    Raises
    ------
    VerificationError : what is proved contradicts the result. The certificate is written all the same.
    """
    from oar_opt.errors import UnsupportedError
    from oar_opt.proved_answer import with_proof
    from oar_opt.proving import prove_result

    try:
        proof = prove_result(result, seconds)
    except UnsupportedError as reason:
        return result, reason
    except KeyboardInterrupt:
        return result, UnsupportedError("not proved: it was interrupted")
    proof.save(path)
    print(f"{proof.sentence} Certificate written to {path}", file=sys.stderr)
    return with_proof(result, proof), None
