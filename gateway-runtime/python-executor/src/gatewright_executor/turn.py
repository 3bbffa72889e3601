"""Executions that the thread which took them in runs itself, since they are known to be quick (pace.py).

To hand an execution to another thread costs more than most policies. So the reader of a stream runs the quick ones of
a frame at once, one after the other: that is its turn. Should one of them stand still after all, the watch ends the
turn: what it has not begun goes to the workers, and another thread reads on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from gatewright_executor.instance import Call
from gatewright_executor.worker import Worker

TURN_SECONDS = 0.005  # after which a turn leaves the rest to the workers
SEND_SECONDS = 0.0004  # after which it sends what it has; then after four times as long, and so on
LOOK_SECONDS = 0.004
LOOKS = 3  # at which the same execution is there: it stands still
RESTING_LOOKS = 25  # that saw nothing run, after which the watch sleeps


def taken(calls: deque[Call]) -> Iterator[Call]:
    """Takes the calls out, first in first out; each goes to one thread, however many take at once."""
    while True:
        try:
            call = calls.popleft()
        except IndexError:
            return
        yield call


class Row(Protocol):
    """What runs the executions, one after the other (dispatch.Row)."""

    def run(self, call: Call) -> None: ...
    def end(self) -> None:
        """After the last one."""


class Turn:
    """One frame's quick executions. Whoever ends it first, its reader or the watch, decides who reads on."""

    __slots__ = ("_ends", "calls", "worker")

    def __init__(self, calls: deque[Call], worker: Worker) -> None:
        self.calls = calls
        self.worker = worker
        self._ends = [True]

    def run(self, row: Row) -> None:
        """Runs the executions, as many as there is time for; ends early where the watch has ended it."""
        self.worker.mark()
        began = time.monotonic()
        until, pause, due = began + TURN_SECONDS, SEND_SECONDS, began + SEND_SECONDS
        for call in taken(self.calls):
            row.run(call)
            if not self._ends:
                if not self.worker.was_slow:
                    call.instance.pace.forgive()
                break
            if (ended := self.worker.ended) < due:
                continue
            if ended >= until:
                break
            call.caller.flush()  # whoever waits for these goes on meanwhile
            pause *= 4
            due = min(ended + pause, until)
        row.end()

    def end(self) -> bool:
        """Whether it was the first to do so; only one thread ever is."""
        try:
            return self._ends.pop()
        except IndexError:
            return False


class Reader:
    """The thread that takes a stream's frames in, as a worker. `displace` hears of a turn that the watch has ended."""

    def __init__(self, watch: Watch, displace: Callable[[Turn], None]) -> None:
        self._watch = watch
        self._displace = displace
        self.worker = Worker()
        self.turn: Turn | None = None
        self._seen: Call | None = None
        self._looks = 0  # that have seen it
        watch.add(self)

    def take_turn(self, calls: deque[Call], begin: Callable[[Worker], Row]) -> bool:
        """Runs the executions, as many as there is time for. False: another thread reads on, and this one is to go."""
        turn = self.turn = Turn(calls, self.worker)
        self._watch.wake()
        turn.run(begin(self.worker))
        if turn.end():
            self.turn = None
            return True
        self._watch.retire(turn.worker)
        return False

    def look(self) -> None:
        """Ends the turn if it stands still. For the watch only."""
        turn = self.turn
        call = turn.worker.call if turn is not None else None
        self._looks = self._looks + 1 if call is self._seen else 1
        self._seen = call
        if turn is not None and call is not None and self._looks >= LOOKS and turn.end():
            call.instance.pace.lose()
            self.turn, self.worker = None, Worker()
            self._watch.count(self.worker)  # the other one too, until its turn is over
            self._displace(turn)

    def close(self) -> None:
        """The stream has ended."""
        self._watch.remove(self)


class Watch:
    """Looks at all readers' turns, as long as there are any. Start, stop; each once."""

    def __init__(self) -> None:
        self._readers: set[Reader] = set()
        self._workers: set[Worker] = set()  # the readers', and those of turns that are still not over
        self._retired = Worker()  # what those that have gone have done
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._awake.set()

    def wake(self) -> None:
        """A turn begins."""
        if not self._awake.is_set():
            self._awake.set()

    @property
    def workers(self) -> list[Worker]:
        """All that have run executions so far, for whoever counts these."""
        with self._lock:
            return [*self._workers, self._retired]

    # -------------------------------------------------------------- readers come and go

    def add(self, reader: Reader) -> None:
        with self._lock:
            self._readers.add(reader)
            self._workers.add(reader.worker)

    def remove(self, reader: Reader) -> None:
        with self._lock:
            self._readers.discard(reader)
        self.retire(reader.worker)

    def count(self, worker: Worker) -> None:
        with self._lock:
            self._workers.add(worker)

    def retire(self, worker: Worker) -> None:
        with self._lock:
            if worker in self._workers:
                self._workers.discard(worker)
                self._retired.started += worker.started
                self._retired.finished += worker.finished

    # -------------------------------------------------------------- its thread

    def _run(self) -> None:
        while self._awake.wait() and not self._stopped:
            self._look_until_all_rest()

    def _look_until_all_rest(self) -> None:
        before, resting = -1, 0
        while resting < RESTING_LOOKS and not self._stopped:
            time.sleep(LOOK_SECONDS)
            readers = self._look()
            ran = _started(self.workers)
            resting = resting + 1 if ran == before and not any(reader.turn for reader in readers) else 0
            before = ran
        self._awake.clear()
        if _started(self.workers) != before or self._stopped:
            self._awake.set()

    def _look(self) -> list[Reader]:
        with self._lock:
            readers = [*self._readers]
        for reader in readers:
            reader.look()
        return readers


def _started(workers: Iterable[Worker]) -> int:
    return sum(worker.started for worker in workers)
