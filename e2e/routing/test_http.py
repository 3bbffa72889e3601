"""HTTP at the edges of routing: methods, preflight, contexts, paths."""

from __future__ import annotations

import httpx
import pytest

from e2e.kit.gateway import Gateway, api, attach
from e2e.kit.upstream import Upstream
from e2e.kit.wire import Shape, http1


def test_a_known_path_with_another_method_is_405(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("methods", upstream.url, [], [{"method": "GET", "path": "/a"}, {"method": "PUT", "path": "/a"}]))
    answer = httpx.post(f"{gateway.url}/methods/a")
    assert answer.status_code == 405
    assert {method.strip() for method in answer.headers["allow"].split(",")} >= {"GET", "PUT"}
    assert httpx.head(f"{gateway.url}/methods/a").status_code == 200
    assert httpx.get(f"{gateway.url}/methods/b").status_code == 404


def test_preflight_reaches_the_policies_of_the_api(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("preflight", upstream.url, [attach("deny-headers")], [{"method": "GET", "path": "/a"}]))
    answer = httpx.options(f"{gateway.url}/preflight/a")
    assert (answer.status_code, answer.headers["x-denied-by"]) == (403, "deny-headers")


def test_a_context_ends_at_a_segment(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("seg", upstream.url, [attach("mark", {"name": "seg"})]))
    gateway.deploy(api("segment", upstream.url, [attach("mark", {"name": "segment"})]))
    for name in ("seg", "segment"):
        assert httpx.get(f"{gateway.url}/{name}/x?q").status_code == 200
        assert upstream.received[-1].values("x-order") == [f"{name}()".encode()]
    assert httpx.get(f"{gateway.url}/segX/x").status_code == 404


@pytest.mark.parametrize("path", ["/norm/a/../b", "//norm///b", "/norm/%2e%2e/norm/b", "/norm/./b"])
def test_paths_are_normalised_before_routing(gateway: Gateway, upstream: Upstream, path: str) -> None:
    own = [attach("mark", {"name": "b"})]
    gateway.deploy(api("norm", upstream.url, [], [{"method": "GET", "path": "/b", "policies": own}]))
    assert http1(gateway.port, path, Shape("path", "GET")).status == 200
    assert upstream.received[0].values("x-order") == [b"b()"]


def test_an_upstream_that_does_not_answer_is_problem_json(gateway: Gateway) -> None:
    gateway.deploy(api("unanswered", "http://127.0.0.1:9", [attach("mark", {"name": "m"})]))
    answer = httpx.get(f"{gateway.url}/unanswered/x")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.headers.get_list("x-order") == ["m()"]


def test_a_policy_chooses_path_query_method_and_authority(gateway: Gateway, upstream: Upstream) -> None:
    chosen = {"path": "/retarget/b/c", "query": "n=2", "method": "POST", "authority": "elsewhere.test"}
    gateway.deploy(api("retarget", upstream.url, [attach("retarget", chosen)], [{"method": "GET", "path": "/*"}]))
    headers = {"host": "asked.test", "x-forwarded-host": "evil.test"}
    assert httpx.get(f"{gateway.url}/retarget/a?n=1", headers=headers).status_code == 200
    (request,) = upstream.received
    assert (request.method, request.target, request.value("host")) == ("POST", "/b/c?n=2", "elsewhere.test")
    assert request.values("x-forwarded-host") == [b"asked.test"]


def test_the_upstream_sees_its_own_host_otherwise(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("own-host", upstream.url, [attach("mark", {"name": "m"})]))
    httpx.get(f"{gateway.url}/own-host/a")
    assert upstream.received[0].value("host") == upstream.url.removeprefix("http://")
