from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import yaml
from gatewright_controller._gen import node_pb2
from gatewright_controller.controller import Controller
from gatewright_controller.definitions import Definitions, load_definitions
from gatewright_controller.model import from_document
from gatewright_controller.store import StorageError, StoredApi
from gatewright_controller.translate import EdgeSettings
from gatewright_controller.versions import attachments
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]
PROBLEM = "application/problem+json"


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
            await self.deployment.wait_for_change()

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
        ("POST", "/v1/apis?wiat=5", "wait, dry_run"),
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
    told = {each["field"]: each.get("line") for each in refused.json()["errors"]}
    assert lines.items() <= told.items(), told


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


async def test_a_hundred_mistakes_are_told_and_that_there_are_more(
    client: httpx.AsyncClient, orders: JsonObject
) -> None:
    orders["spec"]["operations"] = [{"method": "GET", "path": f"{number}"} for number in range(300)]
    refused = await client.post("/v1/apis", json=orders)
    errors = refused.json()["errors"]
    assert (refused.status_code, len(errors)) == (422, 101)
    assert {"field": "", "message": "has more mistakes than these 100", "line": 1} in errors


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
    client: httpx.AsyncClient, controller: Controller, definitions: Definitions, orders: JsonObject, field: JsonObject,
    reason: str,
) -> None:  # fmt: skip
    good = copy.deepcopy(orders)
    orders["spec"] |= field
    controller.store.create(from_document(orders), ("v1.0.0",) * len([*attachments(from_document(orders))]))
    later = Controller(controller.store, lambda: definitions, EdgeSettings())
    later.load()
    status = later.deployment.status("orders-v1")
    assert status.state == "rejected"
    assert f"no longer valid: {reason}" in status.reason
    (told,) = later.deployment.next_update(NodeDouble(later).node).bundles
    assert (told.context, bool(told.unserved)) == (field.get("context", "/orders/v1.0"), True)
    shown = await client.get("/v1/apis/orders-v1")
    assert shown.json()["spec"] | field == shown.json()["spec"]
    assert (await client.put("/v1/apis/orders-v1", json=orders)).status_code == 422
    assert (await client.put("/v1/apis/orders-v1", json=good)).status_code == 200


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
    said = {"added": ["log-message:v2.0.0"], "removed": ["count:v1.0.0"], "changed": [], "moved": [], "apis": []}
    assert (answer.status_code, answer.json()) == (200, said)
    assert (await client.post("/v1/apis", json=orders)).status_code == 201


def definitions_in(folder: Path) -> JsonObject:
    return {"definitions": {file.name: file.read_text() for file in folder.glob("*.yaml")}}


async def test_a_changed_definition_is_taken_over_with_the_apis_that_attach_it(
    client: httpx.AsyncClient, controller: Controller, folder: Path, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    node = NodeDouble(controller).node
    (before,) = controller.deployment.next_update(node).bundles
    file = folder / "log-message-v1.0.0.yaml"
    file.write_text(file.read_text() + "# a comment changes nothing\n")
    assert (await client.post("/v1/policies/reload")).json()["changed"] == []
    assert not controller.deployment.next_update(node).bundles
    file.write_text(file.read_text().replace("displayName:", "displayName: Other"))
    foreseen = (await client.post("/v1/policies/check", json=definitions_in(folder))).json()
    assert foreseen["changed"] == ["log-message:v1.0.0"]
    answer = await client.post("/v1/policies/reload?wait=0")
    said = answer.json()
    assert [(one["name"], one["state"]) for one in said["apis"]] == [("orders-v1", "rejected")]  # the node is as it was
    assert {**said, "apis": []} == foreseen
    node.policies = {(one.name, one.version): one.digest for one in controller.definitions}
    (after,) = controller.deployment.next_update(node).bundles
    digests = [{a.definition_digest for c in bundle.chains for a in c.attachments} for bundle in (before, after)]
    assert digests[0] != digests[1]


async def test_a_reload_that_the_storage_breaks_off_changes_nothing(
    client: httpx.AsyncClient,
    controller: Controller,
    folder: Path,
    orders: JsonObject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whenever it does: definitions without the APIs that they concern would never be handed out."""
    await client.post("/v1/apis", json=orders)
    node = NodeDouble(controller).node
    controller.deployment.next_update(node)
    file = folder / "log-message-v1.0.0.yaml"
    file.write_text(file.read_text().replace("displayName:", "displayName: Other"))
    works, left = controller.store.list, 0

    def sometimes() -> list[StoredApi]:
        nonlocal left
        if left == 0:
            raise StorageError("disk on fire", full=False)
        left -= 1
        return works()

    monkeypatch.setattr(controller.store, "list", sometimes)
    for readings in range(5):
        left, before = readings, controller.definitions
        if (await client.post("/v1/policies/reload")).is_success:
            break
        assert controller.definitions is before
    node.policies = {(one.name, one.version): one.digest for one in controller.definitions}
    assert [one.api for one in controller.deployment.next_update(node).bundles] == ["orders-v1"]


NEEDS_MORE = """
parameters:
  type: object
  required: [audience]
  properties: {audience: {type: string}}
"""


@pytest.mark.parametrize("endpoint", ["check", "reload"])
async def test_a_changed_definition_that_an_api_does_not_fit_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, folder: Path, orders: JsonObject, endpoint: str
) -> None:
    await client.post("/v1/apis", json=orders)
    before = (await client.get("/v1/policies")).json()
    file = folder / "log-message-v1.0.0.yaml"
    file.write_text(file.read_text().partition("parameters:")[0] + NEEDS_MORE)
    body = definitions_in(folder) if endpoint == "check" else None
    answer = await client.post(f"/v1/policies/{endpoint}", json=body)
    assert answer.status_code == 422
    (mistake,) = answer.json()["errors"]
    assert mistake["field"] == "API orders-v1: spec.policies[0].params.audience"
    said = "expected a string, got nothing; change the API first, or give the policy a new version"
    assert mistake["message"].startswith(said)
    assert (await client.get("/v1/policies")).json() == before


async def test_what_cannot_be_attached_for_want_of_system_parameters_is_said_before(
    client: httpx.AsyncClient, folder: Path
) -> None:
    (folder / "fresh.yaml").write_text(
        "name: fresh\nversion: v1.0.0\nruntime: python\nprocessingMode: {requestHeaderMode: PROCESS}\n"
        "systemParameters: {type: object, required: [issuer], properties: {issuer: {type: string}}}\n"
    )
    answer = await client.post("/v1/policies/check", json=definitions_in(folder))
    assert answer.status_code == 422
    (mistake,) = answer.json()["errors"]
    assert mistake["field"] == "systemParameters.fresh.issuer"
    assert "GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS" in mistake["message"]


@pytest.mark.parametrize("body", [{}, {"definitions": []}, {"definitions": {"a.yaml": 1}}])
async def test_a_check_asks_for_definitions(client: httpx.AsyncClient, body: JsonObject) -> None:
    answer = await client.post("/v1/policies/check", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (422, 'expected {"definitions": {FILE: TEXT}}')


def versions_of(answer: httpx.Response) -> list[str]:
    return [one["version"] for one in answer.json()["policies"]]


@pytest.mark.parametrize("how", ["at a start", "at a reload"])
async def test_what_asks_for_v1_keeps_its_version_and_moves_when_that_is_gone(
    client: httpx.AsyncClient,
    controller: Controller,
    rewritten: Callable[..., None],
    folder: Path,
    orders: JsonObject,
    how: str,
) -> None:
    orders["spec"]["operations"] = [{"method": "GET", "path": "/{id}"}]
    await client.post("/v1/apis", json=orders)

    async def has(version: str, state: str = "pending") -> None:
        fresh = controller
        if how == "at a start":
            read = controller._read_definitions
            fresh = Controller(controller.store, read, EdgeSettings())
            fresh.load()
        else:
            assert (await client.post("/v1/policies/reload")).status_code == 200
        assert controller.store.get("orders-v1").versions == (version,)
        assert fresh.deployment.status("orders-v1").state == state

    rewritten("v1.0.0", "v1.0.1", keep=True)
    await has("v1.0.0")
    (folder / "log-message-v1.0.0.yaml").unlink()
    await has("v1.0.1")
    rewritten("v1.0.1", "v1.3.0", keep=True, parameters=NEEDS_MORE)
    rewritten("v1.0.1", "v1.2.0")
    await has("v1.2.0")  # v1.3.0 does not take its parameters
    assert versions_of(await client.get("/v1/apis/orders-v1/status")) == ["v1.2.0"]
    assert (await client.get("/v1/apis/orders-v1")).json()["spec"]["policies"][0]["version"] == "v1"


async def test_where_no_version_is_left_the_reason_says_what_was_asked_for_and_what_there_is(
    client: httpx.AsyncClient, controller: Controller, rewritten: Callable[..., None], orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    rewritten("v1.0.0", "v2.0.0")
    later = Controller(controller.store, controller._read_definitions, EdgeSettings())
    later.load()
    status = later.deployment.status("orders-v1")
    assert status.state == "rejected"
    assert "expected a version of log-message in this build, v2.0.0, got 'v1'" in status.reason
    (told,) = later.deployment.next_update(NodeDouble(later).node).bundles
    assert (told.context, told.unserved) == ("/orders/v1.0", status.reason)


async def test_what_asks_for_an_exact_version_never_moves(
    client: httpx.AsyncClient, rewritten: Callable[..., None], folder: Path, orders: JsonObject
) -> None:
    orders["spec"]["policies"][0]["version"] = "v1.0.0"
    await client.post("/v1/apis", json=orders)
    rewritten("v1.0.0", "v1.0.1")
    answer = await client.post("/v1/policies/check", json=definitions_in(folder))
    assert answer.status_code == 422
    assert "v1.0.1, got 'v1.0.0'" in answer.json()["errors"][0]["message"]


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
    def fail(*_: object) -> None:
        raise StorageError("no room", full)

    monkeypatch.setattr(controller.store, "create", fail)
    answer = await client.post("/v1/apis", json=orders)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert "as it was" in answer.json()["detail"]
    assert [(record.message, record.exc_info) for record in caplog.records] == [("storage failed", None)]
    assert (await client.get("/v1/apis")).json() == {"apis": []}
