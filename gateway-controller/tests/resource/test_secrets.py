from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.api import create_app
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.values import JsonObject

HAS_SECRETS = """
parameters:
  type: object
  properties:
    password: {type: string, writeOnly: true, minLength: 3}
    user: {type: string}
    keys: {type: array, items: {type: object, properties: {id: {type: string}, key: {type: string, format: password}}}}
"""


@pytest.mark.anyio
async def test_secrets_are_written_and_never_shown(
    client: httpx.AsyncClient,
    controller: Controller,
    rewritten: Callable[..., None],
    orders: JsonObject,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    rewritten("v1.0.0", "v1.1.0", parameters=HAS_SECRETS)
    await client.post("/v1/policies/reload")
    keys = [{"id": "a", "key": "s3cret-a"}, {"id": "b", "key": "s3cret-b"}]
    params = {"password": "s3cret-p", "user": "u", "keys": keys}
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v1", "params": params}]
    answers = [await client.post("/v1/apis", json=orders)]
    shown = answers[0].json()
    hidden = "********"
    masked = {"password": hidden, "user": "u", "keys": [{"id": "a", "key": hidden}, {"id": "b", "key": hidden}]}
    assert shown["spec"]["policies"][0]["params"] == masked

    shown["spec"]["policies"][0]["params"]["user"] = "other"
    shown["spec"]["policies"][0]["params"]["keys"].reverse()
    answers += [await client.put("/v1/apis/orders-v1", json=shown), await client.get("/v1/apis")]
    stored = controller.store.get("orders-v1").api.spec.policies[0].params
    assert stored == {"password": "s3cret-p", "user": "other", "keys": [*reversed(keys)]}

    shown["spec"]["policies"][0]["params"]["keys"][0]["id"] = "c"
    refused = await client.put("/v1/apis/orders-v1", json=shown)
    assert [(mistake["field"], mistake["message"]) for mistake in refused.json()["errors"]] == [
        ("spec.policies[0].params.keys[0].key",
         "expected the secret itself, got ********, its mask, and none is stored at this place"),
    ]  # fmt: skip
    shown["spec"]["policies"][0]["params"] = {"password": "s3", "keys": [{"key": 987654321}]}
    answers += [refused, await client.put("/v1/apis/orders-v1", json=shown), await client.get("/v1/apis/orders-v1")]
    assert len(answers[-2].json()["errors"]) == 2
    rewritten("v1.1.0", "v2.0.0")
    later = Controller(controller.store, controller._read_definitions, EdgeSettings())
    transport = httpx.ASGITransport(create_app(later, Gateways(later.store, later.deployment, None)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as other:
        answers.append(await other.get("/v1/apis"))
    for text in (*(answer.text for answer in answers), caplog.text):
        assert "s3" not in text
        assert "987654321" not in text


@pytest.mark.anyio
async def test_a_secret_is_that_of_its_operation_among_those_that_differ_by_matches(
    client: httpx.AsyncClient, controller: Controller, rewritten: Callable[..., None], orders: JsonObject
) -> None:
    rewritten("v1.0.0", "v1.1.0", parameters=HAS_SECRETS)
    await client.post("/v1/policies/reload")

    def operation(secret: str, **matches: object) -> JsonObject:
        policies = [{"name": "log-message", "version": "v1", "params": {"password": secret}}]
        return {"method": "GET", "path": "/x", "policies": policies, **matches}

    two = [{"name": "x-b", "present": True}, {"name": "X-A", "exact": "1"}]
    orders["spec"]["operations"] = [
        operation("both", headers=two),
        operation("query", query=[{"name": "v", "exact": "1"}]),
        operation("none"),
    ]
    shown = (await client.post("/v1/apis", json=orders)).json()
    shown["spec"]["operations"].reverse()
    shown["spec"]["operations"][2]["headers"].reverse()  # in another order, and spelled otherwise, it is the same
    shown["spec"]["operations"][2]["headers"][0]["name"] = "x-a"
    changed = await client.put("/v1/apis/orders-v1", json=shown)
    assert changed.status_code == 200, changed.text
    stored = controller.store.get("orders-v1").api.spec.operations
    assert [kept.policies[0].params["password"] for kept in stored] == ["none", "query", "both"]
    shown["spec"]["operations"][1]["query"][0]["exact"] = "2"
    refused = await client.put("/v1/apis/orders-v1", json=shown)
    assert [mistake["field"] for mistake in refused.json()["errors"]] == [
        "spec.operations[1].policies[0].params.password"
    ]
    shown["spec"]["operations"][1]["query"] = [{"name": "v", "nonsense": 1}, 7]
    assert (await client.put("/v1/apis/orders-v1", json=shown)).status_code == 422


@pytest.mark.anyio
@pytest.mark.parametrize("gone", [True, False])
async def test_a_mask_never_becomes_a_value_of_another_version(
    client: httpx.AsyncClient, rewritten: Callable[..., None], orders: JsonObject, gone: bool
) -> None:
    """A secret of one version is none in another; or the build no longer has the version, and everything is masked."""
    rewritten("v1.0.0", "v1.1.0", parameters=HAS_SECRETS)
    await client.post("/v1/policies/reload")
    params = {"password": "s3cret-p", "user": "u"}
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v1", "params": params}]
    shown = (await client.post("/v1/apis", json=orders)).json()
    rewritten("v1.1.0", "v2.0.0", keep=True, parameters=HAS_SECRETS.replace(", writeOnly: true", ""))
    await client.post("/v1/policies/reload")
    shown["spec"]["policies"][0]["version"] = "v2"
    shown["spec"]["policies"][0]["params"] |= {"user": "********"} if gone else {}
    refused = await client.put("/v1/apis/orders-v1", json=shown)
    assert refused.status_code == 422, refused.text
    masked = ["password", "user"] if gone else ["password"]
    assert [mistake["field"] for mistake in refused.json()["errors"]] == [
        f"spec.policies[0].params.{name}" for name in masked
    ]
