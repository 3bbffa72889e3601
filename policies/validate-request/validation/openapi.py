"""Compiles the operations of an OpenAPI document (3.0, 3.1) for validation, and finds a request's operation.

Only the parts for one direction are compiled. Formats such as int32 and byte are no formats of JSON Schema, and are not
checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jsonschema_rs

from .content import Content, Media
from .document import Document, Node
from .json_schema import Json, Rules, Validator, compile_schema, pointer
from .parameters import STYLES, Parameter
from .shapes import ANY, Shape

URI = "urn:gatewright:openapi"
NO_PARAMETERS = {"accept", "content-type", "authorization"}
"""Headers that OpenAPI does not describe as parameters."""
SHAPE_DEPTH = 8
VARIABLE = re.compile(r"\{([^{}/]+)\}")
ENCODED = re.compile("%[0-9A-Fa-f]{2}")
"""In paths that policies see, the digits are in upper case."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the document. body: None if it describes none. responses: by "200", "2XX" and "default"."""

    method: str
    template: str
    path: re.Pattern[str]
    parameters: tuple[Parameter, ...]
    body: Content | None
    body_required: bool
    responses: Mapping[str, Content]

    def values(self, path: str) -> dict[str, str] | None:
        """Returns the values of the path's variables, matched from its end, since it begins with the API's context."""
        count = _without_slash(self.template).count("/")
        match = self.path.fullmatch("/" + "/".join(_without_slash(path).split("/")[-count:]))
        names = VARIABLE.findall(self.template)
        return None if match is None else dict(zip(names, match.groups(), strict=True))

    def response(self, status: int) -> Content | None:
        """Returns the content for a status; None if the document does not describe it."""
        keys = (str(status), f"{status // 100}XX", f"{status // 100}xx", "default")
        return next((self.responses[key] for key in keys if key in self.responses), None)


class Operations:
    """The operations of a document that an attachment may serve. ValueError: a mistake in the document."""

    def __init__(
        self, document: Json, params: Mapping[str, Any], attached_to: str, rules: Rules, *, request: bool
    ) -> None:
        reader = _Reader(document, rules, request=request)
        self._base: str | None = params.get("basePath")
        self._by_key: dict[tuple[str, str], Operation] = {}
        self._only: Operation | None = None
        operation_id = params.get("operationId")
        method, _, template = attached_to.partition(" ")
        template = template.partition(" ")[0]
        is_single = attached_to != "" and "*" not in attached_to and self._base is None
        known = []
        for own_method, own_template, node, shared in reader.document.operations():
            key = (own_method, VARIABLE.sub("{}", own_template))
            known.append(f"{own_method} {own_template}")
            if operation_id is not None:
                if node.value.get("operationId") == operation_id:
                    self._only = reader.operation(own_method, own_template, node, shared)
            elif not is_single or key == (_describing_method(method), VARIABLE.sub("{}", template)):
                self._by_key[key] = reader.operation(own_method, own_template, node, shared)
        if self._only is None and not self._by_key:
            by_id = f"operationId {operation_id}" if operation_id is not None else ""
            expected = by_id or (attached_to if is_single else "an operation")
            raise ValueError(f"expected a document with {expected}, got one with {', '.join(known) or 'none'}")
        self._ordered = sorted(self._by_key.values(), key=_specificity)

    def find(self, method: str, path: str, operation: str) -> tuple[Operation, dict[str, str]] | None:
        """Returns the operation of a request and the encoded values of its path; None if it is not described."""
        if self._only is not None:
            return self._only, self._only.values(path) or {}
        if self._base is not None:
            return self._find_below(self._base.rstrip("/"), method, path)
        template = VARIABLE.sub("{}", operation.partition(" ")[2].partition(" ")[0])
        match = self._by_key.get((method, template)) or self._by_key.get((_describing_method(method), template))
        return None if match is None else (match, match.values(path) or {})

    def _find_below(self, base: str, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        rest = path.removeprefix(base)
        if not path.startswith(base) or not rest.startswith("/"):
            return None
        fitting = [operation for operation in self._ordered if operation.path.fullmatch(_without_slash(rest))]
        for described in dict.fromkeys((method, _describing_method(method))):
            of_method = [operation for operation in fitting if operation.method == described]
            # With strictPaths the gateway removes a slash at the end of paths; without, two paths may differ by it.
            same_end = [operation for operation in of_method if operation.template.endswith("/") == rest.endswith("/")]
            for operation in same_end or of_method:
                return operation, operation.values(rest) or {}
        return None


def _describing_method(method: str) -> str:
    """Returns the method whose operation describes this one: GET for HEAD."""
    return "GET" if method == "HEAD" else method


def _without_slash(path: str) -> str:
    """The path without a slash at its end."""
    return path.removesuffix("/") or "/"


def _specificity(operation: Operation) -> list[tuple[bool, str]]:
    """Returns a sort key: literals before variables, from the left (OpenAPI, "Path Templating Matching")."""
    return [("{" in segment, segment) for segment in operation.template.split("/")]


# ------------------------------------------------------------------ reading a document


class _Reader:
    def __init__(self, document: Json, rules: Rules, *, request: bool) -> None:
        self.document = Document(document, request=request)
        self._registry = jsonschema_rs.Registry([(URI, self.document.value)])
        self._rules, self._request = rules, request

    def operation(self, method: str, template: str, node: Node, shared: list[Node]) -> Operation:
        parameters = {
            (parameter.place, parameter.name): parameter
            for parameter in self._parameters([*shared, *self.document.items(node, "parameters")])
        }
        body = self.document.child(node, "requestBody") if self._request else None
        responses = {} if self._request else self._responses(node)
        return Operation(
            method,
            template,
            _regex(template),
            tuple(parameters.values()),
            None if body is None else self._content(body),
            body is not None and body.value.get("required") is True,
            responses,
        )

    def _responses(self, node: Node) -> dict[str, Content]:
        described = self.document.child(node, "responses")
        responses = (
            {} if described is None else {status: self.document.child(described, status) for status in described.value}
        )
        return {status: self._content(response) for status, response in responses.items() if response is not None}

    def _content(self, node: Node) -> Content:
        described = self.document.child(node, "content")
        media: dict[str, Media] = {}
        for name in {} if described is None else described.value:
            schema = self.document.child(described, name, "schema") if described else None
            validator = None if schema is None else self._validator(schema)
            media[name.partition(";")[0].strip().lower()] = Media(validator, self._shape(schema))
        return Content(media)

    def _parameters(self, nodes: list[Node]) -> Iterator[Parameter]:
        for node in nodes if self._request else []:
            name, place = str(node.value.get("name")), node.value.get("in")
            if place not in STYLES or (place == "header" and name.lower() in NO_PARAMETERS):
                continue
            style = node.value.get("style", STYLES[place][0])
            if style not in STYLES[place]:
                expected = f"expected one of the styles {', '.join(STYLES[place])} of a parameter in {place}"
                raise ValueError(f"{expected}, got {style} at #{pointer(node.steps)}")
            content = self.document.child(node, "content")
            as_json = (
                self.document.child(content, *content.value, "schema") if content and len(content.value) == 1 else None
            )
            schema = as_json or self.document.child(node, "schema")
            yield Parameter(
                name,
                place,
                place == "path" or node.value.get("required") is True,
                style,
                node.value.get("explode", style == "form") is True,
                as_json is not None,
                self._shape(schema),
                None if schema is None else self._validator(schema),
            )

    def _validator(self, schema: Node) -> Validator:
        fragment = quote(pointer(schema.steps), safe="/~")
        return compile_schema({"$ref": f"{URI}#{fragment}"}, self._rules, self._registry)

    def _shape(self, schema: Node | None, depth: int = 0) -> Shape:
        if schema is None or not isinstance(schema.value, dict) or depth > SHAPE_DEPTH:
            return ANY
        value = schema.value
        named = value.get("type", [])
        types = {named} if isinstance(named, str) else set(named)
        items = self._shape(self.document.child(schema, "items"), depth + 1)
        members = {
            name: self._shape(self.document.child(schema, "properties", name), depth + 1)
            for name in value.get("properties", {})
        }
        for key in ("allOf", "anyOf", "oneOf"):
            for part in self.document.items(schema, key):
                shape = self._shape(part, depth + 1)
                types |= shape.types
                members |= shape.members
                items = shape.items if shape.items is not None else items
        return Shape(frozenset(types), items, members)


def _regex(template: str) -> re.Pattern[str]:
    """Compiles a path template. A segment has at most one variable, so that matching takes linear time."""
    for segment in template.split("/"):
        if len(VARIABLE.findall(segment)) > 1:
            raise ValueError(f"expected at most one variable in each segment of a path, got {template}")
    parts = VARIABLE.split(_without_slash(template))
    normalized = (ENCODED.sub(lambda digits: digits[0].upper(), part) for part in parts)
    return re.compile("".join("([^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(normalized)))
