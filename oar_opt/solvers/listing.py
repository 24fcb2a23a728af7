"""Which solvers are installed, with versions, and what kinds of programs each can take.

Two different things are told apart: what a solver takes (:data:`TAKES`; of those that come with this package, and of
CBC and GLPK, tried out by a test, of the others by their own manuals), and, beyond linear rows and integer variables,
what this package uses it for (:mod:`oar_opt.solver_features`): several interfaces drop rows of a kind without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from oar_opt.solver_features import FEATURES

if TYPE_CHECKING:
    from rich.console import RenderableType


class ProgramKind(StrEnum):
    """Kinds of programs, by their usual names."""

    LP = "LP"
    MILP = "MILP"
    QP = "QP"
    MIQP = "MIQP"
    SOS1 = "SOS1"
    INDICATOR = "indicator"
    NONLINEAR = "nonlinear"
    SECOND_ORDER = "SOC"
    EXPONENTIAL = "exp cone"


_LINEAR = frozenset({ProgramKind.LP, ProgramKind.MILP})
_CONVEX = frozenset({ProgramKind.LP, ProgramKind.QP, ProgramKind.SECOND_ORDER})
_CONIC = _CONVEX | {ProgramKind.EXPONENTIAL}
_QUADRATIC = _LINEAR | {ProgramKind.QP, ProgramKind.MIQP}
_COMMERCIAL = _QUADRATIC | {ProgramKind.SOS1, ProgramKind.INDICATOR, ProgramKind.SECOND_ORDER}
_GENERAL = frozenset({ProgramKind.NONLINEAR, ProgramKind.EXPONENTIAL})
_GLOBAL = _QUADRATIC | _GENERAL

TAKES: dict[str, frozenset[ProgramKind]] = {
    "highs": _LINEAR | {ProgramKind.QP},
    "scip": _GLOBAL | {ProgramKind.SOS1, ProgramKind.INDICATOR, ProgramKind.SECOND_ORDER},
    "clarabel": _CONIC,
    "scs": _CONIC,
    "osqp": frozenset({ProgramKind.LP, ProgramKind.QP}),
    "cbc": _LINEAR | {ProgramKind.SOS1},
    "glpk": _LINEAR,
    "ipopt": _GENERAL | {ProgramKind.LP, ProgramKind.QP},
    "gurobi": _COMMERCIAL | _GENERAL,
    "cplex": _COMMERCIAL,
    "xpress": _COMMERCIAL | _GENERAL,
    "mosek": _QUADRATIC | {ProgramKind.SECOND_ORDER, ProgramKind.EXPONENTIAL},
    "bonmin": _GLOBAL,
    "couenne": _GLOBAL,
    "baron": _GLOBAL,
}
"""Where a solver takes functions, a row with an exponential is its exponential cone. Quadratic programs of HiGHS,
Clarabel, SCS, OSQP, CPLEX and MOSEK are convex ones; Ipopt and Bonmin find local optima where a program is not convex.
"""

PACKAGES = {"highs": "highspy", "scip": "pyscipopt", "clarabel": "clarabel", "scs": "scs", "osqp": "osqp"}
"""Solvers that come as Python packages."""


@dataclass(frozen=True)
class SolverRow:
    """One solver; ``version`` is None where it is not installed, and "unknown" where it does not tell."""

    name: str
    version: str | None
    reached_by: str
    takes: frozenset[ProgramKind]
    used_for: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As one entry of a JSON document."""
        return {
            "name": self.name,
            "installed": self.version is not None,
            "version": self.version,
            "reached_by": self.reached_by,
            "takes": [str(kind) for kind in ProgramKind if kind in self.takes],
            "used_for": list(self.used_for),
        }


def list_solvers() -> tuple[SolverRow, ...]:
    """Every solver of :data:`TAKES`, in its order."""
    return tuple(_row(name) for name in TAKES)


def solver_words(rows: tuple[SolverRow, ...]) -> RenderableType:
    """The installed ones as a table, the others in its caption."""
    from rich.table import Table

    absent = ", ".join(row.name for row in rows if row.version is None)
    table = Table(caption=f"not installed: {absent}" if absent else None)
    for head in ("solver", "version", "reached by", *(str(kind) for kind in ProgramKind)):
        table.add_column(head)
    for row in rows:
        if row.version is not None:
            marks = ("yes" if kind in row.takes else "-" for kind in ProgramKind)
            table.add_row(row.name, row.version, row.reached_by, *marks)
    return table


def _row(name: str) -> SolverRow:
    used_for = tuple(sorted(feature.value for feature in FEATURES.get(name, frozenset())))
    if name not in PACKAGES:
        from oar_opt.solvers.by_pyomo import version_of

        return SolverRow(name, version_of(name), "Pyomo", TAKES[name], used_for)
    package = PACKAGES[name]
    reached_by = package if name in ("highs", "scip") else "cvxpy"
    return SolverRow(name, _package_version(name, package), reached_by, TAKES[name], used_for)


def _package_version(name: str, package: str) -> str | None:
    try:
        found = version(package)
    except PackageNotFoundError:
        return None
    if name == "scip":
        # The package counts its own versions.
        from pyscipopt import Model

        return f"{Model().version():g} (pyscipopt {found})"
    return found
