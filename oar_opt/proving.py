"""Certificates of proof, made and checked for whoever asks; no solver and no formulation has a part in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oar_opt.errors import UnsupportedError
from oar_opt.library import load
from oar_opt.problem import Move, RecourseProblem
from oar_opt.proof.certificate_file import ProofCertificate, load_certificate, save_certificate
from oar_opt.proof.checker import Verdict, check, not_checkable
from oar_opt.proof_search.producer import make_certificate

if TYPE_CHECKING:
    from oar_opt.pipeline import Result


@dataclass(frozen=True)
class Proof:
    """A certificate with the verdict on it; ``seconds`` are those of making and checking it."""

    certificate: ProofCertificate
    verdict: Verdict
    seconds: float = 0.0

    @property
    def sentence(self) -> str:
        """What is proved."""
        return self.verdict.sentence

    @property
    def bound(self) -> str | None:
        """The decimal that no admissible change is better than; None where none is an answer."""
        return self.verdict.bound

    def save(self, path: str | Path) -> None:
        """Write the certificate's file, compressed if its name ends in ``.gz``."""
        save_certificate(self.certificate, path)


def check_certificate(certificate: ProofCertificate | str | Path, instance: RecourseProblem | str | Path) -> Verdict:
    """The verdict on a certificate, in exact or ball arithmetic and without any solver.

    Parameters
    ----------
    certificate : or its file, which may be compressed.
    instance : a problem that was read from a file, a shipped instance's name, or a path.

    Raises
    ------
    InputError : one of the files is none of its format.
    """
    stated = certificate if isinstance(certificate, ProofCertificate) else load_certificate(certificate)
    return check(stated, instance if isinstance(instance, RecourseProblem) else load(instance))


def prove(problem: RecourseProblem, known: Sequence[Move] | None = None, seconds: float | None = None) -> Proof:
    """A certificate of a problem that was read from a file, with its verdict, which is that all is proved.

    Parameters
    ----------
    known : a change that may be the best; it shortens the search, and a better one is taken where one is met.
    seconds : for the search; None is no limit.

    Raises
    ------
    UnsupportedError : no certificate of this instance can be made; the message has the reason.
    """
    require_provable(problem)
    started = time.monotonic()
    certificate = make_certificate(problem, known, seconds)
    verdict = check(certificate, problem)
    if not verdict.proved:
        raise UnsupportedError(verdict.sentence)
    return Proof(certificate, verdict, time.monotonic() - started)


def prove_result(result: Result, seconds: float | None = None) -> Proof:
    """:func:`prove` with a result's own answer as the known change."""
    answer = result.verification.evaluation
    return prove(result.problem, None if answer is None else answer.moves, seconds)


def require_provable(problem: RecourseProblem) -> None:
    """:class:`UnsupportedError` where it is known beforehand that no certificate can be made."""
    reason = not_checkable(problem) if problem.sha256 else "it has no file; save it, and load that"
    if reason:
        raise UnsupportedError(f"there is no certificate of this instance: {reason}")
