from __future__ import annotations

import json

import pytest
from gatewright_cli.supervision.logs import records
from gatewright_cli.supervision.logs.records import Record, Source, access_as_text, event
from hypothesis import given
from hypothesis import strategies as st

ENGINE = Source("engine", "policy-engine")
EXECUTOR = Source("executor-default-0", "python-executor")
HEAD = b'{"time":"2026-01-02T03:04:05.678Z","level":"info","component":"policy-engine","message":"'
LINE = HEAD + b'hi","n":7,"who":"a b"}'

SOON = "2026-01-02T03:04:06.000Z"
"""When LINE is read."""


def as_json(source: Source, line: bytes, now: str = SOON) -> bytes:
    return records.as_json(source, line, now)


def as_text(source: Source, line: bytes, colour: bool, now: str = SOON) -> bytes:
    return records.as_text(source, line, colour, now)


def parse(source: Source, line: bytes) -> Record:
    return records.parse(source, line, SOON)


def untimed(source: Source, line: bytes) -> str:
    """The line for people without its first word, the time."""
    return as_text(source, line, colour=False).decode().partition(" ")[2]


def of(source: Source, level: str = "info", message: str = "", **fields: object) -> bytes:
    """What the process would have written."""
    standard = {"time": "2026-01-02T03:04:05.678Z", "level": level, "component": source.component, "message": message}
    return json.dumps(standard | fields, separators=(",", ":")).encode()


def test_a_line_in_the_form_of_all_lines_passes_unchanged() -> None:
    assert as_json(ENGINE, LINE) == LINE


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b"policy-engine", b"controller"),
        LINE.replace(b".678Z", b"Z"),
        LINE.replace(b".678Z", b".678901234Z"),
        LINE.replace(b"678Z", b"678+00:00"),
        LINE.replace(b'","level', b'", "level'),
        LINE[:-1],
        LINE + b" [line cut]",
        HEAD + b'hi",}',
        b'{"message":"hi","level":"ERROR","time":"noon","component":"envoy"}',
        b"no \xff JSON",
    ],
)
def test_any_other_line_is_a_message_of_the_process_that_wrote_it(line: bytes) -> None:
    record = json.loads(as_json(ENGINE, line))
    assert (record["component"], record["level"]) == ("policy-engine", "info")
    assert (record["process"], record["message"]) == ("engine", line.decode("utf-8", "backslashreplace"))
    assert record["time"] == SOON


@pytest.mark.parametrize(
    "forged",
    [
        b'","component":"access","time":"2000-01-01T00:00:00.000Z","level":"error"}',
        b'","compon\\u0065nt":"access","tim\\u0065":"2000-01-01T00:00:00.000Z","l\\u0065vel":"error"}',
        b'", "component" : "access" , "time" : "2000-01-01T00:00:00.000Z", "level": "error" }',
        b'","component":{"a":1},"time":null,"level":["error"]}',
    ],
)
def test_a_line_that_names_two_components_is_of_its_own_process(forged: bytes) -> None:
    """Most readers of JSON take the last of two members (RFC 8259, section 4)."""
    text = as_json(EXECUTOR, HEAD.replace(b"policy-engine", b"python-executor") + b"hi" + forged)
    members = json.loads(text, object_pairs_hook=list)
    standard = [("time", LINE[9:33].decode()), ("level", "info"), ("component", "python-executor"), ("message", "hi")]
    assert members[:4] == standard
    assert [name for name, _ in members[4:] if name in dict(standard)] == []


def test_the_words_may_stand_in_a_message_and_further_down() -> None:
    line = HEAD + b'a \\"component\\" of \\"time\\"","at":{"component":"x","time":1},"who":"\\u003cme\\u003e"}'
    assert json.loads(as_json(ENGINE, line)) == json.loads(line)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-01-02T03:04:06.000Z", "2026-01-02T03:04:06.000Z"),
        ("2026-01-02T03:03:56.000Z", "2026-01-02T03:03:56.000Z"),
        ("2026-01-02T03:03:55.999Z", SOON),
        ("2026-01-02T03:04:06.001Z", SOON),
        ("2026-01-02T03:03:99.000Z", SOON),
        ("1999-01-02T03:04:06.000Z", SOON),
        ("9999-01-02T03:04:06.000Z", SOON),
    ],
)
def test_a_line_with_an_impossible_time_gets_the_time_of_reading(written: str, expected: str) -> None:
    """A line was written not long before it was read: another time is not its own."""
    line = LINE.replace(b"2026-01-02T03:04:05.678Z", written.encode())
    assert json.loads(as_json(ENGINE, line))["time"] == expected
    assert as_json(ENGINE, line)[33:] == LINE[33:] or written == "2026-01-02T03:03:99.000Z"
    assert as_text(ENGINE, line, colour=False, now=SOON).startswith(expected[11:].encode())


def test_nothing_in_a_line_is_a_control_character() -> None:
    for raw in (b"\0", b"\x1b[2J", b"\r", b"\x07"):
        text = as_json(EXECUTOR, HEAD.replace(b"policy-engine", b"python-executor") + raw + b'"}')
        assert raw not in text
        assert json.loads(text)["component"] == "python-executor"


@pytest.mark.parametrize(
    ("level", "expected"), [("warn", "warning"), ("critical", "error"), ("trace", "debug"), ("loud", "info")]
)
def test_levels_have_one_spelling(level: str, expected: str) -> None:
    record = json.loads(as_json(Source("envoy"), of(Source("envoy"), level, "x", n=1)))
    assert (record["level"], record["message"], record["n"]) == (expected, "x", 1)


def test_text_has_prefix_message_and_fields() -> None:
    text = as_text(ENGINE, LINE, colour=False).decode()
    assert text == "03:04:05.678Z engine             │ hi n=7 who='a b'"


@pytest.mark.parametrize("line", [b"no JSON", b'{"time":"noon"}', LINE.replace(b"2026-01-02", b"2026-99-99")])
def test_a_line_without_a_time_gets_the_time_of_reading_in_text(line: bytes) -> None:
    assert as_text(ENGINE, line, colour=False).startswith(SOON[11:].encode())


def test_text_names_the_process_of_an_event() -> None:
    text = as_text(Source("supervisor"), event("supervisor", "process ended", process="engine"), False, records.now())
    assert text.decode().endswith("supervisor         │ process ended process=engine")


def test_text_does_not_repeat_what_the_prefix_says() -> None:
    assert untimed(ENGINE, b"panic") == "engine             │ panic"
    assert untimed(EXECUTOR, of(EXECUTOR, message="serving")) == "executor-default-0 │ serving"


def test_text_names_loud_levels_and_no_empty_field() -> None:
    assert untimed(ENGINE, of(ENGINE, "error", "no", flags="", n=None)) == "engine             │ ERROR no"


def test_a_traceback_stands_below_its_line_and_cannot_be_taken_for_another() -> None:
    line = of(EXECUTOR, "error", "on_request failed", error='Traceback:\n  File "p.py"\nKeyError: \x1b[2J', policy="p")
    assert as_text(EXECUTOR, line, colour=False).decode().split("\n") == [
        "03:04:05.678Z executor-default-0 │ ERROR on_request failed policy=p",
        "                                 │   Traceback:",
        '                                 │     File "p.py"',
        "                                 │   KeyError: \\x1b[2J",
    ]


def test_colour_only_where_asked() -> None:
    assert b"\x1b[" in as_text(ENGINE, LINE, colour=True)
    assert b"\x1b[" not in as_text(ENGINE, LINE, colour=False)


def test_what_a_client_sends_cannot_steer_the_terminal() -> None:
    line = of(ENGINE, message="\x1b[2Jgone\r\n00:00:00.000Z supervisor", path="\x9b31m")
    assert untimed(ENGINE, line).split("\n") == [
        "engine             │ \\x1b[2Jgone\\x0d path=\\x9b31m",
        " " * len("00:00:00.000Z ") + " " * len("engine             ") + "│   00:00:00.000Z supervisor",
    ]
    access = json.dumps({"method": "GET", "path": "/\x1b[2J", "status": 200, "requestId": "\x9b"}).encode()
    assert access_as_text(access, colour=False).decode().endswith("│ GET /\\x1b[2J 200 requestId=\\x9b")


def test_an_access_line_for_a_person() -> None:
    line = (
        b'{"time":"2026-01-02T03:04:05.678Z","component":"access","message":"request","level":"info","flags":"-",'
        b'"method":"GET","path":"/x","status":200,"durationMs":4}'
    )
    text = access_as_text(line, colour=False).decode()
    assert text == "03:04:05.678Z access             │ GET /x 200 durationMs=4"
    assert access_as_text(b"torn \xff", colour=False).decode().endswith("access             │ torn \\xff")


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=50).map(lambda rest: HEAD + rest)))
def test_no_line_is_refused(line: bytes) -> None:
    assert {"time", "level", "component", "message"} <= json.loads(as_json(ENGINE, line)).keys()
    assert b"\n" not in as_json(ENGINE, line.replace(b"\n", b""))
    assert as_text(ENGINE, line, colour=True)
    assert access_as_text(line, colour=True)


def test_our_own_events_are_records() -> None:
    assert parse(Source("supervisor"), event("supervisor", "ready", port=80)).fields == {"port": 80}
