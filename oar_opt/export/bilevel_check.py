"""Solves written bilevel files by brute force and compares with re-training for every choice of the members.

The files are read by :mod:`oar_opt.export.bilevel_reading`, which knows nothing of the program that they were written
from; the other side is :func:`oar_opt.evaluate.enumerate_choices`, which knows nothing of bounds and programs. For
members with few choices and files with few columns only.
"""

from __future__ import annotations

from pathlib import Path

from oar_opt.evaluate import count_choices, enumerate_choices
from oar_opt.export.bilevel import aux_path_of
from oar_opt.export.bilevel_reading import bilevel_optimum, read_bilevel
from oar_opt.export.round_trip import AGREE, SOLVED_COLUMNS, Opinion
from oar_opt.problem import RecourseProblem

FEW = 64
"""Choices of the members that are tried by default: two linear programs and one training each."""
ASKED = 10_000
"""Up to this many where it is asked for."""
READER = "a reader of its own that solves the bilevel program by brute force"


def bilevel_opinion(problem: RecourseProblem, path: Path, most: int = FEW) -> Opinion:
    """Whether the optimum of the pair ``path`` and its AUX file is the instance's."""
    count = count_choices(problem)
    if count > most:
        return Opinion(READER, None, f"not asked, since the members have more than {most} choices")
    files = read_bilevel(path, aux_path_of(path))
    if len(files.columns) > SOLVED_COLUMNS:
        return Opinion(READER, None, f"not asked, since the file has more than {SOLVED_COLUMNS} columns")
    # Queries that are reached or not are whole numbers of the leader too.
    found = bilevel_optimum(files, most << len(problem.queries))
    enumeration = enumerate_choices(problem)
    if found is None or not enumeration.complete:
        return Opinion(READER, None, "not compared, since not every choice could be tried accurately")
    sign = -1.0 if problem.goal.maximises else 1.0
    theirs = None if found.value is None else sign * found.value
    own = None if enumeration.best is None else enumeration.best.objective
    return _compared(theirs, own)


def _compared(theirs: float | None, own: float | None) -> Opinion:
    if theirs is None or own is None:
        agrees = theirs is None and own is None
        answers = ["infeasible" if value is None else f"optimum {value:.8g}" for value in (theirs, own)]
        words = (
            "infeasible, as re-training for every choice says"
            if agrees
            else " here, and re-training says ".join(answers)
        )
        return Opinion(READER, agrees, words)
    if abs(theirs - own) <= AGREE * max(1.0, abs(own)):
        return Opinion(READER, True, f"the same optimum as by re-training for every choice, {own:.8g}")
    return Opinion(READER, False, f"optimum {theirs:.8g}, and by re-training for every choice it is {own:.8g}")
