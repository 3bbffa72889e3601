"""What a token that is bound to some APIs may do with these, and with others."""

from __future__ import annotations

import copy
import json

import httpx
import pytest
from gatewright_documents.values import JsonObject

from .test_tokens import create

LISTENING = {"listeners": [{"name": "http", "port": 8080}]}
GATEWAY = {
    "file": "gateway.json",
    "text": json.dumps({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": LISTENING}),
}
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def named(orders: JsonObject, name: str, **labels: str) -> JsonObject:
    """An API of this name, at a context of its own."""
    document = copy.deepcopy(orders)
    document["metadata"] = {"name": name, "labels": labels}
    document["spec"]["context"] = f"/{name}"
    return document


@pytest.fixture
async def team(client: httpx.AsyncClient, orders: JsonObject) -> dict[str, str]:
    """Of a publisher bound to team `a`; `mine` is that team's API, `theirs` another's."""
    for document in (named(orders, "mine", team="a"), named(orders, "theirs", team="b")):
        assert (await client.post("/v1/apis", json=document)).status_code == 201
    return await create(client, "team-a", "publisher", labels={"team": "a"})


async def test_lists_have_what_the_token_is_for(client: httpx.AsyncClient, team: dict[str, str]) -> None:
    listed = (await client.get("/v1/apis", headers=team)).json()["apis"]
    assert [api["metadata"]["name"] for api in listed] == ["mine"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/status"),
        ("GET", "/revisions"),
        ("GET", "/revisions/0"),
        ("GET", "/diff?from=0"),
        ("DELETE", ""),
        ("POST", "/rollback"),
    ],
)
async def test_another_teams_api_is_refused_and_the_own_is_not(
    client: httpx.AsyncClient, team: dict[str, str], method: str, path: str
) -> None:
    body = {"revision": 0} if path == "/rollback" else None
    refused = await client.request(method, f"/v1/apis/theirs{path}", headers=team, json=body)
    assert refused.status_code == 403
    assert "APIs with the label team=a" in refused.json()["detail"]
    assert (await client.get("/v1/apis/theirs")).status_code == 200
    done = await client.request(method, f"/v1/apis/mine{path}", headers=team, json=body)
    assert done.status_code in (200, 204)


async def test_an_api_neither_leaves_the_bounds_nor_comes_into_them(
    client: httpx.AsyncClient, team: dict[str, str], orders: JsonObject
) -> None:
    for tried in ({}, {"dry_run": "true"}):
        given_away = await client.put("/v1/apis/mine", json=named(orders, "mine", team="b"), headers=team, params=tried)
        taken = await client.put("/v1/apis/theirs", json=named(orders, "theirs", team="a"), headers=team, params=tried)
        created = await client.post("/v1/apis", json=named(orders, "new"), headers=team, params=tried)
        assert [answer.status_code for answer in (given_away, taken, created)] == [403, 403, 403]
    assert (await client.get("/v1/apis/mine")).json()["metadata"]["labels"] == {"team": "a"}
    assert (await client.get("/v1/apis/new")).status_code == 404
    own = await client.post("/v1/apis", json=named(orders, "new", team="a"), headers=team)
    assert own.status_code == 201


async def test_a_set_is_refused_whole_where_a_part_of_it_is(
    client: httpx.AsyncClient, team: dict[str, str], orders: JsonObject
) -> None:
    def source(document: JsonObject) -> JsonObject:
        return {"file": f"{document['metadata']['name']}.json", "text": json.dumps(document)}

    mine, theirs = named(orders, "mine", team="a"), named(orders, "theirs", team="b")
    mine["spec"]["context"], theirs["spec"]["context"] = "/other", "/another"
    for path in ("/v1/plan", "/v1/apply"):
        refused = await client.post(path, json={"sources": [source(mine), source(theirs)]}, headers=team)
        assert refused.status_code == 403, path
        refused = await client.post(path, json={"sources": [source(mine), GATEWAY]}, headers=team)
        assert (refused.status_code, "gateway:write" in refused.json()["detail"]) == (403, True), path
    assert (await client.get("/v1/apis/mine")).json()["spec"]["context"] == "/mine"
    done = await client.post("/v1/apply", json={"sources": [source(mine)]}, headers=team)
    assert done.status_code == 200
    assert (await client.get("/v1/apis/mine")).json()["spec"]["context"] == "/other"


async def test_pruning_reaches_no_other_teams(
    client: httpx.AsyncClient, team: dict[str, str], orders: JsonObject
) -> None:
    """Owners are names that anybody may give: what is pruned is asked for, too."""
    body = named(orders, "theirs", team="b")
    assert (await client.put("/v1/apis/theirs", json=body, params={"owner": "x"})).status_code == 200
    refused = await client.post("/v1/apply", json={"sources": [], "owner": "x", "prune": True}, headers=team)
    assert refused.status_code == 403
    assert (await client.get("/v1/apis/theirs")).status_code == 200


async def test_a_deleted_api_keeps_its_history_from_others(client: httpx.AsyncClient, team: dict[str, str]) -> None:
    for name in ("mine", "theirs"):
        assert (await client.delete(f"/v1/apis/{name}")).status_code == 204
    assert (await client.get("/v1/apis/mine/revisions", headers=team)).status_code == 200
    assert (await client.get("/v1/apis/theirs/revisions", headers=team)).status_code == 403
    back = await client.post("/v1/apis/theirs/rollback", json={"revision": -1}, headers=team)
    assert back.status_code == 403


@pytest.mark.parametrize("path", ["/diff", "/revisions/0", "/revisions/999"])
@pytest.mark.parametrize("is_there", [True, False])
async def test_what_an_api_of_others_never_was_is_refused_as_the_rest(
    client: httpx.AsyncClient, team: dict[str, str], path: str, is_there: bool
) -> None:
    """404 would say which revisions there are."""
    if not is_there:
        await client.delete("/v1/apis/theirs")
    assert (await client.get(f"/v1/apis/theirs{path}", headers=team)).status_code == 403


@pytest.mark.parametrize("path", ["/diff", "/revisions/0", "/revisions/999"])
@pytest.mark.parametrize("is_there", [True, False])
async def test_what_a_consumer_of_others_never_was_is_refused_as_the_rest(
    client: httpx.AsyncClient, team: dict[str, str], path: str, is_there: bool
) -> None:
    metadata = {"name": "theirs", "labels": {"team": "b"}}
    consumer = {"apiVersion": "gatewright.dev/v1", "kind": "Consumer", "metadata": metadata, "spec": {}}
    assert (await client.put("/v1/consumers/theirs", json=consumer)).status_code == 201
    if not is_there:
        await client.delete("/v1/consumers/theirs")
    assert (await client.get(f"/v1/consumers/theirs{path}", headers=team)).status_code == 403


async def test_exchanges_are_asked_for_by_api(client: httpx.AsyncClient, team: dict[str, str]) -> None:
    for api, status in (("", 403), ("theirs", 403), ("mine", 201)):
        body = {"filter": {"api": api} if api else {}, "seconds": 5}
        assert (await client.post("/v1/recordings", json=body, headers=team)).status_code == status
    assert (await client.post("/v1/recordings", json={"filter": {"api": "theirs"}, "seconds": 5})).status_code == 201
    under_way = (await client.get("/v1/recordings", headers=team)).json()["recordings"]
    assert [recording["filter"]["api"] for recording in under_way] == ["mine"]
    everyone = (await client.get("/v1/recordings")).json()["recordings"]
    theirs = next(recording["id"] for recording in everyone if recording["filter"]["api"] == "theirs")
    for method in ("GET", "DELETE"):
        assert (await client.request(method, f"/v1/recordings/{theirs}", headers=team)).status_code == 403
    assert (await client.get("/v1/exchanges?kept=true&seconds=1", headers=team)).status_code == 403


@pytest.mark.parametrize("path", ["/theirs/7", "/none/7", "/mine/../theirs/7", "/mine/%2e%2e/theirs/7", "//theirs/7"])
async def test_requests_are_sent_to_the_own_apis_alone(
    client: httpx.AsyncClient, team: dict[str, str], path: str
) -> None:
    refused = await client.post("/v1/requests", json={"path": path}, headers=team)
    assert (refused.status_code, refused.json()["title"]) in ((403, "Forbidden"), (422, "Unprocessable Entity"))
    own = await client.post("/v1/requests", json={"path": "/mine/7?x=/theirs"}, headers=team)
    assert own.status_code == 409, "there is no listener here"


@pytest.mark.parametrize("path", ["/v1/nodes", "/metrics", "/v1/tokens", "/v1/audit", "/v1/log-level"])
async def test_what_concerns_all_apis_is_not_for_a_bound_token(
    client: httpx.AsyncClient, team: dict[str, str], path: str
) -> None:
    refused = await client.get(path, headers=team)
    assert refused.status_code == 403
    assert "token:team-a has not the right" in refused.json()["detail"]
    assert refused.json()["detail"].endswith("its role is publisher for some APIs")
