"""/v1/openapi.json and /v1/schemas: what this API is, for programs. It is the same for all clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from gatewright_documents.mistake import listed
from gatewright_documents.values import JsonObject
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import JSON, Answer, Parameter, Part, Row
from gatewright_controller.resource.editor_schemas import SCHEMAS

SCHEMA_JSON = "application/schema+json"
CACHED = {"cache-control": "no-cache"}


class DocumentEndpoints:
    """make: the OpenAPI document, once it is asked for."""

    def __init__(self, make: Callable[[], JsonObject]) -> None:
        self._make = make
        self._document = b""

    async def openapi(self, _: Request) -> Response:
        """The document that is made of the table."""
        if not self._document:
            self._document = await asyncio.to_thread(lambda: msgspec.json.encode(self._make()))
        return Response(self._document, media_type=JSON, headers=CACHED)

    async def schema(self, request: Request) -> Response:
        """The JSON Schema of a kind of document; 404."""
        kind = request.path_params["kind"]
        if kind not in SCHEMAS:
            raise Problem(404, f"expected one of {listed(sorted(SCHEMAS))}, got {kind!r}")
        schema = await asyncio.to_thread(lambda: msgspec.json.encode(SCHEMAS[kind]()))
        return Response(schema, media_type=SCHEMA_JSON, headers=CACHED)


PART = Part(
    "This API",
    DocumentEndpoints,
    (
        Row(
            "getOpenApi",
            "GET",
            "/v1/openapi.json",
            DocumentEndpoints.openapi,
            None,
            "This document (OpenAPI 3.1).",
            {200: Answer("The document.", (dict,))},
        ),
        Row(
            "getSchema",
            "GET",
            "/v1/schemas/{kind}.json",
            DocumentEndpoints.schema,
            None,
            "The JSON Schema of a kind of document, for editors.",
            {200: Answer("The schema.", (dict,), (SCHEMA_JSON,))},
            in_path=(Parameter("kind", {"enum": sorted(SCHEMAS)}, "Of document."),),
            refusals=(404,),
        ),
    ),
)
