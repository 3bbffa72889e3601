"""Which requests a connection may make, by its server name. Envoy's choice of filter chains is written anew here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import re2
from gatewright_controller.model import ClientCertificates, Listener
from gatewright_controller.translate.envoy.host_groups import HostGroup, host_groups
from gatewright_documents.values import JsonObject
from hypothesis import given
from hypothesis import strategies as st

PARTNERS, STAFF = {"authority": "partners"}, {"mode": "request", "authority": "staff"}


def listener(hosts: Sequence[str], by_host: JsonObject, default: JsonObject | None = None) -> Listener:
    tls = {"certificates": ["main"], "clientCertificatesByHost": by_host}
    if default:
        tls["clientCertificates"] = default
    return msgspec.convert({"name": "a", "protocol": "https", "hosts": list(hosts), "tls": tls}, Listener)


def chosen(groups: Sequence[HostGroup], server_name: str) -> HostGroup | None:
    """As Envoy chooses a filter chain: the exact name, wildcards from the longest on, any (FilterChainMatch)."""
    labels = server_name.lower().split(".")
    wildcards = ["*." + ".".join(labels[at:]) for at in range(1, len(labels))]
    for name in [server_name.lower(), *wildcards]:
        if found := [group for group in groups if name in group.server_names]:
            (group,) = found
            return group
    return next((group for group in groups if not group.server_names), None)


def permits(permission: JsonObject, authority: str) -> bool:
    """As Envoy's RBAC reads a permission."""
    ((kind, rule),) = permission.items()
    value: Any = rule
    if kind == "header":
        return bool(re2.fullmatch(value["string_match"]["safe_regex"]["regex"], authority))
    if kind == "not_rule":
        return not permits(value, authority)
    return {"and_rules": all, "or_rules": any}[kind](permits(rule, authority) for rule in value["rules"])


def admits(groups: Sequence[HostGroup], server_name: str, authority: str) -> bool:
    group = chosen(groups, server_name)
    return group is not None and (group.own is None or permits(group.own, authority))


def test_without_rules_there_is_one_group_and_nothing_is_looked_at() -> None:
    (group,) = host_groups(listener(["a.example"], {}, PARTNERS))
    assert (group.server_names, group.own) == (["a.example"], None)


def test_hosts_of_one_rule_are_one_group_and_the_others_have_the_listeners() -> None:
    by_host = {"a.example": PARTNERS, "b.example": STAFF, "c.example": {"mode": "require", "authority": "partners"}}
    asked = {tuple(group.server_names): certificates_of(group) for group in host_groups(listener([], by_host, STAFF))}
    partners, staff = (msgspec.convert(rule, ClientCertificates) for rule in (PARTNERS, STAFF))
    assert asked == {(): staff, ("a.example", "c.example"): partners, ("b.example",): staff}


def certificates_of(group: HostGroup) -> object:
    assert group.listener.tls
    assert not group.listener.tls.client_certificates_by_host
    return group.listener.tls.client_certificates


def test_a_host_of_the_listener_below_a_wildcard_asks_for_what_the_wildcard_does() -> None:
    """Otherwise an exact name in `hosts` would open a host that the rule names."""
    (group,) = host_groups(listener(["*.example", "a.example"], {"*.example": PARTNERS}))
    assert group.server_names == ["*.example"]
    assert admits([group], "a.example", "a.example")


HOSTS = ("a.example", "b.example", "x.b.example", "y.x.b.example", "example", "other.test")
PATTERNS = ("a.example", "b.example", "*.example", "*.b.example", "x.b.example", "*.x.b.example")


def rule_of(by_host: JsonObject, host: str) -> Any:
    """By what the reference says: the longest name that covers a host decides."""
    if host in by_host:
        return by_host[host]
    covering = [pattern for pattern in by_host if pattern.startswith("*.") and host.endswith(pattern[1:])]
    return by_host[max(covering, key=len)] if covering else None


def spellings(host: str) -> Iterator[str]:
    for name, port in itertools.product((host, host.upper(), f"{host}."), ("", ":443", ":8443")):
        yield name + port


@given(
    by_host=st.dictionaries(st.sampled_from(PATTERNS), st.sampled_from([PARTNERS, STAFF]), min_size=1),
    hosts=st.lists(st.sampled_from(["*.example", "example", "a.example", "x.b.example"]), unique=True),
)
def test_a_connection_makes_requests_for_hosts_of_its_own_rule_and_no_other(
    by_host: JsonObject, hosts: list[str]
) -> None:
    groups = host_groups(listener(hosts, by_host))
    for server_name, host in itertools.product(HOSTS, HOSTS):
        if chosen(groups, server_name) is None:
            assert hosts, "expected a server name to be refused only where the listener has hosts"
            continue
        expected = rule_of(by_host, server_name) == rule_of(by_host, host)
        for authority in spellings(host):
            assert admits(groups, server_name, authority) is expected, (server_name, authority)


@given(by_host=st.dictionaries(st.sampled_from(PATTERNS), st.sampled_from([PARTNERS, STAFF]), min_size=1))
def test_a_connection_without_a_server_name_of_a_rule_makes_no_request_for_its_hosts(by_host: JsonObject) -> None:
    """An upstream might read each of these spellings as the host."""
    groups = host_groups(listener([], by_host))
    for host in HOSTS:
        for authority in (f"me@{host}", f"{host}:x", f"{host}.:", f"{host}:1:2", f"a@b@{host.upper()}:443"):
            expected = rule_of(by_host, host) is None
            assert admits(groups, "other.test", authority) is expected, authority
            if not expected:
                assert not admits(groups, "", authority)
                assert not admits(groups, "127.0.0.1", authority)
