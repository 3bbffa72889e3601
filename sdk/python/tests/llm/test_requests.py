"""Which requests are for a model, and what they ask."""

import json
from typing import Any

import pytest
from gatewright.llm import LlmRequest, PromptText, Shape, is_usage_chunk, read_request, with_stream_usage
from hypothesis import given
from hypothesis import strategies as st

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
PATH = "/v1/chat/completions"


def request_of(path: str, document: Any) -> LlmRequest:
    request = read_request("POST", path, json.dumps(document).encode())
    assert request is not None
    return request


@pytest.mark.parametrize(
    ("path", "document", "shape", "model", "streams", "max_output"),
    [
        (PATH, CHAT, "chat", "gpt-4o", False, None),
        ("/chat/completions/", CHAT | {"stream": True, "max_tokens": 5}, "chat", "gpt-4o", True, 5),
        (
            "/a/b/openai/v1/chat/completions?x=1",
            CHAT | {"max_completion_tokens": 7, "n": 3},
            "chat",
            "gpt-4o",
            False,
            21,
        ),
        (
            "/openai/deployments/my-4o/chat/completions?api-version=1",
            {"messages": []},
            "chat",
            "my-4o",
            False,
            None,
        ),
        (
            "/v1/completions",
            {"model": "m", "prompt": ["a", "b"], "max_tokens": 4, "n": 2},
            "completions",
            "m",
            False,
            16,
        ),
        ("/v1/completions", {"model": "m", "prompt": [1, 2, 3], "max_tokens": 4}, "completions", "m", False, 4),
        ("/v1/responses", {"model": "m", "input": "Hi", "max_output_tokens": 9}, "responses", "m", False, 9),
        ("/v1/messages", CHAT | {"max_tokens": 1024, "stream": True}, "messages", "gpt-4o", True, 1024),
        (
            "/v1beta/models/gemini-2.5-pro:generateContent?key=k",
            {"contents": []},
            "gemini",
            "gemini-2.5-pro",
            False,
            None,
        ),
        (
            "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro%3AstreamGenerateContent?alt=sse",
            {"contents": [], "generationConfig": {"maxOutputTokens": 8, "candidateCount": 2}},
            "gemini",
            "gemini-2.5-pro",
            True,
            16,
        ),
        ("/v1beta/models/e:embedContent", {"content": {"parts": []}}, "gemini", "e", False, 0),
        ("/v1/embeddings", {"model": "e", "input": ["a"]}, "embeddings", "e", False, 0),
    ],
)
def test_a_request_to_a_model(
    path: str, document: Any, shape: Shape, model: str, streams: bool, max_output: int | None
) -> None:
    request = request_of(path, document)
    found = (request.shape, request.model, request.streams, request.max_output, request.is_ambiguous)
    assert found == (shape, model, streams, max_output, False)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", PATH, json.dumps(CHAT).encode()),
        ("POST", "/v1/models", b"{}"),
        ("POST", "/v1/messages/count_tokens", json.dumps(CHAT).encode()),
        ("POST", "/chatcompletions", json.dumps(CHAT).encode()),
        ("POST", "/messages", b'{"messages": [], "to": "bob"}'),
        ("POST", PATH, b""),
        ("POST", PATH, b"[]"),
        ("POST", PATH, b'{"messages": "Hi"}'),
        ("POST", PATH, b'{"messages": []'),
        ("POST", PATH, b"\xff"),
        ("POST", PATH, b'{"messages": ' + b"[" * 100_000),
        ("POST", "/models/m:generateContent/x", b'{"contents": []}'),
        ("POST", "", b"{}"),
    ],
)
def test_what_is_no_request_to_a_model(method: str, path: str, body: bytes) -> None:
    assert read_request(method, path, body) is None


def test_a_name_that_comes_twice_makes_a_request_ambiguous() -> None:
    request = read_request("POST", PATH, b'{"model": "dear", "messages": [], "model": "cheap"}')
    assert request is not None
    assert (request.model, request.is_ambiguous) == ("cheap", True)


@pytest.mark.parametrize("limit", [None, -1, True, "5", 1.5, [], 10**30])
def test_a_limit_that_is_no_count_is_none(limit: Any) -> None:
    assert request_of(PATH, CHAT | {"max_tokens": limit, "n": limit}).max_output is None


# ------------------------------------------------------------------ prompts

PROMPTS: list[tuple[str, Any, list[tuple[str, str]]]] = [
    (
        PATH,
        {"messages": [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "name": "ada", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "A cat."},
        ]},
        [("system", "Be kind."), ("user", "What is this?"), ("assistant", '{"at": "it"}'), ("tool", "A cat.")],
    ),
    ("/v1/completions", {"prompt": ["one"], "suffix": "end"}, [("user", "one"), ("user", "end")]),
    ("/v1/completions", {"prompt": [[1, 2], [3]]}, []),
    (
        "/v1/responses",
        {"model": "m", "instructions": "Be brief.", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "done"},
        ], "prompt": {"id": "p", "variables": {"name": "Ada"}}},
        [("system", "Be brief."), ("user", "Ada"), ("user", "Hi"), ("assistant", "{}"), ("tool", "done")],
    ),
    (
        "/v1/messages",
        {"model": "m", "system": [{"type": "text", "text": "Be kind."}], "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"name": "Ada"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "42"}]},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A file."}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ]},
        ]},
        [("system", "Be kind."), ("assistant", "Ada"), ("tool", "42"), ("user", "A file.")],
    ),
    (
        "/v1beta/models/m:generateContent",
        {"systemInstruction": {"parts": [{"text": "Be kind."}]}, "contents": [
            {"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"type": "x"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "42"}}}]},
        ]},
        [("system", "Be kind."), ("user", "Hi"), ("assistant", "x"), ("tool", "42")],
    ),
    (
        "/v1beta/models/m:batchEmbedContents",
        {"requests": [{"model": "m", "content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}}]},
        [("user", "a"), ("user", "b")],
    ),
    ("/v1/embeddings", {"input": "one"}, [("user", "one")]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "document", "texts"), PROMPTS)
def test_the_texts_of_a_prompt(path: str, document: Any, texts: list[tuple[str, str]]) -> None:
    found = list(request_of(path, document).texts())
    assert [(text.role, text.text) for text in found] == texts
    for text in found:
        value = document
        for step in text.place:
            value = value[step]
        assert value == text.text


@pytest.mark.parametrize(
    ("path", "document", "names"),
    [
        (
            PATH,
            {"messages": [], "tools": [{"type": "function", "function": {"name": "a"}}], "functions": [{"name": "b"}]},
            ("a", "b"),
        ),
        (
            "/v1/messages",
            {"model": "m", "messages": [], "tools": [{"name": "a", "input_schema": {}}, {"name": "a"}]},
            ("a",),
        ),
        (
            "/v1/responses",
            {"model": "m", "input": "", "tools": [{"type": "function", "name": "a"}, {"type": "web_search"}]},
            ("a", "web_search"),
        ),
        (
            "/models/m:generateContent",
            {"contents": [], "tools": [{"functionDeclarations": [{"name": "a"}]}, {"googleSearch": {}}]},
            ("a", "googleSearch"),
        ),
        (PATH, {"messages": [], "tools": [1, {"function": {"name": 2}}, {}, "x"]}, ()),
    ],
)
def test_the_names_of_tools(path: str, document: Any, names: tuple[str, ...]) -> None:
    assert request_of(path, document).tools() == names


NAMES = st.sampled_from(
    [
        *("role", "content", "parts", "text", "type", "input", "source", "image_url", "tool_calls", "function", "data"),
        *("messages", "contents", "requests", "prompt", "instructions", "tools", "name", "system", "max_tokens", "n"),
        *("generationConfig", "maxOutputTokens", "candidateCount", "stream", "stream_options", "model", "file_data"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)
PATHS = st.sampled_from([path for path, _, _ in PROMPTS])


@given(PATHS, st.dictionaries(NAMES, VALUES, max_size=8))
def test_any_document_is_read_without_failing(path: str, document: Any) -> None:
    request = read_request("POST", path, json.dumps(document).encode())
    if request is not None:
        assert all(isinstance(text, PromptText) for text in request.texts())
        assert all(isinstance(name, str) for name in request.tools())
        assert request.estimated_input() > 0
        with_stream_usage(request)


def test_a_prompt_that_is_nested_deeply_is_read() -> None:
    content: Any = "Hi"
    for _ in range(400):
        content = [content]
    assert [text.text for text in request_of(PATH, {"messages": [{"content": content}]}).texts()] == ["Hi"]


# ------------------------------------------------------------------ estimates


@pytest.mark.parametrize(
    ("path", "document", "tokens"),
    [
        ("/v1/embeddings", {"input": [1, 2, 3]}, 1 + 2 + 3),
        ("/v1/embeddings", {"input": "abcdef"}, 1 + 2 + 2),
        ("/v1/embeddings", {"input": "日本"}, 1 + 2 + 3),
        ("/v1/embeddings", {"input": "A-1🤖"}, 1 + 2 + 5),
        ("/v1/embeddings", {"input": [{"image_url": "data:image/png;base64," + "A" * 90_000}]}, 1 + 2 + 1 + 4 + 1600),
        ("/v1/embeddings", {"input": [{"file": {"file_data": "A" * 80_000}}]}, 1 + 2 + 1 + 2 + 10_000),
        ("/v1/embeddings", {"input": [{"file": {"file_id": "f"}}]}, 1 + 2 + 1 + 2 + 1600),
    ],
)
def test_how_a_prompt_is_estimated(path: str, document: Any, tokens: int) -> None:
    assert request_of(path, document).estimated_input() == tokens


# ------------------------------------------------------------------ asking for usage


@pytest.mark.parametrize(
    ("body", "asks"),
    [
        (
            b'{"stream": true, "messages": []}',
            b'{"stream_options":{"include_usage":true},"stream": true, "messages": []}',
        ),
        (
            b' {\n"messages": [],"stream":true,"x":1e400}',
            b' {"stream_options":{"include_usage":true},\n"messages": [],"stream":true,"x":1e400}',
        ),
        (
            b'{"stream": true, "messages": [], "stream_options": {"include_obfuscation": false}}',
            b'{"stream":true,"messages":[],"stream_options":{"include_obfuscation":false,"include_usage":true}}',
        ),
        (
            b'{"stream": true, "messages": ["\\ud800"], "stream_options": {"include_usage": false}}',
            b'{"stream":true,"messages":["\\ud800"],"stream_options":{"include_usage":true}}',
        ),
        (b'{"stream": true, "messages": [], "stream_options": {"include_usage": true}}', None),
        (b'{"messages": []}', None),
        (b'{"messages": [], "stream": "true"}', None),
    ],
)
def test_usage_is_asked_for_and_nothing_else_is_changed(body: bytes, asks: bytes | None) -> None:
    request = read_request("POST", PATH, body)
    assert request is not None
    assert with_stream_usage(request) == asks
    if asks is not None:
        asked = read_request("POST", PATH, asks)
        assert asked is not None
        assert asked.asks_for_usage
        assert with_stream_usage(asked) is None


def test_usage_is_asked_for_in_other_encodings_of_json() -> None:
    request = read_request("POST", PATH, json.dumps(CHAT | {"stream": True}).encode("utf-16"))
    assert request is not None
    asked = with_stream_usage(request)
    assert asked is not None
    assert json.loads(asked) == CHAT | {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/models/m:streamGenerateContent"])
def test_other_shapes_need_no_asking(path: str) -> None:
    document = {"model": "m", "stream": True, "messages": [], "input": "Hi", "contents": []}
    assert with_stream_usage(request_of(path, document)) is None


@pytest.mark.parametrize(
    ("document", "is_chunk"),
    [
        ({"choices": [], "usage": {"prompt_tokens": 1}}, True),
        ({"choices": [], "usage": None, "prompt_filter_results": []}, False),  # Azure's first chunk
        ({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 1}}, False),  # Mistral's last chunk
        ({"usage": {"prompt_tokens": 1}}, False),
        ([], False),
        (None, False),
    ],
)
def test_the_chunk_that_a_client_has_not_asked_for(document: Any, is_chunk: bool) -> None:
    assert is_usage_chunk(document) is is_chunk
