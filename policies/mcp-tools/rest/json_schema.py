"""Parses JSON within bounds, and validates values by a JSON Schema with jsonschema-rs.

Patterns run on Rust's `regex`, whose time is linear in the text. Patterns that need more (look-around, back-references)
are refused when the schema is compiled. Nothing is ever fetched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import jsonschema_rs

Json = dict[str, Any]
MAX_VALUES = 1000
"""The most values of a body of which all mistakes are reported, since jsonschema-rs makes them all at once,
1.5 KB each. Of a larger body only the first mistake is reported."""
MAX_SHOWN = 256
"""The most characters of a pointer, and of a message."""
REGEX_BYTES = 1 << 20
"""The most bytes of a compiled pattern, and of its cache while it runs."""
PATTERNS = "a pattern is one of Rust's regex: without look-around, references back and counts that make it large"


class JsonError(ValueError):
    """The text is no JSON within the bounds. The message quotes nothing of it.

    at: a JSON Pointer to the value, if one value is wrong.
    """

    def __init__(self, text: str, at: str = "") -> None:
        super().__init__(text)
        self.at = at


class Validator(Protocol):
    """A schema compiled by jsonschema-rs."""

    def is_valid(self, instance: Any) -> bool: ...
    def validate(self, instance: Any) -> None: ...
    def iter_errors(self, instance: Any) -> Iterator[jsonschema_rs.ValidationError]: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """The bounds and options of an attachment's parameters.

    depth: the most levels of values. values: whether mistakes may quote values.
    """

    depth: int
    unique_names: bool
    formats: bool
    values: bool
    errors: int

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Rules:
        """The rules of an attachment's parameters."""
        return cls(
            params["maxDepth"],
            params["duplicateNames"] == "refuse",
            params["formats"],
            params["showValues"],
            params["maxErrors"],
        )


# ------------------------------------------------------------------ reading


def read_json(text: str, rules: Rules) -> Any:
    """Parses a JSON text (RFC 8259; finite numbers, strings in Unicode). JsonError: it is invalid."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_to_object if rules.unique_names else None,
            parse_float=_parse_finite,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise too_deep(rules) from None
    except (json.JSONDecodeError, JsonError) as error:
        raise JsonError(f"expected JSON: {error}") from None
    except ValueError:  # int() refuses longer numbers
        raise JsonError("expected JSON with integers of at most 4300 digits, got a longer one") from None
    size(value, rules)
    if "\\ud" in text or "\\uD" in text:
        check_text(value)
    return value


def check_text(value: Any) -> None:
    """JsonError: a string or a name in the value is not Unicode, so it cannot be validated: it has half of a surrogate
    pair, by an escape of JSON (RFC 8259, 8.2), or bytes that are not UTF-8 (PEP 383)."""
    try:
        json.dumps(value, ensure_ascii=False).encode()  # much faster than checking each string
    except UnicodeEncodeError:
        at = next(_not_unicode(value), "")
        raise JsonError("expected Unicode, got half of a surrogate pair, or bytes that are not UTF-8", at) from None


def _not_unicode(value: Any) -> Iterator[str]:
    """Yields JSON Pointers to strings that are not Unicode, and to objects with such a name."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        steps, inner = waiting.pop()
        if isinstance(inner, str):
            if not _is_unicode(inner):
                yield _shorten(pointer(steps))
        elif isinstance(inner, dict | list):
            pairs = list(inner.items() if isinstance(inner, dict) else enumerate(inner))
            if not all(isinstance(name, int) or _is_unicode(name) for name, _ in pairs):
                yield _shorten(pointer(steps))
            waiting += (((*steps, name), inner) for name, inner in reversed(pairs))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def size(value: Any, rules: Rules) -> int:
    """Returns the number of values in a value. JsonError: it has too many levels."""
    level, count = [value], 1
    for _ in range(rules.depth):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inner(outer)]
        count += len(level)
    if any(isinstance(inner, dict | list) for inner in level):
        raise too_deep(rules)
    return count


def too_deep(rules: Rules) -> JsonError:
    return JsonError(f"expected JSON with at most {rules.depth} levels, got more")


def _inner(value: Json | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _to_object(pairs: list[tuple[str, Any]]) -> Json:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise JsonError("an object has a name twice")
    return members


def _parse_finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise JsonError("a number is larger than a double")
    return value


def _refuse_constant(_: str) -> None:
    raise JsonError("NaN and Infinity are not numbers in JSON")


# ------------------------------------------------------------------ schemas


def compile_schema(schema: Json | bool, rules: Rules, registry: jsonschema_rs.Registry | None = None) -> Validator:
    """Compiles a schema. ValueError: where it is invalid."""
    try:
        return _validator_for(schema, rules, registry, None if rules.values else "the value")
    except jsonschema_rs.ValidationError:
        pass  # its message is masked too, so compile without a mask for the error
    try:
        return _validator_for(schema, rules, registry, None)
    except jsonschema_rs.ValidationError as error:
        path = error.instance_path or error.schema_path
        cure = f"; {PATTERNS}" if path[-1:] == ["pattern"] else ""
        raise ValueError(
            f"expected a valid JSON Schema, got a mistake at #{pointer(path)}: {error.message}{cure}"
        ) from None


def _validator_for(
    schema: Json | bool, rules: Rules, registry: jsonschema_rs.Registry | None, mask: str | None
) -> Validator:
    return jsonschema_rs.validator_for(
        schema,
        registry=registry,
        mask=mask,
        validate_formats=rules.formats,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=REGEX_BYTES, dfa_size_limit=REGEX_BYTES),
        offline=True,
    )


def mistakes(validator: Validator, value: Any, rules: Rules) -> list[Json]:
    """Returns `{"pointer", "message"}` of each mistake in a value, at most `rules.errors`; [] if it is valid."""
    if validator.is_valid(value):
        return []
    if size(value, rules) <= MAX_VALUES:
        return [_mistake(error) for error in islice(validator.iter_errors(value), rules.errors)]
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return [_mistake(error)]
    return []


def _mistake(error: jsonschema_rs.ValidationError) -> Json:
    return {"pointer": _shorten(pointer(error.instance_path)), "message": _shorten(error.message)}


def _shorten(text: str) -> str:
    """Shortens a text, since names from a client may be as long as the body."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def pointer(steps: Iterable[str | int]) -> str:
    """Returns a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
