# ruff: noqa: ARG001 - policies here use what they need
import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from gatewright import streams, testing
from gatewright.action import ActionError
from gatewright.policy import (
    Chunk,
    Chunks,
    ImmediateResponse,
    Reject,
    RequestContext,
    RequestStreamContext,
    ResponseContext,
    ResponseStreamContext,
)
from hypothesis import given
from hypothesis import strategies as st

Policy = Callable[..., Any]
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


async def on_response_stream(
    ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]
) -> AsyncIterator[bytes]:
    """Masks a word that may span chunks, and says in a trailer what has gone out."""
    digest = hashlib.sha256()
    pattern = re.compile(params["word"].encode())
    async for chunk in streams.replaced(chunks, pattern, b"***", longest=20):
        digest.update(chunk)
        yield chunk
    ctx.trailers["x-digest"] = digest.hexdigest()


@given(st.lists(st.sampled_from(["secret", "sec", "ret", "é", " "]), max_size=20).map("".join), SIZES)
def test_a_body_is_the_same_however_it_is_cut(body: str, sizes: list[int]) -> None:
    result = testing.run_stream(
        on_response_stream, testing.stream(body, sizes=sizes, trailers={"grpc-status": "0"}), params={"word": "secret"}
    )
    assert result.body.decode() == body.replace("secret", "***")
    assert result.trailers.multi_items() == [
        ("grpc-status", "0"), ("x-digest", hashlib.sha256(result.body).hexdigest())
    ]  # fmt: skip
    assert result.rejected is None


@given(st.binary(max_size=60), st.none() | st.integers(1, 70) | SIZES, st.none() | st.integers())
def test_chunks_are_never_empty_and_are_the_body(body: bytes, sizes: int | list[int] | None, seed: int | None) -> None:
    async def chunks_of(stream: testing.Stream) -> list[bytes]:
        return [chunk async for chunk in stream]

    chunks = asyncio.run(chunks_of(testing.stream(body, sizes=sizes or (), seed=seed)))
    assert b"".join(chunks) == body
    assert all(chunks)
    if seed is not None:
        assert chunks == asyncio.run(chunks_of(testing.stream(body, seed=seed)))
    elif sizes:
        wanted = [sizes] if isinstance(sizes, int) else sizes
        assert [*map(len, chunks)][:-1] == [wanted[at % len(wanted)] for at in range(len(chunks))][:-1]


async def every_chunk(ctx: object, chunks: Chunks, params: dict[str, Any]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk


def test_chunks_that_are_read_again_after_their_end_fail_as_in_the_gateway() -> None:
    async def twice(ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
        async for chunk in chunks:
            yield chunk
            break
        async for chunk in chunks:  # goes on with the rest
            yield chunk
        async for chunk in chunks:
            yield chunk

    async def at_once(ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
        for chunk in await asyncio.gather(anext(chunks), anext(chunks)):
            yield chunk

    for function, sentence in ((twice, "expected chunks to be iterated once"), (at_once, "expected one task to ask")):
        with pytest.raises(RuntimeError, match=sentence):
            testing.run_stream(function, testing.stream([b"a", b"b"]), ctx=testing.request())


def test_chunks_may_be_given_one_by_one() -> None:
    given_ones = testing.stream([b"a", "é", b"", b"b"])
    assert testing.run_stream(every_chunk, given_ones, ctx=testing.request()).chunks == [b"a", "é".encode(), b"b"]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"body": [b"a"], "sizes": 1}, TypeError, "expected a whole body beside `sizes` or `seed`, got chunks"),
        ({"body": b"a", "sizes": [1, 0]}, ValueError, "expected sizes of a byte or more, got 0"),
    ],
)
def test_an_invalid_cut_is_refused(arguments: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        testing.stream(**arguments)


def test_a_function_of_another_name_needs_a_context() -> None:
    with pytest.raises(TypeError, match="expected `ctx`, or a function named on_request_stream or on_response_stream"):
        testing.run_stream(every_chunk)


YIELDS: list[tuple[object, bytes]] = [
    (b"a", b"a"),
    ("é", "é".encode()),
    (bytearray(b"a"), b"a"),
    (memoryview(b"abcd")[::2], b"ac"),
    (b"", b""),
]


@pytest.mark.parametrize(("value", "sent"), YIELDS)
def test_a_chunk_is_bytes_or_text(value: Chunk, sent: bytes) -> None:
    async def on_request_stream(
        ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        yield value

    assert testing.run_stream(on_request_stream).chunks == [sent]


def test_a_buffer_can_be_used_again() -> None:
    async def on_request_stream(
        ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        buffer = bytearray(1)
        async for chunk in chunks:
            buffer[:] = chunk
            yield buffer

    assert testing.run_stream(on_request_stream, testing.stream(b"abc", sizes=1)).body == b"abc"


REFUSED = {
    "async def on_request_stream(ctx, chunks, params):\n    yield 3": "expected on_request_stream or .* got int 3",
    "async def on_request_stream(ctx, chunks, params):\n    yield": "to yield bytes or str, got None",
    "async def on_request_stream(ctx, chunks, params):\n    return b''": (
        "expected on_request_stream to be an async generator: `async def` with a `yield`, got a coroutine; write a `yie"
    ),
    "def on_request_stream(ctx, chunks, params):\n    yield b''": "to be an async generator: .*, got generator",
    "async def on_request_stream(ctx, chunks, params):\n    yield '\\ud800'": "text that UTF-8 can carry",
    "async def on_request_stream(ctx, chunks, params):\n    raise Reject(None)\n    yield": (
        "Reject: expected an ImmediateResponse, got None"
    ),
    "async def on_request_stream(ctx, chunks, params):\n    raise Reject(ImmediateResponse(99))\n    yield": (
        "status_code: expected an int from 200 to 599"
    ),
    "async def on_request_stream(ctx, chunks, params):\n    ctx.trailers['host'] = 'a'\n    yield b''": (
        "expected a header that policies can change"
    ),
    "async def on_request_stream(ctx, chunks, params):\n    ctx.analytics['a'] = b''\n    yield b''": (
        r"ctx\.analytics\['a'\]: expected a JSON value"
    ),
}


@pytest.mark.parametrize(("source", "sentence"), REFUSED.items())
def test_what_the_gateway_refuses_fails_the_test(tmp_path: Any, source: str, sentence: str) -> None:
    (tmp_path / "policy.py").write_text(f"from sdk.policy import *\n{source}\n")
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    with pytest.raises(ActionError, match=sentence):
        testing.run_stream(policy.on_request_stream, testing.stream(b"a"))


def test_a_loaded_policys_streams_are_checked_without_run_stream_too(tmp_path: Any) -> None:
    (tmp_path / "policy.py").write_text("async def on_response_stream(ctx, chunks, params):\n    yield 3\n")
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))

    async def first() -> object:
        chunks = testing.stream(b"a")
        return await anext(policy.on_response_stream(testing.streaming(testing.response(), chunks), chunks, {}))

    with pytest.raises(ActionError, match="got int 3"):
        asyncio.run(first())


def test_a_rejection_is_a_result() -> None:
    async def on_request_stream(
        ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        seen = 0
        async for chunk in chunks:
            seen += len(chunk)
            if seen > params["limit"]:
                raise Reject(ImmediateResponse(413))
            yield chunk

    result = testing.run_stream(on_request_stream, testing.stream(bytes(10), sizes=3), params={"limit": 5})
    assert (result.rejected, result.body) == (ImmediateResponse(413), bytes(3))


def test_an_exception_reaches_the_test() -> None:
    async def on_request_stream(
        ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        yield json.loads(await anext(chunks))

    with pytest.raises(json.JSONDecodeError):
        testing.run_stream(on_request_stream, testing.stream(b"{"))


@pytest.mark.parametrize("stop_after", [1, 2])
def test_the_client_may_go_in_the_middle(stop_after: int) -> None:
    ends = []

    async def on_response_stream(
        ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        try:
            async for chunk in chunks:
                yield chunk
        except GeneratorExit:
            ends.append("closed")
            raise

    chunks = testing.stream(b"abc", sizes=1)
    result = testing.run_stream(on_response_stream, chunks, stop_after=stop_after)
    assert (result.chunks, ends) == ([b"a", b"b"][:stop_after], ["closed"])
    with pytest.raises(RuntimeError, match="before"):
        result.trailers.get("x-a")


def test_a_policy_that_yields_after_it_was_closed_gets_an_error() -> None:
    async def on_response_stream(
        ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        try:
            yield b"a"
        finally:
            yield b"b"

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        testing.run_stream(on_response_stream, stop_after=1)


def test_a_context_keeps_what_it_has() -> None:
    seen: list[Any] = []

    async def on_response_stream(
        ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        seen.extend((ctx.status_code, ctx.headers["x-a"], ctx.body))
        seen.extend((ctx.prepared, ctx.request.method, ctx.metadata["b"]))
        ctx.metadata["c"] = 2
        yield b""

    request = testing.request("POST", prepared="made", metadata={"b": 1})
    ctx = testing.response(201, headers={"X-A": "1"}, body=b"not seen", request=request)
    testing.run_stream(on_response_stream, ctx=ctx)
    assert seen == [201, "1", None, "made", "POST", 1]
    assert ctx.metadata["c"] == 2


def test_a_stream_context_is_a_context() -> None:
    chunks = testing.stream()
    assert isinstance(testing.streaming(testing.request(), chunks), RequestContext)
    assert isinstance(testing.streaming(testing.response(), chunks), ResponseContext)
    assert testing.streaming(testing.request(), chunks).trailers is chunks.trailers


def test_a_policy_need_not_read_to_the_end() -> None:
    async def on_request_stream(
        ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        yield await anext(chunks)
        ctx.trailers["x-a"] = "set"

    result = testing.run_stream(on_request_stream, testing.stream(b"abc", sizes=1, trailers={"x-b": "came"}))
    assert (result.body, result.trailers.multi_items()) == (b"a", [("x-b", "came"), ("x-a", "set")])


def test_a_stream_leaves_analytics_if_it_ends_well() -> None:
    async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Any) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            ctx.analytics["size"] = len(chunk)
            yield chunk
            if chunk == b"no":
                raise Reject(ImmediateResponse(403))

    assert testing.run_stream(on_response_stream, testing.stream(b"yes")).analytics == {"size": 3}
    assert testing.run_stream(on_response_stream, testing.stream(b"no")).analytics == {}
    assert testing.run_stream(on_response_stream, testing.stream(b"yes"), stop_after=1).analytics == {}
    assert testing.run_stream(on_response_stream).analytics == {}


def test_a_message_without_trailers_gets_none() -> None:
    async def on_request_stream(
        ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]
    ) -> AsyncIterator[Chunk]:
        yield b""
        async for _ in chunks:
            pass
        ctx.trailers["x-a"] = "set"
        assert ctx.trailers["x-a"] == "set"

    assert len(testing.run_stream(on_request_stream).trailers) == 0


def test_in_a_loop_that_runs() -> None:
    async def run() -> testing.StreamResult:
        assert testing.run_stream(every_chunk, testing.stream(b"a"), ctx=testing.request()).body == b"a"
        return await testing.collect_stream(every_chunk, testing.stream(b"b"), ctx=testing.request())

    assert asyncio.run(run()).body == b"b"
