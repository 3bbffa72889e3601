"""Sends what a worker has finished while more waits for it.

To send costs more than most policies. So a worker that has the next execution at hand leaves its answers to this
thread. By Python's lock it comes to its turn when an execution waits, or else after a switch interval
(main.SWITCH_SECONDS): what has ended until then leaves in one frame, and no answer waits for an execution.
"""

from __future__ import annotations

from gatewright_executor import critical_thread
from gatewright_executor.running.instance import Caller


class Sender(critical_thread.WokenThread):
    """`leave` is for any thread. It stops after it has sent what is there."""

    def __init__(self) -> None:
        self._callers: set[Caller] = set()  # that have something to send
        super().__init__("sender")

    def leave(self, caller: Caller) -> None:
        """`caller` is told to send, soon."""
        self._callers.add(caller)
        self.wake()

    def _run(self) -> None:
        while self._awake.wait():
            self._awake.clear()  # before it is seen what there is
            while self._callers:
                self._callers.pop().flush()
            if self._stopped:
                return
