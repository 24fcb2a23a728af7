"""Which formats hold which formulation's program, and why others do not: for all, or for one instance.

The bilevel program itself, which is no formulation's, has the last row.
"""

from __future__ import annotations

from dataclasses import dataclass

from oar_opt.contracts import Formulation
from oar_opt.discovery import formulations
from oar_opt.errors import UnsupportedError
from oar_opt.export.bilevel_model import Bilevel
from oar_opt.export.exporting import program_refusal
from oar_opt.export.formats import BILEVEL_FORMATS, FORMATS, formulation_refusal
from oar_opt.problem import RecourseProblem
from oar_opt.result import Request


@dataclass(frozen=True)
class Row:
    """One formulation: ``formats`` that hold its program, and the reason of each that does not.

    ``inapplicable`` says why it does not apply to the instance, or None.
    """

    formulation: str
    formats: tuple[str, ...]
    reasons: dict[str, str]
    inapplicable: str | None = None
    note: str = ""

    @property
    def words(self) -> str:
        """The reasons, those of several formats together."""
        if self.inapplicable:
            return f"does not apply: {self.inapplicable}"
        if self.note:
            return self.note
        grouped: dict[str, list[str]] = {}
        for form, reason in self.reasons.items():
            grouped.setdefault(reason.partition(", which")[0].partition(", and cbf")[0], []).append(form)
        if not self.formats and len(grouped) == 1:
            return next(iter(grouped))
        return "; ".join(f"{', '.join(forms)}: {reason}" for reason, forms in grouped.items())


def listing(problem: RecourseProblem | None) -> tuple[Row, ...]:
    """One row for each formulation, and one more; with a problem, its programs are built, without tightening."""
    return (*(_row(name, item, problem) for name, item in formulations().items()), _bilevel_row(problem))


def _bilevel_row(problem: RecourseProblem | None) -> Row:
    statement = Bilevel()
    reason = statement.accepts(problem) if problem else None
    if problem and reason is None:
        try:
            statement.build(problem)
        except UnsupportedError as unsupported:
            reason = str(unsupported)
    if reason is not None:
        return Row(statement.name, (), {}, reason)
    return Row(statement.name, tuple(BILEVEL_FORMATS), {}, note="all others: leader and follower are no single program")


def _row(name: str, item: Formulation, problem: RecourseProblem | None) -> Row:
    reason = item.accepts(problem) if problem else None
    if reason is not None:
        return Row(name, (), {}, reason)
    if problem is None or not (item.exportable or item.conic):
        reasons = {form: formulation_refusal(form, item) for form in FORMATS}
    else:
        try:
            program = item.build(problem, Request(tightening=0.0)).written()
        except UnsupportedError as unsupported:
            return Row(name, (), {}, str(unsupported))
        reasons = {form: program_refusal(program, form) for form in FORMATS}
    held = tuple(form for form, why in reasons.items() if why is None)
    return Row(name, held, {form: why for form, why in reasons.items() if why is not None})
