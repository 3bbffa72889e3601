"""Namespaces by the management API: whose contexts and hosts are, and what is refused for it."""

from __future__ import annotations

import copy
import json

import httpx
import pytest
from gatewright_documents.values import JsonObject

from .test_tokens import create

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
PAYMENTS, SHOP = {"team": "payments"}, {"team": "shop"}


def namespace(name: str = "payments", labels: JsonObject | None = None, **spec: object) -> JsonObject:
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Namespace",
        "metadata": {"name": name},
        "spec": {"labels": labels or PAYMENTS, **(spec or {"contexts": ["/payments"], "hosts": ["pay.example"]})},
    }


def at(orders: JsonObject, context: str, labels: JsonObject | None = None, *hosts: str) -> JsonObject:
    """An API of the shop, unless the labels say otherwise."""
    document = copy.deepcopy(orders)
    document["metadata"] = {"name": "api", "labels": SHOP if labels is None else labels}
    document["spec"] |= {"context": context, "hosts": list(hosts)}
    return document


async def put(client: httpx.AsyncClient, document: JsonObject, **request: object) -> httpx.Response:
    name = document["metadata"]["name"]
    return await client.put(f"/v1/namespaces/{name}", json=document, **request)  # type: ignore[arg-type]


def source(document: JsonObject) -> JsonObject:
    return {"file": f"{document['kind']}-{document['metadata']['name']}.json", "text": json.dumps(document)}


def fields(answer: httpx.Response) -> list[str]:
    return [f"{error['field']}: {error['message']}" for error in answer.json()["errors"]]


async def test_no_other_team_publishes_there(client: httpx.AsyncClient, orders: JsonObject) -> None:
    assert (await put(client, namespace())).status_code == 201
    (mistake,) = fields(await client.post("/v1/apis", json=at(orders, "/payments/refunds")))
    assert mistake == (
        "spec.context: expected the labels team=payments, which the Namespace payments wants of APIs at /payments, got "
        "team=shop; choose another place, or have an admin change the Namespace"
    )
    for document, field in (
        (at(orders, "/payments"), "spec.context"),
        (at(orders, "/payments", {}), "spec.context"),
        (at(orders, "/x", None, "shop.example", "pay.example"), "spec.hosts[1]"),
        (at(orders, "/x", None, "*.example"), "spec.hosts[0]"),
    ):
        for answer in (
            await client.post("/v1/apis", json=document),
            await client.post("/v1/apply", json={"sources": [source(document)]}),
            await client.post("/v1/plan", json={"sources": [source(document)]}),
        ):
            assert answer.status_code == 422
            assert [error["field"].removeprefix("Api-api.json:1: ") for error in answer.json()["errors"]] == [field]
    root = at(orders, "/")
    root["spec"]["operations"] = [{"method": "GET", "path": "/other"}, {"method": "GET", "path": "/payments/{id}"}]
    assert fields(await client.post("/v1/apis", json=root))[0].startswith("spec.operations[1].path: expected the label")
    assert (await client.post("/v1/apis", json=at(orders, "/paymentsx"))).status_code == 201
    for document in (at(orders, "/payments", PAYMENTS, "pay.example"), at(orders, "/elsewhere")):
        assert (await client.put("/v1/apis/api", json=document)).status_code == 200
    assert (await client.post("/v1/apis/api/rollback", json={"revision": -1})).status_code == 200
    shop = at(orders, "/payments", SHOP, "pay.example")
    assert (await client.put("/v1/apis/api", json=shop)).status_code == 422, "labels stay, too"


async def test_the_longer_context_and_the_narrower_host_count(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await put(client, namespace(contexts=["/payments"], hosts=["*.pay.example"]))
    await put(client, namespace("refunds", SHOP, contexts=["/payments/refunds"], hosts=["refunds.pay.example"]))
    assert (await client.post("/v1/apis", json=at(orders, "/payments/refunds/v1"))).status_code == 201
    assert (await client.put("/v1/apis/api", json=at(orders, "/payments/refund"))).status_code == 422
    assert (await client.put("/v1/apis/api", json=at(orders, "/x", None, "refunds.pay.example"))).status_code == 200
    assert (await client.put("/v1/apis/api", json=at(orders, "/x", None, "a.pay.example"))).status_code == 422
    (mistake,) = fields(await put(client, namespace("other", SHOP, contexts=["/x", "/payments"])))
    assert mistake.startswith("spec.contexts[1]: expected what no other Namespace has, got /payments, which the Name")
    await put(client, namespace(contexts=["/pay"]))
    assert (await put(client, namespace("other", SHOP, contexts=["/x", "/payments"]))).status_code == 201
    back = await client.post("/v1/namespaces/payments/rollback", json={"revision": -1})
    assert fields(back)[0].startswith("spec.contexts[0]: expected what no other Namespace has, got /payments")


async def test_one_over_apis_of_another_team_is_refused_and_names_them(
    client: httpx.AsyncClient, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=at(orders, "/payments/old"))
    for answer in (
        await put(client, namespace()),
        await client.post("/v1/plan", json={"sources": [source(namespace())]}),
    ):
        assert answer.status_code == 422
        assert "API api: spec.context: expected the labels team=payments" in fields(answer)[0]
    moved = {"sources": [source(namespace()), source(at(orders, "/payments/old", PAYMENTS))]}
    assert (await client.post("/v1/apply", json=moved)).status_code == 200, "both in one step"
    assert (await client.post("/v1/plan", json=moved)).json()["changes"] == []
    assert (await client.delete("/v1/namespaces/payments")).status_code == 204
    assert (await client.put("/v1/apis/api", json=at(orders, "/payments/old"))).status_code == 200


async def test_what_says_nothing_is_refused(client: httpx.AsyncClient) -> None:
    for spec, field in (
        ({"contexts": []}, "spec"),
        ({"contexts": ["payments"]}, "spec.contexts[0]"),
        ({"contexts": ["/payments/"]}, "spec.contexts[0]"),
        ({"hosts": ["Pay.example"]}, "spec.hosts[0]"),
    ):
        answer = await put(client, namespace(**spec))
        assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])
    without = namespace()
    without["spec"]["labels"] = {}
    assert (await put(client, without)).status_code == 422


async def test_only_admins_write_them(client: httpx.AsyncClient, orders: JsonObject) -> None:
    publisher = await create(client, "p", "publisher")
    assert (await put(client, namespace(), headers=publisher)).status_code == 403
    carried = {"sources": [source(namespace())]}
    assert (await client.post("/v1/apply", json=carried, headers=publisher)).status_code == 403
    await put(client, namespace())
    assert (await client.delete("/v1/namespaces/payments", headers=publisher)).status_code == 403
    assert (await client.get("/v1/namespaces", headers=publisher)).status_code == 200
    bound = await create(client, "b", "publisher", labels=SHOP)
    assert (await client.post("/v1/apis", json=at(orders, "/payments"), headers=bound)).status_code == 422


async def test_what_lies_in_it_is_listed(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await put(client, namespace())
    await put(client, namespace("refunds", contexts=["/payments/refunds"]))
    by_path = at(orders, "/payments", PAYMENTS)
    below = at(orders, "/payments/refunds", PAYMENTS) | {"metadata": {"name": "below", "labels": PAYMENTS}}
    by_host = at(orders, "/x", PAYMENTS, "pay.example") | {"metadata": {"name": "by-host", "labels": PAYMENTS}}
    elsewhere = at(orders, "/y") | {"metadata": {"name": "elsewhere"}}
    for document in (by_path, below, by_host, elsewhere):
        assert (await client.post("/v1/apis", json=document)).status_code == 201

    async def users(path: str) -> list[str]:
        return [f"{user['kind']} {user['name']}" for user in (await client.get(path)).json()["users"]]

    assert await users("/v1/namespaces/payments/users") == ["Api api", "Api by-host"]
    assert await users("/v1/namespaces/refunds/users") == ["Api below"]
    first = await client.get("/v1/namespaces/payments/users", params={"limit": 1})
    assert [user["name"] for user in first.json()["users"]] == ["api"]
    assert await users(first.json()["next"]) == ["Api by-host"]
    assert (await client.get("/v1/namespaces/none/users")).status_code == 404
