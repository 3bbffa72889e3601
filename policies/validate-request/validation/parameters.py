"""A request's parameters as OpenAPI describes them: text in the path, the query, headers, cookies → values → schema.

Styles: simple in paths and headers, form (and spaceDelimited, pipeDelimited, deepObject) in queries, form in cookies.
A parameter that is no list and comes twice is refused: upstream may take the other one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus

from sdk.policy import RequestContext

from .content import Finding
from .json_schema import Json, JsonError, Rules, Validator, mistakes, read_json
from .shapes import Shape, typed

STYLES = {
    "path": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
"""By the place of a parameter; the first one is the default."""
DELIMITERS = {"spaceDelimited": re.compile(r"%20|\+"), "pipeDelimited": re.compile(r"\||%7[Cc]")}
COMMA = re.compile(",")


@dataclass(frozen=True, slots=True)
class Parameter:
    """json: it comes as a JSON text (`content` in the document). validator: None where anything will do."""

    name: str
    place: str
    required: bool
    style: str
    explode: bool
    json: bool
    shape: Shape
    validator: Validator | None

    def wrong(self, ctx: RequestContext, path: Mapping[str, str], rules: Rules) -> list[Json]:
        """What is wrong with it in a request, whose path has these values, percent-encoded as they came."""
        try:
            found = self._value(ctx, path, rules)
            if found is None:
                errors = [{"pointer": "", "message": "it is required"}] if self.required else []
            else:
                errors = [] if self.validator is None else mistakes(self.validator, found[0], rules)
        except JsonError as error:
            errors = [{"pointer": "", "message": str(error)}]
        return [{"in": self.place, "name": self.name, **error} for error in errors]

    def _value(self, ctx: RequestContext, path: Mapping[str, str], rules: Rules) -> tuple[Any] | None:
        """None: it is not there."""
        if self.place == "query" and self.shape.is_object() and not self.json and self.style != "form":
            return self._members(_deep(ctx.query, self.name))
        if self.place == "query" and self.shape.is_object() and not self.json and self.explode:
            return self._members(
                (name, value) for name, value in ctx.query_params.pairs() if name in self.shape.members
            )
        texts, decoded = self._texts(ctx, path)
        if not texts:
            return None
        if self.shape.is_list() and self.place == "query" and self.explode and not self.json:
            return ([typed(decoded(each), self.shape.scalar()) for each in texts],)
        if len(texts) > 1 and not (self.place == "header" and self.shape.is_list()):
            raise JsonError("expected it once, got it several times")
        return (self._read(",".join(texts), decoded, rules),)

    def _texts(self, ctx: RequestContext, path: Mapping[str, str]) -> tuple[list[str], Any]:
        """Its texts as they came, and what decodes one."""
        match self.place:
            case "path":
                return [path[self.name]] if self.name in path else [], unquote
            case "query":
                pairs = (part.partition("=") for part in ctx.query.split("&") if part)
                return [value for name, _, value in pairs if unquote_plus(name) == self.name], unquote_plus
            case "header":
                return ctx.headers.get_all(self.name), str
            case _:
                return ctx.cookies.get_all(self.name), str

    def _read(self, text: str, decoded: Any, rules: Rules) -> Any:
        if self.json:
            return read_json(decoded(text).encode("utf-8", "surrogateescape"), rules)
        if not self.shape.is_list() and not self.shape.is_object():
            return typed(decoded(text), self.shape.types)
        delimiter = DELIMITERS.get(self.style, COMMA)
        parts = [decoded(each).strip(" " if self.place == "header" else "") for each in delimiter.split(text) if each]
        if self.shape.is_list():
            return [typed(each, self.shape.scalar()) for each in parts]
        if self.explode:
            pairs = [(name, value) for name, _, value in (each.partition("=") for each in parts)]
        else:
            pairs = list(zip(parts[::2], parts[1::2], strict=False))
        return {name: typed(value, self.shape.member(name).types) for name, value in pairs}

    def _members(self, pairs: Iterator[tuple[str, str]]) -> tuple[Json] | None:
        members: Json = {}
        for name, value in pairs:
            shape = self.shape.member(name)
            if shape.is_list():
                members.setdefault(name, []).append(typed(value, shape.scalar()))
            elif name in members:
                raise JsonError("expected each of its members once, got one several times")
            else:
                members[name] = typed(value, shape.types)
        return (members,) if members else None


def _deep(query: str, name: str) -> Iterator[tuple[str, str]]:
    """`filter[state]=open` → state, open."""
    for part in query.split("&"):
        key, _, value = part.partition("=")
        decoded = unquote_plus(key)
        if decoded.startswith(f"{name}[") and decoded.endswith("]"):
            yield decoded[len(name) + 1 : -1], unquote_plus(value)


def wrong(
    parameters: tuple[Parameter, ...], ctx: RequestContext, path: Mapping[str, str], rules: Rules
) -> Finding | None:
    """What is wrong with a request's parameters; None where nothing is."""
    errors = [error for each in parameters for error in each.wrong(ctx, path, rules)]
    return Finding("parameter", errors[: rules.errors]) if errors else None
