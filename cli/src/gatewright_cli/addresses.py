"""Addresses as text: HOST:PORT, and URLs."""

from __future__ import annotations

from urllib.parse import urlsplit


def split_address(address: str) -> tuple[str, int]:
    """ "127.0.0.1:80" or "[::1]:80" as host and port. Raises ValueError: expected HOST:PORT, got …"""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) <= 65535):
        raise ValueError(f"expected HOST:PORT, got {address!r}")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """The reverse of split_address: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url(address: str, scheme: str = "http") -> str:
    """The URL by which a client on this machine reaches a listener on `address`, which may be all addresses."""
    host, port = split_address(address)
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"{scheme}://{join_address(here, port)}"


def http_address(url: str) -> tuple[str, int] | None:
    """Host and port of an http URL; None for any other URL."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "", parts.port or 80) if parts.scheme == "http" else None
    except ValueError:
        return None
