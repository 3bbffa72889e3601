from __future__ import annotations

import json
import time
from typing import Any

import pytest
from gatewright_cli.clients.engine_admin import SecretNames
from gatewright_cli.run.logs.line_redaction import LineRedaction
from gatewright_controller.model.redaction import Redaction
from hypothesis import given
from hypothesis import strategies as st

LIST = Redaction(headers=["x-partner-key"])
REDACT = LineRedaction(SecretNames(*map(tuple, (LIST.all_headers, LIST.all_query_parameters, LIST.all_fields))))
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
SECRET = "hunter2hunter2"  # noqa: S105 - planted
BEGINS = {"time": "2026-11-26T00:27:16.123Z", "level": "error", "component": "policy-engine"}


def line(message: str, **fields: object) -> bytes:
    return json.dumps({**BEGINS, "message": message, **fields}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("nothing to see: 3 of 4 at 12:30:01", "nothing to see: 3 of 4 at 12:30:01"),
        (f"token {JWT}, cut {JWT[:20]}", "token [redacted], cut [redacted]"),
        ("authorization: Bearer abcdef.ghi\nnext", "authorization: [redacted]\nnext"),
        ("got Bearer abcdef.ghi", "got Bearer [redacted]"),
        ("basic information", "basic information"),
        ("dial redis://:hunter2@cache:6379/0 failed", "dial redis://[redacted]@cache:6379/0 failed"),
        ("GET /a?api_key=x&b=c 200", "GET /a?api_key=[redacted]&b=c 200"),
        ("/y?b=c&user[token]=x;api-key=y;d=e", "/y?b=c&user[token]=[redacted];api-key=[redacted];d=e"),
        ("/y?%74oken=x", "/y?%74oken=[redacted]"),
        ("{'password': 'a b', 'user': 'ann'}", "{'password': [redacted], 'user': 'ann'}"),
        ('headers: {"Authorization": "Basic eHg6eXk="}', 'headers: {"Authorization": [redacted]}'),
        ("headers:\n'cookie', 'a=b; c=d'\n'accept', '*/*'", "headers:\n'cookie', [redacted]\n'accept', '*/*'"),
        ("x-partner-key=abc", "x-partner-key=[redacted]"),
        ("error: a: password: x", "error: a: password: [redacted]"),
        ('{"clientSecret": "a\\"b", "n": 1', '{"clientSecret": [redacted], "n": 1'),
    ],
)
def test_the_redaction_of_messages(message: str, shown: str) -> None:
    assert REDACT.text(message) == shown
    found = json.loads(REDACT(line(message)))
    assert found == {**BEGINS, "message": shown}
    assert list(found) == [*BEGINS, "message"], "expected the order of all log lines"
    if not message.startswith("{"):
        assert REDACT(message.encode()) == shown.encode()


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"mcp": {"tool": "add", "arguments": {"token": "a", "n": 1}}}, {"token": "[redacted]", "n": 1}),
        (
            {"mcp": {"arguments": {"a": ["Bearer abcdefgh"], "Bearer abcdefgh": 1}}},
            {"a": ["Bearer [redacted]"], "Bearer [redacted]": 1},
        ),
        ({"mcp": {"arguments": {"text": "password: x", "é": None}}}, {"text": "password: [redacted]", "é": None}),
    ],
)
def test_json_in_a_message_stays_json(record: dict[str, Any], shown: dict[str, Any]) -> None:
    message = json.loads(REDACT(line(json.dumps(record))))["message"]
    assert json.loads(message)["mcp"]["arguments"] == shown


def test_fields_are_redacted_by_their_names_at_any_depth() -> None:
    made = line("x", password=1, a={"Access-Token": ["b"], "c": ["Bearer abcdefgh", {"otp": 7}]}, session=None)
    found = json.loads(REDACT(made))
    assert (found["password"], found["a"]) == (
        "[redacted]",
        {"Access-Token": "[redacted]", "c": ["Bearer [redacted]", {"otp": "[redacted]"}]},
    )


def test_a_line_without_secrets_is_the_same_object() -> None:
    plain = line("API deployed", api="orders-v1", level2="x" * 300)
    assert REDACT(plain) is plain


def test_bytes_that_are_no_text_pass() -> None:
    assert REDACT(b"\x00\xff password=abc \xfe") == b"\x00\xff password=[redacted] \xfe"


NAMES = st.sampled_from(["password", "token", "clientSecret", "access-token", "Authorization", "api_key", "otp"])
VALUES = st.sampled_from([SECRET, f"{SECRET} ", f'"{SECRET}"', f"Bearer {SECRET}", f"'{SECRET}'", f"\\{SECRET}"])
TEXT = st.text(max_size=20)


@given(before=TEXT, name=NAMES, sign=st.sampled_from(["=", ": ", '": ', "' : '", ':"']), value=VALUES, after=TEXT)
def test_the_value_behind_a_secret_name_is_never_shown(
    before: str, name: str, sign: str, value: str, after: str
) -> None:
    message = f"{before} {name}{sign}{value} {after}"
    shown = REDACT(line(message, list=[message], object={"a": message}))
    json.loads(shown)
    assert SECRET.encode() not in shown
    assert SECRET.encode() not in REDACT(message.encode("utf-8", "surrogatepass"))


@given(name=NAMES, value=st.recursive(st.just(SECRET), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_fields_of_the_list_are_shown_nowhere(name: str, value: object) -> None:
    shown = REDACT(line("x", **{name: value}, inner={"a": [{name: value}]}))
    assert SECRET.encode() not in shown


def test_a_long_line_of_anything_takes_no_time() -> None:
    for piece in (b"password=", b"eyJ", b"://", b"a:b@", b"&x=", b"bearer "):
        began = time.process_time()
        REDACT(piece * (60_000 // len(piece)))
        assert time.process_time() - began < 2.0, piece
