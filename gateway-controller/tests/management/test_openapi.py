"""The document of the API is valid, and what the controller answers is what the document says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
from gatewright_controller.management.openapi import openapi, statuses_of
from gatewright_controller.management.rows import JSON, Row
from gatewright_controller.management.shapes.examples import EXAMPLES
from gatewright_controller.management.table import PARTS, ROWS
from gatewright_controller.model import Api, Gateway
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.editor_schemas import SCHEMAS
from gatewright_controller.validation import validate
from gatewright_controller.validation.gateway import validate_gateway
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def document() -> JsonObject:
    made: JsonObject = json.loads(msgspec.json.encode(openapi(PARTS)))
    return made


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


def test_the_document_is_valid(document: JsonObject) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # takes 0.5 s, in each process that collects tests

    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    broken = {**document, "paths": {"v1": {}}}
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


def test_it_has_each_row_with_its_statuses_and_its_right(document: JsonObject) -> None:
    for row in ROWS:
        operation = document["paths"][row.path.replace(":text", "")][row.method.lower()]
        assert operation["operationId"] == row.id
        assert {int(status) for status in operation["responses"]} == {*row.answers, *statuses_of(row)}
        assert operation.get("x-gatewright-right") == row.right
        assert (operation.get("security") == []) is (row.right is None)
        names = [parameter["name"] for parameter in operation.get("parameters", [])]
        assert names == [parameter.name for parameter in (*row.in_path, *row.query, *row.headers)]
    assert sum(len(methods) for methods in document["paths"].values()) == len(ROWS)


def test_shapes_have_plain_names_and_all_of_them_are_used(document: JsonObject) -> None:
    names = set(document["components"]["schemas"])
    assert {name for name in names if not re.fullmatch("[A-Z][A-Za-z]+", name)} == set()
    assert names == {place.rpartition("/")[2] for place in references(document) if "/schemas/" in place}


def test_no_keyword_of_our_own_is_left_in_a_schema(document: JsonObject) -> None:
    assert {key for key in keys(document) if key.startswith("x-")} == {"x-gatewright-right"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_its_shape_asks_for(document: JsonObject, name: str) -> None:
    schema = {**document["components"]["schemas"][name], "components": document["components"]}
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(EXAMPLES[name])


def test_the_examples_of_resources_can_be_written(definitions: Definitions) -> None:
    assert isinstance(validate(EXAMPLES["Api"], definitions, {}), Api)
    assert isinstance(validate_gateway(EXAMPLES["Gateway"]), Gateway)


async def test_the_document_is_served_to_every_client(client: httpx.AsyncClient, document: JsonObject) -> None:
    served = await client.get("/v1/openapi.json")
    assert (served.status_code, served.headers["content-type"]) == (200, JSON)
    assert served.json() == document


@pytest.mark.parametrize("kind", SCHEMAS)
async def test_the_schema_of_each_kind_is_served(client: httpx.AsyncClient, kind: str) -> None:
    served = await client.get(f"/v1/schemas/{kind}.json")
    assert (served.status_code, served.headers["content-type"]) == (200, "application/schema+json")
    assert served.json() == json.loads(msgspec.json.encode(SCHEMAS[kind]()))


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/recordings", {"seconds": 60.0}, "seconds"),
        ("POST", "/v1/requests", {"path": "/", "seconds": 30.0}, "seconds"),
        ("PUT", "/v1/gateway", {**EXAMPLES["Gateway"], "spec": {"listeners": [{"name": "a", "port": 8080.0}]}}, "port"),
    ],
)
async def test_a_whole_number_with_a_decimal_point_is_a_mistake(
    client: httpx.AsyncClient, method: str, path: str, body: JsonObject, field: str
) -> None:
    """JSON Schema takes 60.0 for an integer, msgspec does not: it was a fault of the controller."""
    refused = await client.request(method, path, json=body)
    assert refused.status_code == 422
    (mistake,) = refused.json()["errors"]
    assert mistake["field"].endswith(field)
    assert mistake["message"] == "expected a whole number, got one with a decimal point; write 2, not 2.0"


async def test_an_unknown_kind_is_refused_with_the_known_ones(client: httpx.AsyncClient) -> None:
    refused = await client.get("/v1/schemas/route.json")
    assert refused.status_code == 404
    known = (
        "api, consumer, defaults, exchange-filter, gateway, namespace, nodegateway, plan, policy-definition or secret"
    )
    assert refused.json()["detail"] == f"expected one of {known}, got 'route'"


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.body and JSON in row.body.media_types], ids=lambda row: row.id
)
def test_bodies_that_are_documented_are_read_by_their_shapes(row: Row) -> None:
    """A shape refuses what its schema refuses: both are made of one struct."""
    assert row.body
    for shape in row.body.shapes:
        assert list(mistakes_of(shape, {"surely-unknown": 1}))
