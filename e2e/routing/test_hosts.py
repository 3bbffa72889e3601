"""The API of a request by the host that it names: docs/reference/matching.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
from h2.config import H2Configuration

from e2e.kit.gateway import Gateway, Json, api, attach, eventually
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream
from e2e.kit.wire import Answer, Shape, http1, http2

Ask = Callable[[int, str, Shape], Answer]
BOTH = pytest.mark.parametrize("ask", [http1, http2])


def api_on_hosts(upstream: Upstream, name: str, context: str, *hosts: str) -> Json:
    """An API whose requests go upstream with its name in x-order."""
    document = api(name, upstream.url, [attach("mark", {"name": name})])
    document["spec"] |= {"context": context, "hosts": list(hosts)}
    return document


def status_and_api(ask: Ask, gateway: Gateway, host: str, path: str) -> tuple[int, str]:
    answer = ask(gateway.port, path, Shape("host", "GET", host=host))
    return answer.status, (answer.value("x-order") or "").removesuffix("()")


@BOTH
def test_the_most_specific_host_has_the_request(gateway: Gateway, upstream: Upstream, ask: Ask) -> None:
    gateway.deploy(api_on_hosts(upstream, "hosts-every", "/hosts"))
    gateway.deploy(api_on_hosts(upstream, "hosts-wild", "/hosts", "*.hosts.example"))
    gateway.deploy(api_on_hosts(upstream, "hosts-wilder", "/hosts", "*.deep.hosts.example"))
    gateway.deploy(api_on_hosts(upstream, "hosts-named", "/hosts", "shop.hosts.example", "hosts.example"))
    for host, name in {
        "shop.hosts.example": "hosts-named",
        "SHOP.Hosts.EXAMPLE": "hosts-named",
        "shop.hosts.example:8080": "hosts-named",
        "shop.hosts.example.": "hosts-named",
        "Shop.hosts.example.:443": "hosts-named",
        "hosts.example": "hosts-named",
        "blog.hosts.example": "hosts-wild",
        "BLOG.hosts.example.:1": "hosts-wild",
        "a.b.hosts.example": "hosts-wild",
        "deep.hosts.example": "hosts-wild",
        "a.deep.hosts.example": "hosts-wilder",
        "other.example": "hosts-every",
        "nothosts.example": "hosts-every",
        "hosts.example.evil": "hosts-every",
        "127.0.0.1": "hosts-every",
        "[::1]:80": "hosts-every",
    }.items():
        assert status_and_api(ask, gateway, host, "/hosts/x") == (200, name), host
        assert status_and_api(ask, gateway, host, "/hosts") == (200, name), host


@BOTH
def test_two_apis_have_one_context_on_two_hosts_and_no_other_host_has_it(
    gateway: Gateway, upstream: Upstream, ask: Ask
) -> None:
    gateway.deploy(api_on_hosts(upstream, "tenant-a", "/tenant", "a.tenant.example"))
    gateway.deploy(api_on_hosts(upstream, "tenant-b", "/tenant", "b.tenant.example", "*.b.tenant.example"))
    assert status_and_api(ask, gateway, "a.tenant.example", "/tenant/x") == (200, "tenant-a")
    assert status_and_api(ask, gateway, "b.tenant.example", "/tenant/x") == (200, "tenant-b")
    assert status_and_api(ask, gateway, "x.b.tenant.example:1", "/tenant/x") == (200, "tenant-b")
    for host in (
        "tenant.example",
        "c.tenant.example",
        "a.tenant.example.evil",
        "xa.tenant.example",
        "a.tenant.example..",
    ):
        assert status_and_api(ask, gateway, host, "/tenant/x") == (404, ""), host


@BOTH
def test_a_longer_context_counts_before_a_narrower_host(gateway: Gateway, upstream: Upstream, ask: Ask) -> None:
    gateway.deploy(api_on_hosts(upstream, "wide", "/long/context"))
    gateway.deploy(api_on_hosts(upstream, "narrow", "/long", "long.example"))
    assert status_and_api(ask, gateway, "long.example", "/long/x") == (200, "narrow")
    assert status_and_api(ask, gateway, "long.example", "/long/context/x") == (200, "wide")
    assert status_and_api(ask, gateway, "long.example", "/long/contextual") == (200, "narrow")
    assert status_and_api(ask, gateway, "other.example", "/long/x") == (404, "")


def test_a_policy_sees_the_host_that_the_client_named(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api_on_hosts(upstream, "told", "/told", "told.example"))
    assert status_and_api(http1, gateway, "Told.Example:8080", "/told/x") == (200, "told")
    assert upstream.received[-1].value("x-forwarded-host") == "Told.Example:8080"
    assert upstream.received[-1].value("host") == f"127.0.0.1:{upstream.port}"


def test_the_same_context_on_the_same_host_is_refused_naming_the_other_api(
    gateway: Gateway, upstream: Upstream
) -> None:
    gateway.deploy(api_on_hosts(upstream, "first", "/same", "same.example", "*.same.example"))
    with gateway.controller() as client:
        refused = client.post(
            "/v1/apis", json=api_on_hosts(upstream, "second", "/same", "other.example", "*.same.example")
        )
        assert refused.status_code == 422
        (error,) = refused.json()["errors"]
        assert error["message"] == (
            "expected a context that no other API has on the host '*.same.example', got '/same', which is first's"
        )
        gateway.deploy(api_on_hosts(upstream, "second", "/same", "other.example"))
        moved = client.put("/v1/apis/second", json=api_on_hosts(upstream, "second", "/same", "same.example"))
        assert moved.status_code == 422
    assert status_and_api(http1, gateway, "other.example", "/same/x") == (200, "second")


def test_hosts_change_under_load_and_no_request_fails(gateway: Gateway, upstream: Upstream) -> None:
    """A host that stays is served throughout, by one API or by the other, while others come and go."""
    gateway.deploy(api_on_hosts(upstream, "load-every", "/load"))
    with traffic(f"{gateway.url}/load/x", clients=8, pause=0.002, host="kept.load.example") as (flow,):
        for turn in range(3):
            gateway.deploy(api_on_hosts(upstream, "load-named", "/load", "kept.load.example", f"n{turn}.load.example"))
            gateway.deploy(api_on_hosts(upstream, "load-other", "/load", f"other{turn}.load.example", "*.load.example"))
            gateway.deploy(api_on_hosts(upstream, "load-named", "/load", f"n{turn}.load.example"))
        gateway.deploy(api_on_hosts(upstream, "load-other", "/load", "other.load.example"))
        counted = len(flow.answers)
        eventually("traffic goes on", lambda: len(flow.answers) > counted + 100)
    assert flow.counts().keys() == {200}, flow.problems[:3]
    assert status_and_api(http1, gateway, "kept.load.example", "/load/x") == (200, "load-every")
    names = {json.dumps(request.values("x-order")[0].decode()) for request in upstream.received}
    assert names >= {'"load-every()"', '"load-named()"', '"load-other()"'}, names


@pytest.mark.parametrize("beside", ["narrow.example", "two.example"])
def test_over_http2_a_host_beside_the_authority_counts_for_nothing(
    gateway: Gateway, upstream: Upstream, beside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a client would choose one API by the one, and have policies or upstream see the other (RFC 9113, 8.3.1)."""
    config = partial(H2Configuration, validate_outbound_headers=False)  # h2 would not send it
    monkeypatch.setattr("h2.config.H2Configuration", config)
    gateway.deploy(api_on_hosts(upstream, "authority", "/authority", "two.example"))
    gateway.deploy(api_on_hosts(upstream, "other-host", "/authority", "narrow.example"))
    answer = http2(gateway.port, "/authority/x", Shape("host", "GET", host="two.example", headers=[("host", beside)]))
    assert (answer.status, answer.value("x-order")) == (200, "authority()")
    assert upstream.received[-1].value("x-forwarded-host") == "two.example"
