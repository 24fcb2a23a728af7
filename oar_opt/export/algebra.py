"""Reads algebraic expressions of modelling systems: ``2*x - power(y, 2)/3 + exp(z) ^ 2``.

Powers (``^``, ``**``) bind before signs, signs before products, products before sums, from left to right; powers from
right to left. Functions are ``exp``, ``log``, ``sqrt`` and ``power``, ``sqr``; there are no comparisons.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from oar_opt.export.file_program import Body, UnreadableError

TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|[-+*/^(),]))")
FUNCTIONS: dict[str, Callable[..., float]] = {
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "power": math.pow,
    "sqr": lambda x: x * x,
}


def read_expression(text: str, columns: Collection[str]) -> Body:
    """The expression as a function of the columns; raises :class:`UnreadableError` also for names of none."""
    reader = _Reader(_tokens(text), columns)
    body = reader.sum()
    if reader.place != len(reader.tokens):
        raise UnreadableError(f"'{text.strip()[:60]}' goes on where an expression ends")
    return body


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place, end = [], 0, len(text.rstrip())
    while place < end:
        match = TOKEN.match(text, place)
        if match is None:
            raise UnreadableError(f"'{text[place : place + 20]}' is no part of an expression")
        number, name, sign = match.groups()
        found.append(("number", number) if number else ("name", name) if name else ("sign", sign))
        place = match.end()
    return found


@dataclass
class _Reader:
    tokens: list[tuple[str, str]]
    columns: Collection[str]
    place: int = 0

    def sum(self) -> Body:
        parts = [(1.0, self.product())]
        while sign := self._one_of("+", "-"):
            parts.append((1.0 if sign == "+" else -1.0, self.product()))
        return parts[0][1] if len(parts) == 1 else lambda values: math.fsum(s * part(values) for s, part in parts)

    def product(self) -> Body:
        first, rest = self.signed(), []
        while sign := self._one_of("*", "/"):
            rest.append((sign, self.signed()))
        if not rest:
            return first

        def body(values: Mapping[str, float]) -> float:
            value = first(values)
            for sign, part in rest:
                value = value * part(values) if sign == "*" else value / part(values)
            return value

        return body

    def signed(self) -> Body:
        sign = self._one_of("+", "-")
        if not sign:
            return self.power()
        inner = self.signed()
        return inner if sign == "+" else lambda values: -inner(values)

    def power(self) -> Body:
        base = self.atom()
        if not self._one_of("^", "**"):
            return base
        exponent = self.signed()
        return lambda values: math.pow(base(values), exponent(values))

    def atom(self) -> Body:
        kind, word = self.tokens[self.place] if self.place < len(self.tokens) else ("end", "the end")
        self.place += 1
        if kind == "number":
            number = float(word)
            return lambda values: number
        if (kind, word) == ("sign", "("):
            inner = self.sum()
            self._close()
            return inner
        if kind == "name" and word in self.columns:
            return lambda values: values[word]
        if kind == "name" and word.lower() in FUNCTIONS and self._one_of("("):
            return self._call(FUNCTIONS[word.lower()])
        raise UnreadableError(f"'{word}' stands where a number, a column or a function must")

    def _call(self, function: Callable[..., float]) -> Body:
        arguments = [self.sum()]
        while self._one_of(","):
            arguments.append(self.sum())
        self._close()
        return lambda values: function(*(argument(values) for argument in arguments))

    def _close(self) -> None:
        if not self._one_of(")"):
            raise UnreadableError("a parenthesis is not closed")

    def _one_of(self, *signs: str) -> str:
        if self.place < len(self.tokens) and self.tokens[self.place] in [("sign", sign) for sign in signs]:
            self.place += 1
            return self.tokens[self.place - 1][1]
        return ""
