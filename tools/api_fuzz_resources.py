"""The resources that `make api-fuzz` starts with: of two teams, of which a bound token is for the first one's, and the
Gateway."""

from __future__ import annotations

from typing import Any

OWN, FOREIGN = "mine", "theirs"
"""Names of the teams, and of all resources that each has."""
MARK = "of-another-team"
"""A label's value that each resource of FOREIGN has."""


def documents_of(name: str) -> dict[str, dict[str, Any]]:
    """Of a team, by the plural of their kinds, as paths have it; a plan before the consumer that has it."""
    listeners = [{"name": "http", "port": 8080}]
    specs = {
        "apis": (
            "Api",
            {
                "version": "v1.0",
                "context": f"/{name}",
                "upstream": {"main": {"url": "http://orders.internal:8080"}},
                "operations": [{"method": "GET", "path": "/{id}"}, {"method": "POST", "path": "/"}],
            },
        ),
        "secrets": ("Secret", {"values": {"key": "value"}}),
        "plans": ("Plan", {"limits": [{"requests": 1, "per": "1s"}]}),
        "consumers": ("Consumer", {"plan": name, "jwt": [{"issuer": "https://id.example", "subject": name}]}),
        "defaults": ("Defaults", {"for": {"labels": {"team": name}}, "requestTimeout": "10s"}),
        "namespaces": ("Namespace", {"labels": {"team": name}, "contexts": [f"/{name}"]}),
        "nodegateways": ("NodeGateway", {"nodes": {"zone": name}, "listeners": listeners}),
    }
    labels = {"team": name, **({"note": MARK} if name == FOREIGN else {})}
    metadata = {"name": name, "labels": labels}
    return {
        plural: {"apiVersion": "gatewright.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}
        for plural, (kind, spec) in specs.items()
    }


DOCUMENTS = {team: documents_of(team) for team in (OWN, FOREIGN)}
GATEWAY: dict[str, Any] = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Gateway",
    "metadata": {"name": "gateway"},
    "spec": {"listeners": [{"name": "http", "port": 8080}]},
}
