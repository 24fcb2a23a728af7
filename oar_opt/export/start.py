"""``FILE.sol``: a verified start for the program of a file; ``FILE.solu``: what is known of its optimum.

The start is the best of the heuristics' quick answers. Its choices are fixed and the rest of the program is solved,
so that the file has a value for every column: lines ``name value``, as SCIP and Gurobi read them. (Of a bilevel program
nothing is solved: the follower's variables are the learner's optimum.) Where a program asks for a little more than an
answer needs, the answer may be no point of it; then there is no start. ``FILE.solu`` has lines ``=best= NAME value`` (a
verified answer reaches it) and ``=bestdual= NAME value`` (proved: nothing is better).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oar_opt.contracts import PyomoProgram
from oar_opt.evaluate import Evaluation
from oar_opt.export.bilevel_model import BilevelProgram
from oar_opt.export.names import Names, written_rows, written_variables
from oar_opt.limits import Clock
from oar_opt.problem import RecourseProblem
from oar_opt.result import Request
from oar_opt.search import first_answer

SECONDS = 10.0
"""For the heuristics, and again for the rest of the program."""
ROUNDING = 1e-9
"""Relative to the sides of a row, at least 1."""


@dataclass(frozen=True)
class Start:
    """The files that were written, and in words why others were not ("" where all were); the start's values by the
    variables' own names."""

    files: tuple[Path, ...] = ()
    missing: str = ""
    values: Mapping[str, float] | None = None


def write_start(problem: RecourseProblem, program: PyomoProgram, names: Names, path: Path, sign: float = 1.0) -> Start:
    """Write both files, as far as there is something to say; ``sign`` of the file's objective in the program's."""
    answer = first_answer(problem, Clock(SECONDS))
    known = _known(program, answer, sign, path)
    if answer is None:
        return Start(known, "no start: the heuristics found no admissible move")
    values = _completed(program, answer)
    if values is None:
        return Start(known, "no start: the heuristics' answer could not be completed to a point of the program")
    target = path.with_name(path.name + ".sol")
    every = {**names.columns, **names.others}
    lines = [f"{symbol} {values[component]!r}\n" for symbol, component in every.items() if component in values]
    target.write_text("".join(lines), encoding="utf-8")
    return Start((target, *known), values=values)


def _completed(program: PyomoProgram, answer: Evaluation) -> dict[str, float] | None:
    """A value for every variable, with the answer's choices; None where the program has no such point."""
    values = program.start(answer.moves, answer.parameters)
    variables = written_variables(program)
    if isinstance(program, BilevelProgram):
        # The follower answers, not the leader: its variables are the learner's optimum, and none is left to solve for.
        return dict(values) if _is_point(program, values) else None
    whole = [(v, round(values[v.name])) for v in variables if not v.is_continuous() and v.name in values]
    with _fixed(whole):
        claim = program.run(Request(time_limit=SECONDS))
        if claim.moves is None:
            return None
        return {v.name: _value(v) for v in variables} | _slacks(program)


def _slacks(program: PyomoProgram) -> dict[str, float]:
    """How far every indicator row is broken where it need not hold, by its name."""
    from pyomo.environ import value

    found = {}
    for place, one in enumerate(program.indicators):
        holds = bool(round(value(one.binary))) == one.active
        found[f"indicator[{place}]"] = 0.0 if holds else max(0.0, float(value(one.body)) - one.upper)
    return found


def _is_point(program: PyomoProgram, values: Mapping[str, float]) -> bool:
    """Whether every variable has a value, and all ends and rows hold up to rounding."""
    from pyomo.environ import value

    for variable in written_variables(program):
        if variable.name not in values:
            return False
        variable.set_value(values[variable.name], skip_validation=True)
    parts = [(one, value(one.body)) for one in written_rows(program)]
    parts += [(one, one.value) for one in written_variables(program)]
    return all(_holds(one.lower, body) and _holds(body, one.upper) for one, body in parts)


def _holds(low: Any, high: Any) -> bool:
    from pyomo.environ import value

    if low is None or high is None:
        return True
    return bool(value(low) <= value(high) + ROUNDING * max(1.0, abs(value(high))))


@contextmanager
def _fixed(values: list[tuple[Any, int]]) -> Iterator[None]:
    for variable, value in values:
        variable.fix(value)
    try:
        yield
    finally:
        for variable, _ in values:
            variable.unfix()


def _value(variable: Any) -> float:
    """The present value; of a variable that no row has, the number of its interval that is nearest to 0."""
    if variable.value is None:
        return float(min(max(0.0, variable.lb or 0.0), variable.ub if variable.ub is not None else 0.0))
    return float(variable.value) if variable.is_continuous() else float(round(variable.value))


def _known(program: PyomoProgram, answer: Evaluation | None, sign: float, path: Path) -> tuple[Path, ...]:
    name = path.name.split(".")[0]
    lines = [] if answer is None else [f"=best= {name} {sign * answer.objective!r}\n"]
    if program.goal_bound is not None:
        lines.append(f"=bestdual= {name} {sign * program.goal_bound!r}\n")
    if not lines:
        return ()
    target = path.with_name(path.name + ".solu")
    target.write_text("".join(lines), encoding="utf-8")
    return (target,)
