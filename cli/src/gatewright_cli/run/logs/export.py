"""Applies the Gateway's settings for log lines, as the engine knows them: redacts secret names (spec.redaction), and
hands lines to the engine, which sends them to a collector (spec.logs).

Lines wait here until the engine takes them: it starts after the first lines, and may be restarting. If the engine has
no collector, no lines are kept, and it is asked again every few seconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from gatewright_cli.clients.engine_admin import EngineAdmin, SecretNames
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.run.logs.line_redaction import LineRedaction
from gatewright_cli.supervision.logs.output import LogOutput

MOST_BYTES = 4 * 1024 * 1024
BATCH_BYTES = 1024 * 1024
SEND_SECONDS = 0.5
ASK_SECONDS = 3.0


class LogExport:
    """Takes lines from an output while it runs. `run` it; `flush` before the engine stops.

    names: the secret names until the engine answers. most_bytes: the limit of waiting lines; lines beyond are counted.
    """

    def __init__(
        self, output: LogOutput, engine: EngineAdmin, names: SecretNames | None, most_bytes: int = MOST_BYTES
    ) -> None:
        self._output, self._engine, self._most_bytes = output, engine, most_bytes
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._bytes = self._dropped = 0
        self._lock = threading.Lock()
        self._names: SecretNames | None = None
        self._redact_by(names)
        output.export = self.take

    def take(self, lines: bytes, count: int) -> None:
        """Queues JSON lines, each with its end. Call it from any thread; it never blocks and never raises."""
        with self._lock:
            if self._bytes + len(lines) > self._most_bytes:
                self._dropped += count
                return
            self._waiting.append((lines, count))
            self._bytes += len(lines)

    async def run(self) -> None:
        """Flushes regularly until it is cancelled."""
        while True:
            wanted = await self.flush()
            await asyncio.sleep(SEND_SECONDS if wanted else ASK_SECONDS)

    async def flush(self) -> bool:
        """Hands the waiting lines to the engine. False if the engine has no collector."""
        try:
            settings = await self._engine.logs()
            wanted = settings.exporting
            self._redact_by(settings.redaction)
            self._output.export = self.take if wanted else None
            if not wanted:
                self._forget()
                return False
            while batch := self._batch():
                await self._send(batch)
        except LocalHttpError:  # the engine is starting or restarting
            return True
        if dropped := self._dropped:
            self._dropped -= dropped
            self._output.event("log lines not exported: the engine did not take them", "warning", lines=dropped)
        return True

    def _redact_by(self, names: SecretNames | None) -> None:
        if names is not None and names != self._names:
            self._names = names
            self._output.shown = LineRedaction(names)

    async def _send(self, batch: list[tuple[bytes, int]]) -> None:
        try:
            await self._engine.export_logs(b"".join(lines for lines, _ in batch))
        except BaseException:
            with self._lock:
                self._waiting.extendleft(reversed(batch))
                self._bytes += sum(len(lines) for lines, _ in batch)
            raise

    def _batch(self) -> list[tuple[bytes, int]]:
        batch: list[tuple[bytes, int]] = []
        size = 0
        with self._lock:
            while self._waiting and (not batch or size + len(self._waiting[0][0]) <= BATCH_BYTES):
                batch.append(self._waiting.popleft())
                size += len(batch[-1][0])
            self._bytes -= size
        return batch

    def _forget(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._bytes = self._dropped = 0
