"""Ports: whether they are free, and which process has them."""

from __future__ import annotations

import errno
import os
import random
import socket
from pathlib import Path
from typing import NamedTuple

ECHO_PORT = 9091
ECHO_HOST = "127.0.0.1"
ECHO_NAMES = (ECHO_HOST, "localhost")
"""Where the echo upstream of a run listens, and the hosts by which upstreams of APIs name it."""

LOWEST_FREE, TRIED_FREE = 20_000, 20
"""Of free ports: the lowest, and how many are tried."""

TCP_LISTEN = "0A"
UDP_OPEN = "07"


class Place(NamedTuple):
    """A place to listen on: TCP, and with `udp` UDP on the same port."""

    host: str
    port: int
    udp: bool = False

    def obstacle(self) -> str | None:
        """Why a process cannot listen there, in words; None if it can."""
        return obstacle(self.host, self.port) or (obstacle(self.host, self.port, udp=True) if self.udp else None)


def obstacle(host: str, port: int, *, udp: bool = False) -> str | None:
    """Why a process cannot listen there, on TCP or on UDP, in words; None if it can.

    Tried without SO_REUSEPORT: with it, a second Envoy would silently share the port of the first.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        )[0]
    except socket.gaierror as error:
        return f"{host} is no address of this machine ({error.strerror})"
    with socket.socket(family, kind, protocol) as probe:
        if not udp:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ports of closed connections are free
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as Envoy's `::`
        try:
            probe.bind(address)
        except OSError as error:
            return _explain(error, host, port, udp=udp)
    return None


def free_port(host: str) -> int:
    """A port that was free a moment ago, and that no process has been given by this; 0 if `host` is no address of this
    machine.

    It is below those that the system gives to outgoing connections, one of which might take it before the listener
    opens. If there is none below, any free one.
    """
    for port in (*random.sample(range(LOWEST_FREE, _first_of_clients()), TRIED_FREE), 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            if _claim(free := int(probe.getsockname()[1])):
                return free
    return 0


def _claim(port: int) -> bool:
    """Whether the port becomes this process's, until it ends: it takes seconds until a listener opens, and meanwhile
    another gateway that starts must choose another port. An abstract socket is in the same network namespace as ports,
    and ends with its process."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0gatewright-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # which leaves it open
    return True


def _first_of_clients() -> int:
    """The first port that the system gives to outgoing connections (ip(7)), or a bound for `free_port` above it."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        first = 0
    return max(first, LOWEST_FREE + TRIED_FREE)


def _explain(error: OSError, host: str, port: int, *, udp: bool) -> str:
    place = f"{'UDP ' if udp else ''}port {port}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} on {host} is taken (by {owner(port, udp=udp) or 'a process that this user may not see'})"
    return f"{place} on {host} cannot be opened ({os.strerror(error.errno or 0)})"


def owner(port: int, *, udp: bool = False) -> str | None:
    """The program and process id that listens on a TCP or UDP port, from /proc; None if unknown."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port, udp=udp)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(entry.readlink()) in inodes for entry in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:  # the process has ended, or is another user's
            continue
    return None


def _listening_inodes(port: int, *, udp: bool) -> set[str]:
    inodes = set()
    tables, listening = (("udp", "udp6"), UDP_OPEN) if udp else (("tcp", "tcp6"), TCP_LISTEN)
    for table in tables:
        try:
            rows = [line.split() for line in (Path("/proc/net") / table).read_text().splitlines()[1:]]
        except OSError:
            continue
        inodes |= {row[9] for row in rows if row[3] == listening and int(row[1].rpartition(":")[2], 16) == port}
    return inodes
