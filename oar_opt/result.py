"""Claims and facts, kept apart.

A :class:`Claim` is what a program's solver says. A :class:`Result` holds only what was re-trained and re-checked, with
the claim's bound beside it and the grade of evidence for that bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from oar_opt.parameters import Parameters
from oar_opt.problem import Move

Options = Mapping[str, str | int | float | bool]
"""A solver's options by its own names."""


class Status(StrEnum):
    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


class StoppedBy(StrEnum):
    """Why the search ended."""

    GAP = "gap"
    TIME_LIMIT = "time_limit"
    NODE_LIMIT = "node_limit"
    MEMORY_LIMIT = "memory_limit"
    INTERRUPT = "interrupt"
    PROOF = "proof"

    @property
    def words(self) -> str:
        return {
            StoppedBy.GAP: "the gap is closed",
            StoppedBy.TIME_LIMIT: "the time limit was reached",
            StoppedBy.NODE_LIMIT: "the node limit was reached",
            StoppedBy.MEMORY_LIMIT: "the memory limit was reached",
            StoppedBy.INTERRUPT: "it was interrupted",
            StoppedBy.PROOF: "the search space is exhausted",
        }[self]


@dataclass(frozen=True)
class Progress:
    """One line of a running solve; None where nothing is known yet."""

    seconds: float
    nodes: int
    primal: float | None
    bound: float | None


@dataclass(frozen=True)
class Request:
    """What the caller wants of a solve.

    ``time_limit`` in seconds; None is no limit. ``solver`` None is the program's own.

    ``start`` are moves to begin with and ``start_parameters`` what re-training gave for them; ``cutoff`` is a value
    of the goal that a verified move reaches, so that a program need only hold moves at least as good. ``tightening``
    is how many seconds building may spend on better bounds; None leaves that to the formulation. ``excluded`` are moves
    that must not come back (a cutoff that only they reach is then the caller's mistake). ``pool`` is how many of the
    best different moves are wanted, of programs that find several in one run. ``options`` are the caller's own, by the
    solver's names, and go before ours; to the file ``log`` the solver's own log is appended.
    """

    solver: str | None = None
    time_limit: float | None = None
    node_limit: int | None = None
    relative_gap: float = 1e-4
    threads: int = 1
    progress: Callable[[Progress], None] | None = None
    start: tuple[Move, ...] | None = None
    start_parameters: Parameters | None = None
    cutoff: float | None = None
    tightening: float | None = None
    interrupted: Callable[[], bool] = lambda: False
    excluded: tuple[tuple[Move, ...], ...] = ()
    pool: int = 1
    options: Options = field(default_factory=dict)
    log: Path | None = None


@dataclass(frozen=True)
class Claim:
    """What a formulation's solver claims; nothing in it has been checked.

    ``moves`` is None where no admissible move was found, ``bound`` None where none is known. ``exhausted`` says that
    every choice was tried with real re-training. ``parameters`` are the program's own, to be compared with the
    learner's. ``ranking`` has the best different moves, best first, where the run was asked for a pool and finds it
    at once.
    """

    stopped_by: StoppedBy
    moves: tuple[Move, ...] | None = None
    objective: float | None = None
    bound: float | None = None
    infeasible: bool = False
    exhausted: bool = False
    parameters: Parameters | None = None
    solver: str = ""
    options: Options = field(default_factory=dict)
    nodes: int = 0
    ranking: tuple[tuple[Move, ...], ...] = ()


def relative_gap(objective: float, bound: float) -> float:
    """``|bound - objective| / max(1, |objective|)``."""
    return abs(bound - objective) / max(1.0, abs(objective))
