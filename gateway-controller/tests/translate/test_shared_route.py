"""Operations that share a route: which do, and what the route says. test_matches.py compares what the engine finds
there with what Envoy finds by routes of their own."""

from __future__ import annotations

import pytest
from envoy.config.route.v3 import route_components_pb2
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.translate import translate
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject, JsonValue

from .test_envoy import SETTINGS, api

LOG = {"name": "log-message", "version": "v1"}
BODY = {"name": "rewrite-body", "version": "v1"}
SKIPS = {**LOG, "onError": "continue"}
OPERATIONS: list[JsonObject] = [{"method": "GET", "path": "/items/{id}"}, {"method": "POST", "path": "/items"}]


def of_items(second: JsonObject | None = None, **spec: JsonValue) -> JsonObject:
    """An API with policies and two operations. second: more of the second one."""
    operations: list[JsonObject] = [OPERATIONS[0], {**OPERATIONS[1], **(second or {})}]
    written = api("items", "/items/v1", "http://10.0.0.1/api", operations, policies=[LOG])
    return written | {"spec": written["spec"] | spec}


TWO_POOLS: JsonObject = {"main": {"url": "http://10.0.0.1"}, "canary": {"url": "http://10.0.0.2"}}


@pytest.mark.parametrize(
    ("document", "shares"),
    [
        pytest.param(of_items(), True, id="the same but for paths and methods"),
        pytest.param(of_items({"policies": [LOG]}), True, id="another chain"),
        pytest.param(of_items(context="/"), True, id="the root"),
        pytest.param(of_items(strictPaths=True, rewrite={"prefix": "/v2"}), True, id="settings of the API"),
        pytest.param(of_items({"headers": [{"name": "x-a", "exact": "1"}]}), True, id="other matches"),
        pytest.param(of_items(policies=[BODY], websocket=False), True, id="bodies in all chains"),
        pytest.param(of_items(policies=[]), False, id="no policies"),
        pytest.param(of_items({"policies": [LOG]}, policies=[]), False, id="policies in one operation"),
        pytest.param(of_items({"policies": [BODY]}), False, id="a body in one chain"),
        pytest.param(of_items({"streamTimeout": "3s"}), False, id="another time"),
        pytest.param(of_items({"rewrite": {"path": "/things"}}), False, id="another path upstream"),
        pytest.param(of_items({"idleTimeout": "90s"}), False, id="another idle time"),
        pytest.param(of_items({"policies": [LOG]}, idleTimeout="90s"), True, id="another chain, and an idle time"),
        pytest.param(of_items({"answer": {"status": 200}}), False, id="an answer"),
        pytest.param(of_items({"redirect": {"host": "other.example"}}), False, id="a redirect"),
        pytest.param(of_items(policies=[SKIPS]), False, id="requests that go on without the engine"),
        pytest.param(of_items(upstream=TWO_POOLS), False, id="policies that may choose"),
        pytest.param(of_items(websocket={"idleTimeout": "1200s"}), False, id="WebSockets with a time of their own"),
    ],
)
def test_operations_share_a_route_where_only_chains_differ(
    definitions: Definitions, document: JsonObject, *, shares: bool
) -> None:
    bundle = translate(validate(document, definitions, {}), definitions, SETTINGS).message
    assert bundle.HasField("operations") == shares
    assert (len(bundle.routes) == 1, bundle.first_route == b"") == (shares, shares)


def test_only_a_get_may_open_a_websocket(definitions: Definitions) -> None:
    bundle = translate(validate(of_items(), definitions, {}), definitions, SETTINGS).message
    allowed = {row.operation for row in bundle.operations.rows if row.websocket}
    (route,) = map(route_components_pb2.Route.FromString, bundle.routes)
    assert (allowed, len(route.route.upgrade_configs)) == ({"GET /items/{id}"}, 1)


def test_the_idle_time_has_room_for_the_policies_of_each_operation(definitions: Definitions) -> None:
    slow = {"policies": [{**LOG, "timeout": "7s"}]}
    bundle = translate(validate(of_items(slow), definitions, {}), definitions, SETTINGS).message
    (route,) = map(route_components_pb2.Route.FromString, bundle.routes)
    assert route.route.idle_timeout.ToMilliseconds() == 68_000


def test_another_table_has_another_id(definitions: Definitions) -> None:
    """A request that Envoy sends by the old name must not meet the new operations."""
    ids = set()
    for document in (of_items(), of_items({"headers": [{"name": "x-a", "exact": "1"}]}), of_items({"policies": [LOG]})):
        bundle = translate(validate(document, definitions, {}), definitions, SETTINGS).message
        ids.add(bundle.operations.id)
    assert len(ids) == 3
