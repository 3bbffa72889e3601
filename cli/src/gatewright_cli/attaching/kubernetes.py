"""Resources of Kubernetes by which controllers of Envoys attach a route to the engine."""

from __future__ import annotations

from gatewright_controller._gen import envoy_names
from gatewright_documents.values import JsonObject

from gatewright_cli.attaching.envoy import ATTRIBUTES, MESSAGE_TIMEOUT, TYPE, ext_proc_filter, http2
from gatewright_cli.attaching.target import Target

GATEWAY_API = "gateway.networking.k8s.io"
DUPLEX = "FULL_DUPLEX_STREAMED"


def envoy_gateway(target: Target) -> list[JsonObject]:
    """Envoy Gateway: an EnvoyExtensionPolicy for an HTTPRoute."""
    policy: JsonObject = {
        "targetRefs": [_http_route(target)],
        "extProc": [
            {
                "backendRefs": [_backend(target)],
                "failOpen": False,
                "statusOnError": 503,
                "messageTimeout": MESSAGE_TIMEOUT,
                "processingMode": {
                    "request": {"attributes": list(ATTRIBUTES), "body": "FullDuplexStreamed"},
                    "response": {"body": "FullDuplexStreamed"},
                },
            }
        ],
    }
    group = "gateway.envoyproxy.io"
    made = _resource(f"{group}/v1alpha1", "EnvoyExtensionPolicy", target, policy)
    return [made, *_grant(target, group, "EnvoyExtensionPolicy")]


def kgateway(target: Target) -> list[JsonObject]:
    """kgateway: a GatewayExtension, whose authority names the API, and a TrafficPolicy for an HTTPRoute."""
    group, extension = "gateway.kgateway.dev", _name(target)
    modes = {"requestHeaderMode": "SEND", "requestBodyMode": DUPLEX, "requestTrailerMode": "SEND"}
    modes |= {"responseHeaderMode": "SEND", "responseBodyMode": DUPLEX, "responseTrailerMode": "SEND"}
    processor: JsonObject = {
        "grpcService": {"authority": target.route, "backendRef": _backend(target)},
        "failOpen": False,
        "messageTimeout": MESSAGE_TIMEOUT,
        "processingMode": dict(modes),
        "routeCacheAction": "Retain",
    }
    policy: JsonObject = {"targetRefs": [_http_route(target)], "extProc": {"extensionRef": {"name": extension}}}
    return [
        _resource(f"{group}/v1alpha1", "GatewayExtension", target, {"extProc": processor}),
        _resource(f"{group}/v1alpha1", "TrafficPolicy", target, policy),
        *_grant(target, group, "GatewayExtension"),
    ]


def istio(target: Target) -> list[JsonObject]:
    """Istio: an EnvoyFilter for the ingress gateway. The filter is disabled, and enabled for the route of a
    VirtualService that has the name (`spec.http[].name`)."""
    service, namespace, port = target.service
    cluster = f"outbound|{port}||{service}.{namespace}.svc.cluster.local"
    router = {
        "name": "envoy.filters.network.http_connection_manager",
        "subFilter": {"name": "envoy.filters.http.router"},
    }
    added: JsonObject = {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": router}}},
        "patch": {"operation": "INSERT_BEFORE", "value": {**ext_proc_filter(cluster), "disabled": True}},
    }
    enabled = {"@type": f"{TYPE}.filters.http.ext_proc.v3.ExtProcPerRoute", "overrides": {}}
    merged: JsonObject = {
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": {"route": {"name": target.route}}}},
        "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": {envoy_names.EXT_PROC_FILTER: enabled}}},
    }
    spec: JsonObject = {
        "workloadSelector": {"labels": {"istio": "ingressgateway"}},
        "configPatches": [added, merged],
    }
    return [_resource("networking.istio.io/v1alpha3", "EnvoyFilter", target, spec)]


def cilium(target: Target) -> list[JsonObject]:
    """Cilium: a CiliumEnvoyConfig that redirects requests for a Service to an Envoy with one route, of its name."""
    service, namespace, port = target.service
    engine, behind = f"{namespace}/{service}:{port}", f"{target.namespace}/{target.route}"
    routes = [{"name": target.route, "match": {"prefix": "/"}, "route": {"cluster": behind}}]
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": _name(target),
        "normalize_path": True,
        "merge_slashes": True,
        "route_config": {"name": target.route, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            ext_proc_filter(engine),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"},
            },
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener: JsonObject = {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": _name(target),
        "filter_chains": [{"filters": filters}],
    }
    spec: JsonObject = {
        "services": [{"name": target.route, "namespace": target.namespace}],
        "backendServices": [
            {"name": target.route, "namespace": target.namespace},
            {"name": service, "namespace": namespace, "number": [str(port)]},
        ],
        "resources": [listener, _cilium_cluster(behind, {}), _cilium_cluster(engine, http2())],
    }
    return [_resource("cilium.io/v2", "CiliumEnvoyConfig", target, spec)]


def _cilium_cluster(name: str, options: JsonObject) -> JsonObject:
    """A Service among backendServices, whose endpoints Cilium sends under this name."""
    cluster: JsonObject = {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
    }
    return {**cluster, "typed_extension_protocol_options": options} if options else cluster


def _name(target: Target) -> str:
    return f"gatewright-{target.route}"


def _resource(version: str, kind: str, target: Target, spec: JsonObject) -> JsonObject:
    metadata = {"name": _name(target), "namespace": target.namespace}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _http_route(target: Target) -> JsonObject:
    return {"group": GATEWAY_API, "kind": "HTTPRoute", "name": target.route}


def _backend(target: Target) -> JsonObject:
    name, namespace, port = target.service
    return {"name": name, "namespace": namespace, "port": port}


def _grant(target: Target, group: str, kind: str) -> list[JsonObject]:
    """Lets the resource name a Service of another namespace."""
    name, namespace, _ = target.service
    if namespace == target.namespace:
        return []
    origin: JsonObject = {"group": group, "kind": kind, "namespace": target.namespace}
    spec: JsonObject = {"from": [origin], "to": [{"group": "", "kind": "Service", "name": name}]}
    metadata: JsonObject = {"name": f"{_name(target)}-{target.namespace}", "namespace": namespace}
    return [{"apiVersion": f"{GATEWAY_API}/v1beta1", "kind": "ReferenceGrant", "metadata": metadata, "spec": spec}]
