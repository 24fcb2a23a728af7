"""Colours and shapes: each class has both, so that neither colour vision nor a colour printer is needed.

Reference: M. Okabe, K. Ito, "Color Universal Design", 2008 (the palette).
"""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_rgb

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
MARKERS = ("o", "s", "^", "v", "P", "X", "h")
INK = "#222222"
ACCENT = "#D55E00"
TINTS = (0.4, 0.2, 0.34, 0.42, 0.3, 0.4, 0.15)
"""Share of each colour in its class's region, the rest is white: regions differ in grey as well."""
PALE = 0.4
"""Share of the colours of numbers in the ground."""
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
    red, green, blue = to_rgb(colour(c))
    share = TINTS[c % len(TINTS)]
    return 1 - share * (1 - red), 1 - share * (1 - green), 1 - share * (1 - blue)


def pale_shades() -> ListedColormap:
    """:data:`SHADES` for the ground; opaque, since what shows through has seams between the levels."""
    return ListedColormap(1 - PALE * (1 - colormaps[SHADES](np.linspace(0, 1, 256))[:, :3]))
