"""What Envoy knows of the upstreams, without anything being sent to them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gatewright_cli.supervision.local_http import LocalHttpError
from gatewright_cli.supervision.probes import http_client

ENVOY_SOCKET = "envoy-admin.sock"
Json = dict[str, Any]


def notes(socket: Path) -> dict[str, str]:
    """API → what stands in the way of its upstream; nothing of an API whose upstream has shown no trouble.

    From the counters of Envoy's admin interface (/clusters), which begin with its start. Empty where it is away.
    """
    try:
        answer = asyncio.run(http_client(socket).get("/clusters", {"format": "json"}))
        found: Json = msgspec.json.decode(answer.content)
    except (LocalHttpError, msgspec.DecodeError):
        return {}
    return dict(_notes(found.get("cluster_statuses", [])))


def _notes(clusters: list[Json]) -> Iterator[tuple[str, str]]:
    """A cluster of an API is named API|HASH."""
    for cluster in clusters:
        api, bar, _ = cluster["name"].partition("|")
        if bar and (note := _note(cluster.get("host_statuses", []))):
            yield api, note


def _note(hosts: list[Json]) -> str:
    if not hosts:
        return "its upstream has no address: the name does not resolve"
    failing = [said for host in hosts if (said := _failing(host))]
    return "; ".join(failing) if len(failing) == len(hosts) else ""


def _failing(host: Json) -> str:
    """One with an open connection is there, whatever has failed before."""
    counted = {each["name"]: int(each.get("value", 0)) for each in host.get("stats", [])}
    failed, tried, active = (counted.get(name, 0) for name in ("cx_connect_fail", "cx_total", "cx_active"))
    address = host.get("address", {}).get("socket_address", {})
    where = f"{address.get('address')}:{address.get('port_value')}"
    if not failed or active:
        return ""
    return f"{failed} of {tried} connections to its upstream {where} failed, none is open"
