"""A connection to PostgreSQL whose server has a bounded time to answer.

A server that hangs keeps its connections open, and its kernel acknowledges what is sent: neither the server's own
limits nor those of TCP end the wait.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

Value = TypeVar("Value")
SILENT_SECONDS = 15.0
"""The longest that a server may send nothing while it is waited for: more than a write waits for another one's lock."""
SILENT = f"expected an answer within {SILENT_SECONDS:.0f} s, got none"


class BoundedConnection(psycopg.Connection[Any]):
    """Closed where the server is silent for too long."""

    def wait(self, gen: PQGen[Value], *arguments: Any, **named: Any) -> Value:
        """As psycopg's, which asks the generator again each time that a tenth of a second has passed without an event.
        Raises psycopg.OperationalError."""
        return super().wait(self._bounded(gen), *arguments, **named)

    def _bounded(self, operation: PQGen[Value]) -> PQGen[Value]:
        try:
            awaited, end = next(operation), monotonic() + SILENT_SECONDS
            while True:
                ready = yield awaited
                if ready:
                    end = monotonic() + SILENT_SECONDS
                elif monotonic() > end:
                    self.close()
                    raise psycopg.OperationalError(SILENT)
                awaited = operation.send(ready)
        except StopIteration as done:
            value: Value = done.value
            return value
