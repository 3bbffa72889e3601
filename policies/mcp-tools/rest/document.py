"""Reads an OpenAPI document (3.0, 3.1): its operations, and the parts of them that references lead to.

`nullable` and the boolean `exclusiveMinimum` and `exclusiveMaximum` of 3.0 are translated to JSON Schema 2020-12. In a
request no `readOnly` member is required, in a response no `writeOnly` one. Nothing is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from .json_schema import Json, pointer

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
VALUES = {"example", "examples", "default", "enum", "const"}
"""Members of a schema that hold values and no schemas."""
NAMED = {"properties", "patternProperties", "$defs", "schemas", "responses"}
"""Members whose own members have names that the document chooses, such as `default`."""
MAX_REFERENCES = 32
"""The most references that are followed in a row."""


def parse_document(document: str | Mapping[str, Any]) -> Json:
    """Parses the document in a parameter. ValueError: it is no OpenAPI document of 3.0 or 3.1."""
    text = document if isinstance(document, str) else json.dumps(document)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"expected an OpenAPI document as JSON, got invalid JSON: {error}") from None
    version = value.get("openapi") if isinstance(value, dict) else None
    if not isinstance(version, str) or not version.startswith(("3.0.", "3.1.")):
        raise ValueError(f"expected an OpenAPI document with openapi: 3.0.x or 3.1.x, got {version!r}")
    if not isinstance(value, dict) or not isinstance(value.get("paths", {}), dict):
        raise ValueError("expected paths of the OpenAPI document to be an object")
    return value


@dataclass(frozen=True, slots=True)
class Node:
    """A part of the document, and the steps that lead to it."""

    steps: tuple[str, ...]
    value: Any


class Document:
    """A document that `parse_document` has read, for one direction."""

    def __init__(self, document: Json, *, request: bool) -> None:
        not_required = "readOnly" if request else "writeOnly"
        self.value: Json = adapt(document, not_required, is_3_0=document["openapi"].startswith("3.0."))

    def operations(self) -> Iterator[tuple[str, str, Node, list[Node]]]:
        """Yields each operation's method, template and node, and the parameters that its path has for all methods."""
        for template in self.value.get("paths", {}):
            item = self.child(Node((), self.value), "paths", template)
            if item is None or not template.startswith("/"):
                continue
            shared = self.items(item, "parameters")
            for method in METHODS:
                if (node := self.child(item, method)) is not None:
                    yield method.upper(), template, node, shared

    def items(self, node: Node, key: str) -> list[Node]:
        """Returns the items of the list below this key, following references."""
        value = node.value.get(key, [])
        found = [self.child(node, key, str(at)) for at in range(len(value))] if isinstance(value, list) else []
        return [item for item in found if item is not None]

    def child(self, node: Node, *keys: str) -> Node | None:
        """Returns the node below these keys, following references, or None. ValueError: an invalid reference."""
        for key in keys:
            value = node.value
            if isinstance(value, list) and key.isdigit() and int(key) < len(value):
                node = Node((*node.steps, key), value[int(key)])
            elif isinstance(value, dict) and key in value:
                node = Node((*node.steps, key), value[key])
            else:
                return None
            node = self._follow(node)
        return node

    def _follow(self, node: Node) -> Node:
        start = node
        for _ in range(MAX_REFERENCES):
            reference = node.value.get("$ref") if isinstance(node.value, dict) else None
            if not isinstance(reference, str):
                return node
            if not reference.startswith("#/"):
                got = f"got {reference!r} at #{pointer(start.steps)}"
                raise ValueError(f"expected $ref into the document (#/…), {got}: nothing is fetched")
            steps = [unquote(step).replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/")]
            value: Any = self.value
            for step in steps:
                value = value.get(step) if isinstance(value, dict) else _item(value, step)
            if value is None:
                raise ValueError(
                    f"expected a value at {reference}, the target of $ref at #{pointer(start.steps)}, got none"
                )
            node = Node(tuple(steps), value)
        raise ValueError(
            f"expected $ref to lead to a value, got more than {MAX_REFERENCES} in a row at #{pointer(start.steps)}"
        )


def _item(value: Any, step: str) -> Any:
    return value[int(step)] if isinstance(value, list) and step.isdigit() and int(step) < len(value) else None


def adapt(value: Any, not_required: str, *, is_3_0: bool, names: bool = False) -> Any:
    """Returns the document with schemas of JSON Schema 2020-12, for one direction. names: value is that of a NAMED."""
    if isinstance(value, list):
        return [adapt(member, not_required, is_3_0=is_3_0) for member in value]
    if not isinstance(value, dict):
        return value
    adapted = {
        name: part if name in VALUES and not names else adapt(part, not_required, is_3_0=is_3_0, names=name in NAMED)
        for name, part in value.items()
    }
    members, required = adapted.get("properties"), adapted.get("required")
    if isinstance(members, dict) and isinstance(required, list):
        optional = {name for name, part in members.items() if isinstance(part, dict) and part.get(not_required) is True}
        adapted["required"] = [name for name in required if name not in optional]
    return _translate_3_0(adapted) if is_3_0 else adapted


def _translate_3_0(schema: Json) -> Json:
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list):
            schema["enum"] = [*schema["enum"], None]
    return schema
