"""Headers that policies set on requests have no `_` in their names: an upstream that makes variables of headers takes
`x_owner` for the `x-owner` that a client may send beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gatewright_documents.document import read_file
from gatewright_documents.schema import Schema
from gatewright_documents.values import JsonObject, JsonValue

ROOT = Path(__file__).parents[2]
FILES = [*ROOT.glob("policies/*/policy-definition.yaml"), *ROOT.glob("sample-policies/*/policy-definition.yaml")]
SETTING: list[tuple[str, Callable[[str], JsonObject]]] = [
    ("add-headers", lambda name: {"requestHeaders": [{"name": name, "value": "a"}]}),
    ("add-python-header", lambda name: {"headerName": name}),
    ("api-key-auth", lambda name: {"ownerHeader": name}),
    ("basic-auth", lambda name: {"userHeader": name}),
    ("jwt-auth", lambda name: {"claimHeaders": {name: "email"}}),
    ("mtls-auth", lambda name: {"headers": [{"name": name, "value": "subject"}]}),
    ("oauth2-introspection", lambda name: {"claimHeaders": {name: "email"}}),
    ("oidc-login", lambda name: {"claimHeaders": {name: "email"}}),
    ("request-id", lambda name: {"header": name}),
    ("set-headers", lambda name: {"request": {"set": [{"name": name, "value": "a"}]}}),
    ("set-headers", lambda name: {"request": {"append": [{"name": name, "value": "a"}]}}),
]
OTHERS = {  # parameters whose headers no request to an upstream gets: read, removed, or of a response
    "add-headers": {"responseHeaders"},
    "api-key-auth": {"header", "cookie"},
    "choose-upstream": {"header"},
    "cors": {"allowHeaders", "exposeHeaders"},
    "hmac-auth": {"generic"},
    "jwt-auth": {"token"},
    "llm-cache": {"headers"},
    "pii-mask": {"headers"},
    "python-deny": {"headerName"},
    "respond": {"headers"},
    "response-cache": {"vary", "purge"},
    "set-headers": {"response", "request"},  # of the request only what is removed, which SETTING has the rest of
}


def schema_of(policy: str) -> JsonObject:
    (file,) = (file for file in FILES if file.parent.name == policy)
    document = read_file(file, file.name).value
    assert isinstance(document, dict)
    parameters = document.get("parameters", {})
    assert isinstance(parameters, dict)
    return parameters


def refused(policy: str, params: JsonObject) -> list[str]:
    """The mistakes that the schema finds in header names. Missing parameters are left out."""
    mistakes = map(str, Schema(schema_of(policy)).parameter_mistakes(params, "params"))
    return [mistake for mistake in mistakes if "header's name" in mistake]


@pytest.mark.parametrize(("policy", "params"), SETTING, ids=[policy for policy, _ in SETTING])
def test_a_header_that_may_be_taken_for_another_is_refused(policy: str, params: Callable[[str], JsonObject]) -> None:
    assert not refused(policy, params("x-owner"))
    (mistake,) = refused(policy, params("x_owner"))
    assert "expected a header's name without _" in mistake


def patterns(schema: JsonValue, root: JsonObject) -> Iterator[str]:
    """The patterns that the schema has for a value, at any depth and through references."""
    match schema:
        case dict():
            reference = schema.get("$ref")
            if isinstance(reference, str):
                yield from patterns(definition(root, reference), root)
            for name, value in schema.items():
                if name == "pattern" and isinstance(value, str):
                    yield value
                yield from patterns(value, root)
        case list():
            for value in schema:
                yield from patterns(value, root)


def definition(root: JsonObject, reference: str) -> JsonValue:
    definitions = root["$defs"]
    assert isinstance(definitions, dict)
    return definitions[reference.removeprefix("#/$defs/")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_parameters_that_may_name_such_a_header_are_known(file: Path) -> None:
    """A parameter with a token that may have `_` is in OTHERS; what sets a header of a request is in SETTING."""
    policy = file.parent.name
    root = schema_of(policy)
    parameters = root.get("properties", {})
    assert isinstance(parameters, dict)
    taking = {
        name for name, schema in parameters.items() if any("^_`|~" in pattern for pattern in patterns(schema, root))
    }
    setting = {name for name_of, params in SETTING if name_of == policy for name in params("x-owner")}
    assert taking - setting == OTHERS.get(policy, set()) - setting
