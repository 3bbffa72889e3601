"""Answers of each shape, cut anywhere, and hostile ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gatewright.llm import AnswerReader, Shape, Usage, UsageChunkFilter, read_answer
from hypothesis import given
from hypothesis import strategies as st

ANSWERS: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("answers.yaml").read_text())
SHAPES = st.sampled_from(["chat", "completions", "responses", "messages", "gemini", "embeddings"])
CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


def read(
    shape: Shape, body: bytes, cuts: list[int] | range, content_type: str = "", limit: int = 1 << 20
) -> dict[str, Any]:
    """What is read of an answer that is cut at these places."""
    reader = AnswerReader(shape, content_type, with_texts=True, limit=limit)
    places = sorted({place % (len(body) + 1) for place in cuts})
    texts: dict[str, str] = {}
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        for delta in reader.feed(body[start:end]):
            texts[delta.kind] = texts.get(delta.kind, "") + delta.text
    reader.end()
    error = reader.error and {name: getattr(reader.error, name) for name in reader.error.__slots__}
    names = ("input", "output", "cached", "cache_written", "reasoning")
    usage = None if reader.usage is None else [getattr(reader.usage, name) for name in names]
    return {
        "usage": usage, "model": reader.model, "finished": reader.finished, "texts": texts, "error": error,
        "skipped": reader.skipped,
    }  # fmt: skip


def expected(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "texts": answer.get("texts", {}), "error": answer.get("error"), "skipped": 0,
        **{name: answer[name] for name in ("usage", "model", "finished")},
    }  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_whole_and_byte_by_byte(name: str) -> None:
    answer = ANSWERS[name]
    body = answer["body"].encode()
    whole: list[int] = []
    for cuts in (whole, range(len(body))):
        for content_type in (answer["content_type"], ""):
            assert read(answer["shape"], body, cuts, content_type) == expected(answer)


@given(st.sampled_from(sorted(ANSWERS)), CUTS, st.sampled_from(["\n", "\r\n", "\r"]))
def test_an_answer_cut_anywhere(name: str, cuts: list[int], line_end: str) -> None:
    answer = ANSWERS[name]
    body = answer["body"].replace("\n", line_end).encode()
    assert read(answer["shape"], body, cuts) == expected(answer)


@given(st.lists(st.tuples(st.sampled_from(sorted(ANSWERS)), st.integers(0, 9)), max_size=8), SHAPES)
def test_whole_events_are_read_as_single_bytes_are(places: list[tuple[str, int]], shape: Shape) -> None:
    """Without texts, where a reader looks more closely only at some of the events."""
    events = [[f"{event}\n\n".encode() for event in ANSWERS[name]["body"].split("\n\n")] for name, _ in places]
    pieces = [found[number % len(found)] for found, (_, number) in zip(events, places, strict=True)]
    by_event, by_byte = (AnswerReader(shape, "text/event-stream") for _ in range(2))
    for piece in pieces:
        by_event.feed(piece)
        for at in range(len(piece)):
            by_byte.feed(piece[at : at + 1])
    for name in ("usage", "model", "finished", "error"):
        assert getattr(by_event, name) == getattr(by_byte, name)


# ------------------------------------------------------------------ hostile input

NAMES = st.sampled_from(
    [
        *("usage", "usageMetadata", "message", "response", "error", "type", "model", "choices", "delta", "candidates"),
        *("input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "total_tokens", "promptTokenCount"),
        *("content", "parts", "text", "index", "tool_calls", "function", "output", "code", "object", "finishReason"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.integers(10**17, 10**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(SHAPES, st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=4), CUTS, st.booleans())
def test_any_json_is_read_alike_wherever_it_is_cut(shape: Shape, documents: Any, cuts: list[int], is_sse: bool) -> None:
    events = "".join(f"data: {json.dumps(document)}\n\n" for document in documents)
    body = (events if is_sse else json.dumps(documents)).encode()
    result = read(shape, body, cuts)
    assert result == read(shape, body, [])
    if result["usage"] is not None:
        tokens = Usage(*result["usage"])
        assert min(result["usage"]) >= 0
        assert tokens.cached + tokens.cache_written <= tokens.input
        assert tokens.reasoning <= tokens.output


@given(SHAPES, st.binary(max_size=200) | st.text(alphabet='{}[]",:\\\n\r data1', max_size=60).map(str.encode), CUTS)
def test_any_bytes_are_read_alike_wherever_they_are_cut(shape: Shape, body: bytes, cuts: list[int]) -> None:
    assert read(shape, body, cuts) == read(shape, body, [])


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=6), CUTS)
def test_a_whole_answer_is_read_as_json_is(document: dict[str, Any], cuts: list[int]) -> None:
    body = json.dumps({**document, "usage": {"prompt_tokens": 7, "completion_tokens": 1}, "model": "m"}).encode()
    result = read("chat", body, cuts)
    assert (result["usage"], result["model"], result["finished"]) == ([7, 1, 0, 0, 0], "m", True)


@pytest.mark.parametrize(
    "count", ["null", "-1", "true", "1.5", '"12"', "1e3", "9007199254740993", "1" * 5000, "[]", "{}"]
)
def test_what_is_no_count_is_not_there(count: str) -> None:
    body = f'data: {{"usage":{{"prompt_tokens":3,"completion_tokens":{count}}}}}\n\n'.encode()
    result = read("chat", body, [])
    assert result["usage"] in ([3, 0, 0, 0, 0], None)
    assert (result["usage"] is None) == (len(count) == 5000)  # such a number is no JSON that Python reads


def test_parts_are_never_more_than_the_whole() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}}
    usage["completion_tokens_details"] = {"reasoning_tokens": 9}
    assert read("chat", json.dumps({"usage": usage}).encode(), [])["usage"] == [5, 2, 5, 0, 2]


@pytest.mark.parametrize("opening", [b"[" * 100_000, b'{"a":' * 100_000, b'data: {"usage":' + b"[" * 50_000 + b"\n\n"])
def test_deep_nesting_is_read_as_nothing(opening: bytes) -> None:
    result = read("chat", opening, [])
    assert (result["usage"], result["finished"]) == (None, False)


# ------------------------------------------------------------------ bounded memory


def chunk(text: str, usage: int | None = None) -> bytes:
    counts = None if usage is None else {"prompt_tokens": usage, "completion_tokens": 1}
    return f"data: {json.dumps({'choices': [{'delta': {'content': text}}], 'usage': counts})}\n\n".encode()


@given(st.lists(st.sampled_from([10, 150, 700, 5000]), max_size=6), CUTS, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_beyond_the_limit_are_skipped_and_all_others_read(sizes: list[int], cuts: list[int], end: bytes) -> None:
    events = [chunk("x" * size) for size in sizes]
    body = (b"".join(events) + chunk("", 7) + b"data: [DONE]\n\n").replace(b"\n", end)
    result = read("chat", body, cuts, limit=300)
    kept = sum(size for size in sizes if size < 200)
    assert result["texts"].get("text", "") == "x" * kept
    assert result["skipped"] == sum(size > 200 for size in sizes)
    assert (result["usage"], result["finished"]) == ([7, 1, 0, 0, 0], True)


@given(CUTS)
def test_members_beyond_the_limit_are_skipped_and_all_others_read(cuts: list[int]) -> None:
    document = {"output": [{"x": "y" * 5000}], "usage": {"input_tokens": 7, "output_tokens": 1}, "model": "m"}
    result = read("responses", json.dumps(document).encode(), cuts, limit=300)
    assert (result["usage"], result["model"], result["finished"], result["skipped"]) == ([7, 1, 0, 0, 0], "m", True, 1)


def test_a_reader_keeps_little_of_a_long_answer() -> None:
    reader = AnswerReader("embeddings", "application/json", limit=1 << 16)
    reader.feed(b'{"object":"list","data":[')
    for _ in range(200):
        reader.feed(b"[0.25,-0.5]," * 1000)
    kept = len(reader._items._item) if reader._items else 0
    reader.feed(b'[]],"usage":{"prompt_tokens":8,"total_tokens":8}}')
    assert kept <= 1 << 16
    assert reader.usage == Usage(8)
    assert reader.finished


# ------------------------------------------------------------------ the chunk that the client has not asked for


def filtered(body: bytes, cuts: list[int], limit: int = 1 << 20) -> bytes:
    stream = UsageChunkFilter(limit)
    places = sorted({place % (len(body) + 1) for place in cuts})
    parts = [stream.feed(body[at:to]) for at, to in zip([0, *places], [*places, len(body)], strict=True)]
    return b"".join([*parts, stream.end()])


USAGE_CHUNK = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}'
EVENTS = [
    chunk("a"),
    chunk("b", 7),
    b": comment\n\n",
    b"\n",
    b"data: [DONE]\n\n",
    b"event: x\ndata: {]\n\n",
    USAGE_CHUNK + b"\n\n",
]


@given(st.lists(st.sampled_from(EVENTS)), st.sampled_from([b"", b"data: {", b"data", b"\r"]), CUTS)
def test_only_the_usage_chunk_is_kept_back(events: list[bytes], rest: bytes, cuts: list[int]) -> None:
    kept = b"".join(event for event in events if event != EVENTS[-1]) + rest
    assert filtered(b"".join(events) + rest, cuts).replace(b"\n", b"") == kept.replace(b"\n", b"")


def test_a_usage_chunk_without_its_blank_line_is_kept_back() -> None:
    assert filtered(chunk("a") + USAGE_CHUNK, []) == chunk("a")


@given(st.binary(max_size=200), CUTS)
def test_other_bytes_pass_as_they_are(body: bytes, cuts: list[int]) -> None:
    assert filtered(body, cuts) == body
    assert filtered(body, cuts, limit=8) == body


def test_a_complete_event_passes_at_once() -> None:
    stream = UsageChunkFilter()
    assert stream.feed(chunk("a") + b"data: {") == chunk("a")
    assert stream.feed(b"}\n\n") == b"data: {}\n\n"


def test_from_an_event_beyond_the_limit_on_all_passes() -> None:
    body = b"data: 1\n\n" + b"data: " + b"x" * 500 + b"\n\n" + EVENTS[-1]
    assert filtered(body, list(range(0, 600, 7)), limit=300) == body


async def passed(body: bytes, content_type: str, *, hides_usage: bool) -> tuple[bytes, Usage | None]:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 10):
            yield body[at : at + 10]

    reader = AnswerReader("chat", content_type)
    pieces = [piece async for piece in read_answer(chunks(), reader, hides_usage=hides_usage)]
    reader.end()
    assert b"" not in pieces
    return b"".join(pieces), reader.usage


@pytest.mark.parametrize(
    ("content_type", "hides_usage", "expected"),
    [
        ("text/event-stream; charset=utf-8", True, chunk("a") + EVENTS[4]),
        ("text/event-stream", False, chunk("a") + USAGE_CHUNK + b"\n\n" + EVENTS[4]),
        ("text/plain", True, chunk("a") + USAGE_CHUNK + b"\n\n" + EVENTS[4]),
    ],
)
def test_an_answer_passes_with_the_usage_chunk_that_the_client_expects(
    content_type: str, hides_usage: bool, expected: bytes
) -> None:
    body = chunk("a") + USAGE_CHUNK + b"\n\n" + EVENTS[4]
    answer, usage = asyncio.run(passed(body, content_type, hides_usage=hides_usage))
    assert answer == expected
    assert usage == Usage(7, 1)
