"""Leads while a Lease is this controller's: it is watched while another has it, and renewed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from gatewright_documents.values import JsonObject

from gatewright_controller.kubernetes.backoff import Backoff
from gatewright_controller.kubernetes.client import CONFLICT, FORBIDDEN, ApiClient, ApiError
from gatewright_controller.kubernetes.lease import RENEW_SECONDS, RETRY_SECONDS, LeaseView, Term
from gatewright_controller.kubernetes.paths import LEASES
from gatewright_controller.kubernetes.watching import Selection, Watch
from gatewright_controller.kubernetes.writing import NotLeadingError
from gatewright_controller.times import utc_now

log = logging.getLogger(__name__)
LEASE = "Lease"
Lead = Callable[[Term], Awaitable[None]]
"""What a leader does; it is cancelled with the end of its term."""


class Election:
    """Of one Lease. identity: of this controller, another one in each process."""

    def __init__(self, client: ApiClient, namespace: str, name: str, identity: str) -> None:
        self._client, self._namespace, self._name = client, namespace, name
        self._view, self._known = LeaseView(identity), False
        self._changed = asyncio.Event()
        self.is_leading = False
        self._trouble = ""

    async def run(self, lead: Lead) -> None:
        """Until it is cancelled; then the Lease is given back."""
        query = {"fieldSelector": f"metadata.name={self._name}"}
        watch = Watch(self._client, Selection(LEASE, LEASES, self._namespace, query), self)
        watching = asyncio.create_task(watch.run(), name="watching the lease")
        backoff = Backoff(longest=5.0)
        try:
            while True:
                await self._wait_until_free()
                try:
                    term = await self._acquire()
                except ApiError as error:
                    self._note_trouble(error)
                    await self._pause(backoff.next_pause(error.retry_after))
                else:
                    backoff.reset()
                    await self._lead(term, lead)
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    # ------------------------------------------------------------ the watch's sink

    def replace(self, kind: str, listed: list[JsonObject]) -> None:
        """The Lease, or that there is none."""
        del kind
        self._see(listed[0] if listed else None)

    def put(self, kind: str, found: JsonObject) -> None:
        """It is there, or has changed."""
        del kind
        self._see(found)

    def drop(self, kind: str, found: JsonObject) -> None:
        """It is gone."""
        del kind, found
        self._see(None)

    def _see(self, lease: JsonObject | None) -> None:
        self._known = True
        self._view.see(lease, time.monotonic())
        self._changed.set()

    # ------------------------------------------------------------ the Lease

    async def _wait_until_free(self) -> None:
        while not self._known or (left := self._view.seconds_until_free(time.monotonic())) > 0:
            await self._pause(left if self._known else None)

    async def _pause(self, seconds: float | None) -> None:
        """Until the Lease changes, or for so many seconds."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _acquire(self) -> Term:
        """Raises `ApiError`."""
        sent_at = time.monotonic()
        await self._write(self._view.renewed(utc_now()))
        self._trouble = ""
        log.info("leads", extra={"lease": f"{self._namespace}/{self._name}", "identity": self._view.identity})
        return Term(sent_at)

    async def _write(self, spec: JsonObject) -> None:
        """Raises `ApiError`: `CONFLICT` where another has written it since it was seen."""
        metadata = {"name": self._name, "namespace": self._namespace}
        document = {"apiVersion": LEASES.api_version, "kind": LEASE, "metadata": metadata, "spec": spec}
        if self._view.lease is None:
            written = await self._client.create(LEASES.namespace_path(self._namespace), document)
        else:
            metadata["resourceVersion"] = self._view.version
            written = await self._client.replace(LEASES.path(self._namespace, self._name), document)
        self._view.see(written, time.monotonic())

    async def _lead(self, term: Term, lead: Lead) -> None:
        self.is_leading = True
        leading = asyncio.create_task(_forever(lead, term), name="leading")
        try:
            await self._renew_until_lost(term)
        finally:
            term.is_over, self.is_leading = True, False
            leading.cancel()
            await asyncio.wait([leading])
            await self._release()

    async def _renew_until_lost(self, term: Term) -> None:
        pause = RENEW_SECONDS
        while term.is_valid(time.monotonic()):
            await asyncio.sleep(pause)
            pause, sent_at = RENEW_SECONDS, time.monotonic()
            try:
                await self._write(self._view.renewed(utc_now()))
                term.renew(sent_at)
                self._note_renewal()
            except ApiError as error:
                if error.status == CONFLICT and await self._is_anothers():
                    log.warning("leads no longer: %s has the lease", self._view.holder or "no controller")
                    return
                self._note_trouble(error)
                pause = RETRY_SECONDS
        log.warning("leads no longer: the lease could not be renewed in time; look at the API server")

    async def _is_anothers(self) -> bool:
        with contextlib.suppress(ApiError):
            lease = await self._client.get(LEASES.path(self._namespace, self._name))
            self._view.see(lease, time.monotonic())
        return self._view.holder != self._view.identity

    async def _release(self) -> None:
        """So that another one need not wait for its end."""
        if self._view.holder == self._view.identity:
            with contextlib.suppress(ApiError):
                await self._write(self._view.released(utc_now()))

    def _note_renewal(self) -> None:
        if self._trouble:
            log.info("the lease was renewed again")
        self._trouble = ""

    def _note_trouble(self, error: ApiError) -> None:
        """One line for each time that the Lease cannot be written. A conflict is none: another one has it."""
        if error.status == CONFLICT:
            return
        cure = f"let the service account write Leases in {self._namespace}" if error.status == FORBIDDEN else ""
        if not self._trouble:
            log.warning(
                "the lease cannot be written, and is tried again: %s; %s", error, cure or "look at the API server"
            )
        self._trouble = str(error)


async def _forever(lead: Lead, term: Term) -> None:
    """Again after a failure: a mistake of ours ends neither the term nor the process."""
    backoff = Backoff()
    while True:
        try:
            await lead(term)
        except NotLeadingError:
            return
        except Exception:
            log.exception("what the leader does has failed; it begins anew")
        await asyncio.sleep(backoff.next_pause())
