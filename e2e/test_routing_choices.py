"""A policy chooses an upstream: only among the API's own, with all that a request is to it, and never by a header."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from e2e.gateway import Gateway, Json, api, attach
from e2e.upstream import Upstream

OPERATIONS = [{"method": method, "path": path} for method in ("GET", "POST") for path in ("/*", "/items/{id}")]


@pytest.fixture(scope="module")
def canary() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def chosen(name: str, main: Upstream, canary: Upstream, *policies: Json, **spec: object) -> Json:
    """An API of two pools, the second of which has another base path."""
    document = api(name, f"{main.url}/main", list(policies), list(OPERATIONS))
    document["spec"]["upstream"]["canary"] = {"url": f"{canary.url}/other/base"}
    document["spec"] |= spec
    return document


def test_a_policy_chooses_a_pool_with_its_authority_and_its_base_path(
    gateway: Gateway, upstream: Upstream, canary: Upstream
) -> None:
    canary.reset()
    gateway.deploy(chosen("choice", upstream, canary, attach("retarget", {"upstream": "canary"})))
    for method in ("GET", "POST"):
        assert httpx.request(method, f"{gateway.url}/choice/items/7?a=b").status_code == 200
    assert upstream.received == []
    assert [(one.method, one.target) for one in canary.received] == [
        ("GET", "/other/base/items/7?a=b"),
        ("POST", "/other/base/items/7?a=b"),
    ]
    assert canary.received[0].value("host") == f"127.0.0.1:{canary.port}"


def test_a_policy_that_chooses_nothing_leaves_it_to_the_operation(
    gateway: Gateway, upstream: Upstream, canary: Upstream
) -> None:
    canary.reset()
    gateway.deploy(chosen("unchosen", upstream, canary, attach("mark", {"name": "m"})))
    assert httpx.get(f"{gateway.url}/unchosen/items/7").status_code == 200
    (request,) = upstream.received
    assert (request.target, request.value("host")) == ("/main/items/7", f"127.0.0.1:{upstream.port}")
    assert canary.received == []


def test_a_choice_goes_with_other_changes(gateway: Gateway, upstream: Upstream, canary: Upstream) -> None:
    """A path that another operation has, and an authority that no virtual host has, lead to no other route."""
    canary.reset()
    own = [{"method": "GET", "path": "/denied", "policies": [attach("deny-headers")]}]
    changes = {
        "upstream": "canary",
        "path": "/mixed/denied",
        "query": "n=2",
        "authority": "elsewhere.test",
        "method": "PUT",
    }
    document = chosen("mixed", upstream, canary, attach("retarget", changes))
    document["spec"]["operations"] += own
    gateway.deploy(document)
    assert httpx.get(f"{gateway.url}/mixed/items/7").status_code == 200
    (request,) = canary.received
    assert (request.method, request.target, request.value("host")) == (
        "PUT",
        "/other/base/denied?n=2",
        "elsewhere.test",
    )
    assert upstream.received == []


def test_no_header_of_a_client_chooses(gateway: Gateway, upstream: Upstream, canary: Upstream) -> None:
    canary.reset()
    gateway.deploy(chosen("headers", upstream, canary, attach("mark", {"name": "m"})))
    names = ("gatewright.upstream", "x-gatewright-upstream", "upstream", "gatewright.choice", "x-envoy-upstream-alt")
    assert httpx.get(f"{gateway.url}/headers/a", headers=dict.fromkeys(names, "canary")).status_code == 200
    assert (len(upstream.received), len(canary.received)) == (1, 0)


@pytest.mark.parametrize("name", ["nope", "CANARY", "-"])
def test_another_name_is_a_bad_action(gateway: Gateway, upstream: Upstream, canary: Upstream, name: str) -> None:
    canary.reset()
    gateway.deploy(chosen("unknown", upstream, canary, attach("retarget", {"upstream": name})))
    assert httpx.get(f"{gateway.url}/unknown/a").status_code == 500
    assert upstream.received == canary.received == []
