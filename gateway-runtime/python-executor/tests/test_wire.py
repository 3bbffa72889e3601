from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert import wire
from hypothesis import given
from hypothesis import strategies as st

ACTION, REPLY = wire.keys(pb.Action), wire.keys(pb.ReplyFrame)


@given(st.integers(0, 2**64 - 1), st.integers(0, 599), st.binary(max_size=300) | st.just(b"x" * 5000))
def test_what_is_written_by_hand_is_what_protobuf_reads(number: int, status: int, body: bytes) -> None:
    raw = ACTION["id"] + wire.varint(number) + ACTION["status_code"] + wire.varint(status)
    raw += wire.delimited(ACTION["body"], body) + wire.delimited(ACTION["metadata_removed"], b"key")
    action = pb.Action.FromString(raw)
    assert action == pb.Action(id=number, status_code=status, body=body, metadata_removed=["key"])
    frame = pb.ReplyFrame.FromString(wire.delimited(REPLY["actions"], raw) * 2)
    assert [*frame.actions] == [action, action]
