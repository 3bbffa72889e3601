"""The upstream paths that nodes get are those that the routes make: conformance/upstream_paths.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2
from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Api, from_document
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_documents.values import JsonObject

TABLE = Path(__file__).parents[3] / "conformance" / "upstream_paths.json"
CASES: list[dict[str, Any]] = json.loads(TABLE.read_text())["cases"]


def api_of(case: dict[str, Any], **spec: Any) -> Api:
    operation: JsonObject = {
        "method": "GET",
        "path": case["path"],
        **{key: case[key] for key in ("rewrite", "split") if key in case},
    }
    return from_document({
        "apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": "one"},
        "spec": {
            "version": "v1", "context": case["context"], "operations": [operation],
            "upstream": {name: {"url": url} for name, url in case["upstreams"].items()},
            "policies": [{"name": "log-message", "version": "v1", "params": {}}], **spec,
        },
    })  # fmt: skip


def row(message: node_pb2.UpstreamPath) -> JsonObject:
    shown: JsonObject = {"upstream": message.upstream, "base": message.base}
    return {**shown, "pattern": message.pattern, "substitution": message.substitution} if message.pattern else shown


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_nodes_get_what_routes_do(case: dict[str, Any], definitions: Definitions) -> None:
    message = translate(api_of(case), definitions, EdgeSettings()).message
    (chain,) = [chain for chain in message.chains if chain.operation.startswith("GET ")]
    assert [row(path) for path in chain.upstream_paths] == case["rows"]
    routes = [route_components_pb2.Route.FromString(text) for text in (*message.routes, *message.chosen_routes)]
    rewrites = {route.route.cluster: route.route.regex_rewrite for route in routes if route.HasField("route")}
    for path, _, wanted in case["paths"]:
        if wanted is not None:
            made = {_rewritten(rewrite, path) for rewrite in rewrites.values()}
            assert wanted in made
            assert len(rewrites) > 1 or made == {wanted}


def _rewritten(rewrite: Any, path: str) -> str:
    return re.sub(rewrite.pattern.regex, rewrite.substitution, path) if rewrite.pattern.regex else path


@pytest.mark.parametrize("action", [{"redirect": {"path": "/x"}}, {"answer": {"status": 204}}])
def test_an_operation_without_an_upstream_has_no_upstream_paths(action: JsonObject, definitions: Definitions) -> None:
    made = api_of({**CASES[0]}, operations=[{"method": "GET", "path": "/*", **action}])
    chains = translate(made, definitions, EdgeSettings()).message.chains
    assert chains
    assert not [chain for chain in chains if chain.upstream_paths]


def test_another_base_path_is_another_chain(definitions: Definitions) -> None:
    """Envoy's routes and the upstream path that policies see change together."""
    case = CASES[0]
    other = {**case, "upstreams": {"main": "http://a/other"}}
    loose = api_of(case, strictPaths=False)
    ids = [
        {chain.id for chain in translate(api, definitions, EdgeSettings()).message.chains if "GET" in chain.operation}
        for api in (api_of(case), api_of(other), loose)
    ]
    assert len(set.union(*ids)) == 3
