from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing

policy = testing.load_policy(__file__)
PARAMS = testing.params(allow=["png", "webp", "pdf"])
FILES = {
    "gif": b"GIF89a" + bytes(20),
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(20),
    "pdf": b"%PDF-1.7\n" + b"x" * 20,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(20),
    "webp": b"RIFF\x00\x01\x00\x00WEBPVP8 ",
    "zip": b"PK\x03\x04" + bytes(20),
}
SIZES = st.lists(st.integers(1, 20), min_size=1)


def run(body: bytes, sizes: Any = (), params: Any = PARAMS) -> Any:
    return testing.run_stream(policy.on_request_stream, testing.stream(body, sizes=sizes), params=params)


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(FILES)), more=st.binary(max_size=100), sizes=SIZES)
def test_what_may_go_on_does_byte_for_byte_and_nothing_of_the_rest(kind: str, more: bytes, sizes: list[int]) -> None:
    result = run(FILES[kind] + more, sizes)
    if kind in PARAMS["allow"]:
        assert (result.body, result.rejected) == (FILES[kind] + more, None)
    else:
        assert (result.chunks, result.rejected.status_code) == ([], 415)
        assert result.rejected.body == "expected a file of png, webp, pdf\n"


@pytest.mark.parametrize("body", [b"", b"%", b"RIFF\x00\x01\x00\x00WAVEfmt ", b"no magic at all, but long"])
def test_what_is_none_of_them_is_refused(body: bytes) -> None:
    result = run(body, 3)
    assert (result.chunks, result.rejected.status_code) == ([], 415)


def test_a_short_file_is_known_too() -> None:
    assert run(b"%PDF-1.7", 3).body == b"%PDF-1.7"


def test_each_kind_is_known() -> None:
    assert {kind: policy.kind_of(body) for kind, body in FILES.items()} == {kind: kind for kind in FILES}


def test_it_is_decided_by_the_first_bytes_alone() -> None:
    """The rest passes unchanged."""
    body = FILES["png"]
    assert [len(chunk) for chunk in run(body, 5).chunks] == [15, 5, 5, 3]
