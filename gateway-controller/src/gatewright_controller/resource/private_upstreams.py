"""Upstreams that no publisher may name: the node's own private ports, and services that answer any client on a machine.

A client of the API would reach them as the gateway does: from this machine, or from inside its network. A name is not
looked up: Envoy does that, again and again, and what a name means may change after it was checked. So this refuses
addresses in any spelling and the names that machines have for themselves; what a private port answers must not rest on
it alone, and the management API's does not: it asks for a token.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from gatewright_controller.resource.upstream import URLS_KEPT, UpstreamUrl

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OWN_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "localhost4", "localhost6")
METADATA_NAMES = ("metadata", "metadata.google.internal", "metadata.goog", "instance-data.ec2.internal")
METADATA_ADDRESSES = tuple(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")))
"""Of clouds whose metadata services are not link-local: Amazon's over IPv6, Alibaba's, Azure's."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")
CURE = "an operator can allow it with `allowedUpstreams` in the controller's settings"
SOCKET = "expected a Unix socket that the operator lets publishers name"
HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:]+):(?P<port>[0-9]{1,5})")


class SocketPath(str):
    """Of a Unix socket, or with a slash at its end of a folder of sockets."""

    __slots__ = ()

    def covers(self, socket: str) -> bool:
        """Whether this is the socket, or the socket is below this folder."""
        return socket.startswith(self) if self.endswith("/") else socket == self


class AllowedUpstreamError(ValueError):
    """The message says what was expected of an entry of `allowedUpstreams`."""


class PrivateUpstreams(msgspec.Struct, frozen=True):
    """own: addresses on which this node or its controller listens for themselves, host and port. allowed: entries of
    `allowedUpstreams`.
    """

    own: tuple[tuple[str, int], ...] = ()
    allowed: tuple[Network | tuple[Address | str, int] | SocketPath, ...] = ()

    @classmethod
    def of(cls, own: Iterable[tuple[str, int]], allowed: Sequence[str]) -> PrivateUpstreams:
        """Raises `AllowedUpstreamError`."""
        return cls(tuple(own), tuple(map(_allowed, allowed)))

    def with_own(self, addresses: Iterable[str]) -> PrivateUpstreams:
        """With more addresses on which nodes listen for themselves, as "127.0.0.1:9901" or "[::1]:9901"."""
        parsed = (address.rpartition(":") for address in addresses)
        return replace(self, own=(*self.own, *((host.strip("[]"), int(port)) for host, _, port in parsed)))

    def refusal(self, url: UpstreamUrl) -> str | None:
        """Why the upstream may not be named, as a mistake says it; None where it may."""
        if url.socket:
            return None if self._allows_socket(url.socket) else f"{SOCKET}, got unix:{url.socket}; {CURE}"
        address = _address(url.host)
        if self._is_allowed(url, address):
            return None
        if any(port == url.port and _is_here(url.host, address, host) for host, port in self.own):
            kind = "a private port of the gateway itself"
        elif address is not None and address.is_link_local:
            kind = "a link-local address"
        elif address in METADATA_ADDRESSES or url.host.rstrip(".").lower() in METADATA_NAMES:
            kind = "a cloud's metadata service"
        else:
            return None
        return f"expected an upstream that publishers may name, got {url.authority}, {kind}; {CURE}"

    def _allows_socket(self, socket: str) -> bool:
        return any(isinstance(entry, SocketPath) and entry.covers(socket) for entry in self.allowed)

    def _is_allowed(self, url: UpstreamUrl, address: Address | None) -> bool:
        return any(
            entry == (address or url.host.lower(), url.port)
            if isinstance(entry, tuple)
            else address is not None and not isinstance(entry, SocketPath) and address in entry
            for entry in self.allowed
        )


def _allowed(text: str) -> Network | tuple[Address | str, int] | SocketPath:
    if text.startswith("unix:/"):
        return SocketPath(text.removeprefix("unix:"))
    if found := HOST_AND_PORT.fullmatch(text):
        host = found["host"].strip("[]").lower()
        return _address(host) or host, int(found["port"])
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise AllowedUpstreamError(
            f"expected HOST:PORT, a network such as 169.254.0.0/16, or unix:/path, got {text!r}"
        ) from None


@lru_cache(maxsize=URLS_KEPT)
def _address(host: str) -> Address | None:
    """The address that a host is, in IPv4 where it stands for one there."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_here(name: str, address: Address | None, listens_on: str) -> bool:
    """Whether a connection to the host `name` arrives at a process of this machine that listens on `listens_on`."""
    own = _address(listens_on)
    if address is None:
        host = name.rstrip(".").lower()
        return host in OWN_NAMES or host.endswith(".localhost") or host == socket.gethostname().lower()
    everywhere = own is not None and own.is_unspecified
    if address.is_loopback or address.is_unspecified:
        return own is None or own.is_loopback or everywhere
    return address == own or (everywhere and _is_of_this_machine(address))


def _is_of_this_machine(address: Address) -> bool:
    """Whether an interface of this machine has it: only then can it be bound (ip(7))."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
