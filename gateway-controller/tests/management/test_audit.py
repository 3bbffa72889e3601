"""The audit log: every write and every refusal, with who asked for it and what it changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject

from .test_revisions import keyed
from .test_tokens import create

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def entries(client: httpx.AsyncClient, **query: str) -> list[JsonObject]:
    """The oldest first."""
    found: list[JsonObject] = (await client.get("/v1/audit", params=query)).json()["entries"]
    return found[::-1]


async def test_writes_and_refusals_are_entered_in_their_order(client: httpx.AsyncClient, orders: JsonObject) -> None:
    ci = await create(client, "ci", "publisher")
    viewer = await create(client, "ann", "viewer")
    assert (await client.post("/v1/apis", json=orders, headers=ci, params={"reason": "new shop"})).status_code == 201
    orders["spec"]["context"] = "/other"
    assert (await client.put("/v1/apis/orders-v1", json=orders, headers=viewer)).status_code == 403
    assert (await client.put("/v1/apis/orders-v1", json=orders, headers=ci)).status_code == 200
    assert (await client.put("/v1/apis/orders-v1", json=orders, headers=ci)).status_code == 200  # the same again
    stale = {**ci, "if-match": '"1"'}
    assert (await client.delete("/v1/apis/orders-v1", headers=stale)).status_code == 412
    assert (await client.get("/v1/tokens", headers=ci)).status_code == 403
    assert (await client.get("/v1/apis", headers={"authorization": "Bearer no"})).status_code == 401
    assert (await client.put("/v1/log-level", json={"level": "debug"})).status_code == 200
    found = [
        (entry["actor"], entry["action"], entry["name"], entry["outcome"], entry["status"])
        for entry in await entries(client)
    ]
    assert found == [
        ("local", "created", "ci", "done", 200),
        ("local", "created", "ann", "done", 200),
        ("token:ci", "created", "orders-v1", "done", 200),
        ("token:ann", "replaceApi", "orders-v1", "refused", 403),
        ("token:ci", "changed", "orders-v1", "done", 200),
        ("token:ci", "deleteApi", "orders-v1", "refused", 412),
        ("token:ci", "listTokens", "", "refused", 403),
        ("stranger", "GET /v1/apis", "", "refused", 401),
        ("local", "replaceLogLevel", "", "done", 200),
    ]
    assert (await entries(client, actor="token:ci"))[0]["reason"] == "new shop"
    refused = await entries(client, outcome="refused", name="orders-v1")
    assert ["has not the right apis:write" in entry["detail"] for entry in refused] == [True, False]


async def test_what_only_looks_leaves_no_entry(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await client.post("/v1/apis", json=orders, params={"dry_run": "true"})
    await client.post("/v1/apis", json={"kind": "Api"}, params={"dry_run": "true"})
    await client.post("/v1/plan", json={"sources": [{"file": "a.yaml", "text": "["}]})
    await client.get("/v1/apis/none")
    viewer = await create(client, "ann", "viewer")
    refused = await client.post("/v1/apis", json=orders, params={"dry_run": "true"}, headers=viewer)
    assert refused.status_code == 403
    assert [entry["name"] for entry in await entries(client)] == ["ann"], "the token alone"


async def test_a_change_is_shown_without_secrets(
    client: httpx.AsyncClient, folder: Path, testdata: Path, orders: JsonObject
) -> None:
    shutil.copy(testdata / "keyed-v1.0.0.yaml", folder)
    await client.post("/v1/policies/reload")
    assert (await client.post("/v1/apis", json=keyed(orders, "planted-one"))).status_code == 201
    changed_document = keyed(orders, "planted-two")
    changed_document["spec"]["context"] = "/other/$version"
    assert (await client.put("/v1/apis/orders-v1", json=changed_document)).status_code == 200
    assert (await client.delete("/v1/apis/orders-v1")).status_code == 204
    answer = await client.get("/v1/audit", params={"changes": "true", "name": "orders-v1"})
    assert "planted" not in answer.text
    deleted, changed, created = answer.json()["entries"]
    assert "+  context: /other/$version" in changed["diff"]
    assert f'password: "{MASK}"  # a new value' in changed["diff"]
    assert deleted["diff"].startswith("--- orders-v1@2\n+++ /dev/null")
    assert created["diff"].startswith("--- /dev/null\n+++ orders-v1@1\n")
    assert f'+        password: "{MASK}"' in created["diff"]
    written = {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Gateway",
        "spec": {"listeners": [{"name": "a", "port": 8080}]},
    }
    assert (await client.put("/v1/gateway", json=written)).status_code == 200
    (gateway,) = (await client.get("/v1/audit", params={"changes": "true", "limit": "1"})).json()["entries"]
    assert gateway["diff"].startswith("--- /dev/null\n+++ gateway@")


async def test_pages_follow_each_other(client: httpx.AsyncClient, orders: JsonObject) -> None:
    for number in range(5):
        orders["spec"]["context"] = f"/c{number}"
        method, path = ("PUT", "/v1/apis/orders-v1") if number else ("POST", "/v1/apis")
        assert (await client.request(method, path, json=orders)).is_success
    path, numbers = "/v1/audit?limit=2&name=orders-v1", []
    while path:
        page = (await client.get(path)).json()
        numbers += [entry["revision"] for entry in page["entries"]]
        path = page.get("next", "")
    assert numbers == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "query",
    [
        "since=",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "since=0001-01-01T00:00:00%2B14:00",
        "since=9999-12-31T23:59:59-14:00",
        "outcome=maybe",
        "before=0",
        "x=1",
    ],
)
async def test_a_wrong_filter_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/audit?{query}")).status_code == 400


async def test_a_refused_name_that_no_database_keeps_is_entered(client: httpx.AsyncClient) -> None:
    """PostgreSQL has NUL in no text."""
    viewer = await create(client, "reader", "viewer")
    assert (await client.delete("/v1/apis/a%00b", headers=viewer)).status_code == 403
    assert (await client.delete("/v1/apis/a%00b")).status_code == 404
    found = await entries(client, outcome="refused")
    assert [(entry["status"], entry["name"]) for entry in found] == [(403, "a\ufffdb"), (404, "a\ufffdb")]
    assert "\\u0000" not in json.dumps(found)


async def test_strangers_do_not_fill_the_log(client: httpx.AsyncClient) -> None:
    for number in range(90):
        await client.get("/v1/apis", headers={"authorization": f"Bearer {number}"})
    assert len(await entries(client, limit="1000")) <= 60
