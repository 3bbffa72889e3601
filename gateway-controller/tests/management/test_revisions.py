"""The history of resources through the management API: who wrote what, the difference, and the way back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.api import create_app
from gatewright_controller.nodes.node import Node
from gatewright_controller.store import GATEWAY, THE_GATEWAY, UNKNOWN, Store
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
URL = "/v1/apis/orders-v1"
TOKEN = "of-the-operator"  # noqa: S105


def entry(**members: object) -> JsonObject:
    """Of a client of this test, but its time."""
    return {"actor": "local", "origin": "127.0.0.1", "reason": "", "owner": "", **members}


def without_times(answer: httpx.Response) -> list[JsonObject]:
    entries = answer.json()["revisions"]
    assert all(found.pop("at").endswith("Z") for found in entries)
    return list(entries)


async def three_versions(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await client.post("/v1/apis", json=orders, params={"reason": "first", "owner": "team-a"})
    for number in (2, 3):
        orders["spec"]["displayName"] = f"Orders {number}"
        answer = await client.put(URL, json=orders, params={"reason": f"number {number}"})
        assert answer.json()["status"]["owner"] == "team-a"


async def test_each_write_is_in_the_history(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await three_versions(client, orders)
    await client.put(URL, json=orders, params={"reason": "nothing new"})
    await client.delete(URL, params={"reason": "gone"})
    found = without_times(await client.get(f"{URL}/revisions"))
    assert found == [
        entry(revision=4, action="deleted", reason="gone", owner="team-a"),
        entry(revision=3, action="changed", reason="number 3", owner="team-a"),
        entry(revision=2, action="changed", reason="number 2", owner="team-a"),
        entry(revision=1, action="created", reason="first", owner="team-a"),
    ]


async def test_the_history_comes_in_pages(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await three_versions(client, orders)
    first = (await client.get(f"{URL}/revisions", params={"limit": 2})).json()
    assert [found["revision"] for found in first["revisions"]] == [3, 2]
    second = (await client.get(first["next"])).json()
    assert ([found["revision"] for found in second["revisions"]], "next" in second) == ([1], False)


async def test_a_revision_is_shown_as_it_was(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await three_versions(client, orders)
    newest = await client.get(URL)
    for name, revision, display in (("1", 1, None), ("-2", 1, None), ("-1", 2, "Orders 2"), ("0", 3, "Orders 3")):
        shown = await client.get(f"{URL}/revisions/{name}")
        assert (shown.json()["status"]["revision"], shown.json()["spec"].get("displayName")) == (revision, display)
        assert shown.headers["etag"] == f'"{revision}"'
    assert shown.headers["etag"] == newest.headers["etag"]
    text = await client.get(f"{URL}/revisions/3", headers={"accept": "application/yaml"})
    assert text.text == (await client.get(URL, headers={"accept": "application/yaml"})).text


async def test_what_two_revisions_have_different_is_a_diff(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await three_versions(client, orders)
    answer = (await client.get(f"{URL}/diff", params={"from": "2", "to": "3"})).json()
    assert (answer["from"]["revision"], answer["to"]["reason"]) == (2, "number 3")
    assert answer["diff"].startswith("--- orders-v1@2\n+++ orders-v1@3\n")
    assert "-  displayName: Orders 2\n+  displayName: Orders 3\n" in answer["diff"]
    assert (await client.get(f"{URL}/diff")).json() == answer, "the newest, and the one before it"
    await client.delete(URL)
    gone = (await client.get(f"{URL}/diff")).json()["diff"]
    assert gone.startswith("--- orders-v1@3\n+++ /dev/null\n")


def keyed(orders: JsonObject, secret: str) -> JsonObject:
    policies = [{"name": "keyed", "version": "v1", "params": {"password": secret}}]
    return {**orders, "spec": {**orders["spec"], "policies": policies}}


async def test_secrets_of_past_revisions_are_masked_and_restored(
    client: httpx.AsyncClient, controller: Controller, folder: Path, testdata: Path, orders: JsonObject
) -> None:
    shutil.copy(testdata / "keyed-v1.0.0.yaml", folder)
    await client.post("/v1/policies/reload")
    answer = await client.post("/v1/apis", json=keyed(orders, "hunter2"))
    assert answer.status_code == 201, answer.text
    await client.put(URL, json=keyed(orders, "hunter3"))
    answers = [
        await client.get(f"{URL}/revisions/1"),
        await client.get(f"{URL}/revisions/1", headers={"accept": "application/yaml"}),
        await client.get(f"{URL}/diff"),
        await client.get(f"{URL}/revisions"),
        await client.post(f"{URL}/rollback", json={"revision": 1}, params={"dry_run": "true"}),
        await client.post(f"{URL}/rollback", json={"revision": 1}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert "hunter" not in answer.text
    assert "# a new value" in answers[2].json()["diff"]
    assert "# a new value" in answers[4].json()["status"]["change"]["diff"]
    (attachment,) = controller.store.get("orders-v1").api.spec.policies
    assert attachment.params == {"password": "hunter2"}


async def test_a_rollback_is_a_new_revision_that_nodes_get(
    client: httpx.AsyncClient,
    controller: Controller,
    connect: Callable[[Controller], Node],
    orders: JsonObject,
) -> None:
    await three_versions(client, orders)
    orders["spec"]["operations"][0]["path"] = "/other/{id}"
    await client.put(URL, json=orders)
    node = connect(controller)
    controller.deployment.next_update(node)
    before = (await client.get(f"{URL}/revisions/1")).json()
    answer = await client.post(f"{URL}/rollback", json={"revision": 1}, params={"reason": "number 3 is wrong"})
    assert (answer.status_code, answer.json()["spec"]) == (200, before["spec"])
    assert answer.json()["status"]["revision"] == 5
    assert [bundle.api for bundle in controller.deployment.next_update(node).bundles] == ["orders-v1"]
    newest = without_times(await client.get(f"{URL}/revisions"))[0]
    assert newest == entry(
        revision=5, action="rolledBack", reason="number 3 is wrong", owner="team-a", **{"from": "orders-v1@1"}
    )
    again = await client.post(f"{URL}/rollback", json={"revision": 1})
    assert again.json()["status"]["revision"] == 5, "what changes nothing is no revision"


async def test_a_rollback_that_is_tried_changes_nothing(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await three_versions(client, orders)
    tried = await client.post(f"{URL}/rollback", json={"revision": 2}, params={"dry_run": "true"})
    assert "-  displayName: Orders 3\n+  displayName: Orders 2\n" in tried.json()["status"]["change"]["diff"]
    assert (await client.get(URL)).headers["etag"] == '"3"'


async def test_what_was_deleted_is_rolled_back_to_what_it_was(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await three_versions(client, orders)
    await client.delete(URL)
    refused = await client.post(f"{URL}/rollback", json={"revision": 4})
    assert refused.status_code == 422
    assert "got orders-v1@4, by which it was deleted; name an older one" in refused.json()["errors"][0]["message"]
    assert (await client.get(f"{URL}/revisions/4")).status_code == 404
    answer = await client.post(f"{URL}/rollback", json={"revision": -1})
    assert (answer.status_code, answer.json()["spec"]["displayName"]) == (200, "Orders 3")
    assert answer.json()["status"]["owner"] == "team-a"


async def test_a_rollback_keeps_the_exact_versions_of_its_time(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject, rewritten: Callable[..., None]
) -> None:
    await client.post("/v1/apis", json=orders)
    before = controller.store.get("orders-v1").versions
    rewritten("v1.0.0", "v1.1.0", keep=True)
    await client.post("/v1/policies/reload")
    orders["spec"]["displayName"] = "Orders 2"
    await client.put(URL, json=orders)
    assert controller.store.get("orders-v1").versions != before, "a write takes the newest"
    await client.post(f"{URL}/rollback", json={"revision": 1})
    assert controller.store.get("orders-v1").versions == before


async def test_a_rollback_to_what_no_longer_fits_says_what(
    client: httpx.AsyncClient, orders: JsonObject, folder: Path
) -> None:
    await client.post("/v1/apis", json=orders)
    operations = [{"method": "GET", "path": "/"}]
    await client.put(URL, json={**orders, "spec": {**orders["spec"], "policies": [], "operations": operations}})
    other = {**orders, "metadata": {"name": "other"}, "spec": {**orders["spec"], "context": "/other"}}
    other["spec"] |= {"policies": [], "operations": operations}
    await client.post("/v1/apis", json=other)
    (folder / "log-message-v1.0.0.yaml").unlink()
    assert (await client.post("/v1/policies/reload")).status_code == 200
    refused = await client.post(f"{URL}/rollback", json={"revision": 1})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "spec.policies[0].name")
    await client.put(URL, json={**other, "metadata": {"name": "orders-v1"}, "spec": {**other["spec"], "context": "/o"}})
    await client.put("/v1/apis/other", json={**other, "spec": {**other["spec"], "context": orders["spec"]["context"]}})
    taken = await client.post(f"{URL}/rollback", json={"revision": 2})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (422, "spec.context")
    assert "other" in taken.text


async def test_another_owner_is_refused_with_the_cure(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await three_versions(client, orders)
    other = {"owner": "team-b"}
    orders["spec"]["displayName"] = "Ours"
    for answer in (
        await client.put(URL, json=orders, params=other),
        await client.put(URL, json=orders, params={**other, "dry_run": "true"}),
        await client.delete(URL, params=other),
        await client.post(f"{URL}/rollback", json={"revision": 1}, params=other),
    ):
        assert (answer.status_code, answer.json()["owner"]) == (409, "team-a")
        assert "is owned by team-a, and this is a write for team-b; leave it" in answer.json()["detail"]
        assert "--take-over" in answer.json()["detail"]
    taken = await client.put(URL, json=orders, params={**other, "take_over": "true"})
    assert taken.json()["status"]["owner"] == "team-b"


async def test_a_rollback_is_for_the_revision_that_was_read(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await three_versions(client, orders)
    late = await client.post(f"{URL}/rollback", json={"revision": 1}, headers={"if-match": '"2"'})
    assert (late.status_code, late.json()["revision"]) == (412, 3)
    await client.delete(URL)
    gone = await client.post(f"{URL}/rollback", json={"revision": 1}, headers={"if-match": '"3"'})
    assert (gone.status_code, gone.json()["revision"]) == (412, 0)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"owner": "Team A"}, "expected owner to be a name of at most 63"),
        ({"owner": ""}, "expected owner to be a name of at most 63"),
        ({"owner": "a" * 64}, "expected owner to be a name of at most 63"),
        ({"reason": "x" * 1001}, "expected reason to have at most 1000 characters, got 1001"),
        ({"reason": "a\0b"}, "expected reason to be text without control characters"),
        ({"take_over": "yes"}, "expected take_over to be true or false"),
    ],
)
async def test_terms_that_say_nothing_are_refused(
    client: httpx.AsyncClient, orders: JsonObject, query: dict[str, str], detail: str
) -> None:
    answer = await client.post("/v1/apis", json=orders, params=query)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/apis/none/revisions", 404),
        ("/v1/apis/none/revisions/1", 404),
        ("/v1/apis/none/diff", 404),
        (f"{URL}/revisions/7", 404),
        (f"{URL}/revisions/x", 400),
        (f"{URL}/revisions/{10**20}", 400),
        (f"{URL}/revisions?limit=0", 400),
        (f"{URL}/diff?from=1&to=9", 404),
        ("/v1/apis/a%00b/revisions", 404),
        ("/v1/gateway/revisions", 404),
        ("/v1/gateway/revisions/1", 404),
    ],
)
async def test_what_is_not_in_the_history_is_not_found(
    client: httpx.AsyncClient, orders: JsonObject, path: str, status: int
) -> None:
    await client.post("/v1/apis", json=orders)
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_the_first_write_differs_from_nothing_that_is_kept(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await client.post("/v1/apis", json=orders)
    missing = (await client.get(f"{URL}/diff")).json()["detail"]
    expected = "the API orders-v1 has no write 1 before its newest, 1: the oldest that is kept is 1"
    assert missing == f"{expected} (historyKeep says how many are); GET {URL}/revisions lists them"


@pytest.mark.parametrize(
    "body", [{}, {"revision": "1"}, {"revision": True}, {"revision": 1, "more": 1}, {"revision": 10**30}]
)
async def test_a_rollback_names_its_revision(client: httpx.AsyncClient, orders: JsonObject, body: JsonObject) -> None:
    await client.post("/v1/apis", json=orders)
    assert (await client.post(f"{URL}/rollback", json=body)).status_code == 422


async def test_the_gateway_has_a_history(client: httpx.AsyncClient) -> None:
    def on(port: int, value: str = "hunter2") -> JsonObject:
        logs = {"collector": "a.example:4317", "headers": {"x-key": value}}
        spec = {"listeners": [{"name": "http", "port": port}], "logs": logs}
        return {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}

    first = await client.put("/v1/gateway", json=on(8080), params={"reason": "start", "owner": "platform"})
    assert first.status_code == 200, first.text
    await client.put("/v1/gateway", json=on(8081, "hunter3"))
    shown = await client.get("/v1/gateway")
    assert (shown.headers["etag"], shown.json()["status"]["owner"]) == ('"2"', "platform")
    assert (await client.put("/v1/gateway", json=on(8082), headers={"if-match": '"1"'})).status_code == 412
    assert (await client.put("/v1/gateway", json=on(8082), params={"owner": "other"})).status_code == 409
    answers = [
        await client.get("/v1/gateway/revisions/1"),
        await client.get("/v1/gateway/revisions/1", headers={"accept": "application/yaml"}),
        await client.get("/v1/gateway/diff"),
        await client.post("/v1/gateway/rollback", json={"revision": 1}, params={"dry_run": "true"}),
        await client.post("/v1/gateway/rollback", json={"revision": 1}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert "hunter" not in answer.text
    diff = answers[2].json()["diff"]
    assert "-      port: 8080\n+      port: 8081\n" in diff, diff
    assert "# a new value" in diff
    assert answers[3].json()["status"]["change"]["changed"] == ["http"]
    assert answers[4].json()["spec"]["listeners"][0]["port"] == 8080
    await client.delete("/v1/gateway", params={"reason": "no more"})
    assert (await client.get("/v1/gateway/revisions/0")).status_code == 404
    found = without_times(await client.get("/v1/gateway/revisions"))
    assert [(write["revision"], write["action"], write["reason"], write.get("from")) for write in found] == [
        (4, "deleted", "no more", None),
        (3, "rolledBack", "", "gateway@1"),
        (2, "changed", "", None),
        (1, "created", "start", None),
    ]
    restored = await client.post("/v1/gateway/rollback", json={"revision": 2})
    assert restored.json()["spec"]["listeners"][0]["port"] == 8081


async def test_every_write_has_its_author(controller: Controller, store: Store, orders: JsonObject) -> None:
    """By whichever endpoint: one that forgets who asked would leave it unknown."""
    gateways = Gateways(store, controller.deployment, None)
    app = create_app(controller, gateways, token=TOKEN)
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1234))
    headers = {"authorization": f"Bearer {TOKEN}"}
    gateway = {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Gateway",
        "spec": {"listeners": [{"name": "a", "port": 8080}]},
    }
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        because = {"reason": "because"}
        await client.post("/v1/apis", json=orders, params=because)
        orders["spec"]["displayName"] = "changed"
        await client.put(URL, json=orders, params=because)
        source = {"file": "x.json", "text": json.dumps(orders).replace("changed", "reloaded")}
        reloaded = await client.post("/v1/policies/reload", json={"apis": [source]}, params=because)
        assert reloaded.status_code == 200, reloaded.text
        await client.post(f"{URL}/rollback", json={"revision": 1}, params=because)
        await client.delete(URL, params=because)
        await client.put("/v1/gateway", json=gateway, params=because)
        await client.post("/v1/gateway/rollback", json={"revision": 6}, params=because)
        await client.delete("/v1/gateway", params=because)
    entries = [*store.history("Api", "orders-v1"), *store.history(GATEWAY, THE_GATEWAY)]
    actions = [found.action for found in entries]
    assert actions == ["deleted", "rolledBack", "changed", "changed", "created", "deleted", "created"]
    for found in entries:
        assert (found.author.actor, found.author.origin, found.author.reason) == ("token", "192.0.2.7", "because")
        assert found.author.actor != UNKNOWN.actor
