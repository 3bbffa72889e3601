"""What cannot be translated, and the members of a request that are none of the other format's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gatewright.llm.json_values import Json, count_of
from gatewright.llm.shapes import Shape

NAMES: dict[Shape, str] = {"chat": "OpenAI's chat completions", "messages": "Anthropic's messages"}


class TranslationError(ValueError):
    """A request or an answer has something that the other format cannot say. The text names the place and the cure."""


def refuse(where: str, expected: str, got: Any) -> TranslationError:
    """The error of a value that has another form than the format that it came in has."""
    text = repr(got)
    return TranslationError(f"{where}: expected {expected}, got {text if len(text) <= 60 else f'{text[:57]}...'}")


def check_members(
    document: Json, known: Collection[str], neutral: Mapping[str, Collection[Any]], *, to: Shape, where: str = ""
) -> None:
    """Raises TranslationError for the first member that is not known. A member is left out if it is null, or has one of
    the values with which it says nothing."""
    for name, value in document.items():
        if name in known or value is None or any(value == nothing for nothing in neutral.get(name, ())):
            continue
        raise TranslationError(f"{where}{name[:60]}: {NAMES[to]} have nothing like it; leave it out of the request")


def read_number(document: Json, name: str, most: float) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise refuse(name, f"a number from 0 to {most}, which the target's provider takes", value)
    return value


def read_limit(document: Json, *names: str) -> int | None:
    """The first of these members that is there: a positive number of tokens."""
    for name in names:
        if (value := document.get(name)) is not None:
            limit = count_of(value)
            if not limit:
                raise refuse(name, "a number of tokens from 1 on", value)
            return limit
    return None


def read_strings(document: Json, name: str) -> list[str]:
    """The strings of a member that is one of them or an array."""
    value = document.get(name)
    values = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in values):
        raise refuse(name, "a string or an array of strings", value)
    return values


def read_objects(holder: Json, name: str, where: str = "") -> list[Json]:
    """The objects of an array; [] if the member is not there."""
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise refuse(f"{where}{name}", "an array of objects", value)
    return value


def read_string(holder: Json, name: str, where: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        raise refuse(f"{where}.{name}", "a string", value)
    return value
