"""Validates a request's parameters by an OpenAPI document: in the path, the query, headers and cookies.

Styles: simple in paths and headers, form (and spaceDelimited, pipeDelimited, deepObject) in queries, form in cookies.
A parameter that is no list and occurs twice is refused, since the upstream might use the other one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus

from sdk.policy import Cookies, Headers, RequestContext

from .content import Finding
from .json_schema import Json, JsonError, Rules, Validator, check_text, mistakes, read_json
from .shapes import Shape, parse_typed

STYLES = {
    "path": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
"""The styles by the place of a parameter; the first is the default."""
DELIMITERS = {"spaceDelimited": re.compile(r"%20|\+"), "pipeDelimited": re.compile(r"\||%7[Cc]")}
COMMA = re.compile(",")


@dataclass(frozen=True, slots=True)
class Values:
    """The encoded values of a request's parameters, by their names. The query is split once for all parameters.

    deep: members of deepObject, `filter[state]`, by the text before the first bracket; pairs of the whole name and the
    value.
    """

    path: Mapping[str, str]
    headers: Headers
    cookies: Cookies
    query: Mapping[str, list[str]]
    deep: Mapping[str, list[tuple[str, str]]]

    @classmethod
    def of(cls, ctx: RequestContext, path: Mapping[str, str]) -> Values:
        query: dict[str, list[str]] = {}
        deep: dict[str, list[tuple[str, str]]] = {}
        for part in ctx.query.split("&"):
            key, _, value = part.partition("=")
            name = _decode_plus(key)
            if part:
                query.setdefault(name, []).append(value)
            if name.endswith("]"):
                deep.setdefault(name.partition("[")[0], []).append((name, value))
        return cls(path, ctx.headers, ctx.cookies, query, deep)

    def members(self, name: str) -> Iterator[tuple[str, str]]:
        """Yields (state, open) for `filter[state]=open`."""
        for whole, value in self.deep.get(name.partition("[")[0], ()):
            if whole.startswith(f"{name}["):
                yield whole[len(name) + 1 : -1], _decode_plus(value)


def _decode(text: str) -> str:
    """Decodes a text. Bytes that are not UTF-8 become half of surrogate pairs (PEP 383), which check_text refuses."""
    return unquote(text, errors="surrogateescape")


def _decode_plus(text: str) -> str:
    return unquote_plus(text, errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Parameter:
    """json: its value is a JSON text (`content` in the document). validator: None if any value is valid."""

    name: str
    place: str
    required: bool
    style: str
    explode: bool
    json: bool
    shape: Shape
    validator: Validator | None

    def find_mistakes(self, values: Values, rules: Rules) -> list[Json]:
        """Returns the mistakes in the parameter of a request."""
        try:
            value = self._value(values, rules)
            if value is None:
                errors = [{"pointer": "", "message": "the parameter is required"}] if self.required else []
            elif self.validator is None:
                errors = []
            else:
                check_text(value[0])
                errors = mistakes(self.validator, value[0], rules)
        except JsonError as error:
            errors = [{"pointer": error.at, "message": str(error)}]
        return [{"in": self.place, "name": self.name, **error} for error in errors]

    def _value(self, values: Values, rules: Rules) -> tuple[Any] | None:
        """Returns the parameter's value in a tuple; None if the request does not have it."""
        if self.place == "query" and self.shape.is_object() and not self.json and self.style != "form":
            return self._members(values.members(self.name))
        if self.place == "query" and self.shape.is_object() and not self.json and self.explode:
            return self._members(
                (name, _decode_plus(value)) for name in self.shape.members for value in values.query.get(name, ())
            )
        texts, decode = self._texts(values)
        if not texts:
            return None
        if self.shape.is_list() and self.place == "query" and self.explode and not self.json:
            return ([parse_typed(decode(text), self.shape.scalar()) for text in texts],)
        if len(texts) > 1 and not (self.place == "header" and self.shape.is_list()):
            raise JsonError("expected the parameter once, got it several times")
        return (self._read(",".join(texts), decode, rules),)

    def _texts(self, values: Values) -> tuple[Sequence[str], Any]:
        """Returns the encoded texts of the parameter, and the function that decodes one."""
        match self.place:
            case "path":
                return [values.path[self.name]] if self.name in values.path else [], _decode
            case "query":
                return values.query.get(self.name, ()), _decode_plus
            case "header":
                return values.headers.get_all(self.name), str
            case _:
                return values.cookies.get_all(self.name), str

    def _read(self, text: str, decode: Any, rules: Rules) -> Any:
        if self.json:
            return read_json(decode(text), rules)
        if not self.shape.is_list() and not self.shape.is_object():
            return parse_typed(decode(text), self.shape.types)
        delimiter = DELIMITERS.get(self.style, COMMA)
        parts = [decode(part).strip(" " if self.place == "header" else "") for part in delimiter.split(text) if part]
        if self.shape.is_list():
            return [parse_typed(part, self.shape.scalar()) for part in parts]
        if self.explode:
            pairs = [(name, value) for name, _, value in (part.partition("=") for part in parts)]
        else:
            pairs = list(zip(parts[::2], parts[1::2], strict=False))
        return {name: parse_typed(value, self.shape.member(name).types) for name, value in pairs}

    def _members(self, pairs: Iterator[tuple[str, str]]) -> tuple[Json] | None:
        members: Json = {}
        for name, value in pairs:
            shape = self.shape.member(name)
            if shape.is_list():
                members.setdefault(name, []).append(parse_typed(value, shape.scalar()))
            elif name in members:
                raise JsonError("expected each member once, got one several times")
            else:
                members[name] = parse_typed(value, shape.types)
        return (members,) if members else None


def validate(
    parameters: tuple[Parameter, ...], ctx: RequestContext, path: Mapping[str, str], rules: Rules
) -> Finding | None:
    """Returns the mistakes in a request's parameters; None if they are valid."""
    if not parameters:
        return None
    values = Values.of(ctx, path)
    errors = [error for parameter in parameters for error in parameter.find_mistakes(values, rules)]
    return Finding("parameter", errors[: rules.errors]) if errors else None
