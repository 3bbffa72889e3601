"""The worker threads: they run executions, and stand guard for those who run some elsewhere.

An execution goes to a thread that is idle, or else to the first that is again. A guard is of use at once or not at all,
so it is taken from those that are idle. Where it has to take somebody's part, it leaves its place here to that one: so
there are always as many threads, whoever they are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from gatewright_executor import vital
from gatewright_executor.instance import Call
from gatewright_executor.worker import Worker

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

    def rest(self) -> None:
        """Returns once called; at once if that was before."""
        self._called.acquire()


class Crew:
    """`run` runs an execution as the worker of its thread. Start, stop; each once."""

    def __init__(self, size: int, run: Callable[[Call, Worker], None]) -> None:
        self._run = run
        self._places = [Place() for _ in range(size)]
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
    def workers(self) -> list[Worker]:
        return [place.worker for place in self._places]

    def start(self) -> None:
        self._vacant += self._places
        for number in range(len(self._places)):
            vital.Thread(self.join, name=f"worker-{number}").start()

    def stop(self) -> None:
        """Ends each thread after what it does now; what is queued behind is not started."""
        self._stopped = True
        while self._call_one():
            pass

    def put(self, call: Call) -> None:
        """Lets a thread run it."""
        self._calls.append(call)
        self._call_more()

    def lend(self, duty: Duty) -> bool:
        """Gives `duty` to an idle thread. False: there is none."""
        return self._call_one(duty)

    def vacate(self, place: Place) -> None:
        """Its thread does not come back to it."""
        self._vacant.append(place)

    def join(self) -> None:
        """Lets this thread work in a vacant place; returns if there is none, or the crew is stopped."""
        while (place := _popped(self._vacant)) is not None:
            self._work(place)
            if self._stopped:
                return

    def _work(self, place: Place) -> None:
        """Until the crew is stopped, or the place is another's."""
        place.worker.mark()
        while not self._stopped:
            try:
                call = self._calls.popleft()
            except IndexError:
                if not self._await_call(place):
                    return
            else:
                self._call_more()
                self._run(call, place.worker)
                self.passed += 1
                del call  # or its frame would stay in memory until the next one

    def _await_call(self, place: Place) -> bool:
        """Rests, and does its duty if it was called for one. False: the place is another's by now."""
        self._idle.append(place)
        if self._calls and _removed(self._idle, place):  # it came when nobody could see that this one is idle
            return True
        place.rest()
        place.worker.mark()
        duty, place.duty = place.duty, None
        if duty is None:
            self._one_comes = False
        return duty is None or duty(place)

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
