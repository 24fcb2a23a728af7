"""Reads the files of BARON: declared columns, bounds, equations and the objective, each in a section of its own.

Without bounds a binary column is 0 or 1, a positive one at least 0, others are free. What concerns the search and not
the program (options, priorities, the starting point) is passed over.

Reference: N. Sahinidis, "BARON user manual".
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from oar_opt.export.algebra import read_expression
from oar_opt.export.file_program import Column, FileProgram, Row, UnreadableError

KINDS = {
    "VARIABLES": Column(),
    "BINARY_VARIABLES": Column(0.0, 1.0, True),
    "INTEGER_VARIABLES": Column(-math.inf, math.inf, True),
    "POSITIVE_VARIABLES": Column(0.0),
}
PASSED_OVER = ("OPTIONS", "BRANCHING_PRIORITIES", "STARTING_POINT")
BLOCK = re.compile(r"(\w+)\s*\{(.*?)\}", re.DOTALL)
TWO_SIDED = re.compile(r"(.*?)<=(.*)<=(.*)", re.DOTALL)
ONE_SIDED = re.compile(r"(.*)(<=|>=|==)(.*)", re.DOTALL)


def read_bar(text: str) -> FileProgram:
    """Raises :class:`UnreadableError`."""
    blocks = dict(BLOCK.findall(text))
    statements = [statement.strip() for statement in BLOCK.sub("", text).split(";") if statement.strip()]
    columns: dict[str, Column] = {}
    rows: dict[str, Row] = {}
    declared: list[str] = []
    goals: list[list[str]] = []
    for statement in statements:
        head = statement.split(maxsplit=1)[0]
        if head in KINDS:
            columns |= dict.fromkeys(_listed(statement), KINDS[head])
        elif head == "EQUATIONS":
            declared = _listed(statement)
    for key, block in blocks.items():
        if key not in PASSED_OVER:
            columns |= _bounds(key, block, columns)
    for statement in statements:
        name, colon, stated = statement.partition(":")
        if name == "OBJ":
            goals.append(stated.split(maxsplit=1))
        elif colon:
            rows[name] = _row(stated, columns)
    if sorted(rows) != sorted(declared):
        raise UnreadableError("declared equations are not those that are stated")
    if len(goals) != 1 or goals[0][0] not in ("minimize", "maximize"):
        raise UnreadableError("there is not one objective")
    return FileProgram(columns, rows, read_expression(goals[0][1], columns), goals[0][0] == "maximize")


def _listed(statement: str) -> list[str]:
    return [name.strip() for name in statement.split(maxsplit=1)[1].split(",")]


def _bounds(key: str, block: str, columns: dict[str, Column]) -> dict[str, Column]:
    found = dict(re.findall(r"(\w+):\s*([^;\s]+)\s*;", block))
    if key not in ("LOWER_BOUNDS", "UPPER_BOUNDS") or not found.keys() <= columns.keys():
        raise UnreadableError(f"the section {key} is not read here, or bounds what is not declared")
    if key == "LOWER_BOUNDS":
        return {name: replace(columns[name], lower=float(number)) for name, number in found.items()}
    return {name: replace(columns[name], upper=float(number)) for name, number in found.items()}


def _row(text: str, columns: dict[str, Column]) -> Row:
    if found := TWO_SIDED.fullmatch(text):
        lower, body, upper = found.groups()
        return Row(read_expression(body, columns), float(lower), float(upper))
    found = ONE_SIDED.fullmatch(text)
    if found is None:
        raise UnreadableError(f"'{text.strip()[:60]}' is no row")
    body, sign, end = found.groups()
    low, high = sign in (">=", "=="), sign in ("<=", "==")
    return Row(read_expression(body, columns), float(end) if low else -math.inf, float(end) if high else math.inf)
