import asyncio
import encodings
import json
import time
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sdk import testing
from sdk.masking import MaskedText
from sdk.policy import PolicyMetadata
from sdk.streams import SseEvent, SseParser

policy = testing.load_policy(__file__)
ALL = ["creditCard", "iban", "email", "phone", "usSsn", "ipv4", "ipv6", "germanTaxId"]
TOKEN = {"name": "token", "regex": r"\bsk-[a-z0-9]{8,20}\b"}
DEFAULTS: dict[str, Any] = {
    "directions": ["request", "response"],
    "detect": ALL,
    "patterns": [TOKEN],
    "replacement": {"with": "text", "text": "***"},
    "replacements": {},
    "include": [""],
    "exclude": [],
    "headers": [],
    "query": False,
    "otherTypes": "refuse",
    "maxBytes": 1 << 20,
}
CARD = "4111 1111 1111 1111"
PII = [
    CARD, "5500005555555559", "3782 822463 10005", "6011-1111-1111-1117", "DE89 3704 0044 0532 0130 00",
    "GB82WEST12345698765432", "no9386011117947", "ada@example.org", "a.b+c@mail.example.co.uk", "+41 44 668 18 00",
    "+1 (415) 555-2671", "123-45-6789", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "86095742719", "sk-abcdefgh1",
]  # fmt: skip
NOT = [
    "4111 1111 1111 1112", "12345678901234567890123", "1700000000000", "3.14159265358979",
    "DE89 3704 0044 0532 0130 02", "XX89370400440532013000", "a @ b.org", "+1 2", "000-45-6789", "123-45 6789",
    "987-65-4321", "1.2.3.4.5", "256.0.0.1", "::", "std::vector", "12:30:45", "12345678901", "xsk-abcdefgh1",
    "sk-short",
]  # fmt: skip


def masking_of(params: dict[str, Any], direction: str = "response") -> Any:
    with testing.prepared(policy, testing.params(params)) as prepared:
        return getattr(prepared, direction)


MASKING = masking_of(DEFAULTS)


def run(
    body: Any, content_type: str | None = None, sizes: Any = (), direction: str = "response", **changed: Any
) -> Any:
    params = testing.params({**DEFAULTS, **changed})
    with testing.prepared(policy, params) as prepared:
        sent = {} if content_type is None else {"content-type": content_type}
        request = testing.request("POST", headers=sent, prepared=prepared, timeout=60)
        ctx = request if direction == "request" else testing.response(headers=sent, request=request)
        hook = getattr(policy, f"on_{direction}_stream")
        return testing.run_stream(hook, testing.stream(body, sizes=sizes), ctx=ctx, params=params)


def mask(body: Any, content_type: str | None = "text/plain", sizes: Any = (), **changed: Any) -> str:
    result = run(body, content_type, sizes, **changed)
    assert result.rejected is None
    text: str = result.body.decode("utf-8", "surrogateescape")
    return text


# ------------------------------------------------------------------ what is found


@pytest.mark.parametrize("value", PII)
@pytest.mark.parametrize(
    "around", ["{}", "({})", "is {}.", "x {}, y", "a\n{}\nb", '"{}"', "<b>{}</b>", "{} {}", "{};{}"]
)
def test_values_that_are_masked(value: str, around: str) -> None:
    assert MASKING.mask(around.format(value, value)) == around.format("***", "***")


@pytest.mark.parametrize("value", NOT)
def test_values_that_are_not_masked(value: str) -> None:
    assert MASKING.mask(value) == value


def test_a_number_before_or_after_a_card_does_not_hide_it() -> None:
    assert MASKING.mask(f"1234 {CARD}") == "1234 ***"
    assert MASKING.mask(f"{CARD} 123") == "*** 123"
    assert MASKING.mask(f"{CARD} {CARD}") == "*** ***"
    assert MASKING.mask("DE89 3704 0044 0532 0130 00 AND MORE") == "*** AND MORE"


def test_only_the_chosen_kinds_are_masked() -> None:
    assert mask(f"{CARD} ada@example.org", detect=["email"], patterns=[]) == f"{CARD} ***"


# ------------------------------------------------------------------ wherever it is cut


PIECES = st.lists(
    st.sampled_from([*PII, *NOT, " ", "-", ".", "1", "4", "a", "@", ":", "+", "DE", "0", "é", "\udc80"]), max_size=12
)
TEXTS = PIECES.map("".join) | PIECES.map(" ".join) | st.text("412.@-+: DEsk\n", max_size=60)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, chance=st.randoms(use_true_random=False))
@example(text=" ".join(PII), chance=Random(1))  # noqa: S311 — no secret
def test_the_boundaries_of_pieces_do_not_affect_the_result(text: str, chance: Random) -> None:
    whole = MASKING.mask(text)
    for _ in range(5):
        stream = MaskedText(MASKING)
        out, at = "", 0
        while at < len(text):
            size = chance.randint(1, 9)
            out += stream.feed(text[at : at + size])
            at += size
        assert out + stream.end() == whole


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=st.sampled_from(PII), before=st.text("ab 1.", max_size=20), cut=st.integers(0, 60))
def test_no_value_passes_in_pieces(value: str, before: str, cut: int) -> None:
    text = f"{before} {value} and so on"
    assert value not in mask(text.encode(), sizes=[max(1, cut), 1, 1, 7])


@pytest.mark.parametrize("endless", ["4", "1", "a", "4 ", "a.", "1.", "f:", "+4", "sk-a", "DE89 ", f"{CARD} ", "a@"])
def test_an_endless_match_needs_bounded_memory_and_time(endless: str) -> None:
    stream = MaskedText(MASKING)
    piece = endless * (256 // len(endless))
    began = time.process_time()
    for _ in range(128):
        stream.feed(piece)
        assert len(stream._pending) <= MASKING.longest
        assert len(stream._seen) <= MASKING.longest
    assert time.process_time() - began < 20


def test_text_is_passed_on_as_it_comes() -> None:
    result = run(["Pay to ", "DE89 3704 ", "0044 0532 ", "0130 00 ", "now. ", "Thanks"], "text/plain")
    assert b"".join(result.chunks[:1]) == b"Pay to "
    assert result.body == b"Pay to *** now. Thanks"


def test_a_pattern_with_large_counts_holds_its_width_back() -> None:
    long = {"name": "long", "regex": "[a-z]{1,600}@"}
    result = run(["1" * 600, "2" * 600, "@"], "text/plain", patterns=[long], detect=[])
    assert b"".join(result.chunks[:2]) == b"1" * 598
    assert result.body == b"1" * 600 + b"2" * 600 + b"@"


# ------------------------------------------------------------------ bodies


def test_strings_in_json_are_masked() -> None:
    body = {"n": 4111111111111111, "to": ["ada@example.org", {"card": f"it is {CARD}"}], "é": "\ud83d"}
    for sizes in (1, 7, 1000):
        result = json.loads(mask(json.dumps(body).encode(), "application/json; charset=utf-8", sizes))
        assert result == {"n": 4111111111111111, "to": ["***", {"card": "it is ***"}], "é": "\ud83d"}


def test_json_without_a_match_stays_unchanged() -> None:
    body = b' {"a" : 1.10, "b": "\xc3\xa9 \\u0041"}\r\n'
    assert run(body, "application/json", 3).body == body


def test_values_with_escapes_and_in_duplicate_members_are_masked() -> None:
    assert mask(b'"ada\\u0040example.org"', "application/json") == '"***"'
    assert mask(b'{"a": "ada@example.org", "a": 1}', "application/json") == '{"a":1}'
    assert run('{"a": "ada@example.org"}'.encode("utf-16"), "application/json").body == '{"a":"***"}'.encode("utf-16")


def test_places_in_json() -> None:
    mail = "ada@example.org"
    body = json.dumps({"users": [{"mail": mail, "note": mail}], "a/b": mail, "from": mail}).encode()
    kept = json.loads(mask(body, "application/json", exclude=["/users/*/mail", "/a~1b"]))
    assert kept == {"users": [{"mail": mail, "note": "***"}], "a/b": mail, "from": "***"}
    only = json.loads(mask(body, "application/json", include=["/users"], exclude=["/users/0/note"]))
    assert only == {"users": [{"mail": "***", "note": mail}], "a/b": mail, "from": mail}


def test_json_lines_are_passed_on_line_by_line() -> None:
    result = run(b'{"a": "ada@example.org"}\n\n{"b": 1.0}\n{"c": "10.0.0.1"}', "application/x-ndjson", 5)
    assert result.body == b'{"a":"***"}\n\n{"b": 1.0}\n{"c":"***"}\n'
    assert len(result.chunks) == 4


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a": ', "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 100_000, "application/problem+json"),
        (b'"' + b"a" * (1 << 20) + b'"', "application/json"),
        (b"a=" + b"b" * (1 << 20), "application/x-www-form-urlencoded"),
        (b"a" * ((1 << 20) + 1), "text/event-stream"),
        (b"a" * ((1 << 20) + 1), "application/x-ndjson"),
        (b"not json\n", "application/x-ndjson"),
        (b"abc", "text/plain; charset=utf-16"),
        (b"abc", "text/plain; charset=klingon"),
        (b"abc", "text/plain; charset=base64"),
    ],
)
def test_an_invalid_body_is_refused(body: bytes, content_type: str) -> None:
    for direction, status in (("request", 400), ("response", 502)):
        result = run(body, content_type, 4096, direction)
        assert (result.body, result.rejected and result.rejected.status_code) == (b"", status)


def test_two_content_types_are_refused() -> None:
    with testing.prepared(policy, testing.params(DEFAULTS)) as prepared:
        ctx = testing.request("POST", headers={"content-type": ["image/png", "text/plain"]}, prepared=prepared)
        result = testing.run_stream(policy.on_request_stream, testing.stream(b"x"), ctx=ctx, params=DEFAULTS)
    assert result.rejected is not None
    assert result.rejected.status_code == 400


def test_text_in_any_encoding() -> None:
    assert run(b"\xff\xff ada@example.org", "text/plain", 3).body == b"\xff\xff ***"
    assert run("é ada@example.org".encode("latin-1"), "text/html; charset=ISO-8859-1", 3).body == b"\xe9 ***"
    assert run("é ada@example.org".encode("utf-16"), 'text/csv;charset="UTF-16"', 3).body.decode("utf-16") == "é ***"
    assert mask(b"<to>ada@example.org</to>", "application/soap+xml") == "<to>***</to>"
    assert mask(b"ada@example.org", None) == "***"


TYPES = ["text/plain", "application/json", "application/xml", "text/event-stream", "application/x-ndjson",
         "application/x-www-form-urlencoded", ""]  # fmt: skip
MAIL = '"ada@example.org"'


@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (f"data: {MAIL}\n\n".encode(), "idna"),
        (MAIL.encode(), "undefined"),
        (MAIL.encode(), "punycode"),
        (MAIL.encode(), "utf-7"),
        (MAIL.encode(), "utf-16-le"),
        (MAIL.encode(), "\udcff"),
        (MAIL.encode(), "utf-8; charset=iso-8859-1"),
        (MAIL.encode(), "x" * 50_000),
        (MAIL.encode("utf-16-le"), ""),
        (MAIL.encode("utf-16-be"), "utf-8"),
        (MAIL.encode("utf-32"), ""),
        (MAIL.encode(), "utf-16"),
    ],
)
def test_a_charset_cannot_hide_values(media_type: str, body: bytes, charset: str) -> None:
    content_type = f"{media_type}; charset={charset}" if charset else media_type or None
    for direction, status in (("request", 400), ("response", 502)):
        for sizes in ((), 1):
            result = run(body, content_type, sizes, direction)
            assert (result.body, result.rejected and result.rejected.status_code) == (b"", status)
            assert len(result.rejected.body) < 400


@pytest.mark.parametrize(
    "declared", ["utf-7", "klingon", "cp037", "utf-16", "utf-16le", "UTF-8' encoding='", "x" * 50_000]
)
def test_an_xml_declaration_cannot_hide_values(declared: str) -> None:
    xml = f"<?xml version='1.0' encoding='{declared}'?><a>ada@example.org</a>".encode()
    for content_type in ("application/xml", "text/xml", "application/soap+xml"):
        result = run(xml, content_type, 7)
        assert (result.body, result.rejected.status_code) == (b"", 502)


@pytest.mark.parametrize("sizes", [(), 1, 3])
def test_a_byte_order_mark_takes_precedence_over_the_charset(sizes: Any) -> None:
    for content_type in ("text/plain", "text/plain; charset=utf-8", "application/json", "application/xml"):
        for codec in ("utf-16", "utf-8-sig"):
            result = run(MAIL.encode(codec), content_type, sizes)
            assert (result.rejected, result.body.decode(codec)) == (None, '"***"')
        assert run(b"\xfe\xff" + MAIL.encode("utf-16-be"), content_type, sizes).body.decode("utf-16") == '"***"'
    for content_type in ("text/event-stream", "application/x-ndjson", "application/x-www-form-urlencoded"):
        assert run(MAIL.encode("utf-16"), content_type, sizes).rejected.status_code == 502


def test_json_keeps_its_charset() -> None:
    body = '{"name": "José", "mail": "ada@example.org"}'.encode("latin-1")
    assert run(body, "application/json; charset=iso-8859-1").body == b'{"name":"Jos\\u00e9","mail":"***"}'
    assert run(body, "application/x-ndjson; charset=latin1", 2).body == b'{"name":"Jos\\u00e9","mail":"***"}\n'
    assert run(body, "application/json").rejected.status_code == 502
    xml = '<?xml version="1.0" encoding="windows-1252"?><a>€ ada@example.org</a>'
    assert run(xml.encode("cp1252"), "text/xml", 5).body.decode("cp1252") == xml.replace("ada@example.org", "***")


def test_an_empty_body_passes_with_any_charset() -> None:
    for content_type in ("text/plain; charset=klingon", "text/plain; charset=utf-16", "image/png", "application/json"):
        result = run(b"", content_type)
        assert (result.body, result.rejected) == (b"", None)


def test_text_with_half_of_a_surrogate_pair_is_masked() -> None:
    body = rb'{"a": "\ud83d ada@example.org", "\ud83d": "ada@example.org"}'
    assert mask(body, "application/json") == r'{"a":"\ud83d ***","\ud83d":"***"}'
    assert mask(body + b"\n", "application/x-ndjson") == r'{"a":"\ud83d ***","\ud83d":"***"}' + "\n"


def test_events_that_begin_with_a_comment_are_passed_on_at_once() -> None:
    result = run(b":\n\ndata: ada@example.org\n\n", "text/event-stream", [3, 100])
    assert result.chunks[0] == b":\n\n"
    assert "".join(event.data or "" for event in SseParser().feed(result.body)) == "***"


def test_unknown_names_of_charsets_are_not_cached() -> None:
    chance = Random(28)  # noqa: S311 — no secret
    names = [f"x-{chance.getrandbits(64):x}" for _ in range(200)]
    run(b"a", "text/plain; charset=iso-8859-1")
    before = len(encodings._cache)
    with testing.prepared(policy, testing.params(DEFAULTS)) as prepared:
        for name in names:
            for content_type, body in (
                (f"text/plain; charset={name}", b"a"),
                ("text/xml", f"<?xml version='1.0' encoding='{name}'?><a/>".encode()),
            ):
                ctx = testing.request("POST", headers={"content-type": content_type}, prepared=prepared)
                result = testing.run_stream(policy.on_request_stream, testing.stream(body), ctx=ctx, params=DEFAULTS)
                assert result.rejected
                assert result.rejected.status_code == 400
    assert len(encodings._cache) == before


def test_forms() -> None:
    form = b"a=1%201&mail=ada%40example.org&card=4111+1111+1111+1111&flag"
    assert mask(form, "application/x-www-form-urlencoded", 4) == "a=1%201&mail=%2A%2A%2A&card=%2A%2A%2A&flag"


def test_a_form_of_many_fields_takes_little_time() -> None:
    form = "&".join(f"a{at}=ada%40example.org" for at in range(30_000))
    began = time.process_time()
    result = mask(form, "application/x-www-form-urlencoded")
    assert result == "&".join(f"a{at}=%2A%2A%2A" for at in range(30_000))
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/octet-stream", "application/grpc", "multipart/form-data"]
)
def test_other_content_types_are_refused_unless_they_may_pass(content_type: str) -> None:
    body = b"\x00ada@example.org"
    for direction, status in (("request", 415), ("response", 502)):
        result = run(body, content_type, 2, direction)
        assert (result.body, result.rejected.status_code) == (b"", status)
        assert run(body, content_type, 2, direction, otherTypes="pass").body == body


def test_a_direction_that_is_not_masked() -> None:
    assert (
        run(b"ada@example.org", "text/plain", direction="request", directions=["response"]).body == b"ada@example.org"
    )
    assert mask(b"ada@example.org", directions=["response"]) == "***"


# ------------------------------------------------------------------ events


def chat(parts: list[str]) -> list[Any]:
    events = [{"choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]} for part in parts]
    return [*events, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]


def calls(parts: list[str]) -> list[Any]:
    return [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 1, "function": {"arguments": part}}]}}]}
        for part in parts
    ] + [{"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}]


def message(parts: list[str]) -> list[Any]:
    events = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}} for part in parts
    ]
    return [*events, {"type": "content_block_stop", "index": 0}]


def response(parts: list[str]) -> list[Any]:
    kind = "response.output_text"
    events = [{"type": f"{kind}.delta", "item_id": "m", "content_index": 0, "delta": part} for part in parts]
    return [*events, {"type": f"{kind}.done", "item_id": "m", "content_index": 0, "text": "".join(parts)}]


def candidate(parts: list[str]) -> list[Any]:
    return [{"candidates": [{"index": 0, "content": {"parts": [{"text": part}]}}]} for part in parts]


def text_of(document: Any) -> str:
    """Returns the document's part of the text."""
    found = ""
    for choice in document.get("choices", []):
        found += choice["delta"].get("content", "")
        found += "".join(call["function"]["arguments"] for call in choice["delta"].get("tool_calls", []))
    for candidate in document.get("candidates", []):
        found += "".join(part["text"] for part in candidate["content"]["parts"])
    delta = document.get("delta", "")
    return found + (delta if isinstance(delta, str) else delta.get("text", ""))


def documents(body: bytes) -> list[Any]:
    data = [event.data for event in SseParser().feed(body)]
    return [json.loads(event) for event in data if event not in (None, "[DONE]")]


@pytest.mark.parametrize("make_events", [chat, calls, message, response, candidate])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, chance=st.randoms(use_true_random=False))
@example(text=" ".join(PII), chance=Random(1))  # noqa: S311 — no secret
def test_the_boundaries_of_tokens_do_not_affect_the_result(make_events: Any, text: str, chance: Random) -> None:
    text = text.replace("\udc80", "\U0001f600")

    async def run(prepared: Any) -> None:
        for _ in range(5):
            cuts = sorted(chance.choices(range(len(text) + 1), k=chance.randint(0, 12)))
            parts = [text[at:to] for at, to in zip([0, *cuts], [*cuts, len(text)], strict=True)]
            events = [SseEvent(json.dumps(document)) for document in make_events(parts)] + [SseEvent("[DONE]")]
            sent = b"".join(event.encode() for event in events)
            chunks = testing.stream(sent, sizes=[chance.randint(1, 300) for _ in range(3)])
            request = testing.request(prepared=prepared, timeout=60)
            ctx = testing.response(headers={"content-type": "text/event-stream"}, request=request)
            result = await testing.collect_stream(policy.on_response_stream, chunks, ctx=ctx, params=DEFAULTS)
            came = documents(result.body)
            assert "".join(map(text_of, came)) == MASKING.mask(text)
            assert came[-1].get("text", "") in ("", MASKING.mask(text))

    with testing.prepared(policy, testing.params(DEFAULTS)) as prepared:
        asyncio.run(run(prepared))


def test_each_event_is_passed_on_with_the_chunk_that_ends_it() -> None:
    parts = ["My ", "card ", "is 41", "11 1111 ", CARD[10:], " ok?"]
    events = [SseEvent(json.dumps(document)).encode() for document in chat(parts)]
    result = run(events, "text/event-stream", patterns=[], detect=["creditCard"])
    assert [text_of(document) for document in documents(result.body)] == ["My ", "card ", "is ", "", "", "*** ok?", ""]
    assert result.chunks[:2] == events[:2], "what is not touched goes on as it came"
    assert len(result.chunks) == len(events)


def test_data_that_is_no_json_is_one_text() -> None:
    events = (
        b"data: mail ada@ex\n\ndata: ample.org now\n\n: keep\n\ndata: 4111 1111\n\ndata:  1111 1111\n\ndata: [DONE]\n\n"
    )
    found = [event.data for event in SseParser().feed(run(events, "text/event-stream", 3).body)]
    assert "".join(text for text in found if text is not None) == "mail *** now***[DONE]"


def test_other_strings_of_an_event_are_masked_too() -> None:
    event = b'event: tool\nid: 7\ndata: {"user": "ada@example.org"}\n\n'
    assert run(event, "text/event-stream").body == b'event: tool\ndata: {"user":"***"}\nid: 7\n\n'


def test_the_number_of_texts_that_are_followed_is_limited() -> None:
    events = [
        SseEvent(json.dumps({"choices": [{"index": at, "delta": {"content": f"{at} ada@"}}]})).encode()
        for at in range(500)
    ]
    came = documents(run(events, "text/event-stream", patterns=[]).body)
    assert len(came) == 1000, "of each text two parts"
    assert [text_of(event) for event in came[64:70]] == ["64 ", "ada@", "65 ", "ada@", "66 ", "ada@"]


# ------------------------------------------------------------------ what stands in its place


def test_replacements() -> None:
    last = {"with": "keepLast", "keep": 4}
    assert mask(CARD, replacement=last) == "**** **** **** 1111"
    assert mask("10.0.0.1", replacement=last) == "**.*.0.1"
    assert mask(f"{CARD} ada@example.org", replacements={"email": {"with": "text", "text": ""}}) == "*** "
    key = testing.secret("k" * 16)
    hashes = [
        mask(value, replacement={"with": "hash"}, hashKey=key)
        for value in (CARD, "4111111111111111", "5500005555555559", "Ada@example.org", "ada@example.org")
    ]
    assert (hashes[0], hashes[3]) == (hashes[1], hashes[4])
    assert len(set(hashes)) == 3
    assert hashes[0].startswith("creditCard:")
    assert len(hashes[0]) == len("creditCard:") + 16
    assert mask(CARD, replacement={"with": "hash"}, hashKey=testing.secret("another" * 3)) != hashes[0]


def test_headers_and_query() -> None:
    params = testing.params({**DEFAULTS, "headers": ["X-User", "x-other"], "query": True})
    about = PolicyMetadata("pii-mask", "v1.0.0")
    with testing.prepared(policy, params, about) as prepared:
        request = testing.request(
            headers={"x-user": ["ada@example.org", "b"], "x-other": "c", "x-left": "ada@example.org"},
            query="a=1%201&mail=ada@example.org",
            prepared=prepared,
        )
        action = policy.on_request(request, params)
        assert action.set_headers == {"X-User": ["***", "b"]}
        assert action.query == "a=1%201&mail=%2A%2A%2A"
        assert (
            policy.on_request(testing.request(headers={"x-user": "b"}, query="a=b", prepared=prepared), params) is None
        )
        answer = policy.on_response(testing.response(headers={"x-user": "10.0.0.1"}, request=request), params)
        assert answer.set_headers == {"X-User": ["***"]}
        assert policy.on_response(testing.response(request=request), params) is None


def test_masked_values_are_counted_and_not_logged() -> None:
    testing.reset_metrics(policy)
    mask(f"{CARD} {CARD} sk-abcdefgh1", sizes=3)
    counted = testing.metric(policy, "pii_masked_total")
    assert counted.value(direction="response", detector="creditCard") == 2
    assert counted.value(direction="response", detector="token") == 1
    assert counted.value(direction="request", detector="creditCard") == 0


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"detect": [], "patterns": []}, "got nothing"),
        ({"patterns": [TOKEN, TOKEN]}, "got token again"),
        ({"patterns": [{"name": "email", "regex": "a"}], "detect": ["phone"]}, "got email again"),
        ({"replacements": {"other": {"with": "text"}}}, "got some for other"),
        ({"replacement": {"with": "hash"}}, "expected hashKey"),
        ({"replacement": {"with": "hash"}, "hashKey": testing.secret("k" * 15)}, "hashKey: expected 16 characters"),
        *(
            ({"patterns": [{"name": "mine", "regex": regex}]}, why)
            for regex, why in [
                ("(a+)+b", "write counts"),
                ("a{1,600}b{1,600}", "write counts"),
                (r"\w{1,1000}", "too large"),
                ("a{0,3}", "empty text"),
                ("^abc", "anchor"),
                ("abc$", "anchor"),
                (r"(?:x|\Aabc)", "anchor"),
                ("(?=a)b", "invalid perl operator"),
                (r"(a)\1", "invalid escape"),
                ("(", "unterminated"),
                ("[[:alpha:]]", "nested set"),
            ]
        ),
    ],
)
def test_invalid_parameters_are_refused(changed: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        masking_of({**DEFAULTS, **changed})


def test_a_pattern_of_a_publisher_takes_linear_time() -> None:
    """An engine that backtracks takes 2^30 steps for each place of the text."""
    nested = {"name": "nested", "regex": "(?:a{1,2}){1,30}b"}
    began = time.process_time()
    assert mask("a" * 50_000, detect=[], patterns=[nested], sizes=1000) == "a" * 50_000
    assert time.process_time() - began < 20
