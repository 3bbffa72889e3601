"""APIs as OpenAPI documents, and back."""

from __future__ import annotations

import json

import pytest
from gatewright_cli.openapi import Choices, export_openapi, import_openapi
from gatewright_controller.model import Operation
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.paths import PathSyntaxError, PathTemplate, parse_path
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml
from hypothesis import assume, given
from hypothesis import strategies as st

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def api(*routes: tuple[str, str], **fields: object) -> JsonObject:
    operations = [{"method": method, "path": path} for method, path in routes]
    spec: JsonObject = {
        "version": "v1.0",
        "context": "/orders/$version",
        "upstream": {"main": {"url": "http://secret.internal"}},
    }
    spec |= {"policies": [{"name": "guard", "version": "v1"}], "operations": operations, **fields}
    return {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": "orders"}, "spec": spec}


def test_an_api_becomes_this_document() -> None:
    made = export_openapi(
        api(("GET", "/"), ("GET", "/{id}"), ("PUT", "/{number}"), ("GET", "/files/*")), "https://gw.example/"
    )
    answer = {"default": {"description": "What the upstream, or a policy, answers"}}
    id_parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}

    def operation(name: str) -> JsonObject:
        return {"operationId": name, "tags": ["orders"], "responses": answer}

    assert made == {
        "openapi": "3.1.1",
        "info": {"title": "orders", "version": "v1.0"},
        "servers": [{"url": "https://gw.example/orders/v1.0"}],
        "tags": [{"name": "orders"}],
        "paths": {
            "/": {"get": operation("get")},
            "/{id}": {"parameters": [id_parameter], "get": operation("getById"), "put": operation("putByNumber")},
            "/files/*": {
                "description": "`*` stands for everything below, which OpenAPI has no word for.",
                "get": operation("getFilesBelow"),
            },
        },
    }


def test_upstreams_and_policies_stay_inside() -> None:
    text = json.dumps(export_openapi(api(("GET", "/{id}"))))
    assert "secret" not in text
    assert "guard" not in text


def test_ids_differ() -> None:
    paths = export_openapi(api(("GET", "/a-b"), ("GET", "/a/b"), ("GET", "/a_b")))["paths"]
    assert [item["get"]["operationId"] for item in paths.values()] == ["getAB", "getAB2", "getAB3"]


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (api(), "spec.operations: "),
        (api(("GET", "/a%2Fb")), "spec.operations[0].path: expected no escaped slash"),
        (api(("GET", "/{a}"), ("GET", "/{b}")), "spec.operations[1]: expected each route once, got GET /{a} again"),
        (api(("GET", "/"), colour="red"), "spec.colour: "),
    ],
)
def test_an_invalid_api_is_refused(document: JsonObject, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        export_openapi(document)
    assert str(caught.value.mistakes[0]).startswith(sentence)


SEGMENT = st.from_regex(r"[A-Za-z0-9\-._~!$&'()+,;=:@]{1,6}|%[0-9A-F]{2}|\{[A-Za-z_][a-z0-9_-]{0,3}\}", fullmatch=True)
PATHS = st.builds(
    lambda segments, end: "/" + "/".join(segments) + (end if segments else ""),
    st.lists(SEGMENT, max_size=4),
    st.sampled_from(["", "/", "/*"]),
)


@given(st.lists(st.tuples(st.sampled_from(METHODS), PATHS), min_size=1, max_size=8), st.booleans())
def test_an_exported_and_imported_api_has_the_same_operations(routes: list[tuple[str, str]], strict: bool) -> None:
    document = api(*routes, strictPaths=strict, policies=[])
    try:
        before = validate(document, Definitions(), {})
    except (Invalid, PathSyntaxError):
        assume(False)
    text = json.dumps(export_openapi(document)).encode()
    back = parse_yaml(
        import_openapi(text, "api.json", Choices(upstream="http://a.example", strict_paths=strict)).text.encode()
    )
    after = validate(back, Definitions(), {})
    assert routes_of(after.spec.operations) == routes_of(before.spec.operations)
    assert after.spec.context == "/orders/v1.0"
    assert after.spec.version == before.spec.version


def routes_of(operations: list[Operation]) -> set[tuple[str, PathTemplate]]:
    return {(operation.method, parse_path(operation.path).shape) for operation in operations}
