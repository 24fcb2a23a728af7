"""The caller's own options of a solver, what is said where it refuses one, and the file that keeps its log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oar_opt.errors import InputError
from oar_opt.result import Options

WHERE = "--solver-option"
SWITCHES = {"true": True, "false": False}


def parse_options(texts: Sequence[str]) -> Options:
    """Options from texts ``NAME=VALUE``: whole numbers, numbers, ``true`` or ``false``, and all else as it stands."""
    found: dict[str, str | int | float | bool] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals):
            raise InputError(WHERE, f"is '{text}'", "give NAME=VALUE, by the solver's own names")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> str | int | float | bool:
    if text.lower() in SWITCHES:
        return SWITCHES[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def refused(solver: str, name: str, value: str | int | float | bool) -> InputError:
    """What to raise where a solver does not take an option."""
    return InputError(
        WHERE, f"'{name}={value}' is refused by {solver}", "see the solver's list of options for names and ranges"
    )


def begin_log(path: Path) -> None:
    """Begin the file anew; an error where it cannot be written."""
    try:
        path.write_text("", encoding="utf-8")
    except OSError as failure:
        raise InputError("--solver-log", f"cannot write {path}: {failure.strerror or failure}") from failure


def append(path: Path, text: str) -> None:
    """Add to the log."""
    with path.open("a", encoding="utf-8") as log:
        log.write(text)
