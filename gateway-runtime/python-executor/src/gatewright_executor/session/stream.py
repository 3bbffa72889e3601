"""One stream of the engine: executions in, answers out. A call of ExecuteStream, and the sink of its executions."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gatewright.policy import FailureClass

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.translator import encode_failure
from gatewright_executor.grpc.protocol import Status
from gatewright_executor.policies.failure import Failure, Where
from gatewright_executor.running.inline_runner import InlineRunner, drained
from gatewright_executor.running.instance import STREAMS, Execution
from gatewright_executor.running.stream_execution import StreamExecution
from gatewright_executor.running.tracing import tracing
from gatewright_executor.session.bodies import Bodies
from gatewright_executor.session.instances import Instances, Process
from gatewright_executor.session.replies import Replies, Writer
from gatewright_executor.session.store_calls import StoreCalls

log = logging.getLogger(__name__)


class Stream:
    """Gets frames from the reading thread (`message`), and sends answers by `writer`, from any thread.

    runner: of the connection. ended: called after the last answer.
    """

    def __init__(
        self, process: Process, writer: Writer, runner: InlineRunner, ended: Callable[[Stream], None] = lambda _: None
    ) -> None:
        self._dispatcher = process.dispatcher
        self._writer = writer
        self._runner = runner
        self._ended = ended
        max_backlog = process.dispatcher.limits.max_backlog
        self._replies = Replies(writer, lambda: process.dispatcher.backlog, self._close, max_backlog)
        self._store_calls = StoreCalls(self._replies, runner)
        self.instances = Instances(process, self._replies, self._store_calls)
        self._bodies = Bodies()
        self._pending: dict[int, Execution] = {}  # accepted, not started
        self._running: dict[int, Execution] = {}
        self._draining = False
        tracing.sink = self
        self._replies.put_hello(process.hello)
        self._replies.flush()

    # -------------------------------------------------------------- the call

    def message(self, data: bytes) -> None:
        """Receives a serialized RequestFrame. An error ends the stream."""
        try:
            self.receive(pb.RequestFrame.FromString(data))
        except Exception as error:
            log.exception("a frame could not be received; the stream ends")
            self._writer.finish(Status.INTERNAL, f"a frame could not be received: {error}")
            self.abort()

    def half_closed(self) -> None:
        """Called when the engine sends no more frames."""
        self._store_calls.end()
        self.drain()

    def aborted(self) -> None:
        """Called when the engine does not wait for answers any more."""
        self.abort()

    def receive(self, frame: pb.RequestFrame) -> None:
        """Handles a frame's content in this order: store results, configure, executions, pieces, credit, cancel, close.

        Quick executions run in this thread.
        """
        if frame.store_results:
            self._store_calls.settle(frame.store_results)
        self.instances.promote_successors()
        for configure in frame.configure:
            self.instances.configure(configure)
        now = self._dispatcher.clock() if frame.executions else 0.0
        inline = deque(
            execution for message in frame.executions if (execution := self._accept(message, now)) is not None
        )
        if frame.pieces or frame.credit:
            self._bodies.feed(frame.pieces)
            self._bodies.grant(frame.credit)
        for late in frame.timed_out:
            self._log_late(late)
        for number in frame.cancel:
            self._cancel(number)
        if frame.close:
            self._close_instances(frame.close, inline)
        self._replies.acknowledge()
        if inline:
            self._runner.run(inline, self)
        else:
            self._replies.flush()

    def drain(self) -> None:
        """Ends the stream when all accepted executions are answered; further ones are refused as unavailable."""
        self._draining = True
        self._replies.end_when(lambda: not self._pending and not self._running and tracing.flush())
        self._replies.flush()

    # -------------------------------------------------------------- the sink (ResultSink)

    def claim(self, execution: Execution) -> bool:
        """Whether the execution may start: False if it was cancelled."""
        self._running[execution.id] = execution
        if self._pending.pop(execution.id, None) is not None:  # a worker or a cancellation: the first to pop it decides
            return True
        self._running.pop(execution.id, None)
        return False

    def deliver(self, execution: Execution, action: bytes | None) -> None:
        """Queues the action of a claimed execution."""
        if action is not None:
            self._replies.put_action(action)
        self._running.pop(execution.id, None)
        if execution.is_stream:
            self._bodies.forget(execution.id)

    def put_piece(self, execution: Execution, parts: Sequence[bytes | memoryview]) -> None:
        """Queues a piece that a stream has yielded."""
        self._replies.put_piece(execution.id, parts)

    def put_credit(self, execution: Execution, size: int) -> None:
        """Queues credit for the bytes that a stream has taken."""
        self._replies.put_credit(execution.id, size)

    def put_spans(self, spans: bytes) -> bool:
        """Queues spans of policies, a serialized ResourceSpans (SpanSink). False: too many wait already."""
        return self._replies.put_spans(spans)

    def flush(self) -> None:
        """Sends the queued replies."""
        self._replies.flush()

    def abort(self) -> None:
        """Ends the stream at once, and cancels its executions, since the engine does not wait for its answers."""
        self._draining = True
        self._store_calls.end()
        for number in [*self._pending, *self._bodies.numbers()]:
            self._cancel(number)
        self._replies.end_when(lambda: True)
        self._replies.flush()

    # -------------------------------------------------------------- the content of frames

    def _accept(self, message: pb.Execution, now: float) -> Execution | None:
        """Submits an execution, or returns it if this thread must run it."""
        instance = self.instances.get(message.instance)
        if instance is None or self._draining:
            why = "it is stopping" if self._draining else f"no instance {message.instance} is configured on this stream"
            failure = Failure(FailureClass.UNAVAILABLE, f"the executor did not start the execution: {why}")
            self._replies.put_action(encode_failure(message.id, failure))
            return None
        execution = Execution(message, instance, now + message.timeout_us / 1e6, self)
        if execution.phase in STREAMS:
            self._accept_stream(StreamExecution(message, instance, self._dispatcher.clock, self))
            return None
        self._pending[execution.id] = execution
        if instance.runs_inline(execution.phase):
            return execution
        self._dispatcher.submit(execution)
        return None

    def _accept_stream(self, execution: StreamExecution) -> None:
        self._pending[execution.id] = execution
        execution.source = self._bodies.find(execution.message.source)
        self._bodies.add(execution)
        self._dispatcher.submit_stream(execution)

    def _log_late(self, late: pb.TimedOut) -> None:
        execution = self._pending.get(late.id) or self._running.get(late.id)
        instance = execution.instance if execution is not None else self.instances.get(late.instance)
        where = self._dispatcher.timeout_log.record(late, instance, execution) if instance is not None else Where()
        self._replies.put_located(late.id, *where.file_and_line)

    def _cancel(self, number: int) -> None:
        execution = self._pending.pop(number, None)
        if execution is None:
            execution = self._running.get(number)  # its body is removed when it ends, since it may still be fed
        else:
            self._bodies.forget(number)
        if execution is not None:
            self._dispatcher.cancel(execution)
        if self._draining:
            self._replies.flush()

    def _close_instances(self, numbers: Iterable[int], inline: deque[Execution]) -> None:
        """Closes instances after submitting the executions of this frame, which must reach them first."""
        for execution in drained(inline):
            self._dispatcher.submit(execution)
        self.instances.close(numbers)

    def _close(self) -> None:
        """Called after the last answer."""
        self._store_calls.end()
        self.instances.close_all()
        self._ended(self)
