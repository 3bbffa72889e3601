from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import pytest
from gatewright_documents.values import JsonObject

pytestmark = pytest.mark.anyio


def body(*documents: JsonObject, **more: object) -> dict[str, Any]:
    texts = [{"file": f"{document['metadata']['name']}.json", "text": json.dumps(document)} for document in documents]
    return {"sources": texts, **more}


def changed(document: JsonObject, **spec: object) -> JsonObject:
    copied = copy.deepcopy(document)
    copied["spec"] |= spec
    return copied


async def test_a_plan_says_what_an_apply_then_does(client: httpx.AsyncClient, orders: JsonObject) -> None:
    planned = (await client.post("/v1/plan", json=body(orders, owner="team-a"))).json()
    (change,) = planned["changes"]
    assert (change["action"], change["kind"], change["name"], change["revision"]) == ("add", "Api", "orders-v1", None)
    assert change["diff"].startswith("--- /dev/null\n+++ orders-v1\n")
    assert change["effects"][0] == "requests below /orders/v1.0 on * are served by orders-v1, got 404"
    assert planned["revision"] == 0
    assert (await client.get("/v1/apis")).json()["apis"] == []

    reviewed = body(orders, owner="team-a", digest=planned["digest"], revision=planned["revision"])
    applied = (await client.post("/v1/apply", json=reviewed, params={"reason": "first"})).json()
    assert (applied["changes"], applied["revision"]) == (planned["changes"], 1)
    assert applied["resources"] == [
        {"kind": "Api", "name": "orders-v1", "state": "pending", "reason": "no node is connected"}
    ]
    again = (await client.post("/v1/apply", json=body(orders))).json()
    assert (again["changes"], again["unchanged"]) == ([], [{"kind": "Api", "name": "orders-v1"}])


async def test_a_set_may_have_more_documents_than_a_document_values(client: httpx.AsyncClient) -> None:
    many = [{"file": "a.json", "text": "{}"}] * 20_000
    refused = await client.post("/v1/plan", json={"sources": many, "prune": True})
    assert [error["field"] for error in refused.json()["errors"]] == ["owner"], refused.text


async def test_a_plan_whose_world_has_moved_is_409_with_the_plan_as_it_is_now(
    client: httpx.AsyncClient, orders: JsonObject
) -> None:
    planned = (await client.post("/v1/plan", json=body(orders))).json()
    await client.post("/v1/apply", json=body(changed(orders, displayName="x")))
    refused = await client.post("/v1/apply", json=body(orders, digest=planned["digest"], revision=planned["revision"]))
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert "the API orders-v1 was written since" in refused.json()["detail"]
    assert [change["action"] for change in refused.json()["plan"]["changes"]] == ["change"]


async def test_another_owners_api_is_409_with_the_cure(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await client.post("/v1/apply", json=body(orders, owner="team-a"))
    refused = await client.post("/v1/plan", json=body(orders, owner="team-b"))
    assert (refused.status_code, refused.json()["owner"]) == (409, "team-a")
    assert refused.json()["detail"] == (
        "Api orders-v1 is team-a's, and this is applied for team-b; nothing was changed; leave it to that owner, "
        "or take it over: takeOver, --take-over of a command"
    )
    taken = await client.post("/v1/apply", json=body(orders, owner="team-b", takeOver=True))
    assert taken.json()["changes"][0]["action"] == "change"


async def test_prune_deletes_and_renames(client: httpx.AsyncClient, orders: JsonObject) -> None:
    other = changed(orders, context="/other")
    other["metadata"]["name"] = "other"
    await client.post("/v1/apply", json=body(orders, other, owner="team-a"))
    renamed = copy.deepcopy(orders)
    renamed["metadata"]["name"] = "purchases"
    applied = (await client.post("/v1/apply", json=body(renamed, owner="team-a", prune=True))).json()
    assert [(change["action"], change["name"], change.get("from")) for change in applied["changes"]] == [
        ("rename", "purchases", "orders-v1"),
        ("delete", "other", None),
    ]
    states = {(outcome["name"], outcome["state"]) for outcome in applied["resources"]}
    assert states == {("orders-v1", "deleted"), ("other", "deleted"), ("purchases", "pending")}


async def test_mistakes_have_the_lines_of_the_file_that_a_source_is_a_part_of(client: httpx.AsyncClient) -> None:
    texts = ("kind: Api\nmetadata:\n  name: x\nspec: 1\n", "kind: Api\nmetadata: [\n", "kind: Other\n")
    sources = [{"file": "all.yaml", "text": text, "line": 100 * part} for part, text in enumerate(texts, 1)]
    refused = await client.post("/v1/plan", json={"sources": sources})
    fields = {error["field"] for error in refused.json()["errors"]}
    assert {"all.yaml:103: spec", "all.yaml:202", "all.yaml:300: kind"} <= fields, refused.text


@pytest.mark.parametrize("line", [0, -1, "1", None, 1.5])
async def test_a_line_is_a_number_from_1(client: httpx.AsyncClient, line: object) -> None:
    refused = await client.post("/v1/plan", json={"sources": [{"file": "a.yaml", "text": "", "line": line}]})
    assert [error["field"] for error in refused.json()["errors"]] == ["sources[0].line"], refused.text


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"owner": "Team A"}, "owner"),
        ({"prune": True}, "owner"),
        ({"take_over": True}, "take_over"),
        ({"digest": 1}, "digest"),
    ],
)
async def test_a_wrong_body_is_422(
    client: httpx.AsyncClient, orders: JsonObject, more: dict[str, object], field: str
) -> None:
    refused = await client.post("/v1/apply", json=body(orders, **more))
    assert refused.status_code == 422, refused.text
    assert [error["field"] for error in refused.json()["errors"]] == [field]
    assert (await client.get("/v1/apis")).json()["apis"] == []


async def test_a_source_that_is_too_large_is_413(client: httpx.AsyncClient, orders: JsonObject) -> None:
    refused = await client.post("/v1/plan", json=body(changed(orders, displayName="x" * 20_000)))
    assert refused.status_code == 413
