"""Work that a policy instance repeats while it lives, beside its requests: what must be fresh before a request asks.

    from sdk.background import every

    def prepare(params):
        rules = Rules(params["file"])
        with every(30, rules.read):
            yield rules

    async def prepare(params):
        async with aiohttp.ClientSession() as client:
            plans = Plans(client)
            async with every(60, plans.fetch):
                yield plans

It runs at once, then every so many seconds, give or take a tenth, until the instance is closed. A plain function runs
in a thread of its own, an `async def` in a task of the loop that the instance's requests run on. Where it raises, that
is logged and counted, and it is tried again sooner: after 1 s, 2 s, 4 s, … but never later than its turn.

`Fresh` is for the most frequent case, a value that a function gets.

`gatewright_policy_background_runs_total{policy,work,outcome}` counts runs: `ok` and `failed`. In tests time stands
still within `testing.clock()`, and its `advance` does what is due.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar, overload

from gatewright import clock
from gatewright.metrics import Counter

__all__ = ["Every", "Fresh", "NotReadyError", "every"]

FIRST_RETRY_SECONDS = 1.0
END_SECONDS = 2.0  # that a run which is under way has when the instance is closed
log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[], Any] | Callable[[], Awaitable[Any]]
T = TypeVar("T")


class NotReadyError(Exception):
    """A `Fresh` has no value yet: each try to get it has failed. The text says why."""


def every(
    seconds: float, work: Work, *, name: str = "", jitter: float = 0.1, at_once: bool = True, required: bool = False
) -> Every:
    """A context manager: within it, `work` is repeated.

    seconds: from the end of a run to the next, more than 0. name: in logs and metrics; the function's own by default.
    jitter: share of `seconds` by which each wait is longer or shorter, 0 to 1. at_once: the first run is before `with`
    goes on, so that what it gets is there for the first request. required: where that run raises, so does `with`, and
    the instance is not ready; else it is tried again like any other.
    """
    return Every(seconds, work, name=name, jitter=jitter, at_once=at_once, required=required)


class Every:
    """What `every` returns."""

    def __init__(self, seconds: float, work: Work, *, name: str, jitter: float, at_once: bool, required: bool) -> None:
        if not seconds > 0 or not 0 <= jitter <= 1:
            raise ValueError(f"every: expected seconds > 0 and jitter from 0 to 1, got {seconds!r} and {jitter!r}")
        self.name = name or getattr(work, "__qualname__", type(work).__name__)
        self.failures = 0
        """Runs that have raised since the last one that did not."""
        self._seconds, self._jitter, self.work = seconds, jitter, work
        self._at_once, self._required = at_once or required, required
        self._asked_at = -float("inf")
        self._runner: _Runner | None = None
        self.runs = Counter(
            "background_runs_total", "Runs of what instances repeat beside their requests.", labels=["work", "outcome"]
        )

    def run_soon(self, at_most_every: float = 60.0) -> bool:
        """Has it run now instead of at its turn, unless it was asked to within so many seconds: for a key that is not
        known yet. Returns whether it does. It does not wait for the run."""
        now = clock.monotonic()
        if self._runner is None or now - self._asked_at < at_most_every:
            return False
        self._asked_at = now
        self._runner.wake()
        return True

    # -------------------------------------------------------------- plain functions

    def __enter__(self) -> Self:
        if inspect.iscoroutinefunction(self.work):
            raise TypeError(f"expected `async with every(…)`, since {self.name} is async; got `with`")
        if self._at_once:
            self.run_once(raises=self._required)
        self._runner = clock_runner(self) or _ThreadRunner(self)
        self._runner.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        self._runner.stop()

    def run_once(self, *, raises: bool = False) -> None:
        """One run, here."""
        with self._counted(raises):
            if inspect.isawaitable(made := self.work()):
                getattr(made, "close", bool)()  # or Python warns that it was never awaited
                raise TypeError(f"expected `async with`, since {self.name} returns something to await; got `with`")

    # -------------------------------------------------------------- async functions

    async def __aenter__(self) -> Self:
        if self._at_once:
            await self.run_once_async(raises=self._required)
        self._runner = clock_runner(self) or _TaskRunner(self)
        self._runner.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        self._runner.stop()
        await self._runner.stopped()

    async def run_once_async(self, *, raises: bool = False) -> None:
        """One run, in this task."""
        with self._counted(raises):
            result = self.work()
            if inspect.isawaitable(result):
                await result

    # -------------------------------------------------------------- both

    def wait_seconds(self, jitter: float | None = None) -> float:
        """Until the next run. After a failure it is never later than without it."""
        share = self._jitter if jitter is None else jitter
        if not self.failures:
            return self._seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret
        backoff = FIRST_RETRY_SECONDS * 2.0 ** min(self.failures - 1, 30)
        return min(backoff, self._seconds) * random.uniform(1 - share, 1)  # noqa: S311

    @contextmanager
    def _counted(self, raises: bool) -> Iterator[None]:
        """Around a run. What it raises goes no further unless `raises`."""
        try:
            yield
        except Exception as error:
            if raises:
                raise
            self._failed(error)
        else:
            self._succeeded()

    def _succeeded(self) -> None:
        if self.failures:
            log.info("%s works again, after %d failures", self.name, self.failures)
        self.failures = 0
        self.runs.inc(work=self.name, outcome="ok")

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.runs.inc(work=self.name, outcome="failed")
        log.warning(
            "%s failed (%d in a row), and is tried again: %s: %s", self.name, self.failures, type(error).__name__, error
        )


class _Runner(Protocol):
    """Who calls the work at its turns."""

    def start(self) -> None: ...
    def wake(self) -> None: ...
    def stop(self) -> None: ...
    async def stopped(self) -> None: ...


class _ThreadRunner:
    """A thread, in the context of who has entered `every`, so that its lines are those of the instance."""

    def __init__(self, work: Every) -> None:
        self._every = work
        self._woken = threading.Event()
        self._ended = False
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._repeat,), name=f"every {work.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._ended = True
        self._woken.set()
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            log.warning(
                "%s still runs %g s after its instance was closed; left to itself", self._every.name, END_SECONDS
            )

    async def stopped(self) -> None:
        """It is."""

    def _repeat(self) -> None:
        while not self._ended:
            self._woken.wait(self._every.wait_seconds())
            if self._ended:
                return
            self._woken.clear()
            self._every.run_once()


class _TaskRunner:
    """A task of the event loop that runs. `wake` may be called from any thread."""

    def __init__(self, work: Every) -> None:
        self._every = work
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = self._loop.create_task(self._repeat(), name=f"every {self._every.name}")

    def wake(self) -> None:
        self._loop.call_soon_threadsafe(self._woken.set)

    def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()

    async def stopped(self) -> None:
        assert self._task is not None
        await asyncio.wait([self._task], timeout=END_SECONDS)

    async def _repeat(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every.wait_seconds()):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            await self._every.run_once_async()


def _nobody(_: Every) -> _Runner | None:
    return None


clock_runner: Callable[[Every], _Runner | None] = _nobody
"""Who runs it where a test moves the time."""


class Fresh(Generic[T]):
    """A value that `get` gets, again every so many seconds. Used as `every` is: `with Fresh(300, fetch) as keys:`.

    `keys.value` is the last one that there was, however old: `keys.age` says how old. While a new one is fetched, and
    where that fails, requests have the old one. `get` may be async: then it is `async with`. Options as of `every`.
    """

    @overload
    def __init__(self, seconds: float, get: Callable[[], Coroutine[Any, Any, T]], **options: Any) -> None: ...

    @overload
    def __init__(self, seconds: float, get: Callable[[], T], **options: Any) -> None: ...

    def __init__(self, seconds: float, get: Callable[[], Any], **options: Any) -> None:
        self._get = get
        self._got: tuple[T, float] | None = None
        self._error: Exception | None = None
        is_async = inspect.iscoroutinefunction(get)
        options = {"name": getattr(get, "__qualname__", type(get).__name__), **options}
        self._every = every(seconds, self._fetch_async if is_async else self._fetch, **options)

    @property
    def value(self) -> T:
        """The last one that there was. NotReadyError where none has ever come."""
        if self._got is None:
            why = f"; the last try: {type(self._error).__name__}: {self._error}" if self._error else ""
            raise NotReadyError(f"{self._every.name} has no value yet{why}")
        return self._got[0]

    @property
    def age(self) -> float:
        """Seconds since it came; infinite where none has."""
        return float("inf") if self._got is None else clock.monotonic() - self._got[1]

    def refresh_soon(self, at_most_every: float = 60.0) -> bool:
        """As `Every.run_soon`."""
        return self._every.run_soon(at_most_every)

    def __enter__(self) -> Self:
        self._every.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._every.__exit__(*error)

    async def __aenter__(self) -> Self:
        await self._every.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._every.__aexit__(*error)

    def _fetch(self) -> None:
        try:
            self._took(self._get())
        except Exception as error:
            self._error = error
            raise

    async def _fetch_async(self) -> None:
        try:
            self._took(await self._get())
        except Exception as error:
            self._error = error
            raise

    def _took(self, value: Any) -> None:
        self._got = (value, clock.monotonic())
