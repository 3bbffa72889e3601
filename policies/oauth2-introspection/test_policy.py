from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sdk import testing
from sdk.action import ActionError
from sdk.policy import Identity, ImmediateResponse

policy = testing.load_policy(__file__)
NOW = 1_767_225_600  # the time of testing.clock
GOOD = {"active": True, "scope": "read write", "sub": "ada", "aud": ["orders", "x"], "exp": NOW + 600}
DEFAULTS: dict[str, Any] = {
    "clientId": "gate:way", "clientSecret": testing.secret("p ß"), "clientAuth": "basic", "audiences": [],
    "scopes": [], "scopesMatch": "all", "cacheSeconds": 10, "inactiveCacheSeconds": 5, "timeoutMilliseconds": 30_000,
    "required": True, "maxTokenBytes": 8192, "forwardToken": True, "claimHeaders": {},
}  # fmt: skip
Ask = Callable[..., Awaitable[tuple[Any, Any]]]


class Server:
    """An introspection endpoint that knows these tokens."""

    def __init__(self, **tokens: Any) -> None:
        self.tokens = tokens
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.authorization: list[str] = []
        self.other: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        self.asked.append(form["token"])
        self.authorization.append(request.headers.get("authorization", ""))
        if self.other:
            return await self.other(request)
        return web.json_response(self.tokens.get(form["token"], {"active": False}))

    @asynccontextmanager
    async def prepared(self, **more: Any) -> AsyncIterator[Ask]:
        """Yields a function that sends a token and returns the policy's action and the identity that it sets."""
        application = web.Application()
        application.router.add_post("/introspect", self.answer)
        application.router.add_route("*", "/elsewhere", says(json.dumps(GOOD)))
        async with TestServer(application) as server:
            params = testing.params({**DEFAULTS, "url": str(server.make_url("/introspect")), **more})
            async with testing.prepared(policy, params) as prepared:

                async def ask(*lines: str, timeout: float = 60.0, headers: Any = ()) -> tuple[Any, Any]:
                    authorization = [("authorization", line) for line in lines or ("Bearer good",)]
                    ctx = testing.request(headers=[*authorization, *headers], prepared=prepared, timeout=timeout)
                    return await policy.on_request(ctx, params), ctx.identity

                yield ask


async def status(asking: Awaitable[tuple[Any, Any]]) -> int:
    """Returns the answer's status; 200 if the request passes. A request has an identity exactly if it passes."""
    action, identity = await asking
    assert isinstance(action, ImmediateResponse) is (identity is None)
    return action.status_code if isinstance(action, ImmediateResponse) else 200


def run(test: Callable[[Any], Awaitable[None]]) -> None:
    """Runs the test in an event loop, with a clock that it moves."""

    async def within() -> None:
        with testing.clock() as clock:
            await test(clock)

    asyncio.run(within())


def test_an_active_token_passes_and_becomes_the_identity() -> None:
    async def test(_: Any) -> None:
        server = Server(good=GOOD)
        async with server.prepared(scopes=["write"], audiences=["orders"]) as ask:
            for line in ("Bearer good", "bearer good", "BEARER  good "):
                action, identity = await ask(line)
                assert identity.subject == "ada"
                assert identity.issuer.endswith("/introspect")
                assert (identity.scopes, identity.method) == (("read", "write"), "introspection")
                assert identity.claims == GOOD
                assert not action.set_headers
                assert not action.remove_headers
        assert server.asked == ["good"]
        assert server.forms == [{"token": "good", "token_type_hint": "access_token"}]
        name, _, password = base64.b64decode(server.authorization[0].removeprefix("Basic ")).decode().partition(":")
        assert (name, password) == ("gate%3Away", "p+%C3%9F")

    run(test)


def test_the_client_may_authenticate_in_the_form() -> None:
    async def test(_: Any) -> None:
        server = Server(good={**GOOD, "iss": "https://id.example"})
        async with server.prepared(clientAuth="post") as ask:
            assert (await ask())[1].issuer == "https://id.example"
        assert server.authorization == [""]
        assert (server.forms[0]["client_id"], server.forms[0]["client_secret"]) == ("gate:way", "p ß")

    run(test)


MALFORMED = 'Bearer error="invalid_token", error_description="the token is not well-formed"'
SEVERAL = 'Bearer error="invalid_request", error_description="expected one token, got several"'
SCOPES = "the token lacks a required scope"


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        (["Bearer other"], 401, 'Bearer error="invalid_token", error_description="the token is not active"'),
        (["Bearer weak"], 403, f'Bearer error="insufficient_scope", error_description="{SCOPES}", scope="read write"'),
        (["Bearer alien"], 401, 'Bearer error="invalid_token", error_description="the token is for another audience"'),
        (["Basic YTpi"], 401, "Bearer"),
        ([""], 401, "Bearer"),
        (["Bearer"], 401, MALFORMED),
        (["Bearer \udcff"], 401, MALFORMED),
        (["Bearer a b"], 401, MALFORMED),
        (["Bearer good, Bearer good"], 401, MALFORMED),
        (["Bearer " + "a" * 10_000_000], 401, MALFORMED),
        (["Bearer good", "Bearer good"], 400, SEVERAL),
        (["Bearer good", "Basic YTpi"], 400, SEVERAL),
    ],
)
def test_other_tokens_are_refused(lines: list[str], code: int, says: str) -> None:
    async def test(_: Any) -> None:
        server = Server(good=GOOD, weak={**GOOD, "scope": "read"}, alien={**GOOD, "aud": "y"})
        async with server.prepared(scopes=["read", "write"], audiences=["orders"]) as ask:
            action, identity = await ask(*lines)
        assert identity is None
        assert (action.status_code, action.headers["www-authenticate"]) == (code, says)
        assert action.headers["content-type"] == "application/problem+json"
        assert json.loads(action.body)["status"] == code
        asked = [line.removeprefix("Bearer ") for line in lines if line.endswith((" other", " weak", " alien"))]
        assert server.asked == asked, "the server is not asked about what is no token"

    run(test)


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ("admin", 200), ("x read", 200), (["read"], 200), ("", 403), (None, 403), ({"read": 1}, 403), ("READ", 403),
        (1, 403), ("readadmin", 403),
    ],
)  # fmt: skip
def test_any_of_the_scopes_is_enough(scope: object, code: int) -> None:
    async def test(_: Any) -> None:
        async with Server(good={"active": True, "scope": scope}).prepared(
            scopes=["read", "admin"], scopesMatch="any"
        ) as ask:
            assert await status(ask()) == code

    run(test)


@pytest.mark.parametrize("aud", [None, "", "x", ["x"], {"orders": 1}, 1, [["orders"]]])
def test_another_audience(aud: object) -> None:
    async def test(_: Any) -> None:
        async with Server(good={"active": True, "aud": aud}).prepared(audiences=["orders"]) as ask:
            assert await status(ask()) == 401

    run(test)


def test_answers_are_cached_until_they_expire() -> None:
    async def test(clock: Any) -> None:
        server = Server(good=GOOD, short={**GOOD, "exp": NOW + 3}, over={**GOOD, "exp": NOW - 1})
        async with server.prepared() as ask:

            async def asked(token: str) -> int:
                before = len(server.asked)
                assert await status(ask(f"Bearer {token}")) == (401 if token == "bad" else 200)  # noqa: S105
                return len(server.asked) - before

            assert [await asked(token) for token in ("good", "short", "bad", "over")] == [1, 1, 1, 1]
            assert [await asked(token) for token in ("good", "short", "bad", "over")] == [0, 0, 0, 1]
            await clock.advance_async(2.9)
            assert [await asked(token) for token in ("good", "short", "bad")] == [0, 0, 0]
            await clock.advance_async(0.1)
            assert [await asked(token) for token in ("good", "short", "bad")] == [0, 1, 0]
            await clock.advance_async(2)
            assert [await asked(token) for token in ("good", "bad")] == [0, 1]
            await clock.advance_async(5)
            assert await asked("good") == 1
            server.tokens.clear()  # revoked
            await clock.advance_async(9)
            assert await status(ask()) == 200
            await clock.advance_async(1)
            assert await status(ask()) == 401

    run(test)


@pytest.mark.parametrize("more", [{"cacheSeconds": 0}, {"inactiveCacheSeconds": 0}])
def test_without_a_cache_each_request_asks_the_server(more: dict[str, int]) -> None:
    async def test(_: Any) -> None:
        server = Server(good=GOOD)
        async with server.prepared(**more) as ask:
            token = "good" if "cacheSeconds" in more else "bad"
            for _ in range(3):
                await ask(f"Bearer {token}")
        assert server.asked == [token] * 3

    run(test)


def test_the_cache_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "MAX_CACHED", 2)

    async def test(_: Any) -> None:
        server = Server()
        async with server.prepared() as ask:
            for token in ("a", "b", "c", "c", "b", "a"):
                await ask(f"Bearer {token}")
        assert server.asked == ["a", "b", "c", "a"]

    run(test)


def test_inactive_tokens_displace_no_active_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "MAX_CACHED", 2)

    async def test(_: Any) -> None:
        server = Server(good=GOOD)
        async with server.prepared() as ask:
            for token in ("good", "a", "b", "c", "good"):
                await ask(f"Bearer {token}")
        assert server.asked == ["good", "a", "b", "c"]

    run(test)


def test_concurrent_requests_with_one_token_share_a_request() -> None:
    async def test(_: Any) -> None:
        server, released = Server(good=GOOD), asyncio.Event()

        async def held(_: web.Request) -> web.StreamResponse:
            await released.wait()
            return web.json_response(GOOD)

        server.other = held
        async with server.prepared() as ask:
            waiting = [asyncio.create_task(status(ask())) for _ in range(20)]
            gone = asyncio.create_task(status(ask()))
            while not server.asked:
                await asyncio.sleep(0)
            gone.cancel()  # a client that disconnects does not affect the others
            assert await status(ask(timeout=0.0)) == 503, "it waits until its timeout"
            released.set()
            assert await asyncio.gather(*waiting) == [200] * 20
            assert server.asked == ["good"]

    run(test)


async def slow(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise AssertionError


async def flood(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(160):
        await answer.write(b" " * 65536)
    await answer.write(json.dumps(GOOD).encode())
    return answer


def says(
    text: str | bytes, code: int = 200, headers: Any = None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        body = text if isinstance(text, bytes) else text.encode()
        return web.Response(body=body, status=code, headers=headers)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        slow, flood, says("<html>"), says(""), says("[]"), says("{}"), says('{"active": "yes"}'), says('{"active": 1}'),
        says('{"active": null}'), says('{"active": false, "active": true}'), says('{"active": true, "exp": 1e400}'),
        says('{"active": true, "exp": true}'), says('{"active": true, "exp": "1"}'), says('{"active": true, "x": NaN}'),
        says('{"active": true, "sub": 1}'), says('{"active": true, "a": "\\ud800"}'), says("[" * 60_000), says(b"\xff"),
        says(json.dumps(GOOD), 500), says(json.dumps(GOOD), 401), says(json.dumps(GOOD), 201),
        says("", 302, {"location": "/elsewhere"}), says("", 307, {"location": "/elsewhere"}),
        says(b"x", 200, {"content-encoding": "gzip"}),
    ],
)  # fmt: skip
def test_invalid_responses_of_the_server_are_answered_503(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def test(_: Any) -> None:
        server = Server(good=GOOD)
        async with server.prepared(timeoutMilliseconds=100 if answer is slow else 30_000) as ask:
            server.other, before = answer, policy.ASKED.value(outcome="failed")
            for _ in range(2):
                action, identity = await ask()
                assert identity is None
                assert (action.status_code, action.headers["retry-after"]) == (503, "5")
                assert "http" not in action.body
            assert policy.ASKED.value(outcome="failed") == before + 2, "such an answer is not cached"
            server.other = None
            if answer is not slow:  # whose timeout may end before the server is reached
                assert server.asked == ["good", "good"]
                assert await status(ask("Bearer other")) == 401
                assert await status(ask()) == 200

    run(test)
    warnings = [record for record in caplog.records if "does not answer" in record.getMessage()]
    assert len(warnings) == 1, "one line for many failures"
    assert "p ß" not in caplog.text


def test_a_server_that_cannot_be_reached() -> None:
    async def test(_: Any) -> None:
        async with Server().prepared(url="http://127.0.0.1:1/introspect") as ask:
            assert await status(ask()) == 503

    run(test)


def test_cached_tokens_pass_without_the_server() -> None:
    async def test(_: Any) -> None:
        server = Server(good=GOOD)
        async with server.prepared() as ask:
            assert await status(ask()) == 200
            server.other = says("", 503)
            assert await status(ask()) == 200
            assert await status(ask("Bearer other")) == 503

    run(test)


def test_claims_as_headers_and_the_token_removed() -> None:
    async def test(_: Any) -> None:
        names = {"x-user": "sub", "x-aud": "aud", "x-name": "name"}
        server = Server(good=GOOD, evil={"active": True, "name": "a\r\nx-admin: 1"})
        async with server.prepared(claimHeaders=names, forwardToken=False) as ask:
            action, _ = await ask(headers=[(name, "root") for name in names])
            assert action.set_headers == {"x-user": "ada", "x-aud": '["orders", "x"]'}
            assert list(action.remove_headers) == [*names, "authorization"]
            assert await status(ask("Bearer evil")) == 401

    run(test)


def test_only_requests_without_a_token_pass_if_none_is_required() -> None:
    async def test(_: Any) -> None:
        async with Server(good=GOOD).prepared(required=False, claimHeaders={"x-user": "sub"}) as ask:
            action, identity = await ask("Basic YTpi", headers=[("x-user", "root")])
            assert (list(action.remove_headers), action.set_headers, identity) == (["x-user"], {}, None)
            assert await status(ask("Bearer other")) == 401
            for apart in ("\t", "\t ", ",", "="):  # some upstreams would still find the token
                assert await status(ask(f"bearer{apart}other")) == 401
            assert (await ask("BearerX other"))[1] is None, "another scheme"
            assert (await ask())[1] == Identity(
                "ada", (await ask())[1].issuer, ("read", "write"), GOOD, "introspection"
            )

    run(test)


def test_headers_that_no_policy_may_set() -> None:
    async def test(_: Any) -> None:
        async with Server().prepared(claimHeaders={"host": "sub"}):
            pass

    with pytest.raises(ActionError, match="use authority"):
        run(test)


def test_refusals_are_counted_by_reason() -> None:
    async def test(_: Any) -> None:
        reasons = ("inactive", "several", "missing")
        before = [policy.REFUSED.value(reason=reason) for reason in reasons]
        async with Server(good=GOOD).prepared() as ask:
            for lines in (["Bearer other"], ["Bearer good", "Bearer good"], ["Bearer good"]):
                await ask(*lines)
        after = [policy.REFUSED.value(reason=reason) for reason in reasons]
        assert [late - early for late, early in zip(after, before, strict=True)] == [1, 1, 0]

    run(test)
