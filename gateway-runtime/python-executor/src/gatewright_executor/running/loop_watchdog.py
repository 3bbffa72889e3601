"""Finds policies that block the event loop which async policies share.

A loop runs one step at a time: the code of a coroutine from one await to the next. A step that blocks (time.sleep, a
client that is not async, long computing) delays all other policies. So while the loop works, a thread samples its
present step, and finds a step that takes too long. It logs the policy with the line of the step; a policy that blocks
repeatedly gets a loop of its own (Instance.replace_on_own_loop). The steps themselves carry no measurement.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from gatewright_executor import logs
from gatewright_executor.critical_thread import WokenThread
from gatewright_executor.policies.failure import policy_stack
from gatewright_executor.running.coroutines import EXECUTION, Coroutines
from gatewright_executor.running.instance import STREAMS, Execution, Instance, PreparationOrigin

LOOK_SECONDS = 0.02
RESTING_LOOKS = 25  # samples of an idle loop after which the watchdog sleeps
BLOCKED_SECONDS = 0.1  # a step that takes longer blocks the loop
STRIKES = 3  # blocking steps within STRIKES_SECONDS after which an instance leaves the loop
STRIKES_SECONDS = 60.0
LOG_SECONDS = 30.0  # between two log lines about the same instance
REMEMBERED = 32  # blocking steps
STEP = asyncio.Handle._run.__code__
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Block:
    """A step that blocked the loop. Times are time.monotonic()."""

    instance: Instance
    began: float
    ended: float | None = None  # None: not yet


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a loop: the handle that it runs, and the execution, since a runner drives several in one step."""

    handle: object
    execution: Execution | None

    def is_the_same(self, other: Step | None) -> bool:
        """Whether the loop is still in the step `other`."""
        return other is not None and self.handle is other.handle and self.execution is other.execution

    @property
    def origin(self) -> Execution | PreparationOrigin | None:
        """The origin of the running code: in a runner's step the execution, in another task that of its creation."""
        if self.execution is not None:
            return self.execution
        context: Any = getattr(self.handle, "_context", None)
        origin = context.get(logs.current) if context is not None else None
        return origin if isinstance(origin, Execution | PreparationOrigin) else None

    @property
    def instance(self) -> Instance | None:
        """The instance whose code runs; None if no policy's does."""
        return origin.instance if (origin := self.origin) is not None else None


def step_of(frame: FrameType | None) -> Step | None:
    """The step of a loop's thread; None if the loop is idle. frame: the thread's innermost frame."""
    execution: Execution | None = None
    while frame is not None:
        if frame.f_code is EXECUTION:
            execution = frame.f_locals.get("execution")
        elif frame.f_code is STEP:
            return Step(frame.f_locals.get("self"), execution)
        frame = frame.f_back
    return None


class LoopWatchdog(WokenThread):
    """Watches a loop while it works, and is woken when it gets work."""

    def __init__(self, loop: Coroutines) -> None:
        self._loop = loop
        self._step: Step | None = None
        self._began = 0.0  # when the step was first seen
        self._held = 0.0  # seconds for which the step was seen since
        self._waited = 0.0  # seconds that the thread had waited for a core when the step was first seen
        self._block: Block | None = None  # of the present step, if it blocks
        self._blocks: deque[Block] = deque(maxlen=REMEMBERED)
        self._logged: dict[Instance, float] = {}
        super().__init__("loop-watchdog")
        loop.on_work = self.wake

    def blocked(self, victim: Instance, since: float, until: float) -> str:
        """A clause about the policy that has delayed an instance most in that time; "" if none has."""
        seconds: dict[Instance, float] = {}
        for block in [*self._blocks]:
            overlap = min(block.ended or until, until) - max(block.began, since)
            if block.instance is not victim and overlap > 0:
                seconds[block.instance] = seconds.get(block.instance, 0.0) + overlap
        worst = max(seconds, key=lambda instance: seconds[instance], default=None)
        return f"{worst.title} blocked the event loop for {seconds[worst]:.2f} s of it" if worst is not None else ""

    # -------------------------------------------------------------- its thread

    def _run(self) -> None:
        while self._awake.wait() and not self._stopped:
            self._watch_until_idle()

    def _watch_until_idle(self) -> None:
        resting, before = 0, time.monotonic()
        while resting < RESTING_LOOKS and not self._stopped:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            frame = sys._current_frames().get(self._loop.thread_id)  # the only way to see another thread's frame
            step = step_of(frame)
            in_time = now - before < 2 * LOOK_SECONDS  # else this thread waited for the GIL, and so did the loop
            self._compare(frame, step, now, now - before if in_time else 0.0)
            resting = 0 if step is not None or self._loop.is_busy else resting + 1
            before = now
        self._awake.clear()
        if self._stopped or self._loop.is_busy:
            self._awake.set()

    def _compare(self, frame: FrameType | None, step: Step | None, now: float, passed: float) -> None:
        if step is None or not step.is_the_same(self._step):
            if self._block is not None:
                self._block.ended = now
            self._step, self._block, self._began, self._held = step, None, now, 0.0
            return
        if not self._held:
            self._waited = _waited(self._loop.native_id)
        self._held += passed
        is_long = self._block is None and self._held >= BLOCKED_SECONDS
        if is_long and self._held - (_waited(self._loop.native_id) - self._waited) >= BLOCKED_SECONDS:
            self._record_block(step, frame, now)

    def _record_block(self, step: Step, frame: FrameType | None, now: float) -> None:
        instance = step.instance
        if instance is None:
            return
        self._block = Block(instance, self._began)
        self._blocks.append(self._block)
        self._logged = {logged: then for logged, then in self._logged.items() if now - then < LOG_SECONDS}
        if instance not in self._logged:
            self._logged[instance] = now
            where = policy_stack(frame)
            log.warning(
                "%s blocks the event loop at %s: one step has taken %.2f s so far, and all other async policies wait; "
                "await the slow call, or %s",
                instance.title, where.place or "an unknown place", now - self._began, _cure(step),
                extra={"trace": where.stack},
            )  # fmt: skip
        strikes = sum(block.instance is instance and now - block.began < STRIKES_SECONDS for block in self._blocks)
        if strikes >= STRIKES:
            instance.replace_on_own_loop()


def _cure(step: Step) -> str:
    """The cure for code that cannot be awaited."""
    origin = step.origin
    is_stream = isinstance(origin, Execution) and origin.phase in STREAMS
    return "hand it to asyncio.to_thread" if is_stream else "write `def` instead of `async def`"


def _waited(native_id: int) -> float:
    """The seconds that a thread has waited for a core so far; 0 if the system does not report it."""
    try:
        return int(Path(f"/proc/self/task/{native_id}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
