import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sdk import testing
from sdk.policy import Identity, ImmediateResponse, Peer, RequestContext
from sdk.store import StoreUnavailableError

policy = testing.load_policy(__file__)
CHAT = "/v1/chat/completions"
ADA, BOB = Identity("ada", "issuer"), Identity("bob", "issuer")
USAGE = {"prompt_tokens": 7, "completion_tokens": 5}


def chat(**changed: Any) -> bytes:
    document = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
    return json.dumps({**document, **changed}).encode()


def whole(**changed: Any) -> bytes:
    document = {"model": "m", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": USAGE}
    return json.dumps({**document, **changed}).encode()


def events(*documents: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents) + end


DELTA = {"model": "m", "choices": [{"delta": {"content": "Hi"}}]}
STREAM = events(DELTA, {"model": "m", "choices": [], "usage": USAGE})


@dataclass
class Gateway:
    """The policy between clients and a provider, with a store in memory."""

    params: dict[str, Any]
    made: Any
    clock: testing.MovedClock
    store: testing.StoreInMemory

    def request(self, body: bytes | None = None, path: str = CHAT, identity: Any = ADA, **more: Any) -> RequestContext:
        ctx = testing.request("POST", path, body=chat() if body is None else body, prepared=self.made, **more)
        ctx.identity = identity
        return ctx

    async def ask(self, *parts: Any, **more: Any) -> Any:
        """The action of the request phase, and the context."""
        ctx = self.request(*parts, **more)
        return await policy.on_request(ctx, self.params), ctx

    async def answer(self, request: RequestContext, body: bytes, *, status: int = 200, **more: Any) -> bytes:
        kind = more.pop("kind", "text/event-stream" if body.startswith(b"data") else "application/json")
        ctx = testing.response(status, headers={"content-type": kind}, request=request)
        policy.on_response(ctx, self.params)
        chunks = testing.stream(body, sizes=more.pop("sizes", ()))
        result = await testing.collect_stream(policy.on_response_stream, chunks, ctx=ctx, params=self.params, **more)
        await asyncio.gather(*self.made.releases)
        return result.body

    async def keep(self, *parts: Any, answer: bytes | None = None, **more: Any) -> None:
        """A request that misses, and its answer."""
        action, ctx = await self.ask(*parts, **more)
        assert action is None
        expected = whole() if answer is None else answer
        assert await self.answer(ctx, expected, sizes=[3, 1, 50]) == expected

    async def hit(self, *parts: Any, **more: Any) -> bytes | None:
        """The kept answer; None if the request goes on."""
        action, _ = await self.ask(*parts, **more)
        if action is None:
            return None
        assert isinstance(action, ImmediateResponse)
        assert action.status_code == 200
        assert isinstance(action.body, bytes)
        return action.body


@contextmanager
def gateway(**params: Any) -> Iterator[Gateway]:
    values = testing.params(policy, **params)
    testing.reset_metrics(policy)
    with asyncio.Runner() as runner, testing.clock(1_796_212_800.0) as clock, testing.store() as store:
        making = testing.prepared(policy, values)
        made = runner.run(making.__aenter__())
        RUNNERS.append(runner)
        try:
            yield Gateway(values, made, clock, store)
        finally:
            RUNNERS.pop()
            runner.run(making.__aexit__(None, None, None))


RUNNERS: list[asyncio.Runner] = []
"""The loop of the gateway that is open, in which its policy was prepared."""


def run(test: Coroutine[Any, Any, None]) -> None:
    RUNNERS[-1].run(test)


# ------------------------------------------------------------------ the same request


def test_the_same_request_is_answered_from_the_store() -> None:
    async def test(g: Gateway) -> None:
        await g.keep()
        g.clock.advance(60)
        action, _ = await g.ask()
        assert isinstance(action, ImmediateResponse)
        assert (action.status_code, action.body) == (200, whole())
        assert dict(action.headers) == {
            "content-type": "application/json", "age": "60", "cache-status": "gatewright; hit; ttl=3540",
        }  # fmt: skip
        assert (policy.SAVED.value(kind="input"), policy.SAVED.value(kind="output")) == (7, 5)
        assert (policy.REQUESTS.value(result="hit"), policy.REQUESTS.value(result="miss")) == (1, 1)
        g.clock.advance(3541)
        assert await g.hit() is None

    with gateway() as g:
        run(test(g))


@pytest.mark.parametrize(
    ("path", "question", "answer"),
    [
        (CHAT, chat(), whole()),
        (CHAT, chat(stream=True), STREAM),
        ("/v1/completions", {"prompt": "a", "temperature": 0.0}, {"choices": [{"text": "b"}]}),
        ("/v1/responses", {"model": "m", "input": "a", "temperature": 0}, {"status": "completed", "output": [{}]}),
        (
            "/v1/messages",
            {"model": "m", "messages": [], "temperature": 0},
            {"content": [{"type": "text", "text": "b"}]},
        ),
        ("/v1/embeddings", {"model": "m", "input": "a"}, {"data": [{"embedding": [1]}]}),
        ("/v1/models/m:embedContent", {"content": {}}, {"embedding": {"values": [1]}}),
        (
            "/v1/models/m:generateContent",
            {"contents": [], "generationConfig": {"temperature": 0}},
            {"candidates": [{"finishReason": "STOP"}]},
        ),
        (
            "/v1/models/m:streamGenerateContent",
            {"contents": [], "generation_config": {"temperature": 0}},
            [{"candidates": [{}]}, {"candidates": [{"finishReason": "STOP"}]}],
        ),
        (
            "/v1/messages",
            {"model": "m", "messages": [], "temperature": 0, "stream": True},
            events({"type": "message_start", "message": {"model": "m"}}, {"type": "message_stop"}, end=b""),
        ),
    ],
)
def test_answers_of_each_shape_are_kept(path: str, question: Any, answer: Any) -> None:
    question, answer = (v if isinstance(v, bytes) else json.dumps(v).encode() for v in (question, answer))

    async def test(g: Gateway) -> None:
        await g.keep(question, path, answer=answer)
        assert policy.ANSWERS.value(outcome="stored") == 1
        assert await g.hit(question, path) == answer

    with gateway() as g:
        run(test(g))


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "n"},
        {"messages": [{"role": "user", "content": "hello"}]},
        {"messages": [{"role": "system", "content": "Hello"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"top_p": 0.5},
        {"seed": 1},
        {"n": 2},
        {"user": "u"},
        {"unknown": None},
        {"stream": True},
    ],
)
def test_a_request_that_differs_goes_on(changed: dict[str, Any]) -> None:
    async def test(g: Gateway) -> None:
        await g.keep()
        assert await g.hit(chat(**changed)) is None
        assert await g.hit() == whole()

    with gateway() as g:
        run(test(g))


def test_the_order_of_members_does_not_count_and_that_of_items_does() -> None:
    first = b'{"model":"m","temperature":0,"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}'
    moved = b'{"messages":[{"content":"a","role":"user"}, {"content":"b","role":"user"}],"temperature":0,"model":"m"}'
    items = b'{"model":"m","temperature":0,"messages":[{"role":"user","content":"b"},{"role":"user","content":"a"}]}'

    async def test(g: Gateway) -> None:
        await g.keep(first)
        assert await g.hit(moved) == whole()
        assert await g.hit(items) is None

    with gateway() as g:
        run(test(g))


def test_each_form_of_an_answer_has_an_entry_of_its_own() -> None:
    with_usage = chat(stream=True, stream_options={"include_usage": True, "include_obfuscation": False})
    plain = events(DELTA)

    async def test(g: Gateway) -> None:
        await g.keep()
        await g.keep(chat(stream=True), answer=plain)
        await g.keep(with_usage, answer=STREAM)
        assert await g.hit(chat(stream=False)) == whole()
        assert await g.hit(chat(stream=True, stream_options={})) == plain
        assert await g.hit(chat(stream_options={"include_usage": True}, stream=True)) == STREAM

    with gateway() as g:
        run(test(g))


def test_members_are_ignored_by_choice() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(user="ada", metadata={"a": "1"}))
        assert await g.hit(chat(user="bob")) == whole()

    with gateway(ignoredMembers=["user", "metadata"]) as g:
        run(test(g))


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/v2/chat/completions"},
        {"path": CHAT + "?api-version=2"},
        {"authority": "other.example"},
        {"upstream": "canary"},
        {"headers": {"openai-project": "p"}},
    ],
)
def test_target_and_headers_count(more: dict[str, Any]) -> None:
    async def test(g: Gateway) -> None:
        await g.keep()
        assert await g.hit(**more) is None

    with gateway() as g:
        run(test(g))


# ------------------------------------------------------------------ whose answers


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"identity": ADA}, {"identity": BOB}),
        ({"identity": ADA}, {"identity": None, "headers": {"authorization": "Bearer a"}}),
        ({"identity": Identity("ada", consumer="c")}, {"identity": Identity("ada", consumer="d")}),
        (
            {"identity": None, "headers": {"authorization": "Bearer a"}},
            {"identity": None, "headers": {"authorization": "Bearer b"}},
        ),
        ({"identity": None, "headers": {"x-api-key": "a"}}, {"identity": None, "headers": {"api-key": "a"}}),
        ({"identity": None, "peer": Peer(fingerprint="aa")}, {"identity": None, "peer": Peer(fingerprint="bb")}),
    ],
)
def test_clients_share_no_answers(first: dict[str, Any], second: dict[str, Any]) -> None:
    async def test(g: Gateway) -> None:
        await g.keep(**first)
        assert await g.hit(**second) is None
        assert await g.hit(**first) == whole()

    with gateway() as g:
        run(test(g))


def test_a_client_that_is_not_known_gets_no_kept_answer_and_leaves_none() -> None:
    async def test(g: Gateway) -> None:
        for _ in range(2):
            action, ctx = await g.ask(identity=None)
            assert action is None
            assert ctx.metadata[g.made.note] == {"forward": "bypass; detail=unknown-client"}
            await g.answer(ctx, whole())
        assert policy.ANSWERS.value(outcome="stored") == 0

    with gateway() as g:
        run(test(g))


@pytest.mark.parametrize(
    ("part", "same", "other"),
    [
        ({"from": "label", "name": "team"}, Identity("x", labels={"team": "a"}), Identity("x", labels={"team": "b"})),
        ({"from": "claim", "name": "org"}, Identity("x", claims={"org": "a"}), Identity("x", claims={"org": "b"})),
        ({"from": "consumer"}, Identity("x", consumer="a"), Identity("x", consumer="b")),
        ({"from": "subject"}, Identity("a", consumer="x"), Identity("b", consumer="x")),
    ],
)
def test_answers_are_shared_by_choice(part: dict[str, str], same: Identity, other: Identity) -> None:
    async def test(g: Gateway) -> None:
        await g.keep(identity=same)
        assert await g.hit(identity=same) == whole()
        assert await g.hit(identity=other) is None
        action, ctx = await g.ask(identity=None)
        assert (action, ctx.metadata[g.made.note]["forward"]) == (None, "bypass; detail=unknown-client")

    with gateway(per=[part]) as g:
        run(test(g))


def test_all_clients_share_answers_by_choice() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(identity=None)
        assert await g.hit(identity=BOB) == whole()

    with gateway(per=[]) as g:
        run(test(g))


def test_the_store_has_nothing_of_the_request() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(messages=[{"role": "user", "content": "my-secret"}]), identity=Identity("my-secret"))
        key = g.request(chat(), identity=Identity("my-secret"))
        assert "my-secret" not in policy.key_of(key, policy.llm.read_request("POST", CHAT, chat()), ["x"], g.params)

    with gateway() as g:
        run(test(g))


# ------------------------------------------------------------------ what is not kept


@pytest.mark.parametrize(
    ("question", "answer", "outcome"),
    [
        (chat(), {"error": {"message": "overloaded"}}, "error"),
        (chat(), whole()[:-9], "incomplete"),
        (chat(), b"", "incomplete"),
        (chat(), b"no JSON", "incomplete"),
        (chat(), b"[" * 1500, "incomplete"),
        (chat(), {"model": "m", "choices": []}, "incomplete"),
        (chat(), {"model": "m", "choices": "x"}, "incomplete"),
        (chat(), [1], "incomplete"),
        (chat(stream=True), events(DELTA, end=b""), "incomplete"),
        (chat(stream=True), events(DELTA, {"error": {"message": "x"}}), "error"),
        (chat(stream=True), events({"error": "x"}), "error"),
        (chat(stream=True), events(), "incomplete"),
        (chat(), whole(choices=[{"message": {"content": "x" * 4000}}]), "too_large"),
        (chat(stream=True), events({"model": "m", "choices": [{"delta": {"content": "x" * 4000}}]}), "too_large"),
    ],
)
def test_only_complete_and_successful_answers_are_kept(question: bytes, answer: Any, outcome: str) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    async def test(g: Gateway) -> None:
        await g.keep(question, answer=body)
        assert policy.ANSWERS.value(outcome=outcome) == 1
        assert await g.hit(question) is None

    with gateway(maxEntryBytes=2048) as g:
        run(test(g))


@pytest.mark.parametrize("status", [201, 204, 206, 301, 404, 429, 500, 529])
def test_other_statuses_are_not_kept(status: int) -> None:
    async def test(g: Gateway) -> None:
        _, ctx = await g.ask()
        await g.answer(ctx, whole(), status=status)
        assert await g.hit() is None

    with gateway() as g:
        run(test(g))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/responses", {"status": "in_progress", "output": [{}]}),
        ("/v1/responses", {"status": "failed", "error": None, "output": [{}]}),
        ("/v1/responses", events({"type": "response.failed", "response": {"model": "m", "error": None}}, end=b"")),
    ],
)
def test_responses_that_failed_are_not_kept(path: str, answer: Any) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    question = json.dumps({"model": "m", "input": "a", "temperature": 0}).encode()

    async def test(g: Gateway) -> None:
        await g.keep(question, path, answer=body)
        assert await g.hit(question, path) is None

    with gateway() as g:
        run(test(g))


def test_an_answer_whose_client_leaves_is_not_kept() -> None:
    async def test(g: Gateway) -> None:
        _, ctx = await g.ask(chat(stream=True))
        await g.answer(ctx, STREAM, sizes=[8], stop_after=2)
        assert policy.ANSWERS.value(outcome="aborted") == 1
        assert await g.hit(chat(stream=True)) is None

    with gateway() as g:
        run(test(g))


@pytest.mark.parametrize(
    ("question", "path", "reason"),
    [
        (chat(temperature=0.7), CHAT, "temperature"),
        (chat(temperature=None), CHAT, "temperature"),
        (chat(temperature="0"), CHAT, "temperature"),
        (chat(temperature=False), CHAT, "temperature"),
        (b'{"model":"m","model":"n","messages":[],"temperature":0}', CHAT, "ambiguous"),
        (b'{"model":"m","input":"a","temperature":0,"background":true}', "/v1/responses", "state"),
        (b'{"model":"m","input":"a","temperature":0,"conversation":"c"}', "/v1/responses", "state"),
        (
            b'{"contents":[],"generationConfig":{"temperature":0},"generation_config":{"temperature":1}}',
            "/v1/models/m:generateContent",
            "temperature",
        ),
    ],
)
def test_requests_that_are_not_cached_pass(question: bytes, path: str, reason: str) -> None:
    async def test(g: Gateway) -> None:
        for _ in range(2):
            action, ctx = await g.ask(question, path)
            assert action is None
            assert ctx.metadata[g.made.note] == {"forward": f"bypass; detail={reason}"}
            assert await g.answer(ctx, whole()) == whole()
        assert policy.REQUESTS.value(result="pass") == 2

    with gateway() as g:
        run(test(g))


@pytest.mark.parametrize(
    ("choice", "temperature", "is_kept"),
    [("unset", None, True), ("unset", 0.1, False), ("any", 0.1, True), ("any", None, True), ("any", "x", True)],
)
def test_the_temperature_decides_by_choice(choice: str, temperature: Any, is_kept: bool) -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(temperature=temperature))
        assert (await g.hit(chat(temperature=temperature)) == whole()) is is_kept

    with gateway(temperature=choice) as g:
        run(test(g))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"no JSON", b'{"messages":1}', b"[" * 100_000])
def test_what_is_no_request_to_a_model_passes(body: bytes) -> None:
    async def test(g: Gateway) -> None:
        action, ctx = await g.ask(body)
        assert action is None
        assert await g.answer(ctx, b"x") == b"x"
        assert policy.REQUESTS.value(result="unknown_shape") == 1

    with gateway() as g:
        run(test(g))


def test_a_deep_document_passes_or_is_kept_and_breaks_nothing() -> None:
    async def test(g: Gateway) -> None:
        for depth in (900, 5_000, 20_000):
            deep = b'{"model":"m","temperature":0,"messages":[],"x":' + b"[" * depth + b"]" * depth + b"}"
            action, _ = await g.ask(deep)
            assert action is None

    with gateway() as g:
        run(test(g))


# ------------------------------------------------------------------ the client's directives


def test_the_clients_directives_count() -> None:
    async def test(g: Gateway) -> None:
        action, _ = await g.ask(headers={"cache-control": "only-if-cached"})
        assert isinstance(action, ImmediateResponse)
        assert action.status_code == 504
        await g.keep(headers={"cache-control": "no-store"})
        assert await g.hit() is None
        await g.keep()
        assert await g.hit(headers={"cache-control": "No-Store"}) is None
        assert await g.hit(headers={"cache-control": "only-if-cached"}) == whole()
        await g.keep(headers={"cache-control": "foo, no-cache"}, answer=whole(id="new"))
        assert await g.hit() == whole(id="new")
        g.clock.advance(10)
        assert await g.hit(headers={"cache-control": "max-age=10"}) == whole(id="new")
        for old in ("max-age=9", "max-age=x", "max-age", "max-age=-1", "max-age=²", f"max-age={'9' * 5000}"):
            assert await g.hit(headers={"cache-control": old}) is None, old

    with gateway() as g:
        run(test(g))


def test_the_clients_directives_are_ignored_by_choice() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(headers={"cache-control": "no-store"})
        assert await g.hit(headers={"cache-control": "no-cache, no-store"}) == whole()

    with gateway(clientDirectives="ignore") as g:
        run(test(g))


@pytest.mark.parametrize("shows", [True, False])
def test_what_the_cache_did_is_shown_by_choice(shows: bool) -> None:
    async def test(g: Gateway) -> None:
        _, ctx = await g.ask()
        action = policy.on_response(testing.response(request=ctx), g.params)
        shown = None if action is None else dict(action.append_headers)
        assert shown == ({"cache-status": "gatewright; fwd=miss"} if shows else None)

    with gateway(cacheStatus=shows) as g:
        run(test(g))


# ------------------------------------------------------------------ at once


def test_the_same_request_waits_for_the_first_by_choice() -> None:
    async def test(g: Gateway) -> None:
        action, first = await g.ask()
        assert action is None
        waiting = asyncio.create_task(g.hit())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await g.answer(first, whole())
        assert await asyncio.wait_for(waiting, 5) == whole()

    with gateway(waitSeconds=30) as g:
        run(test(g))


def test_those_that_wait_go_on_if_the_first_has_no_answer_to_keep() -> None:
    async def test(g: Gateway) -> None:
        _, first = await g.ask()
        waiting = [asyncio.create_task(g.hit()) for _ in range(3)]
        await asyncio.sleep(0.05)
        await g.answer(first, b"no JSON", status=500)
        assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [None] * 3

    with gateway(waitSeconds=30) as g:
        run(test(g))


def test_the_wait_is_bounded() -> None:
    async def test(g: Gateway) -> None:
        await g.ask()
        waiting = asyncio.create_task(g.hit())
        await asyncio.sleep(0.05)
        g.clock.advance(31)
        assert await asyncio.wait_for(waiting, 5) is None

    with gateway(waitSeconds=30) as g:
        run(test(g))


def test_without_the_choice_all_pass() -> None:
    async def test(g: Gateway) -> None:
        await g.ask()
        assert await asyncio.wait_for(g.hit(), 5) is None

    with gateway() as g:
        run(test(g))


# ------------------------------------------------------------------ the store


def test_requests_pass_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError

    async def test(g: Gateway) -> None:
        with monkeypatch.context() as patch:
            for name in ("get", "set", "delete"):
                patch.setattr(type(g.made.store), name, fail)
            await g.keep()
            assert policy.UNANSWERED.value(use="get") == 1
            assert policy.UNANSWERED.value(use="put") == 1
        assert await g.hit() is None
        await g.keep()
        assert await g.hit() == whole()

    with gateway(waitSeconds=0) as g:
        run(test(g))
