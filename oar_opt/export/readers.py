"""Independent readers of written files: HiGHS, SCIP, and the programs ``cbc`` and ``glpsol`` where installed.

Each reads a file anew, counts what it holds and, where a time is given, solves it. None is asked for what it is known
not to read. The values are in the sense of the program that was written: a file that was turned round is turned back.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from oar_opt.export.file_program import FileProgram
from oar_opt.export.formats import MPS_AUX, format_named
from oar_opt.export.highs_program import highs_program
from oar_opt.solver_features import SolverFeature


@dataclass(frozen=True)
class Size:
    """What a file holds; None where a reader does not tell. ``rows`` are without sets and indicator rows.

    ``tiny`` are coefficients beside ``nonzeros`` that a reader may drop.
    """

    rows: int | None = None
    columns: int | None = None
    nonzeros: int | None = None
    sets: int | None = None
    indicators: int | None = None
    constant: float | None = None
    tiny: int = 0


@dataclass(frozen=True)
class Outcome:
    """Of a solve: the optimum, None with ``finished`` where it is infeasible."""

    finished: bool
    value: float | None = None

    @property
    def words(self) -> str:
        return "infeasible" if self.value is None else f"solved with {self.value:.8g}"


@dataclass(frozen=True)
class Reading:
    """``size`` is None where the file was not read; ``words`` then says why, and ``refused`` that the file was tried.

    ``program`` is what it says, where the reader hands that out.
    """

    reader: str
    size: Size | None = None
    outcome: Outcome | None = None
    words: str = ""
    refused: bool = False
    program: FileProgram | None = None

    @classmethod
    def refusal(cls, reader: str, why: str = "") -> Reading:
        """Of a file that it cannot read, though it should."""
        return cls(reader, words=f"refuses the file ({why})" if why else "refuses the file", refused=True)


@dataclass(frozen=True)
class Job:
    """A file to read, and to solve within ``seconds`` (None: not at all) to the relative ``gap``."""

    path: Path
    form: str
    maximises: bool
    needs: frozenset[SolverFeature]
    seconds: float | None
    gap: float

    @property
    def sign(self) -> float:
        """Of the file's optimum in the program's."""
        return -1.0 if self.maximises and format_named(self.form).minimised else 1.0


class Reader(ABC):
    """A program that reads some of the formats; ``knows`` are the features that it reads in them."""

    name: ClassVar[str]
    forms: ClassVar[frozenset[str]]
    knows: ClassVar[frozenset[SolverFeature]] = frozenset()

    def read(self, job: Job) -> Reading:
        """Read, and solve where asked for."""
        beyond = sorted(job.needs - self.knows)
        if beyond:
            return Reading(self.name, words=f"not asked, since it is not known to read {' and '.join(beyond)}")
        return self.reading(job)

    @abstractmethod
    def reading(self, job: Job) -> Reading:
        """As :meth:`read`, of a file that the reader knows all parts of."""


class HighsReader(Reader):
    """Through ``highspy``."""

    name = "HiGHS"
    forms = frozenset({"lp", "mps", "mps-min", MPS_AUX})

    def reading(self, job: Job) -> Reading:
        import highspy

        from oar_opt.solvers.highs import quiet_highs

        reader = quiet_highs()
        if reader.readModel(str(job.path)) == highspy.HighsStatus.kError:
            return Reading.refusal(self.name)
        lp = reader.getLp()
        size = Size(reader.getNumRow(), reader.getNumCol(), reader.getNumNz(), constant=float(lp.offset_))
        return Reading(self.name, size, self._solve(reader, job), program=highs_program(lp))

    @staticmethod
    def _solve(reader: Any, job: Job) -> Outcome | None:
        if job.seconds is None:
            return None
        settings = {"time_limit": job.seconds, "mip_rel_gap": job.gap, "mip_abs_gap": job.gap, "threads": 1}
        for name, value in (settings | {"mip_feasibility_tolerance": 1e-8}).items():
            reader.setOptionValue(name, value)
        reader.resetGlobalScheduler(True)
        reader.run()
        status = reader.getModelStatus().name
        if status == "kInfeasible":
            return Outcome(finished=True)
        value = job.sign * float(reader.getInfo().objective_function_value)
        return Outcome(status == "kOptimal", value)


class ScipReader(Reader):
    """Through ``pyscipopt``."""

    name = "SCIP"
    forms = frozenset({"lp", "mps", "mps-min", MPS_AUX, "cip", "nl"})
    knows = frozenset(SolverFeature)

    def reading(self, job: Job) -> Reading:
        from pyscipopt import Model

        reader = Model()
        reader.hideOutput()
        try:
            reader.readProblem(str(job.path))
        except OSError as failure:
            return Reading.refusal(self.name, str(failure))
        kinds = [row.getConshdlrName() for row in reader.getConss()]
        linear = [row for row, kind in zip(reader.getConss(), kinds, strict=True) if kind == "linear"]
        nonzeros = None if job.needs else sum(len(reader.getValsLinear(row)) for row in linear)
        sets, indicators = kinds.count("SOS1"), kinds.count("indicator")
        # Every indicator row comes with a linear row and a slack variable of SCIP's own.
        rows, columns = len(kinds) - sets - 2 * indicators, reader.getNVars() - indicators
        size = Size(rows, columns, nonzeros, sets, indicators, float(reader.getObjoffset()))
        return Reading(self.name, size, self._solve(reader, job))

    @staticmethod
    def _solve(reader: Any, job: Job) -> Outcome | None:
        from oar_opt.solvers.stderr_filter import stderr_without

        if job.seconds is None:
            return None
        reader.setParams({"limits/time": job.seconds, "limits/gap": job.gap, "limits/absgap": job.gap})
        if job.needs:
            # As in our own runs: symmetries of quadratic rows have crashed it.
            reader.setParams({"misc/usesymmetry": 0})
        else:
            reader.setParams({"numerics/feastol": 1e-9})
        with stderr_without(b"Cannot set feasibility tolerance to small value"):
            reader.optimize()
        status = reader.getStatus()
        if status in ("infeasible", "inforunbd"):
            return Outcome(finished=True)
        if not reader.getNSols():
            return Outcome(finished=False)
        return Outcome(status in ("optimal", "gaplimit"), job.sign * float(reader.getObjVal()))


class ProgramReader(Reader):
    """A program of its own, which prints what it reads."""

    command: ClassVar[str]

    def reading(self, job: Job) -> Reading:
        if shutil.which(self.command) is None:
            return Reading(self.name, words=f"not asked, since '{self.command}' is not installed")
        unknown = self.unknown(job)
        if unknown:
            return Reading(self.name, words=unknown)
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "answer"
            done = subprocess.run(
                [self.command, *self.arguments(job, answer)], capture_output=True, text=True, check=False
            )
            return self.said(job, done.stdout, answer.read_text(encoding="utf-8") if answer.is_file() else "")

    def unknown(self, job: Job) -> str | None:
        """What of this file the program is known not to read, or None."""
        return None

    @abstractmethod
    def arguments(self, job: Job, answer: Path) -> list[str]:
        """Of the command."""

    @abstractmethod
    def said(self, job: Job, printed: str, answer: str) -> Reading:
        """What the program printed and what it wrote as its answer."""


class CbcReader(ProgramReader):
    """COIN-OR's CBC; it says nothing of the size of LP files."""

    name, command = "CBC", "cbc"
    forms = frozenset({"lp", "mps", "mps-min", MPS_AUX})

    def arguments(self, job: Job, answer: Path) -> list[str]:
        # It ignores the section of an MPS file that says what is maximised.
        sense = ["-max"] if job.form == "mps" and job.maximises else []
        if job.seconds is None:
            return [str(job.path), *sense, "-quit"]
        limits = ["-sec", f"{job.seconds:g}", "-ratio", f"{job.gap:g}", "-allow", f"{job.gap:g}"]
        return [str(job.path), *sense, *limits, "-solve", "-solu", str(answer), "-quit"]

    def said(self, job: Job, printed: str, answer: str) -> Reading:
        found = re.search(r"has (\d+) rows, (\d+) columns and (\d+) elements", printed)
        size = Size(*(int(number) for number in found.groups())) if found else None
        head = answer.partition("\n")[0]
        if size is None and not head and (job.form != "lp" or job.seconds is not None):
            return Reading.refusal(self.name)
        if size is None and not head:
            return Reading(self.name, words="says nothing of an LP file that is not solved")
        return Reading(self.name, size or Size(), self._outcome(job, head))

    @staticmethod
    def _outcome(job: Job, head: str) -> Outcome | None:
        if job.seconds is None:
            return None
        if head.startswith(("Infeasible", "Integer infeasible")):
            return Outcome(finished=True)
        found = re.match(r"Optimal - objective value (\S+)", head)
        return Outcome(True, job.sign * float(found.group(1))) if found else Outcome(finished=False)


class GlpkReader(ProgramReader):
    """GNU's GLPK."""

    name, command = "GLPK", "glpsol"
    forms = frozenset({"lp", "mps", "mps-min", MPS_AUX})

    def unknown(self, job: Job) -> str | None:
        if job.form == "mps" and job.maximises:
            return "not asked, since it reads no OBJSENSE section: for it there is --format mps-min"
        return None

    def arguments(self, job: Job, answer: Path) -> list[str]:
        kind = {"lp": "--lp", MPS_AUX: "--mps"}.get(job.form, "--freemps")
        if job.seconds is None:
            return [kind, str(job.path), "--check"]
        limits = ["--tmlim", f"{max(1, round(job.seconds))}", "--mipgap", f"{job.gap:g}"]
        return [kind, str(job.path), *limits, "-w", str(answer)]

    def said(self, job: Job, printed: str, answer: str) -> Reading:
        if job.seconds is None:
            counts = re.findall(r"^Number of (?:rows|columns|non-zeros \(matrix\)) += +(\d+)$", printed, re.MULTILINE)
            return Reading(self.name, Size(*map(int, counts))) if len(counts) == 3 else Reading.refusal(self.name)
        # MPS files count the objective as a row at first.
        found = re.findall(r"^(\d+) rows, (\d+) columns, (\d+) non-zeros", printed, re.MULTILINE)
        place = 1 if "free row was removed" in printed else 0
        if len(found) <= place:
            return Reading.refusal(self.name)
        return Reading(self.name, Size(*map(int, found[place])), self._outcome(job, printed, answer))

    @staticmethod
    def _outcome(job: Job, printed: str, answer: str) -> Outcome:
        found = re.search(r"^s (?:mip|bas) \d+ \d+ (.*)$", answer, re.MULTILINE)
        status = found.group(1).split() if found else []
        if status[:1] == ["o"] or status[:2] == ["f", "f"]:
            return Outcome(True, job.sign * float(status[-1]))
        infeasible = status[:1] == ["n"] or "HAS NO PRIMAL FEASIBLE" in printed or "HAS NO INTEGER FEASIBLE" in printed
        return Outcome(finished=infeasible)


READERS: tuple[Reader, ...] = (HighsReader(), ScipReader(), CbcReader(), GlpkReader())
