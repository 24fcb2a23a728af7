"""Whether a table's target holds classes or numbers, and in which order the classes stand.

Stated names win. Otherwise texts are classes, and so are numbers where the learner needs classes or there are only two
of them; more numbers are a regression. Of two classes the first is the negative one; by default they are sorted.
"""

from __future__ import annotations

from oar_opt.conversion.wishes import Wishes
from oar_opt.csv_cells import CsvCells
from oar_opt.errors import InputError
from oar_opt.json_input import shown
from oar_opt.json_text import label_text
from oar_opt.learner_models import PURE_CLASSIFIERS, PURE_REGRESSIONS
from oar_opt.problem import Label


def classes_of(table: CsvCells, labels: list[Label], kind: str, wishes: Wishes) -> list[Label] | None:
    """The class labels, None for regression."""
    where = f"{table.source}, column '{wishes.target}'"
    found = sorted(set(labels), key=lambda label: (isinstance(label, str), label))
    if len(found) == 1:
        raise InputError(where, f"has one value only ({shown(found[0])})", "there is nothing to learn from it")
    numeric = not isinstance(found[0], str)
    if wishes.classes is not None:
        named = [text.strip() for text in wishes.classes.split(",")]
        if len(set(named)) < max(2, len(named)):
            raise InputError("--classes", f"is {shown(wishes.classes)}", "name two or more, each once")
        stated = [next((label for label in found if label_text(label) == text), text) for text in named]
        for i, label in enumerate(labels):
            if label not in stated:
                raise InputError("--classes", f"leaves out {shown(label)} in line {table.rows[i][0]}", "name it, too")
        return list(stated)
    if kind in PURE_REGRESSIONS or (kind not in PURE_CLASSIFIERS and numeric and len(found) > 2):
        if not numeric:
            raise InputError(where, f"has texts like {shown(found[0])}, and '{kind}' predicts numbers", "use another")
        return None
    if len(found) > 2 and kind != "nearest_centroid":
        raise InputError(where, f"has {len(found)} values, and '{kind}' is binary", "use nearest_centroid, or two only")
    return list(found)
