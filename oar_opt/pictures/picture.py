"""A figure with the words for those who cannot see it, and the files it is written to.

Files are deterministic: the same picture gives the same bytes (no dates, no random identifiers).
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.figure import Figure

from oar_opt.errors import InputError

FORMATS = ("png", "svg", "pdf")
WIDTH = 12.0
"""Inches; with :data:`DPI` 1200 dots."""
DPI = 100
SETTINGS: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.5,
    "figure.titlesize": 13.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Picture:
    """``title`` is the figure's own; ``alt`` says in sentences what a sighted reader sees."""

    figure: Figure
    title: str
    alt: str


@contextmanager
def own_settings(salt: str = "") -> Iterator[None]:
    """Drawing and writing by our settings, whatever the caller's are; those are back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        matplotlib.rcParams["svg.hashsalt"] = salt or "oar_opt"
        yield


def to_svg(picture: Picture, prefix: str = "") -> str:
    """The picture as an SVG document with a title and a description for screen readers.

    ``prefix`` begins every id in it, for pages with several.
    """
    text = _bytes(picture, "svg", {"Date": None, "Creator": None, "Title": picture.title}).decode()
    title = f"<title>{escape(picture.title)}</title>"
    if text.count(title) != 1 or text.count("<svg ") != 1:
        raise RuntimeError("matplotlib writes SVG otherwise than expected: no single title to put a description behind")
    described = text.replace(title, f"{title}\n <desc>{escape(picture.alt)}</desc>")
    return _own_ids(described.replace("<svg ", '<svg role="img" ', 1), prefix)


def to_inline_svg(picture: Picture, prefix: str) -> str:
    """The picture's ``svg`` element alone, for pages: what stands before it is for files of their own."""
    text = to_svg(picture, prefix)
    return text[text.index("<svg ") :]


def _own_ids(svg: str, prefix: str) -> str:
    """The ids with a prefix, and each once: both panels of a figure have groups of the same name."""
    times: Counter[str] = Counter()

    def renamed(found: re.Match[str]) -> str:
        times[found[1]] += 1
        return f' id="{prefix}{found[1]}' + (f"-again-{times[found[1]]}" if times[found[1]] > 1 else "") + '"'

    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", re.sub(r' id="([^"]*)"', renamed, svg))


def save_picture(picture: Picture, path: str | Path) -> None:
    """Write the picture; the file's ending says the format: png, svg or pdf.

    Raises
    ------
    InputError : another ending.
    """
    path = Path(path)
    form = format_of(path)
    if form == "svg":
        data = to_svg(picture).encode()
    elif form == "png":
        data = _bytes(picture, form, {"Software": None, "Title": picture.title, "Description": picture.alt})
    else:
        dates = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
        data = _bytes(picture, form, {**dates, "Title": picture.title, "Subject": picture.alt})
    path.write_bytes(data)


def format_of(path: Path) -> str:
    """The format that a file's ending means."""
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise InputError(str(path), "is no picture that can be written", f"end its name with .{', .'.join(FORMATS)}")
    return form


def _bytes(picture: Picture, form: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    with own_settings(picture.title):
        picture.figure.savefig(buffer, format=form, dpi=DPI, metadata=metadata)
    return buffer.getvalue()
