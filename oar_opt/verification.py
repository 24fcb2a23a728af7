"""Checks an answer from the instance alone: rules, re-training, margins, objective, bound.

Nothing here has seen a formulation's program or a solver. The learner is re-trained by its own ``fit``; where the
admissible choices are few, all of them are re-trained, so that the bound is checked as well. What cannot be checked
this way is said by the certificate's grade: a bound of grade ``claimed`` rests on one solver's word. That a second
solver agreed (``confirmed``), or that a certificate was checked in exact arithmetic (``proved``), is a file's word,
unless whoever asks has seen it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from oar_opt.certificate import Grade
from oar_opt.discovery import not_replayed
from oar_opt.evaluate import (
    FEW_CHOICES,
    MANY_CHOICES,
    Enumeration,
    Evaluation,
    UndefinedLearner,
    count_choices,
    enumerate_choices,
    evaluate,
    evaluate_present,
)
from oar_opt.parameters import CentroidParameters, LinearParameters, Parameters
from oar_opt.problem import FeatureAction, Flags, Move, Norm, RecourseProblem, Vector, resulting_records
from oar_opt.proved_bounds import contradictions, is_proved, overstated, states_its_proof
from oar_opt.requirements import Requirement, keeping, requirements_of
from oar_opt.result import Status, StoppedBy, relative_gap
from oar_opt.rules import (
    ROUNDING,
    budget_violations,
    change_violation,
    domain_violation,
    matches_option,
    scaled_change,
    surely_within,
)
from oar_opt.solution_file import Alternative, Check, ConflictRecord, MoveRecord, Pool, Solution
from oar_opt.solution_file import CentroidParameters as StatedCentroids
from oar_opt.solution_file import LinearParameters as StatedLinear

if TYPE_CHECKING:
    from oar_opt.proof.checker import Verdict

ON_WORD = (Grade.CONFIRMED, Grade.PROVED)
"""Grades whose evidence lies outside a solution's file and its instance."""
UNSTATED = ("all choices re-trained", "proof")
"""Checks that whoever wrote a solution may have done without."""


@dataclass(frozen=True)
class Verification:
    """The checks in order, the grade that they support, and what re-training gave (None where it could not).

    ``pool_grade`` is the grade of the bounds of further answers, where the solution has a pool. ``word`` is a higher
    grade that the solution states and that was neither supported nor refuted here; None where there is none.
    """

    checks: tuple[Check, ...]
    grade: Grade
    evaluation: Evaluation | None = None
    details: dict[str, str] = field(default_factory=dict)
    pool_grade: Grade = Grade.CLAIMED
    word: Grade | None = None

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def failures(self) -> list[str]:
        """The failed checks in words."""
        return [
            f"{check.name}: {self.details.get(check.name) or _numbers(check)}"
            for check in self.checks
            if not check.passed
        ]


def check_answer(
    problem: RecourseProblem,
    solution: Solution,
    *,
    enumerated: bool = False,
    confirmed: bool = False,
    verdict: Verdict | None = None,
) -> Verification:
    """Check every statement of a solution against the instance.

    Parameters
    ----------
    problem : the instance, from its own file.
    solution : what is claimed about it.
    enumerated : the caller has just re-trained all choices itself, with the same evaluation as here.
    confirmed : the caller has just seen a second formulation or solver agree.
    verdict : the caller's, just now, on a certificate of this problem.
    """
    book = _Book(problem.tolerances.feasibility)
    book.say("instance", identity_violations(problem, solution))
    moves = _check_moves(book, problem, solution)
    outcome = None
    if solution.objective is None:
        _check_empty(book, solution)
    elif moves is not None:
        outcome = _check_outcome(book, problem, solution, moves)
    _check_bound(book, problem, solution)
    _check_pool(book, problem, solution)
    _check_conflicts(book, problem, solution)
    all_tried = enumerated or _check_enumeration(book, problem, solution)
    _check_proof(book, problem, solution, verdict)
    grade = Grade.ENUMERATED if all_tried and _is_settled(solution) else Grade.CLAIMED
    if confirmed:
        grade = max(grade, Grade.CONFIRMED)
    if verdict is not None and is_proved(problem, solution, verdict):
        grade = Grade.PROVED
    pool_grade = Grade.ENUMERATED if all_tried else Grade.CLAIMED
    return Verification(tuple(book.checks), grade, outcome, book.details, pool_grade)


def verify(problem: RecourseProblem, solution: Solution, *, verdict: Verdict | None = None) -> Verification:
    """As :func:`check_answer`, and the certificate that the solution carries must say what was found here.

    ``verdict`` is the one on a certificate of this problem, where there is one; without it a solution's ``proved`` is
    its own word (:attr:`Verification.word`).
    """
    found = check_answer(problem, solution, verdict=verdict)
    found = replace(found, word=_word(problem, solution, found, verdict))
    book = _Book(problem.tolerances.feasibility, list(found.checks), dict(found.details))
    _check_certificate(book, solution, found)
    return replace(found, checks=tuple(book.checks), details=book.details)


def _word(problem: RecourseProblem, solution: Solution, found: Verification, verdict: Verdict | None) -> Grade | None:
    """The grade that can only be believed; one whose proof is at hand, or is not even stated, is not."""
    stated = solution.certificate.grade
    if stated not in ON_WORD or stated <= found.grade or not _is_settled(solution):
        return None
    if stated is Grade.PROVED and (verdict is not None or not states_its_proof(problem, solution)):
        return None
    return stated


# -- the book of checks ---


@dataclass
class _Book:
    tolerance: float
    checks: list[Check] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)

    def say(self, name: str, broken: list[str]) -> bool:
        """A yes-or-no check: passed where nothing is broken."""
        self.checks.append(Check(name=name, value=float(len(broken)), limit=0.0, passed=not broken))
        if broken:
            self.details[name] = "; ".join(broken)
        return not broken

    def measure(self, name: str, value: float, limit: float, detail: str = "") -> bool:
        """A number that may be at most ``limit``."""
        passed = bool(value <= limit)
        self.checks.append(
            Check(name=name, value=float(value) if np.isfinite(value) else None, limit=limit, passed=passed)
        )
        if not passed and detail:
            self.details[name] = detail
        return passed


def _within(check: Check) -> bool:
    return check.value is not None and check.limit is not None and check.value <= check.limit


def _numbers(check: Check) -> str:
    return "" if check.value is None else f"{check.value:.3g} is above {check.limit:.3g}"


# -- identity and moves ---


def identity_violations(problem: RecourseProblem, solution: Solution) -> list[str]:
    """Why a solution is not one of this instance, in words; none where it is."""
    broken = []
    if solution.instance != problem.name:
        broken.append(f"the solution is for '{solution.instance}', not for '{problem.name}'")
    if solution.instance_sha256 != problem.sha256:
        broken.append("the instance's file has another digest than the one that was solved")
    return broken


def _check_moves(book: _Book, problem: RecourseProblem, solution: Solution) -> tuple[Move, ...] | None:
    """The moves, coded as in the problem, or None where they are not moves of this collective."""
    if not book.say("members", member_violations(problem, solution.moves)):
        return None
    moves = coded_moves(problem, solution.moves)
    book.say("allowed moves", move_violations(problem, moves))
    book.say("listed changes", [text for move in solution.moves if (text := _misreported(problem, move))])
    book.say("budgets", budget_violations(problem, moves, book.tolerance))
    return moves


def member_violations(problem: RecourseProblem, stated: Sequence[MoveRecord]) -> list[str]:
    """Why moves cannot be moves of this collective at all, whatever its rules; none where they can."""
    seen = Counter(move.record for move in stated)
    strangers = [f"record {move.record} is no member" for move in stated if move.record not in problem.member_at]
    strangers += [f"member {record} moves twice" for record in sorted(seen) if seen[record] > 1]
    shapes = [
        f"the move of record {move.record} has {len(move.x)} features, not {problem.d}"
        for move in stated
        if len(move.x) != problem.d
    ]
    unknown = dict.fromkeys(move.record for move in stated if _code(problem, move) is None)
    return strangers + shapes + [f"record {record} moves to an unknown class" for record in unknown]


def coded_moves(problem: RecourseProblem, stated: Sequence[MoveRecord]) -> tuple[Move, ...]:
    """Moves of a solution file, coded as in the problem; for those without :func:`member_violations`."""
    return tuple(Move(move.record, move.x, _code(problem, move) or 0.0, move.weight, move.cost) for move in stated)


def _code(problem: RecourseProblem, move: MoveRecord) -> float | None:
    if problem.classes is None:
        return float(move.y) if isinstance(move.y, int | float) and not isinstance(move.y, bool) else None
    for code, label in enumerate(problem.classes):
        if isinstance(label, bool) == isinstance(move.y, bool) and label == move.y:
            return float(code) if problem.learner.is_centroid else (1.0 if code else -1.0)
    return None


def move_violations(problem: RecourseProblem, moves: Sequence[Move]) -> list[str]:
    """Why members may not move like this, in words; none where all may."""
    doubtful = [move for move, sure in zip(moves, _surely_allowed(problem, moves), strict=True) if not sure]
    return [text for move in doubtful if (text := move_violation(problem, move))]


def _surely_allowed(problem: RecourseProblem, moves: Sequence[Move]) -> Flags:
    """The moves ``(m,)`` that are changes within a member's first features action, all at once.

    Of the others nothing is said: :func:`move_violation` looks at them one by one.
    """
    allowed = np.zeros(len(moves), dtype=bool)
    by_norm: dict[Norm, list[tuple[int, FeatureAction]]] = {}
    for k, move in enumerate(moves):
        for action in problem.member_at[move.record].feature_actions[:1]:
            by_norm.setdefault(action.norm, []).append((k, action))
    for norm, pairs in by_norm.items():
        where = [k for k, _ in pairs]
        radii = np.array([action.radius for _, action in pairs])
        charges = np.array([action.charge for _, action in pairs])
        allowed[where] = _surely_within(problem, [moves[k] for k in where], norm, radii, charges)
    return allowed


def _surely_within(
    problem: RecourseProblem, moves: Sequence[Move], norm: Norm, radii: Vector, charges: Vector
) -> Flags:
    """As :func:`_change_beyond`, with no more tolerance than there."""
    rows, tolerance = np.array([move.record for move in moves]), problem.tolerances.feasibility
    before, after = problem.records.X[rows], np.array([move.x for move in moves])
    y, s, costs = np.array([(move.y, move.s, move.cost) for move in moves]).T
    scaled = (after - before) / problem.scales
    same = (y == problem.records.y[rows]) & (s == problem.records.s[rows])
    near = norm.of_rows(scaled) <= radii + tolerance * np.maximum(1.0, radii)
    due = charges + problem.collective.cost.of_rows(scaled)
    paid = np.abs(due - costs) <= ROUNDING * np.maximum(1.0, due)
    allowed: Flags = same & near & paid & surely_within(problem, before, after, tolerance)
    return allowed


def move_violation(problem: RecourseProblem, move: Move) -> str | None:
    """Why a member may not move like this, or None: only to one of its options, or by a change within its rules."""
    member, tolerance = problem.member_at[move.record], problem.tolerances.feasibility
    if any(matches_option(option, move, tolerance) for option in problem.options(member)[1:]):
        return None
    reasons = [_change_beyond(problem, move, action) for action in member.feature_actions]
    if None in reasons:
        return None
    if not reasons:
        return f"member {move.record} has no such option"
    return f"member {move.record}: " + "; ".join(reason for reason in reasons if reason)


def _change_beyond(problem: RecourseProblem, move: Move, action: FeatureAction) -> str | None:
    i, tolerance = move.record, problem.tolerances.feasibility
    if move.y != problem.records.y[i] or move.s != problem.records.s[i]:
        return "a feature change leaves label and weight as they are"
    scaled = scaled_change(problem, i, move.x)
    length = action.norm.of(scaled)
    if not length <= action.radius + tolerance * max(1.0, action.radius):
        return f"moves by {length:.6g} in {action.norm}, more than its radius {action.radius:g}"
    before, after = problem.records.X[i], np.array(move.x)
    broken = change_violation(problem, before, after, tolerance) or domain_violation(problem, after, tolerance)
    if broken:
        return broken
    cost = action.charge + problem.collective.cost.of(scaled)
    if not abs(cost - move.cost) <= ROUNDING * max(1.0, cost):
        return f"states the cost {move.cost:.6g}, and it is {cost:.6g}"
    return None


def _misreported(problem: RecourseProblem, move: MoveRecord) -> str | None:
    changes = listed_changes(problem, move.record, move.x)
    if changes == move.changes:
        return None
    same = changes.keys() == move.changes.keys() and all(
        np.allclose(changes[name], move.changes[name], rtol=1e-9, atol=1e-9) for name in changes
    )
    return None if same else f"the changes listed for record {move.record} are not those of its features"


def listed_changes(problem: RecourseProblem, record: int, x: tuple[float, ...]) -> dict[str, tuple[float, float]]:
    """The features that differ, by name: before and after."""
    return {
        feature.name: (old, float(new))
        for feature, old, new in zip(problem.features, problem.records.X[record].tolist(), x, strict=True)
        if old != new
    }


# -- the learner's answer ---


def _check_outcome(
    book: _Book, problem: RecourseProblem, solution: Solution, moves: tuple[Move, ...]
) -> Evaluation | None:
    try:
        outcome = evaluate(problem, moves)
    except UndefinedLearner as undefined:
        book.say("learner defined", [str(undefined)])
        return None
    book.say("learner defined", [])
    book.measure("re-training accuracy", outcome.inaccuracy, book.tolerance)
    stated = _stated_vector(problem, solution)
    own = outcome.parameters.vector()
    scale = max(1.0, float(np.abs(own).max(initial=0.0)))
    distance = float("inf") if stated is None or stated.shape != own.shape else float(np.abs(stated - own).max())
    book.measure("parameters", distance, book.tolerance * scale, "the stated parameters are not the re-trained ones")
    _check_margins(book, problem, solution, outcome)
    book.say("required margins, guards and loss", list(outcome.broken))
    book.say("position", [outcome.tie] if outcome.tie else [])
    scale = max(1.0, abs(outcome.objective))
    difference = abs((solution.objective or 0.0) - outcome.objective)
    book.measure(
        "objective",
        difference,
        book.tolerance * scale,
        f"stated {solution.objective:.8g}, and re-training gives {outcome.objective:.8g}",
    )
    return outcome


def _stated_vector(problem: RecourseProblem, solution: Solution) -> Vector | None:
    match solution.parameters:
        case StatedLinear(w=w, b=b):
            return np.array([*w, b])
        case StatedCentroids(centroids=centroids):
            labels = [str(label) for label in problem.classes or ()]
            if set(labels) != set(centroids):
                return None
            return np.concatenate([np.array(centroids[label]) for label in labels])
        case _:
            return None


def stated_parameters(problem: RecourseProblem, parameters: Parameters) -> StatedLinear | StatedCentroids:
    """Parameters as a solution file writes them."""
    if isinstance(parameters, CentroidParameters):
        labels = [str(label) for label in problem.classes or ()]
        return StatedCentroids(centroids=dict(zip(labels, parameters.mu, strict=True)))
    assert isinstance(parameters, LinearParameters)
    return StatedLinear(w=parameters.w, b=parameters.b)


def _check_margins(book: _Book, problem: RecourseProblem, solution: Solution, outcome: Evaluation) -> None:
    stated = {query.name: query for query in solution.queries}
    names = [query.name for query in problem.queries]
    in_order = [query.name for query in solution.queries] == names
    if not book.say("queries", [] if in_order else ["other queries, or in another order, than the instance's"]):
        return
    present = evaluate_present(problem)
    worst, worst_before, decisions = 0.0, 0.0, []
    for q, query in enumerate(problem.queries):
        said, margin = stated[query.name], outcome.margins[q]
        worst = max(worst, abs(said.margin - margin) / max(1.0, abs(margin)))
        before = present.margins[q] if present else None
        if (before is None) != (said.margin_before is None):
            worst_before = float("inf")
        elif before is not None and said.margin_before is not None:
            worst_before = max(worst_before, abs(said.margin_before - before) / max(1.0, abs(before)))
        decision = outcome.parameters.decision(problem, query)
        if not _same_label(decision, said.decision):
            decisions.append(f"'{query.name}' is decided {decision}, not {said.decision}")
        if said.helped != outcome.helped[q]:
            decisions.append(f"'{query.name}' is {'' if outcome.helped[q] else 'not '}helped")
    book.measure("margins", worst, book.tolerance, "the stated margins are not those of the re-trained learner")
    book.measure("margins before", worst_before, book.tolerance, "the stated margins before anyone acts are wrong")
    book.say("decisions", decisions)


def _same_label(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, int | float) and not isinstance(b, bool):
        return bool(abs(a - b) <= 1e-6 * max(1.0, abs(a)))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def _check_empty(book: _Book, solution: Solution) -> None:
    broken = []
    if solution.moves or solution.parameters is not None or solution.queries:
        broken.append("moves, parameters or queries are stated without an objective")
    if solution.status in (Status.OPTIMAL, Status.FEASIBLE):
        broken.append(f"the status is '{solution.status}' without an objective")
    book.say("no answer", broken)


# -- the bound ---


def _check_bound(book: _Book, problem: RecourseProblem, solution: Solution) -> None:
    objective, bound = solution.objective, solution.bound
    gap = None if objective is None or bound is None else relative_gap(objective, bound)
    broken = []
    if (gap is None) != (solution.relative_gap is None):
        broken.append("a gap needs an objective and a bound, and both give one")
    elif gap is not None and solution.relative_gap is not None and abs(gap - solution.relative_gap) > 1e-9 * (1 + gap):
        broken.append(f"stated {solution.relative_gap:.6g}, and objective and bound give {gap:.6g}")
    book.say("gap", broken)
    if objective is not None and bound is not None:
        beyond = (objective - bound) if problem.goal.maximises else (bound - objective)
        limit = book.tolerance * max(1.0, abs(objective))
        book.measure("bound", max(0.0, beyond), limit, f"the answer {objective:.8g} beats the bound {bound:.8g}")
    wrong = []
    if solution.status is Status.OPTIMAL and (gap is None or gap > problem.tolerances.relative_gap):
        wrong.append("'optimal' needs a gap within the instance's tolerance")
    if solution.status is Status.INFEASIBLE and (objective is not None or solution.stopped_by is not StoppedBy.PROOF):
        wrong.append("'infeasible' goes with no answer and a finished proof")
    book.say("status", wrong)


def _check_proof(book: _Book, problem: RecourseProblem, solution: Solution, verdict: Verdict | None) -> None:
    """A certificate that is at hand must check, not contradict the solution, and prove what is said to be proved."""
    if verdict is None:
        return
    broken = [] if verdict.proved else [verdict.sentence]
    broken += contradictions(problem, solution, verdict)
    book.say("proof", broken + overstated(problem, solution, verdict))


def _is_settled(solution: Solution) -> bool:
    return solution.status in (Status.OPTIMAL, Status.INFEASIBLE)


def _check_enumeration(book: _Book, problem: RecourseProblem, solution: Solution) -> bool:
    """Re-train all choices where they are few, or where the certificate says that it was done."""
    claims = solution.certificate.grade is Grade.ENUMERATED
    if not problem.is_menu_problem or not_replayed(problem):
        if claims:
            book.say("all choices re-trained", ["there are infinitely many choices, or the update is not replayed"])
        return False
    count = count_choices(problem)
    if count > (MANY_CHOICES if claims else FEW_CHOICES):
        if claims:
            book.say("all choices re-trained", [f"{count:.4g} choices are more than this verification re-trains"])
        return False
    # One more than are listed where none other may exist.
    found = enumerate_choices(problem, keep=max(1, _listed(solution) + bool(solution.pool and solution.pool.complete)))
    if not found.complete and not found.tied and not claims:
        return False
    broken = _against_enumeration(problem, solution, found)
    if not found.complete and not found.tied:
        broken = ["some choices cannot be re-trained accurately enough to tell"]
    book.say("all choices re-trained", broken)
    return True


def _listed(solution: Solution) -> int:
    """How many answers the solution states."""
    return (solution.objective is not None) + (len(solution.pool.alternatives) if solution.pool else 0)


def _against_enumeration(problem: RecourseProblem, solution: Solution, found: Enumeration) -> list[str]:
    if found.tied and found.tied.tie:
        return [found.tied.tie]
    if found.best is None:
        return [] if solution.objective is None else ["no choice is an answer, and the solution states one"]
    best, tolerance = found.best.objective, problem.tolerances
    if solution.status is Status.INFEASIBLE:
        return [f"a choice with the objective {best:.8g} exists"]
    better: Callable[[float], float] = (lambda v: best - v) if problem.goal.maximises else (lambda v: v - best)
    broken = []
    if solution.objective is not None and better(solution.objective) < -tolerance.feasibility * max(1.0, abs(best)):
        broken.append(f"{solution.objective:.8g} is stated, and the best choice reaches only {best:.8g}")
    if solution.bound is not None and better(solution.bound) > tolerance.feasibility * max(1.0, abs(best)):
        broken.append(f"a choice reaches {best:.8g}, beyond the bound {solution.bound:.8g}")
    if solution.status is Status.OPTIMAL and solution.objective is not None:
        limit = (tolerance.relative_gap + tolerance.feasibility) * max(1.0, abs(solution.objective))
        if better(solution.objective) > limit:
            broken.append(f"a choice reaches {best:.8g}, better than the optimum stated, {solution.objective:.8g}")
    return broken + _pool_against_enumeration(problem, solution, found.ranking)


def _pool_against_enumeration(
    problem: RecourseProblem, solution: Solution, ranking: tuple[Evaluation, ...]
) -> list[str]:
    """Each alternative's bound must hold for the best choice outside the answers before it."""
    if solution.pool is None:
        return []
    broken, before = [], {_result(problem, solution.moves)}
    for k, alternative in enumerate(solution.pool.alternatives, start=2):
        rest = [o.objective for o in ranking if resulting_records(problem, o.moves) not in before]
        before.add(_result(problem, alternative.moves))
        if not rest or alternative.bound is None:
            continue
        beyond = rest[0] - alternative.bound if problem.goal.maximises else alternative.bound - rest[0]
        if beyond > problem.tolerances.feasibility * max(1.0, abs(rest[0])):
            broken.append(f"outside the first {k - 1}, a choice reaches {rest[0]:.8g}, beyond {alternative.bound:.8g}")
    if solution.pool.complete and len(ranking) > _listed(solution):
        broken.append(f"the pool says it is complete, and there are more than {_listed(solution)} admissible results")
    return broken


# -- further answers ---


def _check_pool(book: _Book, problem: RecourseProblem, solution: Solution) -> None:
    """Every alternative by itself as the best answer is checked, then what they are to each other."""
    if solution.pool is None:
        return
    for k, alternative in enumerate(solution.pool.alternatives, start=2):
        book.say(f"alternative {k}", _alternative_failures(book.tolerance, problem, solution, alternative))
    book.say("order of alternatives", _disorder(book.tolerance, problem, solution, solution.pool))


def _alternative_failures(
    tolerance: float, problem: RecourseProblem, solution: Solution, alternative: Alternative
) -> list[str]:
    own = _Book(tolerance)
    names = ("objective", "bound", "relative_gap", "moves", "parameters", "queries")
    changes = {name: getattr(alternative, name) for name in names}
    stated = solution.model_copy(update={**changes, "status": Status.FEASIBLE, "pool": None})
    moves = _check_moves(own, problem, stated)
    if moves is not None:
        _check_outcome(own, problem, stated, moves)
    _check_bound(own, problem, stated)
    return Verification(tuple(own.checks), Grade.CLAIMED, details=own.details).failures()


def _disorder(tolerance: float, problem: RecourseProblem, solution: Solution, pool: Pool) -> list[str]:
    broken = []
    if solution.objective is None:
        return ["there are alternatives to no answer"] if pool.alternatives else []
    objectives = [solution.objective, *(alternative.objective for alternative in pool.alternatives)]
    for k, (better, worse) in enumerate(pairwise(objectives), start=2):
        ahead = worse - better if problem.goal.maximises else better - worse
        if ahead > tolerance * max(1.0, abs(better)):
            broken.append(f"alternative {k} is better than the answer before it")
    moves = [solution.moves, *(alternative.moves for alternative in pool.alternatives)]
    results = [_result(problem, stated) for stated in moves]
    if len(set(results)) < len(results):
        broken.append("two answers leave the same records behind")
    if len(results) > pool.asked:
        broken.append(f"there are {len(results)} answers, and {pool.asked} were asked for")
    if pool.stopped_by is StoppedBy.GAP and len(results) < pool.asked:
        broken.append(f"all {pool.asked} answers are said to be there, and {len(results)} are")
    if pool.complete and pool.stopped_by is not StoppedBy.PROOF:
        broken.append("'complete' goes with a finished proof")
    return broken


def _result(problem: RecourseProblem, stated: Sequence[MoveRecord]) -> object:
    """What moves leave behind; None where they are not moves of this problem."""
    moves = coded_moves(problem, stated)
    if any(not 0 <= move.record < problem.n for move in moves):
        return None
    return resulting_records(problem, moves)


# -- conflicts ---


def _check_conflicts(book: _Book, problem: RecourseProblem, solution: Solution) -> None:
    """They must consist of the instance's requirements; where the choices are few, all are re-trained."""
    if solution.conflicts is None:
        return
    broken = [] if solution.status is Status.INFEASIBLE else ["only an infeasible instance has conflicts"]
    known = {(r.kind, r.subject, r.limit): r for r in requirements_of(problem)}
    stated = [[(r.kind, r.subject or "", r.limit) for r in conflict.requirements] for conflict in solution.conflicts]
    every = [requirement for conflict in stated for requirement in conflict]
    unknown = [requirement for requirement in every if requirement not in known]
    broken += [f"{kind} {subject} {limit:g} is no requirement of the instance" for kind, subject, limit in unknown]
    if len(set(every)) < len(every):
        broken.append("a requirement is listed twice")
    if not broken:
        for conflict, listed in zip(solution.conflicts, stated, strict=True):
            broken += _conflict_failures(problem, conflict, [known[requirement] for requirement in listed])
    book.say("conflicts", broken)


def _conflict_failures(problem: RecourseProblem, conflict: ConflictRecord, kept: list[Requirement]) -> list[str]:
    """By re-training: no choice meets all of them and, if it is irreducible, some choice all but any one."""
    told = _list_words(kept)
    if _is_met(problem, kept):
        return [f"a choice meets {told} together"]
    if not conflict.irreducible:
        return []
    rest = [[other for other in kept if other != requirement] for requirement in kept]
    return [f"no choice meets {_list_words(others)} either" for others in rest if _is_met(problem, others) is False]


def _list_words(requirements: list[Requirement]) -> str:
    return ", ".join(requirement.words for requirement in requirements) or "nothing at all"


def _is_met(problem: RecourseProblem, kept: list[Requirement]) -> bool | None:
    """Whether a choice meets these requirements; None where the choices are too many or re-training cannot tell."""
    loose = keeping(problem, kept)
    if not loose.is_menu_problem or not_replayed(loose) or count_choices(loose) > FEW_CHOICES:
        return None
    found = enumerate_choices(loose)
    if found.best is not None:
        return True
    return False if found.complete and found.tied is None else None


def _check_certificate(book: _Book, solution: Solution, found: Verification) -> None:
    broken = []
    if solution.certificate.grade > (found.word or found.grade):
        broken.append(f"claims the grade '{solution.certificate.grade}', and the evidence here is '{found.grade}'")
    if solution.pool is not None and solution.pool.grade > found.pool_grade:
        broken.append(f"the pool claims the grade '{solution.pool.grade}', and the evidence is '{found.pool_grade}'")
    stated = {check.name: check for check in solution.certificate.checks}
    for check in found.checks:
        said = stated.get(check.name)
        if said is None and check.name not in UNSTATED:
            broken.append(f"does not state the check '{check.name}'")
        elif said is not None and (said.passed, said.limit) != (check.passed, check.limit):
            broken.append(f"states another limit or outcome of '{check.name}'")
        elif said is not None and said.passed != _within(said):
            broken.append(f"states a value of '{check.name}' that does not go with its limit")
    book.say("certificate", broken)
