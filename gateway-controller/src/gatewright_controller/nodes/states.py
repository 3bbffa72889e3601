"""The state that a new node would be sent now, signed, and its export to a place that nodes start from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.signed_state import NotWrittenError, SigningKey, shown, sign, write
from gatewright_controller.times import timestamp, utc_now

log = logging.getLogger(__name__)
Labels = Mapping[str, str] | None
GATHER_SECONDS = 2.0
"""Changes that come within this time after one are exported together with it."""
NO_KEY = (
    "this controller signs no states: make a key with `gatewright state key`, and name its private file with "
    "--state-key or GATEWRIGHT_CONTROLLER_STATE_KEY"
)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0
"""Between two tries of an export that fails; each is twice the one before."""


class States:
    """controller: the name under which this one signs. labels: those of the nodes that a state is for; None: any."""

    def __init__(self, deployment: Deployment, key: SigningKey, controller: str) -> None:
        self._deployment, self._key, self._controller = deployment, key, controller
        self._making = asyncio.Lock()

    def tag(self, labels: Labels = None) -> str:
        """Names the state as it is now: REVISION-DIGEST. The digest is for what changes without a write, such as an
        API whose upstream is refused from now on."""
        return f"{self._deployment.revision}-{self._deployment.whole_digest(labels)[:16]}"

    async def document(self, labels: Labels = None) -> tuple[str, bytes]:
        """The tag of the present state, and its signed document. One is made at a time: it may be large."""
        async with self._making:
            tag, update, made = self.tag(labels), self._deployment.whole_update(labels), timestamp(utc_now())
            consumers = self._deployment.consumers.copy()

            def make() -> bytes:
                update.MergeFrom(node_pb2.Update(consumers=consumers.change()))
                return sign(
                    update.SerializeToString(deterministic=True),
                    controller=self._controller,
                    made=made,
                    revision=update.revision,
                    labels=labels,
                    key=self._key,
                )

            return tag, await asyncio.to_thread(make)


class ExportStatus(msgspec.Struct, frozen=True):
    """What became of the export. revision, at: of the newest state that the place took; 0 and "" before the first.
    error: why the place did not take the newest one; "" where it did."""

    place: str
    revision: int = 0
    at: str = ""
    error: str = ""
    failures: int = 0


class Export:
    """Writes the state to a place after each change. Run it."""

    def __init__(self, states: States, deployment: Deployment, place: str, gather: float = GATHER_SECONDS) -> None:
        self._states, self._deployment, self._place, self._gather = states, deployment, place, gather
        self.status = ExportStatus(shown(place))

    async def run(self) -> None:
        """Until it is cancelled. Nothing is exported before the first write: a controller whose database is new, or
        another one by mistake, replaces no state that nodes could need."""
        exported, pause = "", FIRST_PAUSE_SECONDS
        while True:
            while self._deployment.revision == 0 or self._states.tag() == exported:
                await self._deployment.wait_for_change()
                await asyncio.sleep(self._gather)
            if tag := await self._try():
                exported, pause = tag, FIRST_PAUSE_SECONDS
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _try(self) -> str:
        """The tag of what was written; "": nothing was."""
        revision = self._deployment.revision
        tag, document = await self._states.document()
        before = self.status
        try:
            await write(self._place, document)
        except NotWrittenError as error:
            reason = str(error)
            if reason != before.error:
                log.error("the state is not exported; it is tried again", extra={"reason": reason})
            self.status = ExportStatus(before.place, before.revision, before.at, reason, before.failures + 1)
            return ""
        if before.error:
            log.info("the state is exported again", extra={"place": before.place, "revision": revision})
        self.status = ExportStatus(before.place, revision, timestamp(utc_now()), failures=before.failures)
        return tag
