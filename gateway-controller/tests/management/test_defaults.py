"""Defaults by the management API, in both databases: what is written, refused, and handed to nodes."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.kinds import Keyring, open_kinds
from gatewright_controller.nodes.node import Node
from gatewright_controller.resource.definitions import load_definitions
from gatewright_controller.store import Store, open_store
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.values import JsonObject

from .test_secrets import secret
from .test_tokens import create

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
TEAM = {"team": "payments"}
COUNT, GUARD = {"name": "count", "version": "v1"}, {"name": "guard", "version": "v1"}


@pytest.fixture
async def store(database: str, tmp_path: Path) -> AsyncIterator[Store]:
    (tmp_path / "new").mkdir(exist_ok=True)
    store = open_store(database)
    yield store
    store.close()


@pytest.fixture
def folder(folder: Path, testdata: Path) -> Path:
    shutil.copy(testdata / "sealed-v1.0.0.yaml", folder)
    shutil.copy(testdata / "keyed-v1.0.0.yaml", folder)
    return folder


def defaults(name: str = "payments", labels: JsonObject | None = None, **spec: object) -> JsonObject:
    selection = {} if labels == {} else {"for": {"labels": labels or TEAM}}
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Defaults",
        "metadata": {"name": name},
        "spec": {**selection, **(spec or {"policies": {"before": [GUARD]}})},
    }


def named(orders: JsonObject, name: str, labels: JsonObject | None = None) -> JsonObject:
    document = copy.deepcopy(orders)
    document["metadata"] = {"name": name, "labels": labels or {}}
    document["spec"]["context"] = f"/{name}"
    return document


async def put(client: httpx.AsyncClient, document: JsonObject, **request: object) -> httpx.Response:
    name = document["metadata"]["name"]
    return await client.put(f"/v1/defaults/{name}", json=document, **request)  # type: ignore[arg-type]


def source(document: JsonObject) -> JsonObject:
    return {"file": f"{document['metadata']['name']}.json", "text": json.dumps(document)}


def fields(answer: httpx.Response) -> list[str]:
    return [f"{error['field']}: {error['message']}" for error in answer.json()["errors"]]


class AtNode:
    """What a node has been sent."""

    def __init__(self, controller: Controller, node: Node) -> None:
        self._controller, self._node = controller, node
        self._bundles: dict[str, node_pb2.ApiBundle] = {}

    def update(self) -> set[str]:
        """The names of the APIs that the next message has."""
        update = self._controller.deployment.next_update(self._node)
        self._bundles |= {bundle.api: bundle for bundle in update.bundles}
        return {bundle.api for bundle in update.bundles}

    def policies(self, api: str) -> list[str]:
        (chain,) = [chain for chain in self._bundles[api].chains if chain.operation == "GET /{id}"]
        return [attachment.policy_name for attachment in chain.attachments]


@pytest.fixture
async def at_node(controller: Controller, connect: Callable[[Controller], Node]) -> AtNode:
    return AtNode(controller, connect(controller))


async def test_apis_of_a_label_get_them_together_and_lose_them_together(
    client: httpx.AsyncClient, at_node: AtNode, orders: JsonObject
) -> None:
    for document in (named(orders, "a", TEAM), named(orders, "b", TEAM), named(orders, "c")):
        assert (await client.post("/v1/apis", json=document)).status_code == 201
    at_node.update()
    created = await put(client, defaults())
    assert (created.status_code, created.headers["location"]) == (201, "/v1/defaults/payments")
    assert at_node.update() == {"a", "b"}, "in one message"
    assert [at_node.policies(name) for name in "abc"] == [["guard", "log-message"]] * 2 + [["log-message"]]
    shown = (await client.get("/v1/apis/a")).json()
    assert shown["spec"]["policies"] == orders["spec"]["policies"], "it stays as it was written"
    same = await put(client, defaults())
    assert same.json()["status"]["revision"] == created.json()["status"]["revision"]
    assert at_node.update() == set()
    await put(client, defaults(policies={"after": [COUNT]}))
    assert at_node.update() == {"a", "b"}
    assert at_node.policies("a") == ["log-message", "count"]
    await client.post("/v1/apis", json=named(orders, "d", TEAM))
    assert at_node.update() == {"d"}
    assert at_node.policies("d") == ["log-message", "count"]
    await client.post("/v1/defaults/payments/rollback", json={"revision": -1})
    assert at_node.update() == {"a", "b", "d"}
    assert at_node.policies("d") == ["guard", "log-message"]
    assert (await client.delete("/v1/defaults/payments")).status_code == 204
    assert at_node.update() == {"a", "b", "d"}
    assert at_node.policies("a") == ["log-message"]


async def test_what_an_api_could_not_run_with_is_refused(client: httpx.AsyncClient, orders: JsonObject) -> None:
    document = named(orders, "a", TEAM)
    document["spec"]["idleTimeout"] = "4s"
    assert (await client.post("/v1/apis", json=document)).status_code == 201
    slow = {**COUNT, "timeout": "5s"}
    (mistake,) = fields(await put(client, defaults(policies={"before": [slow]})))
    assert mistake.startswith("API a: spec.idleTimeout: expected at least the time")
    sealed = {"name": "sealed", "version": "v1", "params": {"key": {"secretRef": "pay/key"}}}
    (mistake,) = fields(await put(client, defaults(policies={"before": [sealed]})))
    where = "API a: Defaults payments: spec.policies.before[0].params.key.secretRef"
    assert mistake.startswith(f"{where}: expected a Secret 'pay', got none")
    assert (await client.get("/v1/defaults")).json() == {"defaults": []}


async def test_what_no_api_could_run_with_is_refused_without_one(client: httpx.AsyncClient) -> None:
    unknown = {"policies": {"before": [COUNT, {"name": "none", "version": "v1"}]}}
    for spec, start in (
        (unknown, "spec.policies.before[1].name: expected a policy of this build, got 'none'"),
        ({"policies": {"after": [{"name": "add-headers", "version": "v1"}]}}, "spec.policies.after[0].params"),
        ({"requestTimeout": "9s", "idleTimeout": "1s"}, "spec.idleTimeout: expected at least"),
        ({"enforced": ["requestTimeout"]}, "spec.enforced[0]: expected the name of a setting that spec has"),
        ({"enforced": ["context"]}, "spec.enforced[0]: expected a setting: requestTimeout"),
        ({"for": {"hosts": ["A.example"]}}, "spec.for.hosts[0]: expected a host name"),
        ({"context": "/x"}, "spec.context"),
    ):
        answer = await put(client, defaults("d", {}, **spec))
        assert answer.status_code == 422
        assert fields(answer)[0].startswith(start), fields(answer)


async def test_no_secret_stands_in_them(client: httpx.AsyncClient) -> None:
    keyed = {"name": "keyed", "version": "v1", "params": {"password": "planted"}}
    answer = await put(client, defaults(policies={"before": [keyed]}))
    assert fields(answer) == [
        "spec.policies.before[0].params.password: expected {secretRef: NAME/KEY}, got the secret itself; write a "
        "Secret, and name it here"
    ]
    assert "planted" not in answer.text


async def test_an_api_that_could_not_run_with_them_is_refused(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await put(client, defaults(policies={"before": [{**COUNT, "timeout": "30s"}]}))
    document = named(orders, "a", TEAM)
    document["spec"]["policies"] = [{**COUNT, "timeout": "40s"}]
    (mistake,) = fields(await client.post("/v1/apis", json=document))
    assert "expected timeouts that sum to less than 60s over a chain" in mistake
    document["metadata"]["labels"] = {}
    assert (await client.post("/v1/apis", json=document)).status_code == 201
    document["metadata"]["labels"] = TEAM
    assert (await client.put("/v1/apis/a", json=document)).status_code == 422


async def test_a_secret_that_they_name_stays_and_its_values_are_sent(
    client: httpx.AsyncClient, controller: Controller, connect: Callable[[Controller], Node], orders: JsonObject
) -> None:
    await client.put("/v1/secrets/pay", json=secret())
    sealed = {"name": "sealed", "version": "v1", "params": {"key": {"secretRef": "pay/key"}}}
    await put(client, defaults(policies={"before": [sealed]}))
    assert (await client.delete("/v1/secrets/pay")).status_code == 204, "no API has it yet"
    (mistake,) = fields(await client.post("/v1/apis", json=named(orders, "a", TEAM)))
    assert mistake.startswith("Defaults payments: spec.policies.before[0].params.key.secretRef: expected a Secret")
    await client.put("/v1/secrets/pay", json=secret())
    assert (await client.post("/v1/apis", json=named(orders, "a", TEAM))).status_code == 201
    update = controller.deployment.next_update(connect(controller))
    assert [values.name for values in update.secrets] == ["pay"]
    (mistake,) = fields(await client.delete("/v1/secrets/pay"))
    assert "the key key of pay, which the API a names" in mistake


async def test_a_plan_says_which_apis_change_and_apply_does_it_at_once(
    client: httpx.AsyncClient, at_node: AtNode, orders: JsonObject
) -> None:
    for document in (named(orders, "a", TEAM), named(orders, "b", TEAM), named(orders, "c")):
        await client.post("/v1/apis", json=document)
    at_node.update()
    own = named(orders, "b", TEAM)
    own["spec"]["policies"] = []
    wanted = {"sources": [source(defaults()), source(own)], "owner": "team", "prune": True, "takeOver": True}
    plan = (await client.post("/v1/plan", json=wanted)).json()
    assert [(change["kind"], change["name"]) for change in plan["changes"]] == [("Defaults", "payments"), ("Api", "b")]
    assert plan["changes"][0]["effects"][0] == "a: policy guard v1.0.0 runs on every operation"
    assert "policy guard v1.0.0 runs on every operation" in plan["changes"][1]["effects"]
    assert "policy log-message v1.0.0 no longer runs on every operation" in plan["changes"][1]["effects"]
    assert "guard" not in plan["changes"][1]["diff"]
    applied = await client.post("/v1/apply", json={**wanted, "digest": plan["digest"]})
    assert applied.status_code == 200, applied.text
    outcomes = [(outcome["kind"], outcome["name"], outcome["state"]) for outcome in applied.json()["resources"]]
    assert outcomes == [("Defaults", "payments", "stored"), ("Api", "b", "pending"), ("Api", "a", "pending")]
    assert at_node.update() == {"a", "b"}
    assert [at_node.policies(name) for name in "ab"] == [["guard", "log-message"], ["guard"]]
    assert (await client.post("/v1/plan", json=wanted)).json()["changes"] == []
    gone = {**wanted, "sources": [source(own)]}
    (change,) = (await client.post("/v1/apply", json=gone)).json()["changes"]
    assert (change["action"], change["kind"]) == ("delete", "Defaults")
    assert at_node.update() == {"a", "b"}
    assert at_node.policies("a") == ["log-message"]


async def test_a_set_is_looked_at_as_it_will_be(client: httpx.AsyncClient, orders: JsonObject) -> None:
    """A Secret, Defaults that name it and an API come and go in one step."""
    sealed = {"name": "sealed", "version": "v1", "params": {"key": {"secretRef": "pay/key"}}}
    api = named(orders, "a", TEAM)
    whole = [api, secret(), defaults(policies={"before": [sealed]})]
    owned = {"owner": "team", "prune": True}
    applied = await client.post("/v1/apply", json={"sources": [source(document) for document in whole], **owned})
    assert applied.status_code == 200, applied.text
    without = await client.post("/v1/apply", json={"sources": [source(api), source(whole[2])], **owned})
    assert without.status_code == 422
    assert (await client.post("/v1/apply", json={"sources": [source(api)], **owned})).status_code == 200
    await put(client, defaults("other", policies={"before": [{**COUNT, "timeout": "30s"}]}))
    longer = defaults("more", policies={"before": [{**COUNT, "timeout": "40s"}]})
    refused = await client.post("/v1/plan", json={"sources": [source(longer)]})
    assert refused.status_code == 422
    assert "API a: " in refused.text


async def test_a_start_hands_out_the_same(
    client: httpx.AsyncClient,
    controller: Controller,
    folder: Path,
    connect: Callable[[Controller], Node],
    orders: JsonObject,
) -> None:
    await put(client, defaults())
    await client.post("/v1/apis", json=named(orders, "a", TEAM))
    again = Controller(
        controller.store, lambda: load_definitions(folder, {"guard": {"issuer": "https://id.example"}}), EdgeSettings()
    )
    open_kinds(again, Keyring()).load()
    again.load()
    digests = [side.deployment.next_update(connect(side)).bundles[0].digest for side in (controller, again)]
    assert digests[0] == digests[1]


async def test_a_build_that_does_not_fit_them_is_refused_and_a_newer_version_runs(
    client: httpx.AsyncClient, controller: Controller, folder: Path, at_node: AtNode, orders: JsonObject
) -> None:
    await put(client, defaults(policies={"before": [COUNT]}))
    await client.post("/v1/apis", json=named(orders, "a", TEAM))
    at_node.update()
    text = (folder / "count-v1.0.0.yaml").read_text()
    (folder / "count-v1.1.0.yaml").write_text(text.replace("v1.0.0", "v1.1.0"))
    prospect = await controller.reload_definitions()
    assert prospect.apis == ("a",)
    for version in ("0", "1"):
        (folder / f"count-v1.{version}.0.yaml").unlink()
    answer = await client.post("/v1/policies/reload")
    assert answer.status_code == 422
    assert "API a: Defaults payments: spec.policies.before[0].name" in answer.text


async def test_only_admins_of_all_apis_write_them(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await put(client, defaults())
    publisher = await create(client, "p", "publisher")
    bound = await create(client, "b", "publisher", labels=TEAM)
    viewer = await create(client, "v", "viewer")
    for headers in (publisher, bound, viewer):
        assert (await put(client, defaults(requestTimeout="1s"), headers=headers)).status_code == 403
        assert (await client.delete("/v1/defaults/payments", headers=headers)).status_code == 403
    changed = {"sources": [source(defaults(requestTimeout="1s"))], "owner": "team", "prune": True}
    for headers in (publisher, bound):
        for path in ("/v1/plan", "/v1/apply"):
            assert (await client.post(path, json=changed, headers=headers)).status_code == 403
    assert (await client.get("/v1/defaults", headers=viewer)).status_code == 200
    assert (await client.post("/v1/apis", json=named(orders, "a", TEAM), headers=bound)).status_code == 201


async def test_the_effective_api_says_where_each_part_comes_from(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await put(client, defaults("all", {}, requestTimeout="9s", accessLog="errors", enforced=["requestTimeout"]))
    await put(client, defaults())
    document = named(orders, "a", TEAM)
    document["spec"] |= {"requestTimeout": "30s", "idleTimeout": "50s"}
    assert (await client.post("/v1/apis", json=document)).status_code == 201
    found = (await client.get("/v1/apis/a/effective")).json()
    assert [policy["name"] for policy in found["spec"]["policies"]] == ["guard", "log-message"]
    assert found["spec"]["requestTimeout"] == "9s"
    status = found["status"]
    assert status["defaults"] == ["all", "payments"]
    added, own, operation = status["policies"]
    assert added == {
        "field": "spec.policies[0]",
        "name": "guard",
        "version": "v1.0.0",
        "writtenAt": "spec.policies.before[0]",
        "defaults": "payments",
    }
    assert (own["field"], own["writtenAt"], own.get("defaults")) == ("spec.policies[1]", "spec.policies[0]", None)
    assert operation["writtenAt"] == "spec.operations[1].policies[0]"
    assert status["settings"] == [
        {"name": "requestTimeout", "value": "9s", "defaults": "all", "enforced": True, "overruled": "30s"},
        {"name": "idleTimeout", "value": "50s", "enforced": False},
        {"name": "accessLog", "value": "errors", "defaults": "all", "enforced": False},
    ]
    bound = await create(client, "b", "viewer", labels={"team": "other"})
    assert (await client.get("/v1/apis/a/effective", headers=bound)).status_code == 403
    assert (await client.get("/v1/apis/none/effective")).status_code == 404


async def test_the_apis_that_get_them_are_listed(client: httpx.AsyncClient, orders: JsonObject) -> None:
    for name, labels in (("pay", TEAM), ("refund", TEAM), ("shop", {"team": "shop"})):
        assert (await client.post("/v1/apis", json=named(orders, name, labels))).status_code == 201
    for document, names in ((defaults(), ["pay", "refund"]), (defaults("all", {}), ["pay", "refund", "shop"])):
        name = document["metadata"]["name"]
        assert (await client.put(f"/v1/defaults/{name}", json=document)).status_code == 201
        users = (await client.get(f"/v1/defaults/{name}/users")).json()["users"]
        assert [user["name"] for user in users] == names
