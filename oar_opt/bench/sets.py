"""The library's sets, and the table of what its instances are.

``instances/library/sets.json`` names the instances of ``smoke`` (all together under a minute) and ``challenge`` (open
ones); ``benchmark`` is the rest, those of ``smoke`` among them. ``index.csv`` is made from the files.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from oar_opt.errors import InputError
from oar_opt.library import LIBRARY, benchmarks, load, shipped
from oar_opt.problem import RecourseProblem

COLUMNS = (
    "name",
    "set",
    "family",
    "learner",
    "update",
    "goal",
    "n",
    "d",
    "members",
    "queries",
    "guards",
    "choices",
    "sha256",
)
SETS = ("smoke", "benchmark", "challenge", "library", "examples")
"""What may be asked for; ``library`` is benchmark and challenge together, ``examples`` are the other shipped ones."""


def sets_path() -> Path:
    return LIBRARY / "sets.json"


def index_path() -> Path:
    return LIBRARY / "index.csv"


def names_of(asked: str) -> list[str]:
    """The instances of a set, or of a folder, or the one that a name or a file means; in order of name.

    Raises :class:`InputError` where there is no such thing.
    """
    if asked == "examples":
        return list(shipped())
    if asked in SETS:
        known, stated = list(benchmarks()), _stated()
        chosen = {
            "smoke": stated["smoke"],
            "challenge": stated["challenge"],
            "benchmark": [name for name in known if name not in stated["challenge"]],
            "library": known,
        }[asked]
        return sorted(chosen)
    if Path(asked).is_dir():
        found = sorted(str(path) for path in Path(asked).glob("*.json") if _is_instance(path))
        if not found:
            raise InputError("SET", f"the folder '{asked}' has no instance", "name one that has")
        return found
    if asked in benchmarks() | shipped() or Path(asked).is_file():
        return [asked]
    raise InputError("SET", f"'{asked}' is no set, folder, name or file", f"sets are: {', '.join(SETS)}")


def _is_instance(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("format") == "oar-instance")
    except (ValueError, AttributeError):
        return False


def _stated() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(sets_path().read_text(encoding="utf-8"))
    return found


def set_of(name: str) -> str:
    """The set's name in the index."""
    stated = _stated()
    return next((kind for kind in ("smoke", "challenge") if name in stated[kind]), "benchmark")


def index_text() -> str:
    """The table of the library's instances."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name in benchmarks():
        table.writerow(_row(load(name)))
    return text.getvalue()


def _row(problem: RecourseProblem) -> list[object]:
    from oar_opt.evaluate import count_choices

    return [
        problem.name,
        set_of(problem.name),
        problem.name.partition("-")[0],
        problem.learner.kind,
        problem.update.kind,
        str(problem.goal),
        problem.n,
        problem.d,
        len(problem.collective.members),
        len(problem.queries),
        len(problem.guards),
        count_choices(problem) if problem.is_menu_problem else "continuum",
        problem.sha256,
    ]
