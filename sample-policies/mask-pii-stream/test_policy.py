import asyncio
import json
import re
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sdk import testing
from sdk.streams import SseEvent, SseParser

policy = testing.load_policy(__file__)
PARAMS = testing.params(kinds=["email", "card", "phone"], mask="***", maxBytes=1 << 20)
MASKING = policy.prepare(PARAMS)
CARD = "4111 1111 1111 1111"
PII = ["ada@example.org", "a.b+c@mail.example.co.uk", CARD, "5500005555555559", "+41 44 668 18 00", "+4144 (668)-1800"]
CUTS = 5


def masked(body: str, content_type: str = "text/event-stream", sizes: Any = ()) -> str:
    ctx = testing.response(
        headers={"content-type": content_type}, request=testing.request(prepared=MASKING, timeout=60)
    )
    result = testing.run_stream(policy.on_response_stream, testing.stream(body, sizes=sizes), ctx=ctx, params=PARAMS)
    assert result.rejected is None
    return result.body.decode()


def completion(parts: list[str], done: bool = True) -> str:
    """A stream of chat completion chunks, as OpenAI sends them."""
    deltas: list[tuple[Any, Any]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": part}, None) for part in parts]
    deltas.append(({}, "stop"))
    chunks = [
        {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": why}]}
        for delta, why in deltas
    ]
    events = [SseEvent(json.dumps(chunk)) for chunk in chunks] + [SseEvent("[DONE]")] * done
    return b"".join(event.encode() for event in events).decode()


def message(parts: list[str]) -> str:
    """A stream of message events, as Anthropic sends them."""
    deltas: list[dict[str, Any]] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}} for part in parts
    ]
    documents: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    return b"".join(SseEvent(json.dumps(event), event=str(event["type"])).encode() for event in documents).decode()


def documents(body: str) -> list[Any]:
    data = [event.data for event in SseParser().feed(body.encode())]
    return [json.loads(event) for event in data if event is not None and event != "[DONE]"]


def text_of(body: str, choice: int = 0) -> str:
    """The text that a client puts together."""
    chunks = documents(body)
    choices = [found for chunk in chunks for found in chunk.get("choices", []) if found["index"] == choice]
    of_messages = [chunk["delta"].get("text", "") for chunk in chunks if chunk.get("type") == "content_block_delta"]
    return "".join([found["delta"].get("content", "") for found in choices] + of_messages)


WORDS = st.text('ab.@-+ (12\n"\\ü😀', max_size=12)
TEXTS = st.lists(WORDS | st.sampled_from(PII), max_size=8).map(" ".join)


@pytest.mark.parametrize("make_events", [completion, message])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(whole=TEXTS, chance=st.randoms(use_true_random=False))
@example(whole=" ".join(PII), chance=Random(1))  # noqa: S311 — no secret
def test_wherever_tokens_and_chunks_are_cut_the_text_is_the_masked_one(
    make_events: Any, whole: str, chance: Random
) -> None:
    """500 cuts: each of 50 texts, in two forms, in five ways."""

    async def each() -> None:
        for _ in range(CUTS):
            cuts = sorted(chance.choices(range(len(whole) + 1), k=chance.randint(0, 12)))
            parts = [whole[at:to] for at, to in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
            sizes = [chance.randint(1, 300) for _ in range(3)]
            ctx = testing.response(
                headers={"content-type": "text/event-stream"}, request=testing.request(prepared=MASKING, timeout=60)
            )
            result = await testing.collect_stream(
                policy.on_response_stream, testing.stream(make_events(parts), sizes=sizes), ctx=ctx, params=PARAMS
            )
            assert text_of(result.body.decode()) == MASKING.masked(whole)

    asyncio.run(each())


@pytest.mark.parametrize("make_events", [completion, message])
def test_each_event_goes_out_with_the_chunk_that_ends_it(make_events: Any) -> None:
    parts = ["My ", "card ", "is 41", "11 1111 ", CARD[10:], " ok?"]
    events = [event.raw.decode() for event in SseParser().feed(make_events(parts).encode())]

    async def each() -> list[str]:
        chunks = testing.stream(events)
        ctx = testing.streaming(
            testing.response(headers={"content-type": "text/event-stream"}, request=testing.request(prepared=MASKING)),
            chunks,
        )
        out = policy.on_response_stream(ctx, chunks, PARAMS)
        return [text_of((await anext(out)).decode()) for _ in events]

    assert [part for part in asyncio.run(each()) if part] == ["My ", "card ", "is ", "*** ok?"]


def test_what_is_held_back_comes_before_the_end_in_an_event_of_its_own() -> None:
    for body in (completion(["call ", "+41 44 668"]), completion(["call ", "+41 44 668"], done=False)):
        result = documents(masked(body))
        assert [chunk["choices"][0]["delta"].get("content") for chunk in result] == ["", "call ", "", "***", None]
        assert [chunk["choices"][0]["finish_reason"] for chunk in result] == [None] * 4 + ["stop"]
    result = documents(masked(message(["call ", "+41 44 668"])))
    assert [chunk["type"] for chunk in result[-3:]] == ["content_block_delta", "content_block_stop", "message_stop"]
    assert result[-3]["delta"]["text"] == "***"


def test_the_last_event_may_have_text_too() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "ada@x.org"}, "finish_reason": "length"}]}
    assert text_of(masked(f"data: {json.dumps(chunk)}\n\n")) == "***"


def test_several_choices_are_texts_of_their_own() -> None:
    parts = [("411111", 0), ("ada@", 1), ("1111111111 ", 0), ("x.org", 1)]
    chunks = [{"choices": [{"index": index, "delta": {"content": part}}]} for part, index in parts]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    result = masked(body)
    assert (text_of(result, 0), text_of(result, 1)) == ("*** ", "***")
    assert result.endswith("data: [DONE]\n\n")


def test_other_events_and_strings_are_masked_one_by_one() -> None:
    body = ": a comment\n\nevent: note\nid: 7\ndata: ask ada@x.org\n\n" + 'data: {"a": ["ada@x.org", 1.5]}\n\n'
    assert masked(body) == ': a comment\n\nevent: note\ndata: ask ***\nid: 7\n\ndata: {"a":["***",1.5]}\n\n'


def test_an_event_that_was_cut_off_is_not_made_whole() -> None:
    assert masked("data: one\n\ndata: ada@x.or") == "data: one\n\n"


@pytest.mark.parametrize("sizes", [1, 7, 1000])
def test_json_that_comes_as_a_whole(sizes: int) -> None:
    answer = {"created": 4111111111111111, "choices": [{"message": {"content": f"It is {CARD}, says ada@x.org"}}]}
    result = json.loads(masked(json.dumps(answer), "application/json; charset=utf-8", sizes))
    assert result == {"created": 4111111111111111, "choices": [{"message": {"content": "It is ***, says ***"}}]}
    assert masked("{ada@x.org", "application/problem+json", sizes) == "{***"


@settings(max_examples=100, deadline=None)
@given(whole=TEXTS, sizes=st.lists(st.integers(1, 40), min_size=1))
def test_a_text_is_masked_wherever_it_is_cut(whole: str, sizes: list[int]) -> None:
    assert masked(whole, "text/plain", sizes) == MASKING.masked(whole)


def test_a_text_in_another_encoding_stays_as_it_is() -> None:
    ctx = testing.response(headers={"content-type": "text/plain"}, request=testing.request(prepared=MASKING))
    stream = testing.stream(b"\xff\xff ada@x.org", sizes=3)
    assert testing.run_stream(policy.on_response_stream, stream, ctx=ctx, params=PARAMS).body == b"\xff\xff ***"


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "text/event-stream"])
@pytest.mark.parametrize("charset", ["", "utf-16", "utf-7", "idna", "\udcff"])
def test_a_text_that_hides_what_is_masked_is_refused(media_type: str, charset: str) -> None:
    content_type = f"{media_type}; charset={charset}" if charset else media_type
    ctx = testing.response(headers={"content-type": content_type}, request=testing.request(prepared=MASKING))
    for body in ('"ada@x.org"'.encode("utf-16"), '"ada@x.org"'.encode("utf-16-le")):
        result = testing.run_stream(policy.on_response_stream, testing.stream(body), ctx=ctx, params=PARAMS)
        assert (result.body, result.rejected and result.rejected.status_code) == (b"", 502)


def test_anything_else_passes() -> None:
    assert masked("ada@x.org", "application/octet-stream", 2) == "ada@x.org"


def test_json_beyond_the_limit_is_refused() -> None:
    ctx = testing.response(headers={"content-type": "application/json"}, request=testing.request(prepared=MASKING))
    params = {**PARAMS, "maxBytes": 1024}
    result = testing.run_stream(policy.on_response_stream, testing.stream(bytes(1025)), ctx=ctx, params=params)
    assert (result.body, result.rejected and result.rejected.status_code) == (b"", 502)


@pytest.mark.parametrize("whole", [*PII, *(f"({pii})" for pii in PII)])
def test_what_is_masked(whole: str) -> None:
    assert re.fullmatch(r"\(?\*\*\*\)?", MASKING.masked(whole))


@pytest.mark.parametrize(
    "whole", ["4111 1111 1111 1112", "12345678901234567890123", "a @ b.org", "+1 2", "3.14159265358979"]
)
def test_what_is_not(whole: str) -> None:
    assert MASKING.masked(whole) == whole
