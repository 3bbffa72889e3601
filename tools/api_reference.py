"""The reference page of the management API, made from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gatewright_controller.management.openapi import RIGHT, openapi
from gatewright_controller.management.table import PARTS

Table = Callable[[tuple[str, ...], Iterable[tuple[str, ...]]], str]
Json = dict[str, Any]

INTRODUCTION = """A controller serves this page's source as an OpenAPI 3.1 document at `/v1/openapi.json`, without a token, and its Inspector has a page to browse it, `#/management`.
`/v1/schemas/KIND.json` has the JSON Schema of each kind of document, as [`gatewright schema`](command-line.md) prints it.

How to use it: [APIs](../how-to/apis.md#the-management-api), [Gateway](../how-to/gateway.md#by-the-management-api), [sets of resources](../how-to/plan-and-apply.md#by-http), [nodes](nodes-api.md), [exchanges](exchanges-api.md), [requests](requests-api.md)."""  # noqa: E501 - one sentence a line
COMMON = """Every operation that needs a right is answered 401 without a token that is known, 403 without [the right](rights.md), 429 after too many requests and 503 while the database or [the OpenID provider](../how-to/openid-connect.md) cannot be asked, and any is answered 400 for a query parameter that it does not have or that has several values and is no list; the tables list other errors.
All errors are [problems](#problem)."""  # noqa: E501
OF_EVERY_OPERATION = ("400", "401", "403", "429", "503")
OF_OTHER_PAGES = {
    "Api": "[an API](api-definition.md)",
    "ApiSpec": "[its `spec`](api-definition.md)",
    "Metadata": "[its `metadata`](api-definition.md)",
    "Gateway": "[a Gateway](gateway.md)",
    "GatewaySpec": "[its `spec`](gateway.md)",
    "GatewayMetadata": "[its `metadata`](gateway.md)",
}
"""Shapes that other pages describe, with all that is in them."""


def parts(table: Table) -> Iterator[str]:
    """The Markdown of the page, below its title."""
    document = openapi(PARTS)
    yield INTRODUCTION
    yield COMMON
    for tag in document["tags"]:
        yield f"## {tag['name']}"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["tags"] == [tag["name"]]:
                    yield f"### `{method.upper()} {path}`"
                    yield from _operation(document, operation, table)
    yield "## Shapes"
    for name in _shapes(document):
        yield f"### {name}"
        yield from _shape(document["components"]["schemas"][name], table)


def _operation(document: Json, operation: Json, table: Table) -> Iterator[str]:
    right = f"It needs the right `{operation[RIGHT]}`." if RIGHT in operation else "It needs no token."
    yield f"{operation['summary']}.\n{right}"
    if parameters := operation.get("parameters"):
        rows = [
            (f"`{parameter['name']}`", parameter["in"], _type(parameter["schema"]), parameter["description"])
            for parameter in parameters
        ]
        yield table(("parameter", "in", "type", "meaning"), rows)
    if body := operation.get("requestBody"):
        yield f"Body: {_content(body['content'])}{'' if body['required'] else '; it may be left out'}."
    yield table(("status", "meaning", "content"), _answers(document, operation))


def _answers(document: Json, operation: Json) -> Iterator[tuple[str, ...]]:
    for status, answer in operation["responses"].items():
        if "$ref" not in answer:
            content = _content(answer["content"]) if "content" in answer else "none"
            yield f"`{status}`", answer["description"], content
        elif status not in OF_EVERY_OPERATION:
            problem = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
            yield f"`{status}`", problem["description"], "[Problem](#problem)"


def _content(content: Json) -> str:
    schemas = [media["schema"] for media in content.values() if "schema" in media]
    shape = f"{_type(schemas[0])} as " if schemas else ""
    return shape + ", ".join(f"`{name}`" for name in content)


def _shape(schema: Json, table: Table) -> Iterator[str]:
    if description := schema.get("description"):
        yield description
    if properties := schema.get("properties"):
        required = schema.get("required", ())
        rows = [
            (f"`{name}`", _type(member), "yes" if name in required else "", member.get("description", ""))
            for name, member in properties.items()
        ]
        yield table(("member", "type", "always", "meaning"), rows)


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return OF_OTHER_PAGES.get(name, f"[{name}](#{name.lower()})")
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if isinstance(inner := schema.get("additionalProperties"), dict) and inner:
        return f"object of {_type(inner)}"
    return f"{schema.get('type', 'any value')}{_bounds(schema)}"


def _bounds(schema: Json) -> str:
    default = f", `{_json(schema['default'])}` by default" if "default" in schema else ""
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:,} to {schema['maximum']:,}{default}"
    return default


def _json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shapes(document: Json) -> list[str]:
    """Those that no other page describes, by name."""
    schemas, found = document["components"]["schemas"], set[str]()
    waiting = list(_references({"paths": document["paths"], "responses": document["components"]["responses"]}))
    while waiting:
        name = waiting.pop()
        if name not in found and name not in OF_OTHER_PAGES and name in schemas:
            found.add(name)
            waiting += _references(schemas[name])
    return sorted(found)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(place := value.get("$ref"), str) and "/schemas/" in place:
            yield place.rpartition("/")[2]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
