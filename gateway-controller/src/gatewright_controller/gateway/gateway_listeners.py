"""Where a process of this machine reaches the listeners of the gateway that this controller serves, and nothing else.

A client that has the token may write a Gateway with any address in it. So it counts only where a node has taken it,
which no node does that cannot listen there, and where the address is one of this machine's: a request can be sent to no
other service, here or elsewhere (https://owasp.org/www-community/attacks/Server_Side_Request_Forgery).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

import msgspec
from gatewright_documents.mistake import Mistake, listed, shown

from gatewright_controller.gateway.gateways import Gateways, NoGatewayError
from gatewright_controller.model import ClientCertificates, Listener, gateway_from_document
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.resource.hosts import covers_host
from gatewright_controller.resource.node_gateways import THE_GATEWAY

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
CURE = "send it from the node's machine, for example with curl"


class UnreachableError(Exception):
    """No listener can be sent a request from here; the message says why, and what to do."""


class ReachableListener(msgspec.Struct, frozen=True):
    """A listener: where a client on this machine connects, and which host it serves; "" where it serves any.

    demand: what it asks of clients, for people; "" for nothing.
    """

    name: str
    address: str
    port: int
    tls: bool
    host: str = ""
    demand: str = ""

    @property
    def at(self) -> str:
        """`127.0.0.1:8080`, `[::1]:8080`."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:8080`."""
        return f"{'https' if self.tls else 'http'}://{self.at}"


def reachable_listener(gateways: Gateways, deployment: Deployment, name: str) -> ReachableListener:
    """The listener of this name; "" for the first that takes requests as they are, neither a redirect nor one behind
    a proxy, and that is not internal where another is there. Raises `UnreachableError`, and `ValueError` with what is
    known where there is none of this name.
    """
    listener = _chosen(_served(gateways, deployment), name)
    if listener.proxy_protocol:
        why = "its connections begin with a PROXY header of a trusted proxy"
        raise UnreachableError(f"the listener {listener.name} takes no requests from here, for {why}; {CURE}")
    address = EVERY_ADDRESS.get(listener.address, listener.address)
    if not _is_of_this_machine(address):
        why = f"it listens on {address}, which is no address of the controller's machine"
        raise UnreachableError(f"the listener {listener.name} cannot be reached from here, for {why}; {CURE}")
    names = [host for host in listener.hosts if not host.startswith("*")]
    open_names = [host for host in names if not _requires_certificate(listener, host)]
    host = next(iter([*open_names, *names]), "")
    return ReachableListener(
        listener.name, address, listener.port, listener.protocol == "https", host, _demand(listener)
    )


def _demand(listener: Listener) -> str:
    if not listener.tls:
        return ""
    hosts = [host for host in listener.hosts if not _requires_certificate(listener, host)]
    if listener.hosts and hosts:
        return f"takes requests for {listed(hosts)}: say one of these as the host"
    if listener.hosts or _requires_certificate(listener, ""):
        return "asks for a client's certificate, and the controller has none"
    asking = [host for host in listener.tls.client_certificates_by_host if _requires_certificate(listener, host)]
    return f"asks clients of {listed(asking)} for a certificate, and the controller has none" if asking else ""


def _requires_certificate(listener: Listener, host: str) -> bool:
    """Of clients of the host; "" for one that no rule names."""
    if not listener.tls:
        return False
    by_host = listener.tls.client_certificates_by_host
    covering = [pattern for pattern in by_host if covers_host(pattern, host)]
    narrowest = max(covering, key=lambda pattern: (pattern == host, len(pattern)), default=None)
    asked = listener.tls.client_certificates if narrowest is None else by_host[narrowest]
    return isinstance(asked, ClientCertificates) and asked.mode == "require"


def _served(gateways: Gateways, deployment: Deployment) -> Sequence[Listener]:
    """What a node of this controller listens with, by its own word."""
    try:
        document = gateways.current.document
    except NoGatewayError:
        why = "each node listens on what it has by itself: no Gateway was written here"
        raise UnreachableError(f"this controller knows of no listener, for {why}; {CURE}") from None
    nodes = [
        node
        for node in deployment.nodes.values()
        if not node.keeps_gateway and deployment.gateway_name_of(node) == THE_GATEWAY
    ]
    if not nodes:
        raise UnreachableError("no node that listens as the Gateway says is connected; start one")
    states = [deployment.gateway_on(node) for node in nodes]
    if not any(status.state == "deployed" for status in states):
        why = "; ".join(f"{status.node} {status.reason}" for status in states)
        raise UnreachableError(f"no node listens as the Gateway says ({why}); GET /v1/gateway has its state")
    return gateway_from_document(document).spec.listeners


def _chosen(listeners: Sequence[Listener], name: str) -> Listener:
    if not name:
        plain = [listener for listener in listeners if not (listener.redirect or listener.proxy_protocol)]
        return next((listener for listener in plain if not listener.internal), (plain or listeners)[0])
    for listener in listeners:
        if listener.name == name:
            return listener
    raise ValueError(listed([listener.name for listener in listeners]))


def unknown_listener(known: str, name: str) -> Mistake:
    """`known` is what `reachable_listener` has raised."""
    return Mistake.expecting(f"one of {known}", shown(name), field="listener")


def _is_of_this_machine(address: str) -> bool:
    """By the kernel's word: it binds to no other (bind(2), EADDRNOTAVAIL)."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
