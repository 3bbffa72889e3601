"""The worker threads: they run executions, and stand guard for those who run some elsewhere.

An execution goes to a thread that is idle, or else to the first that is again. A guard is of use at once or not at all,
so it is taken from those that are idle. Where it has to take somebody's part, it leaves its place here to that one: so
there are as many threads, whoever they are. More come when they are told to (growth.py), and go when they have been
idle for long.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from gatewright_executor import critical_thread, memory
from gatewright_executor.running.instance import Call
from gatewright_executor.running.worker import Worker

IDLE_SECONDS = 30.0  # after which a thread goes that was not there at first
log = logging.getLogger(__name__)
Duty: TypeAlias = Callable[["Place"], bool]
"""What a thread is lent for, in its place. False: the place is another's by now."""


class Place:
    """What one thread at a time has: it rests here until it is called."""

    __slots__ = ("_called", "duty", "worker")

    def __init__(self) -> None:
        self.worker = Worker()
        self.duty: Duty | None = None
        self._called = threading.Lock()
        self._called.acquire()

    def call(self) -> None:
        self._called.release()

    def rest(self, seconds: float) -> bool:
        """Returns once called; at once if that was before. False: not called for so long; -1: for ever."""
        return self._called.acquire(True, seconds)


class Crew:
    """`run` runs an execution as the worker of its thread. Start, stop; each once.

    size: threads at first, and always. most: those that `grow` may make of them. idle_seconds: after which one of the
    latter goes.
    """

    def __init__(
        self, size: int, run: Callable[[Call, Worker], None], most: int = 0, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._run = run
        self._size = size
        self._most = max(size, most)
        self._idle_seconds = idle_seconds
        self._places = [Place() for _ in range(size)]
        self._gone = Worker()  # what those have done whose places are no more
        self._dismissing = threading.Lock()
        self._vacant: list[Place] = []
        self._idle: list[Place] = []
        self._calls: deque[Call] = deque()
        self.passed = 0  # executions that ended in here, or after their reader's turn: each had Python's lock for that
        self._one_comes = False  # called, and not there yet
        self._stopped = False

    @property
    def backlog(self) -> int:
        """How many executions wait for a thread."""
        return len(self._calls)

    @property
    def grown(self) -> int:
        """How many threads more there are than at first."""
        return len(self._places) - self._size

    @property
    def is_short(self) -> bool:
        """Whether `grow` would make more."""
        return len(self._places) < self._most and len(self._calls) > len(self._idle)

    @property
    def workers(self) -> list[Worker]:
        return [self._gone, *(place.worker for place in self._places)]

    def start(self) -> None:
        self._vacant += self._places
        for number in range(len(self._places)):
            critical_thread.Thread(self.join, name=f"worker-{number}").start()

    def stop(self) -> None:
        """Ends each thread after what it does now; what is queued behind is not started."""
        self._stopped = True
        while self._call_one():
            memory.make_room(self.grown + 1)

    def put(self, call: Call) -> None:
        """Lets a thread run it."""
        self._calls.append(call)
        self._call_more()

    def lend(self, duty: Duty) -> bool:
        """Gives `duty` to an idle thread. False: there is none."""
        return self._call_one(duty)

    def grow(self) -> None:
        """A thread more for each execution that waits for one. Where the system refuses one, it is not asked again."""
        for _ in range(min(len(self._calls) - len(self._idle), self._most - len(self._places))):
            memory.make_room(self.grown + 1)
            thread = critical_thread.Thread(self._begin, place := Place(), name=f"worker-{len(self._places)}")
            self._places.append(place)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._places.remove(place)
                self._most = len(self._places)
                log.warning("policies that wait have %d threads and get no more: %s", self._most, error)
                return

    def vacate(self, place: Place) -> None:
        """Its thread does not come back to it."""
        self._vacant.append(place)

    def _begin(self, place: Place) -> None:
        if self._work(place):
            self.join()

    def join(self) -> None:
        """Lets this thread work in a vacant place; returns if there is none, or the thread is to go."""
        while (place := _popped(self._vacant)) is not None:
            if not self._work(place):
                return

    def _work(self, place: Place) -> bool:
        """Until the place is another's; False: until the crew is stopped, or the place is no more."""
        place.worker.mark()
        while not self._stopped:
            try:
                call = self._calls.popleft()
            except IndexError:
                if not self._rest(place):
                    return False
                if not self._do_duty(place):
                    return True
            else:
                self._call_more()
                self._run(call, place.worker)
                self.passed += 1
                del call  # or its frame would stay in memory until the next one
        return False

    def _rest(self, place: Place) -> bool:
        """Until there is something to do. False: there was nothing for so long that the place is no more."""
        self._idle.append(place)
        if self._calls and _removed(self._idle, place):  # it came when nobody could see that this one is idle
            return True
        while not place.rest(self._idle_seconds if self.grown else -1):
            if self._dismiss(place):
                self._call_more()  # what came when this one still seemed to be idle
                return False
        if place.duty is None:
            self._one_comes = False
        return True

    def _do_duty(self, place: Place) -> bool:
        """Does what it was called for beside executions. False: the place is another's by now."""
        place.worker.mark()
        duty, place.duty = place.duty, None
        return duty is None or duty(place)

    def _dismiss(self, place: Place) -> bool:
        """Gives up a place that is idle, if there are more than at first."""
        with self._dismissing:
            if not self.grown or not _removed(self._idle, place):
                return False
            self._gone.started += place.worker.started
            self._gone.finished += place.worker.finished
            self._places.remove(place)
        memory.make_room(self.grown)
        return True

    def _call_more(self) -> None:
        """One at a time, for all who are awake wait for Python's lock: who comes sees whether there is more to do."""
        if self._calls and not self._one_comes:
            self._one_comes = True
            if not self._call_one():
                self._one_comes = False

    def _call_one(self, duty: Duty | None = None) -> bool:
        place = _popped(self._idle)
        if place is None:
            return False
        place.duty = duty
        place.call()
        return True


def _popped(places: list[Place]) -> Place | None:
    try:
        return places.pop()
    except IndexError:
        return None


def _removed(places: list[Place], place: Place) -> bool:
    try:
        places.remove(place)
    except ValueError:
        return False
    return True
