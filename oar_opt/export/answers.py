"""Reads what solvers write as their answer: a value for every column, by the names of the file that they read.

Known are the lines ``name value`` of SCIP and Gurobi (``.sol``, ``.mst``), the raw style of HiGHS, the tables of CBC
and of GLPK (``glpsol -o``), and the XML of CPLEX. SCIP and CBC leave out columns that are 0; the others list all.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from oar_opt.errors import InputError

FIX = "give the solver's own solution file: HiGHS, SCIP, CBC, glpsol -o, Gurobi, .mst, or CPLEX's XML"


@dataclass(frozen=True)
class Answer:
    """Values by column; ``writer`` is the solver whose style it is ("" unknown); whether zeros are left out."""

    values: dict[str, float]
    writer: str
    leaves_out_zeros: bool


def read_answer(path: Path) -> Answer:
    """Raises :class:`InputError` where the file has no answer in a style that is known."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as failure:
        raise InputError(str(path), f"cannot be read: {failure.strerror or failure}", "check the path") from failure
    except UnicodeDecodeError as failure:
        raise InputError(str(path), "is not UTF-8 text", FIX) from failure
    for writer, known, read, leaves_out in STYLES:
        if known(text):
            values = read(path, text)
            if not values and not leaves_out:
                raise InputError(str(path), "holds no solution", "let the solver run until it has one")
            return Answer(values, writer, leaves_out)
    raise InputError(str(path), "is no solution file that is known here", FIX)


def _of_pairs(path: Path, lines: Iterable[str]) -> dict[str, float]:
    """Lines that begin with a name and a value; those of comments and empty ones are passed over."""
    values: dict[str, float] = {}
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2:
            raise InputError(str(path), f"has the line '{line.strip()}' without a value", FIX)
        if words[0] in values:
            raise InputError(str(path), f"has two values for '{words[0]}'", "give one solution")
        values[words[0]] = _number(path, words[0], words[1])
    return values


def _number(path: Path, name: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(str(path), f"gives '{name}' the value '{word}', which is no finite number", FIX)
    return value


def _cplex(path: Path, text: str) -> dict[str, float]:
    if "<!DOCTYPE" in text:
        raise InputError(str(path), "declares a document type, which no solution needs", FIX)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as failure:
        raise InputError(str(path), f"is no XML: {failure}", FIX) from failure
    first = root if root.tag == "CPLEXSolution" else root.find("CPLEXSolution")
    found = [] if first is None else first.findall("variables/variable")
    if any("name" not in one.attrib or "value" not in one.attrib for one in found):
        raise InputError(str(path), "has a variable without name or value", FIX)
    return _of_pairs(path, (f"{one.attrib['name']} {one.attrib['value']}" for one in found))


def _highs(path: Path, text: str) -> dict[str, float]:
    """The columns under the primal solution."""
    primal = text.partition("# Primal solution values")[2].partition("# Dual solution values")[0]
    columns = re.search(r"^# Columns \d+\n(.*?)(?=^#|\Z)", primal, re.MULTILINE | re.DOTALL)
    return _of_pairs(path, columns.group(1).splitlines()) if columns else {}


def _scip(path: Path, text: str) -> dict[str, float]:
    if "no solution available" in text:
        raise InputError(str(path), "holds no solution", "let the solver run until it has one")
    heads = ("solution status:", "objective value:")
    return _of_pairs(path, (line for line in text.splitlines() if not line.startswith(heads)))


def _cbc(path: Path, text: str) -> dict[str, float]:
    """After the first line: number, name, value, reduced cost; ``**`` marks what is not feasible."""
    head, *lines = text.splitlines()
    if "nfeasible" in head or any(line.startswith("**") for line in lines):
        raise InputError(str(path), f"holds no solution: '{head.strip()}'", "let the solver run until it has one")
    return _of_pairs(path, (line.split(maxsplit=1)[1] for line in lines if len(line.split()) > 2))


def _glpk(path: Path, text: str) -> dict[str, float]:
    """The table of columns: number, name (a long one has a line of its own), a mark of the basis or ``*``, value."""
    table = re.search(r"^ +No\. Column name[^\n]*\n-[^\n]*\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    if table is None or re.search(r"^Status: +(INTEGER )?(UNDEFINED|EMPTY|INFEASIBLE)", text, re.MULTILINE):
        return {}
    joined = re.sub(r"\n {20,}", " ", table.group(1))
    rows = (line.split() for line in joined.splitlines())
    marks = ("*", "B", "NL", "NU", "NF", "NS")
    return _of_pairs(path, (f"{row[1]} {row[3] if row[2] in marks else row[2]}" for row in rows))


def _pairs(path: Path, text: str) -> dict[str, float]:
    return _of_pairs(path, text.splitlines())


def _starts(*heads: str) -> Callable[[str], bool]:
    return lambda text: text.lstrip().startswith(heads)


def _has_pairs(text: str) -> bool:
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return bool(lines) and all(len(words) == 2 for words in lines)


STYLES: tuple[tuple[str, Callable[[str], bool], Callable[[Path, str], dict[str, float]], bool], ...] = (
    ("CPLEX", _starts("<?xml", "<CPLEXSolution"), _cplex, False),
    ("HiGHS", _starts("Model status"), _highs, False),
    ("SCIP", _starts("solution status:", "objective value:"), _scip, True),
    ("CBC", _starts("Optimal", "Stopped on", "Infeasible", "Integer infeasible"), _cbc, True),
    ("GLPK", _starts("Problem:"), _glpk, False),
    ("Gurobi", _starts("# Solution for model", "# Objective value", "# MIP start"), _pairs, False),
    ("", _has_pairs, _pairs, False),
)
"""Writer, how its style is known, how it is read, and whether it leaves out zeros; the first that is known is taken."""
