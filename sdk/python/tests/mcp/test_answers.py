"""Messages of servers: the same however they are cut, bounded, and nothing of what cannot be read."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from gatewright.streams import StreamError
from hypothesis import given
from hypothesis import strategies as st
from sdk import mcp

EVENTS, JSON = "text/event-stream; charset=utf-8", "application/json"
LISTED = {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "é"}, {"name": "drop"}], "nextCursor": "2"}}
KEPT = {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "é"}], "nextCursor": "2"}}
STREAM = (
    b": ping\n\nevent: message\nid: 0\ndata:\n\nretry: 5\nevent: message\r\nid: 7\r\ndata: %s\r\n\r\n"
    b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\nevent: endpoint\ndata: /messages\n\n'
) % json.dumps(LISTED, ensure_ascii=False).encode()


def keep(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("id") != 1:
        return message
    result = message["result"]
    return {**message, "result": {**result, "tools": [tool for tool in result["tools"] if tool["name"] != "drop"]}}


def edited(content_type: str, body: bytes, cuts: list[int], limit: int = 1 << 20) -> bytes:
    editor = mcp.AnswerEditor(content_type, keep, limit)
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    return b"".join([*map(editor.feed, pieces), editor.end()])


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_events_are_edited_wherever_they_are_cut(cuts: list[int]) -> None:
    whole = edited(EVENTS, STREAM, [])
    assert edited(EVENTS, STREAM, cuts) == whole
    assert b"drop" not in whole
    assert whole.startswith(b": ping\n\nevent: message\nid: 0\ndata:\n\n")
    assert whole.endswith(b"event: endpoint\ndata: /messages\n\n")
    assert next(json.loads(line[6:]) for line in whole.splitlines() if line.startswith(b"data: {")) == KEPT
    assert b"id: 7" in whole
    assert b"retry: 5" in whole


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_json_is_edited_wherever_it_is_cut(cuts: list[int]) -> None:
    assert json.loads(edited(JSON, json.dumps(LISTED).encode(), cuts)) == KEPT
    assert json.loads(edited(JSON, json.dumps([LISTED, 1]).encode(), cuts)) == [KEPT, 1]


def test_each_event_goes_on_when_it_is_complete() -> None:
    editor = mcp.AnswerEditor(EVENTS, keep)
    assert editor.feed(b"data: {}\n") == b""
    assert editor.feed(b"\n") == b"data: {}\n\n"


@pytest.mark.parametrize("body", [b"{", b"<html>", b"[" * 100_000, b'"' + b"a" * 2000 + b'"'])
def test_nothing_goes_on_of_json_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(StreamError):
        edited(JSON, body, [], 1000)


@pytest.mark.parametrize("body", [b"data: {\n\n", b"data: {}\n", b"data: [1\n\n", b": " + b"a" * 2000 + b"\n\n"])
def test_nothing_goes_on_of_an_event_that_cannot_be_read(body: bytes) -> None:
    if body == b"data: {}\n":  # no blank line: it is one for lenient clients
        assert edited(EVENTS, body, []) == b"data: {}\n\n"
        return
    with pytest.raises(StreamError):
        edited(EVENTS, body, [], 1000)


def test_other_content_types_cannot_be_edited() -> None:
    for content_type in ("", "text/html", "application/json-seq"):
        with pytest.raises(StreamError, match="expected application/json"):
            mcp.AnswerEditor(content_type, keep)


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_answers_are_read_wherever_they_are_cut(cuts: list[int]) -> None:
    reader = mcp.AnswerReader(EVENTS)
    places = [0, *sorted(cut % (len(STREAM) + 1) for cut in cuts), len(STREAM)]
    found = [document for start, end in itertools.pairwise(places) for document in reader.feed(STREAM[start:end])]
    found += reader.end()
    assert [result for document in found for result in mcp.results_of(document)] == [mcp.Result(1, None, False)]


def test_what_is_too_long_is_skipped() -> None:
    long = b"data: " + b"a" * 3000 + b"\n\n"
    reader = mcp.AnswerReader(EVENTS, limit=1000)
    assert [*reader.feed(long + b"data: {}\n\n"), *reader.end()] == [{}]
    assert reader.skipped == 1
    reader = mcp.AnswerReader(JSON, limit=1000)
    assert [*reader.feed(b"1" * 1001), *reader.feed(b"{}"), *reader.end()] == []
    assert reader.skipped == 1


@pytest.mark.parametrize(
    ("document", "results"),
    [
        ({"id": 1, "result": {"isError": True}}, [mcp.Result(1, None, True)]),
        ({"id": "a", "error": {"code": -32602}}, [mcp.Result("a", -32602, True)]),
        ({"id": 1, "error": {"code": "x"}}, [mcp.Result(1, 0, True)]),
        ([{"id": 1, "result": {}}, {"id": 2, "method": "ping"}, 3, {}], [mcp.Result(1, None, False)]),
        ({"id": 1, "result": []}, []),
        ("text", []),
    ],
)
def test_results(document: Any, results: list[mcp.Result]) -> None:
    assert [*mcp.results_of(document)] == results
