"""Lists come in pages, and by filters."""

from __future__ import annotations

import copy
from collections.abc import Callable

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.nodes.node import Node
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
Connect = Callable[[Controller], Node]


@pytest.fixture
async def five(client: httpx.AsyncClient, orders: JsonObject) -> list[str]:
    """The names of five APIs that are stored."""
    names = [f"{kind}-{number}" for kind in ("orders", "users") for number in (1, 2)] + ["orders-10"]
    for name in names:
        document = copy.deepcopy(orders)
        document["metadata"]["name"] = name
        document["spec"]["context"] = f"/{name}"
        assert (await client.post("/v1/apis", json=document)).status_code == 201
    return sorted(names)


async def followed(client: httpx.AsyncClient, path: str, member: str, key: str) -> list[list[str]]:
    """The names in each page, from the first to the last."""
    pages, at = [], path
    while at:
        answer = await client.get(at)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        named = [item["metadata"] if member == "apis" else item for item in body[member]]
        pages.append([item[key] for item in named])
        at = body.get("next", "")
    return pages


async def test_all_are_in_one_page_unless_the_client_says_otherwise(client: httpx.AsyncClient, five: list[str]) -> None:
    assert await followed(client, "/v1/apis", "apis", "name") == [five]
    assert await followed(client, "/v1/apis?limit=2", "apis", "name") == [five[:2], five[2:4], five[4:]]
    assert await followed(client, "/v1/apis?limit=5", "apis", "name") == [five]


async def test_the_next_page_has_the_same_filters_and_does_not_wait_again(
    client: httpx.AsyncClient, five: list[str]
) -> None:
    assert len(five) == 5
    first = (await client.get("/v1/apis", params={"limit": "1", "name": "orders-*", "wait": "0.01"})).json()
    assert first["next"] == "/v1/apis?limit=1&name=orders-%2A&after=orders-1"
    pages = await followed(client, first["next"], "apis", "name")
    assert pages == [["orders-10"], ["orders-2"]]


async def test_what_comes_and_goes_between_two_pages_moves_no_other(
    client: httpx.AsyncClient, five: list[str], orders: JsonObject
) -> None:
    following = (await client.get("/v1/apis?limit=2")).json()["next"]
    assert (await client.delete(f"/v1/apis/{five[1]}")).status_code == 204
    orders["metadata"]["name"] = "a-first-one"
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    assert await followed(client, following, "apis", "name") == [five[2:4], five[4:]]


async def test_apis_are_found_by_their_state(
    client: httpx.AsyncClient, five: list[str], controller: Controller, connect: Connect
) -> None:
    node = connect(controller)
    update = controller.deployment.next_update(node)
    applied = node_pb2.ApiStatus.STATE_APPLIED
    (bundle,) = [bundle for bundle in update.bundles if bundle.api == "users-1"]
    status = node_pb2.ApiStatus(api="users-1", digest=bundle.digest, state=applied)
    controller.deployment.report(node, node_pb2.Report(apis=[status]))
    assert await followed(client, "/v1/apis?state=deployed", "apis", "name") == [["users-1"]]
    others = [name for name in five if name != "users-1"]
    assert await followed(client, "/v1/apis?state=pending&limit=3", "apis", "name") == [others[:3], others[3:]]
    assert await followed(client, "/v1/apis?state=rejected", "apis", "name") == [[]]


async def test_apis_are_found_by_labels_and_owner(client: httpx.AsyncClient, orders: JsonObject) -> None:
    for name, labels, owner in (
        ("a", {"team": "payments", "tier": "gold"}, "shop"),
        ("b", {"team": "payments"}, ""),
        ("c", {"team": "search"}, "shop"),
        ("d", {}, ""),
    ):
        document = copy.deepcopy(orders)
        document["metadata"] = {"name": name, "labels": labels}
        document["spec"]["context"] = f"/{name}"
        answer = await client.post("/v1/apis", json=document, params={"owner": owner} if owner else {})
        assert answer.status_code == 201, answer.text
        assert answer.json()["metadata"] == ({"name": name, "labels": labels} if labels else {"name": name})
    for query, names in (
        ("label=team=payments", ["a", "b"]),
        ("label=team", ["a", "b", "c"]),
        ("label=team=payments&label=tier=gold", ["a"]),
        ("label=team=none", []),
        ("label=tea", []),
        ("owner=shop", ["a", "c"]),
        ("owner=shop&label=team=search&name=c*&state=pending", ["c"]),
        ("owner=nil", []),
    ):
        assert await followed(client, f"/v1/apis?{query}", "apis", "name") == [names], query
    pages = await followed(client, "/v1/apis?label=team=payments&limit=1", "apis", "name")
    assert pages == [["a"], ["b"]], "expected the next page to have the filter"
    for query, expected in (
        ("label=Team", "expected label to be KEY=VALUE or KEY, such as team=payments, got 'Team'"),
        ("label=team=", "expected label to be KEY=VALUE or KEY, such as team=payments, got 'team='"),
        ("owner=A%20B", "expected owner to be a name of at most 63 of a-z, 0-9"),
    ):
        refused = await client.get(f"/v1/apis?{query}")
        assert (refused.status_code, expected in refused.json()["detail"]) == (400, True), refused.text


async def test_labels_are_small_words(client: httpx.AsyncClient, orders: JsonObject) -> None:
    key = "expected 1 to 63 lower-case letters, digits and inner '-', '.' and '/', as 'team', got"
    value = "expected 1 to 63 letters, digits and inner '-', '.' and '_', as 'payments', got"
    for labels, field, message in (
        ({"Team": "a"}, ".Team", f"{key} 'Team'"),
        ({"team": ""}, ".team", f"{value} ''"),
        ({"team": "a b"}, ".team", f"{value} 'a b'"),
        ({"team": 1}, ".team", f"{value} 1"),
        ({f"k{number}": "v" for number in range(65)}, "", "expected at most 64 keys, got an object"),
    ):
        orders["metadata"]["labels"] = labels
        (mistake,) = (await client.post("/v1/apis", json=orders)).json()["errors"]
        assert (mistake["field"], mistake["message"]) == (f"metadata.labels{field}", message)


async def test_another_label_is_a_revision_that_no_node_builds(
    client: httpx.AsyncClient, orders: JsonObject, controller: Controller, connect: Connect
) -> None:
    name = orders["metadata"]["name"]
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    node = connect(controller)
    assert [bundle.api for bundle in controller.deployment.next_update(node).bundles] == [name]
    orders["metadata"]["labels"] = {"team": "payments"}
    assert (await client.put(f"/v1/apis/{name}", json=orders)).status_code == 200
    assert not controller.deployment.next_update(node).bundles
    orders["spec"]["context"] = "/elsewhere"
    assert (await client.put(f"/v1/apis/{name}", json=orders)).status_code == 200
    assert [bundle.api for bundle in controller.deployment.next_update(node).bundles] == [name]


async def test_policies_stand_in_the_order_of_their_versions(
    client: httpx.AsyncClient, rewritten: Callable[..., None], controller: Controller
) -> None:
    rewritten("v1.0.0", "v1.9.0", keep=True)
    rewritten("v1.0.0", "v1.10.0", keep=True)
    await controller.reload_definitions()
    path = "/v1/policies?name=log-*&limit=2"
    assert await followed(client, path, "policies", "version") == [["v1.0.0", "v1.9.0"], ["v1.10.0"]]
    whole = (await followed(client, "/v1/policies", "policies", "name"))[0]
    one_by_one = await followed(client, "/v1/policies?limit=1", "policies", "name")
    assert [name for page in one_by_one for name in page] == whole


async def test_nodes_come_in_pages(client: httpx.AsyncClient, controller: Controller) -> None:
    for number in range(3):
        controller.deployment.connect(node_pb2.Hello(node_id=f"eu/n{number}"))
    controller.deployment.connect(node_pb2.Hello(node_id="us/n0"))
    path = "/v1/nodes?limit=2&name=eu/*"
    assert await followed(client, path, "nodes", "id") == [["eu/n0", "eu/n1"], ["eu/n2"]]


async def test_recordings_come_in_pages_the_oldest_first(client: httpx.AsyncClient) -> None:
    ids = [(await client.post("/v1/recordings", json={})).json()["id"] for _ in range(3)]
    assert await followed(client, "/v1/recordings?limit=2", "recordings", "id") == [ids[:2], ids[2:]]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "expected limit to be a whole number from 1 to 1000, got '0'"),
        ("limit=1001", "expected limit to be a whole number from 1 to 1000, got '1001'"),
        ("limit=many", "expected limit to be a whole number from 1 to 1000, got 'many'"),
        ("state=gone", "expected state to be deployed, pending or rejected, got 'gone'"),
        ("state=", "expected state to be deployed, pending or rejected, got ''"),
    ],
)
async def test_a_wrong_filter_is_refused(client: httpx.AsyncClient, query: str, detail: str) -> None:
    refused = await client.get(f"/v1/apis?{query}")
    assert (refused.status_code, refused.json()["detail"]) == (400, detail)
