"""The input for OPA, the effect of its decisions, and an OPA that is away, slow or invalid. e2e runs a real one."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sdk import testing
from sdk.action import ActionError
from sdk.policy import ImmediateResponse, Peer, RequestContext, UpstreamRequestModifications

policy = testing.load_policy(__file__)
DEFAULTS: dict[str, Any] = {
    "path": "orders/allow", "headers": [], "metadata": [], "upstreamHeaders": [], "timeoutMilliseconds": 10_000,
    "cacheSeconds": 0, "statusCode": 403,
}  # fmt: skip
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Opa:
    """A server that answers each query by `answer`, and keeps the inputs and headers of the queries."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Any] = []
        self.headers: list[Any] = []

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((await request.json())["input"])
        self.headers.append(request.headers)
        return await self.answer(request)

    @asynccontextmanager
    async def prepared(self, **more: Any) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
        application = web.Application()
        application.router.add_post("/opa/v1/data/orders/allow", self._serve)
        async with TestServer(application) as server:
            params = testing.params(DEFAULTS | {"url": str(server.make_url("/opa/"))} | more)
            async with testing.prepared(policy, params) as prepared:
                yield prepared, params


def says(document: Any, **more: Any) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(document, **more)

    return answer


async def ask(
    attachment: tuple[Any, dict[str, Any]], timeout: float = 30.0, **request: Any
) -> tuple[Any, RequestContext]:
    ctx = testing.request(prepared=attachment[0], timeout=timeout, **request)
    return await policy.on_request(ctx, attachment[1]), ctx


def ask_once(answer: Answer, more: dict[str, Any] | None = None, **request: Any) -> tuple[Any, RequestContext]:
    async def run() -> tuple[Any, RequestContext]:
        async with Opa(answer).prepared(**(more or {})) as attachment:
            return await ask(attachment, **request)

    return asyncio.run(run())


def status(action: Any) -> int:
    """Returns the status of the client's answer; 0 if the request passes."""
    return action.status_code if isinstance(action, ImmediateResponse) else 0


@pytest.mark.parametrize(("document", "expected"), [
    ({"result": True}, 0), ({"result": False}, 403), ({}, 403), ({"decision_id": "x"}, 403),
    ({"result": {"allow": True}}, 0), ({"result": {"allow": False}}, 403),
    ({"result": {"allow": False, "status": 429}}, 429), ({"result": {"allow": True, "status": 429}}, 0),
])  # fmt: skip
def test_decisions(document: Any, expected: int) -> None:
    action, ctx = ask_once(says(document))
    assert status(action) == expected
    assert ctx.identity is None
    if expected == 403:
        assert action.headers["content-type"] == "application/problem+json"


USELESS: list[Any] = [
    [], "true", None, 1, {"result": "true"}, {"result": 1}, {"result": None}, {"result": []}, {"result": {}},
    {"result": {"allow": "true"}}, {"result": {"allow": 1}}, {"result": {"allow": None}},
    {"result": {"allow": False, "status": 200}}, {"result": {"allow": False, "status": "403"}},
    {"result": {"allow": False, "status": True}}, {"result": {"allow": False, "status": 600}},
    {"result": {"allow": False, "headers": ["x"]}}, {"result": {"allow": False, "headers": {"x": 1}}},
    {"result": {"allow": True, "headers": {"x-other": "1"}}}, {"result": {"allow": True, "identity": "alice"}},
    {"result": {"allow": True, "identity": {"subject": ""}}}, {"result": {"allow": True, "identity": {"subject": 7}}},
    {"result": {"allow": True, "identity": {"subject": "a", "scopes": "read"}}},
    {"result": {"allow": True, "identity": {"subject": "a", "admin": True}}},
]  # fmt: skip


@pytest.mark.parametrize("document", USELESS, ids=json.dumps)
def test_an_invalid_decision_is_answered_503(document: Any) -> None:
    action, ctx = ask_once(says(document), {"upstreamHeaders": ["X-Role"]})
    assert status(action) == 503
    assert action.headers["retry-after"] == "1"
    assert ctx.identity is None


async def _html(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>sign in</html>", content_type="text/html")


async def _deep(_: web.Request) -> web.StreamResponse:
    return web.Response(text='{"result":' + "[" * 60_000, content_type="application/json")


async def _compressed(_: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(b'{"result":true}'), headers={"content-encoding": "gzip"})


async def _other_bytes(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"result":true,"x":"\xff"}', content_type="application/json")


async def _nothing(_: web.Request) -> web.StreamResponse:
    return web.Response()


@pytest.mark.parametrize(
    "answer",
    [
        _html,
        _deep,
        _compressed,
        _other_bytes,
        _nothing,
        *(says({"result": True}, status=code) for code in (201, 400, 404, 500)),
    ],
)
def test_an_invalid_response_is_answered_503(answer: Answer) -> None:
    assert status(ask_once(answer)[0]) == 503


def test_a_redirect_is_not_followed() -> None:
    followed: list[str] = []

    async def other(request: web.Request) -> web.StreamResponse:
        followed.append(request.path)
        return web.json_response({"result": True})

    async def run() -> Any:
        application = web.Application()
        application.router.add_route("*", "/v1/data/orders/allow", other)
        async with TestServer(application) as target:

            async def away(_: web.Request) -> web.StreamResponse:
                return web.Response(status=307, headers={"location": str(target.make_url("/v1/data/orders/allow"))})

            async with Opa(away).prepared() as attachment:
                return (await ask(attachment))[0]

    assert status(asyncio.run(run())) == 503
    assert followed == []


def test_a_large_response_is_not_read_to_its_end() -> None:
    """OPA sends 10 MiB, and goes on until the connection is closed."""
    written = 0

    async def large(request: web.Request) -> web.StreamResponse:
        nonlocal written
        answer = web.StreamResponse()
        await answer.prepare(request)
        while written < 100 << 20:
            await answer.write(b" " * (1 << 20))
            written += 1 << 20
        return answer

    assert status(ask_once(large)[0]) == 503
    assert written < 100 << 20


def test_a_slow_response_is_answered_503_at_its_timeout() -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b" ")
            await asyncio.sleep(0.01)

    for answer in (never, trickle):
        assert status(ask_once(answer, {"timeoutMilliseconds": 100})[0]) == 503
        assert status(ask_once(answer, timeout=0.1)[0]) == 503
        assert status(ask_once(answer, timeout=0.0)[0]) == 503


def test_without_opa_requests_are_answered_503() -> None:
    with socket.socket() as held:  # bound and not listening: no other process takes the port
        held.bind(("127.0.0.1", 0))
        params = testing.params(DEFAULTS | {"url": f"http://127.0.0.1:{held.getsockname()[1]}"})

        async def run() -> Any:
            async with testing.prepared(policy, params) as prepared:
                return (await ask((prepared, params)))[0]

        assert status(asyncio.run(run())) == 503


def test_a_closed_idle_connection_fails_no_request() -> None:
    async def run() -> tuple[list[int], int]:
        async def closing(request: web.Request) -> web.StreamResponse:
            if len(opa.asked) == 2:
                assert request.transport is not None
                request.transport.abort()
            return web.json_response({"result": True})

        opa = Opa(closing)
        async with opa.prepared() as attachment:
            return [status((await ask(attachment))[0]) for _ in range(3)], len(opa.asked)

    assert asyncio.run(run()) == ([0, 0, 0], 4)


def test_a_refusal_has_the_answer_of_the_decision() -> None:
    result: dict[str, Any] = {"allow": False, "status": 302, "headers": {"location": "/login"}, "body": "Sign in."}
    action, _ = ask_once(says({"result": result}))
    headers = {"location": "/login", "content-type": "text/plain; charset=utf-8"}
    assert action == ImmediateResponse(302, headers, "Sign in.")
    result = {"allow": False, "body": {"error": "no"}, "headers": {"x-a": "1"}}
    action, _ = ask_once(says({"result": result}), {"statusCode": 404})
    assert action == ImmediateResponse(404, {"x-a": "1", "content-type": "application/json"}, '{"error": "no"}')
    action, _ = ask_once(says({"result": {"allow": False, "status": 401}}))
    assert action.headers["www-authenticate"] == "Bearer"
    assert json.loads(action.body) == {"type": "about:blank", "title": "Unauthorized", "status": 401}


def test_a_decision_cannot_inject_a_header() -> None:
    result = {"allow": False, "headers": {"x-a": "1\r\nset-cookie: admin=1"}}
    with pytest.raises(ActionError, match="control character"):
        ask_once(says({"result": result}))
    with pytest.raises(ActionError, match="control character"):
        ask_once(says({"result": {"allow": True, "headers": {"x-role": "a\nb"}}}), {"upstreamHeaders": ["x-role"]})


def test_upstream_gets_opas_headers_and_never_the_clients() -> None:
    params = {"upstreamHeaders": ["X-Role", "x-tenant"]}
    forged = {"x-role": "admin", "x-tenant": "blue"}
    action, _ = ask_once(says({"result": {"allow": True, "headers": {"X-ROLE": "reader"}}}), params, headers=forged)
    assert action == UpstreamRequestModifications(
        remove_headers=["X-Role", "x-tenant"], set_headers={"X-ROLE": "reader"}
    )
    action, _ = ask_once(says({"result": True}), params, headers=forged)
    assert action == UpstreamRequestModifications(remove_headers=["X-Role", "x-tenant"])


def test_opa_may_set_the_identity() -> None:
    identity = {"subject": "alice", "issuer": "ldap", "scopes": ["read"], "claims": {"team": 7}}
    _, ctx = ask_once(says({"result": {"allow": True, "identity": identity}}))
    assert ctx.identity is not None
    assert (ctx.identity.subject, ctx.identity.issuer, ctx.identity.scopes) == ("alice", "ldap", ("read",))
    assert (ctx.identity.claims, ctx.identity.method) == ({"team": 7}, "opa")


@pytest.mark.parametrize("token", ["two words", "a line\nx-role: admin", "caf\u00e9"])
def test_a_named_token_must_be_valid_in_a_header(token: str) -> None:
    with pytest.raises(ValueError, match="token: expected printable ASCII") as refusal:
        ask_once(says({"result": True}), {"token": testing.secret(token, name="opa")})
    assert token not in str(refusal.value)


def test_the_input_document() -> None:
    async def run() -> Opa:
        opa = Opa(says({"result": True}))
        named = {
            "headers": ["X-Team", "x-none"],
            "metadata": ["tier", "none"],
            "token": testing.secret("of-the-gateway"),
        }
        async with opa.prepared(**named) as attachment:
            await ask(
                attachment, method="POST", path="/orders/v1/a%2Fb%20c", query="x=1&x=2&y",
                authority="Shop.Example:8443", client_address="[::1]:443",
                headers=[("x-team", "a"), ("X-Team", "b"), ("authorization", "secret")],
                peer=Peer("CN=a", "CN=ca", ("a.example",)), scheme="https", operation="POST /{id}",
                metadata={"tier": "gold", "secret": 1, "identity": {"subject": "alice"}}, traceparent="00-1-2-01",
            )  # fmt: skip
        return opa

    opa = asyncio.run(run())
    peer = {
        "subject": "CN=a", "issuer": "CN=ca", "fingerprint": "", "dns_names": ["a.example"], "uris": [],
        "email_addresses": [], "ip_addresses": [],
    }  # fmt: skip
    assert opa.asked == [
        {
            "method": "POST", "path": "/orders/v1/a%2Fb%20c", "path_segments": ["orders", "v1", "a/b c"],
            "query": {"x": ["1", "2"], "y": [""]}, "headers": {"x-team": "a,b"}, "host": "shop.example",
            "scheme": "https", "client_ip": "::1", "peer": peer, "identity": {"subject": "alice"},
            "api": {"name": "", "version": "", "operation": "POST /{id}"}, "metadata": {"tier": "gold"},
        }
    ]  # fmt: skip
    (headers,) = opa.headers
    assert headers["authorization"] == "Bearer of-the-gateway"
    assert headers["traceparent"] == "00-1-2-01"


@pytest.mark.parametrize("text", ["\udcff", "a\x00b", '"\\', "\u2028", "é"])
def test_requests_with_any_bytes_have_an_input(text: str) -> None:
    """No two different requests have the same input."""

    async def run() -> Any:
        opa = Opa(says({"result": True}))
        async with opa.prepared(headers=["x-a"], metadata=["a", "b"]) as attachment:
            await ask(
                attachment, path="/x", headers={"x-a": text}, query=f"q={text}", metadata={"a": text, "b": "\ud800"}
            )
        return opa.asked[0]

    asked = asyncio.run(run())
    assert "�" in asked["metadata"]["a"] or asked["metadata"]["a"] == text


def test_a_decision_is_cached_only_for_the_same_input() -> None:
    async def run() -> list[str]:
        opa = Opa(says({"result": True}))
        async with opa.prepared(cacheSeconds=10, headers=["x-user"]) as attachment:
            with testing.clock() as clock:
                for user in ("a", "a", "b", "a"):
                    await ask(attachment, headers={"x-user": user})
                await ask(attachment, headers={"x-user": "a"}, method="POST")
                clock.advance(11)
                await ask(attachment, headers={"x-user": "a", "x-other": "1"})
        return [f"{asked['method']} {asked['headers']['x-user']}" for asked in opa.asked]

    assert asyncio.run(run()) == ["GET a", "GET b", "POST a", "GET a"]


def test_only_valid_decisions_are_cached_up_to_a_limit() -> None:
    async def run() -> tuple[list[int], list[str]]:
        opa = Opa(says({}, status=500))
        async with opa.prepared(cacheSeconds=10) as attachment:
            attachment[0].max_cached = 2
            first = status((await ask(attachment))[0])
            opa.answer = says({"result": False})
            second = status((await ask(attachment))[0])
            opa.asked.clear()
            for path in ("/a", "/b", "/c", "/c", "/a"):
                await ask(attachment, path=path)
        return [first, second], [asked["path"] for asked in opa.asked]

    assert asyncio.run(run()) == ([503, 403], ["/a", "/b", "/c", "/a"])


def test_decisions_are_counted() -> None:
    testing.reset_metrics(policy)
    for document in ({"result": True}, {}, {"result": 7}, {"result": False}):
        ask_once(says(document))
    decisions = testing.metric(policy, "opa_decisions_total")
    assert [decisions.value(decision=decision) for decision in ("allow", "deny", "none")] == [1, 2, 1]
