"""A policy names several upstreams, which are asked one after the other until one answers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import httpx
import pytest

from e2e.kit.closed_port import closed_port
from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.upstream import Reply, Upstream

pytestmark = pytest.mark.in_envoy_too
EVENTS = [("content-type", "text/event-stream")]
GOOD = b'data: {"text": "hello"}\n\ndata: [DONE]\n\n'
KIB = 1 << 10


@pytest.fixture(scope="module")
def second() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def attempts_api(name: str, first: str, second: str, *attempts: Json, **spec: object) -> Json:
    tried = list(attempts) or [{"upstream": "main"}, {"upstream": "second"}]
    operations = [{"method": method, "path": "/*"} for method in ("GET", "POST")]
    document = api(name, f"{first}/one", [attach("attempts", {"attempts": tried})], operations)
    document["spec"]["upstream"]["second"] = {"url": f"{second}/two/base"}
    document["spec"] |= {"failover": True} | spec
    return document


def answers(upstream: Upstream, status: int, body: bytes = b"", headers: list[tuple[str, str]] | None = None) -> None:
    upstream.reset()
    upstream.reply = lambda _: Reply(status, headers or [], body)


def test_the_first_that_answers_is_the_only_one_asked(gateway: Gateway, upstream: Upstream, second: Upstream) -> None:
    answers(upstream, 404)
    answers(second, 200)
    gateway.deploy(attempts_api("tried-first", upstream.url, second.url))
    answer = httpx.post(f"{gateway.url}/tried-first/a?b=c", content=b"hello")
    assert (answer.status_code, answer.headers["x-answered-by"]) == (404, "main")
    (request,) = upstream.received
    assert (request.target, request.body, request.value("host")) == (
        "/one/a?b=c",
        b"hello",
        f"127.0.0.1:{upstream.port}",
    )
    assert second.received == []
    assert "x-gatewright-upstream" not in answer.headers


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 529])
def test_a_failed_attempt_is_followed_by_the_next(
    gateway: Gateway, upstream: Upstream, second: Upstream, status: int
) -> None:
    answers(upstream, status, b"no")
    answers(second, 200, b"yes")
    gateway.deploy(attempts_api("tried-second", upstream.url, second.url))
    answer = httpx.post(f"{gateway.url}/tried-second/a?b=c", content=b"hello")
    assert (answer.status_code, answer.content, answer.headers["x-answered-by"]) == (200, b"yes", "second")
    assert len(upstream.received) == 1
    (request,) = second.received
    assert (request.method, request.target, request.body) == ("POST", "/two/base/a?b=c", b"hello")
    assert request.value("host") == f"127.0.0.1:{second.port}"
    assert [name for name, _ in request.headers if name.startswith((b"x-envoy-", b"x-gatewright"))] == []


def test_where_all_fail_the_client_gets_the_last_answer(gateway: Gateway, upstream: Upstream, second: Upstream) -> None:
    answers(upstream, 500)
    answers(second, 429, b"slow down", [("retry-after", "7")])
    gateway.deploy(attempts_api("tried-all", upstream.url, second.url))
    answer = httpx.get(f"{gateway.url}/tried-all/a")
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (429, b"slow down", "7")
    assert (len(upstream.received), len(second.received)) == (1, 1)


def test_an_upstream_without_a_listener_is_passed_over(gateway: Gateway, upstream: Upstream) -> None:
    answers(upstream, 200)
    with closed_port() as port:
        gateway.deploy(attempts_api("tried-closed", f"http://127.0.0.1:{port}", upstream.url))
        assert httpx.post(f"{gateway.url}/tried-closed/", content=b"x").headers["x-answered-by"] == "second"
    assert len(upstream.received) == 1


def test_each_attempt_has_headers_a_path_and_a_body_of_its_own(
    gateway: Gateway, upstream: Upstream, second: Upstream
) -> None:
    answers(upstream, 500)
    answers(second, 500)
    tried = [
        {"upstream": "main", "set_headers": {"authorization": "first", "x-more": ["1", "2"]}, "body": '{"a": "é"}'},
        {"upstream": "second", "set_headers": {"x-key": "second"}, "path": "/v9/other"},
    ]
    gateway.deploy(attempts_api("tried-own", upstream.url, second.url, *tried))
    headers = {"authorization": "client's", "x-key": "client's"}
    httpx.post(f"{gateway.url}/tried-own/a?b=c", content=b"the client's", headers=headers)
    (first,), (last,) = upstream.received, second.received
    assert (first.target, first.body.decode()) == ("/one/a?b=c", '{"a": "é"}')
    assert (first.value("authorization"), first.value("x-key"), first.values("x-more")) == (
        "first",
        "client's",
        [b"1", b"2"],
    )
    assert (last.target, last.body) == ("/two/base/v9/other?b=c", b"the client's")
    assert (last.value("authorization"), last.value("x-key"), last.values("x-more")) == ("client's", "second", [])


ERRORS = {
    "named": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
    "member": b'data: {"id": 1, "error": {"code": 503}}\r\n\r\ndata: [DONE]\r\n\r\n',
    "behind a comment": b': wait\n\ndata: {"error": "no"}\n\n',
    "without a blank line": b'data: {"error": "no"}',
}


@pytest.mark.parametrize("events", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "gzip"])
def test_a_stream_that_begins_with_an_error_is_a_failed_attempt(
    gateway: Gateway, upstream: Upstream, second: Upstream, events: bytes, encoded: bool
) -> None:
    coding = [("content-encoding", "gzip")] if encoded else []
    coder = zlib.compressobj(wbits=31)
    answers(upstream, 200, coder.compress(events) + coder.flush() if encoded else events, EVENTS + coding)
    answers(second, 200, GOOD, EVENTS)
    gateway.deploy(attempts_api("tried-events", upstream.url, second.url))
    answer = httpx.post(f"{gateway.url}/tried-events/", content=b"{}")
    assert (answer.status_code, answer.content, answer.headers["x-answered-by"]) == (200, GOOD, "second")
    assert len(upstream.received) == 1


def test_an_error_in_the_last_stream_is_a_502(gateway: Gateway, upstream: Upstream, second: Upstream) -> None:
    answers(upstream, 500)
    answers(second, 200, ERRORS["named"], EVENTS)
    gateway.deploy(attempts_api("tried-last", upstream.url, second.url))
    answer = httpx.post(f"{gateway.url}/tried-last/", content=b"{}")
    assert (answer.status_code, answer.content) == (502, ERRORS["named"])
    assert [name for name in answer.headers if name.startswith("x-gatewright")] == []


def test_an_error_behind_the_first_event_goes_to_the_client(
    gateway: Gateway, upstream: Upstream, second: Upstream
) -> None:
    answers(upstream, 200, GOOD + ERRORS["named"], EVENTS)
    answers(second, 200)
    gateway.deploy(attempts_api("tried-late", upstream.url, second.url))
    answer = httpx.post(f"{gateway.url}/tried-late/", content=b"{}")
    assert (answer.status_code, answer.content) == (200, GOOD + ERRORS["named"])
    assert second.received == []


def test_large_bodies_are_kept_up_to_a_limit(gateway: Gateway, upstream: Upstream, second: Upstream) -> None:
    gateway.deploy(attempts_api("tried-large", upstream.url, second.url))
    for size, expected in ((7 * KIB * KIB, (200, 1)), (9 * KIB * KIB, (500, 0))):
        answers(upstream, 500)
        answers(second, 200)
        answer = httpx.post(f"{gateway.url}/tried-large/", content=b"x" * size, timeout=30)
        assert (answer.status_code, len(second.received)) == expected
        assert {len(request.body) for request in upstream.received + second.received} == {size}


BAD = {
    "unknown": ([{"upstream": "main"}, {"upstream": "other"}], {}),
    "twice": ([{"upstream": "main"}, {"upstream": "main"}], {}),
    "without failover": ([{"upstream": "main"}], {"failover": False}),
    "header of the proxy": ([{"upstream": "main", "set_headers": {"x-envoy-max-retries": "9"}}], {}),
}


@pytest.mark.parametrize(("tried", "spec"), BAD.values(), ids=BAD.keys())
def test_attempts_that_cannot_be_made_are_bad_actions(
    gateway: Gateway, upstream: Upstream, second: Upstream, tried: list[Json], spec: Json
) -> None:
    answers(upstream, 200)
    gateway.deploy(attempts_api("tried-bad", upstream.url, second.url, *tried, **spec))
    assert httpx.get(f"{gateway.url}/tried-bad/").status_code == 500
    assert upstream.received == []
