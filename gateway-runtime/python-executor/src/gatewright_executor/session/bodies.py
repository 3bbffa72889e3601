"""The streams of one call, by the numbers of their executions: what comes for a body goes to the one it is for."""

from __future__ import annotations

from collections.abc import Iterable

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.stream_execution import StreamExecution


class Bodies:
    """For the thread that reads; `forget` is for any. What comes for a number that is not there is dropped."""

    def __init__(self) -> None:
        self._streams: dict[int, StreamExecution] = {}

    def add(self, execution: StreamExecution) -> None:
        """Before anything comes for it."""
        self._streams[execution.id] = execution

    def forget(self, number: int) -> None:
        """It takes no more."""
        self._streams.pop(number, None)

    def numbers(self) -> list[int]:
        """Those that are there."""
        return [*self._streams.copy()]

    def feed(self, pieces: Iterable[pb.Piece]) -> None:
        """Pieces of bodies. Who waits for one goes on when all have been handed on, with all that is there for it."""
        fed: dict[StreamExecution, None] = {}
        for piece in pieces:
            if (execution := self._streams.get(piece.id)) is not None:
                trailers = piece.trailers if piece.HasField("trailers") else None
                execution.feed(piece.data, piece.last, trailers)
                fed[execution] = None
        for execution in fed:
            execution.wake_for_chunk()

    def grant(self, credits_given: Iterable[pb.Credit]) -> None:
        """For pieces of what streams yield."""
        for credit in credits_given:
            if (execution := self._streams.get(credit.id)) is not None:
                execution.grant(credit.bytes)
