import json
from typing import Any

import pytest
from gatewright.streams import json_line
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing

policy = testing.load_policy(__file__)
PARAMS = testing.params(fields=["password", "käse"], value="***", maxBytes=1024)
JSON, LINES = "application/json; charset=utf-8", "application/x-ndjson"
SIZES = st.lists(st.integers(1, 20), min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.sampled_from(["a", "password", "käse", '"\\']), of),
    max_leaves=8,
)


def run(body: bytes, content_type: str, sizes: Any = ()) -> Any:
    ctx = testing.response(headers={"content-type": content_type})
    return testing.run_stream(policy.on_response_stream, testing.stream(body, sizes=sizes), ctx=ctx, params=PARAMS)


def wanted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "***" if name in PARAMS["fields"] else wanted(part) for name, part in value.items()}
    return list(map(wanted, value)) if isinstance(value, list) else value


@settings(deadline=None)
@given(value=VALUES, sizes=SIZES, ascii_only=st.booleans())
def test_the_fields_go_wherever_they_are(value: Any, sizes: list[int], ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    if len(body) <= 1024:
        assert json.loads(run(body, JSON, sizes).body) == wanted(value)


@settings(deadline=None)
@given(values=st.lists(VALUES, max_size=5), sizes=SIZES)
def test_of_json_lines_each_goes_on_by_itself(values: list[Any], sizes: list[int]) -> None:
    result = run(b"".join(map(json_line, values)), LINES, sizes)
    assert list(map(json.loads, result.body.splitlines())) == list(map(wanted, values))
    assert len(result.chunks) == len(values)


def test_lines_that_name_none_are_not_touched() -> None:
    body = b' {"a" : 1.10}\r\n\n{"password": 1}\n{"b": 2}'
    assert run(body, LINES).body == b' {"a" : 1.10}\r\n\n{"password":"***"}\n{"b": 2}'


def test_a_name_may_be_written_otherwise() -> None:
    assert run(b'{"p\\u0061ssword": 1}', JSON).body == b'{"password":"***"}'
    assert run('{"password": 1}'.encode("utf-16"), JSON).body == '{"password":"***"}'.encode("utf-16")
    latin = run('{"käse": 1}'.encode("latin-1"), "application/json; charset=iso-8859-1", [1] * 12)
    assert json.loads(latin.body) == {"käse": "***"}


@pytest.mark.parametrize("media_type", ["application/json", LINES])
@pytest.mark.parametrize("charset", ["idna", "utf-7", "utf-16-le", "\udcff"])
def test_a_charset_that_is_not_known_is_refused(media_type: str, charset: str) -> None:
    result = run(b'{"password": 1}', f"{media_type}; charset={charset}")
    assert (result.body, result.rejected.status_code) == (b"", 502)
    assert run('{"password": 1}'.encode("utf-16-le"), media_type).rejected.status_code == 502


def test_half_of_a_surrogate_pair_stays_one() -> None:
    body = rb'{"a":"\ud83d","password":1}'
    assert run(body, JSON).body == rb'{"a":"\ud83d","password":"***"}'


@pytest.mark.parametrize(
    "body", [b'{"password": }', b'{"a": "' + bytes(1024) + b'"}', b'{"password": \xff}', b"[" * 1020 + b'"password']
)
def test_a_document_that_cannot_be_read_is_not_passed_on(body: bytes) -> None:
    result = run(body, JSON, 100)
    assert (result.body, result.rejected and result.rejected.status_code) == (b"", 502)


@pytest.mark.parametrize("line", [b'{"password": }', b'{"password": "' + b"a" * 1024 + b'"}', b'"\xff"'])
def test_a_line_that_cannot_be_read_ends_the_stream(line: bytes) -> None:
    result = run(b'{"a": 1}\n' + line + b"\n", LINES)
    assert (result.body, result.rejected.status_code) == (b'{"a": 1}\n', 502)


@pytest.mark.parametrize("body", [b"", b'{"password": 1}'])
def test_anything_else_passes(body: bytes) -> None:
    assert run(body, "text/plain", 3).body == body
    assert run(b"", JSON).body == b""
