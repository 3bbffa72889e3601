"""Patterns of host names: `shop.example`, and `*.example` for all below it. In one spelling, so that equal is equal."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

EVERY_HOST = "*"
"""What an API without hosts has. Publishers do not write it."""
LONGEST = 253
"""Characters of a name, by RFC 1035, 2.3.4; a label has 63."""
A_LABELS = "; write it in A-labels, as clients send it"
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class HostSyntaxError(ValueError):
    """The message says what was expected, what came, and the cure where there is one."""


def check_host(host: str) -> None:
    """Raises `HostSyntaxError`."""
    name = host.removeprefix("*.")
    if host == EVERY_HOST:
        raise HostSyntaxError("expected a host name or '*.' before one, got '*'; an API without hosts has every host")
    if "*" in name:
        raise HostSyntaxError(f"expected '*' as the whole first label only, as in '*.example', got {host!r}")
    if len(name) <= LONGEST and all(map(LABEL.fullmatch, name.split("."))):
        return
    raise HostSyntaxError(f"expected a host name such as 'shop.example' or '*.shop.example', got {host!r}{_cure(host)}")


def _cure(host: str) -> str:
    """What it would be in the one spelling; for a name that has one."""
    if "://" in host or "/" in host:
        return "; write the name alone: no scheme, no path"
    name, colon, port = host.partition(":")
    if colon and port.isdigit():
        return f"; write {name!r}: a host has every port"
    if host.endswith(".") and len(host) > 1:
        return f"; write {host[:-1]!r}: both are the same host"
    if not host.isascii():
        return _a_labels(host)
    return f"; write {host.lower()!r}" if _is_plain(host.lower()) else ""


def _a_labels(host: str) -> str:
    """RFC 5891's names are what clients send: `xn--bcher-kva.example`."""
    try:
        named = host.encode("idna").decode().lower()
    except UnicodeError:
        named = ""
    return f"; write {named!r}, as clients send it" if _is_plain(named) else A_LABELS


def _is_plain(host: str) -> bool:
    return all(map(LABEL.fullmatch, host.removeprefix("*.").split(".")))


def is_address(host: str) -> bool:
    """Whether it is an IP address, which no name is."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def covers_host(pattern: str, host: str) -> bool:
    """Whether all that `host` means, itself a name or a pattern, is meant by the pattern too."""
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def patterns_of(hosts: Sequence[str]) -> tuple[str, ...]:
    """What an API's contexts are claimed on: its hosts, or every one."""
    return tuple(hosts) or (EVERY_HOST,)
