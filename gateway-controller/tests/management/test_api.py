from __future__ import annotations

import asyncio
import copy
import gzip
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import yaml
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.model import from_document
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node import Node
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.versions import attachments
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
PROBLEM = "application/problem+json"
Connect = Callable[[Controller], Node]


class NodeDouble:
    """A connected node that acknowledges every update at once, with the status that a test sets."""

    def __init__(self, deployment: Deployment, node: Node, reason: str = "") -> None:
        self.deployment, self.node, self.reason = deployment, node, reason

    async def run(self) -> None:
        while True:
            update = self.deployment.next_update(self.node)
            apis = [self.status(bundle.api, bundle.digest) for bundle in update.bundles]
            gone = node_pb2.ApiStatus.STATE_REMOVED
            apis += [node_pb2.ApiStatus(api=api, state=gone) for api in update.removed_apis]
            if apis:
                self.deployment.report(self.node, node_pb2.Report(apis=apis))
            await self.deployment.wait_for_change()

    def status(self, api: str, digest: str) -> node_pb2.ApiStatus:
        state = node_pb2.ApiStatus.STATE_REJECTED if self.reason else node_pb2.ApiStatus.STATE_APPLIED
        return node_pb2.ApiStatus(api=api, digest=digest, state=state, reason=self.reason)


@pytest.fixture
async def run(controller: Controller, connect: Connect) -> AsyncIterator[Callable[..., None]]:
    tasks: list[asyncio.Task[None]] = []

    def start(reason: str = "") -> None:
        tasks.append(asyncio.create_task(NodeDouble(controller.deployment, connect(controller), reason).run()))

    yield start
    for task in tasks:
        task.cancel()


async def test_an_api_from_its_birth_to_its_end(client: httpx.AsyncClient, orders: JsonObject) -> None:
    created = await client.post("/v1/apis", json=orders)
    assert created.status_code == 201
    assert created.headers["location"] == "/v1/apis/orders-v1"
    body = created.json()
    assert body["spec"]["policies"] == [{"name": "log-message", "version": "v1"}]
    assert body["status"]["policies"] == [
        {"field": "spec.policies[0]", "name": "log-message", "asked": "v1", "version": "v1.0.0"},
        {"field": "spec.operations[1].policies[0]", "name": "rewrite-body", "asked": "v1", "version": "v1.0.0"},
    ]
    assert (body["status"]["state"], body["status"]["reason"]) == ("pending", "no node is connected")
    assert (await client.get("/v1/apis/orders-v1")).json() == body
    assert (await client.get("/v1/apis")).json() == {"apis": [body]}

    body["spec"]["displayName"] = "Orders"
    replaced = await client.put("/v1/apis/orders-v1", json=body)
    assert replaced.status_code == 200
    assert replaced.json()["spec"]["displayName"] == "Orders"
    assert replaced.json()["status"]["revision"] == body["status"]["revision"] + 1

    assert (await client.delete("/v1/apis/orders-v1")).status_code == 204
    gone = await client.get("/v1/apis/orders-v1")
    assert (gone.status_code, gone.headers["content-type"]) == (404, PROBLEM)
    assert (await client.get("/v1/apis")).json() == {"apis": []}


async def test_the_log_has_a_line_for_each_change_and_none_for_what_is_the_same(
    client: httpx.AsyncClient, orders: JsonObject, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    changed = {**orders, "spec": {**orders["spec"], "displayName": "Orders"}}
    await client.post("/v1/apis", json=orders)
    for document in (orders, changed, changed):
        assert (await client.put("/v1/apis/orders-v1", json=document)).status_code == 200
    records = [vars(record) for record in caplog.records if record.getMessage() == "API written"]
    assert [(record["api"], record["revision"]) for record in records] == [("orders-v1", 1), ("orders-v1", 2)]


async def test_yaml_is_as_good_as_json(client: httpx.AsyncClient, orders: JsonObject) -> None:
    headers = {"content-type": "application/yaml; charset=utf-8"}
    created = await client.post("/v1/apis", content=yaml.safe_dump(orders), headers=headers)
    assert created.status_code == 201
    orders["spec"]["operations"][0]["path"] = "/{key}"
    replaced = await client.put("/v1/apis/orders-v1", content=yaml.safe_dump(orders), headers=headers)
    assert replaced.json()["spec"]["operations"][0]["path"] == "/{key}"


async def test_mistakes_come_all_at_once_with_their_fields(client: httpx.AsyncClient, orders: JsonObject) -> None:
    orders["spec"]["policies"][0]["name"] = "nope"
    orders["spec"]["operations"].append({"method": "GET", "path": "/{id}"})
    orders["spec"]["upstream"]["main"]["url"] = "orders"
    refused = await client.post("/v1/apis", json=orders)
    assert (refused.status_code, refused.headers["content-type"]) == (422, PROBLEM)
    problem = refused.json()
    assert problem["detail"] == "3 mistakes in the definition"
    assert [error["field"] for error in problem["errors"]] == [
        "spec.operations[2]", "spec.policies[0].name", "spec.upstream.main.url",
    ]  # fmt: skip
    assert (await client.get("/v1/apis")).json() == {"apis": []}


async def test_a_refused_change_changes_nothing(client: httpx.AsyncClient, orders: JsonObject) -> None:
    before = (await client.post("/v1/apis", json=orders)).json()
    orders["spec"]["version"] = 1
    assert (await client.put("/v1/apis/orders-v1", json=orders)).status_code == 422
    assert (await client.get("/v1/apis/orders-v1")).json() == before


async def test_names_and_contexts_are_taken_once(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await client.post("/v1/apis", json=orders)
    again = await client.post("/v1/apis", json=orders)
    assert (again.status_code, again.json()["detail"]) == (
        409, "there is an API orders-v1 already; PUT /v1/apis/orders-v1 changes it",
    )  # fmt: skip
    other = json.loads(json.dumps(orders))
    other["metadata"]["name"] = "other"
    taken = await client.post("/v1/apis", json=other)
    assert taken.json()["errors"] == [
        {
            "field": "spec.context",
            "message": "expected a context that no other API has, got '/orders/v1.0', which is orders-v1's",
            "line": 1,
        }
    ]


async def test_an_api_keeps_its_name(client: httpx.AsyncClient, orders: JsonObject) -> None:
    missing = await client.put("/v1/apis/orders-v1", json=orders)
    assert (missing.status_code, missing.json()["detail"]) == (
        404, "there is no API orders-v1; POST /v1/apis creates one",
    )  # fmt: skip
    await client.post("/v1/apis", json=orders)
    orders["metadata"]["name"] = "renamed"
    renamed = await client.put("/v1/apis/orders-v1", json=orders)
    assert renamed.json()["errors"][0]["field"] == "metadata.name"


async def test_waiting_for_the_nodes(client: httpx.AsyncClient, orders: JsonObject, run: Callable[..., None]) -> None:
    run()
    created = await client.post("/v1/apis?wait=10", json=orders)
    assert created.json()["status"]["state"] == "deployed"
    assert created.json()["status"]["nodes"] == [{"node": "n1", "state": "deployed", "reason": ""}]
    status = (await client.get("/v1/apis/orders-v1/status")).json()
    assert status == created.json()["status"]
    assert (await client.delete("/v1/apis/orders-v1?wait=10")).status_code == 204


async def test_a_node_that_refuses_is_quoted(
    client: httpx.AsyncClient, orders: JsonObject, run: Callable[..., None]
) -> None:
    run("Envoy: no such regex")
    created = await client.post("/v1/apis?wait=10", json=orders)
    assert created.status_code == 201
    assert created.json()["status"]["state"] == "rejected"
    assert created.json()["status"]["reason"] == "n1: Envoy: no such regex"


async def test_the_list_of_all_may_wait_until_the_nodes_have_answered(
    client: httpx.AsyncClient, orders: JsonObject, run: Callable[..., None]
) -> None:
    assert (await client.get("/v1/apis?wait=10")).json() == {"apis": []}
    await client.post("/v1/apis", json=orders)
    early = (await client.get("/v1/apis?wait=0.05")).json()["apis"]
    assert [api["status"]["state"] for api in early] == ["pending"]
    waiting = asyncio.create_task(client.get("/v1/apis?wait=10"))
    await asyncio.sleep(0)
    run()
    assert [api["status"]["state"] for api in (await waiting).json()["apis"]] == ["deployed"]


async def test_a_removal_that_no_node_confirms_is_pending(
    client: httpx.AsyncClient, orders: JsonObject, controller: Controller, connect: Connect
) -> None:
    node = connect(controller)
    await client.post("/v1/apis", json=orders)
    controller.deployment.next_update(node)
    deleted = await client.delete("/v1/apis/orders-v1?wait=0.05")
    assert (deleted.status_code, deleted.json()["state"]) == (202, "pending")


async def test_nodes_and_policies_are_listed(
    client: httpx.AsyncClient, orders: JsonObject, run: Callable[..., None], controller: Controller
) -> None:
    run()
    await client.post("/v1/apis?wait=10", json=orders)
    (node,) = (await client.get("/v1/nodes")).json()["nodes"]
    assert (node["id"], node["engineVersion"]) == ("n1", "1.2")
    assert [api["name"] for api in node["apis"]] == ["orders-v1"]
    assert (node["labels"], node["states"]) == ({}, {"deployed": 1, "pending": 0, "rejected": 0})
    assert (node["lacks"], node["drain"]) == ([], {"state": "unsupported"})
    controller.deployment.refusals.note("n2", "ipv4:10.0.0.7:51", "expected a token")
    (refused,) = (await client.get("/v1/nodes?name=n*")).json()["refused"]
    assert (refused["id"], refused["reason"]) == ("n2", "expected a token")
    assert (await client.get("/v1/nodes?name=eu-*")).json() == {"nodes": [], "refused": []}
    policies = (await client.get("/v1/policies")).json()["policies"]
    assert {"add-headers", "guard", "log-message"} <= {policy["name"] for policy in policies}
    assert "issuer" not in json.dumps(policies)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_of_an_unknown_content_type_is_refused(client: httpx.AsyncClient, content_type: str) -> None:
    refused = await client.post("/v1/apis", content=b"{}", headers={"content-type": content_type})
    assert (refused.status_code, refused.headers["content-type"]) == (415, PROBLEM)
    assert "application/yaml" in refused.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/apis", "/v1/apis/orders-v1/rollback"])
async def test_a_compressed_body_is_refused_for_that(client: httpx.AsyncClient, orders: JsonObject, path: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    refused = await client.post(path, content=gzip.compress(json.dumps(orders).encode()), headers=headers)
    assert (refused.status_code, refused.headers["content-type"]) == (415, PROBLEM)
    assert refused.json()["detail"] == "expected a body without Content-Encoding, got gzip; send it as it is"


async def test_a_body_has_a_limit(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    refused = await client.post("/v1/apis", content=endless(), headers={"content-type": "application/json"})
    assert (refused.status_code, refused.headers["content-type"]) == (413, PROBLEM)


@pytest.mark.parametrize("wait", ["x", "-1", "nan", "inf", "301"])
async def test_a_wait_has_bounds(client: httpx.AsyncClient, orders: JsonObject, wait: str) -> None:
    refused = await client.post(f"/v1/apis?wait={wait}", json=orders)
    assert (refused.status_code, refused.headers["content-type"]) == (400, PROBLEM)
    assert (await client.get("/v1/apis")).json() == {"apis": []}


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("POST", "/v1/apis?wiat=5", "wait, dry_run, reason, owner, take_over"),
        ("GET", "/v1/policies?wait=5", "name, limit, after"),
        ("GET", "/v1/log-level?wait=5", "none"),
        ("DELETE", "/v1/apis/a?x=&y=1", "wait, reason, owner, take_over"),
    ],
)
async def test_unknown_query_parameters_are_refused(
    client: httpx.AsyncClient, orders: JsonObject, method: str, path: str, known: str
) -> None:
    refused = await client.request(method, path, json=orders if method == "POST" else None)
    assert (refused.status_code, refused.headers["content-type"]) == (400, PROBLEM)
    assert refused.json()["detail"].endswith(f"; known here are {known}")
    assert (await client.get("/v1/apis")).json() == {"apis": []}


YAML = """apiVersion: gatewright.dev/v1
kind: Api
metadata: {name: orders}
spec:
  displayName: Orders
  version: v1.0
  context: /orders
  upstream: {main: {url: "ftp://orders.internal"}}
  policies:
    - name: nope
      version: v1
  operations:
    - method: GET
      path: /a
      policies:
        - {name: add-headers, version: v1,
           timeout: soon}
    - method: FET CH
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (YAML, {"spec.upstream.main.url": 8, "spec.policies[0].name": 10, "spec.operations[0].policies[0].timeout": 17,
                "spec.operations[1].method": 18, "spec.operations[1].path": 18}),
        ("kind: Api\n", {"apiVersion": 1, "metadata": 1, "spec": 1}),
    ],
)  # fmt: skip
async def test_mistakes_in_yaml_have_their_lines(client: httpx.AsyncClient, text: str, lines: dict[str, int]) -> None:
    refused = await client.post("/v1/apis", content=text, headers={"content-type": "application/yaml"})
    assert refused.status_code == 422
    lines_found = {mistake["field"]: mistake.get("line") for mistake in refused.json()["errors"]}
    assert lines.items() <= lines_found.items(), lines_found


@pytest.mark.parametrize(
    ("media_type", "text", "line"),
    [
        ("yaml", "kind: Api\nspec: [\n", 3),
        ("yaml", "kind: Api\nspec:\n  a: 1\n  a: 2\n", 4),
        ("yaml", "kind: Api\n3: a\n", 2),
        ("yaml", "a: &a [*a]", 1),
        ("yaml", "a: 1\nb: !!bool maybe\n", 2),
        ("json", '{"a": 1,\n"a": 2}', 2),
        ("json", '{"a": 1,\n"b": 9' + "9" * 5000 + "}", 2),
    ],
)
async def test_what_is_no_document_is_no_definition_either(
    client: httpx.AsyncClient, media_type: str, text: str, line: int
) -> None:
    refused = await client.post("/v1/apis", content=text, headers={"content-type": f"application/{media_type}"})
    assert (refused.status_code, refused.json()["detail"]) == (400, "the body cannot be read")
    assert [error["line"] for error in refused.json()["errors"]] == [line]


async def test_a_hundred_mistakes_are_listed_and_the_rest_is_counted(
    client: httpx.AsyncClient, orders: JsonObject
) -> None:
    orders["spec"]["operations"] = [{"method": "GET", "path": f"{number}"} for number in range(300)]
    refused = await client.post("/v1/apis", json=orders)
    errors = refused.json()["errors"]
    assert (refused.status_code, len(errors)) == (422, 101)
    assert {"field": "", "message": "has more mistakes than these 100", "line": 1} in errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/apis/", 404),
        ("PUT", "/v1/apis/orders-v1/", 404),
        ("GET", "/v1/apis/orders-v1%2F", 404),
        ("PATCH", "/v1/apis", 405),
        ("POST", "/v1/nodes", 405),
    ],
)
async def test_other_paths_and_methods_are_problems_too(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    refused = await client.request(method, path)
    assert (refused.status_code, refused.headers["content-type"]) == (status, PROBLEM)


async def test_a_stored_api_that_the_build_no_longer_fits_is_suspended(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    later = Controller(controller.store, Definitions, EdgeSettings())
    later.load()
    status = later.deployment.status("orders-v1")
    assert status.state == "rejected"
    assert "no longer valid: spec.operations[1].policies[0].name: expected a policy of this build" in status.reason


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"context": "/v1:orders"}, "spec.context: expected letters, digits"),
        ({"operations": [{"method": "GET", "path": "/%41dmin"}]}, "spec.operations[0].path: expected no encoded 'A'"),
    ],
)
async def test_a_stored_api_whose_paths_are_refused_today_is_rejected_and_not_lost(
    client: httpx.AsyncClient, controller: Controller, connect: Connect, definitions: Definitions, orders: JsonObject,
    field: JsonObject, reason: str,
) -> None:  # fmt: skip
    good = copy.deepcopy(orders)
    orders["spec"] |= field
    controller.store.create(from_document(orders), ("v1.0.0",) * len([*attachments(from_document(orders))]))
    later = Controller(controller.store, lambda: definitions, EdgeSettings())
    later.load()
    status = later.deployment.status("orders-v1")
    assert status.state == "rejected"
    assert f"no longer valid: {reason}" in status.reason
    (bundle,) = later.deployment.next_update(connect(later)).bundles
    assert (bundle.context, bool(bundle.unserved)) == (field.get("context", "/orders/v1.0"), True)
    shown = await client.get("/v1/apis/orders-v1")
    assert shown.json()["spec"] | field == shown.json()["spec"]
    assert (await client.put("/v1/apis/orders-v1", json=orders)).status_code == 422
    assert (await client.put("/v1/apis/orders-v1", json=good)).status_code == 200
