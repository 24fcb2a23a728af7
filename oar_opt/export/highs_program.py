"""What HiGHS has read from a file of linear rows, by the names in the file.

It keeps coefficients above 1e-9; 1e20 and beyond is no bound.
"""

from __future__ import annotations

import math
from typing import Any

from oar_opt.export.file_program import Column, FileProgram, Row, weighted_sum

INFINITE = 1e20


def highs_program(lp: Any) -> FileProgram:
    """Of a ``HighsLp``."""
    import highspy

    names = list(lp.col_names_)
    kinds = list(lp.integrality_) or [highspy.HighsVarType.kContinuous] * len(names)
    ends = zip(names, lp.col_lower_, lp.col_upper_, kinds, strict=True)
    columns = {
        name: Column(_end(low), _end(high), kind != highspy.HighsVarType.kContinuous) for name, low, high, kind in ends
    }
    terms = _terms(lp, names)
    bounds = zip(lp.row_names_, lp.row_lower_, lp.row_upper_, strict=True)
    rows = {
        name: Row(weighted_sum(terms[place]), _end(low), _end(high)) for place, (name, low, high) in enumerate(bounds)
    }
    costs = list(zip(map(float, lp.col_cost_), names, strict=True))
    maximises = lp.sense_ == highspy.ObjSense.kMaximize
    return FileProgram(columns, rows, weighted_sum(costs, float(lp.offset_)), maximises)


def _terms(lp: Any, names: list[str]) -> list[list[tuple[float, str]]]:
    """Of every row; the matrix lies by columns or by rows."""
    import highspy

    matrix, by_columns = lp.a_matrix_, lp.a_matrix_.format_ == highspy.MatrixFormat.kColwise
    found: list[list[tuple[float, str]]] = [[] for _ in range(lp.num_row_)]
    starts, places, weights = (list(part) for part in (matrix.start_, matrix.index_, matrix.value_))
    for outer in range(len(starts) - 1):
        for entry in range(starts[outer], starts[outer + 1]):
            row, column = (places[entry], outer) if by_columns else (outer, places[entry])
            found[row].append((float(weights[entry]), names[column]))
    return found


def _end(bound: float) -> float:
    return float(bound) if abs(bound) < INFINITE else math.copysign(math.inf, bound)
