"""Gateway API as an operator meets it: a Gateway, a route and its backends, in a cluster with the product's chart."""

from __future__ import annotations

import httpx
import yaml

from e2e.kit.gateway import eventually
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
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec:
  selector: {app: orders}
  ports: [{port: 80, targetPort: 3000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders}}
    spec:
      containers:
        - name: echo
          image: registry.k8s.io/gateway-api/echo-basic:v1.5.1
          env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
          readinessProbe: {httpGet: {path: /health, port: 3000}, periodSeconds: 1}
"""


def test_a_gateway_serves_a_route(product: Product) -> None:
    product.add_class("gatewright")
    documents = list(yaml.safe_load_all(SHOP))
    product.cluster.client.apply(documents)
    address = product.address("front", "shop")

    def answer(path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"http://{address}{path}", headers={"host": "shop.example"})
        except httpx.TransportError:
            return None

    def is_served() -> bool:
        response = answer("/orders/1")
        return response is not None and response.status_code == 200

    eventually("the route is served", is_served)
    answers = [httpx.get(f"http://{address}/orders/1", headers={"host": "shop.example"}).json() for _ in range(20)]
    pods = {found["pod"] for found in answers}
    assert len(pods) == 2
    other = answer("/stock")
    assert other is not None
    assert other.status_code == 404
