"""Who waits for a slot of a policy instance, and who is told at once that waiting is of no use. Knows no clock.

A burst may wait: a queue that is soon gone costs little. A queue that is still there, or there again, after
BURST_SECONDS and does not shrink stands because more comes in than the policy gets through. Then each wait only makes
everybody late, and in the end all are too late; so a standing queue is kept short, and what comes beyond is refused as
long as it lasts.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from math import ceil
from typing import Generic, Protocol, TypeVar

from gatewright_executor.running.limits import LIMITS

BURST_SECONDS = 0.3
SOON_SECONDS = 1.0  # a queue that will be gone by then, as it shrinks, does not stand
RECOVERY_SECONDS = 2.0  # since the last refusal: a break before that is a stall, not the end of the load
STANDING_SECONDS = 0.1  # wait that a standing queue may mean; who comes more often than slots come free needs none
AVERAGED = 16  # executions, of how long they held their slots
REMEMBERED = 64  # slots that came free: older ones count half


class Waiter(Protocol):
    """What is known of one that waits. `deadline` is in time.monotonic()."""

    id: int
    deadline: float


W = TypeVar("W", bound=Waiter)


class AdmissionQueue(Generic[W]):
    """A queue, first in first out. `now` is time.monotonic(). Not safe for use by several threads at once."""

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
        self._since = self._seen = -BURST_SECONDS  # there is a queue, with short breaks; somebody was last seen in it
        self._measured_from = self._last_popped = 0.0
        self._popped = 0  # since _measured_from
        self.slots_grow = False  # there will be more of them: that a queue stands is no reason to refuse anybody
        self.is_watched = False  # there is a queue, or was a moment ago: `slot_taken` and `slot_freed` are to be called
        self._began: deque[float] = deque()  # when the slots that are in use were taken, oldest first
        self._held = 0.0  # seconds for which one is, on the average
        self._averaged = 0  # executions of which it is that
        self._surplus = 0  # what has come since the queue began, refused or not, beyond what has gone
        self._peak = 0  # the largest surplus,
        self._peaked = 0.0  # and when it was last that large
        self._refused = -RECOVERY_SECONDS  # when one was last refused since the queue stands

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, waiter: W, slots: int, now: float) -> str | None:
        """Queues `waiter`; or says in words why it had better not wait. `slots` 0: it waits for a preparation."""
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
        """The one that has waited longest, for a slot that came free; None if nobody waits."""
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
        """By one that has waited or not."""
        self._began.append(now)

    def slot_freed(self, now: float) -> None:
        """Which one is not asked: the average is the same if it is taken for the oldest."""
        if self._began:
            self._averaged = min(self._averaged + 1, AVERAGED)
            self._held += (now - self._began.popleft() - self._held) / self._averaged
        if not self._waiting and now - self._seen >= RECOVERY_SECONDS:
            self.is_watched = False

    def pop_all(self) -> list[W]:
        """All that wait, oldest first."""
        waiting = [*self._waiting.values()]
        self._waiting.clear()
        return waiting

    def remove(self, waiter: W) -> None:
        """Takes out one that was cancelled, if it waits here."""
        if self._waiting.pop(waiter.id, None):
            self._surplus -= 1

    def _start_queue(self, slots: int, now: float) -> None:
        """The first to wait after a break. A break is no time in which slots could have come free."""
        if now - self._seen >= BURST_SECONDS and now - self._refused >= RECOVERY_SECONDS:
            self._since, self._measured_from, self._popped = now, now, 0
            self._surplus, self._peak, self._peaked = 0, 0, now
            self._began, self._held, self._averaged = deque([now] * slots), 0.0, 0  # their times are not known
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
        if 0 < left < 2 * wait:  # half of its time is for its own run; one that is late already has timed out
            return f"{count} wait for one of this instance's {slots} slots; its turn would not come in {left:.2f} s"
        stands = now - self._since > BURST_SECONDS
        too_long = wait > STANDING_SECONDS if stands else self._wait_by_slots(count + 1, now) > BURST_SECONDS
        if too_long and not self.slots_grow and not self._soon_gone(count, now):
            self._refused = now
            return f"more comes in than this instance gets through: {count} wait for one of its {slots} slots"
        return None

    def _soon_gone(self, count: int, now: float) -> bool:
        """Whether the queue shrinks, and how fast: those that were refused count as if they were in it. That several
        end at once says nothing: it takes the time of an execution to see it."""
        shrinks_for = now - self._peaked
        return shrinks_for > self._held and (self._peak - self._surplus) * SOON_SECONDS > count * shrinks_for

    def _expected_wait(self, count: int, now: float) -> float:
        """As slots have come free so far; where none has for long, at least as long again.

        Slots that were taken together come free together: before all have, the first of them are no rate, and a place
        in the queue waits for as many rounds as there are places for each slot.
        """
        elapsed, by_rate = now - self._measured_from, 0.0
        if self._popped:
            rounds = ceil(count / max(len(self._began), 1))
            by_rate = min(count * elapsed / self._popped, rounds * elapsed)
        return max(by_rate, now - self._last_popped, self._wait_by_slots(count, now))

    def _wait_by_slots(self, count: int, now: float) -> float:
        """As those that have a slot began. Who began together ends together, so it may be long until the next one comes
        free, however many have of late."""
        if not self._began:
            return 0.0
        rounds, place = divmod(count - 1, len(self._began))
        return self._began[place] + (rounds + 1) * self._held - now
