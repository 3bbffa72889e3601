"""Checks a model's text: that it is JSON within bounds, and fits a JSON Schema, with jsonschema-rs.

Patterns run on Rust's `regex`, whose time is linear in the text. Nothing is ever fetched.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Protocol

import jsonschema_rs

REGEX_BYTES = 1 << 20
"""The most bytes of a compiled pattern, and of its cache while it runs."""
MAX_DEPTH = 64
"""The most levels of values."""
MAX_EXPLANATION = 400
"""The most characters of an explanation."""
_FENCED = re.compile(r"\s*+```[A-Za-z0-9]{0,16}[ \t]*+\r?\n(.*)\n[ \t]*+```\s*+", re.DOTALL)


class Validator(Protocol):
    def is_valid(self, instance: Any) -> bool: ...
    def validate(self, instance: Any) -> None: ...


def compile_schema(schema: Any) -> Validator:
    """ValueError: where the schema is invalid."""
    options = jsonschema_rs.RegexOptions(size_limit=REGEX_BYTES, dfa_size_limit=REGEX_BYTES)
    try:
        return jsonschema_rs.validator_for(schema, validate_formats=True, pattern_options=options, offline=True)
    except jsonschema_rs.ValidationError as error:
        raise ValueError(f"schema: expected a valid JSON Schema, got a mistake: {error.message}") from None


def mistake_of(text: str, validator: Validator) -> str:
    """Why a text is not the JSON that is expected, in a word: `syntax` or `schema`; "" if it is."""
    try:
        value = _parse(text)
    except (ValueError, RecursionError):
        return "syntax"
    return "" if validator.is_valid(value) else "schema"


def explain(text: str, validator: Validator) -> str:
    """What is wrong with a text, for the model that has written it."""
    try:
        validator.validate(_parse(text))
    except jsonschema_rs.ValidationError as error:
        place = "".join(f"/{step}" for step in error.instance_path)
        return f"at {place or 'the top'}, {error.message}"[:MAX_EXPLANATION]
    except (ValueError, RecursionError) as error:
        return f"it cannot be parsed, {error}"[:MAX_EXPLANATION]
    return "it is not expected"  # never for a text that `mistake_of` refuses


def _parse(text: str) -> Any:
    """ValueError, RecursionError: the text is not JSON within bounds."""
    value = json.loads(text, object_pairs_hook=_to_object, parse_float=_finite, parse_constant=_refuse)
    json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no Unicode
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"it has more than {MAX_DEPTH} levels")
    return value


def without_fence(text: str) -> str:
    """The text in a fence of Markdown that is all of the text; else the text as it is."""
    found = _FENCED.fullmatch(text)
    return found[1] if found else text


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, dict | list) for inner in level)


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has a name twice")
    return members


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("a number is larger than a double")
    return value


def _refuse(_: str) -> None:
    raise ValueError("NaN and Infinity are not numbers in JSON")
