"""What nodes are sent of an API that is attached to routes of other Envoys."""

from __future__ import annotations

from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.translate import translate
from gatewright_controller.translate.route_summaries import summarize_routes
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject

from .test_envoy import SETTINGS

LOG = {"name": "log-message", "version": "v1"}
SHOP: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Api",
    "metadata": {"name": "shop"},
    "spec": {
        "version": "v1",
        "context": "/shop",
        "attachTo": ["shop", "httproute/web/shop/*"],
        "operations": [
            {"method": "GET", "path": "/items/{id}", "policies": [LOG]},
            {"method": "POST", "path": "/open"},
        ],
    },
}


def test_there_are_chains_and_a_table_and_nothing_of_envoy(definitions: Definitions) -> None:
    bundle = translate(validate(SHOP, definitions, {}), definitions, SETTINGS).message
    assert list(bundle.attached_to) == ["httproute/web/shop/*", "shop"]
    envoys = bundle.routes, bundle.clusters, bundle.chosen_routes, bundle.first_route, bundle.hosts, bundle.listeners
    assert not any(envoys)
    (chain,) = bundle.chains
    rows = {row.operation: row.chain for row in bundle.operations.rows if not row.HasField("answer")}
    assert rows == {"GET /items/{id}": chain.id, "POST /open": ""}
    assert not any(row.websocket for row in bundle.operations.rows)
    assert not chain.upstreams
    assert not chain.upstream_paths


def test_one_that_cannot_be_run_takes_no_requests_of_the_nodes_own_envoy(definitions: Definitions) -> None:
    bundle = translate(validate(SHOP, definitions, {}), definitions, SETTINGS)
    assert list(bundle.unserved("why").message.attached_to) == ["httproute/web/shop/*", "shop"]


def test_a_plan_says_that_the_other_envoy_decides(definitions: Definitions) -> None:
    summaries = summarize_routes(validate(SHOP, definitions, {}), definitions, SETTINGS)
    assert {summary.target for summary in summaries} == {"goes where the attached Envoy sends it"}
