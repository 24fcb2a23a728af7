"""Writing JSON that people read: two spaces, short values on one line, long lists of numbers filled to the margin."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

WIDTH = 110
"""Columns of a line."""

EXACT_WHOLE = 2**53
"""Below it, a whole float and its integer are the same number."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def json_text(document: Mapping[str, Any]) -> str:
    """The document as deterministic text with a trailing newline; keys keep their order."""
    return _broken(compact(document), "") + "\n"


def compact(value: Any) -> Any:
    """The same JSON value with lists for tuples, and with whole floats as integers (``1`` for ``1.0``)."""
    if isinstance(value, Mapping):
        return {str(key): compact(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [compact(entry) for entry in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_WHOLE:
        return value if value == 0 and math.copysign(1.0, value) < 0 else int(value)
    return value


def label_text(label: bool | int | float | str) -> str:
    """A class label as the key of an object: text as it stands, everything else as JSON writes it."""
    return label if isinstance(label, str) else json.dumps(compact(label))


def _line(value: Any) -> str:
    # As the encoder writes them, which takes ten times as long for a number or a pair by itself.
    if type(value) is float and math.isfinite(value):
        return float.__repr__(value)
    if type(value) is list:
        return f"[{', '.join(map(_line, value))}]"
    return _ENCODER.encode(value)


def _rendered(value: Any, indent: str, room: int) -> str:
    # Each of several entries takes three characters at least.
    if isinstance(value, dict | list) and 3 * len(value) > room:
        return _broken(value, indent)
    line = _line(value)
    return line if len(line) <= room or not isinstance(value, dict | list) else _broken(value, indent)


def _broken(value: dict[str, Any] | list[Any], indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict):
        heads = [f"{inner}{_line(key)}: " for key in value]
        entries = [
            head + _rendered(entry, inner, WIDTH - len(head) - 1)
            for head, entry in zip(heads, value.values(), strict=True)
        ]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if any(isinstance(entry, dict | list) for entry in value):
        entries = [inner + _rendered(entry, inner, WIDTH - len(inner) - 1) for entry in value]
        return "[\n" + ",\n".join(entries) + f"\n{indent}]"
    return "[\n" + _filled([_line(entry) for entry in value], inner) + f"\n{indent}]"


def _filled(words: list[str], indent: str) -> str:
    lines = [indent + words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 3 > WIDTH:
            lines[-1] += ","
            lines.append(indent + word)
        else:
            lines[-1] += f", {word}"
    return "\n".join(lines)
