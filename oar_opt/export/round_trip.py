"""Reads a written file back by other programs and compares it with the program that it was written from.

Compared are rows, columns, nonzeros of linear programs, special ordered sets, indicator rows and the objective's
constant; small programs that are solved here in a short time are solved by the others as well, and the optimum must be
the program's own. Where what was read is at hand (HiGHS; our own readers of MathOptFormat, GAMS, BARON and CBF), every
row, interval and the objective are compared at points (:mod:`oar_opt.export.points`). Another size or value is an
error: the file says something else. Another optimum is reported, since a solver may stop at its own tolerances. Of a
bilevel program these readers know the MPS file alone, so the optimum is that of its high-point relaxation: both levels'
rows, the leader's objective; its numbers are rounded, so that no points are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from oar_opt.cone_form import ConeForm
from oar_opt.contracts import PyomoProgram
from oar_opt.errors import SolverError
from oar_opt.export.bar_reader import read_bar
from oar_opt.export.cbf_reader import read_cbf
from oar_opt.export.file_program import FileProgram, UnreadableError
from oar_opt.export.formats import BILEVEL_FORMATS, format_named
from oar_opt.export.gams_reader import read_gams
from oar_opt.export.mof_reader import read_mof
from oar_opt.export.names import Names, written_chains, written_rows, written_variables
from oar_opt.export.points import DRAWN, Point, conic_difference, difference
from oar_opt.export.readers import READERS, Job, Outcome, Reading, Size
from oar_opt.result import Request

CHECKED_COLUMNS = 20_000
"""By default larger programs are not read back."""
SOLVED_COLUMNS = 300
"""Larger ones are read back and not solved."""
SECONDS = 3.0
"""For each reader's solve, and before that for the program's own: without it there is nothing to compare."""
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


OWN_READERS: dict[str, Callable[[str], FileProgram]] = {"mof": read_mof, "gams": read_gams, "bar": read_bar}
OURS = "our own reader"


def is_checked(columns: int) -> bool:
    """Whether a program of so many columns is small enough to be read back by default."""
    return columns <= CHECKED_COLUMNS


def check(
    program: PyomoProgram, names: Names, path: Path, form: str, start: Point | None = None
) -> tuple[Opinion, ...]:
    """The opinions of all readers of the format; those that are not installed say so. ``start`` is a point to compare.

    Raises :class:`SolverError` where one reads another size than the program has, or other values at points.
    """
    if form in OWN_READERS:
        return (_own_opinion(program, names, path, form, start),)
    solves = len(written_variables(program)) <= SOLVED_COLUMNS
    own = _own_outcome(program) if solves else None
    seconds = SECONDS if own is not None and own.finished else None
    job = Job(path, form, program.maximises, program.needs, seconds, GAP)
    is_bilevel = form in BILEVEL_FORMATS
    readings = [reader.read(job) for reader in READERS if form in reader.forms]
    if is_bilevel:
        readings = [replace(reading, program=None) for reading in readings]
    size = size_of(program, form)
    for reading in readings:
        _check_size(path, reading, size)
        if reading.program is not None:
            read = _turned(reading.program) if job.sign < 0 else reading.program
            _refuse(path, reading.reader, difference(program, names, read, start))
    compared = any(reading.program is not None for reading in readings)
    whole = _Whole(size, own, bool(program.needs), _count(start), compared, is_bilevel)
    return tuple(_opinion(reading, whole) for reading in readings)


@dataclass(frozen=True)
class _Whole:
    """What opinions are measured by: the program's size and outcome, how many points were compared, and whether
    ``compared`` says that another reader has read the file as the program, row by row."""

    size: Size
    own: Outcome | None
    nonlinear: bool
    points: int
    compared: bool
    is_bilevel: bool


def check_cone(form: ConeForm, path: Path) -> Opinion:
    """As :func:`check`, of a conic program."""
    try:
        found = read_cbf(path.read_text(encoding="utf-8"))
    except UnreadableError as failure:
        return Opinion(OURS, False, f"refuses the file: {failure}")
    _refuse(path, OURS, conic_difference(form, found))
    return Opinion(OURS, True, f"reads {found.rows} rows and {found.columns} columns, as written at {DRAWN} points")


def _own_opinion(program: PyomoProgram, names: Names, path: Path, form: str, start: Point | None) -> Opinion:
    try:
        found = OWN_READERS[form](path.read_text(encoding="utf-8"))
    except UnreadableError as failure:
        return Opinion(OURS, False, f"refuses the file: {failure}")
    _refuse(path, OURS, difference(program, names, found, start))
    rows, columns = len(written_rows(program)), len(names.columns)
    return Opinion(OURS, True, f"reads {rows} rows and {columns} columns, as written at {_count(start)} points")


def _count(start: Point | None) -> int:
    return DRAWN + (start is not None)


def _refuse(path: Path, reader: str, other: str | None) -> None:
    if other:
        raise SolverError(f"{path} was read back by {reader} with {other}: please report it")


def _turned(found: FileProgram) -> FileProgram:
    """The program of a file that minimises minus what is maximised."""
    return replace(found, objective=lambda values: -found.objective(values), maximises=not found.maximises)


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
    sign = -1.0 if program.maximises and format_named(form).minimised else 1.0
    constant, columns = sign * float(objective.constant), len(written_variables(program))
    if constant and twice:
        # Their writer makes it the coefficient of a column that is always 1; in MPS files a row says so.
        constant, columns, rows, nonzeros = 0.0, columns + 1, rows + (form != "lp"), nonzeros + (form != "lp")
    return Size(
        rows,
        columns,
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


def _opinion(reading: Reading, whole: _Whole) -> Opinion:
    own, size = whole.own, whole.size
    if reading.size is None:
        return Opinion(reading.reader, False if reading.refused else None, reading.words)
    counted = reading.size.rows is not None
    read = f"reads {size.rows} rows and {size.columns} columns, as written" if counted else "does not tell the size"
    if reading.program is not None:
        read += f" at {whole.points} points"
    if own is not None and not own.finished:
        return Opinion(reading.reader, True, f"{read}; not solved, since here it takes more than {SECONDS:g} s")
    if own is None or reading.outcome is None:
        return Opinion(reading.reader, True, read)
    if not reading.outcome.finished:
        return Opinion(reading.reader, True, f"{read}; not solved within {SECONDS:g} s")
    if whole.compared and own.value is not None and reading.outcome.value is None:
        # GLPK says so of columns in intervals of 1e-7, and in deep trees.
        words = f"{read}; infeasible by its arithmetic, and the file's rows hold at {own.value:.8g}, found here"
        return Opinion(reading.reader, True, words)
    if (own.value is None) != (reading.outcome.value is None):
        return Opinion(reading.reader, False, f"{read}; {reading.outcome.words}, and the program is {own.words}")
    if own.value is None or reading.outcome.value is None:
        return Opinion(reading.reader, True, f"{read}; infeasible, as the program is")
    off = abs(own.value - reading.outcome.value) / max(1.0, abs(own.value))
    agrees = off <= (AGREE_NONLINEAR if whole.nonlinear else AGREE)
    of = " of the high-point relaxation" if whole.is_bilevel else ""
    if agrees:
        return Opinion(reading.reader, True, f"{read}; the same optimum{of}, {own.value:.8g}")
    return Opinion(
        reading.reader, False, f"{read}; optimum {reading.outcome.value:.8g}, and here it is {own.value:.8g}"
    )
