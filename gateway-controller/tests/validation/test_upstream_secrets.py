"""The certificates and authorities that upstreams name have to be those of the Gateway."""

from __future__ import annotations

import httpx
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.validation import GatewayNames
from gatewright_documents.values import JsonObject


@pytest.mark.anyio
async def test_an_upstream_names_what_the_gateway_has(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject
) -> None:
    orders["spec"]["upstream"]["main"] = {"url": "https://orders", "tls": {"authority": "internal"}}
    controller.gateways.default = lambda: GatewayNames(certificates=[], authorities=["partners"])
    refused = await client.post("/v1/apis", json=orders)
    assert refused.status_code == 422
    assert "expected one that the Gateway names (partners), got 'internal'" in refused.text
    controller.gateways.default = lambda: GatewayNames(certificates=[], authorities=["internal"])
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    controller.gateways.default = lambda: None
    assert (await client.put("/v1/apis/orders-v1", json=orders)).is_success
