import pytest
from gatewright_executor.grpc.message_framing import CompressedError, MessageReader, MessageTooLargeError, frame_message
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.binary(max_size=40) | st.just(b"x" * 3000), max_size=8), st.data())
def test_any_chunking_gives_the_same_messages(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame_message, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    reader = MessageReader(3000)
    assert [message for piece in pieces for message in reader.feed(piece)] == messages
    assert reader.is_between


def test_a_message_that_has_begun() -> None:
    reader = MessageReader(10)
    assert [*reader.feed(frame_message(b"abc") + b"\0\0")] == [b"abc"]
    assert not reader.is_between


def test_what_is_too_large_is_refused_by_its_prefix() -> None:
    with pytest.raises(MessageTooLargeError, match="expected a message of at most 10 bytes, got one of 11"):
        MessageReader(10).feed(frame_message(b"x" * 11)[:5])


def test_what_is_compressed_is_refused() -> None:
    with pytest.raises(CompressedError):
        MessageReader(10).feed(b"\1" + frame_message(b"x")[1:])
