"""Who waits for a slot of a policy instance, and who is told at once that waiting is of no use. Knows no clock.

A burst may wait: a queue that is soon gone costs little. A queue that is still there, or there again, after
BURST_SECONDS and does not shrink stands because more comes in than the policy gets through. Then each wait only makes
everybody late, and in the end all are too late; so a standing queue is kept short, and what comes beyond is refused as
long as it lasts.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar

MAX_WAITING = 1024
BURST_SECONDS = 0.3
SOON_SECONDS = 1.0  # a queue that will be gone by then, as it shrinks, does not stand
FORGIVEN_SECONDS = 2.0  # since the last refusal: a break before that is a stall, not the end of the load
STANDING_SECONDS = 0.1  # wait that a standing queue may mean; who comes more often than slots come free needs none
AVERAGED = 16  # executions, of how long they held their slots
REMEMBERED = 64  # slots that came free: older ones count half


class Waiter(Protocol):
    """What is known of one that waits. `deadline` is in time.monotonic()."""

    id: int
    deadline: float


W = TypeVar("W", bound=Waiter)


class Waiting(Generic[W]):
    """A queue, first in first out. `now` is time.monotonic(). Not safe for use by several threads at once."""

    __slots__ = (
        "_averaged",
        "_began",
        "_calls",
        "_held",
        "_last_taken",
        "_measured_from",
        "_peak",
        "_peaked",
        "_refused",
        "_seen",
        "_since",
        "_surplus",
        "_taken",
        "is_watched",
        "slots_grow",
    )

    def __init__(self) -> None:
        self._calls: OrderedDict[int, W] = OrderedDict()
        self._since = self._seen = -BURST_SECONDS  # there is a queue, with short breaks; somebody was last seen in it
        self._measured_from = self._last_taken = 0.0
        self._taken = 0  # since _measured_from
        self.slots_grow = False  # there will be more of them: that a queue stands is no reason to refuse anybody
        self.is_watched = False  # there is a queue, or was a moment ago: `began` and `ended` want to be told
        self._began: deque[float] = deque()  # when the slots that are in use were taken, oldest first
        self._held = 0.0  # seconds for which one is, on the average
        self._averaged = 0  # executions of which it is that
        self._surplus = 0  # what has come since the queue began, refused or not, beyond what has gone
        self._peak = 0  # the largest surplus,
        self._peaked = 0.0  # and when it was last that large
        self._refused = -FORGIVEN_SECONDS  # when one was last refused since the queue stands

    def __len__(self) -> int:
        return len(self._calls)

    def offer(self, call: W, slots: int, now: float) -> str | None:
        """Takes `call` in; or says in words why it had better not wait. `slots` 0: it waits for a preparation."""
        if not self._calls:
            self._begin(slots, now)
        self._seen = now
        self._surplus += 1
        if self._surplus >= self._peak:
            self._peak, self._peaked = self._surplus, now
        if refusal := self._refusal(call, slots, now):
            return refusal
        self._calls[call.id] = call
        return None

    def take(self, now: float) -> W | None:
        """The one that has waited longest, for a slot that came free; None if nobody waits."""
        if not self._calls:
            return None
        self._taken += 1
        self._surplus -= 1
        self._last_taken = self._seen = now
        self.began(now)
        if self._taken >= REMEMBERED:
            self._taken //= 2
            self._measured_from = (self._measured_from + now) / 2
        return self._calls.popitem(last=False)[1]

    def began(self, now: float) -> None:
        """A slot was taken, by one that has waited or not."""
        self._began.append(now)

    def ended(self, now: float) -> None:
        """A slot came free. Which one is not asked: the average is the same if it is taken for the oldest."""
        if self._began:
            self._averaged = min(self._averaged + 1, AVERAGED)
            self._held += (now - self._began.popleft() - self._held) / self._averaged
        if not self._calls and now - self._seen >= FORGIVEN_SECONDS:
            self.is_watched = False

    def take_all(self) -> list[W]:
        calls = [*self._calls.values()]
        self._calls.clear()
        return calls

    def forget(self, call: W) -> None:
        """Takes out one that was cancelled, if it waits here."""
        if self._calls.pop(call.id, None):
            self._surplus -= 1

    def _begin(self, slots: int, now: float) -> None:
        """The first to wait after a break. A break is no time in which slots could have come free."""
        if now - self._seen >= BURST_SECONDS and now - self._refused >= FORGIVEN_SECONDS:
            self._since, self._measured_from, self._taken = now, now, 0
            self._surplus, self._peak, self._peaked = 0, 0, now
            self._began, self._held, self._averaged = deque([now] * slots), 0.0, 0  # their times are not known
        else:
            self._measured_from += now - self._seen
        self._last_taken = now
        self.is_watched = True

    def _refusal(self, call: W, slots: int, now: float) -> str | None:
        count = len(self._calls)
        if count >= MAX_WAITING:
            return f"expected at most {MAX_WAITING} executions to wait for this policy instance, got more"
        if not slots:
            return None
        wait, left = self._expected_wait(count + 1, now), call.deadline - now
        if 0 < left < 2 * wait:  # half of its time is for the call itself; one that is late already has timed out
            return f"{count} wait for one of this instance's {slots} slots; its turn would not come in {left:.2f} s"
        stands = now - self._since > BURST_SECONDS
        too_long = wait > STANDING_SECONDS if stands else self._in_turn(count + 1, now) > BURST_SECONDS
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
        """As slots have come free so far; where none has for long, at least as long again."""
        pace = (now - self._measured_from) / self._taken if self._taken else 0.0
        return max(count * pace, now - self._last_taken, self._in_turn(count, now))

    def _in_turn(self, count: int, now: float) -> float:
        """As those that have a slot began. Who began together ends together, so it may be long until the next one comes
        free, however many have of late."""
        if not self._began:
            return 0.0
        rounds, place = divmod(count - 1, len(self._began))
        return self._began[place] + (rounds + 1) * self._held - now
