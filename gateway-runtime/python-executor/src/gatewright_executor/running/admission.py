"""Decides which executions wait for a slot of a policy instance, and which are refused at once. Reads no clock.

A burst may wait, since a queue that is soon empty costs little. A queue that lasts, or forms again, after BURST_SECONDS
and does not shrink is a standing queue: executions arrive faster than the policy ends them. Longer waits would then
make all of them late, and in the end too late. So a standing queue is kept short, and further executions are refused
while it lasts.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from math import ceil
from typing import Generic, Protocol, TypeVar

from gatewright_executor.running.limits import LIMITS

BURST_SECONDS = 0.3
SOON_SECONDS = 1.0  # a queue that shrinks so fast that it is empty by then does not stand
RECOVERY_SECONDS = 2.0  # since the last refusal: a shorter break is a stall, not the end of the load
STANDING_SECONDS = 0.1  # the longest wait in a standing queue, which keeps the slots busy
AVERAGED = 16  # executions in the average time of holding a slot
REMEMBERED = 64  # freed slots, after which earlier ones count half


class Waiter(Protocol):
    """An execution that may wait. `deadline` is in time.monotonic()."""

    id: int
    deadline: float


W = TypeVar("W", bound=Waiter)


class AdmissionQueue(Generic[W]):
    """A queue, first in first out. `now` is time.monotonic(). Not thread-safe."""

    __slots__ = (
        "_averaged",
        "_began",
        "_held",
        "_last_popped",
        "_max_waiting",
        "_measured_from",
        "_peak",
        "_peaked",
        "_popped",
        "_refused",
        "_seen",
        "_since",
        "_surplus",
        "_waiting",
        "is_watched",
        "slots_grow",
    )

    def __init__(self, max_waiting: int = LIMITS.max_waiting) -> None:
        self._max_waiting = max_waiting
        self._waiting: OrderedDict[int, W] = OrderedDict()
        self._since = self._seen = -BURST_SECONDS  # when the queue began; when it was last not empty
        self._measured_from = self._last_popped = 0.0
        self._popped = 0  # executions since _measured_from
        self.slots_grow = False  # the number of slots will grow, so a standing queue is no reason to refuse
        self.is_watched = False  # there is or was just a queue: the caller calls `slot_taken` and `slot_freed`
        self._began: deque[float] = deque()  # when the slots in use were taken, oldest first
        self._held = 0.0  # average seconds that an execution holds a slot
        self._averaged = 0  # executions in that average
        self._surplus = 0  # arrivals since the queue began, refused or not, minus departures
        self._peak = 0  # the largest surplus
        self._peaked = 0.0  # when the surplus was last at its peak
        self._refused = -RECOVERY_SECONDS  # the last refusal because of a standing queue

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, waiter: W, slots: int, now: float) -> str | None:
        """Queues `waiter`, or returns the reason for a refusal. `slots` 0: it waits for the instance's preparation."""
        if not self._waiting:
            self._start_queue(slots, now)
        self._seen = now
        self._surplus += 1
        if self._surplus >= self._peak:
            self._peak, self._peaked = self._surplus, now
        if refusal := self._refusal(waiter, slots, now):
            return refusal
        self._waiting[waiter.id] = waiter
        return None

    def pop(self, now: float) -> W | None:
        """Removes the execution that has waited longest, which gets a free slot; None if the queue is empty."""
        if not self._waiting:
            return None
        self._popped += 1
        self._surplus -= 1
        self._last_popped = self._seen = now
        self.slot_taken(now)
        if self._popped >= REMEMBERED:
            self._popped //= 2
            self._measured_from = (self._measured_from + now) / 2
        return self._waiting.popitem(last=False)[1]

    def slot_taken(self, now: float) -> None:
        """Records that an execution, queued before or not, has taken a slot."""
        self._began.append(now)

    def slot_freed(self, now: float) -> None:
        """Records that a slot is free, always as the oldest one: the average is the same."""
        if self._began:
            self._averaged = min(self._averaged + 1, AVERAGED)
            self._held += (now - self._began.popleft() - self._held) / self._averaged
        if not self._waiting and now - self._seen >= RECOVERY_SECONDS:
            self.is_watched = False

    def pop_all(self) -> list[W]:
        """Empties the queue. Returns its executions, oldest first."""
        waiting = [*self._waiting.values()]
        self._waiting.clear()
        return waiting

    def remove(self, waiter: W) -> None:
        """Removes a cancelled execution, if it is queued."""
        if self._waiting.pop(waiter.id, None):
            self._surplus -= 1

    def _start_queue(self, slots: int, now: float) -> None:
        """Begins a queue after a break. The break does not count as time without a free slot."""
        if now - self._seen >= BURST_SECONDS and now - self._refused >= RECOVERY_SECONDS:
            self._since, self._measured_from, self._popped = now, now, 0
            self._surplus, self._peak, self._peaked = 0, 0, now
            self._began, self._held, self._averaged = deque([now] * slots), 0.0, 0  # the real times are not known
        else:
            self._measured_from += now - self._seen
        self._last_popped = now
        self.is_watched = True

    def _refusal(self, waiter: W, slots: int, now: float) -> str | None:
        count = len(self._waiting)
        if count >= self._max_waiting:
            return f"expected at most {self._max_waiting} executions to wait for this policy instance, got more"
        if not slots:
            return None
        wait, left = self._expected_wait(count + 1, now), waiter.deadline - now
        if 0 < left < 2 * wait:  # half of its time is for its own run; a late execution has timed out already
            return f"{count} executions wait for one of {slots} slots; no slot would be free within {left:.2f} s"
        stands = now - self._since > BURST_SECONDS
        too_long = wait > STANDING_SECONDS if stands else self._wait_by_slots(count + 1, now) > BURST_SECONDS
        if too_long and not self.slots_grow and not self._soon_gone(count, now):
            self._refused = now
            return f"executions arrive faster than this instance ends them: {count} wait for one of {slots} slots"
        return None

    def _soon_gone(self, count: int, now: float) -> bool:
        """Whether the queue shrinks fast enough to be empty soon; refused executions count as queued. A queue has to
        shrink for longer than an execution holds its slot, since several may end at once."""
        shrinks_for = now - self._peaked
        return shrinks_for > self._held and (self._peak - self._surplus) * SOON_SECONDS > count * shrinks_for

    def _expected_wait(self, count: int, now: float) -> float:
        """Estimated by the rate of freed slots; at least as long as none has been freed.

        Slots that were taken together are freed together: before all have been freed, the first of them are no rate,
        and a place in the queue waits for as many rounds as there are places for each slot.
        """
        elapsed, by_rate = now - self._measured_from, 0.0
        if self._popped:
            rounds = ceil(count / max(len(self._began), 1))
            by_rate = min(count * elapsed / self._popped, rounds * elapsed)
        return max(by_rate, now - self._last_popped, self._wait_by_slots(count, now))

    def _wait_by_slots(self, count: int, now: float) -> float:
        """Estimated by the times when the slots in use were taken: executions that began together end together, so the
        next slot may be long in coming although many were freed just now."""
        if not self._began:
            return 0.0
        rounds, place = divmod(count - 1, len(self._began))
        return self._began[place] + (rounds + 1) * self._held - now
