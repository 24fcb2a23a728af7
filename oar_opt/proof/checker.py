"""Checks a certificate against its instance, with nothing but rational and ball arithmetic.

What is checked:

1. The certificate is of this instance: name, digest of the file, goal. What the file refers to (a csv file whose digest
   it does not state, a data set of a library) is taken as it is found, and the verdict is on that.
2. The stored moves are options of members of the collective, to the last digit, and keep the budgets. Under the
   enclosure of the re-trained learner they are proved to meet all that the instance requires.
3. For the kind ``tree``, that its leaves cover all choices, and that each proves that it holds no better answer: see
   :mod:`oar_opt.proof.tree`. For the kind ``enumeration``, and at leaves with one choice, one of: its goal's value is
   proved not to be better than the bound; it is proved to miss a required margin of a query (for goals that are
   minimised) or of a guard; it leaves the learner undefined and is forbidden. Where the goal is minimised a choice
   whose cost is not below the bound is not looked at further.

A verdict says that the claim is proved, or why it is not: because the opposite is, or because the enclosures leave it
open. No number that was rounded is compared (two floating-point numbers of the files are, as the rationals that they
are), and a doubt never counts as a proof. Required margins are those of the instance less its tolerance.

Members who may change features are covered by trees alone, for the nearest centroid, one gradient step, and linear
learners with an l2 penalty whose loss is a polyline, see :mod:`oar_opt.proof.feature_reach`. Not covered, and refused
in words: other feature changes, a cap on the training loss, learners without an enclosure (see
:mod:`oar_opt.proof.enclosures`).

Reference: R. M. McConnell, K. Mehlhorn, S. Naeher, P. Schweitzer, "Certifying algorithms", 2011.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oar_opt.errors import UnsupportedError
from oar_opt.instance_file import load_instance
from oar_opt.problem import GoalKind, Member, Move, RecourseProblem
from oar_opt.proof.certificate_file import CertifiedMove, ProofCertificate, load_certificate
from oar_opt.proof.enclosures import not_enclosed
from oar_opt.proof.exact_changes import is_allowed_change
from oar_opt.proof.exact_choices import Choice, changes_features, exact_choices, member_moves, not_enumerable
from oar_opt.proof.exact_outcome import MINIMISED, Outcome, actors, effort, exact_outcome
from oar_opt.proof.leaf_bounds import not_bounded
from oar_opt.proof.parts import admitted
from oar_opt.proof.rationals import Interval, Number, decimal_above, decimal_below, read_decimal
from oar_opt.proof.tree import Refuter


@dataclass(frozen=True)
class Verdict:
    """Whether the claim is ``proved``, and in one sentence what is, or why it is not.

    ``choices`` is how many (or how many nodes of a tree) were gone through, ``value`` the stored change's, where there
    is one and all is proved. ``bound`` is the decimal that is proved; None, where all is proved: there is no answer.
    """

    proved: bool
    sentence: str
    choices: int = 0
    value: Interval | None = None
    bound: str | None = None

    @property
    def is_infeasible(self) -> bool:
        """Whether it is proved that no change is an answer."""
        return self.proved and self.bound is None


def check_files(certificate: str | Path, instance: str | Path) -> Verdict:
    """The verdict on a certificate's file and the instance's; :class:`InputError` where one of them is none."""
    return check(load_certificate(certificate), load_instance(instance))


def check(certificate: ProofCertificate, problem: RecourseProblem) -> Verdict:
    """The verdict on a certificate; see the module's docstring. ``problem.sha256`` is the digest of its file."""
    reason = _mismatch(certificate, problem) or not_checkable(problem)
    if reason:
        return _refused(reason)
    bound = None if certificate.bound is None else read_decimal(certificate.bound)
    try:
        stored = None if certificate.moves is None else _stored(problem, certificate.moves)
        if isinstance(stored, str):
            return _refused(stored)
        doubt, steps = _proof_doubt(certificate, problem, bound)
    except ArithmeticError as error:
        return _refused(f"undecided: {error}")
    except UnsupportedError as error:
        return _refused(str(error))
    if doubt:
        return _refused(doubt)
    sentence, value = _sentence(problem, certificate.bound, stored), stored.value if stored else None
    return Verdict(True, sentence, steps, value, certificate.bound)


def _proof_doubt(
    certificate: ProofCertificate, problem: RecourseProblem, bound: Number | None
) -> tuple[str | None, int]:
    """Why the bound is not proved, or None; and how many choices or nodes were gone through."""
    if certificate.kind == "tree":
        tree = Refuter(problem, bound, lambda choice: choice_doubt(problem, bound, choice))
        return tree.doubt_about(certificate.nodes), len(certificate.nodes)
    choices = exact_choices(problem)
    doubts = (choice_doubt(problem, bound, choice) for choice in choices)
    return next((doubt for doubt in doubts if doubt), None), len(choices)


def not_checkable(problem: RecourseProblem) -> str | None:
    """Why no certificate of this instance can be checked here, or None."""
    if problem.max_loss_increase is not None:
        return "a cap on the training loss is not covered by exact re-training yet"
    if changes_features(problem):
        # The bounds of leaves cover sets of changes, and an enumeration cannot.
        reason = not_bounded(problem)
        return f"{not_enumerable(problem)}; {reason}" if reason else not_enclosed(problem)
    return not_enumerable(problem) or not_enclosed(problem)


def _refused(reason: str) -> Verdict:
    return Verdict(False, f"Not proved: {reason}.")


def _mismatch(certificate: ProofCertificate, problem: RecourseProblem) -> str | None:
    if certificate.instance != problem.name:
        return f"the certificate is for '{certificate.instance}', not for '{problem.name}'"
    if certificate.instance_sha256.lower() != problem.sha256:
        return "the instance's file has another digest than the certificate states"
    if certificate.goal is not problem.goal:
        return f"the certificate is for the goal '{certificate.goal}', not for '{problem.goal}'"
    return None


# -- the stored moves ---


def _stored(problem: RecourseProblem, stated: Sequence[CertifiedMove]) -> Outcome | str:
    """The outcome of the stored moves, which are proved to be an answer; in words, why they are not."""
    moves = []
    for one in sorted(stated, key=lambda move: move.record):
        move = _as_option(problem, one)
        if move is None:
            return f"the stored move of record {one.record} is no option of a member within its budget"
        moves.append(move)
    choice = admitted(problem, tuple(moves))
    if choice is None or len({move.record for move in moves}) < len(moves):
        return "the stored moves overdraw a budget, or move a member twice"
    outcome = exact_outcome(problem, choice)
    if isinstance(outcome, str):
        return f"the stored moves leave no learner: {outcome}"
    if not outcome.surely_answers:
        return "the stored moves are not proved to meet what the instance requires"
    return outcome


def _as_option(problem: RecourseProblem, stated: CertifiedMove) -> Move | None:
    member = problem.member_at.get(stated.record)
    if member is None:
        return None
    for move in member_moves(problem, member):
        label = problem.label_of(move.y)
        same_label = isinstance(label, bool) == isinstance(stated.y, bool) and label == stated.y
        if same_label and (move.x, move.s, move.cost) == (stated.x, stated.weight, stated.cost):
            return move
    return _as_change(problem, member, stated)


def _as_change(problem: RecourseProblem, member: Member, stated: CertifiedMove) -> Move | None:
    y, s = float(problem.records.y[member.record]), float(problem.records.s[member.record])
    label = problem.label_of(y)
    if not member.feature_actions or isinstance(label, bool) != isinstance(stated.y, bool) or label != stated.y:
        return None
    move = Move(member.record, stated.x, y, stated.weight, stated.cost)
    return move if stated.weight == s and is_allowed_change(problem, member, move) else None


# -- the bound ---


def choice_doubt(problem: RecourseProblem, bound: Number | None, choice: Choice) -> str | None:
    """Why a choice is not proved to be no better than the bound (None: not to be an answer), or None."""
    if problem.goal in MINIMISED and bound is not None and effort(problem, choice) >= bound:
        return None
    outcome = exact_outcome(problem, choice)
    if isinstance(outcome, str) or outcome.surely_fails:
        return None
    value = outcome.value
    if bound is not None and problem.goal not in MINIMISED and value.high <= bound:
        return None
    words = f"{actors(choice.moves)} has the value {_shown(value)}"
    beaten = bound is None or (value.high < bound if problem.goal in MINIMISED else value.low > bound)
    if outcome.surely_answers and beaten:
        return f"the claim is wrong: {words}, {'and is an answer' if bound is None else 'better than the bound'}"
    return f"undecided: {words}, which is not proved to be no better than the bound"


def _shown(value: Interval) -> str:
    low, high = decimal_below(value.low), decimal_above(value.high)
    return low if low == high else f"between {low} and {high}"


# -- words ---


def _sentence(problem: RecourseProblem, bound: str | None, stored: Outcome | None) -> str:
    k = len(problem.collective.members)
    whose = f"no admissible change of these {k} members" if k != 1 else "no admissible change of this member"
    claim = whose[0].upper() + whose[1:]
    required = "gives every query and guard its required margin within the tolerance"
    match problem.goal:
        case _ if bound is None:
            kept = required if problem.goal in MINIMISED else "keeps every guard's required margin"
            return f"{claim} {kept}."
        case GoalKind.MAX_MARGIN:
            said, gives = f"gives a margin above {bound}", "gives at least"
        case GoalKind.MAX_HELPED:
            said, gives = f"helps more than {bound} queries", "helps at least"
        case GoalKind.MIN_COST:
            said, gives = f"that costs less than {bound} {required}", "does at a cost of at most"
        case GoalKind.MIN_MEMBERS:
            said, gives = f"in which fewer than {bound} act {required}", "does with"
    if stored is None:
        return f"{claim} {said}."
    value = stored.value
    number = decimal_above(value.high) if problem.goal in MINIMISED else decimal_below(value.low)
    acting = " acting" if problem.goal is GoalKind.MIN_MEMBERS else ""
    return f"{claim} {said}; the stored change {gives} {number}{acting}."
