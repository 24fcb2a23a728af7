"""Keeps single lines that a solver's library writes to standard error, past all its own settings, from the user."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2
CHUNK = 4096


@contextmanager
def stderr_without(beginning: bytes) -> Iterator[None]:
    """While the block runs, lines that begin so do not reach standard error; all else passes at once."""
    _flush()
    real = os.dup(STANDARD_ERROR)
    reading, writing = os.pipe()
    os.dup2(writing, STANDARD_ERROR)
    os.close(writing)
    passing = threading.Thread(target=_pass_on, args=(reading, real, beginning), daemon=True)
    passing.start()
    try:
        yield
    finally:
        _flush()
        # This closes the pipe's last writing end, so the thread comes to its end.
        os.dup2(real, STANDARD_ERROR)
        passing.join()
        os.close(reading)
        os.close(real)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _pass_on(reading: int, real: int, beginning: bytes) -> None:
    rest, begun = b"", False
    while chunk := os.read(reading, CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if begun or not line.startswith(beginning):
                _write(real, line + b"\n")
            begun = False
        if rest and (begun or not (rest.startswith(beginning) or beginning.startswith(rest))):
            # The beginning of a line that will pass: no need to wait for its end.
            _write(real, rest)
            rest, begun = b"", True
    if rest and not rest.startswith(beginning):
        _write(real, rest)


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]
