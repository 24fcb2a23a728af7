"""Reading JSON that people wrote: every fault is reported by its place, what is wrong with it and how to mend it.

Shared by the instance and the solution format. The standard parser keeps the last of two equal keys, and takes ``NaN``
and numbers that overflow; here they are errors. Typed models are checked by pydantic, whose findings are put into
plain words.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from oar_opt.errors import InputError

Place = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[^\s.\[\]\"]+")
_QUOTED = re.compile(r"'([^']*)'")


# -- building blocks of models ---


def fault(what: str, fix: str = "", key: str | None = None) -> PydanticCustomError:
    """A validator's finding that becomes an :class:`InputError` at the validated value, or at its entry ``key``."""
    return PydanticCustomError("fault", "{what}", {"what": what, "fix": fix, "key": key})


def _label(value: object) -> bool | int | float | str:
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise fault(f"must be text, a number, true or false, not {shown(value)}")


def _scalar(value: object) -> bool | int | float | str | None:
    return None if value is None else _label(value)


Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Numbers = tuple[Number, ...]
Slug = Annotated[str, Strict(), Field(pattern="^[a-z0-9-]+$")]
Decimal = Annotated[str, Strict(), Field(pattern=r"^-?[0-9]{1,300}(\.[0-9]{1,300})?$")]
Digest = Annotated[str, Strict(), Field(pattern="^[0-9a-fA-F]{64}$")]
LabelValue = Annotated[
    bool | int | float | str, PlainValidator(_label), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Scalar = Annotated[
    bool | int | float | str | None,
    PlainValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]


class Part(BaseModel):
    """An object of a file: immutable, every key known, nothing converted except whole numbers to floats."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = cls.model_fields
            unknown = [key for key in data if key not in known]
            if unknown:
                key = str(unknown[0])
                raise fault("unknown key", suggestion(key, known, "known keys: "), key)
        return data


def kind_tag(value: Any) -> str | None:
    """Discriminator of unions by ``kind``. The brackets keep pydantic's tags apart from the file's own keys."""
    if isinstance(value, Part):
        return f"<{getattr(value, 'kind', '')}>"
    return f"<{value.get('kind', '')}>" if isinstance(value, dict) else None


class _SchemaWriter(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema(model: type[BaseModel], identifier: str) -> dict[str, Any]:
    """The JSON Schema 2020-12 of a format."""
    body = model.model_json_schema(schema_generator=_SchemaWriter)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": identifier, **body}


# -- reading ---


class _BadNumber:
    def __init__(self, text: str) -> None:
        self.text = text if len(text) <= 40 else f"{text[:37]}..."


class _RepeatedKey:
    def __init__(self, key: str) -> None:
        self.key = key


def read_json_object(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON object in a file, and the file's bytes. Every fault is an :class:`InputError` naming the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(str(path), "does not exist", "check the path") from None
    except IsADirectoryError:
        raise InputError(str(path), "is a directory", "name one file in it") from None
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror or error}") from None
    return decode_object(data, path.name), data


def decode_object(data: bytes, source: str) -> dict[str, Any]:
    """The JSON object that ``data`` spells; ``source`` names it in errors."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(source, f"is not UTF-8 text (line {line})", "save it with the encoding UTF-8") from None
    if not text.strip():
        raise InputError(source, "is empty", "it must hold one JSON object")
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_BadNumber
        )
        with located(source):
            check_values(document)
    except json.JSONDecodeError as error:
        where = f"{source}, line {error.lineno}, column {error.colno}"
        raise InputError(where, f"is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}") from None
    except RecursionError:
        raise InputError(source, "is nested too deeply", "no format here needs more than a dozen levels") from None
    if not isinstance(document, dict):
        raise InputError(source, f"must hold an object {{...}}, not {shown(document)}")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _RepeatedKey:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            return _RepeatedKey(key)
        found[key] = value
    return found


def _float(text: str) -> float | _BadNumber:
    number = float(text)
    return number if math.isfinite(number) else _BadNumber(text)


def _int(text: str) -> int | _BadNumber:
    # A float has at most 309 digits before the point; Python refuses to convert far longer ones.
    return _BadNumber(text) if len(text) > 310 or math.isinf(float(text)) else int(text)


def check_values(document: object) -> None:
    """Raise if anything in a document is a number that is not finite, a repeated key or broken text."""
    found = _first_fault(document)
    if found is not None:
        place, what, fix = found
        raise InputError(path_text(place) or "document", what, fix)


def _first_fault(value: object) -> tuple[Place, str, str] | None:
    match value:
        case str():
            return None if value.isascii() or _encodes(value) else ((), "is broken text (half a surrogate pair)", "")
        case bool() | None:
            return None
        case int() | float():
            return None if _is_finite(value) else ((), "is infinite, NaN or too large", "every number must be finite")
        case _BadNumber():
            return (), f"is {value.text}", "every number must be finite"
        case _RepeatedKey():
            return (value.key,), f"the key '{value.key}' is given twice", "keep one of them"
        case dict():
            return _first_fault_among(value.items())
        case list() | tuple():
            return _first_fault_among(enumerate(value))
        case _:
            return None


def _first_fault_among(entries: Iterable[tuple[Any, Any]]) -> tuple[Place, str, str] | None:
    for key, entry in entries:
        if type(entry) is float and type(key) is int and math.isfinite(entry):
            # Most of a long document is numbers in lists.
            continue
        found = _first_fault(key) or _first_fault(entry)
        if found is not None:
            place, what, fix = found
            return (key, *place), what, fix
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


# -- checking ---

M = TypeVar("M", bound=BaseModel)


def check_header(document: Mapping[str, Any], form: str, version: int) -> None:
    """Raise unless the document states this format and version."""
    for key, wanted in (("format", form), ("version", version)):
        if key not in document:
            raise InputError(key, "is missing", f'write "{key}": {json.dumps(wanted)}')
        found = document[key]
        if type(found) is not type(wanted) or found != wanted:
            raise InputError(key, f"is {shown(found)}", f"supported is {shown(wanted)}")


def validate(model: type[M], document: Mapping[str, Any]) -> M:
    """The document as a model. The first fault is raised, with the number of the others."""
    check_values(document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    first = _explained(faults[0])
    if len(faults) > 1:
        more = f"{len(faults) - 1} more error{'s' * (len(faults) > 2)} in this document"
        raise InputError(first.where, first.what, f"{first.fix}; {more}" if first.fix else more)
    raise first


@contextmanager
def located(source: str) -> Iterator[None]:
    """Put a file's name before the path of every :class:`InputError` raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error.where}", error.what, error.fix) from None


def path_text(place: Iterable[str | int]) -> str:
    """A place in a document as text: ``collective.actions[0].radius``."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def suggestion(word: str, known: Iterable[str], otherwise: str = "use one of ") -> str:
    """How to mend an unknown word: the nearest known one, or the list of all."""
    names = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), names, n=1)
    return f"did you mean '{names[near[0]]}'?" if near else otherwise + ", ".join(names.values())


def shown(value: object) -> str:
    """A JSON value in a message."""
    match value:
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case str():
            return f"'{value}'" if len(value) <= 60 else f"'{value[:57]}...'"
        case bool() | int() | float() | None:
            return json.dumps(value)
        case _:
            return f"a value of type {type(value).__name__}"


_PATTERN_WORDS = {
    "^[a-z0-9-]+$": "use lower-case letters, digits and hyphens",
    r"^-?[0-9]{1,300}(\.[0-9]{1,300})?$": "write a plain decimal such as -0.25",
    "^[0-9a-fA-F]{64}$": "give 64 hexadecimal digits",
    "^([0-9a-f]{64})?$": "give 64 hexadecimal digits in lower case, or nothing",
}
_WANTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}


def _explained(error: ErrorDetails) -> InputError:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    place: Place = tuple(step for step in error["loc"] if not _is_tag(step))
    where = path_text(place) or "document"
    if kind == "fault":
        entry = () if context["key"] is None else (context["key"],)
        return InputError(path_text((*place, *entry)) or "document", context["what"], context["fix"])
    if kind == "missing":
        return InputError(where, "is missing", "add it")
    if kind in _WANTED:
        quoted = isinstance(value, str) and kind in ("float_type", "int_type")
        fix = "write numbers without quotation marks" if quoted else ""
        return InputError(where, f"must be {_WANTED[kind]}, not {shown(value)}", fix)
    if kind in ("enum", "literal_error"):
        return _unknown_choice(where, value, context["expected"])
    if kind == "union_tag_not_found":
        return InputError(where, f"must be an object, not {shown(value)}")
    if kind == "union_tag_invalid":
        kinds = context["expected_tags"].replace("<", "").replace(">", "")
        if "kind" not in value:
            return InputError(f"{where}.kind", "is missing", f"use one of {kinds}")
        return _unknown_choice(f"{where}.kind", value["kind"], kinds)
    return InputError(where, *_bound_broken(kind, value, context, error["msg"]))


def _is_tag(step: str | int) -> bool:
    return isinstance(step, str) and (step == "[key]" or (step.startswith("<") and step.endswith(">")))


def _unknown_choice(where: str, value: object, expected: str) -> InputError:
    choices = _QUOTED.findall(expected)
    fix = suggestion(value, choices) if isinstance(value, str) else f"use one of {', '.join(choices)}"
    return InputError(where, f"is {shown(value)}, which is not known", fix)


def _bound_broken(kind: str, value: object, context: Mapping[str, Any], message: str) -> tuple[str, str]:
    match kind:
        case "greater_than":
            return f"is {shown(value)}", f"give a number above {context['gt']:g}"
        case "greater_than_equal":
            return f"is {shown(value)}", f"give a number of at least {context['ge']:g}"
        case "too_short":
            return f"has {context['actual_length']} entries", f"give at least {context['min_length']}"
        case "too_long":
            return f"has {context['actual_length']} entries", f"give at most {context['max_length']}"
        case "string_pattern_mismatch":
            return f"is {shown(value)}", _PATTERN_WORDS.get(context["pattern"], f"it must match {context['pattern']}")
        case _:
            return message[:1].lower() + message[1:], ""
