"""The best known answers and bounds of the library's instances, ``instances/library/bounds.json``.

A primal bound is worth what its stored solution is: ``instances/library/solutions/NAME.json``, which is verified again
whenever one is taken in, and by the tests. A dual bound carries its grade of evidence; ``proved`` is given for a
certificate alone (:mod:`oar_opt.bench.certified_bounds`), never for what a solution says of itself. Both say by which
method, solver and version of this package they were found, when, and in how many seconds.

A claim is taken in (:func:`merge`) if it is better: a better verified answer; a tighter bound, or one that is as tight
and of a higher grade. A claim that contradicts what is known, an answer beyond a bound by more than :data:`ROOM`, or an
answer to what is said to be infeasible, is an error, and nothing is taken in: one of the two is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from oar_opt.certificate import Grade
from oar_opt.errors import InputError, VerificationError
from oar_opt.json_input import read_json_object
from oar_opt.library import LIBRARY, load
from oar_opt.problem import RecourseProblem
from oar_opt.result import Status, relative_gap
from oar_opt.solution_file import Solution, load_solution, solution_text

FORMAT, VERSION = "oar-bounds", 1
ROOM = 2e-4
"""How far beyond a bound, relative to at least 1, an answer may be: twice what counts as closed."""
TIGHTER = 1e-6
"""By what share, relative to at least 1, a bound must be better to be taken for that alone."""
RETRAINED = "re-trained"
"""The grade of a primal bound whose solution passes its verification."""


@dataclass(frozen=True)
class Bound:
    """A number with where it comes from; ``seconds`` are those of the run."""

    value: float
    method: str
    solver: str
    version: str
    date: str
    seconds: float
    grade: str


@dataclass(frozen=True)
class BestKnown:
    """What is known of one instance; ``infeasible`` is who says that it has no answer, of what grade (no value)."""

    sha256: str
    primal: Bound | None = None
    dual: Bound | None = None
    infeasible: Bound | None = None

    @property
    def proved(self) -> Bound | None:
        """The bound or the infeasibility, where its grade is ``proved``."""
        evidence = self.infeasible or self.dual
        return evidence if evidence and evidence.grade == Grade.PROVED else None

    def status(self, tolerance: float) -> str:
        """``solved``, ``infeasible`` or ``open``."""
        if self.infeasible:
            return "infeasible"
        if self.primal and self.dual and relative_gap(self.primal.value, self.dual.value) <= tolerance:
            return "solved"
        return "open"


@dataclass(frozen=True)
class Claim:
    """A verified solution of an instance, and by whom, when and how it was found."""

    problem: RecourseProblem
    solution: Solution
    method: str
    version: str
    date: str


def bounds_path(folder: Path = LIBRARY) -> Path:
    return folder / "bounds.json"


def solution_path(name: str, folder: Path = LIBRARY) -> Path:
    return folder / "solutions" / f"{name}.json"


def certificate_paths(name: str, folder: Path = LIBRARY) -> tuple[Path, Path]:
    """Where a certificate of the instance may lie: plain, and compressed."""
    stem = folder / "certificates" / f"{name}.certificate"
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.json.gz")


def drop_certificates(name: str, folder: Path = LIBRARY) -> None:
    """Remove a certificate whose bound is no longer the best one."""
    for path in certificate_paths(name, folder):
        path.unlink(missing_ok=True)


def read_bounds(folder: Path = LIBRARY) -> dict[str, BestKnown]:
    """What is known, by instance; empty where there is no file.

    Raises :class:`InputError` where the file is none of this format.
    """
    path = bounds_path(folder)
    if not path.exists():
        return {}
    document, _ = read_json_object(path)
    if (document.get("format"), document.get("version")) != (FORMAT, VERSION):
        raise InputError(str(path), "is no file of bounds", f"its format is '{FORMAT}', version {VERSION}")
    try:
        return {name: _known(entry) for name, entry in document["instances"].items()}
    except (KeyError, TypeError, AttributeError) as wrong:
        raise InputError(str(path), f"is no file of bounds ({wrong})", "'oar bounds-update' writes it") from wrong


def _known(entry: Mapping[str, Any]) -> BestKnown:
    parts = {key: Bound(**entry[key]) if entry.get(key) else None for key in ("primal", "dual", "infeasible")}
    return BestKnown(entry["sha256"], **parts)


def write_bounds(known: Mapping[str, BestKnown], folder: Path = LIBRARY) -> None:
    """Write the file, in order of name."""
    entries = {}
    for name in sorted(known):
        one = known[name]
        tolerance = load(name).tolerances.relative_gap
        parts = {key: value for key, value in asdict(one).items() if value is not None and key != "sha256"}
        entries[name] = {"sha256": one.sha256, "status": one.status(tolerance), **parts}
    document = {"format": FORMAT, "version": VERSION, "instances": entries}
    bounds_path(folder).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


# -- taking in ---


def merge(known: Mapping[str, BestKnown], claim: Claim, folder: Path = LIBRARY) -> tuple[BestKnown, tuple[str, ...]]:
    """What is known after a claim, and in words what of it was better ("" for nothing); writes a better solution.

    Raises
    ------
    VerificationError : the solution does not pass its verification, or contradicts what is known.
    """
    from oar_opt.verification import verify

    problem, solution = claim.problem, claim.solution
    found = verify(problem, solution)
    if not found.passed:
        raise VerificationError(f"{problem.name}: the solution fails: {'; '.join(found.failures())}")
    before = of_this_file(known, problem)
    # Nothing is proved on a solution's own word.
    grade = found.grade if solution.certificate.grade is Grade.PROVED else solution.certificate.grade
    after, words = _better(problem, before, claim, str(grade))
    refuse_contradiction(problem, after)
    if after.proved is None:
        drop_certificates(problem.name, folder)
    if after.primal is not before.primal:
        solution_path(problem.name, folder).parent.mkdir(exist_ok=True)
        solution_path(problem.name, folder).write_text(solution_text(solution), encoding="utf-8")
    return after, words


def of_this_file(known: Mapping[str, BestKnown], problem: RecourseProblem) -> BestKnown:
    """What is known of the instance as its file is now."""
    before = known.get(problem.name)
    return BestKnown(problem.sha256) if before is None or before.sha256 != problem.sha256 else before


def _better(problem: RecourseProblem, known: BestKnown, claim: Claim, grade: str) -> tuple[BestKnown, tuple[str, ...]]:
    solution = claim.solution
    words: tuple[str, ...] = ()
    if solution.status is Status.INFEASIBLE:
        return with_infeasibility(known, _bound(claim, 0.0, grade))
    sign = 1.0 if problem.goal.maximises else -1.0
    new = solution.objective
    if new is not None and (known.primal is None or sign * (new - known.primal.value) > _step(known.primal.value)):
        words = (f"answer {new:.8g}" + (f" for {known.primal.value:.8g}" if known.primal else ""),)
        known = replace(known, primal=_bound(claim, new, RETRAINED))
    if solution.bound is None:
        return known, words
    known, more = with_bound(problem, known, _bound(claim, solution.bound, grade))
    return known, (*words, *more)


def with_infeasibility(known: BestKnown, bound: Bound) -> tuple[BestKnown, tuple[str, ...]]:
    """What is known if there is no answer, where that was not known of this grade, and in words that it is."""
    if known.infeasible is not None and Grade(known.infeasible.grade) >= bound.grade:
        return known, ()
    # A bound on a goal that nothing reaches says nothing.
    return replace(known, infeasible=bound, dual=None), (f"infeasible, {bound.grade}",)


def with_bound(problem: RecourseProblem, known: BestKnown, bound: Bound) -> tuple[BestKnown, tuple[str, ...]]:
    """What is known with a bound, where that is better, and in words that it is.

    It is better where it is tighter, or as tight and of a higher grade. A proved one that closes the gap is better than
    any that is not proved.
    """
    before = known.dual
    if known.infeasible or (before is not None and not _is_better(problem, known, before, bound)):
        return known, ()
    words = f"bound {bound.value:.8g}, {bound.grade}" + (f" for {before.value:.8g}, {before.grade}" if before else "")
    return replace(known, dual=bound), (words,)


def _is_better(problem: RecourseProblem, known: BestKnown, before: Bound, bound: Bound) -> bool:
    settled, settles = (_settles(problem, known, one) for one in (before, bound))
    if settled is not settles:
        return settles
    sign = 1.0 if problem.goal.maximises else -1.0
    gain = sign * (before.value - bound.value)
    as_tight = gain >= -_step(before.value)
    return gain > _step(before.value) or (as_tight and Grade(before.grade) < bound.grade)


def _settles(problem: RecourseProblem, known: BestKnown, bound: Bound) -> bool:
    """Whether a bound is proved and closes the gap."""
    if known.primal is None or Grade(bound.grade) is not Grade.PROVED:
        return False
    return relative_gap(known.primal.value, bound.value) <= problem.tolerances.relative_gap


def _step(value: float) -> float:
    return TIGHTER * max(1.0, abs(value))


def _bound(claim: Claim, value: float, grade: str) -> Bound:
    solution = claim.solution
    seconds = solution.seconds.total
    solver = solution.method.solver or solution.method.formulation
    return Bound(value, claim.method, solver, claim.version, claim.date, round(seconds, 2), grade)


def refuse_contradiction(problem: RecourseProblem, known: BestKnown) -> None:
    """:class:`VerificationError` where what is known cannot all be right."""
    wrong = contradiction(problem, known)
    if wrong:
        raise VerificationError(f"{problem.name}: {wrong}; nothing was taken in")


def contradiction(problem: RecourseProblem, known: BestKnown) -> str | None:
    """What cannot both be right, in words, or None."""
    if known.infeasible and known.primal:
        return f"there is an answer, {known.primal.value:.8g}, to what {known.infeasible.method} says has none"
    if known.primal is None or known.dual is None:
        return None
    sign = 1.0 if problem.goal.maximises else -1.0
    if sign * (known.primal.value - known.dual.value) > ROOM * max(1.0, abs(known.primal.value)):
        return f"the answer {known.primal.value:.8g} is beyond the bound {known.dual.value:.8g}"
    return None


def verify_stored(name: str, known: BestKnown, folder: Path = LIBRARY) -> str | None:
    """Why what is stored of an instance cannot be believed, or None: another instance, a solution that fails its
    verification or is not what the bound says, a contradiction. The evidence for the dual bound is not gone over again.
    """
    from oar_opt.verification import check_answer

    problem = load(name)
    if known.sha256 != problem.sha256:
        return f"the bounds are of another file (sha256 {known.sha256[:12]}, now {problem.sha256[:12]})"
    if known.primal is not None:
        solution = load_solution(solution_path(name, folder))
        found = check_answer(problem, solution, enumerated=True)
        if not found.passed:
            return f"the stored solution fails: {'; '.join(found.failures())}"
        if solution.objective != known.primal.value:
            return f"the stored solution has {solution.objective}, and the bound says {known.primal.value}"
    return contradiction(problem, known)
