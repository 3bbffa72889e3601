"""A policy's parameter that names an upstream names one of the API's."""

from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_controller.resource.definitions import Definitions, load_definitions
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

POLICIES = Path(__file__).parents[3] / "policies"
ROUTE = "llm-route"
SERVERS = "mcp-servers"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    """The policies that name upstreams, as they ship."""
    folder = tmp_path_factory.mktemp("definitions")
    for name in (ROUTE, SERVERS):
        definition = (POLICIES / name / "policy-definition.yaml").read_text()
        (folder / f"{name}.yaml").write_text(definition)
    return load_definitions(folder)


def mistakes(document: JsonObject, definitions: Definitions) -> list[str]:
    try:
        validate(document, definitions, {}, is_written=True)
    except Invalid as invalid:
        return list(map(str, invalid.mistakes))
    return []


def routed(document: JsonObject, *upstreams: str) -> JsonObject:
    document["spec"]["policies"] = []
    targets = [{"upstream": upstream} for upstream in upstreams]
    params: JsonObject = {"models": [{"names": ["gpt-4o"], "targets": targets}]}
    policies = [{"name": ROUTE, "version": "v1", "params": params}]
    document["spec"]["operations"] = [{"method": "POST", "path": "/chat", "policies": policies}]
    return document


def served(document: JsonObject, *servers: JsonObject) -> JsonObject:
    params: JsonObject = {"servers": [{"url": "http://tools/mcp", **server} for server in servers]}
    document["spec"]["operations"] = [{"method": "POST", "path": "/mcp"}]
    document["spec"]["policies"] = [{"name": SERVERS, "version": "v1", "params": params}]
    return document


def test_an_upstream_that_the_api_lacks_is_refused(orders: JsonObject, shipped: Definitions) -> None:
    assert mistakes(routed(orders, "main"), shipped) == []
    assert mistakes(routed(orders, "main", "openai"), shipped) == [
        "spec.operations[0].policies[0].params.models[0].targets[1].upstream: "
        "expected one of the API's upstreams (main), got 'openai'; name one of them, or add 'openai' to spec.upstream"
    ]


def test_without_a_name_it_is_another_parameter(orders: JsonObject, shipped: Definitions) -> None:
    """A server's upstream has the server's name where none is written, and only there."""
    assert mistakes(served(orders, {"name": "github", "upstream": "main"}, {"name": "main"}), shipped) == []
    assert mistakes(served(orders, {"name": "github"}), shipped) == [
        "spec.policies[0].params.servers[0].name: expected one of the API's upstreams (main), got 'github'; "
        "name one of them, or add 'github' to spec.upstream"
    ]


def test_an_api_without_upstreams_has_none_to_name(orders: JsonObject, shipped: Definitions) -> None:
    del orders["spec"]["upstream"]
    orders["spec"]["attachTo"] = ["orders"]
    assert [mistake for mistake in mistakes(routed(orders, "main"), shipped) if "params" in mistake] == [
        "spec.operations[0].policies[0].params.models[0].targets[0].upstream: "
        "expected none: the API has no upstreams, got 'main'; remove the policy"
    ]


def test_an_api_of_a_former_release_is_read(orders: JsonObject, shipped: Definitions) -> None:
    assert validate(routed(orders, "openai"), shipped, {})
