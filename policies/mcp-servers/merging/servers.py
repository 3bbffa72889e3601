"""The servers of an attachment, and whose a name is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Server:
    """One of the servers behind the route."""

    name: str
    upstream: str
    """The API's pool to which calls go."""
    url: str
    """Where the policy itself asks for lists and sessions."""
    path: str
    """Behind the base path of the pool's URL."""
    prefix: str
    """With the separator: github__."""
    headers: Mapping[str, str]
    """Of each request for it, in lower case: its credentials."""


def read_servers(params: Mapping[str, Any]) -> list[Server]:
    """ValueError: two servers have a name, or one's prefix begins with another's, so that a tool could be of both."""
    servers = [_server(described, params["separator"]) for described in params["servers"]]
    names = [server.name for server in servers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"servers: expected a name of its own for each, got {', '.join(twice)} twice")
    for server in servers:
        for other in servers:
            if other is not server and server.prefix.startswith(other.prefix):
                text = f"expected prefixes of which none begins with another, got {server.prefix} and {other.prefix}"
                raise ValueError(f"servers: {text}; a tool could be of both")
    return servers


def _server(described: Mapping[str, Any], separator: str) -> Server:
    name = described["name"]
    headers = {header["name"].lower(): _value_of(name, header) for header in described["headers"]}
    path = described.get("path") or urlsplit(described["url"]).path or "/"
    prefix = described.get("prefix", name) + separator
    return Server(name, described.get("upstream", name), described["url"], path, prefix, headers)


def _value_of(server: str, header: Mapping[str, Any]) -> str:
    """ValueError: the value is none of a header, which the schema cannot check for a named secret."""
    value: str = header["value"].reveal()
    if not value.isprintable() or not value.isascii():
        raise ValueError(f"servers: {server}: expected printable ASCII characters in {header['name']}, got others")
    return value


def owner_of(name: str, servers: Sequence[Server]) -> Server | None:
    """The server that has the tool or prompt of this name; None: no prefix fits, or there is nothing behind it."""
    return next((server for server in servers if name.startswith(server.prefix) and name != server.prefix), None)
