"""The bilevel program itself, for learners that are linear programs, as MPS and AUX files for bilevel solvers.

Statement
---------
Letters of :mod:`oar_opt.risk`. Member ``i`` picks one option ``k``: ``z_ik`` binary, ``sum_k z_ik = 1``. The loss is
piecewise linear, ``l(y, f) = max(0, max_c (sigma_c f + tau_c))`` with ``sigma_c``, ``tau_c`` from ``y`` (hinge: ``1 - y
f``; absolute deviation: ``y - f`` and ``f - y``), and ``theta = theta0 + u - v`` (a free intercept is one variable
without a price). The leader picks ``z`` and, among the follower's optima, the one it likes best (*optimistic*):

    leader     minimise, over z and the goal's own variables,
                   - m, with m <= m_q(theta) for every query      (max_margin)
                   the cost of z, or the number of acting members   (min_cost, min_members)
                   - the number of queries with h_q = 1, a binary that is 1 only where m_q is reached   (max_helped)
               subject to sum_k z_ik = 1, budgets, required margins of queries and guards, and a row that keeps the
               learner defined: exactly the rows of :mod:`oar_opt.menu_program` and :mod:`oar_opt.risk_program`

    follower   minimise, over u, v, loss >= 0,
                   lam sum_j rho_j (u_j + v_j) + sum_i a_i loss_i + sum_ik a_ik loss_ik
               subject to loss_i  >= sigma_c f_i + tau_c                              for every record i of no member
                          loss_ik >= sigma_c f_ik + tau_c - M_ikc (1 - z_ik)          for every option with weight

``z`` stands in right-hand sides only, so for fixed ``z`` the follower is a linear program in its own variables, and its
linking variables are binary, as MibS demands. The rows hold the records as they are: weights are prices. (The
follower's dual would need no ``M``, with ``z`` in the bounds of the pulls; but there ``theta``, which the leader wants,
is no variable.)

*The Ms.* ``M_ikc`` is the largest value of ``sigma_c f + tau_c`` (at least 0) over the interval of ``f_ik`` that
:mod:`oar_opt.bounds` proves for **all optima of the learner under every admissible choice**, whether it uses the option
or not; rounded upwards. The intervals of :mod:`oar_opt.tightening`, which hold for good moves only, are not used: the
follower has to answer to every ``z``.

*Proof that the follower is the learner.* Fix an admissible ``z``. With the best losses its objective is ``J_z(theta) +
E(theta)``, where ``E = sum of a_ik max(0, max_c (sigma_c f_ik + tau_c - M_ikc))`` over the options that are not chosen.
``E >= 0``, and ``E = 0`` at every minimiser of ``J_z``, by the choice of ``M``. So the least value is that of ``J_z``,
and ``theta`` is optimal for the follower if and only if it is for the learner. The bounds on ``u``, ``v``, an
intercept and the losses are proved to hold at every optimum too, and so change neither; they make the program compact,
as solvers want it. At an optimum ``u_j v_j = 0`` since both have a price.

Hypotheses
----------
Menus, labels and withholding (feature changes in few steps are menus too). A learner with an l1 norm and a piecewise
linear loss; any intercept, weights and prior. Update ``retrain`` or ``proximal``. Finite proved intervals of all
decision values. Position ``optimistic``; ``unique`` where re-training for each of at most :data:`MOST_CHOICES` choices
proves that the learner never ties, so that positions do not matter. No ``max_loss_increase``.

Exactness
---------
Exact: the optimal value is that of the instance (negated where the goal maximises). Required margins are lowered by
the instance's feasibility tolerance, as everywhere (:meth:`oar_opt.problem.RecourseProblem.needed_margin`).

Size
----
``n_F`` records of no member, ``K`` options, ``c`` affine parts of the loss (1 or 2), ``k`` members, ``q`` subjects.
Leader: ``K`` binaries and 1 (or ``q``) for the goal, at most ``k + q + 5`` rows. Follower: at most ``2 p + n_F + K``
variables and ``c (n_F + K)`` rows.

Files
-----
``NAME.mps``: both levels' variables and rows with the leader's objective, in the fixed-column form of
:mod:`oar_opt.export.fixed_mps`. ``NAME.mps.map.json``: what each name means, with the proof of every interval.
``NAME.aux``: which variables and rows are the follower's, by name, and its objective, which is minimised::

    file    ::= "@NUMVARS" line count line "@NUMCONSTRS" line count line
                "@VARSBEGIN" line (variable coefficient line)* "@VARSEND" line
                "@CONSTRSBEGIN" line (row line)* "@CONSTRSEND" line
                "@NAME" line name line "@MPS" line file-name line

Reference
---------
J. F. Bard, "Practical Bilevel Optimization", 1998 (optimistic position); S. Tahernejad, T. K. Ralphs, S. T. DeNegre, "A
branch-and-cut algorithm for mixed integer bilevel linear optimization problems and its implementation", 2020 (MibS and
its files). The relaxed rows with Ms that are proved at the learner's optima only are derived here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oar_opt.contracts import PyomoProgram
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import UndefinedLearner, choices, count_choices, evaluate
from oar_opt.export.bilevel_model import Bilevel, BilevelModel
from oar_opt.export.fixed_mps import LONGEST, Column, MixedIntegerProgram, Row, mps_text, number
from oar_opt.problem import Position, RecourseProblem, moves_from_choice
from oar_opt.result import Request

MOST_CHOICES = 1000
"""Re-trained to prove that nothing ties."""

COLUMN_LETTERS = {
    "choice": "z",
    "margin": "m",
    "reached": "h",
    "spent": "spent",
    "up": "u",
    "down": "v",
    "intercept": "b",
    "fixed_loss": "l",
    "option_loss": "l",
}
ROW_LETTERS = {
    "one_option": "one",
    "total_budget": "total",
    "members_budget": "members",
    "margin_of": "mq",
    "guard": "guard",
    "spent_on": "spent",
    "defined": "class",
    "fixed_row": "f",
    "option_row": "o",
}
"""What names begin with, by the model's components; indices follow."""


@dataclass(frozen=True)
class Written:
    """The files, and how many variables and rows there are, in all and of the follower."""

    path: Path
    aux_path: Path
    map_path: Path
    columns: int
    rows: int
    lower_columns: int
    lower_rows: int


@dataclass(frozen=True)
class _Levels:
    """Both levels: the program of all variables and rows, and what of it is the follower's, by name."""

    program: MixedIntegerProgram
    lower_cost: dict[str, float]
    lower_rows: tuple[str, ...]
    components: dict[str, dict[str, str]]


def carries(problem: RecourseProblem) -> str | None:
    """Why the bilevel files cannot hold the instance, or None where they can."""
    if problem.max_loss_increase is not None:
        return "max_loss_increase is not written to bilevel files"
    return Bilevel().accepts(problem) or _position(problem)


def write_bilevel(problem: RecourseProblem, path: Path) -> Written:
    """Write ``path`` (``NAME.mps``), ``NAME.aux`` and ``NAME.mps.map.json``.

    Raises
    ------
    InputError : a path that does not end in ``.mps``, or a folder that does not exist.
    UnsupportedError : the files cannot hold the instance, with the reason of :func:`carries`.
    """
    if path.suffix != ".mps":
        raise InputError(str(path), "does not end in '.mps'", "name the MPS file; the AUX file is named after it")
    if not path.parent.is_dir():
        raise InputError(str(path), "lies in a folder that does not exist", "create the folder first")
    reason = carries(problem)
    if reason:
        raise UnsupportedError(f"{problem.name} cannot be written as a bilevel program: {reason}")
    built = Bilevel().build(problem, Request(tightening=0.0))
    assert isinstance(built, PyomoProgram)
    levels = _levels(problem, built)
    aux_path, map_path = path.with_suffix(".aux"), path.with_name(path.name + ".map.json")
    texts = {path: mps_text(levels.program), aux_path: _aux_text(levels, path), map_path: _map(problem, built, levels)}
    for place, text in texts.items():
        try:
            place.write_text(text, encoding="utf-8", newline="\n")
        except OSError as failure:
            raise InputError(str(place), f"cannot be written: {failure.strerror}") from failure
    program = levels.program
    sizes = (len(program.columns), len(program.rows), len(levels.lower_cost), len(levels.lower_rows))
    return Written(path, aux_path, map_path, *sizes)


# -- ties ---


def _position(problem: RecourseProblem) -> str | None:
    """Why the follower's ties are not those that a bilevel solver takes, or None."""
    match problem.position:
        case Position.OPTIMISTIC:
            return None
        case Position.PESSIMISTIC:
            return "the position is pessimistic, and bilevel solvers that read these files take the best of all optima"
    if count_choices(problem) > MOST_CHOICES:
        return (
            f"the position is unique, and that no choice ties is proved by re-training for at most {MOST_CHOICES}: "
            "state the position 'optimistic'"
        )
    return next((f"the position is unique, and {tie}" for tie in _ties(problem)), None)


def _ties(problem: RecourseProblem) -> Iterator[str]:
    for choice in choices(problem):
        try:
            tie = evaluate(problem, moves_from_choice(problem, choice)).tie
        except UndefinedLearner:
            # The leader's rows forbid it.
            continue
        if tie:
            yield tie


# -- from the model to rows and columns ---


def _levels(problem: RecourseProblem, built: PyomoProgram) -> _Levels:
    from pyomo.environ import Var

    model = built.model
    names: dict[int, str] = {}
    columns: list[Column] = []
    components: dict[str, dict[str, str]] = {"columns": {}, "rows": {}}
    for variable in model.component_data_objects(Var, sort=False):
        name = _short(COLUMN_LETTERS, variable, len(columns))
        names[id(variable)], components["columns"][name] = name, variable.name
        columns.append(_column(name, variable))
    rows: list[Row] = []
    lower_rows: list[str] = []
    for constraint, kept in _constraints(model):
        name = _short(ROW_LETTERS, constraint, len(rows))
        components["rows"][name] = constraint.name
        rows.append(_row(name, constraint, names))
        lower_rows += [name] if kept else []
    program = MixedIntegerProgram(_title(problem), tuple(columns), tuple(rows), _objective(built, names))
    shorts = {component: name for name, component in components["columns"].items()}
    lower_cost = {shorts[component]: price for component, price in model.lower_cost.items()}
    return _Levels(program, lower_cost, tuple(lower_rows), components)


def _title(problem: RecourseProblem) -> str:
    return re.sub("[^A-Za-z0-9]", "-", problem.name)[:LONGEST] or "bilevel"


def _short(letters: dict[str, str], data: Any, place: int) -> str:
    """A name that tells what it is where that fits, else a capital and its place."""
    index = data.index()
    parts = () if index is None else index if isinstance(index, tuple) else (index,)
    name = letters[data.parent_component().local_name] + "_".join(map(str, parts))
    return name if len(name) <= LONGEST else f"X{place}"


def _column(name: str, variable: Any) -> Column:
    lower = -math.inf if variable.lb is None else float(variable.lb)
    upper = math.inf if variable.ub is None else float(variable.ub)
    return Column(name, lower, upper, not variable.is_continuous())


def _constraints(model: Any) -> Iterator[tuple[Any, bool]]:
    """The rows, the leader's first, and whether each is the follower's."""
    from pyomo.environ import Constraint

    rows = list(model.component_data_objects(Constraint, active=True, sort=False))
    lower = [row.parent_component().local_name in BilevelModel.lower_rows for row in rows]
    for kept in (False, True):
        yield from ((row, kept) for row, is_lower in zip(rows, lower, strict=True) if is_lower is kept)


def _terms(expression: Any, names: dict[int, str]) -> tuple[dict[str, float], float]:
    """Coefficients by column, and the constant."""
    from pyomo.repn import generate_standard_repn

    found = generate_standard_repn(expression, quadratic=False)
    assert found.is_linear(), "both levels are linear"
    pairs = zip(found.linear_vars, found.linear_coefs, strict=True)
    return {names[id(variable)]: float(value) for variable, value in pairs if value}, float(found.constant)


def _row(name: str, constraint: Any, names: dict[int, str]) -> Row:
    terms, constant = _terms(constraint.body, names)
    if constraint.equality:
        return Row(name, "E", terms, float(constraint.upper) - constant)
    if constraint.lower is not None:
        return Row(name, "G", terms, float(constraint.lower) - constant)
    return Row(name, "L", terms, float(constraint.upper) - constant)


def _objective(built: PyomoProgram, names: dict[int, str]) -> dict[str, float]:
    terms, constant = _terms(built.objective.expr, names)
    assert constant == 0, "goals are variables"
    sign = -1.0 if built.maximises else 1.0
    return {name: sign * value for name, value in terms.items()}


# -- texts ---


def _aux_text(levels: _Levels, path: Path) -> str:
    lines = ["@NUMVARS", str(len(levels.lower_cost)), "@NUMCONSTRS", str(len(levels.lower_rows))]
    lines += ["@VARSBEGIN", *(f"{name} {number(price)}" for name, price in levels.lower_cost.items()), "@VARSEND"]
    lines += ["@CONSTRSBEGIN", *levels.lower_rows, "@CONSTRSEND"]
    return "\n".join([*lines, "@NAME", levels.program.name, "@MPS", path.name]) + "\n"


def _map(problem: RecourseProblem, built: PyomoProgram, levels: _Levels) -> str:
    def meaning(component: str) -> str:
        return built.meanings.get(component, "")

    document = {
        "instance": problem.name,
        "instance_sha256": problem.sha256,
        "objective": "negated, as the goal maximises" if built.maximises else "as the goal states",
        "follower": {"columns": list(levels.lower_cost), "rows": list(levels.lower_rows)},
        **{
            kind: {name: {"component": one, "meaning": meaning(one)} for name, one in found.items()}
            for kind, found in levels.components.items()
        },
        "proved_bounds": {name: bound.words for name, bound in built.bounds.items()},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
