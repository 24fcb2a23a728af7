"""MathOptFormat 1.2: a program of linear and quadratic rows, special ordered sets and indicator rows as JSON.

The format states ``min or max f(x)`` under ``g_j(x) in S_j``. Rows ``a'x + x'Q x`` become functions
``sum a_i x_i + 1/2 sum q_uv x_u x_v`` without constant in the sets ``EqualTo``, ``LessThan``, ``GreaterThan`` or
``Interval``; the half counts a square once and a product twice, so that ``c u^2`` has the coefficient ``2 c`` and ``c u
v`` (listed once) the coefficient ``c``. Bounds and integrality are rows of the function ``Variable``. An indicator row
is the vector ``(z, body)`` in ``Indicator``. Constants go to the right-hand side, the objective keeps its own. It does
not apply to exponentials and logarithms: the format has them, and this writer does not.

Reference: B. Legat, O. Dowson, J. Dias Garcia, M. Lubin, "MathOptInterface: A Data Structure for Mathematical
Optimization Problems", 2022.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from oar_opt.contracts import Indicator, PyomoProgram
from oar_opt.errors import SolverError
from oar_opt.export.names import label, written_chains, written_rows, written_variables

VERSION = {"major": 1, "minor": 2}

Json = dict[str, Any]


def mof_text(program: PyomoProgram) -> str:
    """The program as the text of a file, one variable or constraint a line."""
    objective = Polynomial.of(program.objective.expr)
    head = {
        "version": VERSION,
        "name": program.model.name,
        "objective": {"sense": "max" if program.maximises else "min", "function": objective.function()},
    }
    lines = [f"{json.dumps(key)}: {json.dumps(part, ensure_ascii=False)}" for key, part in head.items()]
    variables = [{"name": label(variable.name)} for variable in written_variables(program)]
    lines += [_listed("variables", variables), _listed("constraints", _constraints(program))]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _listed(key: str, parts: list[Json]) -> str:
    inner = ",\n  ".join(json.dumps(part, ensure_ascii=False, allow_nan=False) for part in parts)
    return f"{json.dumps(key)}: [\n  {inner}\n]" if parts else f"{json.dumps(key)}: []"


@dataclass(frozen=True)
class Polynomial:
    """``constant + sum linear + sum quadratic``, by the variables' names."""

    constant: float
    linear: tuple[tuple[str, float], ...]
    quadratic: tuple[tuple[str, str, float], ...]

    @classmethod
    def of(cls, expression: Any) -> Polynomial:
        """Of a Pyomo expression of degree two at most; fixed variables count as numbers."""
        from pyomo.repn import generate_standard_repn

        found = generate_standard_repn(expression, quadratic=True, compute_values=True)
        if found.nonlinear_expr is not None:
            raise SolverError("a row of degree more than two has no place in this file: please report it")
        linear = zip(found.linear_vars, found.linear_coefs, strict=True)
        products = zip(found.quadratic_vars, found.quadratic_coefs, strict=True)
        return cls(
            float(found.constant),
            tuple((label(variable.name), float(value)) for variable, value in linear if value),
            tuple((label(u.name), label(v.name), float(value)) for (u, v), value in products if value),
        )

    def function(self, *, constant: bool = True) -> Json:
        """As a scalar function of the format."""
        start = self.constant if constant else 0.0
        terms = [{"coefficient": value, "variable": name} for name, value in self.linear]
        if not self.quadratic:
            return {"type": "ScalarAffineFunction", "terms": terms, "constant": start}
        squares = [
            {"coefficient": 2 * value if u == v else value, "variable_1": u, "variable_2": v}
            for u, v, value in self.quadratic
        ]
        return {
            "type": "ScalarQuadraticFunction",
            "affine_terms": terms,
            "quadratic_terms": squares,
            "constant": start,
        }


def _constraints(program: PyomoProgram) -> list[Json]:
    found = [part for variable in written_variables(program) for part in _of_variable(variable)]
    found += [_of_row(row) for row in written_rows(program)]
    found += [_of_chain(chain) for chain in written_chains(program)]
    for place, indicator in enumerate(program.indicators):
        found += _of_indicator(place, indicator)
    return found


def _of_variable(variable: Any) -> list[Json]:
    function = {"type": "Variable", "name": label(variable.name)}
    low, high = variable.lb, variable.ub
    sets: list[Json] = []
    if variable.is_binary():
        sets.append({"type": "ZeroOne"})
        if (low, high) == (0, 1):
            return [{"function": function, "set": sets[0]}]
    elif not variable.is_continuous():
        sets.append({"type": "Integer"})
    if low is not None or high is not None:
        sets.append(_interval(low, high))
    return [{"function": function, "set": one} for one in sets]


def _interval(low: float | None, high: float | None) -> Json:
    if low is None:
        assert high is not None
        return {"type": "LessThan", "upper": float(high)}
    if high is None:
        return {"type": "GreaterThan", "lower": float(low)}
    if low == high:
        return {"type": "EqualTo", "value": float(low)}
    return {"type": "Interval", "lower": float(low), "upper": float(high)}


def _of_row(row: Any) -> Json:
    from pyomo.environ import value

    body = Polynomial.of(row.body)
    low, high = (None if end is None else float(value(end)) - body.constant for end in (row.lower, row.upper))
    return {"name": label(row.name), "function": body.function(constant=False), "set": _interval(low, high)}


def _of_chain(chain: Any) -> Json:
    if chain.level != 1:
        raise SolverError(f"special ordered sets of level {chain.level} are not written here")
    items = [(variable, weight) for variable, weight in chain.get_items() if not variable.fixed]
    return {
        "name": label(chain.name),
        "function": {"type": "VectorOfVariables", "variables": [label(variable.name) for variable, _ in items]},
        "set": {"type": "SOS1", "weights": [float(weight) for _, weight in items]},
    }


def _of_indicator(place: int, indicator: Indicator) -> list[Json]:
    """None where the binary is fixed the other way; a plain row where it is fixed this way."""
    body = Polynomial.of(indicator.body)
    inner, name = {"type": "LessThan", "upper": indicator.upper - body.constant}, f"indicator[{place}]"
    if indicator.binary.fixed:
        active = bool(round(indicator.binary.value)) == indicator.active
        return [{"name": name, "function": body.function(constant=False), "set": inner}] if active else []
    terms = [_term(1, label(indicator.binary.name), 1.0), *(_term(2, other, value) for other, value in body.linear)]
    return [
        {
            "name": name,
            "function": {"type": "VectorAffineFunction", "terms": terms, "constants": [0.0, 0.0]},
            "set": {"type": "Indicator", "set": inner, "activate_on": "one" if indicator.active else "zero"},
        }
    ]


def _term(row: int, name: str, value: float) -> Json:
    return {"output_index": row, "scalar_term": {"coefficient": value, "variable": name}}
