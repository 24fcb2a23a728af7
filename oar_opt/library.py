"""The shipped instances, by name: examples and the library of benchmarks; and any other instance by its path."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from oar_opt.errors import InputError
from oar_opt.instance_file import load_instance
from oar_opt.problem import RecourseProblem

FOLDER = Path(__file__).resolve().parent.parent / "instances"
LIBRARY = FOLDER / "library"
ABOUT = ("bounds.json", "sets.json")
"""Files of the library's folder that are about its instances."""


def shipped() -> dict[str, Path]:
    """Names and files of the examples, in order of name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.json"))}


def benchmarks() -> dict[str, Path]:
    """Names and files of the library's instances, in order of name."""
    return {path.stem: path for path in sorted(LIBRARY.glob("*.json")) if path.name not in ABOUT}


def find(name_or_path: str | Path) -> Path:
    """The file that a name or a path means: a shipped name first, then a path."""
    known = shipped() | benchmarks()
    text = str(name_or_path)
    if text in known:
        return known[text]
    path = Path(name_or_path)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    near = get_close_matches(text, known, n=1)
    fix = f"did you mean '{near[0]}'?" if near else "'oar instances' lists the names"
    raise InputError(text, "is neither a shipped instance nor a file", fix)


def load(name_or_path: str | Path) -> RecourseProblem:
    """Load an instance by its shipped name or from its file.

    Raises
    ------
    InputError : there is none of that name, or its file is wrong.
    """
    return load_instance(find(name_or_path))
