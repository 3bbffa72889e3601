"""Executions that the thread which took them in runs itself.

To hand an execution to another thread costs more than most policies. So the reader of a stream runs those of a frame
at once, one after the other: that is its turn. If one of them stands still, another thread does what is left of the
turn, and reads on. That is its guard, where there are some of which this may be expected (pace.py), for it is there at
once; of those known to be quick the watch takes care, later and for less.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from gatewright_executor import critical_thread
from gatewright_executor.running.instance import Call
from gatewright_executor.running.latency import QUICK_SECONDS
from gatewright_executor.running.worker import Worker
from gatewright_executor.running.worker_pool import Crew, Place

TURN_SECONDS = 0.005  # after which a turn leaves the rest to the workers
SEND_SECONDS = 0.0004  # after which it sends what it has; then after four times as long, and so on
LET_GO_SECONDS = 0.0008  # less than main.SWITCH_SECONDS: who waits so long for Python's lock did not take it away
PAUSE_SECONDS = 0.00005  # in which who lost the lock has it again
LOOK_SECONDS = 0.004
LOOKS = 3  # at which the same execution is there: it stands still
RESTING_LOOKS = 25  # that saw nothing run, after which the watch sleeps
log = logging.getLogger(__name__)


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
    def leave(self, call: Call) -> None:
        """Lets another thread run it."""

    def end(self) -> None:
        """After the last one."""


class Turn:
    """Executions that a reader runs. Whoever ends it first, the reader or somebody in its place, reads on."""

    __slots__ = ("_ended", "began", "calls", "worker")

    def __init__(self, calls: deque[Call], worker: Worker) -> None:
        self.calls = calls
        self.worker = worker
        self.began = time.monotonic()
        self._ended: dict[None, object] = {}

    def run(self, row: Row, is_guarded: Callable[[], bool]) -> None:
        """Runs the executions, as many as there is time for, and only quick ones unless it is guarded."""
        self.worker.mark()
        until, pause, due = self.began + TURN_SECONDS, SEND_SECONDS, self.began + SEND_SECONDS
        for call in taken(self.calls):
            if not call.instance.pace.is_quick and not is_guarded():
                row.leave(call)
                continue
            row.run(call)
            if self._ended:
                self._forgive(call)
                break
            if (ended := self.worker.ended) < due:
                continue
            if ended >= until:
                break
            call.caller.flush()  # whoever waits for these goes on meanwhile
            pause *= 4
            due = min(ended + pause, until)
        row.end()

    def _forgive(self, call: Call) -> None:
        """It was the watch that ended it, for nothing: others had the core."""
        if isinstance(self.ended_by, Watch) and not self.worker.was_slow:
            call.instance.pace.forgive()

    def end(self, by: object) -> bool:
        """Whether `by` is the first to do so; only one ever is."""
        return self._ended.setdefault(None, by) is by

    @property
    def ended_by(self) -> object:
        """None: it goes on."""
        return self._ended.get(None)


class Reader:
    """The thread that takes a stream's frames in, as a worker. `go_on` does in another thread what is left of a turn,
    and reads on; `abandon` ends the stream of which not everything is answered."""

    def __init__(
        self, watch: Watch, crew: Crew, go_on: Callable[[deque[Call]], None], abandon: Callable[[], None]
    ) -> None:
        self._watch = watch
        self._crew = crew
        self._go_on = go_on
        self._abandon = abandon
        self._guarded = False
        self._since, self._passed = 0.0, 0  # the guard waits for the lock; who had had it before
        self.turn: Turn | None = None
        self.worker = Worker()
        self._seen: Call | None = None
        self._looks = 0  # that have seen it
        watch.add(self)

    def take_turn(self, calls: deque[Call], begin: Callable[[Worker], Row]) -> bool:
        """Runs the executions, as many as there is time for. False: another thread reads on, and this one is to go."""
        turn = self.turn = Turn(calls, self.worker)
        self._watch.wake()
        try:
            turn.run(begin(self.worker), self._is_guarded)
        except Exception:
            log.exception("executions were taken in and not all answered; the stream ends")
            self._abandon()
        if turn.end(self):
            self.turn = None
            return True
        self._crew.passed += 1
        if isinstance(turn.ended_by, Place):
            self._crew.vacate(turn.ended_by)
        else:
            self._watch.retire(turn.worker)
        return False

    def close(self) -> None:
        """The stream has ended."""
        self._watch.remove(self)

    # -------------------------------------------------------------- who takes its place

    def _is_guarded(self) -> bool:
        """Whether another thread waits for Python's lock behind this one."""
        if not self._guarded:
            self._guarded = True  # before that thread can say that it is there
            self.waits_from(time.monotonic())
            if not self._crew.lend(self._guard):
                self._guarded = False
        return self._guarded

    def _guard(self, place: Place) -> bool:
        """Its duty: whenever it has the lock, it sees whether the turn stands still."""
        while True:
            while (turn := self.turn) is not None:
                if self.stands_still(turn) and turn.end(place):
                    self._guarded = False
                    self._change_places(turn, place)
                    return False
                self.waits_from(time.monotonic() + PAUSE_SECONDS)
                time.sleep(PAUSE_SECONDS)
            self._guarded = False
            if self.turn is None:  # else one began while its reader saw a guard that was about to leave
                return True
            self._guarded = True

    def _change_places(self, turn: Turn, place: Place) -> None:
        self.turn = None
        self.worker, place.worker = place.worker, turn.worker
        self._go_on(turn.calls)

    def waits_from(self, now: float) -> None:
        """From then on its guard waits for the lock."""
        self._since, self._passed = now, self._crew.passed

    def stands_still(self, turn: Turn) -> bool:
        """Whether it was the turn that let the lock go, and not one that had it meanwhile; or it keeps it for long."""
        call, now = turn.worker.call, time.monotonic()
        if call is None or self._passed != self._crew.passed:
            return False
        return now - max(self._since, turn.began) < LET_GO_SECONDS or now - call.started > QUICK_SECONDS

    # -------------------------------------------------------------- for the watch

    def look(self) -> None:
        """Ends the turn if it stands still."""
        turn = self.turn
        call = turn.worker.call if turn is not None else None
        self._looks = self._looks + 1 if call is self._seen else 1
        self._seen = call
        if turn is not None and call is not None and self._looks >= LOOKS and turn.end(self._watch):
            self.turn, self.worker = None, Worker()
            self._watch.count(turn.worker)
            call.instance.pace.lose()
            critical_thread.Thread(self._take_over, turn, name="connection").start()

    def _take_over(self, turn: Turn) -> None:
        self._go_on(turn.calls)
        self._crew.join()


class Watch(critical_thread.WokenThread):
    """Looks at all readers' turns, as long as there are any. Each that begins wakes it."""

    def __init__(self) -> None:
        self._readers: set[Reader] = set()
        self._workers: set[Worker] = set()  # of turns that it has ended, and that are still not over
        self._retired = Worker()  # what those that have gone have done
        self._lock = threading.Lock()
        super().__init__("watch")

    @property
    def workers(self) -> list[Worker]:
        """All that have run executions so far, for whoever counts these."""
        with self._lock:
            return [*(reader.worker for reader in self._readers), *self._workers, self._retired]

    # -------------------------------------------------------------- readers come and go

    def add(self, reader: Reader) -> None:
        with self._lock:
            self._readers.add(reader)

    def remove(self, reader: Reader) -> None:
        with self._lock:
            if reader in self._readers:
                self._readers.discard(reader)
                self._retire(reader.worker)

    def count(self, worker: Worker) -> None:
        """It runs the last execution of a turn that is ended."""
        with self._lock:
            self._workers.add(worker)

    def retire(self, worker: Worker) -> None:
        """It has run that."""
        with self._lock:
            self._workers.discard(worker)
            self._retire(worker)

    def _retire(self, worker: Worker) -> None:
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
