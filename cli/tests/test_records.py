from __future__ import annotations

import json

import pytest
from gatewright_cli.records import as_json, as_text, event, parse
from hypothesis import given
from hypothesis import strategies as st

JSON_LINE = b'{"time":"2026-01-02T03:04:05Z","level":"info","component":"engine","message":"hi","n":7,"who":"a b"}'


def untimed(component: str, line: bytes) -> str:
    """The line for people without its first word, the time."""
    return as_text(component, line, colour=False).decode().partition(" ")[2]


def test_json_of_a_process_passes_unchanged() -> None:
    assert as_json("engine", JSON_LINE) == JSON_LINE


def test_json_gets_the_component_that_it_lacks() -> None:
    record = json.loads(as_json("executor-0", b'{"message":"hi","level":"ERROR","n":12345678901234567890}'))
    assert (record["component"], record["message"], record["level"]) == ("executor-0", "hi", "error")
    assert record["n"] == 12345678901234567890
    assert record["time"].endswith("Z")


def test_a_plain_line_becomes_a_record() -> None:
    record = json.loads(as_json("envoy", b"no \xff JSON"))
    assert (record["component"], record["message"]) == ("envoy", "no \\xff JSON")


def test_text_has_prefix_message_and_fields() -> None:
    said = as_text("engine", JSON_LINE, colour=False).decode()
    assert said == "03:04:05.000Z engine             │ hi n=7 who='a b'"


@pytest.mark.parametrize("time", ["2026-01-02T05:04:05.678901234+02:00", "2026-01-02T03:04:05.678Z"])
def test_text_says_when_in_utc(time: str) -> None:
    assert as_text("x", json.dumps({"time": time}).encode(), colour=False).startswith(b"03:04:05.678Z ")


@pytest.mark.parametrize("line", [b"no JSON", b'{"time":"noon"}', b'{"time":"0001-01-01T00:00:00+14:00"}'])
def test_text_says_when_where_the_line_does_not(line: bytes) -> None:
    before, said, after = event("x", ""), as_text("x", line, colour=False).decode(), event("x", "")
    earliest, latest = (json.loads(each)["time"].partition("T")[2] for each in (before, after))
    assert earliest <= said.split()[0] <= latest or latest < earliest, "midnight has passed"


def test_text_does_not_repeat_what_the_prefix_says() -> None:
    line = b'{"component":"python-executor","message":"serving"}'
    assert untimed("executor-default-0", line) == "executor-default-0 │ serving"


def test_text_names_another_component_and_loud_levels() -> None:
    line = b'{"component":"access","level":"error","message":"GET / 500","flags":"","n":null}'
    assert untimed("envoy", line) == "envoy              │ ERROR GET / 500 component=access"


def test_colour_only_where_asked() -> None:
    assert b"\x1b[" in as_text("engine", JSON_LINE, colour=True)
    assert b"\x1b[" not in as_text("engine", JSON_LINE, colour=False)


def test_what_a_client_sends_cannot_steer_the_terminal() -> None:
    line = json.dumps({"message": "\x1b[2Jgone\r\n", "path": "\x9b31m"}).encode()
    assert untimed("engine", line) == "engine             │ \\x1b[2Jgone\\x0d\\x0a path=\\x9b31m"


@given(st.binary(max_size=200))
def test_no_line_is_refused(line: bytes) -> None:
    assert isinstance(json.loads(as_json("x", line)), dict)
    assert b"\n" not in as_text("x", line, colour=True)


def test_our_own_events_are_records() -> None:
    assert parse("supervisor", event("supervisor", "ready", port=80)).fields == {"port": 80}
