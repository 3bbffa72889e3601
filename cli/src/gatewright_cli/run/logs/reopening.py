"""SIGUSR1: opens all log files of a run again, so that logrotate(8) can move them away."""

from __future__ import annotations

import asyncio

from gatewright_documents.os_errors import os_reason

from gatewright_cli.clients.envoy_admin import EnvoyAdmin
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.supervision.logs.files import LogFiles
from gatewright_cli.supervision.logs.output import LogOutput

CURE = "make its folder writable to this user, and send SIGUSR1 again; until then lines go to the old file"


class LogReopening:
    """Reopens the log files of a run. envoy: writes the access logs that the Gateway names."""

    def __init__(self, output: LogOutput, files: LogFiles, envoy: EnvoyAdmin) -> None:
        self._output, self._files, self._envoy = output, files, envoy
        self._tasks: set[asyncio.Task[None]] = set()

    def on_signal(self) -> None:
        """Reopens the files in a task of its own."""
        task = asyncio.create_task(self.reopen(), name="log files")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def reopen(self) -> None:
        """Reopens Envoy's files and those of the run's own output. Logs files that cannot be opened."""
        access_logs = await self._reopen_access_logs()
        try:
            reopened = self._files.reopen()
        except OSError as error:
            self._output.event("log files cannot be reopened", "error", reason=os_reason(error), cure=CURE)
        else:
            self._output.event("log files reopened", files=reopened, accessLogs=access_logs)

    async def _reopen_access_logs(self) -> bool:
        """Whether Envoy has reopened its files; without an answer, it opens them at its next start."""
        try:
            return await self._envoy.reopen_logs()
        except LocalHttpError:
            return False
