"""The management API as an OpenAPI 3.1 document, made of its table.

https://spec.openapis.org/oas/v3.1.1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from gatewright import __version__
from gatewright_documents.editor_schema import component_schemas
from gatewright_documents.values import JsonObject

from gatewright_controller.management.problems import PROBLEM
from gatewright_controller.management.rows import Answer, Body, Parameter, Part, Row
from gatewright_controller.management.shapes.examples import EXAMPLES
from gatewright_controller.management.shapes.problem import Problem

VERSION = "3.1.1"
TOKEN = "token"  # noqa: S105 - the name of a security scheme
RIGHT = "x-gatewright-right"
OF_EVERY_ROW = (400,)
OF_EVERY_RIGHT = (401, 403, 429, 503)
OF_EVERY_BODY = (413, 415)
WORDS = """What the controller keeps and brings to the nodes of a gateway.

Every error is a problem (RFC 9457).
A request is refused with 400 for a query parameter that is unknown here, and for two values of one that is no array.
Before a request is read whole, the controller may refuse it with 408, 413 or 431 and close the connection."""


def openapi(parts: Sequence[Part]) -> JsonObject:
    """The document. It depends on nothing that a controller has stored."""
    rows = [row for part in parts for row in part.rows]
    shapes = {shape: None for row in rows for shape in _shapes_of(row)}
    schemas, components = component_schemas([Problem, *shapes], "#/components/schemas/{name}")
    schema_of = dict(zip([Problem, *shapes], schemas, strict=True))
    for name, example in EXAMPLES.items():
        components[name]["examples"] = [example]
    paths: dict[str, JsonObject] = {}
    for part in parts:
        for row in part.rows:
            paths.setdefault(path_of(row), {})[row.method.lower()] = _operation(row, part.title, schema_of)
    return {
        "openapi": VERSION,
        "info": {"title": "Gatewright management API", "version": __version__, "description": WORDS},
        "servers": [{"url": "/"}],
        "security": [{TOKEN: []}],
        "tags": [{"name": part.title} for part in parts],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": dict(_problems(rows, schema_of)),
            "securitySchemes": {
                TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The controller's own token, one of `/v1/tokens`, or a JWT of its OpenID provider.",
                }
            },
        },
    }


def path_of(row: Row) -> str:
    """The path as OpenAPI has it: what stands in it has no slash unless it is encoded."""
    return row.path.replace(":text}", "}")


def statuses_of(row: Row) -> list[int]:
    """Of the problems that a request of this row may be answered with."""
    common = OF_EVERY_ROW if row.right is None else (*OF_EVERY_ROW, *OF_EVERY_RIGHT)
    return sorted({*common, *(OF_EVERY_BODY if row.body else ()), *row.refusals})


def _shapes_of(row: Row) -> Iterator[Any]:
    if row.body:
        yield from row.body.shapes
    for answer in row.answers.values():
        yield from answer.shapes


Schemas = Mapping[Any, JsonObject]


def _operation(row: Row, tag: str, schema_of: Schemas) -> JsonObject:
    answers = {str(status): _answer(answer, schema_of) for status, answer in row.answers.items()}
    problems = {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in statuses_of(row)}
    operation: JsonObject = {"operationId": row.id, "summary": row.words.removesuffix("."), "tags": [tag]}
    if parameters := [*_parameters(row)]:
        operation["parameters"] = parameters
    if row.body:
        operation["requestBody"] = _body(row.body, schema_of)
    if row.right is None:
        operation["security"] = []
    else:
        operation[RIGHT] = row.right
    return {**operation, "responses": dict(sorted({**answers, **problems}.items()))}


def _parameters(row: Row) -> Iterator[JsonObject]:
    for place, parameters in (("path", row.in_path), ("query", row.query), ("header", row.headers)):
        for parameter in parameters:
            yield _parameter(parameter, place)


def _parameter(parameter: Parameter, place: str) -> JsonObject:
    required: JsonObject = {"required": True} if place == "path" else {}
    return {"name": parameter.name, "in": place, "description": parameter.words, **required, "schema": parameter.schema}


def _body(body: Body, schema_of: Schemas) -> JsonObject:
    return {"required": body.required, "content": _content(body.media_types, body.shapes, schema_of)}


def _answer(answer: Answer, schema_of: Schemas) -> JsonObject:
    response: JsonObject = {"description": answer.words}
    if answer.headers:
        response["headers"] = {
            name: {"description": words, "schema": {"type": "string"}} for name, words in answer.headers.items()
        }
    if answer.shapes:
        response["content"] = _content(answer.media_types, answer.shapes, schema_of)
    return response


def _content(media_types: Iterable[str], shapes: Sequence[Any], schema_of: Schemas) -> JsonObject:
    schemas = [schema_of[shape] for shape in shapes]
    schema: JsonObject = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {media_type: {"schema": schema} if media_type.endswith("json") else {} for media_type in media_types}


def _problems(rows: Iterable[Row], schema_of: Schemas) -> Iterator[tuple[str, JsonObject]]:
    for status in sorted({status for row in rows for status in statuses_of(row)}):
        content = {PROBLEM: {"schema": schema_of[Problem]}}
        yield f"Problem{status}", {"description": HTTPStatus(status).phrase, "content": content}
