import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sdk import testing
from sdk.policy import ImmediateResponse, RequestContext, UpstreamRequestModifications

policy = testing.load_policy(__file__)
CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "required": ["item"], "properties": {"item": {"type": "string"}}}
GOOD, FENCED = '{"item": "tea"}', '```json\n{"item": "tea"}\n```'
DONE = b"data: [DONE]\n\n"


def params(**more: Any) -> dict[str, Any]:
    return testing.params(policy, **{"schema": SCHEMA, **more})


def request(document: Any = None, path: str = CHAT, **more: Any) -> RequestContext:
    chosen = {"model": "m", "messages": []} if document is None else document
    body = chosen if isinstance(chosen, bytes) else json.dumps(chosen).encode()
    return testing.request("POST", path, body=body, **more)


def chat(*texts: Any, **message: Any) -> bytes:
    choices = [{"index": n, "message": {"content": text, **message}} for n, text in enumerate(texts)]
    return json.dumps({"choices": choices}).encode()


def deltas(*pieces: str, end: bytes = DONE) -> bytes:
    documents = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    return b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents) + end


def run(answer: bytes, path: str = CHAT, question: Any = None, status: int = 200, **more: Any) -> Any:
    """What the client gets of an answer."""
    testing.reset_metrics(policy)
    return asyncio.run(answered(answer, question, status, params(**more), path=path))


async def answered(answer: bytes, question: Any, status: int, values: dict[str, Any], **more: Any) -> Any:
    async with testing.prepared(policy, values) as made:
        ctx = request(question, prepared=made, **more)
        policy.on_request(ctx, values)
        kind = "text/event-stream" if answer.startswith((b"data", b"event")) else "application/json"
        response = testing.response(status, headers={"content-type": kind}, request=ctx)
        chunks = testing.stream(answer, sizes=[5, 1, 40])
        result = await testing.collect_stream(policy.on_response_stream, chunks, ctx=response, params=values)
        assert policy.REQUEST not in ctx.metadata.get(policy.NOTE, {})
        return result


def reason_of(result: Any) -> Any:
    assert isinstance(result.rejected, ImmediateResponse)
    assert (result.rejected.status_code, result.body) == (502, b"")
    return json.loads(result.rejected.body or b"").get("reason")


ANSWERS: list[tuple[str, Any, Any]] = [
    (CHAT, {"model": "m", "messages": []}, {"choices": [{"message": {"content": "%s"}}]}),
    ("/v1/completions", {"prompt": "a"}, {"choices": [{"text": "%s"}]}),
    ("/v1/responses", {"model": "m", "input": "a"}, {"output": [{"content": [{"type": "output_text", "text": "%s"}]}]}),
    ("/v1/messages", {"model": "m", "messages": []}, {"content": [{"type": "text", "text": "%s"}]}),
    ("/v1/models/m:generateContent", {"contents": []}, {"candidates": [{"content": {"parts": [{"text": "%s"}]}}]}),
]


@pytest.mark.parametrize(("path", "question", "answer"), ANSWERS)
def test_whole_answers_of_each_shape_are_checked(path: str, question: Any, answer: Any) -> None:
    def with_text(text: str) -> bytes:
        return json.dumps(answer, separators=(",", ":")).replace('"%s"', json.dumps(text)).encode()

    assert run(with_text(GOOD), path, question).body == with_text(GOOD)
    assert reason_of(run(with_text("Hi"), path, question)) == "syntax"
    assert reason_of(run(with_text(FENCED), path, question)) == "syntax"
    assert run(with_text(FENCED), path, question, fences="remove").body == with_text(GOOD)
    assert run(with_text("Hi"), path, question, onInvalid="report").body == with_text("Hi")
    assert policy.ANSWERS.value(result="syntax") == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (chat('{"item": 1}'), "schema"),
        (chat("[]"), "schema"),
        (chat(GOOD, "{}"), "schema"),
        (chat('{"item": "a", "item": "b"}'), "syntax"),
        (chat('{"item": "\\ud800"}'), "syntax"),
        (chat('{"item": "a", "x": NaN}'), "syntax"),
        (chat('{"item": "a", "x": 1e999}'), "syntax"),
        (chat('{"item": "a", "x": %s}' % ("9" * 5000)), "syntax"),
        (chat(f'{{"item": "a", "x": {"[" * 70}1{"]" * 70}}}'), "syntax"),
        (chat("[" * 100_000), "syntax"),
        (chat(GOOD + " and more"), "syntax"),
        (chat(""), "empty"),
        (chat(None), "empty"),
        (chat(None, tool_calls=[]), "empty"),
        (chat(None, refusal="no"), "refusal"),
        (b"{}", "empty"),
        (b"[1, null]", "empty"),
        (b"", "no_answer"),
        (b"<html>", "no_answer"),
        (b"[" * 100_000, "no_answer"),
        (chat("x" * 2_000_000), None),
    ],
)
def test_other_answers_are_refused(answer: bytes, reason: str | None) -> None:
    assert reason_of(run(answer)) == reason


@pytest.mark.parametrize(
    "answer",
    [
        chat(None, tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]),
        b'{"content": [{"type": "tool_use", "input": {}}]}',
        b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}]}',
        chat(GOOD, reasoning_content="Let me think"),
    ],
)
def test_calls_of_tools_and_reasoning_are_no_mistakes(answer: bytes) -> None:
    assert run(answer).body == answer


@pytest.mark.parametrize("status", [201, 400, 429, 500])
def test_answers_with_other_statuses_pass(status: int) -> None:
    assert run(b"overloaded", status=status).body == b"overloaded"


@pytest.mark.parametrize("text", ["```\n{}\n```", " ```JSON \r\n{}\n```\n", "```json\n{}\n  ```"])
def test_a_fence_is_all_around_a_text(text: str) -> None:
    assert policy.without_fence(text).strip() == "{}"


@pytest.mark.parametrize("text", ["```json {}```", "a ```json\n{}\n```", "```json\n{}\n``` b", "```", "`" * 100_000])
def test_other_fences_stay(text: str) -> None:
    assert policy.without_fence(text) == text


# ------------------------------------------------------------------ streams


def test_a_valid_stream_passes_byte_for_byte() -> None:
    body = deltas('{"it', 'em": ', '"tea"}')
    assert run(body).body == body
    assert policy.ANSWERS.value(result="valid") == 1


@pytest.mark.parametrize(
    ("path", "question", "pieces", "last"),
    [
        (CHAT, {"messages": []}, deltas("Hi", end=b""), DONE),
        (CHAT, {"messages": []}, deltas(FENCED, end=b""), DONE),
        (CHAT, {"messages": []}, deltas('{"item": ', end=b""), b""),
        (
            "/v1/messages",
            {"model": "m", "messages": []},
            b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n',
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        ),
        (
            "/v1/responses",
            {"model": "m", "input": "a"},
            b'data: {"type":"response.output_text.delta","delta":"Hi"}\n\n',
            b'data: {"type":"response.completed","response":{}}\n\n',
        ),
        (
            "/v1/models/m:streamGenerateContent",
            {"contents": []},
            b'data: {"candidates":[{"content":{"parts":[{"text":"H"}]}}]}\n\n',
            b'data: {"candidates":[{"content":{"parts":[{"text":"i"}]},"finishReason":"STOP"}]}\n\n',
        ),
    ],
)
def test_an_invalid_stream_ends_with_an_error_event(path: str, question: Any, pieces: bytes, last: bytes) -> None:
    body = run(pieces + last, path, question).body
    assert body.startswith(pieces)
    reader = policy.llm.AnswerReader(policy.llm.shape_of_path(path).shape, "text/event-stream")
    reader.feed(body)
    assert reader.error is not None
    assert reader.error.message == policy.MESSAGE
    if last:
        assert last not in body
    assert run(pieces + last, path, question, onInvalid="report").body == pieces + last


def test_a_text_about_ends_does_not_hold_the_stream() -> None:
    assert policy.LAST.match('{"choices":[{"delta":{"content":"[DONE] \\"finishReason\\": \\"a"}}]}') is None


def test_an_error_of_the_provider_stays_the_last_word() -> None:
    body = deltas("{", end=b'data: {"error":{"message":"overloaded"}}\n\n')
    assert run(body).body == body


def test_a_long_stream_is_bounded() -> None:
    assert b"invalid_answer" in run(deltas(*["x" * 400] * 4), maxAnswerBytes=1024).body
    assert policy.ANSWERS.value(result="too_large") == 1


# ------------------------------------------------------------------ requests


@pytest.mark.parametrize(
    ("path", "document", "ask", "added"),
    [
        (CHAT, {"messages": []}, "json", {"response_format": {"type": "json_object"}}),
        (
            CHAT,
            {"messages": []},
            "schema",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}},
        ),
        (
            "/v1/responses",
            {"model": "m", "input": "a", "text": {"verbosity": "low"}},
            "schema",
            {"text": {"verbosity": "low", "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}}},
        ),
        (
            "/v1/models/m:generateContent",
            {"contents": [], "generationConfig": {"temperature": 0}},
            "schema",
            {
                "generationConfig": {
                    "temperature": 0, "responseMimeType": "application/json", "responseSchema": SCHEMA,
                }
            },
        ),
        (CHAT, {"messages": [], "response_format": {"type": "text"}}, "schema", None),
        ("/v1/responses", {"model": "m", "input": "a", "text": {"format": {"type": "text"}}}, "json", None),
        ("/v1/responses", {"model": "m", "input": "a", "text": 1}, "json", None),
        ("/v1/models/m:generateContent", {"contents": [], "generationConfig": {"responseSchema": {}}}, "json", None),
        ("/v1/models/m:generateContent", {"contents": [], "generationConfig": 1}, "json", None),
        ("/v1/messages", {"model": "m", "messages": []}, "schema", None),
        (CHAT, {"messages": []}, "nothing", None),
        (CHAT, b'{"messages":[],"messages":[]}', "json", None),
        ("/v1/embeddings", {"input": "a"}, "json", None),
        (CHAT, b"no JSON", "json", None),
    ],
)  # fmt: skip
def test_the_provider_is_asked_where_the_shape_has_a_member(path: str, document: Any, ask: str, added: Any) -> None:
    action = policy.on_request(request(document, path), params(ask=ask))
    if added is None:
        assert action is None
        return
    assert isinstance(action, UpstreamRequestModifications)
    assert json.loads(action.body or b"") == {**document, **added}


def test_streams_are_refused_by_choice() -> None:
    streamed = {"messages": [], "stream": True}
    action = policy.on_request(request(streamed), params(streams="refuse"))
    assert isinstance(action, ImmediateResponse)
    assert action.status_code == 400
    assert policy.on_request(request(), params(streams="refuse")) is None
    assert policy.on_request(request(streamed), params()) is None


def test_a_schema_with_a_mistake_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a valid JSON Schema"):
        policy.compile_schema({"type": "objekt"})


# ------------------------------------------------------------------ the second request


def ask_twice(first: bytes, second: Any, question: Any = None, path: str = CHAT, **more: Any) -> tuple[Any, list[Any]]:
    """What the client gets, and the second requests: (path and query, headers, document)."""
    testing.reset_metrics(policy)
    return asyncio.run(asked_twice(first, second, question, path, **more))


async def asked_twice(first: bytes, second: Any, question: Any, path: str, **more: Any) -> tuple[Any, list[Any]]:
    received: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        received.append((request.raw_path, request.headers, await request.json()))
        return web.Response(body=second) if isinstance(second, bytes) else await second()

    application = web.Application(client_max_size=1 << 24)
    application.router.add_post("/{rest:.*}", answer)
    async with TestServer(application) as server:
        settings = {"url": str(server.make_url("/")), **more.pop("retry", {})}
        headers = more.pop("headers", {})
        values = params(retry=settings, **more)
        result = await answered(first, question, 200, values, path=path, headers=headers)
    return result, received


@pytest.mark.parametrize(
    ("number", "added"),
    [
        (0, {"messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "%s"}]}),
        (1, {"prompt": "aHi\n\n%s\n\n"}),
        (
            2,
            {
                "input": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "Hi"},
                    {"role": "user", "content": "%s"},
                ]
            },
        ),
        (3, {"messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "%s"}]}),
        (4, {"contents": [{"role": "model", "parts": [{"text": "Hi"}]}, {"role": "user", "parts": [{"text": "%s"}]}]}),
    ],
)
def test_each_shape_is_asked_again_with_what_was_wrong(number: int, added: Any) -> None:
    path, question, answer = ANSWERS[number]
    wrong, valid = (json.dumps(answer).replace('"%s"', json.dumps(text)).encode() for text in ("Hi", GOOD))
    result, received = ask_twice(wrong, valid, question, path)
    assert result.body == valid
    reason = policy.explain("Hi", policy.compile_schema(SCHEMA))
    text = f"Your last answer is not the JSON that is expected: {reason}. Answer again, with nothing but the JSON."
    expected = {**question, **json.loads(json.dumps(added).replace("%s", text))}
    assert [document for _, _, document in received] == [expected]
    assert (policy.ANSWERS.value(result="syntax"), policy.RETRIES.value(result="valid")) == (1, 1)


def test_the_note_with_credentials_has_a_name_that_recordings_redact() -> None:
    values = params(retry={"url": "http://127.0.0.1:8080"})
    ctx = request(headers={"x-goog-api-key": "key"}, path="/v1/chat/completions?key=b")
    policy.on_request(ctx, values)
    note = ctx.metadata[policy.NOTE]
    assert note.keys() == {"shape", policy.REQUEST}
    assert policy.REQUEST.startswith("credential")
    assert note[policy.REQUEST]["headers"] == {"x-goog-api-key": "key"}
    policy.on_request(ctx, params())
    assert ctx.metadata[policy.NOTE] == {"shape": "chat"}


def test_the_second_request_is_the_first_with_its_credentials_and_a_mark() -> None:
    headers = {"authorization": "Bearer key", "cookie": "a=b", "accept-encoding": "gzip"}
    result, [(path, received, _)] = ask_twice(chat("Hi"), chat(GOOD), path=CHAT + "?a=%2F", headers=headers)
    assert result.body == chat(GOOD)
    assert path == CHAT + "?a=%2F"
    assert (received["authorization"], received["json-answer-retry"]) == ("Bearer key", "1")
    assert received["host"] == request().authority
    assert "cookie" not in received


@pytest.mark.parametrize("second", [chat("Hi again"), chat('{"item": 1}'), chat(None)])
def test_a_second_wrong_answer_is_refused(second: bytes) -> None:
    result, received = ask_twice(chat("Hi"), second)
    assert reason_of(result) in ("syntax", "schema", "empty")
    assert len(received) == 1
    assert policy.RETRIES.value(result="invalid") == 1


def test_a_wrong_answer_passes_where_it_is_only_reported() -> None:
    result, _ = ask_twice(chat("Hi"), chat("Hi again"), onInvalid="report")
    assert result.body == chat("Hi again")


async def status_429() -> web.Response:
    return web.Response(status=429)


async def redirect() -> web.Response:
    raise web.HTTPTemporaryRedirect("/elsewhere")


async def too_much() -> web.Response:
    return web.Response(body=b"x" * 2048)


async def no_json() -> web.Response:
    return web.Response(body=b"<html>")


async def closed() -> web.Response:
    raise ConnectionResetError


@pytest.mark.parametrize("second", [status_429, redirect, too_much, no_json, closed])
def test_without_a_second_answer_the_first_is_refused(second: Callable[[], Awaitable[web.Response]]) -> None:
    result, received = ask_twice(chat("Hi"), second, maxAnswerBytes=1024)
    assert reason_of(result) == "syntax"
    assert len(received) == 1
    assert policy.RETRIES.value(result="failed") == 1


def test_a_gateway_that_does_not_listen_is_no_answer() -> None:
    with socket.socket() as closed_port:
        closed_port.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed_port.getsockname()[1]}"
        result, received = ask_twice(chat("Hi"), b"", retry={"url": url})
    assert (reason_of(result), received) == ("syntax", [])


def test_a_second_answer_has_its_time() -> None:
    async def never() -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    result, received = ask_twice(chat("Hi"), never, retry={"timeoutMilliseconds": 200})
    assert reason_of(result) == "syntax"
    assert len(received) == 1


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (chat(None, refusal="no"), {}),
        (b"<html>", {}),
        (chat("x" * 2000), {"maxAnswerBytes": 1024}),
        (chat("Hi"), {"headers": {"json-answer-retry": "1"}}),
        (chat("Hi"), {"retry": {"maxRequestBytes": 20}}),
        (chat("Hi"), {"question": b'{"messages":[],"messages":[]}'}),
        (chat("Hi"), {"question": json.dumps({"messages": []}).encode("utf-16")}),
        (chat("Hi"), {"question": {"prompt": [1, 2]}, "path": "/v1/completions"}),
    ],
)
def test_others_are_not_asked_again(first: bytes, more: Any) -> None:
    result, received = ask_twice(first, chat(GOOD), **more)
    assert result.rejected.status_code == 502
    assert received == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"item": 1}', 'at /item, 1 is not of type "string"'),
        ("[]", "at the top, "),
        ("{", "it cannot be parsed, "),
        ("[" * 100_000, "it cannot be parsed, "),
        (f'"{"x" * 100_000}"', "at the top, "),
    ],
)
def test_the_model_is_told_in_a_few_words(text: str, part: str) -> None:
    explanation = policy.explain(text, policy.compile_schema(SCHEMA))
    assert explanation.startswith(part)
    assert len(explanation) <= 400
