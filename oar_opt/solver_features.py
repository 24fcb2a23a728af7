"""What programs need of a solver beyond linear rows and integer variables, and which solvers have it.

A solver that is not known to have a feature is not used for it: several have dropped such rows without a word.
"""

from __future__ import annotations

from enum import StrEnum


class SolverFeature(StrEnum):
    """The value says it in words."""

    SOS1 = "special ordered sets"
    INDICATOR = "indicator constraints"
    QUADRATIC = "quadratic constraints"
    EXPONENTIAL = "exponentials and logarithms"


DEFAULT = "highs"
"""For programs that need nothing special; :data:`GENERAL` for all others."""
GENERAL = "scip"

FEATURES: dict[str, frozenset[SolverFeature]] = {
    GENERAL: frozenset(SolverFeature),
    "scip_direct": frozenset(SolverFeature) - {SolverFeature.INDICATOR},
    "gurobi_persistent": frozenset({SolverFeature.SOS1, SolverFeature.QUADRATIC}),
}
"""By the names that requests use."""


def default_solver(needs: frozenset[SolverFeature]) -> str:
    """The solver that runs a program where the caller names none."""
    return GENERAL if needs else DEFAULT


def unfit(solver: str, needs: frozenset[SolverFeature]) -> str | None:
    """Why a solver cannot run a program with these needs, or None."""
    missing = [feature for feature in SolverFeature if feature in needs - FEATURES.get(solver, frozenset())]
    if not missing:
        return None
    return f"'{solver}' is not known to have {' and '.join(missing)}"


def fit_solvers(needs: frozenset[SolverFeature]) -> str:
    """The names of those that can, for a message."""
    return ", ".join(name for name in FEATURES if unfit(name, needs) is None)
