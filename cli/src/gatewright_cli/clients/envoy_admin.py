"""A client of Envoy's admin interface: https://www.envoyproxy.io/docs/envoy/latest/operations/admin."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from gatewright_controller._gen import envoy_names

from gatewright_cli.addresses import join_address, url
from gatewright_cli.local_http import LocalClient, LocalHttpError

ENVOY_SOCKET = "envoy-admin.sock"
Json = dict[str, Any]
STATS = r"(^listener\..*\.ssl\.handshake$)|(\.ssl\.certificate\..*\.expiration_unix_time_seconds$)"
TLS = re.compile(r"listener\.(?P<address>.+)\.ssl\.handshake")
EXPIRATION = re.compile(r".+\.ssl\.certificate\.(?P<kind>certificate|authority)/(?P<name>[^.]+)\.expiration_.+")
DAY = 86400


class _SocketAddress(msgspec.Struct):
    address: str
    port_value: int


class _Address(msgspec.Struct, frozen=True):
    socket_address: _SocketAddress | None = None


class _Listener(msgspec.Struct):
    name: str = ""
    local_address: _Address = _Address()


class _Listeners(msgspec.Struct):
    listener_statuses: list[_Listener] = []


class EnvoyRefusedError(Exception):
    """Envoy refused a request. The message says why."""


@dataclass(frozen=True)
class Served:
    """JSON objects. listeners: `name`, `url`. certificates: `kind` ("certificate" or "authority"), `name`, `ends`
    (RFC 3339, UTC), `daysLeft` (whole days; below 0 once it has ended), by kind and name.
    """

    listeners: list[Json]
    certificates: list[Json]


class EnvoyAdmin:
    """The admin socket of Envoy. All methods raise LocalHttpError without an answer."""

    def __init__(self, socket: Path) -> None:
        self._client = LocalClient(socket)

    async def fail_health_check(self) -> None:
        """Has the health check fail, so that load balancers choose other nodes."""
        await self._client.post("/healthcheck/fail")

    async def pass_health_check(self) -> None:
        """Undoes `fail_health_check`."""
        await self._client.post("/healthcheck/ok")

    async def drain_listeners(self) -> None:
        """Closes all listeners; their connections go on."""
        await self._client.post("/drain_listeners")

    async def ask_to_close(self) -> None:
        """From now on, the next answer on each connection asks its client to close it. The listeners stay open."""
        await self._client.post("/drain_listeners?graceful&skip_exit")

    async def listener_addresses(self) -> list[str]:
        """HOST:PORT of each TCP listener that Envoy has now. A listener with HTTP/3 has the same address for UDP, which
        Envoy's list does not distinguish; a client whose new UDP connection is refused uses TCP.
        """
        return list(dict.fromkeys(address for _, address in await self._listeners()))

    async def active(self, kind: str) -> int:
        """How many connections ("cx") or requests ("rq") of clients there are."""
        name = f"^http.{envoy_names.STAT_PREFIX}.downstream_{kind}_active$"
        _, _, value = (await self._client.get("/stats", {"filter": name})).text.partition(": ")
        return int(value.strip() or 0)

    async def served(self, now: float) -> Served:
        """The listeners and certificates that Envoy has now. now: seconds since 1970."""
        listeners = await self._listeners()
        answer = await self._client.get("/stats", {"format": "json", "filter": STATS})
        stats = msgspec.json.decode(answer.content, type=dict[str, list[Json]]).get("stats", [])
        counted: dict[str, int] = {counter["name"]: counter["value"] for counter in stats if "value" in counter}
        return Served(list(_urls(listeners, counted)), list(_certificates(counted, now)))

    async def reopen_logs(self) -> bool:
        """Whether Envoy has opened its log files again."""
        return not (await self._client.post("/reopen_logs")).is_error

    async def set_log_level(self, level: str, parts: Iterable[tuple[str, str]]) -> None:
        """Sets all loggers to a level, then the parts that differ to theirs. Raises EnvoyRefusedError."""
        for params in [{"level": level}, *({part: part_level} for part, part_level in parts)]:
            answer = await self._client.request("POST", "/logging", params=params)
            if answer.is_error:
                reason = answer.text.strip()[:200] if "level" in params else await self._known_parts()
                raise EnvoyRefusedError(reason)

    async def _known_parts(self) -> str:
        """A sentence with all parts. Without parameters Envoy answers with each part and level: "  http: warning"."""
        answer = await self._client.post("/logging")
        parts = [line.partition(":")[0].strip() for line in answer.text.splitlines() if line.startswith(" ")]
        return f"Envoy knows no such part; it has {', '.join(parts)}"

    async def _listeners(self) -> list[tuple[str, str]]:
        """Name and HOST:PORT of each listener at an IP address."""
        answer = await self._client.get("/listeners", {"format": "json"})
        statuses = msgspec.json.decode(answer.content or b"{}", type=_Listeners).listener_statuses
        places = [(listener.name, listener.local_address.socket_address) for listener in statuses]
        return [(name, join_address(place.address, place.port_value)) for name, place in places if place]


def read_served(socket: Path, now: float) -> Served | None:
    """The listeners and certificates that Envoy has now; None if it does not answer. now: seconds since 1970."""
    try:
        return asyncio.run(EnvoyAdmin(socket).served(now))
    except (LocalHttpError, msgspec.DecodeError):
        return None


def _urls(listeners: Iterable[tuple[str, str]], counted: Iterable[str]) -> Iterator[Json]:
    secure = {match["address"] for name in counted if (match := TLS.fullmatch(name))}
    for name, address in listeners:
        tls = address.replace(":", "_") in secure  # as Envoy writes it in a counter's name
        yield {"name": name, "url": url(address, "https" if tls else "http")}


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
