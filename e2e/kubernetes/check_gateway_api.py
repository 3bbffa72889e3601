"""Gateway API as operators meet it: a Gateway, routes and policies of their own, with the product's chart."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from e2e.kit.gateway import eventually
from e2e.kubernetes.echo import echo
from e2e.kubernetes.lab.client import Json
from e2e.kubernetes.product import Product

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec:
  gatewayClassName: gatewright
  listeners:
    - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders, namespace: shop}
spec:
  parentRefs: [{name: front}]
  hostnames: [shop.example]
  rules:
    - matches: [{path: {type: PathPrefix, value: /orders}}]
      backendRefs: [{name: orders, port: 80}]
"""


ATTACHMENT = """
apiVersion: gatewright.dev/v1alpha1
kind: PolicyAttachment
metadata: {name: NAME, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: ROUTE}]
  policies: [{name: add-python-header, version: v1, params: PARAMS}]
"""
STOCK = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: stock, namespace: shop}
spec:
  parentRefs: [{name: front}]
  hostnames: [shop.example]
  rules:
    - matches: [{path: {type: PathPrefix, value: /stock}}]
      backendRefs: [{name: orders, port: 80}]
"""
HEADER = "{headerName: x-checked, headerValue: by-python}"


@pytest.fixture(scope="module", name="shop")
def _shop(product: Product) -> Iterator[httpx.Client]:
    """A client of a Gateway with a route to two pods."""
    product.add_class("gatewright")
    product.cluster.client.apply(SHOP)
    product.cluster.client.apply(echo("orders", "shop", 2))
    address = product.address("front", "shop")
    with httpx.Client(base_url=f"http://{address}", headers={"host": "shop.example"}) as client:
        yield client


def _status(client: httpx.Client, path: str) -> int:
    """0: the connection was closed."""
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0


def test_a_gateway_serves_a_route(shop: httpx.Client) -> None:
    eventually("the route is served", lambda: _status(shop, "/orders/1") == 200)
    answers = [shop.get("/orders/1").json() for _ in range(20)]
    assert len({found["pod"] for found in answers}) == 2
    assert _status(shop, "/elsewhere") == 404


def test_a_python_policy_is_attached_to_a_route(product: Product, shop: httpx.Client) -> None:
    attachment = ATTACHMENT.replace("NAME", "checked").replace("ROUTE", "orders").replace("PARAMS", HEADER)
    product.cluster.client.apply(attachment)
    eventually("the policy runs", lambda: shop.get("/orders/1").headers.get("x-checked") == "by-python")
    assert shop.get("/orders/1").json()["headers"]["X-Checked"] == ["by-python"]


def test_a_wrong_attachment_closes_its_route_alone_and_says_why(product: Product, shop: httpx.Client) -> None:
    wrong = ATTACHMENT.replace("NAME", "wrong").replace("ROUTE", "stock").replace("PARAMS", "{headerNam: x}")
    product.cluster.client.apply(STOCK)
    eventually("the second route is served", lambda: _status(shop, "/stock/1") == 200)
    product.cluster.client.apply(wrong)
    eventually("its route is closed", lambda: _status(shop, "/stock/1") == 500)

    def conditions() -> list[Json]:
        found = product.cluster.client.get("gatewright.dev/v1alpha1", "PolicyAttachment", "wrong", "shop")
        return [entry for ancestor in found.get("status", {}).get("ancestors", []) for entry in ancestor["conditions"]]

    eventually("its status says so", conditions)
    (accepted,) = [condition for condition in conditions() if condition["type"] == "Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("False", "Invalid"), accepted
    assert "headerNam" in accepted["message"]
    assert _status(shop, "/orders/1") == 200
