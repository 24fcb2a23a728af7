"""Writes a formulation's program as a file for other solvers, with a map of its names.

Formats: ``lp`` (CPLEX LP) and ``mps`` (free MPS). Beside ``FILE`` comes ``FILE.map.json``: what every column and row
means and which proof each big-M has. The file is read back at once and its size and optimum-free data compared, since
other people's writers and readers have lost rows and constants without a word. Programs with special ordered sets or
quadratic rows are written as LP only: their MPS sections are not read back as they were written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import InputError, SolverError, UnsupportedError
from oar_opt.pipeline import choose_program
from oar_opt.problem import RecourseProblem
from oar_opt.solver_features import SolverFeature

FORMATS = {"lp": "cpxlp", "mps": "mps"}
"""Name here and name in Pyomo."""
IN_LP_FILES = frozenset({SolverFeature.SOS1, SolverFeature.QUADRATIC})
"""What LP files hold beyond linear rows."""


@dataclass(frozen=True)
class Exported:
    """The written files, the formulation and the program's size."""

    path: Path
    map_path: Path
    formulation: str
    rows: int
    columns: int


def export(problem: RecourseProblem, path: Path, *, formulation: str = "auto", form: str = "mps") -> Exported:
    """Write the program of ``formulation`` for ``problem`` to ``path``.

    Raises
    ------
    InputError : unknown format, or a folder that does not exist.
    UnsupportedError : the formulation does not apply, or is no program that a file can hold.
    """
    if form not in FORMATS:
        raise InputError("--format", f"'{form}' is unknown", f"there are: {', '.join(FORMATS)}")
    chosen = choose_program(
        problem,
        formulation,
        no_program="is computed directly; nothing to write",
        none="no formulation of this instance can be written to a file",
    )
    program = chosen.build(problem)
    if not isinstance(program, PyomoProgram):
        raise UnsupportedError(f"formulation '{chosen.name}' is computed directly; there is no program to write")
    _check_needs(program, chosen.name, form)
    symbols = _write(program, path, form)
    rows, columns = _read_back(path, program)
    symbols |= _row_symbols(program, rows)
    map_path = path.with_name(path.name + ".map.json")
    document = _map(problem, program, chosen.name, symbols)
    map_path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Exported(path, map_path, chosen.name, len(rows), columns)


def _check_needs(program: PyomoProgram, name: str, form: str) -> None:
    beyond = sorted(program.needs - IN_LP_FILES)
    if beyond:
        raise UnsupportedError(
            f"the program of formulation '{name}' has {', '.join(beyond)}, which no file here can hold"
        )
    if program.needs and form != "lp":
        words = ", ".join(sorted(program.needs))
        raise UnsupportedError(f"the program of formulation '{name}' has {words}: write it with --format lp")


def _write(program: PyomoProgram, path: Path, form: str) -> dict[str, str]:
    """Write the file; returns symbol in the file -> component in the model."""
    if not path.parent.is_dir():
        raise InputError(str(path), "lies in a folder that does not exist", "create the folder first")
    try:
        _, identity = program.model.write(str(path), format=FORMATS[form], io_options={"symbolic_solver_labels": True})
    except OSError as failure:
        raise InputError(str(path), f"cannot be written: {failure.strerror}") from failure
    if SolverFeature.QUADRATIC in program.needs:
        # Pyomo writes squares with blanks, which the format allows and SCIP's reader does not know.
        path.write_text(path.read_text(encoding="utf-8").replace(" ^ 2\n", "^2\n"), encoding="utf-8")
    by_symbol = program.model.solutions.symbol_map[identity].bySymbol
    return {symbol: component.name for symbol, component in by_symbol.items()}


def _row_symbols(program: PyomoProgram, rows: list[str]) -> dict[str, str]:
    """Row in the file -> constraint: writers put ``c_e_``, ``c_l_`` or ``c_u_`` before its name and ``_`` behind."""
    from pyomo.core.base.label import cpxlp_label_from_name
    from pyomo.environ import Constraint

    named = {
        cpxlp_label_from_name(row.name): row.name
        for row in program.model.component_data_objects(Constraint, active=True)
    }
    unknown = [row for row in rows if row[4:-1] not in named]
    if unknown:
        raise SolverError(f"row '{unknown[0]}' of the written file belongs to no constraint of the program")
    return {row: named[row[4:-1]] for row in rows}


def _read_back(path: Path, program: PyomoProgram) -> tuple[list[str], int]:
    """Read the file by a solver and compare its size with the model's: its rows' names and the number of columns."""
    from pyomo.environ import Constraint, SOSConstraint

    rows, sets, columns = _read_by_scip(path) if program.needs else _read_by_highs(path)
    for found, kind, words in ((len(rows), Constraint, "rows"), (sets, SOSConstraint, "special ordered sets")):
        written = sum(1 for _ in program.model.component_data_objects(kind, active=True))
        if found != written:
            raise SolverError(f"{path} was read back with {found} {words}, and the program has {written}")
    return rows, columns


def _read_by_highs(path: Path) -> tuple[list[str], int, int]:
    """Names of the rows, number of special ordered sets, number of columns."""
    from oar_opt.solvers.highs import quiet_highs

    reader = quiet_highs()
    reader.readModel(str(path))
    return [str(reader.getRowName(i)[1]) for i in range(reader.getNumRow())], 0, int(reader.getNumCol())


def _read_by_scip(path: Path) -> tuple[list[str], int, int]:
    from pyscipopt import Model

    reader = Model()
    reader.hideOutput()
    reader.readProblem(str(path))
    rows = reader.getConss()
    names = [row.name for row in rows if row.getConshdlrName() != "SOS1"]
    return names, len(rows) - len(names), int(reader.getNVars())


def _map(problem: RecourseProblem, program: PyomoProgram, formulation: str, symbols: dict[str, str]) -> dict[str, Any]:
    def meaning(component: str) -> str:
        exact = program.meanings.get(component)
        prefix = component.rsplit(".", 1)[0]
        return exact or program.meanings.get(prefix, "")

    names = {
        symbol: {"component": component, "meaning": meaning(component)} for symbol, component in sorted(symbols.items())
    }
    bounds = {
        name: {
            "lower": bound.lower if bound.is_finite else None,
            "upper": bound.upper if bound.is_finite else None,
            "reason": bound.words,
        }
        for name, bound in program.bounds.items()
    }
    return {
        "instance": problem.name,
        "instance_sha256": problem.sha256,
        "formulation": formulation,
        "names": names,
        "proved_bounds": bounds,
    }
