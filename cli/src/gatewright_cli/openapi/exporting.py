"""An `Api` resource as an OpenAPI 3.1 document for the clients of the API.

It has what clients see: paths below the context, methods, parameters of paths. It has no upstreams and policies.
"""

from __future__ import annotations

import re

from gatewright_controller.model import Api
from gatewright_controller.resource.paths import Kind, PathSyntaxError, PathTemplate, context_of, parse_path
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject

OPENAPI_VERSION = "3.1.1"
WORD = re.compile(r"[A-Za-z0-9]+")


def export_openapi(document: JsonObject, server: str = "") -> JsonObject:
    """The OpenAPI document of an `Api` document. server: the gateway's URL as clients know it; without one, the
    document's server is the context alone.

    Raises `Invalid` if the `Api` document is not valid.
    """
    mistakes = list(mistakes_of(Api, document))
    if mistakes:
        raise Invalid(mistakes)
    name, spec = document["metadata"]["name"], document["spec"]
    context = context_of(spec["context"], spec["version"])
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": spec.get("displayName", name), "version": spec["version"]},
        "servers": [{"url": (server.rstrip("/") + context.rstrip("/")) or "/"}],
        "tags": [{"name": name}],
        "paths": _paths(spec["operations"], name),
    }


def _paths(operations: list[JsonObject], tag: str) -> JsonObject:
    paths: dict[str, JsonObject] = {}
    spelled: dict[PathTemplate, str] = {}
    ids: set[str] = set()
    for index, operation in enumerate(operations):
        template = _template(operation["path"], index)
        path = spelled.setdefault(
            template.shape, operation["path"]
        )  # in OpenAPI, two paths that differ in names alone are one
        item = paths.setdefault(path, _item(parse_path(path)))
        method = operation["method"].lower()
        if method in item:
            got = f"{operation['method']} {path} again"
            raise Invalid([Mistake(f"spec.operations[{index}]", f"expected each route once, got {got}")])
        item[method] = {
            "operationId": _operation_id(method, template, ids),
            "tags": [tag],
            "responses": {"default": {"description": "What the upstream, or a policy, answers"}},
        }
    return paths


def _template(path: str, index: int) -> PathTemplate:
    try:
        return parse_path(path)
    except PathSyntaxError as error:
        raise Invalid([Mistake(f"spec.operations[{index}].path", str(error))]) from None


def _item(template: PathTemplate) -> JsonObject:
    item: JsonObject = {}
    if template.ends_in_wildcard:
        item["description"] = "`*` stands for everything below, which OpenAPI has no word for."
    names = [part.text for part in template.segments if part.kind is Kind.PARAMETER]
    if names:
        item["parameters"] = [_parameter(name) for name in names]
    return item


def _parameter(name: str) -> JsonObject:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _operation_id(method: str, template: PathTemplate, ids: set[str]) -> str:
    """`getOrdersById` for GET /orders/{id}; with a number appended if another operation has that id."""
    parts = [method]
    for segment in template.segments:
        words = "".join(word[0].upper() + word[1:] for word in WORD.findall(segment.text))
        parts.append({Kind.LITERAL: words, Kind.PARAMETER: f"By{words}", Kind.WILDCARD: "Below"}[segment.kind])
    name = unique = "".join(parts)
    number = 1
    while unique in ids:
        number += 1
        unique = f"{name}{number}"
    ids.add(unique)
    return unique
