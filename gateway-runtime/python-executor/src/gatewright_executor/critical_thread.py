"""The executor's own threads, which it cannot work without."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gatewright_executor.replacement import replacement_needed

log = logging.getLogger(__name__)


class CriticalThread(threading.Thread):
    """A daemon thread that runs `target(*arguments)`. If it fails, a slot is never released or an answer never sent. So
    the process asks to be replaced, and goes on serving as far as possible until then."""

    def __init__(self, target: Callable[..., None], *arguments: object, name: str) -> None:
        super().__init__(target=target, args=arguments, name=name, daemon=True)

    def run(self) -> None:
        try:
            super().run()
        except BaseException:  # including MemoryError
            replacement_needed.thread_failed = True  # before anything that allocates memory
            log.critical("the thread %s has failed; this process should be replaced", self.name, exc_info=True)


class WokenThread:
    """A base for classes with a thread, `_run`, that sleeps until it is woken. Start, stop; each once.

    `_run` waits for `_awake`, clears it before it looks for work, and returns once `_stopped` is set.
    """

    def __init__(self, name: str) -> None:
        self._awake = threading.Event()
        self._stopped = False
        self._thread = CriticalThread(self._run, name=name)

    def start(self) -> None:
        """Starts the thread; once."""
        self._thread.start()

    def stop(self) -> None:
        """Has the thread end after its present work; does not wait for it."""
        self._stopped = True
        self._awake.set()

    def wake(self) -> None:
        """Wakes the thread, since there is work."""
        if not self._awake.is_set():
            self._awake.set()

    def _run(self) -> None:
        raise NotImplementedError
