"""The bytes of a kept answer in the store."""

import pytest
from sdk import testing

policy = testing.load_policy(__file__)


@pytest.mark.parametrize(
    "value",
    [
        b"", b"\n", b"[]\nx", b"no JSON\nx", b'[1,"a/b",1.0,1,1,2]\nx', b'[2,"a/b",1.0,1,1,1]\nx',
        b'[1,"a\\r\\nb",1.0,1,1,1]\nx', b'[1,"a/b",1.0,-1,1,1]\nx', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_value_is_no_answer(value: bytes) -> None:
    assert policy.decode(value) is None


def test_a_value_is_read_as_it_was_written() -> None:
    entry = policy.Entry("application/json", b"{}\n\x00", 1.5, 2, 3)
    assert policy.decode(entry.encode()) == entry
