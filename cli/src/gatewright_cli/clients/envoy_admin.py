"""The listeners and certificates that Envoy has now, read from Envoy itself."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gatewright_cli.addresses import join_address, url
from gatewright_cli.local_http import LocalClient, LocalHttpError

ENVOY_SOCKET = "envoy-admin.sock"
Json = dict[str, Any]
STATS = r"(^listener\..*\.ssl\.handshake$)|(\.ssl\.certificate\..*\.expiration_unix_time_seconds$)"
TLS = re.compile(r"listener\.(?P<address>.+)\.ssl\.handshake")
EXPIRATION = re.compile(r".+\.ssl\.certificate\.(?P<kind>certificate|authority)/(?P<name>[^.]+)\.expiration_.+")
DAY = 86400


@dataclass(frozen=True)
class Served:
    """JSON objects. listeners: `name`, `url`. certificates: `kind` ("certificate" or "authority"), `name`, `ends`
    (RFC 3339, UTC), `daysLeft` (whole days; below 0 once it has ended), by kind and name.
    """

    listeners: list[Json]
    certificates: list[Json]


def read_served(socket: Path, now: float) -> Served | None:
    """Reads Envoy's admin interface (/listeners, /stats); None if it does not answer. now: seconds since 1970."""
    try:
        listeners, stats = asyncio.run(_ask(LocalClient(socket)))
    except (LocalHttpError, msgspec.DecodeError):
        return None
    counted: dict[str, int] = {
        counter["name"]: counter["value"] for counter in stats.get("stats", []) if "value" in counter
    }
    secure = {match["address"] for name in counted if (match := TLS.fullmatch(name))}
    return Served(list(_listeners(listeners, secure)), list(_certificates(counted, now)))


async def _ask(client: LocalClient) -> tuple[Json, Json]:
    listeners = await client.get("/listeners", {"format": "json"})
    stats = await client.get("/stats", {"format": "json", "filter": STATS})
    return msgspec.json.decode(listeners.content), msgspec.json.decode(stats.content)


def _listeners(answer: Json, secure: set[str]) -> Iterator[Json]:
    for listener in answer.get("listener_statuses", []):
        place = listener.get("local_address", {}).get("socket_address", {})
        if not place:
            continue
        address = join_address(place["address"], place["port_value"])
        tls = address.replace(":", "_") in secure  # as Envoy writes it in a counter's name
        yield {"name": listener["name"], "url": url(address, "https" if tls else "http")}


def _certificates(counted: dict[str, int], now: float) -> Iterator[Json]:
    """Each certificate once, with the earliest end: for a moment, some listeners may still have the previous one."""
    ends: dict[tuple[str, str], int] = {}
    for name, seconds in counted.items():
        if match := EXPIRATION.fullmatch(name):
            key = match["kind"], match["name"]
            ends[key] = min(seconds, ends.get(key, seconds))
    for (kind, name), seconds in sorted(ends.items()):
        end = datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
        yield {"kind": kind, "name": name, "ends": end, "daysLeft": math.floor((seconds - now) / DAY)}
