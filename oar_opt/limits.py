"""Time limits and interruption of a run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LEAST_SECONDS = 0.01
"""What a stage gets where nothing is left: solvers read 0 as no limit."""


@dataclass
class Clock:
    """Seconds of each stage, summed by name, and what is left of the limit (None: no limit)."""

    limit: float | None
    started: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """Ends a stage: the seconds since the last one count for it."""
        now = time.monotonic()
        self.laps[name] = self.laps.get(name, 0.0) + now - self.last
        self.last = now

    def share(self, part: float) -> float | None:
        left = self.left()
        return None if left is None else part * left

    def left(self) -> float | None:
        return None if self.limit is None else max(LEAST_SECONDS, self.limit - (time.monotonic() - self.started))

    @property
    def is_over(self) -> bool:
        return self.limit is not None and time.monotonic() - self.started >= self.limit


class _Handler:
    """The first Ctrl-C asks to stop, here and in the run around this one; the second breaks off."""

    def __init__(self, around: object) -> None:
        self.asked = threading.Event()
        self.around = around if isinstance(around, _Handler) else None

    def __call__(self, number: int, frame: object) -> None:
        if self.asked.is_set():
            raise KeyboardInterrupt
        self.asked.set()
        if self.around is not None:
            self.around(number, frame)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks the search to stop and keeps what it found; a second Ctrl-C breaks off. May be nested."""
    previous = signal.getsignal(signal.SIGINT)
    handler = _Handler(previous)
    if threading.current_thread() is not threading.main_thread():
        yield handler.asked.is_set
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield handler.asked.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
