"""Threads of the executor's own, which it cannot do without."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gatewright_executor.replacement import replacement_needed

log = logging.getLogger(__name__)


class CriticalThread(threading.Thread):
    """A daemon that runs `target(*arguments)`. Where that fails, something stays undone for ever: a slot is not given
    back, an answer not sent. So the process asks to be replaced, and does until then what it still can."""

    def __init__(self, target: Callable[..., None], *arguments: object, name: str) -> None:
        super().__init__(target=target, args=arguments, name=name, daemon=True)

    def run(self) -> None:
        try:
            super().run()
        except BaseException:  # MemoryError among them, whoever holds the memory
            replacement_needed.thread_failed = True  # before anything that takes memory
            log.critical("the thread %s has failed; this process should be replaced", self.name, exc_info=True)


class WokenThread:
    """What has a thread that sleeps until it is woken: `_run`. Start, stop; each once.

    `_run` waits for `_awake`, clears it before it looks what there is to do, and returns once `_stopped` is set.
    """

    def __init__(self, name: str) -> None:
        self._awake = threading.Event()
        self._stopped = False
        self._thread = CriticalThread(self._run, name=name)

    def start(self) -> None:
        """Starts the thread; once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after what it does now; does not wait for that."""
        self._stopped = True
        self._awake.set()

    def wake(self) -> None:
        """There is something to do."""
        if not self._awake.is_set():
            self._awake.set()

    def _run(self) -> None:
        raise NotImplementedError
