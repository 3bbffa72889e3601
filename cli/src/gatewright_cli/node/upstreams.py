"""What Envoy knows of the upstreams, without anything being sent to them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatewright_cli.supervision.local_http import LocalHttpError
from gatewright_cli.supervision.probes import http_client

ENVOY_SOCKET = "envoy-admin.sock"
UNRESOLVED = "its upstream has no address: the name does not resolve (mend the name, or the node's DNS)"
UNHEALTHY = "see whether it runs, and what it answers"
UNREACHABLE = "see whether it runs, and whether its URL in the API is right"
Json = dict[str, Any]


def notes(socket: Path, in_use: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """API → what stands in the way of its upstreams; nothing of an API whose upstreams have shown no trouble. in_use:
    the clusters of each API, which others may use too.

    From Envoy's admin interface (/clusters): health checks, ejections, and counters, which begin with its start. Empty
    where it is away.
    """
    try:
        answer = asyncio.run(http_client(socket).get("/clusters", {"format": "json"}))
        found: Json = msgspec.json.decode(answer.content)
    except (LocalHttpError, msgspec.DecodeError):
        return {}
    return dict(_notes(found.get("cluster_statuses", []), in_use))


def _notes(clusters: list[Json], in_use: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    used = {name for names in in_use.values() for name in names}
    noted = {one["name"]: _note(one.get("host_statuses", [])) for one in clusters if one["name"] in used}
    for api, names in in_use.items():
        if told := list(dict.fromkeys(note for name in names if (note := noted.get(name)))):
            yield api, "; ".join(told)


def _note(hosts: list[Json]) -> str:
    if not hosts:
        return UNRESOLVED
    out = [said for host in hosts if (said := _out(host))]
    if out:
        return f"{'; '.join(out)}: {len(hosts) - len(out)} of {len(hosts)} targets left ({UNHEALTHY})"
    failing = [said for host in hosts if (said := _failing(host))]
    return f"{'; '.join(failing)} ({UNREACHABLE})" if len(failing) == len(hosts) else ""


def _out(host: Json) -> str:
    """A target that is sent nothing, as long as others of its pool are there."""
    said = host.get("health_status", {})
    if said.get("failed_active_health_check"):
        return f"{_where(host)} fails its health check"
    return f"{_where(host)} is ejected for its failures" if said.get("failed_outlier_check") else ""


def _where(host: Json) -> str:
    address = host.get("address", {})
    place = address.get("socket_address", {})
    return str(address.get("pipe", {}).get("path") or f"{place.get('address')}:{place.get('port_value')}")


def _failing(host: Json) -> str:
    """One with an open connection is there, whatever has failed before."""
    counted = {each["name"]: int(each.get("value", 0)) for each in host.get("stats", [])}
    failed, tried, active = (counted.get(name, 0) for name in ("cx_connect_fail", "cx_total", "cx_active"))
    if not failed or active:
        return ""
    return f"{failed} of {tried} connections to its upstream {_where(host)} failed, none is open"
