"""Keeps what the provider publishes: fetched in the background, and left as it is while the provider is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from gatewright_controller.oidc.contract import ProviderAwayError
from gatewright_controller.oidc.published import Published

log = logging.getLogger(__name__)


class Intervals(msgspec.Struct, frozen=True):
    """How often the provider is asked, in seconds. refresh: after a fetch. retry: after one that has failed. wanted:
    between fetches that requests have asked for."""

    refresh: float = 300.0
    retry: float = 10.0
    wanted: float = 60.0


INTERVALS = Intervals()


class KeptPublished:
    """fetch raises any Exception where it has found nothing. name: of the provider, for the log."""

    def __init__(self, fetch: Callable[[], Awaitable[Published]], name: str, intervals: Intervals = INTERVALS) -> None:
        self._fetch, self._name, self._intervals = fetch, name, intervals
        self._published: Published | None = None
        self._reason = ""
        self._wanted, self._wanted_at = asyncio.Event(), float("-inf")
        self._ended = asyncio.Event()

    async def current(self) -> Published:
        """The last that was found; waits for the first fetch. Raises `ProviderAwayError`."""
        if self._published is None and not self._reason:
            await self._ended.wait()
        if self._published is None:
            raise ProviderAwayError(f"the OpenID provider {self._name} cannot be asked: {self._reason}")
        return self._published

    async def newer(self) -> Published:
        """The same after another fetch, if requests may ask for one now: clients do not decide how often that is."""
        if not self._wanted.is_set() and time.monotonic() - self._wanted_at < self._intervals.wanted:
            return await self.current()
        if not self._wanted.is_set():
            self._wanted_at = time.monotonic()
            self._wanted.set()
        await self._ended.wait()
        return await self.current()

    async def run(self) -> None:
        """Fetches until it is cancelled."""
        while True:
            has_failed = not await self._fetch_once()
            self._wanted.clear()
            self._ended, ended = asyncio.Event(), self._ended
            ended.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._intervals.retry if has_failed else self._intervals.refresh):
                    await self._wanted.wait()

    async def _fetch_once(self) -> bool:
        """Whether it has found something."""
        try:
            self._published = await self._fetch()
        except Exception as error:  # whatever a provider's documents do to what reads them
            self._note_failure(str(error) or type(error).__name__)
            return False
        if self._reason:
            log.info("the OpenID provider %s answers again", self._name)
        self._reason = ""
        return True

    def _note_failure(self, reason: str) -> None:
        """One line for each time that the provider is away."""
        if not self._reason:
            known = "the keys that are known stay in use"
            meanwhile = known if self._published else "requests with a JWT are answered 503; tokens are accepted"
            log.warning(
                "the OpenID provider %s cannot be asked: %s", self._name, reason, extra={"meanwhile": meanwhile}
            )
        self._reason = reason
