"""Translation of streamed answers: event by event, cut anywhere, and the same as that of the whole answer."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from gatewright import llm
from gatewright.llm import Shape
from gatewright.streams import SseEvent, SseParser
from hypothesis import given, settings
from hypothesis import strategies as st

Json = dict[str, Any]
ANSWERS: dict[str, Json] = yaml.safe_load((Path(__file__).parent / "answers.yaml").read_text())
OTHER: dict[str, Shape] = {"chat": "messages", "messages": "chat"}
STREAMS = [name for name, answer in ANSWERS.items() if "stream" in name and answer["shape"] in OTHER]


def translate(shape: str, stream: bytes, cuts: Sequence[int] = (), **options: Any) -> bytes:
    """The translation of a stream that comes in pieces, which end at the cuts."""
    translator = llm.StreamTranslator(shape, OTHER[shape], **options)  # type: ignore[arg-type]
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    return b"".join([*map(translator.feed, pieces), translator.end()])


def events(stream: bytes) -> list[Any]:
    """The documents of the events."""
    data = [event.data for event in SseParser().feed(stream) if event.data is not None]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


def sse(*documents: Json | str) -> bytes:
    texts = (document if isinstance(document, str) else json.dumps(document) for document in documents)
    return b"".join(SseEvent(text).encode() for text in texts)


# ------------------------------------------------------------------ answers of the providers


@pytest.mark.parametrize("name", STREAMS)
def test_a_translation_has_the_same_texts_tokens_and_end(name: str) -> None:
    answer = ANSWERS[name]
    stream = answer["body"].encode()
    shape: Shape = answer["shape"]
    translated = translate(shape, stream, wants_usage=True)
    readers = [llm.AnswerReader(kind, "text/event-stream", with_texts=True) for kind in (shape, OTHER[shape])]
    texts: list[Json] = [{}, {}]
    for reader, body, joined in zip(readers, (stream, translated), texts, strict=True):
        for delta in (*reader.feed(body), *reader.end()):
            joined[delta.kind] = joined.get(delta.kind, "") + delta.text
    before, after = readers
    for joined in texts:
        joined.pop("reasoning", None)  # which a message would have to sign
        if name == "messages-stream":
            joined.pop("arguments", None)  # of a block that has not begun
    assert texts[1] == texts[0]
    assert after.model == before.model
    if before.finished:  # Anthropic's clients need the counts, also of a provider that has reported none
        assert after.usage == (before.usage or llm.Usage())
    assert after.finished == before.finished
    assert (after.error is None) == (before.error is None)
    if before.error and after.error:
        assert after.error.message == before.error.message


@given(data=st.data(), name=st.sampled_from(STREAMS))
def test_a_stream_that_is_cut_anywhere_is_the_whole_one(data: st.DataObject, name: str) -> None:
    stream = ANSWERS[name]["body"].encode()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    assert translate(ANSWERS[name]["shape"], stream, cuts) == translate(ANSWERS[name]["shape"], stream)


@given(data=st.data(), name=st.sampled_from(STREAMS))
def test_a_stream_that_breaks_off_has_the_beginning_of_the_whole_one(data: st.DataObject, name: str) -> None:
    stream = ANSWERS[name]["body"].encode()
    translator = llm.StreamTranslator(ANSWERS[name]["shape"], OTHER[ANSWERS[name]["shape"]])
    beginning = translator.feed(stream[: data.draw(st.integers(0, len(stream)))])
    assert translate(ANSWERS[name]["shape"], stream).startswith(beginning)


# ------------------------------------------------------------------ streams and whole answers


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def stream_of_completion(completion: Json, size: int) -> bytes:
    """The chunks of a completion, whose texts come in pieces."""
    (choice,) = completion["choices"]
    message = choice["message"]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in pieces(message["content"] or "", size)]
    for number, call in enumerate(message.get("tool_calls", [])):
        begin = {**call, "index": number, "function": call["function"] | {"arguments": ""}}
        rest = pieces(call["function"]["arguments"], size)
        deltas.append({"tool_calls": [begin]})
        deltas += [{"tool_calls": [{"index": number, "function": {"arguments": piece}}]} for piece in rest]
    head = {"id": completion["id"], "model": completion["model"]}
    chunks: list[Json | str] = [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    return sse(*chunks, {**head, "choices": [], "usage": completion["usage"]}, "[DONE]")


def whole_message(documents: list[Any]) -> Json:
    """The message of a stream's events, as clients put it together."""
    assert documents[-1] == {"type": "message_stop"}
    kinds = [document["type"].removeprefix("content_block_") for document in documents]
    blocks = "".join({"start": "(", "delta": ".", "stop": ")"}.get(kind, "|") for kind in kinds)
    assert re.fullmatch(r"\|(\(\.*\))*\|\|", blocks), f"expected a block to end before the next begins: {blocks}"
    message: Json = documents[0]["message"]
    arguments = ""
    for kind, document in zip(kinds, documents, strict=True):
        if kind == "start":
            message["content"].append(document["content_block"])
            arguments = ""
        elif kind == "delta" and "text" in document["delta"]:
            message["content"][-1]["text"] += document["delta"]["text"]
        elif kind == "delta":
            arguments += document["delta"]["partial_json"]
        elif kind == "stop" and message["content"][-1]["type"] == "tool_use":
            message["content"][-1]["input"] = json.loads(arguments or "{}")
    return {**message, **documents[-2]["delta"], "usage": message["usage"] | documents[-2]["usage"]}


def stream_of_message(message: Json, size: int) -> bytes:
    """The events of a message, whose texts come in pieces."""
    documents: list[Json] = [{"type": "message_start", "message": message | {"content": [], "stop_reason": None}}]
    for index, block in enumerate(message["content"]):
        is_text = block["type"] == "text"
        begin: Json = {**block, "text": ""} if is_text else {**block, "input": {}}
        documents.append({"type": "content_block_start", "index": index, "content_block": begin})
        whole = block["text"] if is_text else json.dumps(block["input"]) if block["input"] else ""
        name, kind = ("text", "text_delta") if is_text else ("partial_json", "input_json_delta")
        deltas: list[Json] = [{"type": kind, name: piece} for piece in pieces(whole, size)]
        documents += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        documents.append({"type": "content_block_stop", "index": index})
    documents.append({"type": "message_delta", "delta": {"stop_reason": message["stop_reason"]}, "usage": {}})
    return sse(*documents, {"type": "message_stop"})


def whole_completion(documents: list[Any]) -> Json:
    """The completion of a stream's chunks, as clients put it together."""
    assert documents[-1] == "[DONE]"
    *chunks, last = documents[:-1]
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    calls: list[Json] = []
    reason = None
    for chunk in chunks:
        (choice,) = chunk["choices"]
        assert reason is None
        reason = choice["finish_reason"]
        message["content"] = (message["content"] or "") + choice["delta"].get("content", "")
        for call in choice["delta"].get("tool_calls", []):
            if (index := call.pop("index")) == len(calls):
                calls.append(call)
            else:
                calls[index]["function"]["arguments"] += call["function"]["arguments"]
    message["content"] = message["content"] or None
    message |= {"tool_calls": calls} if calls else {}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    head = {name: last[name] for name in ("id", "created", "model")}
    return head | {"object": "chat.completion", "choices": [choice], "usage": last["usage"]}


NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
VALUES = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=9), max_size=3
)
REASONS = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


@st.composite
def completions(draw: Any) -> Json:
    calls = [
        {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(values)}}
        for at, (name, values) in enumerate(draw(st.lists(st.tuples(NAMES, VALUES), max_size=3)))
    ]
    texts = st.text(min_size=1, max_size=40)
    content = draw(st.none() | texts) if calls else draw(texts)
    message = {"role": "assistant", "content": content, "refusal": None} | ({"tool_calls": calls} if calls else {})
    cached, fresh, output = (draw(st.integers(0, 1000)) for _ in range(3))
    usage = {
        "prompt_tokens": fresh + cached,
        "completion_tokens": output,
        "total_tokens": fresh + cached + output,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": min(3, output)},
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": draw(REASONS)}
    head = {"id": "c-1", "object": "chat.completion", "created": 7, "model": "m"}
    return {**head, "choices": [choice], "usage": usage}


@given(completion=completions(), size=st.integers(1, 9))
def test_a_stream_of_chunks_becomes_the_message_that_the_whole_answer_becomes(completion: Json, size: int) -> None:
    translated = translate("chat", stream_of_completion(completion, size))
    assert whole_message(events(translated)) == llm.translate_answer(completion, "chat", "messages")


@given(completion=completions(), size=st.integers(1, 9))
def test_a_stream_of_a_message_becomes_the_completion_that_the_whole_answer_becomes(
    completion: Json, size: int
) -> None:
    message = llm.translate_answer(completion, "chat", "messages")
    translated = translate("messages", stream_of_message(message, size), wants_usage=True, created=7)
    assert whole_completion(events(translated)) == llm.translate_answer(message, "messages", "chat", created=7)


@given(completion=completions())
def test_an_answer_keeps_its_meaning_there_and_back(completion: Json) -> None:
    message = llm.translate_answer(completion, "chat", "messages")
    assert llm.translate_answer(message, "messages", "chat", created=7) == completion


# ------------------------------------------------------------------ single events


def chunk(reason: str | None = None, **delta: Any) -> Json:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def types(stream: bytes) -> list[str]:
    return [document["type"] for document in events(stream)]


def test_usage_is_the_clients_only_if_it_has_asked() -> None:
    stream = ANSWERS["messages-stream"]["body"].encode()
    without = [document for document in events(translate("messages", stream)) if document != "[DONE]"]
    assert all("usage" not in document and document["choices"] for document in without)
    *chunks, last, done = events(translate("messages", stream, wants_usage=True))
    assert ([document["usage"] for document in chunks], done) == ([None] * len(chunks), "[DONE]")
    assert (last["choices"], last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == ([], 135, 15)


def test_pings_keep_the_connection_of_a_chat_open() -> None:
    assert translate("messages", sse({"type": "ping"})) == b": ping\n\n"


@pytest.mark.parametrize("done", [(), ("[DONE]",)])
def test_a_stream_that_ends_without_its_mark_has_an_end(done: Sequence[str]) -> None:
    stream = sse(chunk(content="Hi"), chunk("stop"), *done)
    assert types(translate("chat", stream))[-2:] == ["message_delta", "message_stop"]
    assert types(translate("chat", stream.rstrip(b"\n")))[-2:] == ["message_delta", "message_stop"]


def test_a_stream_that_is_cut_off_has_no_end() -> None:
    assert types(translate("chat", sse(chunk(content="Hi"))))[-1] == "content_block_delta"
    assert types(translate("chat", sse(chunk(refusal="No"))))[-1] == "content_block_delta"
    assert translate("chat", b"") == b""


def test_a_refusal_ends_with_its_reason() -> None:
    *_, delta, _ = events(translate("chat", sse(chunk(refusal="No"), chunk("stop"), "[DONE]")))
    assert delta["delta"]["stop_reason"] == "refusal"


@pytest.mark.parametrize("number", [{"index": 0}, {}])
def test_calls_that_all_have_the_same_number_or_none_differ_by_their_ids(number: Json) -> None:
    """Of Gemini's endpoint for clients of OpenAI."""
    calls = [
        {**number, "id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("a", "b")
    ]
    stream = sse(*(chunk(tool_calls=[call]) for call in calls), chunk("tool_calls"), "[DONE]")
    uses = whole_message(events(translate("chat", stream)))["content"]
    assert [use["name"] for use in uses] == ["a", "b"]


def test_calls_that_come_at_once_end_the_message_with_an_error() -> None:
    def piece(number: int, **more: Any) -> Json:
        return chunk(tool_calls=[{"index": number, "function": {"name": "f", "arguments": "{"}, **more}])

    documents = events(translate("chat", sse(piece(0, id="a"), piece(1, id="b"), piece(0), piece(1), "[DONE]")))
    assert documents[-1]["error"]["message"].startswith("the provider sends the calls of several tools at once")
    assert [document["type"] for document in documents].count("content_block_start") == 2


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": {"message": "slow", "code": "rate_limit_exceeded"}}, "rate_limit_error"),
        ({"error": {"message": "slow", "type": "server_overloaded"}}, "overloaded_error"),
        ({"error": {"message": "slow", "type": "server_error"}}, "api_error"),
    ],
)
def test_an_error_in_a_stream_ends_the_message(error: Json, kind: str) -> None:
    *_, last = events(translate("chat", sse(chunk(content="Hi"), error, chunk("stop"), "[DONE]")))
    assert last == {"type": "error", "error": {"type": kind, "message": "slow"}}


def test_an_event_that_is_too_long_ends_the_answer_with_an_error() -> None:
    for shape in OTHER:
        translator = llm.StreamTranslator(shape, OTHER[shape], limit=100)  # type: ignore[arg-type]
        translated = translator.feed(b"data: " + b"x" * 200)
        assert b"the gateway cannot translate the answer: expected an event of at most 100 bytes" in translated
        assert translator.feed(b"data: {}\n\n") == b""
        assert translator.end() == b""


# ------------------------------------------------------------------ hostile input

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = (
    *("type", "message", "content_block", "delta", "index", "usage", "error", "stop_reason", "choices", "tool_calls"),
    *("function", "arguments", "name", "id", "text", "partial_json", "content", "finish_reason", "role", "image_url"),
    *(
        "messages",
        "system",
        "tools",
        "tool_choice",
        "input",
        "source",
        "tool_call_id",
        "tool_use_id",
        "response_format",
    ),
)
WORDS = (
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "tool_use"),
    *(
        "text",
        "text_delta",
        "input_json_delta",
        "function",
        "user",
        "assistant",
        "tool",
        "image",
        "tool_result",
        "base64",
    ),
)
HOSTILE = st.recursive(
    ANY | st.sampled_from(WORDS) | st.integers(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=6),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(st.sampled_from(MEMBERS), HOSTILE, max_size=6)


@settings(max_examples=25)
@given(documents=st.lists(DOCUMENTS, max_size=6), wants_usage=st.booleans())
def test_whatever_a_provider_streams_the_result_is_a_stream(documents: list[Json], wants_usage: bool) -> None:
    for shape in OTHER:
        translated = translate(shape, sse(*documents, "[DONE]"), wants_usage=wants_usage)
        assert all(document == "[DONE]" or isinstance(document, dict) for document in events(translated))


@given(stream=st.binary(max_size=200))
def test_any_bytes_are_read(stream: bytes) -> None:
    for shape in OTHER:
        events(translate(shape, stream))


@settings(max_examples=25)
@given(document=DOCUMENTS | HOSTILE)
def test_whatever_a_provider_answers_is_translated_or_refused(document: Any) -> None:
    for shape, to in OTHER.items():
        with contextlib.suppress(llm.TranslationError):
            json.dumps(llm.translate_answer(document, shape, to))  # type: ignore[arg-type]


@settings(max_examples=25)
@given(document=DOCUMENTS, messages=st.lists(DOCUMENTS, max_size=3))
def test_whatever_a_client_asks_is_translated_or_refused(document: Json, messages: list[Json]) -> None:
    def requests() -> Iterator[llm.LlmRequest | None]:
        body = json.dumps({**document, "model": "m", "messages": messages}).encode()
        for path in ("/v1/chat/completions", "/v1/messages"):
            yield llm.read_request("POST", path, body)

    for request in requests():
        assert request is not None
        with contextlib.suppress(llm.TranslationError):
            json.dumps(llm.translate_request(request, OTHER[request.shape], "m"))
