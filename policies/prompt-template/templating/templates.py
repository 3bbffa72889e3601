"""Named templates of prompts, and the variables whose values requests give.

A value becomes a part of one text: it is inserted once, `{{name}}` in it means nothing, and the text is written as JSON
afterwards. So no value can change the document or the role of a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import re2

Json: TypeAlias = dict[str, Any]
Role = Literal["system", "user", "assistant"]
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z][A-Za-z0-9_]*)\}\}")
_MARKS = re.compile(
    r"<\|\s*\w+\s*\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?s>|(?:^|\n)\s*(?:Human|Assistant):", re.IGNORECASE
)
"""Marks by which models tell messages apart. Some providers read them in texts, too."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


DEFAULTS: Json = {"type": "string", "maxLength": 4096, "marks": False}
"""Limits of a variable that its parameters leave out: a schema's defaults are not set within names that authors
choose."""


class RefusedError(Exception):
    """A request does not fit its template. The text is for the client, and quotes no value."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    limits: Json
    pattern: Any
    """Compiled; None: any text."""

    def mistakes(self, value: Any) -> Iterator[str]:
        """Why a value of the request does not fit."""
        kind = self.limits["type"]
        is_number_of_truth = isinstance(value, bool) and kind != "boolean"
        if not isinstance(value, _TYPES[kind]) or is_number_of_truth:
            yield f"{self.name}: expected a value of type {kind}, got {type_of(value)}"
        elif "enum" in self.limits and value not in self.limits["enum"]:
            yield f"{self.name}: expected one of {', '.join(map(to_text, self.limits['enum']))}, got another value"
        elif isinstance(value, str):
            yield from self._mistakes_of_text(value)
        elif isinstance(value, int | float) and kind != "boolean":
            yield from self._mistakes_of_number(value)

    def _mistakes_of_text(self, value: str) -> Iterator[str]:
        most = self.limits["maxLength"]
        if len(value) > most:
            yield f"{self.name}: expected at most {most} characters, got {len(value)}"
        elif _SURROGATES.search(value):
            yield f"{self.name}: expected characters of Unicode, got half of a surrogate pair"
        elif self.pattern is not None and self.pattern.fullmatch(value) is None:
            yield f"{self.name}: expected a value that matches {self.limits['pattern']}, got another one"
        elif not self.limits["marks"] and _MARKS.search(value):
            yield f"{self.name}: expected a value without marks of roles, such as <|im_start|>, got one"

    def _mistakes_of_number(self, value: float) -> Iterator[str]:
        least, most = self.limits.get("minimum"), self.limits.get("maximum")
        if value != value or value in (float("inf"), float("-inf")):
            yield f"{self.name}: expected a finite number, got another one"
        elif least is not None and value < least:
            yield f"{self.name}: expected at least {least}, got less"
        elif most is not None and value > most:
            yield f"{self.name}: expected at most {most}, got more"


@dataclass(frozen=True, slots=True)
class Template:
    name: str
    messages: tuple[Message, ...]
    variables: Mapping[str, Variable]

    def render(self, request_values: Any) -> list[Message]:
        """The messages with the values that a request gives. RefusedError: they do not fit, with all mistakes."""
        if not isinstance(request_values, dict):
            raise RefusedError(f"template.variables: expected an object, got {type_of(request_values)}")
        values = {name: self._value(name, request_values) for name in self.variables}
        mistakes = [
            f"{name}: expected a variable of {self.name}, got another name"
            for name in request_values
            if name not in values
        ]
        for name, variable in self.variables.items():
            if values[name] is None:
                mistakes.append(f"{name}: expected a value, got none")
            else:
                mistakes += variable.mistakes(values[name])
        if mistakes:
            raise RefusedError("; ".join(f"template.variables.{mistake[:200]}" for mistake in mistakes[:16]))
        texts = {name: to_text(value) for name, value in values.items()}
        return [Message(message.role, insert(message.text, texts.__getitem__)) for message in self.messages]

    def _value(self, name: str, request_values: Json) -> Any:
        return request_values[name] if name in request_values else self.variables[name].limits.get("default")


def insert(text: str, value_of: Callable[[str], str]) -> str:
    """The text with values in place of its placeholders."""
    return _PLACEHOLDER.sub(lambda found: value_of(found[1]), text)


def to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def type_of(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


# ------------------------------------------------------------------ of parameters


def template_of(name: str, params: Json) -> Template:
    """ValueError: the template has a placeholder without a variable, or a variable that is in no text, or its own
    values do not fit."""
    variable_params = params.get("variables", {})
    place = f"templates.{name}.variables"
    variables = {key: variable_of(f"{place}.{key}", key, limits) for key, limits in variable_params.items()}
    messages = tuple(Message(message.get("role", "user"), message["text"]) for message in params["messages"])
    used = {found for message in messages for found in _PLACEHOLDER.findall(message.text)}
    if missing := sorted(used - {*variables}):
        raise ValueError(
            f"templates.{name}: expected a variable for each placeholder, got none for {', '.join(missing)}"
        )
    if unused := sorted({*variables} - used):
        raise ValueError(f"templates.{name}: expected each variable in a text, got {', '.join(unused)} in none")
    return Template(name, messages, variables)


def variable_of(place: str, name: str, params: Json) -> Variable:
    limits = {**DEFAULTS, **params}
    pattern = None
    if "pattern" in limits:
        options = re2.Options()
        options.log_errors = False  # the ValueError reports them
        try:
            pattern = re2.compile(limits["pattern"], options)
        except re2.error as error:
            raise ValueError(f"{place}.pattern: expected RE2's syntax, got {limits['pattern']!r}: {error}") from None
    variable = Variable(name, limits, pattern)
    own = [*limits.get("enum", ()), *([limits["default"]] if "default" in limits else [])]
    without_enum = Variable(name, {key: value for key, value in limits.items() if key != "enum"}, pattern)
    for value in own:
        if mistakes := list((variable if value == limits.get("default") else without_enum).mistakes(value)):
            raise ValueError(f"{place}: {mistakes[0]}")
    return variable
