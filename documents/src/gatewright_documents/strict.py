"""Plain values as strict msgspec structs, or all that is wrong with them: msgspec's own decoder stops at the first.

msgspec says what a struct is in JSON Schema, `schema` finds every mistake, msgspec makes the struct of what has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeVar

import msgspec

from gatewright_documents.document import Document
from gatewright_documents.mistake import Mistake, format_path, shown
from gatewright_documents.schema import NOT_GIVEN, Schema
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

S = TypeVar("S", bound=msgspec.Struct)


def expecting(expected: str, cure: str = "") -> JsonObject:
    """For `Meta(extra_json_schema=…)`: how a mistake in this field says what was expected, and what to do."""
    return {"x-expected": expected, **({"x-cure": cure} if cure else {})}


def described(expected: str, cure: str, pattern: str | None = None) -> msgspec.Meta:
    """What a field wants, in words: used in its mistakes. pattern: of all of a text, in the words of a JSON Schema."""
    return msgspec.Meta(pattern=pattern, extra_json_schema=expecting(expected, cure))


@cache
def schema_of(kind: type[msgspec.Struct]) -> Schema:
    """What a value is to be that becomes this struct; its unknown keys are refused if the struct forbids them."""
    return Schema(msgspec.json.schema(kind), close=False)


def mistakes_of(
    kind: type[msgspec.Struct],
    value: JsonValue,
    root: str = "",
    *,
    hide_values: bool = False,
    public: JsonValue = NOT_GIVEN,
    is_converted: bool = False,
) -> Iterator[Mistake]:
    """All that keeps `value`, found at the field `root`, from being such a struct.

    hide_values, public: as in `Schema.mistakes`. is_converted: whether msgspec has made the struct of it already.
    """
    mistake = None
    for mistake in schema_of(kind).mistakes(value, root, hide_values=hide_values, public=public):
        yield mistake
    if mistake is None and not is_converted:
        yield from _fractions(kind, value, root)


def _fractions(kind: type[msgspec.Struct], value: JsonValue, root: str) -> Iterator[Mistake]:
    """2.0 where a whole number belongs: JSON Schema takes it for one, msgspec does not."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if not str(error).startswith("Expected `int`, got `float`"):
            return
        place = str(error).partition(" - at `$")[2].removesuffix("`").removeprefix(".")
        field = ".".join(part for part in (root, place) if part)
        yield Mistake.expecting("a whole number", "one with a decimal point", "write 2, not 2.0", field=field)


def decode(
    kind: type[S],
    document: Document,
    value: JsonValue,
    path: KeyPath = (),
    redact: Callable[[str], str] = lambda text: text,
) -> S | list[Mistake]:
    """The struct that value, found at path of document, describes; or all that is wrong with it, by lines, with cures.

    redact: takes out of a text what no mistake may show.
    """
    root, public = format_path(path), _redacted(value, redact)
    if not isinstance(value, dict):
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        got = "nothing" if value is None else shown(public)
        return [document.mistake(path, f"a mapping with {known}", got, "write its keys")]
    mistakes = [document.located(mistake) for mistake in mistakes_of(kind, value, root, public=public)]
    return sorted(mistakes, key=lambda mistake: mistake.line) or msgspec.convert(value, kind)


def _redacted(value: JsonValue, redact: Callable[[str], str]) -> JsonValue:
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: _redacted(item, redact) for key, item in value.items()}
        case list():
            return [_redacted(item, redact) for item in value]
    return value
