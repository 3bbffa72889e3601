"""From objects of Kubernetes to documents and statuses. The smallest case."""

from __future__ import annotations

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.conditions import condition
from gatewright_controller.gateway_api.contract import NODE_LABEL, GatewayNodes, GatewayPort, Key, Objects, Translation
from gatewright_controller.gateway_api.names import document_name, label_value


def translate(objects: Objects, controller_name: str) -> Translation:
    """What becomes of all objects. controller_name: of the GatewayClasses that are ours."""
    made = Translation()
    classes = _of_kind(objects, "GatewayClass")
    ours = {key[2]: found for key, found in classes.items() if found["spec"]["controllerName"] == controller_name}
    for name, found in ours.items():
        made.statuses["GatewayClass", "", name] = {"conditions": [_accepted(found)]}
    for key, gateway in _of_kind(objects, "Gateway").items():
        if gateway["spec"]["gatewayClassName"] in ours:
            _gateway(made, key, gateway)
    gateways = {found.key: found for found in made.gateways}
    for key, route in _of_kind(objects, "HTTPRoute").items():
        for parent in route["spec"].get("parentRefs", []):
            parent_key = ("Gateway", parent.get("namespace", key[1]), parent["name"])
            if parent_key in gateways:
                _route(made, objects, key, route, parent, gateways[parent_key], controller_name)
    return made


def _of_kind(objects: Objects, kind: str) -> dict[Key, JsonObject]:
    return {key: objects.by_key[key] for key in sorted(objects.by_key) if key[0] == kind}


def _generation(found: JsonObject) -> int:
    return int(found["metadata"].get("generation", 0))


def _accepted(found: JsonObject) -> JsonObject:
    return condition("Accepted", is_true=True, reason="Accepted", message="", generation=_generation(found))


def _programmed(found: JsonObject) -> JsonObject:
    return condition("Programmed", is_true=False, reason="Pending", message="", generation=_generation(found))


def _resolved(found: JsonObject) -> JsonObject:
    return condition("ResolvedRefs", is_true=True, reason="ResolvedRefs", message="", generation=_generation(found))


def _gateway(made: Translation, key: Key, gateway: JsonObject) -> None:
    labels = {NODE_LABEL: label_value(key[1], key[2])}
    numbers = sorted({listener["port"] for listener in gateway["spec"]["listeners"]})
    ports = tuple(
        GatewayPort(f"port-{number}", number, number if number > 1023 else number + 10000) for number in numbers
    )
    name = document_name("gateway", key[1], key[2])
    listeners = [{"name": port.name, "address": "::", "port": port.target} for port in ports]
    spec = {"nodes": labels, "listeners": listeners}
    made.documents.append(
        {"apiVersion": "gatewright.dev/v1", "kind": "NodeGateway", "metadata": {"name": name}, "spec": spec}
    )
    made.gateways.append(GatewayNodes(key, labels, ports, tuple(gateway["spec"].get("addresses", []))))
    made.sources[name] = [key]
    listener_statuses = [
        {
            "name": listener["name"],
            "attachedRoutes": 0,
            "supportedKinds": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}],
            "conditions": [_accepted(gateway), _programmed(gateway), _resolved(gateway)],
        }
        for listener in gateway["spec"]["listeners"]
    ]
    conditions = [_accepted(gateway), _programmed(gateway)]
    made.statuses[key] = {"conditions": conditions, "addresses": [], "listeners": listener_statuses}


def _route(
    made: Translation,
    objects: Objects,
    key: Key,
    route: JsonObject,
    parent: JsonObject,
    gateway: GatewayNodes,
    controller_name: str,
) -> None:
    name = document_name(gateway.key[1], gateway.key[2], key[1], key[2])
    backend = route["spec"]["rules"][0]["backendRefs"][0]
    slices = [
        found
        for slice_key, found in _of_kind(objects, "EndpointSlice").items()
        if slice_key[1] == key[1] and found["metadata"]["labels"].get("kubernetes.io/service-name") == backend["name"]
    ]
    targets = [
        {"url": f"http://{address}:{found['ports'][0]['port']}"}
        for found in slices
        for endpoint in found["endpoints"]
        for address in endpoint["addresses"]
    ]
    path = route["spec"]["rules"][0].get("matches", [{}])[0].get("path", {}).get("value", "/")
    operation: JsonObject = {"method": "*", "path": f"{path.rstrip('/')}/*"}
    if not targets:
        operation["answer"] = {"status": 503}
    spec: JsonObject = {
        "version": "v1",
        "context": "/",
        "nodes": dict(gateway.labels),
        "listeners": [port.name for port in gateway.ports],
        "hosts": route["spec"].get("hostnames", []),
        "strictPaths": False,
        "upstream": {"main": {"targets": targets or [{"url": "http://unused.invalid"}]}},
        "operations": [operation],
    }
    made.documents.append({"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": name}, "spec": spec})
    made.sources[name] = [gateway.key, key]
    parents = made.statuses.setdefault(key, {"parents": []})["parents"]
    conditions = [_accepted(route), _resolved(route)]
    parents.append({"parentRef": parent, "controllerName": controller_name, "conditions": conditions})
