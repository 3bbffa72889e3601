"""Bodies in pieces: whatever the cuts, the result is that of the whole."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from typing import Any

import pytest
from gatewright import streams
from gatewright.streams import (
    GrpcMessage,
    GrpcParser,
    JsonLinesParser,
    LineParser,
    Replacer,
    SseEvent,
    SseParser,
    StreamError,
    TextDecoder,
)
from hypothesis import given
from hypothesis import strategies as st


def cut(whole: Any, cuts: list[int]) -> Iterator[Any]:
    """In pieces, some of which may be empty."""
    places = sorted(place % (len(whole) + 1) for place in cuts)
    for start, end in zip([0, *places], [*places, len(whole)], strict=True):
        yield whole[start:end]


def parsed(parser: Any, whole: Any, cuts: list[int]) -> list[Any]:
    items = [item for piece in cut(whole, cuts) for item in parser.feed(piece)]
    return [*items, *parser.end()]


CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


# ------------------------------------------------------------------ lines and text


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"long"])).map(b"".join), CUTS)
def test_lines_keep_their_ends(whole: bytes, cuts: list[int]) -> None:
    found = parsed(LineParser(), whole, cuts)
    assert b"".join(found) == whole
    assert found == [line for line in re.split(rb"(?<=\n)", whole) if line]


@given(st.binary() | st.text().map(str.encode), CUTS)
def test_text_is_that_of_the_whole(whole: bytes, cuts: list[int]) -> None:
    assert "".join(parsed(TextDecoder(), whole, cuts)) == whole.decode("utf-8", "replace")


@given(st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)), CUTS)
def test_json_lines(values: list[Any], cuts: list[int]) -> None:
    whole = b"\n".join(map(streams.json_line, values))
    assert parsed(JsonLinesParser(), whole, cuts) == values


@pytest.mark.parametrize(
    ("parser", "whole", "message"),
    [
        (JsonLinesParser(), b"1\n\n{]\n", r"expected JSON in line 3, got '\{\]\\n': Expecting property name"),
        (JsonLinesParser(), b"[" * 100_000, "expected JSON in line 1, got '.*: maximum recursion depth exceeded"),
        (LineParser(4), b"abcd\n", None),
        (LineParser(4), b"abcde", "expected a line of at most 4 bytes, got more; set a larger `limit` to accept it"),
        (SseParser(8), b"data: 1\n", None),
        (SseParser(8), b"data: 12\n", "expected an event of at most 8 bytes, got more"),
        (GrpcParser(4), b"\0\0\0\0\5", "expected a gRPC message of at most 4 bytes, got more"),
        (GrpcParser(), b"\2\0\0\0\0", "expected a gRPC message, its first byte 0 or 1, got 2"),
        (GrpcParser(), b"\0\0\0", "expected whole gRPC messages, got 3 bytes of one at the end"),
    ],
)
def test_what_is_refused(parser: Any, whole: bytes, message: str | None) -> None:
    if message is None:
        parsed(parser, whole, [])
        return
    with pytest.raises(StreamError, match=message):
        parsed(parser, whole, [3])


# ------------------------------------------------------------------ server-sent events

EVENTS = [
    (b"data: one\n\n", [SseEvent("one")]),
    (b"data: a\ndata:b\ndata\n\n", [SseEvent("a\nb\n")]),
    (b"data:  two spaces\n\n", [SseEvent(" two spaces")]),
    (b"data:\n\n", [SseEvent("")]),
    (b"\xef\xbb\xbfdata: after a BOM\n\n", [SseEvent("after a BOM")]),
    (b"event: add\r\ndata: 1\r\nid: 7\r\n\r\n", [SseEvent("1", "add", "7")]),
    (b"data: 1\r\rdata: 2\r\r", [SseEvent("1"), SseEvent("2")]),
    (b": keep alive\n\n", [SseEvent(comment="keep alive")]),
    (b"retry: 250\nid\n\n", [SseEvent(id="", retry=250)]),
    (b"retry: 2.5\nid: a\0b\nunknown: x\ndata: y\n\n", [SseEvent("y")]),
    (b"\n\n\r\n\rdata: after blank lines\n\n", [SseEvent("after blank lines")]),
    (b"data: one\n\ndata: cut", [SseEvent("one"), SseEvent("cut", is_whole=False)]),
    (b"data: ends with its line\n", [SseEvent("ends with its line", is_whole=False)]),
    (b"data: CR at the end\n\r", [SseEvent("CR at the end")]),
    ("data: ä€𝄞\n\n".encode(), [SseEvent("ä€𝄞")]),
    (b"", []),
]


def content(event: SseEvent) -> tuple[object, ...]:
    return event.data, event.event, event.id, event.retry, event.comment, event.is_whole


@pytest.mark.parametrize(("whole", "expected"), EVENTS)
def test_events(whole: bytes, expected: list[SseEvent]) -> None:
    assert [content(event) for event in parsed(SseParser(), whole, [])] == [content(event) for event in expected]


SSE_PARTS = [b"data: x", b"data", b":c", b"id: 1", b"event: e", b"\n", b"\r", b"\r\n", "ä".encode(), b"\xef\xbb\xbf"]


@given(st.lists(st.sampled_from(SSE_PARTS)).map(b"".join), CUTS)
def test_events_do_not_depend_on_the_cuts(whole: bytes, cuts: list[int]) -> None:
    found = parsed(SseParser(), whole, cuts)
    assert b"".join(event.raw for event in found) == whole
    assert found == parsed(SseParser(), whole, [])


BLOCKS = [block for block, _ in EVENTS] + [
    b"data: \n\n",
    b"data: a:b\n\n",
    b"data: \xff\xef\xbb\xbf\n\n",
    b"data: a\n\n\n\n",
    b"data: a\rb\n\n",
]


def test_pieces_of_whole_events_are_read_as_their_bytes_are() -> None:
    for blocks in product(BLOCKS, repeat=2):
        parser, whole = SseParser(), b"".join(blocks)
        found = [event for block in blocks for event in parser.feed(block)]
        assert [*found, *parser.end()] == parsed(SseParser(), whole, list(range(len(whole)))), blocks


def test_an_event_of_one_piece_has_the_limit_too() -> None:
    assert [event.data for event in SseParser(9).feed(b"data: 1\n\n")] == ["1"]
    with pytest.raises(StreamError, match="at most 8 bytes"):
        list(SseParser(8).feed(b"data: 1\n\n"))


LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@given(
    st.lists(st.builds(
        SseEvent, st.none() | st.lists(LINE).map("\n".join), LINE, st.none() | LINE, st.none() | st.integers(0, 10**9),
        st.none() | st.lists(LINE, min_size=1).map("\n".join),
    ).filter(lambda event: event != SseEvent())),
    CUTS,
)  # fmt: skip
def test_what_is_encoded_is_read_again(events: list[SseEvent], cuts: list[int]) -> None:
    whole = b"".join(event.encode() for event in events)
    assert [content(event) for event in parsed(SseParser(), whole, cuts)] == [content(event) for event in events]


def test_other_data_for_an_event() -> None:
    (event,) = SseParser().feed(b"id: 7\nevent: add\ndata: secret\n\n")
    assert event.with_data("***").encode() == b"event: add\ndata: ***\nid: 7\n\n"


@pytest.mark.parametrize("event", [SseEvent(event="a\nb"), SseEvent(id="a\r"), SseEvent(id="\0")])
def test_an_event_that_cannot_be_written(event: SseEvent) -> None:
    with pytest.raises(ValueError, match="of one line without NUL"):
        event.encode()


# ------------------------------------------------------------------ gRPC


@given(st.lists(st.builds(GrpcMessage, st.binary(), st.booleans())), CUTS)
def test_grpc_messages(messages: list[GrpcMessage], cuts: list[int]) -> None:
    assert parsed(GrpcParser(), b"".join(message.encode() for message in messages), cuts) == messages


# ------------------------------------------------------------------ patterns that span pieces

CARD, CARD_BEGINS = re.compile(r"\b\d(?:[ -]?\d){3,5}\b"), re.compile(r"\d[\d -]*")
MAIL, MAIL_BEGINS = re.compile(r"(?<!\w)(\w{1,3})@\w{1,3}(?!\w)"), re.compile(r"\w{1,3}(@\w{0,3})?")
PATTERNS: list[tuple[re.Pattern[str], re.Pattern[str], str | Callable[[re.Match[str]], str], int]] = [
    (CARD, CARD_BEGINS, "[card]", 11),
    (CARD, CARD_BEGINS, lambda found: "*" * len(found[0]), 11),
    (MAIL, MAIL_BEGINS, r"\1@…", 7),
    (re.compile("aa|aab"), re.compile("aa?b?"), "<>", 3),
    (re.compile("ab"), re.compile("ab?"), "", 2),
]


@given(st.sampled_from(PATTERNS), st.text("ab1 -@x.", max_size=80), CUTS)
def test_the_replaced_text_is_that_of_the_whole(
    case: tuple[re.Pattern[str], re.Pattern[str], Any, int], whole: str, cuts: list[int]
) -> None:
    pattern, begins, replacement, longest = case
    expected = pattern.sub(replacement, whole)
    assert "".join(parsed(Replacer(pattern, replacement, longest=longest), whole, cuts)) == expected
    assert "".join(parsed(Replacer(pattern, replacement, longest=longest, begins=begins), whole, cuts)) == expected


@given(st.binary(max_size=60), CUTS)
def test_bytes_are_replaced_too(whole: bytes, cuts: list[int]) -> None:
    pattern = re.compile(rb"\x00[\x00-\x7f]")
    assert b"".join(parsed(Replacer(pattern, b"", longest=2), whole, cuts)) == pattern.sub(b"", whole)


def test_what_cannot_begin_a_match_passes_at_once() -> None:
    masked = Replacer(CARD, "[card]", longest=11, begins=CARD_BEGINS)
    pieces = ["hello ", "world, 12", "34", "5 and", " more"]
    assert [[*masked.feed(piece)] for piece in pieces] == [
        ["hello "], ["world, "], [], ["[card] and"], [" more"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "longest", "message"),
    [("a", 0, "expected longest of a character or more, got 0"), ("a*", 3, "matches a character or more, got 'a\\*'")],
)
def test_a_pattern_that_is_refused(pattern: str, longest: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Replacer(re.compile(pattern), "", longest=longest)


# ------------------------------------------------------------------ as asynchronous iterators


async def chunks(*pieces: Any) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize(
    ("function", "pieces", "expected"),
    [
        (streams.text, [b"\xc3", b"\xa4"], ["ä"]),
        (streams.lines, [b"a", b"b\nc"], [b"ab\n", b"c"]),
        (streams.json_lines, [b"[1", b"]\n2"], [[1], 2]),
        (streams.sse_events, [b"data: ", b"x\n\n"], [SseEvent("x", raw=b"data: x\n\n")]),
        (streams.grpc_messages, [b"\0\0\0\0", b"\1x"], [GrpcMessage(b"x")]),
        (lambda texts: streams.replaced(texts, CARD, "[card]", longest=11), ["12", "34 "], ["[card] "]),
    ],
)
def test_asynchronously(
    function: Callable[[AsyncIterator[Any]], AsyncIterator[Any]], pieces: list[Any], expected: list[Any]
) -> None:
    async def collected() -> list[Any]:
        return [item async for item in function(chunks(*pieces))]

    assert asyncio.run(collected()) == expected
