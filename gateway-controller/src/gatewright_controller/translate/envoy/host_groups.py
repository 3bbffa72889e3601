"""Hosts of a listener, in groups that ask clients for the same certificates.

A group is a filter chain of its own, which the server name (SNI) of a handshake leads to. The requests of a connection
may be for any host, so each chain refuses those for hosts of other groups: what a client has shown for one host counts
for no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.model import ClientCertificates, Listener
from gatewright_controller.resource.hosts import covers_host

ByHost = Mapping[str, ClientCertificates]


class HostGroup(msgspec.Struct, frozen=True):
    """listener: as connections of the group have it, with the group's client certificates for all of its hosts.
    server_names: those that lead to the group; none: all that lead to no other one.
    own: the permission of requests for hosts of the group; None: there is no other group.
    """

    listener: Listener
    server_names: Sequence[str]
    own: JsonObject | None = None


def host_groups(listener: Listener) -> list[HostGroup]:
    """At least one. Of several, the first is of the hosts that `clientCertificatesByHost` does not cover, if there are
    such."""
    by_host: ByHost = listener.tls.client_certificates_by_host if listener.tls else {}
    if not by_host:
        return [HostGroup(listener, listener.hosts)]
    return [*_other_hosts(listener, by_host), *_named_hosts(listener, by_host)]


def _other_hosts(listener: Listener, by_host: ByHost) -> Iterator[HostGroup]:
    names = [host for host in listener.hosts if not any(covers_host(pattern, host) for pattern in by_host)]
    if names or not listener.hosts:
        assert listener.tls
        asked = listener.tls.client_certificates
        yield HostGroup(_asking(listener, asked), names, {"not_rule": _authority(any_spelling(by_host))})


def _named_hosts(listener: Listener, by_host: ByHost) -> Iterator[HostGroup]:
    for asked in dict.fromkeys(by_host.values()):
        own = [host for host, other in by_host.items() if other == asked]
        yield HostGroup(_asking(listener, asked), own, {"or_rules": {"rules": list(_own_rules(own, by_host))}})


def _own_rules(own: Sequence[str], by_host: ByHost) -> Iterator[JsonObject]:
    """A permission for each name of a group, without the narrower names of other groups."""
    for host in own:
        narrower = [name for name in by_host if name not in own and covers_host(host, name)]
        rule = _authority(one_spelling(host))
        if narrower:
            rule = {"and_rules": {"rules": [rule, {"not_rule": _authority(any_spelling(narrower))}]}}
        yield rule


def _asking(listener: Listener, asked: ClientCertificates | msgspec.UnsetType) -> Listener:
    assert listener.tls
    tls = msgspec.structs.replace(listener.tls, client_certificates=asked, client_certificates_by_host={})
    return msgspec.structs.replace(listener, tls=tls)


def _authority(expression: str) -> JsonObject:
    return {"header": {"name": ":authority", "string_match": {"safe_regex": {"regex": expression}}}}


def one_spelling(host: str) -> str:
    """RE2, of all of an authority that is surely the host: in any case, with or without a dot at its end and a port."""
    name = rf"[^.:@\[\]]+(?:\.[^.:@\[\]]+)*{re.escape(host[1:])}" if host.startswith("*.") else re.escape(host)
    return rf"(?i)(?:{name})\.?(?::[0-9]+)?"


def any_spelling(hosts: Iterable[str]) -> str:
    """RE2, of all of an authority that a route or an upstream may take for one of the hosts: whatever stands before an
    `@` or behind a colon, and below a wildcard."""
    names = "|".join(f".*{re.escape(host[1:])}" if host.startswith("*.") else re.escape(host) for host in hosts)
    return rf"(?is)(?:.*@)?(?:{names})\.?(?::.*)?"
