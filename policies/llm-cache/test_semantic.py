"""Answers to questions of nearly the same meaning, with an embedding service of its own."""

import asyncio
import json
import math
import random
import socket
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from sdk import llm, testing
from sdk.policy import Identity, ImmediateResponse

policy = testing.load_policy(__file__)
CHAT = "/v1/chat/completions"
ADA, BOB = Identity("ada", "issuer"), Identity("bob", "issuer")
MEANINGS = {
    "What is the capital of France?": [1.0, 0.0, 0.0],
    "Which city is France's capital?": [0.99, 0.1, 0.0],
    "What is the capital of Peru?": [0.6, 0.8, 0.0],
}
FRANCE, CITY, PERU = MEANINGS
Answer = Callable[[Any], Any]


def chat(text: Any, **changed: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "temperature": 0, **changed}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def whole(text: str) -> bytes:
    return json.dumps({"model": "m", "choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()


def embed(question: Any) -> Any:
    return {"data": [{"index": 0, "embedding": MEANINGS.get(question["input"], [0.0, 0.0, 1.0])}]}


@dataclass
class Gateway:
    """The policy between clients, a provider and an embedding service."""

    params: dict[str, Any]
    made: Any
    asked: list[Any] = field(default_factory=list)
    """The questions to the service."""

    async def request(self, document: dict[str, Any], **more: Any) -> Any:
        path, identity = more.pop("path", CHAT), more.pop("identity", ADA)
        body = json.dumps(document).encode()
        ctx = testing.request("POST", path, body=body, prepared=self.made, timeout=20, **more)
        ctx.identity = identity
        return await policy.on_request(ctx, self.params), ctx

    async def keep(self, document: dict[str, Any], answer: bytes, status: int = 200, **more: Any) -> None:
        action, ctx = await self.request(document, **more)
        assert action is None
        response = testing.response(status, headers={"content-type": "application/json"}, request=ctx)
        await testing.collect_stream(
            policy.on_response_stream, testing.stream(answer), ctx=response, params=self.params
        )
        await asyncio.gather(*self.made.releases)

    async def find(self, document: dict[str, Any], **more: Any) -> Any:
        action, _ = await self.request(document, **more)
        return action.body if isinstance(action, ImmediateResponse) else None


def run(test: Callable[[Gateway], Awaitable[None]], service: Answer = embed, **more: Any) -> None:
    """Runs the test with a service that answers each question so."""

    async def main() -> None:
        async with served(service) as (url, asked):
            semantic = {"url": url, "model": "e", "timeoutMilliseconds": 20_000, **more.pop("semantic", {})}
            values = testing.params(policy, semantic=semantic, **more)
            async with testing.prepared(policy, values) as made:
                await test(Gateway(values, made, asked))

    testing.reset_metrics(policy)
    with testing.clock(1_796_212_800.0), testing.store():
        asyncio.run(main())


@asynccontextmanager
async def served(service: Answer) -> AsyncIterator[tuple[str, list[Any]]]:
    asked: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append({**json.loads(await request.read()), "authorization": request.headers.get("authorization")})
        result = service(asked[-1])
        return result if isinstance(result, web.StreamResponse) else web.json_response(result)

    application = web.Application()
    application.router.add_post("/v1/embeddings", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/embeddings", asked
    finally:
        await runner.cleanup()


# ------------------------------------------------------------------ near questions


def test_a_question_of_nearly_the_same_meaning_is_answered_and_says_so() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        action, _ = await g.request(chat(CITY))
        assert isinstance(action, ImmediateResponse)
        assert action.body == whole("Paris")
        assert action.headers["cache-status"] == "gatewright; hit; ttl=3600; detail=near-0.995"
        assert action.analytics_metadata == {"llmCache": {"similarity": 0.995}}
        assert policy.REQUESTS.value(result="near") == 1
        assert await g.find(chat(PERU)) is None
        assert [question["input"] for question in g.asked] == [FRANCE, CITY, PERU]

    run(test, cacheStatus=False)


def test_the_same_request_needs_no_embedding() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        action, _ = await g.request(chat(FRANCE))
        assert action.headers["cache-status"] == "gatewright; hit; ttl=3600"
        assert len(g.asked) == 1

    run(test)


def test_the_threshold_decides() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        assert await g.find(chat(CITY)) is None

    run(test, semantic={"threshold": 0.999})


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "n"},
        {"temperature": 0.0001},
        {"messages": [{"role": "system", "content": "Be rude."}, {"role": "user", "content": CITY}]},
        {"messages": [{"role": "user", "content": PERU}, {"role": "user", "content": CITY}]},
        {"messages": [{"role": "assistant", "content": CITY}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": CITY}, {"type": "image_url"}]}]},
        {"messages": [{"role": "user", "content": CITY, "name": "x"}]},
        {"stream": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
)
def test_all_else_must_be_the_same(changed: dict[str, Any]) -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        assert await g.find(chat(CITY, **changed)) is None
        assert await g.find(chat(CITY)) == whole("Paris")

    run(test, temperature="any")


def test_clients_share_no_answers_but_by_choice() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        assert await g.find(chat(CITY), identity=BOB) is None
        assert await g.find(chat(CITY)) == whole("Paris")

    async def shared(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        assert await g.find(chat(CITY), identity=BOB) == whole("Paris")

    run(test)
    run(shared, per=[])


@pytest.mark.parametrize(("answer", "status"), [(b"no JSON", 200), (whole("Paris"), 500), (b"", 200)])
def test_an_answer_that_is_not_kept_is_none_for_near_questions(answer: bytes, status: int) -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), answer, status)
        assert await g.find(chat(CITY)) is None
        assert len(g.made.near) == 0

    run(test)


def test_an_answer_that_has_left_the_store_is_forgotten() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        with testing.clock(1_796_212_800.0 + 3601):
            assert await g.find(chat(CITY)) is None
        assert len(g.made.near) == 0

    run(test)


def test_the_clients_directives_count() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        for directive in ("no-cache", "no-store"):
            assert await g.find(chat(CITY), headers={"cache-control": directive}) is None
        assert len(g.asked) == 1
        assert await g.find(chat(CITY), headers={"cache-control": "only-if-cached"}) == whole("Paris")

    run(test)


def test_those_that_wait_for_the_same_request_get_its_answer() -> None:
    async def test(g: Gateway) -> None:
        action, ctx = await g.request(chat(FRANCE))
        assert action is None
        assert ctx.metadata[g.made.note]["isFirst"]
        waiting = asyncio.create_task(g.find(chat(FRANCE)))
        await g.keep(chat(CITY), whole("Paris"))  # no answer is near yet, so it goes on
        response = testing.response(200, headers={"content-type": "application/json"}, request=ctx)
        body = testing.stream(whole("Paris!"))
        await testing.collect_stream(policy.on_response_stream, body, ctx=response, params=g.params)
        assert await asyncio.wait_for(waiting, 10) in (whole("Paris!"), whole("Paris"))

    run(test, waitSeconds=10)


# ------------------------------------------------------------------ the service


@pytest.mark.parametrize(
    "service",
    [
        lambda _: web.Response(status=500),
        lambda _: web.Response(text="no JSON"),
        lambda _: web.Response(text="[" * 100_000),
        lambda _: web.Response(text="x" * (1 << 20)),
        lambda _: web.HTTPFound("/other"),
        lambda _: {},
        lambda _: {"data": []},
        lambda _: {"data": [{"embedding": [1.0]}, {"embedding": [1.0]}]},
        lambda _: {"data": [{"embedding": []}]},
        lambda _: {"data": [{"embedding": [0, 0]}]},
        lambda _: {"data": [{"embedding": ["1"]}]},
        lambda _: {"data": [{"embedding": [[1]]}]},
        lambda _: {"data": [{"embedding": "AACAPw=="}]},
        lambda _: {"data": [{"embedding": [math.nan]}]},
        lambda _: {"data": [{"embedding": [1.7e308, 1.7e308]}]},
        lambda _: {"data": [{"embedding": [10**400]}]},
        lambda _: {"data": [{"embedding": [1.0] * 4097}]},
        lambda _: {"data": {"embedding": [1.0]}},
    ],
)
def test_requests_go_on_without_a_valid_embedding(service: Answer) -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        assert await g.find(chat(CITY)) is None
        assert policy.UNEMBEDDED.value() == 2
        assert await g.find(chat(FRANCE)) == whole("Paris")

    run(test, service)


def test_requests_go_on_while_the_service_is_away() -> None:
    async def test(g: Gateway) -> None:
        await g.keep(chat(FRANCE), whole("Paris"))
        assert policy.UNEMBEDDED.value() == 1
        assert await g.find(chat(FRANCE)) == whole("Paris")

    run(test, semantic={"url": "http://127.0.0.1:1/v1/embeddings"})


def test_a_service_that_does_not_answer_is_not_waited_for() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts no connection
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            values = testing.params(policy, semantic={"url": url, "model": "e", "timeoutMilliseconds": 20})
            async with testing.prepared(policy, values) as made:
                assert await asyncio.wait_for(Gateway(values, made).find(chat(FRANCE)), 10) is None

    testing.reset_metrics(policy)
    with testing.clock(1_796_212_800.0), testing.store():
        asyncio.run(main())
    assert policy.UNEMBEDDED.value() == 1


def test_the_service_gets_model_and_token() -> None:
    async def test(g: Gateway) -> None:
        await g.find(chat(FRANCE))
        expected = {"model": "e", "input": FRANCE, "encoding_format": "float", "authorization": "Bearer t0ken"}
        assert g.asked == [expected]

    run(test, semantic={"token": testing.secret("t0ken")})


@pytest.mark.parametrize("token", ["a b", "ü", "", "a\n"])
def test_a_token_that_no_header_can_have_is_refused(token: str) -> None:
    async def open_service() -> None:
        async with policy.open_embeddings({"token": testing.secret(token)}):
            pass

    with pytest.raises(ValueError, match=r"semantic\.token: expected printable ASCII"):
        asyncio.run(open_service())


# ------------------------------------------------------------------ questions


@pytest.mark.parametrize(
    ("path", "document", "text"),
    [
        (CHAT, chat("a"), "a"),
        (CHAT, chat([{"type": "text", "text": "a"}]), "a"),
        ("/v1/messages", {"model": "m", "messages": [{"role": "user", "content": "a"}]}, "a"),
        ("/v1/completions", {"prompt": "a"}, "a"),
        ("/v1/responses", {"model": "m", "input": "a"}, "a"),
        ("/v1/responses", {"model": "m", "input": [user([{"type": "input_text", "text": "a"}])]}, "a"),
        ("/v1/models/m:generateContent", {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}, "a"),
        ("/v1/models/m:generateContent", {"contents": [{"parts": [{"text": "a"}]}]}, "a"),
        (CHAT, chat(" \n"), None),
        (CHAT, chat("x" * 8193), None),
        (CHAT, chat(None), None),
        (CHAT, chat([{"type": "image_url"}]), None),
        (CHAT, {"model": "m", "messages": []}, None),
        (CHAT, {"model": "m", "messages": ["a"]}, None),
        (CHAT, {"model": "m", "messages": [{"role": "tool", "content": "a"}]}, None),
        ("/v1/completions", {"prompt": ["a"]}, None),
        ("/v1/responses", {"model": "m", "input": [{"type": "function_call_output", "output": "a"}]}, None),
        ("/v1/responses", {"model": "m", "instructions": "a"}, None),
        ("/v1/models/m:generateContent", {"contents": {"parts": [{"text": "a"}]}}, None),
        ("/v1/embeddings", {"model": "m", "input": "a"}, None),
    ],
)  # fmt: skip
def test_the_question_is_the_last_text_of_the_user(path: str, document: Any, text: str | None) -> None:
    request = llm.read_request("POST", path, json.dumps(document).encode())
    assert request is not None
    question = policy.question_of(request)
    assert (question.text if question else None) == text
    if question:
        assert str(text) not in json.dumps(question.rest.get("messages", question.rest.get("input")))
        assert request.document == document


# ------------------------------------------------------------------ vectors


def vector(*numbers: float) -> Any:
    return policy.Vector.of(array("f", [number / math.hypot(*numbers) for number in numbers]))


def test_the_oldest_questions_leave() -> None:
    near = policy.NearAnswers(2)
    for number, key in enumerate("abc"):
        near.add("s", key, vector(1, number))
    near.add("s", "b", vector(1, 9))
    near.add("t", "d", vector(1, 0))
    assert len(near) == 2
    assert [key for _, key in near.find("s", vector(1, 9), 0.5)] == ["b"]
    assert near.find("other", vector(1, 9), 0.5) == []
    near.remove("s", "b")
    near.remove("s", "b")
    assert near.find("s", vector(1, 9), 0.5) == []


def test_questions_without_an_answer_leave_too() -> None:
    near = policy.NearAnswers(2)
    for key in "abc":
        near.expect("s", key, vector(1, 0))
    for key in "abc":
        near.end(key, is_kept=key != "b")
    assert [key for _, key in near.find("s", vector(1, 0), 0.5)] == ["c"]


def test_vectors_of_another_model_are_not_compared() -> None:
    near = policy.NearAnswers(9)
    near.add("s", "a", vector(1, 0, 0))
    assert near.find("s", vector(1, 0), 0.5) == []


@given(st.integers(0, 1 << 32))
def test_the_nearest_of_many_is_found(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - no secret
    near = policy.NearAnswers(200)
    points = [[draw.gauss(0, 1) for _ in range(64)] for _ in range(100)]
    for number, point in enumerate(points):
        near.add("s", str(number), vector(*point))
    chosen = draw.randrange(100)
    question = vector(*(number + draw.gauss(0, 0.05) for number in points[chosen]))
    found = near.find("s", question, 0.9)
    assert [key for _, key in found] == [str(chosen)]
    assert found[0][0] == pytest.approx(1, abs=0.02)
