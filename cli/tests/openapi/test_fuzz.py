"""Arbitrary OpenAPI documents: `make fuzz`."""

from __future__ import annotations

import contextlib
import json

from gatewright_cli.openapi import Choices, export_openapi, import_openapi
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = TEXT | st.sampled_from(
    ["url", "variables", "default", "$ref", "get", "post", "trace", "security", "summary", "title", "version", "/",
     "/a", "/{b}", "components", "securitySchemes", "type", "servers", "a"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT
    | st.sampled_from(["#/paths/~1a", "#/paths/~1", "#/components", "http", "http://a.example/{a}", "apiKey"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
PATHS = st.dictionaries(st.sampled_from(["/", "/a", "/{b}", "/a/{b}.{c}"]) | TEXT, VALUES, max_size=4)
DOCUMENTS = st.fixed_dictionaries(
    {"openapi": st.just("3.1.0")},
    optional={"info": VALUES, "servers": VALUES, "paths": PATHS | VALUES, "security": VALUES, "components": VALUES},
)


@given(DOCUMENTS, st.sampled_from([None, "http://a.example"]), st.sampled_from([None, "pets"]))
def test_any_document_is_imported_or_refused(document: JsonObject, upstream: str | None, name: str | None) -> None:
    try:
        text = import_openapi(json.dumps(document).encode(), "any.json", Choices(name=name, upstream=upstream)).text
    except Invalid:
        return
    api = parse_yaml(text.encode())
    validate(api, Definitions(), {})
    export_openapi(api)


@given(st.binary(max_size=200) | st.builds(lambda text: b"openapi: 3.0.0\n" + text, st.binary(max_size=100)))
def test_any_bytes_are_imported_or_refused(body: bytes) -> None:
    with contextlib.suppress(Invalid):
        import_openapi(body, "any.yaml", Choices())
