"""Routes pieces and credit of one call to its streams, by the numbers of their executions."""

from __future__ import annotations

from collections.abc import Iterable

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.stream_execution import StreamExecution


class Bodies:
    """For the reading thread; `forget` is for any. Pieces and credit for an unknown number are dropped."""

    def __init__(self) -> None:
        self._streams: dict[int, StreamExecution] = {}

    def add(self, execution: StreamExecution) -> None:
        """Adds a stream, before its first piece."""
        self._streams[execution.id] = execution

    def find(self, number: int) -> StreamExecution | None:
        """The stream with that number; None if it has ended, or there was none."""
        return self._streams.get(number)

    def forget(self, number: int) -> None:
        """Removes a stream that accepts no more."""
        self._streams.pop(number, None)

    def numbers(self) -> list[int]:
        """The numbers of all streams."""
        return [*self._streams.copy()]

    def feed(self, pieces: Iterable[pb.Piece]) -> None:
        """Gives pieces to their streams, and then wakes these, so that each sees all of its pieces at once."""
        fed: dict[StreamExecution, None] = {}
        for piece in pieces:
            if (execution := self._streams.get(piece.id)) is not None:
                trailers = piece.trailers if piece.HasField("trailers") else None
                execution.feed(piece.data, piece.last, trailers)
                fed[execution] = None
        for execution in fed:
            execution.wake_for_chunk()

    def grant(self, credits_given: Iterable[pb.Credit]) -> None:
        """Gives streams credit for the pieces that they yield."""
        for credit in credits_given:
            if (execution := self._streams.get(credit.id)) is not None:
                execution.grant(credit.bytes)
