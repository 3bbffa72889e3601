"""Examples of bodies, for the document of the API."""

from __future__ import annotations

from gatewright_documents.values import JsonObject

API: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Api",
    "metadata": {"name": "orders-v1"},
    "spec": {
        "version": "v1.0",
        "context": "/orders/$version",
        "upstream": {"main": {"url": "http://orders.internal:8080"}},
        "operations": [{"method": "GET", "path": "/{id}"}, {"method": "POST", "path": "/"}],
    },
}
GATEWAY: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Gateway",
    "metadata": {"name": "default"},
    "spec": {"listeners": [{"name": "http", "port": 8080}]},
}
SECRET: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Secret",
    "metadata": {"name": "payment", "labels": {"team": "payments"}},
    "spec": {"values": {"api-key": "********"}},
}
CONSUMER: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Consumer",
    "metadata": {"name": "acme", "labels": {"team": "payments"}},
    "spec": {"plan": "gold", "jwt": [{"issuer": "https://id.example", "subject": "acme"}]},
}
PLAN: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Plan",
    "metadata": {"name": "gold"},
    "spec": {"limits": [{"requests": 100, "per": "1s"}], "quotas": [{"requests": 1000000, "period": "month"}]},
}
DEFAULTS: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Defaults",
    "metadata": {"name": "payments"},
    "spec": {"for": {"labels": {"team": "payments"}}, "requestTimeout": "10s", "enforced": ["requestTimeout"]},
}
NAMESPACE: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Namespace",
    "metadata": {"name": "payments"},
    "spec": {"labels": {"team": "payments"}, "contexts": ["/payments"], "hosts": ["pay.example"]},
}
NODE_GATEWAY: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "NodeGateway",
    "metadata": {"name": "dmz"},
    "spec": {"nodes": {"zone": "dmz"}, "listeners": [{"name": "http", "port": 8080}]},
}
SOURCE: JsonObject = {"file": "orders.yaml", "text": "apiVersion: gatewright.dev/v1\nkind: Api\n…\n"}
EXAMPLES: dict[str, JsonObject] = {
    "Api": API,
    "Consumer": CONSUMER,
    "Defaults": DEFAULTS,
    "Gateway": GATEWAY,
    "ConsumerPlan": PLAN,
    "LogLevel": {"level": "debug"},
    "Namespace": NAMESPACE,
    "NodeGateway": NODE_GATEWAY,
    "ResourceSet": {"sources": [SOURCE], "owner": "team-a", "prune": True},
    "Secret": SECRET,
    "ReviewedSet": {"sources": [SOURCE], "owner": "team-a", "prune": True, "digest": "2c26b46b68ff", "revision": 17},
    "Source": SOURCE,
    "SourceText": SOURCE,
    "WantedConsumerKey": {"name": "ci", "days": 90},
    "WantedRecording": {"filter": {"api": "orders-v1", "errors": True}, "seconds": 60},
    "WantedRequest": {"path": "/orders/v1.0/7", "headers": [["accept", "application/json"]]},
}
"""By the shapes that they are of."""
