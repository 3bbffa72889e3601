import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing
from sdk.streams import SseEvent, SseParser

policy = testing.load_policy(__file__)
TOKEN = re.compile(r"\[[a-zA-Z0-9]+:[a-z2-7]{16}\]")
WITH_TOKENS = {
    "directions": ["request"],
    "replacement": {"with": "token"},
    "patterns": [{"name": "name", "regex": 'Zoë|Ada|"q"|a\\\\b'}],
}
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)
Answer = Callable[[bytes], bytes]


class Exchange:
    """Requests and the answer of one exchange, through the policy."""

    def __init__(self, **changed: Any) -> None:
        self.params = testing.params(policy, **{**WITH_TOKENS, **changed})
        self.metadata: dict[str, Any] = {}

    def _request(self, prepared: Any, body_type: str = "application/json", **parts: Any) -> Any:
        headers = {"content-type": body_type, **parts.pop("headers", {})}
        return testing.request("POST", headers=headers, metadata=self.metadata, prepared=prepared, timeout=60, **parts)

    def sends_headers(self, **parts: Any) -> Any:
        with testing.prepared(policy, self.params) as prepared:
            request = self._request(prepared, **parts)
            action = policy.on_request(request, self.params)
            self.metadata = request.metadata.to_dict()
            return action

    def sends(self, body: Any, body_type: str = "application/json", sizes: Any = ()) -> bytes:
        async def run(ctx: Any, chunks: Any) -> bytes:
            return b"".join([bytes(chunk) async for chunk in policy.on_request_stream(ctx, chunks, self.params)])

        with testing.prepared(policy, self.params) as prepared:
            chunks = testing.stream(body, sizes=sizes)
            ctx = testing.streaming(self._request(prepared, body_type), chunks)
            sent = asyncio.run(run(ctx, chunks))
            self.metadata = ctx.metadata.to_dict()
            return sent

    def answers(self, body: bytes | list[bytes], body_type: str = "application/json", sizes: Any = ()) -> Any:
        with testing.prepared(policy, self.params) as prepared:
            response = testing.response(headers={"content-type": body_type}, request=self._request(prepared))
            stream = testing.stream(body, sizes=sizes)
            return testing.run_stream(policy.on_response_stream, stream, ctx=response, params=self.params)

    def token_of(self, value: str) -> str:
        (token,) = [token for token, known in self.metadata["secret_pii_mask"].items() if known == value]
        assert TOKEN.fullmatch(token)
        return str(token)


def chat(text: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}]}).encode()


def deltas(pieces: list[str]) -> bytes:
    documents = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    events = [SseEvent(json.dumps(document)).encode() for document in documents]
    return b"".join([*events, SseEvent("[DONE]").encode()])


def text_of(events: bytes) -> str:
    parser = SseParser()
    found = [event.data for event in [*parser.feed(events), *parser.end()] if event.data not in (None, "[DONE]")]
    return "".join(json.loads(data)["choices"][0]["delta"]["content"] for data in found)


def cut(text: str, sizes: list[int]) -> list[str]:
    pieces: list[str] = []
    at = 0
    while at < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[at : at + size])
        at += size
    return pieces


TEXT = "Write to ada@example.org and Zoë, not to ada@example.org [x] [email:aaaaaaaaaaaaaaaa] [[name:]"


def test_the_model_sees_one_token_for_each_value() -> None:
    exchange = Exchange()
    content = json.loads(exchange.sends(chat(TEXT), sizes=3))["messages"][0]["content"]
    email, name = exchange.token_of("ada@example.org"), exchange.token_of("Zoë")
    assert content == TEXT.replace("ada@example.org", email).replace("Zoë", name)
    assert (email[:7], name[:6]) == ("[email:", "[name:")
    other = Exchange()
    other.sends(chat(TEXT))
    assert other.token_of("Zoë") != name


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, tokens=SIZES)
def test_values_come_back_wherever_the_answer_is_cut(sizes: list[int], tokens: list[int]) -> None:
    exchange = Exchange()
    seen = json.loads(exchange.sends(chat(TEXT), sizes=sizes))["messages"][0]["content"]
    whole = exchange.answers(json.dumps({"answer": seen}).encode(), sizes=sizes)
    assert json.loads(whole.body) == {"answer": TEXT}
    streamed = exchange.answers(deltas(cut(seen, tokens)), "text/event-stream", sizes)
    assert text_of(streamed.body) == TEXT
    for body_type in ("text/plain; charset=utf-8", "application/octet-stream", "application/x-ndjson", ""):
        assert exchange.answers(seen.encode(), body_type, sizes).body == TEXT.encode()


@pytest.mark.parametrize("at", range(1, 24))
def test_a_token_of_two_events_is_restored_wherever_it_is_cut(at: int) -> None:
    exchange = Exchange()
    exchange.sends(chat("Ada ada@example.org"))
    text = f"<{exchange.token_of('ada@example.org')}>"
    assert len(text) > at
    assert text_of(exchange.answers(deltas([text[:at], text[at:]]), "text/event-stream").body) == "<ada@example.org>"


def test_text_goes_on_at_once_and_no_more_is_held_back_than_a_token() -> None:
    exchange = Exchange()
    exchange.sends(chat("Ada"))
    pieces = [b"no token [at all]", b" [name:abc", b"d efgh", b"[" * 200, b"[" + b"a" * 32 + b":" + b"a" * 16, b"b"]
    passed = exchange.answers(pieces, "text/plain").chunks
    assert passed[:3] == [b"no token [at all]", b" ", b"[name:abcd efgh"]
    assert b"".join(passed) == b"".join(pieces)
    held, sent = 0, 0
    for piece, chunk in zip(pieces, passed, strict=False):
        sent += len(piece) - len(chunk)
        held = max(held, sent)
    assert held <= 51


def test_a_token_that_the_model_has_invented_stays_as_it_is() -> None:
    exchange = Exchange()
    exchange.sends(chat("Ada"))
    other = Exchange()
    other.sends(chat("Zoë"))
    text = f"[name:aaaaaaaaaaaaaaaa] {other.token_of('Zoë')} {exchange.token_of('Ada').upper()}"
    assert exchange.answers(chat(text)).body == chat(text)
    assert text_of(exchange.answers(deltas(cut(text, [3])), "text/event-stream").body) == text


def test_values_of_headers_query_and_body_share_their_tokens() -> None:
    exchange = Exchange(headers=["x-user"], query=True)
    action = exchange.sends_headers(headers={"x-user": "ada@example.org"}, query="a=1&to=ada%40example.org")
    token = exchange.token_of("ada@example.org")
    assert action.set_headers == {"x-user": [token]}
    assert TOKEN.findall(testing.request(query=action.query).query_params["to"]) == [token]
    assert token.encode() in exchange.sends(chat("ada@example.org and Ada"))
    assert len(exchange.metadata["secret_pii_mask"]) == 2


def test_headers_of_the_answer_are_restored_too() -> None:
    exchange = Exchange(headers=["x-user"])
    token = exchange.sends_headers(headers={"x-user": "ada@example.org"}).set_headers["x-user"][0]
    with testing.prepared(policy, exchange.params) as prepared:
        request = exchange._request(prepared)
        action = policy.on_response(testing.response(headers={"x-user": token}, request=request), exchange.params)
    assert action.set_headers == {"x-user": ["ada@example.org"]}


def test_a_value_that_a_string_of_json_needs_an_escape_for_gets_no_token() -> None:
    exchange = Exchange()
    assert json.loads(exchange.sends(chat('"q" a\\b Ada')))["messages"][0]["content"] == (
        f"[masked] [masked] {exchange.token_of('Ada')}"
    )
    arguments = json.dumps({"to": exchange.token_of("Ada")})
    call = {"choices": [{"message": {"tool_calls": [{"function": {"arguments": arguments}}]}}]}
    restored = json.loads(exchange.answers(json.dumps(call).encode()).body)
    assert json.loads(restored["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]) == {"to": "Ada"}


def test_an_exchange_has_a_thousand_tokens_at_most() -> None:
    exchange = Exchange(patterns=[])
    emails = [f"a{number}@example.org" for number in range(1100)]
    sent = exchange.sends(" ".join(emails), "text/plain").decode()
    assert len(exchange.metadata["secret_pii_mask"]) == len(TOKEN.findall(sent)) == 1000
    assert sent.endswith("[masked] " * 99 + "[masked]")
    assert exchange.answers(sent.encode(), "text/plain").body.startswith(" ".join(emails[:1000]).encode())


def test_a_value_that_the_answers_charset_lacks_keeps_its_token() -> None:
    exchange = Exchange(patterns=[{"name": "name", "regex": "Zoë|Łukasz"}])
    seen = exchange.sends("Zoë Łukasz", "text/plain; charset=utf-8").decode()
    answer = exchange.answers(seen.encode(), "text/plain; charset=iso-8859-1").body
    assert answer == b"Zo\xeb " + exchange.token_of("Łukasz").encode()
    assert exchange.answers(seen.encode(), "text/plain; charset=ebcdic").body == seen.encode()
    assert exchange.answers(seen.encode("utf-16"), "text/plain; charset=utf-16").body == seen.encode("utf-16")


def test_answers_pass_unchanged_where_the_request_had_no_value() -> None:
    exchange = Exchange()
    assert exchange.sends(chat("nothing")) == chat("nothing")
    assert exchange.metadata == {}
    body = [b"{not json", b"\xff ada@example.org"]
    assert exchange.answers(body).chunks == body


def test_only_the_chosen_kinds_get_tokens() -> None:
    exchange = Exchange(replacement={"with": "text", "text": "***"}, replacements={"email": {"with": "token"}})
    assert exchange.sends("Ada ada@example.org", "text/plain") == f"*** {exchange.token_of('ada@example.org')}".encode()


def test_an_event_that_is_too_large_to_be_searched_is_refused() -> None:
    exchange = Exchange(maxBytes=1024)
    exchange.sends(chat("Ada"))
    result = exchange.answers(b"data: " + b"x" * 2000 + b"\n\n", "text/event-stream")
    assert result.rejected.status_code == 502


def test_tokens_need_an_answer_that_is_not_masked_itself() -> None:
    params = testing.params(policy, replacement={"with": "token"})
    message = r"expected directions: \[request\].*got request, response"
    with pytest.raises(ValueError, match=message), testing.prepared(policy, params):
        pass
