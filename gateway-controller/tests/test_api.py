from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import yaml
from gatewright_controller._gen import node_pb2
from gatewright_controller.api import create_app
from gatewright_controller.controller import Controller
from gatewright_controller.definitions import Definitions, load_definitions
from gatewright_controller.model import JsonObject
from gatewright_controller.store import StorageError, open_store
from gatewright_controller.translate import EdgeSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]
PROBLEM = "application/problem+json"


@pytest.fixture
def folder(tmp_path: Path, testdata: Path) -> Path:
    """The definitions' folder, which a test may change."""
    shutil.copytree(testdata / "definitions", tmp_path / "definitions")
    return tmp_path / "definitions"


@pytest.fixture
async def controller(folder: Path) -> AsyncIterator[Controller]:
    settings = {"guard": {"issuer": "https://id.example"}}
    controller = Controller(open_store("sqlite::memory:"), lambda: load_definitions(folder, settings), EdgeSettings())
    yield controller
    controller.store.close()


@pytest.fixture
async def client(controller: Controller) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(controller, max_request_bytes=20_000), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


class NodeDouble:
    """A connected node that answers every update at once, as it is told to."""

    def __init__(self, controller: Controller, reason: str = "") -> None:
        self.deployment = controller.deployment
        policies = [
            node_pb2.PolicyRef(name=one.name, version=one.version, definition_digest=one.digest)
            for one in controller.definitions
        ]
        self.node = self.deployment.connect(node_pb2.Hello(node_id="n1", engine_version="1.2", policies=policies))
        self.reason = reason

    async def run(self) -> None:
        while True:
            update = self.deployment.next_update(self.node)
            apis = [self.status(one.api, one.digest) for one in update.bundles]
            gone = node_pb2.ApiStatus.STATE_REMOVED
            apis += [node_pb2.ApiStatus(api=api, state=gone) for api in update.removed_apis]
            if apis:
                self.deployment.report(self.node, node_pb2.Report(apis=apis))
            await self.deployment.change()

    def status(self, api: str, digest: str) -> node_pb2.ApiStatus:
        state = node_pb2.ApiStatus.STATE_REJECTED if self.reason else node_pb2.ApiStatus.STATE_APPLIED
        return node_pb2.ApiStatus(api=api, digest=digest, state=state, reason=self.reason)


@pytest.fixture
async def run(controller: Controller) -> AsyncIterator[Callable[..., None]]:
    tasks: list[asyncio.Task[None]] = []

    def start(reason: str = "") -> None:
        tasks.append(asyncio.create_task(NodeDouble(controller, reason).run()))

    yield start
    for task in tasks:
        task.cancel()


async def test_an_api_from_its_birth_to_its_end(client: httpx.AsyncClient, orders: JsonObject) -> None:
    created = await client.post("/v1/apis", json=orders)
    assert created.status_code == 201
    assert created.headers["location"] == "/v1/apis/orders-v1"
    body = created.json()
    assert body["spec"]["policies"] == [{"name": "log-message", "version": "v1.0.0"}]
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
    assert problem["detail"] == "3 mistakes in the API definition"
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


async def test_who_lists_all_may_wait_until_the_nodes_have_answered(
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
    client: httpx.AsyncClient, orders: JsonObject, controller: Controller
) -> None:
    node = NodeDouble(controller).node
    await client.post("/v1/apis", json=orders)
    controller.deployment.next_update(node)
    deleted = await client.delete("/v1/apis/orders-v1?wait=0.05")
    assert (deleted.status_code, deleted.json()["state"]) == (202, "pending")


async def test_nodes_and_policies_are_listed(
    client: httpx.AsyncClient, orders: JsonObject, run: Callable[..., None]
) -> None:
    run()
    await client.post("/v1/apis?wait=10", json=orders)
    (node,) = (await client.get("/v1/nodes")).json()["nodes"]
    assert (node["id"], node["engineVersion"]) == ("n1", "1.2")
    assert [api["name"] for api in node["apis"]] == ["orders-v1"]
    policies = (await client.get("/v1/policies")).json()["policies"]
    assert {"add-headers", "guard", "log-message"} <= {policy["name"] for policy in policies}
    assert "issuer" not in json.dumps(policies)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_says_what_it_is(client: httpx.AsyncClient, content_type: str) -> None:
    refused = await client.post("/v1/apis", content=b"{}", headers={"content-type": content_type})
    assert (refused.status_code, refused.headers["content-type"]) == (415, PROBLEM)
    assert "application/yaml" in refused.json()["detail"]


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
        ("POST", "/v1/apis?wiat=5", "wait"),
        ("GET", "/v1/policies?wait=5", "none"),
        ("DELETE", "/v1/apis/a?x=&y=1", "wait"),
    ],
)
async def test_query_parameters_that_nobody_reads_are_refused(
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
    - method: FETCH
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (YAML, {"spec.upstream.main.url": 8, "spec.policies[0].name": 10, "spec.operations[0].policies[0].timeout": 17,
                "spec.operations[1].method": 18, "spec.operations[1].path": 18}),
        ("kind: Api\n", {"apiVersion": 1, "metadata": 1, "spec": 1}),
        ("kind: Api\nspec: [\n", {"": 3}),
        ("kind: Api\nspec:\n  a: 1\n  a: 2\n", {"": 4}),
        ("kind: Api\n3: a\n", {"": 2}),
    ],
)  # fmt: skip
async def test_mistakes_in_yaml_have_their_lines(client: httpx.AsyncClient, text: str, lines: dict[str, int]) -> None:
    refused = await client.post("/v1/apis", content=text, headers={"content-type": "application/yaml"})
    assert refused.status_code == 422
    told = {each["field"]: each.get("line") for each in refused.json()["errors"]}
    assert lines.items() <= told.items(), told


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PATCH", "/v1/apis", 405), ("POST", "/v1/nodes", 405)]
)
async def test_other_paths_and_methods_are_problems_too(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    refused = await client.request(method, path)
    assert (refused.status_code, refused.headers["content-type"]) == (status, PROBLEM)


async def test_our_own_faults_keep_their_details(
    client: httpx.AsyncClient, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise OSError("/secret/path: disk on fire")

    monkeypatch.setattr(controller.store, "list", broken)
    failed = await client.get("/v1/apis")
    assert (failed.status_code, failed.headers["content-type"]) == (500, PROBLEM)
    assert "secret" not in failed.text


async def test_a_stored_api_that_the_build_no_longer_fits_is_held_back(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    later = Controller(controller.store, Definitions, EdgeSettings())
    later.load()
    status = later.deployment.status("orders-v1")
    assert status.state == "rejected"
    assert "no longer valid: spec.operations[1].policies[0].name: expected a policy of this build" in status.reason


async def test_what_is_stored_is_handed_out_after_a_restart(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject, definitions: Definitions
) -> None:
    await client.post("/v1/apis", json=orders)
    later = Controller(controller.store, lambda: definitions, EdgeSettings())
    later.load()
    update = later.deployment.next_update(NodeDouble(later).node)
    before = controller.deployment.next_update(NodeDouble(controller).node)
    assert list(update.bundles) == list(before.bundles)
    assert update.revision == 1


async def test_a_new_version_can_be_attached_once_the_definitions_are_read_again(
    client: httpx.AsyncClient, folder: Path, orders: JsonObject
) -> None:
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v2.0.0"}]
    assert (await client.post("/v1/apis", json=orders)).status_code == 422
    text = (folder / "log-message-v1.0.0.yaml").read_text()
    (folder / "log-message-v2.0.0.yaml").write_text(text.replace("v1.0.0", "v2.0.0"))
    (folder / "count-v1.0.0.yaml").unlink()
    answer = await client.post("/v1/policies/reload")
    assert (answer.status_code, answer.json()) == (200, {"added": ["log-message:v2.0.0"], "removed": ["count:v1.0.0"]})
    assert (await client.post("/v1/apis", json=orders)).status_code == 201


async def test_a_changed_definition_is_refused_and_changes_nothing(client: httpx.AsyncClient, folder: Path) -> None:
    before = (await client.get("/v1/policies")).json()
    file = folder / "log-message-v1.0.0.yaml"
    file.write_text(file.read_text() + "# a comment changes nothing\n")
    assert (await client.post("/v1/policies/reload")).status_code == 200
    file.write_text(file.read_text().replace("displayName:", "displayName: Other"))
    answer = await client.post("/v1/policies/reload")
    assert answer.status_code == 422
    (mistake,) = answer.json()["errors"]
    assert mistake["field"] == "log-message:v1.0.0"
    assert "give it a new version" in mistake["message"]
    assert (await client.get("/v1/policies")).json() == before


async def test_an_api_that_was_held_back_comes_with_its_definition(
    client: httpx.AsyncClient, controller: Controller, folder: Path, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    file = folder / "rewrite-body-v1.0.0.yaml"
    text = file.read_text()
    file.unlink()
    later = Controller(controller.store, lambda: load_definitions(folder, {"guard": {"issuer": "x"}}), EdgeSettings())
    later.load()
    assert later.deployment.status("orders-v1").state == "rejected"
    file.write_text(text)
    await later.reload_definitions()
    assert later.deployment.status("orders-v1").state == "pending"


@pytest.mark.parametrize(("full", "status"), [(True, 507), (False, 503)])
async def test_a_storage_that_fails_is_a_problem_and_changes_nothing(
    controller: Controller,
    client: httpx.AsyncClient,
    orders: JsonObject,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    full: bool,
    status: int,
) -> None:
    def fail(_: object) -> None:
        raise StorageError("no room", full)

    monkeypatch.setattr(controller.store, "create", fail)
    answer = await client.post("/v1/apis", json=orders)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert "as it was" in answer.json()["detail"]
    assert [(record.message, record.exc_info) for record in caplog.records] == [("storage failed", None)]
    assert (await client.get("/v1/apis")).json() == {"apis": []}
