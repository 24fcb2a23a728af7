"""Checking a certificate against solving its instance: seconds of both in one process, and the certificate's size.

    python -m oar_opt.bench.checking
    python -m oar_opt.bench.checking wine-n80-d5-k8-centroid-menus-s1 iris-n20-d4-k9-svm-labels-s1 --time-limit 60

For each of the library's instances with a stored certificate (or those named): the certificate is read and checked,
and the instance solved by ``oar solve``'s defaults, after all modules have been loaded by a run before the clock. The
last line has the medians, and for how many the check was faster.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from oar_opt.bench.best_known import certificate_paths, read_bounds
from oar_opt.errors import InputError, VerificationError
from oar_opt.library import load
from oar_opt.pipeline import solve
from oar_opt.proof.certificate_file import load_certificate
from oar_opt.proof.checker import check

ROW = "{:<44} {:>11} {:>6} {:>8} {:>9} {:>9} {:>8}"
HEAD = ("instance", "kind", "nodes", "bytes", "check s", "solve s", "ratio")


@dataclass(frozen=True)
class Measured:
    """One instance: the certificate's kind, nodes and bytes, and the seconds of both."""

    name: str
    kind: str
    nodes: int
    size: int
    checking: float
    solving: float

    def line(self) -> str:
        """A row of the table."""
        seconds = f"{self.checking:.3f}", f"{self.solving:.3f}", f"{self.solving / self.checking:.1f}"
        return ROW.format(self.name, self.kind, self.nodes, self.size, *seconds)


def stored(name: str) -> Path:
    """The stored certificate of an instance; :class:`InputError` where there is none."""
    for path in certificate_paths(name):
        if path.is_file():
            return path
    raise InputError("instance", f"'{name[:60]}' has no certificate in the library", "see instances/library")


def measured(name: str, limit: float | None) -> Measured:
    """Both in turn; :class:`VerificationError` where the certificate does not check."""
    path = stored(name)
    problem = load(name)
    started = time.perf_counter()
    certificate = load_certificate(path)
    verdict = check(certificate, problem)
    checking = time.perf_counter() - started
    if not verdict.proved:
        raise VerificationError(f"{name}: {verdict.sentence}")
    started = time.perf_counter()
    solve(problem, time_limit=limit)
    solving = time.perf_counter() - started
    return Measured(name, certificate.kind, len(certificate.nodes), path.stat().st_size, checking, solving)


def summary(runs: Sequence[Measured]) -> str:
    """The last line."""
    faster = sum(run.checking < run.solving for run in runs)
    ratio = median(run.solving / run.checking for run in runs)
    sizes, checks = [run.size for run in runs], [run.checking for run in runs]
    return (
        f"{len(runs)} certificates, {median(sizes):,.0f} bytes in the median and {max(sizes):,} at most; "
        f"checking {median(checks):.3g} s in the median and {max(checks):.3g} s at most, "
        f"solving {median(run.solving for run in runs):.3g} s; "
        f"checking is faster for {faster}, {ratio:.3g} times in the median"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="instances of the library; all with a certificate")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds for each run of the solver")
    given = parser.parse_args(arguments)
    names = given.names or [name for name, known in read_bounds().items() if known.proved]
    try:
        measured(names[0], given.time_limit)
        for name in names[1:]:
            stored(name)
    except InputError as error:
        parser.error(str(error))
    print(ROW.format(*HEAD))
    runs = []
    for name in names:
        runs.append(measured(name, given.time_limit))
        print(runs[-1].line(), flush=True)
    print(summary(runs))


if __name__ == "__main__":
    main()
