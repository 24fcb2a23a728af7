"""The proved intervals that a program rests on, listed for people: what each is about, and why it holds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from oar_opt.bounds import ProvedBound, Reason
from oar_opt.contracts import PyomoProgram
from oar_opt.discovery import learner_of
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.limits import Clock, interruptible
from oar_opt.pipeline import choose_program
from oar_opt.problem import RecourseProblem
from oar_opt.result import Request
from oar_opt.search import first_answer


@dataclass(frozen=True)
class Listed:
    """One interval: the program's name for the quantity, words for it, and the ends with their reasons."""

    name: str
    words: str
    bound: ProvedBound


@dataclass(frozen=True)
class BoundsListing:
    """All intervals of a formulation's program for a problem.

    ``cutoff`` is the verified objective that tightening went by; None where every interval holds for all moves.
    ``constant`` are the records of no member whose pull is the same all over their interval, so that the program has
    no variable for it; ``open_records`` those that keep one.
    """

    problem: RecourseProblem
    formulation: str
    bounds: tuple[Listed, ...]
    cutoff: float | None
    constant: tuple[int, ...]
    open_records: tuple[int, ...]

    @property
    def ends_by_reason(self) -> dict[Reason, int]:
        """How many ends rest on each reason; those without proof are infinite and used by no row."""
        reasons = [reason for one in self.bounds for reason in (one.bound.lower_reason, one.bound.upper_reason)]
        counts = Counter(reasons)
        return {reason: counts[reason] for reason in Reason if counts[reason]}

    @property
    def widest(self) -> Listed | None:
        """The widest of the finite intervals."""
        finite = [one for one in self.bounds if one.bound.is_finite]
        return max(finite, key=lambda one: one.bound.upper - one.bound.lower, default=None)

    @property
    def conditional(self) -> int:
        """How many hold only for moves at least as good as the cutoff."""
        return sum(one.bound.is_conditional for one in self.bounds)

    def document(self) -> dict[str, Any]:
        """As one JSON object; an end without proof is null."""
        widest = self.widest
        return {
            "instance": self.problem.name,
            "instance_sha256": self.problem.sha256,
            "formulation": self.formulation,
            "cutoff": self.cutoff,
            "bounds": [
                {
                    "name": one.name,
                    "quantity": one.words,
                    "lower": _known(one.bound.lower),
                    "upper": _known(one.bound.upper),
                    "lower_reason": one.bound.lower_reason,
                    "upper_reason": one.bound.upper_reason,
                }
                for one in self.bounds
            ],
            "ends_by_reason": {str(reason): count for reason, count in self.ends_by_reason.items()},
            "conditional": self.conditional,
            "widest": widest.name if widest else None,
            "constant_records": list(self.constant),
            "open_records": list(self.open_records),
        }


def list_bounds(problem: RecourseProblem, formulation: str = "auto", tighten: float = 0.0) -> BoundsListing:
    """Build the program of a formulation and list what it rests on.

    Parameters
    ----------
    problem : the instance.
    formulation : a name, or ``auto`` for the first that applies and is a program with proved intervals.
    tighten : seconds for optimality-based tightening; 0 is none, and every interval then holds for all moves.

    Raises
    ------
    UnsupportedError : no such formulation applies, for example as no finite bound is proved; with the reasons.
    InputError : an unknown name, or a negative time.
    """
    if not (math.isfinite(tighten) and tighten >= 0):
        raise InputError("--tighten", f"is {tighten:g}", "give a number of seconds, or 0 for none")
    chosen = choose_program(
        problem,
        formulation,
        no_program="is no program with proved intervals",
        none="no formulation proves intervals for this instance",
    )
    with interruptible() as interrupted:
        best = first_answer(problem, Clock(None)) if tighten else None
        cutoff = best.objective if best else None
        program = chosen.build(problem, Request(cutoff=cutoff, tightening=tighten, interrupted=interrupted))
    if not isinstance(program, PyomoProgram) or not program.quantities:
        raise UnsupportedError(f"formulation '{chosen.name}' rests on no proved intervals that could be listed")
    bounds = tuple(Listed(name, program.quantities[name].words, bound) for name, bound in program.bounds.items())
    records = [(program.quantities[name].record, bound) for name, bound in program.bounds.items()]
    fixed = [(record, _is_constant(problem, record, bound)) for record, bound in records if record is not None]
    return BoundsListing(
        problem,
        chosen.name,
        bounds,
        cutoff,
        tuple(record for record, constant in fixed if constant),
        tuple(record for record, constant in fixed if not constant),
    )


def _is_constant(problem: RecourseProblem, record: int, bound: ProvedBound) -> bool:
    risk = learner_of(problem).risk(problem.learner, problem.d)
    assert risk is not None
    if not bound.is_finite:
        return False
    low, high = risk.loss.pulls_over(float(problem.records.y[record]), bound.lower, bound.upper)
    return low == high


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
