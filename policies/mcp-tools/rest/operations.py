"""The operations of an OpenAPI document as tools: their names, what they say of themselves, and their arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .document import Document, Node, parse_document
from .json_schema import Json, Rules, Validator, compile_schema, pointer
from .places import STYLES, Place
from .schemas import Definitions, unique_name

METHODS = {"GET", "PUT", "POST", "PATCH", "DELETE"}
NO_PARAMETERS = {"accept", "content-type", "authorization"}
"""Headers that OpenAPI does not describe as parameters."""
UNSENT = {"host", "content-length", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"} | {
    "transfer-encoding"
}
"""Headers that the gateway writes itself."""
FORM = "application/x-www-form-urlencoded"
BODY = "body"
VARIABLE = re.compile(r"\{([^{}/]+)\}")
_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]/]|%[0-9A-Fa-f]{2})*")
RULES = Rules(depth=64, unique_names=True, formats=True, values=True, errors=10)
HINTS: Mapping[str, Json] = {
    "GET": {"readOnlyHint": True},
    "PUT": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True},
    "POST": {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False},
    "PATCH": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False},
    "DELETE": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True},
}
"""What a method means for the API's data (RFC 9110, 9.2), in the words of tools' annotations."""


@dataclass(frozen=True, slots=True)
class Tool:
    """An operation of the API as a tool."""

    described: Json
    """As tools/list has it."""
    method: str
    template: str
    places: tuple[Place, ...]
    body_type: str
    """The media type of the argument `body`; "": it has none."""
    validator: Validator

    @property
    def name(self) -> str:
        name: str = self.described["name"]
        return name


@dataclass(frozen=True, slots=True)
class Found:
    """An operation of the document."""

    method: str
    template: str
    node: Node
    shared: list[Node]

    @property
    def id(self) -> str:
        """Its operationId; without one `GET /orders/{id}`."""
        named = self.node.value.get("operationId")
        return named if isinstance(named, str) and named else f"{self.method} {self.template}"

    @property
    def tags(self) -> list[Any]:
        tags = self.node.value.get("tags")
        return tags if isinstance(tags, list) else []


def read_tools(params: Mapping[str, Any]) -> dict[str, Tool]:
    """The tools of an attachment's parameters, by name. ValueError: all mistakes of the document, and of the choice."""
    document = Document(parse_document(params["openapi"]), request=True)
    found = [Found(*operation) for operation in document.operations() if operation[0] in METHODS]
    chosen = [operation for operation in found if is_chosen(operation, params)]
    mistakes = list(_unknown_ids(found, params))
    if not chosen and not mistakes:
        known = ", ".join(operation.id for operation in found) or "none"
        mistakes.append(f"expected an operation that include and exclude leave, got none of {known}")
    tools: dict[str, Tool] = {}
    for operation in chosen:
        try:
            tool = _Reader(document, operation, params["tools"].get(operation.id, {})).tool()
        except ValueError as error:
            mistakes.append(f"{operation.id}: {error}; correct the document, or exclude the operation")
            continue
        if tool.name in tools:
            mistakes.append(f"{operation.id}: its tool has the name {tool.name} of another; name it under tools")
        tools[tool.name] = tool
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return tools


def _unknown_ids(found: list[Found], params: Mapping[str, Any]) -> Iterator[str]:
    known = [operation.id for operation in found]
    choices = [params[choice] for choice in ("include", "exclude") if choice in params]
    named = [*params["tools"], *(name for choice in choices for name in choice["operations"] if "*" not in name)]
    for name in dict.fromkeys(named):
        if name not in known:
            yield f"expected an operation of the document ({', '.join(known) or 'it has none'}), got {name}"


def is_chosen(operation: Found, params: Mapping[str, Any]) -> bool:
    is_included = "include" not in params or _fits(operation, params["include"])
    return is_included and not ("exclude" in params and _fits(operation, params["exclude"]))


def _fits(operation: Found, choice: Mapping[str, Any]) -> bool:
    return (
        any(_matches(operation.id, pattern) for pattern in choice["operations"])
        or any(tag in choice["tags"] for tag in operation.tags)
        or operation.method in choice["methods"]
    )


def _matches(text: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


class _Reader:
    """Makes the tool of one operation."""

    def __init__(self, document: Document, operation: Found, own: Mapping[str, Any]) -> None:
        self._document, self._operation, self._own = document, operation, own
        self._definitions = Definitions(document)
        self._properties: Json = {}
        self._required: list[str] = []

    def tool(self) -> Tool:
        operation = self._operation
        _check_template(operation.template)
        nodes = [*operation.shared, *self._document.items(operation.node, "parameters")]
        by_place = {(node.value.get("in"), node.value.get("name")): node for node in nodes}
        places = tuple(place for node in by_place.values() for place in self._place(node))
        body_type = self._body()
        missing = set(VARIABLE.findall(operation.template)) - {place.name for place in places if place.place == "path"}
        if missing:
            raise ValueError(f"expected a parameter for each variable of the path, got none for {', '.join(missing)}")
        schema: Json = {"type": "object", "properties": self._properties, "additionalProperties": False}
        if self._required:
            schema["required"] = self._required
        if self._definitions.schemas:
            schema["$defs"] = self._definitions.schemas
        validator = compile_schema(schema, RULES)
        return Tool(self._described(schema), operation.method, operation.template, places, body_type, validator)

    def _described(self, schema: Json) -> Json:
        value = self._operation.node.value
        texts = [text for text in (value.get("summary"), value.get("description")) if isinstance(text, str) and text]
        description = self._own.get("description") or "\n\n".join(dict.fromkeys(texts))
        described: Json = {"name": self._own.get("name") or unique_name(self._operation.id, {})}
        if texts and isinstance(value.get("summary"), str):
            described["title"] = value["summary"]
        if description:
            described["description"] = description
        return described | {"inputSchema": schema, "annotations": HINTS[self._operation.method]}

    def _place(self, node: Node) -> Iterator[Place]:
        name, place = str(node.value.get("name")), node.value.get("in")
        is_required = place == "path" or node.value.get("required") is True
        if place == "cookie" and is_required:
            raise ValueError(f"expected no required parameter in a cookie, got {name}: a tool has none")
        if place not in STYLES or (place == "header" and name.lower() in NO_PARAMETERS):
            return
        if place == "header" and name.lower() in UNSENT:
            raise ValueError(f"expected no parameter of the header {name}, which the gateway writes itself")
        style = node.value.get("style", STYLES[place][0])
        if style not in STYLES[place]:
            expected = f"expected one of the styles {', '.join(STYLES[place])} of a parameter in {place}"
            raise ValueError(f"{expected}, got {style} at #{pointer(node.steps)}")
        content = self._document.child(node, "content")
        is_json = content is not None and len(content.value) == 1
        schema = self._document.child(content, *content.value, "schema") if content and is_json else None
        argument = self._add(name, place, node, schema or self._schema_node(node), required=is_required)
        explode = node.value.get("explode", style in ("form", "deepObject")) is True
        yield Place(argument, name, place, style, explode, is_json)

    def _schema_node(self, node: Node) -> Node | None:
        """The schema below the node as the document has it, with its reference, so that a recursive one ends."""
        value = node.value.get("schema")
        return None if value is None else Node((*node.steps, "schema"), value)

    def _add(self, name: str, place: str, node: Node, schema: Node | None, *, required: bool) -> str:
        """Adds an argument, and returns its name; a second of a name has its place before it."""
        argument = unique_name(name, {})
        if argument in self._properties or (argument == BODY and place != BODY):
            argument = unique_name(f"{place}_{name}", self._properties)
        described = self._definitions.schema(schema.value) if schema else {}
        text = node.value.get("description")
        if isinstance(text, str) and isinstance(described, dict) and "description" not in described:
            described = {**described, "description": text}
        self._properties[argument] = described
        if required:
            self._required.append(argument)
        return argument

    def _body(self) -> str:
        """Adds the argument `body`, and returns its media type; "" for an operation without a body."""
        body = self._document.child(self._operation.node, "requestBody")
        content = None if body is None else self._document.child(body, "content")
        if body is None or content is None or not content.value:
            return ""
        media_types = {name: name.partition(";")[0].strip().lower() for name in content.value}
        known = sorted((rank, name) for name, kind in media_types.items() if (rank := _rank(kind)) is not None)
        is_required = body.value.get("required") is True
        if not known:
            if not is_required:
                return ""
            raise ValueError(f"expected a body of JSON, a form or text, got {', '.join(media_types.values())}")
        media = self._document.child(content, known[0][1])
        self._add(BODY, BODY, body, self._schema_node(media) if media else None, required=is_required)
        found: str = media_types[known[0][1]]
        return found


def _rank(media_type: str) -> int | None:
    """The order in which media types are taken; None: the tool cannot write them."""
    if media_type in ("application/json", "*/*", "application/*"):
        return 0
    if media_type.endswith("+json") and "*" not in media_type:
        return 1
    if media_type == FORM:
        return 2
    return 3 if media_type == "text/plain" else None


def _check_template(template: str) -> None:
    literals = VARIABLE.sub("x", template)
    is_path = _LITERAL.fullmatch(literals) is not None and "//" not in literals
    if not is_path or any(segment in (".", "..") for segment in literals.split("/")):
        raise ValueError(f"expected a path of encoded segments, got {template}")
