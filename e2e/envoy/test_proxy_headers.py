"""Headers that only proxies may send, and the ids of requests: what the real Envoy passes on, with the listeners that
the controller renders."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterator, Mapping

import pytest

from e2e.envoy.lone_listeners import LoneListeners, lone_listeners
from e2e.kit.gateway import Json
from e2e.kit.raw_http import request
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(60)

PROXY_HEADERS = (
    "cf-connecting-ip", "cf-connecting-ipv6", "client-ip", "fastly-client-ip", "forwarded", "front-end-https", "proxy",
    "ssl-client-cert", "ssl-client-verify", "true-client-ip", "x-client-ip", "x-cluster-client-ip", "x-forwarded",
    "x-forwarded-f", "x-forwarded-format", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-scheme",
    "x-forwarded-ssl", "x-forwarded-user", "x-original-forwarded-for", "x-original-host", "x-original-uri",
    "x-original-url", "x-real-ip", "x-rewrite-url", "x-scheme", "x-ssl-client-cert", "x-ssl-client-verify",
    "x-ssl-protocol", "x-url-scheme",
)  # fmt: skip
OTHERS = ("via", "x-forwardedfor", "x-http-method-override", "x-mine", "x-realm", "x-sslx")
"""Headers that pass from every client."""
STRANGER, PROXY = "127.0.0.1", "127.0.0.2"


@pytest.fixture(scope="module")
def proxied_listeners(recording_upstream: Upstream) -> Iterator[LoneListeners]:
    spec = {"trustedProxies": {"networks": [PROXY]}}
    with lone_listeners(spec, recording_upstream.port) as listeners:
        yield listeners


def headers_passed_on(
    listeners: LoneListeners, upstream: Upstream, headers: Mapping[str, str], source: str
) -> set[str]:
    """The names of the headers that reach the upstream unchanged."""
    upstream.received.clear()
    assert request(listeners.ports["http"], source=source, headers=headers).status == 200
    (received,) = upstream.received
    return {name for name, value in headers.items() if received.values(name) == [value.encode()]}


def header_values(*names: str) -> dict[str, str]:
    return {name: f"{name} of the client" for name in names}


def test_only_trusted_proxies_name_the_client(proxied_listeners: LoneListeners, upstream: Upstream) -> None:
    headers = header_values(*PROXY_HEADERS, *OTHERS)
    assert headers_passed_on(proxied_listeners, upstream, headers, STRANGER) == set(OTHERS)
    assert headers_passed_on(proxied_listeners, upstream, headers, PROXY) == set(headers)


def test_a_header_in_several_lines_and_any_case_is_removed_whole(
    proxied_listeners: LoneListeners, upstream: Upstream
) -> None:
    several = {"X-Real-IP": "1.1.1.1", "x-real-ip": "2.2.2.2", "FORWARDED": "for=1.1.1.1", "X-Forwarded-PORT": "1"}
    assert request(proxied_listeners.ports["http"], headers=several).status == 200
    assert not {b"x-real-ip", b"forwarded", b"x-forwarded-port"} & {name for name, _ in upstream.received[0].headers}


def test_the_client_is_appended_to_x_forwarded_for(proxied_listeners: LoneListeners, upstream: Upstream) -> None:
    assert request(proxied_listeners.ports["http"], headers={"x-forwarded-for": "9.9.9.9"}).status == 200
    forwarded, connected = (upstream.received[0].value("x-forwarded-for") or "").split(",")
    assert (forwarded, bool(ipaddress.ip_address(connected))) == ("9.9.9.9", True)


def test_where_hops_count_every_client_is_a_trusted_proxy(upstream: Upstream) -> None:
    with lone_listeners({"trustedProxies": {"hops": 1}}, upstream.port) as listeners:
        headers = header_values(*PROXY_HEADERS)
        assert headers_passed_on(listeners, upstream, headers, STRANGER) == set(headers)


def test_an_operator_may_pass_some_of_them(upstream: Upstream) -> None:
    passed = ["x-real-ip", "x-forwarded-prefix", "x-forwarded-port", "x-ssl-client-verify"]
    with lone_listeners({"passedHeaders": passed}, upstream.port) as listeners:
        near = ("x-forwarded-prefixes", "x-forwarded-pre", "x-forwarded-", "x-ssl-client-verified", "x-ssl-")
        headers = header_values(*PROXY_HEADERS, *near, *OTHERS)
        assert headers_passed_on(listeners, upstream, headers, STRANGER) == {*passed, *OTHERS}


# ---------------------------------------------------------------- request ids


@pytest.mark.parametrize(("proxies", "source", "kept"), [
    ({}, STRANGER, False),
    ({"networks": [PROXY]}, STRANGER, False),
    ({"networks": [PROXY]}, PROXY, False),
    ({"networks": [PROXY], "requestIds": True}, STRANGER, False),
    ({"networks": [PROXY], "requestIds": True}, PROXY, True),
    ({"hops": 1}, STRANGER, False),
    ({"hops": 1, "requestIds": True}, STRANGER, True),
])  # fmt: skip
def test_no_client_chooses_the_id_of_its_request(upstream: Upstream, proxies: Json, source: str, kept: bool) -> None:
    chosen = "chosen-by-the-client"
    with lone_listeners({"trustedProxies": proxies}, upstream.port) as listeners:
        assert request(listeners.ports["http"], source=source, headers={"x-request-id": chosen}).status == 200
        request_id = upstream.received[0].value("x-request-id") or ""
        assert (request_id == chosen) is kept
        assert kept or uuid.UUID(request_id)
