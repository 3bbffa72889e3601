"""Sends what a worker has finished while more waits for it.

To send costs more than most policies. So a worker that has the next execution at hand leaves its answers to this
thread. By Python's lock it comes to its turn when an execution waits, or else after a switch interval
(main.SWITCH_SECONDS): what has ended until then leaves in one frame, and no answer waits for an execution.
"""

from __future__ import annotations

import threading

from gatewright_executor import vital
from gatewright_executor.instance import Caller


class Sender:
    """Start, stop; each once. `leave` is for any thread."""

    def __init__(self) -> None:
        self._callers: set[Caller] = set()  # that have something to send
        self._awake = threading.Event()
        self._stopped = False
        self._thread = vital.Thread(self._run, name="sender")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """After it has sent what is there."""
        self._stopped = True
        self._awake.set()

    def leave(self, caller: Caller) -> None:
        """`caller` is told to send, soon."""
        self._callers.add(caller)
        if not self._awake.is_set():
            self._awake.set()

    def _run(self) -> None:
        while self._awake.wait():
            self._awake.clear()  # before it is seen what there is
            while self._callers:
                self._callers.pop().flush()
            if self._stopped:
                return
