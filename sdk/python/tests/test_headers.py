from typing import Any

import pytest
from gatewright.policy import Headers
from gatewright.testing import header_blob
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).map(str.encode)
VALUES = st.binary(max_size=20).filter(lambda value: not set(value) & set(b"\r\n\0"))
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=12)
FEW = st.sampled_from([b"a", b"b", b"a-b", b""])  # so that values are names too
LOOKED_UP = st.sampled_from(["a", "A", "b", "a-b", "c", "", "a\0b", "\udcff", "\ud800"])


def test_a_name_in_any_case_finds_its_first_value() -> None:
    headers = Headers(b"accept\0a/b\0x-a\x001\0x-a\x002\0")
    assert headers["X-A"] == headers["x-a"] == headers.get("X-a") == "1"
    assert headers.get_all("X-A") == ["1", "2"]
    assert headers.get_all("missing") == []
    assert headers.get("missing") is None
    assert "X-A" in headers
    assert 7 not in headers  # type: ignore[comparison-overlap]
    assert list(headers) == ["accept", "x-a"]
    assert len(headers) == 2


def test_no_headers() -> None:
    headers = Headers(b"")
    assert (len(headers), headers.raw, headers.multi_items(), headers.get_all("a")) == (0, [], [], [])


def test_bytes_that_are_not_utf8_are_kept() -> None:
    headers = Headers(b"x-bin\0\xff\xfe\0x-next\0good\0")
    assert headers["x-bin"].encode("utf-8", "surrogateescape") == b"\xff\xfe"
    assert headers.raw[0] == (b"x-bin", b"\xff\xfe")
    assert headers["x-next"] == "good"


@given(LINES)
def test_every_line_arrives_in_order_and_alone(lines: list[tuple[bytes, bytes]]) -> None:
    headers = Headers(header_blob(lines))
    assert headers.raw == lines
    expected = [(name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in lines]
    assert headers.multi_items() == expected
    for name in headers:
        assert headers.get_all(name) == [value for key, value in expected if key == name]
        assert headers[name.upper()] == headers.get_all(name)[0]


@given(st.lists(st.tuples(FEW, FEW), max_size=6), LOOKED_UP)
def test_the_first_look_finds_what_a_later_one_finds(lines: list[tuple[bytes, bytes]], name: str) -> None:
    blob = header_blob(lines)
    parsed = Headers(blob)
    assert list(parsed) == [*dict.fromkeys(key.decode() for key, _ in lines)]
    assert Headers(blob).get(name, "none") == parsed.get(name, "none")
    assert (name in Headers(blob)) == (name in parsed)
    assert Headers(blob).get_all(name) == parsed.get_all(name)
    if name in parsed:
        assert Headers(blob)[name] == parsed[name]
    else:
        with pytest.raises(KeyError):
            Headers(blob)[name]


def test_headers_that_are_written_to_say_how_they_are_changed() -> None:
    headers: Any = Headers(b"x-a\0b\0")
    with pytest.raises(
        TypeError, match=r"return UpstreamRequestModifications\(set_headers={'x-a': 'c'}\) from on_request"
    ):
        headers["x-a"] = "c"
    with pytest.raises(TypeError, match=r"UpstreamResponseModifications\(remove_headers=\['x-a'\]\) from on_response"):
        del headers["x-a"]
