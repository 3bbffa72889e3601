"""Logs which policy is being imported while an import takes long.

The process that waits for the executor to start sees by these lines that it makes progress.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

FIRST_SECONDS = 2.0
EVERY_SECONDS = 5.0
LIMIT_SECONDS = 300.0  # after which one import no longer counts as progress
log = logging.getLogger(__name__)


class ImportProgress:
    """A context manager around the imports; call `start_import` before each."""

    def __init__(
        self,
        policies: int,
        first: float = FIRST_SECONDS,
        every: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policies, self._first, self._every, self._clock = policies, first, every, clock
        self._number, self._policy, self._began = 0, "", clock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="import-progress", daemon=True)

    def start_import(self, policy: str) -> None:
        """The import of "name:version" begins."""
        self._number, self._policy, self._began = self._number + 1, policy, self._clock()

    def __enter__(self) -> ImportProgress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        wait = self._first
        while not self._done.wait(wait):
            wait = self._every
            seconds = self._clock() - self._began
            if seconds < LIMIT_SECONDS:
                log.info(
                    "importing policy %s (%d of %d), for %.0f s", self._policy, self._number, self._policies, seconds
                )
