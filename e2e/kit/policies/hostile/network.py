"""Ports, datagrams, raw packets: where["ports"] has the gateway's own port and those of programs elsewhere."""

import socket
import time
from functools import partial
from typing import Any

from .evidence import Evidence, RefusedError, evidence

SERVED_SECONDS = 4.0
STOLEN = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nstolen"


def listening_port(where: dict[str, Any]) -> Evidence:
    """Listens beside Envoy, as SO_REUSEPORT lets processes of one user; the suite sends requests meanwhile."""

    def attempt() -> str:
        count, tokens = 0, 0
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", where["ports"]["gateway"]))
            listener.listen(64)
            listener.settimeout(0.2)
            end = time.monotonic() + SERVED_SECONDS
            while time.monotonic() < end:
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client:
                    client.settimeout(1.0)
                    tokens += b"Bearer" in client.recv(4096)
                    client.sendall(STOLEN)
                    count += 1
        if not count:
            raise RefusedError("listened, and no client came")
        return f"{count} requests of clients, {tokens} with a bearer token"

    return evidence({"": attempt})


def other_port(_: dict[str, Any]) -> Evidence:
    def attempt() -> str:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            return f"listens on port {listener.getsockname()[1]}"

    return evidence({"": attempt})


def elsewhere(where: dict[str, Any]) -> Evidence:
    """A server of the network, by TCP and by UDP; and a server of its own, by UDP."""
    address = ("127.0.0.1", where["ports"]["elsewhere"])

    def tcp() -> str:
        with socket.create_connection(address, 3):
            return "connected"

    def udp() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", address)
            return "sent"

    return evidence({"TCP": tcp, "UDP": udp})


def raw(_: dict[str, Any]) -> Evidence:
    def attempt(*kind: int) -> str:
        with socket.socket(*kind):
            return "a socket"

    kinds = {
        "IP": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "packets": (socket.AF_PACKET, socket.SOCK_RAW, 0),
    }
    return evidence({name: partial(attempt, *kind) for name, kind in kinds.items()})


TRIES = {"listening-port": listening_port, "other-port": other_port, "elsewhere": elsewhere, "raw-sockets": raw}
