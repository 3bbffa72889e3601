"""What leaves in which frame, and when a stream has ended."""

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.grpc.protocol import Status
from gatewright_executor.running.limits import LIMITS
from gatewright_executor.session import replies as module
from gatewright_executor.session.replies import MAX_FRAME_BYTES, Replies


class Sent:
    """A writer, with waiting executions and a function to call at the end."""

    def __init__(self) -> None:
        self.frames: list[pb.ReplyFrame] = []
        self.events: list[str] = []
        self.backlog = 0
        self.replies = Replies(self, lambda: self.backlog, lambda: self.events.append("ended"))

    def send(self, message: bytes) -> None:
        self.frames.append(pb.ReplyFrame.FromString(message))
        self.events.append("sent")

    def finish(self, _status: Status = Status.OK, _why: str = "") -> None:
        self.events.append("finished")


def action(number: int, size: int = 0) -> bytes:
    return pb.Action(id=number, set_headers=b"x" * size).SerializeToString()


def test_all_that_is_there_leaves_in_one_frame() -> None:
    sent = Sent()
    sent.replies.put_hello(pb.Hello(pid=7))
    sent.replies.put_status(pb.InstanceStatus(instance=3))
    for number in range(3):
        sent.replies.put_action(action(number))
    sent.replies.acknowledge()
    sent.replies.flush()
    assert sent.events == ["sent"]
    frame = sent.frames[0]
    assert (frame.hello.pid, frame.instances[0].instance, frame.frames_acknowledged) == (7, 3, 1)
    assert [action.id for action in frame.actions] == [0, 1, 2]
    sent.replies.flush()
    assert sent.events == ["sent"], "there is no reason for a frame"


def test_a_frame_ends_with_the_answer_that_passes_its_limit() -> None:
    sent = Sent()
    for number in range(5):
        sent.replies.put_action(action(number, MAX_FRAME_BYTES // 2))
    sent.replies.flush()
    assert [[action.id for action in frame.actions] for frame in sent.frames] == [[0, 1, 2], [3, 4]] or [
        [action.id for action in frame.actions] for frame in sent.frames
    ] == [[0, 1], [2, 3], [4]]
    assert all(frame.ByteSize() < 2 * MAX_FRAME_BYTES for frame in sent.frames)


def test_a_batch_of_spans_has_a_frame_of_its_own_or_shares_it_with_no_other_one() -> None:
    sent = Sent()
    sent.replies.put_action(action(1))
    taken = [sent.replies.put_spans(b"%d" % number) for number in range(module.MAX_SPANS + 1)]
    assert taken == [True] * module.MAX_SPANS + [False]
    sent.replies.end_when(lambda: True)
    sent.replies.flush()
    assert [frame.spans for frame in sent.frames] == [[b"%d" % number] for number in range(module.MAX_SPANS)]
    assert [[action.id for action in frame.actions] for frame in sent.frames] == [[1], *[[]] * (module.MAX_SPANS - 1)]
    assert sent.events == [*["sent"] * module.MAX_SPANS, "finished", "ended"]
    assert sent.replies.put_spans(b"late")
    sent.replies.flush()
    assert sent.events[-1] == "ended", "the stream takes no frames any more"


def test_frames_are_not_acknowledged_while_too_many_executions_wait() -> None:
    sent = Sent()
    sent.backlog = LIMITS.max_backlog + 1
    for _ in range(2):
        sent.replies.acknowledge()
        sent.replies.flush()
    assert sent.frames == []
    sent.replies.put_action(action(1))
    sent.replies.flush()
    assert [frame.frames_acknowledged for frame in sent.frames] == [0]
    sent.backlog = LIMITS.max_backlog
    sent.replies.flush()
    assert [frame.frames_acknowledged for frame in sent.frames] == [0, 2]


def test_it_ends_once_after_the_last_answer() -> None:
    sent, under_way = Sent(), {1}
    sent.replies.end_when(lambda: not under_way)
    sent.replies.flush()
    assert sent.events == []
    sent.replies.put_action(action(1))
    under_way.clear()
    sent.replies.flush()
    assert sent.events == ["sent", "finished", "ended"]
    sent.replies.flush()
    assert sent.events == ["sent", "finished", "ended"]


def test_answers_that_come_while_a_thread_sends_are_sent_by_that_thread() -> None:
    sent = Sent()
    send = sent.send

    def send_and_more(message: bytes) -> None:
        send(message)
        if len(sent.frames) == 1:
            sent.replies.put_action(action(2))
            sent.replies.flush()  # as another thread would: it does not wait

    sent.send = send_and_more  # type: ignore[method-assign]
    sent.replies.put_action(action(1))
    sent.replies.flush()
    assert [[action.id for action in frame.actions] for frame in sent.frames] == [[1], [2]]
