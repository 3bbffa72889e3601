import json
from typing import Any

import pytest
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
    values = params(**more)
    testing.reset_metrics(policy)
    with testing.prepared(policy, values) as made:
        ctx = request(question, path, prepared=made)
        policy.on_request(ctx, values)
        kind = "text/event-stream" if answer.startswith((b"data", b"event")) else "application/json"
        response = testing.response(status, headers={"content-type": kind}, request=ctx)
        chunks = testing.stream(answer, sizes=[5, 1, 40])
        return testing.run_stream(policy.on_response_stream, chunks, ctx=response, params=values)


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
