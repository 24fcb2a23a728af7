"""Colours and shapes: each class has both, so that neither colour vision nor a colour printer is needed.

Reference: M. Okabe, K. Ito, "Color Universal Design", 2008 (the palette).
"""

from __future__ import annotations

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
MARKERS = ("o", "s", "^", "v", "P", "X", "h")
INK = "#222222"
ACCENT = "#D55E00"
TINT = 0.28
"""Share of a class's colour in its region; the rest is white."""
SHADES = "cividis"
"""The colour map of numbers: its lightness grows evenly, in colour and in grey."""


def colour(c: int) -> str:
    """Of the class at position ``c``."""
    return COLOURS[c % len(COLOURS)]


def marker(c: int) -> str:
    """Of the class at position ``c``; differs from that of a class with the same colour while there are few."""
    return MARKERS[(c + c // len(COLOURS)) % len(MARKERS)]


def tint(c: int) -> tuple[float, float, float]:
    """The light colour of the class's region."""
    red, green, blue = (int(colour(c)[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 1 - TINT * (1 - red), 1 - TINT * (1 - green), 1 - TINT * (1 - blue)
