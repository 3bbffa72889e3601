"""Work that a policy instance repeats in the background, for data that must be fresh before a request needs it.

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

The work runs at once, then every so many seconds, give or take a tenth, until the instance is closed. A plain function
runs in a thread of its own, an `async def` in a task of the event loop that runs the instance's requests. An exception
is logged and counted, and the work is retried sooner: after 1 s, 2 s, 4 s, … but never later than its next turn.

`Fresh` is for the most frequent case, a value that a function fetches.

`gatewright_policy_background_runs_total{policy,work,outcome}` counts runs: `ok` and `failed`. In tests time stands
still within `testing.clock()`, and its `advance` runs the work that is due.
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
END_SECONDS = 2.0  # that a run may still take once its instance is closed
log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[], Any] | Callable[[], Awaitable[Any]]
T = TypeVar("T")


class NotReadyError(Exception):
    """A `Fresh` has no value yet, since each try to fetch it has failed. The text says why."""


def every(
    seconds: float, work: Work, *, name: str = "", jitter: float = 0.1, at_once: bool = True, required: bool = False
) -> Every:
    """A context manager that repeats `work` until it is left.

    seconds: from the end of a run to the next, more than 0. name: for logs and metrics, by default the function's.
    jitter: the share of `seconds` by which each wait is longer or shorter, 0 to 1. at_once: the first run ends before
    the `with` body begins, so that its result is there for the first request. required: if the first run raises, so
    does `with`, and the instance is not ready; else that run is retried like any other.
    """
    return Every(seconds, work, name=name, jitter=jitter, at_once=at_once, required=required)


class Every:
    """The context manager that `every` returns."""

    def __init__(self, seconds: float, work: Work, *, name: str, jitter: float, at_once: bool, required: bool) -> None:
        if not seconds > 0 or not 0 <= jitter <= 1:
            raise ValueError(f"every: expected seconds > 0 and jitter from 0 to 1, got {seconds!r} and {jitter!r}")
        self.name = name or getattr(work, "__qualname__", type(work).__name__)
        self.failures = 0
        """Runs that have failed in a row."""
        self._seconds, self._jitter, self.work = seconds, jitter, work
        self._at_once, self._required = at_once or required, required
        self._asked_at = -float("inf")
        self._runner: _Runner | None = None
        self.runs = Counter(
            "background_runs_total", "Runs of work that instances repeat in the background.", labels=["work", "outcome"]
        )

    def run_soon(self, at_most_every: float = 60.0) -> bool:
        """Starts a run now instead of at its turn, without waiting for it: for instance for a key that is not known
        yet. Does nothing if `run_soon` has started a run within the last `at_most_every` seconds. Returns whether a run
        is started."""
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
        """One run, in this thread."""
        with self._count_run(raises):
            if inspect.isawaitable(result := self.work()):
                getattr(result, "close", bool)()  # or Python warns that it was never awaited
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
        with self._count_run(raises):
            result = self.work()
            if inspect.isawaitable(result):
                await result

    # -------------------------------------------------------------- both

    def wait_seconds(self, jitter: float | None = None) -> float:
        """Seconds until the next run. A failure never delays it."""
        share = self._jitter if jitter is None else jitter
        if not self.failures:
            return self._seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret
        backoff = FIRST_RETRY_SECONDS * 2.0 ** min(self.failures - 1, 30)
        return min(backoff, self._seconds) * random.uniform(1 - share, 1)  # noqa: S311

    @contextmanager
    def _count_run(self, raises: bool) -> Iterator[None]:
        """Counts the run in its body, and suppresses its exception unless `raises`."""
        try:
            yield
        except Exception as error:
            if raises:
                raise
            self._record_failure(error)
        else:
            self._record_success()

    def _record_success(self) -> None:
        if self.failures:
            log.info("%s works again, after %d failures", self.name, self.failures)
        self.failures = 0
        self.runs.inc(work=self.name, outcome="ok")

    def _record_failure(self, error: Exception) -> None:
        self.failures += 1
        self.runs.inc(work=self.name, outcome="failed")
        log.warning(
            "%s failed (%d in a row) and will be retried: %s: %s", self.name, self.failures, type(error).__name__, error
        )


class _Runner(Protocol):
    """Calls the work at its turns."""

    def start(self) -> None: ...
    def wake(self) -> None: ...
    def stop(self) -> None: ...
    async def stopped(self) -> None: ...


class _ThreadRunner:
    """A thread that runs in the context in which `every` was entered, so that its log lines name the instance."""

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
                "%s still runs %g s after its instance was closed; no longer waiting for it",
                self._every.name,
                END_SECONDS,
            )

    async def stopped(self) -> None:
        """Returns at once: `stop` has waited for the thread."""

    def _repeat(self) -> None:
        while not self._ended:
            self._woken.wait(self._every.wait_seconds())
            if self._ended:
                return
            self._woken.clear()
            self._every.run_once()


class _TaskRunner:
    """A task of the running event loop. `wake` may be called from any thread."""

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


def _no_runner(_: Every) -> _Runner | None:
    return None


clock_runner: Callable[[Every], _Runner | None] = _no_runner
"""Makes the runner of a test that moves the time; None where no test does."""


class Fresh(Generic[T]):
    """A value that `get` fetches again every so many seconds. Used like `every`: `with Fresh(300, fetch) as keys:`.

    `keys.value` is the last value that was fetched, however old; `keys.age` says how old. Requests see the old value
    while a new one is fetched, and if that fails. If `get` is async, write `async with`. Options as for `every`.
    """

    @overload
    def __init__(self, seconds: float, get: Callable[[], Coroutine[Any, Any, T]], **options: Any) -> None: ...

    @overload
    def __init__(self, seconds: float, get: Callable[[], T], **options: Any) -> None: ...

    def __init__(self, seconds: float, get: Callable[[], Any], **options: Any) -> None:
        self._get = get
        self._fetched: tuple[T, float] | None = None
        self._error: Exception | None = None
        is_async = inspect.iscoroutinefunction(get)
        options = {"name": getattr(get, "__qualname__", type(get).__name__), **options}
        self._every = every(seconds, self._fetch_async if is_async else self._fetch, **options)

    @property
    def value(self) -> T:
        """The last value that was fetched. NotReadyError if none was."""
        if self._fetched is None:
            why = f"; the last try: {type(self._error).__name__}: {self._error}" if self._error else ""
            raise NotReadyError(f"{self._every.name} has no value yet{why}")
        return self._fetched[0]

    @property
    def age(self) -> float:
        """Seconds since the value was fetched; infinite if none was."""
        return float("inf") if self._fetched is None else clock.monotonic() - self._fetched[1]

    def refresh_soon(self, at_most_every: float = 60.0) -> bool:
        """Like `Every.run_soon`."""
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
            self._store(self._get())
        except Exception as error:
            self._error = error
            raise

    async def _fetch_async(self) -> None:
        try:
            self._store(await self._get())
        except Exception as error:
            self._error = error
            raise

    def _store(self, value: Any) -> None:
        self._fetched = (value, clock.monotonic())
