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
decision values. Position ``optimistic``; ``unique`` where re-training for each of at most
:data:`oar_opt.evaluate.FEW_CHOICES` choices proves that the learner never ties, so that positions do not matter. No
``max_loss_increase``. Some choice obeys the leader's rows that hold no variable.

Exactness
---------
Exact where every number has at most 12 characters with its sign: the optimal value is that of the instance (negated
where the goal maximises). Required margins are lowered by the instance's feasibility tolerance, as everywhere
(:meth:`oar_opt.problem.RecourseProblem.needed_margin`). Longer numbers are rounded, and :mod:`oar_opt.export.fixed_mps`
bounds by how much any row moves, ``e``: the file's head says it, and no file is written where ``e`` is above
:data:`LARGEST_SHIFT`. Then ``J_z`` and the follower's objective differ by at most ``h = e sum a``
at every point within the bounds, and ``E <= h`` at the learner's optima, so that an answer of the file's follower is
one of the learner's up to ``3 h`` in what it minimises.

Size
----
``n_F`` records of no member, ``K`` options, ``c`` affine parts of the loss (1 or 2), ``k`` members, ``q`` subjects.
Leader: ``K`` binaries and 1 (or ``q``) for the goal, at most ``k + q + 5`` rows. Follower: at most ``2 p + n_F + K``
variables and ``c (n_F + K)`` rows.

Files
-----
``NAME.mps``: both levels' variables and rows with the leader's objective, in the fixed-column form of
:mod:`oar_opt.export.fixed_mps`. ``NAME.aux``: which variables and rows are the follower's, by name, and what it
minimises. The AUX file is a sequence of words between blanks or ends of lines::

    file    ::= "@NUMVARS" count "@NUMCONSTRS" count
                "@VARSBEGIN" (variable price)* "@VARSEND"
                "@CONSTRSBEGIN" row* "@CONSTRSEND"
                "@NAME" name "@MPS" file-name

Both counts come before what they count, since readers take that many entries. There is no sense: the follower
minimises. The bounds of its variables are its own. Keywords are those of BOBILib's files and of the solver idol. MibS
reads word by word and passes over what it does not know; its manual spells three of them in the singular
(``@NUMCONSTR``, ``@CONSTRBEGIN``, ``@CONSTREND``), versions of its source have another spelling still, so look at the
number of lower-level rows that it prints. It guesses the AUX file's name up to the first dot of the path: better name
it (``MibS_auxiliaryInfoFile NAME.aux``).

Reference
---------
J. F. Bard, "Practical Bilevel Optimization", 1998 (optimistic position); S. T. DeNegre, T. K. Ralphs, "A branch-and-cut
algorithm for integer bilevel linear programs", 2009; S. Tahernejad, T. K. Ralphs, S. T. DeNegre, "A branch-and-cut
algorithm for mixed integer bilevel linear optimization problems and its implementation", 2020 (MibS and its files); J.
Thuerauf, T. Kleinert, I. Ljubic, T. Ralphs, M. Schmidt, "BOBILib: Bilevel Optimization (Benchmark) Instance Library",
2024. The relaxed rows with Ms that are proved at the learner's optima only are derived here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oar_opt.errors import InputError, UnsupportedError
from oar_opt.export.bilevel_model import BilevelProgram
from oar_opt.export.fixed_mps import LONGEST, Column, MixedIntegerProgram, Row, mps_text, rounding, shortest
from oar_opt.export.names import Names, names_of, written_rows, written_variables

LARGEST_SHIFT = 1e-6
"""Of a row, by rounding: what solvers take for feasible."""

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
    "spent_on": "sum",
    "defined": "class",
    "fixed_row": "f",
    "option_row": "o",
}
"""What names begin with, by the model's components; indices follow."""


def aux_path_of(path: Path) -> Path:
    """Where the AUX file of an MPS file lies."""
    return path.with_suffix(".aux")


def write_bilevel(program: BilevelProgram, path: Path) -> Names:
    """Write ``path`` (``NAME.mps``) and ``NAME.aux``; returns what the names mean.

    Raises
    ------
    InputError : a path that does not end in ``.mps``, a folder that does not exist, a file that cannot be written.
    UnsupportedError : 12 characters a number are too few for this program.
    """
    if path.suffix != ".mps":
        raise InputError(str(path), "does not end in '.mps'", "name the MPS file; the AUX file is named after it")
    columns = {_short(COLUMN_LETTERS, one, f"X{j}"): one for j, one in enumerate(written_variables(program))}
    rows = {_short(ROW_LETTERS, one, f"R{r}"): one for r, one in enumerate(_ordered_rows(program))}
    stated = _stated(program, path, columns, rows)
    off = rounding(stated)
    if not off.shift <= LARGEST_SHIFT:
        raise UnsupportedError(
            f"{path.name}: {off.words}, and more than {LARGEST_SHIFT:g} is another program: bring the features to one "
            "scale, or state records with fewer digits"
        )
    path.write_text(mps_text(stated, off.words if off.numbers else ""), encoding="ascii", newline="\n")
    aux_path_of(path).write_text(_aux_text(program, path, columns, rows), encoding="utf-8", newline="\n")
    return names_of(program, {name: one.name for name, one in (columns | rows).items()}, {})


def _short(letters: Mapping[str, str], data: Any, otherwise: str) -> str:
    """A name that tells what it is where that fits."""
    index = data.index()
    parts = () if index is None else index if isinstance(index, tuple) else (index,)
    name = letters[data.parent_component().local_name] + "_".join(map(str, parts))
    return name if len(name) <= LONGEST else otherwise


def _ordered_rows(program: BilevelProgram) -> list[Any]:
    """The leader's rows first."""
    return sorted(written_rows(program), key=lambda one: one.name in program.lower_rows)


# -- from the model to rows and columns ---


def _stated(
    program: BilevelProgram, path: Path, columns: Mapping[str, Any], rows: Mapping[str, Any]
) -> MixedIntegerProgram:
    names = {id(variable): name for name, variable in columns.items()}
    goal, constant = _terms(program.objective.expr, names)
    assert constant == 0, "goals are variables"
    sign = -1.0 if program.maximises else 1.0
    return MixedIntegerProgram(
        _title(path),
        tuple(_column(name, variable) for name, variable in columns.items()),
        tuple(_row(name, constraint, names) for name, constraint in rows.items()),
        {name: sign * value for name, value in goal.items()},
    )


def _title(path: Path) -> str:
    return re.sub("[^A-Za-z0-9]", "-", path.stem)[:LONGEST]


def _column(name: str, variable: Any) -> Column:
    lower = -math.inf if variable.lb is None else float(variable.lb)
    upper = math.inf if variable.ub is None else float(variable.ub)
    return Column(name, lower, upper, not variable.is_continuous())


def _terms(expression: Any, names: Mapping[int, str]) -> tuple[dict[str, float], float]:
    """Coefficients by column, and the constant."""
    from pyomo.repn import generate_standard_repn

    found = generate_standard_repn(expression, quadratic=False)
    assert found.is_linear(), "both levels are linear"
    pairs = zip(found.linear_vars, found.linear_coefs, strict=True)
    return {names[id(variable)]: float(value) for variable, value in pairs if value}, float(found.constant)


def _row(name: str, constraint: Any, names: Mapping[int, str]) -> Row:
    terms, constant = _terms(constraint.body, names)
    if constraint.equality:
        return Row(name, "E", terms, float(constraint.upper) - constant)
    assert constraint.lower is None or constraint.upper is None, "no row of these has two ends"
    if constraint.lower is not None:
        return Row(name, "G", terms, float(constraint.lower) - constant)
    return Row(name, "L", terms, float(constraint.upper) - constant)


def _aux_text(program: BilevelProgram, path: Path, columns: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    prices = {name: program.lower_cost[one.name] for name, one in columns.items() if one.name in program.lower_cost}
    own = [name for name, one in rows.items() if one.name in program.lower_rows]

    def lines() -> Iterator[str]:
        yield from ("@NUMVARS", str(len(prices)), "@NUMCONSTRS", str(len(own)), "@VARSBEGIN")
        yield from (f"{name} {shortest(price)}" for name, price in prices.items())
        yield from ("@VARSEND", "@CONSTRSBEGIN", *own, "@CONSTRSEND", "@NAME", _title(path), "@MPS", path.name)

    return "\n".join(lines()) + "\n"
