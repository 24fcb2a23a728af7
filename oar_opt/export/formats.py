"""The file formats, what each can hold, and why a program cannot be written in one.

What a format *holds* is what both its writer here and a reader elsewhere carry without loss, found by writing and
reading back; the format itself may know more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oar_opt.contracts import Formulation
from oar_opt.errors import InputError
from oar_opt.solver_features import SolverFeature


@dataclass(frozen=True)
class Format:
    """A format: what it is called in words, the ending of its files, and what it holds beyond linear rows."""

    words: str
    ending: str
    holds: frozenset[SolverFeature] = frozenset()
    conic: bool = False
    """Whether it is for conic programs and for no others."""
    minimised: bool = False
    """Whether a goal that is maximised is written as minus itself."""


SMOOTH = frozenset({SolverFeature.QUADRATIC, SolverFeature.EXPONENTIAL})

FORMATS: dict[str, Format] = {
    "lp": Format("CPLEX LP", "lp", frozenset({SolverFeature.SOS1, SolverFeature.QUADRATIC})),
    "mps": Format("free MPS", "mps"),
    "mps-min": Format("free MPS, always minimised, for readers that know no OBJSENSE", "mps", minimised=True),
    "cip": Format("SCIP's CIP", "cip", frozenset(SolverFeature)),
    "nl": Format("AMPL NL", "nl", SMOOTH | {SolverFeature.SOS1}),
    "gams": Format("GAMS", "gms", SMOOTH),
    "bar": Format("BARON", "bar", SMOOTH),
    "mof": Format(
        "MathOptFormat 1.2",
        "mof.json",
        frozenset({SolverFeature.SOS1, SolverFeature.QUADRATIC, SolverFeature.INDICATOR}),
    ),
    "cbf": Format("Conic Benchmark Format", "cbf", conic=True),
}
"""Those that hold a formulation's program, by the names that callers use."""

MPS_AUX = "mps-aux"
BILEVEL_FORMATS: dict[str, Format] = {
    MPS_AUX: Format("fixed MPS and AUX of the bilevel program itself, minimised at both levels", "mps", minimised=True)
}
"""Those that hold what formulations restate: leader and follower (:mod:`oar_opt.export.bilevel`)."""


def format_named(name: str) -> Format:
    """The format; an error that lists all where there is none of that name."""
    known = FORMATS | BILEVEL_FORMATS
    if name not in known:
        raise InputError("--format", f"'{name}' is unknown", f"there are: {', '.join(known)}")
    return known[name]


def check_ending(path: Path, name: str) -> None:
    """Raises :class:`InputError` where a path does not end as the format's files do, which solvers know them by."""
    ending = f".{format_named(name).ending}"
    if not path.name.lower().endswith(ending):
        raise InputError(str(path), f"does not end in '{ending}', by which solvers know {name} files", "name it so")


def refusal(name: str, needs: frozenset[SolverFeature]) -> str | None:
    """Why a program of rows with these needs cannot be written in this format, or None; follows "its program"."""
    form = format_named(name)
    if name in BILEVEL_FORMATS:
        return f"is a formulation's, and {name} files hold the bilevel program itself: name no formulation"
    if form.conic:
        return "is no conic program, and cbf files hold nothing else"
    beyond = [str(feature) for feature in SolverFeature if feature in needs - form.holds]
    if not beyond:
        return None
    others = [other for other, one in FORMATS.items() if not one.conic and needs <= one.holds]
    return f"has {' and '.join(beyond)}, which {name} files do not hold here: write it with --format {_either(others)}"


def conic_refusal(name: str) -> str | None:
    """As :func:`refusal`, of a conic program."""
    if name in BILEVEL_FORMATS:
        return refusal(name, frozenset())
    return None if format_named(name).conic else f"is conic, which {name} files do not hold: write it with --format cbf"


def formulation_refusal(name: str, formulation: Formulation) -> str | None:
    """Why none of a formulation's programs can be written in this format, or None; a full clause."""
    if formulation.conic:
        reason = conic_refusal(name)
    elif not formulation.exportable:
        return f"it {NO_PROGRAM}"
    else:
        reason = refusal(name, formulation.needs)
    return reason and f"its program {reason}"


NO_PROGRAM = "is computed directly, or searched over many programs; there is no program to write"


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
