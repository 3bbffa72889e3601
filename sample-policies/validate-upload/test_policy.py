import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing

policy = testing.load_policy(__file__)
SCHEMA = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
}
PARAMS = testing.params(schema=SCHEMA, maxBytes=1024)
JSON, LINES = "application/vnd.order+json", "application/x-ndjson"
SIZES = st.lists(st.integers(1, 20), min_size=1)


def run(body: bytes, content_type: str, sizes: Any = ()) -> Any:
    with testing.prepared(policy, PARAMS) as validator:
        ctx = testing.request("POST", headers={"content-type": content_type}, prepared=validator)
        return testing.run_stream(policy.on_request_stream, testing.stream(body, sizes=sizes), ctx=ctx, params=PARAMS)


def refusal(result: Any) -> tuple[int, str]:
    return result.rejected.status_code, result.rejected.body


@settings(deadline=None)
@given(sizes=SIZES)
def test_what_is_right_goes_on_byte_for_byte(sizes: list[int]) -> None:
    body = b'{"id" : 1, "tags": ["a"]}\r\n\n {"id": 2}'
    assert run(body, LINES, sizes).body == body
    assert run(body[:25], JSON, sizes).body == body[:25]


@settings(deadline=None)
@given(sizes=SIZES)
def test_of_a_wrong_document_upstream_hears_nothing(sizes: list[int]) -> None:
    result = run(b'{"id": 1, "tags": ["a", 2]}', JSON, sizes)
    assert result.chunks == []
    assert refusal(result) == (400, 'the body, at /tags/1: 2 is not of type "string"\n')


@settings(deadline=None)
@given(sizes=SIZES)
def test_of_json_lines_it_has_those_before_the_wrong_one(sizes: list[int]) -> None:
    result = run(b'{"id": 1}\n\n{"id": "2"}\n{"id": 3}\n', LINES, sizes)
    assert result.body == b'{"id": 1}\n\n'
    assert refusal(result) == (400, 'line 3, at /id: "2" is not of type "integer"\n')


@pytest.mark.parametrize(
    ("content_type", "body", "status", "says"),
    [
        (JSON, b"", 400, "the body: expected JSON, got something else: "),
        (JSON, b"{", 400, "the body: expected JSON, got something else: "),
        (JSON, b"[" * 1000, 400, "the body: "),
        (JSON, b"{}", 400, 'the body: "id" is a required property'),
        (JSON, b'"' + b"a" * 1100, 413, "expected a body of at most 1024 bytes, got more"),
        (LINES, b'{"id": 1}\n{\xff}\n', 400, "line 2: expected JSON, got something else: "),
        (LINES, b'{"id": 1}\n"' + b"a" * 1100, 413, "line 2: expected a line of at most 1024 bytes, got more"),
        ("text/plain", b'{"id": 1}', 415, "expected a body of JSON or JSON lines, got text/plain"),
        ("", b"", 415, "expected a body of JSON or JSON lines, got no content-type"),
    ],
)
def test_what_is_refused_and_why(content_type: str, body: bytes, status: int, says: str) -> None:
    result = run(body, content_type, 100)
    assert result.rejected.status_code == status
    assert result.rejected.body.startswith(says)


def test_a_schema_that_is_none_is_refused_before_a_request_comes() -> None:
    with pytest.raises(ValueError, match="typo"), testing.prepared(policy, testing.params(schema={"type": "typo"})):
        pass


def test_lines_of_any_number_pass_one_by_one() -> None:
    lines = [json.dumps({"id": number}).encode() + b"\n" for number in range(2000)]
    assert run(b"".join(lines), LINES, 4096).chunks == lines
