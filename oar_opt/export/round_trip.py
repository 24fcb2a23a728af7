"""Reads a written file back by other programs and compares it with the program that it was written from.

Compared are rows, columns, nonzeros of linear programs, special ordered sets, indicator rows and the objective's
constant; small programs are solved as well, and the optimum must be the program's own. Another size is an error: the
file says something else. Another optimum is reported, since a solver may stop at its own tolerances. Of a bilevel
program these readers know the MPS file alone, so the optimum is that of its high-point relaxation: both levels' rows,
the leader's objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import SolverError
from oar_opt.export.formats import BILEVEL_FORMATS, format_named
from oar_opt.export.names import written_chains, written_rows, written_variables
from oar_opt.export.readers import READERS, Job, Outcome, Reading, Size
from oar_opt.result import Request

CHECKED_COLUMNS = 20_000
"""By default larger programs are not read back."""
SOLVED_COLUMNS = 300
"""Larger ones are read back and not solved."""
SECONDS = 5.0
"""For each reader's solve, and for the program's own."""
GAP = 1e-6
TINY = 1e-9
"""Readers may drop smaller coefficients, and SCIP does; here they are what rounding leaves of 0."""
AGREE, AGREE_NONLINEAR = 1e-5, 1e-3
"""Largest difference of optima, relative to at least 1."""


@dataclass(frozen=True)
class Opinion:
    """What one reader says of the file; ``agrees`` is None where it says nothing."""

    reader: str
    agrees: bool | None
    words: str

    def __str__(self) -> str:
        return f"{self.reader}: {self.words}"


def unread(form: str) -> Opinion:
    """Of a format that nobody here reads."""
    return Opinion("anybody", None, f"no reader of {form} files is known here, so that nothing was compared")


def is_checked(program: PyomoProgram) -> bool:
    """Whether a program is small enough to be read back by default."""
    return len(written_variables(program)) <= CHECKED_COLUMNS


def check(program: PyomoProgram, path: Path, form: str) -> tuple[Opinion, ...]:
    """The opinions of all readers of the format; those that are not installed say so.

    Raises :class:`SolverError` where one reads another size than the program has.
    """
    readers = [reader for reader in READERS if form in reader.forms]
    if not readers:
        return (unread(form),)
    size = size_of(program, form)
    solves = len(written_variables(program)) <= SOLVED_COLUMNS
    job = Job(path, form, program.maximises, program.needs, SECONDS if solves else None, GAP)
    readings = [reader.read(job) for reader in readers]
    for reading in readings:
        _check_size(path, reading, size)
    own = _own_outcome(program) if solves and any(reading.size for reading in readings) else None
    of = " of the high-point relaxation" if form in BILEVEL_FORMATS else ""
    return tuple(_opinion(reading, size, own, bool(program.needs), of) for reading in readings)


def size_of(program: PyomoProgram, form: str) -> Size:
    """Of the program as the format states it: LP and MPS files have two rows for one with two different ends."""
    from pyomo.repn import generate_standard_repn

    twice = form in ("lp", "mps", "mps-min")
    rows, nonzeros, tiny = 0, 0, 0
    for row in written_rows(program):
        body = generate_standard_repn(row.body, quadratic=False, compute_values=True)
        sides = 2 if twice and row.has_lb() and row.has_ub() and not row.equality else 1
        rows += sides
        sizes = [abs(value) for value in body.linear_coefs if value]
        nonzeros += sides * sum(size >= TINY for size in sizes)
        tiny += sides * sum(size < TINY for size in sizes)
    objective = generate_standard_repn(program.objective.expr, quadratic=False, compute_values=True)
    constant = float(objective.constant) * (-1.0 if program.maximises and format_named(form).minimised else 1.0)
    return Size(
        rows,
        len(written_variables(program)),
        None if program.needs else nonzeros,
        len(written_chains(program)),
        len(program.indicators),
        constant,
        tiny,
    )


def _check_size(path: Path, reading: Reading, size: Size) -> None:
    if reading.size is None:
        return
    for name, words in SIZES.items():
        found, written = getattr(reading.size, name), getattr(size, name)
        room = size.tiny if name == "nonzeros" else 0
        if found is not None and written is not None and not written - TINY <= found <= written + room + TINY:
            raise SolverError(
                f"{path} was read back by {reading.reader} with {found:g} {words}, and the program has {written:g}"
            )


SIZES = {
    "rows": "rows",
    "columns": "columns",
    "nonzeros": "nonzeros",
    "sets": "special ordered sets",
    "indicators": "indicator rows",
    "constant": "as the objective's constant",
}


def _own_outcome(program: PyomoProgram) -> Outcome:
    claim = program.run(Request(time_limit=SECONDS, relative_gap=GAP))
    if claim.infeasible:
        return Outcome(finished=True)
    # A heuristic's bound says nothing about the program's own optimum: a finished run does.
    finished = claim.objective is not None and claim.stopped_by.value == "gap"
    return Outcome(finished, claim.objective)


def _opinion(reading: Reading, size: Size, own: Outcome | None, nonlinear: bool, of: str) -> Opinion:
    if reading.size is None:
        return Opinion(reading.reader, None, reading.words)
    counted = reading.size.rows is not None
    read = f"reads {size.rows} rows and {size.columns} columns, as written" if counted else "does not tell the size"
    if own is None or reading.outcome is None:
        return Opinion(reading.reader, True, read)
    if not (own.finished and reading.outcome.finished):
        return Opinion(reading.reader, True, f"{read}; not solved within {SECONDS:g} s")
    if (own.value is None) != (reading.outcome.value is None):
        return Opinion(reading.reader, False, f"{read}; {reading.outcome.words}, and the program is {own.words}")
    if own.value is None or reading.outcome.value is None:
        return Opinion(reading.reader, True, f"{read}; infeasible, as the program is")
    off = abs(own.value - reading.outcome.value) / max(1.0, abs(own.value))
    agrees = off <= (AGREE_NONLINEAR if nonlinear else AGREE)
    if agrees:
        return Opinion(reading.reader, True, f"{read}; the same optimum{of}, {own.value:.8g}")
    return Opinion(
        reading.reader, False, f"{read}; optimum {reading.outcome.value:.8g}, and here it is {own.value:.8g}"
    )
