"""Certificates of proof for the library's bounds: ``instances/library/certificates/NAME.certificate.json`` (``.gz``).

A bound, or an infeasibility, of the best known ones has the grade ``proved`` only if its certificate checks in exact
arithmetic; then the certificate lies beside the library and proves just that bound. A certificate is taken in
(:func:`take_in`) like a solution: its change is re-trained and verified and may be a better answer, its bound must be
tighter than what is known, or as tight and of a lower grade so far, or the first that is proved and closes the gap; and
what contradicts is an error. A bound without a proof that is tighter than a proved one which leaves a gap takes its
place, and its certificate is removed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from oar_opt.bench.best_known import (
    BestKnown,
    Bound,
    Claim,
    certificate_paths,
    drop_certificates,
    merge,
    of_this_file,
    refuse_contradiction,
    with_bound,
    with_infeasibility,
)
from oar_opt.certificate import Grade
from oar_opt.claimed_moves import verified_claim
from oar_opt.errors import InputError, VerificationError
from oar_opt.library import LIBRARY, benchmarks, load
from oar_opt.limits import Clock
from oar_opt.problem import RecourseProblem
from oar_opt.proof.certificate_file import (
    COMPRESSED,
    FORMAT,
    ProofCertificate,
    certificate_text,
    load_certificate,
    read_certificate_document,
    save_certificate,
)
from oar_opt.proof.checker import Verdict
from oar_opt.proved_answer import certified_moves
from oar_opt.proved_bounds import outward
from oar_opt.proving import check_certificate
from oar_opt.result import Claim as ProgramClaim
from oar_opt.result import StoppedBy

LARGE = 200_000
"""Bytes of text beyond which a stored certificate is compressed."""
EXACT = "exact arithmetic"


def certificate_in(path: Path) -> ProofCertificate | None:
    """The certificate in a file, None where the file is of another format.

    Raises :class:`InputError` where the file is none of JSON, or its certificate is none.
    """
    if path.suffix == ".jsonl":
        return None
    is_one = path.suffix == COMPRESSED or read_certificate_document(path).get("format") == FORMAT
    return load_certificate(path) if is_one else None


def take_in(
    known: Mapping[str, BestKnown], certificate: ProofCertificate, folder: Path = LIBRARY
) -> tuple[BestKnown, tuple[str, ...]]:
    """What is known after a certificate, and in words what of it was better; stores it if its bound is.

    Raises
    ------
    InputError : it is of an instance that is not in the library.
    VerificationError : it does not check, or contradicts what is known.
    """
    name = certificate.instance
    if name not in benchmarks():
        raise InputError("instance", f"is '{name[:60]}', which is not in the library", "certify one of the library's")
    problem, started = load(name), time.monotonic()
    verdict = check_certificate(certificate, problem)
    if not verdict.proved:
        raise VerificationError(f"{name}: {verdict.sentence}")
    before = of_this_file(known, problem)
    after, words = _with_bound(problem, before, certificate, verdict, time.monotonic() - started)
    refuse_contradiction(problem, after)
    if certificate.moves is not None:
        after, more = merge({name: after}, _claim(problem, certificate), folder)
        words = (*more, *words)
    if after.proved is not before.proved:
        _store(certificate, folder)
    return after, words


def _claim(problem: RecourseProblem, certificate: ProofCertificate) -> Claim:
    """The certificate's change, re-trained and verified, without its bound."""
    moves = certified_moves(problem, certificate)
    stated = ProgramClaim(StoppedBy.PROOF, moves=moves, solver=EXACT)
    solution = verified_claim(problem, stated, certificate.kind, "the certificate", Clock(None)).solution
    return Claim(problem, solution, _method(certificate), version("oar_opt"), _today())


def _with_bound(
    problem: RecourseProblem, known: BestKnown, certificate: ProofCertificate, verdict: Verdict, seconds: float
) -> tuple[BestKnown, tuple[str, ...]]:
    """What is known with the proved bound or infeasibility, where that is better."""
    value = 0.0 if verdict.bound is None else outward(problem, verdict.bound)
    grade = str(Grade.PROVED)
    bound = Bound(value, _method(certificate), EXACT, version("oar_opt"), _today(), round(seconds, 2), grade)
    if verdict.bound is None:
        return with_infeasibility(known, bound)
    return with_bound(problem, known, bound)


def _method(certificate: ProofCertificate) -> str:
    return f"certificate ({certificate.kind})"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _store(certificate: ProofCertificate, folder: Path) -> None:
    """Write the certificate beside the library, in place of any other of its instance."""
    drop_certificates(certificate.instance, folder)
    plain, compressed = certificate_paths(certificate.instance, folder)
    plain.parent.mkdir(exist_ok=True)
    large = len(certificate_text(certificate).encode()) > LARGE
    save_certificate(certificate, compressed if large else plain)


# -- what is stored ---


def check_stored(name: str, known: BestKnown, folder: Path = LIBRARY) -> str | None:
    """Why a bound of the grade ``proved`` cannot be believed, or None: its certificate does not check."""
    reason = missing_proof(name, known, folder)
    if reason or known.proved is None:
        return reason
    verdict = check_certificate(_stored(name, folder), load(name))
    return None if verdict.proved else verdict.sentence


def missing_proof(name: str, known: BestKnown, folder: Path = LIBRARY) -> str | None:
    """Why a bound and the stored certificates do not go together, or None; the proof itself is not gone through."""
    files = [path for path in certificate_paths(name, folder) if path.exists()]
    if known.proved is None:
        return f"{files[0].name} proves no bound that is stated" if files else None
    if len(files) != 1:
        return f"the bound is said to be proved, and there are {len(files)} certificates of it"
    certificate = load_certificate(files[0])
    if (certificate.instance, certificate.instance_sha256.lower()) != (name, known.sha256):
        return "the stored certificate is of another instance"
    stated = None if certificate.bound is None else outward(load(name), certificate.bound)
    if stated != (None if known.infeasible else known.proved.value):
        return f"the stored certificate states the bound {certificate.bound}, and that is not the one known"
    return None


def _stored(name: str, folder: Path) -> Path:
    return next(path for path in certificate_paths(name, folder) if path.exists())
