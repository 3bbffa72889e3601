import pytest
from gatewright.action import ActionError
from gatewright.policy import Trailers
from gatewright.testing import header_blob
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.sampled_from(["x-a", "x-b", "grpc-status"])
VALUES = st.text("ab é\udcff", max_size=3)
WRITES = st.lists(st.tuples(NAMES, st.none() | VALUES | st.lists(VALUES, min_size=1, max_size=3)), max_size=8)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def test_they_are_read_like_headers() -> None:
    trailers = Trailers(b"x-a\x001\0x-a\x002\0grpc-status\x000\0")
    assert (trailers["X-A"], trailers.get("GRPC-Status"), trailers.get("x-b", "none")) == ("1", "0", "none")
    assert trailers.get_all("X-A") == ["1", "2"]
    assert (list(trailers), len(trailers)) == (["x-a", "grpc-status"], 2)
    assert ("X-a" in trailers, "x-b" in trailers, 7 in trailers) == (True, False, False)
    assert trailers.raw == [(b"x-a", b"1"), (b"x-a", b"2"), (b"grpc-status", b"0")]
    assert repr(trailers) == "Trailers([('x-a', '1'), ('x-a', '2'), ('grpc-status', '0')])"


READS = [
    lambda trailers: trailers["x-a"],
    lambda trailers: trailers.get("x-a"),
    lambda trailers: trailers.get_all("x-a"),
    lambda trailers: "x-a" in trailers,
    list,
    len,
    lambda trailers: trailers.raw,
    lambda trailers: trailers.multi_items(),
]


@pytest.mark.parametrize("read", READS)
def test_reading_before_the_bodys_end_is_refused_with_a_cure(read) -> None:  # type: ignore[no-untyped-def]
    trailers = Trailers()
    trailers["x-a"] = "1"
    with pytest.raises(RuntimeError, match=r"expected to be read after the last chunk.*; end the loop first"):
        read(trailers)
    assert repr(trailers) == "Trailers()"
    trailers.arrived(None)
    read(trailers)


def test_a_message_without_trailers_has_none() -> None:
    trailers = Trailers()
    trailers.arrived(None)
    assert (len(trailers), trailers.get("x-a"), trailers.changes()) == (0, None, (b"", b""))
    with pytest.raises(KeyError):
        trailers["x-a"]


def write(trailers: Trailers, name: str, value: str | list[str] | None) -> None:
    if value is None:
        del trailers[name]
    else:
        trailers[name] = value


def by_name(lines: list[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in lines:
        found.setdefault(name.decode(), []).append(value.decode("utf-8", "surrogateescape"))
    return found


@given(LINES, WRITES, st.integers(0, 8))
def test_what_is_read_is_what_the_receiver_will_have(
    lines: list[tuple[str, str]], writes: list[tuple[str, str | list[str] | None]], early: int
) -> None:
    """Writes before and after the end count alike, and so do `changes` applied to what came, first remove, then set."""
    blob, trailers = header_blob(lines), Trailers()
    for name, value in writes[:early]:
        write(trailers, name.upper(), value)
    trailers.arrived(blob)
    for name, value in writes[early:]:
        write(trailers, name.title(), value)
    expected: dict[str, object] = {**by_name(Trailers(blob).raw)}
    expected |= {name: [value] if isinstance(value, str) else value for name, value in writes}
    expected = {name: values for name, values in expected.items() if values is not None}
    assert by_name(trailers.raw) == expected
    removed, added = trailers.changes()
    kept = {name: values for name, values in by_name(Trailers(blob).raw).items() if name not in removed.decode()}
    assert {**kept, **by_name(Trailers(added).raw)} == expected


REFUSED = [
    ("content-length", "1", "expected a header that policies can change, got str 'content-length'"),
    ("Transfer-Encoding", "chunked", "it belongs to one connection"),
    ("Host", "a", "expected a header that policies can change"),
    ("connection", "close", "it belongs to one connection"),
    ("x-gatewright-a", "b", "is the gateway's own"),
    (":status", "200", "expected a header name"),
    ("a b", "1", "expected a header name"),
    ("Set-Cookie", "a=b", "expected a header that trailers can have, got str 'Set-Cookie'; RFC 9110, 6.5.1"),
    ("content-type", "text/plain", "expected a header that trailers can have"),
    ("x-a", "b\r\nc: d", "a value without control characters"),
    ("x-a", 3, "expected str, bytes or a list of them, got int 3"),
    ("x-a", None, r"got None; to take one away, del trailers\[name\]"),
    ("x-a", [], r"to take one away, del trailers"),
    ("x-a", "b" * (128 << 10), "expected at most 131072 bytes of headers"),
    ("x-a", ["b"] * 201, "expected at most 200 header lines, got 201"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), REFUSED)
def test_what_the_gateway_would_refuse_is_refused_where_it_is_written(name: str, value: str, sentence: str) -> None:
    trailers = Trailers(b"")
    with pytest.raises(ActionError, match=sentence):
        trailers[name] = value
    assert trailers.changes() == (b"", b"")


def test_a_name_that_trailers_cannot_have_is_not_removed_either() -> None:
    with pytest.raises(ActionError, match="expected a header that policies can change"):
        del Trailers(b"")["content-length"]
