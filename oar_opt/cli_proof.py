"""The command of certificates that need no solver: ``oar check``; and what ``oar solve --prove`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from oar_opt.problem import RecourseProblem

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

    from oar_opt.library import find
    from oar_opt.proof.checker import check_files

    verdict = check_files(certificate, find(instance))
    if as_json:
        typer.echo(json.dumps({"proved": verdict.proved, "sentence": verdict.sentence, "choices": verdict.choices}))
    else:
        typer.echo(verdict.sentence)
    if not verdict.proved:
        raise typer.Exit(EXIT_NOT_PROVED)


def write_proof(problem: RecourseProblem, path: Path) -> str:
    """Write the certificate of an enumeration, checked, and return what it proves.

    Raises
    ------
    UnsupportedError : there is no such certificate of this instance, or it does not check.
    """
    from oar_opt.errors import UnsupportedError
    from oar_opt.proof.certificate_file import save_certificate
    from oar_opt.proof.checker import check
    from oar_opt.proof_search.enumeration import prove_by_enumeration

    certificate = prove_by_enumeration(problem)
    verdict = check(certificate, problem)
    if not verdict.proved:
        raise UnsupportedError(verdict.sentence)
    save_certificate(certificate, path)
    return verdict.sentence
