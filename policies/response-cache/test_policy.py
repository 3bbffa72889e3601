"""Which responses are kept, for which clients, for how long, and what no client can put into the memory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import Identity, ImmediateResponse, Peer, RequestContext
from sdk.store import MAX_VALUE
from sdk.testing import MovedClock

policy = testing.load_policy(__file__)
memory = sys.modules[policy.ProcessCache.__module__]
MAX_VARIANTS, OVERHEAD = memory.MAX_VARIANTS, memory.OVERHEAD
DEFAULTS: dict[str, Any] = {
    "where": "process", "maxBytes": 1 << 20, "vary": ["accept", "accept-encoding", "accept-language"], "lifetimes": {},
    "maxLifetimeSeconds": 86400, "clientDirectives": "honour", "cacheStatus": True, "version": "",
    "staleWhileRevalidateSeconds": 0, "staleIfErrorSeconds": 0,
}  # fmt: skip
FRESH = {"cache-control": "max-age=60"}
FOR_ALL = {"cache-control": "public, max-age=60"}


@pytest.fixture(autouse=True)
def time() -> Iterator[MovedClock]:
    with testing.clock() as clock:
        yield clock


@pytest.fixture(autouse=True, params=["process", "store"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs with both places for responses, unless it names one."""
    monkeypatch.setitem(DEFAULTS, "where", request.param)
    return str(request.param)


in_process = pytest.mark.parametrize("where", ["process"], indirect=True)


class Exchanges:
    """Requests through one instance of the policy. upstream_requests: how many of them upstream got."""

    def __init__(self, prepared: Any, params: dict[str, Any]) -> None:
        self._prepared, self._params = prepared, params
        self.upstream_requests = 0

    async def get(self, path: str = "/x", headers: Any = (), answer: Any = None, **request: Any) -> Any:
        """Returns the response that the client gets, from the policy or from upstream.

        answer: upstream's headers, status and body; by default FRESH, 200 and `upstream_requests`.
        behind: changes the request as policies after this one do.
        """
        behind: Callable[[RequestContext], RequestContext] = request.pop("behind", lambda ctx: ctx)
        method, identity = request.pop("method", "GET"), request.pop("identity", None)
        ctx = testing.request(method, path, headers=headers, prepared=self._prepared, **request)
        ctx.identity = identity
        action = await policy.on_request(ctx, self._params)
        if action is not None:
            return action
        self.upstream_requests += 1
        upstream = behind(ctx)
        response = {"headers": FRESH, "status": 200, "body": str(self.upstream_requests).encode()} | (answer or {})
        status, body = response["status"], response["body"]
        res = testing.response(status, headers=response["headers"], body=body, request=upstream)
        changes = await policy.on_response(res, self._params)
        if changes is not None and changes.body is not None:
            return ImmediateResponse(changes.status_code, dict(changes.set_headers), changes.body)
        return ImmediateResponse(status, dict(changes.append_headers) if changes is not None else {}, body)


def run(test: Callable[[Exchanges], Awaitable[None]], **params: Any) -> None:
    async def running() -> None:
        prepared_params = testing.params(DEFAULTS | params)
        async with testing.prepared(policy, prepared_params) as prepared:
            await test(Exchanges(prepared, prepared_params))

    asyncio.run(running())


def is_kept(answer: dict[str, Any], params: dict[str, Any] | None = None, **request: Any) -> bool:
    """Whether upstream gets only the first of two equal requests."""
    requests = 0

    async def twice(exchanges: Exchanges) -> None:
        nonlocal requests
        for _ in range(2):
            await exchanges.get(answer=answer, **request)
        requests = exchanges.upstream_requests

    run(twice, **(params or {}))
    return requests == 1


def test_a_fresh_response_is_served_until_it_is_stale(time: MovedClock) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        headers = {"cache-control": "max-age=60", "content-type": "text/plain", "etag": '"1"', "connection": "x-own",
                   "x-own": "1", "age": "20", "set-cookie2": "a", "content-length": "1", "x-2": ["a", "b"]}  # fmt: skip
        first = await exchanges.get(answer={"headers": headers})
        assert first.headers == {"cache-status": "gatewright; fwd=uri-miss; stored"}
        time.advance(39)
        second = await exchanges.get()
        assert (second.status_code, second.body) == (200, b"1")
        assert second.headers == {
            "cache-control": ["max-age=60"], "content-type": ["text/plain"], "etag": ['"1"'], "set-cookie2": ["a"],
            "x-2": ["a", "b"], "age": "59", "cache-status": "gatewright; hit; ttl=1",
        }  # fmt: skip
        time.advance(1)
        assert (await exchanges.get()).body == b"2"
        assert exchanges.upstream_requests == 2

    run(scenario)


@pytest.mark.parametrize("headers", [
    {"cache-control": "max-age=60"}, {"cache-control": "s-maxage=60, max-age=0"}, {"cache-control": 'max-age="60"'},
    {"cache-control": "Max-Age=60 ,, public"}, {"cache-control": "max-age=60", "vary": "Accept"},
    {"cache-control": ["public", "max-age=60"]}, {"cache-control": "max-age=60, max-age=60"},
    {"cache-control": 'max-age=60, extension="a, no-store"'}, {"cache-control": "max-age=99999999999"},
    {"cache-control": "max-age=60", "content-encoding": "gzip", "vary": "Accept-Encoding"},
    {"cache-control": "max-age=60", "age": "59"}, {"cache-control": "max-age=60", "surrogate-control": "no-store"},
    {"cache-control": "max-age=60", "cdn-cache-control": "no-store"},
])  # fmt: skip
def test_responses_that_upstream_allows_are_cached(headers: dict[str, Any]) -> None:
    assert is_kept({"headers": headers})


@pytest.mark.parametrize("headers", [
    {}, {"cache-control": ""}, {"cache-control": "public"}, {"cache-control": "max-age=0"},
    {"cache-control": "max-age"}, {"cache-control": "max-age=-1"}, {"cache-control": "max-age=1e9"},
    {"cache-control": "max-age=٣"},
    {"cache-control": "no-store, max-age=60"}, {"cache-control": "private, max-age=60"},
    {"cache-control": "NO-CACHE, max-age=60"}, {"cache-control": 'private="x-a", max-age=60'},
    {"cache-control": ["max-age=60", "no-store"]}, {"cache-control": "max-age=60, max-age=61"},
    {"cache-control": "s-maxage=0, max-age=60"}, {"cache-control": "max-age=60; no-store"},
    {"cache-control": 'max-age=60, "no-store'}, {"cache-control": "max-age=60", "set-cookie": "a=1"},
    {"cache-control": "max-age=60", "vary": "*"}, {"cache-control": "max-age=60", "vary": "Cookie"},
    {"cache-control": "max-age=60", "vary": "Accept, X-Tenant"}, {"cache-control": "max-age=60", "age": "60"},
    {"cache-control": "max-age=60", "age": "many"}, {"cache-control": "max-age=60", "age": ["1", "1"]},
    {"cache-control": "max-age=60", "content-encoding": "gzip"}, {"cache-control": "max-age=60", "content-range": "x"},
    {"surrogate-control": "max-age=60"}, {"cdn-cache-control": "max-age=60"},
    {"cache-control": "no-store", "surrogate-control": "max-age=60", "cdn-cache-control": "max-age=60"},
    {"expires": "0"}, {"expires": "Thu, 01 Dec 1994 16:00:00 GMT"}, {"expires": "Thu, 18 Aug 2050 02:01:18 AEST"},
    {"expires": "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT"}, {"pragma": "no-cache"},
    {"cache-control": "max-age=60", "date": "Thu, 01 Dec 1994 16:00:00 GMT"},
])  # fmt: skip
def test_other_responses_are_not_cached(headers: dict[str, Any]) -> None:
    assert not is_kept({"headers": headers})


@pytest.mark.parametrize("status", [206, 302, 304, 400, 401, 403, 500, 503])
def test_other_statuses_are_not_cached(status: int) -> None:
    assert not is_kept({"headers": FRESH, "status": status})


@pytest.mark.parametrize(("why", "answer", "request_headers"), [
    ("no-store", {"headers": {"cache-control": "max-age=60, no-store"}}, {}),
    ("no-cache", {"headers": {"cache-control": "no-cache"}}, {}),
    ("private", {"headers": {"cache-control": "private, max-age=60"}}, {}),
    ("contradiction", {"headers": {"cache-control": "max-age=60, max-age=61"}}, {}),
    ("set-cookie", {"headers": FRESH | {"set-cookie": "a=1"}}, {}),
    ("content-range", {"headers": FRESH | {"content-range": "x"}}, {}),
    ("status", {"headers": FRESH, "status": 500}, {}),
    ("vary", {"headers": FRESH | {"vary": "x-tenant"}}, {}),
    ("vary", {"headers": FRESH | {"content-encoding": "gzip"}}, {}),
    ("lifetime", {"headers": {}}, {"authorization": "Bearer a"}),
    ("lifetime", {"headers": {"cache-control": "max-age=0"}}, {}),
    ("known-client", {"headers": FRESH}, {"authorization": "Bearer a"}),
    ("known-client", {"headers": FRESH}, {"cookie": "a=1"}),
    ("age", {"headers": FRESH | {"age": "99"}}, {}),
    ("age", {"headers": FRESH | {"age": "many"}}, {}),
    ("too-large", {"headers": FRESH, "body": bytes(MAX_VALUE)}, {}),
])  # fmt: skip
def test_reasons_why_a_response_is_not_cached(
    why: str, answer: dict[str, Any], request_headers: dict[str, Any]
) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        response = await exchanges.get(answer=answer, headers=request_headers)
        assert response.headers["cache-status"] == f"gatewright; fwd=uri-miss; detail={why}"

    run(scenario)


def test_errors_are_cached_by_lifetimes() -> None:
    rule = {"lifetimes": {"404": 5}}
    assert is_kept({"headers": {}, "status": 404}, rule)
    assert is_kept({"headers": FRESH, "status": 404})
    assert not is_kept({"headers": {}, "status": 404})
    assert not is_kept({"headers": {}, "status": 200}, rule)
    assert not is_kept({"headers": {"cache-control": "no-store"}, "status": 404}, rule)
    assert not is_kept({"headers": {"set-cookie": "a=1"}, "status": 404}, rule)


def test_expires_counts_from_the_date_of_the_answer() -> None:
    now = policy.clock.now()
    soon, date = formatdate(now + 60, usegmt=True), formatdate(now, usegmt=True)
    assert is_kept({"headers": {"expires": soon}})
    assert is_kept({"headers": {"expires": soon, "date": date}})
    assert not is_kept({"headers": {"expires": soon, "date": formatdate(now + 90, usegmt=True)}})
    assert not is_kept({"headers": {"expires": soon, "cache-control": "max-age=0"}})
    assert not is_kept({"headers": {"expires": [soon, soon]}})


def test_lifetimes_are_limited_by_the_publisher(time: MovedClock) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get(answer={"headers": {"cache-control": "max-age=9999999999"}})
        time.advance(10)
        await exchanges.get()
        assert exchanges.upstream_requests == 2

    run(scenario, maxLifetimeSeconds=10)


KNOWN: list[dict[str, Any]] = [
    {"headers": {"authorization": "Bearer x"}}, {"headers": {"cookie": "session=1"}},
    {"identity": Identity("alice", method="api-key")}, {"peer": Peer("CN=alice")},
]  # fmt: skip


@pytest.mark.parametrize("who", KNOWN, ids=str)
def test_responses_to_authenticated_clients_need_permission_of_upstream(who: dict[str, Any]) -> None:
    assert not is_kept({"headers": FRESH}, **who)
    for cache_control in ("public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"):
        assert is_kept({"headers": {"cache-control": cache_control}}, **who)

    async def mixed(exchanges: Exchanges) -> None:
        await exchanges.get(answer={"headers": FRESH})  # of an unknown client
        assert (await exchanges.get(**who)).body == b"2"  # a known client does not get it
        assert (await exchanges.get()).body == b"1"
        await exchanges.get("/all", answer={"headers": FOR_ALL})
        assert (await exchanges.get("/all", **who)).body == b"3"

    run(mixed)


def test_an_identity_set_by_a_later_policy_counts_too() -> None:
    def found(ctx: RequestContext) -> RequestContext:
        ctx.identity = Identity("alice")
        return ctx

    assert not is_kept({"headers": FRESH}, behind=found)
    assert is_kept({"headers": FOR_ALL}, behind=found)


@pytest.mark.parametrize("other", [
    {"path": "/y"}, {"query": "a=1"}, {"authority": "other.example"}, {"scheme": "https"}, {"upstream": "canary"},
    {"path": "/X"}, {"path": "/x/"}, {"query": "b=1&a=1"}, {"method": "HEAD"}, {"method": "OPTIONS"},
])  # fmt: skip
def test_other_requests_have_other_keys(other: dict[str, Any]) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get()
        assert (await exchanges.get(**other)).body == b"2"
        assert (await exchanges.get()).body == b"1"

    run(scenario)


def test_responses_vary_by_the_headers_in_vary() -> None:
    async def scenario(exchanges: Exchanges) -> None:
        vary = {"headers": {**FRESH, "vary": "Accept-Language, ACCEPT"}}
        ways = [{"accept-language": "de"}, {"accept-language": "en"}, {"accept-language": "de", "accept": "a/b"}, {}]
        for _ in range(2):
            bodies = [(await exchanges.get(headers=way, answer=vary)).body for way in ways]
            assert bodies == [b"1", b"2", b"3", b"4"]
        assert (await exchanges.get(headers={"accept-language": "de", "accept-encoding": "br"})).body == b"1"
        two = [("accept-language", "de"), ("accept-language", "en")]
        assert (await exchanges.get(headers=two, answer=vary)).body == b"5"

    run(scenario)


@in_process
def test_variants_of_a_request_are_limited() -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get("/other")
        for number in range(MAX_VARIANTS * 3):
            await exchanges.get(headers={"accept": f"a/{number}"}, answer={"headers": {**FRESH, "vary": "accept"}})
        before = exchanges.upstream_requests
        await exchanges.get("/other")
        assert exchanges.upstream_requests == before
        assert exchanges._prepared.bytes <= (MAX_VARIANTS + 1) * 2 * OVERHEAD

    run(scenario)


@pytest.mark.parametrize("name", [
    *sorted(policy.OVERRIDES), "X_Forwarded_Host", "x-http_method-override", "x-forwarded-protocol", "x-forwarded-path",
    "x-forwarded-uri", "x-original-uri", "x-scheme", "x-script-name", "x-url-scheme",
])  # fmt: skip
def test_a_header_outside_the_key_poisons_nothing(name: str) -> None:
    """Upstream's answer may depend on the header: the next client must not get that answer."""

    async def attacked(exchanges: Exchanges) -> None:
        await exchanges.get(headers={name: "evil.example"}, answer={"headers": FOR_ALL, "body": b"evil"})
        assert (await exchanges.get()).body != b"evil"
        assert (await exchanges.get(headers={name: "evil.example"}, answer={"body": b"evil"})).body == b"evil"
        assert (await exchanges.get()).body != b"evil"

    run(attacked)


HEADERS_THAT_BYPASS: list[dict[str, str]] = [
    {"content-length": "5"}, {"transfer-encoding": "chunked"}, {"content-type": "text/plain"}, {"range": "bytes=0-1"},
    {"if-range": '"1"'}, {"if-match": '"1"'}, {"if-modified-since": "Thu, 01 Dec 1994 16:00:00 GMT"},
]  # fmt: skip
BODY_OF_HTTP_2 = {"has_body": True}  # HTTP/2 needs no header for a body


@pytest.mark.parametrize(
    "request_", [*({"headers": headers} for headers in HEADERS_THAT_BYPASS), BODY_OF_HTTP_2], ids=str
)
def test_a_body_a_range_or_a_condition_poisons_nothing(request_: dict[str, Any]) -> None:
    async def attacked(exchanges: Exchanges) -> None:
        answer = await exchanges.get(**request_, answer={"headers": FOR_ALL, "body": b"part"})
        assert answer.headers == {"cache-status": "gatewright; fwd=bypass"}
        assert (await exchanges.get()).body == b"2"

    run(attacked)


@pytest.mark.parametrize("changed", [
    {"path": "/evil"}, {"query": "evil"}, {"authority": "evil"}, {"upstream": "canary"}, {"method": "HEAD"},
    {"headers": {"accept": "evil"}},
])  # fmt: skip
def test_responses_to_requests_that_later_policies_changed_are_not_cached(changed: dict[str, Any]) -> None:
    """Such a response belongs to the changed request, and the key is that of the original one."""

    def elsewhere(ctx: RequestContext) -> RequestContext:
        as_it_went = {"path": "/x", "prepared": ctx.prepared, "metadata": ctx.metadata.to_dict()} | changed
        return testing.request(**as_it_went)

    assert not is_kept({"headers": {**FRESH, "vary": "accept"}}, behind=elsewhere)

    async def scenario(exchanges: Exchanges) -> None:
        response = await exchanges.get(answer={"headers": {**FRESH, "vary": "accept"}}, behind=elsewhere)
        assert response.headers["cache-status"] == "gatewright; fwd=uri-miss; detail=request-changed"

    run(scenario)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "X-OWN"])
@pytest.mark.parametrize("status", [200, 204, 303, 404, 500])
def test_an_unsafe_method_removes_responses(method: str, status: int) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        for path in ("/x", "/x/7", "/y"):
            await exchanges.get(path)
        elsewhere = ["http://other.example/y", "http://[", "/x/7"]
        await exchanges.get(method=method, answer={"status": status, "headers": {"location": elsewhere}})
        bodies = [(await exchanges.get(path)).body for path in ("/x", "/x/7", "/y")]
        assert bodies == ([b"5", b"6", b"3"] if status < 400 else [b"1", b"2", b"3"])

    run(scenario)


@pytest.mark.parametrize(("directives", "body"), [
    ("no-cache", b"2"), ("max-age=0", b"2"), ("max-age=9", b"2"), ("max-age=10", b"1"), ("min-fresh=51", b"2"),
    ("min-fresh=50", b"1"), ("no-store", b"1"), ("max-stale=99", b"1"), ("max-age=x", b"2"), ("max-age", b"2"),
    ("only-if-cached", b"1"), ("max-age=10, max-age=0", b"2"), ("x" * 65536 + '"', b"2"), ("public", b"1"),
])  # fmt: skip
def test_a_client_may_request_a_fresher_response(time: MovedClock, directives: str, body: bytes) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get()
        time.advance(10)
        assert (await exchanges.get(headers={"cache-control": directives})).body == body

    run(scenario)

    async def ignored(exchanges: Exchanges) -> None:
        await exchanges.get()
        time.advance(10)
        assert (await exchanges.get(headers={"cache-control": directives})).body == b"1"

    run(ignored, clientDirectives="ignore")


def test_no_store_of_a_client_prevents_caching() -> None:
    assert not is_kept({"headers": FRESH}, headers={"cache-control": "no-store"})

    async def scenario(exchanges: Exchanges) -> None:
        answer = await exchanges.get(headers={"cache-control": "only-if-cached"})
        assert answer.status_code == 504
        assert exchanges.upstream_requests == 0
        await exchanges.get(headers={"cache-control": "no-cache"})
        assert (await exchanges.get()).body == b"1"  # it has refreshed what others get

    run(scenario)


@pytest.mark.parametrize(("asked_for", "status"), [
    ('"1"', 304), ('W/"1"', 304), ('"0", W/"1"', 304), ("*", 304), ('"2"', 200), ("1", 200), ("", 200),
])  # fmt: skip
def test_a_304_for_a_client_that_has_the_response(asked_for: str, status: int) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get(answer={"headers": {**FRESH, "etag": 'W/"1"', "content-type": "text/plain"}})
        answer = await exchanges.get(headers={"if-none-match": asked_for})
        assert answer.status_code == status
        assert (answer.body == b"") == (status == 304)
        assert ("content-type" in answer.headers) == (status == 200)
        assert answer.headers["etag"] == ['W/"1"']
        assert exchanges.upstream_requests == 1

    run(scenario)


def test_a_304_of_upstream_is_not_cached() -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get(headers={"if-none-match": '"1"'}, answer={"status": 304, "body": b""})
        assert (await exchanges.get()).body == b"2"

    run(scenario)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE"])
def test_other_safe_methods_pass(method: str) -> None:
    assert not is_kept({"headers": FOR_ALL}, method=method)


@in_process
def test_the_memory_is_bounded() -> None:
    async def scenario(exchanges: Exchanges) -> None:
        for number in range(100):
            await exchanges.get(f"/{number}", answer={"body": b"x" * 4096})
            assert exchanges._prepared.bytes <= 65536
        await exchanges.get("/99")
        assert exchanges.upstream_requests == 100
        await exchanges.get("/0")
        assert exchanges.upstream_requests == 101
        await exchanges.get("/large", answer={"body": b"x" * 20_000})  # larger than the limit of one response
        await exchanges.get("/large")
        assert exchanges.upstream_requests == 103

    run(scenario, maxBytes=65536)


@in_process
def test_the_least_recently_used_response_is_removed_first() -> None:
    async def scenario(exchanges: Exchanges) -> None:
        for path in ("/a", "/b", "/c"):
            await exchanges.get(path, answer={"body": b"x" * 15_000})
        await exchanges.get("/a")
        for path in ("/d", "/e"):
            await exchanges.get(path, answer={"body": b"x" * 15_000})
        before = exchanges.upstream_requests
        await exchanges.get("/a")
        assert exchanges.upstream_requests == before
        await exchanges.get("/b")
        assert exchanges.upstream_requests == before + 1

    run(scenario, maxBytes=65536)


def test_without_cache_status_there_is_no_header() -> None:
    async def scenario(exchanges: Exchanges) -> None:
        assert (await exchanges.get()).headers == {}
        assert "cache-status" not in (await exchanges.get()).headers

    run(scenario, cacheStatus=False)


STALE: dict[str, Any] = {"staleWhileRevalidateSeconds": 60, "staleIfErrorSeconds": 60}


def test_one_client_waits_for_revalidation_while_others_get_the_stale_response(time: MovedClock) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get()
        time.advance(70)
        first = await exchanges.get(answer={"status": 503, "headers": {}})  # its revalidation fails
        assert first.headers["cache-status"] == "gatewright; fwd=stale; fwd-status=503; detail=stale-if-error"
        stale = await exchanges.get()
        assert (stale.body, stale.headers["age"]) == (b"1", "70")
        assert stale.headers["cache-status"] == "gatewright; hit; ttl=-10"
        time.advance(30)  # then the next request revalidates again
        assert (await exchanges.get()).headers == {"cache-status": "gatewright; fwd=stale; stored"}
        assert (await exchanges.get()).body == b"3"
        time.advance(60)  # now the new answer is stale
        assert (await exchanges.get()).body == b"4"
        time.advance(120)
        assert (await exchanges.get()).headers == {"cache-status": "gatewright; fwd=uri-miss; stored"}

    run(scenario, **STALE)


@pytest.mark.parametrize("directives", [
    "max-age=60, must-revalidate", "max-age=60, proxy-revalidate", "s-maxage=60", "max-age=60, stale-if-error=0, stale-"
    "while-revalidate=0", "max-age=60, stale-while-revalidate=x, stale-if-error=-1",
])  # fmt: skip
def test_upstream_may_forbid_stale_responses(time: MovedClock, directives: str) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get(answer={"headers": {"cache-control": directives}})
        time.advance(60)
        failed = [await exchanges.get(answer={"status": 500, "headers": {}, "body": b"no"}) for _ in range(2)]
        assert [(response.status_code, response.body) for response in failed] == [(500, b"no")] * 2

    run(scenario, **STALE)


def test_upstream_may_shorten_but_not_extend_stale_windows(time: MovedClock) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        for path, seconds in (("/less", 5), ("/more", 999)):
            directives = f"max-age=60, stale-while-revalidate={seconds}"
            await exchanges.get(path, answer={"headers": {"cache-control": directives}})
        for after, statuses in ((64, [200, 200]), (1, [504, 200]), (54, [504, 200]), (1, [504, 504])):
            time.advance(after)
            kept = [
                await exchanges.get(path, headers={"cache-control": "only-if-cached"}) for path in ("/less", "/more")
            ]
            assert [response.status_code for response in kept] == statuses

    run(scenario, staleWhileRevalidateSeconds=60)


@pytest.mark.parametrize("wish", ["no-cache", "max-age=99", "min-fresh=1", "no-store", "max-age=1, max-age=2"])
def test_a_client_that_limits_the_age_gets_no_stale_response(time: MovedClock, wish: str) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get()
        time.advance(70)
        failed = await exchanges.get(headers={"cache-control": wish}, answer={"status": 503, "headers": {}})
        assert failed.status_code == 503
        assert (await exchanges.get(headers={"cache-control": "only-if-cached"})).body == b"1"  # does not wait
        assert (await exchanges.get()).body == b"3"

    run(scenario, **STALE)


def test_a_stale_response_is_only_for_clients_that_could_get_it_fresh(time: MovedClock) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get()
        time.advance(70)
        for who in KNOWN:
            assert (await exchanges.get(**who, answer={"status": 503, "headers": {}})).status_code == 503
        for failing in (500, 502, 503, 504):
            answer = await exchanges.get(answer={"status": failing, "headers": {"x-failed": "1"}})
            assert (answer.status_code, answer.body) == (200, b"1")

    run(scenario, **STALE)


def test_a_response_that_is_not_cacheable_removes_the_stale_one(time: MovedClock) -> None:
    async def scenario(exchanges: Exchanges) -> None:
        await exchanges.get()
        time.advance(70)
        await exchanges.get(answer={"status": 404, "headers": {}})
        assert (await exchanges.get()).body == b"3"
        time.advance(70)
        await exchanges.get(headers={"if-none-match": '"1"'}, answer={"status": 304, "headers": {}})  # of its own copy
        assert (await exchanges.get()).body == b"3"

    run(scenario, **STALE)


REQUESTS = st.fixed_dictionaries({
    "authority": st.sampled_from(["a.example", "b.example"]), "path": st.sampled_from(["/x", "/y"]),
    "accept": st.sampled_from(["", "a", "b"]), "language": st.sampled_from(["", "a", "b"]),
    "who": st.sampled_from(["", "alice", "bob"]), "public": st.booleans(),
    "method": st.sampled_from(["GET"] * 5 + ["PUT"]),
    "vary": st.sampled_from([("accept",), ("accept-language",), ("accept", "accept-language"), ()]),
    "after": st.sampled_from([0, 0, 20, 70]), "status": st.sampled_from([200, 200, 200, 503, 404]),
})  # fmt: skip


@given(st.lists(REQUESTS, max_size=30))
def test_no_client_gets_a_response_made_for_another(requests: list[dict[str, Any]]) -> None:
    """Requests come in any order, with any Vary of upstream. Each body names the request that it was made for."""

    async def scenario(exchanges: Exchanges) -> None:
        for request in requests:
            clock.advance(request["after"])
            sent = {"accept": request["accept"], "accept-language": request["language"]}
            headers = {name: value for name, value in sent.items() if value}
            headers |= {"authorization": request["who"]} if request["who"] else {}
            made_for = {name: sent[name] for name in request["vary"]} | {
                name: request[name] for name in ("authority", "path", "who", "public")
            }
            upstream_headers = {
                "cache-control": "max-age=60" + (", public" if request["public"] else ""),
                "vary": ", ".join(request["vary"]),
            }
            answer = {"headers": upstream_headers, "status": request["status"], "body": json.dumps(made_for).encode()}
            where = {"authority": request["authority"], "method": request["method"]}
            got = await exchanges.get(request["path"], headers=headers, answer=answer, **where)
            served = json.loads(got.body)
            assert (served["authority"], served["path"]) == (request["authority"], request["path"])
            assert served["public"] or served["who"] == request["who"]
            assert all(served.get(name, value) == value for name, value in sent.items())

    with testing.clock() as clock:
        run(scenario, **STALE)


@given(st.lists(st.text(max_size=60), max_size=3), st.text(max_size=60), st.text(max_size=60))
def test_headers_of_any_characters_cause_no_error(control: list[str], age: str, date: str) -> None:
    for headers in ({"cache-control": control, "age": age, "date": date}, {"expires": date, "vary": age}):
        is_kept({"headers": headers}, headers={"cache-control": control, "if-none-match": age})
