"""Translation between OpenAI's chat completions and Anthropic's messages: what is carried over, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from gatewright import llm
from gatewright.llm import Shape
from hypothesis import given
from hypothesis import strategies as st

Json = dict[str, Any]
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
HI: list[Json] = [{"role": "user", "content": "Hi"}]
SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}}


def translate(shape: Shape, document: Json, **options: Any) -> Json:
    """The translation of a request. The model is there called `other`."""
    to: Shape = "messages" if shape == "chat" else "chat"
    body = json.dumps({"model": "m", **document}).encode()
    request = llm.read_request("POST", PATHS[shape], body)
    assert request is not None
    return llm.translate_request(request, to, "other", **options)


def to_messages(messages: list[Json] = HI, **members: Any) -> Json:
    return translate("chat", {"messages": messages, **members})


def to_chat(messages: list[Json] = HI, **members: Any) -> Json:
    return translate("messages", {"messages": messages, **members})


# ------------------------------------------------------------------ requests


def test_a_chat_becomes_messages() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO", "detail": "low"}}
    document = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image], "name": "Ada"},
            {"role": "assistant", "content": None, "tool_calls": [call, call | {"id": "c2"}]},
            {"role": "tool", "tool_call_id": "c1", "content": "12 °C"},
            {"role": "tool", "tool_call_id": "c2", "content": ""},
            {"role": "user", "content": "And?"},
        ],
        "max_completion_tokens": 9,
        "stop": "END",
        "temperature": 0.5,
        "top_p": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "u-1",
        "seed": 1,
        "n": 1,
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    use = {"type": "tool_use", "name": "weather", "input": {"city": "Bern"}}
    source = {"type": "base64", "media_type": "image/png", "data": "iVBO"}
    assert translate("chat", document) == {
        "model": "other",
        "max_tokens": 9,
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}],
            },
            {"role": "assistant", "content": [use | {"id": "c1"}, use | {"id": "c2"}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "12 °C"},
                    {"type": "tool_result", "tool_use_id": "c2"},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_p": 1,
        "stream": True,
        "metadata": {"user_id": "u-1"},
        "tools": [{"name": "weather", "input_schema": SCHEMA}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }


def test_messages_become_a_chat() -> None:
    document = {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://a.example/b"}}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Well?"},
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "12 °C"}]},
                ],
            },
        ],
        "max_tokens": 9,
        "stop_sequences": ["END"],
        "stream": True,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "u-1"},
        "tools": [{"name": "weather", "description": "The weather", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "weather"},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
    }
    function = {"name": "weather", "description": "The weather", "parameters": SCHEMA}
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    assert translate("messages", document, limit_name="max_tokens") == {
        "model": "other",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b"}}]},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "t1", "content": "12 °C"},
            {"role": "user", "content": "Well?"},
        ],
        "max_tokens": 9,
        "stop": ["END"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "u-1",
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    }


def test_a_message_has_a_limit_where_the_chat_has_none() -> None:
    assert to_messages()["max_tokens"] == 4096
    assert translate("chat", {"messages": HI, "max_tokens": None}, max_tokens=7)["max_tokens"] == 7
    assert translate("chat", {"messages": HI, "max_tokens": 3}, max_tokens=7)["max_tokens"] == 3


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"n": 2}, "n: Anthropic's messages have nothing like it"),
        ({"logprobs": True}, "logprobs: "),
        ({"logit_bias": {"1": 2}}, "logit_bias: "),
        ({"presence_penalty": 0.5}, "presence_penalty: "),
        ({"modalities": ["text", "audio"]}, "modalities: "),
        ({"functions": []}, "functions: "),
        ({"unheard_of": 0}, "unheard_of: "),
        ({"temperature": 1.5}, "temperature: expected a number from 0 to 1, .* got 1.5"),
        ({"top_p": "1"}, "top_p: expected a number"),
        ({"max_tokens": 0}, "max_tokens: expected a number of tokens from 1 on, got 0"),
        ({"stop": [1]}, "stop: expected a string or an array of strings"),
        ({"tools": [{"type": "custom", "custom": {}}]}, r"tools\[0\].type: expected function"),
        ({"tools": {}}, "tools: expected an array of objects"),
        ({"tool_choice": "some"}, "tool_choice: expected auto, none, required or a function"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type: expected function"),
        ({"response_format": {"type": "json_object"}}, "response_format: expected text, or json_schema"),
        ({"messages": [{"role": "function"}]}, r"messages\[0\].role: expected"),
        ({"messages": ["Hi"]}, "messages: expected an array of objects"),
        ({"messages": [{"role": "tool", "content": "x"}]}, r"messages\[0\].tool_call_id: expected a string, got None"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            r"messages\[0\].content\[0\].type: expected text or image_url, got 'input_audio'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}]},
            r"messages\[0\].content\[0\].image_url.url: expected a URL",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            r"messages\[0\].tool_calls\[0\].function.arguments: expected a JSON object, got '{'",
        ),
        (
            {"messages": [{"role": "assistant", "audio": {"id": "a"}}]},
            r"messages\[0\]: expected content and tool_calls",
        ),
    ],
)
def test_what_messages_do_not_have_is_refused(members: Json, problem: str) -> None:
    with pytest.raises(llm.TranslationError, match=problem):
        translate("chat", {"messages": HI, **members})


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"top_k": 5}, "top_k: OpenAI's chat completions have nothing like it"),
        ({"mcp_servers": [{}]}, "mcp_servers: "),
        ({"inference_geo": "eu"}, "inference_geo: "),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, r"tools\[0\].type: expected custom"),
        ({"tools": [{"name": "f"}]}, r"tools\[0\].input_schema: expected a JSON Schema"),
        ({"tool_choice": {"type": "some"}}, "tool_choice: expected one of the type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format: expected json_schema"),
        ({"system": [{"type": "image"}]}, r"system\[0\].type: expected text"),
        ({"messages": [{"role": "system", "content": "x"}]}, r"messages\[0\].role: expected user or assistant"),
        (
            {"messages": [{"role": "user", "content": [{"type": "document"}]}]},
            r"messages\[0\].content\[0\].type: expected text, image or tool_result, got 'document'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            r"messages\[0\].content\[0\].source.type: expected base64 or url",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
            r"messages\[0\].content\[0\].type: expected text, tool_use or thinking",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}],
                    }
                ]
            },
            r"messages\[0\].content\[0\].content\[0\].type: expected text, got 'image'",
        ),
    ],
)
def test_what_chats_do_not_have_is_refused(members: Json, problem: str) -> None:
    with pytest.raises(llm.TranslationError, match=problem):
        translate("messages", {"messages": HI, **members})


def test_only_chats_and_messages_have_translations() -> None:
    request = llm.read_request("POST", "/v1/embeddings", b'{"model": "m", "input": "x"}')
    assert request is not None
    with pytest.raises(llm.TranslationError, match="shape embeddings have no translation into messages"):
        llm.translate_request(request, "messages", "m")
    with pytest.raises(llm.TranslationError, match="answers of the shape gemini"):
        llm.StreamTranslator("gemini", "chat")
    assert not llm.can_translate("chat", "chat")


def test_paths_have_the_ending_of_the_other_format() -> None:
    assert llm.translate_path("/a/v1/chat/completions/", "messages") == "/a/v1/messages"
    assert llm.translate_path("/v1/messages", "chat") == "/v1/chat/completions"
    with pytest.raises(llm.TranslationError, match="got /v1/embeddings"):
        llm.translate_path("/v1/embeddings", "chat")


TEXT = st.text(min_size=1, max_size=20)
NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
VALUES = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=9), max_size=3
)
IMAGES = st.sampled_from(["https://a.example/1.png", "data:image/png;base64,iVBO", "data:image/webp;base64,UklG"])
IMAGE_PARTS = st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, IMAGES)
TEXT_PARTS = st.builds(lambda text: {"type": "text", "text": text}, TEXT)
CONTENTS = (
    TEXT | st.lists(IMAGE_PARTS, min_size=1, max_size=2) | st.lists(TEXT_PARTS | IMAGE_PARTS, min_size=2, max_size=4)
)


@st.composite
def chats(draw: Callable[..., Any]) -> Json:
    """Requests of chat completions in the form that the translation gives them."""
    messages: list[Json] = [{"role": "system", "content": draw(TEXT)}] if draw(st.booleans()) else []
    messages.append({"role": "user", "content": draw(CONTENTS)})
    for turn in range(draw(st.integers(0, 3))):
        calls = [
            {"id": f"call_{turn}_{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(values)}}
            for at, (name, values) in enumerate(draw(st.lists(st.tuples(NAME, VALUES), max_size=2)))
        ]
        content = draw(st.none() | TEXT) if calls else draw(TEXT)
        messages.append({"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {}))
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": draw(st.text(max_size=9))} for call in calls
        ]
        if not calls or draw(st.booleans()):
            messages.append({"role": "user", "content": draw(CONTENTS)})
    document: Json = {"model": "m", "messages": messages, "max_completion_tokens": draw(st.integers(1, 9999))}
    if draw(st.booleans()):
        names = draw(st.lists(NAME, min_size=1, max_size=2, unique=True))
        document["tools"] = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in names]
        named = {"type": "function", "function": {"name": names[0]}}
        document["tool_choice"] = draw(st.sampled_from(["auto", "required", "none", named]))
        if document["tool_choice"] != "none" and draw(st.booleans()):
            document["parallel_tool_calls"] = False
    settings: Json = {
        "stop": st.lists(TEXT, min_size=1, max_size=4),
        "temperature": st.floats(0, 1),
        "top_p": st.floats(0, 1),
        "user": TEXT,
    }
    document |= {name: draw(values) for name, values in settings.items() if draw(st.booleans())}
    return document | ({"stream": True, "stream_options": {"include_usage": True}} if draw(st.booleans()) else {})


@given(document=chats())
def test_a_chat_keeps_its_meaning_there_and_back(document: Json) -> None:
    assert translate("messages", translate("chat", document)) == document | {"model": "other"}


@given(document=chats())
def test_messages_keep_their_meaning_there_and_back(document: Json) -> None:
    messages = translate("chat", document)
    assert translate("chat", translate("messages", messages)) == messages


# ------------------------------------------------------------------ whole answers


def test_a_message_becomes_a_completion() -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "x"},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 7},
    }
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    answer = {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "reasoning_content": "Hm.",
        "tool_calls": [call],
    }
    assert llm.translate_answer(message, "messages", "chat", created=3) == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 3,
        "model": "claude",
        "choices": [{"index": 0, "message": answer, "logprobs": None, "finish_reason": "tool_calls"}],
        "usage": {
            "prompt_tokens": 15,
            "completion_tokens": 7,
            "total_tokens": 22,
            "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def test_a_completion_becomes_a_message() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    choice = {"index": 0, "message": {"content": "Hello", "tool_calls": [call]}, "finish_reason": "tool_calls"}
    completion = {"id": "c", "model": "gpt", "choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}
    message = llm.translate_answer(completion, "chat", "messages")
    assert message.pop("usage")["input_tokens"] == 4
    assert message == {
        "id": "c",
        "type": "message",
        "role": "assistant",
        "model": "gpt",
        "content": [{"type": "text", "text": "Hello"}, {"type": "tool_use", "id": "c1", "name": "f", "input": {}}],
        "stop_reason": "tool_use",
        "stop_sequence": None,
    }


def test_a_call_that_is_cut_off_is_left_out_and_an_invalid_one_refused() -> None:
    def answer(reason: str) -> Json:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a'}}
        choice = {"index": 0, "message": {"content": None, "tool_calls": [call]}, "finish_reason": reason}
        return llm.translate_answer({"choices": [choice]}, "chat", "messages")

    assert (answer("length")["content"], answer("length")["stop_reason"]) == ([], "max_tokens")
    with pytest.raises(llm.TranslationError, match="arguments: expected a JSON object"):
        answer("tool_calls")


def test_a_refusal_is_a_text_and_a_reason() -> None:
    choice = {"index": 0, "message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}
    message = llm.translate_answer({"choices": [choice]}, "chat", "messages")
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


@pytest.mark.parametrize(
    ("document", "status", "expected"),
    [
        ({"error": {"message": "slow", "type": "requests", "code": "rate_limit_exceeded"}}, 429, "rate_limit_error"),
        ({"error": {"message": "slow", "type": "tokens", "code": None}}, 404, "not_found_error"),
        ({"error": {"message": "slow", "type": "overloaded_error"}}, 500, "overloaded_error"),
        ({"error": {"message": "slow", "code": 503}}, 502, "overloaded_error"),
        ({"error": "slow"}, 500, "api_error"),
        ({"object": "error", "message": "slow", "type": "NotFoundError", "code": 404}, 404, "not_found_error"),
    ],
)
def test_errors_have_anthropics_types(document: Json, status: int, expected: str) -> None:
    error = {"type": expected, "message": "slow"}
    assert llm.translate_answer(document, "chat", "messages", status=status) == {"type": "error", "error": error}


def test_errors_of_anthropic_are_read_by_openais_clients() -> None:
    document = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}
    error = {"message": "Overloaded", "type": "overloaded_error", "param": None, "code": None}
    assert llm.translate_answer(document, "messages", "chat", status=529) == {"error": error}


@pytest.mark.parametrize("document", [None, [], "x", {}, {"choices": []}, {"content": "x"}, {"error": {}}])
def test_what_is_no_answer_is_refused(document: Any) -> None:
    for shape, to in (("chat", "messages"), ("messages", "chat")):
        with pytest.raises(llm.TranslationError, match="nor an error of theirs"):
            llm.translate_answer(document, shape, to)  # type: ignore[arg-type]
