"""NodeGateways by the management API: which node gets which, what is refused, and what APIs may name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import httpx
import pytest
from envoy.config.listener.v3 import listener_pb2
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.nodes.node import Node
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject

from .test_tokens import create

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
DMZ, EDGE = {"zone": "dmz"}, {"zone": "dmz", "tier": "edge"}
Joined = Callable[..., Node]


@pytest.fixture
async def gateways(controller: Controller, gateways: Gateways) -> Gateways:
    """As the server puts them together."""
    controller.gateways.default = gateways.names
    gateways.node_gateways = lambda: controller.gateways.node_gateways
    return gateways


@pytest.fixture
async def join(controller: Controller) -> Joined:
    """`join("n1", zone="dmz")` connects a node with these labels."""
    return lambda name, **labels: controller.deployment.connect(node_pb2.Hello(node_id=name, labels=labels))


def gateway(*names: str, **spec: object) -> JsonObject:
    listeners = [{"name": name, "port": 8081 + number} for number, name in enumerate(names or ("http",))]
    return {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"listeners": listeners, **spec}}


def node_gateway(name: str, nodes: dict[str, str], *listeners: str, **spec: object) -> JsonObject:
    document = gateway(*listeners, **spec)
    document["spec"]["nodes"] = nodes
    return {**document, "kind": "NodeGateway", "metadata": {"name": name}}


async def put(client: httpx.AsyncClient, document: JsonObject, **request: object) -> httpx.Response:
    path = f"/v1/nodegateways/{document['metadata']['name']}"
    return await client.put(path, json=document, **request)  # type: ignore[arg-type]


def source(document: JsonObject) -> JsonObject:
    return {"file": f"{document['kind']}.json", "text": json.dumps(document)}


def fields(answer: httpx.Response) -> list[str]:
    return [f"{error['field']}: {error['message']}" for error in answer.json()["errors"]]


def names_of(update: node_pb2.Update) -> list[str]:
    """Of the listeners in it."""
    return [listener_pb2.Listener.FromString(listener).name for listener in update.gateway.listeners]


def acknowledge(controller: Controller, node: Node) -> list[str]:
    """Names of the listeners that the node is sent, which it takes."""
    update = controller.deployment.next_update(node)
    if not update.HasField("gateway"):
        return []
    taken = node_pb2.GatewayStatus(digest=update.gateway.digest, state=node_pb2.ApiStatus.STATE_APPLIED)
    controller.deployment.report(node, node_pb2.Report(gateway=taken))
    return names_of(update)


def naming(orders: JsonObject, listener: str, nodes: dict[str, str] | None = None) -> JsonObject:
    document = copy.deepcopy(orders)
    document["spec"] |= {"listeners": [listener], **({"nodes": nodes} if nodes else {})}
    return document


async def test_each_node_gets_the_one_that_fits_its_labels_best(
    client: httpx.AsyncClient, controller: Controller, join: Joined
) -> None:
    other, dmz, edge = join("n1", zone="inner"), join("n2", **DMZ), join("n3", **EDGE)
    assert (await client.put("/v1/gateway", json=gateway("plain"))).status_code == 200
    assert [acknowledge(controller, node) for node in (other, dmz, edge)] == [["plain"]] * 3
    assert (await put(client, node_gateway("dmz", DMZ, "outer"))).status_code == 201
    assert [acknowledge(controller, node) for node in (other, dmz, edge)] == [[], ["outer"], ["outer"]]
    assert (await put(client, node_gateway("edge", EDGE, "outermost"))).status_code == 201
    assert [acknowledge(controller, node) for node in (other, dmz, edge)] == [[], [], ["outermost"]]

    async def states(path: str) -> dict[str, str]:
        status = (await client.get(path)).json()["status"]
        return {"": status["state"], **{node["node"]: node["state"] for node in status["nodes"]}}

    assert await states("/v1/gateway") == {"": "deployed", "n1": "deployed"}
    assert await states("/v1/nodegateways/dmz") == {"": "deployed", "n2": "deployed"}
    listed = (await client.get("/v1/nodes")).json()["nodes"]
    assert {node["id"]: node["gateway"]["name"] for node in listed} == {"n1": "", "n2": "dmz", "n3": "edge"}
    changed = node_gateway("edge", EDGE, "outermost", "further")
    assert (await put(client, changed)).json()["status"]["state"] == "pending"
    assert acknowledge(controller, edge) == ["outermost", "further"]

    assert (await client.delete("/v1/nodegateways/edge")).status_code == 204
    assert acknowledge(controller, edge) == ["outer"]
    controller.deployment.update(dmz, node_pb2.Hello(node_id="n2", labels={"zone": "inner"}))
    assert acknowledge(controller, dmz) == ["plain"], "its labels are others"
    past = (await client.get("/v1/nodegateways/edge/revisions")).json()["revisions"]
    assert [entry["action"] for entry in past] == ["deleted", "changed", "created"]
    rolled = await client.post("/v1/nodegateways/edge/rollback", json={"revision": past[-1]["revision"]})
    assert rolled.status_code == 200
    assert acknowledge(controller, edge) == ["outermost"]


async def test_what_no_node_has_says_why(client: httpx.AsyncClient, controller: Controller, join: Joined) -> None:
    created = (await put(client, node_gateway("dmz", DMZ))).json()["status"]
    assert (created["state"], created["unplaced"]) == ("pending", False), "a node may come"
    join("n1", zone="inner")
    status = (await client.get("/v1/nodegateways/dmz")).json()["status"]
    assert (status["unplaced"], status["nodes"]) == (True, [])
    assert status["reason"] == "expected a node with zone=dmz, got n1 (zone=inner)"
    controller.deployment.update(join("n1", **EDGE), node_pb2.Hello(node_id="n1", labels=EDGE))
    await put(client, node_gateway("edge", EDGE))
    status = (await client.get("/v1/nodegateways/dmz")).json()["status"]
    assert "have a NodeGateway with more labels" in status["reason"]
    await client.put("/v1/gateway", json=gateway())
    status = (await client.get("/v1/gateway")).json()["status"]
    assert (status["unplaced"], status["reason"]) == (True, "each connected node has a NodeGateway")


async def test_two_that_fit_a_node_alike_are_refused(client: httpx.AsyncClient) -> None:
    await put(client, node_gateway("dmz", DMZ))
    tier = node_gateway("tier", {"tier": "edge"})
    for answer in (await put(client, tier), await client.post("/v1/plan", json={"sources": [source(tier)]})):
        (mistake,) = fields(answer)
        assert mistake == (
            "spec.nodes: expected labels that no node has together with zone=dmz of dmz, or more of them, got "
            "tier=edge; add a label, so that one of the two is for fewer nodes"
        )
    for fitting in (node_gateway("inner", {"zone": "inner"}), node_gateway("edge", EDGE)):
        assert (await put(client, fitting)).status_code == 201


async def test_what_only_a_start_or_the_gateway_can_have_is_refused(client: httpx.AsyncClient) -> None:
    acme = {"web": {"acme": {"hosts": ["a.example"], "agreeToTerms": True}}}
    document = node_gateway("dmz", DMZ, certificates=acme)
    assert any(field.startswith("spec.certificates.web.acme") for field in fields(await put(client, document)))
    (mistake,) = fields(await put(client, node_gateway("dmz", DMZ, limits={"connections": 7})))
    assert mistake.startswith("spec.limits.connections: expected none, got 7; it is part of Envoy's bootstrap")
    assert fields(await put(client, node_gateway("dmz", {})))[0].startswith("spec.nodes")
    assert fields(await put(client, node_gateway("dmz", DMZ, "a", "a")))[0].startswith("spec.listeners[1].name")


async def test_a_header_of_a_collector_is_shown_by_its_mask(client: httpx.AsyncClient) -> None:
    def traced(value: str) -> JsonObject:
        tracing = {"collector": "127.0.0.1:4317", "headers": {"x-key": value}}
        return node_gateway("dmz", DMZ, tracing=tracing)

    assert (await put(client, traced("planted"))).json()["spec"]["tracing"]["headers"] == {"x-key": MASK}
    revision = (await put(client, traced(MASK))).json()["status"]["revision"]
    assert revision == 1, "nothing has changed"
    await put(client, traced("other"))
    assert "a new value" in (await client.get("/v1/nodegateways/dmz/diff")).json()["diff"]


async def test_an_api_names_what_all_gateways_of_its_nodes_have(
    client: httpx.AsyncClient, gateways: Gateways, orders: JsonObject
) -> None:
    del gateways
    await client.put("/v1/gateway", json=gateway("plain", "both"))
    await put(client, node_gateway("dmz", DMZ, "outer", "both"))
    for listener, nodes, is_taken in (
        ("both", None, True),
        ("plain", None, False),
        ("outer", None, False),
        ("outer", DMZ, True),
        ("plain", DMZ, False),
        ("plain", {"zone": "inner"}, True),
    ):
        answer = await client.post("/v1/apis", params={"dry_run": "true"}, json=naming(orders, listener, nodes))
        assert answer.is_success == is_taken, (listener, nodes, answer.text)
    assert (await client.post("/v1/apis", json=naming(orders, "outer", DMZ))).status_code == 201
    needed = "expected a listener 'outer' that serves APIs in the NodeGateway dmz, which the API orders-v1 names"
    assert needed in fields(await put(client, node_gateway("dmz", DMZ, "both")))[0]
    assert "a listener 'outer' that serves APIs, which" in fields(await client.delete("/v1/nodegateways/dmz"))[0]
    assert "NodeGateway edge" in fields(await put(client, node_gateway("edge", EDGE, "both")))[0]
    renamed = [source(node_gateway("dmz", DMZ, "front", "both")), source(naming(orders, "front", DMZ))]
    applied = await client.post("/v1/apply", json={"sources": renamed, "owner": "ops"})
    assert applied.status_code == 200, applied.text
    users = (await client.get("/v1/nodegateways/dmz/users")).json()["users"]
    assert users == [{"kind": "Api", "name": "orders-v1"}]


async def test_it_is_planned_applied_and_pruned_by_who_may_write_what_nodes_listen_on(
    client: httpx.AsyncClient, controller: Controller, join: Joined
) -> None:
    node, document = join("n1", **DMZ), node_gateway("dmz", DMZ, "outer")
    body: JsonObject = {"sources": [source(document)], "owner": "ops", "prune": True}
    publisher = await create(client, "p", "publisher")
    assert (await client.post("/v1/apply", json=body, headers=publisher)).status_code == 403
    (change,) = (await client.post("/v1/plan", json=body)).json()["changes"]
    assert (change["action"], change["kind"], change["name"]) == ("add", "NodeGateway", "dmz")
    assert change["effects"] == ["nodes with zone=dmz listen on outer alone; other listeners of theirs are drained"]
    assert (await client.post("/v1/apply", json=body)).status_code == 200
    assert acknowledge(controller, node) == ["outer"]
    assert (await client.post("/v1/plan", json=body)).json()["changes"] == []
    (change,) = (await client.post("/v1/apply", json={**body, "sources": []})).json()["changes"]
    assert (change["action"], change["kind"]) == ("delete", "NodeGateway")
    assert (await client.get("/v1/nodegateways/dmz")).status_code == 404


async def test_the_state_of_new_nodes_with_labels_has_theirs(client: httpx.AsyncClient, controller: Controller) -> None:
    await client.put("/v1/gateway", json=gateway("plain"))
    before = controller.deployment.whole_digest(DMZ)
    await put(client, node_gateway("dmz", DMZ, "outer"))

    def listeners(labels: dict[str, str] | None) -> list[str]:
        return names_of(controller.deployment.whole_update(labels))

    assert [listeners(labels) for labels in (None, {"zone": "inner"}, DMZ)] == [["plain"], ["plain"], ["outer"]]
    assert controller.deployment.whole_digest(DMZ) != before
