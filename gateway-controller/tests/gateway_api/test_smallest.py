"""The smallest case: a class, a Gateway, a route with one prefix rule, a Service with one endpoint."""

import yaml
from gatewright_controller.gateway_api import CONTROLLER_NAME, Deployed, Objects, complete, translate
from gatewright_controller.model import gateway_of
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.validation import validate
from gatewright_controller.validation.gateway import validate_gateway

OBJECTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatewright, generation: 1}
spec: {controllerName: gatewright.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop, generation: 2}
spec:
  gatewayClassName: gatewright
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders, namespace: shop, generation: 3}
spec:
  parentRefs: [{name: web}]
  hostnames: [shop.example]
  rules:
  - matches: [{path: {type: PathPrefix, value: /orders}}]
    backendRefs: [{name: orders, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {ports: [{port: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: orders-1, namespace: shop, labels: {kubernetes.io/service-name: orders}}
addressType: IPv4
ports: [{name: "", port: 3000, protocol: TCP}]
endpoints: [{addresses: [10.1.2.3], conditions: {ready: true}}]
"""


def objects() -> Objects:
    found = list(yaml.safe_load_all(OBJECTS))
    return Objects(
        {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in found}
    )


def test_documents_are_valid() -> None:
    translation = translate(objects(), CONTROLLER_NAME)
    gateway, api = translation.documents
    validate_gateway(gateway_of(gateway))
    accepted = validate(api, Definitions(), {})
    assert accepted.spec.operations[0].path == "/orders/*"
    assert accepted.spec.hosts == ["shop.example"]


def test_a_gateway_is_programmed_once_nodes_have_it() -> None:
    translation = translate(objects(), CONTROLLER_NAME)
    deployed = {document["metadata"]["name"]: Deployed("deployed") for document in translation.documents}
    key = ("Gateway", "shop", "web")
    before = complete(translation, {}, {})[key]["conditions"]
    after = complete(translation, deployed, {key: [{"type": "IPAddress", "value": "192.0.2.1"}]})[key]["conditions"]
    assert [found["status"] for found in before] == ["True", "False", "True"]
    assert [found["status"] for found in after] == ["True", "True", "True"]
