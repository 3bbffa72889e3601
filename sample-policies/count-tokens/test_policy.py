import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing

policy = testing.load_policy(__file__)
PARAMS = testing.params(maxEventBytes=1 << 20)
ASKED = {
    "messages": [{"role": "user", "content": "Hello, 12345"}, {"content": [{"type": "text", "text": "you"}, {}]}, 7]
}
SIZES = st.lists(st.integers(1, 60), min_size=1)


def chunk(text: str | None, **more: Any) -> str:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}}]
    return f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'choices': choices, **more})}\n\n"


def counted(body: str, sizes: Any = (), content_type: str = "text/event-stream", asked: Any = ASKED) -> str:
    request = testing.request("POST", body=json.dumps(asked).encode())
    assert policy.on_request(request, PARAMS) is None
    ctx = testing.response(headers={"content-type": content_type}, request=request)
    stream = testing.stream(body, sizes=sizes)
    return testing.run_stream(policy.on_response_stream, stream, ctx=ctx, params=PARAMS).body.decode()


@settings(deadline=None)
@given(sizes=SIZES)
def test_the_usage_comes_before_the_end_and_all_else_as_it_came(sizes: list[int]) -> None:
    before, done = chunk("Good") + ": a comment\n\n" + chunk(" bye") + chunk("!"), "data: [DONE]\n\n"
    result = counted(before + done, sizes)
    assert result.startswith(before)
    assert result.endswith(done)
    added = json.loads(result.removeprefix(before).removesuffix(done).removeprefix("data: "))
    usage = {"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9}
    assert added == {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage}


@pytest.mark.parametrize(
    "body",
    [
        chunk("Hi") + chunk(None, usage={"prompt_tokens": 1}) + "data: [DONE]\n\n",
        chunk("Hi"),
        "data: [DONE]\n\n",
        'event: message_stop\ndata: {"type": "message_stop"}\n\n',
        "data: not JSON\n\ndata: [1]\n\ndata",
    ],
)
def test_what_has_its_usage_or_is_no_whole_completion_passes(body: str) -> None:
    assert counted(body) == body


def test_what_is_no_event_stream_passes() -> None:
    assert counted(chunk("Hi") + "data: [DONE]\n\n", 5, "application/json").count("usage") == 0


@pytest.mark.parametrize("asked", [7, {}, {"messages": 7}, {"messages": [{"content": [7]}]}])
def test_a_request_of_another_form_counts_nothing(asked: Any) -> None:
    assert '"prompt_tokens":0' in counted(chunk("Hi") + "data: [DONE]\n\n", asked=asked)


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("Hello world", 2), ("1234", 2), ("a_b", 3), ("internationally", 2), ("x  \n y", 3), ("日本", 1)],
)
def test_what_a_token_is(text: str, count: int) -> None:
    assert policy.tokens(text) == count
