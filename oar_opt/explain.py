"""Why no move is admissible: an irreducible set of requirements that conflict, in words.

A *conflict* is a set of requirements (:mod:`oar_opt.requirements`) that no move meets together. It is *irreducible* if
every one of them is needed: without any one, some verified move meets the others. A deletion filter finds one: drop a
requirement; if the others are still proved to conflict it stays dropped, else it is needed. What was needed for a set
is needed for every smaller conflict, so one pass is enough. Many requirements of one kind are first tried together and
halved where that fails. Every test is a solve to the first admissible move, so that each "no" has the grade of evidence
of a proved infeasibility, and each "yes" is a re-trained and verified move.

Further conflicts are sought among the requirements of none found so far; those are independent: each needs a
requirement of its own to go.

Reference: J. W. Chinneck, E. W. Dravnieks, "Locating Minimal Infeasible Constraint Sets in Linear Programs", 1991.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from oar_opt.certificate import Grade
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.limits import Clock, interruptible
from oar_opt.pipeline import Result, solve
from oar_opt.problem import RecourseProblem
from oar_opt.requirements import Requirement, RequirementKind, attaining, keeping, requirements_of
from oar_opt.result import Status
from oar_opt.search import first_answer
from oar_opt.solution_file import ConflictRecord, RequirementRecord
from oar_opt.verification import check_answer

ANY_ANSWER = 1e9
"""Relative gap at which any admissible move ends a search."""


@dataclass(frozen=True)
class Needed:
    """One requirement of a conflict, and what giving way in it would do.

    ``attainable`` is the best number that the other requirements of the conflict leave for it (a margin, acting
    members, a total cost), reached by a verified move; None where none is known. ``is_best`` says that none better is
    possible. ``is_enough`` says whether the whole instance has an admissible move without this requirement; None where
    that is open.
    """

    requirement: Requirement
    attainable: float | None = None
    is_best: bool = False
    is_enough: bool | None = None


@dataclass(frozen=True)
class Conflict:
    """Requirements that no move meets together, the evidence for that, and whether each of them is needed for it."""

    needed: tuple[Needed, ...]
    irreducible: bool
    grade: Grade

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        return tuple(needed.requirement for needed in self.needed)


@dataclass(frozen=True)
class Explanation:
    """The conflicts found, no two with a requirement in common.

    ``complete`` says that without the requirements of these conflicts a move is admissible. ``notes`` say what could
    not be settled, and why.
    """

    problem: RecourseProblem
    conflicts: tuple[Conflict, ...]
    complete: bool
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The explanation in sentences."""
        from oar_opt.explain_words import explanation_words

        return explanation_words(self)


def explain_infeasibility(
    problem: RecourseProblem,
    *,
    proof: Result | None = None,
    formulation: str = "auto",
    solver: str | None = None,
    time_limit: float | None = None,
    threads: int = 1,
) -> Explanation:
    """Find out which requirements make a problem infeasible.

    Parameters
    ----------
    problem : the instance.
    proof : what :func:`oar_opt.pipeline.solve` returned for it, where that is at hand.
    formulation : tried first; where it does not apply to a problem with fewer requirements, ``auto`` takes its place.
    solver, threads : as for :func:`oar_opt.pipeline.solve`.
    time_limit : seconds for the whole search; None is no limit. When it ends, or on Ctrl-C, what is known by then is
        returned: a conflict of which perhaps not every requirement is needed.

    Raises
    ------
    InputError : an admissible move exists, so there is nothing to explain; or infeasibility could not be proved.
    UnsupportedError, SolverError, VerificationError : as :func:`oar_opt.pipeline.solve`.
    """
    clock = Clock(time_limit)
    if proof is None:
        proof = solve(problem, formulation=formulation, solver=solver, time_limit=clock.left(), threads=threads)
    if proof.status is not Status.INFEASIBLE:
        known = "has an admissible move" if proof.moves or proof.objective is not None else "is not proved infeasible"
        raise InputError(problem.name, known, "only a proved infeasibility can be explained")
    with interruptible() as interrupted:
        search = _Search(problem, proof.grade, formulation, solver, threads, clock, interrupted)
        return search.run()


def with_explanation(result: Result, explanation: Explanation) -> Result:
    """The result with the conflicts in its solution file, verified.

    Raises
    ------
    VerificationError : a conflict does not survive the verification.
    """
    conflicts = tuple(_record(conflict) for conflict in explanation.conflicts)
    solution = result.solution.model_copy(update={"conflicts": conflicts})
    found = check_answer(
        result.problem,
        solution,
        enumerated=result.grade is Grade.ENUMERATED,
        confirmed=result.grade is Grade.CONFIRMED,
        verdict=result.proof.verdict if result.proof else None,
    )
    if not found.passed:
        raise VerificationError("the explanation failed its verification: " + "; ".join(found.failures()))
    certificate = solution.certificate.model_copy(update={"checks": found.checks})
    return replace(result, solution=solution.model_copy(update={"certificate": certificate}), verification=found)


def recorded_explanation(problem: RecourseProblem, conflicts: Sequence[ConflictRecord]) -> Explanation:
    """What a solution file says of the conflicts; it leaves open whether there are more and what else would help."""
    told = []
    for conflict in conflicts:
        needed = [Needed(Requirement(r.kind, r.limit, r.subject or ""), r.attainable) for r in conflict.requirements]
        told.append(Conflict(tuple(needed), conflict.irreducible, conflict.grade))
    return Explanation(problem, tuple(told), complete=False)


def _record(conflict: Conflict) -> ConflictRecord:
    return ConflictRecord(
        requirements=tuple(
            RequirementRecord(
                kind=needed.requirement.kind,
                subject=needed.requirement.subject or None,
                limit=needed.requirement.limit,
                attainable=needed.attainable,
            )
            for needed in conflict.needed
        ),
        irreducible=conflict.irreducible,
        grade=conflict.grade,
    )


# -- the search ---


@dataclass
class _Search:
    problem: RecourseProblem
    grade: Grade
    formulation: str
    solver: str | None
    threads: int
    clock: Clock
    interrupted: Callable[[], bool]
    notes: list[str] = field(default_factory=list)

    def run(self) -> Explanation:
        everything = requirements_of(self.problem)
        conflicts: list[Conflict] = []
        left, rest_admits = list(everything), False
        while not rest_admits:
            found = self._reduced(left)
            conflicts.append(found)
            left = [requirement for requirement in left if requirement not in found.requirements]
            answer = self._admits(left) if found.requirements else False
            if answer is not False or not found.requirements:
                rest_admits = answer is True
                break
        complete = rest_admits
        if self._over():
            self._note("the time limit was reached, or it was interrupted: what is not said here is open")
        told = [self._with_outlook(conflict, everything, complete and len(conflicts) == 1) for conflict in conflicts]
        if len(conflicts) > 1:
            told = [_never_enough(conflict) for conflict in told]
        return Explanation(self.problem, tuple(told), complete, tuple(self.notes))

    def _reduced(self, requirements: Sequence[Requirement]) -> Conflict:
        """The deletion filter; ``requirements`` are known to conflict."""
        kept, irreducible = list(requirements), True
        open_chunks = _chunks(requirements)
        while open_chunks:
            chunk = open_chunks.pop(0)
            without = [requirement for requirement in kept if requirement not in chunk]
            answer = self._admits(without)
            if answer is False:
                kept = without
            elif len(chunk) > 1 and not self._over():
                half = len(chunk) // 2
                open_chunks = [chunk[:half], chunk[half:], *open_chunks]
            elif answer is None:
                irreducible = False
        return Conflict(tuple(Needed(requirement) for requirement in kept), irreducible, self.grade)

    def _admits(self, kept: Sequence[Requirement]) -> bool | None:
        """Whether some move meets these requirements; None where that could not be settled."""
        if self._over():
            return None
        problem = keeping(self.problem, kept)
        if first_answer(problem, self.clock) is not None:
            return True
        found = self._solve(problem, ANY_ANSWER, self.clock.left())
        if found is None or found.status is Status.UNKNOWN:
            return None
        if found.status is Status.INFEASIBLE:
            self.grade = found.grade
            return False
        return True

    def _solve(self, problem: RecourseProblem, gap: float | None, seconds: float | None) -> Result | None:
        known = formulations().get(self.formulation)
        applies = known is not None and known.accepts(problem) is None and known.unfit(self.solver) is None
        try:
            return solve(
                problem,
                formulation=self.formulation if applies else "auto",
                solver=self.solver,
                time_limit=seconds,
                gap=gap,
                threads=self.threads,
            )
        except UnsupportedError:
            self._note("with some requirements dropped, no formulation solves the instance; those tests are left out")
        except InputError as error:
            if error.where != "position":
                raise
            self._note("with some requirements dropped, the best move leaves a tie; those tests are left out")
        return None

    def _over(self) -> bool:
        return self.clock.is_over or self.interrupted()

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    # -- what giving way would do ---

    def _with_outlook(self, conflict: Conflict, everything: Sequence[Requirement], single: bool) -> Conflict:
        if not conflict.irreducible:
            return conflict
        needed = tuple(self._outlook(one, conflict, everything, single) for one in conflict.needed)
        return replace(conflict, needed=needed)

    def _outlook(self, one: Needed, conflict: Conflict, everything: Sequence[Requirement], single: bool) -> Needed:
        enough: bool | None = None
        if len(conflict.needed) == len(everything):
            enough = True
        elif single:
            enough = self._admits([requirement for requirement in everything if requirement != one.requirement])
        problem = attaining(self.problem, one.requirement, conflict.requirements)
        if problem is None or self._over():
            return replace(one, is_enough=enough)
        found = self._solve(problem, None, self.clock.share(0.5))
        if found is None or found.objective is None:
            return replace(one, is_enough=enough)
        return replace(one, attainable=found.objective, is_best=found.status is Status.OPTIMAL, is_enough=enough)


def _never_enough(conflict: Conflict) -> Conflict:
    """Beside another conflict, which has no requirement in common with it, no single one is."""
    return replace(conflict, needed=tuple(replace(one, is_enough=False) for one in conflict.needed))


def _chunks(requirements: Sequence[Requirement]) -> list[list[Requirement]]:
    """By kind, what is easiest to give up first: so that what remains is told of the queries where it can be."""
    by_kind = ([r for r in requirements if r.kind is kind] for kind in reversed(RequirementKind))
    return [chunk for chunk in by_kind if chunk]
